//! Who watches what, so that events find those who wait, and a new connection gets the watches of the old one.
//!
//! A server keeps one watch for a connection, a path and a kind; how many watchers stand behind it is known only here.
//! It tells of a change before it answers anything that shows the change (PARITY `ev.order`), and everything is passed
//! on in the order in which it came.
//!
//! Paths are the server's: with the chroot. Five tables, as in ZooKeeper's client: one-shot watches left by getData and
//! by exists on a znode that is there, by exists on one that is not, and by getChildren; persistent ones; recursive
//! ones.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::call::{AddWatchMode, Call};
use super::input::WatcherId;
use crate::types::path::{self, CONFIG};
use crate::types::{ErrorCode, EventType, OpCode, WatcherType, Zxid};
use crate::wire::{Request, Writer};

/// Which table a watch is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchKind {
    /// For the children of a znode, once.
    Child,
    /// For a znode, once.
    Data,
    /// For a znode that was not there, once.
    Exist,
    /// For a znode and its children.
    Persistent,
    /// For a znode and all below it.
    Recursive,
}

const KINDS: [WatchKind; 5] =
    [WatchKind::Data, WatchKind::Exist, WatchKind::Child, WatchKind::Persistent, WatchKind::Recursive];

/// What the answer to a call does to the watches. `exists` puts the watch where the answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A watch is left.
    Leaves {
        /// Where, with the chroot.
        path: String,
        /// In which table.
        kind: WatchKind,
        /// Whether it goes to the exist table if there is no such znode.
        or_exist: bool,
        /// For whom.
        watcher: WatcherId,
    },
    /// Nothing.
    Nothing,
    /// Watches go.
    Removes {
        /// Where, with the chroot.
        path: String,
        /// Which.
        kind: WatcherType,
        /// Whose.
        watcher: Option<WatcherId>,
        /// Whether they go whatever the answer.
        local: bool,
    },
}

impl Effect {
    /// What this call does, its chroot in place.
    pub fn of(call: &Call) -> Self {
        let (path, kind, or_exist, watcher) = match call {
            Call::AddWatch { path, mode, watcher } => {
                let kind = match mode {
                    AddWatchMode::Persistent => WatchKind::Persistent,
                    AddWatchMode::PersistentRecursive => WatchKind::Recursive,
                };
                (path.as_str(), kind, false, *watcher)
            }
            Call::Exists { path, watcher: Some(watcher) } => (path.as_str(), WatchKind::Data, true, *watcher),
            Call::GetChildren { path, watcher: Some(watcher) } => {
                (path.as_str(), WatchKind::Child, false, *watcher)
            }
            Call::GetConfig { watcher: Some(watcher) } => (CONFIG, WatchKind::Data, false, *watcher),
            Call::GetData { path, watcher: Some(watcher) } => {
                (path.as_str(), WatchKind::Data, false, *watcher)
            }
            Call::RemoveWatches { path, kind, watcher, local } => {
                let (kind, watcher, local) = (*kind, *watcher, *local);
                return Self::Removes { path: path.clone(), kind, watcher, local };
            }
            Call::AddAuth { .. }
            | Call::Create(_)
            | Call::Delete { .. }
            | Call::Exists { watcher: None, .. }
            | Call::GetAcl { .. }
            | Call::GetAllChildrenNumber { .. }
            | Call::GetChildren { watcher: None, .. }
            | Call::GetConfig { watcher: None }
            | Call::GetData { watcher: None, .. }
            | Call::GetEphemerals { .. }
            | Call::Multi(_)
            | Call::MultiRead(_)
            | Call::Reconfig { .. }
            | Call::SetAcl { .. }
            | Call::SetData { .. }
            | Call::Sync { .. }
            | Call::WhoAmI => return Self::Nothing,
        };
        Self::Leaves { path: path.into(), kind, or_exist, watcher }
    }
}

/// A removed watch, as its watchers are told: which event, and who.
pub(super) type Removed = (EventType, Vec<WatcherId>);

/// One table: path to watchers.
type Table = BTreeMap<String, BTreeSet<WatcherId>>;

/// All watches of a client.
#[derive(Debug, Default)]
pub(super) struct Watches {
    child: Table,
    data: Table,
    exist: Table,
    persistent: Table,
    recursive: Table,
    /// Watchers in all tables together.
    len: usize,
}

impl Watches {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// A watch is there from now on.
    pub fn add(&mut self, kind: WatchKind, path: String, watcher: WatcherId) {
        let added = self.table_mut(kind).entry(path).or_default().insert(watcher);
        self.len += usize::from(added);
    }

