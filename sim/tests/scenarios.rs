//! Named situations, each in a world where nothing else goes wrong. What is acknowledged, equal, in order and in
//! time is checked all along; a scenario only has to lead there and say what must be left at the end.

use std::time::Duration;

use sim::disk::{SyncMode, TearProfile};
use sim::op::Mode;
use sim::options::Options;
use sim::places::{ClientId, NodeId};
use sim::scenario::{Scenario, create, create_as, set, watch};

const NODE: NodeId = NodeId(0);
const MS: Duration = Duration::from_millis(1);

/// A world whose disk takes its time, so that there is a moment between append and sync.
fn slow_disk(latency: Duration) -> Options {
    let mut options = Options::calm();
    options.disk.latency_min = latency;
    options.disk.latency_mean = Duration::ZERO;
    options
}

#[test]
fn power_fails_between_append_and_sync() {
    Scenario::with(slow_disk(200 * MS), |it| {
        it.ask(0, create("/kept"));
        it.answered();
        it.ask(0, create("/lost"));
        it.pass(100 * MS);
        let last = it.last_zxid();
        it.power_failure();
        it.start();
        assert_eq!(it.last_zxid(), last);
        it.expect_node("/kept");
        it.expect_no_node("/lost");
    });
}

#[test]
fn a_process_is_killed_between_append_and_sync() {
    Scenario::with(slow_disk(200 * MS), |it| {
        it.ask(0, create("/kept"));
        it.answered();
        it.ask(0, create("/either"));
        it.pass(100 * MS);
        it.kill();
        it.start();
        it.expect_node("/kept");
        it.pass(Duration::from_secs(1));
        // What was served since the restart must not go with the power.
        it.power_failure();
        it.start();
        it.expect_node("/kept");
    });
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    for lost in [0, 500_000] {
        let mut options = slow_disk(50 * MS);
        options.disk.tear = TearProfile { lost, torn: 1_000_000, scattered: 0, sector: 1 };
        Scenario::with(options, |it| {
            for round in 0..20 {
                it.ask(0, create(&format!("/kept{round}")));
                it.answered();
                it.ask(0, create(&format!("/torn{round}")));
                it.pass(30 * MS);
                it.power_failure();
                it.start();
                it.wait("the client to come back", |world| world.client(ClientId(0)).is_up());
            }
            for round in 0..20 {
                it.expect_node(&format!("/kept{round}"));
            }
        });
    }
}

#[test]
fn the_disk_fills_up_while_the_server_runs() {
    Scenario::run(|it| {
        it.ask(0, create("/before"));
        it.answered();
        let used = it.world().node(NODE).disk.used();
        let node = it.world().node_mut(NODE);
        node.disk.set_capacity(used + 64);
        node.disk_fails = true;
        for index in 0..400 {
            it.ask(0, set("/before", format!("{index:0100}").as_bytes()));
        }
        it.wait("the server to stop", |world| world.counts().disk_halts == 1);
        it.world().node_mut(NODE).disk.set_capacity(u64::MAX);
        it.wait("the server to serve", |world| world.node(NODE).is_up());
        it.expect_node("/before");
    });
}

#[test]
fn a_failed_sync_stops_acknowledgements() {
    Scenario::run(|it| {
        it.ask(0, create("/before"));
        it.answered();
        let node = it.world().node_mut(NODE);
        node.disk.set_sync_mode(SyncMode::Failing);
        node.disk_fails = true;
        node.cache_lies = true;
        let answers = it.world().counts().answers;
        it.ask(0, create("/never"));
        it.wait("the server to stop", |world| world.counts().disk_halts == 1);
        assert_eq!(it.world().counts().answers, answers, "something was acknowledged");
        it.wait("the server to serve", |world| world.node(NODE).is_up());
        it.expect_node("/before");
        it.expect_no_node("/never");
    });
}

