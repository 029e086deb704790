//! Talks between a leader and its learners in which one thing is not so.

use std::rc::Rc;

use bytes::Bytes;
use zabra_core::types::LearnerInfo;

use super::*;
use crate::check::testing::{Story, logged_change};
use crate::node::Standing;
use crate::places::server_of;

const L: NodeId = NodeId(0);
const F: NodeId = NodeId(1);
const G: NodeId = NodeId(2);
const BEGIN: Zxid = Zxid::new(2, 0);

fn link(learner: NodeId) -> LinkId {
    LinkId(learner.0 as u64)
}

fn leader_says(story: &mut Story, to: NodeId, message: Message) {
    let message = Rc::new(message);
    story.tell(Observed::Said { node: L, to, link: link(to), message, kept: None });
}

/// A learner says something that its disk bears out, unless `kept` says otherwise, and the leader hears it.
fn learner_says(story: &mut Story, node: NodeId, message: Message, kept: Kept) {
    let message = Rc::new(message);
    let said = message.clone();
    story.tell(Observed::Said { node, to: L, link: link(node), message: said, kept: Some(kept) });
    story.tell(Observed::Heard { node: L, from: node, link: link(node), message });
}

/// A server comes to the leader and says what it has promised.
fn introduce(story: &mut Story, node: NodeId, accepted_epoch: i64) {
    introduce_to(story, L, node, accepted_epoch);
}

fn introduce_to(story: &mut Story, leader: NodeId, node: NodeId, accepted_epoch: i64) {
    let info = LearnerInfo { server: Some(server_of(node)), protocol_version: 0x10000, config_version: 0 };
    let message = Rc::new(Message::FollowerInfo { accepted_epoch, info });
    story.tell(Observed::Heard { node: leader, from: node, link: link(node), message });
}

fn kept(accepted: i64, current: i64, durable: Zxid) -> Kept {
    Kept { accepted, current, durable, last: durable }
}

fn old() -> Zxid {
    Zxid::new(1, 1)
}

