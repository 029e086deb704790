//! Connections that the core closed and that are still there: until what they are owed is sent, and then until their
//! client has closed its half.
//!
//! The core has forgotten them, so none of its limits holds for them. Here each has its time, and together they have
//! room for so many and so many bytes; beyond it the one goes that would have to go next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zabra_core::time::Instant;
use zabra_core::types::ConnId;

/// How long the client of a closed connection may take nothing of what is left. Most of what a slow client takes it takes
/// from the operating system, which asks for more only now and then.
const STALLED_MAX: Duration = Duration::from_secs(5);

/// How long it may take to close its half once all is sent.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// How long a closed connection may take in all.
const FAREWELL_MAX: Duration = Duration::from_secs(60);

/// So many may leave at a time, and no more than one of so many that there may be: those that come need room, too.
const COUNT_MAX: usize = 1024;
const SHARE: usize = 8;

/// What they may hold together, and the largest of them beyond it.
const BYTES_MAX: usize = 64 << 20;

/// Connections that are leaving.
#[derive(Debug)]
pub(super) struct Leaving {
    conns: BTreeMap<ConnId, Leave>,
    /// When each is to be gone.
    deadlines: BTreeSet<(Instant, ConnId)>,
    count_max: usize,
    /// What all of them hold.
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Leave {
    /// What is not sent yet.
    bytes: usize,
    deadline: Instant,
    last_deadline: Instant,
}

impl Leaving {
    /// None, where there may be `conn_max` connections in all.
    pub(super) fn new(conn_max: usize) -> Self {
        let count_max = (conn_max / SHARE).clamp(1, COUNT_MAX);
        Self { conns: BTreeMap::new(), deadlines: BTreeSet::new(), count_max, bytes: 0 }
    }

    /// A connection was closed, with so many bytes to be sent.
    pub(super) fn enter(&mut self, id: ConnId, bytes: usize, now: Instant) {
        let deadline = now + patience(bytes);
        self.bytes += bytes;
        self.deadlines.insert((deadline, id));
        self.conns.insert(id, Leave { bytes, deadline, last_deadline: now + FAREWELL_MAX });
    }

    /// The operating system took so many bytes of one.
    pub(super) fn sent(&mut self, id: ConnId, bytes: usize, now: Instant) {
        if let Some(leave) = self.conns.get_mut(&id) {
            leave.bytes -= bytes;
            self.bytes -= bytes;
            self.deadlines.remove(&(leave.deadline, id));
            leave.deadline = leave.last_deadline.min(now + patience(leave.bytes));
            self.deadlines.insert((leave.deadline, id));
        }
    }

    /// A connection is gone.
    pub(super) fn gone(&mut self, id: ConnId) {
        if let Some(leave) = self.conns.remove(&id) {
            self.bytes -= leave.bytes;
            self.deadlines.remove(&(leave.deadline, id));
        }
    }

    /// When the next one is to be gone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// One whose time is up.
    pub(super) fn overdue(&self, now: Instant) -> Option<ConnId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|&(_, id)| id)
    }

    /// One that has to go because there are too many: of those that hold something, if it is what they hold. The last
    /// one may hold as much as it likes, which the core has limited.
    pub(super) fn too_many(&self) -> Option<ConnId> {
        if self.conns.len() > self.count_max {
            return self.deadlines.first().map(|&(_, id)| id);
        }
        if self.bytes <= BYTES_MAX {
            return None;
        }
        let mut holding = self.deadlines.iter().filter(|(_, id)| self.conns[id].bytes > 0);
        let (first, another) = (holding.next()?, holding.next());
        another.is_some().then_some(first.1)
    }
}

/// How long a client may do nothing when so many bytes are left for it.
const fn patience(bytes: usize) -> Duration {
    if bytes > 0 { STALLED_MAX } else { LINGER_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(conns: &[(u64, usize)], conn_max: usize) -> Leaving {
        let mut leaving = Leaving::new(conn_max);
        for &(id, bytes) in conns {
            leaving.enter(ConnId(id), bytes, Instant::from_millis(id));
        }
        leaving
    }

    /// Who takes bytes has more time, but not for ever, and who takes none has its time once.
    #[test]
    fn a_connection_that_goes_on_sending_has_more_time() {
        let mut leaving = leaving(&[(1, 1000), (2, 1000)], 100);
        let mut now = Instant::from_millis(2) + STALLED_MAX;
        leaving.sent(ConnId(1), 1, Instant::from_millis(3));
        assert_eq!(leaving.overdue(now), Some(ConnId(2)));
        leaving.gone(ConnId(2));
        let mut sent = 1;
        while leaving.overdue(now).is_none() {
            leaving.sent(ConnId(1), 1, now);
            sent += 1;
            now = now + Duration::from_secs(1);
        }
        assert_eq!(now.since(Instant::from_millis(1)).as_secs(), FAREWELL_MAX.as_secs());
        assert!(sent > 50);
        leaving.gone(ConnId(1));
        assert_eq!((leaving.bytes, leaving.deadline(), leaving.conns.len()), (0, None, 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_so_many_bytes() {
        let mut crowd = leaving(&[(1, 0), (2, 0), (3, 5)], 3 * SHARE);
        assert_eq!(crowd.too_many(), None);
        crowd.enter(ConnId(4), 0, Instant::from_millis(4));
        assert_eq!(crowd.too_many(), Some(ConnId(1)));
        crowd.gone(ConnId(1));
        assert_eq!(crowd.too_many(), None);

        let mut heavy = leaving(&[(1, 0), (2, 1), (3, BYTES_MAX + 1)], 100);
        assert_eq!(heavy.too_many(), Some(ConnId(2)), "one that holds something");
        heavy.gone(ConnId(2));
        assert_eq!(heavy.too_many(), None, "a single one may");
        heavy.enter(ConnId(4), 1, Instant::from_millis(4));
        assert_eq!(heavy.too_many(), Some(ConnId(3)));
        heavy.sent(ConnId(3), 2, Instant::from_millis(5));
        assert_eq!(heavy.too_many(), None);
    }
}
