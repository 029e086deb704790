//! Runs a load: prepares, starts the threads together, and adds up what they counted.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Nanos, nanos, processor_time};
use crate::options::Options;
use crate::report::{Begun, Report, print};
use crate::setup;
use crate::tally::Tally;
use crate::worker::Worker;

/// Time between the decision to start and the start, so that all threads have heard of it.
const START_DELAY: Duration = Duration::from_millis(20);
/// Between two looks at whether the run has started.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What the threads of a run share.
#[derive(Debug)]
pub struct Shared {
    /// The one clock.
    pub clock: Clock,
    /// Sessions that are up.
    established: AtomicUsize,
    /// When to start; 0 until all sessions are up.
    start: AtomicU64,
    /// A thread has given up.
    failed: AtomicBool,
    /// Somebody has said that the load should end.
    told: AtomicBool,
}

impl Shared {
    /// Counts a session that is up; the last one of `count` starts the run.
    pub fn on_established(&self, count: usize) {
        // The start may be seen late, never early: each thread polls for it and nothing else hangs on the order.
        if self.established.fetch_add(1, Ordering::Relaxed) + 1 == count {
            self.start.store(self.clock.now() + nanos(START_DELAY), Ordering::Relaxed);
        }
    }

    /// When the run starts, once that is known.
    pub fn start(&self) -> Option<Nanos> {
        Some(self.start.load(Ordering::Relaxed)).filter(|start| *start > 0)
    }

    /// Whether another thread has given up.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the load should end now.
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Makes all threads give up.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Runs the load that `options` describe.
pub fn run(options: &Options) -> Result<Report, String> {
    if options.fill.is_some() {
        setup::prepare_root(options)?;
    } else if !options.no_prepare {
        setup::prepare(options)?;
    }
    let shared = Arc::new(Shared {
        clock: Clock::start(),
        established: AtomicUsize::new(0),
        start: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        told: AtomicBool::new(false),
    });
    if options.until_line {
        let (shared, json) = (Arc::clone(&shared), options.json);
        // Not joined: it may wait for a line for ever, and ends with the process.
        thread::spawn(move || wait_for_line(&shared, json));
    }
    let processor_before = processor_time();
    let tallies: Vec<Result<Tally, String>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|index| {
                let shared = &shared;
                scope.spawn(move || {
                    let tally = Worker::new(options, shared, index).and_then(Worker::run);
                    if tally.is_err() {
                        shared.fail();
                    }
                    tally
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
    });
    let processor = processor_time() - processor_before;
    let mut sum = Tally::default();
    for tally in tallies {
        sum.merge(tally?);
    }
    let start = shared.start().expect("the workers ran");
    Ok(Report::new(options, sum, start, Duration::from_nanos(shared.clock.now() - start), processor))
}

/// Says that the load has begun, and ends it when a line or the end of standard input comes.
fn wait_for_line(shared: &Shared, json: bool) {
    while shared.start().is_none() {
        thread::sleep(LOOK_INTERVAL);
    }
    print(&Begun { ready: true }, json);
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    shared.told.store(true, Ordering::Relaxed);
}
