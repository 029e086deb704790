//! Znodes that the server removes by itself: containers that are no longer used, TTL nodes that are too old.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Tree;
use crate::time::WallTime;
use crate::types::{NodeKind, StatPersisted};

impl Tree {
    /// At most `limit` znodes that may go now; whether they do is decided in the order of transactions.
    ///
    /// A container goes once it has had a child and has none, or has had none for longer than `max_never_used`.
    /// A TTL node goes when it has no child and was not set for longer than its TTL.
    pub fn expired(&self, now: WallTime, max_never_used: Option<Duration>, limit: usize) -> Vec<Box<str>> {
        let slots = self.containers.iter().chain(&self.ttls);
        let nodes = slots.map(|&slot| self.nodes.get(slot)).filter(|node| node.children().is_empty());
        let expired = nodes
            .filter(|node| is_expired(self.kind_of(node.owner), &node.stat_persisted(), now, max_never_used));
        expired.take(limit).map(|node| node.path.clone()).collect()
    }
}

/// Whether a znode of this kind and stat may go, if it has no children.
pub fn is_expired(
    kind: NodeKind,
    stat: &StatPersisted,
    now: WallTime,
    max_never_used: Option<Duration>,
) -> bool {
    let age = now.0.saturating_sub(stat.mtime.0);
    match kind {
        NodeKind::Container => {
            let never_used = max_never_used.filter(|limit| !limit.is_zero());
            stat.cversion > 0 || never_used.is_some_and(|limit| age > millis(limit))
        }
        NodeKind::Ephemeral | NodeKind::Persistent => false,
        NodeKind::Ttl(ttl) => ttl != 0 && age > ttl,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
