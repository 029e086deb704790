//! An ensemble in lock-step: perfect disks, links that lose nothing while they stand, one clock. What servers do at
//! once happens in the order of their ids; time passes only when it is told to.
//!
//! For scenarios whose steps are known. What nobody thought of is the simulator's.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use super::lone::{Reply, frame, new_session, replies_in};
use crate::config::{Config, EnsembleConfig};
use crate::recovery::{Recovered, Recovery};
use crate::server::{
    Action, CloseReason, Event, HaltReason, HangupReason, Input, LinkOrigin, PeerPort, Role, Server,
};
use crate::store::{DiskError, Stream};
use crate::time::{Instant, Now, WallTime};
use crate::types::{
    AclList, Address, ConnId, DialId, LinkId, Member, MemberRole, Membership, Message, OpCode, ServerId,
    SessionId, Zxid,
};
use crate::wire::connect::{ConnectRequest, ConnectResponse};
use crate::wire::{Request, quorum};

/// One end of a link.
type End = (ServerId, LinkId);

/// A member: its disk outlives the process.
#[derive(Debug)]
struct Node {
    config: Config,
    disk: Disk,
    /// `None`: the process is not running.
    server: Option<Server>,
    events: Vec<Event>,
    sent: BTreeMap<ConnId, Vec<u8>>,
    /// Connections that are over, and why, if the server closed them.
    closed: BTreeMap<ConnId, Option<CloseReason>>,
    halted: Option<HaltReason>,
    /// Configurations are kept.
    keeps: bool,
    /// One that is in force and was not.
    unkept: Option<Membership>,
    next_conn: u64,
}

impl Node {
    fn new(id: ServerId, membership: &Membership, change: impl Fn(&mut Config)) -> Self {
        let mut config = Config {
            server_id: id.0,
            tick_time: Duration::from_millis(100),
            min_session_timeout: Duration::from_millis(200),
            max_session_timeout: Duration::from_millis(20_000),
            pre_alloc_size: 4096,
            report_applied: true,
            ensemble: Some(EnsembleConfig::new(membership.clone())),
            ..Config::default()
        };
        change(&mut config);
        Self {
            config,
            disk: Disk::default(),
            server: None,
            events: Vec::new(),
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
            halted: None,
            keeps: true,
            unkept: None,
            next_conn: 1,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    now: Now,
    nodes: BTreeMap<ServerId, Node>,
    /// Each end of a link that stands, and the other one.
    links: BTreeMap<End, End>,
    next_link: u64,
    /// Where a member hears of another what that says as a leader or a learner.
    quorum_links: BTreeMap<(ServerId, ServerId), LinkId>,
    /// What is on its way, oldest first.
    pending: VecDeque<(ServerId, Input)>,
    /// Servers that cannot reach each other.
    cut: BTreeSet<(ServerId, ServerId)>,
    starts: u64,
    /// Servers of which nobody takes what they send to others.
    stalled: BTreeSet<ServerId>,
    /// Servers of which others do not hear what they say as their leaders or their learners.
    silenced: BTreeSet<(ServerId, ServerId)>,
    /// Who is not heard until it is said, by whom; and what it said meanwhile.
    delayed: Option<(ServerId, ServerId)>,
    late: VecDeque<(ServerId, Input)>,
    /// How much of what it is asked for a server's disk still does; of the others, everything.
    disk_limits: BTreeMap<ServerId, usize>,
    /// Servers whose disk does nothing but what the log asks for.
    bulk_held: BTreeSet<ServerId>,
    /// Servers whose disk has no room for what is not of the log.
    full: BTreeSet<ServerId>,
    /// Links that servers do not want to be read from. What comes on them comes nevertheless.
    paused: BTreeSet<End>,
    /// The other ends of links of those who are no members.
    strangers: BTreeMap<End, Stranger>,
}

/// What came to somebody who is no member, on one link.
#[derive(Debug, Default)]
struct Stranger {
    received: Vec<u8>,
    /// Bytes that were sent and not taken, if it does not take all at once.
    untaken: Option<usize>,
    hung_up: Option<HangupReason>,
}

/// A request for an open znode with a byte of data.
pub fn create(path: &str) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags: 0, ttl: None }
}

