//! Following: into a leader's epoch, and then along with it. Observers do the same without a word that counts.
//!
//! The drawing in [`super`] has both sides. What the leader says while this server is busy with its disk (cutting its
//! log, installing a snapshot) is not looked at until that is done: [`Learner::takes_messages`].
//!
//! ZooKeeper applies what comes between SNAP or TRUNC and NEWLEADER to memory alone and takes a snapshot then; here it
//! all goes to the log, behind a snapshot or a cut that is durable already. So there is one rule for what may be
//! acknowledged: what the log has durable.
//!
//! A leader of ZooKeeper's may have a hole in the memory that it brings learners up to date from (ZOOKEEPER-4925): what
//! it was brought up to date with itself, it has in its database and in its log, but not there. What it sends then does
//! not lead to what it has. Where a learner notices, it cuts off again what came, none of which it has acknowledged, and
//! connects once more to the same leader: having promised to its epoch already it owes no promise that counts, and may
//! say that it cannot tell what it has (a zxid of -1), on which every leader sends a snapshot. The wish outlives this
//! leader ([`Start::wants_snapshot`]): the next one may have the same hole, or be the same one, in an epoch that is still
//! to be promised to. That promise says truly what there is, and counts; what is offered for it is not taken, and the
//! next connection is the one that asks. In an election it says truly
//! where its log ends, which stays until the snapshot is durable, except for what is behind the snapshot's end: that is cut
//! off before; and if nothing here leads up to there, all of it goes, and this server has no vote until the snapshot is
//! durable. What TRUNC has cut off before the hole was noticed does not come back other than with the snapshot.

mod output;

use alloc::collections::VecDeque;
use core::mem;
use core::time::Duration;

use bytes::Bytes;

pub use self::output::{LearnerOutput, LostReason};
use super::leader::beginning;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{EPOCHS, HangupReason, LearnerInfo, LinkId, Message, OwnHistory, ServerId, Zxid};

/// How often to connect before the leader is given up (PARITY `sync.connect`).
const CONNECT_ATTEMPTS_MAX: u32 = 5;
/// How often if the leader's process is there. ZooKeeper gives up as early as otherwise; but its servers also wait when
/// a quorum agrees, each on its own, and who does not wait finds the port of one that does still closed. Who gives up
/// then begins a round that the other does not take part in, until its `initLimit` is over.
const CONNECT_ATTEMPTS_TO_THE_LIVING_MAX: u32 = 30;

/// Where a learner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not connected; the next attempt is due then, or under way.
    Dialing {
        due: Option<Instant>,
    },
    /// It has said who it is.
    Introduced,
    /// The leader's epoch is on its way to the disk.
    SavingAccepted,
    /// It has promised; DIFF, TRUNC or SNAP comes next.
    Promised,
    /// Its log is being cut.
    Rewinding,
    /// What came from the leader is being cut off again, then it connects once more.
    TakingBack,
    /// The bytes of a snapshot come, or are on their way to the disk.
    Snapshot,
    /// Proposals come.
    Synchronizing,
    /// NEWLEADER has come; the log is not durable up to there.
    SavingHistory {
        last: Zxid,
    },
    /// It is; the epoch is on its way to the disk.
    SavingCurrent,
    /// It cannot acknowledge NEWLEADER, and leaves a leader that has not left it first: not at once, lest the others
    /// have nothing but elections.
    Withholding,
    /// It has acknowledged NEWLEADER.
    Acknowledged,
    /// It serves.
    Following,
    Over,
}

