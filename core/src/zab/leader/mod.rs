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
//!
//! | file | what happens there |
//! |---|---|
//! | `discovery` | up to an epoch and its history |
//! | `members` | a change of members, and who leads then |
//! | `liveness` | pings, and what is due |
//! | `output` | what is to be done |

mod discovery;
mod liveness;
mod members;
mod output;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

pub use self::output::{LeaderOutput, StepDownReason};
use self::output::{commit, inform};
use super::progress::{Progress, Stage};
use super::quorums::Quorums;
use super::tail::Tail;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{HangupReason, LinkId, Message, OwnHistory, ServerId, Zxid};

/// Where a leadership is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Epoch,
    SavingAccepted,
    Promises,
    SavingCurrent,
    History,
    Broadcast,
    /// A change of members made another server the leader: those who followed go to it, then this one does.
    HandingOver,
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Leader {
    me: ServerId,
    own: OwnHistory,
    tick: Duration,
    init_time: Duration,
    sync_time: Duration,
    quorums: Quorums,
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
    /// Somebody has acknowledged something since a quorum was last looked for.
    acks_came: bool,
    /// The last commit that learners were told of.
    announced: Zxid,
    /// Changes of members that were committed, and whom each made the leader: the last one, and those that a learner may
    /// have to be told of yet.
    activated: BTreeMap<Zxid, ServerId>,
    /// Rounds of confirmation: the number given last, and the newest one a quorum answered.
    round: u64,
    confirmed: u64,
    /// A ping is to go out now, because somebody waits for a confirmation.
    ping_wanted: bool,
    /// When a quorum must have come and caught up; while it hands over, when everybody must have gone.
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
        quorums: Quorums,
        own: OwnHistory,
        now: Instant,
    ) -> Self {
        let mut leader = Self {
            me,
            own,
            tick,
            init_time: tick * config.init_limit,
            sync_time: tick * config.sync_limit,
            quorums,
            phase: Phase::Epoch,
            epoch: own.accepted_epoch + 1,
            introduced: BTreeSet::from([me]),
            promised: BTreeSet::from([me]),
            learners: BTreeMap::new(),
            last_proposed: own.last_zxid,
            durable: own.last_zxid,
            committed: own.last_zxid,
            acks_came: false,
            announced: own.last_zxid,
            activated: BTreeMap::new(),
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
        self.end_handing_over();
    }

    /// A learner said something.
    pub fn on_message(&mut self, link: LinkId, message: Message, now: Instant) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if matches!(self.phase, Phase::HandingOver | Phase::Over) {
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

    fn in_stage(&self, stage: Stage) -> Vec<LinkId> {
        let there = self.learners.iter().filter(|(_, learner)| learner.stage == stage);
        there.map(|(&link, _)| link).collect()
    }

    fn set_stage(&mut self, link: LinkId, stage: Stage) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = stage;
        }
    }

    fn begin_sync(&mut self, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("it is in a stage");
        learner.stage = Stage::Synchronizing;
        learner.sent = learner.last_zxid;
        let last_zxid = learner.last_zxid;
        self.outputs.push_back(LeaderOutput::BeginSync { link, last_zxid });
    }

    /// The learner takes what it is sent: it has as long again for the rest, however much there is. Behind its
    /// acknowledgement there come only pings, of which it makes nothing.
    pub fn on_drained(&mut self, link: LinkId, now: Instant) {
        if let Some(learner) = self.learners.get_mut(&link)
            && matches!(learner.stage, Stage::Synchronizing | Stage::Announced)
        {
            learner.heard(now, self.init_time, self.sync_time);
            // As long as somebody who counts comes closer, a quorum may still be on its way.
            let counts = !learner.observer && learner.server.is_some_and(|it| self.quorums.is_voter(it));
            if counts && self.phase == Phase::History {
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

    /// The learner has been sent everything up to `sent`, all of which `tail` reaches back to: what is committed comes
    /// from there, then NEWLEADER, then what is not, and from now on it hears of everything at once (Java's
    /// `startForwarding`, which has NEWLEADER come last: with a change of members among what is not committed, learners
    /// would forget of that, or take it for committed). `config` is the configuration that the learner is to act by.
    pub fn on_caught_up(&mut self, link: LinkId, sent: Zxid, tail: &Tail, config: &Bytes) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        if learner.stage != Stage::Synchronizing {
            return;
        }
        assert!(sent >= tail.base(), "{sent} is behind what is in memory");
        learner.stage = Stage::Announced;
        learner.inherited = self.announced;
        learner.committed = self.announced;
        let observer = learner.observer;
        let mut send = |message| self.outputs.push_back(LeaderOutput::Send { link, message });
        for (zxid, txn) in tail.behind(sent).take_while(|&&(zxid, _)| zxid <= self.announced) {
            let (zxid, txn) = (*zxid, txn.clone());
            if observer {
                send(Message::Inform { zxid, txn });
            } else {
                send(Message::Proposal { zxid, txn });
                send(Message::Commit { zxid });
            }
        }
        send(Message::NewLeader { zxid: beginning(self.epoch), config: Some(config.clone()) });
        for (zxid, txn) in tail.behind(sent.max(self.announced)).filter(|_| !observer) {
            send(Message::Proposal { zxid: *zxid, txn: txn.clone() });
        }
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
        self.acks_came |= !learner.observer;
    }

    /// The learner has all durable that came before NEWLEADER.
    fn on_history_acked(&mut self, link: LinkId, now: Instant) {
        let learner = self.learners.get_mut(&link).expect("it has just spoken");
        learner.stage = Stage::Acknowledged;
        // It owes no acknowledgement of what came before NEWLEADER, of this epoch or not.
        learner.acked(learner.inherited.max(beginning(self.epoch)));
        if self.phase == Phase::Broadcast {
            self.welcome(link, now);
            // It may have acknowledged proposals of this epoch already, as one that did not count yet.
            self.acks_came = true;
        } else {
            self.count_histories(now);
        }
    }

    fn count_histories(&mut self, now: Instant) {
        if self.phase != Phase::History {
            return;
        }
        let have = self.voices(|stage| stage == Stage::Acknowledged);
        if !self.quorums.has_all(&have) {
            return;
        }
        self.phase = Phase::Broadcast;
        let leads = self.stays_leader();
        if self.quorums.next().is_some() {
            self.quorums.activate();
            self.outputs.push_back(LeaderOutput::Activate { designated: leads.then_some(self.me) });
        }
        if leads {
            self.outputs.push_back(LeaderOutput::Serve);
        }
        for link in self.in_stage(Stage::Acknowledged) {
            self.welcome(link, now);
        }
        if !leads {
            self.hand_over();
        }
    }

    /// The servers that are in such a stage and may have a vote, and this one.
    fn voices(&self, is_there: impl Fn(Stage) -> bool) -> BTreeSet<ServerId> {
        let there = self.learners.values().filter(|learner| !learner.observer && is_there(learner.stage));
        there.filter_map(|learner| learner.server).chain([self.me]).collect()
    }

    /// The servers that follow and may have a vote, and this one: what a new configuration needs a quorum of (PARITY
    /// `reconf.checks`).
    pub fn following(&self) -> BTreeSet<ServerId> {
        self.voices(|stage| stage == Stage::Following)
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
            let message = commit(told, self.activated.get(&told).copied());
            self.outputs.push_back(LeaderOutput::Send { link, message });
        }
        learner.committed = told;
    }

    /// The zxid of the next transaction; `None` where the epoch has none left, or another server leads from here on: it
    /// is over.
    pub fn next_zxid(&mut self) -> Option<Zxid> {
        if self.phase == Phase::HandingOver {
            return None;
        }
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
        self.acks_came = true;
    }

    /// Commits what a quorum has. Learners acknowledge transactions one by one, but many of them come at a time: they are
    /// counted once for all.
    fn commit_what_a_quorum_has(&mut self) {
        if !mem::take(&mut self.acks_came) {
            return;
        }
        while self.phase == Phase::Broadcast {
            let following = |learner: &&Progress| learner.stage == Stage::Following && !learner.observer;
            let followers = self.learners.values().filter(following);
            let acked = followers.filter_map(|learner| Some((learner.acked, learner.server?)));
            let acked = self.quorums.committed(acked.chain([(self.durable, self.me)]).collect());
            let Some(reached) = acked else { return };
            if reached <= self.committed || i64::from(reached.epoch()) != self.epoch || reached.counter() == 0
            {
                return;
            }
            let changes = self.quorums.next_from().filter(|&from| from <= reached);
            let zxid = changes.unwrap_or(reached);
            assert!(zxid > self.committed, "a change of members is committed once");
            assert!(zxid <= self.last_proposed, "committed before it was proposed");
            self.committed = zxid;
            self.outputs.push_back(LeaderOutput::Commit { zxid });
            if changes.is_none() {
                return;
            }
            self.activate(zxid);
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
            let designated = self.activated.get(&zxid).copied();
            let message = match (learner.observer, txn) {
                (true, Some(txn)) => inform(zxid, designated, txn.clone()),
                (true, None) => continue,
                (false, _) if learner.stage != Stage::Following || zxid <= learner.committed => continue,
                (false, _) => {
                    learner.committed = zxid;
                    commit(zxid, designated)
                }
            };
            self.outputs.push_back(LeaderOutput::Send { link, message });
        }
    }

    /// Whether any learner hears of commits by INFORM.
    pub fn has_observers(&self) -> bool {
        self.learners.values().any(|learner| learner.observer && learner.is_told())
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
