//! What each kind of fault does, and to whom: one function each. What it strikes follows from the numbers that it drew
//! and from what there is.

use std::time::Duration;

use zabra_core::server::Role;

use super::net::LinkState;
use super::{Event, World};
use crate::check::Violation;
use crate::disk::SyncMode;
use crate::ending::Crash;
use crate::fault::{Drawn, FaultKind, Harm, Names, Way};
use crate::link::{End, LinkId};
use crate::node::Life;
use crate::places::{NodeId, Party};
use crate::seed::fnv;

/// How long an operating system goes on sending into silence, at least, and at most beyond that.
const SILENCE_MIN: Duration = Duration::from_secs(3);
const SILENCE_MORE: Duration = Duration::from_secs(12);

/// How long a disk is full, at least, and at most beyond that.
const FULL_MIN: Duration = Duration::from_millis(200);
const FULL_MORE: Duration = Duration::from_secs(4);
/// A full disk has less room than this.
const ROOM_MAX: u64 = 4096;

/// In so many millionths of all blackouts every node goes down.
const ALL_DOWN: u32 = 300_000;

const BOTH_ENDS: [End; 2] = [End::Acceptor, End::Dialer];

impl World {
    /// What goes wrong when it is a kind's turn.
    pub(super) fn strike_with(&mut self, kind: FaultKind, drawn: Drawn) -> Result<Option<Harm>, Violation> {
        Ok(match kind {
            FaultKind::Blackout => self.black_out(drawn),
            FaultKind::ClockStep => self.step_clock(drawn),
            FaultKind::Cut => self.cut_at_random(drawn),
            FaultKind::FailedSync => self.fail_syncs(drawn),
            FaultKind::Full => self.fill_disk(drawn),
            FaultKind::HalfOpen => self.silence_link(drawn),
            FaultKind::Hold => self.hold_link(drawn),
            FaultKind::Kill => self.strike_down(vec![drawn.node], Crash::Killed),
            FaultKind::Moment => unreachable!("it is never scheduled by itself"),
            FaultKind::Partition => self.split(drawn),
            FaultKind::Pause => self.freeze(drawn),
            FaultKind::Power => self.strike_down(vec![drawn.node], Crash::Unpowered),
            FaultKind::Reconfig => self.change_members(drawn),
            FaultKind::Reset => self.reset_link(drawn),
            FaultKind::Rot => Some(self.rot(drawn)),
            FaultKind::SlowReader => self.slow_a_reader(drawn)?,
            FaultKind::Stall => self.stall_disk(drawn),
            FaultKind::Stop => self.ask_to_stop(drawn),
            FaultKind::Wipe => Some(self.wipe(drawn)),
        })
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

    /// All nodes, or some of them, go down at the same instant; each comes back in its own time.
    fn black_out(&mut self, Drawn { share, choice, .. }: Drawn) -> Option<Harm> {
        self.counts.blackouts += 1;
        let crash = if choice & 3 == 0 { Crash::Killed } else { Crash::Unpowered };
        let all = share < ALL_DOWN;
        let chosen = |node: &NodeId| all || choice >> (8 + node.0) & 3 != 0;
        let works = |node: &NodeId| !self.nodes[node.0].is_down();
        self.strike_down((0..self.nodes.len()).map(NodeId).filter(chosen).filter(works).collect(), crash)
    }

    fn ask_to_stop(&mut self, Drawn { node: id, .. }: Drawn) -> Option<Harm> {
        // Who has not come to serve ends on that signal as on any other.
        if !self.nodes[id.0].is_up() {
            return None;
        }
        self.stop(id);
        Harm::to_node(FaultKind::Stop, id, Duration::ZERO, format!("{id} is asked to stop"))
    }

    /// A process does nothing for a while, and then sees all that happened at once.
    pub(super) fn freeze(&mut self, drawn: Drawn) -> Option<Harm> {
        let (id, pause) = (drawn.node, drawn.part(self.options.faults.pause_max));
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return None;
        }
        // Who is frozen twice is so until both are over: its timers were put off to the end of the first.
        node.paused_until = node.paused_until.max(self.now + pause);
        Harm::to_node(FaultKind::Pause, id, pause, format!("{id} is frozen for {pause:?}"))
    }

