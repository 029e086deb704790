//! The links on which votes travel: one to every server that this one talks to.
//!
//! Both sides may connect, and one link is enough, so there is a rule which one stays: that of the server with the
//! greater id (PARITY `qcm.tiebreak`). Who connected says who it is. The side with the greater id that is connected
//! to by one with a smaller closes that link and connects itself; the side with the smaller id just wanted to be
//! noticed:
//!
//! ```text
//!   server 1 connects first                       server 2 connects first
//!     1 ── connects, greeting ─▶ 2                  2 ── connects, greeting ─▶ 1    done
//!     1 ◀─────── closes ──────── 2
//!     1 ◀─ connects, greeting ── 2    done
//! ```
//!
//! A new link to a server takes the place of the old one, which is closed only then: which of them is dead is known
//! to neither side, and nobody should look unreachable in between.
//!
//! A notification says all that the sender has to say. So at most one waits for each server, the newest, and on a
//! new link the last one is said again, for it may have been lost with the old link (PARITY `qcm.queue`). ZooKeeper
//! says it as it was; here it names the epoch that has begun since.
//!
//! ZooKeeper connects only when it has something to send. A server that looks connects here again by itself, at
//! once after a link that had stood for a while, then ever less often: how soon votes flow decides how long there
//! is no leader.
//!
//! That a link stands says little: while a network is cut nobody closes it, what was sent in vain is sent again after
//! ever longer pauses even when the cut has healed, and who forgets idle connections on the way tells neither side.
//! So a voter that has said nothing for a while on its link is connected to anew while this server looks. One that is
//! well says its last word again on the new link.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{Address, DialId, DialIds, HangupReason, LinkId, Membership, Notification, ServerId};
use crate::wire::election::{Frames, Hello, decode_notification, encode_notification};

/// The id in the greeting of an observer that was given none (PARITY `qcm.observer`).
const NO_ID: ServerId = ServerId(i64::MAX);

/// Accepted links whose greeting has not come yet. One more, and the oldest goes: a server greets at once.
const UNGREETED_MAX: usize = 64;

/// Servers that are no members and have a link, or are connected to because they asked.
const STRANGERS_MAX: usize = 64;

/// Bytes given to a link and not taken by the operating system, beyond which the newest notification waits.
const UNSENT_MAX: usize = 64 * 1024;

/// The shortest time from one attempt to the next; it doubles with each that fails.
const REDIAL_MIN: Duration = Duration::from_millis(10);

/// The longest time from one attempt to the next.
const REDIAL_MAX: Duration = Duration::from_secs(1);

/// How long a server with a greater id that was greeted may take to connect before it is greeted again. Asked too
/// early, ZooKeeper closes the link that it was just making.
const DIAL_BACK_MIN: Duration = Duration::from_millis(100);

/// A link that stood for this long was a good one: after it, attempts begin anew without delay.
const STEADY: Duration = Duration::from_secs(1);

/// A voter with a link that has said nothing for this long, while this server looks, is connected to anew.
const SILENCE_MIN: Duration = Duration::from_secs(2);

/// Every attempt at a new link in place of one that is silent doubles the time, up to this: voters that have told each
/// other everything, and are too few, have nothing to say either.
const SILENCE_MAX: Duration = Duration::from_secs(8);

/// How long a server with a greater id may be silent. Whose link it is goes first; and ZooKeeper, knocked at, closes the
/// link that stands before it makes another, so nobody knocks in haste.
const SILENCE_OF_GREATER: Duration = Duration::from_millis(8_500);

/// How a link came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Another server connected to the election port.
    Accepted,
    /// It was asked for.
    Dialed(DialId),
}

/// What the links ask for, or tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinksOutput {
    /// Connect to the election port of a server.
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// Which server.
        server: ServerId,
        /// Where it may be found, to be tried in order.
        addresses: Vec<Address>,
        /// When to give up.
        timeout: Duration,
    },
    /// Close the link. It is forgotten already.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why.
        why: HangupReason,
    },
    /// Whether a link to the server stands has changed.
    Reachable {
        /// Which server.
        server: ServerId,
        /// Whether one does.
        reachable: bool,
    },
    /// A server said something.
    Received {
        /// Who it says it is.
        from: ServerId,
        /// What it said.
        notification: Notification,
    },
    /// Send bytes.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        bytes: Bytes,
    },
}

