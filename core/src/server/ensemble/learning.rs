//! Following and observing, carried out: what the learner wants done, and what this server's clients ask of the leader.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::masters::Master;
use super::observers::Observers;
use super::promises::Promise;
use super::{Ensemble, Role};
use crate::conn::{Conn, Phase, Waiting};
use crate::server::{Action, Event, PeerPort, Proposal, Role as RoleName, Server};
use crate::session::Owner;
use crate::time::Instant;
use crate::tree::Hint;
use crate::types::{ConnId, DialId, ErrorCode, LinkId, Message, OpCode, ServerId, SessionId, Txn, Zxid};
use crate::wire::quorum::QuorumDecodeError;
use crate::wire::{self, record};
use crate::zab::learner::{LostReason, Start};
use crate::zab::{Keep, Learner, LearnerMaster, LearnerOutput};

/// What only a learner has.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) learner: Learner,
    /// The attempt to connect that is under way.
    pub(super) dial: Option<DialId>,
    /// When it was connected.
    pub(super) linked_at: Option<Instant>,
    /// Who asked the leader about a session, oldest question first.
    revalidations: BTreeMap<SessionId, VecDeque<Asker>>,
    /// How many of these questions are of observers.
    observers_revalidations: usize,
    /// Who waits for a sync, oldest first.
    syncs: VecDeque<Asker>,
    /// Bytes of requests that are to leave with this turn.
    pub(super) unsaid: usize,
    /// Observers that learn from this server, once it serves them.
    pub(super) observers: Option<Box<Observers>>,
}

/// Who waits for an answer of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client of this server.
    Conn(ConnId),
    /// A server that learns from this one.
    Observer(LinkId),
}

impl Learning {
    /// How many observers follow this server.
    pub(super) fn observer_count(&self) -> usize {
        self.observers.as_ref().map_or(0, |observers| observers.master.following_count())
    }

    /// How many questions of observers the leader has not answered, or more: of syncs, all count.
    pub(super) fn asked(&self) -> usize {
        self.syncs.len() + self.observers_revalidations
    }

    /// Whether a client of this server waits for a sync.
    pub(super) fn owes_a_sync(&self) -> bool {
        self.syncs.iter().any(|asker| matches!(asker, Asker::Conn(_)))
    }

    /// Asks the leader to say when everything is here that was written by now.
    pub(super) fn ask_sync(&mut self, asker: Asker, session: SessionId, cxid: i32) {
        self.syncs.push_back(asker);
        let (op, body, identities) = (OpCode::SYNC, Bytes::new(), Vec::new());
        self.learner.say(Message::Request { session, cxid, op, body, identities });
    }

    /// Asks the leader whether a session lives.
    pub(super) fn ask_revalidation(&mut self, asker: Asker, session: SessionId, timeout_ms: i32) {
        self.revalidations.entry(session).or_default().push_back(asker);
        self.observers_revalidations += usize::from(matches!(asker, Asker::Observer(_)));
        self.learner.say(Message::Revalidate { session, timeout_ms });
    }

    /// The leader answered the oldest question about a session: who asked it.
    fn answered(&mut self, session: SessionId) -> Option<Asker> {
        let asking = self.revalidations.get_mut(&session)?;
        let asker = asking.pop_front();
        if asking.is_empty() {
            self.revalidations.remove(&session);
        }
        self.observers_revalidations -= usize::from(matches!(asker, Some(Asker::Observer(_))));
        asker
    }
}

