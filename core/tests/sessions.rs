//! Sessions from the first byte of a connection to the last: PARITY `conn.*`, `xid.*` and `sess.*`, asked of a whole
//! server.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{CloseReason, Event, Input};
use zabra_core::store::inventory::snapshot_name;
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::testing::lone::{self, LoneServer, frame, new_session};
use zabra_core::time::WallTime;
use zabra_core::tree::{Tree, TreeOptions};
use zabra_core::types::{AclList, CreateTxn, ErrorCode, NodeKind, OpCode, SessionId, Txn, TxnHeader, Zxid};
use zabra_core::wire::connect::{ConnectRequest, ConnectResponse};
use zabra_core::wire::snapshot::Encoder;
use zabra_core::wire::{Request, reply};

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags, ttl: None }
}

fn exists(path: &str) -> Request<'_> {
    Request::Exists { path, watch: false }
}

fn again<'a>(answer: &'a ConnectResponse) -> ConnectRequest<'a> {
    ConnectRequest { session: answer.session, password: &answer.password, ..new_session(10_000) }
}

/// `conn.new`, `conn.timeout`: the timeout is clamped, and the answer leaves only once the session is durable.
#[test]
fn conn_new_and_timeout() {
    let mut lone = LoneServer::new(Config::default());
    for (asked, given) in [(0, 6000), (-5, 6000), (6001, 6001), (i32::MAX, 60_000)] {
        let conn = lone.connect();
        assert_eq!(lone.handshake(conn, &new_session(asked)).expect("an answer").timeout_ms, given);
    }
    lone.hold_disk();
    let conn = lone.connect();
    assert_eq!(lone.handshake(conn, &new_session(0)), None, "nothing before the disk is done");
    lone.release_disk();
    assert!(!lone.take_sent(conn).is_empty());
}

/// `conn.recv.disable`: what a client sends before its session stands is looked at afterwards, in order.
#[test]
fn conn_recv_disable() {
    let mut lone = LoneServer::new(Config::default());
    lone.hold_disk();
    let conn = lone.connect();
    let mut bytes = Vec::new();
    new_session(0).encode(&mut bytes);
    bytes.extend(frame(1, OpCode::CREATE, &create("/a", 0)));
    bytes.extend(frame(2, OpCode::EXISTS, &exists("/a")));
    lone.receive(conn, bytes);
    lone.release_disk();
    let sent = lone.take_sent(conn);
    let answer = ConnectResponse::decode(&sent[4..41]).expect("the handshake's answer comes first");
    assert_ne!(answer.session, SessionId::NONE);
    assert!(sent.len() > 41 + 2 * reply::HEADER_LEN, "both requests are answered behind it");
}

/// `conn.oldclient`: whoever does not send `readOnly` does not get it.
#[test]
fn conn_oldclient() {
    let mut lone = LoneServer::new(Config::default());
    for (read_only, length) in [(Some(false), 4 + 37), (None, 4 + 36)] {
        let conn = lone.connect();
        let mut bytes = Vec::new();
        ConnectRequest { read_only, ..new_session(0) }.encode(&mut bytes);
        lone.receive(conn, bytes);
        assert_eq!(lone.take_sent(conn).len(), length);
    }
}

/// `conn.zxidahead`: closed without a word.
#[test]
fn conn_zxidahead() {
    let mut lone = LoneServer::new(Config::default());
    let conn = lone.connect();
    let request = ConnectRequest { last_zxid_seen: Zxid(1), ..new_session(0) };
    assert_eq!(lone.handshake(conn, &request), None);
    assert_eq!(lone.closed[&conn], CloseReason::ClientAhead);
}

/// `conn.renew`, `sess.owner`: a session moves to the connection that proves it, and the old one is closed.
#[test]
fn conn_renew_moves_the_session() {
    let mut lone = LoneServer::new(Config::default());
    let (first, answer) = lone.client();
    let second = lone.connect();
    let renewed = lone.handshake(second, &again(&answer)).expect("an answer");
    assert_eq!(renewed.session, answer.session);
    assert_eq!(renewed.password, answer.password);
    assert_eq!(lone.closed[&first], CloseReason::SessionMoved);
    assert_eq!(lone.call(second, OpCode::CREATE, &create("/e", 1)).err, ErrorCode::OK);
}

