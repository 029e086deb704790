//! One client connection: what it said, what it waits for, what it is owed.

pub mod stats;
pub mod summary;
pub mod table;
pub mod throttled;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;

pub use self::stats::ConnStats;
pub use self::table::ConnTable;
pub use self::throttled::{Place, Throttled};
use crate::auth::Identities;
use crate::config::Config;
use crate::time::{Instant, Now};
use crate::types::{ConnId, Id, OpCode, SessionId, Zxid};
use crate::wire::frame::Deframer;

/// Bytes of a reply that tells a znode's stat: what a write is mostly answered.
const REPLY_BYTES: usize = 88;
/// Room is made for no more replies than this before they are there.
const REPLIES_AT_ONCE_MAX: usize = 32;

/// Where a connection is in its life.
///
/// ```text
/// Greeting ── new session ──▶ Opening ── committed ──▶ Established ──▶ Closed
///     └────── known session, password right ──────────────▲   (by Opening, too, where it has writes under way)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is over; the table has forgotten it.
    Closed,
    /// Requests are taken.
    Established,
    /// Neither a handshake nor a four-letter word has come.
    Greeting,
    /// A new session is being committed; nothing is read from the client until it is.
    Opening,
}

/// A request that was taken and not yet answered. Replies leave in the order of requests, so a read that finds
/// one before it waits, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A write that was sent to the leader.
    Forwarded {
        /// The client's number of it.
        cxid: i32,
        /// What was asked for.
        op: OpCode,
        /// When.
        received: Instant,
    },
    /// A read, with its frame.
    Read {
        /// Header and body as they came.
        frame: Bytes,
        /// When.
        received: Instant,
        /// How many identities its connection had then: what it proves later is of no use to this read.
        identities: usize,
    },
    /// A sync that the leader has not answered. Once it has, it is a read.
    Sync {
        /// Header and body as they came.
        frame: Bytes,
        /// When.
        received: Instant,
    },
    /// A write that is to commit.
    Write {
        /// Its transaction.
        zxid: Zxid,
    },
}

impl Waiting {
    /// Bytes of its frame.
    const fn bytes(&self) -> usize {
        match self {
            Self::Forwarded { .. } | Self::Write { .. } => 0,
            Self::Read { frame, .. } | Self::Sync { frame, .. } => frame.len(),
        }
    }
}

/// A client connection.
#[derive(Debug)]
pub struct Conn {
    /// Its number.
    pub id: ConnId,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where it is in its life.
    pub phase: Phase,
    /// Cuts its bytes into frames.
    pub deframer: Deframer,
    /// Its session; none in [`Phase::Greeting`].
    pub session: SessionId,
    /// The negotiated timeout in milliseconds.
    pub timeout_ms: i32,
    /// Whether the handshake had the field `readOnly`; if not, the answer has none either.
    pub knows_read_only: bool,
    /// What it has proved to be.
    pub identities: Identities,
    /// What was taken and not answered, oldest first. The front is a read only where the client has not taken
    /// enough of its replies to be given more, or has had its turn.
    pub waiting: VecDeque<Waiting>,
    /// Bytes of the frames in `waiting`.
    pub waiting_bytes: usize,
    /// How many reads at the front of `waiting` wait for the client alone. They are not counted as requests in the
    /// server: one client that does not read must not keep the others from asking.
    pub held_reads: usize,
    /// Requests with a positive xid that were not answered; what throttling counts.
    pub outstanding: usize,
    /// Reply and event bytes of this turn.
    pub outbox: Vec<u8>,
    /// Whether the connection is on the list of those whose outbox is to be sent.
    pub listed: bool,
    /// Bytes that were sent and not taken by the operating system yet.
    pub unsent: usize,
    /// Whether reading was paused.
    pub paused: bool,
    /// Its session is ending or has ended: whatever it still asks for is refused.
    pub session_over: bool,
    /// It waits for a sync. Nothing more is taken from it until that is answered: what it asks for behind it must not
    /// happen before.
    pub syncing: bool,
    /// Its place among those that wait for room, if it does.
    pub throttled: Option<Place>,
    /// Whether it is on the list of those to go on with once the others had their turn.
    pub yielded: bool,
    /// Work done for it in the turn `turn`; see [`Config::turn_work_max`].
    pub work: usize,
    /// The server's turn that `work` was done in.
    pub turn: u64,
    /// Counters for `cons` and `stat`.
    pub stats: ConnStats,
}

