//! Everything a run is made of, drawn from its seed and printed in full.
//!
//! The swarm rule: each seed first draws which faults there are and how strong, then runs. Runs with one kind of
//! fault and with none are part of the mix, because faults hide each other: a world that always crashes never
//! fills a queue.

mod faults;

use std::time::Duration;

use zabra_core::config::{Config, EnsembleConfig};

pub use self::faults::FaultProfile;
use self::faults::{ALL_KINDS, LONE_KINDS};
use crate::disk::TearProfile;
use crate::fault::Step;
use crate::link::NetProfile;
use crate::model::acl::SUPER;
use crate::omissions::Omissions;
use crate::places::membership;
use crate::seed::{Rng, Seed};
use crate::workload::Weights;

/// Odds per million that disks rot in an ensemble.
const ROT: u32 = 150_000;
/// Odds per million that disks are replaced in an ensemble.
const WIPE: u32 = 100_000;
/// Odds per million that an ensemble's logs are soon full, and its disks do nothing for longer than anybody waits.
const FULL_LOGS: u32 = 150_000;
/// Odds per million that an ensemble's epochs have few zxids.
const SHORT_EPOCHS: u32 = 80_000;

/// The profile of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Servers that vote; one alone is standalone.
    pub servers: usize,
    /// Servers that follow without a vote.
    pub observers: usize,
    /// Servers that are no members at first.
    pub spares: usize,
    /// Clients; besides them, where members change, there is the one that changes them.
    pub clients: usize,
    /// How long there are faults and requests; then all faults stop, and the world must come to rest.
    pub duration: Duration,
    /// How long it may take to come to rest.
    pub settle_max: Duration,
    /// How servers are configured.
    pub config: Config,
    /// How links behave.
    pub net: NetProfile,
    /// How disks behave.
    pub disk: DiskProfile,
    /// How clocks err.
    pub clock: ClockProfile,
    /// What goes wrong, and how often.
    pub faults: FaultProfile,
    /// What clients do.
    pub workload: WorkloadProfile,
    /// Whether it is a profile of ensembles, of which some have one server only.
    pub is_cluster: bool,
    /// What is left out of all this.
    pub omissions: Omissions,
}

/// How disks behave, faults apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskProfile {
    /// The least that a request takes.
    pub latency_min: Duration,
    /// What is added on average, distributed exponentially.
    pub latency_mean: Duration,
    /// What a power failure does to unsynced data.
    pub tear: TearProfile,
    /// One that takes so many times as long as the others.
    pub slow: Option<(usize, u32)>,
}

/// How clocks err.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockProfile {
    /// Rate errors are drawn up to this, either way.
    pub rate_ppm_max: u64,
    /// Wall clocks are off by up to this, either way, and are stepped by as much.
    pub wall_ms_max: u64,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadProfile {
    /// How often each kind of request is made.
    pub weights: Weights,
    /// Requests that one client has under way at once.
    pub pipeline_max: usize,
    /// The average pause of one client between two bursts of requests.
    pub think: Duration,
    /// The most requests that it makes at once, as far as its pipeline has room.
    pub burst_max: usize,
    /// Session timeouts that clients ask for, shortest and longest.
    pub session_timeout: (Duration, Duration),
    /// Odds, per million and session, that it is another one, about as likely one that servers cut as one that they raise.
    pub odd_timeout: u32,
    /// The longest pause before a client connects again.
    pub reconnect_max: Duration,
    /// Odds, per million and request, that a client leaves without a word and comes back later.
    pub leave: u32,
    /// Odds, per million and request, that it dies and leaves its session behind.
    pub abandon: u32,
    /// Odds, per million and session, that before it does something that no client machine does.
    pub rude: u32,
    /// Odds, per million and request, that it ends its session.
    pub close: u32,
    /// Directories that the requests are about: few, so that clients meet.
    pub directories: u64,
    /// The most bytes of data that are written.
    pub data_max: u64,
}

