//! Whom an observer learns from (PARITY `obs.master`): with `observerMasterPort`, one of the voters that do not lead,
//! each of which is expected to serve observers on that port; and the leader where none of them does.
//!
//! The order is drawn, so that observers spread over the voters, and drawn anew when those change. Every attempt to
//! connect takes the next one, round and round; once all have failed since one served, it is the leader's turn, and
//! then theirs again. ZooKeeper's observers take the leader for one of them, which never serves on that port, and do
//! not learn from it otherwise either.

use alloc::vec::Vec;

use rand_chacha::ChaCha12Rng;
use rand_core::RngCore;

use crate::rng;
use crate::server::PeerPort;
use crate::types::{Address, Membership, ServerId};

/// See the module.
#[derive(Debug)]
pub(super) struct Masters {
    /// Where voters serve observers.
    port: Option<u16>,
    rng: ChaCha12Rng,
    /// The voters, in the order in which they are tried.
    order: Vec<ServerId>,
    /// The place of the next one.
    at: usize,
    /// How many were tried since one served, or the leader was tried.
    tried: usize,
    /// Whom this server learns from, or tries to.
    current: Option<ServerId>,
}

/// One to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) server: ServerId,
    pub(super) port: PeerPort,
    pub(super) addresses: Vec<Address>,
}

impl Masters {
    pub(super) fn new(port: Option<u16>, seed: [u8; 32]) -> Self {
        let rng = rng::stream(seed, rng::Stream::LearnerMaster);
        Self { port, rng, order: Vec::new(), at: 0, tried: 0, current: None }
    }

    /// Whom this server learns from, or tries to.
    pub(super) const fn current(&self) -> Option<ServerId> {
        self.current
    }

    /// This one serves.
    pub(super) const fn on_serving(&mut self) {
        self.tried = 0;
    }

    /// Nobody, for now.
    pub(super) const fn leave(&mut self) {
        self.current = None;
    }

    /// The next one to try, for a server that `leader` leads.
    pub(super) fn next(&mut self, membership: &Membership, leader: ServerId, observer: bool) -> Master {
        let master = self.port.filter(|_| observer).and_then(|port| {
            let server = self.next_voter(membership, leader)?;
            let mut addresses = membership.member(server)?.quorum.clone();
            for address in &mut addresses {
                address.port = port;
            }
            Some(Master { server, port: PeerPort::ObserverMaster, addresses })
        });
        let master = master.unwrap_or_else(|| {
            let addresses = membership.member(leader).map(|member| member.quorum.clone()).unwrap_or_default();
            Master { server: leader, port: PeerPort::Quorum, addresses }
        });
        self.current = Some(master.server);
        master
    }

    /// Whether observers learn from others than the leader.
    pub(super) const fn are_sought(&self) -> bool {
        self.port.is_some()
    }

    /// Whether there is one to try that passes on what the leader says, and was not tried since one served.
    pub(super) fn has_untried(&mut self, membership: &Membership, leader: ServerId, observer: bool) -> bool {
        self.port.is_some() && observer && self.tried < self.candidates(membership, leader)
    }

    /// How many voters do not lead.
    fn candidates(&mut self, membership: &Membership, leader: ServerId) -> usize {
        let mut known = self.order.clone();
        known.sort_unstable();
        if !membership.voters().eq(known) {
            self.draw(membership);
        }
        self.order.iter().filter(|&&server| server != leader).count()
    }

    /// The next voter that does not lead; none if all were tried.
    fn next_voter(&mut self, membership: &Membership, leader: ServerId) -> Option<ServerId> {
        if self.tried >= self.candidates(membership, leader) {
            self.tried = 0;
            return None;
        }
        self.tried += 1;
        let mut ahead = self.order.iter().copied().enumerate().cycle().skip(self.at).take(self.order.len());
        let (place, server) = ahead.find(|&(_, server)| server != leader)?;
        self.at = (place + 1) % self.order.len();
        Some(server)
    }

    fn draw(&mut self, membership: &Membership) {
        (self.at, self.tried) = (0, 0);
        self.order = membership.voters().collect();
        for at in (1..self.order.len()).rev() {
            let other = self.rng.next_u64() % (at as u64 + 1);
            self.order.swap(at, other as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::testing::cluster::members;

    fn of(server: i64, port: PeerPort) -> Master {
        let number = if port == PeerPort::ObserverMaster { 2191 } else { 2888 };
        let host = alloc::format!("node{server}");
        Master { server: ServerId(server), port, addresses: vec![Address { host, port: number }] }
    }

    #[test]
    fn obs_master_every_voter_is_tried_then_the_leader() {
        let mut orders = BTreeSet::new();
        for seed in 0..40 {
            let mut masters = Masters::new(Some(2191), [seed; 32]);
            let membership = members(4, 1);
            let leader = ServerId(3);
            let mut first = Vec::new();
            for round in 0..3 {
                let mut tried = Vec::new();
                for _ in 0..3 {
                    assert!(masters.has_untried(&membership, leader, true));
                    let master = masters.next(&membership, leader, true);
                    assert_eq!(master, of(master.server.0, PeerPort::ObserverMaster));
                    assert_eq!(masters.current(), Some(master.server));
                    tried.push(master.server.0);
                }
                let mut sorted = tried.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, [1, 2, 4]);
                assert_eq!(masters.next(&membership, leader, true), of(3, PeerPort::Quorum));
                if round == 0 {
                    first.clone_from(&tried);
                }
                assert_eq!(tried, first, "in the same order every time");
            }
            orders.insert(first.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        assert_eq!(orders.len(), 6, "every order is drawn");
    }

    /// Who served is the last one that is asked again, and the leader only after that.
    #[test]
    fn obs_master_that_was_lost_is_asked_behind_the_others() {
        let mut masters = Masters::new(Some(2191), [1; 32]);
        let membership = members(4, 1);
        let mut next = |leader| masters.next(&membership, ServerId(leader), true);
        let (first, second) = (next(4).server, next(4).server);
        let third = next(4).server;
        masters.on_serving();
        let mut next = |leader| masters.next(&membership, ServerId(leader), true);
        let found: Vec<ServerId> = (0..4).map(|_| next(4).server).collect();
        assert_eq!(found, [first, second, third, ServerId(4)]);
        // Another one leads: the one before is a voter like the others.
        let found: BTreeSet<i64> = (0..3).map(|_| next(1).server.0).collect();
        assert_eq!((found, next(1)), (BTreeSet::from([2, 3, 4]), of(1, PeerPort::Quorum)));
    }

    #[test]
    fn obs_master_only_observers_that_are_told_to_look_for_one() {
        let membership = members(3, 1);
        for (port, observer) in [(None, true), (Some(2191), false), (None, false)] {
            let mut masters = Masters::new(port, [1; 32]);
            for _ in 0..3 {
                assert!(!masters.has_untried(&membership, ServerId(1), observer));
                assert_eq!(masters.next(&membership, ServerId(1), observer), of(1, PeerPort::Quorum));
            }
        }
        let mut masters = Masters::new(Some(2191), [1; 32]);
        assert_eq!(masters.next(&members(1, 1), ServerId(1), true), of(1, PeerPort::Quorum));
        let master = masters.next(&members(2, 1), ServerId(1), true);
        assert_eq!(master, of(2, PeerPort::ObserverMaster), "the voters changed");
    }
}
