//! Sessions are opened and re-attached (PARITY `conn.*`).

use super::{CloseReason, Server};
use crate::conn::{Conn, Phase};
use crate::server::Event;
use crate::session::Owner;
use crate::session::password::password;
use crate::types::{ErrorCode, OpCode, SessionId, Txn, Zxid};
use crate::wire::connect::{ConnectRequest, ConnectResponse};
use crate::wire::reply;

impl Server {
    pub(super) fn on_handshake(&mut self, conn: &mut Conn, frame: &[u8]) {
        conn.stats.received += 1;
        self.stats.received += 1;
        self.count_received(frame);
        let Ok(request) = ConnectRequest::decode(frame) else {
            self.close(conn, CloseReason::BadFrame);
            return;
        };
        self.metrics.counters.connection_request_count += 1;
        let read_only = self.is_read_only();
        if !self.is_serving() && !read_only {
            self.close(conn, CloseReason::NotServing);
            return;
        }
        // Who wants to write, too, finds no other answer than none (PARITY `conn.ro.refuse`).
        if read_only && request.read_only != Some(true) {
            self.close(conn, CloseReason::ReadOnly);
            return;
        }
        // A client that has seen more than this server knows must find one that is further (`conn.zxidahead`).
        if request.last_zxid_seen > self.tree.last_zxid() {
            self.close(conn, CloseReason::ClientAhead);
            return;
        }
        conn.knows_read_only = request.read_only.is_some();
        conn.timeout_ms = self.negotiate(request.timeout_ms);
        if request.session == SessionId::NONE {
            return self.open(conn);
        }
        self.metrics.counters.connection_revalidate_count += 1;
        if read_only {
            self.reattach_read_only(conn, request.session, request.password);
        } else {
            self.reattach(conn, request.session, request.password);
        }
    }

    fn negotiate(&self, timeout_ms: i32) -> i32 {
        let limit = |limit: core::time::Duration| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        timeout_ms.clamp(limit(self.config.min_session_timeout), limit(self.config.max_session_timeout))
    }

    /// A new session is a transaction; the client is answered when it commits (`conn.new`).
    fn open(&mut self, conn: &mut Conn) {
        if self.is_read_only() && !self.opens_local_sessions() {
            reply::header_only(&mut conn.outbox, 0, self.tree.last_zxid(), ErrorCode::NOTREADONLY);
            self.count_sent(conn);
            self.close(conn, CloseReason::ReadOnly);
            return;
        }
        conn.session = self.sessions.create(conn.timeout_ms, conn.id, self.now.mono);
        if self.opens_local_sessions() {
            self.sessions.set_local(conn.session);
            self.count_opened(conn, false, self.now.mono);
            return self.establish(conn);
        }
        conn.phase = Phase::Opening;
        if self.is_learning() {
            self.forward_open(conn);
            return;
        }
        let (session, timeout_ms) = (conn.session, conn.timeout_ms);
        self.propose(Some(conn), session, 0, OpCode::CREATE_SESSION, |_| Txn::CreateSession { timeout_ms });
    }

    /// A session that all servers know waits until they can be asked; of any other this server is as good a judge as
    /// ZooKeeper's, which takes whoever knows the password, unless it has local sessions.
    fn reattach_read_only(&mut self, conn: &mut Conn, session: SessionId, presented: &[u8]) {
        if self.sessions.is_global(session) {
            self.close(conn, CloseReason::ReadOnly);
            return;
        }
        if presented == password(session) && !self.opens_local_sessions() {
            self.sessions.learn(session, conn.timeout_ms, None, self.now.mono);
            self.sessions.set_local(session);
        }
        self.reattach(conn, session, presented);
    }

    /// ZooKeeper closes the session's other connection before it looks at the password; here whoever does not know
    /// the password closes nothing.
    fn reattach(&mut self, conn: &mut Conn, session: SessionId, presented: &[u8]) {
        let known = presented == password(session);
        if known && self.is_learning() && !self.sessions.is_local(session) {
            self.ask_revalidation(conn, session);
            return;
        }
        let attached = if known {
            self.sessions.reattach(session, conn.timeout_ms, Owner::Conn(conn.id), self.now.mono).ok()
        } else {
            None
        };
        if known && attached.is_none() && self.doubts(conn, session) {
            return;
        }
        self.finish_reattach(conn, session, attached);
    }

    /// Whether the session lives is known: `attached` says who served it before.
    pub(super) fn finish_reattach(
        &mut self,
        conn: &mut Conn,
        session: SessionId,
        attached: Option<Option<Owner>>,
    ) {
        let Some(before) = attached else {
            self.refuse(conn);
            return;
        };
        if let Some(Owner::Conn(other)) = before
            && other != conn.id
        {
            self.close_by_id(other, CloseReason::SessionMoved);
        }
        conn.session = session;
        self.tell(Event::SessionAttached { session, conn: conn.id, timeout_ms: conn.timeout_ms });
        // A session sees its own writes, also those that an earlier connection sent: they come first.
        let unfinished = self.proposals.iter().rfind(|proposal| proposal.header.session == session);
        match unfinished.map(|proposal| proposal.header.zxid) {
            None => {
                let waited = conn.phase == Phase::Opening;
                self.establish(conn);
                if waited {
                    self.take_frames(conn);
                }
            }
            Some(zxid) => {
                conn.phase = Phase::Opening;
                self.reattaching.insert((zxid, conn.id));
            }
        }
    }

    /// Everything up to `zxid` is applied: sessions that waited for that with their new connection stand.
    pub(super) fn establish_reattached(&mut self, zxid: Zxid) {
        while let Some(&(awaited, id)) = self.reattaching.first()
            && awaited <= zxid
        {
            self.reattaching.pop_first();
            let Some(mut conn) = self.conns.take(id) else { continue };
            if conn.session_over {
                self.refuse(&mut conn);
            } else {
                self.establish(&mut conn);
                self.take_frames(&mut conn);
            }
            self.conns.put_back(conn);
        }
    }

    /// The session ended, or never was (`conn.expired`).
    pub(super) fn refuse(&mut self, conn: &mut Conn) {
        let read_only = conn.knows_read_only.then_some(self.is_read_only());
        ConnectResponse::expired(read_only).encode(&mut conn.outbox);
        self.count_sent(conn);
        self.close(conn, CloseReason::SessionExpired);
    }

    /// The session stands: the client is told, and what it sent meanwhile is looked at.
    pub(super) fn establish(&mut self, conn: &mut Conn) {
        let response = ConnectResponse {
            timeout_ms: conn.timeout_ms,
            session: conn.session,
            password: password(conn.session),
            read_only: conn.knows_read_only.then_some(self.is_read_only()),
        };
        response.encode(&mut conn.outbox);
        conn.phase = Phase::Established;
        self.count_sent(conn);
        let (session, id, timeout_ms) = (conn.session, conn.id, conn.timeout_ms);
        self.tell(Event::SessionOpened { session, conn: id, timeout_ms });
    }
}
