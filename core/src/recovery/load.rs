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
use crate::wire::compression::{Compression, Decompressor};
use crate::wire::snapshot::{Decoder, Encoder, Item};

/// What a snapshot held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) tree: Tree,
    pub(super) sessions: BTreeMap<SessionId, i32>,
    /// The digest of the tree behind a transaction, if the snapshot has one: its own zxid's or, when it was written
    /// while transactions went on, a later one's.
    pub(super) digest: Option<(Zxid, TxnDigest)>,
    /// No transaction after this one is in it, not even in part. ZooKeeper writes snapshots while transactions go on.
    pub(super) reaches: Zxid,
    pub(super) nodes: u64,
}

/// Loads a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotLoad {
    zxid: Zxid,
    reader: FileReader,
    /// None: the file is the snapshot itself.
    decompressor: Option<Decompressor>,
    decoder: Decoder,
    /// Taken when the last item has come.
    loader: Option<TreeLoader>,
    sessions: BTreeMap<SessionId, i32>,
    digest: Option<(Zxid, TxnDigest)>,
    reaches: Zxid,
    nodes: u64,
}

pub(super) const fn tree_options(config: &Config) -> TreeOptions {
    TreeOptions { extended_types: config.extended_types, digest_enabled: config.digest_enabled }
}

/// Bytes that are decompressed at a time.
const DECOMPRESSED_BYTES: usize = 256 << 10;

impl SnapshotLoad {
    pub(super) fn new(snapshot: &SnapshotFile, config: &Config, hash_seed: [u64; 4]) -> Self {
        Self {
            zxid: snapshot.zxid,
            reader: FileReader::new(snapshot.file.clone(), snapshot.size),
            decompressor: match snapshot.encoding {
                Compression::None => None,
                compressed @ (Compression::Gzip | Compression::Snappy) => Some(Decompressor::new(compressed)),
            },
            decoder: Decoder::new(config.stored_field_max()),
            loader: Some(TreeLoader::new(tree_options(config), hash_seed)),
            sessions: BTreeMap::new(),
            digest: None,
            reaches: snapshot.zxid,
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
        if let Some(decompressor) = self.decompressor.take() {
            decompressor.finish().map_err(SnapshotProblem::Compression)?;
        }
        self.decoder.finish();
        self.drain()?;
        let loader = self.loader.take().expect("the end of a snapshot comes once");
        let tree = loader.finish_load(self.zxid).map_err(SnapshotProblem::Load)?;
        let sessions = core::mem::take(&mut self.sessions);
        let Self { digest, reaches, nodes, .. } = *self;
        Ok(Some(Loaded { tree, sessions, digest, reaches, nodes }))
    }

    fn push(&mut self, bytes: &Bytes) -> Result<(), SnapshotProblem> {
        let Some(mut decompressor) = self.decompressor.take() else {
            self.decoder.push(bytes);
            return self.drain();
        };
        decompressor.push(bytes);
        let mut out = Vec::new();
        loop {
            let count =
                decompressor.read(&mut out, DECOMPRESSED_BYTES).map_err(SnapshotProblem::Compression)?;
            if count == 0 {
                break;
            }
            self.decoder.push(&out);
            self.drain()?;
            out.clear();
        }
        self.decompressor = Some(decompressor);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), SnapshotProblem> {
        let loader = self.loader.as_mut().expect("nothing comes behind the end");
        while let Some(item) = self.decoder.next().map_err(SnapshotProblem::Decode)? {
            match item {
                Item::AclEntry { id, list } => loader.load_acl(id, list),
                Item::Digest { zxid, digest } => {
                    self.reaches = self.reaches.max(zxid);
                    self.digest = (zxid > Zxid::ZERO).then_some((zxid, digest));
                }
                Item::End => break,
                // What the name says counts: replay begins there, and whatever the snapshot has beyond it comes
                // out the same a second time.
                Item::LastZxid(zxid) => self.reaches = self.reaches.max(zxid),
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

/// The snapshot of a tree, in one piece: what a database begins with.
pub(super) fn encode(tree: &mut Tree, sessions: &BTreeMap<SessionId, i32>, config: &Config) -> Bytes {
    let (zxid, digest) = (tree.last_zxid(), tree.digest());
    encode_as_of(zxid, digest, tree, sessions, config)
}

/// The same with another transaction at its end than the tree's last and the digest behind that one: so ends what
/// ZooKeeper writes while the next transaction is being applied.
pub(super) fn encode_as_of(
    zxid: Zxid,
    digest: u64,
    tree: &mut Tree,
    sessions: &BTreeMap<SessionId, i32>,
    config: &Config,
) -> Bytes {
    let mut out = Vec::new();
    tree.begin_snapshot();
    let sessions = sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms));
    let mut encoder = Encoder::head(&mut out, Encoder::begin, sessions, tree.acl_entries());
    let mut node = |node: SnapshotNode<'_>| {
        encoder.node(&mut out, node.path, node.data, node.acl_id, &node.stat);
    };
    while tree.snapshot_chunk(usize::MAX, &mut node) {}
    tree.end_snapshot();
    encoder.end_nodes(&mut out);
    if config.digest_enabled {
        // Before the first transaction ZooKeeper has no digest, and says so by zeros.
        let tree_digest = if zxid == Zxid::ZERO { 0 } else { digest };
        encoder.digest(&mut out, zxid, &TxnDigest { version: DIGEST_VERSION, tree_digest });
    }
    if config.serialize_last_processed_zxid {
        encoder.last_zxid(&mut out, zxid);
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn items(bytes: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::new(1000);
        decoder.push(bytes);
        decoder.finish();
        let mut items = Vec::new();
        loop {
            match decoder.next().expect("a snapshot").expect("all of it was pushed") {
                Item::End => break,
                item => items.push(format!("{item:?}")),
            }
        }
        items.sort();
        items
    }

    /// PARITY `disk.load.empty`: a new database begins with what ZooKeeper writes, but for the order of siblings.
    #[test]
    fn disk_load_empty_writes_the_snapshot_that_java_writes() {
        let config = Config { serialize_last_processed_zxid: false, ..Config::default() };
        let mut tree = Tree::new(tree_options(&config), [1, 2, 3, 4]);
        let java = include_bytes!("../../tests/golden/recovery/snapshot.0");
        let ours = encode(&mut tree, &BTreeMap::new(), &config);
        assert_eq!(ours.len(), java.len());
        assert_eq!(items(&ours), items(java));
    }
}
