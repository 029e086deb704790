//! Bytes that ZooKeeper 3.8.0 wrote: what is decoded from them must encode to the same bytes again.
//!
//! `golden/client.capture` is what its Java client and a standalone server said to each other, in the order
//! in which it passed by: one byte names connection and direction ('C' client and 'S' server of the first
//! connection, 'D' and 'T' of the second, on which the client resumes its session), four bytes are a length,
//! then that many bytes. `golden/log.1` and `golden/snapshot.d` are what the server left on disk.

use bytes::Bytes;
use zabra_core::types::{ErrorCode, OpCode, Txn, TxnDigest, Zxid};
use zabra_core::wire::compression::{Compression, Decompressor, begins_well};
use zabra_core::wire::record::{FileHeader, Scan, append, scan};
use zabra_core::wire::request::{XID_AUTH, XID_SET_WATCHES, XID_WATCH_EVENT};
use zabra_core::wire::snapshot::{Decoder, Encoder, Item, is_complete};
use zabra_core::wire::{
    Answer, ConnectRequest, ConnectResponse, Deframer, EventType, MultiAnswer, MultiResult, Reader,
    ReplyHeader, Request, RequestHeader, WatchEvent, Writer, reply, txn,
};

const CAPTURE: &[u8] = include_bytes!("golden/client.capture");
const LOG: &[u8] = include_bytes!("golden/log.1");
const SNAPSHOT: &[u8] = include_bytes!("golden/snapshot.d");

const FIELD_MAX: usize = 0xf_ffff;

