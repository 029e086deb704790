"""`mntr` of a leader, a follower and an observer: the same names and forms as Java's, and numbers where Java has them."""

import re

from harness import wire

from .cluster import Ensemble

_WHOLE = re.compile(r"-?\d+")
# As Java prints a double.
_DECIMAL = re.compile(r"\d+\.\d+(E-?\d+)?")
# ZooKeeper counts it, and told it before 3.6; it is worth an alarm.
_ON_TOP = {"zk_fsync_threshold_exceed_count"}
# What says that a member is well, or not: everybody's dashboards show these.
_NEEDED = {
    "zk_version", "zk_server_state", "zk_peer_state", "zk_quorum_size", "zk_uptime", "zk_avg_latency", "zk_max_latency",
    "zk_packets_received", "zk_packets_sent", "zk_num_alive_connections", "zk_outstanding_requests", "zk_znode_count",
    "zk_watch_count", "zk_ephemerals_count", "zk_approximate_data_size", "zk_global_sessions", "zk_local_sessions",
    "zk_open_file_descriptor_count", "zk_max_file_descriptor_count", "zk_last_client_response_size", "zk_looking_count",
    "zk_cnt_election_time", "zk_cnt_fsynctime", "zk_cnt_snapshottime", "zk_commit_count", "zk_diff_count",
    "zk_snap_count", "zk_digest_mismatches_count", "zk_connection_rejected", "zk_p99_readlatency", "zk_p99_updatelatency",
    "zk_limited_quota_count_limit_per_namespace", "zk_limited_quota_bytes_usage_per_namespace",
}
_OF_A_LEADER = {
    "zk_learners", "zk_synced_followers", "zk_synced_observers", "zk_synced_non_voting_followers", "zk_pending_syncs",
    "zk_leader_uptime", "zk_last_proposal_size", "zk_min_proposal_size", "zk_max_proposal_size",
}
# Which of these are the same for both, after the same work.
_SAME = {
    "zk_server_state", "zk_peer_state", "zk_quorum_size", "zk_learners", "zk_synced_followers", "zk_synced_observers",
    "zk_synced_non_voting_followers", "zk_pending_syncs", "zk_znode_count", "zk_watch_count", "zk_ephemerals_count",
    "zk_approximate_data_size", "zk_global_sessions", "zk_local_sessions", "zk_num_alive_connections",
    "zk_observer_master_id", "zk_digest_mismatches_count", "zk_connection_rejected",
    "zk_limited_quota_count_limit_per_namespace", "zk_limited_quota_bytes_limit_per_namespace",
    "zk_limited_quota_count_usage_per_namespace", "zk_limited_quota_bytes_usage_per_namespace",
    "zk_cnt_node_created_watch_count", "zk_sum_node_changed_watch_count",
}


def as_java(java="java39"):
    """Both kinds do the same work; each member is compared with the one in its place."""
    expected, found = _told(java), _told("zabra")
    for number, lines in found.items():
        _compare(number, expected[number], lines)


def _told(kind):
    """What each member of an ensemble tells: 3 leads, 1 and 2 follow, 4 observes."""
    with Ensemble(dict.fromkeys((1, 2, 3, 4), kind), observers=[4]) as ensemble:
        ensemble.start(leader=3)
        clients = {number: wire.Client(ensemble.port(number)).connect() for number in ensemble.members}
        first = clients[1]
        for path, data in (("/limited", b"12345"), ("/zookeeper/quota/limited", b""),
                           ("/zookeeper/quota/limited/zookeeper_limits", b"count=9,bytes=100"),
                           ("/zookeeper/quota/limited/zookeeper_stats", b"count=0,bytes=0")):
            first.create(path, data)
        for number, client in clients.items():
            client.call(wire.SYNC, wire.string("/"))
            client.create(f"/ephemeral{number}", b"", kind=wire.EPHEMERAL)
            client.get("/limited", watch=True)
        first.call(*wire.set_request("/limited", b"123", -1))
        for client in clients.values():
            client.call(wire.SYNC, wire.string("/"))
            client.get("/limited")
        return {number: _mntr(member) for number, member in ensemble.members.items()}


def _mntr(member):
    lines = [line.split("\t") for line in member.four_letter("mntr").splitlines()]
    assert all(len(line) == 2 for line in lines), lines
    told = dict(lines)
    assert len(told) == len(lines), "a name comes twice"
    return told


def _form(value):
    return "whole" if _WHOLE.fullmatch(value) else "decimal" if _DECIMAL.fullmatch(value) else "text"


def _compare(number, java, mine):
    needed = _NEEDED | (_OF_A_LEADER if number == 3 else set())
    assert needed <= java.keys(), f"Java's server {number} does not tell {sorted(needed - java.keys())}"
    assert needed <= mine.keys(), f"server {number} does not tell {sorted(needed - mine.keys())}"
    strange = mine.keys() - java.keys() - _ON_TOP
    assert not strange, f"server {number} tells what Java's does not: {sorted(strange)}"
    for key in mine.keys() & java.keys():
        assert _form(mine[key]) == _form(java[key]), f"server {number}: {key} is {mine[key]}, with Java {java[key]}"
    different = {key: (mine.get(key), java.get(key)) for key in _SAME if mine.get(key) != java.get(key)}
    assert not different, f"server {number}, mine and Java's: {different}"
