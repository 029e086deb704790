//! Transaction ids: which leader's epoch, and which transaction of that epoch.

use core::fmt;

/// A transaction id: epoch in the upper 32 bits, counter in the lower. Order is the order of transactions.
///
/// It is signed because ZooKeeper's is; -1 means "unknown" on the wire (events synthesised by setWatches).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before the first transaction.
    pub const ZERO: Self = Self(0);
    /// What the wire carries where no transaction is meant.
    pub const UNKNOWN: Self = Self(-1);

    /// The zxid of transaction `counter` in `epoch`.
    pub const fn new(epoch: u32, counter: u32) -> Self {
        Self(((epoch as i64) << 32) | counter as i64)
    }

    /// The leader's epoch.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The transaction's number within the epoch; the leader's first is 1.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// Whether it is no transaction, but what its epoch begins with: NEWLEADER and its acknowledgement are said with
    /// it, and snapshots may be named after it. [`Self::ZERO`] is one, too.
    pub const fn begins_epoch(self) -> bool {
        self.counter() == 0
    }

    /// The transaction after this one. A standalone server counts straight through, as ZooKeeper's does.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::LowerHex for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}
