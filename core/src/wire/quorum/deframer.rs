//! Cuts the quorum port's stream into packets.
//!
//! A packet that lies whole inside one piece of input is a slice of it, not a copy. Only one that is spread over
//! several pieces is put together in memory of its own, which grows with what has arrived, never with a length
//! that was announced. How far a packet was looked at is remembered, so that each byte is looked at once, however
//! small the pieces are.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use bytes::{Buf, Bytes};

use super::{IDENTITIES_MAX, Packet, identities, message};
use crate::types::{Message, Zxid};
use crate::wire::jute::{DecodeError, Reader};

/// Bytes up to the data's length, itself included.
const HEAD_LEN: usize = 4 + 8 + 4;

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumDecodeError {
    /// The stream is no stream of packets, or a packet does not have what its type needs: there is nothing behind
    /// it that could be understood, and every further call says so again.
    Malformed(DecodeError),
    /// A packet of a type that nobody has defined. It was skipped; the next call goes on behind it.
    UnknownType(i32),
}

impl fmt::Display for QuorumDecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "a packet of the quorum port cannot be read: {error}"),
            Self::UnknownType(kind) => write!(f, "a packet of the quorum port has the unknown type {kind}"),
        }
    }
}

impl core::error::Error for QuorumDecodeError {}

impl From<DecodeError> for QuorumDecodeError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// What is looked at next in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Type, zxid and the data's length.
    Head,
    /// The data, and behind it the number of identities.
    Count,
    /// The length of a string, and how many more there are, this one included.
    Length { left: usize },
    /// A string, and how many more there are behind it.
    Text { left: usize },
    /// Nothing: the packet ends here.
    Done,
}

/// How far a packet was looked at.
#[derive(Clone, Copy, Debug)]
struct Scan {
    stage: Stage,
    /// How many bytes of the packet the stage needs.
    end: usize,
    /// How many bytes of identities may follow yet.
    identities_left: usize,
}

impl Scan {
    const fn new(field_max: usize) -> Self {
        Self { stage: Stage::Head, end: HEAD_LEN, identities_left: field_max }
    }

    /// Looks at as much of the packet as there is.
    fn advance(&mut self, packet: &[u8], field_max: usize) -> Result<(), DecodeError> {
        while self.stage != Stage::Done && packet.len() >= self.end {
            self.step(&packet[..self.end], field_max)?;
        }
        Ok(())
    }

    /// Goes on behind `seen`, which ends with what the stage wanted.
    fn step(&mut self, seen: &[u8], field_max: usize) -> Result<(), DecodeError> {
        let number = || Reader::new(&seen[seen.len() - 4..]).int();
        match self.stage {
            Stage::Head => {
                self.stage = Stage::Count;
                self.end += length(number()?, field_max)? + 4;
            }
            Stage::Count => {
                let count = length(number()?, IDENTITIES_MAX)?;
                self.expect_strings(count * 2);
            }
            Stage::Length { left } => {
                let length = length(number()?, self.identities_left)?;
                self.identities_left -= length;
                self.end += length;
                self.stage = Stage::Text { left: left - 1 };
            }
            Stage::Text { left } => self.expect_strings(left),
            Stage::Done => {}
        }
        Ok(())
    }

    const fn expect_strings(&mut self, left: usize) {
        if left == 0 {
            self.stage = Stage::Done;
        } else {
            self.stage = Stage::Length { left };
            self.end += 4;
        }
    }
}

/// A length, where -1 is null and takes no bytes.
fn length(number: i32, max: usize) -> Result<usize, DecodeError> {
    match usize::try_from(number) {
        Ok(length) if length <= max => Ok(length),
        Ok(_) => Err(DecodeError::TooLong),
        Err(_) if number == -1 => Ok(0),
        Err(_) => Err(DecodeError::NegativeLength),
    }
}

