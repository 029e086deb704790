//! Records that requests, replies, transactions and snapshots share: ACLs and stats.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::jute::{DecodeError, Reader, Writer, lossy};
use crate::time::WallTime;
use crate::types::{Acl, AclList, Id, Perms, SessionId, Stat, StatPersisted, Zxid};

/// Bytes of a [`Stat`].
pub const STAT_LEN: usize = 68;
/// Bytes of a [`StatPersisted`].
pub const STAT_PERSISTED_LEN: usize = 60;

/// `[world:anyone, ALL]`, the list that nearly every create carries, as it is encoded.
const OPEN_UNSAFE: [u8; 27] = *b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// An ACL vector as it was sent, before anyone asked whether it is acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentAcl {
    /// A list, possibly empty.
    List(AclList),
    /// The vector is null.
    NullVector,
    /// An entry has no scheme or no id.
    NullEntry,
}

impl SentAcl {
    /// The list, if there is one.
    pub fn list(self) -> Option<AclList> {
        match self {
            Self::List(list) => Some(list),
            Self::NullVector | Self::NullEntry => None,
        }
    }
}

/// Decodes an ACL vector. The open list costs one comparison and no allocation.
///
/// # Errors
/// If the bytes are no ACL vector.
#[inline]
pub fn decode_acl(reader: &mut Reader<'_>) -> Result<SentAcl, DecodeError> {
    if reader.rest().starts_with(&OPEN_UNSAFE) {
        reader.array::<{ OPEN_UNSAFE.len() }>()?;
        return Ok(SentAcl::List(AclList::OpenUnsafe));
    }
    decode_entries(reader)
}

fn decode_entries(reader: &mut Reader<'_>) -> Result<SentAcl, DecodeError> {
    let Some(count) = reader.vector_len()? else { return Ok(SentAcl::NullVector) };
    // An entry takes at least twelve bytes, so this is less than what the announced count may ask for.
    let mut entries = Vec::with_capacity(count.min(reader.remaining() / 12));
    let mut null_entry = false;
    for _ in 0..count {
        let perms = Perms(reader.int()?);
        match (reader.buffer()?, reader.buffer()?) {
            // Clients send `auth` with a null id as well as with an empty one.
            (Some(scheme), id) => {
                let id = known(id.unwrap_or_default());
                entries.push(Acl { perms, id: Id { scheme: known(scheme), id } });
            }
            (None, _) => null_entry = true,
        }
    }
    Ok(if null_entry { SentAcl::NullEntry } else { SentAcl::List(AclList::from(entries)) })
}

/// A name that needs no allocation, or a copy. Not being UTF-8 is no reason to refuse a stored list, and Java
/// does not refuse it in a request either.
pub(super) fn known(name: &[u8]) -> Cow<'static, str> {
    match name {
        b"world" => Cow::Borrowed("world"),
        b"anyone" => Cow::Borrowed("anyone"),
        b"auth" => Cow::Borrowed("auth"),
        b"digest" => Cow::Borrowed("digest"),
        b"ip" => Cow::Borrowed("ip"),
        b"sasl" => Cow::Borrowed("sasl"),
        b"x509" => Cow::Borrowed("x509"),
        other => Cow::Owned(lossy(other)),
    }
}

/// Appends an ACL vector.
pub fn encode_acl(writer: &mut Writer<'_>, list: &AclList) {
    match list {
        AclList::OpenUnsafe => writer.raw(&OPEN_UNSAFE),
        AclList::Entries(entries) => encode_acl_entries(writer, entries),
    }
}

/// Appends an ACL vector of these entries.
pub fn encode_acl_entries(writer: &mut Writer<'_>, entries: &[Acl]) {
    writer.vector_len(entries.len());
    for Acl { perms, id } in entries {
        writer.int(perms.0);
        writer.string(&id.scheme);
        writer.string(&id.id);
    }
}

/// Copies big-endian fields one after the other into an array whose size is known.
macro_rules! pack {
    ($size:expr; $($field:expr),* $(,)?) => {{
        let mut bytes = [0_u8; $size];
        let mut at = 0;
        $(
            let field = $field.to_be_bytes();
            bytes[at..at + field.len()].copy_from_slice(&field);
            at += field.len();
        )*
        assert_eq!(at, $size, "the fields fill the array");
        bytes
    }};
}
pub(crate) use pack;

/// Appends a stat.
#[inline]
pub fn encode_stat(writer: &mut Writer<'_>, stat: &Stat) {
    writer.raw(&pack![STAT_LEN;
        stat.czxid.0, stat.mzxid.0, stat.ctime.0, stat.mtime.0, stat.version, stat.cversion, stat.aversion,
        stat.ephemeral_owner.0, stat.data_length, stat.num_children, stat.pzxid.0,
    ]);
}

/// Decodes a stat.
///
/// # Errors
/// If the bytes end before it does.
pub fn decode_stat(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
    Ok(Stat {
        czxid: Zxid(reader.long()?),
        mzxid: Zxid(reader.long()?),
        ctime: WallTime(reader.long()?),
        mtime: WallTime(reader.long()?),
        version: reader.int()?,
        cversion: reader.int()?,
        aversion: reader.int()?,
        ephemeral_owner: SessionId(reader.long()?),
        data_length: reader.int()?,
        num_children: reader.int()?,
        pzxid: Zxid(reader.long()?),
    })
}

