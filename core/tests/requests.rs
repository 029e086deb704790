//! Requests and their replies, byte for byte where it matters: PARITY `req.*`, `op.*`, `multi.*`, `auth.*`, `watch.*`
//! and the data model, asked of a whole server.

use std::time::Duration;

use zabra_core::config::{Config, FourLetterWords};
use zabra_core::server::{CloseReason, Event, HaltReason, Input};
use zabra_core::store::{DiskAnswer, DiskError, DiskOp};
use zabra_core::testing::lone::{LoneServer, Reply, frame};
use zabra_core::types::{Acl, AclList, ConnId, ErrorCode, EventType, Id, OpCode, Perms, Stat, Zxid};
use zabra_core::wire::data::decode_stat;
use zabra_core::wire::reply::WatchEvent;
use zabra_core::wire::request::MultiOp;
use zabra_core::wire::{Reader, Request, Writer};

fn server() -> (LoneServer, ConnId) {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    (lone, conn)
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags, ttl: None }
}

fn make(lone: &mut LoneServer, conn: ConnId, path: &str) {
    assert_eq!(lone.call(conn, OpCode::CREATE, &create(path, 0)).err, ErrorCode::OK, "{path}");
}

fn set(path: &str) -> Request<'_> {
    Request::SetData { path, data: Some(b"yy"), version: -1 }
}

fn stat(lone: &mut LoneServer, conn: ConnId, path: &str) -> Stat {
    let reply = lone.call(conn, OpCode::EXISTS, &Request::Exists { path, watch: false });
    assert_eq!(reply.err, ErrorCode::OK, "{path}");
    decode_stat(&mut Reader::new(&reply.body)).expect("a stat")
}

fn path_of(reply: &Reply) -> String {
    Reader::new(&reply.body).required_string().expect("a path").into()
}

fn event(reply: &Reply) -> (EventType, String) {
    assert_eq!(reply.xid, -1, "an event");
    let event = WatchEvent::decode(&mut Reader::new(&reply.body)).expect("an event");
    (event.kind, event.path.into())
}

fn no_mismatch(lone: &LoneServer) {
    assert!(!lone.events.iter().any(|event| matches!(event, Event::DigestMismatch { .. })));
}

/// `stat.cversion`, `stat.pzxid`, `seq.format`: the counter that names children is not the one clients see.
#[test]
fn seq_format_and_stat_cversion() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/q");
    assert_eq!(path_of(&lone.call(conn, OpCode::CREATE, &create("/q/n-", 2))), "/q/n-0000000000");
    make(&mut lone, conn, "/q/plain");
    lone.call(conn, OpCode::DELETE, &Request::Delete { path: "/q/plain", version: -1 });
    assert_eq!(path_of(&lone.call(conn, OpCode::CREATE, &create("/q/n-", 2))), "/q/n-0000000002");
    let stat = stat(&mut lone, conn, "/q");
    assert_eq!((stat.cversion, stat.num_children), (4, 2), "three creates and one delete");
    no_mismatch(&lone);
}

/// `path.seq.slash`: the suffix comes before validation.
#[test]
fn path_seq_slash() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/q");
    assert_eq!(path_of(&lone.call(conn, OpCode::CREATE, &create("/q/", 2))), "/q/0000000000");
    assert_eq!(lone.call(conn, OpCode::CREATE, &create("/q/", 0)).err, ErrorCode::BADARGUMENTS);
}

/// `op.create.checks`: which error comes first.
#[test]
fn op_create_checks() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    lone.call(conn, OpCode::CREATE, &create("/e", 1));
    let refused = |lone: &mut LoneServer, op, request: &Request<'_>| lone.call(conn, op, request).err;
    let bad_acl = |path| Request::Create { path, data: None, acl: None, flags: 0, ttl: None };
    for (op, request, expected) in [
        (OpCode::CREATE, create("/b", 9), ErrorCode::BADARGUMENTS),
        (OpCode::CREATE, create("/b", 5), ErrorCode::UNIMPLEMENTED),
        (OpCode::CREATE, create("none", 0), ErrorCode::BADARGUMENTS),
        (OpCode::CREATE, create("/b\0", 0), ErrorCode::BADARGUMENTS),
        (OpCode::CREATE, bad_acl("/no/b"), ErrorCode::INVALIDACL),
        (OpCode::CREATE, create("/no/b", 0), ErrorCode::NONODE),
        (OpCode::CREATE, create("/a/../b", 0), ErrorCode::NONODE),
        (OpCode::CREATE, create("/a/..", 0), ErrorCode::BADARGUMENTS),
        (OpCode::CREATE, create("/a", 0), ErrorCode::NODEEXISTS),
        (OpCode::CREATE, create("/", 0), ErrorCode::NODEEXISTS),
        (OpCode::CREATE, create("/e/x", 0), ErrorCode::NOCHILDRENFOREPHEMERALS),
        (OpCode::CREATE2, create("/a", 0), ErrorCode::NODEEXISTS),
    ] {
        assert_eq!(refused(&mut lone, op, &request), expected, "{request:?}");
    }
}

