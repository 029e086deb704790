//! What is left when a server forgets the end of its history, and what a crash in the middle of that leaves. Method: a
//! history of several epochs, files and snapshots, whose tree behind every transaction is known; for every target, the
//! power fails after every change to the disk, and within removals for every choice of files that are gone. What then
//! starts is always the history up to some transaction, none up to the target missing; trying again ends as if nothing
//! had happened.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::test_disk::{History, TestDisk, header, stranger};
use super::{Notice, Recovered, Recovery, RecoveryError, SnapshotProblem};
use crate::config::Config;
use crate::store::inventory::{Inventory, log_name, snapshot_name};
use crate::store::{Dir, DirEntry, DiskError, DiskOp, FileName, Tickets};
use crate::types::{Ticket, Zxid};

fn config() -> Config {
    Config { jute_max_buffer: 512, jute_max_buffer_extra: 512, ..Config::default() }
}

/// A server's disk, and the digests of the tree behind every transaction that its history has.
#[derive(Clone)]
struct Local {
    disk: TestDisk,
    digests: BTreeMap<Zxid, u64>,
}

impl Local {
    fn new(history: &mut History) -> Self {
        let (file, bytes) = history.snapshot();
        let disk = TestDisk::default().put(file, bytes);
        Self { disk, digests: BTreeMap::from([(Zxid::ZERO, history.tree.digest())]) }
    }

    fn note(&mut self, history: &History) {
        self.digests.insert(history.tree.last_zxid(), history.tree.digest());
    }

    fn put(&mut self, file: FileName, bytes: Vec<u8>) {
        self.disk.files.insert(file, bytes);
    }

    /// A log file of these transactions.
    fn log(&mut self, history: &mut History, zxids: &[Zxid]) {
        let mut bytes = header();
        for zxid in zxids {
            history.next = *zxid;
            bytes.extend(history.record());
            self.note(history);
        }
        bytes.resize(bytes.len() + 600, 0);
        self.put(log_name(zxids[0]), bytes);
    }

    fn snapshot(&mut self, history: &mut History) {
        let (file, bytes) = history.snapshot();
        self.put(file, bytes);
    }

    /// The last transaction up to the target.
    fn below(&self, target: Zxid) -> Zxid {
        *self.digests.range(..=target).next_back().expect("there is a beginning").0
    }

    fn check(&self, recovered: &Recovered, last_zxid: Zxid) {
        assert_eq!(recovered.last_zxid, last_zxid);
        assert_eq!(recovered.tree.digest(), self.digests[&last_zxid], "another tree at {last_zxid}");
    }

    /// Forgets what is behind `target`, and checks that it stays forgotten.
    fn check_rewound(&self, disk: &mut TestDisk, target: Zxid) {
        let last_zxid = self.below(target);
        let rewound = disk.rewind(&config(), target).unwrap_or_else(|error| panic!("{target}: {error}"));
        self.check(&rewound, last_zxid);
        assert!(rewound.report.contains(&Notice::Rewound { target, last_zxid }));
        let entry =
            |(file, bytes): (&FileName, &Vec<u8>)| DirEntry { file: file.clone(), size: bytes.len() as u64 };
        let mut listed = Inventory::new(disk.files.iter().map(entry).collect());
        assert!(listed.snapshots().iter().all(|snapshot| snapshot.zxid <= target));
        assert!(listed.logs().iter().all(|log| log.zxid <= target));
        for snapshot in rewound.inventory.snapshots() {
            listed.mark_complete(&snapshot.file, snapshot.complete);
        }
        assert_eq!(rewound.inventory, listed);
        let files = content(disk);
        let again = disk.recover(&config()).expect("it is repaired");
        self.check(&again, last_zxid);
        assert_eq!(content(disk), files);
    }

    /// Lets the power fail at every point of forgetting what is behind `target`.
    fn check_crashes(&self, target: Zxid) -> usize {
        let mut crashes = 0;
        for changes in 0.. {
            for removed_partly in 0..8 {
                let mut disk = self.disk.clone();
                disk.changes_left = Some(changes);
                disk.removed_partly = removed_partly;
                let outcome = disk.rewind(&config(), target);
                disk.changes_left = None;
                match outcome {
                    Ok(_) => {
                        self.check_rewound(&mut self.disk.clone(), target);
                        return crashes;
                    }
                    Err(RecoveryError::Disk { .. }) => crashes += 1,
                    Err(other) => panic!("{target}: {other}"),
                }
                let mut untouched = disk.clone();
                let recovered = disk.recover(&config()).unwrap_or_else(|error| {
                    panic!("to {target}, {changes} changes and {removed_partly:b}: {error}")
                });
                assert!(recovered.last_zxid >= self.below(target), "{target}: lost {}", recovered.last_zxid);
                self.check(&recovered, recovered.last_zxid);
                self.check_rewound(&mut disk, target);
                self.check_rewound(&mut untouched, target);
            }
        }
        unreachable!("some number of changes is enough")
    }
}

