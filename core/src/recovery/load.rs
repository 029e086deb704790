//! Loads one snapshot, piece by piece, into a tree and a table of sessions.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::reader::FileReader;
use super::report::SnapshotProblem;
use crate::config::Config;
use crate::store::{DiskDone, DiskOp, FileName, SnapshotFile, Tickets};
use crate::tree::{DIGEST_VERSION, SnapshotNode, Tree, TreeLoader, TreeOptions};
use crate::types::{SessionId, TxnDigest, Zxid};
use crate::wire::snapshot::{Decoder, Encoder, Item};

/// What a snapshot held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) tree: Tree,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    /// The digest of the tree behind a transaction, if the snapshot has one: its own zxid's or, when it was written
    /// while transactions went on, a later one's.
    pub(super) digest: Option<(Zxid, TxnDigest)>,
    pub(super) nodes: u64,
}

/// Loads a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotLoad {
    zxid: Zxid,
    reader: FileReader,
    decoder: Decoder,
    /// Taken when the last item has come.
    loader: Option<TreeLoader>,
    sessions: BTreeMap<SessionId, i32>,
    digest: Option<(Zxid, TxnDigest)>,
    nodes: u64,
}

pub(super) const fn tree_options(config: &Config) -> TreeOptions {
    TreeOptions { extended_types: config.extended_types, digest_enabled: config.digest_enabled }
}

impl SnapshotLoad {
    pub(super) fn new(snapshot: &SnapshotFile, config: &Config, hash_seed: [u64; 4]) -> Self {
        Self {
            zxid: snapshot.zxid,
            reader: FileReader::new(snapshot.file.clone(), snapshot.size),
            decoder: Decoder::new(config.stored_field_max()),
            loader: Some(TreeLoader::new(tree_options(config), hash_seed)),
            sessions: BTreeMap::new(),
            digest: None,
            nodes: 0,
        }
    }

    pub(super) const fn file(&self) -> &FileName {
        self.reader.file()
    }

    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        self.reader.poll_op(tickets)
    }

    /// Takes a completion, and returns what the snapshot held once all of it has come.
    pub(super) fn on_done(&mut self, done: DiskDone) -> Result<Option<Loaded>, SnapshotProblem> {
        self.reader.on_done(done).map_err(SnapshotProblem::Disk)?;
        while let Some(bytes) = self.reader.next() {
            self.push(&bytes)?;
        }
        if !self.reader.is_at_end() {
            return Ok(None);
        }
        self.decoder.finish();
        self.drain()?;
        let loader = self.loader.take().expect("the end of a snapshot comes once");
        let tree = loader.finish_load(self.zxid).map_err(SnapshotProblem::Load)?;
        let sessions = core::mem::take(&mut self.sessions);
        Ok(Some(Loaded { tree, sessions, digest: self.digest, nodes: self.nodes }))
    }

    fn push(&mut self, bytes: &Bytes) -> Result<(), SnapshotProblem> {
        self.decoder.push(bytes);
        self.drain()
    }

    fn drain(&mut self) -> Result<(), SnapshotProblem> {
        let loader = self.loader.as_mut().expect("nothing comes behind the end");
        while let Some(item) = self.decoder.next().map_err(SnapshotProblem::Decode)? {
            match item {
                Item::AclEntry { id, list } => loader.load_acl(id, list),
                Item::Digest { zxid, digest } => self.digest = (zxid > Zxid::ZERO).then_some((zxid, digest)),
                Item::End => break,
                // What the name says counts: replay begins there, and whatever the snapshot has beyond it comes
                // out the same a second time.
                Item::LastZxid(_) => {}
                Item::Node { path, data, acl, stat } => {
                    self.nodes += 1;
                    loader.load_node(path, data.map(Box::from), acl, stat).map_err(SnapshotProblem::Load)?;
                }
                Item::Session { session, timeout_ms } => {
                    self.sessions.insert(session, timeout_ms);
                }
            }
        }
        Ok(())
    }
}

/// The snapshot of a tree without sessions, in one piece: what a new database begins with.
pub(super) fn encode(tree: &mut Tree, config: &Config) -> Bytes {
    let mut out = Vec::new();
    let mark = tree.begin_snapshot();
    let mut encoder = Encoder::begin(&mut out, 0);
    encoder.begin_acls(&mut out, tree.acl_entries().count());
    for (id, list) in tree.acl_entries() {
        encoder.acl(&mut out, id, list.entries());
    }
    let mut node = |node: SnapshotNode<'_>| {
        encoder.node(&mut out, node.path, node.data, node.acl_id, &node.stat);
    };
    while tree.snapshot_chunk(usize::MAX, &mut node) {}
    tree.end_snapshot();
    encoder.end_nodes(&mut out);
    if config.digest_enabled {
        let digest = TxnDigest { version: DIGEST_VERSION, tree_digest: mark.digest };
        encoder.digest(&mut out, mark.zxid, &digest);
    }
    if config.serialize_last_processed_zxid {
        encoder.last_zxid(&mut out, mark.zxid);
    }
    Bytes::from(out)
}
