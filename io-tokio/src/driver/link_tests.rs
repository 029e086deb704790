//! Links on real sockets, under a scripted state machine.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use zabra_core::server::{HangupReason, LinkOrigin, PeerPort};
use zabra_core::types::{Address, DialId, LinkId, ServerId, Ticket};

use super::harness::{MIB, Setup, connect, echo, in_time, rest, round_trip, run};
use super::*;
use crate::limits::ACCEPTED_LINKS_MAX;

const FIRST: LinkId = LinkId(1);

fn servers() -> Setup {
    Setup { door: Door::Servers(PeerPort::Election), ..Setup::default() }
}

fn dial(number: u64, addresses: &[SocketAddr]) -> Action {
    let address = |at: &SocketAddr| Address { host: at.ip().to_string(), port: at.port() };
    Action::Dial {
        dial: DialId(number),
        port: PeerPort::Quorum,
        server: ServerId(3),
        addresses: addresses.iter().map(address).collect(),
        timeout: Duration::from_secs(10),
    }
}

#[test]
fn links_are_numbered_and_tell_where_they_come_from() {
    let run = run(servers(), echo, async |address| {
        let mut first = connect(address).await;
        round_trip(&mut first, b"one").await;
        let mut second = connect(address).await;
        round_trip(&mut second, b"two").await;
        [first.local_addr().unwrap(), second.local_addr().unwrap()]
    });
    for (number, from) in (1..).zip(run.client) {
        let origin = LinkOrigin::Accepted { port: PeerPort::Election, from };
        assert!(run.heard.contains(&Input::LinkUp { link: LinkId(number), origin }), "{:?}", run.heard);
    }
}

#[test]
fn bytes_leave_in_order_and_every_one_is_reported() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::LinkReceived { link, .. } = input {
            for text in ["one ", "two ", "", "three"] {
                actions.push_back(Action::SendLink { link: *link, bytes: Bytes::from(text) });
            }
        }
    };
    let run = run(servers(), answer, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"x").await.unwrap();
        let mut text = [0; 13];
        socket.read_exact(&mut text).await.unwrap();
        text
    });
    assert_eq!(&run.client, b"one two three");
    assert_eq!(run.link_drained(FIRST), 13);
}

/// The core bounds what waits for a server by what it is told to have left: a byte that the operating system did not
/// take must not be reported.
#[test]
fn what_a_server_does_not_read_is_not_reported_as_drained() {
    const TOTAL: usize = 24 * MIB;
    let reported = Rc::new(RefCell::new(0));
    let seen = Rc::clone(&reported);
    let answer = move |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::LinkReceived { link: FIRST, .. } => {
            for number in 0..24 {
                actions.push_back(Action::SendLink { link: FIRST, bytes: Bytes::from(vec![number; MIB]) });
            }
        }
        Input::LinkDrained { link: FIRST, bytes } => *seen.borrow_mut() += *bytes,
        other => echo(other, actions),
    };
    let run = run(servers(), answer, async |address| {
        let mut slow = connect(address).await;
        slow.write_all(b"all").await.unwrap();
        let mut other = connect(address).await;
        for _ in 0..50 {
            round_trip(&mut other, b"meanwhile").await;
        }
        let early = *reported.borrow();
        let mut all = vec![0; TOTAL];
        in_time(slow.read_exact(&mut all)).await.unwrap();
        let in_order = all
            .chunks(MIB)
            .enumerate()
            .all(|(number, chunk)| chunk.iter().all(|&b| usize::from(b) == number));
        (early, in_order)
    });
    let (early, in_order) = run.client;
    assert!(early > 0, "the socket took something");
    assert!(early < TOTAL, "the socket cannot have taken all");
    assert!(in_order);
    assert_eq!(run.link_drained(FIRST), TOTAL);
}

