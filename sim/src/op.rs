//! What simulated clients ask for and are answered, as values; `client::codec` gives them bytes.

use std::fmt;

use zabra_core::types::{ErrorCode, EventType, OpCode, Stat, Zxid};

/// Which kind of znode to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Goes with its session.
    Ephemeral,
    /// Goes with its session, and is numbered.
    EphemeralSequential,
    /// Stays.
    Persistent,
    /// Stays, and is numbered.
    PersistentSequential,
}

impl Mode {
    /// The number that stands for it on the wire.
    pub const fn flags(self) -> i32 {
        match self {
            Self::Persistent => 0,
            Self::Ephemeral => 1,
            Self::PersistentSequential => 2,
            Self::EphemeralSequential => 3,
        }
    }

    /// Whether the znode goes with its session.
    pub const fn is_ephemeral(self) -> bool {
        self.flags() & 1 != 0
    }

    /// Whether the server appends a number.
    pub const fn is_sequential(self) -> bool {
        self.flags() & 2 != 0
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Compare a version; only inside a multi.
    Check {
        /// The znode.
        path: String,
        /// What its version must be; -1 for any.
        version: i32,
    },
    /// End the session.
    CloseSession,
    /// Create a znode.
    Create {
        /// Its path, before any number is appended.
        path: String,
        /// Its data.
        data: Vec<u8>,
        /// What kind.
        mode: Mode,
        /// Whether the answer has a stat (create2).
        with_stat: bool,
    },
    /// Delete a znode.
    Delete {
        /// The znode.
        path: String,
        /// What its version must be; -1 for any.
        version: i32,
    },
    /// A znode's stat.
    Exists {
        /// The znode.
        path: String,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Names of a znode's children.
    GetChildren {
        /// The znode.
        path: String,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// A znode's data.
    GetData {
        /// The znode.
        path: String,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Several writes, all or none.
    Multi(Vec<Op>),
    /// Keep the session alive.
    Ping,
    /// Replace a znode's data.
    SetData {
        /// The znode.
        path: String,
        /// The new data.
        data: Vec<u8>,
        /// What its version must be; -1 for any.
        version: i32,
    },
    /// Register watches again after a reconnect.
    SetWatches {
        /// The last transaction that the client has seen.
        relative: Zxid,
        /// Znodes whose data were watched.
        data: Vec<String>,
        /// Znodes that were watched while they did not exist.
        exist: Vec<String>,
        /// Znodes whose children were watched.
        child: Vec<String>,
    },
    /// Bring the server up to date.
    Sync {
        /// Echoed.
        path: String,
    },
}

impl Op {
    /// Its number on the wire.
    pub const fn code(&self) -> OpCode {
        match self {
            Self::Check { .. } => OpCode::CHECK,
            Self::CloseSession => OpCode::CLOSE_SESSION,
            Self::Create { with_stat: false, .. } => OpCode::CREATE,
            Self::Create { with_stat: true, .. } => OpCode::CREATE2,
            Self::Delete { .. } => OpCode::DELETE,
            Self::Exists { .. } => OpCode::EXISTS,
            Self::GetChildren { .. } => OpCode::GET_CHILDREN2,
            Self::GetData { .. } => OpCode::GET_DATA,
            Self::Multi(_) => OpCode::MULTI,
            Self::Ping => OpCode::PING,
            Self::SetData { .. } => OpCode::SET_DATA,
            Self::SetWatches { .. } => OpCode::SET_WATCHES,
            Self::Sync { .. } => OpCode::SYNC,
        }
    }

    /// The watch that it leaves, if this is its answer.
    pub fn leaves_watch(&self, answer: &Answer) -> Option<(WatchTable, &str)> {
        match (self, answer) {
            (Self::Exists { path, watch: true }, Err(ErrorCode::NONODE)) => Some((WatchTable::Exist, path)),
            (Self::Exists { path, watch: true } | Self::GetData { path, watch: true }, Ok(_)) => {
                Some((WatchTable::Data, path))
            }
            (Self::GetChildren { path, watch: true }, Ok(_)) => Some((WatchTable::Child, path)),
            _ => None,
        }
    }

    /// Whether it takes a place in the order of transactions.
    pub const fn is_write(&self) -> bool {
        match self {
            Self::CloseSession
            | Self::Create { .. }
            | Self::Delete { .. }
            | Self::Multi(_)
            | Self::SetData { .. } => true,
            Self::Check { .. }
            | Self::Exists { .. }
            | Self::GetChildren { .. }
            | Self::GetData { .. }
            | Self::Ping
            | Self::SetWatches { .. }
            | Self::Sync { .. } => false,
        }
    }
}

/// Where a client remembers a watch, and in which list of a setWatches it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchTable {
    /// On children, once.
    Child,
    /// On a znode that was there, once.
    Data,
    /// On a znode that was not there, once.
    Exist,
}

impl WatchTable {
    /// Whether the watch ends with the first event.
    pub const fn is_one_shot(self) -> bool {
        match self {
            Self::Child | Self::Data | Self::Exist => true,
        }
    }

    /// Whether a watch of this table waits for such an event.
    pub const fn hears_of(self, kind: EventType) -> bool {
        match kind {
            EventType::NodeChildrenChanged => matches!(self, Self::Child),
            EventType::NodeCreated | EventType::NodeDataChanged => matches!(self, Self::Data | Self::Exist),
            EventType::NodeDeleted => true,
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => false,
        }
    }

    /// Whether a watch on `watched` covers `path`.
    pub fn reaches(self, watched: &str, path: &str) -> bool {
        watched == path
    }
}

/// What a request brought, if it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Names in ascending order, and the parent's stat.
    Children(Vec<String>, Stat),
    /// The path of what was created; a stat if asked for.
    Created(String, Option<Stat>),
    /// Data and stat.
    Data(Option<Vec<u8>>, Stat),
    /// Nothing to tell.
    Done,
    /// One answer for each operation of a multi.
    Multi(Vec<Answer>),
    /// The path that was sent.
    Path(String),
    /// A stat.
    Stat(Stat),
}

/// What a request brought.
pub type Answer = Result<Outcome, ErrorCode>;

/// What a watch event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A znode was created.
    Created,
    /// A znode was deleted.
    Deleted,
    /// A znode's data changed.
    DataChanged,
    /// A znode has a child more or less.
    ChildrenChanged,
}

impl EventKind {
    /// The core's word for it.
    pub const fn event_type(self) -> EventType {
        match self {
            Self::Created => EventType::NodeCreated,
            Self::Deleted => EventType::NodeDeleted,
            Self::DataChanged => EventType::NodeDataChanged,
            Self::ChildrenChanged => EventType::NodeChildrenChanged,
        }
    }

