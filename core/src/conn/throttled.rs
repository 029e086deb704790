//! Connections that are asked to wait, in the order in which they go on.
//!
//! Each is here once at most, and knows its place, so that it can leave from anywhere: when it has nothing under way any
//! more, or is closed. Those that have nothing under way come first. They wait for no answer that would let them go on,
//! and what keeps them is more than that others ask for much.

use alloc::collections::BTreeMap;

use super::Conn;
use crate::types::ConnId;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whether requests of its own were under way when it came.
    pub busy: bool,
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Throttled {
    waiting: BTreeMap<Place, ConnId>,
    /// How many have come so far.
    come: u64,
}

impl Throttled {
    /// Asks a connection to wait behind its like.
    ///
    /// # Panics
    /// If it waits already.
    pub fn enter(&mut self, conn: &mut Conn) {
        assert_eq!(conn.throttled, None, "a connection waits once");
        self.come += 1;
        let place = Place { busy: !conn.waiting.is_empty(), number: self.come };
        self.waiting.insert(place, conn.id);
        conn.throttled = Some(place);
    }

    /// The connection waits no more, if it did.
    pub fn leave(&mut self, conn: &mut Conn) {
        if let Some(place) = conn.throttled.take() {
            let left = self.waiting.remove(&place);
            assert_eq!(left, Some(conn.id), "a connection that waits is on the list");
        }
    }

    /// Which is the next to go on.
    pub fn first(&self) -> Option<(Place, ConnId)> {
        self.waiting.first_key_value().map(|(&place, &id)| (place, id))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::config::Config;
    use crate::conn::Waiting;
    use crate::time::{Instant, Now, WallTime};
    use crate::types::Zxid;

    fn conn(id: u64, busy: bool) -> Conn {
        let now = Now { mono: Instant::ZERO, wall: WallTime(0) };
        let from = "10.0.0.1:4000".parse().expect("an address");
        let mut conn = Conn::new(ConnId(id), from, &Config::default(), now);
        if busy {
            conn.waiting.push_back(Waiting::Write { zxid: Zxid::ZERO });
        }
        conn
    }

    /// Who has nothing under way goes first, then each in its turn; who left from the midst is not there any more.
    #[test]
    fn each_waits_once_and_leaves_from_anywhere() {
        let mut throttled = Throttled::default();
        let mut conns: Vec<Conn> = (0..6).map(|id| conn(id, id % 2 == 0)).collect();
        for conn in &mut conns {
            throttled.enter(conn);
        }
        throttled.leave(&mut conns[2]);
        throttled.leave(&mut conns[2]);
        throttled.leave(&mut conns[3]);
        throttled.enter(&mut conns[2]);
        assert_eq!(throttled.len(), 5);
        let mut order = Vec::new();
        while let Some((place, id)) = throttled.first() {
            order.push((id.0, place.busy));
            throttled.leave(&mut conns[usize::try_from(id.0).expect("small")]);
        }
        assert_eq!(order, [(1, false), (5, false), (0, true), (4, true), (2, true)]);
        assert!(throttled.is_empty() && conns.iter().all(|conn| conn.throttled.is_none()));
    }
}
