//! Every limit, timeout and switch of one server, in one place.
//!
//! Names are ZooKeeper's, in Rust's spelling; each field says which key or property it answers to. What happens
//! at a limit is written beside it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::types::membership::TEXT_MAX;
use crate::types::{Compression, Membership};

/// Sessions that one answer to a leader's ping names at most; the others are in the next one. A ZooKeeper leader takes a
/// buffer of twice `jute.maxbuffer`, which is 174,762 of them, and ends the link of whoever sends more.
const TOUCHED_MAX: usize = 100_000;

/// What each of them takes: its id and its timeout.
const TOUCHED_BYTES: usize = 12;

/// The configuration of one server. [`Config::default`] is ZooKeeper's default for every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Number of this server in its ensemble (`myid`); 1 when standalone. At most 254 with extended types.
    pub server_id: i64,
    /// `tickTime`: the unit of session expiry.
    pub tick_time: Duration,
    /// `minSessionTimeout`: shorter requests are raised to it.
    pub min_session_timeout: Duration,
    /// `maxSessionTimeout`: longer requests are cut to it.
    pub max_session_timeout: Duration,
    /// `maxClientCnxns`: connections of one address; further ones are closed at once. 0: no limit.
    pub max_client_cnxns: usize,
    /// `maxCnxns`: connections in all; further ones are closed at once. 0: no limit.
    pub max_cnxns: usize,
    /// `zookeeper.nio.sessionlessCnxnTimeout`: a connection without a session is closed after it.
    pub sessionless_cnxn_timeout: Duration,
    /// `jute.maxbuffer`: bytes of a request; a longer one closes the connection.
    pub jute_max_buffer: usize,
    /// `zookeeper.jute.maxbuffer.extrasize`: what a stored record may have on top.
    pub jute_max_buffer_extra: usize,
    /// `zookeeper.globalOutstandingLimit`: requests in the server; beyond it, connections that have one are not
    /// read from until theirs drain.
    pub global_outstanding_limit: usize,
    /// `zookeeper.largeRequestThreshold`: a request of more bytes is large. `None`: none is.
    pub large_request_threshold: Option<usize>,
    /// `zookeeper.largeRequestMaxBytes`: large requests in the server; one beyond closes its connection.
    pub large_request_max_bytes: usize,
    /// Bytes of log that may wait for the disk; beyond it no requests are taken until it catches up. As many bytes of
    /// requests are held meanwhile for all learners, and an equal share of as much again for each; who asks for more is not
    /// read from. A learner that serves listens to its leader until twice as many wait.
    pub log_buffer_max: usize,
    /// Identities that one connection may prove; one more is refused, and the connection closed.
    pub identities_max: usize,
    /// Work done for one connection before the others have their turn: bytes of requests and replies, with
    /// 64 for every znode and 16 for every ACL entry looked at.
    pub turn_work_max: usize,
    /// Bytes that may wait to be looked at while a client's requests are not taken; beyond it the connection is
    /// not read from. Beyond as many bytes of reads that were taken and wait for a write, no request is.
    pub inbox_pause_bytes: usize,
    /// Reply bytes that may wait for one client that does not read; beyond it its requests are not taken, and at
    /// [`Config::outbox_close_bytes`] it is closed.
    pub outbox_pause_bytes: usize,
    /// Reply and event bytes that may wait for one client before its connection is closed. A single reply may be
    /// larger.
    pub outbox_close_bytes: usize,
    /// `zookeeper.snapCount`: a snapshot is due after between half of this many transactions and all of them.
    pub snap_count: u64,
    /// `zookeeper.snapSizeLimitInKb`, in bytes: likewise by bytes of log. `None`: off.
    pub snap_size_limit: Option<u64>,
    /// `zookeeper.txnLogSizeLimitInKb`, in bytes: a larger log file is followed by the next. `None`: off.
    pub txn_log_size_limit: Option<u64>,
    /// `zookeeper.preAllocSize`, in bytes: the step in which log files grow.
    pub pre_alloc_size: u64,
    /// `zookeeper.forceSync`: whether a write waits for the disk. Switching it off gives up durability.
    pub force_sync: bool,
    /// `zookeeper.fsync.warningthresholdms`: a sync of the log that takes longer is told of and counted.
    pub fsync_warning_threshold: Duration,
    /// `zookeeper.snapshot.compression.method`: how snapshots are written; each is read by its own name.
    pub snapshot_compression: Compression,
    /// Bytes of a snapshot handed to the disk at a time.
    pub snapshot_chunk_bytes: usize,
    /// Likewise of a snapshot that a leader sends: this server has nobody else to serve meanwhile, and should be back
    /// soon.
    pub received_chunk_bytes: usize,
    /// `autopurge.snapRetainCount`: snapshots kept, at least 3.
    pub snap_retain_count: usize,
    /// `autopurge.purgeInterval`: `None`: nothing is ever purged.
    pub purge_interval: Option<Duration>,
    /// `zookeeper.digest.enabled`: keep a digest of the tree and write it to log and snapshot.
    pub digest_enabled: bool,
    /// `zookeeper.serializeLastProcessedZxid.enabled`: whether snapshots end with their zxid.
    pub serialize_last_processed_zxid: bool,
    /// `zookeeper.closeSessionTxn.enabled`: whether a closing session's transaction lists its znodes.
    pub close_session_txn: bool,
    /// `zookeeper.extendedTypesEnabled`: whether TTL nodes exist.
    pub extended_types: bool,
    /// `zookeeper.enforceQuota`: whether hard quotas refuse writes.
    pub enforce_quota: bool,
    /// That an exceeded quota is told of once in this time.
    pub quota_warning_interval: Duration,
    /// Limits of quotas that are told of in that time; of more, only how often they were exceeded.
    pub quota_warnings_max: usize,
    /// `zookeeper.skipACL`: whether everyone may do everything.
    pub skip_acl: bool,
    /// `reconfigEnabled`: decides which error a standalone server answers to reconfig.
    pub reconfig_enabled: bool,
    /// `znode.container.checkIntervalMs`: how often emptied containers and expired TTL nodes are looked for.
    pub container_check_interval: Duration,
    /// `znode.container.maxPerMinute`: how many of them are deleted in a minute.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: age at which a container that never had a child goes.
    /// `None`: never.
    pub container_max_never_used: Option<Duration>,
    /// `zookeeper.snapshot.trust.empty`: accept a log without any snapshot.
    pub snapshot_trust_empty: bool,
    /// `zookeeper.db.autocreate`: whether an empty directory is a new, empty database.
    pub db_autocreate: bool,
    /// Go on after corruption in the middle of the log, losing what follows it, and with a snapshot that needs more of the
    /// log than there is. For an operator who knows.
    pub accept_data_loss: bool,
    /// `zookeeper.DigestAuthenticationProvider.enabled`.
    pub digest_auth_enabled: bool,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`: `user:base64(hash)` of the super user.
    pub super_digest: Option<String>,
    /// `zookeeper.ensembleAuthName`: names the scheme `ensemble` accepts; empty: any.
    pub ensemble_auth_names: Vec<String>,
    /// `zookeeper.enforce.auth.schemes`, where `zookeeper.enforce.auth.enabled`: a connection needs an identity
    /// of one of these schemes. Empty: not enforced.
    pub enforce_auth_schemes: Vec<String>,
    /// `zookeeper.throttled_op_wait_time`: a request that waited longer is refused. `None`: off.
    pub throttled_op_wait: Option<Duration>,
    /// `zookeeper.4lw.commands.whitelist`: which four-letter words are answered.
    pub four_letter_words: FourLetterWords,
    /// Whether every applied transaction is reported as [`crate::server::Event::Applied`]. Checkers want it; at
    /// full speed it is noise.
    pub report_applied: bool,
    /// The ensemble that the server belongs to. `None`: it stands alone.
    pub ensemble: Option<EnsembleConfig>,
    /// What `conf` and `envi` tell about the process around the core.
    pub about: About,
}

/// What only a member of an ensemble needs.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleConfig {
    /// The members as the configuration file names them (`server.N`, `group.N`, `weight.N`), this server included.
    pub membership: Membership,
    /// The newest members that the server saw proposed, as they were kept at last (see
    /// [`Action::KeepSeenConfig`](crate::server::Action::KeepSeenConfig)).
    pub seen: Option<Membership>,
    /// `initLimit`, in ticks: how long connecting to a leader and catching up with it may take.
    pub init_limit: u32,
    /// `syncLimit`, in ticks: how long leader and learner may hear nothing of each other.
    pub sync_limit: u32,
    /// `connectToLearnerMasterLimit`, in ticks; `initLimit` where it is 0.
    pub connect_to_leader_limit: u32,
    /// The number of an epoch's last transaction, behind which the next epoch begins with an election (PARITY
    /// `zab.rollover`). The number with all bits set is nobody's; tests have smaller ones, as no test is that long.
    pub last_counter: u32,
    /// `zookeeper.leaderServes`: whether the leader serves clients.
    pub leader_serves: bool,
    /// `zookeeper.cnxTimeout`: how long connecting for an election may take.
    pub cnx_timeout: Duration,
    /// `zookeeper.fastleader.minNotificationInterval`: after this long without a vote, one's own is sent again.
    pub notification_interval_min: Duration,
    /// `zookeeper.fastleader.maxNotificationInterval`: the interval doubles up to this.
    pub notification_interval_max: Duration,
    /// How long to wait for a better vote once a quorum agrees, while there are servers that may send one (ZooKeeper's
    /// `finalizeWait`).
    pub finalize_wait: Duration,
    /// `zookeeper.leaderConnectDelayDuringRetryMs`: how long to wait before connecting to the leader again.
    pub leader_connect_delay: Duration,
    /// `zookeeper.observer.election.DelayMs`: an observer that lost its leader looks for one within this time.
    pub observer_election_delay: Duration,
    /// `zookeeper.observer.reconnectDelayMs`: within this time it connects to the one it found.
    pub observer_reconnect_delay: Duration,
    /// Committed transactions that the leader keeps in memory for learners that fell behind
    /// (`zookeeper.commitLogCount`).
    pub commit_log_count: usize,
    /// Bytes of them at most.
    pub commit_log_bytes: usize,
    /// `observerMasterPort`: where a follower serves observers, and an observer finds the voters that do. `None`:
    /// observers learn from the leader.
    pub observer_master_port: Option<u16>,
    /// Bytes of committed transactions that a follower keeps in memory for observers that fell behind
    /// (`zookeeper.observerMaster.sizeLimit`).
    pub observer_master_bytes: usize,
    /// Bytes that may wait for one server that does not read; beyond it the link is closed.
    pub link_outbox_bytes: usize,
    /// `zookeeper.forceSnapshotSync`: bring every learner up with a snapshot.
    pub force_snapshot_sync: bool,
    /// `zookeeper.snapshotSizeFactor`, in thousandths: a learner is brought up from the log on disk as long as that is
    /// less than this share of a snapshot's bytes. `None`: never.
    pub snapshot_size_permille: Option<u32>,
    /// `standaloneEnabled`: decides how few voters a reconfiguration may leave.
    pub standalone_enabled: bool,
    /// `localSessionsEnabled`: sessions are known to the server they were opened at, and to no other.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: they become known to all when they create an ephemeral znode.
    pub local_sessions_upgrading: bool,
    /// How long a member that stops waits for what the others have to say before it can answer what its clients asked.
    pub stop_wait_max: Duration,
    /// `readonlymode.enabled`: a member that finds no leader serves clients that only read.
    pub read_only_mode: bool,
}

impl EnsembleConfig {
    /// ZooKeeper's defaults for an ensemble of these members.
    pub fn new(membership: Membership) -> Self {
        Self {
            membership,
            seen: None,
            init_limit: 10,
            sync_limit: 5,
            connect_to_leader_limit: 0,
            last_counter: u32::MAX - 1,
            leader_serves: true,
            cnx_timeout: Duration::from_millis(5000),
            notification_interval_min: Duration::from_millis(200),
            notification_interval_max: Duration::from_millis(60_000),
            finalize_wait: Duration::from_millis(200),
            leader_connect_delay: Duration::from_millis(100),
            observer_election_delay: Duration::from_millis(200),
            observer_reconnect_delay: Duration::ZERO,
            commit_log_count: 500,
            commit_log_bytes: 64 << 20,
            observer_master_port: None,
            observer_master_bytes: 32 << 20,
            link_outbox_bytes: 256 << 20,
            force_snapshot_sync: false,
            snapshot_size_permille: Some(330),
            standalone_enabled: true,
            local_sessions: false,
            local_sessions_upgrading: false,
            stop_wait_max: Duration::from_secs(2),
            read_only_mode: false,
        }
    }
}

/// Which four-letter words a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FourLetterWords {
    /// `*`.
    All,
    /// These.
    Only(Vec<String>),
}

impl FourLetterWords {
    /// Whether `word` is to be answered.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(words) => words.iter().any(|allowed| allowed == word),
        }
    }
}

/// Facts about the process around the core, for the four-letter words that tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `zookeeper.version` and the first line of `srvr`: version, revision and build date.
    pub version: String,
    /// `clientPort`; -1 if there is none.
    pub client_port: i32,
    /// `secureClientPort`; -1 if there is none.
    pub secure_client_port: i32,
    /// `dataDir` with its `version-2`.
    pub data_dir: String,
    /// `dataLogDir` with its `version-2`.
    pub data_log_dir: String,
    /// `clientPortListenBacklog`; -1 for the system's default.
    pub listen_backlog: i32,
    /// Lines of `envi` after the version, as key and value.
    pub environment: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        let tick_time = Duration::from_millis(3000);
        Self {
            server_id: 1,
            tick_time,
            min_session_timeout: tick_time * 2,
            max_session_timeout: tick_time * 20,
            max_client_cnxns: 60,
            max_cnxns: 0,
            sessionless_cnxn_timeout: Duration::from_secs(10),
            jute_max_buffer: 0xfffff,
            jute_max_buffer_extra: 0xfffff,
            global_outstanding_limit: 1000,
            large_request_threshold: None,
            large_request_max_bytes: 100 << 20,
            log_buffer_max: 64 << 20,
            identities_max: 64,
            turn_work_max: 4 << 20,
            inbox_pause_bytes: 64 << 10,
            outbox_pause_bytes: 1 << 20,
            outbox_close_bytes: 16 << 20,
            snap_count: 100_000,
            snap_size_limit: Some(4 << 30),
            txn_log_size_limit: None,
            pre_alloc_size: 64 << 20,
            force_sync: true,
            fsync_warning_threshold: Duration::from_millis(1000),
            snapshot_compression: Compression::None,
            snapshot_chunk_bytes: 16 << 10,
            received_chunk_bytes: 512 << 10,
            snap_retain_count: 3,
            purge_interval: None,
            digest_enabled: true,
            serialize_last_processed_zxid: true,
            close_session_txn: true,
            extended_types: false,
            enforce_quota: false,
            quota_warning_interval: Duration::from_millis(100),
            quota_warnings_max: 16,
            skip_acl: false,
            reconfig_enabled: false,
            container_check_interval: Duration::from_secs(60),
            container_max_per_minute: 10_000,
            container_max_never_used: None,
            snapshot_trust_empty: false,
            db_autocreate: true,
            accept_data_loss: false,
            digest_auth_enabled: true,
            super_digest: None,
            ensemble_auth_names: Vec::new(),
            enforce_auth_schemes: Vec::new(),
            throttled_op_wait: None,
            four_letter_words: FourLetterWords::Only(alloc::vec![String::from("srvr")]),
            report_applied: false,
            ensemble: None,
            about: About::default(),
        }
    }
}

/// Why a [`Config`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A limit that must be at least one is zero; which.
    Zero(&'static str),
    /// The longest session timeout is shorter than the shortest.
    SessionTimeouts,
    /// The server's number does not leave the top byte that marks TTL nodes free.
    ServerIdWithExtendedTypes,
    /// The server's number does not fit the top byte of a session id.
    ServerId,
    /// There are more members than servers can tell each other of.
    TooManyMembers,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(key) => write!(f, "{key} must be at least 1"),
            Self::SessionTimeouts => {
                f.write_str("minSessionTimeout must not be larger than maxSessionTimeout")
            }
            Self::ServerIdWithExtendedTypes => {
                f.write_str("with extendedTypesEnabled the server's id (myid) must be between 0 and 254")
            }
            Self::ServerId => f.write_str("the server's id (myid) must be between 0 and 255"),
            Self::TooManyMembers => {
                write!(f, "the lines of all members together must not be longer than {TEXT_MAX} bytes")
            }
        }
    }
}

impl Config {
    /// Checks what the fields demand of each other.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tick_time.as_millis() == 0 {
            return Err(ConfigError::Zero("tickTime"));
        }
        if self.min_session_timeout > self.max_session_timeout {
            return Err(ConfigError::SessionTimeouts);
        }
        if self.jute_max_buffer == 0 {
            return Err(ConfigError::Zero("jute.maxbuffer"));
        }
        if self.global_outstanding_limit == 0 {
            return Err(ConfigError::Zero("globalOutstandingLimit"));
        }
        if self.container_max_per_minute == 0 {
            return Err(ConfigError::Zero("znode.container.maxPerMinute"));
        }
        if !(0..=255).contains(&self.server_id) {
            return Err(ConfigError::ServerId);
        }
        if self.extended_types && self.server_id == 255 {
            return Err(ConfigError::ServerIdWithExtendedTypes);
        }
        let mut configs =
            self.ensemble.iter().flat_map(|ensemble| ensemble.seen.iter().chain([&ensemble.membership]));
        if configs.any(Membership::is_too_long) {
            return Err(ConfigError::TooManyMembers);
        }
        Ok(())
    }

    /// Bytes that one string or buffer of a stored record may have (`jute.limit`).
    pub fn stored_field_max(&self) -> usize {
        self.jute_max_buffer.saturating_add(self.jute_max_buffer_extra)
    }

    /// Sessions that one answer to a leader's ping may name: all of them are one buffer, which a leader takes up to a size.
    pub fn touched_max(&self) -> usize {
        TOUCHED_MAX.min(self.stored_field_max() / TOUCHED_BYTES).max(1)
    }
}