/// `op.create.kind`, `stat.ephemeralOwner`, `node.container`, `node.ttl`: the operation decides what is stored.
#[test]
fn op_create_kind() {
    let mut lone = LoneServer::new(Config { extended_types: true, ..Config::default() });
    let (conn, answer) = lone.client();
    assert_eq!(lone.call(conn, OpCode::CREATE, &create("/flag", 4)).err, ErrorCode::OK);
    assert_eq!(lone.call(conn, OpCode::CREATE_CONTAINER, &create("/container", 4)).err, ErrorCode::OK);
    let ttl = |path, flags, ttl| Request::Create {
        path,
        data: None,
        acl: Some(AclList::OpenUnsafe),
        flags,
        ttl: Some(ttl),
    };
    assert_eq!(lone.call(conn, OpCode::CREATE_TTL, &ttl("/ttl", 5, 1000)).err, ErrorCode::OK);
    for (flags, millis) in [(5, 0), (5, -1), (5, 1 << 40), (0, 5), (1, 5), (0, -1)] {
        let reply = lone.call(conn, OpCode::CREATE_TTL, &ttl("/no", flags, millis));
        assert_eq!(reply.err, ErrorCode::BADARGUMENTS, "{flags} {millis}");
    }
    assert_eq!(lone.call(conn, OpCode::CREATE, &create("/e", 1)).err, ErrorCode::OK);
    for path in ["/flag", "/container", "/ttl"] {
        assert_eq!(stat(&mut lone, conn, path).ephemeral_owner.0, 0, "{path}");
    }
    assert_eq!(stat(&mut lone, conn, "/e").ephemeral_owner, answer.session);
    // The TTL node and the container, once it has had a child, are deleted; the others stay.
    make(&mut lone, conn, "/container/c");
    lone.call(conn, OpCode::DELETE, &Request::Delete { path: "/container/c", version: -1 });
    for _ in 0..13 {
        lone.pass(Duration::from_secs(5));
        lone.call(conn, OpCode::PING, &Request::Ping);
    }
    for (path, expected) in
        [("/flag", ErrorCode::OK), ("/container", ErrorCode::NONODE), ("/ttl", ErrorCode::NONODE)]
    {
        let reply = lone.call(conn, OpCode::EXISTS, &Request::Exists { path, watch: false });
        assert_eq!(reply.err, expected, "{path}");
    }
    no_mismatch(&lone);
}

/// `op.delete`, `path.reserved`.
#[test]
fn op_delete() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    make(&mut lone, conn, "/a/b");
    for (path, version, expected) in [
        ("/", -1, ErrorCode::BADARGUMENTS),
        ("/zookeeper", -1, ErrorCode::BADARGUMENTS),
        ("/zookeeper/quota", -1, ErrorCode::BADARGUMENTS),
        ("/zookeeper/config", -1, ErrorCode::BADARGUMENTS),
        ("a", -1, ErrorCode::BADARGUMENTS),
        ("/no/x", -1, ErrorCode::NONODE),
        ("/a/no", -1, ErrorCode::NONODE),
        ("/a", 1, ErrorCode::BADVERSION),
        ("/a", 0, ErrorCode::NOTEMPTY),
        ("/a/b", 0, ErrorCode::OK),
        ("/a", 0, ErrorCode::OK),
    ] {
        let reply = lone.call(conn, OpCode::DELETE, &Request::Delete { path, version });
        assert_eq!(reply.err, expected, "{path} {version}");
    }
    no_mismatch(&lone);
}

/// `req.failed-write`, `hdr.zxid`: a refused write takes a zxid; a read tells the last one.
#[test]
fn req_failed_write() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    let refused = lone.call(conn, OpCode::CREATE, &create("/a", 0));
    assert_eq!((refused.err, refused.zxid), (ErrorCode::NODEEXISTS, Zxid(3)));
    let read = lone.call(conn, OpCode::EXISTS, &Request::Exists { path: "/a", watch: false });
    assert_eq!(read.zxid, Zxid(3));
}

/// `req.invalid`, `op.deleteContainer`: answered, then the connection is closed.
#[test]
fn req_invalid() {
    for op in
        [OpCode::NOTIFICATION, OpCode::CHECK, OpCode::DELETE_CONTAINER, OpCode::CREATE_SESSION, OpCode(500)]
    {
        let (mut lone, conn) = server();
        let mut bytes = 12_i32.to_be_bytes().to_vec();
        bytes.extend(7_i32.to_be_bytes());
        bytes.extend(op.0.to_be_bytes());
        bytes.extend([0; 4]);
        lone.receive(conn, bytes);
        let reply = lone.replies(conn).pop().expect("a reply");
        assert_eq!((reply.xid, reply.zxid, reply.err), (7, Zxid(-1), ErrorCode::UNIMPLEMENTED), "{op:?}");
        assert_eq!(lone.closed[&conn], CloseReason::UnknownOperation);
    }
}

