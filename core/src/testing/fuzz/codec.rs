//! Both directions of the client port: what decodes is encoded again, and must mean the same.

use alloc::vec::Vec;

use crate::types::{AclList, ErrorCode, OpCode, Stat, Zxid};
use crate::wire::connect::{ConnectRequest, ConnectResponse};
use crate::wire::reply::{self, MultiResult, WatchEvent};
use crate::wire::{
    Answer, DecodeError, MultiAnswer, MultiOp, Reader, ReplyHeader, Request, RequestHeader, Writer,
};

/// Decodes the handshake, then a header and the body it announces. The first byte is the operation's number, so
/// that all of them are tried soon; strings and buffers longer than 200 bytes are refused.
///
/// # Panics
/// If what decoded has another meaning or, where there is but one form, other bytes when it is encoded again.
pub fn request(bytes: &[u8]) {
    const FIELD_MAX: usize = 200;
    connect_request(bytes);
    if let Ok(header) = RequestHeader::decode(&mut Reader::new(bytes)) {
        let mut out = Vec::new();
        header.encode(&mut Writer::new(&mut out));
        assert_eq!(out, bytes[..out.len()]);
    }
    let Some((op, body)) = bytes.split_first() else { return };
    let op = OpCode(i32::from(*op as i8));
    let mut reader = Reader::with_limit(body, FIELD_MAX);
    let Ok(request) = Request::decode(op, &mut reader) else { return };
    let used = &body[..body.len() - reader.remaining()];
    if !can_be_sent(&request) {
        return;
    }
    let mut out = Vec::new();
    request.encode(op, &mut Writer::new(&mut out));
    let mut again = Reader::new(&out);
    assert_eq!(Request::decode(op, &mut again).as_ref(), Ok(&request));
    assert_eq!(again.remaining(), 0);
    match form(&request) {
        Form::One => assert_eq!(out, used),
        Form::TrueIsAnything => assert_eq!(out[..out.len() - 1], used[..used.len() - 1]),
        Form::Many => {}
    }
}

fn connect_request(bytes: &[u8]) {
    let Ok(request) = ConnectRequest::decode(bytes) else { return };
    let mut out = Vec::new();
    request.encode(&mut out);
    assert_eq!(ConnectRequest::decode(&out[4..]), Ok(request));
}

/// How many byte strings mean the same request.
enum Form {
    One,
    /// One, but for a last byte that is a boolean.
    TrueIsAnything,
    Many,
}

fn form(request: &Request<'_>) -> Form {
    match request {
        Request::Exists { .. }
        | Request::GetChildren { .. }
        | Request::GetChildren2 { .. }
        | Request::GetData { .. } => Form::TrueIsAnything,
        Request::Create { acl, .. } | Request::SetAcl { acl, .. } => match acl {
            Some(acl) if !has_many_forms(acl) => Form::One,
            Some(_) | None => Form::Many,
        },
        Request::Multi(_) | Request::MultiRead(_) => Form::Many,
        Request::AddWatch { .. }
        | Request::Auth { .. }
        | Request::Check { .. }
        | Request::CheckWatches { .. }
        | Request::CloseSession
        | Request::Delete { .. }
        | Request::DeleteContainer { .. }
        | Request::GetAcl { .. }
        | Request::GetAllChildrenNumber { .. }
        | Request::GetEphemerals { .. }
        | Request::Ping
        | Request::Reconfig { .. }
        | Request::RemoveWatches { .. }
        | Request::Sasl { .. }
        | Request::SetData { .. }
        | Request::SetWatches { .. }
        | Request::Sync { .. }
        | Request::WhoAmI => Form::One,
    }
}

/// Whether an identity may not have been UTF-8, or null.
fn has_many_forms(acl: &AclList) -> bool {
    let replaced = |text: &str| text.contains('\u{fffd}');
    acl.entries().iter().any(|acl| replaced(&acl.id.scheme) || replaced(&acl.id.id) || acl.id.id.is_empty())
}

/// In a multi, a createTTL without a TTL mode becomes a create with an ACL or mode that no create could be sent
/// with; and a null entry in an ACL becomes a null list.
fn can_be_sent(request: &Request<'_>) -> bool {
    let Request::Multi(ops) = request else { return true };
    ops.iter().all(|MultiOp { request, .. }| match request {
        Request::Create { acl, flags, .. } => acl.is_some() && (0..=6).contains(flags),
        _ => true,
    })
}

