//! Reads ZooKeeper's transaction log a second time, apart from the core: the order of transactions as the disk has
//! it, and which of them a power failure would leave.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use zabra_core::store::{Dir, FileName};
use zabra_core::time::WallTime;
use zabra_core::types::{ErrorCode, OpCode, SessionId, Zxid};
use zabra_core::wire::snapshot::{COMPLETE_CHECK_LEN, is_complete};

use crate::disk::{Content, Disk};
use crate::roster::Roster;
use crate::seed::fnv;

/// Bytes of the header of a log file.
const FILE_HEADER: usize = 16;
/// Bytes at the end of a payload that tell of the batch it was written in.
const MARK: usize = 8;
/// Bytes of a record before its payload: checksum and length.
const RECORD_HEADER: usize = 12;
/// The checksum of nothing.
const ADLER_BEGIN: u32 = 1;

/// The head of a logged transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub zxid: Zxid,
    /// Who asked.
    pub session: SessionId,
    /// The number of the request.
    pub cxid: i32,
    /// Its time stamp.
    pub time: WallTime,
    /// What kind.
    pub op: OpCode,
    /// For a failed one, why.
    pub error: Option<ErrorCode>,
    /// For the begin of a session, its timeout.
    pub timeout_ms: Option<i32>,
    /// For the removal of a znode that the server decided on by itself: what stands for its path, see [`path_mark`].
    pub removes: Option<u64>,
    /// For a change of members: who these are then.
    pub members: Option<Roster>,
    /// Of the whole record, what it does included; without its mark of the batch it was written in, which is each
    /// server's own.
    pub checksum: u32,
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} of {} #{}", self.zxid, self.op, self.session, self.cxid)?;
        if let Some(code) = self.error {
            write!(f, " failed with {code}")?;
        }
        Ok(())
    }
}

/// A record and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    record: Logged,
    start: usize,
    bytes: Bytes,
}

/// Follows what one process appends to its log.
#[derive(Clone, Debug, Default)]
pub struct LogTap {
    file: Option<Rc<FileName>>,
    /// How far the file was parsed, and what came after.
    parsed: usize,
    rest: Bytes,
    /// Appended and not known to be durable.
    volatile: VecDeque<(Rc<FileName>, Placed)>,
    durable: Zxid,
    /// The end of the history, durable or not.
    last: Zxid,
}

impl LogTap {
    /// Begins with what a power failure at this moment would leave.
    pub fn new(disk: &Disk) -> Self {
        Self { durable: durable_on(disk), last: end_of(disk.files()), ..Self::default() }
    }

    /// The last transaction of the history, durable or not.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// The last transaction that would survive a power failure.
    pub const fn durable(&self) -> Zxid {
        self.durable
    }

    /// The process goes on in a new file.
    pub fn on_create(&mut self, file: &FileName) {
        self.file = Some(Rc::new(file.clone()));
        self.parsed = 0;
        self.rest.clear();
    }

    /// The process appends. Answers the transactions that are complete with it.
    pub fn on_append(&mut self, bytes: &Bytes) -> Vec<Logged> {
        let Some(file) = &self.file else { return Vec::new() };
        // Most often nothing is left of what came before, and nothing has to be copied.
        self.rest =
            if self.rest.is_empty() { bytes.clone() } else { [&self.rest[..], &bytes[..]].concat().into() };
        let mut at = 0;
        if self.parsed == 0 {
            if self.rest.len() < FILE_HEADER {
                return Vec::new();
            }
            at = FILE_HEADER;
        }
        let mut records = Vec::new();
        while let Some((record, len)) = parse(&self.rest[at..]) {
            let placed = Placed { record, start: self.parsed + at, bytes: self.rest.slice(at..at + len) };
            self.volatile.push_back((Rc::clone(file), placed));
            self.last = record.zxid;
            records.push(record);
            at += len;
        }
        self.parsed += at;
        self.rest.advance(at);
        records
    }

    /// A disk operation ended: looks which records are on the medium now.
    pub fn on_done(&mut self, disk: &Disk) {
        while let Some((file, placed)) = self.volatile.front() {
            let there =
                disk.durable_file(file).is_some_and(|content| content.has(placed.start, &placed.bytes));
            if !there {
                return;
            }
            self.durable = self.durable.max(placed.record.zxid);
            self.volatile.pop_front();
        }
    }

    /// The log was cut, and what is left of it is durable: looks at the whole disk again.
    pub fn on_truncated(&mut self, disk: &Disk) {
        self.volatile.clear();
        self.durable = durable_on(disk);
        self.last = end_of(disk.files());
    }

