//! What a client knows, and what it may therefore expect of a server.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::types::{ErrorCode, OpCode, SessionId, Zxid};
use crate::wire::connect::ConnectResponse;
use crate::wire::request::{XID_AUTH, XID_WATCH_EVENT};
use crate::wire::{Answer, Reader, ReplyHeader, WatchEvent};

/// The xid of what is answered at once, whatever waits: a step of SASL.
pub(super) const XID_SASL: i32 = -5;
/// The xid of an operation that no client may ask for.
pub(super) const XID_UNKNOWN: i32 = -6;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has sent nothing.
    Silent,
    /// It waits for the answer to its handshake.
    Greeting,
    /// It has a session.
    Established,
    /// It sent what is no request, so that nothing can be expected.
    Wild,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stage: Stage,
    /// The server said that it is over, or the client hung up.
    pub(super) closed: bool,
    /// The server asked not to be sent more.
    pub(super) paused: bool,
    /// Bytes on their way from the server.
    pub(super) unsent: usize,
    /// The second half of what was sent.
    pub(super) half: Option<Vec<u8>>,
    pub(super) next_xid: i32,
    pub(super) session: Option<ConnectResponse>,
    pub(super) last_zxid: Zxid,
    /// What was asked and not answered, oldest first.
    expected: VecDeque<(i32, OpCode)>,
    /// Credentials and SASL steps that were not answered.
    expected_at_once: usize,
    /// What came and is no whole frame yet.
    received: Vec<u8>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Silent,
            closed: false,
            paused: false,
            unsent: 0,
            half: None,
            next_xid: 1,
            session: None,
            last_zxid: Zxid::ZERO,
            expected: VecDeque::new(),
            expected_at_once: 0,
            received: Vec::new(),
        }
    }

    /// How many requests were not answered.
    pub(super) fn owed(&self) -> usize {
        self.expected.len() + self.expected_at_once
    }

    /// Something was asked.
    pub(super) fn asked(&mut self, xid: i32, op: OpCode) {
        match xid {
            XID_AUTH | XID_SASL => self.expected_at_once += 1,
            XID_UNKNOWN => {}
            _ => self.expected.push_back((xid, op)),
        }
    }

    /// Takes what the server sent. Returns the answer to the handshake, once that is there.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Option<ConnectResponse> {
        assert!(!self.closed, "the server sends after it closed");
        self.unsent += bytes.len();
        if self.stage == Stage::Wild {
            return None;
        }
        self.received.extend_from_slice(bytes);
        let received = core::mem::take(&mut self.received);
        let mut rest = &received[..];
        let mut answer = None;
        while !rest.is_empty() {
            // Whatever is sent in one piece is whole frames.
            let length = Reader::new(rest).int().expect("a whole frame");
            let length = usize::try_from(length).expect("a length");
            let (frame, after) = rest[4..].split_at_checked(length).expect("a whole frame");
            rest = after;
            if self.stage == Stage::Established {
                self.on_frame(frame);
            } else {
                assert_eq!(self.stage, Stage::Greeting, "an answer to nothing");
                let response = ConnectResponse::decode(frame).expect("an answer to the handshake");
                self.stage = Stage::Established;
                if response.session != SessionId::NONE {
                    self.session = Some(response);
                }
                answer = Some(response);
            }
        }
        answer
    }

    fn on_frame(&mut self, frame: &[u8]) {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader).expect("a header");
        if header.xid == XID_WATCH_EVENT {
            assert_eq!(header.err, ErrorCode::OK);
            WatchEvent::decode(&mut reader).expect("a watch event");
            if header.zxid != Zxid::UNKNOWN {
                self.on_zxid(header.zxid);
            }
            assert_eq!(reader.remaining(), 0);
            return;
        }
        let op = match header.xid {
            XID_AUTH | XID_SASL => {
                self.expected_at_once = self.expected_at_once.checked_sub(1).expect("an answer to nothing");
                if header.xid == XID_AUTH { OpCode::AUTH } else { OpCode::SASL }
            }
            XID_UNKNOWN => {
                assert_eq!(header.err, ErrorCode::UNIMPLEMENTED);
                return;
            }
            xid => {
                let (expected, op) = self.expected.pop_front().expect("an answer to nothing");
                assert_eq!(xid, expected, "replies come in the order of requests");
                self.on_zxid(header.zxid);
                op
            }
        };
        if header.err == ErrorCode::OK || op == OpCode::MULTI && reader.remaining() > 0 {
            Answer::decode(op, &mut reader).expect("a body that fits the request");
        }
        assert_eq!(reader.remaining(), 0, "bytes behind the answer to {op:?}");
    }

    fn on_zxid(&mut self, zxid: Zxid) {
        assert!(zxid >= self.last_zxid, "a client sees time go back");
        self.last_zxid = zxid;
    }
}
