//! What anybody was told is durable: nothing leaves a server that reflects a transaction which a power failure at
//! that moment would take back, and no restart comes back with less than what had left.
//!
//! This holds for reads and watch events as for acknowledged writes: what a client has seen must not be undone. It
//! holds after a restart too: what recovery found in the operating system's cache is not durable for having been
//! read.

use zabra_core::types::Zxid;

use super::{Check, Facts, Violation};
use crate::history::{Observed, Record};

const CHECK: &str = "durability";

/// See the module.
#[derive(Debug, Default)]
pub struct Durability {
    /// The latest transaction that has left any server.
    sent: Zxid,
}

impl Check for Durability {
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Sent { xid, zxid, durable, .. } => {
                if zxid > durable {
                    return Err(Violation::new(
                        CHECK,
                        format!("#{xid} tells of {zxid}, while only {durable} would survive a power failure"),
                    ));
                }
                self.sent = self.sent.max(*zxid);
            }
            Observed::Started { recovered, .. } if *recovered < self.sent => {
                return Err(Violation::new(
                    CHECK,
                    format!("recovered up to {recovered}, and clients were told of {}", self.sent),
                ));
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
    fn an_answer_before_the_sync() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.tell(Observed::Sent { node: NODE, xid: 1, zxid: Zxid(2), durable: Zxid(2) });
        story.expect_fine();
        story.tell(Observed::Sent { node: NODE, xid: 1, zxid: Zxid(3), durable: Zxid(2) });
        story.expect_violation(CHECK, "tells of 0x3");
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
}
