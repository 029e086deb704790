//! A simulated client: one session, its connections, and requests in a pipeline.
//!
//! It is a state machine as pure as the server. The world tells it what happened and carries out what it wants
//! ([`Want`]); what it saw goes to the checkers ([`Observed`]). It believes nothing: bytes that make no sense, or
//! answers in the wrong order, are a violation.

pub mod codec;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use zabra_core::types::{ErrorCode, SessionId, Zxid};
use zabra_core::wire::connect::PASSWORD_LEN;
use zabra_core::wire::request::{XID_PING, XID_SET_WATCHES, XID_WATCH_EVENT};
use zabra_core::wire::{ConnectRequest, ConnectResponse, Deframer, Reader};

use self::codec::{Garbled, ReplyHead};
use crate::clock::SimTime;
use crate::history::Observed;
use crate::link::{ClientId, LinkId};
use crate::op::{EventKind, Op, Outcome};
use crate::options::WorkloadProfile;
use crate::seed::Rng;
use crate::workload::Workload;

/// What a client wants of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A connection to a server.
    Dial,
    /// The end of its connection.
    Hangup,
    /// Bytes on their way to the server.
    Send(Vec<u8>),
    /// Something for the checkers.
    Tell(Observed),
}

/// The session of a client, as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    id: SessionId,
    password: [u8; PASSWORD_LEN],
    timeout: Duration,
}

#[derive(Debug)]
enum Phase {
    /// Not connected.
    Away,
    /// The handshake is sent.
    Greeting { link: LinkId, deframer: Deframer, since: SimTime },
    /// The session is attached.
    Up { link: LinkId, deframer: Deframer, pending: VecDeque<(i32, Rc<Op>)> },
}

/// A request to be sent again after a reconnect, so that its outcome is known to the checkers: never. A client
/// whose connection is lost does not know what became of its requests; the checkers do.
#[derive(Debug)]
pub struct SimClient {
    id: ClientId,
    rng: Rng,
    profile: WorkloadProfile,
    workload: Workload,
    phase: Phase,
    session: Option<Held>,
    last_zxid: Zxid,
    next_xid: i32,
    watches: Watches,
    /// The lists of a setWatches that is not answered yet.
    set_watches: Option<Rc<Op>>,
    last_heard: SimTime,
    last_sent: SimTime,
    /// No new requests: the world comes to rest.
    resting: bool,
    /// The last request, made at rest, was answered.
    rested: bool,
    /// What a scenario wants asked, before anything random.
    script: VecDeque<Op>,
    /// Whether it asks for anything that no script told it to.
    random: bool,
    /// It is gone.
    mute: bool,
}

/// What is watched, by the way it is registered again after a reconnect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
}

impl Watches {
    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.exist.is_empty() && self.child.is_empty()
    }

    fn on_event(&mut self, kind: EventKind, path: &str) {
        if kind != EventKind::ChildrenChanged {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if matches!(kind, EventKind::ChildrenChanged | EventKind::Deleted) {
            self.child.remove(path);
        }
    }

    fn on_answer(&mut self, op: &Op, found: bool) {
        match op {
            Op::Exists { path, watch: true } if !found => self.exist.insert(path.clone()),
            Op::Exists { path, watch: true } | Op::GetData { path, watch: true } if found => {
                self.data.insert(path.clone())
            }
            Op::GetChildren { path, watch: true } if found => self.child.insert(path.clone()),
            _ => false,
        };
    }
}

impl SimClient {
    /// A client that makes random requests.
    pub fn new(id: ClientId, rng: Rng, workload: Workload, profile: WorkloadProfile) -> Self {
        Self {
            id,
            rng,
            profile,
            workload,
            phase: Phase::Away,
            session: None,
            last_zxid: Zxid::ZERO,
            next_xid: 1,
            watches: Watches::default(),
            set_watches: None,
            last_heard: SimTime::ZERO,
            last_sent: SimTime::ZERO,
            resting: false,
            rested: false,
            script: VecDeque::new(),
            random: true,
            mute: false,
        }
    }

    /// Leaves the client to scripts: no request is random any more.
    pub fn follow_script(&mut self) {
        self.random = false;
    }