impl Server {
    /// Somebody else was elected, for what its vote says that it has.
    pub(super) fn begin_learning(&mut self, leader: ServerId, leader_zxid: Zxid) {
        self.end_read_only();
        self.measure_election();
        let now = self.now.mono;
        let last_zxid = self.log.appended();
        let ensemble = self.ensemble.as_deref_mut().expect("only a member is in elections");
        let config = self.config.ensemble.as_ref().expect("a member has a configuration of its own");
        // Whoever expected this server to lead was wrong.
        for link in ensemble.peers.parked(PeerPort::Quorum) {
            ensemble.peers.remove(link);
            self.actions.push_back(Action::Hangup { link, why: crate::server::HangupReason::RoleOver });
        }
        let own = ensemble.own_history(last_zxid);
        let observer = ensemble.is_observer();
        let spares_leader =
            observer && !ensemble.masters.has_untried(ensemble.configs.current(), leader, observer);
        // Who passes on what a leader says need not have heard of this one yet.
        let from_others = observer && ensemble.masters.are_sought();
        let start = Start {
            me: ensemble.me,
            leader,
            leader_zxid: if from_others { Zxid::UNKNOWN } else { leader_zxid },
            vote_may_be_old: ensemble.lacked != Some((leader, leader_zxid)),
            observer,
            config_version: ensemble.configs.current().version(),
            own,
            known_committed: ensemble.known_committed,
            wants_snapshot: ensemble.wants_snapshot,
            wait: ensemble.pauses.before_connecting(leader, spares_leader),
        };
        let learner = Learner::new(start, self.config.tick_time, config, now);
        ensemble.role = Role::Learning(Box::new(Learning {
            learner,
            dial: None,
            linked_at: None,
            revalidations: BTreeMap::new(),
            observers_revalidations: 0,
            syncs: VecDeque::new(),
            unsaid: 0,
            observers: None,
        }));
    }

    /// Whether so much waits for the disk that the leader is not listened to. Who serves takes twice as much as makes its
    /// own clients wait: among the proposals there are pings, and sessions here live by the answers.
    pub(super) fn leader_must_wait(&self) -> bool {
        let shares = if self.is_serving() { 2 } else { 1 };
        self.log.buffered_bytes() > self.config.log_buffer_max.saturating_mul(shares)
    }

    /// Takes the leader's next message, if it may be looked at now. Whether there was one.
    pub(super) fn take_leader_messages(&mut self) -> bool {
        let now = self.now.mono;
        let full = self.leader_must_wait();
        let Some(Ensemble { role: Role::Learning(learning), peers, .. }) = self.ensemble.as_deref_mut()
        else {
            return false;
        };
        let Some(link) = learning.learner.link() else { return false };
        let Some(peer) = peers.get(link) else { return false };
        let waits = full || !learning.learner.takes_messages();
        let pause = waits && peer.deframer.buffered() > self.config.snapshot_chunk_bytes * 4;
        let resume = !waits || peer.deframer.buffered() <= self.config.snapshot_chunk_bytes;
        if peer.paused && resume {
            peer.paused = false;
            self.actions.push_back(Action::ResumeLink { link });
        } else if pause && !peer.paused {
            peer.paused = true;
            self.actions.push_back(Action::PauseLink { link });
        }
        if waits {
            return false;
        }
        match peer.deframer.next() {
            Ok(Some(message)) => learning.learner.on_message(message, now),
            Ok(None) => return false,
            Err(QuorumDecodeError::UnknownType { .. }) if learning.learner.passes_over_unknown() => {}
            Err(_) => learning.learner.fail(LostReason::BadMessage),
        }
        true
    }

