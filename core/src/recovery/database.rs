//! What has been recovered so far, and whether the digests on the disk are those of the tree that comes out.
//!
//! ZooKeeper goes on while it writes a snapshot, and ends it with the digest behind the last transaction that it has
//! applied by then (`DataTree.serializeZxidDigest`). Until the replay is there, the tree may be ahead of its zxid, and
//! comparing digests would mean nothing. And there it may still be ahead, by a transaction that was being applied at
//! that moment: a large multi changes node after node before it has a digest. So it is for the next digest of the log
//! to say whether one of a snapshot that does not match means anything.
//!
//! A digest that differs is said, and changes nothing, as with ZooKeeper: the data of a server may differ from those of its
//! ensemble for many reasons, ZooKeeper's own mistakes in foretelling digests among them, and what it has acknowledged it
//! goes on with. There is one exception. A learner that is being brought up to date by a leader with a hole in its memory
//! (ZOOKEEPER-4925; see `zab::learner`) logs what comes behind the hole until it notices, and then cuts it off again. If it
//! stops in between, the log that the next start finds leads across the hole, and nobody would notice any more. So it has
//! *diverged*, and wants a snapshot from its next leader, if
//!
//! * the last digests of the log differ, all of them from some transaction on. Whoever has a digest like the author's once
//!   more has what the author has, whatever was between;
//! * and that transaction is of a later epoch than `currentEpoch`: this server was being brought up to date for the epoch
//!   of its leader, and has not acknowledged that it was. Of nothing from there on has it acknowledged anything, so nobody
//!   relies on it.
//!
//! It still starts, votes, and promises as before: what it has acknowledged is all there, and counts. Saying that its log
//! goes further than it should harms nobody. A transaction of an epoch was proposed when a quorum had that epoch as its
//! current one, one of these is in every other quorum, and its vote wins over that of a server with an earlier current
//! epoch, whatever is in that one's log.
//!
//! A difference that begins in what was acknowledged is no such sign, even if it goes on behind it. It may be this server
//! that has what its ensemble agreed on, and its leader that has not; the snapshot would make it forget. Nor is a gap: no
//! learner logs one. Where recovery finds one, transactions are gone that were there once (`decide.rs`).
//!
//! What a snapshot of ZooKeeper's was sent with may differ for a moment, too. Who stops just then gets one more.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::report::Notice;
use super::scan::LogRecord;
use crate::store::epochs::Epochs;
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
    /// From here on no digest of the log matched.
    differs_since: Option<Zxid>,
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
            differs_since: None,
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
        if !self.is_comparable(logged) {
            return;
        }
        let suspicion = self.suspicion.take();
        let Some(mismatch) = self.mismatch(zxid, logged) else {
            self.differs_since = None;
            return;
        };
        self.differs_since.get_or_insert(zxid);
        if self.mismatches == 0 {
            self.mismatches = suspicion.iter().count() as u64;
            self.report.push(suspicion.unwrap_or(mismatch));
        }
        self.mismatches += 1;
    }

    /// The difference between a digest that was written and the tree's, if they are comparable and there is one.
    fn mismatch(&self, zxid: Zxid, written: &TxnDigest) -> Option<Notice> {
        let (expected, found) = (written.tree_digest, self.tree.digest());
        (self.is_comparable(written) && expected != found).then_some(Notice::DigestMismatch {
            zxid,
            expected,
            found,
        })
    }

    fn is_comparable(&self, written: &TxnDigest) -> bool {
        self.tree.options().digest_enabled && written.version == DIGEST_VERSION
    }

    /// Behind which transaction the log has what a leader with a hole in its memory sent, if it does: see the module.
    pub(super) fn diverged(&self, epochs: &Epochs) -> Option<Zxid> {
        self.differs_since.filter(|since| i64::from(since.epoch()) > epochs.current)
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
