//! One connection between two ends, as TCP delivers it: bytes in order, in pieces of any size, late, or never.
//!
//! A link keeps no time of its own: it tells the world when bytes arrive, and the world calls back. It is keyed by
//! its number and names its ends, so that links between servers need nothing new.
//!
//! Each direction is a pipe of bounded size. What the sender hands over beyond that waits at the sender, which
//! hears [`Link::pump`] tell how much the operating system took: that is where back-pressure comes from.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::clock::SimTime;
use crate::places::Party;
use crate::seed::Rng;

/// A connection, numbered upward, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The one that listened.
    Acceptor,
    /// The one that connected.
    Dialer,
}

impl End {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::Acceptor => Self::Dialer,
            Self::Dialer => Self::Acceptor,
        }
    }
}

/// The longest frame that anybody takes off a link.
pub const FRAME_MAX: usize = 16 << 20;

/// How links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetProfile {
    /// The least that bytes take.
    pub latency_min: Duration,
    /// What is added on average, distributed exponentially.
    pub latency_mean: Duration,
    /// Odds, per million, that a piece of bytes is cut in two, and what is left of it again.
    pub segmentation: u32,
    /// Bytes on their way in one direction; more waits at the sender.
    pub window: usize,
}

/// How often the bytes that are taken at once are cut in two at most: a long run must not become one of pieces only.
const CUTS_MAX: usize = 4;

/// When pieces of bytes arrive: most often there is one.
pub type Arrivals = SmallVec<[SimTime; 4]>;

/// What a receiver reads at once: most often one piece.
pub type Pieces = SmallVec<[Bytes; 2]>;

/// Bytes on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When they arrive.
    pub at: SimTime,
    /// What arrives.
    pub bytes: Bytes,
}

/// One direction of a link.
#[derive(Clone, Debug, Default)]
struct Pipe {
    /// Handed over by the sender, not yet taken by its operating system.
    waiting: VecDeque<Bytes>,
    /// Taken and not yet read by the receiver.
    in_flight: usize,
    /// Segments whose arrival the world has not reported yet, in order.
    flying: VecDeque<Segment>,
    /// Arrived, and not read because the receiver does not want to.
    unread: VecDeque<Bytes>,
    /// No arrival may come before this one.
    last_arrival: SimTime,
    /// Nothing arrives before this: a cut that heals.
    held_until: SimTime,
    /// Nothing arrives ever again, and nobody is told: a cut that does not heal.
    silent: bool,
    /// The receiver reads.
    reading: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// Who connected.
    pub dialer: Party,
    /// Who accepted.
    pub acceptor: Party,
    to_acceptor: Pipe,
    to_dialer: Pipe,
}

impl Link {
    /// A connection from `dialer` to `acceptor` with nothing on it yet.
    pub fn new(dialer: Party, acceptor: Party) -> Self {
        let pipe = Pipe { reading: true, ..Pipe::default() };
        Self { dialer, acceptor, to_acceptor: pipe.clone(), to_dialer: pipe }
    }

    /// Who is at `end`.
    pub const fn party(&self, end: End) -> Party {
        match end {
            End::Acceptor => self.acceptor,
            End::Dialer => self.dialer,
        }
    }

    fn pipe(&mut self, to: End) -> &mut Pipe {
        match to {
            End::Acceptor => &mut self.to_acceptor,
            End::Dialer => &mut self.to_dialer,
        }
    }

