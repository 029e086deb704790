//! Serving observers, carried out: what a follower passes on between them and its leader.
//!
//! To the leader, what observers of this server ask for is what this server asks for. Which of them serves a session is
//! therefore known only here. A session that moved to another server behind the same follower is that one's from the
//! moment on in which the leader is asked about it, so that nothing comes to the leader behind that question which the
//! connection before it had sent.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::learning::Asker;
use super::transfer::Transfers;
use super::{Ensemble, Role};
use crate::server::{CloseReason, PeerPort, Server};
use crate::session::Owner;
use crate::tree::Applied;
use crate::types::{ErrorCode, LinkId, Message, OpCode, ServerId, SessionId};
use crate::zab::{LearnerMaster, ObserverMaster};

/// Questions of observers that may wait for the leader; what observers ask for beyond is held.
const ASKED_MAX: usize = 10_000;

/// What only a follower has that serves observers.
#[derive(Debug)]
pub(super) struct Observers {
    pub(super) master: ObserverMaster,
    pub(super) transfers: Transfers,
}

impl Server {
    /// Whether this server serves observers while it follows.
    fn is_observer_master(&self) -> bool {
        self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.observer_master_port.is_some())
    }

    /// A server connected to the port for observers. It may know before this server does that this one follows.
    pub(super) fn on_observer_up(&mut self, link: LinkId) {
        let now = self.now.mono;
        let expected = self.is_observer_master();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let expected = expected && !ensemble.is_observer();
        match &mut ensemble.role {
            Role::Learning(learning) if learning.observers.is_some() => {
                ensemble.peers.insert(link, &self.config);
                if let Some(observers) = &mut learning.observers {
                    observers.master.on_link_up(link, now);
                }
            }
            Role::Learning(_) | Role::Looking | Role::Settling if expected => {
                self.park_link(link, PeerPort::ObserverMaster);
            }
            Role::Learning(_) | Role::Looking | Role::Settling | Role::Leading(_) => self.refuse_link(link),
        }
    }

    /// This server follows, and serves: so it does observers.
    pub(super) fn serve_observers(&mut self) {
        let now = self.now.mono;
        let expected = self.is_observer_master();
        let tick = self.config.tick_time;
        let Some(config) = &self.config.ensemble else { return };
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Ensemble { role: Role::Learning(learning), tail, peers, configs, me, .. } = ensemble else {
            return;
        };
        if !expected || learning.learner.is_observer() {
            return;
        }
        let epoch = learning.learner.epoch();
        let mut master = ObserverMaster::new(*me, epoch, tail.committed(), tick, config, now);
        master.on_config(configs.current().version());
        let links = peers.unpark(PeerPort::ObserverMaster);
        for &link in &links {
            master.on_link_up(link, now);
        }
        learning.observers = Some(Box::new(Observers { master, transfers: Transfers::default() }));
        for link in links {
            self.take_messages(link);
        }
    }

    /// Does what the observer master wants done, until it wants nothing. Whether it wanted anything.
    pub(super) fn carry_out_observer_master(&mut self) -> bool {
        let mut any = false;
        while let Some(observers) = self.learning().and_then(|learning| learning.observers.as_mut())
            && let Some(output) = observers.master.poll_output()
        {
            any = true;
            self.on_learners_output(output);
        }
        any
    }

    /// Whether there is no room for what observers ask for.
    pub(super) fn observers_must_wait(&self) -> bool {
        let Some(Ensemble { role: Role::Learning(learning), .. }) = self.ensemble.as_deref() else {
            return false;
        };
        self.owes_leader_more_than(self.link_window()) || learning.asked() >= ASKED_MAX
    }

    /// What an observer asks for that is not the protocol's own business.
    pub(super) fn on_observer(&mut self, link: LinkId, server: ServerId, message: Message) {
        match message {
            Message::Ping { touched, .. } => {
                for (session, timeout_ms) in touched.unwrap_or_default() {
                    self.sessions.touch(session, Some(timeout_ms), self.now.mono);
                }
            }
            Message::Request { session, cxid, op: OpCode::SYNC, .. } => {
                if let Some(learning) = self.learning() {
                    learning.ask_sync(Asker::Observer(link), session, cxid);
                }
            }
            Message::Request { session, cxid, op, body, identities } => {
                let request = Message::Request { session, cxid, op, body, identities };
                let moved = op != OpCode::CREATE_SESSION
                    && self.may_ask(server, session, op) == Err(ErrorCode::SESSIONMOVED);
                self.say(if moved { in_vain(session, cxid) } else { request });
            }
            Message::Revalidate { session, timeout_ms } => {
                let owner = Owner::Learner(server);
                let before = match self.sessions.is_local(session) {
                    true => None,
                    false => self.sessions.reattach(session, timeout_ms, owner, self.now.mono).ok().flatten(),
                };
                if let Some(Owner::Conn(conn)) = before {
                    self.close_by_id(conn, CloseReason::SessionMoved);
                }
                if let Some(learning) = self.learning() {
                    learning.ask_revalidation(Asker::Observer(link), session, timeout_ms);
                }
            }
            _ => unreachable!("an observer master passes on nothing else"),
        }
    }

    /// Whether this server observes by way of another one, and that put [something else](in_vain) in the place of what a
    /// client of this server asked for, because it takes the session for another observer's. It may be wrong about that:
    /// a question about the session that was long given up here or there came to it late (ZOOKEEPER-710). No other write
    /// ends so, for what a client sends that cannot be read is answered without the leader; but for a change of members,
    /// of which the leader says so (PARITY `reconf.checks`). There the client is told that, which is true either way:
    /// nothing was changed.
    pub(in crate::server) fn is_in_vain(&self, op: OpCode, applied: &Applied) -> bool {
        applied.error == ErrorCode::MARSHALLINGERROR
            && op != OpCode::RECONFIG
            && self.ensemble.as_deref().is_some_and(|ensemble| match &ensemble.role {
                Role::Learning(learning) => {
                    ensemble.masters.current().is_some_and(|master| master != learning.learner.leader())
                }
                Role::Leading(_) | Role::Looking | Role::Settling => false,
            })
    }

    /// The leader answered what an observer asked, if that is still there: behind all that was committed before.
    pub(super) fn answer_observer(&mut self, link: LinkId, message: &Message) {
        self.carry_out_observer_master();
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.peers.send(link, message);
        }
    }
}

/// A request in the place of one that may not be made any more: its session has moved. The observer waits for a
/// transaction; this becomes one that changes nothing, whoever leads, for nobody can read it. By that error the observer
/// knows it again.
fn in_vain(session: SessionId, cxid: i32) -> Message {
    Message::Request { session, cxid, op: OpCode::MULTI, body: Bytes::new(), identities: Vec::new() }
}
