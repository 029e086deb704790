//! Finds slots by path.
//!
//! The hash is keyed, because clients choose the paths, and the table is never iterated, because its order
//! depends on the key. It is cut into shards so that growing moves a small part of the entries at a time: one
//! table of millions would stop the server while it doubles.

use alloc::boxed::Box;
use core::hash::{BuildHasher, Hasher};
use core::{array, fmt};

use ahash::RandomState;
use hashbrown::HashTable;

const SHARDS: usize = 256;

/// A map from paths to slots; the paths themselves are kept where the slots are.
pub(super) struct PathIndex {
    hasher: RandomState,
    shards: Box<[HashTable<u32>; SHARDS]>,
}

impl PathIndex {
    /// An empty index whose hash is keyed by `seed`.
    pub(super) fn new(seed: [u64; 4]) -> Self {
        let hasher = RandomState::with_seeds(seed[0], seed[1], seed[2], seed[3]);
        Self { hasher, shards: Box::new(array::from_fn(|_| HashTable::new())) }
    }

    /// The hash of `path`; callers that look up and then insert compute it once.
    pub(super) fn hash(&self, path: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        hasher.finish()
    }

    /// The slot of the path that hashes to `hash` and for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)].find(hash, |&slot| is_it(slot)).copied()
    }

    /// Adds a path that is not there yet. `path_of` tells the path of every slot in the index.
    pub(super) fn insert<'a>(&mut self, hash: u64, slot: u32, path_of: impl Fn(u32) -> &'a str) {
        let Self { hasher, shards } = self;
        let rehash = |&slot: &u32| {
            let mut hasher = hasher.build_hasher();
            hasher.write(path_of(slot).as_bytes());
            hasher.finish()
        };
        shards[shard(hash)].insert_unique(hash, slot, rehash);
    }

    /// Removes `slot`, whose path hashes to `hash`.
    ///
    /// # Panics
    /// If it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let entry = self.shards[shard(hash)].find_entry(hash, |&other| other == slot);
        entry.expect("every slot in use is in the index").remove();
    }

    /// The hash of anything else that clients choose, with the same key.
    pub(super) const fn hasher(&self) -> &RandomState {
        &self.hasher
    }
}

impl fmt::Debug for PathIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathIndex").finish_non_exhaustive()
    }
}

/// Bits that the tables use neither for the bucket nor for the tag.
const fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
