//! The tree: look-ups, writes, and snapshots of a hundred thousand znodes.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use zabra_core::time::WallTime;
use zabra_core::tree::{Tree, TreeOptions};
use zabra_core::types::{AclList, CreateTxn, NodeKind, OpCode, SessionId, Txn, TxnDigest, TxnHeader, Zxid};
use zabra_core::wire::snapshot::Encoder;

const ZNODES: usize = 100_000;

fn header(zxid: i64, op: OpCode) -> TxnHeader {
    TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(zxid), time: WallTime(1_700_000_000_000), op }
}

fn path(number: usize) -> Box<str> {
    format!("/bench/k{number:07}").into()
}

fn create(path: Box<str>) -> Txn {
    let (acl, kind) = (AclList::OpenUnsafe, NodeKind::Persistent);
    Txn::Create(CreateTxn { path, data: Some([b'x'; 100].into()), acl, kind, parent_cversion: -1 })
}

fn full_tree() -> Tree {
    let mut tree = Tree::new(TreeOptions { extended_types: false, digest_enabled: true }, [1, 2, 3, 4]);
    let paths = core::iter::once("/bench".into()).chain((0..ZNODES).map(path));
    for (zxid, path) in (1..).zip(paths) {
        tree.apply(&header(zxid, OpCode::CREATE), create(path), &mut |_| {});
    }
    tree
}

fn operations(c: &mut Criterion) {
    let mut tree = full_tree();
    let mut number = 0;
    let mut next = move || {
        number = (number + 7919) % ZNODES;
        path(number)
    };
    c.bench_function("look a znode up", |b| {
        b.iter_batched(
            &mut next,
            |path| black_box(tree.node(&path).map(|node| node.stat())),
            BatchSize::SmallInput,
        );
    });
    let mut zxid = ZNODES as i64 + 10;
    c.bench_function("apply a setData", |b| {
        b.iter_batched(
            || Txn::SetData { path: next(), data: Some([b'y'; 100].into()), version: 1 },
            |txn| {
                zxid += 1;
                black_box(tree.apply(&header(zxid, OpCode::SET_DATA), txn, &mut |_| {}))
            },
            BatchSize::SmallInput,
        );
    });
}

fn snapshot(c: &mut Criterion) {
    let mut tree = full_tree();
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ZNODES as u64));
    group.bench_function("encode 100,000 znodes in chunks", |b| {
        b.iter(|| {
            let mark = tree.begin_snapshot();
            let mut chunk = Vec::with_capacity(1 << 20);
            let mut encoder = Encoder::begin(&mut chunk, 0);
            encoder.begin_acls(&mut chunk, 0);
            let mut bytes = 0;
            while tree.snapshot_chunk(256 << 10, &mut |node| {
                encoder.node(&mut chunk, node.path, node.data, node.acl_id, &node.stat);
            }) {
                bytes += chunk.len();
                chunk.clear();
            }
            encoder.end_nodes(&mut chunk);
            encoder.digest(&mut chunk, mark.zxid, &TxnDigest { version: 2, tree_digest: mark.digest });
            tree.end_snapshot();
            black_box(bytes + chunk.len())
        });
    });
    group.finish();
}

criterion_group!(benches, operations, snapshot);
criterion_main!(benches);
