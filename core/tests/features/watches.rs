//! Watches as clients see them: what is told, when, and to whom.

use zabra_core::config::Config;
use zabra_core::types::{ErrorCode, EventType, OpCode, WatcherType, Zxid};
use zabra_core::wire::Request;
use zabra_core::wire::request::MultiOp;

use crate::ask::{
    acl, ask, code, create, create_with, delete, event, events, exists, last_zxid, make, must, server,
    server_with, set,
};

const CREATED: EventType = EventType::NodeCreated;
const DELETED: EventType = EventType::NodeDeleted;
const CHANGED: EventType = EventType::NodeDataChanged;
const CHILDREN: EventType = EventType::NodeChildrenChanged;

fn watch_exists(path: &str) -> Request<'_> {
    Request::Exists { path, watch: true }
}

fn watch_data(path: &str) -> Request<'_> {
    Request::GetData { path, watch: true }
}

fn watch_children(path: &str) -> Request<'_> {
    Request::GetChildren { path, watch: true }
}

fn add_watch(path: &str, mode: i32) -> Request<'_> {
    Request::AddWatch { path, mode }
}

fn told(list: &[(EventType, &str)]) -> Vec<(EventType, String)> {
    list.iter().map(|&(kind, path)| (kind, path.to_owned())).collect()
}

/// `watch.create`, `op.exists`: a watch on a znode that is not there fires when it comes, beside the parent's.
#[test]
fn watch_create() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    assert_eq!(code(&mut lone, conn, &watch_exists("/a")), ErrorCode::NONODE);
    must(&mut lone, conn, &watch_children("/"));
    make(&mut lone, other, "/a");
    assert_eq!(events(&mut lone, conn), told(&[(CREATED, "/a"), (CHILDREN, "/")]));
    make(&mut lone, other, "/b");
    assert_eq!(events(&mut lone, conn), [], "once each");
}

/// `op.getData`: no watch is left on a znode that is not there.
#[test]
fn op_get_data_of_nothing_leaves_no_watch() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    assert_eq!(code(&mut lone, conn, &watch_data("/a")), ErrorCode::NONODE);
    assert_eq!(code(&mut lone, conn, &watch_children("/a")), ErrorCode::NONODE);
    make(&mut lone, other, "/a");
    make(&mut lone, other, "/a/b");
    assert_eq!(events(&mut lone, conn), []);
}

/// `watch.delete`: who watches data and children of a znode is told once that it is gone.
#[test]
fn watch_delete() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/p");
    make(&mut lone, conn, "/p/n");
    for request in [watch_data("/p/n"), watch_children("/p/n"), watch_children("/p")] {
        must(&mut lone, conn, &request);
    }
    must(&mut lone, other, &delete("/p/n"));
    assert_eq!(events(&mut lone, conn), told(&[(DELETED, "/p/n"), (CHILDREN, "/p")]));
    make(&mut lone, conn, "/p/n");
    must(&mut lone, conn, &watch_children("/p/n"));
    must(&mut lone, other, &delete("/p/n"));
    assert_eq!(
        events(&mut lone, conn),
        told(&[(DELETED, "/p/n")]),
        "who watches children alone is told, too"
    );
}

/// `watch.setdata`: data is news for data watches alone; an ACL is none.
#[test]
fn watch_setdata() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/p");
    make(&mut lone, conn, "/p/n");
    must(&mut lone, conn, &watch_children("/p"));
    must(&mut lone, conn, &watch_children("/p/n"));
    must(&mut lone, conn, &watch_exists("/p/n"));
    let open = Request::SetAcl { path: "/p/n", acl: Some(acl(&[(31, "world", "anyone")])), version: -1 };
    must(&mut lone, other, &open);
    assert_eq!(events(&mut lone, conn), []);
    must(&mut lone, other, &set("/p/n", b"2"));
    assert_eq!(events(&mut lone, conn), told(&[(CHANGED, "/p/n")]));
}

/// `watch.oneshot`, `sem.watch-before-data`: several registrations on one path are one event.
#[test]
fn watch_oneshot() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    must(&mut lone, conn, &watch_data("/a"));
    must(&mut lone, conn, &watch_exists("/a"));
    must(&mut lone, conn, &watch_data("/a"));
    must(&mut lone, other, &set("/a", b"2"));
    must(&mut lone, other, &set("/a", b"3"));
    assert_eq!(events(&mut lone, conn), told(&[(CHANGED, "/a")]));
}

