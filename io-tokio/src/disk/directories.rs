//! The two directories of a server, and the lock that keeps every other server out of them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt, fs};

use zabra_core::store::{Dir, FileName};

use super::writers::{Writer, other_writer};

/// The folder inside `dataDir` and `dataLogDir` that carries the format's version.
const VERSION_FOLDER: &str = "version-2";
/// The file that is locked. ZooKeeper ignores it.
const LOCK_FILE: &str = "zabra.lock";

/// The directories of one server, locked for as long as this lives.
#[derive(Debug)]
pub struct Directories {
    log: PathBuf,
    snapshot: PathBuf,
    shared: bool,
    /// Released by the operating system with the process, however it ends.
    _locks: Vec<File>,
}

/// Why the directories cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another server uses one of them.
    Locked {
        /// Which.
        directory: PathBuf,
    },
    /// Another process, which is no Zabra server, writes to one of them.
    Written {
        /// Which.
        directory: PathBuf,
        /// Who it is.
        writer: Writer,
    },
    /// It is not there, and it was said not to create it.
    Missing {
        /// Which.
        directory: PathBuf,
    },
    /// The operating system refused.
    Failed {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { directory } => write!(
                f,
                "{} is in use by another Zabra server (it holds the lock on {LOCK_FILE} there); stop that server or \
                 give this one its own dataDir",
                directory.display()
            ),
            Self::Written { directory, writer: Writer { process, name, file } } => write!(
                f,
                "{} is in use: process {process} ({name}) writes to {}\n\
                 stop it before this server takes the directory over, or give this one its own dataDir: two servers \
                 on one directory lose what they acknowledged",
                directory.display(),
                file.display()
            ),
            Self::Missing { directory } => write!(
                f,
                "{} does not exist, and zookeeper.datadir.autocreate is false; create it or correct dataDir",
                directory.display()
            ),
            Self::Failed { path, error } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot use {}: {error}\n\
                 start the server as the user to whom it belongs, or let this user write there",
                path.display()
            ),
            Self::Failed { path, error } => write!(f, "cannot use {}: {error}", path.display()),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Locked { .. } | Self::Missing { .. } | Self::Written { .. } => None,
        }
    }
}

impl Directories {
    /// Opens `data_dir` and `data_log_dir` (one and the same, where no other is configured), creating them if
    /// `create`, and locks them.
    ///
    /// # Errors
    /// If another server has them locked, if another process is seen to write to them, or the operating system refuses.
    pub fn open(data_dir: &Path, data_log_dir: &Path, create: bool) -> Result<Arc<Self>, OpenError> {
        let snapshot = prepared(data_dir, create)?;
        let log = prepared(data_log_dir, create)?;
        let shared = snapshot == log;
        let mut locks = vec![locked(&snapshot)?];
        if !shared {
            locks.push(locked(&log)?);
        }
        let directories = [&snapshot, &log];
        for &directory in &directories[usize::from(shared)..] {
            if let Some(writer) = other_writer(directory) {
                return Err(OpenError::Written { directory: directory.clone(), writer });
            }
        }
        Ok(Arc::new(Self { log, snapshot, shared, _locks: locks }))
    }

    /// The folder that `dir` stands for.
    pub fn folder(&self, dir: Dir) -> &Path {
        match dir {
            Dir::Log => &self.log,
            Dir::Snapshot => &self.snapshot,
        }
    }

    /// Where the file that says "this empty server may vote" is looked for: next to the log folder, as ZooKeeper
    /// does.
    pub fn initialize_marker(&self) -> PathBuf {
        self.log.with_file_name("initialize")
    }

    /// What the core reports, with the folders' own paths: the core does not know them, and calls them by their keys.
    pub(crate) fn with_paths(&self, report: &impl fmt::Display) -> String {
        let replaced = |text: &str, dir: Dir| {
            let path = self.folder(dir).display().to_string();
            text.replace(dir.name(), &path)
        };
        // One after the other, a path with the other's name in it would be replaced in its turn.
        let report = report.to_string();
        let between: Vec<_> =
            report.split(Dir::Log.name()).map(|part| replaced(part, Dir::Snapshot)).collect();
        between.join(&replaced(Dir::Log.name(), Dir::Log))
    }

    /// Makes what is next to the log folder durable.
    pub(super) fn sync_around(&self) -> io::Result<()> {
        sync_folder(self.log.parent().expect("it has a folder's name"))
    }

    /// Whether both directories are one.
    pub(super) const fn shared(&self) -> bool {
        self.shared
    }

