//! Trials: your own program on the client machine, in a simulated cluster in which things go wrong.
//!
//! A trial runs once for each seed. All of it follows from the seed: the network, the disks, the crashes, and what your
//! applications do. A seed that fails does so again, step by step. While it runs, everything that the simulator knows
//! of a right server is checked too, and at the end all faults stop, and the cluster and its clients must come to rest.
//!
//! The smallest one: clients take numbers, by writing a znode in the version in which they read it. No two get the same.
//!
//! ```
//! # use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};
//! # use sim::{app::{Application, Session}, trial::Trial};
//! # use zabra_core::client::{Call, CallError, CallId, Outcome};
//! #[derive(Debug, Default)]
//! struct Taker(Rc<RefCell<BTreeSet<i32>>>);
//!
//! impl Application for Taker {
//!     fn on_start(&mut self, it: &mut Session<'_>) {
//!         it.call(Call::GetData { path: "/".into(), watcher: None });
//!     }
//!     fn on_answer(&mut self, it: &mut Session<'_>, _: CallId, answer: Result<Outcome, CallError>) {
//!         match answer {
//!             Ok(Outcome::Data { stat, .. }) => {
//!                 it.call(Call::SetData { path: "/".into(), data: Some("taken".into()), version: stat.version });
//!             }
//!             Ok(Outcome::Stat(stat)) if !self.0.borrow_mut().insert(stat.version) => it.violated("taken twice"),
//!             // It has its number, or somebody was faster, or the connection is lost.
//!             _ => it.wake_in(Duration::from_millis(50)),
//!         }
//!     }
//!     fn on_wake(&mut self, it: &mut Session<'_>) {
//!         self.on_start(it);
//!     }
//! }
//!
//! Trial::of_servers(3).crashes(Duration::from_secs(4)).run(0..3, || {
//!     let taken = Rc::default();
//!     (0..4).map(|_| Taker(Rc::clone(&taken))).collect()
//! });
//! ```
//!
//! And one of the size of a recipe. Workers count: each takes a lock, reads a counter, writes the next number and lets go of
//! the lock. If two held it at once, some number would be written twice.
//!
//! ```
//! # use std::cell::RefCell;
//! # use std::collections::BTreeSet;
//! # use std::rc::Rc;
//! use std::time::Duration;
//!
//! use sim::app::{Application, Session};
//! use sim::trial::Trial;
//! use zabra_core::client::{Call, CallError, CallId, ClientEvent, Create, CreateMode, Outcome};
//! use zabra_core::client::{SessionState, WatcherId, Write};
//! # use zabra_core::types::AclList;
//!
//! #[derive(Debug, Default)]
//! struct Worker {
//!     step: Step,
//!     /// The znode that stands in line for the lock.
//!     ticket: String,
//!     /// What all workers have written: what the trial is about.
//!     written: Rc<RefCell<BTreeSet<u64>>>,
//! }
//!
//! #[derive(Debug, Default, PartialEq)]
//! enum Step { #[default] Away, Preparing, Joining, Looking, Watching, Waiting, Reading, Writing(u64), Leaving }
//!
//! impl Worker {
//!     fn join(&mut self, it: &mut Session<'_>) {
//!         it.call(create("/lock", CreateMode::Persistent));
//!         it.call(create("/counter", CreateMode::Persistent));
//!         it.call(create("/lock/n-", CreateMode::EphemeralSequential));
//!         self.step = Step::Preparing;
//!     }
//!
//!     fn look(&mut self, it: &mut Session<'_>) {
//!         it.call(Call::GetChildren { path: "/lock".into(), watcher: None });
//!         self.step = Step::Looking;
//!     }
//! }
//!
//! impl Application for Worker {
//!     fn on_start(&mut self, _it: &mut Session<'_>) {}
//!
//!     fn on_event(&mut self, it: &mut Session<'_>, event: ClientEvent) {
//!         match event {
//!             ClientEvent::State(SessionState::Connected) if self.step == Step::Away => self.join(it),
//!             ClientEvent::State(state) if state.is_final() => self.step = Step::Away,
//!             ClientEvent::Watch { .. } if self.step == Step::Waiting => self.look(it),
//!             _ => {}
//!         }
//!     }
//!
//!     fn on_answer(&mut self, it: &mut Session<'_>, _: CallId, result: Result<Outcome, CallError>) {
//!         match (&self.step, result) {
//!             // What became of the ticket is unknown: without the session it goes.
//!             (Step::Away, _) => {}
//!             (_, Err(CallError::ConnectionLoss { .. })) => {
//!                 self.step = Step::Away;
//!                 it.close();
//!             }
//!             // Somebody else may have made these two.
//!             (Step::Preparing, _) => self.step = Step::Joining,
//!             (Step::Joining, Ok(Outcome::Created { path, .. })) if path.starts_with("/lock/") => {
//!                 self.ticket = path;
//!                 self.look(it);
//!             }
//!             (Step::Joining, _) => {}
//!             (Step::Looking, Ok(Outcome::Children { mut names, .. })) => {
//!                 names.sort();
//!                 match names.iter().position(|name| self.ticket.ends_with(name)) {
//!                     Some(0) => {
//!                         it.call(Call::GetData { path: "/counter".into(), watcher: None });
//!                         self.step = Step::Reading;
//!                     }
//!                     Some(place) => {
//!                         let path = format!("/lock/{}", names[place - 1]);
//!                         it.call(Call::Exists { path, watcher: Some(WatcherId(1)) });
//!                         self.step = Step::Watching;
//!                     }
//!                     None => it.violated("the ticket is gone, and the session is there"),
//!                 }
//!             }
//!             (Step::Watching, Ok(_)) => self.step = Step::Waiting,
//!             (Step::Watching, Err(_)) => self.look(it),
//!             (Step::Reading, Ok(Outcome::Data { data, .. })) => {
//!                 let next = std::str::from_utf8(&data.unwrap()).unwrap().parse::<u64>().unwrap() + 1;
//!                 // Only while the ticket is there: the lock may be lost, and nobody has said so yet.
//!                 let check = Write::Check { path: self.ticket.clone(), version: 0 };
//!                 let data = Some(next.to_string().into());
//!                 let write = Write::SetData { path: "/counter".into(), data, version: -1 };
//!                 it.call(Call::Multi(vec![check, write]));
//!                 self.step = Step::Writing(next);
//!             }
//!             (Step::Writing(number), Ok(Outcome::Multi(results))) if results[1].is_ok() => {
//!                 if !self.written.borrow_mut().insert(*number) {
//!                     it.violated(format!("{number} is written twice"));
//!                 }
//!                 it.call(Call::Delete { path: self.ticket.clone(), version: -1 });
//!                 self.step = Step::Leaving;
//!             }
//!             (Step::Leaving, Ok(_)) => self.join(it),
//!             _ => it.close(),
//!         }
//!     }
//! }
//! # fn create(path: &str, mode: CreateMode) -> Call {
//! #     let (data, acl) = (Some("0".into()), AclList::OpenUnsafe);
//! #     Call::Create(Create { path: path.into(), data, acl, mode, with_stat: false })
//! # }
//!
//! Trial::of_servers(3)
//!     .lasting(Duration::from_secs(20))
//!     .crashes(Duration::from_secs(4))
//!     .partitions(Duration::from_secs(6))
//!     .run(0..3, || {
//!         let written = Rc::default();
//!         (0..4).map(|_| Worker { written: Rc::clone(&written), ..Worker::default() }).collect()
//!     });
//! ```
//!
//! What the simulator's reference does not know, and a trial therefore refuses with a panic: `GetConfig` and `Reconfig`,
//! `RemoveWatches` for one watcher alone or without a server, and identities other than those of
//! [`crate::model::acl::USERS`].

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::app::Application;
use crate::options::Options;
use crate::places::ClientId;
use crate::report::Report;
use crate::rt;
use crate::seed::Seed;
use crate::world::{Counts, World};

