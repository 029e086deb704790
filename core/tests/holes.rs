//! A leader whose memory has a hole, as ZooKeeper's have once they were brought up to date by a difference themselves
//! (ZOOKEEPER-4925): what it sends does not lead to what it has. Whoever learns from it notices, and gets a snapshot.
//!
//! What the leader sends first is forged; all that comes once it is asked again is its own.

use core::time::Duration;

use bytes::Bytes;
use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::time::WallTime;
use zabra_core::tree::DIGEST_VERSION;
use zabra_core::types::{LearnerInfo, Message, OpCode, SessionId, Txn, TxnDigest, TxnHeader, Zxid};
use zabra_core::wire::txn;
use zabra_core::zab::learner::LostReason;

/// Server 1 is away while the others write, and comes back when 3 leads in the next epoch, of which it hears only what
/// is forged. Where its log ends.
fn behind(written_then: usize) -> (Cluster, Zxid) {
    let mut cluster = Cluster::new(&members(3, 0), |_| {});
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let (conn, _) = cluster.client(3).expect("a session");
    assert!(cluster.write(3, conn, "/all"));
    let (last, _) = cluster.applied(1).expect("it follows");
    cluster.kill(1, 1);
    for number in 0..10 {
        assert!(cluster.write(3, conn, &format!("/missing{number}")));
    }
    // It remembers what it has sent, and would send it again.
    cluster.cut(3, 2);
    cluster.pass(Duration::from_secs(1));
    cluster.heal();
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
    let (conn, _) = cluster.client(3).expect("a session");
    for number in 1..written_then {
        assert!(cluster.write(3, conn, &format!("/then{number}")));
    }
    cluster.silence(3, 1);
    cluster.start(1);
    // Long enough for it to learn who leads, and to connect.
    cluster.pass(Duration::from_millis(400));
    (cluster, last)
}

/// What the leader says before it says more.
fn begin_diff(cluster: &mut Cluster, epoch: i64) {
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    cluster.forge(3, 1, &Message::LeaderInfo { epoch, protocol_version });
    let (zxid, _) = cluster.applied(3).expect("it leads");
    cluster.forge(3, 1, &Message::Diff { zxid });
}

/// A transaction of the leader's, with the digest of its tree then.
fn proposal(cluster: &Cluster, zxid: Zxid) -> Message {
    let tree_digest = cluster.events(3).iter().find_map(|event| match event {
        Event::Applied { zxid: applied, digest } if *applied == zxid => Some(*digest),
        _ => None,
    });
    let digest = TxnDigest { version: DIGEST_VERSION, tree_digest: tree_digest.expect("it was applied") };
    let (time, op) = (WallTime(1_700_000_000_000), OpCode::CREATE_SESSION);
    let header = TxnHeader { session: SessionId(0x77), cxid: 0, zxid, time, op };
    let mut bytes = Vec::new();
    txn::encode(&header, &Txn::CreateSession { timeout_ms: 10_000 }, Some(&digest), &mut bytes);
    Message::Proposal { zxid, txn: Bytes::from(bytes) }
}

fn asked_for_a_snapshot(cluster: &Cluster, id: i64) -> Vec<LostReason> {
    let asked = cluster.events(id).iter().filter_map(|event| match event {
        Event::SnapshotAskedFor { why } => Some(*why),
        _ => None,
    });
    asked.collect()
}

fn installed(cluster: &Cluster, id: i64) -> usize {
    let events = cluster.events(id).iter();
    events.filter(|event| matches!(event, Event::SnapshotInstalled { .. })).count()
}

/// It follows, has all that the leader has, and has it on its disk.
fn has_everything(cluster: &mut Cluster) {
    has_everything_after(cluster, 1);
}

/// Likewise, after it has got so many snapshots.
fn has_everything_after(cluster: &mut Cluster, snapshots: usize) {
    cluster.settle();
    assert_eq!(cluster.role(1), Some(Role::Following), "{}", cluster.roles());
    assert_eq!(installed(cluster, 1), snapshots);
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/after"));
    cluster.pass(Duration::from_millis(300));
    assert_eq!(cluster.applied(1), cluster.applied(3));
    cluster.kill(1, 0);
    cluster.start(1);
    cluster.settle();
    assert_eq!(installed(cluster, 1), snapshots, "nothing was missing on its disk");
    for number in 0..10 {
        assert!(cluster.exists(1, &format!("/missing{number}")), "{number}");
    }
    assert!(cluster.exists(1, "/after"));
}

