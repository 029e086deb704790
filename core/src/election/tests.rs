//! Whole elections among machines in memory: named situations, and thousands of random ones.
//!
//! A [`Cluster`] has an [`Election`] for each server and carries their notifications, in order from each server to each
//! other one, between pairs in any order that the generator likes. Time passes only while no notification is under way, so
//! what is decided at time zero needed no wait.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use super::machine::{Election, ElectionOutput, OwnHistory};
use super::view::View;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{Member, MemberRole, Membership, Notification, PeerState, ServerId, Vote, Zxid};

/// Servers 1 to `voters` vote, `observers` more do not.
fn membership(voters: i64, observers: i64) -> Membership {
    let member = |id: i64| {
        let role = if id <= voters { MemberRole::Participant } else { MemberRole::Observer };
        (ServerId(id), Member { quorum: vec![], election: vec![], client: None, role })
    };
    Membership::majority(0, (1..=voters + observers).map(member).collect())
}

struct Node {
    election: Election,
    history: OwnHistory,
    alive: bool,
    decided: Option<(Vote, PeerState)>,
    decided_at: Instant,
    doubted: bool,
}

struct Cluster {
    membership: Membership,
    nodes: BTreeMap<ServerId, Node>,
    wires: BTreeMap<(ServerId, ServerId), VecDeque<Notification>>,
    cut: BTreeSet<(ServerId, ServerId)>,
    now: Instant,
    rng: ChaCha12Rng,
    /// Who decided on which leader in which round, ever.
    decisions: BTreeMap<i64, BTreeMap<ServerId, BTreeSet<ServerId>>>,
}

impl Cluster {
    fn new(voters: i64, observers: i64, seed: u64) -> Self {
        let membership = membership(voters, observers);
        let config = EnsembleConfig::new(membership.clone());
        let node = |&me: &ServerId| {
            let history = OwnHistory { last_zxid: Zxid(0x1_0000_0000 + me.0), current_epoch: 1 };
            let election = Election::new(me, &config);
            let decided_at = Instant::ZERO;
            (me, Node { election, history, alive: false, decided: None, decided_at, doubted: false })
        };
        Self {
            nodes: membership.members().keys().map(node).collect(),
            membership,
            wires: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Instant::ZERO,
            rng: ChaCha12Rng::seed_from_u64(seed),
            decisions: BTreeMap::new(),
        }
    }

    fn node(&mut self, id: i64) -> &mut Node {
        self.nodes.get_mut(&ServerId(id)).expect("a member")
    }