/// `req.marshalling`: a body that does not decode is answered in its turn, and the connection goes on.
#[test]
fn req_marshalling() {
    let (mut lone, conn) = server();
    for op in [OpCode::CREATE, OpCode::MULTI, OpCode::GET_DATA, OpCode::SET_WATCHES] {
        let mut bytes = 9_i32.to_be_bytes().to_vec();
        bytes.extend(3_i32.to_be_bytes());
        bytes.extend(op.0.to_be_bytes());
        bytes.push(0);
        lone.receive(conn, bytes);
        let reply = lone.replies(conn).pop().expect("a reply");
        assert_eq!(reply.err, ErrorCode::MARSHALLINGERROR, "{op:?}");
    }
    make(&mut lone, conn, "/still-here");
}

/// `order.session`, `sem.read-after-write`: replies come in the order of requests, reads see the writes before.
#[test]
fn order_session() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(conn, 2, OpCode::EXISTS, &Request::Exists { path: "/a", watch: false });
    lone.send(conn, -2, OpCode::PING, &Request::Ping);
    lone.send(conn, 3, OpCode::SET_DATA, &set("/a"));
    lone.send(conn, 4, OpCode::GET_DATA, &Request::GetData { path: "/a", watch: false });
    assert_eq!(lone.replies(conn), [], "nothing is promised before it is durable");
    lone.release_disk();
    let replies = lone.replies(conn);
    assert_eq!(replies.iter().map(|reply| reply.xid).collect::<Vec<_>>(), [1, 2, -2, 3, 4]);
    assert!(replies.iter().all(|reply| reply.err == ErrorCode::OK), "{replies:?}");
    assert_eq!(Reader::new(&replies[4].body).buffer(), Ok(Some(&b"yy"[..])));
}

/// `sem.read-local`: a read of another session goes on while a sync is in flight, and sees what is committed.
#[test]
fn reads_go_on_during_a_sync() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    let read = lone.call(other, OpCode::EXISTS, &Request::Exists { path: "/a", watch: false });
    assert_eq!(read.err, ErrorCode::NONODE);
    lone.release_disk();
}

/// Everything that was taken while a sync was in flight leaves in one write with one sync.
#[test]
fn disk_log_batch() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    for xid in 0..100 {
        lone.send(conn, xid, OpCode::CREATE, &create(&format!("/n{xid}"), 0));
    }
    assert_eq!(lone.held().count(), 1);
    lone.end_next(Ok(DiskAnswer::Done));
    assert_eq!(lone.replies(conn).len(), 1);
    assert!(matches!(lone.held().next(), Some(DiskOp::LogAppend { sync: true, .. })));
    lone.end_next(Ok(DiskAnswer::Done));
    assert_eq!(lone.replies(conn).len(), 99);
}

/// `multi.ok`, `multi.samezxid`, `multi.atomic`: each operation sees the ones before it.
#[test]
fn multi_ok() {
    let (mut lone, conn) = server();
    let ops = vec![
        MultiOp { op: OpCode::CREATE, request: create("/m", 0) },
        MultiOp { op: OpCode::CREATE2, request: create("/m/s-", 2) },
        MultiOp { op: OpCode::CREATE_CONTAINER, request: create("/m/c", 4) },
        MultiOp { op: OpCode::SET_DATA, request: Request::SetData { path: "/m", data: None, version: 0 } },
        MultiOp { op: OpCode::CHECK, request: Request::Check { path: "/m", version: 1 } },
        MultiOp { op: OpCode::DELETE, request: Request::Delete { path: "/m/c", version: 0 } },
    ];
    let reply = lone.call(conn, OpCode::MULTI, &Request::Multi(ops));
    assert_eq!(reply.err, ErrorCode::OK);
    let mut reader = Reader::new(&reply.body);
    let mut kinds = Vec::new();
    loop {
        let kind = OpCode(reader.int().expect("a result"));
        let done = reader.boolean().expect("a result");
        let err = reader.int().expect("a result");
        if done {
            assert_eq!((kind.0, err), (-1, -1));
            break;
        }
        assert_eq!(err, 0);
        kinds.push(kind);
        match kind {
            OpCode::CREATE => assert_eq!(reader.required_string(), Ok("/m")),
            OpCode::CREATE2 => {
                reader.required_string().expect("a path");
                let stat = decode_stat(&mut reader).expect("a stat");
                assert_eq!(stat.czxid, reply.zxid);
            }
            OpCode::SET_DATA => assert_eq!(decode_stat(&mut reader).expect("a stat").version, 1),
            _ => {}
        }
    }
    let expected =
        [OpCode::CREATE, OpCode::CREATE2, OpCode::CREATE2, OpCode::SET_DATA, OpCode::CHECK, OpCode::DELETE];
    assert_eq!(kinds, expected);
    no_mismatch(&lone);
}

