//! What clients are answered, read from the client's side; [`super::reply`] is the writing side.

use alloc::vec::Vec;

use super::data::{SentAcl, decode_acl, decode_stat};
use super::jute::{DecodeError, Reader};
use super::multi::MultiHeader;
use crate::types::{AclList, ErrorCode, OpCode, Stat, Zxid};

/// What every reply but the handshake's begins with (PARITY `hdr.reply`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's number; -1 for a watch event.
    pub xid: i32,
    /// The transaction that the request became, or the last one that the server had applied.
    pub zxid: Zxid,
    /// What came of it. After an error there is no body.
    pub err: ErrorCode,
}

impl ReplyHeader {
    /// Decodes a header.
    ///
    /// # Errors
    /// If the bytes end before it does.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: reader.int()?, zxid: Zxid(reader.long()?), err: ErrorCode(reader.int()?) })
    }
}

/// One result of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiAnswer<'a> {
    /// What it is the result of. Any create with a stat says create2, any failure says error.
    pub op: OpCode,
    /// The result.
    pub answer: Answer<'a>,
}

/// The body of a successful reply, borrowed from its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// getACL.
    Acl {
        /// The list.
        acl: AclList,
        /// The znode's stat.
        stat: Stat,
    },
    /// getChildren, getEphemerals.
    Children(Vec<&'a str>),
    /// getChildren2.
    ChildrenStat {
        /// The names.
        children: Vec<&'a str>,
        /// The znode's stat.
        stat: Stat,
    },
    /// getAllChildrenNumber.
    Count(i32),
    /// getData, reconfig.
    Data {
        /// The data.
        data: Option<&'a [u8]>,
        /// The znode's stat.
        stat: Stat,
    },
    /// Everything that is answered by a header alone.
    Empty,
    /// addWatch, and an operation of a multi that failed or was undone.
    Error(ErrorCode),
    /// whoAmI: scheme and user name of each identity.
    Identities(Vec<(&'a str, &'a str)>),
    /// multi, multiRead.
    Multi(Vec<MultiAnswer<'a>>),
    /// create, sync.
    Path(&'a str),
    /// create2, createContainer, createTTL.
    PathStat {
        /// The znode's path.
        path: &'a str,
        /// Its stat.
        stat: Stat,
    },
    /// sasl.
    Sasl(Option<&'a [u8]>),
    /// exists, setData, setACL.
    Stat(Stat),
}

impl<'a> Answer<'a> {
    /// Decodes the body of the reply to `op`, after a header without error.
    ///
    /// # Errors
    /// If there is no such operation or the bytes are not its reply.
    pub fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::MULTI | OpCode::MULTI_READ => Self::Multi(decode_results(reader)?),
            _ => Self::decode_single(op, reader)?,
        })
    }

    fn decode_single(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::ADD_WATCH | OpCode::ERROR => Self::Error(ErrorCode(reader.int()?)),
            OpCode::AUTH
            | OpCode::CHECK
            | OpCode::CHECK_WATCHES
            | OpCode::CLOSE_SESSION
            | OpCode::DELETE
            | OpCode::PING
            | OpCode::REMOVE_WATCHES
            | OpCode::SET_WATCHES
            | OpCode::SET_WATCHES2 => Self::Empty,
            OpCode::CREATE | OpCode::SYNC => Self::Path(reader.required_string()?),
            OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                Self::PathStat { path: reader.required_string()?, stat: decode_stat(reader)? }
            }
            OpCode::EXISTS | OpCode::SET_ACL | OpCode::SET_DATA => Self::Stat(decode_stat(reader)?),
            OpCode::GET_ACL => {
                let SentAcl::List(acl) = decode_acl(reader)? else { return Err(DecodeError::Null) };
                Self::Acl { acl, stat: decode_stat(reader)? }
            }
            OpCode::GET_ALL_CHILDREN_NUMBER => Self::Count(reader.int()?),
            OpCode::GET_CHILDREN | OpCode::GET_EPHEMERALS => Self::Children(reader.required_strings()?),
            OpCode::GET_CHILDREN2 => {
                Self::ChildrenStat { children: reader.required_strings()?, stat: decode_stat(reader)? }
            }
            OpCode::GET_DATA | OpCode::RECONFIG => {
                Self::Data { data: reader.buffer()?, stat: decode_stat(reader)? }
            }
            OpCode::SASL => Self::Sasl(reader.buffer()?),
            OpCode::WHO_AM_I => {
                let count = reader.vector_len()?.ok_or(DecodeError::Null)?;
                let identity = |_| Ok((reader.required_string()?, reader.required_string()?));
                Self::Identities((0..count).map(identity).collect::<Result<_, _>>()?)
            }
            _ => return Err(DecodeError::UnknownOperation),
        })
    }
}

