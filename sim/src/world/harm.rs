//! Faults that came: when, to whom, and in words.

use std::fmt;
use std::time::Duration;

use super::FaultKind;
use crate::clock::SimTime;
use crate::ending::Crash;
use crate::link::{LinkId, NodeId, Party};
use crate::omissions::Fault;

/// What a fault drew: a node, a share of the longest time, and whatever else there is to choose.
pub type Drawn = (NodeId, u32, u64);

/// A fault that was not left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// Which.
    pub fault: Fault,
    /// When it came.
    pub at: SimTime,
    /// The numbers that it drew: what they hit depends on what there is.
    pub drawn: Drawn,
    /// What it did; nothing, if it found nobody to strike.
    pub harm: Option<Harm>,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    /// Which kind of fault it is, or is like, if it is a moment.
    pub kind: FaultKind,
    /// In words.
    pub words: String,
    /// To whom.
    pub to: Vec<Party>,
    /// For how long, where it ends by itself.
    pub lasts: Duration,
    /// How the processes of all these nodes end with it, if they do.
    pub down: Option<Crash>,
}

impl Harm {
    /// To one node, without its end.
    pub(super) fn to_node(kind: FaultKind, id: NodeId, lasts: Duration, words: String) -> Option<Self> {
        Some(Self { kind, words, to: vec![Party::Node(id)], lasts, down: None })
    }
}

/// Nodes by their names.
pub(super) struct Names<'a>(pub(super) &'a [NodeId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(index, node)| write!(f, "{}n{}", if index == 0 { "" } else { ", " }, node.0))
    }
}

/// A link, and whom it connects.
pub(super) struct Way<'a>(pub(super) LinkId, pub(super) &'a [Party]);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link, ends) = self;
        write!(f, "link {} from {} to {}", link.0, ends[0], ends[1])
    }
}
