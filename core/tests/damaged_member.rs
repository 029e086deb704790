//! A member of an ensemble whose disk is damaged: it is brought up to date by the others, and counts for nothing
//! before.

use core::time::Duration;
use std::collections::BTreeMap;

use zabra_core::server::{Event, Role};
use zabra_core::store::{Dir, DiskError, FileName};
use zabra_core::testing::cluster::{Cluster, members};

type Files = BTreeMap<FileName, Vec<u8>>;

fn three(snapshot_sync: bool) -> Cluster {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        // A snapshot by another name says nothing else.
        config.serialize_last_processed_zxid = false;
        let ensemble = config.ensemble.as_mut().expect("a member");
        ensemble.force_snapshot_sync = snapshot_sync;
        // However small a snapshot would be.
        ensemble.snapshot_size_permille = Some(u32::MAX);
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    cluster
}

/// Flips a bit in the middle of what a member has logged.
fn damage(cluster: &mut Cluster, id: i64) {
    let logs = cluster.disk(id).files().iter_mut().filter(|(file, _)| file.name.starts_with("log."));
    let (_, bytes) = logs.last().expect("it has logged something");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records");
    bytes[end / 2] ^= 1;
}

fn is_marked(cluster: &mut Cluster, id: i64) -> bool {
    cluster.disk(id).files().keys().any(|file| file.name == "zabra.unsynced")
}

/// However the leader brings it up, it has everything again in the end, and its vote.
#[test]
fn disk_log_eof_a_damaged_member_is_brought_up_and_votes_again() {
    for snapshot_sync in [false, true] {
        let mut cluster = three(snapshot_sync);
        let (conn, _) = cluster.client(2).expect("a session");
        for number in 0..20 {
            assert!(cluster.write(2, conn, &format!("/n{number}")));
        }
        cluster.kill(1, 1);
        damage(&mut cluster, 1);
        assert!(cluster.write(2, conn, "/meanwhile"));
        cluster.start(1);
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
        assert!(cluster.events(1).contains(&Event::Synced));
        assert!(cluster.write(2, conn, "/then"));
        cluster.pass(Duration::from_millis(300));
        assert_eq!(cluster.applied(1), cluster.applied(3));
        assert!(!is_marked(&mut cluster, 1));
        // Without its vote there is no leader.
        cluster.kill(3, 1);
        cluster.settle();
        assert!(cluster.leader().is_some(), "{}", cluster.roles());
        let (conn, _) = cluster.client(1).expect("a session");
        assert!(cluster.write(1, conn, "/after"));
        cluster.kill(1, 1);
        cluster.start(1);
        cluster.pass(Duration::from_secs(3));
        for number in 0..20 {
            assert!(cluster.exists(1, &format!("/n{number}")));
        }
        assert!(cluster.exists(1, "/meanwhile") && cluster.exists(1, "/after"));
    }
}

/// There is no room for the snapshot that the leader sends: the server says so, keeps what it has, and comes back for it.
#[test]
fn disk_snap_fail_of_a_snapshot_from_the_leader() {
    let mut cluster = three(true);
    let (conn, _) = cluster.client(2).expect("a session");
    assert!(cluster.write(2, conn, "/all"));
    cluster.kill(1, 1);
    assert!(cluster.write(2, conn, "/meanwhile"));
    cluster.fill_disk(1, true);
    cluster.start(1);
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.halted(1), None);
    assert_ne!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
    let failed = |event: &&Event| matches!(event, Event::SnapshotFailed { error: DiskError::Full, .. });
    let tries = cluster.events(1).iter().filter(failed).count();
    assert!(
        (2..60).contains(&tries),
        "{tries}: it waits longer every time, up to a tick of a tenth of a second"
    );
    // Its vote is worth what it was.
    cluster.fill_disk(1, false);
    cluster.pass(Duration::from_secs(1));
    cluster.settle();
    assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
    assert!(!is_marked(&mut cluster, 1));
    assert!(cluster.exists(1, "/all") && cluster.exists(1, "/meanwhile"));
}

