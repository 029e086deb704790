//! A non-blocking socket that carries length-prefixed frames.
//!
//! Frames are handed out as slices of the thread's scratch buffer: bytes are copied once, by the kernel. Only a frame
//! cut in half by a read is kept by the stream. For use with edge-triggered polls: [`FramedStream::receive`] reads
//! until the socket is empty, [`FramedStream::flush`] writes until it is full or nothing is left.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::limits::{FRAME_SIZE_MAX, SCRATCH_SIZE};

/// Why a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed it in order.
    Closed,
    /// The peer announced a frame with a negative or excessive length.
    FrameSize(i32),
    /// The system reported an error.
    Io(ErrorKind),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the peer"),
            Self::FrameSize(size) => write!(f, "frame of {size} bytes announced"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

/// A socket with the half frame it has received and the bytes it could not send yet.
#[derive(Debug)]
pub struct FramedStream {
    socket: TcpStream,
    /// The front of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// To be sent; the first `sent` bytes already are.
    out: Vec<u8>,
    sent: usize,
}

impl FramedStream {
    /// Wraps a socket that is connected, or on its way to be.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, partial: Vec::new(), out: Vec::new(), sent: 0 }
    }

    /// The socket, to register it.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// The buffer to append frames to before [`FramedStream::flush`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that wait for the socket.
    pub fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Reads until the socket is empty and calls `on_frame` with the send buffer and each whole frame's body.
    ///
    /// `to_end` must be set when the poll said that the peer closed its side: then no further edge will come, and the
    /// end has to be read now. Returns the number of bytes received.
    pub fn receive<E: From<Ended>>(
        &mut self,
        scratch: &mut Vec<u8>,
        to_end: bool,
        mut on_frame: impl FnMut(&mut Vec<u8>, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut received = 0;
        loop {
            let kept = self.partial.len();
            let room = self.room_needed()?;
            if scratch.len() < room {
                scratch.resize(room, 0);
            }
            scratch[..kept].copy_from_slice(&self.partial);
            let space = scratch.len() - kept;
            let count = match self.socket.read(&mut scratch[kept..]) {
                Ok(0) => return Err(Ended::Closed.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Ended::Io(error.kind()).into()),
            };
            received += count;
            let mut rest = &scratch[..kept + count];
            while let Some((frame, after)) = split_frame(rest)? {
                on_frame(&mut self.out, frame)?;
                rest = after;
            }
            self.partial.clear();
            self.partial.extend_from_slice(rest);
            if count < space && !to_end {
                return Ok(received);
            }
        }
    }

    /// Writes as much as the socket takes.
    pub fn flush(&mut self) -> Result<(), Ended> {
        while self.sent < self.out.len() {
            match self.socket.write(&self.out[self.sent..]) {
                Ok(0) => return Err(Ended::Io(ErrorKind::WriteZero)),
                Ok(count) => self.sent += count,
                // Not connected: the connection attempt is under way and the poll will tell.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Ended::Io(error.kind())),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// What the scratch buffer must hold to finish the frame under way with room for more.
    fn room_needed(&self) -> Result<usize, Ended> {
        match self.partial.first_chunk() {
            None => Ok(SCRATCH_SIZE),
            Some(size) => Ok(SCRATCH_SIZE.max(4 + frame_size(*size)?)),
        }
    }
}

fn frame_size(bytes: [u8; 4]) -> Result<usize, Ended> {
    let size = i32::from_be_bytes(bytes);
    usize::try_from(size).ok().filter(|size| *size <= FRAME_SIZE_MAX).ok_or(Ended::FrameSize(size))
}

/// A frame's body and what follows it.
type FrameAndRest<'a> = (&'a [u8], &'a [u8]);

/// Cuts the first whole frame from `bytes`, if there is one.
fn split_frame(bytes: &[u8]) -> Result<Option<FrameAndRest<'_>>, Ended> {
    let Some((size, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    Ok(rest.split_at_checked(frame_size(*size)?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Goal: frames come out whole whatever the cuts, one larger than the scratch buffer too.
    /// Method: a peer sends three frames in pieces of a size that never divides them.
    #[test]
    fn frames_survive_any_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sizes = [0usize, 5, SCRATCH_SIZE + 77];
        let peer = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            for size in sizes {
                bytes.extend_from_slice(&(size as i32).to_be_bytes());
                bytes.extend((0..size).map(|i| i as u8));
            }
            for piece in bytes.chunks(40_009) {
                socket.write_all(piece).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut stream = FramedStream::new(TcpStream::connect(address).unwrap());
        let mut scratch = Vec::new();
        let mut seen = Vec::new();
        let end = loop {
            let step = stream.receive::<Ended>(&mut scratch, false, |_, frame| {
                assert!(frame.iter().enumerate().all(|(i, byte)| *byte == i as u8));
                seen.push(frame.len());
                Ok(())
            });
            match step {
                Ok(_) | Err(Ended::Io(ErrorKind::NotConnected)) => thread::sleep(Duration::from_micros(100)),
                Err(end) => break end,
            }
        };
        peer.join().unwrap();
        assert_eq!(end, Ended::Closed);
        assert_eq!(seen, sizes);
    }

    /// Goal: lengths outside the protocol end the stream instead of reserving memory.
    #[test]
    fn bad_lengths_are_refused() {
        for size in [-1, i32::MIN, i32::MAX, FRAME_SIZE_MAX as i32 + 1] {
            assert_eq!(split_frame(&size.to_be_bytes()), Err(Ended::FrameSize(size)));
        }
        assert_eq!(split_frame(&[0, 0, 0]), Ok(None));
        assert_eq!(split_frame(&[0, 0, 0, 1]), Ok(None));
        assert_eq!(split_frame(&[0, 0, 0, 1, 9, 8]), Ok(Some((&[9][..], &[8][..]))));
    }
}
