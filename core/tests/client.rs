//! The client against the server, in lock-step: PARITY `cl.*` and `ev.*`.

use std::time::Duration;

use bytes::Bytes;
use zabra_core::client::{
    AddWatchMode, Call, CallError, ClientConfig, ClientEvent, ClientInput, Create, CreateMode, Credentials,
    Outcome, Read, SessionState, WatcherId, Write,
};
use zabra_core::config::Config;
use zabra_core::testing::pair::{Pair, Told, client_config};
use zabra_core::types::{AclList, ErrorCode, EventType, OpCode, Stat, WatcherType, Zxid};
use zabra_core::wire::Request;

const ONE: WatcherId = WatcherId(1);
const TWO: WatcherId = WatcherId(2);
const SECOND: Duration = Duration::from_secs(1);

fn node(path: &str, mode: CreateMode) -> Create {
    let data = Some(Bytes::from_static(b"x"));
    Create { path: path.into(), data, acl: AclList::OpenUnsafe, mode, with_stat: false }
}

fn create(path: &str) -> Call {
    Call::Create(node(path, CreateMode::Persistent))
}

fn set(path: &str, data: &'static [u8]) -> Call {
    Call::SetData { path: path.into(), data: Some(Bytes::from_static(data)), version: -1 }
}

fn get(path: &str, watcher: Option<WatcherId>) -> Call {
    Call::GetData { path: path.into(), watcher }
}

fn exists(path: &str, watcher: Option<WatcherId>) -> Call {
    Call::Exists { path: path.into(), watcher }
}

fn children(path: &str, watcher: Option<WatcherId>) -> Call {
    Call::GetChildren { path: path.into(), watcher }
}

fn delete(path: &str) -> Call {
    Call::Delete { path: path.into(), version: -1 }
}

fn created(path: &str) -> Result<Outcome, CallError> {
    Ok(Outcome::Created { path: path.into(), stat: None })
}

fn refused(code: ErrorCode) -> Result<Outcome, CallError> {
    Err(CallError::Refused(code))
}

fn data(outcome: &Result<Outcome, CallError>) -> (&[u8], Stat) {
    match outcome {
        Ok(Outcome::Data { data: Some(data), stat }) => (data, *stat),
        other => panic!("no data: {other:?}"),
    }
}

fn state(state: SessionState) -> ClientEvent {
    ClientEvent::State(state)
}

/// An event without its zxid.
fn seen(events: Vec<ClientEvent>) -> Vec<(EventType, String, Vec<WatcherId>)> {
    let watch = |event| match event {
        ClientEvent::Watch { kind, path, watchers, .. } => Some((kind, path, watchers)),
        ClientEvent::State(_) => None,
    };
    events.into_iter().filter_map(watch).collect()
}

fn event(kind: EventType, path: &str, watchers: &[WatcherId]) -> (EventType, String, Vec<WatcherId>) {
    (kind, path.into(), watchers.to_vec())
}

