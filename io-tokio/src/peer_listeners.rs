//! The listeners for other servers of the ensemble: where this server's own entry says, or on all addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::PeerPort;
use zabra_core::types::{Address, MemberRole, Membership, ServerId};

use crate::listener;
use crate::settings::{Peers, any_address};

/// How long to wait before listening is tried again.
pub(crate) const BIND_PAUSE: Duration = Duration::from_secs(1);

/// Links that the kernel may hold ready: as many as clients by default.
const BACKLOG: i32 = -1;

/// Why this server cannot listen for the others.
#[derive(Debug)]
pub struct PeerListenError {
    /// For what.
    pub port: PeerPort,
    /// Whose entry says where.
    pub server: i64,
    /// Where.
    pub address: Address,
    /// What the operating system says.
    pub error: io::Error,
}

impl fmt::Display for PeerListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, server, address: Address { host, port: number }, error } = self;
        let port = match port {
            PeerPort::Election => "election",
            PeerPort::ObserverMaster => "observer master",
            PeerPort::Quorum => "quorum",
        };
        if error.kind() == io::ErrorKind::AddrInUse {
            write!(
                f,
                "{port} port {number} of server.{server} is taken: another server listens on it already\n\
                 stop that one (`ss -ltnp 'sport = :{number}'` shows which it is), or "
            )?;
            return match self.port {
                PeerPort::Election | PeerPort::Quorum => {
                    write!(f, "give this one other ports in its server.{server} line, on all servers")
                }
                PeerPort::ObserverMaster => f.write_str("set another observerMasterPort, on all servers"),
            };
        }
        write!(
            f,
            "cannot listen on {host}:{number}, the {port} address of server.{server}: {error}\n\
             check that myid is this server's number and that its server.{server} line names this host; \
             if the others reach it by an address that it does not have itself, set quorumListenOnAllIPs=true"
        )
    }
}

impl std::error::Error for PeerListenError {}

/// Where other servers connect.
#[derive(Debug)]
pub(crate) struct PeerListener {
    /// For what.
    pub(crate) port: PeerPort,
    /// Where, as the configuration says.
    pub(crate) address: Address,
    /// It holds connections ready.
    pub(crate) listener: TcpListener,
}

/// Listens for the other servers; nothing to do for a server that stands alone. Failures are tried again as `peers`
/// says, unless `abandoned` says that nobody waits any more. Blocks meanwhile.
///
/// # Errors
/// The first port that cannot be listened on.
pub(crate) fn bind(
    core: &Config,
    peers: &Peers,
    abandoned: impl Fn() -> bool,
) -> Result<Vec<PeerListener>, PeerListenError> {
    let server = core.server_id;
    let Some(members) = core.ensemble.as_ref().map(|ensemble| &ensemble.membership) else {
        return Ok(Vec::new());
    };
    let Some(member) = members.member(ServerId(server)) else { return Ok(Vec::new()) };
    let mut listeners = Vec::new();
    let ports = [
        (PeerPort::Election, &member.election),
        (PeerPort::Quorum, &member.quorum),
        (PeerPort::ObserverMaster, &observer_addresses(core, peers, members)),
    ];
    for (port, addresses) in ports {
        let mut numbers: Vec<u16> = Vec::new();
        for address in addresses {
            if peers.listen_on_all_ips && numbers.contains(&address.port) {
                continue; // One wildcard listener serves all addresses with this port.
            }
            numbers.push(address.port);
            let error = |error| PeerListenError { port, server, address: address.clone(), error };
            let bound =
                retry(peers.bind_tries, &abandoned, || bind_address(address, peers.listen_on_all_ips));
            let at = |listener| PeerListener { port, address: address.clone(), listener };
            listeners.extend(bound.map_err(error)?.into_iter().map(at));
        }
    }
    Ok(listeners)
}

/// Where a server that may follow serves observers, by these members: on the hosts of its quorum port.
pub(crate) fn observer_addresses(core: &Config, peers: &Peers, members: &Membership) -> Vec<Address> {
    let member = members.member(ServerId(core.server_id));
    let port = core.ensemble.as_ref().and_then(|ensemble| ensemble.observer_master_port);
    let (Some(member), Some(port)) = (member, port) else { return Vec::new() };
    if member.role != MemberRole::Participant {
        return Vec::new();
    }
    // One wildcard listener serves all addresses.
    let count = if peers.listen_on_all_ips { 1 } else { usize::MAX };
    let host = |address: &Address| Address { host: address.host.clone(), port };
    member.quorum.iter().take(count).map(host).collect()
}

/// Tries until it works, or `tries` is used up; `None` is for ever.
fn retry<T>(
    tries: Option<u32>,
    abandoned: &impl Fn() -> bool,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut failures = 0_u32;
    loop {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        if tries.is_some_and(|tries| failures >= tries) || abandoned() {
            return Err(error);
        }
        tracing::warn!(%error, "cannot listen for other servers; trying again in a second");
        thread::sleep(BIND_PAUSE);
    }
}

/// Listens on everything that a name stands for. Addresses of other hosts are left out as long as one is this host's:
/// a name may stand for an address that only others see.
pub(crate) fn bind_address(address: &Address, on_all: bool) -> io::Result<Vec<TcpListener>> {
    if on_all {
        return listener::bind(any_address(address.port), BACKLOG).map(|listener| vec![listener]);
    }
    let mut listeners = Vec::new();
    let mut elsewhere = None;
    for at in resolve(address)? {
        match listener::bind(at, BACKLOG) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => elsewhere = Some(error),
            Err(error) => return Err(error),
        }
    }
    match elsewhere {
        Some(error) if listeners.is_empty() => Err(error),
        _ if listeners.is_empty() => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        _ => Ok(listeners),
    }
}

