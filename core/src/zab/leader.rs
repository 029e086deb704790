//! Leading: an epoch of its own, learners brought into it, proposals counted and committed.
//!
//! ```text
//!          a quorum says             durable         a quorum             durable         a quorum has
//!          what it promised                          promises                             the history
//!   Epoch ────────────────▶ SavingAccepted ─▶ Promises ───▶ SavingCurrent ─────▶ History ────────────▶ Broadcast
//!     └───────────────────────────┴─── no quorum within initLimit, or somebody knows more ───┘             │
//!                                                 │                                                        │ no quorum
//!                                                 ▼                                                        ▼ is heard
//!                                              StepDown ◀─────────────────────────────────────────────────────
//! ```
//!
//! An acknowledgement counts for the link it came on, and a link belongs to one leadership: nothing that a server
//! acknowledged to an earlier leader, or to this server in an earlier epoch, is ever counted. What a learner has
//! acknowledged is one number, for it logs in order; what is committed is the newest transaction that a quorum's numbers
//! have reached, in this epoch, so that transactions commit in order, too.
//!
//! Observers are learners whose word counts nowhere.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::progress::{Progress, Stage};
use super::tail::Tail;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{HangupReason, LearnerInfo, LinkId, Membership, Message, ServerId, Zxid};

/// The version of the protocol that is spoken (Zab 1.0, since ZooKeeper 3.4).
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// Where a leadership is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Epoch,
    SavingAccepted,
    Promises,
    SavingCurrent,
    History,
    Broadcast,
    Over,
}

/// Why a leader gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDownReason {
    /// Those who voted for it look for another one.
    Doubted,
    /// A voter has promised itself to a later epoch than this one.
    EpochOvertaken,
    /// The epoch has no zxids left; the next one begins with an election (PARITY `zab.rollover`).
    EpochUsedUp,
    /// A voter has a history that this server has not.
    FollowerAhead,
    /// No quorum came, or caught up, within `initLimit`.
    NoQuorumInTime,
    /// Too few voters were heard from within `syncLimit`.
    QuorumLost,
}

/// What a leader wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderOutput {
    /// Bring the learner up to date from its last transaction, then say so by [`Leader::on_caught_up`].
    BeginSync {
        /// Which.
        link: LinkId,
        /// The last transaction in its log.
        last_zxid: Zxid,
    },
    /// A quorum has everything up to here.
    Commit {
        /// The last one.
        zxid: Zxid,
    },
    /// A quorum still followed when [`Leader::confirm`] gave this number, or later.
    Confirmed {
        /// The number.
        round: u64,
    },
    /// Close a link.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why.
        why: HangupReason,
    },
    /// A learner asks for something that is not the protocol's own business: a request, a session.
    Learner {
        /// On which link.
        link: LinkId,
        /// Which server it is.
        server: ServerId,
        /// What it says.
        message: Message,
    },
    /// Make `acceptedEpoch` durable, then call [`Leader::on_accepted_saved`].
    SaveAccepted {
        /// The epoch.
        epoch: i64,
    },
    /// Make `currentEpoch` durable, then call [`Leader::on_current_saved`].
    SaveCurrent {
        /// The epoch.
        epoch: i64,
    },
    /// Say something to a learner.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// A quorum has the history that this epoch begins with: serve clients.
    Serve,
    /// It is over. Nothing follows.
    StepDown {
        /// Why.
        why: StepDownReason,
    },
}

/// What a server brings into an epoch.
#[derive(Clone, Copy, Debug)]
pub struct OwnHistory {
    /// The epoch it has promised itself to.
    pub accepted_epoch: i64,
    /// The epoch of its history.
    pub current_epoch: i64,
    /// The last transaction in its log, all of which is durable.
    pub last_zxid: Zxid,
}

/// See the module.
#[derive(Debug)]
pub struct Leader {
    me: ServerId,
    own: OwnHistory,
    tick: Duration,
    init_time: Duration,
    sync_time: Duration,
    membership: Membership,
    phase: Phase,
    /// The epoch proposed; before that is decided, one more than everything promised so far.
    epoch: i64,
    /// Voters that said what they had promised, this server among them.
    introduced: BTreeSet<ServerId>,
    /// Voters that promised to follow nobody of an earlier epoch.
    promised: BTreeSet<ServerId>,
    learners: BTreeMap<LinkId, Progress>,
    /// The newest transaction proposed; (epoch, 0) before the first.
    last_proposed: Zxid,
    /// What this server's own log has durable.
    durable: Zxid,
    committed: Zxid,
    /// The last commit that learners were told of.
    announced: Zxid,
    /// Rounds of confirmation: the number given last, and the newest one a quorum answered.
    round: u64,
    confirmed: u64,
    /// A ping is to go out now, because somebody waits for a confirmation.
    ping_wanted: bool,
    init_deadline: Instant,
    next_ping: Instant,
    next_check: Instant,
    outputs: VecDeque<LeaderOutput>,
}

