//! Operations that change nothing.

use zabra_core::types::{ErrorCode, OpCode};
use zabra_core::wire::request::MultiOp;
use zabra_core::wire::{Reader, Request};

use crate::ask::{
    ask, children, code, create, create_with, delete, exists, get, make, must, server, set, stat, stat_in,
    strings,
};

/// `op.exists`: READ is asked of a znode that is there; NUL is refused, any other path is only missing.
#[test]
fn op_exists() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    must(&mut lone, conn, &create_with("/hidden", None, &[(30, "world", "anyone")]));
    for (path, expected) in [
        ("/a", ErrorCode::OK),
        ("/none", ErrorCode::NONODE),
        ("/hidden", ErrorCode::NOAUTH),
        ("/a\0", ErrorCode::BADARGUMENTS),
        ("no slash", ErrorCode::NONODE),
        ("/a/", ErrorCode::NONODE),
    ] {
        let reply = ask(&mut lone, conn, &exists(path));
        assert_eq!(reply.err, expected, "{path:?}");
        assert_eq!(reply.body.is_empty(), expected != ErrorCode::OK, "a body only without an error");
    }
}

/// `op.getData`, `hdr.reply`: data and stat; no body with an error.
#[test]
fn op_get_data() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    let reply = must(&mut lone, conn, &get("/a"));
    let mut reader = Reader::new(&reply.body);
    assert_eq!(reader.buffer(), Ok(Some(&b"x"[..])));
    let found = zabra_core::wire::data::decode_stat(&mut reader).expect("a stat");
    assert_eq!((found, reader.remaining()), (stat(&mut lone, conn, "/a"), 0));
    let missing = ask(&mut lone, conn, &get("/none"));
    assert_eq!((missing.err, missing.body.len()), (ErrorCode::NONODE, 0));
}

/// `op.getChildren`, `op.getChildren2`: the names, and with the second the parent's stat.
#[test]
fn op_get_children() {
    let (mut lone, conn) = server();
    for path in ["/p", "/p/b", "/p/a", "/p/a/deep"] {
        make(&mut lone, conn, path);
    }
    assert_eq!(strings(&must(&mut lone, conn, &children("/p"))), ["a", "b"]);
    let second = must(&mut lone, conn, &Request::GetChildren2 { path: "/p", watch: false });
    let mut reader = Reader::new(&second.body);
    assert_eq!(reader.required_strings().expect("names").len(), 2);
    let found = zabra_core::wire::data::decode_stat(&mut reader).expect("a stat");
    assert_eq!(found, stat(&mut lone, conn, "/p"));
    assert_eq!(strings(&must(&mut lone, conn, &children("/p/b"))), [""; 0]);
    assert_eq!(strings(&must(&mut lone, conn, &children("/"))), ["p", "zookeeper"]);
    assert_eq!(code(&mut lone, conn, &children("/none")), ErrorCode::NONODE);
}

/// `op.getEphemerals`: this session's own, by a prefix that need not end with a name; no ACL is asked.
#[test]
fn op_get_ephemerals() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    for path in ["/a/one", "/ab", "/b"] {
        must(&mut lone, conn, &create(path, 1));
    }
    must(&mut lone, other, &create("/a/other", 1));
    for (prefix, expected) in [
        (None, &["/a/one", "/ab", "/b"][..]),
        (Some(""), &["/a/one", "/ab", "/b"][..]),
        (Some("/"), &["/a/one", "/ab", "/b"][..]),
        (Some("/a"), &["/a/one", "/ab"][..]),
        (Some("/a/"), &["/a/one"][..]),
        (Some("/none"), &[][..]),
    ] {
        let reply = must(&mut lone, conn, &Request::GetEphemerals { prefix });
        assert_eq!(strings(&reply), expected, "{prefix:?}");
    }
}

/// `op.getAllChildrenNumber`: everything below; of the root, everything but itself and one more.
#[test]
fn op_get_all_children_number() {
    let (mut lone, conn) = server();
    for path in ["/p", "/p/a", "/p/a/b", "/p/c", "/pp"] {
        make(&mut lone, conn, path);
    }
    must(&mut lone, conn, &create_with("/hidden", None, &[(30, "world", "anyone")]));
    for (path, expected) in [("/p", 3), ("/p/a", 1), ("/pp", 0), ("/", 3 + 6)] {
        let reply = must(&mut lone, conn, &Request::GetAllChildrenNumber { path });
        assert_eq!(Reader::new(&reply.body).int(), Ok(expected), "{path}");
    }
    for (path, expected) in [("/none", ErrorCode::NONODE), ("/hidden", ErrorCode::NOAUTH)] {
        assert_eq!(code(&mut lone, conn, &Request::GetAllChildrenNumber { path }), expected, "{path}");
    }
}

