//! Who leads: epochs, support, and servers that come and go while it is decided.

use sim::cluster::Cluster;
use sim::disk::SyncMode;
use sim::link::NodeId;
use sim::options::Options;
use sim::scenario::set;
use zabra_core::server::Role;
use zabra_core::store::{DiskOp, epochs};
use zabra_core::types::Message;

use super::{MS, SECOND, busy, forgetful, is_ack, is_new_leader, three, write_some};

fn is_epoch(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Replace { .. })
}

/// Somebody else's promise may be as late as the leader's proposal; the epoch is one later than any.
#[test]
fn zookeeper_1343_an_epoch_that_a_follower_has_promised_already() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.cast();
        it.power_failure_of_all();
        it.set_epoch(leader, epochs::ACCEPTED_EPOCH, 5);
        it.set_epoch(f, epochs::ACCEPTED_EPOCH, 6);
        it.start(leader);
        it.start(f);
        it.expect_leader(leader);
        assert_eq!(it.epoch(), 7);
    });
}

/// Observers make nobody a leader, and keep nobody one.
#[test]
fn zookeeper_2959_and_1294_observers_support_nobody() {
    Cluster::often(&Options::calm_cluster(3, 2), |it| {
        it.write("/kept");
        it.lead(3);
        it.kill(1);
        it.kill(2);
        it.until_looking(3);
        it.expect_no_leader(3 * SECOND);
        it.power_failure(3);
        it.start(3);
        it.expect_no_leader(3 * SECOND);
        it.start(1);
        it.expect_everywhere("/kept", true);
    });
}

/// A leader has begun an epoch that nobody came into; that makes its history no newer than it is.
#[test]
fn zookeeper_790_an_epoch_that_nobody_came_into() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (f, g) = (1, 2);
        it.lead(3);
        it.expect_learner(g);
        it.kill(g);
        it.write("/last");
        it.power_failure(3);
        it.power_failure(f);
        it.start(3);
        it.start(g);
        it.hold(g, 3, is_ack);
        it.until_said(3, g, is_new_leader);
        it.linger();
        it.power_failure(3);
        it.let_go();
        it.start(f);
        it.expect_everywhere("/last", true);
        it.start(3);
        it.linger();
        it.expect_everywhere("/last", true);
    });
}

/// The leader is gone and back before its followers notice; they lead nobody to it, and everybody finds together.
#[test]
fn zookeeper_1732_a_leader_that_is_back_before_anybody_noticed() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (leader, [f, g]) = it.cast();
        it.cut_way(leader, f);
        it.cut_way(leader, g);
        it.kill(leader);
        it.start(leader);
        it.linger();
        it.mend();
        it.kill(g);
        it.leader();
        it.linger();
        it.start(g);
        it.expect_serving(g);
        it.expect_serving(f);
        it.write("/after");
    });
}

/// Who has the highest id joins those who have a leader.
#[test]
fn zookeeper_975_the_highest_id_joins_an_ensemble_that_serves() {
    Cluster::often(&three(), |it| {
        it.kill(3);
        it.write("/a");
        it.leader();
        let epoch = it.epoch();
        for _ in 0..3 {
            it.start(3);
            it.expect_learner(3);
            it.linger();
            it.kill(3);
        }
        assert_eq!(it.epoch(), epoch);
    });
}

/// A snapshot takes longer than `syncLimit`: who installs it is waited for, and everybody else is served.
#[test]
fn zookeeper_1697_a_snapshot_that_takes_longer_than_the_sync_limit() {
    let mut options = forgetful();
    options.config.ensemble.as_mut().expect("an ensemble").sync_limit = 2;
    options.config.snapshot_chunk_bytes = 256;
    options.net.window = 512;
    options.net.latency_min = 3 * MS;
    Cluster::often(&busy(options), |it| {
        let (leader, [f, _]) = it.cast();
        it.kill(f);
        write_some(it, "a-name-of-some-length-so-that-a-snapshot-takes-its-time-", 400);
        let epoch = it.epoch();
        let begun = it.world().now();
        it.start(f);
        it.expect_learner(f);
        assert!(it.world().now() - begun > 300 * MS, "the snapshot was too fast to show anything");
        it.expect_leader(leader);
        assert_eq!(it.epoch(), epoch);
    });
}

/// The link stops in the middle of a snapshot: nobody but its receiver waits.
#[test]
fn zookeeper_2201_a_snapshot_that_is_stuck_holds_up_nobody_else() {
    let mut options = busy(forgetful());
    options.net.window = 2 << 10;
    Cluster::often(&options, |it| {
        let (leader, [f, _]) = it.cast();
        it.kill(f);
        write_some(it, "missed", 200);
        let epoch = it.epoch();
        it.hold(leader, f, |message| matches!(message, Message::Snap { .. }));
        it.start(f);
        it.until_said(leader, f, |message| matches!(message, Message::Snap { .. }));
        let begun = it.world().now();
        write_some(it, "meanwhile", 20);
        assert!(it.world().now() - begun < SECOND, "writes waited");
        it.pass(3 * SECOND);
        assert_eq!(it.epoch(), epoch);
        it.let_go();
        it.expect_learner(f);
        it.caught_up();
    });
}

/// The leader cannot write its log any more: it goes, and another leads.
#[test]
fn zookeeper_2247_a_leader_whose_disk_is_full() {
    Cluster::often(&three(), |it| {
        it.write("/before");
        let (leader, _) = it.cast::<2>();
        let node = it.world().node_mut(NodeId(leader - 1));
        let used = node.disk.used();
        node.disk.set_capacity(used);
        node.disk_fails = true;
        it.keep_down(true);
        // So many that what the file was made larger by in advance is used up.
        for _ in 0..160 {
            it.ask(0, set("/before", &[b'x'; 200]));
        }
        it.wait("the leader to stop", |world| world.counts().disk_halts > 0);
        let next = it.leader();
        assert_ne!(next, leader);
        it.keep_down(false);
        it.expect_everywhere("/before", true);
    });
}

/// The promise cannot be written: the server stops, promises nothing and comes back.
#[test]
fn zookeeper_2307_a_promise_that_cannot_be_written() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (leader, [f, _]) = it.cast();
        it.power_failure_of_all();
        it.keep_down(true);
        it.start_all();
        let node = it.world().node_mut(NodeId(f - 1));
        node.disk.set_sync_mode(SyncMode::Failing);
        node.disk_fails = true;
        node.cache_lies = true;
        it.wait("the follower to stop", |world| world.node(NodeId(f - 1)).is_down());
        it.keep_down(false);
        assert_eq!(it.kept(f).accepted, 1);
        it.start(f);
        it.expect_serving(f);
        assert!(it.kept(f).accepted >= it.kept(f).current);
        it.expect_leader(leader);
        it.expect_everywhere("/kept", true);
    });
}

/// Leaders come and go before their epochs are anybody's; no epoch is ever used by two of them.
#[test]
fn zookeeper_335_epochs_that_were_begun_and_not_kept() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        for round in 0..6 {
            let (leader, [f, g]) = it.cast();
            it.power_failure_of_all();
            it.hold_disk(if round % 2 == 0 { leader } else { f }, is_epoch);
            it.start_all();
            it.pass(300 * MS);
            it.linger();
            it.power_failure_of_all();
            it.let_go();
            it.start(f);
            it.start(g);
            it.leader();
            it.start(leader);
        }
        it.expect_everywhere("/kept", true);
        assert!(it.servers().any(|server| it.role(server) == Some(Role::Leading)));
    });
}