impl Leader {
    /// Begins to lead: elected, but with nobody's promise yet.
    pub fn new(
        me: ServerId,
        tick: Duration,
        config: &EnsembleConfig,
        membership: Membership,
        own: OwnHistory,
        now: Instant,
    ) -> Self {
        let mut leader = Self {
            me,
            own,
            tick,
            init_time: tick * config.init_limit,
            sync_time: tick * config.sync_limit,
            membership,
            phase: Phase::Epoch,
            epoch: own.accepted_epoch + 1,
            introduced: BTreeSet::from([me]),
            promised: BTreeSet::from([me]),
            learners: BTreeMap::new(),
            last_proposed: own.last_zxid,
            durable: own.last_zxid,
            committed: own.last_zxid,
            announced: own.last_zxid,
            round: 0,
            confirmed: 0,
            ping_wanted: false,
            init_deadline: now + tick * config.init_limit,
            next_ping: now + tick / 2,
            next_check: now + tick,
            outputs: VecDeque::new(),
        };
        leader.decide_epoch();
        leader
    }

    /// What is to be done next, if anything: call until `None`.
    pub fn poll_output(&mut self) -> Option<LeaderOutput> {
        self.outputs.pop_front()
    }

    /// The epoch it leads, or means to.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    /// The newest transaction proposed; the beginning of the epoch before the first.
    pub const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// The learners that follow, as links and servers.
    pub fn followers(&self) -> impl Iterator<Item = (LinkId, ServerId)> + '_ {
        let following = self.learners.iter().filter(|(_, learner)| learner.stage == Stage::Following);
        following.filter_map(|(&link, learner)| Some((link, learner.server?)))
    }

    /// Who is at the other end of a link, if it has said so.
    pub fn server_on(&self, link: LinkId) -> Option<ServerId> {
        self.learners.get(&link)?.server
    }

    /// How many learners are connected, whatever they have come to.
    pub fn learner_count(&self) -> usize {
        self.learners.len()
    }

    /// The oldest position of a learner that is still being brought up to date.
    pub fn oldest_position(&self) -> Option<Zxid> {
        self.learners.values().filter_map(Progress::position).min()
    }

    /// Somebody connected to the quorum port.
    pub fn on_link_up(&mut self, link: LinkId, now: Instant) {
        self.learners.insert(link, Progress::new(now + self.init_time));
    }

    /// A learner is gone.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.learners.remove(&link);
    }

    /// A learner said something.
    pub fn on_message(&mut self, link: LinkId, message: Message, now: Instant) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if self.phase == Phase::Over {
            return;
        }
        learner.heard(now, self.init_time, self.sync_time);
        match (learner.stage, message) {
            (Stage::Greeting, Message::FollowerInfo { accepted_epoch, info }) => {
                self.on_introduction(link, accepted_epoch, info, false);
            }
            (Stage::Greeting, Message::ObserverInfo { accepted_epoch, info }) => {
                self.on_introduction(link, accepted_epoch, info, true);
            }
            (Stage::Promising, Message::AckEpoch { last_zxid, current_epoch }) => {
                self.on_promise(link, last_zxid, current_epoch);
            }
            (Stage::Announced | Stage::Acknowledged | Stage::Following, Message::Ack { zxid }) => {
                self.on_ack(link, zxid, now);
            }
            (Stage::Following, Message::Ping { touched, .. }) => {
                self.on_pong(link);
                let message = Message::Ping { zxid: Zxid::ZERO, touched };
                self.pass_on(link, message);
            }
            (Stage::Following, message @ (Message::Request { .. } | Message::Revalidate { .. })) => {
                self.pass_on(link, message);
            }
            _ => self.hang_up(link, HangupReason::BadMessage),
        }
    }

    fn pass_on(&mut self, link: LinkId, message: Message) {
        if let Some(server) = self.learners.get(&link).and_then(|learner| learner.server) {
            self.outputs.push_back(LeaderOutput::Learner { link, server, message });
        }
    }

    /// FOLLOWERINFO or OBSERVERINFO (PARITY `sync.newepoch`, `sync.configversion`).
    fn on_introduction(&mut self, link: LinkId, accepted_epoch: i64, info: LearnerInfo, observer: bool) {
        let voter = !observer && info.server.is_some_and(|server| self.membership.is_voter(server));
        let Some(server) = info.server.filter(|&server| server != self.me) else {
            return self.hang_up(link, HangupReason::Unwanted);
        };
        // Learners of before Zab 1.0 know neither LEADERINFO nor NEWLEADER's acknowledgement.
        if info.protocol_version < PROTOCOL_VERSION || info.config_version > self.membership.version() {
            return self.hang_up(link, HangupReason::Unwanted);
        }
        let older = self.learners.iter().find(|(id, other)| **id != link && other.server == Some(server));
        if let Some(older) = older.map(|(&id, _)| id) {
            self.hang_up(older, HangupReason::Duplicate);
        }
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        learner.server = Some(server);
        learner.voter = voter;
        learner.observer = observer;
        learner.stage = Stage::Waiting;
        match self.phase {
            Phase::Epoch if voter => {
                self.epoch = self.epoch.max(accepted_epoch + 1);
                self.introduced.insert(server);
                self.decide_epoch();
            }
            // The epoch may still grow beyond what it has promised; if not, it will say so itself.
            Phase::Epoch => {}
            Phase::SavingAccepted if accepted_epoch <= self.epoch => {}
            Phase::Promises | Phase::SavingCurrent | Phase::History | Phase::Broadcast
                if accepted_epoch <= self.epoch =>
            {
                self.send_leader_info(link);
            }
            // It could never follow in this epoch, nor would any number of tries change that.
            _ if voter => self.step_down(StepDownReason::EpochOvertaken),
            _ => self.hang_up(link, HangupReason::Unwanted),
        }
    }

    fn decide_epoch(&mut self) {
        if self.phase == Phase::Epoch && self.membership.has_quorum(&self.introduced) {
            self.phase = Phase::SavingAccepted;
            self.outputs.push_back(LeaderOutput::SaveAccepted { epoch: self.epoch });
        }
    }

    /// `acceptedEpoch` is durable: the epoch may be proposed.
    pub fn on_accepted_saved(&mut self) {
        if self.phase != Phase::SavingAccepted {
            return;
        }
        self.phase = Phase::Promises;
        let waiting: Vec<LinkId> = self.in_stage(Stage::Waiting);
        for link in waiting {
            self.send_leader_info(link);
        }
        self.count_promises();
    }

    fn in_stage(&self, stage: Stage) -> Vec<LinkId> {
        let there = self.learners.iter().filter(|(_, learner)| learner.stage == stage);
        there.map(|(&link, _)| link).collect()
    }

    fn send_leader_info(&mut self, link: LinkId) {
        self.set_stage(link, Stage::Promising);
        let message = Message::LeaderInfo { epoch: self.epoch, protocol_version: PROTOCOL_VERSION };
        self.outputs.push_back(LeaderOutput::Send { link, message });
    }

    fn set_stage(&mut self, link: LinkId, stage: Stage) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = stage;
        }
    }

    /// ACKEPOCH (PARITY `quorum.ackepoch`, `sync.ackepoch-check`).
    fn on_promise(&mut self, link: LinkId, last_zxid: Zxid, current_epoch: i32) {
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        learner.last_zxid = last_zxid;
        learner.stage = Stage::Promised;
        let (voter, server) = (learner.voter, learner.server);
        if self.phase != Phase::Promises {
            // What a latecomer has more than a quorum was never committed.
            if matches!(self.phase, Phase::History | Phase::Broadcast) {
                self.begin_sync(link);
            }
            return;
        }
        // -1: it had promised this epoch before, to whoever led it, and cannot promise it twice.
        if current_epoch == -1 {
            return;
        }
        let theirs = (i64::from(current_epoch), last_zxid);
        if theirs > (self.own.current_epoch, self.own.last_zxid) {
            return self.step_down(StepDownReason::FollowerAhead);
        }
        if let Some(server) = server
            && voter
        {
            self.promised.insert(server);
            self.count_promises();
        }
    }

    fn count_promises(&mut self) {
        if self.phase == Phase::Promises && self.membership.has_quorum(&self.promised) {
            self.phase = Phase::SavingCurrent;
            self.outputs.push_back(LeaderOutput::SaveCurrent { epoch: self.epoch });
        }
    }

    /// `currentEpoch` is durable: this server's history is the epoch's.
    pub fn on_current_saved(&mut self, now: Instant) {
        if self.phase != Phase::SavingCurrent {
            return;
        }
        self.phase = Phase::History;
        self.init_deadline = now + self.init_time;
        self.last_proposed = beginning(self.epoch);
        for link in self.in_stage(Stage::Promised) {
            self.begin_sync(link);
        }
        self.count_histories(now);
    }

    fn begin_sync(&mut self, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("it is in a stage");
        learner.stage = Stage::Synchronizing;
        learner.sent = learner.last_zxid;
        let last_zxid = learner.last_zxid;
        self.outputs.push_back(LeaderOutput::BeginSync { link, last_zxid });
    }

    /// The learner takes what it is sent: it has as long again for the rest, however much there is.
    pub fn on_drained(&mut self, link: LinkId, now: Instant) {
        if let Some(learner) = self.learners.get_mut(&link)
            && learner.stage >= Stage::Synchronizing
            && learner.stage < Stage::Following
        {
            learner.heard(now, self.init_time, self.sync_time);
            // As long as somebody who counts comes closer, a quorum may still be on its way.
            if learner.voter && self.phase == Phase::History {
                self.init_deadline = now + self.init_time;
            }
        }
    }

    /// Everything up to `sent` is on its way to the learner, in whatever form.
    pub fn on_sent(&mut self, link: LinkId, sent: Zxid) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.sent = sent;
        }
    }

    /// The learner has been sent everything up to `sent`, all of which `tail` reaches back to: the rest comes from
    /// there, then NEWLEADER, and from now on it hears of everything at once (Java's `startForwarding`).
    pub fn on_caught_up(&mut self, link: LinkId, sent: Zxid, tail: &Tail, config: &Bytes) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if learner.stage != Stage::Synchronizing {
            return;
        }
        assert!(sent >= tail.base(), "{sent} is behind what is in memory");
        for (zxid, txn) in tail.behind(sent) {
            let (zxid, txn) = (*zxid, txn.clone());
            let committed = zxid <= self.committed;
            if learner.observer {
                if committed {
                    let message = Message::Inform { zxid, txn };
                    self.outputs.push_back(LeaderOutput::Send { link, message });
                }
                continue;
            }
            self.outputs.push_back(LeaderOutput::Send { link, message: Message::Proposal { zxid, txn } });
            if committed {
                self.outputs.push_back(LeaderOutput::Send { link, message: Message::Commit { zxid } });
            }
        }
        learner.committed = self.committed;
        learner.stage = Stage::Announced;
        let message = Message::NewLeader { zxid: beginning(self.epoch), config: Some(config.clone()) };
        self.outputs.push_back(LeaderOutput::Send { link, message });
    }

    fn on_ack(&mut self, link: LinkId, zxid: Zxid, now: Instant) {
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        if zxid > self.last_proposed {
            return self.hang_up(link, HangupReason::BadMessage);
        }
        if zxid == beginning(self.epoch) {
            // Behind UPTODATE learners acknowledge the beginning of the epoch once more.
            if learner.stage == Stage::Announced {
                self.on_history_acked(link, now);
            }
            return;
        }
        // Learners of ZooKeeper 3.8 log what they were brought up to date with while they answer NEWLEADER, and
        // acknowledge it like proposals, before or behind that answer. Of earlier epochs that says nothing: the answer
        // covers it.
        if i64::from(zxid.epoch()) != self.epoch {
            return;
        }
        learner.acked(zxid);
        if learner.voter {
            self.commit_what_a_quorum_has();
        }
    }

    /// The learner has all durable that came before NEWLEADER.
    fn on_history_acked(&mut self, link: LinkId, now: Instant) {
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        learner.stage = Stage::Acknowledged;
        learner.acked(beginning(self.epoch));
        if self.phase == Phase::Broadcast {
            self.welcome(link, now);
            // It may have acknowledged proposals of this epoch already, as one that did not count yet.
            self.commit_what_a_quorum_has();
        } else {
            self.count_histories(now);
        }
    }

    fn count_histories(&mut self, now: Instant) {
        if self.phase != Phase::History {
            return;
        }
        let acknowledged = |learner: &&Progress| learner.stage == Stage::Acknowledged && learner.voter;
        let voters = self.learners.values().filter(acknowledged).filter_map(|learner| learner.server);
        let have: BTreeSet<ServerId> = voters.chain([self.me]).collect();
        if !self.membership.has_quorum(&have) {
            return;
        }
        self.phase = Phase::Broadcast;
        self.outputs.push_back(LeaderOutput::Serve);
        for link in self.in_stage(Stage::Acknowledged) {
            self.welcome(link, now);
        }
    }

    /// UPTODATE, and what was committed since NEWLEADER.
    fn welcome(&mut self, link: LinkId, now: Instant) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        learner.stage = Stage::Following;
        learner.heard(now, self.init_time, self.sync_time);
        self.outputs.push_back(LeaderOutput::Send { link, message: Message::UpToDate });
        if learner.observer {
            return;
        }
        let mut told = learner.committed.max(beginning(self.epoch));
        while told < self.announced {
            told = told.next();
            self.outputs.push_back(LeaderOutput::Send { link, message: Message::Commit { zxid: told } });
        }
        learner.committed = told;
    }

    /// The zxid of the next transaction; `None` where the epoch has none left: it is over.
    pub fn next_zxid(&mut self) -> Option<Zxid> {
        assert_eq!(self.phase, Phase::Broadcast, "only who leads proposes");
        if self.last_proposed.counter() == u32::MAX {
            self.step_down(StepDownReason::EpochUsedUp);
            return None;
        }
        Some(self.last_proposed.next())
    }

    /// The transaction is in this server's log, on its way to the disk: everybody who votes is to log it.
    pub fn propose(&mut self, zxid: Zxid, txn: &Bytes) {
        assert_eq!(zxid, self.last_proposed.next(), "transactions are proposed in order");
        self.last_proposed = zxid;
        for (&link, learner) in &mut self.learners {
            if learner.is_told() && !learner.observer {
                let message = Message::Proposal { zxid, txn: txn.clone() };
                self.outputs.push_back(LeaderOutput::Send { link, message });
            }
        }
    }

    /// This server's own log is durable up to here.
    pub fn on_durable(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid);
        self.commit_what_a_quorum_has();
    }

    fn commit_what_a_quorum_has(&mut self) {
        if self.phase != Phase::Broadcast {
            return;
        }
        let following = |learner: &&Progress| learner.stage == Stage::Following && learner.voter;
        let followers = self.learners.values().filter(following);
        let acked = followers.filter_map(|learner| Some((learner.acked, learner.server?)));
        let mut acked: Vec<(Zxid, ServerId)> = acked.chain([(self.durable, self.me)]).collect();
        acked.sort_unstable_by(|one, other| other.cmp(one));
        let mut have = BTreeSet::new();
        let reached = acked.into_iter().find_map(|(zxid, server)| {
            have.insert(server);
            self.membership.has_quorum(&have).then_some(zxid)
        });
        // The beginning of the epoch, which learners acknowledge first, is no transaction.
        if let Some(zxid) = reached
            && zxid > self.committed
            && zxid > beginning(self.epoch)
        {
            assert!(zxid <= self.last_proposed, "committed before it was proposed");
            self.committed = zxid;
            self.outputs.push_back(LeaderOutput::Commit { zxid });
        }
    }

    /// The transaction is committed: tells the learners.
    ///
    /// A voter that has not answered NEWLEADER hears of it behind UPTODATE: ZooKeeper 3.8.0 leaves its leader when a
    /// COMMIT between the two is for a proposal of before (ZOOKEEPER-4394), which under load is in every try.
    pub fn announce_commit(&mut self, zxid: Zxid, txn: Option<&Bytes>) {
        self.announced = zxid;
        for (&link, learner) in &mut self.learners {
            if !learner.is_told() {
                continue;
            }
            let message = match (learner.observer, txn) {
                (true, Some(txn)) => Message::Inform { zxid, txn: txn.clone() },
                (true, None) => continue,
                (false, _) if learner.stage != Stage::Following || zxid <= learner.committed => continue,
                (false, _) => {
                    learner.committed = zxid;
                    Message::Commit { zxid }
                }
            };
            self.outputs.push_back(LeaderOutput::Send { link, message });
        }
    }

    /// Whether any learner hears of commits by INFORM.
    pub fn has_observers(&self) -> bool {
        self.learners.values().any(|learner| learner.observer && learner.is_told())
    }

    /// Asks whether a quorum still follows. [`LeaderOutput::Confirmed`] answers, with this number or a later one.
    pub const fn confirm(&mut self) -> u64 {
        // A round that has not begun covers everybody who asks until it does.
        if !self.ping_wanted {
            self.ping_wanted = true;
            self.round += 1;
        }
        self.round
    }

    fn on_pong(&mut self, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        if learner.pings.is_empty() {
            return self.hang_up(link, HangupReason::BadMessage);
        }
        learner.answered();
        self.count_confirmations();
    }

    fn count_confirmations(&mut self) {
        if self.confirmed == self.round || self.phase != Phase::Broadcast {
            return;
        }
        let following = |learner: &&Progress| learner.stage == Stage::Following && learner.voter;
        let mut rounds: Vec<(u64, ServerId)> = self
            .learners
            .values()
            .filter(following)
            .filter_map(|learner| Some((learner.confirmed, learner.server?)))
            .collect();
        // Of itself it knows that it leads.
        rounds.push((self.round - u64::from(self.ping_wanted), self.me));
        rounds.sort_unstable_by(|one, other| other.cmp(one));
        let mut have = BTreeSet::new();
        let reached = rounds.into_iter().find_map(|(round, server)| {
            have.insert(server);
            self.membership.has_quorum(&have).then_some(round)
        });
        if let Some(round) = reached
            && round > self.confirmed
        {
            self.confirmed = round;
            self.outputs.push_back(LeaderOutput::Confirmed { round });
        }
    }

    /// Sends what waited for the others of this turn: pings that somebody waits for.
    pub fn flush(&mut self) {
        if self.ping_wanted && self.phase == Phase::Broadcast {
            self.ping_wanted = false;
            self.ping();
            self.count_confirmations();
        }
    }

    fn ping(&mut self) {
        let round = self.round - u64::from(self.ping_wanted);
        for (&link, learner) in &mut self.learners {
            // Before UPTODATE learners answer none. But they hear that their leader is there, and wait for the others.
            if learner.stage == Stage::Following {
                learner.pings.push_back(round);
            }
            if learner.is_told() {
                let message = Message::Ping { zxid: self.last_proposed, touched: None };
                self.outputs.push_back(LeaderOutput::Send { link, message });
            }
        }
    }

    /// When [`Leader::on_tick`] is next worth calling.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Over => None,
            Phase::Broadcast => Some(self.next_ping.min(self.next_check)),
            _ => Some(self.next_ping.min(self.init_deadline)),
        }
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        if self.phase != Phase::Broadcast && now >= self.init_deadline {
            return self.step_down(StepDownReason::NoQuorumInTime);
        }
        if now >= self.next_ping {
            self.next_ping = now + self.tick / 2;
            self.drop_silent(now);
            for learner in self.learners.values_mut() {
                learner.watch_acks(self.last_proposed, now + self.sync_time);
            }
            self.ping();
        }
        if self.phase == Phase::Broadcast && now >= self.next_check {
            self.next_check = now + self.tick;
            if !self.is_followed() {
                self.step_down(StepDownReason::QuorumLost);
            }
        }
    }

    /// Learners that said nothing, or acknowledged nothing, for too long (PARITY `zab.synclimit`).
    fn drop_silent(&mut self, now: Instant) {
        let late = self.learners.iter().filter(|(_, learner)| learner.is_late(now));
        for link in late.map(|(&link, _)| link).collect::<Vec<_>>() {
            self.hang_up(link, HangupReason::Timeout);
        }
    }

    fn is_followed(&self) -> bool {
        let following = |learner: &&Progress| learner.stage == Stage::Following && learner.voter;
        let voters = self.learners.values().filter(following).filter_map(|learner| learner.server);
        self.membership.has_quorum(&voters.chain([self.me]).collect())
    }

    /// Closes the link to a learner. It may come back.
    pub fn hang_up(&mut self, link: LinkId, why: HangupReason) {
        if self.learners.remove(&link).is_some() {
            self.outputs.push_back(LeaderOutput::Hangup { link, why });
        }
    }

    /// Those who voted for it look for another one.
    pub fn give_up(&mut self) {
        self.step_down(StepDownReason::Doubted);
    }

    fn step_down(&mut self, why: StepDownReason) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.outputs.push_back(LeaderOutput::StepDown { why });
    }
}

/// The zxid that stands for the beginning of an epoch.
pub const fn beginning(epoch: i64) -> Zxid {
    Zxid(epoch << 32)
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
