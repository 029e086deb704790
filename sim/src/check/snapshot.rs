//! A snapshot is what it says that it is (D4): the tree that the reference had after the transaction that it is named after,
//! with the sessions of then, and with its digest. A start reads it much later, if ever, and goes on with a log that mends
//! some of what is wrong in it, or hides it; so it is read when it gets its name.
//!
//! What is not committed is unknown to the reference, and a server that does not serve yet may have it in its tree.

use std::collections::{BTreeMap, BTreeSet};

use zabra_core::types::{AclList, SessionId, Zxid, path};
use zabra_core::wire::snapshot::{Decoder, Item, OPEN_UNSAFE_ACL_ID};

use super::{Checker, Facts, Violation};
use crate::link::FRAME_MAX;
use crate::model::Node;
use crate::places::NodeId;

/// These are the bytes of what a server has up to `zxid`.
///
/// # Errors
/// If they are not.
pub fn is_as_named(node: NodeId, zxid: Zxid, bytes: &[u8], facts: &Facts) -> Result<(), Violation> {
    let Some(digest) = facts.digest_after(zxid) else { return Ok(()) };
    compare(zxid, digest, bytes, facts)
        .map_err(|what| Violation::new(Checker::Tree, format!("{node}, snapshot of {zxid}: {what}")))
}

fn compare(zxid: Zxid, expected_digest: u64, bytes: &[u8], facts: &Facts) -> Result<(), String> {
    let model = facts.model();
    let mut decoder = Decoder::new(FRAME_MAX);
    decoder.push(bytes);
    decoder.finish();
    let mut acls: BTreeMap<i64, AclList> = BTreeMap::from([(OPEN_UNSAFE_ACL_ID, AclList::OpenUnsafe)]);
    let (mut sessions, mut nodes) = (BTreeSet::new(), 0);
    loop {
        match decoder.next().map_err(|error| format!("it cannot be read: {error:?}"))? {
            Some(Item::AclEntry { id, list }) => drop(acls.insert(id, list)),
            Some(Item::Session { session, .. }) => drop(sessions.insert(session)),
            Some(Item::Node { path, data, acl, stat }) => {
                nodes += 1;
                let path = if path.is_empty() { path::ROOT } else { path };
                // Of that each server has what it goes by.
                if path == path::CONFIG {
                    continue;
                }
                let node = model.node_at(path, zxid).ok_or_else(|| format!("there is no {path}"))?;
                let acl = acls
                    .get(&acl)
                    .ok_or_else(|| format!("{path} has the ACL {acl}, of which it knows nothing"))?;
                let found = Node {
                    data: data.map(Into::into),
                    children: node.children.clone(),
                    czxid: stat.czxid,
                    mzxid: stat.mzxid,
                    pzxid: stat.pzxid,
                    ctime: stat.ctime,
                    mtime: stat.mtime,
                    version: stat.version,
                    acl: node.acl.clone(),
                    aversion: stat.aversion,
                    created: stat.cversion,
                    owner: SessionId(stat.ephemeral_owner),
                };
                if found != **node || acl.entries() != node.acl.entries() {
                    return Err(format!("{path} is {found:?} with {acl:?}, should be {node:?}"));
                }
            }
            Some(Item::Digest { zxid: at, digest })
                if (at, digest.tree_digest) != (zxid, expected_digest) =>
            {
                let found = digest.tree_digest;
                return Err(format!("its digest is {found:x} after {at}, should be {expected_digest:x}"));
            }
            Some(Item::LastZxid(last)) if last != zxid => return Err(format!("it ends with {last}")),
            Some(Item::Digest { .. } | Item::LastZxid(_)) => {}
            Some(Item::End) | None => break,
        }
    }
    let expected = model.count_at(zxid);
    if nodes != expected {
        return Err(format!("it has {nodes} znodes, should have {expected}"));
    }
    let there = model
        .sessions()
        .iter()
        .filter(|(_, session)| session.opened <= zxid && session.closed.is_none_or(|closed| closed > zxid));
    let there: BTreeSet<_> = there.map(|(&id, _)| id).collect();
    match there.symmetric_difference(&sessions).next() {
        None => Ok(()),
        Some(session) if sessions.contains(session) => Err(format!("{session} is in it, and was not there")),
        Some(session) => Err(format!("{session} is missing")),
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::{StatPersisted, TxnDigest};
    use zabra_core::wire::snapshot::Encoder;

    use super::super::testing::{NODE, S, Story, create};
    use super::*;

    /// What a right server writes after `zxid`, but for one thing.
    struct Written {
        sessions: Vec<SessionId>,
        without: Option<&'static str>,
        digest: u64,
        aversion: i32,
    }

    impl Written {
        fn bytes(&self, zxid: Zxid, story: &Story) -> Vec<u8> {
            let model = story.judge.model();
            let mut out = Vec::new();
            let sessions = self.sessions.iter().map(|&session| (session, 4000));
            let mut encoder = Encoder::head(&mut out, Encoder::begin, sessions, std::iter::empty());
            let paths = ["/", "/zookeeper", path::CONFIG, "/zookeeper/quota", "/a"];
            for path in paths.into_iter().filter(|&path| Some(path) != self.without) {
                let Some(node) = model.node_at(path, zxid) else { continue };
                let stat = StatPersisted {
                    czxid: node.czxid,
                    mzxid: node.mzxid,
                    ctime: node.ctime,
                    mtime: node.mtime,
                    version: node.version,
                    cversion: node.created,
                    aversion: if path == "/a" { self.aversion } else { node.aversion },
                    ephemeral_owner: node.owner.0,
                    pzxid: node.pzxid,
                };
                let path = if path == path::ROOT { "" } else { path };
                encoder.node(&mut out, path, node.data.as_deref(), OPEN_UNSAFE_ACL_ID, &stat);
            }
            encoder.end_nodes(&mut out);
            encoder.digest(&mut out, zxid, &TxnDigest { version: 2, tree_digest: self.digest });
            encoder.last_zxid(&mut out, zxid);
            out
        }
    }

    #[test]
    fn d4_a_snapshot_is_of_the_transaction_that_it_is_named_after() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        let zxid = Zxid(2);
        let digest = story.judge.model().digest();
        let look = |written: Written, at: Zxid| {
            is_as_named(NODE, at, &written.bytes(zxid, &story), story.judge.facts()).map_err(|it| it.what)
        };
        let right = || Written { sessions: vec![S], without: None, digest, aversion: 0 };
        assert_eq!(look(right(), zxid), Ok(()));
        assert_eq!(look(right(), Zxid(9)), Ok(()), "nobody knows what is not committed");
        for (wrong, words) in [
            (Written { sessions: vec![], ..right() }, "is missing"),
            (Written { sessions: vec![S, SessionId(7)], ..right() }, "is in it, and was not there"),
            (Written { without: Some("/a"), ..right() }, "it has 4 znodes, should have 5"),
            (Written { digest: 1, ..right() }, "its digest is 1 after 0x2"),
            (Written { aversion: 3, ..right() }, "/a is Node"),
        ] {
            let what = look(wrong, zxid).unwrap_err();
            assert!(what.starts_with("n0, snapshot of 0x2: ") && what.contains(words), "{what}");
        }
    }
}
