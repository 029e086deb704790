//! A state machine that answers handshakes, reads and writes with canned replies: tests the driver alone.

use std::collections::{HashMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use zabra_core::server::{Action, HaltReason, Input};
use zabra_core::time::{Instant, Now};
use zabra_core::types::ConnId;

use crate::machine::Machine;

#[derive(Debug, Default)]
struct Client {
    up: bool,
    half: BytesMut,
    out: BytesMut,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct StandIn {
    clients: HashMap<ConnId, Client>,
    touched: Vec<ConnId>,
    actions: VecDeque<Action>,
    zxid: i64,
}

impl StandIn {
    fn received(&mut self, conn: ConnId, bytes: &Bytes) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.out.is_empty() {
            self.touched.push(conn);
        }
        let joined;
        let mut rest: &[u8] = if client.half.is_empty() {
            bytes
        } else {
            client.half.extend_from_slice(bytes);
            joined = client.half.split();
            &joined
        };
        while rest.len() >= 4 {
            let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            if rest.len() - 4 < len {
                break;
            }
            let frame = &rest[4..4 + len];
            rest = &rest[4 + len..];
            if !client.up {
                client.up = true;
                client.out.put_i32(37);
                client.out.put_i32(0);
                client.out.put_i32(30_000);
                client.out.put_u64(conn.0);
                client.out.put_i32(16);
                client.out.put_bytes(0, 17);
                continue;
            }
            let body = match i32::from_be_bytes(frame[4..8].try_into().unwrap()) {
                4 => 172,
                5 => 68,
                1 => 4 + u32::from_be_bytes(frame[8..12].try_into().unwrap()) as usize,
                _ => 0,
            };
            client.out.put_i32(16 + body as i32);
            client.out.put_slice(&frame[..4]);
            client.out.put_i64(self.zxid);
            client.out.put_i32(0);
            if body == 172 {
                client.out.put_i32(100);
                client.out.put_bytes(0, 168);
            } else {
                client.out.put_bytes(0, body);
            }
        }
        client.half = BytesMut::from(rest);
    }
}

impl Machine for StandIn {
    fn handle(&mut self, _: Now, input: Input) {
        match input {
            Input::Accepted { conn, .. } => {
                self.clients.insert(conn, Client::default());
            }
            Input::Received { conn, bytes } => self.received(conn, &bytes),
            Input::Closed { conn } => {
                self.clients.remove(&conn);
            }
            Input::Shutdown => self.actions.push_back(Action::Halt { why: HaltReason::Shutdown }),
            Input::Tick | Input::Drained { .. } | Input::Disk(_) => {}
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        while let Some(conn) = self.touched.pop() {
            if let Some(client) = self.clients.get_mut(&conn) {
                let bytes = client.out.split().freeze();
                client.out.reserve(8192);
                return Some(Action::Send { conn, bytes });
            }
        }
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
