//! Misfortune: when it comes, and how it ends. What it does is in `strikes`.
//!
//! Every kind draws from a stream of its own, and every fault draws the same, whether it strikes or not. So a run that
//! leaves some out has all the others at the same times, with the same targets; see [`crate::omissions`].

use std::time::Duration;

use super::{Event, World};
use crate::check::Violation;
use crate::disk::SyncMode;
use crate::fault::{Drawn, Fault, FaultKind, Harm, Struck};
use crate::history::Observed;
use crate::places::{NodeId, Party};
use crate::seed::Rng;

/// Odds per million that a fault of one node strikes the leader, where there is one.
const AT_LEADER: u32 = 400_000;

/// Where the faults of one kind come from.
#[derive(Clone, Debug)]
pub(super) struct FaultStream {
    pub(super) rng: Rng,
    /// How many there were, those that were left out among them.
    pub(super) count: u32,
}

impl FaultStream {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { rng, count: 0 }
    }
}

impl World {
    /// Schedules the next fault of a kind, if it ever comes.
    pub(super) fn schedule_fault(&mut self, kind: FaultKind) {
        if let Some(mean) = self.options.faults.mean(kind) {
            let pause = self.faults(kind).rng.exponential(mean);
            self.schedule(self.now + pause, Event::Fault { kind });
        }
    }

    pub(super) fn on_fault(&mut self, kind: FaultKind) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        self.schedule_fault(kind);
        // Every fault takes the same draws, whether it finds somebody to strike or not.
        let count = self.nodes.len();
        let FaultStream { rng, count: number } = self.faults(kind);
        *number += 1;
        let fault = Fault { kind, number: *number };
        let node = NodeId(rng.index(count));
        let (share, choice, at_leader) = (rng.below(1_000_000) as u32, rng.bits(), rng.chance(AT_LEADER));
        if self.options.omissions.omits(fault) {
            return Ok(());
        }
        let drawn = Drawn { node, share, choice };
        let node = self.leading().filter(|_| at_leader).unwrap_or(node);
        let harm = self.strike_with(kind, Drawn { node, ..drawn })?;
        self.strike(fault, drawn, harm)
    }

    /// A fault has come, and done what it does; but processes end only now, when that was told.
    pub(super) fn strike(&mut self, fault: Fault, drawn: Drawn, harm: Option<Harm>) -> Result<(), Violation> {
        let at = self.now;
        if let (Some(harm), Some(picture)) = (&harm, self.picture()) {
            picture.fault(at, fault, harm);
        }
        self.struck.push(Struck { fault, at, drawn, harm: harm.clone() });
        let Some(Harm { words, to, down, .. }) = harm else { return Ok(()) };
        self.observe(Observed::Fault { fault: Some(fault), words })?;
        let Some(crash) = down else { return Ok(()) };
        for party in to {
            if let Party::Node(node) = party {
                self.crash(node, crash)?;
                self.schedule_restart(node);
            }
        }
        Ok(())
    }

    /// Starts a process on a node again, some time after the last one ended.
    pub(super) fn schedule_restart(&mut self, id: NodeId) {
        let max = if self.healed { Duration::from_millis(100) } else { self.options.faults.restart_max };
        let node = &mut self.nodes[id.0];
        let delay = node.rng.duration(Duration::from_micros(100), max.max(Duration::from_millis(1)));
        let generation = node.generation;
        self.schedule(self.now + delay, Event::Start { node: id, generation });
    }

    /// Ends what is wrong with a node.
    pub(super) fn heal_node(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id.0];
        node.disk.set_capacity(u64::MAX);
        node.disk.set_sync_mode(SyncMode::Honest);
        node.stalled_until = node.stalled_until.min(now);
        if node.is_down() {
            self.schedule_restart(id);
        }
    }

    pub(super) fn faults(&mut self, kind: FaultKind) -> &mut FaultStream {
        self.fault_streams.get_mut(&kind).expect("every kind has one")
    }
}
