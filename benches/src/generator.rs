//! Which request a connection sends next.
//!
//! All randomness comes from a seed, so two runs with the same arguments ask for the same znodes in the same order on
//! each connection.

use crate::load::Load;
use crate::template::{CreateMode, PathPattern, Template};

/// Digits of numbered znodes: ten million of them.
const KEY_DIGITS: usize = 7;
/// Digits of created znodes: [`CREATED_PER_CONNECTION`] for each of a hundred thousand connections.
const CREATED_DIGITS: usize = 14;
const CREATED_PER_CONNECTION: u64 = 1_000_000_000;

/// Most numbered znodes a run may use.
pub const KEY_COUNT_MAX: u64 = 10u64.pow(KEY_DIGITS as u32);

/// Where the znodes of a run are.
#[derive(Clone, Debug)]
pub struct Names {
    root: String,
    run: u32,
}

impl Names {
    /// Names under `root`; `run` keeps the created znodes of two runs apart.
    pub fn new(root: &str, run: u32) -> Self {
        Self { root: root.into(), run }
    }

    /// The folder of everything.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The numbered znodes that are read and written.
    pub fn keys(&self) -> PathPattern {
        PathPattern::numbered(format!("{}/k", self.root), KEY_DIGITS)
    }

    /// The znode of each connection under the watch load.
    pub fn watched(&self) -> PathPattern {
        PathPattern::numbered(format!("{}/w", self.root), KEY_DIGITS)
    }

    /// The folder that the children load lists.
    pub fn folder(&self) -> PathPattern {
        PathPattern::fixed(format!("{}/folder", self.root))
    }

    /// What is in the folder.
    pub fn folder_children(&self) -> PathPattern {
        PathPattern::numbered(format!("{}/folder/c", self.root), KEY_DIGITS)
    }

    fn created(&self) -> PathPattern {
        PathPattern::numbered(format!("{}/c{:08x}-", self.root, self.run), CREATED_DIGITS)
    }

    fn sequential(&self) -> PathPattern {
        PathPattern::fixed(format!("{}/s-", self.root))
    }
}

/// What the connection must do with the reply, and which latencies it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing.
    Read,
    /// Leaves a watch on the connection's own znode.
    Register,
    /// Changes the znode that [`Class::Register`] watches.
    Trigger,
    /// Changes the tree.
    Write,
}

/// A connection's place in the load.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The number of the connection among all of the run.
    connection: u64,
    /// Requests issued so far.
    issued: u64,
    random: Random,
}

impl Cursor {
    /// The start of connection number `connection`.
    pub fn new(connection: u64, seed: u64) -> Self {
        Self { connection, issued: 0, random: Random::new(seed ^ (connection << 32)) }
    }
}

/// Issues the requests of one load.
#[derive(Clone, Debug)]
pub struct Generator {
    load: Load,
    key_count: u64,
    connection_count: u64,
    /// The request that reads, or the second one of a pair.
    read: Template,
    /// The request that writes, or the only one.
    write: Template,
}

impl Generator {
    /// Prepares the requests of `load`.
    pub fn new(
        load: Load,
        names: &Names,
        data: &[u8],
        keys: u64,
        connections: u64,
        multi_count: usize,
    ) -> Self {
        let key = names.keys();
        let read_key = Template::get_data(&key, false);
        let (read, write) = match load {
            Load::Children => (Template::children(&names.folder()), read_key),
            Load::Churn => {
                let path = names.created();
                (Template::delete(&path), Template::create(&path, data, CreateMode::Persistent))
            }
            Load::Create => (read_key, Template::create(&names.created(), data, CreateMode::Persistent)),
            Load::Ephemeral => (read_key, Template::create(&names.created(), data, CreateMode::Ephemeral)),
            Load::Exists => (Template::exists(&key), read_key),
            Load::Fill => (read_key, Template::create(&key, data, CreateMode::Persistent)),
            Load::Mix(_) | Load::Read | Load::Write => (read_key, Template::set_data(&key, data)),
            Load::Multi => (read_key, Template::multi_set_data(&key, data, multi_count)),
            Load::Sequential => {
                (read_key, Template::create(&names.sequential(), data, CreateMode::PersistentSequential))
            }
            Load::Watch => {
                let path = names.watched();
                (Template::get_data(&path, true), Template::set_data(&path, data))
            }
        };
        Self { load, key_count: keys, connection_count: connections, read, write }
    }

