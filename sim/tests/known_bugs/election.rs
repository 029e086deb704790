//! Who leads: epochs, support, and servers that come and go while it is decided.

use sim::cluster::plots::{is_ack, is_current_epoch, is_epoch, is_leader_info, is_new_leader, is_snapshot};
use sim::cluster::{Cluster, id_of};
use sim::disk::SyncMode;
use sim::options::Options;
use sim::scenario::set;
use zabra_core::server::Role;
use zabra_core::store::epochs;

use super::{MS, SECOND, busy, forgetful, three};

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
        it.power_cycle(&[3]);
        it.expect_no_leader(3 * SECOND);
        it.start(1);
        it.expect_everywhere(&["/kept"]);
    });
}

/// A leader begins epochs that nobody comes into; that makes its history no newer than it is.
#[test]
fn zookeeper_790_epochs_that_nobody_came_into() {
    Cluster::often(&three(), |it| {
        let (f, g) = (1, 2);
        it.lead(3);
        it.write("/kept");
        it.caught_up();
        it.black_out_but(&[]);
        for _ in 0..2 {
            it.hold(3, g, is_leader_info);
            it.start(3);
            it.start(g);
            it.until_said(3, g, is_leader_info);
            it.linger();
            it.black_out_but(&[]);
        }
        it.start(f);
        it.start(g);
        it.write("/last");
        it.caught_up();
        it.kill(f);
        it.start(3);
        it.expect_leader(g);
        it.finale(&["/kept", "/last"], &[]);
    });
}

/// A follower has acknowledged its history and is gone; with what it said nobody leads.
#[test]
fn zookeeper_1270_a_follower_that_is_gone_when_the_others_are_ready() {
    Cluster::often(&Options::calm_cluster(5, 0), |it| {
        it.lead(5);
        it.write("/kept");
        it.caught_up();
        it.black_out_but(&[]);
        it.hold(2, 5, is_ack);
        it.start(5);
        it.start(1);
        it.start(2);
        it.until_said(1, 5, is_ack);
        it.linger();
        it.kill(1);
        it.settle();
        it.let_go();
        it.expect_no_leader(3 * SECOND);
        it.finale(&["/kept"], &[]);
    });
}

/// Of which epoch a history is, is on the disk before the history is acknowledged, not only when it is up to date.
#[test]
fn zookeeper_1282_an_epoch_is_kept_before_newleader_is_acknowledged() {
    Cluster::often(&three(), |it| {
        it.lead(3);
        it.write("/kept");
        it.caught_up();
        it.black_out_but(&[]);
        it.hold_disk(2, is_current_epoch);
        it.start(3);
        it.start(2);
        it.until_said(3, 2, is_new_leader);
        it.never_said(300 * MS, 2, 3, is_ack);
        assert!(it.kept(2).current < it.kept(2).accepted, "it has the epoch though its disk stands still");
        it.black_out_but(&[1, 2]);
        it.finale(&["/kept"], &[]);
    });
}

/// The leader is gone and back before its followers notice; they lead nobody to it, and everybody finds together.
#[test]
fn zookeeper_1732_a_leader_that_is_back_before_anybody_noticed() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.opening();
        it.cut_way(leader, f);
        it.cut_way(leader, g);
        it.restart(&[leader]);
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
        it.fall_behind(f, "a-name-of-some-length-so-that-a-snapshot-takes-its-time-", 400);
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
    // So little may be under way that most of the snapshot is still with the leader.
    options.config.ensemble.as_mut().expect("an ensemble").link_outbox_bytes = 32 << 10;
    Cluster::often(&options, |it| {
        let (leader, [f, _]) = it.cast();
        it.fall_behind(f, "missed", 200);
        let epoch = it.epoch();
        it.hold(leader, f, is_snapshot);
        it.start(f);
        it.until_said(leader, f, is_snapshot);
        let begun = it.world().now();
        it.write_some("meanwhile", 20);
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
        let node = it.node_mut(leader);
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
        it.expect_everywhere(&["/before"]);
    });
}

/// The promise cannot be written: the server stops, promises nothing and comes back.
#[test]
fn zookeeper_2307_a_promise_that_cannot_be_written() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.opening();
        it.black_out_but(&[]);
        it.keep_down(true);
        it.hold_disk(f, is_epoch);
        it.start(leader);
        it.start(f);
        it.until_said(leader, f, is_leader_info);
        it.settle();
        let node = it.node_mut(f);
        node.disk.set_sync_mode(SyncMode::Failing);
        node.disk_fails = true;
        node.cache_lies = true;
        it.let_disk_go(f);
        it.wait("the follower to stop", |world| world.node(id_of(f)).is_down());
        it.keep_down(false);
        assert_eq!(it.kept(f).accepted, 1);
        it.start(f);
        it.expect_serving(f);
        assert!(it.kept(f).accepted >= it.kept(f).current);
        it.finale(&["/kept"], &[]);
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
            it.black_out_but(&[f, g]);
            it.leader();
            it.start(leader);
        }
        it.expect_everywhere(&["/kept"]);
        assert!(it.servers().any(|server| it.role(server) == Some(Role::Leading)));
    });
}
