use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::testing::cluster::members;
use crate::types::SessionId;

const LINK: LinkId = LinkId(7);
const TICK: Duration = Duration::from_millis(100);

/// It has promised nothing newer than the epoch of what it has.
fn start() -> Start {
    let last_zxid = Zxid::new(1, 5);
    Start {
        me: ServerId(1),
        leader: ServerId(2),
        leader_zxid: Zxid::new(1, 5),
        vote_may_be_old: false,
        observer: false,
        config_version: 0,
        own: OwnHistory { accepted_epoch: 1, current_epoch: 1, last_zxid, has_data: true },
        known_committed: Zxid::ZERO,
        wants_snapshot: false,
        wait: Duration::ZERO,
    }
}

struct Learn {
    learner: Learner,
    now: Instant,
}

impl Learn {
    fn new(observer: bool, accepted_epoch: i64, current_epoch: i64, last_zxid: Zxid) -> Self {
        Self::with(observer, OwnHistory { accepted_epoch, current_epoch, last_zxid, has_data: true })
    }

    fn with(observer: bool, own: OwnHistory) -> Self {
        Self::begun(Start { observer, own, ..start() })
    }

    fn begun(start: Start) -> Self {
        let now = Instant::from_millis(1000);
        let learner = Learner::new(start, TICK, &EnsembleConfig::new(members(3, 1)), now);
        let mut learn = Self { learner, now };
        assert_eq!(learn.took(), [LearnerOutput::Dial]);
        learn.learner.on_link_up(LINK);
        learn
    }

    /// It has promised epoch 2 and waits to be brought up to date.
    fn promised(observer: bool, last_zxid: Zxid) -> Self {
        let mut learn = Self::new(observer, 1, 1, last_zxid);
        learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        learn.learner.on_accepted_saved(2);
        learn.took();
        learn
    }

    /// It follows in epoch 2.
    fn following(observer: bool) -> Self {
        let mut learn = Self::promised(observer, Zxid::new(1, 5));
        learn.say(Message::Diff { zxid: Zxid::new(1, 5) });
        learn.say(Message::NewLeader { zxid: beginning(2), config: None });
        learn.learner.on_current_saved(2);
        learn.say(Message::UpToDate);
        assert!(learn.took().contains(&LearnerOutput::Serve));
        learn
    }

    fn say(&mut self, message: Message) {
        self.learner.on_message(message, self.now);
    }

    fn propose(&mut self, zxid: Zxid) {
        self.say(Message::Proposal { zxid, txn: Bytes::new() });
    }

    fn took(&mut self) -> Vec<LearnerOutput> {
        core::iter::from_fn(|| self.learner.poll_output()).collect()
    }

    fn lost(&mut self) -> Option<LostReason> {
        self.took().into_iter().find_map(|output| match output {
            LearnerOutput::Lost { why } => Some(why),
            _ => None,
        })
    }
}

fn sent(message: Message) -> LearnerOutput {
    LearnerOutput::Send { link: LINK, message }
}

#[test]
fn quorum_ackepoch_is_sent_once_the_promise_is_durable() {
    let mut learn = Learn::new(false, 1, 1, Zxid::new(1, 5));
    learn.took();
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    assert_eq!(learn.took(), [LearnerOutput::SaveAccepted { epoch: 2 }]);
    assert!(!learn.learner.takes_messages());
    learn.learner.on_accepted_saved(2);
    let promise = Message::AckEpoch { last_zxid: Zxid::new(1, 5), current_epoch: 1 };
    assert_eq!(learn.took(), [sent(promise)]);
}

#[test]
fn quorum_ackepoch_the_same_epoch_is_not_promised_twice_and_an_older_one_never() {
    let mut learn = Learn::new(false, 2, 1, Zxid::new(1, 5));
    learn.took();
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    let answer = Message::AckEpoch { last_zxid: Zxid::new(1, 5), current_epoch: -1 };
    assert_eq!(learn.took(), [sent(answer)]);
    let mut learn = Learn::new(false, 3, 1, Zxid::new(1, 5));
    learn.took();
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    assert_eq!(learn.lost(), Some(LostReason::EpochTooOld));
}

