//! From what is found on the disk to where a server goes on: the newest snapshot that can be read, and the log
//! behind it.
//!
//! [`Recovery`] asks for disk operations like everything else here, so that the simulator can put any disk in front
//! of it. It changes nothing before it has decided that the server can start; then it carries its repairs out (cuts
//! a torn tail, removes what a crash left half-written, begins a new database) and only after their completion says
//! what it recovered. Started again after a crash at any point in between, it comes to the same end.
//!
//! ```text
//! list ─▶ probe snapshots ─▶ load the newest complete one ─▶ replay the log ─▶ repair ─▶ Recovered
//!                                   ▲      │ unreadable            │ decide.rs
//!                                   └──────┘ the next older one    ▼
//!                                                            RecoveryError
//! ```

mod decide;
mod load;
mod reader;
mod replay;
mod report;
mod scan;
#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn_batch;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

pub use self::report::{Notice, RecoveryError, SnapshotProblem};
pub use self::scan::{BadHeader, Damage, DamageKind};

use self::load::{Loaded, SnapshotLoad, compression, tree_options};
use self::replay::{Database, Repairs, Replay};
use crate::config::Config;
use crate::store::inventory::snapshot_name;
use crate::store::{
    DirEntry, DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Inventory, SnapshotEncoding, SnapshotFile,
    Tickets,
};
use crate::tree::Tree;
use crate::types::{SessionId, Ticket, Zxid};
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
    /// The files there are now.
    pub inventory: Inventory,
    /// How much of the log had to be replayed, for [`crate::store::Snapshotter::new`]; where there was no snapshot
    /// at all, enough to make one due at once.
    pub replayed_txns: u64,
    /// Likewise in bytes.
    pub replayed_bytes: u64,
    /// What the operator should hear of.
    pub report: Vec<Notice>,
}

/// Recovers a server's data.
#[derive(Debug)]
pub struct Recovery {
    config: Config,
    hash_seed: [u64; 4],
    may_begin: bool,
    tickets: Tickets,
    /// Completions up to this one belong to something that was given up.
    ignored: Ticket,
    inventory: Inventory,
    /// The newest snapshot that could not be used.
    unusable: Option<(SnapshotFile, SnapshotProblem)>,
    report: Vec<Notice>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    List { asked: bool },
    Probe { candidates: Vec<SnapshotFile>, next: usize, asked: bool },
    Load { load: Box<SnapshotLoad>, older: VecDeque<SnapshotFile> },
    Replay { replay: Box<Replay>, database: Box<Database>, from_nothing: bool },
    Repair { ops: VecDeque<Repair>, asked: bool, recovered: Box<Recovered> },
    Outcome(Box<Result<Recovered, RecoveryError>>),
    Over,
}

/// A change to the disk, after which the next one may begin.
#[derive(Debug)]
enum Repair {
    Begin(Bytes),
    Remove(Vec<FileName>),
    Truncate(FileName, u64),
}

impl Recovery {
    /// Begins. `hash_seed` keys the tree's hash of paths. `initialize` says that an operator left ZooKeeper's
    /// `initialize` file: an empty directory is a new database then, whatever `db_autocreate` says.
    pub fn new(config: &Config, hash_seed: [u64; 4], initialize: bool) -> Self {
        Self {
            may_begin: config.db_autocreate || initialize,
            config: config.clone(),
            hash_seed,
            tickets: Tickets::default(),
            ignored: Ticket(0),
            inventory: Inventory::default(),
            unusable: None,
            report: Vec::new(),
            phase: Phase::List { asked: false },
        }
    }

