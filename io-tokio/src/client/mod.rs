//! A client for programs: a handle that any number of tasks may share, and the one task that owns the core's machine.
//!
//! Every decision, from which server is next to who is told of what, is [`zabra_core::client`]'s; here are only
//! sockets, the clock, and who waits for which answer. The session ends with [`Client::close`], or when the last handle
//! is dropped.

mod task;
mod watch;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch as state};
use zabra_core::client::{
    AddWatchMode, Call, CallError, ClientConfig, ConnectStringError, Create, CreateMode, Credentials,
    Outcome, SessionState, WatcherId, Write,
};
use zabra_core::types::{AclList, ErrorCode, Stat, WatcherType};

use self::task::{Command, Task};
pub use self::watch::{Watch, WatchedEvent};
use crate::clock::Clock;
use crate::entropy;

/// Calls that wait to be taken by the client's task. One more waits with its caller.
const COMMANDS_MAX: usize = 256;

/// Events that wait for one watch. One more ends it, see [`Watch::next`].
const EVENTS_MAX: usize = 1024;

/// A client's handle. Cheap to clone; all clones share one session.
///
/// A version of -1 stands for any. What a call that fails with [`CallError::ConnectionLoss`] did is for the caller to
/// find out; the client itself goes on and connects again.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    state: state::Receiver<SessionState>,
    next_watcher: Arc<AtomicU64>,
}

/// Why a client could not start.
#[derive(Debug)]
pub enum ConnectError {
    /// The session was over before it began.
    Ended(SessionState),
    /// The text names no servers.
    Servers(ConnectStringError),
    /// The operating system gave no random bytes.
    System(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(state) => write!(f, "the session ended before it began: {state:?}"),
            Self::Servers(error) => error.fmt(f),
            Self::System(error) => write!(f, "asking for random bytes: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Why a multi changed nothing, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiError {
    /// The call as a whole.
    Call(CallError),
    /// One operation, and with it all.
    Operation {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        code: ErrorCode,
    },
}

impl fmt::Display for MultiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Operation { index, code } => write!(f, "operation {index} of the multi: {code}"),
        }
    }
}

impl std::error::Error for MultiError {}

/// The outcome of a call is of the kind that belongs to it: the core decodes it by what was asked.
macro_rules! expect {
    ($outcome:expr, $pattern:pat => $value:expr) => {
        match $outcome {
            $pattern => $value,
            other => unreachable!("the answer to another call: {other:?}"),
        }
    };
}

impl Client {
    /// Connects to one of `host[:port][,…][/chroot]` and waits for a session, however long it takes: put a timeout
    /// around it if there is a limit to patience.
    ///
    /// # Errors
    /// If the text names no servers.
    pub async fn connect(servers: &str, session_timeout: Duration) -> Result<Self, ConnectError> {
        let config = ClientConfig::parse(servers, session_timeout).map_err(ConnectError::Servers)?;
        let client = Self::start(config).map_err(ConnectError::System)?;
        let mut states = client.states();
        // The task says how it ends before it ends.
        let reached = states.wait_for(|&state| state != SessionState::Disconnected).await;
        let state = *reached.expect("the client's task tells its last state");
        if state.is_final() { Err(ConnectError::Ended(state)) } else { Ok(client) }
    }

    /// Begins to connect, and does not wait. Must be called within a runtime.
    ///
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub fn start(config: ClientConfig) -> io::Result<Self> {
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let (state_in, state) = state::channel(SessionState::Disconnected);
        let task = Task::new(config, entropy::seed()?, Clock::start(), taken, state_in);
        tokio::spawn(task.run());
        Ok(Self { commands, state, next_watcher: Arc::new(AtomicU64::new(1)) })
    }

    /// How it stands with the session.
    pub fn state(&self) -> SessionState {
        *self.state.borrow()
    }

    /// Tells of every change of the session's state. One that is over at once may be missed.
    pub fn states(&self) -> state::Receiver<SessionState> {
        self.state.clone()
    }

    /// The session, for another client to go on with; `None` before there is one.
    pub async fn session(&self) -> Option<Credentials> {
        let (answer, told) = oneshot::channel();
        self.commands.send(Command::Session { answer }).await.ok()?;
        told.await.ok()?
    }

    /// Ends the session once everything asked before is answered, and waits for that.
    pub async fn close(&self) -> SessionState {
        // It fails if the session is over, which is what was wanted.
        let _ = self.commands.send(Command::Close).await;
        let mut states = self.states();
        let last = states.wait_for(|state| state.is_final()).await;
        *last.expect("the client's task tells its last state")
    }

