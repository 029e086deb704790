//! Requests to bytes and answers from bytes, by the core's own codecs.

use std::fmt;

use zabra_core::types::{ErrorCode, OpCode, Zxid};
use zabra_core::wire::data::{SentAcl, decode_acl, decode_stat};
use zabra_core::wire::request::MultiHeader;
use zabra_core::wire::{DecodeError, MultiOp, Reader, Request, RequestHeader, Writer};

use crate::op::{Answer, EventKind, Op, Outcome};

/// Something in the bytes of a server is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbled(pub String);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DecodeError> for Garbled {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// The head of everything that a server sends after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHead {
    /// Which request, or one of the reserved numbers.
    pub xid: i32,
    /// The last transaction that the answer reflects.
    pub zxid: Zxid,
    /// How it went.
    pub code: ErrorCode,
}

impl ReplyHead {
    /// Reads the head and leaves the body.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Garbled> {
        Ok(Self { xid: reader.int()?, zxid: Zxid(reader.long()?), code: ErrorCode(reader.int()?) })
    }
}

/// Appends the frame of a request.
pub fn encode(xid: i32, op: &Op, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut writer = Writer::new(out);
    RequestHeader { xid, op: op.code() }.encode(&mut writer);
    request(op).encode(op.code(), &mut writer);
    let len = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn request(op: &Op) -> Request<'_> {
    match op {
        Op::AddAuth { scheme, auth } => {
            Request::Auth { kind: 0, scheme: Some(scheme), auth: Some(auth.as_bytes()) }
        }
        Op::AddWatch { path, recursive } => Request::AddWatch { path, mode: i32::from(*recursive) },
        Op::Check { path, version } => Request::Check { path, version: *version },
        Op::CloseSession => Request::CloseSession,
        Op::Create { path, data, mode, acl, .. } => Request::Create {
            path,
            data: data.as_deref(),
            acl: Some(acl.clone()),
            flags: mode.flags(),
            ttl: mode.ttl(),
        },
        Op::Delete { path, version } => Request::Delete { path, version: *version },
        Op::Exists { path, watch } => Request::Exists { path, watch: *watch },
        Op::GetAcl { path } => Request::GetAcl { path },
        Op::GetAllChildrenNumber { path } => Request::GetAllChildrenNumber { path },
        Op::GetChildren { path, watch } => Request::GetChildren2 { path, watch: *watch },
        Op::GetData { path, watch } => Request::GetData { path, watch: *watch },
        Op::GetEphemerals { prefix } => Request::GetEphemerals { prefix: Some(prefix) },
        Op::Multi(ops) => {
            Request::Multi(ops.iter().map(|op| MultiOp { op: op.code(), request: request(op) }).collect())
        }
        Op::MultiRead(ops) => Request::MultiRead(ops.iter().map(part_of_read).collect()),
        Op::Ping => Request::Ping,
        Op::Reconfig { joining, leaving, members, version } => Request::Reconfig {
            joining: given(joining),
            leaving: given(leaving),
            new_members: given(members),
            config_id: *version,
        },
        Op::RemoveWatches { path, kind } => Request::RemoveWatches { path, kind: *kind as i32 },
        Op::SetAcl { path, acl, version } => {
            Request::SetAcl { path, acl: Some(acl.clone()), version: *version }
        }
        Op::SetData { path, data, version } => {
            Request::SetData { path, data: data.as_deref(), version: *version }
        }
        Op::SetWatches { relative, data, exist, child, persistent, recursive } => Request::SetWatches {
            relative_zxid: *relative,
            data: data.iter().map(String::as_str).collect(),
            exist: exist.iter().map(String::as_str).collect(),
            child: child.iter().map(String::as_str).collect(),
            persistent: persistent.iter().map(String::as_str).collect(),
            recursive: recursive.iter().map(String::as_str).collect(),
        },
        Op::Sync { path } => Request::Sync { path },
        Op::WhoAmI => Request::WhoAmI,
    }
}

/// What is left out is not sent.
pub(super) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Inside a multiRead, children come without their parent's stat, and nothing leaves a watch.
fn part_of_read(op: &Op) -> MultiOp<'_> {
    let (op, request) = match op {
        Op::GetChildren { path, .. } => (OpCode::GET_CHILDREN, Request::GetChildren { path, watch: false }),
        other => (other.code(), request(other)),
    };
    MultiOp { op, request }
}

/// Reads the body of an answer to `op`; nothing may be left behind it.
pub fn decode(op: &Op, code: ErrorCode, reader: &mut Reader<'_>) -> Result<Answer, Garbled> {
    let answer = if code == ErrorCode::OK { Ok(body(op, reader)?) } else { Err(code) };
    if reader.remaining() > 0 {
        return Err(Garbled(format!("{} bytes too many in the answer to {op}", reader.remaining())));
    }
    Ok(answer)
}

