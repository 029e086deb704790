//! Sessions live exactly as long as promised, by the monotonic clock of the server that decides.
//!
//! Not a moment less (S3): no server declares a session expired before its whole timeout has passed since the last time
//! it heard of it, or since it began to serve. Not for ever (S4): at the latest two ticks later than that it does.
//! ZooKeeper rounds up to the next tick, and its timer may fire one tick late. A client is told that its session is
//! gone only if it is.
//!
//! Once a server has declared it expired, it gives it to nobody any more (S10), whatever becomes of the transaction that
//! ends it; another leader may.
//!
//! In an ensemble the leader decides, and nobody else (S6). It has heard of a session when its client spoke to the
//! leader itself, and when a learner reported it (S9) or asked about it. A new leader begins every session's timeout
//! afresh.
//!
//! That the ephemeral znodes go with it, all at once and no others (S5), follows from the equality
//! of trees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::types::{Message, SessionId};

use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record};
use crate::model::Session;
use crate::places::NodeId;

/// What a server may take beyond its timers: batches wait for the processor.
const SLACK: Duration = Duration::from_millis(50);

/// The shortest timeout that there is, in ticks.
const TIMEOUT_MIN: u32 = 2;

/// A session that must be watched over.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// When its server last heard of it, by that server's clock.
    touched: u64,
    /// Its timeout; unknown until its client was told. Where several clients have it each with a timeout of its own, nobody
    /// knows in which order the leader heard of them: the shortest and the longest.
    timeout: Option<(Duration, Duration)>,
}

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    tick: Duration,
    /// By the server that heard of them.
    watched: BTreeMap<NodeId, BTreeMap<SessionId, Watched>>,
    /// What each server has declared expired since it decides, and when.
    over: BTreeMap<NodeId, BTreeMap<SessionId, SimTime>>,
    /// Who asked which server about one of these, and was not answered yet.
    in_vain: BTreeSet<(NodeId, NodeId, SessionId)>,
}

impl Sessions {
    /// For servers that round up to multiples of `tick`.
    pub fn new(tick: Duration) -> Self {
        Self { tick, watched: BTreeMap::new(), over: BTreeMap::new(), in_vain: BTreeSet::new() }
    }

    fn of(&self, node: NodeId, session: SessionId) -> Option<&Watched> {
        self.watched.get(&node)?.get(&session)
    }

    fn timeout(&self, node: NodeId, session: SessionId, facts: &Facts) -> Option<(Duration, Duration)> {
        self.of(node, session).and_then(|watched| watched.timeout).or_else(|| logged(session, facts))
    }

    /// Nothing that happened to the server's predecessor counts: every session starts afresh.
    fn begin(&mut self, node: NodeId, mono: u64, facts: &Facts) {
        let open = facts.model().sessions().iter().filter(|(_, known)| known.closed.is_none());
        let afresh = Watched { touched: mono, timeout: None };
        self.over.remove(&node);
        self.in_vain.retain(|(by, ..)| *by != node);
        self.watched.insert(node, open.map(|(&session, _)| (session, afresh)).collect());
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
        let (Some(watched), Some((timeout, _))) =
            (self.of(node, session), self.timeout(node, session, facts))
        else {
            return Ok(());
        };
        let silent = Duration::from_nanos(mono.saturating_sub(watched.touched));
        if silent < timeout {
            return Err(Violation::new(
                Checker::Session,
                format!(
                    "{session} is declared expired after {silent:?} of silence, its timeout is {timeout:?}"
                ),
            ));
        }
        self.watched.entry(node).or_default().remove(&session);
        Ok(())
    }

