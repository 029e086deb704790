//! Zxids, and what commits them.

use super::*;

/// ZOOKEEPER-1294, -2959: observers make no quorum of promises, histories or acknowledgements.
#[test]
fn obs_role_observers_count_nowhere() {
    let mut lead = fresh(3, 2);
    lead.introduce(1, 4, 0, true);
    lead.introduce(2, 5, 0, true);
    assert_eq!(lead.took(), [], "two observers and a leader are no quorum of three voters");
    lead.follow(3, 2, false);
    for link in [1, 2] {
        lead.promise(link, 0, Zxid::ZERO);
        lead.say(link, Message::Ack { zxid: beginning(1) });
    }
    assert!(lead.leader.is_serving());
    lead.took();
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    for link in [1, 2] {
        lead.say(link, Message::Ack { zxid });
    }
    assert_eq!(lead.committed(), []);
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.committed(), [zxid]);
}

/// More than half, for even and odd numbers of voters.
#[test]
fn quorum_commit_takes_more_than_half() {
    for (voters, needed) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        let mut lead = fresh(voters, 0);
        let links = || (2..=voters).map(|server| (u64::try_from(server).expect("positive"), server));
        links().for_each(|(link, server)| lead.introduce(link, server, 0, false));
        links().for_each(|(link, _)| lead.promise(link, 0, Zxid::ZERO));
        links().for_each(|(link, _)| lead.say(link, Message::Ack { zxid: beginning(1) }));
        assert!(lead.leader.is_serving(), "{voters} voters");
        lead.took();
        let zxid = lead.propose();
        lead.leader.on_durable(zxid);
        lead.run();
        for acks in 0..=needed {
            let committed = lead.committed();
            assert_eq!(committed.is_empty(), acks < needed, "{acks} of {voters}");
            lead.say(acks + 2, Message::Ack { zxid });
        }
    }
}

/// The leader's own log is one of those that count, and no more than that.
#[test]
fn the_leader_counts_itself_only_once_it_has_it_durable() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.follow(3, 3, false);
    lead.took();
    let zxid = lead.propose();
    lead.say(2, Message::Ack { zxid });
    assert_eq!(lead.committed(), []);
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.committed(), [zxid], "two of three others are a quorum, too");
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.run();
    assert_eq!(lead.committed(), []);
}

/// However many acknowledgements come in a turn; and a link that is hung up in it takes its own along.
#[test]
fn quorum_commit_counts_once_for_all_of_a_turn() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.took();
    let proposed = [lead.propose(), lead.propose(), lead.propose(), lead.propose()];
    lead.leader.on_durable(proposed[3]);
    let mut ack = |zxid| lead.leader.on_message(LinkId(2), Message::Ack { zxid }, lead.now);
    proposed[..3].iter().for_each(|&zxid| ack(zxid));
    lead.run();
    assert_eq!(lead.committed(), [proposed[2]]);
    let mut ack = |zxid| lead.leader.on_message(LinkId(2), Message::Ack { zxid }, lead.now);
    [proposed[3], proposed[3].next()].into_iter().for_each(&mut ack);
    lead.run();
    assert_eq!(lead.committed(), [], "it spoke of what was not proposed");
}

/// What a link acknowledged before it broke counts no more.
#[test]
fn an_acknowledgement_belongs_to_its_link() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.took();
    let zxid = lead.propose();
    lead.say(2, Message::Ack { zxid });
    lead.leader.on_link_down(LinkId(2));
    lead.follow(3, 2, false);
    lead.leader.on_durable(zxid);
    lead.run();
    assert_eq!(lead.committed(), []);
    for zxid in [Zxid::new(2, 0), Zxid::new(2, 1), zxid.next()] {
        lead.follow(9, 3, false);
        lead.took();
        lead.say(9, Message::Ack { zxid });
        let why = HangupReason::BadMessage;
        assert_eq!(
            lead.took(),
            [LeaderOutput::Learners(LearnersOutput::Hangup { link: LinkId(9), why })],
            "{zxid} was not proposed here"
        );
    }
}

/// ZOOKEEPER-1277: behind the last zxid of an epoch comes the next epoch.
#[test]
fn zab_rollover_ends_the_epoch() {
    let mut lead = fresh(1, 0);
    // As ZooKeeper's, none proposes the last number of all.
    lead.leader.last_proposed = Zxid::new(1, u32::MAX - 2);
    assert_eq!(lead.propose(), Zxid::new(1, u32::MAX - 1));
    // Two writes of one packet may ask for it.
    assert_eq!([lead.leader.next_zxid(), lead.leader.next_zxid()], [None; 2]);
    lead.run();
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochUsedUp));
}

/// PARITY `zab.zxid`: every epoch counts from 1, wherever the one before it ended.
#[test]
fn zab_zxid_counts_from_one_in_every_epoch() {
    let mut lead = Lead::new(3, 0, own(4, 4, Zxid::new(4, 9)));
    lead.follow(2, 2, false);
    assert_eq!([lead.propose(), lead.propose()], [Zxid::new(5, 1), Zxid::new(5, 2)]);
}
