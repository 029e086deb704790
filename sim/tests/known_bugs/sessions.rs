//! Sessions: they end when they must, not before, and the znodes that belong to them go with them, everywhere.

use sim::cluster::Cluster;
use sim::link::ClientId;
use sim::op::{Mode, Op};
use sim::options::Options;
use sim::scenario::{Scenario, create, create_as};

use super::{MS, SECOND, is_proposal, three};

fn two_clients() -> Options {
    let mut options = three();
    options.clients = 2;
    options
}

fn ephemeral(path: &str) -> Op {
    create_as(path, Mode::Ephemeral)
}

/// The leader is gone right after an ephemeral znode was made; some have heard of it, some have not.
#[test]
fn zookeeper_5010_an_ephemeral_znode_that_only_some_have_heard_of() {
    let mut options = Options::calm_cluster(5, 0);
    options.clients = 2;
    Cluster::often(&options, |it| {
        it.write("/kept");
        it.lead(5);
        it.connect(1, 5);
        for deaf in [1, 2, 3] {
            it.hold(5, deaf, is_proposal);
        }
        let last = it.kept(5).durable;
        it.ask(1, ephemeral("/e"));
        it.until_durable_behind(5, last);
        it.linger();
        it.power_failure(5);
        it.let_go();
        it.world().mute(ClientId(1));
        let next = it.leader();
        it.start(5);
        it.expect_learner(5);
        it.wait("its session to be over", |world| world.counts().expired > 0);
        it.expect_everywhere("/e", false);
        it.kill(next);
        it.expect_everywhere("/e", false);
    });
}

/// A follower is cut off while it hears that a session is closed; a later session makes and leaves the same znode.
#[test]
fn zookeeper_2355_a_session_that_closes_while_a_follower_is_cut_off() {
    Cluster::often(&two_clients(), |it| {
        it.write("/kept");
        let (leader, [f, g]) = it.cast();
        it.connect(0, leader);
        it.connect(1, leader);
        for _ in 0..2 {
            it.ask(1, ephemeral("/e"));
            it.answered();
            it.hold(leader, f, is_proposal);
            it.ask(1, Op::CloseSession);
            it.wait("the znode to go", |world| world.model().node("/e").is_none());
            it.partition(&[&[f], &[leader, g]]);
            it.until_looking(f);
            it.let_go();
            it.expect_learner(f);
            it.wait("a new session", |world| world.client(ClientId(1)).is_up());
        }
        it.expect_everywhere("/e", false);
        it.power_failure(f);
        it.start(f);
        it.expect_everywhere("/e", false);
    });
}

/// A session that was opened while a server was away expires, also when that server leads.
#[test]
fn zookeeper_1367_a_session_that_a_leader_was_told_of_by_a_difference() {
    Cluster::often(&two_clients(), |it| {
        it.lead(3);
        it.kill(3);
        it.leader();
        it.ask(1, ephemeral("/e"));
        it.answered();
        it.start(3);
        it.expect_learner(3);
        it.caught_up();
        it.world().mute(ClientId(1));
        it.linger();
        it.kill(1);
        it.kill(2);
        it.start(1);
        it.expect_serving(3);
        it.wait("its session to be over", |world| world.model().node("/e").is_none());
        it.start(2);
        it.expect_everywhere("/e", false);
    });
}

/// Sessions begin and end while snapshots are written; after a restart each is there or it is not.
#[test]
fn zookeeper_3144_and_3145_sessions_that_come_and_go_while_a_snapshot_is_written() {
    let mut options = Options::calm();
    options.clients = 3;
    options.config.snap_count = 20;
    options.config.snapshot_chunk_bytes = 64;
    options.disk.latency_min = 3 * MS;
    Scenario::with(options, |it| {
        it.ask(0, create("/s"));
        for index in 0..40 {
            it.ask(0, create(&format!("/filler{index}")));
        }
        it.answered();
        for round in 0..12 {
            for client in [1, 2] {
                it.ask(client, ephemeral(&format!("/s/{client}-{round}")));
                it.ask(client, create_as("/s/n-", Mode::EphemeralSequential));
                it.ask(client, Op::CloseSession);
            }
            it.pass(30 * MS);
            if round % 4 == 3 {
                it.wait("a snapshot", |world| world.counts().snapshots > round / 4);
                it.kill();
                it.start();
                it.answered_again();
            }
        }
        it.wait("all of them to go", |world| {
            world.model().node("/s").is_some_and(|node| node.children.is_empty())
        });
    });
}

/// A session moves from server to server, and back, while it writes.
#[test]
fn zookeeper_2886_a_session_that_moves_while_it_writes() {
    Cluster::often(&three(), |it| {
        it.ask(0, ephemeral("/e"));
        it.answered();
        for round in 0..6 {
            let server = 1 + round % 3;
            it.ask(0, Op::Multi(vec![create(&format!("/a{round}")), create(&format!("/b{round}"))]));
            it.linger();
            it.connect(0, server);
        }
        it.answered();
        it.pass(SECOND);
        it.expect_node("/e");
    });
}
