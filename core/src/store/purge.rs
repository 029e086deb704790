//! When old snapshots and logs are removed (`autopurge.purgeInterval`).

use alloc::vec::Vec;
use core::time::Duration;

use super::inventory::Inventory;
use super::op::{DiskDone, DiskOp, FileName, Tickets};
use crate::config::Config;
use crate::time::Instant;
use crate::types::Ticket;

/// Fewer snapshots than this are never kept; a lower setting is raised to it, as in ZooKeeper.
const RETAIN_COUNT_MIN: usize = 3;

/// Removes old files at start-up and then at every interval, one removal at a time.
#[derive(Debug)]
pub struct Purger {
    keep: usize,
    /// How often; nothing is ever removed without.
    interval: Option<Duration>,
    next: Instant,
    in_flight: Option<(Ticket, Vec<FileName>)>,
}

impl Purger {
    /// A purger that is due at once.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            keep: config.snap_retain_count.max(RETAIN_COUNT_MIN),
            interval: config.purge_interval,
            next: now,
            in_flight: None,
        }
    }

    /// When [`Purger::poll_op`] is next worth calling.
    pub const fn deadline(&self) -> Option<Instant> {
        match (self.interval, &self.in_flight) {
            (Some(_), None) => Some(self.next),
            (None, _) | (_, Some(_)) => None,
        }
    }

    /// The removal that is due, if one is and there is something to remove.
    pub fn poll_op(&mut self, now: Instant, inventory: &Inventory, tickets: &mut Tickets) -> Option<DiskOp> {
        let interval = self.interval?;
        if self.in_flight.is_some() || now < self.next {
            return None;
        }
        self.next = now + interval;
        let files = inventory.purgeable(self.keep);
        if files.is_empty() {
            return None;
        }
        let ticket = tickets.issue();
        self.in_flight = Some((ticket, files.clone()));
        Some(DiskOp::Remove { ticket, files })
    }

    /// Whether nothing is being removed.
    pub const fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Whether `ticket` names the removal in flight.
    pub fn owns(&self, ticket: Ticket) -> bool {
        self.in_flight.as_ref().is_some_and(|(in_flight, _)| *in_flight == ticket)
    }

    /// Takes note of a completion. After a failure the files stay in the inventory and are tried again at the
    /// next interval; those that are gone by then do no harm.
    ///
    /// # Panics
    /// If the ticket is not [owned](Self::owns).
    pub fn on_done(&mut self, done: &DiskDone, inventory: &mut Inventory) {
        assert!(self.owns(done.ticket), "a completion for a removal that is not in flight");
        let (_, files) = self.in_flight.take().expect("owned, as just asserted");
        if done.result.is_ok() {
            for file in &files {
                inventory.remove(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::{listing, snapshot_name};
    use super::super::op::{DiskAnswer, DiskError};
    use super::*;
    use crate::types::Zxid;

    #[test]
    fn disk_autopurge_runs_at_start_and_at_every_interval() {
        let hour = Duration::from_secs(3600);
        let config = Config { purge_interval: Some(hour), snap_retain_count: 1, ..Config::default() };
        let mut tickets = Tickets::default();
        let mut inventory =
            Inventory::new(listing(&["snapshot.1", "snapshot.2", "snapshot.3", "snapshot.4"], 1));
        for zxid in 1..=4 {
            inventory.mark_complete(&snapshot_name(Zxid(zxid)), true);
        }
        let mut now = Instant::from_millis(5);
        let mut purger = Purger::new(&config, now);
        assert_eq!(purger.deadline(), Some(now));
        let files = [snapshot_name(Zxid(1))];
        let op = purger.poll_op(now, &inventory, &mut tickets).expect("three are kept, never one");
        assert_eq!(op, DiskOp::Remove { ticket: Ticket(1), files: files.to_vec() });
        assert_eq!(purger.deadline(), None);
        now = now + hour;
        assert_eq!(purger.poll_op(now, &inventory, &mut tickets), None, "one at a time");
        purger.on_done(&DiskDone { ticket: Ticket(1), result: Err(DiskError::Failed(5)) }, &mut inventory);
        let op = purger.poll_op(now, &inventory, &mut tickets).expect("it is tried again");
        purger.on_done(&DiskDone { ticket: op.ticket(), result: Ok(DiskAnswer::Done) }, &mut inventory);
        assert_eq!(inventory.snapshots().len(), 3);
        assert_eq!(purger.deadline(), Some(now + hour));
        assert_eq!(purger.poll_op(now + hour, &inventory, &mut tickets), None);
    }

    #[test]
    fn disk_autopurge_is_off_by_default() {
        let mut purger = Purger::new(&Config::default(), Instant::ZERO);
        assert_eq!(purger.deadline(), None);
        assert_eq!(purger.poll_op(Instant::ZERO, &Inventory::default(), &mut Tickets::default()), None);
    }
}