#[test]
fn a_paused_link_is_not_read_until_it_is_resumed() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::LinkReceived { link, .. } = input {
            actions.push_back(if *link == FIRST {
                Action::PauseLink { link: FIRST }
            } else {
                Action::ResumeLink { link: FIRST }
            });
            echo(input, actions);
        }
    };
    let run = run(servers(), answer, async |address| {
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

/// As `qcm.tiebreak` needs it: who connects to a larger number says who it is and hangs up at once.
#[test]
fn qcm_tiebreak_what_was_sent_before_a_hangup_arrives() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::LinkUp { link, .. } = input {
            actions.push_back(Action::SendLink { link: *link, bytes: Bytes::from("hello") });
            actions.push_back(Action::Hangup { link: *link, why: HangupReason::RoleOver });
        }
    };
    let run = run(servers(), answer, async |address| rest(&mut connect(address).await).await);
    assert_eq!(run.client, b"hello");
    assert!(!run.heard.contains(&Input::LinkDown { link: FIRST }), "the core hung up itself");
}

#[test]
fn a_server_that_does_not_read_is_reset() {
    for why in [HangupReason::SlowReader, HangupReason::Timeout] {
        let answer = move |input: &Input, actions: &mut VecDeque<Action>| {
            if let Input::LinkReceived { link, .. } = input {
                actions.push_back(Action::SendLink { link: *link, bytes: Bytes::from(vec![7; 8 * MIB]) });
                actions.push_back(Action::Hangup { link: *link, why });
            }
        };
        let run = run(servers(), answer, async |address| {
            let mut socket = connect(address).await;
            socket.write_all(b"x").await.unwrap();
            in_time(socket.read_to_end(&mut Vec::new())).await.map_err(|error| error.kind())
        });
        assert_eq!(run.client, Err(ErrorKind::ConnectionReset), "{why:?}");
    }
}

#[test]
fn an_end_is_reported_once_and_after_the_last_bytes() {
    let run = run(servers(), echo, async |address| {
        let mut socket = connect(address).await;
        socket.write_all(b"last words").await.unwrap();
        socket.shutdown().await.unwrap();
        rest(&mut socket).await
    });
    assert_eq!(run.client, b"last words");
    let ends: Vec<_> = run
        .heard
        .iter()
        .filter(|input| matches!(input, Input::LinkReceived { .. } | Input::LinkDown { .. }))
        .collect();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(*ends[1], Input::LinkDown { link: FIRST });
}

#[test]
fn a_greedy_server_is_read_in_bounded_pieces_and_others_are_served() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::LinkReceived { link: FIRST, .. } => {}
        other => echo(other, actions),
    };
    let run = run(servers(), answer, async |address| {
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
    let lengths = run.heard.iter().filter_map(|input| match input {
        Input::LinkReceived { link: FIRST, bytes } => Some(bytes.len()),
        _ => None,
    });
    let (longest, total) =
        lengths.fold((0, 0), |(longest, total), length| (length.max(longest), total + length));
    assert!(longest <= READ_BYTES, "{longest}");
    assert!(total > MIB, "the greedy one was served too");
}

/// A learner may take a snapshot as fast as it is made. What the others say meanwhile is heard before many more pieces
/// of it: the sockets are looked at behind each, not when the queue of tasks is empty at last.
#[test]
fn between_the_pieces_of_what_is_taken_at_once_the_others_are_heard() {
    const TIMES: usize = 10;
    let speaker: Rc<RefCell<Option<std::net::TcpStream>>> = Rc::default();
    let speaks = Rc::clone(&speaker);
    let (mut pieces, mut longest, mut heard) = (0, 0, 0);
    let answer = move |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::LinkReceived { link: FIRST, .. } | Input::LinkDrained { link: FIRST, .. } => {
            if pieces == 0 {
                speaks.borrow_mut().as_mut().unwrap().write_all(b"x").unwrap();
            }
            pieces += 1;
            actions.push_back(Action::SendLink { link: FIRST, bytes: Bytes::from_static(&[1]) });
        }
        Input::LinkReceived { .. } => {
            longest = longest.max(pieces);
            pieces = 0;
            heard += 1;
            if heard == TIMES {
                actions.push_back(Action::SendLink { link: FIRST, bytes: Bytes::from(vec![longest]) });
                actions.push_back(Action::Hangup { link: FIRST, why: HangupReason::Duplicate });
            }
        }
        _ => {}
    };
    let run = run(servers(), answer, async |address| {
        let mut first = connect(address).await;
        *speaker.borrow_mut() = Some(std::net::TcpStream::connect(address).unwrap());
        first.write_all(b"begin").await.unwrap();
        rest(&mut first).await
    });
    let longest = *run.client.last().unwrap();
    assert!(longest <= 10, "{longest} pieces before somebody else was heard");
}

