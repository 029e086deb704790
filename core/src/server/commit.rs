//! A durable transaction is applied, watched and answered.
//!
//! The order within one transaction is what clients may rely on (PARITY `sem.watch-before-data`): the change, then
//! the events into the outboxes of those who watch, then the reply, then the reads that waited behind it. Where
//! the client does not take its replies, those reads wait on, but never for longer than until its next write is to
//! be applied: no read sees a write that was asked for after it.

use core::mem;

use super::metrics::Fired;
use super::{Asked, CloseReason, Event, Proposal, Server};
use crate::auth;
use crate::conn::{Conn, Waiting};
use crate::pipeline::reply::write_reply;
use crate::tree::{Applied, Hint, WatchedEvent};
use crate::types::{ConnId, ErrorCode, OpCode, Perms, Txn, TxnHeader, Zxid};
use crate::wire::reply::WatchEvent;

impl Server {
    /// The log is durable up to `durable`: everything up to there commits.
    pub(super) fn commit_up_to(&mut self, durable: Zxid) {
        while let Some(proposal) = self.proposals.pop_front_if(|oldest| oldest.header.zxid <= durable) {
            let zxid = proposal.header.zxid;
            self.commit(proposal);
            self.establish_reattached(zxid);
        }
        self.resume_throttled();
        self.begin_snapshot_if_due();
    }

    /// Whether the tree has become what the transaction's author said. If not, it is hardly so for those behind it
    /// either: they are counted, and nothing more is said until one is again.
    fn compare_digest(&mut self, zxid: Zxid, expected: Option<u64>) {
        let Some(expected) = expected.filter(|_| self.config.digest_enabled) else { return };
        let found = self.tree.digest();
        let differed = mem::replace(&mut self.digest_differs, found != expected);
        if found == expected {
            return;
        }
        self.metrics.counters.digest_mismatches_count += 1;
        if !differed {
            self.tell(Event::DigestMismatch { zxid, expected, found });
        }
        self.on_digest_differs();
        if self.proposals.is_empty() {
            // An author that was wrong once is not to be wrong for good.
            self.pending.begin_digest(found);
        }
    }

    fn commit(&mut self, proposal: Proposal) {
        let Proposal { header, txn, hint, digest, asked } = proposal;
        let asked = asked.or_else(|| self.forwarder(&header));
        if self.holding > 0
            && let Some(asked) = asked
        {
            self.release_held_reads(asked.conn);
        }
        let created_timeout_ms = if let Txn::CreateSession { timeout_ms } = &txn { *timeout_ms } else { 0 };
        let applied = self.apply(&header, txn, &hint);
        self.pending.committed(header.zxid);
        self.compare_digest(header.zxid, digest);
        if self.config.report_applied {
            self.tell(Event::Applied { zxid: header.zxid, digest: self.tree.digest() });
        }
        let attached = match header.op {
            OpCode::CLOSE_SESSION => {
                self.tell(Event::SessionClosed { session: header.session });
                self.sessions.remove(header.session)
            }
            OpCode::CREATE_SESSION => {
                self.sessions.learn(header.session, created_timeout_ms, None, self.now.mono);
                self.sessions.commit(header.session);
                None
            }
            _ => None,
        };
        if let Some(asked) = asked
            && let Some(mut conn) = self.conns.take(asked.conn)
        {
            match conn.waiting.pop_front() {
                Some(Waiting::Write { zxid }) => {
                    assert_eq!(zxid, header.zxid, "replies in the order of requests");
                }
                Some(Waiting::Forwarded { cxid, .. }) => {
                    self.forwarded -= 1;
                    assert_eq!(cxid, header.cxid, "replies in the order of requests");
                }
                other => panic!("a write was answered where {other:?} waited"),
            }
            conn.make_room();
            self.answer_write(&mut conn, header.cxid, &applied, asked);
            self.answer_waiting_reads(&mut conn);
            self.list_for_sending(&mut conn);
            self.go_on(&mut conn);
            self.conns.put_back(conn);
        }
        // A session that expired takes its connection with it; the client learns when it comes back.
        if let Some(id) = attached {
            self.close_by_id(id, CloseReason::SessionExpired);
        }
    }

    /// The request that became this transaction by way of the leader, if it came from a client of this server: the
    /// oldest one of its session that waits for the leader. A transaction that an earlier connection of the session
    /// asked for has another cxid.
    fn forwarder(&self, header: &TxnHeader) -> Option<Asked> {
        self.ensemble.as_ref()?;
        let conn = self.conns.get(self.sessions.conn(header.session)?)?;
        let oldest = conn.waiting.iter().find(|waiting| !matches!(waiting, Waiting::Read { .. }))?;
        match *oldest {
            Waiting::Forwarded { cxid, op, received }
                if cxid == header.cxid && (op == header.op || header.op == OpCode::ERROR) =>
            {
                Some(Asked { conn: conn.id, op, received })
            }
            Waiting::Forwarded { .. }
            | Waiting::Read { .. }
            | Waiting::Sync { .. }
            | Waiting::Write { .. } => None,
        }
    }

