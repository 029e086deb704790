//! Snapshots that are written while znodes change, and writes that belong together. The digest of every server is
//! compared with the reference's after each transaction, so a restart that comes to another tree does not go unnoticed.

use super::MS;
use sim::op::{Mode, Op};
use sim::options::Options;
use sim::scenario::{Scenario, create, create_as, set};
use zabra_core::types::{Acl, AclList, Id, Perms};

fn delete(path: &str) -> Op {
    Op::Delete { path: path.into(), version: -1 }
}

fn anyone(perms: Perms) -> Acl {
    Acl { perms, id: Id::ANYONE }
}

fn check(path: &str, version: i32) -> Op {
    Op::Check { path: path.into(), version }
}

/// Has writes made while a snapshot is written, then starts again from that snapshot and the log behind it.
fn during_a_snapshot(before: Vec<Op>, writes: impl Fn(usize) -> Vec<Op> + Sync) {
    let mut options = Options::calm();
    options.clients = 2;
    options.config.snap_count = 20;
    options.config.snapshot_chunk_bytes = 64;
    options.disk.latency_min = 3 * MS;
    options.workload.think = MS;
    options.workload.pipeline_max = 20;
    for rounds in [8, 12, 16] {
        let (before, writes) = (before.clone(), &writes);
        Scenario::with(options.clone(), move |it| {
            for op in before {
                it.ask(0, op);
            }
            for index in 0..40 {
                it.ask(0, create(&format!("/filler{index}")));
            }
            it.answered();
            let finished = it.world().counts().snapshots;
            for round in 0..rounds {
                for op in writes(round) {
                    it.ask(round % 2, op);
                }
                it.pass(20 * MS);
            }
            it.wait("a snapshot", |world| world.counts().snapshots > finished);
            it.kill();
            it.start();
            it.answered_again();
            it.ask(0, create("/after"));
            it.answered_again();
            it.expect_node("/after");
        });
    }
}

/// A multi is in a snapshot as a whole or not at all.
#[test]
fn zookeeper_3127_a_multi_while_a_snapshot_is_written() {
    during_a_snapshot(vec![create("/m")], |round| {
        let child = |name: &str| format!("/m/{round}-{name}");
        vec![
            Op::Multi(vec![create(&child("a")), create(&child("b")), set("/m", b"x"), create(&child("c"))]),
            Op::Multi(vec![delete(&child("a")), set(&child("b"), b"y"), delete(&child("c"))]),
        ]
    });
}

/// A parent and its child come and go while a snapshot is written.
#[test]
fn zookeeper_1573_a_parent_that_goes_while_a_snapshot_is_written() {
    during_a_snapshot(Vec::new(), |round| {
        let parent = format!("/p{}", round % 3);
        let child = format!("{parent}/b");
        vec![create(&parent), create(&child), delete(&child), delete(&parent)]
    });
}

/// Numbers that come from a parent's counters do not come twice after a restart.
#[test]
fn zookeeper_3125_3249_and_1046_counters_of_a_parent_while_a_snapshot_is_written() {
    during_a_snapshot(vec![create("/s")], |round| {
        // What is deleted was there when the snapshot began, and comes late in it, long behind its parent.
        let gone = |round: usize| format!("/s/gone{round}");
        let mut writes = vec![
            create_as("/s/n-", Mode::PersistentSequential),
            create(&gone(round)),
            create_as("/s/n-", Mode::PersistentSequential),
        ];
        writes.extend(round.checked_sub(4).map(|earlier| delete(&gone(earlier))));
        writes
    });
}

/// The lists of permissions that a snapshot names are in it.
#[test]
fn zookeeper_3306_znodes_and_their_lists_while_a_snapshot_is_written() {
    during_a_snapshot(vec![create("/l"), create("/z")], |round| {
        let path = |round: usize| format!("/l/{round}");
        let list = |only: i32| AclList::from(vec![anyone(Perms(31 - only)), anyone(Perms(only))]);
        let acl = list(round as i32 % 15 + 1);
        let data = Some(b"data".to_vec());
        let mut writes = Vec::new();
        // What is created takes the place of what was deleted, so that it comes in the middle of a snapshot.
        writes.extend(round.checked_sub(2).map(|earlier| delete(&path(earlier))));
        writes.push(Op::Create { path: path(round), data, mode: Mode::Persistent, acl, with_stat: false });
        writes.push(Op::SetAcl { path: "/z".into(), acl: list(round as i32 % 15 + 16), version: -1 });
        writes
    });
}

/// A multi that fails leaves nothing behind that later requests could see, numbers of sequential znodes included.
#[test]
fn zookeeper_1624_and_2052_failing_multis_right_behind_each_other() {
    let mut options = Options::calm();
    options.workload.pipeline_max = 100;
    options.workload.think = MS / 10;
    Scenario::with(options, |it| {
        it.ask(0, create("/d"));
        it.ask(0, create("/d/s"));
        for _ in 0..10 {
            let numbered = || create_as("/d/s/n-", Mode::PersistentSequential);
            it.ask(0, Op::Multi(vec![numbered(), numbered(), check("/d", 7)]));
            it.ask(0, numbered());
            it.ask(0, Op::Multi(vec![create("/d/e"), delete("/missing")]));
            it.ask(0, Op::Multi(vec![create("/d/e"), create("/d/e/f")]));
            it.ask(0, Op::Multi(vec![delete("/d/e/f"), check("/d", 9)]));
            it.ask(0, delete("/d/e"));
            it.ask(0, Op::Multi(vec![delete("/d/e/f"), delete("/d/e")]));
        }
        it.answered();
        it.expect_node("/d/s/n-0000000009");
        it.expect_no_node("/d/s/n-0000000010");
        it.expect_no_node("/d/e");
        it.kill();
        it.start();
    });
}
