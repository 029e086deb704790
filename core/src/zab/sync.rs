//! How a learner is brought up to date: DIFF, TRUNC or SNAP (PARITY `sync.choice.*`, `sync.trunc.epoch`).
//!
//! | the learner's last transaction | what it gets |
//! |---|---|
//! | is the leader's last | nothing but the news that it has everything |
//! | is in the leader's memory | what comes behind |
//! | is beyond what is committed | the end of its log is cut, then what comes behind |
//! | is not in the leader's history, but the next one is of the same epoch | likewise, cut to the last common one |
//! | is older than the leader's memory | what comes behind from the log on disk, if that reaches back and is worth it |
//! | anything else | a snapshot |
//!
//! A zxid with counter 0 marks the beginning of an epoch and is no transaction. ZooKeeper's servers claim it as their
//! last one when they have a snapshot named after it; it is never cut off, for it is in nobody's log. Where ZooKeeper
//! sends a difference to whoever claims the beginning of an epoch, here that epoch must be the next one in the history:
//! the leader of an epoch that this history skips may have begun with transactions that are not in it.

use super::tail::{Position, Tail};
use crate::types::Zxid;

/// How to begin with a learner. What is proposed after that goes the usual way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Send what is behind this transaction, from memory.
    Diff {
        /// What the learner has.
        after: Zxid,
    },
    /// Send what is behind this transaction, from the log on disk as far as memory does not reach back.
    Log {
        /// What the learner has.
        after: Zxid,
    },
    /// Send a snapshot.
    Snap,
    /// Have it cut its log behind this transaction, then send what is behind that, from memory.
    Trunc {
        /// What it keeps.
        to: Zxid,
    },
}

