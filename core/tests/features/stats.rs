//! The eleven fields of a stat.

use std::time::Duration;

use zabra_core::types::{ErrorCode, OpCode, SessionId};
use zabra_core::wire::Request;

use crate::ask::{
    acl, create, create_with, data, delete, get, make, must, no_mismatch, path_of, server, set, stat, stat_in,
};

/// `stat.czxid`, `stat.mzxid`: the creation's stays; setData moves the other, setACL neither.
#[test]
fn stat_czxid_and_mzxid() {
    let (mut lone, conn) = server();
    let created = must(&mut lone, conn, &create("/a", 0)).zxid;
    let first = stat(&mut lone, conn, "/a");
    assert_eq!((first.czxid, first.mzxid, first.pzxid), (created, created, created));
    let changed = must(&mut lone, conn, &set("/a", b"2"));
    assert_eq!(stat_in(&changed).mzxid, changed.zxid);
    let hide = Request::SetAcl { path: "/a", acl: Some(acl(&[(31, "world", "anyone")])), version: -1 };
    must(&mut lone, conn, &hide);
    let last = stat(&mut lone, conn, "/a");
    assert_eq!((last.czxid, last.mzxid), (created, changed.zxid));
}

/// `stat.pzxid`: children come and go; grandchildren and data do not count.
#[test]
fn stat_pzxid() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/p");
    let child = must(&mut lone, conn, &create("/p/c", 0)).zxid;
    make(&mut lone, conn, "/p/c/g");
    must(&mut lone, conn, &set("/p", b"2"));
    must(&mut lone, conn, &set("/p/c", b"2"));
    assert_eq!(stat(&mut lone, conn, "/p").pzxid, child);
    must(&mut lone, conn, &delete("/p/c/g"));
    let gone = must(&mut lone, conn, &delete("/p/c")).zxid;
    assert_eq!(stat(&mut lone, conn, "/p").pzxid, gone);
    no_mismatch(&lone);
}

/// `stat.ctime` / `stat.mtime`: the wall clock when the transaction was made, which may go back.
#[test]
fn stat_ctime_and_mtime() {
    let (mut lone, conn) = server();
    let begin = lone.now.wall;
    make(&mut lone, conn, "/a");
    lone.pass(Duration::from_millis(700));
    must(&mut lone, conn, &set("/a", b"2"));
    let later = stat(&mut lone, conn, "/a");
    assert_eq!((later.ctime, later.mtime.0), (begin, begin.0 + 700));
    lone.now.wall.0 -= 10_000;
    must(&mut lone, conn, &set("/a", b"3"));
    let back = stat(&mut lone, conn, "/a");
    assert_eq!((back.ctime, back.mtime.0), (begin, begin.0 + 700 - 10_000));
    let hide = Request::SetAcl { path: "/a", acl: Some(acl(&[(31, "world", "anyone")])), version: -1 };
    must(&mut lone, conn, &hide);
    assert_eq!(stat(&mut lone, conn, "/a").mtime, back.mtime);
}

/// `stat.version`, `op.setData`: -1 matches anything and counts all the same; any other must be the current one.
#[test]
fn stat_version() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    for (expected, code, version) in [
        (-1, ErrorCode::OK, 1),
        (0, ErrorCode::BADVERSION, 1),
        (1, ErrorCode::OK, 2),
        (3, ErrorCode::BADVERSION, 2),
        (-2, ErrorCode::BADVERSION, 2),
    ] {
        let request = Request::SetData { path: "/a", data: None, version: expected };
        assert_eq!(lone.call(conn, OpCode::SET_DATA, &request).err, code, "{expected}");
        assert_eq!(stat(&mut lone, conn, "/a").version, version, "{expected}");
    }
}

