//! One client connection: its stream, and how it ends. It knows no protocol.

use tokio::net::TcpStream;
use zabra_core::server::CloseReason;

use crate::stream::Stream;

/// A client connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// What is sent on it is bounded by the core: it pauses a connection at `outbox_pause_bytes` and closes it at
    /// `outbox_close_bytes`.
    pub(crate) stream: Stream,
    /// How far the end has come.
    pub(crate) closing: Closing,
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Not at all.
    Open,
    /// The core has closed it; what is in the outbox goes out first.
    Flushing(Farewell),
    /// All is sent and our half is shut; waiting for the client to shut its own.
    Lingering,
}

/// How a client is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Send what is to be sent, shut our half, and wait a moment for the client to close. Closing at once would
    /// let the kernel answer bytes still under way with a reset, which can overtake the reply.
    Polite,
    /// Close once everything is sent.
    Plain,
    /// Reset the connection, with no regard to what was not sent.
    Reset,
}

impl Farewell {
    /// How the operating system is to end a connection that the core closed for this reason.
    pub(crate) const fn of(why: CloseReason) -> Self {
        match why {
            CloseReason::AdminWordAnswered
            | CloseReason::AuthFailed
            | CloseReason::SessionClosed
            | CloseReason::SessionExpired
            | CloseReason::SessionServedElsewhere => Self::Polite,
            CloseReason::BadFrame
            | CloseReason::ClientAhead
            | CloseReason::FrameTooLong { .. }
            | CloseReason::LargeRequest
            | CloseReason::LeaderLost
            | CloseReason::NoSession
            | CloseReason::NotServing
            | CloseReason::ReadOnly
            | CloseReason::ReadOnlyOver
            | CloseReason::Shutdown
            | CloseReason::UnknownOperation => Self::Plain,
            // ZooKeeper too resets connections over its limits: they must cost nothing. One that does not read
            // would not take what is in its outbox either, and who has another connection does not look any more: a session
            // that goes from one connection to the next must not leave its replies on each of them.
            CloseReason::SessionMoved
            | CloseReason::SlowReader
            | CloseReason::TooManyConnections { .. }
            | CloseReason::TooManyOfAddress { .. } => Self::Reset,
        }
    }
}

impl Conn {
    /// A fresh connection.
    pub(crate) fn new(socket: TcpStream, keep_alive: bool) -> Self {
        Self { stream: Stream::new(socket, keep_alive), closing: Closing::Open }
    }

    /// Whether the core still knows this connection.
    pub(crate) fn is_open(&self) -> bool {
        self.closing == Closing::Open
    }
}
