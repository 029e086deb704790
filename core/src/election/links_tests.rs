//! Links of several servers on a network in memory, and of one server beside hand-written peers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use super::links::{Links, LinksOutput, Origin};
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{
    Address, DialId, DialIds, HangupReason, LinkId, Member, MemberRole, Membership, Notification, PeerState,
    ServerId, Vote, Zxid,
};
use crate::wire::election::{Hello, encode_notification};

const LIMIT: Duration = Duration::from_secs(10);

fn address(id: i64) -> Address {
    Address { host: String::from("server"), port: u16::try_from(id).expect("small") }
}

fn config(servers: i64) -> EnsembleConfig {
    EnsembleConfig::new(listening(0, (1..=servers).map(|id| (id, id))))
}

/// Servers, and the ports they listen on.
fn listening(version: i64, servers: impl IntoIterator<Item = (i64, i64)>) -> Membership {
    let member = |(id, port): (i64, i64)| {
        let election = vec![address(port)];
        (ServerId(id), Member { quorum: vec![], election, client: None, role: MemberRole::Participant })
    };
    Membership::majority(version, servers.into_iter().map(member).collect())
}

fn says(zxid: i64) -> Notification {
    let vote = Vote { leader: ServerId(1), zxid: Zxid(zxid), peer_epoch: 1 };
    Notification { state: PeerState::Looking, vote, election_epoch: 1, version: 2, config: Bytes::new() }
}

/// What travels from one server to another; each wire is in order.
enum Event {
    Dial { dial: DialId },
    Up { link: LinkId, origin: Origin },
    Bytes { link: LinkId, bytes: Bytes },
    Down { link: LinkId },
}

struct Host {
    links: Links,
    ids: DialIds,
    inbox: BTreeMap<ServerId, VecDeque<Event>>,
    reachable: BTreeMap<ServerId, bool>,
    heard: Vec<(ServerId, i64)>,
    unreachable_events: usize,
    dials: usize,
}

/// Every server listens; connections are made and bytes carried in an order that the generator chooses.
struct Net {
    hosts: BTreeMap<ServerId, Host>,
    /// The other end of each link.
    ends: BTreeMap<LinkId, (ServerId, LinkId)>,
    last_link: u64,
    now: Instant,
    rng: ChaCha12Rng,
}

impl Net {
    fn new(servers: i64, seed: u64) -> Self {
        let host = |id: i64| {
            let links = Links::new(ServerId(id), &config(servers), LIMIT);
            let host = Host {
                links,
                ids: DialIds::default(),
                inbox: BTreeMap::new(),
                reachable: BTreeMap::new(),
                heard: vec![],
                unreachable_events: 0,
                dials: 0,
            };
            (ServerId(id), host)
        };
        Self {
            hosts: (1..=servers).map(host).collect(),
            ends: BTreeMap::new(),
            last_link: 0,
            now: Instant::ZERO,
            rng: ChaCha12Rng::seed_from_u64(seed),
        }
    }

    fn host(&mut self, id: ServerId) -> &mut Host {
        self.hosts.get_mut(&id).expect("a server")
    }

    fn put(&mut self, from: ServerId, to: ServerId, event: Event) {
        self.host(to).inbox.entry(from).or_default().push_back(event);
    }

    fn with(&mut self, at: i64, what: impl FnOnce(&mut Links, Instant)) {
        let now = self.now;
        what(&mut self.host(ServerId(at)).links, now);
        self.drain(ServerId(at));
    }

    fn drain(&mut self, at: ServerId) {
        loop {
            let host = self.host(at);
            let Some(output) = host.links.poll_output(&mut host.ids) else { break };
            match output {
                LinksOutput::Dial { dial, server, addresses, .. } => {
                    host.dials += 1;
                    assert_eq!(addresses, [address(server.0)]);
                    self.put(at, server, Event::Dial { dial });
                }
                LinksOutput::Hangup { link, .. } => {
                    if let Some((other, end)) = self.ends.remove(&link) {
                        self.ends.remove(&end);
                        self.put(at, other, Event::Down { link: end });
                    }
                }
                LinksOutput::Reachable { server, reachable } => {
                    assert_ne!(
                        host.reachable.insert(server, reachable).unwrap_or(false),
                        reachable,
                        "no change"
                    );
                    host.unreachable_events += usize::from(!reachable);
                }
                LinksOutput::Received { from, notification } => {
                    host.heard.push((from, notification.vote.zxid.0));
                }
                LinksOutput::Send { link, bytes } => {
                    if let Some(&(other, end)) = self.ends.get(&link) {
                        self.put(at, other, Event::Bytes { link: end, bytes });
                    }
                }
            }
        }
    }