/// `api.sync-async`: every call, and what it brings.
#[test]
fn every_call_brings_its_own() {
    let mut pair = Pair::new();
    assert_eq!(pair.take_events(), [state(SessionState::Connected)]);
    assert_eq!(pair.ask(create("/a")), created("/a"));
    assert_eq!(pair.ask(create("/a")), refused(ErrorCode::NODEEXISTS));
    let with_stat = Create { with_stat: true, ..node("/a/b", CreateMode::Ephemeral) };
    let Ok(Outcome::Created { path, stat: Some(stat) }) = pair.ask(Call::Create(with_stat)) else { panic!() };
    assert_eq!(path, "/a/b");
    assert_eq!(Some(stat.ephemeral_owner), pair.client.session().map(|held| held.session));
    let sequential = pair.ask(Call::Create(node("/a/s-", CreateMode::PersistentSequential)));
    assert_eq!(sequential, created("/a/s-0000000001"));
    // A sequential name may be nothing but its number.
    let bare = pair.ask(Call::Create(node("/a/", CreateMode::EphemeralSequential)));
    assert_eq!(bare, created("/a/0000000002"));
    let Ok(Outcome::Created { stat: Some(_), .. }) =
        pair.ask(Call::Create(node("/c", CreateMode::Container)))
    else {
        panic!("containers come with their stat")
    };
    let read = pair.ask(get("/a", None));
    assert_eq!(data(&read).0, b"x");
    let Ok(Outcome::Stat(stat)) = pair.ask(set("/a", b"yy")) else { panic!() };
    assert_eq!((stat.version, stat.data_length), (1, 2));
    assert_eq!(pair.ask(exists("/a", None)), Ok(Outcome::Stat(stat)));
    assert_eq!(pair.ask(exists("/no", None)), refused(ErrorCode::NONODE));
    let wrong = Call::SetData { path: "/a".into(), data: None, version: 7 };
    assert_eq!(pair.ask(wrong), refused(ErrorCode::BADVERSION));
    let Ok(Outcome::Children { mut names, stat: Some(_) }) = pair.ask(children("/a", None)) else { panic!() };
    names.sort();
    assert_eq!(names, ["0000000002", "b", "s-0000000001"]);
    assert_eq!(pair.ask(Call::GetAllChildrenNumber { path: "/a".into() }), Ok(Outcome::Count(3)));
    let Ok(Outcome::Paths(mut paths)) = pair.ask(Call::GetEphemerals { prefix: "/".into() }) else {
        panic!()
    };
    paths.sort();
    assert_eq!(paths, ["/a/0000000002", "/a/b"]);
    let acl = AclList::OpenUnsafe;
    let set_acl = Call::SetAcl { path: "/a".into(), acl: acl.clone(), version: -1 };
    let Ok(Outcome::Stat(stat)) = pair.ask(set_acl) else { panic!() };
    assert_eq!(pair.ask(Call::GetAcl { path: "/a".into() }), Ok(Outcome::Acl { acl, stat }));
    assert_eq!(pair.ask(Call::Sync { path: "/a".into() }), Ok(Outcome::Path("/a".into())));
    let Ok(Outcome::Identities(identities)) = pair.ask(Call::WhoAmI) else { panic!() };
    assert_eq!(identities, [("ip".to_owned(), "10.0.0.1".to_owned())]);
    assert!(matches!(pair.ask(Call::GetConfig { watcher: None }), Ok(Outcome::Data { .. })));
    assert_eq!(pair.ask(delete("/a/b")), Ok(Outcome::Done));
    assert_eq!(pair.ask(delete("/a")), refused(ErrorCode::NOTEMPTY));
    let reconfig = Call::Reconfig { joining: None, leaving: None, new_members: None, config_id: -1 };
    assert!(matches!(pair.ask(reconfig), Err(CallError::Refused(_))));
    assert_eq!(pair.client.outstanding(), 0);
}

/// `api.transaction`, `multi.ok`, `multi.fail`, `multi.empty`, `multiread`.
#[test]
fn multi() {
    let mut pair = Pair::new();
    let check = |version| Write::Check { path: "/".into(), version };
    let ops = vec![
        Write::Create(node("/a", CreateMode::Persistent)),
        Write::Create(Create { with_stat: true, ..node("/a/e-", CreateMode::EphemeralSequential) }),
        Write::SetData { path: "/a".into(), data: None, version: 0 },
        Write::Create(node("/b", CreateMode::Persistent)),
        Write::Delete { path: "/b".into(), version: 0 },
        check(-1),
    ];
    let Ok(Outcome::Multi(results)) = pair.ask(Call::Multi(ops)) else { panic!() };
    assert_eq!(results.len(), 6);
    assert_eq!(results[0], Ok(Outcome::Created { path: "/a".into(), stat: None }));
    assert!(matches!(&results[1], Ok(Outcome::Created { path, stat: Some(_) }) if path == "/a/e-0000000000"));
    assert!(matches!(&results[2], Ok(Outcome::Stat(stat)) if stat.version == 1));
    assert_eq!(results[4..], [Ok(Outcome::Done), Ok(Outcome::Done)]);
    let failing = Call::Multi(vec![check(-1), check(99), check(-1)]);
    let codes = [ErrorCode::OK, ErrorCode::BADVERSION, ErrorCode::RUNTIMEINCONSISTENCY];
    assert_eq!(pair.ask(failing), Ok(Outcome::Multi(codes.map(Err).to_vec())));
    assert_eq!(pair.ask(Call::Multi(vec![])), Ok(Outcome::Multi(vec![])));
    let reads = vec![
        Read::Data { path: "/a".into() },
        Read::Data { path: "/no".into() },
        Read::Children { path: "/a".into() },
    ];
    let Ok(Outcome::Multi(results)) = pair.ask(Call::MultiRead(reads)) else { panic!() };
    assert!(matches!(&results[0], Ok(Outcome::Data { data: None, .. })));
    assert_eq!(results[1], Err(ErrorCode::NONODE));
    let names = vec!["e-0000000000".to_owned()];
    assert_eq!(results[2], Ok(Outcome::Children { names, stat: None }));
}