/// ZOOKEEPER-3911, -4643, -4646: first the history, then its epoch, then the acknowledgement.
#[test]
fn sync_newleader_learner_acknowledges_what_is_durable_in_this_order() {
    let (first, second) = (Zxid::new(1, 6), Zxid::new(2, 1));
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    learn.say(Message::Diff { zxid: first });
    learn.propose(first);
    learn.say(Message::Commit { zxid: first });
    learn.propose(second);
    learn.say(Message::NewLeader { zxid: beginning(2), config: None });
    let txn = Bytes::new();
    assert_eq!(
        learn.took(),
        [
            LearnerOutput::Commit { zxid: Zxid::new(1, 5), designated: None },
            LearnerOutput::Log { zxid: first, txn: txn.clone() },
            LearnerOutput::Commit { zxid: first, designated: None },
            LearnerOutput::Log { zxid: second, txn },
        ]
    );
    learn.learner.on_durable(first);
    assert_eq!(learn.took(), []);
    learn.learner.on_durable(second);
    assert_eq!(learn.took(), [LearnerOutput::SaveCurrent { epoch: 2 }]);
    assert!(!learn.learner.takes_messages());
    learn.learner.on_current_saved(2);
    // What is not committed yet is acknowledged by itself, behind NEWLEADER (ZOOKEEPER-4685).
    assert_eq!(
        learn.took(),
        [sent(Message::Ack { zxid: beginning(2) }), sent(Message::Ack { zxid: second })]
    );
    assert!(!learn.learner.is_serving(), "not before UPTODATE");
    // ZOOKEEPER-4394: a commit between NEWLEADER and UPTODATE finds its proposal.
    learn.say(Message::Commit { zxid: second });
    assert_eq!(learn.took(), [LearnerOutput::Commit { zxid: second, designated: None }]);
    learn.say(Message::UpToDate);
    assert_eq!(learn.took(), [sent(Message::Ack { zxid: beginning(2) }), LearnerOutput::Serve]);
}

#[test]
fn quorum_ack_follows_the_disk() {
    let mut learn = Learn::following(false);
    for counter in 1..=3 {
        learn.propose(Zxid::new(2, counter));
    }
    learn.took();
    learn.learner.on_durable(Zxid::new(2, 2));
    let acks = [1, 2].map(|counter| sent(Message::Ack { zxid: Zxid::new(2, counter) }));
    assert_eq!(learn.took(), acks);
    learn.learner.on_durable(Zxid::new(2, 3));
    assert_eq!(learn.took(), [sent(Message::Ack { zxid: Zxid::new(2, 3) })]);
}

/// A gap in what brings it up to date: whoever asks again gets the same. It takes back what came, of which it has
/// acknowledged nothing, connects once more, and says that it cannot tell what it has: it counts nowhere.
#[test]
fn sync_contiguous_a_gap_is_answered_by_asking_for_a_snapshot() {
    let last = Zxid::new(1, 5);
    let mut learn = Learn::promised(false, last);
    learn.say(Message::Diff { zxid: Zxid::new(1, 8) });
    learn.propose(Zxid::new(1, 6));
    learn.took();
    learn.propose(Zxid::new(1, 8));
    let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::BadMessage };
    let ask = LearnerOutput::AskForSnapshot { why: LostReason::NotContiguous };
    assert_eq!(learn.took(), [hangup, ask, LearnerOutput::TakeBack { zxid: last }]);
    assert!(!learn.learner.takes_messages());
    // What was on its way to the disk is of no account any more.
    learn.learner.on_durable(Zxid::new(1, 6));
    learn.learner.on_rewound(last, last);
    assert_eq!(learn.took(), [LearnerOutput::Dial]);
    learn.learner.on_link_up(LINK);
    learn.took();
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    let answer = Message::AckEpoch { last_zxid: Zxid::UNKNOWN, current_epoch: Message::UNCOUNTED };
    assert_eq!(learn.took(), [sent(answer)]);
    learn.say(Message::Snap { zxid: Zxid::new(1, 8) });
    learn.learner.on_snapshot_installed(Zxid::new(1, 8));
    learn.say(Message::NewLeader { zxid: beginning(2), config: None });
    learn.learner.on_current_saved(2);
    assert!(learn.took().contains(&sent(Message::Ack { zxid: beginning(2) })));
}

