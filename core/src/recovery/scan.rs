//! Finds the records of one log file, and goes on behind damage.
//!
//! Where no record stands, the file may end there, or a record may have been torn or damaged. What it is depends on
//! whether anything valid follows, so the scan looks for the next place where a record with a right checksum and a
//! later zxid stands, byte by byte, to the end of the file. Memory is bounded by the longest record there may be
//! plus what is read ahead.
//!
//! On the way it notices whether some sector of what is passed was never written. A disk writes a sector or does not,
//! and may write the later ones of one append first; one that it did not get to holds what it held before: zeros,
//! from where the append begins.

use alloc::vec::Vec;

use super::decide::Between;
use super::reader::FileReader;
use crate::store::{DiskDone, DiskError, DiskOp, FileName, Tickets};
use crate::types::{Txn, TxnDigest, TxnHeader, Zxid};
use crate::wire::record::{self, FileHeader, Scan};
use crate::wire::txn::Logged;
use crate::wire::{DecodeError, Reader, txn};

/// A disk writes at least this much at once, or nothing: a part of this size that was never written reads as zeros.
const SECTOR: u64 = 512;

/// Where no record was found, and what stands there instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
}

/// What stands where a record should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A finished record whose checksum is wrong.
    BadChecksum,
    /// A length that no record can have, or that is above `jute.maxbuffer`.
    BadLength,
    /// The file ends within a record.
    Incomplete,
    /// The file ends within its own header, or the header was never written.
    NoHeader,
    /// A finished record with a wrong checksum, and a part of it that was never written.
    PartlyWritten,
    /// A record with a right checksum that is no transaction.
    Undecodable(DecodeError),
    /// The byte that ends a record is not there.
    Unmarked,
    /// Zeros, and something after them.
    Zeros,
}

impl LogRecord {
    fn new(logged: Logged, offset: u64, len: usize, damage_before: Option<DamageBefore>) -> Self {
        let Logged { header, txn, digest, batch } = logged;
        Self { offset, len: len as u64, header, txn, digest, batch, damage_before }
    }
}

impl DamageKind {
    pub(super) const fn between(self) -> Between {
        match self {
            Self::BadChecksum | Self::BadLength | Self::Undecodable(_) => Between::Corrupt,
            Self::Incomplete | Self::NoHeader | Self::PartlyWritten | Self::Unmarked | Self::Zeros => {
                Between::Torn
            }
        }
    }
}

/// Why a file is no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// It belongs to another database.
    Dbid(i64),
    /// It does not begin as a log does.
    Magic,
    /// It has a version that is not known.
    Version,
}

/// A record that was found.
#[derive(Debug)]
pub(super) struct LogRecord {
    pub(super) offset: u64,
    /// The bytes of the record.
    pub(super) len: u64,
    pub(super) header: TxnHeader,
    pub(super) txn: Txn,
    pub(super) digest: Option<TxnDigest>,
    /// The first transaction of those that were written together with this one.
    pub(super) batch: Option<Zxid>,
    /// What stands in front of it instead of a record.
    pub(super) damage_before: Option<DamageBefore>,
}

/// Damage with a record behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DamageBefore {
    pub(super) damage: Damage,
    /// Between the two there is a sector that looks as if it had never been written. A znode's data may look like
    /// that as well.
    pub(super) unwritten: bool,
}

/// What the scan came to.
#[derive(Debug)]
pub(super) enum Step {
    /// This is no log.
    BadHeader(BadHeader),
    /// More has to be read first.
    Blocked,
    /// The file ends here, with this behind its last record.
    End(Option<Damage>),
    /// A record.
    Record(LogRecord),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Records,
    /// Looking for a record behind damage.
    Searching(Search),
    Ended(Option<Damage>),
}

#[derive(Clone, Copy, Debug)]
struct Search {
    damage: Damage,
    /// Anything but zeros was passed.
    any_bytes: bool,
    /// A sector was passed that was never written.
    unwritten: bool,
    /// From here to where the search is there are only zeros.
    zeros_from: u64,
}

impl Search {
    /// Begins behind the damage's first `skip` bytes, which are no place for a record or a hole.
    const fn new(damage: Damage, skip: u64) -> Self {
        Self { damage, any_bytes: skip > 0, unwritten: false, zeros_from: damage.offset + skip }
    }

