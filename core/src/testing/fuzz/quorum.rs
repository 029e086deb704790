//! Packets of the quorum port out of bytes cut anywhere, against a deframer that has everything at once.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Source;
use crate::types::{LearnerInfo, Message};
use crate::wire::quorum::{Deframer, QuorumDecodeError, encode};

type Found = Vec<Result<Message, QuorumDecodeError>>;

/// The first byte is the limit, eight more say where the rest is cut, where the messages are left waiting, and where
/// bytes are taken raw and put back. Whatever is cut, the same messages come out; what came out is encoded to bytes
/// that mean the same, in a form that does not change any more.
///
/// # Panics
/// If that is not so.
pub fn quorum(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let field_max = source.below(200);
    let (stream, pieces) = source.pieces();

    let mut whole = Deframer::new(field_max);
    whole.push(Bytes::copy_from_slice(stream));
    let mut expected = Found::new();
    while let Some(more) = take(&mut whole, &mut expected) {
        if !more {
            break;
        }
    }

    let mut deframer = Deframer::new(field_max);
    let mut found = Found::new();
    let mut pushed = 0;
    for (piece, then) in pieces {
        pushed += piece.len();
        deframer.push(Bytes::copy_from_slice(piece));
        assert!(deframer.buffered() <= pushed, "more is held than came");
        match then {
            0 => {}
            1 => put_back(&mut deframer),
            few => (1..few).for_each(|_| {
                let _ = take(&mut deframer, &mut found);
            }),
        }
    }
    while take(&mut deframer, &mut found) == Some(true) {}
    assert_eq!(found, expected);
    assert_eq!(deframer.buffered(), whole.buffered());
    for message in found.iter().flatten() {
        again(message);
    }
}

/// Takes a message, or says that there is none, or none any more.
fn take(deframer: &mut Deframer, found: &mut Found) -> Option<bool> {
    // A stream that was given up says so for ever.
    if matches!(found.last(), Some(Err(QuorumDecodeError::Malformed(_)))) {
        return None;
    }
    let result = deframer.next().transpose();
    let some = result.is_some();
    found.extend(result);
    Some(some)
}

/// Bytes taken raw and put back piece by piece, last piece first, are as before.
fn put_back(deframer: &mut Deframer) {
    let held = deframer.buffered();
    let mut pieces: Vec<Bytes> = core::iter::from_fn(|| deframer.raw()).collect();
    assert_eq!((deframer.buffered(), pieces.iter().map(Bytes::len).sum()), (0, held));
    while let Some(piece) = pieces.pop() {
        deframer.unread(piece);
    }
    assert_eq!(deframer.buffered(), held);
}

fn again(message: &Message) {
    let mut out = Vec::new();
    encode(message, &mut out);
    let mut deframer = Deframer::new(out.len());
    deframer.push(Bytes::copy_from_slice(&out));
    let found = deframer.next().expect("a message").expect("the whole of it");
    assert_eq!((deframer.next(), deframer.buffered()), (Ok(None), 0));
    assert_eq!(found, sent(message));
    let mut same = Vec::new();
    encode(&found, &mut same);
    assert_eq!(same, out);
}

/// What becomes of a message that is sent on: who does not say its id says nothing else about itself either.
fn sent(message: &Message) -> Message {
    let said = |info: LearnerInfo| match info.server {
        Some(_) => info,
        None => LearnerInfo { server: None, protocol_version: 1, config_version: 0 },
    };
    match message.clone() {
        Message::FollowerInfo { accepted_epoch, info } => {
            Message::FollowerInfo { accepted_epoch, info: said(info) }
        }
        Message::ObserverInfo { accepted_epoch, info } => {
            Message::ObserverInfo { accepted_epoch, info: said(info) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Zxid;

    /// A stream that is cut in the middle of everything comes out whole.
    #[test]
    fn packets_in_pieces() {
        let mut bytes = alloc::vec![199, 3, 33, 70, 5, 130, 40, 97, 254];
        for zxid in 0..20 {
            encode(&Message::Commit { zxid: Zxid(zxid) }, &mut bytes);
            encode(&Message::Proposal { zxid: Zxid(zxid), txn: Bytes::from_static(&[7; 30]) }, &mut bytes);
        }
        quorum(&bytes);
    }
}