    /// The kind with this number on the wire.
    pub const fn from_wire(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Created,
            2 => Self::Deleted,
            3 => Self::DataChanged,
            4 => Self::ChildrenChanged,
            _ => return None,
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { path, version } => write!(f, "check {path} v{version}"),
            Self::CloseSession => f.write_str("closeSession"),
            Self::Create { path, data, mode, .. } => write!(f, "create {path} {mode:?} {} bytes", data.len()),
            Self::Delete { path, version } => write!(f, "delete {path} v{version}"),
            Self::Exists { path, watch } => write!(f, "exists {path}{}", watched(*watch)),
            Self::GetChildren { path, watch } => write!(f, "getChildren {path}{}", watched(*watch)),
            Self::GetData { path, watch } => write!(f, "getData {path}{}", watched(*watch)),
            Self::Multi(ops) => {
                f.write_str("multi[")?;
                for (index, op) in ops.iter().enumerate() {
                    write!(f, "{}{op}", if index == 0 { "" } else { "; " })?;
                }
                f.write_str("]")
            }
            Self::Ping => f.write_str("ping"),
            Self::SetData { path, data, version } => {
                write!(f, "setData {path} v{version} {} bytes", data.len())
            }
            Self::SetWatches { relative, data, exist, child } => {
                write!(f, "setWatches since {relative} data {data:?} exist {exist:?} child {child:?}")
            }
            Self::Sync { path } => write!(f, "sync {path}"),
        }
    }
}

const fn watched(watch: bool) -> &'static str {
    if watch { " +watch" } else { "" }
}
