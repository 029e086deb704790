//! Situations that PARITY names, one by one.

use core::time::Duration;

use super::*;

fn run(tree: &mut Tree, zxid: i64, op: OpCode, txn: Txn) -> Applied {
    apply(tree, &header(zxid, op), txn).0
}

/// PARITY `path.reserved`, `path.reserved.config-acl`, `config.standalone`.
#[test]
fn predefined_nodes() {
    let tree = tree();
    let empty = Some(b"".as_slice());
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        let node = tree.node(path).expect("predefined");
        assert_eq!(node.data(), empty, "{path}");
        let aversion = if path == "/zookeeper/config" { -1 } else { 0 };
        assert_eq!(node.persisted(), StatPersisted { aversion, ..StatPersisted::default() });
    }
    assert_eq!(tree.node("/").map(|node| node.stat().cversion), Some(-1));
    assert_eq!(tree.node("/zookeeper").map(|node| node.stat().cversion), Some(-2));
    let config = tree.node("/zookeeper/config").expect("predefined");
    assert_eq!(config.acl().entries(), [Acl { perms: Perms::READ, id: Id::ANYONE }]);
    assert_eq!(tree.node_count(), 5);
    assert_eq!(tree.descendant_count("/"), Some(3));
    assert!(tree.node("").is_none());
    assert_eq!(tree.digest(), NaiveTree::new(true).digest());
}

/// PARITY `stat.cversion`: creations plus deletions on the wire, creations alone in store.
#[test]
fn stat_cversion() {
    let mut tree = tree();
    run(&mut tree, 1, OpCode::CREATE, create("/p", NodeKind::Persistent, 1));
    for n in 1..=3 {
        let path = ["/p/", ["a", "b", "c"][n as usize - 1]].concat();
        run(&mut tree, 1 + n, OpCode::CREATE, create(&path, NodeKind::Persistent, n as i32));
    }
    run(&mut tree, 5, OpCode::DELETE, delete("/p/b"));
    let node = tree.node("/p").expect("created");
    assert_eq!((node.persisted().cversion, node.stat().cversion, node.stat().num_children), (3, 4, 2));
    assert_eq!(node.children().len(), 2);
    assert_eq!(node.stat().pzxid, Zxid(5));
    assert_eq!(node.stat().mzxid, Zxid(1));
}

/// PARITY `seq.overflow`: the parent's counter only rises, so it sticks at the largest number.
#[test]
fn seq_overflow() {
    let mut tree = tree();
    run(&mut tree, 1, OpCode::CREATE, create("/a", NodeKind::Persistent, i32::MAX));
    run(&mut tree, 2, OpCode::CREATE, create("/b", NodeKind::Persistent, i32::MIN));
    run(&mut tree, 3, OpCode::CREATE, create("/c", NodeKind::Persistent, -1));
    assert_eq!(tree.node("/").map(|node| node.persisted().cversion), Some(i32::MAX));
}

/// PARITY `stat.ephemeralOwner`: clients see only sessions.
#[test]
fn stat_ephemeral_owner() {
    let mut tree = tree();
    let owner = |tree: &Tree, path| tree.node(path).map(|node| node.stat().ephemeral_owner.0);
    run(&mut tree, 1, OpCode::CREATE, create("/e", NodeKind::Ephemeral, 1));
    run(&mut tree, 2, OpCode::CREATE_CONTAINER, create("/c", NodeKind::Container, 2));
    run(&mut tree, 3, OpCode::CREATE_TTL, create("/t", NodeKind::Ttl(500), 3));
    assert_eq!(owner(&tree, "/e"), Some(7));
    assert_eq!(owner(&tree, "/c"), Some(0));
    assert_eq!(owner(&tree, "/t"), Some(0));
    assert_eq!(tree.node("/t").map(|node| node.kind()), Some(NodeKind::Ttl(500)));
    // Without extended types the same znode belongs to a session that cannot be.
    let mut plain = Tree::new(TreeOptions { extended_types: false, digest_enabled: true }, SEED);
    run(&mut plain, 1, OpCode::CREATE_TTL, create("/t", NodeKind::Ttl(500), 1));
    assert_eq!(owner(&plain, "/t"), Some(NodeKind::TTL_MASK | 500));
    plain.check_invariants();
}

