//! What a watch is for, and what it tells.

/// What happened to a znode (`Watcher.Event.EventType`, PARITY `watch.types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventType {
    /// Nothing: only the connection changed. Clients tell themselves; it is never sent.
    None = -1,
    /// The znode was created.
    NodeCreated = 1,
    /// The znode was deleted.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
    /// A data watch was removed. Clients tell themselves, as with the following.
    DataWatchRemoved = 5,
    /// A child watch was removed.
    ChildWatchRemoved = 6,
    /// A persistent watch was removed.
    PersistentWatchRemoved = 7,
}

impl EventType {
    /// The event with this number.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            -1 => Self::None,
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            _ => return None,
        })
    }
}

/// Which watches of a connection on a path are meant (`Watcher.WatcherType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum WatcherType {
    /// The one-shot watch that getChildren leaves.
    Children = 1,
    /// The one-shot watch that getData and exists leave.
    Data = 2,
    /// Every watch.
    Any = 3,
    /// The persistent watch.
    Persistent = 4,
    /// The persistent watch on a whole subtree.
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The type that this number stands for on the wire, if any.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::PersistentRecursive,
            _ => return None,
        })
    }
}
