//! What learners report of sessions (S9). The leader knows of most sessions only what their servers say when it pings them,
//! so a session lives as long as promised if these say all that they have heard, nothing else, and with the timeout that
//! the session has: the one that was agreed upon last, and not the one that it began with.
//!
//! Nor do they give a session to anybody that comes with it, before they are told that it lives (S7): only the leader knows
//! where it is.
//!
//! A session whose end it has applied is none any more, and nobody reports it.
//!
//! What comes in the turn of a report may have come before it or behind it. Observers report to a follower, which passes
//! that on; it need not look at once at what they say.

use std::collections::{BTreeMap, BTreeSet};

use zabra_core::server::Role;
use zabra_core::types::{Message, SessionId, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record, Touch};
use crate::places::NodeId;

/// How many reports a follower may make before it has looked at what its observers say.
const REPORTS_MAX: u32 = 5;

/// The timeout of a session at a learner.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    timeout_ms: i32,
    /// What it was before, and in which turn it changed.
    before: Option<i32>,
    at: SimTime,
}

/// What is known of a server while it follows or observes.
#[derive(Debug, Default)]
struct Learning {
    /// Sessions that it has heard of since it reported last: whether it must report them.
    heard: BTreeMap<SessionId, bool>,
    /// The turn of that report, or in which it began to learn.
    reported_at: SimTime,
    /// What it reported then and was not seen to have heard of: it may have been in that turn.
    unheard: BTreeSet<SessionId>,
    /// What it reported then with another timeout than was agreed upon, in words: an observer of its may have asked for the
    /// session in that turn.
    odd: BTreeMap<SessionId, String>,
    timeouts: BTreeMap<SessionId, Agreed>,
    /// How often it was told that it may have a session, and has not given it to a client since.
    granted: BTreeMap<SessionId, u32>,
    /// Sessions that its observers have ever reported to it or asked for; and how many reports it has made since the
    /// first of theirs that it has not passed on.
    of_observers: BTreeMap<SessionId, Option<u32>>,
    /// The last transaction that it has applied, and before the turn that is going on.
    applied: Zxid,
    applied_before: Zxid,
    applied_at: SimTime,
}

impl Learning {
    fn agree(&mut self, session: SessionId, timeout_ms: i32, now: SimTime) {
        let before = self.timeouts.get(&session).map(|agreed| agreed.timeout_ms);
        self.timeouts.insert(session, Agreed { timeout_ms, before, at: now });
    }

    fn on_applied(&mut self, zxid: Zxid, now: SimTime) {
        if self.applied_at != now {
            (self.applied_before, self.applied_at) = (self.applied, now);
        }
        self.applied = zxid;
    }

    fn on_touched(&mut self, session: SessionId, how: Touch, surely: bool, now: SimTime) {
        // What was reported in this turn may have been heard of before.
        if now == self.reported_at {
            self.unheard.remove(&session);
            if let Touch::Asked { .. } = how {
                self.odd.remove(&session);
            }
        }
        match how {
            Touch::Spoke => {
                *self.heard.entry(session).or_default() |= surely && now != self.reported_at;
            }
            Touch::Reported { .. } => {
                let waits = self.of_observers.entry(session).or_default();
                // In the turn of a report it may be in that already.
                if surely && now != self.reported_at {
                    waits.get_or_insert(0);
                }
            }
            Touch::Opened { timeout_ms } => {
                if self.timeouts.get(&session).is_none_or(|agreed| agreed.timeout_ms != timeout_ms) {
                    self.agree(session, timeout_ms, now);
                }
            }
            // With another timeout, maybe.
            Touch::Asked { .. } => {
                self.of_observers.entry(session).or_default();
            }
            Touch::Granted { .. } => {}
        }
    }

