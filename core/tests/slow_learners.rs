//! One snapshot at a time is made of the tree, for learners or for the disk: whoever takes it slowly, or not at all, keeps
//! nobody from theirs for long.

use core::time::Duration;

use bytes::Bytes;
use zabra_core::server::{Event, HangupReason, PeerPort, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::types::{AclList, ConnId, LearnerInfo, LinkId, Message, OpCode, ServerId, Zxid};
use zabra_core::wire::{Request, quorum};

/// `initLimit` of these ensembles.
const INIT_TIME: Duration = Duration::from_secs(1);

/// What a snapshot ends with.
const SIGNATURE: &[u8] = b"BenWasHere";

/// Five voters and an observer, of whom 1, 4 and 6 do not run; the tree is many times as large as what may wait on a link.
fn ensemble(snap_count: u64) -> (Cluster, ConnId) {
    let mut cluster = Cluster::new(&members(5, 1), |config| {
        config.snap_count = snap_count;
        let ensemble = config.ensemble.as_mut().expect("a member");
        ensemble.force_snapshot_sync = true;
        ensemble.link_outbox_bytes = 64 << 10;
        assert_eq!(config.tick_time * ensemble.init_limit, INIT_TIME);
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(5), "{}", cluster.roles());
    for id in [1, 4, 6] {
        cluster.kill(id, 0);
    }
    let (conn, _) = cluster.client(5).expect("a session");
    for number in 0..40 {
        write(&mut cluster, conn, &format!("/n{number}"));
    }
    (cluster, conn)
}

fn write(cluster: &mut Cluster, conn: ConnId, path: &str) {
    let data = [b'x'; 10_000];
    let acl = Some(AclList::OpenUnsafe);
    let request = Request::Create { path, data: Some(&data), acl, flags: 0, ttl: None };
    let reply = cluster.call(5, conn, OpCode::CREATE, &request).expect("an answer");
    assert_eq!(reply.err.0, 0, "{path}");
}

/// A server wants to learn from the leader, and is going to get a snapshot.
fn learn(cluster: &mut Cluster, server: i64, takes_all: bool) -> LinkId {
    let link = cluster.knock(5, PeerPort::Quorum);
    if !takes_all {
        cluster.take_nothing(5, link);
    }
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    let info = LearnerInfo { server: Some(ServerId(server)), protocol_version, config_version: 0 };
    let introduction = match server {
        1..=5 => Message::FollowerInfo { accepted_epoch: 1, info },
        _ => Message::ObserverInfo { accepted_epoch: 1, info },
    };
    for message in [introduction, Message::AckEpoch { last_zxid: Zxid::ZERO, current_epoch: 0 }] {
        let mut bytes = Vec::new();
        quorum::encode(&message, &mut bytes);
        cluster.tell(5, link, Bytes::from(bytes));
    }
    link
}

fn has_snapshot(cluster: &mut Cluster, link: LinkId) -> bool {
    cluster.received(5, link).windows(SIGNATURE.len()).any(|window| window == SIGNATURE)
}

/// A while, in which whoever is at the other end takes a byte now and then: as little as keeps the link alive.
fn creep(cluster: &mut Cluster, link: LinkId, times: usize) {
    for _ in 0..times {
        if cluster.hung_up(5, link).is_none() {
            cluster.take(5, link, 1);
        }
        cluster.pass(INIT_TIME / 4);
    }
}

/// Whoever creeps has the tree, over and over; a voter and, behind that, an observer need it.
#[test]
fn sync_choice_snap_is_kept_from_nobody_by_a_learner_that_creeps() {
    for (creeping, name) in [(99, "a stranger"), (6, "an observer"), (4, "a voter")] {
        let (mut cluster, _) = ensemble(1_000_000);
        let mut link = learn(&mut cluster, creeping, false);
        creep(&mut cluster, link, 8);
        assert_eq!(cluster.hung_up(5, link), None, "{name}: nobody waits");
        assert!(!has_snapshot(&mut cluster, link));
        cluster.start(1);
        let follows = (0..40).any(|_| {
            creep(&mut cluster, link, 1);
            if let Some(why) = cluster.hung_up(5, link) {
                assert_eq!(why, HangupReason::SlowReader, "{name}");
                link = learn(&mut cluster, creeping, false);
            }
            cluster.role(1) == Some(Role::Following)
        });
        assert!(follows, "behind {name}: {}", cluster.roles());
    }
}

/// Two voters get the same snapshot, and one of them takes nothing any more: that one goes, and in time for the other.
#[test]
fn a_learner_that_takes_nothing_does_not_take_another_with_it() {
    let (mut cluster, _) = ensemble(1_000_000);
    let frozen = learn(&mut cluster, 4, false);
    let lively = learn(&mut cluster, 1, true);
    let done = (0..20).any(|_| {
        cluster.pass(INIT_TIME / 10);
        has_snapshot(&mut cluster, lively)
    });
    assert!(done, "{:?}", cluster.hung_up(5, lively));
    assert_eq!(cluster.hung_up(5, frozen), Some(HangupReason::SlowReader));
}

/// Who is not much slower than the others of a snapshot is waited for.
#[test]
fn a_learner_that_is_somewhat_slower_is_waited_for() {
    let (mut cluster, _) = ensemble(1_000_000);
    let slower = learn(&mut cluster, 4, false);
    let lively = learn(&mut cluster, 1, false);
    for _ in 0..100 {
        // Both take 10 kB at a time, one of them with a delay.
        cluster.take(5, lively, 10_000);
        cluster.pass(INIT_TIME / 20);
        cluster.take(5, slower, 10_000);
        cluster.pass(INIT_TIME / 20);
    }
    for link in [slower, lively] {
        assert!(has_snapshot(&mut cluster, link), "{:?}", cluster.hung_up(5, link));
    }
}

/// A learner that creeps, alone, keeps no snapshot from the disk for ever.
#[test]
fn disk_snap_trigger_in_spite_of_a_learner_that_creeps() {
    let (mut cluster, conn) = ensemble(20);
    cluster.pass(INIT_TIME);
    let mut link = learn(&mut cluster, 99, false);
    let finished = |cluster: &Cluster| {
        cluster.events(5).iter().filter(|event| matches!(event, Event::SnapshotFinished { .. })).count()
    };
    let before = finished(&cluster);
    for number in 0..400 {
        write(&mut cluster, conn, &format!("/m{number}"));
        creep(&mut cluster, link, 1);
        if cluster.hung_up(5, link).is_some() {
            link = learn(&mut cluster, 99, false);
        }
    }
    let more = finished(&cluster) - before;
    assert!(more > 2, "{more} snapshots");
}

/// The disk takes longer over a snapshot than a learner waits.
#[test]
fn disk_snap_trigger_gives_way_to_learners_and_comes_later() {
    let (mut cluster, conn) = ensemble(1000);
    cluster.hold_bulk(5, true);
    let begun = |cluster: &Cluster| {
        cluster.events(5).iter().filter(|event| matches!(event, Event::SnapshotStarted { .. })).count()
    };
    let before = begun(&cluster);
    let mut number = 0;
    while begun(&cluster) == before {
        assert!(cluster.write(5, conn, &format!("/s{number}")));
        number += 1;
    }
    cluster.start(1);
    for _ in 0..10 {
        cluster.pass(INIT_TIME / 2);
    }
    assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
    let lost = cluster.events(1).iter().filter(|event| matches!(event, Event::LeaderLost { .. })).count();
    assert_eq!(lost, 0, "it was served in time");
    cluster.hold_bulk(5, false);
    cluster.pass(INIT_TIME);
    assert!(cluster.write(5, conn, "/last"));
    cluster.pass(INIT_TIME);
    let snapshots = |event: &Event| matches!(event, Event::SnapshotFinished { .. });
    assert!(
        cluster
            .events(5)
            .iter()
            .rev()
            .take_while(|event| !matches!(event, Event::SnapshotStarted { .. }))
            .any(snapshots)
    );
    assert_eq!(begun(&cluster), before + 2, "the one that gave way was taken again");
}
