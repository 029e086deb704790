//! A session that has moved stays moved (S7): once a leader has told one learner that a session is there, what other
//! learners still bring of its requests has no effect, but for its end.
//!
//! When that is, is seen in REVALIDATE and its answer. A session that comes to the leader itself may leave again without
//! anybody's seeing it, so from then on nothing is known of where it is, until another learner asks; nor is it where
//! several ask at once, for what one turn says to one is told before what it says to another, whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use zabra_core::server::Role;
use zabra_core::types::{ErrorCode, Message, OpCode, SessionId};

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::places::NodeId;

/// What a leader knows.
#[derive(Clone, Debug, Default)]
struct Leading {
    /// Where sessions are.
    owners: BTreeMap<SessionId, NodeId>,
    /// Who waits for an answer about a session, and whether nothing can be said of where it will be.
    asking: BTreeMap<SessionId, (BTreeSet<NodeId>, bool)>,
    /// Requests that came from somewhere else.
    misplaced: BTreeSet<(SessionId, i32)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Moves {
    leaders: BTreeMap<NodeId, Leading>,
}

impl Check for Moves {
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::RoleTaken { node, standing, .. } => {
                self.leaders.remove(node);
                if standing.role == Role::Leading {
                    self.leaders.insert(*node, Leading::default());
                }
            }
            Observed::RoleLost { node, .. }
            | Observed::Crashed { node, .. }
            | Observed::Stopped { node, .. } => {
                self.leaders.remove(node);
            }
            Observed::Attached { node, session } => {
                if let Some(leading) = self.leaders.get_mut(node) {
                    leading.owners.remove(session);
                    leading.misplaced.retain(|(misplaced, _)| misplaced != session);
                    leading.asking.entry(*session).and_modify(|asking| asking.1 = true);
                }
            }
            Observed::Said { node, to, message, .. } => {
                if let Message::Revalidated { session, valid } = **message
                    && let Some(leading) = self.leaders.get_mut(node)
                    && let Some((waiting, unsure)) = leading.asking.get_mut(&session)
                {
                    waiting.remove(to);
                    let unsure = *unsure || !waiting.is_empty();
                    if waiting.is_empty() {
                        leading.asking.remove(&session);
                    }
                    if valid && !unsure {
                        leading.owners.insert(session, *to);
                    }
                }
            }
            Observed::Heard { node, from, message, .. } => {
                let Some(leading) = self.leaders.get_mut(node) else { return Ok(()) };
                match **message {
                    // Whether the session is there from now on is told in a moment.
                    Message::Revalidate { session, .. } => {
                        leading.owners.remove(&session);
                        let (waiting, unsure) = leading.asking.entry(session).or_default();
                        *unsure |= waiting.iter().any(|other| other != from);
                        waiting.insert(*from);
                    }
                    Message::Request { session, cxid, op, .. }
                        if !matches!(op, OpCode::CLOSE_SESSION | OpCode::SYNC)
                            && leading.owners.get(&session).is_some_and(|owner| owner != from) =>
                    {
                        leading.misplaced.insert((session, cxid));
                    }
                    _ => {}
                }
            }
            Observed::Logged { node, record } => {
                let Some(leading) = self.leaders.get_mut(node) else { return Ok(()) };
                let misplaced = leading.misplaced.remove(&(record.session, record.cxid));
                let refused =
                    matches!(record.error, Some(ErrorCode::SESSIONMOVED | ErrorCode::SESSIONEXPIRED));
                if misplaced && !refused {
                    let words = format!("{node} takes {record}, whose session had moved");
                    return Err(Violation::new(Checker::Moved, words));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;
    use zabra_core::time::WallTime;
    use zabra_core::types::Zxid;

    use super::*;
    use crate::link::LinkId;
    use crate::node::Standing;
    use crate::txnlog::Logged;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);
    const G: NodeId = NodeId(2);
    const S: SessionId = SessionId(7);

    fn heard(from: NodeId, message: Message) -> Observed {
        Observed::Heard { node: L, from, link: LinkId(1), message: Rc::new(message) }
    }

    fn request(from: NodeId) -> Observed {
        let op = OpCode::CREATE;
        heard(from, Message::Request { session: S, cxid: 5, op, body: Bytes::new(), identities: Vec::new() })
    }

    fn revalidated(to: NodeId) -> Observed {
        let message = Rc::new(Message::Revalidated { session: S, valid: true });
        Observed::Said { node: L, to, link: LinkId(1), message, kept: None }
    }

    fn logged(error: Option<ErrorCode>) -> Observed {
        let record = Logged {
            zxid: Zxid::new(1, 1),
            session: S,
            cxid: 5,
            time: WallTime(0),
            op: OpCode::CREATE,
            error,
            timeout_ms: None,
            removes: None,
            checksum: 0,
        };
        Observed::Logged { node: L, record }
    }

    #[test]
    fn s7_what_comes_from_where_a_session_was_has_no_effect() {
        let revalidate = |from| heard(from, Message::Revalidate { session: S, timeout_ms: 1000 });
        let attached = || Observed::Attached { node: L, session: S };
        let moved = Some(ErrorCode::SESSIONMOVED);
        let table = [
            (vec![revalidate(F), revalidated(F), request(F), logged(None)], true),
            (vec![revalidate(F), revalidated(F), request(G), logged(moved)], true),
            (vec![revalidate(F), revalidated(F), request(G), logged(None)], false),
            (vec![revalidate(F), revalidated(F), revalidate(G), request(G), logged(None)], true),
            (vec![revalidate(F), revalidated(F), attached(), request(G), logged(None)], true),
            (vec![revalidate(F), attached(), revalidated(F), request(G), logged(None)], true),
            (vec![revalidate(F), revalidated(F), request(G), attached(), logged(None)], true),
            (
                vec![revalidate(F), revalidate(G), revalidated(G), revalidated(F), request(G), logged(None)],
                true,
            ),
            (vec![request(G), revalidate(F), revalidated(F), logged(None)], true),
            (vec![request(G), logged(None)], true),
        ];
        for (number, (story, fine)) in table.into_iter().enumerate() {
            let mut check = Moves::default();
            let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
            let begin = Observed::RoleTaken { node: L, standing, mono: 0 };
            let mut tell = |what| check.observe(&Record { at: Default::default(), what }, &Facts::default());
            let verdict = [begin].into_iter().chain(story).try_for_each(&mut tell);
            assert_eq!(verdict.is_ok(), fine, "{number}: {verdict:?}");
        }
    }
}
