//! Members of an ensemble change while it serves: scenarios in lock-step (PARITY `reconf.*`).

#[path = "reconfig/early.rs"]
mod early;
#[path = "reconfig/kept.rs"]
mod kept;

use core::time::Duration;

use bytes::Bytes;
use zabra_core::config::Config;
use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, create, members};
use zabra_core::time::WallTime;
use zabra_core::types::{
    ConnId, LearnerInfo, MemberRole, Membership, Message, OpCode, ServerId, SessionId, Txn, TxnHeader, Zxid,
};
use zabra_core::wire::{Request, txn};
use zabra_core::zab::learner::LostReason;

const CONFIG: &str = "/zookeeper/config";

fn dynamic(config: &mut Config) {
    config.reconfig_enabled = true;
    config.skip_acl = true;
}

fn ensemble(voters: i64, observers: i64) -> Cluster {
    let mut cluster = Cluster::new(&members(voters, observers), dynamic);
    cluster.start_all();
    cluster
}

fn write(cluster: &mut Cluster, id: i64, path: &str) {
    let (conn, _) = cluster.client(id).unwrap_or_else(|| panic!("{id} serves: {}", cluster.roles()));
    let reply = cluster.call(id, conn, OpCode::CREATE, &create(path)).expect("an answer");
    assert_eq!(reply.err.0, 0, "{path} by {id}");
}

fn join(id: i64) -> String {
    format!("server.{id}=node{id}:2888:3888;{}", 2180 + id)
}

fn change<'a>(joining: Option<&'a str>, leaving: Option<&'a str>) -> Request<'a> {
    Request::Reconfig { joining, leaving, new_members: None, config_id: -1 }
}

/// What a reconfiguration is answered.
fn reconfig(cluster: &mut Cluster, id: i64, request: &Request<'_>) -> i32 {
    let (conn, _) = cluster.client(id).unwrap_or_else(|| panic!("{id} serves: {}", cluster.roles()));
    let reply = cluster.call(id, conn, OpCode::RECONFIG, request).expect("an answer");
    cluster.settle();
    reply.err.0
}

/// What `/zookeeper/config` says on a server, and where.
fn config(cluster: &mut Cluster, id: i64) -> Membership {
    let (conn, _) = cluster.client(id).unwrap_or_else(|| panic!("{id} serves: {}", cluster.roles()));
    let request = Request::GetData { path: CONFIG, watch: false };
    let reply = cluster.call(id, conn, OpCode::GET_DATA, &request).expect("an answer");
    let (data, stat) = data_and_stat(&reply.body);
    let membership = Membership::parse(data).expect("a configuration");
    assert_eq!((stat.0, stat.1), (membership.version(), -1), "config.node.stat: mzxid and version");
    membership
}

/// The text, and mzxid and version of the stat behind it.
fn data_and_stat(body: &[u8]) -> (&str, (i64, i32)) {
    let len = u32::from_be_bytes(body[..4].try_into().expect("four bytes")) as usize;
    let (data, stat) = body[4..].split_at(len);
    let mzxid = i64::from_be_bytes(stat[8..16].try_into().expect("eight bytes"));
    let version = i32::from_be_bytes(stat[32..36].try_into().expect("four bytes"));
    (core::str::from_utf8(data).expect("text"), (mzxid, version))
}

/// These participants.
fn of(ids: &[i64]) -> Membership {
    let line = |id: &i64| format!("server.{id}=node{id}:2888:3888\n");
    Membership::parse(&ids.iter().map(line).collect::<String>()).expect("members")
}

fn voters(membership: &Membership) -> Vec<i64> {
    membership.voters().map(|id| id.0).collect()
}

/// Everybody has the same configuration with these voters, serves, and has the same data.
fn agree(cluster: &mut Cluster, ids: &[i64], expected: &[i64]) {
    cluster.pass(Duration::from_millis(300));
    let (first, applied) = (config(cluster, ids[0]), cluster.applied(ids[0]));
    assert_eq!(voters(&first), expected);
    for &id in ids {
        assert_eq!(config(cluster, id), first, "server {id}");
        assert_eq!(cluster.kept_config(id), &first, "server {id}");
        assert_eq!(cluster.kept_seen_config(id), None, "server {id}");
    }
    cluster.pass(Duration::from_millis(300));
    let applied_now = cluster.applied(ids[0]);
    assert!(applied_now >= applied);
    for &id in ids {
        assert_eq!(cluster.applied(id), applied_now, "server {id}");
        let mismatch = |event: &Event| matches!(event, Event::DigestMismatch { .. });
        assert!(!cluster.events(id).iter().any(mismatch), "server {id}");
    }
}

