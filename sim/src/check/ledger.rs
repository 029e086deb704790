//! What leader and learners promise each other is true at the moment at which it leaves the server, and every
//! decision of a leader has the promises that it needs; and it is said in turn (P16). The messages are read off the links;
//! disks are asked what a power failure would leave, a failed one included (D9).
//!
//! | message | what must be true | invariant |
//! |---|---|---|
//! | LEADERINFO | a quorum said that it promised less; the leader's own promise is durable | D1, P4 |
//! | ACKEPOCH | the promise is durable, and to no later epoch; it counts for one leader only; the history is of the epoch that it says | D1, P3 |
//! | ACK of a beginning | the history that the epoch begins with is durable and the leader's, and so is the epoch | D1, D5, P13 |
//! | ACK | the transaction is durable | D1 |
//! | NEWLEADER | a quorum promised that has no more than it; the history holds all that is committed from earlier epochs, and on the leader's disk it is the epoch's | D1, P4, P10 |
//! | UPTODATE | a quorum has what the epoch begins with | P4, P15 |
//! | PROPOSAL, INFORM | it continues what went before on this link | P5, P12 |
//! | COMMIT, INFORM | a quorum has the transaction, and all before it are committed on this link | P4, P11 |
//!
//! A follower that brings an observer up to date says what its leader could: it serves in the epoch, and what a leader
//! needs promises for is judged by those of its own.
//!
//! An acknowledgement counts once its leader looks at it, for the epoch of the link that it came on; the leader's own
//! once its disk has it. Observers never count. A COMMIT in front of NEWLEADER is a part of the history, and says
//! nothing of quorums.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zabra_core::server::Role;
use zabra_core::types::{Message, Zxid};

use super::chain::hides_past;
use super::{Check, Checker, Facts, Violation};
use crate::history::{Kept, Observed, Record};
use crate::link::{LinkId, NodeId};
use crate::world::peers::node_of;

/// What was said on a link between leader and learner.
#[derive(Clone, Debug, Default)]
struct Talk {
    /// The epoch that the leader announced.
    epoch: Option<i64>,
    /// Who leads it, where that is not who announced it, but a follower.
    led_by: Option<NodeId>,
    /// Where the epoch's initial history ends, once NEWLEADER was said.
    inherited: Option<Zxid>,
    /// The end of the learner's history, as this link brings it on; unknown behind a snapshot of no transaction.
    end: Option<Zxid>,
    /// Proposed and not committed on this link.
    pending: VecDeque<Zxid>,
}

/// What one leader was promised in one epoch.
#[derive(Clone, Debug, Default)]
struct Support {
    /// The history that it has itself, where that is known: its epoch, and its end.
    own: Option<(i64, Zxid)>,
    /// Who promised, and has no more than it.
    promised: BTreeSet<NodeId>,
    /// Who has what the epoch begins with.
    begun: BTreeSet<NodeId>,
    /// Up to where each has acknowledged.
    acked: BTreeMap<NodeId, Zxid>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    talks: BTreeMap<LinkId, Talk>,
    support: BTreeMap<(NodeId, i64), Support>,
    /// Whom each server promised to follow in each epoch, where the promise counts.
    promises: BTreeMap<(NodeId, i64), NodeId>,
    /// Who follows, in which epoch, and whom.
    follows: BTreeMap<NodeId, (i64, NodeId)>,
    /// What each follower said it had promised when it came to a leader, or to one that may become one.
    introduced: BTreeMap<NodeId, BTreeMap<NodeId, i64>>,
}

fn wrong<T>(node: NodeId, what: impl std::fmt::Display) -> Result<T, Violation> {
    Err(Violation::new(Checker::Ledger, format!("n{} says {what}", node.0)))
}

/// Whether two ends of a history may be the same; the beginning of an epoch is no transaction, and tells nothing.
fn may_equal(one: Zxid, other: Zxid) -> bool {
    one == other || hides_past(one) || hides_past(other)
}

