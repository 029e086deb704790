//! The inside of multi and multiRead: headers between the parts, and how creates are understood there.

use alloc::vec::Vec;

use super::data::{SentAcl, decode_acl};
use super::jute::{DecodeError, Reader, Writer};
use super::request::Request;
use crate::types::OpCode;

/// One operation of a multi or a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiOp<'a> {
    /// The operation. For creates it tells what is created, see [`Request::Create`].
    pub op: OpCode,
    /// Its arguments.
    pub request: Request<'a>,
}

/// A create's body before its ACL is judged: alone, a null list is INVALIDACL; in a multi, mostly
/// undecodable.
pub(super) struct SentCreate<'a> {
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: SentAcl,
    flags: i32,
    ttl: Option<i64>,
}

impl<'a> SentCreate<'a> {
    pub(super) fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.required_string()?,
            data: reader.buffer()?,
            acl: decode_acl(reader)?,
            flags: reader.int()?,
            ttl: if op == OpCode::CREATE_TTL { Some(reader.long()?) } else { None },
        })
    }

    pub(super) fn into_request(self) -> Request<'a> {
        let Self { path, data, acl, flags, ttl } = self;
        Request::Create { path, data, acl: acl.list(), flags, ttl }
    }
}

/// What stands before every operation and every result of a multi (PARITY `multi.frame`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeader {
    /// The operation, or [`OpCode::ERROR`].
    pub op: OpCode,
    /// Whether nothing follows.
    pub done: bool,
    /// -1 in requests; in results the error.
    pub err: i32,
}

impl MultiHeader {
    /// What stands at the end.
    pub const END: Self = Self { op: OpCode::ERROR, done: true, err: -1 };

    /// Decodes a header.
    ///
    /// # Errors
    /// If the bytes end before it does.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { op: OpCode(reader.int()?), done: reader.boolean()?, err: reader.int()? })
    }

    /// Appends the header.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.int(self.op.0);
        writer.boolean(self.done);
        writer.int(self.err);
    }
}

pub(super) const fn is_multi_write(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::CHECK
            | OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::CREATE_CONTAINER
            | OpCode::CREATE_TTL
            | OpCode::DELETE
            | OpCode::SET_DATA
    )
}

pub(super) const fn is_multi_read(op: OpCode) -> bool {
    matches!(op, OpCode::GET_CHILDREN | OpCode::GET_DATA)
}

/// Decodes the operations of a multi, all of which must be `allowed` (PARITY `multi.ops`).
pub(super) fn decode_multi<'a>(
    reader: &mut Reader<'a>,
    allowed: fn(OpCode) -> bool,
) -> Result<Vec<MultiOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(ops);
        }
        if !allowed(header.op) {
            return Err(DecodeError::InvalidMulti);
        }
        ops.push(decode_multi_op(header.op, reader)?);
    }
}

fn decode_multi_op<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    if matches!(op, OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL) {
        return decode_multi_create(op, reader);
    }
    let mut request = Request::decode(op, reader)?;
    // PARITY `multiread`: no watch can be left by it.
    if let Request::GetChildren { watch, .. } | Request::GetData { watch, .. } = &mut request {
        *watch = false;
    }
    Ok(MultiOp { op, request })
}

