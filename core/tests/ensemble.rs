//! Servers of one ensemble agree, lose members, and go on: scenarios in lock-step.

use core::time::Duration;

use bytes::Bytes;
use zabra_core::config::FourLetterWords;
use zabra_core::server::{CloseReason, Event, HaltReason, PeerPort, Role};
use zabra_core::store::epochs::{ACCEPTED_EPOCH, epoch_file};
use zabra_core::testing::cluster::{Cluster, create, members};
use zabra_core::testing::lone::new_session;
use zabra_core::types::{ConnId, ErrorCode, LearnerInfo, Message, OpCode, ServerId, SessionId, Zxid};
use zabra_core::wire::connect::ConnectRequest;
use zabra_core::wire::record::FileHeader;
use zabra_core::wire::{Request, quorum};
use zabra_core::zab::leader::StepDownReason;

fn agree(cluster: &mut Cluster, ids: &[i64]) {
    cluster.pass(Duration::from_millis(300));
    let first = cluster.applied(ids[0]);
    assert!(first.is_some());
    for &id in ids {
        assert_eq!(cluster.applied(id), first, "server {id}");
    }
}

fn three() -> Cluster {
    let mut cluster = Cluster::new(&members(3, 0), |_| {});
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    cluster
}

#[test]
fn three_servers_elect_a_leader_and_replicate() {
    let mut cluster = three();
    for id in [1, 2] {
        assert_eq!(cluster.role(id), Some(Role::Following), "{}", cluster.roles());
    }
    for id in [1, 2, 3] {
        let (conn, _) = cluster.client(id).expect("a session");
        assert!(cluster.write(id, conn, &format!("/by-{id}")));
    }
    agree(&mut cluster, &[1, 2, 3]);
    for id in [1, 2, 3] {
        for by in [1, 2, 3] {
            assert!(cluster.exists(id, &format!("/by-{by}")), "{id} lacks /by-{by}");
        }
    }
}

/// PARITY `zab.rollover`: an epoch that has no zxids left is followed by the next one, and nothing is lost in between.
#[test]
fn zab_rollover_goes_on_in_the_next_epoch() {
    let mut cluster = Cluster::new(&members(3, 1), |config| {
        config.ensemble.as_mut().expect("a member").last_counter = 20;
    });
    cluster.start_all();
    let mut acknowledged = Vec::new();
    for _ in 0..5 {
        // An observer takes its time before it looks for the next leader.
        cluster.pass(Duration::from_secs(1));
        let (conn, _) = cluster.client(4).expect("a session");
        while let path = format!("/n{}", acknowledged.len())
            && cluster.write(4, conn, &path)
        {
            acknowledged.push(path);
        }
    }
    cluster.pass(Duration::from_secs(1));
    agree(&mut cluster, &[1, 2, 3, 4]);
    let (newest, _) = cluster.applied(1).expect("it serves");
    assert!(newest.epoch() > 4, "{newest}");
    assert!(acknowledged.len() > 60, "{}", acknowledged.len());
    let (conn, _) = cluster.client(1).expect("a session");
    for path in &acknowledged {
        let reply = cluster.call(1, conn, OpCode::EXISTS, &Request::Exists { path, watch: false });
        assert_eq!(reply.map(|reply| reply.err), Some(ErrorCode::OK), "{path}");
    }
    let used_up = Event::SteppedDown { why: StepDownReason::EpochUsedUp };
    assert!((1..=3).any(|id| cluster.events(id).contains(&used_up)), "{}", cluster.roles());
}