/// Servers that have one transaction of epoch 1, and the first says LEADERINFO to the second.
fn begin() -> Story {
    let mut story = Story::ensemble(3);
    story.create_everywhere(1);
    (0..3).for_each(|node| story.synced(node, 1));
    introduce(&mut story, F, 1);
    leader_says(&mut story, F, Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
    story
}

fn promise(story: &mut Story) {
    let promise = Message::AckEpoch { last_zxid: old(), current_epoch: 1 };
    learner_says(story, F, promise, kept(2, 1, old()));
}

fn new_leader(story: &mut Story) {
    promise(story);
    leader_says(story, F, Message::Diff { zxid: old() });
    leader_says(story, F, Message::NewLeader { zxid: BEGIN, config: None });
}

fn lead(story: &mut Story) {
    new_leader(story);
    learner_says(story, F, Message::Ack { zxid: BEGIN }, kept(2, 2, old()));
    leader_says(story, F, Message::UpToDate);
}

fn propose(story: &mut Story, counter: u32) {
    let zxid = Zxid::new(2, counter);
    leader_says(story, F, Message::Proposal { zxid, txn: Bytes::new() });
}

#[test]
fn a_right_beginning_and_a_commit_pass() {
    let mut story = begin();
    lead(&mut story);
    propose(&mut story, 1);
    story.log_at(0, 2, 1);
    story.log_at(1, 2, 1);
    story.tell(Observed::Synced { node: L, durable: Zxid::new(2, 1) });
    story.tell(Observed::Synced { node: F, durable: Zxid::new(2, 1) });
    learner_says(&mut story, F, Message::Ack { zxid: Zxid::new(2, 1) }, kept(2, 2, Zxid::new(2, 1)));
    leader_says(&mut story, F, Message::Commit { zxid: Zxid::new(2, 1) });
    story.expect_fine();
}

/// The first follower says something to the third server, which observes.
fn relays(story: &mut Story, message: Message) {
    story.tell(Observed::Said { node: F, to: G, link: LinkId(9), message: Rc::new(message), kept: None });
}

/// A follower that serves in its leader's epoch brings an observer into it.
fn serve_observer(story: &mut Story) {
    let standing = Standing { role: Role::Following, epoch: 2, leader: Some(server_of(L)) };
    story.tell(Observed::RoleTaken { node: F, standing, mono: 0 });
    relays(story, Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
    let message = Rc::new(Message::AckEpoch { last_zxid: old(), current_epoch: 1 });
    let kept = Some(kept(2, 1, old()));
    story.tell(Observed::Said { node: G, to: F, link: LinkId(9), message, kept });
    relays(story, Message::Diff { zxid: old() });
    relays(story, Message::NewLeader { zxid: BEGIN, config: None });
    relays(story, Message::UpToDate);
}

#[test]
fn a_follower_says_what_its_leader_may() {
    let zxid = Zxid::new(2, 1);
    for decided in [true, false] {
        let mut story = begin();
        lead(&mut story);
        serve_observer(&mut story);
        propose(&mut story, 1);
        story.log_at(0, 2, 1);
        story.log_at(1, 2, 1);
        story.tell(Observed::Synced { node: L, durable: zxid });
        story.tell(Observed::Synced { node: F, durable: zxid });
        if decided {
            learner_says(&mut story, F, Message::Ack { zxid }, kept(2, 2, zxid));
        }
        relays(&mut story, Message::Inform { zxid, txn: Bytes::new() });
        match decided {
            true => story.expect_fine(),
            false => story.expect_violation(Checker::Ledger, "COMMIT 0x200000001, acknowledged it was {}"),
        }
    }
    let mut story = begin();
    relays(&mut story, Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
    story.expect_violation(Checker::Ledger, "n1 says LEADERINFO 2, introduced were {}");
}

#[test]
fn d1_a_promise_before_it_is_durable() {
    let mut story = begin();
    let promise = Message::AckEpoch { last_zxid: old(), current_epoch: 1 };
    learner_says(&mut story, F, promise, kept(1, 1, old()));
    story.expect_violation(Checker::Ledger, "ACKEPOCH 2, its disk has 1");
}

#[test]
fn p3_a_promise_of_an_epoch_after_a_later_one() {
    let mut story = begin();
    let promise = Message::AckEpoch { last_zxid: old(), current_epoch: Message::UNCOUNTED };
    learner_says(&mut story, F, promise, kept(3, 1, old()));
    story.expect_violation(Checker::Ledger, "ACKEPOCH 2, it promised 3");
}

#[test]
fn p4_an_epoch_that_a_quorum_has_not_been_asked_about() {
    for accepted_epoch in [None, Some(2)] {
        let mut story = Story::ensemble(3);
        if let Some(accepted_epoch) = accepted_epoch {
            introduce(&mut story, F, accepted_epoch);
        }
        leader_says(&mut story, F, Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
        story.expect_violation(Checker::Ledger, "LEADERINFO 2, introduced were {");
    }
}

#[test]
fn d1_an_epoch_that_its_leader_has_not_on_its_disk() {
    let mut story = Story::ensemble(3);
    introduce(&mut story, F, 1);
    let message = Rc::new(Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
    let kept = Some(kept(1, 1, old()));
    story.tell(Observed::Said { node: L, to: F, link: link(F), message, kept });
    story.expect_violation(Checker::Ledger, "LEADERINFO 2, its own disk has 1");
}

#[test]
fn p3_a_promise_to_two_leaders() {
    let mut story = begin();
    promise(&mut story);
    introduce_to(&mut story, G, L, 1);
    let info = Rc::new(Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
    story.tell(Observed::Said { node: G, to: F, link: LinkId(9), message: info, kept: None });
    let message = Rc::new(Message::AckEpoch { last_zxid: old(), current_epoch: 1 });
    let kept = Some(kept(2, 1, old()));
    story.tell(Observed::Said { node: F, to: G, link: LinkId(9), message, kept });
    story.expect_violation(Checker::Ledger, "to n2, as to n0 before");
}

#[test]
fn p4_new_leader_without_a_quorum_of_promises() {
    let mut story = begin();
    leader_says(&mut story, F, Message::NewLeader { zxid: BEGIN, config: None });
    story.expect_violation(Checker::Ledger, "promised it was by {}");
}

#[test]
fn p10_new_leader_without_what_is_committed() {
    let mut story = begin();
    story.serve(F);
    story.tell(Observed::Committed { node: F, zxid: old() });
    story.tell(Observed::Found { node: L, last: Zxid::ZERO, durable: Zxid::ZERO });
    let promise = Message::AckEpoch { last_zxid: Zxid::ZERO, current_epoch: 1 };
    learner_says(&mut story, F, promise, kept(2, 1, Zxid::ZERO));
    leader_says(&mut story, F, Message::Diff { zxid: Zxid::ZERO });
    leader_says(&mut story, F, Message::NewLeader { zxid: BEGIN, config: None });
    story.expect_violation(Checker::Ledger, "with a history without 0x100000001");
}

#[test]
fn d5_a_beginning_acknowledged_before_its_epoch_is_durable() {
    let mut story = begin();
    new_leader(&mut story);
    learner_says(&mut story, F, Message::Ack { zxid: BEGIN }, kept(2, 1, old()));
    story.expect_violation(Checker::Ledger, "its disk has epoch 1");
}

#[test]
fn d1_a_beginning_acknowledged_before_its_history_is_durable() {
    let mut story = begin();
    new_leader(&mut story);
    learner_says(&mut story, F, Message::Ack { zxid: BEGIN }, kept(2, 2, Zxid::ZERO));
    story.expect_violation(Checker::Ledger, "only 0x0 is durable");
}

#[test]
fn p13_a_beginning_acknowledged_with_another_history() {
    let mut story = begin();
    story.log_at(1, 1, 2);
    new_leader(&mut story);
    learner_says(&mut story, F, Message::Ack { zxid: BEGIN }, kept(2, 2, Zxid::new(1, 2)));
    story.expect_violation(Checker::Ledger, "with a history up to 0x100000002, not 0x100000001");
}

#[test]
fn p15_up_to_date_without_a_quorum() {
    let mut story = begin();
    new_leader(&mut story);
    leader_says(&mut story, F, Message::UpToDate);
    story.expect_violation(Checker::Ledger, "acknowledged it was by {}");
}

#[test]
fn d1_a_transaction_acknowledged_before_it_is_durable() {
    let mut story = begin();
    lead(&mut story);
    propose(&mut story, 1);
    learner_says(&mut story, F, Message::Ack { zxid: Zxid::new(2, 1) }, kept(2, 2, old()));
    story.expect_violation(Checker::Ledger, "ACK 0x200000001, while only 0x100000001 is durable");
}

#[test]
fn p12_a_gap_between_proposals() {
    let mut story = begin();
    lead(&mut story);
    propose(&mut story, 1);
    propose(&mut story, 3);
    story.expect_violation(Checker::Ledger, "PROPOSAL 0x200000003 behind 0x200000001");
}

#[test]
fn p10_a_promise_of_one_who_knows_more_counts_for_nothing() {
    for (counter, fine) in [(1, true), (0, false)] {
        let mut story = Story::ensemble(3);
        story.create_everywhere(1);
        introduce(&mut story, F, 1);
        let own = Some(kept(2, 1, Zxid::new(1, counter)));
        let message = Rc::new(Message::LeaderInfo { epoch: 2, protocol_version: 0x10000 });
        story.tell(Observed::Said { node: L, to: F, link: link(F), message, kept: own });
        new_leader(&mut story);
        if fine {
            story.expect_fine();
        } else {
            story.expect_violation(Checker::Ledger, "NEWLEADER 0x200000000, promised it was by {}");
        }
    }
}

#[test]
fn p11_a_commit_without_a_quorum_and_one_out_of_turn() {
    let mut story = begin();
    lead(&mut story);
    propose(&mut story, 1);
    story.log_at(0, 2, 1);
    story.tell(Observed::Synced { node: L, durable: Zxid::new(2, 1) });
    leader_says(&mut story, F, Message::Commit { zxid: Zxid::new(2, 1) });
    story.expect_violation(Checker::Ledger, "COMMIT 0x200000001, acknowledged it was {}");

    let mut story = begin();
    lead(&mut story);
    propose(&mut story, 1);
    propose(&mut story, 2);
    leader_says(&mut story, F, Message::Commit { zxid: Zxid::new(2, 2) });
    story.expect_violation(Checker::Ledger, "next in line is 0x200000001");
}

#[test]
fn l5_a_leader_gives_up_for_a_later_epoch_alone() {
    for (promised, fine) in [(3, true), (2, false)] {
        let mut story = begin();
        lead(&mut story);
        let why = RoleEnd::SteppedDown(StepDownReason::EpochOvertaken { promised });
        story.tell(Observed::RoleLost { node: L, why });
        if fine {
            story.expect_fine();
        } else {
            story.expect_violation(Checker::Ledger, "n0 leads in 2, and gives up for a promise of 2");
        }
    }
}

/// The leader and one of the first three are a quorum of what was, and not of five.
#[test]
fn p19_a_change_of_members_without_a_quorum_of_the_new_ones() {
    for (count, fine) in [(3, true), (5, false)] {
        let mut story = begin();
        lead(&mut story);
        propose(&mut story, 1);
        let zxid = Zxid::new(2, 1);
        for node in [L, F] {
            story.tell(Observed::Logged { node, record: logged_change(zxid, count) });
            story.tell(Observed::Synced { node, durable: zxid });
        }
        learner_says(&mut story, F, Message::Ack { zxid }, kept(2, 2, zxid));
        leader_says(&mut story, F, Message::CommitAndActivate { zxid, designated: server_of(L) });
        match fine {
            true => story.expect_fine(),
            false => story.expect_violation(Checker::Ledger, "COMMIT 0x200000001, acknowledged it was {"),
        }
    }
}
