//! Whole elections among machines in memory: named situations, and thousands of random ones.
//!
//! A [`Cluster`] has an [`Election`] for each server and carries their notifications, in order from each server to
//! each other one, between pairs in any order that the generator likes. Time passes only while no notification is
//! under way, so what is decided at time zero needed no wait.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use super::machine::{Election, ElectionOutput};
use super::view::View;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{
    Member, MemberRole, Membership, Notification, OwnHistory, PeerState, ServerId, Vote, Zxid,
};

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
}

struct Cluster {
    membership: Membership,
    nodes: BTreeMap<ServerId, Node>,
    wires: BTreeMap<(ServerId, ServerId), VecDeque<Notification>>,
    cut: BTreeSet<(ServerId, ServerId)>,
    now: Instant,
    rng: ChaCha12Rng,
}

impl Cluster {
    fn new(voters: i64, observers: i64, seed: u64) -> Self {
        let membership = membership(voters, observers);
        let config = EnsembleConfig::new(membership.clone());
        let node = |&me: &ServerId| {
            let history = history(0x1_0000_0000 + me.0, 1);
            let election = Election::new(me, &config);
            (me, Node { election, history, alive: false, decided: None })
        };
        Self {
            nodes: membership.members().keys().map(node).collect(),
            membership,
            wires: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Instant::ZERO,
            rng: ChaCha12Rng::seed_from_u64(seed),
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

    /// Kills a process; its links go down.
    fn kill(&mut self, id: i64) {
        let me = ServerId(id);
        self.node(id).alive = false;
        for other in self.ids() {
            self.wires.remove(&(other, me));
            self.wires.remove(&(me, other));
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
        let history = node.history;
        node.election.look(now, history, view);
        self.drain(ServerId(id));
    }

    fn drain(&mut self, at: ServerId) {
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
                    if state == PeerState::Leading {
                        self.check_leader(at);
                    }
                }
                // Who leads or follows in vain is found out at the end.
                ElectionOutput::Doubted => {}
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

    /// Runs for `millis`.
    fn run(&mut self, millis: u64) {
        let until = Instant::from_millis(self.now.as_millis() + millis);
        loop {
            self.deliver_all();
            if !self.pass_time(until) {
                break;
            }
        }
        self.now = until;
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

    /// Whoever decides to lead has a history that nobody in some quorum is ahead of, so it has all that was
    /// committed.
    fn check_leader(&self, leader: ServerId) {
        let rank =
            |id: ServerId| (self.nodes[&id].history.current_epoch, self.nodes[&id].history.last_zxid, id);
        let behind = |&id: &ServerId| rank(id) <= rank(leader);
        let behind: BTreeSet<ServerId> = self.nodes.keys().copied().filter(behind).collect();
        assert!(
            self.membership.has_quorum(&behind),
            "server {leader} leads, and only {behind:?} are not ahead"
        );
    }

    /// At most one leader of each round has a quorum of voters that are settled on it.
    fn check_rounds(&self) {
        let mut settled: BTreeMap<(i64, ServerId), BTreeSet<ServerId>> = BTreeMap::new();
        for (&id, node) in &self.nodes {
            if let Some((vote, _)) = node.decided {
                settled.entry((node.election.round(), vote.leader)).or_default().insert(id);
            }
        }
        let mut elected = BTreeMap::new();
        for ((round, leader), by) in settled {
            if self.membership.has_quorum(&by) {
                assert_eq!(elected.insert(round, leader), None, "two leaders of round {round}");
            }
        }
    }
}

/// PARITY `fle.order`, `fle.finalize`: however notifications overtake each other, all elect the best vote, in no
/// time, although nobody is missing only at the very end.
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

/// A server by itself, whose notifications a test writes.
fn alone(me: i64, voters: i64) -> (Election, View) {
    let membership = membership(voters, 1);
    let election = Election::new(ServerId(me), &EnsembleConfig::new(membership.clone()));
    (election, View::new(membership, None, Bytes::from_static(b"version=0")))
}

fn history(zxid: i64, current_epoch: i64) -> OwnHistory {
    let last_zxid = Zxid(zxid);
    OwnHistory { accepted_epoch: current_epoch, current_epoch, last_zxid, has_data: true }
}

fn says(state: PeerState, leader: i64, zxid: i64, peer_epoch: i64, election_epoch: i64) -> Notification {
    let vote = Vote { leader: ServerId(leader), zxid: Zxid(zxid), peer_epoch };
    Notification { state, vote, election_epoch, version: 2, config: Bytes::new() }
}

fn outputs(election: &mut Election) -> Vec<ElectionOutput> {
    core::iter::from_fn(|| election.poll_output()).collect()
}

fn sent_to(outputs: &[ElectionOutput], server: i64) -> Vec<Notification> {
    let sent = |output: &ElectionOutput| match output {
        ElectionOutput::Send { to, notification } if *to == ServerId(server) => Some(notification.clone()),
        ElectionOutput::Send { .. }
        | ElectionOutput::Decided { .. }
        | ElectionOutput::Doubted
        | ElectionOutput::NewerConfig { .. } => None,
    };
    outputs.iter().filter_map(sent).collect()
}

const AT_0: Instant = Instant::ZERO;

/// PARITY `fle.finalize`: a voter that could still send a better vote is waited for, 200 ms and no longer.
#[test]
fn fle_finalize() {
    let mut cluster = Cluster::new(3, 0, 1);
    // Server 3 runs and says nothing.
    cluster.node(3).alive = true;
    cluster.start(1);
    cluster.start(2);
    cluster.run(199);
    assert_eq!(cluster.nodes[&ServerId(2)].decided, None);
    cluster.run(1);
    cluster.expect(2, 1..=2);
    // Who cannot be heard is not waited for.
    let mut cluster = Cluster::new(3, 0, 1);
    cluster.start(1);
    cluster.start(2);
    cluster.deliver_all();
    cluster.expect(2, 1..=2);
    // And the wait ends when a link goes down in the middle of it.
    let mut cluster = Cluster::new(3, 0, 1);
    cluster.node(3).alive = true;
    cluster.start(1);
    cluster.start(2);
    cluster.run(100);
    cluster.kill(3);
    cluster.deliver_all();
    cluster.expect(2, 1..=2);
    assert!(cluster.now < Instant::from_millis(200));
}

/// ZOOKEEPER-975 and PARITY `fle.joinrunning`: the server with the highest id and the longest history joins an
/// ensemble that has a leader, and follows; also after a restart, and when the leader has gone through several
/// elections.
#[test]
fn zookeeper_975() {
    for seed in 0..200 {
        let mut cluster = Cluster::new(5, 2, seed);
        for id in [1, 2, 3] {
            cluster.start(id);
        }
        cluster.run(1000);
        cluster.expect(3, 1..=3);
        for id in 1..=3 {
            cluster.node(id).election.on_epoch(2);
            cluster.drain(ServerId(id));
        }
        for id in [5, 4, 6, 7] {
            cluster.start(id);
            cluster.run(1000);
            cluster.expect(3, [id]);
        }
        cluster.kill(5);
        cluster.start(5);
        cluster.deliver_all();
        cluster.expect(3, 1..=7);
        cluster.check_rounds();
    }
}

/// ZOOKEEPER-2959, 1294: observers complete no quorum, however many they are and whatever they say.
#[test]
fn zookeeper_2959_observers_do_not_count() {
    let mut cluster = Cluster::new(3, 4, 1);
    for id in [1, 4, 5, 6, 7] {
        cluster.start(id);
    }
    cluster.run(5000);
    for id in [1, 4, 5, 6, 7] {
        assert_eq!(cluster.node(id).decided, None, "server {id}");
    }
    let (mut election, view) = alone(1, 3);
    election.look(AT_0, history(5, 1), view);
    for state in [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing] {
        election.on_notification(AT_0, ServerId(4), &says(state, 1, 5, 1, 1));
        assert_eq!(election.state(), PeerState::Looking);
    }
    // They learn of the decision without having to ask again.
    cluster.start(2);
    cluster.deliver_all();
    cluster.expect(2, [1, 2, 4, 5, 6, 7]);
}

/// ZOOKEEPER-1514: a server that looks hears that a quorum follows it, from an earlier round. It must not fall back
/// into that round; in its own it may lead.
#[test]
fn zookeeper_1514() {
    for (round, leads) in [(1, false), (2, true), (3, false)] {
        let (mut election, view) = alone(3, 3);
        election.look(AT_0, history(5, 1), view.clone());
        election.look(AT_0, history(5, 1), view);
        assert_eq!(election.round(), 2);
        for from in [1, 2] {
            election.on_notification(AT_0, ServerId(from), &says(PeerState::Following, 3, 5, 1, round));
        }
        assert_eq!(election.state() == PeerState::Leading, leads, "told of round {round}");
        assert_eq!(election.round(), 2);
    }
}

/// ZOOKEEPER-1732, 1805, 1818: servers that run name different rounds and zxids, for they joined at different
/// times. One more can join all the same, once they name one epoch; and learns of the epoch without asking again.
#[test]
fn zookeeper_1732_join() {
    let (mut election, view) = alone(1, 3);
    election.look(AT_0, history(5, 1), view);
    outputs(&mut election);
    election.on_notification(AT_0, ServerId(3), &says(PeerState::Leading, 3, 9, 2, 7));
    election.on_notification(AT_0, ServerId(2), &says(PeerState::Following, 3, 8, 1, 4));
    assert_eq!(election.state(), PeerState::Looking, "of different epochs");
    election.on_notification(AT_0, ServerId(2), &says(PeerState::Following, 3, 8, 2, 4));
    assert_eq!(election.state(), PeerState::Following);

    // What the leader was elected for, it says itself.
    let decided = outputs(&mut election).into_iter().find_map(|output| match output {
        ElectionOutput::Decided { vote, .. } => Some(vote),
        _ => None,
    });
    assert_eq!(decided, Some(Vote { leader: ServerId(3), zxid: Zxid(9), peer_epoch: 2 }));

    // The other side: an answer before the epoch is known, and another when it is.
    let (mut election, view) = alone(1, 1);
    election.look(AT_0, history(5, 1), view);
    assert_eq!(election.state(), PeerState::Leading);
    outputs(&mut election);
    election.on_notification(AT_0, ServerId(2), &says(PeerState::Looking, i64::MIN, i64::MIN, i64::MIN, 1));
    election.on_epoch(2);
    election.on_epoch(2);
    let answers = sent_to(&outputs(&mut election), 2);
    assert_eq!(answers.iter().map(|answer| answer.vote.peer_epoch).collect::<Vec<_>>(), [1, 2]);
}

/// ZOOKEEPER-3109: a voter turns away right after its vote was counted. The winner learns that its quorum is lost,
/// and so does a follower whose leader looks again.
#[test]
fn zookeeper_3109() {
    let (mut election, view) = alone(2, 3);
    election.look(AT_0, history(5, 1), view.clone());
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 2, 5, 1, 1));
    assert_eq!(election.state(), PeerState::Leading);
    outputs(&mut election);
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 2, 5, 1, 1));
    assert!(!outputs(&mut election).contains(&ElectionOutput::Doubted), "it said the same again");
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 3, 9, 1, 1));
    assert!(outputs(&mut election).contains(&ElectionOutput::Doubted));

    for (leader, round, doubted) in [(2, 1, false), (3, 1, true), (2, 2, true), (2, 0, false)] {
        let (mut election, view) = alone(1, 3);
        election.set_reachable(AT_0, ServerId(2), true);
        election.look(AT_0, history(5, 1), view);
        election.on_notification(AT_0, ServerId(2), &says(PeerState::Looking, 2, 5, 1, 1));
        assert_eq!(election.state(), PeerState::Following);
        election.on_notification(AT_0, ServerId(2), &says(PeerState::Looking, leader, 9, 1, round));
        assert_eq!(outputs(&mut election).contains(&ElectionOutput::Doubted), doubted, "{leader} in {round}");
    }
}

