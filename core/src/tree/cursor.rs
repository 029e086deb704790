//! A snapshot at one zxid, handed out in chunks while transactions go on.
//!
//! The walk is by slot. A parent's slot is below its children's, so parents come first, and the cursor is a plain
//! number. A transaction that is about to change a slot the walk has yet to reach saves what was there when the
//! snapshot began, once; the walk shows that instead. Without a snapshot this costs one comparison.
//!
//! The saved images are bounded by the tree as it was: each slot is saved at most once.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::node::{NO_SLOT, Node};
use super::{ROOT_SLOT, Tree};
use crate::types::{AclList, StatPersisted, Zxid};

/// Bytes of a snapshot node besides its path and data: two lengths, the ACL's id, the stat.
const NODE_OVERHEAD: usize = 4 + 4 + 8 + 60;
/// What a slot with nothing to show counts, so that a chunk is bounded work too.
const EMPTY_COST: usize = 8;

/// What a snapshot shows: the state after this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMark {
    /// The last transaction that is in it.
    pub zxid: Zxid,
    /// The digest of the tree.
    pub digest: u64,
    /// How many znodes the snapshot will have.
    pub nodes: usize,
}

/// One znode of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotNode<'a> {
    /// Its path; empty for the root.
    pub path: &'a str,
    /// Its data.
    pub data: Option<&'a [u8]>,
    /// Its ACL, by the id that [`Tree::acl_entries`] gives it.
    pub acl_id: i64,
    /// The rest.
    pub stat: StatPersisted,
}

/// How far the snapshot is, if there is one.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The next slot to show; [`NO_SLOT`], which is above every slot, when no snapshot is taken.
    next: u32,
    /// One above the slots that the snapshot covers.
    end: u32,
    /// What slots from `next` to `end` held at the beginning, if they were touched since; `None`: nothing.
    saved: BTreeMap<u32, Option<Box<Image>>>,
}

/// A znode as it was.
#[derive(Debug)]
struct Image {
    path: Box<str>,
    data: Option<Box<[u8]>>,
    acl_id: i64,
    stat: StatPersisted,
}

impl Cursor {
    pub(super) const fn new() -> Self {
        Self { next: NO_SLOT, end: 0, saved: BTreeMap::new() }
    }

    /// Whether the walk has yet to show what `slot` held when it began.
    fn covers(&self, slot: u32) -> bool {
        slot >= self.next && slot < self.end
    }

    fn is_active(&self) -> bool {
        self.next != NO_SLOT
    }

    /// Notes that a znode comes into `slot`, which is empty.
    pub(super) fn before_insert(&mut self, slot: u32) {
        if self.covers(slot) {
            self.saved.entry(slot).or_insert(None);
        }
    }
}

impl Tree {
    /// Begins a snapshot of the tree as it is now.
    ///
    /// # Panics
    /// If one is being taken already.
    pub fn begin_snapshot(&mut self) -> SnapshotMark {
        assert!(!self.cursor.is_active(), "one snapshot is taken at a time");
        assert!(self.cursor.saved.is_empty());
        self.cursor.next = ROOT_SLOT;
        self.cursor.end = self.nodes.end();
        self.acls.pin();
        SnapshotMark { zxid: self.last_zxid, digest: self.digest, nodes: self.nodes.len() }
    }

    /// Hands out the next znodes, about `max_bytes` of them as the disk counts, parents before children, and says
    /// whether there are more. At least one slot is looked at.
    ///
    /// # Panics
    /// If no snapshot is being taken.
    pub fn snapshot_chunk(&mut self, max_bytes: usize, sink: &mut dyn FnMut(SnapshotNode<'_>)) -> bool {
        assert!(self.cursor.is_active(), "a chunk belongs to a snapshot that was begun");
        let mut bytes = 0;
        while self.cursor.next < self.cursor.end {
            bytes += self.show(self.cursor.next, sink);
            self.cursor.next += 1;
            if bytes >= max_bytes {
                break;
            }
        }
        self.cursor.next < self.cursor.end
    }

    /// Ends the snapshot, whether or not everything was handed out. Without one it does nothing.
    pub fn end_snapshot(&mut self) {
        if self.cursor.is_active() {
            self.cursor = Cursor::new();
            self.acls.unpin();
        }
    }

    /// Whether a snapshot is being taken.
    pub fn is_snapshot_active(&self) -> bool {
        self.cursor.is_active()
    }

    /// The ACLs that znodes have, by id, ascending; while a snapshot is taken, as they were when it began.
    pub fn acl_entries(&self) -> impl Iterator<Item = (i64, &AclList)> + Clone {
        self.acls.iter()
    }

    /// Shows what `slot` held at the beginning and says what that counts.
    fn show(&mut self, slot: u32, sink: &mut dyn FnMut(SnapshotNode<'_>)) -> usize {
        if let Some(saved) = self.cursor.saved.remove(&slot) {
            let Some(image) = saved else { return EMPTY_COST };
            let Image { path, data, acl_id, stat } = &*image;
            return emit(slot, path, data.as_deref(), *acl_id, *stat, sink);
        }
        let Some(node) = self.nodes.try_get(slot) else { return EMPTY_COST };
        let acl_id = self.acls.id(node.acl);
        emit(slot, &node.path, node.data.as_deref(), acl_id, node.stat_persisted(), sink)
    }

    /// To be called before anything of the znode at `slot` changes.
    pub(super) fn before_change(&mut self, slot: u32) {
        if self.cursor.covers(slot) && !self.cursor.saved.contains_key(&slot) {
            let node = self.nodes.get(slot);
            let data = node.data.clone();
            self.save(slot, node.path.clone(), data);
        }
    }

    /// To be called before the znode's data is replaced; takes the data out if it is still needed.
    pub(super) fn before_set_data(&mut self, slot: u32) {
        if self.cursor.covers(slot) && !self.cursor.saved.contains_key(&slot) {
            let data = self.nodes.get_mut(slot).data.take();
            self.save(slot, self.nodes.get(slot).path.clone(), data);
        }
    }

    /// To be called with a znode that has just left `slot`.
    pub(super) fn after_remove(&mut self, slot: u32, node: Node) {
        if self.cursor.covers(slot) && !self.cursor.saved.contains_key(&slot) {
            let stat = node.stat_persisted();
            let acl_id = self.acls.id(node.acl);
            let image = Image { path: node.path, data: node.data, acl_id, stat };
            self.cursor.saved.insert(slot, Some(Box::new(image)));
        }
    }

    fn save(&mut self, slot: u32, path: Box<str>, data: Option<Box<[u8]>>) {
        let node = self.nodes.get(slot);
        let image = Image { path, data, acl_id: self.acls.id(node.acl), stat: node.stat_persisted() };
        self.cursor.saved.insert(slot, Some(Box::new(image)));
    }
}

fn emit(
    slot: u32,
    path: &str,
    data: Option<&[u8]>,
    acl_id: i64,
    stat: StatPersisted,
    sink: &mut dyn FnMut(SnapshotNode<'_>),
) -> usize {
    // On disk the root is the empty path; "/" would end the list.
    let path = if slot == ROOT_SLOT { "" } else { path };
    sink(SnapshotNode { path, data, acl_id, stat });
    NODE_OVERHEAD + path.len() + data.map_or(0, <[u8]>::len)
}
