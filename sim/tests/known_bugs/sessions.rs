//! Sessions: they end when they must, not before, and the znodes that belong to them go with them, everywhere.

use sim::client::SimClient;
use sim::cluster::Cluster;
use sim::cluster::plots::{is_commit, is_proposal};
use sim::op::{Mode, Op};
use sim::options::Options;
use sim::places::ClientId;
use sim::scenario::{Scenario, create, create_as};

use super::{MS, SECOND, three, two_clients};

fn ephemeral(path: &str) -> Op {
    create_as(path, Mode::Ephemeral)
}

/// The leader is gone right after an ephemeral znode was made; one has heard of it, which leads next, or comes too late.
#[test]
fn zookeeper_5010_an_ephemeral_znode_that_only_some_have_heard_of() {
    let mut options = Options::calm_cluster(5, 0);
    options.clients = 2;
    for comes_too_late in [false, true] {
        Cluster::often(&options, |it| {
            it.write("/kept");
            it.lead(5);
            it.connect(1, 5);
            for deaf in [1, 2, 3] {
                it.hold(5, deaf, is_proposal);
            }
            let last = it.kept(4).durable;
            it.ask(1, ephemeral("/e"));
            it.until_durable_behind(4, last);
            it.linger();
            it.power_failure(5);
            if comes_too_late {
                it.kill(4);
            }
            it.let_go();
            it.world().mute(ClientId(1));
            it.leader();
            it.start_all();
            it.expect_learner(5);
            it.wait("its session to be over", |world| world.counts().expired > 0);
            it.finale(&["/kept"], &["/e"]);
        });
    }
}

/// A follower is cut off between the proposal that closes a session and its commit; a later session makes and leaves
/// the same znode.
#[test]
fn zookeeper_2355_a_session_that_closes_while_a_follower_is_cut_off() {
    Cluster::often(&two_clients(), |it| {
        let (leader, [f, _]) = it.opening();
        it.connect(0, leader);
        it.connect(1, leader);
        for _ in 0..2 {
            it.ask(1, ephemeral("/e"));
            it.answered();
            it.hold(leader, f, is_commit);
            it.ask(1, Op::CloseSession);
            it.wait("the znode to go", |world| world.model().node("/e").is_none());
            it.cut_off(f);
            it.let_go();
            it.expect_learner(f);
            it.wait("a new session", |world| world.client(ClientId(1)).is_up());
        }
        it.expect_nowhere("/e");
        it.power_cycle(&[f]);
        it.expect_nowhere("/e");
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
        it.rejoin(3);
        it.world().mute(ClientId(1));
        it.linger();
        it.kill(1);
        it.kill(2);
        it.start(1);
        it.expect_serving(3);
        it.wait("its session to be over", |world| world.model().node("/e").is_none());
        it.start(2);
        it.expect_nowhere("/e");
    });
}

/// Sessions begin and end while snapshots are written; after a restart each is there or it is not.
#[test]
fn zookeeper_3144_and_3145_sessions_that_come_and_go_while_a_snapshot_is_written() {
    let mut options = Options::calm();
    options.clients = 3;
    options.config.snapshot_chunk_bytes = 64;
    options.disk.latency_min = 3 * MS;
    for snap_count in 20..28 {
        options.config.snap_count = snap_count;
        Scenario::with(options.clone(), |it| {
            it.ask(0, create("/s"));
            for index in 0..40 {
                it.ask(0, create(&format!("/filler{index}")));
            }
            it.answered();
            for round in 0..12 {
                for client in [1, 2] {
                    it.ask(client, ephemeral(&format!("/s/{client}-{round}")));
                    it.ask(client, create_as("/s/n-", Mode::EphemeralSequential));
                    // Some live on beyond a restart, and some do not.
                    if (round + client as u64).is_multiple_of(3) {
                        it.ask(client, Op::CloseSession);
                    }
                }
                it.pass(30 * MS);
                if round % 4 == 3 {
                    it.wait("a snapshot", |world| world.counts().snapshots > round / 4);
                    it.kill();
                    it.start();
                    it.answered_again();
                }
            }
            (1..=2).for_each(|client| it.ask(client, Op::CloseSession));
            it.wait("all of them to go", |world| {
                world.model().node("/s").is_some_and(|node| node.children.is_empty())
            });
        });
    }
    // A snapshot every few transactions, most of which begin or end a session: what is loaded ends with one.
    (options.config.snap_count, options.config.snapshot_chunk_bytes) = (2, 1 << 10);
    options.disk.latency_min = MS / 2;
    Scenario::with(options, |it| {
        for round in 0..10 {
            if round % 3 == 0 {
                it.ask(0, create(&format!("/of-round-{round}")));
            }
            it.ask(1, Op::CloseSession);
            it.answered();
            it.wait("a new session", |world| world.clients().all(SimClient::is_up));
            it.pass(50 * MS);
            let session = it.world().client(ClientId(1)).session();
            it.kill();
            it.start();
            it.answered_again();
            assert_eq!(it.world().client(ClientId(1)).session(), session, "it is gone");
        }
    });
}

/// A session moves from server to server, and back, while it writes.
#[test]
fn zookeeper_2886_a_session_that_moves_while_it_writes() {
    Cluster::often(&three(), |it| {
        it.lead(3);
        it.ask(0, ephemeral("/e"));
        it.answered();
        for round in 0..6 {
            // The leader asks nobody whose session it is; so it ends with a move from one follower to the other.
            let server = 3 - round % 3;
            it.ask(0, Op::Multi(vec![create(&format!("/a{round}")), create(&format!("/b{round}"))]));
            it.linger();
            it.connect(0, server);
        }
        it.answered();
        // The last server that it moved to is its own.
        let session = it.world().client(ClientId(0)).session();
        it.write("/end");
        it.pass(SECOND);
        assert_eq!(it.world().client(ClientId(0)).session(), session);
        it.expect_node("/e");
    });
}

/// A session has more ephemeral znodes than a transaction has room for their names; they go with it all the same.
#[test]
fn zookeeper_4306_more_ephemeral_znodes_than_a_transaction_has_room_for() {
    let mut options = two_clients();
    (options.config.jute_max_buffer, options.config.jute_max_buffer_extra) = (2 << 10, 0);
    options.workload.pipeline_max = 100;
    Cluster::often(&options, |it| {
        let (leader, [f, _]) = it.opening();
        let name = |index| format!("/a-znode-with-a-name-of-some-length-that-goes-with-its-session-{index}");
        (0..100).for_each(|index| it.ask(1, ephemeral(&name(index))));
        it.answered();
        it.caught_up();
        it.expect_everywhere(&[&name(0), &name(99)]);
        it.kill(f);
        it.world().mute(ClientId(1));
        it.wait("its session to be over", |world| world.model().node(&name(0)).is_none());
        it.restart(&[leader]);
        it.finale(&["/kept"], &[&name(0), &name(99)]);
    });
}
