//! What recovery makes of batches of which only some sectors reached the disk. Method: a log of three batches, shifted
//! through every alignment to the sectors; every subset of the sectors of one batch is lost. If it is the last one,
//! a power failure may have done it, and the log is cut at the first record that is not whole. If another was
//! written after it, the same holes are corruption.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::test_disk::{History, TestDisk, header};
use super::{DamageKind, Notice, Recovered, RecoveryError};
use crate::config::Config;
use crate::store::inventory::log_name;
use crate::types::{OpCode, SessionId, Txn, Zxid};
use crate::wire::record;

const SECTOR: usize = 512;
/// Sizes of data in the records of each batch: some fit a sector, most lie across several.
const BATCHES: [&[usize]; 3] = [&[90, 400], &[610, 700, 30, 560], &[990, 20, 350, 610, 480]];
/// What the file is preallocated to.
const SIZE: usize = 16 * SECTOR;

fn config() -> Config {
    Config { jute_max_buffer: 1024, jute_max_buffer_extra: 1024, ..Config::default() }
}

#[derive(Debug)]
struct Record {
    zxid: Zxid,
    /// In the file.
    at: Range<usize>,
    file: usize,
    batch: usize,
    digest: u64,
}

/// A log and what is in it.
#[derive(Debug)]
struct Log {
    /// With the first snapshot only.
    disk: TestDisk,
    files: Vec<(Zxid, Vec<u8>)>,
    records: Vec<Record>,
    last: Zxid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roll {
    Never,
    /// Every batch begins a new file.
    Always,
    /// And a new epoch.
    Epochs,
}

impl Log {
    /// Writes the log, beginning with a record with `shift` bytes of data.
    fn new(shift: usize, marked: bool, roll: Roll) -> Self {
        Self::with_sessions_closed(shift, marked, roll, 0)
    }

    /// Likewise, with the ends of sessions behind it of which the log says no more: each is in a batch of its own, and so
    /// is what follows the last.
    fn with_sessions_closed(shift: usize, marked: bool, roll: Roll, sessions: i64) -> Self {
        let mut history = History::new(&config());
        history.marked = marked;
        let (file, bytes) = history.snapshot();
        let disk = TestDisk::default().put(file, bytes);
        let mut log = Self { disk, files: vec![], records: vec![], last: Zxid::ZERO };
        for (batch, sizes) in BATCHES.iter().enumerate() {
            if roll == Roll::Epochs && batch > 0 {
                history.next = Zxid::new(batch as u32, 1);
            }
            history.batch = Some(history.next);
            if batch == 0 || roll != Roll::Never {
                log.files.push((history.next, header()));
            }
            let shift = (batch == 0 || roll != Roll::Never).then_some(shift);
            for size in shift.into_iter().chain(sizes.iter().copied()) {
                let data = (0..size).map(|at| at as u8 | 1).collect();
                let txn = Txn::SetData { path: "/".into(), data: Some(data), version: 1 };
                log.append(&mut history, batch, (OpCode::SET_DATA, SessionId::NONE, txn));
            }
        }
        for (batch, session) in (BATCHES.len()..).zip(0..sessions) {
            history.batch = Some(history.next);
            let close = (OpCode::CLOSE_SESSION, SessionId(session), Txn::CloseSession { paths: None });
            let data = Some(vec![1; 700].into());
            let behind = Txn::SetData { path: "/".into(), data, version: 1 };
            let behind = (session + 1 == sessions).then_some((OpCode::SET_DATA, SessionId::NONE, behind));
            for what in [Some(close), behind.clone(), behind].into_iter().flatten() {
                log.append(&mut history, batch, what);
            }
        }
        log.files.iter_mut().for_each(|(_, bytes)| bytes.resize(SIZE, 0));
        log
    }

