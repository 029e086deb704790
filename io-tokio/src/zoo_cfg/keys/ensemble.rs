//! What only an ensemble needs.

use super::Effect::{Quiet, Refused, Text};
use super::Property::{Bare, None, Prefixed};
use super::{Effect, Key, NO_REPLICATION, NO_SASL, key};
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::{any, any_long};

const INT: Kind = Kind::Num(any(""));
const PARSED: Kind = Kind::Int(any(""));
const LONG: Kind = Kind::Num(any_long(""));
const REFUSED: Effect = Refused { harmless: "", why: NO_REPLICATION };
const UNLESS_FALSE: Effect = Refused { harmless: "false", why: NO_REPLICATION };
const UNLESS_FALSE_SASL: Effect = Refused { harmless: "false", why: NO_SASL };

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("server.*", None, Kind::Text, "none", Text(|d, address| d.member(address)), "A member of the ensemble. A single one is ignored, as with ZooKeeper; more are an error until Zabra replicates."),
    key("group*", None, Kind::Text, "none", REFUSED, "Members that vote together."),
    key("weight*", None, Kind::Text, "none", REFUSED, "A member's weight."),
    key("dynamicConfigFile", None, Kind::Text, "none", REFUSED, "The file that names the members."),
    key("oraclePath", None, Kind::Text, "none", REFUSED, "A file that decides between two members."),
    key("standaloneEnabled", None, Kind::Flag, "true", Refused { harmless: "true", why: NO_REPLICATION }, "Whether a single member runs without an ensemble."),
    key("reconfigEnabled", None, Kind::Flag, "false", Effect::Flag(|d, on| d.settings.core.reconfig_enabled = on), "Whether members can change; a standalone server only answers another error."),
    key("peerType", None, Kind::OneOf(&["participant", "observer"]), "participant", Refused { harmless: "participant", why: NO_REPLICATION }, "Whether this member votes."),
    key("observerMasterPort", None, PARSED, "none", Quiet, "Where observers follow a follower."),
    key("initLimit", None, PARSED, "required", Quiet, "Ticks that a member may take to connect and catch up."),
    key("syncLimit", None, PARSED, "required", Quiet, "Ticks that a member may be out of touch."),
    key("connectToLearnerMasterLimit", None, PARSED, "initLimit", Quiet, "Ticks that connecting to the leader may take."),
    key("electionAlg", None, Kind::OneOf(&["3"]), "3", Quiet, "How a leader is elected; there is one way."),
    key("quorumListenOnAllIPs", None, Kind::Flag, "false", Quiet, "Whether members listen on all addresses."),
    key("syncEnabled", None, Kind::Flag, "true", Quiet, "Whether observers write a log."),
    key("localSessionsEnabled", None, Kind::Flag, "false", Quiet, "Whether sessions can be local to a member."),
    key("localSessionsUpgradingEnabled", None, Kind::Flag, "false", Quiet, "Whether those can become global."),
    key("sslQuorum", None, Kind::Flag, "false", UNLESS_FALSE, "Whether members talk TLS."),
    key("portUnification", None, Kind::Flag, "false", UNLESS_FALSE, "Whether they understand both."),
    key("sslQuorumReloadCertFiles", None, Kind::Flag, "false", Quiet, "Whether changed certificates are loaded."),
    key("quorum.auth.enableSasl", None, Kind::Flag, "false", UNLESS_FALSE_SASL, "Whether members authenticate."),
    key("quorum.auth.serverRequireSasl", None, Kind::Flag, "false", UNLESS_FALSE_SASL, "Whether they must, to others."),
    key("quorum.auth.learnerRequireSasl", None, Kind::Flag, "false", UNLESS_FALSE_SASL, "Whether they must, to the leader."),
    key("quorum.auth.kerberos.servicePrincipal", None, Kind::Text, "zkquorum/localhost", Quiet, "Their Kerberos name."),
    key("quorum.auth.learner.saslLoginContext", None, Kind::Text, "QuorumLearner", Quiet, "Section of the JAAS file."),
    key("quorum.auth.server.saslLoginContext", None, Kind::Text, "QuorumServer", Quiet, "Section of the JAAS file."),
    key("quorum.cnxn.threads.size", None, PARSED, "20", Quiet, "Threads for connections between members."),
    key("multiAddress.enabled", Prefixed, Kind::Flag, "false", Quiet, "Whether members have several addresses."),
    key("multiAddress.reachabilityCheckTimeoutMs", Prefixed, INT, "1000", Quiet, "How long a check of one may take."),
    key("multiAddress.reachabilityCheckEnabled", Prefixed, Kind::Flag, "true", Quiet, "Whether they are checked."),
    key("cnxTimeout", Prefixed, INT, "5000", Quiet, "How long connecting for an election may take."),
    key("quorumCnxnTimeoutMs", Prefixed, INT, "-1", Quiet, "How long a member may be silent in an election."),
    key("electionPortBindRetry", Prefixed, INT, "3", Quiet, "How often to try to listen on the election port."),
    key("fastleader.minNotificationInterval", Prefixed, INT, "200", Quiet, "Shortest time between two votes."),
    key("fastleader.maxNotificationInterval", Prefixed, INT, "60000", Quiet, "Longest time between two votes."),
    key("leaderConnectDelayDuringRetryMs", Prefixed, INT, "100", Quiet, "How long to wait before connecting to the leader again."),
    key("leaderServes", Prefixed, Kind::YesNo, "yes", Quiet, "Whether the leader serves clients."),
    key("leader.nodelay", Bare, Kind::Flag, "true", Quiet, "TCP_NODELAY on the leader's side."),
    key("follower.nodelay", Bare, Kind::Flag, "true", Quiet, "TCP_NODELAY on the follower's side."),
    key("leader.maxConcurrentSnapSyncs", Prefixed, INT, "10", Quiet, "Snapshots sent at a time."),
    key("leader.maxConcurrentDiffSyncs", Prefixed, INT, "100", Quiet, "Differences sent at a time."),
    key("leader.maxTimeToWaitForEpoch", Prefixed, INT, "-1", Quiet, "How long a new leader waits for others."),
    key("leader.ackLoggingFrequency", Prefixed, INT, "1000", Quiet, "How often acknowledgements are logged."),
    key("leader.closeSocketAsync", Prefixed, Kind::Flag, "false", Quiet, "Whether the leader closes in the background."),
    key("learner.closeSocketAsync", Prefixed, Kind::Flag, "false", Quiet, "Whether learners close in the background."),
    key("learner.asyncSending", Prefixed, Kind::Flag, "false", Quiet, "Whether learners send in the background."),
    key("follower.skipLearnerRequestToNextProcessor", Prefixed, Kind::Flag, "false", Quiet, "A shortcut in the follower."),
    key("forward_learner_requests_to_commit_processor_disabled", Prefixed, Kind::Flag, "false", Quiet, "A shortcut in the leader."),
    key("observer.reconnectDelayMs", Prefixed, LONG, "0", Quiet, "How long an observer waits before it comes back."),
    key("observer.election.DelayMs", Prefixed, LONG, "200", Quiet, "How long an observer waits for an election."),
    key("observer.syncEnabled", Prefixed, Kind::Flag, "true", Quiet, "Whether an observer syncs its log."),
    key("observerMaster.sizeLimit", Prefixed, INT, "33554432", Quiet, "Bytes kept for observers."),
    key("commitProcessor.numWorkerThreads", Prefixed, INT, "cores", Quiet, "Threads of the commit processor."),
    key("commitProcessor.maxReadBatchSize", Prefixed, INT, "-1", Quiet, "Reads between two commits."),
    key("commitProcessor.maxCommitBatchSize", Prefixed, INT, "1", Quiet, "Commits between two reads."),
    key("commitProcessor.shutdownTimeout", Prefixed, LONG, "5000", Quiet, "How long to wait for its threads."),
    key("forceSnapshotSync", Prefixed, Kind::Flag, "false", Quiet, "Always send snapshots; for tests."),
    key("testingonly.initialZxid", Prefixed, LONG, "none", Quiet, "The first zxid; for tests."),
    key("test.allowDiscontinuousProposals", Prefixed, Kind::Flag, "false", Quiet, "Accept gaps; for tests."),
];