    /// The zeros, if any, end at `end`.
    fn zeros_end(&mut self, end: u64) {
        let whole_sector = self.zeros_from.next_multiple_of(SECTOR) + SECTOR <= end;
        let first_end = (self.damage.offset / SECTOR + 1) * SECTOR;
        let first_part = self.zeros_from == self.damage.offset && first_end <= end;
        self.unwritten |= whole_sector || first_part && is_visible(first_end - self.damage.offset);
    }

    /// What is known once a record was found behind it.
    fn found(&self) -> DamageBefore {
        // What has a right checksum was written as it is.
        let as_written = matches!(self.damage.kind, DamageKind::Undecodable(_));
        DamageBefore { damage: self.damage, unwritten: self.unwritten && !as_written }
    }
}

/// Scans one log file.
#[derive(Debug)]
pub(super) struct LogScan {
    reader: FileReader,
    /// A part of the file; `window[at..]` is yet to be looked at.
    window: Vec<u8>,
    at: usize,
    /// Where in the file the window begins.
    window_offset: u64,
    state: State,
    field_max: usize,
}

impl LogScan {
    /// Scans a file of this size; strings and buffers have at most `field_max` bytes, and so has a whole record,
    /// as in ZooKeeper.
    pub(super) const fn new(file: FileName, size: u64, field_max: usize) -> Self {
        Self {
            reader: FileReader::new(file, size),
            window: Vec::new(),
            at: 0,
            window_offset: 0,
            state: State::Header,
            field_max,
        }
    }

    pub(super) const fn file(&self) -> &FileName {
        self.reader.file()
    }

    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        self.reader.poll_op(tickets)
    }

    pub(super) fn on_done(&mut self, done: DiskDone) -> Result<(), DiskError> {
        self.reader.on_done(done)
    }

    /// Goes on to the next thing worth telling. A record behind damage counts only if its zxid is above `floor`,
    /// the newest one seen in the log: anything else may be a part of some znode's data.
    pub(super) fn step(&mut self, floor: Zxid) -> Step {
        loop {
            let step = match self.state {
                State::Header => self.step_header(),
                State::Records => self.step_record(),
                State::Searching(search) => self.step_search(search, floor),
                State::Ended(damage) => Some(Step::End(damage)),
            };
            match step {
                // There may be more to work with by now.
                Some(Step::Blocked) if self.fill() => {}
                Some(step) => return step,
                None => {}
            }
        }
    }

    /// Takes bytes into the window, dropping what was looked at. Says whether there were any.
    fn fill(&mut self) -> bool {
        let Some(bytes) = self.reader.next() else { return false };
        self.window.drain(..self.at);
        self.window_offset += self.at as u64;
        self.at = 0;
        self.window.extend_from_slice(&bytes);
        true
    }

    fn offset(&self) -> u64 {
        self.window_offset + self.at as u64
    }

    fn step_header(&mut self) -> Option<Step> {
        let rest = &self.window[self.at..];
        let head = &rest[..rest.len().min(FileHeader::LEN)];
        if head.len() < FileHeader::LEN && !self.reader.is_at_end() {
            return Some(Step::Blocked);
        }
        if head.len() < FileHeader::LEN || is_begun_only(head) {
            let search = Search::new(Damage { offset: 0, kind: DamageKind::NoHeader }, 0);
            self.state = State::Searching(Search { any_bytes: true, ..search });
            return None;
        }
        match FileHeader::decode(&mut Reader::new(head), &FileHeader::LOG) {
            Ok(header) if header.dbid != FileHeader::LOG.dbid => {
                Some(Step::BadHeader(BadHeader::Dbid(header.dbid)))
            }
            Ok(_) => {
                self.at += FileHeader::LEN;
                self.state = State::Records;
                None
            }
            Err(DecodeError::BadVersion) => Some(Step::BadHeader(BadHeader::Version)),
            Err(_) => Some(Step::BadHeader(BadHeader::Magic)),
        }
    }

    fn step_record(&mut self) -> Option<Step> {
        let rest = &self.window[self.at..];
        let offset = self.offset();
        let (kind, skip) = match record::scan(rest, self.field_max) {
            Scan::Record { payload, total_len } => match txn::decode_logged(payload, self.field_max) {
                Ok(logged) => {
                    self.at += total_len;
                    return Some(Step::Record(LogRecord::new(logged, offset, total_len, None)));
                }
                Err(error) => (DamageKind::Undecodable(error), total_len),
            },
            Scan::NeedMore { .. } if !self.reader.is_at_end() => return Some(Step::Blocked),
            Scan::NeedMore { .. } if rest.is_empty() => {
                self.state = State::Ended(None);
                return None;
            }
            Scan::NeedMore { .. } => (DamageKind::Incomplete, 0),
            Scan::BadChecksum { total_len } if has_unwritten_part(&rest[..total_len], offset) => {
                (DamageKind::PartlyWritten, 0)
            }
            Scan::BadChecksum { .. } => (DamageKind::BadChecksum, 0),
            Scan::BadLength => (DamageKind::BadLength, 0),
            Scan::Padding => (DamageKind::Zeros, 0),
            Scan::Unmarked { .. } => (DamageKind::Unmarked, 0),
        };
        self.at += skip;
        self.state = State::Searching(Search::new(Damage { offset, kind }, skip as u64));
        None
    }

    /// Looks for the next record. Every byte that is passed is looked at once, and zeros go by quickly: most of a
    /// log file is padding.
    fn step_search(&mut self, mut search: Search, floor: Zxid) -> Option<Step> {
        let at_end = self.reader.is_at_end();
        loop {
            let rest = &self.window[self.at..];
            if rest.len() < record::OVERHEAD {
                if !at_end {
                    self.state = State::Searching(search);
                    return Some(Step::Blocked);
                }
                let damage = search.damage;
                let any_bytes = search.any_bytes || rest.iter().any(|byte| *byte != 0);
                self.at = self.window.len();
                // Zeros to the end are padding, and so is a last piece of padding too short for a record.
                let padding = !any_bytes && matches!(damage.kind, DamageKind::Zeros | DamageKind::Incomplete);
                self.state = State::Ended((!padding).then_some(damage));
                return None;
            }
            let zeros = zeros_at_start(rest);
            if zeros >= record::PREFIX_LEN {
                // A record has a length, and that is among the last bytes of its prefix.
                self.at += zeros - (record::PREFIX_LEN - 1);
                continue;
            }
            // A checksum has 32 bits and is written with 64.
            if zeros >= 4 {
                match record::scan(rest, self.field_max) {
                    Scan::Record { payload, total_len } => {
                        if let Ok(logged) = txn::decode_logged(payload, self.field_max)
                            && logged.header.zxid > floor
                        {
                            let offset = self.offset();
                            // A record begins with zeros in any case; they may be the end of a sector.
                            search.zeros_end(offset + zeros as u64);
                            self.at += total_len;
                            self.state = State::Records;
                            let before = Some(search.found());
                            return Some(Step::Record(LogRecord::new(logged, offset, total_len, before)));
                        }
                    }
                    Scan::NeedMore { .. } if !at_end => {
                        self.state = State::Searching(search);
                        return Some(Step::Blocked);
                    }
                    Scan::BadChecksum { .. }
                    | Scan::BadLength
                    | Scan::NeedMore { .. }
                    | Scan::Padding
                    | Scan::Unmarked { .. } => {}
                }
            }
            if rest[0] != 0 {
                let offset = self.window_offset + self.at as u64;
                search.zeros_end(offset);
                search.zeros_from = offset + 1;
                search.any_bytes = true;
            }
            self.at += 1;
        }
    }
}