    /// The path of a file.
    ///
    /// # Panics
    /// If its name is not a bare name: the core made it.
    pub(super) fn path(&self, file: &FileName) -> PathBuf {
        let name = Path::new(&file.name);
        assert!(name.file_name() == Some(name.as_os_str()), "not a bare file name: {}", file.name);
        self.folder(file.dir).join(name)
    }

    /// Makes creations, removals and new names in `dir` durable.
    pub(super) fn sync(&self, dir: Dir) -> io::Result<()> {
        sync_folder(self.folder(dir))
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The version folder below `parent`, with links resolved so that two names of one folder are seen to be one.
fn prepared(parent: &Path, create: bool) -> Result<PathBuf, OpenError> {
    let folder = parent.join(VERSION_FOLDER);
    let failed = |error| OpenError::Failed { path: folder.clone(), error };
    if !folder.is_dir() {
        if !create {
            return Err(OpenError::Missing { directory: folder });
        }
        fs::create_dir_all(&folder).map_err(failed)?;
    }
    let folder = folder.canonicalize().map_err(failed)?;
    sync_entries(&folder).map_err(|(path, error)| OpenError::Failed { path, error })?;
    Ok(folder)
}

/// The folder's own entry has to survive a power failure as well, or its content will not, and so have those of the
/// folders around it: this start may have made any of them, or an earlier one that did not come as far as this. Up to
/// where a file system is mounted, and as far as this user may look.
fn sync_entries(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let device = fs::metadata(folder).map_err(failed(folder))?.dev();
    for parent in folder.ancestors().skip(1) {
        match fs::metadata(parent).and_then(|metadata| Ok((metadata.dev() == device, File::open(parent)?))) {
            Ok((true, opened)) => opened.sync_all().map_err(failed(parent))?,
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err((parent.to_owned(), error));
            }
            Ok(_) | Err(_) => break,
        }
    }
    Ok(())
}

fn locked(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| OpenError::Failed { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::Failed { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_cannot_share_a_directory() {
        let root = tempfile::tempdir().expect("a place for tests");
        let logs = root.path().join("logs");
        let first = Directories::open(root.path(), &logs, true).expect("nobody else is here");
        for (data, log) in [(root.path(), root.path()), (logs.as_path(), logs.as_path())] {
            let error = Directories::open(data, log, true).expect_err("it is in use");
            assert!(matches!(error, OpenError::Locked { .. }));
            assert!(error.to_string().contains("in use by another Zabra server"), "{error}");
        }
        drop(first);
        let again = Directories::open(root.path(), root.path(), true).expect("the lock went with its owner");
        assert!(again.shared());
        assert_eq!(
            again.initialize_marker(),
            root.path().canonicalize().expect("it exists").join("initialize")
        );
    }

    #[test]
    fn cfg_datadir_autocreate_off_means_a_missing_directory_is_an_error() {
        let root = tempfile::tempdir().expect("a place for tests");
        let missing = root.path().join("missing");
        let error = Directories::open(&missing, &missing, false).expect_err("it is not there");
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
        assert!(!missing.exists());
        Directories::open(&missing, &missing, true).expect("it may be created");
        assert!(missing.join("version-2").is_dir());
    }

    #[test]
    fn reports_have_the_paths_that_there_are() {
        let root = tempfile::tempdir().expect("a place for tests");
        let root = root.path().canonicalize().expect("it exists");
        // Of all names the worst.
        let (data, logs) = (root.join("dataLogDir"), root.join("dataDir"));
        let directories = Directories::open(&data, &logs, true).expect("fresh directories");
        let log = FileName { dir: Dir::Log, name: "log.1".to_owned() };
        let snapshot = FileName { dir: Dir::Snapshot, name: "snapshot.0".to_owned() };
        let text = directories.with_paths(&format!("{snapshot} and {log}, of dataDir: {snapshot}"));
        let (log, snapshot) = (directories.path(&log), directories.path(&snapshot));
        let (log, snapshot) = (log.display(), snapshot.display());
        assert_eq!(text, format!("{snapshot} and {log}, of dataDir: {snapshot}"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
        let root = tempfile::tempdir().expect("a place for tests");
        let file = root.path().join("file");
        fs::write(&file, "").expect("written");
        let error = Directories::open(&file, &file, true).expect_err("a file is in the way");
        assert!(error.to_string().contains("file/version-2"), "{error}");
    }

    #[test]
    #[should_panic(expected = "not a bare file name")]
    fn no_name_leads_out_of_the_directory() {
        let root = tempfile::tempdir().expect("a place for tests");
        let directories = Directories::open(root.path(), root.path(), true).expect("a fresh directory");
        directories.path(&FileName { dir: Dir::Log, name: "../log.1".to_owned() });
    }
}