impl Options {
    /// The profile that `seed` stands for.
    pub fn from_seed(seed: Seed) -> Self {
        let mut rng = seed.stream("options", 0);
        let tick = Duration::from_millis(*rng.pick(&[50, 100, 200]));
        let ticks = |count: u32| tick * count;
        let mut options = Self {
            servers: 1,
            observers: 0,
            spares: 0,
            clients: rng.within(1, 8) as usize,
            duration: Duration::from_secs(*rng.pick(&[10, 20, 40])),
            settle_max: Duration::from_secs(60),
            config: config(&mut rng, tick),
            net: NetProfile {
                latency_min: Duration::from_micros(rng.within(20, 2_000)),
                latency_mean: Duration::from_micros(*rng.pick(&[50, 500, 3_000, 20_000])),
                segmentation: *rng.pick(&[0, 20_000, 300_000]),
                window: *rng.pick(&[2 << 10, 16 << 10, 1 << 20]),
            },
            disk: DiskProfile {
                latency_min: Duration::from_micros(rng.within(10, 500)),
                latency_mean: Duration::from_micros(*rng.pick(&[100, 1_000, 10_000, 50_000])),
                tear: tear(&mut rng),
                slow: None,
            },
            clock: ClockProfile {
                rate_ppm_max: *rng.pick(&[0, 200, 50_000]),
                wall_ms_max: *rng.pick(&[0, 1_000, 31_536_000_000]),
            },
            faults: FaultProfile::draw(&mut rng, LONE_KINDS),
            workload: WorkloadProfile {
                weights: Weights::swarm(&mut rng),
                pipeline_max: *rng.pick(&[1, 4, 32]),
                think: Duration::from_millis(5),
                burst_max: *rng.pick(&[1, 4, 16]),
                session_timeout: (ticks(2), ticks(*rng.pick(&[4, 20]))),
                odd_timeout: 200_000,
                leave: *rng.pick(&[0, 2_000, 20_000]),
                close: *rng.pick(&[0, 1_000, 10_000]),
                directories: rng.within(1, 8),
                data_max: *rng.pick(&[16, 200, 3_000]),
                reconnect_max: Duration::from_millis(*rng.pick(&[0, 20, 200, 1_000])),
                abandon: *rng.pick(&[0, 1_000, 5_000]),
                rude: *rng.pick(&[0, 200_000, 700_000]),
            },
            is_cluster: false,
            omissions: Omissions::default(),
        };
        options.demand(&mut rng);
        options.space_removals(seed);
        // A server that stands alone says nothing to others; what it hands to its disk can be struck.
        options.faults.moment = *rng.pick(&[0, 0, 0, 30_000, 150_000]);
        options.faults.moment_pause = Duration::from_millis(*rng.pick(&[300, 1_000, 3_000]));
        options
    }

    /// How fast containers and TTL nodes are removed that were found. Where that is slow, much becomes of them before their
    /// turn comes.
    fn space_removals(&mut self, seed: Seed) {
        let mut rng = seed.stream("removals", 0);
        self.config.container_max_per_minute = *rng.pick(&[10_000, 3_000, 600]);
    }

    /// How much all clients ask for in a second: what one asks for depends on how many there are, so that many
    /// clients do not make long runs of what few clients find as well.
    fn demand(&mut self, rng: &mut Rng) {
        let rate = *rng.pick(&[20, 100, 200, 200, 500]);
        if rate > 100 {
            // Busy servers that keep every snapshot take gigabytes.
            self.config.purge_interval.get_or_insert(Duration::from_secs(3));
        }
        self.ask(rate);
    }

    /// Lets all clients together ask for `rate` things in a second, about.
    fn ask(&mut self, rate: u64) {
        let burst = (self.workload.burst_max as u64).div_ceil(2);
        self.workload.think = Duration::from_micros(1_000_000 * burst * self.clients as u64 / rate);
    }

    /// The profile of whatever world `seed` stands for: one in four has a server that stands alone.
    pub fn any(seed: Seed) -> Self {
        if seed.stream("world", 0).below(4) == 0 { Self::from_seed(seed) } else { Self::cluster(seed) }
    }

