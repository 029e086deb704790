//! Watches: which connections want to hear of which paths.
//!
//! ZooKeeper keeps two tables, data and child watches, and three modes in each. Here a path is kept once, and a
//! connection's watches on it are one set of bits. A connection has its paths listed too, so that closing it
//! costs what it had.
//!
//! Connections are told in ascending order. ZooKeeper promises none; a simulation needs one.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

use super::apply::Change;
use super::index::{PathIndex, Slim};
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
    index: PathIndex<Slim>,
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
    /// Without watches only on the way to being removed.
    One { conn: ConnId, modes: Modes, position: u32 },
    #[expect(clippy::box_collection, reason = "a map as such would make every entry 16 bytes larger")]
    Many(Box<BTreeMap<ConnId, Held>>),
}

// A million one-shot watches have a million entries: grow them on purpose only.
const _: () = assert!(size_of::<Option<Entry>>() == 32 || size_of::<usize>() != 8);

/// What one connection has on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// Never none: who watches nothing is not kept.
    modes: Modes,
    /// Where the path's slot stands in the connection's list.
    position: u32,
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
    /// Slots of the entries that name this connection; each knows its position here.
    entries: Vec<u32>,
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
        self.find(path).is_some_and(|slot| self.modes(slot, conn).has(Modes::of_type(kind)))
    }

    /// Removes the watches of this type that `conn` has on `path` and says whether there were any.
    pub fn remove(&mut self, path: &str, kind: WatcherType, conn: ConnId) -> bool {
        let Some(slot) = self.find(path) else { return false };
        let old = self.modes(slot, conn);
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
        // From the end, so that nothing has to move up.
        while let Some(&slot) = self.book.conns.get(&conn).and_then(|conn| conn.entries.last()) {
            let old = self.modes(slot, conn);
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
        let begin = told.len();
        let watchers = self.entries.get(slot).watchers.iter();
        told.extend(watchers.filter(|(_, modes)| modes.has(which)).map(|(conn, _)| conn));
        for &conn in &told[begin..] {
            // The entry goes with its last watcher, who is the last one here if anybody goes.
            let old = self.modes(slot, conn);
            self.set(slot, conn, old, old.without(one_shot));
        }
    }

    fn add(&mut self, path: &str, conn: ConnId, more: Modes) {
        let hash = self.index.hash(path);
        let found = self.index.find(hash, |slot| *self.entries.get(slot).path == *path);
        if let Some(slot) = found {
            let old = self.modes(slot, conn);
            self.set(slot, conn, old, old.with(more));
            return;
        }
        // Where the connection will list the slot is known before the slot is.
        let held = Held { modes: more, position: self.book.next_position(conn) };
        let slot = self.entries.insert(0, Entry { path: path.into(), watchers: Watchers::one(conn, held) });
        let entries = &self.entries;
        self.index.insert(hash, slot, |slot| &entries.get(slot).path);
        self.book.list(slot, conn);
        self.book.count(conn, Modes::NONE, more);
    }

    /// Changes the watches of one connection on one path.
    fn set(&mut self, slot: u32, conn: ConnId, old: Modes, new: Modes) {
        if old == new {
            return;
        }
        self.book.count(conn, old, new);
        let watchers = &mut self.entries.get_mut(slot).watchers;
        if new == Modes::NONE {
            let position = watchers.remove(conn);
            if watchers.is_empty() {
                self.remove_entry(slot);
            }
            if let Some(moved) = self.book.unlist(conn, position) {
                *self.entries.get_mut(moved).watchers.get_mut(conn).1 = position;
            }
        } else if old == Modes::NONE {
            watchers.insert(conn, Held { modes: new, position: self.book.list(slot, conn) });
        } else {
            *watchers.get_mut(conn).0 = new;
        }
    }

    fn modes(&self, slot: u32, conn: ConnId) -> Modes {
        self.entries.get(slot).watchers.get(conn)
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
    const fn one(conn: ConnId, held: Held) -> Self {
        Self::One { conn, modes: held.modes, position: held.position }
    }

    fn get(&self, conn: ConnId) -> Modes {
        match self {
            Self::One { conn: only, modes, .. } if *only == conn => *modes,
            Self::One { .. } => Modes::NONE,
            Self::Many(many) => many.get(&conn).map_or(Modes::NONE, |held| held.modes),
        }
    }

    /// Modes and position of a connection that is known to have something.
    fn get_mut(&mut self, conn: ConnId) -> (&mut Modes, &mut u32) {
        match self {
            Self::One { conn: only, modes, position } => {
                assert_eq!(*only, conn, "a connection's list names only entries that name it");
                (modes, position)
            }
            Self::Many(many) => {
                let held = many.get_mut(&conn);
                let Held { modes, position } = held.expect("a listed entry names the connection");
                (modes, position)
            }
        }
    }

    /// Adds a connection that has nothing yet.
    fn insert(&mut self, conn: ConnId, held: Held) {
        match self {
            Self::One { conn: only, modes, position } => {
                let other = Held { modes: *modes, position: *position };
                *self = Self::Many(Box::new(BTreeMap::from([(*only, other), (conn, held)])));
            }
            Self::Many(many) => {
                many.insert(conn, held);
            }
        }
    }

    /// Removes a connection that has something and says where its list named this entry. A single one stays,
    /// without watches, until the entry is removed.
    fn remove(&mut self, conn: ConnId) -> u32 {
        if let Self::Many(many) = self {
            return many.remove(&conn).expect("only who watches is removed").position;
        }
        let (modes, position) = self.get_mut(conn);
        *modes = Modes::NONE;
        *position
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One { modes, .. } => *modes == Modes::NONE,
            Self::Many(many) => many.is_empty(),
        }
    }

    /// By ascending connection.
    fn iter(&self) -> impl Iterator<Item = (ConnId, Modes)> {
        let (one, many) = match self {
            Self::One { conn, modes, .. } => (Some((*conn, *modes)), None),
            Self::Many(many) => (None, Some(many.iter().map(|(&conn, held)| (conn, held.modes)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl Book {
    /// Keeps the counts right when the watches of `conn` on some path change from `old` to `new`.
    fn count(&mut self, conn: ConnId, old: Modes, new: Modes) {
        let conn = self.conns.entry(conn).or_default();
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

    /// The position that [`Book::list`] will return.
    fn next_position(&self, conn: ConnId) -> u32 {
        self.conns.get(&conn).map_or(0, |conn| conn.entries.len() as u32)
    }

    /// Names the entry at `slot` in the connection's list, and says where.
    fn list(&mut self, slot: u32, conn: ConnId) -> u32 {
        let entries = &mut self.conns.entry(conn).or_default().entries;
        entries.push(slot);
        (entries.len() - 1) as u32
    }

    /// Takes an entry off the connection's list and says which one has moved to its position, if one has.
    fn unlist(&mut self, conn: ConnId, position: u32) -> Option<u32> {
        let entries = &mut self.conns.get_mut(&conn).expect("who watches has a list").entries;
        entries.swap_remove(position as usize);
        if entries.capacity() > 64 && entries.len() < entries.capacity() / 4 {
            entries.shrink_to(entries.capacity() / 2);
        }
        entries.get(position as usize).copied()
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