/// The gap is at the end, where nothing comes behind it: the leader was elected for more than it has sent.
#[test]
fn sync_contiguous_a_gap_at_the_end_is_noticed_with_newleader() {
    let last = Zxid::new(1, 3);
    let mut learn = Learn::promised(false, last);
    learn.say(Message::Diff { zxid: last });
    learn.propose(Zxid::new(1, 4));
    learn.took();
    learn.say(Message::NewLeader { zxid: beginning(2), config: None });
    let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::BadMessage };
    let ask = LearnerOutput::AskForSnapshot { why: LostReason::NotContiguous };
    assert_eq!(learn.took(), [hangup, ask, LearnerOutput::TakeBack { zxid: last }]);
    learn.learner.on_rewound(last, last);
    learn.learner.on_link_up(LINK);
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    // A snapshot is of the database: it is never asked for twice.
    learn.say(Message::Snap { zxid: Zxid::new(1, 4) });
    learn.learner.on_snapshot_installed(Zxid::new(1, 4));
    learn.say(Message::NewLeader { zxid: beginning(2), config: None });
    learn.learner.on_current_saved(2);
    assert!(learn.took().contains(&sent(Message::Ack { zxid: beginning(2) })));
}

/// The leader was elected for more than it has sent, if that was said of this election and not of one before: who looks
/// again hears it.
#[test]
fn sync_contiguous_a_vote_that_may_be_old_is_no_sign_of_a_gap() {
    let last = Zxid::new(1, 3);
    let own = OwnHistory { last_zxid: last, ..start().own };
    for (leader_zxid, why) in [(Zxid::new(1, 5), Some(LostReason::LessThanVoted)), (last, None)] {
        let mut learn = Learn::begun(Start { own, leader_zxid, vote_may_be_old: true, ..start() });
        learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        learn.learner.on_accepted_saved(2);
        learn.say(Message::Diff { zxid: last });
        learn.took();
        learn.say(Message::NewLeader { zxid: beginning(2), config: None });
        assert_eq!(learn.lost(), why, "{leader_zxid}");
    }
}

