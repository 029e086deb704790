//! True time, which only the world knows, and the clocks of nodes, which err.
//!
//! A node has two: a monotonic one whose rate is off by some parts per million and whose zero is arbitrary per
//! process, and a wall clock that in addition is off by an offset and may be stepped either way.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use zabra_core::time::{Instant, Now, WallTime};

/// A point in simulated time: nanoseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimTime(pub u64);

impl SimTime {
    /// The beginning of the world.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const FOREVER: Self = Self(u64::MAX / 2);

    /// Time passed since `earlier`, or nothing if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_nanos() as u64)
    }
}

impl Sub for SimTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// Where the wall clocks of all nodes stand at the beginning of the world (2023-11-14).
const WALL_AT_ZERO_MS: i64 = 1_700_000_000_000;

/// Rates are told in parts of it.
const MILLION: u64 = 1_000_000;

/// The clocks of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Parts per million by which both clocks run fast.
    rate_ppm: i64,
    /// How far the wall clock is ahead, the effect of its rate apart.
    wall_offset_ms: i64,
    /// What the monotonic clock showed at the beginning of the world, were it that old.
    mono_base: u64,
}

impl Clock {
    /// A clock that runs `rate_ppm` fast and whose wall is `wall_offset_ms` ahead.
    pub const fn new(rate_ppm: i64, wall_offset_ms: i64) -> Self {
        Self { rate_ppm, wall_offset_ms, mono_base: 0 }
    }

    /// Gives the monotonic clock another zero, as each process start does.
    pub fn restart(&mut self, mono_base: u64) {
        self.mono_base = mono_base;
    }

    /// Moves the wall clock by `step_ms`, as an operator or NTP does.
    pub fn step_wall(&mut self, step_ms: i64) {
        self.wall_offset_ms += step_ms;
    }

    /// What both clocks show at `at`.
    pub fn now(&self, at: SimTime) -> Now {
        let local = self.local(at.0);
        Now {
            mono: Instant::from_nanos(self.mono_base + local),
            wall: WallTime(WALL_AT_ZERO_MS + self.wall_offset_ms + (local / 1_000_000) as i64),
        }
    }

    /// The first moment at which the monotonic clock shows `instant` or more; never, if beyond all time.
    pub fn when(&self, instant: Instant) -> SimTime {
        let local = instant.as_nanos().saturating_sub(self.mono_base);
        let rate = MILLION.checked_add_signed(self.rate_ppm).expect("no clock runs backwards");
        // Rounded up, and one more for the rounding down in `local`: a timer must never fire early for ever. The whole
        // million is apart from the rest, so that 64 bits are enough.
        let whole = (local / rate).saturating_mul(MILLION);
        let mut at = SimTime(whole.saturating_add((local % rate * MILLION).div_ceil(rate)));
        while at.0 < u64::MAX && self.now(at).mono < instant {
            at.0 += 1;
        }
        at
    }

    fn local(&self, elapsed: u64) -> u64 {
        let rate = self.rate_ppm.unsigned_abs();
        let error = elapsed / MILLION * rate + elapsed % MILLION * rate / MILLION;
        if self.rate_ppm < 0 { elapsed - error } else { elapsed.checked_add(error).unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_reaches_its_deadline_early() {
        let fast = Clock::new(50_000, 0);
        let at = fast.when(Instant::from_millis(10_000));
        assert_eq!(at.0 / 1_000_000, 9_523);
        assert!(fast.now(at).mono >= Instant::from_millis(10_000));
        assert!(fast.now(SimTime(at.0 - 2)).mono < Instant::from_millis(10_000));
    }

    /// Against the same with all the room there is.
    #[test]
    fn sixty_four_bits_are_enough() {
        let hours = 3_600_000_000_000;
        let times =
            [0, 1, 999_999, 1_000_000, 1_000_001, 123_456_789_012_345, 50 * hours, SimTime::FOREVER.0];
        for rate in [-500_000, -50_000, -200, -1, 0, 1, 200, 50_000, 300_000, 500_000_i64] {
            let clock = Clock::new(rate, 0);
            for time in times {
                let wide = i128::from(time);
                let local = wide + wide * i128::from(rate) / 1_000_000;
                assert_eq!(i128::from(clock.local(time)), local, "{rate} {time}");
                let whole = i128::from(1_000_000 + rate);
                let earliest = (wide * 1_000_000 + whole - 1) / whole;
                let when = i128::from(clock.when(Instant::from_nanos(time)).0);
                assert!((earliest..earliest + 3).contains(&when), "{rate} {time}: {when}, not {earliest}");
            }
        }
    }

    #[test]
    fn steps_move_the_wall_and_not_the_monotonic_clock() {
        let mut clock = Clock::new(0, 0);
        let at = SimTime(5_000_000_000);
        let before = clock.now(at);
        clock.step_wall(-3_600_000);
        let after = clock.now(at);
        assert_eq!(after.mono, before.mono);
        assert_eq!(after.wall.0, before.wall.0 - 3_600_000);
    }

    #[test]
    fn timers_and_clock_agree_at_any_rate() {
        for rate in [-500_000, -50_000, -200, -1, 0, 1, 200, 50_000, 500_000] {
            let mut clock = Clock::new(rate, 0);
            clock.restart(123_456_789);
            for nanos in [123_456_789_u64, 123_456_790, 999_999_999, 7_777_777_777_777] {
                let instant = Instant::from_nanos(nanos);
                let at = clock.when(instant);
                assert!(clock.now(at).mono >= instant, "{rate} {nanos}");
            }
        }
    }
}