/// What a learner begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// This server.
    pub me: ServerId,
    /// Whom to follow.
    pub leader: ServerId,
    /// What the leader had when it was elected, as far as votes say so: its followers have no less.
    pub leader_zxid: Zxid,
    /// Whether the leader may have been elected once more since it said that, for less.
    pub vote_may_be_old: bool,
    /// Whether this server has no vote.
    pub observer: bool,
    /// The version of the configuration it knows.
    pub config_version: i64,
    /// What it has promised, and what it has.
    pub own: OwnHistory,
    /// The newest transaction that a leader with a quorum said is committed.
    pub known_committed: Zxid,
    /// What a leader sent before did not lead to what it had: this one is to send a snapshot, whatever it has.
    pub wants_snapshot: bool,
    /// How long it waits before it connects.
    pub wait: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Learner {
    me: ServerId,
    leader: ServerId,
    leader_zxid: Zxid,
    vote_may_be_old: bool,
    observer: bool,
    own: OwnHistory,
    config_version: i64,
    known_committed: Zxid,
    phase: Phase,
    link: Option<LinkId>,
    attempts: u32,
    connect_delay: Duration,
    init_time: Duration,
    sync_time: Duration,
    /// The leader's epoch, once it has said so.
    epoch: i64,
    /// The leader is to send a snapshot.
    wants_snapshot: bool,
    /// It was told that this server cannot tell what it has.
    disclaimed: bool,
    /// It wanted something cut off that this server knows to be committed.
    was_behind: bool,
    /// A snapshot came from it: ZooKeeper's hold more than they say.
    by_snapshot: bool,
    /// Behind a snapshot of ZooKeeper's: what it has already may come again.
    skip_known: bool,
    /// Where the log ended before the leader's proposals: what is behind that was acknowledged to nobody before
    /// NEWLEADER is.
    own_end: Zxid,
    /// The newest transaction given to the log.
    logged: Zxid,
    durable: Zxid,
    /// What was logged and neither acknowledged nor known to be committed, oldest first.
    unacked: VecDeque<Zxid>,
    committed: Zxid,
    /// When something must have come.
    deadline: Instant,
    outputs: VecDeque<LearnerOutput>,
}

impl Learner {
    /// Begins to follow.
    pub fn new(start: Start, tick: Duration, config: &EnsembleConfig, now: Instant) -> Self {
        let Start {
            me,
            leader,
            leader_zxid,
            vote_may_be_old,
            observer,
            config_version,
            own,
            known_committed,
            wants_snapshot,
            wait,
        } = start;
        let due = (!wait.is_zero()).then(|| now + wait);
        let connect_limit = match config.connect_to_leader_limit {
            0 => config.init_limit,
            limit => limit,
        };
        Self {
            me,
            leader,
            leader_zxid,
            vote_may_be_old,
            observer,
            own,
            config_version,
            known_committed,
            phase: Phase::Dialing { due },
            link: None,
            attempts: 1,
            connect_delay: config.leader_connect_delay,
            init_time: tick * config.init_limit,
            sync_time: tick * config.sync_limit,
            epoch: 0,
            wants_snapshot,
            disclaimed: false,
            was_behind: false,
            by_snapshot: false,
            skip_known: false,
            own_end: own.last_zxid,
            logged: own.last_zxid,
            durable: own.last_zxid,
            unacked: VecDeque::new(),
            committed: Zxid::ZERO,
            deadline: now + wait + tick * connect_limit,
            outputs: if due.is_none() { VecDeque::from([LearnerOutput::Dial]) } else { VecDeque::new() },
        }
    }

    /// What is to be done next, if anything: call until `None`.
    pub fn poll_output(&mut self) -> Option<LearnerOutput> {
        self.outputs.pop_front()
    }

    /// Whom it follows.
    pub const fn leader(&self) -> ServerId {
        self.leader
    }

    /// What the leader was elected for, as far as votes say so.
    pub const fn leader_zxid(&self) -> Zxid {
        self.leader_zxid
    }

    /// The epoch it follows in; 0 before the leader has said so.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether a configuration of this version, which the leader has named, is of a transaction of its epoch whose commit
    /// is still to come. Before NEWLEADER a voter was told of all that had been proposed before; a version that is later
    /// than what comes next then is of no transaction, and no commit of it would ever come.
    pub fn awaits_commit_of(&self, version: Zxid) -> bool {
        let is_of_epoch = i64::from(version.epoch()) == self.epoch && !version.begins_epoch();
        let may_be_proposed = self.observer || version <= self.logged || version.follows(self.logged);
        is_of_epoch && version > self.committed && may_be_proposed
    }

