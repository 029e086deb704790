//! The configurations a member knows: the one in force, and the newest one it has seen.
//!
//! What is in force comes from the file the server was started with, from a leader or, while it looks for one, from
//! other servers. What is newer than that was proposed and may come into force: until that is known, it takes quorums
//! of both to elect a leader.
//!
//! The newest one is as durable as the log is: the transaction that proposes it is in there, and in the tree, before it
//! is acknowledged. So the server need not wait for any file of configurations. ZooKeeper, which looks for neither,
//! keeps a file `zoo.cfg.dynamic.next` for it (PARITY `reconf.dynfile`), which it writes before it logs the transaction;
//! whoever finds that file finds the transaction, or the transaction was acknowledged by nobody. The one configuration
//! of which there is no transaction is the first: a new leader gives it a version (PARITY `sync.leader.activation`),
//! with the same members, and who forgets that version learns it again, or the next one.

use bytes::Bytes;

use crate::election::View;
use crate::tree::Tree;
use crate::types::{MemberRole, Membership, OpCode, ServerId, Txn, TxnHeader, Zxid, path};

/// See the module.
#[derive(Debug)]
pub(super) struct Configs {
    /// Whether configurations change at all (`reconfigEnabled`).
    dynamic: bool,
    current: Membership,
    /// `current` as text.
    text: Bytes,
    /// Newer than `current`.
    next: Option<Membership>,
    /// What the leader's epoch begins with.
    offered: Option<Membership>,
}

impl Configs {
    /// The configuration of the file, and what the tree has.
    pub(super) fn new(dynamic: bool, current: Membership, tree: &Tree) -> Self {
        let text = Bytes::from(current.text());
        let mut configs = Self { dynamic, current, text, next: None, offered: None };
        configs.next = configs.in_tree(tree);
        configs
    }

    pub(super) const fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// The configuration in force.
    pub(super) const fn current(&self) -> &Membership {
        &self.current
    }

    /// The newest one, if that is not in force.
    pub(super) const fn next(&self) -> Option<&Membership> {
        self.next.as_ref()
    }

    /// The text of the configuration in force.
    pub(super) const fn text(&self) -> &Bytes {
        &self.text
    }

    /// The text of the newest one.
    pub(super) fn newest_text(&self) -> Bytes {
        self.next.as_ref().map_or_else(|| self.text.clone(), |next| Bytes::from(next.text()))
    }

    pub(super) fn view(&self) -> View {
        View::new(self.current.clone(), self.next.clone(), self.text.clone())
    }

    /// Whether the configuration in force has the server as an observer; one that it does not have at all follows without
    /// a vote (PARITY `reconf.learneraction`).
    pub(super) fn is_observer(&self, server: ServerId) -> bool {
        self.current.member(server).is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// What was applied, or is to be, if it is newer than what is in force. Anybody who may can write something else to
    /// this znode; only a change of members has its own transaction for a version.
    fn in_tree(&self, tree: &Tree) -> Option<Membership> {
        let node = tree.node(path::CONFIG)?;
        let membership = parse(node.data()?)?;
        let version = membership.version();
        let is_newer = self.dynamic && version > self.current.version();
        (is_newer && Zxid(version) == node.stat().mzxid).then_some(membership)
    }

    /// The database is another one: what its log does not have was never agreed on.
    pub(super) fn reload(&mut self, tree: &Tree) {
        self.next = self.in_tree(tree);
    }

    /// Remembers a configuration that was proposed, or with which the leader's epoch begins. Whether it is news.
    pub(super) fn see(&mut self, membership: Membership) -> bool {
        let newest = self.next.as_ref().unwrap_or(&self.current).version();
        let news = self.dynamic && membership.version() > newest;
        if news {
            self.next = Some(membership);
        }
        news
    }

    /// Remembers what the leader's epoch begins with.
    pub(super) fn offer(&mut self, membership: Membership) {
        self.offered = self.dynamic.then_some(membership);
    }

    pub(super) fn forget_offer(&mut self) {
        self.offered = None;
    }

    pub(super) fn take_offer(&mut self) -> Option<Membership> {
        self.offered.take().filter(|offered| offered.version() > self.current.version())
    }

    /// The configuration that this transaction proposed, if it is not in force. `Err`: nobody knows it.
    pub(super) fn proposed_by(&self, zxid: Zxid) -> Result<Option<Membership>, Unknown> {
        if !self.dynamic || self.current.version() >= zxid.0 {
            return Ok(None);
        }
        match &self.next {
            Some(next) if next.version() == zxid.0 => Ok(Some(next.clone())),
            Some(_) | None => Err(Unknown),
        }
    }

    /// The configuration is in force. Returns the one that was.
    pub(super) fn activate(&mut self, membership: Membership) -> Membership {
        assert!(membership.version() > self.current.version(), "configurations do not go back");
        self.next.take_if(|next| next.version() <= membership.version());
        self.text = Bytes::from(membership.text());
        core::mem::replace(&mut self.current, membership)
    }
}

/// A leader activates what it did not propose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown;

/// The configuration that a transaction proposes.
pub(super) fn proposed(header: &TxnHeader, txn: &Txn) -> Option<Membership> {
    match txn {
        Txn::SetData { path, data: Some(data), .. }
            if header.op == OpCode::RECONFIG && **path == *path::CONFIG =>
        {
            parse(data).filter(|membership| Zxid(membership.version()) == header.zxid)
        }
        _ => None,
    }
}

/// Reads a configuration that came from somewhere else.
pub(super) fn parse(text: &[u8]) -> Option<Membership> {
    Membership::parse(core::str::from_utf8(text).ok()?).ok()
}
