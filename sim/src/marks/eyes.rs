//! One run is watched: its records, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zabra_core::recovery::Notice;
use zabra_core::server::Role;
use zabra_core::types::{ErrorCode, ServerId, Zxid};
use zabra_core::zab::leader::StepDownReason;
use zabra_core::zab::learner::LostReason;

use super::ballots::Ballot;
use super::joins::{Join, Stage};
use super::{Mark, Reached};
use crate::ending::{Ending, RoleEnd};
use crate::history::{Observed, Rewind};
use crate::places::{ClientId, NodeId};

/// A leader that has applied fewer transactions than this has not led for long.
const NEW_LEADER_APPLIED: u64 = 20;

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) logged: Zxid,
    pub(super) durable: Zxid,
    pub(super) led: bool,
    pub(super) leads: bool,
    pub(super) looks: bool,
    /// The epoch that it has promised, and the one that it had promised before.
    accepted: i64,
    pub(super) accepted_before: i64,
    /// How often anything was applied since it began to lead.
    applied: u64,
    /// The end of its log, as it said last.
    pub(super) said_last: Zxid,
    pub(super) snap_interrupted: bool,
}

/// Watches one run.
#[derive(Debug, Default)]
pub struct Marks {
    reached: Reached,
    /// What a leader remembers.
    pub(super) commit_log_count: usize,
    known: BTreeMap<NodeId, Known>,
    pub(super) joins: BTreeMap<NodeId, Join>,
    followers: BTreeMap<i64, BTreeSet<NodeId>>,
    /// What servers that look have said.
    pub(super) ballots: BTreeMap<NodeId, Ballot>,
    /// Who was a member, as each server knew last.
    members: BTreeMap<NodeId, Rc<[ServerId]>>,
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

    pub(super) fn reach(&mut self, mark: Mark) {
        self.reached.add_one(mark);
    }

    pub(super) fn known(&mut self, node: NodeId) -> &mut Known {
        self.known.entry(node).or_default()
    }