/// Appends a stat as it is stored.
#[inline]
pub fn encode_stat_persisted(writer: &mut Writer<'_>, stat: &StatPersisted) {
    writer.raw(&pack![STAT_PERSISTED_LEN;
        stat.czxid.0, stat.mzxid.0, stat.ctime.0, stat.mtime.0, stat.version, stat.cversion, stat.aversion,
        stat.ephemeral_owner, stat.pzxid.0,
    ]);
}

/// Decodes a stat as it is stored.
///
/// # Errors
/// If the bytes end before it does.
pub fn decode_stat_persisted(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
    Ok(StatPersisted {
        czxid: Zxid(reader.long()?),
        mzxid: Zxid(reader.long()?),
        ctime: WallTime(reader.long()?),
        mtime: WallTime(reader.long()?),
        version: reader.int()?,
        cversion: reader.int()?,
        aversion: reader.int()?,
        ephemeral_owner: reader.long()?,
        pzxid: Zxid(reader.long()?),
    })
}

/// Strategies for tests of this module's users.
#[cfg(test)]
pub(crate) mod arbitrary {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        pub(crate) fn stat()(
            zxids: (i64, i64, i64), times: (i64, i64), versions: (i32, i32, i32), owner: i64, counts: (i32, i32),
        ) -> Stat {
            Stat {
                czxid: Zxid(zxids.0), mzxid: Zxid(zxids.1), ctime: WallTime(times.0), mtime: WallTime(times.1),
                version: versions.0, cversion: versions.1, aversion: versions.2, ephemeral_owner: SessionId(owner),
                data_length: counts.0, num_children: counts.1, pzxid: Zxid(zxids.2),
            }
        }
    }

    prop_compose! {
        pub(crate) fn stat_persisted()(stat in stat(), owner: i64) -> StatPersisted {
            StatPersisted {
                czxid: stat.czxid, mzxid: stat.mzxid, ctime: stat.ctime, mtime: stat.mtime, version: stat.version,
                cversion: stat.cversion, aversion: stat.aversion, ephemeral_owner: owner, pzxid: stat.pzxid,
            }
        }
    }

    pub(crate) fn acl() -> impl Strategy<Value = AclList> {
        let entry = (any::<i32>(), "(world|digest|[a-z]{0,4})", "(anyone|.{0,8})")
            .prop_map(|(perms, scheme, id)| Acl { perms: Perms(perms), id: Id::new(scheme, id) });
        prop_oneof![Just(AclList::OpenUnsafe), proptest::collection::vec(entry, 0..4).prop_map(AclList::from),]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn encoded(list: &AclList) -> Vec<u8> {
        let mut out = Vec::new();
        encode_acl(&mut Writer::new(&mut out), list);
        out
    }

    /// The constant is what the general encoder writes, and comes back as the list that costs nothing.
    #[test]
    fn open_acl() {
        let mut out = Vec::new();
        encode_acl_entries(&mut Writer::new(&mut out), AclList::OpenUnsafe.entries());
        assert_eq!(out, OPEN_UNSAFE);
        let decoded = decode_acl(&mut Reader::new(&out));
        assert_eq!(decoded, Ok(SentAcl::List(AclList::OpenUnsafe)));
        // The slow way must not produce a second form of the same list.
        assert_eq!(decode_entries(&mut Reader::new(&out)), Ok(SentAcl::List(AclList::OpenUnsafe)));
    }

    /// PARITY `jute.vector`: null is not empty, and a null entry does not hide what follows the list.
    #[test]
    fn null_acl() {
        assert_eq!(decode_acl(&mut Reader::new(&[0xff; 4])), Ok(SentAcl::NullVector));
        assert_eq!(decode_acl(&mut Reader::new(&[0; 4])), Ok(SentAcl::List(AclList::from(vec![]))));
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.vector_len(2);
        writer.int(31);
        writer.null();
        writer.string("anyone");
        writer.int(1);
        writer.string("ip");
        writer.null();
        writer.int(77);
        let mut reader = Reader::new(&out);
        assert_eq!(decode_acl(&mut reader), Ok(SentAcl::NullEntry));
        assert_eq!(reader.int(), Ok(77));
    }

    proptest! {
        #[test]
        fn acl_round_trip(list in arbitrary::acl()) {
            let out = encoded(&list);
            prop_assert_eq!(decode_acl(&mut Reader::new(&out)), Ok(SentAcl::List(list)));
            for cut in 0..out.len() {
                prop_assert_eq!(decode_acl(&mut Reader::new(&out[..cut])), Err(DecodeError::UnexpectedEnd));
            }
        }

        #[test]
        fn stat_round_trip(stat in arbitrary::stat(), persisted in arbitrary::stat_persisted()) {
            let mut out = Vec::new();
            encode_stat(&mut Writer::new(&mut out), &stat);
            prop_assert_eq!(out.len(), STAT_LEN);
            encode_stat_persisted(&mut Writer::new(&mut out), &persisted);
            prop_assert_eq!(out.len(), STAT_LEN + STAT_PERSISTED_LEN);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(decode_stat(&mut reader), Ok(stat));
            prop_assert_eq!(decode_stat_persisted(&mut reader), Ok(persisted));
        }
    }
}
