//! Read-only mode: a member without a leader serves those who only read, and nobody else.

use core::time::Duration;

use zabra_core::config::FourLetterWords;
use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, create, members};
use zabra_core::testing::lone::new_session;
use zabra_core::types::{ConnId, ErrorCode, OpCode, SessionId, Zxid};
use zabra_core::wire::Request;
use zabra_core::wire::connect::ConnectRequest;

fn reading() -> ConnectRequest<'static> {
    ConnectRequest { read_only: Some(true), ..new_session(10_000) }
}

/// Three members that have `/kept`, of which the first is alone.
fn alone(local_sessions: bool) -> Cluster {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.four_letter_words = FourLetterWords::All;
        let ensemble = config.ensemble.as_mut().expect("a member");
        ensemble.read_only_mode = true;
        ensemble.local_sessions = local_sessions;
    });
    cluster.start_all();
    let (conn, answer) = cluster.client_with(1, &reading()).expect("a session");
    assert_eq!(answer.read_only, Some(false));
    assert_eq!(call(&mut cluster, conn, OpCode::CREATE, &create("/kept")), Some(ErrorCode::OK));
    cluster.kill(2, 1);
    cluster.kill(3, 1);
    cluster
}

fn call(cluster: &mut Cluster, conn: ConnId, op: OpCode, request: &Request<'_>) -> Option<ErrorCode> {
    cluster.call(1, conn, op, request).map(|reply| reply.err)
}

#[test]
fn sess_ro_begins_after_a_while_without_a_leader_and_ends_with_one() {
    let mut cluster = alone(true);
    cluster.pass(Duration::from_millis(1800));
    assert_eq!(cluster.word(1, b"isro"), "null");
    assert!(cluster.client_with(1, &reading()).is_none(), "not yet");
    cluster.pass(Duration::from_millis(1500));
    assert!(cluster.events(1).iter().any(|event| matches!(event, Event::ReadOnlyBegun { .. })));
    assert_eq!(cluster.word(1, b"isro"), "ro");
    let status = cluster.word(1, b"srvr");
    assert!(status.contains("\nREAD-ONLY mode; serving only read-only clients\n"), "{status}");
    assert!(status.contains("\nMode: read-only\n"), "{status}");
    let (conn, answer) = cluster.client_with(1, &reading()).expect("it reads");
    assert_eq!(answer.read_only, Some(true));
    cluster.start(2);
    cluster.settle();
    assert!(cluster.leader().is_some(), "{}", cluster.roles());
    assert!(cluster.is_closed(1, conn));
    assert_eq!(cluster.word(1, b"isro"), "rw");
    let (conn, answer) = cluster.client_with(1, &reading()).expect("it writes, too");
    assert_eq!(answer.read_only, Some(false));
    assert_eq!(call(&mut cluster, conn, OpCode::CREATE, &create("/after")), Some(ErrorCode::OK));
}

/// `4lw.notserving`: whoever looks for a leader says so, to all who ask about what it serves.
#[test]
fn word_notserving() {
    let mut cluster = alone(false);
    assert_eq!(cluster.word(1, b"srvr"), "This ZooKeeper instance is not currently serving requests\n");
    assert_eq!(cluster.word(1, b"isro"), "null");
    cluster.start(2);
    cluster.settle();
    assert!(cluster.word(1, b"srvr").contains("\nMode: "), "{}", cluster.roles());
}

