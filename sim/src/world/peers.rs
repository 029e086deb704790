//! Links between servers: who dials whom, who is accepted, refused or left waiting, and how such links end.
//!
//! A process that serves listens on both of its node's ports for servers. Where there is no process a dialer is refused
//! at once; where there is no power, or the way is cut, it hears nothing, and its operating system knocks again every
//! second until the dialer's patience is over.
//!
//! What is sent to an end that is gone is answered with a reset, as TCP does; to a machine without power it is sent
//! again until there is one. A link that fell silent for ever is given up by the operating systems of both ends
//! after a while.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use zabra_core::server::{HangupReason, Input, LinkOrigin, PeerPort, Role};
use zabra_core::types::{Address, DialId, LinkId as PeerLink, Message, SessionId};

use super::net::{Holder, LinkState, Use};
use super::{Event, World};
use crate::check::{Violation, leadership};
use crate::clock::SimTime;
use crate::history::{Nonsense, Observed, Touch};
use crate::link::{End, Link, LinkId};
use crate::node::{Life, Peer, Taps};
use crate::places::{NodeId, Party};
use crate::wiretap::{Messages, VoteTap};

/// How long an operating system waits before it knocks, or sends, once more.
const RETRANSMISSION: Duration = Duration::from_secs(1);

/// An attempt to connect.
#[derive(Clone, Debug)]
pub(super) struct Dialing {
    node: NodeId,
    generation: u64,
    dial: DialId,
    port: PeerPort,
    /// Those that were not tried in vain yet.
    addresses: Vec<Address>,
    /// When the first of them is given up.
    first_until: SimTime,
    /// When all are.
    until: SimTime,
}

impl World {
    /// A server wants to connect to another.
    pub(super) fn dial_peer(
        &mut self,
        node: NodeId,
        dial: DialId,
        port: PeerPort,
        addresses: Vec<Address>,
        timeout: Duration,
    ) -> Result<(), Violation> {
        let generation = self.nodes[node.0].generation;
        let until = self.now + timeout;
        let mut dialing = Dialing { node, generation, dial, port, addresses, first_until: until, until };
        dialing.share_time(self.now);
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        self.dialings.insert(attempt, dialing);
        self.on_dial(attempt)
    }

    /// The next step of an attempt.
    pub(super) fn on_dial(&mut self, attempt: u64) -> Result<(), Violation> {
        let now = self.now;
        let Some(dialing) = self.dialings.get_mut(&attempt) else { return Ok(()) };
        if now >= dialing.first_until && !dialing.addresses.is_empty() {
            dialing.skip(now);
        }
        let (node, dial) = (dialing.node, dialing.dial);
        if self.nodes[node.0].generation != dialing.generation {
            self.dialings.remove(&attempt);
            return Ok(());
        }
        let Some(host) = dialing.addresses.first().map(|address| address.host.clone()) else {
            self.dialings.remove(&attempt);
            self.tell_node(node, Input::DialFailed { dial });
            return self.remark(node, format!("{dial:?} failed"));
        };
        let retry = (now + RETRANSMISSION).min(dialing.first_until);
        let Some(target) = self.node_named(&host) else {
            // No such name: that is known as soon as a name service answers.
            self.dialings.get_mut(&attempt).expect("just seen").skip(now);
            let at = now + self.latency();
            self.schedule(at, Event::Dial { attempt });
            return Ok(());
        };
        if self.is_cut(node, target) || self.is_cut(target, node) || !self.nodes[target.0].powered {
            self.schedule(retry, Event::Dial { attempt });
        } else {
            let at = now + self.latency();
            self.schedule(at, Event::Knock { attempt, target });
        }
        Ok(())
    }

