//! Kinds of znodes, their names, and quotas.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::types::{AclList, ErrorCode, OpCode};
use zabra_core::wire::Request;
use zabra_core::wire::request::MultiOp;

use crate::ask::{
    code, create, create_with, data, delete, exists, make, must, no_mismatch, path_of, server, server_with,
    set, stat,
};

fn ttl_node(path: &str, ttl: i64) -> Request<'_> {
    Request::Create { path, data: None, acl: Some(AclList::OpenUnsafe), flags: 5, ttl: Some(ttl) }
}

fn container(path: &str) -> Request<'_> {
    create(path, 4)
}

/// `op.create`, `op.createmodes`: the path comes back, with its number where it got one.
#[test]
fn op_create() {
    let (mut lone, conn) = server();
    let names = ["/n", "/e", "/s-0000000002", "/es-0000000003"];
    for (flags, (path, name)) in ["/n", "/e", "/s-", "/es-"].into_iter().zip(names).enumerate() {
        let reply = must(&mut lone, conn, &create(path, i32::try_from(flags).expect("small")));
        assert_eq!(path_of(&reply), name);
        assert_eq!(reply.body.len(), 4 + name.len());
    }
    for (name, ephemeral) in names.into_iter().zip([false, true, false, true]) {
        assert_eq!(stat(&mut lone, conn, name).ephemeral_owner.0 != 0, ephemeral, "{name}");
    }
}

/// `op.createTTL`, `node.ttl`, `cfg.extendedTypesEnabled`: TTL nodes only where they are switched on.
#[test]
fn op_create_ttl_switched_off() {
    let (mut lone, conn) = server();
    assert_eq!(code(&mut lone, conn, &ttl_node("/t", 5)), ErrorCode::UNIMPLEMENTED);
    for flags in [5, 6] {
        assert_eq!(lone.call(conn, OpCode::CREATE, &create("/t", flags)).err, ErrorCode::UNIMPLEMENTED);
    }
    for (flags, ttl, expected) in [
        (0, 0, ErrorCode::BADARGUMENTS),
        (2, 5, ErrorCode::BADARGUMENTS),
        (5, 0, ErrorCode::UNIMPLEMENTED),
        (6, -1, ErrorCode::UNIMPLEMENTED),
    ] {
        let acl = Some(AclList::OpenUnsafe);
        let request = Request::Create { path: "/t", data: None, acl, flags, ttl: Some(ttl) };
        assert_eq!(lone.call(conn, OpCode::CREATE_TTL, &request).err, expected, "flags {flags}, ttl {ttl}");
    }
    lone.call(conn, OpCode::CREATE_CONTAINER, &container("/c"));
    must(&mut lone, conn, &exists("/c"));
}

/// `node.ttl.expiry`: without children, and not set for longer than its time; a child keeps it, data renews it.
#[test]
fn node_ttl_expiry() {
    let (mut lone, conn) = server_with(Config { extended_types: true, ..Config::default() });
    for path in ["/idle", "/set", "/parent"] {
        must(&mut lone, conn, &ttl_node(path, 90_000));
    }
    make(&mut lone, conn, "/parent/child");
    let wait = |lone: &mut zabra_core::testing::lone::LoneServer, seconds: u64| {
        for _ in 0..seconds / 5 {
            lone.pass(Duration::from_secs(5));
            must(lone, conn, &Request::Ping);
        }
    };
    wait(&mut lone, 60);
    must(&mut lone, conn, &set("/set", b"2"));
    wait(&mut lone, 65);
    for (path, expected) in
        [("/idle", ErrorCode::NONODE), ("/set", ErrorCode::OK), ("/parent", ErrorCode::OK)]
    {
        assert_eq!(code(&mut lone, conn, &exists(path)), expected, "{path}");
    }
    must(&mut lone, conn, &delete("/parent/child"));
    wait(&mut lone, 60);
    for path in ["/set", "/parent"] {
        assert_eq!(code(&mut lone, conn, &exists(path)), ErrorCode::NONODE, "{path}");
    }
    no_mismatch(&lone);
}

/// `cm.neverused`: a container that never had a child stays, unless an age is set.
#[test]
fn cm_neverused() {
    for (container_max_never_used, expected) in
        [(None, ErrorCode::OK), (Some(Duration::from_secs(30)), ErrorCode::NONODE)]
    {
        let (mut lone, conn) = server_with(Config { container_max_never_used, ..Config::default() });
        lone.call(conn, OpCode::CREATE_CONTAINER, &container("/c"));
        for _ in 0..13 {
            lone.pass(Duration::from_secs(5));
            must(&mut lone, conn, &Request::Ping);
        }
        assert_eq!(code(&mut lone, conn, &exists("/c")), expected);
    }
}

/// `cm.interval`: looked for every so often, deleted evenly spaced. Each deletion is a transaction of nobody's.
#[test]
fn cm_interval() {
    let config = Config {
        container_check_interval: Duration::from_secs(4),
        container_max_per_minute: 60,
        ..Config::default()
    };
    let (mut lone, conn) = server_with(config);
    for path in ["/a", "/b"] {
        lone.call(conn, OpCode::CREATE_CONTAINER, &container(path));
        let child = format!("{path}/x");
        make(&mut lone, conn, &child);
        must(&mut lone, conn, &delete(&child));
    }
    must(&mut lone, conn, &Request::AddWatch { path: "/", mode: 1 });
    lone.pass(Duration::from_millis(3_999));
    assert_eq!(lone.replies(conn).len(), 0);
    lone.pass(Duration::from_millis(2));
    assert_eq!(lone.replies(conn).len(), 1, "the first at once");
    lone.pass(Duration::from_millis(1_000));
    assert_eq!(lone.replies(conn).len(), 1, "the second a second later, for sixty a minute may go");
}

