//! `mntr`: how the server is, one metric a line, under the names and in the formats of ZooKeeper (PARITY `4lw.mntr`,
//! 6.3).
//!
//! What ZooKeeper tells of parts that this server does not have is not there: a number here was counted or measured.

use alloc::string::String;
use core::fmt::{self, Write};

use super::Server;
use super::metrics::Metrics;
use crate::conn::stats::ServerStats;

impl Server {
    /// The answer to `mntr`.
    pub(super) fn write_monitor(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "zk_version\t{}", self.config.about.version)?;
        writeln!(out, "zk_server_state\t{}", self.mode().unwrap_or_default())?;
        self.write_peer_state(out)?;
        self.write_gauges(out)?;
        self.write_member_gauges(out)?;
        self.write_quotas(out)?;
        self.metrics.write(out)
    }

    /// Begins to count anew (`srst`). How often the disk was slow is known since the start, as with ZooKeeper.
    pub(super) fn reset_metrics(&mut self) {
        self.stats = ServerStats::default();
        self.metrics = Metrics::default();
        self.quota_log.forget_refused();
        self.reset_proposal_sizes();
    }

    fn write_gauges(&self, out: &mut String) -> fmt::Result {
        let latency = &self.stats.latency;
        writeln!(out, "zk_avg_latency\t{}", latency.mean())?;
        let uptime = self.now.mono.since(self.role_since).as_millis();
        for (key, value) in [
            ("min_latency", latency.min()),
            ("max_latency", latency.max()),
            ("packets_received", self.stats.received),
            ("packets_sent", self.stats.sent),
            ("num_alive_connections", self.conns.len() as u64),
            ("outstanding_requests", self.in_process() as u64),
            ("uptime", u64::try_from(uptime).unwrap_or(u64::MAX)),
            ("znode_count", self.tree.node_count() as u64),
            ("watch_count", self.watches.watch_count() as u64),
            ("ephemerals_count", self.tree.ephemeral_count() as u64),
            ("approximate_data_size", self.tree.approximate_data_size()),
            ("global_sessions", (self.sessions.len() - self.sessions.local_count()) as u64),
            ("local_sessions", self.sessions.local_count() as u64),
            ("fsync_threshold_exceed_count", self.slow_syncs),
        ] {
            writeln!(out, "zk_{key}\t{value}")?;
        }
        if let Some(files) = self.open_files {
            writeln!(out, "zk_open_file_descriptor_count\t{}", files.count)?;
            writeln!(out, "zk_max_file_descriptor_count\t{}", files.max)?;
        }
        self.metrics.response_sizes.write("client_response_size", out)
    }

    /// Limits and usage of quotas, and writes that were refused for them, by the first name of the path (PARITY
    /// `quota.metrics`, `quota.errors`).
    fn write_quotas(&self, out: &mut String) -> fmt::Result {
        for (namespace, totals) in self.tree.quota_totals() {
            for (key, value) in [
                ("count_limit", totals.count_limit),
                ("bytes_limit", totals.bytes_limit),
                ("count_usage", totals.count_usage),
                ("bytes_usage", totals.bytes_usage),
            ] {
                writeln!(out, "zk_{namespace}_quota_{key}_per_namespace\t{value}")?;
            }
        }
        self.quota_log.refused().try_for_each(|(namespace, count)| {
            writeln!(out, "zk_{namespace}_quota_exceeded_error_per_namespace\t{count}")
        })
    }
}
