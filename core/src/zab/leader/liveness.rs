//! Whether a quorum still follows: pings, what they confirm, and what happens in time (PARITY `zab.tick`,
//! `zab.synclimit`).

use super::{Leader, LeaderOutput, Phase, StepDownReason};
use crate::ASSERTS_ALL;
use crate::time::Instant;
use crate::types::LinkId;
use crate::zab::progress::{Progress, Stage};

impl Leader {
    /// Asks whether a quorum still follows. [`LeaderOutput::Confirmed`] answers, with this number or a later one.
    pub const fn confirm(&mut self) -> u64 {
        // A round that has not begun covers everybody who asks until it does.
        if !self.ping_wanted {
            self.ping_wanted = true;
            self.round += 1;
        }
        self.round
    }

    pub(super) fn on_pong(&mut self, link: LinkId) {
        if self.learners.on_pong(link, &mut self.outputs) {
            self.count_confirmations();
        }
    }

    fn count_confirmations(&mut self) {
        if self.confirmed == self.round || self.phase != Phase::Broadcast {
            return;
        }
        let following = |learner: &&Progress| learner.stage == Stage::Following && !learner.observer;
        let followers = self.learners.values().filter(following);
        let rounds = followers.filter_map(|learner| Some((learner.confirmed, learner.server?)));
        // Of itself it knows that it leads.
        let own = (self.round - u64::from(self.ping_wanted), self.me);
        let reached = self.quorums.reached(rounds.chain([own]).collect());
        if let Some(round) = reached
            && round > self.confirmed
        {
            self.confirmed = round;
            self.outputs.push_back(LeaderOutput::Confirmed { round });
        }
    }

    /// Does once for all messages of a turn what each of them may make necessary: counts who has acknowledged what, and
    /// sends the ping that somebody waits for. Call it at the end of a turn: outputs that are taken before hold no
    /// commits of that turn.
    pub fn flush(&mut self) {
        self.commit_what_a_quorum_has();
        if self.ping_wanted && self.phase == Phase::Broadcast {
            self.ping_wanted = false;
            self.ping();
            self.count_confirmations();
        }
    }

    /// Whether there is something to [flush](Self::flush).
    pub fn wants_flush(&self) -> bool {
        self.acks_came || self.ping_wanted && self.phase == Phase::Broadcast
    }

    fn ping(&mut self) {
        let round = self.round - u64::from(self.ping_wanted);
        self.learners.ping(round, self.last_proposed, &mut self.outputs);
    }

    /// When [`Leader::on_tick`] is next worth calling.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Over => None,
            Phase::Broadcast => Some(self.next_ping.min(self.next_check)),
            Phase::HandingOver => Some(self.init_deadline),
            _ => Some(self.next_ping.min(self.init_deadline)),
        }
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        if ASSERTS_ALL {
            self.check_waits();
        }
        if self.phase == Phase::HandingOver {
            self.end_handing_over();
            if now >= self.init_deadline {
                self.step_down(StepDownReason::HandedOver);
            }
            return;
        }
        if self.phase != Phase::Broadcast && now >= self.init_deadline {
            return self.step_down(StepDownReason::NoQuorumInTime);
        }
        if now >= self.next_ping {
            self.next_ping = now + self.tick / 2;
            self.learners.drop_silent(now, self.last_proposed, &mut self.outputs);
            self.ping();
        }
        if self.phase == Phase::Broadcast && now >= self.next_check {
            self.next_check = now + self.tick;
            if !self.is_followed() {
                self.step_down(StepDownReason::QuorumLost);
            }
        }
    }

    /// Nobody waits for what has come: it goes on in the turn in which that came. Or it would stand until something else
    /// comes, or its time is over; then it tries again, and nobody ever knows.
    fn check_waits(&self) {
        let waits = |stage| self.learners.values().any(|learner| learner.stage == stage);
        if matches!(self.phase, Phase::History | Phase::Broadcast) {
            assert!(!waits(Stage::Waiting), "a learner waits for an epoch that is decided");
            assert!(!waits(Stage::Promised), "a learner waits for a history that is decided");
        }
        if self.phase == Phase::Broadcast {
            assert!(!waits(Stage::Acknowledged), "a learner waits for an epoch that has begun");
            assert!(self.acks_came || self.committable().is_none(), "a quorum has what is not committed");
        }
    }

    /// Whether a quorum follows.
    pub fn is_followed(&self) -> bool {
        self.quorums.has_all(&self.following())
    }
}
