//! Writing compressed snapshots, piece by piece: what [`super::compression`] reads, as ZooKeeper's own writers make it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core::CompressorOxide;
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::compression::Compression;
use super::snappy_writer::SnappyWriter;

/// Magic, method, no flags, no time, nothing about the level, an unknown operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Output is made room for in steps of this.
const STEP: usize = 16 << 10;

/// Compresses a file that is pushed in pieces.
#[derive(Debug)]
pub struct Compressor(Method);

#[derive(Debug)]
enum Method {
    Gzip(Box<Gzip>),
    None,
    Snappy(Box<SnappyWriter>),
}

impl Compressor {
    /// A compressor of one file.
    pub fn new(compression: Compression) -> Self {
        Self(match compression {
            Compression::Gzip => Method::Gzip(Box::new(Gzip::new())),
            Compression::None => Method::None,
            Compression::Snappy => Method::Snappy(Box::new(SnappyWriter::new())),
        })
    }

    /// Takes the next bytes of the file and returns what comes of those so far, which may be nothing yet.
    pub fn push(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        match &mut self.0 {
            Method::Gzip(gzip) => gzip.push(&bytes, &mut out),
            Method::None => return bytes,
            Method::Snappy(snappy) => snappy.push(&bytes, &mut out),
        }
        out
    }

    /// Takes the last bytes of the file and returns the rest.
    pub fn finish(mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut out = self.push(bytes);
        match self.0 {
            Method::Gzip(gzip) => gzip.finish(&mut out),
            Method::None => {}
            Method::Snappy(snappy) => snappy.finish(&mut out),
        }
        out
    }
}

/// One member of RFC 1952.
struct Gzip {
    begun: bool,
    deflate: CompressorOxide,
    crc: crc32fast::Hasher,
    /// Bytes of the member, modulo 2^32 as in its trailer.
    length: u32,
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Gzip {
    fn new() -> Self {
        // What Java's stream takes by default.
        let deflate = CompressorOxide::with_format_and_level(DataFormat::Raw, CompressionLevel::DefaultLevel);
        Self { begun: false, deflate, crc: crc32fast::Hasher::new(), length: 0 }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !core::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&GZIP_HEADER);
        }
        self.crc.update(bytes);
        self.length = self.length.wrapping_add(bytes.len() as u32);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.step(rest, out, MZFlush::None).0..];
        }
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.push(&[], out);
        while !self.step(&[], out, MZFlush::Finish).1 {}
        out.extend_from_slice(&self.crc.finalize().to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
    }

    /// Returns how much was used, and whether that was the end.
    fn step(&mut self, bytes: &[u8], out: &mut Vec<u8>, flush: MZFlush) -> (usize, bool) {
        let start = out.len();
        out.resize(start + STEP, 0);
        let result = deflate(&mut self.deflate, bytes, &mut out[start..], flush);
        out.truncate(start + result.bytes_written);
        let status = result.status.expect("there is room, and something to be done");
        (result.bytes_consumed, status == MZStatus::StreamEnd)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::compression::{Decompressor, begins_well};

    const ALL: [Compression; 3] = [Compression::Gzip, Compression::None, Compression::Snappy];

    fn compress(compression: Compression, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut compressor = Compressor::new(compression);
        let mut out = vec![];
        for piece in bytes.chunks(piece) {
            out.extend(compressor.push(piece.to_vec()));
        }
        out.extend(compressor.finish(Vec::new()));
        out
    }

    fn decompress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut decompressor = Decompressor::new(compression);
        let mut out = vec![];
        decompressor.push(bytes);
        while decompressor.read(&mut out, 1 << 20).expect("it was just made") > 0 {}
        decompressor.finish().expect("it is complete");
        out
    }

    /// Repetition gets small, noise not much larger, and nothing is lost of either, however it is cut.
    #[test]
    fn disk_snap_compress_round_trips() {
        let repeated = b"/some/path/0000000001".repeat(10_000);
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        for compression in ALL {
            for piece in [1000, 32 << 10, 1 << 20] {
                let small = compress(compression, &repeated, piece);
                assert_eq!(decompress(compression, &small), repeated);
                assert!(compression == Compression::None || small.len() < repeated.len() / 10);
                let large = compress(compression, &noise, piece);
                assert_eq!(decompress(compression, &large), noise);
                assert!(large.len() < noise.len() + noise.len() / 100, "{compression:?}: {}", large.len());
                assert!(begins_well(compression, &large[..8]));
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(content in proptest::collection::vec(0_u8..4, 0..5000), piece in 1_usize..999) {
            for compression in ALL {
                prop_assert_eq!(&decompress(compression, &compress(compression, &content, piece)), &content);
            }
        }
    }
}
