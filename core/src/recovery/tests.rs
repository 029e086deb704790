//! What recovery makes of every kind of directory. Method: a history with known content is put on a disk in memory,
//! damaged, and recovered; then the same disk is recovered again, which must find nothing to repair.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::test_disk::{History, TestDisk, header, stranger};
use super::{BadHeader, DamageKind, Notice, Recovered, RecoveryError, SnapshotProblem};
use crate::config::Config;
use crate::store::inventory::{log_name, snapshot_name};
use crate::store::{Dir, DiskError};
use crate::types::{OpCode, SessionId, Txn, Zxid};

fn config() -> Config {
    Config { jute_max_buffer: 512, jute_max_buffer_extra: 512, ..Config::default() }
}

fn accepting() -> Config {
    Config { accept_data_loss: true, ..config() }
}

/// A history with its first snapshot on a disk.
fn begun() -> (History, TestDisk) {
    let mut history = History::new(&config());
    let (file, bytes) = history.snapshot();
    (history, TestDisk::default().put(file, bytes))
}

/// Checks that exactly the transactions up to `last_zxid` are there, and that a second start finds the same and has
/// nothing left to repair.
fn check(disk: &mut TestDisk, recovered: &Recovered, last_zxid: Zxid) {
    assert_eq!(recovered.last_zxid, last_zxid);
    assert_eq!(recovered.tree.last_zxid(), last_zxid);
    for zxid in 1..20 {
        let is_there = recovered.tree.node(&format!("/n{zxid:x}")).is_some();
        assert_eq!(is_there, Zxid(zxid) <= last_zxid, "{zxid} of {last_zxid}");
    }
    for (file, bytes) in &disk.files {
        assert!(recovered.inventory.contains(file), "{file}");
        assert!(bytes.len() > 9, "{file} is of no use");
    }
    assert!(!disk.files.contains_key(&log_name(last_zxid.next())), "in the way of the next log file");
    let newest = disk.files.iter().rfind(|(file, _)| file.dir == Dir::Log);
    assert_ne!(newest.and_then(|(_, log)| log.last()), Some(&0), "no padding is left to be read again");
    let before = disk.files.clone();
    let again = disk.recover(&config()).expect("it went well just before");
    assert_eq!(disk.files, before);
    assert_eq!((again.last_zxid, again.tree.digest()), (last_zxid, recovered.tree.digest()));
    assert_eq!(again.inventory, recovered.inventory);
}

fn has(recovered: &Recovered, notice: impl Fn(&Notice) -> bool) -> bool {
    recovered.report.iter().any(notice)
}

#[test]
fn disk_load_order_snapshot_then_logs() {
    let (mut history, disk) = begun();
    let (first, first_bytes, _) = history.log(3);
    let (middle, middle_bytes) = history.snapshot();
    let (second, second_bytes, _) = history.log(4);
    let mut disk = disk.put(log_name(first), first_bytes).put(log_name(second), second_bytes);
    let from_first = disk.recover(&config()).expect("all is well");
    assert_eq!(from_first.replayed_txns, 7);
    check(&mut disk, &from_first, Zxid(7));
    assert_eq!(from_first.tree.digest(), history.tree.digest());
    let mut disk = disk.put(middle.clone(), middle_bytes);
    let from_middle = disk.recover(&config()).expect("all is well");
    assert!(has(
        &from_middle,
        |notice| matches!(notice, Notice::SnapshotLoaded { file, .. } if *file == middle)
    ));
    assert_eq!(from_middle.replayed_txns, 4);
    assert_eq!(from_middle.report.len(), 2, "{:?}", from_middle.report);
    check(&mut disk, &from_middle, Zxid(7));
    assert_eq!(from_middle.tree.digest(), history.tree.digest());
}