/// To a later epoch it owes a promise that counts, and says truly what it has.
#[test]
fn sync_contiguous_who_asks_for_a_snapshot_promises_as_before() {
    let last = Zxid::new(1, 5);
    let mut learn = Learn::promised(false, last);
    learn.say(Message::Diff { zxid: Zxid::new(1, 8) });
    learn.propose(Zxid::new(1, 8));
    learn.learner.on_link_up(LINK);
    learn.say(Message::LeaderInfo { epoch: 3, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    learn.learner.on_accepted_saved(3);
    let promise = Message::AckEpoch { last_zxid: last, current_epoch: 1 };
    assert!(learn.took().contains(&sent(promise)));
}

/// What a leader before has sent did not lead to what it had. To a new epoch it owes a promise that counts, and says truly
/// what it has; what it is offered for that it does not take, and asks at once.
#[test]
fn sync_contiguous_the_wish_for_a_snapshot_outlives_the_leader() {
    let last = Zxid::new(1, 5);
    for offered in [Message::Diff { zxid: last }, Message::Trunc { zxid: Zxid::new(1, 4) }] {
        let mut learn = Learn::begun(Start { wants_snapshot: true, ..start() });
        learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        learn.learner.on_accepted_saved(2);
        let promise = Message::AckEpoch { last_zxid: last, current_epoch: 1 };
        assert!(learn.took().contains(&sent(promise)));
        learn.say(offered);
        let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::RoleOver };
        assert_eq!(
            learn.took(),
            [hangup, LearnerOutput::Dial],
            "nothing is cut off, nor taken for all there is"
        );
        learn.learner.on_link_up(LINK);
        learn.took();
        learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        let answer = Message::AckEpoch { last_zxid: Zxid::UNKNOWN, current_epoch: Message::UNCOUNTED };
        assert_eq!(learn.took(), [sent(answer)]);
        learn.say(Message::Snap { zxid: Zxid::new(1, 8) });
        learn.learner.on_snapshot_installed(Zxid::new(1, 8));
        learn.say(Message::NewLeader { zxid: beginning(2), config: None });
        learn.learner.on_current_saved(2);
        assert!(learn.took().contains(&sent(Message::Ack { zxid: beginning(2) })));
    }
}

/// A snapshot is taken as it comes, also for the promise that counts.
#[test]
fn sync_contiguous_a_snapshot_that_comes_unasked_is_what_was_wished_for() {
    let mut learn = Learn::begun(Start { wants_snapshot: true, ..start() });
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    learn.learner.on_accepted_saved(2);
    learn.took();
    learn.say(Message::Snap { zxid: Zxid::new(1, 8) });
    assert_eq!(learn.took(), [LearnerOutput::ReceiveSnapshot { zxid: Zxid::new(1, 8) }]);
}

/// A leader that sends a difference to who cannot tell what it has is of no use.
#[test]
fn sync_contiguous_who_asked_for_a_snapshot_takes_nothing_else() {
    for message in [Message::Diff { zxid: Zxid::new(1, 8) }, Message::Trunc { zxid: Zxid::new(1, 2) }] {
        let mut learn = Learn::promised(false, Zxid::new(1, 5));
        learn.say(Message::Diff { zxid: Zxid::new(1, 8) });
        learn.propose(Zxid::new(1, 8));
        learn.learner.on_link_up(LINK);
        learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        learn.took();
        learn.say(message);
        assert_eq!(learn.lost(), Some(LostReason::BadMessage));
    }
}

/// ZooKeeper's leader may say so for a moment though it lacks nothing: it is asked again, and nothing is cut off. Who says
/// so twice has a hole.
#[test]
fn sync_choice_trunc_of_what_is_committed_is_not_done_and_asked_about() {
    let (last, less) = (Zxid::new(1, 5), Zxid::new(1, 4));
    for caught_up in [true, false] {
        let mut learn = Learn::begun(Start { known_committed: last, ..start() });
        let said = Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION };
        learn.say(said.clone());
        learn.learner.on_accepted_saved(2);
        learn.took();
        learn.say(Message::Trunc { zxid: less });
        let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::BadMessage };
        assert_eq!(learn.took(), core::slice::from_ref(&hangup), "it takes a moment");
        learn.now = learn.learner.poll_timeout().expect("it connects once more");
        learn.learner.on_tick(learn.now);
        assert_eq!(learn.took(), [LearnerOutput::Dial]);
        learn.learner.on_link_up(LINK);
        learn.say(said);
        let answer = Message::AckEpoch { last_zxid: last, current_epoch: Message::UNCOUNTED };
        assert!(learn.took().contains(&sent(answer)));
        if caught_up {
            learn.say(Message::Diff { zxid: last });
            assert_eq!(learn.took(), [LearnerOutput::Commit { zxid: last, designated: None }]);
        } else {
            learn.say(Message::Trunc { zxid: less });
            let ask = LearnerOutput::AskForSnapshot { why: LostReason::CommittedMissing };
            assert_eq!(learn.took(), [hangup, ask, LearnerOutput::Dial]);
        }
    }
}

/// A learner that was told that a transaction is committed takes no snapshot that ends before it: it leaves that leader.
#[test]
fn sync_contiguous_a_snapshot_of_less_than_is_committed_is_refused() {
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    learn.learner.known_committed = Zxid::new(1, 5);
    learn.say(Message::Snap { zxid: Zxid::new(1, 4) });
    assert_eq!(learn.lost(), Some(LostReason::CommittedMissing));
}

/// PARITY `quorum.unexpected`.
#[test]
fn quorum_unexpected_types_are_passed_over_once_it_is_being_brought_up_to_date() {
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    assert!(!learn.learner.passes_over_unknown());
    learn.say(Message::Diff { zxid: Zxid::new(1, 5) });
    assert!(learn.learner.passes_over_unknown());
    assert!(Learn::following(true).learner.passes_over_unknown());
}

