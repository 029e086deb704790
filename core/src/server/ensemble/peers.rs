//! Connections of the quorum port, and of that for observers: bytes in, cut into messages; messages out, gathered into
//! one buffer a turn.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use super::held::Held;
use crate::config::Config;
use crate::server::PeerPort;
use crate::time::Instant;
use crate::types::{LinkId, Message};
use crate::wire::quorum::{self, Deframer};

/// Links on a port, of servers that came before this one served them. With more of them the oldest goes, if it can be one
/// that has said nothing: who means to learn introduces itself at once.
const PARKED_MAX: usize = 64;
/// How long a server that expects to be served here is kept waiting: as long as a vote takes to be decided here, too.
const PARKED_TIME: Duration = Duration::from_secs(2);

/// No more room than this is made ahead for what is to be sent.
const USUAL_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct PeerLink {
    pub(super) deframer: Deframer,
    outbox: Vec<u8>,
    /// Room for as much as left the last time.
    usual_bytes: usize,
    /// Bytes that were sent and not taken by the operating system yet.
    unsent: usize,
    pub(super) paused: bool,
    /// Who connected before this server served there waits until then.
    parked: Option<Parked>,
}

#[derive(Clone, Copy, Debug)]
struct Parked {
    port: PeerPort,
    until: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PeerLinks {
    links: BTreeMap<LinkId, PeerLink>,
    /// Links with something in their outbox.
    to_send: BTreeSet<LinkId>,
    /// Bytes that wait for all the other servers together; see [`PeerLinks::owed`].
    owed: usize,
    /// What was asked for on these links and waits.
    pub(super) held: Held,
}

impl PeerLinks {
    pub(super) fn insert(&mut self, link: LinkId, config: &Config) {
        let deframer = Deframer::new(config.stored_field_max());
        let entry =
            PeerLink { deframer, outbox: Vec::new(), usual_bytes: 0, unsent: 0, paused: false, parked: None };
        self.links.insert(link, entry);
    }

    /// Keeps a link of a server that expects to be served here. The one that has to go for it, if any has; it is
    /// forgotten.
    #[must_use]
    pub(super) fn park(
        &mut self,
        link: LinkId,
        port: PeerPort,
        config: &Config,
        now: Instant,
    ) -> Option<LinkId> {
        let parked = self.parked(port);
        let mut goes = None;
        if parked.len() >= PARKED_MAX {
            let is_silent = |link: &LinkId| self.links[link].deframer.buffered() == 0;
            goes = Some(parked.iter().copied().find(is_silent).unwrap_or(parked[0]));
            self.remove(goes.expect("it was chosen just above"));
        }
        self.insert(link, config);
        let parked = Parked { port, until: now + PARKED_TIME };
        self.get(link).expect("it was inserted just above").parked = Some(parked);
        goes
    }

    /// Takes the links that were parked on a port: whoever they wait for is there now.
    pub(super) fn unpark(&mut self, port: PeerPort) -> Vec<LinkId> {
        let parked = self.parked(port);
        for link in &parked {
            if let Some(link) = self.links.get_mut(link) {
                link.parked = None;
            }
        }
        parked
    }

    /// The links that are parked on a port.
    pub(super) fn parked(&self, port: PeerPort) -> Vec<LinkId> {
        let parked = self.links.iter().filter(|(_, link)| link.parked.is_some_and(|it| it.port == port));
        parked.map(|(&id, _)| id).collect()
    }

    /// What came on a link, if it is parked.
    pub(super) fn buffered_of_parked(&self, link: LinkId) -> Option<usize> {
        self.links.get(&link).filter(|link| link.parked.is_some()).map(|link| link.deframer.buffered())
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// When the first parked link has waited for long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.parked).map(|parked| parked.until).min()
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<LinkId> {
        let overdue =
            self.links.iter().filter(|(_, link)| link.parked.is_some_and(|parked| parked.until <= now));
        overdue.map(|(&id, _)| id).collect()
    }

    /// Links that are not read from.
    pub(super) fn paused(&self) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| link.paused).map(|(&id, _)| id).collect()
    }

    pub(super) fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    pub(super) fn get(&mut self, link: LinkId) -> Option<&mut PeerLink> {
        self.links.get_mut(&link)
    }