/// `path.root.alias`: reads find the root by an empty path, too; writes do not.
#[test]
fn path_root_alias() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/p");
    must(&mut lone, conn, &set("/", b"of the root"));
    for (by_alias, by_name) in [
        (get(""), get("/")),
        (children(""), children("/")),
        (exists(""), exists("/")),
        (Request::GetAcl { path: "" }, Request::GetAcl { path: "/" }),
    ] {
        let expected = must(&mut lone, conn, &by_name).body;
        assert_eq!(must(&mut lone, conn, &by_alias).body, expected, "{by_alias:?}");
    }
    let mut count = |path| {
        let reply = must(&mut lone, conn, &Request::GetAllChildrenNumber { path });
        Reader::new(&reply.body).int().expect("a number")
    };
    assert_eq!(count(""), count("/") + 1, "its other name is one of them");
    for request in [set("", b""), delete(""), create("", 0)] {
        assert_eq!(code(&mut lone, conn, &request), ErrorCode::BADARGUMENTS, "{request:?}");
    }
}

/// `op.sync`, `sem.sync.leader`: the path comes back, whether or not there is such a znode, behind what was
/// written before.
#[test]
fn op_sync() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(conn, 2, OpCode::SYNC, &Request::Sync { path: "/none/../such" });
    lone.send(conn, 3, OpCode::GET_DATA, &get("/a"));
    assert_eq!(lone.replies(conn), []);
    lone.release_disk();
    let replies = lone.replies(conn);
    assert_eq!(
        replies.iter().map(|reply| (reply.xid, reply.err)).collect::<Vec<_>>(),
        [(1, ErrorCode::OK), (2, ErrorCode::OK), (3, ErrorCode::OK)]
    );
    assert_eq!(crate::ask::path_of(&replies[1]), "/none/../such");
}

/// `op.ping`, `xid.-2`: a header comes back, with the last zxid.
#[test]
fn op_ping() {
    let (mut lone, conn) = server();
    let written = must(&mut lone, conn, &create("/a", 0)).zxid;
    for xid in [-2, 0, 7] {
        lone.send(conn, xid, OpCode::PING, &Request::Ping);
        let reply = lone.replies(conn).pop().expect("a reply");
        assert_eq!((reply.xid, reply.zxid, reply.err, reply.body.len()), (-2, written, ErrorCode::OK, 0));
    }
}

/// `hdr.zxid`: a write tells its own transaction, a read the last one of anybody.
#[test]
fn hdr_zxid() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    let first = must(&mut lone, conn, &create("/a", 0)).zxid;
    let second = must(&mut lone, other, &set("/a", b"2"));
    assert_eq!((second.zxid.0, stat_in(&second).mzxid), (first.0 + 1, second.zxid));
    assert_eq!(must(&mut lone, conn, &get("/a")).zxid, second.zxid);
    assert_eq!(ask(&mut lone, conn, &get("/none")).zxid, second.zxid);
}

/// `multiread`, `op.multiRead`: each for itself, all at one point.
#[test]
fn multiread() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    make(&mut lone, conn, "/a/b");
    must(&mut lone, conn, &create_with("/hidden", None, &[(30, "world", "anyone")]));
    let ops = vec![
        MultiOp { op: OpCode::GET_DATA, request: Request::GetData { path: "/a", watch: true } },
        MultiOp { op: OpCode::GET_DATA, request: get("/none") },
        MultiOp { op: OpCode::GET_CHILDREN, request: children("/hidden") },
        MultiOp { op: OpCode::GET_CHILDREN, request: Request::GetChildren { path: "/a", watch: true } },
    ];
    let reply = must(&mut lone, conn, &Request::MultiRead(ops));
    let mut reader = Reader::new(&reply.body);
    let header = |reader: &mut Reader<'_>| (reader.int(), reader.boolean(), reader.int());
    assert_eq!(header(&mut reader), (Ok(OpCode::GET_DATA.0), Ok(false), Ok(0)));
    assert_eq!(reader.buffer(), Ok(Some(&b"x"[..])));
    zabra_core::wire::data::decode_stat(&mut reader).expect("a stat");
    for err in [ErrorCode::NONODE.0, ErrorCode::NOAUTH.0] {
        assert_eq!(header(&mut reader), (Ok(-1), Ok(false), Ok(err)));
        assert_eq!(reader.int(), Ok(err));
    }
    assert_eq!(header(&mut reader), (Ok(OpCode::GET_CHILDREN.0), Ok(false), Ok(0)));
    assert_eq!(reader.required_strings(), Ok(vec!["b"]));
    assert_eq!(header(&mut reader), (Ok(-1), Ok(true), Ok(-1)));
    // No watch was left, whatever was asked for.
    must(&mut lone, conn, &set("/a", b"2"));
    must(&mut lone, conn, &delete("/a/b"));
}

/// `path.valid.where`: which operation looks at a path how closely.
#[test]
fn path_valid_where() {
    let (mut lone, conn) = server();
    let bad = "/a//b";
    for (request, expected) in [
        (create(bad, 0), ErrorCode::NONODE),
        (set(bad, b""), ErrorCode::BADARGUMENTS),
        (delete(bad), ErrorCode::NONODE),
        (get(bad), ErrorCode::NONODE),
        (children(bad), ErrorCode::NONODE),
        (exists(bad), ErrorCode::NONODE),
        (get("\0"), ErrorCode::NONODE),
        (delete("/a\0"), ErrorCode::BADARGUMENTS),
        (delete("a"), ErrorCode::BADARGUMENTS),
        (create("/\u{1f600}", 0), ErrorCode::BADARGUMENTS),
    ] {
        assert_eq!(code(&mut lone, conn, &request), expected, "{request:?}");
    }
}
