//! Clients see one order. Writes are linearizable: each is answered as the reference answers at its place (C6, C7, C10, T3,
//! T5), and its place comes after everything that anybody had been told of when it was asked for (C1). Reads are answered
//! from the state that their zxid names (C5, T2), and within a session that state never goes back (C3), nor behind what
//! the session had asked for on an earlier connection, where a server that stands alone takes it up again. (That answers come
//! in the order of the requests is checked where they are received, by the client.) Who is told that its session has expired
//! has lost it (S10).
//!
//! A server that stands alone answers reads from the latest state. A member of an ensemble may be behind; after a
//! sync, though, a session sees at least what anybody had been told of when the sync was asked for (C8b), whichever
//! server it is connected to, a leader that is none any more included.

use std::collections::BTreeMap;

use zabra_core::types::{ErrorCode, SessionId, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::model::Asker;
use crate::op::{Answer, Op};
use crate::places::ClientId;

/// See the module.
#[derive(Debug, Default)]
pub struct Order {
    /// The latest state that each client has seen in its session. Who connects says what it has seen, and this is what
    /// it may rely on from then on (C4).
    seen: BTreeMap<ClientId, Zxid>,
    /// The state that each client must see at least since its last sync.
    synced: BTreeMap<ClientId, Zxid>,
    /// Where a server stands alone: the last transaction of each session in its log, and what of that was there when the
    /// session came back to it.
    own: BTreeMap<SessionId, Zxid>,
    found_own: BTreeMap<SessionId, Zxid>,
}

impl Check for Order {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        if !facts.is_ensemble() {
            self.follow_own(record);
        }
        if let Observed::Connected { client, session, claimed, resumed, .. } = &record.what {
            let own = self.found_own.get(session).copied().filter(|_| *resumed).unwrap_or_default();
            self.seen.insert(*client, own.max(*claimed));
            let synced = self.synced.entry(*client).or_default();
            *synced = (*synced).min(*claimed);
            if *claimed > facts.committed() {
                let last = facts.committed();
                let what = format!("{client} says it has seen {claimed}, committed is {last}, and is let in");
                return Err(Violation::new(Checker::Order, what));
            }
        }
        let Observed::Answered { client, session, xid, op, zxid, answer } = &record.what else {
            return Ok(());
        };
        // What is answered about identities and watches says nothing of the tree.
        if matches!(**op, Op::AddAuth { .. }) {
            return Ok(());
        }
        let seen = self.seen.entry(*client).or_default();
        if zxid < seen {
            return Err(Violation::new(Checker::Order, format!("{session} #{xid} sees {zxid} after {seen}")));
        }
        *seen = *zxid;
        if *zxid > facts.committed() {
            let last = facts.committed();
            return Err(Violation::new(
                Checker::Order,
                format!("{session} #{xid} sees {zxid}, committed is {last}"),
            ));
        }
        if *answer == Err(ErrorCode::SESSIONEXPIRED) {
            return expired(facts, *session, *xid);
        }
        // The one who lost it to another; the transaction that says so may stand in the log or not.
        if *answer == Err(ErrorCode::SESSIONMOVED) && facts.is_shared(*session) {
            return Ok(());
        }
        let synced = self.synced.entry(*client).or_default();
        if matches!(**op, Op::Sync { .. }) && answer.is_ok() {
            let floor = facts.asked(*session, *xid).map_or(Zxid::ZERO, |asked| asked.floor);
            *synced = floor.max(*synced);
        }
        if zxid < synced {
            return Err(Violation::new(
                Checker::Order,
                format!(
                    "{session} #{xid} sees {zxid}, and {synced} was answered before its last sync was asked for"
                ),
            ));
        }
        if op.is_write() {
            write(facts, *session, *xid, *zxid, answer)
        } else {
            read(facts, *session, *xid, op, *zxid, answer)
        }
    }
}

impl Order {
    /// Whatever a session asked for on an earlier connection, and the server has taken, it finds done when it comes back.
    fn follow_own(&mut self, record: &Record) {
        match &record.what {
            Observed::Attached { session, .. } => {
                self.found_own.insert(*session, self.own.get(session).copied().unwrap_or_default());
            }
            Observed::Found { last, .. } => {
                for own in self.own.values_mut().chain(self.found_own.values_mut()) {
                    *own = (*own).min(*last);
                }
            }
            Observed::Logged { record, .. } => drop(self.own.insert(record.session, record.zxid)),
            _ => {}
        }
    }
}

fn expired(facts: &Facts, session: SessionId, xid: i32) -> Result<(), Violation> {
    if facts.is_ended(session) {
        return Ok(());
    }
    Err(Violation::new(
        Checker::Order,
        format!("#{xid} is told that {session} has expired, which it has not"),
    ))
}

fn write(facts: &Facts, session: SessionId, xid: i32, zxid: Zxid, answer: &Answer) -> Result<(), Violation> {
    let Some(executed) = facts.executed(session, xid) else {
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} is answered and was never executed"),
        ));
    };
    if executed.zxid != zxid {
        let place = executed.zxid;
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} has its place at {place}, not {zxid}"),
        ));
    }
    if executed.answer != *answer {
        let expected = &executed.answer;
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} at {zxid} brings {answer:?}, should bring {expected:?}"),
        ));
    }
    let floor = facts.asked(session, xid).map_or(Zxid::ZERO, |asked| asked.floor);
    if zxid <= floor {
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} takes place at {zxid}, and was asked for after {floor} was answered"),
        ));
    }
    Ok(())
}

