//! Durable state: what is asked of the disk, when, and what the files are called.
//!
//! Nothing here knows a byte of what is stored: records and snapshot chunks come encoded from the caller.

pub mod epochs;
pub mod inventory;
pub mod log;
pub mod op;
pub mod purge;
pub mod snapshotter;

pub use inventory::{Inventory, LogFile, SnapshotFile};
pub use log::LogWriter;
pub use op::{Dir, DirEntry, DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Stream, Tickets};
pub use purge::Purger;
pub use snapshotter::{SnapshotOutcome, Snapshotter};
