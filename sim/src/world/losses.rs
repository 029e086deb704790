//! Disks that lose what was durable, while their servers are away: a bit of the log changes, or all is gone, for the disk
//! was replaced by an empty one.
//!
//! Not everything can be survived, so not everything comes. A member that may lack what it has acknowledged keeps out of
//! votes until a leader has brought it up to date; with as many others as a majority needs, nothing is lost. So one disk at a
//! time loses something, and only where a quorum that serves without it has all that it had, and all that anybody relies on.
//!
//! A bit is one of a record that was durable before another was written, as the log itself tells: at the end of a log nobody
//! can tell a bit that changed from a write that a power failure tore. Who loses everything has also forgotten what epoch
//! it has promised, and might promise that to somebody else. So nobody may have heard of a later epoch than the one in
//! which that quorum serves. And it has to know that it is not new: in worlds in which disks are replaced a server begins
//! a database only if it is asked to (`zookeeper.db.autocreate`, and the file `initialize`), and nobody asks twice.

use std::collections::BTreeMap;
use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::store::{Dir, FileName};
use zabra_core::types::Zxid;

use super::World;
use crate::check::Violation;
use crate::disk::Disk;
use crate::ending::Crash;
use crate::fault::{Drawn, FaultKind, Harm};
use crate::node::Loss;
use crate::places::{NodeId, Party};
use crate::txnlog::{numbered, proven};

impl World {
    /// Power fails, and a bit of the log will not be what it was when somebody reads it again.
    pub(super) fn rot(&mut self, drawn: Drawn) -> Harm {
        self.spoil(FaultKind::Rot, drawn.node, Loss::Bit(drawn.choice), "its disk rots")
    }

    /// Power fails, and the next process finds another disk.
    pub(super) fn wipe(&mut self, drawn: Drawn) -> Harm {
        self.spoil(FaultKind::Wipe, drawn.node, Loss::Everything, "its disk is replaced")
    }

    fn spoil(&mut self, kind: FaultKind, id: NodeId, loss: Loss, how: &str) -> Harm {
        let node = &mut self.nodes[id.0];
        let down = (!node.is_down()).then_some(Crash::Unpowered);
        node.loses = Some(loss);
        let (to, words) = (vec![Party::Node(id)], format!("{id} has no power, and {how}"));
        Harm { kind, words, to, lasts: Duration::ZERO, down }
    }

    /// A process is about to start: what its disk is to lose is gone now, if that may be.
    pub(super) fn lose_data(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(loss) = self.nodes[id.0].loses.take() else { return Ok(()) };
        if self.healed || self.bereft.is_some() || !self.judge.is_spare(id) {
            return Ok(());
        }
        let words = match loss {
            Loss::Bit(choice) => {
                let disk = &mut self.nodes[id.0].disk;
                let Some((file, offset)) = place(disk, choice) else { return Ok(()) };
                disk.rot(&file, offset, 1 << (choice >> 61));
                self.counts.rotten += 1;
                format!("byte {offset} of {} is not what it was", file.name)
            }
            Loss::Everything => {
                if !self.is_forgettable(id) {
                    return Ok(());
                }
                self.nodes[id.0].disk.replace();
                self.counts.wiped += 1;
                "has an empty disk".into()
            }
        };
        self.bereft = Some(id);
        self.nodes[id.0].is_damaged = true;
        self.remark(id, words)
    }

    /// Whether nobody can miss what a server has promised: a quorum without it serves in an epoch, and no disk has a
    /// later one.
    fn is_forgettable(&self, id: NodeId) -> bool {
        let promised = self.nodes.iter().map(|node| node.kept().accepted).max().unwrap_or_default();
        let mut serving: BTreeMap<i64, Vec<NodeId>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(standing) = node.standing.filter(|it| index != id.0 && it.role != Role::Looking) {
                serving.entry(standing.epoch).or_default().push(NodeId(index));
            }
        }
        let ruling = self.judge.facts().configs().ruling();
        serving.iter().any(|(&epoch, nodes)| epoch >= promised && ruling.is_quorum(nodes.iter().copied()))
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
