//! A request and the pending state become a transaction, or an error.
//!
//! The order of the checks is ZooKeeper's (`PrepRequestProcessor`), for clients see which of several errors comes
//! first. Nothing here changes the tree; what a transaction will change is written to [`Pending`].

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::pending::{NodeState, Pending};
use super::quota_log::QuotaLog;
use crate::auth;
use crate::config::Config;
use crate::time::WallTime;
use crate::tree::{Hint, Tree, is_expired};
use crate::types::path;
use crate::types::{
    AclList, CreateTxn, ErrorCode, Id, Membership, NodeKind, OpCode, Perms, ServerId, SessionId,
    StatPersisted, SubTxn, Txn, Zxid,
};
use crate::wire::request::{MultiOp, Request};
use crate::wire::txn::{BATCH_MARK_LEN, DIGEST_LEN, HEADER_LEN};

/// Who asks, and which place in the order the answer will have.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The session; none for the server's own requests.
    pub session: SessionId,
    /// What the connection has proved to be.
    pub identities: &'a [Id],
    /// The transaction's place.
    pub zxid: Zxid,
    /// The transaction's time.
    pub time: WallTime,
}

/// Everything a request is judged by.
#[derive(Debug)]
pub struct Prep<'a> {
    /// The tree as committed.
    pub tree: &'a Tree,
    /// What is proposed beyond it.
    pub pending: &'a mut Pending,
    /// Switches.
    pub config: &'a Config,
    /// Who asks.
    pub origin: Origin<'a>,
    /// What a change of members is judged by; none where there is no ensemble, or nobody asks for that.
    pub members: Option<Members>,
    /// What was found out that helps to apply the transaction.
    pub hint: Hint,
    /// Where quotas are noted that are exceeded.
    pub quota_log: &'a mut QuotaLog,
}

/// An ensemble, as its leader sees it.
#[derive(Debug)]
pub struct Members {
    /// The version of the configuration in force.
    pub version: i64,
    /// The newest configuration.
    pub newest: Membership,
    /// Who follows and may have a vote, the leader included.
    pub following: BTreeSet<ServerId>,
    /// `standaloneEnabled`.
    pub standalone_enabled: bool,
}

/// A znode to create, as the request has it.
#[derive(Clone, Copy, Debug)]
struct Creation<'a> {
    op: OpCode,
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: Option<&'a AclList>,
    flags: i32,
    ttl: Option<i64>,
}

