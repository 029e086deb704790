//! ZAB: how the servers of an ensemble agree on one history, as ZooKeeper's do, message for message (PARITY `quorum.*`,
//! `sync.*`, `zab.*`), and stricter where that has lost data.
//!
//! These machines speak in [`Message`](crate::types::Message)s and say what is to be done; they touch neither tree nor
//! disk. `server::ensemble` carries it out.
//!
//! ```text
//!              Learner                                            Leader
//!   ┌─ Dialing                                        Epoch ─┐  collects what voters promised
//!   │     FOLLOWERINFO(accepted) ───────────────────────▶    │
//!   │                                         SavingAccepted │  acceptedEpoch = e            ● durable
//!   │                             ◀──────────── LEADERINFO(e)│
//!   │  SavingAccepted   acceptedEpoch = e  ● durable         │
//!   │     ACKEPOCH(current, last) ──────────────────▶ Promises  a quorum follows nobody older
//!   │                                          SavingCurrent │  currentEpoch = e             ● durable
//!   │                             ◀───────── DIFF | TRUNC | SNAP
//!   │  Rewinding        the log cut at z   ● durable         │
//!   │  Snapshot         snapshot.z         ● durable, before anything is logged behind it
//!   │  Synchronizing    PROPOSAL, COMMIT … into the log      │
//!   │                             ◀───────────────── NEWLEADER
//!   │  SavingHistory    every proposal     ● durable         │
//!   │  SavingCurrent    currentEpoch = e   ● durable, after the history it stands for
//!   │     ACK(e, 0) ───────────────────────────────▶ History    a quorum has the history
//!   │                             ◀───────────────── UPTODATE
//!   └─ Following        PROPOSAL logged    ● durable ── ACK ──▶ Broadcast
//! ```
//!
//! Nothing that a line to the right promises leaves before the ● above it. A crash between any two of them leaves a
//! server that is where it was before, or where it would have been after: `acceptedEpoch` may be ahead of
//! `currentEpoch`, never behind; the log may be ahead of `currentEpoch`'s history, never behind.
//!
//! | file | what it knows |
//! |---|---|
//! | `leader` | epochs, acknowledgements, commits |
//! | `learner` | the other side |
//! | `learners` | the learners of whoever they learn from |
//! | `observer_master` | a follower that observers learn from |
//! | `progress` | what is known of one learner |
//! | `quorums` | who must have said something before it counts |
//! | `sync` | DIFF, TRUNC or SNAP |
//! | `tail` | the newest transactions, in memory |

pub mod leader;
pub mod learner;
mod learners;
pub mod observer_master;
mod progress;
mod quorums;
pub mod sync;
pub mod tail;

pub use leader::{Leader, LeaderOutput};
pub use learner::{Learner, LearnerOutput};
pub use learners::{LearnerMaster, LearnersOutput};
pub use observer_master::ObserverMaster;
pub use quorums::Quorums;
pub use tail::{Keep, Tail};
