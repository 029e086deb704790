//! Reads: answered from this server's own tree, in the session's order.
//!
//! The order of the checks is ZooKeeper's (`FinalRequestProcessor`).

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::auth;
use crate::config::Config;
use crate::tree::{NodeRef, Tree, WatchTable};
use crate::types::{ConnId, ErrorCode, EventType, Id, OpCode, Perms, SessionId, WatcherType, Zxid, path};
use crate::wire::reply::{self, MultiResult, WatchEvent};
use crate::wire::request::{MultiOp, Request};

/// The connection that asks.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Its number, under which its watches are kept.
    pub conn: ConnId,
    /// Its session.
    pub session: SessionId,
    /// What it has proved to be.
    pub identities: &'a [Id],
}

/// What reads are answered from.
#[derive(Debug)]
pub struct Reads<'a> {
    /// The tree as committed.
    pub tree: &'a Tree,
    /// Where watches are left.
    pub watches: &'a mut WatchTable,
    /// Switches.
    pub config: &'a Config,
    /// Who asks.
    pub reader: Reader<'a>,
    /// What was looked at and does not show in the replies' lengths.
    work: Cell<usize>,
}

/// How a read was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The code of the reply.
    pub code: ErrorCode,
    /// Events in front of it.
    pub events: u64,
    /// Where it begins.
    pub reply_at: usize,
}

/// Work that looking at one znode is.
const NODE_WORK: usize = 64;

/// Work that comparing one ACL entry with one identity is.
const ACL_WORK: usize = 16;

impl<'a> Reads<'a> {
    /// Reads of one connection.
    pub const fn new(
        tree: &'a Tree,
        watches: &'a mut WatchTable,
        config: &'a Config,
        reader: Reader<'a>,
    ) -> Self {
        Self { tree, watches, config, reader, work: Cell::new(0) }
    }

    /// Work done for the answers besides writing them; see [`Config::turn_work_max`].
    pub const fn work(&self) -> usize {
        self.work.get()
    }

    fn add_work(&self, things: usize, each: usize) {
        self.work.set(self.work.get().saturating_add(things.saturating_mul(each)));
    }

    /// Appends the whole reply to a read, and before it the events that re-registered watches owe.
    pub fn answer(&mut self, xid: i32, op: OpCode, request: &Request<'_>, out: &mut Vec<u8>) -> Answered {
        let events = match request {
            Request::SetWatches { .. } => self.set_watches(request, out),
            _ => 0,
        };
        let reply_at = out.len();
        let frame = reply::begin(out);
        reply::header(out, xid, self.tree.last_zxid(), ErrorCode::OK);
        let done = self.body(op, request, out);
        // A frame has no room for a longer length; only the children of one enormous znode get there.
        match done.and_then(|()| reply::fits(out, &frame).then_some(()).ok_or(ErrorCode::MARSHALLINGERROR)) {
            Ok(()) => {
                reply::end(out, frame);
                Answered { code: ErrorCode::OK, events, reply_at }
            }
            Err(code) => {
                reply::abandon(out, frame);
                reply::header_only(out, xid, self.tree.last_zxid(), code);
                Answered { code, events, reply_at }
            }
        }
    }