/// What only it and a server that is away have acknowledged is not lost: it makes no quorum with one that has less.
#[test]
fn a_damaged_member_makes_no_quorum() {
    let mut cluster = three(false);
    let (conn, _) = cluster.client(3).expect("a session");
    assert!(cluster.write(3, conn, "/all"));
    cluster.kill(2, 1);
    for number in 0..20 {
        assert!(cluster.write(3, conn, &format!("/n{number}")), "a quorum of 1 and 3");
    }
    cluster.kill(1, 1);
    cluster.kill(3, 1);
    damage(&mut cluster, 1);
    cluster.start(1);
    cluster.start(2);
    for _ in 0..2 {
        cluster.pass(Duration::from_secs(5));
        assert_eq!(cluster.leader(), None, "{}", cluster.roles());
        // Not by being started again, either.
        cluster.kill(1, 1);
        cluster.start(1);
    }
    assert!(is_marked(&mut cluster, 1));
    cluster.start(3);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    for id in [1, 2, 3] {
        for number in 0..20 {
            assert!(cluster.exists(id, &format!("/n{number}")), "server {id} lacks /n{number}");
        }
    }
}

/// Wherever its disk stops while it is brought up, what it was sent is not all there was: until it is, it makes no
/// quorum with one that has less.
#[test]
fn a_damaged_member_that_was_half_brought_up_makes_no_quorum() {
    let mut seen = [0; 2];
    for (snapshot_sync, limit) in [false, true].into_iter().flat_map(|sync| (1..40).map(move |at| (sync, at)))
    {
        let mut cluster = three(snapshot_sync);
        let (conn, _) = cluster.client(3).expect("a session");
        assert!(cluster.write(3, conn, "/all"));
        cluster.kill(2, 1);
        for number in 0..6 {
            assert!(cluster.write(3, conn, &format!("/n{number}")), "a quorum of 1 and 3");
        }
        cluster.kill(1, 1);
        cluster.kill(3, 1);
        let behind = cluster.disk(2).files().clone();
        damage(&mut cluster, 1);
        cluster.start(2);
        cluster.start(3);
        cluster.settle();
        cluster.limit_disk(1, Some(limit));
        cluster.start(1);
        cluster.pass(Duration::from_secs(2));
        for id in [1, 2, 3] {
            cluster.kill(id, 0);
        }
        cluster.limit_disk(1, None);
        let marked = is_marked(&mut cluster, 1);
        seen[usize::from(marked)] += 1;
        // The server that was away is as it was then.
        *cluster.disk(2).files() = behind;
        cluster.start(1);
        cluster.start(2);
        cluster.pass(Duration::from_secs(3));
        if marked {
            assert_eq!(cluster.leader(), None, "{limit}: {}", cluster.roles());
            cluster.start(3);
            cluster.settle();
        }
        for number in 0..6 {
            assert!(cluster.exists(1, &format!("/n{number}")), "{limit}: /n{number} is lost");
        }
    }
    assert!(seen.iter().all(|&count| count > 5), "{seen:?}");
}

/// A member whose only snapshot is of the beginning of an epoch that the others never came into: what the next leader has
/// is older than all that there is.
fn ahead_of_all(cluster: &mut Cluster) {
    cluster.kill(1, 1);
    let (conn, _) = cluster.client(3).expect("a session");
    assert!(cluster.write(3, conn, "/since"));
    for id in [2, 3] {
        cluster.kill(id, 1);
    }
    let files = cluster.disk(1).files();
    let named = |name: &str| FileName { dir: Dir::Snapshot, name: String::from(name) };
    let snapshot = files.remove(&named("snapshot.0")).expect("a database begins with it");
    files.retain(|file, _| file.name.ends_with("Epoch"));
    files.insert(named("snapshot.200000000"), snapshot);
    for epoch in ["acceptedEpoch", "currentEpoch"] {
        files.insert(named(epoch), b"2".to_vec());
    }
    for id in [2, 3] {
        cluster.start(id);
    }
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
}