    /// What is wrong with a report, if anything is.
    fn on_report(&mut self, reported: &[(SessionId, i32)], now: SimTime, facts: &Facts) -> Option<String> {
        let names: BTreeSet<SessionId> = reported.iter().map(|&(session, _)| session).collect();
        let is_open = |session: &SessionId| {
            let known = facts.model().sessions().get(session);
            known.is_some_and(|known| known.closed.is_none()) && !facts.is_ended(*session)
        };
        let mut must = self.heard.iter().filter(|&(session, must)| *must && !names.contains(session));
        if let Some((session, _)) = must.find(|(session, _)| is_open(session)) {
            return Some(format!("does not report {session}, which it has heard of"));
        }
        // In the turn in which it learns of an end, what it says may have come first.
        let applied = if self.applied_at == now { self.applied_before } else { self.applied };
        let end = |session| facts.model().sessions().get(&session).and_then(|known| known.closed);
        for &(session, timeout_ms) in reported {
            if let Some(end) = end(session).filter(|&end| end <= applied) {
                return Some(format!("reports {session}, whose end it has applied at {end}"));
            }
            if self.of_observers.contains_key(&session) {
                continue;
            }
            if let Some(agreed) = self.timeouts.get(&session) {
                let was_before = agreed.at == now && agreed.before == Some(timeout_ms);
                if agreed.timeout_ms != timeout_ms && !was_before {
                    let agreed = agreed.timeout_ms;
                    let words = format!("reports {session} with {timeout_ms} ms, agreed were {agreed}");
                    self.odd.insert(session, words);
                }
            }
            if !self.heard.contains_key(&session) {
                self.unheard.insert(session);
            }
        }
        for (session, waits) in &mut self.of_observers {
            if names.contains(session) {
                *waits = None;
            }
            let Some(reports) = waits else { continue };
            *reports += 1;
            if *reports > REPORTS_MAX && is_open(session) {
                return Some(format!("does not report {session}, which its observers have heard of"));
            }
        }
        self.heard.clear();
        self.reported_at = now;
        None
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Reports {
    learners: BTreeMap<NodeId, Learning>,
}

impl Check for Reports {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        let now = record.at;
        let wrong =
            |node: NodeId, words: &str| Err(Violation::new(Checker::Report, format!("{node} {words}")));
        match &record.what {
            Observed::RoleTaken { node, standing, .. }
                if matches!(standing.role, Role::Following | Role::Observing) =>
            {
                self.learners.insert(*node, Learning { reported_at: now, ..Learning::default() });
            }
            Observed::RoleTaken { node, .. }
            | Observed::RoleLost { node, .. }
            | Observed::Crashed { node, .. }
            | Observed::Stopped { node, .. } => {
                self.learners.remove(node);
            }
            Observed::Attached { node, session, timeout_ms, .. } => {
                if let Some(learning) = self.learners.get_mut(node) {
                    learning.agree(*session, *timeout_ms, now);
                    match learning.granted.get_mut(session) {
                        Some(times @ 1..) => *times -= 1,
                        _ => {
                            return wrong(
                                *node,
                                &format!("gives {session} to a client, and was not told to"),
                            );
                        }
                    }
                }
            }
            Observed::Applied { node, zxid, .. } => {
                if let Some(learning) = self.learners.get_mut(node) {
                    learning.on_applied(*zxid, now);
                }
            }
            Observed::Touched { node, session, how, surely, .. } => {
                if let Some(learning) = self.learners.get_mut(node) {
                    learning.on_touched(*session, *how, *surely, now);
                }
            }
            Observed::Said { node, to, message, .. } => {
                if let Message::Revalidated { session, valid: true } = **message
                    && let Some(learning) = self.learners.get_mut(to)
                {
                    *learning.granted.entry(session).or_default() += 1;
                }
                let (Some(learning), Message::Ping { touched: Some(reported), .. }) =
                    (self.learners.get_mut(node), &**message)
                else {
                    return Ok(());
                };
                // In one turn it may be pinged twice.
                if learning.reported_at != now
                    && let Some(session) = learning.unheard.pop_first()
                {
                    return wrong(*node, &format!("reported {session}, which it had not heard of"));
                }
                if learning.reported_at != now
                    && let Some((_, words)) = learning.odd.pop_first()
                {
                    return wrong(*node, &words);
                }
                if let Some(words) = learning.on_report(reported, now, facts) {
                    return wrong(*node, &words);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use zabra_core::types::OpCode;

    use super::super::testing::{NODE, S, Story};
    use super::*;
    use crate::link::LinkId;
    use crate::node::Standing;
    use crate::op::Op;

    fn follower() -> Story {
        let mut story = Story::begin();
        let standing = Standing { role: Role::Following, epoch: 1, leader: None };
        story.tell(Observed::RoleTaken { node: NODE, standing, mono: 0 });
        attach(&mut story, 1000);
        story
    }

    /// The session may come to the server, and does.
    fn attach(story: &mut Story, timeout_ms: i32) {
        let message = Rc::new(Message::Revalidated { session: S, valid: true });
        story.tell(Observed::Said { node: NodeId(1), to: NODE, link: LinkId(1), message, kept: None });
        story.tell(Observed::Attached { node: NODE, session: S, timeout_ms, mono: 0 });
    }

    fn report(story: &mut Story, touched: &[(SessionId, i32)]) {
        let message = Rc::new(Message::Ping { zxid: Zxid::ZERO, touched: Some(touched.to_vec()) });
        story.tell(Observed::Said { node: NODE, to: NodeId(1), link: LinkId(1), message, kept: None });
    }

    /// What comes next is of the same turn.
    fn same_turn(story: &mut Story) {
        story.at.0 -= 1_000_000;
    }

    #[test]
    fn s9_all_that_was_heard_is_reported() {
        let mut story = follower();
        story.touch(0, Touch::Spoke);
        story.touch(0, Touch::Spoke);
        report(&mut story, &[(S, 1000)]);
        report(&mut story, &[]);
        story.expect_fine();
        story.touch(0, Touch::Spoke);
        report(&mut story, &[]);
        story.expect_violation(Checker::Report, "does not report");
    }

    #[test]
    fn s9_what_comes_in_the_turn_of_a_report_is_in_it_or_in_the_next() {
        for (first, second) in [(true, false), (false, true), (false, false)] {
            let mut story = follower();
            let list = |is_there: bool| if is_there { vec![(S, 1000)] } else { vec![] };
            report(&mut story, &list(first));
            same_turn(&mut story);
            story.touch(0, Touch::Spoke);
            report(&mut story, &list(second));
            report(&mut story, &[]);
            story.expect_fine();
        }
    }

    #[test]
    fn s9_what_observers_say_in_the_turn_of_a_report_may_be_in_it() {
        let mut story = follower();
        report(&mut story, &[(S, 1000)]);
        same_turn(&mut story);
        story.touch(0, Touch::Reported { timeout_ms: 1000 });
        report(&mut story, &[]);
        story.expect_fine();
    }

    #[test]
    fn s9_nothing_is_reported_that_was_not_heard() {
        let mut story = follower();
        story.touch(0, Touch::Spoke);
        report(&mut story, &[(S, 1000)]);
        report(&mut story, &[(S, 1000)]);
        report(&mut story, &[]);
        story.expect_violation(Checker::Report, "had not heard of");
    }

    #[test]
    fn s9_a_session_is_not_reported_behind_its_end() {
        let mut story = follower();
        story.touch(0, Touch::Spoke);
        story.invoke(1, &Op::CloseSession);
        story.log(2, 1, OpCode::CLOSE_SESSION, None);
        story.apply(2);
        same_turn(&mut story);
        report(&mut story, &[(S, 1000)]);
        story.expect_fine();
        story.touch(0, Touch::Spoke);
        report(&mut story, &[(S, 1000)]);
        story.expect_violation(Checker::Report, "whose end it has applied");
    }

    #[test]
    fn s9_it_is_reported_with_the_timeout_that_it_has() {
        let mut story = follower();
        story.touch(0, Touch::Spoke);
        report(&mut story, &[(S, 4000)]);
        report(&mut story, &[]);
        story.expect_violation(Checker::Report, "agreed were 1000");
        let mut story = follower();
        story.touch(0, Touch::Spoke);
        attach(&mut story, 500);
        same_turn(&mut story);
        report(&mut story, &[(S, 1000)]);
        story.expect_fine();
    }

    #[test]
    fn s9_a_follower_passes_on_what_its_observers_report() {
        let mut story = follower();
        story.touch(0, Touch::Reported { timeout_ms: 1000 });
        for _ in 0..REPORTS_MAX {
            report(&mut story, &[]);
        }
        story.expect_fine();
        let mut passed_on = follower();
        passed_on.touch(0, Touch::Reported { timeout_ms: 1000 });
        for _ in 0..=REPORTS_MAX {
            report(&mut passed_on, &[(S, 4000)]);
        }
        passed_on.expect_fine();
        report(&mut story, &[]);
        story.expect_violation(Checker::Report, "its observers");
    }

    #[test]
    fn s9_what_observers_ask_for_may_have_another_timeout() {
        let mut story = follower();
        story.touch(0, Touch::Asked { from: NodeId(2), timeout_ms: 500 });
        story.touch(0, Touch::Spoke);
        report(&mut story, &[(S, 500)]);
        story.expect_fine();
    }

    #[test]
    fn s7_a_learner_gives_no_session_to_anybody_unasked() {
        let mut story = follower();
        attach(&mut story, 1000);
        story.expect_fine();
        story.tell(Observed::Attached { node: NODE, session: S, timeout_ms: 1000, mono: 0 });
        story.expect_violation(Checker::Report, "was not told to");
    }
}
