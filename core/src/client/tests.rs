//! The client alone, against bytes that a test makes up.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::time::WallTime;
use crate::types::{EventType, SessionId};
use crate::wire::{ConnectRequest, ConnectResponse, Deframer, Reader, Request, WatchEvent};

/// A client, and what it has asked for so far.
struct Script {
    client: Client,
    now: Now,
    actions: Vec<ClientAction>,
}

impl Script {
    fn new(config: ClientConfig) -> Self {
        let now = Now { mono: Instant::from_millis(500), wall: WallTime(0) };
        let mut script = Self { client: Client::new(config, [4; 32], now), now, actions: Vec::new() };
        script.drain();
        script
    }

    fn of(servers: &str) -> Self {
        Self::new(config(servers))
    }

    fn drain(&mut self) {
        while let Some(action) = self.client.poll_action() {
            self.actions.push(action);
        }
    }

    fn input(&mut self, input: ClientInput) -> Vec<ClientAction> {
        self.client.handle(self.now, input);
        self.drain();
        core::mem::take(&mut self.actions)
    }

    fn at(&mut self, millis: u64, input: ClientInput) -> Vec<ClientAction> {
        self.now.mono = Instant::from_millis(millis);
        self.input(input)
    }

    fn receive(&mut self, dial: DialId, bytes: &[u8]) -> Vec<ClientAction> {
        self.input(ClientInput::Received { dial, bytes: Bytes::copy_from_slice(bytes) })
    }

    /// Waits until something is due and says so.
    fn wait(&mut self) -> Vec<ClientAction> {
        let due = self.client.poll_timeout().expect("something is due");
        self.now.mono = due.max(self.now.mono);
        self.input(ClientInput::Tick)
    }

    /// Waits for the next attempt to connect.
    fn next_dial(&mut self) -> (DialId, String) {
        for _ in 0..100 {
            let connect = core::mem::take(&mut self.actions).into_iter().find_map(|action| match action {
                ClientAction::Connect { dial, address, .. } => Some((dial, address.host)),
                ClientAction::Completed { .. }
                | ClientAction::Event(_)
                | ClientAction::Hangup { .. }
                | ClientAction::Send { .. } => None,
            });
            if let Some(connect) = connect {
                return connect;
            }
            self.actions = self.wait();
        }
        panic!("it does not try to connect");
    }

    /// Attaches the session.
    fn attach(&mut self, dial: DialId, read_only: bool) {
        self.input(ClientInput::Connected { dial });
        self.receive(dial, &handshake(10_000, read_only));
    }
}

fn config(servers: &str) -> ClientConfig {
    ClientConfig::parse(servers, Duration::from_secs(12)).expect("servers")
}

fn handshake(timeout_ms: i32, read_only: bool) -> Vec<u8> {
    let session = if timeout_ms == 0 { SessionId::NONE } else { SessionId(77) };
    let mut bytes = Vec::new();
    ConnectResponse { timeout_ms, session, password: [5; 16], read_only: Some(read_only) }.encode(&mut bytes);
    bytes
}

fn exists(call: u64) -> ClientInput {
    ClientInput::Call { call: CallId(call), request: Call::Exists { path: "/".into(), watcher: None } }
}

fn sent(actions: &[ClientAction]) -> Vec<u8> {
    let bytes = |action: &ClientAction| match action {
        ClientAction::Send { bytes, .. } => bytes.to_vec(),
        ClientAction::Completed { .. }
        | ClientAction::Connect { .. }
        | ClientAction::Event(_)
        | ClientAction::Hangup { .. } => Vec::new(),
    };
    actions.iter().flat_map(bytes).collect()
}

fn hangup(actions: &[ClientAction]) -> Option<ClientHangup> {
    actions.iter().find_map(|action| match action {
        ClientAction::Hangup { why, .. } => Some(*why),
        ClientAction::Completed { .. }
        | ClientAction::Connect { .. }
        | ClientAction::Event(_)
        | ClientAction::Send { .. } => None,
    })
}

