//! What recovery has to tell: what it noticed on the way, and why it refused.

use core::fmt;

use super::scan::{BadHeader, Damage, DamageKind};
use crate::store::epochs::EpochError;
use crate::store::{DiskError, FileName};
use crate::tree::LoadError;
use crate::types::Zxid;
use crate::wire::DecodeError;
use crate::wire::compression::CompressionError;

/// Something that the operator should hear of, though the server starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The log ended in a batch that was never completely written, as a power failure leaves it, and was cut in the
    /// batch. Nobody had been told that any record of it was safe.
    BatchCut {
        /// In which file.
        file: FileName,
        /// What was there.
        damage: Damage,
        /// Whole records of the batch behind it, which went with it.
        records: u64,
        /// The last transaction before.
        last_zxid: Zxid,
    },
    /// Finished records of a member of an ensemble are damaged or missing. They and what follows do not count; they
    /// stay on the disk until a leader has been found.
    DamageFound {
        /// Where the first of them is.
        file: FileName,
        /// Where in the file.
        offset: u64,
        /// Whole records that could be read behind it.
        records: u64,
        /// The last transaction before.
        last_zxid: Zxid,
    },
    /// Records were dropped, because the operator accepts the loss.
    DataDropped {
        /// Where the first of them was.
        file: FileName,
        /// Where in the file.
        offset: u64,
        /// Whole records that could have been read behind it.
        records: u64,
        /// The last transaction that was kept.
        last_zxid: Zxid,
    },
    /// Snapshots that hold more than the server now has could not be read, and the operator accepts the loss.
    DataMissing {
        /// The newest of them.
        snapshot: FileName,
        /// The last transaction there is.
        last_zxid: Zxid,
    },
    /// The newest snapshot of a member of an ensemble cannot be used, and the log does not reach so far: until a leader
    /// has brought it up, it does not vote.
    BehindEnsemble {
        /// The newest of them.
        snapshot: FileName,
        /// The last transaction there is.
        last_zxid: Zxid,
    },
    /// The tree's digest is not the one that was logged.
    DigestMismatch {
        /// Behind which transaction it was first seen.
        zxid: Zxid,
        /// What was logged.
        expected: u64,
        /// What came out.
        found: u64,
    },
    /// The log ends with what a leader sent that had left something out, and that this server never acknowledged: it is to
    /// have a snapshot from the next one.
    Diverged {
        /// The first transaction that shows it.
        since: Zxid,
        /// The last transaction.
        last_zxid: Zxid,
    },
    /// A new database was begun.
    FreshDatabase,
    /// Bytes that are no record were passed over; the records on both sides follow each other, so none is missing.
    Harmless {
        /// In which file.
        file: FileName,
        /// What is there.
        damage: Damage,
    },
    /// A log file was removed that never got a record, or had none left.
    LogRemoved {
        /// Which.
        file: FileName,
    },
    /// The log ended in the middle of a record, as a crash leaves it, and was cut there. Nobody had been told that
    /// the record was safe.
    LogTailCut {
        /// In which file.
        file: FileName,
        /// What was there.
        damage: Damage,
        /// The last transaction before.
        last_zxid: Zxid,
    },
    /// How much of the log was read.
    Replayed {
        /// Transactions applied.
        txns: u64,
        /// Transactions left out, because their place was taken already.
        skipped: u64,
        /// The last transaction.
        last_zxid: Zxid,
    },
    /// Everything behind a transaction was forgotten.
    Rewound {
        /// That transaction, as the leader named it.
        target: Zxid,
        /// The last transaction that stays. If it is not the target, and the target is not the beginning of an epoch,
        /// the leader's history is not this server's.
        last_zxid: Zxid,
    },
    /// Which snapshot was loaded.
    SnapshotLoaded {
        /// Which.
        file: FileName,
        /// How many znodes it has.
        nodes: u64,
    },
    /// A snapshot that holds parts of transactions was used all the same: there was no other, and the operator accepts the
    /// loss.
    SnapshotPartial {
        /// Which.
        file: FileName,
        /// Up to which transaction something may be in it. The server goes on behind that one.
        reaches: Zxid,
        /// The last transaction that is there in full.
        last_zxid: Zxid,
    },
    /// A snapshot was removed that held what was to be forgotten.
    SnapshotRemoved {
        /// Which.
        file: FileName,
    },
    /// A snapshot was passed over in favour of an older one and the log.
    SnapshotUnreadable {
        /// Which.
        file: FileName,
        /// Why.
        why: SnapshotProblem,
    },
    /// What a crash left half-written was removed.
    TemporaryRemoved {
        /// Which.
        file: FileName,
    },
    /// A member of an ensemble may have lost what it acknowledged, and does not vote until a leader has brought it up.
    Unsynced {
        /// The last transaction that it has.
        last_zxid: Zxid,
    },
}

