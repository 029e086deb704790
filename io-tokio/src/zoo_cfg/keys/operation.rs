//! Limits on requests, containers, administration, metrics and audit.

use std::time::Duration;

use super::Effect::{Flag, Idle, Int};
use super::Property::{Bare, None, Prefixed};
use super::{Effect, Key, key};
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::{any, any_long, from};

const INT: Kind = Kind::Num(any(""));
const LONG: Kind = Kind::Num(any_long(""));
const MILLIS: Kind = Kind::Num(any(" of milliseconds"));
const NO_CACHE: Effect = Idle("replies are not cached: they are cheap to make");
const NO_THROTTLER: Effect = Idle("requests are limited by globalOutstandingLimit alone in this release");
const NO_BLUE: Effect = Idle("connections are not throttled in this release");
const NO_CLEANER: Effect = Idle("watches of closed connections are removed at once");
const NO_PATH_STATS: Effect = Idle("request paths are not counted in this release");
const NO_TRACKER: Effect = Idle("messages are not tracked in this release");
const NO_JVM: Effect = Idle("there is no Java virtual machine to watch");
const NO_ADMIN_WHY: &str = "the admin server is not in this release of Zabra";
const NO_ADMIN: Effect = Idle(NO_ADMIN_WHY);
const NO_METRICS: Effect = Idle("metrics providers are not in this release of Zabra");
const NO_AUDIT: Effect = Idle("the audit log is not in this release of Zabra: nothing is recorded");

