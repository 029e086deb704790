//! Who gets the tree for a snapshot, and for how long.
//!
//! One snapshot at a time is made of the tree: for learners, who take it as fast as they can or want to, or for the disk.
//! ZooKeeper has a thread for each, which keeps all of the tree from changing, or none of it; here the others wait. So
//! nobody may keep it for as long as they like. Times are parts of `initLimit`, which is how long a learner waits:
//!
//! * Voters come before observers, and those before servers that are no members; who gets the same snapshot is of one rank.
//! * Who has no room while another of the same snapshot has, for half of `initLimit` in one go, or for half the time and
//!   a quarter of `initLimit` on top, goes. So the others never wait in vain, and take at most about twice as long for it.
//! * A snapshot on its way is given up when somebody of a higher rank has waited for half of `initLimit`.
//! * When it is one of the same rank, or four times later when a lower rank or the disk waits, this time doubles whenever
//!   a snapshot was given up: somebody finishes, however long that takes, as long as it is not 32 times `initLimit`.
//!   Who finished waits no more, so all get their turn.
//! * A snapshot for the disk is given up when a member has waited for a quarter of `initLimit`, but not twice in a
//!   row. Once learners have theirs, it comes first.
//!
//! Who goes comes back when the others have begun, and waits. A learner that nobody waits for may take as long as it moves
//! at all.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::time::Duration;

use super::Ensemble;
use super::configs::Configs;
use super::transfer::{Serving, Transfer, Transfers};
use crate::config::Config;
use crate::server::{HangupReason, Server};
use crate::time::Instant;
use crate::types::{LinkId, ServerId};

/// How often the time doubles that a snapshot may take while others wait.
const DOUBLINGS_MAX: u32 = 6;

/// How much longer a lower rank and the disk wait for a snapshot to end.
const LOWER_WAITS: u32 = 4;

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// There may be no quorum without it.
    Voter,
    Observer,
    /// No member, or not yet.
    Stranger,
}

impl Rank {
    fn of(server: Option<ServerId>, configs: &Configs) -> Self {
        let Some(server) = server else { return Self::Stranger };
        let known = |is: &dyn Fn(&crate::types::Membership) -> bool| {
            is(configs.current()) || configs.next().is_some_and(is)
        };
        if known(&|members| members.is_voter(server)) {
            Self::Voter
        } else if known(&|members| members.member(server).is_some()) {
            Self::Observer
        } else {
            Self::Stranger
        }
    }
}

/// Time that adds up while something is so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopwatch {
    since: Option<Instant>,
    before: Duration,
}

impl Stopwatch {
    /// Whether it is so from now on.
    fn run(&mut self, runs: bool, now: Instant) {
        match self.since {
            Some(since) if !runs => {
                self.before += now.since(since);
                self.since = None;
            }
            None if runs => self.since = Some(now),
            Some(_) | None => {}
        }
    }

    /// When it reaches `time` if it runs on, if it runs.
    fn reaches(&self, time: Duration) -> Option<Instant> {
        self.since.map(|since| since + time.saturating_sub(self.before))
    }

    /// When it has run for `time` in one go, or for half of what there was since `begun` and half of `time` on top.
    fn prevails(&self, time: Duration, begun: Instant) -> Option<Instant> {
        let since = self.since?;
        let excess = (self.before * 2).saturating_sub(since.since(begun));
        Some(since + time.saturating_sub(excess))
    }
}

/// What is remembered from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Snapshots that were given up since one was sent, as far as it matters.
    given_up: u32,
    /// How long learners have waited for the snapshot that goes to the disk.
    disk_waited_for: Stopwatch,
    /// The last snapshot for the disk was given up for learners.
    disk_gave_way: bool,
    /// Learners had the tree last.
    pub(super) disk_is_next: bool,
    /// When it is time to look again.
    pub(super) due: Option<Instant>,
}

impl Turns {
    /// A snapshot was sent to its end.
    pub(super) const fn on_sent(&mut self) {
        self.given_up = 0;
        self.disk_is_next = true;
    }
}

