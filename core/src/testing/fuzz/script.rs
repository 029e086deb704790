//! Transactions, ACLs and paths that meet each other, out of a fuzzer's bytes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::Source;
use crate::time::WallTime;
use crate::types::{
    Acl, AclList, CreateTxn, ErrorCode, Id, NodeKind, OpCode, Perms, SessionId, StatPersisted, SubTxn, Txn,
    TxnHeader, Zxid,
};

/// Few paths, so that transactions meet: parents and children, and all that quotas are made of.
const PATHS: [&str; 20] = [
    "/a",
    "/a/b",
    "/a/b/a",
    "/b",
    "/b/ ",
    "/a/c",
    "/c",
    "/",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/a/b",
    "/zookeeper/quota/a/b/zookeeper_limits",
    "/zookeeper/quota/a/b/zookeeper_stats",
    "/zookeeper/quota/zookeeper_limits",
    "/zookeeper/quota/zookeeper_stats",
    "/zookeeper/quota/zookeeper",
    "/zookeeper/config",
    "/zookeeper/quota",
    "/zookeeper",
];

/// A path that is valid.
pub(super) fn path(source: &mut Source<'_>) -> Box<str> {
    source.choose(&PATHS).into()
}

/// Data of a few bytes, or null; now and then what quotas are written as.
pub(super) fn data(source: &mut Source<'_>) -> Option<Box<[u8]>> {
    match source.below(8) {
        0 => None,
        1 => Some(b"count=5,bytes==;byteHardLimit=9;x".as_slice().into()),
        2 => Some(b"count=1,bytes=20".as_slice().into()),
        _ => Some(source.bytes(12).into()),
    }
}

/// One of a few lists.
pub(super) fn acl(source: &mut Source<'_>) -> AclList {
    let entry = |perms, scheme: &str, id: &str| Acl { perms: Perms(perms), id: Id::new(scheme, id) };
    match source.below(6) {
        0 | 1 => AclList::OpenUnsafe,
        2 => AclList::from(vec![entry(1, "world", "anyone")]),
        3 => AclList::from(vec![entry(31, "digest", "u:p"), entry(1, "ip", "10.0.0.1")]),
        4 => AclList::from(vec![]),
        _ => AclList::from(vec![entry(source.int(), "x", "")]),
    }
}

/// A stat as snapshots have them.
pub(super) fn stat(source: &mut Source<'_>) -> StatPersisted {
    StatPersisted {
        czxid: Zxid(source.long()),
        mzxid: Zxid(source.long()),
        ctime: WallTime(source.long()),
        mtime: WallTime(source.long()),
        version: source.int(),
        cversion: source.int(),
        aversion: source.int(),
        ephemeral_owner: source.long(),
        pzxid: Zxid(source.long()),
    }
}

/// A transaction and the operation that belongs to it.
pub(super) fn txn(source: &mut Source<'_>) -> (OpCode, Txn) {
    match source.below(32) {
        0..=21 => part(source),
        22..=27 => (OpCode::MULTI, multi(source)),
        28 => {
            let paths = source.flag().then(|| (0..source.below(4)).map(|_| path(source)).collect());
            (OpCode::CLOSE_SESSION, Txn::CloseSession { paths })
        }
        29 => (OpCode::ERROR, Txn::Error { code: ErrorCode(source.int()) }),
        30 => (OpCode::CREATE_SESSION, Txn::CreateSession { timeout_ms: source.int() }),
        _ => (OpCode::SET_ACL, Txn::SetAcl { path: path(source), acl: acl(source), version: source.int() }),
    }
}

/// All or none, as they are logged: with an error, every part is one.
fn multi(source: &mut Source<'_>) -> Txn {
    let mut parts: Vec<SubTxn> = (0..source.below(5))
        .map(|_| {
            let (op, txn) = part(source);
            SubTxn { op, txn }
        })
        .collect();
    if source.rarely(4) {
        for part in &mut parts {
            *part = SubTxn { op: OpCode::ERROR, txn: Txn::Error { code: ErrorCode(source.int()) } };
        }
    }
    Txn::Multi(parts)
}

/// What may also stand in a multi. A check stands nowhere else, so alone it becomes a deletion.
fn part(source: &mut Source<'_>) -> (OpCode, Txn) {
    match source.below(16) {
        0..=7 => create(source),
        8..=10 => (OpCode::DELETE, Txn::Delete { path: path(source) }),
        11 => (OpCode::DELETE_CONTAINER, Txn::Delete { path: path(source) }),
        _ => {
            let (path, data) = (path(source), data(source));
            (OpCode::SET_DATA, Txn::SetData { path, data, version: source.int() })
        }
    }
}

fn create(source: &mut Source<'_>) -> (OpCode, Txn) {
    let (op, kind) = match source.below(8) {
        0..=2 => (OpCode::CREATE, NodeKind::Persistent),
        3 => (OpCode::CREATE2, NodeKind::Persistent),
        4 => (OpCode::CREATE, NodeKind::Ephemeral),
        5 => (OpCode::CREATE2, NodeKind::Ephemeral),
        6 => (OpCode::CREATE_CONTAINER, NodeKind::Container),
        _ => (OpCode::CREATE_TTL, NodeKind::Ttl(i64::from(source.byte()))),
    };
    let (path, data, acl) = (path(source), data(source), acl(source));
    // As every server counts: one more, an old one, or what old releases wrote.
    let parent_cversion = i32::from(source.byte() % 16) - 1;
    (op, Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion }))
}

/// A header for the next transaction of a history; now and then one that was there already.
pub(super) fn header(source: &mut Source<'_>, newest: Zxid, op: OpCode) -> TxnHeader {
    let back = if source.rarely(16) { source.below(8) as i64 } else { -1 };
    TxnHeader {
        session: SessionId(source.below(4) as i64),
        cxid: source.int(),
        zxid: Zxid(newest.0.saturating_sub(back).max(1)),
        time: WallTime(source.long()),
        op,
    }
}