/// What the files hold but for the padding of logs: those that were not read keep it until they are.
fn content(disk: &TestDisk) -> BTreeMap<FileName, Vec<u8>> {
    let mut files = disk.files.clone();
    for (_, log) in files.iter_mut().filter(|(file, _)| file.dir == Dir::Log) {
        let end = log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        log.truncate(end);
    }
    files
}

fn epoch(epoch: u32, counters: core::ops::RangeInclusive<u32>) -> Vec<Zxid> {
    counters.map(|counter| Zxid::new(epoch, counter)).collect()
}

/// Three epochs in four files, with snapshots in between and files begun where epochs begin and where they do not.
fn agreed() -> (History, Local) {
    let mut history = History::new(&config());
    let mut local = Local::new(&mut history);
    local.log(&mut history, &epoch(1, 1..=3));
    local.snapshot(&mut history);
    local.log(&mut history, &[epoch(1, 4..=5), epoch(2, 1..=2)].concat());
    local.snapshot(&mut history);
    local.log(&mut history, &epoch(2, 3..=4));
    local.log(&mut history, &epoch(3, 1..=1));
    local.snapshot(&mut history);
    local.log(&mut history, &epoch(3, 2..=3));
    local.put(log_name(Zxid::new(3, 4)), header());
    (history, local)
}

fn targets() -> impl Iterator<Item = Zxid> {
    (0..5).flat_map(|epoch| (0..7).map(move |counter| Zxid::new(epoch, counter)))
}

/// PARITY `disk.log.truncate`.
#[test]
fn disk_log_truncate_to_every_target_with_a_crash_at_every_point() {
    let (_, local) = agreed();
    let crashes: usize = targets().map(|target| local.check_crashes(target)).sum();
    assert!(crashes > 1000, "{crashes}");
}

/// A snapshot from a leader stands in the middle: the log before it ends in a transaction that the leader did not know,
/// and does not lead up to the log behind it.
fn replaced() -> Local {
    let mut history = History::new(&config());
    let mut local = Local::new(&mut history);
    local.log(&mut history, &epoch(1, 1..=3));
    local.snapshot(&mut history);
    local.log(&mut history, &epoch(1, 4..=5));
    let mut leader = History::new(&config());
    let mut leaders = Local::new(&mut leader);
    leaders.log(&mut leader, &[epoch(1, 1..=4), epoch(2, 1..=7)].concat());
    local.note(&leader);
    local.snapshot(&mut leader);
    local.log(&mut leader, &epoch(2, 8..=9));
    local.log(&mut leader, &epoch(2, 10..=10));
    local.snapshot(&mut leader);
    local.log(&mut leader, &epoch(2, 11..=11));
    local
}

#[test]
fn sync_trunc_across_a_snapshot_from_a_leader_with_a_crash_at_every_point() {
    let local = replaced();
    let found: Vec<Zxid> = local.digests.keys().copied().collect();
    assert_eq!(found.len(), 1 + 5 + 5);
    let crashes: usize = found.iter().map(|target| local.check_crashes(*target)).sum();
    assert!(crashes > 200, "{crashes}");
    // Between the two there is no telling what this server's history was.
    for target in [Zxid::new(1, 6), Zxid::new(2, 0), Zxid::new(2, 3), Zxid::new(2, 6)] {
        let mut disk = local.disk.clone();
        let error = disk.rewind(&config(), target).expect_err("it was never here");
        assert_eq!(error, RecoveryError::CannotRewind { target, found: Some(Zxid::new(1, 5)) });
        assert_eq!(disk, local.disk, "nothing is changed");
    }
}

/// Likewise, with nothing behind the leader's snapshot yet: what it stands for may be all that a quorum relies on.
#[test]
fn sync_trunc_before_a_snapshot_that_no_log_leads_to_changes_nothing() {
    let mut local = replaced();
    local.disk.files.retain(|file, _| file.dir != Dir::Log || *file == log_name(Zxid::new(1, 1)));
    local.disk.files.remove(&snapshot_name(Zxid::new(2, 10)));
    for target in [Zxid::new(1, 4), Zxid::new(1, 6), Zxid::new(2, 0), Zxid::new(2, 6)] {
        let mut disk = local.disk.clone();
        let error = disk.rewind(&config(), target).expect_err("it may have been here");
        assert_eq!(error, RecoveryError::CannotRewind { target, found: Some(Zxid::new(1, 3)) });
        assert_eq!(disk, local.disk, "nothing is changed");
    }
    for target in [Zxid::new(1, 2), Zxid::new(1, 3), Zxid::new(2, 7)] {
        local.check_crashes(target);
    }
}