#[test]
fn a_dialed_link_carries_bytes_both_ways() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        // The test tells by bytes which port to connect to.
        Input::LinkReceived { link: FIRST, bytes } => {
            let port = u16::from_be_bytes([bytes[0], bytes[1]]);
            actions.push_back(dial(7, &[SocketAddr::from(([127, 0, 0, 1], port))]));
        }
        Input::LinkUp { link, origin: LinkOrigin::Dialed { .. } } => {
            actions.push_back(Action::SendLink { link: *link, bytes: Bytes::from("it is me") });
        }
        other => echo(other, actions),
    };
    let run = run(servers(), answer, async |address| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut asking = connect(address).await;
        asking.write_all(&port.to_be_bytes()).await.unwrap();
        let (mut dialed, _) = in_time(listener.accept()).await.unwrap();
        let mut greeting = [0; 8];
        in_time(dialed.read_exact(&mut greeting)).await.unwrap();
        assert_eq!(&greeting, b"it is me");
        round_trip(&mut dialed, b"hello").await;
    });
    let up = Input::LinkUp { link: LinkId(2), origin: LinkOrigin::Dialed { dial: DialId(7) } };
    assert!(run.heard.contains(&up), "{:?}", run.heard);
    assert_eq!(run.link_drained(LinkId(2)), "it is mehello".len());
}

#[test]
fn a_dial_that_fails_is_told() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| match input {
        Input::LinkUp { .. } => {
            let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            actions.push_back(dial(1, &[nobody]));
            actions.push_back(dial(2, &[]));
        }
        Input::DialFailed { dial: DialId(number) } => {
            let bytes = Bytes::from(vec![u8::try_from(*number).unwrap()]);
            actions.push_back(Action::SendLink { link: FIRST, bytes });
        }
        _ => {}
    };
    let run = run(servers(), answer, async |address| {
        let mut told = [0; 2];
        in_time(connect(address).await.read_exact(&mut told)).await.unwrap();
        told.sort_unstable();
        told
    });
    assert_eq!(run.client, [1, 2]);
}

#[test]
fn no_more_links_are_accepted_than_there_is_room_for() {
    let run = run(servers(), echo, async |address| {
        let mut links = Vec::new();
        for _ in 0..ACCEPTED_LINKS_MAX {
            let mut socket = connect(address).await;
            round_trip(&mut socket, b"x").await;
            links.push(socket);
        }
        let mut waiting = connect(address).await; // by the kernel alone
        waiting.write_all(b"y").await.unwrap();
        let mut byte = [0];
        assert!(timeout(Duration::from_millis(100), waiting.read_exact(&mut byte)).await.is_err());
        links.pop();
        in_time(waiting.read_exact(&mut byte)).await.unwrap();
        byte
    });
    assert_eq!(run.client, *b"y");
}

/// Proposals must leave while the leader's own disk works, so no disk operation may hold up the thread.
#[test]
fn no_disk_operation_is_carried_out_on_the_spot_beside_a_link() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::LinkReceived { .. } | Input::LinkDown { .. } = input {
            actions.push_back(Action::Disk(DiskOp::List { ticket: Ticket(1) }));
            echo(input, actions);
        }
    };
    let run = run(servers(), answer, async |address| {
        let mut socket = connect(address).await;
        round_trip(&mut socket, b"x").await;
        drop(socket);
        sleep(Duration::from_millis(100)).await;
    });
    assert_eq!(run.on_the_spot, [false, true]);
}
