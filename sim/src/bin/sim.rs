//! Runs simulated worlds: `run` a few, `replay` one, `soak` until stopped, `meta` each twice, `speed` to time them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sim::options::Options;
use sim::report::{Report, commit};
use sim::rt::{self, Plan};
use sim::seed::Seed;
use sim::world::Counts;

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
    },
    /// Run one seed and print everything that happens.
    Replay {
        /// The seed.
        seed: Seed,
        /// Print only the report.
        #[arg(long)]
        quiet: bool,
    },
    /// Run fresh seeds until stopped, with a line a minute; failing seeds are printed and kept in a file.
    Soak {
        /// Where failing seeds are kept.
        #[arg(long, default_value = "failing-seeds.txt")]
        keep: std::path::PathBuf,
    },
    /// Tell how fast worlds of five servers and ten clients with 200 requests a second go by, on one processor.
    Speed {
        /// How many.
        #[arg(long, default_value_t = 30)]
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

fn main() -> ExitCode {
    let Arguments { cluster, any, command } = Arguments::parse();
    let (of, options): (Of, fn(Seed) -> Options) = match (cluster, any) {
        (true, _) => (Report::of_cluster, Options::cluster),
        (_, true) => (Report::of_any, Options::any),
        _ => (Report::of, Options::from_seed),
    };
    match command {
        Command::Run { seed, count, keep_going } => {
            run(of, seed.unwrap_or_else(rt::fresh), count, keep_going)
        }
        Command::Replay { seed, quiet } => {
            let report = if quiet { of(seed) } else { Report::of_loud(seed, options(seed)) };
            println!("{report}");
            ExitCode::from(report.exit_code())
        }
        Command::Soak { keep } => soak(of, &keep),
        Command::Speed { count } => speed(count),
        Command::Meta { seed, count } => meta(of, seed, count),
    }
}

/// What runs a seed.
type Of = fn(Seed) -> Report;

fn run(of: Of, first: Seed, count: u64, keep_going: bool) -> ExitCode {
    println!("{count} seeds from {first}, commit {}", commit());
    let mut code = 0;
    let mut failed = Vec::new();
    let mut done = 0_u64;
    Plan::new(first, count).run(of, |seed, report| {
        done += 1;
        if report.failure.is_some() {
            println!("{report}\n");
            code = report.exit_code();
            failed.push(seed.0);
        }
        keep_going || report.failure.is_none()
    });
    println!("{done} seeds run, {} failed {failed:?}", failed.len());
    ExitCode::from(code)
}

fn soak(of: Of, keep: &std::path::Path) -> ExitCode {
    let first = rt::fresh();
    println!("soaking from seed {first}, commit {}", commit());
    let (mut done, mut failed, mut simulated) = (0_u64, 0_u64, 0_u64);
    let mut said = rt::Stopwatch::default();
    Plan::new(first, 1 << 32).run(of, |seed, report| {
        done += 1;
        simulated += report.simulated.0 / 1_000_000_000;
        if report.failure.is_some() {
            failed += 1;
            println!("{report}\n");
            let kept =
                std::fs::OpenOptions::new().append(true).create(true).open(keep).and_then(|mut file| {
                    use std::io::Write;
                    writeln!(file, "{seed} {}", commit())
                });
            if let Err(error) = kept {
                println!("{} was not written: {error}", keep.display());
            }
        }
        if said.minute_passed() {
            println!("{done} seeds, {failed} failed, {simulated} simulated seconds");
        }
        true
    });
    ExitCode::from(u8::from(failed > 0))
}

fn speed(count: u64) -> ExitCode {
    let mut plan = Plan::new(Seed(0), count);
    plan.jobs = 1;
    let (mut failed, mut simulated) = (0_u64, 0.0);
    let mut counts = Counts::default();
    let begun = rt::fresh().0;
    plan.run(
        |seed| Report::of_options(seed, Options::measured(seed)),
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
    let real = (rt::fresh().0 - begun) as f64 / 1e9;
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

fn meta(of: Of, first: Seed, count: u64) -> ExitCode {
    let mut differing = 0;
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
