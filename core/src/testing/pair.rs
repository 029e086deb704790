//! A client and a server in lock-step: whatever one asks for reaches the other at once, until the test says otherwise.
//!
//! The test may refuse connections, cut them, cut them after any number of bytes in either direction, and hold the
//! server's disk. It checks on its own that every call is answered exactly once and that no action follows the end.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::lone::LoneServer;
use crate::client::{
    Call, CallError, CallId, Client, ClientAction, ClientConfig, ClientEvent, ClientHangup, ClientInput,
    Outcome, SessionState,
};
use crate::config::Config;
use crate::server::Input;
use crate::types::{ConnId, DialId};

/// A client and its server.
#[derive(Debug)]
pub struct Pair {
    /// The client.
    pub client: Client,
    /// The server.
    pub lone: LoneServer,
    /// Whether the server can be reached.
    pub reachable: bool,
    /// After how many more bytes from the client its connection is cut.
    pub cut_requests_after: Option<usize>,
    /// After how many more bytes from the server its connection is cut.
    pub cut_replies_after: Option<usize>,
    /// How many bytes the client gets at a time.
    pub piece: usize,
    /// What the client told, in order.
    pub told: Vec<Told>,
    /// Connections that stand.
    conns: BTreeMap<DialId, ConnId>,
    open: BTreeSet<CallId>,
    next_call: u64,
}

/// Something that a client told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A call came to its end.
    Completed(CallId, Result<Outcome, CallError>),
    /// An event.
    Event(ClientEvent),
    /// A connection was given up.
    Hangup(ClientHangup),
}

impl Pair {
    /// A client connected to a server with an empty tree.
    pub fn new() -> Self {
        Self::with(client_config(), Config::default())
    }

    /// Likewise, with these configurations.
    pub fn with(config: ClientConfig, server: Config) -> Self {
        let lone = LoneServer::new(server);
        let client = Client::new(config, [9; 32], lone.now);
        let mut pair = Self {
            client,
            lone,
            reachable: true,
            cut_requests_after: None,
            cut_replies_after: None,
            piece: usize::MAX,
            told: Vec::new(),
            conns: BTreeMap::new(),
            open: BTreeSet::new(),
            next_call: 1,
        };
        pair.run();
        pair
    }

    /// Asks for something.
    pub fn call(&mut self, request: Call) -> CallId {
        let call = self.send(request);
        self.run();
        call
    }

    /// Asks for something, and has nothing happen yet.
    pub fn send(&mut self, request: Call) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.open.insert(call);
        self.client.handle(self.lone.now, ClientInput::Call { call, request });
        call
    }

    /// Asks for something and takes the answer, which must be there.
    pub fn ask(&mut self, request: Call) -> Result<Outcome, CallError> {
        let call = self.call(request);
        self.answer(call).expect("the answer is there")
    }

    /// The answer to a call, if it came.
    pub fn answer(&self, call: CallId) -> Option<Result<Outcome, CallError>> {
        self.told.iter().find_map(|told| match told {
            Told::Completed(of, result) if *of == call => Some(result.clone()),
            Told::Completed(..) | Told::Event(_) | Told::Hangup(_) => None,
        })
    }

    /// The events told since this was last asked.
    pub fn take_events(&mut self) -> Vec<ClientEvent> {
        let mut events = Vec::new();
        self.told.retain(|told| match told {
            Told::Event(event) => {
                events.push(event.clone());
                false
            }
            Told::Completed(..) | Told::Hangup(_) => true,
        });
        events
    }

    /// Something happens to the client, and whatever follows from it.
    pub fn input(&mut self, input: ClientInput) {
        self.client.handle(self.lone.now, input);
        self.run();
    }

    /// The connection breaks.
    pub fn cut(&mut self) {
        for (dial, conn) in core::mem::take(&mut self.conns) {
            self.lone.take_sent(conn);
            self.lone.input(Input::Closed { conn });
            self.client.handle(self.lone.now, ClientInput::Disconnected { dial });
        }
        self.cut_requests_after = None;
        self.cut_replies_after = None;
    }

    /// Time passes for both, with ticks when they are due.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.lone.now.mono + duration;
        loop {
            let dues = [self.client.poll_timeout(), self.lone.server.poll_timeout()];
            let due = dues.into_iter().flatten().min().filter(|&due| due <= end);
            let until = due.unwrap_or(end);
            self.lone.pass(until.since(self.lone.now.mono));
            self.client.handle(self.lone.now, ClientInput::Tick);
            self.run();
            if due.is_none() {
                return;
            }
        }
    }

    /// Passes what is asked for back and forth, until nothing is.
    pub fn run(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(action) = self.client.poll_action() {
                quiet = false;
                self.carry_out(action);
            }
            let conns: Vec<(DialId, ConnId)> = self.conns.iter().map(|(&dial, &conn)| (dial, conn)).collect();
            for (dial, conn) in conns {
                let sent = self.lone.take_sent(conn);
                if !sent.is_empty() {
                    quiet = false;
                    self.deliver(dial, &sent);
                }
                if self.lone.closed.contains_key(&conn) && self.conns.remove(&dial).is_some() {
                    quiet = false;
                    self.client.handle(self.lone.now, ClientInput::Disconnected { dial });
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, dial: DialId, sent: &[u8]) {
        let passed = self.cut_replies_after.map_or(sent.len(), |limit| limit.min(sent.len()));
        for piece in sent[..passed].chunks(self.piece) {
            let bytes = Bytes::copy_from_slice(piece);
            self.client.handle(self.lone.now, ClientInput::Received { dial, bytes });
        }
        if let Some(left) = &mut self.cut_replies_after {
            *left -= passed;
            if *left == 0 {
                self.cut();
            }
        }
    }

    fn carry_out(&mut self, action: ClientAction) {
        match action {
            ClientAction::Completed { call, result } => {
                assert!(self.open.remove(&call), "{call:?} is answered twice");
                self.told.push(Told::Completed(call, result));
            }
            ClientAction::Connect { dial, .. } => {
                let input = if self.reachable {
                    self.conns.insert(dial, self.lone.connect());
                    ClientInput::Connected { dial }
                } else {
                    ClientInput::ConnectFailed { dial }
                };
                self.client.handle(self.lone.now, input);
            }
            ClientAction::Event(event) => self.told.push(Told::Event(event)),
            ClientAction::Hangup { dial, why } => {
                self.told.push(Told::Hangup(why));
                if let Some(conn) = self.conns.remove(&dial) {
                    self.lone.input(Input::Closed { conn });
                }
            }
            ClientAction::Send { dial, bytes } => {
                let Some(&conn) = self.conns.get(&dial) else { return };
                let passed = self.cut_requests_after.map_or(bytes.len(), |limit| limit.min(bytes.len()));
                self.lone.receive(conn, bytes.slice(..passed));
                if let Some(left) = &mut self.cut_requests_after {
                    *left -= passed;
                    if *left == 0 {
                        self.cut();
                    }
                }
            }
        }
    }

    /// Calls without an answer.
    pub fn open_calls(&self) -> usize {
        self.open.len()
    }

    /// Whether a server serves the session.
    pub const fn is_connected(&self) -> bool {
        matches!(self.client.state(), SessionState::Connected)
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// A client of one server, with a timeout of ten seconds.
pub fn client_config() -> ClientConfig {
    ClientConfig::parse("server:2181", Duration::from_secs(10)).expect("a server is named")
}
