//! The driver's part in links to other servers: numbers them, reads from them, sends on them, takes them down.
//!
//! They take part in turns as clients do: one read of at most [`READ_BYTES`] before the others had theirs, one write
//! however much the core sends in a drain. In a turn they come before the clients, because somebody else's clients wait
//! for what they carry.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use zabra_core::server::{HangupReason, Input, LinkOrigin, PeerPort};
use zabra_core::time::Now;
use zabra_core::types::{LinkId, ServerId};

use super::{Driver, READ_BYTES, run_after_next_look};
use crate::dial::{Dial, DialError};
use crate::limits::{ACCEPTED_LINKS_MAX, LOOKUPS_MAX};
use crate::link::Link;
use crate::machine::Machine;

/// Every link, and what is being done to get more.
#[derive(Debug)]
pub(crate) struct Links {
    alive: BTreeMap<LinkId, Link>,
    last: u64,
    keep_alive: bool,
    /// Links with something to send.
    dirty: Vec<LinkId>,
    /// Links that ended while the core did not know it yet.
    ended: Vec<LinkId>,
    /// Attempts that the core asked for since the driver's task last ran, which begins them.
    dials: Vec<Dial>,
    /// One permit for each name that may be looked up at a time.
    lookups: Arc<Semaphore>,
    /// Why servers could not be connected to when last tried, so that the log says it once. Only servers that the core
    /// knows are here.
    unreachable: BTreeMap<(ServerId, PeerPort), String>,
}

impl Links {
    /// No link.
    pub(super) fn new(keep_alive: bool) -> Self {
        Self {
            alive: BTreeMap::new(),
            last: 0,
            keep_alive,
            dirty: Vec::new(),
            ended: Vec::new(),
            dials: Vec::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            unreachable: BTreeMap::new(),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }

    /// Whether a turn has something to do for them.
    pub(super) fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.ended.is_empty()
    }

    /// Whether everything that the core sent has left.
    pub(super) fn all_flushed(&self) -> bool {
        self.alive.values().all(|link| link.stream.is_flushed())
    }

    /// Whether one more may be accepted on a port.
    pub(super) fn has_room(&self, port: PeerPort) -> bool {
        let there = self.alive.values().filter(|link| link.accepted_on == Some(port)).count();
        there < ACCEPTED_LINKS_MAX
    }

    /// Notes an attempt to be begun.
    pub(super) fn dial(&mut self, dial: Dial) {
        self.dials.push(dial);
    }

    /// The attempts to be begun, and what they need.
    pub(super) fn take_dials(&mut self) -> (Vec<Dial>, Arc<Semaphore>) {
        (mem::take(&mut self.dials), Arc::clone(&self.lookups))
    }

    /// Takes a new link in and numbers it.
    fn add(&mut self, socket: TcpStream, accepted_on: Option<PeerPort>) -> LinkId {
        self.last += 1;
        let id = LinkId(self.last);
        self.alive.insert(id, Link::new(socket, self.keep_alive, accepted_on));
        id
    }

    /// Puts a link on the list of those that have something to send.
    fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.alive.get_mut(&id)
            && link.stream.mark_dirty()
        {
            self.dirty.push(id);
        }
    }

    /// Notes that a link is broken.
    fn mark_ended(&mut self, id: LinkId) {
        if let Some(link) = self.alive.get_mut(&id)
            && !mem::replace(&mut link.stream.ended, true)
        {
            self.ended.push(id);
        }
    }

    /// Sends bytes on a link.
    pub(super) fn send(&mut self, id: LinkId, bytes: Bytes) {
        let Some(link) = self.alive.get_mut(&id) else { return };
        link.stream.push(bytes);
        self.mark_dirty(id);
    }

    /// Stops reading from a link.
    pub(super) fn pause(&mut self, id: LinkId) {
        if let Some(link) = self.alive.get_mut(&id) {
            link.stream.paused = true;
        }
    }

    /// Reads from it again.
    pub(super) fn resume(&mut self, id: LinkId) {
        if let Some(link) = self.alive.get_mut(&id) {
            link.stream.paused = false;
            link.stream.wake();
        }
    }

    /// Remembers why a server cannot be connected to. Returns whether the log does not say it yet.
    fn note_unreachable(&mut self, dial: &Dial, why: &DialError) -> bool {
        let why = why.to_string();
        let known = self.unreachable.insert((dial.server, dial.port), why.clone());
        known != Some(why)
    }
}