/// The frames of one direction of one connection, cut as they came from the socket.
fn frames(direction: u8) -> Vec<Bytes> {
    let mut deframer = Deframer::new(FIELD_MAX);
    let mut frames = vec![];
    let mut rest = CAPTURE;
    while let Some((&tag, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk::<4>().expect("a length");
        let (piece, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        if tag == direction {
            deframer.push(Bytes::from_static(piece));
            while let Some(frame) = deframer.next_frame().expect("frames") {
                frames.push(frame);
            }
        }
        rest = after;
    }
    assert_eq!(deframer.buffered(), 0);
    frames
}

/// Decodes requests, checks that they encode to the same bytes, and returns them.
fn requests(frames: &[Bytes]) -> Vec<(RequestHeader, Request<'_>)> {
    let decode = |frame: &'_ Bytes| -> (RequestHeader, Vec<u8>) {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("a header");
        let request = Request::decode(header.op, &mut reader).expect("a request");
        assert_eq!(reader.remaining(), 0, "{request:?}");
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        header.encode(&mut writer);
        request.encode(header.op, &mut writer);
        (header, out)
    };
    let mut requests = vec![];
    for frame in frames {
        let (header, out) = decode(frame);
        assert_eq!(out, *frame, "{header:?}");
        requests
            .push((header, Request::decode(header.op, &mut Reader::new(&frame[8..])).expect("as before")));
    }
    requests
}

/// Appends what a server would for this answer.
fn encode_answer(out: &mut Vec<u8>, answer: &Answer<'_>) {
    match answer {
        Answer::Acl { acl, stat } => reply::acl_stat(out, acl.entries(), stat),
        Answer::Children(children) => reply::children(out, children.len(), children.iter().copied()),
        Answer::ChildrenStat { children, stat } => {
            reply::children_stat(out, children.len(), children.iter().copied(), stat);
        }
        Answer::Count(count) => reply::count(out, *count),
        Answer::Data { data, stat } => reply::data_stat(out, *data, stat),
        Answer::Empty => {}
        Answer::Error(code) => reply::error(out, *code),
        Answer::Identities(identities) => reply::who_am_i(out, identities.iter().copied()),
        Answer::Multi(results) => {
            for MultiAnswer { op, answer } in results {
                encode_result(out, *op, answer);
            }
            reply::multi_end(out);
        }
        Answer::Path(path) => reply::path(out, path),
        Answer::PathStat { path, stat } => reply::path_stat(out, path, stat),
        Answer::Sasl(token) => reply::sasl(out, *token),
        Answer::Stat(stat) => reply::stat(out, stat),
    }
}

fn encode_result(out: &mut Vec<u8>, op: OpCode, answer: &Answer<'_>) {
    let result = match answer {
        Answer::Children(children) => {
            return reply::multi_children(out, children.len(), children.iter().copied());
        }
        Answer::Data { data, stat } => MultiResult::GetData { data: *data, stat },
        Answer::Empty if op == OpCode::CHECK => MultiResult::Check,
        Answer::Empty => MultiResult::Delete,
        Answer::Error(code) => MultiResult::Error(*code),
        Answer::Path(path) => MultiResult::Create { path },
        Answer::PathStat { path, stat } => MultiResult::Create2 { path, stat },
        Answer::Stat(stat) => MultiResult::SetData { stat },
        other => panic!("{other:?} in a multi"),
    };
    reply::multi_result(out, &result);
}

/// Decodes replies to these requests, checks that they encode to the same bytes, and returns header and
/// answer, or header and none for errors. Events are returned apart.
type Replies<'a> = (Vec<(ReplyHeader, Option<Answer<'a>>)>, Vec<WatchEvent<'a>>);
fn replies<'a>(frames: &'a [Bytes], requests: &[(RequestHeader, Request<'_>)]) -> Replies<'a> {
    let (mut replies, mut events) = (vec![], vec![]);
    for frame in frames {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader).expect("a header");
        let mut out = Vec::new();
        if header.xid == XID_WATCH_EVENT {
            let event = WatchEvent::decode(&mut reader).expect("an event");
            event.encode(header.zxid, &mut out);
            events.push(event);
        } else {
            let of = requests.iter().find(|(request, _)| request.xid == header.xid).expect("its request");
            let frame = reply::begin(&mut out);
            reply::header(&mut out, header.xid, header.zxid, header.err);
            let answer = (header.err == ErrorCode::OK).then(|| {
                let answer = Answer::decode(of.0.op, &mut reader).expect("an answer");
                encode_answer(&mut out, &answer);
                answer
            });
            reply::end(&mut out, frame);
            replies.push((header, answer));
        }
        assert_eq!(reader.remaining(), 0, "{header:?}");
        assert_eq!(out[4..], *frame, "{header:?}");
    }
    (replies, events)
}

/// PARITY `conn.req`, `conn.resp`: both connections' handshakes.
#[test]
fn handshakes() {
    for (client, server) in [(b'C', b'S'), (b'D', b'T')] {
        let (client, server) = (frames(client), frames(server));
        let request = ConnectRequest::decode(&client[0]).expect("a request");
        let response = ConnectResponse::decode(&server[0]).expect("a response");
        let (mut request_out, mut response_out) = (Vec::new(), Vec::new());
        request.encode(&mut request_out);
        response.encode(&mut response_out);
        assert_eq!(request_out[4..], client[0]);
        assert_eq!(response_out[4..], server[0]);
        assert_eq!((request.timeout_ms, request.read_only), (10_000, Some(false)));
        assert_eq!((response.timeout_ms, response.read_only), (10_000, Some(false)));
    }
    let first = frames(b'S');
    let (first, second) = (ConnectResponse::decode(&first[0]), frames(b'D'));
    let (first, second) =
        (first.expect("a response"), ConnectRequest::decode(&second[0]).expect("a request"));
    assert_eq!((second.session, second.password), (first.session, &first.password[..]));
}

/// PARITY `hdr.request`, `op.*`, `multi.*`: everything that the first connection asked and was answered.
#[test]
fn conversation() {
    let (client, server) = (frames(b'C'), frames(b'S'));
    let requests = requests(&client[1..]);
    let (replies, events) = replies(&server[1..], &requests);
    let asked: Vec<i32> = requests.iter().map(|(header, _)| header.op.0).collect();
    let expected = [
        100, 1, 15, 1, 19, 21, 3, 3, 4, 8, 12, 6, 5, 7, 106, 106, 9, 104, 103, 107, 14, 14, 22, 2, 2, 18, 1,
        3,
    ];
    assert_eq!(asked, expected);
    assert_eq!(replies.len(), requests.len());
    let results = |xid| {
        let (_, answer) = replies.iter().find(|(header, _)| header.xid == xid).expect("its reply");
        let Some(Answer::Multi(results)) = answer else { panic!("not a multi: {answer:?}") };
        results.clone()
    };
    let ops = |xid| results(xid).iter().map(|result| result.op.0).collect::<Vec<_>>();
    // PARITY multi.ok: create, createContainer, createTTL, setData, check, delete.
    assert_eq!(ops(20), [1, 15, 15, 5, 13, 2]);
    // PARITY multi.fail: setData was undone, delete failed, check was not tried.
    let errors: Vec<_> = results(21).into_iter().map(|result| result.answer).collect();
    assert_eq!(errors, [0, -101, -2].map(|code| Answer::Error(ErrorCode(code))));
    // PARITY multiread: the third of three reads alone fails.
    assert_eq!(ops(22), [4, 8, -1]);
    assert_eq!(
        events,
        [
            WatchEvent::new(EventType::NodeDataChanged, "/a/b"),
            WatchEvent::new(EventType::NodeDeleted, "/a/b"),
        ]
    );
    let auth = &requests[0];
    let credentials = Request::Auth { kind: 0, scheme: Some("digest"), auth: Some(b"u:p") };
    assert_eq!((auth.0.xid, &auth.1), (XID_AUTH, &credentials));
}

/// PARITY `op.setWatches2`: what a client says first when it resumes its session.
#[test]
fn resumption() {
    let (client, server) = (frames(b'D'), frames(b'T'));
    let requests = requests(&client[1..]);
    replies(&server[1..], &requests);
    let watches = requests.iter().find(|(header, _)| header.op == OpCode::SET_WATCHES2).expect("setWatches2");
    let Request::SetWatches { relative_zxid, exist, recursive, .. } = &watches.1 else {
        panic!("{watches:?}");
    };
    assert_eq!((*relative_zxid, &exist[..], &recursive[..]), (Zxid(13), &["/z", "/none"][..], &["/a"][..]));
    assert_ne!(watches.0.xid, XID_SET_WATCHES, "this client numbers it like any request");
}

/// PARITY `disk.log.*`, `disk.txn.types`, `disk.digest.records`: every record, the padding, and the same
/// bytes again.
#[test]
fn log() {
    let mut reader = Reader::new(LOG);
    FileHeader::decode(&mut reader, &FileHeader::LOG).expect("a header");
    let mut rest = reader.rest();
    let mut ops = vec![];
    loop {
        match scan(rest, FIELD_MAX) {
            Scan::Record { payload, total_len } => {
                let (header, txn, digest) = txn::decode(payload, FIELD_MAX).expect("a transaction");
                assert_eq!(txn::decode_logged(payload, FIELD_MAX).expect("a transaction").batch, None);
                ops.push(header.op.0);
                assert_eq!(header.zxid, Zxid(ops.len() as i64));
                // A failed transaction says nothing of the tree, unless it is a multi.
                assert_eq!(digest.map(|digest| digest.version), (header.op != OpCode::ERROR).then_some(2));
                let mut out = Vec::new();
                append(&mut out, |out| txn::encode(&header, &txn, digest.as_ref(), out));
                // ZooKeeper logs the first operation of the failed multi as it was meant.
                if !is_failed_multi(&txn) {
                    assert_eq!(out, rest[..total_len], "{txn:?}");
                }
                rest = &rest[total_len..];
            }
            Scan::Padding => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ops, [-10, 1, 15, 1, 19, 21, 5, 7, 14, 14, -1, 2, 1, 5, -11]);
    assert!(rest.iter().all(|byte| *byte == 0));
}

fn is_failed_multi(txn: &Txn) -> bool {
    let Txn::Multi(subs) = txn else { return false };
    let errors = subs.iter().filter(|sub| matches!(sub.txn, Txn::Error { .. })).count();
    assert!(errors == 0 || errors == subs.len(), "all or none");
    errors > 0
}

/// Decodes a snapshot that is pushed in pieces and encodes what comes out.
fn again(bytes: &[u8], piece: usize) -> Vec<u8> {
    let (sessions, acls) = counts(bytes);
    let mut decoder = Decoder::new(FIELD_MAX);
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&mut out, sessions);
    let (mut acls_begun, mut nodes_ended) = (false, false);
    let mut pieces = bytes.chunks(piece);
    loop {
        let Some(item) = decoder.next().expect("a snapshot") else {
            match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.finish(),
            }
            continue;
        };
        if !matches!(item, Item::Session { .. }) && !acls_begun {
            acls_begun = true;
            encoder.begin_acls(&mut out, acls);
        }
        if matches!(item, Item::Digest { .. } | Item::LastZxid(_) | Item::End) && !nodes_ended {
            nodes_ended = true;
            encoder.end_nodes(&mut out);
        }
        match item {
            Item::AclEntry { id, list } => encoder.acl(&mut out, id, list.entries()),
            Item::Digest { zxid, digest } => encoder.digest(&mut out, zxid, &digest),
            Item::End => return out,
            Item::LastZxid(zxid) => encoder.last_zxid(&mut out, zxid),
            Item::Node { path, data, acl, stat } => encoder.node(&mut out, path, data, acl, &stat),
            Item::Session { session, timeout_ms } => encoder.session(&mut out, session, timeout_ms),
        }
    }
}

