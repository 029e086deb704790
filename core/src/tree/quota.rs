//! Quotas: how many znodes and bytes a subtree may have, and has.
//!
//! For a path P the limits are the data of `/zookeeper/quota<P>/zookeeper_limits` and the usage is that of
//! `zookeeper_stats` beside it. Usage is kept in place, as a part of applying whatever changed it: no zxid, no
//! version, no watch, and no part in the digest.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::Tree;
use super::node::Node;
use crate::types::path::{self, QUOTA};

/// Name of the node with the limits.
const LIMITS: &str = "zookeeper_limits";
/// Name of the node with the usage.
const STATS: &str = "zookeeper_stats";

/// A limit that a write would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The path that has the quota.
    pub limited: Box<str>,
    /// What there would be too much of.
    pub resource: QuotaResource,
    /// Whether the write is to be refused; otherwise it is worth a warning.
    pub hard: bool,
    /// How much there would be.
    pub usage: i64,
    /// How much there may be.
    pub limit: i64,
}

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaResource {
    /// Bytes of data.
    Bytes,
    /// Znodes.
    Count,
}

/// As ZooKeeper words it.
impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (current, limit) = match self.resource {
            QuotaResource::Bytes => ("bytes", "Byte"),
            QuotaResource::Count => ("count", "Count"),
        };
        let kind = if self.hard { "hard" } else { "soft" };
        write!(
            f,
            "Quota exceeded: {} [current {current}={}, {kind}{limit}Limit={}]",
            self.limited, self.usage, self.limit
        )
    }
}

/// Sums of quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaTotals {
    /// Znodes that there may be.
    pub count_limit: i64,
    /// Bytes that there may be.
    pub bytes_limit: i64,
    /// Znodes.
    pub count_usage: i64,
    /// Bytes.
    pub bytes_usage: i64,
}

/// Limits or usage, as the quota nodes hold them in text: `count=5,bytes=100=;byteHardLimit=200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsTrack {
    /// Znodes, the top included; as a limit, a soft one. -1: not set.
    pub count: i64,
    /// Bytes of data; as a limit, a soft one. -1: not set.
    pub bytes: i64,
    /// Every other key, the hard limits among them.
    others: BTreeMap<Box<str>, i64>,
}

impl StatsTrack {
    /// Of this many znodes and bytes.
    pub const fn new(count: i64, bytes: i64) -> Self {
        Self { count, bytes, others: BTreeMap::new() }
    }

    /// Reads the text. What makes no sense is left out: a Java server would stop at it, but a client can write
    /// anything here.
    pub fn parse(text: &[u8]) -> Self {
        let mut track = Self::new(-1, -1);
        for pair in String::from_utf8_lossy(text).split([',', ';']) {
            let mut parts = pair.split('=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            // A trailing "=" is there so that readers of old releases, which know only ",", stop in time; with
            // nothing behind it in this pair it is no value.
            let value = match value {
                "" if parts.all(str::is_empty) => continue,
                "" => -1,
                number => match number.parse() {
                    Ok(number) => number,
                    Err(_) => continue,
                },
            };
            match key {
                "bytes" => track.bytes = value,
                "count" => track.count = value,
                other => {
                    track.others.insert(other.into(), value);
                }
            }
        }
        track
    }

    /// The limit on znodes that is enforced; -1: none.
    pub fn count_hard_limit(&self) -> i64 {
        self.others.get("countHardLimit").copied().unwrap_or(-1)
    }

    /// The limit on bytes that is enforced; -1: none.
    pub fn byte_hard_limit(&self) -> i64 {
        self.others.get("byteHardLimit").copied().unwrap_or(-1)
    }

    /// The text as a node's data.
    pub fn to_data(&self) -> Box<[u8]> {
        let mut text = String::new();
        write!(text, "{self}").expect("writing to a string cannot fail");
        text.into_bytes().into_boxed_slice()
    }
}

impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.count, self.bytes)?;
        if !self.others.is_empty() {
            f.write_char('=')?;
        }
        for (key, value) in &self.others {
            write!(f, ";{key}={value}")?;
        }
        Ok(())
    }
}

