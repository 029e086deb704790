//! What has been recovered so far, and whether the digests on the disk are those of the tree that comes out.
//!
//! ZooKeeper goes on while it writes a snapshot, and ends it with the digest behind the last transaction that it has
//! applied by then (`DataTree.serializeZxidDigest`). Until the replay is there, the tree may be ahead of its zxid, and
//! comparing digests would mean nothing. And there it may still be ahead, by a transaction that was being applied at
//! that moment: a large multi changes node after node before it has a digest. So it is for the next digest of the log
//! to say whether one of a snapshot that does not match means anything.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::report::Notice;
use super::scan::LogRecord;
use crate::tree::{DIGEST_VERSION, Tree};
use crate::types::{Membership, OpCode, SessionId, Txn, TxnDigest, Zxid, path};

/// What has been recovered so far.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) tree: Tree,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    /// The newest transaction applied or in the snapshot.
    pub(super) last_zxid: Zxid,
    /// The snapshot's digest, for as long as its transaction is still to come.
    fuzzy_until: Option<(Zxid, TxnDigest)>,
    /// The snapshot's digest did not match. Not said yet.
    suspicion: Option<Notice>,
    /// Digests that did not match. The first of them was reported.
    pub(super) mismatches: u64,
    /// The configuration that the last one took the place of in the log.
    pub(super) config_before: Option<Membership>,
    /// What is to be said of it.
    pub(super) report: Vec<Notice>,
}

impl Database {
    /// As a snapshot left it, which has the digest behind a transaction at its end.
    pub(super) fn new(
        tree: Tree,
        sessions: BTreeMap<SessionId, i32>,
        digest: Option<(Zxid, TxnDigest)>,
    ) -> Self {
        let last_zxid = tree.last_zxid();
        let mut database = Self {
            tree,
            sessions,
            last_zxid,
            fuzzy_until: digest.filter(|(at, _)| *at > last_zxid),
            suspicion: None,
            mismatches: 0,
            config_before: None,
            report: Vec::new(),
        };
        // A digest from before the snapshot began says nothing about it.
        if let Some((at, digest)) = digest
            && at == last_zxid
        {
            database.suspicion = database.mismatch(at, &digest);
        }
        database
    }

    pub(super) fn apply(&mut self, record: LogRecord) {
        let LogRecord { header, txn, digest, .. } = record;
        assert!(header.zxid > self.last_zxid, "replay goes forward");
        match &txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
            }
            Txn::CloseSession { .. } => {
                self.sessions.remove(&header.session);
            }
            Txn::Check { .. }
            | Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::Error { .. }
            | Txn::Multi(_)
            | Txn::SetAcl { .. }
            | Txn::SetData { .. } => {}
        }
        if header.op == OpCode::RECONFIG {
            self.config_before = config_in(&self.tree);
        }
        self.tree.apply(&header, txn, &mut |_| {});
        self.last_zxid = header.zxid;
        match self.fuzzy_until {
            Some((zxid, expected)) if zxid <= header.zxid => {
                self.fuzzy_until = None;
                if zxid == header.zxid {
                    self.suspicion = self.mismatch(zxid, &expected);
                }
            }
            Some(_) => {}
            None => {
                if let Some(digest) = digest {
                    self.judge(header.zxid, &digest);
                }
            }
        }
    }

    /// Goes on behind `zxid`, though something before it is missing.
    pub(super) fn skip_to(&mut self, zxid: Zxid) {
        self.tree.skip_to(zxid);
        self.last_zxid = zxid;
    }

    /// What the log says the digest is, and with it about a snapshot's that was another.
    fn judge(&mut self, zxid: Zxid, logged: &TxnDigest) {
        let suspicion = self.suspicion.take();
        let Some(mismatch) = self.mismatch(zxid, logged) else { return };
        if self.mismatches == 0 {
            self.mismatches = suspicion.iter().count() as u64;
            self.report.push(suspicion.unwrap_or(mismatch));
        }
        self.mismatches += 1;
    }

    /// The difference between a digest that was written and the tree's, if they are comparable and there is one.
    fn mismatch(&self, zxid: Zxid, written: &TxnDigest) -> Option<Notice> {
        let comparable = self.tree.options().digest_enabled && written.version == DIGEST_VERSION;
        let (expected, found) = (written.tree_digest, self.tree.digest());
        (comparable && expected != found).then_some(Notice::DigestMismatch { zxid, expected, found })
    }

    /// Nothing comes any more that could clear a snapshot's digest.
    pub(super) fn finish(&mut self) {
        let suspicion = self.suspicion.take();
        self.mismatches += suspicion.iter().count() as u64;
        self.report.extend(suspicion);
    }
}

/// The configuration that the tree has. Anybody who may can write something else to this znode; only a change of members has
/// its own transaction for a version.
pub fn config_in(tree: &Tree) -> Option<Membership> {
    let node = tree.node(path::CONFIG)?;
    let membership = Membership::from_peer(node.data()?)?;
    (Zxid(membership.version()) == node.stat().mzxid).then_some(membership)
}
