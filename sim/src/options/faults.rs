//! What goes wrong in a run, and how often.

use std::time::Duration;

use crate::fault::{FaultKind, Step};
use crate::seed::Rng;

/// What befalls a server that stands alone. Their order decides what a draw stands for.
pub(super) const LONE_KINDS: &[FaultKind] = &[
    FaultKind::Kill,
    FaultKind::Power,
    FaultKind::Stop,
    FaultKind::Pause,
    FaultKind::Reset,
    FaultKind::HalfOpen,
    FaultKind::Hold,
    FaultKind::SlowReader,
    FaultKind::Stall,
    FaultKind::Full,
    FaultKind::FailedSync,
    FaultKind::ClockStep,
];
/// What befalls an ensemble: all that comes by itself, but for what disks lose, which has draws of its own. Likewise in order.
pub(super) const ALL_KINDS: &[FaultKind] = &[
    FaultKind::Kill,
    FaultKind::Power,
    FaultKind::Stop,
    FaultKind::Pause,
    FaultKind::Reset,
    FaultKind::HalfOpen,
    FaultKind::Hold,
    FaultKind::SlowReader,
    FaultKind::Stall,
    FaultKind::Full,
    FaultKind::FailedSync,
    FaultKind::ClockStep,
    FaultKind::Cut,
    FaultKind::Partition,
    FaultKind::Blackout,
];

/// How often each fault comes: on average once in the given time, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultProfile {
    /// A process is killed; the operating system lives on.
    pub kill: Option<Duration>,
    /// The power of a node fails.
    pub power: Option<Duration>,
    /// A node is stopped in order.
    pub stop: Option<Duration>,
    /// The longest time until a node is started again.
    pub restart_max: Duration,
    /// A node is frozen with all its timers, and later sees all that happened at once.
    pub pause: Option<Duration>,
    /// The longest time for which a node is frozen.
    pub pause_max: Duration,
    /// A link is reset, in the middle of what it carries.
    pub reset: Option<Duration>,
    /// A link falls silent for ever, unknown to both ends.
    pub half_open: Option<Duration>,
    /// Nothing gets through a link for a while, and then everything.
    pub hold: Option<Duration>,
    /// The longest time for which nothing gets through.
    pub hold_max: Duration,
    /// A client stops reading for a while.
    pub slow_reader: Option<Duration>,
    /// A disk does nothing for a while.
    pub stall: Option<Duration>,
    /// The longest time for which a disk does nothing.
    pub stall_max: Duration,
    /// A disk is full for a while.
    pub full: Option<Duration>,
    /// The next synchronisation of a disk fails.
    pub failed_sync: Option<Duration>,
    /// A wall clock is stepped.
    pub clock_step: Option<Duration>,
    /// The way between two nodes is cut for a while.
    pub cut: Option<Duration>,
    /// The nodes are split into groups for a while.
    pub partition: Option<Duration>,
    /// Somebody changes the members of the ensemble.
    pub reconfig: Option<Duration>,
    /// A bit of a log changes; not while another disk has lost something.
    pub rot: Option<Duration>,
    /// A disk is replaced by an empty one; not while another has lost something.
    pub wipe: Option<Duration>,
    /// The longest time for which ways are cut.
    pub cut_max: Duration,
    /// Several nodes go down at once.
    pub blackout: Option<Duration>,
    /// Odds, per million, that something goes wrong at a step that a protocol hangs on.
    pub moment: u32,
    /// The only kind of step that is struck, if not all are.
    pub moment_focus: Option<Step>,
    /// The least time between two such strikes.
    pub moment_pause: Duration,
    /// Odds, per million and restart, that a server has promised an epoch meanwhile of which nobody else knows.
    pub promise: u32,
}

