//! Clients and links: who is connected to whom, what arrives, and who learns that a connection is gone.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use zabra_core::server::{Input, PeerPort};
use zabra_core::types::{Address, ConnId, DialId, LinkId as PeerLink};
use zabra_core::wire::Deframer;

use super::{Event, World};
use crate::check::Violation;
use crate::client::Want;
use crate::history::Observed;
use crate::link::{End, FRAME_MAX, Link, LinkId, NetProfile, Pieces};
use crate::node::Conn;
use crate::picture::wires::Pipe;
use crate::places::{ClientId, NodeId, Party};

/// What bytes take on average, and how many are on their way at once, once all faults have stopped.
const HEALTHY_LATENCY_MAX: Duration = Duration::from_millis(2);
const HEALTHY_WINDOW_MIN: usize = 64 << 10;

/// What a link is for, and what servers call it.
#[derive(Debug)]
pub(super) enum Use {
    /// A client's connection.
    Client {
        /// The server's number for it, once it was accepted.
        conn: Option<ConnId>,
    },
    /// Between two servers.
    Peers {
        /// Which port was connected to.
        port: PeerPort,
        /// The dialer's attempt.
        dial: DialId,
        /// The acceptor's number for it.
        acceptor: PeerLink,
        /// The dialer's, once it knows that it was accepted.
        dialer: Option<PeerLink>,
    },
}

/// Who is told of what happens at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Client(ClientId),
    Conn(NodeId, ConnId),
    Peer(NodeId, PeerLink),
}

/// A link, and what its ends know of it.
#[derive(Debug)]
pub(super) struct LinkState {
    pub(super) link: Link,
    pub(super) purpose: Use,
    /// The acceptor has closed it, or learned that it is gone.
    acceptor_done: bool,
    /// Likewise the dialer.
    dialer_done: bool,
    /// The acceptor closes it once all that it sent is out.
    closing: bool,
    /// It is closed, and news of it is held back from this end.
    pub(super) close_due: Option<End>,
    /// Bytes for an end that has no power are sent again and again.
    pub(super) probing: bool,
}

impl LinkState {
    pub(super) const fn new(link: Link, purpose: Use) -> Self {
        Self {
            link,
            purpose,
            acceptor_done: false,
            dialer_done: false,
            closing: false,
            close_due: None,
            probing: false,
        }
    }

    pub(super) const fn is_done(&self, end: End) -> bool {
        match end {
            End::Acceptor => self.acceptor_done,
            End::Dialer => self.dialer_done,
        }
    }

    pub(super) const fn set_done(&mut self, end: End) {
        match end {
            End::Acceptor => self.acceptor_done = true,
            End::Dialer => self.dialer_done = true,
        }
    }

    pub(super) const fn is_between_servers(&self) -> bool {
        matches!(self.purpose, Use::Peers { .. })
    }

    /// Which port of a server it is for; none, if it is a client's.
    pub(super) const fn port(&self) -> Option<PeerPort> {
        match self.purpose {
            Use::Client { .. } => None,
            Use::Peers { port, .. } => Some(port),
        }
    }

    /// The direction that leads to an end.
    fn pipe(&self, link: LinkId, to: End) -> Pipe {
        let (sender, receiver) = (self.link.party(to.other()), self.link.party(to));
        Pipe { link, to, sender, receiver, port: self.port() }
    }

    /// Whether both ends know of it.
    pub(super) const fn is_open(&self) -> bool {
        match self.purpose {
            Use::Client { conn } => conn.is_some(),
            Use::Peers { dialer, .. } => dialer.is_some(),
        }
    }

    /// Who is told of what happens at an end; nobody, before that end knows of the link.
    pub(super) const fn holder(&self, end: End) -> Option<Holder> {
        match (&self.purpose, end, self.link.party(end)) {
            (Use::Client { .. }, End::Dialer, Party::Client(client)) => Some(Holder::Client(client)),
            (Use::Client { conn: Some(conn) }, End::Acceptor, Party::Node(node)) => {
                Some(Holder::Conn(node, *conn))
            }
            (Use::Peers { acceptor, .. }, End::Acceptor, Party::Node(node)) => {
                Some(Holder::Peer(node, *acceptor))
            }
            (Use::Peers { dialer: Some(dialer), .. }, End::Dialer, Party::Node(node)) => {
                Some(Holder::Peer(node, *dialer))
            }
            (Use::Client { .. } | Use::Peers { .. }, _, Party::Client(_) | Party::Node(_)) => None,
        }
    }
}