/// A server that knows of the others, and of itself, as operators write it before it joins.
fn add(cluster: &mut Cluster, id: i64) {
    let last = id.max(3);
    cluster.add(id, &members(last, 0), dynamic);
    cluster.start(id);
    cluster.settle();
}

#[test]
fn config_node_has_the_members_everywhere_and_the_first_version_is_the_epochs() {
    let mut cluster = ensemble(3, 1);
    agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3]);
    assert_eq!(config(&mut cluster, 1).version(), 1 << 32);
    assert_eq!(config(&mut cluster, 1), members(3, 1).with_version(1 << 32));
    cluster.kill(3, 1);
    cluster.settle();
    assert_eq!(config(&mut cluster, 1).version(), 1 << 32, "only the first leader gives a version");
}

#[test]
fn reconf_enable_without_it_the_node_has_the_file_and_the_op_is_refused() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.skip_acl = true);
    cluster.start_all();
    for id in [1, 2, 3] {
        assert_eq!(config(&mut cluster, id), members(3, 0));
        assert_eq!(reconfig(&mut cluster, id, &change(None, Some("1"))), -123);
    }
}

#[test]
fn reconf_incremental_servers_join_and_leave() {
    let mut cluster = ensemble(2, 0);
    add(&mut cluster, 3);
    assert_eq!(cluster.role(3), Some(Role::Following), "{}", cluster.roles());
    let leader = cluster.leader().expect("a leader");
    assert_eq!(reconfig(&mut cluster, 1, &change(Some(&join(3)), None)), 0);
    assert_eq!(cluster.leader(), Some(leader), "nobody has to look for a leader");
    agree(&mut cluster, &[1, 2, 3], &[1, 2, 3]);
    add(&mut cluster, 4);
    assert_eq!(reconfig(&mut cluster, 3, &change(Some(&join(4)), Some("1"))), 0);
    agree(&mut cluster, &[2, 3, 4], &[2, 3, 4]);
    // reconf.learneraction: who was removed follows on, without a vote.
    assert_eq!(cluster.role(1), Some(Role::Following));
    write(&mut cluster, 1, "/by-one-without-a-vote");
    cluster.kill(4, 1);
    cluster.kill(2, 1);
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.leader(), None, "3 and 1 are no quorum of 2, 3 and 4: {}", cluster.roles());
    cluster.start(4);
    cluster.settle();
    write(&mut cluster, 4, "/by-a-quorum");
    agree(&mut cluster, &[3, 4], &[2, 3, 4]);
}

#[test]
fn reconf_leader_handoff_the_designated_leader_takes_over() {
    for removed in [true, false] {
        let mut cluster = ensemble(4, 0);
        assert_eq!(cluster.leader(), Some(4));
        write(&mut cluster, 1, "/before");
        let observer = "server.4=node4:2888:3888:observer;2184";
        let request = if removed { change(None, Some("4")) } else { change(Some(observer), None) };
        assert_eq!(reconfig(&mut cluster, 4, &request), 0);
        assert_eq!(cluster.leader(), Some(1), "{}", cluster.roles());
        let looked = |event: &Event| matches!(event, Event::RoleTaken { role: Role::Looking, .. });
        for id in [1, 2, 3, 4] {
            assert_eq!(cluster.events(id).iter().filter(|event| looked(event)).count(), 1, "server {id}");
        }
        let expected = if removed { Role::Following } else { Role::Observing };
        assert_eq!(cluster.role(4), Some(expected), "{}", cluster.roles());
        write(&mut cluster, 4, "/after");
        agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3]);
        assert!(cluster.exists(2, "/before") && cluster.exists(2, "/after"));
    }
}