    fn body(&mut self, op: OpCode, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        match request {
            Request::GetData { path, watch } => {
                let node = self.readable(path)?;
                reply::data_stat(out, node.data(), &node.stat());
                if *watch {
                    self.watches.add_data(path, self.reader.conn);
                }
            }
            Request::Exists { path, watch } => return self.exists(path, *watch, out),
            Request::GetChildren { path, watch } => {
                let node = self.readable(path)?;
                reply::children(out, node.child_count(), node.children());
                if *watch {
                    self.watches.add_child(path, self.reader.conn);
                }
            }
            Request::GetChildren2 { path, watch } => {
                let node = self.readable(path)?;
                reply::children_stat(out, node.child_count(), node.children(), &node.stat());
                if *watch {
                    self.watches.add_child(path, self.reader.conn);
                }
            }
            Request::GetAcl { path } => return self.get_acl(path, out),
            Request::GetAllChildrenNumber { path } => return self.count_descendants(path, out),
            Request::GetEphemerals { prefix } => self.get_ephemerals(*prefix, out),
            Request::MultiRead(ops) => return self.multi(ops, out),
            Request::AddWatch { path, mode } => {
                match mode {
                    0 => self.watches.add_persistent(path, self.reader.conn),
                    1 => self.watches.add_recursive(path, self.reader.conn),
                    _ => return Err(ErrorCode::MARSHALLINGERROR),
                }
                reply::error(out, ErrorCode::OK);
            }
            Request::CheckWatches { path, kind } => {
                let kind = WatcherType::from_number(*kind).ok_or(ErrorCode::MARSHALLINGERROR)?;
                if !self.watches.contains(path, kind, self.reader.conn) {
                    return Err(ErrorCode::NOWATCHER);
                }
            }
            Request::RemoveWatches { path, kind } => {
                let kind = WatcherType::from_number(*kind).ok_or(ErrorCode::MARSHALLINGERROR)?;
                if !self.watches.remove(path, kind, self.reader.conn) {
                    return Err(ErrorCode::NOWATCHER);
                }
            }
            Request::WhoAmI => self.who_am_i(out),
            // One server is always up to date with itself (PARITY `sem.sync.leader`).
            Request::Sync { path } => reply::path(out, path),
            Request::Ping | Request::SetWatches { .. } => {}
            Request::Auth { .. }
            | Request::Check { .. }
            | Request::CloseSession
            | Request::Create { .. }
            | Request::Delete { .. }
            | Request::DeleteContainer { .. }
            | Request::Multi(_)
            | Request::Reconfig { .. }
            | Request::Sasl { .. }
            | Request::SetAcl { .. }
            | Request::SetData { .. } => unreachable!("{op:?} is not a read"),
        }
        Ok(())
    }

