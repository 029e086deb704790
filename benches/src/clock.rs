//! Nanoseconds since the program started: half the size of std's instant, and one subtraction away from a latency.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the clock was made.
pub type Nanos = u64;

/// The clock all threads of one run share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
}

impl Clock {
    /// Starts at zero now.
    pub fn start() -> Self {
        Self { base: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now(self) -> Nanos {
        nanos(self.base.elapsed())
    }
}

/// A duration as nanoseconds.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).expect("no run lasts 584 years")
}

/// Processor time that all threads of this process have used. Tells whether the generator was what limited a run.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below one second"))
}
