//! What a server tells those who watch it: checkers, metrics, logs.

use core::time::Duration;

use crate::store::{DiskError, FileName};
use crate::tree::QuotaExceeded;
use crate::types::{ConnId, ServerId, SessionId, Zxid};

/// What a member of an ensemble does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It looks for a leader, and serves nobody.
    Looking,
    /// It follows one, with a vote.
    Following,
    /// It leads.
    Leading,
    /// It follows one, without a vote.
    Observing,
}

/// Something worth knowing that asks for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction was applied to the tree.
    Applied {
        /// Which.
        zxid: Zxid,
        /// The tree's digest afterwards.
        digest: u64,
    },
    /// Everything up to here in the history of this server is there for good: a quorum has it. A leader says so of the
    /// history that its epoch begins with, once it may lead, and then of each transaction that it commits; a learner
    /// once its leader told it.
    Committed {
        /// The last transaction of which that is known.
        zxid: Zxid,
    },
    /// A tree digest differs from the one that the transaction's author computed. Not told of those that follow it
    /// until one is right.
    DigestMismatch {
        /// The transaction.
        zxid: Zxid,
        /// The author's.
        expected: u64,
        /// Ours.
        found: u64,
    },
    /// The promise to follow nobody of an earlier epoch is durable.
    EpochAccepted {
        /// The epoch that was promised to.
        epoch: i64,
    },
    /// That the history is the one that this epoch begins with is durable.
    EpochCurrent {
        /// The epoch.
        epoch: i64,
    },
    /// A file that is not needed any more could not be removed (`autopurge.*`). It stays, and is tried again at the next
    /// interval; the others are gone.
    FileNotRemoved {
        /// Which.
        file: FileName,
        /// What went wrong.
        error: DiskError,
    },
    /// A write exceeded a quota, or would have. Where quotas are enforced alone, and not told of every such write.
    QuotaExceeded {
        /// Which limit.
        exceeded: QuotaExceeded,
        /// How often something was exceeded since the last time that this was told.
        untold: u64,
    },
    /// The server has found no leader for so long that it serves clients that only read.
    ReadOnlyBegun {
        /// Up to which transaction.
        zxid: Zxid,
    },
    /// The server does something else in its ensemble from now on. It leads once a quorum has acknowledged what its
    /// epoch begins with, and follows or observes once its leader says that it may serve.
    RoleTaken {
        /// What.
        role: Role,
        /// In which epoch; where it looks for a leader, the epoch of its history.
        epoch: i64,
        /// Who leads, itself included; nobody, where it looks for one.
        leader: Option<ServerId>,
    },
    /// The leader was followed no longer, or could not be.
    LeaderLost {
        /// Why.
        why: crate::zab::learner::LostReason,
    },
    /// The log was cut, as the leader asked for.
    Rewound {
        /// Behind which transaction.
        asked: Zxid,
        /// The last one in it now.
        last_zxid: Zxid,
    },
    /// Another configuration of the ensemble is in force.
    Reconfigured {
        /// Its version.
        version: i64,
        /// Its members, those without a vote included.
        members: alloc::vec::Vec<ServerId>,
    },
    /// A snapshot that the leader sent is the database now.
    SnapshotInstalled {
        /// Its last transaction.
        zxid: Zxid,
    },
    /// The server, which had lost data or may have, has been brought up to date: it votes again.
    Synced,
    /// The server leads no longer, or never came to.
    SteppedDown {
        /// Why.
        why: crate::zab::leader::StepDownReason,
    },
    /// A connection proved to be a session's, whose deadline counts from now. It is opened on the connection once what
    /// it has under way is through.
    SessionAttached {
        /// Which.
        session: SessionId,
        /// Where.
        conn: ConnId,
        /// Its negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// A session began on a connection, or goes on there.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// Where.
        conn: ConnId,
        /// Its negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// A session is to be closed because nothing was heard from it.
    SessionExpired {
        /// Which.
        session: SessionId,
    },
    /// Ephemeral znodes belong to a session that does not exist; they are removed.
    SessionUnknown {
        /// Whose they are.
        session: SessionId,
        /// How many.
        znodes: usize,
    },
    /// A session ended.
    SessionClosed {
        /// Which.
        session: SessionId,
    },
    /// Writing to the log, sync included, took longer than `fsync.warningthresholdms`.
    SlowSync {
        /// How long, from when it was asked for until its end was heard of.
        took: Duration,
        /// Bytes of the file, preallocation included.
        file_size: u64,
    },
    /// What the leader sends does not lead to what it has: it is asked for a snapshot instead.
    SnapshotAskedFor {
        /// What showed it.
        why: crate::zab::learner::LostReason,
    },
    /// A snapshot is being written.
    SnapshotStarted {
        /// What it holds.
        zxid: Zxid,
    },
    /// A snapshot is complete and durable.
    SnapshotFinished {
        /// What it holds.
        zxid: Zxid,
    },
    /// A snapshot could not be written; it is tried again later.
    SnapshotFailed {
        /// What it would have held.
        zxid: Zxid,
        /// What went wrong.
        error: DiskError,
    },
}
