//! A client session over one connection: handshake, pings, and what arrives.
//!
//! A session here is never moved to another connection: a lost connection is something to report, not to repair.

use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::clock::{Nanos, nanos};
use crate::jute::{Malformed, PASSWORD_SIZE, Reader, opcode, put_buffer, put_frame, put_i32, put_i64, xid};
use crate::stream::{Ended, FramedStream};

/// Xid of the request that closes a session; no load counts that far down.
const XID_CLOSE: i32 = i32::MIN;

/// Why a session is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing is wrong: it was closed as asked.
    AsAsked,
    /// The connection ended.
    Ended(Ended),
    /// The server sent bytes that are not of the protocol.
    Malformed,
    /// The server answered the handshake with session 0.
    Refused,
    /// Nothing was heard for a whole session timeout, pings included.
    Silent,
    /// A reply's zxid was below that of an earlier reply on the same connection.
    ZxidWentBack,
}

impl From<Ended> for Lost {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Malformed> for Lost {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AsAsked => f.write_str("closed as asked"),
            Self::Ended(ended) => ended.fmt(f),
            Self::Malformed => f.write_str("malformed frame"),
            Self::Refused => f.write_str("session refused"),
            Self::Silent => f.write_str("silent for a whole session timeout"),
            Self::ZxidWentBack => f.write_str("zxid went back"),
        }
    }
}

/// What a frame from the server turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Arrival {
    /// The session was closed as asked.
    Closed,
    /// The handshake is done.
    Established,
    /// A watch fired.
    Event,
    /// A request was answered.
    Reply {
        /// The request's xid.
        xid: i32,
        /// The result code.
        error: i32,
    },
}

/// One session and its connection.
#[derive(Debug)]
pub struct Session {
    stream: FramedStream,
    established: bool,
    /// As the server granted it.
    timeout: Duration,
    /// When bytes last left; decides about pings.
    sent_last: Nanos,
    /// When bytes last came.
    heard_last: Nanos,
    /// Highest zxid seen: within a session it never goes back.
    zxid: i64,
}

impl Session {
    /// Starts to connect, registers with the poll, and leaves the handshake to be sent.
    pub fn open(
        address: SocketAddr,
        timeout: Duration,
        registry: &Registry,
        token: Token,
        now: Nanos,
    ) -> Result<Self, Lost> {
        let socket = TcpStream::connect(address).map_err(|error| Ended::Io(error.kind()))?;
        let mut stream = FramedStream::new(socket);
        registry
            .register(stream.socket(), token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| Ended::Io(error.kind()))?;
        put_handshake(stream.out(), timeout);
        Ok(Self { stream, established: false, timeout, sent_last: now, heard_last: now, zxid: 0 })
    }

    /// Whether the handshake is done.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The send buffer, to append requests to.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.stream.out()
    }

    /// Bytes that wait for the socket.
    pub fn unsent(&self) -> usize {
        self.stream.unsent()
    }

    /// Reads what has come and calls `on_arrival` for everything but pings. Returns the number of bytes received.
    pub fn receive(
        &mut self,
        event: &Event,
        scratch: &mut Vec<u8>,
        now: Nanos,
        mut on_arrival: impl FnMut(Arrival) -> Result<(), Lost>,
    ) -> Result<usize, Lost> {
        let Self { stream, established, timeout, zxid, .. } = self;
        let was_established = *established;
        let to_end = event.is_read_closed() || event.is_error();
        let received = stream.receive::<Lost>(scratch, to_end, |_, frame| {
            if !*established {
                *timeout = read_handshake(frame)?;
                *established = true;
                return on_arrival(Arrival::Established);
            }
            match read_arrival(frame, zxid)? {
                None => Ok(()),
                Some(arrival) => on_arrival(arrival),
            }
        });
        match received {
            // Before the connection stands, reading says so; the handshake waits for the writable event.
            Err(Lost::Ended(Ended::Io(std::io::ErrorKind::NotConnected))) if !to_end => Ok(0),
            Err(lost) => Err(lost),
            Ok(received) => {
                if received > 0 {
                    self.heard_last = now;
                }
                if self.established && !was_established {
                    self.stream.socket().set_nodelay(true).map_err(|error| Ended::Io(error.kind()))?;
                }
                Ok(received)
            }
        }
    }

    /// Sends what is waiting.
    pub fn flush(&mut self, now: Nanos) -> Result<(), Lost> {
        if self.stream.unsent() > 0 {
            self.sent_last = now;
            self.stream.flush()?;
        }
        Ok(())
    }

    /// Keeps the session alive: pings when nothing was sent for a third of the timeout, gives up when nothing was heard
    /// for all of it. To be called about once a second.
    pub fn tick(&mut self, now: Nanos) -> Result<(), Lost> {
        if !self.established {
            return Ok(());
        }
        if now.saturating_sub(self.heard_last) > nanos(self.timeout) {
            return Err(Lost::Silent);
        }
        if now.saturating_sub(self.sent_last) > nanos(self.timeout) / 3 {
            put_frame(self.stream.out(), |body| {
                put_i32(body, xid::PING);
                put_i32(body, opcode::PING);
            });
            self.flush(now)?;
        }
        Ok(())
    }

    /// Asks the server to end the session, with all its ephemerals and watches.
    pub fn close(&mut self, now: Nanos) -> Result<(), Lost> {
        put_frame(self.stream.out(), |body| {
            put_i32(body, XID_CLOSE);
            put_i32(body, opcode::CLOSE_SESSION);
        });
        self.flush(now)
    }
}

