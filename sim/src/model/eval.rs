//! What a write does and answers. One function for each operation, in ZooKeeper's order of checks.

use std::collections::BTreeMap;
use std::rc::Rc;

use zabra_core::types::{AclList, ErrorCode, Id, Perms, Zxid};

use super::{CONFIG, CONTAINER, Change, Model, Node, Place, acl, created_stat};
use crate::op::{Answer, EventKind, Mode, Op, Outcome};
use crate::roster::Roster;

/// The state in the middle of a transaction: the model, and what the transaction has changed so far.
///
/// A multi that fails is undone by forgetting this.
struct Draft<'a> {
    model: &'a Model,
    place: Place,
    who: &'a [Id],
    changed: BTreeMap<String, Option<Rc<Node>>>,
    roster: Option<Roster>,
    changes: Vec<Change>,
}

impl Draft<'_> {
    fn node(&self, path: &str) -> Result<Rc<Node>, ErrorCode> {
        match self.changed.get(path) {
            Some(changed) => changed.clone(),
            None => self.model.node(path).cloned(),
        }
        .ok_or(ErrorCode::NONODE)
    }

    fn put(&mut self, path: &str, node: Option<Node>) {
        self.changed.insert(path.to_owned(), node.map(Rc::new));
    }

    fn tell(&mut self, kind: EventKind, path: &str, acl: &AclList) {
        self.changes.push(Change { kind, path: path.to_owned(), acl: acl.clone() });
    }

    fn allow(&self, node: &Node, wanted: Perms) -> Result<(), ErrorCode> {
        if acl::allows(&node.acl, wanted, self.who) { Ok(()) } else { Err(ErrorCode::NOAUTH) }
    }

    fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        mode: Mode,
        sent: &AclList,
        with_stat: bool,
    ) -> Answer {
        if mode.ttl().is_some_and(|ttl| ttl <= 0) {
            return Err(ErrorCode::BADARGUMENTS);
        }
        let (parent_path, _) = split(path);
        let acl = acl::stored(sent, self.who)?;
        let parent = self.node(parent_path)?;
        self.allow(&parent, Perms::CREATE)?;
        let path =
            if mode.is_sequential() { format!("{path}{:010}", parent.created) } else { path.to_owned() };
        if self.node(&path).is_ok() {
            return Err(ErrorCode::NODEEXISTS);
        }
        if parent.ephemeral_of().is_some() {
            return Err(ErrorCode::NOCHILDRENFOREPHEMERALS);
        }
        let mut parent = Node::clone(&parent);
        parent.created += 1;
        parent.pzxid = self.place.zxid;
        Rc::make_mut(&mut parent.children).insert(split(&path).1.into());
        let node = Node {
            data: data.map(<[u8]>::to_vec),
            czxid: self.place.zxid,
            mzxid: self.place.zxid,
            pzxid: self.place.zxid,
            ctime: self.place.time,
            mtime: self.place.time,
            acl: acl.clone(),
            owner: match mode {
                Mode::Container => CONTAINER,
                Mode::Ephemeral | Mode::EphemeralSequential => self.place.session,
                Mode::Persistent | Mode::PersistentSequential => Default::default(),
                Mode::Ttl(ttl) | Mode::TtlSequential(ttl) => Node::ttl_owner(ttl),
            },
            ..Node::default()
        };
        let stat = with_stat.then(|| created_stat(&node));
        let parent_acl = parent.acl.clone();
        self.put(&path, Some(node));
        self.put(parent_path, Some(parent));
        self.tell(EventKind::Created, &path, &acl);
        self.tell(EventKind::ChildrenChanged, parent_path, &parent_acl);
        Ok(Outcome::Created(path, stat))
    }

    fn delete(&mut self, path: &str, version: i32) -> Answer {
        if matches!(path, "/" | "/zookeeper" | "/zookeeper/config" | "/zookeeper/quota") {
            return Err(ErrorCode::BADARGUMENTS);
        }
        let (parent_path, _) = split(path);
        let parent = self.node(parent_path)?;
        self.allow(&parent, Perms::DELETE)?;
        let node = self.node(path)?;
        expect_version(version, node.version)?;
        if !node.children.is_empty() {
            return Err(ErrorCode::NOTEMPTY);
        }
        self.remove(path);
        Ok(Outcome::Done)
    }

    fn remove(&mut self, path: &str) {
        let (parent_path, name) = split(path);
        let mut parent = Node::clone(&*self.node(parent_path).expect("a znode has a parent"));
        Rc::make_mut(&mut parent.children).remove(name);
        parent.pzxid = self.place.zxid;
        let acl = self.node(path).expect("it is there").acl.clone();
        let parent_acl = parent.acl.clone();
        self.put(path, None);
        self.put(parent_path, Some(parent));
        self.tell(EventKind::Deleted, path, &acl);
        self.tell(EventKind::ChildrenChanged, parent_path, &parent_acl);
    }

    fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Answer {
        let mut node = Node::clone(&*self.node(path)?);
        self.allow(&node, Perms::WRITE)?;
        expect_version(version, node.version)?;
        node.data = data.map(<[u8]>::to_vec);
        node.version += 1;
        node.mzxid = self.place.zxid;
        node.mtime = self.place.time;
        let (stat, acl) = (node.stat(), node.acl.clone());
        self.put(path, Some(node));
        self.tell(EventKind::DataChanged, path, &acl);
        Ok(Outcome::Stat(stat))
    }

    /// No watch tells of it.
    fn set_acl(&mut self, path: &str, sent: &AclList, version: i32) -> Answer {
        let acl = acl::stored(sent, self.who)?;
        let mut node = Node::clone(&*self.node(path)?);
        self.allow(&node, Perms::ADMIN)?;
        expect_version(version, node.aversion)?;
        node.acl = acl;
        node.aversion += 1;
        let stat = node.stat();
        self.put(path, Some(node));
        Ok(Outcome::Stat(stat))
    }

    /// Whether the new members can agree on anything at the moment is for the leader to know; permission comes last.
    fn reconfigure(&mut self, joining: &str, leaving: &str, members: &str, version: i64) -> Answer {
        if version != -1 && version != self.model.version {
            return Err(ErrorCode::BADVERSION);
        }
        let roster = self.model.roster.changed(joining, leaving, members)?;
        let mut node = Node::clone(&*self.node(CONFIG)?);
        self.allow(&node, Perms::WRITE)?;
        node.data = Some(roster.text(self.place.zxid.0).into_bytes());
        node.mzxid = self.place.zxid;
        node.mtime = self.place.time;
        let (data, stat, acl) = (node.data.clone(), node.stat(), node.acl.clone());
        self.roster = Some(roster);
        self.put(CONFIG, Some(node));
        self.tell(EventKind::DataChanged, CONFIG, &acl);
        Ok(Outcome::Data(data, stat))
    }

    fn one(&mut self, op: &Op) -> Answer {
        match op {
            Op::Check { path, version } => {
                let node = self.node(path)?;
                self.allow(&node, Perms::READ)?;
                expect_version(*version, node.version)?;
                Ok(Outcome::Done)
            }
            Op::CloseSession => {
                let owned: Vec<String> =
                    self.model.ephemerals(self.place.session).map(str::to_owned).collect();
                for path in owned {
                    self.remove(&path);
                }
                Ok(Outcome::Done)
            }
            Op::Create { path, data, mode, acl, .. } => {
                self.create(path, data.as_deref(), *mode, acl, op.brings_stat())
            }
            Op::Delete { path, version } => self.delete(path, *version),
            Op::Multi(ops) => Ok(Outcome::Multi(self.multi(ops))),
            Op::Reconfig { joining, leaving, members, version } => {
                self.reconfigure(joining, leaving, members, *version)
            }
            Op::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Op::SetData { path, data, version } => self.set_data(path, data.as_deref(), *version),
            Op::AddAuth { .. }
            | Op::AddWatch { .. }
            | Op::Exists { .. }
            | Op::GetAcl { .. }
            | Op::GetAllChildrenNumber { .. }
            | Op::GetChildren { .. }
            | Op::GetData { .. }
            | Op::GetEphemerals { .. }
            | Op::MultiRead(_)
            | Op::Ping
            | Op::RemoveWatches { .. }
            | Op::SetWatches { .. }
            | Op::Sync { .. }
            | Op::WhoAmI => unreachable!("{op} is no write"),
        }
    }

    /// All or none: before the operation that fails stands "OK" without a result, after it "not tried".
    fn multi(&mut self, ops: &[Op]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            match self.one(op) {
                Ok(outcome) => answers.push(Ok(outcome)),
                Err(code) => {
                    self.changed.clear();
                    self.changes.clear();
                    return (0..ops.len())
                        .map(|other| match other.cmp(&index) {
                            std::cmp::Ordering::Less => Err(ErrorCode::OK),
                            std::cmp::Ordering::Equal => Err(code),
                            std::cmp::Ordering::Greater => Err(ErrorCode::RUNTIMEINCONSISTENCY),
                        })
                        .collect();
                }
            }
        }
        answers
    }
}

