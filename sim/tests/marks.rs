//! What random runs do not come to, or hardly: each mark of `sim::marks::IN_SCENARIOS` is reached here by design.

use std::time::Duration;

use sim::cluster::Cluster;
use sim::cluster::plots::{is_ack_epoch, is_follower_info};
use sim::marks::Mark;
use sim::options::Options;
use sim::places::NodeId;
use sim::scenario::{Scenario, create};
use zabra_core::store::{FileName, epochs};

const MS: Duration = Duration::from_millis(1);
const NODE: NodeId = NodeId(0);

fn newest(files: &[FileName], prefix: &str) -> FileName {
    let number = |file: &&FileName| i64::from_str_radix(file.name.strip_prefix(prefix)?, 16).ok();
    files.iter().filter(|file| number(file).is_some()).max_by_key(number).expect("there is one").clone()
}

/// A bit changes in the middle of a follower's log: what it has lost it may have acknowledged, so it does not vote until
/// a leader has brought it up to date.
#[test]
fn a_member_whose_log_is_damaged_votes_again_when_it_is_brought_up_to_date() {
    Cluster::run(3, |it| {
        let (leader, [f, g]) = it.opening();
        it.write_some("a", 20);
        it.caught_up();
        it.kill(f);
        let log = newest(&it.files(f, "log."), "log.");
        it.node_mut(f).disk.rot(&log, 200, 0x10);
        it.rejoin(f);
        it.settle();
        for mark in [Mark::DamageFound, Mark::MayHaveLostData, Mark::LookedWithoutData, Mark::VotesAgain] {
            it.expect_reached(mark);
        }
        it.kill(leader);
        it.expect_leader(f.max(g));
        it.finale(&["/kept", "/a19"], &[]);
    });
}

/// The snapshot that a follower got from its leader lacks its end, and there is no log that reaches as far.
#[test]
fn a_member_whose_snapshot_is_damaged_falls_back_behind_it() {
    let mut options = Options::calm_cluster(3, 0);
    let ensemble = options.config.ensemble.as_mut().expect("an ensemble");
    ensemble.commit_log_count = 3;
    ensemble.snapshot_size_permille = None;
    Cluster::with(options, |it| {
        let (_, [f, _]) = it.opening();
        it.fall_behind(f, "missed", 30);
        it.rejoin(f);
        it.kill(f);
        it.take_files(f, "log.");
        let snapshot = newest(&it.files(f, "snapshot."), "snapshot.");
        let disk = &mut it.node_mut(f).disk;
        let content = disk.files().find(|(file, _)| **file == snapshot).expect("just seen").1.to_vec();
        disk.put(snapshot, &content[..content.len() / 2]);
        it.rejoin(f);
        it.expect_reached(Mark::FellBack);
        it.expect_reached(Mark::BehindItsSnapshot);
        it.finale(&["/missed29"], &[]);
    });
}

/// Behind the last record of a file, and before the first of the next, there is something that is no record.
#[test]
fn bytes_between_two_log_files_are_passed_over_and_a_damaged_record_is_not() {
    let mut options = Options::calm();
    options.config.txn_log_size_limit = Some(1 << 10);
    options.config.snap_count = 10_000;
    options.config.pre_alloc_size = 0;
    Scenario::with(options, |it| {
        for index in 0..60 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.answered();
        it.kill();
        let mut logs: Vec<FileName> =
            it.world().node(NODE).disk.files().map(|(file, _)| file.clone()).collect();
        logs.retain(|file| file.name.starts_with("log."));
        logs.sort_by_key(|file| i64::from_str_radix(&file.name[4..], 16).expect("a zxid"));
        let middle = logs[logs.len() / 2].clone();
        let content = it.content(&middle);
        let longer = [&content[..], b"garbage that is no record"].concat();
        it.world().node_mut(NODE).disk.put(middle.clone(), &longer);
        it.start();
        it.answered_again();
        it.expect_reached(Mark::DamagePassedOver);
        it.kill();
        it.world().node_mut(NODE).disk.rot(&middle, 200, 0x10);
        it.start_refused();
        it.expect_reached(Mark::Refused);
        it.world().node_mut(NODE).disk.rot(&middle, 200, 0x10);
        it.start();
        it.expect_node("/n59");
    });
}

