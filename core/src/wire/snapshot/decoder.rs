//! Reads snapshots, from pieces of any size.

use alloc::vec::Vec;

use super::END_PATH;
use super::stream::check_signature;
use crate::types::{AclList, SessionId, StatPersisted, TxnDigest, Zxid};
use crate::wire::checksum::Checksum;
use crate::wire::data::{STAT_PERSISTED_LEN, SentAcl, decode_acl, decode_stat_persisted};
use crate::wire::jute::{DecodeError, Reader};
use crate::wire::record::FileHeader;

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
        /// The id of its ACL, possibly [`OPEN_UNSAFE_ACL_ID`](super::OPEN_UNSAFE_ACL_ID).
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
    use super::*;
    use crate::wire::snapshot::Encoder;

    /// An unfinished item is kept, and nothing more.
    #[test]
    fn memory() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::head(&mut bytes, Encoder::begin, core::iter::empty(), core::iter::empty());
        for i in 0..1000 {
            let path = alloc::format!("/{i}");
            encoder.node(&mut bytes, &path, Some(&[7; 1000]), -1, &StatPersisted::default());
        }
        encoder.end_nodes(&mut bytes);
        let mut decoder = Decoder::new(1 << 16);
        for window in bytes.chunks(512) {
            decoder.push(window);
            while decoder.next().expect("fine").is_some() {}
            assert!(decoder.buffer.capacity() <= 4096);
        }
    }
}
