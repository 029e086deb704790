//! Transactions: what a write became once the server that ordered it had decided its outcome.
//!
//! A transaction is idempotent in the way recovery needs: it carries resulting versions, not increments.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::acl::AclList;
use super::error_code::ErrorCode;
use super::ids::SessionId;
use super::op_code::OpCode;
use super::zxid::Zxid;
use crate::time::WallTime;

/// Who asked for a transaction, and when and where in the order it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked; [`SessionId::NONE`] for the server's own.
    pub session: SessionId,
    /// The client's xid of the request.
    pub cxid: i32,
    /// Its place in the total order.
    pub zxid: Zxid,
    /// The ordering server's wall clock.
    pub time: WallTime,
    /// What kind of transaction follows.
    pub op: OpCode,
}

/// The state of the tree after a transaction, as the server that ordered it computed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// Version of the digest algorithm; digests of other versions are not compared.
    pub version: i32,
    /// The digest of the whole tree.
    pub tree_digest: u64,
}

/// What kind of znode is created. The operation decides it, never the request's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Stays until deleted; may get children, and is removed by the server once the last is gone.
    Container,
    /// Goes with the session that created it.
    Ephemeral,
    /// Stays until deleted.
    Persistent,
    /// Removed by the server once it has no children and was not set for this many milliseconds.
    Ttl(i64),
}

impl NodeKind {
    /// The owner field of a container (`EphemeralType.CONTAINER_EPHEMERAL_OWNER`).
    pub const CONTAINER_OWNER: i64 = i64::MIN;
    /// Set in the top byte of a TTL node's owner field.
    pub const TTL_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
    /// The longest TTL that the owner field holds, in milliseconds (40 bits).
    pub const TTL_MAX: i64 = 0xff_ffff_ffff;

    /// The owner field that a znode of this kind stores, when `session` creates it.
    pub const fn owner(self, session: SessionId) -> i64 {
        match self {
            Self::Container => Self::CONTAINER_OWNER,
            Self::Ephemeral => session.0,
            Self::Persistent => 0,
            Self::Ttl(ttl) => Self::TTL_MASK | ttl,
        }
    }

    /// The kind that an owner field stands for. TTL encodings count only where extended types are on
    /// (`zookeeper.extendedTypesEnabled`); elsewhere they read as ephemeral owners, as in ZooKeeper.
    pub const fn from_owner(owner: i64, extended_types: bool) -> Self {
        if owner == Self::CONTAINER_OWNER {
            Self::Container
        } else if extended_types && owner & Self::TTL_MASK == Self::TTL_MASK {
            Self::Ttl(owner & Self::TTL_MAX)
        } else if owner != 0 {
            Self::Ephemeral
        } else {
            Self::Persistent
        }
    }
}

/// A znode to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn {
    /// Its full path, sequence suffix included.
    pub path: Box<str>,
    /// Its data; null and empty differ.
    pub data: Option<Box<[u8]>>,
    /// Its ACL, `auth` entries expanded.
    pub acl: AclList,
    /// What kind of znode.
    pub kind: NodeKind,
    /// The parent's persisted cversion afterwards; -1 in logs of old releases: one more than before.
    pub parent_cversion: i32,
}

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubTxn {
    /// The operation, as the request named it.
    pub op: OpCode,
    /// What became of it.
    pub txn: Txn,
}

/// A decided write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    /// A version was compared and found right; changes nothing.
    Check {
        /// The znode compared.
        path: Box<str>,
        /// Its version plus one, as ZooKeeper logs it.
        version: i32,
    },
    /// A session ended, and with it its ephemeral znodes.
    CloseSession {
        /// The znodes to delete; `None` in old logs: whatever the session owns when this is applied.
        paths: Option<Vec<Box<str>>>,
    },
    /// A znode was created: create, create2, createContainer or createTTL.
    Create(CreateTxn),
    /// A session began.
    CreateSession {
        /// Its negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// A znode was deleted: delete or deleteContainer.
    Delete {
        /// The znode.
        path: Box<str>,
    },
    /// The write failed; it takes its place in the order all the same.
    Error {
        /// Why.
        code: ErrorCode,
    },
    /// Several writes, all or none: either no operation is an error or every one is.
    Multi(Vec<SubTxn>),
    /// A znode's ACL was replaced.
    SetAcl {
        /// The znode.
        path: Box<str>,
        /// The new list.
        acl: AclList,
        /// The ACL's version afterwards.
        version: i32,
    },
    /// A znode's data was replaced: setData or reconfig.
    SetData {
        /// The znode.
        path: Box<str>,
        /// The new data.
        data: Option<Box<[u8]>>,
        /// The data's version afterwards.
        version: i32,
    },
}