/// How many sessions and ACLs a snapshot has.
fn counts(bytes: &[u8]) -> (usize, usize) {
    let mut decoder = Decoder::new(FIELD_MAX);
    decoder.push(bytes);
    decoder.finish();
    let (mut sessions, mut acls) = (0, 0);
    loop {
        match decoder.next().expect("a snapshot").expect("all of it was pushed") {
            Item::Session { .. } => sessions += 1,
            Item::AclEntry { .. } => acls += 1,
            Item::End => return (sessions, acls),
            Item::Digest { zxid, digest: TxnDigest { version, .. } } => {
                assert_eq!((zxid, version), (Zxid(13), 2));
            }
            Item::LastZxid(_) | Item::Node { .. } => {}
        }
    }
}

/// PARITY `disk.snap.*`: the same bytes again.
#[test]
fn snapshot() {
    assert!(is_complete(SNAPSHOT));
    for piece in [1, 100, SNAPSHOT.len()] {
        assert_eq!(again(SNAPSHOT, piece), SNAPSHOT);
    }
}

fn decompress(compression: Compression, bytes: &[u8], piece: usize) -> Vec<u8> {
    assert!(begins_well(compression, bytes));
    let mut decompressor = Decompressor::new(compression);
    let mut out = vec![];
    for piece in bytes.chunks(piece) {
        decompressor.push(piece);
        while decompressor.read(&mut out, 1000).expect("compressed") > 0 {}
    }
    decompressor.finish().expect("complete");
    out
}

/// PARITY `disk.snap.compress`: snapshots as the server wrote them, which still have to have the right seals;
/// and what Java's streams make of a longer text, in several snappy blocks.
#[test]
fn compressed() {
    let files: [(_, &[u8], &[u8]); 2] = [
        (Compression::Gzip, include_bytes!("golden/snapshot.d.gz"), include_bytes!("golden/repeated.gz")),
        (
            Compression::Snappy,
            include_bytes!("golden/snapshot.d.snappy"),
            include_bytes!("golden/repeated.snappy"),
        ),
    ];
    for (compression, small, large) in files {
        for piece in [1, 1000] {
            let snapshot = decompress(compression, small, piece);
            assert_eq!(again(&snapshot, 64), snapshot);
            let repeated = decompress(compression, large, piece);
            assert_eq!((repeated.len(), simd_adler32::adler32(&&*repeated)), (135_597, 0x051c_81e6));
        }
    }
}
