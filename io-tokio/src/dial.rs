//! Connecting to another server: names are resolved anew each time, and every address gets its share of the time.
//!
//! Addresses of servers change under their names, foremost where containers are moved, so nothing is remembered from
//! one attempt to the next. An address that answers nothing must not use up the time of those behind it: of the time
//! that is left, each gets an equal part.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use zabra_core::server::PeerPort;
use zabra_core::types::{Address, DialId, ServerId};

use crate::limits::RESOLVED_MAX;

/// An attempt to connect, as the core asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    /// Names the attempt.
    pub(crate) dial: DialId,
    /// To which port.
    pub(crate) port: PeerPort,
    /// Which server, for the log.
    pub(crate) server: ServerId,
    /// Where it may be found.
    pub(crate) addresses: Vec<Address>,
    /// For all addresses together.
    pub(crate) timeout: Duration,
}

/// Why no address could be connected to; it tells of the last one tried.
#[derive(Debug)]
pub(crate) enum DialError {
    /// There was none to try.
    NoAddress,
    /// The name has no address.
    Unresolved(Address, io::Error),
    /// Whoever is there does not take connections.
    Refused(SocketAddr, io::Error),
    /// Nothing answered in time.
    Silent(Address),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("its entry has no address"),
            Self::Unresolved(address, error) => write!(f, "{}: {error}", address.host),
            Self::Refused(address, error) => write!(f, "{address}: {error}"),
            Self::Silent(address) => write!(f, "{}:{} does not answer", address.host, address.port),
        }
    }
}

impl Dial {
    /// Connects to the first address that takes the connection. `lookups` has a permit for every name that may be
    /// looked up at a time: a lookup cannot be called off, so one that hangs goes on when its attempt is over.
    ///
    /// # Errors
    /// Why the last address could not be connected to.
    pub(crate) async fn connect(&self, lookups: &Arc<Semaphore>) -> Result<TcpStream, DialError> {
        let deadline = Instant::now() + self.timeout;
        let mut failure = DialError::NoAddress;
        for (index, address) in self.addresses.iter().enumerate() {
            let share = share(deadline, self.addresses.len() - index);
            failure = match timeout_at(share, try_address(address, share, lookups)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(failure)) => failure,
                Err(_) => DialError::Silent(address.clone()),
            };
        }
        Err(failure)
    }
}

/// The end of one part of the time until `deadline`, if it is cut into so many.
fn share(deadline: Instant, parts: usize) -> Instant {
    let now = Instant::now();
    let parts = u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / parts
}

async fn try_address(
    address: &Address,
    deadline: Instant,
    lookups: &Arc<Semaphore>,
) -> Result<TcpStream, DialError> {
    let found =
        resolve(address, lookups).await.map_err(|error| DialError::Unresolved(address.clone(), error))?;
    let mut failure = DialError::Silent(address.clone());
    for (index, &to) in found.iter().enumerate() {
        match timeout_at(share(deadline, found.len() - index), connect(to)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failure = DialError::Refused(to, error),
            Err(_) => {}
        }
    }
    Err(failure)
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(to).await?;
    // On one host, the kernel may take the very port that is connected to for the near end, and connects the socket
    // to itself. Nobody listens there then, and nobody could until it is closed.
    if socket.local_addr()? == to {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

async fn resolve(address: &Address, lookups: &Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let permit = Arc::clone(lookups).acquire_owned().await.map_err(io::Error::other)?;
    let target = (address.host.clone(), address.port);
    let lookup = tokio::task::spawn_local(async move {
        let found = tokio::net::lookup_host(target).await;
        drop(permit);
        found.map(|addresses| addresses.take(RESOLVED_MAX).collect::<Vec<_>>())
    });
    let found = lookup.await.map_err(io::Error::other)??;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(work)
    }

    fn dial(addresses: &[(&str, u16)], timeout: Duration) -> Dial {
        let address = |&(host, port): &(&str, u16)| Address { host: host.into(), port };
        Dial {
            dial: DialId(1),
            port: PeerPort::Election,
            server: ServerId(2),
            addresses: addresses.iter().map(address).collect(),
            timeout,
        }
    }

    /// A port on which nobody listens.
    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn the_first_address_that_answers_is_taken() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let lookups = Arc::new(Semaphore::new(1));
            let dial =
                dial(&[("no-such-host.invalid", 1), ("127.0.0.1", free_port()), ("localhost", port)], LONG);
            let socket = dial.connect(&lookups).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap().port(), port);
            assert_eq!(lookups.available_permits(), 1, "every lookup is over");
        });
    }

    #[test]
    fn the_last_failure_is_told() {
        run(async {
            let lookups = Arc::new(Semaphore::new(1));
            let port = free_port();
            let error = dial(&[("127.0.0.1", port)], LONG).connect(&lookups).await.unwrap_err();
            assert!(error.to_string().starts_with(&format!("127.0.0.1:{port}: ")), "{error}");
            let error = dial(&[("no-such-host.invalid", 1)], LONG).connect(&lookups).await.unwrap_err();
            assert!(error.to_string().starts_with("no-such-host.invalid: "), "{error}");
            let error = dial(&[], LONG).connect(&lookups).await.unwrap_err();
            assert_eq!(error.to_string(), "its entry has no address");
        });
    }

    /// A listener whose queue is full takes no more connections, and the kernel says nothing about it.
    #[test]
    fn a_silent_address_leaves_time_for_the_next() {
        run(async {
            let silent = crate::listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            let at = silent.local_addr().unwrap();
            let mut filling = Vec::new();
            while let Ok(socket) =
                tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at)).await
            {
                filling.push(socket.unwrap());
                assert!(filling.len() < 100, "the queue never fills");
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let lookups = Arc::new(Semaphore::new(1));
            let patience = Duration::from_millis(600);
            let begin = Instant::now();
            let dial = dial(&[("127.0.0.1", at.port()), ("127.0.0.1", port)], patience);
            let socket = dial.connect(&lookups).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap().port(), port);
            assert!(begin.elapsed() >= patience / 2, "the first had its share");
        });
    }

    /// PARITY `addr.resolve`: what an attempt found out is forgotten, so that the next one finds a server that was moved.
    #[test]
    fn addr_resolve_every_attempt_looks_the_name_up() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut dial = dial(&[("localhost", port)], LONG);
            dial.connect(&Arc::new(Semaphore::new(1))).await.unwrap();
            dial.timeout = Duration::from_millis(50);
            let error = dial.connect(&Arc::new(Semaphore::new(0))).await.unwrap_err();
            assert_eq!(error.to_string(), format!("localhost:{port} does not answer"));
        });
    }

    #[test]
    fn a_dial_ends_in_time_though_no_lookup_is_free() {
        run(async {
            let lookups = Arc::new(Semaphore::new(0));
            let dial = dial(&[("localhost", 1)], Duration::from_millis(50));
            let error = dial.connect(&lookups).await.unwrap_err();
            assert_eq!(error.to_string(), "localhost:1 does not answer");
        });
    }
}
