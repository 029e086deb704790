//! One server process after the other on one machine: its disk and clocks, which outlive processes, and the process
//! of the moment, which recovers, serves and ends.
//!
//! Every process has a generation number. Whatever was begun for an earlier one (a disk completion, a timer, a wake)
//! carries the number and is dropped when it comes: the dead hear nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;
use std::time::Duration;

use zabra_core::recovery::Recovery;
use zabra_core::server::{Input, Role, Server};
use zabra_core::store::{DiskOp, FileName, Stream, epochs};
use zabra_core::time::{Instant, Now};
use zabra_core::types::{ConnId, LinkId as PeerLink, Membership, ServerId, SessionId, Zxid};
use zabra_core::wire::Deframer;

use crate::check::attached::Placed;
use crate::check::stamps::Shown;
use crate::clock::{Clock, SimTime};
use crate::disk::{Content, Disk};
use crate::ending::Excuse;
use crate::history::Kept;
use crate::link::LinkId;
use crate::places::NodeId;
use crate::seed::Rng;
use crate::txnlog::LogTap;
use crate::wiretap::{VoteTap, Wiretap};

/// The files that tell what a server has promised. Their names are made once: every acknowledgement asks for what is in them.
static ACCEPTED_EPOCH: LazyLock<FileName> = LazyLock::new(|| epochs::epoch_file(epochs::ACCEPTED_EPOCH));
static CURRENT_EPOCH: LazyLock<FileName> = LazyLock::new(|| epochs::epoch_file(epochs::CURRENT_EPOCH));
static CURRENT_EPOCH_TEMPORARY: LazyLock<FileName> =
    LazyLock::new(|| epochs::epoch_file(epochs::CURRENT_EPOCH_TEMPORARY));
static UNSYNCED: LazyLock<FileName> = LazyLock::new(|| epochs::epoch_file(epochs::UNSYNCED));

/// What a node's process does at the moment.
#[derive(Debug)]
pub enum Life {
    /// There is none.
    Down,
    /// It reads its disk.
    Recovering(Box<Recovery>),
    /// It has stopped by itself; the connections it had are gone.
    Stopped,
    /// It serves.
    Up(Box<Server>),
}

/// A client connection, as its server has it.
#[derive(Debug)]
pub struct Conn {
    /// What carries it.
    pub link: LinkId,
    /// Cuts what is sent into frames, to see what the client is told.
    pub sent: Deframer,
    /// Whether the handshake was answered.
    pub greeted: bool,
    /// The session that is attached to it.
    pub session: Option<SessionId>,
    /// When something came from it, by the node's monotonic clock.
    pub heard: u64,
}

/// What a server said it does in its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What.
    pub role: Role,
    /// In which epoch.
    pub epoch: i64,
    /// Who leads.
    pub leader: Option<ServerId>,
}

/// A link to another server, as one of the two has it.
#[derive(Debug)]
pub struct Peer {
    /// What carries it.
    pub link: LinkId,
    /// Where the other server runs.
    pub node: NodeId,
    /// Reads along, where leader and learner talk on it.
    pub taps: Option<Box<Taps>>,
    /// Reads along where votes are told: what this end says, and what it hears.
    pub votes: Option<Box<(VoteTap, VoteTap)>>,
}

/// What one end of a link says and hears.
#[derive(Debug, Default)]
pub struct Taps {
    /// What it says.
    pub said: Wiretap,
    /// What it hears.
    pub heard: Wiretap,
    /// Whether it is the leader's end.
    pub leads: bool,
    /// Whether it is a follower's end, which an observer learns from.
    pub serves_observer: bool,
}

/// Requests to the disk in one order.
#[derive(Debug, Default)]
pub struct DiskQueue {
    /// The one that is being carried out.
    pub current: Option<DiskOp>,
    /// Those that wait for it.
    pub waiting: VecDeque<DiskOp>,
}

/// What a disk loses though it was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A bit of the log is not what it was: the number decides which.
    Bit(u64),
    /// All files: there is another disk.
    Everything,
}