    /// Puts a record behind the others of the last file.
    fn append(&mut self, history: &mut History, batch: usize, (op, session, txn): (OpCode, SessionId, Txn)) {
        let zxid = history.next;
        let bytes = history.append(op, session, txn);
        let file = self.files.len() - 1;
        let content = &mut self.files[file].1;
        let at = content.len()..content.len() + bytes.len();
        content.extend(bytes);
        self.records.push(Record { zxid, at, file, batch, digest: history.tree.digest() });
        self.last = zxid;
    }

    /// Which bytes of which file were written with the batch.
    fn extent(&self, batch: usize) -> (usize, Range<usize>) {
        let mut records = self.records.iter().filter(|record| record.batch == batch);
        let first = records.next().expect("a batch has records");
        let end = records.next_back().map_or(first.at.end, |last| last.at.end);
        let begins = if first.at.start == header().len() { 0 } else { first.at.start };
        (first.file, begins..end)
    }

    /// The files without some sectors of the batch, for every choice of at least one.
    fn without_sectors(&self, batch: usize) -> impl Iterator<Item = Vec<(Zxid, Vec<u8>)>> + '_ {
        let (file, extent) = self.extent(batch);
        let sectors = extent.start / SECTOR..extent.end.div_ceil(SECTOR);
        assert!((3..=8).contains(&sectors.len()), "worth a test, and not too much: {sectors:?}");
        let choices = (1..1_u32 << sectors.len()).map(move |lost| {
            let mut files = self.files.clone();
            for (bit, sector) in sectors.clone().enumerate() {
                let from = (sector * SECTOR).max(extent.start);
                let to = (sector * SECTOR + SECTOR).min(extent.end);
                if lost >> bit & 1 == 1 {
                    files[file].1[from..to].fill(0);
                }
            }
            files
        });
        // A record begins with zeros: losing nothing else of the batch's is losing nothing.
        choices.filter(|files| *files != self.files)
    }

    fn is_whole(&self, record: &Record, files: &[(Zxid, Vec<u8>)]) -> bool {
        let written = &self.files[record.file].1[record.at.clone()];
        files.get(record.file).is_some_and(|(_, bytes)| bytes.get(record.at.clone()) == Some(written))
    }

    /// The records before the first that is not whole, and how many whole ones there are behind it.
    fn whole(&self, files: &[(Zxid, Vec<u8>)]) -> (&[Record], u64) {
        let whole = self.records.iter().take_while(|record| self.is_whole(record, files)).count();
        let (kept, rest) = self.records.split_at(whole);
        (kept, rest.iter().filter(|record| self.is_whole(record, files)).count() as u64)
    }

    fn disk(&self, files: &[(Zxid, Vec<u8>)]) -> TestDisk {
        let logs = files.iter().map(|(zxid, bytes)| (log_name(*zxid), bytes.clone()));
        logs.fold(self.disk.clone(), |disk, (name, bytes)| disk.put(name, bytes))
    }

    /// Recovers, expecting everything before the first hole and nothing behind it.
    fn check_cut(&self, files: &[(Zxid, Vec<u8>)]) -> Recovered {
        let (kept, behind) = self.whole(files);
        let (last_zxid, digest) = kept.last().map_or((Zxid::ZERO, 0), |last| (last.zxid, last.digest));
        let mut disk = self.disk(files);
        let recovered = disk.recover(&config()).unwrap_or_else(|error| panic!("{kept:?} {behind}: {error}"));
        assert_eq!(recovered.last_zxid, last_zxid);
        assert!(kept.is_empty() || recovered.tree.digest() == digest);
        let said = recovered.report.iter().find_map(|notice| match notice {
            Notice::BatchCut { records, last_zxid: after, .. } => Some((*records, *after)),
            _ => None,
        });
        assert_eq!(said, (behind > 0).then_some((behind, last_zxid)), "{:?}", recovered.report);
        let repaired = disk.files.clone();
        let again = disk.recover(&config()).expect("it was repaired");
        assert_eq!(disk.files, repaired, "nothing is left to repair");
        assert_eq!((again.last_zxid, again.inventory), (last_zxid, recovered.inventory.clone()));
        assert_eq!(again.tree.digest(), recovered.tree.digest());
        recovered
    }