/// The hole is all that an epoch ended with: the next one begins behind it, as epochs do. The digest tells.
#[test]
fn sync_hole_at_the_end_of_an_epoch_is_noticed_before_anything_is_acknowledged() {
    let (mut cluster, last) = behind(3);
    begin_diff(&mut cluster, 2);
    let zxid = Zxid::new(2, 1);
    let proposal = proposal(&cluster, zxid);
    cluster.forge(3, 1, &proposal);
    cluster.heal();
    cluster.forge(3, 1, &Message::Commit { zxid });
    assert_eq!(asked_for_a_snapshot(&cluster, 1), [LostReason::Diverged]);
    let cut = Event::Rewound { asked: last, last_zxid: last };
    assert!(cluster.events(1).contains(&cut), "what came is gone: {:?}", cluster.events(1));
    has_everything(&mut cluster);
}

/// The hole is all that was written before the leader was elected, and nothing was since: only its vote tells. That may be
/// from before its log was cut, and then there is none. Its vote of now says whether it is.
#[test]
fn sync_hole_at_the_end_of_what_the_leader_has_is_noticed_before_anything_is_acknowledged() {
    for has_hole in [false, true] {
        let (mut cluster, last) = behind(1);
        let send_less = |cluster: &mut Cluster| {
            let protocol_version = LearnerInfo::PROTOCOL_VERSION;
            cluster.forge(3, 1, &Message::LeaderInfo { epoch: 2, protocol_version });
            cluster.forge(3, 1, &Message::Diff { zxid: last });
        };
        let new_leader = Message::NewLeader { zxid: Zxid::new(2, 0), config: None };
        send_less(&mut cluster);
        if has_hole {
            cluster.forge(3, 1, &new_leader);
            assert_eq!(asked_for_a_snapshot(&cluster, 1), []);
            cluster.pass(Duration::from_millis(400));
            send_less(&mut cluster);
        }
        cluster.heal();
        cluster.forge(3, 1, &new_leader);
        let lost = Event::LeaderLost { why: LostReason::LessThanVoted };
        assert!(cluster.events(1).contains(&lost), "{:?}", cluster.events(1));
        let expected: &[LostReason] = if has_hole { &[LostReason::NotContiguous] } else { &[] };
        assert_eq!(asked_for_a_snapshot(&cluster, 1), expected);
        has_everything_after(&mut cluster, expected.len());
    }
}

/// The hole is inside of an epoch. However often the leader was asked for the difference, it would have it.
#[test]
fn sync_hole_inside_an_epoch_is_noticed() {
    let (mut cluster, _) = behind(5);
    begin_diff(&mut cluster, 2);
    cluster.heal();
    let proposal = proposal(&cluster, Zxid::new(2, 3));
    cluster.forge(3, 1, &proposal);
    assert_eq!(asked_for_a_snapshot(&cluster, 1), [LostReason::NotContiguous]);
    has_everything(&mut cluster);
}

/// It ends between logging what comes behind the hole and noticing. The next start notices in its place: it votes as
/// before, and takes nothing but a snapshot. Nothing more was written that could show it later.
#[test]
fn sync_hole_is_noticed_by_the_next_start() {
    let (mut cluster, _) = behind(1);
    begin_diff(&mut cluster, 2);
    let proposal = proposal(&cluster, Zxid::new(2, 1));
    cluster.forge(3, 1, &proposal);
    assert_eq!(asked_for_a_snapshot(&cluster, 1), []);
    cluster.kill(1, 0);
    cluster.heal();
    cluster.start(1);
    has_everything(&mut cluster);
}

