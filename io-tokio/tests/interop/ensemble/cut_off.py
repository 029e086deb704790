"""The leader is cut off from the others, and its clients are not: at no time do both sides acknowledge writes.

Clients of both sides write on. What each was told goes into one history (`harness.history`), and after the network is
whole again every member must show a tree that this history explains.
"""

import time

from harness.network import Network

from .cluster import SYNC_LIMIT, TICK_MS, Ensemble, wait_for
from .load import Load

_TIMES = 3
# The old leader needs that long to see that it is alone.
_ALONE_SECONDS = SYNC_LIMIT * TICK_MS / 1000


def cut_off(*kinds):
    """Cuts off whoever leads, some times."""
    with Network([1, 2, 3]) as network, Ensemble(dict(enumerate(kinds, 1)), hosts=network.hosts) as ensemble:
        ensemble.start(leader=3)
        with Load(ensemble, writers=6) as load:
            for _ in range(_TIMES):
                alone = ensemble.leader()
                network.hosts[alone].cut()
                others = [number for number in ensemble.members if number != alone]
                ensemble.serving(others)
                load.progress()
                wait_for(f"{ensemble.name(alone)} leads no more", lambda: ensemble.mode(alone) is None)
                # Some of the clients are on its side, and cannot write.
                time.sleep(_ALONE_SECONDS)
                network.hosts[alone].heal()
                ensemble.serving()
                load.progress()
            print(f"     {load.finish()}")
        ensemble.no_complaints()