fn read(
    facts: &Facts,
    session: SessionId,
    xid: i32,
    op: &Op,
    zxid: Zxid,
    answer: &Answer,
) -> Result<(), Violation> {
    // The one about whom this is decides: see the check of watches.
    if matches!(op, Op::RemoveWatches { .. }) {
        return Ok(());
    }
    let who = facts.asked(session, xid).map(|asked| asked.who.clone()).unwrap_or_default();
    let expected = facts.model().read(op, zxid, Asker { session, who: &who });
    if expected != *answer {
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} {op} at {zxid} brings {answer:?}, should bring {expected:?}"),
        ));
    }
    // In an ensemble a server may be behind the others; who minds asks for a sync.
    if facts.is_ensemble() {
        return Ok(());
    }
    let floor = facts.asked(session, xid).map_or(Zxid::ZERO, |asked| asked.floor);
    if zxid < floor {
        return Err(Violation::new(
            Checker::Order,
            format!("{session} #{xid} sees {zxid}, and was asked for after {floor} was answered"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, create, get, set};
    use super::*;
    use crate::op::Outcome;

    #[test]
    fn a_write_answered_wrongly() {
        let mut story = Story::begin();
        story.invoke(1, &create("/a"));
        story.log(2, 1, create("/a").code(), None);
        story.apply(2);
        story.answer(1, &create("/a"), 2, Ok(Outcome::Created("/b".into(), None)));
        story.expect_violation(Checker::Order, "should bring Ok(Created(\"/a\"");
    }

    #[test]
    fn a_write_acknowledged_and_never_executed() {
        let mut story = Story::begin();
        story.invoke(1, &create("/a"));
        story.answer(1, &create("/a"), 1, Ok(Outcome::Created("/a".into(), None)));
        story.expect_violation(Checker::Order, "never executed");
    }

    #[test]
    fn a_read_of_another_state_than_it_says() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.write(2, &set("/a"), 3);
        let stale = story.look(&get("/a", false), 2);
        story.invoke(3, &get("/a", false));
        story.answer(3, &get("/a", false), 3, stale);
        story.expect_violation(Checker::Order, "should bring");
    }

    #[test]
    fn a_read_that_goes_back() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.write(2, &set("/a"), 3);
        let stale = story.look(&get("/a", false), 2);
        story.invoke(3, &get("/a", false));
        story.answer(3, &get("/a", false), 2, stale);
        story.expect_violation(Checker::Order, "sees 0x2 after 0x3");
    }

    #[test]
    fn c4_a_server_behind_what_the_client_has_seen() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        let stale = story.look(&get("/a", false), 1);
        story.connect(super::super::testing::CLIENT, Zxid(2));
        story.invoke(2, &get("/a", false));
        story.answer(2, &get("/a", false), 1, stale);
        story.expect_violation(Checker::Order, "sees 0x1 after 0x2");
    }

    #[test]
    fn c3_a_session_that_comes_back_finds_done_what_it_asked_for() {
        for (sees, fine) in [(2, false), (3, true)] {
            let mut story = Story::begin();
            story.write(1, &create("/a"), 2);
            story.invoke(2, &set("/a"));
            story.log(3, 2, set("/a").code(), None);
            let (node, session) = (super::super::testing::NODE, super::super::testing::S);
            story.tell(Observed::Attached { node, session, timeout_ms: 4000, mono: 0 });
            let early = story.look(&get("/a", false), 2);
            story.apply(3);
            story.connect(super::super::testing::CLIENT, Zxid(2));
            story.invoke(3, &get("/a", false));
            let answer = if fine { story.look(&get("/a", false), 3) } else { early };
            story.answer(3, &get("/a", false), sees, answer);
            match fine {
                true => story.expect_fine(),
                false => story.expect_violation(Checker::Order, "sees 0x2 after 0x3"),
            }
        }
    }

    #[test]
    fn a_write_placed_before_what_was_answered_when_it_was_asked_for() {
        let mut story = Story::begin();
        story.invoke(1, &create("/a"));
        story.log(2, 1, create("/a").code(), None);
        story.apply(2);
        // Another client is told of 3 before this request is made, which then takes place at 2.
        let mut facts = Facts::default();
        for what in [
            Observed::Answered {
                client: super::super::testing::CLIENT,
                session: SessionId(5),
                xid: 1,
                op: std::rc::Rc::new(Op::Ping),
                zxid: Zxid(3),
                answer: Ok(Outcome::Done),
            },
            Observed::Invoked {
                client: super::super::testing::CLIENT,
                session: SessionId(6),
                xid: 1,
                op: std::rc::Rc::new(create("/a")),
            },
        ] {
            facts.take(&Record { at: Default::default(), what }).unwrap();
        }
        assert_eq!(facts.asked(SessionId(6), 1).unwrap().floor, Zxid(3));
        let violation = read(&facts, SessionId(6), 1, &Op::Ping, Zxid(2), &Ok(Outcome::Done)).unwrap_err();
        assert!(violation.what.contains("asked for after 0x3"), "{violation}");
        story.expect_fine();
    }

    #[test]
    fn a_session_told_expired_that_is_not() {
        let mut story = Story::begin();
        story.invoke(1, &get("/", false));
        story.answer(1, &get("/", false), 1, Err(ErrorCode::SESSIONEXPIRED));
        story.expect_violation(Checker::Order, "which it has not");
    }
}