fn decode_results<'a>(reader: &mut Reader<'a>) -> Result<Vec<MultiAnswer<'a>>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(results);
        }
        let answer = match header.op {
            OpCode::CHECK
            | OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::DELETE
            | OpCode::ERROR
            | OpCode::GET_CHILDREN
            | OpCode::GET_DATA
            | OpCode::SET_DATA => Answer::decode_single(header.op, reader)?,
            _ => return Err(DecodeError::UnknownOperation),
        };
        results.push(MultiAnswer { op: header.op, answer });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::data::arbitrary::{acl, stat};
    use crate::wire::reply::{self, EventType, MultiResult, WatchEvent};

    /// Decodes a whole body; every shorter one must be cut off.
    fn decode(op: OpCode, out: &[u8]) -> Answer<'_> {
        for cut in 0..out.len() {
            let cut = Answer::decode(op, &mut Reader::new(&out[..cut]));
            assert_eq!(cut, Err(DecodeError::UnexpectedEnd));
        }
        let mut reader = Reader::new(out);
        let answer = Answer::decode(op, &mut reader).expect("a body that was just encoded");
        assert_eq!(reader.remaining(), 0);
        answer
    }

    /// PARITY `hdr.reply`: twenty bytes with the length, alone or as part of a frame.
    #[test]
    fn hdr_reply() {
        let mut out = vec![9];
        reply::header_only(&mut out, -2, Zxid(5), ErrorCode::NONODE);
        let expected = [
            &[9, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 5][..],
            &[0xff, 0xff, 0xff, 0x9b],
        ];
        assert_eq!(out, expected.concat());
        let mut again = vec![9];
        let frame = reply::begin(&mut again);
        reply::header(&mut again, -2, Zxid(5), ErrorCode::NONODE);
        reply::end(&mut again, frame);
        assert_eq!(again, out);
        let header = ReplyHeader { xid: -2, zxid: Zxid(5), err: ErrorCode::NONODE };
        assert_eq!(ReplyHeader::decode(&mut Reader::new(&out[5..])), Ok(header));
        let frame = reply::begin(&mut again);
        reply::path(&mut again, "/x");
        reply::abandon(&mut again, frame);
        assert_eq!(again, out);
    }

    /// PARITY `watch.event`, `watch.types`: the header's xid is -1, the state is 3, and the numbers are
    /// fixed.
    #[test]
    fn watch_event() {
        let mut out = Vec::new();
        WatchEvent::new(EventType::NodeDeleted, "/a").encode(Zxid(7), &mut out);
        let expected = [
            &[0, 0, 0, 30, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0][..],
            &[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2, b'/', b'a'],
        ];
        assert_eq!(out, expected.concat());
        assert_eq!(
            WatchEvent::decode(&mut Reader::new(&out[20..])),
            Ok(WatchEvent::new(EventType::NodeDeleted, "/a"))
        );
        for number in -3..10 {
            if let Some(kind) = EventType::from_number(number) {
                assert_eq!(kind as i32, number);
            }
        }
        assert_eq!(EventType::from_number(0), None);
    }

    /// PARITY `multi.fail`, `multi.empty`: an error is in its own header and body; an empty multi is its end
    /// alone.
    #[test]
    fn multi_fail() {
        let mut out = Vec::new();
        reply::multi_result(&mut out, &MultiResult::Error(ErrorCode::NONODE));
        let code = [0xff, 0xff, 0xff, 0x9b];
        assert_eq!(out, [&[0xff, 0xff, 0xff, 0xff, 0], &code[..], &code[..]].concat());
        let mut out = Vec::new();
        reply::multi_end(&mut out);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode(OpCode::MULTI, &out), Answer::Multi(vec![]));
    }

    proptest! {
        /// Every body that a server writes is what a client reads.
        #[test]
        fn bodies(stat in stat(), path in ".{0,9}", data in option::of(vec(any::<u8>(), 0..9)),
                  names in vec(".{0,9}", 0..4), acl in acl(),
                  number: i32) {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            let data = data.as_deref();
            let check = |op, expected: &Answer<'_>, write: &dyn Fn(&mut Vec<u8>)| {
                let mut out = Vec::new();
                write(&mut out);
                assert_eq!(&decode(op, &out), expected);
            };
            let given = || names.iter().copied();
            check(OpCode::CREATE, &Answer::Path(&path), &|out| reply::path(out, &path));
            check(OpCode::CREATE2, &Answer::PathStat { path: &path, stat }, &|out| reply::path_stat(out, &path, &stat));
            check(OpCode::EXISTS, &Answer::Stat(stat), &|out| reply::stat(out, &stat));
            check(OpCode::GET_DATA, &Answer::Data { data, stat }, &|out| reply::data_stat(out, data, &stat));
            check(OpCode::GET_CHILDREN, &Answer::Children(names.clone()),
                  &|out| reply::children(out, names.len(), given()));
            check(OpCode::GET_CHILDREN2, &Answer::ChildrenStat { children: names.clone(), stat },
                  &|out| reply::children_stat(out, names.len(), given(), &stat));
            check(OpCode::GET_ACL, &Answer::Acl { acl: acl.clone(), stat },
                  &|out| reply::acl_stat(out, acl.entries(), &stat));
            check(OpCode::GET_ALL_CHILDREN_NUMBER, &Answer::Count(number), &|out| reply::count(out, number));
            check(OpCode::ADD_WATCH, &Answer::Error(ErrorCode(number)), &|out| reply::error(out, ErrorCode(number)));
            check(OpCode::SASL, &Answer::Sasl(data), &|out| reply::sasl(out, data));
            let identities: Vec<(&str, &str)> = given().map(|name| (name, &*path)).collect();
            check(OpCode::WHO_AM_I, &Answer::Identities(identities.clone()),
                  &|out| reply::who_am_i(out, identities.iter().copied()));
        }

        /// PARITY `multi.ok`, `multiread`: every kind of result.
        #[test]
        fn multi_ok(stat in stat(), path in ".{0,9}", data in option::of(vec(any::<u8>(), 0..9))) {
            let data = data.as_deref();
            let mut out = Vec::new();
            let results = [
                MultiResult::Create { path: &path },
                MultiResult::Create2 { path: &path, stat: &stat },
                MultiResult::SetData { stat: &stat },
                MultiResult::Delete,
                MultiResult::Check,
                MultiResult::GetData { data, stat: &stat },
                MultiResult::Error(ErrorCode::RUNTIMEINCONSISTENCY),
            ];
            for result in &results {
                reply::multi_result(&mut out, result);
            }
            reply::multi_children(&mut out, 2, ["x", "y"]);
            reply::multi_end(&mut out);
            let expected = [
                (OpCode::CREATE, Answer::Path(&path)),
                (OpCode::CREATE2, Answer::PathStat { path: &path, stat }),
                (OpCode::SET_DATA, Answer::Stat(stat)),
                (OpCode::DELETE, Answer::Empty),
                (OpCode::CHECK, Answer::Empty),
                (OpCode::GET_DATA, Answer::Data { data, stat }),
                (OpCode::ERROR, Answer::Error(ErrorCode::RUNTIMEINCONSISTENCY)),
                (OpCode::GET_CHILDREN, Answer::Children(vec!["x", "y"])),
            ];
            let expected = expected.into_iter().map(|(op, answer)| MultiAnswer { op, answer }).collect();
            prop_assert_eq!(decode(OpCode::MULTI, &out), Answer::Multi(expected));
        }
    }
}
