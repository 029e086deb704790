//! Observers that learn from followers: scenarios in lock-step (PARITY `obs.master`).

use core::time::Duration;

use bytes::Bytes;
use zabra_core::config::{Config, FourLetterWords};
use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, create, members};
use zabra_core::testing::lone::{frame, new_session};
use zabra_core::types::{ConnId, ErrorCode, Message, OpCode, SessionId};
use zabra_core::wire::Request;
use zabra_core::wire::connect::ConnectRequest;

const PORT: u16 = 2191;

fn with_masters(config: &mut Config) {
    config.four_letter_words = FourLetterWords::All;
    config.ensemble.as_mut().expect("a member").observer_master_port = Some(PORT);
}

fn ensemble(voters: i64, observers: i64, change: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::new(&members(voters, observers), |config| {
        with_masters(config);
        change(config);
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(voters), "{}", cluster.roles());
    cluster
}

/// Whom an observer learns from.
fn master(cluster: &mut Cluster, id: i64) -> i64 {
    metric(cluster, id, "zk_observer_master_id").unwrap_or_else(|| panic!("{id}: {}", cluster.roles()))
}

fn metric(cluster: &mut Cluster, id: i64, name: &str) -> Option<i64> {
    let text = cluster.word(id, b"mntr");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Every server has applied the same transactions, with the same outcome.
fn agree(cluster: &mut Cluster, ids: &[i64]) {
    cluster.run();
    let expected = cluster.applied(ids[0]);
    assert!(expected.is_some());
    for &id in ids {
        assert_eq!(cluster.applied(id), expected, "server {id}");
        let broken = |event: &&Event| matches!(event, Event::DigestMismatch { .. });
        assert_eq!(cluster.events(id).iter().find(broken), None, "server {id}");
    }
}

fn write(cluster: &mut Cluster, id: i64, path: &str) {
    let (conn, _) = cluster.client(id).unwrap_or_else(|| panic!("{id} serves: {}", cluster.roles()));
    assert!(cluster.write(id, conn, path), "{path} by {id}");
}

fn sync(cluster: &mut Cluster, id: i64, conn: ConnId) -> ErrorCode {
    cluster.call(id, conn, OpCode::SYNC, &Request::Sync { path: "/" }).expect("an answer").err
}

/// A client comes with a session that it had.
fn come_back(cluster: &mut Cluster, id: i64, session: SessionId, password: &[u8]) -> Option<ConnId> {
    let again = ConnectRequest { session, password, ..new_session(10_000) };
    cluster.client_with(id, &again).map(|(conn, _)| conn)
}

/// A leader counts who comes to it, and not who learns from a follower, as in ZooKeeper; so an observer is no help to a change
/// that gives it a vote. But when the leader dies over that change, and the others are no quorum of the new members without
/// the observer, no follower serves it, and it comes to the next leader itself. ZooKeeper's does not.
#[test]
fn obs_master_who_is_to_have_a_vote_comes_to_a_leader_that_needs_it() {
    let mut cluster = ensemble(3, 1, |config| {
        config.reconfig_enabled = true;
        config.skip_acl = true;
    });
    assert!(matches!(master(&mut cluster, 4), 1 | 2));
    let (conn, _) = cluster.client(3).expect("it leads");
    cluster.hold_disk(1, true);
    let joining = Some("server.4=node4:2888:3888;2184");
    let request = Request::Reconfig { joining, leaving: None, new_members: None, config_id: -1 };
    cluster.send(3, conn, 1, OpCode::RECONFIG, &request);
    cluster.run();
    assert!(cluster.replies(3, conn).is_empty(), "2 and 3 are no quorum of four");
    cluster.kill(3, 1);
    cluster.hold_disk(1, false);
    cluster.settle();
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    assert!(matches!(cluster.role(4), Some(Role::Following | Role::Leading)), "{}", cluster.roles());
    write(&mut cluster, 4, "/by-three-of-four");
    agree(&mut cluster, &[1, 2, 4]);
}

#[test]
fn obs_master_observers_follow_followers_and_their_clients_notice_nothing() {
    let mut cluster = ensemble(3, 4, |_| {});
    let masters: Vec<i64> = (4..=7).map(|id| master(&mut cluster, id)).collect();
    assert!(masters.iter().all(|&master| master == 1 || master == 2), "{masters:?}");
    assert_eq!(metric(&mut cluster, 3, "zk_learners"), Some(2), "the leader has no observer");
    for follower in [1, 2] {
        let count = masters.iter().filter(|&&master| master == follower).count() as i64;
        assert_eq!(metric(&mut cluster, follower, "zk_synced_observers"), Some(count));
    }
    for id in 1..=7 {
        write(&mut cluster, id, &format!("/by{id}"));
    }
    agree(&mut cluster, &[1, 2, 3, 4, 5, 6, 7]);
    for id in 4..=7 {
        let (conn, _) = cluster.client(id).expect("a session");
        assert_eq!(sync(&mut cluster, id, conn), ErrorCode::OK);
        let (taken, other) = (create("/by1"), create("/more"));
        let reply = cluster.call(id, conn, OpCode::CREATE, &taken).expect("an answer");
        assert_eq!(reply.err, ErrorCode::NODEEXISTS);
        cluster.send(id, conn, 2, OpCode::CREATE, &other);
        cluster.send(id, conn, 3, OpCode::SYNC, &Request::Sync { path: "/" });
        cluster.send(id, conn, 4, OpCode::DELETE, &Request::Delete { path: "/more", version: -1 });
        cluster.run();
        let replies: Vec<_> =
            cluster.replies(id, conn).iter().map(|reply| (reply.xid, reply.err.0)).collect();
        assert_eq!(replies, [(2, 0), (3, 0), (4, 0)], "server {id}");
    }
    agree(&mut cluster, &[1, 2, 3, 4, 5, 6, 7]);
}

/// Pings of clients of an observer come to the leader by way of the follower: it lets none of their sessions expire.
#[test]
fn obs_master_sessions_of_observers_live_as_long_as_their_clients() {
    let mut cluster = ensemble(3, 1, |_| {});
    let (busy, opened) = cluster.client_with(4, &new_session(1000)).expect("a session");
    let (_, silent) = cluster.client_with(4, &new_session(1000)).expect("a session");
    for _ in 0..40 {
        cluster.pass(Duration::from_millis(100));
        assert_eq!(sync(&mut cluster, 4, busy), ErrorCode::OK);
    }
    let expired = |event: &&Event| matches!(event, Event::SessionExpired { .. });
    let expired: Vec<&Event> = cluster.events(3).iter().filter(expired).collect();
    assert_eq!(expired, [&Event::SessionExpired { session: silent.session }], "not {}", opened.session);
}

#[test]
fn obs_master_that_dies_is_replaced_and_no_session_ends() {
    let mut cluster = ensemble(5, 2, |_| {});
    let (_, opened) = cluster.client(6).expect("a session");
    let (session, password) = (opened.session, opened.password);
    let mut dead = Vec::new();
    for round in 0..2 {
        let before = master(&mut cluster, 6);
        cluster.kill(before, 0);
        dead.push(before);
        cluster.pass(Duration::from_secs(2));
        cluster.settle();
        let after = master(&mut cluster, 6);
        assert!(!dead.contains(&after) && after != 5, "{after} behind {dead:?}");
        let conn = come_back(&mut cluster, 6, session, &password).expect("its session goes on");
        assert!(cluster.write(6, conn, &format!("/round{round}")));
    }
    let alive: Vec<i64> = (1..=7).filter(|id| !dead.contains(id)).collect();
    agree(&mut cluster, &alive);
}

#[test]
fn obs_master_goes_with_its_leader_and_observers_come_back() {
    let mut cluster = ensemble(3, 2, |_| {});
    let (conn, opened) = cluster.client(4).expect("a session");
    cluster.kill(3, 0);
    cluster.run();
    assert!(cluster.is_closed(4, conn), "who leaves its leader closes every link, and they their clients");
    cluster.pass(Duration::from_secs(3));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
    for id in [4, 5] {
        assert_eq!(cluster.role(id), Some(Role::Observing));
        assert_eq!(master(&mut cluster, id), 1, "the only follower that is left");
    }
    let conn = come_back(&mut cluster, 4, opened.session, &opened.password).expect("its session goes on");
    assert!(cluster.write(4, conn, "/after"));
    cluster.start(3);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3, 4, 5]);
}