#[test]
fn without_a_snapshot_from_before_the_target_nothing_is_changed() {
    let (_, mut local) = agreed();
    local.disk.files.remove(&snapshot_name(Zxid::ZERO));
    local.disk.files.remove(&snapshot_name(Zxid::new(1, 3)));
    // For a history without any transaction there is nothing to load.
    for target in targets().filter(|target| (Zxid(1)..Zxid::new(2, 2)).contains(target)) {
        let mut disk = local.disk.clone();
        let error = disk.rewind(&config(), target).expect_err("nothing to begin with");
        assert_eq!(error, RecoveryError::CannotRewind { target, found: None });
        assert_eq!(disk, local.disk);
    }
    local.check_crashes(Zxid::new(2, 2));
}

/// Whatever is wrong behind the target does not matter; what is wrong before it does.
#[test]
fn damage_behind_the_target_goes_with_it_and_damage_before_it_is_refused() {
    let mut history = History::new(&config());
    let mut local = Local::new(&mut history);
    let (first, bytes, ends) = history.log(4);
    local.put(log_name(first), bytes.clone());
    let mut replay = History::new(&config());
    for _ in 0..4 {
        replay.record();
        local.note(&replay);
    }
    local.snapshot(&mut history);
    local.log(&mut history, &[Zxid(5), Zxid(6)]);
    for at in ends[0]..bytes.len() {
        for (flip, rest) in [(0x01, true), (0xff, true), (0xff, false)] {
            let mut damaged = local.clone();
            damaged.disk.files.get_mut(&log_name(first)).expect("it is there")[at] ^= flip;
            if !rest {
                damaged.disk.files.remove(&log_name(Zxid(5)));
                damaged.disk.files.remove(&snapshot_name(Zxid(4)));
            }
            let intact = ends.iter().filter(|end| **end <= at).count() as i64 - 1;
            for target in 1..=4 {
                let target = Zxid(target);
                let mut disk = damaged.disk.clone();
                match disk.rewind(&config(), target) {
                    Ok(_) if target.0 <= intact => {
                        local.check_rewound(&mut damaged.disk.clone(), target);
                        local.check_rewound(&mut disk, target);
                    }
                    Ok(recovered) => {
                        // With nothing behind it, the snapshot has it, or a crash may have torn it.
                        let in_snapshot = rest && target == Zxid(4);
                        assert!(in_snapshot || !rest && intact == 3, "{at} {target}");
                        assert_eq!(recovered.last_zxid, if in_snapshot { Zxid(4) } else { Zxid(3) });
                    }
                    Err(RecoveryError::Corrupt { last_zxid, .. }) => {
                        assert!(target.0 > intact, "{at} {target}");
                        assert_eq!(last_zxid, Zxid(intact));
                        assert_eq!(disk, damaged.disk, "nothing is changed");
                    }
                    Err(other) => panic!("{at} {target}: {other}"),
                }
            }
        }
    }
}

/// ZooKeeper writes snapshots while transactions go on: a snapshot from before the target may have something from
/// behind it, and must not be used, nor stay.
#[test]
fn a_snapshot_that_was_written_during_what_is_to_be_forgotten_goes() {
    let (mut history, mut local) = agreed();
    // It was begun at 3/1 and ended at 3/3.
    let (_, bytes) = history.snapshot();
    let fuzzy = snapshot_name(Zxid::new(3, 1));
    local.put(fuzzy.clone(), bytes);
    for target in [Zxid::new(3, 1), Zxid::new(3, 2)] {
        local.check_crashes(target);
        let mut disk = local.disk.clone();
        let rewound = disk.rewind(&config(), target).expect("there is an older one");
        assert!(!disk.files.contains_key(&fuzzy));
        let reaches = Zxid::new(3, 3);
        let why = SnapshotProblem::Ahead { reaches };
        assert!(rewound.report.contains(&Notice::SnapshotUnreadable { file: fuzzy.clone(), why }));
        assert!(rewound.report.contains(&Notice::SnapshotRemoved { file: fuzzy.clone() }));
    }
    let mut disk = local.disk.clone();
    disk.rewind(&config(), Zxid::new(3, 3)).expect("all of it is wanted");
    assert!(disk.files.contains_key(&fuzzy));
}

