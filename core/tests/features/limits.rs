//! What happens at limits.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{CloseReason, Input};
use zabra_core::testing::lone::{LoneServer, frame};
use zabra_core::types::{ErrorCode, OpCode};
use zabra_core::wire::Request;

use crate::ask::{create, exists, get, make, must, server, server_with, set};

/// `lim.maxbuffer`, `cfg.jute.maxbuffer`: a request at the limit is taken, one byte more closes its connection.
#[test]
fn lim_maxbuffer() {
    let limit = 1000;
    for (extra, closed) in [(0, false), (1, true)] {
        let (mut lone, conn) = server_with(Config { jute_max_buffer: limit, ..Config::default() });
        make(&mut lone, conn, "/a");
        let overhead = frame(1, OpCode::SET_DATA, &set("/a", b"")).len() - 4;
        let data = vec![7; limit - overhead + extra];
        lone.send(conn, 1, OpCode::SET_DATA, &set("/a", &data));
        let why = CloseReason::FrameTooLong { length: 1001, max: limit };
        assert_eq!(lone.closed.get(&conn), closed.then_some(&why));
        assert_eq!(lone.replies(conn).len(), usize::from(!closed));
    }
}

/// `lim.large`: large requests together have a limit; small ones go on.
#[test]
fn lim_large() {
    let config =
        Config { large_request_threshold: Some(500), large_request_max_bytes: 1500, ..Config::default() };
    let (mut lone, conn) = server_with(config);
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    lone.hold_disk();
    let large = vec![7; 900];
    lone.send(conn, 1, OpCode::SET_DATA, &set("/a", b"first, so that the next ones gather"));
    lone.send(conn, 2, OpCode::SET_DATA, &set("/a", &large));
    lone.send(other, 1, OpCode::SET_DATA, &set("/a", b"small"));
    assert!(lone.closed.is_empty());
    lone.send(other, 2, OpCode::SET_DATA, &set("/a", &large));
    assert_eq!(lone.closed[&other], CloseReason::LargeRequest);
    lone.release_disk();
    assert_eq!(lone.replies(conn).len(), 2);
    must(&mut lone, conn, &set("/a", &large));
}

/// `lim.throttledop`, `req.throttled`, `err.THROTTLEDOP`: a read that waited too long is refused; a ping is not,
/// nor is a write, which waits for nothing but the disk.
#[test]
fn lim_throttledop() {
    let config = Config { throttled_op_wait: Some(Duration::from_millis(100)), ..Config::default() };
    let (mut lone, conn) = server_with(config);
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(conn, 2, OpCode::EXISTS, &exists("/a"));
    lone.send(conn, -2, OpCode::PING, &Request::Ping);
    lone.pass(Duration::from_millis(101));
    lone.send(conn, 3, OpCode::EXISTS, &exists("/a"));
    lone.release_disk();
    let codes: Vec<_> = lone.replies(conn).iter().map(|reply| (reply.xid, reply.err)).collect();
    let ok = ErrorCode::OK;
    assert_eq!(codes, [(1, ok), (2, ErrorCode::THROTTLEDOP), (-2, ok), (3, ok)]);
}

/// `conn.notserving`: a server that stops takes nobody new.
#[test]
fn conn_notserving() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.input(Input::Shutdown);
    let late = lone.connect();
    assert_eq!(lone.closed[&late], CloseReason::Shutdown);
}

/// `xid.outstanding`: what is not a request of the client's own holds nobody up.
#[test]
fn xid_outstanding() {
    let mut lone = LoneServer::new(Config { global_outstanding_limit: 1, ..Config::default() });
    let (busy, _) = lone.client();
    let (other, _) = lone.client();
    lone.hold_disk();
    for xid in 1..4 {
        lone.send(busy, xid, OpCode::CREATE, &create(&format!("/n{xid}"), 0));
    }
    // The limit is reached, and still: pings, however many, and the first request of someone who has none.
    for _ in 0..3 {
        lone.send(other, -2, OpCode::PING, &Request::Ping);
    }
    lone.send(other, 1, OpCode::GET_DATA, &get("/"));
    let xids: Vec<_> = lone.replies(other).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, [-2, -2, -2, 1]);
    lone.release_disk();
    assert_eq!(lone.replies(busy).len(), 3);
}