/// An observer hears of a new leader, and comes to a follower of the old one, which does not have everything that the new
/// one was elected for. That is no hole.
#[test]
fn sync_contiguous_a_master_that_is_behind_the_new_leader_has_no_hole() {
    let mut cluster = ensemble(5, 1, |config| {
        // The old leader looks after its followers once a tick or two.
        config.tick_time = Duration::from_secs(20);
        let masters = &mut config.ensemble.as_mut().expect("a member").observer_master_port;
        *masters = masters.filter(|_| matches!(config.server_id, 1 | 6));
    });
    write(&mut cluster, 5, "/committed");
    cluster.kill(6, 0);
    let (conn, _) = cluster.client(5).expect("it leads");
    for id in 1..=3 {
        cluster.hold_disk(id, true);
    }
    cluster.send(5, conn, 1, OpCode::CREATE, &create("/by-two-of-five"));
    cluster.run();
    for (one, other) in [(5, 2), (5, 3), (5, 4), (1, 2), (1, 3), (1, 4), (5, 6)] {
        cluster.cut(one, other);
    }
    for id in 2..=3 {
        cluster.hold_disk(id, false);
    }
    cluster.pass(Duration::from_secs(2));
    assert_eq!([1, 4].map(|id| cluster.role(id)), [Some(Role::Following), Some(Role::Leading)]);
    cluster.start(6);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.role(6), Some(Role::Observing), "{}", cluster.roles());
    assert_eq!(master(&mut cluster, 6), 1, "it hears of the new leader, and finds no other master");
    let asked = |event: &&Event| matches!(event, Event::SnapshotAskedFor { .. });
    assert_eq!(cluster.events(6).iter().find(asked), None);
    cluster.hold_disk(1, false);
    cluster.heal();
    cluster.kill(5, 0);
    cluster.start(5);
    cluster.pass(Duration::from_secs(60));
    agree(&mut cluster, &[1, 2, 3, 4, 5, 6]);
}

