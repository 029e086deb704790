//! Leading, carried out: what the leader wants done, and what its learners ask for.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::promises::Promise;
use super::strangers::Strangers;
use super::transfer::{Serving, Transfers};
use super::{Ensemble, Role};
use crate::conn::Waiting;
use crate::conn::summary::Sizes;
use crate::pipeline::prep::Origin;
use crate::server::local::creates_ephemeral;
use crate::server::requests::{Decided, is_write};
use crate::server::{Action, Event, HangupReason, PeerPort, Phase, Role as RoleName, Server};
use crate::session::{Owner, SessionExpired};
use crate::time::Instant;
use crate::tree::Hint;
use crate::types::{
    ConnId, ErrorCode, Id, LinkId, Message, OpCode, ServerId, SessionId, Txn, TxnDigest, TxnHeader, Zxid,
};
use crate::wire::quorum::QuorumDecodeError;
use crate::wire::{self, Request, record};
use crate::zab::leader::{StepDownReason, beginning};
use crate::zab::{Keep, Leader, LeaderOutput, LearnerMaster, LearnersOutput, Quorums};

/// Syncs of learners that may wait for a quorum, far more than their throttling leaves over; who asks for one more is
/// sent away. Reading on later is no way: what a learner says behind its sync may be what the sync waits for.
const SYNCS_MAX: usize = 1 << 20;

/// What only a leader has.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) leader: Leader,
    pub(super) transfers: Transfers,
    /// Syncs that were asked for, oldest first.
    syncs: VecDeque<Sync>,
    /// Sessions that nobody here knows.
    pub(super) strangers: Strangers,
    /// The newest confirmation that a quorum follows.
    pub(super) confirmed: u64,
    /// Where a transaction gets its bytes before it is known how many there are.
    encoded: Vec<u8>,
    /// Bytes of the transactions that were proposed.
    pub(super) proposal_sizes: Sizes,
    /// Since when it leads.
    pub(super) serving_since: Option<Instant>,
}

impl Leading {
    pub(super) fn pending_syncs(&self) -> usize {
        self.syncs.len()
    }

    /// Whether a client of this server waits for a sync.
    pub(super) fn owes_a_sync(&self) -> bool {
        self.syncs.iter().any(|sync| matches!(sync.asked_by, Asker::Conn(_)))
    }

    /// Whether the oldest sync is one that may be answered, by a server that has applied so much.
    pub(super) fn has_due_sync(&self, applied: Zxid) -> bool {
        let (confirmed, begins) = (self.confirmed, beginning(self.leader.epoch()));
        self.syncs.front().is_some_and(|sync| sync.is_due(confirmed, applied, begins))
    }

    /// Takes the oldest syncs for as long as they are due: learners hear of theirs behind what they were told before; the
    /// clients of this server are named.
    fn end_syncs(&mut self, is_due: impl Fn(&Sync) -> bool) -> Vec<ConnId> {
        let mut clients = Vec::new();
        while let Some(sync) = self.syncs.pop_front_if(|sync| is_due(sync)) {
            match sync.asked_by {
                Asker::Conn(conn) => clients.push(conn),
                Asker::Learner(link) => self.leader.send(link, Message::Sync),
            }
        }
        clients
    }
}

/// A sync is answered once what was proposed before it is committed, and a quorum has said since that it follows: then
/// nobody else can have committed anything that this server does not know of. ZooKeeper's leader does without the
/// second (PARITY `op.sync`), and may then be one that was deposed.
///
/// A learner hears of it behind the commit of the last transaction that was proposed before, and ahead of the next one:
/// its own clients' writes and syncs are queued in the order in which it passed them on, and a learner of ZooKeeper's
/// that sees them done in another waits for ever. A quorum that acknowledges the next one follows, so it is never too
/// early.
#[derive(Debug)]
struct Sync {
    behind: Zxid,
    round: u64,
    asked_by: Asker,
}

impl Sync {
    /// Whether it may be answered without a commit. Before the first transaction of the epoch there is nothing to wait for.
    fn is_due(&self, confirmed: u64, applied: Zxid, begins: Zxid) -> bool {
        self.round <= confirmed && (self.behind <= applied || self.behind == begins)
    }
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Conn(ConnId),
    Learner(LinkId),
}

