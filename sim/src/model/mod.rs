//! The reference: a tree and a session table as ZooKeeper's documentation and source describe them, written to be
//! obvious and never to be fast. It shares no code with the core's tree, pipeline or digest.
//!
//! It executes *requests*, not transactions: what a request does and answers at its place in the order is decided
//! here a second time, from the state that all requests before it left. Every state it ever had can be looked up
//! by zxid, since an answer may be read long after the state it describes has passed.

pub mod acl;
mod digest;
mod eval;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zabra_core::time::WallTime;
use zabra_core::types::{Acl, AclList, ErrorCode, Id, Perms, SessionId, Stat, Zxid};

pub use node::{CONTAINER, Node};

use crate::op::{Answer, EventKind, Op, Outcome};
use crate::roster::Roster;

/// Where the members stand.
const CONFIG: &str = "/zookeeper/config";

/// Who executes a request, and where in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place.
    pub zxid: Zxid,
    /// The time that the ordering server stamped it with.
    pub time: WallTime,
    /// The session that asked.
    pub session: SessionId,
}

/// A change that watches tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
    /// Who may not read by this list is not told.
    pub acl: AclList,
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// In which session.
    pub session: SessionId,
    /// Who this is.
    pub who: &'a [Id],
}

/// A session, as the order of transactions knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its negotiated timeout.
    pub timeout_ms: i32,
    /// When it began.
    pub opened: Zxid,
    /// When it ended.
    pub closed: Option<Zxid>,
}

/// What a znode was from a zxid on; nothing, where it was deleted.
type Version = (Zxid, Option<Rc<Node>>);

/// All states of the reference tree, the present one last.
#[derive(Clone, Debug)]
pub struct Model {
    /// Every version of every znode, in ascending order of zxid.
    versions: BTreeMap<String, Vec<Version>>,
    sessions: BTreeMap<SessionId, Session>,
    /// Owned by session, for the end of a session.
    ephemerals: BTreeMap<SessionId, BTreeSet<String>>,
    /// Sum over all znodes, see [`digest`].
    digest: u64,
    last: Zxid,
    /// Who belongs to the ensemble, and the version of that.
    roster: Roster,
    version: i64,
    /// What each transaction changed, in the order in which watches must tell of it.
    changes: BTreeMap<Zxid, Vec<Change>>,
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self {
            versions: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            digest: 0,
            last: Zxid::ZERO,
            roster: Roster::default(),
            version: 0,
            changes: BTreeMap::new(),
        };
        for (path, children) in [
            ("/", &["zookeeper"][..]),
            ("/zookeeper", &["config", "quota"]),
            (CONFIG, &[]),
            ("/zookeeper/quota", &[]),
        ] {
            // Only the super user may change the members.
            let (acl, aversion, version) = match path {
                CONFIG => (vec![Acl { perms: Perms::READ, id: Id::ANYONE }].into(), -1, -1),
                _ => (AclList::OpenUnsafe, 0, 0),
            };
            let node = Node {
                acl,
                aversion,
                version,
                data: Some(Vec::new()),
                children: Rc::new(children.iter().map(|&name| name.into()).collect()),
                ..Node::default()
            };
            model.put(Zxid::ZERO, path, Some(Rc::new(node)));
        }
        model
    }
}

impl Model {
    /// The last transaction that was executed.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// ZooKeeper's digest of the present tree.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Who belongs to the ensemble, and the version of that.
    pub const fn members(&self) -> (Roster, i64) {
        (self.roster, self.version)
    }

    /// From now on these are the members, of which no transaction says so: at first, and where a leader's epoch begins with
    /// them.
    pub const fn bring_members(&mut self, roster: Roster, version: i64) {
        (self.roster, self.version) = (roster, version);
    }

    /// The session table.
    pub const fn sessions(&self) -> &BTreeMap<SessionId, Session> {
        &self.sessions
    }

