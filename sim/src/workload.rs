//! What clients ask for: random requests about few znodes, so that they meet, conflict and fail as often as not.

use zabra_core::types::{Acl, AclList, Id, Perms, WatcherType};

use crate::model::acl;
use crate::op::{Mode, Op};
use crate::options::WorkloadProfile;
use crate::seed::Rng;

/// How often each kind of request is made, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Create a plain znode.
    pub create: u32,
    /// Create a numbered one.
    pub create_sequential: u32,
    /// Create one that goes with its session.
    pub create_ephemeral: u32,
    /// Delete.
    pub delete: u32,
    /// Replace data.
    pub set_data: u32,
    /// Several writes at once.
    pub multi: u32,
    /// Read.
    pub read: u32,
    /// Sync.
    pub sync: u32,
    /// Prove to be somebody, and say who may do what.
    pub acl: u32,
    /// Create a container or a TTL node.
    pub fleeting: u32,
    /// Watch until told otherwise, and tell otherwise.
    pub watch: u32,
    /// What is rarely asked.
    pub rare: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            create: 15,
            create_sequential: 5,
            create_ephemeral: 5,
            delete: 10,
            set_data: 15,
            multi: 10,
            read: 40,
            sync: 3,
            acl: 0,
            fleeting: 0,
            watch: 0,
            rare: 0,
        }
    }
}

impl Weights {
    /// A mix of its own for each seed: each kind is rare, usual or frequent, and reads are always there.
    pub fn swarm(rng: &mut Rng) -> Self {
        // Syncs that overtake each other take many of them.
        let more_syncs = *rng.pick(&[1, 1, 1, 1, 1, 1, 1, 16]);
        let mut scale = |weight: u32| weight * *rng.pick(&[0, 1, 1, 4]);
        let usual = Self::default();
        Self {
            create: scale(usual.create) + 1,
            create_sequential: scale(usual.create_sequential),
            create_ephemeral: scale(usual.create_ephemeral),
            delete: scale(usual.delete),
            set_data: scale(usual.set_data),
            multi: scale(usual.multi),
            read: scale(usual.read) + 5,
            sync: scale(usual.sync) * more_syncs,
            acl: scale(4),
            fleeting: scale(5),
            watch: scale(3),
            rare: scale(4),
        }
    }

    /// The weight of each kind. Their order decides what a draw stands for.
    const fn of_kinds(self) -> [(Kind, u32); 12] {
        [
            (Kind::Write(Write::Create), self.create),
            (Kind::Write(Write::CreateSequential), self.create_sequential),
            (Kind::Write(Write::CreateEphemeral), self.create_ephemeral),
            (Kind::Write(Write::Delete), self.delete),
            (Kind::Write(Write::SetData), self.set_data),
            (Kind::Multi, self.multi),
            (Kind::Read, self.read),
            (Kind::Sync, self.sync),
            (Kind::Acl, self.acl),
            (Kind::Fleeting, self.fleeting),
            (Kind::Watch, self.watch),
            (Kind::Rare, self.rare),
        ]
    }
}

/// What kind of request: see [`Weights`].
#[derive(Clone, Copy, Debug)]
enum Kind {
    Acl,
    Fleeting,
    Multi,
    Rare,
    Read,
    Sync,
    Watch,
    Write(Write),
}

/// What kind of write, by itself or as a part of several.
#[derive(Clone, Copy, Debug)]
enum Write {
    Create,
    CreateEphemeral,
    CreateSequential,
    Delete,
    SetData,
}

impl Write {
    /// All there are. Their order decides what a draw stands for.
    const ALL: [Self; 5] =
        [Self::Create, Self::CreateSequential, Self::CreateEphemeral, Self::Delete, Self::SetData];
}

/// Draws requests. One for each client, so that clients do not depend on each other's draws.
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Rng,
    profile: WorkloadProfile,
    /// Tells apart all values ever written, so that a read says which write it saw.
    written: u64,
    /// What was to be changed last, if anything was.
    changed: Option<String>,
    client: u64,
}

impl Workload {
    /// The requests of client `client`.
    pub fn new(rng: Rng, profile: WorkloadProfile, client: u64) -> Self {
        Self { rng, profile, written: 0, changed: None, client }
    }

    /// The next request.
    pub fn next_op(&mut self) -> Op {
        match self.rng.weighted(&self.profile.weights.of_kinds()) {
            Kind::Acl => self.access(),
            Kind::Fleeting => self.create_fleeting(),
            Kind::Multi => {
                let count = self.rng.below(5);
                Op::Multi((0..count).map(|_| self.multi_part()).collect())
            }
            Kind::Rare => self.rarely(),
            Kind::Read => self.read(),
            Kind::Sync => Op::Sync { path: self.path() },
            Kind::Watch => self.watch(),
            Kind::Write(kind) => self.write(kind),
        }
    }

    fn multi_part(&mut self) -> Op {
        if self.rng.chance(200_000) {
            let path = self.path();
            return Op::Check { path, version: self.version() };
        }
        if self.profile.weights.fleeting > 0 && self.rng.chance(150_000) {
            return self.create_fleeting();
        }
        let kind = *self.rng.pick(&Write::ALL);
        self.write(kind)
    }