/// `watch.persistent`: stays, and tells of data and children.
#[test]
fn watch_persistent() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    assert_eq!(&must(&mut lone, conn, &add_watch("/a", 0)).body[..], &[0; 4], "the znode need not exist");
    make(&mut lone, other, "/a");
    must(&mut lone, other, &set("/a", b"2"));
    make(&mut lone, other, "/a/b");
    must(&mut lone, other, &set("/a/b", b"2"));
    must(&mut lone, other, &delete("/a/b"));
    must(&mut lone, other, &delete("/a"));
    assert_eq!(
        events(&mut lone, conn),
        told(&[(CREATED, "/a"), (CHANGED, "/a"), (CHILDREN, "/a"), (CHILDREN, "/a"), (DELETED, "/a")])
    );
}

/// `watch.recursive`: everything that happens to the znode and below, and nothing about children.
#[test]
fn watch_recursive() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    must(&mut lone, conn, &add_watch("/a", 1));
    make(&mut lone, other, "/a");
    make(&mut lone, other, "/ab");
    make(&mut lone, other, "/a/b");
    make(&mut lone, other, "/a/b/c");
    must(&mut lone, other, &set("/a/b/c", b"2"));
    must(&mut lone, other, &delete("/a/b/c"));
    assert_eq!(
        events(&mut lone, conn),
        told(&[
            (CREATED, "/a"),
            (CREATED, "/a/b"),
            (CREATED, "/a/b/c"),
            (CHANGED, "/a/b/c"),
            (DELETED, "/a/b/c")
        ])
    );
}

/// `watch.mode-union`: one event, however many modes are on the path; the one-shot one alone is used up.
#[test]
fn watch_mode_union() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    for request in [watch_data("/a"), add_watch("/a", 0), add_watch("/a", 1), add_watch("/", 1)] {
        must(&mut lone, conn, &request);
    }
    must(&mut lone, other, &set("/a", b"2"));
    assert_eq!(events(&mut lone, conn), told(&[(CHANGED, "/a")]));
    let has = |kind| Request::CheckWatches { path: "/a", kind };
    for (kind, expected) in
        [(2, ErrorCode::NOWATCHER), (4, ErrorCode::OK), (5, ErrorCode::OK), (1, ErrorCode::NOWATCHER)]
    {
        assert_eq!(code(&mut lone, conn, &has(kind)), expected, "{kind}");
    }
}

/// `op.removeWatches`, `op.checkWatches`: by kind, and only this connection's own.
#[test]
fn op_remove_watches() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    let kinds = [
        (WatcherType::Children, watch_children("/a")),
        (WatcherType::Data, watch_data("/a")),
        (WatcherType::Persistent, add_watch("/a", 0)),
        (WatcherType::PersistentRecursive, add_watch("/a", 1)),
    ];
    for (kind, request) in &kinds {
        let kind = *kind as i32;
        must(&mut lone, conn, request);
        must(&mut lone, conn, &Request::CheckWatches { path: "/a", kind });
        assert_eq!(code(&mut lone, other, &Request::CheckWatches { path: "/a", kind }), ErrorCode::NOWATCHER);
        assert_eq!(
            code(&mut lone, other, &Request::RemoveWatches { path: "/a", kind }),
            ErrorCode::NOWATCHER
        );
        let removed = must(&mut lone, conn, &Request::RemoveWatches { path: "/a", kind });
        assert_eq!(removed.body.len(), 0);
        assert_eq!(code(&mut lone, conn, &Request::RemoveWatches { path: "/a", kind }), ErrorCode::NOWATCHER);
    }
    for (_, request) in &kinds {
        must(&mut lone, conn, request);
    }
    must(&mut lone, conn, &Request::RemoveWatches { path: "/a", kind: WatcherType::Any as i32 });
    must(&mut lone, other, &set("/a", b"2"));
    make(&mut lone, other, "/a/b");
    assert_eq!(events(&mut lone, conn), []);
}

/// `watch.setwatches.acl`: what was missed is not told to those who may not read it. ZooKeeper tells them.
#[test]
fn watch_setwatches_acl() {
    let (mut lone, conn) = server();
    for path in ["/data", "/child", "/exist"] {
        must(&mut lone, conn, &create_with(path, None, &[(30, "world", "anyone")]));
    }
    let request = Request::SetWatches {
        relative_zxid: Zxid(0),
        data: vec!["/data"],
        exist: vec!["/exist"],
        child: vec!["/child"],
        persistent: vec![],
        recursive: vec![],
    };
    lone.send(conn, -8, OpCode::SET_WATCHES, &request);
    let replies = lone.replies(conn);
    assert_eq!(replies.iter().map(|reply| (reply.xid, reply.err)).collect::<Vec<_>>(), [(-8, ErrorCode::OK)]);
}

