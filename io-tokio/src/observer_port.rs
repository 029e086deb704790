//! The port for observers: listened on while the configuration in force has this server as a voter, which may follow and
//! serve them.
//!
//! ZooKeeper opens it whenever a server begins to follow, and closes it when that is over. Here it stays open in between,
//! for observers come as soon as they know who leads, and the core has them wait until this server knows, too. What opens
//! and closes it is therefore a change of members. Nothing but observers depends on it, and they have others to go to:
//! where it cannot be listened on the log says why, and it is tried again. (At the start the server gives up instead, as
//! with every other port.)

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::timeout;
use zabra_core::config::Config;
use zabra_core::server::PeerPort;
use zabra_core::types::{Address, Membership};

use crate::driver::Shared;
use crate::listener::{AcceptTask, Door};
use crate::machine::Machine;
use crate::peer_listeners::{
    BIND_PAUSE, PeerListenError, PeerListener, bind_address, into_tokio, observer_addresses,
};
use crate::settings::Peers;

/// Says where the port is, as members change.
#[derive(Debug)]
pub(crate) struct ObserverPlaces {
    core: Config,
    peers: Peers,
    wanted: watch::Sender<Vec<Address>>,
}

impl ObserverPlaces {
    /// Other members are in force.
    pub(crate) fn on_members(&self, members: &Membership) {
        self.wanted.send_replace(observer_addresses(&self.core, &self.peers, members));
    }
}

/// Listens where it is told to, and nowhere else. See the module.
#[derive(Debug)]
pub(crate) struct ObserverPort {
    server: i64,
    peers: Peers,
    wanted: watch::Receiver<Vec<Address>>,
    open: Vec<Open>,
    /// What the log says already of why it cannot listen.
    told: Option<String>,
}

/// What listens at one address, which may be a name that stands for several.
#[derive(Debug)]
struct Open {
    address: Address,
    tasks: Vec<JoinHandle<()>>,
}

impl ObserverPort {
    /// The port of a server that does not listen on it yet, and who tells it where it is.
    pub(crate) fn new(core: &Config, peers: Peers) -> (ObserverPlaces, Self) {
        let members = core.ensemble.as_ref().map(|ensemble| &ensemble.membership);
        let addresses = members.map(|members| observer_addresses(core, &peers, members));
        let (sender, wanted) = watch::channel(addresses.unwrap_or_default());
        let places = ObserverPlaces { core: core.clone(), peers, wanted: sender };
        (places, Self { server: core.server_id, peers, wanted, open: Vec::new(), told: None })
    }

    /// Takes over listeners that were bound when the server started, and starts the task that opens and closes others.
    pub(crate) fn spawn<M: Machine>(mut self, driver: &Shared<M>, listeners: Vec<PeerListener>) {
        for PeerListener { port, address, listener } in listeners {
            assert_eq!(port, PeerPort::ObserverMaster, "{address:?} is no address for observers");
            self.accept(driver, address, listener);
        }
        let task = spawn_local(self.run(Rc::clone(driver)));
        driver.borrow_mut().add_accept_abort(task.abort_handle());
    }

    /// Goes on until nobody says any more where to listen.
    async fn run<M: Machine>(mut self, driver: Shared<M>) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            self.close_others(&wanted).await;
            let is_complete = self.listen(&driver, wanted).await;
            let changed = if is_complete {
                self.wanted.changed().await
            } else {
                timeout(BIND_PAUSE, self.wanted.changed()).await.unwrap_or(Ok(()))
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn close_others(&mut self, wanted: &[Address]) {
        let (stay, go) = self.open.drain(..).partition(|open| wanted.contains(&open.address));
        self.open = stay;
        for Open { address, tasks } in go {
            for task in tasks {
                task.abort();
                // With it the listener goes, so that another one can take its place.
                let _ = task.await;
            }
            tracing::info!("observers are not served on {}:{} any more", address.host, address.port);
        }
    }

    /// Listens where it does not yet. Whether it does everywhere then.
    async fn listen<M: Machine>(&mut self, driver: &Shared<M>, wanted: Vec<Address>) -> bool {
        let mut failure = None;
        for address in wanted {
            if self.open.iter().any(|open| open.address == address) {
                continue;
            }
            match bind(&address, self.peers.listen_on_all_ips).await {
                Ok(listeners) => {
                    tracing::info!(
                        "observers may learn from this server on {}:{}",
                        address.host,
                        address.port
                    );
                    for listener in listeners {
                        self.accept(driver, address.clone(), listener);
                    }
                }
                Err(error) => {
                    let (port, server) = (PeerPort::ObserverMaster, self.server);
                    failure = Some(PeerListenError { port, server, address, error }.to_string());
                }
            }
        }
        let is_complete = failure.is_none();
        if let Some(failure) = &failure
            && self.told.as_ref() != Some(failure)
        {
            tracing::error!(
                "{failure}\nobservers learn from other servers until then; it is tried every second"
            );
        }
        self.told = failure;
        is_complete
    }

    fn accept<M: Machine>(&mut self, driver: &Shared<M>, address: Address, listener: TcpListener) {
        let task = AcceptTask::spawn(driver, into_tokio(listener), Door::Servers(PeerPort::ObserverMaster));
        match self.open.iter_mut().find(|open| open.address == address) {
            Some(open) => open.tasks.push(task),
            None => self.open.push(Open { address, tasks: vec![task] }),
        }
    }
}

/// A name may have to be looked up, which nobody else is to wait for.
async fn bind(address: &Address, on_all: bool) -> io::Result<Vec<TcpListener>> {
    let address = address.clone();
    spawn_blocking(move || bind_address(&address, on_all)).await.map_err(io::Error::other)?
}
