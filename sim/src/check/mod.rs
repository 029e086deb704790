//! What must hold in every run. Each checker is a file that says what it checks and why, by the ids of
//! `docs/invariants.md`; who finds something is a [`Checker`].
//!
//! A [`Judge`] shows every record to the [`Facts`] that all of them share, and to every [`Check`] after that, so that a
//! failure stops the run at its cause. Two things are in no record: whether all have come to rest at the end, and whether
//! a server is busy for nothing. The world asks [`liveness`] about them.

pub mod attached;
pub mod by_request;
pub mod by_zxid;
pub mod chain;
pub mod configs;
pub mod confirmation;
pub mod durability;
pub mod election;
pub mod epoch;
pub mod facts;
pub mod joining;
mod leaders;
pub mod leadership;
pub mod ledger;
pub mod liveness;
pub mod members;
pub mod moved;
pub mod order;
pub mod relay;
pub mod replica;
pub mod report;
pub mod session;
pub mod snapshot;
pub mod stamps;
pub mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;
pub mod watch;
pub mod wire;

use std::fmt;
use std::time::Duration;

pub use facts::Facts;

use crate::history::Record;
use crate::model::Model;
use crate::places::NodeId;
use crate::roster::Roster;

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
    /// | `Client` | `client/account.rs`, `client/tap.rs` | the client machine does what it is asked to, tells what it is told, and says of itself what is so | C2, C11, C12, W2 |
    /// | `Confirmation` | `check/confirmation.rs` | what a leader may say only while a quorum follows | C8, S10 |
    /// | `Durability` | `check/durability.rs` | whatever anybody was told of stays | D1, D2, D3, D6, D9, P19 |
    /// | `Election` | `check/election.rs` | votes, and who follows whom because of them | P17 |
    /// | `Epoch` | `check/epoch.rs` | promises, histories and leaders of epochs | D1, D5, P1, P2 |
    /// | `Facts` | `check/facts.rs`, `check/stamps.rs` | every transaction was asked for, once, succeeds where the reference does, and bears the time of who ordered it | C6, C7, C10, D3, D6, P6, P7, P9, S1, S2, S6, S7, S11, T2, T4, T5, P19 |
    /// | `Joining` | `check/joining.rs` | how a learner is brought up to date, and when it serves | P14, P15 |
    /// | `Leadership` | `check/leadership.rs` | who leads is followed, by those who acknowledge | P16, P18 |
    /// | `Ledger` | `check/ledger` | every message of leader and learner against the disk of who sends it | D1, D5, D9, L5, P3, P4, P5, P10, P11, P12, P13, P15, P16, P19 |
    /// | `Liveness` | `check/liveness.rs` | rest, once all faults have stopped; nobody stops for no reason | D7, L1, L2, L3, L4, L5, L7, L8, T4 |
    /// | `Members` | `check/members.rs` | what is in force was agreed on | P19 |
    /// | `Moved` | `check/moved.rs`, `check/attached.rs` | a session has one place | S7 |
    /// | `Order` | `check/order.rs` | answers, against the reference | C1, C3, C4, C5, C6, C7, C8, C10, S10, T2, T3, T5 |
    /// | `Panic` | `world/process.rs` | what servers assert themselves | the core's own |
    /// | `Relay` | `check/relay.rs` | what learners pass on is done in its order | P21 |
    /// | `Replica` | `check/replica.rs` | every server applies the one history in its order | P6, P20 |
    /// | `Report` | `check/report.rs` | what learners report of sessions, and to whom they give them | S7, S9 |
    /// | `Scenario` | `picture/scene.rs` | what a scenario expects, for its picture | none |
    /// | `Session` | `check/session.rs` | sessions live as long as promised | S3, S4, S6, S9, S10, S11 |
    /// | `Stop` | `onlooker.rs` | the record that somebody waits for: not wrong, but the end of the run | none |
    /// | `Storage` | `check/storage.rs` | what is removed from a disk, and what does not get there | D8, D10 |
    /// | `Tree` | `check/tree.rs`, `check/snapshot.rs` | digests of trees, and what is in snapshots | C7, D3, D4, D6, S5, T1, T2, T3, T4 |
    /// | `Watch` | `check/watch.rs` | watch events | W1, W2, W3, W4, W5, W6, W7 |
    /// | `Wire` | `check/wire.rs`, `client/tap.rs` | what servers send can be read, and comes in turn | C2, P16, S8 |
    Checker {
        /// What an application of a trial says must not be.
        Application,
        /// See [`chain`].
        Chain,
        /// The client machine; see [`crate::client`].
        Client,
        /// See [`confirmation`].
        Confirmation,
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
        /// See [`members`].
        Members,
        /// See [`moved`].
        Moved,
        /// See [`order`].
        Order,
        /// A server panicked.
        Panic,
        /// See [`relay`].
        Relay,
        /// See [`replica`].
        Replica,
        /// See [`report`].
        Report,
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
            | Self::Confirmation
            | Self::Durability
            | Self::Election
            | Self::Epoch
            | Self::Facts
            | Self::Joining
            | Self::Leadership
            | Self::Ledger
            | Self::Members
            | Self::Moved
            | Self::Order
            | Self::Relay
            | Self::Replica
            | Self::Report
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
    /// It is always inlined: to find that a record means nothing takes less than a call, and there are many of both.
    ///
    /// # Errors
    /// If it must not be.
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation>;
}