    fn new_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    /// One event of some wire takes place.
    fn step(&mut self) -> bool {
        let pending: Vec<_> = self
            .hosts
            .iter()
            .flat_map(|(&to, host)| {
                host.inbox.iter().filter(|(_, wire)| !wire.is_empty()).map(move |(&from, _)| (from, to))
            })
            .collect();
        if pending.is_empty() {
            return false;
        }
        let count = u64::try_from(pending.len()).expect("few");
        let (from, to) = pending[usize::try_from(self.rng.next_u64() % count).expect("few")];
        let now = self.now;
        let event = self.host(to).inbox.get_mut(&from).and_then(VecDeque::pop_front).expect("pending");
        match event {
            Event::Dial { dial } => {
                let (mine, theirs) = (self.new_link(), self.new_link());
                self.ends.insert(mine, (from, theirs));
                self.ends.insert(theirs, (to, mine));
                self.host(to).links.on_link_up(now, mine, Origin::Accepted);
                self.put(to, from, Event::Up { link: theirs, origin: Origin::Dialed(dial) });
            }
            Event::Up { link, origin } => self.host(to).links.on_link_up(now, link, origin),
            Event::Bytes { link, bytes } => self.host(to).links.on_received(now, link, bytes),
            Event::Down { link } => self.host(to).links.on_link_down(now, link),
        }
        self.drain(to);
        true
    }

    fn run(&mut self, millis: u64) {
        let until = Instant::from_millis(self.now.as_millis() + millis);
        loop {
            while self.step() {}
            let next = self.hosts.values().filter_map(|host| host.links.poll_timeout()).min();
            let Some(next) = next.filter(|&next| next <= until) else { break };
            self.now = self.now.max(next);
            for id in 1..=i64::try_from(self.hosts.len()).expect("few") {
                self.with(id, Links::on_tick);
            }
        }
        self.now = until;
    }

    /// The connection between two servers breaks.
    fn break_link(&mut self, a: i64, b: i64) {
        let broken = |(&link, &(other, end)): (&LinkId, &(ServerId, LinkId))| {
            let owner = self.ends[&end].0;
            ((owner, other) == (ServerId(a), ServerId(b))).then_some((link, end))
        };
        let broken: Vec<_> = self.ends.iter().filter_map(broken).collect();
        for (link, end) in broken {
            self.ends.remove(&link);
            self.ends.remove(&end);
            self.put(ServerId(a), ServerId(b), Event::Down { link: end });
            self.put(ServerId(b), ServerId(a), Event::Down { link });
        }
    }
}

/// Three servers that look; each begins when some messages of those before it have arrived, and has something to say.
fn three_that_look(seed: u64) -> Net {
    let mut net = Net::new(3, seed);
    for id in 1..=3 {
        net.with(id, |links, now| links.set_looking(now, true));
        for _ in 0..seed % 4 {
            net.step();
        }
        for to in (1..=3).filter(|&to| to != id) {
            net.with(id, |links, now| links.send(now, ServerId(to), &says(id)));
        }
    }
    net
}

/// One link stands between each two, and nobody was thought unreachable in between.
fn assert_linked(net: &Net, seed: u64) {
    assert_eq!(net.ends.len(), 6, "seed {seed}: one link between each two at {:?}", net.now);
    for (&id, host) in &net.hosts {
        assert_eq!(host.unreachable_events, 0, "seed {seed}: {id:?} at {:?}", net.now);
        for other in net.hosts.keys().filter(|&&other| other != id) {
            assert_eq!(host.reachable.get(other), Some(&true), "seed {seed}");
            assert!(host.heard.contains(&(*other, other.0)), "seed {seed}");
        }
    }
}