/// Why a snapshot cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotProblem {
    /// It holds something of later transactions, which are to be forgotten or are not in the log.
    Ahead {
        /// Up to which.
        reaches: Zxid,
    },
    /// It is compressed, and cannot be decompressed.
    Compression(CompressionError),
    /// Its bytes are no snapshot.
    Decode(DecodeError),
    /// Reading failed.
    Disk(DiskError),
    /// It was not written to its end.
    Incomplete,
    /// Its znodes make no tree.
    Load(LoadError),
}

/// Why the server does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryError {
    /// Snapshots that hold more than was found in the log cannot be used.
    BehindSnapshot {
        /// The newest of them.
        snapshot: FileName,
        /// What it holds.
        zxid: Zxid,
        /// What was found without it.
        last_zxid: Zxid,
    },
    /// Everything behind a transaction is to be forgotten, and no snapshot and log lead up to it.
    CannotRewind {
        /// That transaction.
        target: Zxid,
        /// How far they lead, if there is a snapshot at all that holds nothing behind it.
        found: Option<Zxid>,
    },
    /// Finished records were damaged.
    Corrupt {
        /// In which file.
        file: FileName,
        /// What is there.
        damage: Damage,
        /// The last transaction before.
        last_zxid: Zxid,
        /// The next record that can be read, if any: in which file, where, and which transaction.
        next: Option<(FileName, u64, Zxid)>,
    },
    /// The disk does not do what it is asked.
    Disk {
        /// The file, if it is about one.
        file: Option<FileName>,
        /// What went wrong.
        error: DiskError,
    },
    /// There is nothing, and nothing says that this is right.
    Empty,
    /// The epoch files do not fit the data.
    Epochs(EpochError),
    /// Transactions are missing between two records, or between the snapshot and the log.
    Gap {
        /// The file with the record behind the gap.
        file: FileName,
        /// Where the record is.
        offset: u64,
        /// The last transaction before.
        last_zxid: Zxid,
        /// The record's.
        found: Zxid,
    },
    /// An epoch file does not hold an epoch.
    GarbledEpoch {
        /// Which.
        file: FileName,
    },
    /// Logs are in the directory of snapshots or the other way round.
    Misplaced {
        /// One of them.
        file: FileName,
    },
    /// There is a log and no snapshot.
    NoSnapshot {
        /// A log file with a transaction.
        file: FileName,
        /// The transaction.
        zxid: Zxid,
    },
    /// There are snapshots, and none can be read.
    NoUsableSnapshot {
        /// The newest.
        file: FileName,
        /// Why not.
        why: SnapshotProblem,
    },
    /// There is no better snapshot than one with parts of transactions in it that the log does not have.
    PartialSnapshot {
        /// The newest of them.
        snapshot: FileName,
        /// Up to which transaction something may be in it.
        reaches: Zxid,
    },
    /// A standalone server was started on the data of a member of an ensemble that has lost some, and waits for a
    /// leader.
    Unsynced {
        /// The file that says so.
        file: FileName,
    },
    /// A log file is none, or is one of another kind.
    WrongHeader {
        /// Which.
        file: FileName,
        /// What is wrong with it.
        why: BadHeader,
    },
}

/// What the operator can do where data is missing or damaged.
const RESTORE: &str = "Restore the file from a backup, or, if this server belongs to an ensemble, move both version-2 \
                       directories away and let it copy the data from the others";