/// Messages out of one link's bytes. The caller may stop between any two of them and go on later.
#[derive(Debug)]
pub struct Deframer {
    /// The beginning of one packet, never the whole of it. Nothing when at a packet's boundary.
    partial: Vec<u8>,
    /// What came after `partial` and was not looked at yet.
    input: Bytes,
    /// What came after `input`, while the caller had stopped; nothing while `input` is empty.
    later: Vec<u8>,
    /// How far the next packet was looked at.
    scan: Scan,
    /// What was wrong with the last packet.
    failed: Option<DecodeError>,
    field_max: usize,
}

impl Deframer {
    /// A deframer that refuses packets with data of more than `field_max` bytes, or identities of more than that
    /// together.
    pub const fn new(field_max: usize) -> Self {
        Self {
            partial: Vec::new(),
            input: Bytes::new(),
            later: Vec::new(),
            scan: Scan::new(field_max),
            failed: None,
            field_max,
        }
    }

    /// Takes bytes as the link gave them.
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

    /// The next message, or `None` until more has come.
    ///
    /// # Errors
    /// If the next packet is none, or its type is unknown; only behind the latter can be gone on.
    #[expect(clippy::should_implement_trait, reason = "there may be more after `None`")]
    pub fn next(&mut self) -> Result<Option<Message>, QuorumDecodeError> {
        if let Some(error) = self.failed {
            return Err(QuorumDecodeError::Malformed(error));
        }
        let found = self.packet_as_message();
        if let Err(QuorumDecodeError::Malformed(error)) = found {
            self.failed = Some(error);
        }
        found
    }

    fn packet_as_message(&mut self) -> Result<Option<Message>, QuorumDecodeError> {
        let Some(bytes) = self.packet()? else { return Ok(None) };
        let packet = cut(&bytes)?;
        let kind = packet.kind;
        message(packet)?.map(Some).ok_or(QuorumDecodeError::UnknownType(kind))
    }

    /// Takes bytes as they are, a piece of what is held and `None` when nothing is: for what is not packets.
    pub fn raw(&mut self) -> Option<Bytes> {
        self.scan = Scan::new(self.field_max);
        if !self.partial.is_empty() {
            return Some(Bytes::from(mem::take(&mut self.partial)));
        }
        if self.input.is_empty() {
            return None;
        }
        let input = mem::take(&mut self.input);
        self.next_input();
        Some(input)
    }

    /// Puts back, in front of everything, what [`Deframer::raw`] gave and was not meant.
    pub fn unread(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.scan = Scan::new(self.field_max);
        let mut later = mem::take(&mut self.partial);
        later.extend_from_slice(&self.input);
        later.extend_from_slice(&self.later);
        self.input = bytes;
        self.later = later;
    }

    fn packet(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.partial.is_empty() {
            self.scan = Scan::new(self.field_max);
            self.scan.advance(&self.input, self.field_max)?;
            if self.scan.stage == Stage::Done {
                let packet = self.input.split_to(self.scan.end);
                if self.input.is_empty() {
                    self.next_input();
                }
                return Ok(Some(packet));
            }
        }
        while self.scan.stage != Stage::Done {
            if self.input.is_empty() {
                return Ok(None);
            }
            let count = (self.scan.end - self.partial.len()).min(self.input.len());
            self.partial.extend_from_slice(&self.input[..count]);
            self.input.advance(count);
            if self.input.is_empty() {
                self.next_input();
            }
            self.scan.advance(&self.partial, self.field_max)?;
        }
        Ok(Some(Bytes::from(mem::take(&mut self.partial))))
    }

    /// Goes on with what came later. Dropping the emptied input releases what it was a slice of.
    fn next_input(&mut self) {
        self.input = Bytes::from(mem::take(&mut self.later));
    }
}

/// Cuts a packet that is known to be whole and no longer than allowed.
fn cut(packet: &Bytes) -> Result<Packet, DecodeError> {
    let mut reader = Reader::new(packet);
    let (kind, zxid) = (reader.int()?, Zxid(reader.long()?));
    let data = reader.buffer()?.map(|data| packet.slice_ref(data));
    Ok(Packet { kind, zxid, data, identities: identities(&mut reader)? })
}