/// A leader that is none in the next configuration has said so, and those who follow have not heard: it orders nothing any
/// more. A client that asks for something is not left without an answer, nor answered out of order.
#[test]
fn reconf_leader_handoff_closes_who_writes_meanwhile() {
    let mut cluster = ensemble(4, 0);
    let [changes, writes, ends, reads] = [(); 4].map(|()| cluster.client(4).expect("it serves").0);
    for id in [1, 2, 3] {
        cluster.hold_disk(id, true);
    }
    cluster.send(4, changes, 1, OpCode::RECONFIG, &change(None, Some("4")));
    cluster.run();
    for id in [1, 2, 3] {
        cluster.silence(4, id);
        cluster.hold_disk(id, false);
    }
    cluster.run();
    assert_eq!(voters(cluster.kept_config(4)), [1, 2, 3], "it is in force");
    let exists = Request::Exists { path: "/", watch: false };
    cluster.send(4, writes, 1, OpCode::CREATE, &create("/late"));
    cluster.send(4, writes, 2, OpCode::EXISTS, &exists);
    cluster.send(4, ends, 1, OpCode::CLOSE_SESSION, &Request::CloseSession);
    cluster.send(4, ends, 2, OpCode::EXISTS, &exists);
    cluster.send(4, reads, 1, OpCode::EXISTS, &exists);
    cluster.run();
    for conn in [writes, ends] {
        assert_eq!(cluster.replies(4, conn), []);
        assert!(cluster.is_closed(4, conn));
    }
    assert_eq!(cluster.replies(4, reads).len(), 1);
    assert!(!cluster.is_closed(4, reads));
    cluster.heal();
    cluster.pass(Duration::from_secs(5));
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3]);
    assert!(!cluster.exists(1, "/late"));
}

#[test]
fn members_are_replaced_one_by_one_until_nobody_is_left_of_the_first() {
    let mut cluster = ensemble(3, 0);
    for step in 1..=3 {
        let id = step + 3;
        cluster.add(id, &members(id, 0), dynamic);
        cluster.start(id);
        cluster.settle();
        let at = cluster.leader().expect("a leader");
        assert_eq!(reconfig(&mut cluster, at, &change(Some(&join(id)), Some(&step.to_string()))), 0);
        write(&mut cluster, id, &format!("/step-{step}"));
        cluster.kill(step, 1);
        cluster.settle();
    }
    agree(&mut cluster, &[4, 5, 6], &[4, 5, 6]);
    for id in [4, 5, 6] {
        cluster.kill(id, 1);
    }
    for id in [4, 5, 6] {
        cluster.start(id);
    }
    cluster.settle();
    for step in 1..=3 {
        assert!(cluster.exists(5, &format!("/step-{step}")));
    }
    agree(&mut cluster, &[4, 5, 6], &[4, 5, 6]);
}

#[test]
fn observers_become_participants_and_participants_observers() {
    let mut cluster = ensemble(3, 1);
    assert_eq!(cluster.role(4), Some(Role::Observing));
    assert_eq!(reconfig(&mut cluster, 4, &change(Some(&join(4)), None)), 0);
    assert_eq!(cluster.role(4), Some(Role::Following), "{}", cluster.roles());
    agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3, 4]);
    assert_eq!(reconfig(&mut cluster, 1, &change(Some("server.1=node1:2888:3888:observer;2181"), None)), 0);
    assert_eq!(cluster.role(1), Some(Role::Observing), "{}", cluster.roles());
    agree(&mut cluster, &[1, 2, 3, 4], &[2, 3, 4]);
    assert_eq!(config(&mut cluster, 1).member(ServerId(1)).map(|m| m.role), Some(MemberRole::Observer));
}

#[test]
fn reconf_checks_in_their_order() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.reconfig_enabled = true);
    cluster.start_all();
    let with_id =
        |config_id| Request::Reconfig { joining: None, leaving: Some("3"), new_members: None, config_id };
    let bulk = |new_members| Request::Reconfig {
        joining: None,
        leaving: None,
        new_members: Some(new_members),
        config_id: -1,
    };
    let two_of_five = "server.1=node1:1:2,server.2=node2:1:2,server.7=h:1:2,server.8=i:1:2";
    let version = config(&mut cluster, 1).version();
    for id in [1, 3] {
        assert_eq!(reconfig(&mut cluster, id, &with_id(7)), -103);
        assert_eq!(reconfig(&mut cluster, id, &bulk("server.1=node1")), -8);
        assert_eq!(reconfig(&mut cluster, id, &bulk("server.1=node1:1:2")), -8);
        assert_eq!(reconfig(&mut cluster, id, &bulk(two_of_five)), -13);
        assert_eq!(reconfig(&mut cluster, id, &change(Some(&join(9)), Some("1,2"))), -13);
        assert_eq!(reconfig(&mut cluster, id, &with_id(version)), -102, "permission comes last");
    }
    assert_eq!(config(&mut cluster, 2).version(), version, "nothing has changed");
}

