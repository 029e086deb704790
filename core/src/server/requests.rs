//! A request is taken: answered at once, kept until its session's writes are through, or proposed.

use bytes::Bytes;

use super::ensemble::changes_something;
use super::{Action, Asked, CloseReason, Event, Proposal, Server};
use crate::auth::{self, Authentication};
use crate::conn::stats::short_name;
use crate::conn::{Conn, Waiting};
use crate::pipeline::prep::{Origin, Prep};
use crate::pipeline::read::{Reader, Reads};
use crate::time::Instant;
use crate::tree::{DIGEST_VERSION, Hint};
use crate::types::{ErrorCode, OpCode, SessionId, Txn, TxnDigest, TxnHeader, Zxid};
use crate::wire::request::{RequestHeader, XID_PING, is_client_op};
use crate::wire::{self, DecodeError, Request, record, reply};

/// A write whose outcome is decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) zxid: Zxid,
    pub(super) session: SessionId,
    pub(super) cxid: i32,
    /// What was asked for.
    pub(super) op: OpCode,
    /// What comes of it.
    pub(super) txn: Txn,
    /// What helps to apply it.
    pub(super) hint: Hint,
    /// The client of this server that asked.
    pub(super) asked: Option<Asked>,
}

impl Server {
    pub(super) fn on_request(&mut self, conn: &mut Conn, frame: &Bytes) {
        conn.stats.received += 1;
        self.stats.received += 1;
        self.count_received(frame);
        conn.add_work(self.turn, frame.len());
        let mut reader = wire::Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            self.close(conn, CloseReason::BadFrame);
            return;
        };
        match header.op {
            OpCode::AUTH => return self.on_auth(conn, header, &mut reader),
            OpCode::SASL => return self.on_sasl(conn, header),
            _ => {}
        }
        if !self.is_authenticated_enough(conn) {
            reply::header_only(
                &mut conn.outbox,
                header.xid,
                Zxid::ZERO,
                ErrorCode::SESSIONCLOSEDREQUIRESASLAUTH,
            );
            self.count_sent(conn);
            self.close(conn, CloseReason::AuthFailed);
            return;
        }
        if !is_client_op(header.op) {
            reply::header_only(&mut conn.outbox, header.xid, Zxid::UNKNOWN, ErrorCode::UNIMPLEMENTED);
            self.count_sent(conn);
            self.close(conn, CloseReason::UnknownOperation);
            return;
        }
        conn.request_taken(header.xid);
        let read_only = self.is_read_only();
        if is_write(header.op) && !conn.session_over && !read_only {
            // A body that does not decode is answered in its turn, like a read.
            let body = reader.rest();
            if let Ok(request) = Request::decode(header.op, &mut reader)
                && !self.is_settled_here(conn, header.op, &request)
            {
                self.on_write(conn, header, &request, body);
                return;
            }
        }
        if header.op == OpCode::SYNC && self.ensemble.is_some() && !conn.session_over && !read_only {
            self.on_sync(conn, header.xid, frame);
            return;
        }
        let identities = conn.identities.len();
        if conn.waiting.is_empty() {
            self.answer_read(conn, frame, self.now.mono, identities);
        } else {
            // The frame may be a slice of a large buffer, which should not live for as long as this waits.
            let frame = Bytes::copy_from_slice(frame);
            conn.keep_waiting(Waiting::Read { frame, received: self.now.mono, identities });
            self.waiting_reads += 1;
        }
    }

    /// Whether the connection has an identity of a scheme that is demanded (PARITY `auth.enforce`).
    fn is_authenticated_enough(&self, conn: &Conn) -> bool {
        let demanded = &self.config.enforce_auth_schemes;
        demanded.is_empty()
            || conn.identities.iter().any(|id| demanded.iter().any(|scheme| *scheme == id.scheme))
    }

    fn on_auth(&mut self, conn: &mut Conn, header: RequestHeader, reader: &mut wire::Reader<'_>) {
        let Ok(Request::Auth { scheme, auth, .. }) = Request::decode(header.op, reader) else {
            self.close(conn, CloseReason::BadFrame);
            return;
        };
        let scheme = scheme.unwrap_or_default();
        let credentials = auth.unwrap_or_default();
        let outcome = auth::authenticate(&self.config, scheme, credentials, &conn.address());
        if scheme == "ensemble" {
            let names = &self.config.ensemble_auth_names;
            let counters = &mut self.metrics.counters;
            match outcome {
                Authentication::Accepted(_) if credentials.is_empty() || names.is_empty() => {
                    counters.ensemble_auth_skip += 1;
                }
                Authentication::Accepted(_) => counters.ensemble_auth_success += 1,
                Authentication::Hangup | Authentication::Refused => counters.ensemble_auth_fail += 1,
            }
        }
        match outcome {
            Authentication::Accepted(identities) => {
                for id in identities {
                    if conn.identities.contains(&id) {
                        continue;
                    }
                    // Every check of an ACL looks at all of them.
                    if conn.identities.len() >= self.config.identities_max {
                        return self.refuse_auth(conn, header.xid);
                    }
                    conn.identities.push(id);
                }
                reply::header_only(&mut conn.outbox, header.xid, Zxid::ZERO, ErrorCode::OK);
                self.count_sent(conn);
            }
            Authentication::Refused => self.refuse_auth(conn, header.xid),
            Authentication::Hangup => self.close(conn, CloseReason::AuthFailed),
        }
    }

    fn refuse_auth(&mut self, conn: &mut Conn, xid: i32) {
        reply::header_only(&mut conn.outbox, xid, Zxid::ZERO, ErrorCode::AUTHFAILED);
        self.count_sent(conn);
        self.close(conn, CloseReason::AuthFailed);
    }

    /// As a ZooKeeper server without SASL answers: nothing is proved, and the connection goes on.
    fn on_sasl(&mut self, conn: &mut Conn, header: RequestHeader) {
        let frame = reply::begin(&mut conn.outbox);
        reply::header(&mut conn.outbox, header.xid, Zxid::ZERO, ErrorCode::OK);
        reply::sasl(&mut conn.outbox, None);
        reply::end(&mut conn.outbox, frame);
        self.count_sent(conn);
    }

    fn on_write(&mut self, conn: &mut Conn, header: RequestHeader, request: &Request<'_>, body: &[u8]) {
        if self.is_too_large(RequestHeader::LEN + body.len()) {
            self.metrics.counters.large_requests_rejected += 1;
            self.close(conn, CloseReason::LargeRequest);
            return;
        }
        let (session, op) = (conn.session, header.op);
        // Its end may have come from another server, where its client is or was as well.
        let is_over = !self.sessions.is_alive(session);
        if op == OpCode::CLOSE_SESSION {
            self.sessions.set_closing(session);
            conn.session_over = true;
        }
        if self.sessions.is_local(session) {
            self.upgrade_session(session, op, request);
        }
        if self.is_learning() {
            self.forward(conn, header.xid, op, body);
            return;
        }
        self.propose(Some(conn), session, header.xid, op, |prep| match op {
            _ if is_over => Txn::Error { code: ErrorCode::SESSIONEXPIRED },
            OpCode::CLOSE_SESSION => prep.close_session(),
            _ => prep.transaction(op, request),
        });
    }

    fn is_too_large(&self, frame_len: usize) -> bool {
        self.config.large_request_threshold.is_some_and(|threshold| {
            frame_len > threshold
                && frame_len + self.log.buffered_bytes() > self.config.large_request_max_bytes
        })
    }

    /// Gives a write its place in the order and hands it to the log. Where there is no place left, because the epoch is
    /// used up or another server leads from here on, nothing would ever be answered: the client is to ask again elsewhere,
    /// and whatever it sent behind that must not be answered first.
    pub(super) fn propose(
        &mut self,
        mut conn: Option<&mut Conn>,
        session: SessionId,
        cxid: i32,
        op: OpCode,
        decide: impl FnOnce(&mut Prep<'_>) -> Txn,
    ) {
        let Some(zxid) = self.next_zxid() else {
            if let Some(conn) = conn {
                self.close(conn, CloseReason::LeaderLost);
            }
            return;
        };
        let identities = conn.as_deref().map_or(&[][..], |conn| &conn.identities);
        let origin = Origin { session, identities, zxid, time: self.now.wall };
        let (txn, hint) = self.prepare(origin, op, decide);
        if let Some(conn) = conn.as_deref_mut() {
            conn.waiting.push_back(Waiting::Write { zxid });
        }
        let asked = conn.map(|conn| Asked { conn: conn.id, op, received: self.now.mono });
        self.log_txn(Decided { zxid, session, cxid, op, txn, hint, asked });
    }

    /// Decides what comes of a write behind everything that was proposed, and what helps to apply that.
    pub(super) fn prepare(
        &mut self,
        origin: Origin<'_>,
        op: OpCode,
        decide: impl FnOnce(&mut Prep<'_>) -> Txn,
    ) -> (Txn, Hint) {
        let members = self.members_asked_about(op);
        self.quota_log.at(self.now.mono);
        let (tree, pending, config, quota_log) =
            (&self.tree, &mut self.pending, &self.config, &mut self.quota_log);
        let mut prep = Prep { tree, pending, config, origin, members, hint: Hint::NONE, quota_log };
        let decided = (decide(&mut prep), prep.hint);
        self.tell_quotas();
        decided
    }

    /// Tells which quotas were exceeded.
    fn tell_quotas(&mut self) {
        while let Some((exceeded, untold)) = self.quota_log.poll() {
            self.tell(Event::QuotaExceeded { exceeded, untold });
        }
    }

    /// The zxid of the next transaction; `None` where the epoch has none left.
    fn next_zxid(&mut self) -> Option<Zxid> {
        match self.leader() {
            Some(leader) => leader.next_zxid(),
            None => Some(self.log.appended().next()),
        }
    }

    /// Hands a decided transaction to the log, and to those who follow.
    pub(super) fn log_txn(&mut self, decided: Decided) {
        let Decided { zxid, session, cxid, op, txn, hint, asked } = decided;
        let logged_op = if matches!(txn, Txn::Error { .. }) { OpCode::ERROR } else { op };
        let header = TxnHeader { session, cxid, zxid, time: self.now.wall, op: logged_op };
        let digest = self.pending.digest();
        let txn_digest =
            self.config.digest_enabled.then_some(TxnDigest { version: DIGEST_VERSION, tree_digest: digest });
        let bytes = if self.ensemble.is_some() {
            self.log_and_propose(&header, &txn, txn_digest.as_ref())
        } else {
            self.log.append(zxid, wire::txn::names_batch(&txn), |out, batch| {
                record::append(out, |out| {
                    wire::txn::encode_logged(&header, &txn, txn_digest.as_ref(), batch, out);
                });
            })
        };
        self.snapshotter.on_append(bytes);
        let digest = txn_digest.map(|digest| digest.tree_digest);
        self.proposals.push_back(Proposal { header, txn, hint, digest, asked });
    }

    /// Answers a read, or a request that was not worth a transaction, on behalf of the first `identities` that the
    /// connection has proved.
    pub(super) fn answer_read(
        &mut self,
        conn: &mut Conn,
        frame: &[u8],
        received: Instant,
        identities: usize,
    ) {
        let mut reader = wire::Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("it was decoded when it was taken");
        conn.request_answered(header.xid);
        if header.op == OpCode::CLOSE_SESSION && !conn.session_over && self.sessions.is_local(conn.session) {
            return self.close_local_session(conn, header.xid, received);
        }
        let owed = conn.owed();
        let mut looked_at = 0;
        let mut reply_at = conn.outbox.len();
        let decoded = self.admit(conn, header.op, &mut reader, received);
        let events = match &decoded {
            Ok(request) => {
                let identities = &conn.identities[..identities];
                let reader = Reader { conn: conn.id, session: conn.session, identities };
                let mut reads = Reads::new(&self.tree, &mut self.watches, &self.config, reader);
                // Whatever its own number (PARITY `op.ping`).
                let xid = if header.op == OpCode::PING { XID_PING } else { header.xid };
                let answered = reads.answer(xid, header.op, request, &mut conn.outbox);
                looked_at = reads.work();
                if answered.events > 0 {
                    let lengths = 4 * answered.events;
                    self.metrics.counters.watch_bytes += (answered.reply_at - reply_at) as u64 - lengths;
                }
                reply_at = answered.reply_at;
                answered.events
            }
            Err(code) => {
                reply::header_only(&mut conn.outbox, header.xid, self.tree.last_zxid(), *code);
                0
            }
        };
        conn.add_work(self.turn, looked_at + conn.owed().saturating_sub(owed));
        conn.stats.sent += events;
        self.stats.sent += events;
        self.answered(conn, header.op, header.xid, received, reply_at);
    }

    /// Decodes a read, unless something stands against answering it.
    fn admit<'a>(
        &mut self,
        conn: &Conn,
        op: OpCode,
        reader: &mut wire::Reader<'a>,
        received: Instant,
    ) -> Result<Request<'a>, ErrorCode> {
        if conn.session_over {
            return Err(ErrorCode::SESSIONEXPIRED);
        }
        if changes_something(op) && self.is_read_only() {
            return Err(ErrorCode::NOTREADONLY);
        }
        let waited = self.now.mono.since(received);
        if op != OpCode::PING && self.config.throttled_op_wait.is_some_and(|limit| waited > limit) {
            self.metrics.counters.throttled_ops += 1;
            return Err(ErrorCode::THROTTLEDOP);
        }
        let request = Request::decode(op, reader).map_err(|_: DecodeError| ErrorCode::MARSHALLINGERROR)?;
        // A write comes here that a local session may not ask for; one whose body did not decode does not now either.
        if is_write(op) { Err(ErrorCode::EPHEMERALONLOCALSESSION) } else { Ok(request) }
    }

    /// A request was answered, by what is in the outbox from `reply_at` on: count it.
    pub(super) fn answered(
        &mut self,
        conn: &mut Conn,
        op: OpCode,
        cxid: i32,
        received: Instant,
        reply_at: usize,
    ) {
        self.count_sent(conn);
        let took = self.now.mono.since(received);
        self.stats.latency.add_ms(took);
        self.metrics.answered(is_write(op), took, conn.outbox.len() - reply_at);
        conn.stats.answered(short_name(op), cxid, self.tree.last_zxid(), received, self.now.mono);
    }

    /// A new session stands: that was a request like others, to all servers if it is `global`, but its answer is no
    /// reply.
    pub(super) fn count_opened(&mut self, conn: &mut Conn, global: bool, received: Instant) {
        let took = self.now.mono.since(received);
        self.stats.latency.add_ms(took);
        self.metrics.took(global, took);
        let name = short_name(OpCode::CREATE_SESSION);
        conn.stats.answered(name, 0, self.tree.last_zxid(), received, self.now.mono);
    }

    /// A packet came whose length was in front of it.
    pub(super) fn count_received(&mut self, frame: &[u8]) {
        self.metrics.counters.bytes_received_count += (4 + frame.len()) as u64;
    }

    /// A packet was put into the connection's outbox.
    pub(super) fn count_sent(&mut self, conn: &mut Conn) {
        conn.stats.sent += 1;
        self.stats.sent += 1;
    }

    /// Tells whoever watches the server.
    pub(super) fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }
}

/// Whether the operation becomes a transaction.
pub(super) const fn is_write(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::CLOSE_SESSION
            | OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::CREATE_CONTAINER
            | OpCode::CREATE_TTL
            | OpCode::DELETE
            | OpCode::MULTI
            | OpCode::RECONFIG
            | OpCode::SET_ACL
            | OpCode::SET_DATA
    )
}
