//! Elections: who should lead is decided by votes that say what is so (P17). Whether it leads is another matter, and
//! decided by promises; but a vote that should not be, or one that should not count, makes elections that are in vain,
//! and puts those in front that know less than others.
//!
//! | what | what must be true |
//! |---|---|
//! | a vote of a server that looks | it is for a history no less than its own; its own is there; another's is as that server itself has said, and somebody has voted so in this round |
//! | a server votes for nobody | it has no vote in the members that are in force for it, which it names |
//! | a server that serves is asked, and says whom it follows | the epoch that it names is the one that it serves in |
//! | a learner comes to its leader | a quorum voted for that leader in one round, or has joined it and the leader itself says that it leads; or the one before named it with a change of members |
//!
//! A vote that is sent once more after its election is over says nothing. A server that may have lost what it had votes
//! for whoever comes, and claims nothing. What was heard counts from the moment on at which the server began to look.

use std::collections::{BTreeMap, BTreeSet};

use zabra_core::server::Role;
use zabra_core::types::{Message, Notification, PeerState, ServerId, Vote, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Kept, Observed, Record};
use crate::places::{Named, NodeId, node_of, server_of};
use crate::roster::Roster;

/// Whom a server votes for that must not lead itself.
const NOBODY: ServerId = ServerId(i64::MIN);

/// The history that speaks for a candidate, and the candidate: the greater is elected.
type Rank = (i64, Zxid, ServerId);

/// A round, and a vote in it.
type Ballot = (i64, Rank);

/// Something that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    at: SimTime,
    from: NodeId,
    ballot: Ballot,
    state: PeerState,
}

/// What a server has said and heard since it began to look.
#[derive(Clone, Debug, Default)]
struct Looking {
    is_over: bool,
    said: BTreeSet<Ballot>,
    heard: Vec<Heard>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Elections {
    looking: BTreeMap<NodeId, Looking>,
    /// The histories that each server has claimed for itself.
    claimed: BTreeSet<Rank>,
    /// Who leads from then on, as servers were told with a change of members: they go there without an election.
    designated: BTreeMap<NodeId, NodeId>,
    /// Who was asked by whom, and when, and the last that it has said in that turn.
    asked: BTreeMap<(NodeId, NodeId), (SimTime, Option<Notification>)>,
}

const fn rank(vote: &Vote) -> Rank {
    (vote.peer_epoch, vote.zxid, vote.leader)
}

const fn ballot(notification: &Notification) -> Ballot {
    (notification.election_epoch, rank(&notification.vote))
}

/// The members that are in force for a server, as it says.
fn has_in_force(notification: &Notification) -> Option<Roster> {
    let text = std::str::from_utf8(&notification.config).ok()?;
    Roster::parse(text).map(|(roster, _)| roster)
}

impl Elections {
    fn on_voted(
        &mut self,
        node: NodeId,
        notification: &Notification,
        kept: Option<Kept>,
        facts: &Facts,
    ) -> Result<(), Violation> {
        let looking = self.looking.entry(node).or_default();
        if looking.is_over || notification.state != PeerState::Looking {
            return Ok(());
        }
        looking.said.insert(ballot(notification));
        let vote = rank(&notification.vote);
        let (epoch, zxid, leader) = vote;
        if !facts.is_voter(node) {
            // It may become one, and who knows of that before it does counts its vote.
            if leader == server_of(node) {
                self.claimed.insert(vote);
            }
            return Ok(());
        }
        // It has a vote from a change on that it has heard of and does not go by yet: a snapshot brings any number of those.
        if leader == NOBODY && has_in_force(notification).is_some_and(|roster| !roster.is_voter(node)) {
            return Ok(());
        }
        let wrong = |what: String| {
            let leader = Named(leader);
            let words = format!("{node} votes for {leader} with a history of {epoch} up to {zxid}, {what}");
            Err(Violation::new(Checker::Election, words))
        };
        let is_own = leader == server_of(node);
        let is_new = !self.claimed.contains(&vote);
        if is_new && !is_own {
            return wrong("which that one has never said".into());
        }
        let ballot = ballot(notification);
        let has_heard = |it: &Heard| it.ballot == ballot && it.state == PeerState::Looking;
        if !is_own && !looking.heard.iter().any(has_heard) {
            return wrong(format!("of which it has not heard in round {}", ballot.0));
        }
        self.claimed.insert(vote);
        let Some(kept) = kept else { return Ok(()) };
        let own = (kept.current, kept.durable, server_of(node));
        if vote < own {
            return wrong(format!("and has one of {} up to {} itself", kept.current, kept.durable));
        }
        // What it claimed before it was made to forget some of it, others may go on saying, and it takes over from them.
        // An epoch or a snapshot may have been written by a process that died before the file's name was durable. The
        // next promise makes it so, and without one no history counts.
        if is_new && (zxid > kept.last || epoch > kept.accepted) {
            return wrong(format!("and has one of {} up to {} itself", kept.current, kept.last));
        }
        Ok(())
    }