impl Model {
    /// Executes a write at its place in the order, on behalf of `who`.
    pub fn write(&mut self, op: &Op, place: Place, who: &[Id]) -> Answer {
        self.advance(place.zxid);
        let (outcome, Draft { changed, changes, roster, .. }) = self.decide(op, place, who)?;
        if let Some(roster) = roster {
            (self.roster, self.version) = (roster, place.zxid.0);
        }
        self.settle(place.zxid, changed, changes);
        if *op == Op::CloseSession {
            self.ephemerals.remove(&place.session);
            let session = self.sessions.get_mut(&place.session).expect("looked at above");
            session.closed = Some(place.zxid);
        }
        Ok(outcome)
    }

    /// What a write would be answered at its place. It is not executed.
    pub fn foresee(&self, op: &Op, place: Place, who: &[Id]) -> Answer {
        self.decide(op, place, who).map(|(outcome, _)| outcome)
    }

    /// The ordering server removes a znode that nobody asked it to remove. Answers why it must not: a container goes
    /// once it has had a child and has none, a TTL node once it has no child and was not set for its time, by the clock
    /// that stamps the removal.
    pub fn clear_away(&mut self, path: &str, place: Place) -> Result<(), String> {
        self.advance(place.zxid);
        let node = self.node(path).ok_or("it is not there")?;
        let age = place.time.0.saturating_sub(node.mtime.0);
        match node.ttl() {
            _ if !node.children.is_empty() => return Err("it has children".into()),
            Some(ttl) if age <= ttl => return Err(format!("it was set {age} ms ago, its TTL is {ttl} ms")),
            None if node.owner != CONTAINER => return Err("it stays until somebody deletes it".into()),
            None if node.created == 0 => return Err("it has never had a child".into()),
            Some(_) | None => {}
        }
        let mut draft = self.draft(place, &[]);
        draft.remove(path);
        let Draft { changed, changes, .. } = draft;
        self.settle(place.zxid, changed, changes);
        Ok(())
    }

