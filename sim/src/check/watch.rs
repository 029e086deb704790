//! Watches: a registered watch fires for every change that it is to fire for (W5), in order (W3), and before its client sees
//! any state that holds the change (W1). A one-shot watch fires for the first (W2); a persistent one for all (W6), until it
//! is removed (W7).
//!
//! The client's own view is enough to check it. From the answer that registers a watch on, the changes of the reference
//! are gone through one transaction after the other: what a change must tell is known, and when an event or an answer
//! arrives that lies behind it, it must have been told. An event that no registration and no change explains is
//! invented (W4). Within one transaction they come in the order of its changes; but for the end of a session, of which
//! nobody promises what goes first.
//!
//! Who may not read a znode is not told of it, and its one-shot watch is used up all the same. A connection that proves to
//! be somebody else in the middle of this may have done so before or after a change that it was not told of; such an
//! event may come or not.
//!
//! After a reconnect the client registers again with the last zxid it saw. The server then either tells at once,
//! with zxid -1, that a one-shot watch would have fired meanwhile, or keeps it. Which of the two is decided by the state
//! in which the answer was given. A znode that was created and deleted meanwhile is one thing that a client may miss, as
//! in ZooKeeper; what persistent watches miss in between is the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use zabra_core::types::{ErrorCode, Id, Perms, WatcherType, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::model::{Change, Model, acl};
use crate::op::{Answer, EventKind, Op, WatchTable};
use crate::places::ClientId;

/// What is registered, by table and path. A server has one table for znodes that are there and that are not: here that is
/// [`WatchTable::Data`].
#[derive(Clone, Debug, Default)]
struct Registrations(BTreeMap<WatchTable, BTreeSet<String>>);

impl Registrations {
    fn add(&mut self, table: WatchTable, path: &str) {
        self.0.entry(in_server(table)).or_default().insert(path.to_owned());
    }

    fn has(&self, table: WatchTable, path: &str) -> bool {
        self.0.get(&in_server(table)).is_some_and(|watched| watched.contains(path))
    }

    /// Whether it was there.
    fn remove(&mut self, table: WatchTable, path: &str) -> bool {
        self.0.get_mut(&in_server(table)).is_some_and(|watched| watched.remove(path))
    }

    fn of(&self, table: WatchTable) -> impl Iterator<Item = &str> {
        self.0.get(&in_server(table)).into_iter().flatten().map(String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }
}

/// What the renewal of a watch is about; unlike the server's, with a list of its own for znodes that were not there.
type Renewed = (WatchTable, String);

/// The lists of a setWatches under way.
#[derive(Clone, Debug)]
struct Renewal {
    relative: Zxid,
    /// What was not told yet.
    kept: BTreeSet<Renewed>,
    /// What was told.
    told: Vec<Renewed>,
    /// Who asks.
    who: Rc<[Id]>,
}

/// Something that a transaction tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owed {
    kind: EventKind,
    path: String,
    /// It must be told; otherwise it may.
    must: bool,
}

