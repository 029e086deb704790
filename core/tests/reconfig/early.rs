//! Servers that come to the next leader before that knows that it leads (PARITY `reconf.leader-handoff`).

use core::time::Duration;

use bytes::Bytes;
use zabra_core::server::{Event, HangupReason, PeerPort, Role};
use zabra_core::testing::cluster::Cluster;
use zabra_core::types::{LinkId, OpCode};
use zabra_core::zab::learner::LostReason;

use super::{agree, change, ensemble, write};

/// A change that removes the leader, 4, is under way, and whatever else that leader says comes to server 1, which is to lead
/// then, as `cut` makes it come; the others have heard of it, and have gone there.
fn handed_over(cut: impl Fn(&mut Cluster)) -> Cluster {
    let mut cluster = ensemble(4, 0);
    write(&mut cluster, 1, "/before");
    let (conn, _) = cluster.client(4).expect("it leads");
    for id in [2, 3] {
        cluster.hold_disk(id, true);
    }
    cluster.send(4, conn, 1, OpCode::RECONFIG, &change(None, Some("4")));
    cluster.run();
    cut(&mut cluster);
    for id in [2, 3] {
        cluster.hold_disk(id, false);
    }
    cluster.run();
    for id in [2, 3] {
        assert_eq!(lost(&cluster, id).first(), Some(&LostReason::Reconfigured), "server {id}");
    }
    cluster
}

fn lost(cluster: &Cluster, id: i64) -> Vec<LostReason> {
    let lost = |event: &Event| match event {
        Event::LeaderLost { why } => Some(*why),
        _ => None,
    };
    cluster.events(id).iter().filter_map(lost).collect()
}

/// Who comes early waits where it is, and is served in the moment in which the next leader hears that it is one: without an
/// election, and without anybody coming twice.
#[test]
fn reconf_leader_handoff_who_comes_early_is_awaited() {
    for waits_ms in [0, 100] {
        let mut cluster = handed_over(|cluster| cluster.delay(4, 1));
        assert_eq!(lost(&cluster, 1), [], "it has not heard of it");
        cluster.pass(Duration::from_millis(waits_ms));
        cluster.deliver();
        assert_eq!(cluster.leader(), Some(1), "no time has passed since: {}", cluster.roles());
        for id in [2, 3] {
            assert_eq!(cluster.role(id), Some(Role::Following), "{}", cluster.roles());
        }
        let looked = |event: &&Event| matches!(event, Event::RoleTaken { role: Role::Looking, .. });
        for id in [1, 2, 3] {
            assert_eq!(lost(&cluster, id), [LostReason::Reconfigured], "server {id}");
            assert_eq!(cluster.events(id).iter().filter(looked).count(), 1, "server {id}");
        }
        write(&mut cluster, 2, "/after");
        cluster.settle();
        agree(&mut cluster, &[1, 2, 3], &[1, 2, 3]);
    }
}

/// Should the next leader never hear of it, those who came look for one with it.
#[test]
fn reconf_leader_handoff_who_came_early_does_not_wait_for_ever() {
    let mut cluster = handed_over(|cluster| cluster.silence(4, 1));
    cluster.kill(4, 1);
    cluster.settle();
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    write(&mut cluster, 1, "/after");
    agree(&mut cluster, &[1, 2, 3], &[1, 2, 3]);
}

/// Three voters and an observer; of a change that removes server 2, and has server 3 lead on, the quorum lacks server 1.
fn a_change_is_under_way() -> Cluster {
    let mut cluster = ensemble(3, 1);
    cluster.hold_disk(1, true);
    let (conn, _) = cluster.client(3).expect("it leads");
    cluster.send(3, conn, 1, OpCode::RECONFIG, &change(None, Some("2")));
    cluster.run();
    assert!(cluster.replies(3, conn).is_empty(), "1 has not acknowledged it");
    cluster
}

fn knock(cluster: &mut Cluster, id: i64) -> LinkId {
    let link = cluster.knock(id, PeerPort::Quorum);
    cluster.run();
    link
}

/// Only a server that may be named has others wait, only while it may, and for no longer and no more than one that looks for
/// a leader has.
#[test]
fn reconf_leader_handoff_nobody_waits_in_vain() {
    let mut cluster = ensemble(3, 1);
    let link = knock(&mut cluster, 1);
    assert_eq!(cluster.hung_up(1, link), Some(HangupReason::Unwanted), "no change is under way");

    let mut cluster = a_change_is_under_way();
    for id in [2, 4] {
        let link = knock(&mut cluster, id);
        assert_eq!(cluster.hung_up(id, link), Some(HangupReason::Unwanted), "{id} is to have no vote");
    }
    let [first, second] = [(); 2].map(|()| knock(&mut cluster, 1));
    cluster.tell(1, second, Bytes::from(vec![0; 8 << 20]));
    assert_eq!(cluster.hung_up(1, second), Some(HangupReason::BadMessage), "it says too much");
    cluster.pass(Duration::from_millis(1900));
    assert_eq!(cluster.hung_up(1, first), None);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.hung_up(1, first), Some(HangupReason::Timeout));

    let links: Vec<LinkId> = (0..70).map(|_| knock(&mut cluster, 1)).collect();
    let gone: Vec<usize> = (0..70).filter(|&n| cluster.hung_up(1, links[n]).is_some()).collect();
    assert_eq!(gone, [0, 1, 2, 3, 4, 5]);
    let before = lost(&cluster, 1);
    cluster.hold_disk(1, false);
    cluster.run();
    assert_eq!(lost(&cluster, 1), before, "its leader leads on");
    assert_eq!(cluster.hung_up(1, links[69]), Some(HangupReason::RoleOver));
    agree(&mut cluster, &[1, 2, 3, 4], &[1, 3]);
}

/// When the leader is lost over the change, whoever waits does so until it is known who leads next.
#[test]
fn reconf_leader_handoff_who_waits_does_so_through_an_election() {
    let mut cluster = a_change_is_under_way();
    let early = knock(&mut cluster, 1);
    cluster.kill(3, 1);
    cluster.pass(Duration::from_millis(500));
    assert_eq!(cluster.leader(), None, "the next members need server 3: {}", cluster.roles());
    assert_eq!(cluster.hung_up(1, early), None);
    cluster.hold_disk(1, false);
    cluster.start(3);
    cluster.pass(Duration::from_millis(1000));
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    assert_eq!(cluster.hung_up(1, early), Some(HangupReason::RoleOver));
}