    pub(super) fn push(&mut self, link: LinkId, bytes: Bytes) {
        if let Some(link) = self.links.get_mut(&link) {
            link.deframer.push(bytes);
        }
    }

    /// Forgets a link. Whether it was known.
    pub(super) fn remove(&mut self, link: LinkId) -> bool {
        self.to_send.remove(&link);
        self.held.forget(link);
        let removed = self.links.remove(&link);
        self.owed -= removed.as_ref().map_or(0, PeerLink::owed);
        removed.is_some()
    }

    /// Forgets all links but those that are parked on a port, and names them.
    pub(super) fn clear_except_parked(&mut self, port: PeerPort) -> Vec<LinkId> {
        // To those nothing was sent.
        self.to_send.clear();
        self.owed = 0;
        self.held = Held::default();
        let stays = |link: &PeerLink| link.parked.is_some_and(|parked| parked.port == port);
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            mem::take(&mut self.links).into_iter().partition(|(_, link)| stays(link));
        self.links = stay;
        go.into_keys().collect()
    }

    pub(super) fn send(&mut self, link: LinkId, message: &Message) {
        self.write(link, |out| quorum::encode(message, out));
    }

    /// Adds bytes that are no message: a piece of a snapshot.
    pub(super) fn write(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(entry) = self.links.get_mut(&link) {
            if entry.outbox.is_empty() {
                entry.outbox.reserve(entry.usual_bytes);
                self.to_send.insert(link);
            }
            let before = entry.outbox.len();
            write(&mut entry.outbox);
            self.owed += entry.outbox.len() - before;
        }
    }

    /// Bytes that wait for the other server.
    pub(super) fn owed(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, PeerLink::owed)
    }

    /// Whether more than so many wait for the other server. Mostly so few wait for all of them together that the link
    /// need not be looked up: this is asked for every request of a client.
    pub(super) fn owes_more_than(&self, link: LinkId, limit: usize) -> bool {
        self.owed > limit && self.owed(link) > limit
    }

    /// What is to be sent on the next link, and how much of what was sent before is not taken.
    pub(super) fn poll_send(&mut self) -> Option<(LinkId, Bytes, usize)> {
        let link = self.to_send.pop_first()?;
        let entry = self.links.get_mut(&link).expect("only links that stand are listed");
        let bytes = Bytes::from(mem::take(&mut entry.outbox));
        entry.usual_bytes = bytes.len().min(USUAL_BYTES_MAX);
        let untaken = entry.unsent;
        entry.unsent += bytes.len();
        Some((link, bytes, untaken))
    }

    /// The operating system took bytes. Whether the link is known.
    pub(super) fn drained(&mut self, link: LinkId, bytes: usize) -> bool {
        let Some(entry) = self.links.get_mut(&link) else { return false };
        entry.unsent = entry.unsent.checked_sub(bytes).expect("only what was sent can be taken");
        self.owed -= bytes;
        true
    }
}

impl PeerLink {
    /// Bytes that wait for the other server.
    const fn owed(&self) -> usize {
        self.unsent + self.outbox.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is written, sent, taken and forgotten, in any order: what all links are owed is the sum of what each is.
    #[test]
    fn what_all_are_owed_is_the_sum() {
        let config = Config::default();
        let mut peers = PeerLinks::default();
        let mut draw = 1_u64;
        let mut over = 0;
        for step in 0..20_000_u64 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let link = LinkId(draw >> 61);
            match (draw >> 40) % 8 {
                0..=2 => peers.write(link, |out| out.extend_from_slice(&[0; 7])),
                3 => drop(peers.poll_send()),
                4 => {
                    let unsent = peers.get(link).map_or(0, |entry| entry.unsent);
                    peers.drained(link, unsent.min(5));
                }
                5 if !peers.contains(link) => peers.insert(link, &config),
                5 | 6 => drop((draw >> 50).is_multiple_of(4) && peers.remove(link)),
                _ => drop((step.is_multiple_of(100)).then(|| peers.clear_except_parked(PeerPort::Quorum))),
            }
            assert_eq!(peers.owed, peers.links.values().map(PeerLink::owed).sum::<usize>());
            for limit in [0, 7, 20] {
                assert_eq!(peers.owes_more_than(link, limit), peers.owed(link) > limit);
                over += usize::from(peers.owes_more_than(link, limit));
            }
        }
        assert!(over > 1000, "{over}");
    }
}