/// `conn.password`, `conn.expired`: a wrong password reads as an expired session and disturbs nobody.
#[test]
fn conn_expired_for_a_wrong_password_or_unknown_session() {
    let mut lone = LoneServer::new(Config::default());
    let (first, answer) = lone.client();
    for request in [
        ConnectRequest { password: &[1; 16], ..again(&answer) },
        ConnectRequest { password: &[], ..again(&answer) },
        ConnectRequest { session: SessionId(77), ..again(&answer) },
    ] {
        let conn = lone.connect();
        let refused = lone.handshake(conn, &request).expect("an answer");
        assert_eq!(refused, ConnectResponse::expired(Some(false)));
        assert_eq!(lone.closed[&conn], CloseReason::SessionExpired);
    }
    assert_eq!(lone.call(first, OpCode::EXISTS, &exists("/")).err, ErrorCode::OK, "the owner is still there");
}

/// `sess.close`, `node.ephemeral.close`: the reply, then the end; ephemeral znodes go, others see them go.
#[test]
fn sess_close() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, answer) = lone.client();
    let (other, _) = lone.client();
    assert_eq!(lone.call(conn, OpCode::CREATE, &create("/e", 1)).err, ErrorCode::OK);
    lone.call(other, OpCode::EXISTS, &Request::Exists { path: "/e", watch: true });
    let closed = lone.call(conn, OpCode::CLOSE_SESSION, &Request::CloseSession);
    assert_eq!((closed.err, closed.body.len()), (ErrorCode::OK, 0));
    assert_eq!(lone.closed[&conn], CloseReason::SessionClosed);
    let event = lone.replies(other).pop().expect("the watch fires");
    assert_eq!((event.xid, event.zxid), (-1, closed.zxid));
    assert_eq!(lone.call(other, OpCode::EXISTS, &exists("/e")).err, ErrorCode::NONODE);
    let conn = lone.connect();
    assert_eq!(lone.handshake(conn, &again(&answer)).expect("an answer").session, SessionId::NONE);
}

/// `node.ephemeral.close`: znodes that are only proposed when the session ends go with it, too.
#[test]
fn sess_close_takes_pending_ephemerals() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    let (other, _) = lone.client();
    lone.call(conn, OpCode::CREATE, &create("/a", 1));
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/b", 1));
    lone.send(conn, 2, OpCode::DELETE, &Request::Delete { path: "/a", version: -1 });
    lone.send(conn, 3, OpCode::CREATE, &create("/a", 1));
    lone.send(conn, 4, OpCode::CLOSE_SESSION, &Request::CloseSession);
    lone.release_disk();
    for path in ["/a", "/b"] {
        assert_eq!(lone.call(other, OpCode::EXISTS, &exists(path)).err, ErrorCode::NONODE, "{path}");
    }
    let mismatch = lone.events.iter().any(|event| matches!(event, Event::DigestMismatch { .. }));
    assert!(!mismatch, "the digest was predicted right");
}

/// `sess.bucket`, `sess.expire.notify`: expires after its timeout and within a tick of it; its connection goes.
#[test]
fn sess_expires_in_time_and_pings_keep_it() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, answer) = lone.client();
    lone.call(conn, OpCode::CREATE, &create("/e", 1));
    for _ in 0..5 {
        lone.pass(Duration::from_millis(9_000));
        assert_eq!(lone.call(conn, OpCode::PING, &Request::Ping).err, ErrorCode::OK);
    }
    lone.pass(Duration::from_millis(10_000));
    assert!(!lone.closed.contains_key(&conn), "not before its timeout");
    lone.pass(Duration::from_millis(3_001));
    assert_eq!(lone.closed[&conn], CloseReason::SessionExpired);
    assert!(lone.events.contains(&Event::SessionExpired { session: answer.session }));
    let (other, _) = lone.client();
    assert_eq!(lone.call(other, OpCode::EXISTS, &exists("/e")).err, ErrorCode::NONODE);
}