    fn ids(&self) -> Vec<ServerId> {
        self.nodes.keys().copied().collect()
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % u64::try_from(below).expect("small")) as usize
    }

    fn connected(&self, a: ServerId, b: ServerId) -> bool {
        let cut = self.cut.contains(&(a, b)) || self.cut.contains(&(b, a));
        a != b && self.nodes[&a].alive && self.nodes[&b].alive && !cut
    }

    /// Starts a process, and links it to those that run.
    fn start(&mut self, id: i64) {
        let config = EnsembleConfig::new(self.membership.clone());
        let me = ServerId(id);
        let node = self.node(id);
        node.election = Election::new(me, &config);
        node.alive = true;
        for other in self.ids() {
            if self.connected(me, other) {
                self.link(me, other, true);
            }
        }
        self.look(id);
    }

    fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id.0);
        }
    }

    /// Kills a process: what it sent may arrive, then its links go down.
    fn kill(&mut self, id: i64) {
        let me = ServerId(id);
        self.node(id).alive = false;
        for other in self.ids() {
            self.wires.remove(&(other, me));
            if other != me && self.nodes[&other].alive {
                self.link_end(other, me, false);
            }
        }
        self.node(id).decided = None;
    }

    fn link_end(&mut self, at: ServerId, to: ServerId, up: bool) {
        let now = self.now;
        self.nodes.get_mut(&at).expect("a member").election.set_reachable(now, to, up);
        self.drain(at);
    }

    fn link(&mut self, a: ServerId, b: ServerId, up: bool) {
        if !up {
            self.wires.remove(&(a, b));
            self.wires.remove(&(b, a));
        }
        self.link_end(a, b, up);
        self.link_end(b, a, up);
    }

    fn set_cut(&mut self, a: i64, b: i64, cut: bool) {
        let (a, b) = (ServerId(a), ServerId(b));
        let before = self.connected(a, b);
        if cut {
            self.cut.insert((a, b));
        } else {
            self.cut.remove(&(a, b));
            self.cut.remove(&(b, a));
        }
        if before != self.connected(a, b) {
            self.link(a, b, !cut);
        }
    }

    fn look(&mut self, id: i64) {
        let view = View::new(self.membership.clone(), None, Bytes::new());
        let now = self.now;
        let node = self.node(id);
        node.decided = None;
        node.doubted = false;
        let history = node.history;
        node.election.look(now, history, view);
        self.drain(ServerId(id));
    }

    fn drain(&mut self, at: ServerId) {
        let now = self.now;
        while let Some(output) = self.nodes.get_mut(&at).expect("a member").election.poll_output() {
            match output {
                ElectionOutput::Send { to, notification } => {
                    if self.connected(at, to) {
                        self.wires.entry((at, to)).or_default().push_back(notification);
                    }
                }
                ElectionOutput::Decided { vote, state } => {
                    let node = self.nodes.get_mut(&at).expect("a member");
                    node.decided = Some((vote, state));
                    node.decided_at = now;
                    let round = node.election.round();
                    self.decisions.entry(round).or_default().entry(vote.leader).or_default().insert(at);
                }
                ElectionOutput::Doubted => self.nodes.get_mut(&at).expect("a member").doubted = true,
                ElectionOutput::NewerConfig { .. } => panic!("all have one configuration"),
            }
        }
    }

    /// Delivers one notification, the first of some wire.
    fn deliver_one(&mut self) -> bool {
        let wires: Vec<_> =
            self.wires.iter().filter(|(_, wire)| !wire.is_empty()).map(|(&ends, _)| ends).collect();
        if wires.is_empty() {
            return false;
        }
        let (from, to) = wires[self.draw(wires.len())];
        self.deliver(from, to);
        true
    }

    fn deliver(&mut self, from: ServerId, to: ServerId) {
        let notification = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("under way");
        let now = self.now;
        self.nodes.get_mut(&to).expect("a member").election.on_notification(now, from, &notification);
        self.drain(to);
    }

    fn deliver_all(&mut self) {
        while self.deliver_one() {}
    }

    /// Lets time pass to the next time-out, if there is one before `until`.
    fn pass_time(&mut self, until: Instant) -> bool {
        let alive = self.nodes.values().filter(|node| node.alive);
        let Some(next) = alive.filter_map(|node| node.election.poll_timeout()).min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        for at in self.ids() {
            if self.nodes[&at].alive {
                let now = self.now;
                self.nodes.get_mut(&at).expect("a member").election.on_tick(now);
                self.drain(at);
            }
        }
        true
    }

    /// Runs until nothing is under way and nobody waits, or for `millis`.
    fn run(&mut self, millis: u64) {
        let until = Instant::from_millis(self.now.as_millis() + millis);
        loop {
            self.deliver_all();
            if !self.pass_time(until) {
                break;
            }
        }
    }

    fn expect(&mut self, leader: i64, servers: impl IntoIterator<Item = i64>) {
        for id in servers {
            let voter = self.membership.is_voter(ServerId(id));
            let (vote, state) =
                self.node(id).decided.unwrap_or_else(|| panic!("server {id} has not decided"));
            assert_eq!(vote.leader, ServerId(leader), "server {id}");
            let expected = match (id == leader, voter) {
                (true, _) => PeerState::Leading,
                (false, true) => PeerState::Following,
                (false, false) => PeerState::Observing,
            };
            assert_eq!(state, expected, "server {id}");
        }
    }

    /// At most one leader of each round has a quorum of voters that decided so.
    fn check_rounds(&self) {
        for (round, leaders) in &self.decisions {
            let elected: Vec<_> = leaders.iter().filter(|(_, by)| self.membership.has_quorum(by)).collect();
            assert!(elected.len() <= 1, "round {round}: {elected:?}");
        }
    }
}

/// PARITY `fle.order`, `fle.finalize`: however notifications overtake each other, all elect the best vote, in no time,
/// although nobody is missing only at the very end.
#[test]
fn all_connected() {
    for seed in 0..300 {
        for voters in 1..=5 {
            let mut cluster = Cluster::new(voters, 0, seed);
            let best =
                1 + i64::try_from(cluster.draw(usize::try_from(voters).expect("small"))).expect("small");
            cluster.node(best).history.current_epoch = 2;
            for id in cluster.ids() {
                cluster.node(id.0).alive = true;
            }
            cluster.start_all();
            cluster.deliver_all();
            cluster.expect(best, 1..=voters);
            assert_eq!(cluster.now, Instant::ZERO);
            cluster.check_rounds();
        }
    }
}

/// PARITY `fle.finalize`: the leader is killed; the others decide as soon as they have heard each other.
#[test]
fn killed_leader_is_replaced_without_a_wait() {
    for seed in 0..300 {
        let mut cluster = Cluster::new(5, 0, seed);
        cluster.start_all();
        cluster.run(1000);
        let before = cluster.nodes[&ServerId(1)].decided.expect("decided").0.leader;
        let now = cluster.now;
        cluster.kill(before.0);
        let survivors: Vec<i64> = (1..=5).filter(|&id| id != before.0).collect();
        let best = *survivors.last().expect("four");
        // They notice one after the other, in any order.
        let mut left = survivors.clone();
        while !left.is_empty() {
            let at = cluster.draw(left.len());
            cluster.look(left.remove(at));
            for _ in 0..cluster.draw(6) {
                cluster.deliver_one();
            }
        }
        cluster.deliver_all();
        // Whoever asked before the others had noticed was told of the dead leader, and asks again.
        cluster.expect(best, survivors);
        assert_eq!(cluster.now, now, "seed {seed}");
        cluster.check_rounds();
    }
}
