//! Everything that a server can ask for.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::event::Event;
use super::input::PeerPort;
use crate::recovery::RecoveryError;
use crate::store::{DiskError, DiskOp};
pub use crate::types::HangupReason;
use crate::types::{Address, ConnId, DialId, LinkId, Membership, ServerId, Zxid};

/// Something to be done, in the order in which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Another configuration of the ensemble is in force: start with it the next time, and listen where it says that
    /// this server does. It is to be kept before what is asked for behind this is done; if that cannot be, it is tried
    /// again with the next one that is to be kept, and until then that one is not kept either.
    /// [`super::Input::ConfigNotKept`] says so.
    KeepConfig {
        /// The configuration.
        membership: Membership,
    },
    /// The newest configuration that was proposed, while that is not in force, has changed: start with this one the
    /// next time. Likewise to be kept before what is asked for behind this is done.
    KeepSeenConfig {
        /// The configuration; `None`: there is no such one any more.
        membership: Option<Membership>,
    },
    /// Send bytes to a client.
    Send {
        /// On which connection.
        conn: ConnId,
        /// What to send, after all that was sent before.
        bytes: Bytes,
    },
    /// Stop reading from a client.
    PauseReads {
        /// On which connection.
        conn: ConnId,
    },
    /// Read from the client again.
    ResumeReads {
        /// On which connection.
        conn: ConnId,
    },
    /// Close the connection once all that was sent is out. The server has forgotten it already: `Closed` need not
    /// be reported, and does no harm.
    Close {
        /// Which.
        conn: ConnId,
        /// Why, for the log.
        why: CloseReason,
    },
    /// Connect to another server; report [`super::Input::LinkUp`] or [`super::Input::DialFailed`]. Names are resolved
    /// anew each time, and the addresses are tried in order.
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// To which of its ports.
        port: PeerPort,
        /// Which server, for the log.
        server: ServerId,
        /// Where it may be found.
        addresses: Vec<Address>,
        /// When to give up, all addresses together.
        timeout: Duration,
    },
    /// Send bytes to another server.
    SendLink {
        /// On which link.
        link: LinkId,
        /// What to send, after all that was sent before.
        bytes: Bytes,
    },
    /// Stop reading from another server.
    PauseLink {
        /// On which link.
        link: LinkId,
    },
    /// Read from the other server again.
    ResumeLink {
        /// On which link.
        link: LinkId,
    },
    /// Close the link at once. The server has forgotten it already: `LinkDown` need not be reported, and does no harm.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why, for the log.
        why: HangupReason,
    },
    /// Carry out a disk operation.
    Disk(DiskOp),
    /// Something that observers may want to know.
    Event(Event),
    /// Stop the process. No action follows.
    Halt {
        /// Why.
        why: HaltReason,
    },
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A four-letter word was answered.
    AdminWordAnswered,
    /// Credentials were refused.
    AuthFailed,
    /// The client has seen a transaction that this server has not.
    ClientAhead,
    /// The client sent something that is no frame or no handshake.
    BadFrame,
    /// The client announced a frame that is longer than `jute.maxbuffer`.
    FrameTooLong {
        /// How long, in bytes.
        length: u32,
        /// How long it may be.
        max: usize,
    },
    /// The client closed its session.
    SessionClosed,
    /// The session expired, or was not known.
    SessionExpired,
    /// The session moved to another connection.
    SessionMoved,
    /// The client asked for a write where its session is not served any more. What it was answered before leaves first.
    SessionServedElsewhere,
    /// No session was established in time.
    NoSession,
    /// Too many connections in all (`maxCnxns`).
    TooManyConnections {
        /// How many there may be.
        max: usize,
    },
    /// Too many connections from this address (`maxClientCnxns`).
    TooManyOfAddress {
        /// How many there may be.
        max: usize,
    },
    /// The client asked for an unknown operation.
    UnknownOperation,
    /// The server has no leader any more, or leads no more.
    LeaderLost,
    /// The server has no leader yet.
    NotServing,
    /// The server only reads, and the client did not ask for one that does, or for a session that it cannot give.
    ReadOnly,
    /// The server only read, and has found a leader.
    ReadOnlyOver,
    /// A large request was refused for want of room.
    LargeRequest,
    /// The client does not read what it asked for.
    SlowReader,
    /// The server stops.
    Shutdown,
}

/// Why a server stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltReason {
    /// It was asked to, and everything acknowledged is durable.
    Shutdown,
    /// The leader asked for the log to be cut, and that cannot be done.
    Rewind {
        /// Behind which transaction.
        zxid: Zxid,
        /// Why not.
        error: Box<RecoveryError>,
    },
    /// The disk failed. What was not acknowledged may or may not be found at the next start.
    Disk {
        /// What was being done.
        doing: String,
        /// What went wrong.
        error: DiskError,
    },
}