/// Decodes everything a server may send: handshake answer, header, watch event, and the body of a reply to the
/// operation whose number is the first byte.
///
/// # Panics
/// As [`request`].
pub fn reply(bytes: &[u8]) {
    if let Ok(response) = ConnectResponse::decode(bytes) {
        let mut out = Vec::new();
        response.encode(&mut out);
        assert_eq!(ConnectResponse::decode(&out[4..]), Ok(response));
    }
    if let Ok(ReplyHeader { xid, zxid, err }) = ReplyHeader::decode(&mut Reader::new(bytes)) {
        let mut out = Vec::new();
        reply::header(&mut out, xid, zxid, err);
        assert_eq!(out, bytes[..out.len()]);
    }
    let mut reader = Reader::new(bytes);
    if let Ok(event) = WatchEvent::decode(&mut reader)
        && event.state == reply::STATE_SYNC_CONNECTED
    {
        let mut out = Vec::new();
        event.encode(Zxid::UNKNOWN, &mut out);
        assert_eq!(out[4 + reply::HEADER_LEN..], bytes[..bytes.len() - reader.remaining()]);
    }
    let Some((op, body)) = bytes.split_first() else { return };
    let op = OpCode(i32::from(*op as i8));
    let mut reader = Reader::new(body);
    let Ok(answer) = Answer::decode(op, &mut reader) else { return };
    let used = &body[..body.len() - reader.remaining()];
    let mut out = Vec::new();
    encode(&answer, &mut out);
    let again: Result<_, DecodeError> = Answer::decode(op, &mut Reader::new(&out));
    assert_eq!(again.as_ref(), Ok(&answer));
    let many_forms = match &answer {
        Answer::Multi(_) => true,
        Answer::Acl { acl, .. } => has_many_forms(acl),
        _ => false,
    };
    if !many_forms {
        assert_eq!(out, used);
    }
}

fn encode(answer: &Answer<'_>, out: &mut Vec<u8>) {
    match answer {
        Answer::Acl { acl, stat } => reply::acl_stat(out, acl.entries(), stat),
        Answer::Children(names) => reply::children(out, names.len(), names.iter().copied()),
        Answer::ChildrenStat { children, stat } => {
            reply::children_stat(out, children.len(), children.iter().copied(), stat);
        }
        Answer::Count(count) => reply::count(out, *count),
        Answer::Data { data, stat } => reply::data_stat(out, *data, stat),
        Answer::Empty => {}
        Answer::Error(err) => reply::error(out, *err),
        Answer::Identities(identities) => reply::who_am_i(out, identities.iter().copied()),
        Answer::Multi(results) => {
            for result in results {
                encode_result(result, out);
            }
            reply::multi_end(out);
        }
        Answer::Path(path) => reply::path(out, path),
        Answer::PathStat { path, stat } => reply::path_stat(out, path, stat),
        Answer::Sasl(token) => reply::sasl(out, *token),
        Answer::Stat(stat) => reply::stat(out, stat),
    }
}

fn encode_result(result: &MultiAnswer<'_>, out: &mut Vec<u8>) {
    let MultiAnswer { op, answer } = result;
    let stat: &Stat;
    let result = match answer {
        Answer::Children(names) => {
            return reply::multi_children(out, names.len(), names.iter().copied());
        }
        Answer::Data { data, stat } => MultiResult::GetData { data: *data, stat },
        Answer::Empty if *op == OpCode::CHECK => MultiResult::Check,
        Answer::Empty => MultiResult::Delete,
        Answer::Error(ErrorCode(code)) => MultiResult::Error(ErrorCode(*code)),
        Answer::Path(path) => MultiResult::Create { path },
        Answer::PathStat { path, stat } => MultiResult::Create2 { path, stat },
        Answer::Stat(set) => {
            stat = set;
            MultiResult::SetData { stat }
        }
        Answer::Acl { .. }
        | Answer::ChildrenStat { .. }
        | Answer::Count(_)
        | Answer::Identities(_)
        | Answer::Multi(_)
        | Answer::Sasl(_) => panic!("no result of a multi: {answer:?}"),
    };
    reply::multi_result(out, &result);
}
