//! What can go wrong, by its name and number; and faults that came: when, to whom, and in words.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::SimTime;
use crate::ending::Crash;
use crate::link::LinkId;
use crate::places::{NodeId, Party};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A wall clock is stepped.
    ClockStep,
    /// A disk fails to synchronise, from now until its power is cycled.
    FailedSync,
    /// A disk is full for a while.
    Full,
    /// A link falls silent for ever.
    HalfOpen,
    /// A link holds everything back for a while.
    Hold,
    /// A process is killed.
    Kill,
    /// A process is frozen for a while.
    Pause,
    /// A node loses its power.
    Power,
    /// A link is reset.
    Reset,
    /// A client does not read for a while.
    SlowReader,
    /// A disk does nothing for a while.
    Stall,
    /// A server is asked to stop.
    Stop,
    /// The way between two nodes is cut for a while, in one direction or both.
    Cut,
    /// The nodes are split into groups that do not hear of each other for a while.
    Partition,
    /// Several nodes, or all, lose their power or their process at once.
    Blackout,
    /// Something goes wrong at a moment that a protocol hangs on: no event of its own, see `world/moments.rs`.
    Moment,
    /// Somebody changes the members of the ensemble.
    Reconfig,
    /// A node loses its power, and its log a bit: in a record that was durable.
    Rot,
    /// A node loses its power, and its disk: it comes back with an empty one.
    Wipe,
}

impl FaultKind {
    /// All there are. A kind's place here names its stream of randomness.
    pub const ALL: &[Self] = &[
        Self::ClockStep,
        Self::FailedSync,
        Self::Full,
        Self::HalfOpen,
        Self::Hold,
        Self::Kill,
        Self::Pause,
        Self::Power,
        Self::Reset,
        Self::SlowReader,
        Self::Stall,
        Self::Stop,
        Self::Cut,
        Self::Partition,
        Self::Blackout,
        Self::Moment,
        Self::Reconfig,
        Self::Rot,
        Self::Wipe,
    ];

    /// What it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blackout => "blackout",
            Self::ClockStep => "clock-step",
            Self::Cut => "cut",
            Self::FailedSync => "failed-sync",
            Self::Full => "full",
            Self::HalfOpen => "half-open",
            Self::Hold => "hold",
            Self::Kill => "kill",
            Self::Moment => "moment",
            Self::Partition => "partition",
            Self::Pause => "pause",
            Self::Power => "power",
            Self::Reconfig => "reconfig",
            Self::Reset => "reset",
            Self::Rot => "rot",
            Self::SlowReader => "slow-reader",
            Self::Stall => "stall",
            Self::Stop => "stop",
            Self::Wipe => "wipe",
        }
    }
}

/// One fault: the `number`-th of its kind in a run, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// Which of the kind.
    pub number: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.kind.name(), self.number)
    }
}

/// A text names no fault, no kind of fault, or no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchName;

impl fmt::Display for NoSuchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faults are called kill#3, clients c0, and kinds of faults:")?;
        FaultKind::ALL.iter().try_for_each(|kind| write!(f, " {}", kind.name()))
    }
}

impl std::error::Error for NoSuchName {}

impl FromStr for FaultKind {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or(NoSuchName)
    }
}

impl FromStr for Fault {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        let (kind, number) = text.split_once('#').ok_or(NoSuchName)?;
        Ok(Self { kind: kind.parse()?, number: number.parse().map_err(|_| NoSuchName)? })
    }
}

/// What a protocol hangs on, by what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An epoch begins: NEWLEADER is acknowledged, a server serves.
    Begin,
    /// Whatever happens all the time: proposals, acknowledgements, syncs.
    Common,
    /// An epoch is proposed and promised.
    Promise,
    /// A learner is brought up to date.
    Synchronize,
}

impl Step {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Begin, Self::Common, Self::Promise, Self::Synchronize];
}

/// What a fault drew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drawn {
    /// A node.
    pub node: NodeId,
    /// A share of the longest time, in millionths.
    pub share: u32,
    /// Decides whatever else there is to choose.
    pub choice: u64,
}

impl Drawn {
    /// Its share of a duration.
    pub(crate) fn part(self, whole: Duration) -> Duration {
        Duration::from_nanos((whole.as_nanos() * u128::from(self.share) / 1_000_000) as u64)
    }
}

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
    /// To these, of which no process ends.
    pub(crate) const fn to_all(kind: FaultKind, to: Vec<Party>, lasts: Duration, words: String) -> Self {
        Self { kind, words, to, lasts, down: None }
    }

    /// To one node, whose process goes on.
    pub(crate) fn to_node(kind: FaultKind, id: NodeId, lasts: Duration, words: String) -> Option<Self> {
        Some(Self::to_all(kind, vec![Party::Node(id)], lasts, words))
    }
}

/// Nodes by their names.
pub(crate) struct Names<'a>(pub(crate) &'a [NodeId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(index, node)| write!(f, "{}{node}", if index == 0 { "" } else { ", " }))
    }
}

/// A link, and whom it connects.
pub(crate) struct Way<'a>(pub(crate) LinkId, pub(crate) &'a [Party]);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(link, ends) = self;
        write!(f, "link {} from {} to {}", link.0, ends[0], ends[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_faults_are_read_as_they_are_written() {
        for &kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let fault = Fault { kind, number: 17 };
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        for wrong in ["", "kill", "kill#", "kill#x", "kil#1", "#1"] {
            assert_eq!(wrong.parse::<Fault>(), Err(NoSuchName), "{wrong}");
        }
    }
}