#[test]
fn sync_contiguous_gaps_and_repetitions_end_it() {
    let table = [
        (Zxid::new(2, 1), true),
        (Zxid::new(1, 6), true),
        (Zxid::new(1, 7), false),
        (Zxid::new(2, 2), false),
        (Zxid::new(1, 5), false),
        (Zxid::new(0, 1), false),
    ];
    for (zxid, fits) in table {
        let mut learn = Learn::promised(false, Zxid::new(1, 5));
        learn.say(Message::Diff { zxid });
        learn.took();
        learn.propose(zxid);
        let asks = LearnerOutput::AskForSnapshot { why: LostReason::NotContiguous };
        assert_eq!(learn.took().contains(&asks), !fits, "{zxid}");
        // Who serves has acknowledged what it would have to take back.
        let mut learn = Learn::following(false);
        learn.propose(zxid);
        let expected = (!fits).then_some(LostReason::NotContiguous);
        assert_eq!(learn.lost(), expected, "{zxid}");
    }
}

/// What a leader says of an epoch that it has not begun, or of none, would come into no log and no database that the
/// next start could go on from.
#[test]
fn sync_contiguous_an_epoch_after_the_leaders_ends_it() {
    for zxid in [Zxid::new(3, 1), Zxid::new(9, 1), Zxid::new(1 << 31, 1), Zxid(i64::MIN), Zxid(-1)] {
        let txn = Bytes::new();
        let said = [
            (false, false, Message::Trunc { zxid }),
            (false, false, Message::Snap { zxid }),
            (false, true, Message::Proposal { zxid, txn: txn.clone() }),
            (true, true, Message::Inform { zxid, txn: txn.clone() }),
            (true, true, Message::InformAndActivate { zxid, designated: ServerId(2), txn }),
        ];
        for (observer, synchronizing, message) in said {
            let mut learn = Learn::promised(observer, Zxid::new(1, 5));
            if synchronizing {
                learn.say(Message::Diff { zxid });
            }
            learn.took();
            learn.say(message.clone());
            let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::BadMessage };
            let lost = LearnerOutput::Lost { why: LostReason::BadMessage };
            assert_eq!(learn.took(), [hangup, lost], "{message:?}");
        }
    }
}

/// An observer is told of a transaction and its commit at once: if it cannot be logged, it cannot be committed either.
#[test]
fn what_follows_a_refusal_is_not_done() {
    let mut learn = Learn::following(true);
    let (zxid, txn) = (Zxid::new(2, 1), Bytes::new());
    learn.say(Message::Inform { zxid, txn: txn.clone() });
    assert_eq!(learn.learner.poll_output(), Some(LearnerOutput::Log { zxid, txn }));
    for _ in 0..2 {
        learn.learner.fail(LostReason::BadMessage);
    }
    let hangup = LearnerOutput::Hangup { link: LINK, why: HangupReason::BadMessage };
    assert_eq!(learn.took(), [hangup, LearnerOutput::Lost { why: LostReason::BadMessage }]);
}

#[test]
fn a_commit_of_what_was_not_proposed_ends_it() {
    let mut learn = Learn::following(false);
    learn.say(Message::Commit { zxid: Zxid::new(2, 1) });
    assert_eq!(learn.lost(), Some(LostReason::NotContiguous));
}

/// ZooKeeper's snapshots may hold more than their zxid says, and what they hold already comes again.
#[test]
fn sync_snap_stream_skips_what_the_snapshot_has() {
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    learn.say(Message::Snap { zxid: Zxid::new(2, 3) });
    assert_eq!(learn.took(), [LearnerOutput::ReceiveSnapshot { zxid: Zxid::new(2, 3) }]);
    assert!(!learn.learner.takes_messages());
    learn.learner.on_snapshot_installed(Zxid::new(2, 3));
    learn.took();
    for counter in 2..=4 {
        learn.propose(Zxid::new(2, counter));
        learn.say(Message::Commit { zxid: Zxid::new(2, counter) });
    }
    let zxid = Zxid::new(2, 4);
    assert_eq!(
        learn.took(),
        [LearnerOutput::Log { zxid, txn: Bytes::new() }, LearnerOutput::Commit { zxid, designated: None }]
    );
    learn.propose(zxid);
    assert_eq!(learn.lost(), Some(LostReason::NotContiguous), "only in front of what is new");
}

/// Less than what was asked for is left: the leader has to choose again.
#[test]
fn sync_trunc_that_cuts_more_than_was_asked_begins_anew() {
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    learn.say(Message::Trunc { zxid: Zxid::new(1, 3) });
    assert_eq!(learn.took(), [LearnerOutput::Rewind { zxid: Zxid::new(1, 3) }]);
    learn.learner.on_rewound(Zxid::new(1, 3), Zxid::new(1, 2));
    assert_eq!(learn.lost(), Some(LostReason::CutShort));
}

