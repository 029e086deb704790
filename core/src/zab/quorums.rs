//! Which servers must have said something before it counts: a quorum of the configuration in force, and, from the
//! transaction on that proposes another one, a quorum of that, too (PARITY `reconf.quorum`, `qv.syncedset`).
//!
//! Whoever commits anything in the old configuration has then been heard by a quorum of the new one, and the other way
//! round: no two leaders, of which one knows of the change and the other does not, could both commit.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::types::{Membership, ServerId, Zxid};

/// See the module.
#[derive(Clone, Debug)]
pub struct Quorums {
    current: Membership,
    /// What was proposed and is not in force.
    next: Option<Next>,
}

#[derive(Clone, Debug)]
struct Next {
    membership: Membership,
    /// The transaction that proposes it.
    from: Zxid,
}

impl Quorums {
    /// The configuration in force, and the newest one where that is another.
    pub fn new(current: Membership, next: Option<Membership>) -> Self {
        let next = next.map(|membership| Next { from: Zxid(membership.version()), membership });
        Self { current, next }
    }

    /// The configuration in force.
    pub const fn current(&self) -> &Membership {
        &self.current
    }

    /// The configuration that was proposed.
    pub fn next(&self) -> Option<&Membership> {
        self.next.as_ref().map(|next| &next.membership)
    }

    /// The transaction that proposes it.
    pub fn next_from(&self) -> Option<Zxid> {
        self.next.as_ref().map(|next| next.from)
    }

    /// From this transaction on, a quorum of `membership` is needed, too.
    ///
    /// # Panics
    /// If there is one like that already: configurations change one at a time.
    pub fn propose(&mut self, membership: Membership, from: Zxid) {
        assert!(self.next.is_none(), "a change of members while another is under way");
        self.next = Some(Next { membership, from });
    }

    /// What was proposed is in force.
    pub fn activate(&mut self) {
        if let Some(next) = self.next.take() {
            self.current = next.membership;
        }
    }

    /// Whether the server votes in either configuration.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.current.is_voter(server) || self.next().is_some_and(|next| next.is_voter(server))
    }

    /// Whether the servers are a quorum of each.
    pub fn has_all(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.current.has_quorum(servers) && self.next().is_none_or(|next| next.has_quorum(servers))
    }

    /// The largest value that a quorum of each configuration has reached, of what each server has.
    pub fn reached<T: Copy + Ord>(&self, have: Vec<(T, ServerId)>) -> Option<T> {
        let have = descending(have);
        let current = reached(&self.current, &have)?;
        match self.next() {
            Some(next) => Some(current.min(reached(next, &have)?)),
            None => Some(current),
        }
    }

    /// The newest transaction that all the quorums it needs have acknowledged, of what each server has acknowledged.
    pub fn committed(&self, acked: Vec<(Zxid, ServerId)>) -> Option<Zxid> {
        let acked = descending(acked);
        let current = reached(&self.current, &acked)?;
        let Some(Next { membership, from }) = &self.next else { return Some(current) };
        if current < *from {
            return Some(current);
        }
        let next = reached(membership, &acked).filter(|next| next >= from);
        // What was proposed before the change needs no more than it did then.
        Some(next.map_or(Zxid(from.0 - 1), |next| next.min(current)))
    }
}

fn descending<T: Ord>(mut have: Vec<(T, ServerId)>) -> Vec<(T, ServerId)> {
    have.sort_unstable_by(|one, other| other.cmp(one));
    have
}

fn reached<T: Copy>(membership: &Membership, descending: &[(T, ServerId)]) -> Option<T> {
    let mut have = (1..=descending.len()).map(|count| &descending[..count]);
    // Whoever has as much as the last of them, or more.
    let is_quorum = |have: &&[(T, ServerId)]| {
        membership.has_quorum_of(|voter| have.iter().any(|&(_, server)| server == voter))
    };
    have.find(is_quorum)?.last().map(|&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    const SERVERS: i64 = 4;
    const VALUES: i64 = 4;

    fn membership(version: i64, voters: &[i64]) -> Membership {
        let lines: String = voters.iter().map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
        Membership::parse(&lines).expect("it is one").with_version(version)
    }

    /// Every server in `voters` that has `value` or more, counted one by one.
    fn has(voters: &[i64], acked: &[(Zxid, ServerId)], value: i64) -> bool {
        let have = acked.iter().filter(|(zxid, server)| zxid.0 >= value && voters.contains(&server.0));
        have.count() * 2 > voters.len()
    }

    /// Against counting every transaction by itself, for all that four servers may have acknowledged.
    #[test]
    fn reconf_quorum_from_its_proposal_both_configurations_must_agree() {
        let configurations: [&[i64]; 5] = [&[1], &[1, 2], &[1, 2, 3], &[3, 4], &[2, 3, 4]];
        for (old, new) in
            configurations.iter().flat_map(|old| configurations.iter().map(move |new| (old, new)))
        {
            for from in 1..=VALUES {
                let mut quorums = Quorums::new(membership(0, old), None);
                quorums.propose(membership(9, new), Zxid(from));
                for case in 0..(VALUES + 1).pow(SERVERS as u32) {
                    let acked: Vec<(Zxid, ServerId)> = (0..SERVERS)
                        .map(|at| (Zxid(case / (VALUES + 1).pow(at as u32) % (VALUES + 1)), ServerId(at + 1)))
                        .collect();
                    let commits = |zxid| has(old, &acked, zxid) && (zxid < from || has(new, &acked, zxid));
                    let expected = (1..=VALUES).take_while(|&zxid| commits(zxid)).last().unwrap_or(0);
                    assert_eq!(
                        quorums.committed(acked.clone()),
                        Some(Zxid(expected)),
                        "{old:?} {new:?} {acked:?}"
                    );
                    let all: BTreeSet<ServerId> =
                        acked.iter().filter(|(zxid, _)| zxid.0 > 0).map(|&(_, server)| server).collect();
                    assert_eq!(quorums.has_all(&all), has(old, &acked, 1) && has(new, &acked, 1));
                }
            }
        }
    }

    #[test]
    fn what_was_proposed_takes_the_place_of_what_was_in_force() {
        let mut quorums = Quorums::new(membership(0, &[1, 2, 3]), None);
        let words = || (1..=5).map(|id| (id, ServerId(id))).collect::<Vec<_>>();
        assert_eq!(quorums.reached(words()), Some(2));
        quorums.propose(membership(7, &[3, 4, 5]), Zxid(7));
        assert_eq!((quorums.reached(words()), quorums.next_from()), (Some(2), Some(Zxid(7))));
        assert!(quorums.is_voter(ServerId(1)) && quorums.is_voter(ServerId(5)));
        quorums.activate();
        assert_eq!((quorums.reached(words()), quorums.next_from()), (Some(4), None));
        assert!(!quorums.is_voter(ServerId(1)) && quorums.is_voter(ServerId(5)));
        assert_eq!(quorums.current().version(), 7);
        assert_eq!(quorums.reached(words().split_off(4)), None);
    }
}
