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
//! A leader sends its learners the same without header and seals; see [`super::snapshot_stream`].

use alloc::vec::Vec;

use super::checksum::Checksum;
use super::data::{
    STAT_PERSISTED_LEN, SentAcl, decode_acl, decode_stat_persisted, encode_acl_entries, encode_stat_persisted,
};
use super::jute::{DecodeError, Reader, Writer};
use super::record::FileHeader;
use super::snapshot_stream::{SIGNATURE, check_signature};
use crate::types::{Acl, AclList, SessionId, StatPersisted, TxnDigest, Zxid};

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

/// How far an [`Encoder`] is; each part is written once, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sessions { left: usize },
    Acls { left: usize },
    Nodes,
    AfterNodes,
    AfterDigest,
    AfterLastZxid,
    AfterSignature,
}

/// Writes a snapshot. Every call appends to a vector, which may be emptied between any two calls.
#[derive(Debug)]
pub struct Encoder {
    /// The checksum so far; none in a stream, which has no seals.
    adler: Option<Checksum>,
    part: Part,
}

impl Encoder {
    /// Appends the header and begins the list of `count` sessions.
    pub fn begin(out: &mut Vec<u8>, count: usize) -> Self {
        let mut encoder = Self { adler: Some(Checksum::new()), part: Part::Sessions { left: count } };
        encoder.write(out, |out| {
            FileHeader::SNAPSHOT.encode(out);
            Writer::new(out).vector_len(count);
        });
        encoder
    }

    /// As [`Encoder::begin`], of a snapshot that a leader sends to a learner. It ends with its znodes.
    pub fn begin_stream(out: &mut Vec<u8>, count: usize) -> Self {
        Writer::new(out).vector_len(count);
        Self { adler: None, part: Part::Sessions { left: count } }
    }

    /// Appends all that comes before the znodes. `begin` is [`Encoder::begin`] or [`Encoder::begin_stream`]; sessions
    /// and ACLs are gone through twice, for they are counted first.
    pub fn head<'a>(
        out: &mut Vec<u8>,
        begin: fn(&mut Vec<u8>, usize) -> Self,
        sessions: impl Iterator<Item = (SessionId, i32)> + Clone,
        acls: impl Iterator<Item = (i64, &'a AclList)> + Clone,
    ) -> Self {
        let mut encoder = begin(out, sessions.clone().count());
        for (session, timeout_ms) in sessions {
            encoder.session(out, session, timeout_ms);
        }
        encoder.begin_acls(out, acls.clone().count());
        for (id, list) in acls {
            encoder.acl(out, id, list.entries());
        }
        encoder
    }