/// A follower announces the epoch that it serves in.
fn relayed_leader_info(node: NodeId, epoch: i64, kept: Option<Kept>) -> Result<(), Violation> {
    match kept.filter(|kept| kept.accepted != epoch || kept.current != epoch) {
        Some(kept) => {
            let (accepted, current) = (kept.accepted, kept.current);
            wrong(
                node,
                format_args!("LEADERINFO {epoch}, promised {accepted}, with the history of {current}"),
            )
        }
        None => Ok(()),
    }
}

impl Ledger {
    /// A learner says something.
    fn learner(
        &mut self,
        node: NodeId,
        to: NodeId,
        link: LinkId,
        message: &Message,
        kept: Kept,
        facts: &Facts,
    ) -> Result<(), Violation> {
        let talk = self.talks.entry(link).or_default();
        let Some(epoch) = talk.epoch else { return wrong(node, "more than who it is before LEADERINFO") };
        match message {
            Message::AckEpoch { last_zxid, current_epoch } => {
                talk.end = (!hides_past(*last_zxid)).then_some(*last_zxid);
                if kept.accepted > epoch {
                    return wrong(node, format_args!("ACKEPOCH {epoch}, it promised {}", kept.accepted));
                }
                // This answer promises nothing. The epoch was promised before, by a process that may have died before
                // the file's new name was durable.
                if *current_epoch == Message::UNCOUNTED {
                    return Ok(());
                }
                if kept.accepted < epoch {
                    return wrong(node, format_args!("ACKEPOCH {epoch}, its disk has {}", kept.accepted));
                }
                let other = *self.promises.entry((node, epoch)).or_insert(to);
                if other != to {
                    let (to, other) = (to.0, other.0);
                    return wrong(node, format_args!("ACKEPOCH {epoch} to n{to}, as to n{other} before"));
                }
                if i64::from(*current_epoch) > kept.current {
                    let current = kept.current;
                    return wrong(
                        node,
                        format_args!("ACKEPOCH with history of {current_epoch}, has {current}"),
                    );
                }
                Ok(())
            }
            Message::Ack { zxid } if zxid.begins_epoch() => {
                let Some(inherited) = talk.inherited else { return wrong(node, "ACK before NEWLEADER") };
                if i64::from(zxid.epoch()) != epoch {
                    return wrong(node, format_args!("ACK {zxid} in epoch {epoch}"));
                }
                if kept.current < epoch {
                    return wrong(node, format_args!("ACK {zxid}, its disk has epoch {}", kept.current));
                }
                let own = facts.chain().meant_by(node, *zxid);
                if !may_equal(own, inherited) {
                    return wrong(
                        node,
                        format_args!("ACK {zxid} with a history up to {own}, not {inherited}"),
                    );
                }
                if kept.durable < own {
                    let durable = kept.durable;
                    return wrong(
                        node,
                        format_args!("ACK {zxid}, of its history {own} only {durable} is durable"),
                    );
                }
                Ok(())
            }
            Message::Ack { zxid } if kept.durable < *zxid => {
                wrong(node, format_args!("ACK {zxid}, while only {} is durable", kept.durable))
            }
            _ => Ok(()),
        }
    }

