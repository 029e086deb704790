//! What clients ask for: the request header and the body of every operation.

use alloc::vec::Vec;

use super::data::{decode_acl, encode_acl};
use super::jute::{DecodeError, Reader, Writer};
use super::multi::{SentCreate, decode_multi, is_multi_read, is_multi_write};
use crate::types::{AclList, OpCode, Zxid};

pub use super::multi::{MultiHeader, MultiOp};

/// The xid of a watch event (PARITY `xid.-1`).
pub const XID_WATCH_EVENT: i32 = -1;
/// The xid of a ping (PARITY `xid.-2`).
pub const XID_PING: i32 = -2;
/// The xid of credentials (PARITY `xid.-4`).
pub const XID_AUTH: i32 = -4;
/// The xid of setWatches and setWatches2 (PARITY `xid.-8`). The Java client's sender overwrites it with an
/// ordinary one, so replies go by the request's xid and nothing may depend on this one.
pub const XID_SET_WATCHES: i32 = -8;

/// What every request begins with (PARITY `hdr.request`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number of the request; its reply carries the same. Negative numbers mark special
    /// requests.
    pub xid: i32,
    /// The operation.
    pub op: OpCode,
}

impl RequestHeader {
    /// Bytes of a header.
    pub const LEN: usize = 8;

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
/// ZooKeeper also takes createSession and deleteContainer from clients, by oversight: the first is the
/// server's own, the second would let anyone delete what the ACL protects (PARITY `op.deleteContainer`).
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

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::data::arbitrary::acl;

    fn encoded(op: OpCode, request: &Request<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        request.encode(op, &mut Writer::new(&mut out));
        out
    }

    /// PARITY `op.*`, `req.invalid`: what may come from clients, against ZooKeeper's list.
    #[test]
    fn client_ops() {
        let java = [
            -11, -10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 101, 103, 104,
            105, 106, 107,
        ];
        // The server's own, which ZooKeeper takes from anyone; and credentials, which it handles before it
        // looks.
        let refused = [OpCode::CREATE_SESSION, OpCode::DELETE_CONTAINER];
        let added = [OpCode::AUTH, OpCode::SASL];
        for op in (-20..700).map(OpCode) {
            let expected = java.contains(&op.0) && !refused.contains(&op) || added.contains(&op);
            assert_eq!(is_client_op(op), expected, "{op:?}");
            if expected {
                let decoded = Request::decode(op, &mut Reader::new(&[0; 64]));
                assert_ne!(decoded, Err(DecodeError::UnknownOperation), "{op:?} has no decoder");
            }
        }
    }

    /// PARITY `jute.vector`: a null list, and an entry without scheme or id, are INVALIDACL later, not
    /// garbage now.
    #[test]
    fn null_acl() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.string("/a");
        writer.null();
        writer.null();
        writer.int(0);
        let create = Request::Create { path: "/a", data: None, acl: None, flags: 0, ttl: None };
        assert_eq!(Request::decode(OpCode::CREATE, &mut Reader::new(&out)), Ok(create.clone()));
        assert_eq!(encoded(OpCode::CREATE, &create), out);
    }

    /// PARITY `req.marshalling`: a path that is null, which ZooKeeper stumbles over, is refused.
    #[test]
    fn null_path() {
        for op in (1..110).map(OpCode).filter(|op| is_client_op(*op)) {
            let decoded = Request::decode(op, &mut Reader::new(&[0xff; 64]));
            let header_only = matches!(op, OpCode::PING | OpCode::WHO_AM_I);
            let nothing_required = matches!(
                op,
                OpCode::AUTH
                    | OpCode::GET_EPHEMERALS
                    | OpCode::MULTI
                    | OpCode::MULTI_READ
                    | OpCode::RECONFIG
                    | OpCode::SASL
            );
            assert_eq!(decoded.is_ok(), header_only || nothing_required, "{op:?}: {decoded:?}");
        }
    }

    proptest! {
        /// Every request is read back as it was written, and never from less.
        #[test]
        fn round_trip(path in ".{0,9}", text in option::of(".{0,9}"), data in option::of(vec(any::<u8>(), 0..9)),
                      acl in acl(), number: i32, long: i64, flag: bool, texts in vec(".{0,9}", 0..3)) {
            let (path, text, data, version) = (&*path, text.as_deref(), data.as_deref(), number);
            let list: Vec<&str> = texts.iter().map(String::as_str).collect();
            let acl = Some(acl);
            let create = |ttl| Request::Create { path, data, acl: acl.clone(), flags: number, ttl };
            let set_watches = |last: &[&'static str]| Request::SetWatches {
                relative_zxid: Zxid(long), data: list.clone(), exist: Vec::new(), child: list.clone(),
                persistent: last.to_vec(), recursive: last.to_vec(),
            };
            let all = [
                (OpCode::ADD_WATCH, Request::AddWatch { path, mode: number }),
                (OpCode::AUTH, Request::Auth { kind: number, scheme: text, auth: data }),
                (OpCode::CHECK, Request::Check { path, version }),
                (OpCode::CHECK_WATCHES, Request::CheckWatches { path, kind: number }),
                (OpCode::CLOSE_SESSION, Request::CloseSession),
                (OpCode::CREATE, create(None)),
                (OpCode::CREATE2, create(None)),
                (OpCode::CREATE_CONTAINER, create(None)),
                (OpCode::CREATE_TTL, create(Some(long))),
                (OpCode::DELETE, Request::Delete { path, version }),
                (OpCode::DELETE_CONTAINER, Request::DeleteContainer { path }),
                (OpCode::EXISTS, Request::Exists { path, watch: flag }),
                (OpCode::GET_ACL, Request::GetAcl { path }),
                (OpCode::GET_ALL_CHILDREN_NUMBER, Request::GetAllChildrenNumber { path }),
                (OpCode::GET_CHILDREN, Request::GetChildren { path, watch: flag }),
                (OpCode::GET_CHILDREN2, Request::GetChildren2 { path, watch: flag }),
                (OpCode::GET_DATA, Request::GetData { path, watch: flag }),
                (OpCode::GET_EPHEMERALS, Request::GetEphemerals { prefix: text }),
                (OpCode::PING, Request::Ping),
                (OpCode::RECONFIG, Request::Reconfig { joining: text, leaving: None, new_members: text, config_id: long }),
                (OpCode::REMOVE_WATCHES, Request::RemoveWatches { path, kind: number }),
                (OpCode::SASL, Request::Sasl { token: data }),
                (OpCode::SET_ACL, Request::SetAcl { path, acl: acl.clone(), version }),
                (OpCode::SET_DATA, Request::SetData { path, data, version }),
                (OpCode::SET_WATCHES, set_watches(&[])),
                (OpCode::SET_WATCHES2, set_watches(&["/x"])),
                (OpCode::SYNC, Request::Sync { path }),
                (OpCode::WHO_AM_I, Request::WhoAmI),
            ];
            for (op, request) in all {
                let out = encoded(op, &request);
                let mut reader = Reader::new(&out);
                prop_assert_eq!(Request::decode(op, &mut reader), Ok(request));
                prop_assert_eq!(reader.remaining(), 0);
                for cut in 0..out.len() {
                    let cut = Request::decode(op, &mut Reader::new(&out[..cut]));
                    prop_assert_eq!(cut, Err(DecodeError::UnexpectedEnd));
                }
            }
        }

        /// Nothing that is thrown at the decoder makes it panic.
        #[test]
        fn garbage(op in -12_i32..110, bytes in vec(0_u8..24, 0..80)) {
            let _ = Request::decode(OpCode(op), &mut Reader::new(&bytes));
        }
    }
}
