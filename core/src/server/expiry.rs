//! What is due: sessions, silent connections, emptied containers and old files.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Action, CloseReason, Event, Phase, Server};
use crate::config::Config;
use crate::conn;
use crate::time::Instant;
use crate::types::{OpCode, SessionId};
use crate::wire::Request;

/// The part of a tick by which a timer may be late without anything to be made of it.
const STOOD_STILL: u32 = 20;

/// When containers and TTL nodes are looked for, and those that were found.
///
/// Every interval the tree is searched once; what is found goes one by one, evenly spaced, so that a flood of
/// deletions does not stand in the way of clients (PARITY `cm.interval`).
#[derive(Debug)]
pub(super) struct Containers {
    interval: Duration,
    spacing: Duration,
    search_max: usize,
    next_search: Instant,
    next_deletion: Instant,
    found: VecDeque<Box<str>>,
}

impl Containers {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let interval = config.container_check_interval;
        let spacing = Duration::from_secs(60) / config.container_max_per_minute;
        let spaced = if spacing.is_zero() { u128::MAX } else { interval.as_nanos() / spacing.as_nanos() };
        Self {
            interval,
            spacing,
            search_max: usize::try_from(spaced).unwrap_or(usize::MAX).max(1),
            next_search: now + interval,
            next_deletion: now,
            found: VecDeque::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(if self.found.is_empty() { self.next_search } else { self.next_deletion })
    }
}

/// Keeps a server that stood still (its process was stopped, its machine paused or far too busy) from holding that against
/// its clients: what they said meanwhile, and what followers have to report of theirs, is on its way, and a tick may be
/// looked at first. A tick is as long as followers may take to report. ZooKeeper expires whoever is due by then.
///
/// So it is with a server that has no room: who is not read from until its log has got on may have said something, too. Not
/// for longer than any session lives, though: where there is never room, what the dead hold would not come free.
#[derive(Debug, Default)]
pub(super) struct Leniency {
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Leniency {
    /// Whether no session is to expire yet, in a tick that was due at `due` and comes at `now`, of a server that is `deaf` to
    /// some who may speak.
    fn holds(&mut self, due: Option<Instant>, now: Instant, config: &Config, deaf: bool) -> bool {
        let is_used_up = self.since.is_some_and(|since| now.since(since) > config.max_session_timeout);
        let until = match self.until {
            _ if is_used_up => None,
            _ if deaf => Some(now + config.tick_time),
            // However late that is again: a server that never keeps up would keep all sessions.
            Some(until) => (now < until).then_some(until),
            None => {
                let stood_still = due.is_some_and(|due| now.since(due) > config.tick_time / STOOD_STILL);
                stood_still.then(|| now + config.tick_time)
            }
        };
        self.since = until.map(|_| self.since.unwrap_or(now));
        self.until = until;
        until.is_some()
    }

    /// When sessions may expire that are due at `due`.
    pub(super) fn put_off(&self, due: Instant) -> Instant {
        self.until.map_or(due, |until| until.max(due))
    }
}

impl Server {
    pub(super) fn on_tick(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        let deaf = self.log_is_full() || self.holds_requests();
        let lenient = self.leniency.holds(self.poll_timeout(), self.now.mono, &self.config, deaf);
        if self.ensemble.is_some() {
            self.tick_ensemble();
        }
        let ordering = self.is_ordering();
        if !lenient {
            self.expire_sessions(ordering);
        }
        if ordering {
            self.delete_containers();
        }
        self.close_silent_connections();
        if !self.is_rewinding()
            && let Some(op) = self.purger.poll_op(self.now.mono, &self.inventory, &mut self.tickets)
        {
            self.actions.push_back(Action::Disk(op));
        }
    }