    /// What was answered in earlier turns: what was said last, for on a new connection what was said before comes first.
    fn judge_answers(&mut self, now: SimTime, facts: &Facts) -> Result<(), Violation> {
        let over = self.asked.extract_if(.., |_, (at, _)| *at < now);
        for ((node, _), (_, said)) in over.collect::<Vec<_>>() {
            let settled =
                |said: &Notification| matches!(said.state, PeerState::Following | PeerState::Leading);
            let (Some(said), Some(standing)) = (said.filter(settled), facts.standing(node)) else { continue };
            let (epoch, named) = (standing.epoch, said.vote.peer_epoch);
            if epoch != named {
                let words = format!("{node} serves in epoch {epoch}, and answers that it does in {named}");
                return Err(Violation::new(Checker::Election, words));
            }
        }
        Ok(())
    }

    /// A server comes to whom it was told to follow; an observer, which may come to a follower of that leader instead, has
    /// heard of a leader.
    fn on_introduced(
        &self,
        node: NodeId,
        to: NodeId,
        observes: bool,
        facts: &Facts,
    ) -> Result<(), Violation> {
        if self.designated.get(&node).is_some_and(|&designated| observes || designated == to) {
            return Ok(());
        }
        let Some(looking) = self.looking.get(&node) else { return Ok(()) };
        let own = |ballot: &Ballot| looking.said.contains(ballot);
        let backed = |ballot: &Ballot| {
            let (_, (epoch, _, leader)) = *ballot;
            let says_so = |it: &Heard| server_of(it.from) == leader && it.state == PeerState::Leading;
            let leads = looking.heard.iter().any(says_so);
            // Of those that have joined, only the epoch must be the same.
            let joined = |it: &&Heard| {
                leads && it.state != PeerState::Looking && (it.ballot.1.0, it.ballot.1.2) == (epoch, leader)
            };
            let agrees = |it: &&Heard| it.ballot == *ballot || joined(it);
            let others = looking.heard.iter().filter(agrees).map(|it| it.from);
            let agree = others.chain(own(ballot).then_some(node));
            if leads { facts.may_follow(node, agree) } else { facts.may_back(node, agree) }
        };
        let ballots = looking.heard.iter().map(|it| it.ballot);
        if ballots.filter(|it| observes || it.1.2 == server_of(to)).any(|ballot| backed(&ballot)) {
            return Ok(());
        }
        let words = format!("{node} comes to {to} as to its leader, and has heard {:?}", looking.heard);
        Err(Violation::new(Checker::Election, words))
    }
}

impl Check for Elections {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Voted { node, to, notification, kept } => {
                self.judge_answers(record.at, facts)?;
                if let Some((_, said)) = self.asked.get_mut(&(*node, *to)) {
                    *said = Some(Notification::clone(notification));
                }
                self.on_voted(*node, notification, *kept, facts)
            }
            Observed::VoteHeard { node, from, notification } => {
                self.judge_answers(record.at, facts)?;
                if notification.state == PeerState::Looking && facts.standing(*node).is_some() {
                    self.asked.insert((*node, *from), (record.at, None));
                }
                let (at, ballot, state) = (record.at, ballot(notification), notification.state);
                let heard = &mut self.looking.entry(*node).or_default().heard;
                heard.retain(|it| (it.from, it.ballot, it.state) != (*from, ballot, state));
                heard.push(Heard { at, from: *from, ballot, state });
                Ok(())
            }
            Observed::RoleTaken { node, standing, .. } if standing.role == Role::Looking => {
                // What it is told in the turn in which it begins was heard a moment ago.
                self.designated.remove(node);
                let looking = self.looking.entry(*node).or_default();
                (looking.is_over, looking.said) = (false, BTreeSet::new());
                looking.heard.retain(|it| it.at == record.at);
                Ok(())
            }
            Observed::RoleLost { node, .. } => {
                self.asked.retain(|(asked, _), _| asked != node);
                Ok(())
            }
            Observed::Crashed { node, .. } | Observed::Stopped { node, .. } => {
                self.looking.remove(node);
                self.designated.remove(node);
                self.asked.retain(|(asked, _), _| asked != node);
                Ok(())
            }
            Observed::Said { node, to, message, .. } => match **message {
                Message::FollowerInfo { .. } | Message::ObserverInfo { .. } => {
                    let observes = matches!(**message, Message::ObserverInfo { .. });
                    let verdict = self.on_introduced(*node, *to, observes, facts);
                    self.looking.entry(*node).or_default().is_over = true;
                    verdict
                }
                Message::CommitAndActivate { designated, .. }
                | Message::InformAndActivate { designated, .. } => {
                    let designated = node_of(designated);
                    self.designated.extend([(*to, designated), (*node, designated)]);
                    Ok(())
                }
                Message::LeaderInfo { .. } => {
                    self.looking.entry(*node).or_default().is_over = true;
                    Ok(())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use zabra_core::types::LearnerInfo;

    use super::*;
    use crate::check::testing::Story;
    use crate::link::LinkId;
    use crate::node::Standing;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    /// Three servers whose history is of epoch 1, up to its first transaction, look.
    fn begin() -> Story {
        let mut story = Story::ensemble(3);
        story.create_everywhere(1);
        (0..3).for_each(|node| story.synced(node, 1));
        for node in [A, B, C] {
            let standing = Standing { role: Role::Looking, epoch: 1, leader: None };
            story.tell(Observed::RoleTaken { node, standing, mono: 0 });
        }
        story
    }

    fn notification(
        state: PeerState,
        leader: NodeId,
        round: i64,
        epoch: i64,
        counter: u32,
    ) -> Rc<Notification> {
        let vote = Vote { leader: server_of(leader), zxid: Zxid::new(1, counter), peer_epoch: epoch };
        Rc::new(Notification { state, vote, election_epoch: round, version: 2, config: Bytes::new() })
    }

    fn vote(story: &mut Story, node: NodeId, leader: NodeId, epoch: i64, counter: u32) {
        let notification = notification(PeerState::Looking, leader, 1, epoch, counter);
        let zxid = Zxid::new(1, 1);
        let kept = Some(Kept { accepted: 1, current: 1, durable: zxid, last: zxid });
        // Who votes for another was told so by that one.
        if leader != node {
            let notification = notification.clone();
            story.tell(Observed::VoteHeard { node, from: leader, notification });
        }
        story.tell(Observed::Voted { node, to: A, notification, kept });
    }

    fn hear(story: &mut Story, from: NodeId, state: PeerState, leader: NodeId, round: i64) {
        let notification = notification(state, leader, round, 1, 1);
        story.tell(Observed::VoteHeard { node: A, from, notification });
    }

    fn come(story: &mut Story, to: NodeId) {
        let info = LearnerInfo { server: Some(server_of(A)), protocol_version: 0x10000, config_version: 0 };
        let message = Rc::new(Message::FollowerInfo { accepted_epoch: 1, info });
        story.tell(Observed::Said { node: A, to, link: LinkId(1), message, kept: None });
    }

    #[test]
    fn p17_votes_say_what_is_so() {
        let table: [(NodeId, i64, u32, Option<&str>); 6] = [
            (A, 1, 1, None),
            (A, 2, 1, Some("has one of 1 up")),
            (A, 1, 2, Some("has one of 1 up to 0x100000001 itself")),
            (A, 1, 0, Some("has one of 1 up to 0x100000001 itself")),
            (C, 1, 1, None),
            (B, 1, 1, Some("never said")),
        ];
        for (leader, epoch, counter, words) in table {
            let mut story = begin();
            vote(&mut story, C, C, 1, 1);
            vote(&mut story, A, leader, epoch, counter);
            match words {
                Some(words) => story.expect_violation(Checker::Election, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn p17_who_must_not_lead_votes_for_nobody() {
        let all = Roster::first(3, 0);
        for (in_force, words) in
            [(all.without(A), None), (all, Some("votes for")), (all.with(A, false), None)]
        {
            let mut story = begin();
            let vote = Vote { leader: NOBODY, zxid: Zxid::new(1, 1), peer_epoch: 1 };
            let (state, config) = (PeerState::Looking, Bytes::from(in_force.text(7)));
            let notification = Rc::new(Notification { state, vote, election_epoch: 1, version: 2, config });
            story.tell(Observed::Voted { node: A, to: B, notification, kept: None });
            match words {
                Some(words) => story.expect_violation(Checker::Election, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn p17_a_vote_for_one_who_knows_less() {
        let mut story = begin();
        vote(&mut story, A, A, 1, 1);
        vote(&mut story, C, A, 1, 1);
        story.expect_violation(Checker::Election, "has one of 1 up to 0x100000001 itself");
    }

    #[test]
    fn p17_a_quorum_votes_in_one_round() {
        for (round, votes, words) in [
            (1, true, None),
            (1, false, Some("comes to n2 as to its leader")),
            (2, false, Some("comes to n2")),
        ] {
            let mut story = begin();
            vote(&mut story, C, C, 1, 1);
            hear(&mut story, C, PeerState::Looking, C, round);
            vote(&mut story, A, if votes { C } else { A }, 1, 1);
            come(&mut story, C);
            match words {
                Some(words) => story.expect_violation(Checker::Election, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn p17_a_vote_that_nobody_has_cast_in_this_round() {
        for (round, words) in [(1, None), (2, Some("of which it has not heard in round 1"))] {
            let mut story = begin();
            vote(&mut story, C, C, 1, 1);
            hear(&mut story, B, PeerState::Looking, C, round);
            let zxid = Zxid::new(1, 1);
            let kept = Some(Kept { accepted: 1, current: 1, durable: zxid, last: zxid });
            let notification = notification(PeerState::Looking, C, 1, 1, 1);
            story.tell(Observed::Voted { node: A, to: B, notification, kept });
            match words {
                Some(words) => story.expect_violation(Checker::Election, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn p17_who_serves_names_its_epoch_when_it_is_asked() {
        for (last, words) in [(2, None), (1, Some("n0 serves in epoch 2, and answers that it does in 1"))] {
            let mut story = begin();
            let standing = Standing { role: Role::Following, epoch: 2, leader: Some(server_of(C)) };
            let serve = Observed::RoleTaken { node: A, standing, mono: 0 };
            let mut check = Elections::default();
            story.judge.facts.take(&Record { at: story.at, what: serve }).unwrap();
            let mut tell = |at, what| check.observe(&Record { at: SimTime(at), what }, &story.judge.facts);
            let asks = notification(PeerState::Looking, B, 9, 1, 1);
            tell(1, Observed::VoteHeard { node: A, from: B, notification: asks.clone() }).unwrap();
            // On a new connection what was said before comes first.
            for epoch in [1, last] {
                let notification = notification(PeerState::Following, C, 1, epoch, 1);
                tell(1, Observed::Voted { node: A, to: B, notification, kept: None }).unwrap();
            }
            let verdict = tell(2, Observed::VoteHeard { node: A, from: C, notification: asks });
            assert_eq!(verdict.err().map(|violation| violation.what), words.map(str::to_owned));
        }
    }

    #[test]
    fn p17_who_joins_has_heard_the_leader_itself() {
        for (state, words) in [(PeerState::Leading, None), (PeerState::Looking, Some("comes to n2"))] {
            let mut story = begin();
            hear(&mut story, B, PeerState::Following, C, 7);
            hear(&mut story, C, state, C, 8);
            come(&mut story, C);
            match words {
                Some(words) => story.expect_violation(Checker::Election, words),
                None => story.expect_fine(),
            }
        }
    }

    #[test]
    fn what_was_heard_in_an_earlier_election_is_forgotten() {
        let mut story = begin();
        hear(&mut story, B, PeerState::Following, C, 7);
        hear(&mut story, C, PeerState::Leading, C, 7);
        let standing = Standing { role: Role::Looking, epoch: 1, leader: None };
        story.tell(Observed::RoleTaken { node: A, standing, mono: 0 });
        come(&mut story, C);
        story.expect_violation(Checker::Election, "has heard []");
    }
}
