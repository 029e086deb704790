//! Misfortune: when it comes, whom it strikes, and how it ends.
//!
//! Every kind draws from a stream of its own, and every fault draws the same, whether it strikes or not. So a run that
//! leaves some out has all the others at the same times, with the same targets; see [`crate::omissions`].

use std::time::Duration;

use zabra_core::server::Role;

use super::net::LinkState;
use super::{Event, World};
use crate::check::Violation;
use crate::disk::SyncMode;
use crate::ending::Crash;
use crate::fault::{Drawn, Fault, FaultKind, Harm, Names, Struck, Way};
use crate::history::Observed;
use crate::link::End;
use crate::node::Life;
use crate::places::{NodeId, Party};
use crate::seed::{Rng, fnv};

/// How long an operating system goes on sending into silence, at least, and at most beyond that.
const SILENCE_MIN: Duration = Duration::from_secs(3);
const SILENCE_MORE: Duration = Duration::from_secs(12);

/// Odds per million that a fault of one node strikes the leader, where there is one.
const AT_LEADER: u32 = 400_000;

/// Where the faults of one kind come from.
#[derive(Clone, Debug)]
pub(super) struct FaultStream {
    pub(super) rng: Rng,
    /// How many there were, those that were left out among them.
    pub(super) count: u32,
}

impl FaultStream {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { rng, count: 0 }
    }
}

