//! Names of things that are only numbers: each its own type, so that one cannot stand in for another.

use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};

/// A client connection. The adapter numbers connections upward from 1 and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Hashes the numbers of connections, for tables of them.
pub type ConnIdHash = BuildHasherDefault<ConnIdHasher>;

/// They are given upward, and no client chooses its own: one multiplication spreads them.
#[derive(Debug, Default)]
pub struct ConnIdHasher(u64);

impl Hasher for ConnIdHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a connection's number is a u64");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A member of an ensemble: the number in its `myid` file, ZooKeeper's "sid".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A connection to another server, by either side's doing. The adapter numbers links upward from 1 and never uses a
/// number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// An attempt to connect to another server; what comes of it carries the same number. Numbered upward, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Hands out numbers of dials, each once. A server has one of these for both ports.
#[derive(Debug, Default)]
pub struct DialIds {
    issued: u64,
}

impl DialIds {
    /// The next number, greater than every one before.
    pub const fn issue(&mut self) -> DialId {
        self.issued += 1;
        DialId(self.issued)
    }
}

/// A client session. The top byte names the server that created it; 0 means "none yet" in a handshake.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session: what a new client sends, and what the server's own transactions carry.
    pub const NONE: Self = Self(0);
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A disk operation in flight; its completion carries the same number. Numbered upward, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
