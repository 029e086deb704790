//! One server with clients that do anything, a disk that is slow, fails and loses power, and clocks that jump.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::client::{Client, Stage, XID_SASL, XID_UNKNOWN};
use super::{Source, requests};
use crate::config::{Config, FourLetterWords};
use crate::recovery::{Notice, Recovery};
use crate::server::{Action, CloseReason, Event, HaltReason, Input, Server};
use crate::store::{DiskDone, DiskError, DiskOp, Stream};
use crate::testing::disk::Disk;
use crate::testing::lone;
use crate::time::{Instant, Now, WallTime};
use crate::types::{ConnId, OpCode, SessionId, Zxid};
use crate::wire::Request;
use crate::wire::connect::{ConnectRequest, ConnectResponse};
use crate::wire::request::{XID_AUTH, XID_PING, XID_SET_WATCHES};

const CLIENTS_MAX: usize = 12;
const STEPS_MAX: usize = 4000;
const OUTSTANDING_MAX: usize = 16;
const INBOX_PAUSE: usize = 512;
const OUTBOX_CLOSE: usize = 8192;
/// More than any single reply here: five znodes of 250 bytes with their stats.
const REPLY_MAX: usize = 2048;

/// Runs a server through what the bytes say.
///
/// # Panics
/// If the server panics, answers out of order, with what is no answer or never; sends to a connection it closed;
/// holds more for a client than it may; wants to be woken for something that waking it does not settle; says that
/// a digest differs; or loses a transaction that was applied when its power fails.
pub fn server(bytes: &[u8]) {
    let mut world = World::new(Source::new(bytes));
    for _ in 0..STEPS_MAX {
        if world.source.is_empty() {
            break;
        }
        world.step();
    }
    world.settle();
    world.restart(1);
}

struct World<'a> {
    source: Source<'a>,
    config: Config,
    disk: Disk,
    server: Server,
    now: Now,
    clients: BTreeMap<ConnId, Client>,
    next_conn: u64,
    sessions: Vec<ConnectResponse>,
    /// The newest transaction that was applied, and the tree's digest then.
    applied: Option<(Zxid, u64)>,
    stopping: bool,
    halted: bool,
}

fn config(source: &mut Source<'_>) -> Config {
    let flags = source.byte();
    let more = source.byte();
    let flag = |bits: u8, n: u8| bits >> n & 1 == 1;
    Config {
        max_client_cnxns: 6,
        max_cnxns: if flag(more, 0) { 8 } else { 0 },
        jute_max_buffer: 1500,
        jute_max_buffer_extra: 100,
        global_outstanding_limit: OUTSTANDING_MAX,
        large_request_threshold: flag(more, 1).then_some(300),
        large_request_max_bytes: 700,
        inbox_pause_bytes: INBOX_PAUSE,
        outbox_pause_bytes: 1024,
        outbox_close_bytes: OUTBOX_CLOSE,
        snap_count: 8,
        txn_log_size_limit: flag(more, 2).then_some(600),
        pre_alloc_size: if flag(more, 3) { 2000 } else { 0 },
        snapshot_chunk_bytes: 200,
        received_chunk_bytes: 200,
        purge_interval: flag(more, 4).then_some(Duration::from_secs(5)),
        digest_enabled: !flag(flags, 0),
        serialize_last_processed_zxid: !flag(flags, 1),
        close_session_txn: !flag(flags, 2),
        extended_types: flag(flags, 3),
        enforce_quota: flag(flags, 4),
        skip_acl: flag(flags, 5),
        reconfig_enabled: flag(flags, 6),
        throttled_op_wait: flag(flags, 7).then_some(Duration::from_secs(2)),
        container_check_interval: Duration::from_secs(7),
        container_max_per_minute: if flag(more, 5) { 20 } else { 10_000 },
        container_max_never_used: flag(more, 6).then_some(Duration::from_secs(30)),
        super_digest: Some(String::from("super:D/InIHSb7yEEbrWz8b9l71RjZJU=")),
        four_letter_words: FourLetterWords::All,
        report_applied: true,
        ..Config::default()
    }
}

