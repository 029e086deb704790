//! One znode of the reference tree.

use std::collections::BTreeSet;

use zabra_core::time::WallTime;
use zabra_core::types::{SessionId, Stat, Zxid};

/// A znode, with the numbers that ZooKeeper stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Names of its children.
    pub children: BTreeSet<String>,
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
    /// How many children were ever created: names sequential ones, and never goes back.
    pub created: i32,
    /// The session that it goes with; none for a persistent one.
    pub owner: SessionId,
}

impl Node {
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
            aversion: 0,
            ephemeral_owner: self.owner,
            data_length: self.data.as_ref().map_or(0, Vec::len) as i32,
            num_children: present,
            pzxid: self.pzxid,
        }
    }
}