    /// The profile of an ensemble that `seed` stands for.
    pub fn cluster(seed: Seed) -> Self {
        let mut options = Self::from_seed(seed);
        let mut rng = seed.stream("ensemble", 0);
        let tick = Duration::from_millis(100);
        options.is_cluster = true;
        options.servers = rng.weighted(&[(1, 5), (2, 6), (3, 40), (4, 6), (5, 30), (6, 3), (7, 10)]);
        options.observers = if options.servers == 1 { 0 } else { *rng.pick(&[0, 0, 0, 1, 1, 2]) };
        options.clients = rng.within(1, 10) as usize;
        options.duration = Duration::from_secs(*rng.pick(&[20, 40, 60]));
        options.config = Config {
            snap_count: *rng.pick(&[20, 40, 100]),
            txn_log_size_limit: *rng.pick(&[None, Some(256), Some(512), Some(2 << 10), Some(8 << 10)]),
            ..config(&mut rng, tick)
        };
        // A client of seven servers gives each attempt a seventh of what it asks for.
        options.config.min_session_timeout = tick * 4;
        options.config.max_session_timeout = tick * 60;
        options.workload.session_timeout = (tick * 4, tick * *rng.pick(&[20, 60]));
        options.net.latency_mean = Duration::from_micros(*rng.pick(&[50, 500, 3_000, 10_000]));
        options.faults = FaultProfile::draw(&mut rng, ALL_KINDS);
        (options.faults.moment, options.faults.moment_focus) = match rng.below(6) {
            0 | 1 => (0, None),
            2 | 3 => (*rng.pick(&[3_000, 30_000, 150_000]), None),
            _ => (*rng.pick(&[30_000, 150_000, 500_000]), Some(*rng.pick(Step::ALL))),
        };
        options.faults.moment_pause = Duration::from_millis(*rng.pick(&[0, 300, 1_000, 3_000]));
        options.faults.promise = *rng.pick(&[0, 0, 50_000, 300_000]);
        if rng.chance(300_000) {
            let node = rng.index(options.nodes());
            options.disk.slow = Some((node, *rng.pick(&[5, 30])));
        }
        options.clock.rate_ppm_max = rng.weighted(&[(0, 4), (200, 4), (50_000, 4), (300_000, 1)]);
        options.demand(&mut rng);
        options.ensemble(&mut rng);
        options.space_removals(seed);
        let mut rng = seed.stream("rot", 0);
        let rot = Duration::from_secs(*rng.pick(&[2, 5, 15]));
        options.faults.rot = (rng.chance(ROT) && options.servers > 2).then_some(rot);
        options.replace_disks(seed);
        options.fill_logs(seed);
        options.shorten_epochs(seed);
        options
    }

    fn replace_disks(&mut self, seed: Seed) {
        let mut rng = seed.stream("wipe", 0);
        let mean = Duration::from_secs(*rng.pick(&[2, 5, 15]));
        if rng.chance(WIPE) && self.servers > 2 {
            self.faults.wipe = Some(mean);
            // Whoever found an empty directory would otherwise take it for a new ensemble's.
            self.config.db_autocreate = false;
        }
    }

    /// Whether logs are soon full.
    pub const fn has_full_logs(&self) -> bool {
        self.config.log_buffer_max < 64 << 10
    }

    fn fill_logs(&mut self, seed: Seed) {
        let mut rng = seed.stream("full logs", 0);
        let (bytes, stall) = (*rng.pick(&[500, 2_000, 8_000]), Duration::from_secs(*rng.pick(&[2, 5])));
        if rng.chance(FULL_LOGS) {
            self.config.log_buffer_max = bytes;
            self.faults.stall = Some(stall);
            self.faults.stall_max = Duration::from_secs(4);
        }
    }

    fn shorten_epochs(&mut self, seed: Seed) {
        let mut rng = seed.stream("short epochs", 0);
        let last = *rng.pick(&[30, 150, 600]);
        if let Some(ensemble) = self.config.ensemble.as_mut().filter(|_| rng.chance(SHORT_EPOCHS)) {
            ensemble.last_counter = last;
        }
    }

