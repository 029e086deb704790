//! In which order a server forgets everything behind some transaction, the *target*, so that a crash in between does no
//! harm.
//!
//! A new leader's history may lack what a server has logged and nobody committed: the server is told to cut its log
//! (TRUNC), and the znodes that came of it must go with it, from the tree and from every snapshot (ZOOKEEPER-4837). So
//! the tree is loaded anew, from the newest snapshot that holds nothing behind the target and the log up to it. Only
//! when that has succeeded is anything changed: the log files behind the target are removed, the one that holds it is
//! cut behind the last record that stays, and snapshots with more are removed.
//!
//! A crash in between must leave a disk that starts, with all of the history up to the target and no hole behind it;
//! how much of the rest is still there does not matter, the leader says TRUNC again. Each change is durable before the
//! next begins.
//!
//! * Log files go youngest first, and the cut comes last: what is left of the log is always a beginning of it.
//! * Does the log go on without a gap from the target to its end? Then snapshots go first. From whatever is left, the
//!   log leads on to its end.
//! * If there is a gap, a snapshot that came from a leader stands behind it, and without that one the server would not
//!   start as long as there are records behind the gap. So the log goes first. As long as the newest snapshot is there,
//!   it is loaded; as the snapshots go, older ones, and at the end the one that was loaded here.
//! * A snapshot from before the target that was written while transactions behind it went on holds some of them. It
//!   goes before everything else: once the log is cut, nothing else would show that it must not be loaded.
//!
//! The target need not be a record. With counter 0 it is the beginning of an epoch, and the last record before it is
//! the right one. Any other target that is not found means that this server's history is not the one that the leader
//! has in mind: it is then cut to the last record before, which [`super::Recovered::last_zxid`] shows, and the leader
//! must be asked again.
//!
//! That takes a log that leads past the target. Where it ends before, and a snapshot from behind the target stands on what
//! is not here any more (a leader sent it), what is missing in between may be committed, and this snapshot all that a
//! quorum relies on: without it, nobody might have that. So nothing is changed then
//! ([`super::RecoveryError::CannotRewind`]), nor with any other error that recovery knows, and the server needs a snapshot
//! from the leader, before it gives up its own.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::repair::Repair;
use super::replay::Repairs;
use super::report::{Notice, SnapshotProblem};
use crate::store::{FileName, Inventory, SnapshotFile};
use crate::types::Zxid;

/// Snapshots with transactions that are to be forgotten.
#[derive(Debug)]
pub(super) struct Unwanted {
    /// From before the target, with something in them from behind it.
    ahead: Vec<FileName>,
    /// From behind the target, youngest first.
    behind: Vec<FileName>,
}

/// Which snapshots go with what is behind `target`. If nothing is to stay, that goes for those that cannot be used,
/// too.
pub(super) fn unwanted_snapshots(
    inventory: &Inventory,
    unusable: &[(SnapshotFile, SnapshotProblem)],
    target: Zxid,
) -> Unwanted {
    let ahead = unusable
        .iter()
        .filter(|(_, why)| target == Zxid::ZERO || matches!(why, SnapshotProblem::Ahead { .. }));
    let behind = inventory.snapshots().iter().rev().filter(|snapshot| snapshot.zxid > target);
    Unwanted {
        ahead: ahead.map(|(snapshot, _)| snapshot.file.clone()).collect(),
        behind: behind.map(|snapshot| snapshot.file.clone()).collect(),
    }
}

/// Whether what leads up to `last_zxid` does not show what was between that and the target: it goes on in a snapshot from
/// behind the target, and the log, which reaches as far as `reaches`, does not lead there.
pub(super) fn ends_in_a_gap(inventory: &Inventory, target: Zxid, last_zxid: Zxid, reaches: Zxid) -> bool {
    let newest = inventory.snapshots().last().map(|snapshot| snapshot.zxid);
    last_zxid < target && newest.is_some_and(|newest| newest > target && newest > reaches)
}

impl Unwanted {
    /// Says which go.
    pub(super) fn removed(&self, report: &mut Vec<Notice>) {
        let files = self.ahead.iter().chain(&self.behind);
        report.extend(files.map(|file| Notice::SnapshotRemoved { file: file.clone() }));
    }
}

/// Puts the changes in order. `leftovers` are of no importance; `cut` is what is done to the youngest file that stays.
pub(super) fn order(
    leftovers: Vec<FileName>,
    snapshots: Unwanted,
    log: Repairs,
    cut: Option<(FileName, u64)>,
    ops: &mut VecDeque<Repair>,
) {
    let remove = |files: Vec<FileName>| (!files.is_empty()).then_some(Repair::Remove(files));
    let logs = log.remove.into_iter().map(|file| Repair::Remove(Vec::from([file])));
    let cut = cut.map(|(file, size)| Repair::Truncate(file, size));
    let Unwanted { mut ahead, behind } = snapshots;
    ahead.extend(leftovers);
    ops.extend(remove(ahead));
    if log.goes_on {
        ops.extend(remove(behind));
        ops.extend(logs.chain(cut));
    } else {
        ops.extend(logs.chain(cut));
        ops.extend(remove(behind));
    }
}
