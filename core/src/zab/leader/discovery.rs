//! From elected to an epoch: what voters promised, what the epoch is, and whose history it begins with (PARITY
//! `sync.newepoch`, `sync.ackepoch-check`).

use super::{Leader, LeaderOutput, Phase, StepDownReason, beginning};
use crate::time::Instant;
use crate::types::{EPOCHS, HangupReason, LearnerInfo, LinkId, Message, Zxid};
use crate::zab::LearnerMaster;
use crate::zab::progress::Stage;

/// How many more epochs than a leader another server may have promised: one packet from nowhere, or a few, must not use up
/// all there are.
///
/// Nobody who is honest is ahead by as many. Whose history is of a later epoch than a leader's is not led by it; so what
/// it is ahead by are epochs that it promised without ever coming into one, in a row, while the leader was away. Each
/// took an election, of some tenths of a second at the least: that is a month and more of nothing else.
const AHEAD_MAX: i64 = 1 << 24;

/// How many more that may be for a leader that serves to make room for it: a quorum is with that leader, so those epochs are
/// of the short while in which it had none, a few of them at most. Who says more is broken, or no voter at all, and comes
/// in at the next election if it is honest. ZooKeeper's leaders stay in any case, and leave such a voter outside until
/// then; here it need not wait for a leader to fail, of which the ensemble could bear one less without it.
const AHEAD_OF_SERVING_MAX: i64 = 1 << 10;

impl Leader {
    /// FOLLOWERINFO or OBSERVERINFO (PARITY `sync.newepoch`, `sync.configversion`).
    pub(super) fn on_introduction(
        &mut self,
        link: LinkId,
        accepted_epoch: i64,
        info: LearnerInfo,
        observer: bool,
    ) {
        let credible = EPOCHS.start..(self.own.accepted_epoch + AHEAD_MAX).min(EPOCHS.end - 1);
        if !credible.contains(&accepted_epoch) {
            return self.hang_up(link, HangupReason::BadMessage);
        }
        let has_a_say = |server| !observer || self.gets_a_vote(server);
        let voter = info.server.is_some_and(|server| self.quorums.is_voter(server) && has_a_say(server));
        let version = self.quorums.current().version();
        let outputs = &mut self.outputs;
        let Some(server) = self.learners.introduce(link, info, observer, version, outputs) else { return };
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
            _ if voter && self.gives_way_to(accepted_epoch) => {
                self.step_down(StepDownReason::EpochOvertaken { promised: accepted_epoch });
            }
            _ => self.hang_up(link, HangupReason::Unwanted),
        }
    }

    /// Whether a later epoch that a voter has promised is worth ending this one.
    fn gives_way_to(&self, accepted_epoch: i64) -> bool {
        self.phase < Phase::Broadcast || accepted_epoch - self.epoch <= AHEAD_OF_SERVING_MAX
    }

    /// A voter is known to have promised this epoch: the one that begins is to be later, though that voter may say so too
    /// late again.
    pub fn begin_above(&mut self, promised: i64) {
        if self.phase == Phase::Epoch {
            self.epoch = self.epoch.max(promised + 1);
        }
    }

    pub(super) fn decide_epoch(&mut self) {
        if self.phase == Phase::Epoch && self.quorums.has_all(&self.introduced) {
            if !EPOCHS.contains(&self.epoch) {
                return self.step_down(StepDownReason::EpochUsedUp);
            }
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
        for link in self.learners.in_stage(Stage::Waiting) {
            self.send_leader_info(link);
        }
        self.count_promises();
    }

    /// A learner whose promise counts for nothing hears of the epoch once a quorum has promised it. Else, where the epoch
    /// comes to nothing, it may have promised a later one than the quorum, and could follow no leader of theirs until they
    /// have got as far themselves: for a voter a leader gives way, but not for an observer.
    fn send_leader_info(&mut self, link: LinkId) {
        let is_voter = |server| self.quorums.is_voter(server);
        let counts = self
            .learners
            .get(link)
            .is_some_and(|learner| learner.server.is_some_and(is_voter) && self.has_a_say(learner));
        if self.phase < Phase::History && !counts {
            return;
        }
        self.learners.send_leader_info(link, self.epoch, &mut self.outputs);
    }

    /// ACKEPOCH (PARITY `quorum.ackepoch`, `sync.ackepoch-check`).
    pub(super) fn on_promise(&mut self, link: LinkId, last_zxid: Zxid, current_epoch: i32, now: Instant) {
        let learner = self.learners.get_mut(link).expect("it has just spoken");
        learner.last_zxid = last_zxid;
        learner.stage = Stage::Promised;
        let server = learner.server;
        if self.phase != Phase::Promises {
            // What a latecomer has more than a quorum was never committed.
            if matches!(self.phase, Phase::History | Phase::Broadcast) {
                self.learners.begin_sync(link, now, &mut self.outputs);
            }
            return;
        }
        // ZooKeeper's members say that they cannot tell what they had logged by a zxid of -1.
        if current_epoch == Message::UNCOUNTED || last_zxid == Zxid::UNKNOWN {
            return;
        }
        // Only a voter's history says what a quorum may rely on. ZooKeeper's leaders give up for anybody who comes; but what
        // an observer has was sent by a leader that may never have had a quorum, or a quorum of voters has it, too. And
        // who is no member may say anything.
        let voter = server.filter(|&server| {
            let has_a_say = self.learners.get(link).is_some_and(|learner| self.has_a_say(learner));
            has_a_say && self.quorums.is_voter(server)
        });
        let Some(voter) = voter else { return };
        let theirs = (i64::from(current_epoch), last_zxid);
        if theirs > (self.own.current_epoch, self.own.last_zxid) {
            return self.step_down(StepDownReason::FollowerAhead);
        }
        self.promised.insert(voter);
        self.count_promises();
    }

    fn count_promises(&mut self) {
        if self.phase == Phase::Promises && self.quorums.has_all(&self.promised) {
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
        for link in self.learners.in_stage(Stage::Promised) {
            self.learners.begin_sync(link, now, &mut self.outputs);
        }
        for link in self.learners.in_stage(Stage::Waiting) {
            self.send_leader_info(link);
        }
        self.count_histories(now);
    }
}