    /// Hands bytes over for `to`. Call [`Link::pump`] next.
    pub fn send(&mut self, to: End, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pipe(to).waiting.push_back(bytes);
        }
    }

    /// Moves waiting bytes onto the wire as far as the window allows. Answers how many the operating system took,
    /// and when the pieces arrive; the world calls [`Link::arrive`] at each of these times.
    pub fn pump(&mut self, to: End, now: SimTime, rng: &mut Rng, profile: &NetProfile) -> (usize, Arrivals) {
        let pipe = self.pipe(to);
        let mut taken = 0;
        let mut arrivals = Arrivals::new();
        let mut cuts = 0;
        while pipe.in_flight < profile.window {
            let Some(mut bytes) = pipe.waiting.pop_front() else { break };
            let room = profile.window - pipe.in_flight;
            if bytes.len() > room {
                pipe.waiting.push_front(bytes.split_off(room));
            }
            pipe.in_flight += bytes.len();
            taken += bytes.len();
            while !bytes.is_empty() {
                let cut = if bytes.len() > 1 && rng.chance(profile.segmentation) && cuts < CUTS_MAX {
                    cuts += 1;
                    rng.within(1, bytes.len() as u64 - 1) as usize
                } else {
                    bytes.len()
                };
                let latency = profile.latency_min + rng.exponential(profile.latency_mean);
                // One stream: no piece overtakes the one before it.
                let at = (now + latency).max(pipe.held_until).max(SimTime(pipe.last_arrival.0 + 1));
                pipe.last_arrival = at;
                pipe.flying.push_back(Segment { at, bytes: bytes.split_to(cut) });
                arrivals.push(at);
            }
        }
        (taken, arrivals)
    }

    /// The piece due at `now` arrives. Answers what the receiver reads now.
    pub fn arrive(&mut self, to: End, now: SimTime) -> Pieces {
        let mut read = self.read(to);
        let pipe = self.pipe(to);
        // A hold that began after the piece was sent has moved its arrival; the world was told the new one.
        while pipe.flying.front().is_some_and(|segment| segment.at <= now) && !pipe.silent {
            let segment = pipe.flying.pop_front().expect("just seen");
            if pipe.reading {
                pipe.in_flight -= segment.bytes.len();
                read.push(segment.bytes);
            } else {
                pipe.unread.push_back(segment.bytes);
            }
        }
        read
    }

    /// What lies there for a receiver that reads; it makes room for as much, so call [`Link::pump`] afterwards.
    pub fn read(&mut self, to: End) -> Pieces {
        let pipe = self.pipe(to);
        if !pipe.reading {
            return Pieces::new();
        }
        let read: Pieces = pipe.unread.drain(..).collect();
        pipe.in_flight -= read.iter().map(Bytes::len).sum::<usize>();
        read
    }

    /// Whether the receiver at `to` reads. After switching it on, call [`Link::read`].
    pub fn set_reading(&mut self, to: End, reading: bool) {
        self.pipe(to).reading = reading;
    }

    /// Lets nothing arrive at `to` before `until`. Answers the new arrival times of what is on its way.
    pub fn hold(&mut self, to: End, until: SimTime) -> Vec<SimTime> {
        let pipe = self.pipe(to);
        pipe.held_until = pipe.held_until.max(until);
        let mut at = pipe.held_until;
        let mut arrivals = Vec::new();
        for segment in &mut pipe.flying {
            if segment.at < at {
                segment.at = at;
                arrivals.push(at);
                at.0 += 1;
            }
        }
        pipe.last_arrival = pipe.last_arrival.max(at);
        arrivals
    }

    /// Lets nothing that is sent from now on arrive at `to` before `until`; what is on its way comes as it would.
    pub fn hold_from_here(&mut self, to: End, until: SimTime) {
        let pipe = self.pipe(to);
        pipe.held_until = pipe.held_until.max(until);
    }

    /// Holds nothing back from `to` any longer: what is on its way arrives from `from` on. Answers when.
    pub fn release(&mut self, to: End, from: SimTime) -> Vec<SimTime> {
        let pipe = self.pipe(to);
        if pipe.held_until <= from {
            return Vec::new();
        }
        pipe.held_until = from;
        pipe.last_arrival = from;
        let mut arrivals = Vec::new();
        for segment in &mut pipe.flying {
            segment.at = pipe.last_arrival;
            arrivals.push(segment.at);
            pipe.last_arrival.0 += 1;
        }
        arrivals
    }

    /// Until when everything is held back from `to`.
    pub const fn held_until(&self, to: End) -> SimTime {
        match to {
            End::Acceptor => self.to_acceptor.held_until,
            End::Dialer => self.to_dialer.held_until,
        }
    }

    /// Forgets what was handed over for `to` and not taken by the sender's operating system.
    pub fn drop_waiting(&mut self, to: End) {
        self.pipe(to).waiting.clear();
    }

    /// Lets nothing arrive at `to` ever again, without telling anybody.
    pub fn silence(&mut self, to: End) {
        self.pipe(to).silent = true;
    }

    /// Whether `to` will never hear anything again.
    pub fn is_silent(&self, to: End) -> bool {
        match to {
            End::Acceptor => self.to_acceptor.silent,
            End::Dialer => self.to_dialer.silent,
        }
    }

    /// When the last byte that was sent to `to` so far arrives.
    pub fn last_arrival(&self, to: End) -> SimTime {
        match to {
            End::Acceptor => self.to_acceptor.last_arrival,
            End::Dialer => self.to_dialer.last_arrival,
        }
    }

    /// Whether everything that was sent to `to` was taken by the sender's operating system.
    pub fn is_flushed(&self, to: End) -> bool {
        match to {
            End::Acceptor => self.to_acceptor.waiting.is_empty(),
            End::Dialer => self.to_dialer.waiting.is_empty(),
        }
    }

    /// Bytes that were taken for `to` and not read by it.
    pub fn unread(&self, to: End) -> usize {
        match to {
            End::Acceptor => self.to_acceptor.in_flight,
            End::Dialer => self.to_dialer.in_flight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::{ClientId, NodeId};
    use crate::seed::Seed;

    fn profile(window: usize) -> NetProfile {
        NetProfile {
            latency_min: Duration::from_millis(1),
            latency_mean: Duration::from_millis(2),
            segmentation: 500_000,
            window,
        }
    }

    fn link() -> Link {
        Link::new(Party::Client(ClientId(0)), Party::Node(NodeId(0)))
    }

    #[test]
    fn bytes_arrive_in_order_whatever_their_pieces() {
        let mut rng = Seed(1).stream("net", 0);
        let mut link = link();
        let mut arrivals = Vec::new();
        for part in [&b"hello "[..], b"world, ", b"how are you"] {
            link.send(End::Acceptor, Bytes::from_static(part));
            arrivals.extend(link.pump(End::Acceptor, SimTime::ZERO, &mut rng, &profile(1 << 20)).1);
        }
        assert!(arrivals.len() > 3, "nothing was cut");
        assert!(arrivals.is_sorted());
        let got: Vec<u8> = arrivals.iter().flat_map(|&at| link.arrive(End::Acceptor, at)).flatten().collect();
        assert_eq!(got, b"hello world, how are you");
    }

    #[test]
    fn a_receiver_that_does_not_read_stops_the_sender() {
        let mut rng = Seed(1).stream("net", 0);
        let mut link = link();
        link.set_reading(End::Dialer, false);
        link.send(End::Dialer, Bytes::from_static(b"0123456789"));
        let (taken, arrivals) = link.pump(End::Dialer, SimTime::ZERO, &mut rng, &profile(4));
        assert_eq!(taken, 4);
        for at in arrivals {
            assert!(link.arrive(End::Dialer, at).is_empty());
        }
        assert_eq!(link.pump(End::Dialer, SimTime(9), &mut rng, &profile(4)).0, 0);
        link.set_reading(End::Dialer, true);
        assert_eq!(link.read(End::Dialer).concat(), b"0123");
        assert_eq!(link.pump(End::Dialer, SimTime(10), &mut rng, &profile(4)).0, 4);
        assert!(!link.is_flushed(End::Dialer));
    }

    #[test]
    fn held_bytes_come_late_and_silenced_ones_never() {
        let mut rng = Seed(1).stream("net", 0);
        let mut link = link();
        link.send(End::Acceptor, Bytes::from_static(b"late"));
        let (_, before) = link.pump(End::Acceptor, SimTime::ZERO, &mut rng, &profile(100));
        let after = link.hold(End::Acceptor, SimTime(5_000_000_000));
        for at in before {
            assert!(link.arrive(End::Acceptor, at).is_empty());
        }
        let got: Vec<u8> = after.iter().flat_map(|&at| link.arrive(End::Acceptor, at)).flatten().collect();
        assert_eq!(got, b"late");

        link.send(End::Acceptor, Bytes::from_static(b"released"));
        link.hold(End::Acceptor, SimTime(u64::MAX / 2));
        link.pump(End::Acceptor, SimTime(5_500_000_000), &mut rng, &profile(100));
        let early = link.release(End::Acceptor, SimTime(5_900_000_000));
        let got: Vec<u8> = early.iter().flat_map(|&at| link.arrive(End::Acceptor, at)).flatten().collect();
        assert_eq!(got, b"released");
        assert!(early.iter().all(|at| at.0 < 5_900_000_100));

        link.silence(End::Acceptor);
        link.send(End::Acceptor, Bytes::from_static(b"never"));
        let (_, arrivals) = link.pump(End::Acceptor, SimTime(6_000_000_000), &mut rng, &profile(100));
        assert!(!arrivals.is_empty());
        assert!(arrivals.iter().all(|&at| link.arrive(End::Acceptor, at).is_empty()));
    }
}
