//! Snapshots as a leader sends them to a learner (PARITY `sync.snap.stream`).
//!
//! ```text
//! int count    (long session, int timeout)*
//! int count    (long acl id, ACL vector)*
//! (string path, buffer data, long acl id, StatPersisted)*     parents first; the root's path is ""
//! string "/"
//! string "BenWasHere"                                          signature
//! ```
//!
//! This is what a file has between its header and its first seal, so [`Encoder::begin_stream`] and
//! [`Decoder::stream`] are another beginning of the same encoder and decoder. A stream ends with its signature,
//! behind which packets follow: the decoder gives back what it was given of them.
//!
//! [`Encoder::begin_stream`]: super::Encoder::begin_stream
//! [`Decoder::stream`]: super::Decoder::stream

use crate::wire::jute::{DecodeError, Reader};

/// What a stream ends with.
pub(super) const SIGNATURE: &str = "BenWasHere";

/// Reads the signature, and says that there is none as soon as that can be told.
pub(super) fn check_signature(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if reader.int()? != SIGNATURE.len() as i32 {
        return Err(DecodeError::BadSignature);
    }
    let text = reader.rest();
    let text = &text[..text.len().min(SIGNATURE.len())];
    if !SIGNATURE.as_bytes().starts_with(text) {
        return Err(DecodeError::BadSignature);
    }
    reader.array::<{ SIGNATURE.len() }>().map(drop)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::types::{Acl, AclList, Id, Perms, SessionId, StatPersisted, TxnDigest, Zxid};
    use crate::wire::data::arbitrary::{acl, stat_persisted};
    use crate::wire::snapshot::{Decoder, Encoder, Item, OPEN_UNSAFE_ACL_ID};

    const LIMIT: usize = 1 << 12;

    /// A stream that ZooKeeper 3.9.3 wrote: two sessions, four ACLs, seven znodes.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/snapshot.stream");

    /// A snapshot, and what is behind it.
    type Found = Option<(Vec<u8>, Vec<u8>)>;

    type Node = (String, Option<Vec<u8>>, i64, StatPersisted);

    fn encode(sessions: &[(i64, i32)], acls: &[(i64, AclList)], nodes: &[Node]) -> Vec<u8> {
        let mut out = Vec::new();
        let sessions = sessions.iter().map(|&(session, timeout_ms)| (SessionId(session), timeout_ms));
        let acls = acls.iter().map(|(id, list)| (*id, list));
        let mut encoder = Encoder::head(&mut out, Encoder::begin_stream, sessions, acls);
        for (path, data, acl, stat) in nodes {
            encoder.node(&mut out, path, data.as_deref(), *acl, stat);
        }
        encoder.end_nodes(&mut out);
        out
    }

    /// What a decoder finds in the bytes, in pieces of this size, written anew; and what it leaves.
    fn decode(bytes: &[u8], piece: usize) -> Result<Found, DecodeError> {
        let mut decoder = Decoder::stream(LIMIT);
        let (mut sessions, mut acls, mut nodes) = (vec![], vec![], vec![]);
        let mut pieces = bytes.chunks(piece);
        loop {
            match decoder.next()? {
                None => match pieces.next() {
                    Some(piece) => decoder.push(piece),
                    None => return Ok(None),
                },
                Some(Item::AclEntry { id, list }) => acls.push((id, list)),
                Some(Item::Node { path, data, acl, stat }) => {
                    nodes.push((path.into(), data.map(Vec::from), acl, stat));
                }
                Some(Item::Session { session, timeout_ms }) => sessions.push((session.0, timeout_ms)),
                Some(Item::End) => break,
                Some(item @ (Item::Digest { .. } | Item::LastZxid(_))) => panic!("{item:?}"),
            }
        }
        assert_eq!(decoder.next(), Ok(Some(Item::End)), "again and again");
        let rest = [&decoder.into_rest()[..], &pieces.collect::<Vec<_>>().concat()].concat();
        Ok(Some((encode(&sessions, &acls, &nodes), rest)))
    }

    fn small() -> Vec<u8> {
        let list = AclList::from(vec![Acl { perms: Perms::READ, id: Id::new("ip", "10.0.0.1") }]);
        let root = (String::new(), None, OPEN_UNSAFE_ACL_ID, StatPersisted::default());
        let node = ("/a".into(), Some(vec![1, 2, 3]), 1, StatPersisted::default());
        encode(&[(0x77, 4000)], &[(1, list)], &[root, node])
    }

    /// The same bytes as ZooKeeper, both ways, and nothing taken of what is behind.
    #[test]
    fn sync_snap_stream_golden() {
        let stream = [GOLDEN, b"behind"].concat();
        for piece in [1, 2, 7, 64, GOLDEN.len(), stream.len()] {
            let (again, rest) = decode(&stream, piece).expect("a snapshot").expect("all of it");
            assert_eq!(again, GOLDEN);
            assert_eq!(rest, b"behind");
        }
    }

    /// A stream that stops is waited for, wherever it stops.
    #[test]
    fn unfinished() {
        let whole = small();
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut], 16), Ok(None), "cut to {cut} of {}", whole.len());
        }
        assert_eq!(decode(&whole, 16), Ok(Some((whole.clone(), vec![]))));
    }

    /// Anything but the signature is noticed at its first wrong byte.
    #[test]
    fn signature() {
        let whole = small();
        let start = whole.len() - SIGNATURE.len() - 4;
        for at in start..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            let seen = if at < start + 4 { start + 4 } else { at + 1 };
            assert_eq!(decode(&damaged[..seen], 16), Err(DecodeError::BadSignature), "byte {at}");
        }
    }

    /// A file is no stream and a stream no file.
    #[test]
    fn not_the_other() {
        let mut file = Vec::new();
        let mut encoder = Encoder::begin(&mut file, 0);
        encoder.begin_acls(&mut file, 0);
        encoder.node(&mut file, "", None, OPEN_UNSAFE_ACL_ID, &StatPersisted::default());
        encoder.end_nodes(&mut file);
        assert_ne!(decode(&file, 16).map(|found| found.is_some()), Ok(true));
        let mut decoder = Decoder::new(LIMIT);
        decoder.push(&small());
        assert_eq!(decoder.next(), Err(DecodeError::BadMagic));
    }

    #[test]
    #[should_panic(expected = "the digest follows the znodes")]
    fn nothing_follows() {
        let mut out = Vec::new();
        let mut encoder = Encoder::begin_stream(&mut out, 0);
        encoder.begin_acls(&mut out, 0);
        encoder.node(&mut out, "", None, OPEN_UNSAFE_ACL_ID, &StatPersisted::default());
        encoder.end_nodes(&mut out);
        encoder.digest(&mut out, Zxid(1), &TxnDigest { version: 2, tree_digest: 0 });
    }

    proptest! {
        /// What is written is read back, whatever the pieces, and the rest is given back.
        #[test]
        fn round_trip(
            sessions: Vec<(i64, i32)>,
            acls in proptest::collection::vec((any::<i64>(), acl()), 0..4),
            nodes in proptest::collection::vec(
                ("(/[a-z]{1,5}){0,3}", any::<Option<Vec<u8>>>(), any::<i64>(), stat_persisted()), 1..8),
            rest: Vec<u8>,
            piece in 1_usize..300,
        ) {
            let stream = encode(&sessions, &acls, &nodes);
            let found = decode(&[&stream[..], &rest].concat(), piece);
            prop_assert_eq!(found, Ok(Some((stream, rest))));
        }
    }
}
