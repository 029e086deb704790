//! The log writer: gathers encoded records and decides when they leave for the disk, and into which file.
//!
//! Group commit: at most one append is in flight, and whatever gathered meanwhile leaves as the next one, with one
//! write and one sync. Under load a batch is therefore as large as the disk is slow, and nobody waits for a timer.
//!
//! A file is named after its first transaction, so it can only be created once that transaction is known: a roll
//! is remembered and takes effect with the next record. Records that were gathered before the roll still go to
//! the file before.
//!
//! ```text
//! append ──▶ segments: [file A: …] [file B: header …] [file C: header …]
//!                          │ poll_op: create (if new), then the whole segment as one append
//!                          ▼
//!                      in flight ── on_done ──▶ durable
//! ```
//!
//! A record is told with which batch it leaves, so that it can say so on the disk: a segment is one append and one
//! sync, and it is only handed out once the one before is durable. Recovery relies on both. A record that has no place
//! to say so begins a segment: behind a hole in its batch, recovery would take it for one that was written after the
//! batch was durable.
//!
//! Invariants: zxids strictly grow; durable ≤ appended; a file is created before its first append and never
//! after a failure: a failed write or sync is not tried again, since nobody knows what the file then holds.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::inventory::log_name;
use super::op::{DiskDone, DiskError, DiskOp, FileName, Tickets};
use crate::config::Config;
use crate::types::{Ticket, Zxid};

/// Room that is kept free at the end of a preallocated file, as ZooKeeper does: growing starts this many bytes
/// before the end is reached.
const GROW_MARGIN: u64 = 4096;

/// An append takes no more records once it has so many bytes: what a slow disk does must come to an end now and then, or
/// nobody can tell it from one that hangs.
const APPEND_BYTES: usize = 4 << 20;

/// No more room than this is made ahead.
const USUAL_BYTES_MAX: usize = 1 << 20;

/// Appends transactions to log files, in batches.
#[derive(Debug)]
pub struct LogWriter {
    /// Bytes with which every log file begins.
    file_header: Bytes,
    pre_alloc_size: u64,
    file_size_limit: Option<u64>,
    sync: bool,
    /// Records that have not left yet, oldest first; every segment but the first begins a new file, follows one that is
    /// full, or begins with a record that does not name its batch. Never holds an empty segment.
    segments: VecDeque<Segment>,
    /// The next record begins a new file.
    roll_pending: bool,
    /// The newest record given to this writer.
    appended: Zxid,
    /// Bytes of the file that the newest record is in, that record included.
    tail_bytes: u64,
    /// Everything up to here survives a power failure.
    durable: Zxid,
    /// Bytes handed out so far for the file that the disk is at, and how large that file was made.
    position: u64,
    allocated: u64,
    /// Bytes of all `segments`.
    buffered_bytes: usize,
    /// Room for as much as left the last time.
    usual_bytes: usize,
    creating: Option<Ticket>,
    appending: Option<InFlight>,
    failed: Option<DiskError>,
}

/// Records of one file that leave together.
#[derive(Debug)]
struct Segment {
    /// The file's name, where these are its first bytes.
    begins: Option<FileName>,
    bytes: Vec<u8>,
    /// The first of its records: the batch's name.
    first: Zxid,
    last: Zxid,
}

#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    last: Zxid,
}

impl LogWriter {
    /// A writer that continues after `last_zxid`, all of which is durable already. It begins with a new file, as
    /// ZooKeeper does: the files found at start-up are never written to again. `file_header` is what every file
    /// begins with.
    pub fn new(config: &Config, file_header: Bytes, last_zxid: Zxid) -> Self {
        Self {
            file_header,
            pre_alloc_size: config.pre_alloc_size,
            file_size_limit: config.txn_log_size_limit,
            sync: config.force_sync,
            segments: VecDeque::new(),
            roll_pending: true,
            appended: last_zxid,
            tail_bytes: 0,
            durable: last_zxid,
            position: 0,
            allocated: 0,
            buffered_bytes: 0,
            usual_bytes: 0,
            creating: None,
            appending: None,
            failed: None,
        }
    }