    fn write(&mut self, kind: Write) -> Op {
        let path = self.path();
        self.changed = Some(path.clone());
        match kind {
            Write::Create => self.create(path, Mode::Persistent),
            Write::CreateEphemeral => self.create(path, Mode::Ephemeral),
            Write::CreateSequential => {
                let mode = *self.rng.pick(&[Mode::PersistentSequential, Mode::EphemeralSequential]);
                let path = format!("{path}-");
                self.create(path, mode)
            }
            Write::Delete => {
                let path = self.or_reserved(path);
                Op::Delete { path, version: self.version() }
            }
            Write::SetData => Op::SetData { path, data: self.data(), version: self.version() },
        }
    }

    fn create_fleeting(&mut self) -> Op {
        let ttl = self.rng.within(1, 5_000) as i64;
        let mode = *self.rng.pick(&[
            Mode::Container,
            Mode::Container,
            Mode::Ttl(ttl),
            Mode::TtlSequential(ttl),
            Mode::Ttl(0),
        ]);
        let path = self.path();
        self.create(path, mode)
    }

    fn create(&mut self, path: String, mode: Mode) -> Op {
        // Where everybody hides everything, nothing happens any more.
        let guarded = self.profile.weights.acl > 0 && self.rng.chance(150_000);
        let acl = if guarded { self.acl() } else { AclList::OpenUnsafe };
        Op::Create { path, data: self.data(), mode, acl, with_stat: self.rng.chance(500_000) }
    }

    fn access(&mut self) -> Op {
        let path = self.path();
        match self.rng.below(5) {
            0 | 1 => match *self.rng.pick(&acl::USERS) {
                _ if self.rng.chance(10_000) => Op::AddAuth { scheme: "nobody", auth: "knows:this" },
                (auth, _) => Op::AddAuth { scheme: "digest", auth },
            },
            2 => Op::GetAcl { path },
            3 => Op::SetAcl { path, acl: AclList::OpenUnsafe, version: -1 },
            _ => Op::SetAcl { path, acl: self.acl(), version: self.version() },
        }
    }

    /// Up to three entries; rarely ones that no server accepts.
    fn acl(&mut self) -> AclList {
        let mut entry = || {
            let perms = Perms(*self.rng.pick(&[31, 31, 1, 3, 19, 15, 2, 16, 28]));
            let (_, user) = *self.rng.pick(&acl::USERS);
            let id = match self.rng.below(40) {
                0 => Id::new("nobody", "knows"),
                1..=10 => Id::ANYONE,
                11..=15 => Id::new("ip", format!("10.0.0.{}", self.rng.below(4))),
                16..=25 => Id::new("auth", ""),
                _ => Id::new("digest", user),
            };
            Acl { perms, id }
        };
        let mut entries = vec![entry(), entry(), entry()];
        entries.truncate(*self.rng.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 3, 0]));
        entries.into()
    }

    fn watch(&mut self) -> Op {
        let path = self.path();
        if self.rng.chance(600_000) {
            return Op::AddWatch { path, recursive: self.rng.chance(500_000) };
        }
        let kind = *self.rng.pick(&[
            WatcherType::Any,
            WatcherType::Children,
            WatcherType::Data,
            WatcherType::Persistent,
            WatcherType::PersistentRecursive,
        ]);
        Op::RemoveWatches { path, kind }
    }

    fn rarely(&mut self) -> Op {
        match self.rng.below(4) {
            0 => Op::GetAllChildrenNumber { path: self.path() },
            1 => Op::GetEphemerals { prefix: self.path() },
            2 => Op::WhoAmI,
            _ => {
                let count = self.rng.within(1, 5);
                let mut part = || {
                    let path = self.path();
                    let watch = false;
                    if self.rng.chance(500_000) {
                        Op::GetData { path, watch }
                    } else {
                        Op::GetChildren { path, watch }
                    }
                };
                Op::MultiRead((0..count).map(|_| part()).collect())
            }
        }
    }

    fn read(&mut self) -> Op {
        let path = self.path();
        let watch = self.rng.chance(400_000);
        // Who changes something often wants to see what became of it, and to hear of the next change.
        let changed = self.changed.take();
        let (path, watch) = match changed.filter(|_| self.rng.chance(300_000)) {
            Some(changed) => (changed, true),
            None => (path, watch),
        };
        let path = self.or_reserved(path);
        match self.rng.below(3) {
            0 => Op::Exists { path, watch },
            1 => Op::GetChildren { path, watch },
            _ => Op::GetData { path, watch },
        }
    }

    /// Rarely a znode of the server's own instead.
    fn or_reserved(&mut self, path: String) -> String {
        match self.rng.chance(10_000) {
            true => (*self.rng.pick(&["/zookeeper", "/zookeeper/quota"])).into(),
            false => path,
        }
    }

    /// A directory half of the time, otherwise something in it; rarely the root.
    fn path(&mut self) -> String {
        let directory = self.rng.below(self.profile.directories);
        match self.rng.below(20) {
            0 => "/".into(),
            1..=8 => format!("/d{directory}"),
            9..=16 => format!("/d{directory}/n{}", self.rng.below(4)),
            _ => format!("/d{directory}/n{}/x{}", self.rng.below(4), self.rng.below(2)),
        }
    }

    /// Mostly any, sometimes one that may be right.
    fn version(&mut self) -> i32 {
        if self.rng.chance(700_000) { -1 } else { self.rng.below(4) as i32 }
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        if self.rng.chance(20_000) {
            return None;
        }
        self.written += 1;
        let mut data = format!("{}.{}.", self.client, self.written).into_bytes();
        data.resize(data.len() + self.rng.below(self.profile.data_max) as usize, b'x');
        Some(data)
    }
}
