//! What is removed from a disk as old is not needed any more (D8): of every snapshot that stays, the transactions behind it
//! stay, too. Otherwise it would be of no use, and the next start would have nothing to begin with if it is the last one that
//! can be read. And three whole snapshots stay, so that there is another where one cannot be read.
//!
//! A snapshot that cannot be finished has its disk to blame.

use std::collections::BTreeSet;

use zabra_core::store::{Dir, FileName};
use zabra_core::types::Zxid;

use super::{Check, Checker, Facts, Violation};
use crate::disk::{Content, Disk};
use crate::ending::Excuse;
use crate::history::{Observed, Record, StillNeeded};
use crate::places::NodeId;
use crate::txnlog::{is_whole, numbered, records};

/// So many snapshots stay, if there are as many (`autopurge.snapRetainCount`, and never fewer).
const SNAPSHOTS_KEPT: usize = 3;

/// Who removes old files leaves enough snapshots. Where a log gives way to a leader's snapshot, all others may go.
///
/// # Errors
/// If that is not so.
pub fn leaves_enough(node: NodeId, disk: &Disk, removed: &[FileName]) -> Result<(), Violation> {
    let number = |file: &FileName| numbered(file, Dir::Snapshot, "snapshot.");
    let snapshots = disk.files().filter(|&(file, bytes)| number(file).is_some() && is_whole(bytes));
    let (left, gone): (Vec<_>, Vec<_>) =
        snapshots.map(|(file, _)| file).partition(|file| !removed.contains(file));
    let Some(oldest) = left.iter().map(|file| number(file)).min() else { return Ok(()) };
    // What is younger than one that stays goes with the end of a log.
    match gone.iter().find(|file| number(file) < oldest) {
        Some(file) if left.len() < SNAPSHOTS_KEPT => {
            let (name, left) = (&file.name, left.len());
            let words = format!("{node} removes {name}, which leaves {left} whole snapshots");
            Err(Violation::new(Checker::Storage, words))
        }
        _ => Ok(()),
    }
}

/// A snapshot came to nothing.
///
/// # Errors
/// If the disk has nothing to do with it.
pub fn snapshot_failed(node: NodeId, why: &str, excuse: Option<Excuse>) -> Result<(), Violation> {
    if excuse.is_some() {
        return Ok(());
    }
    Err(Violation::new(Checker::Storage, format!("{node} has no snapshot, and nothing is wrong: {why}")))
}

/// What goes with old files although it is still needed. Young files go when a log is cut, and all when a leader's snapshot
/// takes their place; then other rules hold.
pub fn still_needed(disk: &Disk, removed: &[FileName]) -> Option<StillNeeded> {
    let log_of = |file: &FileName| numbered(file, Dir::Log, "log.");
    let logs: Vec<(&FileName, &Content)> = disk.files().filter(|(file, _)| log_of(file).is_some()).collect();
    let going: BTreeSet<&FileName> = removed.iter().collect();
    let stays = |file: &FileName| !going.contains(file);
    let last = logs.iter().filter(|(file, _)| stays(file)).filter_map(|(file, _)| log_of(file)).max()?;
    if removed.iter().filter_map(log_of).all(|log| log > last) {
        return None;
    }
    let snapshots: Vec<Zxid> = disk
        .files()
        .filter(|(file, _)| stays(file))
        .filter_map(|(file, _)| numbered(file, Dir::Snapshot, "snapshot."))
        .collect();
    // The logs are read once: there may be many snapshots. Those that go come first, for most often nothing of them is behind
    // any snapshot, and the others, which are many more, need not be read.
    let oldest = snapshots.iter().min()?;
    let (kept, gone): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(file, _)| stays(file));
    let mut logged: Vec<(Zxid, bool)> = Vec::new();
    let mut read = |logs: Vec<(_, &Content)>, stays| {
        for (_, content) in logs {
            logged.extend(records(&content.written()).map(|record| (record.zxid, stays)));
        }
        logged.iter().any(|(zxid, _)| zxid > oldest)
    };
    if !read(gone, false) {
        return None;
    }
    read(kept, true);
    let first_behind = |snapshot: Zxid, all: bool| {
        let behind = logged.iter().filter(|&&(zxid, stays)| zxid > snapshot && (all || stays));
        behind.map(|&(zxid, _)| zxid).min()
    };
    let needed = |snapshot| {
        let first = first_behind(snapshot, true);
        first.filter(|_| first != first_behind(snapshot, false)).map(|first| StillNeeded { snapshot, first })
    };
    snapshots.into_iter().find_map(needed)
}

