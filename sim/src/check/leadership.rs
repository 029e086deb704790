//! Who leads is followed (P18): a leader that a quorum has not been heard from for longer than `syncLimit` gives up,
//! whether it can reach anybody or not. Otherwise its clients would be told of the past for as long as they stay.
//!
//! It notices by its own clock, and looks twice in a tick; the bound allows for a clock at half speed, the slowest
//! there is, and for two ticks until it has looked. A learner has been heard from when its leader takes something from
//! it, or lets it in.
//!
//! A learner likewise gives up a leader that it has not heard from for `syncLimit`.

use std::collections::BTreeMap;
use std::time::Duration;

use zabra_core::types::Message;

use super::leaders::Leaders;
use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record};
use crate::places::NodeId;

/// See the module.
#[derive(Debug)]
pub struct Leaderships {
    bound: Duration,
    /// When each leader began to lead, and when it last heard from whom.
    leaders: Leaders<(SimTime, BTreeMap<NodeId, SimTime>)>,
}

const fn bound(tick: Duration, sync_limit: Duration) -> Duration {
    sync_limit.saturating_add(tick.saturating_mul(2)).saturating_mul(2)
}

/// A learner that serves has heard from its leader lately.
///
/// # Errors
/// If that was too long ago.
pub fn still_heard(
    node: NodeId,
    silent: Duration,
    tick: Duration,
    sync_limit: Duration,
) -> Result<(), Violation> {
    if silent <= bound(tick, sync_limit) {
        return Ok(());
    }
    let words = format!("{node} follows on, and has heard nothing of its leader for {silent:?}");
    Err(Violation::new(Checker::Leadership, words))
}

impl Leaderships {
    /// Leaders give up after `sync_limit` of silence, and look every half `tick`.
    pub fn new(tick: Duration, sync_limit: Duration) -> Self {
        Self { bound: bound(tick, sync_limit), leaders: Leaders::default() }
    }

    fn heard(&mut self, leader: NodeId, from: NodeId, at: SimTime) {
        if let Some((_, heard)) = self.leaders.get_mut(leader) {
            heard.insert(from, at);
        }
    }

    fn on_ticked(&self, node: NodeId, now: SimTime, facts: &Facts) -> Result<(), Violation> {
        let Some((since, heard)) = self.leaders.get(node) else { return Ok(()) };
        if now.since(*since) <= self.bound {
            return Ok(());
        }
        let lately = heard.iter().filter(|&(_, &at)| now.since(at) <= self.bound).map(|(&node, _)| node);
        let lately = lately.chain([node]);
        if facts.backs(node, lately.clone()) {
            return Ok(());
        }
        let lately: Vec<NodeId> = lately.collect();
        let words = format!("{node} leads on, and has heard of {lately:?} alone for {:?}", self.bound);
        Err(Violation::new(Checker::Leadership, words))
    }
}

impl Check for Leaderships {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        self.leaders.follow(&record.what, || (record.at, BTreeMap::new()));
        match &record.what {
            Observed::Heard { node, from, .. } => self.heard(*node, *from, record.at),
            Observed::Said { node, to, message, .. } if **message == Message::UpToDate => {
                self.heard(*node, *to, record.at);
            }
            Observed::Ticked { node, .. } => return self.on_ticked(*node, record.at, facts),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use zabra_core::server::Role;
    use zabra_core::types::Zxid;

    use super::*;
    use crate::check::testing::Story;
    use crate::link::LinkId;
    use crate::node::Standing;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);

    /// The leader of three hears of one now and then, for this long; then its clock is looked at after as long again.
    fn lead(heard_for: u64, silent_for: u64) -> Result<(), Violation> {
        let facts = Story::ensemble(3).judge.facts().clone();
        let mut check = Leaderships::new(Duration::from_millis(100), Duration::from_millis(300));
        let mut tell = |ms: u64, what| check.observe(&Record { at: SimTime(ms * 1_000_000), what }, &facts);
        let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
        tell(0, Observed::RoleTaken { node: L, standing, mono: 0 })?;
        for ms in (0..=heard_for).step_by(50) {
            let message = Rc::new(Message::Ack { zxid: Zxid::new(1, 1) });
            tell(ms, Observed::Heard { node: L, from: F, link: LinkId(1), message })?;
            tell(ms, Observed::Ticked { node: L, mono: 0 })?;
        }
        tell(heard_for + silent_for, Observed::Ticked { node: L, mono: 0 })
    }

    #[test]
    fn p18_a_learner_gives_up_that_hears_nothing() {
        let [tick, limit] = [100, 300].map(Duration::from_millis);
        assert_eq!(still_heard(F, Duration::from_secs(1), tick, limit), Ok(()));
        let violation = still_heard(F, Duration::from_millis(1_001), tick, limit).unwrap_err();
        assert_eq!(violation.checker, Checker::Leadership);
    }

    #[test]
    fn p18_a_leader_gives_up_that_no_quorum_is_heard_from() {
        assert_eq!(lead(5_000, 1_000), Ok(()), "a learner may be slow, and a clock");
        assert_eq!(lead(0, 1_000), Ok(()));
        assert!(lead(5_000, 1_001).unwrap_err().what.contains("n0 leads on"));
    }
}
