//! The server: owns the parts and dispatches. Holds no protocol detail itself.
//!
//! | file | what happens there |
//! |---|---|
//! | `input`, `action`, `event` | what a server is told, asks for, and tells |
//! | `clients` | connections come, speak and go |
//! | `throttling` | who may ask for something, and who waits until there is room |
//! | `handshake` | sessions are opened and re-attached |
//! | `local` | sessions that no other server knows |
//! | `requests` | a request is taken: read now, read later, or proposed |
//! | `commit` | a durable transaction is applied, watched and answered |
//! | `disk` | completions come in, log batches go out |
//! | `snapshots` | the tree is encoded while it changes |
//! | `expiry` | what is due: sessions, silent connections, containers, old files |
//! | `admin` | four-letter words |
//! | `monitor` | the one that tells how the server is |
//! | `metrics` | what is counted and measured for it |
//! | `ensemble` | a server among others: its role, its links, what it learns and what it leads |

pub mod action;
mod admin;
mod clients;
mod commit;
mod disk;
mod ensemble;
pub mod event;
mod expiry;
mod handshake;
pub mod input;
mod local;
mod metrics;
mod monitor;
mod requests;
mod snapshots;
mod throttling;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::RngCore;

pub use self::action::{Action, CloseReason, HaltReason, HangupReason};
use self::ensemble::Ensemble;
pub use self::event::{Event, Role};
pub use self::input::{Input, LinkOrigin, OpenFiles, PeerPort};
use self::metrics::Metrics;
use crate::ASSERTS_ALL;
use crate::config::Config;
use crate::conn::stats::ServerStats;
use crate::conn::{ConnTable, Throttled};
use crate::pipeline::pending::Pending;
use crate::pipeline::quota_log::QuotaLog;
use crate::recovery::Recovered;
use crate::rng;
use crate::session::SessionTable;
use crate::store::{Inventory, LogWriter, Purger, Snapshotter, Tickets};
use crate::time::{Instant, Now};
use crate::tree::{Hint, Tree, WatchTable};
use crate::types::{ConnId, OpCode, Txn, TxnHeader, Zxid};
use crate::wire::record::FileHeader;

/// A server, alone or a member of an ensemble.
///
/// See the crate's documentation for how it is run. Inputs may come in any number before actions are drained, and
/// should: everything that is taken before one drain shares one write to the log and one sync.
#[derive(Debug)]
pub struct Server {
    config: Config,
    now: Now,
    phase: Phase,
    /// What is to be done, oldest first.
    actions: VecDeque<Action>,

    tree: Tree,
    watches: WatchTable,
    sessions: SessionTable,
    conns: ConnTable,

    /// Transactions in the log that are not applied yet, oldest first: what is not known to be durable.
    proposals: VecDeque<Proposal>,
    /// The tree's digest was not that of the last transaction.
    digest_differs: bool,
    /// What `proposals` will change. Empty when they are.
    pending: Pending,
    /// Reads that wait behind a write of their own session.
    waiting_reads: usize,
    /// Writes that were sent to the leader for connections that wait for them.
    forwarded: usize,
    /// Connections with [`Conn::held_reads`](crate::conn::Conn::held_reads).
    holding: usize,

    tickets: Tickets,
    log: LogWriter,
    /// When the append under way was handed to the disk.
    append_since: Option<Instant>,
    /// Syncs that took longer than they should have.
    slow_syncs: u64,
    /// For a snapshot that is due, the log goes on in a new file behind this.
    rolled_behind: Option<Zxid>,
    /// When the snapshot under way was begun.
    snapshot_since: Option<Instant>,
    snapshotter: Snapshotter,
    /// Encodes the snapshot under way.
    snapshot: Option<snapshots::Encoding>,
    /// All of a snapshot was encoded, but the log is not durable up to what it holds.
    unfinished_snapshot: Option<Zxid>,
    purger: Purger,
    inventory: Inventory,
    /// Draws when the next snapshot is due.
    snapshot_rng: ChaCha12Rng,

    /// Connections with something in their outbox.
    to_send: Vec<ConnId>,
    /// Connections whose requests wait for room.
    throttled: Throttled,
    /// Connections that have had their turn and go on with the next tick.
    yielded: VecDeque<ConnId>,
    /// Counts inputs. What a connection may cost in one of them is limited.
    turn: u64,
    /// Connections without a session, and until when they may be; oldest first.
    greetings: VecDeque<(Instant, ConnId)>,
    /// Connections whose session has writes of an earlier connection under way, by the last of those.
    reattaching: BTreeSet<(Zxid, ConnId)>,
    containers: expiry::Containers,
    leniency: expiry::Leniency,
    /// It orders from now on, and has not looked yet whether each ephemeral znode has a session.
    owners_unchecked: bool,
    quota_log: QuotaLog,
    stats: ServerStats,
    metrics: Metrics,
    /// Since when it is what it is: a server that stands alone, since it began; a member, since it has a leader.
    role_since: Instant,
    /// What the operating system says of this process's open files: how many there are, and may be.
    open_files: Option<OpenFiles>,
    /// What `stmk` set; nothing is traced by it.
    trace_mask: i64,
    /// Keys the tables that are made anew.
    hash_rng: ChaCha12Rng,
    /// What a member of an ensemble has. `None`: the server stands alone.
    ensemble: Option<Box<Ensemble>>,
}

