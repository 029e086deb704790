//! Misfortune: when it comes, whom it strikes, and how it ends.
//!
//! Every kind draws from a stream of its own, so that a run without one kind has all the others as before, for as
//! long as the world itself goes the same way.

use std::time::Duration;

use zabra_core::server::Role;

use super::net::LinkState;
use super::{Event, World};
use crate::check::Violation;
use crate::disk::SyncMode;
use crate::history::Observed;
use crate::link::{End, LinkId, NodeId};
use crate::options::FaultProfile;
use crate::seed::Rng;

/// How long an operating system goes on sending into silence, at least, and at most beyond that.
const SILENCE_MIN: Duration = Duration::from_secs(3);
const SILENCE_MORE: Duration = Duration::from_secs(12);

/// Odds per million that a fault of one node strikes the leader, where there is one.
const AT_LEADER: u32 = 400_000;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A wall clock is stepped.
    ClockStep,
    /// A disk fails to synchronise, from now until its power is cycled.
    FailedSync,
    /// A disk is full for a while.
    Full,
    /// A link falls silent for ever.
    HalfOpen,
    /// A link holds everything back for a while.
    Hold,
    /// A process is killed.
    Kill,
    /// A process is frozen for a while.
    Pause,
    /// A node loses its power.
    Power,
    /// A link is reset.
    Reset,
    /// A client does not read for a while.
    SlowReader,
    /// A disk does nothing for a while.
    Stall,
    /// A server is asked to stop.
    Stop,
    /// The way between two nodes is cut for a while, in one direction or both.
    Cut,
    /// The nodes are split into groups that do not hear of each other for a while.
    Partition,
    /// Several nodes, or all, lose their power or their process at once.
    Blackout,
    /// Something goes wrong at a moment that a protocol hangs on: no event of its own, see [`super::moments`].
    Moment,
}

impl FaultKind {
    /// All there are. A kind's place here names its stream of randomness.
    pub const ALL: &[Self] = &[
        Self::ClockStep,
        Self::FailedSync,
        Self::Full,
        Self::HalfOpen,
        Self::Hold,
        Self::Kill,
        Self::Pause,
        Self::Power,
        Self::Reset,
        Self::SlowReader,
        Self::Stall,
        Self::Stop,
        Self::Cut,
        Self::Partition,
        Self::Blackout,
        Self::Moment,
    ];

    /// The average time between two of the kind; none, if it never comes.
    const fn mean(self, profile: &FaultProfile) -> Option<Duration> {
        match self {
            Self::Blackout => profile.blackout,
            Self::ClockStep => profile.clock_step,
            Self::Cut => profile.cut,
            Self::FailedSync => profile.failed_sync,
            Self::Full => profile.full,
            Self::HalfOpen => profile.half_open,
            Self::Hold => profile.hold,
            Self::Kill => profile.kill,
            Self::Moment => None,
            Self::Partition => profile.partition,
            Self::Pause => profile.pause,
            Self::Power => profile.power,
            Self::Reset => profile.reset,
            Self::SlowReader => profile.slow_reader,
            Self::Stall => profile.stall,
            Self::Stop => profile.stop,
        }
    }
}

impl World {
    /// Schedules the next fault of a kind, if it ever comes.
    pub(super) fn schedule_fault(&mut self, kind: FaultKind) {
        if let Some(mean) = kind.mean(&self.options.faults) {
            let pause = self.rng(kind).exponential(mean);
            self.schedule(self.now + pause, Event::Fault { kind });
        }
    }

