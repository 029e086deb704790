//! From what is found on the disk to where a server goes on: the newest snapshot that can be read, and the log
//! behind it.
//!
//! [`Recovery`] asks for disk operations like everything else here, so that the simulator can put any disk in front
//! of it. It changes nothing before it has decided that the server can start; then it carries its repairs out (cuts
//! a torn tail, removes what a crash left half-written, begins a new database) and only after their completion says
//! what it recovered. Started again after a crash at any point in between, it comes to the same end.
//!
//! In an ensemble it reads the epoch files as well (`epochs.rs`), and a running server uses it between two roles to
//! forget what its leader does not know ([`Recovery::rewinding`], `rewind.rs`).
//!
//! ```text
//! list ─▶ probe snapshots ─▶ load the newest complete one ─▶ replay the log ─▶ repair ─▶ Recovered
//!                                   ▲      │ unreadable            │ decide.rs
//!                                   └──────┘ the next older one    ▼
//!                                                            RecoveryError
//! ```

mod database;
mod decide;
mod epochs;
mod load;
mod log_reader;
#[cfg(test)]
mod member_tests;
mod reader;
mod repair;
mod replay;
mod report;
mod rewind;
#[cfg(test)]
mod rewind_tests;
mod scan;
#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn_batch;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

pub use self::log_reader::{LogReadError, LogReader, LogStart, LogStep};
pub use self::report::{Notice, RecoveryError, SnapshotProblem};
pub use self::scan::{BadHeader, Damage, DamageKind};

use self::database::Database;
pub(crate) use self::database::config_in;
use self::epochs::EpochReads;
use self::load::{Loaded, SnapshotLoad, tree_options};
use self::repair::Repair;
use self::replay::{Limits, Repairs, Replay};
use crate::config::Config;
use crate::store::epochs::{Epochs, UNSYNCED, epoch_file};
use crate::store::{DiskAnswer, DiskDone, DiskOp, FileName, Inventory, SnapshotFile, Tickets};
use crate::tree::Tree;
use crate::types::{Compression, Membership, ServerId, SessionId, Ticket, Zxid};
use crate::wire::compression::begins_well;
use crate::wire::snapshot::{COMPLETE_CHECK_LEN, is_complete};

/// Snapshots that are tried, newest first.
const CANDIDATES_MAX: usize = 100;

/// Where a server goes on.
#[derive(Debug)]
pub struct Recovered {
    /// The znodes.
    pub tree: Tree,
    /// The open sessions and their timeouts in milliseconds.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The last transaction.
    pub last_zxid: Zxid,
    /// The configuration before the newest one, if the log has that: it came into force, for nobody proposes a change of
    /// members before.
    pub config_before: Option<Membership>,
    /// What the epoch files say, which is on the disk by now; only at the start of a member of an ensemble.
    pub epochs: Option<Epochs>,
    /// A member of an ensemble may have lost what it once acknowledged: there was nothing on its disk, and nothing says
    /// that this is right; or its log or its newest snapshot is damaged; or that was so before, and no leader has
    /// brought it up since. Until one has, it must not vote, and calls its last transaction [`Zxid::UNKNOWN`] (PARITY
    /// `disk.load.empty`). The file [`UNSYNCED`] says so until then. What is damaged was not touched: it goes when a
    /// leader has been found, by [`Recovery::rewinding`] to the last transaction.
    pub unsynced: bool,
    /// The log of a member of an ensemble ends with what a leader sent it that had a hole in its memory, and that was never
    /// acknowledged (see `database.rs`). The server votes and counts, for what it has acknowledged is all there; but
    /// what it follows with is to be a snapshot.
    pub diverged: bool,
    /// The files there are now.
    pub inventory: Inventory,
    /// How much of the log had to be replayed, for [`crate::store::Snapshotter::new`]; where there was no snapshot
    /// at all, enough to make one due at once.
    pub replayed_txns: u64,
    /// Likewise in bytes.
    pub replayed_bytes: u64,
    /// How many digests on the disk are not those of the tree; the first is in the report.
    pub digest_mismatches: u64,
    /// What the operator should hear of.
    pub report: Vec<Notice>,
}

