//! The only file that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zabra_core::time::{Instant, Now, WallTime};

/// Both clocks of this process. The monotonic one counts from when this value was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    pub(crate) fn start() -> Self {
        Self { zero: tokio::time::Instant::now() }
    }

    /// What both clocks show.
    ///
    /// # Panics
    /// If the monotonic clock went back, because every timeout would be wrong from then on.
    pub(crate) fn now(&self) -> Now {
        let passed = tokio::time::Instant::now()
            .checked_duration_since(self.zero)
            .expect("the operating system's monotonic clock went back");
        Now { mono: Instant::ZERO + passed, wall: wall_time() }
    }

    /// The runtime's name for `instant`, to set a timer with.
    pub(crate) fn to_runtime(self, instant: Instant) -> tokio::time::Instant {
        let passed = Duration::from_nanos(instant.as_nanos());
        // Past what the runtime can express, any time far away is as good.
        self.zero.checked_add(passed).unwrap_or(self.zero + Duration::from_secs(86_400 * 365))
    }
}

fn wall_time() -> WallTime {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    WallTime(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_passes_and_converts_back() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono >= first.mono);
        assert!(first.wall.0 > 1_600_000_000_000, "the wall clock shows this century");
        let deadline = Instant::from_millis(1500);
        assert_eq!(clock.to_runtime(deadline) - clock.zero, Duration::from_millis(1500));
        let never = clock.to_runtime(Instant::from_nanos(u64::MAX));
        assert!(never > clock.zero);
    }
}
