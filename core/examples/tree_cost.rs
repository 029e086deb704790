//! What a million znodes and a million watches cost in memory and time.
//!
//! `cargo run --release -p zabra-core --example tree_cost znodes`, `… watches` or `… crowd` (the same watches on a
//! hundredth of the paths), on Linux: it reads what the kernel knows of its size and time. One thing a run, because
//! freed memory blurs what the next one needs.

use zabra_core::time::WallTime;
use zabra_core::tree::{Change, SnapshotNode, Tree, TreeLoader, TreeOptions, WatchTable};
use zabra_core::types::{
    AclList, ConnId, CreateTxn, NodeKind, OpCode, SessionId, StatPersisted, Txn, TxnHeader, Zxid,
};

const NODES: usize = 1_000_000;
const CONNS: usize = 900;
const SEED: [u64; 4] = [11, 12, 13, 14];
const OPTIONS: TreeOptions = TreeOptions { extended_types: false, digest_enabled: true };

/// Path, data and the rest.
type Shown = (Box<str>, Option<Box<[u8]>>, StatPersisted);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("crowd") => watches(NODES / 100),
        Some("watches") => watches(NODES),
        Some("znodes") => znodes(),
        _ => println!("say znodes, watches or crowd"),
    }
}

fn znodes() {
    let mut tree = Tree::new(OPTIONS, SEED);
    let mut zxid = 0;
    let mut apply = |tree: &mut Tree, op, txn| {
        zxid += 1;
        let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(zxid), time: WallTime(zxid), op };
        tree.apply(&header, txn, &mut |_| {})
    };
    for dir in 0..100 {
        apply(&mut tree, OpCode::CREATE, create(&format!("/dir{dir:03}"), None));
    }
    let resident = resident_kb();
    timed("create", NODES, || {
        for n in 0..NODES {
            apply(&mut tree, OpCode::CREATE, create(&path(n), Some([7; 100].into())));
        }
    });
    report_bytes("znode of 100 bytes at a path of 24", resident, NODES);
    let random = |n: usize| n.wrapping_mul(0x9e37_79b9) % NODES;
    let txns: Vec<Txn> = (0..NODES)
        .map(|n| Txn::SetData { path: path(random(n)).into(), data: Some([8; 100].into()), version: 1 })
        .collect();
    timed("setData, anywhere", NODES, || {
        for txn in txns {
            apply(&mut tree, OpCode::SET_DATA, txn);
        }
    });
    let paths: Vec<String> = (0..NODES).map(|n| path(random(n))).collect();
    timed("lookup and stat, anywhere", NODES, || {
        for path in &paths {
            assert_eq!(tree.node(path).expect("it was created").stat().version, 1);
        }
    });
    drop(paths);

    let mut nodes: Vec<Shown> = Vec::new();
    let mut keep =
        |node: SnapshotNode<'_>| nodes.push((node.path.into(), node.data.map(Box::from), node.stat));
    timed("snapshot, with copies", NODES, || {
        tree.begin_snapshot();
        while tree.snapshot_chunk(256 << 10, &mut keep) {}
        tree.end_snapshot();
    });
    let digest = tree.digest();
    let mut loaded = None;
    timed("load", NODES, || {
        let mut loader = TreeLoader::new(OPTIONS, SEED);
        for (path, data, stat) in nodes.drain(..) {
            loader.load_node(path, data, -1, stat).expect("in order");
        }
        loaded = Some(loader.finish_load(Zxid(1)).expect("there is a root"));
    });
    assert_eq!(loaded.expect("just loaded").digest(), digest);
}

fn watches(paths: usize) {
    let resident = resident_kb();
    let mut table = WatchTable::new(SEED);
    timed("add a watch", NODES, || {
        for n in 0..NODES {
            table.add_data(&path(n % paths), ConnId(1 + (n / (NODES / CONNS)) as u64));
        }
    });
    report_bytes("one-shot watch, path of 24 bytes included", resident, NODES);
    let mut told = 0;
    timed("fire a watch", NODES / 2, || {
        for n in 0..paths / 2 {
            let path = path(n);
            let change = Change::DataChanged { path: &path, zxid: Zxid(1), acl: &AclList::OpenUnsafe };
            table.fire(&change, &mut |_| told += 1);
        }
    });
    assert_eq!(told, NODES / 2);
    timed("close a connection, by watch", NODES / 2, || {
        for conn in 1..=1 + CONNS as u64 {
            table.remove_conn(ConnId(conn));
        }
    });
    assert!(table.is_empty());
}

fn path(n: usize) -> String {
    format!("/dir{:03}/node-{:011}", n % 100, n)
}

fn create(path: &str, data: Option<Box<[u8]>>) -> Txn {
    let (acl, kind) = (AclList::OpenUnsafe, NodeKind::Persistent);
    Txn::Create(CreateTxn { path: path.into(), data, acl, kind, parent_cversion: -1 })
}

fn timed(what: &str, times: usize, work: impl FnOnce()) {
    let start = cpu_ns();
    work();
    println!("{what}: {} ns of processor time each", (cpu_ns() - start) / times);
}

/// Unlike a clock, this does not count what other processes take.
fn cpu_ns() -> usize {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells every process its time");
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number of ns")
}

fn report_bytes(what: &str, before_kb: usize, count: usize) {
    let now = resident_kb();
    println!("{what}: {} bytes each, {} MB resident in all", (now - before_kb) * 1024 / count, now / 1024);
}

fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells every process its size");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS is always there");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number of kB")
}
