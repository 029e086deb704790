//! The tree against its naive twin, with a snapshot taken in between.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{Source, script};
use crate::testing::naive_tree::{NaiveChange, NaiveNode, NaiveTree};
use crate::tree::{Applied, Change, SnapshotMark, Tree, TreeLoader, TreeOptions};
use crate::types::{AclList, SessionId, StatPersisted, Txn, TxnHeader, path};

/// Applies transactions to both, and begins, continues and ends snapshots as the bytes have it.
///
/// # Panics
/// If results, changes, znodes or digests differ, an invariant does not hold, or a snapshot shows anything but the
/// tree as it was when it began.
pub fn tree(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let options = TreeOptions { extended_types: source.flag(), digest_enabled: true };
    let mut tree = Tree::new(options, [1, 2, 3, 4]);
    let mut naive = NaiveTree::new(options.extended_types);
    let mut snapshot: Option<Snapshot> = None;
    while !source.is_empty() {
        match source.below(16) {
            0 if snapshot.is_none() => snapshot = Some(Snapshot::begin(&mut tree, &naive)),
            0..=2 => {
                if let Some(mut shown) = snapshot.take() {
                    let more = shown.advance(&mut tree, usize::from(source.byte()));
                    if more {
                        snapshot = Some(shown);
                    } else {
                        tree.end_snapshot();
                        shown.check(options);
                    }
                }
            }
            3 if source.rarely(4) => {
                tree.end_snapshot();
                snapshot = None;
            }
            _ => {
                let (op, txn) = script::txn(&mut source);
                let header = script::header(&mut source, naive.last_zxid, op);
                let expected = naive.apply(&header, &txn);
                assert_eq!(apply(&mut tree, &header, txn), expected);
                compare(&tree, &naive);
            }
        }
    }
}

fn apply(tree: &mut Tree, header: &TxnHeader, txn: Txn) -> (Applied, Vec<NaiveChange>) {
    let mut changes = Vec::new();
    let applied = tree.apply(header, txn, &mut |change| {
        changes.push(match change {
            Change::Created { path, acl, parent_acl, .. } => {
                NaiveChange::Created(path.to_string(), acl.clone(), parent_acl.clone())
            }
            Change::DataChanged { path, acl, .. } => NaiveChange::DataChanged(path.to_string(), acl.clone()),
            Change::Deleted { path, acl, parent_acl, .. } => {
                NaiveChange::Deleted(path.to_string(), acl.clone(), parent_acl.clone())
            }
        });
    });
    (applied, changes)
}

fn compare(tree: &Tree, naive: &NaiveTree) {
    tree.check_invariants();
    assert_eq!(nodes_of(tree), naive.nodes);
    assert_eq!((tree.last_zxid(), tree.digest()), (naive.last_zxid, naive.digest()));
    for path in naive.nodes.keys() {
        assert_eq!(tree.node(path).map(|node| node.stat()), naive.stat(path), "{path}");
        assert_eq!(tree.descendant_count(path), Some(naive.descendants(path).len()), "{path}");
    }
    for session in (0..4).map(SessionId) {
        let mut paths: Vec<&str> = tree.ephemerals(session).collect();
        paths.sort_unstable();
        assert_eq!(paths, naive.ephemerals(session));
    }
}

/// Every znode, in the model's words.
fn nodes_of(tree: &Tree) -> BTreeMap<String, NaiveNode> {
    let mut nodes = BTreeMap::new();
    let mut pending = vec![path::ROOT.to_string()];
    while let Some(path) = pending.pop() {
        let node = tree.node(&path).expect("it is listed as a child");
        let prefix = if path == path::ROOT { "" } else { &path };
        pending.extend(node.children().map(|name| [prefix, "/", name].concat()));
        let data = node.data().map(Vec::from);
        nodes.insert(path, NaiveNode { data, acl: node.acl().clone(), stat: node.persisted() });
    }
    nodes
}

/// Path, data, ACL and stat of a znode in a snapshot.
type Shown = (Box<str>, Option<Box<[u8]>>, i64, StatPersisted);

/// A snapshot under way, and what it is to show.
struct Snapshot {
    mark: SnapshotMark,
    expected: NaiveTree,
    acls: Vec<(i64, AclList)>,
    shown: Vec<Shown>,
}

impl Snapshot {
    fn begin(tree: &mut Tree, naive: &NaiveTree) -> Self {
        let mark = tree.begin_snapshot();
        let acls = tree.acl_entries().map(|(id, acl)| (id, acl.clone())).collect();
        Self { mark, expected: naive.clone(), acls, shown: Vec::new() }
    }

    fn advance(&mut self, tree: &mut Tree, max_bytes: usize) -> bool {
        assert!(
            tree.acl_entries().eq(self.acls.iter().map(|(id, acl)| (*id, acl))),
            "ACLs while it is taken"
        );
        tree.snapshot_chunk(max_bytes, &mut |node| {
            self.shown.push((node.path.into(), node.data.map(Box::from), node.acl_id, node.stat));
        })
    }

    /// What was shown, loaded, is the tree of the beginning, with its quotas counted anew.
    fn check(mut self, options: TreeOptions) {
        assert_eq!((self.mark.zxid, self.mark.digest), (self.expected.last_zxid, self.expected.digest()));
        assert_eq!(self.shown.len(), self.mark.nodes);
        let mut loader = TreeLoader::new(options, [5; 4]);
        for (id, acl) in self.acls {
            loader.load_acl(id, acl);
        }
        for (path, data, acl, stat) in self.shown {
            loader.load_node(path, data, acl, stat).expect("parents come first");
        }
        let loaded = loader.finish_load(self.mark.zxid).expect("there is a root");
        self.expected.reload_quotas();
        compare(&loaded, &self.expected);
    }
}