impl Prep<'_> {
    /// The transaction of a write request. A refused write is a transaction, too.
    pub fn transaction(&mut self, op: OpCode, request: &Request<'_>) -> Txn {
        let txn = self.decide(op, request).unwrap_or_else(|code| Txn::Error { code });
        if matches!(txn, Txn::Error { .. } | Txn::Multi(_)) {
            self.hint = Hint::NONE;
        }
        txn
    }

    fn decide(&mut self, op: OpCode, request: &Request<'_>) -> Result<Txn, ErrorCode> {
        match request {
            Request::Create { path, data, acl, flags, ttl } => {
                let acl = acl.as_ref();
                self.create(Creation { op, path, data: *data, acl, flags: *flags, ttl: *ttl })
            }
            Request::Delete { path, version } => self.delete(path, *version),
            Request::DeleteContainer { path } => self.delete_container(path),
            Request::SetData { path, data, version } => self.set_data(path, *data, *version),
            Request::SetAcl { path, acl, version } => self.set_acl(path, acl.as_ref(), *version),
            Request::Check { path, version } => self.check(path, *version),
            Request::Multi(ops) => Ok(self.multi(ops)),
            Request::Reconfig { .. } if !self.config.reconfig_enabled => Err(ErrorCode::RECONFIGDISABLED),
            Request::Reconfig { joining, leaving, new_members, config_id } => {
                self.reconfigure(*joining, *leaving, *new_members, *config_id)
            }
            Request::AddWatch { .. }
            | Request::Auth { .. }
            | Request::CheckWatches { .. }
            | Request::CloseSession
            | Request::Exists { .. }
            | Request::GetAcl { .. }
            | Request::GetAllChildrenNumber { .. }
            | Request::GetChildren { .. }
            | Request::GetChildren2 { .. }
            | Request::GetData { .. }
            | Request::GetEphemerals { .. }
            | Request::MultiRead(_)
            | Request::Ping
            | Request::RemoveWatches { .. }
            | Request::Sasl { .. }
            | Request::SetWatches { .. }
            | Request::Sync { .. }
            | Request::WhoAmI => unreachable!("{op:?} is not a write"),
        }
    }

    fn create(&mut self, creation: Creation<'_>) -> Result<Txn, ErrorCode> {
        let Creation { op, path, data, acl, flags, ttl } = creation;
        let (kind, sequential) = self.node_kind(op, flags, ttl)?;
        let parent_path = parent_of(path)?;
        let acl = auth::fix_up(self.config, acl.cloned(), self.origin.identities)?;
        self.check_length(create_length(path, data, &acl, kind) + SEQUENCE_LEN_MAX)?;
        let parent = self.record(parent_path)?;
        self.allow(&parent, Perms::CREATE)?;
        let path: Box<str> =
            if sequential { format!("{path}{:010}", parent.stat.cversion).into() } else { path.into() };
        path::validate(&path).map_err(|_| ErrorCode::BADARGUMENTS)?;
        let vacant = self.pending.vacancy(self.tree, &path).ok_or(ErrorCode::NODEEXISTS)?;
        let extended_types = self.config.extended_types;
        if NodeKind::from_owner(parent.stat.ephemeral_owner, extended_types) == NodeKind::Ephemeral {
            return Err(ErrorCode::NOCHILDRENFOREPHEMERALS);
        }
        self.check_quota(&path, data, true)?;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        let Origin { zxid, time, session, .. } = self.origin;
        let hint = parent.place.hint();
        self.child_changed(parent_path, parent, Some(parent_cversion));
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner: kind.owner(session),
            ..StatPersisted::default()
        };
        let prefix = self.pending.create(zxid, (&path, vacant), data, acl.clone(), stat);
        self.hint = hint.for_child(vacant.hash(), prefix);
        Ok(Txn::Create(CreateTxn { path, data: data.map(Box::from), acl, kind, parent_cversion }))
    }

    /// What is created, and whether its name gets a number. The operation decides the kind; the flags only add
    /// ephemeral and sequential (PARITY `op.create.kind`).
    fn node_kind(&self, op: OpCode, flags: i32, ttl: Option<i64>) -> Result<(NodeKind, bool), ErrorCode> {
        let (ephemeral, sequential, with_ttl) = match flags {
            0 | 4 => (false, false, false),
            1 => (true, false, false),
            2 => (false, true, false),
            3 => (true, true, false),
            5 => (false, false, true),
            6 => (false, true, true),
            _ => return Err(ErrorCode::BADARGUMENTS),
        };
        // A time to live that nothing asks for is wrong whether or not there are TTL nodes.
        let asks_for_ttl = with_ttl || op == OpCode::CREATE_TTL && ttl.is_none_or(|ttl| ttl < 0);
        if asks_for_ttl && !self.config.extended_types {
            return Err(ErrorCode::UNIMPLEMENTED);
        }
        let kind = match (op, ttl) {
            (OpCode::CREATE_TTL, Some(ttl)) if with_ttl && (1..=NodeKind::TTL_MAX).contains(&ttl) => {
                NodeKind::Ttl(ttl)
            }
            (OpCode::CREATE_TTL, _) => return Err(ErrorCode::BADARGUMENTS),
            _ if with_ttl => return Err(ErrorCode::BADARGUMENTS),
            (OpCode::CREATE_CONTAINER, _) => NodeKind::Container,
            _ if ephemeral => NodeKind::Ephemeral,
            _ => NodeKind::Persistent,
        };
        Ok((kind, sequential))
    }

    fn delete(&mut self, path: &str, version: i32) -> Result<Txn, ErrorCode> {
        let parent_path = deletable_parent_of(path)?;
        let parent = self.record(parent_path)?;
        self.allow(&parent, Perms::DELETE)?;
        let node = self.record(path)?;
        next_version(node.stat.version, version)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NOTEMPTY);
        }
        self.hint = node.place.hint();
        Ok(self.deleted(path, &node, parent_path, parent))
    }

    /// The server's own deletion of an emptied container or an expired TTL node: judged again here, for much may
    /// have happened since it was found: a child came, the data was set, another znode took its place (PARITY
    /// `cm.post`, where ZooKeeper looks at children and kind alone).
    fn delete_container(&mut self, path: &str) -> Result<Txn, ErrorCode> {
        let parent_path = deletable_parent_of(path)?;
        let node = self.record(path)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NOTEMPTY);
        }
        let kind = NodeKind::from_owner(node.stat.ephemeral_owner, self.config.extended_types);
        if !is_expired(kind, &node.stat, self.origin.time, self.config.container_max_never_used) {
            return Err(ErrorCode::BADVERSION);
        }
        let parent = self.record(parent_path)?;
        Ok(self.deleted(path, &node, parent_path, parent))
    }

    fn deleted(&mut self, path: &str, node: &NodeState, parent_path: &str, parent: NodeState) -> Txn {
        self.child_changed(parent_path, parent, None);
        self.pending.delete(self.origin.zxid, path, node);
        Txn::Delete { path: path.into() }
    }

    /// A child comes (with the parent's new counter) or goes.
    fn child_changed(&mut self, parent_path: &str, mut parent: NodeState, created: Option<i32>) {
        match created {
            // As applied: the counter only rises, and sticks where it would wrap (PARITY `seq.overflow`).
            Some(cversion) => {
                parent.child_count += 1;
                if cversion > parent.stat.cversion {
                    parent.stat.cversion = cversion;
                    parent.stat.pzxid = self.origin.zxid;
                }
            }
            None => {
                parent.child_count -= 1;
                parent.stat.pzxid = self.origin.zxid;
            }
        }
        self.pending.update(self.tree, self.origin.zxid, parent_path, parent);
    }

    fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Txn, ErrorCode> {
        path::validate(path).map_err(|_| ErrorCode::BADARGUMENTS)?;
        let mut node = self.record(path)?;
        self.allow(&node, Perms::WRITE)?;
        self.check_quota(path, data, false)?;
        let version = next_version(node.stat.version, version)?;
        node.stat.version = version;
        node.stat.mtime = self.origin.time;
        node.stat.mzxid = self.origin.zxid;
        let hint = node.place.hint();
        let prefix = self.pending.set_data(self.origin.zxid, path, data, node);
        self.hint = hint.with_data(prefix);
        Ok(Txn::SetData { path: path.into(), data: data.map(Box::from), version })
    }

    /// PARITY `reconf.checks`, `reconf.txn`: permission comes last, and the version is always -1. What comes before it
    /// costs whoever may not change anything no more than the length of the request makes other requests cost.
    fn reconfigure(
        &mut self,
        joining: Option<&str>,
        leaving: Option<&str>,
        new_members: Option<&str>,
        config_id: i64,
    ) -> Result<Txn, ErrorCode> {
        // A standalone server has no membership to change.
        let Some(members) = self.members.take() else { return Err(ErrorCode::UNIMPLEMENTED) };
        let Members { version, newest, following, standalone_enabled } = members;
        if newest.version() != version {
            return Err(ErrorCode::RECONFIGINPROGRESS);
        }
        if config_id != -1 && config_id != version {
            return Err(ErrorCode::BADVERSION);
        }
        let zxid = self.origin.zxid;
        let next = newest
            .reconfigured(zxid.0, joining, leaving, new_members, standalone_enabled)
            .map_err(|error| error.code())?;
        if !next.has_quorum(&following) {
            return Err(ErrorCode::NEWCONFIGNOQUORUM);
        }
        let mut node = self.record(path::CONFIG)?;
        self.allow(&node, Perms::WRITE)?;
        let data = next.text().into_bytes();
        self.check_length(20 + path::CONFIG.len() + data.len())?;
        node.stat.version = -1;
        node.stat.mtime = self.origin.time;
        node.stat.mzxid = zxid;
        self.pending.set_data(zxid, path::CONFIG, Some(&data), node);
        Ok(Txn::SetData { path: path::CONFIG.into(), data: Some(data.into()), version: -1 })
    }

    fn set_acl(&mut self, path: &str, acl: Option<&AclList>, version: i32) -> Result<Txn, ErrorCode> {
        path::validate(path).map_err(|_| ErrorCode::BADARGUMENTS)?;
        let acl = auth::fix_up(self.config, acl.cloned(), self.origin.identities)?;
        self.check_length(20 + path.len() + acl_length(&acl))?;
        let mut node = self.record(path)?;
        self.allow(&node, Perms::ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        node.stat.aversion = version;
        node.acl = acl.clone();
        self.pending.update(self.tree, self.origin.zxid, path, node);
        Ok(Txn::SetAcl { path: path.into(), acl, version })
    }

    fn check(&mut self, path: &str, version: i32) -> Result<Txn, ErrorCode> {
        path::validate(path).map_err(|_| ErrorCode::BADARGUMENTS)?;
        let node = self.record(path)?;
        self.allow(&node, Perms::READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok(Txn::Check { path: path.into(), version })
    }

    /// All or none: each operation sees what those before it will have done; the first that fails undoes them
    /// (PARITY `multi.atomic`, `multi.fail`).
    fn multi(&mut self, ops: &[MultiOp<'_>]) -> Txn {
        self.pending.begin();
        let mut txns = Vec::with_capacity(ops.len());
        let mut length = 0;
        for (index, MultiOp { op, request }) in ops.iter().enumerate() {
            let decided = self.decide(*op, request).and_then(|txn| {
                length += length_of(&txn);
                self.check_length(length).map(|()| txn)
            });
            match decided {
                Ok(txn) => txns.push(SubTxn { op: *op, txn }),
                Err(code) => {
                    self.pending.roll_back(self.origin.zxid);
                    return Txn::Multi(failed_multi(ops.len(), index, code));
                }
            }
        }
        self.pending.keep();
        Txn::Multi(txns)
    }

    /// The end of a session takes its ephemeral znodes with it, those still pending included (PARITY
    /// `node.ephemeral.close`).
    pub fn close_session(&mut self) -> Txn {
        let paths = self.pending.ephemerals(self.tree, self.origin.session);
        for path in &paths {
            let Some(parent_path) = path::parent(path) else { continue };
            if let Some(node) = self.pending.node(self.tree, path)
                && let Some(parent) = self.pending.node(self.tree, parent_path)
            {
                self.deleted(path, &node, parent_path, parent);
            }
        }
        // Without the list, whatever the session owns goes when this is applied, which is the same.
        let fits = self.check_length(paths.iter().map(|path| 4 + path.len()).sum()).is_ok();
        let listed = self.config.close_session_txn && fits;
        Txn::CloseSession { paths: listed.then(|| paths.into_iter().collect()) }
    }

    /// Refuses what would be logged at a length that no recovery reads back. A request is limited, but what it
    /// becomes can be longer: `auth` in an ACL stands for every identity of the connection, and what is not UTF-8
    /// there is replaced by something longer.
    fn check_length(&self, length: usize) -> Result<(), ErrorCode> {
        if length.saturating_add(RECORD_OVERHEAD_MAX) > self.config.stored_field_max() {
            Err(ErrorCode::BADARGUMENTS)
        } else {
            Ok(())
        }
    }

    fn record(&self, path: &str) -> Result<NodeState, ErrorCode> {
        self.pending.node(self.tree, path).ok_or(ErrorCode::NONODE)
    }

    fn allow(&self, node: &NodeState, wanted: Perms) -> Result<(), ErrorCode> {
        if auth::allows(self.config, &node.acl, wanted, self.origin.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NOAUTH)
        }
    }

    fn check_quota(&mut self, path: &str, data: Option<&[u8]>, create: bool) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        let length = || self.tree.node(path).and_then(|node| node.data()).map_or(0, <[u8]>::len);
        let old_length = if create { None } else { Some(length()) };
        let new_length = data.map_or(0, <[u8]>::len);
        let mut allowed = Ok(());
        for exceeded in self.tree.quota_check(path, old_length, new_length) {
            if exceeded.hard {
                allowed = Err(ErrorCode::QUOTAEXCEEDED);
            }
            self.quota_log.note(exceeded);
        }
        allowed
    }
}

