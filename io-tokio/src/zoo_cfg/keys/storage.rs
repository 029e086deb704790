//! Log, snapshots, and what is kept of them.

use std::time::Duration;

use zabra_core::types::Compression;

use super::Effect::{Flag, Idle, Int, Refused, Text};
use super::Property::{None, Prefixed};
use super::{Key, key};
use crate::zoo_cfg::draft::Draft;
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::{any, any_long};

const INT: Kind = Kind::Num(any(""));
const LONG: Kind = Kind::Num(any_long(""));
const BATCHES: &str = "writes that arrive together are always written and synced together";

/// Kilobytes as bytes, if there are any.
fn kilobytes(n: i64) -> Option<u64> {
    u64::try_from(n).ok().filter(|&n| n > 0).map(|n| n.saturating_mul(1024))
}

fn snap_count(draft: &mut Draft, n: i64) {
    if n < 2 {
        draft.warn(format!("snapCount={n}: it should be 2 or more, and is 2 now"));
    }
    draft.settings.core.snap_count = n.max(2).unsigned_abs();
}

/// The largest step that log files grow in, in kilobytes: 64 GiB. What no file system takes would show at the first write
/// only, and stop the server.
const PRE_ALLOC_MAX: i64 = 64 << 20;

fn pre_alloc_size(draft: &mut Draft, n: i64) {
    if n > PRE_ALLOC_MAX {
        draft.warn(format!(
            "preAllocSize={n}: it should be at most {PRE_ALLOC_MAX} kilobytes, and is that now"
        ));
    }
    draft.settings.core.pre_alloc_size = kilobytes(n.min(PRE_ALLOC_MAX)).unwrap_or(0);
}

fn snap_retain_count(draft: &mut Draft, n: i64) {
    if n < 3 {
        draft.warn(format!("Invalid autopurge.snapRetainCount: {n}. Defaulting to 3"));
    }
    draft.settings.core.snap_retain_count = usize::try_from(n.max(3)).unwrap_or(usize::MAX);
}

fn purge_interval(draft: &mut Draft, hours: i64) {
    draft.settings.core.purge_interval =
        u64::try_from(hours).ok().filter(|&hours| hours > 0).map(|hours| Duration::from_secs(hours * 3600));
}

fn force_sync(draft: &mut Draft, on: bool) {
    if !on {
        draft.warn(
            "forceSync=no: writes are acknowledged before they are on disk, and a power failure loses them",
        );
    }
    draft.settings.core.force_sync = on;
}

fn fsync_warning_threshold(draft: &mut Draft, ms: i64) {
    // Less than nothing, with ZooKeeper every sync, is as good as 0 for whoever wants to see many.
    let ms = u64::try_from(ms).unwrap_or(0);
    draft.settings.core.fsync_warning_threshold = Duration::from_millis(ms);
}

fn commit_log_count(draft: &mut Draft, n: i64) {
    if n < 500 {
        draft.ensemble.warnings.push(format!("commitLogCount={n}: it should be 500 or more, and is 500 now"));
    }
    draft.ensemble.options.commit_log_count = usize::try_from(n.max(500)).unwrap_or(usize::MAX);
}

fn snapshot_size_factor(draft: &mut Draft, text: &str) {
    if let Err(mistake) = draft.ensemble.set_snapshot_size_factor(text) {
        draft.ensemble.warnings.push(mistake);
    }
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("autopurge.snapRetainCount", None, Kind::Int(any("")), "3", Int(snap_retain_count), "Snapshots kept when purging, at least 3."),
    key("autopurge.purgeInterval", None, Kind::Int(any(" of hours")), "0", Int(purge_interval), "Hours between two purges; 0 or less: nothing is purged. Hard links to what is purged stay whole; a copy that is under way may come out short."),
    key("snapCount", Prefixed, INT, "100000", Int(snap_count), "Transactions between snapshots: between half of it and all of it, by chance."),
    key("snapSizeLimitInKb", Prefixed, LONG, "4194304", Int(|d, n| d.settings.core.snap_size_limit = kilobytes(n)), "Kilobytes of log between snapshots, likewise; 0 or less: no limit."),
    key("txnLogSizeLimitInKb", Prefixed, LONG, "-1", Int(|d, n| d.settings.core.txn_log_size_limit = kilobytes(n)), "A larger log file is followed by the next; 0 or less: no limit."),
    key("preAllocSize", Prefixed, Kind::Num(any_long(" of kilobytes")), "65536", Int(pre_alloc_size), "The step in which log files grow, 64 GiB at most; 0 or less: as needed."),
    key("forceSync", Prefixed, Kind::YesNo, "yes", Flag(force_sync), "Whether a write waits for the disk. `no` gives up durability."),
    key("fsync.warningthresholdms", Prefixed, LONG, "1000", Int(fsync_warning_threshold), "Syncs of the log that take longer are logged and counted; less than 0 is as 0."),
    key("flushDelay", Prefixed, LONG, "0", Idle(BATCHES), "How long to wait for more writes to sync together."),
    key("maxWriteQueuePollTime", Prefixed, LONG, "flushDelay/3", Idle(BATCHES), "Likewise."),
    key("maxBatchSize", Prefixed, INT, "1000", Idle(BATCHES), "Writes synced together."),
    key("commitLogCount", Prefixed, INT, "500", Int(commit_log_count), "Transactions kept in memory for followers, at least 500."),
    key("snapshotSizeFactor", Prefixed, Kind::Float, "0.33", Text(snapshot_size_factor), "How much log may be read to bring a follower up to date, as a share of a snapshot; below 0 is none, 0 any, above 1 as 0.33."),
    key("snapshot.compression.method", Prefixed, Kind::OneOf(&["", "gz", "snappy"]), "none", Text(|d, method| d.settings.core.snapshot_compression = Compression::of_name(&format!(".{method}"))), "How snapshots are compressed; those that there are already are read whatever they are."),
    key("snapshot.trust.empty", Prefixed, Kind::Flag, "false", Flag(|d, on| d.settings.core.snapshot_trust_empty = on), "Accept a log without any snapshot, once, when coming from ZooKeeper 3.4."),
    key("db.autocreate", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.core.db_autocreate = on), "Whether an empty directory is a new, empty database."),
    key("digest.enabled", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.core.digest_enabled = on), "Keep a digest of the tree, and write it to log and snapshots."),
    key("serializeLastProcessedZxid.enabled", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.core.serialize_last_processed_zxid = on), "Whether snapshots end with their zxid."),
    key("closeSessionTxn.enabled", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.core.close_session_txn = on), "Whether a closing session's transaction lists its znodes."),
    key("extendedTypesEnabled", Prefixed, Kind::Flag, "false", Flag(|d, on| d.settings.core.extended_types = on), "Whether znodes can have a time to live."),
    key("emulate353TTLNodes", Prefixed, Kind::Flag, "false", Refused { harmless: "false", why: "the TTL nodes of ZooKeeper 3.5.3 are not supported; let a newer ZooKeeper rewrite them" }, "Read TTL nodes as 3.5.3 wrote them."),
];