    fn check_refused(&self, files: &[(Zxid, Vec<u8>)]) {
        let mut disk = self.disk(files);
        let before = disk.files.clone();
        let error = disk.recover(&config()).expect_err("acknowledged records are damaged");
        let (RecoveryError::Corrupt { last_zxid, .. } | RecoveryError::Gap { last_zxid, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(disk.files, before, "nothing is changed");
        let (kept, behind) = self.whole(files);
        assert_eq!(last_zxid, kept.last().map_or(Zxid::ZERO, |last| last.zxid));
        let accepted = disk.recover(&Config { accept_data_loss: true, ..config() }).expect("it is accepted");
        assert_eq!(accepted.last_zxid, last_zxid);
        let said =
            |notice: &Notice| matches!(notice, Notice::DataDropped { records, .. } if *records == behind);
        assert!(accepted.report.iter().any(said), "{behind}: {:?}", accepted.report);
    }
}

#[test]
fn a_torn_batch_is_cut_whichever_sectors_are_lost() {
    let mut with_records_behind = 0;
    for roll in [Roll::Never, Roll::Always, Roll::Epochs] {
        for shift in (0..SECTOR).step_by(if roll == Roll::Never { 1 } else { 5 }) {
            let log = Log::new(shift, true, roll);
            for files in log.without_sectors(2) {
                let recovered = log.check_cut(&files);
                let acknowledged = log.records.iter().rfind(|record| record.batch == 1).expect("a batch");
                assert!(recovered.last_zxid >= acknowledged.zxid);
                with_records_behind += u64::from(log.whole(&files).1 > 0);
            }
        }
    }
    assert!(with_records_behind > 10_000, "{with_records_behind}");
}

/// Records that say nothing of their batch begin one: a hole in the last append has none behind it.
#[test]
fn a_torn_batch_that_begins_with_the_end_of_a_session_is_cut() {
    for shift in (0..SECTOR).step_by(7) {
        for sessions in 1..3 {
            let log = Log::with_sessions_closed(shift, true, Roll::Never, sessions);
            let last = BATCHES.len() + sessions as usize - 1;
            for files in log.without_sectors(last) {
                let recovered = log.check_cut(&files);
                let acknowledged = log.records.iter().rfind(|record| record.batch < last).expect("a batch");
                assert!(recovered.last_zxid >= acknowledged.zxid);
            }
        }
    }
}

/// The size of a file may be lost as well: it ends anywhere behind what was acknowledged.
#[test]
fn a_torn_batch_in_a_file_that_came_out_short_is_cut() {
    for roll in [Roll::Never, Roll::Always] {
        for shift in (0..SECTOR).step_by(37) {
            let log = Log::new(shift, true, roll);
            let (file, extent) = log.extent(2);
            let ends = (extent.start / SECTOR + 1..=extent.end / SECTOR).map(|sector| sector * SECTOR);
            for end in [extent.start, extent.start + 1, extent.end - 1, extent.end].into_iter().chain(ends) {
                for mut files in log.without_sectors(2) {
                    files[file].1.truncate(end);
                    log.check_cut(&files);
                }
            }
        }
    }
}

#[test]
fn the_same_holes_in_an_acknowledged_batch_are_refused() {
    for roll in [Roll::Never, Roll::Always, Roll::Epochs] {
        for shift in (0..SECTOR).step_by(7) {
            let log = Log::new(shift, true, roll);
            for files in log.without_sectors(1) {
                // An epoch whose end is missing is followed by the next one in any case; see decide.rs.
                let (last, _) = log.extent(1);
                let ends_whole = log.records.iter().rfind(|record| record.batch == 1).is_some_and(|record| {
                    assert_eq!(record.file, last);
                    log.is_whole(record, &files)
                });
                if roll != Roll::Epochs || ends_whole {
                    log.check_refused(&files);
                }
            }
        }
    }
}

/// One whole record of the next batch is enough of a witness, wherever it is, and so is an empty file that was created
/// after the batch.
#[test]
fn whatever_was_written_after_a_batch_bears_witness_that_it_was_durable() {
    for shift in (0..SECTOR).step_by(29) {
        let log = Log::new(shift, true, Roll::Never);
        let witnesses: Vec<_> = log.records.iter().filter(|record| record.batch == 2).collect();
        for files in log.without_sectors(1) {
            for witness in &witnesses {
                let mut files = files.clone();
                let (_, extent) = log.extent(2);
                files[0].1[extent.start..witness.at.start].fill(0);
                files[0].1[witness.at.end..extent.end].fill(0);
                log.check_refused(&files);
            }
        }
        for mut files in log.without_sectors(2) {
            if log.whole(&files).1 == 0 {
                continue;
            }
            for later in [vec![], vec![0; 600], header()] {
                files.truncate(1);
                files.push((log.last.next(), later));
                log.check_refused(&files);
            }
        }
    }
}

/// Damage that no power failure leaves is refused even in the last batch, as soon as anything follows it.
#[test]
fn damage_without_a_hole_is_refused_in_the_last_batch_too() {
    let log = Log::new(0, true, Roll::Never);
    let (_, extent) = log.extent(2);
    let last = log.records.last().expect("there are records").at.start;
    for at in extent.start..last {
        let mut files = log.files.clone();
        files[0].1[at] ^= 0xff;
        log.check_refused(&files);
    }
}

/// After a hole that is one, damage that is none speaks against a power failure again, followed by something or not.
#[test]
fn damage_without_a_hole_behind_a_hole_is_refused() {
    let log = Log::new(0, true, Roll::Never);
    let [.., hole, _, rotten, _, last] = &log.records[..] else { panic!("there are more") };
    let sector = hole.at.start.next_multiple_of(SECTOR);
    assert!(sector + SECTOR <= hole.at.end && hole.batch == 2, "room for a hole");
    let mut files = log.files.clone();
    files[0].1[sector..sector + SECTOR].fill(0);
    log.check_cut(&files);
    for rotten in [rotten, last] {
        let mut files = files.clone();
        files[0].1[rotten.at.start + 100] ^= 0xff;
        log.check_refused(&files);
    }
}

/// A record with a right checksum is as it was written, whatever zeros are in it.
#[test]
fn what_cannot_be_decoded_is_no_hole() {
    let log = Log::new(0, true, Roll::Never);
    let record = log.records.iter().rfind(|record| record.at.len() > 1040).expect("a long one");
    assert!(record.batch == 2 && record.zxid < log.last);
    let mut files = log.files.clone();
    let mut undecodable = Vec::new();
    record::append(&mut undecodable, |out| out.resize(out.len() + record.at.len() - record::OVERHEAD, 0));
    files[0].1[record.at.clone()].copy_from_slice(&undecodable);
    let error = log.disk(&files).recover(&config()).expect_err("it was written like this");
    let RecoveryError::Corrupt { damage, .. } = error else { panic!("{error}") };
    assert!(matches!(damage.kind, DamageKind::Undecodable(_)));
}

/// ZooKeeper's records have no mark: nothing says where its last batch began.
#[test]
fn without_marks_a_hole_with_records_behind_it_is_refused() {
    for shift in (0..SECTOR).step_by(29) {
        let log = Log::new(shift, false, Roll::Never);
        for files in log.without_sectors(2) {
            if log.whole(&files).1 > 0 {
                log.check_refused(&files);
            } else {
                log.check_cut(&files);
            }
        }
        for files in log.without_sectors(1) {
            log.check_refused(&files);
        }
    }
}
