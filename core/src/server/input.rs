//! Everything that can happen to a server.

use core::net::SocketAddr;

use bytes::Bytes;

use crate::store::DiskDone;
use crate::types::{ConnId, DialId, LinkId};

/// Something that happened. Together with the time it happened at, all that a [`super::Server`] ever learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed. Early and repeated ticks do nothing.
    Tick,
    /// A client connected.
    Accepted {
        /// The number given to the connection.
        conn: ConnId,
        /// Where it comes from.
        from: SocketAddr,
    },
    /// Bytes came from a client, as the socket gave them: many frames or half of one.
    Received {
        /// From which connection.
        conn: ConnId,
        /// What came.
        bytes: Bytes,
    },
    /// The operating system took bytes that were sent.
    Drained {
        /// On which connection.
        conn: ConnId,
        /// How many.
        bytes: usize,
    },
    /// The connection is gone, by either side's doing. Nothing more will come from it.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// A link to another server stands.
    LinkUp {
        /// The number given to it.
        link: LinkId,
        /// How it came about.
        origin: LinkOrigin,
    },
    /// What [`super::Action::Dial`] asked for could not be done.
    DialFailed {
        /// Which attempt.
        dial: DialId,
    },
    /// Bytes came from another server, as the socket gave them.
    LinkReceived {
        /// On which link.
        link: LinkId,
        /// What came.
        bytes: Bytes,
    },
    /// The operating system took bytes that were sent to another server.
    LinkDrained {
        /// On which link.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// What [`super::Action::KeepConfig`] or [`super::Action::KeepSeenConfig`] asked for could not be done. To be said
    /// before anything is done that was asked for behind it.
    ConfigNotKept {
        /// Whether it is the configuration in force that is not kept, and with it nothing that was asked to be kept
        /// since; else only the newest one is not.
        in_force: bool,
    },
    /// The link is gone, by either side's doing. Nothing more will come from it.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// A disk operation ended.
    Disk(DiskDone),
    /// How many files the process has open, for whoever asks the server. Told whenever the caller likes.
    OpenFiles(OpenFiles),
    /// Stop in order: take no more requests, finish what is under way, then [`super::Action::Halt`].
    Shutdown,
}

/// Files that a process has open, sockets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// How many there are.
    pub count: u64,
    /// How many there may be.
    pub max: u64,
}

/// The ports on which servers of an ensemble talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerPort {
    /// Votes.
    Election,
    /// Observers and a follower that serves them.
    ObserverMaster,
    /// Leader and learners.
    Quorum,
}

/// How a link came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOrigin {
    /// Another server connected.
    Accepted {
        /// To which port.
        port: PeerPort,
        /// Where it comes from.
        from: SocketAddr,
    },
    /// [`super::Action::Dial`] asked for it.
    Dialed {
        /// Which attempt.
        dial: DialId,
    },
}
