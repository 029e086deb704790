//! Disk operations on real files.
//!
//! Two threads, one for each [`Stream`]: a snapshot that is being synced must not hold up the log. Each carries its
//! operations out in order and reports each as it ends; the core relies on that order and on nothing else. What to
//! write where, how much at a time and when to sync is the core's decision. Plain threads, because file operations
//! block, and a pool of blocking tasks would give no order. A third one gives back the room of what is removed.
//!
//! A client that writes one thing at a time waits for two thread switches besides the sync, which a fast disk does in
//! less. So where nobody else waits and syncs have been quick, [`Disk::try_at_once`] does without the switches.

mod bulk;
mod directories;
mod log;
mod recover;
mod shredder;
mod writers;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use zabra_core::store::{DiskAnswer, DiskDone, DiskError, DiskOp, Stream};

use bulk::BulkFiles;
pub use directories::{Directories, OpenError};
use log::LogFiles;
pub use recover::{RecoverError, recover};
pub use shredder::Shredder;
pub use writers::Writer;

/// Operations that may wait for one thread. The core keeps far fewer in flight; were it ever to exceed this,
/// [`Disk::submit`] would wait for the disk instead of using more memory.
const QUEUE_MAX: usize = 64;

/// The disk: takes operations, reports their completions.
#[derive(Debug)]
pub struct Disk {
    log_files: Arc<Mutex<LogFiles>>,
    log: Option<SyncSender<DiskOp>>,
    bulk: Option<SyncSender<DiskOp>>,
    threads: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Starts the threads. `on_done` is called on them, once for each operation; it must not block for long. Large files
    /// that are removed are left to `shredder`.
    ///
    /// # Errors
    /// If the operating system has no thread left.
    pub fn start(
        directories: &Arc<Directories>,
        shredder: &Arc<Shredder>,
        on_done: impl Fn(DiskDone) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let on_done = Arc::new(on_done);
        let (log, log_ops) = sync_channel(QUEUE_MAX);
        let (bulk, bulk_ops) = sync_channel(QUEUE_MAX);
        let log_files = Arc::new(Mutex::new(LogFiles::new(Arc::clone(directories))));
        let mut bulk_files = BulkFiles::new(Arc::clone(directories), Arc::clone(shredder));
        let log_done = Arc::clone(&on_done);
        let files = Arc::clone(&log_files);
        let threads = vec![
            spawn("zabra-log", log_ops, move |op| lock(&files).execute(op), move |done| log_done(done))?,
            spawn("zabra-bulk", bulk_ops, move |op| bulk_files.execute(op), move |done| on_done(done))?,
        ];
        Ok(Self { log_files, log: Some(log), bulk: Some(bulk), threads })
    }

    /// Asks for an operation.
    ///
    /// # Panics
    /// If a disk thread has panicked: what it held is lost, and the process must not go on without it.
    pub fn submit(&self, op: DiskOp) {
        let queue = match op.stream() {
            Stream::Log => &self.log,
            Stream::Bulk => &self.bulk,
        };
        let queue = queue.as_ref().expect("the queues are there until the disk is dropped");
        queue.send(op).expect("a disk thread ends only with its queue");
    }

    /// Carries an operation out at once, on the caller's thread, if that takes less time than to hand it over and
    /// to be woken by its end: a small append to a disk whose syncs have been quick lately. Otherwise gives the
    /// operation back, for [`Disk::submit`]. Completions come in order, so the caller must have seen the end of
    /// every operation that it submitted.
    ///
    /// # Errors
    /// The operation itself, which was not carried out.
    pub fn try_at_once(&self, op: DiskOp) -> Result<DiskDone, DiskOp> {
        let mut files = lock(&self.log_files);
        if !files.is_quick(&op) {
            return Err(op);
        }
        let ticket = op.ticket();
        Ok(DiskDone { ticket, result: files.execute(op) })
    }
}

fn lock(files: &Mutex<LogFiles>) -> MutexGuard<'_, LogFiles> {
    files.lock().expect("a panic in a disk thread ends the process")
}

impl Drop for Disk {
    /// Waits until everything that was asked for is done.
    fn drop(&mut self) {
        self.log = None;
        self.bulk = None;
        for thread in self.threads.drain(..) {
            // A panic over there has been reported there.
            let _ = thread.join();
        }
    }
}

fn spawn(
    name: &str,
    ops: Receiver<DiskOp>,
    mut execute: impl FnMut(DiskOp) -> Result<DiskAnswer, DiskError> + Send + 'static,
    on_done: impl Fn(DiskDone) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        for op in ops {
            let ticket = op.ticket();
            on_done(DiskDone { ticket, result: execute(op) });
        }
    })
}

/// What the core is told of an error.
fn disk_error(error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => DiskError::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full,
        // An error of std's own, such as "failed to write whole buffer", has no number: EIO says the same.
        _ => DiskError::Failed(error.raw_os_error().unwrap_or(5)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use bytes::Bytes;
    use zabra_core::store::{Dir, FileName, Tickets};

    use super::*;

    /// Each stream ends in order, however the two interleave.
    #[test]
    fn completions_come_in_order_per_stream() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        let (done_in, done) = channel();
        let shredder = Arc::new(Shredder::start().expect("a thread"));
        let disk = Disk::start(&directories, &shredder, move |done: DiskDone| {
            // The receiver outlives the disk in this test.
            let _ = done_in.send(done);
        })
        .expect("two threads");
        let mut tickets = Tickets::default();
        let mut asked = [Vec::new(), Vec::new()];
        let mut ask = |op: DiskOp| {
            asked[usize::from(op.stream() == Stream::Bulk)].push(op.ticket());
            disk.submit(op);
        };
        ask(DiskOp::LogCreate {
            ticket: tickets.issue(),
            file: FileName { dir: Dir::Log, name: "log.1".to_owned() },
        });
        for number in 0..100_u8 {
            let bytes = Bytes::from(vec![number]);
            ask(DiskOp::LogAppend {
                ticket: tickets.issue(),
                bytes: bytes.clone(),
                grow_to: None,
                sync: false,
            });
            let file = FileName { dir: Dir::Snapshot, name: format!("small.{number}") };
            ask(DiskOp::Replace { ticket: tickets.issue(), file, bytes });
        }
        drop(disk);
        let mut ended = [Vec::new(), Vec::new()];
        for done in done.iter() {
            assert_eq!(done.result, Ok(DiskAnswer::Done));
            ended[usize::from(asked[1].contains(&done.ticket))].push(done.ticket);
        }
        assert_eq!(ended, asked);
        let content = std::fs::read(root.path().join("version-2/log.1")).expect("written");
        assert_eq!(content, (0..100).collect::<Vec<u8>>());
    }
}
