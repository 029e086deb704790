//! Transactions as they are logged: a header, a body whose form the header's operation decides, the digest of the
//! tree afterwards, if there was one, and in a log of ours the batch that the record was written with.
//!
//! ```text
//! payload:  header   body   [int version  long digest]   [long zxid of the batch's first record]
//! ```
//!
//! ZooKeeper knows nothing of the last part and never looks at it: it reads a digest behind the body or, where
//! eight bytes are too few for one, none. Only the log has it: what goes to other servers is without.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::data::{SentAcl, decode_acl, encode_acl, pack};
use super::jute::{DecodeError, Reader, Writer};
use crate::time::WallTime;
use crate::types::{
    AclList, CreateTxn, ErrorCode, NodeKind, OpCode, SessionId, SubTxn, Txn, TxnDigest, TxnHeader, Zxid,
};

/// Bytes of a transaction's header.
pub const HEADER_LEN: usize = 32;
/// Bytes of a transaction's digest.
pub const DIGEST_LEN: usize = 12;
/// Bytes of the mark that says which batch a record belongs to. ZooKeeper must not take it for a digest.
pub const BATCH_MARK_LEN: usize = 8;
const _: () = assert!(BATCH_MARK_LEN < DIGEST_LEN);
const DIGEST_AND_MARK_LEN: usize = DIGEST_LEN + BATCH_MARK_LEN;
/// Bytes that may follow a transaction.
const TRAILER_LENS: [usize; 4] = [0, BATCH_MARK_LEN, DIGEST_LEN, DIGEST_AND_MARK_LEN];

/// What a record of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The transaction's header.
    pub header: TxnHeader,
    /// The transaction.
    pub txn: Txn,
    /// The digest of the tree behind it.
    pub digest: Option<TxnDigest>,
    /// The first transaction of those that were written together with this one; ZooKeeper does not say.
    pub batch: Option<Zxid>,
}

/// Appends a transaction (PARITY `disk.log.payload`).
///
/// # Panics
/// If the operation and the transaction do not belong together: a create and its kind of znode, for instance,
/// or a failed transaction that is not [`OpCode::ERROR`].
pub fn encode(header: &TxnHeader, txn: &Txn, digest: Option<&TxnDigest>, out: &mut Vec<u8>) {
    out.extend_from_slice(&pack![HEADER_LEN;
        header.session.0, header.cxid, header.zxid.0, header.time.0, header.op.0,
    ]);
    let mut writer = Writer::new(out);
    if let Txn::Multi(subs) = txn {
        assert_eq!(header.op, OpCode::MULTI, "the header names the transaction");
        encode_multi(&mut writer, subs);
    } else {
        encode_body(&mut writer, header.op, txn);
    }
    if let Some(digest) = digest {
        out.extend_from_slice(&pack![DIGEST_LEN; digest.version, digest.tree_digest]);
    }
}

/// Appends a transaction as a record of our log has it: with the batch that it is written with, named by its first
/// transaction.
///
/// A closed session without its list of znodes gets no mark: ZooKeeper looks for the list where the digest is, fails
/// at its end, and takes that for no list. With a mark behind the digest it may find one, of paths that are none. See
/// [`names_batch`].
///
/// # Panics
/// As [`encode`].
pub fn encode_logged(
    header: &TxnHeader,
    txn: &Txn,
    digest: Option<&TxnDigest>,
    batch: Zxid,
    out: &mut Vec<u8>,
) {
    encode(header, txn, digest, out);
    mark(txn, batch, out);
}

/// Appends a transaction that came in bytes as a record of our log has it; `txn` is what they decode to.
pub fn copy_logged(bytes: &[u8], txn: &Txn, batch: Zxid, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    mark(txn, batch, out);
}

/// Whether a record of our log says with which batch the transaction was written. One that does not must begin its batch.
pub const fn names_batch(txn: &Txn) -> bool {
    !matches!(txn, Txn::CloseSession { paths: None })
}

