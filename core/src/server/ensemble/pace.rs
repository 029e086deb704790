//! How fast a snapshot goes out.
//!
//! Encoding a tree, and reading it on the other side, take all of a processor each, for as long as the network takes what
//! comes. Where it is fast, or both are on one machine, a leader that did nothing else meanwhile would keep its clients
//! waiting. So a snapshot has a pace: faster than most networks are, and slow enough that there is time between its pieces.
//! A tree of a million znodes of 100 bytes takes a second.

use core::time::Duration;

use crate::time::Instant;

/// How long a byte takes, at least: 200 MB a second.
const NANOS_PER_BYTE: u64 = 5;

/// So much may be sent ahead of time: timers are coarser than pieces are small.
const AHEAD: Duration = Duration::from_millis(2);

/// The pace of what is being sent.
#[derive(Debug)]
pub(super) struct Pace {
    /// When as much may have been sent as was.
    paid_until: Instant,
}

impl Pace {
    pub(super) const fn begin(now: Instant) -> Self {
        Self { paid_until: now }
    }

    /// From when on more may be sent.
    pub(super) fn resumes(&self) -> Instant {
        let ahead = u64::try_from(AHEAD.as_nanos()).expect("far less than 585 years");
        Instant::from_nanos(self.paid_until.as_nanos().saturating_sub(ahead))
    }

    /// Takes note that bytes were sent. Time in which nothing was is not saved up.
    pub(super) fn on_sent(&mut self, bytes: usize, now: Instant) {
        let takes = Duration::from_nanos(NANOS_PER_BYTE * bytes as u64);
        self.paid_until = self.paid_until.max(now) + takes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 16_000;

    /// Sends whenever it may, woken a while late each time, and says how much went out.
    fn sent(late: Duration, lasting: Duration) -> usize {
        let mut now = Instant::from_millis(1000);
        let (mut pace, end, mut sent) = (Pace::begin(now), now + lasting, 0);
        while now < end {
            while pace.resumes() <= now {
                pace.on_sent(PIECE, now);
                sent += PIECE;
            }
            now = pace.resumes() + late;
        }
        sent
    }

    #[test]
    fn late_timers_do_not_slow_it_down() {
        for late_us in [0, 100, 900, 1900] {
            let sent = sent(Duration::from_micros(late_us), Duration::from_secs(3));
            assert!((599_000_000..602_500_000).contains(&sent), "{late_us} us late: {sent}");
        }
    }

    #[test]
    fn what_was_not_sent_in_time_is_not_made_up_for() {
        let begin = Instant::from_millis(7);
        let mut pace = Pace::begin(begin);
        let later = begin + Duration::from_secs(5);
        pace.on_sent(1_000_000, later);
        assert_eq!(pace.resumes(), later + Duration::from_millis(3));
    }
}