impl<'a> World<'a> {
    fn new(mut source: Source<'a>) -> Self {
        let config = config(&mut source);
        let now = Now { mono: Instant::from_millis(1000), wall: WallTime(1_700_000_000_000) };
        let mut disk = Disk::default();
        let server = recover(&config, &mut disk, now, None);
        Self {
            source,
            config,
            disk,
            server,
            now,
            clients: BTreeMap::new(),
            next_conn: 1,
            sessions: Vec::new(),
            applied: None,
            stopping: false,
            halted: false,
        }
    }

    fn step(&mut self) {
        match self.source.below(64) {
            0..=2 => self.connect(),
            3..=7 => self.greet(),
            8..=35 => self.ask(),
            36 => self.authenticate(),
            37 => self.ask_unknown(),
            38 => self.babble(),
            39 => self.ask_word(),
            40 => self.second_half(),
            41..=44 => self.drain(),
            45 => self.hang_up(),
            46..=48 => self.pass(),
            49..=55 => self.end_disk(Stream::Log, 1),
            56..=58 => self.end_disk(Stream::Bulk, 1),
            59 => self.end_disk(Stream::Log, usize::MAX),
            60 => self.end_disk(Stream::Bulk, usize::MAX),
            61 => self.fail_disk(),
            62 => {
                if self.source.rarely(8) {
                    self.stopping = true;
                    self.input(Input::Shutdown);
                }
            }
            _ => {
                if self.source.rarely(4) {
                    let parts = self.source.below(4);
                    self.restart(parts);
                }
            }
        }
        // Several things may happen before anyone asks what is to be done.
        if !self.source.rarely(3) {
            self.run();
        }
    }

    fn input(&mut self, input: Input) {
        self.server.handle(self.now, input);
    }

    fn run(&mut self) {
        while let Some(action) = self.server.poll_action() {
            assert!(!self.halted, "an action after the last");
            match action {
                Action::Send { conn, bytes } => self.on_send(conn, &bytes),
                Action::PauseReads { conn } => self.client(conn).paused = true,
                Action::ResumeReads { conn } => self.client(conn).paused = false,
                Action::Close { conn, why } => {
                    assert!(self.stopping || why != CloseReason::Shutdown, "nobody asked it to stop");
                    self.client(conn).closed = true;
                }
                Action::Dial { .. }
                | Action::Hangup { .. }
                | Action::KeepConfig { .. }
                | Action::KeepSeenConfig { .. }
                | Action::PauseLink { .. }
                | Action::ResumeLink { .. }
                | Action::SendLink { .. } => unreachable!("a standalone server has no links"),
                Action::Disk(op) => self.disk.ask(op),
                Action::Event(event) => self.on_event(&event),
                Action::Halt { why } => {
                    self.halted = true;
                    assert!(self.stopping || why != HaltReason::Shutdown, "nobody asked it to stop");
                }
            }
        }
    }

    fn client(&mut self, conn: ConnId) -> &mut Client {
        let client = self.clients.get_mut(&conn).expect("the server knows no other connection");
        assert!(!client.closed, "the server speaks of a connection that it closed");
        client
    }