/// PARITY `qcm.tiebreak`: whoever connects first, and however messages cross, in the end one link stands between
/// each two servers, everybody has heard everybody, and nobody was thought unreachable in between.
#[test]
fn qcm_tiebreak() {
    for seed in 0..300 {
        let mut net = three_that_look(seed);
        // Not long enough for them to wonder why nobody says more.
        net.run(1900);
        assert_linked(&net, seed);
        for host in net.hosts.values() {
            assert!(host.dials <= 4, "seed {seed}: {} attempts", host.dials);
        }
    }
}

/// And so it stays when nobody says more: links are replaced then, ever less often, and again messages cross.
#[test]
fn qcm_tiebreak_of_three_that_have_nothing_new_to_say() {
    for seed in 0..100 {
        let mut net = three_that_look(seed);
        for _ in 0..60 {
            net.run(1900 + seed);
            assert_linked(&net, seed);
        }
        let dials: usize = net.hosts.values().map(|host| host.dials).sum();
        // Of each pair one connects anew, every eight seconds in the end.
        assert!((30..=66).contains(&dials), "seed {seed}: {dials} attempts");
    }
}

/// PARITY `qcm.queue`: the newest of several notifications is sent, and the last one again on a new link; what was
/// said before this server was settled is not.
#[test]
fn qcm_queue() {
    let mut net = Net::new(2, 1);
    for zxid in 1..=3 {
        net.with(2, |links, now| links.send(now, ServerId(1), &says(zxid)));
    }
    net.run(0);
    assert_eq!(net.hosts[&ServerId(1)].heard, [(ServerId(2), 3)]);
    net.with(1, |links, now| links.set_looking(now, true));
    net.run(2000);
    net.break_link(1, 2);
    net.run(1000);
    assert_eq!(net.hosts[&ServerId(1)].heard, [(ServerId(2), 3), (ServerId(2), 3)]);
    net.with(2, |links, now| links.set_looking(now, false));
    net.run(2000);
    net.break_link(1, 2);
    net.run(1000);
    assert!(net.hosts[&ServerId(1)].reachable[&ServerId(2)]);
    assert_eq!(net.hosts[&ServerId(1)].heard.len(), 2);
}

/// What is said again on a new link is what holds now: a server that named the epoch before, and serves in the next one by
/// the time of the new link, does not name the old one again. Who was told nothing is told nothing.
#[test]
fn what_is_said_again_names_the_epoch_that_has_begun() {
    let mut net = Net::new(3, 1);
    net.with(2, |links, now| links.send(now, ServerId(1), &says(18)));
    net.run(1000);
    net.with(2, |links, _| links.correct(&says(19)));
    net.with(1, |links, now| links.set_looking(now, true));
    net.with(3, |links, now| links.set_looking(now, true));
    net.run(1000);
    assert_eq!(net.hosts[&ServerId(1)].heard, [(ServerId(2), 18)], "nothing is sent because of it");
    net.break_link(1, 2);
    net.run(1000);
    assert_eq!(net.hosts[&ServerId(1)].heard, [(ServerId(2), 18), (ServerId(2), 19)]);
    assert!(net.hosts[&ServerId(3)].reachable[&ServerId(2)]);
    assert_eq!(net.hosts[&ServerId(3)].heard, []);
}

/// A network that was cut closed nothing, and whoever sends again what was lost waits long; one that forgets a
/// connection tells neither side. Servers that look make a new link then, whichever of them looks.
#[test]
fn a_link_that_went_silent_is_replaced_while_a_server_looks() {
    for (seed, looks) in [(1, [true, true]), (2, [true, false]), (3, [false, true])] {
        let mut net = Net::new(2, seed);
        net.with(1, |links, now| links.set_looking(now, true));
        net.with(1, |links, now| links.send(now, ServerId(2), &says(1)));
        net.with(2, |links, now| links.send(now, ServerId(1), &says(2)));
        net.run(1000);
        net.with(1, |links, now| links.set_looking(now, false));
        net.run(600_000);
        net.ends.clear();
        let dials: usize = net.hosts.values().map(|host| host.dials).sum();
        net.run(600_000);
        assert_eq!(net.hosts.values().map(|host| host.dials).sum::<usize>(), dials, "nobody looks");
        for id in [1, 2] {
            if looks[usize::try_from(id - 1).expect("small")] {
                net.with(id, |links, now| links.set_looking(now, true));
            }
            net.with(id, |links, now| links.send(now, ServerId(3 - id), &says(10 + id)));
        }
        net.run(if looks[1] { 3000 } else { 9500 });
        assert_eq!(net.hosts[&ServerId(1)].heard.last(), Some(&(ServerId(2), 12)), "{looks:?}");
        assert_eq!(net.hosts[&ServerId(2)].heard.last(), Some(&(ServerId(1), 11)), "{looks:?}");
        assert!(net.hosts.values().all(|host| host.unreachable_events == 0), "{looks:?}");
    }
}