/// PARITY `conn.req`, `cl.prime`: the handshake says what is known of session and transactions; requests wait for its
/// answer.
#[test]
fn the_handshake_comes_first() {
    let mut script = Script::of("a");
    let (dial, host) = script.next_dial();
    assert_eq!(host, "a");
    assert_eq!(script.input(exists(1)), vec![]);
    let bytes = sent(&script.input(ClientInput::Connected { dial }));
    let request = ConnectRequest::decode(&bytes[4..]).expect("a handshake and nothing else");
    assert_eq!(
        (request.session, request.timeout_ms, request.last_zxid_seen),
        (SessionId::NONE, 12_000, Zxid::ZERO)
    );
    assert_eq!((request.read_only, request.password), (Some(false), &[0; 16][..]));
    assert_eq!(bytes.len(), 49);
    let actions = script.receive(dial, &handshake(10_000, false));
    let state = ClientAction::Event(ClientEvent::State(SessionState::Connected));
    assert_eq!(actions[0], state);
    let mut expected = vec![0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, b'/'];
    expected.push(0);
    assert_eq!(sent(&actions), expected);
    let mut reply = Vec::new();
    reply::header_only(&mut reply, 1, Zxid(9), ErrorCode::NONODE);
    let result = Err(CallError::Refused(ErrorCode::NONODE));
    assert_eq!(script.receive(dial, &reply), vec![ClientAction::Completed { call: CallId(1), result }]);
    // The next connection knows both.
    script.input(ClientInput::Disconnected { dial });
    let (dial, _) = script.next_dial();
    let bytes = sent(&script.input(ClientInput::Connected { dial }));
    let request = ConnectRequest::decode(&bytes[4..]).expect("a handshake");
    assert_eq!((request.session, request.last_zxid_seen), (SessionId(77), Zxid(9)));
    assert_eq!(request.password, [5; 16]);
}

