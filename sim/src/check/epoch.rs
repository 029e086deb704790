//! Epochs: at most one server ever leads in one of them (P1); promises and histories never go back to an earlier one,
//! and a history never belongs to a later epoch than the promise (P2); nothing is said of an epoch before the file
//! that says so is durable (D1), nor of the history that an epoch begins with before that history is (D5). A server that
//! comes back is of the epoch that its file names, whatever its log has of a later one: that it has all that this began
//! with, the server alone cannot know.

use std::collections::BTreeMap;

use zabra_core::server::Role;
use zabra_core::types::Zxid;

use super::{Check, Checker, Facts, Violation};
use crate::history::{Kept, Observed, Record};
use crate::node::Standing;
use crate::places::NodeId;

/// See the module.
#[derive(Debug, Default)]
pub struct Epochs {
    leaders: BTreeMap<i64, NodeId>,
    /// The latest promise and the latest history of each server.
    kept: BTreeMap<NodeId, (i64, i64)>,
}

impl Epochs {
    fn on_role(&mut self, node: NodeId, standing: Standing) -> Result<(), Violation> {
        if standing.role != Role::Leading {
            return Ok(());
        }
        let leader = *self.leaders.entry(standing.epoch).or_insert(node);
        if leader != node {
            return Err(Violation::new(
                Checker::Epoch,
                format!("{node} leads in epoch {}, as {leader} does or did", standing.epoch),
            ));
        }
        let (_, current) = self.kept.get(&node).copied().unwrap_or_default();
        if current != standing.epoch {
            return Err(Violation::new(
                Checker::Epoch,
                format!("{node} leads in epoch {} with a history of {current}", standing.epoch),
            ));
        }
        Ok(())
    }

    fn on_accepted(&mut self, node: NodeId, epoch: i64, kept: Kept) -> Result<(), Violation> {
        let (accepted, _) = self.kept.entry(node).or_default();
        if epoch < *accepted {
            let words = format!("{node} promises epoch {epoch} after {accepted}");
            return Err(Violation::new(Checker::Epoch, words));
        }
        *accepted = epoch;
        if kept.accepted < epoch {
            let words = format!("{node} promises epoch {epoch}, its disk has {}", kept.accepted);
            return Err(Violation::new(Checker::Epoch, words));
        }
        Ok(())
    }

    fn on_current(&mut self, node: NodeId, epoch: i64, kept: Kept, facts: &Facts) -> Result<(), Violation> {
        let (accepted, current) = self.kept.entry(node).or_default();
        let wrong = |words: String| {
            Err(Violation::new(Checker::Epoch, format!("{node} begins epoch {epoch} {words}")))
        };
        if epoch < *current {
            return wrong(format!("after {current}"));
        }
        *current = epoch;
        // A promise that was written when the power failed counts, although its server never came to say so.
        *accepted = kept.accepted.max(*accepted);
        if epoch > *accepted {
            return wrong(format!("and promised {accepted}"));
        }
        if kept.current < epoch {
            return wrong(format!(", its disk has {}", kept.current));
        }
        // Transactions of the epoch itself may have been logged already.
        let inherited = facts.chain().meant_by(node, Zxid::new(epoch as u32, 0));
        if kept.durable < inherited {
            return wrong(format!("with a history up to {inherited}, durable is {}", kept.durable));
        }
        if i64::from(kept.last.epoch()) > epoch {
            return wrong(format!("with a history up to {}", kept.last));
        }
        Ok(())
    }
}

impl Check for Epochs {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::RoleTaken { node, standing, .. } => self.on_role(*node, *standing),
            Observed::EpochAccepted { node, epoch, kept } => self.on_accepted(*node, *epoch, *kept),
            Observed::EpochCurrent { node, epoch, kept } => self.on_current(*node, *epoch, *kept, facts),
            Observed::Recovered { node, epoch: Some((named, taken)), .. } if taken > named => {
                let words = format!("{node} comes back to epoch {taken}, its file names {named}");
                Err(Violation::new(Checker::Epoch, words))
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

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn kept(accepted: i64, current: i64) -> Kept {
        Kept { accepted, current, durable: Zxid(5), last: Zxid(5) }
    }

    fn accept(story: &mut Story, node: NodeId, epoch: i64) {
        story.tell(Observed::EpochAccepted { node, epoch, kept: kept(epoch, 0) });
    }

    fn lead(story: &mut Story, node: NodeId, epoch: i64) {
        accept(story, node, epoch);
        story.tell(Observed::EpochCurrent { node, epoch, kept: kept(epoch, epoch) });
        let standing = Standing { role: Role::Leading, epoch, leader: Some(ServerId(1)) };
        story.tell(Observed::RoleTaken { node, standing, mono: 0 });
    }

    #[test]
    fn p1_two_leaders_of_one_epoch() {
        let mut story = Story::begin();
        lead(&mut story, A, 3);
        lead(&mut story, B, 4);
        lead(&mut story, A, 5);
        story.expect_fine();
        lead(&mut story, B, 5);
        story.expect_violation(Checker::Epoch, "n1 leads in epoch 5, as n0 does or did");
    }

    #[test]
    fn p2_a_promise_that_goes_back() {
        let mut story = Story::begin();
        accept(&mut story, A, 3);
        accept(&mut story, A, 2);
        story.expect_violation(Checker::Epoch, "promises epoch 2 after 3");
    }

    #[test]
    fn p2_a_history_of_a_later_epoch_than_the_promise() {
        let mut story = Story::begin();
        story.tell(Observed::EpochCurrent { node: A, epoch: 3, kept: kept(2, 3) });
        story.expect_violation(Checker::Epoch, "and promised 2");
    }

    #[test]
    fn p2_a_promise_written_by_a_process_that_died_counts() {
        let mut story = Story::begin();
        accept(&mut story, A, 2);
        story.tell(Observed::EpochCurrent { node: A, epoch: 3, kept: kept(3, 3) });
        story.expect_fine();
    }

    #[test]
    fn d1_a_promise_that_a_power_failure_would_take_back() {
        let mut story = Story::begin();
        story.tell(Observed::EpochAccepted { node: A, epoch: 3, kept: kept(2, 2) });
        story.expect_violation(Checker::Epoch, "its disk has 2");
    }

    #[test]
    fn d5_a_start_that_makes_the_epoch_of_a_history_later() {
        let mut story = Story::begin();
        let mut recover = |epoch| story.tell(Observed::Recovered { node: A, notices: [].into(), epoch });
        recover(None);
        recover(Some((3, 3)));
        recover(Some((3, 4)));
        story.expect_violation(Checker::Epoch, "comes back to epoch 4, its file names 3");
    }

    #[test]
    fn d5_an_epoch_begun_before_its_history_is_durable() {
        let mut story = Story::begin();
        accept(&mut story, A, 3);
        story.tell(Observed::Found { node: A, last: Zxid(5), durable: Zxid(4) });
        let kept = Kept { accepted: 3, current: 3, durable: Zxid(4), last: Zxid(5) };
        story.tell(Observed::EpochCurrent { node: A, epoch: 3, kept });
        story.expect_violation(Checker::Epoch, "durable is 0x4");
    }
}
