//! Files and disks: what a crash leaves of them, and what a server makes of that.

use sim::cluster::Cluster;
use sim::cluster::plots::is_epoch;
use sim::disk::TearProfile;
use sim::op::Op;
use sim::options::Options;
use sim::places::NodeId;
use sim::scenario::{Scenario, create, set};
use zabra_core::store::{Dir, FileName, epochs};
use zabra_core::wire::snapshot::{COMPLETE_CHECK_LEN, is_complete};

use super::{MS, SECOND, three};

const NODE: NodeId = NodeId(0);

fn file(dir: Dir, name: &str) -> FileName {
    FileName { dir, name: name.into() }
}

fn names(it: &mut Scenario, prefix: &str) -> Vec<FileName> {
    let files = it.world().node(NODE).disk.files();
    files.map(|(file, _)| file.clone()).filter(|file| file.name.starts_with(prefix)).collect()
}

/// What is logged behind a cut goes to where the cut is, not to where the file ended before.
#[test]
fn zookeeper_1489_writes_behind_a_cut() {
    Cluster::often(&three(), |it| {
        let (old, [f, g]) = it.opening_with_a_tail("/lost");
        it.until_looking(old);
        let new = it.leader();
        it.let_go();
        it.expect_learner(old);
        // What its log is good for shows when the others need it.
        let third = if new == f { g } else { f };
        it.fall_behind(third, "new", 10);
        it.caught_up();
        it.black_out_but(&[old, third]);
        it.expect_everywhere(&["/kept", "/new9"]);
        it.finale(&["/kept", "/new9"], &["/lost"]);
    });
}

/// A record that is larger than what a log file is made larger by in advance.
#[test]
fn zookeeper_2249_a_record_larger_than_the_padding() {
    let mut options = Options::calm();
    options.config.pre_alloc_size = 4 << 10;
    Scenario::with(options, |it| {
        it.ask(0, create("/a"));
        for size in [4000, 4096, 5000, 20_000, 3, 9000] {
            it.ask(0, set("/a", &vec![b'x'; size]));
        }
        it.answered();
        let last = it.last_zxid();
        it.power_failure();
        it.start();
        assert_eq!(it.last_zxid(), last);
        it.answered_again();
    });
}

/// Power fails around the moment at which an epoch file gets its name.
#[test]
fn zookeeper_4269_and_1653_an_epoch_file_that_was_not_renamed() {
    for round in 0..12 {
        let mut options = three();
        options.disk.latency_min = 20 * MS;
        options.disk.tear = TearProfile { lost: 500_000, torn: 500_000, scattered: 0, sector: 1 };
        Cluster::with(options, |it| {
            it.write("/kept");
            for step in 0..4 {
                it.power_failure_of_all();
                it.start_all();
                it.pass((40 + 15 * step + 3 * round) * MS);
            }
            it.expect_everywhere(&["/kept"]);
        });
    }
    // What Java leaves there: the file of the next epoch under its temporary name.
    Cluster::run(3, |it| {
        it.write("/before");
        it.power_cycle(&[1, 2, 3]);
        it.write("/kept");
        it.caught_up();
        let epoch = it.epoch();
        it.power_failure_of_all();
        for server in it.servers() {
            it.set_epoch(server, epochs::CURRENT_EPOCH, epoch - 1);
            it.set_epoch(server, epochs::CURRENT_EPOCH_TEMPORARY, epoch);
        }
        it.start_all();
        it.finale(&["/kept"], &[]);
    });
}

/// A log file without a header is nothing at the end of the log, and damage in its middle.
#[test]
fn zookeeper_2332_a_log_file_without_a_header() {
    Scenario::run(|it| {
        it.ask(0, create("/a"));
        it.answered();
        it.kill();
        let next = it.last_zxid().0 + 1;
        let empty = file(Dir::Log, &format!("log.{next:x}"));
        it.world().node_mut(NODE).disk.put(empty, b"");
        it.start();
        it.answered_again();
        it.expect_node("/a");
    });
    let mut options = Options::calm();
    options.config.txn_log_size_limit = Some(1 << 10);
    options.config.snap_count = 10_000;
    Scenario::with(options, |it| {
        for index in 0..60 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.answered();
        it.kill();
        let logs = names(it, "log.");
        assert!(logs.len() >= 3, "{logs:?}");
        let number = |file: &FileName| i64::from_str_radix(&file.name[4..], 16).expect("a zxid");
        let middle =
            logs.iter().min_by_key(|file| (number(file) - 20).abs()).expect("there are some").clone();
        let content = it.content(&middle);
        it.world().node_mut(NODE).disk.put(middle.clone(), b"");
        it.start_refused();
        it.world().node_mut(NODE).disk.put(middle, &content);
        it.start();
        it.expect_node("/n59");
    });
}

