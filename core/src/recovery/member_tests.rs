//! Damage on the disk of a member of an ensemble: what it goes on with, what it leaves alone, and what is left once a
//! leader was found.

use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::test_disk::{History, TestDisk};
use super::{Notice, Recovered, RecoveryError};
use crate::config::{Config, EnsembleConfig};
use crate::store::epochs::{ACCEPTED_EPOCH, CURRENT_EPOCH, UNSYNCED, epoch_file};
use crate::store::inventory::{log_name, snapshot_name};
use crate::types::{
    AclList, CreateTxn, Member, MemberRole, Membership, NodeKind, OpCode, ServerId, SessionId, Txn, Zxid,
};

fn member_of(voters: i64) -> Config {
    let member = |id| {
        let role = MemberRole::Participant;
        (ServerId(id), Member { quorum: Vec::new(), election: Vec::new(), client: None, role })
    };
    let membership = Membership::majority(0, (1..=voters).map(member).collect::<BTreeMap<_, _>>());
    Config { server_id: 1, ensemble: Some(EnsembleConfig::new(membership)), ..Config::default() }
}

/// A snapshot of the first two transactions, logs of four and of three more behind it, and the epoch files.
fn whole() -> (TestDisk, Vec<usize>) {
    let mut history = History::new(&Config::default());
    history.log(2);
    let (snapshot, bytes) = history.snapshot();
    let (first, first_bytes, ends) = history.log(4);
    let (second, second_bytes, _) = history.log(3);
    let disk = TestDisk::default()
        .put(snapshot, bytes)
        .put(log_name(first), first_bytes)
        .put(log_name(second), second_bytes)
        .put(epoch_file(ACCEPTED_EPOCH), b"0".to_vec());
    (disk, ends)
}