    /// The root has a second name, the empty one (PARITY `path.root.alias`).
    fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        self.tree.node(if path.is_empty() { path::ROOT } else { path })
    }

    fn readable(&self, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NONODE)?;
        self.allow(&node, Perms::READ)?;
        Ok(node)
    }

    fn allow(&self, node: &NodeRef<'_>, wanted: Perms) -> Result<(), ErrorCode> {
        self.add_work(node.acl().entries().len() * self.reader.identities.len(), ACL_WORK);
        if auth::allows(self.config, node.acl(), wanted, self.reader.identities) {
            Ok(())
        } else {
            Err(ErrorCode::NOAUTH)
        }
    }

    /// A watch is left whether or not the znode exists (PARITY `op.exists`).
    fn exists(&mut self, path: &str, watch: bool, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BADARGUMENTS);
        }
        let node = match self.node(path) {
            Some(node) => {
                self.allow(&node, Perms::READ)?;
                Some(node.stat())
            }
            None => None,
        };
        if watch {
            self.watches.add_data(path, self.reader.conn);
        }
        reply::stat(out, &node.ok_or(ErrorCode::NONODE)?);
        Ok(())
    }

    fn get_acl(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NONODE)?;
        self.allow(&node, Perms::READ | Perms::ADMIN)?;
        let administers = self.allow(&node, Perms::ADMIN).is_ok();
        let masked = if administers { None } else { Some(auth::mask(node.acl())) };
        reply::acl_stat(out, masked.as_ref().unwrap_or(node.acl()).entries(), &node.stat());
        Ok(())
    }

    fn count_descendants(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.readable(path)?;
        // Under its empty name the root is above its other one.
        let (top, more) = if path.is_empty() { (path::ROOT, 1) } else { (path, 0) };
        let count = more + self.tree.descendant_count(top).ok_or(ErrorCode::NONODE)?;
        // The number of all znodes is known without a look at them.
        if top != path::ROOT {
            self.add_work(count, NODE_WORK);
        }
        reply::count(out, i32::try_from(count).unwrap_or(i32::MAX));
        Ok(())
    }

    fn who_am_i(&self, out: &mut Vec<u8>) {
        let users: Vec<String> = self.reader.identities.iter().map(auth::user_name).collect();
        let named = self.reader.identities.iter().zip(&users);
        reply::who_am_i(out, named.map(|(id, user)| (id.scheme.as_ref(), user.as_str())));
    }

    /// The prefix is one of text, not of path names (PARITY `op.getEphemerals`).
    fn get_ephemerals(&self, prefix: Option<&str>, out: &mut Vec<u8>) {
        let prefix = prefix.filter(|prefix| !matches!(prefix.trim(), "" | "/")).unwrap_or("");
        let paths: Vec<&str> = self
            .tree
            .ephemerals(self.reader.session)
            .inspect(|_| self.add_work(1, NODE_WORK))
            .filter(|path| path.starts_with(prefix))
            .collect();
        reply::children(out, paths.len(), paths);
    }

    /// Each operation succeeds or fails for itself (PARITY `multiread`), unless together they are more than may
    /// wait for one client: a few bytes of request must not ask for all of the memory.
    fn multi(&self, ops: &[MultiOp<'_>], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let start = out.len();
        for MultiOp { op, request } in ops {
            let (Request::GetData { path, .. } | Request::GetChildren { path, .. }) = request else {
                unreachable!("{op:?} does not decode within a multiRead");
            };
            match self.readable(path) {
                Ok(node) if *op == OpCode::GET_DATA => {
                    let stat = node.stat();
                    reply::multi_result(out, &MultiResult::GetData { data: node.data(), stat: &stat });
                }
                Ok(node) => reply::multi_children(out, node.child_count(), node.children()),
                Err(code) => reply::multi_result(out, &MultiResult::Error(code)),
            }
            if out.len() - start > self.config.outbox_close_bytes {
                return Err(ErrorCode::MARSHALLINGERROR);
            }
        }
        reply::multi_end(out);
        Ok(())
    }

    /// Re-registers watches, or tells at once what they missed (PARITY `watch.setwatches`). Events that are made
    /// up here are held back from those who may not read the znode, unlike ZooKeeper's (`watch.setwatches.acl`).
    fn set_watches(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> u64 {
        let Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive } = request else {
            return 0;
        };
        let conn = self.reader.conn;
        let mut events = 0;
        for path in data {
            match self.missed(path, |node| node.stat().mzxid, *relative_zxid) {
                Missed::Changed => events += self.tell(EventType::NodeDataChanged, path, out),
                Missed::Deleted => events += self.tell(EventType::NodeDeleted, path, out),
                Missed::Nothing => self.watches.add_data(path, conn),
            }
        }
        for path in exist {
            if self.node(path).is_some() {
                events += self.tell(EventType::NodeCreated, path, out);
            } else {
                self.watches.add_data(path, conn);
            }
        }
        for path in child {
            match self.missed(path, |node| node.stat().pzxid, *relative_zxid) {
                Missed::Changed => events += self.tell(EventType::NodeChildrenChanged, path, out),
                Missed::Deleted => events += self.tell(EventType::NodeDeleted, path, out),
                Missed::Nothing => self.watches.add_child(path, conn),
            }
        }
        // What persistent watches missed is not made up for (PARITY `watch.setwatches2`).
        for path in persistent {
            self.watches.add_persistent(path, conn);
        }
        for path in recursive {
            self.watches.add_recursive(path, conn);
        }
        events
    }

    fn missed(&self, path: &str, last: impl Fn(&NodeRef<'_>) -> Zxid, seen: Zxid) -> Missed {
        match self.node(path) {
            None => Missed::Deleted,
            Some(node) if last(&node) > seen => Missed::Changed,
            Some(_) => Missed::Nothing,
        }
    }

    fn tell(&self, event: EventType, path: &str, out: &mut Vec<u8>) -> u64 {
        if self.node(path).is_some_and(|node| self.allow(&node, Perms::READ).is_err()) {
            return 0;
        }
        WatchEvent::new(event, path).encode(Zxid::UNKNOWN, out);
        1
    }
}

/// What a one-shot watch would have told while its connection was away.
enum Missed {
    Changed,
    Deleted,
    Nothing,
}