/// `cl.chroot`, `cl.chroot.create`: paths go in with it and come out without it, in calls, results and events, and
/// after a reconnect; the configuration lies outside.
#[test]
fn cl_chroot() {
    let config = ClientConfig { chroot: Some("/app".into()), ..client_config() };
    let mut pair = Pair::with(config, Config::default());
    assert_eq!(pair.ask(exists("/", None)), refused(ErrorCode::NONODE), "nobody creates it unasked");
    assert_eq!(pair.ask(create("/")), created("/"));
    assert_eq!(pair.ask(Call::Create(node("/e", CreateMode::Ephemeral))), created("/e"));
    assert_eq!(pair.ask(Call::Create(node("/s", CreateMode::PersistentSequential))), created("/s0000000001"));
    let ops = vec![Write::Create(node("/m", CreateMode::Persistent))];
    let result = Ok(Outcome::Created { path: "/m".into(), stat: None });
    assert_eq!(pair.ask(Call::Multi(ops)), Ok(Outcome::Multi(vec![result])));
    assert_eq!(pair.ask(Call::Sync { path: "/".into() }), Ok(Outcome::Path("/".into())));
    let ephemerals = pair.ask(Call::GetEphemerals { prefix: "/".into() });
    assert_eq!(ephemerals, Ok(Outcome::Paths(vec!["/e".into()])));
    assert!(matches!(pair.ask(Call::GetConfig { watcher: None }), Ok(Outcome::Data { .. })));
    pair.ask(get("/e", Some(ONE))).unwrap();
    pair.ask(children("/", Some(TWO))).unwrap();
    pair.take_events();
    pair.cut();
    pair.pass(3 * SECOND);
    pair.take_events();
    pair.ask(delete("/e")).unwrap();
    let expected =
        [event(EventType::NodeDeleted, "/e", &[ONE]), event(EventType::NodeChildrenChanged, "/", &[TWO])];
    assert_eq!(seen(pair.take_events()), expected);
}

/// `ev.order`, `ev.existswatch`, `ev.once`: an event is told before the answer that shows the change, and once.
#[test]
fn ev_order() {
    let mut pair = Pair::new();
    assert_eq!(pair.ask(exists("/a", Some(ONE))), refused(ErrorCode::NONODE));
    assert!(pair.ask(children("/", Some(ONE))).is_ok());
    pair.told.clear();
    let call = pair.call(create("/a"));
    let places: Vec<_> =
        pair.told.iter().map(|told| matches!(told, Told::Completed(of, _) if *of == call)).collect();
    assert_eq!(places, [false, false, true], "{:?}", pair.told);
    let expected =
        [event(EventType::NodeCreated, "/a", &[ONE]), event(EventType::NodeChildrenChanged, "/", &[ONE])];
    assert_eq!(seen(pair.take_events()), expected);
    pair.ask(get("/a", Some(ONE))).unwrap();
    pair.ask(exists("/a", Some(TWO))).unwrap();
    pair.ask(children("/a", Some(ONE))).unwrap();
    pair.ask(delete("/a")).unwrap();
    // The server tells once for the znode and once for its list of children; whom, is decided here.
    let told = seen(pair.take_events());
    let all: Vec<WatcherId> = told.iter().flat_map(|(_, _, watchers)| watchers.clone()).collect();
    assert_eq!(all.iter().filter(|&&watcher| watcher == ONE).count(), 1, "{told:?}");
    assert!(told.iter().all(|(kind, path, _)| (*kind, path.as_str()) == (EventType::NodeDeleted, "/a")));
    pair.ask(create("/a")).unwrap();
    assert_eq!(seen(pair.take_events()), [], "every watch is spent");
}

