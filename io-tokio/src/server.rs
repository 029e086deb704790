//! A running server, to be embedded in a program or a test.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use zabra_core::server::{HaltReason, PeerPort, Server as Core};
use zabra_core::store::DiskDone;

use crate::clock::Clock;
use crate::config_keeper::ConfigKeeper;
use crate::disk::{self, Directories, Disk, OpenError, RecoverError, Shredder};
use crate::driver::{DiskPort, Driver, DriverTask, Kept, SocketOptions};
use crate::listener::{self, AcceptTask, Door};
use crate::machine::Machine;
use crate::observer_port::ObserverPort;
use crate::peer_listeners::{self, PeerListenError, PeerListener, into_tokio};
use crate::settings::Settings;
use crate::{entropy, events, limits};

/// Tasks run between two looks at the sockets. The runtime's default of 61 would cost a busy server with more
/// connections than that several looks a turn.
const TASKS_PER_LOOK: u32 = 512;

/// Sockets of which one look may tell; the runtime's default. Of more it would tell by turns: after a standstill the
/// clock would be looked at before the last of those who spoke in time is heard.
const SOCKETS_PER_LOOK_MIN: usize = 1024;

/// Room for no more of them than this is made.
const SOCKETS_PER_LOOK_MAX: usize = 1 << 16;

/// What fails where there is no thread for the disk.
const DISK_THREADS: &str = "starting the disk threads";

/// Starts servers.
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// Why a server could not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directories cannot be used.
    Directories(OpenError),
    /// The client address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The addresses for other servers of the ensemble cannot be listened on.
    ListenPeers(PeerListenError),
    /// The data cannot be recovered.
    Recovery(RecoverError),
    /// The operating system refused something that every server needs.
    System {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directories(error) => error.fmt(f),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "port {} is taken: another server listens on it already\n\
                 stop that one (`ss -ltnp 'sport = :{}'` shows which it is), or give this one another clientPort",
                address.port(),
                address.port()
            ),
            Self::ListenPeers(error) => error.fmt(f),
            Self::Recovery(error) => error.fmt(f),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrNotAvailable => write!(
                f,
                "cannot listen on {address}: {error}\n\
                 clientPortAddress must be an address of this host (`ip -brief address` shows them); leave it out to listen \
                 on all of them"
            ),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "cannot listen on {address}: {error}\n\
                 low ports are for root or who has the capability CAP_NET_BIND_SERVICE; choose a clientPort above 1023"
            ),
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            // What the operating system calls "temporarily unavailable".
            Self::System { doing, error } if error.kind() == io::ErrorKind::WouldBlock => write!(
                f,
                "{doing}: {error}\n\
                 as many processes and threads run as may (`ulimit -u`, or TasksMax of the service): let there be more, \
                 or end others"
            ),
            Self::System { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A server that runs on a thread of its own. Dropping it asks the server to stop, without waiting.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<HaltReason>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Asks for an ordered stop: everything acknowledged is durable, replies under way are sent.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Nobody listens any more if the server has halted already.
            let _ = stop.send(());
        }
    }

    /// Waits until the server halts, and says why.
    pub async fn ended(&mut self) -> HaltReason {
        let why = (&mut self.ended).await;
        if let Some(thread) = self.thread.take() {
            // It has nothing left to do but to free memory and wait for the disk threads.
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        why.expect("a server's thread says why it ends")
    }

    /// Stops in order and waits for it.
    pub async fn shutdown(mut self) -> HaltReason {
        self.stop();
        self.ended().await
    }
}

impl Server {
    /// Recovers what is on disk and starts to serve. Returns once clients can connect.
    ///
    /// # Errors
    /// If the address is taken, or the data cannot be served.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let address = settings.client_addr;
        let cannot_listen = move |error| StartError::Listen { address, error };
        // So that a port that is taken is known before anything is recovered.
        let claimed = listener::claim(address).map_err(cannot_listen)?;
        let local_addr = claimed.local_addr().map_err(cannot_listen)?;
        let local_addr = local_addr.as_socket().expect("what was bound to an internet address has one");
        let (started, starting) = oneshot::channel();
        let (ended_in, ended) = oneshot::channel();
        let (stop, stop_out) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("zabra".into())
            .spawn(move || {
                let prepared = Parts::prepare(&settings, || started.is_closed()).and_then(|parts| {
                    let listener = listener::listen(claimed, settings.listen_backlog);
                    Ok((parts, listener.map_err(cannot_listen)?))
                });
                let (parts, listener) = match prepared {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                let why = parts.run(listener, &settings, stop_out, move || {
                    let _ = started.send(Ok(()));
                });
                let _ = ended_in.send(why);
            })
            .map_err(|error| StartError::System { doing: "starting a thread", error })?;
        starting.await.expect("a server's thread says whether it started")?;
        Ok(Running { local_addr, stop: Some(stop), ended, thread: Some(thread) })
    }
}