/// The paths that have a quota.
#[derive(Debug, Default)]
pub(super) struct QuotaSet {
    /// By the path as [`squeeze`]d; never the root, whose quota has no effect.
    by_path: BTreeMap<Box<str>, QuotaNodes>,
}

/// Where a quota's nodes are.
#[derive(Debug)]
struct QuotaNodes {
    limits: Box<str>,
    stats: Box<str>,
}

impl QuotaSet {
    pub(super) fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Whether creating or deleting `path` can matter to quotas at all.
    pub(super) fn may_concern(&self, path: &str) -> bool {
        !self.by_path.is_empty() || path.starts_with(QUOTA)
    }

    fn add(&mut self, limited: &str) {
        let limited = squeeze(limited);
        if &*limited != path::ROOT {
            let limits = [QUOTA, &limited, "/", LIMITS].concat().into();
            let stats = [QUOTA, &limited, "/", STATS].concat().into();
            self.by_path.insert(limited.into(), QuotaNodes { limits, stats });
        }
    }

    fn remove(&mut self, limited: &str) {
        self.by_path.remove(&*squeeze(limited));
    }

    /// The quota that `path` falls under: of several on the way up, the nearest alone.
    fn nearest(&self, path: &str) -> Option<(&str, &QuotaNodes)> {
        if self.by_path.is_empty() {
            return None;
        }
        let squeezed = squeeze(path);
        let mut path = &*squeezed;
        loop {
            if let Some((limited, quota)) = self.by_path.get_key_value(path) {
                return Some((limited, quota));
            }
            path = path::parent(path)?;
        }
    }
}

/// The path without names that are only blanks: ZooKeeper's quota lookup skips them, and puts a `/` in front.
fn squeeze(path: &str) -> Cow<'_, str> {
    let is_blank = |name: &str| name.chars().all(|c| c <= ' ');
    let is_plain = path.strip_prefix('/').is_some_and(|rest| !rest.split('/').any(is_blank));
    if is_plain {
        return Cow::Borrowed(path);
    }
    let mut squeezed = String::new();
    for name in path.split('/').filter(|name| !is_blank(name)) {
        squeezed.push('/');
        squeezed.push_str(name);
    }
    if squeezed.is_empty() {
        squeezed.push('/');
    }
    Cow::Owned(squeezed)
}

impl Tree {
    /// Limits that a write at `path` would exceed, of the quota it falls under: a create if `old_data_len` is `None`,
    /// else setData. A hard one is the last: what it refuses exceeds nothing else. Looks at the usage as applied, so
    /// writes in flight may exceed a limit together, as in ZooKeeper.
    pub fn quota_check(
        &self,
        path: &str,
        old_data_len: Option<usize>,
        new_data_len: usize,
    ) -> Vec<QuotaExceeded> {
        let Some((limited, quota)) = self.quotas.nearest(path) else { return Vec::new() };
        let Some(limits) = self.track(&quota.limits) else { return Vec::new() };
        let Some(usage) = self.track(&quota.stats) else { return Vec::new() };
        let count_more = i64::from(old_data_len.is_none());
        let bytes_more = new_data_len as i64 - old_data_len.unwrap_or(0) as i64;
        let mut found = Vec::new();
        for (resource, usage, more, soft, hard) in [
            (QuotaResource::Count, usage.count, count_more, limits.count, limits.count_hard_limit()),
            (QuotaResource::Bytes, usage.bytes, bytes_more, limits.bytes, limits.byte_hard_limit()),
        ] {
            let Some(Excess { hard, usage, limit }) = excess(usage, more, soft, hard) else { continue };
            found.push(QuotaExceeded { limited: limited.into(), resource, hard, usage, limit });
            if hard {
                break;
            }
        }
        found
    }