/// PARITY `qcm.frame`: servers tell each other of the members with every vote, so there must not be more of them than a
/// frame holds, nor more than a transaction.
#[test]
fn reconf_bulk_of_more_members_than_can_be_told_of_is_refused() {
    let observer = |id: i64| format!("server.{id}=10.0.0.1:2888:3888:observer;2181,");
    for (jute_max_buffer, count, accepted) in
        [(0xf_ffff, 5_000, true), (0xf_ffff, 10_000, false), (20_000, 300, true), (20_000, 400, false)]
    {
        let mut cluster = Cluster::new(&members(3, 0), |config| {
            dynamic(config);
            config.jute_max_buffer = jute_max_buffer;
            config.jute_max_buffer_extra = 0;
        });
        cluster.start_all();
        let mut text: String = (1..=3).map(|id| format!("server.{id}=node{id}:2888:3888,")).collect();
        text.extend((10_000..10_000 + count).map(observer));
        assert!(text.len() < jute_max_buffer);
        let request =
            Request::Reconfig { joining: None, leaving: None, new_members: Some(&text), config_id: -1 };
        let expected = if accepted { 0 } else { -8 };
        assert_eq!(reconfig(&mut cluster, 1, &request), expected, "{count} of {jute_max_buffer}");
        cluster.kill(3, 1);
        cluster.settle();
        write(&mut cluster, 1, "/after");
    }
}

/// A change that waits for its quorum: nothing else changes meanwhile, and what follows it waits with it.
fn under_way(cluster: &mut Cluster) -> ConnId {
    // Of the new configuration, 1, 4 and 5 acknowledge nothing.
    for id in [4, 5] {
        cluster.add(id, &members(5, 0), dynamic);
        cluster.start(id);
        cluster.settle();
    }
    let (conn, _) = cluster.client(3).expect("it serves");
    for id in [1, 4, 5] {
        cluster.hold_disk(id, true);
    }
    let joining = format!("{},{}", join(4), join(5));
    cluster.send(3, conn, 1, OpCode::RECONFIG, &change(Some(&joining), None));
    cluster.run();
    conn
}

#[test]
fn reconf_quorum_of_the_new_members_is_needed_too() {
    let mut cluster = ensemble(3, 0);
    let conn = under_way(&mut cluster);
    cluster.send(3, conn, 2, OpCode::RECONFIG, &change(None, Some("2")));
    cluster.send(3, conn, 3, OpCode::CREATE, &create("/behind"));
    cluster.run();
    assert!(cluster.replies(3, conn).is_empty(), "2 and 3 are a quorum of the old members alone");
    for id in [1, 2, 3, 4, 5] {
        let seen = cluster.kept_seen_config(id).expect("who saw the change kept it, whatever its log does");
        assert_eq!(voters(seen), [1, 2, 3, 4, 5], "server {id}");
    }
    cluster.hold_disk(4, false);
    cluster.run();
    let codes: Vec<i32> = cluster.replies(3, conn).iter().map(|reply| reply.err.0).collect();
    assert_eq!(codes, [0, -14, 0]);
    for id in [1, 5] {
        cluster.hold_disk(id, false);
    }
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]);
}

/// The leader dies at every step: with the change in its own log alone, with it in that of some, with it committed and
/// nobody told. It comes into force everywhere, for all of them had kept it as seen before their logs had it.
#[test]
fn a_leader_that_dies_over_a_change_leaves_one_configuration() {
    for (held, answered) in [(&[1, 2, 4][..], false), (&[1, 4][..], false), (&[1][..], true), (&[][..], true)]
    {
        let mut cluster = ensemble(3, 0);
        cluster.add(4, &members(4, 0), dynamic);
        cluster.start(4);
        cluster.settle();
        let (conn, _) = cluster.client(3).expect("it serves");
        for &id in held {
            cluster.hold_disk(id, true);
        }
        cluster.send(3, conn, 1, OpCode::RECONFIG, &change(Some(&join(4)), None));
        cluster.run();
        assert_eq!(!cluster.replies(3, conn).is_empty(), answered, "{held:?}");
        cluster.kill(3, 1);
        for &id in held {
            cluster.kill(id, 3);
            cluster.hold_disk(id, false);
            cluster.start(id);
        }
        cluster.settle();
        assert!(cluster.leader().is_some(), "{held:?}: {}", cluster.roles());
        write(&mut cluster, 1, "/after");
        agree(&mut cluster, &[1, 2, 4], &[1, 2, 3, 4]);
        cluster.start(3);
        cluster.settle();
        agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3, 4]);
    }
}

