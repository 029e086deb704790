//! The digest of the tree: replicas that applied the same transactions have the same.

use alloc::collections::VecDeque;

use crate::types::{StatPersisted, Zxid, path};

/// Version of the algorithm; digests of another version are not compared.
pub const DIGEST_VERSION: i32 = 2;

/// A digest is put on record for each zxid that this divides.
const HISTORY_INTERVAL: i64 = 128;
/// How many records are kept.
const HISTORY_LEN: usize = 1024;

/// The digest of one znode, a CRC-32 over path, data and persisted stat; the tree's is the wrapping sum of all.
///
/// It is 0 for what lies below `/zookeeper`: quotas and configuration are each server's own business.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
    u64::from(digest32(path, data, stat))
}

fn digest32(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    DigestPrefix::new(path, data).digest32(stat)
}

/// What the digest of a znode knows once it has seen path and data: enough to follow changes of the stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestPrefix {
    /// The CRC-32 so far; `None` for a znode that has no part in the digest.
    crc: Option<u32>,
}

impl DigestPrefix {
    /// Takes in path and data.
    pub fn new(path: &str, data: Option<&[u8]>) -> Self {
        if !is_counted(path) {
            return Self { crc: None };
        }
        let mut crc = crc32fast::Hasher::new();
        if path != path::ROOT {
            crc.update(path.as_bytes());
        }
        if let Some(data) = data {
            crc.update(data);
        }
        Self { crc: Some(crc.finalize()) }
    }

    /// The znode's digest with this stat, as [`node_digest`] has it.
    pub fn digest(&self, stat: &StatPersisted) -> u64 {
        u64::from(self.digest32(stat))
    }

    pub(super) fn digest32(&self, stat: &StatPersisted) -> u32 {
        let Some(crc) = self.crc else { return 0 };
        let mut crc = crc32fast::Hasher::new_with_initial(crc);
        crc.update(&stat_bytes(stat));
        crc.finalize()
    }
}

/// Whether the znode has a part in the digest.
pub(super) fn is_counted(path: &str) -> bool {
    !path.strip_prefix(path::ZOOKEEPER).is_some_and(|rest| rest.starts_with('/'))
}

/// The fields in the order in which the digest takes them, which is not that of the wire.
fn stat_bytes(stat: &StatPersisted) -> [u8; 60] {
    let mut bytes = [0; 60];
    let longs = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime.0, stat.mtime.0];
    for (place, long) in bytes[..40].chunks_exact_mut(8).zip(longs) {
        place.copy_from_slice(&long.to_be_bytes());
    }
    for (place, int) in bytes[40..52].chunks_exact_mut(4).zip([stat.version, stat.cversion, stat.aversion]) {
        place.copy_from_slice(&int.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes
}

/// Digests of the tree at round zxids, for an operator who compares servers (`hash`).
#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first; at most [`HISTORY_LEN`].
    records: VecDeque<(Zxid, u64)>,
}

impl History {
    /// Puts the digest after transaction `zxid` on record, if its turn has come.
    pub(super) fn record(&mut self, zxid: Zxid, digest: u64) {
        if zxid.0 % HISTORY_INTERVAL == 0 {
            if self.records.len() == HISTORY_LEN {
                self.records.pop_front();
            }
            self.records.push_back((zxid, digest));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.records.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    /// PARITY `digest.algo`, `digest.scope`: against a CRC-32 computed bit by bit over bytes put together here.
    #[test]
    fn digest_scope_and_fields() {
        let stat = StatPersisted {
            czxid: Zxid(1),
            mzxid: Zxid(2),
            ctime: WallTime(4),
            mtime: WallTime(5),
            version: 6,
            cversion: 7,
            aversion: 8,
            ephemeral_owner: 9,
            pzxid: Zxid(3),
        };
        let mut fields = alloc::vec::Vec::new();
        for long in 1..=5_i64 {
            fields.extend(long.to_be_bytes());
        }
        for int in 6..=8_i32 {
            fields.extend(int.to_be_bytes());
        }
        fields.extend(9_i64.to_be_bytes());
        let expected =
            |path: &str, data: &[u8]| u64::from(slow_crc32(&[path.as_bytes(), data, &fields].concat()));

        assert_eq!(node_digest("/a", Some(b"xy"), &stat), expected("/a", b"xy"));
        assert_eq!(node_digest("/a", None, &stat), expected("/a", b""));
        assert_eq!(node_digest("/", Some(b"z"), &stat), expected("", b"z"));
        assert_eq!(node_digest("/zookeeper", None, &stat), expected("/zookeeper", b""));
        assert_eq!(node_digest("/zookeepers/a", None, &stat), expected("/zookeepers/a", b""));
        assert_eq!(node_digest("/zookeeper/config", Some(b"x"), &stat), 0);
        assert_eq!(node_digest("/zookeeper/quota/a/zookeeper_stats", None, &stat), 0);
    }

    fn slow_crc32(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    }

    /// PARITY `digest.log`.
    #[test]
    fn digest_log() {
        let mut history = History::default();
        for zxid in 1..=128 * 2000 + 5 {
            history.record(Zxid(zxid), zxid as u64);
        }
        let records: alloc::vec::Vec<_> = history.iter().collect();
        assert_eq!(records.len(), 1024);
        assert_eq!(records[0], (Zxid(128 * 977), 128 * 977));
        assert_eq!(records[1023], (Zxid(128 * 2000), 128 * 2000));
    }
}