/// Whether the server still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// No more requests, and who waits for none is closed. Until then at the latest the others are listened to, as far as
    /// they have a part in what clients of this server wait for.
    Finishing {
        until: Instant,
    },
    /// Nobody is listened to: what was proposed is finished as far as that takes this server alone.
    Stopping,
    /// It asked to be halted. Nothing that it is told has any effect.
    Halted,
}

/// A transaction that is in the log and waits to be durable.
#[derive(Debug)]
struct Proposal {
    header: TxnHeader,
    txn: Txn,
    /// What helps to apply it.
    hint: Hint,
    /// The digest of the tree after it, as it was predicted by whoever ordered it.
    digest: Option<u64>,
    /// Who is to be answered, where this server ordered it.
    asked: Option<Asked>,
}

/// A request of a client of this server.
#[derive(Clone, Copy, Debug)]
struct Asked {
    conn: ConnId,
    /// What the client asked for; differs from the transaction's where the request was refused.
    op: OpCode,
    received: Instant,
}

impl Server {
    /// A server that continues from what was found on its disk.
    ///
    /// `seed` is all the randomness it will ever have.
    ///
    /// # Panics
    /// If the configuration does not pass [`Config::check`].
    pub fn new(config: Config, recovered: Recovered, seed: [u8; 32], now: Now) -> Self {
        config.check().expect("the configuration was checked before anything was recovered under it");
        let mut hash_rng = rng::stream(seed, rng::Stream::Hash);
        let hash_seed = core::array::from_fn(|_| hash_rng.next_u64());
        let mut snapshot_rng = rng::stream(seed, rng::Stream::Snapshot);
        let ensemble = Ensemble::new(&config, &recovered, seed);
        let Recovered {
            tree,
            sessions,
            inventory,
            replayed_txns,
            replayed_bytes,
            digest_mismatches,
            config_before,
            ..
        } = recovered;
        let last_zxid = tree.last_zxid();
        let mut metrics = Metrics::default();
        metrics.summaries.startup_txns_loaded.add(replayed_txns);
        metrics.counters.digest_mismatches_count = digest_mismatches;
        let draw = snapshot_rng.next_u64();
        let session_draw = rng::stream(seed, rng::Stream::Session).next_u64();
        let mut server = Self {
            now,
            phase: Phase::Running,
            actions: VecDeque::new(),
            watches: WatchTable::new(hash_seed),
            sessions: SessionTable::new(config.server_id, config.tick_time, &sessions, now, session_draw),
            conns: ConnTable::new(),
            proposals: VecDeque::new(),
            digest_differs: false,
            pending: Pending::new(&tree),
            waiting_reads: 0,
            forwarded: 0,
            holding: 0,
            tickets: Tickets::default(),
            log: LogWriter::new(&config, log_header(), last_zxid),
            append_since: None,
            slow_syncs: 0,
            rolled_behind: None,
            snapshot_since: None,
            snapshotter: Snapshotter::new(&config, draw, replayed_txns, replayed_bytes),
            snapshot: None,
            unfinished_snapshot: None,
            purger: Purger::new(&config, now.mono),
            inventory,
            snapshot_rng,
            to_send: Vec::new(),
            throttled: Throttled::default(),
            yielded: VecDeque::new(),
            turn: 0,
            greetings: VecDeque::new(),
            reattaching: BTreeSet::new(),
            containers: expiry::Containers::new(&config, now.mono),
            leniency: expiry::Leniency::default(),
            owners_unchecked: true,
            quota_log: QuotaLog::new(&config),
            stats: ServerStats::default(),
            metrics,
            role_since: now.mono,
            open_files: None,
            trace_mask: admin::TRACE_MASK_DEFAULT,
            ensemble,
            hash_rng,
            tree,
            config,
        };
        server.recall_config(config_before);
        server.write_config();
        server
    }

