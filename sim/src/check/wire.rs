//! What servers send can be read (P16): answers and watch events by a client, messages by another server. It is looked at
//! when it leaves a server, and once more when another server takes it. What an answer says at which time is looked at where
//! clients take it, see [`crate::client::tap`].
//!
//! And it makes sense to who takes it: no server hangs up on another, or leaves its leader, because of what that said. All
//! of them are right.

use zabra_core::server::HangupReason;
use zabra_core::zab::learner::LostReason;

use super::{Check, Checker, Facts, Violation};
use crate::ending::RoleEnd;
use crate::history::{Observed, Record};

/// See the module.
#[derive(Debug)]
pub struct Wires;

impl Check for Wires {
    #[inline(always)]
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Garbled { .. }
            | Observed::HungUp { why: HangupReason::BadMessage, .. }
            | Observed::RoleLost {
                why:
                    RoleEnd::LeaderLost(
                        LostReason::BadMessage
                        | LostReason::CommittedMissing
                        | LostReason::Diverged
                        | LostReason::NotContiguous,
                    ),
                ..
            } => Err(Violation::new(Checker::Wire, record.what.to_string())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::wire::FrameError;
    use zabra_core::wire::quorum::QuorumDecodeError;

    use super::super::testing::{NODE, Story};
    use super::*;
    use crate::history::Nonsense;
    use crate::places::NodeId;

    #[test]
    fn p16_nonsense_is_noticed_whoever_it_is_for() {
        let table = [
            (None, Nonsense::Frame(FrameError::NegativeLength), "n0 sends nonsense to a client: a frame"),
            (
                Some(NodeId(2)),
                Nonsense::Message(QuorumDecodeError::UnknownType(99)),
                "n0 sends nonsense to n2: a packet of the quorum port has the unknown type 99",
            ),
        ];
        for (to, why, words) in table {
            let mut story = Story::begin();
            story.tell(Observed::Garbled { node: NODE, to, why });
            story.expect_violation(Checker::Wire, words);
        }
    }

    #[test]
    fn p16_nobody_is_left_for_what_it_said() {
        let hang_up = |why| Observed::HungUp { node: NODE, to: NodeId(2), why };
        let lose = |why| Observed::RoleLost { node: NODE, why: RoleEnd::LeaderLost(why) };
        let table = [
            (hang_up(HangupReason::Timeout), None),
            (hang_up(HangupReason::BadMessage), Some("n0: hangs up on n2: BadMessage")),
            (lose(LostReason::LinkDown), None),
            (lose(LostReason::BadMessage), Some("its leader is lost: BadMessage")),
            (lose(LostReason::NotContiguous), Some("its leader is lost: NotContiguous")),
            (lose(LostReason::CommittedMissing), Some("its leader is lost: CommittedMissing")),
        ];
        for (what, words) in table {
            let mut story = Story::begin();
            story.tell(what);
            match words {
                None => story.expect_fine(),
                Some(words) => story.expect_violation(Checker::Wire, words),
            }
        }
    }
}
