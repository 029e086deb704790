//! A client: one session, whatever becomes of the connections and servers it lives on.
//!
//! A [`Client`] is a state machine of the same shape as [`Server`](crate::server::Server): it is told what happened and
//! when, and asks for things to be done. It knows no socket; whoever runs it connects where it says and moves the
//! bytes.
//!
//! ```text
//!            ┌────────────────── connection lost: what waits is failed ◀─────────────┐
//!            ▼                                                                       │
//!  ┌─ Waiting ──pause over──▶ Dialing ──Connected──▶ Greeting ──session attached──▶ Up ─┐
//!  │                                                     │                          │   │
//!  │ Close                                               │ session refused          │   │ Close, and its answer;
//!  └────────────────────────────────────────▶ Over ◀─────┴──────────────────────────┴───┘ identity refused
//! ```
//!
//! What it promises, all as ZooKeeper's client does:
//! - Requests go out in the order in which they came, and their answers come back in it.
//! - Every call is answered exactly once. When the connection is lost, all that wait fail
//!   ([`CallError::ConnectionLoss`]): what became of them the caller must find out.
//! - A watch is told before any answer that shows the change, and survives the connection: the next one registers it
//!   again, and the server tells what it has missed.
//! - The session ends when a server says so, when it is closed, or when an identity is refused. Nothing follows that.
//!
//! | file | what happens there |
//! |---|---|
//! | `config` | limits, timeouts, the servers |
//! | `input`, `call` | what a client is told, asks for, tells; calls and what they bring |
//! | `hosts` | which server is next |
//! | `connect` | connections and the session on them, and when they are given up |
//! | `read_only` | looking for a better server while connected to one without a quorum |
//! | `pending` | calls in the order of their answers |
//! | `replies` | what the server says |
//! | `watches` | who watches what |
//!
//! What grows and what bounds it: calls by [`ClientConfig::calls_max`] and [`ClientConfig::call_bytes_max`], watches by
//! [`ClientConfig::watches_max`], identities by [`ClientConfig::identities_max`], a half-received reply by
//! [`ClientConfig::jute_max_buffer`].

pub mod call;
pub mod config;
mod connect;
mod hosts;
pub mod input;
mod pending;
mod read_only;
mod replies;
mod watches;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;

pub use self::call::{AddWatchMode, Call, CallError, Create, CreateMode, Outcome, Read, Write};
pub use self::config::{ClientConfig, ConnectStringError, Credentials};
use self::connect::{Identity, Phase};
use self::hosts::Hosts;
pub use self::input::{
    CallId, ClientAction, ClientEvent, ClientHangup, ClientInput, SessionState, WatcherId,
};
use self::pending::{Expected, Pending, Waiting};
use self::read_only::Search;
use self::watches::{Effect, Watches};
use crate::rng;
use crate::time::{Instant, Now};
use crate::types::path::{ROOT, is_within};
use crate::types::{DialId, ErrorCode, OpCode, Zxid};
use crate::wire::{RequestHeader, Writer, reply};

/// One client.
///
/// See the crate's documentation for how it is run. It connects at once: drain the actions after making it.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    now: Now,
    phase: Phase,
    /// The state last told.
    state: SessionState,
    /// What is to be done, oldest first.
    actions: VecDeque<ClientAction>,
    /// Requests that leave with the next drain. Empty unless connected.
    outbox: Vec<u8>,

    hosts: Hosts,
    rng: ChaCha12Rng,
    next_dial: u64,
    /// Whether any server has ever been reached: the first attempts are made without a pause.
    reached: bool,

    /// The session, once there is one.
    session: Option<Credentials>,
    /// The negotiated session timeout; until there is a session, the one asked for.
    timeout: Duration,
    /// Whether the session is known to servers with a quorum. One that only a server without a quorum knows is not
    /// presented to others.
    seen_read_write: bool,
    /// The newest transaction that any answer reflected: no server that is behind it will do.
    last_zxid: Zxid,
    /// When bytes last came from any server with the session attached.
    last_heard: Instant,
    search: Option<Search>,

    pending: Pending,
    watches: Watches,
    /// Presented on every connection, in this order.
    identities: Vec<Identity>,
    /// Identities presented on this connection and not answered yet, as indices.
    presented: VecDeque<usize>,
    /// The session is to be ended once everything before is answered.
    closing: bool,
}

