//! A session that has moved stays moved (S7): once a leader has told one learner that a session is there, what other
//! learners still bring of its requests has no effect, but for its end; nor has what comes on a connection that the session
//! had to the leader itself. The transactions of a turn are proposed in it, so what is proposed first in a later one, and all
//! behind it, was asked for since.
//!
//! When that is, is seen in REVALIDATE and its answer. A session that comes to the leader itself may leave again without
//! anybody's seeing it, so from then on nothing is known of where it is, until another learner asks; nor is it where
//! several ask at once, for what one turn says to one is told before what it says to another, whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use zabra_core::types::{ErrorCode, Message, OpCode, SessionId, Zxid};

use super::leaders::Leaders;
use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record};
use crate::places::NodeId;
use crate::txnlog::Logged;

/// Where a session is.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: NodeId,
    /// When that was told.
    at: SimTime,
    /// The first transaction that was decided later.
    since: Option<Zxid>,
}

/// What a leader knows.
#[derive(Clone, Debug, Default)]
struct Leading {
    /// Where sessions are.
    owners: BTreeMap<SessionId, Place>,
    /// Those that were told of since the last new proposal.
    settling: BTreeSet<SessionId>,
    /// The last transaction that was proposed to anybody.
    proposed: Zxid,
    /// Who waits for an answer about a session, and whether nothing can be said of where it will be.
    asking: BTreeMap<SessionId, (BTreeSet<NodeId>, bool)>,
    /// Requests that came from somewhere else.
    misplaced: BTreeSet<(SessionId, i32)>,
    /// Requests that came from where their session is.
    placed: BTreeSet<(SessionId, i32)>,
}

impl Leading {
    fn settle(&mut self, session: SessionId, place: Place) {
        self.owners.insert(session, place);
        self.settling.insert(session);
    }

    fn unsettle(&mut self, session: SessionId) {
        self.owners.remove(&session);
        self.settling.remove(&session);
        self.placed.retain(|(placed, _)| *placed != session);
    }

    /// Something new is proposed.
    fn on_proposed(&mut self, zxid: Zxid, now: SimTime) {
        if zxid <= self.proposed {
            return;
        }
        self.proposed = zxid;
        let Self { owners, settling, .. } = self;
        settling.retain(|session| {
            let place = owners.get_mut(session).filter(|place| place.at < now);
            place.map(|place| place.since = Some(zxid)).is_none()
        });
    }

    /// Whether a transaction is of a session that had moved before it was decided, and not from where that is.
    fn is_misplaced(&mut self, record: &Logged) -> bool {
        let misplaced = self.misplaced.remove(&(record.session, record.cxid));
        let placed = self.placed.remove(&(record.session, record.cxid));
        let since = self.owners.get(&record.session).and_then(|place| place.since);
        let of_client = record.cxid != 0 && record.op != OpCode::CLOSE_SESSION;
        misplaced || of_client && !placed && since.is_some_and(|since| record.zxid >= since)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Moves {
    leaders: Leaders<Leading>,
}

impl Check for Moves {
    #[inline(always)]
    fn observe(&mut self, record: &Record, _facts: &Facts) -> Result<(), Violation> {
        self.leaders.follow(&record.what, Leading::default);
        match &record.what {
            Observed::Attached { node, session, .. } => {
                if let Some(leading) = self.leaders.get_mut(*node) {
                    leading.unsettle(*session);
                    leading.misplaced.retain(|(misplaced, _)| misplaced != session);
                    leading.asking.entry(*session).and_modify(|asking| asking.1 = true);
                }
            }
            Observed::Said { node, to, message, .. } => {
                let Some(leading) = self.leaders.get_mut(*node) else { return Ok(()) };
                if let Message::Proposal { zxid, .. } = **message {
                    leading.on_proposed(zxid, record.at);
                }
                if let Message::Revalidated { session, valid } = **message
                    && let Some((waiting, unsure)) = leading.asking.get_mut(&session)
                {
                    waiting.remove(to);
                    let unsure = *unsure || !waiting.is_empty();
                    if waiting.is_empty() {
                        leading.asking.remove(&session);
                    }
                    if valid && !unsure {
                        leading.settle(session, Place { node: *to, at: record.at, since: None });
                    }
                }
            }
            Observed::Heard { node, from, message, .. } => {
                let Some(leading) = self.leaders.get_mut(*node) else { return Ok(()) };
                match **message {
                    // Whether the session is there from now on is told in a moment.
                    Message::Revalidate { session, .. } => {
                        leading.unsettle(session);
                        let (waiting, unsure) = leading.asking.entry(session).or_default();
                        *unsure |= waiting.iter().any(|other| other != from);
                        waiting.insert(*from);
                    }
                    Message::Request { session, cxid, op, .. }
                        if !matches!(op, OpCode::CLOSE_SESSION | OpCode::SYNC) =>
                    {
                        match leading.owners.get(&session) {
                            Some(place) if place.node == *from => leading.placed.insert((session, cxid)),
                            Some(_) => leading.misplaced.insert((session, cxid)),
                            None => false,
                        };
                    }
                    _ => {}
                }
            }
            Observed::Logged { node, record } => {
                let Some(leading) = self.leaders.get_mut(*node) else { return Ok(()) };
                let misplaced = leading.is_misplaced(record);
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
    use zabra_core::server::Role;

    use super::*;
    use crate::check::testing::{self, S};
    use crate::link::LinkId;
    use crate::node::Standing;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);
    const G: NodeId = NodeId(2);

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

    fn proposed() -> Observed {
        let message = Rc::new(Message::Proposal { zxid: Zxid::new(1, 1), txn: Bytes::new() });
        Observed::Said { node: L, to: F, link: LinkId(1), message, kept: None }
    }

    fn logged(error: Option<ErrorCode>) -> Observed {
        let record = Logged { error, ..testing::logged(Zxid::new(1, 1), 5, OpCode::CREATE) };
        Observed::Logged { node: L, record }
    }

    #[test]
    fn s7_what_comes_from_where_a_session_was_has_no_effect() {
        let revalidate = |from| heard(from, Message::Revalidate { session: S, timeout_ms: 1000 });
        let attached = || Observed::Attached { node: L, session: S, timeout_ms: 1000, mono: 0 };
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
            // The leader's own connection.
            (vec![revalidate(F), revalidated(F), proposed(), logged(None)], false),
            (vec![revalidate(F), revalidated(F), proposed(), logged(moved)], true),
            (vec![revalidate(F), revalidated(F), request(F), proposed(), logged(None)], true),
            (vec![revalidate(F), revalidated(F), attached(), proposed(), logged(None)], true),
            (vec![revalidate(F), proposed(), revalidated(F), logged(None)], true),
            (vec![revalidate(F), revalidated(F), logged(None)], true),
        ];
        for (number, (story, fine)) in table.into_iter().enumerate() {
            let mut check = Moves::default();
            let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
            let begin = Observed::RoleTaken { node: L, standing, mono: 0 };
            let mut at = SimTime::ZERO;
            let mut tell = |what| {
                at.0 += 1;
                check.observe(&Record { at, what }, &Facts::default())
            };
            let verdict = [begin].into_iter().chain(story).try_for_each(&mut tell);
            assert_eq!(verdict.is_ok(), fine, "{number}: {verdict:?}");
        }
    }
}
