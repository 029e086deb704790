//! The disk of one node: files and names, what is durable of them, and how requests of the core are carried out.
//!
//! The weakest disk that keeps the promises written at [`DiskOp`] and no others:
//! * A write is durable once its file was synced; a name is durable once its directory was.
//! * [`DiskOp::LogCreate`] promises nothing; the first synced [`DiskOp::LogAppend`] makes file and name durable.
//! * [`DiskOp::Truncate`] makes what is left durable, and the file's name with it: recovery has no other way to
//!   make a log its own that a killed process left unsynced.
//! * [`DiskOp::Remove`] is durable once it is done, as a whole; a power failure before that may bring any of the files
//!   back.
//! * A crash between request and completion carries out some beginning of the request's steps.

pub mod content;
pub mod file;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zabra_core::store::inventory::TEMPORARY_PREFIX;
use zabra_core::store::{Dir, DirEntry, DiskAnswer, DiskError, DiskOp, FileName};

pub use content::Content;
pub use file::{SimFile, TearProfile};

use crate::seed::Rng;

/// The error number of a failing device (`EIO`).
pub const EIO: i32 = 5;
/// The error number for a file that exists already (`EEXIST`).
pub const EEXIST: i32 = 17;

/// How the next synchronisation ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Data go to the medium.
    #[default]
    Honest,
    /// It fails, and the data are gone (see [`SimFile::fail_sync`]).
    Failing,
    /// It reports success and does nothing: a disk with a volatile cache that it denies.
    Lying,
}

/// A namespace change that is not on the medium yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NameChange {
    Link(FileName, FileId),
    Unlink(FileName),
}

type FileId = u64;

/// One thing that a request does. Requests that promise more than one step can be cut between them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create { file: FileName, exclusive: bool },
    Rename { from: FileName, to: FileName },
    SetLen { file: Target, len: u64, only_grow: bool },
    SyncDir(Dir),
    SyncFile(Target),
    Unlink(FileName),
    Write { file: Target, offset: u64, bytes: Bytes },
}

/// What a step is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The file of this name.
    Named(FileName),
    /// One that is open: nobody has to look for it.
    Open(FileId),
}

/// A file that is appended to, and how far it is.
#[derive(Clone, Debug)]
struct Open {
    id: FileId,
    end: u64,
}

impl Open {
    fn append(&self, bytes: &Bytes) -> Step {
        Step::Write { file: Target::Open(self.id), offset: self.end, bytes: bytes.clone() }
    }
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    files: BTreeMap<FileId, SimFile>,
    next_file: FileId,
    /// Names as the operating system shows them.
    names: BTreeMap<FileName, FileId>,
    /// Names that a power failure leaves.
    durable_names: BTreeMap<FileName, FileId>,
    pending_names: Vec<NameChange>,
    /// The log file that is appended to, and its directory; lost with the process.
    log: Option<(Dir, Open)>,
    /// The snapshot that is being written: the name that it will have, and the file; lost with the process.
    snapshot: Option<(FileName, Open)>,
    /// What went wrong with it.
    snapshot_failed: Option<DiskError>,
    /// Bytes that fit.
    capacity: u64,
    sync_mode: SyncMode,
    /// How often a synchronisation has succeeded; what a run reached is judged by such counts.
    sync_count: u64,
    /// See [`Disk::durable_changes`].
    durable_changes: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            log: None,
            snapshot: None,
            snapshot_failed: None,
            capacity: u64::MAX,
            sync_mode: SyncMode::Honest,
            sync_count: 0,
            durable_changes: 0,
        }
    }
}

impl Disk {
    /// Bytes that fit from now on; what is there already stays.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// Whether it can be full.
    pub fn is_limited(&self) -> bool {
        self.capacity != u64::MAX
    }

