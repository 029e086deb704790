//! When a snapshot is due, and how its chunks go to the disk.
//!
//! The bytes come from the caller: this machine says when to begin, when there is room for a chunk, and keeps the
//! tickets. A snapshot that fails is given up and tried again at the next trigger: a full disk for snapshots must
//! not stop a server whose log still works.
//!
//! ```text
//!            begin                last chunk given            finished
//!   Idle ───────────▶ Writing ──────────────────▶ Finishing ──────────▶ Idle
//!     ▲                  │ any operation failed        │
//!     │    discarded     ▼                             │
//!     └────────────── Failing ◀────────────────────────┘
//! ```

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::inventory::compressed_snapshot_name;
use super::op::{DirEntry, DiskDone, DiskError, DiskOp, FileName, Tickets};
use crate::config::Config;
use crate::types::{Compression, Ticket, Zxid};

/// Chunks that may be on their way to the disk at a time: one that is written, and some that keep it busy.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;

/// Decides about snapshots.
#[derive(Debug)]
pub struct Snapshotter {
    snap_count: u64,
    snap_size_limit: Option<u64>,
    /// What the names of snapshots say.
    compression: Compression,
    chunk_bytes: usize,
    received_chunk_bytes: usize,
    /// Transactions and log bytes since the last snapshot was begun.
    txns: u64,
    log_bytes: u64,
    /// A snapshot is due beyond these.
    txns_due: u64,
    log_bytes_due: Option<u64>,
    state: State,
    /// What still has to be asked of the disk. Bounded by the window.
    asked: VecDeque<Asked>,
    /// What was asked and has not ended, oldest first, with its bytes.
    in_flight: VecDeque<(Ticket, usize)>,
}

#[derive(Debug)]
enum State {
    Idle,
    Writing(Snapshot),
    Finishing(Snapshot),
    Failing,
}

#[derive(Debug)]
struct Snapshot {
    zxid: Zxid,
    file: FileName,
    bytes: u64,
    bytes_in_flight_max: usize,
}

#[derive(Debug)]
enum Asked {
    Create(FileName),
    Append(Bytes),
    Discard,
    Finish,
}

/// What a completion meant for the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// It failed and is given up.
    Failed {
        /// Up to where it would have held everything.
        zxid: Zxid,
        /// Why.
        error: DiskError,
    },
    /// It is complete and durable, under this name and with this size.
    Finished {
        /// Up to where it holds everything.
        zxid: Zxid,
        /// The new file, for the inventory.
        entry: DirEntry,
    },
    /// It goes on.
    Ongoing,
}

impl Snapshotter {
    /// An idle snapshotter. `replayed_txns` and `replayed_bytes` are what recovery read from the log after the
    /// snapshot it started from, so that a server that crashes often still gets to its next snapshot. `draw` is
    /// any random number: servers of one ensemble should not all take their snapshots at the same time.
    pub fn new(config: &Config, draw: u64, replayed_txns: u64, replayed_bytes: u64) -> Self {
        let mut snapshotter = Self {
            snap_count: config.snap_count.max(2),
            snap_size_limit: config.snap_size_limit,
            compression: config.snapshot_compression,
            chunk_bytes: config.snapshot_chunk_bytes,
            received_chunk_bytes: config.received_chunk_bytes,
            txns: replayed_txns,
            log_bytes: replayed_bytes,
            txns_due: 0,
            log_bytes_due: None,
            state: State::Idle,
            asked: VecDeque::new(),
            in_flight: VecDeque::new(),
        };
        snapshotter.draw(draw);
        snapshotter
    }

    /// Sets the next trigger, between half the limits and all of them.
    fn draw(&mut self, draw: u64) {
        self.txns_due = between_half_and_all(self.snap_count, draw);
        self.log_bytes_due = self.snap_size_limit.map(|limit| between_half_and_all(limit, draw));
    }

