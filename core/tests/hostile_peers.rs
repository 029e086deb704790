//! Whoever reaches the ports of other servers may say anything: it ends their link, and nothing else.

use core::time::Duration;

use bytes::Bytes;
use zabra_core::config::FourLetterWords;
use zabra_core::server::{Event, HangupReason, PeerPort, Role};
use zabra_core::testing::cluster::{Cluster, create, members};
use zabra_core::time::WallTime;
use zabra_core::tree::DIGEST_VERSION;
use zabra_core::types::{
    AclList, Address, ConnId, CreateTxn, ErrorCode, LearnerInfo, LinkId, Message, NodeKind, Notification,
    OpCode, PeerState, ServerId, SessionId, SubTxn, Txn, TxnDigest, TxnHeader, Vote, Zxid,
};
use zabra_core::wire::election::{
    Frames, Hello, NOTIFICATION_VERSION, decode_notification, encode_notification,
};
use zabra_core::wire::reply::{self, MultiResult};
use zabra_core::wire::request::MultiOp;
use zabra_core::wire::{Request, quorum, txn};
use zabra_core::zab::learner::LostReason;

fn ensemble(voters: i64, observers: i64) -> Cluster {
    let mut cluster =
        Cluster::new(&members(voters, observers), |config| config.four_letter_words = FourLetterWords::All);
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(voters), "{}", cluster.roles());
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/before"));
    cluster
}

/// How a server greets on the election port of another.
fn greeting(id: i64) -> Bytes {
    let mut hello = Vec::new();
    let address = Address { host: format!("node{id}"), port: 3888 };
    Hello { server: ServerId(id), addresses: vec![address] }.encode(&mut hello);
    Bytes::from(hello)
}

/// The bytes of a transaction that is as good as any.
fn transaction(zxid: Zxid) -> Bytes {
    let mut bytes = Vec::new();
    txn::encode(&header(zxid), &Txn::CreateSession { timeout_ms: 10_000 }, None, &mut bytes);
    Bytes::from(bytes)
}

fn header(zxid: Zxid) -> TxnHeader {
    let time = WallTime(1_700_000_000_000);
    TxnHeader { session: SessionId(0x77), cxid: 0, zxid, time, op: OpCode::CREATE_SESSION }
}

/// A member left its leader because of what that said, and comes back to it.
fn comes_back(cluster: &mut Cluster, id: i64, role: Role, what: &str) {
    let lost = |event: &&Event| matches!(event, Event::LeaderLost { .. });
    let last = cluster.events(id).iter().rev().find(lost);
    assert_eq!(last, Some(&Event::LeaderLost { why: LostReason::BadMessage }), "{what}");
    for _ in 0..3 {
        cluster.pass(Duration::from_secs(1));
        cluster.settle();
    }
    assert_eq!(cluster.role(id), Some(role), "{what}: {}", cluster.roles());
    let (conn, _) = cluster.client(id).expect("a session");
    assert!(cluster.write(id, conn, "/after"), "{what}");
}

/// An observer is informed of what is no transaction, or is another one than it is said to be.
#[test]
fn an_observer_refuses_what_it_is_informed_of() {
    for (what, is_encoded) in [("no transaction", false), ("another transaction", true)] {
        let mut cluster = ensemble(3, 1);
        let (last, _) = cluster.applied(4).expect("it observes");
        let zxid = last.next();
        let txn = if is_encoded { transaction(zxid.next()) } else { Bytes::from_static(b"no transaction") };
        cluster.forge(3, 4, &Message::Inform { zxid, txn });
        comes_back(&mut cluster, 4, Role::Observing, what);
    }
}

/// PARITY `digest.mismatch`: a tree that differs does so for long.
#[test]
fn digest_mismatch_is_told_of_once() {
    let mut cluster = ensemble(3, 1);
    for _ in 0..3 {
        let zxid = cluster.applied(4).expect("it observes").0.next();
        let header = header(zxid);
        let digest = TxnDigest { version: DIGEST_VERSION, tree_digest: 7 };
        let mut bytes = Vec::new();
        txn::encode(&header, &Txn::CreateSession { timeout_ms: 10_000 }, Some(&digest), &mut bytes);
        cluster.forge(3, 4, &Message::Inform { zxid, txn: Bytes::from(bytes) });
        assert_eq!(cluster.applied(4).expect("it observes").0, zxid);
    }
    let told = |event: &&Event| matches!(event, Event::DigestMismatch { expected: 7, .. });
    assert_eq!(cluster.events(4).iter().filter(told).count(), 1);
    let said = cluster.word(4, b"mntr");
    assert!(said.contains("zk_digest_mismatches_count\t3\n"), "{said}");
}

