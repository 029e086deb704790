//! Watches: which connections want to hear of which paths.
//!
//! ZooKeeper keeps two tables, data and child watches, and three modes in each. Here a path is kept once, and a
//! connection's watches on it are one set of bits. A connection has its paths listed too, so that closing it
//! costs what it had.
//!
//! Connections are told in ascending order. ZooKeeper promises none; a simulation needs one.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use super::apply::Change;
use super::index::PathIndex;
use super::slab::Slab;
use crate::types::{AclList, ConnId, EventType, WatcherType, Zxid, path};

/// One connection is to be told of one change, if it may read the znode.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Whom to tell.
    pub conn: ConnId,
    /// What happened.
    pub event: EventType,
    /// To which znode.
    pub path: &'a str,
    /// By which transaction.
    pub zxid: Zxid,
    /// Whoever may not READ by this list is not told; the watch is used up all the same.
    pub acl: &'a AclList,
}

/// How many watches there are, as `wchs` tells: data watches alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Connections that watch, or watched and had no watch removed since.
    pub connections: usize,
    /// Paths that are watched.
    pub paths: usize,
    /// Pairs of the two.
    pub watches: usize,
}

/// All watches of one server.
#[derive(Debug)]
pub struct WatchTable {
    index: PathIndex,
    /// Exactly the paths that somebody watches, all of them indexed.
    entries: Slab<Entry>,
    book: Book,
    /// Kept for its room.
    told: Vec<ConnId>,
}

#[derive(Debug)]
struct Entry {
    path: Box<str>,
    watchers: Watchers,
}

/// Who watches a path. Nearly always that is one connection.
#[derive(Debug)]
enum Watchers {
    One(ConnId, Modes),
    #[expect(clippy::box_collection, reason = "a map as such would make every entry 16 bytes larger")]
    Many(Box<BTreeMap<ConnId, Modes>>),
}

/// The watches of one connection on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes(u8);

/// What is counted by connection, and in all.
#[derive(Debug, Default)]
struct Book {
    conns: BTreeMap<ConnId, Conn>,
    /// Pairs of connection and path with data watches.
    data: usize,
    /// Likewise with child watches.
    child: usize,
    /// Likewise with recursive ones; while there is none, events do not look at ancestors.
    recursive: usize,
    /// Connections with `is_listed`.
    listed: usize,
}

#[derive(Debug, Default)]
struct Conn {
    /// Slots of the entries that name this connection.
    entries: BTreeSet<u32>,
    /// How many of them with data watches.
    data: usize,
    /// Whether ZooKeeper would still list this connection: it forgets one that had its last watch removed, but
    /// not one whose last watch was used up.
    is_listed: bool,
}

impl Modes {
    const NONE: Self = Self(0);
    const DATA: Self = Self(1);
    /// Counts as a data watch and as a child watch, and is both or neither.
    const PERSISTENT: Self = Self(2);
    const DATA_RECURSIVE: Self = Self(4);
    const CHILD: Self = Self(8);
    const ANY_DATA: Self = Self(1 | 2 | 4);
    const ANY_CHILD: Self = Self(2 | 8);
    const ALL: Self = Self(15);

    const fn has(self, any_of: Self) -> bool {
        self.0 & any_of.0 != 0
    }

    const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    const fn without(self, less: Self) -> Self {
        Self(self.0 & !less.0)
    }

    /// What removing watches of this type takes away.
    const fn of_type(kind: WatcherType) -> Self {
        match kind {
            WatcherType::Any => Self::ALL,
            WatcherType::Children => Self::CHILD,
            WatcherType::Data => Self::DATA,
            WatcherType::Persistent => Self::PERSISTENT,
            WatcherType::PersistentRecursive => Self::DATA_RECURSIVE,
        }
    }
}

impl WatchTable {
    /// No watches. `hash_seed` keys the hash of paths, which clients choose.
    pub fn new(hash_seed: [u64; 4]) -> Self {
        Self {
            index: PathIndex::new(hash_seed),
            entries: Slab::new(),
            book: Book::default(),
            told: Vec::new(),
        }
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Tells `conn` once when the znode is created, set or deleted.
    pub fn add_data(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, Modes::DATA);
    }

