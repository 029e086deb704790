//! Clients on real sockets, under a scripted state machine.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use zabra_core::server::CloseReason;
use zabra_core::store::DiskError;
use zabra_core::types::Ticket;

use super::harness::{MIB, Setup, connect, echo, in_time, rest, round_trip, run};
use super::*;

const FIRST: ConnId = ConnId(1);

#[test]
fn replies_leave_in_order_and_every_byte_is_reported() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Received { conn, .. } = input {
            for text in ["one ", "two ", "", "three"] {
                actions.push_back(Action::Send { conn: *conn, bytes: Bytes::from(text) });
            }
        }
    };
    let run = run(Setup::default(), answer, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"x").await.unwrap();
        let mut text = [0; 13];
        socket.read_exact(&mut text).await.unwrap();
        text
    });
    assert_eq!(&run.client, b"one two three");
    assert_eq!(run.drained(FIRST), 13);
    assert_eq!(run.why, HaltReason::Shutdown);
}

#[test]
fn a_slow_reader_gets_everything_and_holds_up_nobody() {
    const TOTAL: usize = 24 * MIB;
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::Received { conn: FIRST, .. } => {
            for number in 0..24 {
                actions.push_back(Action::Send { conn: FIRST, bytes: Bytes::from(vec![number; MIB]) });
            }
        }
        other => echo(other, actions),
    };
    let run = run(Setup::default(), answer, async |address| {
        let mut slow = connect(address).await;
        slow.write_all(b"all").await.unwrap();
        let mut other = connect(address).await;
        for _ in 0..50 {
            round_trip(&mut other, b"meanwhile").await;
        }
        let mut all = vec![0; TOTAL];
        in_time(slow.read_exact(&mut all)).await.unwrap();
        all.chunks(MIB)
            .enumerate()
            .all(|(number, chunk)| chunk.iter().all(|&byte| usize::from(byte) == number))
    });
    assert!(run.client, "the bytes came in order");
    assert_eq!(run.drained(FIRST), TOTAL);
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Received { conn, .. } = input {
            actions.push_back(if *conn == FIRST {
                Action::PauseReads { conn: FIRST }
            } else {
                Action::ResumeReads { conn: FIRST }
            });
            echo(input, actions);
        }
    };
    let run = run(Setup::default(), answer, async |address| {
        let mut paused = connect(address).await;
        round_trip(&mut paused, b"a").await;
        paused.write_all(b"b").await.unwrap();
        let mut byte = [0];
        let silence = timeout(Duration::from_millis(100), paused.read_exact(&mut byte)).await;
        assert!(silence.is_err(), "it was read though paused");
        round_trip(&mut connect(address).await, b"resume").await;
        in_time(paused.read_exact(&mut byte)).await.unwrap();
        byte
    });
    assert_eq!(run.client, *b"b");
}

/// Answers whatever comes with so many bytes, and closes the connection.
fn dismiss(bytes: usize, why: CloseReason) -> impl FnMut(&Input, &mut VecDeque<Action>) + 'static {
    move |input, actions| {
        if let Input::Received { conn, .. } = input {
            actions.push_back(Action::Send { conn: *conn, bytes: Bytes::from(vec![7; bytes]) });
            actions.push_back(Action::Close { conn: *conn, why });
        }
    }
}

#[test]
fn a_connection_is_closed_after_its_last_byte() {
    let answer = dismiss(8 * MIB, CloseReason::AdminWordAnswered);
    let run = run(Setup::default(), answer, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"ruok").await.unwrap();
        sleep(Duration::from_millis(20)).await;
        // What is still under way then must not turn into a reset that overtakes the answer.
        socket.write_all(b"\n").await.unwrap();
        rest(&mut socket).await.len()
    });
    assert_eq!(run.client, 8 * MIB);
    assert_eq!(run.received(FIRST), b"ruok");
    assert!(!run.closed(FIRST), "the core closed it itself");
}

