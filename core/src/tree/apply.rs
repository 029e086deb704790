//! One transaction in, the changes it made out.
//!
//! A snapshot of a Java server may hold more than its zxid says, because it was written while transactions went
//! on; replaying from that zxid then meets znodes that are there already, or gone already. What is done in such
//! cases is what makes the tree come out right in the end, whichever part of the transactions was in the snapshot.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::node::Node;
use super::{Hint, ROOT_SLOT, Tree};
use crate::time::WallTime;
use crate::types::{
    AclList, CreateTxn, ErrorCode, OpCode, SessionId, Stat, StatPersisted, SubTxn, Txn, TxnHeader, Zxid, path,
};

/// A change that watches may be waiting for.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A znode was created.
    Created {
        /// The znode.
        path: &'a str,
        /// The transaction.
        zxid: Zxid,
        /// The znode's ACL.
        acl: &'a AclList,
        /// The parent's ACL.
        parent_acl: &'a AclList,
    },
    /// A znode was deleted.
    Deleted {
        /// The znode.
        path: &'a str,
        /// The transaction.
        zxid: Zxid,
        /// The ACL that the znode had.
        acl: &'a AclList,
        /// The parent's ACL.
        parent_acl: &'a AclList,
    },
    /// A znode's data was set.
    DataChanged {
        /// The znode.
        path: &'a str,
        /// The transaction.
        zxid: Zxid,
        /// The znode's ACL.
        acl: &'a AclList,
    },
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The operation; for a failed part of a multi, [`OpCode::ERROR`].
    pub op: OpCode,
    /// Why nothing was done, or [`ErrorCode::OK`].
    pub error: ErrorCode,
    /// The znode that the transaction names; empty if it names none.
    pub path: Box<str>,
    /// The znode's stat afterwards, for the operations that answer one: setData, setACL, reconfig, and every
    /// create but the first.
    pub stat: Option<Stat>,
    /// Results of the parts of a multi.
    pub multi: Vec<Applied>,
}

impl Applied {
    fn new(op: OpCode, error: ErrorCode, path: Box<str>, stat: Option<Stat>) -> Self {
        Self { op, error, path, stat, multi: Vec::new() }
    }
}

