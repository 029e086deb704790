//! Quotas that were exceeded: what the operator is told of it, and how much that may be.
//!
//! A client that goes on exceeding a quota does so with every write, and one multi may hold thousands. Of each limit
//! one warning is given in an interval, and no more than so many in all; the others are counted, and their number goes
//! with the next one (PARITY `quota.soft`, where ZooKeeper holds back repetitions of the very same text).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Config;
use crate::time::Instant;
use crate::tree::QuotaExceeded;
use crate::types::path;

/// Top-level znodes below which refused writes are counted; of more they are not.
const NAMESPACES_MAX: usize = 1000;

/// Warnings about quotas, and the writes that they refused.
#[derive(Debug)]
pub struct QuotaLog {
    interval: Duration,
    count_max: usize,
    /// When the current interval began.
    since: Option<Instant>,
    /// What was told in it.
    told: Vec<QuotaExceeded>,
    /// How many of those were taken.
    taken: usize,
    /// Occasions of which nothing was told.
    untold: u64,
    /// Writes that were refused, by the first name of the path that has the quota.
    refused: BTreeMap<Box<str>, u64>,
}

impl QuotaLog {
    /// Nothing was exceeded yet.
    pub fn new(config: &Config) -> Self {
        Self {
            interval: config.quota_warning_interval,
            count_max: config.quota_warnings_max,
            since: None,
            told: Vec::new(),
            taken: 0,
            untold: 0,
            refused: BTreeMap::new(),
        }
    }

    /// What is noted from here on happens at `now`.
    pub fn at(&mut self, now: Instant) {
        if !self.told.is_empty() && self.since.is_some_and(|since| now.since(since) < self.interval) {
            return;
        }
        self.since = Some(now);
        self.told.clear();
        self.taken = 0;
    }

    /// A limit was exceeded.
    pub fn note(&mut self, exceeded: QuotaExceeded) {
        if exceeded.hard {
            self.count_refused(&exceeded.limited);
        }
        let same =
            |told: &QuotaExceeded| told.limited == exceeded.limited && told.resource == exceeded.resource;
        if self.told.len() >= self.count_max || self.told.iter().any(same) {
            self.untold += 1;
        } else {
            self.told.push(exceeded);
        }
    }

    fn count_refused(&mut self, limited: &str) {
        let Some(namespace) = path::namespace(limited) else { return };
        if let Some(count) = self.refused.get_mut(namespace) {
            *count += 1;
        } else if self.refused.len() < NAMESPACES_MAX {
            self.refused.insert(namespace.into(), 1);
        }
    }

    /// How many writes were refused, by the first name of the path that has the quota.
    pub fn refused(&self) -> impl Iterator<Item = (&str, u64)> {
        self.refused.iter().map(|(namespace, count)| (&**namespace, *count))
    }

    /// Begins to count them anew.
    pub fn forget_refused(&mut self) {
        self.refused.clear();
    }

    /// The next warning that is due, and how many were left out before it.
    pub fn poll(&mut self) -> Option<(QuotaExceeded, u64)> {
        let exceeded = self.told.get(self.taken)?.clone();
        self.taken += 1;
        Some((exceeded, core::mem::take(&mut self.untold)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::tree::QuotaResource;

    fn log() -> QuotaLog {
        let quota_warning_interval = Duration::from_millis(100);
        QuotaLog::new(&Config { quota_warning_interval, quota_warnings_max: 2, ..Config::default() })
    }

    fn exceeded(path: &str, resource: QuotaResource, usage: i64) -> QuotaExceeded {
        QuotaExceeded { limited: Box::from(path), resource, hard: false, usage, limit: 1 }
    }

    /// PARITY `quota.soft`: once an interval for each limit, no more than so many, and the rest is counted.
    #[test]
    fn quota_soft_warnings_are_few() {
        let mut log = log();
        let count = |usage| exceeded("/a", QuotaResource::Count, usage);
        let bytes = exceeded("/a", QuotaResource::Bytes, 9);
        log.at(Instant::from_millis(1000));
        log.note(count(2));
        assert_eq!(log.poll(), Some((count(2), 0)));
        assert_eq!(log.poll(), None);
        log.at(Instant::from_millis(1050));
        log.note(count(3));
        assert_eq!(log.poll(), None, "told already");
        log.note(bytes.clone());
        assert_eq!(log.poll(), Some((bytes, 1)), "another limit, with what was left out");
        for number in 0..1000 {
            log.note(exceeded(&format!("/{number}"), QuotaResource::Count, 2));
        }
        assert_eq!(log.poll(), None, "there is room for two");
        log.at(Instant::from_millis(1099));
        assert_eq!(log.poll(), None);
        log.at(Instant::from_millis(1100));
        log.note(count(4));
        assert_eq!(log.poll(), Some((count(4), 1000)));
        assert_eq!(log.poll(), None);
    }

    /// The interval begins with the first warning in it, not with the last time that somebody looked.
    #[test]
    fn quota_soft_intervals_begin_with_a_warning() {
        let mut log = log();
        log.at(Instant::from_millis(1000));
        log.at(Instant::from_millis(1090));
        let count = exceeded("/a", QuotaResource::Count, 2);
        log.note(count.clone());
        log.at(Instant::from_millis(1150));
        log.note(count);
        assert!(log.poll().is_some());
        assert_eq!(log.poll(), None);
    }
}
