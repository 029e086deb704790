//! What clients ask for: the request header and the body of every operation.

use alloc::vec::Vec;

use super::data::{SentAcl, decode_acl, encode_acl};
use super::jute::{DecodeError, Reader, Writer};
use crate::types::{AclList, OpCode, Zxid};

/// The xid of a watch event (PARITY `xid.-1`).
pub const XID_WATCH_EVENT: i32 = -1;
/// The xid of a ping (PARITY `xid.-2`).
pub const XID_PING: i32 = -2;
/// The xid of credentials (PARITY `xid.-4`).
pub const XID_AUTH: i32 = -4;
/// The xid of setWatches and setWatches2 (PARITY `xid.-8`).
pub const XID_SET_WATCHES: i32 = -8;

/// What every request begins with (PARITY `hdr.request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number of the request; its reply carries the same. Negative numbers mark special requests.
    pub xid: i32,
    /// The operation.
    pub op: OpCode,
}

impl RequestHeader {
    /// Decodes a header.
    ///
    /// # Errors
    /// If the bytes end before it does.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: reader.int()?, op: OpCode(reader.int()?) })
    }

    /// Appends the header.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.int(self.xid);
        writer.int(self.op.0);
    }
}

/// Whether clients may send this operation. Any other is answered UNIMPLEMENTED and closes the connection
/// (PARITY `req.invalid`).
///
/// ZooKeeper also takes createSession and deleteContainer from clients, by oversight: the first is the server's
/// own, the second would let anyone delete what the ACL protects (PARITY `op.deleteContainer`).
pub const fn is_client_op(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::ADD_WATCH
            | OpCode::AUTH
            | OpCode::CHECK_WATCHES
            | OpCode::CLOSE_SESSION
            | OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::CREATE_CONTAINER
            | OpCode::CREATE_TTL
            | OpCode::DELETE
            | OpCode::EXISTS
            | OpCode::GET_ACL
            | OpCode::GET_ALL_CHILDREN_NUMBER
            | OpCode::GET_CHILDREN
            | OpCode::GET_CHILDREN2
            | OpCode::GET_DATA
            | OpCode::GET_EPHEMERALS
            | OpCode::MULTI
            | OpCode::MULTI_READ
            | OpCode::PING
            | OpCode::RECONFIG
            | OpCode::REMOVE_WATCHES
            | OpCode::SASL
            | OpCode::SET_ACL
            | OpCode::SET_DATA
            | OpCode::SET_WATCHES
            | OpCode::SET_WATCHES2
            | OpCode::SYNC
            | OpCode::WHO_AM_I
    )
}

/// One operation of a multi or a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiOp<'a> {
    /// The operation. For creates it tells what is created, see [`Request::Create`].
    pub op: OpCode,
    /// Its arguments.
    pub request: Request<'a>,
}