/// A process is killed while it writes a snapshot, and power fails while a batch is written, of which the disk keeps the
/// end and not the beginning.
#[test]
fn what_was_half_written_is_removed_and_a_torn_batch_is_cut() {
    let mut options = Options::calm();
    options.config.snap_count = 20;
    options.config.snapshot_chunk_bytes = 64;
    options.disk.latency_min = 5 * MS;
    options.disk.latency_mean = Duration::ZERO;
    options.disk.tear =
        sim::disk::TearProfile { lost: 0, torn: 1_000_000, scattered: 1_000_000, sector: 512 };
    options.workload.pipeline_max = 100;
    options.workload.think = MS / 10;
    Scenario::with(options, |it| {
        for index in 0..60 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.wait("a snapshot under way", |world| {
            let is_begun = |name: &str, len: usize| name.starts_with("tmp.snapshot") && len > 128;
            world.node(NODE).disk.files().any(|(file, bytes)| is_begun(&file.name, bytes.len()))
        });
        it.kill();
        it.start();
        it.expect_reached(Mark::TemporaryRemoved);
        for round in 0..40 {
            it.answered_again();
            for index in 0..60 {
                it.ask(0, create(&format!("/of-a-batch-that-is-longer-than-a-sector-{round}-{index}")));
            }
            it.pass((4 + round % 20) * MS);
            it.power_failure();
            it.start();
        }
        it.expect_reached(Mark::TornBatchCut);
    });
}

/// Somebody comes who has promised a later epoch than the leader's: it could never follow, so the leader goes.
#[test]
fn a_leader_is_overtaken_by_a_promise() {
    Cluster::run(3, |it| {
        let (_, [f, _]) = it.opening();
        it.kill(f);
        it.set_epoch(f, epochs::ACCEPTED_EPOCH, 9);
        it.rejoin(f);
        it.expect_reached(Mark::LeaderOvertaken);
        assert_eq!(it.epoch(), 10);
        it.finale(&["/kept"], &[]);
    });
}

/// A server has just heard who leads when that one dies; it finds nobody to follow, and looks again.
#[test]
fn a_leader_is_gone_before_somebody_could_connect() {
    Cluster::run(3, |it| {
        // The time for it is a fraction of a millisecond behind the news of who leads.
        for delay in 0..30 {
            let (leader, [f, _]) = it.opening();
            it.kill(f);
            let before = it.world().reached().count(Mark::LeaderNamed);
            it.start(f);
            it.wait("the leader's name", move |world| world.reached().count(Mark::LeaderNamed) > before);
            it.pass(delay * MS / 20);
            it.kill(leader);
            it.pass(3_000 * MS);
            it.start(leader);
            it.caught_up();
            if it.world().reached().count(Mark::LearnerFoundNobody) > 0 {
                return it.finale(&["/kept"], &[]);
            }
        }
        panic!("it always found somebody");
    });
}

/// An observer has promised a later epoch than the one that the voters agree on. It has no say in that, and finds out.
#[test]
fn an_observer_finds_an_epoch_older_than_its_promise() {
    Cluster::with(Options::calm_cluster(3, 1), |it| {
        let observer = 4;
        it.lead(3);
        it.write("/kept");
        it.caught_up();
        it.black_out_but(&[]);
        it.set_epoch(observer, epochs::ACCEPTED_EPOCH, 9);
        it.hold(1, 3, is_follower_info);
        it.start(3);
        it.start(1);
        it.start(observer);
        it.pass(300 * MS);
        it.let_go();
        it.wait("the observer to find out", |world| world.reached().count(Mark::LearnerFoundOldEpoch) > 0);
        // It follows once the voters have got as far.
        it.kill(observer);
        let current = it.kept(observer).current;
        it.set_epoch(observer, epochs::ACCEPTED_EPOCH, current);
        it.finale(&["/kept"], &[]);
    });
}

/// Whoever was elected by those who know less hears of more before it has a quorum, and leaves it to others.
#[test]
fn a_leader_finds_a_voter_that_knows_more() {
    Cluster::run(3, |it| {
        let (old, [f, g]) = it.opening_with_a_tail("/more");
        it.black_out_but(&[]);
        let (least, most) = (f.min(g), f.max(g));
        it.hold(least, most, is_ack_epoch);
        it.start(least);
        it.start(most);
        it.until_said(least, most, is_ack_epoch);
        it.start(old);
        it.wait("it to hear of more", |world| world.reached().count(Mark::LeaderBehind) > 0);
        it.finale(&["/kept"], &[]);
    });
}

/// A leader has logged the first transaction of its epoch, alone; the next epoch begins before it.
#[test]
fn a_log_is_cut_back_into_an_earlier_epoch() {
    Cluster::run(3, |it| {
        it.opening::<2>();
        it.power_cycle(&[1, 2, 3]);
        let (old, _) = it.cast::<2>();
        it.log_alone(old, "/lost");
        it.replace_leader(old);
        it.rejoin(old);
        it.expect_reached(Mark::TruncAcrossEpochs);
        it.finale(&["/kept"], &["/lost"]);
    });
}
