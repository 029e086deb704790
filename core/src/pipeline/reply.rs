//! The reply to a write, once its transaction is applied.

use alloc::vec::Vec;

use crate::tree::Applied;
use crate::types::{ErrorCode, OpCode, Stat, Zxid};
use crate::wire::reply::{self, MultiResult};

/// Appends the whole reply to a write. `op` is the request's, `applied` what became of it; a change of members is
/// answered with the data of the znode.
pub fn write_reply(
    xid: i32,
    op: OpCode,
    zxid: Zxid,
    applied: &Applied,
    data: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let failed = applied.error != ErrorCode::OK;
    // A multi that failed is answered OK, with the failure among its results (PARITY `multi.fail`).
    if failed && (op != OpCode::MULTI || applied.op != OpCode::MULTI) {
        reply::header_only(out, xid, zxid, applied.error);
        return;
    }
    let frame = reply::begin(out);
    reply::header(out, xid, zxid, ErrorCode::OK);
    match op {
        OpCode::CREATE => reply::path(out, &applied.path),
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            reply::path_stat(out, &applied.path, &stat(applied));
        }
        OpCode::RECONFIG => reply::data_stat(out, data, &stat(applied)),
        OpCode::SET_DATA | OpCode::SET_ACL => reply::stat(out, &stat(applied)),
        OpCode::MULTI => {
            for result in &applied.multi {
                multi_result(result, out);
            }
            reply::multi_end(out);
        }
        // Deletions and the end of a session are answered by the header alone.
        _ => {}
    }
    reply::end(out, frame);
}

fn multi_result(applied: &Applied, out: &mut Vec<u8>) {
    // Among servers that have not the same tree, what its leader took for possible may not be.
    if applied.error != ErrorCode::OK {
        return reply::multi_result(out, &MultiResult::Error(applied.error));
    }
    let path = &applied.path;
    let stat = || applied.stat.as_ref().expect("an operation whose result has a stat brings one");
    let result = match applied.op {
        OpCode::CHECK => MultiResult::Check,
        OpCode::CREATE => MultiResult::Create { path },
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            MultiResult::Create2 { path, stat: stat() }
        }
        OpCode::DELETE => MultiResult::Delete,
        OpCode::SET_DATA => MultiResult::SetData { stat: stat() },
        _ => MultiResult::Error(applied.error),
    };
    reply::multi_result(out, &result);
}

fn stat(applied: &Applied) -> Stat {
    applied.stat.expect("an operation whose reply has a stat brings one when it succeeds")
}
