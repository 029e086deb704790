//! What one client can cost the server: every reply, queue and list that a client makes grow has an end.

use zabra_core::config::{Config, FourLetterWords};
use zabra_core::server::{CloseReason, Input};
use zabra_core::store::{DiskAnswer, DiskOp};
use zabra_core::testing::lone::{LoneServer, frame, new_session};
use zabra_core::types::{AclList, ConnId, ErrorCode, OpCode};
use zabra_core::wire::Request;
use zabra_core::wire::reply::HEADER_LEN;
use zabra_core::wire::request::MultiOp;

fn server(config: Config) -> (LoneServer, ConnId) {
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    (lone, conn)
}

fn make(lone: &mut LoneServer, conn: ConnId, path: &str, data: &[u8]) {
    let acl = Some(AclList::OpenUnsafe);
    let request = Request::Create { path, data: Some(data), acl, flags: 0, ttl: None };
    assert_eq!(lone.call(conn, OpCode::CREATE, &request).err, ErrorCode::OK, "{path}");
}

const fn get(path: &str) -> Request<'_> {
    Request::GetData { path, watch: false }
}

/// A multiRead whose reply would be too large is refused as a whole, and the connection goes on.
#[test]
fn multi_read_is_bounded() {
    let (mut lone, conn) = server(Config { outbox_close_bytes: 100_000, ..Config::default() });
    make(&mut lone, conn, "/a", &[7; 1000]);
    let ops = |count| Request::MultiRead(vec![MultiOp { op: OpCode::GET_DATA, request: get("/a") }; count]);
    assert_eq!(lone.call(conn, OpCode::MULTI_READ, &ops(90)).err, ErrorCode::OK);
    let refused = lone.call(conn, OpCode::MULTI_READ, &ops(20_000));
    assert_eq!((refused.err, refused.body.len()), (ErrorCode::MARSHALLINGERROR, 0));
    assert_eq!(lone.call(conn, OpCode::GET_DATA, &get("/a")).err, ErrorCode::OK);
}

const fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData { path, data: Some(data), version: -1 }
}

/// Lets the operating system take what was sent, until nothing more comes. The replies' numbers.
fn drain_all(lone: &mut LoneServer, conn: ConnId) -> Vec<i32> {
    let mut xids = Vec::new();
    loop {
        let sent: usize = {
            let replies = lone.replies(conn);
            xids.extend(replies.iter().map(|reply| reply.xid));
            replies.iter().map(|reply| 4 + HEADER_LEN + reply.body.len()).sum()
        };
        if sent == 0 {
            return xids;
        }
        lone.input(Input::Drained { conn, bytes: sent });
    }
}

fn narrow() -> Config {
    Config {
        outbox_pause_bytes: 10_000,
        outbox_close_bytes: 100_000,
        global_outstanding_limit: 50,
        ..Config::default()
    }
}

/// Reads behind a write hold no more bytes than may wait, however few they are; then their connection is not read from,
/// and goes on once they are answered, whether or not they were held back meanwhile.
#[test]
fn reads_behind_a_write_are_bounded_in_bytes() {
    for held in [false, true] {
        let four_letter_words = FourLetterWords::All;
        let (inbox_pause_bytes, outbox_pause_bytes) = (20_000, 1000);
        let config = Config { inbox_pause_bytes, outbox_pause_bytes, four_letter_words, ..Config::default() };
        let (mut lone, conn) = server(config);
        make(&mut lone, conn, "/a", &[7; 1000]);
        lone.drain = !held;
        lone.hold_disk();
        lone.send(conn, 1, OpCode::SET_DATA, &set("/a", &[8; 1000]));
        let missing = format!("/{}", "x".repeat(5000));
        let taken = |lone: &mut LoneServer| {
            let line = lone.word("mntr");
            let line = line
                .lines()
                .find_map(|line| line.strip_prefix("zk_outstanding_requests\t").map(str::to_owned));
            line.and_then(|count| count.parse::<usize>().ok()).expect("a number")
        };
        for xid in 2..=20 {
            let request = if xid == 2 { get("/a") } else { get(&missing) };
            lone.send(conn, xid, OpCode::GET_DATA, &request);
        }
        lone.drain = true;
        // The write, the first read, and as many long ones as go beyond the limit.
        assert_eq!(taken(&mut lone), 2 + 4);
        lone.drain = !held;
        assert_eq!(lone.paused.get(&conn), Some(&true));
        lone.release_disk();
        let xids = if held {
            drain_all(&mut lone, conn)
        } else {
            lone.replies(conn).iter().map(|reply| reply.xid).collect()
        };
        assert_eq!(xids, (1..=20).collect::<Vec<_>>(), "held: {held}");
        assert_eq!(lone.paused.get(&conn), Some(&false));
    }
}