/// Chooses for a learner whose last transaction is `peer`. `log_begins` is the first transaction of the oldest log file
/// that the leader has, if it has any; whether there is a gap behind it shows when it is read.
pub fn choose(peer: Zxid, tail: &Tail, log_begins: Option<Zxid>, force_snapshot: bool) -> Sync {
    if force_snapshot {
        return Sync::Snap;
    }
    let begins_epoch = peer.begins_epoch();
    match tail.position(peer) {
        Position::Inside => Sync::Diff { after: peer },
        Position::Beyond if begins_epoch => Sync::Snap,
        Position::Beyond => Sync::Trunc { to: tail.committed() },
        Position::Diverged { next, .. } if next.epoch() != peer.epoch() => Sync::Snap,
        // The marker of an epoch lies between its last predecessor and its first transaction: nothing to cut.
        Position::Diverged { previous, .. } if begins_epoch => Sync::Diff { after: previous },
        Position::Diverged { previous, .. } => Sync::Trunc { to: previous },
        Position::Before if !begins_epoch && log_begins.is_some_and(|first| first <= peer) => {
            Sync::Log { after: peer }
        }
        Position::Before => Sync::Snap,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::*;

    const COUNTERS: u32 = 4;

    fn tail(base: Zxid, entries: &[Zxid], committed: Zxid) -> Tail {
        let mut tail = Tail::new(base, 500, 1 << 20);
        for &zxid in entries {
            tail.push(zxid, Bytes::new());
        }
        tail.commit(committed, None);
        tail
    }

    #[test]
    fn sync_choice_one_of_each() {
        let zxid = Zxid::new;
        let base = zxid(1, 5);
        let history = [zxid(1, 6), zxid(1, 7), zxid(1, 9), zxid(3, 1), zxid(3, 2)];
        let tail = tail(base, &history, zxid(3, 1));
        let table = [
            (zxid(3, 1), Sync::Diff { after: zxid(3, 1) }),
            (zxid(1, 5), Sync::Diff { after: zxid(1, 5) }),
            (zxid(1, 9), Sync::Diff { after: zxid(1, 9) }),
            (zxid(1, 8), Sync::Trunc { to: zxid(1, 7) }),
            (zxid(1, 10), Sync::Snap),
            (zxid(2, 0), Sync::Snap),
            (zxid(2, 1), Sync::Snap),
            (zxid(3, 0), Sync::Diff { after: zxid(1, 9) }),
            (zxid(3, 2), Sync::Trunc { to: zxid(3, 1) }),
            (zxid(4, 0), Sync::Snap),
            (zxid(4, 7), Sync::Trunc { to: zxid(3, 1) }),
            (zxid(1, 4), Sync::Log { after: zxid(1, 4) }),
            (zxid(1, 2), Sync::Log { after: zxid(1, 2) }),
            (zxid(1, 1), Sync::Snap),
            (zxid(0, 0), Sync::Snap),
        ];
        for (peer, expected) in table {
            assert_eq!(choose(peer, &tail, Some(zxid(1, 2)), false), expected, "{peer}");
            assert_eq!(choose(peer, &tail, Some(zxid(1, 2)), true), Sync::Snap, "{peer}");
        }
    }

    #[test]
    fn sync_choice_txnlog_needs_a_log_that_has_what_the_learner_has() {
        let tail = tail(Zxid::new(1, 5), &[], Zxid::new(1, 5));
        for (peer, log_begins, worth_a_try) in [
            (Zxid::ZERO, Some(Zxid(1)), false),
            (Zxid(1), Some(Zxid(1)), true),
            (Zxid(1), Some(Zxid(2)), false),
            (Zxid(1), None, false),
            (Zxid::new(1, 0), Some(Zxid(1)), false),
        ] {
            let expected = if worth_a_try { Sync::Log { after: peer } } else { Sync::Snap };
            assert_eq!(choose(peer, &tail, log_begins, false), expected, "{peer} {log_begins:?}");
        }
    }

    /// Whatever the learner has, doing what is said leaves it with the leader's history: tried for every history of two
    /// epochs that the leader may have and every one that a learner may have beside it.
    #[test]
    fn sync_choice_always_ends_in_the_history_of_the_leader() {
        let histories = || {
            (0..COUNTERS).flat_map(|first| (0..COUNTERS).map(move |second| (first, second))).map(
                |(first, second)| {
                    let first = (1..=first).map(|counter| Zxid::new(1, counter));
                    first.chain((1..=second).map(|counter| Zxid::new(2, counter))).collect::<Vec<_>>()
                },
            )
        };
        let mut seen = [0; 3];
        for leader in histories() {
            for kept in 0..=leader.len() {
                let base = kept.checked_sub(1).map_or(Zxid::ZERO, |index| leader[index]);
                let tail = tail(base, &leader[kept..], *leader.last().unwrap_or(&Zxid::ZERO));
                for learner in histories() {
                    // What both have of the second epoch, they have behind the same first one.
                    let second = |history: &[Zxid]| history.iter().any(|zxid| zxid.epoch() == 2);
                    let first = |history: &[Zxid]| history.iter().filter(|zxid| zxid.epoch() == 1).count();
                    if second(&leader) && second(&learner) && first(&leader) != first(&learner) {
                        continue;
                    }
                    // Nobody leads who lacks what a later epoch began with.
                    if second(&learner) && !second(&leader) && first(&learner) > first(&leader) {
                        continue;
                    }
                    if second(&learner) && !second(&leader) && first(&learner) < first(&leader) {
                        continue;
                    }
                    let peer = *learner.last().unwrap_or(&Zxid::ZERO);
                    let (kept, after) = match choose(peer, &tail, None, false) {
                        Sync::Diff { after } => (learner.clone(), after),
                        Sync::Trunc { to } => {
                            assert!(to == Zxid::ZERO || learner.contains(&to), "{leader:?} {learner:?}");
                            let kept = learner.iter().copied().filter(|&zxid| zxid <= to).collect();
                            (kept, to)
                        }
                        Sync::Snap => {
                            seen[2] += 1;
                            continue;
                        }
                        Sync::Log { .. } => unreachable!("there is no log"),
                    };
                    seen[usize::from(kept.len() != learner.len())] += 1;
                    let synced: Vec<Zxid> =
                        kept.into_iter().chain(tail.behind(after).map(|&(zxid, _)| zxid)).collect();
                    assert_eq!(synced, leader, "the learner had {learner:?}");
                }
            }
        }
        assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
    }
}
