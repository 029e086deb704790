//! Disks at work: requests wait in two streams, take their time, are run, and are answered.

use std::time::Duration;

use zabra_core::server::Input;
use zabra_core::store::{DiskDone, DiskOp, Stream};

use super::{Event, World};
use crate::check::{Checker, Violation, stamps, storage};
use crate::history::Observed;
use crate::node::Life;
use crate::places::NodeId;
use crate::rt;

/// What a disk operation takes at most once all faults have stopped.
const HEALTHY_LATENCY_MAX: Duration = Duration::from_millis(2);

impl World {
    /// Queues a request to the disk, and begins it if nothing stands before it.
    pub(super) fn submit(&mut self, id: NodeId, op: DiskOp) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        let records = match &op {
            DiskOp::LogCreate { file, .. } => {
                node.tap.on_create(file);
                Vec::new()
            }
            DiskOp::LogAppend { bytes, .. } => node.tap.on_append(bytes),
            _ => Vec::new(),
        };
        let stream = op.stream();
        node.queue(stream).waiting.push_back(op);
        node.shows(self.now);
        let shown = node.shown;
        for record in records {
            stamps::check(id, &record, shown, self.judge.facts())?;
            self.observe(Observed::Logged { node: id, record })?;
        }
        self.begin_disk_op(id, stream);
        Ok(())
    }

    pub(super) fn begin_disk_op(&mut self, id: NodeId, stream: Stream) {
        let profile = self.options.disk;
        let latency = profile.latency_min + self.disk_rng.exponential(profile.latency_mean);
        let times = profile.slow.filter(|&(slow, _)| slow == id.0).map_or(1, |(_, times)| times);
        // What a server must do within its limits has to be possible once all faults have stopped.
        let latency = if self.healed { latency.min(HEALTHY_LATENCY_MAX) } else { latency * times };
        let node = &mut self.nodes[id.0];
        let (stalled_until, generation) = (node.stalled_until, node.generation);
        let queue = node.queues.get_mut(&stream).expect("both streams have one");
        let is_held = |op| self.holds.holds(id, op);
        if queue.current.is_some() || queue.waiting.front().is_some_and(is_held) {
            return;
        }
        queue.current = queue.waiting.pop_front();
        if queue.current.is_some() {
            let at = self.now.max(stalled_until) + latency;
            self.schedule(at, Event::Disk { node: id, generation, stream });
        }
    }

    pub(super) fn on_disk(&mut self, id: NodeId, generation: u64, stream: Stream) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        if node.generation != generation {
            return Ok(());
        }
        if node.stalled_until > self.now {
            // It stopped in the middle of this one.
            let until = node.stalled_until;
            self.schedule(until, Event::Disk { node: id, generation, stream });
            return Ok(());
        }
        let op = node.queue(stream).current.take().expect("it was begun");
        if let (DiskOp::Remove { files, .. }, Life::Up(_)) = (&op, &node.life) {
            storage::leaves_enough(id, &node.disk, files)?;
            let still_needed = storage::still_needed(&node.disk, files);
            self.observe(Observed::Removed { node: id, still_needed })?;
        }
        let done = self.run_disk_op(id, &op)?;
        self.begin_disk_op(id, stream);
        match &mut self.nodes[id.0].life {
            Life::Recovering(recovery) => {
                self.trace.done(&done);
                rt::catch(|| recovery.on_done(done))
                    .map_err(|message| Violation::new(Checker::Panic, format!("{id}: {message}")))?;
                self.drive_recovery(id)
            }
            Life::Up(_) => {
                self.tell_node(id, Input::Disk(done));
                Ok(())
            }
            Life::Down | Life::Stopped => Ok(()),
        }
    }

    /// A disk does what it was asked for, and who reads along with it sees what became of it.
    fn run_disk_op(&mut self, id: NodeId, op: &DiskOp) -> Result<DiskDone, Violation> {
        let node = &mut self.nodes[id.0];
        let result = node.disk.run(op);
        let rewound = match op {
            DiskOp::LogAppend { .. } => {
                let before = node.tap.durable();
                node.tap.on_done(&node.disk);
                let durable = node.tap.durable();
                if durable > before {
                    self.observe(Observed::Synced { node: id, durable })?;
                }
                false
            }
            DiskOp::Truncate { .. } => {
                node.tap.on_truncated(&node.disk);
                true
            }
            DiskOp::Remove { files, .. } => node.tap.on_removed(files, &node.disk),
            DiskOp::SnapshotFinish { .. } => node.tap.on_snapshot(&node.disk),
            DiskOp::Replace { file, .. } if result.is_ok() => {
                let found_more = node.tap.on_names(&node.disk);
                self.observe(Observed::Replaced { node: id, name: file.name.clone() })?;
                found_more
            }
            _ => false,
        };
        if rewound {
            self.found(id)?;
        }
        Ok(DiskDone { ticket: op.ticket(), result })
    }

    /// Tells where the history on a disk ends.
    pub(super) fn found(&mut self, id: NodeId) -> Result<(), Violation> {
        let tap = &self.nodes[id.0].tap;
        let (last, durable) = (tap.last(), tap.durable());
        self.observe(Observed::Found { node: id, last, durable })
    }
}
