//! What a server counts and measures beside what it is, under the names that ZooKeeper gives it (PARITY `met.counters`,
//! `met.summaries.basic`, `met.summaries.advanced`).
//!
//! A name is here only if this server has what is counted: what belongs to Java's threads, queues and caches is not.

use core::fmt::{self, Write};
use core::time::Duration;

use crate::conn::summary::{Percentiles, Sizes, Summary};
use crate::types::EventType;

/// A struct of one type for all fields, and its fields by name.
macro_rules! named {
    ($(#[$about:meta])* $type:ident of $value:ty { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct $type {
            $($(#[$doc])* pub(super) $name: $value,)*
        }

        impl $type {
            /// By name, in the order of the alphabet.
            fn each(&self) -> impl Iterator<Item = (&'static str, &$value)> {
                [$((stringify!($name), &self.$name),)*].into_iter()
            }
        }
    };
}

named! {
    /// Things that happened, and bytes that went by.
    Counters of u64 {
        /// Of requests and handshakes, the length in front included.
        bytes_received_count,
        /// Transactions that this server committed as a leader.
        commit_count,
        /// Connections that their clients ended.
        connection_drop_count,
        /// Connections beyond a limit.
        connection_rejected,
        /// Handshakes.
        connection_request_count,
        /// Handshakes of sessions that there were before.
        connection_revalidate_count,
        /// Learners that were brought up to date without a snapshot.
        diff_count,
        /// Transactions after which the tree's digest was not its author's.
        digest_mismatches_count,
        /// Logins by the name of an ensemble that is not this one.
        ensemble_auth_fail,
        /// Such logins without a name, or where none is configured.
        ensemble_auth_skip,
        /// Such logins by this ensemble's name.
        ensemble_auth_success,
        /// Requests that were too large.
        large_requests_rejected,
        /// Commits that this server heard of as a follower or observer.
        learner_commit_received_count,
        /// Proposals that it heard of as a follower.
        learner_proposal_received_count,
        /// How often it began to look for a leader.
        looking_count,
        /// Transactions that this server proposed as a leader.
        proposal_count,
        /// Of replies.
        response_bytes,
        /// Sessions that learners asked this leader about.
        revalidate_count,
        /// Connections that came to no session in time.
        sessionless_connections_expired,
        /// Learners that were brought up to date by a snapshot.
        snap_count,
        /// Sessions that nothing was heard from.
        stale_sessions_expired,
        /// Requests that waited too long.
        throttled_ops,
        /// Of events.
        watch_bytes,
    }
}

named! {
    /// Things that were measured. Times are in milliseconds.
    Summaries of Summary {
        /// From looking for a leader to having one.
        election_time,
        /// From coming to a leader to following it.
        follower_sync_time,
        /// Of the log, the write before it included.
        fsynctime,
        /// From having no leader to leading.
        leader_unavailable_time,
        /// Watches fired by one change of data.
        node_changed_watch_count,
        /// Watches fired by one change of children.
        node_children_watch_count,
        /// Watches fired by one new znode.
        node_created_watch_count,
        /// Watches fired by one deleted znode.
        node_deleted_watch_count,
        /// From coming to a leader to observing it.
        observer_sync_time,
        /// From a snapshot's begin to its being durable.
        snapshottime,
        /// Transactions that were read from the log at the start.
        startup_txns_loaded,
        /// From having no leader to serving clients.
        unavailable_time,
    }
}

/// Everything that is counted and measured since the start, or since it was reset (`srst`).
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) counters: Counters,
    pub(super) summaries: Summaries,
    /// How long reads took.
    pub(super) read_latency: Percentiles,
    /// How long writes took.
    pub(super) update_latency: Percentiles,
    /// Bytes of replies.
    pub(super) response_sizes: Sizes,
}

/// Watches that one change fired.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fired {
    changed: u64,
    children: u64,
    created: u64,
    deleted: u64,
}

impl Fired {
    /// A watch fired.
    pub(super) const fn add(&mut self, event: EventType) {
        match event {
            EventType::NodeChildrenChanged => self.children += 1,
            EventType::NodeCreated => self.created += 1,
            EventType::NodeDataChanged => self.changed += 1,
            EventType::NodeDeleted => self.deleted += 1,
            // No change of the tree is told so.
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => {}
        }
    }
}

impl Metrics {
    /// A request was answered with so many bytes, the length in front included.
    pub(super) fn answered(&mut self, is_write: bool, took: Duration, bytes: usize) {
        self.took(is_write, took);
        let bytes = without_length(bytes);
        self.counters.response_bytes += bytes as u64;
        self.response_sizes.add(bytes);
    }

    /// A request took so long.
    pub(super) fn took(&mut self, is_write: bool, took: Duration) {
        let latency = if is_write { &mut self.update_latency } else { &mut self.read_latency };
        latency.add_ms(took);
    }

    /// An event was sent in so many bytes, the length in front included.
    pub(super) fn sent_event(&mut self, bytes: usize) {
        let bytes = without_length(bytes);
        self.counters.watch_bytes += bytes as u64;
        self.response_sizes.add(bytes);
    }

    /// A change fired watches. Where it fired none of a kind, nothing is added, as there.
    pub(super) fn fired(&mut self, fired: Fired) {
        let summaries = &mut self.summaries;
        for (summary, count) in [
            (&mut summaries.node_changed_watch_count, fired.changed),
            (&mut summaries.node_children_watch_count, fired.children),
            (&mut summaries.node_created_watch_count, fired.created),
            (&mut summaries.node_deleted_watch_count, fired.deleted),
        ] {
            if count > 0 {
                summary.add(count);
            }
        }
    }

    /// The lines of `mntr`.
    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        for (name, count) in self.counters.each() {
            writeln!(out, "zk_{name}\t{count}")?;
        }
        for (name, summary) in self.summaries.each() {
            summary.write(name, out)?;
        }
        self.read_latency.write("readlatency", out)?;
        self.update_latency.write("updatelatency", out)
    }
}

/// ZooKeeper counts packets without the length in front.
const fn without_length(bytes: usize) -> usize {
    bytes.saturating_sub(4)
}