#[test]
fn an_observer_logs_what_it_is_informed_of_and_acknowledges_nothing() {
    let mut learn = Learn::following(true);
    let zxid = Zxid::new(2, 1);
    learn.say(Message::Inform { zxid, txn: Bytes::new() });
    assert_eq!(
        learn.took(),
        [LearnerOutput::Log { zxid, txn: Bytes::new() }, LearnerOutput::Commit { zxid, designated: None }]
    );
    learn.learner.on_durable(zxid);
    assert_eq!(learn.took(), []);
    let mut follower = Learn::following(false);
    follower.say(Message::Inform { zxid, txn: Bytes::new() });
    assert_eq!(follower.lost(), Some(LostReason::BadMessage));
}

#[test]
fn zab_synclimit_a_silent_leader_is_left() {
    let mut learn = Learn::following(false);
    learn.say(Message::Ping { zxid: Zxid::ZERO, touched: None });
    assert_eq!(learn.took(), [LearnerOutput::Pinged]);
    learn.learner.heard(learn.now);
    learn.learner.on_tick(learn.now + (TICK * 5 - Duration::from_millis(1)));
    assert_eq!(learn.lost(), None);
    learn.learner.on_tick(learn.now + TICK * 5);
    assert_eq!(learn.lost(), Some(LostReason::Timeout));
}

/// Also in the middle of a snapshot: a leader that is cut off then says nothing more, and the link does not break.
#[test]
fn zab_initlimit_a_leader_that_is_silent_in_a_snapshot_is_left() {
    let mut learn = Learn::promised(false, Zxid::new(1, 5));
    learn.say(Message::Snap { zxid: Zxid::new(2, 3) });
    assert!(learn.learner.receives_snapshot());
    learn.learner.heard(learn.now);
    let due = learn.learner.poll_timeout().expect("the rest is due");
    learn.learner.on_tick(due);
    assert_eq!(learn.lost(), Some(LostReason::Timeout));
}

/// And longer where the leader's process is there, as its election port shows.
#[test]
fn sync_connect_is_tried_five_times() {
    for (is_alive, tries) in [(false, 5), (true, 30)] {
        assert_eq!(tries_to_connect(is_alive), tries);
    }
}

fn tries_to_connect(is_alive: bool) -> u32 {
    let start = Start { leader_zxid: Zxid::UNKNOWN, ..start() };
    let mut now = Instant::from_millis(1000);
    let mut learner = Learner::new(start, TICK * 10, &EnsembleConfig::new(members(3, 0)), now);
    let mut dials = 0;
    let mut outputs = vec![];
    while let Some(output) = learner.poll_output() {
        match output {
            LearnerOutput::Dial => {
                dials += 1;
                learner.on_dial_failed(now, is_alive);
                if let Some(due) = learner.poll_timeout() {
                    now = due;
                    learner.on_tick(now);
                }
            }
            other => outputs.push(other),
        }
    }
    assert_eq!(outputs, [LearnerOutput::Lost { why: LostReason::Unreachable }]);
    dials
}

/// PARITY `cfg.connectToLearnerMasterLimit`: one limit for all attempts together, longer than `initLimit` or shorter;
/// once the leader is there, `initLimit` counts.
#[test]
fn cfg_connecttolearnermasterlimit_bounds_all_attempts_together() {
    for (limit, ticks) in [(0, 10), (3, 3), (25, 25)] {
        let start = Start { leader_zxid: Zxid::UNKNOWN, ..start() };
        let mut config = EnsembleConfig::new(members(3, 0));
        config.connect_to_leader_limit = limit;
        let begin = Instant::from_millis(1000);
        let end = begin + TICK * ticks;
        let mut learner = Learner::new(start, TICK, &config, begin);
        assert_eq!(learner.poll_output(), Some(LearnerOutput::Dial));
        assert_eq!(learner.time_to_connect(begin), TICK * ticks);
        learner.on_dial_failed(begin + TICK, true);
        let again = learner.poll_timeout().expect("it tries again");
        learner.on_tick(again);
        assert_eq!(learner.poll_output(), Some(LearnerOutput::Dial));
        assert_eq!(learner.time_to_connect(again), end.since(again));
        let mut late = Learner::new(start, TICK, &config, begin);
        assert_eq!(late.poll_output(), Some(LearnerOutput::Dial));
        late.on_tick(end);
        assert_eq!(late.poll_output(), Some(LearnerOutput::Lost { why: LostReason::Timeout }));
        learner.on_link_up(LINK);
        learner.heard(again);
        assert_eq!(learner.poll_timeout(), Some(again + TICK * config.init_limit));
    }
}

