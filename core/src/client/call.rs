//! What can be asked of a client, and what comes of it. Owned values: they wait in queues.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::input::WatcherId;
use crate::types::path::{self, PathError};
use crate::types::{AclList, ErrorCode, OpCode, Stat, WatcherType};
use crate::wire::{MultiOp, Request};

/// What kind of znode is created (PARITY `op.createmodes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// Removed by the server once its last child is gone.
    Container,
    /// Goes with the session.
    Ephemeral,
    /// Goes with the session; the server appends a number to its name.
    EphemeralSequential,
    /// Stays until deleted.
    Persistent,
    /// Stays until deleted; the server appends a number to its name.
    PersistentSequential,
    /// Removed by the server once it has no children and was not set for this many milliseconds.
    Ttl(i64),
    /// As [`CreateMode::Ttl`]; the server appends a number to its name.
    TtlSequential(i64),
}

impl CreateMode {
    /// Whether the server appends a number to the name.
    pub const fn is_sequential(self) -> bool {
        match self {
            Self::Container | Self::Ephemeral | Self::Persistent | Self::Ttl(_) => false,
            Self::EphemeralSequential | Self::PersistentSequential | Self::TtlSequential(_) => true,
        }
    }

    const fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
            Self::Container => 4,
            Self::Ttl(_) => 5,
            Self::TtlSequential(_) => 6,
        }
    }

    const fn ttl(self) -> Option<i64> {
        match self {
            Self::Ttl(ttl) | Self::TtlSequential(ttl) => Some(ttl),
            Self::Container
            | Self::Ephemeral
            | Self::EphemeralSequential
            | Self::Persistent
            | Self::PersistentSequential => None,
        }
    }
}

/// How long a watch that addWatch leaves reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddWatchMode {
    /// The znode and the names of its children.
    Persistent,
    /// The znode and everything below it.
    PersistentRecursive,
}

/// A znode to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its path, without the number of a sequential one.
    pub path: String,
    /// Its data; null and empty differ.
    pub data: Option<Bytes>,
    /// Who may do what with it.
    pub acl: AclList,
    /// What kind of znode.
    pub mode: CreateMode,
    /// Whether the stat is wanted too. It comes anyway with containers and TTL nodes.
    pub with_stat: bool,
}

impl Create {
    const fn op(&self) -> OpCode {
        match self.mode {
            CreateMode::Container => OpCode::CREATE_CONTAINER,
            CreateMode::Ttl(_) | CreateMode::TtlSequential(_) => OpCode::CREATE_TTL,
            CreateMode::Ephemeral
            | CreateMode::EphemeralSequential
            | CreateMode::Persistent
            | CreateMode::PersistentSequential => {
                if self.with_stat {
                    OpCode::CREATE2
                } else {
                    OpCode::CREATE
                }
            }
        }
    }

    fn request(&self) -> Request<'_> {
        Request::Create {
            path: &self.path,
            data: self.data.as_deref(),
            acl: Some(self.acl.clone()),
            flags: self.mode.flags(),
            ttl: self.mode.ttl(),
        }
    }

    const fn place(&mut self) -> Place<'_> {
        Place { path: &mut self.path, numbered: self.mode.is_sequential() }
    }
}

/// A path in a call.
struct Place<'a> {
    path: &'a mut String,
    /// The server puts a number behind it.
    numbered: bool,
}

impl<'a> Place<'a> {
    const fn exact(path: &'a mut String) -> Self {
        Self { path, numbered: false }
    }
}

/// One operation of a multi. Versions are compared; -1 stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Compare a version.
    Check {
        /// The znode.
        path: String,
        /// The version it must have.
        version: i32,
    },
    /// Create a znode.
    Create(Create),
    /// Delete a znode.
    Delete {
        /// Which.
        path: String,
        /// The version it must have.
        version: i32,
    },
    /// Replace a znode's data.
    SetData {
        /// Which.
        path: String,
        /// The new data.
        data: Option<Bytes>,
        /// The version it must have.
        version: i32,
    },
}

