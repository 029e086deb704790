//! Looks for the least that still fails: first whole kinds of faults are left out, then single faults, then clients,
//! then time, as long as the same checker finds something.
//!
//! Leaving out one fault changes what follows, so a failure that needs unlikely timing goes away with a fault that
//! had nothing to do with it. That is why each step may be tried in shaken worlds too (see [`crate::omissions`]): the
//! faults are the same, and latencies others.
//!
//! The search is bounded by a number of runs, and what it has at any time is a run that fails.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::SimTime;
use crate::fault::{Fault, FaultKind};
use crate::omissions::Omissions;
use crate::places::ClientId;

/// How much to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs, at most.
    pub runs_max: u32,
    /// In how many shaken worlds a step is tried, after the one at hand.
    pub shakes: u64,
}

/// A run that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it leaves out.
    pub omissions: Omissions,
    /// When it fails.
    pub at: SimTime,
    /// When faults and requests end in it.
    pub ends: Duration,
    /// The faults before the failure that did something.
    pub faults: Vec<Fault>,
}

/// Shrinks `first`, a run with so many clients. `run` answers how a run with such omissions fails, if it fails in the
/// same way. Answers the smallest failing run and how many were made.
pub fn shrink(
    first: Found,
    clients: usize,
    effort: Effort,
    run: impl FnMut(&Omissions) -> Option<Found>,
) -> (Found, u32) {
    let shaken = first.omissions.shake;
    let mut search = Search { best: first.pinned(), clients, effort, runs: 0, shaken, run };
    loop {
        let before = search.best.size();
        if !search.best.faults.is_empty() {
            search.attempt(|omissions| omissions.keep_only(&[]));
        }
        search.kinds();
        search.faults();
        search.clients();
        search.time();
        if search.best.size() == before || search.is_over() {
            return (search.best, search.runs);
        }
    }
}

impl Found {
    /// The same run, with nothing in it that does nothing.
    fn pinned(mut self) -> Self {
        self.omissions.keep_only(&self.faults);
        self
    }

    fn size(&self) -> (usize, usize, Duration) {
        (self.faults.len(), usize::MAX - self.omissions.absent.len(), self.ends)
    }
}

struct Search<F> {
    best: Found,
    clients: usize,
    effort: Effort,
    runs: u32,
    shaken: u64,
    run: F,
}

impl<F: FnMut(&Omissions) -> Option<Found>> Search<F> {
    const fn is_over(&self) -> bool {
        self.runs >= self.effort.runs_max
    }

    /// Tries a change; if the run with it fails, it is the best there is.
    fn attempt(&mut self, change: impl Fn(&mut Omissions)) -> bool {
        for try_number in 0..=self.effort.shakes {
            if self.is_over() {
                return false;
            }
            let mut omissions = self.best.omissions.clone();
            change(&mut omissions);
            if try_number > 0 {
                self.shaken += 1;
                omissions.shake = self.shaken;
            }
            self.runs += 1;
            if let Some(found) = (self.run)(&omissions) {
                self.best = found.pinned();
                return true;
            }
        }
        false
    }

    /// Leaves out whole kinds, those with most faults first.
    fn kinds(&mut self) {
        let of = |faults: &[Fault], kind| faults.iter().filter(|fault| fault.kind == kind).count();
        let mut kinds: Vec<FaultKind> = FaultKind::ALL.to_vec();
        kinds.sort_by_key(|&kind| std::cmp::Reverse(of(&self.best.faults, kind)));
        for kind in kinds {
            if of(&self.best.faults, kind) > 0 {
                self.attempt(|omissions| omissions.leave_out(kind));
            }
        }
    }

    /// Leaves out single faults: halves of them, then quarters, and so on. The last come first, because what comes
    /// before them stays as it is.
    fn faults(&mut self) {
        self.halve(|search| search.best.faults.clone(), |omissions, kept| omissions.keep_only(kept));
    }

    /// Leaves out clients, but for one.
    fn clients(&mut self) {
        let all: BTreeSet<ClientId> = (0..self.clients).map(ClientId).collect();
        let left = |search: &Self| all.difference(&search.best.omissions.absent).copied().collect();
        self.halve(left, |omissions, kept: &[ClientId]| {
            omissions.absent = all.iter().filter(|client| !kept.contains(client)).copied().collect();
        });
    }

    /// Ends faults and requests earlier, where the failure came only after they had ended.
    fn time(&mut self) {
        let mut too_short = Duration::ZERO;
        while self.best.at > SimTime::ZERO + self.best.ends {
            let between = (self.best.ends + too_short) / 2;
            let tried = Duration::from_millis(between.as_millis() as u64);
            if tried - too_short < Duration::from_millis(100) || self.is_over() {
                return;
            }
            if !self.attempt(|omissions| omissions.duration = Some(tried)) {
                too_short = tried;
            }
        }
    }

