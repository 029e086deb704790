//! How long a server waits before it looks for a leader again, or connects to the one that leads.
//!
//! Observers have no say in elections, and there may be very many of them. Lest they all come while the voters have
//! enough to do, each that lost its leader waits before it looks for one (`observer.election.DelayMs`), and again before
//! it connects (`observer.reconnectDelayMs`; where it learns from followers, only before it begins with the first of them
//! again), each time for as long as is drawn, up to that (PARITY `obs.reconnect`).
//!
//! And any learner may be of no use to a leader that others follow: one that has promised a later epoch, for instance,
//! which is sent away as soon as it has said so, and told who leads as soon as it asks. ZooKeeper's try that without an
//! end, as fast as they can. Here who was sent away comes back once without waiting, for a leader that has just begun may
//! have had its reasons; then it waits, each time twice as long as before, up to a tick.

use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::RngCore;

use crate::config::EnsembleConfig;
use crate::rng;
use crate::time::Instant;
use crate::types::ServerId;
use crate::zab::learner::LostReason;

/// The first wait of a learner that is sent away again and again.
const UNWANTED_PAUSE_MIN: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Pauses {
    rng: ChaCha12Rng,
    election_max: Duration,
    reconnect_max: Duration,
    unwanted_max: Duration,
    /// The leader that this server came to last, and how often in a row that was in vain.
    unwanted: Option<(ServerId, u32)>,
    /// Before that it does not look for a leader.
    until: Option<Instant>,
}

impl Pauses {
    pub(super) fn new(config: &EnsembleConfig, tick: Duration, seed: [u8; 32]) -> Self {
        Self {
            rng: rng::stream(seed, rng::Stream::ObserverDelay),
            election_max: config.observer_election_delay,
            reconnect_max: config.observer_reconnect_delay,
            unwanted_max: tick,
            unwanted: None,
            until: None,
        }
    }

    /// Whether it is too early to look for a leader.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it is not any more, if that is still to come.
    pub(super) fn ends(&self, now: Instant) -> Instant {
        self.until.map_or(now, |until| until.max(now))
    }

    /// There is nothing that this server came to in vain.
    pub(super) const fn on_serving(&mut self) {
        self.unwanted = None;
    }

    /// The leader is lost; if `spares_voters`, it will not be looked for at once.
    pub(super) fn on_lost(&mut self, leader: ServerId, why: LostReason, spares_voters: bool, now: Instant) {
        match why {
            LostReason::BadMessage
            | LostReason::CommittedMissing
            | LostReason::ConfigNotKept
            | LostReason::CutShort
            | LostReason::Diverged
            | LostReason::EpochTooOld
            | LostReason::LinkDown
            | LostReason::NoWayBack
            | LostReason::NotContiguous
            | LostReason::SnapshotNotKept => {
                let before =
                    self.unwanted.filter(|(server, _)| *server == leader).map_or(0, |(_, count)| count);
                self.unwanted = Some((leader, before.saturating_add(1)));
            }
            // It looks for a leader itself: should it lead again, it has not sent anybody away yet.
            LostReason::Doubted => self.unwanted = None,
            // There was nobody to come to, or something else to do.
            LostReason::LessThanVoted
            | LostReason::Reconfigured
            | LostReason::Timeout
            | LostReason::Unreachable => {}
        }
        self.until = spares_voters.then(|| now + self.draw(self.election_max));
    }

    /// How long to wait before connecting to `leader`, or, if `spares_leader`, to whoever passes on what it says.
    pub(super) fn before_connecting(&mut self, leader: ServerId, spares_leader: bool) -> Duration {
        let drawn = if spares_leader { self.draw(self.reconnect_max) } else { Duration::ZERO };
        let unwanted = match self.unwanted {
            Some((server, count)) if server == leader && count > 1 => {
                let doubled = 2_u32.saturating_pow(count - 2);
                UNWANTED_PAUSE_MIN.saturating_mul(doubled).min(self.unwanted_max)
            }
            Some(_) | None => Duration::ZERO,
        };
        drawn.max(unwanted)
    }

    /// Anything up to `max`.
    fn draw(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.rng.next_u64() % nanos) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::testing::cluster::members;

    const TICK: Duration = Duration::from_millis(2000);
    const LEADER: ServerId = ServerId(3);

    fn pauses(election_ms: u64, reconnect_ms: u64) -> Pauses {
        let mut config = EnsembleConfig::new(members(3, 1));
        config.observer_election_delay = Duration::from_millis(election_ms);
        config.observer_reconnect_delay = Duration::from_millis(reconnect_ms);
        Pauses::new(&config, TICK, [7; 32])
    }

    #[test]
    fn obs_reconnect_what_is_drawn_is_below_the_limit_and_differs() {
        let now = Instant::from_millis(5);
        for max in [0, 1, 200] {
            let mut pauses = pauses(max, max);
            let mut drawn = Vec::new();
            for _ in 0..100 {
                pauses.on_lost(LEADER, LostReason::Timeout, true, now);
                drawn.push(pauses.ends(now).since(now));
                drawn.push(pauses.before_connecting(LEADER, true));
            }
            let limit = Duration::from_millis(max);
            assert!(drawn.iter().all(|&pause| pause < limit || max == 0 && pause.is_zero()), "{max}");
            let (low, high) = (drawn.iter().min(), drawn.iter().max());
            assert!(
                max == 0 || low < Some(&(limit / 4)) && high > Some(&(limit / 4 * 3)),
                "{low:?} {high:?}"
            );
        }
    }

    /// Who has a vote looks at once, and who is told where to go goes at once.
    #[test]
    fn obs_reconnect_nobody_else_waits() {
        let (mut pauses, now) = (pauses(200, 200), Instant::from_millis(5));
        pauses.on_lost(LEADER, LostReason::Timeout, false, now);
        assert!(!pauses.holds(now) && pauses.ends(now) == now);
        assert_eq!(pauses.before_connecting(LEADER, false), Duration::ZERO);
    }

    #[test]
    fn who_is_sent_away_again_and_again_waits_longer_every_time_up_to_a_tick() {
        let (mut pauses, now) = (pauses(0, 0), Instant::from_millis(5));
        let lose = |pauses: &mut Pauses, why| {
            pauses.on_lost(LEADER, why, false, now);
            pauses.before_connecting(LEADER, false).as_millis()
        };
        let waited: Vec<u128> = (0..40).map(|_| lose(&mut pauses, LostReason::LinkDown)).collect();
        assert_eq!(waited[..7], [0, 100, 200, 400, 800, 1600, 2000]);
        assert!(waited[7..].iter().all(|&wait| wait == 2000));
        // Nobody knows yet what another leader will say.
        assert_eq!(pauses.before_connecting(ServerId(2), false), Duration::ZERO);
        assert_eq!(lose(&mut pauses, LostReason::Unreachable), 2000, "which says nothing of this one");
        pauses.on_lost(ServerId(2), LostReason::EpochTooOld, false, now);
        assert_eq!(lose(&mut pauses, LostReason::EpochTooOld), 0);
        assert_eq!(lose(&mut pauses, LostReason::BadMessage), 100);
        pauses.on_serving();
        assert_eq!(lose(&mut pauses, LostReason::LinkDown), 0);
        assert_eq!(lose(&mut pauses, LostReason::LinkDown), 100);
        assert_eq!(
            lose(&mut pauses, LostReason::Doubted),
            0,
            "it looks for a leader, and is a new one when it leads"
        );
        assert_eq!(lose(&mut pauses, LostReason::LinkDown), 0);
    }
}