/// A kind of damage, and the last transaction before it.
type Case = (&'static str, fn(&mut TestDisk, &[usize]), i64);

fn log_3(disk: &mut TestDisk) -> &mut Vec<u8> {
    disk.files.get_mut(&log_name(Zxid(3))).expect("it is there")
}

fn log_7(disk: &mut TestDisk) -> &mut Vec<u8> {
    disk.files.get_mut(&log_name(Zxid(7))).expect("it is there")
}

fn flip_snapshot(disk: &mut TestDisk) {
    let (_, bytes) = disk.files.iter_mut().find(|(file, _)| file.name == "snapshot.2").expect("it is there");
    bytes[100] ^= 1;
}

const CASES: [Case; 8] = [
    ("the first record", |disk, _| log_3(disk)[40] ^= 1, 2),
    ("a record in the middle", |disk, ends| log_3(disk)[ends[2] + 40] ^= 1, 4),
    ("the last record of a file", |disk, ends| log_3(disk)[ends[3] + 40] ^= 1, 5),
    ("the last record of all", |disk, _| *log_7(disk).iter_mut().nth_back(2).expect("many") ^= 1, 8),
    ("a header", |disk, _| log_7(disk)[0] ^= 1, 6),
    ("the header of the first file", |disk, _| log_3(disk)[0] ^= 1, 2),
    ("a file that is gone", |disk, _| drop(disk.files.remove(&log_name(Zxid(3)))), 2),
    ("the only snapshot", |disk, _| flip_snapshot(disk), 0),
];

fn found_damage(recovered: &Recovered) -> bool {
    recovered.report.iter().any(|notice| {
        matches!(
            notice,
            Notice::DamageFound { .. } | Notice::BehindEnsemble { .. } | Notice::SnapshotUnreadable { .. }
        )
    })
}

/// PARITY `disk.log.eof`: as often as it is started, it goes on before the damage, says so, and changes nothing but the
/// file that keeps it from voting. What is damaged goes once a leader was found, and only then; with a crash at every
/// point, it never votes in between.
#[test]
fn disk_log_eof_a_damaged_member_goes_on_without_a_vote() {
    for (name, damage, last) in CASES {
        let (mut disk, ends) = whole();
        damage(&mut disk, &ends);
        let before = disk.files.clone();
        for _ in 0..2 {
            let recovered = disk.recover(&member_of(3)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(recovered.unsynced, "{name}");
            assert_eq!((recovered.last_zxid, recovered.tree.last_zxid()), (Zxid(last), Zxid(last)), "{name}");
            assert!(found_damage(&recovered), "{name}: {:?}", recovered.report);
            let unsynced = Notice::Unsynced { last_zxid: Zxid(last) };
            assert!(recovered.report.contains(&unsynced), "{name}: {:?}", recovered.report);
            assert!(disk.files.contains_key(&epoch_file(UNSYNCED)), "{name}");
            assert!(before.iter().all(|(file, bytes)| disk.files.get(file) == Some(bytes)), "{name}");
        }
        for changes in 0..8 {
            let mut disk = disk.clone();
            disk.changes_left = Some(changes);
            let outcome = disk.rewind(&member_of(3), Zxid(last));
            disk.changes_left = None;
            let recovered = disk.recover(&member_of(3)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(recovered.unsynced, "{name} {changes}");
            if outcome.is_err() {
                assert!(changes < 7, "{name}");
                continue;
            }
            assert_eq!(recovered.last_zxid, Zxid(last), "{name}");
            assert!(!found_damage(&recovered), "{name}: {:?}", recovered.report);
            disk.files.remove(&epoch_file(UNSYNCED));
            let recovered = disk.recover(&member_of(3)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!recovered.unsynced, "{name}");
            assert_eq!(recovered.last_zxid, Zxid(last), "{name}");
        }
    }
}

/// Whom the others cannot help refuses to start, as a server that stands alone does; and whoever accepts the loss
/// votes.
#[test]
fn damage_that_nobody_can_mend_is_refused() {
    for (name, damage, _) in CASES {
        let (mut disk, ends) = whole();
        damage(&mut disk, &ends);
        let before = disk.files.clone();
        let error = disk.recover(&Config::default()).expect_err(name);
        for voters in [1, 2] {
            assert_eq!(disk.recover(&member_of(voters)).expect_err(name), error, "{name}");
            assert_eq!(disk.files, before, "{name}");
        }
        if matches!(error, RecoveryError::Corrupt { .. } | RecoveryError::Gap { .. }) {
            let accepting = Config { accept_data_loss: true, ..member_of(3) };
            assert!(!disk.recover(&accepting).expect(name).unsynced, "{name}");
        }
    }
}

/// What was restored is a snapshot that ZooKeeper wrote while transactions went on, without the log behind it. The others
/// may have all of it; who has nothing better than this says so, and has a vote.
#[test]
fn a_member_restored_from_a_snapshot_alone_votes_once_the_loss_is_accepted() {
    let mut history = History::new(&Config::default());
    history.log(5);
    let restored = TestDisk::default()
        .put(snapshot_name(Zxid(2)), history.snapshot().1)
        .put(epoch_file(ACCEPTED_EPOCH), b"0".to_vec());
    for voters in 1..4 {
        let mut disk = restored.clone();
        for _ in 0..2 {
            match disk.recover(&member_of(voters)) {
                Ok(recovered) => {
                    assert!(voters == 3 && recovered.unsynced);
                    let unsynced = Notice::Unsynced { last_zxid: Zxid::ZERO };
                    assert!(recovered.report.contains(&unsynced), "{:?}", recovered.report);
                    assert!(unsynced.to_string().contains("--accept-data-loss"), "{unsynced}");
                }
                Err(error) => {
                    assert!(voters < 3 && error.to_string().contains("--accept-data-loss"), "{error}");
                }
            }
        }
        let accepting = Config { accept_data_loss: true, ..member_of(voters) };
        let recovered = disk.recover(&accepting).expect("it is accepted");
        assert_eq!((recovered.last_zxid, recovered.unsynced), (Zxid(5), false), "{voters}");
        let recovered = disk.recover(&member_of(voters)).expect("it was accepted");
        assert_eq!((recovered.last_zxid, recovered.unsynced), (Zxid(5), false), "{voters}");
        assert!(!disk.files.contains_key(&epoch_file(UNSYNCED)));
    }
}

/// The newest snapshot is damaged, and the log does not reach as far: whoever accepts that votes with what there is.
#[test]
fn a_member_behind_its_snapshot_votes_once_the_loss_is_accepted() {
    let mut history = History::new(&Config::default());
    let (first, bytes) = history.snapshot();
    let (log, log_bytes, _) = history.log(2);
    history.log(2);
    let (newest, mut damaged) = history.snapshot();
    damaged[100] ^= 1;
    let mut disk = TestDisk::default()
        .put(first, bytes)
        .put(log_name(log), log_bytes)
        .put(newest.clone(), damaged)
        .put(epoch_file(ACCEPTED_EPOCH), b"0".to_vec());
    assert!(disk.recover(&member_of(3)).expect("the others have it").unsynced);
    let recovered = disk.recover(&Config { accept_data_loss: true, ..member_of(3) }).expect("it is accepted");
    assert_eq!((recovered.last_zxid, recovered.unsynced), (Zxid(2), false));
    let said =
        |notice: &Notice| matches!(notice, Notice::DataMissing { snapshot, .. } if *snapshot == newest);
    assert!(recovered.report.iter().any(said), "{:?}", recovered.report);
    assert!(!disk.recover(&member_of(3)).expect("it was accepted").unsynced);
}

/// What a member promised is in a file of its own; without that, nothing says what it must not do.
#[test]
fn damage_without_the_accepted_epoch_is_refused() {
    let (mut disk, ends) = whole();
    CASES[1].1(&mut disk, &ends);
    let file = epoch_file(ACCEPTED_EPOCH);
    disk.files.remove(&file);
    assert_eq!(disk.recover(&member_of(3)).expect_err("no promise"), RecoveryError::GarbledEpoch { file });
}

/// The data of a member that waits for a leader are not all there were: alone, nobody serves them unasked.
#[test]
fn a_member_that_waits_for_a_leader_is_not_started_alone() {
    let (mut disk, ends) = whole();
    CASES[1].1(&mut disk, &ends);
    disk.recover(&member_of(3)).expect("the others have it");
    disk.rewind(&member_of(3), Zxid(4)).expect("it is cut");
    let file = epoch_file(UNSYNCED);
    assert_eq!(
        disk.recover(&Config::default()).expect_err("not all there was"),
        RecoveryError::Unsynced { file: file.clone() }
    );
    let accepting = Config { accept_data_loss: true, ..Config::default() };
    assert_eq!(disk.recover(&accepting).expect("it is accepted").last_zxid, Zxid(4));
    assert!(!disk.files.contains_key(&file));
}

/// A log of two transactions of epoch 1, and behind a third that was left out one of epoch 2 and one of epoch 3. Whether
/// the last of them makes up for what was left out.
fn with_a_hole(made_up: bool) -> TestDisk {
    let mut history = History::new(&Config::default());
    let (snapshot, bytes) = history.snapshot();
    history.next = Zxid::new(1, 1);
    let (first, first_bytes, _) = history.log(2);
    history.record();
    let missing = "/n100000003".into();
    history.next = Zxid::new(2, 1);
    let (second, mut second_bytes, _) = history.log(0);
    if made_up {
        let delete = Txn::Delete { path: missing };
        second_bytes.extend(history.append(OpCode::DELETE, SessionId::NONE, delete));
    } else {
        second_bytes.extend(history.record());
    }
    history.next = Zxid::new(3, 1);
    if made_up {
        let create = CreateTxn {
            path: "/new".into(),
            data: None,
            acl: AclList::OpenUnsafe,
            kind: NodeKind::Persistent,
            parent_cversion: 50,
        };
        second_bytes.extend(history.append(OpCode::CREATE, SessionId::NONE, Txn::Create(create)));
    } else {
        second_bytes.extend(history.record());
    }
    TestDisk::default()
        .put(snapshot, bytes)
        .put(log_name(first), first_bytes)
        .put(log_name(second), second_bytes)
        .put(epoch_file(ACCEPTED_EPOCH), b"3".to_vec())
}

/// ZOOKEEPER-4925: what it logged behind a hole, and has not acknowledged. It votes with what it has, and nothing is
/// changed. What it has acknowledged is no less its own for a digest that differs, and a difference that has gone is
/// none.
#[test]
fn sync_hole_in_what_was_never_acknowledged_is_found_at_the_start() {
    let table = [("1", false, true), ("2", false, false), ("3", false, false), ("1", true, false)];
    for (current, made_up, diverged) in table {
        let mut disk = with_a_hole(made_up).put(epoch_file(CURRENT_EPOCH), current.as_bytes().to_vec());
        let before = disk.files.clone();
        for _ in 0..2 {
            let recovered = disk.recover(&member_of(3)).expect("it starts");
            assert_eq!((recovered.diverged, recovered.unsynced), (diverged, false), "{current} {made_up}");
            assert!(recovered.digest_mismatches > 0, "{current} {made_up}");
            let (since, last_zxid) = (Zxid::new(2, 1), Zxid::new(3, 1));
            assert_eq!(recovered.last_zxid, last_zxid, "{current} {made_up}");
            let said = recovered.report.contains(&Notice::Diverged { since, last_zxid });
            assert_eq!(said, diverged, "{current} {made_up}: {:?}", recovered.report);
            assert_eq!(disk.files, before, "{current} {made_up}");
        }
        assert!(!disk.recover(&Config::default()).expect("it has no leader").diverged);
    }
}