/// The body of a request, borrowed from its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Add a persistent watch.
    AddWatch {
        /// Where.
        path: &'a str,
        /// 0 persistent, 1 persistent and recursive.
        mode: i32,
    },
    /// Present credentials.
    Auth {
        /// 0; nobody looks at it.
        kind: i32,
        /// The authentication scheme.
        scheme: Option<&'a str>,
        /// The credentials, in the scheme's own notation.
        auth: Option<&'a [u8]>,
    },
    /// Compare a version; only inside a multi.
    Check {
        /// The znode.
        path: &'a str,
        /// The version it must have, -1 for any.
        version: i32,
    },
    /// Ask whether this connection has a watch.
    CheckWatches {
        /// Where.
        path: &'a str,
        /// Which (`WatcherType`).
        kind: i32,
    },
    /// End the session.
    CloseSession,
    /// Create a znode: create, create2, createContainer and createTTL. The operation tells which.
    Create {
        /// Its path, without the number of a sequential one.
        path: &'a str,
        /// Its data.
        data: Option<&'a [u8]>,
        /// Its ACL. `None`: null, or with an entry that is, which is answered INVALIDACL.
        acl: Option<AclList>,
        /// The create mode (PARITY `op.createmodes`), unchecked.
        flags: i32,
        /// How long a TTL node lives, in milliseconds; `None` unless the operation is createTTL.
        ttl: Option<i64>,
    },
    /// Delete a znode.
    Delete {
        /// Which.
        path: &'a str,
        /// The version it must have, -1 for any.
        version: i32,
    },
    /// Delete an empty container or an expired TTL node; the server's own.
    DeleteContainer {
        /// Which.
        path: &'a str,
    },
    /// Ask for a znode's stat.
    Exists {
        /// Which.
        path: &'a str,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Ask for a znode's ACL.
    GetAcl {
        /// Which.
        path: &'a str,
    },
    /// Count a znode's descendants.
    GetAllChildrenNumber {
        /// Which.
        path: &'a str,
    },
    /// Ask for the names of a znode's children.
    GetChildren {
        /// Which.
        path: &'a str,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Ask for the names of a znode's children and its stat.
    GetChildren2 {
        /// Which.
        path: &'a str,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Ask for a znode's data.
    GetData {
        /// Which.
        path: &'a str,
        /// Whether to leave a watch.
        watch: bool,
    },
    /// Ask for the paths of this session's ephemeral znodes.
    GetEphemerals {
        /// What the paths begin with.
        prefix: Option<&'a str>,
    },
    /// Several writes, all or none.
    Multi(Vec<MultiOp<'a>>),
    /// Several reads at one point.
    MultiRead(Vec<MultiOp<'a>>),
    /// Keep the session alive.
    Ping,
    /// Change the ensemble's membership.
    Reconfig {
        /// Servers to add, incrementally.
        joining: Option<&'a str>,
        /// Servers to remove, incrementally.
        leaving: Option<&'a str>,
        /// The whole new membership.
        new_members: Option<&'a str>,
        /// The configuration this applies to, -1 for any.
        config_id: i64,
    },
    /// Drop a watch of this connection.
    RemoveWatches {
        /// Where.
        path: &'a str,
        /// Which (`WatcherType`).
        kind: i32,
    },
    /// One step of a SASL exchange.
    Sasl {
        /// The client's token.
        token: Option<&'a [u8]>,
    },
    /// Replace a znode's ACL.
    SetAcl {
        /// Which.
        path: &'a str,
        /// The new list; `None` as in [`Request::Create`].
        acl: Option<AclList>,
        /// The ACL version it must have, -1 for any.
        version: i32,
    },
    /// Replace a znode's data.
    SetData {
        /// Which.
        path: &'a str,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The version it must have, -1 for any.
        version: i32,
    },
    /// Re-register watches after a reconnect: setWatches, and setWatches2, which has the last two lists.
    SetWatches {
        /// The newest transaction that the client has seen: what happened since is reported.
        relative_zxid: Zxid,
        /// Paths of data watches.
        data: Vec<&'a str>,
        /// Paths of watches for znodes that did not exist.
        exist: Vec<&'a str>,
        /// Paths of child watches.
        child: Vec<&'a str>,
        /// Paths of persistent watches.
        persistent: Vec<&'a str>,
        /// Paths of persistent recursive watches.
        recursive: Vec<&'a str>,
    },
    /// Bring this server up to date with the leader.
    Sync {
        /// Echoed; need not exist.
        path: &'a str,
    },
    /// Ask for the identities of this connection.
    WhoAmI,
}

impl<'a> Request<'a> {
    /// Decodes the body of an operation. Bytes that follow it are left alone, as ZooKeeper leaves them.
    ///
    /// # Errors
    /// If there is no such operation or the bytes are not its body (answered MARSHALLINGERROR).
    #[inline]
    pub fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // The three most frequent first, so that they are decided before the table below.
        match op {
            OpCode::GET_DATA => {
                Ok(Self::GetData { path: reader.required_string()?, watch: reader.boolean()? })
            }
            OpCode::EXISTS => Ok(Self::Exists { path: reader.required_string()?, watch: reader.boolean()? }),
            OpCode::SET_DATA => Ok(Self::SetData {
                path: reader.required_string()?,
                data: reader.buffer()?,
                version: reader.int()?,
            }),
            _ => Self::decode_other(op, reader),
        }
    }

    fn decode_other(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::ADD_WATCH => Self::AddWatch { path: reader.required_string()?, mode: reader.int()? },
            OpCode::AUTH => {
                Self::Auth { kind: reader.int()?, scheme: reader.string()?, auth: reader.buffer()? }
            }
            OpCode::CHECK => Self::Check { path: reader.required_string()?, version: reader.int()? },
            OpCode::CHECK_WATCHES => {
                Self::CheckWatches { path: reader.required_string()?, kind: reader.int()? }
            }
            OpCode::CLOSE_SESSION => Self::CloseSession,
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                SentCreate::decode(op, reader)?.into_request()
            }
            OpCode::DELETE => Self::Delete { path: reader.required_string()?, version: reader.int()? },
            OpCode::DELETE_CONTAINER => Self::DeleteContainer { path: reader.required_string()? },
            OpCode::GET_ACL => Self::GetAcl { path: reader.required_string()? },
            OpCode::GET_ALL_CHILDREN_NUMBER => Self::GetAllChildrenNumber { path: reader.required_string()? },
            OpCode::GET_CHILDREN => {
                Self::GetChildren { path: reader.required_string()?, watch: reader.boolean()? }
            }
            OpCode::GET_CHILDREN2 => {
                Self::GetChildren2 { path: reader.required_string()?, watch: reader.boolean()? }
            }
            OpCode::GET_EPHEMERALS => Self::GetEphemerals { prefix: reader.string()? },
            OpCode::MULTI => Self::Multi(decode_multi(reader, is_multi_write)?),
            OpCode::MULTI_READ => Self::MultiRead(decode_multi(reader, is_multi_read)?),
            OpCode::PING => Self::Ping,
            OpCode::RECONFIG => Self::Reconfig {
                joining: reader.string()?,
                leaving: reader.string()?,
                new_members: reader.string()?,
                config_id: reader.long()?,
            },
            OpCode::REMOVE_WATCHES => {
                Self::RemoveWatches { path: reader.required_string()?, kind: reader.int()? }
            }
            OpCode::SASL => Self::Sasl { token: reader.buffer()? },
            OpCode::SET_ACL => Self::SetAcl {
                path: reader.required_string()?,
                acl: decode_acl(reader)?.list(),
                version: reader.int()?,
            },
            OpCode::SET_WATCHES | OpCode::SET_WATCHES2 => decode_set_watches(op, reader)?,
            OpCode::SYNC => Self::Sync { path: reader.required_string()? },
            OpCode::WHO_AM_I => Self::WhoAmI,
            _ => return Err(DecodeError::UnknownOperation),
        })
    }

    /// Appends the body.
    ///
    /// A create is encoded as createTTL if it has a TTL; setWatches as setWatches2 if `op` says so.
    pub fn encode(&self, op: OpCode, writer: &mut Writer<'_>) {
        match self {
            Self::AddWatch { path, mode: number }
            | Self::Check { path, version: number }
            | Self::CheckWatches { path, kind: number }
            | Self::Delete { path, version: number }
            | Self::RemoveWatches { path, kind: number } => {
                writer.string(path);
                writer.int(*number);
            }
            Self::Auth { kind, scheme, auth } => {
                writer.int(*kind);
                writer.optional_string(*scheme);
                writer.buffer(*auth);
            }
            Self::CloseSession | Self::Ping | Self::WhoAmI => {}
            Self::Create { path, data, acl, flags, ttl } => {
                writer.string(path);
                writer.buffer(*data);
                encode_optional_acl(writer, acl.as_ref());
                writer.int(*flags);
                if let Some(ttl) = ttl {
                    writer.long(*ttl);
                }
            }
            Self::DeleteContainer { path }
            | Self::GetAcl { path }
            | Self::GetAllChildrenNumber { path }
            | Self::Sync { path } => writer.string(path),
            Self::Exists { path, watch }
            | Self::GetChildren { path, watch }
            | Self::GetChildren2 { path, watch }
            | Self::GetData { path, watch } => {
                writer.string(path);
                writer.boolean(*watch);
            }
            Self::GetEphemerals { prefix } => writer.optional_string(*prefix),
            Self::Multi(ops) | Self::MultiRead(ops) => {
                for MultiOp { op, request } in ops {
                    MultiHeader { op: *op, done: false, err: -1 }.encode(writer);
                    request.encode(*op, writer);
                }
                MultiHeader::END.encode(writer);
            }
            Self::Reconfig { joining, leaving, new_members, config_id } => {
                writer.optional_string(*joining);
                writer.optional_string(*leaving);
                writer.optional_string(*new_members);
                writer.long(*config_id);
            }
            Self::Sasl { token } => writer.buffer(*token),
            Self::SetAcl { path, acl, version } => {
                writer.string(path);
                encode_optional_acl(writer, acl.as_ref());
                writer.int(*version);
            }
            Self::SetData { path, data, version } => {
                writer.string(path);
                writer.buffer(*data);
                writer.int(*version);
            }
            Self::SetWatches { relative_zxid, data, exist, child, persistent, recursive } => {
                writer.long(relative_zxid.0);
                writer.strings(data);
                writer.strings(exist);
                writer.strings(child);
                if op == OpCode::SET_WATCHES2 {
                    writer.strings(persistent);
                    writer.strings(recursive);
                }
            }
        }
    }
}

