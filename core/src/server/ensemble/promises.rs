//! The epoch files: `acceptedEpoch` and `currentEpoch` become durable one write at a time; and the file that says that
//! data were lost goes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::epochs::{self, ACCEPTED_EPOCH, CURRENT_EPOCH, UNSYNCED};
use crate::store::{DiskOp, Tickets};
use crate::types::Ticket;

/// What is to be durable of what this server says of itself: either epoch, or that it lacks nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// This server follows nobody of an earlier epoch.
    Accepted(i64),
    /// Its history is the one that this epoch begins with.
    Current(i64),
    /// It has all that it ever acknowledged, again.
    Synced,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Promises {
    /// What is durable.
    accepted: i64,
    current: i64,
    asked: VecDeque<Promise>,
    in_flight: Option<(Ticket, Promise)>,
}

impl Promises {
    pub(super) const fn new(accepted: i64, current: i64) -> Self {
        Self { accepted, current, asked: VecDeque::new(), in_flight: None }
    }

    pub(super) const fn accepted(&self) -> i64 {
        self.accepted
    }

    pub(super) const fn current(&self) -> i64 {
        self.current
    }

    /// # Panics
    /// If a promise would be taken back.
    pub(super) fn save(&mut self, promise: Promise) {
        match promise {
            Promise::Accepted(epoch) => assert!(epoch >= self.accepted, "a promise is kept"),
            Promise::Current(epoch) => {
                assert!(epoch >= self.current, "the history's epoch does not go back");
                assert!(epoch <= self.accepted, "nobody's history is of an epoch it has not promised");
            }
            Promise::Synced => {}
        }
        self.asked.push_back(promise);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.in_flight.is_none()
    }

    pub(super) fn owns(&self, ticket: Ticket) -> bool {
        self.in_flight.is_some_and(|(in_flight, _)| in_flight == ticket)
    }

    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        if self.in_flight.is_some() {
            return None;
        }
        let promise = self.asked.pop_front()?;
        let ticket = tickets.issue();
        self.in_flight = Some((ticket, promise));
        let (name, epoch) = match promise {
            Promise::Accepted(epoch) => (ACCEPTED_EPOCH, epoch),
            Promise::Current(epoch) => (CURRENT_EPOCH, epoch),
            Promise::Synced => {
                return Some(DiskOp::Remove { ticket, files: Vec::from([epochs::epoch_file(UNSYNCED)]) });
            }
        };
        let bytes = Bytes::from(epochs::encode(epoch));
        Some(DiskOp::Replace { ticket, file: epochs::epoch_file(name), bytes })
    }

    /// It is durable.
    pub(super) fn on_done(&mut self) -> Promise {
        let (_, promise) = self.in_flight.take().expect("a completion belongs to a promise");
        match promise {
            Promise::Accepted(epoch) => self.accepted = epoch,
            Promise::Current(epoch) => self.current = epoch,
            Promise::Synced => {}
        }
        promise
    }
}
