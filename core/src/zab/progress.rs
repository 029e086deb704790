//! What is known of one learner.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Instant;
use crate::types::{ServerId, Zxid};

/// Where a learner is on its way into the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It has not said who it is.
    Greeting,
    /// It has; the epoch is not proposed yet.
    Waiting,
    /// It was told the epoch.
    Promising,
    /// It answered; the epoch's history is not decided yet.
    Promised,
    /// It is being brought up to date.
    Synchronizing,
    /// It was sent NEWLEADER, and hears of everything from here on.
    Announced,
    /// It has everything durable that came before NEWLEADER.
    Acknowledged,
    /// It was sent UPTODATE.
    Following,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) stage: Stage,
    /// Who it says it is.
    pub(super) server: Option<ServerId>,
    /// Whether its word counts nowhere, whoever it is.
    pub(super) observer: bool,
    /// The last transaction in its log when it came.
    pub(super) last_zxid: Zxid,
    /// While it is brought up to date: everything up to here is on its way.
    pub(super) sent: Zxid,
    /// Everything up to here it knows to be committed. Of a voter; observers hear of nothing else.
    pub(super) committed: Zxid,
    /// What was committed when it was sent NEWLEADER, and came before that.
    pub(super) inherited: Zxid,
    /// Everything of this epoch up to here is durable with it.
    pub(super) acked: Zxid,
    /// The round of confirmation that each unanswered ping belongs to.
    pub(super) pings: VecDeque<u64>,
    /// The newest round it answered.
    pub(super) confirmed: u64,
    /// When it must have said something.
    heard_deadline: Instant,
    /// What it must have acknowledged, and until when.
    ack_deadline: Option<(Zxid, Instant)>,
}

impl Progress {
    pub(super) const fn new(heard_deadline: Instant) -> Self {
        Self {
            stage: Stage::Greeting,
            server: None,
            observer: false,
            last_zxid: Zxid::ZERO,
            sent: Zxid::ZERO,
            committed: Zxid::ZERO,
            inherited: Zxid::ZERO,
            acked: Zxid::ZERO,
            pings: VecDeque::new(),
            confirmed: 0,
            heard_deadline,
            ack_deadline: None,
        }
    }

    /// Something came from it, or it took something: it has `initLimit` for the next step, and `syncLimit` once it
    /// follows. While it waits for a quorum to catch up it owes nothing.
    pub(super) fn heard(&mut self, now: Instant, init_time: Duration, sync_time: Duration) {
        let limit = if self.stage == Stage::Following { sync_time } else { init_time };
        self.heard_deadline = now + limit;
    }

    pub(super) fn acked(&mut self, zxid: Zxid) {
        self.acked = self.acked.max(zxid);
        if self.ack_deadline.is_some_and(|(due, _)| self.acked >= due) {
            self.ack_deadline = None;
        }
    }

    /// Whether it hears of proposals and commits when they happen.
    pub(super) const fn is_told(&self) -> bool {
        matches!(self.stage, Stage::Announced | Stage::Acknowledged | Stage::Following)
    }

    /// Where it is, while it is brought up to date.
    pub(super) fn position(&self) -> Option<Zxid> {
        (self.stage == Stage::Synchronizing).then_some(self.sent)
    }

    pub(super) fn answered(&mut self) {
        if let Some(round) = self.pings.pop_front() {
            self.confirmed = self.confirmed.max(round);
        }
    }

    /// Remembers what was proposed by now, unless it still owes something older.
    pub(super) fn watch_acks(&mut self, last_proposed: Zxid, deadline: Instant) {
        let owes = self.stage == Stage::Following && !self.observer && self.acked < last_proposed;
        if owes && self.ack_deadline.is_none() {
            self.ack_deadline = Some((last_proposed, deadline));
        }
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        let silent = now >= self.heard_deadline && self.stage != Stage::Acknowledged;
        silent || self.ack_deadline.is_some_and(|(_, deadline)| now >= deadline)
    }
}
