//! Connections come, speak and go.

use core::net::SocketAddr;

use bytes::Bytes;

use super::{Action, CloseReason, Phase, Server};
use crate::conn::{self, Conn, Waiting};
use crate::types::ConnId;
use crate::wire::FrameError;

impl Server {
    pub(super) fn on_accepted(&mut self, id: ConnId, from: SocketAddr) {
        let mut conn = Conn::new(id, from, &self.config, self.now);
        let limits = &self.config;
        let (max, max_of_address) = (limits.max_cnxns, limits.max_client_cnxns);
        let too_many = if max > 0 && self.conns.len() >= max {
            Some(CloseReason::TooManyConnections { max })
        } else if max_of_address > 0 && self.conns.count_of(from.ip()) >= max_of_address {
            Some(CloseReason::TooManyOfAddress { max: max_of_address })
        } else {
            None
        };
        if too_many.is_some() || self.phase != Phase::Running {
            let why = too_many.unwrap_or(CloseReason::Shutdown);
            conn.phase = conn::Phase::Closed;
            self.metrics.counters.connection_rejected += u64::from(too_many.is_some());
            self.actions.push_back(Action::Close { conn: id, why });
            return;
        }
        self.conns.insert(conn);
        self.expect_greeting(id);
    }

    /// The connection has its time to say who it is. Of those that are gone no more are kept than there are others.
    fn expect_greeting(&mut self, id: ConnId) {
        let Self { greetings, conns, .. } = self;
        if greetings.len() > 2 * conns.len() {
            greetings.retain(|&(_, id)| conns.get(id).is_some());
        }
        greetings.push_back((self.now.mono + self.config.sessionless_cnxn_timeout, id));
    }

    pub(super) fn on_received(&mut self, id: ConnId, bytes: Bytes) {
        // A connection that the server closed may still have had bytes on their way.
        let Some(mut conn) = self.conns.take(id) else { return };
        if self.phase != Phase::Running {
            // No request is taken any more.
            return self.conns.put_back(conn);
        }
        conn.deframer.push(bytes);
        self.sessions.touch(conn.session, None, self.now.mono);
        self.take_frames(&mut conn);
        self.conns.put_back(conn);
    }

    pub(super) fn on_drained(&mut self, id: ConnId, bytes: usize) {
        let Some(mut conn) = self.conns.take(id) else { return };
        conn.unsent = conn.unsent.checked_sub(bytes).expect("only what was sent can be taken");
        if conn.held_reads > 0 && !conn.yielded {
            self.answer_waiting_reads(&mut conn);
            self.list_for_sending(&mut conn);
        }
        self.go_on(&mut conn);
        self.conns.put_back(conn);
    }

    pub(super) fn on_closed(&mut self, id: ConnId) {
        if let Some(mut conn) = self.conns.take(id) {
            self.metrics.counters.connection_drop_count += 1;
            self.forget(&mut conn);
        }
    }

    /// Takes whole frames from a connection for as long as it may ask for things, then decides whether more is to
    /// be read from it.
    pub(super) fn take_frames(&mut self, conn: &mut Conn) {
        self.reconsider(conn);
        while self.phase == Phase::Running
            && conn.deframer.buffered() > 0
            && conn.takes_requests(&self.config)
        {
            if conn.phase == conn::Phase::Greeting && self.take_word(conn) {
                break;
            }
            if self.must_wait(conn) {
                self.throttle(conn);
                break;
            }
            if conn.is_spent(self.turn, &self.config) {
                self.yield_turn(conn);
                break;
            }
            match conn.deframer.next_frame() {
                Ok(Some(frame)) if conn.phase == conn::Phase::Greeting => self.on_handshake(conn, &frame),
                Ok(Some(frame)) => self.on_request(conn, &frame),
                Ok(None) => break,
                Err(FrameError::NegativeLength) => self.close(conn, CloseReason::BadFrame),
                Err(FrameError::TooLong) => {
                    let prefix = conn.deframer.peek().expect("the frame's length was read");
                    let (length, max) = (u32::from_be_bytes(prefix), self.config.jute_max_buffer);
                    self.close(conn, CloseReason::FrameTooLong { length, max });
                }
            }
        }
        self.regulate_reads(conn);
        self.list_for_sending(conn);
    }