/// The log may leap to a later epoch where its ensemble agreed on that, but not over a snapshot that cannot be read:
/// that one may have come from a leader, and the log before it may end in what no leader knew.
#[test]
fn the_log_does_not_leap_over_a_snapshot_that_cannot_be_read() {
    let mut history = History::new(&config());
    let mut local = Local::new(&mut history);
    local.log(&mut history, &epoch(1, 1..=3));
    local.log(&mut history, &epoch(2, 1..=3));
    assert_eq!(local.disk.clone().recover(&config()).expect("all is well").last_zxid, Zxid::new(2, 3));
    for (zxid, between) in [(Zxid::new(2, 0), true), (Zxid::new(1, 7), true), (Zxid::new(1, 3), false)] {
        let mut damaged = history.snapshot().1;
        damaged[100] ^= 1;
        let mut disk = local.disk.clone().put(snapshot_name(zxid), damaged);
        for rewind in [false, true] {
            let target = Zxid::new(2, 2);
            let outcome = if rewind { disk.rewind(&config(), target) } else { disk.recover(&config()) };
            match outcome {
                Ok(recovered) => {
                    assert!(!between, "{zxid}");
                    local.check(&recovered, if rewind { target } else { Zxid::new(2, 3) });
                }
                Err(RecoveryError::Gap { last_zxid, found, .. }) => {
                    assert!(between, "{zxid}");
                    assert_eq!((last_zxid, found), (Zxid::new(1, 3), Zxid::new(2, 1)));
                }
                Err(other) => panic!("{zxid}: {other}"),
            }
        }
        // What was never finished was never built upon.
        let half = history.snapshot().1[..60].to_vec();
        let mut disk = local.disk.clone().put(snapshot_name(zxid), half);
        local.check(&disk.recover(&config()).expect("the log has it all"), Zxid::new(2, 3));
    }
}

#[test]
fn leftovers_go_and_strangers_stay() {
    let (_, mut local) = agreed();
    let leftover = stranger(Dir::Snapshot, "tmp.snapshot.5");
    let stays = stranger(Dir::Snapshot, "acceptedEpoch");
    local.put(leftover.clone(), vec![1; 20]);
    local.put(stays.clone(), vec![b'1'; 20]);
    let mut disk = local.disk.clone();
    disk.rewind(&config(), Zxid::new(2, 1)).expect("it is there");
    assert!(!disk.files.contains_key(&leftover));
    assert!(disk.files.contains_key(&stays));
}

/// Tickets are never issued twice on one disk, and none outlives its recovery.
#[test]
fn tickets_go_on_where_they_were() {
    let (_, local) = agreed();
    for target in targets() {
        let mut tickets = Tickets::default();
        for _ in 0..7 {
            tickets.issue();
        }
        let mut recovery = Recovery::rewinding(&config(), [0; 4], target).with_tickets(tickets);
        let mut disk = local.disk.clone();
        let mut asked: Vec<DiskOp> = Vec::new();
        let mut last = Ticket(7);
        while recovery.poll_outcome().is_none() {
            while let Some(op) = recovery.poll_op() {
                assert_eq!(op.ticket(), Ticket(last.0 + 1));
                last = op.ticket();
                asked.push(op);
            }
            let done = disk.execute(asked.remove(0));
            assert!(recovery.owns(done.ticket) && !recovery.owns(Ticket(7)));
            recovery.on_done(done);
        }
        assert!(asked.is_empty());
        assert_eq!(recovery.into_tickets().last(), last);
    }
}

#[test]
fn an_unreadable_file_behind_the_target_does_not_matter() {
    let (_, local) = agreed();
    for zxid in [Zxid::new(2, 3), Zxid::new(3, 1), Zxid::new(3, 2)] {
        let mut disk = local.disk.clone();
        disk.unreadable.insert(log_name(zxid), DiskError::Failed(5));
        let outcome = disk.rewind(&config(), Zxid::new(1, 4));
        match outcome {
            // Where snapshots are to go, what the log is like behind the target decides about the order.
            Err(RecoveryError::Disk { file, .. }) => {
                assert_eq!(file, Some(log_name(zxid)));
                assert_eq!(disk.files, local.disk.files);
            }
            other => panic!("{other:?}"),
        }
        local.disk.files.keys().filter(|file| file.name.starts_with("snapshot.")).skip(2).for_each(|file| {
            disk.files.remove(file);
        });
        disk.rewind(&config(), Zxid::new(1, 4)).expect("nobody looks there");
    }
}
