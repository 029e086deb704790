//! Connections that a limit closed: what the operator is told of them, and how often.
//!
//! Whoever runs into a limit mostly does so again and again. Of each limit one warning is given in [`INTERVAL`]; the others
//! are counted, and their number goes with the next one.

use std::fmt::Write as _;
use std::time::Duration;

use zabra_core::server::CloseReason;
use zabra_core::time::Instant;

/// Of each limit there is at most one warning in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many limits there are.
const LIMITS: usize = 5;

/// When each limit was told of, and how often it was not since.
#[derive(Debug, Default)]
pub(crate) struct LimitLog {
    limits: [Told; LIMITS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

/// A warning that is due.
#[derive(Debug)]
pub(crate) struct Warning {
    limit: String,
    untold: u64,
}

impl LimitLog {
    /// What is to be told of a connection that is closed for this reason at `now`; nothing if that is no limit's doing, or
    /// the limit was told of a moment ago.
    pub(crate) fn warning(&mut self, why: CloseReason, now: Instant) -> Option<Warning> {
        let (number, limit) = described(why)?;
        let told = &mut self.limits[number];
        if told.at.is_some_and(|at| now.since(at) < INTERVAL) {
            told.untold += 1;
            return None;
        }
        told.at = Some(now);
        Some(Warning { limit, untold: std::mem::take(&mut told.untold) })
    }
}

impl Warning {
    /// The warning in words, about a client at this address.
    pub(crate) fn of(&self, from: &str) -> String {
        let mut text = format!("connection of {from} closed: {}", self.limit);
        if self.untold > 0 {
            let _ = write!(text, " (and {} times before that were not logged)", self.untold);
        }
        text
    }
}

/// Which limit closes a connection, if one does: its number, and what to say of it.
fn described(why: CloseReason) -> Option<(usize, String)> {
    let described = match why {
        CloseReason::FrameTooLong { length, max } => {
            (0, format!("a request of {length} bytes exceeds jute.maxbuffer={max}"))
        }
        CloseReason::TooManyConnections { max } => {
            (1, format!("as many clients are connected as maxCnxns={max} allows"))
        }
        CloseReason::TooManyOfAddress { max } => {
            (2, format!("as many clients of its address are connected as maxClientCnxns={max} allows"))
        }
        CloseReason::LargeRequest => (
            3,
            "with its large request, more bytes of such would wait than largeRequestMaxBytes allows".into(),
        ),
        CloseReason::SlowReader => {
            (4, "it does not read its replies and events, and too many wait for it".into())
        }
        CloseReason::AdminWordAnswered
        | CloseReason::AuthFailed
        | CloseReason::BadFrame
        | CloseReason::ClientAhead
        | CloseReason::LeaderLost
        | CloseReason::NoSession
        | CloseReason::NotServing
        | CloseReason::ReadOnly
        | CloseReason::ReadOnlyOver
        | CloseReason::SessionClosed
        | CloseReason::SessionExpired
        | CloseReason::SessionMoved
        | CloseReason::SessionServedElsewhere
        | CloseReason::Shutdown
        | CloseReason::UnknownOperation => return None,
    };
    Some(described)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_told_of_once_in_a_while_with_a_count() {
        let mut log = LimitLog::default();
        let begin = Instant::ZERO;
        let too_long = CloseReason::FrameTooLong { length: 2_000_049, max: 1_048_575 };
        let mut told =
            |why, after| log.warning(why, begin + after).map(|warning| warning.of("10.0.0.1:4000"));
        let first =
            "connection of 10.0.0.1:4000 closed: a request of 2000049 bytes exceeds jute.maxbuffer=1048575";
        assert_eq!(told(too_long, Duration::ZERO).as_deref(), Some(first));
        assert_eq!(told(too_long, Duration::from_secs(1)), None);
        assert_eq!(told(too_long, INTERVAL - Duration::from_millis(1)), None);
        let other =
            told(CloseReason::TooManyOfAddress { max: 60 }, Duration::from_secs(1)).expect("another limit");
        assert!(other.ends_with("as many clients of its address are connected as maxClientCnxns=60 allows"));
        assert_eq!(told(CloseReason::SessionClosed, INTERVAL), None);
        let counted = format!("{first} (and 2 times before that were not logged)");
        assert_eq!(told(too_long, INTERVAL), Some(counted));
        assert_eq!(told(too_long, INTERVAL * 3).as_deref(), Some(first), "they were told of");
    }

    #[test]
    fn every_limit_has_a_place_of_its_own() {
        let numbers = [
            CloseReason::FrameTooLong { length: 2, max: 1 },
            CloseReason::TooManyConnections { max: 1 },
            CloseReason::TooManyOfAddress { max: 1 },
            CloseReason::LargeRequest,
            CloseReason::SlowReader,
        ]
        .map(|why| described(why).expect("a limit").0);
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(numbers.len(), LIMITS);
    }
}
