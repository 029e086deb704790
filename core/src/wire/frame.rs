//! Cuts what a socket gave into length-prefixed frames.
//!
//! A frame that lies whole inside one piece of input is a slice of it, not a copy. Only a frame that is
//! spread over several pieces is put together in memory of its own, which grows with what has arrived (never
//! with the length that was announced) and is given away with the frame. A connection with nothing
//! half-received owns no memory. What comes while the caller has stopped is gathered in one piece.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::{Buf, Bytes};

/// Bytes of the length in front of every frame.
pub const PREFIX_LEN: usize = 4;

/// Why a stream has no further frames: its connection is to be closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The announced length is negative.
    NegativeLength,
    /// The announced length is beyond the limit.
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NegativeLength => "a frame announces a negative length",
            Self::TooLong => "a frame is longer than jute.maxbuffer",
        })
    }
}

impl core::error::Error for FrameError {}

/// Frames out of one connection's bytes. The caller may stop between any two frames and go on later.
#[derive(Debug)]
pub struct Deframer {
    /// The beginning of one frame, prefix included, never the whole of it. Nothing when at a frame's
    /// boundary.
    partial: Vec<u8>,
    /// What came after `partial` and was not looked at yet.
    input: Bytes,
    /// What came after `input`, while the caller had stopped; nothing while `input` is empty. Copied, because
    /// each piece may be a small slice of a large buffer that should not live for as long as this waits.
    later: Vec<u8>,
    frame_max: usize,
}

impl Deframer {
    /// A deframer that refuses frames of more than `frame_max` bytes.
    pub const fn new(frame_max: usize) -> Self {
        Self { partial: Vec::new(), input: Bytes::new(), later: Vec::new(), frame_max }
    }

    /// Takes bytes as the socket gave them.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.later.extend_from_slice(&bytes);
        }
    }

    /// How many bytes are held.
    pub const fn buffered(&self) -> usize {
        self.partial.len() + self.input.len() + self.later.len()
    }

    /// The next `N` bytes without taking them, if that many have come. Before the first frame this tells a
    /// four-letter word from a length (PARITY `wire.frame.4lw`).
    pub fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut found = [0; N];
        let mut bytes = self.partial.iter().chain(&self.input).chain(&self.later);
        for slot in &mut found {
            *slot = *bytes.next()?;
        }
        Some(found)
    }

    /// The next frame without its prefix, or `None` until more has come.
    ///
    /// # Errors
    /// If the announced length cannot be (PARITY `wire.frame.max`). Every further call says so again.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let (true, Some(prefix)) = (self.partial.is_empty(), self.input.first_chunk::<PREFIX_LEN>()) {
            let length = check(*prefix, self.frame_max)?;
            if self.input.len() - PREFIX_LEN > length {
                self.input.advance(PREFIX_LEN);
                return Ok(Some(self.input.split_to(length)));
            }
            if self.input.len() - PREFIX_LEN == length {
                // The last frame of an input takes the input along: no reference is counted for it.
                let mut frame = mem::take(&mut self.input);
                frame.advance(PREFIX_LEN);
                self.next_input();
                return Ok(Some(frame));
            }
        }
        self.assemble()
    }

    /// Puts together a frame that is spread over several inputs.
    fn assemble(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let prefix = self.partial.first_chunk::<PREFIX_LEN>();
            let wanted = match prefix {
                Some(prefix) => PREFIX_LEN + check(*prefix, self.frame_max)?,
                None => PREFIX_LEN,
            };
            if prefix.is_some() && self.partial.len() == wanted {
                let mut frame = Bytes::from(mem::take(&mut self.partial));
                frame.advance(PREFIX_LEN);
                return Ok(Some(frame));
            }
            if self.input.is_empty() {
                return Ok(None);
            }
            let count = (wanted - self.partial.len()).min(self.input.len());
            self.partial.extend_from_slice(&self.input[..count]);
            self.input.advance(count);
            if self.input.is_empty() {
                self.next_input();
            }
        }
    }

    /// Goes on with what came later. Dropping the emptied input releases what it was a slice of.
    fn next_input(&mut self) {
        self.input = Bytes::from(mem::take(&mut self.later));
    }
}

