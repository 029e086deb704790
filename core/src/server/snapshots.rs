//! Snapshots: the tree at one zxid, encoded chunk by chunk while writes go on.

use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;
use rand_core::RngCore;

use super::{Event, Phase, Server};
use crate::store::{DiskDone, SnapshotOutcome};
use crate::tree::{DIGEST_VERSION, SnapshotMark};
use crate::types::TxnDigest;
use crate::wire::compressor::Compressor;
use crate::wire::snapshot::Encoder;

/// A snapshot under way.
#[derive(Debug)]
pub(super) struct Encoding {
    encoder: Encoder,
    compressor: Compressor,
    /// What it will show.
    mark: SnapshotMark,
    /// Sessions and ACLs, encoded when it began; they go with the first chunk.
    head: Vec<u8>,
    /// The server's turn in which the last chunk was encoded.
    turn: u64,
}

impl Server {
    /// When a snapshot is due, the log continues in a new file, so that the files before it can be purged one day; the
    /// snapshot begins once the tree has all of those. So a server that starts with it reads nothing but the new file:
    /// the log is ahead of the tree by what is on its way to the disk, and that would have been in the file before.
    pub(super) fn begin_snapshot_if_due(&mut self) {
        if !self.snapshotter.is_due() || self.phase != Phase::Running {
            return;
        }
        let rolled_behind = *self.rolled_behind.get_or_insert_with(|| {
            self.log.roll();
            self.log.appended()
        });
        // While learners get one there is time for the tree to come up, so that it can begin when they have it.
        if self.tree.last_zxid() >= rolled_behind && !self.is_sending_snapshot() {
            self.rolled_behind = None;
            self.begin_snapshot();
        }
    }

    /// Begins a snapshot of the tree as it is now.
    fn begin_snapshot(&mut self) {
        let mark = self.tree.begin_snapshot();
        self.snapshot_since = Some(self.now.mono);
        self.snapshotter.begin(mark.zxid, self.snapshot_rng.next_u64());
        let mut head = Vec::new();
        let (sessions, acls) = (self.sessions.timeouts(), self.tree.acl_entries());
        let encoder = Encoder::head(&mut head, Encoder::begin, sessions, acls);
        let compressor = Compressor::new(self.config.snapshot_compression);
        self.snapshot = Some(Encoding { encoder, compressor, mark, head, turn: 0 });
        self.tell(Event::SnapshotStarted { zxid: mark.zxid });
    }

    /// Gives up the snapshot that is being encoded: the tree is needed for something else, and it is to be taken then.
    pub(super) fn postpone_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.tree.end_snapshot();
            self.snapshotter.postpone();
            self.snapshot_since = None;
        }
    }

    /// Encodes the next chunk, if there is room for one on the way to the disk: one at most between two inputs, for a
    /// snapshot must not hold up the clients. The end of a chunk is an input, so there is a next one.
    pub(super) fn encode_snapshot_chunk(&mut self) {
        self.finish_snapshot();
        let Some(Encoding { encoder, compressor, head, turn, .. }) = &mut self.snapshot else { return };
        if *turn == self.turn || !self.snapshotter.wants_chunk() {
            return;
        }
        *turn = self.turn;
        let limit = self.config.snapshot_chunk_bytes;
        let mut chunk = mem::take(head);
        chunk.reserve(limit + limit / 8);
        let more = self.tree.snapshot_chunk(limit, &mut |node| {
            encoder.node(&mut chunk, node.path, node.data, node.acl_id, &node.stat);
        });
        if more {
            // Even if nothing comes out yet: it is the end of a chunk that brings the next one.
            self.snapshotter.chunk(Bytes::from(compressor.push(chunk)));
            return;
        }
        let Some(Encoding { mut encoder, compressor, mark, .. }) = self.snapshot.take() else { return };
        encoder.end_nodes(&mut chunk);
        if self.config.digest_enabled {
            let digest = TxnDigest { version: DIGEST_VERSION, tree_digest: mark.digest };
            encoder.digest(&mut chunk, mark.zxid, &digest);
        }
        if self.config.serialize_last_processed_zxid {
            encoder.last_zxid(&mut chunk, mark.zxid);
        }
        self.snapshotter.chunk(Bytes::from(compressor.finish(chunk)));
        self.unfinished_snapshot = Some(mark.zxid);
        self.tree.end_snapshot();
        self.finish_snapshot();
    }

    /// A snapshot gets its name once the log is durable up to there: among others, a server applies what a quorum has
    /// durable, and may not have it itself. So the log never ends before the newest snapshot, but for one from a leader.
    fn finish_snapshot(&mut self) {
        if self.unfinished_snapshot.take_if(|zxid| *zxid <= self.log.durable()).is_some() {
            self.snapshotter.finish();
        }
    }

    pub(super) fn on_snapshot_done(&mut self, done: &DiskDone) {
        let outcome = self.snapshotter.on_done(done);
        if self.on_install_done(&outcome) {
            return;
        }
        match outcome {
            SnapshotOutcome::Ongoing => {}
            SnapshotOutcome::Finished { zxid, entry } => {
                let file = entry.file.clone();
                self.inventory.add(entry);
                // Otherwise purging, which keeps enough snapshots that are known to be whole, would never begin.
                self.inventory.mark_complete(&file, true);
                if let Some(since) = self.snapshot_since.take() {
                    self.metrics.summaries.snapshottime.add_ms(self.now.mono.since(since));
                }
                self.tell(Event::SnapshotFinished { zxid });
            }
            SnapshotOutcome::Failed { zxid, error } => {
                if self.snapshot.take().is_some() {
                    self.tree.end_snapshot();
                }
                self.unfinished_snapshot = None;
                self.tell(Event::SnapshotFailed { zxid, error });
            }
        }
    }
}
