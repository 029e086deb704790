//! The znode tree: what is where, and what a committed transaction does to it.
//!
//! It knows nothing of sessions, permissions or requests: whether a transaction may be was decided when it was
//! made, and applying one cannot fail. Two trees that applied the same transactions are equal, whatever they were
//! loaded from.
//!
//! Invariants:
//! - Every znode but the root is in the index under its path, is listed once among its parent's children, and
//!   knows its place there.
//! - A child's slot is above its parent's, which makes walking by slot a walk from parents to children.
//! - The digest is the wrapping sum of the nodes' own, which are kept up to date with every change.
//! - Sets of ephemeral, container and TTL slots are exactly the znodes of that kind.

mod acl_table;
mod apply;
mod cursor;
mod digest;
mod expire;
mod hint;
mod index;
#[cfg(any(test, feature = "testing"))]
mod invariants;
mod load;
mod node;
mod quota;
mod slab;
#[cfg(test)]
mod tests;
mod watch;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;

pub use self::apply::{Applied, Change};
pub use self::cursor::{SnapshotMark, SnapshotNode};
pub use self::digest::{DIGEST_VERSION, DigestPrefix, node_digest};
pub use self::expire::is_expired;
pub use self::hint::Hint;
pub use self::load::{LoadError, TreeLoader};
pub use self::quota::{QuotaExceeded, QuotaResource, QuotaTotals, StatsTrack};
pub use self::watch::{WatchSummary, WatchTable, WatchedEvent};

use self::acl_table::AclTable;
use self::cursor::Cursor;
use self::digest::History;
use self::index::{Hashed, PathIndex};
use self::node::{NO_SLOT, Node};
use self::quota::QuotaSet;
use self::slab::Slab;
use crate::types::{Acl, AclList, Id, NodeKind, Perms, SessionId, Stat, StatPersisted, Zxid, path};

/// The root is never deleted, so it keeps the first slot.
const ROOT_SLOT: u32 = 0;

/// What a tree is to do beyond holding znodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// `zookeeper.extendedTypesEnabled`: whether owner fields can mean TTL nodes.
    pub extended_types: bool,
    /// `zookeeper.digest.enabled`: whether a digest is kept; without, every digest is 0.
    pub digest_enabled: bool,
}

/// The znodes of one server.
#[derive(Debug)]
pub struct Tree {
    options: TreeOptions,
    nodes: Slab<Node>,
    /// Every znode but the root.
    index: PathIndex<Hashed>,
    acls: AclTable,
    /// Slots of each session's ephemeral znodes; no session without any.
    ephemerals: BTreeMap<SessionId, BTreeSet<u32>>,
    /// How many slots `ephemerals` has in all.
    ephemeral_count: usize,
    containers: BTreeSet<u32>,
    ttls: BTreeSet<u32>,
    quotas: QuotaSet,
    digest: u64,
    history: History,
    /// Never goes back.
    last_zxid: Zxid,
    /// Bytes of all paths and data.
    data_size: u64,
    cursor: Cursor,
}

impl Tree {
    /// A tree with the znodes that are always there. `hash_seed` keys the hash of paths, which clients choose.
    pub fn new(options: TreeOptions, hash_seed: [u64; 4]) -> Self {
        let mut tree = Self::without_nodes(options, hash_seed);
        let stat = StatPersisted::default();
        let root = Node::new(path::ROOT.into(), Some(Box::default()), acl_table::OPEN, NO_SLOT, &stat);
        tree.insert_node(root);
        for (parent, path) in
            [(path::ROOT, path::ZOOKEEPER), (path::ZOOKEEPER, path::QUOTA), (path::ZOOKEEPER, path::CONFIG)]
        {
            let parent = tree.find(parent).expect("the parent was inserted before");
            tree.insert_node(Node::new(path.into(), Some(Box::default()), acl_table::OPEN, parent, &stat));
        }
        // Only the super user may reconfigure, unless an administrator opens the node.
        let config = tree.find(path::CONFIG).expect("it was inserted just now");
        let readable = AclList::from(vec![Acl { perms: Perms::READ, id: Id::ANYONE }]);
        tree.replace_acl(config, readable, -1);
        tree
    }

    /// A tree with nothing, not even a root.
    fn without_nodes(options: TreeOptions, hash_seed: [u64; 4]) -> Self {
        let index = PathIndex::new(hash_seed);
        let acls = AclTable::new(index.hasher().clone());
        Self {
            options,
            nodes: Slab::new(),
            index,
            acls,
            ephemerals: BTreeMap::new(),
            ephemeral_count: 0,
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: QuotaSet::default(),
            digest: 0,
            history: History::default(),
            last_zxid: Zxid::ZERO,
            data_size: 0,
            cursor: Cursor::new(),
        }
    }

