//! Bringing a server up to date: what it must have before it says so, what it must lose, and what is left of it when
//! it is interrupted.

use sim::cluster::Cluster;
use sim::cluster::plots::{
    is_ack, is_ack_epoch, is_append, is_commit, is_leader_info, is_new_leader, is_snapshot, is_trunc,
    is_up_to_date,
};
use sim::options::Options;
use sim::scenario::create;
use zabra_core::server::Role;
use zabra_core::store::DiskOp;

use super::{MS, SECOND, bookish, busy, forgetful, three};

/// A zxid that lies between those of the leader's history is in it or it is not: what is not is cut off.
#[test]
fn zookeeper_1154_a_tail_that_lies_between_two_epochs() {
    Cluster::often(&three(), |it| {
        let (a, [b, c]) = it.opening_with_a_tail("/lost");
        it.black_out_but(&[b, c]);
        it.write("/new");
        it.rejoin(a);
        it.finale(&["/kept", "/new"], &["/lost"]);
    });
}

/// An epoch without a transaction comes and goes, then the old leader meets one who was in it.
#[test]
fn zookeeper_2832_an_empty_epoch_outranks_a_longer_log() {
    Cluster::often(&three(), |it| {
        let (b, [a, c]) = it.opening_with_a_tail("/lost");
        it.replace_leader(b);
        it.kill(a);
        it.kill(c);
        it.start(b);
        it.start(c);
        it.expect_leader(c);
        it.finale(&["/kept"], &["/lost"]);
    });
}

/// The leader steps down with a tail of its own, in its memory and in its log.
#[test]
fn zookeeper_2845_a_phantom_create_of_a_deposed_leader() {
    Cluster::often(&three(), |it| {
        let (old, [f, g]) = it.opening_with_a_tail("/phantom");
        it.restart(&[f, g]);
        it.write("/new");
        it.let_go();
        it.expect_nowhere("/phantom");
        it.restart(&[old]);
        it.finale(&["/kept", "/new"], &["/phantom"]);
    });
}

/// What a leader shows once it may lead stays, though its followers lose power right then and it is gone.
#[test]
fn zookeeper_3911_followers_lose_power_when_they_are_up_to_date() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.opening_with_a_tail("/shown");
        it.kill(f);
        it.kill(g);
        it.until_looking(leader);
        it.let_go();
        it.start(f);
        it.until_said(leader, f, is_up_to_date);
        it.black_out_but(&[f, g]);
        it.expect_everywhere(&["/kept", "/shown"]);
        it.start(leader);
    });
}

/// The acknowledgement of NEWLEADER waits for the log, and so does the epoch.
#[test]
fn zookeeper_4646_and_4643_the_history_is_durable_before_the_epoch_and_the_epoch_before_the_word() {
    Cluster::often(&bookish(), |it| {
        let (leader, [f, g]) = it.opening();
        it.fall_behind(f, "missed", 1);
        it.restart(&[leader, g]);
        let epoch = it.epoch();
        it.hold_disk(f, is_append);
        it.start(f);
        it.until_said(leader, f, is_new_leader);
        it.never_said(300 * MS, f, leader, is_ack);
        assert!(it.kept(f).current < epoch, "an epoch before its history");
        it.power_failure(f);
        it.power_failure(leader);
        it.let_go();
        it.start(f);
        it.expect_leader(g);
        it.finale(&["/missed0"], &[]);
    });
}

/// Power fails at every step of a server's way into an epoch; it must never be preferred for what it has lost.
#[test]
fn zookeeper_4785_power_fails_at_every_step_into_an_epoch() {
    for step in 0..40 {
        let options = if step % 2 == 0 { three() } else { bookish() };
        Cluster::with(options, |it| {
            let (leader, [f, g]) = it.opening();
            it.fall_behind(f, "missed", 1);
            it.restart(&[leader, g]);
            it.leader();
            it.start(f);
            it.pass(step * MS / 2);
            it.black_out_but(&[f, g]);
            it.expect_everywhere(&["/missed0"]);
        });
    }
}

/// Proposals are acknowledged around NEWLEADER while writes go on, and the leader stays.
#[test]
fn zookeeper_4685_acknowledgements_around_newleader_do_not_end_a_leadership() {
    Cluster::often(&busy(three()), |it| {
        let (leader, [f, g]) = it.opening();
        it.connect(0, leader);
        let epoch = it.epoch();
        for _ in 0..5 {
            it.kill(f);
            it.ask_for_many(0, "/kept", 150);
            it.linger();
            it.start(f);
            it.expect_learner(f);
            it.linger();
        }
        it.answered();
        it.expect_leader(leader);
        assert_eq!(it.epoch(), epoch);
        // What somebody is brought up to date with is acknowledged too early or not, and may be all that there is to
        // begin an epoch with.
        it.fall_behind(f, "missed", 3);
        it.caught_up();
        it.kill(leader);
        it.start(f);
        it.expect_leader(g);
        assert_eq!(it.epoch(), epoch + 1, "it took more than one try");
        it.finale(&["/missed2"], &[]);
    });
}

