//! Runs simulated worlds: `run` a few, `replay` or `watch` one, `shrink` one that fails, `soak` until stopped, `meta`
//! each twice, `hash` to compare builds, `speed` to time them.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use sim::fault::{Fault, FaultKind};
use sim::marks::Reached;
use sim::omissions::Omissions;
use sim::options::Options;
use sim::places::ClientId;
use sim::report::{Look, Report, commit};
use sim::rt::{self, Plan};
use sim::seed::{Seed, fnv};
use sim::shrink::Effort;
use sim::world::Counts;

/// Worlds live and die by the thousand, each in a thread of its own, and are made of small things that come and go.
///
/// This is mimalloc, as its crate has it, but for one thing: what needs no more than the usual alignment takes the shorter way
/// that does not look for any.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Whether all memory of this size is aligned well enough.
const fn is_usual(size: usize, align: usize) -> bool {
    align <= size_of::<usize>() && align <= size
}

// SAFETY: each of these does what is asked of an allocator, and all memory comes from the same heaps and goes back to them,
// whichever way it is taken.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: it takes any size, and alignments are powers of two.
        unsafe { if is_usual(size, align) { mi_malloc(size) } else { mi_malloc_aligned(size, align) } }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe { if is_usual(size, align) { mi_zalloc(size) } else { mi_zalloc_aligned(size, align) } }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, _layout: Layout) {
        // SAFETY: whoever calls has it from here.
        unsafe { mi_free(ptr.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: as above, both.
        unsafe {
            if is_usual(new_size, align) {
                mi_realloc(ptr.cast(), new_size)
            } else {
                mi_realloc_aligned(ptr.cast(), new_size, align)
            }
        }
        .cast()
    }
}

/// Seeded fault injection for Zabra.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Put the servers into an ensemble; without it, one stands alone.
    #[arg(long)]
    cluster: bool,
    /// Let the seed decide whether they are one.
    #[arg(long, conflicts_with = "cluster")]
    any: bool,
    /// Put them into an ensemble whose members come and go.
    #[arg(long, conflicts_with_all = ["cluster", "any"])]
    members: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run seeds and stop at the first that fails.
    Run {
        /// The first seed: a number, or a commit hash. A fresh one by default.
        #[arg(long)]
        seed: Option<Seed>,
        /// How many.
        #[arg(long, default_value_t = 100)]
        count: u64,
        /// Go on when one fails.
        #[arg(long)]
        keep_going: bool,
        #[command(flatten)]
        after: After,
    },
    /// Run one seed and print everything that happens.
    Replay {
        #[command(flatten)]
        one: One,
        /// Print only the report.
        #[arg(long)]
        quiet: bool,
    },
    /// Look for the least of a seed that fails still: fewer faults, fewer clients, less time.
    Shrink {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        effort: EffortArguments,
        /// Write a picture of the shortest run that fails into this file.
        #[arg(long)]
        picture: Option<PathBuf>,
    },
    /// Run one seed and write a picture of it: a page that any browser opens.
    Watch {
        #[command(flatten)]
        one: One,
        /// The file to write.
        #[arg(long, default_value = "picture.html")]
        picture: PathBuf,
    },
    /// Run fresh seeds until stopped, with a line a minute; failing seeds are printed and kept in a file.
    Soak {
        /// Where the commands are kept that show them again, each with its commit.
        #[arg(long, default_value = "failing-seeds.txt")]
        keep: PathBuf,
        /// Write a picture of each failing seed into this folder.
        #[arg(long)]
        picture: Option<PathBuf>,
    },
    /// Tell how fast worlds of five servers and ten clients with 200 requests a second go by, on one processor.
    Speed {
        /// How many.
        #[arg(long, default_value_t = 30)]
        count: u64,
    },
    /// Run seeds and print one number that stands for everything that happened in all of them: whatever a program was
    /// built for, it must print the same.
    Hash {
        /// The first seed.
        #[arg(long, default_value = "0")]
        seed: Seed,
        /// How many.
        #[arg(long, default_value_t = 10)]
        count: u64,
    },
    /// Run seeds twice each: both runs must go the same way, step by step.
    Meta {
        /// The first seed.
        #[arg(long, default_value = "0")]
        seed: Seed,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u64,
    },
}

/// A seed, and what is left out of it.
#[derive(Debug, Args)]
struct One {
    /// The seed.
    seed: Seed,
    /// Kinds of faults that do not come: kill,cut
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    without: Vec<FaultKind>,
    /// Of the kinds that are named only these faults come: kill#2,cut#1
    #[arg(long, value_delimiter = ',', value_name = "FAULTS")]
    only: Vec<Fault>,
    /// Clients that never come: c0,c3
    #[arg(long, value_delimiter = ',', value_name = "CLIENTS")]
    absent: Vec<ClientId>,
    /// When faults and requests end, in milliseconds of simulated time.
    #[arg(long)]
    duration_ms: Option<u64>,
    /// The same faults with other latencies; any number.
    #[arg(long, default_value_t = 0)]
    shake: u64,
    /// Stop at the first record that contains these words, as if it were a violation.
    #[arg(long, value_name = "WORDS")]
    stop_at: Option<String>,
}

