//! Recovery at start-up, run to its end on the calling thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::{error, fmt, fs, io};

use zabra_core::config::Config;
use zabra_core::recovery::{Recovered, Recovery, RecoveryError};
use zabra_core::store::DiskDone;

use super::directories::Directories;
use super::{Disk, Shredder};

/// Why a server's data could not be recovered.
#[derive(Debug)]
pub enum RecoverError {
    /// What was found on the disk.
    Found {
        /// What it is.
        error: Box<RecoveryError>,
        /// The same in words, with the paths of the files.
        message: String,
    },
    /// The file that permits a new database has served, and stays.
    Marker {
        /// Which file.
        path: PathBuf,
        /// Why it cannot be removed.
        error: io::Error,
    },
    /// It was removed, and may be there again after a power failure.
    MarkerRemoved {
        /// Which file.
        path: PathBuf,
        /// Why the folder it was in cannot be synced.
        error: io::Error,
    },
    /// There are no threads for the disk.
    Threads(io::Error),
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { message, .. } => f.write_str(message),
            Self::Marker { path, error } => write!(
                f,
                "cannot remove {}: {error}\n\
                 it permits this server to begin without data, and would do so again after a loss: remove it, or let \
                 the server's user write where it is, and start the server again",
                path.display()
            ),
            Self::MarkerRemoved { path, error } => write!(
                f,
                "removed {}, but cannot sync the folder it was in: {error}\n\
                 after a power failure it may be there again, and permit this server to begin without data after a loss: \
                 check the disk, see that it is gone, and start the server again",
                path.display()
            ),
            Self::Threads(error) => write!(f, "cannot start the threads of the disk: {error}"),
        }
    }
}

impl error::Error for RecoverError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Found { error, .. } => Some(error),
            Self::Marker { error, .. } | Self::MarkerRemoved { error, .. } | Self::Threads(error) => {
                Some(error)
            }
        }
    }
}

/// Runs [`Recovery`] against real directories until it has an outcome. Blocks. `hash_seed` comes from the operating
/// system's entropy.
///
/// # Errors
/// If the data cannot be recovered, or the disk does not answer.
pub fn recover(
    directories: &Arc<Directories>,
    shredder: &Arc<Shredder>,
    config: &Config,
    hash_seed: [u64; 4],
) -> Result<Recovered, RecoverError> {
    let marker = directories.initialize_marker();
    let (done_in, done) = channel();
    let on_done = move |done: DiskDone| {
        // Reads ahead may end when the outcome is there and nobody listens any more.
        let _ = done_in.send(done);
    };
    let disk = Disk::start(directories, shredder, on_done).map_err(RecoverError::Threads)?;
    let mut recovery = Recovery::new(config, hash_seed, marker.exists());
    let recovered = loop {
        while let Some(op) = recovery.poll_op() {
            disk.submit(op);
        }
        if let Some(outcome) = recovery.poll_outcome() {
            break outcome.map_err(|error| {
                let message = directories.with_paths(&error);
                RecoverError::Found { error: Box::new(error), message }
            })?;
        }
        recovery.on_done(done.recv().expect("the disk outlives the loop, and recovery waits for something"));
    };
    // Only now: the new database that the marker permits is durable.
    remove_marker(marker, || directories.sync_around())?;
    Ok(recovered)
}

