//! What a run has shown, as text or as one line of JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Nanos;
use crate::jute::error_code;
use crate::options::Options;
use crate::tally::{Latencies, Tally};

/// Share of one processor per thread above which the generator itself may have been the limit.
const BUSY_LIMIT: f64 = 0.95;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    load: String,
    connections: usize,
    outstanding: usize,
    rate: Option<f64>,
    threads: usize,
    size: usize,
    seconds: f64,
    replies: u64,
    replies_per_second: f64,
    bytes_per_reply: f64,
    /// Microseconds.
    read: Option<Quantiles>,
    /// Microseconds.
    write: Option<Quantiles>,
    /// Microseconds from a write to the watch event it fired.
    event: Option<Quantiles>,
    events: u64,
    events_missed: u64,
    events_unexpected: u64,
    errors: BTreeMap<String, u64>,
    sessions_lost: BTreeMap<String, u64>,
    out_of_order: u64,
    unanswered: u64,
    /// Share of one processor that the generator used, per thread.
    generator_busy: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<u64>,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Quantiles {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Quantiles {
    /// The quantiles, unless nothing was recorded.
    pub fn new(latencies: &mut Latencies) -> Option<Self> {
        let histogram = latencies.histogram();
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(histogram.max()),
        })
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = self;
        write!(f, "p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} µs")
    }
}

fn micros(value: Nanos) -> f64 {
    value as f64 / 1e3
}

impl Report {
    /// Draws the sum of a run that began at `start`.
    pub fn new(options: &Options, mut sum: Tally, start: Nanos, ran: Duration, processor: Duration) -> Self {
        let seconds = match options.total() {
            Some(_) => Duration::from_nanos(sum.reply_last.saturating_sub(start)).as_secs_f64(),
            None if options.until_line => {
                Duration::from_nanos(sum.reply_last.saturating_sub(start)).as_secs_f64() - options.warm
            }
            None => options.measure().as_secs_f64(),
        };
        let named_errors = sum.errors.iter().map(|(code, count)| {
            let name = error_code::name(*code);
            (format!("{name} ({code})"), *count)
        });
        Self {
            load: options.load().to_string(),
            connections: options.connections,
            outstanding: options.outstanding,
            rate: options.rate,
            threads: options.threads,
            size: options.size,
            seconds,
            replies: sum.replies,
            replies_per_second: sum.replies as f64 / seconds.max(1e-9),
            bytes_per_reply: sum.bytes_received as f64 / sum.replies.max(1) as f64,
            read: Quantiles::new(&mut sum.reads),
            write: Quantiles::new(&mut sum.writes),
            event: Quantiles::new(&mut sum.events),
            events: sum.event_count,
            events_missed: sum.events_missed,
            events_unexpected: sum.events_unexpected,
            errors: named_errors.collect(),
            sessions_lost: sum.lost,
            out_of_order: sum.out_of_order,
            unanswered: sum.unanswered,
            generator_busy: processor.as_secs_f64() / ran.as_secs_f64().max(1e-9) / options.threads as f64,
            series: if options.series { sum.series } else { Vec::new() },
        }
    }

    /// Whether the server kept every promise this run could check.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
            && self.sessions_lost.is_empty()
            && self.out_of_order == 0
            && self.unanswered == 0
            && self.events_missed == 0
            && self.events_unexpected == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, connections, outstanding, .. } = self;
        let shape = match self.rate {
            None => format!("{connections} × {outstanding}"),
            Some(rate) => format!("{connections} connections, {rate} due a second"),
        };
        writeln!(
            f,
            "{load} {shape}: {:.0} replies a second ({} in {:.2} s, {:.0} bytes each)",
            self.replies_per_second, self.replies, self.seconds, self.bytes_per_reply
        )?;
        for (name, latencies) in [("read", &self.read), ("write", &self.write), ("event", &self.event)] {
            if let Some(latencies) = latencies {
                writeln!(f, "  {name:<6} {latencies}")?;
            }
        }
        if self.events > 0 {
            writeln!(f, "  {} watch events in their place", self.events)?;
        }
        if !self.series.is_empty() {
            writeln!(f, "  replies by second: {:?}", self.series)?;
        }
        writeln!(f, "  generator busy {:.0} %", self.generator_busy * 100.0)?;
        if self.generator_busy > BUSY_LIMIT {
            writeln!(f, "  NOTE: the generator may have been the limit, add --threads")?;
        }
        for (what, count) in [
            ("replies out of order", self.out_of_order),
            ("requests without reply", self.unanswered),
            ("watch events missed or late", self.events_missed),
            ("watch events without cause", self.events_unexpected),
        ] {
            if count > 0 {
                writeln!(f, "  BROKEN: {count} {what}")?;
            }
        }
        for (name, count) in &self.errors {
            writeln!(f, "  BROKEN: {count} replies with {name}")?;
        }
        for (why, count) in &self.sessions_lost {
            writeln!(f, "  BROKEN: {count} sessions lost: {why}")?;
        }
        Ok(())
    }
}

/// What a load that lasts until a line says first.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Begun {
    /// Always.
    pub ready: bool,
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the load has begun")
    }
}

/// What a phase has to say when its sessions are ready, and at its end.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseReport {
    /// Which phase.
    pub phase: &'static str,
    /// Whether all sessions came up, with all watches.
    pub ready: bool,
    /// Seconds until then, or until patience ended.
    pub seconds: f64,
    /// Sessions that are up.
    pub sessions: usize,
    /// Watches that are set.
    pub watches: u64,
    /// Connection attempts that failed and were made again.
    pub retries: u64,
    /// Sessions lost after they were up, by reason.
    pub sessions_lost: BTreeMap<String, u64>,
    /// Microseconds from the first connection attempt to the session.
    pub opening: Option<Quantiles>,
}

impl PhaseReport {
    /// Whether all went well.
    pub fn is_clean(&self) -> bool {
        self.ready && self.sessions_lost.is_empty()
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ready { "ready" } else { "not ready" };
        write!(f, "{state} {}: {} sessions", self.phase, self.sessions)?;
        if self.watches > 0 {
            write!(f, " and {} watches", self.watches)?;
        }
        write!(f, " in {:.3} s", self.seconds)?;
        if self.retries > 0 {
            write!(f, " with {} new attempts", self.retries)?;
        }
        writeln!(f)?;
        if let Some(opening) = &self.opening {
            writeln!(f, "  opening {opening}")?;
        }
        for (why, count) in &self.sessions_lost {
            writeln!(f, "  BROKEN: {count} sessions lost: {why}")?;
        }
        Ok(())
    }
}

/// Seconds between two times.
pub fn seconds(from: Nanos, to: Nanos) -> f64 {
    Duration::from_nanos(to.saturating_sub(from)).as_secs_f64()
}

/// Prints a report in the form asked for.
pub fn print<R: fmt::Display + Serialize>(report: &R, json: bool) {
    use std::io::Write;

    let text = if json {
        serde_json::to_string(report).expect("a report is plain data") + "\n"
    } else {
        report.to_string()
    };
    let mut out = std::io::stdout().lock();
    // Whoever stopped listening does not need the report.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