    /// The profile of an ensemble that `seed` stands for, in which members come and go besides.
    pub fn members(seed: Seed) -> Self {
        let mut options = Self::cluster(seed);
        let mut rng = seed.stream("members", 0);
        let mean = Duration::from_millis(*rng.pick(&[500, 1_500, 4_000]));
        let spares = rng.weighted(&[(0, 1), (1, 3), (2, 3)]);
        if options.config.ensemble.is_some() {
            options.let_members_change(mean, spares);
            // Who has promised what nobody else has heard of may be a member without a vote by then, and find nobody
            // who cares: that is for its operator.
            options.faults.promise = 0;
            // What a quorum has is not what the next members' quorum has.
            options.faults.rot = None;
            options.faults.wipe = None;
            options.config.db_autocreate = true;
        }
        options
    }

    /// Members change once in `mean` on average, and so many servers are none at first.
    pub fn let_members_change(&mut self, mean: Duration, spares: usize) {
        self.spares = spares;
        self.faults.reconfig = Some(mean);
        self.config.reconfig_enabled = true;
        self.config.super_digest = Some(SUPER.1.into());
    }

    /// Five servers, ten clients that ask for 200 things in a second, a minute, and the faults of `seed`: what the
    /// simulator's speed is told of.
    pub fn measured(seed: Seed) -> Self {
        let mut options = Self::cluster(seed);
        (options.servers, options.observers, options.clients) = (5, 0, 10);
        options.duration = Duration::from_secs(60);
        options.disk.slow = None;
        options.ask(200);
        let mut rng = seed.stream("measured", 0);
        options.ensemble(&mut rng);
        options
    }

    /// The profile of an ensemble that `seed` stands for, but of so many servers.
    pub fn cluster_of(seed: Seed, servers: usize, observers: usize) -> Self {
        let mut options = Self { servers, observers, ..Self::cluster(seed) };
        options.ensemble(&mut seed.stream("ensemble of", 0));
        options
    }

    /// Puts the servers into one ensemble, with small limits of its own.
    fn ensemble(&mut self, rng: &mut Rng) {
        let ensemble = EnsembleConfig {
            init_limit: *rng.pick(&[5, 10]),
            sync_limit: *rng.pick(&[2, 3, 5]),
            cnx_timeout: Duration::from_millis(*rng.pick(&[500, 2_000])),
            notification_interval_max: Duration::from_millis(*rng.pick(&[800, 3_200])),
            commit_log_count: *rng.pick(&[5, 20, 50]),
            link_outbox_bytes: *rng.pick(&[64 << 10, 1 << 20, 64 << 20]),
            force_snapshot_sync: rng.chance(100_000),
            snapshot_size_permille: *rng.pick(&[None, Some(330), Some(100_000)]),
            ..EnsembleConfig::new(membership(self.servers, self.observers))
        };
        self.config.ensemble = (self.servers + self.observers > 1).then_some(ensemble);
        if self.observers > 0 {
            self.observer_masters(rng);
        }
    }

    /// In two of three ensembles with observers these learn from followers.
    fn observer_masters(&mut self, rng: &mut Rng) {
        let Some(ensemble) = &mut self.config.ensemble else { return };
        ensemble.observer_master_port = *rng.pick(&[None, Some(2191), Some(2191)]);
        ensemble.observer_master_bytes = *rng.pick(&[0, 4 << 10, 32 << 20]);
    }

    /// When faults and requests end.
    pub fn ends(&self) -> Duration {
        self.omissions.duration.map_or(self.duration, |duration| duration.min(self.duration))
    }

    /// All servers.
    pub const fn nodes(&self) -> usize {
        self.servers + self.observers + self.spares
    }

    /// All clients, the one that changes members included.
    pub const fn all_clients(&self) -> usize {
        self.clients + self.faults.reconfig.is_some() as usize
    }

    /// A small ensemble in which nothing goes wrong: what scenarios about several servers begin with.
    pub fn calm_cluster(servers: usize, observers: usize) -> Self {
        let mut options = Self::calm();
        options.servers = servers;
        options.observers = observers;
        let ensemble = EnsembleConfig {
            init_limit: 10,
            sync_limit: 5,
            cnx_timeout: Duration::from_secs(1),
            notification_interval_max: Duration::from_millis(1_600),
            commit_log_count: 50,
            ..EnsembleConfig::new(membership(servers, observers))
        };
        options.config.ensemble = (options.nodes() > 1).then_some(ensemble);
        options.config.max_session_timeout = Duration::from_secs(10);
        options.workload.session_timeout = (Duration::from_secs(5), Duration::from_secs(5));
        options
    }

