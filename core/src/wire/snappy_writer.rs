//! Writes Java's snappy stream (`SnappyOutputStream`): a header, then blocks, each with its compressed length in front.
//!
//! A block is its length and then literals and copies of what came before in the same block. Copies are found by a
//! table of where four bytes with a certain hash were last: quick, and good enough.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::snappy::MAGIC;

/// Bytes of a block, as Java writes them. Places in it fit sixteen bits.
const BLOCK: usize = 32 << 10;
const TABLE_BITS: u32 = 13;
/// Bytes that the shortest copy stands for.
const WORD: usize = 4;
/// Bytes that the longest copy stands for.
const COPY_MAX: usize = 64;

/// Compresses a stream that is pushed in pieces.
#[derive(Debug)]
pub(super) struct SnappyWriter {
    begun: bool,
    /// What waits for the block to be full.
    block: Vec<u8>,
    /// Where the bytes were last that have this hash.
    table: Box<[u16]>,
}

impl SnappyWriter {
    pub(super) fn new() -> Self {
        Self { begun: false, block: Vec::with_capacity(BLOCK), table: vec![0; 1 << TABLE_BITS].into() }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if !core::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&MAGIC);
            // This version, and the oldest that can read it.
            out.extend_from_slice(&1_u32.to_be_bytes());
            out.extend_from_slice(&1_u32.to_be_bytes());
        }
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(fits);
            bytes = rest;
            if self.block.len() == BLOCK {
                self.end_block(out);
            }
        }
    }

    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.push(&[], out);
        if !self.block.is_empty() {
            self.end_block(out);
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        compress_block(&self.block, &mut self.table, out);
        let length = u32::try_from(out.len() - start - 4).expect("a block is small");
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.block.clear();
    }
}

fn compress_block(block: &[u8], table: &mut [u16], out: &mut Vec<u8>) {
    table.fill(0);
    length(block.len(), out);
    // Everything before is written.
    let mut written = 0;
    let mut at = 1;
    // The longer nothing is found, the larger the steps.
    let mut misses = 0;
    while let Some(word) = word_at(block, at) {
        let slot = (word.wrapping_mul(0x1e35_a7bd) >> (u32::BITS - TABLE_BITS)) as usize;
        let before = usize::from(table[slot]);
        table[slot] = u16::try_from(at).expect("places in a block fit");
        if word_at(block, before) != Some(word) {
            at += 1 + misses / 32;
            misses += 1;
            continue;
        }
        let more = block[before + WORD..].iter().zip(&block[at + WORD..]).take_while(|(a, b)| a == b).count();
        literal(&block[written..at], out);
        copy(at - before, WORD + more, out);
        at += WORD + more;
        written = at;
        misses = 0;
    }
    literal(&block[written..], out);
}

fn word_at(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk::<WORD>().map(|bytes| u32::from_le_bytes(*bytes))
}

/// As a varint.
fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn literal(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let less_one = bytes.len() - 1;
    match less_one {
        0..60 => out.push((less_one as u8) << 2),
        60..256 => out.extend_from_slice(&[60 << 2, less_one as u8]),
        _ => out.extend_from_slice(&[61 << 2, less_one as u8, (less_one >> 8) as u8]),
    }
    out.extend_from_slice(bytes);
}

/// The copy with two bytes of offset, as often as it takes.
fn copy(offset: usize, mut count: usize, out: &mut Vec<u8>) {
    while count > 0 {
        let piece = count.min(COPY_MAX);
        out.extend_from_slice(&[((piece - 1) as u8) << 2 | 2, offset as u8, (offset >> 8) as u8]);
        count -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        compress_block(bytes, &mut [0; 1 << TABLE_BITS], &mut out);
        out
    }

    /// By hand, as the format says.
    #[test]
    fn blocks() {
        assert_eq!(block(b"a"), b"\x01\x00a");
        assert_eq!(block(b"abcdabcdab"), b"\x0a\x0cabcd\x16\x04\0");
        assert_eq!(block(&[b'x'; 70]), b"\x46\x00x\xfe\x01\0\x12\x01\0");
        assert_eq!(block(&(0..=255).collect::<Vec<u8>>())[..4], [0x80, 0x02, 60 << 2, 255]);
    }

    /// The header comes first, a block whenever there is enough for one, and the rest at the end.
    #[test]
    fn framing() {
        let mut writer = SnappyWriter::new();
        let mut out = vec![];
        writer.push(&[7; BLOCK - 1], &mut out);
        assert_eq!(out, [&MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat());
        writer.push(&[7; 2], &mut out);
        let first = out.len();
        assert!(first > 16);
        writer.finish(&mut out);
        assert_eq!(out[first..], [0, 0, 0, 3, 1, 0, 7]);
    }
}
