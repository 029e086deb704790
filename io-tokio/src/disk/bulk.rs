//! The bulk stream: snapshots, small files, removals, listings and reads.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use zabra_core::store::inventory::TEMPORARY_PREFIX;
use zabra_core::store::{Dir, DirEntry, DiskAnswer, DiskError, DiskOp, FileName};

use super::directories::Directories;
use super::disk_error;
use super::shredder::{Shredder, is_to_shrink};

/// Snapshot bytes that may be in the page cache only. Syncing a whole snapshot at its end would keep the device
/// busy for seconds, and the log's syncs behind it; this much keeps it busy for less than a sync of the log takes.
const UNSYNCED_MAX: usize = 256 << 10;

/// Large pieces are those of a snapshot that a leader sends: nothing goes to this server's log meanwhile, somebody
/// waits for the end, and a sync costs more than its bytes. So that many of them are synced at once.
const PIECES_UNSYNCED_MAX: usize = 2;

/// Carries out the operations of the bulk stream.
#[derive(Debug)]
pub(super) struct BulkFiles {
    directories: Arc<Directories>,
    snapshot: Option<Snapshot>,
    /// The file that was read last: recovery reads one file after the other, piece by piece.
    reading: Option<(FileName, File)>,
    shredder: Arc<Shredder>,
    /// Names that were given to large files when they were removed, or were taken already.
    removed: u64,
}

/// A snapshot that is being written.
#[derive(Debug)]
struct Snapshot {
    name: FileName,
    temporary: PathBuf,
    file: File,
    unsynced: usize,
    /// Set by the first failure: a snapshot with a hole must not get its name.
    failed: Option<DiskError>,
}

impl BulkFiles {
    pub(super) const fn new(directories: Arc<Directories>, shredder: Arc<Shredder>) -> Self {
        Self { directories, snapshot: None, reading: None, shredder, removed: 0 }
    }

    /// Carries out one operation.
    pub(super) fn execute(&mut self, op: DiskOp) -> Result<DiskAnswer, DiskError> {
        if !matches!(op, DiskOp::Read { .. }) {
            self.reading = None;
        }
        match op {
            DiskOp::SnapshotCreate { file, .. } => self.snapshot_create(file).map(done),
            DiskOp::SnapshotAppend { bytes, .. } => return self.snapshot_append(&bytes).map(done),
            DiskOp::SnapshotFinish { .. } => return self.snapshot_finish().map(done),
            DiskOp::SnapshotDiscard { .. } => self.snapshot_discard().map(done),
            DiskOp::Sync { files, .. } => self.sync(&files).map(done),
            DiskOp::Replace { file, bytes, .. } => self.replace(&file, &bytes).map(done),
            DiskOp::Remove { files, .. } => self.remove(&files).map(done),
            DiskOp::List { .. } => self.list().map(DiskAnswer::Listing),
            DiskOp::Read { file, offset, len, .. } => self.read(file, offset, len).map(DiskAnswer::Data),
            DiskOp::LogCreate { .. } | DiskOp::LogAppend { .. } | DiskOp::Truncate { .. } => {
                unreachable!("an operation of the other stream")
            }
        }
        .map_err(|error| disk_error(&error))
    }

    fn temporary(&self, file: &FileName) -> PathBuf {
        self.directories.path(&FileName { dir: file.dir, name: format!("{TEMPORARY_PREFIX}{}", file.name) })
    }

    fn snapshot_create(&mut self, name: FileName) -> io::Result<()> {
        assert!(self.snapshot.is_none(), "the core writes one snapshot at a time");
        let temporary = self.temporary(&name);
        let file = File::create(&temporary)?;
        self.snapshot = Some(Snapshot { name, temporary, file, unsynced: 0, failed: None });
        Ok(())
    }

    fn snapshot_append(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.snapshot_being_written()?.unless_failed(|snapshot| snapshot.append(bytes))
    }

    fn snapshot_finish(&mut self) -> Result<(), DiskError> {
        let directories = self.directories.clone();
        self.snapshot_being_written()?.unless_failed(|snapshot| snapshot.finish(&directories))?;
        self.snapshot = None;
        Ok(())
    }

    fn snapshot_being_written(&mut self) -> Result<&mut Snapshot, DiskError> {
        // Without a snapshot its creation failed, and this was asked for before that was known.
        self.snapshot.as_mut().ok_or(DiskError::NotFound)
    }

