//! Java's snappy stream (`SnappyOutputStream`): a header, then blocks, each with its compressed length in
//! front.
//!
//! There is a crate for snappy, but not one without the standard library; what is needed here is small.

use alloc::vec::Vec;

use super::compression::CompressionError;

/// What a stream begins with.
pub(super) const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version, and the oldest version that can read it.
const HEADER_LEN: usize = 16;
/// Largest block accepted; Java writes blocks of 32 KiB.
const BLOCK_MAX: usize = 1 << 20;
/// Bytes that the largest block may have grown to, if it could not be compressed.
const COMPRESSED_MAX: usize = 32 + BLOCK_MAX + BLOCK_MAX / 6;

/// Decompresses a stream.
#[derive(Debug)]
pub(super) struct Snappy {
    begun: bool,
    /// The current block, from `used` on not handed out yet.
    block: Vec<u8>,
    used: usize,
}

impl Snappy {
    pub(super) const fn new() -> Self {
        Self { begun: false, block: Vec::new(), used: 0 }
    }

    /// Whether the stream may end here.
    pub(super) const fn is_at_end(&self) -> bool {
        self.begun && self.used == self.block.len()
    }

    /// Appends at most `max` bytes to `out` and returns how much of `input` was used.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<usize, CompressionError> {
        let mut used = 0;
        loop {
            if self.used < self.block.len() {
                let count = (self.block.len() - self.used).min(max);
                out.extend_from_slice(&self.block[self.used..self.used + count]);
                self.used += count;
                return Ok(used);
            }
            let rest = &input[used..];
            // Streams may be written one behind the other, each with its header.
            if !self.begun || rest.starts_with(&MAGIC[..4]) {
                if rest.iter().zip(&MAGIC).any(|(found, expected)| found != expected) {
                    return Err(CompressionError::BadHeader);
                }
                if rest.len() < HEADER_LEN {
                    return Ok(used);
                }
                used += HEADER_LEN;
                self.begun = true;
                continue;
            }
            let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(used) };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > COMPRESSED_MAX {
                return Err(CompressionError::TooLarge);
            }
            let Some(compressed) = rest.get(..length) else { return Ok(used) };
            self.block.clear();
            self.used = 0;
            decompress_block(compressed, &mut self.block)?;
            used += 4 + length;
        }
    }
}

/// Decompresses a raw block: its length as a varint, then literals and copies of what came before.
fn decompress_block(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    let mut input = input.iter();
    let length = varint(&mut input)?;
    if length > BLOCK_MAX {
        return Err(CompressionError::TooLarge);
    }
    out.reserve(length.min(input.len() * MAX_EXPANSION));
    while let Some(&tag) = input.next() {
        let upper = usize::from(tag >> 2);
        let (count, offset) = match tag & 3 {
            0 => {
                // Long literals have their length, less one, in one to four bytes of its own.
                let count = if upper < 60 { upper } else { little_endian(&mut input, upper - 59)? } + 1;
                let (literal, rest) =
                    input.as_slice().split_at_checked(count).ok_or(CompressionError::BadData)?;
                input = rest.iter();
                if literal.len() > length - out.len() {
                    return Err(CompressionError::BadData);
                }
                out.extend_from_slice(literal);
                continue;
            }
            1 => ((upper & 7) + 4, (upper >> 3) << 8 | little_endian(&mut input, 1)?),
            2 => (upper + 1, little_endian(&mut input, 2)?),
            _ => (upper + 1, little_endian(&mut input, 4)?),
        };
        copy(out, offset, count, length)?;
    }
    if out.len() == length { Ok(()) } else { Err(CompressionError::BadData) }
}

/// A copy of 64 bytes takes three; nothing is denser.
const MAX_EXPANSION: usize = 32;

/// Appends `count` bytes that begin `offset` bytes before the end, and may reach into what they append.
fn copy(out: &mut Vec<u8>, offset: usize, count: usize, length: usize) -> Result<(), CompressionError> {
    if offset == 0 || offset > out.len() || count > length - out.len() {
        return Err(CompressionError::BadData);
    }
    let start = out.len() - offset;
    let mut left = count;
    while left > 0 {
        let piece = left.min(out.len() - start);
        out.extend_from_within(start..start + piece);
        left -= piece;
    }
    Ok(())
}

