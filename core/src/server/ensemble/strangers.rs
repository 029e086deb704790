//! Sessions that somebody comes with and a leader takes for ended, or never heard of.
//!
//! "Expired" is for good: the client gives its ephemeral znodes up. So a leader says it only once a quorum has said since
//! that it follows. One that stood still, or was cut off, may have been deposed without knowing; the session may have
//! begun under the leader after it, or go on there though this one let it expire. A ZooKeeper leader says it at once (PARITY `quorum.revalidate`).

use alloc::collections::VecDeque;

use crate::conn::{Conn, Phase};
use crate::server::{HangupReason, Server};
use crate::session::Owner;
use crate::types::{ConnId, LinkId, Message, ServerId, SessionId};
use crate::zab::LearnerMaster;

/// Learners may have asked so many questions that wait; all but a broken one ask one at a time for each client.
const WAITING_MAX: usize = 100_000;

/// Sessions that wait for a quorum to say that it follows, oldest first.
#[derive(Debug, Default)]
pub(super) struct Strangers(VecDeque<Stranger>);

/// A session, and who came with it.
#[derive(Debug)]
struct Stranger {
    session: SessionId,
    asked_by: Asker,
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

impl Server {
    /// A client came to this server with a session that does not live here. Whether that is in doubt: then it waits.
    pub(in crate::server) fn doubts(&mut self, conn: &mut Conn, session: SessionId) -> bool {
        if self.leading().is_none() {
            return false;
        }
        conn.session = session;
        conn.phase = Phase::Opening;
        self.ask_quorum(session, Asker::Conn(conn.id));
        true
    }

    /// A client came to a learner with a session that does not live here.
    pub(super) fn doubt_for_learner(
        &mut self,
        link: LinkId,
        server: ServerId,
        session: SessionId,
        timeout_ms: i32,
    ) {
        match self.leading() {
            Some(leading) if leading.strangers.0.len() >= WAITING_MAX => {
                leading.leader.hang_up(link, HangupReason::BadMessage);
            }
            Some(_) | None => self.ask_quorum(session, Asker::Learner { link, server, timeout_ms }),
        }
    }

    fn ask_quorum(&mut self, session: SessionId, asked_by: Asker) {
        let Some(leading) = self.leading() else { return };
        let round = leading.leader.confirm();
        leading.strangers.0.push_back(Stranger { session, asked_by, round });
    }

    /// A quorum follows: who waited for that is told what this leader knows now.
    pub(super) fn answer_strangers(&mut self) {
        while let Some(leading) = self.leading() {
            let confirmed = leading.confirmed;
            let due = |stranger: &mut Stranger| stranger.round <= confirmed;
            let Some(Stranger { session, asked_by, .. }) = leading.strangers.0.pop_front_if(due) else {
                return;
            };
            match asked_by {
                Asker::Conn(id) => self.answer_stranger(id, session),
                Asker::Learner { link, server, timeout_ms } => {
                    let valid = self.attach_to_learner(server, session, timeout_ms);
                    if let Some(ensemble) = self.ensemble.as_deref_mut() {
                        ensemble.peers.send(link, &Message::Revalidated { session, valid });
                    }
                }
            }
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
