//! Transactions as they are logged.

use alloc::vec::Vec;

use super::{Source, script};
use crate::tree::{Tree, TreeOptions};
use crate::types::{Txn, TxnDigest, TxnHeader, Zxid};
use crate::wire::txn;

const FIELD_MAX: usize = 300;
/// Where the operation stands in a transaction's header.
const OP_AT: usize = txn::HEADER_LEN - 4;

/// With an even first byte the rest is a transaction as it comes, the operation's number made small; with an odd
/// one it says what transaction to write, read back and read in part.
///
/// # Panics
/// If a transaction means something else after it was written and read, or cannot be applied to a tree.
pub fn txn(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    if source.flag() {
        return written(&mut source);
    }
    let mut bytes = source.rest().to_vec();
    if let Some(op) = bytes.get_mut(OP_AT..txn::HEADER_LEN) {
        let number = i32::from(op[3] as i8 % 32);
        op.copy_from_slice(&number.to_be_bytes());
    }
    let Ok((header, txn, digest)) = txn::decode(&bytes, FIELD_MAX) else { return };
    if !is_ambiguous(&txn, digest) {
        check_round_trip(&header, &txn, digest);
    }
    let options = TreeOptions { extended_types: true, digest_enabled: true };
    let mut tree = Tree::new(options, [1; 4]);
    tree.apply(&header, txn, &mut |_| {});
    tree.check_invariants();
}

fn written(source: &mut Source<'_>) {
    let (op, txn) = script::txn(source);
    let header = script::header(source, Zxid(source.clone().long()), op);
    let digest = source.flag().then(|| TxnDigest { version: 2, tree_digest: source.long().cast_unsigned() });
    if matches!(&txn, Txn::CloseSession { paths: Some(paths) } if paths.is_empty()) {
        return;
    }
    let out = check_round_trip(&header, &txn, digest);
    for cut in 0..out.len() {
        let _ = txn::decode(&out[..cut], FIELD_MAX);
    }
}

fn check_round_trip(header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) -> Vec<u8> {
    let mut out = Vec::new();
    txn::encode(header, txn, digest.as_ref(), &mut out);
    // Three times as long, for what is not UTF-8 in an ACL is replaced by three bytes for each.
    assert_eq!(txn::decode(&out, 3 * FIELD_MAX), Ok((*header, txn.clone(), digest)));
    out
}

/// What ends a closed session's record may be taken for something else that has its length: for a digest a list of
/// what are not paths, and for an empty list with a mark a digest of version 0, which nobody writes.
fn is_ambiguous(txn: &Txn, digest: Option<TxnDigest>) -> bool {
    match txn {
        Txn::CloseSession { paths: Some(paths) } => !paths.iter().all(|path| path.starts_with('/')),
        Txn::CloseSession { paths: None } => digest.is_some_and(|digest| digest.version == 0),
        _ => false,
    }
}
