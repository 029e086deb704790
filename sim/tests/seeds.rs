//! Random worlds: the same hundred seeds each time, and as many that nobody has run before.
//!
//! A fixed seed that fails was broken by the change at hand. A fresh one may have been broken for long; its number is
//! printed, and `cargo run -p sim -- replay SEED` shows what happened. See `sim::rt` for the environment variables.

use sim::report::{Report, commit};
use sim::rt::Plan;
use sim::world::Counts;

#[test]
fn no_seed_finds_a_violation() {
    let plan = Plan::from_env();
    let first = plan.seeds.first().expect("a plan has seeds");
    let last = plan.seeds.last().expect("a plan has seeds");
    println!("{} seeds from {first} to {last}, commit {}", plan.seeds.len(), commit());
    let mut failures = Vec::new();
    let mut total = Counts::default();
    let mut simulated = 0;
    plan.run(
        |seed| {
            let report = Report::of(seed);
            let again = plan.twice.then(|| Report::of(seed).trace);
            (report, again)
        },
        |seed, (report, again)| {
            assert!(again.is_none_or(|trace| trace == report.trace), "seed {seed} went two ways");
            total.add(&report.counts);
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
    if plan.seeds.len() >= 100 {
        total.expect_all_reached();
    }
}

#[test]
fn a_seed_goes_the_same_way_twice() {
    for seed in 0..10 {
        let (one, other) = (Report::of(sim::seed::Seed(seed)), Report::of(sim::seed::Seed(seed)));
        assert_eq!((one.trace, one.counts), (other.trace, other.counts), "seed {seed}");
    }
}
