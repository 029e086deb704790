//! One server, a perfect disk, and clients that speak real bytes: the shortest way to ask "what does it answer?".
//!
//! The disk completes everything at once unless told to [hold](LoneServer::hold_disk); time stands still unless
//! told to [pass](LoneServer::pass). Nothing is ever lost here: faults are the simulator's business.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::recovery::Recovered;
use crate::server::{Action, CloseReason, Event, HaltReason, Input, Server};
use crate::store::{DiskAnswer, DiskDone, DiskOp, Inventory};
use crate::time::{Instant, Now, WallTime};
use crate::tree::{Tree, TreeOptions};
use crate::types::{ConnId, ErrorCode, OpCode, SessionId, Zxid};
use crate::wire::connect::{ConnectRequest, ConnectResponse};
use crate::wire::{Reader, Request, RequestHeader, Writer, reply};

/// A server alone.
#[derive(Debug)]
pub struct LoneServer {
    /// The server itself.
    pub server: Server,
    /// What the clocks show.
    pub now: Now,
    /// What was sent to each connection and not taken yet.
    sent: BTreeMap<ConnId, Vec<u8>>,
    /// Why connections were closed.
    pub closed: BTreeMap<ConnId, CloseReason>,
    /// Connections that are not read from.
    pub paused: BTreeMap<ConnId, bool>,
    /// What the server told.
    pub events: Vec<Event>,
    /// Why it halted.
    pub halted: Option<HaltReason>,
    /// Disk operations that wait for [`LoneServer::release_disk`].
    held: VecDeque<DiskOp>,
    hold: bool,
    /// Whether the operating system takes what is sent.
    pub drain: bool,
    next_conn: u64,
}

/// A reply: its header, and the body behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// The last transaction.
    pub zxid: Zxid,
    /// The result.
    pub err: ErrorCode,
    /// What follows.
    pub body: Bytes,
}

/// The state of a server that finds an empty disk.
pub fn empty(config: &Config) -> Recovered {
    let options =
        TreeOptions { extended_types: config.extended_types, digest_enabled: config.digest_enabled };
    Recovered {
        tree: Tree::new(options, [1, 2, 3, 4]),
        sessions: BTreeMap::new(),
        last_zxid: Zxid::ZERO,
        config_before: None,
        epochs: None,
        unsynced: false,
        diverged: false,
        inventory: Inventory::new(Vec::new()),
        replayed_txns: 0,
        replayed_bytes: 0,
        digest_mismatches: 0,
        report: Vec::new(),
    }
}

impl LoneServer {
    /// A server with an empty tree.
    pub fn new(config: Config) -> Self {
        let recovered = empty(&config);
        Self::recovered(config, recovered)
    }

    /// A server that found this on its disk.
    pub fn recovered(config: Config, recovered: Recovered) -> Self {
        let now = Now { mono: Instant::from_millis(1000), wall: WallTime(1_700_000_000_000) };
        Self {
            server: Server::new(config, recovered, [7; 32], now),
            now,
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
            paused: BTreeMap::new(),
            events: Vec::new(),
            halted: None,
            held: VecDeque::new(),
            hold: false,
            drain: true,
            next_conn: 1,
        }
    }

    /// Something happens, and whatever follows from it.
    pub fn input(&mut self, input: Input) {
        self.server.handle(self.now, input);
        self.run();
    }

