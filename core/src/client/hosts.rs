//! Which server is tried next: each in turn, in an order of this client's own, with a pause after a whole round in vain
//! (PARITY `cl.hostprovider`). The shuffle spreads the clients of one configuration over its servers.

use alloc::vec::Vec;

use rand_chacha::ChaCha12Rng;
use rand_core::RngCore;

use crate::types::Address;

/// The servers, and how far the round has come.
#[derive(Debug)]
pub(super) struct Hosts {
    servers: Vec<Address>,
    /// The one tried next.
    next: usize,
    /// How many this round has tried. The server that was connected last counts.
    tried: usize,
    /// A server that is known to serve; it is tried before the others.
    preferred: Option<usize>,
}

/// A server to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Which.
    pub server: usize,
    /// Whether all others have been tried in vain since the last success.
    pub after_round: bool,
}

impl Hosts {
    /// These servers in an order drawn from `rng`.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(mut servers: Vec<Address>, rng: &mut ChaCha12Rng) -> Self {
        assert!(!servers.is_empty(), "a client needs a server to connect to");
        for last in (1..servers.len()).rev() {
            servers.swap(last, below(rng, last as u64 + 1) as usize);
        }
        Self { servers, next: 0, tried: 0, preferred: None }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.servers.len()
    }

    /// Where this one listens.
    pub fn address(&self, server: usize) -> &Address {
        &self.servers[server]
    }

    /// The server to try next.
    pub fn choose(&mut self) -> Choice {
        if let Some(server) = self.preferred.take() {
            return Choice { server, after_round: false };
        }
        let after_round = self.tried == self.servers.len();
        if after_round {
            self.tried = 0;
        }
        self.tried += 1;
        Choice { server: self.step(), after_round }
    }

    /// The next server in the order, without regard to rounds.
    pub fn step(&mut self) -> usize {
        let server = self.next;
        self.next = (server + 1) % self.servers.len();
        server
    }

    /// The session is attached: a new round begins behind this server.
    pub const fn connected(&mut self) {
        self.tried = 1;
    }

    /// This server is tried next.
    pub const fn prefer(&mut self, server: usize) {
        self.preferred = Some(server);
    }
}

/// A number below `bound`, every one nearly as likely: the bias is below 2⁻³² for the small bounds used here.
pub(super) fn below(rng: &mut ChaCha12Rng, bound: u64) -> u64 {
    if bound == 0 { 0 } else { rng.next_u64() % bound }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::rng::{self, Stream};

    fn hosts(count: usize, seed: u8) -> Hosts {
        let server = |number| Address { host: format!("h{number}"), port: 1 };
        Hosts::new((0..count).map(server).collect(), &mut rng::stream([seed; 32], Stream::Connect))
    }

    /// PARITY `cl.hostprovider`: each server once a round, and a pause before the round is repeated.
    #[test]
    fn cl_hostprovider() {
        for count in 1..5 {
            let mut hosts = hosts(count, 3);
            for round in 0..3 {
                let choices: Vec<Choice> = (0..count).map(|_| hosts.choose()).collect();
                let servers: BTreeSet<usize> = choices.iter().map(|choice| choice.server).collect();
                assert_eq!(servers.len(), count);
                let pauses: Vec<bool> = choices.iter().map(|choice| choice.after_round).collect();
                assert_eq!(pauses, [vec![round > 0], vec![false; count - 1]].concat());
            }
            // The server that was connected comes last, after a pause.
            let connected = hosts.choose().server;
            hosts.connected();
            for _ in 1..count {
                let choice = hosts.choose();
                assert!(choice.server != connected && !choice.after_round);
            }
            assert_eq!(hosts.choose(), Choice { server: connected, after_round: true });
            hosts.prefer(connected);
            assert_eq!(hosts.choose(), Choice { server: connected, after_round: false });
        }
    }

    /// Orders differ between seeds, never within one, and lose no server.
    #[test]
    fn shuffled() {
        let order = |seed| hosts(5, seed).servers;
        assert_eq!(order(1), order(1));
        let orders: BTreeSet<Vec<Address>> = (0..100).map(order).collect();
        assert!(orders.len() > 30);
        for order in orders {
            assert_eq!(order.into_iter().collect::<BTreeSet<_>>().len(), 5);
        }
    }
}