/// A machine with a server on it.
#[derive(Debug)]
pub struct Node {
    /// Its disk.
    pub disk: Disk,
    /// Its clocks.
    pub clock: Clock,
    /// Counts processes.
    pub generation: u64,
    /// The process.
    pub life: Life,
    /// What is in the log of this process, and what of it is durable.
    pub tap: LogTap,
    /// What happened and was not told to the process yet.
    pub inbox: VecDeque<Input>,
    /// When it is told.
    pub wake: Option<SimTime>,
    /// When its server wants to be told the time, by its monotonic clock, and by the world's.
    timeout: Option<(Instant, SimTime)>,
    /// When its timer is set for.
    pub timer: Option<SimTime>,
    /// Turns in a row in which nothing came but the time, and after which it asked for the time again at once.
    pub idle_turns: u32,
    /// When the checkers are told next what its clock shows, by that clock.
    pub show_due: u64,
    /// The epoch of its history, as a file named it when the process began.
    pub epoch_named: Option<i64>,
    /// The epochs that a power failure would leave, the promised one first, and after how many changes of the disk.
    epochs_kept: Cell<(u64, i64, i64)>,
    /// Sessions that it has granted to servers that learn from it, in this turn.
    pub granted: Vec<(SessionId, NodeId)>,
    /// Its connections.
    pub conns: BTreeMap<ConnId, Conn>,
    /// Sessions that have come to another place, or to their end, in this turn.
    pub placed: Vec<(SessionId, Placed)>,
    /// Never used twice, not even by later processes.
    pub next_conn: u64,
    /// Its links to other servers, by its own numbers.
    pub peers: BTreeMap<PeerLink, Peer>,
    /// Never used twice, not even by later processes.
    pub next_peer: u64,
    /// What its process does in the ensemble, as far as it said so.
    pub standing: Option<Standing>,
    /// When its process last looked at something from its leader, or had a reason not to.
    pub heard_at: SimTime,
    /// What its wall clock has shown since its log rested.
    pub shown: Shown,
    /// The last transaction that its process applied.
    pub applied: Zxid,
    /// The members that its process goes by and could not write to the disk.
    pub unkept: Option<Membership>,
    /// It has power: whoever knocks is at least refused.
    pub powered: bool,
    /// The log, and everything else.
    pub queues: BTreeMap<Stream, DiskQueue>,
    /// The disk does nothing until then.
    pub stalled_until: SimTime,
    /// The process does nothing until then.
    pub paused_until: SimTime,
    /// Its disk fails, which excuses that it stops.
    pub disk_fails: bool,
    /// Its files were damaged, which excuses that it does not start.
    pub is_damaged: bool,
    /// What its disk loses before it is read again.
    pub loses: Option<Loss>,
    /// A process has begun its database: nobody asks for a new one again.
    pub has_begun: bool,
    /// A synchronisation failed: what the cache shows is not what the disk has, so only a power cycle helps.
    pub cache_lies: bool,
    /// It was asked to stop.
    pub stopping: bool,
    /// Seeds of its processes, and how busy its processor is.
    pub rng: Rng,
}

impl Node {
    /// A machine with an empty disk, switched off.
    pub fn new(clock: Clock, rng: Rng) -> Self {
        let disk = Disk::default();
        Self {
            tap: LogTap::new(&disk),
            disk,
            clock,
            generation: 0,
            life: Life::Down,
            inbox: VecDeque::new(),
            wake: None,
            timeout: None,
            timer: None,
            idle_turns: 0,
            show_due: 0,
            epoch_named: None,
            epochs_kept: Cell::default(),
            granted: Vec::new(),
            conns: BTreeMap::new(),
            placed: Vec::new(),
            next_conn: 1,
            peers: BTreeMap::new(),
            next_peer: 1,
            standing: None,
            heard_at: SimTime::ZERO,
            shown: Shown::at_rest(clock.now(SimTime::ZERO).wall),
            applied: Zxid::ZERO,
            unkept: None,
            powered: true,
            queues: BTreeMap::from([
                (Stream::Log, DiskQueue::default()),
                (Stream::Bulk, DiskQueue::default()),
            ]),
            stalled_until: SimTime::ZERO,
            paused_until: SimTime::ZERO,
            disk_fails: false,
            is_damaged: false,
            loses: None,
            has_begun: false,
            cache_lies: false,
            stopping: false,
            rng,
        }
    }

    /// Whether its process serves.
    pub const fn is_up(&self) -> bool {
        matches!(self.life, Life::Up(_))
    }

    /// Whether it has no process that works.
    pub const fn is_down(&self) -> bool {
        matches!(self.life, Life::Down | Life::Stopped)
    }

    /// How long ago the server wanted to be told of the time, if that has come.
    pub fn delay(&self, now: Instant) -> Duration {
        self.timeout.map_or(Duration::ZERO, |(instant, _)| now.since(instant))
    }