/// What to do with a seed that fails.
#[derive(Debug, Args)]
struct After {
    #[command(flatten)]
    effort: EffortArguments,
    /// Write a picture of each failing seed into this folder.
    #[arg(long, value_name = "DIR")]
    picture: Option<PathBuf>,
}

/// How long to look for a shorter run that fails.
#[derive(Clone, Copy, Debug, Args)]
struct EffortArguments {
    /// Shrink a failure in at most so many runs; 0, not at all.
    #[arg(long, default_value_t = 100)]
    shrink_runs: u32,
    /// Try each step of it again with so many other latencies.
    #[arg(long, default_value_t = 1)]
    shakes: u64,
}

impl EffortArguments {
    const fn effort(self) -> Effort {
        Effort { runs_max: self.shrink_runs, shakes: self.shakes }
    }
}

impl One {
    fn options(&self, family: Family) -> Options {
        let mut omissions = Omissions {
            absent: self.absent.iter().copied().collect(),
            duration: self.duration_ms.map(Duration::from_millis),
            shake: self.shake,
            ..Omissions::default()
        };
        self.without.iter().for_each(|&kind| omissions.leave_out(kind));
        self.only.iter().for_each(|&fault| omissions.keep(fault));
        Options { omissions, ..family(self.seed) }
    }

    fn look(&self) -> Look {
        Look { stop_at: self.stop_at.clone(), ..Look::default() }
    }
}

/// What a seed stands for.
type Family = fn(Seed) -> Options;

fn main() -> ExitCode {
    let Arguments { cluster, any, members, command } = Arguments::parse();
    let family: Family = match (cluster, any, members) {
        (true, ..) => Options::cluster,
        (_, true, _) => Options::any,
        (.., true) => Options::members,
        _ => Options::from_seed,
    };
    match command {
        Command::Run { seed, count, keep_going, after } => {
            run(family, seed.unwrap_or_else(rt::fresh), count, keep_going, &after)
        }
        Command::Replay { one, quiet } => {
            let look = Look { loud: !quiet, ..one.look() };
            let (report, _) = Report::seen(one.seed, one.options(family), &look);
            println!("{report}");
            ExitCode::from(report.exit_code())
        }
        Command::Shrink { one, effort, picture } => shrink(&one, family, effort, picture.as_deref()),
        Command::Watch { one, picture } => {
            let look = Look { draws: true, ..one.look() };
            let (report, page) = Report::seen(one.seed, one.options(family), &look);
            println!("{report}");
            write_page(&picture, page);
            ExitCode::from(report.exit_code())
        }
        Command::Soak { keep, picture } => soak(family, &keep, picture.as_deref()),
        Command::Speed { count } => speed(count),
        Command::Hash { seed, count } => hash(family, seed, count),
        Command::Meta { seed, count } => meta(family, seed, count),
    }
}

fn of(family: Family, seed: Seed) -> Report {
    Report::of_options(seed, family(seed))
}

fn run(family: Family, first: Seed, count: u64, keep_going: bool, after: &After) -> ExitCode {
    println!("{count} seeds from {first}, commit {}", commit());
    let mut code = 0;
    let mut failed = Vec::new();
    let mut reached = Reached::default();
    let mut longest = (Duration::ZERO, 0);
    let mut done = 0_u64;
    let of = |seed| of(family, seed);
    Plan::new(first, count).run(of, |seed, report| {
        done += 1;
        reached.add(&report.reached);
        longest = longest.max((report.settled, seed.0));
        if report.failure.is_some() {
            println!("{report}\n");
            code = report.exit_code();
            failed.push(seed.0);
            let least = print_shrunk(&report, &Look::default(), after.effort);
            draw(least.as_ref().unwrap_or(&report), after.picture.as_deref());
        }
        keep_going || report.failure.is_none()
    });
    if count > 1 {
        println!("reached, how often:\n{reached}");
        println!("longest until all were at rest: {:?}, in seed {}", longest.0, longest.1);
    }
    let seeds = if done == 1 { "1 seed" } else { &format!("{done} seeds") };
    match failed.as_slice() {
        [] => println!("{seeds} run, none failed"),
        failed => println!("{seeds} run, {} failed: {failed:?}", failed.len()),
    }
    ExitCode::from(code)
}

fn shrink(one: &One, family: Family, effort: EffortArguments, picture: Option<&Path>) -> ExitCode {
    let look = one.look();
    let (report, _) = Report::seen(one.seed, one.options(family), &look);
    match print_shrunk(&report, &look, effort) {
        None => println!("{report}"),
        Some(least) => {
            if let (Some(path), Some(failure)) = (picture, &least.failure) {
                let look = Look { draws: true, ..look };
                write_page(path, Report::seen(least.seed, failure.options.clone(), &look).1);
            }
        }
    }
    ExitCode::from(report.exit_code())
}

