//! Changes that are proposed but not yet committed.
//!
//! A write is judged against the tree as it will be once everything before it has committed. This table holds the
//! znodes for which that differs from the tree as it is: each with the state after the last proposed transaction
//! that touched it. When that transaction commits, the entry goes, for then the tree says the same.
//!
//! Invariants: an entry's `zxid` is the newest of its items in `queue`; `queue` is ordered by zxid; the digest is
//! the tree's after everything proposed.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::tree::{DigestPrefix, Tree};
use crate::types::{AclList, NodeKind, SessionId, StatPersisted, Zxid};

/// A znode as it will be.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// Its metadata.
    pub stat: StatPersisted,
    /// How many children it will have.
    pub child_count: usize,
    /// Its access control list.
    pub acl: AclList,
    /// What the digest knows of path and data. `None`: the tree's data is current, ask it there.
    prefix: Option<DigestPrefix>,
    /// Its contribution to the tree's digest.
    digest: u64,
}

#[derive(Debug)]
struct Entry {
    path: Box<str>,
    /// The last proposed transaction that touched it.
    zxid: Zxid,
    /// `None`: it will be gone.
    node: Option<NodeState>,
}

/// What an entry was before a multi touched it.
#[derive(Debug)]
enum Before {
    Absent,
    Was(Zxid, Option<NodeState>),
}

/// The table of pending changes.
#[derive(Debug)]
pub struct Pending {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Path to entry. Never iterated.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Which transaction touched which entry, once each, oldest first.
    queue: VecDeque<(Zxid, u32)>,
    /// Ephemeral znodes among the entries, by owner.
    ephemerals: BTreeSet<(SessionId, u32)>,
    /// The tree's digest after everything proposed; 0 where digests are off.
    digest: u64,
    digest_enabled: bool,
    extended_types: bool,
    /// What to put back if the multi under way fails.
    undo: Option<Undo>,
}

#[derive(Debug)]
struct Undo {
    changes: Vec<(u32, Before)>,
    digest: u64,
}