    pub(super) fn on_learner_output(&mut self, output: LearnerOutput) {
        let ensemble = self.ensemble.as_deref_mut().expect("only a member learns");
        match output {
            LearnerOutput::Activate { zxid, designated } => self.activate_as_learner(zxid, designated),
            LearnerOutput::AskForSnapshot { why } => {
                ensemble.wants_snapshot = true;
                self.tell(Event::SnapshotAskedFor { why });
            }
            LearnerOutput::Commit { zxid, designated } => self.commit_as_learner(zxid, designated),
            LearnerOutput::Configuration { text } => self.on_configuration(&text),
            LearnerOutput::Dial => self.dial_leader(),
            LearnerOutput::Hangup { link, why } => self.hang_up(link, why),
            LearnerOutput::Log { zxid, txn } => self.log_proposal(zxid, txn),
            LearnerOutput::Lost { why } => {
                let Ensemble { role: Role::Learning(learning), pauses, designated, lacked, .. } = ensemble
                else {
                    unreachable!("the learner said so")
                };
                if why == LostReason::LessThanVoted {
                    *lacked = Some((learning.learner.leader(), learning.learner.leader_zxid()));
                }
                // Who is told where to go need not look.
                let spares_voters = learning.learner.is_observer() && designated.is_none();
                pauses.on_lost(learning.learner.leader(), why, spares_voters, self.now.mono);
                self.tell(Event::LeaderLost { why });
                self.leave_role();
            }
            LearnerOutput::Pinged => {
                let touched = self.sessions.take_touched(self.config.touched_max());
                self.say(Message::Ping { zxid: Zxid::ZERO, touched: Some(touched) });
            }
            LearnerOutput::ReceiveSnapshot { zxid } => self.begin_install(zxid),
            LearnerOutput::Revalidated { session, valid } => self.on_revalidated(session, valid),
            LearnerOutput::Rewind { zxid } => self.begin_rewind(zxid),
            LearnerOutput::SaveAccepted { epoch } => ensemble.promises.save(Promise::Accepted(epoch)),
            LearnerOutput::SaveCurrent { epoch } => ensemble.promises.save(Promise::Current(epoch)),
            LearnerOutput::Send { link, message } => ensemble.peers.send(link, &message),
            LearnerOutput::Serve => self.serve_as_learner(),
            LearnerOutput::Synced => {
                self.make_room();
                match self.learning().and_then(|learning| learning.syncs.pop_front()) {
                    Some(Asker::Conn(id)) => self.answer_sync(id),
                    Some(Asker::Observer(link)) => self.answer_observer(link, &Message::Sync),
                    None => {}
                }
            }
            LearnerOutput::TakeBack { zxid } => self.begin_take_back(zxid),
        }
    }

    fn dial_leader(&mut self) {
        let now = self.now.mono;
        let Some(Ensemble { role: Role::Learning(learning), dials, configs, masters, .. }) =
            self.ensemble.as_deref_mut()
        else {
            return;
        };
        let timeout = learning.learner.time_to_connect(now);
        let (leader, observer) = (learning.learner.leader(), learning.learner.is_observer());
        let Master { server, port, addresses } = masters.next(configs.current(), leader, observer);
        let dial = dials.issue();
        learning.dial = Some(dial);
        self.actions.push_back(Action::Dial { dial, port, server, addresses, timeout });
    }

    fn serve_as_learner(&mut self) {
        if !self.activate_offered() {
            return;
        }
        let now = self.now.mono;
        self.sessions.restart(now);
        self.sessions.report_touched();
        let zxid = self.tree.last_zxid();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Role::Learning(learning) = &ensemble.role else { unreachable!("the learner said so") };
        let (epoch, leader) = (learning.learner.epoch(), Some(learning.learner.leader()));
        let role = if learning.learner.is_observer() { RoleName::Observing } else { RoleName::Following };
        let took = learning.linked_at.map(|linked| now.since(linked));
        if !core::mem::replace(&mut ensemble.has_data, true) {
            ensemble.promises.save(Promise::Synced);
        }
        ensemble.know_committed(ensemble.tail.committed());
        ensemble.lacked = None;
        ensemble.masters.on_serving();
        ensemble.pauses.on_serving();
        self.name_epoch(epoch);
        self.measure_available(false);
        if let Some(took) = took {
            let summaries = &mut self.metrics.summaries;
            match role {
                RoleName::Observing => summaries.observer_sync_time.add_ms(took),
                RoleName::Following | RoleName::Leading | RoleName::Looking => {
                    summaries.follower_sync_time.add_ms(took);
                }
            }
        }
        self.tell(Event::RoleTaken { role, epoch, leader });
        self.tell(Event::Committed { zxid });
        self.serve_observers();
    }