    /// Appends a session.
    ///
    /// # Panics
    /// If all announced sessions were written.
    pub fn session(&mut self, out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
        let Part::Sessions { left: left @ 1.. } = &mut self.part else { panic!("no session is due") };
        *left -= 1;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(session.0);
            writer.int(timeout_ms);
        });
    }

    /// Begins the table of `count` ACLs.
    ///
    /// # Panics
    /// Unless all announced sessions were written.
    pub fn begin_acls(&mut self, out: &mut Vec<u8>, count: usize) {
        assert_eq!(self.part, Part::Sessions { left: 0 }, "the ACLs follow the sessions");
        self.part = Part::Acls { left: count };
        self.write(out, |out| Writer::new(out).vector_len(count));
    }

    /// Appends an ACL and the id by which znodes refer to it. The open list needs none, it is always
    /// [`OPEN_UNSAFE_ACL_ID`].
    ///
    /// # Panics
    /// If all announced ACLs were written.
    pub fn acl(&mut self, out: &mut Vec<u8>, id: i64, entries: &[Acl]) {
        let Part::Acls { left: left @ 1.. } = &mut self.part else { panic!("no ACL is due") };
        *left -= 1;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(id);
            encode_acl_entries(&mut writer, entries);
        });
    }

    /// Appends a znode, parents before children. The root's path is empty here.
    ///
    /// # Panics
    /// Unless all announced ACLs were written; if the path is "/", which ends the znodes.
    pub fn node(
        &mut self,
        out: &mut Vec<u8>,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) {
        assert!(matches!(self.part, Part::Acls { left: 0 } | Part::Nodes), "the znodes follow the ACLs");
        assert_ne!(path, END_PATH, "the root's path is empty in a snapshot");
        self.part = Part::Nodes;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.string(path);
            writer.buffer(data);
            writer.long(acl);
            encode_stat_persisted(&mut writer, stat);
        });
    }

    /// Ends the znodes and seals them; in a stream, signs them, and nothing may follow.
    ///
    /// # Panics
    /// If there was no znode.
    pub fn end_nodes(&mut self, out: &mut Vec<u8>) {
        assert_eq!(self.part, Part::Nodes, "every tree has a root");
        self.write(out, |out| Writer::new(out).string(END_PATH));
        if self.adler.is_some() {
            self.part = Part::AfterNodes;
            self.seal(out);
        } else {
            self.part = Part::AfterSignature;
            Writer::new(out).string(SIGNATURE);
        }
    }

    /// Appends and seals the digest of the tree at `zxid` (the tree of a fuzzy snapshot once the log was
    /// replayed up to there).
    ///
    /// # Panics
    /// Unless it directly follows the znodes.
    pub fn digest(&mut self, out: &mut Vec<u8>, zxid: Zxid, digest: &TxnDigest) {
        assert_eq!(self.part, Part::AfterNodes, "the digest follows the znodes");
        self.part = Part::AfterDigest;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(zxid.0);
            writer.int(digest.version);
            writer.long(digest.tree_digest.cast_signed());
        });
        self.seal(out);
    }

    /// Appends and seals the zxid of the last transaction in the snapshot.
    ///
    /// # Panics
    /// Unless it follows the znodes or the digest.
    pub fn last_zxid(&mut self, out: &mut Vec<u8>, zxid: Zxid) {
        assert!(matches!(self.part, Part::AfterNodes | Part::AfterDigest), "the zxid comes last");
        self.part = Part::AfterLastZxid;
        self.write(out, |out| Writer::new(out).long(zxid.0));
        self.seal(out);
    }

    fn seal(&mut self, out: &mut Vec<u8>) {
        let Some(adler) = &self.adler else { return };
        let checksum = adler.value();
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(checksum);
            writer.string(END_PATH);
        });
    }

    fn write(&mut self, out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        append(out);
        if let Some(adler) = &mut self.adler {
            adler.write(&out[start..]);
        }
    }
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An ACL and the id by which znodes refer to it.
    AclEntry {
        /// The id.
        id: i64,
        /// The list.
        list: AclList,
    },
    /// The digest of the tree once the log was replayed up to `zxid`. A zxid of 0 means that there is none.
    Digest {
        /// Where the digest is true.
        zxid: Zxid,
        /// The digest.
        digest: TxnDigest,
    },
    /// The snapshot is complete; whatever follows is not part of it.
    End,
    /// The last transaction in the snapshot.
    LastZxid(Zxid),
    /// A znode; parents come before their children.
    Node {
        /// Its path; empty for the root.
        path: &'a str,
        /// Its data.
        data: Option<&'a [u8]>,
        /// The id of its ACL, possibly [`OPEN_UNSAFE_ACL_ID`].
        acl: i64,
        /// Its stat.
        stat: StatPersisted,
    },
    /// A session.
    Session {
        /// Which.
        session: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
}

/// What a [`Decoder`] expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The header and the number of sessions.
    Header,
    /// The number of sessions, of a stream.
    StreamBegin,
    /// A session, or the number of ACLs.
    Session {
        left: u32,
    },
    /// An ACL, or the first znode.
    Acl {
        left: u32,
    },
    /// A znode, or the end of the znodes.
    Node,
    NodesSeal,
    /// A digest, the last zxid, or nothing.
    AfterNodes,
    /// The last zxid, or nothing.
    AfterDigest,
    /// Anything: a later release may have added to the format.
    Nothing,
    /// What a stream ends with.
    Signature,
    /// What is behind a stream.
    StreamEnd,
}

/// What stands at the beginning of a window.
struct Step<'a> {
    used: usize,
    item: Option<Item<'a>>,
    next: Expect,
}

