//! The world: every node, client, link, disk and clock on one heap of events, in one thread.
//!
//! Nothing happens but by an event, and events of the same moment are put in an order drawn from the seed. The world
//! decides nothing that a server or client could decide; it carries bytes, time and misfortune.

mod calm;
pub mod counts;
mod cuts;
mod disks;
#[cfg(test)]
mod fault_tests;
mod faults;
mod holds;
#[cfg(test)]
mod link_tests;
mod links;
mod losses;
mod members;
mod moments;
mod net;
mod peers;
mod process;
mod rest;
mod strikes;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use zabra_core::client::config::DEFAULT_PORT;
use zabra_core::config::EnsembleConfig;
use zabra_core::server::{Action, Role};
use zabra_core::store::Stream;
use zabra_core::types::Address;
use zabra_core::zab::leader::StepDownReason;

pub use self::counts::Counts;
use self::cuts::Cuts;
use self::faults::FaultStream;
use self::holds::Holds;
use self::links::Links;
use self::moments::{Again, Moment};
use self::peers::Dialing;
use crate::check::{Judge, Violation};
use crate::client::{Board, SimClient};
use crate::clock::{Clock, SimTime};
use crate::ending::RoleEnd;
use crate::fault::{FaultKind, Struck};
use crate::history::{History, Observed, Record};
use crate::link::{End, LinkId};
use crate::marks::{Marks, Reached};
use crate::model::Model;
use crate::node::Node;
use crate::onlooker::Onlooker;
use crate::options::Options;
use crate::picture::Picture;
use crate::places::{ClientId, NodeId};
use crate::roster::Roster;
use crate::rt;
use crate::seed::{Rng, Seed};
use crate::trace::Trace;
use crate::workload::Workload;

/// Records that a report shows.
const HISTORY_KEPT: usize = 200;
const USED_UP: RoleEnd = RoleEnd::SteppedDown(StepDownReason::EpochUsedUp);

/// How far the runtime's clock may be behind the world's.
const RUNTIME_STEP: Duration = Duration::from_millis(10);

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// A connection reaches its server.
    Accept { link: LinkId },
    /// Bytes reach one end of a link.
    Arrive { link: LinkId, to: End },
    /// A client does something.
    Client { client: ClientId },
    /// One end of a link learns that it is gone.
    Close { link: LinkId, to: End },
    /// An attempt to connect to another server goes on.
    Dial { attempt: u64 },
    /// A server learns that another accepted its connection.
    Dialed { link: LinkId },
    /// A disk operation ends.
    Disk { node: NodeId, generation: u64, stream: Stream },
    /// Something goes wrong.
    Fault { kind: FaultKind },
    /// One end of a link hears that it was reset, silent or not.
    GiveUp { link: LinkId, to: End },
    /// An attempt to connect reaches another server.
    Knock { attempt: u64, target: NodeId },
    /// Something goes wrong at the worst moment. That is rare, and the heap is of small events.
    Moment(Box<Moment>),
    /// Bytes for a machine without power are sent once more.
    Probe { link: LinkId, to: End },
    /// A client reads again.
    ReadAgain { link: LinkId },
    /// A full disk has room again.
    Room { node: NodeId },
    /// A process begins.
    Start { node: NodeId, generation: u64 },
    /// A timer is due.
    Timer { node: NodeId, generation: u64 },
    /// A process looks at what happened.
    Wake { node: NodeId, generation: u64 },
}

/// When something happens. Of the same moment the tie decides, which is drawn; should that be the same, too, it is up to the
/// heap, which does the same in every run.
#[derive(Debug)]
struct Due {
    at: SimTime,
    tie: u64,
    event: Event,
}

impl Due {
    /// What it is put in order by, in one comparison.
    const fn key(&self) -> u128 {
        (self.at.0 as u128) << 64 | self.tie as u128
    }
}