fn body(op: &Op, reader: &mut Reader<'_>) -> Result<Outcome, Garbled> {
    Ok(match op {
        Op::AddAuth { .. }
        | Op::Check { .. }
        | Op::CloseSession
        | Op::Delete { .. }
        | Op::Ping
        | Op::RemoveWatches { .. }
        | Op::SetWatches { .. } => Outcome::Done,
        Op::AddWatch { .. } => match reader.int()? {
            0 => Outcome::Done,
            code => return Err(Garbled(format!("{op} succeeds with error {code}"))),
        },
        Op::Create { .. } => {
            let path = reader.required_string()?.to_owned();
            Outcome::Created(path, if op.brings_stat() { Some(decode_stat(reader)?) } else { None })
        }
        Op::Exists { .. } | Op::SetAcl { .. } | Op::SetData { .. } => Outcome::Stat(decode_stat(reader)?),
        Op::GetAcl { .. } => {
            let SentAcl::List(acl) = decode_acl(reader)? else {
                return Err(Garbled(format!("{op} brings no list")));
            };
            Outcome::Acl(acl.entries().to_vec(), decode_stat(reader)?)
        }
        Op::GetAllChildrenNumber { .. } => Outcome::Count(reader.int()?),
        Op::GetChildren { .. } => Outcome::Children(names(reader)?, decode_stat(reader)?),
        Op::GetEphemerals { .. } => Outcome::Names(names(reader)?),
        Op::GetData { .. } | Op::Reconfig { .. } => {
            let data = reader.buffer()?.map(<[u8]>::to_vec);
            Outcome::Data(data, decode_stat(reader)?)
        }
        Op::Multi(ops) => Outcome::Multi(multi(ops, reader)?),
        Op::MultiRead(ops) => Outcome::Multi(multi_read(ops, reader)?),
        Op::Sync { .. } => Outcome::Path(reader.required_string()?.to_owned()),
        Op::WhoAmI => {
            let mut identities = Vec::new();
            for _ in 0..reader.int()? {
                let scheme = reader.required_string()?.to_owned();
                identities.push((scheme, reader.required_string()?.to_owned()));
            }
            Outcome::Identities(identities)
        }
    })
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, Garbled> {
    let mut names: Vec<String> = reader.required_strings()?.into_iter().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn multi_read(ops: &[Op], reader: &mut Reader<'_>) -> Result<Vec<Answer>, Garbled> {
    results(
        ops,
        reader,
        |op| part_of_read(op).op,
        |op, reader| match op {
            Op::GetChildren { .. } => Ok(Outcome::Names(names(reader)?)),
            other => body(other, reader),
        },
    )
}

fn multi(ops: &[Op], reader: &mut Reader<'_>) -> Result<Vec<Answer>, Garbled> {
    // Whatever is created, and shown with a stat, comes as the result of a create2.
    let code_of = |op: &Op| if op.brings_stat() { OpCode::CREATE2 } else { op.code() };
    results(ops, reader, code_of, body)
}

fn results(
    ops: &[Op],
    reader: &mut Reader<'_>,
    code_of: impl Fn(&Op) -> OpCode,
    mut body: impl FnMut(&Op, &mut Reader<'_>) -> Result<Outcome, Garbled>,
) -> Result<Vec<Answer>, Garbled> {
    let mut answers = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            if answers.len() != ops.len() {
                return Err(Garbled(format!("{} results for {} operations", answers.len(), ops.len())));
            }
            return Ok(answers);
        }
        let op = ops.get(answers.len()).ok_or_else(|| Garbled("more results than operations".into()))?;
        if header.op == OpCode::ERROR {
            let code = ErrorCode(reader.int()?);
            if header.err != code.0 {
                return Err(Garbled(format!("a result says {} and then {code}", header.err)));
            }
            answers.push(Err(code));
        } else if header.op == code_of(op) {
            answers.push(Ok(body(op, reader)?));
        } else {
            return Err(Garbled(format!("the result of {op} is typed {:?}", header.op)));
        }
    }
}

/// Reads a watch event.
pub fn decode_event(reader: &mut Reader<'_>) -> Result<(EventKind, String), Garbled> {
    let number = reader.int()?;
    let kind = EventKind::from_wire(number).ok_or_else(|| Garbled(format!("event of type {number}")))?;
    let state = reader.int()?;
    let path = reader.required_string()?.to_owned();
    if state != 3 || reader.remaining() > 0 {
        return Err(Garbled(format!("event on {path} with state {state}")));
    }
    Ok((kind, path))
}
