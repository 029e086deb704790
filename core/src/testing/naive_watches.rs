//! Watches as two plain tables, written from `WatchManager` and sharing no code with [`crate::tree`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::types::ConnId;

/// How a connection watches a path in one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NaiveMode {
    /// Until the next event.
    Standard,
    /// Until it is removed.
    Persistent,
    /// Until it is removed, and for the whole subtree.
    Recursive,
}

type Table = BTreeMap<(String, ConnId), BTreeSet<NaiveMode>>;

/// The model of the watches of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NaiveWatches {
    /// Data watches.
    pub data: Table,
    /// Child watches.
    pub child: Table,
}

/// Who is told of which event (1 created, 2 deleted, 3 data, 4 children) on which path.
pub type NaiveNotice = (ConnId, i32, String);

impl NaiveWatches {
    /// Adds a watch to the data table, the child table, or both.
    pub fn add(&mut self, path: &str, conn: ConnId, mode: NaiveMode, data: bool, child: bool) {
        for (table, wanted) in [(&mut self.data, data), (&mut self.child, child)] {
            if wanted {
                table.entry((path.to_string(), conn)).or_default().insert(mode);
            }
        }
    }

    /// Removes watches by `Watcher.WatcherType` number and says whether there were any.
    pub fn remove(&mut self, path: &str, kind: i32, conn: ConnId) -> bool {
        use NaiveMode::{Persistent, Recursive, Standard};
        let (data, child): (&[NaiveMode], &[NaiveMode]) = match kind {
            1 => (&[], &[Standard]),
            2 => (&[Standard], &[]),
            4 => (&[Persistent], &[Persistent]),
            5 => (&[Recursive], &[]),
            _ => (&[Standard, Persistent, Recursive], &[Standard, Persistent, Recursive]),
        };
        let key = (path.to_string(), conn);
        let mut removed = false;
        for (table, modes) in [(&mut self.data, data), (&mut self.child, child)] {
            if let Some(held) = table.get_mut(&key) {
                for mode in modes {
                    removed |= held.remove(mode);
                }
                if held.is_empty() {
                    table.remove(&key);
                }
            }
        }
        removed
    }

    /// Removes every watch of a connection.
    pub fn remove_conn(&mut self, conn: ConnId) {
        self.data.retain(|(_, other), _| *other != conn);
        self.child.retain(|(_, other), _| *other != conn);
    }

    /// Who is told when `path` is created.
    pub fn created(&mut self, path: &str) -> Vec<NaiveNotice> {
        let mut notices = tell(&trigger(&mut self.data, path), 1, path);
        notices.extend(tell(&trigger(&mut self.child, parent(path)), 4, parent(path)));
        notices
    }

    /// Who is told when the data of `path` is set.
    pub fn data_changed(&mut self, path: &str) -> Vec<NaiveNotice> {
        tell(&trigger(&mut self.data, path), 3, path)
    }

    /// Who is told when `path` is deleted.
    pub fn deleted(&mut self, path: &str) -> Vec<NaiveNotice> {
        let by_data = trigger(&mut self.data, path);
        let mut by_child = trigger(&mut self.child, path);
        by_child.retain(|conn| !by_data.contains(conn));
        let mut notices = tell(&by_data, 2, path);
        notices.extend(tell(&by_child, 2, path));
        notices.extend(tell(&trigger(&mut self.child, parent(path)), 4, parent(path)));
        notices
    }
}

fn trigger(table: &mut Table, path: &str) -> BTreeSet<ConnId> {
    let mut told = BTreeSet::new();
    for ((watched, conn), modes) in table.iter_mut() {
        let is_below =
            watched == "/" || path.strip_prefix(&**watched).is_some_and(|rest| rest.starts_with('/'));
        if watched == path {
            told.insert(*conn);
            modes.remove(&NaiveMode::Standard);
        } else if is_below && modes.contains(&NaiveMode::Recursive) {
            told.insert(*conn);
        }
    }
    table.retain(|_, modes| !modes.is_empty());
    told
}

fn tell(conns: &BTreeSet<ConnId>, event: i32, path: &str) -> Vec<NaiveNotice> {
    conns.iter().map(|&conn| (conn, event, path.to_string())).collect()
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