impl Server {
    /// Elected: everything in the log is this server's history, whether a quorum has it will show.
    pub(super) fn begin_leading(&mut self) {
        self.end_read_only();
        self.measure_election();
        self.commit_up_to(self.log.appended());
        self.reset_pending();
        let now = self.now.mono;
        let tick = self.config.tick_time;
        let last_zxid = self.log.appended();
        let ensemble = self.ensemble.as_deref_mut().expect("only a member is elected");
        let config = self.config.ensemble.as_ref().expect("a member has a configuration of its own");
        ensemble.tail.commit(ensemble.tail.last(), None);
        let own = ensemble.own_history(last_zxid);
        let quorums = Quorums::new(ensemble.configs.current().clone(), ensemble.configs.next().cloned());
        let mut leader = Leader::new(ensemble.me, tick, config, quorums, own, now);
        let links = ensemble.peers.unpark(PeerPort::Quorum);
        for &link in &links {
            leader.on_link_up(link, now);
        }
        leader.begin_above(ensemble.promised);
        if !ensemble.configs.is_remembered() {
            leader.withhold();
        }
        let leading = Leading {
            leader,
            transfers: Transfers::default(),
            syncs: VecDeque::new(),
            strangers: Strangers::default(),
            confirmed: 0,
            proposal_sizes: Sizes::default(),
            serving_since: None,
            encoded: Vec::new(),
        };
        ensemble.role = Role::Leading(Box::new(leading));
        self.hang_up_parked(PeerPort::ObserverMaster);
        for link in links {
            self.take_messages(link);
        }
    }