/// `ev.persistent`, `ev.recursive.client`: they stay, also on the next connection.
#[test]
fn ev_persistent_survives_connections() {
    let mut pair = Pair::new();
    let watch = |path: &str, mode, watcher| Call::AddWatch { path: path.into(), mode, watcher };
    assert_eq!(pair.ask(watch("/", AddWatchMode::Persistent, ONE)), Ok(Outcome::Done));
    assert_eq!(pair.ask(watch("/", AddWatchMode::PersistentRecursive, TWO)), Ok(Outcome::Done));
    for round in 0..3 {
        let path = format!("/{round}");
        pair.take_events();
        pair.ask(create(&path)).unwrap();
        let told = seen(pair.take_events());
        assert!(told.contains(&event(EventType::NodeCreated, &path, &[TWO])), "{told:?}");
        assert!(told.contains(&event(EventType::NodeChildrenChanged, "/", &[ONE])), "{told:?}");
        pair.cut();
        pair.pass(3 * SECOND);
        assert!(pair.is_connected());
    }
}

/// `cl.setwatches.batch`, `watch.setwatches`: one-shot watches of every kind are armed again in many small requests;
/// what they missed is told before anything asked afterwards is answered.
#[test]
fn watches_are_armed_again() {
    let config = ClientConfig { set_watches_bytes_max: 20, ..client_config() };
    let mut pair = Pair::with(config, Config::default());
    let mut other = Vec::new();
    for path in ["/data", "/child", "/missed", "/gone", "/quiet"] {
        pair.ask(create(path)).unwrap();
    }
    pair.ask(get("/data", Some(ONE))).unwrap();
    pair.ask(children("/child", Some(ONE))).unwrap();
    pair.ask(get("/missed", Some(TWO))).unwrap();
    pair.ask(exists("/gone", Some(TWO))).unwrap();
    pair.ask(exists("/later", Some(TWO))).unwrap_err();
    pair.ask(exists("/quiet", Some(ONE))).unwrap();
    pair.take_events();
    pair.cut();
    // Somebody else changes things meanwhile.
    let (conn, _) = pair.lone.client();
    let set = Request::SetData { path: "/missed", data: None, version: -1 };
    other.push(pair.lone.call(conn, OpCode::SET_DATA, &set).err);
    other.push(pair.lone.call(conn, OpCode::DELETE, &Request::Delete { path: "/gone", version: -1 }).err);
    let later =
        Request::Create { path: "/later", data: None, acl: Some(AclList::OpenUnsafe), flags: 0, ttl: None };
    other.push(pair.lone.call(conn, OpCode::CREATE, &later).err);
    assert_eq!(other, [ErrorCode::OK; 3]);
    pair.told.clear();
    let call = pair.send(get("/missed", None));
    pair.run();
    assert_eq!(pair.answer(call), None, "not connected yet");
    pair.pass(3 * SECOND);
    assert!(matches!(pair.answer(call), Some(Ok(_))), "it waited for the connection");
    let before = pair.told.iter().position(|told| matches!(told, Told::Completed(..))).unwrap();
    let missed: Vec<_> = pair.told[..before].to_vec();
    assert_eq!(
        missed.iter().filter(|told| matches!(told, Told::Event(ClientEvent::Watch { .. }))).count(),
        3
    );
    let mut told = seen(pair.take_events());
    told.sort();
    let expected = [
        event(EventType::NodeCreated, "/later", &[TWO]),
        event(EventType::NodeDeleted, "/gone", &[TWO]),
        event(EventType::NodeDataChanged, "/missed", &[TWO]),
    ];
    assert_eq!(told, expected);
    pair.ask(set_data("/data")).unwrap();
    pair.ask(create("/child/x")).unwrap();
    pair.ask(set_data("/missed")).unwrap();
    let expected = [
        event(EventType::NodeDataChanged, "/data", &[ONE]),
        event(EventType::NodeChildrenChanged, "/child", &[ONE]),
    ];
    assert_eq!(seen(pair.take_events()), expected);
    pair.ask(delete("/quiet")).unwrap();
    assert_eq!(seen(pair.take_events()), [event(EventType::NodeDeleted, "/quiet", &[ONE])]);
}