    fn expire_sessions(&mut self, ordering: bool) {
        if !ordering && self.sessions.local_count() == 0 {
            return;
        }
        for session in self.sessions.expire(self.now.mono, ordering) {
            self.metrics.counters.stale_sessions_expired += 1;
            self.tell(Event::SessionExpired { session });
            if self.sessions.is_local(session) {
                self.expire_local_session(session);
                continue;
            }
            if let Some(conn) = self.sessions.conn(session).and_then(|id| self.conns.get_mut(id)) {
                conn.session_over = true;
            }
            self.propose(None, session, 0, OpCode::CLOSE_SESSION, |prep| prep.close_session());
        }
    }

    /// Ephemeral znodes whose session nobody knows would stay for ever, and with them a lock that nobody holds: whoever
    /// begins to order ends each of those sessions once more (PARITY `sess.unknown`). ZooKeeper takes the znodes out of
    /// its own tree alone; here it is a transaction, so that all replicas stay equal.
    pub(super) fn close_unknown_sessions(&mut self) {
        if !self.owners_unchecked || !self.is_ordering() || self.phase != Phase::Running {
            return;
        }
        self.owners_unchecked = false;
        let owners = self.tree.ephemeral_sessions();
        let unknown: Vec<SessionId> = owners.filter(|owner| !self.sessions.is_global(*owner)).collect();
        for session in unknown {
            let znodes = self.tree.ephemerals(session).count();
            self.tell(Event::SessionUnknown { session, znodes });
            self.propose(None, session, 0, OpCode::CLOSE_SESSION, |prep| prep.close_session());
        }
    }

    fn close_silent_connections(&mut self) {
        while let Some((_, id)) = self.greetings.pop_front_if(|(deadline, _)| *deadline <= self.now.mono) {
            if self.conns.get_mut(id).is_some_and(|conn| conn.phase == conn::Phase::Greeting) {
                self.metrics.counters.sessionless_connections_expired += 1;
                self.close_by_id(id, CloseReason::NoSession);
            }
        }
    }

    fn delete_containers(&mut self) {
        let now = self.now;
        if self.containers.found.is_empty() && self.containers.next_search <= now.mono {
            self.containers.next_search = now.mono + self.containers.interval;
            self.containers.next_deletion = now.mono;
            let never_used = self.config.container_max_never_used;
            self.containers.found =
                self.tree.expired(now.wall, never_used, self.containers.search_max).into();
        }
        while self.containers.next_deletion <= now.mono
            && let Some(path) = self.containers.found.pop_front()
        {
            self.containers.next_deletion = self.containers.next_deletion + self.containers.spacing;
            let request = Request::DeleteContainer { path: &path };
            let op = OpCode::DELETE_CONTAINER;
            self.propose(None, SessionId::NONE, 0, op, |prep| prep.transaction(op, &request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks of a server from `from` on, none of them late, by whether sessions were spared.
    fn ticks(
        leniency: &mut Leniency,
        config: &Config,
        from: Instant,
        count: u32,
        deaf: impl Fn(u32) -> bool,
    ) -> Vec<bool> {
        let ticks = (0..count).map(|tick| (tick, from + config.tick_time * tick));
        ticks.map(|(tick, now)| leniency.holds(Some(now), now, config, deaf(tick))).collect()
    }

    #[test]
    fn sess_a_server_that_never_listens_spares_nobody_for_longer_than_sessions_live() {
        let config = Config::default();
        let longest =
            u32::try_from(config.max_session_timeout.as_nanos() / config.tick_time.as_nanos()).unwrap();
        let spared = ticks(&mut Leniency::default(), &config, Instant::ZERO, 3 * longest, |_| true);
        let first = spared.iter().position(|spared| !spared).expect("a tick in which sessions expire");
        assert_eq!(u32::try_from(first).unwrap(), longest + 1);
        assert!(spared[first + 1..=2 * first].iter().all(|&spared| spared), "{spared:?}");
    }

    #[test]
    fn sess_a_server_that_listens_again_spares_everybody_for_a_tick() {
        let config = Config::default();
        let mut leniency = Leniency::default();
        let spared = ticks(&mut leniency, &config, Instant::ZERO, 6, |tick| tick == 1 || tick == 4);
        assert_eq!(spared, [false, true, false, false, true, false]);
    }
}
