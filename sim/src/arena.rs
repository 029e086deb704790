//! What named situations are played on: a world in which nothing goes wrong by itself, its picture if one is asked for,
//! and the words that are the same for one server and for several.

use std::fmt;
use std::time::Duration;

use crate::check::Violation;
use crate::ending::Crash;
use crate::marks::Mark;
use crate::op::Op;
use crate::options::Options;
use crate::picture::scene::Scene;
use crate::places::{ClientId, NodeId};
use crate::rt;
use crate::seed::Seed;
use crate::world::World;

/// How long a scenario waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world, and clients that do as they are told. A [`Scenario`](crate::scenario::Scenario) and a
/// [`Cluster`](crate::cluster::Cluster) each stand on one, and have its words beside their own.
#[derive(Debug)]
pub struct Arena {
    pub(crate) world: World,
    /// The picture that is drawn, if one is.
    scene: Option<Scene>,
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(scene) = self.scene.take() {
            scene.finish(&mut self.world);
        }
    }
}

impl Arena {
    /// Makes a world and plays on it.
    pub(crate) fn enter(seed: Seed, options: Options, play: impl FnOnce(Self) + Send) {
        let scene = Scene::asked_for();
        rt::enter(seed, || {
            let mut world = World::with_options(seed, options);
            if let Some(scene) = &scene {
                scene.begin(&mut world);
            }
            for index in 0..world.options().clients {
                world.client_mut(ClientId(index)).follow_script();
            }
            play(Self { world, scene });
        });
    }

    /// Brings the world to rest.
    pub(crate) fn rest(&mut self) {
        let end = self.world.heal().and_then(|()| self.world.rest());
        self.fine(end);
    }

    /// Whatever has no word here.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// A client is to make a request, after those it was told of before.
    pub fn ask(&mut self, client: usize, op: Op) {
        self.world.client_mut(ClientId(client)).ask(op);
    }

    /// Cuts a client's connection; it comes back by itself.
    pub fn disconnect(&mut self, client: usize) {
        let verdict = self.world.disconnect(ClientId(client));
        self.fine(verdict);
    }

    /// Ends a process.
    pub(crate) fn crash_node(&mut self, node: NodeId, how: Crash) {
        let verdict = self.world.crash(node, how);
        self.fine(verdict);
    }

    /// Starts a process on a node that has none.
    pub(crate) fn start_node(&mut self, node: NodeId) {
        let verdict = self.world.start(node);
        self.fine(verdict);
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let verdict = self.world.run_for(time);
        self.fine(verdict);
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it is not so after a minute.
    pub fn wait(&mut self, what: &str, mut is_so: impl FnMut(&World) -> bool) {
        let came = self.world.run_while(PATIENCE, |world| !is_so(world));
        let came = self.fine(came);
        assert!(came, "{PATIENCE:?} passed, waiting for {what}; {}", self.tail());
    }

    /// A znode is there. (That servers agree is checked all the time.)
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_node(&self, path: &str) {
        assert!(self.world.model().node(path).is_some(), "{path} is not there; {}", self.tail());
    }

    /// A znode is not there.
    ///
    /// # Panics
    /// If it is.
    pub fn expect_no_node(&self, path: &str) {
        assert!(self.world.model().node(path).is_none(), "{path} is there; {}", self.tail());
    }

    /// The scenario has come to something that random runs need not come to.
    ///
    /// # Panics
    /// If it has not.
    pub fn expect_reached(&self, mark: Mark) {
        assert!(self.world.reached().count(mark) > 0, "{mark:?} is not reached; {}", self.tail());
    }

    /// What must not fail. A violation ends the scenario.
    pub(crate) fn fine<T>(&self, verdict: Result<T, Violation>) -> T {
        match verdict {
            Ok(value) => value,
            Err(violation) => panic!("{violation}; {}", self.tail()),
        }
    }

    /// The last records, for a panic's message.
    pub(crate) const fn tail(&self) -> Tail<'_> {
        Tail(&self.world)
    }
}

/// The last records of a world, for a panic's message.
pub(crate) struct Tail<'a>(pub(crate) &'a World);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, the last records:", self.0.seed())?;
        self.0.history().last().try_for_each(|record| writeln!(f, "  {record}"))
    }
}