    /// Tells `conn` once when a child comes or goes, or the znode is deleted.
    pub fn add_child(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, Modes::CHILD);
    }

    /// Tells `conn` each time, of both.
    pub fn add_persistent(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, Modes::PERSISTENT);
    }

    /// Tells `conn` each time a znode at or below `path` is created, set or deleted; never of children.
    pub fn add_recursive(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, Modes::DATA_RECURSIVE);
    }

    /// Whether `conn` has a watch of this type on `path`.
    pub fn contains(&self, path: &str, kind: WatcherType, conn: ConnId) -> bool {
        self.find(path)
            .is_some_and(|slot| self.entries.get(slot).watchers.get(conn).has(Modes::of_type(kind)))
    }

    /// Removes the watches of this type that `conn` has on `path` and says whether there were any.
    pub fn remove(&mut self, path: &str, kind: WatcherType, conn: ConnId) -> bool {
        let Some(slot) = self.find(path) else { return false };
        let old = self.entries.get(slot).watchers.get(conn);
        let new = old.without(Modes::of_type(kind));
        if new == old {
            return false;
        }
        self.set(slot, conn, old, new);
        if old.has(Modes::ANY_DATA) && !new.has(Modes::ANY_DATA) {
            self.book.unlist_if_idle(conn);
        }
        true
    }

    /// Removes every watch of a connection that has closed.
    pub fn remove_conn(&mut self, conn: ConnId) {
        let slots: Vec<u32> =
            self.book.conns.get(&conn).map_or_else(Vec::new, |conn| conn.entries.iter().copied().collect());
        for slot in slots {
            let old = self.entries.get(slot).watchers.get(conn);
            self.set(slot, conn, old, Modes::NONE);
        }
        self.book.forget(conn);
    }

    /// Uses up and reports the watches that `change` sets off.
    ///
    /// A connection hears of a deletion once, however it watched the znode, and of the change to the parent's
    /// children after that.
    pub fn fire(&mut self, change: &Change<'_>, notify: &mut dyn FnMut(Notification<'_>)) {
        if self.is_empty() {
            return;
        }
        let mut told = mem::take(&mut self.told);
        match *change {
            Change::Created { path, zxid, acl, parent_acl } => {
                let mut send = |told: &mut Vec<ConnId>, event, path, acl| {
                    for conn in told.drain(..) {
                        notify(Notification { conn, event, path, zxid, acl });
                    }
                };
                self.trigger_data(path, &mut told);
                send(&mut told, EventType::NodeCreated, path, acl);
                let parent = path::parent(path).unwrap_or(path::ROOT);
                self.trigger_child(parent, &mut told);
                send(&mut told, EventType::NodeChildrenChanged, parent, parent_acl);
            }
            Change::DataChanged { path, zxid, acl } => {
                self.trigger_data(path, &mut told);
                for conn in told.drain(..) {
                    notify(Notification { conn, event: EventType::NodeDataChanged, path, zxid, acl });
                }
            }
            Change::Deleted { path, zxid, acl, parent_acl } => {
                self.trigger_data(path, &mut told);
                let from_data = told.len();
                self.trigger_child(path, &mut told);
                let (told_already, by_child) = told.split_at(from_data);
                let by_child = by_child.iter().filter(|conn| told_already.binary_search(conn).is_err());
                for &conn in told_already.iter().chain(by_child) {
                    notify(Notification { conn, event: EventType::NodeDeleted, path, zxid, acl });
                }
                told.clear();
                let path = path::parent(path).unwrap_or(path::ROOT);
                self.trigger_child(path, &mut told);
                for conn in told.drain(..) {
                    let event = EventType::NodeChildrenChanged;
                    notify(Notification { conn, event, path, zxid, acl: parent_acl });
                }
            }
        }
        self.told = told;
    }

    /// How many watches there are: pairs of connection and path, data and child watches apart.
    pub const fn watch_count(&self) -> usize {
        self.book.data + self.book.child
    }

    /// The numbers of data watches.
    pub fn summary(&self) -> WatchSummary {
        let is_data = |entry: &Entry| entry.watchers.iter().any(|(_, modes)| modes.has(Modes::ANY_DATA));
        WatchSummary {
            connections: self.book.listed,
            paths: self.entries.iter().filter(|(_, entry)| is_data(entry)).count(),
            watches: self.book.data,
        }
    }

    /// Connections by ascending number, each with the paths it has data watches on (`wchc`).
    pub fn data_by_conn(&self) -> impl Iterator<Item = (ConnId, impl Iterator<Item = &str>)> {
        self.book.conns.iter().filter(|(_, conn)| conn.is_listed).map(|(&id, conn)| {
            let entries = conn.entries.iter().map(|&slot| self.entries.get(slot));
            let entries = entries.filter(move |entry| entry.watchers.get(id).has(Modes::ANY_DATA));
            (id, entries.map(|entry| &*entry.path))
        })
    }

    /// Paths with data watches, each with the connections that watch it (`wchp`).
    pub fn data_by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnId>)> {
        self.entries.iter().filter_map(|(_, entry)| {
            let conns = entry.watchers.iter().filter(|(_, modes)| modes.has(Modes::ANY_DATA));
            let mut conns = conns.map(|(conn, _)| conn).peekable();
            conns.peek()?;
            Some((&*entry.path, conns))
        })
    }

    /// Uses up the data watches on `path` and adds, in order, who is to hear of a change there.
    fn trigger_data(&mut self, path: &str, told: &mut Vec<ConnId>) {
        self.trigger(path, Modes::ANY_DATA, Modes::DATA, told);
        if self.book.recursive == 0 {
            return;
        }
        let mut ancestor = path::parent(path);
        while let Some(path) = ancestor {
            if let Some(slot) = self.find(path) {
                let watchers = self.entries.get(slot).watchers.iter();
                told.extend(
                    watchers.filter(|(_, modes)| modes.has(Modes::DATA_RECURSIVE)).map(|(conn, _)| conn),
                );
            }
            ancestor = path::parent(path);
        }
        told.sort_unstable();
        told.dedup();
    }

    /// Uses up the child watches on `path` and adds, in order, who is to hear of a change there.
    fn trigger_child(&mut self, path: &str, told: &mut Vec<ConnId>) {
        if self.book.child != 0 {
            self.trigger(path, Modes::ANY_CHILD, Modes::CHILD, told);
        }
    }

    fn trigger(&mut self, path: &str, which: Modes, one_shot: Modes, told: &mut Vec<ConnId>) {
        let Some(slot) = self.find(path) else { return };
        let Self { entries, book, .. } = self;
        let entry = entries.get_mut(slot);
        let mut use_up = |conn, modes: &mut Modes| {
            if modes.has(which) {
                told.push(conn);
                let old = *modes;
                *modes = old.without(one_shot);
                book.note(slot, conn, old, *modes);
            }
            *modes != Modes::NONE
        };
        let is_left = match &mut entry.watchers {
            Watchers::One(conn, modes) => use_up(*conn, modes),
            Watchers::Many(many) => {
                many.retain(|&conn, modes| use_up(conn, modes));
                !many.is_empty()
            }
        };
        if !is_left {
            self.remove_entry(slot);
        }
    }

    fn add(&mut self, path: &str, conn: ConnId, more: Modes) {
        let hash = self.index.hash(path);
        let found = self.index.find(hash, |slot| *self.entries.get(slot).path == *path);
        if let Some(slot) = found {
            let old = self.entries.get(slot).watchers.get(conn);
            self.set(slot, conn, old, old.with(more));
            return;
        }
        let slot = self.entries.insert(0, Entry { path: path.into(), watchers: Watchers::One(conn, more) });
        let entries = &self.entries;
        self.index.insert(hash, slot, |slot| &entries.get(slot).path);
        self.book.note(slot, conn, Modes::NONE, more);
    }

    /// Changes the watches of one connection on one path.
    fn set(&mut self, slot: u32, conn: ConnId, old: Modes, new: Modes) {
        if old == new {
            return;
        }
        self.book.note(slot, conn, old, new);
        if !self.entries.get_mut(slot).watchers.set(conn, new) {
            self.remove_entry(slot);
        }
    }

    fn remove_entry(&mut self, slot: u32) {
        let entry = self.entries.remove(slot);
        let hash = self.index.hash(&entry.path);
        self.index.remove(hash, slot);
    }

    fn find(&self, path: &str) -> Option<u32> {
        self.index.find(self.index.hash(path), |slot| *self.entries.get(slot).path == *path)
    }
}

