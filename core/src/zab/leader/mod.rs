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
use core::mem;
use core::time::Duration;

use bytes::Bytes;

pub use self::output::{LeaderOutput, StepDownReason};
use super::learners::{LearnerMaster, Learners, commit, send};
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
    learners: Learners,
    /// Whether this server's own word counts for histories and transactions.
    votes: bool,
    /// The newest transaction proposed; (epoch, 0) before the first.
    last_proposed: Zxid,
    last_counter: u32,
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
            learners: Learners::new(me, tick * config.init_limit, tick * config.sync_limit),
            votes: true,
            last_proposed: own.last_zxid,
            last_counter: config.last_counter,
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

    /// The newest transaction proposed; the beginning of the epoch before the first.
    pub const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// The learners that follow, as links and servers.
    pub fn followers(&self) -> impl Iterator<Item = (LinkId, ServerId)> + '_ {
        self.learners.following()
    }

    /// How many learners are connected, whatever they have come to.
    pub fn learner_count(&self) -> usize {
        self.learners.len()
    }

    /// The oldest position of a learner that is still being brought up to date.
    pub fn oldest_position(&self) -> Option<Zxid> {
        self.learners.oldest_position()
    }

    fn on_ack(&mut self, link: LinkId, zxid: Zxid, now: Instant) {
        let learner = self.learners.get_mut(link).expect("it has just spoken");
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
        let learner = self.learners.get_mut(link).expect("it has just spoken");
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
        let have = self.voices(|learner| learner.stage == Stage::Acknowledged && self.has_a_say(learner));
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
        for link in self.learners.in_stage(Stage::Acknowledged) {
            self.welcome(link, now);
        }
        if !leads {
            self.hand_over();
        }
    }

    /// Whether what a learner says counts in what the epoch begins with. Who observes may have a vote there: it comes as an
    /// observer as long as the change that gives it one is in force nowhere (PARITY `reconf.quorum`). One that learns from a
    /// follower (PARITY `obs.master`) has none here, nor with ZooKeeper, whose followers keep what their observers
    /// acknowledge to themselves. Where it is needed nobody follows yet; then no follower serves it, and it comes here.
    fn has_a_say(&self, learner: &Progress) -> bool {
        !learner.observer || learner.server.is_some_and(|server| self.gets_a_vote(server))
    }

    /// Whether a change that is to come gives the server a vote.
    fn gets_a_vote(&self, server: ServerId) -> bool {
        self.quorums.next().is_some_and(|next| next.is_voter(server))
    }

    /// The servers that are so and may have a vote, and this one if its word counts.
    fn voices(&self, is_there: impl Fn(&&Progress) -> bool) -> BTreeSet<ServerId> {
        let there = self.learners.values().filter(is_there);
        let own = Some(self.me).filter(|_| self.votes);
        there.filter_map(|learner| learner.server).chain(own).collect()
    }

    /// What this server goes by, its next start would not know: from here on its own word counts no more for the history
    /// of the epoch, or for what is proposed in it, than that of a learner that withholds its acknowledgement. It may
    /// lead those who are a quorum without it.
    ///
    /// Were it counted, it could crash, forget the members, and help those who never heard of them to a quorum of the
    /// members before: that could lack everybody else who has what was committed.
    pub const fn withhold(&mut self) {
        self.votes = false;
    }

    /// The servers that follow and may have a vote, and this one: what a new configuration needs a quorum of (PARITY
    /// `reconf.checks`).
    pub fn following(&self) -> BTreeSet<ServerId> {
        self.voices(|learner| learner.stage == Stage::Following && !learner.observer)
    }

    /// UPTODATE, and what was committed since NEWLEADER.
    fn welcome(&mut self, link: LinkId, now: Instant) {
        let Some(learner) = self.learners.welcome(link, now, &mut self.outputs) else { return };
        let mut told = learner.committed.max(beginning(self.epoch));
        while told < self.announced {
            told = told.next();
            let message = commit(told, self.activated.get(&told).copied());
            send(&mut self.outputs, link, message);
        }
        learner.committed = told;
    }

    /// The zxid of the next transaction; `None` where the epoch has none left (PARITY `zab.rollover`), or another server
    /// leads from here on: it is over.
    pub fn next_zxid(&mut self) -> Option<Zxid> {
        if matches!(self.phase, Phase::HandingOver | Phase::Over) {
            return None;
        }
        assert_eq!(self.phase, Phase::Broadcast, "only who leads proposes");
        if self.last_proposed.counter() >= self.last_counter {
            self.step_down(StepDownReason::EpochUsedUp);
            return None;
        }
        Some(self.last_proposed.next())
    }

    /// The transaction is in this server's log, on its way to the disk: everybody who votes is to log it.
    pub fn propose(&mut self, zxid: Zxid, txn: &Bytes) {
        assert_eq!(zxid, self.last_proposed.next(), "transactions are proposed in order");
        self.last_proposed = zxid;
        self.learners.propose(zxid, txn, &mut self.outputs);
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
            let Some(reached) = self.committable() else { return };
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

    /// What a quorum has, if that is more than what is committed.
    fn committable(&self) -> Option<Zxid> {
        let following = |learner: &&Progress| learner.stage == Stage::Following && !learner.observer;
        let followers = self.learners.values().filter(following);
        let acked = followers.filter_map(|learner| Some((learner.acked, learner.server?)));
        let own = Some((self.durable, self.me)).filter(|_| self.votes);
        let reached = self.quorums.committed(acked.chain(own).collect())?;
        let is_new = reached > self.committed && i64::from(reached.epoch()) == self.epoch;
        (is_new && !reached.begins_epoch()).then_some(reached)
    }

    /// The transaction is committed: tells the learners.
    pub fn announce_commit(&mut self, zxid: Zxid, txn: Option<&Bytes>) {
        self.announced = zxid;
        let designated = self.activated.get(&zxid).copied();
        self.learners.announce_commit(zxid, txn, designated, &mut self.outputs);
    }

    /// Says something to a learner, behind what it was told before.
    pub fn send(&mut self, link: LinkId, message: Message) {
        send(&mut self.outputs, link, message);
    }

    /// Whether any learner hears of commits by INFORM.
    pub fn has_observers(&self) -> bool {
        self.learners.has_observers()
    }

    /// Those who voted for it look for another one.
    pub fn give_up(&mut self) {
        self.step_down(StepDownReason::Doubted);
    }

    /// This server's disk does nothing, and nobody can propose anything for it. If the others have everything without
    /// this server, they can do without it, as far as this server knows: whether they reach each other it does not.
    pub fn make_way(&mut self) {
        let committed_without = self.committed == self.last_proposed && self.durable < self.committed;
        if self.phase == Phase::Broadcast && committed_without {
            self.step_down(StepDownReason::DiskHangs);
        }
    }

    fn step_down(&mut self, why: StepDownReason) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.outputs.push_back(LeaderOutput::StepDown { why });
    }
}

