//! A session is in one place (S7): one connection of a server has it at most, and none once that server has applied its end.
//! Otherwise what comes on the other one would count for it as well, and who holds it would never learn that it is over.
//!
//! The world asks about a session once a server has done all that comes of it: has attached it to a connection, or applied
//! its end.

use zabra_core::types::SessionId;

use super::{Checker, Violation};
use crate::places::NodeId;

/// How a session stands with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placed {
    /// A connection has it.
    Attached,
    /// Its end was applied.
    Over,
}

/// So many connections may have the session that have it.
///
/// # Errors
/// If there are more.
pub fn in_one_place(
    node: NodeId,
    session: SessionId,
    placed: Placed,
    connections: usize,
) -> Result<(), Violation> {
    let what = match placed {
        Placed::Attached if connections > 1 => "has it on several connections",
        Placed::Over if connections > 0 => "has applied its end, and goes on with its connection",
        Placed::Attached | Placed::Over => return Ok(()),
    };
    Err(Violation::new(Checker::Moved, format!("{session}: {node} {what}")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, S};
    use super::*;

    #[test]
    fn s7_a_session_on_two_connections() {
        let attached = |connections| in_one_place(NODE, S, Placed::Attached, connections);
        assert_eq!([attached(0), attached(1)], [Ok(()), Ok(())], "it may have been closed at once");
        assert!(attached(2).unwrap_err().what.ends_with("n0 has it on several connections"));
    }

    #[test]
    fn s7_a_connection_without_its_session() {
        assert_eq!(in_one_place(NODE, S, Placed::Over, 0), Ok(()));
        let violation = in_one_place(NODE, S, Placed::Over, 1).unwrap_err();
        assert_eq!(violation.checker, Checker::Moved);
    }
}
