//! What a leader wants done, and why it gives up.

use bytes::Bytes;

use crate::types::{HangupReason, LinkId, Message, ServerId, Zxid};

/// Why a leader gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDownReason {
    /// Those who voted for it look for another one.
    Doubted,
    /// A voter has promised itself to a later epoch than this one.
    EpochOvertaken,
    /// The epoch has no zxids left; the next one begins with an election (PARITY `zab.rollover`).
    EpochUsedUp,
    /// A voter has a history that this server has not.
    FollowerAhead,
    /// The members changed, and this server is not to lead the new ones.
    HandedOver,
    /// No quorum came, or caught up, within `initLimit`.
    NoQuorumInTime,
    /// Too few voters were heard from within `syncLimit`.
    QuorumLost,
}

/// What a leader wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderOutput {
    /// The configuration that was proposed is in force; what proposed it is committed.
    Activate {
        /// Who leads from here on; nobody, where that takes an election.
        designated: Option<ServerId>,
    },
    /// Bring the learner up to date from its last transaction, then say so by [`Leader::on_caught_up`](super::Leader::on_caught_up).
    BeginSync {
        /// Which.
        link: LinkId,
        /// The last transaction in its log.
        last_zxid: Zxid,
    },
    /// A quorum has everything up to here.
    Commit {
        /// The last one.
        zxid: Zxid,
    },
    /// A quorum still followed when [`Leader::confirm`](super::Leader::confirm) gave this number, or later.
    Confirmed {
        /// The number.
        round: u64,
    },
    /// Close a link.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why.
        why: HangupReason,
    },
    /// A learner asks for something that is not the protocol's own business: a request, a session.
    Learner {
        /// On which link.
        link: LinkId,
        /// Which server it is.
        server: ServerId,
        /// What it says.
        message: Message,
    },
    /// Make `acceptedEpoch` durable, then call [`Leader::on_accepted_saved`](super::Leader::on_accepted_saved).
    SaveAccepted {
        /// The epoch.
        epoch: i64,
    },
    /// Make `currentEpoch` durable, then call [`Leader::on_current_saved`](super::Leader::on_current_saved).
    SaveCurrent {
        /// The epoch.
        epoch: i64,
    },
    /// Say something to a learner.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// A quorum has the history that this epoch begins with: serve clients.
    Serve,
    /// It is over. Nothing follows.
    StepDown {
        /// Why.
        why: StepDownReason,
    },
}

/// What learners that log proposals hear of a commit, and of whom it makes the leader if it changes the members.
pub(super) const fn commit(zxid: Zxid, designated: Option<ServerId>) -> Message {
    match designated {
        Some(designated) => Message::CommitAndActivate { zxid, designated },
        None => Message::Commit { zxid },
    }
}

/// Likewise for the others, who get the transaction with it.
pub(super) const fn inform(zxid: Zxid, designated: Option<ServerId>, txn: Bytes) -> Message {
    match designated {
        Some(designated) => Message::InformAndActivate { zxid, designated, txn },
        None => Message::Inform { zxid, txn },
    }
}