impl Ord for Due {
    /// The earliest is the greatest: that is what a heap has on top.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// See the module.
#[derive(Debug)]
pub struct World {
    seed: Seed,
    options: Options,
    now: SimTime,
    heap: BinaryHeap<Due>,
    tie_rng: Rng,
    net_rng: Rng,
    disk_rng: Rng,
    fault_streams: BTreeMap<FaultKind, FaultStream>,
    struck: Vec<Struck>,
    nodes: Vec<Node>,
    clients: Vec<SimClient>,
    links: Links,
    next_link: u64,
    /// Servers that wait for a connection to another.
    dialings: BTreeMap<u64, Dialing>,
    next_attempt: u64,
    cuts: Cuts,
    /// What a scenario holds back.
    holds: Holds,
    /// The servers that a client may connect to, where it may not connect to all.
    homes: BTreeMap<ClientId, Vec<NodeId>>,
    judge: Judge,
    history: History,
    trace: Trace,
    /// What a server wants, while that is carried out: the room is used again.
    actions: Vec<Action>,
    /// How far the runtime's clock is: it follows in steps, as only those ask it who should not.
    runtime_now: SimTime,
    counts: Counts,
    marks: Marks,
    healed: bool,
    /// When the next moment may be struck.
    next_moment: SimTime,
    /// What is struck each time.
    again: Option<Again>,
    /// Whose disk has lost what was durable, until a leader has brought it up to date.
    bereft: Option<NodeId>,
    /// Times that a member gave up to lead or to follow.
    member_roles_lost: u64,
    /// Times that a leader's epoch had no zxids left.
    epochs_used_up: u64,
    /// How long it took, at most, until all had come to rest.
    settled: Duration,
    /// A server that stops by itself is not started again: a scenario wants to look at what it left.
    pub(crate) stays_down: bool,
    /// Who looks at the run, if anybody does.
    onlooker: Option<Box<Onlooker>>,
}

impl World {
    /// The world of a seed and a profile, before anything has happened.
    ///
    /// # Panics
    /// If the configuration of the servers is not valid.
    pub fn with_options(seed: Seed, mut options: Options) -> Self {
        options.config.report_applied = true;
        options.config.check().expect("profiles are valid");
        let mut world = Self {
            seed,
            now: SimTime::ZERO,
            heap: BinaryHeap::new(),
            tie_rng: options.omissions.luck(seed, "ties"),
            net_rng: options.omissions.luck(seed, "net"),
            disk_rng: options.omissions.luck(seed, "disk"),
            fault_streams: FaultKind::ALL
                .iter()
                .map(|&kind| (kind, FaultStream::new(seed.stream("fault", kind as u64))))
                .collect(),
            struck: Vec::new(),
            nodes: nodes_of(seed, &options),
            clients: clients_of(seed, &options),
            links: Links::default(),
            next_link: 1,
            dialings: BTreeMap::new(),
            next_attempt: 1,
            cuts: Cuts::new(options.nodes()),
            holds: Holds::default(),
            homes: BTreeMap::new(),
            judge: Judge::new(
                options.config.tick_time,
                (options.config.min_session_timeout, options.config.max_session_timeout),
                options.config.tick_time
                    * options.config.ensemble.as_ref().map_or(0, |ensemble| ensemble.sync_limit),
                options.config.ensemble.as_ref().map(|_| Roster::first(options.servers, options.observers)),
            )
            .with_full_logs(options.has_full_logs()),
            history: History::new(HISTORY_KEPT),
            trace: Trace::default(),
            actions: Vec::new(),
            runtime_now: SimTime::ZERO,
            counts: Counts::default(),
            marks: Marks::new(
                options.config.ensemble.as_ref().map_or(0, |ensemble| ensemble.commit_log_count),
            ),
            healed: false,
            next_moment: SimTime::ZERO,
            again: None,
            bereft: None,
            member_roles_lost: 0,
            epochs_used_up: 0,
            settled: Duration::ZERO,
            stays_down: false,
            onlooker: None,
            options,
        };
        let has_masters = |ensemble: &EnsembleConfig| ensemble.observer_master_port.is_some();
        if world.options.config.ensemble.as_ref().is_some_and(has_masters) {
            world.judge.expect_observer_masters();
        }
        world.begin();
        world
    }

    /// Lets somebody look at the run from now on.
    pub fn set_onlooker(&mut self, onlooker: Onlooker) {
        self.onlooker = Some(Box::new(onlooker));
    }

    /// What was drawn of the run, if anything was.
    pub fn take_picture(&mut self) -> Option<Picture> {
        self.onlooker.as_mut()?.picture.take()
    }

