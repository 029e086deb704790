//! What must hold in every run. Each checker is a file that says what it checks and why, by the ids of
//! `docs/invariants.md`; who finds something is a [`Checker`].
//!
//! A [`Judge`] shows every record to the [`Facts`] that all of them share, and to every [`Check`] after that, so that a
//! failure stops the run at its cause. What is asked for at the end of a run is not in a record: [`liveness`] has
//! functions for that.

pub mod chain;
pub mod durability;
pub mod election;
pub mod epoch;
pub mod facts;
pub mod joining;
pub mod leadership;
pub mod ledger;
pub mod liveness;
pub mod moved;
pub mod order;
pub mod replica;
pub mod session;
pub mod storage;
pub mod tree;
pub mod watch;
pub mod wire;

use std::fmt;
use std::time::Duration;

pub use facts::Facts;
use zabra_core::types::Membership;

use crate::history::Record;
use crate::model::Model;

macro_rules! checkers {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

checkers! {
    /// Who finds violations. A run that fails is known by it: it decides how a process ends, and a run shrinks to others in
    /// which the same checker finds something.
    ///
    /// `docs/invariants.md` says what must hold, the other way round: which checkers see to it.
    ///
    /// | checker | in | what it watches | invariants |
    /// |---|---|---|---|
    /// | `Application` | `client/perform.rs` | what an application of a trial must never see | the application's own |
    /// | `Chain` | `check/chain.rs` | the logs of all servers are one history | P5, P6, P8, P9, P12 |
    /// | `Client` | `client/account.rs`, `client/tap.rs` | the client machine does what it is asked to, and tells what it is told | C2, W2 |
    /// | `Durability` | `check/durability.rs` | whatever anybody was told of stays | D1, D2, D3, D6, D9 |
    /// | `Election` | `check/election.rs` | votes, and who follows whom because of them | P17 |
    /// | `Epoch` | `check/epoch.rs` | promises, histories and leaders of epochs | D1, D5, P1, P2 |
    /// | `Facts` | `check/facts.rs` | every transaction was asked for, once, and succeeds where the reference does | C6, C7, C10, D3, D6, P6, P7, P9, S1, S2, S6, T4, T5 |
    /// | `Joining` | `check/joining.rs` | how a learner is brought up to date, and when it serves | P14, P15 |
    /// | `Leadership` | `check/leadership.rs` | who leads is followed | P18 |
    /// | `Ledger` | `check/ledger.rs` | every message of leader and learner against the disk of who sends it | D1, D5, D9, P3, P4, P5, P10, P11, P12, P13, P15, P16 |
    /// | `Liveness` | `check/liveness.rs` | rest, once all faults have stopped; nobody stops for no reason | D7, L1, L2, L3, L4, L5, L7, L8 |
    /// | `Moved` | `check/moved.rs` | a session has one place | S7 |
    /// | `Order` | `check/order.rs` | answers, against the reference | C1, C3, C4, C5, C6, C7, C8, C10, S10, T2, T3, T5 |
    /// | `Panic` | `world/process.rs` | what servers assert themselves | the core's own |
    /// | `Replica` | `check/replica.rs` | every server applies the one history in its order | P6, P20 |
    /// | `Scenario` | `picture/scene.rs` | what a scenario expects, for its picture | none |
    /// | `Session` | `check/session.rs` | sessions live as long as promised | S3, S4, S6, S9, S10 |
    /// | `Stop` | `onlooker.rs` | the record that somebody waits for: not wrong, but the end of the run | none |
    /// | `Storage` | `check/storage.rs` | what is removed from a disk | D8 |
    /// | `Tree` | `check/tree.rs` | digests of trees | C7, D3, D4, D6, S5, T1, T2, T3, T4 |
    /// | `Watch` | `check/watch.rs` | watch events | W1, W2, W3, W4, W5, W6, W7 |
    /// | `Wire` | `check/wire.rs`, `client/tap.rs` | what servers send can be read, and comes in turn | C2, P16, S8 |
    Checker {
        /// What an application of a trial says must not be.
        Application,
        /// See [`chain`].
        Chain,
        /// The client machine; see [`crate::client`].
        Client,
        /// See [`durability`].
        Durability,
        /// See [`election`].
        Election,
        /// See [`epoch`].
        Epoch,
        /// See [`facts`].
        Facts,
        /// See [`joining`].
        Joining,
        /// See [`leadership`].
        Leadership,
        /// See [`ledger`].
        Ledger,
        /// See [`liveness`].
        Liveness,
        /// See [`moved`].
        Moved,
        /// See [`order`].
        Order,
        /// A server panicked.
        Panic,
        /// See [`replica`].
        Replica,
        /// A scenario's own expectations.
        Scenario,
        /// See [`session`].
        Session,
        /// The record that somebody waits for has come.
        Stop,
        /// See [`storage`].
        Storage,
        /// See [`tree`].
        Tree,
        /// See [`watch`].
        Watch,
        /// See [`wire`].
        Wire,
    }
}

impl Checker {
    /// The number that a process ends with because of what it found: a crash, no liveness, or no correctness.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Panic => 127,
            Self::Liveness => 128,
            Self::Application
            | Self::Chain
            | Self::Client
            | Self::Durability
            | Self::Election
            | Self::Epoch
            | Self::Facts
            | Self::Joining
            | Self::Leadership
            | Self::Ledger
            | Self::Moved
            | Self::Order
            | Self::Replica
            | Self::Scenario
            | Self::Session
            | Self::Stop
            | Self::Storage
            | Self::Tree
            | Self::Watch
            | Self::Wire => 129,
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// Something happened that must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub checker: Checker,
    /// What happened, and what should have.
    pub what: String,
}

impl Violation {
    /// A violation found by `checker`.
    pub fn new(checker: Checker, what: impl Into<String>) -> Self {
        Self { checker, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.what)
    }
}

/// Looks at records, one after the other.
pub trait Check: fmt::Debug {
    /// Looks at the next record. `facts` know it already.
    ///
    /// # Errors
    /// If it must not be.
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation>;
}

/// All checkers, and what they share.
#[derive(Debug)]
pub struct Judge {
    facts: Facts,
    checks: Vec<Box<dyn Check>>,
}

impl Judge {
    /// Every checker there is, for servers that expire sessions in steps of `tick` and belong to `ensemble`, or for
    /// one that stands alone. Leaders give up when nobody was heard of for `sync_limit`.
    pub fn new(tick: Duration, sync_limit: Duration, ensemble: Option<Membership>) -> Self {
        Self {
            facts: Facts::new(ensemble),
            checks: vec![
                Box::new(durability::Durability::default()),
                Box::new(replica::Replicas::default()),
                Box::new(election::Elections::default()),
                Box::new(epoch::Epochs::default()),
                Box::new(leadership::Leaderships::new(tick, sync_limit)),
                Box::new(ledger::Ledger::default()),
                Box::new(joining::Joining::default()),
                Box::new(tree::TreeEquality),
                Box::new(order::Order::default()),
                Box::new(session::Sessions::new(tick)),
                Box::new(watch::Watches::default()),
                Box::new(moved::Moves::default()),
                Box::new(liveness::Stops),
                Box::new(storage::Storage),
                Box::new(wire::Wires),
            ],
        }
    }

    /// Looks at the next record.
    ///
    /// # Errors
    /// What the first checker has against it.
    pub fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        self.facts.take(record)?;
        for check in &mut self.checks {
            check.observe(record, &self.facts)?;
        }
        Ok(())
    }

    /// What all checkers share.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The reference tree.
    pub const fn model(&self) -> &Model {
        self.facts.model()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Hand-made histories, for showing that a checker finds what it is there for.

    use std::rc::Rc;

    use zabra_core::time::WallTime;
    use zabra_core::types::{OpCode, SessionId, Zxid};

    use super::*;
    use crate::clock::SimTime;
    use crate::history::Observed;
    use crate::link::{ClientId, NodeId};
    use crate::op::{Answer, EventKind, Op};
    use crate::txnlog::Logged;

    pub const S: SessionId = SessionId(0x0100_0000_0000_0001);
    pub const NODE: NodeId = NodeId(0);
    pub const CLIENT: ClientId = ClientId(0);

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
            let judge = Judge::new(Duration::from_millis(100), Duration::ZERO, None);
            let mut story = Self { judge, at: SimTime::ZERO, result: Ok(()) };
            story.tell(Observed::Started { node: NODE, recovered: Zxid(0), mono: 0 });
            story.log(1, 0, OpCode::CREATE_SESSION, Some(4000));
            story.apply(1);
            story.tell(Observed::Touched { node: NODE, session: S, mono: 0 });
            story.connect(CLIENT, Zxid::ZERO);
            assert_eq!(story.result, Ok(()));
            story
        }

        /// A client connects with the session, and says up to where it has seen.
        pub fn connect(&mut self, client: ClientId, claimed: Zxid) {
            let resumed = claimed != Zxid::ZERO;
            self.tell(Observed::Connected { client, session: S, timeout_ms: 4000, resumed, claimed });
        }

        /// Servers of an ensemble, about whom nothing is known yet; the client's session may be opened.
        pub fn ensemble(count: usize) -> Self {
            let ensemble = crate::world::peers::membership(count, 0);
            let tick = Duration::from_millis(100);
            let judge = Judge::new(tick, tick * 3, Some(ensemble));
            Self { judge, at: SimTime::ZERO, result: Ok(()) }
        }

        /// A transaction in the log of one server: the begin of a session for each.
        pub fn log_at(&mut self, node: usize, epoch: u32, counter: u32) {
            let zxid = Zxid::new(epoch, counter);
            let record = Logged {
                zxid,
                session: SessionId(zxid.0),
                cxid: 0,
                time: WallTime(0),
                op: OpCode::CREATE_SESSION,
                error: None,
                timeout_ms: Some(4000),
                removes: None,
                checksum: 0,
            };
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
            let record = Logged {
                zxid: Zxid(zxid),
                session: S,
                cxid,
                time: WallTime(zxid * 10),
                op,
                error: None,
                timeout_ms,
                removes: None,
                checksum: 0,
            };
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

    pub fn create(path: &str) -> Op {
        let mode = crate::op::Mode::Persistent;
        let acl = zabra_core::types::AclList::OpenUnsafe;
        Op::Create { path: path.into(), data: b"x".to_vec(), mode, acl, with_stat: false }
    }

    pub fn set(path: &str) -> Op {
        Op::SetData { path: path.into(), data: b"y".to_vec(), version: -1 }
    }

    pub fn get(path: &str, watch: bool) -> Op {
        Op::GetData { path: path.into(), watch }
    }
}
