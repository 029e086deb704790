//! Who may do what, and how clients say who they are.

use zabra_core::config::Config;
use zabra_core::server::CloseReason;
use zabra_core::testing::lone::{LoneServer, new_session};
use zabra_core::types::{AclList, ConnId, ErrorCode, OpCode};
use zabra_core::wire::connect::ConnectRequest;
use zabra_core::wire::data::decode_acl;
use zabra_core::wire::request::MultiOp;
use zabra_core::wire::{Reader, Request};

use crate::ask::{
    acl, children, code, create, create_with, delete, exists, get, login, make, must, server, server_with,
    set,
};

const SUPER: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

fn set_acl<'a>(path: &'a str, entries: &[(i32, &str, &str)]) -> Request<'a> {
    Request::SetAcl { path, acl: Some(acl(entries)), version: -1 }
}

fn acl_of(lone: &mut LoneServer, conn: ConnId, path: &str) -> AclList {
    let reply = must(lone, conn, &Request::GetAcl { path });
    decode_acl(&mut Reader::new(&reply.body)).expect("a list").list().expect("not null")
}

/// `acl.which`, `acl.perms`: which permission each operation asks for, and of which znode. Nothing is inherited.
#[test]
fn acl_which() {
    let check = |path| {
        let ops = vec![MultiOp { op: OpCode::CHECK, request: Request::Check { path, version: -1 } }];
        Request::Multi(ops)
    };
    for perms in 0..32 {
        let (mut lone, conn) = server();
        for path in ["/p", "/p/n", "/p/n/c"] {
            make(&mut lone, conn, path);
        }
        must(&mut lone, conn, &set_acl("/p/n", &[(perms, "world", "anyone")]));
        let expected = |wanted: i32| if perms & wanted != 0 { ErrorCode::OK } else { ErrorCode::NOAUTH };
        for (request, wanted) in [
            (get("/p/n"), 1),
            (exists("/p/n"), 1),
            (children("/p/n"), 1),
            (Request::GetChildren2 { path: "/p/n", watch: false }, 1),
            (Request::GetAllChildrenNumber { path: "/p/n" }, 1),
            (Request::GetAcl { path: "/p/n" }, 1 | 16),
            (set("/p/n", b"2"), 2),
            (create("/p/n/new", 0), 4),
            (delete("/p/n/c"), 8),
        ] {
            assert_eq!(code(&mut lone, conn, &request), expected(wanted), "{perms} {request:?}");
        }
        let checked = must(&mut lone, conn, &check("/p/n"));
        let result = Reader::new(&checked.body).int().expect("a result");
        assert_eq!(result == OpCode::CHECK.0, perms & 1 != 0, "{perms}");
        // These ask for nothing.
        for request in [
            Request::Sync { path: "/p/n" },
            Request::GetEphemerals { prefix: Some("/p/n") },
            Request::WhoAmI,
            Request::AddWatch { path: "/p/n", mode: 0 },
        ] {
            must(&mut lone, conn, &request);
        }
        assert_eq!(code(&mut lone, conn, &set_acl("/p/n", &[(31, "world", "anyone")])), expected(16));
    }
}

/// `op.setACL`: a new ACL counts for the requests right behind it, while the change is still under way to the disk.
#[test]
fn op_set_acl_counts_before_it_is_committed() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    lone.hold_disk();
    lone.send(conn, 1, OpCode::SET_ACL, &set_acl("/a", &[(1, "world", "anyone")]));
    lone.send(conn, 2, OpCode::SET_DATA, &set("/a", b"2"));
    lone.send(conn, 3, OpCode::CREATE, &create("/a/b", 0));
    lone.release_disk();
    let errors: Vec<_> = lone.replies(conn).iter().map(|reply| (reply.xid, reply.err)).collect();
    assert_eq!(errors, [(1, ErrorCode::OK), (2, ErrorCode::NOAUTH), (3, ErrorCode::NOAUTH)]);
}

/// `op.getACL`: READ or ADMIN; without ADMIN hashes do not show.
#[test]
fn op_get_acl() {
    for (perms, shown) in [(1, "bob:x"), (16, "bob:hash"), (17, "bob:hash")] {
        let (mut lone, conn) = server();
        let list = [(31, "digest", "bob:hash"), (perms, "world", "anyone"), (1, "ip", "1.2.3.4")];
        must(&mut lone, conn, &create_with("/a", None, &list));
        let expected = [(31, "digest", shown), (perms, "world", "anyone"), (1, "ip", "1.2.3.4")];
        assert_eq!(acl_of(&mut lone, conn, "/a"), acl(&expected), "{perms}");
    }
    let (mut lone, conn) = server();
    assert_eq!(code(&mut lone, conn, &Request::GetAcl { path: "/none" }), ErrorCode::NONODE);
}