    /// A server connected to the quorum port, which it does when it believes that this one leads. It may know before
    /// this server does: by the votes, or because the leader of both has said who leads from here on (PARITY
    /// `reconf.leader-handoff`). Nobody can have said so before this server has seen the change of members; who comes
    /// then waits, and to send it away would cost the ensemble an election.
    pub(super) fn on_learner_up(&mut self, link: LinkId) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let may_be_named = ensemble.configs.next().is_some_and(|next| next.is_voter(ensemble.me));
        match &mut ensemble.role {
            Role::Leading(leading) => {
                ensemble.peers.insert(link, &self.config);
                leading.leader.on_link_up(link, now);
            }
            Role::Learning(_) if !may_be_named => self.refuse_link(link),
            Role::Learning(_) | Role::Looking | Role::Settling => self.park_link(link, PeerPort::Quorum),
        }
    }

    /// Takes what a learner said, unless too much of that waits already.
    pub(super) fn take_messages(&mut self, link: LinkId) {
        let now = self.now.mono;
        loop {
            let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
            if let Role::Learning(learning) = &mut ensemble.role
                && learning.learner.link() == Some(link)
            {
                return learning.learner.heard(now);
            }
            if let Some(buffered) = ensemble.peers.buffered_of_parked(link) {
                // Whoever waits to be served introduces itself, and says nothing else.
                if buffered > self.config.inbox_pause_bytes {
                    self.hang_up(link, HangupReason::BadMessage);
                }
                return;
            }
            let Some(Serving { master, peers, .. }) = ensemble.serving() else { return };
            let (links, max) = (peers.len(), self.config.log_buffer_max);
            let [stays_paused, is_enough] = [max / 2, max].map(|max| peers.held.is_enough(link, links, max));
            let Some(peer) = peers.get(link) else { return };
            let pause = if peer.paused { stays_paused } else { is_enough };
            if pause != peer.paused {
                peer.paused = pause;
                let action = if pause { Action::PauseLink { link } } else { Action::ResumeLink { link } };
                self.actions.push_back(action);
            }
            if pause {
                return;
            }
            match peer.deframer.next() {
                Ok(Some(message)) => master.on_message(link, message, now),
                Ok(None) => return,
                Err(QuorumDecodeError::UnknownType { .. }) if master.passes_over_unknown(link) => {}
                Err(_) => master.hang_up(link, HangupReason::BadMessage),
            }
            self.carry_out_leader();
            self.carry_out_observer_master();
        }
    }

    /// Does what the leader wants done, until it wants nothing.
    pub(super) fn carry_out_leader(&mut self) {
        while let Some(output) = self.leader().and_then(Leader::poll_output) {
            self.on_leader_output(output);
        }
    }

    pub(super) fn on_leader_output(&mut self, output: LeaderOutput) {
        let ensemble = self.ensemble.as_deref_mut().expect("only a member leads");
        match output {
            LeaderOutput::Activate { designated } => self.activate_as_leader(designated),
            LeaderOutput::Commit { zxid } => self.commit_as_leader(zxid),
            LeaderOutput::Confirmed { round } => {
                if let Some(leading) = ensemble.leading_mut() {
                    leading.confirmed = round;
                }
                self.answer_syncs();
                self.answer_strangers();
            }
            LeaderOutput::Learners(output) => self.on_learners_output(output),
            LeaderOutput::SaveAccepted { epoch } => {
                ensemble.promises.save(Promise::Accepted(epoch));
            }
            LeaderOutput::SaveCurrent { epoch } => {
                ensemble.promises.save(Promise::Current(epoch));
            }
            LeaderOutput::Serve => self.serve_as_leader(),
            LeaderOutput::StepDown { why } => self.step_down(why),
        }
    }

    fn serve_as_leader(&mut self) {
        let now = self.now.mono;
        self.sessions.restart(now);
        self.reset_pending();
        self.owners_unchecked = true;
        let zxid = self.tree.last_zxid();
        let ensemble = self.ensemble.as_deref_mut().expect("only a member leads");
        let Role::Leading(leading) = &mut ensemble.role else { unreachable!("the leader said so") };
        leading.serving_since = Some(now);
        ensemble.pauses.on_serving();
        let epoch = leading.leader.epoch();
        let leader = Some(ensemble.me);
        ensemble.know_committed(zxid);
        // What it has is what all have.
        ensemble.wants_snapshot = false;
        self.name_epoch(epoch);
        self.measure_available(true);
        self.tell(Event::RoleTaken { role: RoleName::Leading, epoch, leader });
        self.tell(Event::Committed { zxid });
    }

    fn step_down(&mut self, why: StepDownReason) {
        if let (StepDownReason::EpochOvertaken { promised }, Some(ensemble)) =
            (why, self.ensemble.as_deref_mut())
        {
            ensemble.promised = ensemble.promised.max(promised);
        }
        self.tell(Event::SteppedDown { why });
        self.leave_role();
    }

    /// What whoever serves learners wants done about one.
    pub(super) fn on_learners_output(&mut self, output: LearnersOutput) {
        match output {
            LearnersOutput::BeginSync { link, last_zxid } => self.begin_transfer(link, last_zxid),
            LearnersOutput::Hangup { link, why } => {
                self.forget_transfer(link);
                self.hang_up(link, why);
            }
            LearnersOutput::Said { link, server, message } => self.on_said(link, server, message),
            LearnersOutput::Send { link, message } => {
                if let Some(ensemble) = self.ensemble.as_deref_mut() {
                    ensemble.peers.send(link, &message);
                }
            }
        }
    }

    /// What a learner asks for that is not the protocol's own business.
    pub(super) fn on_learner(&mut self, link: LinkId, server: ServerId, message: Message) {
        // Who stops leaves what others ask for to the next leader.
        if self.phase != Phase::Running && !matches!(message, Message::Ping { .. }) {
            return;
        }
        match message {
            Message::Ping { touched, .. } => {
                for (session, timeout_ms) in touched.unwrap_or_default() {
                    self.sessions.touch(session, Some(timeout_ms), self.now.mono);
                }
            }
            Message::Request { session, cxid, op, body, identities } => match op {
                OpCode::SYNC => self.sync_for_learner(link),
                _ => self.order(server, session, cxid, op, &body, &identities),
            },
            Message::Revalidate { session, timeout_ms } => self.revalidate(link, server, session, timeout_ms),
            _ => unreachable!("a leader passes on nothing else"),
        }
    }

    /// Orders a write of a learner's client. Whatever it is, it becomes a transaction: the learner waits for one
    /// (PARITY `zab.forward`).
    fn order(
        &mut self,
        server: ServerId,
        session: SessionId,
        cxid: i32,
        op: OpCode,
        body: &Bytes,
        identities: &[Id],
    ) {
        let Some(zxid) = self.leader().and_then(|leader| leader.next_zxid()) else { return };
        let (now, owner) = (self.now, Some(Owner::Learner(server)));
        let txn = match op {
            OpCode::CREATE_SESSION => match wire::Reader::new(body).int() {
                // An id that is known already was opened twice; the client of the second finds it expired.
                Ok(timeout_ms) if self.sessions.learn(session, timeout_ms, owner, now.mono) => {
                    Txn::CreateSession { timeout_ms }
                }
                Ok(_) => Txn::Error { code: ErrorCode::SESSIONEXPIRED },
                Err(_) => Txn::Error { code: ErrorCode::MARSHALLINGERROR },
            },
            _ => self.decide(zxid, server, session, op, body, identities),
        };
        if op == OpCode::CLOSE_SESSION && !matches!(txn, Txn::Error { .. }) {
            self.sessions.set_closing(session);
        }
        self.log_txn(Decided { zxid, session, cxid, op, txn, hint: Hint::NONE, asked: None });
    }

    fn decide(
        &mut self,
        zxid: Zxid,
        server: ServerId,
        session: SessionId,
        op: OpCode,
        body: &Bytes,
        identities: &[Id],
    ) -> Txn {
        let known = self.sessions.is_global(session) || !self.may_be_local_elsewhere(session);
        if known && let Err(code) = self.may_ask(server, session, op) {
            return Txn::Error { code };
        }
        let Ok(request) = Request::decode(op, &mut wire::Reader::new(body)) else {
            return Txn::Error { code: ErrorCode::MARSHALLINGERROR };
        };
        if !known && creates_ephemeral(op, &request) {
            return Txn::Error { code: ErrorCode::SESSIONEXPIRED };
        }
        if !is_write(op) {
            return Txn::Error { code: ErrorCode::UNIMPLEMENTED };
        }
        let origin = Origin { session, identities, zxid, time: self.now.wall };
        let (txn, _) = self.prepare(origin, op, |prep| match op {
            OpCode::CLOSE_SESSION => prep.close_session(),
            _ => prep.transaction(op, &request),
        });
        txn
    }

    /// Whether a learner may ask for such a thing on behalf of a session. Its end may come from wherever its client was:
    /// who asks for that comes back to no other server (PARITY `sess.owner`).
    pub(super) fn may_ask(
        &mut self,
        server: ServerId,
        session: SessionId,
        op: OpCode,
    ) -> Result<(), ErrorCode> {
        match op {
            OpCode::CLOSE_SESSION if self.sessions.is_alive(session) => Ok(()),
            OpCode::CLOSE_SESSION => Err(ErrorCode::SESSIONEXPIRED),
            _ => self.sessions.check(session, Owner::Learner(server)),
        }
    }

    /// A client came to a learner with a session it had before (PARITY `quorum.revalidate`).
    fn revalidate(&mut self, link: LinkId, server: ServerId, session: SessionId, timeout_ms: i32) {
        self.metrics.counters.revalidate_count += 1;
        self.answer_learner(link, server, session, timeout_ms);
    }

    /// Takes note that a learner serves a session from now on. Whether it lives.
    pub(super) fn attach_to_learner(
        &mut self,
        server: ServerId,
        session: SessionId,
        timeout_ms: i32,
    ) -> bool {
        let owner = Owner::Learner(server);
        let before = match self.sessions.is_local(session) {
            true => Err(SessionExpired),
            false => self.sessions.reattach(session, timeout_ms, owner, self.now.mono),
        };
        if let Ok(Some(Owner::Conn(conn))) = before {
            self.close_by_id(conn, crate::server::CloseReason::SessionMoved);
        }
        before.is_ok()
    }

    /// A client of this server wants to see everything that was written before it asked.
    pub(in crate::server) fn sync_as_leader(&mut self, conn: ConnId) {
        self.sync(Asker::Conn(conn));
    }

    fn sync_for_learner(&mut self, link: LinkId) {
        match self.leading() {
            Some(leading) if leading.syncs.len() >= SYNCS_MAX => {
                leading.leader.hang_up(link, HangupReason::BadMessage);
            }
            Some(_) | None => self.sync(Asker::Learner(link)),
        }
    }

    fn sync(&mut self, asked_by: Asker) {
        let Some(leading) = self.leading() else { return };
        let round = leading.leader.confirm();
        leading.syncs.push_back(Sync { behind: leading.leader.last_proposed(), round, asked_by });
    }

    fn answer_syncs(&mut self) {
        let applied = self.tree.last_zxid();
        let Some(leading) = self.leading() else { return };
        let (confirmed, begins) = (leading.confirmed, beginning(leading.leader.epoch()));
        let synced = leading.end_syncs(|sync| sync.is_due(confirmed, applied, begins));
        for conn in synced {
            self.answer_sync(conn);
        }
    }

    /// A quorum has everything up to here: learners are told, it is applied, and clients are answered.
    fn commit_as_leader(&mut self, zxid: Zxid) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Ensemble { role: Role::Leading(leading), tail, .. } = ensemble else { return };
        let observers = leading.leader.has_observers();
        let mut synced = Vec::new();
        for (committed, txn) in tail.behind(tail.committed()).take_while(|(entry, _)| *entry <= zxid) {
            self.metrics.counters.commit_count += 1;
            synced.extend(leading.end_syncs(|sync| sync.behind < *committed));
            leading.leader.announce_commit(*committed, observers.then_some(txn));
        }
        // What may stay anyway, four times.
        let bytes_max =
            self.config.ensemble.as_ref().map_or(0, |ensemble| ensemble.commit_log_bytes.saturating_mul(4));
        tail.commit(zxid, leading.leader.oldest_position().map(|after| Keep { after, bytes_max }));
        ensemble.know_committed(zxid);
        self.tell(Event::Committed { zxid });
        self.commit_up_to(zxid);
        for conn in synced {
            self.answer_sync(conn);
        }
        self.answer_syncs();
        self.make_room();
    }

    /// Logs a transaction and sends it to those who vote. Returns the bytes that the log took.
    pub(in crate::server) fn log_and_propose(
        &mut self,
        header: &TxnHeader,
        txn: &Txn,
        digest: Option<&TxnDigest>,
    ) -> usize {
        self.see_config(header, txn);
        let Some(Ensemble { role: Role::Leading(leading), tail, .. }) = self.ensemble.as_deref_mut() else {
            unreachable!("only a leader orders");
        };
        leading.encoded.clear();
        wire::txn::encode(header, txn, digest, &mut leading.encoded);
        // Exactly as large as it has to be: many of these are kept.
        let payload = Bytes::copy_from_slice(&leading.encoded);
        let bytes = self.log.append(header.zxid, wire::txn::names_batch(txn), |out, batch| {
            record::append(out, |out| wire::txn::copy_logged(&payload, txn, batch, out));
        });
        leading.proposal_sizes.add(payload.len());
        self.metrics.counters.proposal_count += 1;
        leading.leader.propose(header.zxid, &payload);
        tail.push(header.zxid, payload);
        bytes
    }

    /// The log is durable up to here: this server's own acknowledgement.
    pub(super) fn on_durable_as_leader(&mut self, durable: Zxid) {
        if let Some(leader) = self.leader() {
            leader.on_durable(durable);
        }
        self.make_room();
    }

    pub(super) const fn make_room(&mut self) {
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.room = true;
        }
    }

    /// The client waits for its sync no more: it is a read now, and may be answered.
    pub(super) fn answer_sync(&mut self, id: ConnId) {
        let Some(mut conn) = self.conns.take(id) else { return };
        if let Some(sync) = conn.waiting.iter_mut().find(|waiting| matches!(waiting, Waiting::Sync { .. }))
            && let Waiting::Sync { frame, received } = sync
        {
            let identities = conn.identities.len();
            *sync = Waiting::Read { frame: frame.clone(), received: *received, identities };
            self.waiting_reads += 1;
            conn.syncing = false;
            self.answer_waiting_reads(&mut conn);
            self.take_frames(&mut conn);
        }
        self.conns.put_back(conn);
    }
}