    fn decide<'a>(&'a self, op: &Op, place: Place, who: &'a [Id]) -> Result<(Outcome, Draft<'a>), ErrorCode> {
        if self.sessions.get(&place.session).is_none_or(|session| session.closed.is_some()) {
            return Err(ErrorCode::SESSIONEXPIRED);
        }
        let mut draft = self.draft(place, who);
        let outcome = draft.one(op)?;
        Ok((outcome, draft))
    }

    fn draft<'a>(&'a self, place: Place, who: &'a [Id]) -> Draft<'a> {
        Draft { model: self, place, who, changed: BTreeMap::new(), roster: None, changes: Vec::new() }
    }

    /// A transaction has come to its end.
    fn settle(&mut self, zxid: Zxid, changed: BTreeMap<String, Option<Rc<Node>>>, changes: Vec<Change>) {
        for (path, node) in changed {
            let owner = |node: Option<&Rc<Node>>| node.and_then(|node| node.ephemeral_of());
            if let Some(owner) = owner(self.node(&path)) {
                self.ephemerals.entry(owner).or_default().remove(&path);
            }
            if let Some(owner) = owner(node.as_ref()) {
                self.ephemerals.entry(owner).or_default().insert(path.clone());
            }
            self.put(zxid, &path, node);
        }
        if !changes.is_empty() {
            self.changes.insert(zxid, changes);
        }
    }
}

