//! Watches against the naive model, and the rules that PARITY names.

use super::*;
use crate::testing::naive_watches::{NaiveMode, NaiveNotice, NaiveWatches};
use crate::types::{ConnId, EventType, WatcherType};

const KINDS: [WatcherType; 5] = [
    WatcherType::Children,
    WatcherType::Data,
    WatcherType::Any,
    WatcherType::Persistent,
    WatcherType::PersistentRecursive,
];

fn fire(table: &mut WatchTable, change: Change<'_>) -> Vec<NaiveNotice> {
    let mut notices = Vec::new();
    table.fire(&change, &mut |notice| {
        assert_eq!(notice.zxid, Zxid(5));
        notices.push((notice.conn, notice.event as i32, notice.path.to_string()));
    });
    notices
}

fn created(table: &mut WatchTable, path: &str) -> Vec<NaiveNotice> {
    let (acl, parent_acl) = (&AclList::OpenUnsafe, &AclList::OpenUnsafe);
    fire(table, Change::Created { path, zxid: Zxid(5), acl, parent_acl })
}

fn deleted(table: &mut WatchTable, path: &str) -> Vec<NaiveNotice> {
    let (acl, parent_acl) = (&AclList::OpenUnsafe, &AclList::OpenUnsafe);
    fire(table, Change::Deleted { path, zxid: Zxid(5), acl, parent_acl })
}

fn changed(table: &mut WatchTable, path: &str) -> Vec<NaiveNotice> {
    fire(table, Change::DataChanged { path, zxid: Zxid(5), acl: &AclList::OpenUnsafe })
}