/// PARITY `fle.checkleader`: followers that have not noticed the death of their leader elect nobody.
#[test]
fn fle_checkleader() {
    let (mut election, view) = alone(1, 5);
    election.look(AT_0, history(5, 1), view);
    for from in [2, 3, 4] {
        election.on_notification(AT_0, ServerId(from), &says(PeerState::Following, 5, 9, 1, 1));
    }
    election.on_notification(AT_0, ServerId(5), &says(PeerState::Looking, 5, 9, 1, 0));
    assert_eq!(election.state(), PeerState::Looking);
    election.on_notification(AT_0, ServerId(5), &says(PeerState::Leading, 5, 9, 1, 8));
    assert_eq!(election.state(), PeerState::Following);
}

/// PARITY `fle.zxid-1`: a server without data neither votes nor is voted for, and follows who is elected without it.
#[test]
fn fle_zxid_minus_1() {
    let mut cluster = Cluster::new(3, 0, 1);
    for id in [2, 3] {
        cluster.node(id).history = OwnHistory { has_data: false, ..history(0, 9) };
    }
    cluster.start_all();
    cluster.run(5000);
    assert!(cluster.nodes.values().all(|node| node.decided.is_none()), "elected by one vote of three");
    cluster.node(3).history = history(1, 0);
    cluster.kill(3);
    cluster.start(3);
    cluster.run(5000);
    cluster.expect(1, 1..=3);
}

