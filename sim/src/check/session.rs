//! Sessions live exactly as long as promised, by the monotonic clock of the server that decides.
//!
//! Not a moment less: no server declares a session expired before its whole timeout has passed since the last time
//! it heard of it, or since it began to serve. Not for ever: at the latest two ticks later than that it does.
//! ZooKeeper rounds up to the next tick, and its timer may fire one tick late. A client is told that its session is
//! gone only if it is.
//!
//! In an ensemble the leader decides, and nobody else (S6). It has heard of a session when its client spoke to the
//! leader itself, and when a learner reported it or asked about it. A new leader begins every session's timeout
//! afresh.
//!
//! That the ephemeral znodes go with it, all at once and no others, follows from the equality
//! of trees.

use std::collections::BTreeMap;
use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::types::SessionId;

use super::{Check, Facts, Violation};
use crate::history::{Observed, Record};
use crate::link::NodeId;

const CHECK: &str = "session";

/// What a server may take beyond its timers: batches wait for the processor.
const SLACK: Duration = Duration::from_millis(50);

/// A session that must be watched over.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// When its server last heard of it, by that server's clock.
    touched: u64,
    /// Its timeout; unknown until its client was told.
    timeout: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    tick: Duration,
    /// By the server that heard of them.
    watched: BTreeMap<NodeId, BTreeMap<SessionId, Watched>>,
}

impl Sessions {
    /// For servers that round up to multiples of `tick`.
    pub fn new(tick: Duration) -> Self {
        Self { tick, watched: BTreeMap::new() }
    }

    fn of(&self, node: NodeId, session: SessionId) -> Option<&Watched> {
        self.watched.get(&node)?.get(&session)
    }

    fn timeout(&self, node: NodeId, session: SessionId, facts: &Facts) -> Option<Duration> {
        let logged = || {
            let session = facts.model().sessions().get(&session)?;
            Some(Duration::from_millis(session.timeout_ms as u64))
        };
        self.of(node, session).and_then(|watched| watched.timeout).or_else(logged)
    }

    /// Nothing that happened to the server's predecessor counts: every session starts afresh.
    fn begin(&mut self, node: NodeId, mono: u64, facts: &Facts) {
        let open = facts.model().sessions().iter().filter(|(_, known)| known.closed.is_none());
        let afresh = Watched { touched: mono, timeout: None };
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
            let words = format!("n{} declares {session} expired, and does not lead", node.0);
            return Err(Violation::new(CHECK, words));
        }
        let (Some(watched), Some(timeout)) = (self.of(node, session), self.timeout(node, session, facts))
        else {
            return Ok(());
        };
        let silent = Duration::from_nanos(mono.saturating_sub(watched.touched));
        if silent < timeout {
            return Err(Violation::new(
                CHECK,
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
        let closed = |session: &SessionId| {
            facts.model().sessions().get(session).is_some_and(|known| known.closed.is_some())
        };
        self.watched.entry(node).or_default().retain(|session, _| !closed(session));
        for (session, watched) in self.watched.get(&node).into_iter().flatten() {
            if facts.is_ended(*session) || !facts.model().sessions().contains_key(session) {
                continue;
            }
            let Some(timeout) = self.timeout(node, *session, facts) else { continue };
            let silent = Duration::from_nanos(mono.saturating_sub(watched.touched));
            if silent > timeout + self.tick * 2 + SLACK {
                return Err(Violation::new(
                    CHECK,
                    format!("{session} lives on after {silent:?} of silence, its timeout is {timeout:?}"),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a server is the one that decides.
fn decides(node: NodeId, facts: &Facts) -> bool {
    facts.ensemble().is_none() || facts.standing(node).is_some_and(|standing| standing.role == Role::Leading)
}

impl Check for Sessions {
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Connected { session, timeout_ms, .. } => {
                for watched in self.watched.values_mut().filter_map(|watched| watched.get_mut(session)) {
                    watched.timeout = Some(Duration::from_millis(*timeout_ms as u64));
                }
            }
            Observed::SessionExpired { node, session, mono } => {
                self.on_expired(*node, *session, *mono, facts)?;
            }
            Observed::SessionGone { session, .. } => {
                let known = facts.model().sessions().get(session);
                let over = known.is_some_and(|session| session.closed.is_some());
                // A leader that has not noticed that it was deposed knows nothing of the sessions that came since, as in
                // ZooKeeper.
                if !over && !facts.is_ended(*session) && !facts.has_deposed_leader() {
                    return Err(Violation::new(
                        CHECK,
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
        story.expect_violation(CHECK, "declared expired after 3.999s");
    }

    #[test]
    fn expired_in_time_and_told_so() {
        let mut story = Story::begin();
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 4000 * MS });
        story.tell(Observed::SessionGone { client: CLIENT, session: S });
        story.expect_fine();
    }

    #[test]
    fn forgotten() {
        let mut story = Story::begin();
        story.tell(Observed::Ticked { node: NODE, mono: 4200 * MS });
        story.expect_fine();
        story.tell(Observed::Ticked { node: NODE, mono: 4251 * MS });
        story.expect_violation(CHECK, "lives on");
    }

    #[test]
    fn a_restart_begins_the_timeout_afresh() {
        let mut story = Story::begin();
        let recovered = zabra_core::types::Zxid(1);
        story.tell(Observed::Started { node: NODE, recovered, mono: 90_000 * MS });
        story.tell(Observed::Ticked { node: NODE, mono: 94_000 * MS });
        story.expect_fine();
        story.tell(Observed::SessionExpired { node: NODE, session: S, mono: 93_999 * MS });
        story.expect_violation(CHECK, "declared expired");
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
                Some(words) => story.expect_violation(CHECK, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn told_gone_that_is_not() {
        let mut story = Story::begin();
        story.tell(Observed::SessionGone { client: CLIENT, session: S });
        story.expect_violation(CHECK, "nobody ended it");
    }
}
