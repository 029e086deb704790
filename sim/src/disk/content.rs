//! The bytes of a file, as the pieces that they were written in. What was preallocated takes no memory, a file that grows
//! is never copied, and what the operating system shows of a file shares its pieces with what the medium has.

use std::ops::Range;

use bytes::Bytes;

/// Bytes that were written at once, or what is left of them.
#[derive(Clone, Debug)]
struct Piece {
    /// Where they begin in the file.
    start: usize,
    /// Not empty.
    bytes: Bytes,
}

impl Piece {
    const fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    /// What of it lies in a part of the file.
    fn part(&self, range: &Range<usize>) -> Self {
        let start = range.start.max(self.start);
        let end = range.end.min(self.end());
        Self { start, bytes: self.bytes.slice(start - self.start..end - self.start) }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// In order, and none over another. What lies between them is zero.
    pieces: Vec<Piece>,
    len: usize,
}

impl Content {
    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes `bytes` at `offset`, over what is there.
    pub fn write(&mut self, offset: usize, bytes: Bytes) {
        let piece = Piece { start: offset, bytes };
        self.len = self.len.max(piece.end());
        if piece.bytes.is_empty() {
            return;
        }
        let over = self.under(&(offset..piece.end()));
        if over.start == self.pieces.len() {
            // Behind everything: that is usual.
            return self.pieces.push(piece);
        }
        let under = &self.pieces[over.clone()];
        let before = under.first().filter(|first| first.start < offset);
        let behind = under.last().filter(|last| last.end() > piece.end());
        let before = before.map(|first| first.part(&(0..offset)));
        let behind = behind.map(|last| last.part(&(piece.end()..last.end())));
        self.pieces.splice(over, before.into_iter().chain([piece]).chain(behind));
    }

    /// Cuts the bytes behind `len`, or has zeros there.
    pub fn set_len(&mut self, len: usize) {
        let kept = self.under(&(0..len)).end;
        self.pieces.truncate(kept);
        if let Some(last) = self.pieces.last_mut() {
            *last = last.part(&(0..len));
        }
        self.len = len;
    }

    /// What is in a part of the file, as far as there is one.
    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        let mut bytes = vec![0; range.len()];
        for piece in &self.pieces[self.under(&range)] {
            let part = piece.part(&range);
            bytes[part.start - range.start..][..part.bytes.len()].copy_from_slice(&part.bytes);
        }
        bytes
    }

    /// Whether these bytes are there.
    pub fn has(&self, at: usize, bytes: &[u8]) -> bool {
        let range = at..at + bytes.len();
        match &self.pieces[self.under(&range)] {
            // What was written at once lies in one piece.
            [piece] if piece.start <= at && range.end <= piece.end() => {
                piece.bytes[at - piece.start..][..bytes.len()] == *bytes
            }
            _ => self.read(range) == bytes,
        }
    }

    /// The last bytes, as many as that or all there are.
    pub fn tail(&self, count: usize) -> Vec<u8> {
        self.read(self.len.saturating_sub(count)..self.len)
    }

    /// All of it.
    pub fn to_vec(&self) -> Vec<u8> {
        self.read(0..self.len)
    }

    /// All of it up to the last byte that was written: of a log without what was preallocated, which is more than that.
    pub fn written(&self) -> Vec<u8> {
        self.read(0..self.pieces.last().map_or(0, Piece::end))
    }

    /// The pieces that have something in a part of the file.
    fn under(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.pieces.partition_point(|piece| piece.end() <= range.start);
        let count = self.pieces[first..].partition_point(|piece| piece.start < range.end);
        first..first + count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// Against bytes in a row.
    #[test]
    fn pieces_are_the_bytes_that_were_written() {
        let mut rng = Seed(1).stream("test", 0);
        for _ in 0..500 {
            let (mut content, mut plain) = (Content::default(), Vec::new());
            for _ in 0..rng.within(1, 12) {
                let at = rng.index(20);
                if rng.chance(300_000) {
                    content.set_len(at);
                    plain.resize(at, 0);
                } else {
                    let bytes: Vec<u8> = (0..rng.index(8)).map(|_| rng.within(1, 255) as u8).collect();
                    plain.resize(plain.len().max(at + bytes.len()), 0);
                    plain[at..at + bytes.len()].copy_from_slice(&bytes);
                    content.write(at, Bytes::from(bytes));
                }
                assert_eq!((content.to_vec(), content.len()), (plain.clone(), plain.len()));
                assert_eq!(content.is_empty(), plain.is_empty());
                let (from, to) = (rng.index(20), rng.index(20));
                let clipped = plain.get(from..to.min(plain.len())).unwrap_or_default();
                assert_eq!(content.read(from..to.max(from)), clipped, "{from} to {to} of {plain:?}");
                assert!(content.has(from, clipped));
                let other: Vec<u8> = clipped.iter().map(|byte| byte ^ 1).collect();
                assert_eq!(content.has(from, &other), other.is_empty());
                let rest = plain.get(from..).unwrap_or_default();
                assert!(!content.has(from, &[rest, &[0]].concat()), "a byte behind the end");
                let written = content.written();
                assert!(plain.starts_with(&written) && plain[written.len()..].iter().all(|&byte| byte == 0));
                assert_eq!(content.tail(from), plain[plain.len().saturating_sub(from)..]);
            }
        }
    }
}
