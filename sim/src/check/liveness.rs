//! The world comes to rest: once all faults have stopped, every server serves and every client has its last request
//! answered within a bound, and from then on nobody gives a role up, no client loses its connection, and no empty container
//! stays, nor a TTL node whose time is over (T4): `world::rest` says what that asks for. And no server stops by itself, or
//! does not start on what a crash has left (D7, L8), unless it was asked to or its disk failed, or asks for the time over and
//! over without doing anything: its process would be busy for nothing.

use std::time::Duration;

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::places::{ClientId, NodeId};

/// No server stops without an excuse.
#[derive(Debug)]
pub struct Stops;

impl Check for Stops {
    #[inline(always)]
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Stopped { node, why, excuse: None } => {
                Err(Violation::new(Checker::Liveness, format!("{node} stopped by itself: {why}")))
            }
            _ => Ok(()),
        }
    }
}

/// Turns that a server may take in a row although nothing happened but what it asked for: that the time is told again.
/// Work that is divided into turns is done long before.
const IDLE_TURNS_MAX: u32 = 10_000;

/// A server does something with the time that it asks for.
///
/// # Errors
/// If it has asked `turns` times in a row for the time that it was just told.
pub fn at_work(node: NodeId, turns: u32) -> Result<(), Violation> {
    if turns < IDLE_TURNS_MAX {
        return Ok(());
    }
    Err(Violation::new(
        Checker::Liveness,
        format!("{node} asked {turns} times for the time that it was just told"),
    ))
}

/// A client or server when the bound is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who.
    pub who: String,
    /// What it waits for, if it has not come to rest.
    pub waits_for: Option<String>,
}

/// Everybody came to rest in time.
///
/// # Errors
/// If somebody did not.
pub fn at_rest(all: &[Waiting], bound: Duration) -> Result<(), Violation> {
    let words: Vec<String> = all
        .iter()
        .filter_map(|it| Some(format!("{} waits for {}", it.who, it.waits_for.as_ref()?)))
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    Err(Violation::new(
        Checker::Liveness,
        format!("{bound:?} after all faults stopped: {}", words.join(", ")),
    ))
}

/// Nobody gave a role up while nothing was wrong.
///
/// # Errors
/// If somebody did.
pub fn calm(roles_lost: u64, time: Duration) -> Result<(), Violation> {
    if roles_lost == 0 {
        return Ok(());
    }
    Err(Violation::new(
        Checker::Liveness,
        format!("{roles_lost} roles were lost in {time:?} in which nothing was wrong"),
    ))
}

/// No client lost its connection while nothing was wrong.
///
/// # Errors
/// If one did.
pub fn connected(lost: Option<ClientId>, time: Duration) -> Result<(), Violation> {
    let words = |client| format!("{client} lost its connection in {time:?} in which nothing was wrong");
    lost.map_or(Ok(()), |client| Err(Violation::new(Checker::Liveness, words(client))))
}

/// Of the znodes that the servers were to remove when nothing was wrong any more, none is left after `time`.
///
/// # Errors
/// If one is.
pub fn cleared_away<'a>(
    mut left: impl Iterator<Item = &'a str>,
    what: &str,
    time: Duration,
) -> Result<(), Violation> {
    match left.next() {
        None => Ok(()),
        Some(path) => Err(Violation::new(
            Checker::Liveness,
            format!("{path} is {what}, and still there after {time:?} in which nothing was wrong"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::recovery::RecoveryError;
    use zabra_core::server::HaltReason;

    use super::super::testing::{NODE, Story};
    use super::*;
    use crate::ending::{Ending, Excuse};

    #[test]
    fn t4_a_container_that_stays() {
        let (what, time) = ("an empty container", Duration::from_secs(5));
        assert_eq!(cleared_away([].into_iter(), what, time), Ok(()));
        let violation = cleared_away(["/c"].into_iter(), what, time).unwrap_err();
        assert!(violation.what.starts_with("/c is an empty container"), "{violation}");
    }

    #[test]
    fn asking_for_the_time_all_the_time() {
        assert_eq!(at_work(NODE, 100), Ok(()));
        let violation = at_work(NODE, IDLE_TURNS_MAX).unwrap_err();
        assert_eq!((violation.checker, violation.what.starts_with("n0 asked")), (Checker::Liveness, true));
    }

    #[test]
    fn l8_a_stop_without_an_excuse() {
        let mut story = Story::begin();
        for excuse in [Excuse::Asked, Excuse::Damaged, Excuse::DiskFails] {
            let why = Ending::Halted(HaltReason::Shutdown);
            story.tell(Observed::Stopped { node: NODE, why, excuse: Some(excuse) });
            story.expect_fine();
        }
        let why = Ending::Refused(Box::new(RecoveryError::Empty));
        story.tell(Observed::Stopped { node: NODE, why, excuse: None });
        story.expect_violation(Checker::Liveness, "n0 stopped by itself: recovery refused: Empty");
    }

    #[test]
    fn l5_a_role_that_was_lost_for_no_reason() {
        assert_eq!(calm(0, Duration::ZERO), Ok(()));
        assert!(calm(1, Duration::ZERO).unwrap_err().what.contains("1 roles were lost"));
    }

    #[test]
    fn l5_a_connection_that_was_lost_for_no_reason() {
        assert_eq!(connected(None, Duration::ZERO), Ok(()));
        let violation = connected(Some(ClientId(2)), Duration::ZERO).unwrap_err();
        assert!(violation.what.starts_with("c2 lost its connection"), "{violation}");
    }

    #[test]
    fn somebody_who_waits() {
        let standing =
            |waits_for: Option<&str>| Waiting { who: "c1".into(), waits_for: waits_for.map(str::to_owned) };
        assert_eq!(at_rest(&[standing(None)], Duration::ZERO), Ok(()));
        let violation = at_rest(&[standing(None), standing(Some("an answer"))], Duration::ZERO);
        assert!(violation.unwrap_err().what.contains("c1 waits for an answer"));
    }
}
