//! What anybody was told is durable: nothing leaves a server that reflects a transaction which power failures at that
//! moment would take back (D1, D2), not even after a failed synchronisation (D9); and no restart comes back with less than the
//! disk had (D3), because of damage or otherwise (D6).
//!
//! A server that stands alone must have it on its own disk; in an ensemble a quorum of voters must, at the moment at
//! which any server calls it committed, applies it for its clients or tells one of them, and at every moment after
//! that, whatever is truncated or replaced.
//!
//! This holds for reads and watch events as for acknowledged writes: what a client has seen must not be undone. It
//! holds after a restart too: what recovery found in the operating system's cache is not durable for having been
//! read.

use std::collections::BTreeMap;

use zabra_core::types::Zxid;

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::places::NodeId;

/// See the module.
#[derive(Debug, Default)]
pub struct Durability {
    /// The latest transaction that has left any server.
    sent: Zxid,
    /// The latest transaction that is committed and was found to be held by a quorum.
    held: Zxid,
    /// What each disk had for sure when the process on it began.
    found: BTreeMap<NodeId, Zxid>,
}

impl Durability {
    /// The latest transaction that any server of an ensemble relies on.
    pub(super) const fn relied_on(&self) -> Zxid {
        self.held
    }

    /// A server relies on `claim` being there for good.
    fn hold(&mut self, node: NodeId, claim: Zxid, facts: &Facts) -> Result<(), Violation> {
        // What a claim means is never later than the claim, and may take a long way to find.
        if claim <= self.held {
            return Ok(());
        }
        let zxid = facts.chain().meant_by(node, claim);
        if zxid <= self.held {
            return Ok(());
        }
        // A change needs those who were members before it, too.
        for change in facts.configs().changed_within(self.held, zxid) {
            if change.is_logged && !facts.is_held_by(change.before, change.version) {
                let (version, before) = (change.version, change.before);
                return Err(Violation::new(
                    Checker::Durability,
                    format!("{node} relies on {version}, which no quorum of {before} has on its disks"),
                ));
            }
        }
        if !facts.is_held(zxid) {
            return Err(Violation::new(
                Checker::Durability,
                format!("{node} relies on {zxid}, which no quorum has on its disks"),
            ));
        }
        self.held = zxid;
        Ok(())
    }

    fn alone(&mut self, record: &Record) -> Result<(), Violation> {
        match &record.what {
            Observed::Sent { xid, zxid, durable, .. } => {
                if zxid > durable {
                    return Err(Violation::new(
                        Checker::Durability,
                        format!("#{xid} tells of {zxid}, while only {durable} would survive a power failure"),
                    ));
                }
                self.sent = self.sent.max(*zxid);
            }
            Observed::Started { recovered, .. } if *recovered < self.sent => {
                return Err(Violation::new(
                    Checker::Durability,
                    format!("recovered up to {recovered}, and clients were told of {}", self.sent),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn in_ensemble(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Applied { node, zxid, .. } | Observed::Committed { node, zxid }
                if facts.serves(*node) =>
            {
                self.hold(*node, *zxid, facts)
            }
            Observed::Sent { node, zxid, .. } => self.hold(*node, *zxid, facts),
            Observed::Found { node, last, durable } => {
                // What was removed may be back after a power failure, and is not for a process that begins without.
                self.found.insert(*node, *durable.min(last));
                if facts.is_held(self.held) || self.held == Zxid::ZERO {
                    return Ok(());
                }
                Err(Violation::new(
                    Checker::Durability,
                    format!("{node} has {durable} left, and no quorum has {} any more", self.held),
                ))
            }
            Observed::Started { node, recovered, .. } => {
                let found = self.found.get(node).copied().unwrap_or_default();
                if *recovered < found {
                    return Err(Violation::new(
                        Checker::Durability,
                        format!("{node} recovered up to {recovered}, its disk had {found}"),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Check for Durability {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match facts.is_ensemble() {
            false => self.alone(record),
            true => self.in_ensemble(record, facts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, Story, create};
    use super::*;

    #[test]
    fn an_answer_before_the_sync() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.tell(Observed::Sent { node: NODE, xid: 1, zxid: Zxid(2), durable: Zxid(2) });
        story.expect_fine();
        story.tell(Observed::Sent { node: NODE, xid: 1, zxid: Zxid(3), durable: Zxid(2) });
        story.expect_violation(Checker::Durability, "tells of 0x3");
    }

    #[test]
    fn a_start_with_less_than_was_told() {
        let mut check = Durability::default();
        let facts = Facts::default();
        let mut tell = |what| check.observe(&Record { at: Default::default(), what }, &facts);
        tell(Observed::Sent { node: NODE, xid: 1, zxid: Zxid(9), durable: Zxid(9) }).unwrap();
        let violation = tell(Observed::Started { node: NODE, recovered: Zxid(8), mono: 0 }).unwrap_err();
        assert!(violation.what.contains("told of 0x9"), "{violation}");
    }

    #[test]
    fn d2_a_commit_without_a_quorum_of_disks() {
        let mut story = Story::ensemble(3);
        story.serve(NODE);
        story.create_everywhere(1);
        story.synced(0, 1);
        story.tell(Observed::Committed { node: NODE, zxid: Zxid::new(1, 1) });
        story.expect_violation(Checker::Durability, "n0 relies on 0x100000001, which no quorum has");
    }

    #[test]
    fn d2_a_committed_transaction_that_is_cut_from_the_second_disk() {
        let mut story = Story::ensemble(3);
        story.serve(NODE);
        story.create_everywhere(1);
        story.synced(0, 1);
        story.synced(2, 1);
        story.tell(Observed::Committed { node: NODE, zxid: Zxid::new(1, 1) });
        story.expect_fine();
        story.tell(Observed::Found { node: NodeId(1), last: Zxid::ZERO, durable: Zxid::ZERO });
        story.expect_fine();
        story.tell(Observed::Found { node: NodeId(2), last: Zxid::ZERO, durable: Zxid::ZERO });
        story.expect_violation(Checker::Durability, "no quorum has 0x100000001 any more");
    }

    #[test]
    fn d3_a_restart_with_less_than_its_disk_had() {
        let mut story = Story::ensemble(3);
        story.create_everywhere(1);
        story.tell(Observed::Found { node: NODE, last: Zxid::new(1, 1), durable: Zxid::new(1, 1) });
        story.tell(Observed::Started { node: NODE, recovered: Zxid::ZERO, mono: 0 });
        story.expect_violation(Checker::Durability, "its disk had 0x100000001");
    }
}