/// An observer with a client whose request, of the session returned, waits for the others.
fn waits_for_an_answer(op: OpCode, request: &Request<'_>) -> (Cluster, ConnId, TxnHeader) {
    let mut cluster = ensemble(3, 1);
    let (conn, answer) = cluster.client(4).expect("a session");
    let (last, _) = cluster.applied(4).expect("it observes");
    for id in 1..=3 {
        cluster.hold_disk(id, true);
    }
    assert_eq!(cluster.call(4, conn, op, request), None);
    let time = WallTime(1_700_000_000_000);
    (cluster, conn, TxnHeader { session: answer.session, cxid: 1, zxid: last.next(), time, op })
}

fn inform(cluster: &mut Cluster, header: &TxnHeader, txn: &Txn) {
    let mut bytes = Vec::new();
    txn::encode(header, txn, None, &mut bytes);
    cluster.forge(3, 4, &Message::Inform { zxid: header.zxid, txn: Bytes::from(bytes) });
}

/// PARITY `op.error`: a request has failed, but with no error.
#[test]
fn op_error_that_is_none_is_refused() {
    let request = Request::SetData { path: "/before", data: None, version: -1 };
    let (mut cluster, conn, header) = waits_for_an_answer(OpCode::SET_DATA, &request);
    inform(&mut cluster, &TxnHeader { op: OpCode::ERROR, ..header }, &Txn::Error { code: ErrorCode::OK });
    assert_eq!(cluster.replies(4, conn), []);
    for id in 1..=3 {
        cluster.hold_disk(id, false);
    }
    comes_back(&mut cluster, 4, Role::Observing, "no error");
}

/// PARITY `multi.fail`: what the leader says was done is not possible here.
#[test]
fn multi_fail_where_only_this_server_cannot_do_it() {
    let acl = || Some(AclList::OpenUnsafe);
    let (data, flags, ttl) = (None, 0, None);
    let create = Request::Create { path: "/before", data, acl: acl(), flags, ttl };
    let set = Request::SetData { path: "/none", data: None, version: -1 };
    let part = |op, request| MultiOp { op, request };
    let request = Request::Multi(vec![part(OpCode::CREATE2, create), part(OpCode::SET_DATA, set)]);
    let (mut cluster, conn, header) = waits_for_an_answer(OpCode::MULTI, &request);
    let create = CreateTxn {
        path: "/before".into(),
        data: None,
        acl: AclList::OpenUnsafe,
        kind: NodeKind::Persistent,
        parent_cversion: -1,
    };
    let set = Txn::SetData { path: "/none".into(), data: None, version: 1 };
    let parts = vec![
        SubTxn { op: OpCode::CREATE2, txn: Txn::Create(create) },
        SubTxn { op: OpCode::SET_DATA, txn: set },
    ];
    inform(&mut cluster, &header, &Txn::Multi(parts));
    let replies = cluster.replies(4, conn);
    let mut expected = Vec::new();
    for code in [ErrorCode::NODEEXISTS, ErrorCode::NONODE] {
        reply::multi_result(&mut expected, &MultiResult::Error(code));
    }
    reply::multi_end(&mut expected);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].err, &*replies[0].body), (ErrorCode::OK, &*expected));
}

/// A follower is to log a transaction of an epoch that its leader has not begun: it would refuse its own log at the
/// next start, if that log took it at all.
#[test]
fn sync_contiguous_a_follower_refuses_what_is_of_a_later_epoch() {
    for zxid in [Zxid::new(1 << 31, 1), Zxid::new(9, 1)] {
        let mut cluster = ensemble(3, 0);
        cluster.forge(3, 1, &Message::Proposal { zxid, txn: transaction(zxid) });
        comes_back(&mut cluster, 1, Role::Following, &zxid.to_string());
        cluster.kill(1, 1);
        cluster.start(1);
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "{zxid}: {}", cluster.roles());
    }
}