/// Two voters that look and have nothing new to say, for there are too few of them, make new links rarely.
#[test]
fn voters_with_nothing_to_say_are_connected_to_rarely() {
    let mut net = Net::new(2, 1);
    for id in [1, 2] {
        net.with(id, |links, now| links.set_looking(now, true));
        net.with(id, |links, now| links.send(now, ServerId(3 - id), &says(id)));
    }
    net.run(120_000);
    let dials: usize = net.hosts.values().map(|host| host.dials).sum();
    assert!((10..=22).contains(&dials), "{dials} attempts");
    assert_eq!(net.ends.len(), 2, "one link");
    assert!(net.hosts.values().all(|host| host.unreachable_events == 0));
}

/// Server 2 of three, beside peers that are written by hand.
struct Lone {
    links: Links,
    ids: DialIds,
    now: Instant,
}

impl Lone {
    fn new() -> Self {
        let links = Links::new(ServerId(2), &config(3), LIMIT);
        Self { links, ids: DialIds::default(), now: Instant::ZERO }
    }

    fn outputs(&mut self) -> Vec<LinksOutput> {
        core::iter::from_fn(|| self.links.poll_output(&mut self.ids)).collect()
    }

    /// A link is accepted and these bytes come.
    fn accept(&mut self, link: u64, bytes: &[u8]) -> Vec<LinksOutput> {
        self.links.on_link_up(self.now, LinkId(link), Origin::Accepted);
        self.links.on_received(self.now, LinkId(link), Bytes::copy_from_slice(bytes));
        self.outputs()
    }
}

fn greeting(id: i64) -> Vec<u8> {
    let mut bytes = vec![];
    Hello { server: ServerId(id), addresses: vec![address(id & 0xff)] }.encode(&mut bytes);
    bytes
}

fn hangup(link: u64, why: HangupReason) -> LinksOutput {
    LinksOutput::Hangup { link: LinkId(link), why }
}

fn reachable(id: i64) -> LinksOutput {
    LinksOutput::Reachable { server: ServerId(id), reachable: true }
}

/// PARITY `qcm.hello`, `qcm.observer`: what comes of each greeting.
#[test]
fn qcm_hello() {
    let dial = |dial: u64, server: i64| LinksOutput::Dial {
        dial: DialId(dial),
        server: ServerId(server),
        addresses: vec![address(server)],
        timeout: Duration::from_secs(5),
    };
    let mut lone = Lone::new();
    assert_eq!(lone.accept(1, &greeting(3)), [reachable(3)]);
    assert_eq!(
        lone.accept(2, &greeting(3)),
        [hangup(1, HangupReason::Duplicate)],
        "a new link to the same server"
    );
    assert_eq!(lone.accept(3, &greeting(1)), [hangup(3, HangupReason::Duplicate), dial(1, 1)]);
    assert_eq!(lone.accept(4, &greeting(1)), [hangup(4, HangupReason::Duplicate)], "an attempt is under way");
    assert_eq!(lone.accept(5, &greeting(2)), [hangup(5, HangupReason::Unwanted)], "its own id");
    assert_eq!(lone.accept(6, &greeting(-3)), [hangup(6, HangupReason::BadMessage)]);
    assert_eq!(lone.accept(7, &[0xff; 8]), [hangup(7, HangupReason::BadMessage)]);
    assert_eq!(lone.accept(8, &greeting(i64::MAX)), [reachable(-1)]);
    assert_eq!(lone.accept(9, &greeting(i64::MAX)), [reachable(-2)]);
    assert_eq!(lone.accept(10, &7_i64.to_be_bytes()), [reachable(7)], "a release before 3.5, no member");
    assert_eq!(
        lone.accept(11, &greeting(0)),
        [hangup(11, HangupReason::Duplicate), dial(2, 0)],
        "a stranger"
    );
    lone.links.on_dial_failed(lone.now, DialId(2));
    assert_eq!(lone.links.poll_timeout(), None, "strangers are not tried twice");
    // Server 1 is greeted, and the link stands at once.
    lone.links.on_link_up(lone.now, LinkId(12), Origin::Dialed(DialId(1)));
    let bytes = Bytes::from(greeting(2));
    assert_eq!(lone.outputs(), [LinksOutput::Send { link: LinkId(12), bytes }, reachable(1)]);
}

