//! Watches: which connections want to hear of which paths.
//!
//! ZooKeeper keeps two tables, data and child watches, and three modes in each. Here a path is kept once, and a
//! connection's watches on it are one set of bits. A connection has its paths listed too, so that closing it
//! costs what it had.
//!
//! A connection is known here by its *seat*, a small number that is given anew once it is free: with it, who watches a
//! path takes eight bytes, and the connection's list four, however many of them there are. Lists grow by an eighth,
//! because most are never used up to what doubling would give them.
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
pub struct WatchedEvent<'a> {
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

/// Who watches a path.
#[derive(Debug)]
enum Watchers {
    /// Nearly always. Without watches only on the way to being removed.
    One(Held),
    /// By ascending seat, each once.
    #[expect(clippy::box_collection, reason = "a vector as such would make every entry 16 bytes larger")]
    Many(Box<Vec<Held>>),
}

// A million one-shot watches may have a million entries: grow them on purpose only.
const _: () = assert!(size_of::<Option<Entry>>() == 32 || size_of::<usize>() != 8);

/// What one connection has on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// The connection's seat, shifted by [`Modes::BITS`], and its modes.
    seat_and_modes: u32,
    /// Where the path's slot stands in the connection's list.
    position: u32,
}

const _: () = assert!(size_of::<Held>() == 8);

/// Seats are for connections that are open at the same time, of which no system has so many.
const SEATS_MAX: u32 = 1 << (u32::BITS - Modes::BITS);

/// The watches of one connection on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes(u8);

/// What is counted by connection, and in all.
#[derive(Debug)]
struct Book {
    seats: Slab<Conn>,
    /// The seat of every connection that watches, or has since it came.
    by_conn: BTreeMap<ConnId, u32>,
    /// Pairs of connection and path with data watches.
    data: usize,
    /// Likewise with child watches.
    child: usize,
    /// Likewise with recursive ones; while there is none, events do not look at ancestors.
    recursive: usize,
    /// Connections with `is_listed`.
    listed: usize,
}

#[derive(Debug)]
struct Conn {
    id: ConnId,
    /// Slots of the entries that name this connection; each knows its position here.
    entries: Vec<u32>,
    /// How many of them with data watches.
    data: usize,
    /// Whether ZooKeeper would still list this connection: it forgets one that had its last watch removed, but
    /// not one whose last watch was used up.
    is_listed: bool,
}

