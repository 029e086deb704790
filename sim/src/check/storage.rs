//! What is removed from a disk as old is not needed any more (D8): of every snapshot that stays, the transactions behind it
//! stay, too. Otherwise it would be of no use, and the next start would have nothing to begin with if it is the last one that
//! can be read.

use zabra_core::store::{Dir, FileName};
use zabra_core::types::Zxid;

use super::{Check, Checker, Facts, Violation};
use crate::disk::Disk;
use crate::history::{Observed, Record, StillNeeded};
use crate::txnlog::{numbered, records};

/// What goes with old files although it is still needed. Young files go when a log is cut, and all when a leader's snapshot
/// takes their place; then other rules hold.
pub fn still_needed(disk: &Disk, removed: &[FileName]) -> Option<StillNeeded> {
    let log_of = |file: &FileName| numbered(file, Dir::Log, "log.");
    let logs: Vec<(&FileName, &[u8])> = disk.files().filter(|(file, _)| log_of(file).is_some()).collect();
    let stays = |file: &FileName| !removed.contains(file);
    let last = logs.iter().filter(|(file, _)| stays(file)).filter_map(|(file, _)| log_of(file)).max()?;
    if removed.iter().filter_map(log_of).all(|log| log > last) {
        return None;
    }
    // The logs are read once: there may be many snapshots.
    let logged = |&(file, bytes)| records(bytes).map(move |record| (record.zxid, stays(file)));
    let logged: Vec<(Zxid, bool)> = logs.iter().flat_map(logged).collect();
    let first_behind = |snapshot: Zxid, all: bool| {
        let behind = logged.iter().filter(|&&(zxid, stays)| zxid > snapshot && (all || stays));
        behind.map(|&(zxid, _)| zxid).min()
    };
    let snapshots = disk.files().filter(|(file, _)| stays(file));
    let snapshots = snapshots.filter_map(|(file, _)| numbered(file, Dir::Snapshot, "snapshot."));
    let needed = |snapshot| {
        let first = first_behind(snapshot, true);
        first.filter(|_| first != first_behind(snapshot, false)).map(|first| StillNeeded { snapshot, first })
    };
    snapshots.filter_map(needed).next()
}

/// See the module.
#[derive(Debug)]
pub struct Storage;

impl Check for Storage {
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
    fn d8_a_removal_of_what_is_needed() {
        let mut story = Story::begin();
        story.tell(Observed::Removed { node: NODE, still_needed: None });
        story.expect_fine();
        let still_needed = Some(StillNeeded { snapshot: Zxid(3), first: Zxid(4) });
        story.tell(Observed::Removed { node: NODE, still_needed });
        story.expect_violation(Checker::Storage, "n0 removes 0x4, the first behind its snapshot 0x3");
    }
}
