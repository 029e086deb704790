//! Replays the log behind a snapshot: file after file, record after record, each judged by [`decide`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::database::Database;
use super::decide::{Between, Next, Verdict, decide, is_in_damaged_batch};
use super::report::{Notice, RecoveryError};
use super::scan::{Damage, DamageBefore, LogRecord, LogScan, Step};
use crate::config::Config;
use crate::store::{DiskDone, DiskOp, FileName, LogFile, Tickets};

use crate::types::Zxid;
use crate::wire::record::FileHeader;

/// What is to be changed on the disk before the server may go on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repairs {
    /// In this order.
    pub(super) remove: Vec<FileName>,
    /// Then this, at the end of a record.
    pub(super) truncate: Option<(FileName, u64)>,
    /// Without any of these repairs, and without any snapshot behind the target, the log could be replayed to its end.
    pub(super) goes_on: bool,
    /// How far it leads without a gap, what is behind the target included.
    pub(super) reaches: Zxid,
}

/// What is not to be replayed.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Everything behind this transaction goes.
    pub(super) target: Option<Zxid>,
    /// Where something is damaged, what is before it is all there is, for the rest comes from the other members.
    pub(super) stop_at_damage: bool,
    /// Whether it matters if the log behind the target has gaps.
    pub(super) judge_rest: bool,
    /// What the snapshots held that could not be used. Where the log leaps over one of them into a later epoch, that
    /// snapshot may have come from a leader, and the log before it need not be what the log behind it builds on.
    pub(super) passed_over: Vec<Zxid>,
}

/// Where the log goes on behind the target.
#[derive(Debug)]
struct Unwanted {
    file: FileName,
    offset: u64,
    /// The last record that follows the one before.
    last: Zxid,
    /// There has been no gap up to here.
    goes_on: bool,
}

/// What was found where a record should be, and what has not been decided yet.
#[derive(Debug)]
struct Pending {
    file: FileName,
    damage: Damage,
    /// The worst since then.
    between: Between,
    /// The file's first transaction, if the damage begins where its record should.
    begins: Option<Zxid>,
    /// Whole records behind it that were left out, since it may be a torn batch. Cut off or refused in the end.
    left_out: u64,
}

/// Where everything is dropped from.
#[derive(Debug)]
struct Dropping {
    file: FileName,
    offset: u64,
    records: u64,
}

/// A file that was read to its end.
#[derive(Debug)]
struct Scanned {
    log: LogFile,
    records: u64,
    /// Where the last record ends.
    end: u64,
}

impl Scanned {
    const fn new(log: LogFile) -> Self {
        Self { log, records: 0, end: 0 }
    }
}

/// Replays log files.
#[derive(Debug)]
pub(super) struct Replay {
    field_max: usize,
    /// Leave out what follows damage, instead of refusing to start.
    drops: bool,
    /// Refuse as soon as there is a record: there is no snapshot that it could build on.
    expect_nothing: bool,
    limits: Limits,
    files: VecDeque<LogFile>,
    scan: Option<LogScan>,
    /// The files that were begun; the last one is being scanned.
    scanned: Vec<Scanned>,
    /// The newest transaction seen, applied or not.
    seen: Zxid,
    pending: Option<Pending>,
    dropping: Option<Dropping>,
    unwanted: Option<Unwanted>,
    /// See [`Limits::stop_at_damage`]: there was some, and no repair is to be carried out.
    pub(super) stopped_at_damage: bool,
    pub(super) txns: u64,
    pub(super) bytes: u64,
    skipped: u64,
}