/// PARITY `sync.choice.snap`: it is brought up all the same. Wherever its disk stops meanwhile, either what it had is there
/// or what it was sent, for others may rely on either, and it starts with that.
#[test]
fn sync_choice_snap_takes_the_place_of_a_history_that_nothing_leads_up_to() {
    let mut seen = [0; 3];
    for limit in (0..40).map(Some).chain([None]) {
        let mut cluster = three(true);
        ahead_of_all(&mut cluster);
        let (sent, _) = cluster.applied(3).expect("it leads");
        cluster.limit_disk(1, limit);
        cluster.start(1);
        cluster.pass(Duration::from_secs(2));
        assert_eq!(cluster.halted(1), None, "{limit:?}");
        let synced = cluster.role(1) == Some(Role::Following);
        cluster.kill(1, 0);
        cluster.limit_disk(1, None);
        let has =
            |cluster: &mut Cluster, name: &str| cluster.disk(1).files().keys().any(|file| file.name == name);
        let had = has(&mut cluster, "snapshot.200000000");
        let got = has(&mut cluster, &format!("snapshot.{:x}", sent.0));
        assert!(had || got, "{limit:?}: {:?}", cluster.disk(1).files().keys());
        assert!(!is_marked(&mut cluster, 1), "{limit:?}");
        assert!(!synced || got && !had, "{limit:?}: {:?}", cluster.disk(1).files().keys());
        seen[usize::from(had) + 2 * usize::from(got) - 1] += 1;
        cluster.start(1);
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "{limit:?}: {}", cluster.roles());
        assert!(cluster.exists(1, "/since"), "{limit:?}");
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

/// All that a backup had: the newest snapshot, as ZooKeeper writes it while a transaction is being applied, and the epochs.
fn restored_alone(files: &Files) -> Files {
    let zxid = |file: &FileName| i64::from_str_radix(file.name.strip_prefix("snapshot.")?, 16).ok();
    let (newest, bytes) = files.iter().max_by_key(|(file, _)| zxid(file)).expect("there are snapshots");
    let begun_at = zxid(newest).expect("it is one") - 1;
    let name = FileName { dir: Dir::Snapshot, name: format!("snapshot.{begun_at:x}") };
    let epochs = files.iter().filter(|(file, _)| file.name.ends_with("Epoch"));
    epochs.map(|(file, bytes)| (file.clone(), bytes.clone())).chain([(name, bytes.clone())]).collect()
}

/// Of an ensemble that was restored so, nobody has anything to vote with. Once the operator says that this is all there is,
/// it serves, and goes on doing so.
#[test]
fn members_restored_from_snapshots_alone_serve_once_the_loss_is_accepted() {
    let ensemble = |accept_data_loss, files: &BTreeMap<i64, Files>| {
        let mut cluster = Cluster::new(&members(3, 0), |config| {
            config.snap_count = 8;
            config.accept_data_loss = accept_data_loss;
        });
        for (&id, files) in files {
            cluster.disk(id).files().clone_from(files);
        }
        cluster.start_all();
        cluster
    };
    let files = |cluster: &mut Cluster| -> BTreeMap<i64, Files> {
        (1..=3)
            .map(|id| {
                cluster.kill(id, 1);
                (id, cluster.disk(id).files().clone())
            })
            .collect()
    };
    let mut cluster = ensemble(false, &BTreeMap::new());
    let (conn, _) = cluster.client(3).expect("a session");
    for number in 0..20 {
        assert!(cluster.write(3, conn, &format!("/n{number}")));
    }
    let restored = files(&mut cluster).into_iter().map(|(id, files)| (id, restored_alone(&files))).collect();

    let mut cluster = ensemble(false, &restored);
    assert_eq!(cluster.leader(), None, "{}", cluster.roles());
    assert!((1..=3).all(|id| is_marked(&mut cluster, id)));
    let marked = files(&mut cluster);
    let mut cluster = ensemble(true, &marked);
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/then"));
    let accepted = files(&mut cluster);
    let mut cluster = ensemble(false, &accepted);
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    let (conn, _) = cluster.client(2).expect("a session");
    assert!(cluster.write(2, conn, "/after"));
    cluster.pass(Duration::from_millis(300));
    for id in 1..=3 {
        assert!(["/n0", "/n5", "/then", "/after"].iter().all(|path| cluster.exists(id, path)), "{id}");
        assert_eq!(cluster.applied(id), cluster.applied(1));
    }
}