/// Whether a header has zeros from somewhere on, and is right up to there.
fn is_begun_only(head: &[u8]) -> bool {
    let mut expected = Vec::with_capacity(FileHeader::LEN);
    FileHeader::LOG.encode(&mut expected);
    let same = head.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
    same < FileHeader::LEN && head[same..].iter().all(|byte| *byte == 0)
}

fn zeros_at_start(bytes: &[u8]) -> usize {
    const STEP: usize = 64;
    let (blocks, _) = bytes.as_chunks::<STEP>();
    let whole = blocks.iter().take_while(|block| **block == [0; STEP]).count() * STEP;
    whole + bytes[whole..].iter().take_while(|byte| **byte == 0).count()
}

/// Whether zeros of this length where a record begins are worth noticing: it begins with four in any case, the
/// checksum's upper half.
const fn is_visible(first_part_len: u64) -> bool {
    first_part_len > 4
}

/// Whether some sector's part of a record, which begins at `offset`, is all zeros. Writing several sectors, a disk
/// may get to the last one and not to the first.
fn has_unwritten_part(record: &[u8], offset: u64) -> bool {
    let first_len = (SECTOR - offset % SECTOR) as usize;
    if record.len() <= first_len {
        return false;
    }
    let (first, rest) = record.split_at(first_len);
    let first_unwritten = is_visible(first.len() as u64) && first.iter().all(|byte| *byte == 0);
    first_unwritten || rest.chunks(SECTOR as usize).any(|part| part.iter().all(|byte| *byte == 0))
}
