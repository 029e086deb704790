//! What a run came to, told so that somebody who was not there understands it and can run it again.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use crate::check::Violation;
use crate::clock::SimTime;
use crate::fault::{Fault, Struck};
use crate::marks::Reached;
use crate::omissions::Omissions;
use crate::onlooker::Onlooker;
use crate::options::Options;
use crate::picture::{About, Picture};
use crate::rt;
use crate::seed::Seed;
use crate::shrink::{Effort, Found, shrink};
use crate::world::{Counts, World};

/// A run, and how it ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it followed from.
    pub seed: Seed,
    /// How much happened.
    pub counts: Counts,
    /// Where it has been.
    pub reached: Reached,
    /// What stands for everything that happened.
    pub trace: u64,
    /// How long it was.
    pub simulated: SimTime,
    /// How long it took, at most, until all had come to rest.
    pub settled: Duration,
    /// What went wrong, if anything did.
    pub failure: Option<Box<Failure>>,
    /// What was asked for and did not come, a sentence each.
    pub missed: Vec<String>,
}

/// What went wrong, and what came before it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What must not be.
    pub violation: Violation,
    /// The profile of the run.
    pub options: Options,
    /// The words that were waited for, if the run was to be stopped at some.
    pub stop_at: Option<String>,
    /// The faults that came before, oldest first.
    pub struck: Vec<Struck>,
    /// The last records, oldest first.
    pub last: Vec<String>,
}

/// How to look at a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Print every record as it comes.
    pub loud: bool,
    /// Take the first record with these words in it for a violation.
    pub stop_at: Option<String>,
    /// Draw a picture.
    pub draws: bool,
    /// See no more than this of the run.
    pub until: Option<SimTime>,
}

impl Report {
    /// Runs a seed from beginning to end.
    pub fn of(seed: Seed) -> Self {
        Self::of_options(seed, Options::from_seed(seed))
    }

    /// Likewise, of servers that form an ensemble.
    pub fn of_cluster(seed: Seed) -> Self {
        Self::of_options(seed, Options::cluster(seed))
    }

    /// Likewise, and members come and go.
    pub fn of_members(seed: Seed) -> Self {
        Self::of_options(seed, Options::members(seed))
    }

    /// Runs a profile.
    pub fn of_options(seed: Seed, options: Options) -> Self {
        Self::seen(seed, options, &Look::default()).0
    }

    /// Runs a profile, and answers a page with a picture of the run, if there is to be one.
    pub fn seen(seed: Seed, options: Options, look: &Look) -> (Self, Option<String>) {
        rt::enter(seed, || {
            let mut world = World::with_options(seed, options);
            let picture = look.draws.then(|| Picture::new(world.options()));
            if look.loud || look.stop_at.is_some() || look.draws {
                world.set_onlooker(Onlooker { loud: look.loud, stop_at: look.stop_at.clone(), picture });
            }
            let verdict = match look.until {
                Some(until) => world.run_until(until),
                None => world.run(),
            };
            let mut report = Self::about(&world, verdict.err());
            match (&mut report.failure, &look.stop_at) {
                (Some(failure), stop_at) => failure.stop_at.clone_from(stop_at),
                (None, Some(words)) => report.missed.push(format!("no record has the words '{words}'")),
                (None, None) => {}
            }
            let picture = world.take_picture();
            let page = picture.map(|picture| picture.page(&report.for_picture(&world), world.now()));
            (report, page)
        })
    }

    /// Looks for the least that fails as this run did, and answers how that fails and how many runs it took. None, if
    /// nothing failed.
    pub fn shrink(&self, look: &Look, effort: Effort) -> Option<(Self, u32)> {
        let failure = self.failure.as_ref()?;
        let checker = failure.violation.checker;
        let ends = SimTime::ZERO + failure.options.ends();
        // Nobody waits for a failure much longer than the first one took, unless it was found at rest.
        let more = self.simulated.since(SimTime::ZERO) / 4;
        let until = (self.simulated < ends).then(|| ends.min(self.simulated + more));
        let look = Look { loud: false, draws: false, until, ..look.clone() };
        let run = |omissions: &Omissions| {
            let options = Options { omissions: omissions.clone(), ..failure.options.clone() };
            Self::seen(self.seed, options, &look).0
        };
        let (found, runs) = shrink(self.found()?, failure.options.clients, effort, |omissions| {
            let report = run(omissions);
            let same = report.failure.as_ref().is_some_and(|failure| failure.violation.checker == checker);
            report.found().filter(|_| same)
        });
        Some((run(&found.omissions), runs + 1))
    }

