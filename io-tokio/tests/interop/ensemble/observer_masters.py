"""Observers that learn from followers, of their own kind and of the other: what they show, and a follower that dies."""

import time

from harness import wire
from harness.ports import free_port

from . import mixes
from .cluster import Ensemble, wait_for
from .load import Load

# Who leads, who follows (there are two of them), and who observes.
MIXES = [("zabra", "java39", "zabra"), ("zabra", "zabra", "java39"), ("java39", "java39", "zabra"),
         ("java39", "zabra", "java39"), ("zabra", "zabra", "zabra")]
# Those in which the two ends of an observer's link are of different kinds.
QUICK = MIXES[:2]
_OBSERVER, _LEADER = 4, 3
_WRITERS = 4
_KEPT = 50


def _ensemble(leader, follower, observer):
    return Ensemble({1: follower, 2: follower, _LEADER: leader, _OBSERVER: observer}, observers=[_OBSERVER],
                    config={"observerMasterPort": free_port()})


def master(ensemble):
    """The number of whom the observer learns from, once it serves."""
    def found():
        lines = ensemble.members[_OBSERVER].four_letter("mntr").splitlines()
        number = next((line.split()[1] for line in lines if line.startswith("zk_observer_master_id")), None)
        return int(number) if number and int(number) > 0 else None
    return wait_for("the observer serves", found)


def served(leader, follower, observer):
    """Everything that a member is checked for, through an observer behind a follower."""
    with _ensemble(leader, follower, observer) as ensemble:
        ensemble.start(leader=_LEADER)
        assert ensemble.mode(_OBSERVER) == "observer", ensemble.mode(_OBSERVER)
        assert master(ensemble) in (1, 2), f"the observer learns from {master(ensemble)}"
        mixes.check(ensemble)


def dies(leader, follower, observer, kills):
    """The follower is killed under load, again and again: the observer finds the other one, and its session goes on."""
    with _ensemble(leader, follower, observer) as ensemble:
        ensemble.start(leader=_LEADER)
        client = wire.Client(ensemble.port(_OBSERVER)).connect(timeout_ms=30_000)
        session = client.session
        client.create("/kept", b"", kind=wire.EPHEMERAL)
        with Load(ensemble, writers=_WRITERS, kept=_KEPT) as load:
            for _ in range(kills):
                time.sleep(1)
                before = master(ensemble)
                assert before != _LEADER, "the observer learns from the leader"
                ensemble.members[before].kill()
                client.sock.close()
                wait_for("the observer learns from another", lambda before=before: master(ensemble) != before)
                client = wait_for("the session goes on", lambda: mixes.attach(ensemble, _OBSERVER, session))
                assert client.exists("/kept"), "its ephemeral node is gone"
                ensemble.members[before].launch()
                ensemble.serving()
                acknowledged = load.acknowledged()
                wait_for("the load goes on", lambda count=acknowledged: load.acknowledged() >= count + 20)
            load.stop()
            load.check(ensemble.same_tree())
            assert load.lost_sessions() == 0, f"{load.lost_sessions()} sessions were lost"
        client.close_session()
        ensemble.no_complaints()
