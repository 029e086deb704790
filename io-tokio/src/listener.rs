//! Accepting connections: no faster than there is room for them, and without spinning when there is none.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use zabra_core::server::PeerPort;

use crate::driver::{AbortOnPanic, ConnTask, Shared, run_after_next_look};
use crate::limits::ACCEPTED_LINKS_MAX;
use crate::link::LinkTask;
use crate::machine::Machine;

/// Connections that the kernel may hold ready if `clientPortListenBacklog` is not set. Java's default of 50 makes
/// thousands of clients that come at once wait for retransmissions.
const BACKLOG: i32 = 4096;

/// Connections accepted before the others have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long to leave a listener alone that could not accept for want of something, such as file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Binds and listens. `backlog` as in `clientPortListenBacklog`: -1 for the default.
///
/// # Errors
/// Whatever the operating system says, foremost that the port is taken.
pub(crate) fn bind(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    listen(claim(address)?, backlog)
}

/// Binds, and lets nobody in yet: who connects meanwhile is refused at once, and goes to another server instead of waiting
/// for this one.
///
/// # Errors
/// Whatever the operating system says, foremost that somebody listens on the port.
pub(crate) fn claim(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The wildcard serves both protocols, as Java's does.
        socket.set_only_v6(false)?;
    }
    // Otherwise a restart has to wait until the last server's connections are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Listens on an address that was [claimed](claim).
///
/// # Errors
/// Whatever the operating system says: of several who claimed a port only one can listen on it.
pub(crate) fn listen(claimed: Socket, backlog: i32) -> io::Result<std::net::TcpListener> {
    claimed.listen(if backlog > 0 { backlog } else { BACKLOG })?;
    Ok(claimed.into())
}

/// Who comes in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Clients.
    Clients,
    /// Other servers of the ensemble, to one of the three ports.
    Servers(PeerPort),
}

/// The task that accepts connections until the driver wants no more.
pub(crate) struct AcceptTask<M> {
    driver: Shared<M>,
    listener: TcpListener,
    door: Door,
    /// Runs after an error.
    back_off: Option<Pin<Box<Sleep>>>,
    /// Whether the log says already that there is no room.
    complained: bool,
}

impl<M: Machine> AcceptTask<M> {
    /// The task for a listener.
    pub(crate) fn new(driver: Shared<M>, listener: TcpListener, door: Door) -> Self {
        Self { driver, listener, door, back_off: None, complained: false }
    }

    /// Starts the task, and tells the driver how to end it.
    pub(crate) fn spawn(driver: &Shared<M>, listener: TcpListener, door: Door) -> JoinHandle<()> {
        let task = tokio::task::spawn_local(Self::new(Rc::clone(driver), listener, door));
        driver.borrow_mut().add_accept_abort(task.abort_handle());
        task
    }

    /// Whether there is room for one more connection.
    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let room = self.driver.borrow_mut().poll_room(self.door, cx);
        if room.is_pending() && !self.complained {
            self.complained = true;
            match self.door {
                Door::Clients => tracing::warn!(
                    "no file descriptors left for more connections: new ones wait until others close"
                ),
                Door::Servers(port) => tracing::warn!(
                    ?port,
                    "{ACCEPTED_LINKS_MAX} links from other servers are open: new ones wait until others close"
                ),
            }
        }
        room
    }

    /// Hands a connection over to the driver, and gives it a task.
    fn enter(&self, socket: TcpStream, from: SocketAddr) {
        let _guard = AbortOnPanic;
        match self.door {
            Door::Clients => {
                let conn = self.driver.borrow_mut().accept(socket, from);
                tokio::task::spawn_local(ConnTask::new(Rc::clone(&self.driver), conn));
            }
            Door::Servers(port) => {
                let link = self.driver.borrow_mut().accept_link(socket, from, port);
                tokio::task::spawn_local(LinkTask::new(Rc::clone(&self.driver), link));
            }
        }
    }

    fn on_error(&mut self, error: &io::Error) {
        // These concern one connection, which is gone; the next may be fine.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        if !self.complained {
            self.complained = true;
            tracing::warn!(%error, "cannot accept connections; trying on");
        }
        self.back_off = Some(Box::pin(tokio::time::sleep(BACK_OFF)));
    }
}

impl<M: Machine> Future for AcceptTask<M> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ACCEPTS_PER_TURN {
            if let Some(back_off) = &mut this.back_off {
                if back_off.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.back_off = None;
            }
            if this.poll_room(cx).is_pending() {
                return Poll::Pending;
            }
            match this.listener.poll_accept(cx) {
                Poll::Pending => {
                    this.complained = false;
                    return Poll::Pending;
                }
                Poll::Ready(Ok((socket, from))) => {
                    this.enter(socket, from);
                }
                Poll::Ready(Err(error)) => this.on_error(&error),
            }
        }
        run_after_next_look(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: who comes while the server is busy need not come again. Method: nobody accepts; a connection that the
    /// kernel does not hold ready is not made.
    #[test]
    fn many_clients_may_wait_to_be_accepted() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux has it");
        let count = allowed.trim().parse::<usize>().expect("a number").min(1000);
        assert!(count > 50, "Java's default is no less than what is allowed here");
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), -1).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(20));
        let waiting: Vec<_> = (0..count).map(|_| connect().expect("the kernel holds it ready")).collect();
        assert_eq!(waiting.len(), count);
    }

    #[test]
    fn nobody_gets_in_before_a_claimed_port_is_listened_on() {
        let claimed = claim(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = claimed.local_addr().expect("it is bound").as_socket().expect("of the internet");
        let early = std::net::TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(early.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = listen(claimed, -1).expect("it is ours");
        std::net::TcpStream::connect(address).expect("the kernel holds it ready");
    }

    #[test]
    fn one_of_two_who_claimed_a_port_listens_on_it() {
        let first = claim(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = first.local_addr().expect("it is bound").as_socket().expect("of the internet");
        let second = claim(address).expect("nobody listens yet");
        let _listener = listen(first, -1).expect("it is ours");
        let taken = listen(second, -1).expect_err("there is a listener");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(claim(address).expect_err("there is a listener").kind(), io::ErrorKind::AddrInUse);
    }
}
