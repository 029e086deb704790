//! Sessions: their ids and timeouts, and who owns them.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{CloseReason, Input};
use zabra_core::session::password::password;
use zabra_core::testing::lone::{LoneServer, frame, new_session};
use zabra_core::types::{ErrorCode, OpCode, SessionId};
use zabra_core::wire::Request;
use zabra_core::wire::connect::{ConnectRequest, ConnectResponse};

use crate::ask::{code, create, exists, make, must, server};

fn again<'a>(answer: &'a ConnectResponse, timeout_ms: i32) -> ConnectRequest<'a> {
    ConnectRequest { session: answer.session, password: &answer.password, ..new_session(timeout_ms) }
}

/// `sess.id`, `conn.new`, `conn.password`: the server's number in the top byte, one more for each session, and
/// the password that ZooKeeper would give.
#[test]
fn sess_id() {
    let mut lone = LoneServer::new(Config { server_id: 7, ..Config::default() });
    let (_, first) = lone.client();
    let (_, second) = lone.client();
    assert_eq!(first.session.0 >> 56, 7);
    assert_eq!(second.session.0, first.session.0 + 1);
    assert_eq!(second.password, password(second.session));
}

/// `sess.timeout.range`: twice and twenty times the tick, unless said otherwise.
#[test]
fn sess_timeout_range() {
    let config = Config {
        min_session_timeout: Duration::from_millis(5),
        max_session_timeout: Duration::from_millis(7),
        ..Config::default()
    };
    for (config, least, most) in [(Config::default(), 6_000, 60_000), (config, 5, 7)] {
        let mut lone = LoneServer::new(config);
        for (asked, given) in [(i32::MIN, least), (i32::MAX, most)] {
            let conn = lone.connect();
            assert_eq!(lone.handshake(conn, &new_session(asked)).expect("an answer").timeout_ms, given);
        }
    }
}

/// `sess.reconnect.timeout`: the timeout is negotiated again, and the new one counts.
#[test]
fn sess_reconnect_timeout() {
    let (mut lone, _) = server();
    let (_, answer) = lone.client();
    let second = lone.connect();
    let renewed = lone.handshake(second, &again(&answer, 6_000)).expect("an answer");
    assert_eq!((renewed.session, renewed.timeout_ms), (answer.session, 6_000));
    lone.pass(Duration::from_millis(6_000));
    assert!(!lone.closed.contains_key(&second));
    lone.pass(Duration::from_millis(3_001));
    assert_eq!(lone.closed[&second], CloseReason::SessionExpired);
}

/// `sess.touch`: requests keep a session as pings do; and a session without a connection lives on until it expires.
#[test]
fn sess_touch() {
    let (mut lone, conn) = server();
    for _ in 0..4 {
        lone.pass(Duration::from_millis(9_000));
        assert_eq!(code(&mut lone, conn, &exists("/none")), ErrorCode::NONODE);
    }
    let (other, answer) = lone.client();
    must(&mut lone, other, &create("/e", 1));
    lone.input(Input::Closed { conn: other });
    lone.pass(Duration::from_millis(9_000));
    must(&mut lone, conn, &exists("/e"));
    let back = lone.connect();
    assert_eq!(lone.handshake(back, &again(&answer, 10_000)).expect("an answer").session, answer.session);
    lone.input(Input::Closed { conn: back });
    for _ in 0..2 {
        lone.pass(Duration::from_millis(7_000));
        must(&mut lone, conn, &Request::Ping);
    }
    assert_eq!(code(&mut lone, conn, &exists("/e")), ErrorCode::NONODE);
}

/// `sess.owner`, `req.sessionmoved`: what the old connection still sends comes to nothing.
#[test]
fn sess_owner() {
    let (mut lone, _) = server();
    let (first, answer) = lone.client();
    let second = lone.connect();
    lone.handshake(second, &again(&answer, 10_000)).expect("an answer");
    assert_eq!(lone.closed[&first], CloseReason::SessionMoved);
    lone.receive(first, frame(9, OpCode::CREATE, &create("/late", 0)));
    assert_eq!(lone.replies(first), []);
    assert_eq!(code(&mut lone, second, &exists("/late")), ErrorCode::NONODE);
}

/// `sess.expire.notify`, `node.ephemeral`: nobody is told at once; who comes back is told that it is over.
#[test]
fn sess_expire_notify() {
    let (mut lone, conn) = server();
    let (other, answer) = lone.client();
    must(&mut lone, other, &create("/e", 1));
    for _ in 0..2 {
        lone.pass(Duration::from_millis(7_000));
        must(&mut lone, conn, &Request::Ping);
    }
    assert_eq!(lone.take_sent(other), b"");
    assert_eq!(lone.closed[&other], CloseReason::SessionExpired);
    let back = lone.connect();
    let refused = lone.handshake(back, &again(&answer, 10_000)).expect("an answer");
    assert_eq!((refused.session, refused.timeout_ms, refused.password), (SessionId::NONE, 0, [0; 16]));
}

/// Requests of a session that is closing are refused without a transaction.
#[test]
fn requests_of_a_closing_session_take_no_zxid() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, other, "/a");
    let before = crate::ask::last_zxid(&mut lone, other);
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CLOSE_SESSION, &Request::CloseSession);
    for xid in 2..5 {
        lone.send(conn, xid, OpCode::CREATE, &create("/late", 0));
    }
    lone.release_disk();
    assert_eq!(crate::ask::last_zxid(&mut lone, other).0, before.0 + 1);
}

/// `sem.monotonic`: a server that knows less than the client has seen sends it away.
#[test]
fn sem_monotonic() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    let seen = crate::ask::last_zxid(&mut lone, conn);
    for (ahead, welcome) in [(1, false), (0, true)] {
        let client = lone.connect();
        let request =
            ConnectRequest { last_zxid_seen: zabra_core::types::Zxid(seen.0 + ahead), ..new_session(0) };
        assert_eq!(lone.handshake(client, &request).is_some(), welcome);
        assert_eq!(lone.closed.contains_key(&client), !welcome);
    }
}

/// `err.SESSIONEXPIRED`: while the end of an expired session is on its way to the disk, its requests are refused.
#[test]
fn err_sessionexpired() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.pass(Duration::from_secs(14));
    assert_eq!(lone.held().count(), 1, "the end is on its way");
    for request in [create("/late", 0), exists("/late")] {
        assert_eq!(code(&mut lone, conn, &request), ErrorCode::SESSIONEXPIRED);
    }
    lone.release_disk();
    assert_eq!(lone.closed[&conn], CloseReason::SessionExpired);
    let (other, _) = lone.client();
    assert_eq!(code(&mut lone, other, &exists("/late")), ErrorCode::NONODE);
}
