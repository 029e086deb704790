//! What went wrong once, found by the fuzz targets or on the way to them: each test is named after it.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{HaltReason, Input};
use zabra_core::store::DiskOp;
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{AclList, ConnId, ErrorCode, OpCode};
use zabra_core::wire::Request;

fn create(path: &str) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags: 0, ttl: None }
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
