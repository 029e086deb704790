//! What simulated clients ask for and are answered, as values; `client::codec` gives them bytes.

use std::fmt;

use zabra_core::types::{Acl, AclList, ErrorCode, EventType, OpCode, Stat, WatcherType, Zxid};

/// Which kind of znode to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Removed by the server once its last child is gone.
    Container,
    /// Goes with its session.
    Ephemeral,
    /// Goes with its session, and is numbered.
    EphemeralSequential,
    /// Stays.
    Persistent,
    /// Stays, and is numbered.
    PersistentSequential,
    /// Removed by the server once it has no children and was not set for so many milliseconds.
    Ttl(i64),
    /// Likewise, and is numbered.
    TtlSequential(i64),
}

impl Mode {
    /// The number that stands for it on the wire.
    pub const fn flags(self) -> i32 {
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

    /// Whether the server appends a number.
    pub const fn is_sequential(self) -> bool {
        matches!(self, Self::PersistentSequential | Self::EphemeralSequential | Self::TtlSequential(_))
    }

    /// How long it lives without being set, in milliseconds.
    pub const fn ttl(self) -> Option<i64> {
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

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Prove to be somebody.
    AddAuth {
        /// How.
        scheme: &'static str,
        /// By what.
        auth: &'static str,
    },
    /// Watch until told otherwise.
    AddWatch {
        /// The znode.
        path: String,
        /// Whether everything below it, too.
        recursive: bool,
    },
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
        /// Its data; none is less than no bytes.
        data: Option<Vec<u8>>,
        /// What kind.
        mode: Mode,
        /// Who may do what with it.
        acl: AclList,
        /// Whether the answer has a stat (create2). It always has for containers and TTL nodes.
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
    /// A znode's ACL.
    GetAcl {
        /// The znode.
        path: String,
    },
    /// How many znodes are below one.
    GetAllChildrenNumber {
        /// The znode.
        path: String,
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
    /// Paths of the session's own ephemeral znodes.
    GetEphemerals {
        /// What they begin with.
        prefix: String,
    },
    /// Several writes, all or none.
    Multi(Vec<Op>),
    /// Several reads in one state: data, and names of children, without watches.
    MultiRead(Vec<Op>),
    /// Keep the session alive.
    Ping,
    /// Change the members of the ensemble.
    Reconfig {
        /// Who comes, or has another role from then on: entries with commas between them.
        joining: String,
        /// Who leaves: numbers of servers with commas between them.
        leaving: String,
        /// All members, in place of the other two; empty, if those count.
        members: String,
        /// The version of the configuration that it is to change; -1 for any.
        version: i64,
    },
    /// End watches.
    RemoveWatches {
        /// On which znode.
        path: String,
        /// Of which kind.
        kind: WatcherType,
    },
    /// Replace a znode's ACL.
    SetAcl {
        /// The znode.
        path: String,
        /// The new list.
        acl: AclList,
        /// What the version of its ACL must be; -1 for any.
        version: i32,
    },
    /// Replace a znode's data.
    SetData {
        /// The znode.
        path: String,
        /// The new data.
        data: Option<Vec<u8>>,
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
        /// Znodes that are watched until told otherwise.
        persistent: Vec<String>,
        /// Likewise with everything below them.
        recursive: Vec<String>,
    },
    /// Bring the server up to date.
    Sync {
        /// Echoed.
        path: String,
    },
    /// Who the server thinks this is.
    WhoAmI,
}

impl Op {
    /// Its number on the wire.
    pub const fn code(&self) -> OpCode {
        match self {
            Self::AddAuth { .. } => OpCode::AUTH,
            Self::AddWatch { .. } => OpCode::ADD_WATCH,
            Self::Check { .. } => OpCode::CHECK,
            Self::CloseSession => OpCode::CLOSE_SESSION,
            Self::Create { mode: Mode::Container, .. } => OpCode::CREATE_CONTAINER,
            Self::Create { mode: Mode::Ttl(_) | Mode::TtlSequential(_), .. } => OpCode::CREATE_TTL,
            Self::Create { with_stat: false, .. } => OpCode::CREATE,
            Self::Create { with_stat: true, .. } => OpCode::CREATE2,
            Self::Delete { .. } => OpCode::DELETE,
            Self::Exists { .. } => OpCode::EXISTS,
            Self::GetAcl { .. } => OpCode::GET_ACL,
            Self::GetAllChildrenNumber { .. } => OpCode::GET_ALL_CHILDREN_NUMBER,
            Self::GetChildren { .. } => OpCode::GET_CHILDREN2,
            Self::GetData { .. } => OpCode::GET_DATA,
            Self::GetEphemerals { .. } => OpCode::GET_EPHEMERALS,
            Self::Multi(_) => OpCode::MULTI,
            Self::MultiRead(_) => OpCode::MULTI_READ,
            Self::Ping => OpCode::PING,
            Self::Reconfig { .. } => OpCode::RECONFIG,
            Self::RemoveWatches { .. } => OpCode::REMOVE_WATCHES,
            Self::SetAcl { .. } => OpCode::SET_ACL,
            Self::SetData { .. } => OpCode::SET_DATA,
            Self::SetWatches { persistent, recursive, .. } => {
                if persistent.is_empty() && recursive.is_empty() {
                    OpCode::SET_WATCHES
                } else {
                    OpCode::SET_WATCHES2
                }
            }
            Self::Sync { .. } => OpCode::SYNC,
            Self::WhoAmI => OpCode::WHO_AM_I,
        }
    }

    /// Whether its answer has a stat, if it creates something.
    pub const fn brings_stat(&self) -> bool {
        match self {
            Self::Create { mode, with_stat, .. } => {
                *with_stat || matches!(mode, Mode::Container | Mode::Ttl(_) | Mode::TtlSequential(_))
            }
            _ => false,
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
            (Self::AddWatch { path, recursive: false }, Ok(_)) => Some((WatchTable::Persistent, path)),
            (Self::AddWatch { path, recursive: true }, Ok(_)) => Some((WatchTable::Recursive, path)),
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
            | Self::Reconfig { .. }
            | Self::SetAcl { .. }
            | Self::SetData { .. } => true,
            Self::AddAuth { .. }
            | Self::AddWatch { .. }
            | Self::Check { .. }
            | Self::Exists { .. }
            | Self::GetAcl { .. }
            | Self::GetAllChildrenNumber { .. }
            | Self::GetChildren { .. }
            | Self::GetData { .. }
            | Self::GetEphemerals { .. }
            | Self::MultiRead(_)
            | Self::Ping
            | Self::RemoveWatches { .. }
            | Self::SetWatches { .. }
            | Self::Sync { .. }
            | Self::WhoAmI => false,
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
    /// On a znode and its children, until told otherwise.
    Persistent,
    /// On a znode and everything below it, until told otherwise.
    Recursive,
}

impl WatchTable {
    /// Whether the watch ends with the first event.
    pub const fn is_one_shot(self) -> bool {
        match self {
            Self::Child | Self::Data | Self::Exist => true,
            Self::Persistent | Self::Recursive => false,
        }
    }

    /// Whether a watch of this table waits for such an event.
    pub const fn hears_of(self, kind: EventType) -> bool {
        match kind {
            EventType::NodeChildrenChanged => matches!(self, Self::Child | Self::Persistent),
            EventType::NodeCreated | EventType::NodeDataChanged => !matches!(self, Self::Child),
            EventType::NodeDeleted => true,
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => false,
        }
    }

    /// Whether a watch on `watched` covers `path`.
    pub fn reaches(self, watched: &str, path: &str) -> bool {
        let below = || path.strip_prefix(watched).is_some_and(|rest| watched == "/" || rest.starts_with('/'));
        watched == path || self == Self::Recursive && below()
    }

    /// The tables that removing watches of a kind empties.
    pub const fn of_kind(kind: WatcherType) -> &'static [Self] {
        match kind {
            WatcherType::Any => &[Self::Data, Self::Exist, Self::Child, Self::Persistent, Self::Recursive],
            WatcherType::Children => &[Self::Child],
            WatcherType::Data => &[Self::Data, Self::Exist],
            WatcherType::Persistent => &[Self::Persistent],
            WatcherType::PersistentRecursive => &[Self::Recursive],
        }
    }

    /// What watchers are told when their watch in this table is removed.
    pub const fn removal(self) -> EventType {
        match self {
            Self::Child => EventType::ChildWatchRemoved,
            Self::Data | Self::Exist => EventType::DataWatchRemoved,
            Self::Persistent | Self::Recursive => EventType::PersistentWatchRemoved,
        }
    }
}

/// What a request brought, if it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An ACL, and the znode's stat.
    Acl(Vec<Acl>, Stat),
    /// Names in ascending order, and the parent's stat.
    Children(Vec<String>, Stat),
    /// How many.
    Count(i32),
    /// The path of what was created; a stat if asked for.
    Created(String, Option<Stat>),
    /// Data and stat.
    Data(Option<Vec<u8>>, Stat),
    /// Nothing to tell.
    Done,
    /// Scheme and name of each identity.
    Identities(Vec<(String, String)>),
    /// One answer for each operation of a multi.
    Multi(Vec<Answer>),
    /// Names or paths in ascending order.
    Names(Vec<String>),
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
            Self::AddAuth { scheme, auth } => write!(f, "addAuth {scheme} {auth}"),
            Self::AddWatch { path, recursive } => {
                write!(f, "addWatch {path}{}", if *recursive { " and below" } else { "" })
            }
            Self::Check { path, version } => write!(f, "check {path} v{version}"),
            Self::CloseSession => f.write_str("closeSession"),
            Self::Create { path, data, mode, acl, .. } => {
                write!(f, "create {path} {mode:?} {}{}", Size(data), Entries(acl))
            }
            Self::Delete { path, version } => write!(f, "delete {path} v{version}"),
            Self::Exists { path, watch } => write!(f, "exists {path}{}", watched(*watch)),
            Self::GetAcl { path } => write!(f, "getACL {path}"),
            Self::GetAllChildrenNumber { path } => write!(f, "getAllChildrenNumber {path}"),
            Self::GetChildren { path, watch } => write!(f, "getChildren {path}{}", watched(*watch)),
            Self::GetData { path, watch } => write!(f, "getData {path}{}", watched(*watch)),
            Self::GetEphemerals { prefix } => write!(f, "getEphemerals {prefix}"),
            Self::Multi(ops) | Self::MultiRead(ops) => {
                f.write_str(if matches!(self, Self::Multi(_)) { "multi[" } else { "multiRead[" })?;
                for (index, op) in ops.iter().enumerate() {
                    write!(f, "{}{op}", if index == 0 { "" } else { "; " })?;
                }
                f.write_str("]")
            }
            Self::Ping => f.write_str("ping"),
            Self::Reconfig { joining, leaving, members, version } => {
                f.write_str("reconfig")?;
                for (what, text) in [("+", joining), ("-", leaving), ("=", members)] {
                    if !text.is_empty() {
                        write!(f, " {what} {text}")?;
                    }
                }
                if *version == -1 { Ok(()) } else { write!(f, " v{version:#x}") }
            }
            Self::RemoveWatches { path, kind } => write!(f, "removeWatches {path} {kind:?}"),
            Self::SetAcl { path, acl, version } => write!(f, "setACL {path} v{version}{}", Entries(acl)),
            Self::SetData { path, data, version } => {
                write!(f, "setData {path} v{version} {}", Size(data))
            }
            Self::SetWatches { relative, data, exist, child, persistent, recursive } => {
                write!(f, "setWatches since {relative} data {data:?} exist {exist:?} child {child:?}")?;
                write!(f, " persistent {persistent:?} recursive {recursive:?}")
            }
            Self::Sync { path } => write!(f, "sync {path}"),
            Self::WhoAmI => f.write_str("whoAmI"),
        }
    }
}

/// How much data.
struct Size<'a>(&'a Option<Vec<u8>>);

impl fmt::Display for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(data) => write!(f, "{} bytes", data.len()),
            None => f.write_str("null"),
        }
    }
}

/// An ACL, unless everybody may do everything.
struct Entries<'a>(&'a AclList);

impl fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.0 == AclList::OpenUnsafe {
            return Ok(());
        }
        self.0
            .entries()
            .iter()
            .try_for_each(|Acl { perms, id }| write!(f, " {}:{}:{}", id.scheme, id.id, perms.0))
    }
}

const fn watched(watch: bool) -> &'static str {
    if watch { " +watch" } else { "" }
}
