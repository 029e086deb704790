//! What damage in the log means. The whole policy of recovery in one function.
//!
//! Each record that is found is judged by its place behind the one before, and by what lies between the two:
//!
//! | next record | nothing between | torn between | corrupt between | unwritten between |
//! |---|---|---|---|---|
//! | none: the log ends | end | cut | refuse | cut |
//! | not after the one before (repeated, or in the snapshot) | skip | skip | skip | skip |
//! | exactly the one after | apply | apply, said | apply, said | apply, said |
//! | in the batch of what is damaged | apply or refuse, as below | refuse | refuse | leave out |
//! | first of a later epoch, in a later file | apply | apply, said | refuse | refuse |
//! | first of a later epoch, in the same file | apply | refuse | refuse | refuse |
//! | any other | refuse: gap | refuse | refuse | refuse |
//!
//! *Torn* is what a crash leaves: a record that was never finished, so that nobody was told it was there. A server
//! goes on in a new file after a crash, so a torn end is followed by exactly the next record there, or by nothing.
//! *Corrupt* is what was once finished and is not as it was written. Where the next record is exactly the one that
//! is due, nothing can be lost, whatever lies between. An operator who accepts the loss turns every refusal into
//! dropping all that follows.
//!
//! *Unwritten* is what a power failure leaves of an append of several records, a batch, whose sectors reached the disk
//! out of order: a sector that still holds zeros, and behind it records that look finished.
//!
//! ```text
//!  … 5 │ 6 7 8 9 10 11 │                     one append: each record of it says "6"
//!  … 5 │ 6 ··· 8 9 ··  │                     what a power failure may leave: cut behind 6
//!  … 5 │ 6 ··· 8 9 10 11 │ 12 …              12 says "12": it was written after 6..11 were durable: refuse
//! ```
//!
//! Only one append is in flight, so if this one was not completed, it was the last, and nobody was told of any record
//! of it. Every record names the first of its batch: where transaction n is damaged and a later record says that its
//! batch began at n or before, n was in that append too. If all records behind the damage say so, if there is no later
//! file (it would have been created after the append was durable), and if a sector is missing, it is a torn batch,
//! and the log ends before n. Anything that contradicts it later turns it into corruption again:
//!
//! | next, once records were left out | |
//! |---|---|
//! | none: the log ends | cut |
//! | in the batch of what is damaged | leave out |
//! | any other | refuse |
//!
//! What cannot be told apart: a disk that loses a sector of the very last batch long after it was durable, and leaves
//! zeros in its place, or damages there a record whose own data fill a sector with zeros. Nothing was written after it
//! that could bear witness. Damage with no missing sector is not what a power failure leaves, so it is taken for
//! corruption wherever it is: refusing costs an operator's time, and cutting would cost data that clients were told is
//! safe. The same goes for records without a mark, as ZooKeeper writes them, and for several appends torn at once,
//! which happens only where syncing is switched off. Our own that have no mark, of sessions closed without a list of their
//! znodes, begin an append: behind a hole in it there is none.

use crate::types::Zxid;

/// What lies between a record and the next, or the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Finished records that are not as they were written.
    Corrupt,
    /// Nothing but padding, or the end of a file.
    Nothing,
    /// A record that was never finished.
    Torn,
    /// A part of a batch with a sector that was never written, and then records that were left out.
    TornBatch,
    /// Something with a sector in it that was never written.
    Unwritten,
}

/// What comes next in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// No record at all.
    Nothing,
    /// A whole record.
    Record {
        /// Its transaction.
        zxid: Zxid,
        /// Whether it is in a later file than the record before.
        in_later_file: bool,
        /// Whether it was written together with what is damaged before it: see [`is_in_damaged_batch`].
        in_damaged_batch: bool,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Apply the record; if something lies between, say so.
    Apply,
    /// Cut off what lies behind the last record, and say so.
    Cut,
    /// Drop everything from the damage on, and say how much: the operator accepts the loss.
    Drop,
    /// The log ends in order.
    End,
    /// Leave the record out: it is part of a torn batch, unless what follows says otherwise.
    LeaveOut,
    /// Refuse to start: finished records were damaged, or may have been.
    RefuseCorrupt,
    /// Refuse to start: records are missing.
    RefuseGap,
    /// The record's place is already taken; leave it.
    Skip,
}