    /// Who is to be told of an event; one-shot watches are gone with it.
    pub fn take(&mut self, event: EventType, path: &str) -> Vec<WatcherId> {
        let mut told = BTreeSet::new();
        let shot: &[WatchKind] = match event {
            EventType::NodeCreated | EventType::NodeDataChanged => &[WatchKind::Data, WatchKind::Exist],
            EventType::NodeChildrenChanged => &[WatchKind::Child],
            EventType::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
            // These are never sent.
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => return Vec::new(),
        };
        for &kind in shot {
            let watchers = self.table_mut(kind).remove(path).unwrap_or_default();
            self.len -= watchers.len();
            told.extend(watchers);
        }
        told.extend(self.persistent.get(path).into_iter().flatten());
        // A recursive watch hears of each child itself, so not of the list of children (PARITY `ev.recursive.client`).
        if event != EventType::NodeChildrenChanged && !self.recursive.is_empty() {
            let mut at = Some(path);
            while let Some(ancestor) = at {
                told.extend(self.recursive.get(ancestor).into_iter().flatten());
                at = path::parent(ancestor);
            }
        }
        told.into_iter().collect()
    }

    /// What the answer to removeWatches or checkWatches comes to: who is told of what. A watch that nobody has here is
    /// NOWATCHER, whatever the server says.
    pub fn remove(
        &mut self,
        path: &str,
        kind: WatcherType,
        watcher: Option<WatcherId>,
        local: bool,
        answer: ErrorCode,
    ) -> Result<Vec<Removed>, ErrorCode> {
        let has = |table: &Table| match (table.get(path), watcher) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(watchers), Some(watcher)) => watchers.contains(&watcher),
        };
        if !tables(kind).iter().any(|&kind| has(self.table(kind))) {
            return Err(ErrorCode::NOWATCHER);
        }
        if answer != ErrorCode::OK && !local {
            return Err(answer);
        }
        let mut removed: BTreeMap<EventType, BTreeSet<WatcherId>> = BTreeMap::new();
        for &kind in tables(kind) {
            let gone = self.remove_from(kind, path, watcher);
            if !gone.is_empty() {
                removed.entry(removal_event(kind)).or_default().extend(gone);
            }
        }
        Ok(removed.into_iter().map(|(event, watchers)| (event, watchers.into_iter().collect())).collect())
    }

    fn remove_from(
        &mut self,
        kind: WatchKind,
        path: &str,
        watcher: Option<WatcherId>,
    ) -> BTreeSet<WatcherId> {
        let table = self.table_mut(kind);
        let gone = match watcher {
            None => table.remove(path).unwrap_or_default(),
            Some(watcher) => {
                let Some(watchers) = table.get_mut(path) else { return BTreeSet::new() };
                let gone = watchers.take(&watcher).into_iter().collect();
                if watchers.is_empty() {
                    table.remove(path);
                }
                gone
            }
        };
        self.len -= gone.len();
        gone
    }

    /// One-shot watches end.
    pub fn clear_one_shot(&mut self) {
        for kind in [WatchKind::Child, WatchKind::Data, WatchKind::Exist] {
            let gone: usize = self.table(kind).values().map(BTreeSet::len).sum();
            self.len -= gone;
            self.table_mut(kind).clear();
        }
    }

    /// All watches end.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The requests that register every watch again, each with at most `bytes_max` bytes of paths, or one path. Those
    /// without persistent watches are what servers before 3.6 understand (PARITY `cl.setwatches.batch`).
    pub fn set_watches(&self, relative_zxid: Zxid, bytes_max: usize) -> Vec<(OpCode, Vec<u8>)> {
        let paths = KINDS.iter().flat_map(|&kind| self.table(kind).keys().map(move |path| (kind, path)));
        let mut requests = Vec::new();
        let mut batch = Batch::default();
        for (kind, path) in paths {
            let size = 4 + path.len();
            if batch.bytes > 0 && batch.bytes + size > bytes_max {
                requests.push(core::mem::take(&mut batch).encode(relative_zxid));
            }
            batch.bytes += size;
            batch.list(kind).push(path);
        }
        if batch.bytes > 0 {
            requests.push(batch.encode(relative_zxid));
        }
        requests
    }

    const fn table(&self, kind: WatchKind) -> &Table {
        match kind {
            WatchKind::Child => &self.child,
            WatchKind::Data => &self.data,
            WatchKind::Exist => &self.exist,
            WatchKind::Persistent => &self.persistent,
            WatchKind::Recursive => &self.recursive,
        }
    }

    const fn table_mut(&mut self, kind: WatchKind) -> &mut Table {
        match kind {
            WatchKind::Child => &mut self.child,
            WatchKind::Data => &mut self.data,
            WatchKind::Exist => &mut self.exist,
            WatchKind::Persistent => &mut self.persistent,
            WatchKind::Recursive => &mut self.recursive,
        }
    }
}

