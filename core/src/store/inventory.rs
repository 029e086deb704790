//! Which files there are, by name: logs, snapshots, strangers.
//!
//! A log file is called `log.<hex zxid of its first transaction>`, a snapshot `snapshot.<hex zxid>`, with `.gz` or
//! `.snappy` behind it when compressed. Everything else is a stranger: never read, never removed. ZooKeeper is
//! laxer with a further suffix: it takes `log.5.bak` for a log file beginning at 5. Whoever renames a file wants it
//! left alone, and a gap that this leaves is found in recovery, so such a file is a stranger here.

use alloc::format;
use alloc::vec::Vec;

use super::op::{Dir, DirEntry, FileName};
use crate::types::{Compression, Zxid};

/// What the name of a file that is being written begins with. ZooKeeper ignores such names, and so does
/// everything here but the clean-up at start.
pub const TEMPORARY_PREFIX: &str = "tmp.";

const LOG_PREFIX: &str = "log";
const SNAPSHOT_PREFIX: &str = "snapshot";

/// The log file whose first transaction is `zxid`.
pub fn log_name(zxid: Zxid) -> FileName {
    FileName { dir: Dir::Log, name: format!("{LOG_PREFIX}.{zxid:x}") }
}

/// The snapshot that holds everything up to `zxid`, compressed so.
pub fn compressed_snapshot_name(zxid: Zxid, compression: Compression) -> FileName {
    let FileName { dir, name } = snapshot_name(zxid);
    FileName { dir, name: name + compression.ending() }
}

/// The uncompressed snapshot that holds everything up to `zxid`.
pub fn snapshot_name(zxid: Zxid) -> FileName {
    FileName { dir: Dir::Snapshot, name: format!("{SNAPSHOT_PREFIX}.{zxid:x}") }
}

/// The zxid in a file name, by ZooKeeper's rule (`Util.getZxidFromName`): the name is split at dots, the first
/// part is `prefix`, the second a signed 64-bit number in hex; what follows does not matter.
pub fn zxid_from_name(name: &str, prefix: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    i64::from_str_radix(parts.next()?, 16).ok().map(Zxid)
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// Its first transaction, going by the name.
    pub zxid: Zxid,
    /// Which file.
    pub file: FileName,
    /// Its bytes, preallocation included.
    pub size: u64,
}

/// A snapshot file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotFile {
    /// Up to which transaction it holds everything, going by the name.
    pub zxid: Zxid,
    /// How it is compressed.
    pub encoding: Compression,
    /// Which file.
    pub file: FileName,
    /// Its bytes.
    pub size: u64,
    /// Whether it is known to be written to its end. ZooKeeper writes snapshots in place, so a crash leaves half
    /// of one; those must not count when deciding which older ones can go.
    pub complete: bool,
}

/// The files of both directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By first transaction, oldest first.
    logs: Vec<LogFile>,
    /// By zxid, oldest first.
    snapshots: Vec<SnapshotFile>,
    /// Everything else; only their sizes matter, and whether they are left over from a crash.
    strangers: Vec<DirEntry>,
}

impl Inventory {
    /// Sorts a listing out.
    pub fn new(entries: Vec<DirEntry>) -> Self {
        let mut inventory = Self::default();
        for entry in entries {
            inventory.add(entry);
        }
        inventory
    }

    /// Adds a file, or a new size of one that is known. A snapshot is added as not complete.
    pub fn add(&mut self, DirEntry { file, size }: DirEntry) {
        self.remove(&file);
        if let Some(zxid) = log_zxid(&file.name) {
            let log = LogFile { zxid, file, size };
            let at = self.logs.partition_point(|other| other < &log);
            self.logs.insert(at, log);
        } else if let Some((zxid, encoding)) = snapshot_zxid(&file.name) {
            let snapshot = SnapshotFile { zxid, encoding, file, size, complete: false };
            let at = self.snapshots.partition_point(|other| other < &snapshot);
            self.snapshots.insert(at, snapshot);
        } else {
            self.strangers.push(DirEntry { file, size });
        }
    }

