//! Every server applies the one history in its order (P6, P20): from the moment it serves, each transaction that it
//! applies is the one that follows the last. While it looks for a leader and is brought up to date it may apply
//! again, jump ahead with a snapshot, or go back to what a leader knows.

use std::collections::BTreeMap;

use zabra_core::server::Role;
use zabra_core::types::Zxid;

use super::chain::hides_past;
use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::places::NodeId;

/// How far a server has come.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    applied: Option<Zxid>,
    serves: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Replicas {
    cursors: BTreeMap<NodeId, Cursor>,
}

impl Check for Replicas {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Started { node, recovered, .. } => {
                let cursor = Cursor { applied: Some(*recovered), serves: !facts.is_ensemble() };
                self.cursors.insert(*node, cursor);
            }
            Observed::RoleTaken { node, standing, .. } => {
                // How far it came while it was brought up to date is told by what it serves.
                let cursor = Cursor { applied: None, serves: standing.role != Role::Looking };
                self.cursors.insert(*node, cursor);
            }
            Observed::RoleLost { node, .. } => {
                self.cursors.insert(*node, Cursor::default());
            }
            Observed::Applied { node, zxid, .. } => {
                let cursor = self.cursors.entry(*node).or_default();
                let before = cursor.applied.replace(*zxid);
                let Some(before) = before.filter(|_| cursor.serves) else { return Ok(()) };
                let follows = match facts.chain().parent(*zxid) {
                    // A snapshot may be named after the beginning of an epoch, which is no transaction.
                    Some(parent) if hides_past(before) => parent < before,
                    Some(parent) => parent == before,
                    None => before < *zxid,
                };
                if !follows {
                    return Err(Violation::new(
                        Checker::Replica,
                        format!("{node} applies {zxid} after {before}, which it does not follow"),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, Story, create};
    use super::*;

    #[test]
    fn a_transaction_left_out() {
        let mut story = Story::begin();
        story.invoke(1, &create("/a"));
        story.invoke(2, &create("/b"));
        story.log(2, 1, create("/a").code(), None);
        story.log(3, 2, create("/b").code(), None);
        story.apply(3);
        story.expect_violation(Checker::Replica, "applies 0x3 after 0x1");
    }

    #[test]
    fn a_transaction_applied_twice() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        let digest = story.judge.model().digest();
        story.tell(Observed::Applied { node: NODE, zxid: Zxid(2), digest });
        story.expect_violation(Checker::Replica, "applies 0x2 after 0x2");
    }
}