/// What the operator can do who has nothing better.
const ACCEPT: &str = "To go on without what follows, copy dataDir and dataLogDir to another place first, because log \
                      files will be cut and removed, and start once with --accept-data-loss on the command line";

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.kind)
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadChecksum => f.write_str("a record whose checksum does not match its content"),
            Self::BadLength => f.write_str(
                "a record length that is negative or above jute.maxbuffer plus jute.maxbuffer.extrasize (was it \
                 larger when this was written?)",
            ),
            Self::Incomplete => f.write_str("a record that goes beyond the end of the file"),
            Self::NoHeader => f.write_str("a file that ends before its header does, or has zeros there"),
            Self::PartlyWritten => f.write_str("a record of which a part was never written"),
            Self::Undecodable(error) => write!(f, "a record that is no transaction ({error})"),
            Self::Unmarked => f.write_str("a record without the byte that ends it"),
            Self::Zeros => f.write_str("zeros where a record should begin"),
        }
    }
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dbid(dbid) => {
                write!(f, "expected database id 0, found {dbid}: it belongs to another database")
            }
            Self::Magic => f.write_str("expected the letters ZKLG, with which a transaction log begins"),
            Self::Version => f.write_str("expected format version 2"),
        }
    }
}

impl fmt::Display for SnapshotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { reaches } => {
                write!(
                    f,
                    "it holds something of transactions up to {reaches}, and they are not all to be had"
                )
            }
            Self::Compression(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Incomplete => f.write_str("it was not written to its end"),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchCut { file, damage, records, last_zxid } => write!(
                f,
                "{file} {damage}; that is what a power failure leaves of records that were being written together and \
                 nobody was told are safe: cut the log behind {last_zxid}, and {records} whole records with it"
            ),
            Self::DamageFound { file, offset, records, last_zxid } => write!(
                f,
                "{file} is damaged at offset {offset}, behind {last_zxid}; what follows, {records} whole records among \
                 it, does not count, and is kept until a leader has sent what is missing"
            ),
            Self::DataDropped { file, offset, records, last_zxid } => write!(
                f,
                "DATA LOSS ACCEPTED: dropped everything behind {last_zxid}, from {file} offset {offset} on; \
                 {records} whole records were among it"
            ),
            Self::DataMissing { snapshot, last_zxid } => write!(
                f,
                "DATA LOSS ACCEPTED: {snapshot} cannot be used; going on at {last_zxid} without what it held"
            ),
            Self::BehindEnsemble { snapshot, last_zxid } => write!(
                f,
                "{snapshot} cannot be used; going on at {last_zxid}, without a vote until a leader has sent what is \
                 missing"
            ),
            Self::DigestMismatch { zxid, expected, found } => write!(
                f,
                "the digest of the tree behind {zxid} was logged as {expected:#x} and is {found:#x}; this server's \
                 data may differ from its ensemble's"
            ),
            Self::Diverged { since, last_zxid } => write!(
                f,
                "the log from {since} to {last_zxid} came from a leader that had left out something before it; this server never \
                 acknowledged any of that, and asks the next leader for a snapshot"
            ),
            Self::FreshDatabase => f.write_str("the directories are empty: beginning a new database"),
            Self::Harmless { file, damage } => {
                write!(f, "{file} {damage}; nothing is missing, the record after it is the one that is due")
            }
            Self::LogRemoved { file } => write!(f, "removed {file}, which holds no record that counts"),
            Self::LogTailCut { file, damage, last_zxid } => write!(
                f,
                "{file} {damage}; that is what a crash leaves of a record nobody was told is safe: cut the log \
                 behind {last_zxid}"
            ),
            Self::Replayed { txns, skipped, last_zxid } => {
                write!(f, "replayed {txns} transactions up to {last_zxid}")?;
                if *skipped > 0 {
                    write!(f, ", and left out {skipped} whose zxid was not above the one before")?;
                }
                Ok(())
            }
            Self::Rewound { target, last_zxid } => {
                write!(
                    f,
                    "forgot everything behind {target}, as the leader asked; the last transaction is {last_zxid}"
                )
            }
            Self::SnapshotLoaded { file, nodes } => write!(f, "loaded {file} with {nodes} znodes"),
            Self::SnapshotPartial { file, reaches, last_zxid } => write!(
                f,
                "DATA LOSS ACCEPTED: {file} was written while transactions went on, up to {reaches}, and the log ends at \
                 {last_zxid}; using it as it is and going on at {reaches}, with what there is of the transactions in \
                 between, which may be a part of one"
            ),
            Self::SnapshotRemoved { file } => {
                write!(f, "removed {file}, which held transactions that are to be forgotten")
            }
            Self::SnapshotUnreadable { file, why } => {
                write!(f, "cannot use {file}: {why}; taking an older snapshot and the log")
            }
            Self::TemporaryRemoved { file } => write!(f, "removed {file}, left half-written by a crash"),
            Self::Unsynced { last_zxid } => write!(
                f,
                "THIS SERVER HAS LOST DATA, or may have: it goes on at {last_zxid}, but neither votes nor counts until a \
                 leader that the others elect without it has brought it up to date. If they cannot elect one, restore its \
                 data from a backup, or, to have it vote with what it has, start it once with --accept-data-loss on the \
                 command line"
            ),
        }
    }
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BehindSnapshot { snapshot, zxid, last_zxid } => write!(
                f,
                "{snapshot} cannot be used and holds transactions up to {zxid}, but the older snapshots and the log \
                 end at {last_zxid}. {RESTORE}. {ACCEPT}"
            ),
            Self::CannotRewind { target, found } => {
                write!(f, "cannot forget what is behind {target}: ")?;
                match found {
                    Some(found) => write!(f, "the log leads up to {found} only. ")?,
                    None => f.write_str("no snapshot can be used that holds nothing behind it. ")?,
                }
                f.write_str("Nothing was changed. The data must be copied from the leader")
            }
            Self::Corrupt { file, damage, last_zxid, next } => {
                write!(f, "{file} is corrupt at {damage}; expected the record after {last_zxid}. ")?;
                match next {
                    Some((next_file, offset, zxid)) => write!(
                        f,
                        "This is no torn tail: the record of {zxid} follows in {next_file} at offset {offset}. "
                    )?,
                    None => f.write_str("A crash does not leave this behind. ")?,
                }
                write!(f, "Nothing was changed. {RESTORE}. {ACCEPT}")
            }
            Self::Disk { file: Some(file), error } => {
                write!(f, "{file}: {error}. Check the disk and the rights of the user that runs the server")
            }
            Self::Disk { file: None, error } => {
                write!(f, "dataDir and dataLogDir: {error}. Check the disk and the rights of the user that runs the server")
            }
            Self::Empty => f.write_str(
                "dataDir and dataLogDir are empty, and zookeeper.db.autocreate is false. If this is to be a new \
                 database, create an empty file called 'initialize' next to dataLogDir/version-2; if not, correct \
                 dataDir and dataLogDir",
            ),
            Self::Epochs(error) => error.fmt(f),
            Self::GarbledEpoch { file } => write!(
                f,
                "{file} does not hold an epoch: expected a decimal number on its first line. Restore it from a backup; \
                 without one, move both version-2 directories away and let this server copy the data from its ensemble. \
                 Do not invent a number: the server would forget what it promised to a leader"
            ),
            Self::Gap { file, offset, last_zxid, found } => write!(
                f,
                "transactions are missing: {file} offset {offset} has {found}, expected {}, which follows {last_zxid}. \
                 Is a log file gone? Nothing was changed. {RESTORE}. {ACCEPT}",
                last_zxid.next()
            ),
            Self::Misplaced { file } => write!(
                f,
                "{file} is in the wrong directory: logs belong in dataLogDir, snapshots in dataDir. Correct dataDir and \
                 dataLogDir, or move the file"
            ),
            Self::NoSnapshot { file, zxid } => write!(
                f,
                "no snapshot was found, but {file} has transaction {zxid}: the snapshot it builds on is missing. Correct \
                 dataDir, or restore the snapshot. If the log was written by a ZooKeeper before 3.5.3 that never took \
                 one, start once with zookeeper.snapshot.trust.empty=true"
            ),
            Self::NoUsableSnapshot { file, why } => {
                write!(f, "no snapshot can be used; the newest is {file}: {why}. {RESTORE}")
            }
            Self::PartialSnapshot { snapshot, reaches } => write!(
                f,
                "{snapshot} was written while transactions went on: parts of those up to {reaches} are in it, but the \
                 log ends before, and no other snapshot can be used. Restore the log files from the same backup, or, if \
                 this server belongs to an ensemble of which others have their data, move both version-2 directories \
                 away and let it copy the data from them. If there is nothing better, keep a copy of dataDir and \
                 dataLogDir, and start once with --accept-data-loss on the command line: the snapshot is used as it is \
                 then, with parts of transactions in it"
            ),
            Self::Unsynced { file } => write!(
                f,
                "{file} says that this was a member of an ensemble that had lost data, and no leader has brought it up to \
                 date since. Start it with its ensemble, or restore the data from a backup. {ACCEPT}"
            ),
            Self::WrongHeader { file, why } => write!(
                f,
                "{file} is not a log of this database, offset 0: {why}. Move it away if it does not belong here; {RESTORE}"
            ),
        }
    }
}

impl core::error::Error for RecoveryError {}