    /// The newest log file is complete, and has this size. One that was found at start-up has its size already.
    pub fn end_log(&mut self, size: u64) {
        if let Some(log) = self.logs.last_mut().filter(|log| log.size == 0) {
            log.size = size;
        }
    }

    /// Forgets a file.
    pub fn remove(&mut self, file: &FileName) {
        self.logs.retain(|log| log.file != *file);
        self.snapshots.retain(|snapshot| snapshot.file != *file);
        self.strangers.retain(|stranger| stranger.file != *file);
    }

    /// Says whether a snapshot is known to be written to its end.
    pub fn mark_complete(&mut self, file: &FileName, complete: bool) {
        for snapshot in &mut self.snapshots {
            if snapshot.file == *file {
                snapshot.complete = complete;
            }
        }
    }

    /// Log files, oldest first.
    pub fn logs(&self) -> &[LogFile] {
        &self.logs
    }

    /// Snapshots, oldest first.
    pub fn snapshots(&self) -> &[SnapshotFile] {
        &self.snapshots
    }

    /// A file called like a log outside the log directory, or like a snapshot outside the snapshot directory:
    /// a sign that `dataDir` and `dataLogDir` were mixed up (ZOOKEEPER-2967).
    pub fn misplaced(&self) -> Option<&FileName> {
        let logs = self.logs.iter().map(|log| &log.file).filter(|file| file.dir != Dir::Log);
        let snapshots = self.snapshots.iter().map(|snapshot| &snapshot.file);
        logs.chain(snapshots.filter(|file| file.dir != Dir::Snapshot)).next()
    }

    /// Files that a crash left half-written under a temporary name.
    pub fn temporaries(&self) -> impl Iterator<Item = &FileName> {
        let files = self.strangers.iter().map(|stranger| &stranger.file);
        files.filter(|file| file.name.starts_with(TEMPORARY_PREFIX))
    }

    /// Whether there is a file of this name.
    pub fn contains(&self, file: &FileName) -> bool {
        self.logs.iter().any(|log| log.file == *file)
            || self.snapshots.iter().any(|snapshot| snapshot.file == *file)
            || self.strangers.iter().any(|stranger| stranger.file == *file)
    }

    /// Bytes of all files of a directory, for `conf` and `dirs`.
    pub fn size(&self, dir: Dir) -> u64 {
        let logs = self.logs.iter().map(|log| (log.file.dir, log.size));
        let snapshots = self.snapshots.iter().map(|snapshot| (snapshot.file.dir, snapshot.size));
        let strangers = self.strangers.iter().map(|stranger| (stranger.file.dir, stranger.size));
        logs.chain(snapshots).chain(strangers).filter(|(of, _)| *of == dir).map(|(_, size)| size).sum()
    }

    /// The log files that can hold transactions after `zxid`: the last one that begins at or before it, and all
    /// after that.
    pub fn logs_from(&self, zxid: Zxid) -> &[LogFile] {
        let after = self.logs.partition_point(|log| log.zxid <= zxid);
        let Some(last_before) = after.checked_sub(1) else { return &self.logs };
        let first = self.logs[last_before].zxid;
        &self.logs[self.logs.partition_point(|log| log.zxid < first)..]
    }

    /// Which files can go when the `keep` newest complete snapshots and every log that the oldest of these needs
    /// stay (`PurgeTxnLog`). Snapshots come first and old ones before younger ones, so that a crash half-way
    /// leaves no snapshot without its logs.
    ///
    /// # Panics
    /// If `keep` is less than 3.
    pub fn purgeable(&self, keep: usize) -> Vec<FileName> {
        assert!(keep >= 3, "at least 3 snapshots are kept");
        let complete = self.snapshots.iter().rev().filter(|snapshot| snapshot.complete);
        let Some(oldest) = complete.take(keep).last() else { return Vec::new() };
        let needed = self.logs_from(oldest.zxid).first().map(|log| log.zxid);
        let snapshots = self.snapshots.iter().filter(|snapshot| snapshot.zxid < oldest.zxid);
        let logs = self.logs.iter().filter(|log| log.zxid < oldest.zxid && Some(log.zxid) < needed);
        let mut files: Vec<FileName> = snapshots.map(|snapshot| snapshot.file.clone()).collect();
        files.extend(logs.map(|log| log.file.clone()));
        files
    }
}