/// PARITY `zab.leader-not-serving`: where the leader serves nobody, the others do, and a new leader stops to.
#[test]
fn zab_leader_not_serving_clients_go_to_the_others() {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.ensemble.as_mut().expect("a member").leader_serves = false;
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    assert!(cluster.client(3).is_none(), "the leader serves");
    for id in [1, 2] {
        let (conn, _) = cluster.client(id).expect("a session");
        assert!(cluster.write(id, conn, &format!("/by-{id}")));
    }
    cluster.kill(3, 1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
    assert!(cluster.client(2).is_none(), "the new leader serves");
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/by-1-again"));
}

#[test]
fn a_leader_that_dies_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = three();
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/before"));
    cluster.kill(3, 1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
    assert!(cluster.is_closed(1, conn), "clients go when the leader does");
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/after"));
    cluster.start(3);
    cluster.settle();
    assert_eq!(cluster.role(3), Some(Role::Following), "{}", cluster.roles());
    agree(&mut cluster, &[1, 2, 3]);
    assert!(cluster.exists(3, "/before"));
    assert!(cluster.exists(3, "/after"));
}

#[test]
fn a_member_that_was_away_for_long_is_brought_up_by_a_snapshot() {
    for (count, force) in [(5, false), (30, false), (5, true)] {
        let mut cluster = Cluster::new(&members(3, 0), |config| {
            let ensemble = config.ensemble.as_mut().expect("a member");
            ensemble.commit_log_count = 10;
            ensemble.force_snapshot_sync = force;
        });
        cluster.start_all();
        cluster.kill(1, 1);
        let (conn, _) = cluster.client(2).expect("a session");
        for number in 0..count {
            assert!(cluster.write(2, conn, &format!("/n{number}")));
        }
        cluster.start(1);
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
        assert!(cluster.write(2, conn, "/last"));
        agree(&mut cluster, &[1, 2, 3]);
        cluster.kill(1, 1);
        cluster.start(1);
        cluster.settle();
        assert!(cluster.exists(1, "/n0") && cluster.exists(1, "/last"));
    }
}

/// ZOOKEEPER-1154: what only a leader of before has in its log goes when it comes back.
#[test]
fn what_was_never_committed_is_cut_off() {
    let mut cluster = three();
    let (conn, _) = cluster.client(3).expect("a session");
    assert!(cluster.write(3, conn, "/kept"));
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    cluster.send(3, conn, 9, OpCode::CREATE, &create("/lost"));
    cluster.run();
    cluster.kill(3, 1);
    cluster.settle();
    let (conn, _) = cluster.client(2).expect("a session");
    assert!(cluster.write(2, conn, "/new"));
    cluster.heal();
    cluster.start(3);
    cluster.settle();
    assert!(cluster.write(2, conn, "/newer"));
    agree(&mut cluster, &[1, 2, 3]);
    assert!(!cluster.exists(3, "/lost"));
    assert!(cluster.exists(3, "/kept") && cluster.exists(3, "/new"));
}

/// PARITY `sync.truncate.fail`: what leads up to where the log is to end is damaged. The process ends, and changes no file.
#[test]
fn sync_truncate_fail_ends_the_process() {
    let mut cluster = three();
    let (conn, _) = cluster.client(3).expect("a session");
    assert!(cluster.write(3, conn, "/a") && cluster.write(3, conn, "/b"));
    cluster.kill(1, 1);
    cluster.silence(3, 1);
    cluster.start(1);
    cluster.pass(Duration::from_millis(300));
    let mut logs = cluster.disk(1).files().iter_mut().filter(|(file, _)| file.name.starts_with("log."));
    let (_, log) = logs.next().expect("it has logged something");
    log[FileHeader::LEN + 8] ^= 1;
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    cluster.forge(3, 1, &Message::LeaderInfo { epoch: 1, protocol_version });
    assert_eq!(cluster.halted(1), None);
    let before = cluster.disk(1).files().clone();
    let target = Zxid::new(1, 1);
    cluster.forge(3, 1, &Message::Trunc { zxid: target });
    let why = cluster.halted(1);
    assert!(matches!(why, Some(HaltReason::Rewind { zxid, .. }) if *zxid == target), "{why:?}");
    assert_eq!(*cluster.disk(1).files(), before);
}

#[test]
fn obs_role_an_observer_follows_without_a_vote() {
    let mut cluster = Cluster::new(&members(3, 1), |_| {});
    cluster.start_all();
    assert_eq!(cluster.role(4), Some(Role::Observing), "{}", cluster.roles());
    let (conn, _) = cluster.client(4).expect("a session");
    assert!(cluster.write(4, conn, "/through-observer"));
    agree(&mut cluster, &[1, 2, 3, 4]);
    cluster.kill(1, 1);
    cluster.kill(2, 1);
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.leader(), None, "ZOOKEEPER-1294: an observer makes no quorum");
}

#[test]
fn sessions_move_between_servers() {
    let mut cluster = three();
    let (conn, answer) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/one"));
    let mut request = new_session(10_000);
    request.session = answer.session;
    request.password = &answer.password;
    for id in [2, 3, 1, 2] {
        let (moved, again) = cluster.client_with(id, &request).expect("the session lives");
        assert_eq!(again.session, answer.session);
        assert!(cluster.write(id, moved, &format!("/moved-{id}-{}", moved.0)));
    }
    let reply = cluster.call(1, conn, OpCode::CREATE, &create("/old"));
    assert!(reply.is_none_or(|reply| reply.err.0 != 0), "the old connection has lost its session");
}