impl<M: Machine> Driver<M> {
    /// Takes in a link that another server made, and says which number it got.
    pub(crate) fn accept_link(&mut self, socket: TcpStream, from: SocketAddr, port: PeerPort) -> LinkId {
        let link = self.links.add(socket, Some(port));
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        tracing::debug!(link = link.0, %from, ?port, "link accepted");
        let now = self.clock.now();
        self.tell(now, Input::LinkUp { link, origin: LinkOrigin::Accepted { port, from } });
        self.schedule();
        link
    }

    /// An attempt to connect ended. Returns the number of the link if there is one.
    pub(crate) fn dialed(&mut self, dial: &Dial, outcome: Result<TcpStream, DialError>) -> Option<LinkId> {
        let now = self.clock.now();
        let link = match outcome {
            Ok(socket) => {
                let link = self.links.add(socket, None);
                if self.links.unreachable.remove(&(dial.server, dial.port)).is_some() {
                    tracing::info!(server = dial.server.0, port = ?dial.port, "connected again");
                }
                tracing::debug!(link = link.0, server = dial.server.0, port = ?dial.port, "link made");
                self.tell(now, Input::LinkUp { link, origin: LinkOrigin::Dialed { dial: dial.dial } });
                Some(link)
            }
            Err(why) => {
                if self.links.note_unreachable(dial, &why) {
                    tracing::warn!(server = dial.server.0, port = ?dial.port, "cannot connect: {why}");
                }
                self.tell(now, Input::DialFailed { dial: dial.dial });
                None
            }
        };
        self.schedule();
        link
    }

    /// The task of one link: completes once the link is gone.
    pub(crate) fn poll_link(&mut self, id: LinkId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(link) = self.links.alive.get_mut(&id) else { return Poll::Ready(()) };
        link.stream.remember(cx.waker());
        // An error shows itself again when writing.
        if link.stream.blocked && link.stream.poll_writable(cx).is_ready() {
            link.stream.blocked = false;
            self.links.mark_dirty(id);
            self.schedule();
        }
        loop {
            let Some(link) = self.links.alive.get_mut(&id) else { return Poll::Ready(()) };
            if link.stream.ended || link.stream.paused {
                return Poll::Pending;
            }
            match self.inbox.poll_read(&mut link.stream, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {
                    let bytes = self.inbox.take();
                    self.feed(Input::LinkReceived { link: id, bytes }, count);
                    if count == READ_BYTES {
                        run_after_next_look(cx);
                        return Poll::Pending;
                    }
                }
                Poll::Ready(_) => {
                    self.links.mark_ended(id);
                    self.schedule();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Offers every outbox that has something new to the operating system.
    pub(super) fn flush_links(&mut self, now: Now) {
        for id in mem::take(&mut self.links.dirty) {
            let Some(link) = self.links.alive.get_mut(&id) else { continue };
            link.stream.dirty = false;
            let flushed = link.stream.flush();
            if link.stream.blocked {
                link.stream.wake(); // Its task asks to be told when the socket takes more.
            }
            if flushed.bytes > 0 {
                self.tell(now, Input::LinkDrained { link: id, bytes: flushed.bytes });
            }
            if flushed.broken {
                self.links.mark_ended(id);
            }
        }
    }

    /// Tells the core of links that ended.
    pub(super) fn report_ended_links(&mut self, now: Now) {
        for id in mem::take(&mut self.links.ended) {
            if self.links.alive.contains_key(&id) {
                tracing::debug!(link = id.0, "link down");
                self.drop_link(id);
                self.tell(now, Input::LinkDown { link: id });
            }
        }
    }

    /// Takes a link down. What was sent before goes along as far as the operating system takes it at once: who
    /// connects to a server with a larger number says who it is, hangs up, and waits to be connected to.
    pub(super) fn hang_up(&mut self, id: LinkId, why: HangupReason) {
        let Some(link) = self.links.alive.get_mut(&id) else { return };
        match why {
            HangupReason::BadMessage
            | HangupReason::Duplicate
            | HangupReason::RoleOver
            | HangupReason::Unwanted => {
                link.stream.flush();
            }
            // It would not take it; the kernel need not go on trying.
            HangupReason::SlowReader | HangupReason::Timeout => link.stream.reset_on_drop(),
        }
        match why {
            HangupReason::Duplicate | HangupReason::RoleOver => {
                tracing::debug!(link = id.0, ?why, "link closed");
            }
            HangupReason::BadMessage
            | HangupReason::SlowReader
            | HangupReason::Timeout
            | HangupReason::Unwanted => {
                let peer = link.stream.peer();
                tracing::info!(link = id.0, ?why, peer, "link closed");
            }
        }
        self.drop_link(id);
    }

    fn drop_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.alive.remove(&id) {
            link.stream.wake(); // Its task finds it gone and ends.
            self.make_room();
        }
    }
}