    /// What the leader proposes, or informs of, goes to the log. It came from another server, so it is looked at first.
    fn log_proposal(&mut self, zxid: Zxid, payload: Bytes) {
        let decoded = wire::txn::decode(&payload, self.config.stored_field_max());
        let Ok((header, txn, digest)) = decoded else { return self.refuse_leader() };
        // Whoever asked for what failed without an error would be answered as if it had not.
        if header.zxid != zxid || matches!(txn, Txn::Error { code: ErrorCode::OK }) {
            return self.refuse_leader();
        }
        self.see_config(&header, &txn);
        let bytes = self.log.append(zxid, wire::txn::names_batch(&txn), |out, batch| {
            record::append(out, |out| wire::txn::copy_logged(&payload, &txn, batch, out));
        });
        self.snapshotter.on_append(bytes);
        let serving = self.is_serving();
        let votes = self.learning().is_some_and(|learning| !learning.learner.is_observer());
        self.metrics.counters.learner_proposal_received_count += u64::from(serving && votes);
        // Behind a snapshot the tree may be ahead of what it is said to be: ZooKeeper's are.
        let compares = self.learning().is_some_and(|learning| learning.learner.compares_digests());
        let digest = digest.filter(|digest| compares && digest.version == crate::tree::DIGEST_VERSION);
        let digest = digest.map(|digest| digest.tree_digest);
        self.proposals.push_back(Proposal { header, txn, hint: Hint::NONE, digest, asked: None });
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            // What came is a slice of a larger buffer, which should not live for as long as this is kept.
            ensemble.tail.push(zxid, Bytes::copy_from_slice(&payload));
        }
    }

    /// The tree is not what its author says that it is.
    pub(in crate::server) fn on_digest_differs(&mut self) {
        if let Some(learning) = self.learning() {
            learning.learner.on_digest_differs();
        }
    }

    fn refuse_leader(&mut self) {
        if let Some(learning) = self.learning() {
            learning.learner.fail(LostReason::BadMessage);
        }
    }

    /// Everything up to here is committed: observers are told, it is applied, and clients are answered.
    fn commit_as_learner(&mut self, zxid: Zxid, designated: Option<ServerId>) {
        self.metrics.counters.learner_commit_received_count += u64::from(self.is_serving());
        let bytes_max = self.config.ensemble.as_ref().map_or(0, |ensemble| ensemble.observer_master_bytes);
        let now = self.now.mono;
        if let Some(Ensemble { role: Role::Learning(learning), tail, .. }) = self.ensemble.as_deref_mut() {
            let mut keep = None;
            if let Some(Observers { master, .. }) = learning.observers.as_deref_mut() {
                for (committed, txn) in tail.behind(tail.committed()).take_while(|(entry, _)| *entry <= zxid)
                {
                    master.announce_commit(*committed, txn, designated.filter(|_| *committed == zxid), now);
                }
                keep = master.oldest_position().map(|after| Keep { after, bytes_max });
            }
            tail.commit(zxid, keep);
        }
        if self.is_serving()
            && let Some(ensemble) = self.ensemble.as_deref_mut()
        {
            ensemble.know_committed(zxid);
        }
        self.tell(Event::Committed { zxid });
        self.commit_up_to(zxid);
    }

    /// The log is durable up to here.
    pub(super) fn on_durable_as_learner(&mut self, durable: Zxid) {
        if let Some(learning) = self.learning() {
            learning.learner.on_durable(durable);
        }
    }

    pub(super) fn say(&mut self, message: Message) {
        if let Some(learning) = self.learning() {
            if let Message::Request { body, .. } = &message {
                learning.unsaid += body.len();
            }
            learning.learner.say(message);
        }
    }

    /// Whether more than so many bytes wait for the leader to take them.
    pub(in crate::server) fn owes_leader_more_than(&self, limit: usize) -> bool {
        let Some(Ensemble { role: Role::Learning(learning), peers, .. }) = self.ensemble.as_deref() else {
            return false;
        };
        match (limit.checked_sub(learning.unsaid), learning.learner.link()) {
            (None, _) => true,
            (Some(rest), Some(link)) => peers.owes_more_than(link, rest),
            (Some(_), None) => false,
        }
    }

    /// How many may be, however many clients each have one request: far from where the leader is given up.
    pub(in crate::server) fn owed_to_leader_max(&self) -> usize {
        self.config.ensemble.as_ref().map_or(usize::MAX, |ensemble| ensemble.link_outbox_bytes / 2)
    }

    /// Sends a client's write to the leader; what becomes of it comes back as a transaction.
    pub(in crate::server) fn forward(&mut self, conn: &mut Conn, cxid: i32, op: OpCode, body: &[u8]) {
        conn.waiting.push_back(Waiting::Forwarded { cxid, op, received: self.now.mono });
        self.forwarded += 1;
        let identities = conn.identities.iter().cloned().collect();
        let body = Bytes::copy_from_slice(body);
        self.say(Message::Request { session: conn.session, cxid, op, body, identities });
    }

    /// Opens a session: the leader is asked, under an id given here.
    pub(in crate::server) fn forward_open(&mut self, conn: &mut Conn) {
        let (cxid, op) = (0, OpCode::CREATE_SESSION);
        conn.waiting.push_back(Waiting::Forwarded { cxid, op, received: self.now.mono });
        self.forwarded += 1;
        let body = Bytes::copy_from_slice(&conn.timeout_ms.to_be_bytes());
        let identities = Vec::new();
        self.say(Message::Request { session: conn.session, cxid, op, body, identities });
    }

    /// A session that only this server knows is to be known to all. Nobody waits for an answer.
    pub(in crate::server) fn forward_upgrade(&mut self, session: SessionId, timeout_ms: i32) {
        let (op, body) = (OpCode::CREATE_SESSION, Bytes::copy_from_slice(&timeout_ms.to_be_bytes()));
        self.say(Message::Request { session, cxid: 0, op, body, identities: Vec::new() });
    }

    /// A client wants to see everything that was written before it asked: only the leader knows what that is.
    pub(in crate::server) fn on_sync(&mut self, conn: &mut Conn, cxid: i32, frame: &Bytes) {
        let frame = Bytes::copy_from_slice(frame);
        conn.syncing = true;
        conn.keep_waiting(Waiting::Sync { frame, received: self.now.mono });
        let (session, id) = (conn.session, conn.id);
        match self.learning() {
            None => self.sync_as_leader(id),
            Some(learning) => learning.ask_sync(Asker::Conn(id), session, cxid),
        }
    }

    /// A client came with a session it had before: only the leader knows whether it lives.
    pub(in crate::server) fn ask_revalidation(&mut self, conn: &mut Conn, session: SessionId) {
        conn.session = session;
        conn.phase = Phase::Opening;
        let (id, timeout_ms) = (conn.id, conn.timeout_ms);
        // What comes from the observer that served it is late from here on.
        self.sessions.take_over(session, id);
        if let Some(learning) = self.learning() {
            learning.ask_revalidation(Asker::Conn(id), session, timeout_ms);
        }
    }

    fn on_revalidated(&mut self, session: SessionId, valid: bool) {
        self.make_room();
        let id = match self.learning().and_then(|learning| learning.answered(session)) {
            Some(Asker::Conn(id)) => id,
            Some(Asker::Observer(link)) => {
                return self.answer_observer(link, &Message::Revalidated { session, valid });
            }
            None => return,
        };
        let Some(mut conn) = self.conns.take(id) else { return };
        let owner = Owner::Conn(conn.id);
        let attached = if valid {
            // The leader's word counts; its transaction that began the session may still be on the way here.
            self.sessions.learn(session, conn.timeout_ms, None, self.now.mono);
            self.sessions.reattach(session, conn.timeout_ms, owner, self.now.mono).ok()
        } else {
            None
        };
        self.finish_reattach(&mut conn, session, attached);
        self.conns.put_back(conn);
    }
}
