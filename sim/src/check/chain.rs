//! One committed history (P5, P6, P8, P9, P12). A zxid means one transaction for ever, whoever logs it; the logs of
//! all servers agree on what comes before it; within an epoch transactions are numbered without a gap from 1. What
//! any server calls committed continues what was committed before: then every server's committed transactions are a
//! beginning of the same history, and nothing that was committed is ever left out of it.
//!
//! That two logs with the same transaction agree on everything before it is stronger than what ZooKeeper's
//! specification asks for, and what its protocol gives: a leader brings a follower's log to be its own before
//! anything is appended.
//!
//! A snapshot may be named after the beginning of an epoch, a zxid with counter 0 that is no transaction. What
//! comes before the transaction after it is then not known from that log, and is learned from others.

use std::collections::BTreeMap;

use zabra_core::types::Zxid;

use super::by_zxid::ByZxid;
use super::{Checker, Violation};
use crate::places::NodeId;
use crate::txnlog::Logged;

/// A transaction in the logs.
#[derive(Clone, Copy, Debug)]
struct Entry {
    record: Logged,
    /// What comes before it, where that is known.
    parent: Option<Zxid>,
}

/// Whether a zxid is no transaction, and does not tell which one comes before it: the beginning of an epoch, but for that of
/// the first, which nothing comes before.
pub fn hides_past(zxid: Zxid) -> bool {
    zxid.begins_epoch() && zxid > Zxid::ZERO
}

/// Whether a transaction may come right behind another in a history: it is the next one, or the first of a later epoch.
/// The core has the same rule, which is what is checked with this.
pub fn may_follow(end: Zxid, zxid: Zxid) -> bool {
    let begins = zxid.epoch() > end.epoch() && zxid.counter() == 1;
    zxid.0 == end.0 + 1 || begins
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    entries: ByZxid<Entry>,
    /// Where the history of each server ends.
    ends: BTreeMap<NodeId, Zxid>,
}

impl Chain {
    /// A server appends to its log.
    ///
    /// # Errors
    /// If that is another transaction than elsewhere, or stands behind another one.
    pub fn on_logged(&mut self, node: NodeId, record: Logged) -> Result<(), Violation> {
        let zxid = record.zxid;
        let end = self.ends.insert(node, zxid).unwrap_or_default();
        if !may_follow(end, zxid) {
            return Err(Violation::new(Checker::Chain, format!("{record} is logged after {end} by {node}")));
        }
        // The beginning of an epoch is no transaction, and the first of all has nothing before it.
        let parent = (!hides_past(end)).then_some(end);
        let Some(entry) = self.entries.get_mut(zxid) else {
            self.entries.insert(zxid, Entry { record, parent });
            return Ok(());
        };
        if entry.record != record {
            let other = entry.record;
            return Err(Violation::new(
                Checker::Chain,
                format!("{zxid} means two transactions: {other}, and for {node} {record}"),
            ));
        }
        match (entry.parent, parent) {
            (Some(one), Some(other)) if one != other => Err(Violation::new(
                Checker::Chain,
                format!("{zxid} stands behind {one}, and in the log of {node} behind {other}"),
            )),
            (known, other) => {
                entry.parent = known.or(other);
                Ok(())
            }
        }
    }

    /// A server's history ends somewhere else.
    pub fn on_found(&mut self, node: NodeId, last: Zxid) {
        self.ends.insert(node, last);
    }

    /// Where a server's history ends.
    pub fn end(&self, node: NodeId) -> Zxid {
        self.ends.get(&node).copied().unwrap_or_default()
    }

    /// The head of a transaction that is in a log.
    pub fn logged(&self, zxid: Zxid) -> Option<&Logged> {
        Some(&self.entries.get(zxid)?.record)
    }

    /// What comes before a transaction, where that is known.
    pub fn parent(&self, zxid: Zxid) -> Option<Zxid> {
        self.entries.get(zxid)?.parent
    }

    /// Whether a history that ends with `end` holds a transaction, as far as that is known.
    pub fn leads_to(&self, end: Zxid, zxid: Zxid) -> bool {
        let mut at = end;
        while at > zxid {
            match self.parent(at) {
                Some(parent) => at = parent,
                None => return true,
            }
        }
        at == zxid || hides_past(at)
    }

