//! Reads committed transactions back from the log, for a learner that missed more than its leader has in memory
//! (PARITY `sync.choice.txnlog`).
//!
//! It first answers whether the learner's last transaction is in the log, then gives the records behind it, one by one,
//! as a proposal carries them: with the digest, and without our mark of the batch. It reads one piece ahead, holds no
//! more than two pieces and a record, and reads in the order of the log, while the log is being written: all it is
//! asked for is durable already, and what stands behind that it never looks at.
//!
//! Records must follow each other without a gap, as in recovery: the one after, or the first of a later epoch. Anything
//! else ends it with an error, and the learner gets a snapshot instead. What recovery calls harmless, a record that was
//! never finished at the end of a file, is harmless here if the next file has exactly the record that is due.
//!
//! Recovery reads from the newest snapshot on, this from any log file that is still there; and a server that was sent a
//! snapshot may have log files from before it that the snapshot does not follow. So where the log goes from one epoch
//! to a later one, no snapshot may be between the two: it would hold what the log has not.
//!
//! Two things go unseen, in both places: a file whose last records of an epoch are missing without a trace, where the
//! next file begins a later epoch, and what stands behind the zeros at the end of a file.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::scan::BadHeader;
use crate::config::Config;
use crate::store::{DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Inventory, Tickets};
use crate::types::{Ticket, Zxid};
use crate::wire::record::{self, FileHeader, Scan};
use crate::wire::txn::{self, BATCH_MARK_LEN};
use crate::wire::{DecodeError, Reader};

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Where the log stands to the transaction behind which reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStart {
    /// It is in the log.
    Found,
    /// It is not.
    Missing {
        /// The last one before it. `None`: the log does not reach back so far, or nothing says that it does.
        below: Option<Zxid>,
    },
}

/// What reading came to next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStep {
    /// More has to be read first.
    Blocked,
    /// All records up to the limit were given, or all that there are.
    End,
    /// The next transaction.
    Record {
        /// Its zxid.
        zxid: Zxid,
        /// Header, transaction and digest.
        payload: Bytes,
    },
    /// The answer that comes first, once.
    Start(LogStart),
}

/// Why the log cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogReadError {
    /// The file is no log.
    BadHeader {
        /// Which.
        file: FileName,
        /// What is wrong with it; `None` if it is not all there.
        why: Option<BadHeader>,
    },
    /// Something that was written to its end is not as it was written.
    Damaged {
        /// In which file.
        file: FileName,
        /// Where in the file.
        offset: u64,
    },
    /// The disk's; the file was purged meanwhile, perhaps.
    Disk {
        /// Which.
        file: FileName,
        /// What is wrong.
        error: DiskError,
    },
    /// Transactions are missing.
    Gap {
        /// The last one before.
        last_zxid: Zxid,
        /// The one that was found.
        found: Zxid,
    },
}

impl fmt::Display for LogReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHeader { file, why: Some(why) } => write!(f, "{file} is no log: {why}"),
            Self::BadHeader { file, why: None } => write!(f, "{file} ends within its header"),
            Self::Damaged { file, offset } => write!(f, "{file} is damaged at offset {offset}"),
            Self::Disk { file, error } => write!(f, "{file}: {error}"),
            Self::Gap { last_zxid, found } => {
                write!(f, "transactions are missing: found {found} behind {last_zxid}")
            }
        }
    }
}

impl core::error::Error for LogReadError {}

/// Reads the log behind some transaction.
#[derive(Debug)]
pub struct LogReader {
    field_max: usize,
    after: Zxid,
    until: Zxid,
    /// Files that were not begun, oldest first.
    files: VecDeque<FileName>,
    /// What the snapshots hold, oldest first.
    snapshots: Vec<Zxid>,
    current: Option<Current>,
    /// What is read at the moment.
    in_flight: Option<(Ticket, usize)>,
    /// The newest record seen.
    last: Option<Zxid>,
    /// The one behind it was never finished.
    torn: bool,
    /// A record that was found before the answer was given.
    held: Option<(Zxid, Bytes)>,
    started: bool,
    over: bool,
    failed: Option<LogReadError>,
}