#[test]
fn sess_ro_ops_reads_are_answered_and_writes_are_refused() {
    let mut cluster = alone(true);
    cluster.pass(Duration::from_secs(4));
    let (conn, _) = cluster.client_with(1, &reading()).expect("it reads");
    let refused = Some(ErrorCode::NOTREADONLY);
    let path = "/kept";
    let writes = [
        (OpCode::CREATE, create("/new")),
        (OpCode::CREATE2, create("/new")),
        (OpCode::CREATE_CONTAINER, create("/new")),
        (OpCode::DELETE, Request::Delete { path, version: -1 }),
        (OpCode::MULTI, Request::Multi(vec![])),
        (OpCode::SET_DATA, Request::SetData { path, data: None, version: -1 }),
        (OpCode::SYNC, Request::Sync { path }),
    ];
    for (op, request) in &writes {
        assert_eq!(call(&mut cluster, conn, *op, request), refused, "{op:?}");
    }
    let reads = [
        (OpCode::EXISTS, Request::Exists { path, watch: true }),
        (OpCode::GET_DATA, Request::GetData { path, watch: true }),
        (OpCode::GET_CHILDREN, Request::GetChildren { path: "/", watch: true }),
        (OpCode::PING, Request::Ping),
    ];
    for (op, request) in &reads {
        assert_eq!(call(&mut cluster, conn, *op, request), Some(ErrorCode::OK), "{op:?}");
    }
    assert_eq!(call(&mut cluster, conn, OpCode::CLOSE_SESSION, &Request::CloseSession), Some(ErrorCode::OK));
    assert!(cluster.is_closed(1, conn));
    assert_eq!(cluster.applied(1).map(|(zxid, _)| zxid.counter()), Some(1), "nothing was written");
}

/// PARITY `conn.ro.refuse`, `sess.ro`: who is let in.
#[test]
fn conn_ro_refuse_who_wants_more_than_to_read() {
    for local_sessions in [true, false] {
        let mut cluster = alone(local_sessions);
        cluster.pass(Duration::from_secs(4));
        for read_only in [Some(false), None] {
            let request = ConnectRequest { read_only, ..new_session(10_000) };
            assert!(cluster.client_with(1, &request).is_none());
        }
        let ahead = ConnectRequest { last_zxid_seen: Zxid::new(9, 9), ..reading() };
        assert!(cluster.client_with(1, &ahead).is_none());
        // Sessions that begin here are local ones.
        let begun = cluster.client_with(1, &reading());
        assert_eq!(
            begun.as_ref().is_some_and(|(_, answer)| answer.session != SessionId::NONE),
            local_sessions
        );
        if let Some((conn, answer)) = begun {
            let (session, password) = (answer.session, answer.password);
            let again = ConnectRequest { session, password: &password, ..reading() };
            let (_, found) = cluster.client_with(1, &again).expect("it is known here");
            assert_eq!(found.session, answer.session);
            assert!(cluster.is_closed(1, conn), "it has moved");
        }
    }
}

/// A session that all servers know is not closed by one that cannot ask them, and lives on with the next leader.
#[test]
fn sess_ro_a_session_that_all_know_waits_for_a_leader() {
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        config.ensemble.as_mut().expect("a member").read_only_mode = true;
    });
    cluster.start_all();
    let request = ConnectRequest { timeout_ms: 20_000, ..reading() };
    let (_, answer) = cluster.client_with(1, &request).expect("a session");
    cluster.kill(2, 1);
    cluster.kill(3, 1);
    cluster.pass(Duration::from_secs(4));
    let (session, password) = (answer.session, answer.password);
    let again = ConnectRequest { session, password: &password, ..request };
    assert!(cluster.client_with(1, &again).is_none(), "closed without a word");
    cluster.start(2);
    cluster.settle();
    let (_, found) = cluster.client_with(1, &again).expect("it lives");
    assert_eq!((found.session, found.read_only), (answer.session, Some(false)));
}

#[test]
fn sess_ro_is_off_unless_it_is_asked_for() {
    let mut cluster = Cluster::new(&members(3, 0), |_| {});
    cluster.start_all();
    cluster.kill(2, 1);
    cluster.kill(3, 1);
    cluster.pass(Duration::from_secs(10));
    assert!(cluster.client_with(1, &reading()).is_none());
    assert_eq!(cluster.role(1), Some(Role::Looking));
}