/// PARITY `sess.touch.quorum`: a follower tells the leader whom it heard from, and the leader alone ends sessions.
#[test]
fn sess_touch_quorum_the_leader_alone_expires() {
    let mut cluster = three();
    let leader = cluster.leader().expect("somebody leads");
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).expect("two follow");
    let (conn, answer) = cluster.client(follower).expect("a session");
    let timeout = Duration::from_millis(u64::try_from(answer.timeout_ms).expect("positive"));
    let expired = Event::SessionExpired { session: answer.session };
    for _ in 0..4 {
        cluster.pass(timeout * 2 / 3);
        assert!(cluster.call(follower, conn, OpCode::PING, &Request::Ping).is_some(), "it lives");
    }
    cluster.pass(timeout / 2);
    assert!([1, 2, 3].iter().all(|id| !cluster.events(*id).contains(&expired)), "its pings were told");
    cluster.pass(timeout);
    for id in [1, 2, 3] {
        assert_eq!(cluster.events(id).contains(&expired), id == leader, "server {id}, led by {leader}");
    }
    assert!(cluster.is_closed(follower, conn), "its connection goes with it");
}

/// PARITY `sess.leaderchange`: a new leader knows nothing of when a session was heard from, and begins anew.
#[test]
fn sess_leaderchange_gives_the_full_timeout() {
    let mut cluster = three();
    let leader = cluster.leader().expect("somebody leads");
    let (conn, answer) = cluster.client(leader).expect("a session");
    assert!(cluster.write(leader, conn, "/one"));
    let timeout = Duration::from_millis(u64::try_from(answer.timeout_ms).expect("positive"));
    let expired = Event::SessionExpired { session: answer.session };
    cluster.pass(timeout * 2 / 3);
    cluster.kill(leader, 0);
    cluster.settle();
    let next = cluster.leader().expect("somebody else leads");
    assert_ne!(next, leader);
    cluster.pass(timeout * 2 / 3);
    assert!(
        !cluster.events(next).contains(&expired),
        "more than its timeout ago, but of the new leader's less"
    );
    cluster.pass(timeout);
    assert!(cluster.events(next).contains(&expired));
}

#[test]
fn op_sync_is_answered_on_every_role() {
    let mut cluster = Cluster::new(&members(3, 1), |_| {});
    cluster.start_all();
    for id in 1..=4 {
        let (conn, _) = cluster.client(id).expect("a session");
        cluster.send(id, conn, 1, OpCode::CREATE, &create(&format!("/s{id}")));
        cluster.send(id, conn, 2, OpCode::SYNC, &Request::Sync { path: "/" });
        cluster.send(
            id,
            conn,
            3,
            OpCode::EXISTS,
            &Request::Exists { path: &format!("/s{id}"), watch: false },
        );
        cluster.run();
        let replies = cluster.replies(id, conn);
        let seen: Vec<(i32, i32)> = replies.iter().map(|reply| (reply.xid, reply.err.0)).collect();
        assert_eq!(seen, [(1, 0), (2, 0), (3, 0)], "server {id}");
    }
}

/// A member stops when it is told to, whether or not the others will ever commit what it logged, or what it passed on.
#[test]
fn a_member_stops_in_order_whatever_the_others_do() {
    for id in 1..=3 {
        let mut cluster = three();
        let (conn, _) = cluster.client(id).expect("a session");
        for other in (1..=3).filter(|other| *other != id) {
            cluster.hold_disk(other, true);
        }
        cluster.send(id, conn, 9, OpCode::CREATE, &create("/never"));
        cluster.run();
        cluster.stop(id);
        // A leader that stops has no pings for its followers: they leave it after syncLimit, and nobody is left to wait for.
        cluster.pass(Duration::from_millis(if id == 3 { 400 } else { 1900 }));
        assert_eq!(cluster.halted(id), None, "server {id}: the others may still have something to say");
        cluster.pass(Duration::from_millis(200));
        assert_eq!(cluster.halted(id), Some(&HaltReason::Shutdown), "server {id}");
        assert_eq!(cluster.replies(id, conn), []);
    }
}

/// A leader that stops waits for nobody once no quorum follows it any more.
#[test]
fn a_leader_that_lost_its_quorum_stops_at_once() {
    let mut cluster = three();
    let (conn, _) = cluster.client(3).expect("a session");
    for other in [1, 2] {
        cluster.hold_disk(other, true);
    }
    cluster.send(3, conn, 9, OpCode::CREATE, &create("/never"));
    cluster.run();
    cluster.stop(3);
    cluster.cut(3, 1);
    cluster.run();
    assert_eq!(cluster.halted(3), None, "a quorum follows");
    cluster.cut(3, 2);
    cluster.run();
    assert_eq!(cluster.halted(3), Some(&HaltReason::Shutdown));
}