    fn answer_write(
        &mut self,
        conn: &mut Conn,
        cxid: i32,
        applied: &Applied,
        Asked { op, received, .. }: Asked,
    ) {
        if op == OpCode::CREATE_SESSION && applied.error != ErrorCode::OK {
            return self.refuse(conn);
        }
        if op == OpCode::CREATE_SESSION {
            self.count_opened(conn, true, received);
            self.establish(conn);
            self.take_frames(conn);
            return;
        }
        // An answer would leave the client where nothing of it is taken any more. It comes again, and then it is.
        if applied.error == ErrorCode::SESSIONMOVED || self.is_in_vain(op, applied) {
            return self.close(conn, CloseReason::SessionServedElsewhere);
        }
        conn.request_answered(cxid);
        let data =
            self.tree.node(&applied.path).filter(|_| op == OpCode::RECONFIG).and_then(|node| node.data());
        let reply_at = conn.outbox.len();
        write_reply(cxid, op, self.tree.last_zxid(), applied, data, &mut conn.outbox);
        self.answered(conn, op, cxid, received, reply_at);
        if op == OpCode::CLOSE_SESSION {
            self.close(conn, CloseReason::SessionClosed);
        }
    }

    /// Answers the reads at the front for as long as the client takes its replies and has a share of this turn
    /// left, and holds back the others.
    pub(super) fn answer_waiting_reads(&mut self, conn: &mut Conn) {
        while conn.owed() <= self.config.outbox_pause_bytes
            && !conn.is_spent(self.turn, &self.config)
            && self.answer_waiting_read(conn)
        {}
        if conn.held_reads == 0 {
            let held =
                conn.waiting.iter().take_while(|waiting| matches!(waiting, Waiting::Read { .. })).count();
            self.waiting_reads -= held;
            self.set_held_reads(conn, held);
        }
        if conn.held_reads > 0 && conn.owed() <= self.config.outbox_pause_bytes {
            self.yield_turn(conn);
        }
    }

    /// Answers the reads that were held back, because a later write of the same connection is about to change what
    /// they may see. A client that would be owed too much by it is closed instead.
    fn release_held_reads(&mut self, id: ConnId) {
        let Some(mut conn) = self.conns.take(id) else { return };
        while conn.held_reads > 0 {
            if conn.owed() > self.config.outbox_close_bytes {
                self.close(&mut conn, CloseReason::SlowReader);
                return;
            }
            self.answer_waiting_read(&mut conn);
        }
        self.list_for_sending(&mut conn);
        self.conns.put_back(conn);
    }

    /// Answers the front, if it is a read. Whether it was.
    fn answer_waiting_read(&mut self, conn: &mut Conn) -> bool {
        let Some((frame, received, identities)) = conn.next_waiting_read() else { return false };
        match conn.held_reads {
            0 => self.waiting_reads -= 1,
            held => self.set_held_reads(conn, held - 1),
        }
        self.answer_read(conn, &frame, received, identities);
        true
    }

    pub(super) const fn set_held_reads(&mut self, conn: &mut Conn, held: usize) {
        let before = mem::replace(&mut conn.held_reads, held);
        self.holding = self.holding + (held > 0) as usize - (before > 0) as usize;
    }

    /// Changes the tree and puts the events into the outboxes of those who watch and may read.
    fn apply(&mut self, header: &TxnHeader, txn: Txn, hint: &Hint) -> Applied {
        let Self { tree, watches, conns, config, to_send, stats, metrics, .. } = self;
        let mut slow = alloc::vec::Vec::new();
        let applied = tree.apply_hinted(header, txn, hint, &mut |change| {
            if watches.is_empty() {
                return;
            }
            let mut fired = Fired::default();
            watches.fire(&change, &mut |WatchedEvent { conn, event, path, zxid, acl }| {
                fired.add(event);
                let Some(conn) = conns.get_mut(conn) else { return };
                if !auth::allows(config, acl, Perms::READ, &conn.identities) {
                    return;
                }
                let begin = conn.outbox.len();
                WatchEvent::new(event, path).encode(zxid, &mut conn.outbox);
                metrics.sent_event(conn.outbox.len() - begin);
                conn.stats.sent += 1;
                stats.sent += 1;
                if !conn.listed {
                    conn.listed = true;
                    to_send.push(conn.id);
                }
                if conn.owed() > config.outbox_close_bytes {
                    slow.push(conn.id);
                }
            });
            metrics.fired(fired);
        });
        for id in slow {
            self.close_by_id(id, CloseReason::SlowReader);
        }
        applied
    }
}
