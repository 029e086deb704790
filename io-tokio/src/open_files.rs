//! How many files this process has open, sockets included, as the operating system counts them.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use zabra_core::server::OpenFiles;
use zabra_core::time::Instant;

/// Where Linux lists them.
const LIST: &str = "/proc/self/fd";

/// To go through the whole list takes long where there are many; that is done no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts open files.
#[derive(Debug)]
pub(crate) struct Counter {
    max: u64,
    /// When the list may be gone through again.
    next: Instant,
}

impl Counter {
    /// One that has not counted yet.
    pub(crate) fn new() -> Self {
        Self { max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), next: Instant::ZERO }
    }

    /// How many there are; nothing if that cannot be told now.
    pub(crate) fn count(&mut self, now: Instant) -> Option<OpenFiles> {
        let count = told().or_else(|| self.listed(now))?;
        Some(OpenFiles { count, max: self.max })
    }

    fn listed(&mut self, now: Instant) -> Option<u64> {
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        // The one that lists is among them.
        let count = fs::read_dir(LIST).ok()?.count();
        u64::try_from(count).ok()?.checked_sub(1)
    }
}

/// What Linux since 6.2 gives as the size of the list, at once.
fn told() -> Option<u64> {
    fs::metadata(LIST).ok().map(|list| list.len()).filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_more_is_counted() {
        let mut counter = Counter::new();
        let mut now = Instant::ZERO;
        let mut least = |files: usize| {
            let held: Vec<_> =
                (0..files).map(|_| fs::File::open("/dev/null").expect("it is there")).collect();
            now = now + PAUSE;
            let (listed, counted) = (counter.listed(now), counter.count(now + PAUSE));
            drop(held);
            (listed.expect("Linux lists them"), counted.expect("Linux tells").count)
        };
        // Other tests open files meanwhile, but not so many.
        let (few, many) = (least(0), least(500));
        assert!(many.0 > few.0 + 300, "{few:?} {many:?}");
        assert!(many.1 > few.1 + 300, "{few:?} {many:?}");
    }

    #[test]
    fn the_list_is_not_gone_through_all_the_time() {
        let mut counter = Counter::new();
        let now = Instant::from_millis(10_000);
        assert!(counter.listed(now).is_some());
        assert!(counter.listed(now + PAUSE / 2).is_none());
        assert!(counter.listed(now + PAUSE).is_some());
    }
}