/// Recovers a server's data.
#[derive(Debug)]
pub struct Recovery {
    config: Config,
    hash_seed: [u64; 4],
    /// On an empty disk a new database may begin. Where it may not, a member of an ensemble counts as one that has lost
    /// its data, and a server that stands alone does not start.
    may_begin: bool,
    /// The operator left ZooKeeper's `initialize` file.
    initialize: bool,
    /// Everything behind this transaction is to be forgotten.
    target: Option<Zxid>,
    /// All that there is makes way for a leader's snapshot: should that not come, the next start must not take this server
    /// for one that never had anything.
    discards: bool,
    tickets: Tickets,
    /// The last ticket that is somebody else's.
    foreign: Ticket,
    /// Completions up to this one belong to something that was given up.
    ignored: Ticket,
    /// Operations that have not ended.
    in_flight: usize,
    inventory: Inventory,
    epochs: EpochReads,
    /// The snapshots that could not be used, newest first.
    unusable: Vec<(SnapshotFile, SnapshotProblem)>,
    report: Vec<Notice>,
    /// Snapshots are all that there was, and none of them can be used.
    nothing_usable: bool,
    /// There is no better snapshot than one that the log does not reach the end of, and the operator accepts the loss.
    as_it_is: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    List { asked: bool },
    Epochs,
    Probe { candidates: Vec<SnapshotFile>, next: usize, asked: bool },
    Load { load: Box<SnapshotLoad>, older: VecDeque<SnapshotFile> },
    Replay { replay: Box<Replay>, database: Box<Database>, base: Option<Base> },
    Repair { ops: VecDeque<Repair>, asked: bool, recovered: Box<Recovered> },
    Outcome(Box<Result<Recovered, RecoveryError>>),
    Over,
}

/// The snapshot that the log is replayed behind.
#[derive(Debug)]
struct Base {
    snapshot: SnapshotFile,
    /// It may hold something of transactions up to this one.
    reaches: Zxid,
    older: VecDeque<SnapshotFile>,
}

/// Whether a snapshot that may hold something of transactions up to `reaches` is of no use, since the log behind it ends at
/// `last_zxid`: parts of transactions are in a tree that is nobody's.
///
/// An epoch's first zxid is no transaction: ZooKeeper's leader has it while nothing has been asked of it.
fn is_ahead(reaches: Zxid, last_zxid: Zxid) -> bool {
    reaches > last_zxid && reaches.counter() > 0
}

impl Recovery {
    /// Begins. `hash_seed` keys the tree's hash of paths. `initialize` says that an operator left ZooKeeper's
    /// `initialize` file: an empty directory is a new database then, whatever `db_autocreate` says.
    pub fn new(config: &Config, hash_seed: [u64; 4], initialize: bool) -> Self {
        Self {
            may_begin: config.db_autocreate || initialize,
            initialize,
            config: config.clone(),
            hash_seed,
            target: None,
            discards: false,
            tickets: Tickets::default(),
            foreign: Ticket(0),
            ignored: Ticket(0),
            in_flight: 0,
            inventory: Inventory::default(),
            epochs: EpochReads::default(),
            unusable: Vec::new(),
            report: Vec::new(),
            nothing_usable: false,
            as_it_is: false,
            phase: Phase::List { asked: false },
        }
    }

    /// Begins with the disk of a running server, on which everything behind `target` is to be forgotten; see
    /// `rewind.rs`. Nothing else may be asked of the disk meanwhile: the log is idle, and no snapshot is being written.
    pub fn rewinding(config: &Config, hash_seed: [u64; 4], target: Zxid) -> Self {
        Self { target: Some(target), may_begin: false, ..Self::new(config, hash_seed, false) }
    }

    /// Likewise for all that there is: a leader's snapshot is to take its place. Until it has, [`UNSYNCED`] says that this is
    /// no server without a history.
    pub fn discarding(config: &Config, hash_seed: [u64; 4]) -> Self {
        Self { discards: true, ..Self::rewinding(config, hash_seed, Zxid::ZERO) }
    }

    /// Issues the tickets that come after these, on a disk that has been asked for something before.
    /// [`Recovery::into_tickets`] gives them back.
    pub fn with_tickets(self, tickets: Tickets) -> Self {
        assert_eq!(self.tickets.last(), Ticket(0), "tickets were issued already");
        Self { foreign: tickets.last(), ignored: tickets.last(), tickets, ..self }
    }

    /// The tickets to go on with after the outcome, when none of those that were issued is in flight any more.
    pub fn into_tickets(self) -> Tickets {
        self.tickets
    }