/// Hands a listener over to the event loop.
pub(crate) fn into_tokio(listener: TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).expect("a fresh socket can be added to a fresh event loop")
}

fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let mut found: Vec<_> = (address.host.as_str(), address.port).to_socket_addrs()?.collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use zabra_core::config::EnsembleConfig;
    use zabra_core::types::Member;

    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    /// Server 2, with these addresses.
    fn config(election: &[Address], quorum: &[Address]) -> Config {
        let member = Member {
            quorum: quorum.to_vec(),
            election: election.to_vec(),
            client: None,
            role: MemberRole::Participant,
        };
        let membership = Membership::majority(0, BTreeMap::from([(ServerId(2), member)]));
        Config { server_id: 2, ensemble: Some(EnsembleConfig::new(membership)), ..Config::default() }
    }

    const ONCE: Peers = Peers { listen_on_all_ips: false, bind_tries: Some(1), tcp_keep_alive: false };

    fn listen(config: &Config, peers: &Peers) -> Result<Vec<PeerListener>, String> {
        bind(config, peers, || false).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_that_stands_alone_listens_for_nobody() {
        assert_eq!(listen(&Config::default(), &ONCE).unwrap().len(), 0);
    }

    #[test]
    fn both_ports_are_listened_on_at_the_addresses_of_the_entry() {
        let config = config(&[address("127.0.0.1", 0), address("127.0.0.2", 0)], &[address("127.0.0.3", 0)]);
        let listeners = listen(&config, &ONCE).unwrap();
        let places: Vec<_> = listeners
            .iter()
            .map(|it| (it.port, it.listener.local_addr().unwrap().ip().to_string()))
            .collect();
        let expected = [
            (PeerPort::Election, "127.0.0.1"),
            (PeerPort::Election, "127.0.0.2"),
            (PeerPort::Quorum, "127.0.0.3"),
        ];
        assert_eq!(places, expected.map(|(port, place)| (port, place.to_owned())));
    }

    #[test]
    fn obs_master_listens_beside_the_quorum_port_of_a_voter() {
        let quorum = [address("127.0.0.3", 0), address("127.0.0.4", 0)];
        let mut config = config(&[], &quorum);
        let ensemble = config.ensemble.as_mut().unwrap();
        ensemble.observer_master_port = Some(0);
        let places = |config: &Config| {
            let listeners = listen(config, &ONCE).unwrap().into_iter();
            let observers = listeners.filter(|it| it.port == PeerPort::ObserverMaster);
            observers.map(|it| it.listener.local_addr().unwrap().ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places(&config), ["127.0.0.3", "127.0.0.4"]);
        let taken = listener::bind("127.0.0.3:0".parse().unwrap(), -1).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ensemble = config.ensemble.as_mut().unwrap();
        ensemble.observer_master_port = Some(port);
        let error = listen(&config, &ONCE).unwrap_err();
        assert!(error.starts_with(&format!("observer master port {port} of server.2 is taken")), "{error}");
        assert!(error.ends_with("or set another observerMasterPort, on all servers"), "{error}");
        // Whoever observes serves no observers.
        let ensemble = config.ensemble.as_mut().unwrap();
        let mut members = ensemble.membership.members().clone();
        members.get_mut(&ServerId(2)).unwrap().role = MemberRole::Observer;
        ensemble.membership = Membership::majority(0, members);
        assert_eq!(places(&config), [""; 0]);
    }

    #[test]
    fn addr_listenall_binds_the_wildcard_once_a_port() {
        let peers = Peers { listen_on_all_ips: true, ..ONCE };
        // Neither name is this host's; both have the same port.
        let elsewhere = [address("192.0.2.1", 0), address("no-such-host.invalid", 0)];
        let listeners = listen(&config(&elsewhere, &[]), &peers).unwrap();
        assert_eq!(listeners.len(), 1);
        assert!(listeners[0].listener.local_addr().unwrap().ip().is_unspecified());
    }

    #[test]
    fn errors_say_which_address_and_what_to_do() {
        let taken = listener::bind("127.0.0.1:0".parse().unwrap(), -1).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen(&config(&[], &[address("127.0.0.1", port)]), &ONCE).unwrap_err();
        let expected = format!(
            "quorum port {port} of server.2 is taken: another server listens on it already\n\
             stop that one (`ss -ltnp 'sport = :{port}'` shows which it is), \
             or give this one other ports in its server.2 line, on all servers"
        );
        assert_eq!(error, expected);
        let error = listen(&config(&[address("192.0.2.1", 3888)], &[]), &ONCE).unwrap_err();
        assert!(
            error.starts_with("cannot listen on 192.0.2.1:3888, the election address of server.2: "),
            "{error}"
        );
        assert!(error.ends_with("set quorumListenOnAllIPs=true"), "{error}");
        let error = listen(&config(&[address("no-such-host.invalid", 3888)], &[]), &ONCE).unwrap_err();
        assert!(error.starts_with("cannot listen on no-such-host.invalid:3888, "), "{error}");
    }

    #[test]
    fn qcm_bind_tries_again_and_not_for_ever() {
        let count = Cell::new(0);
        let fails = || -> io::Result<()> {
            count.set(count.get() + 1);
            Err(io::ErrorKind::AddrInUse.into())
        };
        assert!(retry(Some(2), &|| false, fails).is_err());
        assert_eq!(count.get(), 2);
        // Nobody waits for it any more.
        assert!(retry(None, &|| true, fails).is_err());
        assert_eq!(count.get(), 3);
        let second = || if count.replace(0) == 3 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(5) };
        assert_eq!(retry(Some(2), &|| false, second).unwrap(), 5);
    }
}
