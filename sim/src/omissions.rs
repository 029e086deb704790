//! What a run leaves out of what its seed stands for: faults, clients, and time. With nothing left out it is the run
//! of the seed; with almost everything left out it is what somebody can read.
//!
//! A fault that is left out is still drawn, and does nothing: all others come when and where they came before, and
//! until it would have struck the run is the same, step by step. Afterwards the world goes its own way, so the same
//! faults may meet it in another state; [`Omissions::shake`] is for trying again in worlds whose network and disks
//! are luckier.
//!
//! As text, omissions are the options with which the program `sim` is told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fault::{Fault, FaultKind, NoSuchName};
use crate::places::ClientId;
use crate::seed::{Rng, Seed};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    /// Of these kinds only faults with these numbers come; of all other kinds every one.
    pub only: BTreeMap<FaultKind, BTreeSet<u32>>,
    /// Clients that never come.
    pub absent: BTreeSet<ClientId>,
    /// When faults and requests end, if earlier than the profile says.
    pub duration: Option<Duration>,
    /// Not zero: latencies, and what a power failure tears, are drawn from other streams.
    pub shake: u64,
}

impl Omissions {
    /// Leaves out every fault of a kind.
    pub fn leave_out(&mut self, kind: FaultKind) {
        self.only.insert(kind, BTreeSet::new());
    }

    /// Leaves out every fault of the kind but this one and those that were kept before.
    pub fn keep(&mut self, fault: Fault) {
        self.only.entry(fault.kind).or_default().insert(fault.number);
    }

    /// Leaves out every fault but these.
    pub fn keep_only(&mut self, faults: &[Fault]) {
        self.only = FaultKind::ALL.iter().map(|&kind| (kind, BTreeSet::new())).collect();
        faults.iter().for_each(|&fault| self.keep(fault));
    }

    /// Whether a fault is left out.
    pub fn omits(&self, fault: Fault) -> bool {
        self.only.get(&fault.kind).is_some_and(|numbers| !numbers.contains(&fault.number))
    }

    /// The faults that are not left out though others of their kinds are.
    pub fn kept(&self) -> impl Iterator<Item = Fault> {
        let kinds = self.only.iter();
        kinds.flat_map(|(&kind, numbers)| numbers.iter().map(move |&number| Fault { kind, number }))
    }

    /// The stream called `name`, where luck is drawn from: another one in a shaken world.
    pub fn luck(&self, seed: Seed, name: &str) -> Rng {
        seed.stream(name, self.shake)
    }
}

impl fmt::Display for Omissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = self.only.iter().filter(|(_, numbers)| numbers.is_empty());
        let kept = self.kept().map(|fault| fault.to_string());
        list(f, "without", left_out.map(|(kind, _)| kind.name().into()))?;
        list(f, "only", kept)?;
        list(f, "absent", self.absent.iter().map(ToString::to_string))?;
        if let Some(duration) = self.duration {
            write!(f, " --duration-ms {}", duration.as_millis())?;
        }
        if self.shake != 0 {
            write!(f, " --shake {}", self.shake)?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, option: &str, words: impl Iterator<Item = String>) -> fmt::Result {
    let words: Vec<String> = words.collect();
    if words.is_empty() { Ok(()) } else { write!(f, " --{option} {}", words.join(",")) }
}

impl FromStr for ClientId {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        let number = text.strip_prefix('c').ok_or(NoSuchName)?;
        number.parse().map(Self).map_err(|_| NoSuchName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_comes() {
        let fault = |kind, number| Fault { kind, number };
        let mut omissions = Omissions::default();
        assert!(!omissions.omits(fault(FaultKind::Kill, 1)));
        omissions.leave_out(FaultKind::Kill);
        omissions.keep(fault(FaultKind::Cut, 2));
        assert!(omissions.omits(fault(FaultKind::Kill, 1)));
        assert!(omissions.omits(fault(FaultKind::Cut, 1)));
        assert!(!omissions.omits(fault(FaultKind::Cut, 2)));
        assert!(!omissions.omits(fault(FaultKind::Power, 1)));
    }

    #[test]
    fn as_text_they_are_options_of_the_program() {
        assert_eq!(Omissions::default().to_string(), "");
        let mut omissions =
            Omissions { duration: Some(Duration::from_millis(1500)), shake: 2, ..Omissions::default() };
        omissions.leave_out(FaultKind::Kill);
        omissions.leave_out(FaultKind::ClockStep);
        omissions.keep(Fault { kind: FaultKind::Cut, number: 4 });
        omissions.keep(Fault { kind: FaultKind::Cut, number: 2 });
        omissions.absent.insert(ClientId(3));
        let text = " --without clock-step,kill --only cut#2,cut#4 --absent c3 --duration-ms 1500 --shake 2";
        assert_eq!(omissions.to_string(), text);
    }
}
