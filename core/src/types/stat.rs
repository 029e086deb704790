//! What is known about a znode besides its data.

use super::ids::SessionId;
use super::zxid::Zxid;
use crate::time::WallTime;

/// A znode's metadata as clients see it: eleven fields, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that created the znode.
    pub czxid: Zxid,
    /// The transaction that last set its data.
    pub mzxid: Zxid,
    /// When it was created, by the leader's clock.
    pub ctime: WallTime,
    /// When its data was last set, by the leader's clock.
    pub mtime: WallTime,
    /// How often the data was set.
    pub version: i32,
    /// How often a child was created or deleted: twice the persisted counter minus the children there are.
    pub cversion: i32,
    /// How often the ACL was set.
    pub aversion: i32,
    /// The owning session of an ephemeral znode; zero for every other kind.
    pub ephemeral_owner: SessionId,
    /// Bytes of data; zero for null.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// The transaction that last created or deleted a child.
    pub pzxid: Zxid,
}

/// A znode's metadata as it is stored: in snapshots, in digests, and in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatPersisted {
    /// See [`Stat::czxid`].
    pub czxid: Zxid,
    /// See [`Stat::mzxid`].
    pub mzxid: Zxid,
    /// See [`Stat::ctime`].
    pub ctime: WallTime,
    /// See [`Stat::mtime`].
    pub mtime: WallTime,
    /// See [`Stat::version`].
    pub version: i32,
    /// How often a child was created; deletions do not count. Names sequential children.
    pub cversion: i32,
    /// See [`Stat::aversion`].
    pub aversion: i32,
    /// The owner field with its encodings of containers and TTL nodes, see [`super::txn::NodeKind`].
    pub ephemeral_owner: i64,
    /// See [`Stat::pzxid`].
    pub pzxid: Zxid,
}
