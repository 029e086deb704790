//! Requests as clients send them, over few paths so that they meet, out of a fuzzer's bytes.

use alloc::vec;
use alloc::vec::Vec;

use super::Source;
use crate::types::{Acl, AclList, Id, OpCode, Perms, Zxid};
use crate::wire::{MultiOp, Request};

const PATHS: [&str; 24] = [
    "/a",
    "/a/b",
    "/a/b/c",
    "/b",
    "/c",
    "/c/s-",
    "/c/s-0000000000",
    "/c/s-0000000001",
    "/c/",
    "/",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper",
    "",
    "a",
    "/a/",
    "//",
    "/a//b",
    "/a/../b",
    "/a\0",
    "/\u{1f600}",
];

/// Every operation that a client may send and that has a reply in its turn.
const OPS: [OpCode; 26] = [
    OpCode::ADD_WATCH,
    OpCode::CHECK_WATCHES,
    OpCode::CREATE,
    OpCode::CREATE2,
    OpCode::CREATE_CONTAINER,
    OpCode::CREATE_TTL,
    OpCode::DELETE,
    OpCode::EXISTS,
    OpCode::GET_ACL,
    OpCode::GET_ALL_CHILDREN_NUMBER,
    OpCode::GET_CHILDREN,
    OpCode::GET_CHILDREN2,
    OpCode::GET_DATA,
    OpCode::GET_EPHEMERALS,
    OpCode::MULTI,
    OpCode::MULTI_READ,
    OpCode::PING,
    OpCode::RECONFIG,
    OpCode::REMOVE_WATCHES,
    OpCode::SET_ACL,
    OpCode::SET_DATA,
    OpCode::SET_WATCHES,
    OpCode::SET_WATCHES2,
    OpCode::SYNC,
    OpCode::WHO_AM_I,
    OpCode::CLOSE_SESSION,
];

/// What may be in a multi.
const MULTI_OPS: [OpCode; 9] = [
    OpCode::CREATE,
    OpCode::CREATE,
    OpCode::CREATE2,
    OpCode::CREATE_CONTAINER,
    OpCode::CREATE_TTL,
    OpCode::DELETE,
    OpCode::SET_DATA,
    OpCode::SET_DATA,
    OpCode::CHECK,
];

/// A request that is answered in its turn.
pub(super) fn any(source: &mut Source<'_>) -> (OpCode, Request<'static>) {
    let op = match source.byte() {
        // Sessions should mostly live.
        255 => OpCode::CLOSE_SESSION,
        200.. => source.choose(&[OpCode::CREATE, OpCode::CREATE2, OpCode::DELETE, OpCode::SET_DATA]),
        other => OPS[usize::from(other) % (OPS.len() - 1)],
    };
    (op, of(source, op))
}

