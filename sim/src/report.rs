//! What a run came to, told so that somebody who was not there understands it and can run it again.

use std::fmt;
use std::process::Command;

use crate::check::Violation;
use crate::clock::SimTime;
use crate::options::Options;
use crate::rt;
use crate::seed::Seed;
use crate::world::{Counts, World};

/// A run, and how it ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it followed from.
    pub seed: Seed,
    /// How much happened.
    pub counts: Counts,
    /// What stands for everything that happened.
    pub trace: u64,
    /// How long it was.
    pub simulated: SimTime,
    /// What went wrong, if anything did.
    pub failure: Option<Box<Failure>>,
}

/// What went wrong, and what came before it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What must not be.
    pub violation: Violation,
    /// The profile of the run.
    pub options: Options,
    /// The last records, oldest first.
    pub last: Vec<String>,
}

impl Report {
    /// Runs a seed from beginning to end.
    pub fn of(seed: Seed) -> Self {
        Self::of_world(seed, Options::from_seed(seed), false)
    }

    /// Likewise, of servers that form an ensemble.
    pub fn of_cluster(seed: Seed) -> Self {
        Self::of_world(seed, Options::cluster(seed), false)
    }

    /// Likewise, of whatever world the seed stands for.
    pub fn of_any(seed: Seed) -> Self {
        Self::of_world(seed, Options::any(seed), false)
    }

    /// Runs a profile.
    pub fn of_options(seed: Seed, options: Options) -> Self {
        Self::of_world(seed, options, false)
    }

    /// Runs a profile, with every record printed as it comes.
    pub fn of_loud(seed: Seed, options: Options) -> Self {
        Self::of_world(seed, options, true)
    }

    fn of_world(seed: Seed, options: Options, loud: bool) -> Self {
        rt::enter(seed, || {
            let mut world = World::with_options(seed, options);
            world.set_loud(loud);
            let verdict = world.run();
            Self::about(&world, verdict.err())
        })
    }

    /// How a world stands.
    pub fn about(world: &World, violation: Option<Violation>) -> Self {
        let failure = violation.map(|violation| {
            Box::new(Failure {
                violation,
                options: world.options().clone(),
                last: world.history().last().map(ToString::to_string).collect(),
            })
        });
        Self {
            seed: world.seed(),
            counts: *world.counts(),
            trace: world.trace(),
            simulated: world.now(),
            failure,
        }
    }

    /// The number that a process ends with: nothing wrong, a crash, no liveness, or no correctness.
    pub fn exit_code(&self) -> u8 {
        match self.failure.as_ref().map(|failure| failure.violation.check) {
            None => 0,
            Some("panic") => 127,
            Some("liveness") => 128,
            Some(_) => 129,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = &self.failure else {
            return write!(
                f,
                "seed {} passed: {} of {} events, {} requests, {} transactions, trace {:016x}",
                self.seed,
                self.simulated,
                self.counts.events,
                self.counts.requests,
                self.counts.applied,
                self.trace
            );
        };
        writeln!(f, "seed {} FAILED at {}", self.seed, self.simulated)?;
        writeln!(f, "\nthe last {} records:", failure.last.len())?;
        for record in &failure.last {
            writeln!(f, "  {record}")?;
        }
        writeln!(f, "\nprofile: {:#?}", failure.options)?;
        writeln!(f, "{:#?}", self.counts)?;
        writeln!(f, "\n{}", failure.violation)?;
        writeln!(f, "seed {}, commit {}, trace {:016x}", self.seed, commit(), self.trace)?;
        let cluster = if failure.options.config.ensemble.is_some() { "--cluster " } else { "" };
        write!(f, "run it again: cargo run -p sim -- {cluster}replay {}", self.seed)
    }
}

/// The commit that this was built from, as far as the working directory knows.
pub fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".into(),
    }
}