/// Decides about `next`, found behind `before` (the newest transaction applied or in the snapshot).
pub(super) fn decide(before: Zxid, between: Between, next: Next, accept_data_loss: bool) -> Verdict {
    let refusal = match between {
        Between::Corrupt | Between::Nothing | Between::Torn | Between::TornBatch | Between::Unwritten
            if accept_data_loss =>
        {
            Verdict::Drop
        }
        Between::Corrupt | Between::Torn | Between::TornBatch | Between::Unwritten => Verdict::RefuseCorrupt,
        Between::Nothing => Verdict::RefuseGap,
    };
    let Next::Record { zxid, in_later_file, in_damaged_batch } = next else {
        return match between {
            Between::Corrupt => refusal,
            Between::Nothing => Verdict::End,
            Between::Torn | Between::TornBatch | Between::Unwritten => Verdict::Cut,
        };
    };
    if between == Between::TornBatch {
        return if in_damaged_batch { Verdict::LeaveOut } else { refusal };
    }
    if zxid <= before {
        return Verdict::Skip;
    }
    if zxid == before.next() {
        return Verdict::Apply;
    }
    if between == Between::Unwritten && in_damaged_batch {
        return Verdict::LeaveOut;
    }
    // The last records of an epoch may be missing here without a trace; but so they may in any log that was cut
    // to what its ensemble had agreed on, which is what a log looks like after a change of leader.
    if zxid.begins_epoch_after(before) {
        return match between {
            Between::Nothing => Verdict::Apply,
            Between::Torn if in_later_file => Verdict::Apply,
            Between::Corrupt | Between::Torn | Between::TornBatch | Between::Unwritten => refusal,
        };
    }
    refusal
}