/// What a logged transaction may have besides its operations: header, a count, digest, batch mark.
const RECORD_OVERHEAD_MAX: usize = HEADER_LEN + 4 + DIGEST_LEN + BATCH_MARK_LEN;
/// The digits of a sequential name.
const SEQUENCE_LEN_MAX: usize = 11;

/// Bytes of a logged create, in a multi, where each part has its number and length in front. None of these is more
/// than the same operation takes in a request, but for what it became.
fn create_length(path: &str, data: Option<&[u8]>, acl: &AclList, kind: NodeKind) -> usize {
    let kind_length = if matches!(kind, NodeKind::Ttl(_)) { 12 } else { 5 };
    20 + path.len() + data.map_or(0, <[u8]>::len) + acl_length(acl) + kind_length
}

fn acl_length(acl: &AclList) -> usize {
    acl.entries().iter().map(|acl| 12 + acl.id.scheme.len() + acl.id.id.len()).sum()
}

/// Bytes of a logged operation, likewise.
fn length_of(txn: &Txn) -> usize {
    match txn {
        Txn::Check { path, .. } => 16 + path.len(),
        Txn::Create(CreateTxn { path, data, acl, kind, .. }) => {
            create_length(path, data.as_deref(), acl, *kind)
        }
        Txn::Delete { path } => 12 + path.len(),
        Txn::SetAcl { path, acl, .. } => 20 + path.len() + acl_length(acl),
        Txn::SetData { path, data, .. } => 20 + path.len() + data.as_deref().map_or(0, <[u8]>::len),
        Txn::CloseSession { .. } | Txn::CreateSession { .. } | Txn::Error { .. } | Txn::Multi(_) => 12,
    }
}

