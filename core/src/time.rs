//! Time as a value. Nothing in this crate reads a clock: [`Now`] comes in with every input.
//!
//! Two clocks, two uses. The monotonic one drives every timeout; its zero is arbitrary and differs between
//! processes. The wall clock only stamps transactions (and through them `ctime` and `mtime`), seeds session ids
//! and decides when a TTL node is old; it may step in either direction.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on this process's monotonic clock, in nanoseconds since an arbitrary zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's arbitrary zero.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after zero.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since zero.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The earliest of several timers, of those that are set.
    pub(crate) fn earliest(timers: &[Option<Self>]) -> Option<Self> {
        let mut earliest = None;
        for &timer in timers {
            earliest = match (earliest, timer) {
                (Some(one), Some(other)) => Some(Self::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        earliest
    }

    /// Time passed since `earlier`, or nothing if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Milliseconds since 1970-01-01 UTC, as ZooKeeper stamps transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Both clocks, read together by whoever drives the state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Drives timeouts; never goes back.
    pub mono: Instant,
    /// Stamps transactions; may step either way.
    pub wall: WallTime,
}