fn mark(txn: &Txn, batch: Zxid, out: &mut Vec<u8>) {
    if names_batch(txn) {
        out.extend_from_slice(&batch.0.to_be_bytes());
    }
}

fn encode_multi(writer: &mut Writer<'_>, subs: &[SubTxn]) {
    writer.vector_len(subs.len());
    for SubTxn { op, txn } in subs {
        // An operation that failed is logged as an error, whatever was asked for.
        let op = if matches!(txn, Txn::Error { .. }) { OpCode::ERROR } else { *op };
        writer.int(op.0);
        let start = writer.out().len();
        writer.int(0);
        encode_body(writer, op, txn);
        let out = writer.out();
        let length = i32::try_from(out.len() - start - 4).expect("a request is limited far below 2 GiB");
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn encode_body(writer: &mut Writer<'_>, op: OpCode, txn: &Txn) {
    let expected: &[OpCode] = match txn {
        Txn::Check { path, version } => {
            writer.string(path);
            writer.int(*version);
            &[OpCode::CHECK]
        }
        Txn::CloseSession { paths } => {
            if let Some(paths) = paths {
                writer.strings(paths);
            }
            &[OpCode::CLOSE_SESSION]
        }
        Txn::Create(create) => encode_create(writer, create),
        Txn::CreateSession { timeout_ms } => {
            writer.int(*timeout_ms);
            &[OpCode::CREATE_SESSION]
        }
        Txn::Delete { path } => {
            writer.string(path);
            &[OpCode::DELETE, OpCode::DELETE_CONTAINER]
        }
        Txn::Error { code } => {
            writer.int(code.0);
            &[OpCode::ERROR]
        }
        // Nothing is nested in what is nested.
        Txn::Multi(_) => &[],
        Txn::SetAcl { path, acl, version } => {
            writer.string(path);
            encode_acl(writer, acl);
            writer.int(*version);
            &[OpCode::SET_ACL]
        }
        Txn::SetData { path, data, version } => {
            writer.string(path);
            writer.buffer(data.as_deref());
            writer.int(*version);
            &[OpCode::SET_DATA, OpCode::RECONFIG]
        }
    };
    assert!(expected.contains(&op), "{op:?} names another transaction than {txn:?}");
}

fn encode_create(writer: &mut Writer<'_>, create: &CreateTxn) -> &'static [OpCode] {
    let CreateTxn { path, data, acl, kind, parent_cversion } = create;
    writer.string(path);
    writer.buffer(data.as_deref());
    encode_acl(writer, acl);
    match kind {
        NodeKind::Container => {
            writer.int(*parent_cversion);
            &[OpCode::CREATE_CONTAINER]
        }
        NodeKind::Ephemeral | NodeKind::Persistent => {
            writer.boolean(*kind == NodeKind::Ephemeral);
            writer.int(*parent_cversion);
            &[OpCode::CREATE, OpCode::CREATE2]
        }
        NodeKind::Ttl(ttl) => {
            writer.int(*parent_cversion);
            writer.long(*ttl);
            &[OpCode::CREATE_TTL]
        }
    }
}

/// Decodes a transaction whose strings and buffers have at most `field_max` bytes. Bytes behind it are left
/// alone.
///
/// # Errors
/// If it is none.
pub fn decode(bytes: &[u8], field_max: usize) -> Result<(TxnHeader, Txn, Option<TxnDigest>), DecodeError> {
    let Logged { header, txn, digest, .. } = decode_logged(bytes, field_max)?;
    Ok((header, txn, digest))
}

/// Decodes a transaction as [`decode`] does, and the mark of its batch: the last eight bytes, where exactly so many
/// are left. Records that ZooKeeper wrote have none.
///
/// # Errors
/// If it is no transaction.
pub fn decode_logged(bytes: &[u8], field_max: usize) -> Result<Logged, DecodeError> {
    let mut reader = Reader::with_limit(bytes, field_max);
    let (header, txn) = decode_txn(&mut reader)?;
    let digest = if reader.remaining() < DIGEST_LEN { None } else { decode_digest(&mut reader) };
    let batch = if reader.remaining() == BATCH_MARK_LEN { Some(Zxid(reader.long()?)) } else { None };
    Ok(Logged { header, txn, digest, batch })
}

fn decode_txn(reader: &mut Reader<'_>) -> Result<(TxnHeader, Txn), DecodeError> {
    let header = TxnHeader {
        session: SessionId(reader.long()?),
        cxid: reader.int()?,
        zxid: Zxid(reader.long()?),
        time: WallTime(reader.long()?),
        op: OpCode(reader.int()?),
    };
    let txn = match header.op {
        OpCode::CHECK => return Err(DecodeError::UnknownOperation),
        OpCode::CLOSE_SESSION => decode_close_session(reader)?,
        OpCode::CREATE => {
            let before = reader.clone();
            match decode_body(header.op, reader) {
                Err(DecodeError::UnexpectedEnd) => {
                    *reader = before;
                    decode_create_v0(reader)?
                }
                decoded => decoded?,
            }
        }
        OpCode::MULTI => decode_multi(reader)?,
        op => decode_body(op, reader)?,
    };
    Ok((header, txn))
}

/// A digest is there or it is not (PARITY `disk.digest.records`); half of one is not.
fn decode_digest(reader: &mut Reader<'_>) -> Option<TxnDigest> {
    let (version, digest) = (reader.int().ok()?, reader.long().ok()?);
    Some(TxnDigest { version, tree_digest: digest.cast_unsigned() })
}

fn decode_body(op: OpCode, reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    Ok(match op {
        OpCode::CHECK => Txn::Check { path: path(reader)?, version: reader.int()? },
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            decode_create(op, reader)?
        }
        OpCode::CREATE_SESSION => Txn::CreateSession { timeout_ms: reader.int()? },
        OpCode::DELETE | OpCode::DELETE_CONTAINER => Txn::Delete { path: path(reader)? },
        OpCode::ERROR => Txn::Error { code: ErrorCode(reader.int()?) },
        OpCode::RECONFIG | OpCode::SET_DATA => Txn::SetData {
            path: path(reader)?,
            data: reader.buffer()?.map(Box::from),
            version: reader.int()?,
        },
        OpCode::SET_ACL => Txn::SetAcl { path: path(reader)?, acl: acl(reader)?, version: reader.int()? },
        _ => return Err(DecodeError::UnknownOperation),
    })
}

fn path(reader: &mut Reader<'_>) -> Result<Box<str>, DecodeError> {
    reader.required_string().map(Box::from)
}

/// A null list means the open one, as it does in ZooKeeper's cache of ACLs.
fn acl(reader: &mut Reader<'_>) -> Result<AclList, DecodeError> {
    match decode_acl(reader)? {
        SentAcl::List(list) => Ok(list),
        SentAcl::NullVector => Ok(AclList::OpenUnsafe),
        SentAcl::NullEntry => Err(DecodeError::Null),
    }
}

fn decode_create(op: OpCode, reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    let (path, data, acl) = (path(reader)?, reader.buffer()?.map(Box::from), acl(reader)?);
    let (kind, parent_cversion) = match op {
        OpCode::CREATE_CONTAINER => (NodeKind::Container, reader.int()?),
        OpCode::CREATE_TTL => {
            let parent_cversion = reader.int()?;
            (NodeKind::Ttl(reader.long()?), parent_cversion)
        }
        _ => (persistent_or_ephemeral(reader.boolean()?), reader.int()?),
    };
    Ok(Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion }))
}

