//! Watches: leaving one, firing one, and what a change costs that nobody watches.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use zabra_core::tree::{Change, WatchTable};
use zabra_core::types::{AclList, ConnId, Zxid};

fn watches(c: &mut Criterion) {
    let mut table = WatchTable::new([1, 2, 3, 4]);
    for number in 0..100_000 {
        table.add_data(&format!("/bench/w{number}"), ConnId(number % 900));
    }
    let change = |path| Change::DataChanged { path, zxid: Zxid(7), acl: &AclList::OpenUnsafe };
    c.bench_function("leave a watch and fire it", |b| {
        b.iter(|| {
            table.add_data("/bench/one", ConnId(3));
            let mut told = 0;
            table.fire(&change("/bench/one"), &mut |_| told += 1);
            black_box(told)
        });
    });
    c.bench_function("change what nobody watches", |b| {
        b.iter(|| table.fire(&change(black_box("/bench/unwatched")), &mut |_| {}));
    });
    table.add_recursive("/bench", ConnId(7));
    c.bench_function("change below a recursive watch", |b| {
        b.iter(|| table.fire(&change(black_box("/bench/a/b/c/d")), &mut |_| {}));
    });
}

criterion_group!(benches, watches);
criterion_main!(benches);