    fn halve<T: Clone>(&mut self, list: impl Fn(&Self) -> Vec<T>, keep: impl Fn(&mut Omissions, &[T])) {
        let mut chunk = list(self).len().div_ceil(2);
        while chunk > 0 {
            let mut end = list(self).len();
            while end > 0 && !self.is_over() {
                let all = list(self);
                end = end.min(all.len());
                let begin = end.saturating_sub(chunk);
                let kept: Vec<T> = all[..begin].iter().chain(&all[end..]).cloned().collect();
                if !kept.is_empty() {
                    self.attempt(|omissions| keep(omissions, &kept));
                }
                end = begin;
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Duration = Duration::from_secs(40);

    fn fault(kind: FaultKind, number: u32) -> Fault {
        Fault { kind, number }
    }

    /// Ten faults of each kind.
    fn all() -> Vec<Fault> {
        FaultKind::ALL.iter().flat_map(|&kind| (1..=10).map(move |number| fault(kind, number))).collect()
    }

    fn first(at: u64) -> Found {
        Found { omissions: Omissions::default(), at: SimTime(at), ends: END, faults: all() }
    }

    /// A world that fails after `least` milliseconds of faults, if these faults come and these clients, and answers `at`.
    fn world(
        needed: &[Fault],
        clients: &[usize],
        least: u64,
        at: u64,
    ) -> impl Fn(&Omissions) -> Option<Found> {
        move |omissions| {
            let ends = omissions.duration.unwrap_or(END);
            let fails = needed.iter().all(|&fault| !omissions.omits(fault))
                && clients.iter().all(|&client| !omissions.absent.contains(&ClientId(client)))
                && ends >= Duration::from_millis(least);
            let faults = all().into_iter().filter(|&fault| !omissions.omits(fault)).collect();
            fails.then(|| Found { omissions: omissions.clone(), at: SimTime(at), ends, faults })
        }
    }

    const EFFORT: Effort = Effort { runs_max: 1000, shakes: 0 };

    #[test]
    fn what_is_needed_is_found() {
        let cases: [(&[Fault], &[usize]); 4] = [
            (&[], &[0]),
            (&[fault(FaultKind::Kill, 3)], &[4]),
            (&[fault(FaultKind::Stall, 5), fault(FaultKind::Cut, 1), fault(FaultKind::Cut, 10)], &[1, 3]),
            (&[fault(FaultKind::ClockStep, 1), fault(FaultKind::Partition, 10)], &[0, 1, 2, 3, 4]),
        ];
        for (needed, clients) in cases {
            let run = world(needed, clients, 0, 1_000_000);
            let (found, runs) = shrink(first(1_000_000), 5, EFFORT, &run);
            assert_eq!(found.faults, needed, "after {runs} runs");
            let absent: Vec<usize> = found.omissions.absent.iter().map(|client| client.0).collect();
            let expected: Vec<usize> = (0..5).filter(|client| !clients.contains(client)).collect();
            assert_eq!(absent, expected);
            assert!(runs < 120, "{runs} runs");
            assert_eq!(run(&found.omissions).as_ref(), Some(&found), "it fails when run again");
        }
    }

    #[test]
    fn a_failure_at_rest_needs_less_time() {
        let at = (END + Duration::from_secs(1)).as_nanos() as u64;
        let (found, _) = shrink(first(at), 1, EFFORT, world(&[], &[0], 3_210, at));
        let ends = found.ends.as_millis();
        assert!((3_210..3_420).contains(&ends), "{ends} ms");
        let (found, _) = shrink(first(1), 1, EFFORT, world(&[], &[0], 3_210, 1));
        assert_eq!(found.omissions.duration, None, "it failed before the end, so the end is of no interest");
    }

    #[test]
    fn it_ends_after_so_many_runs_with_a_run_that_fails() {
        let needed = [fault(FaultKind::Hold, 2), fault(FaultKind::Kill, 9)];
        for runs_max in 0..40 {
            let run = world(&needed, &[2], 0, 1);
            let (found, runs) = shrink(first(1), 5, Effort { runs_max, shakes: 0 }, &run);
            assert!(runs <= runs_max);
            assert_eq!(run(&found.omissions).map(|found| found.faults), Some(found.faults));
        }
    }

    #[test]
    fn bad_luck_is_tried_again() {
        // Fails in every third world only.
        let needed = [fault(FaultKind::Hold, 2)];
        let run = world(&needed, &[0], 0, 1);
        let lucky = |omissions: &Omissions| run(omissions).filter(|_| omissions.shake.is_multiple_of(3));
        let (found, _) = shrink(first(1), 5, Effort { runs_max: 1000, shakes: 2 }, lucky);
        assert_eq!(found.faults, needed);
        assert!(lucky(&found.omissions).is_some());
    }
}