#[inline]
fn check(prefix: [u8; PREFIX_LEN], frame_max: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(i32::from_be_bytes(prefix)).map_err(|_| FrameError::NegativeLength)?;
    if length > frame_max { Err(FrameError::TooLong) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn framed(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short");
        [&length.to_be_bytes()[..], content].concat()
    }

    /// Everything that comes out when these pieces go in one after the other.
    fn frames(pieces: &[&[u8]], frame_max: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut deframer = Deframer::new(frame_max);
        let mut found = vec![];
        for piece in pieces {
            deframer.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = deframer.next_frame()? {
                found.push(frame.to_vec());
            }
        }
        Ok(found)
    }

    /// PARITY `wire.frame`: the length does not count itself, and a frame may be empty.
    #[test]
    fn wire_frame() {
        let stream = [framed(b"abc"), framed(b""), framed(b"d")].concat();
        let expected = vec![b"abc".to_vec(), vec![], b"d".to_vec()];
        assert_eq!(frames(&[&stream], 3), Ok(expected.clone()));
        for cut in 0..stream.len() {
            assert_eq!(frames(&[&stream[..cut], &stream[cut..]], 3), Ok(expected.clone()));
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&bytes, 3), Ok(expected));
    }

    /// PARITY `wire.frame.max`: the limit itself is allowed; one more and anything negative is not, however
    /// it arrives.
    #[test]
    fn wire_frame_max() {
        assert_eq!(frames(&[&framed(b"abcd")], 4), Ok(vec![b"abcd".to_vec()]));
        assert_eq!(frames(&[&framed(b"abcde")], 4), Err(FrameError::TooLong));
        assert_eq!(frames(&[&[0xff, 0xff, 0xff, 0xff]], 4), Err(FrameError::NegativeLength));
        assert_eq!(frames(&[&[0x80], &[0, 0, 0]], 4), Err(FrameError::NegativeLength));
        assert_eq!(frames(&[&[0, 0], &[0, 5]], 4), Err(FrameError::TooLong));
        let mut deframer = Deframer::new(4);
        deframer.push(Bytes::from_static(&[0, 0, 0, 5, 0]));
        assert_eq!(deframer.next_frame(), Err(FrameError::TooLong));
        assert_eq!(deframer.next_frame(), Err(FrameError::TooLong));
    }

    /// A whole frame is not copied; at a frame's boundary nothing is owned; an announced length costs
    /// nothing.
    #[test]
    fn memory() {
        let stream = Bytes::from([framed(b"abc"), framed(b"def")].concat());
        let range = stream.as_ptr_range();
        let mut deframer = Deframer::new(1 << 20);
        deframer.push(stream.clone());
        for _ in 0..2 {
            let frame = deframer.next_frame().expect("fine").expect("whole");
            assert!(range.contains(&frame.as_ptr()));
        }
        assert_eq!(deframer.buffered(), 0);
        assert!(stream.is_unique(), "the deframer holds on to an input that it has used up");

        deframer.push(Bytes::from_static(&[0, 0xf, 0, 0, 1]));
        assert_eq!(deframer.next_frame(), Ok(None));
        assert!(deframer.partial.capacity() < 64);
        deframer.push(Bytes::from(vec![7; 0xf_0000 - 1]));
        assert_eq!(deframer.next_frame().expect("fine").expect("whole").len(), 0xf_0000);
        assert_eq!(deframer.partial.capacity(), 0);
        assert_eq!(deframer.later.capacity(), 0);
    }

    /// Method: stop between frames while more comes in, then go on; order and content must not change.
    #[test]
    fn stop_and_go_on() {
        let mut deframer = Deframer::new(16);
        let stream = [framed(b"one"), framed(b"two"), framed(b"three")].concat();
        deframer.push(Bytes::copy_from_slice(&stream[..8]));
        assert_eq!(deframer.next_frame(), Ok(Some(Bytes::from_static(b"one"))));
        deframer.push(Bytes::copy_from_slice(&stream[8..10]));
        deframer.push(Bytes::new());
        deframer.push(Bytes::copy_from_slice(&stream[10..]));
        assert_eq!(deframer.buffered(), stream.len() - 7);
        assert_eq!(deframer.next_frame(), Ok(Some(Bytes::from_static(b"two"))));
        assert_eq!(deframer.next_frame(), Ok(Some(Bytes::from_static(b"three"))));
        assert_eq!(deframer.next_frame(), Ok(None));
        assert_eq!(deframer.later.capacity(), 0);
    }

    /// While the caller has stopped, further inputs are let go of at once.
    #[test]
    fn waiting_input_is_copied() {
        let mut deframer = Deframer::new(16);
        deframer.push(Bytes::from(framed(b"first")));
        let inbox = Bytes::from(vec![0; 1000]);
        for end in (4..=400).step_by(4) {
            deframer.push(inbox.slice(end - 4..end));
        }
        assert!(inbox.is_unique(), "the deframer holds on to an input that it copied");
        assert_eq!(deframer.buffered(), 9 + 400);
        assert_eq!(deframer.next_frame(), Ok(Some(Bytes::from_static(b"first"))));
        for _ in 0..100 {
            assert_eq!(deframer.next_frame(), Ok(Some(Bytes::new())));
        }
        assert_eq!((deframer.next_frame(), deframer.buffered()), (Ok(None), 0));
    }

    /// PARITY `wire.frame.4lw`: the first bytes can be seen however they came, and stay.
    #[test]
    fn wire_frame_4lw() {
        let mut deframer = Deframer::new(16);
        deframer.push(Bytes::from_static(b"st"));
        assert_eq!(deframer.peek::<4>(), None);
        assert_eq!(deframer.next_frame(), Ok(None));
        deframer.push(Bytes::from_static(b"m"));
        deframer.push(Bytes::from_static(b"k12345678"));
        assert_eq!(deframer.peek::<4>(), Some(*b"stmk"));
        assert_eq!(deframer.peek::<12>(), Some(*b"stmk12345678"));
        assert_eq!(deframer.buffered(), 12);
    }

    proptest! {
        /// However a stream is cut, the same frames come out.
        #[test]
        fn any_cut(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..8),
                   cuts in proptest::collection::vec(1_usize..12, 1..8)) {
            let stream: Vec<u8> = contents.iter().flat_map(|content| framed(content)).collect();
            let mut pieces = vec![];
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(frames(&pieces, 20), Ok(contents));
        }
    }
}