fn log_zxid(name: &str) -> Option<Zxid> {
    let zxid = zxid_from_name(name, LOG_PREFIX)?;
    (zxid >= Zxid::ZERO && name.split('.').count() == 2).then_some(zxid)
}

fn snapshot_zxid(name: &str) -> Option<(Zxid, Compression)> {
    let zxid = zxid_from_name(name, SNAPSHOT_PREFIX)?;
    let mut suffixes = name.split('.').skip(2);
    let encoding = match (suffixes.next(), suffixes.next()) {
        (None, None) => Compression::None,
        (Some("gz"), None) => Compression::Gzip,
        (Some("snappy"), None) => Compression::Snappy,
        (Some(_) | None, _) => return None,
    };
    (zxid >= Zxid::ZERO).then_some((zxid, encoding))
}

/// A directory listing out of names, all of one size, sorted into the directory each belongs to.
#[cfg(test)]
pub(crate) fn listing(names: &[&str], size: u64) -> Vec<DirEntry> {
    let entry = |name: &&str| {
        let dir = if name.starts_with("log.") { Dir::Log } else { Dir::Snapshot };
        DirEntry { file: FileName { dir, name: (*name).into() }, size }
    };
    names.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn disk_log_name_and_disk_snap_name_are_bare_lower_case_hex() {
        assert_eq!(log_name(Zxid::new(1, 0xab)).name, "log.1000000ab");
        assert_eq!(snapshot_name(Zxid::ZERO).name, "snapshot.0");
    }

    #[test]
    fn disk_windows_case_names_parse_as_in_java() {
        let table: [(&str, Option<i64>); 12] = [
            ("log.1a", Some(0x1a)),
            ("log.1A", Some(0x1a)),
            ("log.+1a", Some(0x1a)),
            ("log.-1a", Some(-0x1a)),
            ("log.1a.bak", Some(0x1a)),
            ("log.7fffffffffffffff", Some(i64::MAX)),
            ("log.8000000000000000", None),
            ("log.", None),
            ("log", None),
            ("log.0x1", None),
            ("Log.1", None),
            ("snapshot.1", None),
        ];
        for (name, expected) in table {
            assert_eq!(zxid_from_name(name, "log"), expected.map(Zxid), "{name}");
        }
    }

    #[test]
    fn strangers_are_left_alone() {
        let names =
            ["log.5.bak", "log.-1", "log.x", "snapshot.5.tmp", "snapshot.5.gz.old", "acceptedEpoch", "Log.1"];
        let inventory = Inventory::new(listing(&names, 1));
        assert!(inventory.logs().is_empty());
        assert!(inventory.snapshots().is_empty());
        assert_eq!(inventory.temporaries().count(), 0);
        assert_eq!(inventory.size(Dir::Log) + inventory.size(Dir::Snapshot), names.len() as u64);
        assert!(inventory.purgeable(3).is_empty());
    }

    #[test]
    fn disk_snap_compress_is_said_by_the_name() {
        let inventory = Inventory::new(listing(&["snapshot.a.gz", "snapshot.9.snappy", "snapshot.b"], 7));
        let found: Vec<_> =
            inventory.snapshots().iter().map(|found| (found.zxid.0, found.encoding)).collect();
        assert_eq!(found, [(9, Compression::Snappy), (10, Compression::Gzip), (11, Compression::None)]);
        assert_eq!(inventory.size(Dir::Snapshot), 21);
        assert_eq!(inventory.size(Dir::Log), 0);
    }

    #[test]
    fn disk_dircheck_a_misplaced_file_is_found() {
        let mut entries = listing(&["log.1", "snapshot.0"], 1);
        assert_eq!(Inventory::new(entries.clone()).misplaced(), None);
        entries[0].file.dir = Dir::Snapshot;
        let inventory = Inventory::new(entries.clone());
        assert_eq!(inventory.misplaced().map(|file| file.name.as_str()), Some("log.1"));
        entries[0].file.dir = Dir::Log;
        entries[1].file.dir = Dir::Log;
        let inventory = Inventory::new(entries);
        assert_eq!(inventory.misplaced().map(|file| file.name.as_str()), Some("snapshot.0"));
    }

    #[test]
    fn a_file_is_added_once_and_can_be_forgotten() {
        let mut inventory = Inventory::new(listing(&["log.1"], 10));
        inventory.add(DirEntry { file: log_name(Zxid(1)), size: 30 });
        assert_eq!(inventory.size(Dir::Log), 30);
        assert!(inventory.contains(&log_name(Zxid(1))));
        inventory.remove(&log_name(Zxid(1)));
        assert!(!inventory.contains(&log_name(Zxid(1))));
        assert_eq!(inventory, Inventory::default());
    }

    #[test]
    fn logs_from_begins_with_the_file_that_may_hold_the_next_transaction() {
        let inventory = Inventory::new(listing(&["log.1", "log.5", "log.9"], 1));
        let first = |zxid| inventory.logs_from(Zxid(zxid)).first().map(|log| log.zxid.0);
        assert_eq!(first(0), Some(1));
        assert_eq!(first(1), Some(1));
        assert_eq!(first(4), Some(1));
        assert_eq!(first(5), Some(5));
        assert_eq!(first(100), Some(9));
        assert!(Inventory::default().logs_from(Zxid(3)).is_empty());
    }

    /// The rule of PurgeTxnLog, told naively.
    fn purge_naive(logs: &[i64], snapshots: &[(i64, bool)], keep: usize) -> Vec<String> {
        let mut complete: Vec<i64> = snapshots.iter().filter(|found| found.1).map(|found| found.0).collect();
        complete.sort_unstable_by(|a, b| b.cmp(a));
        complete.truncate(keep);
        let Some(&least) = complete.last() else { return Vec::new() };
        let needed = logs.iter().copied().filter(|zxid| *zxid <= least).max().unwrap_or(0);
        let mut gone = Vec::new();
        gone.extend(
            snapshots.iter().filter(|found| found.0 < least).map(|found| format!("snapshot.{:x}", found.0)),
        );
        gone.extend(
            logs.iter().filter(|zxid| **zxid < least && **zxid < needed).map(|zxid| format!("log.{zxid:x}")),
        );
        gone
    }

    #[test]
    fn disk_purge_keeps_what_the_kept_snapshots_need() {
        // Every subset of six snapshots, each complete or not, against every subset of five log files.
        for set in 0..3_u32.pow(6) {
            for log_set in 0..32_u32 {
                let digit = |place: u32| (set / 3_u32.pow(place)) % 3;
                let present = (0..6).filter(|place| digit(*place) > 0);
                let snapshots: Vec<(i64, bool)> =
                    present.map(|place| (i64::from(place) * 4 + 3, digit(place) == 2)).collect();
                let logs: Vec<i64> =
                    (0..5).filter(|place| log_set >> place & 1 == 1).map(|place| place * 5 + 1).collect();
                let mut inventory = Inventory::default();
                for zxid in &logs {
                    inventory.add(DirEntry { file: log_name(Zxid(*zxid)), size: 1 });
                }
                for (zxid, complete) in &snapshots {
                    let file = snapshot_name(Zxid(*zxid));
                    inventory.add(DirEntry { file: file.clone(), size: 1 });
                    inventory.mark_complete(&file, *complete);
                }
                let found: Vec<String> = inventory.purgeable(3).into_iter().map(|file| file.name).collect();
                assert_eq!(found, purge_naive(&logs, &snapshots, 3), "{logs:?} {snapshots:?}");
            }
        }
    }
}
