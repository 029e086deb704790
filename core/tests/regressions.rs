//! What went wrong once, found by the fuzz targets or on the way to them: each test is named after it.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::{HaltReason, Input};
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{AclList, OpCode};
use zabra_core::wire::Request;

fn create(path: &str) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags: 0, ttl: None }
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
