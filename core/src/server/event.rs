//! What a server tells those who watch it: checkers, metrics, logs.

use crate::types::{ConnId, SessionId, Zxid};

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
    /// A tree digest differs from the one that the transaction's author computed.
    DigestMismatch {
        /// The transaction.
        zxid: Zxid,
        /// The author's.
        expected: u64,
        /// Ours.
        found: u64,
    },
    /// A connection proved to be a session's, whose deadline counts from now. It is opened on the connection once what
    /// it has under way is through.
    SessionAttached {
        /// Which.
        session: SessionId,
        /// Where.
        conn: ConnId,
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
    /// A session ended.
    SessionClosed {
        /// Which.
        session: SessionId,
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
        error: crate::store::DiskError,
    },
}