/// Shrinks a failure, if there is one and any effort is to be made, and tells what is left.
fn print_shrunk(report: &Report, look: &Look, effort: EffortArguments) -> Option<Report> {
    if effort.shrink_runs == 0 {
        return None;
    }
    let (least, runs) = report.shrink(look, effort.effort())?;
    println!("{}\nafter {runs} runs this is the least that fails:\n{}\n", "-".repeat(72), least.brief());
    Some(least)
}

/// Draws a failure into a folder.
fn draw(report: &Report, folder: Option<&Path>) {
    if let (Some(folder), Some(failure)) = (folder, &report.failure) {
        let look = Look { draws: true, ..Look::default() };
        let page = Report::seen(report.seed, failure.options.clone(), &look).1;
        if let Err(error) = std::fs::create_dir_all(folder) {
            println!("{} was not made: {error}", folder.display());
        }
        write_page(&folder.join(format!("seed-{}.html", report.seed)), page);
    }
}

fn write_page(path: &Path, page: Option<String>) {
    match std::fs::write(path, page.unwrap_or_default()) {
        Ok(()) => println!("picture: {}", path.display()),
        Err(error) => println!("{} was not written: {error}", path.display()),
    }
}

/// Seeds that `soak` takes at once.
const SOAK_ROUND: u64 = 256;

fn soak(family: Family, keep: &Path, picture: Option<&Path>) -> ExitCode {
    let first = rt::fresh();
    println!("soaking from seed {first}, commit {}", commit());
    let (mut done, mut failed, mut simulated, mut minutes) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut reached = Reached::default();
    let mut said = rt::Stopwatch::default();
    said.minute_passed();
    let of = |seed| of(family, seed);
    let mut take = |_: Seed, report: Report| {
        done += 1;
        reached.add(&report.reached);
        simulated += report.simulated.0 / 1_000_000_000;
        if let Some(replay) = report.replay() {
            failed += 1;
            println!("{report}\n");
            draw(&report, picture);
            let kept =
                std::fs::OpenOptions::new().append(true).create(true).open(keep).and_then(|mut file| {
                    use std::io::Write;
                    writeln!(file, "{replay}  # commit {}", commit())
                });
            if let Err(error) = kept {
                println!("{} was not written: {error}", keep.display());
            }
        }
        if said.minute_passed() {
            minutes += 1;
            println!(
                "minute {minutes}: {done} seeds, {failed} failed, {simulated} simulated seconds, {} seeds a minute, not \
                 reached: {:?}",
                done / minutes,
                reached.missing()
            );
        }
        true
    };
    for round in 0..u64::MAX / SOAK_ROUND {
        Plan::new(first.nth(round * SOAK_ROUND), SOAK_ROUND).run(of, &mut take);
    }
    ExitCode::from(u8::from(failed > 0))
}

fn hash(family: Family, first: Seed, count: u64) -> ExitCode {
    let mut traces = BTreeMap::new();
    let of = |seed| of(family, seed);
    Plan::new(first, count).run(of, |seed, report| traces.insert(seed, report.trace).is_none());
    let all: Vec<u8> = traces.values().flat_map(|trace| trace.to_be_bytes()).collect();
    println!("{:016x}", fnv(&all));
    ExitCode::SUCCESS
}

fn speed(count: u64) -> ExitCode {
    let mut plan = Plan::new(Seed(0), count);
    plan.jobs = 1;
    let (mut failed, mut simulated) = (0_u64, 0.0);
    let mut counts = Counts::default();
    let begun = rt::real_nanos();
    plan.run(
        |seed| of(Options::measured, seed),
        |seed, report| {
            if let Some(failure) = &report.failure {
                println!("seed {seed} of this profile: {}", failure.violation);
                failed += 1;
            }
            simulated += report.simulated.0 as f64 / 1e9;
            counts.add(&report.counts);
            true
        },
    );
    let real = (rt::real_nanos() - begun) as f64 / 1e9;
    println!(
        "{simulated:.0} simulated seconds in {real:.1}: {:.0} times as fast; {:.0} events and {:.0} requests a simulated \
         second, {:.2} microseconds an event",
        simulated / real,
        counts.events as f64 / simulated,
        counts.requests as f64 / simulated,
        real * 1e6 / counts.events as f64,
    );
    ExitCode::from(u8::from(failed > 0))
}

fn meta(family: Family, first: Seed, count: u64) -> ExitCode {
    let mut differing = 0;
    let of = |seed| of(family, seed);
    Plan::new(first, count).run(
        |seed| (of(seed), of(seed)),
        |seed, (one, other)| {
            if one.trace == other.trace && one.counts == other.counts {
                println!("seed {seed}: trace {:016x} twice", one.trace);
            } else {
                println!("seed {seed}: trace {:016x}, then {:016x}", one.trace, other.trace);
                differing += 1;
            }
            true
        },
    );
    println!("{differing} of {count} seeds went two ways");
    ExitCode::from(u8::from(differing > 0))
}
