//! What `mntr` tells.

use std::collections::BTreeMap;
use std::time::Duration;

use zabra_core::config::{Config, FourLetterWords};
use zabra_core::server::{Input, OpenFiles};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{ConnId, ErrorCode};
use zabra_core::wire::Request;

use crate::ask::{ask, code, create, create_with, data, delete, login, make, must, set};

fn server() -> (LoneServer, ConnId) {
    crate::ask::server_with(Config { four_letter_words: FourLetterWords::All, ..Config::default() })
}

/// The lines as key and value. Every key comes once.
fn lines(text: &str) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once('\t').expect("a tab behind the key");
        let key = key.strip_prefix("zk_").expect("every key begins so").to_owned();
        assert_eq!(lines.insert(key, value.to_owned()), None, "{line} comes twice");
    }
    lines
}

fn mntr(lone: &mut LoneServer) -> BTreeMap<String, String> {
    lines(&lone.word("mntr"))
}

/// These lines are among those.
fn expect(lines: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for &(key, value) in expected {
        assert_eq!(lines.get(key).map(String::as_str), Some(value), "{key} in {lines:#?}");
    }
}

/// `4lw.mntr`, `met.gauges`: how things are.
#[test]
fn mntr_gauges() {
    let (mut lone, conn) = server();
    lone.pass(Duration::from_millis(1500));
    must(&mut lone, conn, &create("/e", 1));
    ask(&mut lone, conn, &Request::GetData { path: "/e", watch: true });
    let lines = mntr(&mut lone);
    assert!(!lines.contains_key("open_file_descriptor_count"), "nobody said");
    assert!(!lines.keys().any(|key| key.contains("proposal_size") || key.contains("quorum")), "{lines:#?}");
    expect(
        &lines,
        &[
            ("server_state", "standalone"),
            ("avg_latency", "0.0"),
            ("min_latency", "0"),
            // With the one that asks.
            ("num_alive_connections", "2"),
            ("outstanding_requests", "0"),
            ("uptime", "1500"),
            ("znode_count", "6"),
            ("watch_count", "1"),
            ("ephemerals_count", "1"),
            ("global_sessions", "1"),
            ("local_sessions", "0"),
            ("fsync_threshold_exceed_count", "0"),
            // The stat and a byte of data behind the header; the path behind the other.
            ("last_client_response_size", "89"),
            ("min_client_response_size", "22"),
            ("max_client_response_size", "89"),
        ],
    );
    lone.input(Input::OpenFiles(OpenFiles { count: 17, max: 1024 }));
    expect(&mntr(&mut lone), &[("open_file_descriptor_count", "17"), ("max_file_descriptor_count", "1024")]);
}

/// `met.counters`: what happened, and `4lw.srst`, which begins anew.
#[test]
fn mntr_counters() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    let other = lone.connect();
    lone.input(Input::Closed { conn: other });
    let before = mntr(&mut lone);
    expect(
        &before,
        &[
            ("connection_request_count", "1"),
            ("connection_drop_count", "1"),
            ("connection_rejected", "0"),
            ("connection_revalidate_count", "0"),
            ("looking_count", "0"),
            ("proposal_count", "0"),
            ("response_bytes", "22"),
            ("stale_sessions_expired", "0"),
        ],
    );
    // A handshake, a request with a path and a byte, and the word.
    assert_eq!(before["bytes_received_count"], (49 + 54 + 4).to_string());
    lone.pass(Duration::from_millis(20_000));
    let waits = lone.connect();
    lone.pass(Duration::from_millis(10_000));
    assert!(lone.closed.contains_key(&waits));
    expect(&mntr(&mut lone), &[("stale_sessions_expired", "1"), ("sessionless_connections_expired", "1")]);
    lone.word("srst");
    expect(
        &mntr(&mut lone),
        &[
            ("stale_sessions_expired", "0"),
            ("connection_request_count", "0"),
            ("packets_received", "1"),
            ("cnt_updatelatency", "0"),
            ("last_client_response_size", "-1"),
        ],
    );
}

/// `met.summaries.basic`, `met.summaries.advanced`: how long it took, and how many it concerned.
#[test]
fn mntr_summaries() {
    let (mut lone, conn) = server();
    let (other, _) = lone.client();
    make(&mut lone, conn, "/a");
    for conn in [conn, other] {
        ask(&mut lone, conn, &Request::GetData { path: "/a", watch: true });
    }
    ask(&mut lone, other, &Request::Exists { path: "/a/b", watch: true });
    lone.hold_disk();
    lone.send(conn, 1, zabra_core::types::OpCode::SET_DATA, &set("/a", b"2"));
    lone.pass(Duration::from_millis(30));
    lone.release_disk();
    lone.replies(conn);
    make(&mut lone, conn, "/a/b");
    must(&mut lone, conn, &delete("/a/b"));
    let lines = mntr(&mut lone);
    expect(
        &lines,
        &[
            ("cnt_fsynctime", "6"),
            ("max_fsynctime", "30"),
            ("sum_fsynctime", "30"),
            ("avg_fsynctime", "5.0"),
            ("cnt_readlatency", "3"),
            ("p99_readlatency", "0"),
            ("cnt_updatelatency", "6"),
            ("avg_updatelatency", "5.0"),
            ("p50_updatelatency", "0"),
            ("p999_updatelatency", "30"),
            ("cnt_node_changed_watch_count", "1"),
            ("sum_node_changed_watch_count", "2"),
            ("sum_node_created_watch_count", "1"),
            ("cnt_node_deleted_watch_count", "0"),
            ("cnt_startup_txns_loaded", "1"),
            ("max_startup_txns_loaded", "0"),
        ],
    );
    assert_eq!(lines["watch_bytes"], ((16 + 14) * 2 + 16 + 16).to_string(), "header, type, state, path");
}