/// `sess.bucket`: a server that stood still hears first what its clients said meanwhile, and then expires who said nothing.
#[test]
fn sess_who_spoke_while_the_server_stood_still_lives_on() {
    let mut lone = LoneServer::new(Config::default());
    let (alive, _) = lone.client();
    let (dead, _) = lone.client();
    lone.stand_still(Duration::from_secs(30));
    lone.input(Input::Tick);
    assert!(lone.closed.is_empty(), "what was said may come behind the tick");
    lone.pass(Duration::from_millis(500));
    assert_eq!(lone.call(alive, OpCode::PING, &Request::Ping).err, ErrorCode::OK);
    lone.pass(Duration::from_millis(2_499));
    assert!(lone.closed.is_empty());
    lone.pass(Duration::from_millis(1));
    assert_eq!(lone.closed.get(&dead), Some(&CloseReason::SessionExpired));
    lone.pass(Duration::from_secs(7));
    assert!(!lone.closed.contains_key(&alive), "it has its whole timeout");
    lone.pass(Duration::from_secs(6));
    assert_eq!(lone.closed.get(&alive), Some(&CloseReason::SessionExpired));
}

/// `sess.bucket`: who is due expires, though every tick comes late.
#[test]
fn sess_a_server_that_never_keeps_up_expires_sessions_nevertheless() {
    let mut lone = LoneServer::new(Config::default());
    let (silent, _) = lone.client();
    let mut late = 0;
    while !lone.closed.contains_key(&silent) {
        lone.stand_still(Duration::from_secs(3));
        lone.input(Input::Tick);
        late += 1;
        assert!(late < 8, "it was due after ten seconds");
    }
}

/// `conn.sessionless`: ten seconds to say hello, whoever else comes and goes meanwhile.
#[test]
fn conn_sessionless() {
    let mut lone = LoneServer::new(Config::default());
    let silent = lone.connect();
    let half = lone.connect();
    lone.receive(half, &[0, 0][..]);
    let (client, _) = lone.client();
    for _ in 0..20 {
        let conn = lone.connect();
        lone.input(Input::Closed { conn });
    }
    lone.pass(Duration::from_millis(9_999));
    assert!(lone.closed.is_empty());
    lone.pass(Duration::from_millis(2));
    assert_eq!(lone.closed[&silent], CloseReason::NoSession);
    assert_eq!(lone.closed[&half], CloseReason::NoSession);
    assert!(!lone.closed.contains_key(&client));
}

/// `conn.maxper-ip`, and `maxCnxns` for all: one too many is closed at once, and room that is given back counts.
#[test]
fn conn_maxper_ip() {
    let config = Config { max_client_cnxns: 2, max_cnxns: 3, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (here, there) = ("10.0.0.1:1".parse().expect("valid"), "10.0.0.2:1".parse().expect("valid"));
    let first = lone.connect_from(here);
    lone.connect_from(here);
    let third = lone.connect_from(here);
    assert_eq!(lone.closed[&third], CloseReason::TooManyOfAddress { max: 2 });
    lone.connect_from(there);
    let fifth = lone.connect_from(there);
    assert_eq!(lone.closed[&fifth], CloseReason::TooManyConnections { max: 3 }, "all together");
    lone.input(Input::Closed { conn: first });
    let sixth = lone.connect_from(here);
    assert!(!lone.closed.contains_key(&sixth));
}

/// `wire.frame.max`: lengths that cannot be close the connection, whatever the phase.
#[test]
fn wire_frame_max() {
    let mut lone = LoneServer::new(Config::default());
    for length in [-1, i32::MIN, i32::MAX, 0x10_0000] {
        let why = match u32::try_from(length) {
            Ok(length) => CloseReason::FrameTooLong { length, max: 0xf_ffff },
            Err(_) => CloseReason::BadFrame,
        };
        let conn = lone.connect();
        lone.receive(conn, length.to_be_bytes().to_vec());
        assert_eq!(lone.closed[&conn], why, "{length} as a handshake");
        let (conn, _) = lone.client();
        lone.receive(conn, length.to_be_bytes().to_vec());
        assert_eq!(lone.closed[&conn], why, "{length} as a request");
    }
    let (conn, _) = lone.client();
    lone.receive(conn, 0_i32.to_be_bytes().to_vec());
    assert_eq!(lone.closed[&conn], CloseReason::BadFrame, "a request without a header");
}

/// `sess.id.renewal-after-restart` in small: the session's requests after its end are refused, not executed.
#[test]
fn requests_after_close_are_refused() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CLOSE_SESSION, &Request::CloseSession);
    lone.send(conn, 2, OpCode::CREATE, &create("/late", 0));
    lone.release_disk();
    let (other, _) = lone.client();
    assert_eq!(lone.call(other, OpCode::EXISTS, &exists("/late")).err, ErrorCode::NONODE);
}