/// The members of an ensemble of `voters` participants, and `observers` behind them.
pub fn members(voters: i64, observers: i64) -> Membership {
    let member = |id: i64| Member {
        quorum: vec![Address { host: format!("node{id}"), port: 2888 }],
        election: vec![Address { host: format!("node{id}"), port: 3888 }],
        client: None,
        role: if id <= voters { MemberRole::Participant } else { MemberRole::Observer },
    };
    Membership::majority(0, (1..=voters + observers).map(|id| (ServerId(id), member(id))).collect())
}

impl Cluster {
    /// An ensemble that has not been started. `change` may change the configuration of every member.
    pub fn new(membership: &Membership, change: impl Fn(&mut Config)) -> Self {
        let node = |&id: &ServerId| (id, Node::new(id, membership, &change));
        Self {
            now: Now { mono: Instant::from_millis(1000), wall: WallTime(1_700_000_000_000) },
            nodes: membership.members().keys().map(node).collect(),
            links: BTreeMap::new(),
            next_link: 1,
            quorum_links: BTreeMap::new(),
            pending: VecDeque::new(),
            cut: BTreeSet::new(),
            starts: 0,
            stalled: BTreeSet::new(),
            silenced: BTreeSet::new(),
            delayed: None,
            late: VecDeque::new(),
            disk_limits: BTreeMap::new(),
            bulk_held: BTreeSet::new(),
            full: BTreeSet::new(),
            paused: BTreeSet::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// Another server, which has not been started: it is to join, and knows `membership`.
    pub fn add(&mut self, id: i64, membership: &Membership, change: impl Fn(&mut Config)) {
        let known = self.nodes.insert(ServerId(id), Node::new(ServerId(id), membership, change));
        assert!(known.is_none(), "server {id} is there already");
    }

    /// The configuration that a member would start with now.
    pub fn kept_config(&self, id: i64) -> &Membership {
        let config = self.nodes[&ServerId(id)].config.ensemble.as_ref();
        &config.expect("it is a member").membership
    }

    /// What a member would start with as the newest configuration that it saw.
    pub fn kept_seen_config(&self, id: i64) -> Option<&Membership> {
        let config = self.nodes[&ServerId(id)].config.ensemble.as_ref();
        config.expect("it is a member").seen.as_ref()
    }

    /// Whether a member keeps configurations from here on.
    pub fn keep_configs(&mut self, id: i64, keeps: bool) {
        self.node(id).keeps = keeps;
    }

    /// Starts every member and lets them agree on a leader.
    pub fn start_all(&mut self) {
        let ids: Vec<i64> = self.nodes.keys().map(|id| id.0).collect();
        for id in ids {
            self.start(id);
        }
        self.settle();
    }

    /// Starts a member with what is on its disk.
    ///
    /// # Panics
    /// If it runs, or cannot recover.
    pub fn start(&mut self, id: i64) {
        self.starts += 1;
        let seed = [u8::try_from(self.starts % 251).expect("small"); 32];
        let now = self.now;
        let node = self.node(id);
        assert!(node.server.is_none(), "server {id} runs already");
        let recovered = recover(&node.config, &mut node.disk);
        node.halted = None;
        node.unkept = None;
        node.server = Some(Server::new(node.config.clone(), recovered, seed, now));
        self.pending.push_back((ServerId(id), Input::Tick));
    }

    /// The process of a member ends at once. What it had asked of the disk is done or not, as `parts` says: see
    /// [`Disk::crash`].
    pub fn kill(&mut self, id: i64, parts: usize) {
        let node = self.node(id);
        node.server = None;
        node.disk.crash(parts);
        let conns: Vec<ConnId> = node.sent.keys().copied().collect();
        node.closed.extend(conns.into_iter().map(|conn| (conn, None)));
        let id = ServerId(id);
        self.pending.retain(|(to, _)| *to != id);
        let ends: Vec<End> = self.links.keys().copied().filter(|end| end.0 == id).collect();
        for end in ends {
            self.break_link(end);
        }
    }

    /// Asks a member to stop in order.
    pub fn stop(&mut self, id: i64) {
        self.pending.push_back((ServerId(id), Input::Shutdown));
    }

    /// No message passes between two members any more, and their links break.
    pub fn cut(&mut self, one: i64, other: i64) {
        self.cut.insert((ServerId(one), ServerId(other)));
        self.cut.insert((ServerId(other), ServerId(one)));
        let between = |(&end, &peer): (&End, &End)| {
            (end.0 == ServerId(one) && peer.0 == ServerId(other)).then_some((end, peer))
        };
        let links: Vec<(End, End)> = self.links.iter().filter_map(between).collect();
        for (end, peer) in links {
            self.links.remove(&end);
            self.links.remove(&peer);
            self.pending.push_back((end.0, Input::LinkDown { link: end.1 }));
            self.pending.push_back((peer.0, Input::LinkDown { link: peer.1 }));
        }
    }

    /// Whether the disk of a member does nothing from here on.
    pub fn hold_disk(&mut self, id: i64, held: bool) {
        self.limit_disk(id, held.then_some(0));
    }

    /// How many operations the disk of a member carries out from here on.
    pub fn limit_disk(&mut self, id: i64, limit: Option<usize>) {
        match limit {
            Some(limit) => drop(self.disk_limits.insert(ServerId(id), limit)),
            None => drop(self.disk_limits.remove(&ServerId(id))),
        }
    }

    /// Whether the disk of a member does nothing from here on but what the log asks for.
    pub fn hold_bulk(&mut self, id: i64, held: bool) {
        if held {
            self.bulk_held.insert(ServerId(id));
        } else {
            self.bulk_held.remove(&ServerId(id));
        }
    }

    /// Whether the disk of a member has no room for snapshots.
    pub fn fill_disk(&mut self, id: i64, full: bool) {
        if full {
            self.full.insert(ServerId(id));
        } else {
            self.full.remove(&ServerId(id));
        }
    }

    /// From here on nothing that a member sends to others is taken.
    pub fn stall(&mut self, id: i64) {
        self.stalled.insert(ServerId(id));
    }

    /// From here on a member does not hear what another says as its leader or its learner, but for what is
    /// [forged](Cluster::forge).
    pub fn silence(&mut self, from: i64, to: i64) {
        self.silenced.insert((ServerId(from), ServerId(to)));
    }

    fn is_silenced(&self, id: ServerId, link: LinkId) -> bool {
        self.silenced.iter().any(|&pair| self.is_between(pair, (id, link)))
    }

    /// Whether a link is that of a leader and a learner, and this is the end of the first of the two.
    fn is_between(&self, pair: (ServerId, ServerId), end: End) -> bool {
        pair.0 == end.0 && self.quorum_links.get(&pair) == Some(&end.1)
    }

    /// From here on what a member says to another as its leader or its learner, and the end of their link, is on its way until
    /// it is [delivered](Cluster::deliver).
    pub fn delay(&mut self, from: i64, to: i64) {
        self.delayed = Some((ServerId(from), ServerId(to)));
    }

    /// What was delayed arrives, and nothing is from here on.
    pub fn deliver(&mut self) {
        self.delayed = None;
        self.pending.append(&mut self.late);
        self.run();
    }

    /// Messages pass again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.silenced.clear();
    }

    /// Time passes until somebody leads and all members that run follow, or ten seconds are over.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.run();
            // Who does not run has no role.
            let looking = self.nodes.keys().any(|id| self.role(id.0) == Some(Role::Looking));
            if self.leader().is_some() && !looking {
                return;
            }
            self.pass(Duration::from_millis(50));
        }
    }

    /// Time passes.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        loop {
            self.run();
            let due = |node: &Node| node.server.as_ref().and_then(Server::poll_timeout);
            let Some(at) = self.nodes.values().filter_map(due).min().filter(|&at| at <= end) else { break };
            self.advance(at.max(self.now.mono));
            let due: Vec<ServerId> = self
                .nodes
                .iter()
                .filter(|(_, node)| due(node).is_some_and(|at| at <= self.now.mono))
                .map(|(&id, _)| id)
                .collect();
            self.pending.extend(due.into_iter().map(|id| (id, Input::Tick)));
        }
        self.advance(end);
        self.run();
    }

    fn advance(&mut self, to: Instant) {
        let millis = to.since(self.now.mono).as_millis();
        self.now.wall.0 += i64::try_from(millis).expect("tests are shorter than that");
        self.now.mono = to;
    }

    /// Everything that is on its way arrives, and whatever follows from it.
    pub fn run(&mut self) {
        loop {
            while let Some((id, input)) = self.pending.pop_front() {
                let now = self.now;
                if let Some(server) = self.node(id.0).server.as_mut() {
                    server.handle(now, input);
                }
                self.drain(id);
            }
            let ids: Vec<ServerId> = self.nodes.keys().copied().collect();
            for id in ids {
                for stream in [Stream::Log, Stream::Bulk] {
                    let is_held = stream == Stream::Bulk && self.bulk_held.contains(&id);
                    if is_held || self.disk_limits.get(&id) == Some(&0) {
                        continue;
                    }
                    let fails = self.full.contains(&id) && self.node(id.0).disk.writes_snapshot_next(stream);
                    let failure = fails.then_some(DiskError::Full);
                    if let Some(done) = self.node(id.0).disk.end_next(stream, failure) {
                        self.pending.push_back((id, Input::Disk(done)));
                        self.disk_limits.entry(id).and_modify(|left| *left -= 1);
                    }
                }
            }
            if self.pending.is_empty() {
                return;
            }
        }
    }

    fn drain(&mut self, id: ServerId) {
        while let Some(action) = self.node(id.0).server.as_mut().and_then(Server::poll_action) {
            match action {
                Action::Send { conn, bytes } => {
                    self.node(id.0).sent.entry(conn).or_default().extend_from_slice(&bytes);
                    self.pending.push_back((id, Input::Drained { conn, bytes: bytes.len() }));
                }
                Action::PauseReads { .. } | Action::ResumeReads { .. } => {}
                Action::PauseLink { link } => drop(self.paused.insert((id, link))),
                Action::ResumeLink { link } => drop(self.paused.remove(&(id, link))),
                Action::Close { conn, why } => drop(self.node(id.0).closed.insert(conn, Some(why))),
                Action::KeepConfig { membership } => {
                    self.node(id.0).unkept = Some(membership);
                    self.keep(id, None);
                }
                Action::KeepSeenConfig { membership } => self.keep(id, Some(membership)),
                Action::Dial { dial, port, addresses, .. } => self.dial(id, dial, port, &addresses),
                Action::SendLink { .. } if self.stalled.contains(&id) => {}
                Action::SendLink { link, bytes } => {
                    if let Some(stranger) = self.strangers.get_mut(&(id, link)) {
                        stranger.received.extend_from_slice(&bytes);
                        if let Some(untaken) = &mut stranger.untaken {
                            *untaken += bytes.len();
                            continue;
                        }
                    }
                    self.pending.push_back((id, Input::LinkDrained { link, bytes: bytes.len() }));
                    if self.is_silenced(id, link) {
                        continue;
                    }
                    if let Some(&(to, at)) = self.links.get(&(id, link)) {
                        self.bring((id, link), (to, Input::LinkReceived { link: at, bytes }));
                    }
                }
                Action::Hangup { link, why } => {
                    if let Some(stranger) = self.strangers.get_mut(&(id, link)) {
                        stranger.hung_up = Some(why);
                    }
                    self.break_link((id, link));
                }
                Action::Disk(op) => self.node(id.0).disk.ask(op),
                Action::Event(event) => self.node(id.0).events.push(event),
                Action::Halt { why } => {
                    let node = self.node(id.0);
                    node.halted = Some(why);
                    node.server = None;
                }
            }
        }
    }

    fn keep(&mut self, id: ServerId, seen: Option<Option<Membership>>) {
        let now = self.now;
        let node = self.node(id.0);
        let config = node.config.ensemble.as_mut().expect("it is a member");
        let server = node.server.as_mut().expect("it asked for it");
        if !node.keeps {
            return server.handle(now, Input::ConfigNotKept { in_force: node.unkept.is_some() });
        }
        if let Some(membership) = node.unkept.take() {
            config.membership = membership;
        }
        if let Some(membership) = seen {
            config.seen = membership;
        }
    }

    fn dial(&mut self, from: ServerId, dial: DialId, port: PeerPort, addresses: &[Address]) {
        let host = addresses.first().map(|address| address.host.as_str()).unwrap_or_default();
        let to = host.strip_prefix("node").and_then(|id| id.parse().ok()).map(ServerId);
        let reached = to.filter(|to| {
            self.nodes.get(to).is_some_and(|node| node.server.is_some()) && !self.cut.contains(&(from, *to))
        });
        let Some(to) = reached else {
            return self.pending.push_back((from, Input::DialFailed { dial }));
        };
        let ends = ((from, LinkId(self.next_link)), (to, LinkId(self.next_link + 1)));
        self.next_link += 2;
        self.links.insert(ends.0, ends.1);
        self.links.insert(ends.1, ends.0);
        if port != PeerPort::Election {
            self.quorum_links.insert((from, to), ends.0.1);
            self.quorum_links.insert((to, from), ends.1.1);
        }
        let address: SocketAddr = "10.0.0.1:4000".parse().expect("an address");
        let origin = LinkOrigin::Accepted { port, from: address };
        self.pending.push_back((to, Input::LinkUp { link: ends.1.1, origin }));
        self.pending.push_back((from, Input::LinkUp { link: ends.0.1, origin: LinkOrigin::Dialed { dial } }));
    }

    /// A member hears of another, as its leader or its learner, what that has not said.
    pub fn forge(&mut self, from: i64, to: i64, message: &Message) {
        let mut bytes = Vec::new();
        quorum::encode(message, &mut bytes);
        let link = self.quorum_links[&(ServerId(to), ServerId(from))];
        self.tell(to, link, Bytes::from(bytes));
    }

    /// Somebody who is no member connects to a port of one.
    pub fn knock(&mut self, id: i64, port: PeerPort) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let from = "10.0.0.66:4000".parse().expect("an address");
        self.pending
            .push_back((ServerId(id), Input::LinkUp { link, origin: LinkOrigin::Accepted { port, from } }));
        self.strangers.insert((ServerId(id), link), Stranger::default());
        link
    }

    /// Whoever knocked goes.
    pub fn go(&mut self, id: i64, link: LinkId) {
        self.pending.push_back((ServerId(id), Input::LinkDown { link }));
        self.run();
    }

    /// Whoever knocked takes nothing more that is sent on the link, but for what [`Cluster::take`] says.
    pub fn take_nothing(&mut self, id: i64, link: LinkId) {
        self.stranger(id, link).untaken = Some(0);
    }

    /// Whoever knocked takes some of what was sent on the link. How much of it there was.
    pub fn take(&mut self, id: i64, link: LinkId, bytes: usize) -> usize {
        let untaken = self.stranger(id, link).untaken.as_mut().expect("it takes all at once");
        let bytes = bytes.min(*untaken);
        *untaken -= bytes;
        if bytes > 0 {
            self.pending.push_back((ServerId(id), Input::LinkDrained { link, bytes }));
            self.run();
        }
        bytes
    }

    /// What came to whoever knocked.
    pub fn received(&mut self, id: i64, link: LinkId) -> &[u8] {
        &self.stranger(id, link).received
    }

    /// Why a member closed the link of whoever knocked, if it did.
    pub fn hung_up(&mut self, id: i64, link: LinkId) -> Option<HangupReason> {
        self.stranger(id, link).hung_up
    }

    fn stranger(&mut self, id: i64, link: LinkId) -> &mut Stranger {
        self.strangers.get_mut(&(ServerId(id), link)).expect("it knocked")
    }

    /// Bytes come to a member on a link.
    pub fn tell(&mut self, id: i64, link: LinkId, bytes: Bytes) {
        self.pending.push_back((ServerId(id), Input::LinkReceived { link, bytes }));
        self.run();
    }

    fn break_link(&mut self, end: End) {
        if let Some(peer) = self.links.remove(&end) {
            self.links.remove(&peer);
            self.bring(end, (peer.0, Input::LinkDown { link: peer.1 }));
        }
    }

    /// What comes from one end of a link is on its way to the other.
    fn bring(&mut self, from: End, input: (ServerId, Input)) {
        let is_late = self.delayed.is_some_and(|pair| self.is_between(pair, from));
        let queue = if is_late { &mut self.late } else { &mut self.pending };
        queue.push_back(input);
    }

    fn node(&mut self, id: i64) -> &mut Node {
        self.nodes.get_mut(&ServerId(id)).expect("it is a member")
    }

    /// What a member does, if it runs.
    pub fn role(&self, id: i64) -> Option<Role> {
        let node = self.nodes.get(&ServerId(id)).filter(|node| node.server.is_some())?;
        let taken = node.events.iter().rev().find_map(|event| match event {
            Event::RoleTaken { role, .. } => Some(*role),
            _ => None,
        });
        Some(taken.unwrap_or(Role::Looking))
    }

    /// Who leads, if exactly one does.
    pub fn leader(&self) -> Option<i64> {
        let mut leaders = self.nodes.keys().filter(|id| self.role(id.0) == Some(Role::Leading));
        let leader = leaders.next()?;
        leaders.next().is_none().then_some(leader.0)
    }

    /// What a member told.
    pub fn events(&self, id: i64) -> &[Event] {
        &self.nodes[&ServerId(id)].events
    }

    /// Why a member stopped by itself.
    pub fn halted(&self, id: i64) -> Option<&HaltReason> {
        self.nodes[&ServerId(id)].halted.as_ref()
    }

    /// The last transaction that a member applied, and the digest of its tree then.
    pub fn applied(&self, id: i64) -> Option<(Zxid, u64)> {
        self.events(id).iter().rev().find_map(|event| match event {
            Event::Applied { zxid, digest } => Some((*zxid, *digest)),
            _ => None,
        })
    }

    /// The files of a member.
    pub fn disk(&mut self, id: i64) -> &mut Disk {
        &mut self.node(id).disk
    }

    /// A client of a member with a new session; none if the member does not serve.
    pub fn client(&mut self, id: i64) -> Option<(ConnId, ConnectResponse)> {
        self.client_with(id, &new_session(10_000))
    }

    /// A client of a member that introduces itself so.
    pub fn client_with(
        &mut self,
        id: i64,
        request: &ConnectRequest<'_>,
    ) -> Option<(ConnId, ConnectResponse)> {
        let conn = self.introduce(id, request);
        let answer = self.introduced(id, conn)?;
        (answer.session != SessionId::NONE).then_some((conn, answer))
    }

    /// A client introduces itself to a member.
    pub fn introduce(&mut self, id: i64, request: &ConnectRequest<'_>) -> ConnId {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.connect(id, bytes)
    }

    /// What a client that introduced itself was answered; none as long as it waits. An expired session is
    /// [`SessionId::NONE`].
    pub fn introduced(&mut self, id: i64, conn: ConnId) -> Option<ConnectResponse> {
        let sent = self.node(id).sent.remove(&conn)?;
        ConnectResponse::decode(sent.get(4..)?).ok()
    }

    /// What a member answers to a four-letter word.
    pub fn word(&mut self, id: i64, word: &[u8; 4]) -> String {
        let conn = self.connect(id, word.to_vec());
        let sent = self.node(id).sent.remove(&conn).unwrap_or_default();
        String::from_utf8(sent).expect("text")
    }

    /// A connection that begins so.
    fn connect(&mut self, id: i64, bytes: Vec<u8>) -> ConnId {
        let node = self.node(id);
        let conn = ConnId(node.next_conn);
        node.next_conn += 1;
        let from = "10.0.0.2:4000".parse().expect("an address");
        self.pending.push_back((ServerId(id), Input::Accepted { conn, from }));
        self.pending.push_back((ServerId(id), Input::Received { conn, bytes: Bytes::from(bytes) }));
        self.run();
        conn
    }

    /// A client goes away.
    pub fn leave(&mut self, id: i64, conn: ConnId) {
        self.pending.push_back((ServerId(id), Input::Closed { conn }));
        self.run();
    }

    /// Sends a request of a client, which nobody waits for.
    pub fn send(&mut self, id: i64, conn: ConnId, xid: i32, op: OpCode, request: &Request<'_>) {
        let bytes = Bytes::from(frame(xid, op, request));
        self.pending.push_back((ServerId(id), Input::Received { conn, bytes }));
    }

    /// Sends a request of a client and returns the answer, if one came.
    pub fn call(&mut self, id: i64, conn: ConnId, op: OpCode, request: &Request<'_>) -> Option<Reply> {
        self.send(id, conn, 1, op, request);
        self.run();
        self.replies(id, conn).into_iter().next()
    }

    /// Whether a client of a member creates a znode.
    pub fn write(&mut self, id: i64, conn: ConnId, path: &str) -> bool {
        self.call(id, conn, OpCode::CREATE, &create(path)).is_some_and(|reply| reply.err.0 == 0)
    }

    /// Whether a member that serves has a znode, as a new client of it is told.
    pub fn exists(&mut self, id: i64, path: &str) -> bool {
        let (conn, _) = self.client(id).expect("it serves");
        let request = Request::Exists { path, watch: false };
        self.call(id, conn, OpCode::EXISTS, &request).expect("an answer").err.0 == 0
    }

    /// Replies and events for a client that were not taken yet.
    pub fn replies(&mut self, id: i64, conn: ConnId) -> Vec<Reply> {
        replies_in(self.node(id).sent.remove(&conn).unwrap_or_default())
    }

    /// Whether a connection was closed by the member.
    pub fn is_closed(&self, id: i64, conn: ConnId) -> bool {
        self.nodes[&ServerId(id)].closed.contains_key(&conn)
    }

    /// Why a member closed a connection, if it did.
    pub fn close_reason(&self, id: i64, conn: ConnId) -> Option<CloseReason> {
        self.nodes[&ServerId(id)].closed.get(&conn).copied().flatten()
    }

    /// Whether there is a link from which a member does not want to be read.
    pub fn pauses_a_link(&self, id: i64) -> bool {
        self.paused.iter().any(|end| end.0 == ServerId(id))
    }

    /// The text of what went wrong, for messages.
    pub fn roles(&self) -> String {
        let roles: Vec<String> = self.nodes.keys().map(|id| format!("{id}: {:?}", self.role(id.0))).collect();
        roles.join(", ")
    }
}

fn recover(config: &Config, disk: &mut Disk) -> Recovered {
    let mut recovery = Recovery::new(config, [1, 2, 3, 4], false);
    loop {
        while let Some(op) = recovery.poll_op() {
            disk.ask(op);
        }
        if let Some(outcome) = recovery.poll_outcome() {
            return outcome.unwrap_or_else(|error| panic!("recovery failed: {error}"));
        }
        for stream in [Stream::Log, Stream::Bulk] {
            if let Some(done) = disk.end_next(stream, None) {
                recovery.on_done(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members that do not run are no substitute for one that does and has no leader yet.
    #[test]
    fn settling_waits_for_every_member_that_runs() {
        let mut cluster = Cluster::new(&members(5, 0), |_| {});
        cluster.start_all();
        cluster.kill(1, 0);
        cluster.kill(2, 0);
        cluster.settle();
        cluster.start(2);
        cluster.settle();
        assert_eq!(cluster.role(2), Some(Role::Following), "{}", cluster.roles());
        assert_eq!(cluster.role(1), None);
    }
}