/// The leader is lost before the disk has cut off what came from it: it is cut off nevertheless, and before this server
/// votes.
#[test]
fn sync_hole_is_cut_off_also_if_the_leader_is_lost() {
    let (mut cluster, last) = behind(3);
    begin_diff(&mut cluster, 2);
    cluster.hold_disk(1, true);
    let zxid = Zxid::new(2, 1);
    let proposal = proposal(&cluster, zxid);
    cluster.forge(3, 1, &proposal);
    cluster.forge(3, 1, &Message::Commit { zxid });
    assert_eq!(asked_for_a_snapshot(&cluster, 1), [LostReason::Diverged]);
    cluster.kill(3, 1);
    cluster.start(3);
    cluster.pass(Duration::from_millis(400));
    let cut = Event::Rewound { asked: last, last_zxid: last };
    let at = |cluster: &Cluster, wanted: &dyn Fn(&Event) -> bool| cluster.events(1).iter().rposition(wanted);
    let lost = at(&cluster, &|event| matches!(event, Event::LeaderLost { .. })).expect("it looks itself");
    assert!(!cluster.events(1).contains(&cut), "the disk is at work: {:?}", cluster.events(1));
    cluster.hold_disk(1, false);
    cluster.heal();
    cluster.settle();
    let cut = at(&cluster, &|event| *event == cut).expect("it was never acknowledged");
    let looks = at(&cluster, &|event| matches!(event, Event::RoleTaken { role: Role::Looking, .. }));
    assert!(lost < cut && Some(cut) < looks, "{:?}", cluster.events(1));
    has_everything(&mut cluster);
}

/// The leader is lost before it has sent the snapshot. The next one may have the same hole: what it offers is not taken,
/// and it is asked at once.
#[test]
fn sync_hole_is_remembered_when_the_leader_is_lost() {
    let (mut cluster, _) = behind(5);
    begin_diff(&mut cluster, 2);
    let proposal = proposal(&cluster, Zxid::new(2, 3));
    cluster.forge(3, 1, &proposal);
    assert_eq!(asked_for_a_snapshot(&cluster, 1), [LostReason::NotContiguous]);
    assert_eq!(installed(&cluster, 1), 0);
    cluster.cut(3, 1);
    cluster.cut(3, 2);
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.leader(), Some(2), "{}", cluster.roles());
    assert_eq!(asked_for_a_snapshot(&cluster, 1), [LostReason::NotContiguous], "nothing of it was taken");
    assert_eq!(installed(&cluster, 1), 1);
    cluster.heal();
    has_everything(&mut cluster);
}

/// It is the leader that lacks what was committed, as far as it knows: nothing is cut off for it.
#[test]
fn sync_hole_at_the_end_of_memory_cuts_off_nothing_that_is_committed() {
    offered_less(true);
}

/// ZooKeeper's leader may know of a commit a moment later than those whom it tells. That is no reason to copy all it has.
#[test]
fn sync_choice_trunc_of_what_the_leader_commits_a_moment_later_costs_nothing() {
    offered_less(false);
}

fn offered_less(has_hole: bool) {
    let mut cluster = Cluster::new(&members(3, 0), |_| {});
    cluster.start_all();
    let (conn, _) = cluster.client(1).expect("a session");
    for number in 0..10 {
        assert!(cluster.write(1, conn, &format!("/missing{number}")));
    }
    let (last, _) = cluster.applied(1).expect("it follows");
    cluster.silence(3, 1);
    cluster.cut(3, 1);
    cluster.cut(2, 1);
    cluster.run();
    let before = cluster.events(1).len();
    cluster.heal();
    cluster.silence(3, 1);
    cluster.pass(Duration::from_millis(400));
    let epoch = i64::from(last.epoch());
    let protocol_version = LearnerInfo::PROTOCOL_VERSION;
    cluster.forge(3, 1, &Message::LeaderInfo { epoch, protocol_version });
    let less = Message::Trunc { zxid: Zxid(last.0 - 5) };
    if has_hole {
        cluster.forge(3, 1, &less);
        // It connects once more, to a leader that may have caught up.
        cluster.pass(Duration::from_millis(200));
        cluster.forge(3, 1, &Message::LeaderInfo { epoch, protocol_version });
        cluster.heal();
        cluster.forge(3, 1, &less);
    } else {
        cluster.heal();
        cluster.forge(3, 1, &less);
    }
    let expected: &[LostReason] = if has_hole { &[LostReason::CommittedMissing] } else { &[] };
    assert_eq!(asked_for_a_snapshot(&cluster, 1), expected);
    let cut = |event: &Event| matches!(event, Event::Rewound { .. });
    assert!(!cluster.events(1)[before..].iter().any(cut), "{:?}", &cluster.events(1)[before..]);
    cluster.pass(Duration::from_millis(200));
    has_everything_after(&mut cluster, expected.len());
}