    fn found(&self) -> Option<Found> {
        let options = &self.failure.as_ref()?.options;
        Some(Found {
            omissions: options.omissions.clone(),
            at: self.simulated,
            ends: options.ends(),
            faults: self.harms().map(|(fault, ..)| fault).collect(),
        })
    }

    /// The faults that did something, when they came, and what they did.
    fn harms(&self) -> impl Iterator<Item = (Fault, SimTime, &str)> {
        let struck = self.failure.iter().flat_map(|failure| &failure.struck);
        struck.filter_map(|struck| Some((struck.fault, struck.at, &*struck.harm.as_ref()?.words)))
    }

    fn for_picture(&self, world: &World) -> About {
        let options = world.options();
        let how = if options.config.ensemble.is_some() { "ensemble" } else { "one server" };
        let stop_at = self.failure.as_ref().and_then(|failure| failure.stop_at.as_deref());
        About {
            title: format!("seed {}, {how}", self.seed),
            commit: commit(),
            command: command("watch", self.seed, options, stop_at),
            profile: format!("{options:#?}"),
            violation: self.failure.as_ref().map(|failure| failure.violation.clone()),
        }
    }

    /// How a world stands.
    pub fn about(world: &World, violation: Option<Violation>) -> Self {
        let failure = violation.map(|violation| {
            Box::new(Failure {
                violation,
                options: world.options().clone(),
                stop_at: None,
                struck: world.struck().to_vec(),
                last: world.history().last().map(ToString::to_string).collect(),
            })
        });
        Self {
            seed: world.seed(),
            counts: *world.counts(),
            reached: world.reached(),
            trace: world.trace(),
            simulated: world.now(),
            settled: world.settled(),
            failure,
            missed: missed(world),
        }
    }

    /// The report without the profile and the records.
    pub const fn brief(&self) -> Brief<'_> {
        Brief(self)
    }

    /// The command line that shows the failure again, if there is one.
    pub fn replay(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(command("replay", self.seed, &failure.options, failure.stop_at.as_deref()))
    }

    /// The number that a process ends with: nothing wrong, or as the checker says that found something.
    pub fn exit_code(&self) -> u8 {
        self.failure.as_ref().map_or(0, |failure| failure.violation.checker.exit_code())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = &self.failure else {
            write!(
                f,
                "seed {} passed: {} of {} events, {} requests, {} transactions, trace {:016x}",
                self.seed,
                self.simulated,
                self.counts.events,
                self.counts.requests,
                self.counts.applied,
                self.trace
            )?;
            return self.missed.iter().try_for_each(|missed| write!(f, "\n  but {missed}"));
        };
        writeln!(f, "seed {} FAILED at {}", self.seed, self.simulated)?;
        writeln!(f, "\nthe last {} records:", failure.last.len())?;
        for record in &failure.last {
            writeln!(f, "  {record}")?;
        }
        writeln!(f, "\nprofile: {:#?}", failure.options)?;
        writeln!(f, "{:#?}", self.counts)?;
        write!(f, "\n{}", self.brief())
    }
}

/// What failed, which faults came before, and how to see it again; not the profile, nor the records.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'a>(&'a Report);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, trace, simulated, failure, .. } = self.0;
        let Some(failure) = failure else { return write!(f, "seed {seed} passed") };
        let harms: Vec<_> = self.0.harms().collect();
        let absent = failure.options.omissions.absent.len();
        let clients = failure.options.clients - absent;
        let faults = counted(harms.len(), "fault");
        let end = if harms.is_empty() { "" } else { ":" };
        writeln!(f, "{faults} and {}{end}", counted(clients, "client"))?;
        for (fault, at, words) in harms {
            writeln!(f, "  {at} {fault}: {words}")?;
        }
        writeln!(f, "\n{simulated} {}", failure.violation)?;
        writeln!(f, "seed {seed}, commit {}, trace {trace:016x}", commit())?;
        let command = |what| command(what, *seed, &failure.options, failure.stop_at.as_deref());
        writeln!(f, "run it again: {}", command("replay"))?;
        write!(f, "look at it:   {}", command("watch"))
    }
}