/// The leader dies over a change that gives an observer a vote, and the others are no quorum of the new members without
/// it. It has not heard of the change, and comes to the next leader as the observer that it is; what it promises and
/// acknowledges counts all the same, as with ZooKeeper.
#[test]
fn an_observer_to_which_a_change_under_way_gives_a_vote_makes_up_the_quorum() {
    let mut cluster = ensemble(3, 1);
    let (conn, _) = cluster.client(3).expect("it serves");
    cluster.hold_disk(1, true);
    cluster.send(3, conn, 1, OpCode::RECONFIG, &change(Some(&join(4)), None));
    cluster.run();
    assert!(cluster.replies(3, conn).is_empty(), "2 and 3 are no quorum of four");
    cluster.kill(3, 1);
    cluster.hold_disk(1, false);
    cluster.settle();
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    assert!(matches!(cluster.role(4), Some(Role::Following | Role::Leading)), "{}", cluster.roles());
    agree(&mut cluster, &[1, 2, 4], &[1, 2, 3, 4]);
    cluster.start(3);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3, 4]);
}

/// ZOOKEEPER-2172, 2865: the change is proposed after the snapshot for a server that joins was begun, and committed
/// before that server serves.
#[test]
fn a_server_that_joins_while_members_change_hears_of_it() {
    let mut cluster = ensemble(3, 0);
    cluster.add(4, &members(4, 0), dynamic);
    cluster.start(4);
    // Its disk takes the snapshot, and then no more for a while: it does not get to NEWLEADER's acknowledgement.
    cluster.pass(Duration::from_millis(20));
    cluster.hold_disk(4, true);
    assert_eq!(reconfig_only(&mut cluster, &change(None, Some("1"))), 0);
    cluster.hold_disk(4, false);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3, 4], &[2, 3]);
}

/// Two changes, one behind the other, while a server that joins hears of proposals and not of commits: the second shows
/// that the first is in force, whose end it hears of later. Its disk stops at every step on the way.
#[test]
fn quorum_commitandactivate_is_of_a_change_with_another_behind_it() {
    let mut between = 0;
    for limit in 0..6 {
        let mut cluster = ensemble(3, 0);
        cluster.add(4, &members(4, 0), dynamic);
        cluster.limit_disk(4, Some(limit));
        cluster.start(4);
        cluster.pass(Duration::from_millis(400));
        assert_eq!(reconfig_only(&mut cluster, &change(None, Some("1"))), 0);
        assert_eq!(reconfig_only(&mut cluster, &change(Some(&join(1)), None)), 0);
        cluster.limit_disk(4, None);
        cluster.settle();
        agree(&mut cluster, &[1, 2, 3, 4], &[1, 2, 3]);
        let bad = |event: &&Event| matches!(event, Event::LeaderLost { why: LostReason::BadMessage });
        assert_eq!(cluster.events(4).iter().find(bad), None, "{limit}");
        let begins = |event: &&Event| !matches!(event, Event::RoleTaken { role: Role::Following, .. });
        let first =
            |event: &Event| matches!(event, Event::Reconfigured { members, .. } if members.len() == 2);
        between += usize::from(cluster.events(4).iter().take_while(begins).any(first));
    }
    assert!(between > 0, "the first was never in force before its end was heard of");
}

