//! One znode of the reference tree.

use std::collections::BTreeSet;
use std::rc::Rc;

use zabra_core::time::WallTime;
use zabra_core::types::{AclList, SessionId, Stat, Zxid};

/// A znode, with the numbers that ZooKeeper stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Names of its children. Every version of a znode is kept, and most have the children of the one before.
    pub children: Rc<BTreeSet<Rc<str>>>,
    /// The transaction that created it.
    pub czxid: Zxid,
    /// The transaction that last set its data.
    pub mzxid: Zxid,
    /// The transaction that last created or deleted a child; at first the one that created the znode.
    pub pzxid: Zxid,
    /// When it was created.
    pub ctime: WallTime,
    /// When its data was last set.
    pub mtime: WallTime,
    /// How often its data was set.
    pub version: i32,
    /// Who may do what.
    pub acl: AclList,
    /// How often that was set.
    pub aversion: i32,
    /// How many children were ever created: names sequential ones, and never goes back.
    pub created: i32,
    /// The session that it goes with; none for a persistent one. Containers and TTL nodes have a number here that is no
    /// session's.
    pub owner: SessionId,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data: None,
            children: Rc::default(),
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            pzxid: Zxid::ZERO,
            ctime: WallTime(0),
            mtime: WallTime(0),
            version: 0,
            acl: AclList::OpenUnsafe,
            aversion: 0,
            created: 0,
            owner: SessionId(0),
        }
    }
}

/// What a container has in place of an owner.
pub const CONTAINER: SessionId = SessionId(i64::MIN);

/// What a TTL node has in the highest byte of its owner; the rest is its TTL.
const TTL: i64 = 0xff << 56;

impl Node {
    /// The owner of a TTL node.
    pub const fn ttl_owner(ttl: i64) -> SessionId {
        SessionId(TTL | ttl)
    }

    /// How long it lives without being set, in milliseconds; for a TTL node.
    pub const fn ttl(&self) -> Option<i64> {
        if self.owner.0 & TTL == TTL { Some(self.owner.0 & !TTL) } else { None }
    }

    /// The session that it goes with.
    pub fn ephemeral_of(&self) -> Option<SessionId> {
        (self.owner.0 != 0 && self.owner != CONTAINER && self.ttl().is_none()).then_some(self.owner)
    }

    /// What clients see. Their `cversion` counts creations and deletions: the deletions are the children that
    /// were created and are not there.
    pub fn stat(&self) -> Stat {
        let present = self.children.len() as i32;
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.created * 2 - present,
            aversion: self.aversion,
            // Clients are not shown what containers and TTL nodes have in its place.
            ephemeral_owner: self.ephemeral_of().unwrap_or_default(),
            data_length: self.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: present,
            pzxid: self.pzxid,
        }
    }
}
