//! Kinds of watch events and of watches, as the wire numbers them.

/// What happened to a znode that is watched (`Watcher.Event.EventType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventType {
    /// It was created.
    Created = 1,
    /// It was deleted.
    Deleted = 2,
    /// Its data was set.
    DataChanged = 3,
    /// A child was created or deleted.
    ChildrenChanged = 4,
}

impl EventType {
    /// The number on the wire.
    pub const fn code(self) -> i32 {
        self as i32
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
    /// The type that `code` stands for on the wire, if any.
    pub const fn from_code(code: i32) -> Option<Self> {
        Some(match code {
            1 => Self::Children,
            2 => Self::Data,
            3 => Self::Any,
            4 => Self::Persistent,
            5 => Self::PersistentRecursive,
            _ => return None,
        })
    }
}
