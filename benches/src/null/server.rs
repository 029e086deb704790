//! The null server's loop: read all that is ready, make the writes durable together, answer.

use std::net::SocketAddr;
use std::{io, mem};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::jute::Malformed;
use crate::limits::UNREAD_SIZE_MAX;
use crate::null::log::Log;
use crate::null::replies::{Asked, Client, Replies};
use crate::stream::{Ended, FramedStream};

const LISTENER: Token = Token(usize::MAX);

/// Why a connection is no more.
enum Gone {
    /// The stream ended.
    Ended,
    /// The client sent what is not of the protocol.
    Malformed,
}

impl From<Ended> for Gone {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

impl From<Malformed> for Gone {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

#[derive(Debug)]
struct Connection {
    stream: FramedStream,
    client: Client,
    /// To be closed once its replies are out.
    closing: bool,
    /// Its replies wait for the turn's sync.
    waits: bool,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    listener: TcpListener,
    /// Places are not used again, so that a late event cannot reach another connection.
    connections: Vec<Option<Connection>>,
    replies: Replies,
    log: Log,
    scratch: Vec<u8>,
}

impl Server {
    /// Listens on `address`.
    pub fn bind(address: SocketAddr, replies: Replies, log: Log) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        // A second listen only sets the backlog: as long as the system allows, since a connection that finds it full is
        // tried again after a second at the earliest.
        rustix::net::listen(&listener, i32::MAX)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, connections: Vec::new(), replies, log, scratch: Vec::new() })
    }

    /// Serves until an error of the poll or of the log. A failed sync ends the server: nothing it answers after that
    /// could be true.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut waiting = Vec::new();
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => {
                        if self.serve(index, event) {
                            waiting.push(index);
                        }
                    }
                }
            }
            self.log.commit()?;
            for index in waiting.drain(..) {
                self.flush(index);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => self.add(socket)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client is gone already; the next one may not be.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn add(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut stream = FramedStream::new(socket);
        let token = Token(self.connections.len());
        self.poll.registry().register(stream.socket(), token, Interest::READABLE | Interest::WRITABLE)?;
        let client = Client::default();
        self.connections.push(Some(Connection { stream, client, closing: false, waits: false }));
        Ok(())
    }

    /// Reads and answers one connection. Returns whether its replies wait for the sync.
    fn serve(&mut self, index: usize, event: &Event) -> bool {
        let Self { connections, replies, log, scratch, .. } = self;
        let Some(connection) = &mut connections[index] else { return false };
        let Connection { stream, client, closing, waits } = connection;
        let waited = mem::replace(waits, false);
        let to_end = event.is_read_closed() || event.is_error();
        let received = stream.receive::<Gone>(scratch, to_end, |out, frame| {
            match replies.answer(client, frame, out, log)? {
                Asked::Close => *closing = true,
                Asked::Read => {}
                Asked::Write => *waits = true,
            }
            Ok(())
        });
        *waits |= waited;
        if received.is_err() || stream.unsent() > UNREAD_SIZE_MAX {
            connections[index] = None;
            return false;
        }
        // Replies to reads need not wait, unless they are behind a write's.
        if connection.waits {
            return !waited;
        }
        self.flush(index);
        false
    }

    fn flush(&mut self, index: usize) {
        let place = &mut self.connections[index];
        let Some(connection) = place else { return };
        connection.waits = false;
        let ended = connection.stream.flush().is_err();
        if ended || (connection.closing && connection.stream.unsent() == 0) {
            *place = None;
        }
    }
}