/// Which tables a kind on the wire means.
const fn tables(kind: WatcherType) -> &'static [WatchKind] {
    match kind {
        WatcherType::Any => &KINDS,
        WatcherType::Children => &[WatchKind::Child],
        WatcherType::Data => &[WatchKind::Data, WatchKind::Exist],
        WatcherType::Persistent => &[WatchKind::Persistent],
        WatcherType::PersistentRecursive => &[WatchKind::Recursive],
    }
}

const fn removal_event(kind: WatchKind) -> EventType {
    match kind {
        WatchKind::Child => EventType::ChildWatchRemoved,
        WatchKind::Data | WatchKind::Exist => EventType::DataWatchRemoved,
        WatchKind::Persistent | WatchKind::Recursive => EventType::PersistentWatchRemoved,
    }
}

/// The lists of one setWatches.
#[derive(Default)]
struct Batch<'a> {
    child: Vec<&'a str>,
    data: Vec<&'a str>,
    exist: Vec<&'a str>,
    persistent: Vec<&'a str>,
    recursive: Vec<&'a str>,
    /// Bytes of all the paths, their lengths included.
    bytes: usize,
}

impl<'a> Batch<'a> {
    const fn list(&mut self, kind: WatchKind) -> &mut Vec<&'a str> {
        match kind {
            WatchKind::Child => &mut self.child,
            WatchKind::Data => &mut self.data,
            WatchKind::Exist => &mut self.exist,
            WatchKind::Persistent => &mut self.persistent,
            WatchKind::Recursive => &mut self.recursive,
        }
    }

    fn encode(self, relative_zxid: Zxid) -> (OpCode, Vec<u8>) {
        let Self { child, data, exist, persistent, recursive, bytes } = self;
        let op = if persistent.is_empty() && recursive.is_empty() {
            OpCode::SET_WATCHES
        } else {
            OpCode::SET_WATCHES2
        };
        let mut body = Vec::with_capacity(bytes + 28);
        Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive }
            .encode(op, &mut Writer::new(&mut body));
        (op, body)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::wire::Reader;

    const ONE: WatcherId = WatcherId(1);
    const TWO: WatcherId = WatcherId(2);

    fn with(watches: &[(WatchKind, &str, WatcherId)]) -> Watches {
        let mut all = Watches::default();
        for &(kind, path, watcher) in watches {
            all.add(kind, path.into(), watcher);
        }
        all
    }

    /// PARITY `ev.materialize.deleted`, `ev.persistent`: for each kind of watch and each event, whether it is told and
    /// whether it stays.
    #[test]
    fn ev_materialize() {
        use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
        for (kind, told_of, stays) in [
            (WatchKind::Data, &[NodeCreated, NodeDataChanged, NodeDeleted][..], false),
            (WatchKind::Exist, &[NodeCreated, NodeDataChanged, NodeDeleted], false),
            (WatchKind::Child, &[NodeChildrenChanged, NodeDeleted], false),
            (WatchKind::Persistent, &[NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted], true),
            (WatchKind::Recursive, &[NodeCreated, NodeDataChanged, NodeDeleted], true),
        ] {
            for event in [NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted] {
                let mut watches = with(&[(kind, "/a", ONE), (kind, "/b", TWO)]);
                let told = told_of.contains(&event);
                let expected = if told { vec![ONE] } else { vec![] };
                assert_eq!(watches.take(event, "/a"), expected, "{kind:?} {event:?}");
                assert_eq!(watches.len(), if told && !stays { 1 } else { 2 }, "{kind:?} {event:?}");
            }
        }
    }

    /// PARITY `ev.once`, `ev.recursive.client`: one watcher of several kinds is told once; ancestors hear of it, from
    /// the root down; neighbours with a common beginning do not.
    #[test]
    fn ev_once_and_recursive() {
        let mut watches = with(&[
            (WatchKind::Data, "/a/b", ONE),
            (WatchKind::Child, "/a/b", ONE),
            (WatchKind::Recursive, "/", TWO),
            (WatchKind::Recursive, "/a", ONE),
            (WatchKind::Recursive, "/a/bc", WatcherId(3)),
        ]);
        assert_eq!(watches.take(EventType::NodeDeleted, "/a/b"), vec![ONE, TWO]);
        assert_eq!(watches.take(EventType::NodeCreated, "/x/y"), vec![TWO]);
        assert_eq!(watches.take(EventType::NodeCreated, "/"), vec![TWO]);
        assert_eq!(watches.take(EventType::NodeChildrenChanged, "/a"), vec![]);
        assert_eq!(watches.len(), 3);
    }

    /// PARITY `ev.remove`: each kind removes its own; a refusal counts unless the removal is local; who has none is
    /// told so first.
    #[test]
    fn ev_remove() {
        use EventType::{ChildWatchRemoved, DataWatchRemoved, PersistentWatchRemoved};
        let all = || {
            with(&[
                (WatchKind::Data, "/a", ONE),
                (WatchKind::Exist, "/a", TWO),
                (WatchKind::Child, "/a", ONE),
                (WatchKind::Persistent, "/a", ONE),
                (WatchKind::Recursive, "/a", ONE),
            ])
        };
        for (kind, watcher, events, left) in [
            (WatcherType::Data, None, vec![(DataWatchRemoved, vec![ONE, TWO])], 3),
            (WatcherType::Data, Some(TWO), vec![(DataWatchRemoved, vec![TWO])], 4),
            (WatcherType::Children, Some(ONE), vec![(ChildWatchRemoved, vec![ONE])], 4),
            (WatcherType::Persistent, None, vec![(PersistentWatchRemoved, vec![ONE])], 4),
            (WatcherType::PersistentRecursive, None, vec![(PersistentWatchRemoved, vec![ONE])], 4),
            (
                WatcherType::Any,
                Some(ONE),
                vec![
                    (DataWatchRemoved, vec![ONE]),
                    (ChildWatchRemoved, vec![ONE]),
                    (PersistentWatchRemoved, vec![ONE]),
                ],
                1,
            ),
        ] {
            let mut watches = all();
            assert_eq!(watches.remove("/a", kind, watcher, false, ErrorCode::OK), Ok(events.clone()));
            assert_eq!(watches.len(), left, "{kind:?} {watcher:?}");
            let again = watches.remove("/a", kind, watcher, true, ErrorCode::OK);
            assert_eq!(again, Err(ErrorCode::NOWATCHER), "{kind:?} {watcher:?}");
            let mut watches = all();
            let refused = watches.remove("/a", kind, watcher, false, ErrorCode::CONNECTIONLOSS);
            assert_eq!((refused, watches.len()), (Err(ErrorCode::CONNECTIONLOSS), 5));
            assert_eq!(watches.remove("/a", kind, watcher, true, ErrorCode::CONNECTIONLOSS), Ok(events));
        }
        let unknown = all().remove("/a", WatcherType::Children, Some(TWO), true, ErrorCode::OK);
        assert_eq!(unknown, Err(ErrorCode::NOWATCHER));
    }

    /// PARITY `cl.setwatches.batch`: every path exactly once and in its list, no batch over the limit unless it is one
    /// path, and the old request wherever it will do.
    #[test]
    fn cl_setwatches_batch() {
        let mut watches = Watches::default();
        for (at, &kind) in KINDS.iter().enumerate() {
            for number in 0..50 {
                watches.add(kind, format!("/{at}/{number:03}"), ONE);
            }
        }
        let long = format!("/{}", "x".repeat(300));
        watches.add(WatchKind::Data, long.clone(), ONE);
        for limit in [1, 10, 11, 100, 1000, 10_000] {
            let mut seen = Vec::new();
            for (op, body) in watches.set_watches(Zxid(9), limit) {
                let request = Request::decode(op, &mut Reader::new(&body)).expect("it was just encoded");
                let Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive } =
                    request
                else {
                    panic!("{op:?} is no setWatches");
                };
                assert_eq!(relative_zxid, Zxid(9));
                assert_eq!(op == OpCode::SET_WATCHES, persistent.is_empty() && recursive.is_empty());
                let lists = [data, exist, child, persistent, recursive];
                let size: usize = lists.iter().flatten().map(|path| 4 + path.len()).sum();
                let count: usize = lists.iter().map(Vec::len).sum();
                assert!(size <= limit || count == 1, "{size} bytes in a batch of {limit}");
                for (at, list) in lists.iter().enumerate() {
                    seen.extend(list.iter().map(|&path| (at, String::from(path))));
                }
            }
            let mut expected: Vec<_> =
                (0..5).flat_map(|at| (0..50).map(move |number| (at, format!("/{at}/{number:03}")))).collect();
            expected.insert(50, (0, long.clone()));
            assert_eq!(seen, expected, "{limit}");
        }
        assert_eq!(Watches::default().set_watches(Zxid(9), 10), vec![]);
    }

    /// PARITY `cl.autowatchreset`: persistent watches outlive the others.
    #[test]
    fn cl_autowatchreset() {
        let mut watches = with(&KINDS.map(|kind| (kind, "/a", ONE)));
        watches.clear_one_shot();
        assert_eq!(watches.len(), 2);
        assert_eq!(watches.take(EventType::NodeDeleted, "/a"), vec![ONE]);
        watches.clear();
        assert_eq!((watches.len(), watches.take(EventType::NodeDeleted, "/a")), (0, vec![]));
    }
}