fn notices(expected: &[(u64, i32, &str)]) -> Vec<NaiveNotice> {
    expected.iter().map(|&(conn, event, path)| (ConnId(conn), event, path.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// PARITY `watch.*`: whatever is added, removed and fired, table and model tell the same connections.
    #[test]
    fn watches_equal_model(steps in proptest::collection::vec((0..12_usize, any_watched(), 1..5_u64, 0..5_usize), 1..80)) {
        let mut table = WatchTable::new(SEED);
        let mut naive = NaiveWatches::default();
        for (what, path, conn, kind) in steps {
            let conn = ConnId(conn);
            match what {
                0 | 1 => {
                    table.add_data(&path, conn);
                    naive.add(&path, conn, NaiveMode::Standard, true, false);
                }
                2 | 3 => {
                    table.add_child(&path, conn);
                    naive.add(&path, conn, NaiveMode::Standard, false, true);
                }
                4 => {
                    table.add_persistent(&path, conn);
                    naive.add(&path, conn, NaiveMode::Persistent, true, true);
                }
                5 => {
                    table.add_recursive(&path, conn);
                    naive.add(&path, conn, NaiveMode::Recursive, true, false);
                }
                6 => {
                    let kind = KINDS[kind];
                    let removed = naive.remove(&path, kind as i32, conn);
                    prop_assert_eq!(table.contains(&path, kind, conn), removed);
                    prop_assert_eq!(table.remove(&path, kind, conn), removed);
                    prop_assert!(!table.contains(&path, kind, conn));
                }
                7 => {
                    table.remove_conn(conn);
                    naive.remove_conn(conn);
                }
                8 => prop_assert_eq!(created(&mut table, &path), naive.created(&path)),
                9 => prop_assert_eq!(deleted(&mut table, &path), naive.deleted(&path)),
                _ => prop_assert_eq!(changed(&mut table, &path), naive.data_changed(&path)),
            }
            prop_assert_eq!(table.watch_count(), naive.data.len() + naive.child.len());
            prop_assert_eq!(table.is_empty(), naive.data.is_empty() && naive.child.is_empty());
            let by_path: Vec<(String, ConnId)> = table
                .data_by_path()
                .flat_map(|(path, conns)| conns.map(|conn| (path.to_string(), conn)).collect::<Vec<_>>())
                .collect();
            let by_conn: Vec<(String, ConnId)> = table
                .data_by_conn()
                .flat_map(|(conn, paths)| paths.map(|path| (path.to_string(), conn)).collect::<Vec<_>>())
                .collect();
            for mut pairs in [by_path, by_conn] {
                pairs.sort();
                prop_assert_eq!(pairs, naive.data.keys().cloned().collect::<Vec<_>>());
            }
            prop_assert_eq!(table.summary().watches, naive.data.len());
        }
    }
}

fn any_watched() -> impl Strategy<Value = String> {
    let below = proptest::collection::vec(prop_oneof![Just("/a"), Just("/b")], 1..4);
    prop_oneof![9 => below.prop_map(|names| names.concat()), 1 => Just("/".to_string())]
}

/// PARITY `watch.oneshot`, `watch.create`, `watch.setdata`.
#[test]
fn watch_oneshot() {
    let mut table = WatchTable::new(SEED);
    table.add_data("/a", ConnId(2));
    table.add_data("/a", ConnId(1));
    table.add_child("/", ConnId(3));
    assert_eq!(created(&mut table, "/a"), notices(&[(1, 1, "/a"), (2, 1, "/a"), (3, 4, "/")]));
    assert!(table.is_empty());
    assert_eq!(changed(&mut table, "/a"), []);
    table.add_child("/a", ConnId(1));
    assert_eq!(changed(&mut table, "/a"), [], "a child watch hears nothing of data");
}

/// PARITY `watch.delete`: who watched both ways is told once.
#[test]
fn watch_delete() {
    let mut table = WatchTable::new(SEED);
    table.add_data("/a/b", ConnId(1));
    table.add_child("/a/b", ConnId(1));
    table.add_child("/a/b", ConnId(2));
    table.add_child("/a", ConnId(1));
    assert_eq!(deleted(&mut table, "/a/b"), notices(&[(1, 2, "/a/b"), (2, 2, "/a/b"), (1, 4, "/a")]));
    assert!(table.is_empty(), "what was not told twice is used up all the same");
}

/// PARITY `watch.persistent`.
#[test]
fn watch_persistent() {
    let mut table = WatchTable::new(SEED);
    table.add_persistent("/a", ConnId(1));
    for _ in 0..2 {
        assert_eq!(created(&mut table, "/a"), notices(&[(1, 1, "/a")]));
        assert_eq!(created(&mut table, "/a/b"), notices(&[(1, 4, "/a")]));
        assert_eq!(changed(&mut table, "/a"), notices(&[(1, 3, "/a")]));
        assert_eq!(deleted(&mut table, "/a"), notices(&[(1, 2, "/a")]));
    }
}

/// PARITY `watch.recursive`: everything below, nothing of children.
#[test]
fn watch_recursive() {
    let mut table = WatchTable::new(SEED);
    table.add_recursive("/a", ConnId(1));
    table.add_recursive("/", ConnId(2));
    assert_eq!(created(&mut table, "/a/b/c"), notices(&[(1, 1, "/a/b/c"), (2, 1, "/a/b/c")]));
    assert_eq!(deleted(&mut table, "/a"), notices(&[(1, 2, "/a"), (2, 2, "/a")]));
    assert_eq!(changed(&mut table, "/ab"), notices(&[(2, 3, "/ab")]));
    assert!(table.remove("/", WatcherType::PersistentRecursive, ConnId(2)));
    assert_eq!(changed(&mut table, "/ab"), []);
}

/// PARITY `watch.mode-union`: several registrations, one report; the one-shot one alone is used up.
#[test]
fn watch_mode_union() {
    let mut table = WatchTable::new(SEED);
    table.add_data("/a", ConnId(1));
    table.add_persistent("/a", ConnId(1));
    table.add_recursive("/a", ConnId(1));
    table.add_recursive("/", ConnId(1));
    assert_eq!(changed(&mut table, "/a"), notices(&[(1, 3, "/a")]));
    assert!(!table.contains("/a", WatcherType::Data, ConnId(1)));
    assert!(table.contains("/a", WatcherType::Persistent, ConnId(1)));
    assert!(table.contains("/a", WatcherType::PersistentRecursive, ConnId(1)));
    assert!(table.contains("/a", WatcherType::Any, ConnId(1)));
    assert!(table.remove("/a", WatcherType::Any, ConnId(1)));
    assert!(!table.remove("/a", WatcherType::Any, ConnId(1)));
}

/// PARITY `watch.acl`: a deletion goes by the deleted znode's list, the news of children by the parent's.
#[test]
fn watch_acl() {
    let mut table = WatchTable::new(SEED);
    table.add_data("/a/b", ConnId(1));
    table.add_child("/a", ConnId(1));
    let own = AclList::from(vec![Acl { perms: Perms::WRITE, id: Id::ANYONE }]);
    let parents = AclList::from(vec![Acl { perms: Perms::READ, id: Id::ANYONE }]);
    let mut lists = Vec::new();
    let change = Change::Deleted { path: "/a/b", zxid: Zxid(1), acl: &own, parent_acl: &parents };
    table.fire(&change, &mut |notice| lists.push((notice.event, notice.acl.clone())));
    assert_eq!(lists, [(EventType::NodeDeleted, own), (EventType::NodeChildrenChanged, parents)]);
}

/// PARITY `4lw.wchs`: data watches alone; a connection is forgotten when its last watch is removed, not when it
/// is used up.
#[test]
fn wchs_counts() {
    let mut table = WatchTable::new(SEED);
    table.add_child("/a", ConnId(1));
    assert_eq!(table.summary(), WatchSummary::default());
    table.add_data("/a", ConnId(1));
    table.add_data("/b", ConnId(1));
    table.add_data("/b", ConnId(2));
    assert_eq!(table.summary(), WatchSummary { connections: 2, paths: 2, watches: 3 });
    assert_eq!(table.watch_count(), 4);
    changed(&mut table, "/a");
    changed(&mut table, "/b");
    assert_eq!(table.summary(), WatchSummary { connections: 2, paths: 0, watches: 0 });
    table.add_data("/b", ConnId(2));
    table.remove("/b", WatcherType::Data, ConnId(2));
    assert_eq!(table.summary().connections, 1);
    table.remove_conn(ConnId(1));
    assert_eq!(table.summary().connections, 0);
    assert!(table.is_empty());
}