/// A COMMIT that comes between NEWLEADER and UPTODATE finds its proposal.
#[test]
fn zookeeper_4394_a_commit_between_newleader_and_uptodate() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.opening();
        it.fall_behind(f, "missed", 1);
        it.hold(f, leader, is_ack);
        it.start(f);
        it.until_said(f, leader, is_ack);
        it.write("/between");
        it.linger();
        let lost = it.world().counts().roles_lost;
        it.let_go();
        it.expect_at(f, "/between");
        it.caught_up();
        assert_eq!(it.world().counts().roles_lost, lost, "it did not find its way in at once");
        it.restart(&[f]);
        it.finale(&["/missed0", "/between"], &[]);
    });
}

/// What a follower shows as soon as it serves is durable there.
#[test]
fn zookeeper_3023_a_follower_that_just_joined_shows_nothing_that_it_could_lose() {
    Cluster::often(&three(), |it| {
        let (_, [f, g]) = it.opening();
        it.fall_behind(f, "missed", 1);
        it.hold_disk(f, is_append);
        it.start(f);
        it.pass(300 * MS);
        assert_ne!(it.role(f), Some(Role::Following), "it serves what its disk does not have");
        it.let_go();
        it.expect_at(f, "/missed0");
        it.black_out_but(&[f, g]);
        it.expect_everywhere(&["/missed0"]);
    });
}

/// A server that was brought up to date while writes went on leads, and brings another up to date from its memory.
#[test]
fn zookeeper_4925_a_leader_that_was_synchronised_passes_everything_on() {
    Cluster::often(&Options::calm_cluster(5, 0), |it| {
        it.lead(5);
        let (next, stale) = (4, 1);
        it.kill(stale);
        it.fall_behind(next, "missed", 5);
        it.hold(next, 5, is_ack);
        it.start(next);
        it.until_said(next, 5, is_ack);
        it.write_some("between", 5);
        it.let_go();
        it.expect_learner(next);
        it.write_some("after", 5);
        it.caught_up();
        it.kill(5);
        it.expect_leader(next);
        it.rejoin(stale);
        it.finale(&["/missed4", "/between0", "/between4", "/after4"], &[]);
    });
}

/// The log's late writes of one role do not reach into the next.
#[test]
fn zookeeper_4712_late_writes_of_a_follower_that_lost_its_leader() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.opening();
        it.connect(0, leader);
        it.hold_disk(f, is_append);
        it.write_some("late", 3);
        it.cut_off(f);
        it.mend();
        it.pass(SECOND);
        assert_ne!(it.role(f), Some(Role::Following), "it has a role, and its log is not at rest");
        it.write_some("new", 3);
        it.let_disk_go(f);
        it.expect_learner(f);
        it.caught_up();
        it.power_cycle(&[f]);
        it.finale(&["/late2", "/new2"], &[]);
    });
}

/// The link breaks after the log was cut and before NEWLEADER; the next try goes on from the disk, not from memory.
#[test]
fn zookeeper_5094_a_truncation_that_was_interrupted() {
    Cluster::often(&three(), |it| {
        let (old, [f, g]) = it.opening_with_a_tail("/lost");
        let new = it.replace_leader(old);
        it.hold(new, old, is_new_leader);
        it.start(old);
        it.until_said(new, old, is_trunc);
        it.write_some("new", 3);
        it.settle();
        it.cut(new, old);
        it.pass(3 * SECOND);
        it.let_go();
        it.expect_learner(old);
        it.write("/last");
        it.caught_up();
        it.power_cycle(&[old]);
        it.power_failure(if new == f { g } else { f });
        it.finale(&["/kept", "/new2", "/last"], &["/lost"]);
    });
}

/// A snapshot's bytes are in memory, not on the disk, when the link breaks: nothing is logged behind it.
#[test]
fn zookeeper_3642_a_snapshot_that_was_never_finished() {
    Cluster::often(&forgetful(), |it| {
        let (leader, [f, _]) = it.opening();
        it.fall_behind(f, "missed", 30);
        it.hold_disk(f, |op| matches!(op, DiskOp::SnapshotFinish { .. }));
        it.start(f);
        it.until_said(leader, f, is_snapshot);
        it.settle();
        it.cut_off_for_a_while(f);
        it.pass(2 * SECOND);
        it.mend();
        it.never_said(2 * SECOND, f, leader, is_ack_epoch);
        it.write("/last");
        it.settle();
        it.power_failure(f);
        it.let_go();
        it.rejoin(f);
        it.finale(&["/missed29", "/last"], &[]);
    });
}

/// A snapshot that came from the leader is durable before anything behind it is, and before it is acknowledged.
#[test]
fn zookeeper_2872_power_fails_right_after_a_snapshot_was_acknowledged() {
    Cluster::often(&forgetful(), |it| {
        let (leader, [f, g]) = it.opening();
        it.fall_behind(f, "missed", 30);
        it.start(f);
        it.until_said(f, leader, is_ack);
        it.black_out_but(&[f, g]);
        it.expect_everywhere(&["/missed29"]);
    });
}

