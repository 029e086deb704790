//! Snapshots while transactions go on, and replay over the fuzzy ones of Java servers.

use super::*;

type Shown = (Box<str>, Option<Box<[u8]>>, i64, StatPersisted);

fn owned(node: SnapshotNode<'_>) -> Shown {
    (node.path.into(), node.data.map(Box::from), node.acl_id, node.stat)
}

fn take_all(tree: &mut Tree) -> Vec<Shown> {
    let mut shown = Vec::new();
    tree.begin_snapshot();
    while tree.snapshot_chunk(1, &mut |node| shown.push(owned(node))) {}
    tree.end_snapshot();
    shown
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A snapshot that is taken bit by bit between transactions shows the tree as it was when it began, and so
    /// does the ACL map, whenever it is asked for.
    #[test]
    fn snapshot_shows_the_beginning(
        before in proptest::collection::vec((any_headers(), any_txn()), 1..50),
        during in proptest::collection::vec((any_headers(), any_txn(), 0..300_usize), 1..50),
    ) {
        let mut tree = tree();
        let begun = before.len();
        for (n, (at, (op, txn))) in before.into_iter().enumerate() {
            apply(&mut tree, &nth_header(n, at, op), txn);
        }
        let expected = take_all(&mut tree);
        let acls: Vec<(i64, AclList)> = tree.acl_entries().map(|(id, acl)| (id, acl.clone())).collect();

        let mut shown = Vec::new();
        let mark = tree.begin_snapshot();
        prop_assert_eq!((mark.zxid, mark.digest, mark.nodes), (tree.last_zxid(), tree.digest(), expected.len()));
        let mut more = true;
        for (n, (at, (op, txn), bytes)) in during.into_iter().enumerate() {
            apply(&mut tree, &nth_header(begun + n, at, op), txn);
            tree.check_invariants();
            if bytes > 0 && more {
                more = tree.snapshot_chunk(bytes, &mut |node| shown.push(owned(node)));
            }
            let now: Vec<(i64, AclList)> = tree.acl_entries().map(|(id, acl)| (id, acl.clone())).collect();
            prop_assert_eq!(&now, &acls);
        }
        while more {
            more = tree.snapshot_chunk(1, &mut |node| shown.push(owned(node)));
        }
        tree.end_snapshot();
        tree.check_invariants();
        prop_assert_eq!(&shown, &expected);

        // Loading finds every parent before its children.
        let mut loader = TreeLoader::new(options(), SEED);
        for (id, acl) in acls {
            loader.load_acl(id, acl);
        }
        for (path, data, acl_id, stat) in shown {
            loader.load_node(path, data, acl_id, stat).expect("parents come first");
        }
        let loaded = loader.finish_load(mark.zxid).expect("there is a root");
        loaded.check_invariants();
        prop_assert_eq!(loaded.digest(), mark.digest);
    }

    /// PARITY `disk.snap.fuzzy`: a snapshot written znode by znode while transactions go on, as Java does, and the
    /// transactions since it began, replayed, make the tree that applied them once. Closing a session names its
    /// znodes here, as it does unless an administrator says otherwise.
    #[test]
    fn fuzzy_replay_converges(
        wishes in proptest::collection::vec(any_wish(), 10..80),
        start in 0..10_usize,
        pace in proptest::collection::vec(0..3_usize, 200),
    ) {
        let history = valid_history(&wishes);
        let mut tree = tree();
        let start = start.min(history.len());
        for (header, txn) in &history[..start] {
            apply(&mut tree, header, txn.clone());
        }
        let mut loader = TreeLoader::new(options(), [5; 4]);
        let acls: Vec<(i64, AclList)> = tree.acl_entries().map(|(id, acl)| (id, acl.clone())).collect();
        for (id, acl) in acls {
            loader.load_acl(id, acl);
        }
        let mut at = start;
        let mut pace = pace.into_iter();
        let mut pending = vec![String::from("/")];
        while let Some(path) = pending.pop() {
            for _ in 0..pace.next().unwrap_or(0) {
                if let Some((header, txn)) = history.get(at) {
                    apply(&mut tree, header, txn.clone());
                    at += 1;
                }
            }
            let Some(node) = tree.node(&path) else { continue };
            let prefix = if path == "/" { "" } else { &*path };
            pending.extend(node.children().map(|name| [prefix, "/", name].concat()));
            let acl_id = tree.acls.id(node.node.acl);
            loader.load_node(prefix, node.data().map(Box::from), acl_id, node.persisted()).expect("in order");
        }
        for (header, txn) in &history[at..] {
            apply(&mut tree, header, txn.clone());
        }

        let mut replayed = loader.finish_load(Zxid(start as i64)).expect("there is a root");
        for (header, txn) in &history[start..] {
            apply(&mut replayed, header, txn.clone());
            replayed.check_invariants();
        }
        prop_assert_eq!(dump(&replayed), dump(&tree));
        prop_assert_eq!(replayed.digest(), tree.digest());
        prop_assert_eq!(replayed.last_zxid(), tree.last_zxid());
    }
}