    /// An attempt reaches the node that it is for.
    pub(super) fn on_knock(&mut self, attempt: u64, target: NodeId) -> Result<(), Violation> {
        let now = self.now;
        let Some(&Dialing { node, generation, .. }) = self.dialings.get(&attempt) else { return Ok(()) };
        if self.nodes[node.0].generation != generation {
            self.dialings.remove(&attempt);
            return Ok(());
        }
        // Where the way was cut meanwhile, nobody answers that there is nobody.
        let cut = self.is_cut(node, target) || self.is_cut(target, node);
        if cut || !matches!(self.nodes[target.0].life, Life::Up(_)) {
            if !cut && self.nodes[target.0].powered {
                self.dialings.get_mut(&attempt).expect("just seen").skip(now);
            }
            let at = now + self.latency();
            self.schedule(at, Event::Dial { attempt });
            return Ok(());
        }
        let Some(Dialing { dial, port, .. }) = self.dialings.remove(&attempt) else { return Ok(()) };
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let acceptor = self.number_peer(target, id, node, port, true);
        let mut link = Link::new(Party::Node(node), Party::Node(target));
        let known_at = now + self.latency();
        // Nothing reaches the dialer before it knows that it was accepted.
        link.hold(End::Dialer, SimTime(known_at.0 + 1));
        self.links.insert(id, LinkState::new(link, Use::Peers { port, dial, acceptor, dialer: None }));
        let from = SocketAddr::from(([10, 1, 0, node.0 as u8 + 1], 50_000));
        let origin = LinkOrigin::Accepted { port, from };
        self.tell_node(target, Input::LinkUp { link: acceptor, origin });
        self.schedule(known_at, Event::Dialed { link: id });
        Ok(())
    }

    /// A dialer learns that it was accepted.
    pub(super) fn on_dialed(&mut self, id: LinkId) -> Result<(), Violation> {
        let Some(state) = self.links.get(id) else { return Ok(()) };
        let (Use::Peers { port, dial, acceptor, .. }, Party::Node(node), Party::Node(target)) =
            (&state.purpose, state.link.dialer, state.link.acceptor)
        else {
            return Ok(());
        };
        if state.is_done(End::Dialer) {
            return Ok(());
        }
        let (port, dial, acceptor) = (*port, *dial, *acceptor);
        let link = self.number_peer(node, id, target, port, false);
        self.links.get_mut(id).expect("just seen").purpose =
            Use::Peers { port, dial, acceptor, dialer: Some(link) };
        self.counts.links += 1;
        self.tell_node(node, Input::LinkUp { link, origin: LinkOrigin::Dialed { dial } });
        self.remark(node, format!("{dial:?} reached {target} on the {port:?} port"))
    }

    pub(super) fn remark(&mut self, node: NodeId, words: String) -> Result<(), Violation> {
        self.observe(Observed::Remark { node, words })
    }

    fn number_peer(
        &mut self,
        id: NodeId,
        link: LinkId,
        other: NodeId,
        port: PeerPort,
        leads: bool,
    ) -> PeerLink {
        let node = &mut self.nodes[id.0];
        let number = PeerLink(node.next_peer);
        node.next_peer += 1;
        let taps = match port {
            PeerPort::Election => None,
            PeerPort::ObserverMaster => Some(Box::new(Taps { serves_observer: leads, ..Taps::default() })),
            PeerPort::Quorum => Some(Box::new(Taps { leads, ..Taps::default() })),
        };
        let votes =
            (port == PeerPort::Election).then(|| Box::new((VoteTap::new(!leads), VoteTap::new(leads))));
        node.peers.insert(number, Peer { link, node: other, taps, votes });
        number
    }

    pub(super) fn node_named(&self, host: &str) -> Option<NodeId> {
        let index: usize = host.strip_prefix("node")?.parse().ok()?;
        (1..=self.nodes.len()).contains(&index).then(|| NodeId(index - 1))
    }

    /// Which end of a link a server has.
    fn peer_end(&self, node: NodeId, link: PeerLink) -> Option<(LinkId, End)> {
        let id = self.nodes[node.0].peers.get(&link)?.link;
        let state = self.links.get(id)?;
        let holds = |end: &End| state.holder(*end) == Some(Holder::Peer(node, link));
        [End::Acceptor, End::Dialer].into_iter().find(holds).map(|end| (id, end))
    }