/// `multi.fail`: nothing happens, and what is pending beside it is as it was.
#[test]
fn multi_fail() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/q");
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/q/s-", 2));
    let ops = vec![
        MultiOp { op: OpCode::CREATE, request: create("/q/s-", 2) },
        MultiOp { op: OpCode::DELETE, request: Request::Delete { path: "/none", version: -1 } },
        MultiOp { op: OpCode::CREATE, request: create("/later", 0) },
    ];
    lone.send(conn, 2, OpCode::MULTI, &Request::Multi(ops));
    lone.send(conn, 3, OpCode::CREATE, &create("/q/s-", 2));
    lone.release_disk();
    let replies = lone.replies(conn);
    assert_eq!(path_of(&replies[0]), "/q/s-0000000000");
    assert_eq!(path_of(&replies[2]), "/q/s-0000000001", "the failed multi gave its number back");
    assert_eq!(replies[1].err, ErrorCode::OK, "the header says OK");
    let mut reader = Reader::new(&replies[1].body);
    for expected in [0, ErrorCode::NONODE.0, ErrorCode::RUNTIMEINCONSISTENCY.0] {
        assert_eq!(reader.int(), Ok(-1));
        assert_eq!(reader.boolean(), Ok(false));
        assert_eq!(reader.int(), Ok(expected));
        assert_eq!(reader.int(), Ok(expected));
    }
    let later = lone.call(conn, OpCode::EXISTS, &Request::Exists { path: "/later", watch: false });
    assert_eq!(later.err, ErrorCode::NONODE);
    no_mismatch(&lone);
}

/// `multi.empty`: an empty success.
#[test]
fn multi_empty() {
    let (mut lone, conn) = server();
    let reply = lone.call(conn, OpCode::MULTI, &Request::Multi(Vec::new()));
    assert_eq!((reply.err, reply.body.len()), (ErrorCode::OK, 9));
}

/// `watch.event`, `watch.event.zxid`, `sem.watch-before-data`: the event comes before the reply to the change.
#[test]
fn sem_watch_before_data() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    lone.call(conn, OpCode::GET_DATA, &Request::GetData { path: "/a", watch: true });
    lone.send(conn, 5, OpCode::SET_DATA, &set("/a"));
    let replies = lone.replies(conn);
    assert_eq!(event(&replies[0]), (EventType::NodeDataChanged, "/a".into()));
    assert_eq!(replies[0].zxid, replies[1].zxid);
    assert_eq!(replies[1].xid, 5);
    lone.send(conn, 6, OpCode::SET_DATA, &set("/a"));
    assert_eq!(lone.replies(conn).len(), 1, "one-shot");
}

/// `watch.acl`: who may not read is not told, and the watch is used up all the same.
#[test]
fn watch_acl() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    lone.call(other, OpCode::GET_DATA, &Request::GetData { path: "/a", watch: true });
    let acl = AclList::from(vec![Acl { perms: Perms(2 | 16), id: Id::ANYONE }]);
    let hide = Request::SetAcl { path: "/a", acl: Some(acl), version: -1 };
    assert_eq!(lone.call(conn, OpCode::SET_ACL, &hide).err, ErrorCode::OK);
    lone.call(conn, OpCode::SET_DATA, &set("/a"));
    assert_eq!(lone.replies(other), []);
}

/// `watch.setwatches`: what was missed is told before the reply.
#[test]
fn watch_setwatches() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/same");
    make(&mut lone, conn, "/parent");
    make(&mut lone, conn, "/changed");
    let seen = lone.call(conn, OpCode::PING, &Request::Ping).zxid;
    lone.call(conn, OpCode::SET_DATA, &set("/changed"));
    make(&mut lone, conn, "/parent/child");
    let request = Request::SetWatches {
        relative_zxid: seen,
        data: vec!["/same", "/changed", "/gone"],
        exist: vec!["/same", "/none"],
        child: vec!["/same", "/parent", "/gone"],
        persistent: vec![],
        recursive: vec![],
    };
    lone.send(conn, -8, OpCode::SET_WATCHES, &request);
    let mut replies = lone.replies(conn);
    let reply = replies.pop().expect("the reply comes last");
    assert_eq!((reply.xid, reply.err, reply.body.len()), (-8, ErrorCode::OK, 0));
    assert!(replies.iter().all(|reply| reply.zxid == Zxid::UNKNOWN));
    let events: Vec<_> = replies.iter().map(event).collect();
    assert_eq!(
        events,
        [
            (EventType::NodeDataChanged, "/changed".into()),
            (EventType::NodeDeleted, "/gone".into()),
            (EventType::NodeCreated, "/same".into()),
            (EventType::NodeChildrenChanged, "/parent".into()),
            (EventType::NodeDeleted, "/gone".into()),
        ]
    );
    lone.send(conn, 9, OpCode::SET_DATA, &set("/same"));
    assert_eq!(event(&lone.replies(conn)[0]), (EventType::NodeDataChanged, "/same".into()));
}

