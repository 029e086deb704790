//! Faults are independent of each other: what is left out leaves all others where they were.

use super::*;
use crate::fault::{Drawn, Fault};
use crate::options::FaultProfile;
use crate::places::Party;

const SECOND: Duration = Duration::from_secs(1);

/// A small ensemble, and every kind of fault.
fn stormy() -> Options {
    let often = Some(2 * SECOND);
    let mut options = Options::calm_cluster(3, 1);
    options.clients = 3;
    options.faults = FaultProfile {
        kill: often,
        power: often,
        stop: often,
        restart_max: SECOND,
        pause: often,
        pause_max: SECOND,
        reset: often,
        half_open: often,
        hold: often,
        hold_max: SECOND,
        slow_reader: often,
        stall: often,
        stall_max: SECOND,
        full: often,
        failed_sync: often,
        clock_step: often,
        cut: often,
        partition: often,
        reconfig: None,
        rot: Some(6 * SECOND),
        wipe: Some(6 * SECOND),
        cut_max: SECOND,
        blackout: often,
        moment: 20_000,
        moment_pause: SECOND,
        moment_focus: None,
        promise: 100_000,
    };
    options.workload.think = Duration::from_millis(100);
    options.let_members_change(2 * SECOND, 1);
    options.config.db_autocreate = false;
    options
}

fn struck(options: Options) -> Vec<Struck> {
    rt::enter(Seed(3), || {
        let mut world = World::with_options(Seed(3), options);
        assert_eq!(world.run_for(12 * SECOND), Ok(()));
        world.struck().to_vec()
    })
}

type Came = (Fault, SimTime, Drawn);

/// What the seed alone decides about some of the faults. Moments depend on what servers do.
fn drawn(struck: &[Struck], which: impl Fn(Fault) -> bool) -> Vec<Came> {
    let some = struck.iter().filter(|it| it.fault.kind != FaultKind::Moment && which(it.fault));
    some.map(|it| (it.fault, it.at, it.drawn)).collect()
}

#[test]
fn without_one_kind_all_others_come_when_and_where_they_did() {
    let all = struck(stormy());
    for &kind in FaultKind::ALL {
        assert!(all.iter().filter(|struck| struck.fault.kind == kind).count() > 1, "{kind:?} is rare");
        let mut options = stormy();
        options.omissions.leave_out(kind);
        let others = struck(options);
        assert!(others.iter().all(|struck| struck.fault.kind != kind), "{kind:?} came");
        assert_eq!(drawn(&others, |_| true), drawn(&all, |it| it.kind != kind), "without {kind:?}");
    }
}

#[test]
fn without_one_fault_the_others_of_its_kind_come_when_and_where_they_did() {
    let all = struck(stormy());
    for kept in all.iter().step_by(7).map(|struck| struck.fault) {
        let mut options = stormy();
        options.omissions.keep(kept);
        let found = struck(options);
        assert!(found.iter().any(|it| it.fault == kept) || kept.kind == FaultKind::Moment, "no {kept}");
        let expected = drawn(&all, |it| it == kept || it.kind != kept.kind);
        assert_eq!(drawn(&found, |_| true), expected, "only {kept}");
    }
}

#[test]
fn until_a_fault_is_missing_the_run_is_the_same() {
    let all = struck(stormy());
    for left_out in all.iter().step_by(9) {
        let trace = |omit: bool| {
            let mut options = stormy();
            for struck in all.iter().filter(|struck| struck.fault.kind == left_out.fault.kind) {
                if omit && struck.fault != left_out.fault {
                    options.omissions.keep(struck.fault);
                } else if omit {
                    // A kind of which nothing else is kept is left out as a whole.
                    options.omissions.keep(Fault { number: 0, ..struck.fault });
                }
            }
            rt::enter(Seed(3), || {
                let mut world = World::with_options(Seed(3), options);
                assert_eq!(world.run_until(SimTime(left_out.at.0 - 1)), Ok(()));
                world.trace()
            })
        };
        assert_eq!(trace(false), trace(true), "without {}", left_out.fault);
    }
}

#[test]
fn links_between_all_sorts_of_ends_are_struck() {
    let struck = struck(stormy());
    let on_links = |struck: &&Struck| matches!(struck.fault.kind, FaultKind::Reset | FaultKind::Hold);
    let ends: std::collections::BTreeSet<&Vec<Party>> =
        struck.iter().filter(on_links).filter_map(|struck| Some(&struck.harm.as_ref()?.to)).collect();
    assert!(ends.len() > 2, "always the same: {ends:?}");
    let of_clients = |ends: &&&Vec<Party>| ends.iter().any(|end| matches!(end, Party::Client(_)));
    let count = ends.iter().filter(of_clients).count();
    assert!(0 < count && count < ends.len(), "only one sort: {ends:?}");
}

#[test]
fn streams_follow_the_place_in_the_list() {
    for (index, &kind) in FaultKind::ALL.iter().enumerate() {
        assert_eq!(kind as usize, index, "{kind:?}");
    }
}