    /// Whether `ticket` names one of these operations.
    pub fn owns(&self, ticket: Ticket) -> bool {
        ticket > self.foreign && ticket <= self.tickets.last()
    }

    /// What the disk is to do next, if anything: call until `None`.
    pub fn poll_op(&mut self) -> Option<DiskOp> {
        let op = self.next_op()?;
        self.in_flight += 1;
        Some(op)
    }

    fn next_op(&mut self) -> Option<DiskOp> {
        let tickets = &mut self.tickets;
        match &mut self.phase {
            Phase::List { asked: asked @ false } => {
                *asked = true;
                Some(DiskOp::List { ticket: tickets.issue() })
            }
            Phase::Epochs => self.epochs.poll_op(tickets),
            Phase::Probe { candidates, next, asked: asked @ false } => {
                *asked = true;
                let SnapshotFile { file, size, encoding, .. } = &candidates[*next];
                let len = COMPLETE_CHECK_LEN;
                let offset = match encoding {
                    Compression::None => size.saturating_sub(len as u64),
                    // Whether it is whole shows only when it is decompressed.
                    Compression::Gzip | Compression::Snappy => 0,
                };
                let file = file.clone();
                Some(DiskOp::Read { ticket: tickets.issue(), file, offset, len })
            }
            Phase::Load { load, .. } => load.poll_op(tickets),
            Phase::Replay { replay, .. } => replay.poll_op(tickets),
            Phase::Repair { ops, asked: asked @ false, .. } => {
                *asked = true;
                let repair = ops.front().expect("without repairs to do there is an outcome");
                Some(repair.op(tickets.issue()))
            }
            Phase::List { .. }
            | Phase::Probe { .. }
            | Phase::Repair { .. }
            | Phase::Outcome(_)
            | Phase::Over => None,
        }
    }