fn expect_version(expected: i32, actual: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == actual { Ok(()) } else { Err(ErrorCode::BADVERSION) }
}

/// The parent's path and the last name.
fn split(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        Some(0) => ("/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => unreachable!("paths are absolute: {path}"),
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::time::WallTime;
    use zabra_core::types::{SessionId, Zxid};

    use super::*;

    const S: SessionId = SessionId(7);

    fn at(zxid: i64) -> Place {
        Place { zxid: Zxid(zxid), time: WallTime(zxid * 10), session: S }
    }

    fn create(path: &str, mode: Mode) -> Op {
        let acl = AclList::OpenUnsafe;
        Op::Create { path: path.into(), data: Some(b"x".to_vec()), mode, acl, with_stat: false }
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.open_session(at(1), 4000);
        model
    }

    #[test]
    fn versions_of_the_past_stay_visible() {
        let mut model = model();
        model.write(&create("/a", Mode::Persistent), at(2), &[]).unwrap();
        model
            .write(&Op::SetData { path: "/a".into(), data: Some(b"y".to_vec()), version: 0 }, at(3), &[])
            .unwrap();
        model.write(&Op::Delete { path: "/a".into(), version: 1 }, at(4), &[]).unwrap();
        assert!(model.node_at("/a", Zxid(1)).is_none());
        assert_eq!(model.node_at("/a", Zxid(2)).unwrap().version, 0);
        assert_eq!(model.node_at("/a", Zxid(3)).unwrap().mzxid, Zxid(3));
        assert!(model.node_at("/a", Zxid(9)).is_none());
        assert_eq!(model.node("/").unwrap().stat().cversion, 1, "root begins at -1");
    }

    #[test]
    fn what_is_foreseen_is_what_is_answered() {
        let mut model = model();
        model.write(&create("/a", Mode::Persistent), at(2), &[]).unwrap();
        let [again, ttl] = [Mode::Persistent, Mode::Ttl(0)].map(|mode| create("/a", mode));
        let ops = [create("/a/b", Mode::Persistent), again, ttl, Op::CloseSession, Op::CloseSession];
        for (op, zxid) in ops.iter().zip(3..) {
            let (digest, last) = (model.digest(), model.last());
            let foreseen = model.foresee(op, at(zxid), &[]);
            assert_eq!((model.digest(), model.last()), (digest, last));
            assert_eq!(model.write(op, at(zxid), &[]), foreseen);
        }
    }

    #[test]
    fn a_failed_multi_leaves_nothing_behind() {
        let mut model = model();
        let before = model.digest();
        let multi = Op::Multi(vec![
            create("/q", Mode::Persistent),
            create("/q/s-", Mode::PersistentSequential),
            Op::Delete { path: "/nothing".into(), version: -1 },
            Op::Check { path: "/q".into(), version: 0 },
        ]);
        let Ok(Outcome::Multi(answers)) = model.write(&multi, at(2), &[]) else { panic!("a multi answers") };
        let codes: Vec<i32> = answers.iter().map(|answer| answer.clone().unwrap_err().0).collect();
        assert_eq!(codes, [0, 0, -101, -2]);
        assert_eq!(model.digest(), before);
        assert!(model.node("/q").is_none());
    }

    #[test]
    fn ephemerals_go_with_their_session_and_children_are_numbered_by_creations() {
        let mut model = model();
        model.write(&create("/e-", Mode::EphemeralSequential), at(2), &[]).unwrap();
        let Ok(Outcome::Created(path, _)) =
            model.write(&create("/e-", Mode::EphemeralSequential), at(3), &[])
        else {
            panic!("created")
        };
        assert_eq!(path, "/e-0000000001");
        assert_eq!(
            model.write(&create("/e-0000000001/c", Mode::Persistent), at(4), &[]),
            Err(ErrorCode::NOCHILDRENFOREPHEMERALS)
        );
        model.write(&Op::CloseSession, at(5), &[]).unwrap();
        assert_eq!(model.node("/").unwrap().children.len(), 1);
        assert_eq!(model.changes(Zxid(5)).len(), 4);
        assert_eq!(
            model.write(&create("/late", Mode::Persistent), at(6), &[]),
            Err(ErrorCode::SESSIONEXPIRED)
        );
    }
}