/// Reads behind a write are answered as the client takes their replies, in order, and meanwhile do not count
/// against the other clients.
#[test]
fn reads_behind_a_write_are_bounded() {
    let (mut lone, conn) = server(narrow());
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a", &[7; 1000]);
    lone.drain = false;
    lone.hold_disk();
    lone.send(conn, 1, OpCode::SET_DATA, &set("/a", &[8; 1000]));
    for xid in 2..=51 {
        lone.send(conn, xid, OpCode::GET_DATA, &get("/a"));
    }
    lone.release_disk();
    let first = lone.replies(conn);
    assert!((10..14).contains(&first.len()), "{}", first.len());
    // The other client is served as ever, more requests at a time than there would be room for.
    lone.hold_disk();
    for xid in 1..=20 {
        lone.send(other, xid, OpCode::SET_DATA, &set("/a", b"y"));
    }
    lone.release_disk();
    assert_eq!(lone.replies(other).len(), 20);
    // What comes now stays behind the reads.
    lone.send(conn, 52, OpCode::WHO_AM_I, &Request::WhoAmI);
    let taken = first.iter().map(|reply| 4 + HEADER_LEN + reply.body.len()).sum();
    lone.input(Input::Drained { conn, bytes: taken });
    let xids: Vec<i32> = first.iter().map(|reply| reply.xid).chain(drain_all(&mut lone, conn)).collect();
    assert_eq!(xids, (1..=52).collect::<Vec<_>>());
    assert!(lone.closed.is_empty());
}

/// No read sees a write that was asked for after it, held back or not.
#[test]
fn held_reads_do_not_see_later_writes() {
    let (mut lone, conn) = server(narrow());
    make(&mut lone, conn, "/a", &[0; 1000]);
    lone.drain = false;
    lone.hold_disk();
    lone.send(conn, 0, OpCode::SET_DATA, &set("/a", &[0; 1000]));
    for round in 1..=3_u8 {
        for _ in 0..15 {
            lone.send(conn, i32::from(round), OpCode::GET_DATA, &get("/a"));
        }
        lone.send(conn, 100, OpCode::SET_DATA, &set("/a", &[round; 1000]));
    }
    lone.release_disk();
    let replies = lone.replies(conn);
    assert_eq!(replies.len(), 1 + 3 * 16);
    assert!(replies.is_sorted_by_key(|reply| reply.zxid));
    for reply in replies.iter().filter(|reply| (1..=3).contains(&reply.xid)) {
        assert_eq!(i32::from(reply.body[4]) + 1, reply.xid);
    }
    assert!(lone.closed.is_empty());
}

/// Where a later write cannot wait for a client that takes nothing, the client is closed, and the write is done.
#[test]
fn held_reads_before_a_write_close_a_slow_reader() {
    let (mut lone, conn) = server(narrow());
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a", &[7; 9000]);
    lone.drain = false;
    lone.hold_disk();
    lone.send(conn, 1, OpCode::SET_DATA, &set("/a", &[8; 9000]));
    for xid in 2..=40 {
        lone.send(conn, xid, OpCode::GET_DATA, &get("/a"));
    }
    lone.send(conn, 41, OpCode::SET_DATA, &set("/a", b"last"));
    lone.release_disk();
    assert_eq!(lone.closed[&conn], CloseReason::SlowReader);
    assert!(lone.take_sent(conn).len() < 120_000);
    lone.drain = true;
    let reply = lone.call(other, OpCode::GET_DATA, &get("/a"));
    assert_eq!(&reply.body[4..8], b"last");
    assert!(lone.word("srvr").contains("Outstanding: 0"));
}

/// The reply to closeSession comes after the reads before it.
#[test]
fn close_session_behind_held_reads() {
    let (mut lone, conn) = server(narrow());
    make(&mut lone, conn, "/a", &[7; 1000]);
    lone.drain = false;
    lone.hold_disk();
    lone.send(conn, 1, OpCode::SET_DATA, &set("/a", &[8; 1000]));
    for xid in 2..=31 {
        lone.send(conn, xid, OpCode::GET_DATA, &get("/a"));
    }
    lone.send(conn, 32, OpCode::CLOSE_SESSION, &Request::CloseSession);
    lone.release_disk();
    let xids: Vec<i32> = lone.replies(conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, (1..=32).collect::<Vec<_>>());
    assert_eq!(lone.closed[&conn], CloseReason::SessionClosed);
}