fn encode_optional_acl(writer: &mut Writer<'_>, acl: Option<&AclList>) {
    match acl {
        Some(list) => encode_acl(writer, list),
        None => writer.null(),
    }
}

fn decode_set_watches<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let relative_zxid = Zxid(reader.long()?);
    let (data, exist, child) =
        (reader.required_strings()?, reader.required_strings()?, reader.required_strings()?);
    let (persistent, recursive) = if op == OpCode::SET_WATCHES2 {
        (reader.required_strings()?, reader.required_strings()?)
    } else {
        (Vec::new(), Vec::new())
    };
    Ok(Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive })
}

/// A create's body before its ACL is judged: alone, a null list is INVALIDACL; in a multi, mostly undecodable.
struct SentCreate<'a> {
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: SentAcl,
    flags: i32,
    ttl: Option<i64>,
}

impl<'a> SentCreate<'a> {
    fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            path: reader.required_string()?,
            data: reader.buffer()?,
            acl: decode_acl(reader)?,
            flags: reader.int()?,
            ttl: if op == OpCode::CREATE_TTL { Some(reader.long()?) } else { None },
        })
    }

    fn into_request(self) -> Request<'a> {
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

const fn is_multi_write(op: OpCode) -> bool {
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

const fn is_multi_read(op: OpCode) -> bool {
    matches!(op, OpCode::GET_CHILDREN | OpCode::GET_DATA)
}

/// Decodes the operations of a multi, all of which must be `allowed` (PARITY `multi.ops`).
fn decode_multi<'a>(
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
/// operation from the create mode: a mode with TTL makes it createTTL, the container mode createContainer, and a
/// createTTL without such a mode falls back to create. Alone, the operation alone decides.
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
