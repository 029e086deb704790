//! A disk in memory, and logs to put on it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::load::{encode as encode_snapshot, encode_as_of};
use super::{Recovered, Recovery, RecoveryError};
use crate::config::Config;
use crate::store::inventory::{log_name, snapshot_name};
use crate::store::{Dir, DirEntry, DiskAnswer, DiskDone, DiskError, DiskOp, FileName};
use crate::time::WallTime;
use crate::tree::{DIGEST_VERSION, Tree, TreeOptions};
use crate::types::{AclList, CreateTxn, NodeKind, OpCode, SessionId, Txn, TxnDigest, TxnHeader, Zxid};
use crate::wire::record::FileHeader;
use crate::wire::{record, txn};

/// Files by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TestDisk {
    pub(super) files: BTreeMap<FileName, Vec<u8>>,
    /// What was made durable as it was found.
    pub(super) synced: BTreeSet<FileName>,
    /// Changes that still work; after these the power is gone.
    pub(super) changes_left: Option<usize>,
    /// Which files the removal that the power fails in takes away, one bit for each.
    pub(super) removed_partly: u32,
    /// What reading these brings.
    pub(super) unreadable: BTreeMap<FileName, DiskError>,
}

impl TestDisk {
    /// A disk with these log files.
    pub(super) fn with_logs(logs: &[(Zxid, Vec<u8>)]) -> Self {
        let mut disk = Self::default();
        for (zxid, bytes) in logs {
            disk.files.insert(log_name(*zxid), bytes.clone());
        }
        disk
    }

    pub(super) fn put(mut self, file: FileName, bytes: Vec<u8>) -> Self {
        self.files.insert(file, bytes);
        self
    }

    /// Recovers with the disk ending operations of both streams in order, always one behind what is asked.
    pub(super) fn recover(&mut self, config: &Config) -> Result<Recovered, RecoveryError> {
        self.recover_initialized(config, false)
    }

    pub(super) fn recover_initialized(
        &mut self,
        config: &Config,
        initialize: bool,
    ) -> Result<Recovered, RecoveryError> {
        self.drive(&mut Recovery::new(config, [1, 2, 3, 4], initialize))
    }

    /// Forgets everything behind `target`.
    pub(super) fn rewind(&mut self, config: &Config, target: Zxid) -> Result<Recovered, RecoveryError> {
        self.drive(&mut Recovery::rewinding(config, [1, 2, 3, 4], target))
    }

    pub(super) fn drive(&mut self, recovery: &mut Recovery) -> Result<Recovered, RecoveryError> {
        let mut asked = VecDeque::new();
        loop {
            while let Some(op) = recovery.poll_op() {
                asked.push_back(op);
            }
            if let Some(outcome) = recovery.poll_outcome() {
                assert!(asked.is_empty(), "nothing is in flight any more");
                return outcome;
            }
            let op = asked.pop_front().expect("without an outcome there is something to wait for");
            recovery.on_done(self.execute(op));
        }
    }

    pub(super) fn execute(&mut self, op: DiskOp) -> DiskDone {
        let ticket = op.ticket();
        let changes = !matches!(op, DiskOp::List { .. } | DiskOp::Read { .. });
        if changes && let Some(left) = &mut self.changes_left {
            if *left == 0 {
                if let DiskOp::Remove { files, .. } = &op {
                    let removed =
                        files.iter().enumerate().filter(|(at, _)| self.removed_partly >> at & 1 == 1);
                    removed.for_each(|(_, file)| drop(self.files.remove(file)));
                }
                return DiskDone { ticket, result: Err(DiskError::Failed(5)) };
            }
            *left -= 1;
        }
        let result = match op {
            DiskOp::List { .. } => {
                let entry = |(file, bytes): (&FileName, &Vec<u8>)| DirEntry {
                    file: file.clone(),
                    size: bytes.len() as u64,
                };
                Ok(DiskAnswer::Listing(self.files.iter().map(entry).collect()))
            }
            DiskOp::Read { file, offset, len, .. } => self.read(&file, offset as usize, len),
            DiskOp::Remove { files, .. } => {
                files.iter().for_each(|file| drop(self.files.remove(file)));
                Ok(DiskAnswer::Done)
            }
            DiskOp::Replace { file, bytes, .. } => {
                self.files.insert(file, bytes.to_vec());
                Ok(DiskAnswer::Done)
            }
            DiskOp::Truncate { file, size, .. } => {
                self.files.get_mut(&file).expect("what is cut is there").truncate(size as usize);
                Ok(DiskAnswer::Done)
            }
            DiskOp::Sync { files, .. } => {
                self.synced.extend(files);
                Ok(DiskAnswer::Done)
            }
            DiskOp::LogCreate { .. }
            | DiskOp::LogAppend { .. }
            | DiskOp::SnapshotCreate { .. }
            | DiskOp::SnapshotAppend { .. }
            | DiskOp::SnapshotFinish { .. }
            | DiskOp::SnapshotDiscard { .. } => panic!("recovery writes no log and no snapshot"),
        };
        DiskDone { ticket, result }
    }