/// While the disk does not keep up, nobody's writes are taken, however often they connect; then all go on.
#[test]
fn log_buffer_is_bounded() {
    let (mut lone, conn) = server(Config { log_buffer_max: 10_000, ..Config::default() });
    make(&mut lone, conn, "/a", b"x");
    let clients: Vec<ConnId> = (0..40).map(|_| lone.client().0).collect();
    lone.hold_disk();
    for &client in &clients {
        lone.send(client, 1, OpCode::SET_DATA, &set("/a", &[7; 1000]));
    }
    let late = lone.connect();
    assert!(lone.handshake(late, &new_session(10_000)).is_none());
    let mut largest = 0;
    while lone.held().next().is_some() {
        if let Some(DiskOp::LogAppend { bytes, .. }) = lone.held().next() {
            largest = largest.max(bytes.len());
        }
        lone.end_next(Ok(DiskAnswer::Done));
    }
    assert!((5_000..12_000).contains(&largest), "{largest}");
    for client in clients {
        assert_eq!(lone.replies(client).len(), 1);
    }
    assert!(!lone.take_sent(late).is_empty(), "the handshake was answered");
}

/// A connection proves so many identities and no more; the same one again is none more.
#[test]
fn identities_are_bounded() {
    let (mut lone, conn) = server(Config { identities_max: 3, ..Config::default() });
    let mut auth = |user: &[u8]| {
        let request = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(user) };
        lone.call(conn, OpCode::AUTH, &request).err
    };
    for user in [b"a:a", b"b:b", b"a:a"] {
        assert_eq!(auth(user), ErrorCode::OK);
    }
    assert_eq!(auth(b"c:c"), ErrorCode::AUTHFAILED);
    assert_eq!(lone.closed[&conn], CloseReason::AuthFailed);
}

/// A client whose few bytes ask for much work has a share of every turn, and the others go on between; nothing is
/// lost or out of order, and its bytes are not taken without end.
#[test]
fn work_is_shared() {
    let config = Config { turn_work_max: 5_000, inbox_pause_bytes: 500, ..Config::default() };
    let (mut lone, conn) = server(config);
    make(&mut lone, conn, "/a", b"x");
    for n in 0..100 {
        make(&mut lone, conn, &format!("/a/{n}"), b"x");
    }
    let (other, _) = lone.client();
    let count = Request::GetAllChildrenNumber { path: "/a" };
    let bytes = |xids: std::ops::RangeInclusive<i32>| -> Vec<u8> {
        xids.flat_map(|xid| frame(xid, OpCode::GET_ALL_CHILDREN_NUMBER, &count)).collect()
    };
    lone.receive(conn, bytes(1..=40));
    assert_eq!(lone.replies(conn).len(), 1, "one is more than its share");
    assert!(lone.paused[&conn]);
    lone.receive(conn, bytes(41..=42));
    assert_eq!(lone.replies(conn).len(), 0, "its bytes are no turn");
    assert_eq!(lone.call(other, OpCode::GET_DATA, &get("/a")).err, ErrorCode::OK);
    assert_eq!(lone.server.poll_timeout(), Some(lone.now.mono), "it is due now");
    lone.input(Input::Tick);
    assert_eq!(lone.replies(conn).iter().map(|reply| reply.xid).collect::<Vec<_>>(), [2]);
    lone.pass(std::time::Duration::ZERO);
    let xids: Vec<i32> = lone.replies(conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, (3..=42).collect::<Vec<_>>());
    assert!(!lone.paused[&conn]);
    assert!(lone.server.poll_timeout() > Some(lone.now.mono));
}

/// The same for such reads behind a write.
#[test]
fn work_behind_a_write_is_shared() {
    let (mut lone, conn) = server(Config { turn_work_max: 5_000, ..Config::default() });
    make(&mut lone, conn, "/a", b"x");
    for n in 0..100 {
        make(&mut lone, conn, &format!("/a/{n}"), b"x");
    }
    lone.hold_disk();
    lone.send(conn, 1, OpCode::SET_DATA, &set("/a", b"y"));
    for xid in 2..=20 {
        lone.send(conn, xid, OpCode::GET_ALL_CHILDREN_NUMBER, &Request::GetAllChildrenNumber { path: "/a" });
    }
    lone.release_disk();
    assert_eq!(lone.replies(conn).len(), 2);
    lone.send(conn, 21, OpCode::WHO_AM_I, &Request::WhoAmI);
    lone.pass(std::time::Duration::ZERO);
    let xids: Vec<i32> = lone.replies(conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, (3..=21).collect::<Vec<_>>());
}