impl Serving<'_> {
    /// The learners that wait for a snapshot.
    pub(super) fn waiting(&self) -> Vec<(LinkId, Rank)> {
        let waiting = self.transfers.under_way.iter();
        let waiting = waiting.filter(|(_, transfer)| matches!(transfer, Transfer::Waiting));
        waiting.map(|(&link, _)| (link, Rank::of(self.master.server_on(link), self.configs))).collect()
    }

    /// The learners that have had the tree for long enough, and until when the others may have it.
    fn judge(
        &mut self,
        half: Duration,
        window: usize,
        disk_waits: bool,
        now: Instant,
    ) -> (Vec<LinkId>, Option<Instant>) {
        if self.transfers.snapshot.is_none() {
            return (Vec::new(), None);
        }
        let first_waiting = self.waiting().into_iter().map(|(_, rank)| rank).min();
        let Transfers { under_way, snapshot, turns, .. } = &mut *self.transfers;
        let Some(snapshot) = snapshot else { return (Vec::new(), None) };
        let getting = under_way.iter_mut().filter_map(|(&link, transfer)| match transfer {
            Transfer::Snapshot { holds_up } => Some((link, holds_up)),
            Transfer::Log { .. } | Transfer::Memory { .. } | Transfer::Waiting => None,
        });
        let mut getting: Vec<(LinkId, &mut Stopwatch)> = getting.collect();
        let patience = half * (1 << turns.given_up);
        let limit = match first_waiting.map(|rank| rank.cmp(&snapshot.rank)) {
            Some(Ordering::Less) => Some(half),
            Some(Ordering::Equal) => Some(patience),
            Some(Ordering::Greater) => Some(patience * LOWER_WAITS),
            None => disk_waits.then_some(patience * LOWER_WAITS),
        };
        snapshot.waited_for.run(limit.is_some(), now);
        let until = limit.and_then(|limit| snapshot.waited_for.reaches(limit));
        if until.is_some_and(|until| until <= now) {
            turns.given_up = DOUBLINGS_MAX.min(turns.given_up + 1);
            return (getting.into_iter().map(|(link, _)| link).collect(), None);
        }
        let mut due = until;
        let mut late = Vec::new();
        let any_has_room = getting.iter().any(|(link, _)| self.peers.owed(*link) <= window);
        for (link, holds_up) in &mut getting {
            holds_up.run(any_has_room && self.peers.owed(*link) > window, now);
            match holds_up.prevails(half, snapshot.begun) {
                Some(at) if at <= now => late.push(*link),
                at => due = Instant::earliest(&[due, at]),
            }
        }
        (late, due)
    }

    /// Whether the snapshot for the disk is to be given up, and until when it has time.
    fn judge_disk(&mut self, quarter: Duration, is_walking: bool, now: Instant) -> (bool, Option<Instant>) {
        if !is_walking {
            self.transfers.turns.disk_waited_for = Stopwatch::default();
            return (false, None);
        }
        let members_wait = self.waiting().iter().any(|&(_, rank)| rank < Rank::Stranger);
        let Turns { disk_waited_for, disk_gave_way, .. } = &mut self.transfers.turns;
        disk_waited_for.run(members_wait && !*disk_gave_way, now);
        let until = disk_waited_for.reaches(quarter);
        let late = until.is_some_and(|until| until <= now);
        *disk_gave_way |= late;
        (late, until.filter(|_| !late))
    }
}

impl Server {
    /// Looks whether whoever has the tree has to leave it to others. Whether there is something to be done about it.
    pub(super) fn take_turns(&mut self) -> bool {
        let (is_walking, disk_waits) = (self.snapshot.is_some(), self.snapshotter.is_due());
        let disk_rests = !disk_waits && !self.snapshotter.is_running();
        let Some(serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else {
            return false;
        };
        let Transfers { snapshot, turns, .. } = serving.transfers;
        turns.disk_gave_way &= !disk_rests;
        // This is asked after every input, and most often nobody has the tree, nor had it just now.
        if snapshot.is_none() && !is_walking && !turns.disk_is_next {
            turns.disk_waited_for = Stopwatch::default();
            turns.due = None;
            return false;
        }
        let (now, half, window) = (self.now.mono, init_time(&self.config) / 2, self.link_window());
        let Some(mut serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else {
            return false;
        };
        let (late, due) = serving.judge(half, window, disk_waits, now);
        let (disk_is_late, disk_due) = serving.judge_disk(half / 2, is_walking, now);
        serving.transfers.turns.due = Instant::earliest(&[due, disk_due]);
        for &link in &late {
            serving.master.hang_up(link, HangupReason::SlowReader);
        }
        for &link in &late {
            self.forget_transfer(link);
        }
        if disk_is_late {
            self.postpone_snapshot();
        }
        let transfers = self.ensemble.as_deref_mut().and_then(Ensemble::serving).map(|it| it.transfers);
        if transfers.is_some_and(|transfers| core::mem::take(&mut transfers.turns.disk_is_next)) {
            self.begin_snapshot_if_due();
        }
        !late.is_empty()
    }
}

/// How long a learner waits for its leader before it follows.
fn init_time(config: &Config) -> Duration {
    config.ensemble.as_ref().map_or(Duration::ZERO, |ensemble| config.tick_time * ensemble.init_limit)
}
