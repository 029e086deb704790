//! Bugs that ZooKeeper had, each as a situation that it failed in, called by its number there.
//!
//! What must hold is checked all the time, see `sim::check`; a scenario leads to where a server with the defect would
//! do what it must not. Most are played some times over, with other distances between the steps. The files follow what
//! went wrong:
//!
//! | file | what |
//! |---|---|
//! | `sync` | a server is brought up to date, and histories meet |
//! | `election` | who leads, in which epoch, with whose support |
//! | `storage` | files, disks, power |
//! | `tree` | snapshots while writes go on, and writes that belong together |
//! | `sessions` | sessions and the znodes that go with them |
//! | `watches` | what clients see, and are told of |
//!
//! A scenario that never failed tells nothing. Each was played with a core that had the defect it is about, as ZooKeeper
//! had it or as it could be made here, and failed. Most of these defects are kept as `sim/mutants/K*.patch`, which name
//! their scenarios; `sim/mutants/play` shows it again. The others:
//!
//! | scenario | the defect that it was seen to fail with |
//! |---|---|
//! | 4643 | `currentEpoch` is written before the history is durable; see also A08 there |
//! | 5094 | after TRUNC the log is cut, and the tree is what it was before |
//! | 3642 | a snapshot is the database before it is durable, and a role ends without waiting for it |
//! | 2872 | the simulated disk gives a snapshot its name without having synced its content |
//! | 1732 | followers go on to name the epoch of the election, not the one that their leader began |
//! | 2247 | an error of the log's disk is ignored |
//! | 2307 | an error when an epoch is written is ignored |
//! | 2249 | the simulated disk cuts a file to the size that it should be made larger to |
//! | 4269 | an epoch file under its temporary name is not looked at |
//! | 2332 | a log without a header is damage; a gap behind a torn file is passed over: one half each |
//! | 2325 | without a snapshot the log is not looked at |
//! | 3231 | a snapshot that could not be written is taken for finished |
//! | 1573, 3125, 3306 | snapshots show znodes as they are when their turn comes; then: replay gives up where there is no parent, does not raise a parent's pzxid, or does not take over a list |
//! | 1624, 2052 | a multi that fails leaves the znodes that it changed as it changed them |
//! | 1367 | transactions that a learner is brought up to date with do not reach its table of sessions |
//! | 3144, 3145 | a snapshot begins between a transaction's effect on the tree and on the table of sessions |
//! | 1412 | watches are registered again as if their client had seen nothing; as if it had seen everything |
//!
//! These are not here:
//!
//! | bug | why |
//! |---|---|
//! | ZOOKEEPER-1277, zxids used up | no run is that long; `core/src/zab/leader/tests/broadcast.rs`, `zab_rollover_ends_the_epoch` |
//! | ZOOKEEPER-1514, 3109, rounds and changed minds of voters | votes held back one by one; `core/src/election/tests.rs` |
//! | ZOOKEEPER-2172, 2865, members that change during a snapshot | worlds in which members change draw it (`--members`); `core/tests/reconfig.rs` |
//! | ZOOKEEPER-4787, characters in notifications | to us they are bytes; `core/src/wire/election.rs` |
//! | ZOOKEEPER-3526, a zxid counter of its own in read-only mode | no simulated server has it; `core/tests/read_only.rs` |
//! | ZOOKEEPER-3056, 3644, a way out when snapshots are missing | no simulated operator takes it; `core/src/recovery/tests.rs` |
//! | ZOOKEEPER-2926, 3471, sessions that only one server knows | no simulated server has them; `core/tests/local_sessions.rs` |
//! | ZOOKEEPER-4743, a version that wraps around to -1 | takes 2^32 writes; `a_version_is_never_minus_one` in `core/src/pipeline/prep.rs` |
//! | ZOOKEEPER-1622, 2901, 3113, arithmetic of session ids | server ids above 127 are no node of a simulation; `core/src/session/` |
//! | ZOOKEEPER-706, watches that fill more than one frame | the client's part; `core/src/client/watches.rs` |
//! | ZOOKEEPER-4475, 4466, 4471, modes of persistent watches | `core/src/tree/tests/watches.rs` and `core/tests/features/watches.rs` |
//! | ZOOKEEPER-1208, a session that is used behind its end | rude clients of random worlds do it (`sim/src/client/rude.rs`); `core/tests/sessions.rs` |
//! | ZOOKEEPER-1382, a watch of a session that is over | watches belong to connections; `core/src/tree/watch.rs` |
//! | ZOOKEEPER-2623, a check outside of a multi | no client sends one; `core/tests/requests.rs` |

mod election;
mod sessions;
mod storage;
mod sync;
mod tree;
mod watches;

use std::time::Duration;

use sim::options::Options;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Three voters, in a world where nothing goes wrong by itself.
fn three() -> Options {
    Options::calm_cluster(3, 0)
}

/// Three voters that remember so few transactions that whoever was away gets a snapshot.
fn forgetful() -> Options {
    let mut options = three();
    let ensemble = options.config.ensemble.as_mut().expect("it is an ensemble");
    ensemble.commit_log_count = 3;
    ensemble.snapshot_size_permille = None;
    options.config.snap_count = 20;
    options
}

/// Three voters that remember as few, and read the rest from their logs.
fn bookish() -> Options {
    let mut options = forgetful();
    let ensemble = options.config.ensemble.as_mut().expect("it is an ensemble");
    ensemble.snapshot_size_permille = Some(u32::MAX);
    options
}

/// Three voters and two clients.
fn two_clients() -> Options {
    let mut options = three();
    options.clients = 2;
    options
}

/// A client that has many requests under way, one right behind the other.
fn busy(mut options: Options) -> Options {
    options.workload.pipeline_max = 100;
    options.workload.think = Duration::from_micros(200);
    options
}