/// PARITY `stat.mzxid`, `acl.setacl.nowatch`: setACL changes the ACL and its version, and tells nobody.
#[test]
fn acl_setacl_nowatch() {
    let mut tree = tree();
    run(&mut tree, 1, OpCode::CREATE, create("/a", NodeKind::Persistent, 1));
    let before = tree.node("/a").expect("created").persisted();
    let acl = AclList::from(vec![Acl { perms: Perms::READ, id: Id::ANYONE }]);
    let txn = Txn::SetAcl { path: "/a".into(), acl: acl.clone(), version: 1 };
    let (applied, changes) = apply(&mut tree, &header(2, OpCode::SET_ACL), txn);
    assert_eq!(changes, []);
    let node = tree.node("/a").expect("created");
    assert_eq!(node.persisted(), StatPersisted { aversion: 1, ..before });
    assert_eq!(applied.stat, Some(node.stat()));
    assert_eq!(node.acl(), &acl);
}

/// Which results carry a stat: of the creates, every one but the first operation.
#[test]
fn results_with_stat() {
    let mut tree = tree();
    for (zxid, op, kind, has_stat) in [
        (1, OpCode::CREATE, NodeKind::Persistent, false),
        (2, OpCode::CREATE2, NodeKind::Persistent, true),
        (3, OpCode::CREATE_CONTAINER, NodeKind::Container, true),
        (4, OpCode::CREATE_TTL, NodeKind::Ttl(9), true),
    ] {
        let path = ["/", ["a", "b", "c", "d"][zxid as usize - 1]].concat();
        let applied = run(&mut tree, zxid, op, create(&path, kind, zxid as i32));
        assert_eq!(applied.stat.is_some(), has_stat, "{op:?}");
        assert_eq!(&*applied.path, path);
    }
    let applied = run(&mut tree, 5, OpCode::SET_DATA, set_data("/a", "xyz"));
    assert_eq!(applied.stat.map(|stat| (stat.version, stat.data_length)), Some((1, 3)));
    let applied = run(&mut tree, 6, OpCode::DELETE, delete("/nowhere"));
    assert_eq!((applied.error, applied.stat), (ErrorCode::NONODE, None));
    assert_eq!(&*applied.path, "/nowhere");
}

/// PARITY `multi.fail`, `req.failed-write`: nothing is done, and the zxid is used up.
#[test]
fn multi_fail() {
    let mut tree = tree();
    let digest = tree.digest();
    let part = |op, txn| SubTxn { op, txn };
    let parts = vec![
        part(OpCode::CREATE, create("/a", NodeKind::Persistent, 1)),
        part(OpCode::ERROR, Txn::Error { code: ErrorCode::BADVERSION }),
        part(OpCode::DELETE, delete("/zookeeper")),
    ];
    let applied = run(&mut tree, 9, OpCode::MULTI, Txn::Multi(parts));
    assert_eq!(applied.error, ErrorCode::BADVERSION);
    let results: Vec<(OpCode, i32)> = applied.multi.iter().map(|part| (part.op, part.error.0)).collect();
    assert_eq!(results, [(OpCode::ERROR, 0), (OpCode::ERROR, -103), (OpCode::ERROR, -2)]);
    assert_eq!((tree.node_count(), tree.digest(), tree.last_zxid()), (5, digest, Zxid(9)));
}

/// PARITY `multi.empty`.
#[test]
fn multi_empty() {
    let mut tree = tree();
    let applied = run(&mut tree, 1, OpCode::MULTI, Txn::Multi(Vec::new()));
    assert_eq!((applied.error, applied.multi), (ErrorCode::OK, Vec::new()));
}

/// PARITY `node.ephemeral.close`, `disk.txn.closesession.empty`: the znodes listed, and any other it owns.
#[test]
fn node_ephemeral_close() {
    for (paths, expected) in [
        (None, ["/e1", "/e2"]),
        (Some(vec!["/e2".into(), "/gone".into(), "/e1".into()]), ["/e2", "/e1"]),
        (Some(vec!["/e2".into()]), ["/e2", "/e1"]),
    ] {
        let mut tree = tree();
        run(&mut tree, 1, OpCode::CREATE, create("/e1", NodeKind::Ephemeral, 1));
        run(&mut tree, 2, OpCode::CREATE, create("/e2", NodeKind::Ephemeral, 2));
        run(&mut tree, 3, OpCode::CREATE, create("/p", NodeKind::Persistent, 3));
        assert_eq!(tree.ephemerals(SessionId(7)).collect::<Vec<_>>(), ["/e1", "/e2"]);
        let close = Txn::CloseSession { paths };
        let (applied, changes) = apply(&mut tree, &header(4, OpCode::CLOSE_SESSION), close);
        assert_eq!(applied.error, ErrorCode::OK);
        let open = AclList::OpenUnsafe;
        assert_eq!(
            changes,
            expected.map(|path| NaiveChange::Deleted(path.to_string(), open.clone(), open.clone()))
        );
        assert_eq!((tree.ephemeral_count(), tree.node_count()), (0, 6));
        assert_eq!(tree.node("/").map(|node| node.stat().pzxid), Some(Zxid(4)));
    }
}

