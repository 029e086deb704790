//! A timer that wakes a poll with better than millisecond precision.
//!
//! On Linux the poll itself rounds timeouts up to whole milliseconds, which would make an open loop of 10,000 requests
//! a second send in bursts of ten and measure its own lateness. A timer descriptor has no such rounding; elsewhere the
//! poll's own timeout is exact and the alarm only hands it out.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// One alarm of one poll.
#[derive(Debug)]
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: rustix::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    /// Makes an alarm whose events carry `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let fd = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&fd), token, mio::Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Wakes the poll after `delay`, replacing an earlier alarm. Returns the timeout the poll needs beside it.
    pub fn set(&self, delay: Duration) -> io::Result<Duration> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        // A zero value would switch the timer off.
        let delay = delay.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: delay.as_secs().try_into().expect("no run lasts that long"),
                tv_nsec: delay.subsec_nanos().into(),
            },
        };
        // Setting it also clears an expiry that was not read, so the descriptor never needs reading.
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(delay + Duration::from_millis(2))
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// Makes an alarm; nothing to register, the poll's timeout does the work.
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns the timeout the poll needs.
    pub fn set(&self, delay: Duration) -> io::Result<Duration> {
        Ok(delay)
    }
}
