//! Reading compressed snapshots, piece by piece: gzip, and the framing that Java's snappy library puts around
//! blocks. What is kept in memory does not depend on what is in the file.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::snappy::Snappy;
pub use crate::types::Compression;

/// Whether a file that is compressed so and begins like this is worth reading (PARITY `disk.snap.valid`). For one that
/// is not compressed see [`super::snapshot::is_complete`].
pub fn begins_well(compression: Compression, first_bytes: &[u8]) -> bool {
    match compression {
        Compression::Gzip => first_bytes.starts_with(&GZIP_MAGIC),
        Compression::None => true,
        Compression::Snappy => first_bytes.starts_with(&super::snappy::MAGIC),
    }
}

/// Why a compressed file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// What was decompressed is not what was compressed.
    BadChecksum,
    /// The compressed bytes make no sense.
    BadData,
    /// The file does not begin as it should.
    BadHeader,
    /// A block is larger than any that ZooKeeper writes.
    TooLarge,
    /// The file ends too early.
    UnexpectedEnd,
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadChecksum => "the checksum of the decompressed bytes does not match",
            Self::BadData => "the compressed bytes are damaged",
            Self::BadHeader => "the compressed file begins with the wrong header",
            Self::TooLarge => "a compressed block is too large",
            Self::UnexpectedEnd => "the compressed file ends too early",
        })
    }
}

impl core::error::Error for CompressionError {}

/// Decompresses a file that is pushed in pieces.
///
/// ```text
/// decompressor.push(piece);
/// while decompressor.read(&mut out, 64 << 10)? > 0 { use and clear out }
/// … and after the last piece decompressor.finish()?
/// ```
#[derive(Debug)]
pub struct Decompressor {
    method: Method,
    /// What was pushed, from `used` on not used up yet.
    input: Vec<u8>,
    used: usize,
}

#[derive(Debug)]
enum Method {
    Gzip(Box<Gzip>),
    None,
    Snappy(Snappy),
}

impl Decompressor {
    /// A decompressor of one file.
    pub fn new(compression: Compression) -> Self {
        let method = match compression {
            Compression::Gzip => Method::Gzip(Box::new(Gzip::new())),
            Compression::None => Method::None,
            Compression::Snappy => Method::Snappy(Snappy::new()),
        };
        Self { method, input: Vec::new(), used: 0 }
    }

    /// Takes the next bytes of the file. They are kept until they are used up: read before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Appends at most `max` decompressed bytes and returns how many. None: more must be pushed.
    ///
    /// # Errors
    /// If the file is damaged. It is to be given up then.
    pub fn read(&mut self, out: &mut Vec<u8>, max: usize) -> Result<usize, CompressionError> {
        let before = out.len();
        let input = &self.input[self.used..];
        self.used += match &mut self.method {
            Method::Gzip(gzip) => gzip.read(input, out, max)?,
            Method::None => {
                let count = input.len().min(max);
                out.extend_from_slice(&input[..count]);
                count
            }
            Method::Snappy(snappy) => snappy.read(input, out, max)?,
        };
        Ok(out.len() - before)
    }

    /// Says that no bytes follow, after everything was read.
    ///
    /// # Errors
    /// If the file should have gone on.
    pub fn finish(self) -> Result<(), CompressionError> {
        let at_end = match &self.method {
            Method::Gzip(gzip) => gzip.stage == Stage::Between,
            Method::None => true,
            Method::Snappy(snappy) => snappy.is_at_end(),
        };
        if at_end && self.used == self.input.len() { Ok(()) } else { Err(CompressionError::UnexpectedEnd) }
    }
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// More than any header that is written in practice: names and comments are bounded by it.
const GZIP_HEADER_MAX: usize = 64 << 10;

/// Where a gzip file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first header.
    Start,
    Body,
    Trailer,
    /// Behind a member; another may follow.
    Between,
}

