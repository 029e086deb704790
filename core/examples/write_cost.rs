//! What a write costs the one thread that orders, applies and answers it, without network and disk.
//!
//! `cargo run --release -p zabra-core --example write_cost [znodes]`, on Linux: it reads the processor time that the
//! kernel counts. 64 clients have 16 writes of 100 bytes each under way; the disk ends an append while the next is
//! gathered.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabra_core::config::Config;
use zabra_core::server::{Action, Input, Server};
use zabra_core::store::{DiskAnswer, DiskDone, DiskOp};
use zabra_core::testing::lone::empty;
use zabra_core::time::{Instant, Now, WallTime};
use zabra_core::types::{AclList, ConnId, OpCode, SessionId, Zxid};
use zabra_core::wire::connect::ConnectRequest;
use zabra_core::wire::{Request, RequestHeader, Writer};

const CLIENTS: u64 = 64;
const OUTSTANDING: usize = 16;
const ROUNDS: usize = 300;

fn main() {
    let znodes = std::env::args().nth(1).map_or(1000, |count| count.parse().expect("a number of znodes"));
    let mut bench = Bench::new(znodes);
    for op in [OpCode::SET_DATA, OpCode::CREATE, OpCode::DELETE] {
        let costs = (0..5).map(|_| bench.measure(op));
        println!("{op:?}: {} ns of processor time each", costs.min().expect("there are five"));
    }
}

struct Bench {
    server: Server,
    now: Now,
    znodes: usize,
    /// How many writes of each kind there were.
    written: BTreeMap<OpCode, usize>,
    appends: Vec<DiskDone>,
}

impl Bench {
    fn new(znodes: usize) -> Self {
        let config = Config { max_client_cnxns: 0, snap_count: u64::MAX, ..Config::default() };
        let recovered = empty(&config);
        let now = Now { mono: Instant::from_millis(1000), wall: WallTime(1_700_000_000_000) };
        let server = Server::new(config, recovered, [7; 32], now);
        let mut bench = Self { server, now, znodes, written: BTreeMap::new(), appends: Vec::new() };
        for conn in 1..=CLIENTS {
            let conn = ConnId(conn);
            let from = "10.0.0.1:4000".parse().expect("an address");
            bench.server.handle(now, Input::Accepted { conn, from });
            bench.server.handle(now, Input::Received { conn, bytes: handshake() });
        }
        bench.turn();
        bench.turn();
        let top = create("/bench", None);
        bench.server.handle(now, Input::Received { conn: ConnId(1), bytes: top.into() });
        bench.turn();
        let mut made = 0;
        while made < znodes {
            let batch: Vec<u8> =
                (made..znodes.min(made + 256)).flat_map(|n| create(&path(n), Some(&[7; 100]))).collect();
            made += 256;
            bench.server.handle(now, Input::Received { conn: ConnId(1), bytes: batch.into() });
            bench.turn();
        }
        bench
    }

    /// Nanoseconds of one write.
    fn measure(&mut self, op: OpCode) -> usize {
        let mut rounds: Vec<Vec<Bytes>> = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((0..CLIENTS).map(|_| self.input(op)).collect());
        }
        let begin = cpu_ns();
        for inputs in rounds {
            for (conn, bytes) in (1..).zip(inputs) {
                self.server.handle(self.now, Input::Received { conn: ConnId(conn), bytes });
                // Two batches a round: one gathers while the other is on the disk.
                if conn.is_multiple_of(CLIENTS / 2) {
                    self.turn();
                }
            }
        }
        self.turn();
        (cpu_ns() - begin) / (ROUNDS * CLIENTS as usize * OUTSTANDING)
    }

    fn input(&mut self, op: OpCode) -> Bytes {
        let written = self.written.entry(op).or_default();
        let mut bytes = Vec::new();
        for _ in 0..OUTSTANDING {
            let n = *written;
            *written += 1;
            bytes.extend(match op {
                OpCode::SET_DATA => {
                    let path = path(n.wrapping_mul(0x9e37_79b9) % self.znodes);
                    frame(op, &Request::SetData { path: &path, data: Some(&[8; 100]), version: -1 })
                }
                OpCode::CREATE => create(&fresh(n), Some(&[9; 100])),
                _ => frame(op, &Request::Delete { path: &fresh(n), version: -1 }),
            });
        }
        bytes.into()
    }

    /// What was on the disk has ended; what gathered goes there, and replies leave.
    fn turn(&mut self) {
        for done in std::mem::take(&mut self.appends) {
            self.server.handle(self.now, Input::Disk(done));
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Send { conn, bytes } => {
                    self.server.handle(self.now, Input::Drained { conn, bytes: bytes.len() });
                }
                Action::Disk(op @ (DiskOp::LogAppend { .. } | DiskOp::LogCreate { .. })) => {
                    self.appends.push(DiskDone { ticket: op.ticket(), result: Ok(DiskAnswer::Done) });
                }
                Action::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn path(n: usize) -> String {
    format!("/bench/key{n:07}")
}

fn fresh(n: usize) -> String {
    format!("/bench/new{n:07}")
}

fn create(path: &str, data: Option<&[u8]>) -> Vec<u8> {
    let acl = Some(AclList::OpenUnsafe);
    frame(OpCode::CREATE, &Request::Create { path, data, acl, flags: 0, ttl: None })
}

fn handshake() -> Bytes {
    let mut bytes = Vec::new();
    let (password, read_only) = (&[0; 16][..], Some(false));
    let (last_zxid_seen, session) = (Zxid::ZERO, SessionId::NONE);
    ConnectRequest { protocol_version: 0, last_zxid_seen, timeout_ms: 10_000, session, password, read_only }
        .encode(&mut bytes);
    bytes.into()
}

fn frame(op: OpCode, request: &Request<'_>) -> Vec<u8> {
    let mut frame = vec![0; 4];
    let mut writer = Writer::new(&mut frame);
    RequestHeader { xid: 1, op }.encode(&mut writer);
    request.encode(op, &mut writer);
    let length = u32::try_from(frame.len() - 4).expect("small");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Unlike a clock, this does not count what other processes take.
fn cpu_ns() -> usize {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells every process its time");
    stat.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("a number of ns")
}