/// Inside a multi ZooKeeper turns each create into one of its client library's `Op` objects, which choose the
/// operation from the create mode: a mode with TTL makes it createTTL, the container mode createContainer,
/// and a createTTL without such a mode falls back to create. Alone, the operation alone decides.
fn decode_multi_create<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    const CONTAINER: i32 = 4;
    const TTL: i32 = 5;
    const TTL_SEQUENTIAL: i32 = 6;

    let mut create = SentCreate::decode(op, reader)?;
    if op != OpCode::CREATE_TTL {
        if !(0..=TTL_SEQUENTIAL).contains(&create.flags) {
            return Err(DecodeError::InvalidMulti);
        }
        if create.acl == SentAcl::NullVector {
            return Err(DecodeError::Null);
        }
    }
    let op = match create.flags {
        TTL | TTL_SEQUENTIAL => {
            // No TTL came along: none that is valid.
            create.ttl = create.ttl.or(Some(-1));
            OpCode::CREATE_TTL
        }
        flags => {
            create.ttl = None;
            match op {
                _ if flags == CONTAINER => OpCode::CREATE_CONTAINER,
                OpCode::CREATE_TTL => OpCode::CREATE,
                op => op,
            }
        }
    };
    Ok(MultiOp { op, request: create.into_request() })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::types::AclList;

    fn encoded(ops: &[MultiOp<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        Request::Multi(ops.to_vec()).encode(OpCode::MULTI, &mut Writer::new(&mut out));
        out
    }

    fn create(op: OpCode, flags: i32, ttl: Option<i64>) -> MultiOp<'static> {
        let request = Request::Create { path: "/a", data: None, acl: Some(AclList::OpenUnsafe), flags, ttl };
        MultiOp { op, request }
    }

    fn get_data(watch: bool) -> MultiOp<'static> {
        MultiOp { op: OpCode::GET_DATA, request: Request::GetData { path: "/a", watch } }
    }

    fn delete() -> MultiOp<'static> {
        MultiOp { op: OpCode::DELETE, request: Request::Delete { path: "/a", version: -1 } }
    }

    /// PARITY `multi.frame`, `multi.empty`: headers with err -1 before each, one that says done behind the
    /// last.
    #[test]
    fn multi_frame() {
        let end = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(encoded(&[]), end);
        assert_eq!(Request::decode(OpCode::MULTI, &mut Reader::new(&end)), Ok(Request::Multi(vec![])));
        assert_eq!(
            Request::decode(OpCode::MULTI_READ, &mut Reader::new(&end)),
            Ok(Request::MultiRead(vec![]))
        );
        let out = encoded(&[delete()]);
        assert_eq!(out[..9], [0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff]);
        for cut in 0..out.len() {
            let cut = Request::decode(OpCode::MULTI, &mut Reader::new(&out[..cut]));
            assert_eq!(cut, Err(DecodeError::UnexpectedEnd));
        }
    }

    /// PARITY `multi.ops`: every operation number in either kind, against the list; and never mixed.
    #[test]
    fn multi_ops() {
        let check = MultiOp { op: OpCode::CHECK, request: Request::Check { path: "/a", version: 0 } };
        let set = MultiOp {
            op: OpCode::SET_DATA,
            request: Request::SetData { path: "/a", data: None, version: 0 },
        };
        let children =
            MultiOp { op: OpCode::GET_CHILDREN, request: Request::GetChildren { path: "/a", watch: false } };
        let writes = vec![
            create(OpCode::CREATE, 0, None),
            create(OpCode::CREATE2, 3, None),
            create(OpCode::CREATE_CONTAINER, 4, None),
            create(OpCode::CREATE_TTL, 5, Some(9)),
            delete(),
            set,
            check,
        ];
        let reads = vec![get_data(false), children];
        let decode = |op, ops: &[MultiOp<'_>]| Request::decode(op, &mut Reader::new(&encoded(ops))).is_ok();
        assert!(decode(OpCode::MULTI, &writes));
        assert!(decode(OpCode::MULTI_READ, &reads));
        for (op, others) in [(OpCode::MULTI, &reads), (OpCode::MULTI_READ, &writes)] {
            for other in others {
                assert!(!decode(op, core::slice::from_ref(other)), "{other:?} in {op:?}");
            }
        }
        let allowed: Vec<i32> = writes.iter().chain(&reads).map(|op| op.op.0).collect();
        for number in (-12..110).filter(|number| !allowed.contains(number)) {
            let mut out = encoded(&[delete()]);
            out[..4].copy_from_slice(&i32::to_be_bytes(number));
            for op in [OpCode::MULTI, OpCode::MULTI_READ] {
                assert_eq!(
                    Request::decode(op, &mut Reader::new(&out)),
                    Err(DecodeError::InvalidMulti),
                    "{number}"
                );
            }
        }
    }

    /// PARITY `multiread`: no watch survives.
    #[test]
    fn multiread() {
        let out = encoded(&[get_data(true)]);
        let decoded = Request::decode(OpCode::MULTI_READ, &mut Reader::new(&out));
        assert_eq!(decoded, Ok(Request::MultiRead(vec![get_data(false)])));
    }

    /// What ZooKeeper's decoder makes of every operation with every create mode, read off `Op.create`.
    #[test]
    fn create_modes() {
        let check = |op: OpCode, flags, expected: Result<MultiOp<'_>, DecodeError>| {
            let out = encoded(&[create(op, flags, (op == OpCode::CREATE_TTL).then_some(9))]);
            let decoded = Request::decode(OpCode::MULTI, &mut Reader::new(&out));
            assert_eq!(decoded, expected.map(|op| Request::Multi(vec![op])), "{op:?} with mode {flags}");
        };
        for op in [OpCode::CREATE, OpCode::CREATE2, OpCode::CREATE_CONTAINER] {
            for flags in 0..4 {
                check(op, flags, Ok(create(op, flags, None)));
            }
            check(op, 4, Ok(create(OpCode::CREATE_CONTAINER, 4, None)));
            check(op, 5, Ok(create(OpCode::CREATE_TTL, 5, Some(-1))));
            check(op, 6, Ok(create(OpCode::CREATE_TTL, 6, Some(-1))));
            for flags in [-1, 7] {
                check(op, flags, Err(DecodeError::InvalidMulti));
            }
        }
        for flags in [0, 1, 2, 3, 7, -1] {
            check(OpCode::CREATE_TTL, flags, Ok(create(OpCode::CREATE, flags, None)));
        }
        check(OpCode::CREATE_TTL, 4, Ok(create(OpCode::CREATE_CONTAINER, 4, None)));
        check(OpCode::CREATE_TTL, 6, Ok(create(OpCode::CREATE_TTL, 6, Some(9))));
    }
}
