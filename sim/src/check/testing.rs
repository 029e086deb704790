//! Hand-made histories, for showing that a checker finds what it is there for.

use std::rc::Rc;

use zabra_core::time::WallTime;
use zabra_core::types::{ErrorCode, OpCode, SessionId, Zxid};

use super::*;
use crate::clock::SimTime;
use crate::history::{Observed, Touch};
use crate::op::{Answer, EventKind, Op};
use crate::places::{ClientId, NodeId};
use crate::txnlog::Logged;

pub const S: SessionId = SessionId(0x0100_0000_0000_0001);
pub const NODE: NodeId = NodeId(0);
pub const CLIENT: ClientId = ClientId(0);

/// The shortest and the longest timeout that servers give.
pub const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));

/// A history in the making: each step is what a right server would do, unless told otherwise.
#[derive(Debug)]
pub struct Story {
    pub judge: Judge,
    pub at: SimTime,
    pub result: Result<(), Violation>,
}

impl Story {
    /// A server that serves and a client whose session is open, at zxid 1.
    pub fn begin() -> Self {
        let judge = Judge::new(Duration::from_millis(100), TIMEOUTS, Duration::ZERO, None);
        let mut story = Self { judge, at: SimTime::ZERO, result: Ok(()) };
        story.tell(Observed::Started { node: NODE, recovered: Zxid(0), mono: 0 });
        story.log(1, 0, OpCode::CREATE_SESSION, Some(4000));
        story.apply(1);
        story.touch(0, Touch::Opened { timeout_ms: 4000 });
        story.connect(CLIENT, Zxid::ZERO);
        assert_eq!(story.result, Ok(()));
        story
    }

    /// A server hears of the session.
    pub fn touch(&mut self, mono: u64, how: Touch) {
        self.tell(Observed::Touched { node: NODE, session: S, mono, how, surely: true });
    }

    /// A client connects with the session, and says up to where it has seen.
    pub fn connect(&mut self, client: ClientId, claimed: Zxid) {
        let resumed = claimed != Zxid::ZERO;
        let (session, timeout_ms, asked_ms) = (S, 4000, 4000);
        self.tell(Observed::Connected { client, session, timeout_ms, asked_ms, resumed, claimed });
    }

    /// Servers of an ensemble, about whom nothing is known yet; the client's session may be opened.
    pub fn ensemble(count: usize) -> Self {
        let ensemble = Roster::first(count, 0);
        let tick = Duration::from_millis(100);
        let judge = Judge::new(tick, TIMEOUTS, tick * 3, Some(ensemble));
        Self { judge, at: SimTime::ZERO, result: Ok(()) }
    }

    /// A transaction in the log of one server: the begin of a session for each.
    pub fn log_at(&mut self, node: usize, epoch: u32, counter: u32) {
        let zxid = Zxid::new(epoch, counter);
        let (session, timeout_ms) = (SessionId(S.0 | zxid.0), Some(4000));
        let record = Logged { session, timeout_ms, ..logged(zxid, 0, OpCode::CREATE_SESSION) };
        self.tell(Observed::Logged { node: NodeId(node), record });
    }

    /// The transactions of epoch 1 up to `counter`, in the log of each of three servers.
    pub fn create_everywhere(&mut self, counter: u32) {
        for node in 0..3 {
            (1..=counter).for_each(|counter| self.log_at(node, 1, counter));
        }
    }

    /// A server follows, in epoch 1.
    pub fn serve(&mut self, node: NodeId) {
        let role = zabra_core::server::Role::Following;
        let standing = crate::node::Standing { role, epoch: 1, leader: None };
        self.tell(Observed::RoleTaken { node, standing, mono: 0 });
    }

    /// A server's disk has epoch 1 up to `counter`.
    pub fn synced(&mut self, node: usize, counter: u32) {
        self.tell(Observed::Synced { node: NodeId(node), durable: Zxid::new(1, counter) });
    }

    pub fn tell(&mut self, what: Observed) {
        self.at.0 += 1_000_000;
        if self.result.is_ok() {
            self.result = self.judge.observe(&Record { at: self.at, what });
        }
    }

    pub fn log(&mut self, zxid: i64, cxid: i32, op: OpCode, timeout_ms: Option<i32>) {
        self.log_with(zxid, cxid, op, timeout_ms, None);
    }

