//! Znodes that the server removes by itself: containers that are no longer used, TTL nodes that are too old.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Tree;
use super::node::Node;
use crate::time::WallTime;
use crate::types::NodeKind;

impl Tree {
    /// At most `limit` znodes that may go now; whether they do is decided in the order of transactions.
    ///
    /// A container goes once it has had a child and has none, or has had none for longer than `max_never_used`.
    /// A TTL node goes when it has no child and was not set for longer than its TTL.
    pub fn expired(&self, now: WallTime, max_never_used: Option<Duration>, limit: usize) -> Vec<Box<str>> {
        let never_used = max_never_used.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let containers = self.containers.iter().map(|&slot| self.nodes.get(slot)).filter(|node| {
            node.children().is_empty() && (node.cversion() > 0 || is_older(node, now, never_used))
        });
        let ttls = self.ttls.iter().map(|&slot| self.nodes.get(slot)).filter(|node| {
            let ttl = match self.kind_of(node.owner) {
                NodeKind::Ttl(ttl) => ttl,
                NodeKind::Container | NodeKind::Ephemeral | NodeKind::Persistent => 0,
            };
            node.children().is_empty() && is_older(node, now, ttl)
        });
        containers.chain(ttls).take(limit).map(|node| node.path.clone()).collect()
    }
}

/// Whether the data is older than `age` milliseconds; an age of 0 is never reached.
fn is_older(node: &Node, now: WallTime, age: i64) -> bool {
    age != 0 && now.0.saturating_sub(node.mtime.0) > age
}