/// Nobody serves observers: then the leader does, as without the port.
#[test]
fn obs_master_none_is_there_so_the_leader_serves_them() {
    let mut cluster = ensemble(3, 2, |config| {
        if config.server_id <= 3 {
            config.ensemble.as_mut().expect("a member").observer_master_port = None;
        }
    });
    for id in [4, 5] {
        assert_eq!(master(&mut cluster, id), 3);
    }
    assert_eq!(metric(&mut cluster, 3, "zk_synced_observers"), Some(2));
    write(&mut cluster, 4, "/a");
    agree(&mut cluster, &[1, 2, 3, 4, 5]);
}

/// `obs.master.diff`: from memory, from the log on disk, and by a snapshot, while writes go on.
#[test]
fn obs_master_diff_brings_up_who_was_away_for_short_and_for_long() {
    for (missed, commit_log_count, snap_count) in
        [(0, 500, 100_000), (5, 500, 100_000), (60, 10, 100_000), (60, 10, 8)]
    {
        let mut cluster = ensemble(3, 1, |config| {
            config.snap_count = snap_count;
            config.ensemble.as_mut().expect("a member").commit_log_count = commit_log_count;
        });
        write(&mut cluster, 4, "/before");
        cluster.kill(4, 0);
        let (conn, _) = cluster.client(1).expect("a session");
        for number in 0..missed {
            assert!(cluster.write(1, conn, &format!("/n{number}")));
        }
        cluster.start(4);
        for number in 0..20 {
            cluster.send(1, conn, number, OpCode::CREATE, &create(&format!("/m{number}")));
        }
        cluster.settle();
        assert_ne!(master(&mut cluster, 4), 3);
        write(&mut cluster, 4, "/behind");
        agree(&mut cluster, &[1, 2, 3, 4]);
        let installed = |event: &Event| matches!(event, Event::SnapshotInstalled { .. });
        let by_snapshot = cluster.events(4).iter().filter(|event| installed(event)).count();
        assert!(by_snapshot <= usize::from(missed > 5), "{missed} missed: {by_snapshot}");
    }
}

/// What a follower has only been proposed is no observer's business, neither when it comes nor when the observer does.
#[test]
fn obs_master_observers_hear_of_nothing_that_is_not_committed() {
    let mut cluster = ensemble(3, 1, |_| {});
    let (conn, _) = cluster.client(3).expect("a session");
    let before = cluster.applied(4);
    for id in [1, 2] {
        cluster.hold_disk(id, true);
    }
    cluster.send(3, conn, 1, OpCode::CREATE, &create("/proposed"));
    cluster.run();
    assert_eq!(cluster.applied(4), before);
    cluster.kill(4, 0);
    cluster.start(4);
    cluster.pass(Duration::from_millis(300));
    assert_eq!((cluster.role(4), cluster.applied(4)), (Some(Role::Observing), before));
    for id in [1, 2] {
        cluster.hold_disk(id, false);
    }
    cluster.pass(Duration::from_millis(100));
    assert!(cluster.exists(4, "/proposed"));
    agree(&mut cluster, &[1, 2, 3, 4]);
}

