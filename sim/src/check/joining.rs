//! How a server comes into an epoch: what it is made to forget was never committed (P14), what it says its history is,
//! is on its disk, and it serves nobody before its leader has said that a quorum follows (P15).
//!
//! | what | what must be true |
//! |---|---|
//! | TRUNC, SNAP | the learner keeps, or is sent, everything of its history that is committed |
//! | the log was cut, a snapshot installed | the history on the disk ends where the server says that it does |
//! | a learner serves | UPTODATE was said to it, of this epoch and on its last link to this leader |

use std::collections::BTreeMap;

use zabra_core::server::Role;
use zabra_core::types::{Message, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::node::Standing;
use crate::places::{NodeId, node_of};

/// What a leader has said to a learner since it announced its epoch.
#[derive(Clone, Copy, Debug)]
struct Announced {
    epoch: i64,
    /// Where the learner's history ended when it promised.
    end: Zxid,
    up_to_date: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Joining {
    /// By leader and learner.
    announced: BTreeMap<(NodeId, NodeId), Announced>,
}

impl Joining {
    fn on_said(
        &mut self,
        leader: NodeId,
        learner: NodeId,
        message: &Message,
        facts: &Facts,
    ) -> Result<(), Violation> {
        match message {
            // Here the learner speaks.
            Message::AckEpoch { .. } => {
                if let Some(announced) = self.announced.get_mut(&(learner, leader)) {
                    announced.end = facts.chain().end(leader);
                }
                Ok(())
            }
            Message::LeaderInfo { epoch, .. } => {
                let announced = Announced { epoch: *epoch, end: Zxid::ZERO, up_to_date: false };
                self.announced.insert((leader, learner), announced);
                Ok(())
            }
            Message::UpToDate => {
                if let Some(announced) = self.announced.get_mut(&(leader, learner)) {
                    announced.up_to_date = true;
                }
                Ok(())
            }
            Message::Trunc { zxid } => {
                let kept = facts.chain().meant_by(learner, *zxid);
                self.forget(leader, learner, ("TRUNC", *zxid), kept, facts)
            }
            Message::Snap { zxid } => self.forget(leader, learner, ("SNAP", *zxid), *zxid, facts),
            _ => Ok(()),
        }
    }

    /// A learner is to have no more than `kept` of its history. Nothing behind that may have been committed before this
    /// epoch. (A later leader may have committed it meanwhile, if it overtook this one; and so may this one, by a quorum
    /// without the learner, between its decision and the end of its turn. It sends that again.)
    fn forget(
        &self,
        leader: NodeId,
        learner: NodeId,
        (order, zxid): (&str, Zxid),
        kept: Zxid,
        facts: &Facts,
    ) -> Result<(), Violation> {
        let Some(announced) = self.announced.get(&(leader, learner)) else { return Ok(()) };
        let bound = facts.committed_before(announced.epoch);
        let mut at = announced.end;
        while at > kept && (at > bound || facts.digest_after(at).is_none()) {
            at = facts.chain().parent(at).unwrap_or_default();
        }
        if at <= kept {
            return Ok(());
        }
        let words = format!("{leader} says {order} {zxid} to {learner}, which has {at}, committed");
        Err(Violation::new(Checker::Joining, words))
    }

    fn on_role(&self, node: NodeId, Standing { role, epoch, leader }: Standing) -> Result<(), Violation> {
        let (Role::Following | Role::Observing, Some(leader)) = (role, leader) else { return Ok(()) };
        let led = |said: &Announced| said.epoch == epoch && said.up_to_date;
        let said = match role {
            // A follower may have said so, too.
            Role::Observing => self.announced.iter().any(|(&(_, to), said)| to == node && led(said)),
            Role::Following | Role::Leading | Role::Looking => {
                self.announced.get(&(node_of(leader), node)).is_some_and(led)
            }
        };
        if said {
            return Ok(());
        }
        let words = format!("{node} serves in epoch {epoch} before {} says UPTODATE", node_of(leader));
        Err(Violation::new(Checker::Joining, words))
    }
}

impl Check for Joining {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Said { node, to, message, .. } => self.on_said(*node, *to, message, facts),
            Observed::RoleTaken { node, standing, .. } => self.on_role(*node, *standing),
            Observed::Rewound { node, last, .. } => {
                let end = facts.chain().end(*node);
                if end == *last {
                    return Ok(());
                }
                let words = format!("{node} goes on behind {last}, its disk ends with {end}");
                Err(Violation::new(Checker::Joining, words))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::ServerId;

    use super::*;
    use crate::check::testing::Story;
    use crate::history::Rewind;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);

    /// All three have two transactions of epoch 1; the first of them is committed.
    fn begin() -> Story {
        let mut story = Story::ensemble(3);
        story.create_everywhere(2);
        (0..3).for_each(|node| story.synced(node, 2));
        story.serve(NodeId(2));
        story.tell(Observed::Committed { node: NodeId(2), zxid: Zxid::new(1, 1) });
        story
    }

    fn info(epoch: i64) -> Message {
        Message::LeaderInfo { epoch, protocol_version: 0x10000 }
    }

    #[test]
    fn p14_a_learner_is_not_to_forget_what_was_committed() {
        let story = begin();
        let facts = story.judge.facts();
        let (first, second) = (Zxid::new(1, 1), Zxid::new(1, 2));
        type Order = fn(Zxid) -> Message;
        let orders: [Order; 2] = [|zxid| Message::Trunc { zxid }, |zxid| Message::Snap { zxid }];
        for order in orders {
            let mut joining = Joining::default();
            let promise = Message::AckEpoch { last_zxid: second, current_epoch: 1 };
            joining.on_said(L, F, &info(2), facts).unwrap();
            joining.on_said(F, L, &promise, facts).unwrap();
            assert_eq!(joining.on_said(L, F, &order(second), facts), Ok(()));
            assert_eq!(joining.on_said(L, F, &order(first), facts), Ok(()));
            let violation = joining.on_said(L, F, &order(Zxid::ZERO), facts).unwrap_err();
            assert!(violation.what.contains("0x0 to n1, which has 0x100000001"), "{violation}");
            // Whoever is overtaken may know less than what was committed since.
            joining.on_said(L, F, &info(0), facts).unwrap();
            joining.on_said(F, L, &promise, facts).unwrap();
            assert_eq!(joining.on_said(L, F, &order(Zxid::ZERO), facts), Ok(()));
        }
    }

    #[test]
    fn p14_a_cut_that_leaves_too_much() {
        let mut story = begin();
        story.tell(Observed::Rewound { node: F, last: Zxid::new(1, 2), how: Rewind::Cut });
        story.expect_fine();
        story.tell(Observed::Rewound { node: F, last: Zxid::new(1, 1), how: Rewind::Cut });
        story.expect_violation(Checker::Joining, "its disk ends with 0x100000002");
    }

    #[test]
    fn p15_a_follower_that_serves_too_early() {
        let facts = Facts::default();
        let follow = |joining: &Joining, epoch| {
            let standing = Standing { role: Role::Following, epoch, leader: Some(ServerId(1)) };
            joining.on_role(F, standing)
        };
        let mut joining = Joining::default();
        assert!(follow(&joining, 1).is_err());
        joining.on_said(L, F, &info(1), &facts).unwrap();
        assert!(follow(&joining, 1).unwrap_err().what.contains("before n0 says UPTODATE"));
        joining.on_said(L, F, &Message::UpToDate, &facts).unwrap();
        assert_eq!(follow(&joining, 1), Ok(()));
        assert!(follow(&joining, 2).is_err(), "another epoch");
        joining.on_said(L, F, &info(1), &facts).unwrap();
        assert!(follow(&joining, 1).is_err(), "another link");
    }
}
