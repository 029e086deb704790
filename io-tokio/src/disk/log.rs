//! The log stream: one file open for writing, appended to in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use zabra_core::store::{Dir, DiskAnswer, DiskError, DiskOp, FileName};

use super::directories::Directories;
use super::disk_error;
use crate::clock::Clock;

/// An append of more bytes is never quick.
const QUICK_BYTES: usize = 64 << 10;

/// A sync that takes longer is not quick: about what it costs to put a thread to sleep and wake another, twice.
const QUICK_SYNC: Duration = Duration::from_micros(250);

/// Carries out the operations of the log stream.
#[derive(Debug)]
pub(super) struct LogFiles {
    clock: Clock,
    /// How long syncs take, the last ones counting most. `None` before the first.
    sync_time: Option<Duration>,
    directories: Arc<Directories>,
    current: Option<Current>,
    /// Set by the first failure and never cleared: after a failed sync the kernel may have thrown the bytes away
    /// and report success the next time, so nothing may be written behind them.
    failed: Option<DiskError>,
}

#[derive(Debug)]
struct Current {
    file: File,
    position: u64,
    /// Where its name is not durable yet.
    unnamed: Option<Dir>,
}

impl LogFiles {
    pub(super) fn new(directories: Arc<Directories>) -> Self {
        Self { clock: Clock::start(), sync_time: None, directories, current: None, failed: None }
    }