/// PARITY `disk.snap.fuzzy`: what is there already or gone already when replay comes to it.
#[test]
fn disk_snap_fuzzy() {
    let mut tree = tree();
    run(&mut tree, 10, OpCode::CREATE, create("/p", NodeKind::Persistent, 1));
    run(&mut tree, 11, OpCode::CREATE, create("/p/a", NodeKind::Persistent, 1));
    let root =
        |tree: &Tree| tree.node("/p").map(|node| (node.persisted().cversion, node.persisted().pzxid.0));

    // The first create operation raises the parent's counter, the others leave it; all bring their ACL.
    let acl = AclList::from(vec![Acl { perms: Perms::READ, id: Id::ANYONE }]);
    let again = |parent_cversion| {
        let (path, kind) = ("/p/a".into(), NodeKind::Persistent);
        Txn::Create(CreateTxn { path, data: None, acl: acl.clone(), kind, parent_cversion })
    };
    assert_eq!(run(&mut tree, 12, OpCode::CREATE2, again(5)).error, ErrorCode::NODEEXISTS);
    assert_eq!(root(&tree), Some((1, 11)));
    assert_eq!(run(&mut tree, 12, OpCode::CREATE, again(5)).error, ErrorCode::NODEEXISTS);
    assert_eq!(root(&tree), Some((5, 12)));
    assert_eq!(run(&mut tree, 13, OpCode::CREATE, again(4)).error, ErrorCode::NODEEXISTS);
    assert_eq!(root(&tree), Some((5, 12)));
    assert_eq!(tree.node("/p/a").map(|node| node.acl().clone()), Some(acl.clone()));

    // A znode that is gone still tells its parent when.
    assert_eq!(run(&mut tree, 20, OpCode::DELETE, delete("/p/gone")).error, ErrorCode::NONODE);
    assert_eq!(root(&tree), Some((5, 20)));
    assert_eq!(run(&mut tree, 15, OpCode::DELETE, delete("/p/a")).error, ErrorCode::OK);
    assert_eq!(root(&tree), Some((5, 20)));

    // Logs of old releases have no counter.
    run(&mut tree, 21, OpCode::CREATE, create("/p/b", NodeKind::Persistent, -1));
    assert_eq!(root(&tree), Some((6, 21)));
    // The last zxid never falls.
    run(&mut tree, 3, OpCode::SET_DATA, set_data("/p", "x"));
    assert_eq!(tree.last_zxid(), Zxid(21));
    tree.check_invariants();
}

/// PARITY `disk.snap.fuzzy`: a znode deleted in the log has children in the snapshot, from its next life.
#[test]
fn disk_snap_fuzzy_next_life() {
    let mut tree = tree();
    run(&mut tree, 1, OpCode::CREATE, create("/p", NodeKind::Persistent, 1));
    run(&mut tree, 2, OpCode::CREATE, create("/p/a", NodeKind::Persistent, 1));
    run(&mut tree, 3, OpCode::CREATE, create("/p/a/b", NodeKind::Ephemeral, 1));
    let (applied, changes) = apply(&mut tree, &header(4, OpCode::DELETE), delete("/p"));
    assert_eq!((applied.error, changes.len()), (ErrorCode::OK, 1));
    assert_eq!((tree.node_count(), tree.ephemeral_count()), (5, 0));
    tree.check_invariants();
}