/// What a client might ask for: path, what to do, session, ACL.
fn any_wish() -> impl Strategy<Value = (Box<str>, usize, i64, AclList)> {
    let path = proptest::collection::vec(prop_oneof![Just("/a"), Just("/b"), Just("/c")], 1..4)
        .prop_map(|names| Box::from(names.concat()));
    (path, 0..9_usize, 1..4_i64, any_acl())
}

/// The transactions that a server would make of the wishes: those that are possible when their turn comes.
fn valid_history(wishes: &[(Box<str>, usize, i64, AclList)]) -> Vec<(TxnHeader, Txn)> {
    let mut naive = NaiveTree::new(true);
    let mut history = Vec::new();
    for (path, what, session, acl) in wishes {
        let parent = path::parent(path).expect("no wish is about the root");
        let exists = naive.nodes.contains_key(&**path);
        let may_create =
            !exists && naive.stat(parent).is_some_and(|stat| stat.ephemeral_owner == SessionId::NONE);
        let (op, txn) = match what {
            0..=3 if may_create => {
                let kind = if *what == 0 { NodeKind::Ephemeral } else { NodeKind::Persistent };
                let parent_cversion = naive.nodes[parent].stat.cversion + 1;
                let (path, acl, data) = (path.clone(), acl.clone(), Some(Box::from([*what as u8])));
                (OpCode::CREATE, Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion }))
            }
            4 | 5 if exists && naive.children(path).is_empty() => {
                (OpCode::DELETE, Txn::Delete { path: path.clone() })
            }
            6 if exists => {
                let version = naive.nodes[&**path].stat.version + 1;
                let data = Some(Box::from([history.len() as u8]));
                (OpCode::SET_DATA, Txn::SetData { path: path.clone(), data, version })
            }
            7 if exists => {
                let version = naive.nodes[&**path].stat.aversion + 1;
                (OpCode::SET_ACL, Txn::SetAcl { path: path.clone(), acl: acl.clone(), version })
            }
            8 => {
                let paths = naive.ephemerals(SessionId(*session)).into_iter().map(Box::from).collect();
                (OpCode::CLOSE_SESSION, Txn::CloseSession { paths: Some(paths) })
            }
            _ => continue,
        };
        let mut header = header(history.len() as i64 + 1, op);
        header.session = SessionId(*session);
        naive.apply(&header, &txn);
        history.push((header, txn));
    }
    history
}

/// A znode deleted before the walk reaches it, its slot taken by another: the snapshot shows the first.
#[test]
fn a_reused_slot_shows_what_it_held() {
    let mut tree = tree();
    apply(&mut tree, &header(1, OpCode::CREATE), create("/a", NodeKind::Persistent, 1));
    let expected = take_all(&mut tree);
    tree.begin_snapshot();
    apply(&mut tree, &header(2, OpCode::DELETE), delete("/a"));
    apply(&mut tree, &header(3, OpCode::CREATE), create("/b", NodeKind::Persistent, 2));
    apply(&mut tree, &header(4, OpCode::SET_DATA), set_data("/b", "later"));
    let mut shown = Vec::new();
    while tree.snapshot_chunk(1, &mut |node| shown.push(owned(node))) {}
    assert_eq!(shown, expected);
    tree.end_snapshot();
    assert!(!tree.is_snapshot_active());
    assert_eq!(take_all(&mut tree).last().map(|node| &*node.0), Some("/b"));
}

#[test]
fn load_errors() {
    let stat = StatPersisted::default();
    let load = |paths: &[&str]| {
        let mut loader = TreeLoader::new(options(), SEED);
        paths.iter().try_for_each(|&path| loader.load_node(path, None, -1, stat))?;
        loader.finish_load(Zxid(5)).map(|tree| tree.node_count())
    };
    assert_eq!(load(&["", "/a", "/a/b"]), Ok(4));
    assert_eq!(load(&[]), Err(LoadError::NoRoot));
    assert_eq!(load(&["/a"]), Err(LoadError::NoRoot));
    assert_eq!(load(&["", ""]), Err(LoadError::Duplicate));
    assert_eq!(load(&["", "/a", "/a"]), Err(LoadError::Duplicate));
    assert_eq!(load(&["", "/a/b"]), Err(LoadError::UnknownParent));
    assert_eq!(load(&["", "a"]), Err(LoadError::UnknownParent));
    assert_eq!(load(&["", "/"]), Err(LoadError::UnknownParent));
}