    /// Appends the connection's next request to `out`.
    pub fn issue(&self, cursor: &mut Cursor, out: &mut Vec<u8>, xid: i32) -> Class {
        let serial = cursor.issued;
        cursor.issued += 1;
        let connection = cursor.connection;
        let random = &mut cursor.random;
        let any_key = || random.below(self.key_count);
        match self.load {
            Load::Children | Load::Exists | Load::Read => {
                self.read.append(out, xid, any_key);
                Class::Read
            }
            Load::Multi | Load::Write => {
                self.write.append(out, xid, any_key);
                Class::Write
            }
            Load::Mix(percent) => {
                if any_percent(random) < percent {
                    self.write.append(out, xid, || random.below(self.key_count));
                    Class::Write
                } else {
                    self.read.append(out, xid, || random.below(self.key_count));
                    Class::Read
                }
            }
            Load::Create | Load::Ephemeral | Load::Sequential => {
                self.write.append(out, xid, || connection * CREATED_PER_CONNECTION + serial);
                Class::Write
            }
            Load::Churn => {
                let number = connection * CREATED_PER_CONNECTION + serial / 2;
                let template = if serial.is_multiple_of(2) { &self.write } else { &self.read };
                template.append(out, xid, || number);
                Class::Write
            }
            Load::Fill => {
                self.write.append(out, xid, || serial * self.connection_count + connection);
                Class::Write
            }
            Load::Watch if serial.is_multiple_of(2) => {
                self.read.append(out, xid, || connection);
                Class::Register
            }
            Load::Watch => {
                self.write.append(out, xid, || connection);
                Class::Trigger
            }
        }
    }
}

/// A number below 100.
fn any_percent(random: &mut Random) -> u8 {
    u8::try_from(random.below(100)).expect("below 100")
}

/// A small generator of numbers, good enough to choose znodes (splitmix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half of the product is below the bound, without a division.
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::jute::{Reader, opcode};

    fn issue(generator: &Generator, cursor: &mut Cursor) -> (i32, String, Class) {
        let mut out = Vec::new();
        let class = generator.issue(cursor, &mut out, 1);
        let mut reader = Reader::new(&out[8..]);
        let op = reader.i32().unwrap();
        (op, String::from_utf8(reader.buffer().unwrap().to_vec()).unwrap(), class)
    }

    /// Goal: filling from several connections creates each znode exactly once.
    #[test]
    fn fill_covers_all_keys_once() {
        let generator = Generator::new(Load::Fill, &Names::new("/z", 0), b"", 30, 3, 1);
        let mut paths = BTreeSet::new();
        for connection in 0..3 {
            let mut cursor = Cursor::new(connection, 0);
            for _ in 0..10 {
                assert!(paths.insert(issue(&generator, &mut cursor).1));
            }
        }
        assert_eq!(paths.len(), 30);
        assert_eq!(paths.first().unwrap(), "/z/k0000000");
        assert_eq!(paths.last().unwrap(), "/z/k0000029");
    }

    /// Goal: churn deletes exactly what it created just before, and the watch load writes what it watches.
    #[test]
    fn pairs_name_the_same_znode() {
        for (load, first_op, second_op) in
            [(Load::Churn, opcode::CREATE, opcode::DELETE), (Load::Watch, opcode::GET_DATA, opcode::SET_DATA)]
        {
            let generator = Generator::new(load, &Names::new("/z", 7), b"", 10, 1, 1);
            let mut cursor = Cursor::new(3, 0);
            for _ in 0..4 {
                let (first, created, _) = issue(&generator, &mut cursor);
                let (second, deleted, _) = issue(&generator, &mut cursor);
                assert_eq!((first, second), (first_op, second_op));
                assert_eq!(created, deleted);
            }
        }
    }

    /// Goal: the percentage of a mix is met, and every key is drawn.
    #[test]
    fn mix_and_keys_are_even() {
        let generator = Generator::new(Load::Mix(20), &Names::new("/z", 0), b"", 10, 1, 1);
        let mut cursor = Cursor::new(0, 1);
        let issued: Vec<_> = (0..10_000).map(|_| issue(&generator, &mut cursor)).collect();
        let writes = issued.iter().filter(|(_, _, class)| *class == Class::Write).count();
        assert!((1_800..2_200).contains(&writes), "{writes}");
        assert_eq!(issued.iter().map(|(_, path, _)| path).collect::<BTreeSet<_>>().len(), 10);
    }
}