/// To the leader both observers are one follower; that follower knows whose a session is.
#[test]
fn obs_master_a_session_that_moved_takes_nothing_from_where_it_was() {
    // Server 2 leads, so 1 serves both observers.
    let mut cluster = ensemble(2, 2, |_| {});
    let (old, opened) = cluster.client(3).expect("a session");
    let (session, password) = (opened.session, opened.password);
    assert!(cluster.write(3, old, "/at3"));
    let mut from = (3, old);
    for (step, to) in [4, 1, 3, 1, 4, 2, 4, 3, 2, 3].into_iter().enumerate() {
        let conn = come_back(&mut cluster, to, session, &password).expect("its session goes on");
        let late = format!("/late{step}");
        if !cluster.is_closed(from.0, from.1) {
            let reply = cluster.call(from.0, from.1, OpCode::CREATE, &create(&late));
            assert!(reply.is_none_or(|reply| reply.err != ErrorCode::OK), "{from:?} to {to}");
        }
        assert!(!cluster.exists(to, &late), "{from:?} to {to}");
        assert!(cluster.write(to, conn, &format!("/step{step}")), "{from:?} to {to}");
        from = (to, conn);
    }
    agree(&mut cluster, &[1, 2, 3, 4]);
    let (_, closed) = cluster.client(3).expect("a session");
    assert!(come_back(&mut cluster, 4, SessionId(closed.session.0 + 77), &closed.password).is_none());
}

/// PARITY `req.sessionmoved` (ZOOKEEPER-710): another observer asks late for a session that its client took away again.
#[test]
fn obs_master_a_client_is_sent_away_from_where_its_session_is_not_served() {
    let mut cluster = ensemble(2, 2, |_| {});
    let (conn, opened) = cluster.client(4).expect("a session");
    let (session, password) = (opened.session, opened.password);
    assert!(cluster.write(4, conn, "/before"));
    cluster.forge(3, 1, &Message::Revalidate { session, timeout_ms: 10_000 });
    assert_eq!(cluster.call(4, conn, OpCode::CREATE, &create("/late")), None);
    assert!(cluster.is_closed(4, conn));
    let conn = come_back(&mut cluster, 4, session, &password).expect("its session goes on");
    assert!(!cluster.exists(4, "/late"));
    assert!(cluster.write(4, conn, "/after"));
    cluster.forge(3, 1, &Message::Revalidate { session, timeout_ms: 10_000 });
    let reply = cluster.call(4, conn, OpCode::CLOSE_SESSION, &Request::CloseSession).expect("an answer");
    assert_eq!(reply.err, ErrorCode::OK);
    assert!(come_back(&mut cluster, 3, session, &password).is_none(), "it has ended");
    agree(&mut cluster, &[1, 2, 3, 4]);
}

/// PARITY `sess.owner`: the same when it was at the follower itself, and its connection there has gone since.
#[test]
fn sess_owner_an_observer_that_is_late_comes_to_nothing() {
    let mut cluster = ensemble(2, 2, |_| {});
    let (old, opened) = cluster.client(3).expect("a session");
    let (session, password) = (opened.session, opened.password);
    assert!(cluster.write(3, old, "/at3"));
    for at in [1, 2] {
        let conn = come_back(&mut cluster, at, session, &password).expect("its session goes on");
        assert!(cluster.write(at, conn, &format!("/at{at}")));
        cluster.leave(at, conn);
        cluster.forge(if at == 1 { 3 } else { 1 }, at, &late_write(session, "/late"));
        assert!(!cluster.exists(at, "/late"), "behind what server {at} took");
    }
    let conn = come_back(&mut cluster, 3, session, &password).expect("its session goes on");
    assert!(cluster.write(3, conn, "/at3again"));
    agree(&mut cluster, &[1, 2, 3, 4]);
}

/// What a learner passes on for a client that sent it before it went elsewhere.
fn late_write(session: SessionId, path: &str) -> Message {
    let frame = frame(77, OpCode::CREATE, &create(path));
    // Behind its length, its number and its operation.
    let body = Bytes::copy_from_slice(&frame[12..]);
    Message::Request { session, cxid: 77, op: OpCode::CREATE, body, identities: vec![] }
}