fn set_data(path: &str) -> Call {
    set(path, b"new")
}

/// `ev.remove`: one watcher or all, here or with the server's word; whoever is removed is told.
#[test]
fn ev_remove() {
    let mut pair = Pair::new();
    let remove = |kind, watcher, local| Call::RemoveWatches { path: "/".into(), kind, watcher, local };
    assert_eq!(pair.ask(remove(WatcherType::Any, None, false)), refused(ErrorCode::NOWATCHER));
    pair.ask(get("/", Some(ONE))).unwrap();
    pair.ask(get("/", Some(TWO))).unwrap();
    pair.ask(children("/", Some(ONE))).unwrap();
    pair.take_events();
    assert_eq!(pair.ask(remove(WatcherType::Data, Some(ONE), false)), Ok(Outcome::Done));
    assert_eq!(seen(pair.take_events()), [event(EventType::DataWatchRemoved, "/", &[ONE])]);
    assert_eq!(pair.ask(remove(WatcherType::Data, Some(ONE), false)), refused(ErrorCode::NOWATCHER));
    pair.ask(set_data("/")).unwrap();
    assert_eq!(
        seen(pair.take_events()),
        [event(EventType::NodeDataChanged, "/", &[TWO])],
        "the other one stays"
    );
    // Without a server only a local removal succeeds.
    pair.reachable = false;
    pair.cut();
    pair.run();
    let (strict, local) = (
        pair.send(remove(WatcherType::Children, None, false)),
        pair.send(remove(WatcherType::Children, None, true)),
    );
    pair.pass(3 * SECOND);
    assert_eq!(pair.answer(strict), Some(Err(CallError::ConnectionLoss { sent: false })));
    assert_eq!(pair.answer(local), Some(Ok(Outcome::Done)));
    assert_eq!(seen(pair.take_events()), [event(EventType::ChildWatchRemoved, "/", &[ONE])]);
    pair.reachable = true;
    pair.pass(3 * SECOND);
    pair.ask(create("/x")).unwrap();
    assert_eq!(seen(pair.take_events()), []);
}

/// A watcher that has gone without a word is told nothing more.
#[test]
fn a_forgotten_watcher_hears_nothing() {
    let mut pair = Pair::new();
    pair.ask(get("/", Some(ONE))).unwrap();
    pair.ask(get("/", Some(TWO))).unwrap();
    pair.input(ClientInput::Forget { path: "/".into(), kind: WatcherType::Data, watcher: ONE });
    pair.take_events();
    pair.ask(set_data("/")).unwrap();
    assert_eq!(seen(pair.take_events()), [event(EventType::NodeDataChanged, "/", &[TWO])]);
}