/// RFC 1952: members, each a header, a deflated body, its CRC-32 and its length.
struct Gzip {
    stage: Stage,
    inflate: Box<InflateState>,
    crc: crc32fast::Hasher,
    /// Bytes of the member, modulo 2^32 as in its trailer.
    length: u32,
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip")
            .field("stage", &self.stage)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Gzip {
    fn new() -> Self {
        Self {
            stage: Stage::Start,
            inflate: InflateState::new_boxed(DataFormat::Raw),
            crc: crc32fast::Hasher::new(),
            length: 0,
        }
    }

    /// Returns how much of `input` was used.
    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<usize, CompressionError> {
        let mut used = 0;
        loop {
            let input = &input[used..];
            match self.stage {
                Stage::Start | Stage::Between => {
                    let Some(header_len) = gzip_header(input)? else { return Ok(used) };
                    used += header_len;
                    *self = Self { stage: Stage::Body, ..Self::new() };
                }
                Stage::Body => {
                    let (consumed, written) = self.inflate(input, out, max)?;
                    used += consumed;
                    if written > 0 || self.stage == Stage::Body {
                        return Ok(used);
                    }
                }
                Stage::Trailer => {
                    let Some((trailer, _)) = input.split_first_chunk::<8>() else { return Ok(used) };
                    let [a, b, c, d, e, f, g, h] = *trailer;
                    let crc = core::mem::take(&mut self.crc).finalize();
                    if (crc, self.length)
                        != (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
                    {
                        return Err(CompressionError::BadChecksum);
                    }
                    used += trailer.len();
                    self.stage = Stage::Between;
                }
            }
        }
    }

    /// Returns how much was used and how much was appended.
    fn inflate(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(usize, usize), CompressionError> {
        let start = out.len();
        out.resize(start + max, 0);
        let result = inflate(&mut self.inflate, input, &mut out[start..], MZFlush::None);
        out.truncate(start + result.bytes_written);
        match result.status {
            Ok(MZStatus::StreamEnd) => self.stage = Stage::Trailer,
            // No progress is possible without more input or room.
            Ok(MZStatus::Ok) | Err(MZError::Buf) => {}
            Ok(MZStatus::NeedDict) | Err(_) => return Err(CompressionError::BadData),
        }
        self.crc.update(&out[start..]);
        self.length = self.length.wrapping_add(result.bytes_written as u32);
        Ok((result.bytes_consumed, result.bytes_written))
    }
}

/// Bytes of the header at the beginning of `input`, or none if it goes on.
fn gzip_header(input: &[u8]) -> Result<Option<usize>, CompressionError> {
    const FIXED_LEN: usize = 10;
    const HAS_CRC: u8 = 1 << 1;
    const HAS_EXTRA: u8 = 1 << 2;
    const HAS_NAME: u8 = 1 << 3;
    const HAS_COMMENT: u8 = 1 << 4;

    let expected = [GZIP_MAGIC[0], GZIP_MAGIC[1], DEFLATE];
    if input.iter().zip(&expected).any(|(found, expected)| found != expected) {
        return Err(CompressionError::BadHeader);
    }
    let more = if input.len() > GZIP_HEADER_MAX { Err(CompressionError::BadHeader) } else { Ok(None) };
    let Some(&flags) = input.get(3) else { return more };
    let mut at = FIXED_LEN;
    if flags & HAS_EXTRA != 0 {
        let Some(&[low, high]) = input.get(at..at + 2) else { return more };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            let Some(rest) = input.get(at..) else { return more };
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return more };
            at += end + 1;
        }
    }
    if flags & HAS_CRC != 0 {
        at += 2;
    }
    if input.len() < at { more } else { Ok(Some(at)) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn decompress(
        compression: Compression,
        bytes: &[u8],
        piece: usize,
        max: usize,
    ) -> Result<Vec<u8>, CompressionError> {
        let mut decompressor = Decompressor::new(compression);
        let mut out = vec![];
        for piece in bytes.chunks(piece) {
            decompressor.push(piece);
            while decompressor.read(&mut out, max)? > 0 {}
        }
        decompressor.finish()?;
        Ok(out)
    }

    /// A member with this content and these header fields.
    fn member(content: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff];
        out.extend_from_slice(fields);
        out.extend_from_slice(&miniz_oxide::deflate::compress_to_vec(content, 6));
        out.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        out
    }

    /// Every optional header field, and members one behind the other.
    #[test]
    fn headers() {
        let members = [
            member(b"one ", 0, b""),
            member(b"two ", 4, b"\x03\x00abc"),
            member(b"", 8, b"name\0"),
            member(b"three ", 16 | 2, b"comment\0\xaa\xbb"),
            member(b"four", 1 | 2 | 4 | 8 | 16, b"\0\0n\0c\0\xaa\xbb"),
        ]
        .concat();
        for piece in [1, 3, members.len()] {
            for max in [1, 100] {
                assert_eq!(
                    decompress(Compression::Gzip, &members, piece, max),
                    Ok(b"one two three four".to_vec())
                );
            }
        }
    }

    /// Every truncation is an error, and every flipped bit, but for header fields that nobody reads and bits
    /// that mean nothing.
    #[test]
    fn damage() {
        let text = b"some text, some more text, and some more";
        let whole = member(text, 0, b"");
        for cut in 0..whole.len() {
            let cut = decompress(Compression::Gzip, &whole[..cut], 8, 100);
            assert_eq!(cut, Err(CompressionError::UnexpectedEnd));
        }
        for bit in (0..whole.len() * 8).filter(|bit| !(24..80).contains(bit)) {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let decompressed = decompress(Compression::Gzip, &damaged, 8, 100);
            assert!(decompressed.is_err() || decompressed.as_deref() == Ok(&text[..]), "bit {bit}");
        }
        assert_eq!(decompress(Compression::Gzip, b"PK", 8, 8), Err(CompressionError::BadHeader));
        let endless = [&[0x1f, 0x8b, 8, 8][..], &[b'x'; GZIP_HEADER_MAX]].concat();
        assert_eq!(decompress(Compression::Gzip, &endless, 4096, 8), Err(CompressionError::BadHeader));
    }

    proptest! {
        #[test]
        fn round_trip(content in proptest::collection::vec(0_u8..4, 0..5000), piece in 1_usize..99, max in 1_usize..999) {
            let compressed = member(&content, 0, b"");
            prop_assert_eq!(decompress(Compression::Gzip, &compressed, piece, max), Ok(content.clone()));
            prop_assert_eq!(decompress(Compression::None, &content, piece, max), Ok(content));
        }
    }
}
