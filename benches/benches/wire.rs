//! Codecs of the hot path: frames, requests, replies, log records.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zabra_core::testing::lone::frame;
use zabra_core::time::WallTime;
use zabra_core::types::{ErrorCode, OpCode, SessionId, Stat, Txn, TxnDigest, TxnHeader, Zxid};
use zabra_core::wire::{Deframer, Reader, Request, RequestHeader, record, reply, txn};

const DATA: [u8; 100] = [b'x'; 100];

fn set_data() -> Request<'static> {
    Request::SetData { path: "/bench/k0000042", data: Some(&DATA), version: -1 }
}

fn frames(c: &mut Criterion) {
    let one = frame(1, OpCode::SET_DATA, &set_data());
    let input = Bytes::from(one.repeat(16));
    let mut group = c.benchmark_group("frames");
    group.throughput(Throughput::Elements(16));
    group.bench_function("cut and decode 16 setData of one input", |b| {
        let mut deframer = Deframer::new(1 << 20);
        b.iter(|| {
            deframer.push(input.clone());
            while let Ok(Some(frame)) = deframer.next_frame() {
                let mut reader = Reader::new(&frame);
                let header = RequestHeader::decode(&mut reader).expect("a header");
                black_box(Request::decode(header.op, &mut reader).expect("a request"));
            }
        });
    });
    group.finish();
}

fn replies(c: &mut Criterion) {
    let stat = Stat::default();
    c.bench_function("encode a getData reply", |b| {
        let mut out = Vec::with_capacity(1 << 16);
        b.iter(|| {
            out.clear();
            let frame = reply::begin(&mut out);
            reply::header(&mut out, 1, Zxid(7), ErrorCode::OK);
            reply::data_stat(&mut out, Some(&DATA), &stat);
            reply::end(&mut out, frame);
            black_box(&out);
        });
    });
}

fn records(c: &mut Criterion) {
    let time = WallTime(1_700_000_000_000);
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(7), time, op: OpCode::SET_DATA };
    let set = Txn::SetData { path: "/bench/k0000042".into(), data: Some(DATA.into()), version: 1 };
    let digest = TxnDigest { version: 2, tree_digest: 42 };
    c.bench_function("encode a log record, checksum included", |b| {
        let mut out = Vec::with_capacity(1 << 16);
        b.iter(|| {
            out.clear();
            record::append(&mut out, |out| txn::encode(&header, &set, Some(&digest), out));
            black_box(&out);
        });
    });
}

criterion_group!(benches, frames, replies, records);
criterion_main!(benches);
