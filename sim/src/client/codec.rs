//! Requests to bytes and answers from bytes, by the core's own codecs.

use std::fmt;

use zabra_core::types::{AclList, ErrorCode, OpCode, Zxid};
use zabra_core::wire::data::decode_stat;
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
        Op::Check { path, version } => Request::Check { path, version: *version },
        Op::CloseSession => Request::CloseSession,
        Op::Create { path, data, mode, .. } => Request::Create {
            path,
            data: Some(data),
            acl: Some(AclList::OpenUnsafe),
            flags: mode.flags(),
            ttl: None,
        },
        Op::Delete { path, version } => Request::Delete { path, version: *version },
        Op::Exists { path, watch } => Request::Exists { path, watch: *watch },
        Op::GetChildren { path, watch } => Request::GetChildren2 { path, watch: *watch },
        Op::GetData { path, watch } => Request::GetData { path, watch: *watch },
        Op::Multi(ops) => {
            Request::Multi(ops.iter().map(|op| MultiOp { op: op.code(), request: request(op) }).collect())
        }
        Op::Ping => Request::Ping,
        Op::SetData { path, data, version } => Request::SetData { path, data: Some(data), version: *version },
        Op::SetWatches { relative, data, exist, child } => Request::SetWatches {
            relative_zxid: *relative,
            data: data.iter().map(String::as_str).collect(),
            exist: exist.iter().map(String::as_str).collect(),
            child: child.iter().map(String::as_str).collect(),
            persistent: Vec::new(),
            recursive: Vec::new(),
        },
        Op::Sync { path } => Request::Sync { path },
    }
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
        Op::Check { .. } | Op::CloseSession | Op::Delete { .. } | Op::Ping | Op::SetWatches { .. } => {
            Outcome::Done
        }
        Op::Create { with_stat, .. } => {
            let path = reader.required_string()?.to_owned();
            Outcome::Created(path, if *with_stat { Some(decode_stat(reader)?) } else { None })
        }
        Op::Exists { .. } | Op::SetData { .. } => Outcome::Stat(decode_stat(reader)?),
        Op::GetChildren { .. } => {
            let mut names: Vec<String> = reader.required_strings()?.into_iter().map(str::to_owned).collect();
            names.sort();
            Outcome::Children(names, decode_stat(reader)?)
        }
        Op::GetData { .. } => {
            let data = reader.buffer()?.map(<[u8]>::to_vec);
            Outcome::Data(data, decode_stat(reader)?)
        }
        Op::Multi(ops) => Outcome::Multi(multi(ops, reader)?),
        Op::Sync { .. } => Outcome::Path(reader.required_string()?.to_owned()),
    })
}

fn multi(ops: &[Op], reader: &mut Reader<'_>) -> Result<Vec<Answer>, Garbled> {
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
        } else if header.op == op.code() {
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
