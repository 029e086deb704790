//! What damage in the log means. The whole policy of recovery in one function.
//!
//! Each record that is found is judged by its place behind the one before, and by what lies between the two:
//!
//! | next record | nothing between | torn between | corrupt between |
//! |---|---|---|---|
//! | none: the log ends | end | cut | refuse |
//! | not after the one before (repeated, or in the snapshot) | skip | skip | skip |
//! | exactly the one after | apply | apply, said | apply, said |
//! | first of a later epoch, in a later file | apply | apply, said | refuse |
//! | first of a later epoch, in the same file | apply | refuse | refuse |
//! | any other | refuse: gap | refuse | refuse |
//!
//! *Torn* is what a crash leaves: a record that was never finished, so that nobody was told it was there. A server
//! goes on in a new file after a crash, so a torn end is followed by exactly the next record there, or by nothing.
//! *Corrupt* is what was once finished and is not as it was written. Where the next record is exactly the one that
//! is due, nothing can be lost, whatever lies between. An operator who accepts the loss turns every refusal into
//! dropping all that follows.

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
        Between::Corrupt | Between::Nothing | Between::Torn if accept_data_loss => Verdict::Drop,
        Between::Corrupt | Between::Torn => Verdict::RefuseCorrupt,
        Between::Nothing => Verdict::RefuseGap,
    };
    let Next::Record { zxid, in_later_file } = next else {
        return match between {
            Between::Corrupt => refusal,
            Between::Nothing => Verdict::End,
            Between::Torn => Verdict::Cut,
        };
    };
    if zxid <= before {
        return Verdict::Skip;
    }
    if zxid == before.next() {
        return Verdict::Apply;
    }
    // The last records of an epoch may be missing here without a trace; but so they may in any log that was cut
    // to what its ensemble had agreed on, which is what a log looks like after a change of leader.
    if zxid.epoch() > before.epoch() && zxid.counter() == 1 {
        return match between {
            Between::Nothing => Verdict::Apply,
            Between::Torn if in_later_file => Verdict::Apply,
            Between::Corrupt | Between::Torn => refusal,
        };
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETWEEN: [Between; 3] = [Between::Nothing, Between::Torn, Between::Corrupt];

    fn zxids() -> impl Iterator<Item = Zxid> + Clone {
        (0..3_u32).flat_map(|epoch| (0..5_u32).map(move |counter| Zxid::new(epoch, counter)))
    }

    fn record(zxid: Zxid, in_later_file: bool) -> Next {
        Next::Record { zxid, in_later_file }
    }

    #[test]
    fn disk_log_eof_the_table_row_by_row() {
        use Verdict::{Apply, Cut, End, RefuseCorrupt, RefuseGap, Skip};
        let before = Zxid::new(1, 7);
        let rows: [(Next, [Verdict; 3]); 9] = [
            (Next::Nothing, [End, Cut, RefuseCorrupt]),
            (record(Zxid::new(1, 7), false), [Skip, Skip, Skip]),
            (record(Zxid::new(0, 9), true), [Skip, Skip, Skip]),
            (record(Zxid::new(1, 8), false), [Apply, Apply, Apply]),
            (record(Zxid::new(1, 8), true), [Apply, Apply, Apply]),
            (record(Zxid::new(3, 1), true), [Apply, Apply, RefuseCorrupt]),
            (record(Zxid::new(3, 1), false), [Apply, RefuseCorrupt, RefuseCorrupt]),
            (record(Zxid::new(1, 9), true), [RefuseGap, RefuseCorrupt, RefuseCorrupt]),
            (record(Zxid::new(2, 2), true), [RefuseGap, RefuseCorrupt, RefuseCorrupt]),
        ];
        for (next, verdicts) in rows {
            for (between, expected) in BETWEEN.into_iter().zip(verdicts) {
                assert_eq!(decide(before, between, next, false), expected, "{between:?} {next:?}");
            }
        }
    }

    #[test]
    fn nothing_is_applied_out_of_order_and_no_record_of_an_epoch_is_left_out() {
        for before in zxids() {
            for zxid in zxids() {
                for between in BETWEEN {
                    for in_later_file in [false, true] {
                        let verdict = decide(before, between, record(zxid, in_later_file), false);
                        if verdict == Verdict::Apply {
                            let first_of_epoch = zxid.epoch() > before.epoch() && zxid.counter() == 1;
                            assert!(zxid > before);
                            assert!(zxid == before.next() || first_of_epoch);
                        }
                        assert_eq!(verdict == Verdict::Skip, zxid <= before);
                    }
                }
            }
        }
    }

    #[test]
    fn accepting_the_loss_turns_refusals_into_drops_and_nothing_else() {
        let nexts = zxids().flat_map(|zxid| [record(zxid, false), record(zxid, true)]).chain([Next::Nothing]);
        for before in zxids() {
            for next in nexts.clone() {
                for between in BETWEEN {
                    let strict = decide(before, between, next, false);
                    let lax = decide(before, between, next, true);
                    match strict {
                        Verdict::RefuseCorrupt | Verdict::RefuseGap => assert_eq!(lax, Verdict::Drop),
                        Verdict::Apply | Verdict::Cut | Verdict::End | Verdict::Skip => {
                            assert_eq!(lax, strict);
                        }
                        Verdict::Drop => panic!("nothing is dropped unasked"),
                    }
                }
            }
        }
    }
}
