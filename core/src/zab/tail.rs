//! The newest part of the history, in memory: what a leader brings learners up to date with.
//!
//! It holds every transaction that was proposed, as the bytes that a PROPOSAL carries, from `base` (exclusive) on
//! without a gap; up to `committed` they are final. What is committed goes from the front once there is more than the
//! limits allow; what is not stays. Every server that follows keeps one, for it may lead next.
//!
//! Invariants: zxids strictly grow; base ≤ committed ≤ last.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::types::Zxid;

/// Where a learner's last transaction stands in the history of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before everything that is in memory.
    Before,
    /// In it: what comes behind is what the learner lacks.
    Inside,
    /// Not in it, though there are older and newer ones: the learner has something that the leader has not.
    Diverged {
        /// The last transaction before it that the leader has.
        previous: Zxid,
        /// The first one behind it.
        next: Zxid,
    },
    /// Behind everything that is committed.
    Beyond,
}

/// What is needed of what is committed.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// What is behind this transaction.
    pub after: Zxid,
    /// For as long as all that is in memory is no more than this.
    pub bytes_max: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Tail {
    base: Zxid,
    entries: VecDeque<(Zxid, Bytes)>,
    committed: Zxid,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail behind `base`, all of which is committed as far as this server is concerned.
    pub const fn new(base: Zxid, count_max: usize, bytes_max: usize) -> Self {
        Self { base, entries: VecDeque::new(), committed: base, bytes: 0, count_max, bytes_max }
    }

    /// The history continues from `base`; what was in memory is of no use any more.
    pub fn reset(&mut self, base: Zxid) {
        self.base = base;
        self.committed = base;
        self.entries.clear();
        self.bytes = 0;
    }

    /// The transaction before the oldest one in memory.
    pub const fn base(&self) -> Zxid {
        self.base
    }

    /// The newest transaction that is final.
    pub const fn committed(&self) -> Zxid {
        self.committed
    }

    /// The newest transaction.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.base, |&(zxid, _)| zxid)
    }

    /// Adds a proposed transaction.
    ///
    /// # Panics
    /// If it is not newer than every one before.
    pub fn push(&mut self, zxid: Zxid, payload: Bytes) {
        assert!(zxid > self.last(), "history order: {zxid} behind {}", self.last());
        self.bytes += payload.len();
        self.entries.push_back((zxid, payload));
    }

    /// Everything up to `zxid` is final. What somebody still needs stays, unless that is too much.
    ///
    /// # Panics
    /// If it is beyond what was proposed.
    pub fn commit(&mut self, zxid: Zxid, keep: Option<Keep>) {
        assert!(zxid <= self.last(), "committed beyond the history: {zxid} > {}", self.last());
        self.committed = self.committed.max(zxid);
        while let Some(&(oldest, ref payload)) = self.entries.front()
            && oldest <= self.committed
        {
            let full = self.entries.len() > self.count_max || self.bytes > self.bytes_max;
            let needed = keep.is_some_and(|keep| oldest > keep.after && self.bytes <= keep.bytes_max);
            if !full || needed {
                break;
            }
            self.bytes -= payload.len();
            self.base = oldest;
            self.entries.pop_front();
        }
    }

    /// What is behind `zxid` never was.
    ///
    /// # Panics
    /// If it is committed.
    pub fn truncate(&mut self, zxid: Zxid) {
        assert!(self.committed <= zxid, "{zxid} is committed and cannot go");
        while let Some(&(newest, ref payload)) = self.entries.back()
            && newest > zxid
        {
            self.bytes -= payload.len();
            self.entries.pop_back();
        }
    }

    /// Where `zxid` stands.
    pub fn position(&self, zxid: Zxid) -> Position {
        if zxid < self.base {
            return Position::Before;
        }
        if zxid > self.committed {
            return Position::Beyond;
        }
        let at = self.first_behind(zxid);
        let previous = at.checked_sub(1).map_or(self.base, |index| self.entries[index].0);
        if previous == zxid {
            return Position::Inside;
        }
        match self.entries.get(at) {
            Some(&(next, _)) => Position::Diverged { previous, next },
            None => unreachable!("committed is in memory or the base, and not before {zxid}"),
        }
    }

    /// The transactions behind `zxid`, oldest first.
    pub fn behind(&self, zxid: Zxid) -> impl Iterator<Item = &(Zxid, Bytes)> + '_ {
        self.entries.range(self.first_behind(zxid)..)
    }

    fn first_behind(&self, zxid: Zxid) -> usize {
        self.entries.partition_point(|&(entry, _)| entry <= zxid)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn tail(base: i64, entries: &[i64], committed: i64) -> Tail {
        let mut tail = Tail::new(Zxid(base), 500, 1 << 20);
        for &zxid in entries {
            tail.push(Zxid(zxid), Bytes::from_static(b"payload"));
        }
        tail.commit(Zxid(committed), None);
        tail
    }

    fn zxids(tail: &Tail, after: i64) -> Vec<i64> {
        tail.behind(Zxid(after)).map(|(zxid, _)| zxid.0).collect()
    }

    #[test]
    fn every_position_is_told() {
        let tail = tail(5, &[6, 7, 10, 12], 10);
        let diverged = |previous, next| Position::Diverged { previous: Zxid(previous), next: Zxid(next) };
        let expected = [
            (4, Position::Before),
            (5, Position::Inside),
            (6, Position::Inside),
            (7, Position::Inside),
            (8, diverged(7, 10)),
            (9, diverged(7, 10)),
            (10, Position::Inside),
            (11, Position::Beyond),
            (12, Position::Beyond),
            (13, Position::Beyond),
        ];
        for (zxid, position) in expected {
            assert_eq!(tail.position(Zxid(zxid)), position, "{zxid}");
        }
        assert_eq!(zxids(&tail, 6), [7, 10, 12]);
        assert_eq!(zxids(&tail, 12), []);
    }

    #[test]
    fn sync_committed_empty_history_begins_and_ends_at_its_base() {
        let tail = tail(5, &[], 5);
        assert_eq!(tail.position(Zxid(5)), Position::Inside);
        assert_eq!(tail.position(Zxid(4)), Position::Before);
        assert_eq!(tail.position(Zxid(6)), Position::Beyond);
        assert_eq!((tail.base(), tail.committed(), tail.last()), (Zxid(5), Zxid(5), Zxid(5)));
    }

    #[test]
    fn what_is_committed_goes_and_what_is_not_stays() {
        let mut tail = Tail::new(Zxid(0), 2, 1 << 20);
        for zxid in 1..=6 {
            tail.push(Zxid(zxid), Bytes::new());
        }
        tail.commit(Zxid(1), None);
        assert_eq!(zxids(&tail, 0), [2, 3, 4, 5, 6], "more than two, but not committed");
        assert_eq!(tail.base(), Zxid(1));
        tail.commit(Zxid(5), Some(Keep { after: Zxid(2), bytes_max: 1 << 22 }));
        assert_eq!(zxids(&tail, 0), [3, 4, 5, 6], "somebody needs them");
        tail.commit(Zxid(5), None);
        assert_eq!(zxids(&tail, 0), [5, 6]);
        tail.truncate(Zxid(5));
        assert_eq!(tail.last(), Zxid(5));
        tail.reset(Zxid(9));
        assert_eq!((tail.base(), tail.committed(), tail.last()), (Zxid(9), Zxid(9), Zxid(9)));
    }

    #[test]
    fn nobody_keeps_more_than_may_be_kept() {
        let mut tail = Tail::new(Zxid(0), 100, 10);
        for zxid in 1..=10 {
            tail.push(Zxid(zxid), Bytes::from_static(b"0123456789"));
        }
        tail.commit(Zxid(10), Some(Keep { after: Zxid(0), bytes_max: 40 }));
        assert_eq!(zxids(&tail, 0), [7, 8, 9, 10]);
        assert_eq!(tail.position(Zxid(3)), Position::Before);
    }
}
