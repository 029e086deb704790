//! A number that stands for everything that happened in a run: equal for equal runs, on any machine, in any build.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use zabra_core::server::{Action, Event, Input};
use zabra_core::store::{DiskAnswer, DiskDone, DiskOp};
use zabra_core::types::{ConnId, LinkId};

/// Folds what happens into one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Trace {
    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(29);
    }

    /// Adds bytes and their count.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.number(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let mut rest = [0; 8];
        rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.number(u64::from_le_bytes(rest));
        self.number(bytes.len() as u64);
    }

    /// Adds whatever can be printed.
    pub fn debug(&mut self, what: &dyn fmt::Debug) {
        write!(self, "{what:?}").expect("a trace takes everything");
    }

    /// Adds what a server is told: the usual by its numbers, for to print everything would cost more than to do it.
    pub fn input(&mut self, input: &Input) {
        match input {
            Input::Received { conn: ConnId(number), bytes }
            | Input::LinkReceived { link: LinkId(number), bytes } => {
                self.number(*number);
                self.bytes(bytes);
            }
            Input::Drained { conn: ConnId(number), bytes }
            | Input::LinkDrained { link: LinkId(number), bytes } => {
                self.number(*number);
                self.number(*bytes as u64);
            }
            Input::Accepted { conn: ConnId(number), from } => {
                self.number(*number);
                self.address(from);
            }
            Input::Closed { conn: ConnId(number) } => self.number(*number),
            Input::Disk(done) => self.done(done),
            Input::Tick => self.number(0),
            other => self.debug(other),
        }
    }

    fn address(&mut self, address: &SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => self.number(ip.to_bits().into()),
            IpAddr::V6(ip) => self.bytes(&ip.octets()),
        }
        self.number(address.port().into());
    }

    /// Adds what came of a request to a disk.
    pub fn done(&mut self, done: &DiskDone) {
        match &done.result {
            Ok(DiskAnswer::Done) => self.number(done.ticket.0),
            Ok(DiskAnswer::Data(bytes)) => {
                self.number(done.ticket.0);
                self.bytes(bytes);
            }
            Ok(DiskAnswer::Listing(_)) | Err(_) => self.debug(done),
        }
    }

    /// Adds what a server wants.
    pub fn action(&mut self, action: &Action) {
        match action {
            Action::Send { conn: ConnId(number), bytes }
            | Action::SendLink { link: LinkId(number), bytes } => {
                self.number(*number);
                self.bytes(bytes);
            }
            Action::Disk(DiskOp::LogAppend { bytes, .. } | DiskOp::SnapshotAppend { bytes, .. }) => {
                self.bytes(bytes);
            }
            Action::Event(Event::Applied { zxid, digest }) => {
                self.number(zxid.0 as u64);
                self.number(*digest);
            }
            Action::Event(Event::Committed { zxid }) => self.number(zxid.0 as u64),
            Action::Close { conn: ConnId(number), why } => {
                self.number(*number);
                self.debug(why);
            }
            other => self.debug(other),
        }
    }

    /// What it all comes to.
    pub const fn hash(self) -> u64 {
        self.0
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_count() {
        let hash = |parts: &[&[u8]]| {
            let mut trace = Trace::default();
            parts.iter().for_each(|part| trace.bytes(part));
            trace.hash()
        };
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"c", b"ab"]));
        assert_ne!(hash(&[&[0; 8]]), hash(&[&[0; 7]]));
    }
}
