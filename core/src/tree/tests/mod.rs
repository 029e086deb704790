//! The tree as a whole: against the naive model, and the situations that PARITY names.

mod model;
mod parity;
mod snapshot;
mod watches;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::testing::naive_tree::{NaiveChange, NaiveNode, NaiveTree};
use crate::time::WallTime;
use crate::types::{CreateTxn, ErrorCode, OpCode, SubTxn, Txn, TxnHeader};

const SEED: [u64; 4] = [1, 2, 3, 4];

fn options() -> TreeOptions {
    TreeOptions { extended_types: true, digest_enabled: true }
}

fn tree() -> Tree {
    Tree::new(options(), SEED)
}

fn header(zxid: i64, op: OpCode) -> TxnHeader {
    TxnHeader { session: SessionId(7), cxid: 1, zxid: Zxid(zxid), time: WallTime(1000 + zxid), op }
}

fn create(path: &str, kind: NodeKind, parent_cversion: i32) -> Txn {
    Txn::Create(CreateTxn {
        path: path.into(),
        data: Some(b"data".as_slice().into()),
        acl: AclList::OpenUnsafe,
        kind,
        parent_cversion,
    })
}

fn set_data(path: &str, data: &str) -> Txn {
    Txn::SetData { path: path.into(), data: Some(data.as_bytes().into()), version: 1 }
}

fn delete(path: &str) -> Txn {
    Txn::Delete { path: path.into() }
}

/// Applies one transaction and collects the changes it reports.
fn apply(tree: &mut Tree, header: &TxnHeader, txn: Txn) -> (Applied, Vec<NaiveChange>) {
    let mut changes = Vec::new();
    let applied = tree.apply(header, txn, &mut |change| {
        changes.push(match change {
            Change::Created { path, zxid, acl, parent_acl } => {
                assert_eq!(zxid, header.zxid);
                NaiveChange::Created(path.to_string(), acl.clone(), parent_acl.clone())
            }
            Change::DataChanged { path, zxid, acl } => {
                assert_eq!(zxid, header.zxid);
                NaiveChange::DataChanged(path.to_string(), acl.clone())
            }
            Change::Deleted { path, zxid, acl, parent_acl } => {
                assert_eq!(zxid, header.zxid);
                NaiveChange::Deleted(path.to_string(), acl.clone(), parent_acl.clone())
            }
        });
    });
    (applied, changes)
}

/// Every znode, in the model's words.
fn dump(tree: &Tree) -> BTreeMap<String, NaiveNode> {
    let mut nodes = BTreeMap::new();
    let mut pending = vec!["/".to_string()];
    while let Some(path) = pending.pop() {
        let node = tree.node(&path).expect("a listed child is there");
        for name in node.children() {
            pending.push(if path == "/" { ["/", name].concat() } else { [&path, "/", name].concat() });
        }
        let data = node.data().map(<[u8]>::to_vec);
        nodes.insert(path, NaiveNode { data, acl: node.acl().clone(), stat: node.persisted() });
    }
    nodes
}

/// Txns over a handful of paths, so that they meet: created twice, deleted with children, missing.
fn any_txn() -> impl Strategy<Value = (OpCode, Txn)> {
    let part = any_part();
    let multi = (proptest::collection::vec(any_part(), 0..4), any::<bool>(), 0..4_usize).prop_map(
        |(parts, fails, at)| {
            let mut parts: Vec<SubTxn> = parts.into_iter().map(|(op, txn)| SubTxn { op, txn }).collect();
            if fails {
                let error = SubTxn { op: OpCode::ERROR, txn: Txn::Error { code: ErrorCode::NONODE } };
                parts.insert(at.min(parts.len()), error);
            }
            (OpCode::MULTI, Txn::Multi(parts))
        },
    );
    let close = proptest::option::of(proptest::collection::vec(any_path(), 0..3))
        .prop_map(|paths| (OpCode::CLOSE_SESSION, Txn::CloseSession { paths }));
    let error = Just((OpCode::ERROR, Txn::Error { code: ErrorCode::BADVERSION }));
    let session = Just((OpCode::CREATE_SESSION, Txn::CreateSession { timeout_ms: 5 }));
    prop_oneof![20 => part, 3 => multi, 1 => close, 1 => error, 1 => session]
}