    /// How synchronisations end from now on.
    pub fn set_sync_mode(&mut self, mode: SyncMode) {
        self.sync_mode = mode;
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].image().len() as u64).sum()
    }

    /// How often a synchronisation has succeeded.
    pub fn sync_count(&self) -> u64 {
        self.sync_count
    }

    /// How often what a power failure leaves may have changed in another way than by appending to the log that is open: as
    /// long as it does not, what was read of the durable files other than logs need not be read again.
    pub const fn durable_changes(&self) -> u64 {
        self.durable_changes
    }

    /// All files, as the operating system shows them.
    pub fn files(&self) -> impl Iterator<Item = (&FileName, &Content)> {
        self.names.iter().map(|(name, id)| (name, self.files[id].image()))
    }

    /// All files that are there after a power failure at this moment, with what is certain to be in them.
    pub fn durable_files(&self) -> impl Iterator<Item = (&FileName, &Content)> {
        self.durable_names.iter().map(|(name, id)| (name, self.files[id].durable()))
    }

    /// What of a file is certain to be there after a power failure at this moment.
    pub fn durable_file(&self, file: &FileName) -> Option<&Content> {
        self.durable_names.get(file).map(|id| self.files[id].durable())
    }

    /// Turns bits of one byte of a file around, wherever copies of it are.
    pub fn rot(&mut self, file: &FileName, offset: usize, bits: u8) {
        self.durable_changes += 1;
        if let Some(id) = self.names.get(file) {
            self.files.get_mut(id).expect("a name leads to a file").rot(offset, bits);
        }
    }

    /// Another disk, with nothing on it. As large as this one, and what was counted goes on.
    pub fn replace(&mut self) {
        *self = Self {
            capacity: self.capacity,
            sync_count: self.sync_count,
            durable_changes: self.durable_changes + 1,
            ..Self::default()
        };
    }

    /// Puts a file there, durably: the state a scenario begins with.
    pub fn put(&mut self, file: FileName, bytes: &[u8]) {
        let dir = file.dir;
        self.durable_changes += 1;
        self.create(&file, false).expect("creating anew cannot fail");
        let content = self.file_mut(&file).expect("just created");
        content.write(0, bytes);
        content.sync();
        self.sync_dir(dir);
    }

    /// Removes a file, durably.
    pub fn take(&mut self, file: &FileName) {
        self.durable_changes += 1;
        self.names.remove(file);
        self.durable_names.remove(file);
        self.pending_names.retain(|change| match change {
            NameChange::Link(name, _) | NameChange::Unlink(name) => name != file,
        });
    }

    /// Carries a request out.
    pub fn run(&mut self, op: &DiskOp) -> Result<DiskAnswer, DiskError> {
        match op {
            DiskOp::List { .. } => Ok(DiskAnswer::Listing(
                self.files()
                    .map(|(file, image)| DirEntry { file: file.clone(), size: image.len() as u64 })
                    .collect(),
            )),
            DiskOp::Read { file, offset, len, .. } => {
                let id = self.names.get(file).ok_or(DiskError::NotFound)?;
                let image = self.files[id].image();
                let from = usize::try_from(*offset).unwrap_or(usize::MAX);
                Ok(DiskAnswer::Data(Bytes::from(image.read(from..from.saturating_add(*len)))))
            }
            // A snapshot with a hole in it must not get its name.
            DiskOp::SnapshotAppend { .. } | DiskOp::SnapshotFinish { .. }
                if self.snapshot_failed.is_some() =>
            {
                Err(self.snapshot_failed.expect("it was there a line above"))
            }
            DiskOp::SnapshotAppend { .. } => {
                let result = self.run_steps(op);
                self.snapshot_failed = result.as_ref().err().copied();
                result
            }
            DiskOp::SnapshotCreate { .. } => {
                self.snapshot_failed = None;
                self.run_steps(op)
            }
            _ => self.run_steps(op),
        }
    }

    fn run_steps(&mut self, op: &DiskOp) -> Result<DiskAnswer, DiskError> {
        for step in self.steps(op)? {
            self.step(step)?;
        }
        self.after(op);
        Ok(DiskAnswer::Done)
    }

    /// Carries out some beginning of a request, because the process ended in the middle of it.
    pub fn run_partly(&mut self, op: &DiskOp, rng: &mut Rng) {
        let of_snapshot = matches!(op, DiskOp::SnapshotAppend { .. } | DiskOp::SnapshotFinish { .. });
        let refused = of_snapshot && self.snapshot_failed.is_some();
        if refused || matches!(op, DiskOp::List { .. } | DiskOp::Read { .. }) {
            return;
        }
        let Ok(steps) = self.steps(op) else { return };
        let whole = rng.index(steps.len() + 1);
        for (index, step) in steps.into_iter().enumerate() {
            if index < whole {
                if self.step(step).is_err() {
                    return;
                }
            } else if let Step::Write { file, offset, bytes } = step {
                let cut = rng.index(bytes.len() + 1);
                let _ = self.step(Step::Write { file, offset, bytes: bytes.slice(..cut) });
                return;
            } else {
                return;
            }
        }
    }

    /// The process ends; the operating system keeps what it was given.
    pub fn end_process(&mut self) {
        self.log = None;
        self.snapshot = None;
        self.snapshot_failed = None;
    }

    /// The power fails: what was not synced is lost, kept or torn, each name and each write by itself.
    pub fn lose_power(&mut self, rng: &mut Rng, profile: &TearProfile) {
        self.end_process();
        self.durable_changes += 1;
        for change in std::mem::take(&mut self.pending_names) {
            if !rng.chance(profile.lost) {
                apply_name(&mut self.durable_names, change);
            }
        }
        for file in self.files.values_mut() {
            file.lose_power(rng, profile);
        }
        self.names.clone_from(&self.durable_names);
        self.forget_nameless();
    }

    fn steps(&self, op: &DiskOp) -> Result<Vec<Step>, DiskError> {
        Ok(match op {
            DiskOp::LogCreate { file, .. } => vec![Step::Create { file: file.clone(), exclusive: true }],
            DiskOp::LogAppend { bytes, grow_to, sync, .. } => {
                let (dir, log) = self.log.as_ref().expect("nothing is appended before a log was created");
                let file = Target::Open(log.id);
                let mut steps = Vec::with_capacity(4);
                steps.push(log.append(bytes));
                if let Some(len) = *grow_to {
                    steps.push(Step::SetLen { file: file.clone(), len, only_grow: true });
                }
                if *sync {
                    steps.push(Step::SyncFile(file));
                    steps.push(Step::SyncDir(*dir));
                }
                steps
            }
            DiskOp::Truncate { file, size, .. } => {
                let target = Target::Named(file.clone());
                vec![
                    Step::SetLen { file: target.clone(), len: *size, only_grow: false },
                    Step::SyncFile(target),
                    Step::SyncDir(file.dir),
                ]
            }
            DiskOp::Sync { files, .. } => {
                let dirs: BTreeSet<Dir> = files.iter().map(|file| file.dir).collect();
                let syncs = files.iter().map(|file| Step::SyncFile(Target::Named(file.clone())));
                syncs.chain(dirs.into_iter().map(Step::SyncDir)).collect()
            }
            DiskOp::SnapshotCreate { file, .. } => {
                vec![Step::Create { file: temporary(file), exclusive: false }]
            }
            DiskOp::SnapshotAppend { bytes, .. } => {
                let (_, snapshot) = self.snapshot.as_ref().expect("no snapshot was begun");
                vec![snapshot.append(bytes)]
            }
            DiskOp::SnapshotFinish { .. } => {
                let (file, _) = self.snapshot.as_ref().expect("no snapshot was begun");
                publish(file)
            }
            DiskOp::SnapshotDiscard { .. } => match &self.snapshot {
                Some((file, _)) => vec![Step::Unlink(temporary(file))],
                None => Vec::new(),
            },
            DiskOp::Replace { file, bytes, .. } => {
                let mut steps = vec![
                    Step::Create { file: temporary(file), exclusive: false },
                    Step::Write { file: Target::Named(temporary(file)), offset: 0, bytes: bytes.clone() },
                ];
                steps.extend(publish(file));
                steps
            }
            DiskOp::Remove { files, .. } => {
                let dirs: BTreeSet<Dir> = files.iter().map(|file| file.dir).collect();
                let unlinks = files.iter().cloned().map(Step::Unlink);
                unlinks.chain(dirs.into_iter().map(Step::SyncDir)).collect()
            }
            DiskOp::List { .. } | DiskOp::Read { .. } => Vec::new(),
        })
    }

    /// What the process remembers of a request that succeeded.
    fn after(&mut self, op: &DiskOp) {
        match op {
            DiskOp::LogCreate { file, .. } => self.log = Some((file.dir, self.open(file))),
            DiskOp::LogAppend { bytes, .. } => {
                let (_, log) = self.log.as_mut().expect("checked when its steps were made");
                log.end += bytes.len() as u64;
            }
            DiskOp::SnapshotCreate { file, .. } => {
                self.snapshot = Some((file.clone(), self.open(&temporary(file))));
            }
            DiskOp::SnapshotAppend { bytes, .. } => {
                let (_, snapshot) = self.snapshot.as_mut().expect("checked when its steps were made");
                snapshot.end += bytes.len() as u64;
            }
            DiskOp::SnapshotFinish { .. } | DiskOp::SnapshotDiscard { .. } => self.snapshot = None,
            DiskOp::Truncate { .. }
            | DiskOp::Sync { .. }
            | DiskOp::Replace { .. }
            | DiskOp::Remove { .. }
            | DiskOp::List { .. }
            | DiskOp::Read { .. } => {}
        }
    }

    /// A file that was just created, to be appended to.
    fn open(&self, file: &FileName) -> Open {
        Open { id: self.names[file], end: 0 }
    }

    fn step(&mut self, step: Step) -> Result<(), DiskError> {
        match step {
            Step::Create { file, exclusive } => self.create(&file, exclusive),
            Step::Rename { from, to } => {
                let id = self.names.remove(&from).ok_or(DiskError::NotFound)?;
                self.names.insert(to.clone(), id);
                // The new name is linked before the old one goes: a rename never loses the file itself.
                self.pending_names.push(NameChange::Link(to, id));
                self.pending_names.push(NameChange::Unlink(from));
                Ok(())
            }
            Step::SetLen { file, len, only_grow } => {
                let len = usize::try_from(len).expect("simulated files fit the memory");
                let size = self.target_mut(&file)?.image().len();
                if self.is_limited() && len > size && self.used() + (len - size) as u64 > self.capacity {
                    return Err(DiskError::Full);
                }
                if len > size || !only_grow {
                    self.target_mut(&file)?.set_len(len);
                }
                Ok(())
            }
            Step::SyncDir(dir) => {
                match self.sync_mode {
                    SyncMode::Honest => self.sync_dir(dir),
                    SyncMode::Failing => return Err(DiskError::Failed(EIO)),
                    SyncMode::Lying => {}
                }
                Ok(())
            }
            Step::SyncFile(file) => {
                // What is synchronised while it is open is the log.
                self.durable_changes += u64::from(matches!(file, Target::Named(_)));
                let mode = self.sync_mode;
                let content = self.target_mut(&file)?;
                match mode {
                    SyncMode::Honest => content.sync(),
                    SyncMode::Failing => {
                        content.fail_sync();
                        return Err(DiskError::Failed(EIO));
                    }
                    SyncMode::Lying => {}
                }
                self.sync_count += 1;
                Ok(())
            }
            Step::Unlink(file) => {
                if self.names.remove(&file).is_some() {
                    self.pending_names.push(NameChange::Unlink(file));
                }
                Ok(())
            }
            Step::Write { file, offset, bytes } => self.write(&file, offset, &bytes),
        }
    }

    fn create(&mut self, file: &FileName, exclusive: bool) -> Result<(), DiskError> {
        if exclusive && self.names.contains_key(file) {
            return Err(DiskError::Failed(EEXIST));
        }
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, SimFile::default());
        self.names.insert(file.clone(), id);
        self.pending_names.push(NameChange::Link(file.clone(), id));
        Ok(())
    }

    fn write(&mut self, file: &Target, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let offset = usize::try_from(offset).expect("simulated files fit the memory");
        if !self.is_limited() {
            self.target_mut(file)?.write(offset, bytes);
            return Ok(());
        }
        let used = self.used();
        let capacity = self.capacity;
        let content = self.target_mut(file)?;
        let growth = (offset + bytes.len()).saturating_sub(content.image().len()) as u64;
        let room = capacity.saturating_sub(used);
        if growth > room {
            // A full disk takes what fits, as write(2) does.
            let fits = bytes.len() - usize::try_from(growth - room).expect("growth is at most the length");
            content.write(offset, &bytes[..fits]);
            return Err(DiskError::Full);
        }
        content.write(offset, bytes);
        Ok(())
    }

    fn sync_dir(&mut self, dir: Dir) {
        let is_there = |change: &NameChange| match change {
            NameChange::Link(name, _) | NameChange::Unlink(name) => name.dir == dir,
        };
        // With most syncs of a log there is nothing to be done.
        if !self.pending_names.iter().any(is_there) {
            return;
        }
        self.durable_changes += 1;
        let (now, later) = std::mem::take(&mut self.pending_names).into_iter().partition(is_there);
        self.pending_names = later;
        let now: Vec<NameChange> = now;
        let removes = now.iter().any(|change| matches!(change, NameChange::Unlink(_)));
        for change in now {
            apply_name(&mut self.durable_names, change);
        }
        if removes {
            self.forget_nameless();
        }
    }

    /// Gives up the contents that no name leads to, now or after a power failure.
    fn forget_nameless(&mut self) {
        let linked = self.pending_names.iter().filter_map(|change| match change {
            NameChange::Link(_, id) => Some(id),
            NameChange::Unlink(_) => None,
        });
        let mut named: Vec<FileId> =
            self.names.values().chain(self.durable_names.values()).chain(linked).copied().collect();
        named.sort_unstable();
        self.files.retain(|id, _| named.binary_search(id).is_ok());
    }

    fn target_mut(&mut self, target: &Target) -> Result<&mut SimFile, DiskError> {
        match target {
            Target::Named(file) => self.file_mut(file),
            Target::Open(id) => self.files.get_mut(id).ok_or(DiskError::NotFound),
        }
    }

    fn file_mut(&mut self, file: &FileName) -> Result<&mut SimFile, DiskError> {
        let id = self.names.get(file).ok_or(DiskError::NotFound)?;
        Ok(self.files.get_mut(id).expect("a name leads to a file"))
    }
}

