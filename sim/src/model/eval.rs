//! What a write does and answers. One function for each operation, in ZooKeeper's order of checks.

use std::collections::BTreeMap;
use std::rc::Rc;

use zabra_core::types::ErrorCode;

use super::{Change, Model, Node, Place, created_stat};
use crate::op::{Answer, EventKind, Mode, Op, Outcome};

/// The state in the middle of a transaction: the model, and what the transaction has changed so far.
///
/// A multi that fails is undone by forgetting this.
struct Draft<'a> {
    model: &'a Model,
    place: Place,
    changed: BTreeMap<String, Option<Rc<Node>>>,
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

    fn tell(&mut self, kind: EventKind, path: &str) {
        self.changes.push(Change { kind, path: path.to_owned() });
    }

    fn create(&mut self, path: &str, data: &[u8], mode: Mode, with_stat: bool) -> Answer {
        let (parent_path, _) = split(path);
        let parent = self.node(parent_path)?;
        let path =
            if mode.is_sequential() { format!("{path}{:010}", parent.created) } else { path.to_owned() };
        if self.node(&path).is_ok() {
            return Err(ErrorCode::NODEEXISTS);
        }
        if parent.owner.0 != 0 {
            return Err(ErrorCode::NOCHILDRENFOREPHEMERALS);
        }
        let mut parent = Node::clone(&parent);
        parent.created += 1;
        parent.pzxid = self.place.zxid;
        parent.children.insert(split(&path).1.to_owned());
        let node = Node {
            data: Some(data.to_vec()),
            czxid: self.place.zxid,
            mzxid: self.place.zxid,
            pzxid: self.place.zxid,
            ctime: self.place.time,
            mtime: self.place.time,
            owner: if mode.is_ephemeral() { self.place.session } else { Default::default() },
            ..Node::default()
        };
        let stat = with_stat.then(|| created_stat(&node));
        self.put(&path, Some(node));
        self.put(parent_path, Some(parent));
        self.tell(EventKind::Created, &path);
        self.tell(EventKind::ChildrenChanged, parent_path);
        Ok(Outcome::Created(path, stat))
    }

    fn delete(&mut self, path: &str, version: i32) -> Answer {
        if matches!(path, "/" | "/zookeeper" | "/zookeeper/config" | "/zookeeper/quota") {
            return Err(ErrorCode::BADARGUMENTS);
        }
        let (parent_path, _) = split(path);
        self.node(parent_path)?;
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
        parent.children.remove(name);
        parent.pzxid = self.place.zxid;
        self.put(path, None);
        self.put(parent_path, Some(parent));
        self.tell(EventKind::Deleted, path);
        self.tell(EventKind::ChildrenChanged, parent_path);
    }

    fn set_data(&mut self, path: &str, data: &[u8], version: i32) -> Answer {
        let mut node = Node::clone(&*self.node(path)?);
        expect_version(version, node.version)?;
        node.data = Some(data.to_vec());
        node.version += 1;
        node.mzxid = self.place.zxid;
        node.mtime = self.place.time;
        let stat = node.stat();
        self.put(path, Some(node));
        self.tell(EventKind::DataChanged, path);
        Ok(Outcome::Stat(stat))
    }

    fn one(&mut self, op: &Op) -> Answer {
        match op {
            Op::Check { path, version } => {
                expect_version(*version, self.node(path)?.version)?;
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
            Op::Create { path, data, mode, with_stat } => self.create(path, data, *mode, *with_stat),
            Op::Delete { path, version } => self.delete(path, *version),
            Op::Multi(ops) => Ok(Outcome::Multi(self.multi(ops))),
            Op::SetData { path, data, version } => self.set_data(path, data, *version),
            Op::Exists { .. }
            | Op::GetChildren { .. }
            | Op::GetData { .. }
            | Op::Ping
            | Op::SetWatches { .. }
            | Op::Sync { .. } => unreachable!("{op} is no write"),
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
    /// Executes a write at its place in the order.
    pub fn write(&mut self, op: &Op, place: Place) -> Answer {
        self.advance(place.zxid);
        if self.sessions.get(&place.session).is_none_or(|session| session.closed.is_some()) {
            return Err(ErrorCode::SESSIONEXPIRED);
        }
        let mut draft = Draft { model: self, place, changed: BTreeMap::new(), changes: Vec::new() };
        let outcome = draft.one(op)?;
        let Draft { changed, changes, .. } = draft;
        for (path, node) in changed {
            let owner = |node: Option<&Rc<Node>>| node.map(|node| node.owner).filter(|owner| owner.0 != 0);
            if let Some(owner) = owner(self.node(&path)) {
                self.ephemerals.entry(owner).or_default().remove(&path);
            }
            if let Some(owner) = owner(node.as_ref()) {
                self.ephemerals.entry(owner).or_default().insert(path.clone());
            }
            self.put(place.zxid, &path, node);
        }
        if !changes.is_empty() {
            self.changes.insert(place.zxid, changes);
        }
        if *op == Op::CloseSession {
            self.ephemerals.remove(&place.session);
            let session = self.sessions.get_mut(&place.session).expect("looked at above");
            session.closed = Some(place.zxid);
        }
        Ok(outcome)
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
        Op::Create { path: path.into(), data: b"x".to_vec(), mode, with_stat: false }
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.open_session(at(1), 4000);
        model
    }

    #[test]
    fn versions_of_the_past_stay_visible() {
        let mut model = model();
        model.write(&create("/a", Mode::Persistent), at(2)).unwrap();
        model.write(&Op::SetData { path: "/a".into(), data: b"y".to_vec(), version: 0 }, at(3)).unwrap();
        model.write(&Op::Delete { path: "/a".into(), version: 1 }, at(4)).unwrap();
        assert!(model.node_at("/a", Zxid(1)).is_none());
        assert_eq!(model.node_at("/a", Zxid(2)).unwrap().version, 0);
        assert_eq!(model.node_at("/a", Zxid(3)).unwrap().mzxid, Zxid(3));
        assert!(model.node_at("/a", Zxid(9)).is_none());
        assert_eq!(model.node("/").unwrap().stat().cversion, 1, "root begins at -1");
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
        let Ok(Outcome::Multi(answers)) = model.write(&multi, at(2)) else { panic!("a multi answers") };
        let codes: Vec<i32> = answers.iter().map(|answer| answer.clone().unwrap_err().0).collect();
        assert_eq!(codes, [0, 0, -101, -2]);
        assert_eq!(model.digest(), before);
        assert!(model.node("/q").is_none());
    }

    #[test]
    fn ephemerals_go_with_their_session_and_children_are_numbered_by_creations() {
        let mut model = model();
        model.write(&create("/e-", Mode::EphemeralSequential), at(2)).unwrap();
        let Ok(Outcome::Created(path, _)) = model.write(&create("/e-", Mode::EphemeralSequential), at(3))
        else {
            panic!("created")
        };
        assert_eq!(path, "/e-0000000001");
        assert_eq!(
            model.write(&create("/e-0000000001/c", Mode::Persistent), at(4)),
            Err(ErrorCode::NOCHILDRENFOREPHEMERALS)
        );
        model.write(&Op::CloseSession, at(5)).unwrap();
        assert_eq!(model.node("/").unwrap().children.len(), 1);
        assert_eq!(model.changes(Zxid(5)).len(), 4);
        assert_eq!(model.write(&create("/late", Mode::Persistent), at(6)), Err(ErrorCode::SESSIONEXPIRED));
    }
}
