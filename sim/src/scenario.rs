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

use std::ops::{Deref, DerefMut};

use zabra_core::store::FileName;
use zabra_core::types::{AclList, Zxid};

use crate::arena::Arena;
use crate::client::SimClient;
use crate::ending::Crash;
use crate::op::{Mode, Op};
use crate::options::Options;
use crate::places::NodeId;
use crate::seed::Seed;

const NODE: NodeId = NodeId(0);

/// A world with one server, and clients that do as they are told. What it has in common with others, it has from its
/// [`Arena`].
#[derive(Debug)]
pub struct Scenario {
    arena: Arena,
}

impl Deref for Scenario {
    type Target = Arena;

    fn deref(&self) -> &Arena {
        &self.arena
    }
}

impl DerefMut for Scenario {
    fn deref_mut(&mut self) -> &mut Arena {
        &mut self.arena
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
        Arena::enter(Seed(1), options, |arena| {
            let mut it = Self { arena };
            it.wait("the server to serve", |world| world.node(NODE).is_up());
            it.wait("the clients to connect", |world| world.clients().all(SimClient::is_up));
            play(&mut it);
            it.rest();
        });
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

    /// The power fails; what was not synced is lost.
    pub fn power_failure(&mut self) {
        self.crash_node(NODE, Crash::Unpowered);
    }

    /// The process is killed; the operating system keeps what it was given.
    pub fn kill(&mut self) {
        self.crash_node(NODE, Crash::Killed);
    }

    /// Starts the server again and waits until it serves.
    pub fn start(&mut self) {
        self.start_node(NODE);
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

    /// The last transaction that is there for good.
    pub fn last_zxid(&self) -> Zxid {
        self.world.model().last()
    }
}

/// A request for a plain znode.
pub fn create(path: &str) -> Op {
    create_as(path, Mode::Persistent)
}

/// A request for a znode of any kind.
pub fn create_as(path: &str, mode: Mode) -> Op {
    let acl = AclList::OpenUnsafe;
    Op::Create { path: path.into(), data: Some(b"data".to_vec()), mode, acl, with_stat: false }
}

/// A request to replace data.
pub fn set(path: &str, data: &[u8]) -> Op {
    Op::SetData { path: path.into(), data: Some(data.to_vec()), version: -1 }
}

/// A request for data that leaves a watch.
pub fn watch(path: &str) -> Op {
    Op::GetData { path: path.into(), watch: true }
}
