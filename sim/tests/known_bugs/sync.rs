//! Bringing a server up to date: what it must have before it says so, what it must lose, and what is left of it when
//! it is interrupted.

use sim::cluster::Cluster;
use sim::options::Options;
use sim::scenario::create;
use zabra_core::store::DiskOp;
use zabra_core::types::Message;

use super::{
    MS, SECOND, bookish, busy, forgetful, is_ack, is_new_leader, is_proposal, is_up_to_date, three,
    write_some,
};

fn is_append(op: &DiskOp) -> bool {
    matches!(op, DiskOp::LogAppend { .. })
}

/// A zxid that lies between those of the leader's history is in it or it is not: what is not is cut off.
#[test]
fn zookeeper_1154_a_tail_that_lies_between_two_epochs() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (a, [b, c]) = it.cast();
        it.log_alone(a, "/lost");
        it.power_failure_of_all();
        it.mend();
        it.start(b);
        it.start(c);
        it.write("/new");
        it.start(a);
        it.linger();
        it.expect_everywhere("/lost", false);
        it.expect_everywhere("/new", true);
    });
}

/// An epoch without a transaction comes and goes, then the old leader meets one who was in it.
#[test]
fn zookeeper_2832_an_empty_epoch_outranks_a_longer_log() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (b, [a, c]) = it.cast();
        it.log_alone(b, "/lost");
        it.power_failure(b);
        it.mend();
        it.leader();
        it.kill(a);
        it.kill(c);
        it.linger();
        it.start(b);
        it.start(c);
        it.expect_leader(c);
        it.expect_everywhere("/lost", false);
        it.expect_everywhere("/kept", true);
    });
}

/// The leader steps down with a tail of its own, in its memory and in its log.
#[test]
fn zookeeper_2845_a_phantom_create_of_a_deposed_leader() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (old, [f, g]) = it.cast();
        it.log_alone(old, "/phantom");
        it.kill(f);
        it.kill(g);
        it.linger();
        it.start(f);
        it.start(g);
        it.write("/new");
        it.let_go();
        it.expect_everywhere("/phantom", false);
        it.kill(old);
        it.start(old);
        it.expect_everywhere("/phantom", false);
    });
}

/// What a leader shows once it may lead stays, though its followers lose power right then and it is gone.
#[test]
fn zookeeper_3911_followers_lose_power_when_they_are_up_to_date() {
    Cluster::often(&three(), |it| {
        it.write("/before");
        let (leader, [f, g]) = it.cast();
        it.log_alone(leader, "/shown");
        it.power_failure_of_all();
        it.let_go();
        it.start_all();
        let mut up_to_date = 0;
        it.until("UPTODATE", |what| {
            let said = matches!(what, sim::history::Observed::Said { message, .. } if is_up_to_date(message));
            up_to_date += usize::from(said);
            up_to_date == 2
        });
        it.power_failure_of_all();
        it.start(f);
        it.start(g);
        it.expect_everywhere("/shown", true);
        it.start(leader);
    });
}

/// The acknowledgement of NEWLEADER waits for the log, and so does the epoch.
#[test]
fn zookeeper_4646_and_4643_the_history_is_durable_before_the_epoch_and_the_epoch_before_the_word() {
    Cluster::often(&bookish(), |it| {
        it.write("/before");
        let (leader, [f, g]) = it.cast();
        it.caught_up();
        it.kill(f);
        it.write("/missed");
        it.kill(leader);
        it.kill(g);
        it.start(leader);
        it.start(g);
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
        it.expect_everywhere("/missed", true);
    });
}

/// Power fails at every step of a server's way into an epoch; it must never be preferred for what it has lost.
#[test]
fn zookeeper_4785_power_fails_at_every_step_into_an_epoch() {
    for step in 0..40 {
        let options = if step % 2 == 0 { three() } else { bookish() };
        Cluster::with(options, |it| {
            it.write("/before");
            let (leader, [f, g]) = it.cast();
            it.caught_up();
            it.power_failure(f);
            it.write("/missed");
            it.kill(leader);
            it.kill(g);
            it.start(leader);
            it.start(g);
            it.leader();
            it.start(f);
            it.pass(step * MS / 2);
            it.power_failure(f);
            it.power_failure(leader);
            it.power_failure(g);
            it.start(f);
            it.start(g);
            it.expect_everywhere("/missed", true);
        });
    }
}

/// Proposals are acknowledged around NEWLEADER while writes go on, and the leader stays.
#[test]
fn zookeeper_4685_acknowledgements_around_newleader_do_not_end_a_leadership() {
    Cluster::often(&busy(three()), |it| {
        it.write("/a");
        let (leader, [f, _]) = it.cast();
        it.connect(0, leader);
        let epoch = it.epoch();
        for _ in 0..5 {
            it.kill(f);
            it.ask_for_many(0, "/a", 150);
            it.linger();
            it.start(f);
            it.expect_learner(f);
            it.linger();
        }
        it.answered();
        it.expect_leader(leader);
        assert_eq!(it.epoch(), epoch);
    });
}

