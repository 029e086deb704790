"""Logs in which digests differ and such in which they do not matter: a check that never finds anything proves nothing."""

from . import digests

_BEGUN = "INFO [main:FileSnap] Reading snapshot /data/version-2/snapshot.2b"
_STAMPED = "INFO [main:DataTree] The digest in the snapshot has digest version of 2, with zxid as 0x2b, and digest value as 12"
_OF_SNAPSHOT = "WARN [main:DataTree] Message:Digests are not matching. Value is Zxid. Value:43"
_OF_LOG = "ERROR [main:DataTree] First digest mismatch on txn: 7205,3,{},17000,1"
_RECOVERED = "ERROR io_tokio::events: the digest of the tree behind 0x2b was logged as 0x1 and is 0x2"
_COMMITTED = "ERROR io_tokio::events: the tree's digest after 0x2b is 0x2, but the transaction says 0x1"
# (what it is, lines, how many of them count, and if Java wrote the snapshot)
_CASES = [
    ("nothing", [_BEGUN, _STAMPED], 0, 0),
    ("the snapshot's", [_BEGUN, _STAMPED, _OF_SNAPSHOT], 1, 0),
    ("the snapshot's, twice", [_BEGUN, _STAMPED, _OF_SNAPSHOT, _OF_LOG.format(43)], 2, 0),
    ("the snapshot's and the log's", [_BEGUN, _STAMPED, _OF_SNAPSHOT, _OF_LOG.format(44)], 2, 1),
    ("the log's, with an empty one before", [_BEGUN, _OF_SNAPSHOT], 1, 1),
    ("found by Zabra", [_RECOVERED], 1, 1),
    ("committed by Zabra", [_COMMITTED], 1, 1),
]


class _Said:
    def __init__(self, lines):
        self._text = "\n".join(lines)

    def log_text(self):
        """As of a server."""
        return self._text


def tell_apart():
    """The check finds what it has to, and nothing else."""
    for name, lines, counted, excused in _CASES:
        for by_java, expected in ((False, counted), (True, excused)):
            found = digests.mismatches(_Said(lines), lambda _, by_java=by_java: by_java)
            assert len(found) == expected, f"{name}, by Java: {by_java}: {found}"
