//! Gives back the room that removed files took.
//!
//! A file system that gives back all of a large file at once keeps the log's syncs waiting: 25 ms for 138 MB on ext4 with
//! `discard`, half a millisecond in steps of 4 MiB. So large files shrink before they go. That takes a sync for every
//! step, half a minute for what a purge may remove, and nothing must wait for it, least of all the files in which a
//! member promises an epoch. Hence a thread of its own, for files that have lost their names already.
//!
//! To shrink a file is to change it for everybody who has it. Backups are often made of hard links (`cp -al`, rsnapshot),
//! and a data directory may be made of symbolic ones: a file that has another name, or is none itself, loses its name and
//! nothing else. Who has a file open while it goes cannot be seen: a copy that is being made of it comes out short, and
//! the program that makes it says so.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::fs::OFlags;

/// Bytes by which a file shrinks at a time; one that has no more goes as it is.
pub(super) const STEP_BYTES: u64 = 4 << 20;

/// Takes files apart in the background: one for recovery and the server after it, which has nothing to wait for. When it is
/// dropped, those that are left go at once.
#[derive(Debug)]
pub struct Shredder {
    doomed: Option<Sender<PathBuf>>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shredder {
    /// Starts its thread.
    ///
    /// # Errors
    /// If the operating system has no thread left.
    pub fn start() -> io::Result<Self> {
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

    /// Waits until all that it was given has gone. It takes nothing more.
    pub(super) fn finish(&mut self) {
        self.doomed = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Shredder {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.finish();
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

/// Whether a file is worth shrinking, and nobody's but ours: it has no other name.
pub(super) fn is_to_shrink(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1 && found.len() > STEP_BYTES
}

fn shrink(path: &Path, hurry: &AtomicBool) -> io::Result<()> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let file = File::options().write(true).custom_flags(no_follow).open(path)?;
    // Somebody who copies the whole directory by links may come to it in between.
    while !hurry.load(Ordering::Relaxed) {
        let found = file.metadata()?;
        if !is_to_shrink(&found) {
            break;
        }
        file.set_len(found.len() - STEP_BYTES)?;
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

    /// A backup made of links, or the place that a link points to, is not ours to take apart.
    #[test]
    fn what_has_another_name_keeps_its_content() {
        let root = tempfile::tempdir().expect("a place for tests");
        let len = 3 * STEP_BYTES + 1;
        let in_no_hurry = AtomicBool::new(false);
        let [backup, elsewhere] = ["backup", "elsewhere"].map(|name| root.path().join(name));
        let [linked, symbolic] = ["tmp.removed.0", "tmp.removed.1"].map(|name| root.path().join(name));
        for path in [&backup, &elsewhere] {
            File::create(path).and_then(|file| file.set_len(len)).expect("room");
        }
        fs::hard_link(&backup, &linked).expect("another name");
        std::os::unix::fs::symlink(&elsewhere, &symbolic).expect("a link");
        let (doomed, files) = channel();
        for path in [&linked, &symbolic] {
            doomed.send(path.clone()).expect("somebody listens");
        }
        drop(doomed);
        shred_all(&files, &in_no_hurry);
        for path in [linked, symbolic] {
            assert!(fs::symlink_metadata(&path).is_err(), "{} has gone", path.display());
        }
        for path in [backup, elsewhere] {
            assert_eq!(fs::metadata(&path).expect("it is there").len(), len, "{}", path.display());
        }
    }

    /// What nobody else has is taken apart, however it is called.
    #[test]
    fn what_has_no_other_name_shrinks() {
        let root = tempfile::tempdir().expect("a place for tests");
        let path = root.path().join("tmp.removed.0");
        File::create(&path).and_then(|file| file.set_len(3 * STEP_BYTES + 1)).expect("room");
        shrink(&path, &AtomicBool::new(false)).expect("it is ours");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 1);
    }
}
