//! Named situations of an ensemble: words for what happens to its servers, each called by its number, from 1 on.
//!
//! ```
//! use sim::cluster::Cluster;
//!
//! Cluster::run(3, |it| {
//!     let leader = it.leader();
//!     it.write("/a");
//!     it.power_failure(leader);
//!     let next = it.leader();
//!     assert_ne!(next, leader);
//!     it.start(leader);
//!     it.write("/b");
//! });
//! ```
//!
//! Every client talks to the server that it is told to, or to whichever it finds. What must hold is checked all the
//! time; at the end everything is mended, and the world must come to rest.
//!
//! | file | words for |
//! |---|---|
//! | this one | servers that stop, start and are cut off; requests; what must be so |
//! | `steps` | the finer steps: up to a message and no further, what is held back, what is on a disk |
//! | `plots` | what many scenarios do: who is there in the beginning, who falls behind, what must be left in the end |
//!
//! A scenario draws its picture if it is asked to: see [`crate::picture::scene`].

pub mod plots;
mod steps;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use zabra_core::server::Role;

use crate::arena::Arena;
use crate::client::SimClient;
use crate::clock::SimTime;
use crate::ending::Crash;
use crate::node::Node;
use crate::options::Options;
use crate::places::{ClientId, NodeId, node_of, server_of};
use crate::scenario::create;
use crate::seed::{Rng, Seed};
use crate::world::World;

/// How often a scenario is played by [`Cluster::often`].
const OFTEN: u64 = 5;

/// An ensemble, and clients that do as they are told. What it has in common with a single server, it has from its
/// [`Arena`].
#[derive(Debug)]
pub struct Cluster {
    arena: Arena,
    /// How long the scenario lingers between its steps.
    rng: Rng,
}

impl Deref for Cluster {
    type Target = Arena;