impl World {
    pub(super) fn on_client(&mut self, client: ClientId) -> Result<(), Violation> {
        self.clients[client.0].on_wake(self.now)?;
        self.carry_out(client)
    }

    /// Does what a client wants, in order.
    pub(super) fn carry_out(&mut self, client: ClientId) -> Result<(), Violation> {
        while let Some(want) = self.clients[client.0].poll_want() {
            match want {
                Want::Dial { dial, address } => self.dial(client, dial, &address),
                Want::Hangup { dial } => {
                    if let Some(link) = self.clients[client.0].link_of(dial) {
                        self.hangup(link);
                    }
                }
                Want::Send { dial, bytes } => {
                    if let Some(link) = self.clients[client.0].link_of(dial) {
                        self.send(link, End::Acceptor, bytes);
                    }
                }
                Want::Tell(what) => self.observe(what)?,
            }
        }
        if let Some(at) = self.clients[client.0].poll_wake(self.now) {
            self.schedule(at, Event::Client { client });
        }
        Ok(())
    }

    /// A client connects to a server. Whoever says where it may connect to has given the name new addresses.
    fn dial(&mut self, client: ClientId, dial: DialId, address: &Address) {
        let node = match self.homes.get(&client) {
            Some(homes) => Some(*self.net_rng.pick(homes)),
            None => self.node_named(&address.host),
        };
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.clients[client.0].on_dialing(dial, id);
        let Some(node) = node else { return };
        let link = Link::new(Party::Client(client), Party::Node(node));
        self.links.insert(id, LinkState::new(link, Use::Client { conn: None }));
        let at = self.now + self.latency();
        self.schedule(at, Event::Accept { link: id });
    }

    pub(super) fn latency(&mut self) -> Duration {
        let profile = self.net();
        profile.latency_min + self.net_rng.exponential(profile.latency_mean)
    }

    /// How links behave at the moment. Once all faults have stopped, a snapshot gets through within the limits of any
    /// profile, and a ping within a tick.
    fn net(&self) -> NetProfile {
        let drawn = self.options.net;
        if !self.healed {
            return drawn;
        }
        NetProfile {
            latency_mean: drawn.latency_mean.min(HEALTHY_LATENCY_MAX),
            window: drawn.window.max(HEALTHY_WINDOW_MIN),
            ..drawn
        }
    }

    pub(super) fn on_accept(&mut self, id: LinkId) -> Result<(), Violation> {
        let Some(state) = self.links.get(id) else { return Ok(()) };
        let (Party::Client(client), Party::Node(node_id)) = (state.link.dialer, state.link.acceptor) else {
            return Ok(());
        };
        let node = &mut self.nodes[node_id.0];
        if !node.is_up() {
            // Nobody listens. Without power nobody even says so, and the client must lose its patience.
            let says_so = node.powered;
            self.links.get_mut(id).expect("just seen").set_done(End::Acceptor);
            if says_so {
                let at = self.now + self.latency();
                self.schedule(at, Event::Close { link: id, to: End::Dialer });
            }
            return Ok(());
        }
        let conn = ConnId(node.next_conn);
        node.next_conn += 1;
        let heard = node.clock.now(self.now).mono.as_nanos();
        let sent = Deframer::new(FRAME_MAX);
        node.conns.insert(conn, Conn { link: id, sent, greeted: false, session: None, heard });
        self.links.get_mut(id).expect("just seen").purpose = Use::Client { conn: Some(conn) };
        let from = SocketAddr::from((client.address(), 40_000));
        self.tell_node(node_id, Input::Accepted { conn, from });
        self.clients[client.0].on_connected(self.now, id)?;
        self.carry_out(client)
    }

    /// Hands bytes to a link for the end `to`.
    pub(super) fn send(&mut self, id: LinkId, to: End, bytes: Bytes) {
        let Some(state) = self.links.get_mut(id) else { return };
        if let Some(picture) = self.onlooker.as_mut().and_then(|onlooker| onlooker.picture.as_mut()) {
            picture.sent(self.now, state.pipe(id, to), &bytes);
        }
        state.link.send(to, bytes);
        self.pump(id, to);
    }