/// Who stops answers what it has taken from its clients: a learner listens to its leader until then, and a leader to its
/// learners. It takes nothing more on, neither from clients nor from learners.
#[test]
fn a_member_that_stops_answers_what_it_took() {
    for id in 1..=4 {
        let mut cluster = Cluster::new(&members(3, 1), |_| {});
        cluster.start_all();
        assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
        let (conn, _) = cluster.client(id).expect("a session");
        let (idle, _) = cluster.client(id).expect("a session");
        let (other, _) = cluster.client(2).expect("a session");
        for voter in 1..=3 {
            cluster.hold_disk(voter, true);
        }
        let sync = Request::Sync { path: "/" };
        cluster.send(id, conn, 1, OpCode::CREATE, &create("/taken"));
        cluster.send(id, conn, 2, OpCode::EXISTS, &Request::Exists { path: "/taken", watch: false });
        cluster.send(id, conn, 3, OpCode::SYNC, &sync);
        cluster.run();
        cluster.stop(id);
        cluster.send(id, conn, 4, OpCode::CREATE, &create("/late"));
        cluster.send(2, other, 5, OpCode::CREATE, &create("/other"));
        cluster.run();
        assert_eq!(cluster.halted(id), None, "server {id}");
        assert_eq!(cluster.close_reason(id, idle), Some(CloseReason::Shutdown), "server {id}");
        for voter in 1..=3 {
            cluster.hold_disk(voter, false);
        }
        cluster.run();
        let replies: Vec<(i32, i32)> =
            cluster.replies(id, conn).iter().map(|reply| (reply.xid, reply.err.0)).collect();
        assert_eq!(replies, [(1, 0), (2, 0), (3, 0)], "server {id}");
        assert_eq!(cluster.close_reason(id, conn), Some(CloseReason::Shutdown), "server {id}");
        assert_eq!(cluster.halted(id), Some(&HaltReason::Shutdown), "server {id}");
        let answered = cluster.replies(2, other).iter().any(|reply| reply.xid == 5);
        assert_eq!(answered, id == 1 || id == 4, "server {id}: who stops takes no more on");
        cluster.start(id);
        cluster.settle();
        assert!(cluster.exists(id, "/taken"));
        assert!(!cluster.exists(id, "/late"));
    }
}

/// While a leader proposes, a log is never at rest: who stops takes nothing more on.
#[test]
fn a_follower_stops_in_the_midst_of_writes() {
    let mut cluster = three();
    let (conn, _) = cluster.client(2).expect("a session");
    cluster.hold_disk(1, true);
    assert!(cluster.write(2, conn, "/before"));
    cluster.stop(1);
    for number in 0..20 {
        assert!(cluster.write(2, conn, &format!("/{number}")));
        // Slower than what comes: a write to the log is two operations.
        cluster.limit_disk(1, Some(1));
        cluster.run();
    }
    assert_eq!(cluster.halted(1), Some(&HaltReason::Shutdown));
    cluster.limit_disk(1, None);
    cluster.start(1);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3]);
}

/// PARITY `sync.choice.txnlog`: a leader that was started anew, from a snapshot that is ahead of a learner, still has
/// the log files from before it, and sends what is in there; unless it is told not to, or one of them is gone.
#[test]
fn sync_choice_txnlog_reaches_back_behind_the_snapshot_of_a_restart() {
    for (permille, gone, by_snapshot) in
        [(Some(u32::MAX), false, false), (None, false, true), (Some(u32::MAX), true, true)]
    {
        let mut cluster = Cluster::new(&members(3, 0), |config| {
            config.snap_count = 8;
            config.ensemble.as_mut().expect("a member").snapshot_size_permille = permille;
        });
        cluster.start_all();
        let (conn, _) = cluster.client(2).expect("a session");
        assert!(cluster.write(2, conn, "/first"));
        cluster.kill(1, 1);
        for number in 0..40 {
            assert!(cluster.write(2, conn, &format!("/n{number}")));
        }
        for id in [2, 3] {
            cluster.kill(id, 1);
            let logs = cluster.disk(id).files().keys().filter(|file| file.name.starts_with("log."));
            let logs: Vec<_> = logs.cloned().collect();
            assert!(logs.len() > 3, "{logs:?}");
            if gone {
                cluster.disk(id).files().remove(&logs[2]);
            }
        }
        cluster.start(2);
        cluster.start(3);
        cluster.settle();
        let told = cluster.events(1).len();
        cluster.start(1);
        for _ in 0..5 {
            cluster.settle();
            cluster.pass(Duration::from_secs(1));
        }
        assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
        let installed = |event: &Event| matches!(event, Event::SnapshotInstalled { .. });
        let found = cluster.events(1)[told..].iter().any(installed);
        assert_eq!(found, by_snapshot, "{permille:?} {gone}");
        let (conn, _) = cluster.client(2).expect("a session");
        assert!(cluster.write(2, conn, "/last"));
        agree(&mut cluster, &[1, 2, 3]);
    }
}