/// A stranger that learns from the leader as an observer, as anybody may.
fn observe(cluster: &mut Cluster, leader: i64) -> LinkId {
    let (last_zxid, _) = cluster.applied(leader).expect("it leads");
    let link = cluster.knock(leader, PeerPort::Quorum);
    let info = LearnerInfo {
        server: Some(ServerId(99)),
        protocol_version: LearnerInfo::PROTOCOL_VERSION,
        config_version: 0,
    };
    let epoch = i64::from(last_zxid.epoch());
    say(cluster, leader, link, &Message::ObserverInfo { accepted_epoch: epoch, info });
    say(cluster, leader, link, &Message::AckEpoch { last_zxid, current_epoch: 1 });
    say(cluster, leader, link, &Message::Ack { zxid: Zxid(epoch << 32) });
    link
}

/// PARITY `quorum.unexpected`: whoever follows may say what its leader has no word for. Until it does, it is to say one
/// thing at a time.
#[test]
fn quorum_unexpected_of_a_learner_is_passed_over_once_it_follows() {
    let unknown = || {
        let packet = [&99_i32.to_be_bytes()[..], &[0; 8], &(-1_i32).to_be_bytes(), &(-1_i32).to_be_bytes()];
        Bytes::from(packet.concat())
    };
    let mut cluster = ensemble(3, 0);
    let link = cluster.knock(3, PeerPort::Quorum);
    cluster.tell(3, link, unknown());
    assert_eq!(cluster.hung_up(3, link), Some(HangupReason::BadMessage));
    let link = observe(&mut cluster, 3);
    let before = cluster.received(3, link).len();
    cluster.tell(3, link, unknown());
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/after"));
    assert_eq!(cluster.hung_up(3, link), None);
    assert!(cluster.received(3, link).len() > before, "it is still told what is written");
}

/// Those who connect and say nothing keep nobody out: with every new one the oldest goes.
#[test]
fn links_that_say_nothing_shut_no_learner_out() {
    // To a leader, and to a server that looks for one and is going to lead.
    for leads in [true, false] {
        let mut cluster = Cluster::new(&members(2, 0), |_| {});
        cluster.start(2);
        if leads {
            cluster.start(1);
            cluster.settle();
            cluster.kill(1, 1);
            cluster.start(1);
            cluster.settle();
            assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
        } else {
            cluster.run();
        }
        let links: Vec<LinkId> = (0..70).map(|_| cluster.knock(2, PeerPort::Quorum)).collect();
        cluster.run();
        let gone: Vec<usize> = (0..70).filter(|&n| cluster.hung_up(2, links[n]).is_some()).collect();
        assert_eq!(gone, [0, 1, 2, 3, 4, 5], "leads: {leads}");
        assert_eq!(cluster.hung_up(2, links[0]), Some(HangupReason::Unwanted));
        // Who said something stays for as long as there is somebody who did not.
        let info = LearnerInfo {
            server: Some(ServerId(99)),
            protocol_version: LearnerInfo::PROTOCOL_VERSION,
            config_version: 0,
        };
        say(&mut cluster, 2, links[6], &Message::ObserverInfo { accepted_epoch: 0, info });
        for _ in 0..63 {
            cluster.knock(2, PeerPort::Quorum);
        }
        cluster.run();
        assert_eq!(cluster.hung_up(2, links[6]), None, "leads: {leads}");
        assert!((7..70).all(|n| leads || cluster.hung_up(2, links[n]).is_some()));
        if !leads {
            cluster.start(1);
        }
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "leads: {leads}: {}", cluster.roles());
    }
}