    /// The znode at `path`.
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|slot| self.node_ref(slot))
    }

    /// The hash under which `path` is found; clients choose paths, so it is keyed.
    pub fn path_hash(&self, path: &str) -> u64 {
        self.index.hash(path)
    }

    /// The znode at `path`, which has this [hash](Self::path_hash), and what helps to change it later.
    pub fn node_and_hint(&self, path: &str, hash: u64) -> Option<(NodeRef<'_>, Hint)> {
        let slot = self.find_hashed(path, hash)?;
        Some((self.node_ref(slot), Hint::of(slot, hash)))
    }

    /// The options it was made with.
    pub const fn options(&self) -> TreeOptions {
        self.options
    }

    /// The last transaction that was applied.
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Whatever comes next has a zxid above this one.
    pub(crate) fn skip_to(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// The digest of the tree, by algorithm [`DIGEST_VERSION`]; 0 if none is kept.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Digests after the last transactions whose zxid is a multiple of 128, oldest first.
    pub fn digest_history(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.history.iter()
    }

    /// How many znodes there are, as ZooKeeper counts: the root twice.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Bytes of all paths and data.
    pub const fn approximate_data_size(&self) -> u64 {
        self.data_size
    }

    /// Paths of the ephemeral znodes of `session`.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        let slots = self.ephemerals.get(&session).into_iter().flatten();
        slots.map(|&slot| &*self.nodes.get(slot).path)
    }

    /// Sessions that own ephemeral znodes, ascending.
    pub fn ephemeral_sessions(&self) -> impl Iterator<Item = SessionId> + Clone {
        self.ephemerals.keys().copied()
    }

    /// How many ephemeral znodes there are.
    pub const fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// How many znodes lie below `path`; `None` if there is no znode there.
    pub fn descendant_count(&self, path: &str) -> Option<usize> {
        if path == path::ROOT {
            return Some(self.nodes.len() - 1);
        }
        let top = self.find(path)?;
        let mut count = 0;
        let mut pending = vec![top];
        while let Some(slot) = pending.pop() {
            let children = self.nodes.get(slot).children();
            count += children.len();
            pending.extend(children.iter().filter(|&&child| self.nodes.get(child).family.is_some()));
        }
        Some(count)
    }

    fn node_ref(&self, slot: u32) -> NodeRef<'_> {
        NodeRef { tree: self, node: self.nodes.get(slot) }
    }

    fn find(&self, path: &str) -> Option<u32> {
        self.find_hashed(path, self.index.hash(path))
    }

    /// The slot of `path`, which is nearly always where `hint` says.
    fn find_hinted(&self, path: &str, hint: &Hint) -> Option<u32> {
        match hint.slot.filter(|&slot| self.nodes.try_get(slot).is_some_and(|node| *node.path == *path)) {
            Some(slot) => Some(slot),
            None => self.find(path),
        }
    }

    fn find_hashed(&self, path: &str, hash: u64) -> Option<u32> {
        if path == path::ROOT {
            return Some(ROOT_SLOT);
        }
        self.index.find(hash, |slot| *self.nodes.get(slot).path == *path)
    }

    /// Puts a znode under its parent, which it names, and counts it in everywhere. Its path is not in use, its
    /// ACL is already counted.
    fn insert_node(&mut self, node: Node) -> u32 {
        let hash = self.index.hash(&node.path);
        self.insert_hashed(node, hash, None)
    }

    fn insert_hashed(&mut self, mut node: Node, hash: u64, prefix: Option<DigestPrefix>) -> u32 {
        if self.options.digest_enabled {
            let prefix = prefix.unwrap_or_else(|| DigestPrefix::new(&node.path, node.data.as_deref()));
            node.digest = prefix.digest32(&node.stat_persisted());
            self.digest = self.digest.wrapping_add(u64::from(node.digest));
        }
        self.data_size += (node.path.len() + node.data_len()) as u64;
        let (parent, owner) = (node.parent, node.owner);
        let floor = if parent == NO_SLOT { ROOT_SLOT } else { parent + 1 };
        let slot = self.nodes.insert(floor, node);
        self.cursor.before_insert(slot);
        if parent == NO_SLOT {
            assert_eq!(slot, ROOT_SLOT);
        } else {
            assert!(slot > parent);
            let nodes = &self.nodes;
            self.index.insert(hash, slot, |slot| &nodes.get(slot).path);
            let children = &mut self.nodes.get_mut(parent).family_mut().children;
            let position = children.len() as u32;
            children.push(slot);
            self.nodes.get_mut(slot).position = position;
        }
        self.enlist(slot, owner);
        slot
    }

    /// Takes a znode that has no children out of everything that counts it, but for its ACL. `hash` is its path's, if
    /// known.
    fn remove_node(&mut self, slot: u32, hash: Option<u64>) -> Node {
        let node = self.nodes.remove(slot);
        assert!(node.children().is_empty());
        let hash = hash.unwrap_or_else(|| self.index.hash(&node.path));
        self.index.remove(hash, slot);
        let family = self.nodes.get_mut(node.parent).family_mut();
        if let Some(moved) = family.remove_child(node.position) {
            self.nodes.get_mut(moved).position = node.position;
        }
        self.digest = self.digest.wrapping_sub(u64::from(node.digest));
        self.data_size -= (node.path.len() + node.data_len()) as u64;
        self.delist(slot, node.owner);
        node
    }

    /// Computes the znode's digest anew after a change. `prefix` is what it knows of path and data, if anybody has
    /// looked at them already.
    fn refresh_digest(&mut self, slot: u32, prefix: Option<DigestPrefix>) {
        if !self.options.digest_enabled {
            return;
        }
        let node = self.nodes.get_mut(slot);
        let prefix = prefix.unwrap_or_else(|| DigestPrefix::new(&node.path, node.data.as_deref()));
        let digest = prefix.digest32(&node.stat_persisted());
        self.digest = self.digest.wrapping_sub(u64::from(node.digest)).wrapping_add(u64::from(digest));
        node.digest = digest;
    }

    fn kind_of(&self, owner: i64) -> NodeKind {
        NodeKind::from_owner(owner, self.options.extended_types)
    }

    /// Puts a znode on the list of its kind.
    fn enlist(&mut self, slot: u32, owner: i64) {
        match self.kind_of(owner) {
            NodeKind::Container => {
                self.containers.insert(slot);
            }
            NodeKind::Ephemeral => {
                self.ephemeral_count += 1;
                self.ephemerals.entry(SessionId(owner)).or_default().insert(slot);
            }
            NodeKind::Persistent => {}
            NodeKind::Ttl(_) => {
                self.ttls.insert(slot);
            }
        }
    }

    fn delist(&mut self, slot: u32, owner: i64) {
        match self.kind_of(owner) {
            NodeKind::Container => {
                self.containers.remove(&slot);
            }
            NodeKind::Ephemeral => {
                let session = SessionId(owner);
                let slots = self.ephemerals.get_mut(&session).expect("an ephemeral znode is listed");
                let was_listed = slots.remove(&slot);
                assert!(was_listed);
                if slots.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemeral_count -= 1;
            }
            NodeKind::Persistent => {}
            NodeKind::Ttl(_) => {
                self.ttls.remove(&slot);
            }
        }
    }
}

