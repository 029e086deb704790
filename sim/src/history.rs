//! What happened in a run, as checkers and reports see it.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use zabra_core::recovery::Notice;
use zabra_core::server::HangupReason;
use zabra_core::types::{Message, Notification, ServerId, SessionId, Zxid};
use zabra_core::wire::FrameError;
use zabra_core::wire::quorum::QuorumDecodeError;

use crate::client::codec::Garbled;
use crate::clock::SimTime;
use crate::ending::{Crash, Ending, Excuse, RoleEnd};
use crate::fault::{Fault, Names};
use crate::link::LinkId;
use crate::node::Standing;
use crate::op::{Answer, EventKind, Op};
use crate::places::{ClientId, NodeId, node_of};
use crate::txnlog::Logged;
use crate::wiretap::{Gist, Opinion};

/// What a power failure at some moment would leave of a server, and what it would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The epoch that it promised to; 0, where there is no such file.
    pub accepted: i64,
    /// The epoch of its history; 0, where there is no such file.
    pub current: i64,
    /// The last transaction.
    pub durable: Zxid,
    /// The end of the history, which a power failure would not leave.
    pub last: Zxid,
}

/// How a history came to end somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// The log was cut, as the leader asked for.
    Cut,
    /// A snapshot from the leader took its place.
    Snapshot,
}

/// Something that is removed although it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillNeeded {
    /// A snapshot that stays.
    pub snapshot: Zxid,
    /// The first transaction behind it, which goes.
    pub first: Zxid,
}

/// What is wrong with what a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// A client cannot tell where it ends.
    Frame(FrameError),
    /// It is no message between servers.
    Message(QuorumDecodeError),
    /// A client cannot read it.
    Reply(Garbled),
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::Reply(garbled) => garbled.fmt(f),
        }
    }
}

/// How a server hears of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// A server that learns from this one asks whether it may have the session.
    Asked {
        /// Which.
        from: NodeId,
        /// The timeout that the session is to have.
        timeout_ms: i32,
    },
    /// One that asked is told that it may.
    Granted {
        /// Which.
        to: NodeId,
    },
    /// It stands on a connection of this server.
    Opened {
        /// Its timeout.
        timeout_ms: i32,
    },
    /// A server that learns from this one has heard of it.
    Reported {
        /// The timeout that it has there.
        timeout_ms: i32,
    },
    /// Its client spoke on a connection of this server.
    Spoke,
}

