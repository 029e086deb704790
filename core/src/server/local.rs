//! Local sessions: known to the server they were opened at and to nobody else, until they need to be (PARITY
//! `sess.local`).
//!
//! A member with `localSessionsEnabled` opens none but these. They cost no transaction, neither when they begin nor
//! when they end, and end with the server's role: a client that finds another server, or this one with another leader,
//! has to begin anew. They may do everything but create ephemeral znodes, for nobody else would know when those are to
//! go. With `localSessionsUpgradingEnabled` a session that does becomes known to all, by a transaction before that of
//! the znode; without, the request is refused.

use super::{CloseReason, Server};
use crate::conn::Conn;
use crate::time::Instant;
use crate::types::{ErrorCode, OpCode, SessionId, Txn};
use crate::wire::{Request, reply};

impl Server {
    /// Whether sessions that are opened here stay here.
    pub(super) fn opens_local_sessions(&self) -> bool {
        self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.local_sessions)
    }

    fn upgrades_local_sessions(&self) -> bool {
        self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.local_sessions_upgrading)
    }

    /// A session may be another member's local one, which this server has never heard of.
    pub(super) fn may_be_local_elsewhere(&self, session: SessionId) -> bool {
        let given_here = (session.0 as u64) >> 56 == (self.config.server_id as u64) & 0xff;
        self.opens_local_sessions() && !given_here
    }

    /// Whether a write of a local session is for this server alone, which answers it like a read: its end, or what it
    /// may not ask for.
    pub(super) fn is_settled_here(&self, conn: &Conn, op: OpCode, request: &Request<'_>) -> bool {
        let refused = creates_ephemeral(op, request) && !self.upgrades_local_sessions();
        (op == OpCode::CLOSE_SESSION || refused) && self.sessions.is_local(conn.session)
    }

    /// Before a local session asks for something that concerns all servers, they have to know of it (PARITY
    /// `sess.local.upgrade`).
    pub(super) fn upgrade_session(&mut self, session: SessionId, op: OpCode, request: &Request<'_>) {
        if !creates_ephemeral(op, request) {
            return;
        }
        let Some(timeout_ms) = self.sessions.upgrade(session) else { return };
        if self.is_learning() {
            self.forward_upgrade(session, timeout_ms);
        } else {
            let txn = Txn::CreateSession { timeout_ms };
            self.propose(None, session, 0, OpCode::CREATE_SESSION, |_| txn);
        }
    }

    /// The client of a local session has no more to ask for.
    pub(super) fn close_local_session(&mut self, conn: &mut Conn, xid: i32, received: Instant) {
        self.sessions.remove(conn.session);
        let reply_at = conn.outbox.len();
        reply::header_only(&mut conn.outbox, xid, self.tree.last_zxid(), ErrorCode::OK);
        self.answered(conn, OpCode::CLOSE_SESSION, xid, received, reply_at);
        self.close(conn, CloseReason::SessionClosed);
    }

    /// Nothing was heard from the session in time.
    pub(super) fn expire_local_session(&mut self, session: SessionId) {
        if let Some(conn) = self.sessions.remove(session) {
            self.close_by_id(conn, CloseReason::SessionExpired);
        }
    }
}

/// Whether a session needs to be known to all that asks for this. Of a multi, every part counts (PARITY
/// `multi.session`).
pub(super) fn creates_ephemeral(op: OpCode, request: &Request<'_>) -> bool {
    match request {
        Request::Create { flags: 1 | 3, .. } => matches!(op, OpCode::CREATE | OpCode::CREATE2),
        Request::Multi(parts) => parts.iter().any(|part| creates_ephemeral(part.op, &part.request)),
        _ => false,
    }
}
