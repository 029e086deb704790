//! Snapshots: anything at all, in pieces of any size, with seals that match.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use simd_adler32::adler32;

use super::{Source, script};
use crate::tree::{Tree, TreeLoader, TreeOptions};
use crate::types::Zxid;
use crate::wire::data::{encode_acl, encode_stat_persisted};
use crate::wire::record::FileHeader;
use crate::wire::snapshot::{Decoder, Item};
use crate::wire::{DecodeError, Writer};

/// No item is longer than what is written here, so that no result depends on how much of one is there.
const FIELD_MAX: usize = 1 << 16;

/// Writes a snapshot with things wrong in it, puts the seals right, and reads it: in one piece and in many, which
/// must come to the same; what loads becomes a tree whose own snapshot loads as the same tree.
///
/// # Panics
/// If it does not, or a tree's invariants do not hold.
pub fn snapshot(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let piece = usize::from(source.byte()) + 1;
    let file = match source.below(8) {
        0 => source.rest().to_vec(),
        1 => {
            let mut file = Vec::new();
            FileHeader::SNAPSHOT.encode(&mut file);
            file.extend_from_slice(source.rest());
            end_nodes(&mut file);
            file
        }
        _ => written(&mut source),
    };
    let whole = decode(&file, file.len().max(1));
    assert_eq!(decode(&file, piece), whole, "pieces of {piece} bytes");
    if let Ok(mut tree) = load(&file) {
        let again = Vec::from_iter(snapshot_of(&mut tree));
        let reloaded = load(&again).expect("a tree's own snapshot");
        reloaded.check_invariants();
        assert_eq!((reloaded.digest(), reloaded.last_zxid()), (tree.digest(), tree.last_zxid()));
        assert_eq!(reloaded.node_count(), tree.node_count());
    }
}

fn written(source: &mut Source<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    FileHeader::SNAPSHOT.encode(&mut file);
    let mut writer = Writer::new(&mut file);
    let sessions = source.below(4);
    writer.vector_len(sessions);
    for _ in 0..sessions {
        writer.long(source.long());
        writer.int(source.int());
    }
    let acls = source.below(4);
    writer.vector_len(acls);
    for _ in 0..acls {
        writer.long(source.long());
        encode_acl(&mut writer, &script::acl(source));
    }
    if !source.rarely(16) {
        node(source, &mut writer, "");
    }
    while !source.is_empty() && source.byte() > 32 {
        let path = script::path(source);
        node(source, &mut writer, &path);
    }
    for _ in 0..source.below(4) {
        let at = (source.below(256) * 256 + source.below(256)) % file.len();
        file[at] ^= source.byte();
    }
    end_nodes(&mut file);
    match source.below(8) {
        0 => {}
        1 => {
            Writer::new(&mut file).long(source.long());
            Writer::new(&mut file).int(1);
            Writer::new(&mut file).string(source.choose(&["1f", "", "-1", "zz", "8000000000000000"]));
            seal(&mut file);
        }
        _ => {
            Writer::new(&mut file).long(source.long());
            Writer::new(&mut file).int(2);
            Writer::new(&mut file).long(source.long());
            seal(&mut file);
        }
    }
    if source.flag() {
        Writer::new(&mut file).long(source.long());
        seal(&mut file);
    }
    file.extend_from_slice(source.rest());
    file
}

fn node(source: &mut Source<'_>, writer: &mut Writer<'_>, path: &str) {
    writer.string(path);
    writer.buffer(script::data(source).as_deref());
    writer.long(source.long());
    encode_stat_persisted(writer, &script::stat(source));
}

fn end_nodes(file: &mut Vec<u8>) {
    Writer::new(file).string("/");
    seal(file);
}

fn seal(file: &mut Vec<u8>) {
    let checksum = i64::from(adler32(&file.as_slice()));
    let mut writer = Writer::new(file);
    writer.long(checksum);
    writer.string("/");
}

/// Every item as text, and how it ended.
fn decode(file: &[u8], piece: usize) -> (Vec<String>, Option<DecodeError>) {
    let mut decoder = Decoder::new(FIELD_MAX);
    let mut found = Vec::new();
    let mut pieces = file.chunks(piece);
    loop {
        match decoder.next() {
            Ok(Some(Item::End)) => return (found, None),
            Ok(Some(item)) => found.push(format!("{item:?}")),
            Ok(None) => match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.finish(),
            },
            Err(error) => return (found, Some(error)),
        }
    }
}

/// The tree that the snapshot describes, if it does.
pub(super) fn load(file: &[u8]) -> Result<Tree, ()> {
    let options = TreeOptions { extended_types: true, digest_enabled: true };
    let mut loader = TreeLoader::new(options, [3; 4]);
    let mut decoder = Decoder::new(FIELD_MAX);
    decoder.push(file);
    decoder.finish();
    let mut newest = Zxid::ZERO;
    loop {
        match decoder.next().map_err(drop)?.expect("nothing is waited for") {
            Item::AclEntry { id, list } => loader.load_acl(id, list),
            Item::Digest { .. } | Item::Session { .. } => {}
            Item::End => break,
            Item::LastZxid(zxid) => newest = zxid,
            Item::Node { path, data, acl, stat } => {
                loader.load_node(path, data.map(Box::from), acl, stat).map_err(drop)?;
            }
        }
    }
    let tree = loader.finish_load(newest).map_err(drop)?;
    tree.check_invariants();
    Ok(tree)
}

fn snapshot_of(tree: &mut Tree) -> Vec<u8> {
    use crate::wire::snapshot::Encoder;

    let mut file = Vec::new();
    let mark = tree.begin_snapshot();
    let mut encoder = Encoder::head(&mut file, Encoder::begin, core::iter::empty(), tree.acl_entries());
    while tree.snapshot_chunk(100, &mut |node| {
        encoder.node(&mut file, node.path, node.data, node.acl_id, &node.stat);
    }) {}
    tree.end_snapshot();
    encoder.end_nodes(&mut file);
    encoder.last_zxid(&mut file, mark.zxid);
    file
}