/// `node.ephemeral.close`: a znode that is another session's by the time the close is applied stays.
#[test]
fn sess_close_spares_what_another_session_creates() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    let (other, _) = lone.client();
    lone.call(conn, OpCode::CREATE, &create("/e", 1));
    lone.hold_disk();
    lone.send(conn, 1, OpCode::DELETE, &Request::Delete { path: "/e", version: -1 });
    lone.send(other, 1, OpCode::CREATE, &create("/e", 1));
    lone.send(conn, 2, OpCode::CLOSE_SESSION, &Request::CloseSession);
    lone.release_disk();
    lone.replies(other);
    assert_eq!(lone.call(other, OpCode::EXISTS, &exists("/e")).err, ErrorCode::OK);
}

/// `order.session` across connections: a session that comes back sees what it wrote before, so it is answered only
/// once those writes are through.
#[test]
fn conn_renew_waits_for_the_sessions_own_writes() {
    let mut lone = LoneServer::new(Config::default());
    let (first, answer) = lone.client();
    lone.hold_disk();
    lone.send(first, 1, OpCode::CREATE, &create("/mine", 0));
    let second = lone.connect();
    assert_eq!(lone.handshake(second, &again(&answer)), None, "its write is under way");
    lone.send(second, 2, OpCode::EXISTS, &exists("/mine"));
    lone.release_disk();
    let sent = lone.take_sent(second);
    let renewed = ConnectResponse::decode(&sent[4..41]).expect("the handshake's answer comes first");
    assert_eq!(renewed.session, answer.session);
    let err = i32::from_be_bytes(sent[41 + 16..41 + 20].try_into().expect("four bytes"));
    assert_eq!(err, 0, "the znode is there");
}

/// A session that ends while its client comes back is refused, not established.
#[test]
fn conn_renew_of_a_session_that_is_closing() {
    let mut lone = LoneServer::new(Config::default());
    let (first, answer) = lone.client();
    lone.hold_disk();
    lone.send(first, 1, OpCode::CREATE, &create("/mine", 0));
    let second = lone.connect();
    lone.handshake(second, &again(&answer));
    lone.pass(Duration::from_millis(20_000));
    lone.release_disk();
    let sent = lone.take_sent(second);
    let refused = ConnectResponse::decode(&sent[4..41]).expect("an answer");
    assert_eq!(refused, ConnectResponse::expired(Some(false)));
    assert_eq!(lone.closed[&second], CloseReason::SessionExpired);
}

const GONE: SessionId = SessionId(0x0100_0000_0000_0001);
const LIVING: SessionId = SessionId(0x0100_0000_0000_0002);