#[test]
fn a_closed_client_that_does_not_read_is_dropped_in_the_end() {
    let answer = dismiss(24 * MIB, CloseReason::SessionClosed);
    let setup = Setup { conn_max: 1, ..Setup::default() };
    let run = run(setup, answer, async |address| {
        let mut stuck = connect(address).await;
        stuck.write_all(b"x").await.unwrap();
        // There is room for one connection: the second is served only once the first is gone.
        let mut next = connect(address).await;
        next.write_all(b"x").await.unwrap();
        in_time(next.read_exact(&mut [0])).await.is_ok()
    });
    assert!(run.client);
}

/// A session that goes from one connection to the next leaves nothing behind on the ones before.
#[test]
fn a_connection_whose_session_moved_is_reset_with_what_it_holds() {
    let answer = dismiss(24 * MIB, CloseReason::SessionMoved);
    let run = run(Setup::default(), answer, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"x").await.unwrap();
        in_time(socket.read_to_end(&mut Vec::new())).await.map_err(|error| error.kind())
    });
    assert_eq!(run.client, Err(ErrorKind::ConnectionReset));
}

/// PARITY `req.sessionmoved`: who is sent away because its session is served elsewhere gets what was answered before, though
/// more of what it asks for is under way.
#[test]
fn req_sessionmoved_a_client_that_is_sent_away_gets_what_was_answered_before() {
    let answer = dismiss(8 * MIB, CloseReason::SessionServedElsewhere);
    let run = run(Setup::default(), answer, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"x").await.unwrap();
        sleep(Duration::from_millis(20)).await;
        socket.write_all(b"y").await.unwrap();
        rest(&mut socket).await.len()
    });
    assert_eq!(run.client, 8 * MIB);
}

/// Closed connections that do not go make room for those behind them, and whoever is cut off notices.
#[test]
fn closed_clients_that_stay_are_cut_off_for_others_that_leave() {
    let answer = dismiss(24 * MIB, CloseReason::SessionClosed);
    let run = run(Setup { conn_max: 16, ..Setup::default() }, answer, async |address| {
        let mut sockets = Vec::new();
        for _ in 0..3 {
            let mut socket = connect(address).await;
            socket.write_all(b"x").await.unwrap();
            in_time(socket.read_exact(&mut [0])).await.unwrap();
            sockets.push(socket);
        }
        let mut ends = Vec::new();
        for socket in [2, 0] {
            let read = in_time(sockets[socket].read_to_end(&mut Vec::new())).await;
            ends.push(read.map_err(|error| error.kind()));
        }
        ends
    });
    assert_eq!(run.client, [Ok(24 * MIB - 1), Err(ErrorKind::ConnectionReset)]);
}

#[test]
fn connections_over_a_limit_are_reset() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Accepted { conn, .. } = input {
            actions.push_back(Action::Close { conn: *conn, why: CloseReason::TooManyConnections { max: 1 } });
        }
    };
    let run = run(Setup::default(), answer, async |address| {
        in_time(connect(address).await.read(&mut [0])).await.map_err(|error| error.kind())
    });
    assert_eq!(run.client, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_client_that_shuts_its_half_behind_a_request_is_answered() {
    let run = run(Setup::default(), echo, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"last words").await.unwrap();
        socket.shutdown().await.unwrap();
        rest(&mut socket).await
    });
    assert_eq!(run.client, b"last words");
    assert!(run.closed(FIRST));
}