/// All links of one server's election port.
#[derive(Debug)]
pub struct Links {
    me: ServerId,
    /// Where this server listens, as others are told.
    listens: Vec<Address>,
    dial_timeout: Duration,
    /// How long a greeting may take.
    greeting_limit: Duration,
    looking: bool,
    peers: BTreeMap<ServerId, Peer>,
    links: BTreeMap<LinkId, Link>,
    dials: BTreeMap<DialId, ServerId>,
    /// Servers to connect to as soon as outputs are taken: then the attempts get their numbers.
    due: BTreeSet<ServerId>,
    /// The number for the next observer that has none.
    unnumbered: i64,
    outputs: VecDeque<LinksOutput>,
}

#[derive(Debug)]
enum Link {
    /// Accepted; who it is from is not known yet. What came so far is less than a greeting.
    Ungreeted { bytes: Vec<u8>, until: Instant },
    /// Dialed, to a server with a greater id, which is to close it and to connect by itself.
    Knocking { server: ServerId, until: Instant },
    /// The link of this server.
    Standing { server: ServerId, since: Instant, frames: Frames, unsent: usize },
}

#[derive(Debug, Default)]
struct Peer {
    member: bool,
    voter: bool,
    addresses: Vec<Address>,
    /// Where it said that it listens. Tried last: whoever can connect can claim any address.
    claimed: Vec<Address>,
    /// It wants to be connected to, whether or not a link to it stands.
    knocked: bool,
    /// Always a standing one.
    link: Option<LinkId>,
    /// When something last came on its link, or the link came about, or this server began to look.
    heard: Instant,
    /// How long it may be silent while this server looks.
    silence: Duration,
    /// An attempt is under way, or a link that is knocking.
    connecting: bool,
    /// The newest notification, if it could not be sent yet.
    queued: Option<Bytes>,
    /// The last one that was sent.
    last: Option<Bytes>,
    /// No attempt before this.
    not_before: Instant,
    /// The last pause between two attempts.
    redial_delay: Duration,
    dialed_at: Option<Instant>,
}

impl Links {
    /// No links yet. `greeting_limit` is how long others may take to say who they are.
    pub fn new(me: ServerId, config: &EnsembleConfig, greeting_limit: Duration) -> Self {
        let mut links = Self {
            me,
            // There must be one; a wildcard makes others look into their own configuration.
            listens: Vec::from([Address { host: String::from("0.0.0.0"), port: 0 }]),
            dial_timeout: config.cnx_timeout,
            greeting_limit,
            looking: false,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            due: BTreeSet::new(),
            unnumbered: -1,
            outputs: VecDeque::new(),
        };
        links.set_membership(&config.membership, None);
        links
    }

    /// Who belongs to the ensemble now, and who perhaps will.
    ///
    /// Where this server listens the one in force says, or else the other: whoever has a greater id and has not heard
    /// of the change can connect to a server that is about to join only where its greeting says. One that is in neither
    /// has left, and listens where it did.
    pub fn set_membership(&mut self, current: &Membership, next: Option<&Membership>) {
        let entries = [Some(current), next].into_iter().flatten().filter_map(|it| it.member(self.me));
        if let Some(own) = entries.map(|member| &member.election).find(|own| !own.is_empty()) {
            self.listens.clone_from(own);
        }
        for peer in self.peers.values_mut() {
            peer.member = false;
            peer.voter = false;
            peer.addresses.clear();
        }
        for membership in [Some(current), next].into_iter().flatten() {
            for (&server, member) in membership.members().iter().filter(|&(&server, _)| server != self.me) {
                let peer = self.peers.entry(server).or_default();
                peer.member = true;
                peer.voter |= membership.is_voter(server);
                for address in &member.election {
                    if !peer.addresses.contains(address) {
                        peer.addresses.push(address.clone());
                    }
                }
            }
        }
        self.peers.retain(|_, peer| !peer.is_gone_stranger());
    }

    /// Whether this server looks for a leader. What was said before is void either way, and will not be said again.
    pub fn set_looking(&mut self, now: Instant, looking: bool) {
        self.looking = looking;
        self.forget_said();
        for peer in self.peers.values_mut() {
            peer.heard = now;
            peer.silence = Duration::ZERO;
        }
        if looking {
            self.connect_all(now);
        }
    }

    /// What was said is void, and will not be said again.
    pub fn forget_said(&mut self) {
        for peer in self.peers.values_mut() {
            peer.queued = None;
            peer.last = None;
        }
    }

    /// Whether the attempt is one of this election port.
    pub fn owns_dial(&self, dial: DialId) -> bool {
        self.dials.contains_key(&dial)
    }

    /// Whether the link is one of this election port.
    pub fn owns_link(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Says something to a server: now, or once there is a link.
    pub fn send(&mut self, now: Instant, server: ServerId, notification: &Notification) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        // The newest wins (PARITY `qcm.queue`).
        peer.queued = Some(encode_notification(notification));
        self.flush(server);
        self.connect(now, server);
    }

