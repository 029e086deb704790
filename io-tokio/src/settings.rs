//! What a server is started with.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use zabra_core::config::Config;

/// The port of ZooKeeper clients.
pub const CLIENT_PORT: u16 = 2181;

/// What a server is started with: the core's configuration, and what only concerns sockets and files.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Everything the core decides by.
    pub core: Config,
    /// Where clients connect. Port 0 takes any free one.
    pub client_addr: SocketAddr,
    /// Where snapshots and `myid` are.
    pub data_dir: PathBuf,
    /// Where the transaction log is; may be the same.
    pub data_log_dir: PathBuf,
    /// Whether directories that do not exist are made (`zookeeper.datadir.autocreate`).
    pub data_dir_autocreate: bool,
    /// `clientPortListenBacklog`; -1: as many as the operating system grants, up to 4096.
    pub listen_backlog: i32,
    /// `zookeeper.clientTcpKeepAlive`.
    pub client_tcp_keep_alive: bool,
    /// How to be there for the other servers of the ensemble, if there is one.
    pub peers: Peers,
    /// The file that all this was read from: a change of members is kept beside it. `None`: it is not kept.
    pub config_file: Option<PathBuf>,
}

/// How a server of an ensemble listens for the others. Where, its own entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    /// `quorumListenOnAllIPs`: on all addresses of this host, not only those of its entry.
    pub listen_on_all_ips: bool,
    /// `zookeeper.electionPortBindRetry`: how often to try to listen; `None`: for ever.
    pub bind_tries: Option<u32>,
    /// `zookeeper.tcpKeepAlive`.
    pub tcp_keep_alive: bool,
}

impl Default for Peers {
    fn default() -> Self {
        Self { listen_on_all_ips: false, bind_tries: Some(3), tcp_keep_alive: false }
    }
}

impl Settings {
    /// ZooKeeper's default for everything, on `client_addr`, with all data under `data_dir`.
    pub fn new(client_addr: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            core: Config::default(),
            client_addr,
            data_log_dir: data_dir.clone(),
            data_dir,
            data_dir_autocreate: true,
            listen_backlog: -1,
            client_tcp_keep_alive: false,
            peers: Peers::default(),
            config_file: None,
        }
    }
}

/// All addresses of this host, IPv4 and IPv6 where there is IPv6.
pub fn any_address(port: u16) -> SocketAddr {
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if has_ipv6 {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
    }
}
