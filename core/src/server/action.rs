//! Everything that a server can ask for.

use alloc::string::String;

use bytes::Bytes;

use super::event::Event;
use crate::store::{DiskError, DiskOp};
use crate::types::ConnId;

/// Something to be done, in the order in which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
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
    /// The client closed its session.
    SessionClosed,
    /// The session expired, or was not known.
    SessionExpired,
    /// The session moved to another connection.
    SessionMoved,
    /// No session was established in time.
    NoSession,
    /// Too many connections, from this address or in all.
    TooManyConnections,
    /// The client asked for an unknown operation.
    UnknownOperation,
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
    /// The disk failed. What was not acknowledged may or may not be found at the next start.
    Disk {
        /// What was being done.
        doing: String,
        /// What went wrong.
        error: DiskError,
    },
}
