//! What went wrong once, found by the fuzz targets or on the way to them: each test is named after it.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{Event, HaltReason, Input};
use zabra_core::store::{DiskAnswer, DiskOp};
use zabra_core::testing::lone::{LoneServer, frame};
use zabra_core::types::{Acl, AclList, ConnId, ErrorCode, Id, OpCode, Perms};
use zabra_core::wire::record::{Scan, scan};
use zabra_core::wire::{MultiOp, Reader, Request, txn};

fn create(path: &str) -> Request<'_> {
    create_with(path, 0, AclList::OpenUnsafe)
}

fn create_with(path: &str, flags: i32, acl: AclList) -> Request<'_> {
    Request::Create { path, data: Some(b"d"), acl: Some(acl), flags, ttl: None }
}

fn set(lone: &mut LoneServer, conn: ConnId, times: usize) {
    for _ in 0..times {
        let set = Request::SetData { path: "/a", data: None, version: -1 };
        assert_eq!(lone.call(conn, OpCode::SET_DATA, &set).err, ErrorCode::OK);
    }
}

/// A server that had begun to stop went on to name deadlines that no tick would move, so that whoever ran it sent
/// ticks without a pause for as long as the disk took.
#[test]
fn a_stopping_server_asks_for_ticks_that_settle_nothing() {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a"));
    lone.input(Input::Shutdown);
    assert_eq!(lone.halted, None, "the disk is not done");
    lone.now.mono = lone.now.mono + Duration::from_secs(3600);
    lone.input(Input::Tick);
    assert_eq!(lone.server.poll_timeout(), None);
    lone.release_disk();
    assert_eq!(lone.halted, Some(HaltReason::Shutdown));
}

/// A server that stopped named no time for the reads that had had their share of a turn, and halted before they were
/// answered.
#[test]
fn a_stopping_server_leaves_reads_that_had_their_turn() {
    let mut lone = LoneServer::new(Config { turn_work_max: 100, ..Config::default() });
    let (conn, _) = lone.client();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a"));
    for xid in 2..=50 {
        lone.send(conn, xid, OpCode::EXISTS, &Request::Exists { path: "/a", watch: false });
    }
    lone.input(Input::Shutdown);
    lone.release_disk();
    lone.pass(Duration::ZERO);
    let answered: Vec<i32> = lone.replies(conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(answered, (1..=50).collect::<Vec<_>>());
    assert_eq!(lone.halted, Some(HaltReason::Shutdown));
}

/// Snapshots that the server wrote itself did not count as whole before the next start, so purging never found
/// enough of them to remove an older one.
#[test]
fn snapshots_of_this_run_are_never_purged() {
    let interval = Duration::from_secs(60);
    let config = Config { snap_count: 4, purge_interval: Some(interval), ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    assert_eq!(lone.call(conn, OpCode::CREATE, &create("/a")).err, ErrorCode::OK);
    set(&mut lone, conn, 40);
    lone.hold_disk();
    lone.now.mono = lone.now.mono + interval;
    lone.input(Input::Tick);
    let removed = lone.held().find_map(|op| match op {
        DiskOp::Remove { files, .. } => Some(files.len()),
        _ => None,
    });
    assert!(removed.is_some_and(|files| files > 2), "three of many snapshots stay: {removed:?}");
}

/// Requests whose xid is not positive did not count as outstanding, so a client that sent nothing else was read from
/// without end while the disk took its time, and all it sent was kept.
#[test]
fn requests_without_a_positive_xid_are_never_throttled() {
    const LIMIT: usize = 10;
    let config = Config { global_outstanding_limit: LIMIT, inbox_pause_bytes: 100, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    lone.hold_disk();
    lone.send(conn, 0, OpCode::CREATE, &create("/a"));
    for _ in 0..LIMIT + 100 {
        lone.send(conn, 0, OpCode::EXISTS, &Request::Exists { path: "/a", watch: false });
    }
    assert_eq!(lone.paused.get(&conn), Some(&true), "more is read than may wait");
    lone.release_disk();
    assert_eq!(lone.paused.get(&conn), Some(&false));
    assert_eq!(lone.replies(conn).len(), 1 + LIMIT + 100, "every one is answered in the end");
}

/// A request that is short enough can become a transaction that is not: `auth` in an ACL stands for all that the
/// connection has proved, what is not UTF-8 there is replaced by three bytes for one, and the end of a session names
/// all its znodes. What was logged then was refused by recovery as corrupt: the server did not start again.
#[test]
fn transactions_are_logged_that_recovery_refuses_to_read() {
    let config = Config { jute_max_buffer: 2000, jute_max_buffer_extra: 1024, ..Config::default() };
    let longest = config.stored_field_max();
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    for user in 0..20 {
        let name = format!("{user:040}:secret");
        let auth = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(name.as_bytes()) };
        assert_eq!(lone.call(conn, OpCode::AUTH, &auth).err, ErrorCode::OK);
    }
    let ephemeral = 1;
    lone.hold_disk();
    for n in 0..200 {
        let path = format!("/ephemeral-{n:03}");
        lone.send(conn, 1, OpCode::CREATE, &create_with(&path, ephemeral, AclList::OpenUnsafe));
    }
    let auth = AclList::from(vec![Acl { perms: Perms::ALL, id: Id::new("auth", "") }]);
    let part = || create_with("/auth-", 2, auth.clone());
    let parts = (0..20).map(|_| MultiOp { op: OpCode::CREATE, request: part() });
    lone.send(conn, 2, OpCode::MULTI, &Request::Multi(parts.collect()));
    // An id of a thousand bytes that are no UTF-8, put in where a text of that length was.
    let id = format!("{}:h", "x".repeat(1500));
    let long = AclList::from(vec![Acl { perms: Perms::ALL, id: Id::new("digest", id) }]);
    let mut bytes = frame(4, OpCode::CREATE, &create_with("/long", 0, long));
    bytes.iter_mut().filter(|byte| **byte == b'x').for_each(|byte| *byte = 0xff);
    lone.receive(conn, bytes);
    lone.send(conn, 5, OpCode::CLOSE_SESSION, &Request::CloseSession);

    let mut log = Vec::new();
    loop {
        let Some(op) = lone.held().next().cloned() else { break };
        if let DiskOp::LogAppend { bytes, .. } = op {
            log.extend_from_slice(&bytes);
        }
        lone.end_next(Ok(DiskAnswer::Done));
    }
    let replies = lone.replies(conn);
    let code = |xid: i32| replies.iter().find(|reply| reply.xid == xid).expect("a reply").err;
    assert_eq!((code(4), code(5)), (ErrorCode::BADARGUMENTS, ErrorCode::OK));

    let (mut rest, mut records) = (&log[..], 0);
    while !rest.is_empty() {
        let Scan::Record { payload, total_len } = scan(rest, longest) else {
            panic!("behind {records} records there is {:?}", scan(rest, longest));
        };
        txn::decode(payload, longest).expect("what was logged can be read");
        (rest, records) = (&rest[total_len..], records + 1);
    }
    assert_eq!(records, 200 + 3, "creates, the two that were refused, the end of the session");
    assert!(!lone.events.iter().any(|event| matches!(event, Event::DigestMismatch { .. })));
    lone.release_disk();
    let (conn, _) = lone.client();
    let children = lone.call(conn, OpCode::GET_CHILDREN, &Request::GetChildren { path: "/", watch: false });
    assert_eq!(Reader::new(&children.body).required_strings(), Ok(vec!["zookeeper"]));
}