impl World {
    /// Schedules the next fault of a kind, if it ever comes.
    pub(super) fn schedule_fault(&mut self, kind: FaultKind) {
        if let Some(mean) = self.options.faults.mean(kind) {
            let pause = self.faults(kind).rng.exponential(mean);
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
        let FaultStream { rng, count: number } = self.faults(kind);
        *number += 1;
        let fault = Fault { kind, number: *number };
        let node = NodeId(rng.index(count));
        let (share, choice, at_leader) = (rng.below(1_000_000) as u32, rng.bits(), rng.chance(AT_LEADER));
        if self.options.omissions.omits(fault) {
            return Ok(());
        }
        let drawn = (node, share, choice);
        let node = self.leading().filter(|_| at_leader).unwrap_or(node);
        let harm = match kind {
            FaultKind::Blackout => self.black_out(share, choice),
            FaultKind::Moment => unreachable!("it is never scheduled by itself"),
            FaultKind::Cut | FaultKind::Partition => self.strike_ways(kind, node, share, choice),
            FaultKind::ClockStep | FaultKind::Pause => self.strike_process(kind, node, share, choice),
            FaultKind::FailedSync | FaultKind::Full | FaultKind::Stall => self.strike_disk(kind, node, share),
            FaultKind::HalfOpen | FaultKind::Hold | FaultKind::Reset | FaultKind::SlowReader => {
                self.strike_link(kind, share, choice)?
            }
            FaultKind::Kill => self.strike_down(vec![node], Crash::Killed),
            FaultKind::Power => self.strike_down(vec![node], Crash::Unpowered),
            FaultKind::Stop => {
                self.stop(node);
                Harm::to_node(kind, node, Duration::ZERO, format!("{node} is asked to stop"))
            }
        };
        self.strike(fault, drawn, harm)
    }

    /// A fault has come, and done what it does; but processes end only now, when that was told.
    pub(super) fn strike(&mut self, fault: Fault, drawn: Drawn, harm: Option<Harm>) -> Result<(), Violation> {
        let at = self.now;
        if let (Some(harm), Some(picture)) = (&harm, self.picture()) {
            picture.fault(at, fault, harm);
        }
        self.struck.push(Struck { fault, at, drawn, harm: harm.clone() });
        let Some(Harm { words, to, down, .. }) = harm else { return Ok(()) };
        self.observe(Observed::Fault { fault: Some(fault), words })?;
        let Some(crash) = down else { return Ok(()) };
        for party in to {
            if let Party::Node(node) = party {
                self.crash(node, crash)?;
                self.schedule_restart(node);
            }
        }
        Ok(())
    }

    /// Processes end, if there are any.
    pub(super) fn strike_down(&self, nodes: Vec<NodeId>, crash: Crash) -> Option<Harm> {
        let there = |id: &NodeId| !matches!(self.nodes[id.0].life, Life::Down);
        let nodes: Vec<NodeId> = nodes.into_iter().filter(there).collect();
        let (kind, what) = match crash {
            Crash::Killed => (FaultKind::Kill, "no process"),
            Crash::Unpowered => (FaultKind::Power, "no power"),
        };
        let words = format!("there is {what} any more on {}", Names(&nodes));
        let to = nodes.iter().map(|&node| Party::Node(node)).collect();
        (!nodes.is_empty()).then_some(Harm { kind, words, to, lasts: Duration::ZERO, down: Some(crash) })
    }

    pub(super) fn strike_process(
        &mut self,
        kind: FaultKind,
        id: NodeId,
        share: u32,
        choice: u64,
    ) -> Option<Harm> {
        let now = self.now;
        let pause = part(self.options.faults.pause_max, share);
        let step_max = self.options.clock.wall_ms_max;
        let node = &mut self.nodes[id.0];
        if kind == FaultKind::Pause {
            if !node.is_up() {
                return None;
            }
            // Who is frozen twice is so until both are over: its timers were put off to the end of the first.
            node.paused_until = node.paused_until.max(now + pause);
            return Harm::to_node(kind, id, pause, format!("{id} is frozen for {pause:?}"));
        }
        let step = (choice % (step_max * 2 + 1)) as i64 - step_max as i64;
        node.clock.step_wall(step);
        Harm::to_node(kind, id, Duration::ZERO, format!("{id}'s wall clock is stepped by {step} ms"))
    }

    /// A server that says it leads; of several, the one that has for longest.
    fn leading(&self) -> Option<NodeId> {
        let leads = |node: &NodeId| self.nodes[node.0].standing.is_some_and(|it| it.role == Role::Leading);
        let epoch = |node: &NodeId| self.nodes[node.0].standing.map(|it| it.epoch);
        (0..self.nodes.len()).map(NodeId).filter(leads).min_by_key(epoch)
    }

    /// All nodes, or some of them, go down at the same instant; each comes back in its own time.
    fn black_out(&mut self, share: u32, choice: u64) -> Option<Harm> {
        self.counts.blackouts += 1;
        let crash = if choice & 3 == 0 { Crash::Killed } else { Crash::Unpowered };
        let all = share < 300_000;
        let chosen = |node: &NodeId| all || choice >> (8 + node.0) & 3 != 0;
        let works = |node: &NodeId| !self.nodes[node.0].is_down();
        self.strike_down((0..self.nodes.len()).map(NodeId).filter(chosen).filter(works).collect(), crash)
    }

    /// Two nodes, or all of them in two groups, do not hear of each other for a while.
    fn strike_ways(&mut self, kind: FaultKind, id: NodeId, share: u32, choice: u64) -> Option<Harm> {
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
            let words = format!("the way from {id} {arrow} {other} is cut for {lasts:?}");
            let to = vec![Party::Node(id), Party::Node(other)];
            return Some(Harm { kind, words, to, lasts, down: None });
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
        let words = format!("{} and {} do not hear of each other for {lasts:?}", Names(&one), Names(&other));
        let to = one.iter().chain(&other).map(|&node| Party::Node(node)).collect();
        self.partition(&[one, other], until);
        self.counts.partitions += 1;
        Some(Harm { kind, words, to, lasts, down: None })
    }

    pub(super) fn strike_disk(&mut self, kind: FaultKind, id: NodeId, share: u32) -> Option<Harm> {
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
                Harm::to_node(kind, id, Duration::ZERO, format!("{id}'s disk fails to synchronise"))
            }
            FaultKind::Full => {
                let room = u64::from(share) % 4096;
                let used = node.disk.used();
                node.disk.set_capacity(used + room);
                node.disk_fails = true;
                let lasts = Duration::from_millis(200) + part(Duration::from_secs(4), share);
                self.schedule(now + lasts, Event::Room { node: id });
                Harm::to_node(kind, id, lasts, format!("{id}'s disk has {room} bytes left"))
            }
            _ => {
                node.stalled_until = now + stall;
                Harm::to_node(kind, id, stall, format!("{id}'s disk stalls for {stall:?}"))
            }
        }
    }

    fn strike_link(&mut self, kind: FaultKind, share: u32, choice: u64) -> Result<Option<Harm>, Violation> {
        // Not the place in a list, which any other link would shift: the same draw strikes the same two ends as long
        // as there is a link between them.
        let open = self.links.iter().filter(|(_, state)| can_strike(kind, state));
        let Some(id) = open.max_by_key(|(_, state)| affinity(choice, state)).map(|(&id, _)| id) else {
            return Ok(None);
        };
        let hold = part(self.options.faults.hold_max, share);
        let until = self.now + hold;
        let ends: &[End] = match choice >> 32 & 3 {
            0 => &[End::Acceptor],
            1 => &[End::Dialer],
            _ => &[End::Acceptor, End::Dialer],
        };
        let state = self.links.get_mut(&id).expect("just listed");
        let to = vec![state.link.dialer, state.link.acceptor];
        let mut lasts = Duration::ZERO;
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
                format!("{} falls silent towards {ends:?}", Way(id, &to))
            }
            FaultKind::Hold => {
                for &end in ends {
                    let state = self.links.get_mut(&id).expect("just listed");
                    for at in state.link.hold(end, until) {
                        self.schedule(at, Event::Arrive { link: id, to: end });
                    }
                }
                lasts = hold;
                format!("{} holds back for {hold:?} towards {ends:?}", Way(id, &to))
            }
            FaultKind::Reset => {
                for end in [End::Acceptor, End::Dialer] {
                    let at = self.now + self.latency();
                    self.schedule(at, Event::Close { link: id, to: end });
                }
                format!("{} is reset", Way(id, &to))
            }
            _ => {
                self.set_reads(id, End::Dialer, false)?;
                self.schedule(until, Event::ReadAgain { link: id });
                lasts = hold;
                format!("nothing is read from {} for {hold:?}", Way(id, &to))
            }
        };
        Ok(Some(Harm { kind, words, to, lasts, down: None }))
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

    pub(super) fn faults(&mut self, kind: FaultKind) -> &mut FaultStream {
        self.fault_streams.get_mut(&kind).expect("every kind has one")
    }
}

/// How much a draw is for a link, compared with others.
fn affinity(choice: u64, state: &LinkState) -> u64 {
    let number = |party| match party {
        Party::Client(client) => (client.0 as u32) << 1,
        Party::Node(node) => (node.0 as u32) << 1 | 1,
    };
    let mut key = [0; 17];
    key[..8].copy_from_slice(&choice.to_le_bytes());
    key[8..12].copy_from_slice(&number(state.link.dialer).to_le_bytes());
    key[12..16].copy_from_slice(&number(state.link.acceptor).to_le_bytes());
    key[16] = state.port().map_or(0, |port| port as u8 + 1);
    fnv(&key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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
