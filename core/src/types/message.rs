//! What servers of an ensemble say to each other, as values; `wire` gives them bytes.

use alloc::vec::Vec;

use bytes::Bytes;

use super::acl::Id;
use super::ids::{ServerId, SessionId};
use super::op_code::OpCode;
use super::zxid::Zxid;

/// What a server is doing, as its notifications say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It leads.
    Leading,
    /// It follows one without voting.
    Observing,
}

/// Who should lead, and what speaks for that server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The server.
    pub leader: ServerId,
    /// The last transaction in its log.
    pub zxid: Zxid,
    /// Its current epoch.
    pub peer_epoch: i64,
}

/// A message of the election port (PARITY `fle.msg`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What the sender is doing.
    pub state: PeerState,
    /// Whom it votes for, or follows.
    pub vote: Vote,
    /// The round of the election in which it voted so.
    pub election_epoch: i64,
    /// Version of the message: 0, 1 or 2.
    pub version: i32,
    /// The sender's configuration as text, from version 2 on; empty if there is none.
    pub config: Bytes,
}

/// How a learner introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    /// Its id, if it says so.
    pub server: Option<ServerId>,
    /// The version of the protocol it speaks; 1 before ZooKeeper 3.4, 0x10000 since.
    pub protocol_version: i32,
    /// The version of the configuration it knows; 0 if it does not say.
    pub config_version: i64,
}

impl LearnerInfo {
    /// The version that is spoken here: Zab 1.0, ZooKeeper's since 3.4.
    pub const PROTOCOL_VERSION: i32 = 0x1_0000;
}

/// A message of the quorum port (PARITY `quorum.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Learner: the transaction is durable here. With counter 0: the epoch's beginning is.
    Ack {
        /// Up to where.
        zxid: Zxid,
    },
    /// Learner: I promise to follow nobody of an earlier epoch.
    AckEpoch {
        /// The last transaction in its log.
        last_zxid: Zxid,
        /// The epoch of its history, or [`Message::UNCOUNTED`].
        current_epoch: i32,
    },
    /// Leader: a quorum has the transaction.
    Commit {
        /// Which.
        zxid: Zxid,
    },
    /// Leader: as `Commit`, of a reconfiguration.
    CommitAndActivate {
        /// Which.
        zxid: Zxid,
        /// Who leads from here on.
        designated: ServerId,
    },
    /// Leader: what follows continues your history, up to `zxid`.
    Diff {
        /// The last transaction that the leader has committed.
        zxid: Zxid,
    },
    /// Learner: who I am, a participant, and what I promised.
    FollowerInfo {
        /// The epoch it promised to.
        accepted_epoch: i64,
        /// Who it is.
        info: LearnerInfo,
    },
    /// Leader, to observers: a transaction that is committed.
    Inform {
        /// Which.
        zxid: Zxid,
        /// Its header, body and digest.
        txn: Bytes,
    },
    /// Leader, to observers: as `Inform`, of a reconfiguration.
    InformAndActivate {
        /// Which.
        zxid: Zxid,
        /// Who leads from here on.
        designated: ServerId,
        /// Its header, body and digest.
        txn: Bytes,
    },
    /// Leader: the epoch I am going to lead.
    LeaderInfo {
        /// The epoch.
        epoch: i64,
        /// The version of the protocol it speaks.
        protocol_version: i32,
    },
    /// Leader: you have all that my epoch begins with; acknowledge once it is durable.
    NewLeader {
        /// The epoch, with counter 0.
        zxid: Zxid,
        /// The configuration as text; none from releases before 3.5.
        config: Option<Bytes>,
    },
    /// Learner: who I am, one without a vote, and what I promised.
    ObserverInfo {
        /// The epoch it promised to.
        accepted_epoch: i64,
        /// Who it is.
        info: LearnerInfo,
    },
    /// Leader: are you there? Learner: yes, and this is who I heard from.
    Ping {
        /// The leader's last proposal. In an answer nobody looks at it.
        zxid: Zxid,
        /// In an answer: sessions that were heard from since the last one, with their timeouts in milliseconds. An
        /// answer without any is not the same as no answer: ZooKeeper's leader hangs up on what is not one.
        touched: Option<Vec<(SessionId, i32)>>,
    },
    /// Leader: log this, and say when it is durable.
    Proposal {
        /// Which transaction.
        zxid: Zxid,
        /// Its header, body and digest.
        txn: Bytes,
    },
    /// Learner: a client of mine wants this.
    Request {
        /// The client's session.
        session: SessionId,
        /// The client's number of the request.
        cxid: i32,
        /// What is asked for.
        op: OpCode,
        /// The request's body.
        body: Bytes,
        /// Who the client proved to be.
        identities: Vec<Id>,
    },
    /// Learner: does this session live, and may I serve it?
    Revalidate {
        /// Which.
        session: SessionId,
        /// The timeout it negotiated, in milliseconds.
        timeout_ms: i32,
    },
    /// Leader: the answer to `Revalidate`.
    Revalidated {
        /// Which.
        session: SessionId,
        /// Whether it lives.
        valid: bool,
    },
    /// Leader: here is everything up to `zxid`; the bytes of a snapshot follow.
    Snap {
        /// Its last transaction.
        zxid: Zxid,
    },
    /// Leader: the oldest sync that was asked for is answered.
    Sync,
    /// Leader: forget what is in your log behind `zxid`.
    Trunc {
        /// The last transaction to keep.
        zxid: Zxid,
    },
    /// Leader: a quorum has all that my epoch begins with; serve your clients.
    UpToDate,
}

impl Message {
    /// What stands for the epoch of its history where a learner's promise does not count: it had promised this epoch
    /// before, to whoever led it, and cannot promise it twice; or it may have lost what others rely on.
    pub const UNCOUNTED: i32 = -1;
}

/// Why a link to another server was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangupReason {
    /// The other server sent something that it should not have, or that nobody understands.
    BadMessage,
    /// Another link to the same server took its place.
    Duplicate,
    /// The role in which it was used is over.
    RoleOver,
    /// The other server does not read what it is sent.
    SlowReader,
    /// Nothing was heard from the other server in time.
    Timeout,
    /// Whoever connected is not a member that may.
    Unwanted,
}
