//! What a leader wants done, and why it gives up.

use crate::types::{ServerId, Zxid};
use crate::zab::learners::LearnersOutput;

/// Why a leader gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDownReason {
    /// This server's disk has done nothing for `syncLimit` with its log full, and others have all that was proposed.
    DiskHangs,
    /// Those who voted for it look for another one.
    Doubted,
    /// A voter has promised itself to a later epoch than this one.
    EpochOvertaken {
        /// The epoch that it promised.
        promised: i64,
    },
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
    /// Something about a learner.
    Learners(LearnersOutput),
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
    /// A quorum has the history that this epoch begins with: serve clients.
    Serve,
    /// It is over. Nothing follows.
    StepDown {
        /// Why.
        why: StepDownReason,
    },
}

impl From<LearnersOutput> for LeaderOutput {
    fn from(output: LearnersOutput) -> Self {
        Self::Learners(output)
    }
}