/// A create without the parent's cversion, as very old logs have it (PARITY `disk.txn.createv0`).
fn decode_create_v0(reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    Ok(Txn::Create(CreateTxn {
        path: path(reader)?,
        data: reader.buffer()?.map(Box::from),
        acl: acl(reader)?,
        kind: persistent_or_ephemeral(reader.boolean()?),
        parent_cversion: -1,
    }))
}

const fn persistent_or_ephemeral(ephemeral: bool) -> NodeKind {
    if ephemeral { NodeKind::Ephemeral } else { NodeKind::Persistent }
}

/// The body may be missing (PARITY `disk.txn.closesession.empty`), with or without a digest behind it. Twelve
/// bytes can be a digest alone or a list, and so can twenty, where a mark follows the digest, as logs of earlier releases
/// have it; it is the list if its entries are paths and what is left behind them has the length of what may follow.
/// No digest looks like that: its version, read as a count, asks for paths that do not fit. (A version of 0 would ask
/// for none; ZooKeeper has written 2 since it has written digests.)
fn decode_close_session(reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    let body = reader.clone();
    let listed = decode_paths(reader);
    let fits = TRAILER_LENS.contains(&reader.remaining());
    let may_be_digest = matches!(body.remaining(), DIGEST_LEN | DIGEST_AND_MARK_LEN);
    if may_be_digest && !matches!(&listed, Ok(paths) if fits && all_absolute(paths)) {
        *reader = body;
        return Ok(Txn::CloseSession { paths: None });
    }
    match listed {
        Ok(paths) => Ok(Txn::CloseSession { paths: Some(paths) }),
        Err(DecodeError::UnexpectedEnd) => {
            *reader = Reader::new(&[]);
            Ok(Txn::CloseSession { paths: None })
        }
        Err(error) => Err(error),
    }
}

