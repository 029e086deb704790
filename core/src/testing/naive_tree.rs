//! The znode tree as a sorted map, written from `DataTree` and sharing no code with [`crate::tree`].
//!
//! Everything is computed from scratch whenever it is asked for: children by looking at every path, the digest by
//! going over every znode, the owner of every ephemeral znode by looking at all of them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::tree::Applied;
use crate::types::{
    Acl, AclList, CreateTxn, ErrorCode, Id, OpCode, Perms, SessionId, Stat, StatPersisted, Txn, TxnHeader,
    Zxid,
};

/// A znode of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaiveNode {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Its ACL.
    pub acl: AclList,
    /// The rest.
    pub stat: StatPersisted,
}

/// A change the model made, in the words of [`crate::tree::Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NaiveChange {
    /// Path, ACL, the parent's ACL.
    Created(String, AclList, AclList),
    /// Path, ACL, the parent's ACL.
    Deleted(String, AclList, AclList),
    /// Path and ACL.
    DataChanged(String, AclList),
}

/// The model of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NaiveTree {
    /// By path, the root under `/`.
    pub nodes: BTreeMap<String, NaiveNode>,
    /// The last transaction.
    pub last_zxid: Zxid,
    extended_types: bool,
    /// Paths with limits, without names that are blank.
    quotas: BTreeSet<String>,
}

const QUOTA: &str = "/zookeeper/quota";

impl NaiveTree {
    /// The tree of a new server.
    pub fn new(extended_types: bool) -> Self {
        let node = |acl, aversion| NaiveNode {
            data: Some(Vec::new()),
            acl,
            stat: StatPersisted { aversion, ..StatPersisted::default() },
        };
        let readable = AclList::from(vec![Acl { perms: Perms::READ, id: Id::ANYONE }]);
        let nodes = BTreeMap::from([
            ("/".to_string(), node(AclList::OpenUnsafe, 0)),
            ("/zookeeper".to_string(), node(AclList::OpenUnsafe, 0)),
            (QUOTA.to_string(), node(AclList::OpenUnsafe, 0)),
            ("/zookeeper/config".to_string(), node(readable, -1)),
        ]);
        Self { nodes, last_zxid: Zxid(0), extended_types, quotas: BTreeSet::new() }
    }