#[test]
fn disk_log_eof_every_length_of_the_last_file() {
    let (mut history, disk) = begun();
    let (first, first_bytes, _) = history.log(2);
    let (last, bytes, ends) = history.log(3);
    let disk = disk.put(log_name(first), first_bytes);
    for len in 0..=bytes.len() {
        for padding in [0, 1, 5, 600] {
            let mut torn = bytes[..len].to_vec();
            torn.resize(len + padding, 0);
            let mut disk = disk.clone().put(log_name(last), torn);
            let recovered = disk.recover(&config()).expect("a torn tail is no reason not to start");
            let whole = ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
            // The records are compared with zeros behind them, so one that ends in zeros is whole a little earlier.
            let last_zxid = Zxid(2 + whole as i64);
            check(&mut disk, &recovered, last_zxid);
            let clean = ends.contains(&len) || (padding > 0 && len == ends[whole]);
            let cut = has(&recovered, |notice| {
                matches!(notice, Notice::LogTailCut { .. } | Notice::LogRemoved { .. })
            });
            let zeros_only =
                bytes.get(ends[whole]..len).is_some_and(|part| part.iter().all(|byte| *byte == 0));
            if whole > 0 {
                assert_eq!(
                    cut,
                    !clean && !zeros_only,
                    "length {len} padded by {padding}: {:?}",
                    recovered.report
                );
            } else {
                assert!(cut);
            }
        }
    }
}

/// Whatever single byte changes, a record that has a valid successor is never lost without a word: either
/// everything is there, or the server refuses, or what is lost is the very last record.
#[test]
fn disk_log_eof_every_corrupted_byte_of_one_file() {
    let (mut history, disk) = begun();
    let (last, bytes, ends) = history.log(3);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x42, 0x80, 0xff] {
            for padding in [0, 600] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                damaged.resize(bytes.len() + padding, 0);
                let mut disk = disk.clone().put(log_name(last), damaged);
                let before = disk.files.clone();
                match disk.recover(&config()) {
                    Ok(recovered) if recovered.last_zxid == Zxid(3) => panic!("damage at {at} was not seen"),
                    Ok(recovered) => {
                        assert!(at >= ends[2], "{at}: lost more than the last record");
                        check(&mut disk, &recovered, Zxid(2));
                        assert!(has(&recovered, |notice| matches!(notice, Notice::LogTailCut { .. })));
                    }
                    Err(error) => {
                        assert_eq!(disk.files, before, "nothing is changed");
                        check_refusal(&error, at, &ends);
                    }
                }
            }
        }
    }
}