fn varint(input: &mut core::slice::Iter<'_, u8>) -> Result<usize, CompressionError> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *input.next().ok_or(CompressionError::BadData)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).map_err(|_| CompressionError::TooLarge);
        }
    }
    Err(CompressionError::BadData)
}

fn little_endian(input: &mut core::slice::Iter<'_, u8>, bytes: usize) -> Result<usize, CompressionError> {
    let mut value = 0_u64;
    for index in 0..bytes {
        value |= u64::from(*input.next().ok_or(CompressionError::BadData)?) << (8 * index);
    }
    usize::try_from(value).map_err(|_| CompressionError::BadData)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn block(bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut out = vec![];
        decompress_block(bytes, &mut out).map(|()| out)
    }

    fn stream(bytes: &[u8], max: usize) -> Result<(Vec<u8>, usize, bool), CompressionError> {
        let (mut snappy, mut out, mut used) = (Snappy::new(), vec![], 0);
        loop {
            let before = out.len();
            used += snappy.read(&bytes[used..], &mut out, max)?;
            if out.len() == before {
                return Ok((out, used, snappy.is_at_end()));
            }
        }
    }

    /// Each kind of tag, by hand; copies that overlap what they write repeat it.
    #[test]
    fn tags() {
        assert_eq!(block(b"\0"), Ok(vec![]));
        assert_eq!(block(b"\x03\x08abc"), Ok(b"abc".to_vec()));
        assert_eq!(block(b"\x03\xf0\x02abc"), Ok(b"abc".to_vec()));
        assert_eq!(block(b"\x03\xfc\x02\0\0\0abc"), Ok(b"abc".to_vec()));
        assert_eq!(block(b"\x08\x0cabcd\x01\x04"), Ok(b"abcdabcd".to_vec()));
        assert_eq!(block(b"\x07\x04ab\x12\x02\0"), Ok(b"abababa".to_vec()));
        assert_eq!(block(b"\x05\x00a\x0f\x01\0\0\0"), Ok(b"aaaaa".to_vec()));
    }

    /// Offsets before the beginning, lengths beyond the end, and everything cut off.
    #[test]
    fn hostile() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"\x80\x80\x80\x80\x80\x01",
            b"\x02\x00a",
            b"\x01\x04ab",
            b"\x03\x08ab",
            b"\x08\x0cabcd\x01\x05",
            b"\x08\x0cabcd\x01\x00",
            b"\x07\x0cabcd\x01\x04",
            b"\x08\x0cabcd\x01",
            b"\x08\x0cabcd\x03\x04\0\0",
            b"\x02\xfc\xff\xff\xff\xffa",
        ] {
            assert_eq!(block(bytes), Err(CompressionError::BadData), "{bytes:?}");
        }
        assert_eq!(block(b"\xff\xff\xff\xff\x0f"), Err(CompressionError::TooLarge));
    }

    /// The header, blocks, a second header in between, and every truncation.
    #[test]
    fn framing() {
        let header = [&MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        let abc = [&[0, 0, 0, 5][..], b"\x03\x08abc"].concat();
        let whole = [&header[..], &abc, &abc, &header, &abc].concat();
        assert_eq!(stream(&whole, 2), Ok((b"abcabcabc".to_vec(), whole.len(), true)));
        for cut in 0..whole.len() {
            let (out, used, at_end) = stream(&whole[..cut], 100).expect("only cut off");
            assert!(b"abcabcabc".starts_with(&out));
            assert_eq!(at_end && used == cut, [16, 25, 34, 50].contains(&cut), "{cut}");
        }
        assert_eq!(stream(b"\x82SNAPPx", 9), Err(CompressionError::BadHeader));
        assert_eq!(stream(&[&header[..], &[0, 0x20, 0, 0]].concat(), 9), Err(CompressionError::TooLarge));
    }

    proptest! {
        /// Nothing that is thrown at it makes it panic or grow.
        #[test]
        fn garbage(bytes: Vec<u8>) {
            if let Ok(out) = block(&bytes) {
                prop_assert!(out.len() <= BLOCK_MAX);
            }
        }
    }
}