/// A COMMIT that comes between NEWLEADER and UPTODATE finds its proposal.
#[test]
fn zookeeper_4394_a_commit_between_newleader_and_uptodate() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.cast();
        it.kill(f);
        it.write("/missed");
        it.hold(f, leader, is_ack);
        it.start(f);
        it.until_said(f, leader, is_ack);
        it.write("/between");
        it.linger();
        it.let_go();
        it.expect_learner(f);
        it.caught_up();
        it.kill(f);
        it.start(f);
        it.expect_everywhere("/between", true);
    });
}

/// What a follower shows as soon as it serves is durable there.
#[test]
fn zookeeper_3023_a_follower_that_just_joined_shows_nothing_that_it_could_lose() {
    Cluster::often(&three(), |it| {
        let (_, [f, g]) = it.cast();
        it.kill(f);
        it.write("/missed");
        it.start(f);
        it.expect_learner(f);
        it.connect(0, f);
        assert!(it.sees(0, "/missed"));
        it.power_failure_of_all();
        it.start(f);
        it.start(g);
        it.expect_everywhere("/missed", true);
    });
}

/// A server that was brought up to date while writes went on leads, and brings another up to date from its memory.
#[test]
fn zookeeper_4925_a_leader_that_was_synchronised_passes_everything_on() {
    Cluster::often(&Options::calm_cluster(5, 0), |it| {
        it.lead(5);
        let (next, stale) = (4, 1);
        it.kill(stale);
        it.kill(next);
        write_some(it, "missed", 5);
        it.hold(next, 5, is_ack);
        it.start(next);
        it.until_said(next, 5, is_ack);
        write_some(it, "between", 5);
        it.let_go();
        it.expect_learner(next);
        write_some(it, "after", 5);
        it.caught_up();
        it.kill(5);
        it.expect_leader(next);
        it.start(stale);
        for name in ["/missed4", "/between0", "/between4", "/after4"] {
            it.expect_everywhere(name, true);
        }
    });
}

/// The log's late writes of one role do not reach into the next.
#[test]
fn zookeeper_4712_late_writes_of_a_follower_that_lost_its_leader() {
    Cluster::often(&three(), |it| {
        it.write("/a");
        let (leader, [f, g]) = it.cast();
        it.connect(0, leader);
        it.hold_disk(f, is_append);
        write_some(it, "late", 3);
        it.partition(&[&[f], &[leader, g]]);
        it.until_looking(f);
        write_some(it, "new", 3);
        it.mend();
        it.pass(SECOND);
        it.let_disk_go(f);
        it.expect_learner(f);
        it.caught_up();
        it.power_failure(f);
        it.start(f);
        it.expect_everywhere("/late2", true);
        it.expect_everywhere("/new2", true);
    });
}

/// The link breaks after the log was cut and before NEWLEADER; the next try goes on from the disk, not from memory.
#[test]
fn zookeeper_5094_a_truncation_that_was_interrupted() {
    Cluster::often(&three(), |it| {
        it.write("/kept");
        let (old, [f, g]) = it.cast();
        it.log_alone(old, "/lost");
        it.power_failure(old);
        it.let_go();
        let new = it.leader();
        it.hold(new, old, is_new_leader);
        it.start(old);
        it.until_said(new, old, |message| matches!(message, Message::Trunc { .. }));
        write_some(it, "new", 3);
        it.pass(50 * MS);
        it.cut(new, old);
        it.pass(3 * SECOND);
        it.let_go();
        it.expect_learner(old);
        it.write("/last");
        it.caught_up();
        it.power_failure(old);
        it.start(old);
        it.power_failure(if new == f { g } else { f });
        it.expect_everywhere("/lost", false);
        it.expect_everywhere("/last", true);
    });
}

/// A snapshot's bytes are in memory, not on the disk, when the link breaks: nothing is logged behind it.
#[test]
fn zookeeper_3642_a_snapshot_that_was_never_finished() {
    Cluster::often(&forgetful(), |it| {
        let (leader, [f, g]) = it.cast();
        it.kill(f);
        write_some(it, "missed", 30);
        it.hold_disk(f, |op| matches!(op, DiskOp::SnapshotFinish { .. }));
        it.start(f);
        it.until_said(leader, f, |message| matches!(message, Message::Snap { .. }));
        it.pass(100 * MS);
        it.partition(&[&[f], &[leader, g]]);
        it.pass(2 * SECOND);
        it.let_go();
        it.expect_learner(f);
        it.write("/last");
        it.caught_up();
        it.power_failure(f);
        it.start(f);
        it.expect_everywhere("/missed29", true);
        it.expect_everywhere("/last", true);
    });
}