    /// A request that was refused.
    pub fn log_failed(&mut self, zxid: i64, cxid: i32, op: OpCode, error: ErrorCode) {
        self.log_with(zxid, cxid, op, None, Some(error));
    }

    fn log_with(
        &mut self,
        zxid: i64,
        cxid: i32,
        op: OpCode,
        timeout_ms: Option<i32>,
        error: Option<ErrorCode>,
    ) {
        let time = WallTime(zxid * 10);
        let record = Logged { time, error, timeout_ms, ..logged(Zxid(zxid), cxid, op) };
        self.tell(Observed::Logged { node: NODE, record });
    }

    /// Applied with the right digest.
    pub fn apply(&mut self, zxid: i64) {
        let mut facts = self.judge.facts.clone();
        let what = Observed::Applied { node: NODE, zxid: Zxid(zxid), digest: 0 };
        let _ = facts.take(&Record { at: self.at, what });
        let digest = facts.model().digest();
        self.tell(Observed::Applied { node: NODE, zxid: Zxid(zxid), digest });
    }

    pub fn invoke(&mut self, xid: i32, op: &Op) {
        let op = Rc::new(op.clone());
        self.tell(Observed::Invoked { client: CLIENT, session: S, xid, op });
    }

    pub fn answer(&mut self, xid: i32, op: &Op, zxid: i64, answer: Answer) {
        let op = Rc::new(op.clone());
        self.tell(Observed::Answered { client: CLIENT, session: S, xid, op, zxid: Zxid(zxid), answer });
    }

    /// A write from request to answer, all right.
    pub fn write(&mut self, xid: i32, op: &Op, zxid: i64) {
        self.invoke(xid, op);
        self.log(zxid, xid, op.code(), None);
        self.apply(zxid);
        let answer = self.judge.facts.executed(S, xid).map(|executed| executed.answer.clone());
        if let Some(answer) = answer {
            self.answer(xid, op, zxid, answer);
        }
    }

    /// A read of the present state, all right.
    pub fn read(&mut self, xid: i32, op: &Op) {
        self.invoke(xid, op);
        let zxid = self.judge.model().last();
        let answer = self.look(op, zxid.0);
        self.answer(xid, op, zxid.0, answer);
    }

    /// What the client must be answered to a read in some state.
    pub fn look(&self, op: &Op, zxid: i64) -> Answer {
        let who = self.judge.facts.who(CLIENT);
        self.judge.model().read(op, Zxid(zxid), crate::model::Asker { session: S, who: &who })
    }

    pub fn event(&mut self, zxid: i64, kind: EventKind, path: &str) {
        self.tell(Observed::Event { client: CLIENT, zxid: Zxid(zxid), kind, path: path.into() });
    }

    #[track_caller]
    pub fn expect_fine(&self) {
        assert_eq!(self.result, Ok(()));
    }

    #[track_caller]
    pub fn expect_violation(&self, checker: Checker, words: &str) {
        match &self.result {
            Ok(()) => panic!("{checker} noticed nothing"),
            Err(violation) => {
                assert_eq!(violation.checker, checker, "{violation}");
                assert!(violation.what.contains(words), "{violation}");
            }
        }
    }
}

/// A transaction of the session as a log has it, that went well.
pub const fn logged(zxid: Zxid, cxid: i32, op: OpCode) -> Logged {
    Logged {
        zxid,
        session: S,
        cxid,
        time: WallTime(0),
        op,
        error: None,
        timeout_ms: None,
        removes: None,
        members: None,
        checksum: 0,
    }
}

/// A change of members, to the first `count` servers.
pub fn logged_change(zxid: Zxid, count: usize) -> Logged {
    Logged { members: Some(Roster::first(count, 0)), ..logged(zxid, 1, OpCode::RECONFIG) }
}

pub fn create(path: &str) -> Op {
    let mode = crate::op::Mode::Persistent;
    let acl = zabra_core::types::AclList::OpenUnsafe;
    Op::Create { path: path.into(), data: Some(b"x".to_vec()), mode, acl, with_stat: false }
}

pub fn set(path: &str) -> Op {
    Op::SetData { path: path.into(), data: Some(b"y".to_vec()), version: -1 }
}

pub fn get(path: &str, watch: bool) -> Op {
    Op::GetData { path: path.into(), watch }
}