/// What a server's thread puts together before it serves.
struct Parts<M> {
    machine: M,
    clock: Clock,
    disk: DiskPort,
    /// Bounded by the core, which counts what it has under way.
    completions: mpsc::UnboundedReceiver<DiskDone>,
    conn_max: usize,
    /// Where other servers of the ensemble connect.
    peers: Vec<PeerListener>,
    runtime: LocalRuntime,
}

impl Parts<Core> {
    /// Locks and recovers the data, and sets everything up. `abandoned` says whether nobody waits for it any more.
    fn prepare(settings: &Settings, abandoned: impl Fn() -> bool) -> Result<Self, StartError> {
        let system = |doing| move |error| StartError::System { doing, error };
        let links_max = if settings.core.ensemble.is_some() { limits::LINKS_MAX } else { 0 };
        let conn_max = limits::connections_max(links_max);
        let directories =
            Directories::open(&settings.data_dir, &settings.data_log_dir, settings.data_dir_autocreate)
                .map_err(StartError::Directories)?;
        let peers = peer_listeners::bind(&settings.core, &settings.peers, abandoned)
            .map_err(StartError::ListenPeers)?;
        let seed = entropy::seed().map_err(system("asking for random bytes"))?;
        let hash_seed = entropy::hash_seed().map_err(system("asking for random bytes"))?;
        let shredder = Arc::new(Shredder::start().map_err(system(DISK_THREADS))?);
        let recovered = disk::recover(&directories, &shredder, &settings.core, hash_seed).map_err(
            |error| match error {
                RecoverError::Threads(error) => system(DISK_THREADS)(error),
                RecoverError::Found { .. }
                | RecoverError::Marker { .. }
                | RecoverError::MarkerRemoved { .. } => StartError::Recovery(error),
            },
        )?;
        for notice in &recovered.report {
            events::log_notice(notice, &directories);
        }
        let (done, completions) = mpsc::unbounded_channel();
        let disk = Disk::start(&directories, &shredder, move |completion| {
            // After a halt nobody waits for completions any more.
            let _ = done.send(completion);
        })
        .map_err(system(DISK_THREADS))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(TASKS_PER_LOOK)
            .max_io_events_per_tick(conn_max.clamp(SOCKETS_PER_LOOK_MIN, SOCKETS_PER_LOOK_MAX))
            .build_local(LocalOptions::default())
            .map_err(system("setting up the event loop"))?;
        let clock = Clock::start();
        let machine = Core::new(settings.core.clone(), recovered, seed, clock.now());
        let disk = Box::new(move |op, alone: bool| {
            let op = if alone { disk.try_at_once(op) } else { Err(op) };
            op.map_err(|op| disk.submit(op)).ok()
        });
        Ok(Self { machine, clock, disk, completions, conn_max, peers, runtime })
    }
}

impl<M: Machine> Parts<M> {
    /// Serves until the core halts.
    fn run(
        self,
        listener: std::net::TcpListener,
        settings: &Settings,
        stop: oneshot::Receiver<()>,
        started: impl FnOnce(),
    ) -> HaltReason {
        let Self { machine, clock, disk, completions, conn_max, peers, runtime } = self;
        let options = SocketOptions {
            conn_max,
            conn_keep_alive: settings.client_tcp_keep_alive,
            link_keep_alive: settings.peers.tcp_keep_alive,
        };
        let mut keeper = ConfigKeeper::new(settings);
        let (places, observer_port) = ObserverPort::new(&settings.core, settings.peers);
        let keep_config = Box::new(move |kept: Kept<'_>| {
            if let Kept::InForce(members) = kept {
                places.on_members(members);
            }
            keeper.keep(kept)
        });
        let driver = Driver::new(machine, clock, disk, keep_config, completions, options);
        runtime.block_on(async move {
            let driver = Rc::new(RefCell::new(driver));
            AcceptTask::spawn(&driver, into_tokio(listener), Door::Clients);
            let (for_observers, others): (Vec<_>, Vec<_>) =
                peers.into_iter().partition(|it| it.port == PeerPort::ObserverMaster);
            for PeerListener { port, listener, .. } in others {
                AcceptTask::spawn(&driver, into_tokio(listener), Door::Servers(port));
            }
            observer_port.spawn(&driver, for_observers);
            let task = tokio::task::spawn_local(DriverTask::new(driver, stop));
            started();
            task.await.expect("the driver's task is never cancelled, and aborts the process if it panics")
        })
    }
}
