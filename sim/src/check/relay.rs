//! What a learner passes on is done in the order in which it passed it on (P21): a learner of ZooKeeper's keeps its
//! clients' writes and syncs in one queue, and takes what is committed, and what is synced, for its own only if that is
//! at the head. One that is told of them in another order answers none of its clients any more.
//!
//! A request is done when the learner is told that its transaction is committed, a sync when it is told so. What was
//! passed on and never became a transaction is only known by what comes behind it.

use std::collections::{BTreeMap, VecDeque};

use zabra_core::types::{Message, OpCode, SessionId, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::history::{Observed, Record};
use crate::link::LinkId;

/// Something that a learner waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The transaction of a request.
    Txn(SessionId, i32),
    Sync,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Relays {
    /// What has been heard on a link and not answered there, oldest first.
    links: BTreeMap<LinkId, VecDeque<Wanted>>,
}

impl Relays {
    /// The learner on a link is told that something is done.
    fn done(&mut self, link: LinkId, done: Wanted) -> Result<(), Wanted> {
        let Some(wanted) = self.links.get_mut(&link) else { return Ok(()) };
        match wanted.iter().position(|waits| *waits == done) {
            // Another server's.
            None if done != Wanted::Sync => Ok(()),
            Some(0) => {
                wanted.pop_front();
                Ok(())
            }
            Some(_) | None => Err(wanted.front().copied().unwrap_or(Wanted::Sync)),
        }
    }
}

impl Check for Relays {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        match &record.what {
            Observed::Heard { link, message, .. } => {
                if let Message::Request { session, cxid, op, .. } = **message {
                    let wanted = if op == OpCode::SYNC { Wanted::Sync } else { Wanted::Txn(session, cxid) };
                    self.links.entry(*link).or_default().push_back(wanted);
                }
            }
            Observed::Said { node, to, link, message, .. } => {
                let by = |zxid: Zxid| facts.logged(zxid).map(|it| Wanted::Txn(it.session, it.cxid));
                let done = match **message {
                    Message::Commit { zxid }
                    | Message::CommitAndActivate { zxid, .. }
                    | Message::Inform { zxid, .. }
                    | Message::InformAndActivate { zxid, .. } => by(zxid),
                    Message::Sync => Some(Wanted::Sync),
                    _ => None,
                };
                if let Some(done) = done
                    && let Err(first) = self.done(*link, done)
                {
                    let words = format!("{node} tells {to} of {done:?}, which waits for {first:?} first");
                    return Err(Violation::new(Checker::Relay, words));
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

    use super::*;
    use crate::check::testing::{S, Story};
    use crate::places::NodeId;

    const LEADER: NodeId = NodeId(0);
    const LEARNER: NodeId = NodeId(1);

    fn heard(cxid: i32, op: OpCode) -> Observed {
        let request = Message::Request { session: S, cxid, op, body: Bytes::new(), identities: Vec::new() };
        Observed::Heard { node: LEADER, from: LEARNER, link: LinkId(1), message: Rc::new(request) }
    }

    fn said(message: Message) -> Observed {
        Observed::Said { node: LEADER, to: LEARNER, link: LinkId(1), message: Rc::new(message), kept: None }
    }

    #[test]
    fn p21_what_was_passed_on_is_done_in_its_order() {
        let write = || heard(5, OpCode::CREATE);
        let sync = || heard(6, OpCode::SYNC);
        let synced = || said(Message::Sync);
        let commit = |counter| said(Message::Commit { zxid: Zxid(counter) });
        let inform = |counter| said(Message::Inform { zxid: Zxid(counter), txn: Bytes::new() });
        // 2 is the write of this learner, 3 somebody else's.
        let table = [
            (vec![write(), sync(), commit(2), synced(), commit(3)], true),
            (vec![write(), sync(), commit(2), commit(3), synced()], true),
            (vec![write(), sync(), inform(2), synced()], true),
            (vec![write(), sync(), synced(), commit(2)], false),
            (vec![sync(), write(), commit(2), synced()], false),
            (vec![sync(), write(), synced(), commit(2)], true),
            (vec![synced()], true),
            (vec![sync(), synced(), synced()], false),
        ];
        for (number, (story, fine)) in table.into_iter().enumerate() {
            let mut known = Story::begin();
            known.log(2, 5, OpCode::CREATE, None);
            known.log(3, 99, OpCode::CREATE, None);
            let mut check = Relays::default();
            let mut tell = |what| check.observe(&Record { at: known.at, what }, known.judge.facts());
            let verdict = story.into_iter().try_for_each(&mut tell);
            assert_eq!(verdict.is_ok(), fine, "{number}: {verdict:?}");
        }
    }
}
