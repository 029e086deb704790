//! What others promised and what they have: up to an epoch and its history.

use alloc::vec::Vec;

use super::*;

/// ZOOKEEPER-1343: one more than the newest promise of a quorum, whoever made it.
#[test]
fn sync_newepoch_is_newer_than_every_promise() {
    for (mine, theirs, epoch) in [(5, 6, 7), (6, 5, 7), (6, 6, 7), (0, 0, 1)] {
        let mut lead = Lead::new(3, 0, own(mine, 0, Zxid::ZERO));
        lead.introduce(1, 2, theirs, false);
        assert_eq!(lead.leader.epoch(), epoch);
    }
}

/// An observer that had promised an epoch of which nothing came could follow no leader that those follow who had not.
#[test]
fn an_observer_promises_only_what_a_quorum_has_promised() {
    let mut lead = fresh(3, 1);
    let hear = |lead: &mut Lead| {
        let heard = |output: LeaderOutput| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link, message: Message::LeaderInfo { .. } }) => {
                Some(link.0)
            }
            _ => None,
        };
        lead.took().into_iter().filter_map(heard).collect::<Vec<_>>()
    };
    lead.introduce(1, 4, 0, true);
    lead.introduce(2, 2, 0, false);
    assert_eq!(hear(&mut lead), [2]);
    lead.promise(2, 0, Zxid::ZERO);
    assert_eq!(hear(&mut lead), [1]);
}

#[test]
fn nothing_is_said_before_it_is_durable() {
    let mut lead = fresh(3, 0);
    lead.durable_at_once = false;
    lead.introduce(1, 2, 0, false);
    assert_eq!(lead.took(), [LeaderOutput::SaveAccepted { epoch: 1 }]);
    lead.leader.on_accepted_saved();
    lead.run();
    let link = LinkId(1);
    let message = Message::LeaderInfo { epoch: 1, protocol_version: LearnerInfo::PROTOCOL_VERSION };
    assert_eq!(lead.took(), [LeaderOutput::Learners(LearnersOutput::Send { link, message })]);
    lead.promise(1, 0, Zxid::ZERO);
    assert_eq!(lead.took(), [LeaderOutput::SaveCurrent { epoch: 1 }]);
    lead.leader.on_current_saved(lead.now);
    lead.run();
    assert_eq!(
        lead.took(),
        [LeaderOutput::Learners(LearnersOutput::BeginSync { link, last_zxid: Zxid::ZERO })]
    );
}

/// Whoever had promised the epoch already did so to somebody else.
#[test]
fn quorum_ackepoch_a_promise_counts_once() {
    let mut lead = fresh(3, 0);
    lead.introduce(1, 2, 0, false);
    lead.promise(1, -1, Zxid::ZERO);
    assert!(!lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 1 }));
    lead.introduce(2, 3, 0, false);
    lead.promise(2, 0, Zxid::ZERO);
    assert!(lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 1 }));
}

#[test]
fn sync_ackepoch_check_a_leader_that_knows_less_gives_up() {
    let mine = own(3, 2, Zxid::new(2, 5));
    for (current_epoch, last_zxid, ahead) in [
        (2, Zxid::new(2, 6), true),
        (3, Zxid::new(2, 5), true),
        (3, Zxid::new(1, 1), true),
        (2, Zxid::new(2, 5), false),
        (1, Zxid::new(2, 9), false),
    ] {
        let mut lead = Lead::new(3, 0, mine);
        lead.introduce(1, 2, 3, false);
        lead.promise(1, current_epoch, last_zxid);
        let expected = ahead.then_some(StepDownReason::FollowerAhead);
        assert_eq!(lead.stepped_down(), expected, "{current_epoch} {last_zxid}");
    }
}

/// What others have, or say that they have, is no voter's business: an observer that was brought up to date by a leader
/// without a quorum may have more, and so may somebody who is no member.
#[test]
fn sync_ackepoch_check_is_of_voters_alone() {
    for (server, observer) in [(4, true), (99, true), (99, false)] {
        let mut lead = Lead::new(3, 1, own(3, 2, Zxid::new(2, 5)));
        lead.introduce(1, 2, 3, false);
        lead.introduce(2, server, 3, observer);
        lead.promise(2, 9, Zxid::new(9, 1));
        assert_eq!(lead.stepped_down(), None, "{server}");
        lead.promise(1, 2, Zxid::new(2, 5));
        assert!(lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 4 }), "{server}");
    }
}

