//! What only a leader knows it says only as one (C8b, S10): of a sync that a learner asked for that it is done, and of a
//! session that it is gone, it says nothing before a quorum has shown, since it was asked, that it still follows. A leader
//! that was deposed and does not know it yet would hide from a client what another one has committed meanwhile, or have it
//! give up a session that lives.
//!
//! A follower shows it by the answer to a ping that was sent behind the question, or, where a sync is waited for, by the
//! acknowledgement of a proposal that was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zabra_core::types::{Message, OpCode, SessionId, Zxid};

use super::leaders::Leaders;
use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::link::LinkId;
use crate::places::NodeId;

/// When a leader was asked something.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// How many pings it had sent by then.
    pings: u64,
    /// The last transaction that it had proposed to anybody.
    proposed: Zxid,
}

/// A leader, since it took the role.
#[derive(Debug, Default)]
struct Leading {
    /// How many pings it has sent.
    pings: u64,
    /// Which of them are not answered, by the link that they were sent on.
    owed: BTreeMap<LinkId, VecDeque<u64>>,
    /// The last one that each learner has answered.
    answered: BTreeMap<NodeId, u64>,
    /// The last transaction that it has proposed to anybody, and that each learner has acknowledged.
    proposed: Zxid,
    acked: BTreeMap<NodeId, Zxid>,
    /// Syncs that were asked for and not answered, oldest first.
    syncs: BTreeMap<LinkId, VecDeque<Asked>>,
    /// Likewise questions about sessions.
    sessions: BTreeMap<(LinkId, SessionId), VecDeque<Asked>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Confirmations {
    leaders: Leaders<Leading>,
}

impl Leading {
    fn on_heard(&mut self, from: NodeId, link: LinkId, message: &Message) {
        let asked = Asked { pings: self.pings, proposed: self.proposed };
        match message {
            Message::Ack { zxid } if !zxid.begins_epoch() => {
                let acked = self.acked.entry(from).or_default();
                *acked = (*acked).max(*zxid);
            }
            Message::Ping { .. } => {
                if let Some(ping) = self.owed.get_mut(&link).and_then(VecDeque::pop_front) {
                    self.answered.insert(from, ping);
                }
            }
            Message::Request { op: OpCode::SYNC, .. } => self.syncs.entry(link).or_default().push_back(asked),
            Message::Revalidate { session, .. } => {
                self.sessions.entry((link, *session)).or_default().push_back(asked);
            }
            _ => {}
        }
    }

    /// What it says, and since when a quorum has to have shown that it follows; and whether acknowledgements count.
    fn on_said(&mut self, link: LinkId, message: &Message) -> Option<(Asked, bool)> {
        match message {
            Message::Ping { .. } => {
                self.pings += 1;
                self.owed.entry(link).or_default().push_back(self.pings);
                None
            }
            Message::Proposal { zxid, .. } => {
                self.proposed = self.proposed.max(*zxid);
                None
            }
            Message::Revalidated { session, valid } => {
                let asked = self.sessions.get_mut(&(link, *session)).and_then(VecDeque::pop_front);
                asked.filter(|_| !valid).map(|asked| (asked, false))
            }
            Message::Sync => {
                let asked = self.syncs.get_mut(&link).and_then(VecDeque::pop_front);
                asked.map(|asked| (asked, true))
            }
            // What was sent before is not answered.
            Message::UpToDate => {
                self.owed.remove(&link);
                None
            }
            _ => None,
        }
    }

