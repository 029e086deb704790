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
use alloc::string::String;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::ASSERTS_ALL;
use crate::tree::{DigestPrefix, Hint, Tree};
use crate::types::{AclList, NodeKind, SessionId, StatPersisted, Zxid};

/// Bytes of a path whose room a free entry keeps for the next one.
const PATH_KEPT_MAX: usize = 256;

/// Where a path was found, so that it need not be looked for again. Holds until the next change of this path.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The path's hash.
    hash: u64,
    /// Its entry, if something is pending.
    entry: Option<u32>,
    /// What helps to apply a change.
    hint: Hint,
}

impl Place {
    /// What helps to apply a change of this znode or, where it is a parent, the creation of a child.
    pub const fn hint(&self) -> Hint {
        self.hint
    }

    /// The path's hash.
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

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
    /// Where it was found.
    pub place: Place,
}

/// Changes of one znode, or room for them: an entry that is free keeps its path's memory.
#[derive(Debug)]
struct Entry {
    in_use: bool,
    path: String,
    /// The path's hash.
    hash: u64,
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
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entry by the hash of its path, which is the tree's. Never iterated.
    index: HashTable<u32>,
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
    pub fn new(tree: &Tree) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
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
        let hash = tree.path_hash(path);
        if let Some(slot) = self.find(path, hash) {
            let mut node = self.entry(slot).node.clone()?;
            node.place.entry = Some(slot);
            return Some(node);
        }
        let (node, hint) = tree.node_and_hint(path, hash)?;
        Some(NodeState {
            stat: node.persisted(),
            child_count: node.child_count(),
            acl: node.acl().clone(),
            prefix: None,
            digest: node.digest(),
            place: Place { hash, entry: None, hint },
        })
    }

    /// Where a znode may be created; `None` if there will be one.
    pub fn vacancy(&self, tree: &Tree, path: &str) -> Option<Place> {
        let hash = tree.path_hash(path);
        let entry = self.find(path, hash);
        let exists = match entry {
            Some(slot) => self.entry(slot).node.is_some(),
            None => tree.node_and_hint(path, hash).is_some(),
        };
        (!exists).then_some(Place { hash, entry, hint: Hint::NONE })
    }

    /// Proposes a new znode at a path that is vacant. Returns what its digest knows of path and data.
    pub fn create(
        &mut self,
        zxid: Zxid,
        (path, place): (&str, Place),
        data: Option<&[u8]>,
        acl: AclList,
        stat: StatPersisted,
    ) -> Option<DigestPrefix> {
        let mut state = NodeState { stat, child_count: 0, acl, prefix: None, digest: 0, place };
        let prefix = self.set_data_digest(path, data, &mut state);
        self.put(zxid, path, place, Some(state));
        prefix
    }

    /// Proposes new data, and with it the metadata that `state` holds now. Returns what the digest knows of both.
    pub fn set_data(
        &mut self,
        zxid: Zxid,
        path: &str,
        data: Option<&[u8]>,
        mut state: NodeState,
    ) -> Option<DigestPrefix> {
        self.digest = self.digest.wrapping_sub(state.digest);
        let prefix = self.set_data_digest(path, data, &mut state);
        self.put(zxid, path, state.place, Some(state));
        prefix
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
        self.put(zxid, path, state.place, Some(state));
    }

    /// Proposes that the znode, which will be in `state` until then, goes.
    pub fn delete(&mut self, zxid: Zxid, path: &str, state: &NodeState) {
        self.digest = self.digest.wrapping_sub(state.digest);
        self.put(zxid, path, state.place, None);
    }

    fn set_data_digest(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        state: &mut NodeState,
    ) -> Option<DigestPrefix> {
        if self.digest_enabled {
            let prefix = DigestPrefix::new(path, data);
            state.digest = prefix.digest(&state.stat);
            state.prefix = Some(prefix);
            self.digest = self.digest.wrapping_add(state.digest);
        }
        state.prefix
    }

    /// Paths of the ephemeral znodes that the session will own, in order.
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> BTreeSet<Box<str>> {
        let mut paths: BTreeSet<Box<str>> = tree
            .ephemerals(session)
            // What is pending may be gone, or another session's by then.
            .filter(|path| {
                let entry = self.find(path, tree.path_hash(path));
                let pending = entry.map(|slot| self.owner(self.entry(slot).node.as_ref()));
                pending.is_none_or(|owner| owner == Some(session))
            })
            .map(Box::from)
            .collect();
        let own = (session, 0)..=(session, u32::MAX);
        paths.extend(self.ephemerals.range(own).map(|&(_, slot)| Box::from(&*self.entry(slot).path)));
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
        assert!(self.queue.front().is_none_or(|&(oldest, _)| oldest > zxid), "the queue is in order");
    }

    /// Predicts digests from this one on, the tree's.
    pub fn begin_digest(&mut self, digest: u64) {
        self.digest = digest;
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

    fn find(&self, path: &str, hash: u64) -> Option<u32> {
        let is_it = |&slot: &u32| {
            let entry = self.entry(slot);
            entry.hash == hash && entry.path == path
        };
        self.index.find(hash, is_it).copied()
    }

    fn entry(&self, slot: u32) -> &Entry {
        let entry = &self.entries[slot as usize];
        assert!(entry.in_use, "indexed and queued entries are in use");
        entry
    }

    fn put(&mut self, zxid: Zxid, path: &str, place: Place, node: Option<NodeState>) {
        if ASSERTS_ALL {
            assert_eq!(self.find(path, place.hash), place.entry, "a place of another time");
        }
        let Some(slot) = place.entry else {
            let slot = self.insert(zxid, path, place.hash, node);
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

    fn insert(&mut self, zxid: Zxid, path: &str, hash: u64, node: Option<NodeState>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { in_use: false, path: String::new(), hash, zxid, node: None });
            u32::try_from(self.entries.len() - 1).expect("fewer pending changes than transactions in flight")
        });
        if let Some(owner) = self.owner(node.as_ref()) {
            self.ephemerals.insert((owner, slot));
        }
        let entry = &mut self.entries[slot as usize];
        assert!(!entry.in_use, "a free entry is not in use");
        entry.in_use = true;
        entry.path.push_str(path);
        (entry.hash, entry.zxid, entry.node) = (hash, zxid, node);
        let entries = &self.entries;
        self.index.insert_unique(hash, slot, |&slot| entries[slot as usize].hash);
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
        let entry = &mut self.entries[slot as usize];
        entry.zxid = zxid;
        entry.node = node;
    }

    fn remove(&mut self, slot: u32) {
        if let Some(owner) = self.owner(self.entry(slot).node.as_ref()) {
            self.ephemerals.remove(&(owner, slot));
        }
        let entry = &mut self.entries[slot as usize];
        let found = self.index.find_entry(entry.hash, |&other| other == slot);
        found.expect("entries in use are indexed").remove();
        entry.in_use = false;
        entry.node = None;
        entry.path.clear();
        entry.path.shrink_to(PATH_KEPT_MAX);
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
