//! What a learner wants done, and why it gave up.

use bytes::Bytes;

use crate::types::{HangupReason, LinkId, Message, ServerId, SessionId, Zxid};

/// Why a learner gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The leader said something that makes no sense here.
    BadMessage,
    /// The log was to be cut behind a transaction that what is on the disk does not lead up to. Less was left; the leader
    /// is asked again.
    CutShort,
    /// The leader has less than this server was told is committed.
    CommittedMissing,
    /// The configuration that the leader's epoch begins with, or the one in force, is neither kept nor in the log.
    ConfigNotKept,
    /// What the leader sent does not make of the tree what it says.
    Diverged,
    /// Those who voted for the leader look for another one.
    Doubted,
    /// The leader leads an epoch older than one promised.
    EpochTooOld,
    /// The leader sent less than it was elected for, if the vote that says so is of now.
    LessThanVoted,
    /// The link broke.
    LinkDown,
    /// The log was to be cut behind a transaction that what is on the disk does not lead up to, and nothing was changed: what
    /// would go may be what others rely on.
    NoWayBack,
    /// A proposal is missing, or came twice.
    NotContiguous,
    /// The members changed, and with them the leader, or what this server is.
    Reconfigured,
    /// There was no room on the disk for the snapshot that the leader sent.
    SnapshotNotKept,
    /// Nothing was heard of the leader in time.
    Timeout,
    /// The leader could not be connected to.
    Unreachable,
}

/// What a learner wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnerOutput {
    /// The configuration that the transaction proposes, which is committed, is in force.
    Activate {
        /// The transaction.
        zxid: Zxid,
        /// Who leads from here on.
        designated: ServerId,
    },
    /// What the leader sends does not lead to what it has: it is connected to once more, and asked for a snapshot.
    AskForSnapshot {
        /// What showed it.
        why: LostReason,
    },
    /// Everything in the log up to here is committed.
    Commit {
        /// The last one.
        zxid: Zxid,
        /// Who leads from here on, if the last one changes the members.
        designated: Option<ServerId>,
    },
    /// The configuration that the leader's epoch begins with, which is in force once this server serves.
    Configuration {
        /// As text.
        text: Bytes,
    },
    /// Connect to the leader's quorum port, then call [`super::Learner::on_link_up`] or [`super::Learner::on_dial_failed`].
    Dial,
    /// Close the link.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why.
        why: HangupReason,
    },
    /// Log a transaction, and call [`super::Learner::on_durable`] once that is done.
    Log {
        /// Which.
        zxid: Zxid,
        /// Its header, body and digest.
        txn: Bytes,
    },
    /// It is over; look for a leader.
    Lost {
        /// Why.
        why: LostReason,
    },
    /// The leader asks for a sign of life, which names the sessions heard from.
    Pinged,
    /// Read a snapshot from the link, make it the database, durably, then call [`super::Learner::on_snapshot_installed`].
    ReceiveSnapshot {
        /// Its last transaction.
        zxid: Zxid,
    },
    /// The leader said whether a session lives.
    Revalidated {
        /// Which.
        session: SessionId,
        /// Whether it does.
        valid: bool,
    },
    /// Cut the log behind this transaction, durably, then call [`super::Learner::on_rewound`].
    Rewind {
        /// The last one to keep.
        zxid: Zxid,
    },
    /// Make `acceptedEpoch` durable, then call [`super::Learner::on_accepted_saved`].
    SaveAccepted {
        /// The epoch.
        epoch: i64,
    },
    /// Make `currentEpoch` durable, then call [`super::Learner::on_current_saved`].
    SaveCurrent {
        /// The epoch.
        epoch: i64,
    },
    /// Say something to the leader.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// Serve clients.
    Serve,
    /// The oldest sync that was asked for is answered, once everything committed so far is applied.
    Synced,
    /// As [`LearnerOutput::Rewind`], of what this leader sent; and to be done even if the leader is lost meanwhile.
    TakeBack {
        /// The last one to keep.
        zxid: Zxid,
    },
}
