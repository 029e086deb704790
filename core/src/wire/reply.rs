//! What clients are answered: reply headers, bodies and watch events.
//!
//! Everything is appended to a connection's outbox, so that many replies leave as one buffer:
//!
//! ```text
//! let frame = reply::begin(out);
//! reply::header(out, xid, zxid, ErrorCode::OK);
//! reply::data_stat(out, data, &stat);
//! reply::end(out, frame);
//! ```

use alloc::vec::Vec;

use super::data::{encode_acl_entries, encode_stat, pack};
use super::jute::{DecodeError, Reader, Writer};
use super::request::{MultiHeader, XID_WATCH_EVENT};
pub use crate::types::EventType;
use crate::types::{Acl, ErrorCode, OpCode, Stat, Zxid};

/// Bytes of a reply header.
pub const HEADER_LEN: usize = 16;

/// Bytes of an abandoned frame whose memory may be kept.
const ABANDONED_MAX: usize = 64 << 10;

/// A frame that was begun and waits for [`end`].
#[must_use = "a frame without its end has no length"]
#[derive(Debug)]
pub struct Frame {
    /// Where its length belongs.
    start: usize,
}

/// Begins a frame at the end of `out`.
#[inline]
pub fn begin(out: &mut Vec<u8>) -> Frame {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    Frame { start }
}

/// Ends the frame: writes its length where it begins.
///
/// # Panics
/// If `out` is not what the frame was begun in, or the frame is longer than 2 GiB.
#[inline]
pub fn end(out: &mut [u8], frame: Frame) {
    let length = out.len().checked_sub(frame.start + 4).expect("out only grew since the frame was begun");
    let length = i32::try_from(length).expect("every reply is limited far below 2 GiB");
    out[frame.start..frame.start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Whether the frame is short enough to have a length.
pub fn fits(out: &[u8], frame: &Frame) -> bool {
    i32::try_from(out.len() - frame.start - 4).is_ok()
}

/// Takes the frame back, as if it had not been begun.
pub fn abandon(out: &mut Vec<u8>, frame: Frame) {
    let start = frame.start;
    // A reply that was given up for its size must not leave its memory to the small one in its place.
    if out.len() - start > ABANDONED_MAX {
        out.truncate(start);
        out.shrink_to_fit();
    }
    out.truncate(start);
}

/// Appends a reply header (PARITY `hdr.reply`). After any error but that of a multi nothing follows it.
#[inline]
pub fn header(out: &mut Vec<u8>, xid: i32, zxid: Zxid, err: ErrorCode) {
    out.extend_from_slice(&pack![HEADER_LEN; xid, zxid.0, err.0]);
}

/// Appends a whole frame that is only a header.
#[inline]
pub fn header_only(out: &mut Vec<u8>, xid: i32, zxid: Zxid, err: ErrorCode) {
    const LENGTH: i32 = HEADER_LEN as i32;
    out.extend_from_slice(&pack![4 + HEADER_LEN; LENGTH, xid, zxid.0, err.0]);
}

/// Appends the body of exists, setData and setACL.
#[inline]
pub fn stat(out: &mut Vec<u8>, stat: &Stat) {
    encode_stat(&mut Writer::new(out), stat);
}

/// Appends the body of create and sync.
#[inline]
pub fn path(out: &mut Vec<u8>, path: &str) {
    Writer::new(out).string(path);
}

/// Appends the body of create2, createContainer and createTTL.
#[inline]
pub fn path_stat(out: &mut Vec<u8>, path: &str, stat: &Stat) {
    let mut writer = Writer::new(out);
    writer.string(path);
    encode_stat(&mut writer, stat);
}

/// Appends the body of getData, and of reconfig with the configuration as data.
#[inline]
pub fn data_stat(out: &mut Vec<u8>, data: Option<&[u8]>, stat: &Stat) {
    let mut writer = Writer::new(out);
    writer.buffer(data);
    encode_stat(&mut writer, stat);
}

/// Appends the body of getChildren and getEphemerals: `count` strings.
///
/// # Panics
/// If there are not `count` of them.
pub fn children<'a>(out: &mut Vec<u8>, count: usize, names: impl IntoIterator<Item = &'a str>) {
    let mut writer = Writer::new(out);
    writer.vector_len(count);
    let mut written = 0;
    for name in names {
        writer.string(name);
        written += 1;
    }
    assert_eq!(written, count, "the count is written before the names");
}

/// Appends the body of getChildren2.
///
/// # Panics
/// As [`children`].
pub fn children_stat<'a>(
    out: &mut Vec<u8>,
    count: usize,
    names: impl IntoIterator<Item = &'a str>,
    stat: &Stat,
) {
    children(out, count, names);
    encode_stat(&mut Writer::new(out), stat);
}

/// Appends the body of getACL.
pub fn acl_stat(out: &mut Vec<u8>, acl: &[Acl], stat: &Stat) {
    let mut writer = Writer::new(out);
    encode_acl_entries(&mut writer, acl);
    encode_stat(&mut writer, stat);
}

