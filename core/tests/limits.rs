//! What one client can cost the server: every reply, queue and list that a client makes grow has an end.

use zabra_core::config::Config;
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{AclList, ConnId, ErrorCode, OpCode};
use zabra_core::wire::Request;
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