impl Client {
    /// A client that begins to connect. `seed` is all the randomness it will ever have.
    ///
    /// # Panics
    /// If there are no servers.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Now) -> Self {
        let mut rng = rng::stream(seed, rng::Stream::Connect);
        let mut client = Self {
            now,
            phase: Phase::Over,
            state: SessionState::Disconnected,
            actions: VecDeque::new(),
            outbox: Vec::new(),
            hosts: Hosts::new(config.servers.clone(), &mut rng),
            rng,
            next_dial: 1,
            reached: false,
            session: config.resume,
            timeout: config.session_timeout,
            seen_read_write: config.resume.is_some(),
            last_zxid: Zxid::ZERO,
            last_heard: now.mono,
            search: None,
            pending: Pending::new(),
            watches: Watches::default(),
            identities: Vec::new(),
            presented: VecDeque::new(),
            closing: false,
            config,
        };
        client.reconnect();
        client
    }

    /// Something happened. Cannot fail: bad bytes end a connection.
    ///
    /// # Panics
    /// If the monotonic clock went back: the caller is broken.
    pub fn handle(&mut self, now: Now, input: ClientInput) {
        assert!(now.mono >= self.now.mono, "the monotonic clock went back");
        self.now = now;
        match input {
            ClientInput::Call { call, request } => self.on_call(call, request),
            ClientInput::Close => self.on_close(),
            ClientInput::ConnectFailed { dial } | ClientInput::Disconnected { dial } => self.on_gone(dial),
            ClientInput::Connected { dial } => self.on_connected(dial),
            ClientInput::Forget { mut path, kind, watcher } => {
                self.prepend_chroot(&mut path);
                // Nothing is to be told to one who has gone; that there was no such watch does no harm.
                let _ = self.watches.remove(&path, kind, Some(watcher), true, ErrorCode::OK);
            }
            ClientInput::Received { dial, bytes } => self.on_received(dial, bytes),
            ClientInput::Tick => self.on_tick(),
        }
        self.check_invariants();
    }

    /// The next thing to be done. Call it until there is none, always before waiting.
    pub fn poll_action(&mut self) -> Option<ClientAction> {
        if self.actions.is_empty()
            && !self.outbox.is_empty()
            && let Some(dial) = self.phase.dial()
        {
            let bytes = Bytes::from(core::mem::take(&mut self.outbox));
            self.actions.push_back(ClientAction::Send { dial, bytes });
        }
        self.actions.pop_front()
    }

    /// How it stands with the session.
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// The session, for another client to go on with (PARITY `cl.sessionid`). `None` before the first connection.
    pub const fn session(&self) -> Option<Credentials> {
        self.session
    }

    /// The session timeout, as negotiated if there is a session.
    pub const fn session_timeout(&self) -> Duration {
        self.timeout
    }

    /// The newest transaction that any answer reflected.
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Calls that wait for an answer.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    fn on_call(&mut self, call: CallId, mut request: Call) {
        if let Err(why) = self.admit(&mut request) {
            self.complete(call, Err(why));
            return;
        }
        request.for_each_path(|path| self.prepend_chroot(path));
        let (op, on_wire) = request.request();
        let mut body = Vec::new();
        on_wire.encode(op, &mut Writer::new(&mut body));
        let waiting = self.pending.len();
        let full = waiting >= self.config.calls_max
            || waiting > 0 && self.pending.bytes() + body.len() > self.config.call_bytes_max;
        if body.len() + HEADER_LEN > self.config.jute_max_buffer {
            self.complete(call, Err(CallError::TooLarge));
        } else if let Call::AddAuth { .. } = request {
            self.add_identity(call, body);
        } else if full {
            self.complete(call, Err(CallError::TooManyCalls));
        } else {
            let effect = Effect::of(&request);
            let parts = request.parts();
            self.pending.queue(Expected::Call(Waiting { call, op, parts, effect }), body);
            self.send_queued();
        }
    }

    /// Whether a call may be made at all.
    fn admit(&self, request: &mut Call) -> Result<(), CallError> {
        match self.state {
            SessionState::AuthFailed => return Err(CallError::AuthFailed),
            SessionState::Closed => return Err(CallError::Closed),
            SessionState::Expired => return Err(CallError::SessionExpired),
            SessionState::Connected | SessionState::ConnectedReadOnly | SessionState::Disconnected => {}
        }
        if self.closing {
            return Err(CallError::Closed);
        }
        request.check().map_err(CallError::InvalidPath)?;
        if self.watches.len() >= self.config.watches_max
            && matches!(Effect::of(request), Effect::Leaves { .. })
        {
            return Err(CallError::TooManyWatches);
        }
        Ok(())
    }

    /// The session is to end. Without a connection it ends here at once, and on the servers by itself in time (PARITY
    /// `cl.close`).
    fn on_close(&mut self) {
        if self.closing || self.state.is_final() {
            return;
        }
        self.closing = true;
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.end(SessionState::Closed, CallError::Closed);
            return;
        }
        self.pending.queue(Expected::Close, Vec::new());
        self.send_queued();
    }

    /// Sends what waits to be sent, if there is a session to send it in.
    fn send_queued(&mut self) {
        if !matches!(self.phase, Phase::Up { .. }) {
            return;
        }
        while let Some(next) = self.pending.next_to_send() {
            self.send(next.xid, next.op, &next.body);
        }
    }

    /// Appends a request to what leaves with the next drain.
    fn send(&mut self, xid: i32, op: OpCode, body: &[u8]) {
        let frame = reply::begin(&mut self.outbox);
        RequestHeader { xid, op }.encode(&mut Writer::new(&mut self.outbox));
        self.outbox.extend_from_slice(body);
        reply::end(&mut self.outbox, frame);
        self.phase.sent(self.now.mono);
    }

    fn complete(&mut self, call: CallId, result: Result<Outcome, CallError>) {
        self.actions.push_back(ClientAction::Completed { call, result });
    }

    /// Tells the state of the session, unless it was told already.
    fn tell_state(&mut self, state: SessionState) {
        if self.state != state {
            assert!(!self.state.is_final(), "nothing follows the end of a session");
            self.state = state;
            self.actions.push_back(ClientAction::Event(ClientEvent::State(state)));
        }
    }

    fn next_dial(&mut self) -> DialId {
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        dial
    }

    /// The path as the server knows it.
    fn prepend_chroot(&self, path: &mut String) {
        if let Some(chroot) = &self.config.chroot {
            *path = if path == ROOT { chroot.clone() } else { format!("{chroot}{path}") };
        }
    }

    /// The path as callers know it. What lies outside the chroot is left as it is: only the ensemble's own znodes can
    /// be asked for there.
    fn strip_chroot<'a>(&self, path: &'a str) -> &'a str {
        match &self.config.chroot {
            Some(chroot) if is_within(path, chroot) && path.len() == chroot.len() => ROOT,
            Some(chroot) if is_within(path, chroot) => &path[chroot.len()..],
            Some(_) | None => path,
        }
    }

    fn check_invariants(&self) {
        let up = matches!(self.phase, Phase::Up { .. });
        assert!(up || self.phase.dial().is_some() || self.outbox.is_empty(), "bytes for nobody");
        assert_eq!(matches!(self.phase, Phase::Over), self.state.is_final());
        assert!(up || self.presented.is_empty());
        if self.state.is_final() {
            assert_eq!(self.pending.len(), 0, "somebody waits for an answer that cannot come");
        }
    }
}

/// Bytes of a request header.
const HEADER_LEN: usize = 8;

#[cfg(test)]
mod tests;
