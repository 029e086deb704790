"""Every role is killed and held under load; what was acknowledged stays, and no two sides ever acknowledge."""

import signal
import time

from .cluster import SYNC_LIMIT, TICK_MS, Ensemble
from .load import Load

# Long enough that everybody gives up on a member that is held.
_HELD_SECONDS = 2 * SYNC_LIMIT * TICK_MS / 1000


def faults(leader, first, second):
    """Kills and holds the leader, then each of the others, whoever leads by then."""
    with Ensemble({1: first, 2: second, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        with Load(ensemble) as load:
            load.progress()
            for fault in (_kill, _hold):
                for victim in _leader_first(ensemble):
                    fault(ensemble, load, victim)
            load.progress()
            print(f"     {load.finish()}")
        ensemble.no_complaints()


def _leader_first(ensemble):
    leads = ensemble.leader()
    return [leads, *(number for number in ensemble.members if number != leads)]


def _kill(ensemble, load, victim):
    ensemble.members[victim].kill()
    ensemble.serving([number for number in ensemble.members if number != victim])
    load.progress()
    ensemble.members[victim].launch()
    ensemble.serving()


def _hold(ensemble, load, victim):
    ensemble.members[victim].signal(signal.SIGSTOP)
    time.sleep(_HELD_SECONDS)
    ensemble.serving([number for number in ensemble.members if number != victim])
    load.progress()
    ensemble.members[victim].signal(signal.SIGCONT)
    ensemble.serving()
