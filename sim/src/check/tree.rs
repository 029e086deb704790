//! The tree of every server equals the reference after each transaction (T1): data, all stored numbers (T2), owners, and so
//! the set of znodes and their names (C7, S5, T3, T4); whether it came to it by snapshot and log (D3, D4, D6) or by commits.
//! Equality of digests stands for it; the reference computes its own.
//!
//! Who proposes a transaction writes down the digest that must come of it. A server that finds another one, at work or while
//! it reads its log, says so.

use zabra_core::recovery::Notice;
use zabra_core::types::Zxid;

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::places::NodeId;

/// See the module.
#[derive(Debug)]
pub struct TreeEquality;

impl TreeEquality {
    fn on_applied(node: NodeId, zxid: Zxid, digest: u64, facts: &Facts) -> Result<(), Violation> {
        let expected = facts.digest_after(zxid);
        // What is not committed is unknown to the reference; only one that does not serve yet applies it.
        if expected.is_none() && !facts.serves(node) {
            return Ok(());
        }
        if expected == Some(digest) {
            return Ok(());
        }
        Err(Violation::new(
            Checker::Tree,
            format!("{node} has digest {digest:x} after {zxid}, the reference {expected:x?}"),
        ))
    }
}

impl Check for TreeEquality {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Applied { node, zxid, digest } => Self::on_applied(*node, *zxid, *digest, facts),
            Observed::DigestMismatch { .. } => Err(Violation::new(Checker::Tree, record.what.to_string())),
            Observed::Recovered { node, notices, .. } => {
                let differs = |notice: &&Notice| matches!(notice, Notice::DigestMismatch { .. });
                match notices.iter().find(differs) {
                    None => Ok(()),
                    Some(notice) => {
                        Err(Violation::new(Checker::Tree, format!("{node} recovered: {notice:?}")))
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::OpCode;

    use super::super::testing::{NODE, Story, create};
    use super::*;

    #[test]
    fn another_tree() {
        let mut story = Story::begin();
        story.invoke(1, &create("/a"));
        story.log(2, 1, OpCode::CREATE, None);
        story.tell(Observed::Applied { node: NODE, zxid: Zxid(2), digest: 42 });
        story.expect_violation(Checker::Tree, "digest 2a after 0x2");
    }

    #[test]
    fn t1_another_tree_than_was_written_down() {
        let mut story = Story::begin();
        story.tell(Observed::DigestMismatch { node: NODE, zxid: Zxid(2), expected: 1, found: 42 });
        story.expect_violation(Checker::Tree, "found digest 2a after 0x2, predicted 1");
    }

    #[test]
    fn d4_another_tree_after_a_restart() {
        let mut story = Story::begin();
        let replayed = Notice::Replayed { txns: 1, skipped: 0, last_zxid: Zxid(2) };
        story.tell(Observed::Recovered {
            node: NODE,
            notices: [Notice::FreshDatabase, replayed.clone()].into(),
            epoch: None,
        });
        story.expect_fine();
        let differs = Notice::DigestMismatch { zxid: Zxid(2), expected: 1, found: 42 };
        let notices = [replayed, differs].into();
        story.tell(Observed::Recovered { node: NODE, notices, epoch: None });
        story.expect_violation(Checker::Tree, "n0 recovered: DigestMismatch");
    }
}
