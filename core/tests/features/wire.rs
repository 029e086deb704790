//! Bytes: numbers, headers, and what does not decode.

use zabra_core::types::{ErrorCode, OpCode};
use zabra_core::wire::{Request, Writer};

use crate::ask::{create, last_zxid, make, must, server};

fn framed(xid: i32, op: OpCode, body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    let mut writer = Writer::new(&mut bytes);
    writer.int(xid);
    writer.int(op.0);
    body(&mut writer);
    let length = i32::try_from(bytes.len() - 4).expect("small");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// `err.*`: ZooKeeper's numbers.
#[test]
fn err_numbers() {
    for (code, number) in [
        (ErrorCode::OK, 0),
        (ErrorCode::RUNTIMEINCONSISTENCY, -2),
        (ErrorCode::MARSHALLINGERROR, -5),
        (ErrorCode::UNIMPLEMENTED, -6),
        (ErrorCode::BADARGUMENTS, -8),
        (ErrorCode::UNKNOWNSESSION, -12),
        (ErrorCode::NEWCONFIGNOQUORUM, -13),
        (ErrorCode::RECONFIGINPROGRESS, -14),
        (ErrorCode::NONODE, -101),
        (ErrorCode::NOAUTH, -102),
        (ErrorCode::BADVERSION, -103),
        (ErrorCode::NOCHILDRENFOREPHEMERALS, -108),
        (ErrorCode::NODEEXISTS, -110),
        (ErrorCode::NOTEMPTY, -111),
        (ErrorCode::SESSIONEXPIRED, -112),
        (ErrorCode::INVALIDACL, -114),
        (ErrorCode::AUTHFAILED, -115),
        (ErrorCode::SESSIONMOVED, -118),
        (ErrorCode::NOTREADONLY, -119),
        (ErrorCode::EPHEMERALONLOCALSESSION, -120),
        (ErrorCode::NOWATCHER, -121),
        (ErrorCode::RECONFIGDISABLED, -123),
        (ErrorCode::SESSIONCLOSEDREQUIRESASLAUTH, -124),
        (ErrorCode::QUOTAEXCEEDED, -125),
        (ErrorCode::THROTTLEDOP, -127),
    ] {
        assert_eq!(code.0, number, "{code}");
    }
}

/// `err.*`: what nobody sends, and most of what clients make up by themselves, has no name here.
#[test]
fn err_numbers_that_are_not_sent() {
    for number in [-1, -3, -7, -9, -15, -100, -113, -116, -117, -122, -126] {
        assert_eq!(ErrorCode(number).name(), None, "{number}");
    }
}

/// `op.*`: ZooKeeper's numbers.
#[test]
fn op_numbers() {
    for (number, name) in [
        (-11, "closeSession"),
        (-10, "createSession"),
        (-1, "error"),
        (0, "notification"),
        (1, "create"),
        (2, "delete"),
        (3, "exists"),
        (4, "getData"),
        (5, "setData"),
        (6, "getACL"),
        (7, "setACL"),
        (8, "getChildren"),
        (9, "sync"),
        (11, "ping"),
        (12, "getChildren2"),
        (13, "check"),
        (14, "multi"),
        (15, "create2"),
        (16, "reconfig"),
        (17, "checkWatches"),
        (18, "removeWatches"),
        (19, "createContainer"),
        (20, "deleteContainer"),
        (21, "createTTL"),
        (22, "multiRead"),
        (100, "auth"),
        (101, "setWatches"),
        (102, "sasl"),
        (103, "getEphemerals"),
        (104, "getAllChildrenNumber"),
        (105, "setWatches2"),
        (106, "addWatch"),
        (107, "whoAmI"),
    ] {
        assert_eq!(OpCode(number).name(), Some(name));
    }
}

/// `req.marshalling`: what does not decode takes no zxid, and text that is not UTF-8 does not decode.
#[test]
fn req_marshalling_takes_no_zxid() {
    let (mut lone, conn) = server();
    let before = last_zxid(&mut lone, conn);
    let not_text = |writer: &mut Writer<'_>| {
        writer.buffer(Some(b"/\xff"));
        writer.buffer(Some(b""));
        writer.int(-1);
    };
    let null_path = |writer: &mut Writer<'_>| {
        writer.null();
        writer.buffer(Some(b""));
        writer.int(-1);
    };
    let cut = |writer: &mut Writer<'_>| writer.string("/a");
    let of_many = |writer: &mut Writer<'_>| writer.int(i32::MAX);
    for bytes in [
        framed(1, OpCode::SET_DATA, not_text),
        framed(2, OpCode::SET_DATA, null_path),
        framed(3, OpCode::SET_DATA, cut),
        framed(4, OpCode::CREATE, cut),
        framed(5, OpCode::GET_DATA, not_text),
        framed(6, OpCode::MULTI, of_many),
        framed(7, OpCode::SET_WATCHES, of_many),
    ] {
        lone.receive(conn, bytes);
    }
    let codes: Vec<_> = lone.replies(conn).iter().map(|reply| (reply.xid, reply.err)).collect();
    assert_eq!(codes, (1..8).map(|xid| (xid, ErrorCode::MARSHALLINGERROR)).collect::<Vec<_>>());
    assert_eq!(last_zxid(&mut lone, conn), before);
}

/// `req.marshalling`, `order.session`: answered in its turn, behind the writes before it.
#[test]
fn req_marshalling_keeps_the_order() {
    let (mut lone, conn) = server();
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.receive(conn, framed(2, OpCode::CREATE, |_| {}));
    lone.send(conn, 3, OpCode::CREATE, &create("/b", 0));
    assert_eq!(lone.replies(conn), []);
    lone.release_disk();
    let xids: Vec<_> = lone.replies(conn).iter().map(|reply| reply.xid).collect();
    assert_eq!(xids, [1, 2, 3]);
}

/// `jute.vector`: a null list of ACLs decodes, and is no list.
#[test]
fn jute_vector_null_acl() {
    let (mut lone, conn) = server();
    let no_list = Request::Create { path: "/a", data: None, acl: None, flags: 0, ttl: None };
    assert_eq!(lone.call(conn, OpCode::CREATE, &no_list).err, ErrorCode::INVALIDACL);
}

/// `op.sasl`: without SASL the token is answered with none, and the connection goes on with what it was.
#[test]
fn op_sasl() {
    let (mut lone, conn) = server();
    lone.send(conn, 5, OpCode::SASL, &Request::Sasl { token: Some(b"hello") });
    let reply = lone.replies(conn).pop().expect("a reply");
    assert_eq!((reply.xid, reply.zxid.0, reply.err), (5, 0, ErrorCode::OK));
    assert_eq!(&reply.body[..], (-1_i32).to_be_bytes());
    make(&mut lone, conn, "/a");
}

/// `sem.zxid-order`: one zxid after the other, whoever writes.
#[test]
fn sem_zxid_order() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    let begin = last_zxid(&mut lone, conn).0 + 1;
    for zxid in begin..begin + 20 {
        let by = if zxid % 3 == 0 { other } else { conn };
        assert_eq!(must(&mut lone, by, &crate::ask::set("/a", b"x")).zxid.0, zxid);
    }
}