    fn deref(&self) -> &Arena {
        &self.arena
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

/// The node that a server runs on, by its number.
pub const fn id_of(server: usize) -> NodeId {
    NodeId(server - 1)
}

impl Cluster {
    /// Plays a scenario with so many voters and one client, and ends it by bringing the world to rest.
    ///
    /// # Panics
    /// If anything goes wrong that the scenario does not expect.
    pub fn run(voters: usize, play: impl FnOnce(&mut Self) + Send) {
        Self::with(Options::calm_cluster(voters, 0), play);
    }

    /// Likewise with a profile of its own.
    ///
    /// # Panics
    /// If anything goes wrong that the scenario does not expect.
    pub fn with(options: Options, play: impl FnOnce(&mut Self) + Send) {
        Self::with_seed(Seed(1), options, play);
    }

    /// Likewise, some times over with other distances between the steps.
    ///
    /// # Panics
    /// If anything goes wrong that the scenario does not expect.
    pub fn often(options: &Options, play: impl Fn(&mut Self) + Sync) {
        for seed in 1..=OFTEN {
            Self::with_seed(Seed(seed), options.clone(), |it| play(it));
        }
    }

    fn with_seed(seed: Seed, options: Options, play: impl FnOnce(&mut Self) + Send) {
        Arena::enter(seed, options, |arena| {
            let mut it = Self { arena, rng: seed.stream("scenario", 0) };
            it.leader();
            play(&mut it);
            it.world.release_all();
            it.rest();
        });
    }

    /// Waits until some server that runs leads, and is followed by a quorum that runs. Answers its number.
    pub fn leader(&mut self) -> usize {
        self.wait("a leader", |world| leader_of(world).is_some());
        leader_of(&self.world).map(|id| id.0 + 1).expect("just waited for it")
    }

    /// Servers that run and do not lead, by number.
    pub fn followers(&mut self) -> Vec<usize> {
        let leader = self.leader();
        (1..=self.world.options().nodes())
            .filter(|&server| server != leader && self.node(server).is_up())
            .collect()
    }

    /// The node that a server runs on.
    pub fn node(&self, server: usize) -> &Node {
        self.world.node(id_of(server))
    }

    /// The node that a server runs on, to do something to its disk or clock.
    pub fn node_mut(&mut self, server: usize) -> &mut Node {
        self.world.node_mut(id_of(server))
    }

    /// The server leads, sooner or later.
    pub fn expect_leader(&mut self, server: usize) {
        self.wait(&format!("{} to lead", id_of(server)), |world| leader_of(world) == Some(id_of(server)));
    }

    /// The server follows or observes, sooner or later.
    pub fn expect_learner(&mut self, server: usize) {
        self.wait(&format!("{} to learn", id_of(server)), |world| {
            let role = world.node(id_of(server)).standing.map(|standing| standing.role);
            matches!(role, Some(Role::Following | Role::Observing))
        });
    }

    /// The server kills itself or is killed; what its disk was given stays.
    pub fn kill(&mut self, server: usize) {
        self.crash_node(id_of(server), Crash::Killed);
    }

    /// The power of a server fails; what was not synced is lost.
    pub fn power_failure(&mut self, server: usize) {
        self.crash_node(id_of(server), Crash::Unpowered);
    }

    /// The server is asked to stop in order.
    pub fn stop(&mut self, server: usize) {
        self.world.stop(id_of(server));
    }

    /// Starts a server again.
    pub fn start(&mut self, server: usize) {
        self.start_node(id_of(server));
    }

    /// Freezes a server for a while.
    pub fn pause(&mut self, server: usize, time: Duration) {
        let until = self.world.now() + time;
        self.node_mut(server).paused_until = until;
    }

    /// The disk of a server does nothing for a while.
    pub fn stall(&mut self, server: usize, time: Duration) {
        let until = self.world.now() + time;
        self.node_mut(server).stalled_until = until;
    }

    /// Nothing gets from one server to another.
    pub fn cut_way(&mut self, from: usize, to: usize) {
        self.world.cut(id_of(from), id_of(to), SimTime::FOREVER);
    }

    /// Nothing gets from one server to another, nor back.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut_way(one, other);
        self.cut_way(other, one);
    }

    /// Servers do not hear of those in other groups.
    pub fn partition(&mut self, groups: &[&[usize]]) {
        let groups: Vec<Vec<NodeId>> =
            groups.iter().map(|group| group.iter().map(|&server| id_of(server)).collect()).collect();
        self.world.partition(&groups, SimTime::FOREVER);
    }

    /// Everything gets everywhere again.
    pub fn mend(&mut self) {
        self.world.mend_all();
    }

    /// Lets a client connect to one server only, and moves it there.
    pub fn connect(&mut self, client: usize, server: usize) {
        self.world.set_homes(ClientId(client), vec![id_of(server)]);
        self.disconnect(client);
        self.wait("the client to connect", |world| world.client(ClientId(client)).is_up());
    }

    /// Waits until every request is answered, but for those of clients that are gone.
    pub fn answered(&mut self) {
        self.wait("answers", |world| {
            let is_done = |client: &SimClient| client.is_up() && client.outstanding() == 0;
            world.clients().filter(|client| !client.is_mute()).all(is_done)
        });
    }

    /// The first client creates a znode, again and again as long as its connection is lost before it is answered.
    pub fn write(&mut self, path: &str) {
        for _ in 0..10 {
            self.ask(0, create(path));
            self.answered();
            if self.world.model().node(path).is_some() {
                return;
            }
        }
        self.expect_node(path);
    }

    /// Waits until every server that runs has on its disk all that is committed.
    pub fn caught_up(&mut self) {
        self.wait("servers to catch up", |world| {
            let last = world.model().last();
            (0..world.options().nodes())
                .map(|index| world.node(NodeId(index)))
                .all(|node| !node.is_up() || node.tap.durable() >= last)
        });
    }
}

/// The server that leads, as far as it and a quorum say so.
fn leader_of(world: &World) -> Option<NodeId> {
    let ensemble = &world.options().config.ensemble.as_ref()?.membership;
    let standing = |id: NodeId| world.node(id).standing.filter(|_| world.node(id).is_up());
    let leads = |id: &NodeId| standing(*id).is_some_and(|standing| standing.role == Role::Leading);
    let supports = |id: NodeId, leader: NodeId| {
        standing(id).is_some_and(|standing| standing.leader.is_some_and(|named| node_of(named) == leader))
    };
    let all = || (0..world.options().nodes()).map(NodeId);
    all().filter(leads).find(|&leader| {
        ensemble.has_quorum(&all().filter(|&id| supports(id, leader)).map(server_of).collect())
    })
}