/// A leader dies over a change that it alone has heard of, and which removes one of the other two. They are no quorum of what
/// it knows of then, and it finds them all the same, whether they serve already or one of them cannot do without it.
/// ZooKeeper's server looks for as long as it runs.
#[test]
fn who_alone_has_heard_of_a_change_comes_back_to_those_who_have_not() {
    for needed in [false, true] {
        let mut cluster = ensemble(3, 0);
        let (conn, _) = cluster.client(3).expect("it leads");
        for id in [1, 2] {
            cluster.silence(3, id);
        }
        cluster.send(3, conn, 1, OpCode::RECONFIG, &change(None, Some("1")));
        cluster.run();
        let seen = cluster.kept_seen_config(3).expect("it was proposed");
        assert_eq!(voters(seen), [2, 3]);
        cluster.kill(3, 1);
        cluster.heal();
        cluster.settle();
        write(&mut cluster, 1, "/without-it");
        if needed {
            cluster.kill(2, 1);
        }
        cluster.start(3);
        cluster.settle();
        write(&mut cluster, 3, "/with-it");
        if needed {
            cluster.start(2);
            cluster.settle();
        }
        agree(&mut cluster, &[1, 2, 3], &[1, 2, 3]);
    }
}

/// A server that alone has logged a change learns from a leader that alone has logged another one, by a snapshot that has
/// that in the tree already; and that leader dies, too, wherever the server is with it. Whoever it then leads or follows, all
/// end with one configuration: the one in force it had from that leader before, and of its own change nobody else has heard.
#[test]
fn a_snapshot_with_a_change_that_is_not_committed_takes_the_place_of_another() {
    let mut snapshots = 0;
    for steps in 0..12 {
        let mut cluster = ensemble(3, 0);
        add(&mut cluster, 4);
        let (conn, _) = cluster.client(3).expect("it leads");
        for id in [1, 2, 4] {
            cluster.silence(3, id);
        }
        cluster.send(3, conn, 1, OpCode::RECONFIG, &change(None, Some("1")));
        cluster.run();
        assert_eq!(cluster.kept_seen_config(3).map(voters), Some(vec![2, 3]));
        cluster.kill(3, 1);
        cluster.heal();
        cluster.settle();
        assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
        let (conn, _) = cluster.client(2).expect("it leads");
        for id in [1, 4] {
            cluster.silence(2, id);
        }
        let observer = format!("{}:observer", join(4).split(';').next().expect("its ports"));
        let joining = format!("{observer};2184");
        cluster.send(2, conn, 1, OpCode::RECONFIG, &change(Some(&joining), None));
        cluster.run();
        let proposed = cluster.kept_seen_config(2).expect("it was proposed").clone();
        assert_eq!((voters(&proposed), proposed.members().len()), (vec![1, 2, 3], 4));
        for id in [1, 2, 4] {
            cluster.kill(id, 1);
        }
        cluster.heal();
        cluster.start(2);
        cluster.limit_disk(3, Some(steps));
        cluster.start(3);
        cluster.pass(Duration::from_secs(1));
        cluster.kill(2, 1);
        cluster.kill(3, 1);
        cluster.limit_disk(3, None);
        snapshots += usize::from(cluster.kept_seen_config(3) == Some(&proposed));
        cluster.start(3);
        cluster.start(1);
        cluster.settle();
        write(&mut cluster, 1, "/without-it");
        cluster.start(2);
        cluster.settle();
        write(&mut cluster, 2, "/with-it");
        agree(&mut cluster, &[1, 2, 3], &[1, 2, 3]);
    }
    assert!(snapshots > 0, "at one step it had only the change of the leader that died");
}

/// Two servers join while a change of members is under way, and are told of it as a leader of ZooKeeper tells: as what the
/// epoch begins with, before anybody agreed on it.
fn join_mid_change(next: &Membership) -> Cluster {
    let mut cluster = ensemble(3, 0);
    write(&mut cluster, 1, "/before");
    let zxid = Zxid(next.version());
    for id in [4, 5] {
        add(&mut cluster, id);
        cluster.kill(id, 1);
        cluster.silence(3, id);
    }
    let (last_zxid, _) = cluster.applied(3).expect("it leads");
    assert!(last_zxid < zxid && last_zxid.epoch() == zxid.epoch());
    let epoch = i64::from(zxid.epoch());
    for id in [4, 5] {
        cluster.start(id);
        cluster.pass(Duration::from_millis(100));
        let config = Some(Bytes::from(next.text()));
        for message in [
            Message::LeaderInfo { epoch, protocol_version: LearnerInfo::PROTOCOL_VERSION },
            Message::Diff { zxid: last_zxid },
            Message::NewLeader { zxid: Zxid(epoch << 32), config },
            Message::UpToDate,
        ] {
            cluster.forge(3, id, &message);
        }
        assert_eq!(cluster.role(id), Some(Role::Following), "{}", cluster.roles());
    }
    cluster
}