    /// Counts a record that went to the log.
    pub const fn on_append(&mut self, record_bytes: usize) {
        self.txns += 1;
        self.log_bytes += record_bytes as u64;
    }

    /// Whether a snapshot is to be begun now. The caller then rolls the log and calls [`Snapshotter::begin`].
    pub fn is_due(&self) -> bool {
        let by_size = self.log_bytes_due.is_some_and(|due| self.log_bytes > due);
        matches!(self.state, State::Idle) && (self.txns > self.txns_due || by_size)
    }

    /// Begins a snapshot that holds everything up to `zxid`. `draw` is a fresh random number for the next trigger.
    ///
    /// # Panics
    /// If one is being written.
    pub fn begin(&mut self, zxid: Zxid, draw: u64) {
        self.begin_in_chunks(zxid, draw, self.chunk_bytes);
    }

    /// Likewise for one that a leader sends.
    ///
    /// # Panics
    /// If one is being written.
    pub fn begin_received(&mut self, zxid: Zxid, draw: u64) {
        self.begin_in_chunks(zxid, draw, self.received_chunk_bytes);
    }

    fn begin_in_chunks(&mut self, zxid: Zxid, draw: u64, chunk_bytes: usize) {
        assert!(matches!(self.state, State::Idle), "one snapshot at a time");
        assert!(self.in_flight.is_empty() && self.asked.is_empty(), "idle with operations in flight");
        self.txns = 0;
        self.log_bytes = 0;
        self.draw(draw);
        let file = compressed_snapshot_name(zxid, self.compression);
        self.asked.push_back(Asked::Create(file.clone()));
        let bytes_in_flight_max = chunk_bytes.saturating_mul(CHUNKS_IN_FLIGHT_MAX);
        self.state = State::Writing(Snapshot { zxid, file, bytes: 0, bytes_in_flight_max });
    }

    /// Whether a snapshot is under way, from its begin to its last completion.
    pub const fn is_running(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Whether there is room for another chunk.
    pub fn wants_chunk(&self) -> bool {
        let waiting = self.in_flight.len() + self.asked.len();
        match &self.state {
            State::Writing(snapshot) => {
                waiting < CHUNKS_IN_FLIGHT_MAX && self.bytes_waiting() < snapshot.bytes_in_flight_max
            }
            State::Idle | State::Finishing(_) | State::Failing => false,
        }
    }

    fn bytes_waiting(&self) -> usize {
        let asked = self.asked.iter().map(|asked| match asked {
            Asked::Append(bytes) => bytes.len(),
            Asked::Create(_) | Asked::Discard | Asked::Finish => 0,
        });
        self.in_flight.iter().map(|(_, bytes)| *bytes).chain(asked).sum()
    }

    /// Adds the next bytes of the snapshot.
    ///
    /// # Panics
    /// If no chunk is [wanted](Self::wants_chunk).
    pub fn chunk(&mut self, bytes: Bytes) {
        assert!(self.wants_chunk(), "a chunk that was not asked for");
        let State::Writing(snapshot) = &mut self.state else {
            unreachable!("chunks are wanted while writing")
        };
        snapshot.bytes += bytes.len() as u64;
        self.asked.push_back(Asked::Append(bytes));
    }

    /// Says that the last chunk was given.
    ///
    /// # Panics
    /// If no snapshot is being written.
    pub fn finish(&mut self) {
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
            State::Writing(snapshot) => State::Finishing(snapshot),
            State::Idle | State::Finishing(_) | State::Failing => panic!("no snapshot is being written"),
        };
        self.asked.push_back(Asked::Finish);
    }

    /// Gives up the snapshot that is being written, unless its last chunk was given: then it is finished.
    pub fn abandon(&mut self) {
        let State::Writing(_) = self.state else { return };
        let begun = !matches!(self.asked.front(), Some(Asked::Create(_)));
        self.asked.clear();
        self.state = if begun { State::Failing } else { State::Idle };
        if begun {
            self.asked.push_back(Asked::Discard);
        }
    }