/// The file that is being read.
#[derive(Debug)]
struct Current {
    file: FileName,
    /// What was read and not looked at.
    window: BytesMut,
    /// Where in the file the window begins.
    offset: u64,
    header_seen: bool,
    /// The file has no more.
    at_end: bool,
}

/// What stands at the beginning of the window.
enum Found {
    /// Nothing more in this file.
    FileEnd {
        /// But for something that was never finished.
        torn: bool,
    },
    More,
    Record(Zxid, Bytes),
}

impl LogReader {
    /// Reads what follows `after`, up to and with `until`, which must be durable.
    pub fn new(config: &Config, inventory: &Inventory, after: Zxid, until: Zxid) -> Self {
        let logs = inventory.logs_from(after.min(until)).iter();
        Self {
            field_max: config.stored_field_max(),
            after,
            until,
            files: logs.filter(|log| log.zxid <= until).map(|log| log.file.clone()).collect(),
            snapshots: inventory.snapshots().iter().map(|snapshot| snapshot.zxid).collect(),
            current: None,
            in_flight: None,
            last: None,
            torn: false,
            held: None,
            started: false,
            over: false,
            failed: None,
        }
    }

    /// What the disk is to do next, if anything.
    pub fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        if self.in_flight.is_some() || self.over || self.failed.is_some() {
            return None;
        }
        let current = match &mut self.current {
            Some(current) => current,
            current @ None => current.insert(Current::new(self.files.pop_front()?)),
        };
        if current.at_end || current.window.len() >= current.enough(self.field_max) {
            return None;
        }
        let (ticket, offset) = (tickets.issue(), current.offset + current.window.len() as u64);
        self.in_flight = Some((ticket, READ_BYTES));
        Some(DiskOp::Read { ticket, file: current.file.clone(), offset, len: READ_BYTES })
    }

    /// The read in flight.
    pub fn in_flight(&self) -> Option<Ticket> {
        self.in_flight.map(|(ticket, _)| ticket)
    }

    /// Whether `ticket` names the read in flight.
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.in_flight.is_some_and(|(in_flight, _)| in_flight == ticket)
    }

    /// Takes a completion. One that is in flight must be waited for, even when nothing more is wanted.
    ///
    /// # Panics
    /// If the ticket is not [owned](Self::owns).
    pub fn on_done(&mut self, done: DiskDone) {
        assert!(self.owns(done.ticket), "a completion for a read that is not in flight");
        let (_, len) = self.in_flight.take().expect("owned, as just asserted");
        // The record that ends it all may have come while this was on its way.
        let Some(current) = self.current.as_mut().filter(|_| !self.over) else { return };
        match done.result {
            Ok(DiskAnswer::Data(bytes)) => {
                current.at_end = bytes.len() < len;
                current.window.extend_from_slice(&bytes);
            }
            Ok(DiskAnswer::Done | DiskAnswer::Listing(_)) => panic!("a read is answered with bytes"),
            Err(error) => self.failed = Some(LogReadError::Disk { file: current.file.clone(), error }),
        }
    }

    /// The next of what was read: first the answer, then records, then the end. Call until it is blocked or over.
    ///
    /// # Errors
    /// If the log cannot be relied on from here. What was given before is right.
    pub fn step(&mut self) -> Result<LogStep, LogReadError> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if let Some((zxid, payload)) = self.held.take_if(|_| self.started) {
                return Ok(LogStep::Record { zxid, payload });
            }
            if self.over {
                return Ok(if self.started { LogStep::End } else { self.start() });
            }
            let Some(current) = &mut self.current else {
                if !self.files.is_empty() {
                    return Ok(LogStep::Blocked);
                }
                self.over = true;
                continue;
            };
            match current.find(self.field_max) {
                // The file is named after a record that is durable.
                Ok(Found::FileEnd { .. }) if self.last.is_none() => {
                    self.failed = Some(current.damaged());
                }
                Ok(Found::FileEnd { torn }) if self.in_flight.is_none() => {
                    self.torn |= torn;
                    self.current = None;
                }
                // The read ahead brings nothing that matters, but it belongs to this file.
                Ok(Found::FileEnd { .. } | Found::More) => return Ok(LogStep::Blocked),
                Ok(Found::Record(zxid, payload)) => {
                    if let Some(step) = self.on_record(zxid, payload) {
                        return Ok(step);
                    }
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// The newest record seen: at the end, the last one there is up to the limit.
    pub const fn last_zxid(&self) -> Option<Zxid> {
        self.last
    }

    fn start(&mut self) -> LogStep {
        self.started = true;
        let found = self.last.filter(|last| *last <= self.after);
        LogStep::Start(match found {
            Some(last) if last == self.after => LogStart::Found,
            below => LogStart::Missing { below },
        })
    }

    fn on_record(&mut self, zxid: Zxid, payload: Bytes) -> Option<LogStep> {
        if zxid > self.until {
            self.over = true;
            return None;
        }
        if let Some(last) = self.last {
            // As ZooKeeper leaves it behind where a learner was sent something twice.
            if zxid <= last {
                return None;
            }
            let leaps = self.snapshots.iter().any(|snapshot| last < *snapshot && *snapshot < zxid);
            if !zxid.follows(last) || zxid != last.next() && (self.torn || leaps) {
                self.failed = Some(LogReadError::Gap { last_zxid: last, found: zxid });
                return None;
            }
        }
        self.torn = false;
        let step = if zxid <= self.after {
            self.last = Some(zxid);
            (zxid == self.after && !self.started).then(|| self.start())
        } else if self.started {
            self.last = Some(zxid);
            Some(LogStep::Record { zxid, payload })
        } else {
            let start = self.start();
            self.last = Some(zxid);
            self.held = Some((zxid, payload));
            Some(start)
        };
        self.over = zxid == self.until;
        step
    }
}

impl Current {
    fn new(file: FileName) -> Self {
        Self { file, window: BytesMut::new(), offset: 0, header_seen: false, at_end: false }
    }

    /// With so much in the window, nothing needs to be read.
    fn enough(&self, field_max: usize) -> usize {
        let prefix = self.window.first_chunk::<{ record::PREFIX_LEN }>();
        let Some([.., a, b, c, d]) = prefix.filter(|_| self.header_seen) else { return READ_BYTES };
        let length = usize::try_from(i32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(0);
        if length > field_max { READ_BYTES } else { READ_BYTES.max(length + record::OVERHEAD) }
    }

    fn advance(&mut self, len: usize) {
        self.window.advance(len);
        self.offset += len as u64;
    }

    fn damaged(&self) -> LogReadError {
        LogReadError::Damaged { file: self.file.clone(), offset: self.offset }
    }

    /// Looks at the header, the first time.
    fn find_header(&mut self) -> Result<bool, LogReadError> {
        let file = &self.file;
        if self.window.len() < FileHeader::LEN {
            return if self.at_end {
                Err(LogReadError::BadHeader { file: file.clone(), why: None })
            } else {
                Ok(false)
            };
        }
        let why = match FileHeader::decode(&mut Reader::new(&self.window), &FileHeader::LOG) {
            Ok(header) if header.dbid != FileHeader::LOG.dbid => Some(BadHeader::Dbid(header.dbid)),
            Ok(_) => None,
            Err(DecodeError::BadVersion) => Some(BadHeader::Version),
            Err(_) => Some(BadHeader::Magic),
        };
        if why.is_some() {
            return Err(LogReadError::BadHeader { file: file.clone(), why });
        }
        self.advance(FileHeader::LEN);
        self.header_seen = true;
        Ok(true)
    }

    fn find(&mut self, field_max: usize) -> Result<Found, LogReadError> {
        if !self.header_seen && !self.find_header()? {
            return Ok(Found::More);
        }
        let (total_len, zxid, payload_len) = match record::scan(&self.window, field_max) {
            Scan::Record { payload, total_len } => {
                let Ok(logged) = txn::decode_logged(payload, field_max) else { return Err(self.damaged()) };
                let mark_len = if logged.batch.is_some() { BATCH_MARK_LEN } else { 0 };
                (total_len, logged.header.zxid, payload.len() - mark_len)
            }
            Scan::NeedMore { .. } if !self.at_end => return Ok(Found::More),
            Scan::NeedMore { .. } => {
                let torn = self.window.iter().any(|byte| *byte != 0);
                return Ok(Found::FileEnd { torn });
            }
            // A checksum without a length was never finished.
            Scan::Padding => {
                let torn = self.window.iter().take(record::PREFIX_LEN).any(|byte| *byte != 0);
                return Ok(Found::FileEnd { torn });
            }
            Scan::Unmarked { .. } => return Ok(Found::FileEnd { torn: true }),
            Scan::BadChecksum { .. } | Scan::BadLength => return Err(self.damaged()),
        };
        let record = self.window.split_to(total_len).freeze();
        self.offset += total_len as u64;
        Ok(Found::Record(zxid, record.slice(record::PREFIX_LEN..record::PREFIX_LEN + payload_len)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::super::test_disk::{History, TestDisk, header};
    use super::*;
    use crate::store::DirEntry;
    use crate::store::inventory::{log_name, snapshot_name};
    use crate::types::{OpCode, SessionId, Txn};

    type Read = (LogStart, Vec<(Zxid, Bytes)>, Result<(), LogReadError>);

    fn inventory(disk: &TestDisk) -> Inventory {
        let entry =
            |(file, bytes): (&FileName, &Vec<u8>)| DirEntry { file: file.clone(), size: bytes.len() as u64 };
        Inventory::new(disk.files.iter().map(entry).collect())
    }

    fn read_listed(disk: &mut TestDisk, inventory: &Inventory, after: Zxid, until: Zxid) -> Read {
        let mut reader = LogReader::new(&Config::default(), inventory, after, until);
        let mut tickets = Tickets::default();
        let (mut start, mut records) = (None, Vec::new());
        let end = loop {
            match reader.step() {
                Ok(LogStep::Blocked) => {
                    let op = reader.poll_op(&mut tickets).expect("blocked, with nothing to wait for");
                    assert!(reader.owns(op.ticket()));
                    assert_eq!(reader.poll_op(&mut tickets), None, "one at a time");
                    reader.on_done(disk.execute(op));
                    // Ahead, as a caller may ask that has not looked yet.
                    if let Some(op) = reader.poll_op(&mut tickets) {
                        reader.on_done(disk.execute(op));
                    }
                }
                Ok(LogStep::Start(answer)) => assert_eq!(start.replace(answer), None),
                Ok(LogStep::Record { zxid, payload }) => {
                    assert!(start.is_some());
                    records.push((zxid, payload));
                }
                Ok(LogStep::End) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (start.unwrap_or(LogStart::Missing { below: None }), records, end)
    }

    fn read(disk: &mut TestDisk, after: Zxid, until: Zxid) -> Read {
        let inventory = inventory(disk);
        read_listed(disk, &inventory, after, until)
    }

    /// Logs with records of many sizes, some larger than what is read at a time, in two epochs and four files, with
    /// and without marks, and everything as a proposal carries it.
    fn logs() -> (TestDisk, Vec<(Zxid, Bytes)>) {
        let mut history = History::new(&Config::default());
        let mut plain = History::new(&Config::default());
        plain.marked = false;
        let (mut disk, mut payloads) = (TestDisk::default(), Vec::new());
        let sizes = [1, 100, READ_BYTES - 70, 7, 300_000, 2 * READ_BYTES, 50, 600_000, 1, 1, 90_000, 200_000];
        for (file, sizes) in sizes.chunks(3).enumerate() {
            if file == 2 {
                history.next = Zxid::new(1, 1);
                plain.next = history.next;
            }
            history.marked = file != 1;
            let (name, mut bytes) = (log_name(history.next), header());
            for size in sizes {
                let data = (0..*size).map(|at| at as u8).collect();
                let txn = Txn::SetData { path: "/".into(), data: Some(data), version: 1 };
                let zxid = history.next;
                let record = plain.append(OpCode::SET_DATA, SessionId(3), txn.clone());
                let payload = &record[record::PREFIX_LEN..record.len() - 1];
                payloads.push((zxid, Bytes::copy_from_slice(payload)));
                bytes.extend(history.append(OpCode::SET_DATA, SessionId(3), txn));
            }
            bytes.resize(bytes.len() + file * 300_000, 0);
            disk.files.insert(name, bytes);
        }
        (disk, payloads)
    }

    /// PARITY `sync.choice.txnlog`: from everywhere to everywhere, exactly what is between, without the marks.
    #[test]
    fn sync_choice_txnlog_reads_what_follows() {
        let (mut disk, payloads) = logs();
        let zxids = || (0..8).map(Zxid).chain((0..9).map(|counter| Zxid::new(1, counter)));
        for after in zxids() {
            for until in zxids().filter(|until| *until > Zxid::ZERO) {
                let (start, records, end) = read(&mut disk, after, until);
                assert_eq!(end, Ok(()), "{after} {until}");
                let expected: Vec<_> =
                    payloads.iter().filter(|(zxid, _)| after < *zxid && *zxid <= until).cloned().collect();
                assert!(records == expected, "{after} {until}");
                let below = payloads.iter().map(|(zxid, _)| *zxid).rfind(|zxid| *zxid <= after.min(until));
                let missing =
                    if below == Some(after) { LogStart::Found } else { LogStart::Missing { below } };
                assert_eq!(start, missing, "{after} {until}");
            }
        }
    }

    /// What stands behind the limit is not looked at: it may be half-written, or be zeros.
    #[test]
    fn what_is_not_durable_yet_is_not_looked_at() {
        let mut history = History::new(&Config::default());
        let (first, bytes, ends) = history.log(4);
        for len in ends[2]..bytes.len() {
            for padding in [0, 1, 5, 700] {
                for garbage in [0, 0xff] {
                    let mut torn = bytes[..len].to_vec();
                    torn.resize(len + padding, garbage);
                    let mut disk = TestDisk::with_logs(&[(first, torn)]);
                    let (start, records, end) = read(&mut disk, Zxid(1), Zxid(2));
                    assert_eq!((start, records.len(), end), (LogStart::Found, 1, Ok(())));
                }
            }
        }
    }

    /// Whatever byte is damaged, what is given is right, and what is missing is an error or a log that ends too early.
    #[test]
    fn no_damage_goes_by() {
        let mut history = History::new(&Config::default());
        let (first, bytes, ends) = history.log(3);
        let (second, rest, _) = history.log(2);
        let whole = read(
            &mut TestDisk::with_logs(&[(first, bytes.clone()), (second, rest.clone())]),
            Zxid(1),
            Zxid(5),
        );
        assert_eq!((whole.1.len(), &whole.2), (4, &Ok(())));
        for at in 0..bytes.len() {
            for flip in [0x01, 0x42, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let mut disk = TestDisk::with_logs(&[(first, damaged), (second, rest.clone())]);
                let (_, records, end) = read(&mut disk, Zxid(1), Zxid(5));
                assert!(end.is_err(), "{at}");
                assert!(whole.1.starts_with(&records));
                assert!(records.len() < ends.iter().filter(|end| **end <= at).count().max(1));
            }
        }
        for len in 0..bytes.len() {
            let mut disk = TestDisk::with_logs(&[(first, bytes[..len].to_vec()), (second, rest.clone())]);
            let (_, records, end) = read(&mut disk, Zxid(1), Zxid(5));
            assert!(end.is_err(), "{len}");
            assert!(whole.1.starts_with(&records));
        }
    }

    /// A torn tail is harmless where the record that is due follows, and nowhere else.
    #[test]
    fn a_torn_tail_is_harmless_before_exactly_the_next() {
        for (next, harmless) in [(Zxid(3), true), (Zxid(4), false), (Zxid::new(1, 1), false)] {
            let mut history = History::new(&Config::default());
            let (first, bytes, _) = history.log(2);
            let torn = history.record();
            history.next = next;
            let (second, rest, _) = history.log(1);
            for len in 0..torn.len() {
                let bytes = [bytes.clone(), torn[..len].to_vec()].concat();
                let mut disk = TestDisk::with_logs(&[(first, bytes), (second, rest.clone())]);
                let (_, records, end) = read(&mut disk, Zxid(1), next);
                let visible = torn[..len].iter().any(|byte| *byte != 0);
                let fine = harmless || !visible && next == Zxid::new(1, 1);
                let gap = LogReadError::Gap { last_zxid: Zxid(2), found: next };
                assert_eq!(end, if fine { Ok(()) } else { Err(gap) }, "{next} {len}");
                assert_eq!(records.len(), 1 + usize::from(fine));
            }
        }
    }

    #[test]
    fn gaps_repetitions_and_purged_files() {
        let mut history = History::new(&Config::default());
        let (first, mut bytes, ends) = history.log(3);
        bytes.extend_from_within(ends[1]..ends[2]);
        let (second, rest, _) = history.log(2);
        let mut disk = TestDisk::with_logs(&[(first, bytes), (second, rest)]);
        let (_, records, end) = read(&mut disk, Zxid(1), Zxid(5));
        assert_eq!((records.len(), end), (4, Ok(())), "what comes twice is given once");
        let listed = inventory(&disk);
        disk.files.remove(&log_name(second));
        let (_, records, end) = read_listed(&mut disk, &listed, Zxid(1), Zxid(5));
        let gone = LogReadError::Disk { file: log_name(second), error: DiskError::NotFound };
        assert_eq!((records.len(), end), (2, Err(gone)));
        let (start, records, end) = read(&mut disk, Zxid(1), Zxid(5));
        assert_eq!(
            (start, records.len(), end),
            (LogStart::Found, 2, Ok(())),
            "the log ends before the limit"
        );
        for begins in [Zxid::new(2, 2), Zxid(7)] {
            history.next = begins;
            let (third, bytes, _) = history.log(1);
            let mut disk = disk.clone().put(log_name(third), bytes);
            let (_, _, end) = read(&mut disk, Zxid(1), begins);
            assert_eq!(end, Err(LogReadError::Gap { last_zxid: Zxid(3), found: begins }));
        }
        let (start, records, end) = read(&mut TestDisk::default(), Zxid(1), Zxid(5));
        assert_eq!((start, records, end), (LogStart::Missing { below: None }, vec![], Ok(())));
        let error = LogReadError::Gap { last_zxid: Zxid(3), found: Zxid(7) };
        assert_eq!(format!("{error}"), "transactions are missing: found 0x7 behind 0x3");
    }

    /// A snapshot between the last record of an epoch and the first of a later one holds what is not in the log; one of
    /// either record, or within an epoch, says nothing.
    #[test]
    fn sync_choice_txnlog_does_not_leap_over_a_snapshot() {
        let mut history = History::new(&Config::default());
        let (first, bytes, _) = history.log(3);
        history.next = Zxid::new(2, 1);
        let (second, rest, _) = history.log(2);
        let disk = TestDisk::with_logs(&[(first, bytes), (second, rest)]);
        let table = [
            (Zxid(2), true),
            (Zxid(3), true),
            (Zxid(9), false),
            (Zxid::new(1, 4), false),
            (Zxid::new(2, 0), false),
            (Zxid::new(2, 1), true),
            (Zxid::new(2, 2), true),
        ];
        for (snapshot, goes_on) in table {
            let mut disk = disk.clone().put(snapshot_name(snapshot), Vec::new());
            let (start, records, end) = read(&mut disk, Zxid(1), Zxid::new(2, 2));
            let gap = LogReadError::Gap { last_zxid: Zxid(3), found: Zxid::new(2, 1) };
            assert_eq!(end, if goes_on { Ok(()) } else { Err(gap) }, "{snapshot}");
            assert_eq!((start, records.len()), (LogStart::Found, if goes_on { 4 } else { 2 }), "{snapshot}");
        }
    }
}