/// Reads a snapshot from pieces of any size. It keeps what the last piece left unfinished, at most one znode.
#[derive(Debug)]
pub struct Decoder {
    /// The checksum of what is used up; none in a stream, which has no seals.
    adler: Option<Checksum>,
    expect: Expect,
    buffer: Vec<u8>,
    /// How much of `buffer` is used up.
    used: usize,
    /// Whether nothing will be pushed any more.
    finished: bool,
    field_max: usize,
}

impl Decoder {
    /// A decoder that refuses strings and buffers of more than `field_max` bytes.
    pub fn new(field_max: usize) -> Self {
        Self::expecting(Expect::Header, Some(Checksum::new()), field_max)
    }

    /// As [`Decoder::new`], for a snapshot that a leader sends to a learner. [`Item::End`] comes as soon as it is
    /// complete.
    pub fn stream(field_max: usize) -> Self {
        Self::expecting(Expect::StreamBegin, None, field_max)
    }

    const fn expecting(expect: Expect, adler: Option<Checksum>, field_max: usize) -> Self {
        Self { adler, expect, buffer: Vec::new(), used: 0, finished: false, field_max }
    }

    /// What was pushed and not used: behind the end of a stream, what is not part of it.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.used)
    }

    /// Takes the next bytes of the snapshot.
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(!self.finished, "there was said to be nothing more");
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no bytes follow. What is not there is now missing, or absent if it may be.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next item, or `None` until more was pushed. [`Item::End`] comes only after [`Decoder::finish`] or, in a
    /// stream, behind the signature, and then again and again.
    ///
    /// # Errors
    /// If this is no snapshot. The snapshot is to be given up then.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, DecodeError> {
        loop {
            let window = &self.buffer[self.used..];
            let step = match step(self.expect, window, self.adler.as_ref(), self.finished, self.field_max) {
                Ok(step) => step,
                // One item at most is unfinished here, so a legal one would not have grown this far.
                Err(DecodeError::UnexpectedEnd) if !self.finished => {
                    let item_max = self.field_max.saturating_mul(2).saturating_add(ITEM_OVERHEAD_MAX);
                    return if window.len() > item_max { Err(DecodeError::TooLong) } else { Ok(None) };
                }
                Err(error) => return Err(error),
            };
            if let Some(adler) = &mut self.adler {
                adler.write(&window[..step.used]);
            }
            self.used += step.used;
            self.expect = step.next;
            if step.item.is_some() {
                return Ok(step.item);
            }
        }
    }
}

/// More than a znode or ACL has besides its two largest fields.
const ITEM_OVERHEAD_MAX: usize = 1024;
const _: () = assert!(ITEM_OVERHEAD_MAX > STAT_PERSISTED_LEN + 4 + 4 + 8);