/// A snapshot that came from the leader is durable before anything behind it is, and before it is acknowledged.
#[test]
fn zookeeper_2872_power_fails_right_after_a_snapshot_was_acknowledged() {
    Cluster::often(&forgetful(), |it| {
        let (leader, [f, g]) = it.cast();
        it.power_failure(f);
        write_some(it, "missed", 30);
        it.start(f);
        it.until_said(f, leader, is_ack);
        it.power_failure_of_all();
        it.start(f);
        it.start(g);
        it.expect_everywhere("/missed29", true);
    });
}

/// Writes go on while a snapshot is sent; it holds exactly what its name says.
#[test]
fn zookeeper_3104_and_962_writes_during_a_snapshot_and_a_crash_soon_after() {
    Cluster::often(&busy(forgetful()), |it| {
        it.write("/a");
        let (leader, [f, _]) = it.cast();
        it.connect(0, leader);
        for _ in 0..4 {
            it.kill(f);
            it.ask_for_many(0, "/a", 60);
            it.answered();
            it.ask_for_many(0, "/a", 200);
            it.linger();
            it.start(f);
            it.until_said(f, leader, is_ack);
            it.linger();
        }
        it.power_failure(f);
        it.start(f);
        it.answered();
        it.expect_learner(f);
        it.write("/last");
        it.expect_everywhere("/last", true);
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
        it.lead(3);
        it.expect_learner(4);
        it.kill(4);
        write_some(it, "early", 10);
        it.hold_disk(3, is_append);
        write_some(it, "late", 10);
        it.start(4);
        it.expect_learner(4);
        it.linger();
        it.let_go();
        it.caught_up();
        it.expect_everywhere("/early0", true);
        it.expect_everywhere("/late9", true);
    });
}

/// An empty server joins a leader that remembers nothing of what came before its start.
#[test]
fn zookeeper_4352_an_empty_server_joins_a_leader_without_a_memory() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.cast();
        it.kill(f);
        it.take_files(f, "");
        write_some(it, "old", 10);
        it.kill(leader);
        it.kill(g);
        it.start(leader);
        it.start(g);
        it.write("/new");
        it.start(f);
        it.expect_everywhere("/old0", true);
        it.expect_everywhere("/new", true);
    });
}

/// A server comes back two epochs later.
#[test]
fn zookeeper_1319_a_server_that_missed_a_whole_epoch() {
    Cluster::often(&three(), |it| {
        let (leader, [f, g]) = it.cast();
        it.kill(f);
        it.write("/one");
        for path in ["/two", "/three"] {
            it.kill(leader);
            it.kill(g);
            it.start(g);
            it.start(leader);
            it.write(path);
        }
        it.start(f);
        for path in ["/one", "/two", "/three"] {
            it.expect_everywhere(path, true);
        }
    });
}

/// What was never committed is in a log that is read for somebody else later.
#[test]
fn zookeeper_2846_an_old_log_with_what_was_cut_is_read_for_another() {
    Cluster::often(&bookish(), |it| {
        it.write("/kept");
        let (old, [f, g]) = it.cast();
        it.log_alone(old, "/lost");
        it.power_failure(old);
        it.let_go();
        it.leader();
        it.start(old);
        it.expect_learner(old);
        it.write("/first");
        it.caught_up();
        let stale = it.followers().into_iter().find(|&server| server != old).expect("one of three");
        it.kill(stale);
        write_some(it, "new", 10);
        it.caught_up();
        it.kill(if stale == f { g } else { f });
        it.start(stale);
        it.expect_leader(old);
        it.expect_everywhere("/lost", false);
        it.expect_everywhere("/new9", true);
    });
}

/// The log is cut to before a snapshot that is on the disk; the snapshot must go with what it holds.
#[test]
fn zookeeper_4837_a_snapshot_beyond_the_cut() {
    let mut options = busy(three());
    options.config.snap_count = 5;
    Cluster::often(&options, |it| {
        it.write("/kept");
        let (old, _) = it.cast::<2>();
        it.log_alone(old, "/lost0");
        for _ in 0..3 {
            it.kill(old);
            it.start(old);
            it.pass(500 * MS);
        }
        it.let_go();
        it.expect_learner(old);
        it.write("/new");
        it.expect_everywhere("/lost0", false);
        it.power_failure(old);
        it.start(old);
        it.expect_everywhere("/lost0", false);
        it.expect_everywhere("/new", true);
    });
}

/// Proposals that a follower was sent and never looked at are nothing that it has.
#[test]
fn zookeeper_2355_a_follower_that_ends_in_the_middle_of_proposals() {
    Cluster::often(&three(), |it| {
        let (leader, [f, _]) = it.cast();
        it.connect(0, leader);
        it.hold(leader, f, is_proposal);
        it.ask(0, create("/held"));
        it.answered();
        it.linger();
        it.kill(f);
        it.start(f);
        it.let_go();
        it.expect_everywhere("/held", true);
    });
}