/// `acl.fixup`, `acl.auth`, `acl.world`, `acl.ensemble`: what is stored, and what is refused.
#[test]
fn acl_fixup() {
    let (mut lone, conn) = server();
    must(&mut lone, conn, &login("digest", b"bob:secret"));
    must(&mut lone, conn, &login("digest", b"eve:secret"));
    make(&mut lone, conn, "/a");
    must(
        &mut lone,
        conn,
        &set_acl("/a", &[(31, "auth", "whoever"), (1, "ip", "1.2.3.4"), (1, "ip", "1.2.3.4")]),
    );
    let stored = acl_of(&mut lone, conn, "/a");
    let entries: Vec<_> = stored.entries().iter().map(|entry| (entry.perms.0, &*entry.id.scheme)).collect();
    assert_eq!(entries, [(31, "digest"), (31, "digest"), (1, "ip")]);
    assert!(stored.entries()[0].id.id.starts_with("bob:"));
    assert!(stored.entries()[1].id.id.starts_with("eve:"));
    for bad in [
        ("world", "all"),
        ("ensemble", "x"),
        ("super", ""),
        ("digest", "bob"),
        ("ip", "here"),
        ("sasl", "bob"),
    ] {
        assert_eq!(
            code(&mut lone, conn, &set_acl("/a", &[(31, bad.0, bad.1)])),
            ErrorCode::INVALIDACL,
            "{bad:?}"
        );
    }
    assert_eq!(code(&mut lone, conn, &set_acl("/a", &[])), ErrorCode::INVALIDACL);
}

/// `acl.ip`, `conn.autoauth`: a connection is its address from the start, in either family.
#[test]
fn acl_ip() {
    let mut lone = LoneServer::new(Config::default());
    let client = |lone: &mut LoneServer, from: &str| {
        let conn = lone.connect_from(from.parse().expect("an address"));
        lone.handshake(conn, &new_session(10_000)).expect("a session");
        conn
    };
    let four = client(&mut lone, "10.1.2.3:1");
    let mapped = client(&mut lone, "[::ffff:10.1.2.3]:1");
    let six = client(&mut lone, "[2001:db8::7]:1");
    for (path, pattern, expected) in [
        ("/four", "10.1.0.0/16", [true, true, false]),
        ("/exact", "10.1.2.3", [true, true, false]),
        ("/six", "2001:db8::/32", [false, false, true]),
        ("/other", "10.2.0.0/16", [false, false, false]),
    ] {
        must(&mut lone, four, &create_with(path, None, &[(1, "ip", pattern)]));
        for (conn, allowed) in [four, mapped, six].into_iter().zip(expected) {
            let code = code(&mut lone, conn, &get(path));
            assert_eq!(code == ErrorCode::OK, allowed, "{path} {conn:?}");
        }
    }
}

/// `acl.super`, `acl.digest.super`: past every ACL, but not past versions, reserved paths and quotas.
#[test]
fn acl_super() {
    let config = Config { super_digest: Some(SUPER.into()), enforce_quota: true, ..Config::default() };
    let (mut lone, conn) = server_with(config);
    must(&mut lone, conn, &create_with("/shut", None, &[(1, "digest", "nobody:x")]));
    make(&mut lone, conn, "/q");
    make(&mut lone, conn, "/zookeeper/quota/q");
    let open = [(31, "world", "anyone")];
    for (path, text) in [
        ("/zookeeper/quota/q/zookeeper_limits", &b"count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=-1"[..]),
        ("/zookeeper/quota/q/zookeeper_stats", b"count=0,bytes=0"),
    ] {
        must(&mut lone, conn, &create_with(path, Some(text), &open));
    }
    assert_eq!(code(&mut lone, conn, &get("/shut")), ErrorCode::NOAUTH);
    must(&mut lone, conn, &login("digest", b"super:test"));
    for request in [get("/shut"), set("/shut", b"2"), set_acl("/shut", &open), set("/zookeeper/config", b"")]
    {
        must(&mut lone, conn, &request);
    }
    let stale = Request::SetData { path: "/shut", data: None, version: 7 };
    assert_eq!(code(&mut lone, conn, &stale), ErrorCode::BADVERSION);
    assert_eq!(code(&mut lone, conn, &delete("/zookeeper/quota")), ErrorCode::BADARGUMENTS);
    assert_eq!(code(&mut lone, conn, &set("/q", b"four")), ErrorCode::QUOTAEXCEEDED);
    assert_eq!(
        code(&mut lone, conn, &set_acl("/shut", &[(31, "auth", "")])),
        ErrorCode::OK,
        "as the digest user"
    );
}

