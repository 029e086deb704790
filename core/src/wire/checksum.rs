//! Adler-32, with which ZooKeeper guards log records and snapshots.

use core::fmt;

use simd_adler32::Adler32;

/// The checksum of bytes that come piece by piece.
#[derive(Clone)]
pub(super) struct Checksum(Adler32);

impl Checksum {
    /// The checksum of nothing.
    pub(super) fn new() -> Self {
        Self(Adler32::new())
    }

    /// Takes in what follows.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of everything so far, as it is written to files.
    pub(super) fn value(&self) -> i64 {
        i64::from(self.0.finish())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({:#x})", self.0.finish())
    }
}

/// The checksum of `bytes`, as it is written to files.
pub(super) fn checksum(bytes: &[u8]) -> i64 {
    i64::from(simd_adler32::adler32(&bytes))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// By the definition, a byte at a time: for every length around the widths that vector code works in, in one piece
    /// and in two.
    #[test]
    fn is_adler_32() {
        let bytes: Vec<u8> = (0..6000_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        for len in (0..300).chain([4095, 4096, 5552, 5553, 6000]) {
            let (mut a, mut b) = (1_u32, 0);
            for &byte in &bytes[..len] {
                a = (a + u32::from(byte)) % 65_521;
                b = (b + a) % 65_521;
            }
            let expected = i64::from(b << 16 | a);
            assert_eq!(checksum(&bytes[..len]), expected, "{len} bytes");
            let mut pieces = Checksum::new();
            pieces.write(&bytes[..len / 3]);
            pieces.write(&bytes[len / 3..len]);
            assert_eq!(pieces.value(), expected, "{len} bytes in two pieces");
        }
    }
}