    fn step_clock(&mut self, Drawn { node: id, choice, .. }: Drawn) -> Option<Harm> {
        let step_max = self.options.clock.wall_ms_max;
        let step = (choice % (step_max * 2 + 1)) as i64 - step_max as i64;
        let node = &mut self.nodes[id.0];
        node.shows(self.now);
        node.clock.step_wall(step);
        node.shows(self.now);
        let words = format!("{id}'s wall clock is stepped by {step} ms");
        Harm::to_node(FaultKind::ClockStep, id, Duration::ZERO, words)
    }

    /// The way between two nodes is cut for a while, in one direction or both.
    fn cut_at_random(&mut self, drawn: Drawn) -> Option<Harm> {
        let Drawn { node: id, choice, .. } = drawn;
        let count = self.nodes.len();
        if count < 2 {
            return None;
        }
        let lasts = drawn.part(self.options.faults.cut_max);
        let until = self.now + lasts;
        let other = NodeId((id.0 + 1 + (choice % (count as u64 - 1)) as usize) % count);
        let one_way = choice >> 32 & 1 == 0;
        self.cut(id, other, until);
        if !one_way {
            self.cut(other, id, until);
        }
        let arrow = if one_way { "to" } else { "and" };
        let words = format!("the way from {id} {arrow} {other} is cut for {lasts:?}");
        Some(Harm::to_all(FaultKind::Cut, vec![Party::Node(id), Party::Node(other)], lasts, words))
    }

    /// All nodes are in two groups that do not hear of each other for a while.
    fn split(&mut self, drawn: Drawn) -> Option<Harm> {
        let Drawn { node: id, choice, .. } = drawn;
        let count = self.nodes.len();
        if count < 2 {
            return None;
        }
        let lasts = drawn.part(self.options.faults.cut_max);
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
        self.partition(&[one, other], self.now + lasts);
        self.counts.partitions += 1;
        Some(Harm::to_all(FaultKind::Partition, to, lasts, words))
    }