/// `cl.disconnect`: what was sent may have happened, what was not cannot have; the session goes on.
#[test]
fn cl_disconnect() {
    let mut pair = Pair::new();
    let session = pair.client.session();
    pair.lone.hold_disk();
    let sent = pair.call(create("/a"));
    assert_eq!(pair.answer(sent), None);
    pair.cut();
    pair.run();
    assert_eq!(pair.answer(sent), Some(Err(CallError::ConnectionLoss { sent: true })));
    pair.reachable = false;
    pair.lone.release_disk();
    let unsent = pair.call(create("/b"));
    assert_eq!(pair.answer(unsent), None, "it waits for the next attempt");
    pair.pass(3 * SECOND);
    assert_eq!(pair.answer(unsent), Some(Err(CallError::ConnectionLoss { sent: false })));
    let states = [SessionState::Connected, SessionState::Disconnected].map(state);
    assert_eq!(pair.take_events(), states, "the same state is not told again");
    pair.reachable = true;
    pair.pass(3 * SECOND);
    assert_eq!(pair.client.session(), session);
    assert!(pair.ask(exists("/a", None)).is_ok());
    assert_eq!(pair.ask(exists("/b", None)), refused(ErrorCode::NONODE));
}

/// The connection breaks after every possible number of bytes, of the requests and of the replies, which come in pieces
/// of every small size: each call is answered once, acknowledged writes are there, and a watch fires exactly once.
#[test]
fn reconnects_in_the_middle_of_everything() {
    for piece in [1, 7, usize::MAX] {
        for from_server in [false, true] {
            let mut reached_end = false;
            for cut in 1..2000 {
                if interrupted(piece, from_server, cut) {
                    reached_end = true;
                    break;
                }
            }
            assert!(reached_end, "a cut beyond the last byte does nothing");
        }
    }
}

/// One run with one cut; whether the cut was never reached.
fn interrupted(piece: usize, from_server: bool, cut: usize) -> bool {
    let mut pair = Pair::new();
    pair.piece = piece;
    pair.ask(create("/w")).unwrap();
    if from_server {
        pair.cut_replies_after = Some(cut);
    } else {
        pair.cut_requests_after = Some(cut);
    }
    let watch = pair.call(get("/w", Some(ONE)));
    let batch = [create("/a"), set("/w", b"1"), create("/a/b"), children("/a", None), delete("/a/b")];
    let calls: Vec<_> = batch.into_iter().map(|call| pair.send(call)).collect();
    pair.run();
    let whole = pair.cut_replies_after.is_some() || pair.cut_requests_after.is_some();
    pair.cut_replies_after = None;
    pair.cut_requests_after = None;
    pair.pass(4 * SECOND);
    assert!(pair.is_connected(), "cut at {cut}");
    assert_eq!(pair.open_calls(), 0, "cut at {cut}");
    let succeeded = |pair: &Pair, at: usize| matches!(pair.answer(calls[at]), Some(Ok(_)));
    if succeeded(&pair, 0) {
        assert!(pair.ask(exists("/a", None)).is_ok(), "cut at {cut}: acknowledged and gone");
    }
    if succeeded(&pair, 4) {
        assert_eq!(pair.ask(exists("/a/b", None)), refused(ErrorCode::NONODE), "cut at {cut}");
    }
    let watching = matches!(pair.answer(watch), Some(Ok(_)));
    pair.ask(set("/w", b"2")).unwrap();
    let told = seen(pair.take_events());
    let fired = told.iter().filter(|(_, path, watchers)| path == "/w" && watchers.contains(&ONE)).count();
    assert_eq!(fired, usize::from(watching), "cut at {cut}: {told:?}");
    whole
}

/// `cl.ping`, `cl.timeouts`: an idle session lives on, on one connection; one whose server is silent looks elsewhere.
#[test]
fn cl_ping() {
    let mut pair = Pair::new();
    let dial = pair.lone.connect();
    pair.pass(60 * SECOND);
    assert_eq!(pair.take_events(), [state(SessionState::Connected)]);
    let next = pair.lone.connect();
    assert_eq!(next.0, dial.0 + 1, "no other connection was made meanwhile");
    assert!(pair.ask(create("/a")).is_ok());
}