fn decode_paths(reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, DecodeError> {
    Ok(reader.required_strings()?.into_iter().map(Box::from).collect())
}

fn all_absolute(paths: &[Box<str>]) -> bool {
    paths.iter().all(|path| path.starts_with('/'))
}

/// ZooKeeper logs a failed multi with the operations before the failing one as they were meant, and makes
/// errors of them when it applies it. Here they are errors at once, so that nobody can take them for changes
/// (PARITY `multi.fail`): OK before the first error, RUNTIMEINCONSISTENCY after it.
fn decode_multi(reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    let count = reader.vector_len()?.ok_or(DecodeError::Null)?;
    let mut subs = Vec::with_capacity(count.min(reader.remaining() / 8));
    for _ in 0..count {
        let op = OpCode(reader.int()?);
        let body = reader.buffer()?.ok_or(DecodeError::Null)?;
        let txn = match op {
            OpCode::CHECK
            | OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::CREATE_CONTAINER
            | OpCode::CREATE_TTL
            | OpCode::DELETE
            | OpCode::DELETE_CONTAINER
            | OpCode::ERROR
            | OpCode::SET_DATA => decode_body(op, &mut Reader::with_limit(body, reader.field_max()))?,
            _ => return Err(DecodeError::UnknownOperation),
        };
        subs.push(SubTxn { op, txn });
    }
    if subs.iter().any(|sub| sub.op == OpCode::ERROR) {
        let mut code = ErrorCode::OK;
        for sub in &mut subs {
            if sub.op == OpCode::ERROR {
                code = ErrorCode::RUNTIMEINCONSISTENCY;
            } else {
                *sub = SubTxn { op: OpCode::ERROR, txn: Txn::Error { code } };
            }
        }
    }
    Ok(Txn::Multi(subs))
}

/// Strategies for tests of this module's users.
#[cfg(test)]
pub(crate) mod arbitrary {
    use alloc::string::String;
    use alloc::vec;

    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::data::arbitrary::acl;

    fn path() -> impl Strategy<Value = Box<str>> {
        "(/[a-zé]{1,5}){1,3}".prop_map(String::into_boxed_str)
    }

    fn data() -> impl Strategy<Value = Option<Box<[u8]>>> {
        option::of(proptest::collection::vec(any::<u8>(), 0..20).prop_map(Vec::into_boxed_slice))
    }

    fn create() -> impl Strategy<Value = (OpCode, Txn)> {
        let op = prop_oneof![
            Just((OpCode::CREATE, NodeKind::Persistent)),
            Just((OpCode::CREATE2, NodeKind::Ephemeral)),
            Just((OpCode::CREATE_CONTAINER, NodeKind::Container)),
            any::<i64>().prop_map(|ttl| (OpCode::CREATE_TTL, NodeKind::Ttl(ttl))),
        ];
        (op, path(), data(), acl(), any::<i32>()).prop_map(
            |((op, kind), path, data, acl, parent_cversion)| {
                (op, Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion }))
            },
        )
    }

    /// What may stand in a multi, but for errors.
    fn sub() -> impl Strategy<Value = (OpCode, Txn)> {
        prop_oneof![
            create(),
            (path(), any::<i32>()).prop_map(|(path, version)| (OpCode::CHECK, Txn::Check { path, version })),
            path().prop_map(|path| (OpCode::DELETE, Txn::Delete { path })),
            (path(), data(), any::<i32>())
                .prop_map(|(path, data, version)| (OpCode::SET_DATA, Txn::SetData { path, data, version })),
        ]
    }

    fn error() -> impl Strategy<Value = (OpCode, Txn)> {
        any::<i32>().prop_map(|code| (OpCode::ERROR, Txn::Error { code: ErrorCode(code) }))
    }

    fn multi(sub: impl Strategy<Value = (OpCode, Txn)>) -> impl Strategy<Value = (OpCode, Txn)> {
        proptest::collection::vec(sub.prop_map(|(op, txn)| SubTxn { op, txn }), 0..4)
            .prop_map(|subs| (OpCode::MULTI, Txn::Multi(subs)))
    }

    /// Any transaction with the operation that belongs to it.
    pub(crate) fn txn() -> impl Strategy<Value = (OpCode, Txn)> {
        prop_oneof![
            create(),
            sub().prop_filter("top level", |(op, _)| *op != OpCode::CHECK),
            error(),
            multi(sub()),
            multi(error()),
            path().prop_map(|path| (OpCode::DELETE_CONTAINER, Txn::Delete { path })),
            any::<i32>().prop_map(|timeout_ms| (OpCode::CREATE_SESSION, Txn::CreateSession { timeout_ms })),
            proptest::collection::vec(path(), 0..3)
                .prop_map(|paths| (OpCode::CLOSE_SESSION, Txn::CloseSession { paths: Some(paths) })),
            Just((OpCode::CLOSE_SESSION, Txn::CloseSession { paths: None })),
            (path(), acl(), any::<i32>())
                .prop_map(|(path, acl, version)| (OpCode::SET_ACL, Txn::SetAcl { path, acl, version })),
            (path(), data(), any::<i32>())
                .prop_map(|(path, data, version)| (OpCode::RECONFIG, Txn::SetData { path, data, version })),
        ]
    }

    prop_compose! {
        pub(crate) fn logged()(
            (op, txn) in txn(), session: i64, cxid: i32, zxid: i64, time: i64, digest: Option<u64>,
        ) -> (TxnHeader, Txn, Option<TxnDigest>) {
            let header =
                TxnHeader { session: SessionId(session), cxid, zxid: Zxid(zxid), time: WallTime(time), op };
            (header, txn, digest.map(|tree_digest| TxnDigest { version: 2, tree_digest }))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn header(op: OpCode) -> TxnHeader {
        TxnHeader { session: SessionId(1), cxid: 2, zxid: Zxid(3), time: WallTime(4), op }
    }

    fn encoded(op: OpCode, txn: &Txn, digest: Option<&TxnDigest>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&header(op), txn, digest, &mut out);
        out
    }

    fn create(parent_cversion: i32) -> Txn {
        Txn::Create(CreateTxn {
            path: "/a".into(),
            data: None,
            acl: AclList::OpenUnsafe,
            kind: NodeKind::Ephemeral,
            parent_cversion,
        })
    }

    /// PARITY `disk.txn.createv0`: a create that ends after the ephemeral flag gets -1; create2 is never that
    /// old.
    #[test]
    fn disk_txn_createv0() {
        let mut out = encoded(OpCode::CREATE, &create(7), None);
        out.truncate(out.len() - 4);
        assert_eq!(decode(&out, LIMIT), Ok((header(OpCode::CREATE), create(-1), None)));
        out[HEADER_LEN - 1] = 15;
        assert_eq!(decode(&out, LIMIT), Err(DecodeError::UnexpectedEnd));
    }

    /// PARITY `disk.txn.closesession.empty`: no body, with and without a digest behind it, against a list of
    /// the same length.
    #[test]
    fn disk_txn_closesession_empty() {
        let none = Txn::CloseSession { paths: None };
        let listed = Txn::CloseSession { paths: Some(vec!["/abc".into()]) };
        for tree_digest in [0, 1, u64::MAX, 0x0000_0004_2f61_6263] {
            let digest = TxnDigest { version: 2, tree_digest };
            for txn in [&none, &listed] {
                for digest in [None, Some(digest)] {
                    let out = encoded(OpCode::CLOSE_SESSION, txn, digest.as_ref());
                    let decoded = decode(&out, LIMIT);
                    assert_eq!(decoded, Ok((header(OpCode::CLOSE_SESSION), txn.clone(), digest)));
                }
            }
        }
        assert_eq!(encoded(OpCode::CLOSE_SESSION, &listed, None).len(), HEADER_LEN + DIGEST_LEN);
    }

    /// Every trailer of a closed session, for bodies that have the length of one: each is read as it was meant, also
    /// the mark behind a digest alone, which is not written any more.
    #[test]
    fn batch_mark_of_a_closed_session() {
        let list = |paths: &[&str]| Some(paths.iter().map(|path| Box::from(*path)).collect());
        let bodies = [None, list(&[]), list(&["/abc"]), list(&["/abcdefghijk"]), list(&["/abc", "/abc"])];
        for paths in bodies {
            for tree_digest in [0, 1, u64::MAX, 0x0000_0004_2f61_6263] {
                for digest in [None, Some(TxnDigest { version: 2, tree_digest })] {
                    for batch in [Zxid(1), Zxid::new(1, 1), Zxid::new(7, u32::MAX)] {
                        let (header, txn) =
                            (header(OpCode::CLOSE_SESSION), Txn::CloseSession { paths: paths.clone() });
                        let mut out = Vec::new();
                        encode_logged(&header, &txn, digest.as_ref(), batch, &mut out);
                        let written = paths.is_some().then_some(batch);
                        let logged = Logged { header, txn, digest, batch: written };
                        assert_eq!(decode_logged(&out, LIMIT), Ok(logged.clone()));
                        if paths.is_none() && digest.is_some() {
                            out.extend_from_slice(&batch.0.to_be_bytes());
                            let marked = Logged { batch: Some(batch), ..logged };
                            assert_eq!(decode_logged(&out, LIMIT), Ok(marked));
                        }
                    }
                }
            }
        }
    }

    /// PARITY `multi.fail`: a failed multi as ZooKeeper logs it, where only the operations from the failing
    /// one on are errors.
    #[test]
    fn multi_fail() {
        let error = |code| SubTxn { op: OpCode::ERROR, txn: Txn::Error { code } };
        let logged = Txn::Multi(vec![
            SubTxn { op: OpCode::CREATE, txn: create(1) },
            error(ErrorCode::NONODE),
            error(ErrorCode::RUNTIMEINCONSISTENCY),
        ]);
        let meant = Txn::Multi(vec![
            error(ErrorCode::OK),
            error(ErrorCode::NONODE),
            error(ErrorCode::RUNTIMEINCONSISTENCY),
        ]);
        let out = encoded(OpCode::MULTI, &logged, None);
        assert_eq!(decode(&out, LIMIT), Ok((header(OpCode::MULTI), meant, None)));
        // The operation that was asked for is not logged with an error.
        let asked =
            Txn::Multi(vec![SubTxn { op: OpCode::DELETE, txn: Txn::Error { code: ErrorCode::NONODE } }]);
        let out = encoded(OpCode::MULTI, &asked, None);
        let meant = Txn::Multi(vec![error(ErrorCode::NONODE)]);
        assert_eq!(decode(&out, LIMIT), Ok((header(OpCode::MULTI), meant, None)));
    }

    /// What must not be at the top, or inside, is refused; so are fields beyond the limit and hostile counts.
    #[test]
    fn refused() {
        let check =
            Txn::Multi(vec![SubTxn { op: OpCode::CHECK, txn: Txn::Check { path: "/a".into(), version: 1 } }]);
        let mut out = encoded(OpCode::MULTI, &check, None);
        assert!(decode(&out, LIMIT).is_ok());
        for op in [14, 16, 7, -10, -11, 3] {
            out[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&i32::to_be_bytes(op));
            assert_eq!(decode(&out, LIMIT), Err(DecodeError::UnknownOperation), "{op} in a multi");
        }
        for op in [13, 3, 0, 99, -2] {
            out[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&i32::to_be_bytes(op));
            assert_eq!(decode(&out, LIMIT), Err(DecodeError::UnknownOperation), "{op} at the top");
        }
        let mut hostile = encoded(OpCode::MULTI, &Txn::Multi(vec![]), None);
        hostile[HEADER_LEN..].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(decode(&hostile, LIMIT), Err(DecodeError::UnexpectedEnd));
        let long = encoded(OpCode::DELETE, &Txn::Delete { path: "/abc".into() }, None);
        assert_eq!(decode(&long, 3), Err(DecodeError::TooLong));
    }

    #[test]
    #[should_panic(expected = "names another transaction")]
    fn header_and_body_disagree() {
        encoded(OpCode::CREATE_TTL, &create(1), None);
    }

    proptest! {
        /// PARITY `disk.txn.types`, `disk.digest.records`: what is written is read back, digest or none; no
        /// prefix panics, and one that reads as something ends before the digest or the optional parts.
        #[test]
        fn disk_txn_types((header, txn, digest) in arbitrary::logged()) {
            let mut out = Vec::new();
            encode(&header, &txn, digest.as_ref(), &mut out);
            prop_assert_eq!(decode(&out, LIMIT), Ok((header, txn.clone(), digest)));
            for cut in 0..out.len() {
                if let Ok((cut_header, cut_txn, cut_digest)) = decode(&out[..cut], LIMIT) {
                    prop_assert_eq!(cut_header, header);
                    let optional = matches!(header.op, OpCode::CREATE | OpCode::CLOSE_SESSION);
                    prop_assert!(optional || cut_txn == txn && cut_digest.is_none());
                }
            }
        }

        /// The mark is read back with and without a digest before it, and is in the way of nobody who does not ask
        /// for it; a record of ZooKeeper's has none.
        #[test]
        fn batch_mark((header, txn, digest) in arbitrary::logged(), batch: i64) {
            let mut out = Vec::new();
            encode(&header, &txn, digest.as_ref(), &mut out);
            let plain = Logged { header, txn: txn.clone(), digest, batch: None };
            prop_assert_eq!(decode_logged(&out, LIMIT), Ok(plain.clone()));
            out.clear();
            encode_logged(&header, &txn, digest.as_ref(), Zxid(batch), &mut out);
            prop_assert_eq!(decode(&out, LIMIT), Ok((header, txn.clone(), digest)));
            let bare = txn == Txn::CloseSession { paths: None };
            let batch = (!bare).then_some(Zxid(batch));
            prop_assert_eq!(decode_logged(&out, LIMIT), Ok(Logged { batch, ..plain }));
        }

        /// Nothing that is thrown at the decoder makes it panic.
        #[test]
        fn garbage(op in -12_i32..25, body in proptest::collection::vec(0_u8..6, 0..60)) {
            let mut out = vec![0; HEADER_LEN - 4];
            out.extend_from_slice(&op.to_be_bytes());
            out.extend_from_slice(&body);
            let _ = decode(&out, 8);
        }
    }
}