    /// A leader says something.
    fn leader(
        &mut self,
        node: NodeId,
        to: NodeId,
        link: LinkId,
        message: &Message,
        kept: Option<Kept>,
        facts: &Facts,
    ) -> Result<(), Violation> {
        match message {
            Message::LeaderInfo { epoch, .. } => {
                let talk = self.talks.entry(link).or_default();
                talk.epoch = Some(*epoch);
                talk.led_by = self.follows.get(&node).filter(|(follows, _)| follows == epoch).map(|it| it.1);
                if talk.led_by.is_some() {
                    return relayed_leader_info(node, *epoch, kept);
                }
                if let Some(kept) = kept {
                    // Once the epoch has begun it is the epoch's own, and nobody's promise is waited for any more.
                    let support = self.support.entry((node, *epoch)).or_default();
                    support.own = support.own.max(Some((kept.current, kept.last)));
                }
                self.leader_info(node, *epoch, kept, facts)
            }
            Message::NewLeader { zxid, .. } => {
                if let Some(kept) = kept.filter(|kept| kept.current != i64::from(zxid.epoch())) {
                    let current = kept.current;
                    return wrong(node, format_args!("NEWLEADER {zxid}, its own disk has epoch {current}"));
                }
                self.new_leader(node, link, *zxid, facts)
            }
            Message::UpToDate => self.up_to_date(node, link, facts),
            Message::Snap { zxid } | Message::Trunc { zxid } => {
                let talk = self.talks.entry(link).or_default();
                talk.end = (!hides_past(*zxid)).then_some(*zxid);
                talk.pending.clear();
                Ok(())
            }
            Message::Proposal { zxid, .. } => {
                self.propose(node, link, *zxid, facts)?;
                self.talks.entry(link).or_default().pending.push_back(*zxid);
                Ok(())
            }
            Message::Inform { zxid, .. } | Message::InformAndActivate { zxid, .. } => {
                self.propose(node, link, *zxid, facts)?;
                self.decide(node, link, *zxid, facts)
            }
            Message::Commit { zxid } | Message::CommitAndActivate { zxid, .. } => {
                let talk = self.talks.entry(link).or_default();
                let next = talk.pending.pop_front();
                if next != Some(*zxid) {
                    let (to, next) = (to.0, next.unwrap_or_default());
                    return wrong(node, format_args!("COMMIT {zxid} to n{to}, next in line is {next}"));
                }
                self.decide(node, link, *zxid, facts)
            }
            _ => Ok(()),
        }
    }

    /// A leader proposes an epoch: it is later than what each of a quorum had promised.
    fn leader_info(
        &mut self,
        node: NodeId,
        epoch: i64,
        kept: Option<Kept>,
        facts: &Facts,
    ) -> Result<(), Violation> {
        if let Some(kept) = kept.filter(|kept| kept.accepted != epoch) {
            let accepted = kept.accepted;
            return wrong(node, format_args!("LEADERINFO {epoch}, its own disk has {accepted}"));
        }
        let introduced = self.introduced.entry(node).or_default();
        let later = introduced.iter().filter(|&(_, &accepted)| accepted < epoch).map(|(&node, _)| node);
        if facts.is_quorum(later.chain([node])) {
            return Ok(());
        }
        wrong(node, format_args!("LEADERINFO {epoch}, introduced were {introduced:?}"))
    }

    fn new_leader(&mut self, node: NodeId, link: LinkId, zxid: Zxid, facts: &Facts) -> Result<(), Violation> {
        let talk = self.talks.entry(link).or_default();
        let epoch = i64::from(zxid.epoch());
        if talk.epoch != Some(epoch) {
            return wrong(node, format_args!("NEWLEADER {zxid} after LEADERINFO {:?}", talk.epoch));
        }
        let inherited = facts.chain().meant_by(node, zxid);
        talk.inherited = Some(inherited);
        if let Some(end) = talk.end
            && !may_equal(end, inherited)
            && i64::from(end.epoch()) != epoch
        {
            return wrong(
                node,
                format_args!("NEWLEADER {zxid} behind {end}, its own history ends with {inherited}"),
            );
        }
        let leader = talk.led_by.unwrap_or(node);
        let support = self.support.entry((leader, epoch)).or_default();
        if !facts.is_quorum(support.promised.iter().copied().chain([leader])) {
            let promised = &support.promised;
            return wrong(node, format_args!("NEWLEADER {zxid}, promised it was by {promised:?}"));
        }
        let committed = facts.committed_before(epoch);
        if !facts.chain().leads_to(inherited, committed) {
            return wrong(
                node,
                format_args!("NEWLEADER {zxid} with a history without {committed}, committed"),
            );
        }
        Ok(())
    }

    fn up_to_date(&mut self, node: NodeId, link: LinkId, facts: &Facts) -> Result<(), Violation> {
        let talk = self.talks.entry(link).or_default();
        let (Some(epoch), Some(inherited)) = (talk.epoch, talk.inherited) else {
            return wrong(node, "UPTODATE before NEWLEADER");
        };
        let leader = talk.led_by.unwrap_or(node);
        let own = (facts.durable(leader) >= inherited).then_some(leader);
        let support = self.support.entry((leader, epoch)).or_default();
        if !facts.is_quorum(support.begun.iter().copied().chain(own)) {
            let begun = &support.begun;
            return wrong(node, format_args!("UPTODATE in epoch {epoch}, acknowledged it was by {begun:?}"));
        }
        Ok(())
    }

