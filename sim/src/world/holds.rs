//! What a scenario holds back: messages of a kind on their way from one server to another, and requests to a disk.
//!
//! A message that is held back holds back everything behind it, for a connection keeps its order; what was sent before
//! it arrives. A disk request that is held back is not begun, and so are those behind it in its stream.

use bytes::Bytes;
use zabra_core::store::{DiskOp, Stream};
use zabra_core::types::Message;
use zabra_core::wire::quorum::encode;

use super::World;
use crate::clock::SimTime;
use crate::link::{End, LinkId};
use crate::places::NodeId;

/// Which messages.
pub type OfMessages = fn(&Message) -> bool;
/// Which requests.
pub type OfRequests = fn(&DiskOp) -> bool;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    messages: Vec<(NodeId, NodeId, OfMessages)>,
    requests: Vec<(NodeId, OfRequests)>,
}

impl Holds {
    /// Whether a disk is not to begin with a request.
    pub(super) fn holds(&self, node: NodeId, op: &DiskOp) -> bool {
        self.requests.iter().any(|(held, is_held)| *held == node && is_held(op))
    }

    /// Where in `bytes`, which these messages are complete with, the first that is held back begins.
    pub(super) fn begin(
        &self,
        from: NodeId,
        to: NodeId,
        messages: &[Message],
        bytes: &Bytes,
    ) -> Option<usize> {
        let is_held = |message: &Message| {
            self.messages.iter().any(|(one, other, is_held)| (*one, *other) == (from, to) && is_held(message))
        };
        let first = messages.iter().position(is_held)?;
        let len = |messages: &[Message]| {
            let mut encoded = Vec::new();
            messages.iter().for_each(|message| encode(message, &mut encoded));
            encoded.len()
        };
        // What is no message, a snapshot, may come before them; behind SNAP it may come after.
        let (before, after) = messages.split_at(first);
        Some(if after.iter().any(|message| matches!(message, Message::Snap { .. })) {
            len(before)
        } else {
            bytes.len().saturating_sub(len(after))
        })
    }
}

impl World {
    /// Holds messages of a kind back, and what comes behind them on the same link, until [`World::release_all`]; what
    /// was held by then goes on with [`World::mend`].
    pub fn hold_messages(&mut self, from: NodeId, to: NodeId, of: OfMessages) {
        self.holds.messages.push((from, to, of));
    }

    /// Lets a disk not begin with requests of a kind, until [`World::release_disk`].
    pub fn hold_disk(&mut self, node: NodeId, of: OfRequests) {
        self.holds.requests.push((node, of));
    }

    /// Lets a disk go on.
    pub fn release_disk(&mut self, node: NodeId) {
        self.holds.requests.retain(|(held, _)| *held != node);
        for stream in [Stream::Log, Stream::Bulk] {
            self.begin_disk_op(node, stream);
        }
    }

    /// Holds nothing back any more, and lets disks go on.
    pub fn release_all(&mut self) {
        self.holds.messages.clear();
        for node in 0..self.nodes.len() {
            self.release_disk(NodeId(node));
        }
    }

    /// Sends to another server, up to where something is held back; the rest waits.
    pub(super) fn send_held(&mut self, link: LinkId, to: End, mut bytes: Bytes, held_from: Option<usize>) {
        if let Some(at) = held_from {
            let before = bytes.split_to(at);
            self.send(link, to, before);
            if let Some(state) = self.links.get_mut(link) {
                state.link.hold_from_here(to, SimTime::FOREVER);
            }
        }
        self.send(link, to, bytes);
    }
}
