//! Where runs have been: each step of election, synchronisation and recovery that a run must have taken at least once
//! among many, or the runs do not test what they are there for.
//!
//! Marks are derived from what is seen of the servers anyway, from the records that checkers look at; the core knows
//! nothing of them. A mark that no run reaches is a hole in the options or in the faults, not in the servers. The fixed
//! seeds reach all of them, but those in [`IN_SCENARIOS`], which a scenario leads to, and says so.
//!
//! | file | what happens there |
//! |---|---|
//! | `eyes` | one run is watched |
//! | `ballots` | votes, and what they show of an election |
//! | `joins` | learners on their way into an epoch |
//!
//! The state machines have these steps besides, which have no mark:
//!
//! | step | why |
//! |---|---|
//! | behind a cut there comes what the learner lacks | who has to be cut has all that is committed, or gets a snapshot: an epoch has no gaps; `core/src/zab/sync.rs` |
//! | a log is cut further back than was asked for | that takes a history that no right leader has; `core/src/recovery/rewind_tests.rs` |
//! | a leader says what makes no sense, or leaves out a transaction | a right one does not; `core/src/zab/learner_tests.rs` |
//! | read-only without a leader | no simulated server does that; `core/tests/read_only.rs` |
//! | an operator accepts the loss of data | nobody does here; `core/src/recovery/tests.rs` |

mod ballots;
mod eyes;
mod joins;

use std::fmt;

pub use self::eyes::Marks;

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
    /// A server looks for a leader.
    RoundBegun,
    /// Who looks votes for another than itself.
    VoteChanged,
    /// Who looks joins a round later than its own.
    RoundJoined,
    /// Who looks says again what it has said before.
    VoteRepeated,
    /// Who has a leader tells who looks.
    LeaderNamed,
    /// Who may have lost data looks, and cannot be elected.
    LookedWithoutData,
    /// A leader serves.
    LeaderServes,
    /// A follower serves.
    FollowerServes,
    /// A leader gave up because a voter has a history that it has not.
    LeaderBehind,
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
    /// A follower brought an observer up to date.
    ObserverMaster,
    /// A leader gave up because its voters look for another.
    LeaderDoubted,
    /// A leader gave up because a voter had promised itself to a later epoch.
    LeaderOvertaken,
    /// A leader gave up because no quorum came in time.
    LeaderWithoutQuorum,
    /// A leader gave up because it lost its quorum.
    LeaderLostQuorum,
    /// A leader gave up because its epoch had no zxids left.
    LeaderUsedUpItsEpoch,
    /// A leader gave up because its disk did nothing, with its log full.
    LeaderMadeWay,
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

    // Epochs.
    /// A follower says what it has promised.
    FollowerIntroduced,
    /// Likewise an observer.
    ObserverIntroduced,
    /// A leader proposes an epoch.
    EpochProposed,
    /// One that is more than one later than what it had promised itself: somebody else had promised more.
    EpochLeapt,
    /// A learner promises to follow nobody of an earlier epoch.
    EpochPromised,
    /// One that had promised already says so with an epoch of -1: it does not count.
    PromisedBefore,
    /// A leader has its history as the one that its epoch begins with.
    EpochBegun,

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
    /// One for several learners at once.
    SnapForSeveral,
    /// A snapshot from the leader is the database.
    SnapshotInstalled,
    /// A link or a learner was lost between TRUNC and the acknowledgement.
    TruncInterrupted,
    /// Likewise SNAP.
    SnapInterrupted,
    /// After an interrupted snapshot, the next try was with a difference.
    SnapThenDiff,
    /// A learner acknowledges the history of an epoch.
    HistoryAcknowledged,
    /// It is told that it is up to date.
    UpToDate,
    /// It says that it knows.
    UpToDateAcknowledged,
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
    /// An observer was informed of a commit between the two.
    InformBeforeUpToDate,
    /// Behind UPTODATE a learner hears of commits before it has answered: those since NEWLEADER.
    CommitBehindUpToDate,
    /// One that may have lost data has been brought up to date, and votes again.
    VotesAgain,

    // Broadcast.
    /// A commit that the leader's own disk has no part in yet.
    CommitBeforeOwnSync,
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

    // Members.
    /// A change of members is in force on a server.
    MembersChanged,
    /// A server goes by members of which one was none before.
    MemberJoined,
    /// A server goes by members of which one is missing.
    MemberLeft,
    /// A server that looks for a leader hears of newer members.
    MembersHeardOf,
    /// An observer is told that a change is in force.
    ChangeToldToObserver,
    /// A change was refused, for those who follow are no quorum of the new members.
    ChangeWithoutQuorum,
    /// A leader gave up because another leads the new members.
    LeaderHandedOver,
    /// A learner gave up because of what it or its leader is among the new members.
    LearnerReconfigured,

    // Recovery.
    /// A new database was begun.
    BegunAnew,
    /// A member may have lost data that it acknowledged.
    MayHaveLostData,
    /// The newest snapshot cannot be used, and the log does not reach as far.
    BehindItsSnapshot,
    /// An older snapshot was loaded in place of one that cannot be used.
    FellBack,
    /// A finished record is damaged; what comes behind it comes from others.
    DamageFound,
    /// Something that is no record was passed over, and nothing is missing.
    DamagePassedOver,
    /// A server does not start on what is left.
    Refused,
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
    /// A request came by a server that its session has left.
    SessionMoved,
    /// A session expired.
    SessionExpired,
    /// A session expired soon after its leader began to lead.
    SessionExpiredUnderANewLeader,
    /// A client learned that its session is gone.
    SessionGone,
    /// A watch fired because of what happened while its client was away.
    WatchFiredOnReturn,
}

/// Where only worlds go in which members come and go.
pub const OF_MEMBERS: &[Mark] = &[
    Mark::ChangeToldToObserver,
    Mark::ChangeWithoutQuorum,
    Mark::LeaderHandedOver,
    Mark::LearnerReconfigured,
    Mark::MemberJoined,
    Mark::MemberLeft,
    Mark::MembersChanged,
    Mark::MembersHeardOf,
];

/// Those that take damage that no random run does, or more accidents in a row than they come to: `sim/tests/marks.rs`
/// plays them, and asserts that it reaches each.
pub const IN_SCENARIOS: &[Mark] = &[
    Mark::BehindItsSnapshot,
    Mark::DamagePassedOver,
    Mark::FellBack,
    Mark::LeaderBehind,
    Mark::LeaderOvertaken,
    Mark::LearnerFoundNobody,
    Mark::LearnerFoundOldEpoch,
    Mark::Refused,
    Mark::TornBatchCut,
    Mark::TruncAcrossEpochs,
];

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

    fn add_one(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }

    /// All that the fixed seeds are to reach were reached.
    ///
    /// # Panics
    /// If one was not.
    pub fn expect_all_reached(&self) {
        let missing = self.missing();
        let elsewhere = |mark: &Mark| IN_SCENARIOS.contains(mark) || OF_MEMBERS.contains(mark);
        let missing: Vec<_> = missing.iter().filter(|mark| !elsewhere(mark)).collect();
        assert!(missing.is_empty(), "in no run: {missing:?}");
    }

    /// So was what only comes where members come and go.
    ///
    /// # Panics
    /// If one was not.
    pub fn expect_all_reached_by_members(&self) {
        let missing = self.missing();
        let missing: Vec<_> = missing.iter().filter(|mark| OF_MEMBERS.contains(mark)).collect();
        assert!(missing.is_empty(), "in no run: {missing:?}");
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
