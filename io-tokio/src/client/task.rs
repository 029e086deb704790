//! The one task that owns the core's machine, and those that move its bytes.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch as state};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use zabra_core::client::{
    Call, CallError, CallId, Client as Core, ClientAction, ClientConfig, ClientEvent, ClientInput,
    Credentials, Outcome, SessionState, WatcherId,
};
use zabra_core::types::{Address, DialId, ErrorCode, EventType, WatcherType};

use super::watch::WatchedEvent;
use crate::clock::Clock;

/// Inputs taken before the actions are drained: calls made at the same time share one write.
const BATCH: usize = 64;

/// Pieces of input that wait for the machine. One more stops the reading.
const HAPPENED_MAX: usize = 16;

/// Bytes read at a time.
const READ_SIZE: usize = 64 << 10;

/// What a handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// A call.
    Call {
        /// What is asked.
        request: Call,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Outcome, CallError>>,
        /// Who is told if the call leaves a watch.
        events: Option<Watcher>,
    },
    /// End the session.
    Close,
    /// A watch was dropped.
    Forget {
        /// Where it was.
        path: String,
        /// Which kind.
        kind: WatcherType,
        /// Whose.
        watcher: WatcherId,
    },
    /// Tell which session it is.
    Session {
        /// Where the answer goes.
        answer: oneshot::Sender<Option<Credentials>>,
    },
}

/// Somebody who is told of events.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: WatcherId,
    pub(super) path: String,
    pub(super) kind: WatcherType,
    pub(super) events: mpsc::Sender<WatchedEvent>,
}

impl Watcher {
    /// Whether it is told more than once.
    const fn is_persistent(&self) -> bool {
        matches!(self.kind, WatcherType::Persistent | WatcherType::PersistentRecursive)
    }
}

/// A call whose answer is awaited.
#[derive(Debug)]
struct Open {
    answer: oneshot::Sender<Result<Outcome, CallError>>,
    /// The watch that it may leave.
    watcher: Option<WatcherId>,
    /// Whether it leaves one if there is no such znode.
    is_exists: bool,
}

/// A connection and the task that moves its bytes, which ends with this.
#[derive(Debug)]
struct Conn {
    /// What is to be sent. Bounded by the core, which limits what waits for an answer.
    outgoing: mpsc::UnboundedSender<Bytes>,
    task: JoinHandle<()>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Task {
    machine: Core,
    clock: Clock,
    commands: mpsc::Receiver<Command>,
    state: state::Sender<SessionState>,
    conns: BTreeMap<DialId, Conn>,
    happened: mpsc::Receiver<ClientInput>,
    /// For the connections to come.
    happened_in: mpsc::Sender<ClientInput>,
    open: BTreeMap<CallId, Open>,
    watchers: BTreeMap<WatcherId, Watcher>,
    next_call: u64,
    /// No handle is left, and the machine was told.
    abandoned: bool,
}

impl Task {
    pub(super) fn new(
        config: ClientConfig,
        seed: [u8; 32],
        clock: Clock,
        commands: mpsc::Receiver<Command>,
        state: state::Sender<SessionState>,
    ) -> Self {
        let (happened_in, happened) = mpsc::channel(HAPPENED_MAX);
        Self {
            machine: Core::new(config, seed, clock.now()),
            clock,
            commands,
            state,
            conns: BTreeMap::new(),
            happened,
            happened_in,
            open: BTreeMap::new(),
            watchers: BTreeMap::new(),
            next_call: 1,
            abandoned: false,
        }
    }