/// PARITY `fle.backoff`: the own vote is told again after 200 ms, 400 ms and so on, at last every minute.
#[test]
fn fle_backoff() {
    let (mut election, view) = alone(1, 3);
    election.look(AT_0, history(5, 1), view);
    let mut now = AT_0;
    for wait in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000] {
        assert_eq!(sent_to(&outputs(&mut election), 2).len(), 1);
        let next = election.poll_timeout().expect("it looks");
        assert_eq!((next - now).as_millis(), wait);
        election.on_tick(now);
        assert_eq!(outputs(&mut election), [], "too early");
        now = next;
        election.on_tick(now);
    }
}

/// PARITY `fle.round`, `fle.init`, `fle.voters`: what is told to whom.
#[test]
fn fle_round() {
    let (mut election, view) = alone(2, 3);
    election.look(AT_0, history(5, 1), view.clone());
    let own =
        |round| Notification { config: view.text().clone(), ..says(PeerState::Looking, 2, 5, 1, round) };
    assert_eq!(sent_to(&outputs(&mut election), 3), [own(1)]);
    // A later round is joined, with the better of the two votes.
    election.on_notification(AT_0, ServerId(3), &says(PeerState::Looking, 1, 5, 1, 8));
    let told = outputs(&mut election);
    assert_eq!((sent_to(&told, 1), sent_to(&told, 3)), (vec![own(8)], vec![own(8)]));
    // Who lags behind is told, and not counted. Who votes worse is told, and counted.
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 3, 9, 1, 7));
    assert_eq!(outputs(&mut election), [ElectionOutput::Send { to: ServerId(1), notification: own(8) }]);
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 1, 5, 1, 8));
    assert_eq!(outputs(&mut election), [ElectionOutput::Send { to: ServerId(1), notification: own(8) }]);
    // Votes for servers that do not vote are nothing, and questions of those wait.
    election.on_notification(AT_0, ServerId(1), &says(PeerState::Looking, 4, 9, 9, 9));
    election.on_notification(AT_0, ServerId(4), &says(PeerState::Looking, 3, 9, 9, 9));
    election.on_notification(AT_0, ServerId(99), &says(PeerState::Following, 3, 9, 9, 9));
    assert_eq!((outputs(&mut election), election.round()), (vec![], 8));
    // An observer votes for nobody.
    let (mut election, view) = alone(4, 3);
    election.look(AT_0, history(5, 1), view);
    let told = sent_to(&outputs(&mut election), 1);
    assert_eq!(told[0].vote, super::vote::BLANK);
}