    /// A server sends to another.
    pub(super) fn send_peer(&mut self, id: NodeId, number: PeerLink, bytes: Bytes) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        let Some(peer) = node.peers.get_mut(&number) else { return Ok(()) };
        let (link, other) = (peer.link, peer.node);
        let told = peer.votes.as_mut().map_or_else(Vec::new, |votes| votes.0.pass(bytes.clone()));
        let messages = peer.taps.as_mut().map_or(Ok(Messages::new()), |taps| taps.said.pass(bytes.clone()));
        let messages = match messages {
            Ok(messages) => messages,
            Err(error) => return self.garbled(id, Some(other), Nonsense::Message(error)),
        };
        let held_from = self.holds.begin(id, other, &messages, &bytes);
        for message in messages {
            if let Message::Revalidated { session, valid: true } = message {
                self.nodes[id.0].granted.push((session, other));
            }
            let promises = matches!(
                message,
                Message::Ack { .. }
                    | Message::AckEpoch { .. }
                    | Message::LeaderInfo { .. }
                    | Message::NewLeader { .. }
            );
            let kept = promises.then(|| self.nodes[id.0].kept());
            self.observe(Observed::Said { node: id, to: other, link, message: Rc::new(message), kept })?;
        }
        for notification in told {
            let node = &self.nodes[id.0];
            let kept = (!node.may_lack_data()).then(|| node.kept());
            let notification = Rc::new(notification);
            self.observe(Observed::Voted { node: id, to: other, notification, kept })?;
        }
        if let Some((link, end)) = self.peer_end(id, number) {
            self.send_held(link, end.other(), bytes, held_from);
        }
        Ok(())
    }

    /// What a server sends, to another or to a client, cannot be read.
    pub(super) fn garbled(
        &mut self,
        node: NodeId,
        to: Option<NodeId>,
        why: Nonsense,
    ) -> Result<(), Violation> {
        self.observe(Observed::Garbled { node, to, why })
    }

    /// Whether a learner that hears nothing goes on. One whose disk has work may have stopped listening, and begins to
    /// count anew when that is done.
    pub(super) fn check_hearing(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(ensemble) = &self.options.config.ensemble else { return Ok(()) };
        let tick = self.options.config.tick_time;
        let node = &mut self.nodes[id.0];
        let learns = node.standing.is_some_and(|it| matches!(it.role, Role::Following | Role::Observing));
        if !learns || !node.disk_rests() {
            node.heard_at = self.now;
        }
        leadership::still_heard(id, self.now.since(node.heard_at), tick, tick * ensemble.sync_limit)
    }

    /// A server is about to look at what another sent. Answers the sessions that the other has heard of, and asks for.
    pub(super) fn overhear(
        &mut self,
        id: NodeId,
        number: PeerLink,
        bytes: &Bytes,
    ) -> Result<Vec<(SessionId, Touch)>, Violation> {
        let Some(peer) = self.nodes[id.0].peers.get_mut(&number) else { return Ok(Vec::new()) };
        let (link, from) = (peer.link, peer.node);
        if let Some(votes) = &mut peer.votes {
            for notification in votes.1.pass(bytes.clone()) {
                let notification = Rc::new(notification);
                self.observe(Observed::VoteHeard { node: id, from, notification })?;
            }
            return Ok(Vec::new());
        }
        let Some(taps) = &mut peer.taps else { return Ok(Vec::new()) };
        let leads = taps.leads;
        if !leads && !taps.serves_observer {
            self.nodes[id.0].heard_at = self.now;
            return Ok(Vec::new());
        }
        let messages = match taps.heard.pass(bytes.clone()) {
            Ok(messages) => messages,
            Err(error) => return self.garbled(from, Some(id), Nonsense::Message(error)).map(|()| Vec::new()),
        };
        let mut touched = Vec::new();
        for message in messages {
            match &message {
                Message::Ping { touched: Some(sessions), .. } => {
                    let report = |&(session, timeout_ms)| (session, Touch::Reported { timeout_ms });
                    touched.extend(sessions.iter().map(report));
                }
                &Message::Revalidate { session, timeout_ms } => {
                    touched.push((session, Touch::Asked { from, timeout_ms }));
                }
                _ => {}
            }
            // What a follower hears of its observers is the leader's to judge, once that hears it.
            if !leads {
                continue;
            }
            self.observe(Observed::Heard { node: id, from, link, message: Rc::new(message) })?;
        }
        Ok(touched)
    }

    /// Whether a server reads from another.
    pub(super) fn set_peer_reads(
        &mut self,
        node: NodeId,
        link: PeerLink,
        reads: bool,
    ) -> Result<(), Violation> {
        match self.peer_end(node, link) {
            Some((id, end)) => self.set_reads(id, end, reads),
            None => Ok(()),
        }
    }

    /// A server closes a link: what its operating system has taken still arrives, unless something lies there that the
    /// server has not read, which makes it a reset; and now and then it is one anyway.
    pub(super) fn hang_up_peer(
        &mut self,
        node: NodeId,
        link: PeerLink,
        why: HangupReason,
    ) -> Result<(), Violation> {
        let Some((id, end)) = self.peer_end(node, link) else { return Ok(()) };
        let Some(Peer { node: other, .. }) = self.nodes[node.0].peers.remove(&link) else { return Ok(()) };
        let unlucky = self.net_rng.chance(50_000);
        let soon = self.now + self.latency();
        let state = self.links.get_mut(id).expect("just found");
        let abrupt = unlucky || state.link.unread(end) > 0;
        state.set_done(end);
        let to = end.other();
        state.link.drop_waiting(to);
        let last = state.link.last_arrival(to);
        let at = if abrupt { soon } else { soon.max(last + Duration::from_nanos(1)) };
        state.close_due = Some(to);
        self.forget_if_done(id);
        self.schedule(at, Event::Close { link: id, to });
        self.observe(Observed::HungUp { node, to: other, why })
    }

    /// The links of a process that ended: the others learn it soon, or only when they send something.
    pub(super) fn abandon_peers(&mut self, node: NodeId, told: bool) {
        let ends: Vec<(LinkId, End)> = self
            .links
            .iter()
            .filter(|(_, state)| state.is_between_servers())
            .flat_map(|(id, state)| [End::Acceptor, End::Dialer].map(|end| (id, end, state.link.party(end))))
            .filter(|&(_, _, party)| party == Party::Node(node))
            .map(|(id, end, _)| (id, end))
            .collect();
        for (id, end) in ends {
            let Some(state) = self.links.get_mut(id) else { continue };
            if state.is_done(end) {
                continue;
            }
            state.set_done(end);
            state.link.drop_waiting(end.other());
            if told {
                state.close_due = Some(end.other());
                let at = self.now + self.latency();
                self.schedule(at, Event::Close { link: id, to: end.other() });
            } else {
                state.link.silence(end.other());
            }
            self.forget_if_done(id);
        }
    }

    /// Bytes arrive at an end that is gone.
    pub(super) fn arrive_at_nobody(&mut self, id: LinkId, to: End) {
        let Some(state) = self.links.get_mut(id) else { return };
        let Party::Node(node) = state.link.party(to) else { return };
        if !state.is_between_servers() || state.probing || state.link.is_silent(to) {
            return;
        }
        if self.nodes[node.0].powered {
            let at = self.now + self.latency();
            self.schedule(at, Event::GiveUp { link: id, to: to.other() });
        } else {
            state.probing = true;
            self.schedule(self.now + RETRANSMISSION, Event::Probe { link: id, to });
        }
    }

    /// What was sent to a machine without power is sent again.
    pub(super) fn on_probe(&mut self, id: LinkId, to: End) {
        if let Some(state) = self.links.get_mut(id) {
            state.probing = false;
            self.arrive_at_nobody(id, to);
        }
    }

    /// Ends a link that nobody hears anything from any more.
    pub(super) fn give_up_silent(&mut self) -> Result<(), Violation> {
        let silent: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, state)| state.is_between_servers())
            .filter(|(_, state)| state.link.is_silent(End::Acceptor) || state.link.is_silent(End::Dialer))
            .map(|(id, _)| id)
            .collect();
        for id in silent {
            self.lose(id, End::Acceptor)?;
            self.lose(id, End::Dialer)?;
        }
        Ok(())
    }
}

impl Dialing {
    /// Gives the first address up.
    fn skip(&mut self, now: SimTime) {
        self.addresses.remove(0);
        self.share_time(now);
    }

    /// Gives the first address its share of the time that is left.
    fn share_time(&mut self, now: SimTime) {
        let count = self.addresses.len().max(1) as u32;
        self.first_until = now + self.until.since(now) / count;
    }
}