/// PARITY `addr.multi`: where a server says that it listens is tried behind where its entry says, and nothing twice.
#[test]
fn addr_multi_what_a_greeting_claims_is_tried_last() {
    let mut lone = Lone::new();
    let mut bytes = vec![];
    let addresses = vec![address(9), address(1), address(8)];
    Hello { server: ServerId(1), addresses }.encode(&mut bytes);
    let outputs = lone.accept(1, &bytes);
    let [LinksOutput::Hangup { .. }, LinksOutput::Dial { addresses, .. }] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(*addresses, [address(1), address(9), address(8)]);
}

/// PARITY `qcm.frame`: a frame that cannot be ends the link; one that says nothing that is understood does not.
#[test]
fn qcm_frame() {
    let mut lone = Lone::new();
    let mut stream = greeting(3);
    stream.extend([0, 0, 0, 3, 1, 2, 3]);
    stream.extend_from_slice(&encode_notification(&says(5)));
    let received = LinksOutput::Received { from: ServerId(3), notification: says(5) };
    for cut in 0..stream.len() {
        let mut lone = Lone::new();
        let mut found = lone.accept(1, &stream[..cut]);
        lone.links.on_received(lone.now, LinkId(1), Bytes::copy_from_slice(&stream[cut..]));
        found.extend(lone.outputs());
        assert_eq!(found, [reachable(3), received.clone()], "cut at {cut}");
    }
    lone.accept(1, &stream);
    lone.links.on_received(lone.now, LinkId(1), Bytes::from_static(&[0, 0, 0, 0]));
    let down = LinksOutput::Reachable { server: ServerId(3), reachable: false };
    assert_eq!(lone.outputs(), [hangup(1, HangupReason::BadMessage), down]);
    lone.links.on_received(lone.now, LinkId(1), Bytes::from_static(&[1]));
    lone.links.on_link_down(lone.now, LinkId(1));
    assert_eq!(lone.outputs(), [], "what comes of a link that was closed is nothing");
}

/// PARITY `qcm.timeouts` and the limits: who does not greet, too many that do not, and too many strangers.
#[test]
fn limits() {
    let mut lone = Lone::new();
    for link in 1..=64 {
        assert_eq!(lone.accept(link, &greeting(3)[..10]), []);
    }
    assert_eq!(lone.accept(65, &[]), [hangup(1, HangupReason::Unwanted)], "the oldest goes");
    assert_eq!(lone.links.poll_timeout(), Some(Instant::ZERO + LIMIT));
    lone.links.on_tick(Instant::from_millis(9999));
    assert_eq!(lone.outputs(), []);
    lone.now = Instant::ZERO + LIMIT;
    lone.links.on_tick(lone.now);
    let expected: Vec<_> = (2..=65).map(|link| hangup(link, HangupReason::Timeout)).collect();
    assert_eq!(lone.outputs(), expected);
    for id in 100..164 {
        let link = u64::try_from(id).expect("positive");
        assert_eq!(lone.accept(link, &greeting(id)), [reachable(id)]);
    }
    assert_eq!(lone.accept(200, &greeting(200)), [hangup(200, HangupReason::Unwanted)]);
    assert_eq!(lone.accept(201, &greeting(3)), [reachable(3)], "a member always may");
    lone.links.on_link_down(lone.now, LinkId(100));
    lone.outputs();
    assert_eq!(lone.accept(202, &greeting(200)), [reachable(200)], "a place is free again");
}