    /// What all quotas below each top-level znode come to: limits, of which a hard one stands in for the soft one, and
    /// usage (PARITY `quota.metrics`).
    pub fn quota_totals(&self) -> BTreeMap<&str, QuotaTotals> {
        let mut totals: BTreeMap<&str, QuotaTotals> = BTreeMap::new();
        for (limited, nodes) in &self.quotas.by_path {
            let Some(namespace) = path::namespace(limited) else { continue };
            let total = totals.entry(namespace).or_default();
            let limit = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
            if let Some(limits) = self.track(&nodes.limits) {
                let count = limit(limits.count_hard_limit(), limits.count);
                total.count_limit = total.count_limit.saturating_add(count);
                let bytes = limit(limits.byte_hard_limit(), limits.bytes);
                total.bytes_limit = total.bytes_limit.saturating_add(bytes);
            }
            if let Some(usage) = self.track(&nodes.stats) {
                total.count_usage = total.count_usage.saturating_add(usage.count);
                total.bytes_usage = total.bytes_usage.saturating_add(usage.bytes);
            }
        }
        totals
    }

    /// Limits or usage in the node at `path`.
    fn track(&self, path: &str) -> Option<StatsTrack> {
        self.node(path).map(|node| StatsTrack::parse(node.data().unwrap_or_default()))
    }

    /// Counts in a znode that was created with so many bytes.
    pub(super) fn quota_after_create(&mut self, path: &str, bytes: usize) {
        if let Some((limited, name)) = quota_node(path) {
            if name == LIMITS {
                self.quotas.add(limited);
            } else if name == STATS {
                self.quota_recount(limited);
            }
        }
        self.quota_add(path, bytes as i64, 1);
    }

    /// Counts out a znode that was deleted.
    pub(super) fn quota_after_delete(&mut self, node: &Node) {
        if let Some((limited, name)) = quota_node(&node.path)
            && name == LIMITS
        {
            self.quotas.remove(limited);
        }
        self.quota_add(&node.path, -(node.data_len() as i64), -1);
    }

    /// Adds to the usage of the quota that `path` falls under, if there is one.
    pub(super) fn quota_add(&mut self, path: &str, bytes: i64, count: i64) {
        let Some((_, quota)) = self.quotas.nearest(path) else { return };
        // Limits without a usage node count nothing; its creation will count everything.
        let Some(slot) = self.find(&quota.stats) else { return };
        let mut usage = StatsTrack::parse(self.nodes.get(slot).data.as_deref().unwrap_or_default());
        usage.count = usage.count.wrapping_add(count);
        usage.bytes = usage.bytes.wrapping_add(bytes);
        self.quota_store(slot, &usage);
    }

    /// Counts the subtree at `limited` from scratch; the empty path is the root.
    fn quota_recount(&mut self, limited: &str) {
        let Some(slot) = self.find(&[QUOTA, limited, "/", STATS].concat()) else { return };
        let top = self.find(if limited.is_empty() { path::ROOT } else { limited });
        let (mut count, mut bytes) = (0, 0);
        let mut pending: Vec<u32> = top.into_iter().collect();
        while let Some(slot) = pending.pop() {
            let node = self.nodes.get(slot);
            count += 1;
            bytes += node.data_len() as i64;
            pending.extend_from_slice(node.children());
        }
        self.quota_store(slot, &StatsTrack::new(count, bytes));
    }

    /// Replaces the text in a usage node.
    fn quota_store(&mut self, slot: u32, usage: &StatsTrack) {
        let data = usage.to_data();
        self.before_change(slot);
        let node = self.nodes.get_mut(slot);
        self.data_size = self.data_size + data.len() as u64 - node.data_len() as u64;
        node.data = Some(data);
    }

    /// Finds every quota of a tree that was loaded, and counts its usage.
    pub(super) fn quota_setup(&mut self) {
        let Some(top) = self.find(QUOTA) else { return };
        let mut limited: Vec<Box<str>> = Vec::new();
        let mut pending = vec![top];
        while let Some(slot) = pending.pop() {
            let node = self.nodes.get(slot);
            pending.extend_from_slice(node.children());
            if node.children().is_empty()
                && let Some((path, name)) = quota_node(&node.path)
                && name == LIMITS
            {
                limited.push(path.into());
            }
        }
        // Usage nodes may themselves be counted: an order that does not depend on slots makes replicas agree.
        limited.sort_unstable();
        for path in limited {
            self.quota_recount(&path);
            self.quotas.add(&path);
        }
    }
}

/// Which path the quota node at `path` is about, and the node's name.
fn quota_node(path: &str) -> Option<(&str, &str)> {
    let limited = path::parent(path)?.strip_prefix(QUOTA)?;
    Some((limited, path::name(path)))
}

