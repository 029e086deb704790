//! Compressed snapshots: anything at all, in pieces of any size.

use alloc::vec::Vec;

use super::Source;
use crate::wire::compression::{Compression, CompressionError, Decompressor};

/// Unpacks what the bytes are, in one piece and in many, which must come to the same.
///
/// # Panics
/// If it does not, or more is unpacked at a time than was asked for.
pub fn compression(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let method = source.choose(&[Compression::Gzip, Compression::Snappy, Compression::None]);
    let piece = usize::from(source.byte()) + 1;
    let room = usize::from(source.byte()) + 1;
    let file = source.rest();
    let whole = unpack(method, file, file.len().max(1), usize::MAX);
    let (pieces, error) = unpack(method, file, piece, room);
    assert_eq!(error, whole.1);
    if error.is_none() {
        assert_eq!(pieces, whole.0);
    }
}

/// Never more than this, so that a small file that unpacks to a large one does not take all day.
const UNPACKED_MAX: usize = 1 << 20;

fn unpack(
    method: Compression,
    file: &[u8],
    piece: usize,
    room: usize,
) -> (Vec<u8>, Option<CompressionError>) {
    let mut decompressor = Decompressor::new(method);
    let mut out = Vec::new();
    for piece in file.chunks(piece) {
        decompressor.push(piece);
        loop {
            let before = out.len();
            match decompressor.read(&mut out, room.min(UNPACKED_MAX)) {
                Ok(0) => break,
                Ok(count) => assert!(count == out.len() - before && count <= room, "{count} bytes unpacked"),
                Err(error) => return (out, Some(error)),
            }
            if out.len() > UNPACKED_MAX {
                return (Vec::new(), None);
            }
        }
    }
    (out, decompressor.finish().err())
}