/// An ephemeral znode of an observer's client goes when its session is closed by way of two servers.
#[test]
fn obs_master_sessions_end_by_way_of_the_follower() {
    let mut cluster = ensemble(3, 1, |_| {});
    let (conn, opened) = cluster.client(4).expect("a session");
    let request = Request::Create {
        path: "/e",
        data: None,
        acl: Some(zabra_core::types::AclList::OpenUnsafe),
        flags: 1,
        ttl: None,
    };
    assert_eq!(cluster.call(4, conn, OpCode::CREATE, &request).expect("an answer").err, ErrorCode::OK);
    assert!(cluster.exists(1, "/e"));
    let reply = cluster.call(4, conn, OpCode::CLOSE_SESSION, &Request::CloseSession).expect("an answer");
    assert_eq!(reply.err, ErrorCode::OK);
    for id in 1..=4 {
        assert!(!cluster.exists(id, "/e"), "server {id}");
    }
    assert!(come_back(&mut cluster, 4, opened.session, &opened.password).is_none());
}

/// INFORMANDACTIVATE: members change, and observers of a follower act by it at once.
#[test]
fn obs_master_a_change_of_members_reaches_observers() {
    let mut cluster = ensemble(4, 2, |config| {
        config.reconfig_enabled = true;
        config.skip_acl = true;
    });
    let config = |cluster: &mut Cluster, leaving: &str| {
        let (conn, _) = cluster.client(4).expect("it leads");
        let request =
            Request::Reconfig { joining: None, leaving: Some(leaving), new_members: None, config_id: -1 };
        let reply = cluster.call(4, conn, OpCode::RECONFIG, &request).expect("an answer");
        assert_eq!(reply.err, ErrorCode::OK);
        cluster.pass(Duration::from_secs(2));
        cluster.settle();
    };
    let reconfigured = |cluster: &Cluster, id: i64| {
        let members = |event: &Event| match event {
            Event::Reconfigured { members, .. } => Some(members.len()),
            _ => None,
        };
        cluster.events(id).iter().rev().find_map(members)
    };
    let leaves = (1..4).find(|&id| id != master(&mut cluster, 5)).expect("there are three");
    config(&mut cluster, &leaves.to_string());
    for id in [5, 6] {
        assert_eq!(reconfigured(&cluster, id), Some(5), "server {id}");
    }
    // Now the one it learns from leaves: it may go on with it or find another.
    let leaves = master(&mut cluster, 5);
    config(&mut cluster, &leaves.to_string());
    for id in [5, 6] {
        assert_eq!(reconfigured(&cluster, id), Some(4), "server {id}");
        write(&mut cluster, id, &format!("/by{id}"));
    }
    agree(&mut cluster, &[4, 5, 6]);
}

/// PARITY `reconf.checks`: why members cannot be changed so is told to clients of an observer, too.
#[test]
fn obs_master_a_refusal_to_change_members_is_told() {
    let mut cluster = ensemble(3, 1, |config| {
        config.reconfig_enabled = true;
        config.skip_acl = true;
    });
    assert_ne!(master(&mut cluster, 4), 3);
    let (conn, _) = cluster.client(4).expect("a session");
    for (leaving, code) in [("1x", ErrorCode::MARSHALLINGERROR), ("1,2", ErrorCode::BADARGUMENTS)] {
        let request =
            Request::Reconfig { joining: None, leaving: Some(leaving), new_members: None, config_id: -1 };
        let reply = cluster.call(4, conn, OpCode::RECONFIG, &request).expect("an answer");
        assert_eq!(reply.err, code, "{leaving}");
    }
    assert!(cluster.write(4, conn, "/after"));
}

/// Local sessions of an observer's clients, and their upgrade, take the same way.
#[test]
fn obs_master_local_sessions_become_known_by_way_of_the_follower() {
    let mut cluster = ensemble(3, 1, |config| {
        let ensemble = config.ensemble.as_mut().expect("a member");
        ensemble.local_sessions = true;
        ensemble.local_sessions_upgrading = true;
    });
    let (conn, _) = cluster.client(4).expect("a session");
    assert!(cluster.write(4, conn, "/plain"));
    let acl = Some(zabra_core::types::AclList::OpenUnsafe);
    let request = Request::Create { path: "/e", data: None, acl, flags: 1, ttl: None };
    assert_eq!(cluster.call(4, conn, OpCode::CREATE, &request).expect("an answer").err, ErrorCode::OK);
    agree(&mut cluster, &[1, 2, 3, 4]);
}