/// `quota.metrics`, `quota.errors`: quotas by the first name of their path.
#[test]
fn mntr_quotas() {
    let (mut lone, conn) = crate::ask::server_with(Config {
        four_letter_words: FourLetterWords::All,
        enforce_quota: true,
        ..Config::default()
    });
    for path in ["/q", "/q/in", "/zookeeper/quota/q", "/zookeeper/quota/q/in"] {
        make(&mut lone, conn, path);
    }
    for (path, limits) in [
        ("/q", &b"count=9,bytes=100=;countHardLimit=5"[..]),
        ("/q/in", b"count=1,bytes=-1=;countHardLimit=1"),
    ] {
        let nodes = format!("/zookeeper/quota{path}");
        let open = [(31, "world", "anyone")];
        must(&mut lone, conn, &create_with(&format!("{nodes}/zookeeper_limits"), Some(limits), &open));
        must(&mut lone, conn, &create_with(&format!("{nodes}/zookeeper_stats"), None, &open));
    }
    for _ in 0..2 {
        assert_eq!(code(&mut lone, conn, &create("/q/in/more", 0)), ErrorCode::QUOTAEXCEEDED);
    }
    assert!(data(&mut lone, conn, "/zookeeper/quota/q/zookeeper_stats").is_some());
    expect(
        &mntr(&mut lone),
        &[
            ("q_quota_count_limit_per_namespace", "6"),
            ("q_quota_bytes_limit_per_namespace", "99"),
            ("q_quota_count_usage_per_namespace", "3"),
            ("q_quota_bytes_usage_per_namespace", "3"),
            ("q_quota_exceeded_error_per_namespace", "2"),
        ],
    );
}

/// `auth.ensemble`: logins by an ensemble's name are told apart.
#[test]
fn mntr_ensemble_auth() {
    let config = Config {
        four_letter_words: FourLetterWords::All,
        ensemble_auth_names: vec!["mine".into()],
        ..Config::default()
    };
    let (mut lone, conn) = crate::ask::server_with(config);
    for auth in [&b"mine"[..], b"mine", b""] {
        ask(&mut lone, conn, &login("ensemble", auth));
    }
    lone.send(conn, -4, zabra_core::types::OpCode::AUTH, &login("ensemble", b"other"));
    expect(
        &mntr(&mut lone),
        &[("ensemble_auth_success", "2"), ("ensemble_auth_skip", "1"), ("ensemble_auth_fail", "1")],
    );
}

/// `4lw.mntr`: what a leader, a follower and an observer tell of the ensemble.
#[test]
fn mntr_members() {
    let mut cluster = Cluster::new(&members(3, 1), |config| config.four_letter_words = FourLetterWords::All);
    cluster.start_all();
    let leader = cluster.leader().expect("somebody leads");
    let (conn, _) = cluster.client(leader).expect("it serves");
    cluster.pass(Duration::from_millis(400));
    assert!(cluster.write(leader, conn, "/a"));
    let of_leader = lines(&cluster.word(leader, b"mntr"));
    expect(
        &of_leader,
        &[
            ("server_state", "leader"),
            ("peer_state", "leading - broadcast"),
            ("quorum_size", "3"),
            ("learners", "3"),
            ("synced_followers", "2"),
            ("synced_observers", "1"),
            ("synced_non_voting_followers", "0"),
            ("pending_syncs", "0"),
            ("proposal_count", "2"),
            ("commit_count", "2"),
            ("diff_count", "3"),
            ("snap_count", "0"),
            ("looking_count", "1"),
            ("cnt_election_time", "1"),
            ("cnt_leader_unavailable_time", "1"),
            ("cnt_unavailable_time", "1"),
        ],
    );
    let uptime: u64 = of_leader["leader_uptime"].parse().expect("a number");
    assert!((400..5000).contains(&uptime), "{uptime}");
    let follower = (1..=3).find(|&id| id != leader).expect("there are three");
    let of_follower = lines(&cluster.word(follower, b"mntr"));
    expect(
        &of_follower,
        &[
            ("server_state", "follower"),
            ("learner_proposal_received_count", "2"),
            ("learner_commit_received_count", "2"),
            ("cnt_follower_sync_time", "1"),
            ("cnt_leader_unavailable_time", "0"),
            ("proposal_count", "0"),
        ],
    );
    assert!(!of_follower.contains_key("leader_uptime"));
    assert!(!of_follower.contains_key("synced_observers"), "only those who may have some tell of them");
    let of_observer = lines(&cluster.word(4, b"mntr"));
    expect(
        &of_observer,
        &[
            ("peer_state", "observing - broadcast"),
            ("observer_master_id", &leader.to_string()),
            ("learner_proposal_received_count", "0"),
            ("learner_commit_received_count", "2"),
            ("cnt_observer_sync_time", "1"),
        ],
    );
}
