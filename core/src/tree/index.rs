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
pub(super) struct PathIndex<E> {
    hasher: RandomState,
    shards: Box<[HashTable<E>; SHARDS]>,
}

/// What the index keeps of a path.
pub(super) trait Entry: Copy + fmt::Debug {
    fn new(slot: u32, hash: u64) -> Self;
    fn slot(self) -> u32;
    /// Whether the path may hash to `hash`.
    fn may_be(self, hash: u64) -> bool;
    /// The hash in its table; `rehash` computes the path's.
    fn table_hash(self, rehash: impl FnOnce() -> u64) -> u64;
}

/// Keeps the hash: growing does not have to look at the paths, which are all over the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed {
    slot: u32,
    hash: u32,
}

/// Keeps the slot alone, in half the room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slim(u32);

impl Entry for Hashed {
    fn new(slot: u32, hash: u64) -> Self {
        Self { slot, hash: hash as u32 }
    }

    fn slot(self) -> u32 {
        self.slot
    }

    fn may_be(self, hash: u64) -> bool {
        self.hash == hash as u32
    }

    fn table_hash(self, _rehash: impl FnOnce() -> u64) -> u64 {
        table_hash(u64::from(self.hash))
    }
}

impl Entry for Slim {
    fn new(slot: u32, _hash: u64) -> Self {
        Self(slot)
    }

    fn slot(self) -> u32 {
        self.0
    }

    fn may_be(self, _hash: u64) -> bool {
        true
    }

    fn table_hash(self, rehash: impl FnOnce() -> u64) -> u64 {
        table_hash(rehash())
    }
}

impl<E: Entry> PathIndex<E> {
    /// An empty index whose hash is keyed by `seed`.
    pub(super) fn new(seed: [u64; 4]) -> Self {
        let hasher = RandomState::with_seeds(seed[0], seed[1], seed[2], seed[3]);
        Self { hasher, shards: Box::new(array::from_fn(|_| HashTable::new())) }
    }

    /// The hash of `path`; callers that look up and then insert compute it once.
    pub(super) fn hash(&self, path: &str) -> u64 {
        hash_path(&self.hasher, path)
    }

    /// The slot of the path that hashes to `hash` and for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let is_it = |entry: &E| entry.may_be(hash) && is_it(entry.slot());
        self.shards[shard(hash)].find(table_hash(hash), is_it).map(|entry| entry.slot())
    }

    /// Adds a path that is not there yet. `path_of` tells the path of every slot in the index.
    pub(super) fn insert<'a>(&mut self, hash: u64, slot: u32, path_of: impl Fn(u32) -> &'a str) {
        let Self { hasher, shards } = self;
        let rehash = |entry: &E| entry.table_hash(|| hash_path(hasher, path_of(entry.slot())));
        shards[shard(hash)].insert_unique(table_hash(hash), E::new(slot, hash), rehash);
    }

    /// Removes `slot`, whose path hashes to `hash`.
    ///
    /// # Panics
    /// If it is not there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let entry = self.shards[shard(hash)].find_entry(table_hash(hash), |other| other.slot() == slot);
        entry.expect("every slot in use is in the index").remove();
    }

    /// The hash of anything else that clients choose, with the same key.
    pub(super) const fn hasher(&self) -> &RandomState {
        &self.hasher
    }
}

impl<E> fmt::Debug for PathIndex<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathIndex").finish_non_exhaustive()
    }
}

fn hash_path(hasher: &RandomState, path: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(path.as_bytes());
    hasher.finish()
}

/// Bits that the tables do not use.
const fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

/// A table takes the bucket from the lowest bits and a tag from the highest: 32 good bits are enough for both.
const fn table_hash(hash: u64) -> u64 {
    let low = hash & 0xffff_ffff;
    low << 32 | low
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    fn finds_what_is_there<E: Entry>() {
        let paths: Vec<String> = (0..5000).map(|n| format!("/node-{n}")).collect();
        let mut index: PathIndex<E> = PathIndex::new([1, 2, 3, 4]);
        for (slot, path) in paths.iter().enumerate() {
            index.insert(index.hash(path), slot as u32, |slot| &paths[slot as usize]);
        }
        for slot in (0..paths.len()).step_by(3) {
            index.remove(index.hash(&paths[slot]), slot as u32);
        }
        for (slot, path) in paths.iter().enumerate() {
            let found = index.find(index.hash(path), |slot| paths[slot as usize] == *path);
            assert_eq!(found, (slot % 3 != 0).then_some(slot as u32));
        }
    }

    #[test]
    fn hashed_and_slim() {
        finds_what_is_there::<Hashed>();
        finds_what_is_there::<Slim>();
    }
}
