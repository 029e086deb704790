//! Sessions live exactly as long as promised, by the monotonic clock of the server that decides.
//!
//! Not a moment less (S3): no server declares a session expired before its whole timeout has passed since the last time
//! it heard of it, or since it began to serve. Not for ever (S4): it does at the next tick, which is what ZooKeeper rounds
//! up to, or in the turn that comes then; a tick later if the server stood still meanwhile, for it hears first what was
//! said while it did; and where logs are soon full nobody outside knows when a server looks at what it was told. A client is told that its session is gone only if it is.
//!
//! Once a server has declared it expired, it gives it to nobody any more (S10), whatever becomes of the transaction that
//! ends it; another leader may.
//!
//! In an ensemble the leader decides, and nobody else (S6). It has heard of a session when its client spoke to the
//! leader itself, and when a learner reported it (S9) or asked about it. A new leader begins every session's timeout
//! afresh, whatever was declared before it.
//!
//! A client has the timeout that it asks for, within the limits of the servers (S11).
//!
//! A session comes back with another timeout than it had, and that counts from then on, be it shorter. What a learner
//! reports counts with the timeout that it has there. Where the order of what one turn brings decides, nobody outside
//! knows it: then the earliest moment and the latest that follow are known, and not which of them is meant.
//!
//! That the ephemeral znodes go with it, all at once and no others (S5), follows from the equality
//! of trees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::types::{Message, SessionId};

use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record, Touch};
use crate::places::NodeId;

/// What a server may take beyond its timers: batches wait for the processor.
const SLACK: Duration = Duration::from_millis(50);

/// A span of the time of a server's clock, in nanoseconds: what is meant is not before its begin nor after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    least: u64,
    most: u64,
}

impl Span {
    const fn at(moment: u64) -> Self {
        Self { least: moment, most: moment }
    }

    fn widen(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }

    const fn after(self, mono: u64) -> Self {
        Self { least: mono + self.least, most: mono + self.most }
    }
}

/// A session that must be watched over.
#[derive(Clone, Debug)]
struct Watched {
    /// When it is due.
    due: Span,
    /// The timeout that it has while it speaks to this server itself.
    timeout: Span,
    /// The turn in which it was last given to anybody.
    given: Option<SimTime>,
    /// Who asks for it, with which timeout, since which turn.
    asking: Vec<(NodeId, Span, SimTime)>,
}

impl Watched {
    const fn new(due: Span, timeout: Span) -> Self {
        Self { due, timeout, given: None, asking: Vec::new() }
    }

    /// It has been given to somebody with a new timeout: `surely` in this turn, after all that came before it.
    fn give(&mut self, mono: u64, timeout: Span, now: SimTime, surely: bool) {
        if surely && self.given != Some(now) {
            (self.due, self.timeout) = (timeout.after(mono), timeout);
        } else {
            self.due.widen(timeout.after(mono));
            self.timeout.widen(timeout);
        }
        self.given = Some(now);
    }

    /// Something was heard of it.
    fn touch(&mut self, mono: u64, timeout: Span, now: SimTime, surely: bool) {
        let due = timeout.after(mono);
        // Who was given it in the same turn may have been given it later.
        if surely && self.given != Some(now) {
            self.due.least = self.due.least.max(due.least);
        }
        self.due.most = self.due.most.max(due.most);
    }

    fn on_touched(&mut self, mono: u64, how: Touch, now: SimTime, surely: bool) {
        match how {
            Touch::Asked { from, timeout_ms } => {
                // Whether it was given is told in a moment, or later; what it had before may still be meant.
                let timeout = span_of(timeout_ms);
                self.due.widen(timeout.after(mono));
                self.timeout.widen(timeout);
                // On a link that is gone nobody is answered any more.
                if surely {
                    self.asking.push((from, timeout, now));
                }
            }
            Touch::Granted { to } => {
                let Some(place) = self.asking.iter().position(|(from, ..)| *from == to) else { return };
                let alone = self.asking.len() == 1;
                let (_, mut timeout, since) = self.asking.remove(place);
                // An earlier question may have been lost with its link: then a later one is answered.
                let others = self.asking.iter().filter(|(from, ..)| *from == to);
                others.for_each(|&(_, other, _)| timeout.widen(other));
                self.give(mono, timeout, now, alone && since == now);
            }
            Touch::Opened { timeout_ms } | Touch::Reported { timeout_ms } => {
                self.touch(mono, span_of(timeout_ms), now, surely);
            }
            Touch::Spoke => self.touch(mono, self.timeout, now, surely),
        }
    }
}

