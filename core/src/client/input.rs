//! Everything that can happen to a client, and everything it can ask for.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::call::{Call, CallError, Outcome};
use crate::types::{Address, DialId, EventType, WatcherType, Zxid};

/// A call, by the number that its caller gave it. The caller never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Somebody who waits for watch events, by the number that the caller chose. One watcher may watch many znodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// Something that happened. Together with the time it happened at, all that a [`super::Client`] ever learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// Somebody asks for something. Answered by exactly one [`ClientAction::Completed`].
    Call {
        /// The number given to the call.
        call: CallId,
        /// What is asked.
        request: Call,
    },
    /// End the session once everything asked before is answered; [`SessionState::Closed`] tells when it is done.
    Close,
    /// What [`ClientAction::Connect`] asked for could not be done.
    ConnectFailed {
        /// Which attempt.
        dial: DialId,
    },
    /// What [`ClientAction::Connect`] asked for is done.
    Connected {
        /// Which attempt; from now on, which connection.
        dial: DialId,
    },
    /// The connection is gone. Nothing more will come from it.
    Disconnected {
        /// Which.
        dial: DialId,
    },
    /// A watcher has gone: its watch is forgotten here without asking the server. Events that still come for it go to
    /// nobody.
    Forget {
        /// What it watched.
        path: String,
        /// By which kind of watch.
        kind: WatcherType,
        /// Who.
        watcher: WatcherId,
    },
    /// Bytes came, as the socket gave them: many frames or half of one.
    Received {
        /// From which connection.
        dial: DialId,
        /// What came.
        bytes: Bytes,
    },
    /// Time passed. Early and repeated ticks do nothing.
    Tick,
}

/// Something to be done, in the order in which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAction {
    /// A call has come to its end.
    Completed {
        /// Which.
        call: CallId,
        /// How.
        result: Result<Outcome, CallError>,
    },
    /// Connect to a server; report [`ClientInput::Connected`] or [`ClientInput::ConnectFailed`]. The name is resolved
    /// anew each time. There is no need to give up: the client does, by [`ClientAction::Hangup`].
    Connect {
        /// Names the attempt, and the connection that comes of it.
        dial: DialId,
        /// To which server.
        address: Address,
        /// Which of the name's addresses to take: this number modulo their count.
        choice: u64,
    },
    /// Somebody should know.
    Event(ClientEvent),
    /// Close the connection, or give up the attempt. The client has forgotten it already: nothing need be reported, and
    /// it does no harm.
    Hangup {
        /// Which.
        dial: DialId,
        /// Why, for the log.
        why: ClientHangup,
    },
    /// Send bytes to the server.
    Send {
        /// On which connection.
        dial: DialId,
        /// What to send, after all that was sent before.
        bytes: Bytes,
    },
}

/// What a client tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The connection or the session changed. Concerns every watcher (PARITY `ev.none`). The same state is never told
    /// twice in a row.
    State(SessionState),
    /// A watch saw something.
    Watch {
        /// What happened.
        kind: EventType,
        /// To which znode, without the chroot.
        path: String,
        /// The transaction that did it; [`Zxid::UNKNOWN`] if the server did not say.
        zxid: Zxid,
        /// Who waited for it, each once (PARITY `ev.once`). Nobody, if all of them have left since.
        watchers: Vec<WatcherId>,
    },
}

/// How it stands with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// The server refused an identity. The client is over.
    AuthFailed,
    /// The session was ended as asked. The client is over.
    Closed,
    /// A server serves the session.
    Connected,
    /// A server without a quorum answers reads.
    ConnectedReadOnly,
    /// No server is connected; the client tries to change that.
    Disconnected,
    /// The session has expired. The client is over.
    Expired,
}

impl SessionState {
    /// Whether nothing can follow.
    pub const fn is_final(self) -> bool {
        match self {
            Self::AuthFailed | Self::Closed | Self::Expired => true,
            Self::Connected | Self::ConnectedReadOnly | Self::Disconnected => false,
        }
    }
}

/// Why a client closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHangup {
    /// The client is over: closed, expired or refused.
    Over,
    /// The server sent something that is no answer to what it was asked.
    BadReply,
    /// A server with a quorum was found; this one has none.
    ReadWriteFound,
    /// The connection was only to ask whether the server has a quorum.
    Asked,
    /// Nothing was heard in time.
    Timeout,
    /// Watches could not be registered again; another server may do better.
    WatchesRefused,
}