    fn on_send(&mut self, conn: ConnId, bytes: &Bytes) {
        let client = self.client(conn);
        let answer = client.receive(bytes);
        // Reads that waited behind a write are all answered at once, and so many may wait.
        let most = OUTBOX_CLOSE + (OUTSTANDING_MAX + 2) * REPLY_MAX;
        assert!(
            client.stage == Stage::Wild || client.unsent <= most,
            "{} bytes for one client",
            client.unsent
        );
        if let Some(answer) = answer.filter(|answer| answer.session != SessionId::NONE) {
            self.sessions.push(answer);
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Applied { zxid, digest } => {
                assert!(self.applied.is_none_or(|(before, _)| before < *zxid), "{zxid} is applied twice");
                self.applied = Some((*zxid, *digest));
            }
            Event::DigestMismatch { .. } => panic!("{event:?}"),
            Event::Committed { .. }
            | Event::EpochAccepted { .. }
            | Event::EpochCurrent { .. }
            | Event::FileNotRemoved { .. }
            | Event::LeaderLost { .. }
            | Event::QuotaExceeded { .. }
            | Event::ReadOnlyBegun { .. }
            | Event::Reconfigured { .. }
            | Event::Rewound { .. }
            | Event::RoleTaken { .. }
            | Event::SessionAttached { .. }
            | Event::SessionOpened { .. }
            | Event::SessionExpired { .. }
            | Event::SessionClosed { .. }
            | Event::SessionUnknown { .. }
            | Event::SlowSync { .. }
            | Event::SnapshotAskedFor { .. }
            | Event::SnapshotInstalled { .. }
            | Event::SnapshotStarted { .. }
            | Event::SteppedDown { .. }
            | Event::Synced
            | Event::SnapshotFinished { .. }
            | Event::SnapshotFailed { .. } => {}
        }
    }

    fn connect(&mut self) {
        let open = self.clients.values().filter(|client| !client.closed).count();
        if open >= CLIENTS_MAX || self.stopping {
            return;
        }
        let from = self.source.below(3);
        let address: SocketAddr = ["10.0.0.1:1", "10.0.0.2:2", "[::1]:3"][from].parse().expect("an address");
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.clients.insert(conn, Client::new());
        self.input(Input::Accepted { conn, from: address });
    }

    /// One of the connections, open or not, that are in one of these stages.
    fn pick(&mut self, stages: &[Stage]) -> Option<ConnId> {
        let fits = |client: &Client| stages.contains(&client.stage) && (!client.closed || client.unsent > 0);
        let found: Vec<ConnId> =
            self.clients.iter().filter(|(_, client)| fits(client)).map(|(&conn, _)| conn).collect();
        (!found.is_empty()).then(|| self.source.choose(&found))
    }

    fn greet(&mut self) {
        let Some(conn) = self.pick(&[Stage::Silent]) else { return };
        let known = self.source.below(4);
        let again = if known == 0 && !self.sessions.is_empty() {
            Some(self.sessions[self.source.below(self.sessions.len().min(256))])
        } else {
            None
        };
        let password = again.map_or([0; 16], |session| session.password);
        let wrong = again.is_some() && self.source.rarely(8);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: if self.source.rarely(32) { Zxid(1 << 40) } else { Zxid::ZERO },
            timeout_ms: self.source.choose(&[10_000, 6000, 0, -1, i32::MAX]),
            session: again.map_or(SessionId::NONE, |session| session.session),
            password: if wrong { b"wrong" } else { &password },
            read_only: self.source.choose(&[Some(false), Some(true), None]),
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.clients.get_mut(&conn).expect("it was picked").stage = Stage::Greeting;
        self.send(conn, &bytes);
    }

    fn ask(&mut self) {
        let Some(conn) = self.pick(&[Stage::Established, Stage::Greeting]) else { return };
        let (op, request) = requests::any(&mut self.source);
        let client = self.clients.get_mut(&conn).expect("it was picked");
        let xid = match op {
            OpCode::PING => XID_PING,
            OpCode::SET_WATCHES | OpCode::SET_WATCHES2 => XID_SET_WATCHES,
            _ if self.source.rarely(16) => 0,
            _ => {
                client.next_xid += 1;
                client.next_xid
            }
        };
        self.request(conn, xid, op, &request);
    }

    fn request(&mut self, conn: ConnId, xid: i32, op: OpCode, request: &Request<'_>) {
        let client = self.clients.get_mut(&conn).expect("it was picked");
        if client.closed || client.paused || client.half.is_some() {
            return;
        }
        let owed = client.owed();
        assert!(owed <= OUTSTANDING_MAX + 1 + INBOX_PAUSE / 8, "{owed} requests of one client wait");
        client.asked(xid, op);
        self.send(conn, &lone::frame(xid, op, request));
    }

