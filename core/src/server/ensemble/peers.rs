//! Connections of the quorum port, and of that for observers: bytes in, cut into messages; messages out, gathered into
//! one buffer a turn.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::server::PeerPort;
use crate::time::Instant;
use crate::types::{LinkId, Message};
use crate::wire::quorum::{self, Deframer};

/// Links of servers that came before this one served them; more are refused.
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
}

impl PeerLinks {
    pub(super) fn insert(&mut self, link: LinkId, config: &Config) {
        let deframer = Deframer::new(config.stored_field_max());
        let entry =
            PeerLink { deframer, outbox: Vec::new(), usual_bytes: 0, unsent: 0, paused: false, parked: None };
        self.links.insert(link, entry);
    }

    /// Keeps a link of a server that expects to be served here. Whether there was room.
    pub(super) fn park(&mut self, link: LinkId, port: PeerPort, config: &Config, now: Instant) -> bool {
        if self.links.len() >= PARKED_MAX {
            return false;
        }
        self.insert(link, config);
        let parked = Parked { port, until: now + PARKED_TIME };
        self.get(link).expect("it was inserted just above").parked = Some(parked);
        true
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
        self.links.remove(&link).is_some()
    }

    /// Forgets all links, and names them.
    pub(super) fn clear(&mut self) -> Vec<LinkId> {
        self.to_send.clear();
        mem::take(&mut self.links).into_keys().collect()
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
            write(&mut entry.outbox);
        }
    }

    /// Bytes that wait for the other server.
    pub(super) fn owed(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, |link| link.unsent + link.outbox.len())
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
        true
    }
}