fn apply_name(names: &mut BTreeMap<FileName, FileId>, change: NameChange) {
    match change {
        NameChange::Link(name, id) => {
            names.insert(name, id);
        }
        NameChange::Unlink(name) => {
            names.remove(&name);
        }
    }
}

/// Makes the temporary version of a file durable and gives it its name.
fn publish(file: &FileName) -> Vec<Step> {
    vec![
        Step::SyncFile(Target::Named(temporary(file))),
        Step::Rename { from: temporary(file), to: file.clone() },
        Step::SyncDir(file.dir),
    ]
}

/// The name that a file has until it is complete.
pub fn temporary(file: &FileName) -> FileName {
    FileName { dir: file.dir, name: [TEMPORARY_PREFIX, &file.name].concat() }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::Ticket;

    use super::*;
    use crate::seed::Seed;

    const T: Ticket = Ticket(1);
    const ALL_LOST: TearProfile = TearProfile { lost: 1_000_000, torn: 0, scattered: 0, sector: 1 };
    const HALF_LOST: TearProfile = TearProfile { lost: 500_000, torn: 500_000, scattered: 0, sector: 1 };

    fn log(name: &str) -> FileName {
        FileName { dir: Dir::Log, name: name.into() }
    }

    fn append(bytes: &'static [u8], sync: bool) -> DiskOp {
        DiskOp::LogAppend { ticket: T, bytes: Bytes::from_static(bytes), grow_to: Some(64), sync }
    }

    fn names(disk: &Disk) -> Vec<String> {
        disk.files().map(|(file, _)| file.name.clone()).collect()
    }

    #[test]
    fn a_log_is_durable_after_its_first_sync_and_not_before() {
        let mut rng = Seed(1).stream("test", 0);
        let mut disk = Disk::default();
        disk.run(&DiskOp::LogCreate { ticket: T, file: log("log.1") }).unwrap();
        disk.run(&append(b"abc", false)).unwrap();
        let mut early = disk.clone();
        early.lose_power(&mut rng, &ALL_LOST);
        assert!(names(&early).is_empty());
        disk.run(&append(b"def", true)).unwrap();
        disk.lose_power(&mut rng, &ALL_LOST);
        let (_, image) = disk.files().next().unwrap();
        assert_eq!((&image.read(0..7)[..], image.len()), (&b"abcdef\0"[..], 64));
    }

    #[test]
    fn a_replaced_file_is_old_or_new_wherever_the_crash_comes() {
        let mut rng = Seed(2).stream("test", 0);
        let epoch = FileName { dir: Dir::Snapshot, name: "currentEpoch".into() };
        let (mut old, mut new) = (0, 0);
        for _ in 0..300 {
            let mut disk = Disk::default();
            disk.put(epoch.clone(), b"1");
            let op = DiskOp::Replace { ticket: T, file: epoch.clone(), bytes: Bytes::from_static(b"2") };
            disk.run_partly(&op, &mut rng);
            disk.lose_power(&mut rng, &HALF_LOST);
            match disk.files().find(|(file, _)| **file == epoch).expect("never gone").1.to_vec()[..] {
                [b'1'] => old += 1,
                [b'2'] => new += 1,
                ref other => panic!("neither old nor new: {other:?}"),
            }
        }
        assert!(old > 30 && new > 30, "{old} old, {new} new");
    }

    #[test]
    fn a_removed_file_may_come_back_until_its_removal_is_done() {
        let mut rng = Seed(3).stream("test", 0);
        let remove = DiskOp::Remove { ticket: T, files: vec![log("log.1"), log("log.9")] };
        let (mut back, mut gone) = (0, 0);
        for _ in 0..300 {
            let mut disk = Disk::default();
            disk.put(log("log.1"), b"x");
            disk.run_partly(&remove, &mut rng);
            disk.lose_power(&mut rng, &ALL_LOST);
            if names(&disk).is_empty() { gone += 1 } else { back += 1 }
        }
        assert!(back > 30 && gone > 30, "{back} back, {gone} gone");
        let mut disk = Disk::default();
        disk.put(log("log.1"), b"x");
        disk.run(&remove).unwrap();
        assert!(disk.files.is_empty(), "what was removed for good takes memory");
        disk.lose_power(&mut rng, &ALL_LOST);
        assert!(names(&disk).is_empty());
    }

    #[test]
    fn a_killed_process_leaves_no_zeros_before_what_it_appended() {
        let mut rng = Seed(5).stream("test", 0);
        let mut lengths = BTreeSet::new();
        for _ in 0..300 {
            let mut disk = Disk::default();
            disk.run(&DiskOp::LogCreate { ticket: T, file: log("log.1") }).unwrap();
            disk.run_partly(&append(b"abc", true), &mut rng);
            disk.end_process();
            let image = disk.files().next().unwrap().1.to_vec();
            let whole = image.len().min(3);
            assert_eq!(&image[..whole], &b"abc"[..whole]);
            assert!(image[whole..].iter().all(|&byte| byte == 0));
            lengths.insert(image.len());
        }
        assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3, 64]));
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let mut disk = Disk::default();
        disk.set_capacity(4);
        disk.run(&DiskOp::LogCreate { ticket: T, file: log("log.1") }).unwrap();
        let op =
            DiskOp::LogAppend { ticket: T, bytes: Bytes::from_static(b"abcdef"), grow_to: None, sync: true };
        assert_eq!(disk.run(&op), Err(DiskError::Full));
        assert_eq!(disk.files().next().unwrap().1.to_vec(), b"abcd");
    }

    #[test]
    fn a_log_is_not_created_twice() {
        let mut disk = Disk::default();
        disk.put(log("log.1"), b"x");
        let again = DiskOp::LogCreate { ticket: T, file: log("log.1") };
        assert_eq!(disk.run(&again), Err(DiskError::Failed(EEXIST)));
    }

    #[test]
    fn a_lying_sync_promises_and_does_nothing() {
        let mut rng = Seed(4).stream("test", 0);
        let mut disk = Disk::default();
        disk.set_sync_mode(SyncMode::Lying);
        disk.run(&DiskOp::LogCreate { ticket: T, file: log("log.1") }).unwrap();
        disk.run(&append(b"abc", true)).unwrap();
        disk.lose_power(&mut rng, &ALL_LOST);
        assert!(names(&disk).is_empty());
    }
}
