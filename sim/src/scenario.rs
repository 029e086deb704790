//! Named situations in a few lines: a world in which nothing goes wrong by itself, and words for what does.
//!
//! ```
//! use sim::scenario::{Scenario, create};
//!
//! Scenario::run(|it| {
//!     it.ask(0, create("/a"));
//!     it.answered();
//!     it.power_failure();
//!     it.start();
//!     it.expect_node("/a");
//! });
//! ```
//!
//! A scenario draws its picture if it is asked to: see [`crate::picture::scene`].

use std::fmt;
use std::time::Duration;

use zabra_core::store::FileName;
use zabra_core::types::{AclList, Zxid};

use crate::check::Violation;
use crate::client::SimClient;
use crate::ending::Crash;
use crate::marks::Mark;
use crate::op::{Mode, Op};
use crate::options::Options;
use crate::picture::scene::Scene;
use crate::places::{ClientId, NodeId};
use crate::rt;
use crate::seed::Seed;
use crate::world::World;

/// How long a scenario waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

const NODE: NodeId = NodeId(0);

/// A world with one server, and clients that do as they are told.
#[derive(Debug)]
pub struct Scenario {
    world: World,
    /// The picture that is drawn, if one is.
    scene: Option<Scene>,
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if let Some(scene) = self.scene.take() {
            scene.finish(&mut self.world);
        }
    }
}

impl Scenario {
    /// Plays a scenario with one client, and ends it by bringing the world to rest.
    ///
    /// # Panics
    /// If anything goes wrong that the scenario does not expect.
    pub fn run(play: impl FnOnce(&mut Self) + Send) {
        Self::with(Options::calm(), play);
    }

    /// Likewise with a profile of its own.
    ///
    /// # Panics
    /// If anything goes wrong that the scenario does not expect.
    pub fn with(options: Options, play: impl FnOnce(&mut Self) + Send) {
        let scene = Scene::asked_for();
        rt::enter(Seed(1), || {
            let mut it = Self { world: World::with_options(Seed(1), options), scene };
            if let Some(scene) = &it.scene {
                scene.begin(&mut it.world);
            }
            for index in 0..it.world.options().clients {
                it.world.client_mut(ClientId(index)).follow_script();
            }
            it.wait("the server to serve", |world| world.node(NODE).is_up());
            it.wait("the clients to connect", |world| world.clients().all(SimClient::is_up));
            play(&mut it);
            let end = it.world.heal().and_then(|()| it.world.rest());
            it.fine(end);
        });
    }

    /// Whatever has no word here.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// A client is to make a request, after those it was told of before.
    pub fn ask(&mut self, client: usize, op: Op) {
        self.world.client_mut(ClientId(client)).ask(op);
    }

    /// Waits until every request is answered.
    pub fn answered(&mut self) {
        self.wait("answers", |world| world.clients().all(|client| client.outstanding() == 0));
    }

    /// Waits until every client is back and has its requests answered.
    pub fn answered_again(&mut self) {
        self.wait("clients and answers", |world| {
            world.clients().all(|client| client.is_up() && client.outstanding() == 0)
        });
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it is not so after half a minute.
    pub fn wait(&mut self, what: &str, mut is_so: impl FnMut(&World) -> bool) {
        let came = self.world.run_while(PATIENCE, |world| !is_so(world));
        let came = self.fine(came);
        assert!(came, "{PATIENCE:?} passed, waiting for {what}; {}", self.tail());
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let verdict = self.world.run_for(time);
        self.fine(verdict);
    }

    /// The power fails; what was not synced is lost.
    pub fn power_failure(&mut self) {
        let verdict = self.world.crash(NODE, Crash::Unpowered);
        self.fine(verdict);
    }

    /// The process is killed; the operating system keeps what it was given.
    pub fn kill(&mut self) {
        let verdict = self.world.crash(NODE, Crash::Killed);
        self.fine(verdict);
    }

    /// Starts the server again and waits until it serves.
    pub fn start(&mut self) {
        let verdict = self.world.start(NODE);
        self.fine(verdict);
        self.wait("the server to serve", |world| world.node(NODE).is_up());
    }

    /// Starts the server again, which must refuse.
    pub fn start_refused(&mut self) {
        self.world.node_mut(NODE).is_damaged = true;
        self.world.stays_down = true;
        let verdict = self.world.boot(NODE);
        self.fine(verdict);
        self.wait("the server to refuse", |world| world.node(NODE).is_down());
        self.world.stays_down = false;
    }

    /// Cuts a client's connection; it comes back by itself.
    pub fn disconnect(&mut self, client: usize) {
        let verdict = self.world.disconnect(ClientId(client));
        self.fine(verdict);
    }

    /// The newest log file, by the zxid in its name.
    ///
    /// # Panics
    /// If there is none.
    pub fn newest_log(&self) -> FileName {
        let logs = self.world.node(NODE).disk.files().filter_map(|(file, _)| {
            let zxid = i64::from_str_radix(file.name.strip_prefix("log.")?, 16).ok()?;
            Some((zxid, file.clone()))
        });
        logs.max().expect("a server that wrote has a log").1
    }

    /// The content of a file.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn content(&self, file: &FileName) -> Vec<u8> {
        let found = self.world.node(NODE).disk.files().find(|(name, _)| *name == file);
        found.expect("the file is there").1.to_vec()
    }

    /// A znode is there. (That the server agrees is checked all the time.)
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

    /// The last transaction that is there for good.
    pub fn last_zxid(&self) -> Zxid {
        self.world.model().last()
    }

    fn fine<T>(&self, verdict: Result<T, Violation>) -> T {
        match verdict {
            Ok(value) => value,
            Err(violation) => panic!("{violation}; {}", self.tail()),
        }
    }

    fn tail(&self) -> Tail<'_> {
        Tail(&self.world)
    }
}

/// The last records of a world, for a panic's message.
struct Tail<'a>(&'a World);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the last records:")?;
        self.0.history().last().try_for_each(|record| writeln!(f, "  {record}"))
    }
}

/// A request for a plain znode.
pub fn create(path: &str) -> Op {
    create_as(path, Mode::Persistent)
}

/// A request for a znode of any kind.
pub fn create_as(path: &str, mode: Mode) -> Op {
    let acl = AclList::OpenUnsafe;
    Op::Create { path: path.into(), data: b"data".to_vec(), mode, acl, with_stat: false }
}

/// A request to replace data.
pub fn set(path: &str, data: &[u8]) -> Op {
    Op::SetData { path: path.into(), data: data.to_vec(), version: -1 }
}

/// A request for data that leaves a watch.
pub fn watch(path: &str) -> Op {
    Op::GetData { path: path.into(), watch: true }
}