/// The longest time for which a server stays away, and for which ways are cut.
const AWAY_MAX: Duration = Duration::from_secs(3);

/// Adjusts the profile of a run by hand.
type Adjust = Box<dyn Fn(&mut Options) + Sync>;

/// A cluster, and what goes wrong in it. Nothing does, unless it is asked for.
pub struct Trial {
    servers: usize,
    observers: usize,
    duration: Duration,
    swarm: bool,
    adjust: Vec<Adjust>,
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, observers, duration, swarm, .. } = self;
        write!(f, "Trial of {servers} servers and {observers} observers for {duration:?}, swarm: {swarm}")
    }
}

impl Trial {
    /// An ensemble of so many servers that vote, or one that stands alone.
    pub fn of_servers(servers: usize) -> Self {
        let duration = Duration::from_secs(30);
        Self { servers, observers: 0, duration, swarm: false, adjust: Vec::new() }
    }

    /// So many servers more that do not vote.
    #[must_use]
    pub fn with_observers(self, observers: usize) -> Self {
        Self { observers, ..self }
    }

    /// How long things go wrong, in simulated time; 30 seconds unless told otherwise.
    #[must_use]
    pub fn lasting(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// Processes are killed and machines lose their power, each once in `mean` on average. Servers come back after up to
    /// three seconds.
    #[must_use]
    pub fn crashes(self, mean: Duration) -> Self {
        self.with(move |options| {
            options.faults.kill = Some(mean);
            options.faults.power = Some(mean);
            options.faults.restart_max = AWAY_MAX;
        })
    }

    /// Servers do not hear of each other for up to three seconds, once in `mean` on average.
    #[must_use]
    pub fn partitions(self, mean: Duration) -> Self {
        self.with(move |options| {
            options.faults.cut = Some(mean);
            options.faults.partition = Some(mean);
            options.faults.cut_max = AWAY_MAX;
        })
    }

    /// Connections are reset, fall silent, or hold everything back for up to three seconds, each once in `mean` on
    /// average: those of clients and those between servers.
    #[must_use]
    pub fn bad_links(self, mean: Duration) -> Self {
        self.with(move |options| {
            options.faults.reset = Some(mean);
            options.faults.half_open = Some(mean);
            options.faults.hold = Some(mean);
            options.faults.hold_max = AWAY_MAX;
        })
    }

    /// Servers freeze for up to three seconds, once in `mean` on average.
    #[must_use]
    pub fn pauses(self, mean: Duration) -> Self {
        self.with(move |options| {
            options.faults.pause = Some(mean);
            options.faults.pause_max = AWAY_MAX;
        })
    }

    /// Network, disks, clocks, limits of the servers and faults are drawn from the seed, as in the simulator's own runs:
    /// some worlds are calm, some have one kind of fault, some many.
    #[must_use]
    pub fn swarm(self) -> Self {
        Self { swarm: true, ..self }
    }

    /// Anything else; comes after all that was asked for before.
    #[must_use]
    pub fn with(mut self, adjust: impl Fn(&mut Options) + Sync + 'static) -> Self {
        self.adjust.push(Box::new(adjust));
        self
    }

    /// Runs every seed, with the applications that `cast` brings, each on a client of its own. Answers how often things
    /// happened.
    ///
    /// # Panics
    /// If something goes wrong that must not; the message has the last that happened, and the seed.
    pub fn run<A: Application + 'static>(
        &self,
        seeds: Range<u64>,
        cast: impl Fn() -> Vec<A> + Sync,
    ) -> Counts {
        let mut total = Counts::default();
        for seed in seeds.map(Seed) {
            match self.run_seed(seed, &cast) {
                Ok(counts) => total.add(&counts),
                Err(report) => panic!("{report}\n(seed {seed} of this trial)"),
            }
        }
        total
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// What went wrong, and what came before it.
    pub fn run_seed<A: Application + 'static>(
        &self,
        seed: Seed,
        cast: &(impl Fn() -> Vec<A> + Sync),
    ) -> Result<Counts, Box<Report>> {
        rt::enter(seed, || {
            let cast = cast();
            let mut world = World::with_options(seed, self.options(seed, cast.len()));
            for (index, application) in cast.into_iter().enumerate() {
                world.client_mut(ClientId(index)).perform(Box::new(application));
            }
            match world.run() {
                Ok(()) => Ok(*world.counts()),
                Err(violation) => Err(Box::new(Report::about(&world, Some(violation)))),
            }
        })
    }