impl Write {
    fn op(&self) -> MultiOp<'_> {
        let (op, request) = match self {
            Self::Check { path, version } => (OpCode::CHECK, Request::Check { path, version: *version }),
            Self::Create(create) => (create.op(), create.request()),
            Self::Delete { path, version } => (OpCode::DELETE, Request::Delete { path, version: *version }),
            Self::SetData { path, data, version } => {
                (OpCode::SET_DATA, Request::SetData { path, data: data.as_deref(), version: *version })
            }
        };
        MultiOp { op, request }
    }

    const fn place(&mut self) -> Place<'_> {
        match self {
            Self::Check { path, .. } | Self::Delete { path, .. } | Self::SetData { path, .. } => {
                Place::exact(path)
            }
            Self::Create(create) => create.place(),
        }
    }
}

/// One operation of a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Ask for the names of a znode's children.
    Children {
        /// Which.
        path: String,
    },
    /// Ask for a znode's data.
    Data {
        /// Which.
        path: String,
    },
}

impl Read {
    fn op(&self) -> MultiOp<'_> {
        let (op, request) = match self {
            Self::Children { path } => (OpCode::GET_CHILDREN, Request::GetChildren { path, watch: false }),
            Self::Data { path } => (OpCode::GET_DATA, Request::GetData { path, watch: false }),
        };
        MultiOp { op, request }
    }

    const fn place(&mut self) -> Place<'_> {
        match self {
            Self::Children { path } | Self::Data { path } => Place::exact(path),
        }
    }
}

/// Something to ask. Versions are compared; -1 stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Present an identity, now and on every later connection.
    AddAuth {
        /// The authentication scheme.
        scheme: String,
        /// The credentials, in the scheme's own notation.
        auth: Bytes,
    },
    /// Watch a znode until told otherwise.
    AddWatch {
        /// Which.
        path: String,
        /// How far it reaches.
        mode: AddWatchMode,
        /// Who is told.
        watcher: WatcherId,
    },
    /// Create a znode.
    Create(Create),
    /// Delete a znode.
    Delete {
        /// Which.
        path: String,
        /// The version it must have.
        version: i32,
    },
    /// Ask for a znode's stat. A watch is left whether it exists or not.
    Exists {
        /// Which.
        path: String,
        /// Who is told of the next change.
        watcher: Option<WatcherId>,
    },
    /// Ask for a znode's ACL.
    GetAcl {
        /// Which.
        path: String,
    },
    /// Count a znode's descendants.
    GetAllChildrenNumber {
        /// Which.
        path: String,
    },
    /// Ask for the names of a znode's children and its stat.
    GetChildren {
        /// Which.
        path: String,
        /// Who is told of the next change.
        watcher: Option<WatcherId>,
    },
    /// Ask for the ensemble's configuration, which lies outside every chroot.
    GetConfig {
        /// Who is told of the next change.
        watcher: Option<WatcherId>,
    },
    /// Ask for a znode's data.
    GetData {
        /// Which.
        path: String,
        /// Who is told of the next change.
        watcher: Option<WatcherId>,
    },
    /// Ask for the paths of this session's ephemeral znodes. Unlike in ZooKeeper's client the chroot counts here too.
    GetEphemerals {
        /// What the paths begin with.
        prefix: String,
    },
    /// Several writes, all or none.
    Multi(Vec<Write>),
    /// Several reads at one point.
    MultiRead(Vec<Read>),
    /// Change the ensemble's membership.
    Reconfig {
        /// Servers to add, incrementally.
        joining: Option<String>,
        /// Servers to remove, incrementally.
        leaving: Option<String>,
        /// The whole new membership.
        new_members: Option<String>,
        /// The configuration this applies to.
        config_id: i64,
    },
    /// Remove watches (PARITY `ev.remove`).
    RemoveWatches {
        /// Where.
        path: String,
        /// Which kind.
        kind: WatcherType,
        /// Whose; `None`: everybody's.
        watcher: Option<WatcherId>,
        /// Whether they go even if no server can be asked, or it refuses.
        local: bool,
    },
    /// Replace a znode's ACL.
    SetAcl {
        /// Which.
        path: String,
        /// The new list.
        acl: AclList,
        /// The ACL version it must have.
        version: i32,
    },
    /// Replace a znode's data.
    SetData {
        /// Which.
        path: String,
        /// The new data.
        data: Option<Bytes>,
        /// The version it must have.
        version: i32,
    },
    /// Bring the connected server up to date with the leader.
    Sync {
        /// Echoed; need not exist.
        path: String,
    },
    /// Ask for the identities of this connection.
    WhoAmI,
}