    /// What the disk is to do next, if anything: call until `None`.
    pub fn poll_op(&mut self) -> Option<DiskOp> {
        let tickets = &mut self.tickets;
        match &mut self.phase {
            Phase::List { asked: asked @ false } => {
                *asked = true;
                Some(DiskOp::List { ticket: tickets.issue() })
            }
            Phase::Probe { candidates, next, asked: asked @ false } => {
                *asked = true;
                let SnapshotFile { file, size, encoding, .. } = &candidates[*next];
                let len = COMPLETE_CHECK_LEN;
                let offset = match encoding {
                    SnapshotEncoding::Plain => size.saturating_sub(len as u64),
                    // Whether it is whole shows only when it is decompressed.
                    SnapshotEncoding::Gzip | SnapshotEncoding::Snappy => 0,
                };
                let file = file.clone();
                Some(DiskOp::Read { ticket: tickets.issue(), file, offset, len })
            }
            Phase::Load { load, .. } => load.poll_op(tickets),
            Phase::Replay { replay, .. } => replay.poll_op(tickets),
            Phase::Repair { ops, asked: asked @ false, .. } => {
                *asked = true;
                let ticket = tickets.issue();
                Some(match ops.front().expect("without repairs to do there is an outcome") {
                    Repair::Begin(bytes) => {
                        DiskOp::Replace { ticket, file: snapshot_name(Zxid::ZERO), bytes: bytes.clone() }
                    }
                    Repair::Remove(files) => DiskOp::Remove { ticket, files: files.clone() },
                    Repair::Truncate(file, size) => {
                        DiskOp::Truncate { ticket, file: file.clone(), size: *size }
                    }
                })
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
        if done.ticket <= self.ignored {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::List { .. } => self.on_listing(done),
            Phase::Probe { candidates, next, .. } => self.on_probe(candidates, next, done),
            Phase::Load { load, older } => self.on_loaded(load, older, done),
            Phase::Replay { mut replay, database, from_nothing } => match replay.on_done(done) {
                Ok(()) => self.advance(replay, database, from_nothing),
                Err(error) => self.fail(error),
            },
            Phase::Repair { ops, recovered, .. } => self.on_repaired(ops, recovered, done),
            over @ (Phase::Outcome(_) | Phase::Over) => self.phase = over,
        }
    }

    /// What it came to, once it has.
    pub fn poll_outcome(&mut self) -> Option<Result<Recovered, RecoveryError>> {
        match core::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Outcome(outcome) => Some(*outcome),
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
        let newest_first = self.inventory.snapshots().iter().rev();
        self.probe(newest_first.take(CANDIDATES_MAX).cloned().collect(), 0);
    }

    /// Looks at the ends of the snapshots before reading any of them: it is cheap, and purging must know later
    /// which of the older ones are whole.
    fn probe(&mut self, candidates: Vec<SnapshotFile>, next: usize) {
        if next < candidates.len() {
            self.phase = Phase::Probe { candidates, next, asked: false };
            return;
        }
        let complete = self.inventory.snapshots().iter().rev().filter(|snapshot| snapshot.complete);
        let complete = complete.cloned().collect();
        self.load(complete);
    }

    fn on_probe(&mut self, candidates: Vec<SnapshotFile>, next: usize, done: DiskDone) {
        let snapshot = &candidates[next];
        let problem = match done.result {
            Ok(DiskAnswer::Data(bytes)) => {
                let fits = match snapshot.encoding {
                    SnapshotEncoding::Plain => is_complete(&bytes),
                    SnapshotEncoding::Gzip | SnapshotEncoding::Snappy => {
                        compression(snapshot.encoding).matches(&bytes)
                    }
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
        if self.unusable.as_ref().is_none_or(|(newest, _)| newest.zxid < snapshot.zxid) {
            self.unusable = Some((snapshot, why));
        }
    }

    fn load(&mut self, mut candidates: VecDeque<SnapshotFile>) {
        if let Some(snapshot) = candidates.pop_front() {
            let load = Box::new(SnapshotLoad::new(&snapshot, &self.config, self.hash_seed));
            self.phase = Phase::Load { load, older: candidates };
            return;
        }
        match &self.unusable {
            // A snapshot of nothing, not even finished: the very first start was cut short.
            Some((snapshot, SnapshotProblem::Incomplete)) if snapshot.zxid == Zxid::ZERO => {
                self.begin_replay(None);
            }
            Some((snapshot, why)) => {
                let (file, why) = (snapshot.file.clone(), *why);
                self.fail(RecoveryError::NoUsableSnapshot { file, why });
            }
            None => self.begin_replay(None),
        }
    }

    fn on_loaded(&mut self, mut load: Box<SnapshotLoad>, older: VecDeque<SnapshotFile>, done: DiskDone) {
        match load.on_done(done) {
            Ok(None) => self.phase = Phase::Load { load, older },
            Ok(Some(loaded)) => {
                let file = load.file().clone();
                self.report.push(Notice::SnapshotLoaded { file, nodes: loaded.nodes });
                self.begin_replay(Some(loaded));
            }
            Err(problem) => {
                let file = load.file();
                let snapshot = self.inventory.snapshots().iter().find(|snapshot| snapshot.file == *file);
                let snapshot = snapshot.expect("what is loaded is in the inventory").clone();
                // Reads that were asked for ahead are of no use any more.
                self.ignored = self.tickets.last();
                self.pass_over(snapshot, problem);
                self.load(older);
            }
        }
    }

    fn begin_replay(&mut self, loaded: Option<Loaded>) {
        let from_nothing = loaded.is_none();
        let loaded = loaded.unwrap_or_else(|| Loaded {
            tree: Tree::new(tree_options(&self.config), self.hash_seed),
            sessions: BTreeMap::new(),
            digest: None,
            nodes: 0,
        });
        let Loaded { tree, sessions, digest, .. } = loaded;
        let zxid = tree.last_zxid();
        let mut database = Database {
            tree,
            sessions,
            last_zxid: zxid,
            fuzzy_until: digest.filter(|(at, _)| *at > zxid),
            mismatch_reported: false,
            report: core::mem::take(&mut self.report),
        };
        // A digest from before the snapshot began says nothing about it.
        if let Some((at, digest)) = digest
            && at == zxid
        {
            database.compare(at, &digest);
        }
        let logs = if from_nothing { self.inventory.logs() } else { self.inventory.logs_from(zxid.next()) };
        let expect_nothing = from_nothing && !self.config.snapshot_trust_empty;
        let replay = Replay::new(&self.config, logs, expect_nothing);
        self.advance(Box::new(replay), Box::new(database), from_nothing);
    }

    fn advance(&mut self, mut replay: Box<Replay>, mut database: Box<Database>, from_nothing: bool) {
        match replay.advance(&mut database) {
            Ok(None) => self.phase = Phase::Replay { replay, database, from_nothing },
            Ok(Some(repairs)) => {
                if let Err(error) = self.begin_repair(&replay, *database, repairs, from_nothing) {
                    self.fail(error);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn begin_repair(
        &mut self,
        replay: &Replay,
        database: Database,
        repairs: Repairs,
        from_nothing: bool,
    ) -> Result<(), RecoveryError> {
        let Database { mut tree, sessions, last_zxid, mut report, .. } = database;
        let fresh = from_nothing && replay.txns == 0;
        if fresh && !self.may_begin {
            return Err(RecoveryError::Empty);
        }
        let mut remove: Vec<FileName> = Vec::new();
        for file in self.inventory.temporaries() {
            report.push(Notice::TemporaryRemoved { file: file.clone() });
            remove.push(file.clone());
        }
        if let Some((newest, _)) = &self.unusable
            && newest.zxid > last_zxid
        {
            if !self.config.accept_data_loss {
                let (snapshot, zxid) = (newest.file.clone(), newest.zxid);
                return Err(RecoveryError::BehindSnapshot { snapshot, zxid, last_zxid });
            }
            report.push(Notice::DataMissing { snapshot: newest.file.clone(), last_zxid });
            // From here on other transactions get these zxids.
            let ahead = self.inventory.snapshots().iter().filter(|snapshot| snapshot.zxid > last_zxid);
            remove.extend(ahead.map(|snapshot| snapshot.file.clone()));
        }
        // A process that was killed may have left records that only the operating system's memory holds. They are
        // about to be served, so they are made durable first: cutting nothing off syncs the file.
        let newest = self.inventory.logs().last().filter(|log| !repairs.remove.contains(&log.file));
        let unsynced = newest.map(|log| (log.file.clone(), log.size));
        remove.extend(repairs.remove);
        let mut ops = VecDeque::new();
        if !remove.is_empty() {
            ops.push_back(Repair::Remove(remove));
        }
        ops.extend(repairs.truncate.or(unsynced).map(|(file, size)| Repair::Truncate(file, size)));
        if fresh {
            report.push(Notice::FreshDatabase);
            ops.push_back(Repair::Begin(load::encode(&mut tree, &self.config)));
        }
        let replayed_txns = if from_nothing && !fresh { u64::MAX } else { replay.txns };
        let inventory = core::mem::take(&mut self.inventory);
        let replayed_bytes = replay.bytes;
        let recovered =
            Recovered { tree, sessions, last_zxid, inventory, replayed_txns, replayed_bytes, report };
        self.repair(ops, Box::new(recovered));
        Ok(())
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
            return self.fail(repair_failed(&repair, error));
        }
        let inventory = &mut recovered.inventory;
        match repair {
            Repair::Begin(bytes) => {
                let file = snapshot_name(Zxid::ZERO);
                inventory.add(DirEntry { file: file.clone(), size: bytes.len() as u64 });
                inventory.mark_complete(&file, true);
            }
            Repair::Remove(files) => files.iter().for_each(|file| inventory.remove(file)),
            Repair::Truncate(file, size) => inventory.add(DirEntry { file, size }),
        }
        self.repair(ops, recovered);
    }
}

fn repair_failed(repair: &Repair, error: DiskError) -> RecoveryError {
    let file = match repair {
        Repair::Begin(_) => Some(snapshot_name(Zxid::ZERO)),
        Repair::Remove(files) => files.first().cloned(),
        Repair::Truncate(file, _) => Some(file.clone()),
    };
    RecoveryError::Disk { file, error }
}