    /// The link to the leader.
    pub const fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Following
    }

    /// Whether its word counts nowhere.
    pub const fn is_observer(&self) -> bool {
        self.observer
    }

    /// Whether messages may be given to it now; if not, they wait.
    pub const fn takes_messages(&self) -> bool {
        !matches!(
            self.phase,
            Phase::SavingAccepted
                | Phase::Rewinding
                | Phase::TakingBack
                | Phase::Snapshot
                | Phase::SavingHistory { .. }
                | Phase::SavingCurrent
                | Phase::Withholding
                | Phase::Over
        )
    }

    /// How long connecting may take: what is left of the time for all attempts together
    /// (PARITY `cfg.connectToLearnerMasterLimit`).
    pub fn time_to_connect(&self, now: Instant) -> Duration {
        self.deadline.since(now)
    }

    /// The link to the leader stands: from here on `initLimit` counts, so it was also [heard](Self::heard).
    pub fn on_link_up(&mut self, link: LinkId) {
        if !matches!(self.phase, Phase::Dialing { .. }) {
            let why = HangupReason::RoleOver;
            return self.outputs.push_back(LearnerOutput::Hangup { link, why });
        }
        self.link = Some(link);
        self.phase = Phase::Introduced;
        let accepted_epoch = self.own.accepted_epoch;
        let info = LearnerInfo {
            server: Some(self.me),
            protocol_version: LearnerInfo::PROTOCOL_VERSION,
            config_version: self.config_version,
        };
        self.send(if self.observer {
            Message::ObserverInfo { accepted_epoch, info }
        } else {
            Message::FollowerInfo { accepted_epoch, info }
        });
    }

    /// The leader could not be connected to. `is_alive`: its election port can be talked to.
    pub fn on_dial_failed(&mut self, now: Instant, is_alive: bool) {
        if self.phase != (Phase::Dialing { due: None }) {
            return;
        }
        let attempts_max = if is_alive { CONNECT_ATTEMPTS_TO_THE_LIVING_MAX } else { CONNECT_ATTEMPTS_MAX };
        if self.attempts >= attempts_max {
            return self.lose(LostReason::Unreachable);
        }
        self.attempts += 1;
        self.phase = Phase::Dialing { due: Some(now + self.connect_delay) };
    }

    /// The link broke.
    pub fn on_link_down(&mut self, link: LinkId) {
        if self.link == Some(link) {
            self.link = None;
            self.lose(LostReason::LinkDown);
        }
    }

    /// Bytes came from the leader, or this server's own disk is done with what the leader had to wait for: it has as
    /// long again for what comes next, however much there is.
    pub fn heard(&mut self, now: Instant) {
        if self.phase == Phase::Withholding {
            return;
        }
        let limit = if self.phase == Phase::Following { self.sync_time } else { self.init_time };
        self.deadline = now + limit;
    }

    /// The leader said something.
    ///
    /// # Panics
    /// If it does not [take messages](Self::takes_messages).
    pub fn on_message(&mut self, message: Message, now: Instant) {
        assert!(self.takes_messages(), "a message while the disk is at work");
        match (self.phase, message) {
            (Phase::Introduced, Message::LeaderInfo { epoch, .. }) => self.on_leader_info(epoch),
            // Nobody can tell what is missing to a learner that cannot tell what it has.
            (Phase::Promised, Message::Diff { .. } | Message::Trunc { .. }) if self.disclaimed => {
                self.fail(LostReason::BadMessage);
            }
            // The promise is durable: what it answers next counts nowhere, and it may say so.
            (Phase::Promised, Message::Diff { .. }) if self.wants_snapshot => self.connect_anew(),
            (Phase::Promised, Message::Diff { .. }) => self.on_diff(),
            // Nobody's history is of an epoch that its leader has not begun.
            (
                _,
                Message::Inform { zxid, .. }
                | Message::InformAndActivate { zxid, .. }
                | Message::Proposal { zxid, .. }
                | Message::Snap { zxid }
                | Message::Trunc { zxid },
            ) if !self.may_have(zxid) => self.fail(LostReason::BadMessage),
            (Phase::Promised, Message::Trunc { .. }) if self.wants_snapshot => self.connect_anew(),
            (Phase::Promised, Message::Trunc { zxid }) if zxid < self.known_committed => {
                self.on_leader_behind(now);
            }
            (Phase::Promised, Message::Snap { zxid }) if zxid < self.known_committed => {
                self.fail(LostReason::CommittedMissing);
            }
            (Phase::Promised, Message::Trunc { zxid }) => {
                self.phase = Phase::Rewinding;
                self.outputs.push_back(LearnerOutput::Rewind { zxid });
            }
            (Phase::Promised, Message::Snap { zxid }) => {
                self.phase = Phase::Snapshot;
                self.outputs.push_back(LearnerOutput::ReceiveSnapshot { zxid });
            }
            (Phase::Synchronizing, Message::NewLeader { zxid, config }) => self.on_new_leader(zxid, config),
            (Phase::Acknowledged, Message::UpToDate) => self.on_up_to_date(now),
            (
                Phase::Synchronizing | Phase::Acknowledged | Phase::Following,
                message @ (Message::Proposal { .. }
                | Message::Commit { .. }
                | Message::CommitAndActivate { .. }
                | Message::Inform { .. }
                | Message::InformAndActivate { .. }),
            ) => self.on_history(message),
            // Java's leader pings whoever it has begun to send to.
            (Phase::Synchronizing | Phase::Acknowledged, Message::Ping { .. }) => {}
            (Phase::Following, Message::Ping { .. }) => self.outputs.push_back(LearnerOutput::Pinged),
            (Phase::Following, Message::Revalidated { session, valid }) => {
                self.outputs.push_back(LearnerOutput::Revalidated { session, valid });
            }
            (Phase::Following, Message::Sync) => self.outputs.push_back(LearnerOutput::Synced),
            _ => self.fail(LostReason::BadMessage),
        }
    }

    /// PARITY `quorum.leaderinfo`, `quorum.ackepoch`.
    fn on_leader_info(&mut self, epoch: i64) {
        // What it answers to an epoch that it has promised already counts nowhere.
        self.disclaimed = self.wants_snapshot && epoch == self.own.accepted_epoch;
        if epoch < self.own.accepted_epoch {
            return self.fail(LostReason::EpochTooOld);
        }
        // Who promised to that could never again say so.
        if !EPOCHS.contains(&epoch) {
            return self.fail(LostReason::BadMessage);
        }
        self.epoch = epoch;
        if epoch > self.own.accepted_epoch {
            self.phase = Phase::SavingAccepted;
            self.outputs.push_back(LearnerOutput::SaveAccepted { epoch });
            return;
        }
        // Promised before, maybe to another leader: this answer must not count as a promise.
        self.promise(Message::UNCOUNTED);
    }

    /// `acceptedEpoch` is durable.
    pub fn on_accepted_saved(&mut self, epoch: i64) {
        self.own.accepted_epoch = epoch;
        if self.phase == Phase::SavingAccepted && epoch == self.epoch {
            // Who may have lost what a quorum relies on cannot speak for what that quorum has.
            let counts = self.own.has_data;
            let current_epoch = i32::try_from(self.own.current_epoch).unwrap_or(i32::MAX);
            self.promise(if counts { current_epoch } else { Message::UNCOUNTED });
        }
    }

    fn promise(&mut self, current_epoch: i32) {
        self.phase = Phase::Promised;
        let last_zxid = if self.disclaimed { Zxid::UNKNOWN } else { self.own.last_zxid };
        self.send(Message::AckEpoch { last_zxid, current_epoch });
    }

    /// The leader has everything that is in the log here. What is damaged behind it goes, now that there is a leader.
    fn on_diff(&mut self) {
        if !self.own.has_data {
            self.phase = Phase::Rewinding;
            return self.outputs.push_back(LearnerOutput::Rewind { zxid: self.own.last_zxid });
        }
        self.phase = Phase::Synchronizing;
        self.commit(self.logged, None);
    }

    /// The log ends at `last_zxid` now, durably. That is what was asked for, or something older: then the leader has to
    /// hear of it.
    pub fn on_rewound(&mut self, asked: Zxid, last_zxid: Zxid) {
        if !matches!(self.phase, Phase::Rewinding | Phase::TakingBack) {
            return;
        }
        self.logged = last_zxid;
        self.durable = last_zxid;
        self.own_end = last_zxid;
        self.own.last_zxid = last_zxid;
        if last_zxid != asked {
            return self.fail(LostReason::CutShort);
        }
        if self.phase == Phase::TakingBack {
            return self.dial_again();
        }
        self.phase = Phase::Synchronizing;
        self.commit(last_zxid, None);
    }

    /// The log cannot be cut to what was asked for, and is as it was. It is not the leader's fault.
    pub fn on_rewind_refused(&mut self) {
        if self.phase != Phase::Rewinding {
            return;
        }
        self.ask_for_snapshot(LostReason::NoWayBack);
    }

    /// The snapshot is the database, and durable.
    pub fn on_snapshot_installed(&mut self, zxid: Zxid) {
        if self.phase != Phase::Snapshot {
            return;
        }
        self.logged = zxid;
        self.durable = zxid;
        self.by_snapshot = true;
        self.skip_known = true;
        self.wants_snapshot = false;
        self.phase = Phase::Synchronizing;
        self.commit(zxid, None);
    }

    /// Whether the digests that proposals carry show if this server has what the leader has.
    pub fn compares_digests(&self) -> bool {
        self.phase == Phase::Following || self.phase == Phase::Synchronizing && !self.by_snapshot
    }

    /// What was committed has not made of the tree what its author says. Who serves goes on: what it has acknowledged, it
    /// cannot take back.
    pub fn on_digest_differs(&mut self) {
        if self.phase == Phase::Synchronizing && !self.by_snapshot {
            self.ask_for_snapshot(LostReason::Diverged);
        }
    }

    /// See the module.
    fn ask_for_snapshot(&mut self, why: LostReason) {
        self.outputs.clear();
        self.hang_up(hangup_reason(why));
        self.outputs.push_back(LearnerOutput::AskForSnapshot { why });
        self.wants_snapshot = true;
        if self.logged == self.own_end {
            return self.dial_again();
        }
        self.phase = Phase::TakingBack;
        self.outputs.push_back(LearnerOutput::TakeBack { zxid: self.own_end });
    }

    /// What the leader offers is of no use, before it has sent any of it.
    fn connect_anew(&mut self) {
        self.hang_up(HangupReason::RoleOver);
        self.dial_again();
    }

    /// The leader would have something cut off that this server knows to be committed: that is not done, even where
    /// nothing would be lost. ZooKeeper's says so now and then though it lacks nothing, if it has told its learners of a
    /// commit and not carried it out itself yet; it would send the same again behind the cut. In a moment it has, and
    /// offers something else. Who says so twice has a hole.
    fn on_leader_behind(&mut self, now: Instant) {
        if mem::replace(&mut self.was_behind, true) {
            return self.ask_for_snapshot(LostReason::CommittedMissing);
        }
        self.hang_up(HangupReason::BadMessage);
        self.begin_again(Some(now + self.connect_delay));
    }

    fn hang_up(&mut self, why: HangupReason) {
        if let Some(link) = self.link.take() {
            self.outputs.push_back(LearnerOutput::Hangup { link, why });
        }
    }

    fn dial_again(&mut self) {
        self.begin_again(None);
        self.outputs.push_back(LearnerOutput::Dial);
    }

    fn begin_again(&mut self, due: Option<Instant>) {
        self.committed = Zxid::ZERO;
        self.unacked.clear();
        self.attempts = 1;
        self.phase = Phase::Dialing { due };
    }

    /// The snapshot cannot be had: the bytes are none.
    pub fn on_snapshot_refused(&mut self) {
        if self.phase == Phase::Snapshot {
            self.fail(LostReason::BadMessage);
        }
    }

    fn commit(&mut self, zxid: Zxid, designated: Option<ServerId>) {
        self.committed = self.committed.max(zxid);
        // While it catches up nobody counts its acknowledgements of what a quorum has anyway.
        if !self.acknowledges() {
            while self.unacked.pop_front_if(|oldest| *oldest <= zxid).is_some() {}
        }
        self.outputs.push_back(LearnerOutput::Commit { zxid, designated });
    }

    /// Whether a transaction can be in the history of the leader's epoch.
    fn may_have(&self, zxid: Zxid) -> bool {
        zxid >= Zxid::ZERO && i64::from(zxid.epoch()) <= self.epoch
    }

    fn on_history(&mut self, message: Message) {
        match message {
            Message::Proposal { zxid, txn } if !self.observer => self.on_proposal(zxid, txn),
            Message::Commit { zxid } => self.on_commit(zxid, None),
            Message::CommitAndActivate { zxid, designated } => {
                self.on_commit(zxid, Some(designated));
                self.activate(zxid, designated);
            }
            Message::Inform { zxid, txn } if self.observer => {
                self.on_proposal(zxid, txn);
                self.on_commit(zxid, None);
            }
            Message::InformAndActivate { zxid, designated, txn } if self.observer => {
                self.on_proposal(zxid, txn);
                self.on_commit(zxid, Some(designated));
                self.activate(zxid, designated);
            }
            // Java's leader brings observers up to date with proposals and commits, too.
            Message::Proposal { zxid, txn } if self.phase == Phase::Synchronizing => {
                self.on_proposal(zxid, txn);
            }
            _ => self.fail(LostReason::BadMessage),
        }
    }

    /// PARITY `sync.contiguous`.
    fn on_proposal(&mut self, zxid: Zxid, txn: Bytes) {
        if self.skip_known && zxid <= self.logged {
            return;
        }
        if !zxid.follows(self.logged) {
            return match self.phase {
                Phase::Synchronizing if !self.by_snapshot => self.ask_for_snapshot(LostReason::NotContiguous),
                _ => self.fail(LostReason::NotContiguous),
            };
        }
        self.skip_known = false;
        self.logged = zxid;
        if !self.observer {
            self.unacked.push_back(zxid);
        }
        self.outputs.push_back(LearnerOutput::Log { zxid, txn });
    }

    fn on_commit(&mut self, zxid: Zxid, designated: Option<ServerId>) {
        if !self.learns() || zxid <= self.committed {
            return;
        }
        if zxid > self.logged {
            return self.fail(LostReason::NotContiguous);
        }
        self.commit(zxid, designated);
    }

    /// The change may have come by other ways before, so this is for who carries it out to judge.
    fn activate(&mut self, zxid: Zxid, designated: ServerId) {
        if self.learns() {
            self.outputs.push_back(LearnerOutput::Activate { zxid, designated });
        }
    }

    /// Whether the leader was elected for more than it has sent, and than there was here. A zxid that begins an epoch says
    /// nothing of what it stands behind: whoever else leads may never have heard of that epoch. ZooKeeper's snapshots
    /// hold what the leader's database does, which has no hole.
    ///
    /// A vote may be older than the leader. One that was elected for what it had can lose its quorum to another, be cut off
    /// by that one what nobody else had, and be elected again for less, while a learner still tries to connect to it; and
    /// what was said in the round in which it was elected may have been under way since before the cut. So the learner
    /// leaves it once and looks itself, for a vote that is of now: what a leader says of itself then is what it has. If
    /// that says the same, it is not old.
    fn lacks_the_end(&self) -> bool {
        !self.by_snapshot && !self.leader_zxid.begins_epoch() && self.logged < self.leader_zxid
    }

    /// PARITY `sync.newleader.learner`.
    fn on_new_leader(&mut self, zxid: Zxid, config: Option<Bytes>) {
        if zxid != beginning(self.epoch) {
            return self.fail(LostReason::BadMessage);
        }
        if self.lacks_the_end() && self.vote_may_be_old {
            return self.fail(LostReason::LessThanVoted);
        }
        if self.lacks_the_end() {
            return self.ask_for_snapshot(LostReason::NotContiguous);
        }
        if let Some(text) = config {
            self.outputs.push_back(LearnerOutput::Configuration { text });
        }
        self.phase = Phase::SavingHistory { last: self.logged };
        self.save_epoch_behind_history();
    }

    fn save_epoch_behind_history(&mut self) {
        if let Phase::SavingHistory { last } = self.phase
            && self.durable >= last
        {
            self.phase = Phase::SavingCurrent;
            self.outputs.push_back(LearnerOutput::SaveCurrent { epoch: self.epoch });
        }
    }

    /// `currentEpoch` is durable.
    pub fn on_current_saved(&mut self, epoch: i64) {
        self.own.current_epoch = epoch;
        if self.phase != Phase::SavingCurrent || epoch != self.epoch {
            return;
        }
        self.phase = Phase::Acknowledged;
        self.send(Message::Ack { zxid: beginning(self.epoch) });
        // What NEWLEADER's acknowledgement does not speak for: it is not committed yet.
        self.acknowledge();
    }

    /// PARITY `sync.uptodate.ack`.
    fn on_up_to_date(&mut self, now: Instant) {
        self.phase = Phase::Following;
        self.deadline = now + self.sync_time;
        self.send(Message::Ack { zxid: beginning(self.epoch) });
        self.outputs.push_back(LearnerOutput::Serve);
    }

    /// The log is durable up to here.
    pub fn on_durable(&mut self, zxid: Zxid) {
        self.durable = self.durable.max(zxid);
        self.save_epoch_behind_history();
        if self.acknowledges() {
            self.acknowledge();
        }
    }

    /// Of what the leader's epoch begins with something is not durable, and is not going to be: if that is not
    /// acknowledged yet, it is not.
    pub fn withhold(&mut self, now: Instant) {
        if matches!(self.phase, Phase::SavingHistory { .. } | Phase::SavingCurrent) {
            self.phase = Phase::Withholding;
            self.deadline = now + self.init_time;
        }
    }

    /// Whether a packet of an unknown type is passed over, as ZooKeeper's learners do once they are being brought up to
    /// date (PARITY `quorum.unexpected`). Before that the leader is to say one thing.
    pub const fn passes_over_unknown(&self) -> bool {
        self.learns()
    }

    /// Whether the message that is being looked at has not ended that.
    const fn learns(&self) -> bool {
        matches!(self.phase, Phase::Synchronizing | Phase::Acknowledged | Phase::Following)
    }

    const fn acknowledges(&self) -> bool {
        matches!(self.phase, Phase::Acknowledged | Phase::Following)
    }

    /// Every transaction is acknowledged by itself: a leader of ZooKeeper's counts each.
    fn acknowledge(&mut self) {
        while let Some(zxid) = self.unacked.pop_front_if(|oldest| *oldest <= self.durable) {
            self.send(Message::Ack { zxid });
        }
    }

    /// Says something to the leader that is not the protocol's own business: a request, a session, a sign of life.
    pub fn say(&mut self, message: Message) {
        if self.phase == Phase::Following {
            self.send(message);
        }
    }

    fn send(&mut self, message: Message) {
        if let Some(link) = self.link {
            self.outputs.push_back(LearnerOutput::Send { link, message });
        }
    }

    /// When [`Learner::on_tick`] is next worth calling.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Dialing { due: Some(due) } => Some(due.min(self.deadline)),
            Phase::Withholding => Some(self.deadline),
            _ => self.leader_owes().then_some(self.deadline),
        }
    }

    /// Whether something must come from the leader in time. While this server is busy with its own disk the leader owes
    /// nothing; of a snapshot it owes the rest, unless that has to wait for the disk, of which whoever writes it says
    /// that the leader was [heard](Self::heard).
    fn leader_owes(&self) -> bool {
        self.takes_messages() || self.receives_snapshot()
    }

    /// Whether a snapshot is being taken from the leader.
    pub fn receives_snapshot(&self) -> bool {
        self.phase == Phase::Snapshot
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        if now >= self.deadline && self.leader_owes() {
            return self.fail(LostReason::Timeout);
        }
        if now >= self.deadline && self.phase == Phase::Withholding {
            return self.fail(LostReason::ConfigNotKept);
        }
        if let Phase::Dialing { due: Some(due) } = self.phase
            && now >= due
        {
            self.phase = Phase::Dialing { due: None };
            self.outputs.push_back(LearnerOutput::Dial);
        }
    }

    /// The leader is of no use: hangs up and gives up. What was to be done because of it is not: a transaction may have
    /// been refused of which the commit comes next.
    pub fn fail(&mut self, why: LostReason) {
        if self.phase == Phase::Over {
            return;
        }
        self.outputs.clear();
        self.hang_up(hangup_reason(why));
        self.lose(why);
    }

    fn lose(&mut self, why: LostReason) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.outputs.push_back(LearnerOutput::Lost { why });
        }
    }
}

/// What is said of a link that ends with that.
const fn hangup_reason(why: LostReason) -> HangupReason {
    match why {
        LostReason::BadMessage
        | LostReason::CommittedMissing
        | LostReason::Diverged
        | LostReason::NotContiguous => HangupReason::BadMessage,
        LostReason::Timeout => HangupReason::Timeout,
        LostReason::ConfigNotKept
        | LostReason::CutShort
        | LostReason::Doubted
        | LostReason::EpochTooOld
        | LostReason::LessThanVoted
        | LostReason::LinkDown
        | LostReason::NoWayBack
        | LostReason::Reconfigured
        | LostReason::SnapshotNotKept
        | LostReason::Unreachable => HangupReason::RoleOver,
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