/// `cl.expired.local`: the servers say that the session is gone; nothing works any more, and nobody waits.
#[test]
fn cl_expired_local() {
    let mut pair = Pair::new();
    pair.ask(get("/", Some(ONE))).unwrap();
    pair.ask(Call::Create(node("/e", CreateMode::Ephemeral))).unwrap();
    pair.reachable = false;
    pair.cut();
    pair.pass(30 * SECOND);
    pair.take_events();
    let waiting = pair.call(create("/a"));
    pair.reachable = true;
    pair.pass(3 * SECOND);
    assert_eq!(pair.take_events(), [state(SessionState::Expired)]);
    assert_eq!(pair.answer(waiting), Some(Err(CallError::SessionExpired)));
    assert_eq!(pair.ask(create("/a")), Err(CallError::SessionExpired));
    pair.input(ClientInput::Close);
    assert_eq!(pair.take_events(), [], "it is over already");
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.ask(create("/a")).unwrap_err().code(), Some(ErrorCode::SESSIONEXPIRED));
}

/// `cl.selfexpiry`: only where it is switched on, and not before 4/3 of the timeout.
#[test]
fn cl_selfexpiry() {
    for local_expiry in [false, true] {
        let mut pair = Pair::with(ClientConfig { local_expiry, ..client_config() }, Config::default());
        pair.reachable = false;
        pair.cut();
        pair.pass(Duration::from_millis(13_332));
        assert_eq!(pair.client.state(), SessionState::Disconnected);
        pair.pass(2 * SECOND);
        let expected = if local_expiry { SessionState::Expired } else { SessionState::Disconnected };
        assert_eq!(pair.client.state(), expected);
    }
}

/// `cl.close`: what was asked before is answered, the session ends on the server, and nothing can be asked afterwards.
#[test]
fn cl_close() {
    let mut pair = Pair::new();
    pair.ask(Call::Create(node("/e", CreateMode::Ephemeral))).unwrap();
    let before = pair.send(create("/a"));
    pair.client.handle(pair.lone.now, ClientInput::Close);
    let after = pair.send(create("/b"));
    pair.run();
    assert_eq!(pair.answer(before), Some(created("/a")));
    assert_eq!(pair.answer(after), Some(Err(CallError::Closed)));
    assert_eq!(pair.take_events(), [SessionState::Connected, SessionState::Closed].map(state));
    let (conn, _) = pair.lone.client();
    let exists = Request::Exists { path: "/e", watch: false };
    assert_eq!(pair.lone.call(conn, OpCode::EXISTS, &exists).err, ErrorCode::NONODE);
    // Without a connection it is over at once.
    let mut pair = Pair::new();
    pair.reachable = false;
    pair.cut();
    pair.run();
    let waiting = pair.call(create("/a"));
    pair.input(ClientInput::Close);
    assert_eq!(pair.answer(waiting), Some(Err(CallError::Closed)));
    assert_eq!(pair.client.state(), SessionState::Closed);
}

/// `cl.sessionid`: another client goes on with the session; this one loses its connection and takes it back.
#[test]
fn cl_sessionid() {
    let mut pair = Pair::new();
    let held = pair.client.session().expect("connected");
    pair.ask(Call::Create(node("/e", CreateMode::Ephemeral))).unwrap();
    pair.reachable = false;
    pair.cut();
    let config = ClientConfig { resume: Some(held), ..client_config() };
    pair.client = zabra_core::client::Client::new(config, [1; 32], pair.lone.now);
    pair.reachable = true;
    pair.run();
    assert_eq!(pair.client.session(), Some(held));
    let Ok(Outcome::Stat(stat)) = pair.ask(exists("/e", None)) else { panic!() };
    assert_eq!(stat.ephemeral_owner, held.session);
    let wrong = Credentials { password: [0; 16], ..held };
    let config = ClientConfig { resume: Some(wrong), ..client_config() };
    let pair = Pair::with(config, Config::default());
    assert_eq!(pair.client.state(), SessionState::Expired);
}