impl Conn {
    /// A connection that has said nothing.
    pub fn new(id: ConnId, from: SocketAddr, config: &Config, now: Now) -> Self {
        let mut identities = Identities::new();
        identities.push(Id::new("ip", address(from.ip())));
        Self {
            id,
            from,
            phase: Phase::Greeting,
            deframer: Deframer::new(config.jute_max_buffer),
            session: SessionId::NONE,
            timeout_ms: 0,
            knows_read_only: false,
            identities,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            held_reads: 0,
            outstanding: 0,
            outbox: Vec::new(),
            listed: false,
            unsent: 0,
            paused: false,
            session_over: false,
            syncing: false,
            throttled: None,
            yielded: false,
            work: 0,
            turn: 0,
            stats: ConnStats::new(now),
        }
    }

    /// The address as the scheme `ip` writes it.
    pub fn address(&self) -> String {
        address(self.from.ip())
    }

    /// Reply and event bytes that the client has not taken.
    pub const fn owed(&self) -> usize {
        self.unsent + self.outbox.len()
    }

    /// Makes room for the replies to all that waits, where there is none yet: to grow step by step would copy them
    /// again and again.
    pub fn make_room(&mut self) {
        if self.outbox.capacity() == 0 {
            self.outbox.reserve((1 + self.waiting.len()).min(REPLIES_AT_ONCE_MAX) * REPLY_BYTES);
        }
    }

    /// Takes what is to be sent now.
    pub fn take_outbox(&mut self) -> Bytes {
        let bytes = mem::take(&mut self.outbox);
        self.unsent += bytes.len();
        Bytes::from(bytes)
    }

    /// Whether frames may be taken from it: its session stands, there is room, and it reads its replies.
    pub const fn takes_requests(&self, config: &Config) -> bool {
        !matches!(self.phase, Phase::Closed | Phase::Opening)
            && !self.syncing
            && self.throttled.is_none()
            && !self.yielded
            && self.held_reads == 0
            && self.waiting_bytes <= config.inbox_pause_bytes
            && self.owed() <= config.outbox_pause_bytes
    }

    /// Keeps a request with its frame until those before it are answered.
    pub fn keep_waiting(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    /// Takes the front, if it is a read: its frame, when it came, and how many identities there were.
    pub fn next_waiting_read(&mut self) -> Option<(Bytes, Instant, usize)> {
        let is_read = |waiting: &mut Waiting| matches!(waiting, Waiting::Read { .. });
        let Waiting::Read { frame, received, identities } = self.waiting.pop_front_if(is_read)? else {
            return None;
        };
        self.waiting_bytes -= frame.len();
        Some((frame, received, identities))
    }

    /// Counts work done for it in the server's turn `turn`.
    pub const fn add_work(&mut self, turn: u64, work: usize) {
        if self.turn != turn {
            self.turn = turn;
            self.work = 0;
        }
        self.work = self.work.saturating_add(work);
    }

    /// Whether it has had more than its share of the server's turn `turn`.
    pub const fn is_spent(&self, turn: u64, config: &Config) -> bool {
        self.turn == turn && self.work > config.turn_work_max
    }

    /// A request came. Those of the client itself have positive xids, and only they count (PARITY
    /// `xid.outstanding`).
    pub const fn request_taken(&mut self, xid: i32) {
        if xid > 0 {
            self.outstanding += 1;
        }
    }

    /// A request was answered.
    pub const fn request_answered(&mut self, xid: i32) {
        if xid > 0 {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
    }
}

/// An IPv4 client of a dual-stack socket is an IPv4 client.
fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}