/// PARITY `sync.diff.zxid`: DIFF names the last transaction that is committed, however much of it the learner lacks.
#[test]
fn sync_diff_zxid_is_of_the_last_commit() {
    let mut cluster = three();
    let (conn, _) = cluster.client(3).expect("a session");
    for number in 0..5 {
        assert!(cluster.write(3, conn, &format!("/n{number}")));
    }
    let (committed, _) = cluster.applied(3).expect("it leads");
    let epoch = i64::from(committed.epoch());
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    let mut expected = Vec::new();
    quorum::encode(&Message::LeaderInfo { epoch, protocol_version }, &mut expected);
    quorum::encode(&Message::Diff { zxid: committed }, &mut expected);
    for lacks in 0..4 {
        let link = cluster.knock(3, PeerPort::Quorum);
        let info = LearnerInfo { server: Some(ServerId(99)), protocol_version, config_version: 0 };
        let mut says = Vec::new();
        quorum::encode(&Message::ObserverInfo { accepted_epoch: epoch, info }, &mut says);
        let last_zxid = Zxid(committed.0 - lacks);
        quorum::encode(&Message::AckEpoch { last_zxid, current_epoch: 1 }, &mut says);
        cluster.tell(3, link, Bytes::from(says));
        assert!(cluster.received(3, link).starts_with(&expected), "{lacks} behind");
    }
}

/// PARITY `quorum.revalidate`: that a session has ended is said by a leader that a quorum still follows, to its own clients
/// and to those of learners. One that was deposed without knowing cannot know.
#[test]
fn quorum_revalidate_a_session_is_over_only_where_a_quorum_follows() {
    let mut cluster = three();
    let (conn, answer) = cluster.client(1).expect("a session");
    cluster.call(1, conn, OpCode::CLOSE_SESSION, &Request::CloseSession).expect("an answer");
    agree(&mut cluster, &[1, 2, 3]);
    let (session, password) = (answer.session, answer.password);
    let again = ConnectRequest { session, password: &password, ..new_session(10_000) };
    for at in [2, 3] {
        let conn = cluster.introduce(at, &again);
        let told = cluster.introduced(at, conn).map(|answer| answer.session);
        assert_eq!(told, Some(SessionId::NONE), "it has ended");
    }
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    let conn = cluster.introduce(3, &again);
    assert_eq!(cluster.role(3), Some(Role::Leading), "it has not noticed");
    assert!(cluster.introduced(3, conn).is_none() && !cluster.is_closed(3, conn), "it cannot know");
    cluster.pass(Duration::from_secs(10));
    assert!(cluster.introduced(3, conn).is_none() && cluster.is_closed(3, conn), "the client goes elsewhere");
}

/// PARITY `conn.revalidate`: a session that has ended leaves nothing behind where it is asked for, however often.
#[test]
fn conn_revalidate_of_a_session_that_ended_is_forgotten() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.four_letter_words = FourLetterWords::All);
    cluster.start_all();
    let (conn, answer) = cluster.client(1).expect("a session");
    let closed = cluster.call(1, conn, OpCode::CLOSE_SESSION, &Request::CloseSession).expect("an answer");
    assert_eq!(closed.err.0, 0);
    let mut again = new_session(10_000);
    again.session = answer.session;
    again.password = &answer.password;
    for _ in 0..3 {
        assert!(cluster.client_with(1, &again).is_none(), "it has ended");
    }
    let metrics = cluster.word(1, b"mntr");
    assert!(metrics.contains("zk_global_sessions\t0\n"), "{metrics}");
}

/// A server that does not run has promised `epoch` before.
fn promised(cluster: &mut Cluster, id: i64, epoch: i64) {
    let known = cluster.disk(id).files().insert(epoch_file(ACCEPTED_EPOCH), epoch.to_string().into_bytes());
    assert!(known.is_some(), "it has run before");
}

/// An observer that has promised a later epoch than its leader's is of no use to it, and no quorum needs it. It comes
/// back, since leaders change; but not without an end as fast as it can.
#[test]
fn an_observer_that_promised_more_than_the_epoch_comes_back_at_times() {
    let mut cluster = Cluster::new(&members(3, 1), |config| {
        config.tick_time = Duration::from_secs(2);
        config.ensemble.as_mut().expect("a member").observer_election_delay = Duration::ZERO;
    });
    cluster.start_all();
    cluster.kill(4, 1);
    promised(&mut cluster, 4, 50);
    let before = cluster.events(4).len();
    cluster.start(4);
    cluster.pass(Duration::from_secs(60));
    let lost =
        cluster.events(4)[before..].iter().filter(|event| matches!(event, Event::LeaderLost { .. })).count();
    // Five times within three seconds, and then once in a tick.
    assert!((20..=40).contains(&lost), "{lost}: {}", cluster.roles());
    assert_eq!(cluster.leader(), Some(3), "nobody else is bothered");
    // Leaders before that epoch come and go, until it is over.
    cluster.kill(1, 1);
    promised(&mut cluster, 1, 60);
    cluster.start(1);
    cluster.pass(Duration::from_secs(5));
    assert_eq!(cluster.role(4), Some(Role::Observing), "{}", cluster.roles());
}