/// So many of them, in words.
fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Of the faults that were to be kept, those that did not come.
fn missed(world: &World) -> Vec<String> {
    let has_come = |fault: &Fault| world.struck().iter().any(|struck| struck.fault == *fault);
    let kept = world.options().omissions.kept();
    kept.filter(|fault| !has_come(fault)).map(|fault| format!("{fault} did not come in this run")).collect()
}

/// The command line that does something with a run.
fn command(what: &str, seed: Seed, options: &Options, stop_at: Option<&str>) -> String {
    let family = match options.faults.reconfig {
        Some(_) => "--members ",
        None if options.is_cluster => "--cluster ",
        None => "",
    };
    let stop_at = stop_at.map(|words| format!(" --stop-at '{words}'")).unwrap_or_default();
    format!("cargo run --profile sim -p sim -- {family}{what} {seed}{}{stop_at}", options.omissions)
}

/// The commit that this was built from, as far as the working directory knows.
pub fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=40"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::FaultKind;

    /// An ensemble with several kinds of faults, of which only one can bring about what the tests wait for.
    fn options() -> Options {
        let mut options = Options::calm_cluster(3, 0);
        let often = Some(Duration::from_millis(1_500));
        options.is_cluster = true;
        options.clients = 3;
        options.faults.kill = often;
        options.faults.cut = often;
        options.faults.stall = often;
        options.faults.restart_max = Duration::from_millis(500);
        options.faults.cut_max = Duration::from_millis(500);
        options.faults.stall_max = Duration::from_millis(500);
        options.workload.think = Duration::from_millis(100);
        options
    }

    #[test]
    fn a_failure_shrinks_to_what_it_needs_and_fails_again_as_it_is_told() {
        let look = Look { stop_at: Some("n1 was killed".into()), ..Look::default() };
        let mut reports = (0..50).map(|seed| Report::seen(Seed(seed), options(), &look).0);
        let report = reports.find(|report| report.harms().count() > 4).expect("a seed with much to shrink");
        assert_eq!(report.exit_code(), 129);
        let (least, runs) = report.shrink(&look, Effort { runs_max: 40, shakes: 0 }).expect("it failed");
        assert!(runs <= 41);
        let faults: Vec<Fault> = least.harms().map(|(fault, ..)| fault).collect();
        assert!(faults.len() < report.harms().count(), "{}", least.brief());
        assert!(faults.iter().any(|fault| fault.kind == FaultKind::Kill), "{}", least.brief());
        let failure = least.failure.as_ref().expect("it fails");
        assert!(!failure.options.omissions.absent.is_empty(), "{}", least.brief());
        let brief = least.brief().to_string();
        let (fault, replay) = (faults[0].to_string(), format!("--cluster replay {}", report.seed));
        for part in [fault.as_str(), replay.as_str(), "--absent c", "--stop-at 'n1 was killed'"] {
            assert!(brief.contains(part), "{part} is not in {brief}");
        }
        let (again, _) = Report::seen(report.seed, failure.options.clone(), &look);
        assert_eq!((again.trace, again.simulated), (least.trace, least.simulated));
    }

    #[test]
    fn what_was_asked_for_and_did_not_come_is_told() {
        let mut options = options();
        options.duration = Duration::from_secs(1);
        let kill = Fault { kind: FaultKind::Kill, number: 900 };
        options.omissions.keep_only(&[kill]);
        let look = Look { stop_at: Some("words of nobody".into()), ..Look::default() };
        let (report, _) = Report::seen(Seed(3), options, &look);
        let text = report.to_string();
        let expected = format!(
            "\n  but {kill} did not come in this run\n  but no record has the words 'words of nobody'"
        );
        assert!(text.starts_with("seed 3 passed: ") && text.ends_with(&expected), "{text}");
    }

    #[test]
    fn a_run_that_passes_does_not_shrink() {
        let mut options = options();
        options.faults = Default::default();
        options.duration = Duration::from_secs(1);
        let (report, page) = Report::seen(Seed(3), options, &Look::default());
        assert!(report.failure.is_none() && page.is_none(), "{report}");
        assert!(report.shrink(&Look::default(), Effort { runs_max: 40, shakes: 0 }).is_none());
    }
}
