//! Connections come and go; the session stays, for as long as servers know it.
//!
//! Times, with T the session timeout (PARITY `cl.timeouts`, `cl.ping`): an attempt is given up after T divided by the
//! number of servers, a silent server after 2/3 T, and the client says something at least every T/3, a little earlier
//! where there is time to spare, so that a second ping fits before the server loses patience.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand_core::RngCore;

use super::hosts::below;
use super::pending::Expected;
use super::read_only::Search;
use super::{CallError, CallId, Client, ClientAction, ClientHangup, Credentials, Effect, SessionState};
use crate::time::Instant;
use crate::types::{DialId, ErrorCode, OpCode, SessionId};
use crate::wire::connect::PASSWORD_LEN;
use crate::wire::request::{XID_AUTH, XID_PING, XID_SET_WATCHES};
use crate::wire::{ConnectRequest, ConnectResponse, Deframer};

/// The longest silence of a client, whatever the session timeout.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// By how much pings come early, where they are not due within this anyway.
const PING_EARLY: Duration = Duration::from_secs(1);

/// How far the connection is.
#[derive(Debug)]
pub(super) enum Phase {
    /// A pause before the next attempt.
    Waiting {
        /// Until when.
        until: Instant,
        /// Which server it is for.
        server: usize,
    },
    /// A connection is being made.
    Dialing {
        /// Which.
        dial: DialId,
        /// When it is given up.
        deadline: Instant,
    },
    /// The handshake is sent.
    Greeting {
        /// On which connection.
        dial: DialId,
        /// When it is given up.
        deadline: Instant,
        /// The session that was presented.
        presented: SessionId,
        /// What came.
        deframer: Deframer,
    },
    /// The session is attached.
    Up {
        /// To which connection.
        dial: DialId,
        /// What came.
        deframer: Deframer,
        /// When a request was last sent.
        last_sent: Instant,
    },
    /// The session is over.
    Over,
}

impl Phase {
    /// The connection, or the attempt to make one.
    pub const fn dial(&self) -> Option<DialId> {
        match self {
            Self::Dialing { dial, .. } | Self::Greeting { dial, .. } | Self::Up { dial, .. } => Some(*dial),
            Self::Over | Self::Waiting { .. } => None,
        }
    }

    /// A request was sent.
    pub const fn sent(&mut self, now: Instant) {
        if let Self::Up { last_sent, .. } = self {
            *last_sent = now;
        }
    }

    const fn deframer(&mut self) -> Option<&mut Deframer> {
        match self {
            Self::Greeting { deframer, .. } | Self::Up { deframer, .. } => Some(deframer),
            Self::Dialing { .. } | Self::Over | Self::Waiting { .. } => None,
        }
    }
}

/// An identity to present.
#[derive(Debug)]
pub(super) struct Identity {
    /// The request's body.
    body: Vec<u8>,
    /// Who waits to hear whether it was accepted.
    waiting: Option<CallId>,
}