    /// Files were removed. Old ones do not matter; with young ones the end of the history is gone. Answers whether
    /// it is.
    pub fn on_removed(&mut self, files: &[FileName], disk: &Disk) -> bool {
        self.file.take_if(|file| files.contains(file));
        // It may be asked for and not there yet.
        let written_to = self.file.as_deref();
        let is_young = |removed: &FileName| {
            let number = |file: &FileName, prefix| numbered(file, removed.dir, prefix);
            ["log.", "snapshot."].iter().any(|prefix| {
                let there = disk.files().map(|(file, _)| file).chain(written_to);
                let mut numbers = there.filter_map(|file| number(file, prefix));
                number(removed, prefix).is_some_and(|zxid| numbers.all(|other| other < zxid))
            })
        };
        let rewound = files.iter().any(is_young);
        if rewound {
            self.volatile.retain(|(file, _)| !files.contains(file));
            self.durable = durable_on(disk);
            self.last = end_of(disk.files());
        }
        rewound
    }

    /// A snapshot is complete: where it holds more than there was, it came from a leader. Answers whether it does.
    pub fn on_snapshot(&mut self, disk: &Disk) -> bool {
        let newest = disk.files().filter_map(|(file, _)| numbered(file, Dir::Snapshot, "snapshot.")).max();
        let installed = newest.is_some_and(|zxid| zxid > self.last);
        if installed {
            self.durable = durable_on(disk);
            self.last = newest.unwrap_or(self.last);
        }
        installed
    }

    /// The names in the directory of snapshots are durable, that of one among them whose writer was killed before it could
    /// see to that. Answers whether there was one.
    pub fn on_names(&mut self, disk: &Disk) -> bool {
        let durable = durable_on(disk);
        let is_more = durable > self.durable;
        if is_more {
            self.durable = durable;
        }
        is_more
    }
}

/// A number that stands for a path, so that records stay small.
pub fn path_mark(path: &[u8]) -> u64 {
    fnv(path)
}

/// The last transaction that a power failure at this moment would leave.
fn durable_on(disk: &Disk) -> Zxid {
    end_of(disk.durable_files())
}

/// The last transaction that files hold. A snapshot without its end holds nothing.
fn end_of<'a>(files: impl Iterator<Item = (&'a FileName, &'a Content)>) -> Zxid {
    let (mut last, mut logs) = (Zxid::ZERO, Vec::new());
    for (file, content) in files {
        if let Some(zxid) = numbered(file, Dir::Snapshot, "snapshot.")
            && zxid > last
            && is_whole(content)
        {
            last = zxid;
        }
        if let Some(first) = numbered(file, Dir::Log, "log.") {
            logs.push((first, content));
        }
    }
    // A log is named after its first transaction: what is in those before it is older.
    logs.sort_unstable_by_key(|&(first, _)| Reverse(first));
    let last_in = |content: &Content| records(&content.written()).map(|record| record.zxid).max();
    logs.into_iter().find_map(|(_, content)| last_in(content)).map_or(last, |logged| last.max(logged))
}

/// Whether a snapshot has its end.
pub fn is_whole(snapshot: &Content) -> bool {
    is_complete(&snapshot.tail(COMPLETE_CHECK_LEN))
}

/// The transactions of a log file, up to the first that is not whole.
pub fn records(file: &[u8]) -> impl Iterator<Item = Logged> {
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (record, len) = parse(rest)?;
        rest = &rest[len..];
        Some(record)
    })
}

/// Where in a log file there are records behind a transaction of which the file itself says that they were durable: another
/// batch was written after theirs.
pub fn proven(file: &[u8], behind: Zxid) -> Vec<Range<usize>> {
    let mut at = FILE_HEADER.min(file.len());
    let (mut found, mut last_batch) = (Vec::new(), Zxid::ZERO);
    while let Some((record, len)) = parse(&file[at..]) {
        // A record without a mark begins a batch.
        let mark =
            long(file, at + len - 1 - MARK).map(Zxid).filter(|mark| (last_batch..record.zxid).contains(mark));
        last_batch = mark.unwrap_or(record.zxid);
        found.push((record.zxid, at..at + len));
        at += len;
    }
    found.retain(|&(zxid, _)| zxid > behind && zxid < last_batch);
    found.into_iter().map(|(_, place)| place).collect()
}

/// The number in the name of a log or snapshot.
pub fn numbered(file: &FileName, dir: Dir, prefix: &str) -> Option<Zxid> {
    if file.dir != dir {
        return None;
    }
    i64::from_str_radix(file.name.strip_prefix(prefix)?, 16).ok().map(Zxid)
}

