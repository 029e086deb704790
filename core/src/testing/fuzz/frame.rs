//! Frames out of bytes cut anywhere, against a deframer that has everything at once.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Source;
use crate::wire::frame::PREFIX_LEN;
use crate::wire::{Deframer, FrameError};

/// The first byte is the limit, eight more say where the rest is cut and how many frames are taken between two
/// pieces; whatever is cut, the same frames come out, and no more is held than what was given and not taken.
///
/// # Panics
/// If that is not so.
pub fn frame(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let frame_max = source.below(80);
    let (stream, pieces) = source.pieces();
    let (expected, ends, error) = naive(stream, frame_max);

    let mut deframer = Deframer::new(frame_max);
    let (mut pushed, mut taken) = (0, 0);
    for (piece, then) in pieces {
        pushed += piece.len();
        deframer.push(Bytes::copy_from_slice(piece));
        let stop_after = match then {
            7 => usize::MAX,
            few => usize::from(few),
        };
        for _ in 0..stop_after {
            let before = if taken == 0 { 0 } else { ends[taken - 1] };
            assert_eq!(deframer.buffered(), pushed - before, "bytes held");
            assert_eq!(deframer.peek::<4>().as_ref(), stream[before..pushed].first_chunk::<4>());
            match deframer.next_frame() {
                Ok(Some(frame)) => {
                    assert_eq!(frame, expected[taken]);
                    taken += 1;
                }
                Ok(None) => {
                    assert!(deframer.buffered() < PREFIX_LEN + frame_max, "held without need");
                    break;
                }
                Err(found) => {
                    assert_eq!((Some(found), taken), (error, expected.len()));
                    break;
                }
            }
        }
    }
    while let Ok(Some(frame)) = deframer.next_frame() {
        assert_eq!(frame, expected[taken]);
        taken += 1;
    }
    assert_eq!(taken, expected.len());
    assert_eq!(deframer.next_frame().err(), error);
}

/// Every frame of the stream, where each ends, and what makes an end of it all.
fn naive(stream: &[u8], frame_max: usize) -> (Vec<&[u8]>, Vec<usize>, Option<FrameError>) {
    let (mut frames, mut ends, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(prefix) = stream[at..].first_chunk() {
        let length = i32::from_be_bytes(*prefix);
        if length < 0 {
            return (frames, ends, Some(FrameError::NegativeLength));
        }
        if length as usize > frame_max {
            return (frames, ends, Some(FrameError::TooLong));
        }
        let Some(frame) = stream.get(at + 4..at + 4 + length as usize) else { break };
        frames.push(frame);
        at += 4 + length as usize;
        ends.push(at);
    }
    (frames, ends, None)
}