    /// Adds a request to the script.
    pub fn ask(&mut self, op: Op) {
        self.script.push_back(op);
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<SessionId> {
        self.session.map(|held| held.id)
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<LinkId> {
        match &self.phase {
            Phase::Away => None,
            Phase::Greeting { link, .. } | Phase::Up { link, .. } => Some(*link),
        }
    }

    /// Whether the session is attached.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Requests without an answer, scripted ones that were not sent yet included.
    pub fn outstanding(&self) -> usize {
        let pending = match &self.phase {
            Phase::Up { pending, .. } => pending.len(),
            Phase::Away | Phase::Greeting { .. } => 0,
        };
        pending + self.script.len()
    }

    /// No new requests but a last one, whose answer shows that the server serves.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    /// Whether the last request was answered, or nobody waits for an answer any more.
    pub const fn rested(&self) -> bool {
        self.rested || self.mute
    }

    /// The client is gone, without a word.
    pub fn mute(&mut self) {
        self.mute = true;
    }

    /// A connection was made. The handshake goes out at once.
    pub fn on_connected(&mut self, now: SimTime, link: LinkId) -> Vec<Want> {
        let deframer = Deframer::new(16 << 20);
        self.phase = Phase::Greeting { link, deframer, since: now };
        self.last_heard = now;
        self.last_sent = now;
        let (low, high) = self.profile.session_timeout;
        let timeout = self.rng.duration(low, high);
        let none = [0; PASSWORD_LEN];
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.session.map_or(timeout, |held| held.timeout).as_millis() as i32,
            session: self.session().unwrap_or(SessionId::NONE),
            password: self.session.as_ref().map_or(&none, |held| &held.password),
            read_only: Some(false),
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        vec![Want::Send(bytes)]
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, link: LinkId) -> Vec<Want> {
        if self.link() != Some(link) {
            return Vec::new();
        }
        self.phase = Phase::Away;
        self.set_watches = None;
        vec![Want::Tell(Observed::Disconnected { client: self.id })]
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, now: SimTime, link: LinkId, bytes: Bytes) -> Result<Vec<Want>, Garbled> {
        if self.link() != Some(link) {
            return Ok(Vec::new());
        }
        self.last_heard = now;
        match &mut self.phase {
            Phase::Greeting { deframer, .. } | Phase::Up { deframer, .. } => deframer.push(bytes),
            Phase::Away => {}
        }
        let mut wants = Vec::new();
        loop {
            let greeting = matches!(self.phase, Phase::Greeting { .. });
            let frame = match &mut self.phase {
                Phase::Greeting { deframer, .. } | Phase::Up { deframer, .. } => {
                    deframer.next_frame().map_err(|error| Garbled(error.to_string()))?
                }
                Phase::Away => None,
            };
            let Some(frame) = frame else { return Ok(wants) };
            if greeting {
                self.on_greeting(&frame, &mut wants)?;
            } else {
                self.on_reply(&frame, &mut wants)?;
            }
        }
    }

    fn on_greeting(&mut self, frame: &[u8], wants: &mut Vec<Want>) -> Result<(), Garbled> {
        let response = ConnectResponse::decode(frame)?;
        if response.timeout_ms <= 0 {
            let Some(held) = self.session.take() else {
                return Err(Garbled("a new session is refused as expired".into()));
            };
            self.watches = Watches::default();
            self.phase = Phase::Away;
            wants.push(Want::Tell(Observed::SessionGone { client: self.id, session: held.id }));
            wants.push(Want::Hangup);
            return Ok(());
        }
        let resumed = self.session.is_some();
        if resumed && self.session() != Some(response.session) {
            return Err(Garbled(format!("asked for {:?}, got {}", self.session(), response.session)));
        }
        self.session = Some(Held {
            id: response.session,
            password: response.password,
            timeout: Duration::from_millis(response.timeout_ms as u64),
        });
        let Phase::Greeting { link, deframer, .. } = std::mem::replace(&mut self.phase, Phase::Away) else {
            unreachable!("only called while greeting");
        };
        self.phase = Phase::Up { link, deframer, pending: VecDeque::new() };
        wants.push(Want::Tell(Observed::Connected {
            client: self.id,
            session: response.session,
            timeout_ms: response.timeout_ms,
            resumed,
        }));
        if !self.watches.is_empty() {
            let op = Rc::new(Op::SetWatches {
                relative: self.last_zxid,
                data: self.watches.data.iter().cloned().collect(),
                exist: self.watches.exist.iter().cloned().collect(),
                child: self.watches.child.iter().cloned().collect(),
            });
            self.set_watches = Some(op.clone());
            self.send(XID_SET_WATCHES, op, wants);
        }
        Ok(())
    }

    fn on_reply(&mut self, frame: &[u8], wants: &mut Vec<Want>) -> Result<(), Garbled> {
        let mut reader = Reader::new(frame);
        let head = ReplyHead::decode(&mut reader)?;
        let session = self.session().expect("a session is attached");
        let op = match head.xid {
            XID_WATCH_EVENT => {
                let (kind, path) = codec::decode_event(&mut reader)?;
                self.watches.on_event(kind, &path);
                wants.push(Want::Tell(Observed::Event { client: self.id, zxid: head.zxid, kind, path }));
                return Ok(());
            }
            XID_PING => return Ok(()),
            XID_SET_WATCHES => {
                self.set_watches.take().ok_or_else(|| Garbled("setWatches answered twice".into()))?
            }
            xid => {
                let Phase::Up { pending, .. } = &mut self.phase else {
                    unreachable!("replies come to an attached session");
                };
                match pending.pop_front() {
                    Some((expected, op)) if expected == xid => op,
                    Some((expected, op)) => {
                        return Err(Garbled(format!("answer #{xid} while #{expected} ({op}) is due")));
                    }
                    None => return Err(Garbled(format!("answer #{xid} to no request"))),
                }
            }
        };
        let answer = codec::decode(&op, head.code, &mut reader)?;
        if head.zxid > self.last_zxid {
            self.last_zxid = head.zxid;
        }
        let found = answer.is_ok();
        if found || answer == Err(ErrorCode::NONODE) {
            self.watches.on_answer(&op, found);
        }
        let closed = *op == Op::CloseSession && answer == Ok(Outcome::Done);
        if self.resting && matches!(*op, Op::Sync { .. }) && found {
            self.rested = true;
        }
        wants.push(Want::Tell(Observed::Answered {
            client: self.id,
            session,
            xid: head.xid,
            op,
            zxid: head.zxid,
            answer,
        }));
        if closed {
            self.session = None;
            self.watches = Watches::default();
            wants.extend(self.leave());
        }
        Ok(())
    }

    /// Time to do something. Answers what, and when to come back.
    pub fn act(&mut self, now: SimTime) -> (Vec<Want>, Duration) {
        let mut wants = Vec::new();
        if self.mute {
            return (wants, Duration::from_secs(1));
        }
        let patience = self.session.map_or(self.profile.session_timeout.1, |held| held.timeout);
        let think = self.rng.exponential(self.profile.think) + Duration::from_micros(1);
        match &self.phase {
            Phase::Away => return (vec![Want::Dial], patience.min(Duration::from_millis(50))),
            Phase::Greeting { since, .. } => {
                if now.since(*since) > patience {
                    self.phase = Phase::Away;
                    wants.push(Want::Hangup);
                }
                return (wants, patience / 4);
            }
            Phase::Up { .. } => {}
        }
        if now.since(self.last_heard) > patience * 2 / 3 {
            return (self.leave(), Duration::from_millis(1));
        }
        if !self.resting && self.random && self.rng.chance(self.profile.leave) {
            let pause = self.rng.duration(Duration::ZERO, patience * 2);
            return (self.leave(), pause);
        }
        for _ in 0..=self.rng.index(self.profile.burst_max) {
            self.act_up(&mut wants);
        }
        if now.since(self.last_sent) > patience / 3 {
            self.last_sent = now;
            let mut bytes = Vec::new();
            codec::encode(XID_PING, &Op::Ping, &mut bytes);
            wants.push(Want::Send(bytes));
        }
        if wants.iter().any(|want| matches!(want, Want::Send(_))) {
            self.last_sent = now;
        }
        (wants, think.min(patience / 4))
    }

    fn act_up(&mut self, wants: &mut Vec<Want>) {
        let Phase::Up { pending, .. } = &self.phase else { return };
        // Nothing is asked after closeSession: what became of it is of no interest to anybody.
        let closing = pending.back().is_some_and(|(_, op)| **op == Op::CloseSession);
        if closing || pending.len() >= self.profile.pipeline_max {
            return;
        }
        let op = if let Some(op) = self.script.pop_front() {
            op
        } else if self.resting {
            if !pending.is_empty() || self.rested {
                return;
            }
            Op::Sync { path: "/".into() }
        } else if !self.random {
            return;
        } else if self.rng.chance(self.profile.close) {
            Op::CloseSession
        } else {
            self.workload.next_op()
        };
        let xid = self.next_xid;
        self.next_xid += 1;
        self.send(xid, Rc::new(op), wants);
    }

    /// Leaves without a word; the session lives on, for a while.
    pub fn leave(&mut self) -> Vec<Want> {
        self.phase = Phase::Away;
        self.set_watches = None;
        vec![Want::Tell(Observed::Disconnected { client: self.id }), Want::Hangup]
    }

    fn send(&mut self, xid: i32, op: Rc<Op>, wants: &mut Vec<Want>) {
        let session = self.session().expect("requests are made in a session");
        let mut bytes = Vec::new();
        codec::encode(xid, &op, &mut bytes);
        if xid > 0 {
            let Phase::Up { pending, .. } = &mut self.phase else {
                unreachable!("requests are made on a connection");
            };
            pending.push_back((xid, op.clone()));
        }
        wants.push(Want::Tell(Observed::Invoked { client: self.id, session, xid, op }));
        wants.push(Want::Send(bytes));
    }
}
