//! Reads the epoch files of a member of an ensemble, and brings them in line with the data.
//!
//! They are read before anything else and checked at the end, when the last transaction is known. What is to be written
//! is written behind all other repairs: the epochs then speak of data that are as they say.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::repair::Repair;
use super::report::RecoveryError;
use crate::store::epochs::{
    self, ACCEPTED_EPOCH, CURRENT_EPOCH, CURRENT_EPOCH_TEMPORARY, Epochs, FoundEpochs, epoch_file,
};
use crate::store::{DiskAnswer, DiskDone, DiskOp, Inventory, Tickets};
use crate::types::Zxid;

/// No epoch file is longer: a number of 64 bits and the end of its line.
const EPOCH_FILE_MAX: usize = 64;

/// Reads the epoch files that there are.
#[derive(Debug, Default)]
pub(super) struct EpochReads {
    /// Whether this server has epochs at all.
    wanted: bool,
    left: VecDeque<&'static str>,
    asked: bool,
    found: FoundEpochs,
}

impl EpochReads {
    /// Begins with what was listed.
    pub(super) fn new(inventory: &Inventory) -> Self {
        let names = [ACCEPTED_EPOCH, CURRENT_EPOCH, CURRENT_EPOCH_TEMPORARY];
        let left = names.into_iter().filter(|name| inventory.contains(&epoch_file(name))).collect();
        Self { wanted: true, left, ..Self::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        let name = self.left.front().filter(|_| !self.asked)?;
        self.asked = true;
        // One byte more than there may be, to see that there is more.
        let (ticket, len) = (tickets.issue(), EPOCH_FILE_MAX + 1);
        Some(DiskOp::Read { ticket, file: epoch_file(name), offset: 0, len })
    }

    pub(super) fn on_done(&mut self, done: DiskDone) -> Result<(), RecoveryError> {
        let name = self.left.pop_front().expect("a completion belongs to a read");
        self.asked = false;
        let file = epoch_file(name);
        let bytes = match done.result {
            Ok(DiskAnswer::Data(bytes)) => bytes,
            Ok(DiskAnswer::Done | DiskAnswer::Listing(_)) => panic!("a read is answered with bytes"),
            Err(error) => return Err(RecoveryError::Disk { file: Some(file), error }),
        };
        let epoch = epochs::decode(&bytes).filter(|_| bytes.len() <= EPOCH_FILE_MAX);
        let found = match name {
            ACCEPTED_EPOCH => &mut self.found.accepted,
            CURRENT_EPOCH => &mut self.found.current,
            // ZooKeeper may have stopped while it was writing this one; it then holds nothing that counts.
            _ => {
                self.found.current_temporary = epoch;
                return Ok(());
            }
        };
        *found = Some(epoch.ok_or(RecoveryError::GarbledEpoch { file })?);
        Ok(())
    }

    /// The epochs to go on with behind `last_zxid`, if this server has any. `damaged`: there was more once, so that
    /// what it promised does not follow from what there is.
    pub(super) fn check(&self, last_zxid: Zxid, damaged: bool) -> Result<Option<Epochs>, RecoveryError> {
        if !self.wanted {
            return Ok(None);
        }
        if damaged && self.found.accepted.is_none() {
            return Err(RecoveryError::GarbledEpoch { file: epoch_file(ACCEPTED_EPOCH) });
        }
        epochs::check(self.found, last_zxid).map(Some).map_err(RecoveryError::Epochs)
    }
}

/// What is to be written. The promise first: it must never be behind the history.
pub(super) fn writes(epochs: &Epochs) -> impl Iterator<Item = Repair> {
    let accepted = epochs.write_accepted.then_some((ACCEPTED_EPOCH, epochs.accepted));
    let current = epochs.write_current.then_some((CURRENT_EPOCH, epochs.current));
    let write = |(name, epoch)| Repair::Write(epoch_file(name), Bytes::from(epochs::encode(epoch)));
    accepted.into_iter().chain(current).map(write)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::super::test_disk::{History, TestDisk};
    use super::*;
    use crate::config::{Config, EnsembleConfig};
    use crate::store::DiskError;
    use crate::store::epochs::{EpochError, UNSYNCED};
    use crate::store::inventory::log_name;
    use crate::types::Membership;

    /// Epoch files and what is in them.
    type Files = &'static [(&'static str, &'static [u8])];

    const TOO_LONG: [u8; 100] = [b'1'; 100];

    fn config() -> Config {
        let ensemble = EnsembleConfig::new(Membership::majority(0, BTreeMap::new()));
        Config { ensemble: Some(ensemble), ..Config::default() }
    }

    /// A disk whose last transaction is the second of epoch 2.
    fn disk(files: &[(&str, &[u8])]) -> TestDisk {
        let mut history = History::new(&config());
        let (snapshot, bytes) = history.snapshot();
        history.next = Zxid::new(2, 1);
        let (first, log, _) = history.log(2);
        let mut disk = TestDisk::default().put(snapshot, bytes).put(log_name(first), log);
        for (name, content) in files {
            disk.files.insert(epoch_file(name), content.to_vec());
        }
        disk
    }

    /// PARITY `disk.epochs`: what is missing is derived from the data and written, with a crash at every point.
    #[test]
    fn disk_epochs_are_read_and_what_is_missing_is_written() {
        let table: [(Files, i64, i64); 6] = [
            (&[], 2, 2),
            (&[(ACCEPTED_EPOCH, b"5")], 5, 2),
            (&[(ACCEPTED_EPOCH, b"5\n"), (CURRENT_EPOCH, b"4")], 5, 4),
            (&[(ACCEPTED_EPOCH, b"3"), (CURRENT_EPOCH, b"1"), (CURRENT_EPOCH_TEMPORARY, b"2")], 3, 2),
            (&[(ACCEPTED_EPOCH, b"3"), (CURRENT_EPOCH, b"2"), (CURRENT_EPOCH_TEMPORARY, b"")], 3, 2),
            (&[(CURRENT_EPOCH, b"2")], 2, 2),
        ];
        for (files, accepted, current) in table {
            for changes in 0..5 {
                let mut disk = disk(files);
                disk.changes_left = Some(changes);
                let outcome = disk.recover(&config());
                disk.changes_left = None;
                if let Err(error) = outcome {
                    assert!(changes < 4, "{error}");
                }
                let epochs =
                    disk.recover(&config()).expect("it goes on").epochs.expect("a member has epochs");
                assert_eq!((epochs.accepted, epochs.current), (accepted, current), "{files:?}");
                let content =
                    |name| disk.files.get(&epoch_file(name)).and_then(|bytes| epochs::decode(bytes));
                assert_eq!(
                    (content(ACCEPTED_EPOCH), content(CURRENT_EPOCH)),
                    (Some(accepted), Some(current))
                );
                let again =
                    disk.recover(&config()).expect("nothing is left to do").epochs.expect("as before");
                assert!(!again.write_accepted && !again.write_current);
            }
        }
    }

    /// PARITY `disk.epochs.check`.
    #[test]
    fn disk_epochs_check_refuses_what_does_not_fit_and_changes_nothing() {
        let behind_data = EpochError::CurrentBehindData { current: 1, last_zxid: Zxid::new(2, 2) };
        let behind_current = EpochError::AcceptedBehindCurrent { accepted: 2, current: 3 };
        let garbled = |name| RecoveryError::GarbledEpoch { file: epoch_file(name) };
        let table: [(Files, RecoveryError); 6] = [
            (&[(ACCEPTED_EPOCH, b"1"), (CURRENT_EPOCH, b"1")], RecoveryError::Epochs(behind_data)),
            (&[(ACCEPTED_EPOCH, b"2"), (CURRENT_EPOCH, b"3")], RecoveryError::Epochs(behind_current)),
            (&[(ACCEPTED_EPOCH, b"two"), (CURRENT_EPOCH, b"2")], garbled(ACCEPTED_EPOCH)),
            (&[(ACCEPTED_EPOCH, b"2"), (CURRENT_EPOCH, b"")], garbled(CURRENT_EPOCH)),
            (&[(CURRENT_EPOCH, &TOO_LONG)], garbled(CURRENT_EPOCH)),
            (&[(ACCEPTED_EPOCH, b"2\0\0\0")], garbled(ACCEPTED_EPOCH)),
        ];
        for (files, expected) in table {
            let mut disk = disk(files);
            let before = disk.files.clone();
            let error = disk.recover(&config()).expect_err("they do not fit");
            assert_eq!(error, expected);
            assert_eq!(disk.files, before);
            assert!(error.to_string().contains("Epoch"), "{error}");
            // A standalone server does not care.
            assert_eq!(disk.recover(&Config::default()).expect("all is well").epochs, None);
        }
        let mut disk = disk(&[(ACCEPTED_EPOCH, b"2")]);
        let (file, error) = (epoch_file(ACCEPTED_EPOCH), DiskError::Failed(5));
        disk.unreadable.insert(file.clone(), error);
        assert_eq!(
            disk.recover(&config()).expect_err("unreadable"),
            RecoveryError::Disk { file: Some(file), error }
        );
    }

    /// PARITY `disk.load.empty`, `fle.zxid-1`: without leave to begin a database, a member of an ensemble starts with
    /// nothing and waits for a leader, as often as it is started.
    #[test]
    fn disk_load_empty_without_leave_is_unsynced() {
        let forbidding = Config { db_autocreate: false, ..config() };
        let mut disk = TestDisk::default();
        for _ in 0..2 {
            let recovered = disk.recover(&forbidding).expect("a leader will bring it up");
            assert!(recovered.unsynced);
            assert_eq!((recovered.last_zxid, recovered.tree.last_zxid()), (Zxid::ZERO, Zxid::ZERO));
            assert_eq!((recovered.replayed_txns, recovered.inventory.snapshots().len()), (0, 0));
            let names: Vec<_> = disk.files.keys().map(|file| file.name.as_str()).collect();
            assert_eq!(names, [ACCEPTED_EPOCH, CURRENT_EPOCH, UNSYNCED], "nothing else is begun");
        }
        let recovered = disk.recover_initialized(&forbidding, true).expect("a new database");
        assert!(!recovered.unsynced);
        assert_eq!(recovered.inventory.snapshots().len(), 1);
    }

    /// Between two roles the epochs are in memory, and are not looked at.
    #[test]
    fn rewinding_leaves_the_epochs_alone() {
        let mut disk = disk(&[(ACCEPTED_EPOCH, b"nonsense")]);
        let rewound = disk.rewind(&config(), Zxid::new(2, 1)).expect("it is there");
        assert_eq!(rewound.epochs, None);
        assert_eq!(disk.files[&epoch_file(ACCEPTED_EPOCH)], b"nonsense");
    }
}
