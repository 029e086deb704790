//! A change that recovery makes to the disk.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::inventory::snapshot_name;
use crate::store::{DirEntry, DiskOp, FileName, Inventory};
use crate::types::{Ticket, Zxid};

/// A change to the disk, after which the next one may begin.
#[derive(Debug)]
pub(super) enum Repair {
    /// Begin a database with this snapshot, which is of this transaction.
    Begin(Zxid, Bytes),
    /// Remove these files.
    Remove(Vec<FileName>),
    /// Make these files durable.
    Sync(Vec<FileName>),
    /// Cut a file.
    Truncate(FileName, u64),
    /// Give a small file this content.
    Write(FileName, Bytes),
}

impl Repair {
    /// What the disk is to do.
    pub(super) fn op(&self, ticket: Ticket) -> DiskOp {
        match self {
            Self::Begin(zxid, bytes) => {
                DiskOp::Replace { ticket, file: snapshot_name(*zxid), bytes: bytes.clone() }
            }
            Self::Remove(files) => DiskOp::Remove { ticket, files: files.clone() },
            Self::Sync(files) => DiskOp::Sync { ticket, files: files.clone() },
            Self::Truncate(file, size) => DiskOp::Truncate { ticket, file: file.clone(), size: *size },
            Self::Write(file, bytes) => DiskOp::Replace { ticket, file: file.clone(), bytes: bytes.clone() },
        }
    }

    /// The file, or the first one, that it is about.
    pub(super) fn file(&self) -> Option<FileName> {
        match self {
            Self::Begin(zxid, _) => Some(snapshot_name(*zxid)),
            Self::Remove(files) | Self::Sync(files) => files.first().cloned(),
            Self::Truncate(file, _) | Self::Write(file, _) => Some(file.clone()),
        }
    }

    /// Takes note that the disk did it.
    pub(super) fn carried_out(self, inventory: &mut Inventory) {
        match self {
            Self::Begin(zxid, bytes) => {
                let file = snapshot_name(zxid);
                inventory.add(DirEntry { file: file.clone(), size: bytes.len() as u64 });
                inventory.mark_complete(&file, true);
            }
            Self::Remove(files) => files.iter().for_each(|file| inventory.remove(file)),
            Self::Sync(_) => {}
            Self::Truncate(file, size) => inventory.add(DirEntry { file, size }),
            Self::Write(file, bytes) => inventory.add(DirEntry { file, size: bytes.len() as u64 }),
        }
    }
}
