//! What only an ensemble needs.

use std::time::Duration;

use super::Effect::{self, Flag, IdleInEnsemble, Int, Member, Quiet, Refused, Text};
use super::Property::{Bare, None, Prefixed};
use super::{Key, NO_PEER_SASL, NO_PEER_TLS, key};
use crate::zoo_cfg::draft::Draft;
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::{PORT, any, any_long, from};

const INT: Kind = Kind::Num(any(""));
const LONG: Kind = Kind::Num(any_long(""));
const TICKS: Kind = Kind::Int(from(0, " of ticks"));
const MILLIS: Kind = Kind::Num(from(1, " of milliseconds"));
const MILLIS_OR_NONE: Kind = Kind::Num(from(0, " of milliseconds"));
const ONE_LOOP: &str = "one event loop does all the work here";
const FOR_TESTS: &str = "it is for ZooKeeper's own tests";
const NO_SYNC_LIMIT: &str = "how many observers are brought up at a time is not limited here";

/// Does nothing in an ensemble, which is worth a word unless the value is this one.
const fn idle(harmless: &'static str, why: &'static str) -> Effect {
    IdleInEnsemble { harmless, why }
}

/// Refused unless the value is `false`.
const fn unless_false(why: &'static str) -> Effect {
    Refused { harmless: "false", why }
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(number.unsigned_abs())
}

/// Less than none is none, and nobody waits for weeks.
fn delay(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0).min(u32::MAX.into()))
}

/// A number that its row has checked.
fn ticks(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Likewise; 0 is none.
fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|&port| port != 0)
}