/// PARITY `quorum.uptodate`: those who joined are a quorum of the change, and the others of what is in force. Whatever
/// comes between them, only one of the two has a leader.
#[test]
fn quorum_uptodate_puts_no_change_in_force_that_is_not_committed() {
    let mut cluster = join_mid_change(&of(&[3, 4, 5]).with_version(0x1_0000_0003));
    for (one, other) in [(1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)] {
        cluster.cut(one, other);
    }
    cluster.pass(Duration::from_secs(10));
    write(&mut cluster, 1, "/by-a-quorum");
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
}

/// And with its commit it comes into force, leader and all.
#[test]
fn quorum_commitandactivate_is_of_what_the_epoch_was_said_to_begin_with() {
    let next = of(&[1, 2, 4, 5]);
    for designated in [3, 2] {
        let zxid = Zxid(0x1_0000_0003);
        let next = next.clone().with_version(zxid.0);
        let mut cluster = join_mid_change(&next);
        for id in [4, 5] {
            assert_eq!(voters(cluster.kept_config(id)), [1, 2, 3], "server {id}");
            assert_eq!(cluster.kept_seen_config(id), Some(&next), "server {id}");
        }
        let designated = ServerId(designated);
        // The real leader would have none of an acknowledgement.
        cluster.hold_disk(4, true);
        cluster.forge(3, 4, &Message::Proposal { zxid, txn: change_to(&next) });
        cluster.forge(3, 4, &Message::CommitAndActivate { zxid, designated });
        assert_eq!(cluster.kept_config(4), &next);
        assert_eq!(cluster.kept_seen_config(4), None);
        let left = |event: &Event| matches!(event, Event::LeaderLost { why: LostReason::Reconfigured });
        assert_eq!(cluster.events(4).iter().any(left), designated != ServerId(3));
    }
}

/// The transaction that changes the members.
fn change_to(next: &Membership) -> Bytes {
    let (zxid, time) = (Zxid(next.version()), WallTime(1_700_000_000_000));
    let header = TxnHeader { session: SessionId(7), cxid: 1, zxid, time, op: OpCode::RECONFIG };
    let data = Some(next.text().into_bytes().into_boxed_slice());
    let txn = Txn::SetData { path: CONFIG.into(), data, version: -1 };
    let mut bytes = Vec::new();
    txn::encode(&header, &txn, None, &mut bytes);
    Bytes::from(bytes)
}

fn reconfig_only(cluster: &mut Cluster, request: &Request<'_>) -> i32 {
    let (conn, _) = cluster.client(3).expect("it serves");
    cluster.call(3, conn, OpCode::RECONFIG, request).expect("an answer").err.0
}

/// PARITY `sync.configversion`, `fle.config`: who was away learns of the change before it may disturb anybody.
#[test]
fn who_was_away_comes_back_into_the_new_configuration() {
    let mut cluster = ensemble(5, 0);
    cluster.kill(1, 1);
    cluster.kill(2, 1);
    cluster.settle();
    assert_eq!(reconfig(&mut cluster, 3, &change(None, Some("1"))), 0);
    for id in [3, 4, 5] {
        cluster.kill(id, 1);
    }
    cluster.start(1);
    cluster.start(2);
    cluster.start(5);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(
        cluster.leader(),
        None,
        "1, 2 and 5 are a quorum of the first five, not of the four: {}",
        cluster.roles()
    );
    cluster.start(4);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 4, 5], &[2, 3, 4, 5]);
}

#[test]
fn config_watch_fires_once_for_a_change() {
    let mut cluster = ensemble(3, 0);
    let (conn, _) = cluster.client(1).expect("it serves");
    cluster
        .call(1, conn, OpCode::GET_DATA, &Request::GetData { path: CONFIG, watch: true })
        .expect("an answer");
    assert_eq!(reconfig(&mut cluster, 2, &change(None, Some("2"))), 0);
    let events: Vec<i32> = cluster.replies(1, conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(events, [-1]);
}