/// The first record of `bytes` and its length, if it is whole and its checksum right.
fn parse(bytes: &[u8]) -> Option<(Logged, usize)> {
    let checksum = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let len = usize::try_from(int(bytes, 8)?).ok().filter(|&len| len > 0)?;
    let payload = bytes.get(RECORD_HEADER..RECORD_HEADER + len)?;
    let (own, mark) = payload.split_at(len.saturating_sub(MARK));
    let own_checksum = adler32(ADLER_BEGIN, own);
    if *bytes.get(RECORD_HEADER + len)? != b'B' || checksum != i64::from(adler32(own_checksum, mark)) {
        return None;
    }
    let op = OpCode(int(payload, 28)?);
    let first = int(payload, 32);
    let record = Logged {
        session: SessionId(long(payload, 0)?),
        cxid: int(payload, 8)?,
        zxid: Zxid(long(payload, 12)?),
        time: WallTime(long(payload, 20)?),
        op,
        error: first.filter(|_| op == OpCode::ERROR).map(ErrorCode),
        timeout_ms: first.filter(|_| op == OpCode::CREATE_SESSION),
        removes: first.filter(|_| op == OpCode::DELETE_CONTAINER).and_then(|len| {
            let path = payload.get(36..36 + usize::try_from(len).ok()?)?;
            Some(path_mark(path))
        }),
        members: first
            .filter(|_| op == OpCode::RECONFIG)
            .and_then(|path| roster(payload, usize::try_from(path).ok()?)),
        checksum: own_checksum,
    };
    Some((record, RECORD_HEADER + len + 1))
}

/// Who the members are to be, if a transaction changes them: its payload, as it is proposed.
pub fn proposed_members(payload: &[u8]) -> Option<Roster> {
    let op = OpCode(int(payload, 28)?);
    let path = int(payload, 32).filter(|_| op == OpCode::RECONFIG)?;
    roster(payload, usize::try_from(path).ok()?)
}

