//! Everything that can happen to a server.

use core::net::SocketAddr;

use bytes::Bytes;

use crate::store::DiskDone;
use crate::types::ConnId;

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
    /// A disk operation ended.
    Disk(DiskDone),
    /// Stop in order: take no more requests, finish what is under way, then [`super::Action::Halt`].
    Shutdown,
}
