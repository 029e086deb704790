//! Which calls wait for what: some to be sent, the others for their answers.
//!
//! A server answers in the order in which it was asked, so the answers need no table: the next one is for the oldest
//! request, and another number on it means that the connection is out of step (PARITY `cl.xidmismatch`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::input::CallId;
use super::watches::Effect;
use crate::types::OpCode;
use crate::wire::request::XID_SET_WATCHES;

/// A call that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Which.
    pub call: CallId,
    /// As what it was sent.
    pub op: OpCode,
    /// Operations in it, if it is a multi.
    pub parts: usize,
    /// What the answer does to the watches.
    pub effect: Effect,
}

/// What an answer is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Somebody's call.
    Call(Waiting),
    /// closeSession.
    Close,
    /// setWatches, which nobody asked for.
    SetWatches,
}

/// Something that is to be sent.
#[derive(Debug, PartialEq, Eq)]
struct Queued {
    expected: Expected,
    body: Vec<u8>,
}

/// What is to be sent, and what was.
#[derive(Debug)]
pub(super) struct Pending {
    /// Not sent yet, oldest first; empty while connected.
    queued: VecDeque<Queued>,
    /// Sent and not answered, oldest first, with the number and the size of each.
    sent: VecDeque<(i32, usize, Expected)>,
    /// Bytes of requests in both.
    bytes: usize,
    /// The number of the next request.
    next_xid: i32,
}

/// A request to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Its number.
    pub xid: i32,
    /// What it asks.
    pub op: OpCode,
    /// Its body.
    pub body: Vec<u8>,
}

impl Pending {
    /// Nothing waits.
    pub const fn new() -> Self {
        Self { queued: VecDeque::new(), sent: VecDeque::new(), bytes: 0, next_xid: 1 }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queued.len() + self.sent.len()
    }

    /// Bytes of requests that wait.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a request to what is to be sent.
    pub fn queue(&mut self, expected: Expected, body: Vec<u8>) {
        self.bytes += body.len();
        self.queued.push_back(Queued { expected, body });
    }

    /// The next request to be sent; from now on its answer is awaited.
    pub fn next_to_send(&mut self) -> Option<Outgoing> {
        let Queued { expected, body } = self.queued.pop_front()?;
        let op = match &expected {
            Expected::Call(waiting) => waiting.op,
            Expected::Close => OpCode::CLOSE_SESSION,
            Expected::SetWatches => unreachable!("setWatches never waits to be sent"),
        };
        let xid = self.next_xid;
        // Numbers below zero mark what is no ordinary request: skip from the last to 1, as ZooKeeper's client does.
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        self.sent.push_back((xid, body.len(), expected));
        Some(Outgoing { xid, op, body })
    }

    /// A setWatches was sent.
    pub fn set_watches_sent(&mut self) {
        self.sent.push_back((XID_SET_WATCHES, 0, Expected::SetWatches));
    }

    /// What the answer with this number is for; `None` if it is not its turn.
    pub fn answered(&mut self, xid: i32) -> Option<Expected> {
        let (_, size, expected) = self.sent.pop_front_if(|(expected, ..)| *expected == xid)?;
        self.bytes -= size;
        Some(expected)
    }

    /// The connection is lost: everything that waits, oldest first, and whether it was sent.
    pub fn lose(&mut self) -> Vec<(Expected, bool)> {
        self.bytes = 0;
        let sent = self.sent.drain(..).map(|(_, _, expected)| (expected, true));
        let queued = self.queued.drain(..).map(|queued| (queued.expected, false));
        sent.chain(queued).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn call(number: u64) -> Expected {
        let (op, effect) = (OpCode::SYNC, Effect::Nothing);
        Expected::Call(Waiting { call: CallId(number), op, parts: 0, effect })
    }

    /// Answers are taken in the order of the requests and in no other; size and count follow.
    #[test]
    fn cl_xidmismatch() {
        let mut pending = Pending::new();
        pending.queue(call(7), vec![1, 2]);
        pending.queue(call(8), vec![3]);
        pending.queue(Expected::Close, vec![]);
        assert_eq!((pending.len(), pending.bytes()), (3, 3));
        assert_eq!(pending.answered(1), None, "not sent yet");
        let first = Outgoing { xid: 1, op: OpCode::SYNC, body: vec![1, 2] };
        assert_eq!(pending.next_to_send(), Some(first));
        assert_eq!(pending.next_to_send().map(|next| next.xid), Some(2));
        assert_eq!(pending.answered(2), None, "not its turn");
        assert_eq!(pending.answered(1), Some(call(7)));
        assert_eq!((pending.len(), pending.bytes()), (2, 1));
        assert_eq!(pending.answered(1), None, "twice");
        let close = Outgoing { xid: 3, op: OpCode::CLOSE_SESSION, body: vec![] };
        pending.set_watches_sent();
        assert_eq!(pending.answered(2), Some(call(8)));
        assert_eq!(pending.answered(XID_SET_WATCHES), Some(Expected::SetWatches));
        assert_eq!(pending.next_to_send(), Some(close));
        assert_eq!(pending.next_to_send(), None);
    }

    /// What was sent and what was not is told apart, in order.
    #[test]
    fn cl_disconnect() {
        let mut pending = Pending::new();
        pending.queue(call(1), vec![0; 9]);
        pending.next_to_send();
        pending.queue(call(2), vec![0; 9]);
        assert_eq!(pending.lose(), vec![(call(1), true), (call(2), false)]);
        assert_eq!((pending.len(), pending.bytes()), (0, 0));
    }

    /// The number after the last one is 1.
    #[test]
    fn xid_wraps() {
        let mut pending = Pending::new();
        pending.next_xid = i32::MAX;
        pending.queue(call(1), vec![]);
        pending.queue(call(2), vec![]);
        let xids = [pending.next_to_send(), pending.next_to_send()].map(|next| next.map(|next| next.xid));
        assert_eq!(xids, [Some(i32::MAX), Some(1)]);
    }
}