/// `adler` is the checksum of everything before the window, where there is one.
fn step<'a>(
    expect: Expect,
    window: &'a [u8],
    adler: Option<&Checksum>,
    finished: bool,
    field_max: usize,
) -> Result<Step<'a>, DecodeError> {
    let mut reader = Reader::with_limit(window, field_max);
    let (item, next) = match expect {
        Expect::Header => {
            FileHeader::decode(&mut reader, &FileHeader::SNAPSHOT)?;
            (None, Expect::Session { left: count(&mut reader)? })
        }
        Expect::StreamBegin => (None, Expect::Session { left: count(&mut reader)? }),
        Expect::Session { left: 0 } => (None, Expect::Acl { left: count(&mut reader)? }),
        Expect::Session { left } => {
            let item = Item::Session { session: SessionId(reader.long()?), timeout_ms: reader.int()? };
            (Some(item), Expect::Session { left: left - 1 })
        }
        Expect::Acl { left: 0 } => (None, Expect::Node),
        Expect::Acl { left } => {
            let id = reader.long()?;
            let SentAcl::List(list) = decode_acl(&mut reader)? else { return Err(DecodeError::Null) };
            (Some(Item::AclEntry { id, list }), Expect::Acl { left: left - 1 })
        }
        Expect::Node => match reader.required_string()? {
            END_PATH if adler.is_none() => (None, Expect::Signature),
            END_PATH => (None, Expect::NodesSeal),
            path => {
                let (data, acl) = (reader.buffer()?, reader.long()?);
                let stat = decode_stat_persisted(&mut reader)?;
                (Some(Item::Node { path, data, acl, stat }), Expect::Node)
            }
        },
        Expect::NodesSeal => {
            check_seal(&mut reader, window, adler)?;
            (None, Expect::AfterNodes)
        }
        Expect::AfterNodes | Expect::AfterDigest if window.is_empty() && finished => (None, Expect::Nothing),
        Expect::AfterNodes => match digest(&mut reader, window, adler) {
            Ok(item) => (Some(item), Expect::AfterDigest),
            Err(DecodeError::UnexpectedEnd) if !finished => return Err(DecodeError::UnexpectedEnd),
            // It has no digest's seal, so it is none.
            Err(_) => {
                reader = Reader::new(window);
                (Some(last_zxid(&mut reader, window, adler)?), Expect::Nothing)
            }
        },
        Expect::AfterDigest => (Some(last_zxid(&mut reader, window, adler)?), Expect::Nothing),
        Expect::Nothing if finished => (Some(Item::End), Expect::Nothing),
        Expect::Nothing if window.is_empty() => return Err(DecodeError::UnexpectedEnd),
        Expect::Nothing => {
            reader = Reader::new(&[]);
            (None, Expect::Nothing)
        }
        Expect::Signature => {
            check_signature(&mut reader)?;
            (Some(Item::End), Expect::StreamEnd)
        }
        Expect::StreamEnd => (Some(Item::End), Expect::StreamEnd),
    };
    Ok(Step { used: window.len() - reader.remaining(), item, next })
}

fn count(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.int()?).map_err(|_| DecodeError::NegativeLength)
}

fn digest(
    reader: &mut Reader<'_>,
    window: &[u8],
    adler: Option<&Checksum>,
) -> Result<Item<'static>, DecodeError> {
    let (zxid, version) = (Zxid(reader.long()?), reader.int()?);
    let digest = if version < 2 { hexadecimal(reader)? } else { reader.long()? };
    check_seal(reader, window, adler)?;
    let digest = TxnDigest { version, tree_digest: digest.cast_unsigned() };
    Ok(Item::Digest { zxid, digest })
}

/// A digest of the algorithm's first versions, which is a text.
fn hexadecimal(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    const DIGITS_MAX: usize = 17;
    let mut limited = Reader::with_limit(reader.rest(), DIGITS_MAX);
    let digits = limited.string()?.unwrap_or("0");
    *reader = Reader::new(limited.rest());
    i64::from_str_radix(digits, 16).map_err(|_| DecodeError::WrongLength)
}

fn last_zxid(
    reader: &mut Reader<'_>,
    window: &[u8],
    adler: Option<&Checksum>,
) -> Result<Item<'static>, DecodeError> {
    let zxid = Zxid(reader.long()?);
    check_seal(reader, window, adler)?;
    Ok(Item::LastZxid(zxid))
}

/// Reads a seal and compares it with the checksum of all that was before the window and in it.
fn check_seal(reader: &mut Reader<'_>, window: &[u8], adler: Option<&Checksum>) -> Result<(), DecodeError> {
    let mut adler = adler.ok_or(DecodeError::BadSeal)?.clone();
    adler.write(&window[..window.len() - reader.remaining()]);
    let (checksum, path) = (reader.long()?, reader.required_string()?);
    if checksum == adler.value() && path == END_PATH { Ok(()) } else { Err(DecodeError::BadSeal) }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::types::{Id, Perms};
    use crate::wire::data::arbitrary::{acl, stat_persisted};

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

    /// The decoder keeps an unfinished item and nothing more.
    #[test]
    fn memory() {
        let node = |i| (alloc::format!("/{i}"), Some(vec![7; 1000]), -1, StatPersisted::default());
        let content = Content { nodes: (0..1000).map(node).collect(), ..Content::default() };
        let mut decoder = Decoder::new(LIMIT);
        for window in content.encode().chunks(512) {
            decoder.push(window);
            while decoder.next().expect("fine").is_some() {}
            assert!(decoder.buffer.capacity() <= 4096);
        }
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