/// A znode, for reading.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    tree: &'a Tree,
    node: &'a Node,
}

impl<'a> NodeRef<'a> {
    /// Its full path.
    pub fn path(&self) -> &'a str {
        &self.node.path
    }

    /// Its data; null and empty differ.
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node.data.as_deref()
    }

    /// Its metadata as clients see it.
    pub fn stat(&self) -> Stat {
        let node = self.node;
        let children = self.child_count() as i32;
        let ephemeral_owner = match self.kind() {
            NodeKind::Ephemeral => SessionId(node.owner),
            NodeKind::Container | NodeKind::Persistent | NodeKind::Ttl(_) => SessionId::NONE,
        };
        Stat {
            czxid: node.czxid,
            mzxid: node.mzxid,
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            // Each child was created once, and each one that is gone was deleted once.
            cversion: node.cversion().wrapping_mul(2).wrapping_sub(children),
            aversion: node.aversion,
            ephemeral_owner,
            data_length: node.data_len() as i32,
            num_children: children,
            pzxid: node.pzxid(),
        }
    }

    /// Its metadata as stored.
    pub fn persisted(&self) -> StatPersisted {
        self.node.stat_persisted()
    }

    /// Its access control list.
    pub fn acl(&self) -> &'a AclList {
        self.tree.acls.list(self.node.acl)
    }

    /// How many children it has.
    pub fn child_count(&self) -> usize {
        self.node.children().len()
    }

    /// Names of its children, in an order that means nothing.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let tree = self.tree;
        self.node.children().iter().map(|&slot| path::name(&tree.nodes.get(slot).path))
    }

    /// What kind of znode it is.
    pub fn kind(&self) -> NodeKind {
        self.tree.kind_of(self.node.owner)
    }

    /// Its part of the tree's digest; 0 if it has none.
    pub fn digest(&self) -> u64 {
        u64::from(self.node.digest)
    }
}