/// `path.reserved.config-acl`: everyone reads the configuration, nobody writes it.
#[test]
fn path_reserved_config_acl() {
    let (mut lone, conn) = server();
    must(&mut lone, conn, &get("/zookeeper/config"));
    for request in [
        set("/zookeeper/config", b"x"),
        set_acl("/zookeeper/config", &[(31, "world", "anyone")]),
        create("/zookeeper/config/x", 0),
    ] {
        assert_eq!(code(&mut lone, conn, &request), ErrorCode::NOAUTH, "{request:?}");
    }
    make(&mut lone, conn, "/zookeeper/mine");
}

/// `auth.ok`, `acl.digest`: identities add up, and are the connection's, not the session's.
#[test]
fn auth_ok() {
    let mut lone = LoneServer::new(Config::default());
    let (first, answer) = lone.client();
    for auth in [&b"bob:secret"[..], b"eve:secret", b"bob:secret"] {
        let request = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(auth) };
        lone.send(first, -4, OpCode::AUTH, &request);
        let reply = lone.replies(first).pop().expect("a reply");
        assert_eq!((reply.xid, reply.zxid.0, reply.err, reply.body.len()), (-4, 0, ErrorCode::OK, 0));
    }
    let names = |lone: &mut LoneServer, conn| {
        let reply = must(lone, conn, &Request::WhoAmI);
        let mut reader = Reader::new(&reply.body);
        let count = reader.vector_len().expect("a vector").expect("not null");
        let mut name = || reader.required_string().expect("a name").to_owned();
        (0..count).map(|_| (name(), name())).collect::<Vec<_>>()
    };
    let expected = [("ip", "10.0.0.1"), ("digest", "bob"), ("digest", "eve")];
    assert_eq!(names(&mut lone, first), expected.map(|(scheme, user)| (scheme.to_owned(), user.to_owned())));
    must(&mut lone, first, &create_with("/mine", None, &[(31, "auth", "")]));
    let second = lone.connect();
    let again = ConnectRequest { session: answer.session, password: &answer.password, ..new_session(10_000) };
    lone.handshake(second, &again).expect("the session is alive");
    assert_eq!(code(&mut lone, second, &get("/mine")), ErrorCode::NOAUTH);
    must(&mut lone, second, &login("digest", b"eve:secret"));
    must(&mut lone, second, &get("/mine"));
}

/// `auth.fail`: an unknown scheme, or one that is switched off: told, then closed.
#[test]
fn auth_fail() {
    let config = Config { digest_auth_enabled: false, ..Config::default() };
    let mut lone = LoneServer::new(config);
    for scheme in ["digest", "sasl", "x509", "world", ""] {
        let (conn, _) = lone.client();
        lone.send(conn, -4, OpCode::AUTH, &login(scheme, b"bob:secret"));
        let reply = lone.replies(conn).pop().expect("a reply");
        assert_eq!((reply.xid, reply.err), (-4, ErrorCode::AUTHFAILED), "{scheme}");
        assert_eq!(lone.closed[&conn], CloseReason::AuthFailed);
    }
}

/// `auth.ensemble`: the wrong ensemble's client is shown out without a word.
#[test]
fn auth_ensemble() {
    let config = Config { ensemble_auth_names: vec!["blue".into(), "green".into()], ..Config::default() };
    let mut lone = LoneServer::new(config);
    for (name, welcome) in [(&b"blue"[..], true), (b"green", true), (b"", true), (b"red", false)] {
        let (conn, _) = lone.client();
        let request = Request::Auth { kind: 0, scheme: Some("ensemble"), auth: Some(name) };
        lone.send(conn, -4, OpCode::AUTH, &request);
        let replies = lone.replies(conn);
        assert_eq!(replies.len(), usize::from(welcome));
        assert_eq!(lone.closed.contains_key(&conn), !welcome);
    }
}

/// `acl.setacl.nowatch`: nothing but the ACL's own version changes.
#[test]
fn acl_setacl_nowatch() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    must(&mut lone, conn, &Request::AddWatch { path: "/", mode: 1 });
    let before = crate::ask::stat(&mut lone, conn, "/a");
    lone.pass(std::time::Duration::from_millis(10));
    let reply = must(&mut lone, conn, &set_acl("/a", &[(31, "world", "anyone"), (1, "ip", "::1")]));
    let after = crate::ask::stat_in(&reply);
    assert_eq!(after, zabra_core::types::Stat { aversion: 1, ..before });
}

/// `cfg.skipACL`: everyone may do everything.
#[test]
fn cfg_skip_acl() {
    let (mut lone, conn) = server_with(Config { skip_acl: true, ..Config::default() });
    must(&mut lone, conn, &create_with("/shut", None, &[(1, "digest", "nobody:x")]));
    for request in
        [get("/shut"), set("/shut", b"2"), set_acl("/shut", &[(1, "ip", "1.2.3.4")]), delete("/shut")]
    {
        must(&mut lone, conn, &request);
    }
}