    /// Who has shown since then that it follows.
    fn confirmed_by(&self, since: Asked, by_acks: bool) -> BTreeSet<NodeId> {
        let pings = self.answered.iter().filter(|&(_, &ping)| ping > since.pings).map(|(&node, _)| node);
        let acked = self.acked.iter().filter(|&(_, &acked)| by_acks && acked > since.proposed);
        pings.chain(acked.map(|(&node, _)| node)).collect()
    }
}

impl Check for Confirmations {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        self.leaders.follow(&record.what, Leading::default);
        match &record.what {
            Observed::Heard { node, from, link, message } => {
                if let Some(leading) = self.leaders.get_mut(*node) {
                    leading.on_heard(*from, *link, message);
                }
            }
            Observed::Said { node, to, link, message, .. } => {
                let Some(leading) = self.leaders.get_mut(*node) else { return Ok(()) };
                let Some((since, by_acks)) = leading.on_said(*link, message) else { return Ok(()) };
                let by = leading.confirmed_by(since, by_acks);
                if !facts.backs(*node, by.iter().copied().chain([*node])) {
                    let words = format!("{node} says {message:?} to {to}; {by:?} follow since it was asked");
                    return Err(Violation::new(Checker::Confirmation, words));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use zabra_core::server::Role;

    use super::*;
    use crate::check::testing::{S, Story};
    use crate::node::Standing;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);
    const G: NodeId = NodeId(2);

    fn link(learner: NodeId) -> LinkId {
        LinkId(learner.0 as u64)
    }

    fn heard(from: NodeId, message: Message) -> Observed {
        Observed::Heard { node: L, from, link: link(from), message: Rc::new(message) }
    }

    fn said(to: NodeId, message: Message) -> Observed {
        Observed::Said { node: L, to, link: link(to), message: Rc::new(message), kept: None }
    }

    fn ping() -> Message {
        Message::Ping { zxid: Zxid::ZERO, touched: None }
    }

    fn sync() -> Message {
        let (cxid, op, body, identities) = (5, OpCode::SYNC, Bytes::new(), Vec::new());
        Message::Request { session: S, cxid, op, body, identities }
    }

    fn proposal(counter: u32) -> Message {
        Message::Proposal { zxid: Zxid::new(1, counter), txn: Bytes::new() }
    }

    fn ack(counter: u32) -> Message {
        Message::Ack { zxid: Zxid::new(1, counter) }
    }

    /// What the leader of five servers says and hears.
    fn tell(story: Vec<Observed>) -> Result<(), Violation> {
        let facts = Story::ensemble(5).judge.facts().clone();
        let mut check = Confirmations::default();
        let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
        let begin = Observed::RoleTaken { node: L, standing, mono: 0 };
        let mut observe = |what| check.observe(&Record { at: Default::default(), what }, &facts);
        [begin].into_iter().chain(story).try_for_each(&mut observe)
    }

    #[test]
    fn c8b_a_sync_is_done_once_a_quorum_has_shown_that_it_follows() {
        let ask = || heard(F, sync());
        let done = || said(F, Message::Sync);
        let both_pinged = || [said(F, ping()), said(G, ping())];
        let table = [
            (vec![ask(), done()], false),
            (
                both_pinged()
                    .into_iter()
                    .chain([ask(), heard(F, ping()), heard(G, ping()), done()])
                    .collect(),
                false,
            ),
            ([ask()].into_iter().chain(both_pinged()).chain([heard(G, ping()), done()]).collect(), false),
            (
                [ask()]
                    .into_iter()
                    .chain(both_pinged())
                    .chain([heard(G, ping()), heard(F, ping()), done()])
                    .collect(),
                true,
            ),
            (vec![ask(), said(F, proposal(1)), heard(F, ack(1)), heard(G, ack(1)), done()], true),
            (vec![said(F, proposal(1)), ask(), heard(F, ack(1)), heard(G, ack(1)), done()], false),
            // A ping before UPTODATE is not answered.
            (
                [said(G, ping()), said(G, Message::UpToDate), ask()]
                    .into_iter()
                    .chain(both_pinged())
                    .chain([heard(G, ping()), heard(F, ping()), done()])
                    .collect(),
                true,
            ),
            (vec![said(NodeId(3), Message::Sync)], true),
        ];
        for (number, (story, fine)) in table.into_iter().enumerate() {
            let verdict = tell(story);
            assert_eq!(verdict.is_ok(), fine, "{number}: {verdict:?}");
        }
    }

    #[test]
    fn s10_a_session_is_gone_once_a_quorum_has_shown_that_it_follows() {
        let ask = || heard(F, Message::Revalidate { session: S, timeout_ms: 1000 });
        let answer = |valid| said(F, Message::Revalidated { session: S, valid });
        let pinged = || vec![said(F, ping()), said(G, ping()), heard(G, ping()), heard(F, ping())];
        let acked = || vec![said(F, proposal(1)), heard(F, ack(1)), heard(G, ack(1))];
        assert_eq!(tell(vec![ask(), answer(true)]), Ok(()));
        assert!(tell(vec![ask(), answer(false)]).is_err());
        for (shown, fine) in [(pinged(), true), (acked(), false)] {
            let story = [ask()].into_iter().chain(shown).chain([answer(false)]);
            let verdict = tell(story.collect());
            assert_eq!(verdict.is_ok(), fine, "{verdict:?}");
        }
    }
}
