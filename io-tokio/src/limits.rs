//! What the operating system grants this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors kept back for the log, snapshots and the listeners, so that a flood of connections cannot
/// stop a write.
const RESERVED: u64 = 64;

/// Raises the soft limit of file descriptors to the hard one, and says how many connections fit under it.
pub(crate) fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = if limit.current == limit.maximum || setrlimit(Resource::Nofile, wanted).is_ok() {
        limit.maximum
    } else {
        tracing::warn!("cannot raise the limit of open files beyond {:?}", limit.current);
        limit.current
    };
    // No limit is none that could be reached.
    let granted = granted.unwrap_or(u64::from(u32::MAX));
    // Under a very low limit half of it must do for the connections.
    let connections = granted.saturating_sub(RESERVED).max(granted / 2).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_room_for_some_connections() {
        assert!(super::connections_max() >= 1);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
