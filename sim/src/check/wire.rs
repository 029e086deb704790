//! What servers send can be read (P16): answers and watch events by a client, messages by another server. It is looked at
//! when it leaves a server, and once more when another server takes it. What an answer says at which time is looked at where
//! clients take it, see [`crate::client::tap`].

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};

/// See the module.
#[derive(Debug)]
pub struct Wires;

impl Check for Wires {
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Garbled { .. } => Err(Violation::new(Checker::Wire, record.what.to_string())),
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
}
