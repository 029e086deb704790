//! When old snapshots and logs are removed (`autopurge.purgeInterval`).
//!
//! All that can go is asked for in one removal. Where that fails, each file is tried on its own before the round is over,
//! so that one which cannot be removed keeps no other, and can be named.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::inventory::Inventory;
use super::op::{DiskDone, DiskError, DiskOp, FileName, Tickets};
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
    /// The files of this round that could not be removed, if it goes file by file.
    stuck: Option<BTreeSet<FileName>>,
}

impl Purger {
    /// A purger that is due at once.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            keep: config.snap_retain_count.max(RETAIN_COUNT_MIN),
            interval: config.purge_interval,
            next: now,
            in_flight: None,
            stuck: None,
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
        let mut files = inventory.purgeable(self.keep);
        if let Some(stuck) = &self.stuck {
            files.retain(|file| !stuck.contains(file));
            files.truncate(1);
        }
        if files.is_empty() {
            self.stuck = None;
        }
        // While it goes file by file the next one is due at once.
        if self.stuck.is_none() {
            self.next = now + interval;
        }
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

    /// Takes note of a completion. Returns the file that could not be removed, if it is known which: it stays in the
    /// inventory and is tried again in the next round. Those that are gone by then do no harm.
    ///
    /// # Panics
    /// If the ticket is not [owned](Self::owns).
    pub fn on_done(
        &mut self,
        done: &DiskDone,
        inventory: &mut Inventory,
        now: Instant,
    ) -> Option<(FileName, DiskError)> {
        assert!(self.owns(done.ticket), "a completion for a removal that is not in flight");
        let (_, mut files) = self.in_flight.take().expect("owned, as just asserted");
        match done.result {
            Ok(_) => {
                for file in &files {
                    inventory.remove(file);
                }
                None
            }
            Err(error) if files.len() == 1 => {
                let file = files.pop().expect("there is one");
                if let Some(stuck) = &mut self.stuck {
                    stuck.insert(file.clone());
                }
                Some((file, error))
            }
            Err(_) => {
                // Which of them it was will show.
                self.stuck = Some(BTreeSet::new());
                self.next = now;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::{listing, snapshot_name};
    use super::super::op::{DirEntry, DiskAnswer};
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
        let failed = DiskDone { ticket: Ticket(1), result: Err(DiskError::Failed(5)) };
        let named = purger.on_done(&failed, &mut inventory, now);
        assert_eq!(named, Some((snapshot_name(Zxid(1)), DiskError::Failed(5))));
        let op = purger.poll_op(now, &inventory, &mut tickets).expect("it is tried again");
        let done = DiskDone { ticket: op.ticket(), result: Ok(DiskAnswer::Done) };
        assert_eq!(purger.on_done(&done, &mut inventory, now), None);
        assert_eq!(inventory.snapshots().len(), 3);
        assert_eq!(purger.deadline(), Some(now + hour));
        assert_eq!(purger.poll_op(now + hour, &inventory, &mut tickets), None);
    }

    /// Goal: what cannot be removed keeps nothing else, and is named, once a round. Method: every choice of those
    /// of four files that the disk refuses.
    #[test]
    fn disk_autopurge_goes_on_behind_a_file_that_cannot_be_removed() {
        let hour = Duration::from_secs(3600);
        let config = Config { purge_interval: Some(hour), ..Config::default() };
        for refused in 0..16_u8 {
            let names: Vec<_> = (1..=7).map(|zxid| snapshot_name(Zxid(zxid))).collect();
            let entries = names.iter().map(|file| DirEntry { file: file.clone(), size: 1 });
            let mut inventory = Inventory::new(entries.collect());
            for file in &names {
                inventory.mark_complete(file, true);
            }
            let is_refused = |file: &FileName| {
                names.iter().zip(0..4).any(|(name, n)| name == file && refused >> n & 1 == 1)
            };
            let mut tickets = Tickets::default();
            let mut now = Instant::from_millis(5);
            let mut purger = Purger::new(&config, now);
            for _ in 0..2 {
                let mut told = Vec::new();
                while let Some(op) = purger.poll_op(now, &inventory, &mut tickets) {
                    let DiskOp::Remove { ticket, files } = op else { panic!("{op:?}") };
                    let fails = files.iter().any(&is_refused);
                    let result = if fails { Err(DiskError::Failed(1)) } else { Ok(DiskAnswer::Done) };
                    told.extend(purger.on_done(&DiskDone { ticket, result }, &mut inventory, now));
                }
                let expected = names.iter().take(4).filter(|file| is_refused(file));
                let expected: Vec<_> = expected.map(|file| (file.clone(), DiskError::Failed(1))).collect();
                assert_eq!(told, expected);
                assert_eq!(inventory.snapshots().len(), 3 + expected.len());
                assert_eq!(purger.deadline(), Some(now + hour));
                now = now + hour;
            }
        }
    }

    #[test]
    fn disk_autopurge_is_off_by_default() {
        let mut purger = Purger::new(&Config::default(), Instant::ZERO);
        assert_eq!(purger.deadline(), None);
        assert_eq!(purger.poll_op(Instant::ZERO, &Inventory::default(), &mut Tickets::default()), None);
    }
}
