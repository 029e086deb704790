//! What a learner is told, and acknowledges, from its history up to UPTODATE.

use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// What is in memory goes out with its commits; behind NEWLEADER comes what is not committed.
#[test]
fn sync_proposal_commit_pairs_come_before_newleader() {
    let mut lead = fresh(3, 1);
    lead.follow(2, 2, false);
    let first = lead.propose();
    lead.leader.on_durable(first);
    lead.say(2, Message::Ack { zxid: first });
    lead.leader.announce_commit(first, None);
    let second = lead.propose();
    lead.took();
    let sent = |lead: &mut Lead, link| -> Vec<Message> {
        let to = |output| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link: to, message }) if to == LinkId(link) => {
                Some(message)
            }
            _ => None,
        };
        lead.took().into_iter().filter_map(to).collect()
    };
    let txn = Bytes::new();
    let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
    lead.introduce(3, 3, 1, false);
    lead.took();
    lead.promise(3, -1, Zxid::ZERO);
    assert_eq!(
        sent(&mut lead, 3),
        [
            Message::Proposal { zxid: first, txn: txn.clone() },
            Message::Commit { zxid: first },
            new_leader.clone(),
            Message::Proposal { zxid: second, txn: txn.clone() },
        ]
    );
    lead.introduce(4, 4, 0, true);
    lead.took();
    lead.promise(4, 0, Zxid::ZERO);
    assert_eq!(sent(&mut lead, 4), [Message::Inform { zxid: first, txn }, new_leader]);
}

/// ZooKeeper 3.8 acknowledges what it was brought up to date with, before or behind its answer to NEWLEADER.
#[test]
fn quorum_ack_of_earlier_epochs_counts_for_nothing_and_harms_nobody() {
    let history: Vec<Zxid> = (1..=5).map(|counter| Zxid::new(1, counter)).collect();
    for before in 0..=history.len() {
        let mut lead = Lead::new(3, 0, own(1, 1, Zxid::new(1, 5)));
        lead.introduce(2, 2, 1, false);
        lead.promise(2, 1, Zxid::new(1, 5));
        lead.took();
        let (early, late) = history.split_at(before);
        for &zxid in early {
            lead.say(2, Message::Ack { zxid });
        }
        assert_eq!(lead.took(), [], "{before} acknowledgements serve nobody");
        lead.say(2, Message::Ack { zxid: beginning(2) });
        let welcome =
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(2), message: Message::UpToDate });
        assert_eq!(lead.took(), [LeaderOutput::Serve, welcome]);
        for &zxid in late {
            lead.say(2, Message::Ack { zxid });
        }
        assert_eq!(lead.took(), []);
    }
}

#[test]
fn quorum_ack_before_the_one_of_newleader_counts_once_that_came() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.leader.on_link_down(LinkId(2));
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    lead.took();
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.took(), [], "who does not follow does not count");
    lead.say(3, Message::Ack { zxid: beginning(1) });
    assert_eq!(lead.committed(), [zxid], "nobody will acknowledge it again");
}

/// ZOOKEEPER-4394: a COMMIT between NEWLEADER and UPTODATE is the end of a follower of version 3.8.0.
#[test]
fn quorum_commit_waits_for_uptodate_and_comes_once() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let commit = |lead: &mut Lead, zxid| {
        lead.leader.on_durable(zxid);
        lead.say(2, Message::Ack { zxid });
        lead.leader.announce_commit(zxid, None);
        lead.run();
    };
    let zxids: Vec<Zxid> = (0..4).map(|_| lead.propose()).collect();
    commit(&mut lead, zxids[0]);
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    let to_three = |lead: &mut Lead| -> Vec<Message> {
        let message = |output| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(3), message }) => Some(message),
            _ => None,
        };
        lead.took()
            .into_iter()
            .filter_map(message)
            .filter(|it| !matches!(it, Message::Proposal { .. }))
            .collect()
    };
    let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
    let commits =
        |zxids: &[Zxid]| -> Vec<Message> { zxids.iter().map(|&zxid| Message::Commit { zxid }).collect() };
    let told = to_three(&mut lead);
    assert_eq!(told[told.len() - 2..], [Message::Commit { zxid: zxids[0] }, new_leader]);
    commit(&mut lead, zxids[1]);
    commit(&mut lead, zxids[2]);
    assert_eq!(to_three(&mut lead), []);
    lead.say(3, Message::Ack { zxid: beginning(1) });
    assert_eq!(to_three(&mut lead), [vec![Message::UpToDate], commits(&zxids[1..3])].concat());
    commit(&mut lead, zxids[3]);
    assert_eq!(to_three(&mut lead), commits(&zxids[3..]));
}