    /// Asks anything. Watchers named in it are told nothing: watches have methods of their own.
    ///
    /// # Errors
    /// What the server answers, or why it could not be asked.
    pub async fn call(&self, request: Call) -> Result<Outcome, CallError> {
        self.command(request, None).await
    }

    async fn command(&self, request: Call, events: Option<task::Watcher>) -> Result<Outcome, CallError> {
        let (answer, told) = oneshot::channel();
        let sent = self.commands.send(Command::Call { request, answer, events }).await;
        match sent {
            Ok(()) => told.await.unwrap_or(Err(self.over())),
            Err(_) => Err(self.over()),
        }
    }

    /// What calls are told once the task is gone.
    fn over(&self) -> CallError {
        match self.state() {
            SessionState::AuthFailed => CallError::AuthFailed,
            SessionState::Expired => CallError::SessionExpired,
            SessionState::Closed
            | SessionState::Connected
            | SessionState::ConnectedReadOnly
            | SessionState::Disconnected => CallError::Closed,
        }
    }

    /// A call that leaves a watch.
    async fn watching(
        &self,
        path: &str,
        kind: WatcherType,
        request: impl FnOnce(String, WatcherId) -> Call,
    ) -> (Result<Outcome, CallError>, Watch) {
        let watcher = WatcherId(self.next_watcher.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let path = path.to_owned();
        let told = task::Watcher { id: watcher, path: path.clone(), kind, events: sender };
        let result = self.command(request(path.clone(), watcher), Some(told)).await;
        (result, Watch { watcher, path, kind, events, commands: self.commands.downgrade() })
    }

    /// Creates a znode that is open to everyone, and returns its path.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: CreateMode,
    ) -> Result<String, CallError> {
        let (path, data) = (path.into(), Some(data.into()));
        let create = Create { path, data, acl: AclList::OpenUnsafe, mode, with_stat: false };
        Ok(self.create_with(create).await?.0)
    }

