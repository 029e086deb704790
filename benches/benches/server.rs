//! A whole server with a perfect disk: what a request costs the one thread that has to serve it.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zabra_core::config::Config;
use zabra_core::testing::lone::{LoneServer, frame};
use zabra_core::types::{AclList, OpCode};
use zabra_core::wire::Request;

const REQUESTS: usize = 16;

fn requests(c: &mut Criterion) {
    let mut lone = LoneServer::new(Config::default());
    let (conn, _) = lone.client();
    let acl = Some(AclList::OpenUnsafe);
    let create = Request::Create { path: "/bench", data: Some(&[b'x'; 100]), acl, flags: 0, ttl: None };
    lone.call(conn, OpCode::CREATE, &create);
    let mut group = c.benchmark_group("server");
    group.throughput(Throughput::Elements(REQUESTS as u64));
    for (name, op, request) in [
        ("16 getData of one input", OpCode::GET_DATA, Request::GetData { path: "/bench", watch: false }),
        (
            "16 setData of one input",
            OpCode::SET_DATA,
            Request::SetData { path: "/bench", data: Some(&[b'y'; 100]), version: -1 },
        ),
    ] {
        let input = bytes::Bytes::from(frame(1, op, &request).repeat(REQUESTS));
        group.bench_function(name, |b| {
            b.iter(|| {
                lone.receive(conn, input.clone());
                lone.take_sent(conn).len()
            });
        });
        lone.events.clear();
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