    /// Adds the record of transaction `zxid`; `encode` appends its bytes to the buffer it is given and touches
    /// nothing else of it. It is also given the first zxid of the batch that the record is in, and `names_batch` says
    /// whether the record will say it; one that does not leaves with none before it. Returns how many bytes it took, for
    /// [`super::Snapshotter::on_append`].
    ///
    /// # Panics
    /// If `zxid` is not greater than every one before, or nothing was encoded.
    pub fn append(
        &mut self,
        zxid: Zxid,
        names_batch: bool,
        encode: impl FnOnce(&mut Vec<u8>, Zxid),
    ) -> usize {
        assert!(zxid > self.appended, "log order: {zxid} after {}", self.appended);
        let over_limit = self.file_size_limit.is_some_and(|limit| self.tail_bytes > limit);
        if self.roll_pending || over_limit {
            self.roll_pending = false;
            let mut bytes = Vec::with_capacity(self.usual_bytes);
            bytes.extend_from_slice(&self.file_header);
            self.tail_bytes = bytes.len() as u64;
            self.buffered_bytes += bytes.len();
            self.segments.push_back(Segment { begins: Some(log_name(zxid)), bytes, first: zxid, last: zxid });
        } else if !names_batch || self.segments.back().is_none_or(|last| last.bytes.len() >= APPEND_BYTES) {
            let bytes = Vec::with_capacity(self.usual_bytes);
            self.segments.push_back(Segment { begins: None, bytes, first: zxid, last: zxid });
        }
        let segment = self.segments.back_mut().expect("one was pushed just above if there was none");
        let before = segment.bytes.len();
        encode(&mut segment.bytes, segment.first);
        let added = segment.bytes.len().checked_sub(before).expect("a record encoder only appends");
        assert!(added > 0, "an empty record for {zxid}");
        segment.last = zxid;
        self.appended = zxid;
        self.tail_bytes += added as u64;
        self.buffered_bytes += added;
        added
    }

    /// The next record begins a new file. Called when a snapshot is begun, so that the files before it can be
    /// purged one day.
    pub fn roll(&mut self) {
        self.roll_pending = true;
    }