#[test]
fn a_greedy_client_is_read_in_bounded_pieces_and_others_are_served() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::Received { conn: FIRST, .. } => {}
        other => echo(other, actions),
    };
    let run = run(Setup::default(), answer, async |address| {
        let mut greedy = connect(address).await;
        let flood = tokio::task::spawn_local(async move {
            let chunk = vec![1; MIB];
            while greedy.write_all(&chunk).await.is_ok() {}
        });
        let mut other = connect(address).await;
        for _ in 0..100 {
            round_trip(&mut other, b"ping").await;
        }
        flood.abort();
    });
    let is_greedy = |input: &Input| matches!(input, Input::Received { conn: FIRST, .. });
    let is_ping = |input: &Input| matches!(input, Input::Received { conn, .. } if *conn != FIRST);
    let longest = run.heard.iter().map(|input| match input {
        Input::Received { bytes, .. } => bytes.len(),
        _ => 0,
    });
    assert!(longest.max().unwrap() <= READ_BYTES);
    // A round trip takes two looks at the sockets, and the greedy one has a read for each; its socket holds far more.
    let turns =
        run.heard.split(is_ping).map(|between| between.iter().filter(|input| is_greedy(input)).count());
    let turns: Vec<usize> = turns.collect();
    assert!(turns[1..100].iter().all(|&reads| reads <= 8), "{turns:?}");
    assert!(run.received(FIRST).len() > MIB, "the greedy one was served too");
}

#[test]
fn no_more_connections_are_accepted_than_there_is_room_for() {
    let setup = Setup { conn_max: 2, ..Setup::default() };
    let run = run(setup, echo, async |address| {
        let mut first = connect(address).await;
        let mut second = connect(address).await;
        round_trip(&mut first, b"1").await;
        round_trip(&mut second, b"2").await;
        let mut third = connect(address).await; // by the kernel alone
        third.write_all(b"3").await.unwrap();
        let mut byte = [0];
        assert!(timeout(Duration::from_millis(100), third.read_exact(&mut byte)).await.is_err());
        drop(first);
        in_time(third.read_exact(&mut byte)).await.unwrap();
        byte
    });
    assert_eq!(run.client, *b"3");
}

#[test]
fn the_timer_goes_off_in_time_and_not_all_the_time() {
    let deadline = Some(Instant::from_millis(100));
    let run = run(Setup { deadline, ..Setup::default() }, echo, async |_| {
        sleep(Duration::from_millis(300)).await;
    });
    let ticks = run.heard.iter().filter(|input| **input == Input::Tick).count();
    assert!((1..=5).contains(&ticks), "{ticks} ticks");
}

#[test]
fn disk_completions_come_back_and_a_failure_ends_the_driver() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::Accepted { .. } => actions.push_back(Action::Disk(DiskOp::List { ticket: Ticket(12) })),
        Input::Disk(DiskDone { result: Ok(_), .. }) => {
            actions.push_back(Action::Disk(DiskOp::List { ticket: Ticket(13) }));
        }
        Input::Disk(DiskDone { result: Err(error), .. }) => {
            let why = HaltReason::Disk { doing: "listing".into(), error: *error };
            actions.push_back(Action::Halt { why });
        }
        _ => {}
    };
    let run = run(Setup::default(), answer, async |address| {
        let _socket = connect(address).await;
        sleep(Duration::from_millis(100)).await;
    });
    assert_eq!(run.why, HaltReason::Disk { doing: "listing".into(), error: DiskError::Full });
    let disk = run.heard.iter().filter(|input| matches!(input, Input::Disk(_))).count();
    assert_eq!(disk, 2);
}

#[test]
fn a_stop_waits_for_the_last_replies() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Received { conn, .. } = input {
            actions.push_back(Action::Send { conn: *conn, bytes: Bytes::from(vec![7; 8 * MIB]) });
        }
    };
    let (begun_in, begun) = oneshot::channel();
    let run = run(Setup::default(), answer, async |address| {
        let client = std::thread::spawn(move || {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.write_all(b"x").unwrap();
            socket.read_exact(&mut [0]).unwrap();
            begun_in.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            1 + socket.read_to_end(&mut Vec::new()).unwrap()
        });
        begun.await.unwrap();
        client
    });
    assert_eq!(run.why, HaltReason::Shutdown);
    assert_eq!(run.client.join().unwrap(), 8 * MIB);
}