    /// Takes note of when its server wants to be told the time. Most often that is what it wanted before.
    pub fn expect(&mut self, timeout: Option<Instant>) {
        if timeout != self.timeout.map(|(instant, _)| instant) {
            self.timeout = timeout.map(|instant| (instant, self.clock.when(instant)));
        }
    }

    /// When its server wants to be told the time.
    pub fn due(&self) -> Option<SimTime> {
        self.timeout.map(|(_, at)| at)
    }

    /// Whether that has come.
    pub fn is_due(&self, now: Now) -> bool {
        self.timeout.is_some_and(|(instant, _)| instant <= now.mono)
    }

    /// Takes note of what its wall clock shows.
    pub fn shows(&mut self, now: SimTime) {
        self.shown.and(self.clock.now(now).wall);
    }

    /// Begins anew with that, if the log has nothing to do.
    pub fn shows_after_turn(&mut self, now: SimTime) {
        let log = &self.queues[&Stream::Log];
        if log.current.is_none() && log.waiting.is_empty() {
            self.shown = Shown::at_rest(self.clock.now(now).wall);
        }
    }

    /// Whether its disk has nothing to do.
    pub fn disk_rests(&self) -> bool {
        self.queues.values().all(|queue| queue.current.is_none() && queue.waiting.is_empty())
    }

    /// What its process has for an excuse, should it stop by itself.
    pub const fn excuse(&self) -> Option<Excuse> {
        match self {
            Self { stopping: true, .. } => Some(Excuse::Asked),
            Self { disk_fails: true, .. } => Some(Excuse::DiskFails),
            Self { is_damaged: true, .. } => Some(Excuse::Damaged),
            _ => None,
        }
    }

    /// What a power failure at this moment would leave.
    pub fn kept(&self) -> Kept {
        let changes = self.disk.durable_changes();
        let (mut as_of, mut accepted, mut current) = self.epochs_kept.get();
        if as_of != changes {
            let epoch = |file| self.durable_epoch(file).unwrap_or_default();
            (as_of, accepted, current) = (changes, epoch(&ACCEPTED_EPOCH), epoch(&CURRENT_EPOCH));
            self.epochs_kept.set((as_of, accepted, current));
        }
        Kept { accepted, current, durable: self.tap.durable(), last: self.tap.last() }
    }

    /// The epoch of its history, as the file names it that a process finds now, or the next one under its temporary name, as
    /// ZooKeeper's servers may leave it.
    pub fn named_epoch(&self) -> Option<i64> {
        let of = |(_, content): (_, &Content)| epochs::decode(&content.to_vec());
        let named = |name: &FileName| self.disk.files().find(|(file, _)| *file == name).and_then(of);
        named(&CURRENT_EPOCH).map(|epoch| epoch.max(named(&CURRENT_EPOCH_TEMPORARY).unwrap_or_default()))
    }

    /// What a power failure would leave in the file of an epoch.
    fn durable_epoch(&self, file: &FileName) -> Option<i64> {
        epochs::decode(&self.disk.durable_file(file)?.to_vec())
    }

    /// A process has promised a later epoch, durably, and ended before anybody heard of it: who is elected, and dies
    /// when a quorum has come but was told nothing, has done so, and may have done so again. Answers whether there was
    /// a promise before.
    pub fn promise_more(&mut self, by: i64) -> bool {
        let Some(promised) = self.durable_epoch(&ACCEPTED_EPOCH) else { return false };
        self.disk.put(ACCEPTED_EPOCH.clone(), epochs::encode(promised + by).as_bytes());
        true
    }

    /// Whether it says of itself that something may be missing that it has acknowledged.
    pub fn may_lack_data(&self) -> bool {
        self.disk.durable_file(&UNSYNCED).is_some()
    }

    /// The queue of a stream.
    pub fn queue(&mut self, stream: Stream) -> &mut DiskQueue {
        self.queues.get_mut(&stream).expect("both streams have one")
    }

    /// Forgets everything that lives in a process.
    pub fn forget_process(&mut self) {
        self.generation += 1;
        self.inbox.clear();
        self.wake = None;
        self.timeout = None;
        self.timer = None;
        self.idle_turns = 0;
        self.show_due = 0;
        self.granted.clear();
        self.conns.clear();
        self.placed.clear();
        self.peers.clear();
        self.standing = None;
        self.applied = Zxid::ZERO;
        self.unkept = None;
        self.stopping = false;
        for queue in self.queues.values_mut() {
            *queue = DiskQueue::default();
        }
    }
}