fn of(source: &mut Source<'_>, op: OpCode) -> Request<'static> {
    let path = source.choose(&PATHS);
    match op {
        OpCode::ADD_WATCH => Request::AddWatch { path, mode: i32::from(source.byte() % 3) },
        OpCode::CHECK => Request::Check { path, version: source.int() },
        OpCode::CHECK_WATCHES => Request::CheckWatches { path, kind: i32::from(source.byte() % 7) },
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            let flags = if source.rarely(32) { source.int() } else { i32::from(source.byte() % 7) };
            let ttl = (op == OpCode::CREATE_TTL).then(|| source.long());
            Request::Create { path, data: data(source), acl: acl(source), flags, ttl }
        }
        OpCode::DELETE => Request::Delete { path, version: source.int() },
        OpCode::EXISTS => Request::Exists { path, watch: source.flag() },
        OpCode::GET_ACL => Request::GetAcl { path },
        OpCode::GET_ALL_CHILDREN_NUMBER => Request::GetAllChildrenNumber { path },
        OpCode::GET_CHILDREN => Request::GetChildren { path, watch: source.flag() },
        OpCode::GET_CHILDREN2 => Request::GetChildren2 { path, watch: source.flag() },
        OpCode::GET_DATA => Request::GetData { path, watch: source.flag() },
        OpCode::GET_EPHEMERALS => Request::GetEphemerals { prefix: source.flag().then_some(path) },
        OpCode::MULTI => Request::Multi(ops(source, &MULTI_OPS)),
        OpCode::MULTI_READ => Request::MultiRead(ops(source, &[OpCode::GET_DATA, OpCode::GET_CHILDREN])),
        OpCode::RECONFIG => {
            let (joining, leaving) = (source.flag().then_some(path), None);
            Request::Reconfig { joining, leaving, new_members: None, config_id: source.long() }
        }
        OpCode::REMOVE_WATCHES => Request::RemoveWatches { path, kind: i32::from(source.byte() % 7) },
        OpCode::SET_ACL => Request::SetAcl { path, acl: acl(source), version: source.int() },
        OpCode::SET_DATA => Request::SetData { path, data: data(source), version: source.int() },
        OpCode::SET_WATCHES | OpCode::SET_WATCHES2 => {
            let mut paths = || (0..source.below(3)).map(|_| source.choose(&PATHS)).collect::<Vec<_>>();
            let (data, exist, child) = (paths(), paths(), paths());
            let more = op == OpCode::SET_WATCHES2;
            let (persistent, recursive) = if more { (paths(), paths()) } else { (vec![], vec![]) };
            let relative_zxid = Zxid(source.long());
            Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive }
        }
        OpCode::SYNC => Request::Sync { path },
        OpCode::CLOSE_SESSION => Request::CloseSession,
        OpCode::WHO_AM_I => Request::WhoAmI,
        _ => Request::Ping,
    }
}

fn ops(source: &mut Source<'_>, allowed: &[OpCode]) -> Vec<MultiOp<'static>> {
    let count = source.below(6);
    let op = |_| {
        let op = source.choose(allowed);
        MultiOp { op, request: of(source, op) }
    };
    (0..count).map(op).collect()
}

fn data(source: &mut Source<'_>) -> Option<&'static [u8]> {
    const LONG: &[u8] = &[b'x'; 250];
    let choices: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"data"),
        Some(LONG),
        Some(b"count=3,bytes=20"),
        Some(b"count=-1,bytes=-1=;byteHardLimit=9;countHardLimit=2"),
        Some(b"count=9223372036854775807,bytes=9223372036854775807"),
        Some(b"count=,bytes==;;=x"),
    ];
    source.choose(&choices)
}

fn acl(source: &mut Source<'_>) -> Option<AclList> {
    let entry =
        |perms, scheme: &'static str, id: &'static str| Acl { perms: Perms(perms), id: Id::new(scheme, id) };
    Some(match source.below(12) {
        0 => return None,
        1 => AclList::from(vec![]),
        2 => AclList::from(vec![entry(source.int(), "world", "anyone")]),
        3 => AclList::from(vec![entry(31, "auth", "")]),
        4 => AclList::from(vec![entry(31, "ip", "10.0.0.1/31"), entry(1, "world", "anyone")]),
        5 => AclList::from(vec![entry(17, "digest", "u:Xr8S6wVH6/6Z6w2FTVWdG5BnDCg=")]),
        6 => AclList::from(vec![entry(31, "ip", source.choose(&["", "::1/129", "1.2.3.4/33", "1.2.3/8"]))]),
        7 => AclList::from(vec![entry(31, source.choose(&["", "x509", "sasl", "super"]), "x")]),
        _ => AclList::OpenUnsafe,
    })
}

/// Scheme and credentials.
pub(super) fn credentials(source: &mut Source<'_>) -> (Option<&'static str>, Option<&'static [u8]>) {
    let choices: [(Option<&str>, Option<&[u8]>); 8] = [
        (Some("digest"), Some(b"u:p")),
        (Some("digest"), Some(b"super:secret")),
        (Some("digest"), Some(b"no colon")),
        (Some("digest"), None),
        (Some("ip"), Some(b"10.0.0.1")),
        (Some("world"), Some(b"")),
        (Some("ensemble"), Some(b"\xff")),
        (None, None),
    ];
    source.choose(&choices)
}