/// PARITY `fle.states`: while its disk is busy with what a role left behind, a server says nothing of that role to those
/// who look for a leader; they hear of the next one.
#[test]
fn fle_states_who_leads_no_more_does_not_say_that_it_does() {
    let mut cluster = ensemble(3, 0);
    let link = cluster.knock(3, PeerPort::Election);
    cluster.tell(3, link, greeting(9));
    let asks = encode_notification(&Notification {
        state: PeerState::Looking,
        vote: Vote { leader: ServerId(9), zxid: Zxid::ZERO, peer_epoch: 0 },
        election_epoch: 1,
        version: NOTIFICATION_VERSION,
        config: Bytes::new(),
    });
    let mut heard = 0;
    let mut answered = |cluster: &mut Cluster| {
        let before = heard;
        heard = cluster.received(3, link).len();
        heard > before
    };
    answered(&mut cluster);
    cluster.tell(3, link, asks.clone());
    assert!(answered(&mut cluster), "it leads");
    let (conn, _) = cluster.client(3).expect("it serves");
    cluster.hold_disk(3, true);
    cluster.send(3, conn, 1, OpCode::CREATE, &create("/held"));
    cluster.run();
    cluster.kill(1, 1);
    cluster.kill(2, 1);
    cluster.pass(Duration::from_millis(300));
    let down = |event: &Event| matches!(event, Event::SteppedDown { .. });
    assert!(cluster.events(3).iter().any(down));
    answered(&mut cluster);
    cluster.tell(3, link, asks);
    assert!(!answered(&mut cluster), "what it did is over, and what it is going to do is open");
    let new = cluster.knock(3, PeerPort::Election);
    cluster.tell(3, new, greeting(9));
    assert_eq!(cluster.received(3, new), b"", "nor is it said again");
    assert_eq!(cluster.hung_up(3, link), Some(HangupReason::Duplicate));
    cluster.hold_disk(3, false);
    cluster.start(1);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    assert_ne!(cluster.received(3, new), b"", "it leads again");
}

fn say(cluster: &mut Cluster, id: i64, link: LinkId, message: &Message) {
    let mut bytes = Vec::new();
    quorum::encode(message, &mut bytes);
    cluster.tell(id, link, Bytes::from(bytes));
}

/// PARITY `sess.id`: a session is opened under an id that a server is going to give; it gives another one.
#[test]
fn sess_id_of_another_servers_session_is_not_given_again() {
    for id in [1, 2, 3] {
        let mut cluster = ensemble(3, 0);
        let (_, answer) = cluster.client(id).expect("a session");
        let link = observe(&mut cluster, 3);
        for ahead in 1..=3 {
            let session = SessionId(answer.session.0 + ahead);
            let body = Bytes::copy_from_slice(&10_000_i32.to_be_bytes());
            let op = OpCode::CREATE_SESSION;
            say(&mut cluster, 3, link, &Message::Request { session, cxid: 0, op, body, identities: vec![] });
        }
        let (last, _) = cluster.applied(3).expect("it leads");
        assert_eq!(cluster.applied(id).map(|(zxid, _)| zxid), Some(last));
        let (conn, next) = cluster.client(id).expect("a session");
        assert_eq!(next.session, SessionId(answer.session.0 + 4), "server {id}: the stranger has the others");
        assert!(cluster.write(id, conn, "/after"));
    }
}

/// PARITY `conn.new`: a session that the leader did not open is none.
#[test]
fn conn_new_a_session_that_was_refused_is_not_given_out() {
    let mut cluster = ensemble(3, 1);
    let (_, answer) = cluster.client(4).expect("a session");
    let (last, _) = cluster.applied(4).expect("it observes");
    for id in 1..=3 {
        cluster.hold_disk(id, true);
    }
    assert!(cluster.client(4).is_none(), "its session is not committed");
    let session = SessionId(answer.session.0 + 1);
    let (time, op) = (WallTime(1_700_000_000_000), OpCode::ERROR);
    let header = TxnHeader { session, cxid: 0, zxid: last.next(), time, op };
    inform(&mut cluster, &header, &Txn::Error { code: ErrorCode::SESSIONEXPIRED });
    let opened =
        |event: &&Event| matches!(event, Event::SessionOpened { session, .. } if *session == header.session);
    assert_eq!(cluster.applied(4).map(|(zxid, _)| zxid), Some(header.zxid));
    assert_eq!(cluster.events(4).iter().find(opened), None);
}