/// PARITY `fle.config`: a newer configuration is reported once, and only while looking.
#[test]
fn fle_config() {
    let (mut election, view) = alone(1, 3);
    let mut newer = says(PeerState::Looking, 1, 1, 1, 0);
    newer.config = Bytes::from_static(b"server.1=a:1:2\nversion=1a");
    election.on_notification(AT_0, ServerId(9), &newer);
    election.look(AT_0, history(5, 1), view.clone());
    outputs(&mut election);
    let config = Membership::from_peer(&newer.config).expect("a configuration");
    for _ in 0..2 {
        election.on_notification(AT_0, ServerId(9), &newer);
    }
    let reported = [ElectionOutput::NewerConfig { config }];
    assert_eq!(outputs(&mut election), reported);
    election.on_notification(AT_0, ServerId(9), &newer);
    election.look(AT_0, history(5, 1), view.clone());
    outputs(&mut election);
    election.on_notification(AT_0, ServerId(9), &newer);
    assert_eq!(outputs(&mut election), reported, "whatever became of it the last time");
    election.on_notification(AT_0, ServerId(9), &says(PeerState::Looking, 1, 1, 1, 0));
    election.look(AT_0, history(5, 1), view);
    assert!(sent_to(&outputs(&mut election), 2).len() == 1, "what was said before is void");
}

