//! Named situations of an ensemble, each in a world where nothing else goes wrong. That there is one history, that
//! promises are durable and that nobody reads what is undone later is checked all along.

use std::time::Duration;

use sim::cluster::plots::is_snapshot;
use sim::cluster::{Cluster, id_of};
use sim::marks::Mark;
use sim::model::acl::SUPER;
use sim::op::Op;
use sim::options::Options;
use sim::roster::entry;
use sim::scenario::{create, set};
use zabra_core::server::Role;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_ensemble_of_any_size_serves() {
    for voters in 2..=7 {
        Cluster::run(voters, |it| {
            it.write("/a");
            it.caught_up();
        });
    }
}

#[test]
fn observers_learn() {
    Cluster::with(Options::calm_cluster(3, 2), |it| {
        it.expect_learner(5);
        it.connect(0, 5);
        it.write("/a");
        it.caught_up();
    });
}

/// A fourth server is none of the first three, and then is one; the leader is one, and then is none.
#[test]
fn members_come_and_go() {
    let mut options = Options::calm_cluster(3, 0);
    options.let_members_change(1_000 * SECOND, 1);
    let operator = options.clients;
    Cluster::with(options, |it| {
        let leader = it.leader();
        it.write("/three");
        it.expect_serving(4);
        it.ask(operator, Op::AddAuth { scheme: "digest", auth: SUPER.0 });
        let change = |joining: String, leaving: String| Op::Reconfig {
            joining,
            leaving,
            members: String::new(),
            version: -1,
        };
        let answer = it.call(operator, change(entry(id_of(4), true), String::new()));
        assert!(answer.is_ok(), "{answer:?}");
        it.write("/four");
        let answer = it.call(operator, change(String::new(), leader.to_string()));
        assert!(answer.is_ok(), "{answer:?}");
        it.wait("another to lead", move |world| {
            world.node(id_of(leader)).standing.is_none_or(|standing| standing.role != Role::Leading)
        });
        it.connect(0, 4);
        it.write("/without-the-leader");
        assert_ne!(it.leader(), leader);
        for mark in [Mark::MemberJoined, Mark::MemberLeft, Mark::LeaderHandedOver] {
            it.expect_reached(mark);
        }
    });
}

#[test]
fn a_leader_without_power_is_replaced_and_comes_back_as_a_follower() {
    Cluster::run(3, |it| {
        it.write("/before");
        let old = it.leader();
        it.power_failure(old);
        let new = it.leader();
        assert_ne!(old, new);
        it.write("/between");
        it.start(old);
        it.expect_learner(old);
        it.write("/after");
        it.caught_up();
    });
}

#[test]
fn what_a_lonely_leader_logged_is_forgotten() {
    Cluster::run(3, |it| {
        it.write("/kept");
        let old = it.leader();
        let others = it.followers();
        it.connect(0, old);
        it.partition(&[&[old], &others]);
        it.ask(0, create("/lost"));
        it.wait("the old leader to step down", move |world| {
            world.node(id_of(old)).standing.is_some_and(|standing| standing.leader.is_none())
        });
        it.leader();
        it.connect(0, others[0]);
        it.write("/other");
        it.mend();
        it.expect_learner(old);
        it.connect(0, old);
        it.caught_up();
        it.write("/after");
        it.expect_no_node("/lost");
    });
}

#[test]
fn a_follower_that_missed_more_than_a_leader_remembers_catches_up() {
    let mut options = Options::calm_cluster(3, 0);
    options.config.ensemble.as_mut().unwrap().commit_log_count = 5;
    options.workload.pipeline_max = 20;
    Cluster::with(options, |it| {
        it.write("/a");
        let away = it.followers()[0];
        it.kill(away);
        for index in 0..200 {
            it.ask(0, set("/a", format!("{index}").as_bytes()));
        }
        it.answered();
        it.start(away);
        it.expect_learner(away);
        it.caught_up();
    });
}

/// While a snapshot is on its way more is written than its sender keeps in memory for the time after it: the log has the rest.
#[test]
fn a_follower_catches_up_with_writes_that_outrun_its_snapshot() {
    let mut options = Options::calm_cluster(3, 0);
    let ensemble = options.config.ensemble.as_mut().unwrap();
    (ensemble.force_snapshot_sync, ensemble.commit_log_count, ensemble.commit_log_bytes) = (true, 5, 200);
    ensemble.link_outbox_bytes = 8 << 10;
    options.config.snapshot_chunk_bytes = 512;
    options.net.window = 512;
    Cluster::with(options, |it| {
        let (leader, [f, _]) = it.opening();
        it.fall_behind(f, "missed", 100);
        it.hold(leader, f, is_snapshot);
        it.start(f);
        it.until_said(leader, f, is_snapshot);
        it.write_some("meanwhile", 100);
        it.let_go();
        it.never_said(SECOND, leader, f, is_snapshot);
        it.finale(&["/missed99", "/meanwhile99"], &[]);
    });
}

/// A server is asked to stop in the middle of a snapshot whose sender is gone: it need not wait for the rest.
#[test]
fn a_server_stops_in_the_middle_of_a_snapshot() {
    let mut options = Options::calm_cluster(3, 0);
    options.config.ensemble.as_mut().unwrap().force_snapshot_sync = true;
    options.net.window = 512;
    Cluster::with(options, |it| {
        let (leader, [f, _]) = it.opening();
        it.fall_behind(f, "missed", 100);
        it.start(f);
        it.until_said(leader, f, is_snapshot);
        it.pass(Duration::from_millis(2));
        it.cut(leader, f);
        it.pass(Duration::from_millis(50));
        it.keep_down(true);
        it.stop(f);
        it.wait("it to stop", |world| world.node(id_of(f)).is_down());
        it.keep_down(false);
        it.finale(&["/missed99"], &[]);
    });
}

#[test]
fn a_frozen_leader_finds_another_in_its_place() {
    Cluster::run(5, |it| {
        it.write("/a");
        let old = it.leader();
        it.pause(old, 20 * SECOND);
        it.wait("another leader", move |world| {
            (1..=5).any(|server| {
                let standing = world.node(id_of(server)).standing;
                server != old && standing.is_some_and(|s| s.role == Role::Leading)
            })
        });
        it.pass(20 * SECOND);
        it.expect_learner(old);
        it.write("/b");
    });
}

#[test]
fn everybody_loses_power_at_once() {
    Cluster::run(3, |it| {
        it.write("/kept");
        for _ in 0..3 {
            (1..=3).for_each(|server| it.power_failure(server));
            (1..=3).for_each(|server| it.start(server));
            it.leader();
        }
        it.expect_node("/kept");
        it.answered();
        it.write("/after");
    });
}