/// Appends the body of getAllChildrenNumber.
pub fn count(out: &mut Vec<u8>, count: i32) {
    Writer::new(out).int(count);
}

/// Appends the body of addWatch, an `ErrorResponse` that is 0.
pub fn error(out: &mut Vec<u8>, err: ErrorCode) {
    Writer::new(out).int(err.0);
}

/// Appends the body of whoAmI: scheme and user name of each identity.
pub fn who_am_i<'a>(out: &mut Vec<u8>, identities: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    let mut writer = Writer::new(out);
    writer.vector_len(identities.len());
    for (scheme, user) in identities {
        writer.string(scheme);
        writer.string(user);
    }
}

/// Appends the body of sasl.
pub fn sasl(out: &mut Vec<u8>, token: Option<&[u8]>) {
    Writer::new(out).buffer(token);
}

/// One result of a multi or multiRead. There are as many as there were operations, unless a multi had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiResult<'a> {
    /// A version was compared.
    Check,
    /// A znode was created by create.
    Create {
        /// Its path.
        path: &'a str,
    },
    /// A znode was created by create2, createContainer or createTTL, all of which are answered as create2
    /// (PARITY `multi.ok`).
    Create2 {
        /// Its path.
        path: &'a str,
        /// Its stat.
        stat: &'a Stat,
    },
    /// A znode was deleted.
    Delete,
    /// The operation failed, or was undone because another one failed: OK before that one,
    /// RUNTIMEINCONSISTENCY after it (PARITY `multi.fail`).
    Error(ErrorCode),
    /// A znode's data, by multiRead.
    GetData {
        /// The data.
        data: Option<&'a [u8]>,
        /// The stat.
        stat: &'a Stat,
    },
    /// A znode's data was replaced.
    SetData {
        /// Its stat.
        stat: &'a Stat,
    },
}

/// Appends one result of a multi or multiRead. The children of a znode have [`multi_children`].
pub fn multi_result(out: &mut Vec<u8>, result: &MultiResult<'_>) {
    match result {
        MultiResult::Check => multi_header(out, OpCode::CHECK, ErrorCode::OK),
        MultiResult::Create { path: name } => {
            multi_header(out, OpCode::CREATE, ErrorCode::OK);
            path(out, name);
        }
        MultiResult::Create2 { path, stat } => {
            multi_header(out, OpCode::CREATE2, ErrorCode::OK);
            path_stat(out, path, stat);
        }
        MultiResult::Delete => multi_header(out, OpCode::DELETE, ErrorCode::OK),
        MultiResult::Error(err) => {
            multi_header(out, OpCode::ERROR, *err);
            error(out, *err);
        }
        MultiResult::GetData { data, stat } => {
            multi_header(out, OpCode::GET_DATA, ErrorCode::OK);
            data_stat(out, *data, stat);
        }
        MultiResult::SetData { stat: new } => {
            multi_header(out, OpCode::SET_DATA, ErrorCode::OK);
            stat(out, new);
        }
    }
}

/// Appends the result of getChildren in a multiRead.
///
/// # Panics
/// As [`children`].
pub fn multi_children<'a>(out: &mut Vec<u8>, count: usize, names: impl IntoIterator<Item = &'a str>) {
    multi_header(out, OpCode::GET_CHILDREN, ErrorCode::OK);
    children(out, count, names);
}

/// Appends what ends the results of a multi or multiRead.
pub fn multi_end(out: &mut Vec<u8>) {
    MultiHeader::END.encode(&mut Writer::new(out));
}

fn multi_header(out: &mut Vec<u8>, op: OpCode, err: ErrorCode) {
    MultiHeader { op, done: false, err: err.0 }.encode(&mut Writer::new(out));
}

/// `KeeperState.SyncConnected`, the state that every event carries.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// A watch event (PARITY `watch.event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// The client's connection state; always [`STATE_SYNC_CONNECTED`].
    pub state: i32,
    /// To which znode.
    pub path: &'a str,
}

impl<'a> WatchEvent<'a> {
    /// The event that a server sends.
    pub const fn new(kind: EventType, path: &'a str) -> Self {
        Self { kind, state: STATE_SYNC_CONNECTED, path }
    }

    /// Appends a whole frame; `zxid` is that of the transaction that caused the event, or
    /// [`Zxid::UNKNOWN`] for those that setWatches makes up (PARITY `watch.event.zxid`).
    pub fn encode(&self, zxid: Zxid, out: &mut Vec<u8>) {
        let frame = begin(out);
        header(out, XID_WATCH_EVENT, zxid, ErrorCode::OK);
        let mut writer = Writer::new(out);
        writer.int(self.kind as i32);
        writer.int(self.state);
        writer.string(self.path);
        end(out, frame);
    }

    /// Decodes the body of an event, after its reply header.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = EventType::from_number(reader.int()?).ok_or(DecodeError::UnknownOperation)?;
        Ok(Self { kind, state: reader.int()?, path: reader.required_string()? })
    }
}