fn check_refusal(error: &RecoveryError, at: usize, ends: &[usize]) {
    match error {
        RecoveryError::WrongHeader { .. } => assert!(at < ends[0]),
        RecoveryError::Corrupt { damage, next, last_zxid, .. } => {
            let record = ends.iter().filter(|end| **end <= at).count() - 1;
            assert_eq!(damage.offset, ends[record] as u64);
            assert_eq!(last_zxid.0, record as i64);
            assert_eq!(
                next.as_ref().map(|next| next.1),
                ends.get(record + 1).filter(|_| record < 2).map(|end| *end as u64)
            );
            assert!(error.to_string().contains(&format!("offset {}", damage.offset)), "{error}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn disk_log_eof_every_corrupted_byte_and_every_length_of_an_earlier_file() {
    let (mut history, disk) = begun();
    let (first, bytes, ends) = history.log(3);
    let (last, last_bytes, _) = history.log(2);
    let disk = disk.put(log_name(last), last_bytes);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        let mut disk = disk.clone().put(log_name(first), damaged);
        let error = disk.recover(&config()).expect_err("records follow in the next file");
        assert!(
            matches!(error, RecoveryError::Corrupt { .. } | RecoveryError::WrongHeader { .. }),
            "{error}"
        );
    }
    for len in 0..=bytes.len() {
        let mut disk = disk.clone().put(log_name(first), bytes[..len].to_vec());
        match disk.recover(&config()) {
            Ok(recovered) => {
                assert_eq!(len, bytes.len());
                check(&mut disk, &recovered, Zxid(5));
            }
            Err(RecoveryError::Gap { found, .. }) => {
                let record = ends.iter().filter(|end| **end <= len).count() - 1;
                assert!(record < 3 && bytes[ends[record]..len].iter().all(|byte| *byte == 0));
                assert_eq!(found, Zxid(4));
            }
            Err(RecoveryError::Corrupt { next, .. }) => assert_eq!(next.map(|next| next.2), Some(Zxid(4))),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn disk_log_eof_a_torn_tail_before_the_file_that_goes_on_is_harmless() {
    let (mut history, disk) = begun();
    let (first, mut bytes, _) = history.log(3);
    let torn = history.record();
    history.next = Zxid(4);
    let (last, last_bytes, _) = history.log(2);
    for len in 0..torn.len() {
        let keep = bytes.len();
        bytes.extend_from_slice(&torn[..len]);
        let mut disk =
            disk.clone().put(log_name(first), bytes.clone()).put(log_name(last), last_bytes.clone());
        bytes.truncate(keep);
        let recovered = disk.recover(&config()).expect("nothing is missing");
        check(&mut disk, &recovered, Zxid(5));
        let said = has(&recovered, |notice| matches!(notice, Notice::Harmless { .. }));
        assert_eq!(said, torn[..len].iter().any(|byte| *byte != 0));
    }
}

#[test]
fn disk_log_eof_damage_that_the_snapshot_covers_is_harmless() {
    let (mut history, _) = begun();
    let (first, bytes, ends) = history.log(4);
    let (file, snapshot) = history.snapshot();
    let mut with_more = bytes;
    with_more.extend(history.record());
    for at in ends[0]..ends[4] {
        let mut damaged = with_more.clone();
        damaged[at] ^= 0xff;
        let mut disk = TestDisk::with_logs(&[(first, damaged)]).put(file.clone(), snapshot.clone());
        let recovered = disk.recover(&config()).expect("the snapshot has it all");
        check(&mut disk, &recovered, Zxid(5));
        assert!(has(&recovered, |notice| matches!(notice, Notice::Harmless { .. })));
    }
}

#[test]
fn accepted_data_loss_leaves_a_prefix_and_says_how_much_went() {
    let (mut history, disk) = begun();
    let (first, bytes, ends) = history.log(4);
    let (middle, middle_bytes, _) = history.log(2);
    let (last, last_bytes, _) = history.log(2);
    let disk = disk.put(log_name(middle), middle_bytes).put(log_name(last), last_bytes);
    for at in ends[0]..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        let intact = ends.iter().filter(|end| **end <= at).count() - 1;
        for changes in 0..4 {
            let mut disk = disk.clone().put(log_name(first), damaged.clone());
            disk.changes_left = Some(changes);
            let result = disk.recover(&accepting());
            disk.changes_left = None;
            let recovered = match result {
                Ok(recovered) => {
                    let said = |notice: &Notice| match notice {
                        Notice::DataDropped { records, .. } => *records == 4 + 3 - intact as u64,
                        _ => false,
                    };
                    assert!(has(&recovered, said), "{:?}", recovered.report);
                    recovered
                }
                // The power went in between; the next start does the rest.
                Err(RecoveryError::Disk { .. }) => disk.recover(&accepting()).expect("it is accepted"),
                Err(other) => panic!("{other}"),
            };
            check(&mut disk, &recovered, Zxid(intact as i64));
        }
    }
}

#[test]
fn disk_load_nosnap_is_refused_unless_trusted() {
    let mut history = History::new(&config());
    let (first, bytes, _) = history.log(3);
    let mut disk = TestDisk::with_logs(&[(first, bytes.clone())]);
    let error = disk.recover(&config()).expect_err("where is the snapshot?");
    assert_eq!(error, RecoveryError::NoSnapshot { file: log_name(first), zxid: Zxid(1) });
    assert!(error.to_string().contains("zookeeper.snapshot.trust.empty"), "{error}");
    let trusting = Config { snapshot_trust_empty: true, ..config() };
    let recovered = disk.recover(&trusting).expect("it was said to be right");
    assert_eq!(recovered.last_zxid, Zxid(3));
    assert_eq!(recovered.replayed_txns, u64::MAX, "a snapshot is due at once");
    let mut later = TestDisk::with_logs(&[(Zxid(2), history.log(1).1)]);
    assert!(matches!(later.recover(&trusting), Err(RecoveryError::Gap { .. })));
}

#[test]
fn disk_load_empty_begins_only_where_it_may() {
    let forbidding = Config { db_autocreate: false, ..config() };
    let mut disk = TestDisk::default();
    let error = disk.recover(&forbidding).expect_err("nothing says that this is right");
    assert_eq!(error, RecoveryError::Empty);
    assert!(error.to_string().contains("'initialize'"), "{error}");
    assert!(disk.files.is_empty());
    for config in [&config(), &forbidding] {
        let mut disk = TestDisk { changes_left: Some(0), ..TestDisk::default() };
        disk.recover_initialized(config, true).expect_err("the first snapshot cannot be written");
        disk.changes_left = None;
        let recovered = disk.recover_initialized(config, true).expect("a new database");
        assert!(has(&recovered, |notice| *notice == Notice::FreshDatabase));
        assert_eq!(recovered.inventory.snapshots().len(), 1);
        assert!(recovered.inventory.snapshots()[0].complete);
        check(&mut disk, &recovered, Zxid::ZERO);
        assert_eq!(recovered.replayed_txns, 0);
    }
    // The very first start was cut short, before the snapshot was whole and after the log was created.
    let mut disk = TestDisk::with_logs(&[(Zxid(1), vec![])]).put(snapshot_name(Zxid::ZERO), vec![0; 20]);
    let recovered = disk.recover(&config()).expect("there was nothing yet");
    check(&mut disk, &recovered, Zxid::ZERO);
}

#[test]
fn disk_log_emptytail_is_removed_and_so_is_a_file_without_records() {
    for content in [vec![], vec![0; 5], header(), [header(), vec![0; 700]].concat(), vec![0; 700]] {
        let (mut history, disk) = begun();
        let (first, bytes, _) = history.log(3);
        let mut disk = disk.put(log_name(first), bytes).put(log_name(Zxid(4)), content);
        let recovered = disk.recover(&config()).expect("nothing was in it");
        assert!(has(&recovered, |notice| *notice == Notice::LogRemoved { file: log_name(Zxid(4)) }));
        check(&mut disk, &recovered, Zxid(3));
    }
}

#[test]
fn a_missing_log_is_a_gap() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(3);
    let _lost = history.log(2);
    let (last, last_bytes, _) = history.log(2);
    for mut disk in [
        disk.clone().put(log_name(first), bytes.clone()).put(log_name(last), last_bytes.clone()),
        disk.clone().put(log_name(last), last_bytes),
    ] {
        let error = disk.recover(&config()).expect_err("transactions 4 and 5 are missing");
        let RecoveryError::Gap { ref file, offset, found, .. } = error else { panic!("{error}") };
        assert_eq!((file, offset, found), (&log_name(last), 16, Zxid(6)));
        let kept = disk.recover(&accepting()).expect("it is accepted").last_zxid;
        let recovered = disk.recover(&config()).expect("what is left is whole");
        check(&mut disk, &recovered, kept);
    }
}

#[test]
fn a_new_epoch_begins_anywhere() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(3);
    history.next = Zxid::new(2, 1);
    let (second, second_bytes, _) = history.log(2);
    let mut disk = disk.put(log_name(first), bytes.clone()).put(log_name(second), second_bytes);
    assert_eq!(disk.recover(&config()).expect("all is well").last_zxid, Zxid::new(2, 2));
    history.next = Zxid::new(3, 2);
    let (third, third_bytes, _) = history.log(1);
    let mut disk = disk.put(log_name(third), third_bytes);
    assert!(
        matches!(disk.recover(&config()), Err(RecoveryError::Gap { .. })),
        "where is the first of epoch 3?"
    );
}

#[test]
fn disk_log_monotonic_repeated_zxids_are_left_out() {
    let (mut history, disk) = begun();
    let (first, mut bytes, ends) = history.log(3);
    let second_record = bytes[ends[1]..ends[2]].to_vec();
    bytes.extend(second_record);
    bytes.extend(history.record());
    let mut disk = disk.put(log_name(first), bytes);
    let recovered = disk.recover(&config()).expect("all is there");
    assert!(has(&recovered, |notice| matches!(notice, Notice::Replayed { txns: 4, skipped: 1, .. })));
    check(&mut disk, &recovered, Zxid(4));
}

#[test]
fn disk_snap_try_falls_back_to_an_older_snapshot_and_the_log() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(3);
    let (newer, snapshot) = history.snapshot();
    let (second, second_bytes, _) = history.log(2);
    let disk = disk.put(log_name(first), bytes).put(log_name(second), second_bytes);
    let seal = snapshot.len() - 1;
    for at in 0..snapshot.len() {
        let mut damaged = snapshot.clone();
        damaged[at] ^= 0x55;
        let mut disk = disk.clone().put(newer.clone(), damaged);
        let recovered = disk.recover(&config()).expect("the older one is good");
        let said =
            |notice: &Notice| matches!(notice, Notice::SnapshotUnreadable { file, .. } if *file == newer);
        // The "/" behind a checksum is not covered by any, and nobody reads the length of the last one.
        assert_eq!(has(&recovered, said), recovered.replayed_txns == 5, "{at}");
        assert!(recovered.replayed_txns == 5 || seal - at < 40, "{at}: {:?}", recovered.report);
        check(&mut disk, &recovered, Zxid(5));
    }
    for len in 0..snapshot.len() {
        let mut disk = disk.clone().put(newer.clone(), snapshot[..len].to_vec());
        let recovered = disk.recover(&config()).expect("the older one is good");
        assert_eq!(recovered.last_zxid, Zxid(5));
        assert_eq!(recovered.tree.digest(), history.tree.digest());
    }
    let mut disk = disk.put(newer.clone(), snapshot);
    disk.unreadable.insert(newer, DiskError::Failed(5));
    assert_eq!(disk.recover(&config()).expect("the older one is good").replayed_txns, 5);
}

#[test]
fn a_snapshot_that_is_ahead_of_all_that_can_be_read_is_not_forgotten() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(2);
    history.log(2);
    let (ahead, mut snapshot) = history.snapshot();
    snapshot[100] ^= 1;
    let mut disk = disk.put(log_name(first), bytes).put(ahead.clone(), snapshot);
    let error = disk.recover(&config()).expect_err("transactions 3 and 4 are in the snapshot only");
    let last_zxid = Zxid(2);
    assert_eq!(error, RecoveryError::BehindSnapshot { snapshot: ahead.clone(), zxid: Zxid(4), last_zxid });
    let recovered = disk.recover(&accepting()).expect("it is accepted");
    assert!(has(&recovered, |notice| *notice == Notice::DataMissing { snapshot: ahead.clone(), last_zxid }));
    assert!(!disk.files.contains_key(&ahead));
    check(&mut disk, &recovered, last_zxid);
}

