//! Disks that do nothing at all, for good as it seems, and say nothing either: nobody else waits for them.

use core::time::Duration;

use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::types::{ConnId, Message, OpCode, Zxid};
use zabra_core::wire::Request;
use zabra_core::wire::connect::ConnectResponse;
use zabra_core::zab::leader::StepDownReason;
use zabra_core::zab::learner::LostReason;

const SET: Request<'_> = Request::SetData { path: "/", data: Some(&[7; 1000]), version: -1 };

/// What a server may be silent for in these ensembles.
const SYNC_TIME: Duration = Duration::from_millis(500);

/// Three voters and an observer, and a client of server 1. A log is full with five writes that wait.
fn ensemble() -> (Cluster, ConnId) {
    let mut cluster = Cluster::new(&members(3, 1), |config| {
        config.log_buffer_max = 5000;
        let ensemble = config.ensemble.as_ref().expect("a member");
        assert_eq!(config.tick_time * ensemble.sync_limit, SYNC_TIME);
    });
    cluster.start_all();
    assert_eq!((cluster.leader(), cluster.role(4)), (Some(3), Some(Role::Observing)));
    let (conn, _) = cluster.client(1).expect("a session");
    (cluster, conn)
}

fn write(cluster: &mut Cluster, conn: ConnId, count: i32) {
    for xid in 1..=count {
        cluster.send(1, conn, xid, OpCode::SET_DATA, &SET);
    }
    cluster.run();
}

fn steps_down(cluster: &Cluster, id: i64) -> bool {
    let hangs = |event: &Event| matches!(event, Event::SteppedDown { why: StepDownReason::DiskHangs });
    cluster.events(id).iter().any(hangs)
}

/// Its pings go on, so nobody would look for another leader, and nobody could write.
#[test]
fn a_leader_whose_disk_hangs_makes_way_and_leads_no_more_until_it_answers() {
    let (mut cluster, conn) = ensemble();
    cluster.hold_disk(3, true);
    write(&mut cluster, conn, 9);
    assert_eq!(cluster.replies(1, conn).len(), 6, "the others have them");
    cluster.pass(SYNC_TIME * 6);
    assert!(steps_down(&cluster, 3), "{}", cluster.roles());
    for _ in 0..10 {
        assert_eq!(cluster.role(2), Some(Role::Leading), "{}", cluster.roles());
        let (conn, _) = cluster.client(1).expect("a session");
        write(&mut cluster, conn, 20);
        assert_eq!(cluster.replies(1, conn).len(), 20);
        cluster.pass(SYNC_TIME);
    }
    cluster.hold_disk(3, false);
    cluster.pass(SYNC_TIME * 6);
    assert_eq!((cluster.leader(), cluster.role(3)), (Some(2), Some(Role::Following)), "{}", cluster.roles());
    let applied = cluster.applied(1);
    assert!((2..=4).all(|id| cluster.applied(id) == applied));
}

/// As long as there is room, or the others cannot do without it, nothing would be better.
#[test]
fn a_leader_whose_disk_hangs_leads_on_if_nobody_is_better_off_without_it() {
    let (mut cluster, conn) = ensemble();
    cluster.hold_disk(3, true);
    write(&mut cluster, conn, 5);
    cluster.pass(SYNC_TIME * 6);
    assert_eq!((cluster.leader(), steps_down(&cluster, 3)), (Some(3), false), "there is room");
    assert_eq!(cluster.replies(1, conn).len(), 5);

    let (mut cluster, conn) = ensemble();
    for id in [2, 3] {
        cluster.hold_disk(id, true);
    }
    write(&mut cluster, conn, 9);
    cluster.pass(SYNC_TIME * 6);
    assert_eq!((cluster.leader(), steps_down(&cluster, 3)), (Some(3), false), "one is no quorum");
    for id in [2, 3] {
        cluster.hold_disk(id, false);
    }
    cluster.run();
    assert_eq!(cluster.replies(1, conn).len(), 9);
}

/// What its leader says waits for its own disk, so it cannot know whether the leader is there: it does not wait for ever.
#[test]
fn a_learner_whose_disk_hangs_gives_its_leader_up_and_comes_back() {
    let (mut cluster, conn) = ensemble();
    cluster.hold_disk(4, true);
    write(&mut cluster, conn, 20);
    cluster.silence(3, 4);
    let lost = |cluster: &Cluster| {
        cluster.events(4).iter().any(|event| matches!(event, Event::LeaderLost { why: LostReason::Timeout }))
    };
    for step in 0..40 {
        cluster.pass(SYNC_TIME / 10);
        assert!(step > 6 || !lost(&cluster), "a disk may be slow");
        if lost(&cluster) {
            break;
        }
        // The leader hears what it expects, and does not hang up.
        cluster.forge(4, 3, &Message::Ping { zxid: Zxid::ZERO, touched: None });
    }
    assert!(lost(&cluster), "{}", cluster.roles());
    cluster.heal();
    cluster.hold_disk(4, false);
    cluster.pass(SYNC_TIME * 6);
    assert_eq!(cluster.role(4), Some(Role::Observing), "{}", cluster.roles());
    assert_eq!(cluster.applied(4), cluster.applied(1));
}

/// A leader whose log is full does not look at all that learners and clients say; so it holds nothing against them.
#[test]
fn sess_nobody_expires_while_a_leader_is_not_listening() {
    let (mut cluster, conn) = ensemble();
    let (_, opened) = cluster.client(1).expect("a session");
    for id in 1..=4 {
        cluster.hold_disk(id, true);
    }
    write(&mut cluster, conn, 9);
    let expired = |cluster: &Cluster| {
        let expired = |event: &&Event| matches!(event, Event::SessionExpired { .. });
        cluster.events(3).iter().filter(expired).count()
    };
    cluster.pass(opened_for(&opened) * 2);
    assert_eq!(cluster.role(3), Some(Role::Leading), "{}", cluster.roles());
    assert_eq!(expired(&cluster), 0);
    for id in 1..=4 {
        cluster.hold_disk(id, false);
    }
    cluster.pass(opened_for(&opened) * 2);
    assert_eq!(expired(&cluster), 2, "nobody has said anything since");
}

fn opened_for(opened: &ConnectResponse) -> Duration {
    Duration::from_millis(opened.timeout_ms.unsigned_abs().into())
}