const fn span_of(timeout_ms: i32) -> Span {
    Span::at(timeout_ms as u64 * 1_000_000)
}

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    tick: Duration,
    /// The shortest timeout that there is, and the longest, in milliseconds.
    timeouts: (i32, i32),
    /// By the server that heard of them.
    watched: BTreeMap<NodeId, BTreeMap<SessionId, Watched>>,
    /// Until when each server that stood still may wait for what was said meanwhile, by its clock.
    waits: BTreeMap<NodeId, u64>,
    /// Whether servers may look much later at what they were told.
    may_defer: bool,
    /// What each server has declared expired since it decides, and when.
    over: BTreeMap<NodeId, BTreeMap<SessionId, SimTime>>,
    /// Who asked which server about one of these, and was not answered yet.
    in_vain: BTreeSet<(NodeId, NodeId, SessionId)>,
}

impl Sessions {
    /// For servers that round up to multiples of `tick`, and give no timeouts but between these two.
    pub fn new(tick: Duration, (shortest, longest): (Duration, Duration)) -> Self {
        Self {
            tick,
            timeouts: (shortest.as_millis() as i32, longest.as_millis() as i32),
            watched: BTreeMap::new(),
            waits: BTreeMap::new(),
            may_defer: false,
            over: BTreeMap::new(),
            in_vain: BTreeSet::new(),
        }
    }

    /// Says whether servers may look much later at what they were told: a log that is full holds up those who speak.
    pub const fn defer(&mut self, may_defer: bool) {
        self.may_defer = may_defer;
    }

    /// Nothing that happened to the server's predecessor counts: every session starts afresh.
    fn begin(&mut self, node: NodeId, mono: u64, facts: &Facts) {
        let open = facts.model().sessions().iter().filter(|(_, known)| known.closed.is_none());
        let afresh = open.map(|(&session, known)| {
            let timeout = span_of(known.timeout_ms);
            (session, Watched::new(timeout.after(mono), timeout))
        });
        self.watched.insert(node, afresh.collect());
        self.waits.remove(&node);
        self.forget(node);
    }

    /// What the server has declared expired is of no account any more.
    fn forget(&mut self, node: NodeId) {
        self.over.remove(&node);
        self.in_vain.retain(|(by, ..)| *by != node);
    }

    fn on_expired(
        &mut self,
        node: NodeId,
        session: SessionId,
        mono: u64,
        facts: &Facts,
    ) -> Result<(), Violation> {
        if !decides(node, facts) {
            let words = format!("{node} declares {session} expired, and does not lead");
            return Err(Violation::new(Checker::Session, words));
        }
        let Some(watched) = self.watched.entry(node).or_default().remove(&session) else { return Ok(()) };
        if mono < watched.due.least && !self.may_defer {
            let early = Duration::from_nanos(watched.due.least - mono);
            let timeout = Duration::from_nanos(watched.timeout.least);
            let words =
                format!("{session} is declared expired {early:?} too early, its timeout is {timeout:?}");
            return Err(Violation::new(Checker::Session, words));
        }
        Ok(())
    }

    fn on_ticked(&mut self, node: NodeId, mono: u64, facts: &Facts) -> Result<(), Violation> {
        if !decides(node, facts) {
            return Ok(());
        }
        let may_take = (self.tick + SLACK).as_nanos() as u64;
        if self.may_defer {
            return Ok(());
        }
        if self.waits.get(&node).is_some_and(|until| mono <= until + SLACK.as_nanos() as u64) {
            return Ok(());
        }
        let over = self.over.get(&node);
        let mut lives_on = None;
        self.watched.entry(node).or_default().retain(|session, watched| {
            let Some(known) = facts.model().sessions().get(session) else { return true };
            let is_open = known.closed.is_none();
            if is_open
                && mono > watched.due.most + may_take
                && !over.is_some_and(|over| over.contains_key(session))
                && !facts.is_given_up(*session)
            {
                let late = Duration::from_nanos(mono - watched.due.most);
                lives_on.get_or_insert((*session, late, Duration::from_nanos(watched.timeout.most)));
            }
            is_open
        });
        let Some((session, late, timeout)) = lives_on else { return Ok(()) };
        let words =
            format!("{session} lives on {late:?} after it was due at {node}, its timeout is {timeout:?}");
        Err(Violation::new(Checker::Session, words))
    }
}

