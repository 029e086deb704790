//! Random transactions, valid or not, against the naive model.

use super::*;

fn assert_equal(tree: &Tree, naive: &NaiveTree) {
    tree.check_invariants();
    assert_eq!(dump(tree), naive.nodes);
    assert_eq!(tree.last_zxid(), naive.last_zxid);
    assert_eq!(tree.digest(), naive.digest());
    assert_eq!(tree.node_count(), naive.nodes.len() + 1);
    for (path, node) in &naive.nodes {
        let real = tree.node(path).expect("the dumps are equal");
        assert_eq!(Some(real.stat()), naive.stat(path), "{path}");
        assert_eq!(real.digest(), crate::testing::naive_tree::digest(path, node));
        assert_eq!(real.child_count(), naive.children(path).len());
        assert_eq!(tree.descendant_count(path), Some(naive.descendants(path).len()), "{path}");
    }
    let mut count = 0;
    for session in tree.ephemeral_sessions() {
        let mut paths: Vec<String> = tree.ephemerals(session).map(String::from).collect();
        paths.sort();
        assert_eq!(paths, naive.ephemerals(session));
        count += paths.len();
    }
    assert_eq!(count, tree.ephemeral_count());
    for session in 1..4 {
        let expected = naive.ephemerals(SessionId(session)).len();
        assert_eq!(tree.ephemerals(SessionId(session)).count(), expected);
    }
}

/// A tree loaded from what a snapshot of `tree` would hold.
pub(super) fn reload(tree: &mut Tree) -> Tree {
    let mut loader = TreeLoader::new(tree.options(), [9, 8, 7, 6]);
    let mark = tree.begin_snapshot();
    for (id, acl) in tree.acl_entries() {
        loader.load_acl(id, acl.clone());
    }
    let mut take = |node: SnapshotNode<'_>| {
        loader.load_node(node.path, node.data.map(Box::from), node.acl_id, node.stat).expect("in order");
    };
    while tree.snapshot_chunk(100, &mut take) {}
    tree.end_snapshot();
    loader.finish_load(mark.zxid).expect("the root was there")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// PARITY `stat.*`, `digest.*`, `node.*`, `multi.fail`, `quota.stats`, `disk.snap.fuzzy`: whatever is applied,
    /// in whatever order, tree and model agree on results, changes, znodes and digest; and so does a tree that
    /// was loaded from a snapshot.
    #[test]
    fn tree_equals_model(txns in proptest::collection::vec((any_headers(), any_txn()), 1..60)) {
        let mut tree = tree();
        let mut naive = NaiveTree::new(true);
        for (n, (at, (op, txn))) in txns.into_iter().enumerate() {
            let header = nth_header(n, at, op);
            let expected = naive.apply(&header, &txn);
            let got = apply(&mut tree, &header, txn);
            prop_assert_eq!(got, expected);
            assert_equal(&tree, &naive);
        }
        let loaded = reload(&mut tree);
        naive.reload_quotas();
        assert_equal(&loaded, &naive);
        prop_assert_eq!(loaded.digest(), tree.digest());
    }
}