/// The marker is to permit no other database, not even after a power failure.
fn remove_marker(marker: PathBuf, sync: impl FnOnce() -> io::Result<()>) -> Result<(), RecoverError> {
    match fs::remove_file(&marker) {
        Ok(()) => sync().map_err(|error| RecoverError::MarkerRemoved { path: marker, error }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RecoverError::Marker { path: marker, error }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use zabra_core::recovery::Notice;
    use zabra_core::store::{LogWriter, Tickets};
    use zabra_core::time::WallTime;
    use zabra_core::types::{AclList, CreateTxn, NodeKind, OpCode, SessionId, Txn, TxnHeader, Zxid};
    use zabra_core::wire::record::FileHeader;
    use zabra_core::wire::{record, txn};

    use super::*;

    const SEED: [u64; 4] = [1, 2, 3, 4];

    fn shredder() -> Arc<Shredder> {
        Arc::new(Shredder::start().expect("a thread"))
    }

    fn open(root: &Path) -> Arc<Directories> {
        Directories::open(root, root, true).expect("nobody else is here")
    }

    /// Appends `count` creations behind `last` with the real log writer and the real disk.
    fn write_log(directories: &Arc<Directories>, config: &Config, last: Zxid, count: i64) {
        let mut header = Vec::new();
        FileHeader::LOG.encode(&mut header);
        let mut log = LogWriter::new(config, Bytes::from(header), last);
        let mut tickets = Tickets::default();
        let (done_in, done) = channel();
        let disk =
            Disk::start(directories, &shredder(), move |done| done_in.send(done).expect("the test listens"))
                .expect("threads");
        for number in 1..=count {
            let zxid = Zxid(last.0 + number);
            let header =
                TxnHeader { session: SessionId::NONE, cxid: 0, zxid, time: WallTime(1), op: OpCode::CREATE };
            let create = Txn::Create(CreateTxn {
                path: format!("/node{:016x}", zxid.0).into(),
                data: Some(vec![b'x'; 100].into()),
                acl: AclList::OpenUnsafe,
                kind: NodeKind::Persistent,
                parent_cversion: -1,
            });
            log.append(zxid, true, |out, batch| {
                record::append(out, |out| txn::encode_logged(&header, &create, None, batch, out));
            });
            if number % 1000 == 0 || number == count {
                while let Some(op) = log.poll_op(&mut tickets) {
                    disk.submit(op);
                    log.on_done(&done.recv().expect("an answer")).expect("the disk works");
                }
            }
        }
        assert_eq!(log.durable(), Zxid(last.0 + count));
    }

    /// A folder is no file that could be removed, whoever tries.
    #[test]
    fn a_marker_that_stays_is_named_with_what_to_do() {
        let root = tempfile::tempdir().expect("a place for tests");
        let marker = root.path().join("initialize");
        fs::create_dir(&marker).expect("made");
        let error = recover(&open(root.path()), &shredder(), &Config::default(), SEED)
            .expect_err("it cannot be removed");
        let text = error.to_string();
        let (what, act) = text.split_once('\n').expect("two lines");
        assert!(what.starts_with(&format!("cannot remove {}: ", marker.display())), "{what}");
        assert!(act.ends_with("and start the server again"), "{act}");
        fs::remove_dir(&marker).expect("removed");
        recover(&open(root.path()), &shredder(), &Config::default(), SEED)
            .expect("the database that was begun");
    }

    /// The disk failed between the two: nobody is sent to remove what is gone.
    #[test]
    fn a_marker_that_may_come_back_is_not_said_to_stay() {
        let root = tempfile::tempdir().expect("a place for tests");
        let marker = root.path().join("initialize");
        let fail = |kind: io::ErrorKind| move || Err(io::Error::from(kind));
        // Whatever the folder says: it is not the file that is not found.
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::NotFound] {
            fs::write(&marker, "").expect("written");
            let error = remove_marker(marker.clone(), fail(kind)).expect_err("not durable");
            assert!(matches!(error, RecoverError::MarkerRemoved { .. }), "{error:?}");
            let text = error.to_string();
            let (what, act) = text.split_once('\n').expect("two lines");
            assert!(what.starts_with(&format!("removed {}, but cannot sync ", marker.display())), "{what}");
            assert!(act.ends_with("and start the server again"), "{act}");
            assert!(!marker.exists());
        }
        remove_marker(marker, fail(io::ErrorKind::StorageFull)).expect("there is none: nothing to sync");
    }

    #[test]
    fn a_directory_is_begun_written_to_and_recovered() {
        let root = tempfile::tempdir().expect("a place for tests");
        let config = Config { db_autocreate: false, ..Config::default() };
        let directories = open(root.path());
        let error = recover(&directories, &shredder(), &config, SEED)
            .expect_err("nothing says that this is a new database");
        assert!(
            matches!(&error, RecoverError::Found { error, .. } if **error == RecoveryError::Empty),
            "{error}"
        );
        fs::write(root.path().join("initialize"), "").expect("written");
        let recovered = recover(&directories, &shredder(), &config, SEED).expect("a new database");
        assert!(recovered.report.contains(&Notice::FreshDatabase));
        assert!(!root.path().join("initialize").exists());
        write_log(&directories, &config, recovered.last_zxid, 1234);
        let recovered = recover(&directories, &shredder(), &config, SEED).expect("what was written");
        assert_eq!(recovered.last_zxid, Zxid(1234));
        assert_eq!(recovered.tree.node_count(), 1234 + 5);
        write_log(&directories, &config, recovered.last_zxid, 10);
        assert_eq!(
            recover(&directories, &shredder(), &config, SEED).expect("both files").last_zxid,
            Zxid(1244)
        );
    }
}