    fn picture(&mut self) -> Option<&mut Picture> {
        self.onlooker.as_mut()?.picture.as_mut()
    }

    /// What everything follows from.
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// The profile.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The time since the world began.
    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// What stands for everything that has happened.
    pub const fn trace(&self) -> u64 {
        self.trace.hash()
    }

    /// How often things happened.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Where the run has been.
    pub const fn reached(&self) -> Reached {
        self.marks.reached()
    }

    /// How long it took, at most, until all had come to rest.
    pub const fn settled(&self) -> Duration {
        self.settled
    }

    /// The last records.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The faults there were, in order, without those that were left out.
    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// The reference tree.
    pub const fn model(&self) -> &Model {
        self.judge.model()
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0]
    }

    /// A node, to do something to its disk or clock.
    pub fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0]
    }

    /// A client.
    pub fn client(&self, client: ClientId) -> &SimClient {
        &self.clients[client.0]
    }

    /// All clients.
    pub fn clients(&self) -> impl Iterator<Item = &SimClient> {
        self.clients.iter()
    }

    /// A client, to give it a script.
    pub fn client_mut(&mut self, client: ClientId) -> &mut SimClient {
        &mut self.clients[client.0]
    }

    /// Lets the whole run happen: faults and requests for as long as the profile says, then rest.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self) -> Result<(), Violation> {
        let end = SimTime::ZERO + self.options.ends();
        self.run_until(end)?;
        self.rest_of_core()?;
        self.heal()?;
        self.rest()
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The first violation.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        self.run_until(self.now + duration)
    }

    /// Lets time pass until `until`.
    ///
    /// # Errors
    /// The first violation.
    pub fn run_until(&mut self, until: SimTime) -> Result<(), Violation> {
        while self.heap.peek().is_some_and(|due| due.at <= until) {
            self.step()?;
        }
        self.pass_to(until);
        Ok(())
    }

    /// Lets time pass as long as `goes_on`, for at most `max`. Answers whether that was over by then.
    ///
    /// # Errors
    /// The first violation.
    pub fn run_while(
        &mut self,
        max: Duration,
        mut goes_on: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        let until = self.now + max;
        while goes_on(self) {
            if self.heap.peek().is_none_or(|due| due.at > until) {
                self.pass_to(until);
                return Ok(!goes_on(self));
            }
            self.step()?;
        }
        Ok(true)
    }

    /// Schedules what is there from the beginning.
    fn begin(&mut self) {
        for index in 0..self.nodes.len() {
            self.schedule(SimTime::ZERO, Event::Start { node: NodeId(index), generation: 0 });
        }
        for absent in &self.options.omissions.absent {
            if let Some(client) = self.clients.get_mut(absent.0) {
                client.mute();
            }
        }
        for index in 0..self.clients.len() {
            let delay = self.net_rng.duration(Duration::from_millis(1), Duration::from_millis(200));
            self.schedule(SimTime::ZERO + delay, Event::Client { client: ClientId(index) });
        }
        for &kind in FaultKind::ALL {
            self.schedule_fault(kind);
        }
    }

    fn schedule(&mut self, at: SimTime, event: Event) {
        let tie = self.tie_rng.bits();
        self.heap.push(Due { at: at.max(self.now), tie, event });
    }

    fn pass_to(&mut self, at: SimTime) {
        self.now = self.now.max(at);
        let behind = self.now.since(self.runtime_now);
        if behind >= RUNTIME_STEP {
            rt::advance(behind);
            self.runtime_now = self.now;
        }
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Some(Due { at, event, .. }) = self.heap.pop() else { return Ok(()) };
        self.pass_to(at);
        self.counts.events += 1;
        match event {
            Event::Accept { link } => self.on_accept(link),
            Event::Arrive { link, to } => self.on_arrive(link, to),
            Event::Client { client } => self.on_client(client),
            Event::Close { link, to } => self.on_close(link, to),
            Event::Dial { attempt } => self.on_dial(attempt),
            Event::Dialed { link } => self.on_dialed(link),
            Event::Disk { node, generation, stream } => self.on_disk(node, generation, stream),
            Event::Fault { kind } => self.on_fault(kind),
            Event::GiveUp { link, to } => self.lose(link, to),
            Event::Knock { attempt, target } => self.on_knock(attempt, target),
            Event::Moment(moment) => self.on_moment(*moment),
            Event::Probe { link, to } => {
                self.on_probe(link, to);
                Ok(())
            }
            Event::ReadAgain { link } => self.read_again(link),
            Event::Room { node } => {
                self.nodes[node.0].disk.set_capacity(u64::MAX);
                Ok(())
            }
            Event::Start { node, generation } => self.on_start(node, generation),
            Event::Timer { node, generation } => self.on_timer(node, generation),
            Event::Wake { node, generation } => self.on_wake(node, generation),
        }
    }

    fn observe(&mut self, what: Observed) -> Result<(), Violation> {
        match &what {
            Observed::Answered { .. } => self.counts.answers += 1,
            Observed::Applied { node, zxid, .. } => {
                self.counts.applied += 1;
                self.nodes[node.0].applied = *zxid;
            }
            Observed::Connected { resumed: true, .. } => self.counts.resumed += 1,
            Observed::Event { .. } => self.counts.watch_events += 1,
            Observed::Invoked { .. } => self.counts.requests += 1,
            Observed::Logged { record, .. } if record.removes.is_some() => self.counts.cleared += 1,
            Observed::Rewound { .. } => self.counts.rewinds += 1,
            Observed::RoleTaken { standing, .. } if standing.role == Role::Leading => {
                self.counts.leaders += 1;
            }
            Observed::RoleLost { node, why } => {
                self.counts.roles_lost += 1;
                let is_member = self.judge.facts().configs().ruling().is_member(*node);
                self.member_roles_lost += u64::from(is_member);
                self.epochs_used_up += u64::from(*why == USED_UP);
            }
            Observed::SessionExpired { .. } => self.counts.expired += 1,
            Observed::Started { .. } => self.counts.starts += 1,
            _ => {}
        }
        self.marks.observe(&what);
        let record = Record { at: self.now, what };
        let seen = self.onlooker.as_mut().map_or(Ok(()), |onlooker| onlooker.record(&record));
        let verdict = self.judge.observe(&record).and(seen);
        self.watch_for_moment(&record.what);
        if !record.what.is_noise() {
            self.history.push(record);
        }
        verdict
    }
}