/// ZooKeeper syncs no snapshot, and the log not always: all that the server begins with is made durable first.
#[test]
fn what_the_database_builds_on_is_synced() {
    let (mut history, mut disk) = begun();
    let mut names = Vec::new();
    for part in 0..4 {
        let (first, bytes, _) = history.log(2);
        names.push(log_name(first));
        disk = disk.put(log_name(first), bytes);
        if part == 1 {
            let (snapshot, bytes) = history.snapshot();
            names.push(snapshot.clone());
            disk = disk.put(snapshot, bytes);
        }
    }
    let recovered = disk.recover(&config()).expect("nothing is wrong");
    let [.., snapshot, behind, last] = &names[..] else { panic!("{names:?}") };
    let synced: Vec<_> = disk.synced.iter().collect();
    assert_eq!(synced, [behind, snapshot], "{last} is cut where it ends, and durable with that");
    check(&mut disk, &recovered, Zxid(8));
}

/// ZooKeeper's snapshot begins at one transaction and ends at another. If the log does not reach that far, it has parts of
/// transactions in it that nobody has.
#[test]
fn a_snapshot_that_needs_more_of_the_log_than_there_is_is_not_used() {
    let (mut history, disk) = begun();
    let (first, bytes, ends) = history.log(5);
    let (begun_at, last_zxid) = (snapshot_name(Zxid(2)), Zxid(4));
    let disk = disk.put(begun_at.clone(), history.snapshot().1);
    let mut whole = disk.clone().put(log_name(first), bytes.clone());
    let recovered = whole.recover(&config()).expect("the log reaches its end");
    assert_eq!(recovered.replayed_txns, 3);
    check(&mut whole, &recovered, Zxid(5));

    let mut short = disk.put(log_name(first), bytes[..ends[4]].to_vec());
    let before = short.files.clone();
    let error = short.recover(&config()).expect_err("something of transaction 5 is in the snapshot only");
    assert_eq!(error, RecoveryError::BehindSnapshot { snapshot: begun_at.clone(), zxid: Zxid(5), last_zxid });
    assert_eq!(short.files, before);
    let recovered = short.recover(&accepting()).expect("it is accepted");
    assert_eq!(recovered.replayed_txns, 4, "behind the first snapshot");
    assert!(!short.files.contains_key(&begun_at));
    check(&mut short, &recovered, last_zxid);
}