/// `op.addWatch`, `watch.recursive`, `op.removeWatches`, `op.checkWatches`.
#[test]
fn op_add_watch() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/r");
    let reply = lone.call(conn, OpCode::ADD_WATCH, &Request::AddWatch { path: "/r", mode: 1 });
    assert_eq!((reply.err, &reply.body[..]), (ErrorCode::OK, &[0; 4][..]));
    lone.send(conn, 2, OpCode::CREATE, &create("/r/x", 0));
    let replies = lone.replies(conn);
    assert_eq!(event(&replies[0]), (EventType::NodeCreated, "/r/x".into()));
    assert_eq!(replies.len(), 2, "and no event for the children");
    let check = |kind| Request::CheckWatches { path: "/r", kind };
    assert_eq!(lone.call(conn, OpCode::CHECK_WATCHES, &check(5)).err, ErrorCode::OK);
    assert_eq!(lone.call(conn, OpCode::CHECK_WATCHES, &check(2)).err, ErrorCode::NOWATCHER);
    assert_eq!(lone.call(conn, OpCode::CHECK_WATCHES, &check(9)).err, ErrorCode::MARSHALLINGERROR);
    let remove = Request::RemoveWatches { path: "/r", kind: 3 };
    assert_eq!(lone.call(conn, OpCode::REMOVE_WATCHES, &remove).err, ErrorCode::OK);
    assert_eq!(lone.call(conn, OpCode::REMOVE_WATCHES, &remove).err, ErrorCode::NOWATCHER);
    let bad = Request::AddWatch { path: "/r", mode: 7 };
    assert_eq!(lone.call(conn, OpCode::ADD_WATCH, &bad).err, ErrorCode::MARSHALLINGERROR);
}

/// `auth.ok`, `auth.fail`, `acl.digest.super`, `op.whoAmI`, `op.getACL`, `acl.which`.
#[test]
fn auth_and_acl() {
    let config =
        Config { super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()), ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (bob, _) = lone.client();
    let (eve, _) = lone.client();
    let login = |auth: &'static [u8]| Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(auth) };
    lone.send(bob, -4, OpCode::AUTH, &login(b"bob:secret"));
    let reply = lone.replies(bob).pop().expect("a reply");
    assert_eq!((reply.xid, reply.zxid, reply.err), (-4, Zxid(0), ErrorCode::OK));
    let mine = AclList::from(vec![Acl { perms: Perms::ALL, id: Id::new("auth", "") }]);
    let create = Request::Create { path: "/bob", data: None, acl: Some(mine), flags: 0, ttl: None };
    assert_eq!(lone.call(eve, OpCode::CREATE, &create).err, ErrorCode::INVALIDACL, "eve is nobody");
    assert_eq!(lone.call(bob, OpCode::CREATE, &create).err, ErrorCode::OK);
    let read = Request::GetData { path: "/bob", watch: false };
    assert_eq!(lone.call(eve, OpCode::GET_DATA, &read).err, ErrorCode::NOAUTH);
    assert_eq!(lone.call(bob, OpCode::GET_DATA, &read).err, ErrorCode::OK);
    assert_eq!(lone.call(eve, OpCode::SET_DATA, &set("/bob")).err, ErrorCode::NOAUTH);
    let child =
        Request::Create { path: "/bob/c", data: None, acl: Some(AclList::OpenUnsafe), flags: 0, ttl: None };
    assert_eq!(lone.call(eve, OpCode::CREATE, &child).err, ErrorCode::NOAUTH);
    let delete = Request::Delete { path: "/bob", version: -1 };
    assert_eq!(lone.call(eve, OpCode::GET_ACL, &Request::GetAcl { path: "/bob" }).err, ErrorCode::NOAUTH);
    lone.send(eve, -4, OpCode::AUTH, &login(b"super:test"));
    lone.replies(eve);
    assert_eq!(lone.call(eve, OpCode::GET_DATA, &read).err, ErrorCode::OK, "eve is root now");
    let me = lone.call(eve, OpCode::WHO_AM_I, &Request::WhoAmI);
    let mut reader = Reader::new(&me.body);
    assert_eq!(reader.vector_len(), Ok(Some(3)));
    for (scheme, user) in [("ip", "10.0.0.1"), ("super", ""), ("digest", "super")] {
        assert_eq!((reader.required_string(), reader.required_string()), (Ok(scheme), Ok(user)));
    }
    let (other, _) = lone.client();
    assert_eq!(lone.call(other, OpCode::DELETE, &delete).err, ErrorCode::OK, "DELETE is asked of the parent");
    lone.send(other, -4, OpCode::AUTH, &Request::Auth { kind: 0, scheme: Some("nope"), auth: None });
    assert_eq!(lone.replies(other)[0].err, ErrorCode::AUTHFAILED);
    assert_eq!(lone.closed[&other], CloseReason::AuthFailed);
}