    /// Lets a link take what waits at its sender, and tells a server how much that was.
    pub(super) fn pump(&mut self, id: LinkId, to: End) {
        let is_idle = |state: &LinkState| state.link.is_flushed(to) && !state.closing;
        if self.links.get(id).is_none_or(is_idle) {
            return;
        }
        let profile = self.net();
        let Some(state) = self.links.get_mut(id) else { return };
        let (taken, arrivals) = state.link.pump(to, self.now, &mut self.net_rng, &profile);
        let sender = state.holder(to.other());
        let closes = to == End::Dialer && state.closing && state.link.is_flushed(to);
        if closes {
            state.closing = false;
        }
        let last = state.link.last_arrival(to);
        for at in arrivals {
            self.schedule(at, Event::Arrive { link: id, to });
        }
        if closes {
            self.schedule(last.max(self.now) + Duration::from_nanos(1), Event::Close { link: id, to });
        }
        if taken == 0 {
            return;
        }
        match sender {
            Some(Holder::Conn(node, conn)) if self.nodes[node.0].conns.contains_key(&conn) => {
                self.mention_drained(node, Input::Drained { conn, bytes: taken });
            }
            Some(Holder::Peer(node, link)) if self.nodes[node.0].peers.contains_key(&link) => {
                self.mention_drained(node, Input::LinkDrained { link, bytes: taken });
            }
            Some(Holder::Client(_) | Holder::Conn(..) | Holder::Peer(..)) | None => {}
        }
    }

    pub(super) fn on_arrive(&mut self, id: LinkId, to: End) -> Result<(), Violation> {
        let Some(state) = self.links.get_mut(id) else { return Ok(()) };
        if state.is_done(to) {
            self.arrive_at_nobody(id, to);
            return Ok(());
        }
        let pieces = state.link.arrive(to, self.now);
        self.receive(id, to, pieces)
    }

    /// One end has read bytes.
    fn receive(&mut self, id: LinkId, to: End, pieces: Pieces) -> Result<(), Violation> {
        let Some(holder) = self.links.get(id).and_then(|state| state.holder(to)) else { return Ok(()) };
        for bytes in pieces {
            let now = self.now;
            if let Some(picture) = self.picture() {
                picture.arrived(now, id, to, bytes.len());
            }
            match holder {
                Holder::Client(client) => {
                    self.clients[client.0].on_bytes(self.now, id, bytes)?;
                    self.carry_out(client)?;
                }
                Holder::Conn(node, conn) => self.tell_node(node, Input::Received { conn, bytes }),
                Holder::Peer(node, link) => self.tell_node(node, Input::LinkReceived { link, bytes }),
            }
        }
        self.pump(id, to);
        Ok(())
    }

    /// One end learns that the link is gone.
    pub(super) fn on_close(&mut self, id: LinkId, to: End) -> Result<(), Violation> {
        let Some(state) = self.links.get(id) else { return Ok(()) };
        if state.is_done(to) || state.link.is_silent(to) {
            return Ok(());
        }
        self.lose(id, to)
    }

    /// One end learns that the link is gone, unless the news is held back from it.
    pub(super) fn lose(&mut self, id: LinkId, to: End) -> Result<(), Violation> {
        let Some(state) = self.links.get_mut(id) else { return Ok(()) };
        if state.is_done(to) {
            return Ok(());
        }
        let held_until = state.link.held_until(to);
        if state.is_between_servers() && held_until > self.now {
            state.close_due = Some(to);
            // Not a close, which does not reach an end that the link is silent to: this news comes from its own system.
            self.schedule(held_until, Event::GiveUp { link: id, to });
            return Ok(());
        }
        state.set_done(to);
        let holder = state.holder(to);
        self.forget_if_done(id);
        match holder {
            Some(Holder::Client(client)) => {
                self.clients[client.0].on_closed(self.now, id)?;
                self.carry_out(client)
            }
            // The node forgets it once its process looks at this: bytes that came before are still to be seen.
            Some(Holder::Conn(node, conn)) if self.nodes[node.0].conns.contains_key(&conn) => {
                self.tell_node(node, Input::Closed { conn });
                Ok(())
            }
            Some(Holder::Peer(node, link)) if self.nodes[node.0].peers.contains_key(&link) => {
                self.tell_node(node, Input::LinkDown { link });
                Ok(())
            }
            Some(Holder::Conn(..) | Holder::Peer(..)) | None => Ok(()),
        }
    }