    fn read(&self, file: &FileName, offset: usize, len: usize) -> Result<DiskAnswer, DiskError> {
        if let Some(error) = self.unreadable.get(file) {
            return Err(*error);
        }
        let bytes = self.files.get(file).ok_or(DiskError::NotFound)?;
        let start = offset.min(bytes.len());
        let end = (offset + len).min(bytes.len());
        Ok(DiskAnswer::Data(Bytes::copy_from_slice(&bytes[start..end])))
    }
}

pub(super) fn stranger(dir: Dir, name: &str) -> FileName {
    FileName { dir, name: String::from(name) }
}

/// Makes a history: a tree that goes on, one transaction at a time, with the records for it.
#[derive(Debug)]
pub(super) struct History {
    pub(super) tree: Tree,
    pub(super) next: Zxid,
    /// The batch that records are written with; without one, each is a batch of its own.
    pub(super) batch: Option<Zxid>,
    /// Whether records say which batch that is; ZooKeeper's do not.
    pub(super) marked: bool,
    config: Config,
}

impl History {
    pub(super) fn new(config: &Config) -> Self {
        let options =
            TreeOptions { extended_types: config.extended_types, digest_enabled: config.digest_enabled };
        Self {
            tree: Tree::new(options, [9; 4]),
            next: Zxid(1),
            batch: None,
            marked: true,
            config: config.clone(),
        }
    }

    /// The record of the next transaction, which creates `/n<zxid>`; the root never loses a child.
    pub(super) fn record(&mut self) -> Vec<u8> {
        let path = format!("/n{:x}", self.next);
        let create = CreateTxn {
            path: path.into(),
            data: Some(Vec::from(*b"0123").into()),
            acl: AclList::OpenUnsafe,
            kind: NodeKind::Persistent,
            parent_cversion: self.tree.node("/").expect("a root").children().len() as i32,
        };
        self.append(OpCode::CREATE, SessionId::NONE, Txn::Create(create))
    }

    /// The record of any transaction.
    pub(super) fn append(&mut self, op: OpCode, session: SessionId, txn: Txn) -> Vec<u8> {
        let header = TxnHeader { session, cxid: 0, zxid: self.next, time: WallTime(5), op };
        self.next = self.next.next();
        self.tree.apply(&header, txn.clone(), &mut |_| {});
        let digest = TxnDigest { version: DIGEST_VERSION, tree_digest: self.tree.digest() };
        let mut out = Vec::new();
        let batch = self.batch.unwrap_or(header.zxid);
        record::append(&mut out, |out| match self.marked {
            true => txn::encode_logged(&header, &txn, Some(&digest), batch, out),
            false => txn::encode(&header, &txn, Some(&digest), out),
        });
        out
    }

    /// A log file of `count` records: its first zxid, its bytes, and where each record ends.
    pub(super) fn log(&mut self, count: usize) -> (Zxid, Vec<u8>, Vec<usize>) {
        let zxid = self.next;
        let mut bytes = header();
        let mut ends = vec![bytes.len()];
        for _ in 0..count {
            bytes.extend(self.record());
            ends.push(bytes.len());
        }
        (zxid, bytes, ends)
    }

    /// The snapshot of the tree as it is now.
    pub(super) fn snapshot(&mut self) -> (FileName, Vec<u8>) {
        let bytes = encode_snapshot(&mut self.tree, &BTreeMap::new(), &self.config);
        (snapshot_name(self.tree.last_zxid()), bytes.to_vec())
    }

    /// The snapshot that ZooKeeper writes while it applies the last transaction: all of that is in it, and it is said
    /// to be of the one before, whose digest is given.
    pub(super) fn snapshot_ahead(&mut self, digest_before: u64) -> (FileName, Vec<u8>) {
        let before = Zxid(self.tree.last_zxid().0 - 1);
        let bytes = encode_as_of(before, digest_before, &mut self.tree, &BTreeMap::new(), &self.config);
        (snapshot_name(before), bytes.to_vec())
    }
}

pub(super) fn header() -> Vec<u8> {
    let mut bytes = Vec::new();
    FileHeader::LOG.encode(&mut bytes);
    bytes
}