    /// Applies a transaction; what came of it, and the changes it made in order.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn) -> (Applied, Vec<NaiveChange>) {
        let mut changes = Vec::new();
        let applied = match txn {
            Txn::Multi(parts) => {
                let mut results = Vec::new();
                let failing = parts.iter().position(|part| part.op.0 == -1);
                for (at, part) in parts.iter().enumerate() {
                    results.push(match failing {
                        Some(failing) if part.op.0 != -1 => {
                            let code = if at < failing { 0 } else { -2 };
                            result(OpCode(-1), code, "", None)
                        }
                        _ => self.apply_part(header, part.op, &part.txn, &mut changes),
                    });
                }
                let error = results.iter().map(|part| part.error.0).find(|&error| error != 0).unwrap_or(0);
                Applied { multi: results, ..result(header.op, error, "", None) }
            }
            single => self.apply_part(header, header.op, single, &mut changes),
        };
        if header.zxid > self.last_zxid {
            self.last_zxid = header.zxid;
        }
        (applied, changes)
    }

    fn apply_part(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        txn: &Txn,
        changes: &mut Vec<NaiveChange>,
    ) -> Applied {
        match txn {
            Txn::Check { path, .. } => result(op, 0, path, None),
            Txn::CloseSession { paths } => {
                for path in paths.iter().flatten() {
                    self.delete(path, header.zxid, changes);
                }
                for path in self.ephemerals(header.session) {
                    self.delete(&path, header.zxid, changes);
                }
                result(op, 0, "", None)
            }
            Txn::Create(create) => self.create(header, op, create, changes),
            Txn::CreateSession { .. } => result(op, 0, "", None),
            Txn::Delete { path } => {
                let deleted = self.delete(path, header.zxid, changes);
                result(op, if deleted { 0 } else { -101 }, path, None)
            }
            Txn::Error { code } => result(op, code.0, "", None),
            Txn::Multi(_) => result(op, -5, "", None),
            Txn::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(&**path) else { return result(op, -101, path, None) };
                node.acl = acl.clone();
                node.stat.aversion = *version;
                result(op, 0, path, self.stat(path))
            }
            Txn::SetData { path, data, version } => {
                let Some(node) = self.nodes.get_mut(&**path) else { return result(op, -101, path, None) };
                let old = len(&node.data);
                node.data = data.as_ref().map(|data| data.to_vec());
                node.stat.version = *version;
                node.stat.mzxid = header.zxid;
                node.stat.mtime = header.time;
                let (new, acl) = (len(&node.data), node.acl.clone());
                let stat = self.stat(path);
                self.count_quota(path, new - old, 0);
                changes.push(NaiveChange::DataChanged(path.to_string(), acl));
                result(op, 0, path, stat)
            }
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        op: OpCode,
        txn: &CreateTxn,
        changes: &mut Vec<NaiveChange>,
    ) -> Applied {
        let path = &*txn.path;
        let parent = parent(path);
        if path == "/" || !self.nodes.contains_key(&parent) {
            return result(op, -101, path, None);
        }
        if let Some(node) = self.nodes.get_mut(path) {
            node.acl = txn.acl.clone();
            if op.0 == 1 {
                self.raise_cversion(&parent, txn.parent_cversion, header.zxid);
            }
            return result(op, -110, path, None);
        }
        self.raise_cversion(&parent, txn.parent_cversion, header.zxid);
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            ephemeral_owner: txn.kind.owner(header.session),
            pzxid: header.zxid,
            ..StatPersisted::default()
        };
        let data = txn.data.as_ref().map(|data| data.to_vec());
        let bytes = len(&data);
        self.nodes.insert(path.to_string(), NaiveNode { data, acl: txn.acl.clone(), stat });
        let stat = if op.0 == 1 { None } else { self.stat(path) };
        if let Some(limited) = parent.strip_prefix(QUOTA) {
            if path.ends_with("/zookeeper_limits") && !names(limited).is_empty() {
                self.quotas.insert(names(limited));
            }
            if path.ends_with("/zookeeper_stats") {
                self.recount_quota(limited);
            }
        }
        self.count_quota(path, bytes, 1);
        let parent_acl = self.nodes[&parent].acl.clone();
        changes.push(NaiveChange::Created(path.to_string(), txn.acl.clone(), parent_acl));
        result(op, 0, path, stat)
    }

    fn raise_cversion(&mut self, path: &str, cversion: i32, zxid: Zxid) {
        let stat = &mut self.nodes.get_mut(path).expect("callers looked").stat;
        let cversion = if cversion == -1 { stat.cversion + 1 } else { cversion };
        if cversion > stat.cversion {
            stat.cversion = cversion;
            stat.pzxid = zxid;
        }
    }

    fn delete(&mut self, path: &str, zxid: Zxid, changes: &mut Vec<NaiveChange>) -> bool {
        if path == "/" {
            return false;
        }
        let parent = parent(path);
        let Some(node) = self.nodes.get_mut(&parent) else { return false };
        node.stat.pzxid = node.stat.pzxid.max(zxid);
        let parent_acl = node.acl.clone();
        let Some(node) = self.nodes.get(path) else { return false };
        changes.push(NaiveChange::Deleted(path.to_string(), node.acl.clone(), parent_acl));
        let mut gone = self.descendants(path);
        gone.insert(0, path.to_string());
        for path in gone.into_iter().rev() {
            let node = self.nodes.remove(&path).expect("it was found in the map");
            if let Some(limited) = path.strip_suffix("/zookeeper_limits").and_then(|p| p.strip_prefix(QUOTA))
            {
                self.quotas.remove(&names(limited));
            }
            self.count_quota(&path, -len(&node.data), -1);
        }
        true
    }

    /// Paths below `path`, sorted.
    pub fn descendants(&self, path: &str) -> Vec<String> {
        let below = if path == "/" { "/".to_string() } else { format!("{path}/") };
        self.nodes.keys().filter(|other| other.starts_with(&below) && *other != "/").cloned().collect()
    }

    /// Paths of the children of `path`, sorted.
    pub fn children(&self, path: &str) -> Vec<String> {
        self.nodes.keys().filter(|other| *other != "/" && parent(other) == path).cloned().collect()
    }

    /// Paths of the ephemeral znodes of `session`, sorted.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let owned = self
            .nodes
            .iter()
            .filter(|(_, node)| self.shown_owner(node.stat.ephemeral_owner) == session.0 && session.0 != 0);
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn shown_owner(&self, owner: i64) -> i64 {
        let is_ttl = self.extended_types && (owner as u64) >> 56 == 0xff;
        if owner == i64::MIN || is_ttl { 0 } else { owner }
    }

    /// The stat that clients see.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        let children = self.children(path).len() as i32;
        Some(Stat {
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: node.stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: node.stat.aversion,
            ephemeral_owner: SessionId(self.shown_owner(node.stat.ephemeral_owner)),
            data_length: len(&node.data) as i32,
            num_children: children,
            pzxid: node.stat.pzxid,
        })
    }

    /// The digest of the whole tree.
    pub fn digest(&self) -> u64 {
        self.nodes.iter().fold(0, |sum, (path, node)| sum.wrapping_add(digest(path, node)))
    }

    /// What loading a snapshot of this tree makes of its quotas.
    pub fn reload_quotas(&mut self) {
        self.quotas.clear();
        let mut all_limited = BTreeSet::new();
        for path in self.descendants(QUOTA) {
            if path.ends_with("/zookeeper_limits") && self.children(&path).is_empty() {
                all_limited.insert(parent(&path)[QUOTA.len()..].to_string());
            }
        }
        for limited in all_limited {
            self.recount_quota(&limited);
            if !names(&limited).is_empty() {
                self.quotas.insert(names(&limited));
            }
        }
    }

    fn recount_quota(&mut self, limited: &str) {
        let top = if limited.is_empty() { "/" } else { limited };
        let mut counted = self.descendants(top);
        counted.push(top.to_string());
        let counted: Vec<&NaiveNode> = counted.iter().filter_map(|path| self.nodes.get(path)).collect();
        let bytes: i64 = counted.iter().map(|node| len(&node.data)).sum();
        let text = format!("count={},bytes={}", counted.len(), bytes);
        if let Some(stats) = self.nodes.get_mut(&format!("{QUOTA}{limited}/zookeeper_stats")) {
            stats.data = Some(text.into_bytes());
        }
    }

    fn count_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let path = names(path);
        let covers = |quota: &&String| path == **quota || path.starts_with(&format!("{quota}/"));
        let Some(quota) = self.quotas.iter().filter(covers).max_by_key(|quota| quota.len()) else { return };
        let Some(node) = self.nodes.get_mut(&format!("{QUOTA}{quota}/zookeeper_stats")) else { return };
        let text = String::from_utf8_lossy(node.data.as_deref().unwrap_or_default()).into_owned();
        let mut fields: BTreeMap<&str, i64> = BTreeMap::new();
        for pair in text.split([',', ';']) {
            let parts: Vec<&str> = pair.trim_end_matches('=').split('=').collect();
            if parts.len() > 1 {
                let value = if parts[1].is_empty() { Ok(-1) } else { parts[1].parse() };
                if let Ok(value) = value {
                    fields.insert(parts[0], value);
                }
            }
        }
        let count = fields.remove("count").unwrap_or(-1) + count;
        let bytes = fields.remove("bytes").unwrap_or(-1) + bytes;
        let mut text = format!("count={count},bytes={bytes}");
        if !fields.is_empty() {
            text.push('=');
        }
        for (key, value) in fields {
            text.push_str(&format!(";{key}={value}"));
        }
        node.data = Some(text.into_bytes());
    }
}

/// The digest of one znode, bit by bit.
pub fn digest(path: &str, node: &NaiveNode) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let stat = &node.stat;
    let mut bytes = if path == "/" { Vec::new() } else { path.as_bytes().to_vec() };
    bytes.extend(node.data.iter().flatten());
    for long in [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime.0, stat.mtime.0] {
        bytes.extend(long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        bytes.extend(int.to_be_bytes());
    }
    bytes.extend(stat.ephemeral_owner.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    u64::from(!crc)
}

fn result(op: OpCode, error: i32, path: &str, stat: Option<Stat>) -> Applied {
    Applied { op, error: ErrorCode(error), path: Box::from(path), stat, multi: Vec::new() }
}

fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_string(),
        Some((parent, _)) => parent.to_string(),
    }
}

/// The names that are not blank, each behind a `/`.
fn names(path: &str) -> String {
    path.split('/').filter(|name| !name.trim().is_empty()).map(|name| format!("/{name}")).collect()
}

fn len(data: &Option<Vec<u8>>) -> i64 {
    data.as_ref().map_or(0, |data| data.len() as i64)
}