impl Watchers {
    fn get(&self, conn: ConnId) -> Modes {
        match self {
            Self::One(only, modes) if *only == conn => *modes,
            Self::One(..) => Modes::NONE,
            Self::Many(many) => many.get(&conn).copied().unwrap_or(Modes::NONE),
        }
    }

    /// Changes the watches of one connection and says whether anybody is left.
    fn set(&mut self, conn: ConnId, new: Modes) -> bool {
        match self {
            Self::One(only, modes) if *only == conn => {
                *modes = new;
                new != Modes::NONE
            }
            Self::One(only, modes) => {
                assert!(new != Modes::NONE, "watches are removed from connections that have them");
                *self = Self::Many(Box::new(BTreeMap::from([(*only, *modes), (conn, new)])));
                true
            }
            Self::Many(many) => {
                if new == Modes::NONE {
                    many.remove(&conn);
                } else {
                    many.insert(conn, new);
                }
                !many.is_empty()
            }
        }
    }

    /// By ascending connection.
    fn iter(&self) -> impl Iterator<Item = (ConnId, Modes)> {
        let (one, many) = match self {
            Self::One(conn, modes) => (Some((*conn, *modes)), None),
            Self::Many(many) => (None, Some(many.iter().map(|(&conn, &modes)| (conn, modes)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl Book {
    /// Keeps the counts right when the watches of `conn` at `slot` change from `old` to `new`.
    fn note(&mut self, slot: u32, conn: ConnId, old: Modes, new: Modes) {
        let conn = self.conns.entry(conn).or_default();
        if old == Modes::NONE {
            conn.entries.insert(slot);
        }
        if new == Modes::NONE {
            conn.entries.remove(&slot);
        }
        let change = |count: &mut usize, which: Modes| {
            *count = *count + usize::from(new.has(which)) - usize::from(old.has(which));
        };
        change(&mut conn.data, Modes::ANY_DATA);
        change(&mut self.data, Modes::ANY_DATA);
        change(&mut self.child, Modes::ANY_CHILD);
        change(&mut self.recursive, Modes::DATA_RECURSIVE);
        if new.has(Modes::ANY_DATA) && !conn.is_listed {
            conn.is_listed = true;
            self.listed += 1;
        }
    }

    fn unlist_if_idle(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn)
            && conn.data == 0
            && conn.is_listed
        {
            conn.is_listed = false;
            self.listed -= 1;
        }
    }

    fn forget(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.remove(&conn) {
            assert!(conn.entries.is_empty());
            self.listed -= usize::from(conn.is_listed);
        }
    }
}
