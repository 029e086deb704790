//! Words for the finer steps of a scenario: up to a point of the protocol and no further, what is held back there, what
//! is on a disk, and what a client is told.

use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::store::{DiskOp, FileName, epochs};
use zabra_core::types::{Message, Zxid};

use super::{Cluster, id_of};
use crate::arena::Tail;
use crate::history::{Kept, Observed};
use crate::op::{Answer, Op};
use crate::places::ClientId;
use crate::scenario::{create, set};
use crate::world::World;

impl Cluster {
    /// Lets time pass up to the moment at which something is seen.
    ///
    /// # Panics
    /// If it is not seen within a minute.
    pub fn until(&mut self, what: &str, mut is_it: impl FnMut(&Observed) -> bool) {
        let mut seen = self.world.history().count();
        self.wait(what, |world| {
            let found = world.history().since(seen).any(|record| is_it(&record.what));
            seen = world.history().count();
            found
        });
    }

    /// Up to the moment at which a server says something to another. It is on its way then.
    pub fn until_said(&mut self, from: usize, to: usize, of: impl Fn(&Message) -> bool) {
        self.until(&format!("{} to say something to {}", id_of(from), id_of(to)), |what| match what {
            Observed::Said { node: by, to: other, message, .. } => {
                (*by, *other) == (id_of(from), id_of(to)) && of(message)
            }
            _ => false,
        });
    }

    /// Up to the moment at which the disk of a server has something behind a transaction for good.
    pub fn until_durable_behind(&mut self, server: usize, zxid: Zxid) {
        self.wait(&format!("{} to have something behind {zxid}", id_of(server)), |world| {
            world.node(id_of(server)).tap.durable() > zxid
        });
    }

    /// A leader that nobody hears of any more logs the creation of a znode, which is never committed there.
    pub fn log_alone(&mut self, leader: usize, path: &str) {
        self.connect(0, leader);
        let last = self.kept(leader).durable;
        let others: Vec<usize> = self.servers().filter(|&server| server != leader).collect();
        self.partition(&[&[leader], &others]);
        self.ask(0, create(path));
        self.until_durable_behind(leader, last);
        self.roam(0);
    }

    /// Lets a client connect to any server from its next connection on.
    pub fn roam(&mut self, client: usize) {
        let all = self.servers().map(id_of).collect();
        self.world.set_homes(ClientId(client), all);
    }

    /// The epoch that the leader leads in.
    pub fn epoch(&mut self) -> i64 {
        let leader = self.leader();
        self.node(leader).standing.map(|standing| standing.epoch).expect("it leads")
    }

    /// Many writes of one client, of which not all need be answered when this returns.
    pub fn ask_for_many(&mut self, client: usize, path: &str, count: usize) {
        for index in 0..count {
            self.ask(client, set(path, format!("{index}").as_bytes()));
        }
    }

    /// Lets time pass, in which a server must not say something to another.
    ///
    /// # Panics
    /// If it does.
    pub fn never_said(&mut self, time: Duration, from: usize, to: usize, of: impl Fn(&Message) -> bool) {
        let end = self.world.now() + time;
        let mut seen = self.world.history().count();
        let mut said = None;
        self.wait("time to pass", |world| {
            for record in world.history().since(seen) {
                if let Observed::Said { node: by, to: other, message, .. } = &record.what
                    && (*by, *other) == (id_of(from), id_of(to))
                    && of(message)
                {
                    said = Some(record.to_string());
                }
            }
            seen = world.history().count();
            said.is_some() || world.now() >= end
        });
        assert_eq!(said, None, "it must not be said; {}", self.tail());
    }

    /// Holds messages of a kind back on their way, and all behind them, until [`Cluster::let_go`].
    pub fn hold(&mut self, from: usize, to: usize, of: fn(&Message) -> bool) {
        self.world.hold_messages(id_of(from), id_of(to), of);
    }

    /// Holds requests of a kind back from a disk, and all behind them in their stream, until [`Cluster::let_go`].
    pub fn hold_disk(&mut self, server: usize, of: fn(&DiskOp) -> bool) {
        self.world.hold_disk(id_of(server), of);
    }

    /// Holds nothing back any more, and mends what was cut.
    pub fn let_go(&mut self) {
        self.world.release_all();
        self.world.mend_all();
    }

    /// Lets a disk go on.
    pub fn let_disk_go(&mut self, server: usize) {
        self.world.release_disk(id_of(server));
    }

    /// A short while, drawn from the seed.
    pub fn linger(&mut self) {
        let time = self.rng.duration(Duration::ZERO, Duration::from_millis(20));
        self.pass(time);
    }

    /// The power of all servers fails at one moment.
    pub fn power_failure_of_all(&mut self) {
        for server in self.servers() {
            self.power_failure(server);
        }
    }

    /// Starts all servers that do not run.
    pub fn start_all(&mut self) {
        for server in self.servers() {
            self.start(server);
        }
    }

