//! One znode as the tree keeps it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::time::WallTime;
use crate::types::{StatPersisted, Zxid};

/// The parent's slot in the root, which has none.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// A znode. Its size times the number of znodes is most of the server's memory, so what only some have is
/// boxed.
#[derive(Debug)]
pub(super) struct Node {
    /// The full path, `/` for the root.
    pub(super) path: Box<str>,
    /// The data; null and empty differ.
    pub(super) data: Option<Box<[u8]>>,
    pub(super) czxid: Zxid,
    pub(super) mzxid: Zxid,
    pub(super) ctime: WallTime,
    pub(super) mtime: WallTime,
    /// Session, container or TTL, as [`crate::types::NodeKind`] encodes it.
    pub(super) owner: i64,
    /// `None` where no child was ever created or deleted: then cversion is 0 and pzxid is czxid.
    pub(super) family: Option<Box<Family>>,
    pub(super) version: i32,
    pub(super) aversion: i32,
    /// An entry of the tree's ACL table, which counts this node.
    pub(super) acl: u32,
    /// This node's part of the tree's digest; 0 where it has none.
    pub(super) digest: u32,
    /// The parent's slot, which is below this node's own; [`NO_SLOT`] in the root.
    pub(super) parent: u32,
    /// Where this node's slot stands in the parent's children.
    pub(super) position: u32,
}

/// What a znode has once it has had a child.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) pzxid: Zxid,
    pub(super) cversion: i32,
    /// The children's slots, in no particular order; each child knows its position.
    pub(super) children: Vec<u32>,
}

// A million znodes at ten bytes more is ten megabytes more: grow it on purpose only.
const _: () = assert!(size_of::<Option<Node>>() == 104 || size_of::<usize>() != 8);

impl Node {
    /// A znode that is not in the tree yet.
    pub(super) fn new(
        path: Box<str>,
        data: Option<Box<[u8]>>,
        acl: u32,
        parent: u32,
        stat: &StatPersisted,
    ) -> Self {
        let family = (stat.cversion != 0 || stat.pzxid != stat.czxid)
            .then(|| Box::new(Family { pzxid: stat.pzxid, cversion: stat.cversion, children: Vec::new() }));
        Self {
            path,
            data,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            owner: stat.ephemeral_owner,
            family,
            version: stat.version,
            aversion: stat.aversion,
            acl,
            digest: 0,
            parent,
            position: 0,
        }
    }

    pub(super) fn stat_persisted(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion(),
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            pzxid: self.pzxid(),
        }
    }

    /// How often a child was created.
    pub(super) fn cversion(&self) -> i32 {
        self.family.as_ref().map_or(0, |family| family.cversion)
    }

    /// The transaction that last changed the list of children.
    pub(super) fn pzxid(&self) -> Zxid {
        self.family.as_ref().map_or(self.czxid, |family| family.pzxid)
    }

    /// Slots of the children.
    pub(super) fn children(&self) -> &[u32] {
        self.family.as_ref().map_or(&[], |family| &family.children)
    }

    /// The family, begun if there is none yet.
    pub(super) fn family_mut(&mut self) -> &mut Family {
        let pzxid = self.czxid;
        self.family.get_or_insert_with(|| Box::new(Family { pzxid, cversion: 0, children: Vec::new() }))
    }

    pub(super) fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len())
    }
}

impl Family {
    /// Removes the child at `position` and says which slot has moved there, if one has.
    pub(super) fn remove_child(&mut self, position: u32) -> Option<u32> {
        self.children.swap_remove(position as usize);
        // A parent that lost most of its children gives their room back, step by step.
        if self.children.capacity() > 64 && self.children.len() < self.children.capacity() / 4 {
            self.children.shrink_to(self.children.capacity() / 2);
        }
        self.children.get(position as usize).copied()
    }
}