/// No message in any state may do more than end it.
#[test]
fn nothing_a_leader_says_out_of_turn_does_harm() {
    let zxid = Zxid::new(2, 1);
    let txn = Bytes::new;
    let messages = || {
        vec![
            Message::Ack { zxid },
            Message::AckEpoch { last_zxid: zxid, current_epoch: 1 },
            Message::Commit { zxid },
            Message::Diff { zxid },
            Message::Inform { zxid, txn: txn() },
            Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION },
            Message::NewLeader { zxid, config: None },
            Message::Ping { zxid, touched: None },
            Message::Proposal { zxid, txn: txn() },
            Message::Revalidated { session: SessionId(1), valid: true },
            Message::Snap { zxid },
            Message::Sync,
            Message::Trunc { zxid },
            Message::UpToDate,
        ]
    };
    for first in messages() {
        for second in messages() {
            for mut learn in [
                Learn::new(false, 1, 1, Zxid::new(1, 5)),
                Learn::promised(false, Zxid::new(1, 5)),
                Learn::following(false),
                Learn::following(true),
            ] {
                for message in [first.clone(), second.clone()] {
                    if learn.learner.takes_messages() {
                        learn.say(message);
                    }
                }
                learn.learner.on_tick(learn.now + TICK * 100);
                assert!(learn.learner.poll_timeout().is_none() || learn.learner.takes_messages());
            }
        }
    }
}

/// Who has lost data does not count among those whose promises say what a quorum has; and what is damaged behind the
/// end of its log goes before anything follows there.
#[test]
fn quorum_ackepoch_of_who_has_lost_data_does_not_count() {
    let last_zxid = Zxid::new(1, 5);
    let own = OwnHistory { accepted_epoch: 1, current_epoch: 1, last_zxid, has_data: false };
    let mut learn = Learn::with(false, own);
    learn.say(Message::LeaderInfo { epoch: 2, protocol_version: LearnerInfo::PROTOCOL_VERSION });
    learn.learner.on_accepted_saved(2);
    let promise = Message::AckEpoch { last_zxid, current_epoch: -1 };
    assert!(learn.took().contains(&LearnerOutput::Send { link: LINK, message: promise }));
    learn.say(Message::Diff { zxid: Zxid::new(1, 7) });
    assert_eq!(learn.took(), [LearnerOutput::Rewind { zxid: last_zxid }]);
    assert!(!learn.learner.takes_messages());
    learn.learner.on_rewound(last_zxid, last_zxid);
    learn.propose(Zxid::new(1, 6));
    let logged = LearnerOutput::Log { zxid: Zxid::new(1, 6), txn: Bytes::new() };
    assert_eq!(learn.took(), [LearnerOutput::Commit { zxid: last_zxid, designated: None }, logged]);
}

/// Who promises to the last number of all is never believed again.
#[test]
fn quorum_leaderinfo_of_no_epoch_is_not_promised_to() {
    let last = i64::from(i32::MAX) - 1;
    for (epoch, taken) in [(2, true), (last, true), (last + 1, false), (i64::MAX, false)] {
        let mut learn = Learn::new(false, 1, 1, Zxid::new(1, 5));
        learn.say(Message::LeaderInfo { epoch, protocol_version: LearnerInfo::PROTOCOL_VERSION });
        let took = learn.took();
        assert_eq!(took.contains(&LearnerOutput::SaveAccepted { epoch }), taken, "{epoch}");
        let lost = LearnerOutput::Lost { why: LostReason::BadMessage };
        assert_eq!(took.contains(&lost), !taken, "{epoch}: {took:?}");
    }
}
