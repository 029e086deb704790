"""What servers say when a digest that was written or sent is not that of their tree."""

import re

# Of a snapshot's and of the log's: Java; of what it finds on the disk and of what it commits: Zabra.
_WORDS = ("digests are not matching", "the digest of the tree behind", "the tree's digest after")
# Java names the transaction of the digest in its snapshot, and of the first that differs in the log.
_JAVA_SNAPSHOT = re.compile(r"Reading snapshot \S*/(snapshot\.\S+)|The digest in the snapshot has .*with zxid as 0x([0-9a-f]+)")
_JAVA_MISMATCH = re.compile(r"igests are not matching.*Value:(\d+)|First digest mismatch on txn: \S*?,\S*?,(\d+),")


def mismatches(server, by_java=lambda snapshot: False):
    """The lines of a server's log that say so.

    Not those of Java about a snapshot of Java's: it stamps that with the digest of the last transaction, while the next
    one may have left some of its changes in it. Then they do not match when it is read; the next transaction's do.
    """
    lines = server.log_text().splitlines()
    excused = None
    snapshot = None
    found = []
    for line in lines:
        if begun := _JAVA_SNAPSHOT.search(line):
            snapshot, zxid = begun[1] or snapshot, begun[2]
            excused = int(zxid, 16) if zxid and snapshot and by_java(snapshot) else None
        elif any(words in line.lower() for words in _WORDS) or "First digest mismatch" in line:
            named = _JAVA_MISMATCH.search(line)
            if not named or int(named[1] or named[2]) != excused:
                found.append(line)
    return found