    fn run(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send { conn, bytes } => {
                    self.sent.entry(conn).or_default().extend_from_slice(&bytes);
                    if self.drain {
                        let bytes = bytes.len();
                        self.server.handle(self.now, Input::Drained { conn, bytes });
                    }
                }
                Action::PauseReads { conn } => drop(self.paused.insert(conn, true)),
                Action::ResumeReads { conn } => drop(self.paused.insert(conn, false)),
                Action::Close { conn, why } => drop(self.closed.insert(conn, why)),
                Action::Dial { .. }
                | Action::Hangup { .. }
                | Action::KeepConfig { .. }
                | Action::KeepSeenConfig { .. }
                | Action::PauseLink { .. }
                | Action::ResumeLink { .. }
                | Action::SendLink { .. } => unreachable!("a standalone server has no links"),
                Action::Disk(op) => {
                    self.held.push_back(op);
                    if !self.hold {
                        self.complete_next();
                    }
                }
                Action::Event(event) => self.events.push(event),
                Action::Halt { why } => self.halted = Some(why),
            }
        }
    }

    fn complete_next(&mut self) {
        if let Some(op) = self.held.pop_front() {
            let done = DiskDone { ticket: op.ticket(), result: Ok(DiskAnswer::Done) };
            self.server.handle(self.now, Input::Disk(done));
        }
    }

    /// From now on the disk takes its time.
    pub fn hold_disk(&mut self) {
        self.hold = true;
    }

    /// What the disk was asked and has not done, oldest first.
    pub fn held(&self) -> impl Iterator<Item = &DiskOp> {
        self.held.iter()
    }

    /// The disk does everything it was asked, and is quick again.
    pub fn release_disk(&mut self) {
        self.hold = false;
        while !self.held.is_empty() {
            self.complete_next();
            self.run();
        }
    }

    /// The oldest operation on the disk ends like this.
    pub fn end_next(&mut self, result: Result<DiskAnswer, crate::store::DiskError>) {
        let op = self.held.pop_front().expect("something was asked of the disk");
        self.input(Input::Disk(DiskDone { ticket: op.ticket(), result }));
    }

    /// Time passes, with ticks when they are due.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        while let Some(due) = self.server.poll_timeout().filter(|&due| due <= end) {
            self.advance(due.max(self.now.mono));
            self.input(Input::Tick);
        }
        self.advance(end);
    }

    /// The server stands still for as long: time passes, and nobody tells it.
    pub fn stand_still(&mut self, duration: Duration) {
        self.advance(self.now.mono + duration);
    }

    fn advance(&mut self, to: Instant) {
        let millis = to.since(self.now.mono).as_millis();
        self.now.wall.0 += i64::try_from(millis).expect("tests are shorter than that");
        self.now.mono = to;
    }

    /// A connection that says nothing.
    pub fn connect(&mut self) -> ConnId {
        self.connect_from("10.0.0.1:4000".parse().expect("an address"))
    }

    /// A connection from somewhere.
    pub fn connect_from(&mut self, from: SocketAddr) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.input(Input::Accepted { conn, from });
        conn
    }

    /// Bytes come from a client.
    pub fn receive(&mut self, conn: ConnId, bytes: impl Into<Bytes>) {
        self.input(Input::Received { conn, bytes: bytes.into() });
    }

    /// What was sent to the client and not taken yet.
    pub fn take_sent(&mut self, conn: ConnId) -> Vec<u8> {
        self.sent.remove(&conn).unwrap_or_default()
    }

    /// A handshake; the answer, if there is one.
    pub fn handshake(&mut self, conn: ConnId, request: &ConnectRequest<'_>) -> Option<ConnectResponse> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.receive(conn, bytes);
        let sent = self.take_sent(conn);
        (!sent.is_empty()).then(|| ConnectResponse::decode(&sent[4..]).expect("an answer to a handshake"))
    }

    /// A client with a new session.
    pub fn client(&mut self) -> (ConnId, ConnectResponse) {
        let conn = self.connect();
        let answer = self.handshake(conn, &new_session(10_000)).expect("a session");
        assert_ne!(answer.session, SessionId::NONE);
        (conn, answer)
    }

    /// Sends a request and does not look at what comes.
    pub fn send(&mut self, conn: ConnId, xid: i32, op: OpCode, request: &Request<'_>) {
        self.receive(conn, frame(xid, op, request));
    }

    /// Sends a request and takes the one reply.
    pub fn call(&mut self, conn: ConnId, op: OpCode, request: &Request<'_>) -> Reply {
        self.send(conn, 1, op, request);
        let mut replies = self.replies(conn);
        assert_eq!(replies.len(), 1, "one reply to {op:?}, not {replies:?}");
        replies.pop().expect("there is one")
    }

    /// Replies and events that were sent and not taken yet.
    pub fn replies(&mut self, conn: ConnId) -> Vec<Reply> {
        replies_in(self.take_sent(conn))
    }

    /// Asks a four-letter word.
    pub fn word(&mut self, word: &str) -> String {
        let conn = self.connect();
        self.receive(conn, Bytes::copy_from_slice(word.as_bytes()));
        String::from_utf8(self.take_sent(conn)).expect("text")
    }
}

/// The replies and events in what was sent to a client.
pub fn replies_in(sent: Vec<u8>) -> Vec<Reply> {
    let mut rest = Bytes::from(sent);
    let mut replies = Vec::new();
    while !rest.is_empty() {
        let length = Reader::new(&rest).int().expect("a whole frame");
        let mut frame = rest.split_to(4 + usize::try_from(length).expect("a length")).slice(4..);
        let mut reader = Reader::new(&frame);
        let (xid, zxid, err) = (reader.int(), reader.long(), reader.int());
        let body = frame.split_off(reply::HEADER_LEN);
        replies.push(Reply {
            xid: xid.expect("a header"),
            zxid: Zxid(zxid.expect("a header")),
            err: ErrorCode(err.expect("a header")),
            body,
        });
    }
    replies
}

/// The handshake of a client that asks for a new session.
pub const fn new_session(timeout_ms: i32) -> ConnectRequest<'static> {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session: SessionId::NONE,
        password: &[0; 16],
        read_only: Some(false),
    }
}

/// A request as a client frames it.
pub fn frame(xid: i32, op: OpCode, request: &Request<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    RequestHeader { xid, op }.encode(&mut writer);
    request.encode(op, &mut writer);
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&i32::try_from(body.len()).expect("small").to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}
