//! Gives back the room that removed files took.
//!
//! A file system that gives back all of a large file at once keeps the log's syncs waiting: 25 ms for 138 MB on ext4 with
//! `discard`, half a millisecond in steps of 4 MiB. So large files shrink before they go. That takes a sync for every
//! step, half a minute for what a purge may remove, and nothing must wait for it, least of all the files in which a
//! member promises an epoch. Hence a thread of its own, for files that have lost their names already.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Bytes by which a file shrinks at a time; one that has no more goes as it is.
pub(super) const STEP_BYTES: u64 = 4 << 20;

/// Takes files apart in the background. When it is dropped, those that are left go at once.
#[derive(Debug)]
pub(super) struct Shredder {
    doomed: Option<Sender<PathBuf>>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shredder {
    /// Starts its thread.
    ///
    /// # Errors
    /// If the operating system has no thread left.
    pub(super) fn start() -> io::Result<Self> {
        let (doomed, files) = channel();
        let hurry = Arc::new(AtomicBool::new(false));
        let in_hurry = Arc::clone(&hurry);
        let thread = std::thread::Builder::new().name("zabra-shredder".to_owned());
        let thread = thread.spawn(move || shred_all(&files, &in_hurry))?;
        Ok(Self { doomed: Some(doomed), hurry, thread: Some(thread) })
    }

    /// Takes a file apart that nobody else will ask for by this path.
    pub(super) fn shred(&self, file: PathBuf) {
        let doomed = self.doomed.as_ref().expect("it is there until the end");
        // Without its thread the next start removes what is left.
        let _ = doomed.send(file);
    }
}

impl Drop for Shredder {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.doomed = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported there.
            let _ = thread.join();
        }
    }
}

fn shred_all(files: &Receiver<PathBuf>, hurry: &AtomicBool) {
    for file in files {
        // What does not shrink goes at once.
        let _ = shrink(&file, hurry);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(
                    "{} is of no use and cannot be removed: {error}. Remove it by hand",
                    file.display()
                );
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn shrink(path: &Path, hurry: &AtomicBool) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut len = file.metadata()?.len();
    while len > STEP_BYTES && !hurry.load(Ordering::Relaxed) {
        len -= STEP_BYTES;
        file.set_len(len)?;
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_whether_there_is_time_or_not() {
        let root = tempfile::tempdir().expect("a place for tests");
        let shredder = Shredder::start().expect("a thread");
        for (name, len) in [("none", 0), ("small", 100), ("large", 5 * STEP_BYTES + 1)] {
            let path = root.path().join(name);
            File::create(&path).and_then(|file| file.set_len(len)).expect("room");
            shredder.shred(path);
        }
        shredder.shred(root.path().join("missing"));
        drop(shredder);
        assert_eq!(fs::read_dir(root.path()).expect("it is there").count(), 0);
    }
}