/// `cl.prime`: identities are presented again on every connection; one that is refused ends the client.
#[test]
fn identities_are_remembered() {
    let mut pair = Pair::new();
    let digest =
        |auth: &'static [u8]| Call::AddAuth { scheme: "digest".into(), auth: Bytes::from_static(auth) };
    assert_eq!(pair.ask(digest(b"user:secret")), Ok(Outcome::Done));
    let who = |pair: &mut Pair| match pair.ask(Call::WhoAmI) {
        Ok(Outcome::Identities(identities)) => identities.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(who(&mut pair), 2);
    for _ in 0..3 {
        pair.cut();
        pair.pass(3 * SECOND);
        assert_eq!(who(&mut pair), 2);
    }
    // One that is added without a connection is presented on the next.
    pair.cut();
    let later = pair.call(digest(b"other:secret"));
    pair.pass(3 * SECOND);
    assert_eq!(pair.answer(later), Some(Ok(Outcome::Done)));
    assert_eq!(who(&mut pair), 3);
    let nonsense = Call::AddAuth { scheme: "nonsense".into(), auth: Bytes::new() };
    let behind = pair.send(nonsense);
    let call = pair.send(create("/a"));
    pair.run();
    assert_eq!(pair.answer(behind), Some(Err(CallError::AuthFailed)));
    assert_eq!(pair.client.state(), SessionState::AuthFailed);
    assert!(matches!(pair.answer(call), Some(Err(CallError::AuthFailed) | Ok(_))));
    assert_eq!(pair.ask(create("/b")), Err(CallError::AuthFailed));
}

/// Every limit: at it the caller is told, and nothing else changes.
#[test]
fn limits() {
    let config = ClientConfig {
        calls_max: 3,
        call_bytes_max: 1000,
        watches_max: 1,
        identities_max: 1,
        jute_max_buffer: 2000,
        ..client_config()
    };
    let mut pair = Pair::with(config, Config::default());
    let small: Vec<_> = (0..4).map(|_| pair.send(exists("/", None))).collect();
    pair.run();
    assert_eq!(pair.answer(small[3]), Some(Err(CallError::TooManyCalls)));
    assert!(small[..3].iter().all(|&call| matches!(pair.answer(call), Some(Ok(_)))));
    let big = |size| {
        let data = Some(Bytes::from(vec![0; size]));
        Call::SetData { path: "/".into(), data, version: -1 }
    };
    let (first, second) = (pair.send(big(1500)), pair.send(big(1)));
    pair.run();
    assert!(matches!(pair.answer(first), Some(Ok(_))), "one alone may be larger");
    assert_eq!(pair.answer(second), Some(Err(CallError::TooManyCalls)));
    assert_eq!(pair.ask(big(2000)), Err(CallError::TooLarge));
    assert!(pair.ask(get("/", Some(ONE))).is_ok());
    assert_eq!(pair.ask(get("/", Some(TWO))), Err(CallError::TooManyWatches));
    assert!(pair.ask(get("/", None)).is_ok());
    let digest = Call::AddAuth { scheme: "digest".into(), auth: Bytes::from_static(b"a:b") };
    assert_eq!(pair.ask(digest.clone()), Ok(Outcome::Done));
    assert_eq!(pair.ask(digest), Err(CallError::TooManyIdentities));
    assert!(matches!(pair.ask(create("no/path")), Err(CallError::InvalidPath(_))));
    assert!(matches!(pair.ask(create("/a/")), Err(CallError::InvalidPath(_))));
    assert!(pair.is_connected());
}

/// `conn.zxidahead`: the client never goes back: the newest transaction that it has seen is what it asks a server for.
#[test]
fn last_zxid_never_goes_back() {
    let mut pair = Pair::new();
    let mut newest = Zxid::ZERO;
    for round in 0..5 {
        pair.ask(create(&format!("/{round}"))).unwrap();
        assert!(pair.client.last_zxid() > newest);
        newest = pair.client.last_zxid();
        let read = pair.ask(get("/0", None));
        data(&read);
        assert_eq!(pair.client.last_zxid(), newest);
    }
}
