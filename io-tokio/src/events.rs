//! What the core tells, put into the log. Applied transactions are not: they are the hot path.

use zabra_core::recovery::Notice;
use zabra_core::server::Event;

use crate::disk::Directories;

/// Logs what recovery noticed, louder the more it matters.
pub(crate) fn log_notice(notice: &Notice, directories: &Directories) {
    let text = directories.with_paths(notice);
    match notice {
        Notice::DamageFound { .. }
        | Notice::DataDropped { .. }
        | Notice::DataMissing { .. }
        | Notice::DigestMismatch { .. }
        | Notice::SnapshotPartial { .. }
        | Notice::Unsynced { .. } => {
            tracing::error!("{text}");
        }
        Notice::BatchCut { .. }
        | Notice::BehindEnsemble { .. }
        | Notice::Diverged { .. }
        | Notice::Harmless { .. }
        | Notice::LogTailCut { .. }
        | Notice::Rewound { .. }
        | Notice::SnapshotUnreadable { .. } => {
            tracing::warn!("{text}");
        }
        Notice::FreshDatabase
        | Notice::LogRemoved { .. }
        | Notice::Replayed { .. }
        | Notice::SnapshotLoaded { .. }
        | Notice::SnapshotRemoved { .. }
        | Notice::TemporaryRemoved { .. } => tracing::info!("{text}"),
    }
}

/// Logs an event.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Applied { .. } => {}
        Event::DigestMismatch { zxid, expected, found } => tracing::error!(
            "the tree's digest after {zxid} is {found:x}, but the transaction says {expected:x}: \
             this server's data differs from what was written"
        ),
        Event::Committed { zxid } => tracing::trace!(%zxid, "committed"),
        Event::EpochAccepted { epoch } => tracing::info!(epoch, "epoch accepted"),
        Event::EpochCurrent { epoch } => tracing::info!(epoch, "epoch begun"),
        Event::FileNotRemoved { file, error } => tracing::error!(
            "{file} is not needed any more and cannot be removed: {error}. Remove it by hand, or let this process write \
             to its directory; autopurge tries again at its next interval"
        ),
        Event::LeaderLost { why } => tracing::warn!(?why, "leader lost"),
        Event::QuotaExceeded { exceeded, untold: 0 } => tracing::warn!("{exceeded}"),
        Event::QuotaExceeded { exceeded, untold } => {
            tracing::warn!("{exceeded} (and {untold} times before that were not logged)");
        }
        Event::ReadOnlyBegun { zxid } => {
            tracing::warn!(%zxid, "no leader: serving clients that only read");
        }
        Event::Reconfigured { version, members } => {
            let members: Vec<i64> = members.iter().map(|member| member.0).collect();
            tracing::info!(version = format_args!("{version:x}"), ?members, "members changed");
        }
        Event::Rewound { asked, last_zxid } => tracing::warn!(%asked, %last_zxid, "log cut"),
        Event::RoleTaken { role, epoch, leader } => {
            tracing::info!(?role, epoch, leader = leader.map(|leader| leader.0), "role taken");
        }
        Event::SessionAttached { session, conn, timeout_ms } => {
            tracing::debug!(%session, conn = conn.0, timeout_ms, "session attached");
        }
        Event::SessionOpened { session, conn, timeout_ms } => {
            tracing::debug!(%session, conn = conn.0, timeout_ms, "session opened");
        }
        Event::SessionExpired { session } => tracing::info!(%session, "session expired"),
        Event::SessionUnknown { session, znodes } => tracing::warn!(
            %session, znodes, "ephemeral znodes of a session that does not exist: they are removed"
        ),
        Event::SessionClosed { session } => tracing::debug!(%session, "session closed"),
        Event::SlowSync { took, file_size } => tracing::warn!(
            "writing the log to the disk took {} ms, more than fsync.warningthresholdms: clients wait for it. \
             The file has {file_size} bytes",
            took.as_millis()
        ),
        Event::SnapshotAskedFor { why } => tracing::warn!(
            ?why,
            "what the leader sends does not lead to what it has: asking it for a snapshot (ZOOKEEPER-4925, if it is \
             ZooKeeper's)"
        ),
        Event::SnapshotInstalled { zxid } => tracing::info!(%zxid, "snapshot received"),
        Event::Synced => tracing::warn!("brought up to date: this server votes again"),
        Event::SteppedDown { why } => tracing::warn!(?why, "stepped down"),
        Event::SnapshotStarted { zxid } => tracing::info!(%zxid, "snapshot started"),
        Event::SnapshotFinished { zxid } => tracing::info!(%zxid, "snapshot finished"),
        Event::SnapshotFailed { zxid, error } => {
            tracing::error!(%zxid, %error, "a snapshot could not be written; the log is kept, and it is tried again");
        }
    }
}
