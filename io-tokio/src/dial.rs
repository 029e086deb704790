//! Connecting to another server: names are resolved anew each time, and all addresses race.
//!
//! Addresses of servers change under their names, foremost where containers are moved, so nothing is remembered from
//! one attempt to the next. An address that answers nothing must not use up the time of those behind it: each has a
//! small start over the next, and goes on beside it (RFC 8305). ZooKeeper connects to all at once; most often the first
//! one is there, and the others need not be asked.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use zabra_core::server::PeerPort;
use zabra_core::types::{Address, DialId, ServerId};

use crate::limits::RESOLVED_MAX;

/// How long an address is alone, unless it fails earlier, before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// One of the ways to connect.
type Attempt<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + 'a>>;

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

/// Why no address could be connected to; it tells of the last one that was given up.
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
        let attempt = |address| -> Attempt<'_> {
            Box::pin(async move {
                let silent = |_| DialError::Silent(Address::clone(address));
                timeout_at(deadline, try_address(address, lookups)).await.map_err(silent)?
            })
        };
        race(self.addresses.iter().map(attempt).collect()).await
    }
}

/// Makes one attempt beside the other until the first succeeds; the rest are called off.
async fn race(attempts: Vec<Attempt<'_>>) -> Result<TcpStream, DialError> {
    let mut waiting = attempts.into_iter();
    let mut running = Vec::new();
    let mut failure = DialError::NoAddress;
    loop {
        match waiting.next() {
            Some(next) => running.push(next),
            None if running.is_empty() => return Err(failure),
            None => {}
        }
        let ended = match waiting.len() {
            0 => first_end(&mut running).await,
            _ => match timeout(HEAD_START, first_end(&mut running)).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Ok(socket) => return Ok(socket),
            Err(why) => failure = why,
        }
    }
}

/// What comes of the attempt that ends first, which is removed.
async fn first_end(running: &mut Vec<Attempt<'_>>) -> Result<TcpStream, DialError> {
    poll_fn(|cx| {
        for index in 0..running.len() {
            if let Poll::Ready(result) = running[index].as_mut().poll(cx) {
                drop(running.remove(index));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

async fn try_address(address: &Address, lookups: &Arc<Semaphore>) -> Result<TcpStream, DialError> {
    let found =
        resolve(address, lookups).await.map_err(|error| DialError::Unresolved(address.clone(), error))?;
    let attempt = |to| -> Attempt<'_> {
        Box::pin(async move { connect(to).await.map_err(|error| DialError::Refused(to, error)) })
    };
    race(found.into_iter().map(attempt).collect()).await
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

    /// A listener whose queue is full takes no more connections, and the kernel says nothing about it. Attempts to connect
    /// to it go on for longer than anybody would wait for this test.
    #[test]
    fn a_silent_address_does_not_keep_the_next_waiting() {
        run(async {
            let silent = crate::listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            let at = silent.local_addr().unwrap();
            let mut filling = Vec::new();
            while let Ok(socket) = timeout(Duration::from_millis(200), TcpStream::connect(at)).await {
                filling.push(socket.unwrap());
                assert!(filling.len() < 100, "the queue never fills");
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let lookups = Arc::new(Semaphore::new(1));
            let day = Duration::from_secs(86_400);
            let dial = dial(&[("127.0.0.1", at.port()), ("127.0.0.1", port)], day);
            let connected = tokio::select! {
                connected = dial.connect(&lookups) => connected,
                ended = connect(at) => panic!("the first was not silent: {ended:?}"),
            };
            assert_eq!(connected.unwrap().peer_addr().unwrap().port(), port);
        });
    }

    #[test]
    fn the_first_success_of_a_race_calls_off_the_rest() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let called_off = Arc::new(());
            let never = |held: Arc<()>| -> Attempt<'static> {
                Box::pin(async move {
                    let _held = held;
                    std::future::pending().await
                })
            };
            let refused: Attempt<'_> = Box::pin(async { Err(DialError::NoAddress) });
            let taken: Attempt<'_> = Box::pin(async move { Ok(connect(at).await.unwrap()) });
            let attempts =
                vec![never(Arc::clone(&called_off)), refused, taken, never(Arc::clone(&called_off))];
            assert_eq!(race(attempts).await.unwrap().peer_addr().unwrap(), at);
            assert_eq!(Arc::strong_count(&called_off), 1);
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
