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
//! | file | what |
//! |---|---|
//! | this one | what is remembered of talks and promises, and what leaders hear |
//! | `learner` | what learners say |
//! | `leader` | what leaders say, and followers that bring an observer up to date |
//!
//! A leader that gives up because somebody has promised a later epoch than its own has heard of such a promise (L5): who
//! comes back into the epoch that it promised is welcome.
//!
//! An acknowledgement counts once its leader looks at it, for the epoch of the link that it came on; the leader's own
//! once its disk has it. Observers never count. A COMMIT in front of NEWLEADER is a part of the history, and says
//! nothing of quorums.

mod leader;
mod learner;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;

use zabra_core::server::Role;
use zabra_core::types::{Message, Zxid};
use zabra_core::zab::leader::StepDownReason;

use super::chain::hides_past;
use super::{Check, Checker, Facts, Violation};
use crate::ending::RoleEnd;
use crate::history::{Kept, Observed, Record};
use crate::link::LinkId;
use crate::places::{NodeId, node_of};
use crate::roster::Roster;

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
    /// Up to where it was committed when somebody said so. A follower may pass that on when the leader is gone, and its disk.
    decided: Zxid,
    /// Whose quorums its epoch needs to begin.
    needed: Vec<Roster>,
}

impl Support {
    /// Whether these are all the quorums that its epoch needs to begin.
    fn has_all(&self, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        self.needed.iter().all(|roster| roster.is_quorum(nodes.clone()))
    }
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
    /// The epoch that each leader proposed last.
    proposed: BTreeMap<NodeId, i64>,
}

/// A message when it leaves a server, and what it is held against.
#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    /// Who says it.
    node: NodeId,
    /// To whom.
    to: NodeId,
    link: LinkId,
    message: &'a Message,
    /// What a power failure would leave of who says it, where that matters.
    kept: Option<Kept>,
    facts: &'a Facts,
}

impl Said<'_> {
    /// It must not be said.
    fn wrong<T>(&self, what: impl Display) -> Result<T, Violation> {
        Err(Violation::new(Checker::Ledger, format!("{} says {what}", self.node)))
    }

    /// Where the history of who says it ends, if it says that it ends with `zxid`.
    fn meaning(&self, zxid: Zxid) -> Zxid {
        self.facts.chain().meant_by(self.node, zxid)
    }
}

/// Whether two ends of a history may be the same; the beginning of an epoch is no transaction, and tells nothing.
fn may_equal(one: Zxid, other: Zxid) -> bool {
    one == other || hides_past(one) || hides_past(other)
}

impl Ledger {
    fn talk(&mut self, link: LinkId) -> &mut Talk {
        self.talks.entry(link).or_default()
    }

    fn support(&mut self, leader: NodeId, epoch: i64) -> &mut Support {
        self.support.entry((leader, epoch)).or_default()
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
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Heard { node, from, link, message } => {
                self.heard(*node, *from, *link, message);
                Ok(())
            }
            Observed::Said { node, to, link, message, kept } => {
                let said = Said { node: *node, to: *to, link: *link, message, kept: *kept, facts };
                match (&**message, kept) {
                    (Message::Ack { .. } | Message::AckEpoch { .. }, Some(kept)) => {
                        self.learner_says(said, *kept)
                    }
                    _ => self.leader_says(said),
                }
            }
            Observed::RoleTaken { node, standing, .. } => {
                match (standing.role, standing.leader) {
                    (Role::Following, Some(leader)) => {
                        self.follows.insert(*node, (standing.epoch, node_of(leader)));
                    }
                    _ => drop(self.follows.remove(node)),
                }
                Ok(())
            }
            Observed::RoleLost {
                node,
                why: RoleEnd::SteppedDown(StepDownReason::EpochOvertaken { promised }),
            } => match self.proposed.get(node).filter(|proposed| promised <= proposed) {
                Some(proposed) => {
                    let words =
                        format!("{node} leads in {proposed}, and gives up for a promise of {promised}");
                    Err(Violation::new(Checker::Ledger, words))
                }
                None => Ok(()),
            },
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