    /// Carries out one operation; every one after a failed one fails as well.
    pub(super) fn execute(&mut self, op: DiskOp) -> Result<DiskAnswer, DiskError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = match op {
            DiskOp::LogCreate { file, .. } => self.create(&file),
            DiskOp::LogAppend { bytes, grow_to, sync, .. } => self.append(&bytes, grow_to, sync),
            DiskOp::Truncate { file, size, .. } => self.truncate(&file, size),
            DiskOp::Sync { .. }
            | DiskOp::SnapshotCreate { .. }
            | DiskOp::SnapshotAppend { .. }
            | DiskOp::SnapshotFinish { .. }
            | DiskOp::SnapshotDiscard { .. }
            | DiskOp::Replace { .. }
            | DiskOp::Remove { .. }
            | DiskOp::List { .. }
            | DiskOp::Read { .. } => unreachable!("an operation of the other stream"),
        };
        match result {
            Ok(()) => Ok(DiskAnswer::Done),
            Err(error) => {
                let error = disk_error(&error);
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Whether the operation can be expected to end sooner than it could be handed to another thread.
    pub(super) fn is_quick(&self, op: &DiskOp) -> bool {
        let DiskOp::LogAppend { bytes, sync, .. } = op else { return false };
        let quick_disk = !sync || self.sync_time.is_some_and(|usual| usual <= QUICK_SYNC);
        let is_named = self.current.as_ref().is_some_and(|current| current.unnamed.is_none());
        quick_disk && is_named && bytes.len() <= QUICK_BYTES
    }

    /// Begins a file. Its name becomes durable with its first bytes and not before, so that whoever loses its power here
    /// leaves no empty file if that can be helped. A ZooKeeper 3.9.3 server that takes the directory over removes an
    /// empty log file that it comes to as the last one, and says so; one with another behind it, or with a part of the
    /// file's header alone, it cannot read, and it does not start.
    fn create(&mut self, name: &FileName) -> io::Result<()> {
        let file = File::options().create_new(true).write(true).open(self.directories.path(name))?;
        self.current = Some(Current { file, position: 0, unnamed: Some(name.dir) });
        Ok(())
    }

    /// What is written comes first, and the zeros behind it: see [`DiskOp::LogAppend`].
    fn append(&mut self, bytes: &[u8], grow_to: Option<u64>, sync: bool) -> io::Result<()> {
        let current = self.current.as_mut().expect("the core creates a log file before it appends");
        current.file.write_all_at(bytes, current.position)?;
        if let Some(size) = grow_to {
            current.file.set_len(size)?;
        }
        if let Some(dir) = current.unnamed.take() {
            // Synced bytes in a file whose directory entry is lost are lost too.
            self.directories.sync(dir)?;
        }
        if sync {
            let began = self.clock.now().mono;
            current.file.sync_data()?;
            let took = self.clock.now().mono.since(began);
            self.sync_time = Some(self.sync_time.map_or(took, |usual| (usual * 7 + took) / 8));
        }
        current.position += bytes.len() as u64;
        Ok(())
    }

    fn truncate(&self, name: &FileName, size: u64) -> io::Result<()> {
        let file = File::options().write(true).open(self.directories.path(name))?;
        file.set_len(size)?;
        file.sync_all()?;
        // A file whose creator was killed may not have a durable name yet.
        self.directories.sync(name.dir)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use zabra_core::store::Tickets;

    use super::*;

    fn name(name: &str) -> FileName {
        FileName { dir: Dir::Log, name: name.to_owned() }
    }

    fn append(bytes: &'static [u8], grow_to: Option<u64>) -> DiskOp {
        DiskOp::LogAppend {
            ticket: Tickets::default().issue(),
            bytes: Bytes::from_static(bytes),
            grow_to,
            sync: true,
        }
    }

    fn create(file: &str) -> DiskOp {
        DiskOp::LogCreate { ticket: Tickets::default().issue(), file: name(file) }
    }

    #[test]
    fn disk_log_padding_is_written_into_not_behind() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        let mut log = LogFiles::new(Arc::clone(&directories));
        assert_eq!(log.execute(create("log.1")), Ok(DiskAnswer::Done));
        assert_eq!(log.execute(append(b"abc", Some(10))), Ok(DiskAnswer::Done));
        assert_eq!(log.execute(append(b"de", None)), Ok(DiskAnswer::Done));
        let path = directories.path(&name("log.1"));
        assert_eq!(std::fs::read(&path).expect("it is there"), b"abcde\0\0\0\0\0");
        assert_eq!(log.execute(create("log.2")), Ok(DiskAnswer::Done));
        assert_eq!(log.execute(append(b"f", None)), Ok(DiskAnswer::Done));
        assert_eq!(std::fs::read(directories.path(&name("log.2"))).expect("it is there"), b"f");
        let cut = DiskOp::Truncate { ticket: Tickets::default().issue(), file: name("log.1"), size: 4 };
        assert_eq!(log.execute(cut), Ok(DiskAnswer::Done));
        assert_eq!(std::fs::read(&path).expect("it is there"), b"abcd");
    }

    /// No file can have this size: it is as if the process were killed before the file grew.
    #[test]
    fn what_is_appended_is_there_before_the_file_grows() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        let mut log = LogFiles::new(Arc::clone(&directories));
        assert_eq!(log.execute(create("log.1")), Ok(DiskAnswer::Done));
        assert!(log.execute(append(b"abc", Some(u64::MAX))).is_err());
        let content = std::fs::read(directories.path(&name("log.1"))).expect("it is there");
        assert_eq!(content, b"abc");
    }

    #[test]
    fn a_failed_log_operation_is_never_followed_by_another() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        std::fs::write(directories.path(&name("log.1")), "in the way").expect("written");
        let mut log = LogFiles::new(Arc::clone(&directories));
        let exists = Err(DiskError::Failed(17));
        assert_eq!(log.execute(create("log.1")), exists, "a log file is never overwritten");
        assert_eq!(log.execute(create("log.2")), exists);
        assert_eq!(log.execute(append(b"x", None)), exists);
        assert!(!directories.path(&name("log.2")).exists());
    }

    /// A device that is always full stands in for a full disk.
    #[test]
    fn a_full_disk_is_told_apart() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        let mut log = LogFiles::new(Arc::clone(&directories));
        let file = File::options().write(true).open("/dev/full").expect("Linux has it");
        log.current = Some(Current { file, position: 0, unnamed: None });
        assert_eq!(log.execute(append(b"x", None)), Err(DiskError::Full));
        assert_eq!(log.execute(create("log.2")), Err(DiskError::Full), "and it stays so");
    }
}