    /// Looks at the next record.
    pub fn observe(&mut self, what: &Observed) {
        match what {
            Observed::Logged { node, record } => {
                self.known(*node).logged = record.zxid;
                match record.error {
                    Some(ErrorCode::SESSIONMOVED) => self.reach(Mark::SessionMoved),
                    Some(ErrorCode::NEWCONFIGNOQUORUM) => self.reach(Mark::ChangeWithoutQuorum),
                    _ => {}
                }
            }
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
            Observed::Recovered { notices, .. } => self.noticed(notices),
            Observed::RoleTaken { node, standing, .. } => {
                self.role_taken(*node, standing.role, standing.epoch);
            }
            Observed::EpochAccepted { node, epoch, .. } => {
                let known = self.known(*node);
                known.accepted_before = known.accepted;
                known.accepted = *epoch;
            }
            Observed::EpochCurrent { node, .. } if !self.joins.contains_key(node) => {
                self.reach(Mark::EpochBegun);
            }
            Observed::Reconfigured { node, version, members } => self.reconfigured(*node, *version, members),
            Observed::Stopped { node, why, .. } => {
                if let Ending::Refused(_) = why {
                    self.reach(Mark::Refused);
                }
                self.no_role(*node);
            }
            Observed::RoleLost { node, why } => {
                self.role_lost(*why);
                self.no_role(*node);
            }
            Observed::Rewound { how, .. } => self.reach(match how {
                Rewind::Cut => Mark::Rewound,
                Rewind::Snapshot => Mark::SnapshotInstalled,
            }),
            Observed::VotesAgain { .. } => self.reach(Mark::VotesAgain),
            Observed::Said { node, to, link, message, .. } => self.said(*node, *to, *link, message),
            Observed::Voted { node, to, notification, .. } => self.notified(*node, *to, notification),
            Observed::SessionExpired { node, .. } => {
                self.reach(Mark::SessionExpired);
                if self.known(*node).applied < NEW_LEADER_APPLIED {
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

    fn role_lost(&mut self, why: RoleEnd) {
        match why {
            RoleEnd::SteppedDown(why) => match why {
                StepDownReason::Doubted => self.reach(Mark::LeaderDoubted),
                StepDownReason::EpochOvertaken { .. } => self.reach(Mark::LeaderOvertaken),
                StepDownReason::NoQuorumInTime => self.reach(Mark::LeaderWithoutQuorum),
                StepDownReason::QuorumLost => self.reach(Mark::LeaderLostQuorum),
                StepDownReason::FollowerAhead => self.reach(Mark::LeaderBehind),
                StepDownReason::HandedOver => self.reach(Mark::LeaderHandedOver),
                StepDownReason::DiskHangs => self.reach(Mark::LeaderMadeWay),
                StepDownReason::EpochUsedUp => self.reach(Mark::LeaderUsedUpItsEpoch),
            },
            RoleEnd::LeaderLost(why) => match why {
                LostReason::Doubted => self.reach(Mark::LearnerDoubted),
                LostReason::EpochTooOld => self.reach(Mark::LearnerFoundOldEpoch),
                LostReason::LinkDown => self.reach(Mark::LearnerLostLink),
                LostReason::Timeout => self.reach(Mark::LearnerTimedOut),
                LostReason::Unreachable => self.reach(Mark::LearnerFoundNobody),
                LostReason::Reconfigured => self.reach(Mark::LearnerReconfigured),
                // A leader that is right says nothing of the kind; a log that does not lead up to where it is to be cut, and
                // members that cannot be kept, are too rare to count on.
                LostReason::BadMessage
                | LostReason::CommittedMissing
                | LostReason::ConfigNotKept
                | LostReason::CutShort
                | LostReason::LessThanVoted
                | LostReason::NoWayBack
                | LostReason::Diverged
                | LostReason::NotContiguous
                | LostReason::SnapshotNotKept => {}
            },
        }
    }

    fn reconfigured(&mut self, node: NodeId, version: i64, members: &Rc<[ServerId]>) {
        // The first one has got its version.
        if !Zxid(version).begins_epoch() {
            self.reach(Mark::MembersChanged);
            if self.known(node).looks {
                self.reach(Mark::MembersHeardOf);
            }
        }
        let Some(before) = self.members.insert(node, members.clone()) else { return };
        if members.iter().any(|member| !before.contains(member)) {
            self.reach(Mark::MemberJoined);
        }
        if before.iter().any(|member| !members.contains(member)) {
            self.reach(Mark::MemberLeft);
        }
    }

    fn noticed(&mut self, notices: &[Notice]) {
        let (mut has_snapshot, mut passed_over) = (false, false);
        for notice in notices {
            match notice {
                Notice::BatchCut { .. } => self.reach(Mark::TornBatchCut),
                Notice::BehindEnsemble { .. } => self.reach(Mark::BehindItsSnapshot),
                Notice::DamageFound { .. } => self.reach(Mark::DamageFound),
                Notice::Harmless { .. } => self.reach(Mark::DamagePassedOver),
                Notice::Unsynced { .. } => self.reach(Mark::MayHaveLostData),
                Notice::FreshDatabase => self.reach(Mark::BegunAnew),
                Notice::LogRemoved { .. } => self.reach(Mark::EmptyLogRemoved),
                Notice::LogTailCut { .. } => self.reach(Mark::TornTailCut),
                Notice::SnapshotUnreadable { .. } => passed_over = true,
                Notice::SnapshotLoaded { .. } => {
                    has_snapshot = true;
                    if passed_over {
                        self.reach(Mark::FellBack);
                    }
                }
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
            Some(Stage::UpToDate | Stage::Following) | None => {}
        }
        self.no_role(node);
    }

    fn no_role(&mut self, node: NodeId) {
        self.known(node).leads = false;
        self.interrupted(node);
    }

    fn role_taken(&mut self, node: NodeId, role: Role, epoch: i64) {
        let others_lead = self.known.iter().any(|(&other, known)| other != node && known.leads);
        let known = self.known(node);
        let again = role == Role::Leading && known.led;
        known.leads = role == Role::Leading;
        known.looks = role == Role::Looking;
        known.led |= known.leads;
        if known.leads {
            known.applied = 0;
        }
        match role {
            Role::Looking => {
                self.ballots.remove(&node);
                self.reach(Mark::RoundBegun);
            }
            Role::Leading => {
                self.reach(Mark::LeaderServes);
                if again {
                    self.reach(Mark::LeaderAgain);
                }
                if others_lead {
                    self.reach(Mark::TwoLeadersAtOnce);
                }
            }
            Role::Following => {
                self.reach(Mark::FollowerServes);
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
}