/// Writes go on while a snapshot is sent; it holds exactly what its name says.
#[test]
fn zookeeper_3104_and_962_writes_during_a_snapshot_and_a_crash_soon_after() {
    Cluster::often(&busy(forgetful()), |it| {
        let (leader, [f, _]) = it.opening();
        it.connect(0, leader);
        for _ in 0..4 {
            it.kill(f);
            it.ask_for_many(0, "/kept", 60);
            it.answered();
            it.ask_for_many(0, "/kept", 200);
            it.linger();
            it.start(f);
            it.until_said(f, leader, is_ack);
            it.linger();
        }
        it.power_cycle(&[f]);
        it.answered();
        it.expect_learner(f);
        it.write("/last");
        it.finale(&["/last"], &[]);
    });
}

/// The leader's disk lags behind its memory: what it reads for another and what it remembers must meet.
#[test]
fn zookeeper_2418_a_leader_with_a_slow_disk_brings_another_up_to_date() {
    let mut options = Options::calm_cluster(3, 1);
    let ensemble = options.config.ensemble.as_mut().expect("an ensemble");
    ensemble.commit_log_count = 3;
    ensemble.snapshot_size_permille = Some(u32::MAX);
    Cluster::often(&options, |it| {
        let observer = 4;
        it.lead(3);
        it.expect_learner(observer);
        it.write("/kept");
        it.caught_up();
        it.fall_behind(observer, "early", 10);
        it.hold_disk(3, is_append);
        it.write_some("late", 10);
        it.start(observer);
        it.expect_learner(observer);
        it.linger();
        it.finale(&["/early0", "/late9"], &[]);
    });
}

/// An empty server joins a leader that remembers nothing of what came before its start.
#[test]
fn zookeeper_4352_an_empty_server_joins_a_leader_without_a_memory() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.opening();
        it.fall_behind(f, "old", 10);
        it.take_files(f, "");
        it.restart(&[leader, g]);
        it.write("/new");
        it.rejoin(f);
        it.finale(&["/kept", "/old0", "/new"], &[]);
    });
}

/// A server comes back two epochs later.
#[test]
fn zookeeper_1319_a_server_that_missed_a_whole_epoch() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.opening();
        it.fall_behind(f, "one", 1);
        for path in ["/two", "/three"] {
            it.restart(&[g, leader]);
            it.write(path);
        }
        it.rejoin(f);
        it.finale(&["/one0", "/two", "/three"], &[]);
    });
}

/// What was never committed is in a log that is read for somebody else later.
#[test]
fn zookeeper_2846_an_old_log_with_what_was_cut_is_read_for_another() {
    Cluster::often(&bookish(), |it| {
        let (old, [f, g]) = it.opening_with_a_tail("/lost");
        it.replace_leader(old);
        it.rejoin(old);
        it.write("/first");
        it.caught_up();
        let stale = it.followers().into_iter().find(|&server| server != old).expect("one of three");
        it.fall_behind(stale, "new", 10);
        it.caught_up();
        it.kill(if stale == f { g } else { f });
        it.start(stale);
        it.expect_leader(old);
        it.finale(&["/first", "/new9"], &["/lost"]);
    });
}

/// The log is cut to before a snapshot that is on the disk; the snapshot must go with what it holds.
#[test]
fn zookeeper_4837_a_snapshot_beyond_the_cut() {
    let mut options = busy(three());
    options.config.snap_count = 4;
    Cluster::often(&options, |it| {
        let (old, [f, g]) = it.opening();
        it.connect(0, old);
        it.cut_off_for_a_while(old);
        (0..5).for_each(|index| it.ask(0, create(&format!("/lost{index}"))));
        it.settle();
        it.roam(0);
        it.black_out_but(&[]);
        // Elected, and in its own eyes at the end of its history, it writes a snapshot; and is gone before it has an epoch.
        it.hold(old, f, is_leader_info);
        it.start(old);
        it.start(f);
        it.until_said(old, f, is_leader_info);
        it.settle();
        let last = it.kept(old).durable;
        let snapshots = it.files(old, "snapshot.");
        assert!(snapshots.iter().any(|file| file.name == format!("snapshot.{:x}", last.0)), "{snapshots:?}");
        it.black_out_but(&[f, g]);
        it.leader();
        it.rejoin(old);
        it.write("/new");
        it.finale(&["/kept", "/new"], &["/lost0", "/lost4"]);
    });
}

/// A follower that has logged a proposal, and lost its leader before the commit, applies it when it is back.
#[test]
fn zookeeper_2355_a_leader_is_lost_between_proposal_and_commit() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.opening();
        it.connect(0, leader);
        it.hold(leader, f, is_commit);
        it.ask(0, create("/held"));
        it.answered();
        it.cut_off(f);
        it.let_go();
        it.expect_at(f, "/held");
        it.finale(&["/held"], &[]);
    });
}