    /// The server stops: who waits for nothing is closed, so that it turns to another server, and from the others
    /// nothing more is read.
    pub(super) fn show_everybody_out(&mut self) {
        for id in self.conns.ids() {
            if let Some(mut conn) = self.conns.take(id) {
                self.regulate_reads(&mut conn);
                self.conns.put_back(conn);
            }
        }
    }

    /// Stops reading from a client whose requests are not taken, and goes on once they are. If the server stops, none is
    /// taken any more: the connection is closed once all that it waited for is answered.
    pub(super) fn regulate_reads(&mut self, conn: &mut Conn) {
        if conn.phase == conn::Phase::Closed {
            return;
        }
        let pause = match self.phase {
            Phase::Running => {
                let full = conn.deframer.buffered() > self.config.inbox_pause_bytes;
                full && !conn.takes_requests(&self.config)
            }
            Phase::Finishing { .. } | Phase::Stopping if conn.waiting.is_empty() => {
                return self.close(conn, CloseReason::Shutdown);
            }
            Phase::Finishing { .. } | Phase::Stopping => true,
            Phase::Halted => return,
        };
        if pause != conn.paused {
            conn.paused = pause;
            self.actions.push_back(match pause {
                true => Action::PauseReads { conn: conn.id },
                false => Action::ResumeReads { conn: conn.id },
            });
        }
    }

    /// Goes on with what the connection asks for, where that may have waited only because replies or reads did.
    pub(super) fn go_on(&mut self, conn: &mut Conn) {
        if conn.deframer.buffered() > 0 {
            self.take_frames(conn);
        } else {
            self.regulate_reads(conn);
        }
    }

    /// The connection has had its share of this turn: the others come first, then it goes on.
    pub(super) fn yield_turn(&mut self, conn: &mut Conn) {
        if !conn.yielded {
            conn.yielded = true;
            self.yielded.push_back(conn.id);
        }
    }

    /// Goes on with the connections that have had their turn, one further turn each.
    pub(super) fn resume_yielded(&mut self) {
        // Those that yield again queue up behind.
        for _ in 0..self.yielded.len() {
            let id = self.yielded.pop_front().expect("there are as many as there were");
            if let Some(mut conn) = self.conns.take(id) {
                conn.yielded = false;
                if conn.held_reads > 0 {
                    self.answer_waiting_reads(&mut conn);
                }
                self.take_frames(&mut conn);
                self.conns.put_back(conn);
            }
        }
    }

    /// Remembers that the connection has something to be sent.
    pub(super) fn list_for_sending(&mut self, conn: &mut Conn) {
        if !conn.listed && !conn.outbox.is_empty() {
            conn.listed = true;
            self.to_send.push(conn.id);
        }
    }

    /// What gathered in outboxes leaves, one buffer a connection.
    pub(super) fn gather_sends(&mut self) {
        for id in self.to_send.drain(..) {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.listed = false;
                if !conn.outbox.is_empty() {
                    self.actions.push_back(Action::Send { conn: id, bytes: conn.take_outbox() });
                }
            }
        }
    }

    /// Closes a connection once what it is owed is sent. Its session stays, unless it ended.
    pub(super) fn close(&mut self, conn: &mut Conn, why: CloseReason) {
        if conn.phase == conn::Phase::Closed {
            return;
        }
        if !conn.outbox.is_empty() {
            let bytes = conn.take_outbox();
            self.actions.push_back(Action::Send { conn: conn.id, bytes });
        }
        self.actions.push_back(Action::Close { conn: conn.id, why });
        self.forget(conn);
    }

    /// Closes a connection by its number, unless it is gone.
    pub(super) fn close_by_id(&mut self, id: ConnId, why: CloseReason) {
        if let Some(mut conn) = self.conns.take(id) {
            self.close(&mut conn, why);
        }
    }

    fn forget(&mut self, conn: &mut Conn) {
        conn.phase = conn::Phase::Closed;
        self.throttled.leave(conn);
        self.watches.remove_conn(conn.id);
        self.sessions.detach(conn.session, conn.id);
        let reads = conn.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Read { .. })).count();
        self.waiting_reads -= reads - conn.held_reads;
        let forwarded = |waiting: &&Waiting| matches!(waiting, Waiting::Forwarded { .. });
        self.forwarded -= conn.waiting.iter().filter(forwarded).count();
        conn.waiting.clear();
        conn.waiting_bytes = 0;
        self.set_held_reads(conn, 0);
        self.conns.remove(conn.id, conn.from.ip());
    }
}
