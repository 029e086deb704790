//! A configuration as ZooKeeper writes it (`QuorumVerifier.toString()`).
//!
//! ```text
//! server.1=host:quorum port:election port[|...]:role[;client host:client port]      of every member
//! group.1=1:2:3                                                                      of every group
//! weight.1=1                                                                         of every weight
//! version=100000000                                                                  hexadecimal; no line end
//! ```
//!
//! The lines of one kind stand in the order in which Java's hash map has their numbers. While these are smaller than
//! its table, at least 16, that is their own order. Where two of them share a place in the table, the order depends
//! on where the text came from; here the smaller one comes first.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::address::Host;
use super::{Address, Hierarchy, Member, MemberRole, Membership};
use crate::types::ids::ServerId;

impl Membership {
    /// The configuration as ZooKeeper writes it, which [`Membership::parse`] reads.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for id in java_order(self.members.keys().map(|id| id.0)) {
            let _ = writeln!(out, "server.{id}={}", self.members[&ServerId(id)]);
        }
        if let Some(hierarchy) = &self.hierarchy {
            hierarchy.write(&mut out);
        }
        let _ = write!(out, "version={:x}", self.version);
        out
    }
}

impl Hierarchy {
    fn write(&self, out: &mut String) {
        let in_order = java_order(self.group_of.keys().map(|id| id.0));
        for group in java_order(self.group_weights.keys().copied()) {
            let _ = write!(out, "group.{group}");
            let members = in_order.iter().filter(|&&id| self.group_of[&ServerId(id)] == group);
            for (at, id) in members.enumerate() {
                let _ = write!(out, "{}{id}", if at == 0 { '=' } else { ':' });
            }
            out.push('\n');
        }
        for id in java_order(self.weights.keys().map(|id| id.0)) {
            let _ = writeln!(out, "weight.{id}={}", self.weights[&ServerId(id)]);
        }
    }
}

/// The value of a member's entry.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each side is sorted for itself, as ZooKeeper does.
        let (mut quorum, mut election): (Vec<&Address>, Vec<&Address>) =
            (self.quorum.iter().collect(), self.election.iter().collect());
        quorum.sort_by(|a, b| a.host.cmp(&b.host));
        election.sort_by(|a, b| a.host.cmp(&b.host));
        for (at, (quorum, election)) in quorum.iter().zip(&election).enumerate() {
            let separator = if at == 0 { "" } else { "|" };
            write!(f, "{separator}{}:{}:{}", Host(&quorum.host), quorum.port, election.port)?;
        }
        f.write_str(match self.role {
            MemberRole::Observer => ":observer",
            MemberRole::Participant => ":participant",
        })?;
        match &self.client {
            None => Ok(()),
            Some(client) => write!(f, ";{client}"),
        }
    }
}

/// Sorts numbers as a Java `HashMap<Long, _>` has them after they were put in one by one.
fn java_order(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut numbers: Vec<i64> = numbers.collect();
    let mut table = 16_usize;
    while numbers.len() > table / 4 * 3 {
        table *= 2;
    }
    let place = |number: i64| {
        let hash = (number ^ ((number.cast_unsigned() >> 32).cast_signed())) as u32;
        (hash ^ (hash >> 16)) as usize & (table - 1)
    };
    numbers.sort_by_key(|&number| (place(number), number));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_map_order() {
        assert_eq!(java_order([3, 1, 2].into_iter()), [1, 2, 3]);
        assert_eq!(java_order([16, 2, 17, 15].into_iter()), [16, 17, 2, 15]);
        assert_eq!(java_order([-1, 5].into_iter()), [-1, 5]);
        assert_eq!(java_order([1 << 32, 0, 65_536].into_iter()), [0, 65_536, 1 << 32]);
        let many: Vec<i64> = (0..13).map(|i| i * 2).collect();
        assert_eq!(java_order(many.iter().rev().copied()), many);
        let few: Vec<i64> = (0..12).map(|i| i * 2).collect();
        assert_eq!(java_order(few.into_iter()), [0, 16, 2, 18, 4, 20, 6, 22, 8, 10, 12, 14]);
    }
}