impl Call {
    /// Checks every path, as ZooKeeper's client does before it sends anything.
    pub(super) fn check(&mut self) -> Result<(), PathError> {
        let mut checked = Ok(());
        self.for_each_place(|Place { path, numbered }| {
            if checked.is_ok() {
                // A number follows, so it may end in `/`.
                checked = if numbered { path::validate(&format!("{path}1")) } else { path::validate(path) };
            }
        });
        checked
    }

    /// Does something to every path that the chroot concerns.
    pub(super) fn for_each_path(&mut self, mut change: impl FnMut(&mut String)) {
        self.for_each_place(|place| change(place.path));
    }

    fn for_each_place(&mut self, mut visit: impl FnMut(Place<'_>)) {
        match self {
            Self::AddAuth { .. } | Self::GetConfig { .. } | Self::Reconfig { .. } | Self::WhoAmI => {}
            Self::Create(create) => visit(create.place()),
            Self::Multi(ops) => ops.iter_mut().for_each(|op| visit(op.place())),
            Self::MultiRead(ops) => ops.iter_mut().for_each(|op| visit(op.place())),
            Self::AddWatch { path, .. }
            | Self::Delete { path, .. }
            | Self::Exists { path, .. }
            | Self::GetAcl { path }
            | Self::GetAllChildrenNumber { path }
            | Self::GetChildren { path, .. }
            | Self::GetData { path, .. }
            | Self::GetEphemerals { prefix: path }
            | Self::RemoveWatches { path, .. }
            | Self::SetAcl { path, .. }
            | Self::SetData { path, .. }
            | Self::Sync { path } => visit(Place::exact(path)),
        }
    }

    /// Operations in it, if it is a multi.
    pub(super) const fn parts(&self) -> usize {
        if let Self::Multi(ops) = self {
            ops.len()
        } else if let Self::MultiRead(ops) = self {
            ops.len()
        } else {
            0
        }
    }

    /// What goes over the wire.
    pub(super) fn request(&self) -> (OpCode, Request<'_>) {
        match self {
            Self::AddAuth { scheme, auth } => {
                (OpCode::AUTH, Request::Auth { kind: 0, scheme: Some(scheme), auth: Some(auth) })
            }
            Self::AddWatch { path, mode, .. } => {
                let mode = match mode {
                    AddWatchMode::Persistent => 0,
                    AddWatchMode::PersistentRecursive => 1,
                };
                (OpCode::ADD_WATCH, Request::AddWatch { path, mode })
            }
            Self::Create(create) => (create.op(), create.request()),
            Self::Delete { path, version } => (OpCode::DELETE, Request::Delete { path, version: *version }),
            Self::Exists { path, watcher } => {
                (OpCode::EXISTS, Request::Exists { path, watch: watcher.is_some() })
            }
            Self::GetAcl { path } => (OpCode::GET_ACL, Request::GetAcl { path }),
            Self::GetAllChildrenNumber { path } => {
                (OpCode::GET_ALL_CHILDREN_NUMBER, Request::GetAllChildrenNumber { path })
            }
            Self::GetChildren { path, watcher } => {
                (OpCode::GET_CHILDREN2, Request::GetChildren2 { path, watch: watcher.is_some() })
            }
            Self::GetConfig { watcher } => {
                (OpCode::GET_DATA, Request::GetData { path: path::CONFIG, watch: watcher.is_some() })
            }
            Self::GetData { path, watcher } => {
                (OpCode::GET_DATA, Request::GetData { path, watch: watcher.is_some() })
            }
            Self::GetEphemerals { prefix } => {
                (OpCode::GET_EPHEMERALS, Request::GetEphemerals { prefix: Some(prefix) })
            }
            Self::Multi(ops) => (OpCode::MULTI, Request::Multi(ops.iter().map(Write::op).collect())),
            Self::MultiRead(ops) => {
                (OpCode::MULTI_READ, Request::MultiRead(ops.iter().map(Read::op).collect()))
            }
            Self::Reconfig { joining, leaving, new_members, config_id } => (
                OpCode::RECONFIG,
                Request::Reconfig {
                    joining: joining.as_deref(),
                    leaving: leaving.as_deref(),
                    new_members: new_members.as_deref(),
                    config_id: *config_id,
                },
            ),
            // The server has one watch for all of this client's watchers: for one of them it is only asked about.
            Self::RemoveWatches { path, kind, watcher: Some(_), .. } => {
                (OpCode::CHECK_WATCHES, Request::CheckWatches { path, kind: *kind as i32 })
            }
            Self::RemoveWatches { path, kind, watcher: None, .. } => {
                (OpCode::REMOVE_WATCHES, Request::RemoveWatches { path, kind: *kind as i32 })
            }
            Self::SetAcl { path, acl, version } => {
                (OpCode::SET_ACL, Request::SetAcl { path, acl: Some(acl.clone()), version: *version })
            }
            Self::SetData { path, data, version } => {
                (OpCode::SET_DATA, Request::SetData { path, data: data.as_deref(), version: *version })
            }
            Self::Sync { path } => (OpCode::SYNC, Request::Sync { path }),
            Self::WhoAmI => (OpCode::WHO_AM_I, Request::WhoAmI),
        }
    }
}

/// What a call brought. Paths are without the chroot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// getACL.
    Acl {
        /// The list.
        acl: AclList,
        /// The znode's stat.
        stat: Stat,
    },
    /// getChildren.
    Children {
        /// The names, in the server's order, which means nothing.
        names: Vec<String>,
        /// The znode's stat; `None` in a multiRead.
        stat: Option<Stat>,
    },
    /// getAllChildrenNumber.
    Count(i32),
    /// create.
    Created {
        /// The znode's path, with the number of a sequential one.
        path: String,
        /// Its stat, if it was asked for.
        stat: Option<Stat>,
    },
    /// getData, getConfig, reconfig.
    Data {
        /// The data.
        data: Option<Bytes>,
        /// The znode's stat.
        stat: Stat,
    },
    /// Nothing but success.
    Done,
    /// whoAmI: scheme and user name of each identity.
    Identities(Vec<(String, String)>),
    /// multi, multiRead: one result for each operation. A multi that failed has [`ErrorCode::OK`] for the operations
    /// before the one that did, its error there, and [`ErrorCode::RUNTIMEINCONSISTENCY`] behind it (PARITY
    /// `multi.fail`).
    Multi(Vec<Result<Self, ErrorCode>>),
    /// sync.
    Path(String),
    /// getEphemerals.
    Paths(Vec<String>),
    /// exists, setACL, setData.
    Stat(Stat),
}

