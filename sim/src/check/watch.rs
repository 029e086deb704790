//! Watches: a registered watch fires for the first change that matches it, once, and before its client sees any
//! state that holds the change.
//!
//! The client's own view is enough to check it. From the answer that registers a watch on, the next matching change
//! in the reference is what must be told; when an answer arrives whose zxid lies at or behind such a change and the
//! event did not arrive before, it is late or lost. An event without a registration, or without a change at its
//! zxid, is invented.
//!
//! After a reconnect the client registers again with the last zxid it saw. The server then either tells at once,
//! with zxid -1, that the watch would have fired meanwhile, or keeps it. Which of the two is decided by the state in
//! which the answer was given. A znode that was created and deleted meanwhile is the one thing that a client may
//! miss, as in ZooKeeper.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zabra_core::types::Zxid;

use super::{Check, Facts, Violation};
use crate::history::{Observed, Record};
use crate::link::ClientId;
use crate::model::{Change, Model};
use crate::op::{EventKind, Op};

const CHECK: &str = "watch";

/// Which of the server's two tables a watch is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    /// Data and existence.
    Data,
    /// Children.
    Child,
}

type Registration = (Table, String);

/// The lists of a setWatches under way.
#[derive(Clone, Debug)]
struct Renewal {
    relative: Zxid,
    /// What was not told yet, by list; `true` for the list of znodes that did not exist.
    kept: BTreeSet<(Table, bool, String)>,
    /// What was told.
    told: Vec<(Table, bool, String)>,
}

