//! Writes snapshots.

use alloc::vec::Vec;

use super::END_PATH;
use super::stream::SIGNATURE;
use crate::types::{Acl, AclList, SessionId, StatPersisted, TxnDigest, Zxid};
use crate::wire::checksum::Checksum;
use crate::wire::data::{STAT_PERSISTED_LEN, encode_acl_entries, encode_stat_persisted};
use crate::wire::jute::Writer;
use crate::wire::record::FileHeader;

/// How far an [`Encoder`] is; each part is written once, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Sessions { left: usize },
    Acls { left: usize },
    Nodes,
    AfterNodes,
    AfterDigest,
    AfterLastZxid,
    AfterSignature,
}

/// Writes a snapshot. Every call appends to a vector, which may be emptied between any two calls.
#[derive(Debug)]
pub struct Encoder {
    /// The checksum so far; none in a stream, which has no seals.
    adler: Option<Checksum>,
    part: Part,
}

impl Encoder {
    /// Appends the header and begins the list of `count` sessions.
    pub fn begin(out: &mut Vec<u8>, count: usize) -> Self {
        let mut encoder = Self { adler: Some(Checksum::new()), part: Part::Sessions { left: count } };
        encoder.write(out, |out| {
            FileHeader::SNAPSHOT.encode(out);
            Writer::new(out).vector_len(count);
        });
        encoder
    }

    /// As [`Encoder::begin`], of a snapshot that a leader sends to a learner. It ends with its znodes.
    pub fn begin_stream(out: &mut Vec<u8>, count: usize) -> Self {
        Writer::new(out).vector_len(count);
        Self { adler: None, part: Part::Sessions { left: count } }
    }

    /// Appends all that comes before the znodes. `begin` is [`Encoder::begin`] or [`Encoder::begin_stream`]; sessions
    /// and ACLs are gone through twice, for they are counted first.
    pub fn head<'a>(
        out: &mut Vec<u8>,
        begin: fn(&mut Vec<u8>, usize) -> Self,
        sessions: impl Iterator<Item = (SessionId, i32)> + Clone,
        acls: impl Iterator<Item = (i64, &'a AclList)> + Clone,
    ) -> Self {
        let mut encoder = begin(out, sessions.clone().count());
        for (session, timeout_ms) in sessions {
            encoder.session(out, session, timeout_ms);
        }
        encoder.begin_acls(out, acls.clone().count());
        for (id, list) in acls {
            encoder.acl(out, id, list.entries());
        }
        encoder
    }

    /// Appends a session.
    ///
    /// # Panics
    /// If all announced sessions were written.
    pub fn session(&mut self, out: &mut Vec<u8>, session: SessionId, timeout_ms: i32) {
        let Part::Sessions { left: left @ 1.. } = &mut self.part else { panic!("no session is due") };
        *left -= 1;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(session.0);
            writer.int(timeout_ms);
        });
    }

    /// Begins the table of `count` ACLs.
    ///
    /// # Panics
    /// Unless all announced sessions were written.
    pub fn begin_acls(&mut self, out: &mut Vec<u8>, count: usize) {
        assert_eq!(self.part, Part::Sessions { left: 0 }, "the ACLs follow the sessions");
        self.part = Part::Acls { left: count };
        self.write(out, |out| Writer::new(out).vector_len(count));
    }

    /// Appends an ACL and the id by which znodes refer to it. The open list needs none, it is always
    /// [`OPEN_UNSAFE_ACL_ID`](super::OPEN_UNSAFE_ACL_ID).
    ///
    /// # Panics
    /// If all announced ACLs were written.
    pub fn acl(&mut self, out: &mut Vec<u8>, id: i64, entries: &[Acl]) {
        let Part::Acls { left: left @ 1.. } = &mut self.part else { panic!("no ACL is due") };
        *left -= 1;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(id);
            encode_acl_entries(&mut writer, entries);
        });
    }

    /// Appends a znode, parents before children. The root's path is empty here.
    ///
    /// # Panics
    /// Unless all announced ACLs were written; if the path is "/", which ends the znodes.
    pub fn node(
        &mut self,
        out: &mut Vec<u8>,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) {
        assert!(matches!(self.part, Part::Acls { left: 0 } | Part::Nodes), "the znodes follow the ACLs");
        assert_ne!(path, END_PATH, "the root's path is empty in a snapshot");
        self.part = Part::Nodes;
        self.write(out, |out| {
            // Two lengths and an ACL's id besides. At the end of a chunk it may have to grow, and then once only.
            out.reserve(4 + path.len() + 4 + data.map_or(0, <[u8]>::len) + 8 + STAT_PERSISTED_LEN);
            let mut writer = Writer::new(out);
            writer.string(path);
            writer.buffer(data);
            writer.long(acl);
            encode_stat_persisted(&mut writer, stat);
        });
    }

    /// Ends the znodes and seals them; in a stream, signs them, and nothing may follow.
    ///
    /// # Panics
    /// If there was no znode.
    pub fn end_nodes(&mut self, out: &mut Vec<u8>) {
        assert_eq!(self.part, Part::Nodes, "every tree has a root");
        self.write(out, |out| Writer::new(out).string(END_PATH));
        if self.adler.is_some() {
            self.part = Part::AfterNodes;
            self.seal(out);
        } else {
            self.part = Part::AfterSignature;
            Writer::new(out).string(SIGNATURE);
        }
    }

    /// Appends and seals the digest of the tree at `zxid` (the tree of a fuzzy snapshot once the log was
    /// replayed up to there).
    ///
    /// # Panics
    /// Unless it directly follows the znodes.
    pub fn digest(&mut self, out: &mut Vec<u8>, zxid: Zxid, digest: &TxnDigest) {
        assert_eq!(self.part, Part::AfterNodes, "the digest follows the znodes");
        self.part = Part::AfterDigest;
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(zxid.0);
            writer.int(digest.version);
            writer.long(digest.tree_digest.cast_signed());
        });
        self.seal(out);
    }

    /// Appends and seals the zxid of the last transaction in the snapshot.
    ///
    /// # Panics
    /// Unless it follows the znodes or the digest.
    pub fn last_zxid(&mut self, out: &mut Vec<u8>, zxid: Zxid) {
        assert!(matches!(self.part, Part::AfterNodes | Part::AfterDigest), "the zxid comes last");
        self.part = Part::AfterLastZxid;
        self.write(out, |out| Writer::new(out).long(zxid.0));
        self.seal(out);
    }

    fn seal(&mut self, out: &mut Vec<u8>) {
        let Some(adler) = &self.adler else { return };
        let checksum = adler.value();
        self.write(out, |out| {
            let mut writer = Writer::new(out);
            writer.long(checksum);
            writer.string(END_PATH);
        });
    }

    fn write(&mut self, out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        append(out);
        if let Some(adler) = &mut self.adler {
            adler.write(&out[start..]);
        }
    }
}