/// PARITY `digest.log`: on record at every 128th zxid; nothing at all where digests are off.
#[test]
fn digest_log() {
    let mut tree = tree();
    let mut off = Tree::new(TreeOptions { extended_types: true, digest_enabled: false }, SEED);
    for zxid in 1..=300 {
        for tree in [&mut tree, &mut off] {
            run(tree, zxid, OpCode::SET_DATA, set_data("/", "x"));
        }
    }
    let zxids: Vec<i64> = tree.digest_history().map(|(zxid, _)| zxid.0).collect();
    assert_eq!(zxids, [128, 256]);
    assert_eq!((off.digest(), off.digest_history().count()), (0, 0));
    off.check_invariants();
}

/// PARITY `node.container`, `cm.neverused`, `node.ttl.expiry`.
#[test]
fn expired_candidates() {
    let mut tree = tree();
    let never = None;
    run(&mut tree, 1, OpCode::CREATE_CONTAINER, create("/used", NodeKind::Container, 1));
    run(&mut tree, 2, OpCode::CREATE_CONTAINER, create("/new", NodeKind::Container, 2));
    run(&mut tree, 3, OpCode::CREATE_TTL, create("/ttl", NodeKind::Ttl(50), 3));
    run(&mut tree, 4, OpCode::CREATE, create("/used/child", NodeKind::Persistent, 1));
    run(&mut tree, 5, OpCode::CREATE, create("/ttl/child", NodeKind::Persistent, 1));
    let expired = |tree: &Tree, now, never: Option<u64>, limit| -> Vec<String> {
        let found = tree.expired(WallTime(now), never.map(Duration::from_millis), limit);
        found.into_iter().map(String::from).collect()
    };
    assert_eq!(expired(&tree, i64::MAX, never, 9), [""; 0]);
    run(&mut tree, 6, OpCode::DELETE, delete("/used/child"));
    run(&mut tree, 7, OpCode::DELETE, delete("/ttl/child"));
    // Znodes of transaction n were set at 1000 + n; an age has to be exceeded.
    assert_eq!(expired(&tree, 1053, never, 9), ["/used"]);
    assert_eq!(expired(&tree, 1054, never, 9), ["/used", "/ttl"]);
    assert_eq!(expired(&tree, 1054, Some(0), 9), ["/used", "/ttl"]);
    assert_eq!(expired(&tree, 1054, Some(51), 9), ["/used", "/new", "/ttl"]);
    assert_eq!(expired(&tree, 1054, Some(52), 9), ["/used", "/ttl"]);
    assert_eq!(expired(&tree, 1054, Some(51), 2), ["/used", "/new"]);
    // Setting the data makes it young again; a clock that went back makes nothing old.
    run(&mut tree, 60, OpCode::SET_DATA, set_data("/ttl", "x"));
    assert_eq!(expired(&tree, 1054, never, 9), ["/used"]);
    assert_eq!(expired(&tree, 0, never, 9), ["/used"]);
}

fn data(tree: &Tree, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(tree.node(path)?.data()?).into_owned())
}

const HARD: Option<bool> = Some(true);
const SOFT: Option<bool> = Some(false);

/// Whether a hard limit is exceeded, or only a soft one.
fn exceeded(tree: &Tree, path: &str, old: Option<usize>, new: usize) -> Option<bool> {
    tree.quota_check(path, old, new).last().map(|exceeded| exceeded.hard)
}

