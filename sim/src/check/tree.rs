//! The tree of every server equals the reference after each transaction (T1): data, all stored numbers (T2), owners, and so
//! the set of znodes and their names (C7, S5, T3, T4); whether it came to it by snapshot and log (D3, D4, D6) or by commits.
//! Equality of digests stands for it; the reference computes its own.

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};

/// See the module.
#[derive(Debug)]
pub struct TreeEquality;

impl Check for TreeEquality {
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        if let Observed::Applied { node, zxid, digest } = &record.what {
            let expected = facts.digest_after(*zxid);
            // What is not committed is unknown to the reference; only one that does not serve yet applies it.
            if expected.is_none() && !facts.serves(*node) {
                return Ok(());
            }
            if expected != Some(*digest) {
                return Err(Violation::new(
                    Checker::Tree,
                    format!("n{} has digest {digest:x} after {zxid}, the reference {expected:x?}", node.0),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::{OpCode, Zxid};

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
}