fn any_part() -> impl Strategy<Value = (OpCode, Txn)> {
    let created = (any_path(), any_data(), any_acl(), any_kind(), -1..6_i32).prop_map(
        |(path, data, acl, (op, kind), parent_cversion)| {
            (op, Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion }))
        },
    );
    let deleted = any_path().prop_map(|path| (OpCode::DELETE, Txn::Delete { path }));
    let set = (any_path(), any_data(), 0..9_i32)
        .prop_map(|(path, data, version)| (OpCode::SET_DATA, Txn::SetData { path, data, version }));
    let acl = (any_path(), any_acl(), 0..9_i32)
        .prop_map(|(path, acl, version)| (OpCode::SET_ACL, Txn::SetAcl { path, acl, version }));
    let check = any_path().prop_map(|path| (OpCode::CHECK, Txn::Check { path, version: 1 }));
    prop_oneof![8 => created, 3 => deleted, 4 => set, 1 => acl, 1 => check]
}

fn any_path() -> impl Strategy<Value = Box<str>> {
    let plain = proptest::collection::vec(prop_oneof![Just("/a"), Just("/b"), Just("/ ")], 1..4)
        .prop_map(|names| Box::from(names.concat()));
    let quota = proptest::sample::select(vec![
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
        "/zookeeper/quota/a/b",
        "/zookeeper/quota/a/b/zookeeper_limits",
        "/zookeeper/quota/a/b/zookeeper_stats",
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/quota/zookeeper_stats",
        "/zookeeper/quota/zookeeper",
        "/zookeeper/quota/zookeeper/zookeeper_limits",
        "/zookeeper/quota/zookeeper/zookeeper_stats",
        "/zookeeper/config",
        "/",
    ])
    .prop_map(Box::from);
    prop_oneof![3 => plain, 2 => quota]
}

fn any_data() -> impl Strategy<Value = Option<Box<[u8]>>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..5);
    let text = Just(b"count=5,bytes==;byteHardLimit=9;x".to_vec());
    proptest::option::of(prop_oneof![4 => bytes, 1 => text].prop_map(Vec::into_boxed_slice))
}

fn any_acl() -> impl Strategy<Value = AclList> {
    (0..5_i32).prop_map(|n| match n {
        0 | 1 => AclList::OpenUnsafe,
        _ => AclList::from(vec![Acl { perms: Perms(n), id: Id::new("digest", "u:p") }]),
    })
}

fn any_kind() -> impl Strategy<Value = (OpCode, NodeKind)> {
    proptest::sample::select(vec![
        (OpCode::CREATE, NodeKind::Persistent),
        (OpCode::CREATE2, NodeKind::Persistent),
        (OpCode::CREATE, NodeKind::Ephemeral),
        (OpCode::CREATE2, NodeKind::Ephemeral),
        (OpCode::CREATE_CONTAINER, NodeKind::Container),
        (OpCode::CREATE_TTL, NodeKind::Ttl(100)),
    ])
}

/// A header for the `n`th transaction of a run; now and then one is replayed.
fn any_headers() -> impl Strategy<Value = (i64, i64, i64)> {
    (1..4_i64, prop_oneof![8 => Just(0_i64), 1 => 1..9_i64], 0..100_i64)
}

fn nth_header(n: usize, (session, back, time): (i64, i64, i64), op: OpCode) -> TxnHeader {
    let zxid = Zxid((n as i64 + 1 - back).max(1));
    TxnHeader { session: SessionId(session), cxid: n as i32, zxid, time: WallTime(time), op }
}