/// A leader that takes nothing is left with the very message that is too much; nothing else need happen for that.
#[test]
fn a_leader_that_takes_nothing_is_left_at_once() {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.ensemble.as_mut().expect("a member").link_outbox_bytes = 64 << 10;
    });
    cluster.start_all();
    let clients = [(); 3].map(|()| cluster.client(1).expect("a session").0);
    cluster.stall(1);
    let losses = |cluster: &Cluster| {
        cluster.events(1).iter().filter(|event| matches!(event, Event::LeaderLost { .. })).count()
    };
    let before = losses(&cluster);
    let write = |cluster: &mut Cluster, conn, size| {
        let data = vec![0; size];
        let request = Request::SetData { path: "/", data: Some(&data), version: -1 };
        cluster.send(1, conn, 1, OpCode::SET_DATA, &request);
        cluster.run();
    };
    write(&mut cluster, clients[0], 20_000);
    write(&mut cluster, clients[1], 100_000);
    assert_eq!(losses(&cluster), before, "one message may be of any size");
    for conn in clients {
        write(&mut cluster, conn, 100_000);
    }
    assert_eq!(losses(&cluster), before, "its clients wait");
    cluster.forge(3, 1, &Message::Ping { zxid: Zxid::ZERO, touched: None });
    assert_eq!(losses(&cluster), before + 1);
    for conn in clients {
        assert!(cluster.is_closed(1, conn));
    }
}

/// A server names the epoch before while its leader begins another one. Who asked then, and lost the link with the answer,
/// hears of the new epoch on the next link: of the old one nobody can be told who it is that leads.
#[test]
fn qcm_queue_an_answer_that_is_repeated_names_the_epoch_that_has_begun() {
    let mut cluster = Cluster::new(&members(5, 0), |_| {});
    for id in [1, 2, 3, 4] {
        cluster.start(id);
    }
    cluster.settle();
    assert_eq!(cluster.leader(), Some(4), "{}", cluster.roles());
    cluster.hold_disk(1, true);
    cluster.kill(4, 1);
    cluster.pass(Duration::from_millis(500));
    let knock = |cluster: &mut Cluster| {
        let link = cluster.knock(1, PeerPort::Election);
        cluster.tell(1, link, greeting(5));
        link
    };
    let named = |cluster: &mut Cluster, link| {
        let mut frames = Frames::default();
        frames.push(Bytes::copy_from_slice(cluster.received(1, link)));
        let frame = frames.next_frame().expect("frames").expect("an answer");
        let notification = decode_notification(&frame).expect("a notification");
        (notification.state, notification.vote.peer_epoch)
    };
    let link = knock(&mut cluster);
    let vote = Vote { leader: ServerId(5), zxid: Zxid::ZERO, peer_epoch: 0 };
    let (state, version, config) = (PeerState::Looking, NOTIFICATION_VERSION, Bytes::new());
    let asks = encode_notification(&Notification { state, vote, election_epoch: 1, version, config });
    cluster.tell(1, link, asks);
    assert_eq!(named(&mut cluster, link), (PeerState::Following, 1));
    cluster.go(1, link);
    cluster.hold_disk(1, false);
    cluster.settle();
    let serves = Event::RoleTaken { role: Role::Following, epoch: 2, leader: cluster.leader().map(ServerId) };
    assert!(cluster.events(1).contains(&serves), "{}", cluster.roles());
    let link = knock(&mut cluster);
    assert_eq!(named(&mut cluster, link), (PeerState::Following, 2));
}

/// PARITY `fle.config`: a configuration without members is none, whatever its version, and does not keep a server that
/// looks from taking over one that is.
#[test]
fn fle_config_without_members_is_not_adopted() {
    let mut cluster = Cluster::new(&members(3, 0), |config| config.reconfig_enabled = true);
    cluster.start(1);
    cluster.pass(Duration::from_millis(10));
    let link = cluster.knock(1, PeerPort::Election);
    cluster.tell(1, link, greeting(9));
    let says = |config: &str| {
        encode_notification(&Notification {
            state: PeerState::Looking,
            vote: Vote { leader: ServerId(9), zxid: Zxid::ZERO, peer_epoch: 0 },
            election_epoch: 1,
            version: NOTIFICATION_VERSION,
            config: Bytes::copy_from_slice(config.as_bytes()),
        })
    };
    for config in ["version=7fffffffffffffff", "server.1=\nversion=7fffffffffffffff"] {
        cluster.tell(1, link, says(config));
        assert_eq!(cluster.kept_config(1), &members(3, 0), "{config}");
    }
    let newer = members(4, 0).with_version(0x1_0000_0002);
    cluster.tell(1, link, says(&newer.text()));
    assert_eq!(cluster.kept_config(1), &newer);
}