    /// The server has another answer for those who looked and were told something: what waits for them, or would be said
    /// again on a new link, is this from now on. Nothing is sent because of it.
    pub fn correct(&mut self, notification: &Notification) {
        let bytes = encode_notification(notification);
        let said = self.peers.values_mut().flat_map(|peer| [&mut peer.queued, &mut peer.last]);
        said.flatten().for_each(|said| *said = bytes.clone());
    }

    /// A link stands.
    pub fn on_link_up(&mut self, now: Instant, link: LinkId, origin: Origin) {
        match origin {
            Origin::Accepted => self.on_accepted(now, link),
            Origin::Dialed(dial) => match self.dials.remove(&dial) {
                Some(server) => self.on_dialed(now, link, server),
                None => self.outputs.push_back(LinksOutput::Hangup { link, why: HangupReason::Unwanted }),
            },
        }
    }

    /// An attempt to connect failed.
    pub fn on_dial_failed(&mut self, now: Instant, dial: DialId) {
        let Some(server) = self.dials.remove(&dial) else { return };
        self.on_attempt_over(now, server, REDIAL_MIN);
    }

    /// A link is gone.
    pub fn on_link_down(&mut self, now: Instant, link: LinkId) {
        match self.links.remove(&link) {
            None | Some(Link::Ungreeted { .. }) => {}
            Some(Link::Knocking { server, .. }) => self.on_attempt_over(now, server, DIAL_BACK_MIN),
            Some(Link::Standing { server, since, .. }) => self.on_lost(now, server, since),
        }
    }

    /// Bytes came.
    pub fn on_received(&mut self, now: Instant, link: LinkId, bytes: Bytes) {
        match self.links.get_mut(&link) {
            // Who is knocked at has nothing to say on that link.
            None | Some(Link::Knocking { .. }) => {}
            Some(Link::Standing { server, frames, .. }) => {
                frames.push(bytes);
                if let Some(peer) = self.peers.get_mut(server) {
                    peer.heard = now;
                }
                self.take_frames(now, link);
            }
            Some(Link::Ungreeted { bytes: gathered, .. }) => {
                gathered.extend_from_slice(&bytes);
                match Hello::decode(gathered) {
                    Ok(None) => {}
                    Err(_) => self.hang_up(now, link, HangupReason::BadMessage),
                    Ok(Some((hello, length))) => {
                        let rest = Bytes::from(gathered.split_off(length));
                        self.on_greeting(now, link, hello, rest);
                    }
                }
            }
        }
    }

    /// The operating system took bytes that were sent.
    pub fn on_drained(&mut self, link: LinkId, bytes: usize) {
        if let Some(Link::Standing { server, unsent, .. }) = self.links.get_mut(&link) {
            *unsent = unsent.saturating_sub(bytes);
            let server = *server;
            self.flush(server);
        }
    }

    /// Time has passed. Early and repeated calls do no harm.
    pub fn on_tick(&mut self, now: Instant) {
        let late = |(&link, what): (&LinkId, &Link)| match what {
            Link::Ungreeted { until, .. } | Link::Knocking { until, .. } => (*until <= now).then_some(link),
            Link::Standing { .. } => None,
        };
        let late: Vec<LinkId> = self.links.iter().filter_map(late).collect();
        for link in late {
            self.hang_up(now, link, HangupReason::Timeout);
        }
        self.connect_all(now);
    }

