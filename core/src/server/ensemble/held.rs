//! What learners ask for while there is no room for it (PARITY `lim.outstanding`).
//!
//! A leader whose log is full, and a follower that has more to tell its leader than that takes, go on listening to those
//! who learn from them: an acknowledgement makes room, and an answer to a ping keeps sessions alive, and the learner
//! itself. What needs room is held, and whatever the same learner asks for behind that, so that it stays in order. Of
//! acknowledgements and pings nothing depends on what was asked for before them: they overtake it, as with ZooKeeper's
//! leader, which queues requests and looks at the others at once.
//!
//! As many bytes are held for all links together as may wait for the disk ([`Config::log_buffer_max`]). When there are more,
//! each has an equal share of as much again: who has less is still listened to, for it may have an acknowledgement to say.
//! A learner that has asked for more is not read from until half of that has gone, and given up if that takes too long: a
//! link that is not read from may be dead, and nobody would notice.
//!
//! When there is room again, requests are taken up to [`Config::turn_work_max`] bytes in one turn; the next turn comes at
//! once, behind what has come in meanwhile.
//!
//! [`Config::log_buffer_max`]: crate::config::Config::log_buffer_max
//! [`Config::turn_work_max`]: crate::config::Config::turn_work_max

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
    /// Bytes that are held for all links.
    bytes: usize,
    /// The turn of the server in which something was taken last, and the bytes that were taken in it.
    taken: (u64, usize),
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
    fn bytes(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, |queue| queue.bytes)
    }

    /// Whether no more is to be held for a link, of `links`, where `max` bytes may be for all of them.
    pub(super) fn is_enough(&self, link: LinkId, links: usize, max: usize) -> bool {
        self.bytes > max && self.bytes(link) > max / links.max(1)
    }

    /// Whether so much was taken in this turn that the rest is to wait for the next one.
    const fn yields(&self, turn: u64, max: usize) -> bool {
        self.taken.0 == turn && self.taken.1 > max && self.bytes > 0
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
        self.bytes += size(&message);
        queue.messages.push_back((server, message));
    }

    /// The oldest of the link whose turn it is, in this turn of the server.
    fn pop(&mut self, turn: u64) -> Option<(LinkId, ServerId, Message)> {
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
        self.bytes -= size(&message);
        let before = if self.taken.0 == turn { self.taken.1 } else { 0 };
        self.taken = (turn, before + size(&message));
        Some((link, server, message))
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.bytes -= self.links.remove(&link).map_or(0, |queue| queue.bytes);
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
    /// Whether something is held.
    pub(in crate::server) fn holds_requests(&self) -> bool {
        self.ensemble.as_deref().is_some_and(|ensemble| !ensemble.peers.held.is_empty())
    }

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
        if self.learners_must_wait() || self.held_yields() {
            return false;
        }
        let turn = self.turn;
        let held = self.ensemble.as_deref_mut().and_then(|ensemble| ensemble.peers.held.pop(turn));
        let Some((link, server, message)) = held else { return false };
        self.do_said(link, server, message);
        self.carry_out_leader();
        self.carry_out_observer_master();
        true
    }

    /// Whether what is held has room, and waits for the next turn.
    pub(in crate::server) fn held_yields(&self) -> bool {
        let Some(ensemble) = self.ensemble.as_deref() else { return false };
        ensemble.peers.held.yields(self.turn, self.config.turn_work_max) && !self.learners_must_wait()
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
        while let Some((_, _, message)) = held.pop(1) {
            let Message::Request { cxid, .. } = message else { unreachable!() };
            order.push(cxid);
            if cxid == 1 {
                held.forget(LinkId(9));
                held.push(LinkId(3), ServerId(1), request(7, 0));
            }
        }
        assert_eq!(order, [4, 1, 5, 7, 2, 3]);
        assert!(held.is_empty() && held.bytes(LinkId(5)) == 0 && held.bytes == 0);
    }

    /// Four links ask for as much as they can, one after the other: all together get twice as much as may be, at most, and
    /// each of them something.
    #[test]
    fn what_is_held_for_all_is_bounded() {
        let (max, links) = (100_000, 4);
        let mut held = Held::default();
        for link in 0..links {
            let link = LinkId(link);
            while !held.is_enough(link, links as usize, max) {
                held.push(link, ServerId(1), request(1, 100));
            }
            assert!(held.bytes(link) > max / links as usize, "{link:?}");
        }
        let one = size(&request(1, 100));
        assert!(held.bytes <= 2 * max + links as usize * one, "{}", held.bytes);
        // One of them has as much as all may have, as long as the others ask for nothing.
        assert!(held.bytes(LinkId(0)) > max);
        let all = held.bytes;
        held.forget(LinkId(0));
        assert!(all - held.bytes > max);
    }

    #[test]
    fn no_more_is_taken_in_one_turn_than_may_be() {
        let mut held = Held::default();
        for _ in 0..100 {
            held.push(LinkId(1), ServerId(1), request(1, 1000));
        }
        let mut turns = 0;
        while !held.is_empty() {
            turns += 1;
            let mut taken = 0;
            while !held.yields(turns, 10_000) && held.pop(turns).is_some() {
                taken += 1;
            }
            assert!((1..=11).contains(&taken), "{taken}");
        }
        assert!(turns >= 10, "{turns}");
    }
}