/// A voter that has promised a later epoch than its leader's ends that one, once: the next is later than its promise,
/// whether it is there in time or not.
#[test]
fn a_voter_that_promised_more_than_the_epoch_ends_one_leadership() {
    let mut cluster = three();
    cluster.kill(1, 1);
    promised(&mut cluster, 1, 50);
    cluster.start(1);
    cluster.pass(Duration::from_secs(20));
    assert_eq!((cluster.leader(), cluster.role(1)), (Some(3), Some(Role::Following)), "{}", cluster.roles());
    let lost = |event: &&Event| matches!(event, Event::SteppedDown { .. });
    assert_eq!(cluster.events(3).iter().filter(lost).count(), 1);
}

/// PARITY `req.sessionmoved` (ZOOKEEPER-710): a server that its client gave up on asks for the session late, and has it
/// from then on. Where the client is, its writes come to nothing until it comes again: so it is sent away.
#[test]
fn req_sessionmoved_sends_the_client_away_from_where_it_is_not_served() {
    for at in [2, 3] {
        let mut cluster = three();
        let (conn, answer) = cluster.client(at).expect("a session");
        assert!(cluster.write(at, conn, "/before"));
        let session = answer.session;
        cluster.forge(1, 3, &Message::Revalidate { session, timeout_ms: 10_000 });
        // The leader knows, and closes the connection at once. Elsewhere what the client asked before is answered.
        let (before, why): (&[i32], _) = match at {
            2 => (&[7], CloseReason::SessionServedElsewhere),
            _ => (&[], CloseReason::SessionMoved),
        };
        cluster.send(at, conn, 7, OpCode::EXISTS, &Request::Exists { path: "/before", watch: false });
        cluster.send(at, conn, 8, OpCode::CREATE, &create("/late"));
        cluster.send(at, conn, 9, OpCode::EXISTS, &Request::Exists { path: "/late", watch: false });
        cluster.run();
        let answered: Vec<i32> = cluster.replies(at, conn).iter().map(|reply| reply.xid).collect();
        assert_eq!((&answered[..], cluster.close_reason(at, conn)), (before, Some(why)), "server {at}");
        let mut again = new_session(10_000);
        (again.session, again.password) = (session, &answer.password);
        let (conn, _) = cluster.client_with(at, &again).expect("the session lives");
        assert!(!cluster.exists(at, "/late"));
        assert!(cluster.write(at, conn, "/after"), "server {at}");
        // It asks late once more, which does not keep the client from ending its session.
        cluster.forge(1, 3, &Message::Revalidate { session, timeout_ms: 10_000 });
        if at == 2 {
            let closed = cluster.call(2, conn, OpCode::CLOSE_SESSION, &Request::CloseSession);
            assert_eq!(closed.expect("an answer").err, ErrorCode::OK);
            assert!(cluster.client_with(1, &again).is_none(), "it has ended");
        }
    }
}

/// PARITY `lim.outstanding`: what a full log keeps waiting goes on once there is room in it, though all that was written
/// was committed by then.
#[test]
fn lim_outstanding_clients_go_on_when_the_log_of_a_slow_disk_has_room() {
    for (id, slow) in [(3, "the leader"), (4, "an observer")] {
        let mut cluster = Cluster::new(&members(3, 1), |config| config.log_buffer_max = 2000);
        cluster.start_all();
        assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
        let (writer, _) = cluster.client(id).expect("a session");
        let (other, _) = cluster.client(id).expect("a session");
        cluster.hold_disk(id, true);
        let request = Request::SetData { path: "/", data: Some(&[7; 1000]), version: -1 };
        let mut written = 0;
        while cluster.call(id, writer, OpCode::SET_DATA, &request).is_some() {
            written += 1;
        }
        assert!((2..5).contains(&written), "{slow}: the others have {written}");
        assert_eq!(cluster.call(id, other, OpCode::PING, &Request::Ping), None, "{slow}: its log is full");
        cluster.hold_disk(id, false);
        cluster.run();
        for conn in [writer, other] {
            assert_eq!(cluster.replies(id, conn).len(), 1, "{slow}");
        }
    }
}

