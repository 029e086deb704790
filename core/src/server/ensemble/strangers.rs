//! Sessions that somebody comes with and a leader takes for ended, or never heard of.
//!
//! "Expired" is for good: the client gives its ephemeral znodes up. So a leader says it only once a quorum has said since
//! that it follows. One that stood still, or was cut off, may have been deposed without knowing; the session may have
//! begun under the leader after it, or go on there though this one let it expire. A ZooKeeper leader says it at once
//! (PARITY `quorum.revalidate`).
//!
//! A learner hears of its sessions in the order in which it asked: a ZooKeeper follower with observers of its own looks
//! for the oldest question alone. So what could be answered at once waits behind what cannot.

use alloc::collections::{BTreeMap, VecDeque};

use crate::conn::{Conn, Phase};
use crate::server::{HangupReason, Server};
use crate::session::Owner;
use crate::types::{ConnId, LinkId, Message, ServerId, SessionId};
use crate::zab::LearnerMaster;

/// A learner may have asked so many questions that wait; all but a broken one ask one at a time for each client.
const WAITING_MAX: usize = 100_000;

/// Sessions that wait for a quorum to say that it follows, oldest first.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    waiting: VecDeque<Stranger>,
    /// How many of them came by which learner.
    by_link: BTreeMap<LinkId, usize>,
}

/// A session, and who came with it.
#[derive(Debug)]
struct Stranger {
    session: SessionId,
    asked_by: Asker,
    /// It lives, and only waits for its turn.
    lives: bool,
    /// The confirmation that has to come first.
    round: u64,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A client of this server.
    Conn(ConnId),
    /// A client of a learner.
    Learner { link: LinkId, server: ServerId, timeout_ms: i32 },
}

impl Strangers {
    fn push(&mut self, stranger: Stranger) {
        if let Asker::Learner { link, .. } = stranger.asked_by {
            *self.by_link.entry(link).or_default() += 1;
        }
        self.waiting.push_back(stranger);
    }

    /// The oldest, if a quorum has said that it follows since it came.
    fn pop(&mut self, confirmed: u64) -> Option<Stranger> {
        let stranger = self.waiting.pop_front_if(|stranger| stranger.round <= confirmed)?;
        if let Asker::Learner { link, .. } = stranger.asked_by
            && let Some(count) = self.by_link.get_mut(&link)
        {
            *count -= 1;
            if *count == 0 {
                self.by_link.remove(&link);
            }
        }
        Some(stranger)
    }

    /// What the oldest waits for.
    pub(super) fn first_round(&self) -> Option<u64> {
        self.waiting.front().map(|stranger| stranger.round)
    }

    /// How many questions of a learner wait.
    fn of(&self, link: LinkId) -> usize {
        self.by_link.get(&link).copied().unwrap_or(0)
    }
}

impl Server {
    /// A client came to this server with a session that does not live here. Whether that is in doubt: then it waits.
    pub(in crate::server) fn doubts(&mut self, conn: &mut Conn, session: SessionId) -> bool {
        let Some(leading) = self.leading() else { return false };
        conn.session = session;
        conn.phase = Phase::Opening;
        let round = leading.leader.confirm();
        let asked_by = Asker::Conn(conn.id);
        leading.strangers.push(Stranger { session, asked_by, lives: false, round });
        true
    }

    /// Answers a learner whether a session lives that a client came to it with: now, or in its turn.
    pub(super) fn answer_learner(
        &mut self,
        link: LinkId,
        server: ServerId,
        session: SessionId,
        timeout_ms: i32,
    ) {
        let lives = self.attach_to_learner(server, session, timeout_ms);
        let Some(leading) = self.leading() else { return };
        let waiting = leading.strangers.of(link);
        if waiting >= WAITING_MAX {
            leading.leader.hang_up(link, HangupReason::BadMessage);
        } else if lives && waiting == 0 {
            self.say_whether_it_lives(link, session, true);
        } else {
            // The last one before it waits for this round or a later one.
            let round = if lives { 0 } else { leading.leader.confirm() };
            let asked_by = Asker::Learner { link, server, timeout_ms };
            leading.strangers.push(Stranger { session, asked_by, lives, round });
        }
    }

    /// A quorum follows: who waited for that is told what this leader knows now.
    pub(super) fn answer_strangers(&mut self) {
        while let Some(leading) = self.leading() {
            let Some(stranger) = leading.strangers.pop(leading.confirmed) else { return };
            let Stranger { session, asked_by, lives, .. } = stranger;
            match asked_by {
                Asker::Conn(id) => self.answer_stranger(id, session),
                Asker::Learner { link, server, timeout_ms } => {
                    let lives = lives || self.attach_to_learner(server, session, timeout_ms);
                    self.say_whether_it_lives(link, session, lives);
                }
            }
        }
    }

    fn say_whether_it_lives(&mut self, link: LinkId, session: SessionId, valid: bool) {
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.peers.send(link, &Message::Revalidated { session, valid });
        }
    }

    fn answer_stranger(&mut self, id: ConnId, session: SessionId) {
        let Some(mut conn) = self.conns.take(id) else { return };
        if conn.phase == Phase::Opening {
            let owner = Owner::Conn(id);
            let attached = self.sessions.reattach(session, conn.timeout_ms, owner, self.now.mono).ok();
            self.finish_reattach(&mut conn, session, attached);
        }
        self.conns.put_back(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `quorum.revalidate`: a session that lives and one that may not are answered to a learner in the order in
    /// which it asked for them, however many others wait.
    #[test]
    fn quorum_revalidate_answers_keep_their_order() {
        let (link, other) = (LinkId(7), LinkId(8));
        let stranger = |link, session, lives, round| {
            let asked_by = Asker::Learner { link, server: ServerId(2), timeout_ms: 1000 };
            Stranger { session: SessionId(session), asked_by, lives, round }
        };
        let mut strangers = Strangers::default();
        strangers.push(stranger(other, 1, false, 4));
        strangers.push(stranger(link, 2, false, 5));
        strangers.push(stranger(link, 3, true, 0));
        assert_eq!((strangers.of(link), strangers.of(other)), (2, 1));
        let mut answered = |confirmed| {
            let next = core::iter::from_fn(|| strangers.pop(confirmed));
            next.map(|stranger| stranger.session.0).collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(answered(3), []);
        assert_eq!(answered(4), [1]);
        assert_eq!(answered(5), [2, 3]);
        assert_eq!((strangers.of(link), strangers.of(other)), (0, 0));
    }
}