/// Whether a server is the one that decides.
fn decides(node: NodeId, facts: &Facts) -> bool {
    !facts.is_ensemble() || facts.standing(node).is_some_and(|standing| standing.role == Role::Leading)
}

impl Sessions {
    /// Whether a server had declared a session expired before this turn.
    fn was_over(&self, node: NodeId, session: SessionId, now: SimTime) -> bool {
        self.over.get(&node).and_then(|over| over.get(&session)).is_some_and(|&at| at < now)
    }

    /// A server has heard of a session.
    fn on_touched(
        &mut self,
        (node, session): (NodeId, SessionId),
        mono: u64,
        (how, surely): (Touch, bool),
        now: SimTime,
        facts: &Facts,
    ) {
        if !decides(node, facts) {
            return;
        }
        let watched = self.watched.entry(node).or_default();
        if let Touch::Asked { timeout_ms, .. }
        | Touch::Opened { timeout_ms }
        | Touch::Reported { timeout_ms } = how
        {
            watched.entry(session).or_insert(Watched::new(Span::at(0), span_of(timeout_ms)));
        }
        if let Some(watched) = watched.get_mut(&session) {
            watched.on_touched(mono, how, now, surely);
        }
    }

    /// A learner asks whether a session lives, or is told.
    fn on_message(
        &mut self,
        node: NodeId,
        other: NodeId,
        message: &Message,
        now: SimTime,
    ) -> Result<(), Violation> {
        match *message {
            Message::Revalidate { session, .. } if self.was_over(node, session, now) => {
                self.in_vain.insert((node, other, session));
            }
            Message::Revalidated { session, valid } => {
                let in_vain = self.in_vain.remove(&(node, other, session));
                if in_vain && valid {
                    return Err(revived(node, session));
                }
                if !valid
                    && let Some(watched) =
                        self.watched.get_mut(&node).and_then(|known| known.get_mut(&session))
                    && let Some(place) = watched.asking.iter().position(|(from, ..)| *from == other)
                {
                    watched.asking.remove(place);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn revived(node: NodeId, session: SessionId) -> Violation {
    Violation::new(
        Checker::Session,
        format!("{node} gives {session} to a client, which it has declared expired"),
    )
}

impl Check for Sessions {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Connected { client, timeout_ms, asked_ms, .. } => {
                let (shortest, longest) = self.timeouts;
                let due = (*asked_ms).clamp(shortest, longest);
                if *timeout_ms != due {
                    let words = format!("{client} asked for {asked_ms} ms and has {timeout_ms}, not {due}");
                    return Err(Violation::new(Checker::Session, words));
                }
            }
            Observed::SessionExpired { node, session, mono } => {
                self.on_expired(*node, *session, *mono, facts)?;
                self.over.entry(*node).or_default().entry(*session).or_insert(record.at);
            }
            Observed::Attached { node, session, timeout_ms, mono } => {
                if self.was_over(*node, *session, record.at) {
                    return Err(revived(*node, *session));
                }
                if decides(*node, facts) {
                    let timeout = span_of(*timeout_ms);
                    let watched = self.watched.entry(*node).or_default().entry(*session);
                    let watched = watched.or_insert(Watched::new(timeout.after(*mono), timeout));
                    watched.give(*mono, timeout, record.at, watched.asking.is_empty());
                }
            }
            Observed::Heard { node, from: other, message, .. }
            | Observed::Said { node, to: other, message, .. } => {
                self.on_message(*node, *other, message, record.at)?;
            }
            Observed::RoleLost { node, .. } => self.forget(*node),
            Observed::SessionGone { session, .. } => {
                let known = facts.model().sessions().get(session);
                let over = known.is_some_and(|session| session.closed.is_some());
                // A leader that has not noticed that it was deposed knows nothing of the sessions that came since, as in
                // ZooKeeper.
                if !over && !facts.is_ended(*session) && !facts.has_deposed_leader() {
                    return Err(Violation::new(
                        Checker::Session,
                        format!("a client is told that {session} is gone, and nobody ended it"),
                    ));
                }
            }
            Observed::Started { node, mono, .. } => self.begin(*node, *mono, facts),
            Observed::RoleTaken { node, standing, mono } if standing.role == Role::Leading => {
                self.begin(*node, *mono, facts);
            }
            Observed::Ticked { node, mono } => self.on_ticked(*node, *mono, facts)?,
            Observed::StoodStill { node, mono, .. } => {
                self.waits.insert(*node, mono + self.tick.as_nanos() as u64);
            }
            &Observed::Touched { node, session, mono, how, surely } => {
                self.on_touched((node, session), mono, (how, surely), record.at, facts);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT, NODE, S, Story};
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn expired_early() {
        let mut story = Story::begin();
        story.touch(1000 * MS, Touch::Spoke);
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4999 * MS });
        story.expect_violation(Checker::Session, "declared expired 1ms too early");
    }

    /// What a turn brings, and until when from its time on the session may be silent: no longer, and no shorter.
    fn due_after(turns: &[&[(u64, Touch)]], least_ms: u64, most_ms: u64) {
        let begun = |story: &mut Story| {
            for turn in turns {
                let at = story.at;
                for &(ms, how) in *turn {
                    story.at = at;
                    story.touch(ms * MS, how);
                }
            }
        };
        for (ms, fine) in [(least_ms - 1, false), (least_ms, true)] {
            let mut story = Story::begin();
            begun(&mut story);
            story.tell(Observed::SessionExpired { node: NODE, session: S, mono: ms * MS });
            assert_eq!(story.result.is_ok(), fine, "expired at {ms}: {:?}", story.result);
        }
        // A tick, and what a server may take.
        for (ms, fine) in [(most_ms + 150, true), (most_ms + 151, false)] {
            let mut story = Story::begin();
            begun(&mut story);
            story.tell(Observed::Ticked { node: NODE, mono: ms * MS });
            assert_eq!(story.result.is_ok(), fine, "alive at {ms}: {:?}", story.result);
        }
    }

    #[test]
    fn the_last_timeout_counts_and_where_the_order_decides_any_of_them_may() {
        let (from, other) = (NodeId(1), NodeId(2));
        let ask = |timeout_ms| Touch::Asked { from, timeout_ms };
        let also = |timeout_ms| Touch::Asked { from: other, timeout_ms };
        let report = |timeout_ms| Touch::Reported { timeout_ms };
        let grant = Touch::Granted { to: from };
        due_after(&[], 4000, 4000);
        due_after(&[&[(100, Touch::Spoke)]], 4100, 4100);
        due_after(&[&[(100, ask(500)), (100, grant)]], 600, 600);
        due_after(&[&[(100, ask(500)), (100, grant)], &[(200, report(500))]], 700, 700);
        due_after(&[&[(100, ask(500)), (100, grant)], &[(200, Touch::Spoke)]], 700, 700);
        // A report of before the move comes late.
        due_after(&[&[(100, ask(500)), (100, grant)], &[(200, report(4000))]], 4200, 4200);
        due_after(&[&[(100, ask(500)), (100, grant), (100, report(4000))]], 600, 4100);
        // Nobody knows when it was given, or to whom last.
        due_after(&[&[(100, ask(500))]], 600, 4000);
        due_after(&[&[(100, ask(500))], &[(300, grant)]], 600, 4000);
        due_after(&[&[(100, ask(500)), (100, also(900)), (100, grant)]], 600, 4000);
        due_after(&[&[(100, ask(500)), (100, also(900)), (100, grant)], &[(200, Touch::Spoke)]], 700, 4200);
    }

    #[test]
    fn s4_who_stood_still_has_a_tick_more() {
        let late = Duration::from_millis(10);
        for (ms, fine) in [(4290, true), (4291, false)] {
            let mut story = Story::begin();
            story.tell(Observed::StoodStill { node: NODE, mono: 4140 * MS, late });
            story.tell(Observed::Ticked { node: NODE, mono: ms * MS });
            assert_eq!(story.result.is_ok(), fine, "{ms}: {:?}", story.result);
        }
    }

    #[test]
    fn a_session_that_comes_to_the_leader_has_the_timeout_that_it_comes_with() {
        for (ms, fine) in [(750, true), (751, false)] {
            let mut story = Story::begin();
            let (timeout_ms, mono) = (500, 100 * MS);
            story.tell(Observed::Attached { node: NODE, session: S, timeout_ms, mono });
            story.tell(Observed::Ticked { node: NODE, mono: ms * MS });
            assert_eq!(story.result.is_ok(), fine, "{:?}", story.result);
        }
    }

    #[test]
    fn s4_what_another_leader_declared_is_to_be_declared_again() {
        let expired = |story: &mut Story| {
            story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4000 * MS });
        };
        let mut story = Story::begin();
        expired(&mut story);
        story.tell(Observed::Ticked { node: NODE, mono: 90_000 * MS });
        story.expect_fine();
        story.tell(Observed::Started { node: NODE, recovered: zabra_core::types::Zxid(1), mono: 0 });
        story.tell(Observed::Ticked { node: NODE, mono: 4150 * MS });
        story.expect_fine();
        story.tell(Observed::Ticked { node: NODE, mono: 4151 * MS });
        story.expect_violation(Checker::Session, "lives on");
    }

    #[test]
    fn s11_a_timeout_is_what_was_asked_for_within_limits() {
        let table =
            [(1000, 1000, true), (1000, 999, false), (1, 200, true), (9000, 4000, true), (9000, 9000, false)];
        for (asked_ms, timeout_ms, fine) in table {
            let mut story = Story::begin();
            let (client, session, resumed, claimed) = (CLIENT, S, true, zabra_core::types::Zxid::ZERO);
            story.tell(Observed::Connected { client, session, timeout_ms, asked_ms, resumed, claimed });
            assert_eq!(story.result.is_ok(), fine, "{:?}", story.result);
        }
    }

    #[test]
    fn expired_in_time_and_told_so() {
        let mut story = Story::begin();
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4000 * MS });
        story.tell(Observed::SessionGone { client: CLIENT, session: S });
        story.expect_fine();
    }

    #[test]
    fn s10_a_session_that_was_declared_expired_is_given_to_nobody() {
        use std::rc::Rc;

        let (other, link) = (NodeId(1), crate::link::LinkId(1));
        let ask = |story: &mut Story| {
            let message = Rc::new(Message::Revalidate { session: S, timeout_ms: 4000 });
            story.tell(Observed::Heard { node: NODE, from: other, link, message });
        };
        let answer = |story: &mut Story, valid| {
            let message = Rc::new(Message::Revalidated { session: S, valid });
            story.tell(Observed::Said { node: NODE, to: other, link, message, kept: None });
        };
        let expire = |story: &mut Story| {
            story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4000 * MS });
        };
        let mut story = Story::begin();
        ask(&mut story);
        expire(&mut story);
        answer(&mut story, true);
        story.expect_fine();
        ask(&mut story);
        answer(&mut story, false);
        story.expect_fine();
        ask(&mut story);
        answer(&mut story, true);
        story.expect_violation(Checker::Session, "which it has declared expired");
        let mut story = Story::begin();
        expire(&mut story);
        story.tell(Observed::Attached { node: NODE, session: S, timeout_ms: 4000, mono: 0 });
        story.expect_violation(Checker::Session, "gives");
    }

    #[test]
    fn forgotten() {
        let mut story = Story::begin();
        story.tell(Observed::Ticked { node: NODE, mono: 4150 * MS });
        story.expect_fine();
        story.tell(Observed::Ticked { node: NODE, mono: 4151 * MS });
        story.expect_violation(Checker::Session, "lives on");
    }

    #[test]
    fn a_restart_begins_the_timeout_afresh() {
        let mut story = Story::begin();
        let recovered = zabra_core::types::Zxid(1);
        story.tell(Observed::Started { node: NODE, recovered, mono: 90_000 * MS });
        story.tell(Observed::Ticked { node: NODE, mono: 94_000 * MS });
        story.expect_fine();
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 93_999 * MS });
        story.expect_violation(Checker::Session, "declared expired");
    }

    fn take(story: &mut Story, role: Role) {
        let standing = crate::node::Standing { role, epoch: 1, leader: None };
        let kept = crate::history::Kept {
            accepted: 1,
            current: 1,
            durable: Default::default(),
            last: Default::default(),
        };
        story.tell(Observed::EpochAccepted { node: NODE, epoch: 1, kept });
        story.tell(Observed::EpochCurrent { node: NODE, epoch: 1, kept });
        story.tell(Observed::RoleTaken { node: NODE, standing, mono: 0 });
    }

    #[test]
    fn s6_only_a_leader_declares_a_session_expired() {
        for (role, words) in [(Role::Following, Some("does not lead")), (Role::Leading, None)] {
            let mut story = Story::ensemble(3);
            take(&mut story, role);
            story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 5000 * MS });
            match words {
                Some(words) => story.expect_violation(Checker::Session, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn told_gone_that_is_not() {
        let mut story = Story::begin();
        story.tell(Observed::SessionGone { client: CLIENT, session: S });
        story.expect_violation(Checker::Session, "nobody ended it");
    }
}