impl Client {
    /// When [`super::ClientInput::Tick`] is next worth sending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Waiting { until, .. } => *until,
            Phase::Dialing { deadline, .. } | Phase::Greeting { deadline, .. } => *deadline,
            Phase::Up { last_sent, .. } => self.silence_due().min(*last_sent + self.ping_interval()),
            Phase::Over => return None,
        };
        let search = self.search.as_ref().map(Search::due);
        Some([search, self.expiry_due()].into_iter().flatten().fold(phase, Instant::min))
    }

    pub(super) fn on_tick(&mut self) {
        let now = self.now.mono;
        if self.expiry_due().is_some_and(|due| due <= now) {
            self.hang_up_and_end(SessionState::Expired, CallError::SessionExpired);
            return;
        }
        match &self.phase {
            Phase::Waiting { until, server } if *until <= now => self.dial(*server),
            Phase::Dialing { deadline, .. } | Phase::Greeting { deadline, .. } if *deadline <= now => {
                self.hang_up(ClientHangup::Timeout);
            }
            Phase::Up { .. } if self.silence_due() <= now => self.hang_up(ClientHangup::Timeout),
            Phase::Up { last_sent, .. } if *last_sent + self.ping_interval() <= now => {
                self.send(XID_PING, OpCode::PING, &[]);
            }
            Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Over
            | Phase::Up { .. }
            | Phase::Waiting { .. } => {}
        }
        self.on_search_tick();
    }

    /// When the server's silence ends the connection.
    fn silence_due(&self) -> Instant {
        self.last_heard + self.timeout * 2 / 3
    }

    /// When silence ends the session without anybody saying so, if it may.
    fn expiry_due(&self) -> Option<Instant> {
        let may = self.config.local_expiry && self.session.is_some() && !self.state.is_final();
        may.then(|| self.last_heard + self.timeout * 4 / 3)
    }

    fn ping_interval(&self) -> Duration {
        let third = self.timeout / 3;
        if third <= PING_EARLY { third } else { (third - PING_EARLY).clamp(PING_EARLY, PING_INTERVAL_MAX) }
    }

    fn connect_timeout(&self) -> Duration {
        let count = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.timeout / count
    }

    /// Chooses a server and connects to it, at once or after a pause.
    pub(super) fn reconnect(&mut self) {
        let choice = self.hosts.choose();
        let mut pause = Duration::ZERO;
        if self.reached {
            let longest = u64::try_from(self.config.reconnect_delay_max.as_nanos()).unwrap_or(u64::MAX);
            pause += Duration::from_nanos(below(&mut self.rng, longest));
        }
        if choice.after_round {
            pause += self.config.cycle_delay;
        }
        if pause.is_zero() {
            self.dial(choice.server);
        } else {
            self.phase = Phase::Waiting { until: self.now.mono + pause, server: choice.server };
        }
    }

    fn dial(&mut self, server: usize) {
        let dial = self.next_dial();
        let address = self.hosts.address(server).clone();
        let choice = self.rng.next_u64();
        self.phase = Phase::Dialing { dial, deadline: self.now.mono + self.connect_timeout() };
        self.actions.push_back(ClientAction::Connect { dial, address, choice });
    }

    pub(super) fn on_connected(&mut self, dial: DialId) {
        if !matches!(self.phase, Phase::Dialing { dial: expected, .. } if expected == dial) {
            self.on_search_connected(dial);
            return;
        }
        self.reached = true;
        let session = self.session.filter(|_| self.seen_read_write);
        let presented = session.map_or(SessionId::NONE, |held| held.session);
        let none = [0; PASSWORD_LEN];
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.config.session_timeout.as_millis()).unwrap_or(i32::MAX),
            session: presented,
            password: session.as_ref().map_or(&none, |held| &held.password),
            read_only: Some(self.config.can_be_read_only),
        };
        request.encode(&mut self.outbox);
        let deadline = self.now.mono + self.connect_timeout();
        let deframer = Deframer::new(self.config.jute_max_buffer);
        self.phase = Phase::Greeting { dial, deadline, presented, deframer };
    }

    pub(super) fn on_received(&mut self, dial: DialId, bytes: Bytes) {
        if self.phase.dial() != Some(dial) {
            self.on_search_received(dial, &bytes);
            return;
        }
        if let Some(deframer) = self.phase.deframer() {
            deframer.push(bytes);
        }
        // Each frame may end the connection, and the rest of what came on it with it.
        while self.phase.dial() == Some(dial) {
            let Some(deframer) = self.phase.deframer() else { return };
            match deframer.next_frame() {
                Ok(Some(frame)) if matches!(self.phase, Phase::Up { .. }) => {
                    self.last_heard = self.now.mono;
                    self.on_reply(&frame);
                }
                Ok(Some(frame)) => self.on_handshake(&frame),
                Ok(None) => return,
                Err(_) => self.hang_up(ClientHangup::BadReply),
            }
        }
    }

    fn on_handshake(&mut self, frame: &[u8]) {
        let Phase::Greeting { dial, presented, .. } = self.phase else {
            unreachable!("only called while greeting");
        };
        let Ok(response) = ConnectResponse::decode(frame) else {
            self.hang_up(ClientHangup::BadReply);
            return;
        };
        // PARITY `cl.expired.local`.
        let Some(timeout_ms) = u64::try_from(response.timeout_ms).ok().filter(|&timeout| timeout > 0) else {
            self.hang_up_and_end(SessionState::Expired, CallError::SessionExpired);
            return;
        };
        let read_only = response.read_only == Some(true);
        // A server without a quorum cannot tell whether the session is still there, and may give it another number.
        let other = presented != SessionId::NONE && response.session != presented && !read_only;
        if other || response.session == SessionId::NONE {
            self.hang_up(ClientHangup::BadReply);
            return;
        }
        let Phase::Greeting { deframer, .. } = core::mem::replace(&mut self.phase, Phase::Over) else {
            unreachable!("as above");
        };
        self.phase = Phase::Up { dial, deframer, last_sent: self.now.mono };
        self.hosts.connected();
        self.session = Some(Credentials { session: response.session, password: response.password });
        self.timeout = Duration::from_millis(timeout_ms);
        self.seen_read_write |= !read_only;
        self.last_heard = self.now.mono;
        self.search = read_only.then(|| Search::begin(self.now.mono));
        self.tell_state(if read_only { SessionState::ConnectedReadOnly } else { SessionState::Connected });
        self.prime();
    }

    /// What every connection begins with: identities, then watches, then what was asked meanwhile (PARITY `cl.prime`).
    fn prime(&mut self) {
        for index in 0..self.identities.len() {
            self.present(index);
        }
        if self.config.auto_watch_reset {
            let requests = self.watches.set_watches(self.last_zxid, self.config.set_watches_bytes_max);
            for (op, body) in requests {
                self.send(XID_SET_WATCHES, op, &body);
                self.pending.set_watches_sent();
            }
        }
        self.send_queued();
    }

    /// Remembers an identity for this and every later connection.
    pub(super) fn add_identity(&mut self, call: CallId, body: Vec<u8>) {
        if self.identities.len() >= self.config.identities_max {
            self.complete(call, Err(CallError::TooManyIdentities));
            return;
        }
        self.identities.push(Identity { body, waiting: Some(call) });
        if matches!(self.phase, Phase::Up { .. }) {
            self.present(self.identities.len() - 1);
        }
    }

    fn present(&mut self, index: usize) {
        let body = core::mem::take(&mut self.identities[index].body);
        self.send(XID_AUTH, OpCode::AUTH, &body);
        self.identities[index].body = body;
        self.presented.push_back(index);
    }

    /// The server says whether it accepts the identity presented first.
    pub(super) fn on_identity_answered(&mut self, answer: ErrorCode) {
        let Some(index) = self.presented.pop_front() else {
            self.hang_up(ClientHangup::BadReply);
            return;
        };
        let waiting = self.identities[index].waiting.take();
        if answer == ErrorCode::AUTHFAILED {
            if let Some(call) = waiting {
                self.complete(call, Err(CallError::AuthFailed));
            }
            self.hang_up_and_end(SessionState::AuthFailed, CallError::AuthFailed);
        } else if let Some(call) = waiting {
            let accepted = answer == ErrorCode::OK;
            self.complete(
                call,
                if accepted { Ok(super::Outcome::Done) } else { Err(CallError::Refused(answer)) },
            );
        }
    }

    /// A connection is gone, or could not be made.
    pub(super) fn on_gone(&mut self, dial: DialId) {
        if self.phase.dial() == Some(dial) {
            self.on_lost();
        } else {
            self.on_search_gone(dial);
        }
    }

    /// Ends the connection; the session looks for another.
    pub(super) fn hang_up(&mut self, why: ClientHangup) {
        if let Some(dial) = self.phase.dial() {
            self.actions.push_back(ClientAction::Hangup { dial, why });
        }
        self.on_lost();
    }

    /// Ends connection and session.
    pub(super) fn hang_up_and_end(&mut self, state: SessionState, why: CallError) {
        if let Some(dial) = self.phase.dial() {
            self.actions.push_back(ClientAction::Hangup { dial, why: ClientHangup::Over });
        }
        self.end(state, why);
    }

    /// The connection is no more. All that waits fails, also what was not sent: it would otherwise be carried out at a
    /// time that nobody expects (PARITY `cl.disconnect`).
    fn on_lost(&mut self) {
        if self.closing {
            self.fail_all(|sent| CallError::ConnectionLoss { sent });
            self.end(SessionState::Closed, CallError::Closed);
            return;
        }
        self.fail_all(|sent| CallError::ConnectionLoss { sent });
        self.leave();
        if !self.config.auto_watch_reset {
            self.watches.clear_one_shot();
        }
        self.tell_state(SessionState::Disconnected);
        self.reconnect();
    }

    /// The session is over.
    pub(super) fn end(&mut self, state: SessionState, why: CallError) {
        self.fail_all(|_| why);
        self.leave();
        self.phase = Phase::Over;
        self.watches.clear();
        self.tell_state(state);
    }

    /// Drops what belongs to a connection.
    fn leave(&mut self) {
        self.stop_search();
        self.outbox = Vec::new();
        self.presented.clear();
    }

    /// Everybody who waits is told why in vain. Watches that go whatever the answer go all the same.
    fn fail_all(&mut self, why: impl Fn(bool) -> CallError) {
        let presented = core::mem::take(&mut self.presented);
        for index in 0..self.identities.len() {
            if let Some(call) = self.identities[index].waiting.take() {
                self.complete(call, Err(why(presented.contains(&index))));
            }
        }
        for (expected, sent) in self.pending.lose() {
            let Expected::Call(waiting) = expected else { continue };
            let local = matches!(waiting.effect, Effect::Removes { local: true, .. });
            let result = if local {
                self.remove_watches(&waiting.effect, ErrorCode::CONNECTIONLOSS)
            } else {
                Err(why(sent))
            };
            self.complete(waiting.call, result);
        }
    }
}