#[test]
#[should_panic(expected = "durability")]
fn a_disk_that_lies_is_noticed_by_the_checker() {
    Scenario::run(|it| {
        it.world().node_mut(NODE).disk.set_sync_mode(SyncMode::Lying);
        it.ask(0, create("/a"));
        it.answered();
    });
}

#[test]
fn power_fails_while_a_snapshot_is_written() {
    let mut options = slow_disk(5 * MS);
    options.config.snap_count = 20;
    options.config.snapshot_chunk_bytes = 64;
    Scenario::with(options, |it| {
        for index in 0..60 {
            it.ask(0, create(&format!("/n{index}")));
        }
        let half_written = |name: &str| name.starts_with("tmp.snapshot");
        it.wait("a snapshot under way", |world| {
            world.node(NODE).disk.files().any(|(file, bytes)| half_written(&file.name) && bytes.len() > 128)
        });
        it.power_failure();
        it.start();
        it.answered_again();
        it.wait("a snapshot", |world| world.counts().snapshots > 0);
        it.kill();
        it.start();
    });
}

#[test]
fn the_wall_clock_is_stepped() {
    let mut options = Options::calm();
    options.clients = 2;
    Scenario::with(options, |it| {
        it.ask(0, create_as("/e", Mode::Ephemeral));
        it.answered();
        for step in [3_600_000, -7_200_000, -31_536_000_000] {
            it.world().node_mut(NODE).clock.step_wall(step);
            it.ask(1, set("/e", b"stepped"));
            it.answered();
            it.pass(Duration::from_secs(3));
            it.expect_node("/e");
        }
        assert_eq!(it.world().counts().expired, 0, "a session expired by the wall clock");
    });
}

#[test]
fn a_slow_disk_takes_many_writes_with_one_sync() {
    let mut options = slow_disk(100 * MS);
    options.workload.pipeline_max = 100;
    options.workload.think = Duration::from_micros(100);
    Scenario::with(options, |it| {
        it.ask(0, create("/a"));
        it.answered();
        let before = it.world().node(NODE).disk.sync_count();
        for _ in 0..100 {
            it.ask(0, set("/a", b"x"));
        }
        it.answered();
        let syncs = it.world().node(NODE).disk.sync_count() - before;
        assert!(syncs <= 5, "{syncs} syncs for 100 writes");
    });
}

#[test]
fn a_client_comes_back_to_its_session() {
    Scenario::run(|it| {
        it.ask(0, create_as("/e", Mode::Ephemeral));
        it.ask(0, watch("/e"));
        it.answered();
        let session = it.world().client(ClientId(0)).session();
        for _ in 0..3 {
            it.disconnect(0);
            it.wait("the client to come back", |world| world.client(ClientId(0)).is_up());
            assert_eq!(it.world().client(ClientId(0)).session(), session);
        }
        it.ask(0, set("/e", b"changed"));
        it.wait("the event of the watch", |world| world.counts().watch_events == 1);
        it.expect_node("/e");
    });
}

#[test]
fn a_session_whose_client_stays_away_ends_with_its_znodes() {
    let mut options = Options::calm();
    options.clients = 2;
    Scenario::with(options, |it| {
        it.ask(0, create_as("/e", Mode::Ephemeral));
        it.answered();
        it.world().mute(ClientId(0));
        it.wait("the session to expire", |world| world.counts().expired == 1);
        it.wait("its znode to go", |world| world.model().node("/e").is_none());
    });
}

#[test]
fn rot_in_the_middle_of_the_log_is_refused() {
    Scenario::run(|it| {
        for index in 0..20 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.answered();
        it.kill();
        let log = it.newest_log();
        let content = it.content(&log);
        // In the payload of a record near the beginning.
        it.world().node_mut(NODE).disk.rot(&log, 200, 0x10);
        it.start_refused();
        assert_eq!(it.content(&log).len(), content.len(), "the evidence was touched");
        it.world().node_mut(NODE).disk.rot(&log, 200, 0x10);
        it.start();
        it.expect_node("/n19");
    });
}