    /// When [`Links::on_tick`] is next worth calling.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (mut standing, mut due) = (0, None);
        for (&server, peer) in &self.peers {
            standing += usize::from(peer.link.is_some());
            if let Some(at) = peer.wants_link_at(self.looking, server > self.me) {
                due = Some(due.map_or(at, |due: Instant| due.min(at)));
            }
        }
        // Every link that stands is a peer's. Most often there is no other, and none that has to hurry.
        if standing == self.links.len() {
            return due;
        }
        let limits = self.links.values().filter_map(|link| match link {
            Link::Ungreeted { until, .. } | Link::Knocking { until, .. } => Some(*until),
            Link::Standing { .. } => None,
        });
        limits.chain(due).min()
    }

    /// What is to be done next. Attempts to connect are numbered by `ids`.
    pub fn poll_output(&mut self, ids: &mut DialIds) -> Option<LinksOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        while let Some(server) = self.due.pop_first() {
            if let Some(peer) = self.peers.get(&server) {
                let dial = ids.issue();
                self.dials.insert(dial, server);
                let mut addresses = peer.addresses.clone();
                addresses
                    .extend(peer.claimed.iter().filter(|address| !peer.addresses.contains(address)).cloned());
                return Some(LinksOutput::Dial { dial, server, addresses, timeout: self.dial_timeout });
            }
        }
        None
    }

    fn on_accepted(&mut self, now: Instant, link: LinkId) {
        let ungreeted = |what: &Link| matches!(what, Link::Ungreeted { .. });
        if self.links.values().filter(|&what| ungreeted(what)).count() >= UNGREETED_MAX {
            let oldest = self.links.iter().find(|(_, what)| ungreeted(what)).map(|(&link, _)| link);
            self.hang_up(now, oldest.expect("there are many"), HangupReason::Unwanted);
        }
        self.links.insert(link, Link::Ungreeted { bytes: Vec::new(), until: now + self.greeting_limit });
    }

    fn on_dialed(&mut self, now: Instant, link: LinkId, server: ServerId) {
        let linked = self
            .peers
            .get(&server)
            .is_none_or(|peer| peer.link.is_some() && !peer.is_silent(now, self.looking, server > self.me));
        if server > self.me && linked {
            // It connected meanwhile. Greeted once more, it would begin anew.
            self.outputs.push_back(LinksOutput::Hangup { link, why: HangupReason::Duplicate });
            self.on_attempt_over(now, server, REDIAL_MIN);
            return;
        }
        let mut greeting = Vec::new();
        Hello { server: self.me, addresses: self.listens.clone() }.encode(&mut greeting);
        self.outputs.push_back(LinksOutput::Send { link, bytes: Bytes::from(greeting) });
        if server > self.me {
            // Closed from here, the link might take the greeting with it.
            self.links.insert(link, Link::Knocking { server, until: now + self.greeting_limit });
        } else {
            if let Some(peer) = self.peers.get_mut(&server) {
                peer.connecting = false;
            }
            self.establish(now, link, server, Bytes::new());
        }
    }

    fn on_greeting(&mut self, now: Instant, link: LinkId, hello: Hello, rest: Bytes) {
        if hello.server.0 < 0 {
            self.hang_up(now, link, HangupReason::BadMessage);
            return;
        }
        let unnumbered = hello.server == NO_ID;
        let server = if unnumbered { ServerId(self.unnumbered) } else { hello.server };
        let strangers = self.peers.values().filter(|peer| !peer.member).count();
        let welcome = self.peers.contains_key(&server) || strangers < STRANGERS_MAX;
        if server == self.me || !welcome {
            self.hang_up(now, link, HangupReason::Unwanted);
        } else if unnumbered {
            // Nobody could connect to a server without a number, so its own link stays. ZooKeeper compares the
            // number that it gave to the observer, and closes the link.
            self.unnumbered -= 1;
            self.establish(now, link, server, rest);
        } else if server > self.me {
            self.establish(now, link, server, rest);
        } else {
            self.hang_up(now, link, HangupReason::Duplicate);
            self.on_knock(now, server, hello.addresses);
        }
    }

    /// A server with a smaller id wants to be connected to. A link to it that stands is of no use to it, it seems,
    /// but it goes only when there is another.
    fn on_knock(&mut self, now: Instant, server: ServerId, addresses: Vec<Address>) {
        let peer = self.peers.entry(server).or_default();
        peer.claimed = addresses;
        peer.knocked = !peer.addresses.is_empty() || !peer.claimed.is_empty();
        // However long the pause after earlier attempts: this one will not be in vain.
        let earliest = peer.dialed_at.map_or(now, |at| now.max(at + REDIAL_MIN));
        peer.not_before = peer.not_before.min(earliest);
        self.connect(now, server);
        self.forget_stranger(server);
    }

    /// The link of this server stands, in place of any that stood before. `rest` is what came behind the greeting.
    fn establish(&mut self, now: Instant, link: LinkId, server: ServerId, rest: Bytes) {
        let mut frames = Frames::default();
        frames.push(rest);
        self.links.insert(link, Link::Standing { server, since: now, frames, unsent: 0 });
        let peer = self.peers.entry(server).or_default();
        match peer.link.replace(link) {
            Some(old) => {
                self.links.remove(&old);
                self.outputs.push_back(LinksOutput::Hangup { link: old, why: HangupReason::Duplicate });
            }
            None => self.outputs.push_back(LinksOutput::Reachable { server, reachable: true }),
        }
        peer.heard = now;
        if peer.queued.is_none() {
            peer.queued = peer.last.clone();
        }
        self.flush(server);
        self.take_frames(now, link);
    }

    /// Hands on every notification that has come whole.
    fn take_frames(&mut self, now: Instant, link: LinkId) {
        while let Some(Link::Standing { server, frames, .. }) = self.links.get_mut(&link) {
            let from = *server;
            match frames.next_frame() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    // One that is not understood is left out, as ZooKeeper does (PARITY `fle.msg.compat`).
                    if let Ok(notification) = decode_notification(&frame) {
                        self.outputs.push_back(LinksOutput::Received { from, notification });
                    }
                }
                Err(_) => self.hang_up(now, link, HangupReason::BadMessage),
            }
        }
    }

    /// Sends what waits for the server, if its link takes it.
    fn flush(&mut self, server: ServerId) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        let Some(link) = peer.link else { return };
        let Some(Link::Standing { unsent, .. }) = self.links.get_mut(&link) else { return };
        if *unsent >= UNSENT_MAX {
            return;
        }
        if let Some(bytes) = peer.queued.take() {
            *unsent += bytes.len();
            peer.last = Some(bytes.clone());
            self.outputs.push_back(LinksOutput::Send { link, bytes });
        }
    }

    fn hang_up(&mut self, now: Instant, link: LinkId, why: HangupReason) {
        self.outputs.push_back(LinksOutput::Hangup { link, why });
        self.on_link_down(now, link);
    }

    /// An attempt to connect came to its end without a link.
    fn on_attempt_over(&mut self, now: Instant, server: ServerId, delay_min: Duration) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        peer.connecting = false;
        peer.pause(now, delay_min);
        self.forget_stranger(server);
    }

    /// The link of this server is gone.
    fn on_lost(&mut self, now: Instant, server: ServerId, since: Instant) {
        self.outputs.push_back(LinksOutput::Reachable { server, reachable: false });
        let Some(peer) = self.peers.get_mut(&server) else { return };
        peer.link = None;
        if now.since(since) < STEADY {
            peer.pause(now, REDIAL_MIN);
        } else {
            peer.redial_delay = Duration::ZERO;
            // Whose link it was goes first; the other one would only disturb.
            peer.not_before = if server < self.me { now } else { now + REDIAL_MIN * 2 };
        }
        self.connect(now, server);
        self.forget_stranger(server);
    }

    /// Connects to the server, if that is wanted and due.
    fn connect(&mut self, now: Instant, server: ServerId) {
        let Some(peer) = self.peers.get_mut(&server) else { return };
        if peer.wants_link_at(self.looking, server > self.me).is_none_or(|at| at > now) {
            return;
        }
        if peer.is_silent(now, self.looking, server > self.me) {
            peer.silence = (peer.silence() * 2).min(SILENCE_MAX);
        }
        peer.connecting = true;
        peer.knocked = false;
        peer.dialed_at = Some(now);
        self.due.insert(server);
    }

    fn connect_all(&mut self, now: Instant) {
        let servers: Vec<ServerId> = self.peers.keys().copied().collect();
        for server in servers {
            self.connect(now, server);
        }
    }

    /// Lets go of a server that is no member once nothing leads to it.
    fn forget_stranger(&mut self, server: ServerId) {
        if self.peers.get(&server).is_some_and(Peer::is_gone_stranger) {
            self.peers.remove(&server);
        }
    }
}