const SET: Request<'_> = Request::SetData { path: "/", data: Some(&[7; 1000]), version: -1 };

/// An ensemble with a client of server 1 whose session is short. The disk of the leader does nothing, and the client has
/// asked for so many writes: one is on its way to the disk, five fill the log, and four more may be held for the learner.
/// It is patient: a minute is nothing to it.
fn full_log_of_the_leader(writes: i32) -> (Cluster, ConnId) {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.log_buffer_max = 5000;
        config.ensemble.as_mut().expect("a member").sync_limit = 600;
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let (conn, _) = cluster.client_with(1, &new_session(1000)).expect("a session");
    cluster.hold_disk(3, true);
    for xid in 1..=writes {
        cluster.send(1, conn, xid, OpCode::SET_DATA, &SET);
    }
    cluster.run();
    (cluster, conn)
}

/// The numbers of the replies to a client of server 1, but for those to pings.
fn answered(cluster: &mut Cluster, conn: ConnId) -> Vec<i32> {
    cluster.replies(1, conn).iter().map(|reply| reply.xid).filter(|&xid| xid > 0).collect()
}

/// PARITY `lim.outstanding`: a leader whose log is full holds what needs room there, and goes on listening. Nobody is
/// given up, no session of a learner's client ends, and what needs no room is answered.
#[test]
fn lim_outstanding_a_leader_whose_log_is_full_goes_on_listening() {
    let (mut cluster, conn) = full_log_of_the_leader(9);
    assert_eq!(answered(&mut cluster, conn), [1, 2, 3, 4, 5, 6], "the others have them");
    let (other, answer) = (cluster.introduce(2, &new_session(10_000)), cluster.client(3));
    assert!(answer.is_none(), "a session is a transaction");
    for _ in 0..100 {
        cluster.pass(Duration::from_millis(100));
        cluster.send(1, conn, -2, OpCode::PING, &Request::Ping);
    }
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let ended = |event: &&Event| matches!(event, Event::SteppedDown { .. } | Event::SessionExpired { .. });
    assert_eq!(cluster.events(3).iter().find(ended), None);
    assert!(cluster.introduced(2, other).is_none(), "it waits for room");
    cluster.hold_disk(3, false);
    cluster.run();
    assert_eq!(answered(&mut cluster, conn), [7, 8, 9]);
    assert!(cluster.introduced(2, other).is_some());
    agree(&mut cluster, &[1, 2, 3]);
}

/// What needs no room in a full log is not held, unless it is behind what is.
#[test]
fn lim_outstanding_syncs_wait_only_behind_what_is_held() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.log_buffer_max = 5000);
    cluster.start_all();
    let (conn, _) = cluster.client(1).expect("a session");
    let (other, answer) = cluster.client(2).expect("a session");
    cluster.hold_disk(3, true);
    for xid in 1..=7 {
        cluster.send(1, conn, xid, OpCode::SET_DATA, &SET);
    }
    let sync = Request::Sync { path: "/" };
    cluster.send(1, conn, 8, OpCode::SYNC, &sync);
    cluster.run();
    assert_eq!(cluster.replies(1, conn).len(), 6);
    assert!(cluster.call(2, other, OpCode::SYNC, &sync).is_some());
    let mut again = new_session(10_000);
    (again.session, again.password) = (answer.session, &answer.password);
    assert!(cluster.client_with(2, &again).is_some(), "the session lives");
    cluster.hold_disk(3, false);
    cluster.run();
    let xids: Vec<i32> = cluster.replies(1, conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, [7, 8]);
}

/// What is held has a limit: beyond it a learner is not read from, and goes on once there is room.
#[test]
fn lim_outstanding_what_is_held_for_a_learner_is_bounded() {
    assert!(!full_log_of_the_leader(9).0.pauses_a_link(3));
    let (mut cluster, conn) = full_log_of_the_leader(40);
    assert!(cluster.pauses_a_link(3));
    assert_eq!(answered(&mut cluster, conn), [], "its acknowledgements are not heard either");
    cluster.hold_disk(3, false);
    cluster.run();
    assert!(!cluster.pauses_a_link(3));
    assert_eq!(answered(&mut cluster, conn), (1..=40).collect::<Vec<_>>());
    agree(&mut cluster, &[1, 2, 3]);
}

