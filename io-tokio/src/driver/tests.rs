//! The driver on real sockets, under a scripted state machine.

use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use zabra_core::server::CloseReason;
use zabra_core::store::{DiskAnswer, DiskError};
use zabra_core::types::Ticket;

use super::*;
use crate::listener::{self, AcceptTask};

pub(super) const MIB: usize = 1 << 20;
const FIRST: ConnId = ConnId(1);

/// Answers inputs by a function, and keeps them.
struct Script<F> {
    answer: F,
    heard: Rc<RefCell<Vec<Input>>>,
    actions: VecDeque<Action>,
    deadline: Option<Instant>,
}

impl<F: FnMut(&Input, &mut VecDeque<Action>) + 'static> Machine for Script<F> {
    fn handle(&mut self, now: Now, input: Input) {
        match &input {
            Input::Shutdown => self.actions.push_back(Action::Halt { why: HaltReason::Shutdown }),
            Input::Tick => self.deadline = self.deadline.filter(|&deadline| deadline > now.mono),
            other => (self.answer)(other, &mut self.actions),
        }
        self.heard.borrow_mut().push(input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

/// What a run showed.
pub(super) struct Run<T> {
    pub(super) client: T,
    pub(super) heard: Vec<Input>,
    pub(super) why: HaltReason,
    /// Of each disk operation, whether it might be carried out on the spot.
    pub(super) on_the_spot: Vec<bool>,
}

impl<T> Run<T> {
    fn received(&self, id: ConnId) -> Vec<u8> {
        let of = |input: &Input| match input {
            Input::Received { conn, bytes } if *conn == id => bytes.to_vec(),
            _ => Vec::new(),
        };
        self.heard.iter().flat_map(of).collect()
    }

    fn drained(&self, id: ConnId) -> usize {
        let of = |input: &Input| match input {
            Input::Drained { conn, bytes } if *conn == id => *bytes,
            _ => 0,
        };
        self.heard.iter().map(of).sum()
    }

    fn closed(&self, id: ConnId) -> bool {
        self.heard.contains(&Input::Closed { conn: id })
    }
}

pub(super) struct Setup {
    pub(super) door: Door,
    pub(super) conn_max: usize,
    pub(super) deadline: Option<Instant>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { door: Door::Clients, conn_max: 100, deadline: None }
    }
}

/// Serves `client` by `answer` until it is done, then stops.
pub(super) fn run<F, C, T>(setup: Setup, answer: F, client: C) -> Run<T>
where
    F: FnMut(&Input, &mut VecDeque<Action>) + 'static,
    C: AsyncFnOnce(SocketAddr) -> T,
{
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async move {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let machine =
            Script { answer, heard: Rc::clone(&heard), actions: VecDeque::new(), deadline: setup.deadline };
        let listener = listener::bind("127.0.0.1:0".parse().unwrap(), -1).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (done, completions) = mpsc::unbounded_channel();
        // Every operation ends at once; one numbered 13 fails.
        let on_the_spot = Rc::new(RefCell::new(Vec::new()));
        let flags = Rc::clone(&on_the_spot);
        let disk = Box::new(move |op: DiskOp, alone: bool| {
            flags.borrow_mut().push(alone);
            let ticket = op.ticket();
            let result = if ticket.0 == 13 { Err(DiskError::Full) } else { Ok(DiskAnswer::Done) };
            let _ = done.send(DiskDone { ticket, result });
            None
        });
        let options =
            SocketOptions { conn_max: setup.conn_max, conn_keep_alive: true, link_keep_alive: true };
        let keeper: ConfigKeeper = Box::new(|_| {});
        let driver = Driver::new(machine, Clock::start(), disk, keeper, completions, options);
        let driver = Rc::new(RefCell::new(driver));
        AcceptTask::spawn(&driver, listener, setup.door);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::task::spawn_local(DriverTask::new(driver, stopped));
        let client = in_time(client(address)).await;
        let _ = stop.send(());
        let why = in_time(task).await.unwrap();
        let heard = heard.borrow().clone();
        let on_the_spot = on_the_spot.borrow().clone();
        Run { client, heard, why, on_the_spot }
    })
}

pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}

pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

fn echo(input: &Input, actions: &mut VecDeque<Action>) {
    if let Input::Received { conn, bytes } = input {
        actions.push_back(Action::Send { conn: *conn, bytes: bytes.clone() });
    }
}

pub(super) async fn round_trip(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).await.unwrap();
    let mut answer = vec![0; text.len()];
    in_time(socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, text);
}

/// Everything until the end of the stream.
pub(super) async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    in_time(socket.read_to_end(&mut all)).await.unwrap();
    all
}

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

#[test]
fn a_connection_is_closed_after_its_last_byte() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Received { conn, .. } = input {
            actions.push_back(Action::Send { conn: *conn, bytes: Bytes::from(vec![7; 8 * MIB]) });
            actions.push_back(Action::Close { conn: *conn, why: CloseReason::AdminWordAnswered });
        }
    };
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
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Received { conn, .. } = input {
            actions.push_back(Action::Send { conn: *conn, bytes: Bytes::from(vec![7; 24 * MIB]) });
            actions.push_back(Action::Close { conn: *conn, why: CloseReason::SessionClosed });
        }
    };
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

#[test]
fn connections_over_a_limit_are_reset() {
    let answer = |input: &Input, actions: &mut VecDeque<Action>| {
        if let Input::Accepted { conn, .. } = input {
            actions.push_back(Action::Close { conn: *conn, why: CloseReason::TooManyConnections });
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
        let begin = tokio::time::Instant::now();
        for _ in 0..100 {
            round_trip(&mut other, b"ping").await;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        flood.abort();
    });
    let longest = run.heard.iter().map(|input| match input {
        Input::Received { bytes, .. } => bytes.len(),
        _ => 0,
    });
    assert!(longest.max().unwrap() <= READ_BYTES);
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