    fn on_ticked(&mut self, node: NodeId, mono: u64, facts: &Facts) -> Result<(), Violation> {
        if !decides(node, facts) {
            return Ok(());
        }
        let may_take = self.tick * 2 + SLACK;
        let mut lives_on = None;
        self.watched.entry(node).or_default().retain(|session, watched| {
            let Some(known) = facts.model().sessions().get(session) else { return true };
            let timeout = watched.timeout.map_or(timeout_of(known), |(_, longest)| longest);
            let silent = Duration::from_nanos(mono.saturating_sub(watched.touched));
            let is_open = known.closed.is_none();
            if is_open && silent > timeout + may_take && !facts.is_ended(*session) {
                lives_on.get_or_insert((*session, silent, timeout));
            }
            is_open
        });
        let Some((session, silent, timeout)) = lives_on else { return Ok(()) };
        Err(Violation::new(
            Checker::Session,
            format!("{session} lives on after {silent:?} of silence, its timeout is {timeout:?}"),
        ))
    }
}

/// The timeout that a session began with.
fn logged(session: SessionId, facts: &Facts) -> Option<(Duration, Duration)> {
    let timeout = timeout_of(facts.model().sessions().get(&session)?);
    Some((timeout, timeout))
}

const fn timeout_of(session: &Session) -> Duration {
    Duration::from_millis(session.timeout_ms as u64)
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

    /// From now on a session may have another timeout, no shorter than that one unless what it had before may still be
    /// meant.
    fn widen(&mut self, session: SessionId, timeout: Duration, or_before: bool, facts: &Facts) {
        for watched in self.watched.values_mut().filter_map(|watched| watched.get_mut(&session)) {
            let before = watched.timeout.or_else(|| logged(session, facts));
            let (least, most) = before.unwrap_or((timeout, timeout));
            let least = if or_before { least.min(timeout) } else { timeout };
            watched.timeout = Some((least, most.max(timeout)));
        }
    }

    /// A learner asks whether a session lives, or is told.
    fn on_message(
        &mut self,
        node: NodeId,
        other: NodeId,
        message: &Message,
        now: SimTime,
        facts: &Facts,
    ) -> Result<(), Violation> {
        match *message {
            Message::Revalidate { session, timeout_ms } => {
                self.widen(session, Duration::from_millis(timeout_ms as u64), true, facts);
                if self.was_over(node, session, now) {
                    self.in_vain.insert((node, other, session));
                }
            }
            Message::Revalidated { session, valid } => {
                let in_vain = self.in_vain.remove(&(node, other, session));
                if in_vain && valid {
                    return Err(revived(node, session));
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
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Connected { session, timeout_ms, .. } => {
                let timeout = Duration::from_millis(*timeout_ms as u64);
                // What a learner has heard before, it may report with the timeout of before.
                self.widen(*session, timeout, facts.is_shared(*session), facts);
            }
            Observed::SessionExpired { node, session, mono } => {
                self.on_expired(*node, *session, *mono, facts)?;
                self.over.entry(*node).or_default().entry(*session).or_insert(record.at);
            }
            Observed::Attached { node, session } => {
                if self.was_over(*node, *session, record.at) {
                    return Err(revived(*node, *session));
                }
                // Until its client is told, nobody else knows the timeout that it has now.
                self.widen(*session, self.tick * TIMEOUT_MIN, true, facts);
            }
            Observed::Heard { node, from: other, message, .. }
            | Observed::Said { node, to: other, message, .. } => {
                self.on_message(*node, *other, message, record.at, facts)?;
            }
            Observed::RoleLost { node, .. } => {
                self.over.remove(node);
                self.in_vain.retain(|(by, ..)| by != node);
            }
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
            Observed::Touched { node, session, mono } => {
                let watched = self.watched.entry(*node).or_default();
                let watched = watched.entry(*session).or_insert(Watched { touched: 0, timeout: None });
                watched.touched = watched.touched.max(*mono);
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
        story.tell(Observed::Touched { node: NODE, session: S, mono: 1000 * MS });
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4999 * MS });
        story.expect_violation(Checker::Session, "declared expired after 3.999s");
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
        story.tell(Observed::Attached { node: NODE, session: S });
        story.expect_violation(Checker::Session, "gives");
    }

    #[test]
    fn forgotten() {
        let mut story = Story::begin();
        story.tell(Observed::Ticked { node: NODE, mono: 4200 * MS });
        story.expect_fine();
        story.tell(Observed::Ticked { node: NODE, mono: 4251 * MS });
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
