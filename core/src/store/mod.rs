//! Durable state: what is asked of the disk and what is found there.

pub mod op;

pub use op::{Dir, DirEntry, DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Stream};
