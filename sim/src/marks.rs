//! Where runs have been: each step of election, synchronisation and recovery that a run must have taken at least once
//! among many, or the runs do not test what they are there for.
//!
//! Marks are derived from what is seen of the servers anyway, their messages, events and records; the core knows
//! nothing of them. A mark that no run reaches is a hole in the options or in the faults, not in the servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zabra_core::recovery::Notice;
use zabra_core::server::{Event as Told, Role};
use zabra_core::types::{Message, Zxid};
use zabra_core::zab::leader::StepDownReason;
use zabra_core::zab::learner::LostReason;

use crate::history::Observed;
use crate::link::{ClientId, LinkId, NodeId};

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that a run may have reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark {
            $($(#[$doc])* $name,)*
        }

        impl Mark {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

marks! {
    // Election.
    /// A server leads, and another still believes that it does, in an earlier epoch.
    TwoLeadersAtOnce,
    /// A server that led before leads again, in a later epoch.
    LeaderAgain,
    /// A leader lost its power or was killed.
    LeaderCrashed,
    /// A leader crashed with something in its log that its disk did not have yet.
    LeaderCrashedBeforeItsSync,
    /// Somebody joined an epoch in which others were following already.
    LateJoiner,
    /// An observer joined.
    ObserverJoined,
    /// A leader gave up because its voters look for another.
    LeaderDoubted,
    /// A leader gave up because a voter had promised itself to a later epoch.
    LeaderOvertaken,
    /// A leader gave up because no quorum came in time.
    LeaderWithoutQuorum,
    /// A leader gave up because it lost its quorum.
    LeaderLostQuorum,
    /// A learner gave up because those who voted for the leader look for another.
    LearnerDoubted,
    /// A learner gave up because the leader's epoch is older than its promise.
    LearnerFoundOldEpoch,
    /// A learner lost its link.
    LearnerLostLink,
    /// A learner heard nothing for too long.
    LearnerTimedOut,
    /// A learner could not reach the leader.
    LearnerFoundNobody,

    // Synchronisation.
    /// A difference that is empty.
    DiffEmpty,
    /// A difference from memory.
    DiffFromMemory,
    /// A difference that is longer than what a leader remembers.
    DiffFromLog,
    /// A learner is told to cut its log.
    TruncSent,
    /// One that led before is.
    TruncOfAnOldLeader,
    /// The cut is to an earlier epoch than the log's end.
    TruncAcrossEpochs,
    /// A log was cut.
    Rewound,
    /// A snapshot is sent.
    SnapSent,
    /// A snapshot from the leader is the database.
    SnapshotInstalled,
    /// A link or a learner was lost between TRUNC and the acknowledgement.
    TruncInterrupted,
    /// Likewise SNAP.
    SnapInterrupted,
    /// After an interrupted snapshot, the next try was with a difference.
    SnapThenDiff,
    /// A learner crashed between the beginning of its synchronisation and NEWLEADER.
    CrashBeforeNewLeader,
    /// Between NEWLEADER and its acknowledgement.
    CrashBeforeAck,
    /// Between its acknowledgement and UPTODATE.
    CrashBeforeUpToDate,
    /// A leader crashed while somebody was being brought up to date.
    LeaderCrashedDuringSync,
    /// A proposal was sent between NEWLEADER and UPTODATE.
    ProposalBeforeUpToDate,
    /// A commit was sent between NEWLEADER and UPTODATE.
    CommitBeforeUpToDate,
    /// A learner that had promised already was told so with an epoch of -1.
    PromisedBefore,
    /// A request of a learner's client.
    Request,
    /// A session moved to a learner.
    Revalidate,
    /// A session that a learner asked about is gone.
    RevalidateInVain,
    /// A sync of a learner's client.
    Sync,
    /// An observer is told of a commit.
    Inform,

    // Recovery.
    /// A new database was begun.
    BegunAnew,
    /// A log was replayed behind a snapshot.
    ReplayedBehindSnapshot,
    /// A log's end was torn, and cut.
    TornTailCut,
    /// A batch was torn in the middle, and cut.
    TornBatchCut,
    /// A log file without a record was removed.
    EmptyLogRemoved,
    /// What was half-written under a temporary name was removed.
    TemporaryRemoved,
    /// A server started with less in its log than was there, for its disk had not got it.
    LostItsTail,

    // Sessions and watches.
    /// A session expired.
    SessionExpired,
    /// A session expired soon after its leader began to lead.
    SessionExpiredUnderANewLeader,
    /// A client learned that its session is gone.
    SessionGone,
    /// A watch fired because of what happened while its client was away.
    WatchFiredOnReturn,
}

/// How often each was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached([u64; Mark::ALL.len()]);

impl Default for Reached {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Reached {
    /// How often one was.
    pub const fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }

    /// Those that were never reached.
    pub fn missing(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|&mark| self.count(mark) == 0).collect()
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &mark in Mark::ALL {
            writeln!(f, "{:>8}  {mark:?}", self.count(mark))?;
        }
        Ok(())
    }
}

/// How a learner is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Diff,
    Snap,
    Trunc,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begun,
    NewLeader,
    Acknowledged,
    UpToDate,
}

/// A learner on its way into an epoch, or in it.
#[derive(Clone, Copy, Debug)]
struct Join {
    leader: NodeId,
    link: LinkId,
    how: How,
    stage: Stage,
    proposals: usize,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    logged: Zxid,
    durable: Zxid,
    led: bool,
    leads: bool,
    /// How often anything was applied since it began to lead.
    applied: u64,
    /// The end of its log, as it said last.
    said_last: Zxid,
    snap_interrupted: bool,
}

/// Watches one run.
#[derive(Debug, Default)]
pub struct Marks {
    reached: Reached,
    /// What a leader remembers.
    commit_log_count: usize,
    known: BTreeMap<NodeId, Known>,
    joins: BTreeMap<NodeId, Join>,
    followers: BTreeMap<i64, BTreeSet<NodeId>>,
    /// Clients that came back and have not been answered since.
    returned: BTreeSet<ClientId>,
}

impl Marks {
    /// A run of servers that remember so many transactions when they lead.
    pub fn new(commit_log_count: usize) -> Self {
        Self { commit_log_count, ..Self::default() }
    }

    /// How often each was reached.
    pub const fn reached(&self) -> Reached {
        self.reached
    }

    fn reach(&mut self, mark: Mark) {
        self.reached.0[mark as usize] += 1;
    }

    fn known(&mut self, node: NodeId) -> &mut Known {
        self.known.entry(node).or_default()
    }

    /// Looks at the next record.
    pub fn observe(&mut self, what: &Observed) {
        match what {
            Observed::Logged { node, record } => self.known(*node).logged = record.zxid,
            Observed::Synced { node, durable } => self.known(*node).durable = *durable,
            Observed::Found { node, last, durable } => {
                let known = self.known(*node);
                let lost = known.logged > *last;
                (known.logged, known.durable) = (*last, *durable);
                if lost {
                    self.reach(Mark::LostItsTail);
                }
            }
            Observed::Applied { node, .. } => self.known(*node).applied += 1,
            Observed::Crashed { node, .. } => self.crashed(*node),
            Observed::RoleTaken { node, standing, .. } => {
                self.role_taken(*node, standing.role, standing.epoch);
            }
            Observed::RoleLost { node, .. } | Observed::Stopped { node, .. } => {
                self.known(*node).leads = false;
                self.interrupted(*node);
            }
            Observed::Said { node, to, link, message, kept } => match kept {
                Some(_) => self.learner_said(*node, message),
                None => self.said(*node, *to, *link, message),
            },
            Observed::SessionExpired { node, .. } => {
                self.reach(Mark::SessionExpired);
                if self.known(*node).applied < 20 {
                    self.reach(Mark::SessionExpiredUnderANewLeader);
                }
            }
            Observed::SessionGone { .. } => self.reach(Mark::SessionGone),
            Observed::Connected { client, resumed: true, .. } => {
                self.returned.insert(*client);
            }
            Observed::Answered { client, .. } => {
                self.returned.remove(client);
            }
            Observed::Event { client, .. } if self.returned.contains(client) => {
                self.reach(Mark::WatchFiredOnReturn);
            }
            _ => {}
        }
    }

    /// Looks at what a server told.
    pub fn told(&mut self, told: &Told) {
        match told {
            Told::SteppedDown { why } => match why {
                StepDownReason::Doubted => self.reach(Mark::LeaderDoubted),
                StepDownReason::EpochOvertaken => self.reach(Mark::LeaderOvertaken),
                StepDownReason::NoQuorumInTime => self.reach(Mark::LeaderWithoutQuorum),
                StepDownReason::QuorumLost => self.reach(Mark::LeaderLostQuorum),
                // No run is that long, nobody elects who knows less, and members do not change.
                StepDownReason::EpochUsedUp | StepDownReason::FollowerAhead | StepDownReason::HandedOver => {}
            },
            Told::LeaderLost { why } => match why {
                LostReason::Doubted => self.reach(Mark::LearnerDoubted),
                LostReason::EpochTooOld => self.reach(Mark::LearnerFoundOldEpoch),
                LostReason::LinkDown => self.reach(Mark::LearnerLostLink),
                LostReason::Timeout => self.reach(Mark::LearnerTimedOut),
                LostReason::Unreachable => self.reach(Mark::LearnerFoundNobody),
                // A leader that is right says nothing of the kind.
                LostReason::BadMessage | LostReason::NotContiguous | LostReason::Reconfigured => {}
            },
            Told::Rewound { .. } => self.reach(Mark::Rewound),
            Told::SnapshotInstalled { .. } => self.reach(Mark::SnapshotInstalled),
            _ => {}
        }
    }

    /// Looks at what recovery noticed.
    pub fn noticed(&mut self, notices: &[Notice]) {
        let mut has_snapshot = false;
        for notice in notices {
            match notice {
                Notice::BatchCut { .. } => self.reach(Mark::TornBatchCut),
                Notice::FreshDatabase => self.reach(Mark::BegunAnew),
                Notice::LogRemoved { .. } => self.reach(Mark::EmptyLogRemoved),
                Notice::LogTailCut { .. } => self.reach(Mark::TornTailCut),
                Notice::SnapshotLoaded { .. } => has_snapshot = true,
                Notice::Replayed { txns, .. } if *txns > 0 && has_snapshot => {
                    self.reach(Mark::ReplayedBehindSnapshot);
                }
                Notice::TemporaryRemoved { .. } => self.reach(Mark::TemporaryRemoved),
                _ => {}
            }
        }
    }

    fn crashed(&mut self, node: NodeId) {
        let known = *self.known(node);
        if known.leads {
            self.reach(Mark::LeaderCrashed);
            if known.logged > known.durable {
                self.reach(Mark::LeaderCrashedBeforeItsSync);
            }
            if self.joins.values().any(|join| join.leader == node && join.stage < Stage::UpToDate) {
                self.reach(Mark::LeaderCrashedDuringSync);
            }
        }
        match self.joins.get(&node).map(|join| join.stage) {
            Some(Stage::Begun) => self.reach(Mark::CrashBeforeNewLeader),
            Some(Stage::NewLeader) => self.reach(Mark::CrashBeforeAck),
            Some(Stage::Acknowledged) => self.reach(Mark::CrashBeforeUpToDate),
            Some(Stage::UpToDate) | None => {}
        }
        self.known(node).leads = false;
        self.interrupted(node);
    }

    /// A learner's way into an epoch is over, where it was not at its end.
    fn interrupted(&mut self, node: NodeId) {
        let Some(join) = self.joins.remove(&node) else { return };
        if join.stage >= Stage::Acknowledged {
            return;
        }
        match join.how {
            How::Diff => {}
            How::Snap => {
                self.known(node).snap_interrupted = true;
                self.reach(Mark::SnapInterrupted);
            }
            How::Trunc => self.reach(Mark::TruncInterrupted),
        }
    }

    fn role_taken(&mut self, node: NodeId, role: Role, epoch: i64) {
        let others_lead = self.known.iter().any(|(&other, known)| other != node && known.leads);
        let known = self.known(node);
        let again = role == Role::Leading && known.led;
        known.leads = role == Role::Leading;
        known.led |= known.leads;
        if known.leads {
            known.applied = 0;
        }
        match role {
            Role::Looking => {}
            Role::Leading => {
                if again {
                    self.reach(Mark::LeaderAgain);
                }
                if others_lead {
                    self.reach(Mark::TwoLeadersAtOnce);
                }
            }
            Role::Following => {
                let followers = self.followers.entry(epoch).or_default();
                followers.insert(node);
                // The first of them came with the leader's quorum.
                if followers.len() > 1 {
                    self.reach(Mark::LateJoiner);
                }
            }
            Role::Observing => self.reach(Mark::ObserverJoined),
        }
    }

    fn learner_said(&mut self, node: NodeId, message: &Message) {
        match message {
            Message::AckEpoch { last_zxid, current_epoch } => {
                self.known(node).said_last = *last_zxid;
                if *current_epoch == -1 {
                    self.reach(Mark::PromisedBefore);
                }
            }
            Message::Ack { zxid } if zxid.counter() == 0 => {
                if let Some(join) = self.joins.get_mut(&node) {
                    join.stage = join.stage.max(Stage::Acknowledged);
                }
            }
            _ => {}
        }
    }

    fn said(&mut self, node: NodeId, to: NodeId, link: LinkId, message: &Message) {
        match message {
            Message::Diff { .. } => self.begin(node, to, link, How::Diff),
            Message::Snap { .. } => self.begin(node, to, link, How::Snap),
            Message::Trunc { zxid } => {
                let known = *self.known(to);
                if known.led {
                    self.reach(Mark::TruncOfAnOldLeader);
                }
                if zxid.epoch() < known.said_last.epoch() {
                    self.reach(Mark::TruncAcrossEpochs);
                }
                self.begin(node, to, link, How::Trunc);
            }
            Message::Request { .. } => self.reach(Mark::Request),
            Message::Revalidate { .. } => self.reach(Mark::Revalidate),
            Message::Revalidated { valid: false, .. } => self.reach(Mark::RevalidateInVain),
            Message::Sync => self.reach(Mark::Sync),
            Message::Inform { .. } => self.reach(Mark::Inform),
            Message::Proposal { .. }
            | Message::Commit { .. }
            | Message::NewLeader { .. }
            | Message::UpToDate => {
                self.said_in_join(to, link, message);
            }
            _ => {}
        }
    }

    fn begin(&mut self, leader: NodeId, learner: NodeId, link: LinkId, how: How) {
        self.interrupted(learner);
        match how {
            How::Diff => {
                if std::mem::take(&mut self.known(learner).snap_interrupted) {
                    self.reach(Mark::SnapThenDiff);
                }
            }
            How::Snap => self.reach(Mark::SnapSent),
            How::Trunc => self.reach(Mark::TruncSent),
        }
        self.joins.insert(learner, Join { leader, link, how, stage: Stage::Begun, proposals: 0 });
    }

    fn said_in_join(&mut self, to: NodeId, link: LinkId, message: &Message) {
        let Some(join) = self.joins.get_mut(&to).filter(|join| join.link == link) else { return };
        let stage = join.stage;
        match message {
            Message::Proposal { .. } => join.proposals += 1,
            Message::NewLeader { .. } => join.stage = Stage::NewLeader,
            Message::UpToDate => join.stage = Stage::UpToDate,
            _ => {}
        }
        let (how, proposals) = (join.how, join.proposals);
        let is_open = stage == Stage::NewLeader || stage == Stage::Acknowledged;
        match message {
            Message::Proposal { .. } if is_open => self.reach(Mark::ProposalBeforeUpToDate),
            Message::Commit { .. } if is_open => self.reach(Mark::CommitBeforeUpToDate),
            Message::NewLeader { .. } if how == How::Diff => self.reach(match proposals {
                0 => Mark::DiffEmpty,
                _ if proposals > self.commit_log_count => Mark::DiffFromLog,
                _ => Mark::DiffFromMemory,
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const LEADER: NodeId = NodeId(0);
    const LEARNER: NodeId = NodeId(1);

    fn say(marks: &mut Marks, message: Message) {
        let message = Rc::new(message);
        marks.observe(&Observed::Said { node: LEADER, to: LEARNER, link: LinkId(1), message, kept: None });
    }

    #[test]
    fn a_snapshot_that_is_interrupted_and_then_a_difference() {
        let mut marks = Marks::new(5);
        say(&mut marks, Message::Snap { zxid: Zxid::new(1, 7) });
        marks.observe(&Observed::Crashed { node: LEARNER, power: true });
        say(&mut marks, Message::Diff { zxid: Zxid::new(1, 7) });
        say(&mut marks, Message::NewLeader { zxid: Zxid::new(1, 0), config: None });
        say(&mut marks, Message::Commit { zxid: Zxid::new(1, 8) });
        let reached = marks.reached();
        let all: Vec<Mark> = Mark::ALL.iter().copied().filter(|&mark| reached.count(mark) == 1).collect();
        assert_eq!(
            all,
            [
                Mark::DiffEmpty,
                Mark::SnapSent,
                Mark::SnapInterrupted,
                Mark::SnapThenDiff,
                Mark::CrashBeforeNewLeader,
                Mark::CommitBeforeUpToDate
            ]
        );
        assert_eq!(reached.missing().len(), Mark::ALL.len() - all.len());
    }
}