/// All that was restored is such a snapshot, and maybe something of the log. ZooKeeper begins with it; here an operator
/// must say so.
#[test]
fn a_snapshot_that_needs_more_of_the_log_is_better_than_nothing_for_who_accepts_the_loss() {
    let mut history = History::new(&config());
    let mut log = history.log(2).1;
    let session = Txn::CreateSession { timeout_ms: 7000 };
    log.extend(history.append(OpCode::CREATE_SESSION, SessionId(9), session));
    let up_to_third = log.len();
    log.extend(history.record());
    log.extend(history.record());
    let (restored, reaches) = (snapshot_name(Zxid(2)), Zxid(5));
    let alone = TestDisk::default().put(restored.clone(), history.snapshot().1);
    let behind = |end: usize| alone.clone().put(log_name(Zxid(1)), log[..end].to_vec());
    let with_gap = behind(up_to_third).put(log_name(Zxid(8)), {
        history.next = Zxid(8);
        history.log(2).1
    });
    for (disk, last_zxid) in [(alone.clone(), Zxid(2)), (behind(up_to_third), Zxid(3)), (with_gap, Zxid(3))] {
        let mut refused = disk.clone();
        let error = refused.recover(&config()).expect_err("parts of transaction 5 are nobody's");
        if !matches!(error, RecoveryError::Gap { .. }) {
            assert_eq!(error, RecoveryError::PartialSnapshot { snapshot: restored.clone(), reaches });
        }
        assert!(error.to_string().contains("--accept-data-loss"), "{error}");
        assert_eq!(refused.files, disk.files, "nothing is changed");
        for changes in 0..6 {
            let mut disk = disk.clone();
            disk.changes_left = Some(changes);
            let outcome = disk.recover(&accepting());
            disk.changes_left = None;
            let recovered = outcome.unwrap_or_else(|_| disk.recover(&accepting()).expect("it is accepted"));
            let used = Notice::SnapshotPartial { file: restored.clone(), reaches, last_zxid };
            assert!(has(&recovered, |notice| *notice == used), "{:?}", recovered.report);
            assert!(!has(&recovered, |notice| matches!(notice, Notice::SnapshotUnreadable { .. })));
            assert!(mismatches(&recovered).is_empty(), "{:?}", recovered.report);
            let sessions = recovered.sessions.clone();
            assert_eq!(sessions.contains_key(&SessionId(9)), last_zxid == Zxid(3));
            assert_eq!((recovered.last_zxid, recovered.tree.last_zxid()), (reaches, reaches));
            // It goes on there without being asked again, and so does the log.
            let repaired = disk.files.clone();
            let again = disk.recover(&config()).expect("what was accepted once is the database");
            assert_eq!(disk.files, repaired, "nothing is left to repair");
            assert_eq!((again.last_zxid, again.tree.digest()), (reaches, recovered.tree.digest()));
            assert_eq!((again.sessions, again.inventory), (sessions, recovered.inventory));
            let mut history = History::new(&config());
            history.next = reaches.next();
            let mut disk = disk.put(log_name(reaches.next()), history.log(2).1);
            assert_eq!(disk.recover(&config()).expect("it leads on").last_zxid, Zxid(7));
        }
    }
}