/// Every node with the clock that it has.
fn nodes_of(seed: Seed, options: &Options) -> Vec<Node> {
    let mut rng = seed.stream("clock", 0);
    let node = |index: usize| {
        let (rate, wall) = (
            either_way(&mut rng, options.clock.rate_ppm_max),
            either_way(&mut rng, options.clock.wall_ms_max),
        );
        Node::new(Clock::new(rate, wall), seed.stream("node", index as u64))
    };
    (0..options.nodes()).map(node).collect()
}

/// Every client, each with streams of its own. All know the servers by their names.
fn clients_of(seed: Seed, options: &Options) -> Vec<SimClient> {
    let server = |index: usize| Address::new(&format!("node{}", index + 1), DEFAULT_PORT);
    let servers: Vec<Address> = (0..options.nodes()).map(server).collect();
    let board = Board::default();
    let profile = options.workload;
    let client = |index: usize| {
        let stream = |name| seed.stream(name, index as u64);
        let workload = Workload::new(stream("workload"), profile, index as u64);
        let clock = Clock::new(either_way(&mut stream("client clock"), options.clock.rate_ppm_max), 0);
        let (id, servers, board) = (ClientId(index), servers.clone(), board.clone());
        let mut client = SimClient::new(id, stream("client"), clock, workload, profile, servers, board);
        client.expect_timeouts(options.config.min_session_timeout, options.config.max_session_timeout);
        client
    };
    let mut clients: Vec<SimClient> = (0..options.clients).map(client).collect();
    if options.faults.reconfig.is_some() {
        let mut operator = client(options.clients);
        operator.follow_script();
        clients.push(operator);
    }
    clients
}

/// Clocks err either way, by up to `max`.
fn either_way(rng: &mut Rng, max: u64) -> i64 {
    rng.within(0, max * 2) as i64 - max as i64
}