    /// Creates a znode, and returns its path, and its stat if that was asked for.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn create_with(&self, create: Create) -> Result<(String, Option<Stat>), CallError> {
        let outcome = self.call(Call::Create(create)).await?;
        Ok(expect!(outcome, Outcome::Created { path, stat } => (path, stat)))
    }

    /// Deletes a znode.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), CallError> {
        self.call(Call::Delete { path: path.into(), version }).await.map(drop)
    }

    /// A znode's stat; `None` if there is no such znode.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, CallError> {
        found(self.call(Call::Exists { path: path.into(), watcher: None }).await)
    }

    /// As [`Client::exists`], and a watch for its creation, change or deletion.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn exists_and_watch(&self, path: &str) -> Result<(Option<Stat>, Watch), CallError> {
        let request = |path, watcher| Call::Exists { path, watcher: Some(watcher) };
        let (result, watch) = self.watching(path, WatcherType::Data, request).await;
        Ok((found(result)?, watch))
    }

    /// A znode's data and stat.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_data(&self, path: &str) -> Result<(Option<Bytes>, Stat), CallError> {
        let outcome = self.call(Call::GetData { path: path.into(), watcher: None }).await?;
        Ok(expect!(outcome, Outcome::Data { data, stat } => (data, stat)))
    }

    /// As [`Client::get_data`], and a watch for its change or deletion.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_data_and_watch(&self, path: &str) -> Result<(Option<Bytes>, Stat, Watch), CallError> {
        let request = |path, watcher| Call::GetData { path, watcher: Some(watcher) };
        let (result, watch) = self.watching(path, WatcherType::Data, request).await;
        Ok(expect!(result?, Outcome::Data { data, stat } => (data, stat, watch)))
    }

    /// The ensemble's configuration, whatever the chroot.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_config(&self) -> Result<(Option<Bytes>, Stat), CallError> {
        let outcome = self.call(Call::GetConfig { watcher: None }).await?;
        Ok(expect!(outcome, Outcome::Data { data, stat } => (data, stat)))
    }

    /// Replaces a znode's data.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_data(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        version: i32,
    ) -> Result<Stat, CallError> {
        let request = Call::SetData { path: path.into(), data: Some(data.into()), version };
        Ok(expect!(self.call(request).await?, Outcome::Stat(stat) => stat))
    }

    /// The names of a znode's children, in no order, and its stat.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_children(&self, path: &str) -> Result<(Vec<String>, Stat), CallError> {
        let outcome = self.call(Call::GetChildren { path: path.into(), watcher: None }).await?;
        Ok(expect!(outcome, Outcome::Children { names, stat: Some(stat) } => (names, stat)))
    }

    /// As [`Client::get_children`], and a watch for a child that comes or goes.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_children_and_watch(&self, path: &str) -> Result<(Vec<String>, Stat, Watch), CallError> {
        let request = |path, watcher| Call::GetChildren { path, watcher: Some(watcher) };
        let (result, watch) = self.watching(path, WatcherType::Children, request).await;
        Ok(expect!(result?, Outcome::Children { names, stat: Some(stat) } => (names, stat, watch)))
    }

    /// How many znodes there are below this one.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_all_children_number(&self, path: &str) -> Result<i32, CallError> {
        let outcome = self.call(Call::GetAllChildrenNumber { path: path.into() }).await?;
        Ok(expect!(outcome, Outcome::Count(count) => count))
    }

    /// The paths of this session's ephemeral znodes that begin with `prefix`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_ephemerals(&self, prefix: &str) -> Result<Vec<String>, CallError> {
        let outcome = self.call(Call::GetEphemerals { prefix: prefix.into() }).await?;
        Ok(expect!(outcome, Outcome::Paths(paths) => paths))
    }

    /// A znode's access control list and stat.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get_acl(&self, path: &str) -> Result<(AclList, Stat), CallError> {
        let outcome = self.call(Call::GetAcl { path: path.into() }).await?;
        Ok(expect!(outcome, Outcome::Acl { acl, stat } => (acl, stat)))
    }

    /// Replaces a znode's access control list.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn set_acl(&self, path: &str, acl: AclList, version: i32) -> Result<Stat, CallError> {
        let outcome = self.call(Call::SetAcl { path: path.into(), acl, version }).await?;
        Ok(expect!(outcome, Outcome::Stat(stat) => stat))
    }

    /// Several writes, all or none: what each brought.
    ///
    /// # Errors
    /// The first operation that failed, or as [`Client::call`].
    pub async fn multi(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, MultiError> {
        let outcome = self.call(Call::Multi(writes)).await.map_err(MultiError::Call)?;
        let results = expect!(outcome, Outcome::Multi(results) => results);
        // Those before the one that failed say OK, those behind it that another failed.
        let failed = results.iter().position(|result| matches!(result, Err(code) if *code != ErrorCode::OK));
        if let Some(index) = failed {
            let code = results[index].as_ref().err().copied().expect("it is an error");
            return Err(MultiError::Operation { index, code });
        }
        Ok(results.into_iter().map(|result| result.unwrap_or(Outcome::Done)).collect())
    }

    /// Brings the connected server up to date with the leader: what is read afterwards is as new as this call.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn sync(&self, path: &str) -> Result<(), CallError> {
        self.call(Call::Sync { path: path.into() }).await.map(drop)
    }

    /// Watches a znode until the watch is dropped.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<Watch, CallError> {
        let kind = match mode {
            AddWatchMode::Persistent => WatcherType::Persistent,
            AddWatchMode::PersistentRecursive => WatcherType::PersistentRecursive,
        };
        let request = |path, watcher| Call::AddWatch { path, mode, watcher };
        let (result, watch) = self.watching(path, kind, request).await;
        result.map(|_| watch)
    }

    /// Presents an identity, now and on every later connection.
    ///
    /// # Errors
    /// [`CallError::AuthFailed`] if it is refused, which ends the session; or as [`Client::call`].
    pub async fn add_auth(&self, scheme: &str, auth: impl Into<Bytes>) -> Result<(), CallError> {
        self.call(Call::AddAuth { scheme: scheme.into(), auth: auth.into() }).await.map(drop)
    }

    /// Scheme and user name of each identity that the server knows this connection by.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn who_am_i(&self) -> Result<Vec<(String, String)>, CallError> {
        Ok(expect!(self.call(Call::WhoAmI).await?, Outcome::Identities(identities) => identities))
    }
}

/// What exists says of a znode that may not be there.
fn found(result: Result<Outcome, CallError>) -> Result<Option<Stat>, CallError> {
    match result {
        Err(CallError::Refused(ErrorCode::NONODE)) => Ok(None),
        Err(error) => Err(error),
        Ok(outcome) => Ok(expect!(outcome, Outcome::Stat(stat) => Some(stat))),
    }
}
