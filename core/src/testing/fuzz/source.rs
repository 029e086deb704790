//! Decisions out of a fuzzer's bytes.

use alloc::vec::Vec;

/// Reads decisions off a byte string. Past its end every decision is the first choice, so that a shorter input is
/// a simpler one.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    /// Decisions out of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left to decide by.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whatever is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// A byte.
    pub const fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number below `count`, which is at most 256.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// Yes or no.
    pub const fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// True once in `count` times, which is at most 256; never past the end.
    pub fn rarely(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of these.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A small number mostly, now and then any.
    pub fn int(&mut self) -> i32 {
        match self.byte() {
            255 => i32::from_be_bytes(self.array()),
            254 => self.choose(&[i32::MAX, i32::MIN, -1, 1 << 16]),
            small => i32::from(small % 16) - 1,
        }
    }

    /// A small number mostly, now and then any.
    pub fn long(&mut self) -> i64 {
        match self.byte() {
            255 => i64::from_be_bytes(self.array()),
            254 => self.choose(&[i64::MAX, i64::MIN, -1, 1 << 40]),
            small => i64::from(small % 32) - 1,
        }
    }

    /// At most `max` bytes, and fewer than 256.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let count = usize::from(self.byte()).min(max).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        bytes
    }

    /// All that is left, and the same in pieces, each with a number below 8 for what is done behind it. Eight bytes
    /// before it say both, in turn.
    pub fn pieces(&mut self) -> (&'a [u8], Vec<(&'a [u8], u8)>) {
        let cuts: [u8; 8] = self.array();
        let stream = self.rest();
        let (mut pieces, mut left) = (Vec::new(), stream);
        for cut in cuts.into_iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (piece, rest) = left.split_at(usize::from(cut & 31).clamp(1, left.len()));
            left = rest;
            pieces.push((piece, cut >> 5));
        }
        (stream, pieces)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.byte())
    }
}
