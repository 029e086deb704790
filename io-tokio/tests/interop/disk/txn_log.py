"""Reads as much of ZooKeeper's transaction log as the checks need: zxids and digests."""

import collections
import struct
import zlib

Record = collections.namedtuple("Record", "zxid kind digest")

_MAGIC = b"ZKLG"
_ERROR = -1


def records(data):
    """All whole records under a data directory, in the order of the files. `digest` is None where there is none."""
    files = sorted((data / "version-2").glob("log.*"), key=lambda file: int(file.suffix[1:], 16))
    return [record for file in files for record in _file(file.read_bytes())]


def last_digest(data):
    """The newest digest on disk, None if the log holds none."""
    return next((record.digest for record in reversed(records(data)) if record.digest is not None), None)


def _file(content):
    if not content.startswith(_MAGIC):
        return
    at = 16
    while at + 12 <= len(content):
        checksum, length = struct.unpack_from(">qi", content, at)
        payload = content[at + 12:at + 12 + length]
        end = at + 12 + length
        if length <= 0 or content[end:end + 1] != b"B":
            return
        assert zlib.adler32(payload) == checksum, f"checksum at {at}"
        zxid, kind = struct.unpack_from(">q8xi", payload, 12)
        yield Record(zxid, kind, _digest(payload, zxid))
        at = end + 1


def _digest(payload, zxid):
    # Zabra's records end with eight bytes more: the zxid of the first record of the same write, which is no later
    # than the record's own. A digest of ZooKeeper's that is read as one is larger than any zxid here.
    if len(payload) >= 20:
        version, value, batch = struct.unpack(">iqq", payload[-20:])
        if version == 2 and 0 < batch <= zxid:
            return value % (1 << 64)
    # The digest comes last; version 2 is the only one there is, and nothing else ends like that by chance: eight
    # bytes before the end of a transaction without digest there is part of its last field.
    version, value = struct.unpack(">iq", payload[-12:])
    return value % (1 << 64) if version == 2 else None
