//! Random worlds: the same hundred seeds each time, and as many that nobody has run before.
//!
//! A fixed seed that fails was broken by the change at hand. A fresh one may have been broken for long; its number is
//! printed, and `cargo run -p sim -- replay SEED` (for an ensemble `-- --cluster replay SEED`) shows what happened. See
//! `sim::rt` for the environment variables.

use sim::marks::Reached;
use sim::report::{Report, commit};
use sim::rt::{FIXED_SEEDS, Plan};
use sim::seed::Seed;
use sim::world::Counts;

#[test]
fn no_seed_finds_a_violation() {
    let total = run(Plan::from_env(), Report::of);
    if let Some((total, _)) = total {
        total.expect_all_reached();
    }
}

#[test]
fn no_seed_of_an_ensemble_finds_a_violation() {
    let total = run(Plan::from_env(), Report::of_cluster);
    if let Some((total, reached)) = total {
        total.expect_all_reached_by_ensembles();
        if let Some(reached) = reached {
            println!("reached, how often, by the fixed seeds:\n{reached}");
            reached.expect_all_reached();
        }
    }
}

/// The same hundred each time: of fresh ones, too many find something yet that is only the simulator's.
#[test]
fn no_fixed_seed_with_members_that_come_and_go_finds_a_violation() {
    let total = run(Plan::new(Seed(0), FIXED_SEEDS), Report::of_members);
    if let Some((_, Some(reached))) = total {
        reached.expect_all_reached_by_members();
    }
}

/// Whether a seed is among those that every `cargo test` runs.
fn is_fixed(seed: Seed) -> bool {
    seed.0 < FIXED_SEEDS
}

/// Runs a plan. Answers what happened in all runs, if they are enough to judge them by, and where the fixed seeds have
/// been, if they are all among them; says so otherwise.
fn run(plan: Plan, of: fn(Seed) -> Report) -> Option<(Counts, Option<Reached>)> {
    let first = plan.seeds.first().expect("a plan has seeds");
    let last = plan.seeds.last().expect("a plan has seeds");
    println!("{} seeds from {first} to {last}, commit {}", plan.seeds.len(), commit());
    let mut failures = Vec::new();
    let (mut total, mut reached) = (Counts::default(), Reached::default());
    let mut simulated = 0;
    plan.run(
        |seed| {
            let report = of(seed);
            let again = plan.twice.then(|| of(seed).trace);
            (report, again)
        },
        |seed, (report, again)| {
            assert!(again.is_none_or(|trace| trace == report.trace), "seed {seed} went two ways");
            total.add(&report.counts);
            // What fresh seeds come to differs from time to time.
            if is_fixed(seed) {
                reached.add(&report.reached);
            }
            simulated += report.simulated.0 / 1_000_000_000;
            if report.failure.is_some() {
                println!("{report}\n");
                failures.push(seed.0);
            }
            failures.len() < 3
        },
    );
    println!("{simulated} simulated seconds: {total:#?}");
    assert!(failures.is_empty(), "failing seeds: {failures:?}");
    let (all, fixed) = (plan.seeds.len(), plan.seeds.iter().filter(|&&seed| is_fixed(seed)).count());
    let is_enough = |count| count as u64 >= FIXED_SEEDS;
    for (count, what) in [(all, "what they do"), (fixed, "where the fixed seeds go")] {
        if !is_enough(count) {
            println!("{what} is not judged: that takes {FIXED_SEEDS} seeds, and there are {count}");
        }
    }
    is_enough(all).then_some((total, is_enough(fixed).then_some(reached)))
}

#[test]
fn a_seed_goes_the_same_way_twice() {
    for seed in (0..10).map(Seed) {
        for of in [Report::of, Report::of_cluster, Report::of_members] {
            let (one, other) = (of(seed), of(seed));
            assert_eq!((one.trace, one.counts), (other.trace, other.counts), "seed {seed}");
        }
    }
}
