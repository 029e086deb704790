//! A TCP connection as the driver uses it, whoever is at its other end: the socket, what is still to be sent on it,
//! and which task waits for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// At most this many buffers go into one write; the next turn takes the rest.
const BUFFERS_PER_WRITE: usize = 32;

/// Outbox room that a connection keeps when it has nothing to send.
const OUTBOX_KEPT: usize = 4;

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    /// What the operating system has not taken yet, in order. Bounded by the core, which is told of every byte that
    /// was taken.
    outbox: VecDeque<Bytes>,
    /// The bytes in `outbox`.
    unsent: usize,
    /// The task that waits for this socket, once it has run.
    waker: Option<Waker>,
    /// In the driver's list of connections that have something to send.
    pub(crate) dirty: bool,
    /// The socket took less than was offered; its task waits until it takes more.
    pub(crate) blocked: bool,
    /// The core asked not to read.
    pub(crate) paused: bool,
    /// Nothing more will come: end of file or an error was read.
    pub(crate) ended: bool,
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Bytes that the operating system took.
    pub(crate) bytes: usize,
    /// Whether the connection turned out to be broken.
    pub(crate) broken: bool,
}

impl Stream {
    /// A fresh connection. `TCP_NODELAY` is set, as ZooKeeper does.
    pub(crate) fn new(socket: TcpStream, keep_alive: bool) -> Self {
        // Neither failure matters: it means the other end is gone already, and reading will tell.
        let _ = socket.set_nodelay(true);
        if keep_alive {
            let _ = SockRef::from(&socket).set_keepalive(true);
        }
        Self {
            socket,
            outbox: VecDeque::new(),
            unsent: 0,
            waker: None,
            dirty: false,
            blocked: false,
            paused: false,
            ended: false,
        }
    }

    /// Notes that there is something to send. Whether its owner is to put it on the list of those that have: not if it
    /// is there already, nor if the socket takes nothing.
    pub(crate) fn mark_dirty(&mut self) -> bool {
        !self.blocked && !mem::replace(&mut self.dirty, true)
    }

    /// Whether there is nothing left to send.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Bytes that are left to send.
    pub(crate) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// Who is at the other end, for the log. A socket for both protocols has IPv6 addresses for IPv4 peers.
    pub(crate) fn peer(&self) -> String {
        let shown =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port()).to_string();
        self.socket.peer_addr().map_or_else(|_| "gone".into(), shown)
    }

    /// Remembers which task to wake.
    pub(crate) fn remember(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Has the connection's task run again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Reads once, at most `limit` bytes, into the room that `inbox` has.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        // Unlike `try_read`, this knows that a read which did not fill its room emptied the socket, and saves the
        // second one that would only say so.
        pin!(self.socket.read_buf(&mut inbox.limit(limit))).poll(cx)
    }

    /// Waits until the socket takes bytes again.
    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// Adds bytes to what is to be sent.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unsent += bytes.len();
            self.outbox.push_back(bytes);
        }
    }

    /// Offers the outbox to the operating system with one system call.
    pub(crate) fn flush(&mut self) -> Flushed {
        let written = match self.outbox.len() {
            0 => return Flushed { bytes: 0, broken: false },
            1 => self.socket.try_write(&self.outbox[0]),
            _ => {
                let mut slices = [IoSlice::new(&[]); BUFFERS_PER_WRITE];
                let mut count = 0;
                for (slice, bytes) in slices.iter_mut().zip(&self.outbox) {
                    *slice = IoSlice::new(bytes);
                    count += 1;
                }
                self.socket.try_write_vectored(&slices[..count])
            }
        };
        match written {
            Ok(bytes) => {
                self.advance(bytes);
                self.blocked = !self.outbox.is_empty();
                Flushed { bytes, broken: false }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Flushed { bytes: 0, broken: false }
            }
            Err(_) => Flushed { bytes: 0, broken: true },
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        self.unsent -= bytes;
        while let Some(first) = self.outbox.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.outbox.pop_front();
        }
        if self.outbox.capacity() > OUTBOX_KEPT {
            self.outbox.shrink_to(OUTBOX_KEPT);
        }
    }

    /// Shuts our half of the connection.
    pub(crate) fn shut_write(&self) {
        // It fails if the other end was faster, and then there is nothing left to do.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Write);
    }

    /// Has the operating system reset the connection when it is dropped.
    pub(crate) fn reset_on_drop(&self) {
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    use super::*;

    /// PARITY `addr.keepalive`.
    #[test]
    fn addr_keepalive_is_asked_of_the_system_only_if_it_is_set() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            for keep_alive in [false, true] {
                let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let stream = Stream::new(socket, keep_alive);
                assert_eq!(SockRef::from(&stream.socket).keepalive().unwrap(), keep_alive);
                assert!(stream.socket.nodelay().unwrap());
            }
        });
    }
}