/// A tree that has znodes of two sessions, and znodes that expire, whose owner names no session.
fn with_owners() -> Tree {
    let options = TreeOptions { extended_types: true, digest_enabled: true };
    let mut tree = Tree::new(options, [1, 2, 3, 4]);
    let znodes = [
        ("/gone1", NodeKind::Ephemeral, GONE),
        ("/gone2", NodeKind::Ephemeral, GONE),
        ("/living", NodeKind::Ephemeral, LIVING),
        ("/container", NodeKind::Container, GONE),
        ("/ttl", NodeKind::Ttl(60_000), GONE),
    ];
    for (zxid, (path, kind, session)) in (1..).map(Zxid).zip(znodes) {
        let header = TxnHeader { session, cxid: 1, zxid, time: WallTime(1), op: OpCode::CREATE };
        let (data, acl) = (None, AclList::OpenUnsafe);
        let txn = Txn::Create(CreateTxn { path: path.into(), data, acl, kind, parent_cversion: -1 });
        tree.apply(&header, txn, &mut |_| {});
    }
    tree
}

fn unknown_sessions(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| matches!(event, Event::SessionUnknown { .. })).collect()
}

/// `sess.unknown`: a server that begins to order ends sessions that own ephemeral znodes and do not exist, by a
/// transaction, and leaves all others alone.
#[test]
fn sess_unknown_of_a_server_alone() {
    let config = Config { extended_types: true, ..Config::default() };
    let mut recovered = lone::empty(&config);
    recovered.tree = with_owners();
    recovered.last_zxid = recovered.tree.last_zxid();
    recovered.sessions.insert(LIVING, 10_000);
    let mut lone = LoneServer::recovered(config, recovered);
    let (conn, _) = lone.client();
    assert_eq!(unknown_sessions(&lone.events), [&Event::SessionUnknown { session: GONE, znodes: 2 }]);
    for (path, code) in [
        ("/gone1", ErrorCode::NONODE),
        ("/gone2", ErrorCode::NONODE),
        ("/living", ErrorCode::OK),
        ("/container", ErrorCode::OK),
        ("/ttl", ErrorCode::OK),
    ] {
        assert_eq!(lone.call(conn, OpCode::EXISTS, &exists(path)).err, code, "{path}");
    }
    let zxid = lone.call(conn, OpCode::EXISTS, &exists("/")).zxid;
    assert_eq!(zxid, Zxid(7), "five znodes, the end of a session and a new one");
    lone.pass(Duration::from_secs(5));
    assert_eq!(unknown_sessions(&lone.events).len(), 1);
}

/// `sess.unknown`: so does a leader, for all.
#[test]
fn sess_unknown_of_an_ensemble() {
    let mut tree = with_owners();
    let sessions = [(LIVING, 60_000)].into_iter();
    let mut snapshot = Vec::new();
    let mark = tree.begin_snapshot();
    let mut encoder = Encoder::head(&mut snapshot, Encoder::begin, sessions, tree.acl_entries());
    while tree.snapshot_chunk(usize::MAX, &mut |node| {
        encoder.node(&mut snapshot, node.path, node.data, node.acl_id, &node.stat);
    }) {}
    encoder.end_nodes(&mut snapshot);
    encoder.last_zxid(&mut snapshot, mark.zxid);
    let mut cluster = Cluster::new(&members(3, 0), |config| config.extended_types = true);
    for id in 1..=3 {
        cluster.disk(id).files().insert(snapshot_name(mark.zxid), snapshot.clone());
    }
    cluster.start_all();
    let leader = cluster.leader().expect("a leader");
    for id in 1..=3 {
        let expected: &[Event] =
            if id == leader { &[Event::SessionUnknown { session: GONE, znodes: 2 }] } else { &[] };
        assert_eq!(unknown_sessions(cluster.events(id)), expected.iter().collect::<Vec<_>>());
    }
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/behind"));
    cluster.pass(Duration::from_millis(300));
    for id in 1..=3 {
        assert!(!cluster.exists(id, "/gone1") && !cluster.exists(id, "/gone2"), "server {id}");
        assert!(cluster.exists(id, "/living") && cluster.exists(id, "/ttl"), "server {id}");
    }
    cluster.pass(Duration::from_millis(300));
    assert_eq!(cluster.applied(1), cluster.applied(2));
    assert_eq!(cluster.applied(1), cluster.applied(3));
}