/// PARITY `cl.timeouts`, `cl.ping`: when pings are due, when silence ends the connection, when attempts are given up.
#[test]
fn cl_ping_and_timeouts() {
    for (timeout_ms, ping, silence) in [
        (2000, 666, 1333),
        (3000, 1000, 2000),
        (4000, 1000, 2666),
        (10_000, 2333, 6666),
        (60_000, 10_000, 40_000),
    ] {
        let mut script = Script::of("a");
        let (dial, _) = script.next_dial();
        script.input(ClientInput::Connected { dial });
        script.receive(dial, &handshake(timeout_ms, false));
        let start = script.now.mono.as_millis();
        assert_eq!(
            script.client.poll_timeout().map(|due| due.as_millis() - start),
            Some(ping),
            "{timeout_ms}"
        );
        assert_eq!(script.at(start + ping - 1, ClientInput::Tick), vec![]);
        let bytes = sent(&script.at(start + ping + 1, ClientInput::Tick));
        assert_eq!(bytes, [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
        assert_eq!(script.input(ClientInput::Tick), vec![], "one ping is enough");
        script.now.mono = Instant::from_millis(start + silence - 1);
        assert_eq!(hangup(&script.input(ClientInput::Tick)), None);
        script.now.mono = Instant::from_millis(start + silence + 1);
        assert_eq!(hangup(&script.input(ClientInput::Tick)), Some(ClientHangup::Timeout));
    }
    let mut script = Script::of("a,b,c");
    script.next_dial();
    let start = script.now.mono;
    assert_eq!(script.client.poll_timeout(), Some(start + Duration::from_secs(4)), "a third for each server");
    assert_eq!(hangup(&script.wait()), Some(ClientHangup::Timeout));
}

/// PARITY `cl.hostprovider`, `cl.reconnect.delay`: servers in turn, without a pause at first, then with one after each
/// round, and with a random one once any was reached.
#[test]
fn cl_reconnect_delay() {
    let mut script = Script::of("a,b,c");
    let mut hosts = Vec::new();
    let start = script.now.mono;
    for _ in 0..3 {
        let (dial, host) = script.next_dial();
        hosts.push(host);
        script.actions = script.input(ClientInput::ConnectFailed { dial });
    }
    assert_eq!(script.now.mono, start, "no pause in the first round");
    let again = script.next_dial();
    assert_eq!(script.now.mono, start + Duration::from_secs(1));
    assert_eq!(again.1, hosts[0]);
    hosts.sort();
    assert_eq!(hosts, ["a", "b", "c"]);
    script.attach(again.0, false);
    let mut pauses = Vec::new();
    let mut dial = again.0;
    for _ in 0..20 {
        let before = script.now.mono;
        script.actions = script.input(ClientInput::Disconnected { dial });
        (dial, _) = script.next_dial();
        pauses.push((script.now.mono - before).as_millis());
        script.attach(dial, false);
    }
    assert!(pauses.iter().all(|&pause| pause < 1000), "{pauses:?}");
    pauses.dedup();
    assert!(pauses.len() > 15, "{pauses:?}");
}

/// What comes from connections that were given up means nothing.
#[test]
fn stale_inputs_do_nothing() {
    let mut script = Script::of("a");
    let (old, _) = script.next_dial();
    script.attach(old, false);
    script.input(ClientInput::Disconnected { dial: old });
    let (dial, _) = script.next_dial();
    for input in [
        ClientInput::Connected { dial: old },
        ClientInput::ConnectFailed { dial: old },
        ClientInput::Disconnected { dial: old },
        ClientInput::Received { dial: old, bytes: Bytes::from_static(&[0xff; 30]) },
        ClientInput::Received { dial, bytes: Bytes::from_static(&[0xff; 30]) },
        ClientInput::Connected { dial: DialId(99) },
    ] {
        assert_eq!(script.input(input.clone()), vec![], "{input:?}");
    }
    script.attach(dial, false);
    assert_eq!(script.client.state(), SessionState::Connected);
}

/// PARITY `cl.xidmismatch`, `cl.packet.limit`: whatever is no answer ends the connection, and the call with it.
#[test]
fn cl_xidmismatch() {
    let event = |number: i32| {
        let mut bytes = Vec::new();
        WatchEvent::new(EventType::NodeCreated, "/a").encode(Zxid(1), &mut bytes);
        bytes[20..24].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let header = |xid| {
        let mut bytes = Vec::new();
        reply::header_only(&mut bytes, xid, Zxid(1), ErrorCode::OK);
        bytes
    };
    for (bytes, why) in [
        (header(2), "another number"),
        (header(-8), "setWatches was not asked"),
        (header(-4), "no identity was presented"),
        (header(1), "no body"),
        (vec![0, 0, 0, 3, 1, 2, 3], "no header"),
        (vec![0xff; 4], "a negative length"),
        (vec![0, 0x10, 0, 0], "a frame over the limit"),
        (event(0), "no such event"),
        (event(5), "an event that is never sent"),
    ] {
        let mut script = Script::of("a");
        let (dial, _) = script.next_dial();
        script.attach(dial, false);
        script.input(exists(1));
        let actions = script.receive(dial, &bytes);
        assert_eq!(hangup(&actions), Some(ClientHangup::BadReply), "{why}");
        let result = Err(CallError::ConnectionLoss { sent: true });
        assert!(actions.contains(&ClientAction::Completed { call: CallId(1), result }), "{why}");
        assert_eq!(script.client.state(), SessionState::Disconnected, "{why}");
        assert_eq!(script.client.last_zxid(), Zxid::ZERO, "{why}");
    }
}

/// A handshake must be one, and of the session that was asked for.
#[test]
fn a_wrong_handshake_ends_the_connection() {
    let mut script = Script::of("a");
    let (dial, _) = script.next_dial();
    script.input(ClientInput::Connected { dial });
    assert_eq!(hangup(&script.receive(dial, &[0, 0, 0, 2, 1, 1])), Some(ClientHangup::BadReply));
    let (dial, _) = script.next_dial();
    script.attach(dial, false);
    script.input(ClientInput::Disconnected { dial });
    let (dial, _) = script.next_dial();
    script.input(ClientInput::Connected { dial });
    let mut other = handshake(10_000, false);
    other[19] = 78;
    assert_eq!(hangup(&script.receive(dial, &other)), Some(ClientHangup::BadReply));
    assert_eq!(script.client.session().map(|held| held.session), Some(SessionId(77)));
}

/// A server that does not register the watches again is left: they would be silent for good.
#[test]
fn refused_watches_are_tried_elsewhere() {
    let mut script = Script::of("a");
    let (dial, _) = script.next_dial();
    script.attach(dial, false);
    let request = Call::AddWatch { path: "/".into(), mode: AddWatchMode::Persistent, watcher: WatcherId(1) };
    script.input(ClientInput::Call { call: CallId(1), request });
    let mut bytes = Vec::new();
    let frame = reply::begin(&mut bytes);
    reply::header(&mut bytes, 1, Zxid(1), ErrorCode::OK);
    reply::error(&mut bytes, ErrorCode::OK);
    reply::end(&mut bytes, frame);
    script.receive(dial, &bytes);
    script.input(ClientInput::Disconnected { dial });
    let (dial, _) = script.next_dial();
    script.input(ClientInput::Connected { dial });
    let bytes = Bytes::from(sent(&script.receive(dial, &handshake(10_000, false))));
    let mut deframer = Deframer::new(1000);
    deframer.push(bytes);
    let frame = deframer.next_frame().unwrap().expect("setWatches2");
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader).unwrap();
    assert_eq!((header.xid, header.op), (-8, OpCode::SET_WATCHES2));
    let request = Request::decode(header.op, &mut reader).unwrap();
    assert!(matches!(request, Request::SetWatches { persistent, .. } if persistent == ["/"]));
    let mut refusal = Vec::new();
    reply::header_only(&mut refusal, -8, Zxid(1), ErrorCode::THROTTLEDOP);
    assert_eq!(hangup(&script.receive(dial, &refusal)), Some(ClientHangup::WatchesRefused));
}

/// PARITY `cl.readonly`: the others are asked, ever more rarely, until one has a quorum; a session of a server without
/// one is not presented to it.
#[test]
fn cl_readonly() {
    let mut script = Script::new(ClientConfig { can_be_read_only: true, ..config("a,b") });
    let (dial, _) = script.next_dial();
    script.attach(dial, true);
    assert_eq!(script.client.state(), SessionState::ConnectedReadOnly);
    let begin = script.now.mono;
    let mut asked = Vec::new();
    for answer in [&b"ro"[..], b"null", b"r"] {
        let (probe, _) = script.next_dial();
        asked.push((script.now.mono - begin).as_millis());
        assert_eq!(sent(&script.input(ClientInput::Connected { dial: probe })), b"isro");
        let actions = script.receive(probe, answer);
        assert_eq!(hangup(&actions).is_some(), answer.len() > 1);
        script.actions = script.input(ClientInput::Disconnected { dial: probe });
    }
    assert_eq!(asked, [100, 300, 700]);
    // One that never answers is given up.
    let (probe, _) = script.next_dial();
    let asked = script.now.mono.as_millis();
    let tick = script.at(asked + 999, ClientInput::Tick);
    assert_eq!(hangup(&tick), None);
    assert_eq!(hangup(&script.at(asked + 1000, ClientInput::Tick)), Some(ClientHangup::Timeout));
    assert_eq!(script.receive(probe, b"rw"), vec![], "too late");
    let (probe, host) = script.next_dial();
    script.input(ClientInput::Connected { dial: probe });
    script.receive(probe, b"r");
    let actions = script.receive(probe, b"w");
    assert_eq!(actions[0], ClientAction::Hangup { dial: probe, why: ClientHangup::Asked });
    assert_eq!(actions[1], ClientAction::Hangup { dial, why: ClientHangup::ReadWriteFound });
    let (dial, found) = script.next_dial();
    assert_eq!(found, host);
    let bytes = sent(&script.input(ClientInput::Connected { dial }));
    let request = ConnectRequest::decode(&bytes[4..]).unwrap();
    assert_eq!((request.session, request.read_only), (SessionId::NONE, Some(true)));
    script.receive(dial, &handshake(10_000, false));
    assert_eq!(script.client.state(), SessionState::Connected);
}

/// PARITY `cl.autowatchreset`: where it is off, nothing is registered again.
#[test]
fn cl_autowatchreset() {
    for auto_watch_reset in [false, true] {
        let mut script = Script::new(ClientConfig { auto_watch_reset, ..config("a") });
        let (dial, _) = script.next_dial();
        script.attach(dial, false);
        script.client.watches.add(watches::WatchKind::Data, "/a".into(), WatcherId(1));
        script.input(ClientInput::Disconnected { dial });
        assert_eq!(script.client.watches.len(), usize::from(auto_watch_reset));
        let (dial, _) = script.next_dial();
        script.input(ClientInput::Connected { dial });
        let bytes = sent(&script.receive(dial, &handshake(10_000, false)));
        assert_eq!(bytes.is_empty(), !auto_watch_reset);
    }
}

proptest! {
    /// Whatever a server sends, in whatever pieces, the client neither panics nor forgets a call.
    #[test]
    fn garbage(pieces in prop::collection::vec(prop::collection::vec(prop_oneof![0_u8..20, 0xf0_u8..=255], 0..40), 0..8),
               framed: bool) {
        let mut script = Script::of("a");
        let (mut dial, _) = script.next_dial();
        script.attach(dial, false);
        let mut open = 0_i64;
        let mut count = |actions: &[ClientAction]| {
            open -= actions.iter().filter(|action| matches!(action, ClientAction::Completed { .. })).count() as i64;
            open
        };
        for (number, piece) in pieces.iter().enumerate() {
            let actions = script.input(exists(number as u64));
            count(&actions);
            let mut bytes = Vec::new();
            if framed {
                bytes.extend((piece.len() as i32).to_be_bytes());
            }
            bytes.extend(piece);
            let actions = script.receive(dial, &bytes);
            count(&actions);
            if script.client.state() == SessionState::Disconnected {
                script.actions = actions;
                (dial, _) = script.next_dial();
                script.attach(dial, false);
            }
        }
        let actions = script.input(ClientInput::Disconnected { dial });
        let answered = -count(&actions);
        prop_assert!(answered <= pieces.len() as i64, "{}", format!("{answered} answers"));
        prop_assert_eq!(script.client.outstanding(), 0);
    }
}