/// An older snapshot that can be used is always better, and of several that cannot, the newest is.
#[test]
fn of_snapshots_with_parts_of_transactions_the_newest_is_taken() {
    let (mut history, disk) = begun();
    history.log(5);
    let older = snapshot_name(Zxid(2));
    let ahead = TestDisk::default().put(older.clone(), history.snapshot().1);
    let recovered = disk.put(older.clone(), history.snapshot().1).recover(&accepting());
    assert_eq!(recovered.expect("the empty one is whole").last_zxid, Zxid::ZERO);
    history.log(3);
    let newer = snapshot_name(Zxid(6));
    let mut both = ahead.put(newer.clone(), history.snapshot().1);
    let error = both.recover(&config()).expect_err("neither is whole");
    assert_eq!(error, RecoveryError::PartialSnapshot { snapshot: newer, reaches: Zxid(8) });
    let recovered = both.recover(&accepting()).expect("it is accepted");
    assert_eq!(recovered.last_zxid, Zxid(8));
    assert!(both.files.contains_key(&older), "what it holds, the newer one holds");
}

#[test]
fn snapshots_none_of_which_can_be_read_are_an_error() {
    let (mut history, _) = begun();
    let (first, bytes, _) = history.log(2);
    let (file, snapshot) = history.snapshot();
    let mut disk = TestDisk::with_logs(&[(first, bytes)]).put(file.clone(), snapshot[..30].to_vec());
    let error = disk.recover(&accepting()).expect_err("there is nothing to build on");
    assert_eq!(error, RecoveryError::NoUsableSnapshot { file, why: SnapshotProblem::Incomplete });
}

