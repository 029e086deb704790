//! What clients ask for: random requests about few znodes, so that they meet, conflict and fail as often as not.

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
        }
    }
}

impl Weights {
    /// A mix of its own for each seed: each kind is rare, usual or frequent, and reads are always there.
    pub fn swarm(rng: &mut Rng) -> Self {
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
            sync: scale(usual.sync),
        }
    }

    const fn as_array(self) -> [u32; 8] {
        [
            self.create,
            self.create_sequential,
            self.create_ephemeral,
            self.delete,
            self.set_data,
            self.multi,
            self.read,
            self.sync,
        ]
    }
}

/// Draws requests. One for each client, so that clients do not depend on each other's draws.
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Rng,
    profile: WorkloadProfile,
    /// Tells apart all values ever written, so that a read says which write it saw.
    written: u64,
    client: u64,
}

impl Workload {
    /// The requests of client `client`.
    pub fn new(rng: Rng, profile: WorkloadProfile, client: u64) -> Self {
        Self { rng, profile, written: 0, client }
    }

    /// The next request.
    pub fn next_op(&mut self) -> Op {
        match self.rng.weighted(&self.profile.weights.as_array()) {
            5 => {
                let count = self.rng.below(5);
                Op::Multi((0..count).map(|_| self.multi_part()).collect())
            }
            6 => self.read(),
            7 => Op::Sync { path: self.path() },
            kind => self.write(kind),
        }
    }

    fn multi_part(&mut self) -> Op {
        if self.rng.chance(200_000) {
            let path = self.path();
            return Op::Check { path, version: self.version() };
        }
        let kind = self.rng.index(5);
        self.write(kind)
    }

    fn write(&mut self, kind: usize) -> Op {
        let path = self.path();
        match kind {
            0 => self.create(path, Mode::Persistent),
            1 => {
                let mode = *self.rng.pick(&[Mode::PersistentSequential, Mode::EphemeralSequential]);
                let path = format!("{path}-");
                self.create(path, mode)
            }
            2 => self.create(path, Mode::Ephemeral),
            3 => Op::Delete { path, version: self.version() },
            _ => Op::SetData { path, data: self.data(), version: self.version() },
        }
    }

    fn create(&mut self, path: String, mode: Mode) -> Op {
        Op::Create { path, data: self.data(), mode, with_stat: self.rng.chance(500_000) }
    }

    fn read(&mut self) -> Op {
        let path = self.path();
        let watch = self.rng.chance(400_000);
        match self.rng.below(3) {
            0 => Op::Exists { path, watch },
            1 => Op::GetChildren { path, watch },
            _ => Op::GetData { path, watch },
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

    fn data(&mut self) -> Vec<u8> {
        self.written += 1;
        let mut data = format!("{}.{}.", self.client, self.written).into_bytes();
        data.resize(data.len() + self.rng.below(self.profile.data_max) as usize, b'x');
        data
    }
}
