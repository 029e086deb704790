"""Histories that are in order and such that are not: a checker that never finds anything proves nothing."""

from .history import Broken, History, Read, Write

_PATH = "/counter"


def _write(sent, acknowledged, client, zxid, version, value=None):
    return Write(sent, acknowledged, client, _PATH, zxid, version, value or f"{client}{version}")


def _read(sent, client, version, value, synced=False):
    return Read(sent, client, _PATH, 0, version, value, synced)


_IN_ORDER = [_write(0, 2, "a", 11, 1), _write(1, 3, "b", 12, 2), _write(4, 5, "a", 14, 3)]
# (what it is, events, values whose writes were not acknowledged, what is left, whether it is in order)
_CASES = [
    ("nothing", [], [], None, True),
    ("in order", _IN_ORDER, [], (3, "a3"), True),
    ("an unknown write is there", [*_IN_ORDER, _read(6, "b", 4, "c4")], ["c4"], (4, "c4"), True),
    ("an unknown write is not there", _IN_ORDER, ["c4"], (3, "a3"), True),
    ("an old read by one who knows no better", [*_IN_ORDER, _read(6, "c", 1, "a1")], [], None, True),
    ("at once, the later one first", [_write(0, 9, "a", 12, 2), _write(1, 2, "b", 11, 1)], [], None, True),
    ("one zxid twice", [_write(0, 1, "a", 11, 1), _write(2, 3, "b", 11, 2)], [], None, False),
    ("one version twice", [_write(0, 9, "a", 11, 1), _write(0, 9, "b", 12, 1)], [], None, False),
    ("against real time", [_write(0, 1, "a", 12, 2), _write(2, 3, "b", 11, 1)], [], None, False),
    ("a lost write", _IN_ORDER, [], (2, "b2"), False),
    ("what nobody wrote", [*_IN_ORDER, _read(6, "b", 4, "x")], [], None, False),
    ("another value", [*_IN_ORDER, _read(6, "b", 3, "b2")], [], None, False),
    ("an unknown write twice", [*_IN_ORDER, _read(6, "b", 4, "c"), _read(7, "b", 5, "c")], ["c"], None, False),
    ("behind its own write", [*_IN_ORDER, _read(6, "a", 2, "b2")], [], None, False),
    ("reads go back", [*_IN_ORDER, _read(6, "c", 3, "a3"), _read(7, "c", 1, "a1")], [], None, False),
    ("a sync that shows too little", [*_IN_ORDER, _read(6, "c", 2, "b2", synced=True)], [], None, False),
    ("a sync at the same time", [*_IN_ORDER, _read(4.5, "c", 2, "b2", synced=True)], [], None, True),
]


def tell_apart():
    """Every case is judged right."""
    for name, events, unknown, final, in_order in _CASES:
        history = History()
        for value in unknown:
            history.sent(_PATH, value)
        for event in events:
            (history.wrote if isinstance(event, Write) else history.read)(event)
        try:
            history.check(final={_PATH: final} if final else None)
            broken = None
        except Broken as why:
            broken = why
        assert (broken is None) == in_order, f"{name}: {broken or 'nothing found'}"