    /// A client hangs up: in order, or so that what is on its way is lost.
    fn hangup(&mut self, id: LinkId) {
        let abrupt = self.net_rng.chance(500_000);
        let soon = self.now + self.latency();
        let Some(state) = self.links.get_mut(id) else { return };
        if !state.is_open() {
            // No server has accepted it, and none will.
            self.links.remove(id);
            return;
        }
        state.set_done(End::Dialer);
        let last = state.link.last_arrival(End::Acceptor);
        let at = if abrupt { soon } else { soon.max(last + Duration::from_nanos(1)) };
        self.forget_if_done(id);
        self.schedule(at, Event::Close { link: id, to: End::Acceptor });
    }

    /// A server closes a connection once all that it sent is out.
    pub(super) fn close_by_server(&mut self, node: NodeId, conn: ConnId) {
        let Some(Conn { link: id, .. }) = self.nodes[node.0].conns.remove(&conn) else { return };
        if let Some(state) = self.links.get_mut(id) {
            state.set_done(End::Acceptor);
            state.closing = true;
            self.pump(id, End::Dialer);
            self.forget_if_done(id);
        }
    }

    /// The connections of a process that ended: their clients learn it soon, or never.
    pub(super) fn abandon_conns(&mut self, node: NodeId, told: bool) {
        let conns = std::mem::take(&mut self.nodes[node.0].conns);
        for conn in conns.into_values() {
            let Some(state) = self.links.get_mut(conn.link) else { continue };
            state.set_done(End::Acceptor);
            if !told {
                state.link.silence(End::Dialer);
            }
            self.forget_if_done(conn.link);
            let at = self.now + self.latency();
            self.schedule(at, Event::Close { link: conn.link, to: End::Dialer });
        }
    }

    pub(super) fn forget_if_done(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|state| state.acceptor_done && state.dialer_done) {
            self.links.remove(id);
        }
    }

    /// Whether a server reads from a connection.
    pub(super) fn set_server_reads(
        &mut self,
        node: NodeId,
        conn: ConnId,
        reads: bool,
    ) -> Result<(), Violation> {
        let Some(link) = self.nodes[node.0].conns.get(&conn).map(|conn| conn.link) else { return Ok(()) };
        self.set_reads(link, End::Acceptor, reads)
    }

    /// A client that did not read does so again.
    pub(super) fn read_again(&mut self, link: LinkId) -> Result<(), Violation> {
        self.set_reads(link, End::Dialer, true)
    }

    pub(super) fn set_reads(&mut self, id: LinkId, end: End, reads: bool) -> Result<(), Violation> {
        let Some(state) = self.links.get_mut(id) else { return Ok(()) };
        state.link.set_reading(end, reads);
        if !reads || state.is_done(end) {
            return Ok(());
        }
        let pieces = state.link.read(end);
        self.receive(id, end, pieces)
    }

    /// Cuts the connection of a client, as a scenario does.
    ///
    /// # Errors
    /// What a checker has against what follows at once.
    pub fn disconnect(&mut self, client: ClientId) -> Result<(), Violation> {
        let words = format!("{client} loses its connection");
        self.observe(Observed::Fault { fault: None, words })?;
        self.clients[client.0].leave(self.now)?;
        self.carry_out(client)
    }

    /// Lets a client connect to these servers only, from its next connection on.
    pub fn set_homes(&mut self, client: ClientId, homes: Vec<NodeId>) {
        self.homes.insert(client, homes);
    }

    /// Takes a client away for good: it says nothing any more, and nobody tells its server.
    pub fn mute(&mut self, client: ClientId) {
        self.clients[client.0].mute();
        if let Some(state) = self.clients[client.0].link().and_then(|link| self.links.get_mut(link)) {
            state.link.silence(End::Acceptor);
        }
    }
}
