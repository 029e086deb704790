//! Members that are to forget what the only snapshot holds that they have. What they know to be committed is in there, too,
//! and others may rely on it: it does not go before there is another.

use core::time::Duration;

use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::types::{LearnerInfo, Message, Zxid};
use zabra_core::zab::learner::LostReason;

/// Server 1 has what its leader sent, and no log that leads there.
fn brought_up_by_snapshot() -> (Cluster, Zxid) {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.ensemble.as_mut().expect("it is a member").force_snapshot_sync = true;
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let (conn, _) = cluster.client(3).expect("a session");
    cluster.kill(1, 1);
    for number in 0..5 {
        assert!(cluster.write(3, conn, &format!("/n{number}")));
    }
    cluster.start(1);
    cluster.settle();
    let mut installed = cluster.events(1).iter().rev().filter_map(|event| match event {
        Event::SnapshotInstalled { zxid } => Some(*zxid),
        _ => None,
    });
    let snapshot = installed.next().expect("its leader sends nothing else");
    drop(installed);
    (cluster, snapshot)
}

/// PARITY `sync.choice.trunc`: nothing is changed, and the leader is asked for a snapshot.
#[test]
fn sync_choice_trunc_takes_no_snapshot_that_nothing_else_stands_for() {
    let (mut cluster, snapshot) = brought_up_by_snapshot();
    cluster.kill(1, 1);
    cluster.silence(3, 1);
    cluster.start(1);
    // Long enough for it to learn who leads, and to connect.
    cluster.pass(Duration::from_millis(400));
    let before = cluster.disk(1).files().clone();
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    cluster.forge(3, 1, &Message::LeaderInfo { epoch: 1, protocol_version });
    cluster.forge(3, 1, &Message::Trunc { zxid: Zxid(snapshot.0 - 1) });
    let asked = Event::SnapshotAskedFor { why: LostReason::NoWayBack };
    assert!(cluster.events(1).contains(&asked), "{:?}", cluster.events(1));
    assert_eq!(cluster.halted(1), None);
    assert_eq!(*cluster.disk(1).files(), before);
    cluster.heal();
    cluster.settle();
    assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
    for number in 0..5 {
        assert!(cluster.exists(1, &format!("/n{number}")), "{number}");
    }
}

/// ZooKeeper's data may be cut where a log leads on behind the snapshot: what is in between goes, and no more.
#[test]
fn sync_choice_trunc_behind_the_snapshot_cuts_the_log_alone() {
    let (mut cluster, snapshot) = brought_up_by_snapshot();
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/behind-it"));
    cluster.kill(1, 1);
    cluster.silence(3, 1);
    cluster.start(1);
    cluster.pass(Duration::from_millis(400));
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    cluster.forge(3, 1, &Message::LeaderInfo { epoch: 1, protocol_version });
    cluster.forge(3, 1, &Message::Trunc { zxid: snapshot });
    let cut = Event::Rewound { asked: snapshot, last_zxid: snapshot };
    assert!(cluster.events(1).contains(&cut), "{:?}", cluster.events(1));
}
