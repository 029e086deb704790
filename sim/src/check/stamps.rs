//! A transaction bears the time at which whoever ordered it did so (T2): what znodes show as their times, and what the age
//! of TTL nodes is counted from, is no more than that.
//!
//! Only who decides on a transaction can be wrong about it, so it is looked at when that server hands it to its disk. While
//! the disk is at work that may be later; a log that rests has been given everything.

use zabra_core::server::Role;
use zabra_core::time::WallTime;

use super::{Checker, Facts, Violation};
use crate::places::NodeId;
use crate::txnlog::Logged;

/// What a wall clock has shown since the log rested, from the earliest to the latest; steps of the clock are part of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    earliest: WallTime,
    latest: WallTime,
}

impl Shown {
    /// It shows this while the log rests.
    pub const fn at_rest(wall: WallTime) -> Self {
        Self { earliest: wall, latest: wall }
    }

    /// It shows this, too.
    pub fn and(&mut self, wall: WallTime) {
        self.earliest = self.earliest.min(wall);
        self.latest = self.latest.max(wall);
    }

    fn contains(self, time: WallTime) -> bool {
        (self.earliest..=self.latest).contains(&time)
    }
}

/// A server logs a transaction.
///
/// # Errors
/// If it is the first to, as who decides, and its clock has not shown that time.
pub fn check(node: NodeId, record: &Logged, shown: Shown, facts: &Facts) -> Result<(), Violation> {
    let decides = !facts.is_ensemble()
        || facts.standing(node).is_some_and(|standing| {
            standing.role == Role::Leading && standing.epoch == i64::from(record.zxid.epoch())
        });
    if !decides || facts.logged(record.zxid).is_some() || shown.contains(record.time) {
        return Ok(());
    }
    let words = format!("{node} logs {record} as of {:?}, its clock has {shown:?}", record.time);
    Err(Violation::new(Checker::Facts, words))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, Story};
    use super::*;

    #[test]
    fn t2_a_transaction_of_another_time() {
        let mut story = Story::begin();
        let facts = story.judge.facts().clone();
        let mut record = *facts.logged(zabra_core::types::Zxid(1)).unwrap();
        let mut shown = Shown::at_rest(WallTime(record.time.0 + 1));
        assert_eq!(check(NODE, &record, shown, &facts), Ok(()), "it was logged before");
        record.zxid.0 += 1;
        let violation = check(NODE, &record, shown, &facts).unwrap_err();
        assert!(violation.what.starts_with("n0 logs 0x2"), "{violation}");
        shown.and(record.time);
        assert_eq!(check(NODE, &record, shown, &facts), Ok(()));
        // Who follows logs what others have decided.
        story = Story::ensemble(3);
        story.serve(NODE);
        assert_eq!(check(NODE, &record, Shown::at_rest(WallTime(0)), story.judge.facts()), Ok(()));
    }
}