/// The change and what is proposed behind it reach a learner behind NEWLEADER, their commits behind UPTODATE, however
/// many changes there were in between.
#[test]
fn reconf_activate_waits_for_uptodate_like_any_commit() {
    for before in [true, false] {
        let mut lead = fresh(3, 1);
        lead.follow(2, 2, false);
        lead.follow(9, 4, true);
        let change = |lead: &mut Lead| {
            let version = lead.leader.last_proposed().next().0;
            lead.leader.propose_members(members(3, 1).with_version(version));
            lead.propose()
        };
        let commit = |lead: &mut Lead, zxid| {
            lead.leader.on_durable(zxid);
            lead.say(2, Message::Ack { zxid });
            lead.leader.announce_commit(zxid, Some(&Bytes::new()));
            lead.run();
        };
        let join = |lead: &mut Lead| {
            lead.introduce(3, 3, 0, false);
            lead.promise(3, 0, Zxid::ZERO);
        };
        let to = |outputs: &[LeaderOutput], to: u64| -> Vec<Message> {
            let sent = outputs.iter().filter_map(|output| match output {
                LeaderOutput::Learners(LearnersOutput::Send { link, message }) if *link == LinkId(to) => {
                    Some(message.clone())
                }
                _ => None,
            });
            sent.filter(|message| !matches!(message, Message::LeaderInfo { .. })).collect()
        };
        lead.took();
        if !before {
            join(&mut lead);
        }
        let first = change(&mut lead);
        if before {
            join(&mut lead);
        }
        let outputs = lead.took();
        let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
        assert_eq!(to(&outputs, 3), [new_leader, Message::Proposal { zxid: first, txn: Bytes::new() }]);
        commit(&mut lead, first);
        let second = change(&mut lead);
        commit(&mut lead, second);
        let third = lead.propose();
        commit(&mut lead, third);
        let outputs = lead.took();
        assert!(!to(&outputs, 3).iter().any(|message| !matches!(message, Message::Proposal { .. })));
        let designated = ServerId(1);
        let activate = |zxid| Message::CommitAndActivate { zxid, designated };
        let expected = [activate(first), activate(second), Message::Commit { zxid: third }];
        let commits = to(&outputs, 2).into_iter().filter(|it| !matches!(it, Message::Proposal { .. }));
        assert_eq!(commits.collect::<Vec<_>>(), expected);
        let inform = |zxid| Message::InformAndActivate { zxid, designated, txn: Bytes::new() };
        let last = Message::Inform { zxid: third, txn: Bytes::new() };
        assert_eq!(to(&outputs, 9), [inform(first), inform(second), last]);
        lead.say(3, Message::Ack { zxid: beginning(1) });
        assert_eq!(to(&lead.took(), 3), [&[Message::UpToDate], &expected[..]].concat());
        assert!(lead.leader.activated.len() <= 2);
        let fourth = change(&mut lead);
        commit(&mut lead, fourth);
        assert_eq!(lead.leader.activated.len(), 1, "everybody was told of those before");
        assert!(to(&lead.took(), 3).contains(&activate(fourth)));
    }
}

/// What a quorum has and nobody was told of yet is told by the announcement, once.
#[test]
fn sync_what_is_not_announced_comes_behind_newleader() {
    let mut lead = fresh(3, 1);
    lead.follow(2, 2, false);
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.say(2, Message::Ack { zxid });
    lead.introduce(4, 4, 0, true);
    lead.promise(4, 0, Zxid::ZERO);
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    lead.leader.announce_commit(zxid, Some(&Bytes::new()));
    lead.say(3, Message::Ack { zxid: beginning(1) });
    let outputs = lead.took();
    let count = |wanted: &Message, to| {
        let wanted =
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(to), message: wanted.clone() });
        outputs.iter().filter(|output| **output == wanted).count()
    };
    assert_eq!(count(&Message::Inform { zxid, txn: Bytes::new() }, 4), 1);
    assert_eq!(count(&Message::Commit { zxid }, 3), 1);
}