/// What one client watches.
#[derive(Clone, Debug, Default)]
struct Watcher {
    /// Registered, and since which zxid.
    active: BTreeMap<Registration, Zxid>,
    /// All changes up to here were compared with the registrations.
    seen: Zxid,
    /// In the order in which they are answered.
    renewals: VecDeque<Renewal>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Watches {
    clients: BTreeMap<ClientId, Watcher>,
}

impl Check for Watches {
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        let model = facts.model();
        match &record.what {
            Observed::Answered { client, op, zxid, answer, .. } => {
                let watcher = self.clients.entry(*client).or_default();
                if matches!(**op, Op::SetWatches { .. }) && answer.is_err() {
                    // Refused, as when the session expires meanwhile: nothing is renewed, and nothing owed.
                    watcher.renewals.pop_front();
                    return Ok(());
                }
                if matches!(**op, Op::SetWatches { .. }) {
                    // What it renews is not active before this answer, and told of before it.
                    return watcher.on_renewed(*client, *zxid, model);
                }
                watcher.catch_up(*client, *zxid, model)?;
                if answer.is_ok() || *answer == Err(zabra_core::types::ErrorCode::NONODE) {
                    watcher.register(op, *zxid, answer.is_ok());
                }
                Ok(())
            }
            Observed::Event { client, zxid, kind, path } => {
                let watcher = self.clients.entry(*client).or_default();
                if *zxid == Zxid::UNKNOWN {
                    watcher.on_renewal_event(*client, *kind, path)
                } else {
                    watcher.on_event(*client, *zxid, *kind, path, model)
                }
            }
            Observed::Invoked { client, op, .. } => {
                if let Op::SetWatches { relative, data, exist, child } = &**op {
                    let list = |table, absent, paths: &[String]| {
                        paths.iter().map(|path| (table, absent, path.clone())).collect::<Vec<_>>()
                    };
                    let kept = [
                        list(Table::Data, false, data),
                        list(Table::Data, true, exist),
                        list(Table::Child, false, child),
                    ]
                    .concat()
                    .into_iter()
                    .collect();
                    let renewal = Renewal { relative: *relative, kept, told: Vec::new() };
                    self.clients.entry(*client).or_default().renewals.push_back(renewal);
                }
                Ok(())
            }
            Observed::Disconnected { client } | Observed::SessionGone { client, .. } => {
                // The server forgets the watches of a connection with the connection.
                let watcher = self.clients.entry(*client).or_default();
                watcher.active.clear();
                watcher.renewals.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Watcher {
    fn register(&mut self, op: &Op, zxid: Zxid, found: bool) {
        let registration = match op {
            Op::Exists { path, watch: true } => (Table::Data, path.clone()),
            Op::GetData { path, watch: true } if found => (Table::Data, path.clone()),
            Op::GetChildren { path, watch: true } if found => (Table::Child, path.clone()),
            _ => return,
        };
        self.active.entry(registration).or_insert(zxid);
    }

    /// The client sees the state at `zxid`: it must have been told of all changes up to there.
    fn catch_up(&mut self, client: ClientId, zxid: Zxid, model: &Model) -> Result<(), Violation> {
        if zxid <= self.seen {
            return Ok(());
        }
        if !self.active.is_empty() {
            for (at, change) in model.changes_within(self.seen, zxid) {
                if let Some((table, path)) = self.matching(at, change) {
                    return Err(Violation::new(
                        CHECK,
                        format!(
                            "c{} sees {zxid} and was not told of {:?} {path} at {at} ({table:?} watch since {})",
                            client.0,
                            change.kind,
                            self.active[&(table, path.clone())],
                        ),
                    ));
                }
            }
        }
        self.seen = zxid;
        Ok(())
    }

    /// The registration that a change must fire.
    fn matching(&self, at: Zxid, change: &Change) -> Option<Registration> {
        tables(change.kind)
            .iter()
            .map(|&table| (table, change.path.clone()))
            .find(|registration| self.active.get(registration).is_some_and(|&since| since < at))
    }

    fn on_event(
        &mut self,
        client: ClientId,
        zxid: Zxid,
        kind: EventKind,
        path: &str,
        model: &Model,
    ) -> Result<(), Violation> {
        let wrong = |what: String| {
            Err(Violation::new(CHECK, format!("c{} is told of {kind:?} {path} at {zxid}: {what}", client.0)))
        };
        self.catch_up(client, Zxid(zxid.0 - 1), model)?;
        let change = Change { kind, path: path.to_owned() };
        if self.matching(zxid, &change).is_none() {
            return wrong("it does not watch that".into());
        }
        if !model.changes(zxid).contains(&change) {
            return wrong(format!("no such change; there are {:?}", model.changes(zxid)));
        }
        for &table in tables(kind) {
            self.active.remove(&(table, path.to_owned()));
        }
        Ok(())
    }

    fn on_renewal_event(&mut self, client: ClientId, kind: EventKind, path: &str) -> Result<(), Violation> {
        let fits = |(table, absent, watched): &(Table, bool, String)| {
            watched == path
                && match kind {
                    EventKind::Created => *absent,
                    EventKind::DataChanged => *table == Table::Data && !*absent,
                    EventKind::Deleted => !*absent,
                    EventKind::ChildrenChanged => *table == Table::Child,
                }
        };
        // Each list is answered by itself: a znode that was in two of them and was deleted is told of twice.
        let Some(renewal) = self.renewals.front_mut() else {
            return Err(Violation::new(
                CHECK,
                format!("c{} is told of {kind:?} {path} on renewal of nothing", client.0),
            ));
        };
        let Some(told) = renewal.kept.iter().find(|entry| fits(entry)).cloned() else {
            return Err(Violation::new(
                CHECK,
                format!("c{} is told of {kind:?} {path} on renewal, which it did not ask about", client.0),
            ));
        };
        renewal.kept.remove(&told);
        renewal.told.push(told);
        Ok(())
    }

    /// The setWatches was answered in the state at `zxid`, which decides what should have been told.
    fn on_renewed(&mut self, client: ClientId, zxid: Zxid, model: &Model) -> Result<(), Violation> {
        let Some(renewal) = self.renewals.pop_front() else { return Ok(()) };
        let should_tell = |(table, absent, path): &(Table, bool, String)| {
            let node = model.node_at(path, zxid);
            match (table, absent) {
                (Table::Data, true) => node.is_some(),
                (Table::Data, false) => node.is_none_or(|node| node.mzxid > renewal.relative),
                (Table::Child, _) => node.is_none_or(|node| node.pzxid > renewal.relative),
            }
        };
        let wrong = |entry: &(Table, bool, String), what| {
            let relative = renewal.relative;
            Err(Violation::new(
                CHECK,
                format!("c{} renews {entry:?} since {relative} at {zxid}, {what}", client.0),
            ))
        };
        self.seen = self.seen.max(zxid);
        for entry in &renewal.kept {
            if should_tell(entry) {
                return wrong(entry, "and is not told that it changed");
            }
            self.active.insert((entry.0, entry.2.clone()), zxid);
        }
        for entry in &renewal.told {
            if !should_tell(entry) {
                return wrong(entry, "and is told of a change that was none");
            }
        }
        Ok(())
    }
}

const fn tables(kind: EventKind) -> &'static [Table] {
    match kind {
        EventKind::Created | EventKind::DataChanged => &[Table::Data],
        EventKind::Deleted => &[Table::Data, Table::Child],
        EventKind::ChildrenChanged => &[Table::Child],
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
        story.expect_violation(CHECK, "does not watch that");
    }

    #[test]
    fn told_after_the_data() {
        let mut story = watching();
        story.write(3, &set("/a"), 3);
        story.expect_violation(CHECK, "was not told of DataChanged /a at 0x3");
    }

    #[test]
    fn told_of_a_change_that_did_not_happen() {
        let mut story = watching();
        story.invoke(3, &create("/b"));
        story.log(3, 3, create("/b").code(), None);
        story.apply(3);
        story.event(3, EventKind::DataChanged, "/a");
        story.expect_violation(CHECK, "no such change");
    }

    #[test]
    fn a_watch_on_children_is_not_fired_by_data() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.read(2, &Op::GetChildren { path: "/a".into(), watch: true });
        story.write(3, &set("/a"), 3);
        story.expect_fine();
        story.write(4, &create("/a/b"), 4);
        story.expect_violation(CHECK, "ChildrenChanged /a at 0x4");
    }

    fn renewing(relative: i64) -> Story {
        let mut story = watching();
        story.tell(Observed::Disconnected { client: CLIENT });
        story.write(3, &set("/a"), 3);
        let renewal = Op::SetWatches {
            relative: Zxid(relative),
            data: vec!["/a".into()],
            exist: Vec::new(),
            child: Vec::new(),
        };
        story.invoke(-8, &renewal);
        story
    }

    fn renewed(story: &mut Story) {
        let renewal = Op::SetWatches { relative: Zxid(0), data: vec![], exist: vec![], child: vec![] };
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
        story.expect_violation(CHECK, "not told that it changed");
    }

    #[test]
    fn renewed_and_told_of_nothing() {
        let mut story = renewing(3);
        story.event(-1, EventKind::DataChanged, "/a");
        renewed(&mut story);
        story.expect_violation(CHECK, "a change that was none");
    }
}