fn millis(n: i64) -> Option<Duration> {
    u64::try_from(n).ok().filter(|&n| n > 0).map(Duration::from_millis)
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("globalOutstandingLimit", Prefixed, Kind::Num(from(1, "")), "1000", Int(|d, n| d.settings.core.global_outstanding_limit = n as usize), "Requests in the server; beyond it, connections that have one are not read from."),
    key("largeRequestMaxBytes", Prefixed, Kind::Num(from(0, " of bytes")), "104857600", Int(|d, n| d.settings.core.large_request_max_bytes = n as usize), "A large write closes its connection if there are more bytes in it and in the log that waits for the disk."),
    key("largeRequestThreshold", Prefixed, Kind::Num(any(" of bytes")), "-1", Int(|d, n| d.settings.core.large_request_threshold = usize::try_from(n).ok().filter(|&n| n > 0)), "A request of more bytes is large; 0 or less: none is."),
    key("enforceQuota", Prefixed, Kind::Flag, "false", Flag(|d, on| d.settings.core.enforce_quota = on), "Whether hard quotas refuse writes."),
    key("throttled_op_wait_time", Prefixed, MILLIS, "0", Int(|d, n| d.settings.core.throttled_op_wait = millis(n)), "A read that waited longer, behind a write of its session, is refused; 0: none is. Writes do not wait."),
    key("znode.container.checkIntervalMs", Bare, Kind::Num(from(1, " of milliseconds")), "60000", Int(|d, n| d.settings.core.container_check_interval = Duration::from_millis(n.unsigned_abs())), "How often emptied containers and expired TTL nodes are looked for."),
    key("znode.container.maxPerMinute", Bare, Kind::Num(from(1, "")), "10000", Int(|d, n| d.settings.core.container_max_per_minute = n as u32), "How many of them are deleted in a minute."),
    key("znode.container.maxNeverUsedIntervalMs", Bare, LONG, "0", Int(|d, n| d.settings.core.container_max_never_used = millis(n)), "Age at which a container that never had a child goes; 0: never."),
    key("enableEagerACLCheck", Prefixed, Kind::Flag, "false", Effect::IdleInEnsemble { harmless: "false", why: "the leader alone checks here" }, "Whether followers check ACLs before they forward a request."),
    key("maxResponseCacheSize", Prefixed, INT, "400", NO_CACHE, "Cached replies to getData."),
    key("maxGetChildrenResponseCacheSize", Prefixed, INT, "400", NO_CACHE, "Cached replies to getChildren."),
    key("intBufferStartingSizeBytes", Prefixed, INT, "1024", Idle("buffers need no tuning here"), "First size of the buffer that replies are written to."),
    key("request_throttle_max_requests", Prefixed, INT, "0", NO_THROTTLER, "Requests under way before the throttler stalls."),
    key("request_throttle_stall_time", Prefixed, INT, "100", NO_THROTTLER, "How long it stalls."),
    key("request_throttle_drop_stale", Prefixed, Kind::Flag, "true", NO_THROTTLER, "Whether it drops stale requests."),
    key("request_throttler.shutdownTimeout", Prefixed, INT, "10000", NO_THROTTLER, "How long it may take to drain."),
    key("request_stale_connection_check", Prefixed, Kind::Flag, "true", NO_THROTTLER, "Whether requests of closed connections are stale."),
    key("request_stale_latency_check", Prefixed, Kind::Flag, "false", NO_THROTTLER, "Whether requests that waited too long are stale."),
    key("connection_throttle_tokens", Prefixed, INT, "0", NO_BLUE, "Connection throttle: tokens; 0 is off."),
    key("connection_throttle_fill_time", Prefixed, INT, "1", NO_BLUE, "Connection throttle: milliseconds between fillings."),
    key("connection_throttle_fill_count", Prefixed, INT, "1", NO_BLUE, "Connection throttle: tokens per filling."),
    key("connection_throttle_freeze_time", Prefixed, INT, "-1", NO_BLUE, "Connection throttle: how often its probability changes."),
    key("connection_throttle_drop_increase", Prefixed, Kind::Float, "0.02", NO_BLUE, "Connection throttle: step up."),
    key("connection_throttle_drop_decrease", Prefixed, Kind::Float, "0.002", NO_BLUE, "Connection throttle: step down."),
    key("connection_throttle_decrease_ratio", Prefixed, Kind::Float, "0", NO_BLUE, "Connection throttle: when to step down."),
    key("connection_throttle_weight_enabled", Prefixed, Kind::Flag, "false", NO_BLUE, "Connection throttle: whether sessions weigh differently."),
    key("connection_throttle_global_session_weight", Prefixed, INT, "3", NO_BLUE, "Connection throttle: weight of a global session."),
    key("connection_throttle_local_session_weight", Prefixed, INT, "1", NO_BLUE, "Connection throttle: weight of a local session."),
    key("connection_throttle_renew_session_weight", Prefixed, INT, "2", NO_BLUE, "Connection throttle: weight of a renewed session."),
    key("watchManagerName", Prefixed, Kind::Text, "WatchManager", Idle("there is one watch table here, and it is compact"), "The class that keeps watches."),
    key("watcherCleanThreadsNum", Prefixed, INT, "2", NO_CLEANER, "Threads that remove dead watches."),
    key("watcherCleanThreshold", Prefixed, INT, "1000", NO_CLEANER, "Dead watches removed together."),
    key("watcherCleanIntervalInSeconds", Prefixed, INT, "600", NO_CLEANER, "How often they are removed."),
    key("maxInProcessingDeadWatchers", Prefixed, INT, "-1", NO_CLEANER, "Dead watches that may wait."),
    key("bitHashCacheSize", Prefixed, INT, "10", NO_CLEANER, "A cache of WatchManagerOptimized."),
    key("pathStats.enabled", Prefixed, Kind::Flag, "false", NO_PATH_STATS, "Whether the busiest paths are logged."),
    key("pathStats.slotCapacity", Prefixed, INT, "60", NO_PATH_STATS, "Likewise: slots."),
    key("pathStats.slotDuration", Prefixed, INT, "15", NO_PATH_STATS, "Likewise: seconds per slot."),
    key("pathStats.maxDepth", Prefixed, INT, "6", NO_PATH_STATS, "Likewise: depth of paths."),
    key("pathStats.sampleRate", Prefixed, Kind::Float, "0.1", NO_PATH_STATS, "Likewise: share of requests counted."),
    key("pathStats.initialDelay", Prefixed, INT, "5", NO_PATH_STATS, "Likewise: minutes before the first report."),
    key("pathStats.delay", Prefixed, INT, "5", NO_PATH_STATS, "Likewise: minutes between reports."),
    key("pathStats.topPathMax", Prefixed, INT, "20", NO_PATH_STATS, "Likewise: paths per report."),
    key("messageTracker.BufferSize", Prefixed, INT, "10", NO_TRACKER, "Messages kept per learner."),
    key("messageTracker.Enabled", Prefixed, Kind::Flag, "false", NO_TRACKER, "Whether messages between servers are kept."),
    key("controllerPort", Prefixed, INT, "none", Idle("faults are injected by the simulator"), "A port for fault injection."),
    key("jvm.pause.monitor", None, Kind::Flag, "false", NO_JVM, "Whether pauses of the Java virtual machine are logged."),
    key("jvm.pause.sleep.time.ms", None, LONG, "500", NO_JVM, "Likewise: how often it looks."),
    key("jvm.pause.warn-threshold.ms", None, LONG, "10000", NO_JVM, "Likewise: pauses worth a warning."),
    key("jvm.pause.info-threshold.ms", None, LONG, "1000", NO_JVM, "Likewise: pauses worth a line."),
    key("admin.enableServer", Prefixed, Kind::Flag, "true", Effect::IdleUnless { harmless: "false", why: NO_ADMIN_WHY }, "Whether the admin server runs."),
    key("admin.serverAddress", Prefixed, Kind::Text, "0.0.0.0", NO_ADMIN, "Its address."),
    key("admin.serverPort", Prefixed, INT, "8080", NO_ADMIN, "Its port."),
    key("admin.idleTimeout", Prefixed, INT, "30000", NO_ADMIN, "When it closes silent connections."),
    key("admin.commandURL", Prefixed, Kind::Text, "/commands", NO_ADMIN, "Where its commands are."),
    key("admin.httpVersion", Prefixed, INT, "11", NO_ADMIN, "Its HTTP version."),
    key("admin.portUnification", Prefixed, Kind::Flag, "false", NO_ADMIN, "Whether it serves TLS on the same port."),
    key("admin.forceHttps", Prefixed, Kind::Flag, "false", NO_ADMIN, "Whether it serves TLS only."),
    key("admin.needClientAuth", Prefixed, Kind::Flag, "false", NO_ADMIN, "Whether its clients need certificates."),
    key("admin.rateLimiterIntervalInMS", Prefixed, INT, "300000", NO_ADMIN, "How often snapshots and restores are allowed."),
    key("admin.snapshot.enabled", Prefixed, Kind::Flag, "true", NO_ADMIN, "Whether it gives snapshots."),
    key("admin.restore.enabled", Prefixed, Kind::Flag, "true", NO_ADMIN, "Whether it takes snapshots."),
    key("metricsProvider.className", None, Kind::Text, "DefaultMetricsProvider", NO_METRICS, "The class that publishes metrics."),
    key("metricsProvider.httpHost", None, Kind::Text, "0.0.0.0", NO_METRICS, "Prometheus: address."),
    key("metricsProvider.httpPort", None, INT, "7000", NO_METRICS, "Prometheus: port."),
    key("metricsProvider.exportJvmInfo", None, Kind::Flag, "true", NO_METRICS, "Prometheus: whether the Java virtual machine is included."),
    key("metricsProvider.numWorkerThreads", None, INT, "1", NO_METRICS, "Prometheus: threads."),
    key("metricsProvider.maxQueueSize", None, INT, "1000000", NO_METRICS, "Prometheus: queue."),
    key("metricsProvider.workerShutdownTimeoutMs", None, INT, "1000", NO_METRICS, "Prometheus: how long to wait for the threads."),
    key("metricsProvider.*", None, Kind::Text, "none", NO_METRICS, "Whatever else a provider takes."),
    key("audit.enable", Prefixed, Kind::Flag, "false", NO_AUDIT, "Whether there is an audit log."),
    key("audit.impl.class", Prefixed, Kind::Text, "Slf4jAuditLogger", NO_AUDIT, "The class that writes it."),
    key("jmx.log4j.disable", Prefixed, Kind::Flag, "false", NO_JVM, "Whether log4j is left out of JMX."),
    key("jmx.log4j.mbean", Prefixed, Kind::Text, "log4j", NO_JVM, "Its name there."),
];