/// `watch.setwatches2`, `op.setWatches2`: persistent watches are back, and what they missed is not told.
#[test]
fn watch_setwatches2() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/p");
    make(&mut lone, conn, "/r");
    let seen = last_zxid(&mut lone, conn);
    must(&mut lone, conn, &set("/p", b"2"));
    make(&mut lone, conn, "/r/missed");
    let request = Request::SetWatches {
        relative_zxid: seen,
        data: vec![],
        exist: vec![],
        child: vec![],
        persistent: vec!["/p"],
        recursive: vec!["/r"],
    };
    let (client, _) = lone.client();
    lone.send(client, -8, OpCode::SET_WATCHES2, &request);
    let replies = lone.replies(client);
    assert_eq!((replies.len(), replies[0].xid, replies[0].body.len()), (1, -8, 0));
    must(&mut lone, conn, &set("/p", b"3"));
    must(&mut lone, conn, &set("/r/missed", b"3"));
    assert_eq!(events(&mut lone, client), told(&[(CHANGED, "/p"), (CHANGED, "/r/missed")]));
}

/// `watch.remove.local`: watches are the connection's; with the session on a new one they are gone.
#[test]
fn watch_remove_local() {
    let config = Config { four_letter_words: zabra_core::config::FourLetterWords::All, ..Config::default() };
    let mut lone = zabra_core::testing::lone::LoneServer::new(config);
    let (first, answer) = lone.client();
    let (other, _) = lone.client();
    make(&mut lone, first, "/a");
    must(&mut lone, first, &watch_data("/a"));
    must(&mut lone, first, &add_watch("/", 1));
    let second = lone.connect();
    let again = zabra_core::wire::connect::ConnectRequest {
        session: answer.session,
        password: &answer.password,
        ..zabra_core::testing::lone::new_session(10_000)
    };
    lone.handshake(second, &again).expect("the session is alive");
    must(&mut lone, other, &set("/a", b"2"));
    assert_eq!((lone.replies(first), lone.replies(second)), (vec![], vec![]));
    assert_eq!(lone.word("wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
}

/// `multi.samezxid`: one zxid for all; a watch fires for each part, in order, before the reply.
#[test]
fn multi_samezxid() {
    let (mut lone, conn) = server();
    must(&mut lone, conn, &add_watch("/", 1));
    let ops = vec![
        MultiOp { op: OpCode::CREATE, request: create("/a", 0) },
        MultiOp { op: OpCode::SET_DATA, request: set("/a", b"2") },
        MultiOp { op: OpCode::CREATE, request: create("/a/b", 0) },
        MultiOp { op: OpCode::DELETE, request: delete("/a/b") },
    ];
    lone.send(conn, 1, OpCode::MULTI, &Request::Multi(ops));
    let mut replies = lone.replies(conn);
    let reply = replies.pop().expect("the reply comes last");
    assert!(replies.iter().all(|event| event.zxid == reply.zxid));
    let seen: Vec<_> = replies.iter().map(event).collect();
    assert_eq!(seen, told(&[(CREATED, "/a"), (CHANGED, "/a"), (CREATED, "/a/b"), (DELETED, "/a/b")]));
    let found = crate::ask::stat(&mut lone, conn, "/a");
    assert_eq!((found.czxid, found.mzxid, found.pzxid), (reply.zxid, reply.zxid, reply.zxid));
}

/// `watch.types`, `watch.states`, `watch.event`: the bytes of an event; its state is always SyncConnected.
#[test]
fn watch_types_and_states() {
    for number in -10..10 {
        let name = EventType::from_number(number).map(|kind| kind as i32);
        assert_eq!(name, [-1, 1, 2, 3, 4, 5, 6, 7].contains(&number).then_some(number));
    }
    let (mut lone, conn) = server();
    ask(&mut lone, conn, &watch_exists("/a"));
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    let event = lone.replies(conn).remove(0);
    assert_eq!(&event.body[..], [&[0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 2][..], b"/a"].concat());
    assert_eq!(code(&mut lone, conn, &exists("/a")), ErrorCode::OK);
}

/// `config.watch`: the configuration's znode can be watched like any other.
#[test]
fn config_watch() {
    let digest = Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into());
    let (mut lone, conn) = server_with(Config { super_digest: digest, ..Config::default() });
    let (root, _) = lone.client();
    must(&mut lone, conn, &watch_data("/zookeeper/config"));
    assert_eq!(code(&mut lone, conn, &set("/zookeeper/config", b"x")), ErrorCode::NOAUTH);
    must(&mut lone, root, &crate::ask::login("digest", b"super:test"));
    must(&mut lone, root, &set("/zookeeper/config", b"x"));
    assert_eq!(events(&mut lone, conn), told(&[(CHANGED, "/zookeeper/config")]));
}