/// What is too much, and for which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Excess {
    hard: bool,
    usage: i64,
    limit: i64,
}

/// What adding `more` to `usage` means: a hard limit stands in for the soft one.
fn excess(usage: i64, more: i64, soft: i64, hard: i64) -> Option<Excess> {
    let limit = if hard > -1 { hard } else { soft };
    let usage = usage.saturating_add(more);
    (more != 0 && limit > -1 && usage > limit).then_some(Excess { hard: hard > -1, usage, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `quota.format`: what is read from which text, and how it is written again.
    #[test]
    fn quota_format() {
        for (text, count, bytes, written) in [
            ("", -1, -1, "count=-1,bytes=-1"),
            ("count=5,bytes=100", 5, 100, "count=5,bytes=100"),
            ("bytes=100;count=5", 5, 100, "count=5,bytes=100"),
            (
                "count=5,bytes=100=;byteHardLimit=200;countHardLimit=10",
                5,
                100,
                "count=5,bytes=100=;byteHardLimit=200;countHardLimit=10",
            ),
            ("countHardLimit=10;;,count=+3", 3, -1, "count=3,bytes=-1=;countHardLimit=10"),
            ("count==5,zz=1,aa=-2", -1, -1, "count=-1,bytes=-1=;aa=-2;zz=1"),
            ("count=,bytes,junk=x,=", -1, -1, "count=-1,bytes=-1"),
            ("count=1,count=2", 2, -1, "count=2,bytes=-1"),
        ] {
            let track = StatsTrack::parse(text.as_bytes());
            assert_eq!((track.count, track.bytes), (count, bytes), "{text}");
            assert_eq!(&*track.to_data(), written.as_bytes(), "{text}");
            assert_eq!(StatsTrack::parse(&track.to_data()), track);
        }
        let track = StatsTrack::parse(b"byteHardLimit=200;countHardLimit=10\xff");
        assert_eq!((track.byte_hard_limit(), track.count_hard_limit()), (200, -1));
    }

    #[test]
    fn squeezed_paths() {
        for (path, squeezed) in
            [("/a/b", "/a/b"), ("/", "/"), ("", "/"), ("a", "/a"), ("/ /a/\t", "/a"), ("/a b", "/a b")]
        {
            assert_eq!(squeeze(path), squeezed, "{path:?}");
        }
    }

    /// PARITY `quota.trie`: of nested quotas the deepest counts; names are compared whole.
    #[test]
    fn quota_nearest() {
        let mut quotas = QuotaSet::default();
        for path in ["/a", "/a/b/c", "/", ""] {
            quotas.add(path);
        }
        let nearest = |path| quotas.nearest(path).map(|(_, quota)| &*quota.limits);
        let a = Some("/zookeeper/quota/a/zookeeper_limits");
        assert_eq!(nearest("/a"), a);
        assert_eq!(nearest("/a/b"), a);
        assert_eq!(nearest("/a/b/cc"), a);
        assert_eq!(nearest("/a/b/c/d"), Some("/zookeeper/quota/a/b/c/zookeeper_limits"));
        assert_eq!(nearest("/ab"), None);
        assert_eq!(nearest("/"), None);
    }

    /// PARITY `quota.soft`, `quota.hard`: a limit of 10, usage and addition around it.
    #[test]
    fn quota_limits() {
        let (soft_one, hard_one) = (Some((false, 10)), |limit| Some((true, limit)));
        for (usage, more, soft, hard, expected) in [
            (9, 1, 10, -1, None),
            (10, 1, 10, -1, soft_one),
            (10, 1, 10, 11, None),
            (11, 1, 10, 11, hard_one(11)),
            (11, 1, -1, 11, hard_one(11)),
            (11, 0, 10, 5, None),
            (11, -1, 5, 5, hard_one(5)),
            (100, 1, -1, -1, None),
            (0, 1, 0, -1, Some((false, 0))),
            (0, 1, -1, 0, hard_one(0)),
        ] {
            let expected = expected.map(|(hard, limit)| Excess { hard, usage: usage + more, limit });
            assert_eq!(excess(usage, more, soft, hard), expected, "{usage} {more} {soft} {hard}");
        }
    }
}