    fn fail_syncs(&mut self, Drawn { node: id, .. }: Drawn) -> Option<Harm> {
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return None;
        }
        node.disk.set_sync_mode(SyncMode::Failing);
        node.disk_fails = true;
        node.cache_lies = true;
        Harm::to_node(FaultKind::FailedSync, id, Duration::ZERO, format!("{id}'s disk fails to synchronise"))
    }

    /// A disk has hardly any room left for a while.
    fn fill_disk(&mut self, drawn: Drawn) -> Option<Harm> {
        let id = drawn.node;
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return None;
        }
        let room = u64::from(drawn.share) % ROOM_MAX;
        let used = node.disk.used();
        node.disk.set_capacity(used + room);
        node.disk_fails = true;
        let lasts = FULL_MIN + drawn.part(FULL_MORE);
        self.schedule(self.now + lasts, Event::Room { node: id });
        Harm::to_node(FaultKind::Full, id, lasts, format!("{id}'s disk has {room} bytes left"))
    }

    /// A disk does nothing for a while.
    pub(super) fn stall_disk(&mut self, drawn: Drawn) -> Option<Harm> {
        let (id, stall) = (drawn.node, drawn.part(self.options.faults.stall_max));
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return None;
        }
        node.stalled_until = self.now + stall;
        Harm::to_node(FaultKind::Stall, id, stall, format!("{id}'s disk stalls for {stall:?}"))
    }

    /// A link falls silent for ever, in one direction or both.
    fn silence_link(&mut self, drawn: Drawn) -> Option<Harm> {
        let (id, to) = self.struck_link(drawn.choice, |_| true)?;
        let ends = ends_of(drawn.choice);
        let state = self.links.get_mut(id).expect("just listed");
        for &end in ends {
            state.link.silence(end);
        }
        if state.is_between_servers() {
            // Both operating systems get tired of sending again.
            for end in BOTH_ENDS {
                let at = self.now + SILENCE_MIN + drawn.part(SILENCE_MORE);
                self.schedule(at, Event::GiveUp { link: id, to: end });
            }
        }
        let words = format!("{} falls silent towards {ends:?}", Way(id, &to));
        Some(Harm::to_all(FaultKind::HalfOpen, to, Duration::ZERO, words))
    }

    /// A link holds everything back for a while, in one direction or both.
    fn hold_link(&mut self, drawn: Drawn) -> Option<Harm> {
        let (id, to) = self.struck_link(drawn.choice, |_| true)?;
        let lasts = drawn.part(self.options.faults.hold_max);
        let ends = ends_of(drawn.choice);
        for &end in ends {
            let state = self.links.get_mut(id).expect("just listed");
            for at in state.link.hold(end, self.now + lasts) {
                self.schedule(at, Event::Arrive { link: id, to: end });
            }
        }
        let words = format!("{} holds back for {lasts:?} towards {ends:?}", Way(id, &to));
        Some(Harm::to_all(FaultKind::Hold, to, lasts, words))
    }

    fn reset_link(&mut self, drawn: Drawn) -> Option<Harm> {
        let (id, to) = self.struck_link(drawn.choice, |_| true)?;
        for end in BOTH_ENDS {
            let at = self.now + self.latency();
            self.schedule(at, Event::Close { link: id, to: end });
        }
        let words = format!("{} is reset", Way(id, &to));
        Some(Harm::to_all(FaultKind::Reset, to, Duration::ZERO, words))
    }

    /// A client does not read for a while. Servers do not do that: for them it is the same as a link that holds back.
    fn slow_a_reader(&mut self, drawn: Drawn) -> Result<Option<Harm>, Violation> {
        let is_of_client = |state: &LinkState| !state.is_between_servers();
        let Some((id, to)) = self.struck_link(drawn.choice, is_of_client) else { return Ok(None) };
        let lasts = drawn.part(self.options.faults.hold_max);
        self.set_reads(id, End::Dialer, false)?;
        self.schedule(self.now + lasts, Event::ReadAgain { link: id });
        let words = format!("nothing is read from {} for {lasts:?}", Way(id, &to));
        Ok(Some(Harm::to_all(FaultKind::SlowReader, to, lasts, words)))
    }

    /// The link that a draw stands for, of those that can be struck, and whom it connects. Not the place in a list,
    /// which any other link would shift: the same draw strikes the same two ends as long as there is a link between
    /// them.
    fn struck_link(&self, choice: u64, can_be: impl Fn(&LinkState) -> bool) -> Option<(LinkId, Vec<Party>)> {
        let open = self.links.iter().filter(|(_, state)| state.is_open() && can_be(state));
        let (id, state) = open.max_by_key(|(_, state)| affinity(choice, state))?;
        Some((id, vec![state.link.dialer, state.link.acceptor]))
    }

    /// A server that says it leads; of several, the one that has for longest.
    pub(super) fn leading(&self) -> Option<NodeId> {
        let leads = |node: &NodeId| self.nodes[node.0].standing.is_some_and(|it| it.role == Role::Leading);
        let epoch = |node: &NodeId| self.nodes[node.0].standing.map(|it| it.epoch);
        (0..self.nodes.len()).map(NodeId).filter(leads).min_by_key(epoch)
    }
}

/// Which directions of a link a draw strikes: either, or in two of four cases both.
const fn ends_of(choice: u64) -> &'static [End] {
    match choice >> 32 & 3 {
        0 => &[End::Acceptor],
        1 => &[End::Dialer],
        _ => &BOTH_ENDS,
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