    /// Leaves the snapshot that is being written where it is, unless its last chunk was given: what there is of it has
    /// no name yet, and the next start removes it. To remove gigabytes now would take a server that stops its time.
    pub fn leave(&mut self) {
        let (State::Writing(_) | State::Failing) = self.state else { return };
        self.asked.clear();
        self.state = if self.in_flight.is_empty() { State::Idle } else { State::Failing };
    }

    /// Gives up the snapshot that is being written, as [`Snapshotter::abandon`] does: another one is due at once.
    pub fn postpone(&mut self) {
        self.abandon();
        self.txns_due = 0;
        self.txns = self.txns.max(1);
    }

    /// What the disk is to do next, if anything: call until `None`.
    pub fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        let asked = self.asked.pop_front()?;
        let ticket = tickets.issue();
        let (op, bytes) = match asked {
            Asked::Append(bytes) => {
                let len = bytes.len();
                (DiskOp::SnapshotAppend { ticket, bytes }, len)
            }
            Asked::Create(file) => (DiskOp::SnapshotCreate { ticket, file }, 0),
            Asked::Discard => (DiskOp::SnapshotDiscard { ticket }, 0),
            Asked::Finish => (DiskOp::SnapshotFinish { ticket }, 0),
        };
        self.in_flight.push_back((ticket, bytes));
        Some(op)
    }

    /// Whether `ticket` names an operation of this machine that is in flight.
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.in_flight.iter().any(|(in_flight, _)| *in_flight == ticket)
    }

    /// Takes note of a completion. A failure is reported once, at the first operation that failed.
    ///
    /// # Panics
    /// If the ticket is not the oldest in flight: completions come in order.
    pub fn on_done(&mut self, done: &DiskDone) -> SnapshotOutcome {
        let (ticket, _) =
            self.in_flight.pop_front().expect("a completion for a snapshot operation not in flight");
        assert_eq!(ticket, done.ticket, "snapshot operations end in order");
        let state = core::mem::replace(&mut self.state, State::Idle);
        match (state, &done.result) {
            (State::Idle, _) => panic!("a snapshot operation ended with no snapshot under way"),
            (State::Writing(snapshot) | State::Finishing(snapshot), Err(error)) => {
                self.state = State::Failing;
                // What has not left yet never will; what has ends before the discard does.
                self.asked.clear();
                self.asked.push_back(Asked::Discard);
                SnapshotOutcome::Failed { zxid: snapshot.zxid, error: *error }
            }
            (State::Finishing(snapshot), Ok(_)) if self.in_flight.is_empty() && self.asked.is_empty() => {
                let entry = DirEntry { file: snapshot.file, size: snapshot.bytes };
                SnapshotOutcome::Finished { zxid: snapshot.zxid, entry }
            }
            (State::Failing, _) if self.in_flight.is_empty() && self.asked.is_empty() => {
                SnapshotOutcome::Ongoing
            }
            (state @ (State::Writing(_) | State::Finishing(_) | State::Failing), _) => {
                self.state = state;
                SnapshotOutcome::Ongoing
            }
        }
    }
}

