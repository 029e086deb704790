//! Read-only mode: a member that has looked for a leader for long enough shows what it has to those who ask for no more
//! (PARITY `sess.ro`, `sess.ro.ops`).
//!
//! Its sessions are its own, as local ones are, and end when a leader is found; who had one that all servers know waits
//! until then. It answers reads and keeps watches. What a server lacks that may have lost data nobody can tell, so that
//! one does not begin it.

use core::time::Duration;

use super::{Ensemble, Role};
use crate::config::Config;
use crate::server::requests::is_write;
use crate::server::{CloseReason, Event, Server};
use crate::time::Instant;
use crate::types::OpCode;

/// For this long at least nobody takes the lack of a leader for a partition.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// Whether a member that looks for a leader serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOnly {
    /// Not before then.
    Due(Instant),
    Off,
    On,
}

impl Ensemble {
    /// It looks for a leader, if it has not before.
    pub(super) fn await_read_only(&mut self, config: &Config, now: Instant) {
        let wanted = config.ensemble.as_ref().is_some_and(|ensemble| ensemble.read_only_mode);
        // Across a hole in the log there may be a tree that nobody ever had.
        let is_whole = self.has_data && !self.wants_snapshot;
        if wanted && is_whole && self.read_only == ReadOnly::Off {
            self.read_only = ReadOnly::Due(now + config.tick_time.max(GRACE_MIN));
        }
    }

    pub(super) fn read_only_due(&self) -> Option<Instant> {
        match self.read_only {
            ReadOnly::Due(due) if matches!(self.role, Role::Looking) => Some(due),
            ReadOnly::Due(_) | ReadOnly::Off | ReadOnly::On => None,
        }
    }
}

impl Server {
    /// Whether clients are served that only read, and no others.
    pub(in crate::server) fn is_read_only(&self) -> bool {
        self.ensemble.as_deref().is_some_and(|ensemble| ensemble.read_only == ReadOnly::On)
    }

    /// It has looked for long enough.
    pub(super) fn begin_read_only(&mut self) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if ensemble.read_only_due().is_some_and(|due| due <= now) {
            ensemble.read_only = ReadOnly::On;
            self.sessions.restart(now);
            self.tell(Event::ReadOnlyBegun { zxid: self.tree.last_zxid() });
        }
    }

    /// There is a leader, or will be.
    pub(super) fn end_read_only(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if core::mem::replace(&mut ensemble.read_only, ReadOnly::Off) != ReadOnly::On {
            return;
        }
        for id in self.conns.ids() {
            self.close_by_id(id, CloseReason::ReadOnlyOver);
        }
        self.greetings.clear();
        self.yielded.clear();
        self.sessions.restart(self.now.mono);
    }
}

/// What a server that is read-only refuses (`ReadOnlyRequestProcessor`).
pub(in crate::server) const fn changes_something(op: OpCode) -> bool {
    matches!(op, OpCode::SYNC) || is_write(op) && !matches!(op, OpCode::CLOSE_SESSION)
}
