//! Disks that rot: a bit of a log changes while its server is away.
//!
//! Not everything can be survived, so not everything comes. A member whose log is damaged keeps out of votes until a leader
//! has brought it up to date; with as many others as a majority needs, nothing is lost. So one log at a time is damaged,
//! and only where a quorum that serves without it has all that it had, and all that anybody relies on. And the bit is one
//! of a record that was durable before another was written, as the log itself tells: at the end of a log nobody can tell a
//! bit that changed from a write that a power failure tore.

use std::time::Duration;

use zabra_core::store::{Dir, FileName};
use zabra_core::types::Zxid;

use super::World;
use crate::check::Violation;
use crate::disk::Disk;
use crate::ending::Crash;
use crate::fault::{Drawn, FaultKind, Harm};
use crate::places::{NodeId, Party};
use crate::txnlog::{numbered, proven};

impl World {
    /// Power fails, and a bit of the log will not be what it was when somebody reads it again.
    pub(super) fn rot(&mut self, drawn: Drawn) -> Option<Harm> {
        let id = drawn.node;
        let node = &mut self.nodes[id.0];
        let down = (!node.is_down()).then_some(Crash::Unpowered);
        node.rots = Some(drawn.choice);
        let (to, words) = (vec![Party::Node(id)], format!("{id} has no power, and its disk rots"));
        Some(Harm { kind: FaultKind::Rot, words, to, lasts: Duration::ZERO, down })
    }

    /// A process is about to start: if its disk rots, a bit of its log is another one now, if any may be.
    pub(super) fn change_a_bit(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(choice) = self.nodes[id.0].rots.take() else { return Ok(()) };
        if self.healed || self.rotten.is_some() || !self.judge.is_spare(id) {
            return Ok(());
        }
        let Some((file, offset)) = place(&self.nodes[id.0].disk, choice) else { return Ok(()) };
        self.rotten = Some(id);
        self.counts.rotten += 1;
        let node = &mut self.nodes[id.0];
        node.is_damaged = true;
        node.disk.rot(&file, offset, 1 << (choice >> 61));
        self.remark(id, format!("byte {offset} of {} is not what it was", file.name))
    }
}

/// A byte of what recovery reads and finds to be damaged, if there is any.
fn place(disk: &Disk, choice: u64) -> Option<(FileName, usize)> {
    let newest = |dir, prefix| disk.files().filter_map(move |(file, _)| numbered(file, dir, prefix)).max();
    let snapshot = newest(Dir::Snapshot, "snapshot.").unwrap_or(Zxid::ZERO);
    let log = newest(Dir::Log, "log.")?;
    let (file, content) = disk.files().find(|(file, _)| numbered(file, Dir::Log, "log.") == Some(log))?;
    let records = proven(&content.to_vec(), snapshot);
    let record = records.get(usize::try_from(choice >> 32).ok()? % records.len().max(1))?;
    let offset = record.start + choice as usize % record.len();
    Some((file.clone(), offset))
}
