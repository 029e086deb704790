//! A driver on real sockets around a scripted state machine that stands in for the core.
//!
//! The script answers inputs by a function and keeps them; the test plays whoever is at the other end.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zabra_core::store::{DiskAnswer, DiskError};
use zabra_core::types::LinkId;

use super::*;
use crate::listener::{self, AcceptTask};

pub(super) const MIB: usize = 1 << 20;

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
    /// What the client returned.
    pub(super) client: T,
    /// What the state machine was told.
    pub(super) heard: Vec<Input>,
    /// Why it ended.
    pub(super) why: HaltReason,
    /// Of each disk operation, whether it might be carried out on the spot.
    pub(super) on_the_spot: Vec<bool>,
}

impl<T> Run<T> {
    /// What a client sent.
    pub(super) fn received(&self, id: ConnId) -> Vec<u8> {
        let of = |input: &Input| match input {
            Input::Received { conn, bytes } if *conn == id => bytes.to_vec(),
            _ => Vec::new(),
        };
        self.heard.iter().flat_map(of).collect()
    }

    /// How many bytes the core was told to have left for a client.
    pub(super) fn drained(&self, id: ConnId) -> usize {
        let of = |input: &Input| match input {
            Input::Drained { conn, bytes } if *conn == id => *bytes,
            _ => 0,
        };
        self.heard.iter().map(of).sum()
    }

    /// How many bytes the core was told to have left for a server.
    pub(super) fn link_drained(&self, id: LinkId) -> usize {
        let of = |input: &Input| match input {
            Input::LinkDrained { link, bytes } if *link == id => *bytes,
            _ => 0,
        };
        self.heard.iter().map(of).sum()
    }

    /// Whether the core was told that a client is gone.
    pub(super) fn closed(&self, id: ConnId) -> bool {
        self.heard.contains(&Input::Closed { conn: id })
    }
}

/// What a run begins with.
pub(super) struct Setup {
    /// Who comes.
    pub(super) door: Door,
    /// Room for so many clients.
    pub(super) conn_max: usize,
    /// When the state machine wants to be woken.
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
        let keep_config: KeepConfig = Box::new(|_| None);
        let driver = Driver::new(machine, Clock::start(), disk, keep_config, completions, options);
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

/// The result of what must end.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}

/// Who comes to the driver.
pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends everything back to where it came from.
pub(super) fn echo(input: &Input, actions: &mut VecDeque<Action>) {
    match input {
        Input::Received { conn, bytes } => {
            actions.push_back(Action::Send { conn: *conn, bytes: bytes.clone() });
        }
        Input::LinkReceived { link, bytes } => {
            actions.push_back(Action::SendLink { link: *link, bytes: bytes.clone() });
        }
        _ => {}
    }
}

/// Sends a text that comes back.
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