    fn propose(&mut self, node: NodeId, link: LinkId, zxid: Zxid, facts: &Facts) -> Result<(), Violation> {
        let talk = self.talks.entry(link).or_default();
        let Some(end) = talk.end.replace(zxid) else { return Ok(()) };
        let follows = match facts.chain().parent(zxid) {
            Some(parent) => parent == end,
            None => zxid == end.next() || (zxid.counter() == 1 && zxid.epoch() > end.epoch()),
        };
        if follows { Ok(()) } else { wrong(node, format_args!("PROPOSAL {zxid} behind {end}")) }
    }

    /// A leader calls a transaction of its epoch committed.
    fn decide(&mut self, node: NodeId, link: LinkId, zxid: Zxid, facts: &Facts) -> Result<(), Violation> {
        let talk = self.talks.entry(link).or_default();
        let Some(epoch) = talk.epoch.filter(|&epoch| i64::from(zxid.epoch()) == epoch) else { return Ok(()) };
        let leader = talk.led_by.unwrap_or(node);
        let support = self.support.entry((leader, epoch)).or_default();
        let acked = support.acked.iter().filter(|&(_, &acked)| acked >= zxid).map(|(&node, _)| node);
        let own = (facts.durable(leader) >= zxid).then_some(leader);
        if facts.is_quorum(acked.chain(own)) {
            return Ok(());
        }
        let acked = &support.acked;
        wrong(
            node,
            format_args!(
                "COMMIT {zxid}, acknowledged it was {acked:?}, durable at the leader: {}",
                own.is_some()
            ),
        )
    }

    /// A leader looks at what a learner said.
    fn heard(&mut self, node: NodeId, from: NodeId, link: LinkId, message: &Message) {
        if let Message::FollowerInfo { accepted_epoch, .. } = message {
            let introduced = self.introduced.entry(node).or_default();
            let accepted = introduced.entry(from).or_insert(*accepted_epoch);
            *accepted = (*accepted).min(*accepted_epoch);
        }
        let Some(epoch) = self.talks.get(&link).and_then(|talk| talk.epoch) else { return };
        let support = self.support.entry((node, epoch)).or_default();
        match message {
            Message::AckEpoch { current_epoch, last_zxid } if *current_epoch != Message::UNCOUNTED => {
                let theirs = (i64::from(*current_epoch), *last_zxid);
                if support.own.is_none_or(|own| theirs <= own) {
                    support.promised.insert(from);
                }
            }
            Message::Ack { zxid } if zxid.begins_epoch() => {
                support.begun.insert(from);
            }
            Message::Ack { zxid } => {
                let acked = support.acked.entry(from).or_default();
                *acked = (*acked).max(*zxid);
            }
            _ => {}
        }
    }
}

impl Check for Ledger {
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Heard { node, from, link, message } => {
                self.heard(*node, *from, *link, message);
                Ok(())
            }
            Observed::Said { node, to, link, message, kept } => match (&**message, kept) {
                (Message::Ack { .. } | Message::AckEpoch { .. }, Some(kept)) => {
                    self.learner(*node, *to, *link, message, *kept, facts)
                }
                _ => self.leader(*node, *to, *link, message, *kept, facts),
            },
            Observed::RoleTaken { node, standing, .. } => {
                match (standing.role, standing.leader) {
                    (Role::Following, Some(leader)) => {
                        self.follows.insert(*node, (standing.epoch, node_of(leader)));
                    }
                    _ => drop(self.follows.remove(node)),
                }
                Ok(())
            }
            // Not with its role: who came in the turn in which that ended may wait for the next.
            Observed::Crashed { node, .. } | Observed::Stopped { node, .. } => {
                self.introduced.remove(node);
                self.follows.remove(node);
                Ok(())
            }
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
    use crate::node::Standing;
    use crate::world::peers::server_of;

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
        let info =
            LearnerInfo { server: Some(server_of(node)), protocol_version: 0x10000, config_version: 0 };
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
                false => {
                    story.expect_violation(Checker::Ledger, "COMMIT 0x200000001, acknowledged it was {}")
                }
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
}