/// Something that a checker may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A client was answered.
    Answered {
        /// Which.
        client: ClientId,
        /// In which session.
        session: SessionId,
        /// To which request.
        xid: i32,
        /// The request.
        op: Rc<Op>,
        /// The zxid in the reply's header.
        zxid: Zxid,
        /// What it was told.
        answer: Answer,
    },
    /// A server applied a transaction.
    Applied {
        /// Which.
        node: NodeId,
        /// What.
        zxid: Zxid,
        /// The digest of its tree afterwards.
        digest: u64,
    },
    /// A server has given a session that was there already to a connection of its own.
    Attached {
        /// Which server.
        node: NodeId,
        /// Which session.
        session: SessionId,
        /// The timeout that it has from now on.
        timeout_ms: i32,
        /// What the server's monotonic clock shows, in nanoseconds.
        mono: u64,
    },
    /// A server says that its history is there for good up to here.
    Committed {
        /// Which.
        node: NodeId,
        /// The last transaction of that part.
        zxid: Zxid,
    },
    /// A client has a session on a connection, a new one or its old one.
    Connected {
        /// Which.
        client: ClientId,
        /// The session.
        session: SessionId,
        /// Its negotiated timeout.
        timeout_ms: i32,
        /// The one that the client asked for.
        asked_ms: i32,
        /// Whether it had the session before.
        resumed: bool,
        /// The last transaction that it said it had seen: no server that is behind it may take it.
        claimed: Zxid,
    },
    /// A node went down.
    Crashed {
        /// Which.
        node: NodeId,
        /// How.
        how: Crash,
    },
    /// A server's tree is not as whoever proposed a transaction had computed.
    DigestMismatch {
        /// Which server.
        node: NodeId,
        /// The transaction.
        zxid: Zxid,
        /// What was computed.
        expected: u64,
        /// What came out.
        found: u64,
    },
    /// A client lost its connection.
    Disconnected {
        /// Which.
        client: ClientId,
    },
    /// A server says that its promise to follow nobody of an earlier epoch is durable.
    EpochAccepted {
        /// Which.
        node: NodeId,
        /// The epoch.
        epoch: i64,
        /// What a power failure would leave at this moment.
        kept: Kept,
    },
    /// A server says that the history which an epoch begins with is durable.
    EpochCurrent {
        /// Which.
        node: NodeId,
        /// The epoch.
        epoch: i64,
        /// What a power failure would leave at this moment.
        kept: Kept,
    },
    /// A client was told of a change.
    Event {
        /// Which.
        client: ClientId,
        /// The zxid in the event's header.
        zxid: Zxid,
        /// What happened.
        kind: EventKind,
        /// To which znode.
        path: String,
    },
    /// Something went wrong.
    Fault {
        /// Which fault of the profile; none, if a scenario wants it.
        fault: Option<Fault>,
        /// What it does.
        words: String,
    },
    /// The history on a disk ends somewhere else than before, and not because something was logged: a process began,
    /// the log was cut, or a snapshot took its place.
    Found {
        /// Whose.
        node: NodeId,
        /// Its last transaction.
        last: Zxid,
        /// The last one that a power failure at this moment would leave.
        durable: Zxid,
    },
    /// A server sent something that cannot be read.
    Garbled {
        /// Which.
        node: NodeId,
        /// To which server; none, if it was to a client.
        to: Option<NodeId>,
        /// What is wrong with it.
        why: Nonsense,
    },
    /// A server closes a link to another.
    HungUp {
        /// Which.
        node: NodeId,
        /// The other.
        to: NodeId,
        /// Why.
        why: HangupReason,
    },
    /// A leader looks at what a learner said.
    Heard {
        /// Which leader.
        node: NodeId,
        /// Which learner.
        from: NodeId,
        /// On which link.
        link: LinkId,
        /// What.
        message: Rc<Message>,
    },
    /// All faults have stopped; from now on the world must come to rest.
    Healed,
    /// A client asked for something.
    Invoked {
        /// Which.
        client: ClientId,
        /// In which session.
        session: SessionId,
        /// The number of the request.
        xid: i32,
        /// What.
        op: Rc<Op>,
    },
    /// A server handed a transaction to its disk.
    Logged {
        /// Which.
        node: NodeId,
        /// What.
        record: Logged,
    },
    /// A process has read its disk and is about to serve.
    Recovered {
        /// Which.
        node: NodeId,
        /// What it noticed.
        notices: Rc<[Notice]>,
        /// The epoch of its history: what the file named when the process began, and what the server goes on with.
        /// Nothing, where there was no such file, or there is no ensemble.
        epoch: Option<(i64, i64)>,
    },
    /// A configuration is in force on a server.
    Reconfigured {
        /// Which server.
        node: NodeId,
        /// Its version.
        version: i64,
        /// Everybody who belongs to it.
        members: Rc<[ServerId]>,
    },
    /// A server told something that no checker asks for.
    Remark {
        /// Which.
        node: NodeId,
        /// What.
        words: String,
    },
    /// A server that serves is about to lose files that it wants removed.
    Removed {
        /// Which.
        node: NodeId,
        /// What goes with them although it is still needed.
        still_needed: Option<StillNeeded>,
    },
    /// A file was replaced, durably: an epoch file. The server does not know yet.
    Replaced {
        /// On which node.
        node: NodeId,
        /// What it is called.
        name: String,
    },
    /// A server says that its history ends here now: its log was cut, or a snapshot from its leader took its place.
    Rewound {
        /// Which.
        node: NodeId,
        /// Its last transaction.
        last: Zxid,
        /// Which of the two.
        how: Rewind,
    },
    /// A server leads or follows no longer; it looks for a leader once its disk is at rest.
    RoleLost {
        /// Which.
        node: NodeId,
        /// Why.
        why: RoleEnd,
    },
    /// A server took a role in its ensemble.
    RoleTaken {
        /// Which.
        node: NodeId,
        /// What role.
        standing: Standing,
        /// What its monotonic clock shows, in nanoseconds.
        mono: u64,
    },
    /// A leader or a learner says something to the other.
    Said {
        /// Which.
        node: NodeId,
        /// To whom.
        to: NodeId,
        /// On which link.
        link: LinkId,
        /// What.
        message: Rc<Message>,
        /// Where that is a promise: what a power failure would leave at this moment.
        kept: Option<Kept>,
    },
    /// A server sent an answer or a watch event.
    Sent {
        /// Which.
        node: NodeId,
        /// The xid in the header.
        xid: i32,
        /// The zxid in the header.
        zxid: Zxid,
        /// The last transaction that would survive a power failure at this moment.
        durable: Zxid,
    },
    /// A server decided that a session has expired.
    SessionExpired {
        /// Which server.
        node: NodeId,
        /// Which session.
        session: SessionId,
        /// What its monotonic clock shows, in nanoseconds.
        mono: u64,
    },
    /// A client was told that its session is gone.
    SessionGone {
        /// Which.
        client: ClientId,
        /// The session.
        session: SessionId,
    },
    /// What was logged up to here has become durable.
    Synced {
        /// On which node.
        node: NodeId,
        /// The last transaction that would survive a power failure.
        durable: Zxid,
    },
    /// A server took something that keeps a session alive, in the turn that ends here.
    Touched {
        /// Which server.
        node: NodeId,
        /// Which session.
        session: SessionId,
        /// What its monotonic clock showed when that came, in nanoseconds.
        mono: u64,
        /// What that was.
        how: Touch,
        /// Whether the server has looked at it for sure: what comes on a connection or a link that ends in the same turn
        /// may have come behind the end.
        surely: bool,
    },
    /// A server serves.
    Started {
        /// Which.
        node: NodeId,
        /// The last transaction that it recovered.
        recovered: Zxid,
        /// What its monotonic clock shows, in nanoseconds.
        mono: u64,
    },
    /// Time passed at a server that serves; told now and then.
    Ticked {
        /// Which.
        node: NodeId,
        /// What its monotonic clock shows, in nanoseconds.
        mono: u64,
    },
    /// A server is told of the time much later than it wanted to be: it stood still, or was far too busy.
    StoodStill {
        /// Which.
        node: NodeId,
        /// What its monotonic clock shows, in nanoseconds.
        mono: u64,
        /// How late that is.
        late: Duration,
    },
    /// A server stopped by itself, or did not start.
    Stopped {
        /// Which.
        node: NodeId,
        /// Why.
        why: Ending,
        /// What excuses it, if anything does.
        excuse: Option<Excuse>,
    },
    /// A server tells another how it votes, or whom it follows.
    Voted {
        /// Which.
        node: NodeId,
        /// Whom it tells.
        to: NodeId,
        /// What.
        notification: Rc<Notification>,
        /// What a power failure would leave at this moment; nothing, if the server may have lost what it had.
        kept: Option<Kept>,
    },
    /// A server that may have lost what it had has been brought up to date.
    VotesAgain {
        /// Which.
        node: NodeId,
    },
    /// A server is about to look at what another told it so.
    VoteHeard {
        /// Which.
        node: NodeId,
        /// Who told it.
        from: NodeId,
        /// What.
        notification: Rc<Notification>,
    },
}