    /// What the disk is to do next, if anything: call until `None`.
    pub fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        if self.failed.is_some() || self.appending.is_some() {
            return None;
        }
        let segment = self.segments.front_mut()?;
        if let Some(file) = segment.begins.take() {
            assert!(self.creating.is_none(), "two log files created with no append between them");
            self.position = 0;
            self.allocated = 0;
            let ticket = tickets.issue();
            self.creating = Some(ticket);
            return Some(DiskOp::LogCreate { ticket, file });
        }
        let segment = self.segments.pop_front().expect("it was there two lines above");
        self.position += segment.bytes.len() as u64;
        self.buffered_bytes -= segment.bytes.len();
        self.usual_bytes = segment.bytes.len().min(USUAL_BYTES_MAX);
        let grow_to = self.grow();
        let ticket = tickets.issue();
        self.appending = Some(InFlight { ticket, last: segment.last });
        Some(DiskOp::LogAppend { ticket, bytes: Bytes::from(segment.bytes), grow_to, sync: self.sync })
    }

    /// The size to grow the file to, when `position` comes near its end.
    fn grow(&mut self) -> Option<u64> {
        let step = self.pre_alloc_size;
        if step == 0 || self.position + GROW_MARGIN < self.allocated {
            self.allocated = self.allocated.max(self.position);
            return None;
        }
        self.allocated = (self.position + GROW_MARGIN + 1).next_multiple_of(step);
        Some(self.allocated)
    }

    /// Whether `ticket` names an operation of this writer that is in flight.
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.creating == Some(ticket) || self.appending.as_ref().is_some_and(|append| append.ticket == ticket)
    }

    /// Takes note of a completion and returns up to where the log is durable now.
    ///
    /// # Errors
    /// The disk's. The writer is dead from then on: it asks for nothing more, and its server must stop.
    ///
    /// # Panics
    /// If the ticket is not [owned](Self::owns), or comes before the completion of an earlier operation.
    pub fn on_done(&mut self, done: &DiskDone) -> Result<Zxid, DiskError> {
        assert!(self.owns(done.ticket), "a completion for a log operation that is not in flight");
        if let Err(error) = done.result {
            self.failed = Some(error);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.creating == Some(done.ticket) {
            self.creating = None;
        } else if let Some(append) = self.appending.take() {
            assert!(self.creating.is_none(), "an append ended before the file it goes to was created");
            assert!(append.last > self.durable, "durability went back");
            self.durable = append.last;
        }
        assert!(self.durable <= self.appended, "durable before it was appended");
        Ok(self.durable)
    }

    /// The newest transaction given to this writer.
    pub const fn appended(&self) -> Zxid {
        self.appended
    }

    /// Every transaction up to this one survives a power failure.
    pub const fn durable(&self) -> Zxid {
        self.durable
    }

    /// Whether all that was appended is durable.
    pub fn is_idle(&self) -> bool {
        self.segments.is_empty() && self.appending.is_none() && self.creating.is_none()
    }

    /// Bytes that wait for the append in flight.
    pub const fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Bytes that were handed out for the file that is written to.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file that is written to, preallocation included: what a directory listing would show.
    pub const fn file_size(&self) -> u64 {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use super::super::op::DiskAnswer;
    use super::*;

    fn writer(config: &Config) -> LogWriter {
        LogWriter::new(config, Bytes::from_static(b"0123456789abcdef"), Zxid(9))
    }

    fn done(ticket: Ticket) -> DiskDone {
        DiskDone { ticket, result: Ok(DiskAnswer::Done) }
    }

    fn append(log: &mut LogWriter, zxid: i64, len: usize) {
        assert_eq!(log.append(Zxid(zxid), true, |buffer, _| buffer.resize(buffer.len() + len, b'x')), len);
    }

    #[test]
    fn what_waits_for_a_slow_disk_leaves_in_pieces_each_a_batch() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        for zxid in 10..30 {
            log.append(Zxid(zxid), true, |buffer, batch| {
                assert!(batch >= Zxid(zxid - 4), "four records of a MiB are a piece");
                buffer.resize(buffer.len() + (1 << 20), b'x');
            });
        }
        let mut appends = Vec::new();
        while let Some(op) = log.poll_op(&mut tickets) {
            if let DiskOp::LogAppend { bytes, sync, .. } = &op {
                assert!(sync);
                appends.push(bytes.len() >> 20);
            }
            log.on_done(&done(op.ticket())).expect("it went well");
        }
        assert_eq!(appends, [4, 4, 4, 4, 4]);
        assert!(log.is_idle());
    }

    #[test]
    fn disk_log_batch_everything_gathered_during_a_sync_leaves_as_one_write() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        assert_eq!(log.poll_op(&mut tickets), None);
        append(&mut log, 10, 5);
        let create = log.poll_op(&mut tickets).expect("a new file");
        assert_eq!(create, DiskOp::LogCreate { ticket: Ticket(1), file: log_name(Zxid(10)) });
        let DiskOp::LogAppend { ticket, bytes, grow_to, sync } =
            log.poll_op(&mut tickets).expect("the first batch")
        else {
            panic!("an append")
        };
        assert_eq!(&bytes[..], b"0123456789abcdefxxxxx");
        assert_eq!(grow_to, Some(64 << 20));
        assert!(sync);
        append(&mut log, 11, 1);
        append(&mut log, 12, 2);
        assert_eq!(log.poll_op(&mut tickets), None, "one append at a time");
        assert_eq!(log.on_done(&done(Ticket(1))), Ok(Zxid(9)));
        assert_eq!(log.poll_op(&mut tickets), None);
        assert_eq!(log.on_done(&done(ticket)), Ok(Zxid(10)));
        let next = log.poll_op(&mut tickets).expect("the second batch");
        assert_eq!(
            next,
            DiskOp::LogAppend {
                ticket: Ticket(3),
                bytes: Bytes::from_static(b"xxx"),
                grow_to: None,
                sync: true
            }
        );
        assert!(!log.is_idle());
        assert_eq!(log.on_done(&done(Ticket(3))), Ok(Zxid(12)));
        assert!(log.is_idle());
        assert_eq!(log.durable(), log.appended());
    }

    /// Whatever is gathered, in whatever file: all bytes of one append carry the same batch, the zxid of its first
    /// record, and no other append has it.
    #[test]
    fn every_record_is_told_the_batch_it_leaves_with() {
        for gathered in 1..4 {
            for roll_every in 1..6 {
                let mut tickets = Tickets::default();
                let mut log = LogWriter::new(&Config::default(), Bytes::new(), Zxid(0));
                let mut in_flight = Vec::new();
                let mut batches = Vec::new();
                for zxid in 1..40_u8 {
                    if zxid % roll_every == 0 {
                        log.roll();
                    }
                    log.append(Zxid(zxid.into()), true, |buffer, batch| buffer.extend([zxid, batch.0 as u8]));
                    if zxid % gathered == 0 {
                        for ticket in in_flight.drain(..) {
                            log.on_done(&done(ticket)).expect("it went well");
                        }
                    }
                    while let Some(op) = log.poll_op(&mut tickets) {
                        in_flight.push(op.ticket());
                        let DiskOp::LogAppend { bytes, .. } = op else { continue };
                        let batch = bytes[0];
                        assert!(
                            bytes.as_chunks::<2>().0.iter().all(|record| record[1] == batch),
                            "{bytes:?}"
                        );
                        batches.push(batch);
                    }
                }
                assert!(batches.len() > 6 && batches.is_sorted_by(|one, next| one < next), "{batches:?}");
            }
        }
    }

    #[test]
    fn a_record_that_does_not_name_its_batch_leaves_with_none_before_it() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        for zxid in 10..18 {
            // 13 begins a file as well, and 16 and 17 come one behind the other.
            let names_batch = ![10, 11, 13, 16, 17].contains(&zxid);
            if zxid == 13 {
                log.roll();
            }
            log.append(Zxid(zxid), names_batch, |buffer, batch| buffer.extend([zxid as u8, batch.0 as u8]));
        }
        let (mut appends, mut files) = (Vec::new(), 0);
        while let Some(op) = log.poll_op(&mut tickets) {
            match &op {
                DiskOp::LogAppend { bytes, .. } => appends.push(bytes.to_vec()),
                _ => files += 1,
            }
            log.on_done(&done(op.ticket())).expect("it went well");
        }
        assert_eq!(files, 2);
        let header = b"0123456789abcdef";
        let expected: [&[u8]; 5] = [
            &[header, &[10, 10][..]].concat(),
            &[11, 11, 12, 11],
            &[header, &[13, 13, 14, 13, 15, 13][..]].concat(),
            &[16, 16],
            &[17, 17],
        ];
        assert_eq!(appends, expected);
        assert_eq!(log.durable(), Zxid(17));
    }

    #[test]
    fn disk_log_roll_takes_effect_with_the_next_record() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        append(&mut log, 10, 5);
        log.roll();
        log.roll();
        append(&mut log, 11, 5);
        append(&mut log, 12, 5);
        let mut files = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let Some(op) = log.poll_op(&mut tickets) else { break };
            match &op {
                DiskOp::LogCreate { file, .. } => files.push(file.name.clone()),
                DiskOp::LogAppend { bytes, .. } => sizes.push(bytes.len()),
                other => panic!("{other:?}"),
            }
            log.on_done(&done(op.ticket())).expect("it went well");
        }
        assert_eq!(files, ["log.a", "log.b"]);
        assert_eq!(sizes, [16 + 5, 16 + 10]);
    }

    #[test]
    fn disk_log_roll_at_the_size_limit() {
        let mut tickets = Tickets::default();
        let config = Config { txn_log_size_limit: Some(40), ..Config::default() };
        let mut log = writer(&config);
        let mut files = Vec::new();
        for zxid in 10..16 {
            append(&mut log, zxid, 10);
        }
        while let Some(op) = log.poll_op(&mut tickets) {
            if let DiskOp::LogCreate { file, .. } = &op {
                files.push(file.name.clone());
            }
            log.on_done(&done(op.ticket())).expect("it went well");
        }
        // 16 + 3 * 10 is the first size above 40.
        assert_eq!(files, ["log.a", "log.d"]);
    }

    #[test]
    fn disk_log_padding_grows_before_the_end_is_reached() {
        let mut tickets = Tickets::default();
        let config = Config { pre_alloc_size: 10_000, force_sync: false, ..Config::default() };
        let mut log = writer(&config);
        let mut grown = Vec::new();
        for zxid in 10..20 {
            append(&mut log, zxid, 2000);
            while let Some(op) = log.poll_op(&mut tickets) {
                if let DiskOp::LogAppend { grow_to, sync, .. } = &op {
                    grown.push(*grow_to);
                    assert!(!sync);
                }
                log.on_done(&done(op.ticket())).expect("it went well");
            }
        }
        let expected: [Option<u64>; 10] =
            [Some(10_000), None, Some(20_000), None, None, None, None, Some(30_000), None, None];
        // The margin is kept: 16 + 2 * 2000 + 4096 is below 10,000, 16 + 3 * 2000 + 4096 is not.
        assert_eq!(grown, expected);
        let mut batch = writer(&config);
        append(&mut batch, 10, 100_000);
        batch.poll_op(&mut tickets);
        let Some(DiskOp::LogAppend { grow_to, .. }) = batch.poll_op(&mut tickets) else {
            panic!("an append")
        };
        assert_eq!(grow_to, Some(110_000), "one large batch grows the file by several steps at once");
        let mut off = writer(&Config { pre_alloc_size: 0, ..Config::default() });
        append(&mut off, 10, 100_000);
        off.poll_op(&mut tickets);
        let Some(DiskOp::LogAppend { grow_to, .. }) = off.poll_op(&mut tickets) else { panic!("an append") };
        assert_eq!(grow_to, None);
        assert_eq!(off.file_size(), 100_016);
    }

    #[test]
    fn a_failed_operation_is_the_last() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        append(&mut log, 10, 5);
        let create = log.poll_op(&mut tickets).expect("a new file").ticket();
        let first = log.poll_op(&mut tickets).expect("an append").ticket();
        append(&mut log, 11, 5);
        assert_eq!(log.on_done(&done(create)), Ok(Zxid(9)));
        let failed = DiskDone { ticket: first, result: Err(DiskError::Full) };
        assert_eq!(log.on_done(&failed), Err(DiskError::Full));
        assert_eq!(log.poll_op(&mut tickets), None);
        assert_eq!(log.durable(), Zxid(9));
        assert!(!log.is_idle());
    }

    #[test]
    #[should_panic(expected = "not in flight")]
    fn a_stale_ticket_is_refused() {
        let mut tickets = Tickets::default();
        let mut log = writer(&Config::default());
        append(&mut log, 10, 5);
        let create = log.poll_op(&mut tickets).expect("a new file").ticket();
        log.on_done(&done(create)).expect("the first time is fine");
        let _ = log.on_done(&done(create));
    }

    #[test]
    #[should_panic(expected = "log order")]
    fn a_zxid_does_not_come_twice() {
        let mut log = writer(&Config::default());
        append(&mut log, 10, 5);
        append(&mut log, 10, 5);
    }
}