/// The results of a multi whose operation `failed` failed with `code`.
pub fn failed_multi(count: usize, failed: usize, code: ErrorCode) -> Vec<SubTxn> {
    (0..count)
        .map(|index| {
            let code = match index.cmp(&failed) {
                core::cmp::Ordering::Less => ErrorCode::OK,
                core::cmp::Ordering::Equal => code,
                core::cmp::Ordering::Greater => ErrorCode::RUNTIMEINCONSISTENCY,
            };
            SubTxn { op: OpCode::ERROR, txn: Txn::Error { code } }
        })
        .collect()
}

/// The parent of a path that need not be a valid one yet: a sequential znode's may end in `/` (PARITY
/// `path.valid.where`, `path.seq.slash`).
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    let slash = path.rfind('/').ok_or(ErrorCode::BADARGUMENTS)?;
    if path.contains('\0') {
        return Err(ErrorCode::BADARGUMENTS);
    }
    Ok(if slash == 0 { path::ROOT } else { &path[..slash] })
}

fn deletable_parent_of(path: &str) -> Result<&str, ErrorCode> {
    match path {
        path::ROOT | path::ZOOKEEPER | path::QUOTA | path::CONFIG => Err(ErrorCode::BADARGUMENTS),
        _ => parent_of(path),
    }
}

/// The version behind `current`, if that is the expected one. No znode gets the version -1, which as an expected one means any
/// (ZOOKEEPER-4743): it would match whatever is there.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BADVERSION);
    }
    Ok(match current.wrapping_add(1) {
        -1 => 0,
        next => next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ZOOKEEPER-4743.
    #[test]
    fn a_version_is_never_minus_one() {
        assert_eq!(next_version(-3, -1), Ok(-2));
        assert_eq!(next_version(-2, -1), Ok(0));
        assert_eq!(next_version(-2, -2), Ok(0));
        assert_eq!(next_version(i32::MAX, i32::MAX), Ok(i32::MIN));
        assert_eq!(next_version(7, 6), Err(ErrorCode::BADVERSION));
    }
}