/// PARITY `fle.config`: what makes no sense is not reported, and does not keep what does from being reported.
#[test]
fn fle_config_that_is_none_is_not_reported() {
    let (mut election, view) = alone(1, 3);
    election.look(AT_0, history(5, 1), view);
    outputs(&mut election);
    let mut says = says(PeerState::Looking, 1, 1, 1, 0);
    for text in [
        "version=7fffffffffffffff",
        "server.1=a\nversion=7fffffffffffffff",
        "server.1=a:1:2:observer\nversion=7fffffffffffffff",
        "server.1=a:1:2\ngroup.1=1\nweight.1=0\nversion=7fffffffffffffff",
        "version=7fffffffffffffff\nserver.1=a:1:2\nversion=0",
    ] {
        says.config = Bytes::from_static(text.as_bytes());
        election.on_notification(AT_0, ServerId(9), &says);
        assert_eq!(outputs(&mut election), [], "{text}");
    }
    says.config = Bytes::from_static(b"server.1=a:1:2\nversion=1a");
    election.on_notification(AT_0, ServerId(9), &says);
    let config = Membership::from_peer(&says.config).expect("a configuration");
    assert_eq!(outputs(&mut election), [ElectionOutput::NewerConfig { config }]);
}

/// The best candidate tells its vote and dies: the others wait for it once, then elect one of themselves.
#[test]
fn dead_candidate() {
    for seed in 0..100 {
        let mut cluster = Cluster::new(3, 0, seed);
        cluster.start_all();
        for to in [1, 2] {
            cluster.deliver(ServerId(3), ServerId(to));
        }
        cluster.kill(3);
        cluster.run(400);
        cluster.expect(2, 1..=2);
        cluster.check_rounds();
    }
}

/// Links go down and up, servers die and come back; never do two leaders of one round have a quorum. Then all is
/// well, who leads or follows in vain looks again, and all come to follow one leader.
#[test]
fn random_faults() {
    for seed in 0..400 {
        let voters = 3 + i64::try_from(seed % 3).expect("small");
        let mut cluster = Cluster::new(voters, 1, seed);
        for id in cluster.ids() {
            let epoch = 1 + i64::try_from(cluster.draw(3)).expect("small");
            cluster.node(id.0).history =
                history((epoch << 32) + i64::try_from(cluster.draw(3)).expect("small"), epoch);
        }
        cluster.start_all();
        for _ in 0..60 {
            let [a, b] = [0; 2].map(|_| 1 + i64::try_from(cluster.draw(5)).expect("small"));
            let (a, b) = (a.min(voters + 1), b.min(voters + 1));
            match cluster.draw(12) {
                0 if a != b => cluster.set_cut(a, b, true),
                1 | 2 if a != b => cluster.set_cut(a, b, false),
                3 if cluster.node(a).alive => cluster.kill(a),
                4 if !cluster.node(a).alive => cluster.start(a),
                5 if cluster.node(a).decided.is_some() => cluster.look(a),
                6 => cluster.run(250),
                _ => drop((0..5).map(|_| cluster.deliver_one()).count()),
            }
            cluster.check_rounds();
        }
        for a in 1..=voters + 1 {
            if !cluster.node(a).alive {
                cluster.start(a);
            }
            for b in 1..a {
                cluster.set_cut(b, a, false);
                cluster.set_cut(a, b, false);
            }
        }
        let settled = (0..20).any(|_| {
            cluster.run(60_000);
            !look_again_where_in_vain(&mut cluster)
        });
        assert!(settled, "seed {seed}: no end of elections");
        let leader = cluster.node(1).decided.expect("decided").0.leader.0;
        cluster.expect(leader, 1..=voters + 1);
        cluster.check_rounds();
    }
}

/// What the rest of a server does: a leader without a quorum of followers gives up, and so does who follows somebody
/// that does not lead. Returns whether anybody did.
fn look_again_where_in_vain(cluster: &mut Cluster) -> bool {
    let followed = |cluster: &Cluster, leader: ServerId| -> BTreeSet<ServerId> {
        let follows = |node: &Node| node.decided.is_some_and(|(vote, _)| vote.leader == leader);
        cluster.nodes.iter().filter(|(_, node)| follows(node)).map(|(&id, _)| id).collect()
    };
    let vain = |cluster: &Cluster, id: ServerId| match cluster.nodes[&id].decided {
        None => true,
        Some((_, PeerState::Leading)) => !cluster.membership.has_quorum(&followed(cluster, id)),
        Some((vote, _)) => {
            let leads = |node: &Node| node.decided.is_some_and(|(_, state)| state == PeerState::Leading);
            !leads(&cluster.nodes[&vote.leader])
        }
    };
    let all: Vec<ServerId> = cluster.ids().into_iter().filter(|&id| vain(cluster, id)).collect();
    for id in &all {
        if cluster.nodes[id].decided.is_some() {
            cluster.look(id.0);
        }
    }
    !all.is_empty()
}