    /// Takes a completion. What comes after the outcome is ignored.
    pub fn on_done(&mut self, done: DiskDone) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if done.ticket <= self.ignored {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::List { .. } => self.on_listing(done),
            Phase::Epochs => match self.epochs.on_done(done) {
                Ok(()) => self.read_epochs(),
                Err(error) => self.fail(error),
            },
            Phase::Probe { candidates, next, .. } => self.on_probe(candidates, next, done),
            Phase::Load { load, older } => self.on_loaded(load, older, done),
            Phase::Replay { mut replay, database, base } => match replay.on_done(done) {
                Ok(()) => self.advance(replay, database, base),
                Err(error) => self.fail(error),
            },
            Phase::Repair { ops, recovered, .. } => self.on_repaired(ops, recovered, done),
            over @ (Phase::Outcome(_) | Phase::Over) => self.phase = over,
        }
    }

    /// What it came to, once it has and nothing that was asked of the disk is in flight any more.
    pub fn poll_outcome(&mut self) -> Option<Result<Recovered, RecoveryError>> {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Outcome(outcome) if self.in_flight == 0 => Some(*outcome),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn fail(&mut self, error: RecoveryError) {
        self.phase = Phase::Outcome(Box::new(Err(error)));
    }

    fn on_listing(&mut self, done: DiskDone) {
        let entries = match done.result {
            Ok(DiskAnswer::Listing(entries)) => entries,
            Ok(DiskAnswer::Data(_) | DiskAnswer::Done) => panic!("a listing is answered with a listing"),
            Err(error) => return self.fail(RecoveryError::Disk { file: None, error }),
        };
        self.inventory = Inventory::new(entries);
        if let Some(file) = self.inventory.misplaced() {
            let file = file.clone();
            return self.fail(RecoveryError::Misplaced { file });
        }
        if self.config.ensemble.is_some() && self.target.is_none() {
            self.epochs = EpochReads::new(&self.inventory);
        }
        self.read_epochs();
    }

    fn read_epochs(&mut self) {
        if !self.epochs.is_over() {
            self.phase = Phase::Epochs;
            return;
        }
        let wanted = |snapshot: &&SnapshotFile| self.target.is_none_or(|target| snapshot.zxid <= target);
        let newest_first = self.inventory.snapshots().iter().rev().filter(wanted);
        self.probe(newest_first.take(CANDIDATES_MAX).cloned().collect(), 0);
    }

    /// Looks at the ends of the snapshots before reading any of them: it is cheap, and purging must know later
    /// which of the older ones are whole.
    fn probe(&mut self, candidates: Vec<SnapshotFile>, next: usize) {
        if next < candidates.len() {
            self.phase = Phase::Probe { candidates, next, asked: false };
            return;
        }
        let complete = candidates.iter().filter_map(|candidate| {
            let mut snapshots = self.inventory.snapshots().iter();
            snapshots.find(|snapshot| snapshot.file == candidate.file && snapshot.complete)
        });
        let complete = complete.cloned().collect();
        self.load(complete);
    }

    fn on_probe(&mut self, candidates: Vec<SnapshotFile>, next: usize, done: DiskDone) {
        let snapshot = &candidates[next];
        let problem = match done.result {
            Ok(DiskAnswer::Data(bytes)) => {
                let fits = match snapshot.encoding {
                    Compression::None => is_complete(&bytes),
                    compressed @ (Compression::Gzip | Compression::Snappy) => begins_well(compressed, &bytes),
                };
                (!fits).then_some(SnapshotProblem::Incomplete)
            }
            Ok(DiskAnswer::Done | DiskAnswer::Listing(_)) => panic!("a read is answered with bytes"),
            Err(error) => Some(SnapshotProblem::Disk(error)),
        };
        self.inventory.mark_complete(&snapshot.file, problem.is_none());
        if let Some(problem) = problem {
            self.pass_over(snapshot.clone(), problem);
        }
        self.probe(candidates, next + 1);
    }

    fn pass_over(&mut self, snapshot: SnapshotFile, why: SnapshotProblem) {
        self.inventory.mark_complete(&snapshot.file, false);
        self.report.push(Notice::SnapshotUnreadable { file: snapshot.file.clone(), why });
        let at = self.unusable.partition_point(|(other, _)| other.zxid >= snapshot.zxid);
        self.unusable.insert(at, (snapshot, why));
    }

    fn load(&mut self, mut candidates: VecDeque<SnapshotFile>) {
        if let Some(snapshot) = candidates.pop_front() {
            let load = Box::new(SnapshotLoad::new(&snapshot, &self.config, self.hash_seed));
            self.phase = Phase::Load { load, older: candidates };
            return;
        }
        match self.target {
            // Nothing is to stay, so there is nothing to load.
            Some(Zxid::ZERO) => return self.begin_replay_of_all(),
            Some(target) => return self.fail(RecoveryError::CannotRewind { target, found: None }),
            None => {}
        }
        let ahead = |(_, why): &(SnapshotFile, SnapshotProblem)| matches!(why, SnapshotProblem::Ahead { .. });
        let partial = self.unusable.iter().position(ahead);
        if let Some(at) = partial
            && self.config.accept_data_loss
        {
            let (snapshot, _) = self.unusable.remove(at);
            return self.load_as_it_is(snapshot);
        }
        match self.unusable.first() {
            // A snapshot of nothing, not even finished: the very first start was cut short.
            Some((snapshot, SnapshotProblem::Incomplete)) if snapshot.zxid == Zxid::ZERO => {
                self.begin_replay_of_all();
            }
            Some(_) if self.may_be_brought_up() => {
                self.nothing_usable = true;
                self.begin_replay_of_all();
            }
            Some((newest, why)) => {
                let error = match partial.map(|at| &self.unusable[at]) {
                    Some((snapshot, SnapshotProblem::Ahead { reaches })) => {
                        RecoveryError::PartialSnapshot { snapshot: snapshot.file.clone(), reaches: *reaches }
                    }
                    Some(_) | None => {
                        RecoveryError::NoUsableSnapshot { file: newest.file.clone(), why: *why }
                    }
                };
                self.fail(error);
            }
            None => self.begin_replay_of_all(),
        }
    }

    /// Takes a snapshot that holds parts of transactions, after all: there is nothing else to begin with. ZooKeeper begins
    /// with it at the zxid of its name, without a word. Here it counts as what came of the last transaction of which
    /// something is in it: no zxid comes a second time, and the members of an ensemble that were restored alike elect
    /// the one with the most and take its snapshot. As such it is written anew, so that the log can go on behind it.
    fn load_as_it_is(&mut self, snapshot: SnapshotFile) {
        self.report.retain(|notice| match notice {
            Notice::SnapshotLoaded { file, .. } | Notice::SnapshotUnreadable { file, .. } => {
                *file != snapshot.file
            }
            _ => true,
        });
        self.inventory.mark_complete(&snapshot.file, true);
        self.as_it_is = true;
        self.load(VecDeque::from([snapshot]));
    }

    /// Whether what is lost here can come from the other members: they can elect a leader without this one.
    fn may_be_brought_up(&self) -> bool {
        let Some(ensemble) = self.config.ensemble.as_ref() else { return false };
        let me = ServerId(self.config.server_id);
        let others = ensemble.membership.voters().filter(|&voter| voter != me).collect();
        self.target.is_none() && !self.config.accept_data_loss && ensemble.membership.has_quorum(&others)
    }

    fn on_loaded(&mut self, mut load: Box<SnapshotLoad>, older: VecDeque<SnapshotFile>, done: DiskDone) {
        match load.on_done(done) {
            Ok(None) => self.phase = Phase::Load { load, older },
            Ok(Some(loaded)) if self.target.is_some_and(|target| loaded.reaches > target) => {
                let reaches = loaded.reaches;
                self.fall_back(self.snapshot_of(&load), older, SnapshotProblem::Ahead { reaches });
            }
            Ok(Some(loaded)) => {
                let Loaded { tree, sessions, digest, reaches, nodes } = loaded;
                let snapshot = self.snapshot_of(&load);
                self.report.push(Notice::SnapshotLoaded { file: snapshot.file.clone(), nodes });
                let database = Database::new(tree, sessions, digest);
                self.begin_replay(database, Some(Base { snapshot, reaches, older }));
            }
            Err(problem) => self.fall_back(self.snapshot_of(&load), older, problem),
        }
    }

    fn snapshot_of(&self, load: &SnapshotLoad) -> SnapshotFile {
        let snapshot = self.inventory.snapshots().iter().find(|snapshot| snapshot.file == *load.file());
        snapshot.expect("what is loaded is in the inventory").clone()
    }

    fn fall_back(&mut self, from: SnapshotFile, older: VecDeque<SnapshotFile>, problem: SnapshotProblem) {
        // Reads that were asked for ahead are of no use any more.
        self.ignored = self.tickets.last();
        self.pass_over(from, problem);
        self.load(older);
    }

    fn begin_replay_of_all(&mut self) {
        let tree = Tree::new(tree_options(&self.config), self.hash_seed);
        self.begin_replay(Database::new(tree, BTreeMap::new(), None), None);
    }

    fn begin_replay(&mut self, database: Database, base: Option<Base>) {
        let from_nothing = base.is_none();
        let zxid = database.last_zxid;
        let logs = if from_nothing { self.inventory.logs() } else { self.inventory.logs_from(zxid.next()) };
        let target = self.target;
        let trusted = self.config.snapshot_trust_empty && !self.nothing_usable;
        let expect_nothing = from_nothing && !trusted && target.is_none();
        let beyond = |snapshot: &SnapshotFile| target.is_some_and(|target| snapshot.zxid > target);
        let limits = Limits {
            target,
            stop_at_damage: self.may_be_brought_up(),
            judge_rest: self.inventory.snapshots().iter().any(beyond),
            // What was not written to its end was never built upon.
            passed_over: (self.unusable.iter())
                .filter(|(_, why)| !matches!(why, SnapshotProblem::Incomplete))
                .map(|(snapshot, _)| snapshot.zxid)
                .collect(),
        };
        let replay = Replay::new(&self.config, logs, expect_nothing, limits);
        self.advance(Box::new(replay), Box::new(database), base);
    }

    fn advance(&mut self, mut replay: Box<Replay>, mut database: Box<Database>, base: Option<Base>) {
        match replay.advance(&mut database) {
            Ok(None) => self.phase = Phase::Replay { replay, database, base },
            Ok(Some(repairs)) => {
                let ahead = |base: &Base| self.target.is_none() && is_ahead(base.reaches, database.last_zxid);
                let base = match base {
                    Some(Base { snapshot, reaches, .. }) if self.as_it_is => {
                        let last_zxid = database.last_zxid;
                        let file = snapshot.file.clone();
                        database.report.push(Notice::SnapshotPartial { file, reaches, last_zxid });
                        database.skip_to(reaches);
                        Some(snapshot)
                    }
                    Some(base) if ahead(&base) => {
                        let Base { snapshot, reaches, older } = base;
                        return self.fall_back(snapshot, older, SnapshotProblem::Ahead { reaches });
                    }
                    base => base.map(|base| base.snapshot),
                };
                // What was asked for ahead in a file that goes is of no use any more.
                self.ignored = self.tickets.last();
                if let Err(error) = self.begin_repair(&replay, *database, repairs, base.as_ref()) {
                    self.fail(error);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn begin_repair(
        &mut self,
        replay: &Replay,
        mut database: Database,
        repairs: Repairs,
        base: Option<&SnapshotFile>,
    ) -> Result<(), RecoveryError> {
        let from_nothing = base.is_none();
        database.finish();
        let last_zxid = database.last_zxid;
        if let Some(target) = self.target
            && rewind::ends_in_a_gap(&self.inventory, target, last_zxid, repairs.reaches)
        {
            return Err(RecoveryError::CannotRewind { target, found: Some(last_zxid) });
        }
        let mut report = core::mem::take(&mut self.report);
        report.append(&mut database.report);
        let damaged = self.nothing_usable || replay.stopped_at_damage;
        let empty = from_nothing && replay.txns == 0 && !damaged;
        let marker = epoch_file(UNSYNCED);
        let marked = self.inventory.contains(&marker);
        if self.config.ensemble.is_none() {
            self.check_alone(marked, empty)?;
        }
        // Where a leader's history is to follow on nothing, that has a snapshot of its own.
        // Where data were lost, it takes an operator to begin anew.
        let may_begin = if marked { self.initialize } else { self.may_begin };
        let fresh = empty && (may_begin || self.target.is_some());
        let mut remove: Vec<FileName> = self.inventory.temporaries().cloned().collect();
        report.extend(remove.iter().cloned().map(|file| Notice::TemporaryRemoved { file }));
        let behind = self.judge_unusable(last_zxid, &mut remove, &mut report)?;
        let stays_marked = marked && !fresh && !self.config.accept_data_loss;
        let unsynced = behind || damaged || stays_marked || empty && !self.may_begin;
        let epochs = self.epochs.check(last_zxid, damaged)?;
        let diverged = epochs.as_ref().and_then(|epochs| database.diverged(epochs));
        report.extend(diverged.map(|since| Notice::Diverged { since, last_zxid }));
        let Database { mut tree, sessions, mismatches, config_before, .. } = database;
        if self.target.is_none() && unsynced {
            report.push(Notice::Unsynced { last_zxid });
        }
        let mut ops = VecDeque::new();
        if (self.target.is_none() && unsynced || self.discards) && !marked {
            // Before anything else: whatever is changed from here on, the next start must not take it for all there
            // was.
            ops.push_back(Repair::Write(marker.clone(), Bytes::from(format!("{last_zxid:x}"))));
        }
        if let Some(target) = self.target {
            report.push(Notice::Rewound { target, last_zxid });
            let snapshots = rewind::unwanted_snapshots(&self.inventory, &self.unusable, target);
            snapshots.removed(&mut report);
            let cut = self.end_of_log(&repairs);
            rewind::order(remove, snapshots, repairs, cut, &mut ops);
        } else if damaged {
            ops.extend((!remove.is_empty()).then_some(Repair::Remove(remove)));
        } else {
            self.settle(base, repairs, remove, &mut ops);
        }
        if fresh {
            report.push(Notice::FreshDatabase);
        }
        if fresh || self.as_it_is && base.is_some() {
            ops.push_back(Repair::Begin(last_zxid, load::encode(&mut tree, &sessions, &self.config)));
        }
        ops.extend(epochs.iter().flat_map(epochs::writes));
        if self.target.is_none() && marked && !unsynced {
            ops.push_back(Repair::Remove(Vec::from([marker])));
        }
        let replayed_txns = if from_nothing && replay.txns > 0 { u64::MAX } else { replay.txns };
        let recovered = Recovered {
            tree,
            sessions,
            last_zxid,
            config_before,
            epochs,
            unsynced,
            diverged: diverged.is_some(),
            inventory: core::mem::take(&mut self.inventory),
            replayed_txns,
            replayed_bytes: replay.bytes,
            digest_mismatches: mismatches,
            report,
        };
        self.repair(ops, Box::new(recovered));
        Ok(())
    }

    /// Whether a server that has no others to ask may start on what it found.
    fn check_alone(&self, marked: bool, empty: bool) -> Result<(), RecoveryError> {
        if marked && !self.config.accept_data_loss {
            return Err(RecoveryError::Unsynced { file: epoch_file(UNSYNCED) });
        }
        if empty && !self.may_begin {
            return Err(RecoveryError::Empty);
        }
        Ok(())
    }

    /// Makes durable what the server begins with, and takes away what it does without.
    fn settle(
        &self,
        base: Option<&SnapshotFile>,
        repairs: Repairs,
        mut remove: Vec<FileName>,
        ops: &mut VecDeque<Repair>,
    ) {
        let end = self.end_of_log(&repairs);
        remove.extend(repairs.remove);
        // ZooKeeper syncs no snapshot, and with `forceSync=no` nobody the log.
        let from = base.map_or(Zxid::ZERO, |snapshot| snapshot.zxid.next());
        let logs = self.inventory.logs_from(from).iter().map(|log| &log.file);
        let files = base.map(|snapshot| &snapshot.file).into_iter().chain(logs);
        let is_last = |file: &FileName| end.as_ref().is_some_and(|(last, _)| last == file);
        let before: Vec<_> = files.filter(|file| !is_last(file) && !remove.contains(file)).cloned().collect();
        ops.extend((!before.is_empty()).then_some(Repair::Sync(before)));
        ops.extend((!remove.is_empty()).then_some(Repair::Remove(remove)));
        ops.extend(end.map(|(file, size)| Repair::Truncate(file, size)));
    }

    /// The last file of the log that stays, and what stays of it. A process that was killed may have left records that
    /// only the operating system's memory holds. They are about to be served, so they are made durable first: cutting
    /// nothing off syncs the file.
    fn end_of_log(&self, repairs: &Repairs) -> Option<(FileName, u64)> {
        let newest = self.inventory.logs().iter().rev().find(|log| !repairs.remove.contains(&log.file));
        repairs.truncate.clone().or_else(|| newest.map(|log| (log.file.clone(), log.size)))
    }

    /// What it means that snapshots could not be used, now that it is known how far the others and the log go. Whether
    /// there was more than there is now, and the others of the ensemble have it.
    fn judge_unusable(
        &self,
        last_zxid: Zxid,
        remove: &mut Vec<FileName>,
        report: &mut Vec<Notice>,
    ) -> Result<bool, RecoveryError> {
        // What is to be forgotten is not missed.
        let held = |(snapshot, why): &(SnapshotFile, SnapshotProblem)| match why {
            SnapshotProblem::Ahead { reaches } if self.target.is_none() => *reaches,
            _ => snapshot.zxid,
        };
        let Some(newest) = self.unusable.iter().find(|unusable| held(unusable) > last_zxid) else {
            return Ok(false);
        };
        let (newest, zxid) = (&newest.0, held(newest));
        if self.config.ensemble.is_some() && self.target.is_none() && !self.config.accept_data_loss {
            report.push(Notice::BehindEnsemble { snapshot: newest.file.clone(), last_zxid });
            return Ok(true);
        }
        if !self.config.accept_data_loss || self.target.is_some() {
            let snapshot = newest.file.clone();
            return Err(RecoveryError::BehindSnapshot { snapshot, zxid, last_zxid });
        }
        report.push(Notice::DataMissing { snapshot: newest.file.clone(), last_zxid });
        // From here on other transactions get these zxids.
        let ahead = self.inventory.snapshots().iter().filter(|snapshot| snapshot.zxid > last_zxid);
        remove.extend(ahead.map(|snapshot| snapshot.file.clone()));
        let mixed = self.unusable.iter().filter(|one| one.0.zxid <= last_zxid && held(one) > last_zxid);
        remove.extend(mixed.map(|(snapshot, _)| snapshot.file.clone()));
        Ok(false)
    }

    fn repair(&mut self, ops: VecDeque<Repair>, recovered: Box<Recovered>) {
        self.phase = if ops.is_empty() {
            Phase::Outcome(Box::new(Ok(*recovered)))
        } else {
            Phase::Repair { ops, asked: false, recovered }
        };
    }

    fn on_repaired(&mut self, mut ops: VecDeque<Repair>, mut recovered: Box<Recovered>, done: DiskDone) {
        let repair = ops.pop_front().expect("a completion belongs to the repair that was asked for");
        if let Err(error) = done.result {
            return self.fail(RecoveryError::Disk { file: repair.file(), error });
        }
        repair.carried_out(&mut recovered.inventory);
        self.repair(ops, recovered);
    }
}