/// Less than none is none.
fn bytes(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn bind_tries(draft: &mut Draft, number: i64) {
    draft.settings.peers.bind_tries = match u32::try_from(number) {
        Ok(0) => Option::None,
        Ok(tries) => Some(tries),
        // ZooKeeper goes on with its default.
        Err(_) => Some(3),
    };
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("server.*", None, Kind::Text, "none", Member, "A member of the ensemble: `host:quorumPort:electionPort[:participant or observer][;[clientHost:]clientPort]`. More than one make an ensemble; a single one runs standalone unless `standaloneEnabled` says otherwise."),
    key("group*", None, Kind::Text, "none", Member, "Members that vote together, with colons between their numbers."),
    key("weight*", None, Kind::Text, "1", Member, "How much a member's vote counts in its group."),
    key("dynamicConfigFile", None, Kind::Text, "none", Text(|d, path| d.ensemble.dynamic_file = Some(path.into())), "The file that names the members instead of this one."),
    key("oraclePath", None, Kind::Text, "none", Refused { harmless: "", why: "oracles are not in this release of Zabra; have three voters" }, "A file that decides between two members."),
    key("standaloneEnabled", None, Kind::Flag, "true", Flag(|d, on| d.ensemble.options.standalone_enabled = on), "Whether a single member runs without an ensemble."),
    key("reconfigEnabled", None, Kind::Flag, "false", Flag(|d, on| d.settings.core.reconfig_enabled = on), "Whether members can change; a standalone server only answers another error."),
    key("peerType", None, Kind::OneOf(&["participant", "observer"]), "participant", Text(|d, role| d.ensemble.set_peer_type(role)), "Whether this member votes; its own line in the list wins."),
    key("observerMasterPort", None, Kind::Int(PORT), "none", Int(|d, n| d.ensemble.options.observer_master_port = port(n)), "Where followers serve observers, and observers look for them; the same on all servers. 0: nowhere."),
    key("initLimit", None, TICKS, "required", Int(|d, n| d.ensemble.options.init_limit = ticks(n)), "Ticks that a member may take to connect and catch up."),
    key("syncLimit", None, TICKS, "required", Int(|d, n| d.ensemble.options.sync_limit = ticks(n)), "Ticks that a member may be out of touch."),
    key("connectToLearnerMasterLimit", None, TICKS, "initLimit", Int(|d, n| d.ensemble.options.connect_to_leader_limit = ticks(n)), "Ticks that connecting to the leader may take, all attempts together."),
    key("electionAlg", None, Kind::OneOf(&["3"]), "3", Quiet, "How a leader is elected; there is one way."),
    key("quorumListenOnAllIPs", None, Kind::Flag, "false", Flag(|d, on| d.settings.peers.listen_on_all_ips = on), "Whether a member listens for the others on all addresses, not only those of its line."),
    key("syncEnabled", None, Kind::Flag, "true", idle("true", "observers always write a log here"), "Whether observers write a log."),
    key("localSessionsEnabled", None, Kind::Flag, "false", Flag(|d, on| d.ensemble.options.local_sessions = on), "Whether sessions are known to the member they were opened at alone; such a session can create no ephemeral znode, and is lost with that member."),
    key("localSessionsUpgradingEnabled", None, Kind::Flag, "false", Flag(|d, on| d.ensemble.options.local_sessions_upgrading = on), "Whether those become known to all when they create an ephemeral znode."),
    key("sslQuorum", None, Kind::Flag, "false", unless_false(NO_PEER_TLS), "Whether members talk TLS."),
    key("portUnification", None, Kind::Flag, "false", unless_false(NO_PEER_TLS), "Whether they understand both."),
    key("sslQuorumReloadCertFiles", None, Kind::Flag, "false", idle("false", NO_PEER_TLS), "Whether changed certificates are loaded."),
    key("quorum.auth.enableSasl", None, Kind::Flag, "false", unless_false(NO_PEER_SASL), "Whether members authenticate."),
    key("quorum.auth.serverRequireSasl", None, Kind::Flag, "false", unless_false(NO_PEER_SASL), "Whether they must, to others."),
    key("quorum.auth.learnerRequireSasl", None, Kind::Flag, "false", unless_false(NO_PEER_SASL), "Whether they must, to the leader."),
    key("quorum.auth.kerberos.servicePrincipal", None, Kind::Text, "zkquorum/localhost", idle("zkquorum/localhost", NO_PEER_SASL), "Their Kerberos name."),
    key("quorum.auth.learner.saslLoginContext", None, Kind::Text, "QuorumLearner", idle("quorumlearner", NO_PEER_SASL), "Section of the JAAS file."),
    key("quorum.auth.server.saslLoginContext", None, Kind::Text, "QuorumServer", idle("quorumserver", NO_PEER_SASL), "Section of the JAAS file."),
    key("quorum.cnxn.threads.size", None, Kind::Int(any("")), "20", idle("20", ONE_LOOP), "Threads for connections between members."),
    key("multiAddress.enabled", Prefixed, Kind::Flag, "false", Flag(|d, on| d.ensemble.multi_address = on), "Whether members may have several addresses."),
    key("multiAddress.reachabilityCheckTimeoutMs", Prefixed, INT, "1000", idle("1000", "addresses are tried in order here"), "How long a check of one may take."),
    key("multiAddress.reachabilityCheckEnabled", Prefixed, Kind::Flag, "true", idle("true", "addresses are tried in order here"), "Whether they are checked."),
    key("cnxTimeout", Prefixed, MILLIS, "5000", Int(|d, n| d.ensemble.options.cnx_timeout = millis(n)), "How long connecting for an election may take."),
    key("quorumCnxnTimeoutMs", Prefixed, INT, "-1", idle("-1", "it is syncLimit × tickTime here"), "How long a member may be silent in an election."),
    key("electionPortBindRetry", Prefixed, INT, "3", Int(bind_tries), "How often to try to listen for other members, a second apart; 0 is for ever."),
    key("fastleader.minNotificationInterval", Prefixed, MILLIS, "200", Int(|d, n| d.ensemble.options.notification_interval_min = millis(n)), "After so long without a vote a server that looks for a leader sends its own again; then after twice as long each time."),
    key("fastleader.maxNotificationInterval", Prefixed, MILLIS, "60000", Int(|d, n| d.ensemble.options.notification_interval_max = millis(n)), "After so long at the latest."),
    key("leaderConnectDelayDuringRetryMs", Prefixed, MILLIS_OR_NONE, "100", Int(|d, n| d.ensemble.options.leader_connect_delay = millis(n)), "How long to wait before connecting to the leader again."),
    key("leaderServes", Prefixed, Kind::YesNo, "yes", Flag(|d, on| d.ensemble.options.leader_serves = on), "Whether the leader serves clients."),
    key("leader.nodelay", Bare, Kind::Flag, "true", idle("true", "small packets are never held back here"), "TCP_NODELAY on the leader's side."),
    key("follower.nodelay", Bare, Kind::Flag, "true", idle("true", "small packets are never held back here"), "TCP_NODELAY on the follower's side."),
    key("leader.maxConcurrentSnapSyncs", Prefixed, INT, "10", idle("10", NO_SYNC_LIMIT), "Snapshots sent to observers at a time."),
    key("leader.maxConcurrentDiffSyncs", Prefixed, INT, "100", idle("100", NO_SYNC_LIMIT), "Differences sent to observers at a time."),
    key("leader.maxTimeToWaitForEpoch", Prefixed, INT, "-1", idle("-1", "it is initLimit × tickTime here"), "How long a new leader waits for others."),
    key("leader.ackLoggingFrequency", Prefixed, INT, "1000", idle("1000", "acknowledgements are not logged here"), "How often acknowledgements are logged."),
    key("leader.closeSocketAsync", Prefixed, Kind::Flag, "false", idle("false", ONE_LOOP), "Whether the leader closes in the background."),
    key("learner.closeSocketAsync", Prefixed, Kind::Flag, "false", idle("false", ONE_LOOP), "Whether learners close in the background."),
    key("learner.asyncSending", Prefixed, Kind::Flag, "false", idle("false", ONE_LOOP), "Whether learners send in the background."),
    key("follower.skipLearnerRequestToNextProcessor", Prefixed, Kind::Flag, "false", idle("false", ONE_LOOP), "A shortcut in the follower."),
    key("forward_learner_requests_to_commit_processor_disabled", Prefixed, Kind::Flag, "false", idle("false", ONE_LOOP), "A shortcut in the leader."),
    key("observer.reconnectDelayMs", Prefixed, LONG, "0", Int(|d, n| d.ensemble.options.observer_reconnect_delay = delay(n)), "An observer waits up to so many milliseconds before it connects to its leader. 0 or less: not at all."),
    key("observer.election.DelayMs", Prefixed, LONG, "200", Int(|d, n| d.ensemble.options.observer_election_delay = delay(n)), "An observer that lost its leader waits up to so many milliseconds before it looks for one. 0 or less: not at all."),
    key("observer.syncEnabled", Prefixed, Kind::Flag, "true", idle("true", "observers always write a log here"), "Whether an observer syncs its log."),
    key("observerMaster.sizeLimit", Prefixed, INT, "33554432", Int(|d, n| d.ensemble.options.observer_master_bytes = bytes(n)), "Bytes of transactions that a follower keeps for an observer that it brings up to date."),
    key("commitProcessor.numWorkerThreads", Prefixed, INT, "cores", idle("", ONE_LOOP), "Threads of the commit processor."),
    key("commitProcessor.maxReadBatchSize", Prefixed, INT, "-1", idle("-1", ONE_LOOP), "Reads between two commits."),
    key("commitProcessor.maxCommitBatchSize", Prefixed, INT, "1", idle("1", ONE_LOOP), "Commits between two reads."),
    key("commitProcessor.shutdownTimeout", Prefixed, LONG, "5000", idle("5000", ONE_LOOP), "How long to wait for its threads."),
    key("forceSnapshotSync", Prefixed, Kind::Flag, "false", Flag(|d, on| d.ensemble.options.force_snapshot_sync = on), "Always send snapshots; for tests."),
    key("testingonly.initialZxid", Prefixed, LONG, "none", idle("", FOR_TESTS), "The first zxid; for tests."),
    key("test.allowDiscontinuousProposals", Prefixed, Kind::Flag, "false", idle("false", FOR_TESTS), "Accept gaps; for tests."),
];