impl Peer {
    /// When an attempt to connect should be made. `greater` says whether its id is greater than this server's.
    fn wants_link_at(&self, looking: bool, greater: bool) -> Option<Instant> {
        if self.connecting || (self.addresses.is_empty() && self.claimed.is_empty()) {
            return None;
        }
        let lacks_link = self.link.is_none() && ((looking && self.voter) || self.queued.is_some());
        if self.knocked || lacks_link {
            return Some(self.not_before);
        }
        self.silent_at(looking, greater).map(|at| at.max(self.not_before))
    }

    /// From when on its link is not to be relied on.
    fn silent_at(&self, looking: bool, greater: bool) -> Option<Instant> {
        let silence = if greater { SILENCE_OF_GREATER } else { self.silence() };
        (looking && self.voter && self.link.is_some()).then(|| self.heard + silence)
    }

    fn is_silent(&self, now: Instant, looking: bool, greater: bool) -> bool {
        self.silent_at(looking, greater).is_some_and(|at| at <= now)
    }

    fn silence(&self) -> Duration {
        self.silence.max(SILENCE_MIN)
    }

    fn is_gone_stranger(&self) -> bool {
        !self.member && self.link.is_none() && !self.connecting && !self.knocked
    }

    /// No attempt for a while, twice as long as the last time.
    fn pause(&mut self, now: Instant, delay_min: Duration) {
        self.redial_delay = (self.redial_delay * 2).clamp(delay_min, REDIAL_MAX);
        self.not_before = now + self.redial_delay;
    }
}
