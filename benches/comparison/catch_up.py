"""How long a member that was away needs to serve again, and what the leader's clients notice of it.

All members hold a large tree. One is stopped, misses many writes, and comes back; later it comes back without its disk.
Meanwhile clients of the leader write at a steady rate.
"""

import time

LOAD = {"load": "write", "connections": 16, "rate": 2000, "warm": 0}
# The member that is away; the one with the highest number leads an ensemble without a history.
AWAY = 1
QUIET_S = 10.0
# After writes that came as fast as they could be taken: snapshots and other followers come to rest.
REST_S = 5.0


def prepare(ensemble, load, znodes):
    """Fills the tree, while all are there."""
    report = load.run(
        ensemble.address([ensemble.leader()]), fill=znodes, connections=16, outstanding=64, size=100, patience=300
    )
    if not report["clean"]:
        raise RuntimeError(f"filling: {report}")


def behind(ensemble, load, writes, znodes):
    """Takes the member away, writes, and lets it come back as it was."""
    ensemble.members[AWAY].stop()
    leader = ensemble.leader()
    report = load.run(
        ensemble.address([leader]), load="write", connections=64, outstanding=16, total=writes, keys=znodes,
        no_prepare=True, patience=300,
    )
    if not report["clean"]:
        raise RuntimeError(f"writes while a member is away: {report}")
    return comes_back(ensemble, load, leader, znodes, fresh=False)


def empty(ensemble, load, znodes):
    """Takes the member away and lets it come back with an empty disk."""
    ensemble.members[AWAY].stop()
    return comes_back(ensemble, load, ensemble.leader(), znodes, fresh=True)


def comes_back(ensemble, load, leader, znodes, fresh):
    """Seconds until it served, and the p99 of the leader's clients in microseconds before and meanwhile."""
    if fresh:
        # Now: what it costs the disk to give back so much is none of the member's doing.
        ensemble.members[AWAY].remove()
    time.sleep(REST_S)
    arguments = {**LOAD, "keys": znodes, "no_prepare": True}
    address = ensemble.address([leader])
    quiet = load.run(address, secs=QUIET_S, **arguments)
    loading = load.hold(address, until_line=True, **arguments)
    with loading:
        ensemble.launch(AWAY)
        took = ensemble.members[AWAY].wait()
    for report in (quiet, loading.report):
        if not report["clean"]:
            raise RuntimeError(f"writes to the leader: {report}")
    return took, quiet["write"]["p99"], loading.report["write"]["p99"]