#[test]
fn disk_log_header_of_another_kind_is_refused() {
    let cases = [(0, BadHeader::Magic), (7, BadHeader::Version), (15, BadHeader::Dbid(1))];
    for (at, why) in cases {
        for mut disk in [begun().1, TestDisk::default()] {
            let mut bytes = header();
            bytes[at] ^= 1;
            disk.files.insert(log_name(Zxid(1)), bytes);
            let error = disk.recover(&accepting()).expect_err("it is no log of ours");
            assert_eq!(error, RecoveryError::WrongHeader { file: log_name(Zxid(1)), why });
            assert!(error.to_string().contains("log.1"), "{error}");
        }
    }
}

#[test]
fn disk_dircheck_misplaced_files_are_refused() {
    for file in [stranger(Dir::Snapshot, "log.1"), stranger(Dir::Log, "snapshot.0")] {
        let mut disk = TestDisk::default().put(file.clone(), header());
        assert_eq!(disk.recover(&config()).expect_err("mixed up"), RecoveryError::Misplaced { file });
    }
}

#[test]
fn leftovers_of_a_crash_are_removed_and_strangers_stay() {
    let (_, disk) = begun();
    let leftover = stranger(Dir::Snapshot, "tmp.snapshot.5");
    let stays = stranger(Dir::Snapshot, "acceptedEpoch");
    let mut disk = disk.put(leftover.clone(), vec![1; 20]).put(stays.clone(), vec![b'1'; 20]);
    let recovered = disk.recover(&config()).expect("all is well");
    assert!(!disk.files.contains_key(&leftover));
    assert!(disk.files.contains_key(&stays));
    check(&mut disk, &recovered, Zxid::ZERO);
}

#[test]
fn digest_mismatch_is_said_once_and_not_fatal() {
    let (_, disk) = begun();
    let mut other = History::new(&Config { digest_enabled: false, ..config() });
    let (first, bytes, _) = other.log(2);
    let mut disk = disk.put(log_name(first), bytes);
    let recovered = disk.recover(&config()).expect("the data is what was logged");
    let mismatches = mismatches(&recovered);
    assert!(
        matches!(mismatches[..], [Notice::DigestMismatch { zxid: Zxid(1), expected: 0, .. }]),
        "{mismatches:?}"
    );
    assert_eq!(recovered.digest_mismatches, 2, "all are counted");
}

fn mismatches(recovered: &Recovered) -> Vec<&Notice> {
    recovered.report.iter().filter(|notice| matches!(notice, Notice::DigestMismatch { .. })).collect()
}

/// ZooKeeper's snapshot, written while a transaction was being applied, has the digest from before it: whether that
/// means anything is for the log to say.
#[test]
fn digest_of_a_snapshot_is_judged_by_the_log_behind_it() {
    let (mut history, disk) = begun();
    let (first, mut bytes, _) = history.log(2);
    let before = history.tree.digest();
    bytes.extend(history.record());
    let third = history.tree.digest();
    let (ahead, snapshot) = history.snapshot_ahead(before);
    let (wrong, wrong_snapshot) = history.snapshot_ahead(before ^ 1);
    let without_third = bytes[..bytes.len() - 1].to_vec();
    bytes.extend(history.record());
    let expected = |zxid, expected| vec![Notice::DigestMismatch { zxid, expected, found: third }];

    // The third transaction clears it, whatever the snapshot says.
    for (file, snapshot) in [(&ahead, &snapshot), (&wrong, &wrong_snapshot)] {
        let mut disk = disk.clone().put(file.clone(), snapshot.clone()).put(log_name(first), bytes.clone());
        let recovered = disk.recover(&config()).expect("nothing is wrong");
        assert!(mismatches(&recovered).is_empty(), "{:?}", recovered.report);
        assert_eq!(recovered.digest_mismatches, 0);
        assert_eq!(recovered.tree.digest(), history.tree.digest());
    }
    // Nothing comes that clears it.
    let mut torn = disk.clone().put(ahead.clone(), snapshot).put(log_name(first), without_third);
    let recovered = torn.recover(&config()).expect("a digest is not fatal");
    assert_eq!(mismatches(&recovered), expected(Zxid(2), before).iter().collect::<Vec<_>>());
    assert_eq!(recovered.digest_mismatches, 1);
    // What comes says the same: the snapshot's tree is wrong.
    let mut other = History::new(&config());
    other.next = Zxid(3);
    other.record();
    let (file, snapshot) = other.snapshot_ahead(before);
    let mut disk = disk.put(file, snapshot).put(log_name(first), bytes);
    let recovered = disk.recover(&config()).expect("a digest is not fatal");
    let found = other.tree.digest();
    let wanted = Notice::DigestMismatch { zxid: Zxid(2), expected: before, found };
    assert_eq!(mismatches(&recovered), [&wanted]);
    assert_eq!(recovered.digest_mismatches, 3, "the snapshot's, and two of the log");
}