    /// Runs until the session is over.
    pub(super) async fn run(mut self) {
        self.drain();
        while !self.machine.state().is_final() {
            let due = self.machine.poll_timeout().map(|due| self.clock.to_runtime(due));
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                command = self.commands.recv(), if !self.abandoned => match command {
                    Some(command) => self.take_commands(command),
                    None => {
                        self.abandoned = true;
                        self.input(ClientInput::Close);
                    }
                },
                Some(input) = self.happened.recv() => self.input(input),
                () = timer => self.input(ClientInput::Tick),
            }
            self.drain();
        }
        // Whoever asked in the last moment is answered like those who ask from now on.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(command);
        }
        self.drain();
    }

    /// This command, and those that wait behind it.
    fn take_commands(&mut self, first: Command) {
        self.on_command(first);
        for _ in 1..BATCH {
            let Ok(next) = self.commands.try_recv() else { return };
            self.on_command(next);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Call { request, answer, events } => {
                let call = CallId(self.next_call);
                self.next_call += 1;
                let is_exists = matches!(request, Call::Exists { .. });
                let watcher = events.as_ref().map(|watcher| watcher.id);
                self.open.insert(call, Open { answer, watcher, is_exists });
                // It must be known before the answer: the first event may come right behind it.
                self.watchers.extend(events.map(|watcher| (watcher.id, watcher)));
                self.input(ClientInput::Call { call, request });
            }
            Command::Close => self.input(ClientInput::Close),
            Command::Forget { path, kind, watcher } => {
                self.watchers.remove(&watcher);
                self.input(ClientInput::Forget { path, kind, watcher });
            }
            Command::Session { answer } => {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(self.machine.session());
            }
        }
    }

    fn input(&mut self, input: ClientInput) {
        self.machine.handle(self.clock.now(), input);
    }

    /// Does everything that the machine asks for.
    fn drain(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                ClientAction::Completed { call, result } => self.on_completed(call, result),
                ClientAction::Connect { dial, address, choice } => self.connect(dial, address, choice),
                ClientAction::Event(ClientEvent::State(state)) => {
                    if state.is_final() {
                        self.watchers.clear();
                    }
                    self.state.send_replace(state);
                }
                ClientAction::Event(ClientEvent::Watch { kind, path, zxid, watchers }) => {
                    let event = WatchedEvent { kind, path, zxid };
                    for watcher in watchers {
                        self.tell(watcher, &event);
                    }
                }
                ClientAction::Hangup { dial, why } => {
                    tracing::debug!("connection {} closed: {why:?}", dial.0);
                    self.conns.remove(&dial);
                }
                ClientAction::Send { dial, bytes } => {
                    if let Some(conn) = self.conns.get(&dial) {
                        // It fails if the connection is gone, of which the machine is about to be told.
                        let _ = conn.outgoing.send(bytes);
                    }
                }
            }
        }
    }

    fn on_completed(&mut self, call: CallId, result: Result<Outcome, CallError>) {
        let Some(Open { answer, watcher, is_exists }) = self.open.remove(&call) else {
            unreachable!("the machine answers each call once");
        };
        let watches = match result {
            Ok(_) => true,
            Err(CallError::Refused(ErrorCode::NONODE)) => is_exists,
            Err(_) => false,
        };
        if let Some(watcher) = watcher.filter(|_| !watches) {
            self.watchers.remove(&watcher);
        }
        // Whoever asked may have stopped waiting.
        let _ = answer.send(result);
    }

    fn tell(&mut self, id: WatcherId, event: &WatchedEvent) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let told = watcher.events.try_send(event.clone()).is_ok();
        let stays = match event.kind {
            EventType::NodeChildrenChanged
            | EventType::NodeCreated
            | EventType::NodeDataChanged
            | EventType::NodeDeleted => watcher.is_persistent(),
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => false,
        };
        if told && stays {
            return;
        }
        if let Some(Watcher { path, kind, .. }) = self.watchers.remove(&id)
            && !told
        {
            self.input(ClientInput::Forget { path, kind, watcher: id });
        }
    }

    fn connect(&mut self, dial: DialId, address: Address, choice: u64) {
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let task = tokio::spawn(connection(dial, address, choice, to_send, self.happened_in.clone()));
        self.conns.insert(dial, Conn { outgoing, task });
    }
}

/// Makes a connection and moves its bytes until it ends.
async fn connection(
    dial: DialId,
    address: Address,
    choice: u64,
    to_send: mpsc::UnboundedReceiver<Bytes>,
    happened: mpsc::Sender<ClientInput>,
) {
    let last = match open(&address, choice).await {
        Ok(socket) => {
            let (reading, writing) = socket.into_split();
            let connected = happened.send(ClientInput::Connected { dial }).await;
            let ended = tokio::select! {
                ended = read(dial, reading, &happened) => ended,
                ended = write(writing, to_send) => ended,
            };
            if let (Ok(()), Err(error)) = (connected, ended) {
                tracing::debug!("connection to {}:{} lost: {error}", address.host, address.port);
            }
            ClientInput::Disconnected { dial }
        }
        Err(error) => {
            tracing::debug!("cannot connect to {}:{}: {error}", address.host, address.port);
            ClientInput::ConnectFailed { dial }
        }
    };
    // Nobody listens any more if the session is over.
    let _ = happened.send(last).await;
}

/// Resolves the name anew, since it may have moved, and takes the address that the machine drew.
async fn open(address: &Address, choice: u64) -> io::Result<TcpStream> {
    let found: Vec<_> = tokio::net::lookup_host((address.host.as_str(), address.port)).await?.collect();
    let count = u64::try_from(found.len()).unwrap_or(u64::MAX).max(1);
    let index = usize::try_from(choice % count).unwrap_or(0);
    let target = found.get(index).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn read(
    dial: DialId,
    mut socket: OwnedReadHalf,
    happened: &mpsc::Sender<ClientInput>,
) -> io::Result<()> {
    let mut room = BytesMut::new();
    loop {
        room.reserve(READ_SIZE);
        if socket.read_buf(&mut room).await? == 0 {
            return Ok(());
        }
        let bytes = room.split().freeze();
        if happened.send(ClientInput::Received { dial, bytes }).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut socket: OwnedWriteHalf, mut to_send: mpsc::UnboundedReceiver<Bytes>) -> io::Result<()> {
    while let Some(bytes) = to_send.recv().await {
        socket.write_all(&bytes).await?;
    }
    Ok(())
}
