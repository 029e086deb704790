//! Disk completions come in; log batches and snapshot chunks go out.

use alloc::string::String;

use super::{Action, Event, HaltReason, Server};
use crate::store::{DirEntry, DiskDone, DiskOp};

impl Server {
    pub(super) fn on_disk(&mut self, done: &DiskDone) {
        if self.log.owns(done.ticket) {
            let before = self.log.durable();
            match self.log.on_done(done) {
                Ok(durable) => {
                    self.look_at_sync(durable > before);
                    // What waited for this append leaves first: it would keep the log full for those who go on now, and
                    // they would wait for one append more, with nothing for the disk to do behind it.
                    if self.log_is_full() {
                        self.gather_log_ops();
                    }
                    self.on_durable(durable);
                    // Among others it may be committed already: then nobody who waits for the log alone went on.
                    self.share_room();
                }
                Err(error) => {
                    let doing = String::from("writing the transaction log");
                    self.halt(HaltReason::Disk { doing, error });
                }
            }
        } else if self.ensemble_owns(done.ticket) {
            self.on_ensemble_disk(done);
        } else if self.snapshotter.owns(done.ticket) {
            self.on_snapshot_done(done);
        } else if self.purger.owns(done.ticket) {
            if let Some((file, error)) = self.purger.on_done(done, &mut self.inventory, self.now.mono) {
                self.tell(Event::FileNotRemoved { file, error });
            }
        } else {
            panic!("a completion for {:?}, which is not in flight", done.ticket);
        }
    }

    /// An operation of the log has ended: a file's creation, or an append and its sync.
    fn look_at_sync(&mut self, appended: bool) {
        let Some(since) = self.append_since.take() else { return };
        if !appended {
            // The append begins only now.
            self.append_since = Some(self.now.mono);
            return;
        }
        if !self.config.force_sync {
            return;
        }
        let took = self.now.mono.since(since);
        self.metrics.summaries.fsynctime.add_ms(took);
        // In whole milliseconds, as ZooKeeper compares them.
        if took.as_millis() > self.config.fsync_warning_threshold.as_millis() {
            self.slow_syncs += 1;
            self.tell(Event::SlowSync { took, file_size: self.log.file_size() });
        }
    }

    /// Asks the disk for what is due: the next batch of the log first, for clients wait for it.
    pub(super) fn gather_disk_ops(&mut self) {
        self.gather_log_ops();
        if self.gather_ensemble_disk_ops() {
            return;
        }
        self.encode_snapshot_chunk();
        while let Some(op) = self.snapshotter.poll_op(&mut self.tickets) {
            self.actions.push_back(Action::Disk(op));
        }
    }

    /// The next batch of the log leaves, if none is under way.
    fn gather_log_ops(&mut self) {
        loop {
            let size = self.log.file_size();
            let Some(op) = self.log.poll_op(&mut self.tickets) else { break };
            if let DiskOp::LogCreate { file, .. } = &op {
                self.inventory.end_log(size);
                let entry = DirEntry { file: file.clone(), size: 0 };
                self.inventory.add(entry);
            }
            if let DiskOp::LogAppend { .. } = &op {
                self.append_since = Some(self.now.mono);
            }
            self.actions.push_back(Action::Disk(op));
        }
    }
}