/// Half of `limit` plus a random part of the other half.
const fn between_half_and_all(limit: u64, draw: u64) -> u64 {
    let half = limit / 2;
    half + if half == 0 { 0 } else { draw % half }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::snapshot_name;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::op::DiskAnswer;
    use super::*;

    fn ended(ticket: Ticket) -> DiskDone {
        DiskDone { ticket, result: Ok(DiskAnswer::Done) }
    }

    #[test]
    fn disk_snap_trigger_lies_between_half_the_count_and_all_of_it() {
        let config = Config { snap_count: 100, snap_size_limit: None, ..Config::default() };
        for draw in [0, 1, 49, 50, 51, u64::MAX] {
            let mut snapshotter = Snapshotter::new(&config, draw, 0, 0);
            let mut txns = 0;
            while !snapshotter.is_due() {
                snapshotter.on_append(1000);
                txns += 1;
            }
            assert_eq!(txns, 50 + draw % 50 + 1);
        }
        assert!(Snapshotter::new(&config, 0, 51, 0).is_due(), "replayed transactions count");
    }

    #[test]
    fn disk_snap_trigger_by_bytes() {
        let config = Config { snap_size_limit: Some(1000), ..Config::default() };
        let mut snapshotter = Snapshotter::new(&config, 7, 0, 0);
        snapshotter.on_append(507);
        assert!(!snapshotter.is_due());
        snapshotter.on_append(1);
        assert!(snapshotter.is_due());
        for tiny in [0, 1, 2] {
            let config = Config { snap_count: tiny, snap_size_limit: Some(tiny), ..Config::default() };
            let mut snapshotter = Snapshotter::new(&config, 5, 0, 0);
            snapshotter.on_append(1);
            snapshotter.on_append(1);
            assert!(snapshotter.is_due(), "limits of {tiny} divide by nothing");
        }
    }

    fn begun(config: &Config) -> Snapshotter {
        let mut snapshotter = Snapshotter::new(config, 0, config.snap_count, 0);
        assert!(snapshotter.is_due());
        snapshotter.begin(Zxid(0x1a), 0);
        assert!(!snapshotter.is_due(), "not while one runs");
        snapshotter
    }

    #[test]
    fn a_received_snapshot_has_a_window_of_its_own() {
        let config = Config { snapshot_chunk_bytes: 10, received_chunk_bytes: 1000, ..Config::default() };
        for (received, bytes, chunks) in [(false, 10, 3), (true, 10, 3), (false, 50, 1), (true, 50, 3)] {
            let mut snapshotter = Snapshotter::new(&config, 0, 0, 0);
            if received {
                snapshotter.begin_received(Zxid(0x1a), 0);
            } else {
                snapshotter.begin(Zxid(0x1a), 0);
            }
            let mut taken = 0;
            while snapshotter.wants_chunk() {
                snapshotter.chunk(Bytes::from(vec![b'x'; bytes]));
                taken += 1;
            }
            // The file that is created first counts as one.
            assert_eq!(taken, chunks, "pieces of {bytes} bytes, received: {received}");
        }
    }

    #[test]
    fn chunks_go_out_while_the_window_has_room() {
        let mut tickets = Tickets::default();
        let mut snapshotter = begun(&Config { snapshot_chunk_bytes: 10, ..Config::default() });
        let mut given = 0;
        let mut in_flight = VecDeque::new();
        let mut outcomes = Vec::new();
        let mut finished = false;
        loop {
            while snapshotter.wants_chunk() && given < 9 {
                snapshotter.chunk(Bytes::from(vec![b'x'; 10]));
                given += 1;
            }
            if given == 9 && !finished {
                finished = true;
                snapshotter.finish();
                assert!(!snapshotter.wants_chunk());
            }
            while let Some(op) = snapshotter.poll_op(&mut tickets) {
                in_flight.push_back(op);
            }
            assert!(in_flight.len() <= CHUNKS_IN_FLIGHT_MAX + 1);
            let Some(op) = in_flight.pop_front() else { break };
            assert!(snapshotter.is_running());
            assert!(snapshotter.owns(op.ticket()));
            outcomes.push(snapshotter.on_done(&ended(op.ticket())));
        }
        assert_eq!(given, 9);
        let entry = DirEntry { file: snapshot_name(Zxid(0x1a)), size: 90 };
        assert_eq!(outcomes.pop(), Some(SnapshotOutcome::Finished { zxid: Zxid(0x1a), entry }));
        assert!(outcomes.iter().all(|outcome| *outcome == SnapshotOutcome::Ongoing));
        assert!(!snapshotter.is_running());
    }

    #[test]
    fn large_chunks_are_bounded_by_bytes() {
        let mut snapshotter = begun(&Config { snapshot_chunk_bytes: 10, ..Config::default() });
        snapshotter.chunk(Bytes::from(vec![b'x'; 40]));
        assert!(!snapshotter.wants_chunk());
    }

    /// Whether it is left before anything was asked of the disk, in its midst, when it has failed, or too late.
    #[test]
    fn a_snapshot_that_is_left_asks_for_nothing_more() {
        for (asked, fails, finished) in
            [(0, false, false), (1, false, false), (3, false, false), (3, true, false), (4, false, true)]
        {
            let mut tickets = Tickets::default();
            let mut snapshotter = begun(&Config::default());
            for _ in 0..2 {
                snapshotter.chunk(Bytes::from_static(b"chunk"));
            }
            if finished {
                snapshotter.finish();
            }
            let mut ops: VecDeque<DiskOp> =
                (0..asked).filter_map(|_| snapshotter.poll_op(&mut tickets)).collect();
            assert_eq!(ops.len(), asked);
            if fails {
                let ticket = ops.pop_front().expect("the first").ticket();
                let result = Err(DiskError::Full);
                let SnapshotOutcome::Failed { .. } = snapshotter.on_done(&DiskDone { ticket, result }) else {
                    panic!("it failed")
                };
            }
            snapshotter.leave();
            assert_eq!(snapshotter.poll_op(&mut tickets), None);
            assert_eq!(snapshotter.is_running(), !ops.is_empty(), "what is under way comes to its end");
            let outcomes: Vec<_> = ops.iter().map(|op| snapshotter.on_done(&ended(op.ticket()))).collect();
            let ends = outcomes.iter().filter(|outcome| matches!(outcome, SnapshotOutcome::Finished { .. }));
            assert_eq!(ends.count(), usize::from(finished));
            assert!(!snapshotter.is_running());
        }
    }

    /// Whichever operation fails, and whether or not the ones behind it fail too: one report, one discard, idle.
    #[test]
    fn disk_snap_fail_is_reported_once_and_tried_again_at_the_next_trigger() {
        for failing in 0..5_u64 {
            for rest_fails in [false, true] {
                let mut tickets = Tickets::default();
                let config = Config { snap_count: 10, ..Config::default() };
                let mut snapshotter = begun(&config);
                for _ in 0..3 {
                    snapshotter.chunk(Bytes::from_static(b"chunk"));
                }
                snapshotter.finish();
                let mut ops = VecDeque::new();
                let mut ended_count = 0;
                let mut failures = 0;
                let mut discards = 0;
                loop {
                    while let Some(op) = snapshotter.poll_op(&mut tickets) {
                        ops.push_back(op);
                    }
                    let Some(op) = ops.pop_front() else { break };
                    discards += usize::from(matches!(op, DiskOp::SnapshotDiscard { .. }));
                    let fails = ended_count == failing || (ended_count > failing && rest_fails);
                    let result = if fails { Err(DiskError::Full) } else { Ok(DiskAnswer::Done) };
                    ended_count += 1;
                    match snapshotter.on_done(&DiskDone { ticket: op.ticket(), result }) {
                        SnapshotOutcome::Failed { zxid, error } => {
                            assert_eq!((zxid, error), (Zxid(0x1a), DiskError::Full));
                            failures += 1;
                        }
                        SnapshotOutcome::Finished { .. } => panic!("it failed"),
                        SnapshotOutcome::Ongoing => {}
                    }
                }
                assert_eq!((failures, discards), (1, 1), "failing {failing}, rest {rest_fails}");
                assert!(!snapshotter.is_running());
                for _ in 0..6 {
                    assert!(!snapshotter.is_due());
                    snapshotter.on_append(1);
                }
                assert!(snapshotter.is_due());
            }
        }
    }
}
