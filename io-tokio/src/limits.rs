//! What the operating system grants this process, and how much of it others may use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors kept back for the log, snapshots and the listeners, so that a flood of connections cannot
/// stop a write.
const RESERVED: u64 = 64;

/// Links from other servers that may be there at a time on each of the three ports. Beyond it new ones wait until
/// others close. An ensemble needs one for each member and port, and a moment longer one that takes the place of
/// another.
pub(crate) const ACCEPTED_LINKS_MAX: usize = 256;

/// Links in all: those that are accepted on each port, and as many again as on one of them by this server's doing.
pub(crate) const LINKS_MAX: usize = 4 * ACCEPTED_LINKS_MAX;

/// Names of servers that are looked up at a time. Each occupies a thread until the resolver answers.
pub(crate) const LOOKUPS_MAX: usize = 16;

/// Addresses of one name that are tried.
pub(crate) const RESOLVED_MAX: usize = 16;

/// Raises the soft limit of file descriptors to the hard one, and says how many clients' connections fit under it
/// beside `links` links from other servers.
pub(crate) fn connections_max(links: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let granted = if limit.current == limit.maximum || setrlimit(Resource::Nofile, wanted).is_ok() {
        limit.maximum
    } else {
        tracing::warn!("cannot raise the limit of open files beyond {:?}", limit.current);
        limit.current
    };
    room(granted, links)
}

fn room(granted: Option<u64>, links: usize) -> usize {
    // No limit is none that could be reached.
    let granted = granted.unwrap_or(u64::from(u32::MAX));
    // Under a very low limit half of it must do for the connections.
    let reserved = RESERVED.saturating_add(u64::try_from(links).unwrap_or(u64::MAX));
    let connections = granted.saturating_sub(reserved).max(granted / 2).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_some_connections() {
        let reserved = usize::try_from(RESERVED).expect("a few");
        let table = [
            (Some(1 << 20), 0, (1 << 20) - reserved),
            (Some(1 << 20), 1000, (1 << 20) - reserved - 1000),
            (None, 1000, (1 << 32) - 1 - reserved - 1000),
            (Some(1024), 1 << 20, 512),
            (Some(1024), usize::MAX, 512),
            (Some(1), 0, 1),
        ];
        for (granted, links, expected) in table {
            assert_eq!(room(granted, links), expected, "{granted:?}, {links} links");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_it_may_be() {
        connections_max(0);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