impl FaultProfile {
    /// Which faults there are: none, one kind, or each kind by the toss of a coin. Only these kinds come.
    pub(super) fn draw(rng: &mut Rng, kinds: &[FaultKind]) -> Self {
        let style = rng.below(10);
        let only = *rng.pick(kinds);
        let rate = |rng: &mut Rng, kind: FaultKind, seconds: &[u64]| {
            let (drawn, coin) = (*rng.pick(seconds), rng.chance(400_000));
            let on = match style {
                0 => false,
                1..=4 => kind == only,
                _ => coin,
            };
            (on && kinds.contains(&kind)).then_some(Duration::from_secs(drawn))
        };
        Self {
            kill: rate(rng, FaultKind::Kill, &[2, 5, 15]),
            power: rate(rng, FaultKind::Power, &[2, 5, 15]),
            stop: rate(rng, FaultKind::Stop, &[5, 15]),
            pause: rate(rng, FaultKind::Pause, &[3, 10]),
            reset: rate(rng, FaultKind::Reset, &[1, 5]),
            half_open: rate(rng, FaultKind::HalfOpen, &[2, 10]),
            hold: rate(rng, FaultKind::Hold, &[1, 5]),
            slow_reader: rate(rng, FaultKind::SlowReader, &[2, 5]),
            stall: rate(rng, FaultKind::Stall, &[3, 10]),
            full: rate(rng, FaultKind::Full, &[10, 20]),
            failed_sync: rate(rng, FaultKind::FailedSync, &[10, 20]),
            clock_step: rate(rng, FaultKind::ClockStep, &[2, 10]),
            cut: rate(rng, FaultKind::Cut, &[1, 5, 15]),
            partition: rate(rng, FaultKind::Partition, &[5, 15]),
            blackout: rate(rng, FaultKind::Blackout, &[5, 15]),
            reconfig: None,
            rot: None,
            wipe: None,
            restart_max: Duration::from_millis(*rng.pick(&[10, 1_000, 8_000])),
            pause_max: Duration::from_millis(*rng.pick(&[200, 3_000])),
            hold_max: Duration::from_millis(*rng.pick(&[100, 2_000])),
            stall_max: Duration::from_millis(*rng.pick(&[200, 4_000])),
            cut_max: Duration::from_millis(*rng.pick(&[500, 3_000, 10_000])),
            moment: 0,
            moment_focus: None,
            moment_pause: Duration::ZERO,
            promise: 0,
        }
    }

    /// The average time between two of a kind; none, if it never comes, or not by itself.
    pub(crate) const fn mean(&self, kind: FaultKind) -> Option<Duration> {
        match kind {
            FaultKind::Blackout => self.blackout,
            FaultKind::ClockStep => self.clock_step,
            FaultKind::Cut => self.cut,
            FaultKind::FailedSync => self.failed_sync,
            FaultKind::Full => self.full,
            FaultKind::HalfOpen => self.half_open,
            FaultKind::Hold => self.hold,
            FaultKind::Kill => self.kill,
            FaultKind::Moment => None,
            FaultKind::Partition => self.partition,
            FaultKind::Pause => self.pause,
            FaultKind::Power => self.power,
            FaultKind::Reconfig => self.reconfig,
            FaultKind::Reset => self.reset,
            FaultKind::Rot => self.rot,
            FaultKind::SlowReader => self.slow_reader,
            FaultKind::Stall => self.stall,
            FaultKind::Stop => self.stop,
            FaultKind::Wipe => self.wipe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::seed::Seed;

    #[test]
    fn the_mix_has_runs_without_faults_with_one_kind_and_with_many() {
        type Family = fn(Seed) -> Options;
        let of_ensembles = [ALL_KINDS, &[FaultKind::Rot, FaultKind::Wipe]].concat();
        let families = [(Options::from_seed as Family, LONE_KINDS), (Options::cluster, &of_ensembles)];
        for (family, kinds) in families {
            let comes = |profile: &FaultProfile| -> Vec<FaultKind> {
                FaultKind::ALL.iter().copied().filter(|&kind| profile.mean(kind).is_some()).collect()
            };
            let mixes: Vec<_> = (0..500).map(|seed| comes(&family(Seed(seed)).faults)).collect();
            for wanted in [0, 1, kinds.len() / 2] {
                let is_there = mixes.iter().any(|mix| mix.len() == wanted);
                assert!(is_there, "no run with {wanted} kinds of fault of {}", kinds.len());
            }
            for kind in FaultKind::ALL {
                let alone = mixes.iter().any(|mix| *mix == [*kind]);
                let with_others = mixes.iter().any(|mix| mix.len() > 1 && mix.contains(kind));
                assert_eq!((alone, with_others), (kinds.contains(kind), kinds.contains(kind)), "{kind:?}");
            }
        }
    }
}
