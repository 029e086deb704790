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

    /// Whether it is the first transaction of a later epoch than that of `last`. Leaders count from 1, and their epochs
    /// have gaps: one that nobody proposed anything in leaves no trace.
    pub const fn begins_epoch_after(self, last: Self) -> bool {
        self.epoch() > last.epoch() && self.counter() == 1
    }

    /// Whether it may come right behind `last` in a history: it is the transaction after it, or the first one of a later
    /// epoch. Of the same epoch nothing is missing between the two then; what was proposed at the end of the earlier one
    /// and agreed on by nobody leaves no trace either.
    ///
    /// ZooKeeper has no such rule. It is how its leaders give out zxids (PARITY `zab.zxid`), which it relies on: a learner
    /// that finds something else says so in its log, and goes on (PARITY `sync.contiguous`).
    pub const fn follows(self, last: Self) -> bool {
        // There is none after the last of all, which a peer may name.
        let is_next = last.0 < i64::MAX && self.0 == last.0 + 1;
        is_next || self.begins_epoch_after(last)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All zxids near the ends of the first, some and the last epoch, against a history of leaders that count.
    #[test]
    fn sync_contiguous_what_may_come_behind_what() {
        const COUNTERS: [u32; 6] = [0, 1, 2, 3, u32::MAX - 1, u32::MAX];
        let all = || {
            [0, 1, 2, i32::MAX as u32]
                .into_iter()
                .flat_map(|epoch| COUNTERS.map(|counter| Zxid::new(epoch, counter)))
        };
        for (last, zxid) in all().flat_map(|last| all().map(move |zxid| (last, zxid))) {
            let (epochs, counters) = ((last.epoch(), zxid.epoch()), (last.counter(), zxid.counter()));
            let expected = match counters {
                (_, 1) if epochs.1 > epochs.0 => true,
                // A standalone server that counts straight through.
                (u32::MAX, 0) => epochs.1.checked_sub(epochs.0) == Some(1),
                (before, after) => epochs.0 == epochs.1 && before.checked_add(1) == Some(after),
            };
            assert_eq!(zxid.follows(last), expected, "{zxid} behind {last}");
            assert!(!zxid.begins_epoch_after(last) || zxid.follows(last), "{zxid} behind {last}");
            assert!(!zxid.follows(last) || zxid > last, "{zxid} behind {last}");
        }
        assert!(!Zxid::UNKNOWN.follows(Zxid::UNKNOWN) && Zxid::ZERO.next().follows(Zxid::ZERO));
    }
}