/// `stat.aversion`, `op.setACL`.
#[test]
fn stat_aversion() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    for (expected, code, aversion) in [
        (1, ErrorCode::BADVERSION, 0),
        (0, ErrorCode::OK, 1),
        (-1, ErrorCode::OK, 2),
        (1, ErrorCode::BADVERSION, 2),
    ] {
        let list = Some(acl(&[(31, "world", "anyone"), (1, "ip", "10.0.0.0/8")]));
        let request = Request::SetAcl { path: "/a", acl: list, version: expected };
        let reply = lone.call(conn, OpCode::SET_ACL, &request);
        assert_eq!(reply.err, code, "{expected}");
        if code == ErrorCode::OK {
            assert_eq!(stat_in(&reply).aversion, aversion);
        }
        let stat = stat(&mut lone, conn, "/a");
        assert_eq!((stat.aversion, stat.version), (aversion, 0));
    }
}

/// `stat.dataLength`, `stat.numChildren`, `stat.ephemeralOwner`.
#[test]
fn stat_lengths_and_owner() {
    let (mut lone, conn) = server();
    let (other, answer) = lone.client();
    must(&mut lone, conn, &create_with("/a", None, &[(31, "world", "anyone")]));
    assert_eq!(stat(&mut lone, conn, "/a").data_length, 0);
    must(&mut lone, conn, &set("/a", b"12345"));
    make(&mut lone, conn, "/a/b");
    make(&mut lone, conn, "/a/b/c");
    must(&mut lone, other, &create("/a/e", 1));
    let parent = stat(&mut lone, conn, "/a");
    assert_eq!((parent.data_length, parent.num_children, parent.ephemeral_owner), (5, 2, SessionId(0)));
    assert_eq!(stat(&mut lone, conn, "/a/e").ephemeral_owner, answer.session);
}

/// `node.data.null`, `jute.buffer`: null stays null, and empty stays empty.
#[test]
fn node_data_null() {
    let (mut lone, conn) = server();
    let open = [(31, "world", "anyone")];
    must(&mut lone, conn, &create_with("/null", None, &open));
    must(&mut lone, conn, &create_with("/empty", Some(b""), &open));
    assert_eq!(data(&mut lone, conn, "/null"), None);
    assert_eq!(data(&mut lone, conn, "/empty"), Some(Vec::new()));
    must(&mut lone, conn, &Request::SetData { path: "/empty", data: None, version: 0 });
    assert_eq!(data(&mut lone, conn, "/empty"), None);
    no_mismatch(&lone);
}

/// `names.unicode`: names are kept as they are, whichever way a letter is composed; data is bytes.
#[test]
fn names_unicode() {
    let (mut lone, conn) = server();
    for path in ["/\u{e9}", "/e\u{301}", "/日本 語"] {
        assert_eq!(path_of(&must(&mut lone, conn, &create(path, 0))), path);
    }
    let bytes: Vec<u8> = (0..=255).collect();
    must(&mut lone, conn, &set("/\u{e9}", &bytes));
    assert_eq!(data(&mut lone, conn, "/\u{e9}"), Some(bytes));
    assert_eq!(data(&mut lone, conn, "/e\u{301}"), Some(b"x".to_vec()));
}

/// `op.create2`, `op.createContainer`, `op.createTTL`: answered with the path and the stat.
#[test]
fn op_create2() {
    let config = zabra_core::config::Config { extended_types: true, ..Default::default() };
    let (mut lone, conn) = crate::ask::server_with(config);
    let open = Some(zabra_core::types::AclList::OpenUnsafe);
    let ttl = Request::Create { path: "/ttl", data: None, acl: open, flags: 5, ttl: Some(9) };
    for (op, request, path) in [
        (OpCode::CREATE2, create("/a-", 2), "/a-0000000000"),
        (OpCode::CREATE_CONTAINER, create("/c", 4), "/c"),
        (OpCode::CREATE_TTL, ttl, "/ttl"),
    ] {
        let reply = lone.call(conn, op, &request);
        assert_eq!(path_of(&reply), path);
        let mut reader = zabra_core::wire::Reader::new(&reply.body);
        reader.required_string().expect("a path");
        let stat = zabra_core::wire::data::decode_stat(&mut reader).expect("a stat");
        assert_eq!((stat.czxid, stat.version, stat.ephemeral_owner), (reply.zxid, 0, SessionId(0)));
        assert_eq!(reader.remaining(), 0);
        must(&mut lone, conn, &get(path));
    }
}
