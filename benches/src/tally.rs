//! What one thread counted, and how the counts of several add up.
//!
//! The measuring window is half open. Throughput counts the replies that arrive in it. Latency counts the requests sent
//! in it (under an open loop: due in it), whenever their replies come: a stall across the end of the window is not cut
//! off.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

use crate::clock::Nanos;
use crate::generator::Class;
use crate::jute::error_code;
use crate::outstanding::{OutOfOrder, Sent};
use crate::session::Lost;

/// Longest latency told apart from longer ones: a minute.
const LATENCY_MAX: Nanos = 60_000_000_000;

/// A histogram that records equal values that follow each other at once.
///
/// A closed loop's replies often share both the time they were sent and the time they came.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
    run_value: Nanos,
    run_count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("valid bounds");
        Self { histogram, run_value: 0, run_count: 0 }
    }
}

impl Latencies {
    /// Records one latency.
    pub fn record(&mut self, latency: Nanos) {
        if latency != self.run_value {
            self.finish();
            self.run_value = latency;
        }
        self.run_count += 1;
    }

    /// The histogram of all that was recorded, in nanoseconds.
    pub fn histogram(&mut self) -> &Histogram<u64> {
        self.finish();
        &self.histogram
    }

    fn finish(&mut self) {
        if self.run_count > 0 {
            self.histogram.saturating_record_n(self.run_value.max(1), self.run_count);
            self.run_count = 0;
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.finish();
        self.histogram.add(other.histogram()).expect("equal bounds");
    }
}

/// Everything a thread counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    window: Range<Nanos>,
    /// Replies that arrived in the window.
    pub replies: u64,
    /// Bytes that arrived in the window.
    pub bytes_received: u64,
    /// When the last reply of the run came.
    pub reply_last: Nanos,
    /// Latencies of reads and of requests that set a watch.
    pub reads: Latencies,
    /// Latencies of everything that changes the tree.
    pub writes: Latencies,
    /// From sending a write to the event it fires.
    pub events: Latencies,
    /// Watch events that came as they should.
    pub event_count: u64,
    /// Writes to a watched znode whose reply came without, or before, the event.
    pub events_missed: u64,
    /// Events that nothing had asked for.
    pub events_unexpected: u64,
    /// Error replies of the whole run, by code.
    pub errors: BTreeMap<i32, u64>,
    /// Lost sessions, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Replies out of order; each also costs its session.
    pub out_of_order: u64,
    /// Requests whose reply never came.
    pub unanswered: u64,
    /// Replies by second of the window.
    pub series: Vec<u64>,
}

impl Tally {
    /// An empty tally for the given window.
    pub fn new(window: Range<Nanos>) -> Self {
        Self { window, ..Self::default() }
    }

    /// Counts a reply.
    pub fn on_reply(&mut self, sent: Sent, now: Nanos, error: i32) {
        if error != error_code::OK {
            *self.errors.entry(error).or_default() += 1;
        }
        self.reply_last = now;
        if self.window.contains(&now) {
            self.replies += 1;
            let second =
                usize::try_from((now - self.window.start) / 1_000_000_000).expect("a run of seconds");
            if second >= self.series.len() {
                self.series.resize(second + 1, 0);
            }
            self.series[second] += 1;
        }
        if self.window.contains(&sent.at) {
            let latency = now.saturating_sub(sent.at);
            match sent.class {
                Class::Read | Class::Register => self.reads.record(latency),
                Class::Trigger | Class::Write => self.writes.record(latency),
            }
        }
    }

    /// Counts received bytes.
    pub fn on_bytes(&mut self, bytes: usize, now: Nanos) {
        if self.window.contains(&now) {
            self.bytes_received += bytes as u64;
        }
    }

    /// Counts a watch event whose cause was sent at `cause`.
    pub fn on_event(&mut self, cause: Sent, now: Nanos) {
        self.event_count += 1;
        if self.window.contains(&cause.at) {
            self.events.record(now.saturating_sub(cause.at));
        }
    }

    /// Counts a lost session with its unanswered requests.
    pub fn on_lost(&mut self, why: &dyn std::fmt::Display, unanswered: usize) {
        *self.lost.entry(why.to_string()).or_default() += 1;
        self.unanswered += unanswered as u64;
    }

    /// Counts a reply out of order and names it.
    pub fn on_out_of_order(&mut self, wrong: OutOfOrder) -> Lost {
        self.out_of_order += 1;
        eprintln!("reply out of order: expected xid {:?}, found {}", wrong.expected, wrong.found);
        Lost::Malformed
    }

    /// Adds the counts of another thread of the same run.
    pub fn merge(&mut self, other: Self) {
        self.replies += other.replies;
        self.bytes_received += other.bytes_received;
        self.reply_last = self.reply_last.max(other.reply_last);
        self.reads.merge(other.reads);
        self.writes.merge(other.writes);
        self.events.merge(other.events);
        self.event_count += other.event_count;
        self.events_missed += other.events_missed;
        self.events_unexpected += other.events_unexpected;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        for (why, count) in other.lost {
            *self.lost.entry(why).or_default() += count;
        }
        self.out_of_order += other.out_of_order;
        self.unanswered += other.unanswered;
        if self.series.len() < other.series.len() {
            self.series.resize(other.series.len(), 0);
        }
        for (sum, count) in self.series.iter_mut().zip(other.series) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the window counts replies by arrival and latencies by sending, and a merge adds both.
    #[test]
    fn window_and_merge() {
        let mut tally = Tally::new(1_000..2_000);
        let sent = |at| Sent { at, class: Class::Write };
        tally.on_reply(sent(900), 1_100, 0); // sent before: throughput only
        tally.on_reply(sent(1_500), 1_700, 0); // both
        tally.on_reply(sent(1_500), 1_700, -101); // both, and an error
        tally.on_reply(sent(1_900), 5_900, 0); // stalled over the end: latency only
        assert_eq!(tally.replies, 3);
        assert_eq!(tally.writes.histogram().len(), 3);
        assert!(tally.writes.histogram().max() >= 4_000);
        assert_eq!(tally.errors, BTreeMap::from([(-101, 1)]));
        assert_eq!(tally.series, [3]);

        tally.merge(tally.clone());
        assert_eq!((tally.replies, tally.writes.histogram().len(), tally.errors[&-101]), (6, 6, 2));
        assert_eq!((tally.series, tally.reply_last), (vec![6], 5_900));
    }
}