/// What one client watches.
#[derive(Clone, Debug)]
struct Watcher {
    client: ClientId,
    active: Registrations,
    /// All changes up to here were compared with the registrations, and what is owed of the last transaction.
    seen: Zxid,
    owed: Vec<Owed>,
    renewals: VecDeque<Renewal>,
    /// Who the connection is, as far as the server has said so; and who it was when an answer last showed the tree.
    who: Rc<[Id]>,
    who_before: Rc<[Id]>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Watches {
    clients: BTreeMap<ClientId, Watcher>,
}

impl Check for Watches {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Answered { client, session, xid, op, zxid, answer } => {
                let watcher = self.of(*client);
                if let Op::AddAuth { scheme, auth } = &**op {
                    // Others that were presented may not be accepted yet.
                    if let Some(id) = acl::identity(scheme, auth).filter(|_| answer.is_ok()) {
                        watcher.who = watcher.who.iter().cloned().chain([id]).collect();
                    }
                    return Ok(());
                }
                if matches!(**op, Op::SetWatches { .. }) {
                    // What it renews is not active before this answer, and told of before it.
                    return watcher.on_renewed(*zxid, answer, facts.model());
                }
                watcher.catch_up(*zxid, facts.model())?;
                if let Op::RemoveWatches { path, kind } = &**op {
                    let known = facts.asked(*session, *xid).is_some();
                    return if known { watcher.on_removed(path, *kind, answer) } else { Ok(()) };
                }
                if let Some((table, path)) = op.leaves_watch(answer) {
                    watcher.active.add(table, path);
                }
                Ok(())
            }
            Observed::Connected { client, .. } => {
                let watcher = self.of(*client);
                watcher.forget();
                watcher.who = facts.who(*client);
                watcher.who_before = watcher.who.clone();
                Ok(())
            }
            Observed::Event { client, zxid, kind, path } => {
                let watcher = self.of(*client);
                if *zxid == Zxid::UNKNOWN {
                    watcher.on_renewal_event(*kind, path)
                } else {
                    watcher.on_event(*zxid, *kind, path, facts.model())
                }
            }
            Observed::Invoked { client, op, .. } => {
                if let Op::SetWatches { .. } = &**op {
                    let renewal = Renewal::of(op, facts.who(*client));
                    self.of(*client).renewals.extend(renewal);
                }
                Ok(())
            }
            Observed::Disconnected { client } | Observed::SessionGone { client, .. } => {
                // The server forgets the watches of a connection with the connection.
                self.of(*client).forget();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Watches {
    fn of(&mut self, client: ClientId) -> &mut Watcher {
        self.clients.entry(client).or_insert_with(|| Watcher {
            client,
            active: Registrations::default(),
            seen: Zxid::ZERO,
            owed: Vec::new(),
            renewals: VecDeque::new(),
            who: Rc::default(),
            who_before: Rc::default(),
        })
    }
}

/// The table that a server has a watch in.
const fn in_server(table: WatchTable) -> WatchTable {
    match table {
        WatchTable::Exist => WatchTable::Data,
        WatchTable::Child | WatchTable::Data | WatchTable::Persistent | WatchTable::Recursive => table,
    }
}

impl Renewal {
    fn of(op: &Op, who: Rc<[Id]>) -> Option<Self> {
        let Op::SetWatches { relative, data, exist, child, persistent, recursive } = op else { return None };
        let lists = [
            (WatchTable::Data, data),
            (WatchTable::Exist, exist),
            (WatchTable::Child, child),
            (WatchTable::Persistent, persistent),
            (WatchTable::Recursive, recursive),
        ];
        let kept = lists.iter().flat_map(|(table, paths)| paths.iter().map(|path| (*table, path.clone())));
        Some(Self { relative: *relative, kept: kept.collect(), told: Vec::new(), who })
    }
}

impl Watcher {
    fn forget(&mut self) {
        self.active = Registrations::default();
        self.owed.clear();
        self.renewals.clear();
    }

    fn wrong<T>(&self, what: impl std::fmt::Display) -> Result<T, Violation> {
        Err(Violation::new(Checker::Watch, format!("{} {what}", self.client)))
    }

    /// The client sees the state at `zxid`: it must have been told of all changes up to there.
    fn catch_up(&mut self, zxid: Zxid, model: &Model) -> Result<(), Violation> {
        self.pass_to(zxid, zxid, model)?;
        self.settle(zxid)?;
        self.who_before = self.who.clone();
        Ok(())
    }

    /// Goes through all transactions up to `until`, and leaves what the last owes to be told. `shown` is what the client
    /// was shown.
    fn pass_to(&mut self, until: Zxid, shown: Zxid, model: &Model) -> Result<(), Violation> {
        if until <= self.seen {
            return Ok(());
        }
        if !self.active.is_empty() || !self.owed.is_empty() {
            for (at, change) in model.changes_within(self.seen, until) {
                if at != self.seen {
                    self.settle(shown)?;
                    self.seen = at;
                }
                self.owe(change);
            }
        }
        if self.seen < until {
            self.settle(shown)?;
            self.seen = until;
        }
        Ok(())
    }

    /// Nothing more will be told of the last transaction.
    fn settle(&mut self, shown: Zxid) -> Result<(), Violation> {
        if let Some(owed) = self.owed.iter().find(|owed| owed.must) {
            let (kind, path, seen) = (owed.kind, &owed.path, self.seen);
            return self.wrong(format_args!("sees {shown} and was not told of {kind:?} {path} at {seen}"));
        }
        self.owed.clear();
        Ok(())
    }

    /// A change fires watches.
    fn owe(&mut self, change: &Change) {
        let Change { kind, path, acl } = change;
        let event = kind.event_type();
        let mut fires = false;
        for table in [WatchTable::Data, WatchTable::Child] {
            fires |= table.hears_of(event) && self.active.remove(table, path);
        }
        let persistent = WatchTable::Persistent;
        fires |= persistent.hears_of(event) && self.active.has(persistent, path);
        fires |= *kind != EventKind::ChildrenChanged
            && self
                .active
                .of(WatchTable::Recursive)
                .any(|watched| WatchTable::Recursive.reaches(watched, path));
        if fires && acl::allows(acl, Perms::READ, &self.who) {
            let must = acl::allows(acl, Perms::READ, &self.who_before);
            self.owed.push(Owed { kind: *kind, path: path.clone(), must });
        }
    }

    fn on_event(&mut self, zxid: Zxid, kind: EventKind, path: &str, model: &Model) -> Result<(), Violation> {
        self.pass_to(zxid, zxid, model)?;
        let owed = self.owed.iter().position(|owed| owed.kind == kind && owed.path == path);
        match owed {
            Some(place) if self.seen == zxid => {
                let ends_session = || model.sessions().values().any(|it| it.closed == Some(zxid));
                if let Some(first) =
                    self.owed[..place].iter().find(|owed| owed.must).filter(|_| !ends_session())
                {
                    let (before, at) = (first.kind, &first.path);
                    return self.wrong(format_args!(
                        "is told of {kind:?} {path} at {zxid} and not of {before:?} {at}, which came first"
                    ));
                }
                self.owed.remove(place);
                Ok(())
            }
            _ => {
                let changes = model.changes(zxid);
                self.wrong(format_args!(
                    "is told of {kind:?} {path} at {zxid}, which is not owed to it; there are {changes:?}"
                ))
            }
        }
    }

    fn on_removed(&mut self, path: &str, kind: WatcherType, answer: &Answer) -> Result<(), Violation> {
        let mut found = false;
        for table in WatchTable::of_kind(kind) {
            found |=
                if answer.is_ok() { self.active.remove(*table, path) } else { self.active.has(*table, path) };
        }
        let expected = if found { None } else { Some(ErrorCode::NOWATCHER) };
        match answer {
            Ok(_) if found => Ok(()),
            Err(code) if Some(*code) == expected => Ok(()),
            // Whether that is so is checked with all other answers.
            Err(ErrorCode::SESSIONEXPIRED | ErrorCode::SESSIONMOVED) => Ok(()),
            _ => self
                .wrong(format_args!("removes {kind:?} watches of {path}: {answer:?}, should {expected:?}")),
        }
    }

    fn on_renewal_event(&mut self, kind: EventKind, path: &str) -> Result<(), Violation> {
        let fits = |(table, watched): &Renewed| {
            watched == path
                && match kind {
                    EventKind::Created => *table == WatchTable::Exist,
                    EventKind::DataChanged => *table == WatchTable::Data,
                    EventKind::Deleted => matches!(table, WatchTable::Data | WatchTable::Child),
                    EventKind::ChildrenChanged => *table == WatchTable::Child,
                }
        };
        // Each list is answered by itself: a znode that was in two of them and was deleted is told of twice.
        let Some(renewal) = self.renewals.front_mut() else {
            return self.wrong(format_args!("is told of {kind:?} {path} on renewal of nothing"));
        };
        let Some(told) = renewal.kept.iter().find(|entry| fits(entry)).cloned() else {
            return self
                .wrong(format_args!("is told of {kind:?} {path} on renewal, which it did not ask about"));
        };
        renewal.kept.remove(&told);
        renewal.told.push(told);
        Ok(())
    }

    /// The setWatches was answered in the state at `zxid`, which decides what should have been told.
    fn on_renewed(&mut self, zxid: Zxid, answer: &Answer, model: &Model) -> Result<(), Violation> {
        let Some(renewal) = self.renewals.pop_front() else { return Ok(()) };
        if answer.is_err() {
            // Refused, as when the session expires meanwhile: nothing is renewed, and nothing owed.
            return Ok(());
        }
        // What was renewed before this one is active.
        self.catch_up(zxid, model)?;
        let missed = |(table, path): &Renewed| {
            let node = model.node_at(path, zxid);
            match table {
                WatchTable::Data => node.is_none_or(|node| node.mzxid > renewal.relative),
                WatchTable::Exist => node.is_some(),
                WatchTable::Child => node.is_none_or(|node| node.pzxid > renewal.relative),
                WatchTable::Persistent | WatchTable::Recursive => false,
            }
        };
        let is_readable = |(_, path): &Renewed| {
            model.node_at(path, zxid).is_none_or(|node| acl::allows(&node.acl, Perms::READ, &renewal.who))
        };
        let wrong = |watcher: &Self, entry: &Renewed, what| {
            let relative = renewal.relative;
            watcher.wrong(format_args!("renews {entry:?} since {relative} at {zxid}, {what}"))
        };
        for entry in &renewal.kept {
            if missed(entry) && is_readable(entry) {
                return wrong(self, entry, "and is not told that it changed");
            }
            if !missed(entry) {
                self.active.add(entry.0, &entry.1);
            }
        }
        for entry in &renewal.told {
            if !missed(entry) || !is_readable(entry) {
                return wrong(self, entry, "and is told of a change that was none");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT, Story, create, get, set};
    use super::*;

    /// A client that watches the data of `/a` since zxid 2.
    fn watching() -> Story {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.read(2, &get("/a", true));
        story
    }

    #[test]
    fn told_once_and_before_the_data() {
        let mut story = watching();
        story.invoke(3, &set("/a"));
        story.log(3, 3, set("/a").code(), None);
        story.apply(3);
        story.event(3, EventKind::DataChanged, "/a");
        story.read(4, &get("/a", false));
        story.expect_fine();
        story.event(3, EventKind::DataChanged, "/a");
        story.expect_violation(Checker::Watch, "not owed to it");
    }

    #[test]
    fn w3_told_of_one_transaction_in_its_order() {
        for (first, second, right) in [("/a", "/a/b", true), ("/a/b", "/a", false)] {
            let mut story = watching();
            story.write(3, &create("/a/b"), 3);
            story.read(4, &get("/a/b", true));
            let multi = Op::Multi(vec![set("/a"), set("/a/b")]);
            story.invoke(5, &multi);
            story.log(4, 5, multi.code(), None);
            story.apply(4);
            story.event(4, EventKind::DataChanged, first);
            story.event(4, EventKind::DataChanged, second);
            match right {
                true => story.expect_fine(),
                false => {
                    story.expect_violation(Checker::Watch, "and not of DataChanged /a, which came first");
                }
            }
        }
    }

    #[test]
    fn told_after_the_data() {
        let mut story = watching();
        story.write(3, &set("/a"), 3);
        story.expect_violation(Checker::Watch, "was not told of DataChanged /a at 0x3");
    }

    #[test]
    fn told_of_a_change_that_did_not_happen() {
        let mut story = watching();
        story.invoke(3, &create("/b"));
        story.log(3, 3, create("/b").code(), None);
        story.apply(3);
        story.event(3, EventKind::DataChanged, "/a");
        story.expect_violation(Checker::Watch, "not owed to it");
    }

    #[test]
    fn a_watch_on_children_is_not_fired_by_data() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.read(2, &Op::GetChildren { path: "/a".into(), watch: true });
        story.write(3, &set("/a"), 3);
        story.expect_fine();
        story.write(4, &create("/a/b"), 4);
        story.expect_violation(Checker::Watch, "ChildrenChanged /a at 0x4");
    }

    fn renewing(relative: i64) -> Story {
        let mut story = watching();
        story.tell(Observed::Disconnected { client: CLIENT });
        story.write(3, &set("/a"), 3);
        story.connect(CLIENT, Zxid(relative));
        let renewal = Op::SetWatches {
            relative: Zxid(relative),
            data: vec!["/a".into()],
            exist: Vec::new(),
            child: Vec::new(),
            persistent: Vec::new(),
            recursive: Vec::new(),
        };
        story.invoke(-8, &renewal);
        story
    }

    fn renewed(story: &mut Story) {
        let renewal = Op::SetWatches {
            relative: Zxid(0),
            data: vec![],
            exist: vec![],
            child: vec![],
            persistent: vec![],
            recursive: vec![],
        };
        story.answer(-8, &renewal, 3, Ok(crate::op::Outcome::Done));
    }

    #[test]
    fn renewed_and_told() {
        let mut story = renewing(2);
        story.event(-1, EventKind::DataChanged, "/a");
        renewed(&mut story);
        story.expect_fine();
    }

    #[test]
    fn renewed_and_not_told() {
        let mut story = renewing(2);
        renewed(&mut story);
        story.expect_violation(Checker::Watch, "not told that it changed");
    }

    #[test]
    fn renewed_and_told_of_nothing() {
        let mut story = renewing(3);
        story.event(-1, EventKind::DataChanged, "/a");
        renewed(&mut story);
        story.expect_violation(Checker::Watch, "a change that was none");
    }

    fn watch_all(recursive: bool) -> Op {
        Op::AddWatch { path: "/a".into(), recursive }
    }

    /// A client that watches `/a` until told otherwise, since zxid 2; a child is created at 3.
    fn watching_all(recursive: bool) -> Story {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.read(2, &watch_all(recursive));
        story.invoke(3, &create("/a/b"));
        story.log(3, 3, create("/a/b").code(), None);
        story.apply(3);
        story
    }

    #[test]
    fn w6_a_persistent_watch_tells_of_children_and_goes_on() {
        let mut story = watching_all(false);
        story.event(3, EventKind::ChildrenChanged, "/a");
        story.read(4, &get("/", false));
        story.expect_fine();
        story.write(5, &set("/a"), 4);
        story.expect_violation(Checker::Watch, "was not told of DataChanged /a at 0x4");
    }

    #[test]
    fn w6_a_recursive_watch_tells_of_each_child_and_never_of_their_list() {
        let mut story = watching_all(true);
        story.event(3, EventKind::Created, "/a/b");
        story.read(4, &get("/", false));
        story.expect_fine();
        let mut story = watching_all(true);
        story.event(3, EventKind::ChildrenChanged, "/a");
        story.expect_violation(Checker::Watch, "not owed to it");
    }

    #[test]
    fn w7_a_removed_watch_is_silent_and_one_that_is_not_there_is_not_removed() {
        let remove = |kind| Op::RemoveWatches { path: "/a".into(), kind };
        let mut story = watching_all(false);
        story.event(3, EventKind::ChildrenChanged, "/a");
        story.invoke(4, &remove(WatcherType::Data));
        story.answer(4, &remove(WatcherType::Data), 3, Err(ErrorCode::NOWATCHER));
        story.invoke(5, &remove(WatcherType::Any));
        story.answer(5, &remove(WatcherType::Any), 3, Ok(crate::op::Outcome::Done));
        story.write(6, &set("/a"), 4);
        story.expect_fine();
        story.invoke(7, &remove(WatcherType::Any));
        story.answer(7, &remove(WatcherType::Any), 4, Ok(crate::op::Outcome::Done));
        story.expect_violation(Checker::Watch, "should Some");
    }

    /// A client that nobody knows watches a znode that only `ann` may read from zxid 3 on.
    #[test]
    fn who_may_not_read_is_not_told() {
        let mut story = watching();
        let entry = zabra_core::types::Acl {
            perms: Perms::READ | Perms::WRITE,
            id: Id::new("digest", acl::USERS[0].1),
        };
        let hide = Op::SetAcl { path: "/a".into(), acl: vec![entry].into(), version: -1 };
        story.write(3, &hide, 3);
        story.expect_fine();
        let auth = Op::AddAuth { scheme: "digest", auth: acl::USERS[0].0 };
        story.invoke(-4, &auth);
        story.write(4, &set("/a"), 4);
        // The watch is used up: it was not said yet that the server had taken the identity.
        story.expect_fine();
        story.answer(-4, &auth, 0, Ok(crate::op::Outcome::Done));
        story.read(5, &get("/a", true));
        story.invoke(6, &set("/a"));
        story.log(5, 6, set("/a").code(), None);
        story.apply(5);
        story.read(7, &get("/a", false));
        story.expect_violation(Checker::Watch, "was not told of DataChanged /a at 0x5");
    }
}