impl Observed {
    /// Whether it comes all the time and is of no use to a reader.
    pub fn is_noise(&self) -> bool {
        match self {
            Self::Ticked { .. } | Self::Touched { .. } | Self::Synced { .. } | Self::VoteHeard { .. } => true,
            Self::Heard { message, .. } | Self::Said { message, .. } => {
                matches!(**message, Message::Ping { .. })
            }
            _ => false,
        }
    }
}

/// An observation and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: SimTime,
    /// What.
    pub what: Observed,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.what)
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observed::Answered { client, session, xid, op, zxid, answer } => {
                write!(f, "{client} < {session} #{xid} {op} = {answer:?} at {zxid}")
            }
            Observed::Applied { node, zxid, digest } => {
                write!(f, "{node} applied {zxid}, digest {digest:x}")
            }
            Observed::Attached { node, session, timeout_ms, .. } => {
                write!(f, "{node} has {session}, timeout {timeout_ms} ms")
            }
            Observed::Committed { node, zxid } => write!(f, "{node} has {zxid} for good"),
            Observed::Connected { client, session, timeout_ms, resumed, .. } => {
                let how = if *resumed { "resumed" } else { "opened" };
                write!(f, "{client} {how} {session}, timeout {timeout_ms} ms")
            }
            Observed::Crashed { node, how } => write!(f, "{node} {how}"),
            Observed::DigestMismatch { node, zxid, expected, found } => {
                write!(f, "{node} itself found digest {found:x} after {zxid}, predicted {expected:x}")
            }
            Observed::Disconnected { client } => write!(f, "{client} lost its connection"),
            Observed::EpochAccepted { node, epoch, .. } => write!(f, "{node} promises epoch {epoch}"),
            Observed::EpochCurrent { node, epoch, .. } => write!(f, "{node} begins epoch {epoch}"),
            Observed::Event { client, zxid, kind, path } => {
                write!(f, "{client} < event {kind:?} {path} at {zxid}")
            }
            Observed::Fault { fault: Some(fault), words } => write!(f, "-- {fault}: {words}"),
            Observed::Fault { fault: None, words } => write!(f, "-- {words}"),
            Observed::Found { node, last, durable } => {
                write!(f, "{node}'s disk ends with {last}, durable {durable}")
            }
            Observed::Heard { node, from, message, .. } => {
                write!(f, "{node} < {from} {}", Gist(message))
            }
            Observed::HungUp { node, to, why } => write!(f, "{node}: hangs up on {to}: {why:?}"),
            Observed::Garbled { node, to: Some(to), why } => {
                write!(f, "{node} sends nonsense to {to}: {why}")
            }
            Observed::Garbled { node, to: None, why } => {
                write!(f, "{node} sends nonsense to a client: {why}")
            }
            Observed::Healed => f.write_str("-- all faults stop"),
            Observed::Invoked { client, session, xid, op } => {
                write!(f, "{client} > {session} #{xid} {op}")
            }
            Observed::Logged { node, record } => write!(f, "{node} logs {record}"),
            Observed::Reconfigured { node, version, members } => {
                let members: Vec<NodeId> = members.iter().map(|&member| node_of(member)).collect();
                write!(f, "{node} goes by {}, version {version:#x}", Names(&members))
            }
            Observed::Remark { node, words } => write!(f, "{node}: {words}"),
            Observed::Recovered { node, notices, .. } => write!(f, "{node} recovered: {notices:?}"),
            Observed::Removed { node, still_needed: None } => write!(f, "{node} removes old files"),
            Observed::Removed { node, still_needed: Some(StillNeeded { snapshot, first }) } => {
                write!(f, "{node} removes {first}, the first behind its snapshot {snapshot}")
            }
            Observed::Replaced { node, name } => write!(f, "{node} has a new {name}"),
            Observed::Rewound { node, last, .. } => write!(f, "{node} goes on behind {last}"),
            Observed::RoleLost { node, why } => write!(f, "{node}: {why}"),
            Observed::RoleTaken { node, standing: Standing { role, epoch, leader }, .. } => {
                write!(f, "{node} is {role:?} in epoch {epoch}")?;
                leader.map_or(Ok(()), |leader| write!(f, " with leader {}", node_of(leader)))
            }
            Observed::Said { node, to, message, .. } => {
                write!(f, "{node} > {to} {}", Gist(message))
            }
            Observed::Sent { node, xid, zxid, durable } => {
                write!(f, "{node} sends #{xid} at {zxid}, durable {durable}")
            }
            Observed::SessionExpired { node, session, .. } => write!(f, "{node} expires {session}"),
            Observed::SessionGone { client, session } => {
                write!(f, "{client} is told that {session} is gone")
            }
            Observed::Synced { node, durable } => write!(f, "{node} has {durable} on its disk"),
            Observed::Touched { node, session, how, .. } => write!(f, "{node} hears of {session}: {how:?}"),
            Observed::Started { node, recovered, .. } => {
                write!(f, "{node} serves, recovered up to {recovered}")
            }
            Observed::Ticked { node, mono } => write!(f, "{node} shows {mono} ns"),
            Observed::StoodStill { node, late, .. } => write!(f, "{node} hears of the time {late:?} late"),
            Observed::Stopped { node, why, .. } => write!(f, "{node} stopped: {why}"),
            Observed::Voted { node, to, notification, .. } => {
                write!(f, "{node} to {to}: {}", Opinion(notification))
            }
            Observed::VotesAgain { node } => write!(f, "{node} votes again"),
            Observed::VoteHeard { node, from, notification } => {
                write!(f, "{node} of {from}: {}", Opinion(notification))
            }
        }
    }
}

/// The last records, for the report of a failure.
#[derive(Clone, Debug)]
pub struct History {
    last: VecDeque<Record>,
    keep: usize,
    count: u64,
}

impl History {
    /// A history that remembers the last `keep` records.
    pub fn new(keep: usize) -> Self {
        Self { last: VecDeque::new(), keep, count: 0 }
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.count += 1;
        if self.last.len() == self.keep {
            self.last.pop_front();
        }
        self.last.push_back(record);
    }

    /// The last records, oldest first.
    pub fn last(&self) -> impl Iterator<Item = &Record> {
        self.last.iter()
    }

    /// Those that came after the first `count`, oldest first, as far as they are remembered.
    pub fn since(&self, count: u64) -> impl Iterator<Item = &Record> {
        let new = usize::try_from(self.count - count).unwrap_or(usize::MAX).min(self.last.len());
        self.last.range(self.last.len() - new..)
    }

    /// How many there were in all.
    pub const fn count(&self) -> u64 {
        self.count
    }
}
