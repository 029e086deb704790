//! Local sessions: they cost no transaction, do all but ephemeral znodes, and become known to all when they must.

use core::time::Duration;

use zabra_core::server::Event;
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::testing::lone::new_session;
use zabra_core::types::{AclList, ConnId, ErrorCode, OpCode};
use zabra_core::wire::Request;
use zabra_core::wire::connect::ConnectRequest;
use zabra_core::wire::request::MultiOp;

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags, ttl: None }
}

/// Three voters and an observer; server 3 leads.
fn ensemble(upgrading: bool) -> Cluster {
    let mut cluster = Cluster::new(&members(3, 1), |config| {
        let ensemble = config.ensemble.as_mut().expect("a member");
        ensemble.local_sessions = true;
        ensemble.local_sessions_upgrading = upgrading;
    });
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    cluster
}

fn call(cluster: &mut Cluster, id: i64, conn: ConnId, op: OpCode, request: &Request<'_>) -> ErrorCode {
    cluster.call(id, conn, op, request).expect("an answer").err
}

#[test]
fn sess_local_costs_no_transaction_and_is_known_here_alone() {
    for id in 1..=4 {
        let mut cluster = ensemble(false);
        let before = cluster.applied(id);
        let (conn, answer) = cluster.client(id).expect("a session");
        assert_eq!(cluster.applied(id), before, "server {id}");
        let (session, password) = (answer.session, answer.password);
        let again = ConnectRequest { session, password: &password, ..new_session(10_000) };
        for other in (1..=4).filter(|&other| other != id) {
            assert!(cluster.client_with(other, &again).is_none(), "{other} knows a session of {id}");
        }
        let (moved, _) = cluster.client_with(id, &again).expect("its own server knows it");
        assert!(cluster.is_closed(id, conn));
        assert_eq!(call(&mut cluster, id, moved, OpCode::CREATE, &create("/n", 0)), ErrorCode::OK);
        let after = cluster.applied(id);
        assert_ne!(after, before);
        let close = Request::CloseSession;
        assert_eq!(call(&mut cluster, id, moved, OpCode::CLOSE_SESSION, &close), ErrorCode::OK);
        assert!(cluster.is_closed(id, moved));
        assert!(cluster.client_with(id, &again).is_none(), "it has ended");
        assert_eq!(cluster.applied(id), after, "server {id}");
    }
}

/// What a client sends behind a write is answered behind it, its farewell included.
#[test]
fn sess_local_answers_keep_the_order_of_requests() {
    for id in 1..=4 {
        let mut cluster = ensemble(false);
        let (conn, _) = cluster.client(id).expect("a session");
        cluster.send(id, conn, 1, OpCode::CREATE, &create("/a", 0));
        cluster.send(id, conn, 2, OpCode::CREATE, &create("/e", 1));
        cluster.send(id, conn, 3, OpCode::CREATE, &create("/b", 0));
        cluster.send(id, conn, 4, OpCode::CLOSE_SESSION, &Request::CloseSession);
        cluster.run();
        let replies: Vec<_> = cluster.replies(id, conn).iter().map(|reply| (reply.xid, reply.err)).collect();
        let (ok, refused) = (ErrorCode::OK, ErrorCode::EPHEMERALONLOCALSESSION);
        assert_eq!(replies, [(1, ok), (2, refused), (3, ok), (4, ok)], "server {id}");
        assert!(cluster.is_closed(id, conn));
    }
}

/// PARITY `sess.local.note`, `multi.session`.
#[test]
fn sess_local_note_only_ephemeral_znodes_are_refused() {
    for id in 1..=4 {
        let mut cluster = ensemble(false);
        let (conn, _) = cluster.client(id).expect("a session");
        let refused = ErrorCode::EPHEMERALONLOCALSESSION;
        for flags in [1, 3] {
            for op in [OpCode::CREATE, OpCode::CREATE2] {
                assert_eq!(call(&mut cluster, id, conn, op, &create("/e", flags)), refused, "server {id}");
            }
        }
        let part = |flags| MultiOp { op: OpCode::CREATE, request: create("/m", flags) };
        assert_eq!(call(&mut cluster, id, conn, OpCode::MULTI, &Request::Multi(vec![part(1)])), refused);
        assert_eq!(
            call(&mut cluster, id, conn, OpCode::MULTI, &Request::Multi(vec![part(0)])),
            ErrorCode::OK
        );
        let set = Request::SetData { path: "/m", data: None, version: 0 };
        assert_eq!(call(&mut cluster, id, conn, OpCode::SET_DATA, &set), ErrorCode::OK);
        assert!(cluster.exists(id, "/m") && !cluster.exists(id, "/e"));
    }
}

#[test]
fn sess_local_upgrade_comes_before_what_needs_it() {
    for id in 1..=4 {
        let mut cluster = ensemble(true);
        let (conn, answer) = cluster.client(id).expect("a session");
        cluster.send(id, conn, 1, OpCode::CREATE, &create("/e", 1));
        cluster.send(id, conn, 2, OpCode::CREATE, &create("/f", 1));
        cluster.run();
        let replies: Vec<_> = cluster.replies(id, conn).iter().map(|reply| (reply.xid, reply.err)).collect();
        assert_eq!(replies, [(1, ErrorCode::OK), (2, ErrorCode::OK)], "server {id}");
        // It can be taken along now.
        let other = if id == 1 { 2 } else { 1 };
        let (session, password) = (answer.session, answer.password);
        let again = ConnectRequest { session, password: &password, ..new_session(10_000) };
        let (moved, _) = cluster.client_with(other, &again).expect("all know it");
        assert!(cluster.exists(other, "/e"));
        let close = Request::CloseSession;
        assert_eq!(call(&mut cluster, other, moved, OpCode::CLOSE_SESSION, &close), ErrorCode::OK);
        cluster.pass(Duration::from_millis(300));
        assert!(!cluster.exists(id, "/e") && !cluster.exists(id, "/f"));
    }
}

/// Nobody but its own server lets it expire; once it is upgraded, the leader does.
#[test]
fn sess_local_expires_where_it_is() {
    for (id, upgrading) in (1..=4).flat_map(|id| [(id, false), (id, true)]) {
        let mut cluster = ensemble(upgrading);
        let (conn, answer) = cluster.client_with(id, &new_session(1000)).expect("a session");
        if upgrading {
            assert_eq!(call(&mut cluster, id, conn, OpCode::CREATE, &create("/e", 1)), ErrorCode::OK);
        }
        cluster.pass(Duration::from_millis(2500));
        assert!(cluster.is_closed(id, conn), "server {id}");
        let expired = |event: &Event| *event == Event::SessionExpired { session: answer.session };
        let by = if upgrading { 3 } else { id };
        for server in 1..=4 {
            assert_eq!(cluster.events(server).iter().any(expired), server == by, "{server} of {id}");
        }
        assert!(!cluster.exists(id, "/e"));
    }
}

/// With its server's role it ends.
#[test]
fn sess_local_ends_with_the_leader() {
    let mut cluster = ensemble(false);
    let (conn, answer) = cluster.client(1).expect("a session");
    cluster.kill(3, 1);
    cluster.settle();
    assert!(cluster.is_closed(1, conn));
    let (session, password) = (answer.session, answer.password);
    let again = ConnectRequest { session, password: &password, ..new_session(10_000) };
    assert!(cluster.client_with(1, &again).is_none());
}