/// Without its snapshots a server begins with nothing only if its log reaches back to the beginning.
#[test]
fn zookeeper_2325_all_snapshots_are_gone() {
    let mut options = Options::calm();
    options.config.snap_count = 20;
    options.config.snap_retain_count = 3;
    options.config.purge_interval = Some(SECOND);
    Scenario::with(options, |it| {
        for index in 0..200 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.answered();
        it.pass(3 * SECOND);
        it.kill();
        let snapshots = names(it, "snapshot.");
        assert!(!snapshots.is_empty());
        let contents: Vec<Vec<u8>> = snapshots.iter().map(|file| it.content(file)).collect();
        for file in &snapshots {
            it.world().node_mut(NODE).disk.take(file);
        }
        it.start_refused();
        for (file, content) in snapshots.into_iter().zip(contents) {
            it.world().node_mut(NODE).disk.put(file, &content);
        }
        it.start();
        it.expect_node("/n0");
        it.expect_node("/n199");
    });
}

/// A disk that is full makes no snapshot that counts as one, and none that is good is removed for it.
#[test]
fn zookeeper_3231_and_3082_a_full_disk_costs_no_good_snapshot() {
    let mut options = Options::calm();
    options.config.snap_count = 20;
    options.config.snapshot_chunk_bytes = 64;
    options.config.purge_interval = Some(SECOND);
    options.disk.latency_min = 5 * MS;
    Scenario::with(options, |it| {
        for index in 0..60 {
            it.ask(0, create(&format!("/n{index}")));
        }
        it.answered();
        it.pass(3 * SECOND);
        let is_under_way = |it: &mut Scenario| {
            let is_begun = |file: &FileName, len: usize| file.name.starts_with("tmp.snapshot.") && len > 128;
            it.world().node(NODE).disk.files().any(|(file, content)| is_begun(file, content.len()))
        };
        for _ in 0..5 {
            // The log is at rest when the disk is full, in the middle of a snapshot.
            (0..100).find(|_| {
                it.ask(0, set("/n0", b"again"));
                it.answered();
                is_under_way(it)
            });
            assert!(is_under_way(it), "no snapshot is due");
            let node = it.world().node_mut(NODE);
            let used = node.disk.used();
            node.disk.set_capacity(used);
            it.pass(3 * SECOND);
            assert!(!is_under_way(it), "it is not given up");
            it.world().node_mut(NODE).disk.set_capacity(u64::MAX);
            for snapshot in names(it, "snapshot.") {
                let content = it.content(&snapshot);
                let end = &content[content.len().saturating_sub(COMPLETE_CHECK_LEN)..];
                assert!(is_complete(end), "{} is no snapshot", snapshot.name);
            }
        }
        it.kill();
        it.start();
        it.expect_node("/n59");
    });
}

/// A snapshot is all that is left, without a log and without epoch files: the next epoch is later than the snapshot's.
#[test]
fn zookeeper_582_a_snapshot_alone_tells_the_epoch() {
    let mut options = three();
    options.config.snap_count = 5;
    Cluster::often(&options, |it| {
        for _ in 0..3 {
            it.power_failure_of_all();
            it.start_all();
            it.leader();
        }
        it.write_some("a", 30);
        it.caught_up();
        let epoch = it.epoch();
        it.wait("snapshots", |world| world.counts().snapshots >= 6);
        it.power_failure_of_all();
        for server in it.servers() {
            it.take_files(server, "acceptedEpoch");
            it.take_files(server, "currentEpoch");
        }
        it.start_all();
        it.leader();
        assert!(it.epoch() > epoch);
        it.expect_everywhere(&["/a29"]);
        let _ = it.call(0, Op::Sync { path: "/".into() });
    });
}

/// An epoch file is written while everything else stands still; power fails before and after.
#[test]
fn zookeeper_1291_power_fails_before_an_epoch_is_kept() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        for _ in 0..3 {
            let (leader, others) = it.cast::<2>();
            it.power_failure_of_all();
            it.servers().for_each(|server| it.hold_disk(server, is_epoch));
            it.start_all();
            it.expect_no_leader(500 * MS);
            it.let_disk_go(leader);
            it.linger();
            it.black_out_but(&[leader, others[0], others[1]]);
        }
        it.finale(&["/kept"], &[]);
    });
}