    /// Sends bytes, now and then only one half of them yet.
    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        let half = self.source.rarely(16);
        let client = self.clients.get_mut(&conn).expect("it was picked");
        let (first, second) = bytes.split_at(if half { bytes.len() / 2 } else { bytes.len() });
        client.half = half.then(|| second.to_vec());
        self.input(Input::Received { conn, bytes: Bytes::copy_from_slice(first) });
    }

    fn second_half(&mut self) {
        let halved = self.clients.iter_mut().find(|(_, client)| client.half.is_some() && !client.paused);
        if let Some((&conn, client)) = halved
            && let Some(bytes) = client.half.take()
        {
            self.input(Input::Received { conn, bytes: Bytes::from(bytes) });
        }
    }

    fn authenticate(&mut self) {
        let Some(conn) = self.pick(&[Stage::Established]) else { return };
        if self.source.rarely(4) {
            self.request(conn, XID_SASL, OpCode::SASL, &Request::Sasl { token: Some(b"token") });
        } else {
            let (scheme, auth) = requests::credentials(&mut self.source);
            self.request(conn, XID_AUTH, OpCode::AUTH, &Request::Auth { kind: 0, scheme, auth });
        }
    }

    fn ask_unknown(&mut self) {
        let Some(conn) = self.pick(&[Stage::Established]) else { return };
        let op = self.source.choose(&[
            OpCode::DELETE_CONTAINER,
            OpCode::CREATE_SESSION,
            OpCode::CHECK,
            OpCode(99),
        ]);
        self.request(conn, XID_UNKNOWN, op, &Request::Ping);
    }

    /// Anything at all.
    fn babble(&mut self) {
        let Some(conn) = self.pick(&[Stage::Silent, Stage::Established, Stage::Wild]) else { return };
        let mut bytes = self.source.bytes(64).to_vec();
        if self.source.flag() && bytes.len() > 4 {
            // A length that fits, so that something is made of the rest.
            let length = bytes.len() as u32 - 4;
            bytes[..4].copy_from_slice(&length.to_be_bytes());
        }
        let client = self.clients.get_mut(&conn).expect("it was picked");
        if !client.paused {
            client.stage = Stage::Wild;
            self.input(Input::Received { conn, bytes: Bytes::from(bytes) });
        }
    }

    fn ask_word(&mut self) {
        let Some(conn) = self.pick(&[Stage::Silent]) else { return };
        let words: [&[u8]; 12] = [
            b"cons",
            b"dump",
            b"mntr",
            b"stat",
            b"srvr",
            b"wchc",
            b"wchp",
            b"wchs",
            b"crst",
            b"hash",
            b"conf",
            b"stmk\0\0\0\0\0\0\0\x07",
        ];
        let word = self.source.choose(&words);
        self.clients.get_mut(&conn).expect("it was picked").stage = Stage::Wild;
        self.send(conn, word);
    }

    fn drain(&mut self) {
        let Some(conn) = self.pick(&[Stage::Greeting, Stage::Established, Stage::Wild]) else { return };
        let part = self.source.below(4);
        let client = self.clients.get_mut(&conn).expect("it was picked");
        let bytes = if part == 0 { client.unsent / 2 } else { client.unsent };
        client.unsent -= bytes;
        self.input(Input::Drained { conn, bytes });
    }

    fn hang_up(&mut self) {
        let stages = [Stage::Silent, Stage::Greeting, Stage::Established, Stage::Wild];
        let Some(conn) = self.pick(&stages) else { return };
        // What the server had decided to send or say is of no use any more.
        self.run();
        self.clients.remove(&conn);
        self.input(Input::Closed { conn });
    }

    fn pass(&mut self) {
        let millis = self.source.choose(&[1, 400, 3000, 7000, 60_000]);
        let end = self.now.mono + Duration::from_millis(millis);
        if self.source.rarely(8) {
            self.now.wall = WallTime(self.source.choose(&[0, -5, 1 << 41, i64::MAX / 2]));
        }
        self.now.wall.0 = self.now.wall.0.saturating_add(millis as i64);
        self.now.mono = end;
        // One tick may find what is due only because of what the one before it settled.
        for _ in 0..3 {
            self.input(Input::Tick);
            self.run();
            if self.server.poll_timeout().is_none_or(|due| due > self.now.mono) {
                return;
            }
        }
        panic!("ticks do not settle what they are due for");
    }

    fn end_disk(&mut self, stream: Stream, count: usize) {
        for _ in 0..count {
            let Some(done) = self.disk.end_next(stream, None) else { return };
            self.disk_done(done);
        }
    }

    fn disk_done(&mut self, done: DiskDone) {
        self.input(Input::Disk(done));
        self.run();
    }

    fn fail_disk(&mut self) {
        let stream = if self.source.rarely(8) { Stream::Log } else { Stream::Bulk };
        let error = self.source.choose(&[DiskError::Full, DiskError::Failed(5)]);
        let Some(done) = self.disk.end_next(stream, Some(error)) else { return };
        self.disk_done(done);
        assert!(self.halted || stream == Stream::Bulk, "a failed log must stop the server");
    }

    /// Everything comes to its end: the disk does all it was asked, clients take all they were sent. Whoever was
    /// not closed must then have been answered, and be listened to.
    fn settle(&mut self) {
        self.run();
        for _ in 0..STEPS_MAX {
            self.second_half();
            self.run();
            self.end_disk(Stream::Log, usize::MAX);
            self.end_disk(Stream::Bulk, usize::MAX);
            let owing = self.clients.iter_mut().find(|(_, client)| client.unsent > 0);
            if let Some((&conn, client)) = owing {
                let bytes = core::mem::take(&mut client.unsent);
                self.input(Input::Drained { conn, bytes });
            } else if self.server.poll_timeout().is_some_and(|due| due <= self.now.mono) {
                self.input(Input::Tick);
            } else if !self.clients.values().any(|client| client.half.is_some() && !client.paused) {
                break;
            }
            self.run();
        }
        if self.halted {
            return;
        }
        assert!(!self.stopping, "it was asked to stop and does not");
        for client in self.clients.values().filter(|client| !client.closed) {
            assert!(!client.paused, "nobody listens to {client:?}");
            assert!(client.stage == Stage::Wild || client.owed() == 0, "no answer to {client:?}");
            assert_ne!(client.stage, Stage::Greeting, "no answer to {client:?}");
        }
    }

    /// The power fails, and comes back.
    fn restart(&mut self, parts: usize) {
        self.run();
        self.disk.crash(parts);
        self.server = recover(&self.config, &mut self.disk, self.now, self.applied);
        self.applied = None;
        self.clients.clear();
        self.stopping = false;
        self.halted = false;
    }
}

/// Starts a server from what the disk holds, which must be no less than was `applied`.
fn recover(config: &Config, disk: &mut Disk, now: Now, applied: Option<(Zxid, u64)>) -> Server {
    let mut recovery = Recovery::new(config, [7; 4], false);
    let recovered = loop {
        if let Some(outcome) = recovery.poll_outcome() {
            break outcome.expect("a crash leaves nothing that cannot be recovered");
        }
        let op: DiskOp = recovery.poll_op().expect("without an outcome there is something to do");
        let ticket = op.ticket();
        recovery.on_done(DiskDone { ticket, result: disk.execute(op) });
    };
    recovered.tree.check_invariants();
    let mismatch = recovered.report.iter().find(|notice| matches!(notice, Notice::DigestMismatch { .. }));
    assert_eq!(mismatch, None);
    assert_eq!(recovered.tree.last_zxid(), recovered.last_zxid);
    if let Some((zxid, digest)) = applied {
        assert!(recovered.last_zxid >= zxid, "{zxid} was applied, and is lost");
        assert!(recovered.last_zxid > zxid || recovered.tree.digest() == digest, "another tree at {zxid}");
    }
    Server::new(config.clone(), recovered, [7; 32], now)
}