/// PARITY `lim.outstanding`: the room in a leader's log is for its learners as well as for its own clients.
#[test]
fn lim_outstanding_a_leader_shares_the_room_in_its_log_with_learners() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.log_buffer_max = 5000);
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let (conn, _) = cluster.client(1).expect("a session");
    let own: Vec<_> = (0..40).map(|_| cluster.client(3).expect("a session").0).collect();
    cluster.hold_disk(3, true);
    for xid in 1..=10 {
        cluster.send(1, conn, xid, OpCode::SET_DATA, &SET);
    }
    cluster.run();
    for &conn in &own {
        cluster.send(3, conn, 1, OpCode::SET_DATA, &SET);
    }
    cluster.run();
    assert_eq!(cluster.replies(1, conn).len(), 6);
    let answered = |cluster: &mut Cluster| {
        cluster.limit_disk(3, Some(1));
        cluster.run();
        let own = own.iter().map(|&conn| cluster.replies(3, conn).len()).sum::<usize>();
        (own, cluster.replies(1, conn).len())
    };
    assert_eq!(answered(&mut cluster), (2, 3));
    assert_eq!(answered(&mut cluster), (4, 1));
    assert_eq!(answered(&mut cluster), (5, 0));
}

/// A learner whose own log is full answers its leader for as long as it can, and does not take it for silent when it
/// listens no more, as long as its disk does anything.
#[test]
fn lim_outstanding_a_learner_whose_log_is_full_keeps_its_leader() {
    for (writes, answers) in [(8, true), (200, false)] {
        let mut cluster = Cluster::new(&members(3, 1), |config| config.log_buffer_max = 5000);
        cluster.start_all();
        assert_eq!((cluster.leader(), cluster.role(4)), (Some(3), Some(Role::Observing)));
        let (conn, _) = cluster.client(1).expect("a session");
        cluster.hold_disk(4, true);
        for xid in 1..=writes {
            cluster.send(1, conn, xid, OpCode::SET_DATA, &SET);
        }
        cluster.run();
        for step in 0..100 {
            cluster.pass(Duration::from_millis(50));
            if !answers {
                if step % 8 == 0 {
                    cluster.limit_disk(4, Some(1));
                }
                // Its own answers wait behind what it does not look at.
                cluster.forge(4, 3, &Message::Ping { zxid: Zxid::ZERO, touched: None });
            }
        }
        let lost = |event: &&Event| matches!(event, Event::LeaderLost { .. });
        assert_eq!(cluster.events(4).iter().find(lost), None, "{writes} writes");
        assert_eq!(cluster.role(4), Some(Role::Observing), "{writes} writes: {}", cluster.roles());
    }
}

/// PARITY `lim.outstanding`: what a learner passed on counts as a request in it until it is answered.
#[test]
fn lim_outstanding_what_was_sent_to_the_leader_counts() {
    for id in [1, 4] {
        let mut cluster = Cluster::new(&members(3, 1), |config| {
            config.four_letter_words = FourLetterWords::All;
            config.global_outstanding_limit = 50;
        });
        cluster.start_all();
        assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
        let (conn, _) = cluster.client(id).expect("a session");
        for voter in 1..=3 {
            cluster.hold_disk(voter, true);
        }
        for xid in 1..=200 {
            cluster.send(id, conn, xid, OpCode::CREATE, &create(&format!("/n{xid}")));
        }
        cluster.run();
        let metrics = cluster.word(id, b"mntr");
        assert!(metrics.contains("zk_outstanding_requests\t51\n"), "{metrics}");
        for voter in 1..=3 {
            cluster.hold_disk(voter, false);
        }
        cluster.run();
        let replies: Vec<(i32, i32)> =
            cluster.replies(id, conn).iter().map(|reply| (reply.xid, reply.err.0)).collect();
        assert_eq!(replies, (1..=200).map(|xid| (xid, 0)).collect::<Vec<_>>(), "server {id}");
        let metrics = cluster.word(id, b"mntr");
        assert!(metrics.contains("zk_outstanding_requests\t0\n"), "{metrics}");
    }
}

/// The same in bytes: clients wait for a leader that is slow to take what they ask for, and it is not given up.
#[test]
fn lim_outstanding_a_leader_that_is_slow_to_take_requests_is_waited_for() {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.ensemble.as_mut().expect("a member").link_outbox_bytes = 64 << 10;
    });
    cluster.start_all();
    let clients: Vec<_> = (0..40).map(|_| cluster.client(1).expect("a session").0).collect();
    let told = cluster.events(1).len();
    cluster.stall(1);
    let request = Request::SetData { path: "/", data: Some(&[7; 1000]), version: -1 };
    for xid in 1..=20 {
        for &conn in &clients {
            cluster.send(1, conn, xid, OpCode::SET_DATA, &request);
        }
        cluster.run();
    }
    let lost = |event: &&Event| matches!(event, Event::LeaderLost { .. });
    assert_eq!(cluster.events(1)[told..].iter().find(lost), None);
    for &conn in &clients {
        assert!(!cluster.is_closed(1, conn));
    }
}