    /// A small world in which nothing goes wrong: what scenarios begin with.
    pub fn calm() -> Self {
        let mut options = Self::from_seed(Seed(0));
        options.clients = 1;
        options.duration = Duration::from_secs(10);
        options.config = small_config(Duration::from_millis(100));
        options.net = NetProfile {
            latency_min: Duration::from_micros(100),
            latency_mean: Duration::from_micros(100),
            segmentation: 0,
            window: 1 << 20,
        };
        options.disk = DiskProfile {
            latency_min: Duration::from_micros(500),
            latency_mean: Duration::from_micros(500),
            tear: TearProfile { lost: 1_000_000, torn: 0, scattered: 0, sector: 1 },
            slow: None,
        };
        options.clock = ClockProfile { rate_ppm_max: 0, wall_ms_max: 0 };
        options.faults = FaultProfile::default();
        options.workload.reconnect_max = Duration::from_millis(20);
        options.workload.leave = 0;
        options.workload.abandon = 0;
        options.workload.rude = 0;
        options.workload.close = 0;
        options.workload.weights = Weights::default();
        options.workload.think = Duration::from_millis(5);
        options.workload.burst_max = 1;
        options.workload.session_timeout = (Duration::from_secs(2), Duration::from_secs(2));
        options.workload.odd_timeout = 0;
        options
    }
}

/// A server whose every limit is small, so that the paths at the limits are walked often.
fn small_config(tick: Duration) -> Config {
    Config {
        tick_time: tick,
        min_session_timeout: tick * 2,
        max_session_timeout: tick * 20,
        snap_count: 200,
        pre_alloc_size: 16 << 10,
        snapshot_chunk_bytes: 1 << 10,
        received_chunk_bytes: 1 << 10,
        // TTL nodes are always on: the reference knows no server without.
        extended_types: true,
        container_check_interval: tick * 10,
        ..Config::default()
    }
}

fn config(rng: &mut Rng, tick: Duration) -> Config {
    Config {
        snap_count: *rng.pick(&[20, 100, 500]),
        txn_log_size_limit: *rng.pick(&[None, Some(4 << 10), Some(64 << 10)]),
        pre_alloc_size: *rng.pick(&[1 << 10, 4 << 10, 16 << 10]),
        snapshot_chunk_bytes: *rng.pick(&[256, 1 << 10, 64 << 10]),
        global_outstanding_limit: *rng.pick(&[2, 20, 1000]),
        purge_interval: *rng.pick(&[None, Some(Duration::from_secs(3))]),
        outbox_pause_bytes: *rng.pick(&[2 << 10, 1 << 20]),
        inbox_pause_bytes: *rng.pick(&[64, 64 << 10]),
        ..small_config(tick)
    }
}

/// A write torn into single bytes ends somewhere; one torn into sectors may also leave any of them out.
fn tear(rng: &mut Rng) -> TearProfile {
    let sector = *rng.pick(&[1, 512, 4096]);
    TearProfile {
        lost: *rng.pick(&[100_000, 500_000, 1_000_000]),
        torn: *rng.pick(&[0, 300_000, 800_000]),
        scattered: if sector == 1 { 0 } else { *rng.pick(&[0, 500_000]) },
        sector,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_one_that_a_server_accepts() {
        let two_observers = |seed| Options::cluster_of(seed, 5, 2);
        let families: [fn(Seed) -> Options; 5] =
            [Options::from_seed, Options::cluster, Options::any, Options::measured, two_observers];
        for (index, family) in families.into_iter().enumerate() {
            for seed in (0..500).map(Seed) {
                let options = family(seed);
                assert_eq!(options.config.check(), Ok(()), "family {index}, seed {seed}");
                assert_eq!(options, family(seed), "family {index}, seed {seed}");
            }
        }
    }
}
