//! The requests of one connection that wait for their replies, in order.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::generator::Class;

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was sent; under an open loop, when it should have been.
    pub at: Nanos,
    /// What kind it is.
    pub class: Class,
}

/// The server answered another request than the oldest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    /// The xid of the oldest request, if any was outstanding.
    pub expected: Option<i32>,
    /// The xid in the reply.
    pub found: i32,
}

/// Requests by age. Xids count upward from 1, so only the oldest one's is kept.
#[derive(Debug)]
pub struct Outstanding {
    requests: VecDeque<Sent>,
    xid_oldest: i32,
    xid_next: i32,
}

impl Default for Outstanding {
    fn default() -> Self {
        Self { requests: VecDeque::new(), xid_oldest: 1, xid_next: 1 }
    }
}

impl Outstanding {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.requests.len()
    }

    /// The one whose reply must come next.
    pub fn oldest(&self) -> Option<Sent> {
        self.requests.front().copied()
    }

    /// The xid for the next request, which [`Outstanding::push`] then records.
    pub fn next_xid(&self) -> i32 {
        self.xid_next
    }

    /// Records a request that was sent with [`Outstanding::next_xid`].
    pub fn push(&mut self, sent: Sent) {
        self.requests.push_back(sent);
        self.xid_next = after(self.xid_next);
    }

    /// Takes the request that the reply with `xid` answers.
    pub fn answer(&mut self, xid: i32) -> Result<Sent, OutOfOrder> {
        match self.requests.front() {
            Some(sent) if xid == self.xid_oldest => {
                let sent = *sent;
                self.requests.pop_front();
                self.xid_oldest = after(xid);
                Ok(sent)
            }
            oldest => Err(OutOfOrder { expected: oldest.map(|_| self.xid_oldest), found: xid }),
        }
    }
}

/// The xid after `xid`: positive always, negative ones have meanings of their own.
fn after(xid: i32) -> i32 {
    xid.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(at: Nanos) -> Sent {
        Sent { at, class: Class::Read }
    }

    /// Goal: replies are matched in order, and any other order is noticed without losing the request.
    #[test]
    fn order_is_checked() {
        let mut outstanding = Outstanding::default();
        assert_eq!(outstanding.answer(1), Err(OutOfOrder { expected: None, found: 1 }));
        outstanding.push(sent(10));
        outstanding.push(sent(20));
        assert_eq!(outstanding.answer(2), Err(OutOfOrder { expected: Some(1), found: 2 }));
        assert_eq!(outstanding.answer(1), Ok(sent(10)));
        assert_eq!(outstanding.answer(1), Err(OutOfOrder { expected: Some(2), found: 1 }));
        assert_eq!(outstanding.answer(2), Ok(sent(20)));
        assert_eq!(outstanding.count(), 0);
    }

    /// Goal: the counter turns over to 1, both where it is issued and where it is expected.
    #[test]
    fn xids_turn_over() {
        let mut outstanding =
            Outstanding { xid_oldest: i32::MAX, xid_next: i32::MAX, ..Outstanding::default() };
        outstanding.push(sent(1));
        outstanding.push(sent(2));
        assert_eq!(outstanding.next_xid(), 2);
        assert_eq!(outstanding.answer(i32::MAX), Ok(sent(1)));
        assert_eq!(outstanding.answer(1), Ok(sent(2)));
    }
}
