//! Snapshots: a database as a stream of bytes, written and read piece by piece.
//!
//! ```text
//! "ZKSN"  int version = 2  long dbid = -1
//! int count    (long session, int timeout)*
//! int count    (long acl id, ACL vector)*
//! (string path, buffer data, long acl id, StatPersisted)*     parents first; the root's path is ""
//! string "/"                                                   seal
//! [ long zxid, int digest version, long digest                 seal ]
//! [ long last processed zxid                                   seal ]
//! ```
//!
//! A seal is the Adler-32 of everything before it, as a long, and the string "/". The seals count, too. What
//! is in brackets depends on configuration and release, and is told apart by its seal.
//!
//! A leader sends its learners the same without header and seals; see [`stream`].

mod decoder;
mod encoder;
pub mod stream;

pub use self::decoder::{Decoder, Item};
pub use self::encoder::Encoder;

/// The path behind the last znode, and in every seal.
const END_PATH: &str = "/";

/// The ACL id of the open list, which is not in the ACL table (PARITY `disk.snap.aclmap`).
pub const OPEN_UNSAFE_ACL_ID: i64 = -1;

/// Bytes at the end of a file that [`is_complete`] wants to see.
pub const COMPLETE_CHECK_LEN: usize = 10;

/// Whether a file that ends with `last_bytes` was written to its end, most likely. Give the last
/// [`COMPLETE_CHECK_LEN`] bytes; a file that has fewer is not complete (PARITY `disk.snap.valid`).
pub fn is_complete(last_bytes: &[u8]) -> bool {
    last_bytes.len() >= COMPLETE_CHECK_LEN && last_bytes.ends_with(&[0, 0, 0, 1, b'/'])
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::types::{Acl, AclList, Id, Perms, SessionId, StatPersisted, TxnDigest, Zxid};
    use crate::wire::checksum::Checksum;
    use crate::wire::data::arbitrary::{acl, stat_persisted};
    use crate::wire::jute::{DecodeError, Writer};

    const LIMIT: usize = 1 << 16;

    /// A snapshot's content, owned.
    #[derive(Clone, Debug, Default)]
    struct Content {
        sessions: Vec<(i64, i32)>,
        acls: Vec<(i64, AclList)>,
        nodes: Vec<(String, Option<Vec<u8>>, i64, StatPersisted)>,
        digest: Option<(i64, u64)>,
        last_zxid: Option<i64>,
    }

    impl Content {
        fn encode(&self) -> Vec<u8> {
            let mut out = Vec::new();
            let sessions =
                self.sessions.iter().map(|&(session, timeout_ms)| (SessionId(session), timeout_ms));
            let acls = self.acls.iter().map(|(id, list)| (*id, list));
            let mut encoder = Encoder::head(&mut out, Encoder::begin, sessions, acls);
            for (path, data, acl, stat) in &self.nodes {
                encoder.node(&mut out, path, data.as_deref(), *acl, stat);
            }
            encoder.end_nodes(&mut out);
            if let Some((zxid, tree_digest)) = self.digest {
                encoder.digest(&mut out, Zxid(zxid), &TxnDigest { version: 2, tree_digest });
            }
            if let Some(zxid) = self.last_zxid {
                encoder.last_zxid(&mut out, Zxid(zxid));
            }
            out
        }

        /// Every item but the end, as text, which frees them from the decoder.
        fn items(&self) -> Vec<String> {
            let sessions = self
                .sessions
                .iter()
                .map(|&(session, timeout_ms)| Item::Session { session: SessionId(session), timeout_ms });
            let acls = self.acls.iter().map(|(id, list)| Item::AclEntry { id: *id, list: list.clone() });
            let nodes = self.nodes.iter().map(|(path, data, acl, stat)| Item::Node {
                path,
                data: data.as_deref(),
                acl: *acl,
                stat: *stat,
            });
            let digest = self.digest.map(|(zxid, tree_digest)| Item::Digest {
                zxid: Zxid(zxid),
                digest: TxnDigest { version: 2, tree_digest },
            });
            let last = self.last_zxid.map(|zxid| Item::LastZxid(Zxid(zxid)));
            let items = sessions.chain(acls).chain(nodes).chain(digest).chain(last);
            items.map(|item| alloc::format!("{item:?}")).collect()
        }
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<String>, DecodeError> {
        let mut decoder = Decoder::new(LIMIT);
        let mut found = vec![];
        for window in bytes.chunks(piece) {
            decoder.push(window);
            while let Some(item) = decoder.next()? {
                assert_ne!(item, Item::End, "the end comes after finish");
                found.push(alloc::format!("{item:?}"));
            }
        }
        decoder.finish();
        loop {
            match decoder.next()?.expect("nothing is waited for any more") {
                Item::End => return Ok(found),
                item => found.push(alloc::format!("{item:?}")),
            }
        }
    }

    fn small() -> Content {
        Content {
            sessions: vec![(0x77, 4000)],
            acls: vec![(1, AclList::from(vec![Acl { perms: Perms::READ, id: Id::new("ip", "10.0.0.1") }]))],
            nodes: vec![
                (String::new(), None, OPEN_UNSAFE_ACL_ID, StatPersisted::default()),
                ("/a".into(), Some(vec![1, 2, 3]), 1, StatPersisted::default()),
            ],
            digest: Some((9, 0xfeed)),
            last_zxid: Some(9),
        }
    }

    /// PARITY `disk.snap.seal`: each trailing part may be absent, and which one is there is told by its seal.
    #[test]
    fn disk_snap_seal() {
        for digest in [None, Some((0, 0)), Some((9, u64::MAX))] {
            for last_zxid in [None, Some(0), Some(i64::MAX)] {
                let content = Content { digest, last_zxid, ..small() };
                let bytes = content.encode();
                assert!(is_complete(&bytes));
                for piece in [1, 7, bytes.len()] {
                    assert_eq!(decode(&bytes, piece), Ok(content.items()));
                }
            }
        }
    }

    /// PARITY `disk.snap.valid`: anything shorter is an error, but for the three places where it may end; and
    /// those are the only ones that look complete.
    #[test]
    fn disk_snap_valid() {
        let whole = small().encode();
        let ends = [whole.len() - 54, whole.len() - 21];
        for cut in 0..whole.len() {
            let decoded = decode(&whole[..cut], 16);
            assert_eq!(decoded.is_ok(), ends.contains(&cut), "cut to {cut} of {}", whole.len());
            // The end of the znodes looks complete to the quick check. It always did.
            let quick = ends.contains(&cut) || cut == whole.len() - 54 - 8 - 5;
            assert_eq!(is_complete(&whole[..cut]), quick, "cut to {cut}");
        }
        assert!(!is_complete(&[0, 0, 0, 1, b'/']));
    }

    /// Any flipped bit in front of the last seal is noticed.
    #[test]
    fn damage() {
        let whole = small().encode();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Nobody reads the number of the database, but it is under the seal, too.
            assert!(decode(&damaged, 64).is_err(), "bit {bit}");
        }
    }

    /// A digest of an early release is a text; its version says so.
    #[test]
    fn old_digest() {
        let content = Content { digest: None, last_zxid: None, ..small() };
        let mut bytes = content.encode();
        let mut adler = Checksum::new();
        Writer::new(&mut bytes).long(5);
        Writer::new(&mut bytes).int(1);
        Writer::new(&mut bytes).string("1f");
        adler.write(&bytes);
        Writer::new(&mut bytes).long(adler.value());
        Writer::new(&mut bytes).string("/");
        let mut expected = content.items();
        let digest = TxnDigest { version: 1, tree_digest: 0x1f };
        expected.push(alloc::format!("{:?}", Item::Digest { zxid: Zxid(5), digest }));
        assert_eq!(decode(&bytes, 1), Ok(expected));
    }

    /// What a later release may add behind the last part is left alone.
    #[test]
    fn unknown_tail() {
        let bytes = [small().encode(), vec![1; 5000]].concat();
        assert_eq!(decode(&bytes, 100), Ok(small().items()));
    }

    /// Hostile headers and lengths are refused by name, and nothing is kept for what does not come.
    #[test]
    fn refused() {
        assert_eq!(decode(b"ZKLG\0\0\0\x02", 9), Err(DecodeError::UnexpectedEnd));
        assert_eq!(decode(b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0", 16), Err(DecodeError::BadMagic));
        assert_eq!(decode(b"ZKSN\0\0\0\x03\0\0\0\0\0\0\0\0", 16), Err(DecodeError::BadVersion));
        let header = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
        let with = |rest: &[u8]| decode(&[header, rest].concat(), 16);
        assert_eq!(with(&[0xff; 4]), Err(DecodeError::NegativeLength));
        assert_eq!(with(&[0, 0, 0, 0, 0x80, 0, 0, 0]), Err(DecodeError::NegativeLength));
        assert_eq!(with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]), Err(DecodeError::TooLong));
        assert_eq!(with(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Null));
        // An ACL of two thousand million entries that goes on and on.
        let entries = [0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0, 0, 1, b'y'].repeat(2 * LIMIT);
        let endless =
            [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0, 0, 0][..], &entries].concat();
        assert_eq!(with(&endless), Err(DecodeError::TooLong));
    }

    #[test]
    #[should_panic(expected = "the znodes follow the ACLs")]
    fn announced_and_not_written() {
        let mut out = Vec::new();
        let mut encoder = Encoder::begin(&mut out, 0);
        encoder.begin_acls(&mut out, 1);
        encoder.node(&mut out, "", None, -1, &StatPersisted::default());
    }

    prop_compose! {
        fn content()(
            sessions: Vec<(i64, i32)>,
            acls in proptest::collection::vec((any::<i64>(), acl()), 0..4),
            nodes in proptest::collection::vec(
                ("(/[a-zé]{1,5}){0,3}", any::<Option<Vec<u8>>>(), any::<i64>(), stat_persisted()), 1..8),
            digest: Option<(i64, u64)>,
            last_zxid: Option<i64>,
        ) -> Content {
            Content { sessions, acls, nodes, digest, last_zxid }
        }
    }

    proptest! {
        /// PARITY `disk.snap.sessions`, `disk.snap.aclmap`, `disk.snap.nodes`: what is written is read back,
        /// whatever the pieces.
        #[test]
        fn round_trip(content in content(), piece in 1_usize..300) {
            prop_assert_eq!(decode(&content.encode(), piece), Ok(content.items()));
        }

        /// Nothing that is thrown at the decoder makes it panic.
        #[test]
        fn garbage(content in content(), at: prop::sample::Index, bytes: [u8; 4], piece in 1_usize..300) {
            let mut encoded = content.encode();
            let at = at.index(encoded.len() - 3);
            encoded[at..at + 4].copy_from_slice(&bytes);
            let _ = decode(&encoded, piece);
        }
    }
}