#[test]
fn a_voter_that_promised_more_than_the_epoch_ends_it() {
    let mut lead = fresh(3, 0);
    lead.follow(1, 2, false);
    assert!(lead.leader.is_serving());
    lead.introduce(2, 3, 7, false);
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochOvertaken { promised: 7 }));
    // Whoever comes first then, the next one is later.
    let mut lead = fresh(3, 0);
    lead.leader.begin_above(7);
    lead.introduce(1, 2, 0, false);
    assert!(lead.took().contains(&LeaderOutput::SaveAccepted { epoch: 8 }));
    lead.leader.begin_above(20);
    assert_eq!(lead.leader.epoch(), 8, "it is decided");
}

/// A promise beyond what a zxid has room for is nobody's, and must not become this leader's epoch; nor one that is further
/// ahead than anybody can be who is honest.
#[test]
fn sync_newepoch_has_an_end() {
    let last = i64::from(i32::MAX) - 1;
    let ahead = 1 << 24;
    let table = [
        (0, -1, true),
        (0, ahead - 1, true),
        (0, ahead, false),
        (0, last, false),
        (0, -2, false),
        (ahead, 2 * ahead - 1, true),
        (last - 2, last - 1, true),
        (last - 2, last, false),
        (last - 2, last + 1, false),
        (last - 1, 0, true),
    ];
    for (promised, accepted, taken) in table {
        let mut lead = Lead::new(3, 0, own(promised, 0, Zxid::ZERO));
        lead.introduce(2, 2, accepted, false);
        let saved = lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveAccepted { .. }));
        assert_eq!(saved, taken, "{promised} {accepted}");
        let epoch = lead.leader.epoch();
        assert!(epoch <= last && (!taken || epoch == promised.max(accepted) + 1), "{epoch}");
    }
    let mut lead = Lead::new(3, 0, own(last, 0, Zxid::ZERO));
    lead.introduce(2, 2, 0, false);
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochUsedUp));
}

/// A leader in its epoch is overtaken by nobody who is not to be believed.
#[test]
fn sync_newepoch_a_promise_from_nowhere_ends_no_epoch() {
    let (some, many) = (1 + (1 << 10), 1 << 24);
    for (accepted, overtaken, unserving) in [
        (2, true, true),
        (some, true, true),
        (some + 1, false, true),
        (many - 1, false, true),
        (many, false, false),
        (i64::MAX, false, false),
    ] {
        let why = StepDownReason::EpochOvertaken { promised: accepted };
        for (serves, expected) in [(true, overtaken), (false, unserving)] {
            let mut lead = fresh(3, 0);
            if serves {
                lead.follow(2, 2, false);
            } else {
                lead.introduce(2, 2, 0, false);
            }
            assert_eq!(lead.leader.is_serving(), serves);
            lead.took();
            lead.introduce(3, 3, accepted, false);
            let took = lead.took();
            let down = took.iter().any(|output| *output == LeaderOutput::StepDown { why });
            assert_eq!(down, expected, "{accepted}, {serves}");
            let hangup = LearnersOutput::Hangup { link: LinkId(3), why: HangupReason::Unwanted };
            let other = LearnersOutput::Hangup { link: LinkId(3), why: HangupReason::BadMessage };
            let hung_up = [hangup, other].map(LeaderOutput::Learners).iter().any(|it| took.contains(it));
            assert_eq!(hung_up, !expected, "{accepted}, {serves}");
        }
    }
}

/// A member that cannot tell what it had logged may have had more than this leader.
#[test]
fn sync_ackepoch_check_counts_nobody_without_a_history() {
    let mut lead = fresh(3, 0);
    lead.introduce(2, 2, 0, false);
    lead.promise(2, 0, Zxid::UNKNOWN);
    assert!(!lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveCurrent { .. })));
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    assert!(lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveCurrent { .. })));
}