    /// The znodes that a session owns now.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(String::as_str)
    }

    /// What the transaction at `zxid` changed, in the order in which watches must tell of it.
    pub fn changes(&self, zxid: Zxid) -> &[Change] {
        self.changes.get(&zxid).map_or(&[], Vec::as_slice)
    }

    /// All transactions after `after` up to and including `until`, with what they changed.
    pub fn changes_within(&self, after: Zxid, until: Zxid) -> impl Iterator<Item = (Zxid, &Change)> {
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(until));
        let nothing = after >= until;
        (!nothing)
            .then(|| self.changes.range(range))
            .into_iter()
            .flatten()
            .flat_map(|(&zxid, changes)| changes.iter().map(move |change| (zxid, change)))
    }

    /// A znode as it is now.
    pub fn node(&self, path: &str) -> Option<&Rc<Node>> {
        self.versions.get(path)?.last()?.1.as_ref()
    }

    /// A znode as it was once `zxid` was executed.
    pub fn node_at(&self, path: &str, zxid: Zxid) -> Option<&Rc<Node>> {
        let versions = self.versions.get(path)?;
        let until = versions.partition_point(|(at, _)| *at <= zxid);
        versions[..until].last()?.1.as_ref()
    }

    /// How many znodes there were once `zxid` was executed.
    pub fn count_at(&self, zxid: Zxid) -> usize {
        self.versions.keys().filter(|path| self.node_at(path, zxid).is_some()).count()
    }

    /// All paths that exist now.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.versions
            .iter()
            .filter(|(_, versions)| versions.last().is_some_and(|(_, node)| node.is_some()))
            .map(|(path, _)| path.as_str())
    }

    /// Containers that have had a child, and have had none since `zxid` or longer.
    pub fn abandoned(&self, zxid: Zxid) -> impl Iterator<Item = &str> {
        let is_abandoned = move |node: &Rc<Node>| {
            node.owner == CONTAINER && node.created > 0 && node.children.is_empty() && node.pzxid <= zxid
        };
        let present =
            self.versions.iter().filter_map(|(path, versions)| Some((path, versions.last()?.1.as_ref()?)));
        present.filter(move |(_, node)| is_abandoned(node)).map(|(path, _)| path.as_str())
    }

    /// How many containers and TTL nodes there are.
    pub fn fleeting(&self) -> usize {
        let present = self.versions.values().filter_map(|versions| versions.last()?.1.as_ref());
        present.filter(|node| node.owner == CONTAINER || node.ttl().is_some()).count()
    }

    /// TTL nodes whose time was over when the clock showed `wall`, and that were not set, and had no child, since `zxid`
    /// or longer.
    pub fn overdue(&self, zxid: Zxid, wall: WallTime) -> impl Iterator<Item = &str> {
        let is_overdue = move |node: &Rc<Node>| {
            let is_due = node.ttl().is_some_and(|ttl| wall.0.saturating_sub(node.mtime.0) > ttl);
            is_due && node.children.is_empty() && node.pzxid.max(node.mzxid) <= zxid
        };
        let present =
            self.versions.iter().filter_map(|(path, versions)| Some((path, versions.last()?.1.as_ref()?)));
        present.filter(move |(_, node)| is_overdue(node)).map(|(path, _)| path.as_str())
    }

    /// What a read answers in the state that `zxid` left.
    pub fn read(&self, op: &Op, zxid: Zxid, asker: Asker<'_>) -> Answer {
        let found = |path: &str, wanted: Perms| {
            let node = self.node_at(path, zxid).ok_or(ErrorCode::NONODE)?;
            if acl::allows(&node.acl, wanted, asker.who) { Ok(node) } else { Err(ErrorCode::NOAUTH) }
        };
        Ok(match op {
            Op::AddAuth { .. } | Op::AddWatch { .. } | Op::Ping | Op::SetWatches { .. } => Outcome::Done,
            Op::Exists { path, .. } => Outcome::Stat(found(path, Perms::READ)?.stat()),
            Op::GetAcl { path } => {
                let node = found(path, Perms::READ | Perms::ADMIN)?;
                Outcome::Acl(acl::shown(&node.acl, asker.who), node.stat())
            }
            Op::GetAllChildrenNumber { path } => {
                found(path, Perms::READ)?;
                Outcome::Count(self.below(path, zxid) as i32)
            }
            Op::GetData { path, .. } => {
                let node = found(path, Perms::READ)?;
                Outcome::Data(node.data.clone(), node.stat())
            }
            Op::GetChildren { path, .. } => {
                let node = found(path, Perms::READ)?;
                Outcome::Children(node.children.iter().map(|name| name.to_string()).collect(), node.stat())
            }
            Op::GetEphemerals { prefix } => {
                let prefix = if prefix == "/" { "" } else { prefix };
                let owned =
                    self.versions.keys().filter(|path| path.starts_with(prefix)).filter(|path| {
                        self.node_at(path, zxid).is_some_and(|node| node.owner == asker.session)
                    });
                Outcome::Names(owned.cloned().collect())
            }
            Op::MultiRead(ops) => {
                let one = |op: &Op| match self.read(op, zxid, asker) {
                    Ok(Outcome::Children(names, _)) => Ok(Outcome::Names(names)),
                    other => other,
                };
                Outcome::Multi(ops.iter().map(one).collect())
            }
            Op::Sync { path } => Outcome::Path(path.clone()),
            Op::WhoAmI => {
                let name = |id: &Id| match &*id.scheme {
                    "digest" => id.id.split(':').next().unwrap_or_default().to_owned(),
                    _ => id.id.to_string(),
                };
                Outcome::Identities(asker.who.iter().map(|id| (id.scheme.to_string(), name(id))).collect())
            }
            Op::Check { .. }
            | Op::CloseSession
            | Op::Create { .. }
            | Op::Delete { .. }
            | Op::Multi(_)
            | Op::Reconfig { .. }
            | Op::RemoveWatches { .. }
            | Op::SetAcl { .. }
            | Op::SetData { .. } => unreachable!("{op} is nothing that a tree answers"),
        })
    }

    /// How many znodes were below one.
    fn below(&self, path: &str, zxid: Zxid) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.versions.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        below.filter(|(below, _)| *below != path && self.node_at(below, zxid).is_some()).count()
    }

    /// A session begins at `place`.
    pub fn open_session(&mut self, place: Place, timeout_ms: i32) {
        self.advance(place.zxid);
        let session = Session { timeout_ms, opened: place.zxid, closed: None };
        self.sessions.insert(place.session, session);
    }

    /// Takes its place in the order and does nothing: a request that was refused before it was looked at.
    pub fn skip(&mut self, zxid: Zxid) {
        self.advance(zxid);
    }

    fn advance(&mut self, zxid: Zxid) {
        assert!(zxid > self.last, "{zxid} executed after {}", self.last);
        self.last = zxid;
    }

    fn put(&mut self, zxid: Zxid, path: &str, node: Option<Rc<Node>>) {
        if let Some(old) = self.node(path) {
            self.digest = self.digest.wrapping_sub(digest::of(path, old));
        }
        if let Some(new) = &node {
            self.digest = self.digest.wrapping_add(digest::of(path, new));
        }
        self.versions.entry(path.to_owned()).or_default().push((zxid, node));
    }
}

/// The stat of a znode that a create2 answers with: that of the znode as just created.
fn created_stat(node: &Node) -> Stat {
    node.stat()
}
