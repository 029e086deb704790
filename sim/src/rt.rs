//! The only file that knows the runtime below: madsim's seeded single thread, its virtual time, and its guard that
//! turns libc's clocks and entropy into functions of the seed. And so the place where a seed becomes a run: a fresh
//! thread and a fresh runtime each, as many at once as there are jobs.
//!
//! The environment variables are madsim's own:
//!
//! | variable | what it sets | without it |
//! |---|---|---|
//! | `MADSIM_TEST_SEED` | the first seed: a number or a commit hash | the fixed seeds, then fresh ones |
//! | `MADSIM_TEST_NUM` | how many seeds from there on, or how many fresh ones | 1, or [`FRESH_SEEDS`] |
//! | `MADSIM_TEST_JOBS` | runs at once | the processors there are |
//! | `MADSIM_TEST_CHECK_DETERMINISM` | run each seed twice and compare | once |

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use madsim::Config;
use madsim::runtime::Runtime;

use crate::seed::Seed;

/// Seeds that every `cargo test` runs, from 0 on: a change that breaks one is bisected with them.
pub const FIXED_SEEDS: u64 = 100;
/// Seeds that nobody has run before, and that a `cargo test` adds.
pub const FRESH_SEEDS: u64 = 100;

const MINUTE: Duration = Duration::from_secs(60);

/// Which seeds to run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seeds, in order.
    pub seeds: Vec<Seed>,
    /// Runs at once.
    pub jobs: usize,
    /// Whether each seed runs twice and must go the same way.
    pub twice: bool,
}

impl Plan {
    /// `count` seeds from `first` on, once each, on all processors.
    pub fn new(first: Seed, count: u64) -> Self {
        Self {
            seeds: (0..count).map(|index| first.nth(index)).collect(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            twice: false,
        }
    }

    /// What the environment asks for; fixed and fresh seeds, if it asks for none.
    ///
    /// # Panics
    /// If a variable cannot be read as what it should be.
    pub fn from_env() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
        };
        let count = number("MADSIM_TEST_NUM");
        let mut plan = match std::env::var("MADSIM_TEST_SEED") {
            Ok(text) => {
                let first = text.parse().unwrap_or_else(|error| panic!("MADSIM_TEST_SEED: {error}"));
                Self::new(first, count.unwrap_or(1))
            }
            Err(_) => {
                let mut plan = Self::new(Seed(0), FIXED_SEEDS);
                plan.seeds.extend(Self::new(fresh(), count.unwrap_or(FRESH_SEEDS)).seeds);
                plan
            }
        };
        if let Some(jobs) = number("MADSIM_TEST_JOBS") {
            plan.jobs = jobs.max(1) as usize;
        }
        plan.twice = std::env::var("MADSIM_TEST_CHECK_DETERMINISM").is_ok();
        plan
    }

    /// Runs `each` for every seed until one answers `false`. Answers are given in the order in which runs end.
    pub fn run<T: Send>(
        &self,
        each: impl Fn(Seed) -> T + Sync,
        mut go_on: impl FnMut(Seed, T) -> bool + Send,
    ) {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let go_on = Mutex::new(&mut go_on);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.min(self.seeds.len()) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let Some(&seed) = self.seeds.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return;
                        };
                        let answer = each(seed);
                        let mut go_on = go_on.lock().expect("no run panics outside of `enter`");
                        if !stop.load(Ordering::Relaxed) && !go_on(seed, answer) {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    }
}

/// A seed that nobody has run before.
pub fn fresh() -> Seed {
    Seed(real_nanos())
}

/// Nanoseconds of real time, outside of any simulation: for a fresh seed, and to tell how long runs take.
pub fn real_nanos() -> u64 {
    #[expect(clippy::disallowed_types, reason = "the one place that asks for real time")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// Tells when a minute of real time has passed, for runs without an end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch {
    begun: Option<u64>,
}

impl Stopwatch {
    /// Whether a minute has passed since this last said so, or since it was first asked.
    pub fn minute_passed(&mut self) -> bool {
        let now = real_nanos();
        let begun = *self.begun.get_or_insert(now);
        let passed = now.saturating_sub(begun) > MINUTE.as_nanos() as u64;
        if passed {
            self.begun = Some(now);
        }
        passed
    }
}

/// Runs `f` in a simulation of its own: a fresh thread with virtual time that begins at zero.
///
/// # Panics
/// If `f` does.
pub fn enter<T: Send>(seed: Seed, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run =
            scope.spawn(|| Runtime::with_seed_and_config(seed.0, Config::default()).block_on(async { f() }));
        match run.join() {
            Ok(answer) => answer,
            Err(panic) => panic::resume_unwind(panic),
        }
    })
}

/// Lets virtual time pass, for whoever asks libc for it.
pub fn advance(duration: Duration) {
    if !duration.is_zero() {
        madsim::time::advance(duration);
    }
}

thread_local! {
    /// Where the last panic of this thread happened, and why, while [`catch`] waits for it.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `f`; a panic becomes its message. A broken assertion of a server is a finding like any other, and must not
/// take the records of the run with it.
///
/// # Errors
/// The panic's message and place.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    listen_to_panics();
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|_| {
        CAUGHT.with_borrow_mut(Option::take).unwrap_or_else(|| "a panic without a message".into())
    })
}

fn listen_to_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            CAUGHT.with_borrow_mut(|caught| *caught = Some(info.to_string()));
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_virtual_inside() {
        let passed = enter(Seed(1), || {
            #[expect(clippy::disallowed_types, reason = "shows that the guard is on")]
            let begin = std::time::Instant::now();
            advance(Duration::from_secs(1_000_000));
            begin.elapsed()
        });
        assert!(passed >= Duration::from_secs(1_000_000));
    }

    #[test]
    fn a_panic_becomes_its_message() {
        let message = enter(Seed(1), || catch(|| panic!("as planned"))).unwrap_err();
        assert!(message.contains("as planned") && message.contains("rt.rs"), "{message}");
    }

    #[test]
    fn a_plan_runs_every_seed_once_and_stops_when_told() {
        let mut plan = Plan::new(Seed(10), 50);
        plan.jobs = 3;
        let mut seen = Vec::new();
        plan.run(
            |seed| seed.0 * 2,
            |seed, twice| {
                assert_eq!(twice, seed.0 * 2);
                seen.push(seed.0);
                true
            },
        );
        seen.sort_unstable();
        assert_eq!(seen, (10..60).collect::<Vec<u64>>());
        let mut count = 0;
        plan.run(
            |_| (),
            |_, ()| {
                count += 1;
                count < 5
            },
        );
        assert_eq!(count, 5);
    }
}