/// A peer that does not read: one notification waits, the newest.
#[test]
fn slow_reader() {
    let mut lone = Lone::new();
    lone.accept(1, &greeting(3));
    let mut sent = 0;
    for zxid in 0..100_000 {
        lone.links.send(lone.now, ServerId(3), &says(zxid));
        for output in lone.outputs() {
            let LinksOutput::Send { bytes, .. } = output else { panic!("{output:?}") };
            sent += bytes.len();
        }
    }
    assert!(sent < 70_000, "{sent} bytes");
    lone.links.on_drained(LinkId(1), sent);
    let bytes = encode_notification(&says(99_999));
    assert_eq!(lone.outputs(), [LinksOutput::Send { link: LinkId(1), bytes }]);
}

/// A lost link is made anew at once, then ever less often, also if the port refuses without delay; and not at all
/// once there is a leader.
#[test]
fn redial() {
    let mut lone = Lone::new();
    lone.links.set_membership(&config(2).membership, None);
    lone.links.set_looking(lone.now, true);
    lone.outputs();
    lone.links.on_link_up(lone.now, LinkId(1), Origin::Dialed(DialId(1)));
    lone.now = Instant::from_millis(5000);
    lone.links.on_link_down(lone.now, LinkId(1));
    let mut attempts = vec![];
    while lone.now < Instant::from_millis(10_000) {
        for output in lone.outputs() {
            if let LinksOutput::Dial { dial, .. } = output {
                attempts.push(lone.now.as_millis() - 5000);
                lone.links.on_dial_failed(lone.now, dial);
            }
        }
        lone.now = lone.links.poll_timeout().expect("it looks");
        lone.links.on_tick(lone.now);
    }
    assert_eq!(attempts, [0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270, 4270]);
    lone.links.set_looking(lone.now, false);
    lone.outputs();
    assert_eq!(lone.links.poll_timeout(), None);
}

/// PARITY `qcm.hello`: where a server listens the configuration in force says, or the proposed one where that has it alone,
/// whether it is known from the beginning or comes later. Who left listens where it did.
#[test]
fn qcm_hello_of_a_server_that_joins() {
    let others = [(1, 1), (3, 3)];
    let with_me = |port: i64| others.into_iter().chain([(2, port)]);
    let without_me = listening(0, others);
    let mut lone = Lone::new();
    lone.links = Links::new(ServerId(2), &EnsembleConfig::new(without_me.clone()), LIMIT);
    let mut link = 0;
    let mut says = |lone: &mut Lone| {
        lone.now = lone.now + Duration::from_secs(5);
        lone.links.set_looking(lone.now, true);
        let dials = lone.outputs();
        let dial = dials.iter().find_map(|output| match output {
            LinksOutput::Dial { dial, server: ServerId(3), .. } => Some(*dial),
            _ => None,
        });
        link += 1;
        lone.links.on_link_up(lone.now, LinkId(link), Origin::Dialed(dial.expect("it looks")));
        let sent = lone.outputs();
        let [LinksOutput::Send { bytes, .. }] = &sent[..] else { panic!("{sent:?}") };
        let (hello, _) = Hello::decode(bytes).expect("a greeting").expect("all of it");
        lone.links.on_link_down(lone.now, LinkId(link));
        hello.addresses
    };
    assert_eq!(says(&mut lone), [], "nobody says where it listens");
    lone.links.set_membership(&without_me, Some(&listening(1, with_me(7))));
    assert_eq!(says(&mut lone), [address(7)], "proposed");
    lone.links.set_membership(&listening(1, with_me(7)), None);
    assert_eq!(says(&mut lone), [address(7)], "in force");
    lone.links.set_membership(&listening(1, with_me(7)), Some(&listening(2, with_me(8))));
    assert_eq!(says(&mut lone), [address(7)], "it moves, perhaps");
    lone.links.set_membership(&listening(2, with_me(8)), None);
    assert_eq!(says(&mut lone), [address(8)], "it has moved");
    lone.links.set_membership(&listening(3, others), None);
    assert_eq!(says(&mut lone), [address(8)], "it has left");
}