/// All checkers, and what they share. They are no list of something that is called by its address: most records mean nothing
/// to most checkers, and the compiler sees here which.
#[derive(Debug)]
pub struct Judge {
    facts: Facts,
    durability: durability::Durability,
    replicas: replica::Replicas,
    reports: report::Reports,
    elections: election::Elections,
    epochs: epoch::Epochs,
    leaderships: leadership::Leaderships,
    ledger: ledger::Ledger,
    joining: joining::Joining,
    trees: tree::TreeEquality,
    order: order::Order,
    sessions: session::Sessions,
    watches: watch::Watches,
    members: members::Members,
    moves: moved::Moves,
    stops: liveness::Stops,
    storage: storage::Storage,
    wires: wire::Wires,
    relays: relay::Relays,
    confirmations: confirmation::Confirmations,
}

impl Judge {
    /// For servers whose logs are soon full, or not.
    #[must_use]
    pub const fn with_full_logs(mut self, full: bool) -> Self {
        self.sessions.defer(full);
        self
    }

    /// Every checker there is, for servers that expire sessions in steps of `tick`, give them no timeouts but between two,
    /// and belong to `ensemble`, or for one that stands alone. Leaders give up when nobody was heard of for `sync_limit`.
    pub fn new(
        tick: Duration,
        timeouts: (Duration, Duration),
        sync_limit: Duration,
        ensemble: Option<Roster>,
    ) -> Self {
        Self {
            facts: Facts::new(ensemble),
            durability: durability::Durability::default(),
            replicas: replica::Replicas::default(),
            reports: report::Reports::default(),
            elections: election::Elections::default(),
            epochs: epoch::Epochs::default(),
            leaderships: leadership::Leaderships::new(tick, sync_limit),
            ledger: ledger::Ledger::default(),
            joining: joining::Joining::default(),
            trees: tree::TreeEquality,
            order: order::Order::default(),
            sessions: session::Sessions::new(tick, timeouts),
            watches: watch::Watches::default(),
            members: members::Members::default(),
            moves: moved::Moves::default(),
            stops: liveness::Stops,
            storage: storage::Storage,
            wires: wire::Wires,
            relays: relay::Relays::default(),
            confirmations: confirmation::Confirmations::default(),
        }
    }

    /// Followers serve observers.
    pub const fn expect_observer_masters(&mut self) {
        self.facts.expect_observer_masters();
    }

    /// Looks at the next record.
    ///
    /// # Errors
    /// What the first checker has against it.
    pub fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        self.facts.take(record)?;
        let facts = &self.facts;
        self.durability.observe(record, facts)?;
        self.replicas.observe(record, facts)?;
        self.elections.observe(record, facts)?;
        self.epochs.observe(record, facts)?;
        self.leaderships.observe(record, facts)?;
        self.ledger.observe(record, facts)?;
        self.joining.observe(record, facts)?;
        self.trees.observe(record, facts)?;
        self.order.observe(record, facts)?;
        self.sessions.observe(record, facts)?;
        self.watches.observe(record, facts)?;
        self.members.observe(record, facts)?;
        self.moves.observe(record, facts)?;
        self.stops.observe(record, facts)?;
        self.storage.observe(record, facts)?;
        self.wires.observe(record, facts)?;
        self.relays.observe(record, facts)?;
        self.reports.observe(record, facts)?;
        self.confirmations.observe(record, facts)
    }

    /// Whether a quorum would have all that anybody relies on without what a server has, and all that it may have
    /// acknowledged to a leader that has yet to hear of it.
    pub fn is_spare(&self, node: NodeId) -> bool {
        self.facts.is_held_without(node, self.durability.relied_on().max(self.facts.durable(node)))
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