/// Whether a record of `batch` was in the same append as what is damaged behind `before`. `begins` is the file's first
/// transaction, where the damage is at the file's very beginning.
///
/// What is damaged is the transaction after `before`, since batches have no gaps; or the one that the file is named
/// after, where an epoch begins with the file. A batch that began there or earlier has it.
pub(super) fn is_in_damaged_batch(before: Zxid, begins: Option<Zxid>, batch: Option<Zxid>) -> bool {
    let damaged = begins.filter(|begins| begins.begins_epoch_after(before)).unwrap_or(before.next());
    batch.is_some_and(|batch| batch <= damaged)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const BETWEEN: [Between; 5] =
        [Between::Nothing, Between::Torn, Between::Corrupt, Between::Unwritten, Between::TornBatch];

    fn zxids() -> impl Iterator<Item = Zxid> + Clone {
        (0..3_u32).flat_map(|epoch| (0..5_u32).map(move |counter| Zxid::new(epoch, counter)))
    }

    fn record(zxid: Zxid, in_later_file: bool) -> Next {
        Next::Record { zxid, in_later_file, in_damaged_batch: false }
    }

    fn of_batch(zxid: Zxid) -> Next {
        Next::Record { zxid, in_later_file: false, in_damaged_batch: true }
    }

    fn nexts() -> impl Iterator<Item = Next> + Clone {
        zxids()
            .flat_map(|zxid| [record(zxid, false), record(zxid, true), of_batch(zxid)])
            .chain([Next::Nothing])
    }

    #[test]
    fn disk_log_eof_the_table_row_by_row() {
        use Verdict::{Apply, Cut, End, LeaveOut, RefuseCorrupt, RefuseGap, Skip};
        let before = Zxid::new(1, 7);
        let rows: [(Next, [Verdict; 5]); 13] = [
            (Next::Nothing, [End, Cut, RefuseCorrupt, Cut, Cut]),
            (record(Zxid::new(1, 7), false), [Skip, Skip, Skip, Skip, RefuseCorrupt]),
            (record(Zxid::new(0, 9), true), [Skip, Skip, Skip, Skip, RefuseCorrupt]),
            (record(Zxid::new(1, 8), false), [Apply, Apply, Apply, Apply, RefuseCorrupt]),
            (record(Zxid::new(1, 8), true), [Apply, Apply, Apply, Apply, RefuseCorrupt]),
            (record(Zxid::new(3, 1), true), [Apply, Apply, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt]),
            (
                record(Zxid::new(3, 1), false),
                [Apply, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt],
            ),
            (
                record(Zxid::new(1, 9), true),
                [RefuseGap, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt],
            ),
            (
                record(Zxid::new(2, 2), true),
                [RefuseGap, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt, RefuseCorrupt],
            ),
            (of_batch(Zxid::new(1, 8)), [Apply, Apply, Apply, Apply, LeaveOut]),
            (of_batch(Zxid::new(1, 9)), [RefuseGap, RefuseCorrupt, RefuseCorrupt, LeaveOut, LeaveOut]),
            (of_batch(Zxid::new(3, 1)), [Apply, RefuseCorrupt, RefuseCorrupt, LeaveOut, LeaveOut]),
            (of_batch(Zxid::new(2, 2)), [RefuseGap, RefuseCorrupt, RefuseCorrupt, LeaveOut, LeaveOut]),
        ];
        for (next, verdicts) in rows {
            for (between, expected) in BETWEEN.into_iter().zip(verdicts) {
                assert_eq!(decide(before, between, next, false), expected, "{between:?} {next:?}");
            }
        }
    }

    #[test]
    fn nothing_is_applied_out_of_order_and_no_record_of_an_epoch_is_left_out() {
        for (before, next) in zxids().flat_map(|before| nexts().map(move |next| (before, next))) {
            let Next::Record { zxid, in_damaged_batch, .. } = next else { continue };
            for between in BETWEEN {
                let verdict = decide(before, between, next, false);
                let torn_batch = between == Between::TornBatch;
                if verdict == Verdict::Apply {
                    assert!(zxid > before);
                    assert!(zxid.follows(before));
                    assert!(!torn_batch, "what was left out is behind it");
                }
                assert_eq!(verdict == Verdict::Skip, zxid <= before && !torn_batch);
                if verdict == Verdict::LeaveOut {
                    assert!(in_damaged_batch);
                    assert!(torn_batch || between == Between::Unwritten);
                }
            }
        }
    }

    #[test]
    fn accepting_the_loss_turns_refusals_into_drops_and_nothing_else() {
        for (before, next) in zxids().flat_map(|before| nexts().map(move |next| (before, next))) {
            for between in BETWEEN {
                let strict = decide(before, between, next, false);
                let lax = decide(before, between, next, true);
                match strict {
                    Verdict::RefuseCorrupt | Verdict::RefuseGap => assert_eq!(lax, Verdict::Drop),
                    Verdict::Apply | Verdict::Cut | Verdict::End | Verdict::LeaveOut | Verdict::Skip => {
                        assert_eq!(lax, strict);
                    }
                    Verdict::Drop => panic!("nothing is dropped unasked"),
                }
            }
        }
    }

    /// Against every way to cut a log of one epoch, or two, into batches: a record is said to be in the damaged one
    /// only if it is, and always if the damaged transaction is in the epoch of the one before, or begins the file.
    #[test]
    fn the_batch_of_what_is_damaged() {
        let one: Vec<Zxid> = (1..7).map(|counter| Zxid::new(1, counter)).collect();
        let two: Vec<Zxid> = (1..4).flat_map(|epoch| [Zxid::new(epoch, 1), Zxid::new(epoch, 2)]).collect();
        for (log, cuts) in [one, two].iter().flat_map(|log| (0..1_u32 << 5).map(move |cuts| (log, cuts))) {
            let first_of = |at: usize| (0..=at).rev().find(|at| *at == 0 || cuts >> (at - 1) & 1 == 1);
            let batch = |at: usize| log[first_of(at).expect("the first record begins a batch")];
            for damaged in 1..log.len() {
                let before = log[damaged - 1];
                let same_epoch = log[damaged].epoch() == before.epoch();
                for at in damaged + 1..log.len() {
                    let really = batch(at) == batch(damaged);
                    let said = is_in_damaged_batch(before, None, Some(batch(at)));
                    assert!(really || !said, "{log:?} {cuts:b}: {damaged} {at}");
                    let begins_batch = batch(damaged) == log[damaged];
                    assert!(said || !really || !same_epoch && begins_batch);
                    if begins_batch {
                        let said = is_in_damaged_batch(before, Some(log[damaged]), Some(batch(at)));
                        assert_eq!(said, really);
                    }
                    assert!(!is_in_damaged_batch(before, Some(log[damaged]), None));
                }
            }
        }
    }
}