    /// The transaction that a server means when it says that everything up to `claim` is committed.
    pub fn meant_by(&self, node: NodeId, claim: Zxid) -> Zxid {
        if !claim.begins_epoch() {
            return claim;
        }
        let mut at = self.end(node);
        while at >= claim && at > Zxid::ZERO {
            at = self.parent(at).unwrap_or_default();
        }
        at
    }

    /// The transactions behind `committed` up to `target`, in order.
    ///
    /// # Errors
    /// If `target` does not continue what is committed.
    pub fn path(&self, committed: Zxid, target: Zxid) -> Result<Vec<Logged>, Violation> {
        let mut path = Vec::new();
        let mut at = target;
        while at > committed {
            let Some(entry) = self.entries.get(at) else {
                return Err(Violation::new(
                    Checker::Chain,
                    format!("{at} is in no log, up to {target} committed"),
                ));
            };
            path.push(entry.record);
            at = entry.parent.unwrap_or(committed);
        }
        if at != committed {
            return Err(Violation::new(
                Checker::Chain,
                format!("{target} is called committed and continues {at}, but {committed} is committed"),
            ));
        }
        path.reverse();
        Ok(path)
    }

    /// Forgets what was logged and is not there any more, as only a server that stands alone may.
    pub fn forget_tail(&mut self, committed: Zxid) {
        self.entries.forget_behind(committed);
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::OpCode;

    use super::*;
    use crate::check::testing::logged;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn txn(epoch: u32, counter: u32) -> Logged {
        Logged { checksum: 7, ..logged(Zxid::new(epoch, counter), 1, OpCode::CREATE) }
    }

    fn log(chain: &mut Chain, node: NodeId, txns: &[(u32, u32)]) {
        for &(epoch, counter) in txns {
            chain.on_logged(node, txn(epoch, counter)).unwrap();
        }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Violation>, words: &str) {
        let violation = result.unwrap_err();
        assert!(violation.what.contains(words), "{violation}");
    }

    #[test]
    fn p5_a_zxid_means_one_transaction() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2)]);
        log(&mut chain, B, &[(1, 1)]);
        refused(chain.on_logged(B, Logged { checksum: 8, ..txn(1, 2) }), "means two transactions");
    }

    #[test]
    fn p12_no_gap_within_an_epoch_and_none_at_its_beginning() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2), (3, 1)]);
        refused(chain.on_logged(A, txn(3, 3)), "is logged after");
        let mut chain = Chain::default();
        refused(chain.on_logged(A, txn(2, 2)), "is logged after");
    }

    #[test]
    fn p6_logs_agree_on_what_comes_before() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2), (2, 1)]);
        log(&mut chain, B, &[(1, 1)]);
        // B skips (1, 2), as after a DIFF that begins too late.
        refused(chain.on_logged(B, txn(2, 1)), "stands behind 0x100000002");
    }

    #[test]
    fn p6_what_is_committed_is_continued() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2), (1, 3)]);
        log(&mut chain, B, &[(1, 1), (2, 1)]);
        assert_eq!(chain.path(Zxid::ZERO, Zxid::new(1, 2)).unwrap().len(), 2);
        refused(chain.path(Zxid::new(1, 2), Zxid::new(2, 1)), "continues 0x100000001");
        refused(chain.path(Zxid::new(1, 2), Zxid::new(1, 9)), "is in no log");
        assert!(chain.path(Zxid::new(1, 1), Zxid::new(2, 1)).is_ok());
    }

    #[test]
    fn p14_a_log_that_was_cut_goes_on_differently() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2)]);
        log(&mut chain, B, &[(1, 1), (2, 1)]);
        chain.on_found(A, Zxid::new(1, 1));
        log(&mut chain, A, &[(2, 1)]);
        assert_eq!(chain.parent(Zxid::new(2, 1)), Some(Zxid::new(1, 1)));
    }

    #[test]
    fn the_beginning_of_an_epoch_means_the_history_before_it() {
        let mut chain = Chain::default();
        log(&mut chain, A, &[(1, 1), (1, 2), (2, 1)]);
        assert_eq!(chain.meant_by(A, Zxid::new(2, 0)), Zxid::new(1, 2));
        assert_eq!(chain.meant_by(A, Zxid::new(2, 1)), Zxid::new(2, 1));
        // A snapshot that is named after it tells nothing of what comes before, and does no harm.
        chain.on_found(B, Zxid::new(2, 0));
        log(&mut chain, B, &[(2, 1)]);
        assert_eq!(chain.parent(Zxid::new(2, 1)), Some(Zxid::new(1, 2)));
    }
}