/// Why a call brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The server refused an identity; the client is over.
    AuthFailed,
    /// The client was closed before.
    Closed,
    /// The connection was lost, or could not be made.
    ConnectionLoss {
        /// Whether the server may have carried the call out. If not, it was never sent.
        sent: bool,
    },
    /// A path is none; nothing was sent.
    InvalidPath(PathError),
    /// The server's answer.
    Refused(ErrorCode),
    /// The session has expired; the client is over.
    SessionExpired,
    /// The request is longer than a server takes; nothing was sent.
    TooLarge,
    /// Too many calls wait for an answer; nothing was sent.
    TooManyCalls,
    /// Too many identities were presented; nothing was sent.
    TooManyIdentities,
    /// There are too many watches; nothing was sent.
    TooManyWatches,
}

impl CallError {
    /// The result code that ZooKeeper's clients would give; `None` where this one is stricter.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::AuthFailed => Some(ErrorCode::AUTHFAILED),
            Self::ConnectionLoss { .. } => Some(ErrorCode::CONNECTIONLOSS),
            Self::InvalidPath(_) => Some(ErrorCode::BADARGUMENTS),
            Self::Refused(code) => Some(code),
            Self::Closed | Self::SessionExpired => Some(ErrorCode::SESSIONEXPIRED),
            Self::TooLarge | Self::TooManyCalls | Self::TooManyIdentities | Self::TooManyWatches => None,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthFailed => "the server refused an identity",
            Self::Closed => "the client is closed",
            Self::ConnectionLoss { sent: true } => {
                "the connection was lost before the answer came: the server may have done it or not"
            }
            Self::ConnectionLoss { sent: false } => "no server could be reached: nothing was sent",
            Self::InvalidPath(error) => return error.fmt(f),
            Self::Refused(code) => return code.fmt(f),
            Self::SessionExpired => "the session has expired",
            Self::TooLarge => "the request is longer than jute.maxbuffer",
            Self::TooManyCalls => "too many calls wait for an answer",
            Self::TooManyIdentities => "too many identities were presented",
            Self::TooManyWatches => "there are too many watches",
        })
    }
}

impl core::error::Error for CallError {}