/// See the module.
#[derive(Debug)]
pub struct Storage;

impl Check for Storage {
    #[inline(always)]
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Removed { still_needed: Some(_), .. } => {
                Err(Violation::new(Checker::Storage, record.what.to_string()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, Story};
    use super::*;
    use crate::txnlog::testing::log_file;

    #[test]
    fn d8_a_snapshot_that_stays_needs_its_log() {
        let log = |zxid: i64| FileName { dir: Dir::Log, name: format!("log.{zxid:x}") };
        let snapshot = |zxid: i64| FileName { dir: Dir::Snapshot, name: format!("snapshot.{zxid:x}") };
        let mut disk = Disk::default();
        [(1, 3), (4, 3), (7, 2)]
            .iter()
            .for_each(|&(first, count)| disk.put(log(first), &log_file(first, count)));
        // The second file was begun when 4 was the next transaction, the third when 6 was still on its way.
        [3, 5, 8].iter().for_each(|&zxid| disk.put(snapshot(zxid), b""));
        let needed = |removed: &[FileName]| still_needed(&disk, removed);
        assert_eq!(needed(&[log(1)]), None);
        assert_eq!(needed(&[log(1), log(4)]), Some(StillNeeded { snapshot: Zxid(3), first: Zxid(4) }));
        assert_eq!(
            needed(&[snapshot(3), log(1), log(4)]),
            Some(StillNeeded { snapshot: Zxid(5), first: Zxid(6) })
        );
        assert_eq!(needed(&[snapshot(3), snapshot(5), log(1), log(4)]), None);
        assert_eq!(needed(&[log(7)]), None, "a log that is cut");
        assert_eq!(needed(&[log(1), log(4), log(7)]), None, "a leader's snapshot takes its place");
    }

    #[test]
    fn d8_three_whole_snapshots_stay() {
        let snapshot = |zxid: i64| FileName { dir: Dir::Snapshot, name: format!("snapshot.{zxid:x}") };
        let mut disk = Disk::default();
        let end = [0, 0, 0, 1, b'/'];
        (1..=4).for_each(|zxid| disk.put(snapshot(zxid), &[&[0; 8][..], &end].concat()));
        // Its writer was killed.
        disk.put(snapshot(5), b"");
        let leaves = |removed: &[FileName]| leaves_enough(NODE, &disk, removed);
        assert_eq!(leaves(&[snapshot(1)]), Ok(()));
        assert_eq!(leaves(&[snapshot(5)]), Ok(()));
        let words = "n0 removes snapshot.1, which leaves 2 whole snapshots";
        assert_eq!(leaves(&[snapshot(1), snapshot(2)]), Err(Violation::new(Checker::Storage, words)));
        assert_eq!(leaves(&[snapshot(3), snapshot(4)]), Ok(()), "a log that is cut");
        let all = [1, 2, 3, 4].map(snapshot);
        assert_eq!(leaves(&all), Ok(()), "a leader's snapshot takes their place");
    }

    #[test]
    fn d10_a_snapshot_that_fails_for_no_reason() {
        assert_eq!(snapshot_failed(NODE, "Full", Some(Excuse::DiskFails)), Ok(()));
        assert!(snapshot_failed(NODE, "Full", None).unwrap_err().what.starts_with("n0 has no snapshot"));
    }

    #[test]
    fn d8_a_removal_of_what_is_needed() {
        let mut story = Story::begin();
        story.tell(Observed::Removed { node: NODE, still_needed: None });
        story.expect_fine();
        let still_needed = Some(StillNeeded { snapshot: Zxid(3), first: Zxid(4) });
        story.tell(Observed::Removed { node: NODE, still_needed });
        story.expect_violation(Checker::Storage, "n0 removes 0x4, the first behind its snapshot 0x3");
    }
}