impl LearnerMaster for Leader {
    fn on_link_up(&mut self, link: LinkId, now: Instant) {
        self.learners.on_link_up(link, now, &mut self.outputs);
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.learners.on_link_down(link);
        self.end_handing_over();
    }

    fn on_message(&mut self, link: LinkId, message: Message, now: Instant) {
        if matches!(self.phase, Phase::HandingOver | Phase::Over) {
            return;
        }
        let Some(stage) = self.learners.heard(link, now) else { return };
        match (stage, message) {
            (Stage::Greeting, Message::FollowerInfo { accepted_epoch, info }) => {
                self.on_introduction(link, accepted_epoch, info, false);
            }
            (Stage::Greeting, Message::ObserverInfo { accepted_epoch, info }) => {
                self.on_introduction(link, accepted_epoch, info, true);
            }
            (Stage::Promising, Message::AckEpoch { last_zxid, current_epoch }) => {
                self.on_promise(link, last_zxid, current_epoch, now);
            }
            (Stage::Announced | Stage::Acknowledged | Stage::Following, Message::Ack { zxid }) => {
                self.on_ack(link, zxid, now);
            }
            (Stage::Following, Message::Ping { touched, .. }) => {
                self.on_pong(link);
                let message = Message::Ping { zxid: Zxid::ZERO, touched };
                self.learners.pass_on(link, message, &mut self.outputs);
            }
            (Stage::Following, message @ (Message::Request { .. } | Message::Revalidate { .. })) => {
                self.learners.pass_on(link, message, &mut self.outputs);
            }
            _ => self.hang_up(link, HangupReason::BadMessage),
        }
    }

    fn passes_over_unknown(&self, link: LinkId) -> bool {
        self.learners.pass_over_unknown(link)
    }

    fn on_drained(&mut self, link: LinkId, now: Instant) {
        let Some(learner) = self.learners.on_drained(link, now) else { return };
        // As long as somebody who counts comes closer, a quorum may still be on its way.
        let counts = !learner.observer && learner.server.is_some_and(|it| self.quorums.is_voter(it));
        if counts && self.phase == Phase::History {
            self.init_deadline = now + self.init_time;
        }
    }

    fn server_on(&self, link: LinkId) -> Option<ServerId> {
        self.learners.get(link)?.server
    }

    fn following_count(&self) -> usize {
        self.learners.following().count()
    }

    fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    fn on_sent(&mut self, link: LinkId, sent: Zxid) {
        self.learners.on_sent(link, sent);
    }

    fn on_caught_up(&mut self, link: LinkId, sent: Zxid, tail: &Tail, config: &Bytes) {
        let new_leader = Message::NewLeader { zxid: beginning(self.epoch), config: Some(config.clone()) };
        self.learners.catch_up(link, sent, self.announced, tail, new_leader, &mut self.outputs);
    }

    fn hang_up(&mut self, link: LinkId, why: HangupReason) {
        self.learners.hang_up(link, why, &mut self.outputs);
    }
}

/// The zxid that stands for the beginning of an epoch.
pub const fn beginning(epoch: i64) -> Zxid {
    Zxid(epoch << 32)
}
