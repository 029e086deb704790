//! What a server brings into an election, and into an epoch.

use core::ops::Range;

use super::zxid::Zxid;

/// The epochs that a server may have promised, with room in a zxid for the one after it. -1 is what ZooKeeper has on a disk
/// without `acceptedEpoch`.
pub const EPOCHS: Range<i64> = -1..i32::MAX as i64;

/// What speaks for a server: only what survives a crash is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnHistory {
    /// The epoch it has promised itself to.
    pub accepted_epoch: i64,
    /// The epoch of its history.
    pub current_epoch: i64,
    /// The last transaction in its log, all of which is durable.
    pub last_zxid: Zxid,
    /// Whether that is all it ever acknowledged. If not, it has no vote (PARITY `fle.zxid-1`).
    pub has_data: bool,
}

impl OwnHistory {
    /// The last transaction as a vote names it; [`Zxid::UNKNOWN`] if there may have been more.
    pub const fn voted_zxid(&self) -> Zxid {
        if self.has_data { self.last_zxid } else { Zxid::UNKNOWN }
    }
}