/// `cm.post`: judged again when its turn comes: a child that came meanwhile keeps the container.
#[test]
fn cm_post() {
    let (mut lone, conn) = server();
    lone.call(conn, OpCode::CREATE_CONTAINER, &container("/c"));
    make(&mut lone, conn, "/c/x");
    must(&mut lone, conn, &delete("/c/x"));
    for _ in 0..11 {
        lone.pass(Duration::from_secs(5));
        must(&mut lone, conn, &Request::Ping);
    }
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/c/y", 0));
    lone.pass(Duration::from_secs(6));
    lone.release_disk();
    lone.replies(conn);
    must(&mut lone, conn, &exists("/c/y"));
    no_mismatch(&lone);
}

/// `node.ephemeral`: no children, its session's own also within a multi, and gone with it.
#[test]
fn node_ephemeral() {
    let (mut lone, conn) = server();
    let (other, answer) = lone.client();
    must(&mut lone, other, &create("/e", 1));
    assert_eq!(code(&mut lone, conn, &create("/e/x", 0)), ErrorCode::NOCHILDRENFOREPHEMERALS);
    let ops = vec![
        MultiOp { op: OpCode::CREATE, request: create("/m", 1) },
        MultiOp { op: OpCode::CREATE, request: create("/m2-", 3) },
    ];
    must(&mut lone, other, &Request::Multi(ops));
    assert_eq!(stat(&mut lone, conn, "/m").ephemeral_owner, answer.session);
    must(&mut lone, other, &Request::CloseSession);
    for path in ["/e", "/m", "/m2-0000000002"] {
        assert_eq!(code(&mut lone, conn, &exists(path)), ErrorCode::NONODE, "{path}");
    }
    no_mismatch(&lone);
}

/// `path.reserved`: four znodes are there from the start and stay; beside them anyone may create.
#[test]
fn path_reserved() {
    let (mut lone, conn) = server();
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        must(&mut lone, conn, &exists(path));
        assert_eq!(code(&mut lone, conn, &delete(path)), ErrorCode::BADARGUMENTS, "{path}");
    }
    make(&mut lone, conn, "/zookeeper/own");
    must(&mut lone, conn, &delete("/zookeeper/own"));
}

/// `quota.stats`, `quota.count`: the usage changes in place: no version, no zxid, no watch.
#[test]
fn quota_stats() {
    let (mut lone, conn) = server();
    let open = [(31, "world", "anyone")];
    const STATS: &str = "/zookeeper/quota/q/zookeeper_stats";
    make(&mut lone, conn, "/q");
    make(&mut lone, conn, "/zookeeper/quota/q");
    let limits = &b"count=3,bytes=-1"[..];
    must(&mut lone, conn, &create_with("/zookeeper/quota/q/zookeeper_limits", Some(limits), &open));
    must(&mut lone, conn, &create_with(STATS, Some(b"count=0,bytes=0"), &open));
    let before = stat(&mut lone, conn, STATS);
    must(&mut lone, conn, &Request::GetData { path: STATS, watch: true });
    make(&mut lone, conn, "/q/a");
    make(&mut lone, conn, "/q/a/b");
    must(&mut lone, conn, &set("/q/a", b"12345"));
    assert_eq!(data(&mut lone, conn, STATS).as_deref(), Some(&b"count=3,bytes=7"[..]));
    must(&mut lone, conn, &delete("/q/a/b"));
    assert_eq!(data(&mut lone, conn, STATS).as_deref(), Some(&b"count=2,bytes=6"[..]));
    assert_eq!(stat(&mut lone, conn, STATS), before);
    no_mismatch(&lone);
}

/// `quota.trie`: of quotas inside each other the nearest alone counts.
#[test]
fn quota_trie() {
    let (mut lone, conn) = server_with(Config { enforce_quota: true, ..Config::default() });
    let open = [(31, "world", "anyone")];
    for path in ["/q", "/q/in", "/zookeeper/quota/q", "/zookeeper/quota/q/in"] {
        make(&mut lone, conn, path);
    }
    for (path, limits) in
        [("/q", &b"count=-1,bytes=-1=;countHardLimit=2"[..]), ("/q/in", b"count=-1,bytes=-1")]
    {
        let nodes = format!("/zookeeper/quota{path}");
        must(&mut lone, conn, &create_with(&format!("{nodes}/zookeeper_limits"), Some(limits), &open));
        must(&mut lone, conn, &create_with(&format!("{nodes}/zookeeper_stats"), None, &open));
    }
    assert_eq!(code(&mut lone, conn, &create("/q/new", 0)), ErrorCode::QUOTAEXCEEDED);
    for path in ["/q/in/a", "/q/in/b", "/q/in/c"] {
        make(&mut lone, conn, path);
    }
}

/// `node.ttl.serverid`: the top byte that marks TTL nodes must not be a server's number.
#[test]
fn node_ttl_serverid() {
    for (server_id, extended_types, good) in
        [(254, true, true), (255, true, false), (255, false, true), (256, false, false), (-1, false, false)]
    {
        let config = Config { server_id, extended_types, ..Config::default() };
        assert_eq!(config.check().is_ok(), good, "{server_id} {extended_types}");
    }
}