/// A read that waits is judged by who its connection was when it came, like a write, and not by what it proves later.
#[test]
fn auth_counts_from_the_next_request_on() {
    let mut lone = LoneServer::new(Config::default());
    let (bob, _) = lone.client();
    let (eve, _) = lone.client();
    let login = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(b"bob:secret") };
    lone.send(bob, -4, OpCode::AUTH, &login);
    lone.replies(bob);
    let mine = AclList::from(vec![Acl { perms: Perms::ALL, id: Id::new("auth", "") }]);
    let create_mine = Request::Create { path: "/bob", data: None, acl: Some(mine), flags: 0, ttl: None };
    assert_eq!(lone.call(bob, OpCode::CREATE, &create_mine).err, ErrorCode::OK);
    let read = Request::GetData { path: "/bob", watch: false };
    lone.hold_disk();
    lone.send(eve, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(eve, 2, OpCode::GET_DATA, &read);
    lone.send(eve, -4, OpCode::AUTH, &login);
    lone.send(eve, 3, OpCode::GET_DATA, &read);
    lone.release_disk();
    let answers: Vec<_> = lone.replies(eve).iter().map(|reply| (reply.xid, reply.err)).collect();
    let (ok, no) = (ErrorCode::OK, ErrorCode::NOAUTH);
    assert_eq!(answers, [(-4, ok), (1, ok), (2, no), (3, ok)]);
}

/// `auth.enforce`: not even a ping without an identity.
#[test]
fn auth_enforce() {
    let config = Config { enforce_auth_schemes: vec!["digest".into()], ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    let reply = lone.call(conn, OpCode::PING, &Request::Ping);
    assert_eq!((reply.zxid, reply.err), (Zxid(0), ErrorCode::SESSIONCLOSEDREQUIRESASLAUTH));
    assert_eq!(lone.closed[&conn], CloseReason::AuthFailed);
    let (conn, _) = lone.client();
    let login = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(b"a:b") };
    lone.send(conn, -4, OpCode::AUTH, &login);
    lone.replies(conn);
    make(&mut lone, conn, "/in");
}

/// `op.reconfig` in standalone mode, and `config.standalone`.
#[test]
fn op_reconfig_standalone() {
    let reconfig = Request::Reconfig { joining: None, leaving: Some("1"), new_members: None, config_id: -1 };
    for (reconfig_enabled, expected) in
        [(false, ErrorCode::RECONFIGDISABLED), (true, ErrorCode::UNIMPLEMENTED)]
    {
        let mut lone = LoneServer::new(Config { reconfig_enabled, ..Config::default() });
        let (conn, _) = lone.client();
        assert_eq!(lone.call(conn, OpCode::RECONFIG, &reconfig).err, expected);
        let read = Request::GetData { path: "/zookeeper/config", watch: false };
        let config = lone.call(conn, OpCode::GET_DATA, &read);
        assert_eq!(Reader::new(&config.body).buffer(), Ok(Some(&b""[..])));
    }
}

/// A failed sync is never followed by an acknowledgement: the server says so and stops.
#[test]
fn a_failing_log_halts_the_server() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(conn, 2, OpCode::CREATE, &create("/b", 0));
    lone.end_next(Err(DiskError::Full));
    let why = lone.halted.clone();
    assert!(matches!(why, Some(HaltReason::Disk { error: DiskError::Full, .. })), "{why:?}");
    lone.receive(conn, frame(3, OpCode::PING, &Request::Ping));
    assert_eq!(lone.replies(conn), []);
    assert_eq!(lone.server.poll_timeout(), None);
}

/// `lim.outstanding`: beyond the limit a connection that has requests under way waits; none is refused.
#[test]
fn lim_outstanding() {
    let mut lone = LoneServer::new(Config { global_outstanding_limit: 10, ..Config::default() });
    let (conn, _) = lone.client();
    let (other, _) = lone.client();
    lone.hold_disk();
    let mut bytes = Vec::new();
    for xid in 1..=50 {
        bytes.extend(frame(xid, OpCode::CREATE, &create(&format!("/n{xid}"), 0)));
    }
    lone.receive(conn, bytes);
    lone.send(other, 1, OpCode::CREATE, &create("/other", 0));
    lone.release_disk();
    assert_eq!(lone.replies(conn).len(), 50);
    assert_eq!(lone.replies(other).len(), 1);
}