type OnChange<'a> = &'a mut dyn FnMut(Change<'_>);

impl Tree {
    /// Applies a transaction, telling `on_change` of each change as it is made.
    pub fn apply(&mut self, header: &TxnHeader, txn: Txn, on_change: &mut dyn FnMut(Change<'_>)) -> Applied {
        self.apply_hinted(header, txn, &Hint::NONE, on_change)
    }

    /// Applies a transaction that this tree was asked about before: what was found out then need not be looked for
    /// again. The hint must be this transaction's, but may be out of date.
    pub fn apply_hinted(
        &mut self,
        header: &TxnHeader,
        txn: Txn,
        hint: &Hint,
        on_change: &mut dyn FnMut(Change<'_>),
    ) -> Applied {
        let applied = match txn {
            Txn::Multi(parts) => self.apply_multi(header, parts, on_change),
            single => self.apply_single(header, header.op, single, hint, on_change),
        };
        // Only now: a snapshot that began in between must not claim a part of a multi as the whole.
        self.last_zxid = self.last_zxid.max(header.zxid);
        if self.options.digest_enabled {
            self.history.record(header.zxid, self.digest);
        }
        applied
    }

    fn apply_multi(&mut self, header: &TxnHeader, parts: Vec<SubTxn>, on_change: OnChange<'_>) -> Applied {
        let failed = parts.iter().any(|part| part.op == OpCode::ERROR);
        let mut after_error = false;
        let mut result = Applied::new(header.op, ErrorCode::OK, Box::default(), None);
        result.multi.reserve_exact(parts.len());
        for SubTxn { op, txn } in parts {
            let is_error = op == OpCode::ERROR;
            after_error |= is_error;
            let applied = if failed && !is_error {
                let code = if after_error { ErrorCode::RUNTIMEINCONSISTENCY } else { ErrorCode::OK };
                Applied::new(OpCode::ERROR, code, Box::default(), None)
            } else {
                self.apply_single(header, op, txn, &Hint::NONE, on_change)
            };
            if result.error == ErrorCode::OK {
                result.error = applied.error;
            }
            result.multi.push(applied);
        }
        result
    }

    fn apply_single(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        txn: Txn,
        hint: &Hint,
        on_change: OnChange<'_>,
    ) -> Applied {
        match txn {
            Txn::Check { path, .. } => Applied::new(op, ErrorCode::OK, path, None),
            Txn::CloseSession { paths } => {
                self.close_session(header.session, header.zxid, paths, on_change);
                Applied::new(op, ErrorCode::OK, Box::default(), None)
            }
            Txn::Create(create) => self.create(header, op, create, hint, on_change),
            Txn::CreateSession { .. } => Applied::new(op, ErrorCode::OK, Box::default(), None),
            Txn::Delete { path } => {
                let error = self.delete(&path, header.zxid, hint, on_change);
                Applied::new(op, error, path, None)
            }
            Txn::Error { code } => Applied::new(op, code, Box::default(), None),
            // The formats have no multi inside a multi, so nobody who can write one can read it either.
            Txn::Multi(_) => Applied::new(op, ErrorCode::MARSHALLINGERROR, Box::default(), None),
            Txn::SetAcl { path, acl, version } => match self.find_hinted(&path, hint) {
                Some(slot) => {
                    self.replace_acl(slot, acl, version);
                    let stat = self.node_ref(slot).stat();
                    Applied::new(op, ErrorCode::OK, path, Some(stat))
                }
                None => Applied::new(op, ErrorCode::NONODE, path, None),
            },
            Txn::SetData { path, data, version } => {
                self.set_data(header, op, (path, data, version), hint, on_change)
            }
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        txn: CreateTxn,
        hint: &Hint,
        on_change: OnChange<'_>,
    ) -> Applied {
        let CreateTxn { path, data, acl, kind, parent_cversion } = txn;
        // The root has no parent; that somebody creates it can only be a mistake.
        let Some(parent) = path::parent(&path).and_then(|parent| self.find_hinted(parent, hint)) else {
            return Applied::new(op, ErrorCode::NONODE, path, None);
        };
        let hash = hint.hash.unwrap_or_else(|| self.index.hash(&path));
        if let Some(existing) = self.find_hashed(&path, hash) {
            // Replay over a snapshot that is ahead. The snapshot may lack the ACL, the transaction has it.
            self.before_change(existing);
            self.exchange_acl(existing, acl);
            if op == OpCode::CREATE {
                self.raise_cversion(parent, parent_cversion, header.zxid);
            }
            return Applied::new(op, ErrorCode::NODEEXISTS, path, None);
        }

        self.raise_cversion(parent, parent_cversion, header.zxid);
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: kind.owner(header.session),
            pzxid: header.zxid,
        };
        let acl = self.acls.acquire(acl);
        let bytes = data.as_ref().map_or(0, |data| data.len());
        let slot = self.insert_hashed(Node::new(path.clone(), data, acl, parent, &stat), hash, hint.prefix);
        let stat = (op != OpCode::CREATE).then(|| self.node_ref(slot).stat());
        if self.quotas.may_concern(&path) {
            self.quota_after_create(&path, bytes);
        }
        on_change(Change::Created {
            path: &path,
            zxid: header.zxid,
            acl: self.acls.list(acl),
            parent_acl: self.acls.list(self.nodes.get(parent).acl),
        });
        Applied::new(op, ErrorCode::OK, path, stat)
    }

    /// Raises the parent's count of creations to `cversion`, or by one if that is -1. It never falls: replay may
    /// bring a creation that the znode's snapshot already counted.
    fn raise_cversion(&mut self, slot: u32, cversion: i32, zxid: Zxid) {
        let current = self.nodes.get(slot).cversion();
        let cversion = if cversion == -1 { current.wrapping_add(1) } else { cversion };
        if cversion > current {
            self.before_change(slot);
            let family = self.nodes.get_mut(slot).family_mut();
            family.cversion = cversion;
            family.pzxid = zxid;
            self.refresh_digest(slot, None);
        }
    }

    fn delete(&mut self, path: &str, zxid: Zxid, hint: &Hint, on_change: OnChange<'_>) -> ErrorCode {
        let Some(slot) = self.find_hinted(path, hint) else {
            // Replay over a snapshot that is ahead: the znode has gone, and when is what the parent must know.
            if let Some(parent) = path::parent(path).and_then(|parent| self.find(parent)) {
                self.raise_pzxid(parent, zxid);
            }
            return ErrorCode::NONODE;
        };
        if slot == ROOT_SLOT {
            return ErrorCode::NONODE;
        }
        let parent = self.nodes.get(slot).parent;
        self.raise_pzxid(parent, zxid);
        self.remove_descendants(slot);
        let acl = self.remove_one(slot, hint.hash);
        on_change(Change::Deleted {
            path,
            zxid,
            acl: self.acls.list(acl),
            parent_acl: self.acls.list(self.nodes.get(parent).acl),
        });
        self.acls.release(acl);
        ErrorCode::OK
    }

    /// Removes what lies below a znode that is being deleted. Only replay over a snapshot that is ahead finds
    /// anything: the znode was deleted, created again and given children, and all that is about to be replayed.
    fn remove_descendants(&mut self, top: u32) {
        let mut found = vec![top];
        let mut next = 0;
        while let Some(&slot) = found.get(next) {
            found.extend_from_slice(self.nodes.get(slot).children());
            next += 1;
        }
        // By path, because slots depend on what the tree was loaded from; children come behind their parents.
        let below = &mut found[1..];
        below.sort_unstable_by_key(|&slot| &self.nodes.get(slot).path);
        for &slot in below.iter().rev() {
            let acl = self.remove_one(slot, None);
            self.acls.release(acl);
        }
    }

    /// Removes a znode without children. Its ACL is still counted, and returned.
    fn remove_one(&mut self, slot: u32, hash: Option<u64>) -> u32 {
        let node = self.remove_node(slot, hash);
        let acl = node.acl;
        if self.quotas.may_concern(&node.path) {
            self.quota_after_delete(&node);
        }
        self.after_remove(slot, node);
        acl
    }

    fn raise_pzxid(&mut self, slot: u32, zxid: Zxid) {
        if zxid > self.nodes.get(slot).pzxid() {
            self.before_change(slot);
            self.nodes.get_mut(slot).family_mut().pzxid = zxid;
            self.refresh_digest(slot, None);
        }
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        (path, data, version): (Box<str>, Option<Box<[u8]>>, i32),
        hint: &Hint,
        on_change: OnChange<'_>,
    ) -> Applied {
        let Some(slot) = self.find_hinted(&path, hint) else {
            return Applied::new(op, ErrorCode::NONODE, path, None);
        };
        let old_len = self.nodes.get(slot).data_len() as u64;
        self.before_set_data(slot);
        let node = self.nodes.get_mut(slot);
        node.data = data;
        node.mzxid = header.zxid;
        node.mtime = header.time;
        node.version = version;
        let new_len = node.data_len() as u64;
        self.data_size = self.data_size + new_len - old_len;
        self.refresh_digest(slot, hint.prefix);
        let stat = self.node_ref(slot).stat();
        if !self.quotas.is_empty() {
            self.quota_add(&path, new_len as i64 - old_len as i64, 0);
        }
        let acl = self.acls.list(self.nodes.get(slot).acl);
        on_change(Change::DataChanged { path: &path, zxid: header.zxid, acl });
        Applied::new(op, ErrorCode::OK, path, Some(stat))
    }

    /// Writes the configuration that a server acts by, of which there is no transaction. It is no change of the
    /// database: nobody is told, and the digest leaves this znode out.
    pub fn write_config(&mut self, text: &[u8], version: Zxid, time: WallTime) {
        let Some(slot) = self.find(path::CONFIG) else { return };
        let old_len = self.nodes.get(slot).data_len() as u64;
        self.before_set_data(slot);
        let node = self.nodes.get_mut(slot);
        node.data = Some(text.into());
        node.mzxid = version;
        node.mtime = time;
        node.version = -1;
        self.data_size = self.data_size + text.len() as u64 - old_len;
        self.refresh_digest(slot, None);
    }

    /// Sets a znode's ACL and its version. Nothing else of the znode changes.
    pub(super) fn replace_acl(&mut self, slot: u32, acl: AclList, version: i32) {
        self.before_change(slot);
        self.exchange_acl(slot, acl);
        self.nodes.get_mut(slot).aversion = version;
        self.refresh_digest(slot, None);
    }

    fn exchange_acl(&mut self, slot: u32, acl: AclList) {
        let new = self.acls.acquire(acl);
        let old = core::mem::replace(&mut self.nodes.get_mut(slot).acl, new);
        self.acls.release(old);
    }

    /// Deletes the znodes that the transaction lists, then any other that the session owns here.
    fn close_session(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        paths: Option<Vec<Box<str>>>,
        on_change: OnChange<'_>,
    ) {
        for path in paths.iter().flatten() {
            self.delete(path, zxid, &Hint::NONE, on_change);
        }
        let mut left: Vec<Box<str>> = self.ephemerals(session).map(Box::from).collect();
        // By path, because slots depend on what the tree was loaded from.
        left.sort_unstable();
        for path in left {
            self.delete(&path, zxid, &Hint::NONE, on_change);
        }
    }
}
