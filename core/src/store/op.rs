//! What the core asks of the disk, and what it is told.
//!
//! The ordering promise: operations of one [`Stream`] are carried out, and their completions come back, in the
//! order in which they were asked for; across streams there is no order at all. A failed log operation is never
//! tried again: after a failed sync nobody knows what the file holds.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::types::Ticket;

/// The two directories of a server. They may be one and the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// `dataLogDir/version-2`: the transaction log.
    Log,
    /// `dataDir/version-2`: snapshots and the epoch files.
    Snapshot,
}

impl Dir {
    /// What the directory is called in reports: who knows its path can put that in place.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "dataLogDir/version-2",
            Self::Snapshot => "dataDir/version-2",
        }
    }
}

/// A file by directory and bare name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// Where it is.
    pub dir: Dir,
    /// Its name, such as `log.1a`.
    pub name: String,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dir.name(), self.name)
    }
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Which.
    pub file: FileName,
    /// Its bytes.
    pub size: u64,
}

/// A request to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Create the log file, empty, and append to it from now on. It must not exist. Nothing of it is durable, nor is
    /// its name, before the first synced [`Self::LogAppend`] to it is done.
    LogCreate {
        /// Names the completion.
        ticket: Ticket,
        /// The new file.
        file: FileName,
    },
    /// Append to the current log file. Done once the bytes and the file's name survive a power failure (`sync`), or
    /// once they are handed to the operating system.
    LogAppend {
        /// Names the completion.
        ticket: Ticket,
        /// What to write, at the end of what was written so far.
        bytes: Bytes,
        /// Grow the file to this size afterwards, with zeros (preallocation). Not before: a process that is killed
        /// between the two leaves a log that is short, which every server takes for one that ends there. On zeros where
        /// a file's header belongs a ZooKeeper server does not start.
        grow_to: Option<u64>,
        /// Whether to wait for the disk.
        sync: bool,
    },
    /// Cut a file to `size` bytes, durably. Used on the log before anything is appended, to the next new file at least.
    Truncate {
        /// Names the completion.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// What stays of it.
        size: u64,
    },
    /// Make files durable that were found, content and name: whoever wrote them may not have waited for the disk.
    Sync {
        /// Names the completion.
        ticket: Ticket,
        /// The files.
        files: Vec<FileName>,
    },
    /// Begin a snapshot under a temporary name.
    SnapshotCreate {
        /// Names the completion.
        ticket: Ticket,
        /// The name it will have.
        file: FileName,
    },
    /// Append to the snapshot that was begun.
    SnapshotAppend {
        /// Names the completion.
        ticket: Ticket,
        /// What to write.
        bytes: Bytes,
    },
    /// Make the snapshot durable and give it its name.
    SnapshotFinish {
        /// Names the completion.
        ticket: Ticket,
    },
    /// Forget the snapshot that was begun.
    SnapshotDiscard {
        /// Names the completion.
        ticket: Ticket,
    },
    /// Replace a small file by these bytes, durably and at once or not at all.
    Replace {
        /// Names the completion.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// Its new content.
        bytes: Bytes,
    },
    /// Remove files, in this order; once done, none of them comes back after a power failure.
    Remove {
        /// Names the completion.
        ticket: Ticket,
        /// Which; one that does not exist is no error.
        files: Vec<FileName>,
    },
    /// List both directories: regular files only, in any order. Where both are one directory each file is listed
    /// once, those called `log.…` under [`Dir::Log`] and all others under [`Dir::Snapshot`].
    List {
        /// Names the completion.
        ticket: Ticket,
    },
    /// Read up to `len` bytes from `offset`; fewer only at the end of the file.
    Read {
        /// Names the completion.
        ticket: Ticket,
        /// The file.
        file: FileName,
        /// Where to begin.
        offset: u64,
        /// How much.
        len: usize,
    },
}

/// Hands out tickets, each once.
#[derive(Debug, Default)]
pub struct Tickets {
    issued: u64,
}

impl Tickets {
    /// The next ticket, greater than every one before.
    pub const fn issue(&mut self) -> Ticket {
        self.issued += 1;
        Ticket(self.issued)
    }

    /// The ticket issued last; ticket 0, which is never issued, before the first.
    pub const fn last(&self) -> Ticket {
        Ticket(self.issued)
    }
}

/// What is kept in order among itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The transaction log.
    Log,
    /// Snapshots, removals, small files and reads.
    Bulk,
}

impl DiskOp {
    /// The ticket that the completion will carry.
    pub const fn ticket(&self) -> Ticket {
        match self {
            Self::LogCreate { ticket, .. }
            | Self::LogAppend { ticket, .. }
            | Self::Truncate { ticket, .. }
            | Self::Sync { ticket, .. }
            | Self::SnapshotCreate { ticket, .. }
            | Self::SnapshotAppend { ticket, .. }
            | Self::SnapshotFinish { ticket }
            | Self::SnapshotDiscard { ticket }
            | Self::Replace { ticket, .. }
            | Self::Remove { ticket, .. }
            | Self::List { ticket }
            | Self::Read { ticket, .. } => *ticket,
        }
    }

    /// Which order the operation belongs to.
    pub const fn stream(&self) -> Stream {
        match self {
            Self::LogCreate { .. } | Self::LogAppend { .. } | Self::Truncate { .. } => Stream::Log,
            Self::Sync { .. }
            | Self::SnapshotCreate { .. }
            | Self::SnapshotAppend { .. }
            | Self::SnapshotFinish { .. }
            | Self::SnapshotDiscard { .. }
            | Self::Replace { .. }
            | Self::Remove { .. }
            | Self::List { .. }
            | Self::Read { .. } => Stream::Bulk,
        }
    }
}

/// How a disk operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDone {
    /// Which operation.
    pub ticket: Ticket,
    /// What came of it.
    pub result: Result<DiskAnswer, DiskError>,
}

/// What a disk operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskAnswer {
    /// It was carried out.
    Done,
    /// The bytes that were read.
    Data(Bytes),
    /// The files that were found.
    Listing(Vec<DirEntry>),
}

/// Why a disk operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// There is no such file.
    NotFound,
    /// No space is left.
    Full,
    /// Anything else, with the operating system's error number.
    Failed(i32),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Full => f.write_str("no space left on the device"),
            Self::Failed(code) => write!(f, "input/output error (os error {code})"),
        }
    }
}