    /// Something happened. Cannot fail: bad bytes close a connection, a failing disk halts the server.
    ///
    /// # Panics
    /// If the monotonic clock went back, or a disk completion was not asked for: the caller is broken.
    pub fn handle(&mut self, now: Now, input: Input) {
        assert!(now.mono >= self.now.mono, "the monotonic clock went back");
        self.now = now;
        self.turn += 1;
        if self.phase == Phase::Halted {
            return;
        }
        self.close_unknown_sessions();
        match input {
            Input::Tick => {
                self.resume_yielded();
                self.on_tick();
            }
            Input::Accepted { conn, from } => self.on_accepted(conn, from),
            Input::Received { conn, bytes } => self.on_received(conn, bytes),
            Input::Drained { conn, bytes } => self.on_drained(conn, bytes),
            Input::Closed { conn } => self.on_closed(conn),
            Input::LinkUp { link, origin } => self.on_link_up(link, origin),
            Input::DialFailed { dial } => self.on_dial_failed(dial),
            Input::LinkReceived { link, bytes } => self.on_link_received(link, bytes),
            Input::LinkDrained { link, bytes } => self.on_link_drained(link, bytes),
            Input::ConfigNotKept { in_force } => self.on_config_not_kept(in_force),
            Input::LinkDown { link } => self.on_link_down(link),
            Input::Disk(done) => self.on_disk(&done),
            Input::OpenFiles(files) => self.open_files = Some(files),
            Input::Shutdown => self.on_shutdown(),
        }
        if self.ensemble.is_some() {
            self.run_ensemble();
            self.stop_listening_if_answered();
        }
        self.check_invariants();
    }

    /// The next thing to be done. Call it until there is none, always before waiting.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && self.phase != Phase::Halted {
            self.gather_disk_ops();
            self.gather_sends();
            self.gather_link_sends();
            self.halt_if_done();
        }
        self.actions.pop_front()
    }

    /// When [`Input::Tick`] is next worth sending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running | Phase::Finishing { .. } | Phase::Stopping if !self.yielded.is_empty() => {
                return Some(self.now.mono);
            }
            Phase::Running if self.held_yields() => return Some(self.now.mono),
            Phase::Running => {}
            Phase::Finishing { until } => return Some(until),
            // A server that stops lets nothing expire, so no tick would settle anything.
            Phase::Stopping | Phase::Halted => return None,
        }
        let greeting = self.greetings.front().map(|&(deadline, _)| deadline);
        let ordering = self.is_ordering();
        let timers = [
            self.sessions.poll_timeout(ordering).map(|due| self.leniency.put_off(due)),
            self.containers.deadline().filter(|_| ordering),
            greeting,
            self.purger.deadline().filter(|_| !self.is_rewinding()),
            self.ensemble_timeout(),
        ];
        Instant::earliest(&timers)
    }

    fn on_shutdown(&mut self) {
        if self.phase == Phase::Running {
            self.phase = match &self.config.ensemble {
                Some(ensemble) => Phase::Finishing { until: self.now.mono + ensemble.stop_wait_max },
                None => Phase::Stopping,
            };
            // A snapshot may take minutes, and nobody looks any more whether a leader that sends one is still there.
            self.abandon_snapshots();
            self.snapshotter.leave();
            self.show_everybody_out();
        }
    }

    /// A stopping server halts once all it proposed is durable and answered. Among others it is enough that its log is
    /// durable: what they have not decided in time they may decide without it, or never.
    fn halt_if_done(&mut self) {
        let answered = (self.proposals.is_empty() || self.ensemble.is_some()) && self.yielded.is_empty();
        let done = answered && self.log.is_idle() && !self.snapshotter.is_running();
        if self.phase == Phase::Stopping && done {
            self.halt(HaltReason::Shutdown);
        }
    }

    fn halt(&mut self, why: HaltReason) {
        self.phase = Phase::Halted;
        self.actions.push_back(Action::Halt { why });
    }

    /// Requests that are in the server: what throttling looks at. What was sent to the leader comes back as proposals, and
    /// does not count twice.
    fn in_process(&self) -> usize {
        self.proposals.len().max(self.forwarded) + self.waiting_reads
    }

    /// What holds between any two inputs, where it can be said at no cost.
    fn check_invariants(&self) {
        assert!(self.log.durable() <= self.log.appended(), "durable ahead of appended");
        let alone = self.ensemble.is_none();
        assert!(!alone || self.forwarded == 0, "sent to a leader that there is none of");
        assert!(!alone || self.tree.last_zxid() <= self.log.durable(), "applied what is not durable");
        assert!(!self.proposals.is_empty() || self.pending.is_empty(), "pending changes without proposals");
        assert!(
            !ASSERTS_ALL
                || !self.proposals.is_empty()
                || !self.is_ordering()
                || self.pending.digest() == self.tree.digest(),
            "the predicted digest is not the tree's"
        );
        if ASSERTS_ALL {
            self.check_waits();
        }
        if let Some(oldest) = self.proposals.front() {
            let durable = self.log.durable();
            assert!(!alone || oldest.header.zxid > durable, "a durable transaction was not applied");
        }
    }
}

/// What every log file begins with.
fn log_header() -> Bytes {
    let mut bytes = Vec::with_capacity(FileHeader::LEN);
    FileHeader::LOG.encode(&mut bytes);
    Bytes::from(bytes)
}
