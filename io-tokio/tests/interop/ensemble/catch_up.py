"""Members that were away come back: by the transactions they miss, by a snapshot, or by cutting what nobody else has."""

import pathlib
import signal

from disk import dump, txn_log
from harness import wire

from . import work
from .cluster import Ensemble, wait_for

# More than a leader remembers; a leader may take a snapshot to be cheaper, or must.
_MANY = 900
_NO_LOG = {"snapshotSizeFactor": "-1"}
# What is said of it by Java as a learner and as a leader, and by Zabra as a learner.
_JAVA_LEARNS = {"DIFF": "Getting a diff from the leader", "SNAP": "Getting a snapshot from leader",
                "TRUNC": "Truncating log to get in sync with the leader"}
_JAVA_SENDS = {"DIFF": "Sending DIFF", "SNAP": "Sending snapshot"}
_ZABRA_LEARNS = {"SNAP": "snapshot received", "TRUNC": "log cut"}


def away(leader, learner, other):
    """A learner misses a few transactions, then so many that only a snapshot helps."""
    with Ensemble({1: learner, 2: other, 3: leader}, config=_NO_LOG) as ensemble:
        ensemble.start(leader=3)
        session = work.write(ensemble, 1, "/first").session
        for count, folder, way in ((20, "/few", "DIFF"), (_MANY, "/many", "SNAP"), (20, "/again", "DIFF")):
            ensemble.members[1].kill()
            work.many(ensemble.port(3), folder, count)
            mark = _Marks(ensemble, learner=1, leader=3)
            _comes_back(ensemble, 1)
            mark.expect(way)
            nodes = ensemble.same_tree()
            assert sum(path.startswith(f"{folder}/") for path in nodes) == count, f"{folder} is not whole"
            _restart(ensemble, 1, nodes)
        assert nodes["/first/ephemeral"].stat.owner == session.id, "the session's ephemeral is gone"
        ensemble.no_complaints()


def by_log(leader, learner, other):
    """A learner misses more than the leader remembers, but less than a snapshot weighs: the log on disk serves it."""
    with Ensemble({1: learner, 2: other, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        work.many(ensemble.port(3), "/weight", 2000, size=2000)
        # Only a server that starts takes a snapshot now, and knows by it what one weighs.
        ensemble.members[1].kill()
        work.many(ensemble.port(3), "/missed", _MANY)
        _comes_back(ensemble, 1)
        _restart(ensemble, 1, ensemble.same_tree())
        ensemble.no_complaints()


def cut(leader, other, writes_first):
    """A leader logs what it can give to nobody and dies; the others go on without; what it has too much is cut.

    `writes_first`: the others write something before it comes back, so that its history branches off theirs; else it
    is only longer.
    """
    with Ensemble({1: other, 2: other, 3: leader}) as ensemble:
        ensemble.start(leader=3)
        work.many(ensemble.port(2), "/common", 50)
        before = ensemble.same_tree()
        _tail_of_its_own(ensemble)
        for number in (1, 2):
            ensemble.members[number].launch()
        ensemble.serving([1, 2])
        if writes_first:
            work.many(ensemble.port(1), "/branch", 30)
        mark = _Marks(ensemble, learner=3, leader=ensemble.leader(among=[1, 2]))
        _comes_back(ensemble, 3)
        if not writes_first:
            mark.expect("TRUNC")
        nodes = ensemble.same_tree()
        assert not any(path.startswith("/tail") for path in nodes), "what nobody acknowledged is there"
        assert before.keys() <= nodes.keys(), "what was acknowledged is gone"
        work.many(ensemble.port(3), "/after", 20)
        _restart(ensemble, 3, ensemble.same_tree())
        ensemble.no_complaints()


def _tail_of_its_own(ensemble):
    """The leader, 3, logs creations that no other member has; all are killed."""
    leader = ensemble.members[3]
    with wire.Client(leader.port).connect() as client:
        logged = len(txn_log.records(leader.data))
        for number in (1, 2):
            ensemble.members[number].signal(signal.SIGSTOP)
        for number in (1, 2):
            wait_for(f"{ensemble.name(number)} is held", lambda: _is_held(ensemble.members[number]))
        for number in range(10):
            client.send(*wire.create_request(f"/tail{number}", b""))
        wait_for("the tail is in the leader's log", lambda: len(txn_log.records(leader.data)) >= logged + 10)
        # Stopped before they read it, they are killed without having read it.
        for number in (1, 2, 3):
            ensemble.members[number].kill()


def _is_held(member):
    """Whether every thread has stopped, which takes a moment."""
    states = [task.read_text().rpartition(")")[2].split()[0]
              for task in pathlib.Path(f"/proc/{member.process.pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)


def _comes_back(ensemble, number):
    ensemble.members[number].launch()
    ensemble.serving()


def _restart(ensemble, number, expected):
    """A member that stops and starts again has on its own disk what it got."""
    ensemble.members[number].stop()
    ensemble.members[number].launch()
    ensemble.serving()
    difference = dump.difference(expected, ensemble.dump(number))
    assert not difference, f"{ensemble.name(number)} after its restart: {difference}"


class _Marks:
    """What the two sides of a synchronisation say of it, from now on."""

    def __init__(self, ensemble, learner, leader):
        learns = _ZABRA_LEARNS if ensemble.members[learner].kind == "zabra" else _JAVA_LEARNS
        sends = {} if ensemble.members[leader].kind == "zabra" else _JAVA_SENDS
        self._sources = [(member := ensemble.members[number], len(member.log_text()), words, ensemble.name(number))
                         for number, words in ((learner, learns), (leader, sends))]

    def expect(self, way):
        """It went this way."""
        sources = [source for source in self._sources if way in source[2]]
        assert sources, f"there is nobody who would say {way}"
        for member, begin, words, name in sources:
            said = [word for word, text in words.items() if text in member.log_text()[begin:]]
            assert way in said, f"{name} says {said or 'nothing'} where {way} was due"