impl Replay {
    pub(super) fn new(config: &Config, files: &[LogFile], expect_nothing: bool, limits: Limits) -> Self {
        Self {
            field_max: config.stored_field_max(),
            // Who is to forget something exactly does not lose anything else on the way.
            drops: (config.accept_data_loss || limits.stop_at_damage) && limits.target.is_none(),
            expect_nothing,
            limits,
            files: files.iter().cloned().collect(),
            scan: None,
            scanned: Vec::new(),
            seen: Zxid::ZERO,
            pending: None,
            dropping: None,
            unwanted: None,
            stopped_at_damage: false,
            txns: 0,
            bytes: 0,
            skipped: 0,
        }
    }

    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        self.scan.as_mut()?.poll_op(tickets)
    }

    pub(super) fn on_done(&mut self, done: DiskDone) -> Result<(), RecoveryError> {
        let scan = self.scan.as_mut().expect("a read belongs to the file being scanned");
        let result = scan.on_done(done);
        result.map_err(|error| RecoveryError::Disk { file: Some(scan.file().clone()), error })
    }

    /// Goes on as far as what was read allows. Returns the repairs at the end of the log.
    pub(super) fn advance(&mut self, database: &mut Database) -> Result<Option<Repairs>, RecoveryError> {
        loop {
            let Some(scan) = &mut self.scan else {
                let Some(log) = self.files.pop_front() else { return self.finish(database).map(Some) };
                self.scan = Some(LogScan::new(log.file.clone(), log.size, self.field_max));
                self.scanned.push(Scanned::new(log));
                continue;
            };
            match scan.step(self.seen) {
                Step::BadHeader(_) if self.unwanted.is_some() => {
                    self.rest_does_not_go_on();
                    self.scan = None;
                }
                // With the target found, nothing that is wanted is in there.
                Step::BadHeader(_) if self.limits.target == Some(database.last_zxid) => {
                    let (file, offset) = self.place_of_damage(0);
                    let last = database.last_zxid;
                    self.unwanted = Some(Unwanted { file, offset, last, goes_on: false });
                    self.scan = None;
                }
                Step::BadHeader(_) if self.dropping.is_some() => self.scan = None,
                Step::BadHeader(_) if self.limits.stop_at_damage => {
                    let (file, offset) = self.place_of_damage(0);
                    self.dropping = Some(Dropping { file, offset, records: 0 });
                    self.scan = None;
                }
                Step::BadHeader(why) => {
                    return Err(RecoveryError::WrongHeader { file: scan.file().clone(), why });
                }
                Step::Blocked => return Ok(None),
                Step::End(damage) => {
                    self.note(damage.map(|damage| DamageBefore { damage, unwritten: false }));
                    self.scan = None;
                }
                Step::Record(record) => {
                    self.note(record.damage_before);
                    self.on_record(record, database)?;
                    let judge_rest = self.limits.judge_rest;
                    if self.unwanted.as_ref().is_some_and(|unwanted| !(judge_rest && unwanted.goes_on)) {
                        // What else there is goes unseen.
                        self.scan = None;
                        self.scanned.extend(self.files.drain(..).map(Scanned::new));
                    }
                }
            }
        }
    }

    fn current(&mut self) -> &mut Scanned {
        self.scanned.last_mut().expect("a record or damage is in a file that was begun")
    }

    /// Where what is not wanted begins: at the damage that was found, or else at `offset` in the file being scanned.
    fn place_of_damage(&mut self, offset: u64) -> (FileName, u64) {
        match &self.pending {
            Some(pending) => (pending.file.clone(), pending.damage.offset),
            None => (self.current().log.file.clone(), offset),
        }
    }

    /// Remembers damage until the next record shows what it means.
    fn note(&mut self, damage: Option<DamageBefore>) {
        let Some(DamageBefore { damage, unwritten }) = damage else { return };
        let between = damage.kind.between();
        match &mut self.pending {
            // A torn batch may have several holes.
            Some(pending) if pending.left_out > 0 && unwritten => {}
            Some(pending) if between == Between::Corrupt => pending.between = between,
            Some(_) => {}
            None => {
                let LogFile { file, zxid, .. } = self.current().log.clone();
                let begins = (damage.offset <= FileHeader::LEN as u64).then_some(zxid);
                let between = if unwritten { Between::Unwritten } else { between };
                self.pending = Some(Pending { file, damage, between, begins, left_out: 0 });
            }
        }
    }

    /// Whether a record was written together with what is damaged before it, and nothing speaks against that append
    /// having been the last. A later file does: it is created when all of the one before is durable.
    fn is_in_damaged_batch(&self, record: &LogRecord, before: Zxid) -> bool {
        let Some(pending) = &self.pending else { return false };
        let last_file = self.files.is_empty();
        let contradicted = pending.left_out > 0 && pending.between == Between::Corrupt;
        let in_order = record.header.zxid > self.seen;
        last_file && !contradicted && in_order && is_in_damaged_batch(before, pending.begins, record.batch)
    }

    fn on_record(&mut self, record: LogRecord, database: &mut Database) -> Result<(), RecoveryError> {
        let zxid = record.header.zxid;
        let current = self.current();
        current.records += 1;
        current.end = record.offset + record.len;
        let file = current.log.file.clone();
        if let Some(dropping) = &mut self.dropping {
            dropping.records += 1;
            return Ok(());
        }
        if self.expect_nothing && self.limits.stop_at_damage {
            let (file, offset) = self.place_of_damage(record.offset);
            self.dropping = Some(Dropping { file, offset, records: 1 });
            return Ok(());
        }
        if self.expect_nothing {
            return Err(RecoveryError::NoSnapshot { file, zxid });
        }
        if self.unwanted.is_some() || self.limits.target.is_some_and(|target| zxid > target) {
            return self.on_unwanted(&record, database);
        }
        match self.judge(&record, database.last_zxid) {
            Verdict::Apply => {
                self.say_harmless(database);
                self.txns += 1;
                self.bytes += record.len;
                database.apply(record);
            }
            Verdict::Drop => {
                let left_out = self.pending.as_ref().map_or(0, |pending| pending.left_out);
                let (file, offset) = self.place_of_damage(record.offset);
                self.dropping = Some(Dropping { file, offset, records: left_out + 1 });
            }
            Verdict::LeaveOut => {
                let pending = self.pending.as_mut().expect("a batch is torn where there is damage");
                assert_eq!(pending.file, file, "an append goes to one file");
                pending.between = Between::TornBatch;
                pending.left_out += 1;
            }
            Verdict::RefuseCorrupt => return Err(self.corrupt(database, Some((file, record.offset, zxid)))),
            Verdict::RefuseGap => {
                let last_zxid = database.last_zxid;
                return Err(RecoveryError::Gap { file, offset: record.offset, last_zxid, found: zxid });
            }
            Verdict::Skip if zxid > self.seen => {
                // The damage lies between two transactions that the snapshot covers.
                self.say_harmless(database);
            }
            Verdict::Skip => self.skipped += 1,
            Verdict::Cut | Verdict::End => unreachable!("the log goes on"),
        }
        self.seen = self.seen.max(zxid);
        Ok(())
    }

    /// Judges a record that was found behind `before`.
    fn judge(&mut self, record: &LogRecord, before: Zxid) -> Verdict {
        let between = match &self.pending {
            None => Between::Nothing,
            Some(pending) if pending.left_out > 0 => Between::TornBatch,
            Some(pending) => pending.between,
        };
        let zxid = record.header.zxid;
        let file = &self.scanned.last().expect("a record is in a file that was begun").log.file;
        let in_later_file = self.pending.as_ref().is_none_or(|pending| pending.file != *file);
        let in_damaged_batch = self.is_in_damaged_batch(record, before);
        let next = Next::Record { zxid, in_later_file, in_damaged_batch };
        let leaps = self.limits.passed_over.iter().any(|passed| before < *passed && *passed < zxid);
        match decide(before, between, next, self.drops) {
            Verdict::Apply if leaps && self.drops => Verdict::Drop,
            Verdict::Apply if leaps => Verdict::RefuseGap,
            verdict => verdict,
        }
    }

    /// Takes note of a record behind the target, or behind another such record.
    fn on_unwanted(&mut self, record: &LogRecord, database: &Database) -> Result<(), RecoveryError> {
        let zxid = record.header.zxid;
        let before = self.unwanted.as_ref().map_or(database.last_zxid, |unwanted| unwanted.last);
        let verdict = self.judge(record, before);
        self.seen = self.seen.max(zxid);
        let (goes_on, refused) = match verdict {
            Verdict::Apply | Verdict::Skip => (true, false),
            // As far as anybody was told, the log ends before it.
            Verdict::LeaveOut => (false, false),
            Verdict::RefuseCorrupt | Verdict::RefuseGap => (false, true),
            Verdict::Cut | Verdict::Drop | Verdict::End => {
                unreachable!("nothing is dropped, and the log goes on")
            }
        };
        match &mut self.unwanted {
            Some(unwanted) => {
                unwanted.goes_on &= goes_on;
                unwanted.last = unwanted.last.max(zxid);
                self.pending = None;
            }
            None => {
                let target = self.limits.target.expect("without one, everything is wanted");
                // With the target itself found, nothing is missing that is wanted.
                if refused && database.last_zxid < target {
                    if verdict == Verdict::RefuseCorrupt {
                        let file = self.current().log.file.clone();
                        return Err(self.corrupt(database, Some((file, record.offset, zxid))));
                    }
                    let found = Some(database.last_zxid);
                    return Err(RecoveryError::CannotRewind { target, found });
                }
                let (file, offset) = self.place_of_damage(record.offset);
                self.pending = None;
                self.unwanted = Some(Unwanted { file, offset, last: zxid, goes_on });
            }
        }
        Ok(())
    }

    fn rest_does_not_go_on(&mut self) {
        if let Some(unwanted) = &mut self.unwanted {
            unwanted.goes_on = false;
        }
    }

    fn say_harmless(&mut self, database: &mut Database) {
        if let Some(Pending { file, damage, .. }) = self.pending.take() {
            database.report.push(Notice::Harmless { file, damage });
        }
    }

    fn corrupt(&mut self, database: &Database, next: Option<(FileName, u64, Zxid)>) -> RecoveryError {
        let Pending { file, damage, .. } = self.pending.take().expect("corruption is damage");
        RecoveryError::Corrupt { file, damage, last_zxid: database.last_zxid, next }
    }

    /// Decides about what is left at the end of the log.
    fn finish(&mut self, database: &mut Database) -> Result<Repairs, RecoveryError> {
        let last_zxid = database.last_zxid;
        let between = self.pending.as_ref().map_or(Between::Nothing, |pending| pending.between);
        // Whatever it was, it was behind the target.
        let all_found = self.limits.target == Some(last_zxid);
        let verdict = match decide(last_zxid, between, Next::Nothing, self.drops) {
            Verdict::RefuseCorrupt if all_found => Verdict::Cut,
            verdict => verdict,
        };
        let goes_on = between != Between::Corrupt;
        let mut repairs = Repairs { goes_on, reaches: last_zxid, ..Repairs::default() };
        let report = &mut database.report;
        if let Some(Unwanted { file, offset, last, goes_on }) = self.unwanted.take() {
            repairs.goes_on &= goes_on;
            if repairs.goes_on {
                repairs.reaches = last;
            }
            self.cut(&file, offset, true, &mut repairs);
        } else if let Some(Dropping { file, offset, records }) = self.dropping.take() {
            self.stopped_at_damage = self.limits.stop_at_damage;
            report.push(self.dropped(file.clone(), offset, records, last_zxid));
            self.cut(&file, offset, true, &mut repairs);
        } else {
            match verdict {
                Verdict::Cut => {
                    let Pending { file, damage, left_out, .. } =
                        self.pending.take().expect("what is cut is damage");
                    if left_out > 0 {
                        let (file, records) = (file.clone(), left_out);
                        report.push(Notice::BatchCut { file, damage, records, last_zxid });
                    } else if damage.offset > FileHeader::LEN as u64 {
                        report.push(Notice::LogTailCut { file: file.clone(), damage, last_zxid });
                    }
                    self.cut(&file, damage.offset, false, &mut repairs);
                }
                Verdict::Drop => {
                    let Pending { file, damage, left_out: records, .. } =
                        self.pending.take().expect("what is dropped is damage");
                    let offset = damage.offset;
                    self.stopped_at_damage = self.limits.stop_at_damage;
                    report.push(self.dropped(file.clone(), offset, records, last_zxid));
                    self.cut(&file, offset, true, &mut repairs);
                }
                Verdict::End => {}
                Verdict::RefuseCorrupt => return Err(self.corrupt(database, None)),
                Verdict::Apply | Verdict::LeaveOut | Verdict::RefuseGap | Verdict::Skip => {
                    unreachable!("there is no next record")
                }
            }
        }
        if self.stopped_at_damage {
            repairs = Repairs::default();
        } else {
            self.remove_empty(last_zxid, &mut repairs);
            if repairs.truncate.is_none() {
                self.cut_padding(&mut repairs);
            }
        }
        for file in &repairs.remove {
            database.report.push(Notice::LogRemoved { file: file.clone() });
        }
        let (txns, skipped) = (self.txns, self.skipped);
        database.report.push(Notice::Replayed { txns, skipped, last_zxid });
        Ok(repairs)
    }

    /// What is said of records that are left out.
    const fn dropped(&self, file: FileName, offset: u64, records: u64, last_zxid: Zxid) -> Notice {
        match self.limits.stop_at_damage {
            true => Notice::DamageFound { file, offset, records, last_zxid },
            false => Notice::DataDropped { file, offset, records, last_zxid },
        }
    }

    /// Cuts a file, which goes altogether if no record stays in it; with it all later ones, if asked to, youngest
    /// first: whatever a crash leaves of this is damage at the same place.
    fn cut(&self, file: &FileName, offset: u64, and_later: bool, repairs: &mut Repairs) {
        for scanned in self.scanned.iter().rev() {
            if scanned.log.file == *file {
                break;
            }
            if and_later {
                repairs.remove.push(scanned.log.file.clone());
            }
        }
        if offset > FileHeader::LEN as u64 {
            repairs.truncate = Some((file.clone(), offset));
        } else {
            repairs.remove.push(file.clone());
        }
    }

    /// Cuts the zeros behind the last record: the file was preallocated. Nothing is appended to it again, and every start
    /// that replays it would read them to the end, for more records behind them would be damage.
    fn cut_padding(&self, repairs: &mut Repairs) {
        let stays = |scanned: &&Scanned| scanned.records > 0 && !repairs.remove.contains(&scanned.log.file);
        let last = self.scanned.iter().rfind(stays);
        repairs.truncate =
            last.filter(|last| last.end < last.log.size).map(|last| (last.log.file.clone(), last.end));
    }

    /// Removes files that never got a record and stand where the next file will be.
    fn remove_empty(&self, last_zxid: Zxid, repairs: &mut Repairs) {
        for Scanned { log, records, .. } in self.scanned.iter().rev() {
            if *records == 0 && log.zxid > last_zxid && !repairs.remove.contains(&log.file) {
                repairs.remove.push(log.file.clone());
            }
        }
    }
}