    fn options(&self, seed: Seed, clients: usize) -> Options {
        let mut options = if self.swarm {
            Options::cluster_of(seed, self.servers, self.observers)
        } else {
            Options::calm_cluster(self.servers, self.observers)
        };
        options.clients = clients;
        options.duration = self.duration;
        for adjust in &self.adjust {
            adjust(&mut options);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::client::{Call, CallError, CallId, Outcome};

    use super::*;
    use crate::app::Session;
    use crate::check::Checker;

    /// Reads again and again; says so when it has read as often as it must not.
    #[derive(Debug)]
    struct Reader {
        left: u32,
        woken: bool,
    }

    impl Application for Reader {
        fn on_start(&mut self, it: &mut Session<'_>) {
            it.wake_in(Duration::from_millis(50));
        }

        fn on_answer(&mut self, it: &mut Session<'_>, _: CallId, result: Result<Outcome, CallError>) {
            assert!(self.woken, "an answer without a question");
            self.left -= 1;
            if self.left == 0 {
                it.violated(format!("enough: {}", result.is_ok()));
            } else {
                it.wake_in(Duration::from_millis(1));
            }
        }

        fn on_wake(&mut self, it: &mut Session<'_>) {
            self.woken = true;
            it.call(Call::GetData { path: "/".into(), watcher: None });
        }
    }

    #[test]
    fn what_a_trial_asks_for_comes() {
        const SECOND: Duration = Duration::from_secs(1);
        let counts = |trial: Trial| {
            trial.lasting(10 * SECOND).run(0..2, || vec![Reader { left: u32::MAX, woken: false }])
        };
        let calm = counts(Trial::of_servers(3));
        let goes_wrong = [calm.kills, calm.power_failures, calm.partitions, calm.moments, calm.roles_lost];
        assert_eq!(goes_wrong, [0; 5]);
        // An observer has links of its own; and what a bad link was for, another is made for.
        assert!(counts(Trial::of_servers(3).with_observers(1)).links > calm.links);
        assert!(counts(Trial::of_servers(3).bad_links(SECOND)).links > calm.links);
        let crashes = counts(Trial::of_servers(3).crashes(SECOND));
        assert!(crashes.kills > 0 && crashes.power_failures > 0, "{crashes:?}");
        assert!(counts(Trial::of_servers(3).partitions(SECOND)).partitions > 0);
        // Who is frozen for long is followed no more.
        assert!(counts(Trial::of_servers(3).pauses(SECOND)).roles_lost > 0);
    }

    #[test]
    fn what_an_application_does_not_like_ends_the_run_and_does_so_again() {
        let trial = Trial::of_servers(1).lasting(Duration::from_secs(2));
        let cast = |left| move || vec![Reader { left, woken: false }];
        let run = || trial.run_seed(Seed(3), &cast(10)).expect_err("it reads ten times in two seconds");
        let report = run();
        let failure = report.failure.clone().expect("it failed");
        assert_eq!(
            (failure.violation.checker, failure.violation.what.as_str()),
            (Checker::Application, "c0: enough: true")
        );
        assert_eq!(report.trace, run().trace);
        let counts = trial.run_seed(Seed(3), &cast(1_000_000)).expect("nobody reads that often");
        assert!(counts.answers > 10);
    }
}