/// A client that asks and never reads: its requests stop being taken, then its bytes stop being read.
#[test]
fn a_client_that_never_reads() {
    let config = Config { outbox_pause_bytes: 1000, inbox_pause_bytes: 1000, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    lone.drain = false;
    let ask = frame(1, OpCode::GET_DATA, &Request::GetData { path: "/", watch: false });
    let mut answered = 0;
    for _ in 0..200 {
        lone.receive(conn, ask.clone());
        answered += lone.replies(conn).len();
    }
    assert_eq!(lone.paused.get(&conn), Some(&true));
    assert!(answered < 20, "{answered}");
    // It reads at last: everything is answered, and it is read from again.
    lone.drain = true;
    let owed = 4 + 16 + 4 + 68;
    while answered < 200 {
        lone.input(Input::Drained { conn, bytes: owed });
        let replies = lone.replies(conn).len();
        if replies == 0 {
            break;
        }
        answered += replies;
    }
    assert_eq!(answered, 200);
    assert_eq!(lone.paused.get(&conn), Some(&false));
}

/// A client that watches and never reads is closed at the limit.
#[test]
fn a_watcher_that_never_reads() {
    let mut lone = LoneServer::new(Config { outbox_close_bytes: 500, ..Config::default() });
    let (watcher, _) = lone.client();
    let (writer, _) = lone.client();
    lone.call(watcher, OpCode::ADD_WATCH, &Request::AddWatch { path: "/", mode: 1 });
    lone.drain = false;
    for n in 0..20 {
        lone.send(writer, n, OpCode::CREATE, &create(&format!("/n{n}"), 0));
        lone.take_sent(writer);
    }
    assert_eq!(lone.closed[&watcher], CloseReason::SlowReader);
    assert!(!lone.closed.contains_key(&writer));
}

/// `4lw.whitelist`, `4lw.srvr`, `4lw.ruok`, `4lw.wchs`, `4lw.mntr`, `4lw.conf`, `4lw.isro`.
#[test]
fn four_letter_words() {
    let mut lone = LoneServer::new(Config::default());
    assert_eq!(lone.word("ruok"), "ruok is not executed because it is not in the whitelist.\n");
    assert!(lone.word("srvr").contains("Mode: standalone\nNode count: 5\n"));
    let mut lone = LoneServer::new(Config { four_letter_words: FourLetterWords::All, ..Config::default() });
    let (conn, answer) = lone.client();
    lone.call(conn, OpCode::EXISTS, &Request::Exists { path: "/x", watch: true });
    assert_eq!(lone.word("ruok"), "imok");
    assert_eq!(lone.word("isro"), "rw");
    assert_eq!(lone.word("gtmk"), "306");
    assert_eq!(lone.word("wchs"), "1 connections watching 1 paths\nTotal watches:1\n");
    assert_eq!(lone.word("wchp"), format!("/x\n\t{}\n\n", answer.session));
    assert_eq!(lone.word("wchc"), format!("{}\n\t/x\n\n", answer.session));
    assert!(lone.word("mntr").contains("zk_server_state\tstandalone\n"));
    assert!(lone.word("conf").contains("tickTime=3000\nmaxClientCnxns=60\nminSessionTimeout=6000\n"));
    assert!(lone.word("cons").contains(&format!("sid={},lop=EXIS", answer.session)));
    assert!(lone.word("stat").contains("Clients:\n /10.0.0.1:4000[1]("));
    assert!(lone.word("dump").contains("Sessions with Ephemerals (0):\n"));
    assert_eq!(lone.word("dirs").lines().count(), 2);
    assert_eq!(lone.word("crst"), "Connection stats reset.\n");
    assert_eq!(lone.word("srst"), "Server stats reset.\n");
    let conn = lone.connect();
    lone.receive(conn, &b"stmk"[..]);
    assert_eq!(lone.take_sent(conn), b"", "the mask is still to come");
    lone.receive(conn, 5_i64.to_be_bytes().to_vec());
    assert_eq!(lone.take_sent(conn), b"5");
    assert_eq!(lone.closed[&conn], CloseReason::AdminWordAnswered);
}

/// Snapshots begin when they are due, hold one zxid, and writes go on meanwhile.
#[test]
fn disk_snap_trigger() {
    let config = Config { snap_count: 10, snapshot_chunk_bytes: 64, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    for n in 0..40 {
        make(&mut lone, conn, &format!("/n{n}"));
    }
    let started = lone.events.iter().filter(|event| matches!(event, Event::SnapshotStarted { .. })).count();
    let finished = lone.events.iter().filter(|event| matches!(event, Event::SnapshotFinished { .. })).count();
    assert!(started >= 2);
    assert_eq!(started, finished);
}

/// A stop in order: what was proposed is answered, then the server halts.
#[test]
fn shutdown_finishes_what_was_taken() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.input(Input::Shutdown);
    assert_eq!(lone.halted, None);
    lone.release_disk();
    assert_eq!(lone.replies(conn).len(), 1);
    assert_eq!(lone.halted, Some(HaltReason::Shutdown));
}

/// A stop in order waits for no snapshot, and keeps no client that waits for nothing: those that do not are answered
/// first, and nothing that they still ask for is taken.
#[test]
fn shutdown_waits_for_writes_alone() {
    let config = Config { snap_count: 10, snapshot_chunk_bytes: 64, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (idle, _) = lone.client();
    let (busy, _) = lone.client();
    lone.hold_disk();
    for n in 0..40 {
        lone.send(busy, n, OpCode::CREATE, &create(&format!("/n{n}"), 0));
    }
    let is_written = |lone: &LoneServer| lone.held().any(|op| matches!(op, DiskOp::SnapshotAppend { .. }));
    while !is_written(&lone) {
        lone.end_next(Ok(DiskAnswer::Done));
    }
    lone.take_sent(busy);
    lone.send(busy, 40, OpCode::CREATE, &create("/last", 0));
    lone.input(Input::Shutdown);
    assert_eq!(lone.closed.get(&idle), Some(&CloseReason::Shutdown));
    assert_eq!((lone.closed.get(&busy), lone.paused.get(&busy)), (None, Some(&true)));
    lone.send(busy, 41, OpCode::CREATE, &create("/late", 0));
    lone.release_disk();
    assert_eq!(lone.halted, Some(HaltReason::Shutdown));
    assert_eq!(lone.replies(busy).last().map(|reply| reply.xid), Some(40));
    assert_eq!(lone.closed.get(&busy), Some(&CloseReason::Shutdown));
    let finished = lone.events.iter().any(|event| matches!(event, Event::SnapshotFinished { .. }));
    assert!(!finished, "the snapshot was left");
}

/// `acl.auth`: the id does not matter, not even that it is null.
#[test]
fn acl_auth_with_a_null_id() {
    let (mut lone, conn) = server();
    lone.send(
        conn,
        -4,
        OpCode::AUTH,
        &Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(b"bob:pw") },
    );
    lone.replies(conn);
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    writer.int(1);
    writer.int(OpCode::CREATE.0);
    writer.string("/a");
    writer.buffer(None);
    writer.vector_len(1);
    writer.int(31);
    writer.string("auth");
    writer.null();
    writer.int(0);
    let mut bytes = i32::try_from(body.len()).expect("small").to_be_bytes().to_vec();
    bytes.extend(body);
    lone.receive(conn, bytes);
    assert_eq!(lone.replies(conn)[0].err, ErrorCode::OK);
}

/// `node.ttl.expiry`, `cm.post`: a TTL node that is set between being found and being deleted stays.
#[test]
fn node_ttl_expiry_is_judged_again() {
    let config = Config { extended_types: true, container_max_per_minute: 60, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    for path in ["/ttl-a", "/ttl-b"] {
        let acl = Some(AclList::OpenUnsafe);
        let request = Request::Create { path, data: None, acl, flags: 5, ttl: Some(10_000) };
        assert_eq!(lone.call(conn, OpCode::CREATE_TTL, &request).err, ErrorCode::OK);
    }
    for _ in 0..12 {
        lone.pass(Duration::from_secs(5));
        lone.call(conn, OpCode::PING, &Request::Ping);
    }
    // The search has found both and deleted one; the next is due in a second.
    lone.call(conn, OpCode::SET_DATA, &set("/ttl-a"));
    lone.call(conn, OpCode::SET_DATA, &set("/ttl-b"));
    lone.pass(Duration::from_secs(5));
    let exists = |lone: &mut LoneServer, path| {
        lone.call(conn, OpCode::EXISTS, &Request::Exists { path, watch: false }).err == ErrorCode::OK
    };
    assert_eq!([exists(&mut lone, "/ttl-a"), exists(&mut lone, "/ttl-b")], [false, true]);
    no_mismatch(&lone);
}

/// What a session leaves behind is logged at a length that recovery reads back, to the byte.
#[test]
fn a_close_session_is_never_logged_too_long() {
    for excess in 0..8 {
        let config = Config { jute_max_buffer: 1000, jute_max_buffer_extra: 1024, ..Config::default() };
        let mut lone = LoneServer::new(config.clone());
        let (conn, _) = lone.client();
        // Three paths that with their lengths fill the record but for header, count, digest and mark.
        let total = config.stored_field_max() - 56 - 3 * 4 - 4 + excess;
        for (name, length) in [('a', 800), ('b', 800), ('c', total - 1600)] {
            let path: String = ['/'].into_iter().chain(core::iter::repeat_n(name, length - 1)).collect();
            let request = Request::Create {
                path: &path,
                data: None,
                acl: Some(AclList::OpenUnsafe),
                flags: 1,
                ttl: None,
            };
            assert_eq!(lone.call(conn, OpCode::CREATE, &request).err, ErrorCode::OK);
        }
        lone.hold_disk();
        lone.send(conn, 9, OpCode::CLOSE_SESSION, &Request::CloseSession);
        let Some(DiskOp::LogAppend { bytes, .. }) = lone.held().next() else { panic!("an append") };
        assert!(bytes.len() <= config.stored_field_max() + 13, "{} bytes, {excess} in excess", bytes.len());
        lone.release_disk();
    }
}