/// PARITY `quota.layout`, `quota.count`, `quota.stats`, `quota.hard`: a quota from its making to its end.
#[test]
fn quota_life() {
    const LIMITS: &str = "/zookeeper/quota/a/zookeeper_limits";
    const STATS: &str = "/zookeeper/quota/a/zookeeper_stats";
    let mut tree = tree();
    run(&mut tree, 1, OpCode::CREATE, create("/a", NodeKind::Persistent, 1));
    run(&mut tree, 2, OpCode::CREATE, create("/a/b", NodeKind::Persistent, 1));
    run(&mut tree, 3, OpCode::CREATE, create("/zookeeper/quota/a", NodeKind::Persistent, 1));
    run(&mut tree, 4, OpCode::CREATE, create(LIMITS, NodeKind::Persistent, 1));
    let limits = "count=-1,bytes=10=;byteHardLimit=20;countHardLimit=4";
    run(&mut tree, 5, OpCode::SET_DATA, set_data(LIMITS, limits));
    // Without a usage node nothing is checked and nothing counted.
    assert_eq!(exceeded(&tree, "/a/x", None, 99), None);
    run(&mut tree, 6, OpCode::CREATE, create(STATS, NodeKind::Persistent, 2));
    assert_eq!(data(&tree, STATS).as_deref(), Some("count=2,bytes=8"));
    let stat = tree.node(STATS).expect("created").persisted();

    run(&mut tree, 7, OpCode::SET_DATA, set_data("/a/b", "123456"));
    run(&mut tree, 8, OpCode::CREATE, create("/a/c", NodeKind::Persistent, 2));
    run(&mut tree, 9, OpCode::CREATE, create("/ab", NodeKind::Persistent, 2));
    assert_eq!(data(&tree, STATS).as_deref(), Some("count=3,bytes=14"));
    assert_eq!(tree.node(STATS).expect("created").persisted(), stat, "usage changes nothing else");

    assert_eq!(exceeded(&tree, "/a/d", None, 6), None);
    assert_eq!(exceeded(&tree, "/a/d", None, 7), HARD);
    assert_eq!(exceeded(&tree, "/a/b", Some(6), 12), None);
    assert_eq!(exceeded(&tree, "/a/b", Some(6), 13), HARD);
    assert_eq!(exceeded(&tree, "/ab", Some(6), 1000), None);
    run(&mut tree, 10, OpCode::CREATE, create("/a/d", NodeKind::Persistent, 3));
    assert_eq!(exceeded(&tree, "/a/e", None, 0), HARD, "one znode too many");
    run(&mut tree, 11, OpCode::DELETE, delete("/a/d"));
    run(&mut tree, 12, OpCode::SET_DATA, set_data(LIMITS, "count=3,bytes=-1"));
    assert_eq!(exceeded(&tree, "/a/e", None, 0), SOFT);
    // Of several limits all are named, up to one that refuses.
    let told = |tree: &Tree| {
        let exceeded = tree.quota_check("/a/e", None, 90);
        exceeded.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let count = "Quota exceeded: /a [current count=4, softCountLimit=3]";
    run(&mut tree, 12, OpCode::SET_DATA, set_data(LIMITS, "count=3,bytes=99=;byteHardLimit=50"));
    assert_eq!(told(&tree), [count, "Quota exceeded: /a [current bytes=104, hardByteLimit=50]"]);
    run(&mut tree, 12, OpCode::SET_DATA, set_data(LIMITS, "count=3,bytes=50=;countHardLimit=2"));
    assert_eq!(told(&tree), ["Quota exceeded: /a [current count=4, hardCountLimit=2]"]);
    run(&mut tree, 12, OpCode::SET_DATA, set_data(LIMITS, "count=3,bytes=-1"));

    // Loading counts afresh, whatever the snapshot says.
    run(&mut tree, 13, OpCode::SET_DATA, set_data(STATS, "count=77,bytes=77"));
    let loaded = model::reload(&mut tree);
    assert_eq!(data(&loaded, STATS).as_deref(), Some("count=3,bytes=14"));
    assert_eq!(exceeded(&loaded, "/a/e", None, 0), SOFT);

    run(&mut tree, 14, OpCode::DELETE, delete(LIMITS));
    run(&mut tree, 15, OpCode::DELETE, delete("/a/c"));
    assert_eq!(data(&tree, STATS).as_deref(), Some("count=77,bytes=77"));
    assert_eq!(exceeded(&tree, "/a/e", None, 1 << 20), None);
    tree.check_invariants();
}

/// PARITY `quota.trie`: limits on the root are allowed and have no effect.
#[test]
fn quota_of_the_root() {
    let mut tree = tree();
    let limits = "/zookeeper/quota/zookeeper_limits";
    run(&mut tree, 1, OpCode::CREATE, create(limits, NodeKind::Persistent, 1));
    run(&mut tree, 2, OpCode::CREATE, create("/zookeeper/quota/zookeeper_stats", NodeKind::Persistent, 2));
    run(&mut tree, 3, OpCode::SET_DATA, set_data(limits, "count=-1,bytes=-1=;countHardLimit=1"));
    assert_eq!(exceeded(&tree, "/a", None, 5), None);
    // Six znodes and "data" twice, counted when the usage node was created, and not again.
    run(&mut tree, 4, OpCode::CREATE, create("/a", NodeKind::Persistent, 1));
    assert_eq!(data(&tree, "/zookeeper/quota/zookeeper_stats").as_deref(), Some("count=6,bytes=8"));
}