/// Appends the handshake of a new session.
pub fn put_handshake(out: &mut Vec<u8>, timeout: Duration) {
    put_frame(out, |body| {
        put_i32(body, 0); // protocol version
        put_i64(body, 0); // last zxid seen
        put_i32(body, i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        put_i64(body, 0); // session
        put_buffer(body, &[0; PASSWORD_SIZE]);
        body.push(0); // not read-only
    });
}

/// The timeout the server granted.
pub fn read_handshake(frame: &[u8]) -> Result<Duration, Lost> {
    let mut reader = Reader::new(frame);
    reader.i32()?;
    let timeout_ms = reader.i32()?;
    let session = reader.i64()?;
    let password = reader.buffer()?;
    if session == 0 {
        return Err(Lost::Refused);
    }
    if password.len() != PASSWORD_SIZE {
        return Err(Lost::Malformed);
    }
    Ok(Duration::from_millis(timeout_ms.max(1).unsigned_abs().into()))
}

/// Reads a reply header; the answer to a ping is nothing worth telling.
fn read_arrival(frame: &[u8], zxid_highest: &mut i64) -> Result<Option<Arrival>, Lost> {
    let mut reader = Reader::new(frame);
    let xid = reader.i32()?;
    let zxid = reader.i64()?;
    let error = reader.i32()?;
    match xid {
        xid::EVENT => return Ok(Some(Arrival::Event)),
        xid::PING => return Ok(None),
        XID_CLOSE => return Ok(Some(Arrival::Closed)),
        _ => {}
    }
    // Failed requests may carry a zxid of their own making (0 or -1), which promises nothing.
    if error == 0 {
        if zxid < *zxid_highest {
            return Err(Lost::ZxidWentBack);
        }
        *zxid_highest = zxid;
    }
    Ok(Some(Arrival::Reply { xid, error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(xid: i32, zxid: i64, error: i32) -> Vec<u8> {
        let mut out = Vec::new();
        put_i32(&mut out, xid);
        put_i64(&mut out, zxid);
        put_i32(&mut out, error);
        out
    }

    /// Goal: replies, events and pings are told apart, and a zxid that goes back is caught, except on errors.
    #[test]
    fn arrivals() {
        let mut zxid = 5;
        assert!(matches!(
            read_arrival(&reply(1, 5, 0), &mut zxid),
            Ok(Some(Arrival::Reply { xid: 1, error: 0 }))
        ));
        assert!(matches!(read_arrival(&reply(-1, -1, 0), &mut zxid), Ok(Some(Arrival::Event))));
        assert!(matches!(read_arrival(&reply(-2, 9, 0), &mut zxid), Ok(None)));
        assert!(matches!(
            read_arrival(&reply(2, 0, -101), &mut zxid),
            Ok(Some(Arrival::Reply { xid: 2, error: -101 }))
        ));
        assert!(matches!(read_arrival(&reply(3, 4, 0), &mut zxid), Err(Lost::ZxidWentBack)));
        assert!(matches!(read_arrival(&[0; 15], &mut zxid), Err(Lost::Malformed)));
    }

    /// Goal: session 0 is a refusal, and a short answer is malformed.
    #[test]
    fn handshakes() {
        let answer = |session: i64| {
            let mut out = Vec::new();
            put_i32(&mut out, 0);
            put_i32(&mut out, 4_000);
            put_i64(&mut out, session);
            put_buffer(&mut out, &[0; PASSWORD_SIZE]);
            out
        };
        assert_eq!(read_handshake(&answer(3)), Ok(Duration::from_secs(4)));
        assert_eq!(read_handshake(&answer(0)), Err(Lost::Refused));
        assert_eq!(read_handshake(&answer(3)[..20]), Err(Lost::Malformed));
    }
}