impl Pending {
    /// Nothing is pending beyond `tree`.
    pub fn new(tree: &Tree, hash_seed: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seed;
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::with_seeds(a, b, c, d),
            queue: VecDeque::new(),
            ephemerals: BTreeSet::new(),
            digest: tree.digest(),
            digest_enabled: tree.options().digest_enabled,
            extended_types: tree.options().extended_types,
            undo: None,
        }
    }

    /// The digest of the tree as it will be.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The znode as it will be, or `None` if there will be none.
    pub fn node(&self, tree: &Tree, path: &str) -> Option<NodeState> {
        if let Some(slot) = self.find(path) {
            return self.entry(slot).node.clone();
        }
        let node = tree.node(path)?;
        Some(NodeState {
            stat: node.persisted(),
            child_count: node.child_count(),
            acl: node.acl().clone(),
            prefix: None,
            digest: node.digest(),
        })
    }

    /// Whether the znode will exist.
    pub fn exists(&self, tree: &Tree, path: &str) -> bool {
        match self.find(path) {
            Some(slot) => self.entry(slot).node.is_some(),
            None => tree.node(path).is_some(),
        }
    }

    /// Proposes a new znode.
    pub fn create(&mut self, zxid: Zxid, path: &str, data: Option<&[u8]>, acl: AclList, stat: StatPersisted) {
        let mut state = NodeState { stat, child_count: 0, acl, prefix: None, digest: 0 };
        self.set_data_digest(path, data, &mut state);
        self.put(zxid, path, Some(state));
    }

    /// Proposes new data, and with it the metadata that `state` holds now.
    pub fn set_data(&mut self, zxid: Zxid, path: &str, data: Option<&[u8]>, mut state: NodeState) {
        self.digest = self.digest.wrapping_sub(state.digest);
        self.set_data_digest(path, data, &mut state);
        self.put(zxid, path, Some(state));
    }

    /// Proposes new metadata: what `state` holds now. The data stays.
    pub fn update(&mut self, tree: &Tree, zxid: Zxid, path: &str, mut state: NodeState) {
        if self.digest_enabled {
            let prefix = state
                .prefix
                .unwrap_or_else(|| DigestPrefix::new(path, tree.node(path).and_then(|node| node.data())));
            let digest = prefix.digest(&state.stat);
            self.digest = self.digest.wrapping_sub(state.digest).wrapping_add(digest);
            state.prefix = Some(prefix);
            state.digest = digest;
        }
        self.put(zxid, path, Some(state));
    }

    /// Proposes that the znode, which will be in `state` until then, goes.
    pub fn delete(&mut self, zxid: Zxid, path: &str, state: &NodeState) {
        self.digest = self.digest.wrapping_sub(state.digest);
        self.put(zxid, path, None);
    }

    fn set_data_digest(&mut self, path: &str, data: Option<&[u8]>, state: &mut NodeState) {
        if self.digest_enabled {
            let prefix = DigestPrefix::new(path, data);
            state.digest = prefix.digest(&state.stat);
            state.prefix = Some(prefix);
            self.digest = self.digest.wrapping_add(state.digest);
        }
    }

    /// Paths of the ephemeral znodes that the session will own, in order.
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> BTreeSet<Box<str>> {
        let mut paths: BTreeSet<Box<str>> = tree
            .ephemerals(session)
            // What is pending may be gone, or another session's by then.
            .filter(|path| {
                let pending = self.find(path).map(|slot| self.owner(self.entry(slot).node.as_ref()));
                pending.is_none_or(|owner| owner == Some(session))
            })
            .map(Box::from)
            .collect();
        let own = (session, 0)..=(session, u32::MAX);
        paths.extend(self.ephemerals.range(own).map(|&(_, slot)| self.entry(slot).path.clone()));
        paths
    }

    /// A transaction committed: entries that no later one touched are the tree's now.
    pub fn committed(&mut self, zxid: Zxid) {
        while let Some(&(touched, slot)) = self.queue.front() {
            if touched > zxid {
                break;
            }
            self.queue.pop_front();
            if self.entry(slot).zxid == touched {
                self.remove(slot);
            }
        }
        debug_assert!(self.queue.front().is_none_or(|&(oldest, _)| oldest > zxid));
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// From now on, remember what changes, until [`Pending::keep`] or [`Pending::roll_back`].
    pub fn begin(&mut self) {
        assert!(self.undo.is_none(), "multis do not nest");
        self.undo = Some(Undo { changes: Vec::new(), digest: self.digest });
    }

    /// The multi is good.
    pub fn keep(&mut self) {
        let undo = self.undo.take();
        assert!(undo.is_some(), "keep follows begin");
    }

    /// The multi failed: everything is again as it was at [`Pending::begin`].
    pub fn roll_back(&mut self, zxid: Zxid) {
        let undo = self.undo.take().expect("roll_back follows begin");
        while self.queue.back().is_some_and(|&(touched, _)| touched == zxid) {
            self.queue.pop_back();
        }
        for (slot, before) in undo.changes.into_iter().rev() {
            match before {
                Before::Absent => self.remove(slot),
                Before::Was(zxid, node) => self.replace(slot, zxid, node),
            }
        }
        self.digest = undo.digest;
    }

    fn find(&self, path: &str) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(path);
        self.index.find(hash, |&slot| &*self.entry(slot).path == path).copied()
    }

    fn entry(&self, slot: u32) -> &Entry {
        self.entries[slot as usize].as_ref().expect("indexed and queued slots are filled")
    }

    fn put(&mut self, zxid: Zxid, path: &str, node: Option<NodeState>) {
        let Some(slot) = self.find(path) else {
            let slot = self.insert(zxid, path, node);
            self.queue.push_back((zxid, slot));
            return;
        };
        let touched = self.entry(slot).zxid;
        let before = self.undo.is_some().then(|| Before::Was(touched, self.entry(slot).node.clone()));
        if let (Some(undo), Some(before)) = (&mut self.undo, before) {
            undo.changes.push((slot, before));
        }
        // A transaction may touch a znode several times: a multi, or one that takes several children.
        if touched < zxid {
            self.queue.push_back((zxid, slot));
        }
        self.replace(slot, zxid, node);
    }

    fn insert(&mut self, zxid: Zxid, path: &str, node: Option<NodeState>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("fewer pending changes than transactions in flight")
        });
        if let Some(owner) = self.owner(node.as_ref()) {
            self.ephemerals.insert((owner, slot));
        }
        self.entries[slot as usize] = Some(Entry { path: path.into(), zxid, node });
        let (entries, hasher) = (&self.entries, &self.hasher);
        let path_of = |slot: u32| &*entries[slot as usize].as_ref().expect("indexed slots are filled").path;
        self.index.insert_unique(hasher.hash_one(path), slot, |&slot| hasher.hash_one(path_of(slot)));
        if let Some(undo) = &mut self.undo {
            undo.changes.push((slot, Before::Absent));
        }
        slot
    }

    fn replace(&mut self, slot: u32, zxid: Zxid, node: Option<NodeState>) {
        let (before, after) = (self.owner(self.entry(slot).node.as_ref()), self.owner(node.as_ref()));
        if before != after {
            if let Some(owner) = before {
                self.ephemerals.remove(&(owner, slot));
            }
            if let Some(owner) = after {
                self.ephemerals.insert((owner, slot));
            }
        }
        let entry = self.entries[slot as usize].as_mut().expect("indexed slots are filled");
        entry.zxid = zxid;
        entry.node = node;
    }

    fn remove(&mut self, slot: u32) {
        let entry = self.entries[slot as usize].take().expect("a slot is freed once");
        if let Some(owner) = self.owner(entry.node.as_ref()) {
            self.ephemerals.remove(&(owner, slot));
        }
        let hash = self.hasher.hash_one(&*entry.path);
        let found = self.index.find_entry(hash, |&other| other == slot);
        found.expect("filled slots are indexed").remove();
        self.free.push(slot);
    }

    fn owner(&self, node: Option<&NodeState>) -> Option<SessionId> {
        let owner = node?.stat.ephemeral_owner;
        match NodeKind::from_owner(owner, self.extended_types) {
            NodeKind::Ephemeral => Some(SessionId(owner)),
            NodeKind::Container | NodeKind::Persistent | NodeKind::Ttl(_) => None,
        }
    }
}
