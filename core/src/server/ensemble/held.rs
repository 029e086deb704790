//! What learners ask for while there is no room for it (PARITY `lim.outstanding`).
//!
//! A leader whose log is full, and a follower that has more to tell its leader than that takes, go on listening to those
//! who learn from them: an acknowledgement makes room, and an answer to a ping keeps sessions alive, and the learner
//! itself. What needs room is held, and whatever the same learner asks for behind that, so that it stays in order. Of
//! acknowledgements and pings nothing depends on what was asked for before them: they overtake it, as with ZooKeeper's
//! leader, which queues requests and looks at the others at once.
//!
//! As many bytes are held for each link as may wait for the disk ([`Config::log_buffer_max`]). A learner that has asked for
//! more is not read from until half of that has gone, and given up if that takes too long: a link that is not read from
//! may be dead, and nobody would notice.
//!
//! [`Config::log_buffer_max`]: crate::config::Config::log_buffer_max

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound;

use bytes::Bytes;

use super::{Ensemble, Role};
use crate::server::Server;
use crate::types::{LinkId, Message, OpCode, ServerId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Never an empty queue.
    links: BTreeMap<LinkId, Queue>,
    /// Whose turn it was last.
    served: Option<LinkId>,
}

/// What was asked for on one link, oldest first.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(ServerId, Message)>,
    bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Bytes that are held for a link.
    pub(super) fn bytes(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, |queue| queue.bytes)
    }

    fn has(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    fn push(&mut self, link: LinkId, server: ServerId, mut message: Message) {
        // What came is a slice of a larger buffer, which should not live for as long as this is kept.
        if let Message::Request { body, .. } = &mut message {
            *body = Bytes::copy_from_slice(body);
        }
        let queue = self.links.entry(link).or_default();
        queue.bytes += size(&message);
        queue.messages.push_back((server, message));
    }

    /// The oldest of the link whose turn it is.
    fn pop(&mut self) -> Option<(LinkId, ServerId, Message)> {
        let behind = self.served.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.links.range((behind, Bound::Unbounded)).next();
        let link = *behind.or_else(|| self.links.first_key_value())?.0;
        self.served = Some(link);
        let queue = self.links.get_mut(&link).expect("it was found just above");
        let (server, message) = queue.messages.pop_front().expect("no queue is empty");
        queue.bytes -= size(&message);
        if queue.messages.is_empty() {
            self.links.remove(&link);
        }
        Some((link, server, message))
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
    }
}

/// What a message takes in memory, roughly.
fn size(message: &Message) -> usize {
    let more = match message {
        Message::Request { body, identities, .. } => {
            let identities = identities.iter().map(|id| size_of_val(id) + id.scheme.len() + id.id.len());
            body.len() + identities.sum::<usize>()
        }
        _ => 0,
    };
    size_of::<(ServerId, Message)>() + more
}

impl Server {
    /// A learner asks for something: it is done, or held until there is room.
    pub(super) fn on_said(&mut self, link: LinkId, server: ServerId, message: Message) {
        if !self.is_to_wait(link, &message) {
            self.do_said(link, server, message);
        } else if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.peers.held.push(link, server, message);
        }
    }

    fn do_said(&mut self, link: LinkId, server: ServerId, message: Message) {
        if self.is_learning() {
            self.on_observer(link, server, message);
        } else if self.is_ordering() {
            // Who has handed over meanwhile has no say any more.
            self.on_learner(link, server, message);
        }
    }

    /// Whether there is no room for it, or others come first. A leader's log gets neither syncs nor questions about
    /// sessions; a follower passes on all that its observers ask for.
    fn is_to_wait(&self, link: LinkId, message: &Message) -> bool {
        let Some(Ensemble { peers, role, .. }) = self.ensemble.as_deref() else { return false };
        let needs_room = match message {
            Message::Ping { .. } => return false,
            Message::Request { op: OpCode::SYNC, .. } | Message::Revalidate { .. } => {
                matches!(role, Role::Learning(_))
            }
            _ => true,
        };
        peers.held.has(link) || needs_room && (!peers.held.is_empty() || self.learners_must_wait())
    }

    /// Whether there is no room for what learners ask for.
    fn learners_must_wait(&self) -> bool {
        match self.ensemble.as_deref().and_then(Ensemble::leading) {
            Some(_) => self.log_is_full(),
            None => self.observers_must_wait(),
        }
    }

    /// Does what was held for the link whose turn it is, if there is room. Whether there was anything.
    pub(in crate::server) fn take_held(&mut self) -> bool {
        if self.learners_must_wait() {
            return false;
        }
        let held = self.ensemble.as_deref_mut().and_then(|ensemble| ensemble.peers.held.pop());
        let Some((link, server, message)) = held else { return false };
        self.do_said(link, server, message);
        self.carry_out_leader();
        self.carry_out_observer_master();
        true
    }

    /// Goes on with learners that had to wait for room. Whether there were any.
    pub(super) fn resume_learners(&mut self) -> bool {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return false };
        let room = core::mem::take(&mut ensemble.room);
        let mut any = false;
        while self.take_held() {
            any = true;
        }
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return any };
        if !any && !room {
            return false;
        }
        let mut paused = ensemble.peers.paused();
        if let Role::Learning(learning) = &ensemble.role {
            paused.retain(|&link| learning.learner.link() != Some(link));
        }
        for &link in &paused {
            self.take_messages(link);
        }
        any || !paused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::types::SessionId;

    fn request(cxid: i32, len: usize) -> Message {
        let (session, body) = (SessionId(1), Bytes::from(alloc::vec![0; len]));
        Message::Request { session, cxid, op: OpCode::SET_DATA, body, identities: Vec::new() }
    }

    #[test]
    fn links_take_turns_and_each_keeps_its_order() {
        let mut held = Held::default();
        for (link, cxid) in [(5, 1), (5, 2), (5, 3), (2, 4), (2, 5), (9, 6)] {
            held.push(LinkId(link), ServerId(1), request(cxid, 100));
        }
        assert!(held.bytes(LinkId(5)) > 300 && held.bytes(LinkId(5)) > held.bytes(LinkId(2)));
        let mut order = Vec::new();
        while let Some((_, _, message)) = held.pop() {
            let Message::Request { cxid, .. } = message else { unreachable!() };
            order.push(cxid);
            if cxid == 1 {
                held.forget(LinkId(9));
                held.push(LinkId(3), ServerId(1), request(7, 0));
            }
        }
        assert_eq!(order, [4, 1, 5, 7, 2, 3]);
        assert!(held.is_empty() && held.bytes(LinkId(5)) == 0);
    }
}