impl Modes {
    /// How many bits there are.
    const BITS: u32 = 4;
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
        Self { index: PathIndex::new(hash_seed), entries: Slab::new(), book: Book::new(), told: Vec::new() }
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
        let seat = self.book.by_conn.get(&conn);
        let Some((&seat, slot)) = seat.zip(self.find(path)) else { return false };
        self.modes(slot, seat).has(Modes::of_type(kind))
    }

    /// Removes the watches of this type that `conn` has on `path` and says whether there were any.
    pub fn remove(&mut self, path: &str, kind: WatcherType, conn: ConnId) -> bool {
        let seat = self.book.by_conn.get(&conn).copied();
        let Some((seat, slot)) = seat.zip(self.find(path)) else { return false };
        let old = self.modes(slot, seat);
        let new = old.without(Modes::of_type(kind));
        if new == old {
            return false;
        }
        self.set(slot, seat, old, new);
        if old.has(Modes::ANY_DATA) && !new.has(Modes::ANY_DATA) {
            self.book.unlist_if_idle(seat);
        }
        true
    }

    /// Removes every watch of a connection that has closed.
    pub fn remove_conn(&mut self, conn: ConnId) {
        let Some(&seat) = self.book.by_conn.get(&conn) else { return };
        // From the end, so that nothing has to move up.
        while let Some(&slot) = self.book.seats.get(seat).entries.last() {
            let old = self.modes(slot, seat);
            self.set(slot, seat, old, Modes::NONE);
        }
        self.book.forget(conn);
    }

    /// Uses up and reports the watches that `change` sets off.
    ///
    /// A connection hears of a deletion once, however it watched the znode, and of the change to the parent's
    /// children after that.
    pub fn fire(&mut self, change: &Change<'_>, notify: &mut dyn FnMut(WatchedEvent<'_>)) {
        if self.is_empty() {
            return;
        }
        let mut told = mem::take(&mut self.told);
        match *change {
            Change::Created { path, zxid, acl, parent_acl } => {
                let mut send = |told: &mut Vec<ConnId>, event, path, acl| {
                    for conn in told.drain(..) {
                        notify(WatchedEvent { conn, event, path, zxid, acl });
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
                    notify(WatchedEvent { conn, event: EventType::NodeDataChanged, path, zxid, acl });
                }
            }
            Change::Deleted { path, zxid, acl, parent_acl } => {
                self.trigger_data(path, &mut told);
                let from_data = told.len();
                self.trigger_child(path, &mut told);
                let (told_already, by_child) = told.split_at(from_data);
                let by_child = by_child.iter().filter(|conn| told_already.binary_search(conn).is_err());
                for &conn in told_already.iter().chain(by_child) {
                    notify(WatchedEvent { conn, event: EventType::NodeDeleted, path, zxid, acl });
                }
                told.clear();
                let path = path::parent(path).unwrap_or(path::ROOT);
                self.trigger_child(path, &mut told);
                for conn in told.drain(..) {
                    let event = EventType::NodeChildrenChanged;
                    notify(WatchedEvent { conn, event, path, zxid, acl: parent_acl });
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
        let is_data = |entry: &Entry| entry.watchers.iter().any(|held| held.modes().has(Modes::ANY_DATA));
        WatchSummary {
            connections: self.book.listed,
            paths: self.entries.iter().filter(|(_, entry)| is_data(entry)).count(),
            watches: self.book.data,
        }
    }

    /// Connections by ascending number, each with the paths it has data watches on (`wchc`).
    pub fn data_by_conn(&self) -> impl Iterator<Item = (ConnId, impl Iterator<Item = &str>)> {
        let conns = self.book.by_conn.iter().map(|(&id, &seat)| (id, seat, self.book.seats.get(seat)));
        conns.filter(|(_, _, conn)| conn.is_listed).map(|(id, seat, conn)| {
            let entries = conn.entries.iter().map(|&slot| self.entries.get(slot));
            let entries = entries.filter(move |entry| entry.watchers.get(seat).has(Modes::ANY_DATA));
            (id, entries.map(|entry| &*entry.path))
        })
    }

    /// Paths with data watches, each with the connections that watch it (`wchp`).
    pub fn data_by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnId>)> {
        self.entries.iter().filter_map(|(_, entry)| {
            let held = entry.watchers.iter().filter(|held| held.modes().has(Modes::ANY_DATA));
            let mut conns = held.map(|held| self.book.seats.get(held.seat()).id).peekable();
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
                let held = self.entries.get(slot).watchers.iter();
                let held = held.filter(|held| held.modes().has(Modes::DATA_RECURSIVE));
                told.extend(held.map(|held| self.book.seats.get(held.seat()).id));
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
        match &mut self.entries.get_mut(slot).watchers {
            Watchers::One(held) => {
                let (seat, old) = (held.seat(), held.modes());
                if old.has(which) {
                    told.push(self.book.seats.get(seat).id);
                    self.set(slot, seat, old, old.without(one_shot));
                }
            }
            Watchers::Many(many) => {
                let many = mem::take(&mut **many);
                self.trigger_many(slot, many, which, one_shot, told);
            }
        }
        // Seats are given anew, so their order is not that of the connections, though nearly.
        told[begin..].sort_unstable();
    }

    /// Uses up watches of all that were taken out of an entry, in one pass, and puts back who stays.
    fn trigger_many(
        &mut self,
        slot: u32,
        mut many: Vec<Held>,
        which: Modes,
        one_shot: Modes,
        told: &mut Vec<ConnId>,
    ) {
        let Self { entries, book, .. } = self;
        many.retain_mut(|held| {
            let (seat, old) = (held.seat(), held.modes());
            if !old.has(which) {
                return true;
            }
            told.push(book.seats.get(seat).id);
            let new = old.without(one_shot);
            book.count(seat, old, new);
            held.set_modes(new);
            if new != Modes::NONE {
                return true;
            }
            // Another entry than this one: a connection lists each once.
            if let Some(moved) = book.unlist(seat, held.position) {
                entries.get_mut(moved).watchers.get_mut(seat).position = held.position;
            }
            false
        });
        if many.is_empty() {
            self.remove_entry(slot);
            return;
        }
        shrink(&mut many);
        let Watchers::Many(place) = &mut entries.get_mut(slot).watchers else {
            unreachable!("it was taken out of there")
        };
        **place = many;
    }

    fn add(&mut self, path: &str, conn: ConnId, more: Modes) {
        let seat = self.book.seat(conn);
        let hash = self.index.hash(path);
        let found = self.index.find(hash, |slot| *self.entries.get(slot).path == *path);
        if let Some(slot) = found {
            let old = self.modes(slot, seat);
            self.set(slot, seat, old, old.with(more));
            return;
        }
        // Where the connection will list the slot is known before the slot is.
        let held = Held::new(seat, more, self.book.next_position(seat));
        let slot = self.entries.insert(0, Entry { path: path.into(), watchers: Watchers::One(held) });
        let entries = &self.entries;
        self.index.insert(hash, slot, |slot| &entries.get(slot).path);
        self.book.list(slot, seat);
        self.book.count(seat, Modes::NONE, more);
    }

    /// Changes the watches of one connection on one path.
    fn set(&mut self, slot: u32, seat: u32, old: Modes, new: Modes) {
        if old == new {
            return;
        }
        self.book.count(seat, old, new);
        let watchers = &mut self.entries.get_mut(slot).watchers;
        if new == Modes::NONE {
            let position = watchers.remove(seat);
            if watchers.is_empty() {
                self.remove_entry(slot);
            }
            if let Some(moved) = self.book.unlist(seat, position) {
                self.entries.get_mut(moved).watchers.get_mut(seat).position = position;
            }
        } else if old == Modes::NONE {
            watchers.insert(Held::new(seat, new, self.book.list(slot, seat)));
        } else {
            watchers.get_mut(seat).set_modes(new);
        }
    }

    fn modes(&self, slot: u32, seat: u32) -> Modes {
        self.entries.get(slot).watchers.get(seat)
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

impl Held {
    const fn new(seat: u32, modes: Modes, position: u32) -> Self {
        Self { seat_and_modes: seat << Modes::BITS | modes.0 as u32, position }
    }

    const fn seat(self) -> u32 {
        self.seat_and_modes >> Modes::BITS
    }

    /// Never none, but on the way to being removed: who watches nothing is not kept.
    const fn modes(self) -> Modes {
        Modes(self.seat_and_modes as u8 & Modes::ALL.0)
    }

    const fn set_modes(&mut self, modes: Modes) {
        *self = Self::new(self.seat(), modes, self.position);
    }
}

impl Watchers {
    fn get(&self, seat: u32) -> Modes {
        match self {
            Self::One(held) if held.seat() == seat => held.modes(),
            Self::One(_) => Modes::NONE,
            Self::Many(many) => find(many, seat).map_or(Modes::NONE, |place| many[place].modes()),
        }
    }

    /// What a connection has that is known to have something.
    fn get_mut(&mut self, seat: u32) -> &mut Held {
        match self {
            Self::One(held) => {
                assert_eq!(held.seat(), seat, "a connection's list names only entries that name it");
                held
            }
            Self::Many(many) => {
                let place = find(many, seat).expect("a listed entry names the connection");
                &mut many[place]
            }
        }
    }

    /// Adds a connection that has nothing yet.
    fn insert(&mut self, held: Held) {
        match self {
            Self::One(other) => {
                let mut many = Vec::with_capacity(2);
                many.extend([*other, held]);
                many.sort_unstable_by_key(|held| held.seat());
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                let place = many.partition_point(|other| other.seat() < held.seat());
                grow(many);
                many.insert(place, held);
            }
        }
    }

    /// Removes a connection that has something and says where its list named this entry. A single one stays,
    /// without watches, until the entry is removed.
    fn remove(&mut self, seat: u32) -> u32 {
        if let Self::Many(many) = self {
            let place = find(many, seat).expect("only who watches is removed");
            let position = many.remove(place).position;
            shrink(many);
            return position;
        }
        let held = self.get_mut(seat);
        held.set_modes(Modes::NONE);
        held.position
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One(held) => held.modes() == Modes::NONE,
            Self::Many(many) => many.is_empty(),
        }
    }

    /// By ascending seat.
    fn iter(&self) -> impl Iterator<Item = Held> {
        let all = match self {
            Self::One(held) => core::slice::from_ref(held),
            Self::Many(many) => many.as_slice(),
        };
        all.iter().copied()
    }
}

/// Where the seat stands among those who watch a path.
fn find(many: &[Held], seat: u32) -> Option<usize> {
    many.binary_search_by_key(&seat, |held| held.seat()).ok()
}

/// Makes room for one more.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 2);
    }
}

/// Gives back the room of a list that lost most of what it had.
fn shrink<T>(list: &mut Vec<T>) {
    if list.capacity() > 64 && list.len() < list.capacity() / 4 {
        list.shrink_to(list.capacity() / 2);
    }
}

impl Book {
    const fn new() -> Self {
        Self { seats: Slab::new(), by_conn: BTreeMap::new(), data: 0, child: 0, recursive: 0, listed: 0 }
    }

    /// The connection's seat; it is given one if it has none.
    fn seat(&mut self, id: ConnId) -> u32 {
        let seats = &mut self.seats;
        *self.by_conn.entry(id).or_insert_with(|| {
            let seat = seats.insert(0, Conn { id, entries: Vec::new(), data: 0, is_listed: false });
            assert!(seat < SEATS_MAX, "more connections than any system has");
            seat
        })
    }

    /// Keeps the counts right when the watches of the connection on some path change from `old` to `new`.
    fn count(&mut self, seat: u32, old: Modes, new: Modes) {
        let conn = self.seats.get_mut(seat);
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
    fn next_position(&self, seat: u32) -> u32 {
        self.seats.get(seat).entries.len() as u32
    }

    /// Names the entry at `slot` in the connection's list, and says where.
    fn list(&mut self, slot: u32, seat: u32) -> u32 {
        let entries = &mut self.seats.get_mut(seat).entries;
        grow(entries);
        entries.push(slot);
        (entries.len() - 1) as u32
    }

    /// Takes an entry off the connection's list and says which one has moved to its position, if one has.
    fn unlist(&mut self, seat: u32, position: u32) -> Option<u32> {
        let entries = &mut self.seats.get_mut(seat).entries;
        entries.swap_remove(position as usize);
        shrink(entries);
        entries.get(position as usize).copied()
    }

    fn unlist_if_idle(&mut self, seat: u32) {
        let conn = self.seats.get_mut(seat);
        if conn.data == 0 && conn.is_listed {
            conn.is_listed = false;
            self.listed -= 1;
        }
    }

    fn forget(&mut self, id: ConnId) {
        if let Some(seat) = self.by_conn.remove(&id) {
            let conn = self.seats.remove(seat);
            assert!(conn.entries.is_empty());
            self.listed -= usize::from(conn.is_listed);
        }
    }
}