    /// All servers, by number.
    pub fn servers(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.world.options().nodes()
    }

    /// The leader and those who do not lead, in ascending order.
    ///
    /// # Panics
    /// If there are not as many of them as the scenario has names for.
    pub fn cast<const N: usize>(&mut self) -> (usize, [usize; N]) {
        let leader = self.leader();
        for server in self.servers().filter(|&server| server != leader) {
            self.expect_learner(server);
        }
        (leader, self.followers().try_into().expect("a name for each"))
    }

    /// Has everybody begin anew until a server leads that is preferred for its id.
    ///
    /// # Panics
    /// If it never does.
    pub fn lead(&mut self, server: usize) {
        for _ in 0..10 {
            if self.leader() == server {
                return;
            }
            self.caught_up();
            for other in self.servers() {
                self.kill(other);
            }
            self.start_with(server);
        }
        self.expect_leader(server);
    }

    /// Starts all servers that do not run, and one of them early enough to be there when the others vote.
    pub fn start_with(&mut self, first: usize) {
        self.start(first);
        self.pass(Duration::from_millis(50));
        self.start_all();
    }

    /// What a power failure at this moment would leave of a server.
    pub fn kept(&self, server: usize) -> Kept {
        self.node(server).kept()
    }

    /// What a server does, as it said last.
    pub fn role(&self, server: usize) -> Option<Role> {
        role_of(&self.world, server)
    }

    /// Waits until a server neither leads nor follows.
    pub fn until_looking(&mut self, server: usize) {
        self.wait(&format!("{} to look for a leader", id_of(server)), |world| {
            !matches!(role_of(world, server), Some(Role::Leading | Role::Following | Role::Observing))
        });
    }

    /// Nobody leads for a while.
    ///
    /// # Panics
    /// If somebody does.
    pub fn expect_no_leader(&mut self, time: Duration) {
        let end = self.world.now() + time;
        self.wait("time to pass", |world| {
            let leads = |&index: &usize| role_of(world, index) == Some(Role::Leading);
            let leader = (1..=world.options().nodes()).find(leads);
            assert_eq!(leader, None, "it leads; {}", Tail(world));
            world.now() >= end
        });
    }

    /// Whether a server that stops by itself stays down until it is started.
    pub fn keep_down(&mut self, keeps: bool) {
        self.world.stays_down = keeps;
    }

    /// Writes a number into an epoch file of a server that does not run.
    pub fn set_epoch(&mut self, server: usize, name: &str, epoch: i64) {
        let bytes = epochs::encode(epoch);
        self.node_mut(server).disk.put(epochs::epoch_file(name), bytes.as_bytes());
    }

    /// The files of a server whose names begin so, as the operating system shows them.
    pub fn files(&self, server: usize, prefix: &str) -> Vec<FileName> {
        let files = self.node(server).disk.files();
        files.map(|(file, _)| file.clone()).filter(|file| file.name.starts_with(prefix)).collect()
    }

    /// Removes files of a server that does not run, those whose names begin so.
    pub fn take_files(&mut self, server: usize, prefix: &str) {
        for file in self.files(server, prefix) {
            self.node_mut(server).disk.take(&file);
        }
    }

    /// What a client is told, when it asks for something.
    ///
    /// # Panics
    /// If it is told nothing within a minute.
    pub fn call(&mut self, client: usize, op: Op) -> Answer {
        self.try_call(client, op).expect("the connection stands")
    }

    /// Likewise; nothing, if the connection is lost before.
    fn try_call(&mut self, client: usize, op: Op) -> Option<Answer> {
        self.ask(client, op.clone());
        let mut answer = None;
        self.until(&format!("an answer to {op}"), |what| match what {
            Observed::Answered { client: by, op: asked, answer: got, .. }
                if *by == ClientId(client) && **asked == op =>
            {
                answer = Some(got.clone());
                true
            }
            Observed::Disconnected { client: by } => *by == ClientId(client),
            _ => false,
        });
        answer
    }

    /// Whether a client is told that a znode is there, by a server that was brought up to date before.
    ///
    /// # Panics
    /// If it is told nothing however often it asks.
    pub fn sees(&mut self, client: usize, path: &str) -> bool {
        for _ in 0..10 {
            self.answered();
            if self.try_call(client, Op::Sync { path: "/".into() }).is_none() {
                continue;
            }
            self.answered();
            let read = Op::Exists { path: path.into(), watch: false };
            if let Some(answer) = self.try_call(client, read) {
                return answer.is_ok();
            }
        }
        panic!("no answer about {path}; {}", self.tail());
    }

    /// The server leads, follows or observes, sooner or later.
    pub fn expect_serving(&mut self, server: usize) {
        self.wait(&format!("{} to serve", id_of(server)), |world| {
            matches!(role_of(world, server), Some(Role::Leading | Role::Following | Role::Observing))
        });
    }
}

fn role_of(world: &World, server: usize) -> Option<Role> {
    world.node(id_of(server)).standing.map(|standing| standing.role)
}