/// Who the members are, in the payload of a transaction that sets the data of a znode whose path is so long.
fn roster(payload: &[u8], path: usize) -> Option<Roster> {
    let len = usize::try_from(int(payload, 36 + path)?).ok()?;
    let text = payload.get(40 + path..40 + path + len)?;
    Roster::parse(std::str::from_utf8(text).ok()?).map(|(roster, _)| roster)
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Bytes that a checksum takes side by side.
const LANES: usize = 8;

/// The checksum of what comes before (nothing: [`ADLER_BEGIN`]) and these bytes.
fn adler32(before: u32, bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (before & 0xffff, before >> 16);
    // So many bytes of 255 leave both sums below 2^32.
    for chunk in bytes.chunks(5_552) {
        // Every eighth byte has sums of its own, which the compiler takes side by side. None can overflow; it has to be told.
        let (groups, rest) = chunk.as_chunks::<LANES>();
        let (mut sums, mut sums_of_sums) = ([0_u32; LANES], [0_u32; LANES]);
        for group in groups {
            for lane in 0..LANES {
                sums[lane] = sums[lane].wrapping_add(group[lane].into());
                sums_of_sums[lane] = sums_of_sums[lane].wrapping_add(sums[lane]);
            }
        }
        b += a * (groups.len() * LANES) as u32;
        for lane in 0..LANES {
            // As if each group stood where its first byte does: the others count once less for each byte before them.
            b += sums_of_sums[lane] * LANES as u32 - sums[lane] * lane as u32;
            a += sums[lane];
        }
        for &byte in rest {
            a += u32::from(byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}

#[cfg(test)]
pub(crate) mod testing {
    //! Log files made by hand.

    use super::*;

    /// A failed transaction, as it stands in the log.
    pub fn record(zxid: i64) -> Vec<u8> {
        ending_with(zxid, &[])
    }

    /// Likewise with the batch that it was written in, named by its first.
    pub fn record_of(batch: i64, zxid: i64) -> Vec<u8> {
        ending_with(zxid, &batch.to_be_bytes())
    }

    fn ending_with(zxid: i64, end: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend(7_i64.to_be_bytes());
        payload.extend(3_i32.to_be_bytes());
        payload.extend(zxid.to_be_bytes());
        payload.extend(1000_i64.to_be_bytes());
        payload.extend((-1_i32).to_be_bytes());
        payload.extend((-101_i32).to_be_bytes());
        payload.extend(end);
        let mut bytes = i64::from(adler32(ADLER_BEGIN, &payload)).to_be_bytes().to_vec();
        bytes.extend((payload.len() as i32).to_be_bytes());
        bytes.extend(payload);
        bytes.push(b'B');
        bytes
    }

    /// A log file with so many transactions, from the first on.
    pub fn log_file(first: i64, count: i64) -> Vec<u8> {
        let records = (first..first + count).flat_map(record);
        [0; FILE_HEADER].into_iter().chain(records).collect()
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::store::DiskOp;
    use zabra_core::types::Ticket;

    use super::testing::{record, record_of};
    use super::*;

    #[test]
    fn adler_of_the_check_string() {
        let text = b"Wikipedia";
        for cut in 0..=text.len() {
            let (before, behind) = text.split_at(cut);
            assert_eq!(adler32(adler32(ADLER_BEGIN, before), behind), 0x11e6_0398);
        }
    }

    #[test]
    fn adler_in_lanes_is_adler_by_bytes() {
        for len in [0, 1, LANES - 1, LANES, LANES + 1, 5_552, 20_000] {
            for bytes in [vec![0xff; len], (0..len).map(|at| (at * 7) as u8).collect()] {
                let one_by_one = bytes.iter().fold(ADLER_BEGIN, |sum, &byte| adler32(sum, &[byte]));
                assert_eq!(adler32(ADLER_BEGIN, &bytes), one_by_one, "{len} bytes");
            }
        }
    }

    /// A purge that was asked for before a leader's snapshot took the place of everything ends while the first file behind it
    /// is being created.
    #[test]
    fn a_late_purge_takes_nothing_of_a_log_that_begins() {
        let file = |name: &str| FileName { dir: Dir::Log, name: name.into() };
        let disk = Disk::default();
        let mut tap = LogTap::new(&disk);
        tap.on_create(&file("log.9"));
        tap.on_append(&Bytes::from([&[0; FILE_HEADER][..], &record(9)].concat()));
        assert!(!tap.on_removed(&[file("log.5")], &disk), "the log goes on behind it");
        assert_eq!(tap.last(), Zxid(9));
        // A log that is cut goes file by file, the last one first.
        for name in ["log.9", "log.5"] {
            assert!(tap.on_removed(&[file(name)], &disk), "{name} was the last");
            assert_eq!(tap.last(), Zxid(0));
        }
    }

    #[test]
    fn of_a_record_the_next_batch_says_that_it_was_durable() {
        let records = [record_of(5, 5), record_of(5, 6), record(7), record_of(8, 8), record_of(8, 9)];
        let len = |records: &[Vec<u8>]| FILE_HEADER + records.iter().map(Vec::len).sum::<usize>();
        let file = [&[0; FILE_HEADER][..], &records.concat(), &[0; 50]].concat();
        let place = |at: usize| len(&records[..at])..len(&records[..=at]);
        assert_eq!(proven(&file, Zxid(0)), [place(0), place(1), place(2)]);
        assert_eq!(proven(&file, Zxid(6)), [place(2)]);
        assert!(
            proven(&file[..len(&records[..2])], Zxid(0)).is_empty(),
            "one batch, which power may have torn"
        );
        assert!(proven(&[], Zxid(0)).is_empty());
    }

    #[test]
    fn a_record_counts_as_durable_once_it_is_on_the_medium() {
        let mut disk = Disk::default();
        let mut tap = LogTap::new(&disk);
        let file = FileName { dir: Dir::Log, name: "log.1".into() };
        disk.run(&DiskOp::LogCreate { ticket: Ticket(1), file: file.clone() }).unwrap();
        tap.on_create(&file);
        let all = [&[0; FILE_HEADER][..], &record(1), &record(2)].concat();
        let (first, second) = all.split_at(60);
        let mut found = Vec::new();
        for (part, sync) in [(first, false), (second, true)] {
            found.extend(tap.on_append(&Bytes::copy_from_slice(part)).iter().map(|record| record.zxid.0));
            let bytes = Bytes::copy_from_slice(part);
            let op = DiskOp::LogAppend { ticket: Ticket(2), bytes, grow_to: Some(4096), sync };
            disk.run(&op).unwrap();
            tap.on_done(&disk);
            assert_eq!(tap.durable(), Zxid(if sync { 2 } else { 0 }));
        }
        assert_eq!(found, [1, 2]);
        assert_eq!(LogTap::new(&disk).durable(), Zxid(2));
        assert_eq!(tap.last(), Zxid(2));
        let read: Vec<Logged> = records(&disk.files().next().unwrap().1.to_vec()).collect();
        assert_eq!((read.len(), read[0].error), (2, Some(ErrorCode::NONODE)));
    }
}