#[test]
fn sessions_are_as_the_log_left_them() {
    let (mut history, disk) = begun();
    let mut bytes = header();
    for session in 1..4 {
        let txn = Txn::CreateSession { timeout_ms: 1000 * session as i32 };
        bytes.extend(history.append(OpCode::CREATE_SESSION, SessionId(session), txn));
    }
    let close = Txn::CloseSession { paths: None };
    bytes.extend(history.append(OpCode::CLOSE_SESSION, SessionId(2), close));
    let mut disk = disk.put(log_name(Zxid(1)), bytes);
    let recovered = disk.recover(&config()).expect("all is well");
    let sessions: Vec<_> = recovered.sessions.iter().map(|(id, timeout)| (id.0, *timeout)).collect();
    assert_eq!(sessions, [(1, 1000), (3, 3000)]);
}

#[test]
fn a_record_larger_than_the_limit_is_not_taken_for_a_torn_tail() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(2);
    let mut disk = disk.put(log_name(first), bytes);
    let small = Config { jute_max_buffer: 20, jute_max_buffer_extra: 20, ..config() };
    // The snapshot's stats do not fit either, so only the log's limit matters here.
    let error = disk.recover(&small).expect_err("the limit is below what was written");
    let RecoveryError::Corrupt { damage, .. } = &error else { panic!("{error}") };
    assert_eq!(damage.kind, DamageKind::BadLength);
    assert!(error.to_string().contains("jute.maxbuffer"), "{error}");
}

#[test]
fn an_unreadable_log_is_an_error_with_its_name() {
    let (mut history, disk) = begun();
    let (first, bytes, _) = history.log(2);
    let mut disk = disk.put(log_name(first), bytes);
    disk.unreadable.insert(log_name(first), DiskError::Failed(5));
    let error = disk.recover(&accepting()).expect_err("EIO");
    assert_eq!(error, RecoveryError::Disk { file: Some(log_name(first)), error: DiskError::Failed(5) });
}

proptest! {
    /// A crash may leave any prefix of the last write, and any sector of it unwritten; the server starts, and what
    /// was synced before is there.
    #[test]
    fn crash_points(synced in 0_usize..6, torn in 1_usize..4, keep in 0_usize..2000, size in 1_usize..400,
                    lost_sector in prop::option::of(0_usize..5)) {
        let (mut history, disk) = begun();
        let (first, mut bytes, _) = history.log(synced);
        let safe = bytes.len();
        history.batch = Some(history.next);
        for _ in 0..torn {
            let data = Some(vec![7; size].into());
            let txn = Txn::SetData { path: "/".into(), data, version: 1 };
            bytes.extend(history.append(OpCode::SET_DATA, SessionId::NONE, txn));
        }
        let reached = bytes.len().min(safe + keep);
        bytes[reached..].fill(0);
        bytes.resize(8192, 0);
        if let Some(sector) = lost_sector {
            let start = (sector * 512).max(safe);
            if start < sector * 512 + 512 {
                bytes[start..sector * 512 + 512].fill(0);
            }
        }
        let mut disk = disk.put(log_name(first), bytes);
        let recovered = disk.recover(&config()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(recovered.last_zxid >= Zxid(synced as i64));
        let again = disk.recover(&config()).expect("it was repaired");
        prop_assert_eq!(again.last_zxid, recovered.last_zxid);
        let removed = recovered.last_zxid == Zxid::ZERO;
        prop_assert_eq!(disk.files.contains_key(&log_name(first)), !removed);
    }
}