    fn snapshot_discard(&mut self) -> io::Result<()> {
        match self.snapshot.take() {
            Some(snapshot) => {
                drop(snapshot.file);
                let doomed = self.remove_one(snapshot.name.dir, &snapshot.temporary)?;
                doomed.into_iter().for_each(|file| self.shredder.shred(file));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn replace(&self, name: &FileName, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.temporary(name);
        let result = File::create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, self.directories.path(name))?;
            self.directories.sync(name.dir)
        });
        if result.is_err() {
            // Room for the next attempt; the error that counts is the first one.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn remove(&mut self, files: &[FileName]) -> io::Result<()> {
        let mut doomed = Vec::new();
        let removed = files.iter().try_for_each(|file| {
            let removed = self.remove_one(file.dir, &self.directories.path(file))?;
            doomed.extend(removed);
            Ok(())
        });
        // Only then may they shrink: after a power failure no log or snapshot has its name and not its end.
        self.sync_names(files)?;
        doomed.into_iter().for_each(|file| self.shredder.shred(file));
        removed
    }

    /// A small file is gone, and so is one that has another name. A large one gets the name of one that was never finished,
    /// and is returned: it is to be shredded.
    fn remove_one(&mut self, dir: Dir, path: &Path) -> io::Result<Option<PathBuf>> {
        match self.take_name(dir, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    fn take_name(&mut self, dir: Dir, path: &Path) -> io::Result<Option<PathBuf>> {
        if !is_to_shrink(&fs::symlink_metadata(path)?) {
            return fs::remove_file(path).map(|()| None);
        }
        let doomed = self.unused_name(dir)?;
        fs::rename(path, &doomed)?;
        Ok(Some(doomed))
    }

    /// A name for a file that is being removed, which no other has: neither one that this process is taking apart, for it
    /// gives no name twice, nor one that an earlier process left and recovery may be about to remove.
    fn unused_name(&mut self, dir: Dir) -> io::Result<PathBuf> {
        loop {
            let path = self.temporary(&FileName { dir, name: format!("removed.{}", self.removed) });
            self.removed += 1;
            match fs::symlink_metadata(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
                Err(error) => return Err(error),
            }
        }
    }

    fn sync(&self, files: &[FileName]) -> io::Result<()> {
        for file in files {
            File::open(self.directories.path(file))?.sync_all()?;
        }
        self.sync_names(files)
    }

    /// Makes durable that these files are there, or are not.
    fn sync_names(&self, files: &[FileName]) -> io::Result<()> {
        for dir in [Dir::Log, Dir::Snapshot] {
            if files.iter().any(|file| file.dir == dir) {
                self.directories.sync(dir)?;
            }
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for dir in [Dir::Log, Dir::Snapshot] {
            for entry in fs::read_dir(self.directories.folder(dir))? {
                let entry = entry?;
                // What has no UTF-8 name is none of ours.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let elsewhere = self.directories.shared() && (dir == Dir::Log) != name.starts_with("log.");
                // A file may go while the directory is read.
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                if metadata.is_file() && !elsewhere {
                    entries.push(DirEntry { file: FileName { dir, name }, size: metadata.len() });
                }
            }
        }
        Ok(entries)
    }

    fn read(&mut self, name: FileName, offset: u64, len: usize) -> io::Result<Bytes> {
        let file = match &mut self.reading {
            Some((open, file)) if *open == name => file,
            reading => {
                let file = File::open(self.directories.path(&name))?;
                &mut reading.insert((name, file)).1
            }
        };
        let mut buffer = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(Bytes::from(buffer))
    }
}

impl Snapshot {
    /// Does the next step, unless an earlier one failed.
    fn unless_failed(&mut self, step: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<(), DiskError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        step(self).map_err(|error| *self.failed.insert(disk_error(&error)))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len();
        if self.unsynced >= UNSYNCED_MAX.max(PIECES_UNSYNCED_MAX * bytes.len()) {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Gives it its name, once all of it is durable.
    fn finish(&self, directories: &Directories) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, directories.path(&self.name))?;
        directories.sync(self.name.dir)
    }
}

const fn done((): ()) -> DiskAnswer {
    DiskAnswer::Done
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use zabra_core::types::Ticket;

    use super::super::shredder::STEP_BYTES;
    use super::*;

    fn files(root: &Path) -> BulkFiles {
        let directories = Directories::open(root, root, true).expect("a fresh directory");
        BulkFiles::new(directories, Shredder::start().expect("a thread").into())
    }

    fn name(name: &str) -> FileName {
        FileName { dir: Dir::Snapshot, name: name.to_owned() }
    }

    const TICKET: Ticket = Ticket(1);

    fn append(bytes: &'static [u8]) -> DiskOp {
        DiskOp::SnapshotAppend { ticket: TICKET, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn a_snapshot_gets_its_name_when_it_is_complete() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        let path = bulk.directories.path(&name("snapshot.1"));
        let create = DiskOp::SnapshotCreate { ticket: TICKET, file: name("snapshot.1") };
        for finish in [false, true] {
            assert_eq!(bulk.execute(create.clone()), Ok(DiskAnswer::Done));
            assert_eq!(bulk.execute(append(b"abc")), Ok(DiskAnswer::Done));
            assert_eq!(bulk.execute(append(b"def")), Ok(DiskAnswer::Done));
            assert!(!path.exists());
            let end = if finish {
                DiskOp::SnapshotFinish { ticket: TICKET }
            } else {
                DiskOp::SnapshotDiscard { ticket: TICKET }
            };
            assert_eq!(bulk.execute(end), Ok(DiskAnswer::Done));
            assert_eq!(path.exists(), finish);
            let left = bulk
                .list()
                .expect("a listing")
                .into_iter()
                .filter(|entry| entry.file.name.starts_with("tmp."));
            assert_eq!(left.count(), 0);
        }
        assert_eq!(fs::read(path).expect("it is there"), b"abcdef");
    }

    #[test]
    fn a_snapshot_with_a_hole_never_gets_its_name() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        let create = DiskOp::SnapshotCreate { ticket: TICKET, file: name("snapshot.1") };
        assert_eq!(bulk.execute(create), Ok(DiskAnswer::Done));
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let good = core::mem::replace(&mut bulk.snapshot.as_mut().expect("just begun").file, full);
        assert_eq!(bulk.execute(append(b"lost")), Err(DiskError::Full));
        bulk.snapshot.as_mut().expect("still there").file = good;
        assert_eq!(bulk.execute(append(b"more")), Err(DiskError::Full));
        assert_eq!(bulk.execute(DiskOp::SnapshotFinish { ticket: TICKET }), Err(DiskError::Full));
        assert_eq!(bulk.execute(DiskOp::SnapshotDiscard { ticket: TICKET }), Ok(DiskAnswer::Done));
        assert_eq!(bulk.execute(append(b"late")), Err(DiskError::NotFound));
        assert!(!bulk.directories.path(&name("snapshot.1")).exists());
        let create = DiskOp::SnapshotCreate { ticket: TICKET, file: name("snapshot.2") };
        assert_eq!(bulk.execute(create), Ok(DiskAnswer::Done), "the next one begins anew");
    }

    #[test]
    fn small_files_are_replaced_whole_and_removed_once() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        for content in [&b"1"[..], b"22"] {
            let bytes = Bytes::copy_from_slice(content);
            let op = DiskOp::Replace { ticket: TICKET, file: name("acceptedEpoch"), bytes };
            assert_eq!(bulk.execute(op), Ok(DiskAnswer::Done));
            let read = DiskOp::Read { ticket: TICKET, file: name("acceptedEpoch"), offset: 0, len: 100 };
            assert_eq!(bulk.execute(read), Ok(DiskAnswer::Data(Bytes::copy_from_slice(content))));
        }
        for _ in 0..2 {
            let remove = DiskOp::Remove { ticket: TICKET, files: vec![name("acceptedEpoch")] };
            assert_eq!(bulk.execute(remove), Ok(DiskAnswer::Done));
        }
        let read = DiskOp::Read { ticket: TICKET, file: name("acceptedEpoch"), offset: 0, len: 100 };
        assert_eq!(bulk.execute(read), Err(DiskError::NotFound));
    }

    /// A large file has no name once it is removed, whatever becomes of its room; and neither has a snapshot that was
    /// given up, though another of that name is begun at once.
    #[test]
    fn large_files_lose_their_names_at_once_and_go_whole() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        let large =
            |path: &Path| File::create(path).expect("a file").set_len(9 * STEP_BYTES + 1).expect("room");
        let create = DiskOp::SnapshotCreate { ticket: TICKET, file: name("snapshot.1") };
        let path = bulk.directories.path(&name("snapshot.1"));
        for _ in 0..3 {
            large(&path);
            let remove = DiskOp::Remove { ticket: TICKET, files: vec![name("snapshot.1")] };
            assert_eq!(bulk.execute(remove), Ok(DiskAnswer::Done));
            assert!(!path.exists());
            assert_eq!(bulk.execute(create.clone()), Ok(DiskAnswer::Done));
            large(&bulk.temporary(&name("snapshot.1")));
            assert_eq!(bulk.execute(DiskOp::SnapshotDiscard { ticket: TICKET }), Ok(DiskAnswer::Done));
        }
        assert_eq!(bulk.execute(create), Ok(DiskAnswer::Done));
        assert_eq!(bulk.execute(append(b"new")), Ok(DiskAnswer::Done));
        assert_eq!(bulk.execute(DiskOp::SnapshotFinish { ticket: TICKET }), Ok(DiskAnswer::Done));
        let folder = bulk.directories.folder(Dir::Snapshot).to_owned();
        drop(bulk);
        let left =
            fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("an entry").file_name());
        let left: Vec<_> = left.filter(|name| name != "zabra.lock").collect();
        assert_eq!(left, ["snapshot.1"]);
        assert_eq!(fs::read(path).expect("it is there"), b"new");
    }

    /// Backups are made by hard links, and a large directory is spread by symbolic ones: what others have stays as it is.
    #[test]
    fn removing_a_large_file_leaves_its_other_names_alone() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        let len = 3 * STEP_BYTES + 1;
        let large = |path: &Path| File::create(path).expect("a file").set_len(len).expect("room");
        let [linked, symbolic] = ["snapshot.1", "snapshot.2"].map(name);
        let [backup, elsewhere] = ["backup", "elsewhere"].map(|name| root.path().join(name));
        large(&bulk.directories.path(&linked));
        fs::hard_link(bulk.directories.path(&linked), &backup).expect("another name");
        large(&elsewhere);
        std::os::unix::fs::symlink(&elsewhere, bulk.directories.path(&symbolic)).expect("a link");
        let folder = bulk.directories.folder(Dir::Snapshot).to_owned();
        let remove = DiskOp::Remove { ticket: TICKET, files: vec![linked, symbolic] };
        assert_eq!(bulk.execute(remove), Ok(DiskAnswer::Done));
        // In no hurry, so that whatever is to shrink does.
        Arc::get_mut(&mut bulk.shredder).expect("nobody else's").finish();
        for path in [backup, elsewhere] {
            assert_eq!(fs::metadata(&path).expect("it is there").len(), len, "{}", path.display());
        }
        let left =
            fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("an entry").file_name());
        let left: Vec<_> = left.collect();
        assert_eq!(left, ["zabra.lock"]);
    }

    /// An earlier process was killed before they had gone. Its names are those that this one would give.
    #[test]
    fn leftovers_of_removed_files_take_no_name_from_each_other() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        let left = ["tmp.removed.1", "tmp.removed.0", "tmp.removed.3"]
            .map(|left| bulk.directories.path(&name(left)));
        for (path, more) in left.iter().zip(1..) {
            File::create(path).expect("a file").set_len(2 * STEP_BYTES + more).expect("room");
        }
        let doomed = left.map(|path| bulk.remove_one(Dir::Snapshot, &path).expect("removed").expect("large"));
        for (path, more) in doomed.iter().zip(1..) {
            assert_eq!(
                fs::metadata(path).expect("it is there").len(),
                2 * STEP_BYTES + more,
                "{}",
                path.display()
            );
        }
        doomed.into_iter().for_each(|file| bulk.shredder.shred(file));
        Arc::get_mut(&mut bulk.shredder).expect("nobody else's").finish();
        let folder = fs::read_dir(bulk.directories.folder(Dir::Snapshot)).expect("it is there");
        let left: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left, ["zabra.lock"]);
    }

    #[test]
    fn reads_are_short_only_at_the_end() {
        let root = tempfile::tempdir().expect("a place for tests");
        let mut bulk = files(root.path());
        fs::write(bulk.directories.path(&name("file")), b"0123456789").expect("written");
        for (offset, len, expected) in
            [(0, 4, "0123"), (4, 4, "4567"), (8, 4, "89"), (10, 4, ""), (99, 4, "")]
        {
            let read = DiskOp::Read { ticket: TICKET, file: name("file"), offset, len };
            assert_eq!(bulk.execute(read), Ok(DiskAnswer::Data(Bytes::from_static(expected.as_bytes()))));
        }
    }

    #[test]
    fn a_listing_names_each_file_once_under_its_directory() {
        let root = tempfile::tempdir().expect("a place for tests");
        let logs = root.path().join("logs");
        let directories = Directories::open(root.path(), &logs, true).expect("fresh directories");
        let apart = BulkFiles::new(directories, Shredder::start().expect("a thread").into());
        let folder = apart.directories.folder(Dir::Snapshot).to_owned();
        fs::write(folder.join("log.1"), "misplaced").expect("written");
        fs::write(folder.join("snapshot.0"), "x").expect("written");
        fs::create_dir(folder.join("log.2")).expect("made");
        let listing = |bulk: &BulkFiles| {
            let mut entries = bulk.list().expect("a listing");
            entries.retain(|entry| entry.file.name != "zabra.lock");
            entries.sort_by(|a, b| a.file.cmp(&b.file));
            entries.into_iter().map(|entry| (entry.file.dir, entry.file.name, entry.size)).collect::<Vec<_>>()
        };
        let (log, snapshot) = ("log.1".to_owned(), "snapshot.0".to_owned());
        assert_eq!(listing(&apart), [(Dir::Snapshot, log.clone(), 9), (Dir::Snapshot, snapshot.clone(), 1)]);
        drop(apart);
        let shared = files(root.path());
        assert_eq!(listing(&shared), [(Dir::Log, log, 9), (Dir::Snapshot, snapshot, 1)]);
    }
}