    pub(super) fn on_fault(&mut self, kind: FaultKind) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        self.schedule_fault(kind);
        // Every fault takes the same draws, whether it finds somebody to strike or not.
        let count = self.nodes.len();
        let rng = self.rng(kind);
        let node = NodeId(rng.index(count));
        let (share, choice, at_leader) = (rng.below(1_000_000) as u32, rng.bits(), rng.chance(AT_LEADER));
        let node = self.leading().filter(|_| at_leader).unwrap_or(node);
        let words = match kind {
            FaultKind::Blackout => {
                self.black_out(share, choice)?;
                None
            }
            FaultKind::Moment => unreachable!("it is never scheduled by itself"),
            FaultKind::Cut | FaultKind::Partition => self.strike_ways(kind, node, share, choice),
            FaultKind::ClockStep | FaultKind::Pause => self.strike_process(kind, node, share, choice),
            FaultKind::FailedSync | FaultKind::Full | FaultKind::Stall => self.strike_disk(kind, node, share),
            FaultKind::HalfOpen | FaultKind::Hold | FaultKind::Reset | FaultKind::SlowReader => {
                self.strike_link(kind, share, choice)?
            }
            FaultKind::Kill | FaultKind::Power => {
                self.crash(node, kind == FaultKind::Power)?;
                self.schedule_restart(node);
                None
            }
            FaultKind::Stop => {
                self.stop(node);
                Some(format!("n{} is asked to stop", node.0))
            }
        };
        match words {
            Some(words) => self.observe(Observed::Fault(words)),
            None => Ok(()),
        }
    }

    pub(super) fn strike_process(
        &mut self,
        kind: FaultKind,
        id: NodeId,
        share: u32,
        choice: u64,
    ) -> Option<String> {
        let now = self.now;
        let pause = part(self.options.faults.pause_max, share);
        let step_max = self.options.clock.wall_ms_max;
        let node = &mut self.nodes[id.0];
        if kind == FaultKind::Pause {
            if !node.is_up() {
                return None;
            }
            node.paused_until = now + pause;
            return Some(format!("n{} is frozen for {pause:?}", id.0));
        }
        let step = (choice % (step_max * 2 + 1)) as i64 - step_max as i64;
        node.clock.step_wall(step);
        Some(format!("n{}'s wall clock is stepped by {step} ms", id.0))
    }

    /// A server that says it leads; of several, the one that has for longest.
    fn leading(&self) -> Option<NodeId> {
        let leads = |node: &NodeId| self.nodes[node.0].standing.is_some_and(|it| it.role == Role::Leading);
        let epoch = |node: &NodeId| self.nodes[node.0].standing.map(|it| it.epoch);
        (0..self.nodes.len()).map(NodeId).filter(leads).min_by_key(epoch)
    }

    /// All nodes, or some of them, go down at the same instant; each comes back in its own time.
    fn black_out(&mut self, share: u32, choice: u64) -> Result<(), Violation> {
        self.counts.blackouts += 1;
        let power = choice & 3 != 0;
        let all = share < 300_000;
        for index in 0..self.nodes.len() {
            let chosen = all || choice >> (8 + index) & 3 != 0;
            if chosen && !self.nodes[index].is_down() {
                self.crash(NodeId(index), power)?;
                self.schedule_restart(NodeId(index));
            }
        }
        Ok(())
    }

    /// Two nodes, or all of them in two groups, do not hear of each other for a while.
    fn strike_ways(&mut self, kind: FaultKind, id: NodeId, share: u32, choice: u64) -> Option<String> {
        let count = self.nodes.len();
        if count < 2 {
            return None;
        }
        let lasts = part(self.options.faults.cut_max, share);
        let until = self.now + lasts;
        if kind == FaultKind::Cut {
            let other = NodeId((id.0 + 1 + (choice % (count as u64 - 1)) as usize) % count);
            let one_way = choice >> 32 & 1 == 0;
            self.cut(id, other, until);
            if !one_way {
                self.cut(other, id, until);
            }
            let arrow = if one_way { "to" } else { "and" };
            return Some(format!("the way from n{} {arrow} n{} is cut for {lasts:?}", id.0, other.0));
        }
        let side = |node: usize| choice >> node & 1 == 1;
        let all = (0..count).map(NodeId);
        let (one, other): (Vec<NodeId>, Vec<NodeId>) = match choice >> 32 & 3 {
            // One alone.
            0 => all.partition(|&node| node == id),
            // One hears both sides, which do not hear each other.
            1 => all.filter(|&node| node != id).partition(|node| side(node.0)),
            _ => all.partition(|node| side(node.0)),
        };
        let words = format!("{one:?} and {other:?} do not hear of each other for {lasts:?}");
        self.partition(&[one, other], until);
        self.counts.partitions += 1;
        Some(words)
    }

    pub(super) fn strike_disk(&mut self, kind: FaultKind, id: NodeId, share: u32) -> Option<String> {
        let now = self.now;
        let stall = part(self.options.faults.stall_max, share);
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return None;
        }
        match kind {
            FaultKind::FailedSync => {
                node.disk.set_sync_mode(SyncMode::Failing);
                node.disk_fails = true;
                node.cache_lies = true;
                Some(format!("n{}'s disk fails to synchronise", id.0))
            }
            FaultKind::Full => {
                let room = u64::from(share) % 4096;
                let used = node.disk.used();
                node.disk.set_capacity(used + room);
                node.disk_fails = true;
                let until = now + Duration::from_millis(200) + part(Duration::from_secs(4), share);
                self.schedule(until, Event::Room { node: id });
                Some(format!("n{}'s disk has {room} bytes left", id.0))
            }
            _ => {
                node.stalled_until = now + stall;
                Some(format!("n{}'s disk stalls for {stall:?}", id.0))
            }
        }
    }

    fn strike_link(&mut self, kind: FaultKind, share: u32, choice: u64) -> Result<Option<String>, Violation> {
        let open: Vec<LinkId> =
            self.links.iter().filter(|(_, state)| can_strike(kind, state)).map(|(&id, _)| id).collect();
        if open.is_empty() {
            return Ok(None);
        }
        let id = open[(choice % open.len() as u64) as usize];
        let hold = part(self.options.faults.hold_max, share);
        let until = self.now + hold;
        let ends: &[End] = match choice >> 32 & 3 {
            0 => &[End::Acceptor],
            1 => &[End::Dialer],
            _ => &[End::Acceptor, End::Dialer],
        };
        let state = self.links.get_mut(&id).expect("just listed");
        let words = match kind {
            FaultKind::HalfOpen => {
                for &end in ends {
                    state.link.silence(end);
                }
                if state.is_between_servers() {
                    // Both operating systems get tired of sending again.
                    for end in [End::Acceptor, End::Dialer] {
                        let at = self.now + SILENCE_MIN + part(SILENCE_MORE, share);
                        self.schedule(at, Event::GiveUp { link: id, to: end });
                    }
                }
                format!("link {} falls silent towards {ends:?}", id.0)
            }
            FaultKind::Hold => {
                for &end in ends {
                    let state = self.links.get_mut(&id).expect("just listed");
                    for at in state.link.hold(end, until) {
                        self.schedule(at, Event::Arrive { link: id, to: end });
                    }
                }
                format!("link {} holds back for {hold:?} towards {ends:?}", id.0)
            }
            FaultKind::Reset => {
                for end in [End::Acceptor, End::Dialer] {
                    let at = self.now + self.latency();
                    self.schedule(at, Event::Close { link: id, to: end });
                }
                format!("link {} is reset", id.0)
            }
            _ => {
                self.set_reads(id, End::Dialer, false)?;
                self.schedule(until, Event::ReadAgain { link: id });
                format!("nothing is read from link {} for {hold:?}", id.0)
            }
        };
        Ok(Some(words))
    }

    /// Starts a process on a node again, some time after the last one ended.
    pub(super) fn schedule_restart(&mut self, id: NodeId) {
        let max = if self.healed { Duration::from_millis(100) } else { self.options.faults.restart_max };
        let node = &mut self.nodes[id.0];
        let delay = node.rng.duration(Duration::from_micros(100), max.max(Duration::from_millis(1)));
        let generation = node.generation;
        self.schedule(self.now + delay, Event::Start { node: id, generation });
    }

    /// Ends what is wrong with a node.
    pub(super) fn heal_node(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id.0];
        node.disk.set_capacity(u64::MAX);
        node.disk.set_sync_mode(SyncMode::Honest);
        node.stalled_until = node.stalled_until.min(now);
        if node.is_down() {
            self.schedule_restart(id);
        }
    }

    fn rng(&mut self, kind: FaultKind) -> &mut Rng {
        self.fault_rngs.get_mut(&kind).expect("every kind has one")
    }
}

/// Whether a fault of this kind can strike this link.
const fn can_strike(kind: FaultKind, state: &LinkState) -> bool {
    // Servers do not read slowly for a while: for them that is the same as links that hold back.
    state.is_open() && !(matches!(kind, FaultKind::SlowReader) && state.is_between_servers())
}

/// `share` millionths of a duration.
pub(super) fn part(whole: Duration, share: u32) -> Duration {
    Duration::from_nanos((whole.as_nanos() * u128::from(share) / 1_000_000) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_follow_the_place_in_the_list() {
        for (index, &kind) in FaultKind::ALL.iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?}");
        }
    }
}
