"""Rewrites what must differ between two runs of the same commands: times, session ids, addresses. Zxids must not."""

import re

# The nodes a fresh server starts with were made at the epoch; that one is compared.
_TIME = re.compile(r"^((?:ctime|mtime) = )(?!.* 1970$).*", re.M)
_SESSION = re.compile(r"0x[0-9a-f]{11,16}\b")
# A container's or TTL node's owner is not a session.
_NOT_SESSIONS = re.compile(r"0x(8000000000000000|ff[0-9a-f]{14})$")
_NOISE = re.compile(r"^(SLF4J: .*|JLine support is .*|Welcome to ZooKeeper!|Connecting to .*)\n", re.M)
# Java prints ephemerals and identities in the order of a hash table.
_EPHEMERALS = re.compile(r"^\[(/.*)\]$", re.M)
_IDENTITIES = re.compile(r"(?<=^Auth scheme: User\n)(?:\w+: .*\n)+", re.M)
_STACK = re.compile(r"^\tat .*\n", re.M)


class Normaliser:
    """Numbers sessions in the order they are first seen."""

    def __init__(self, address):
        self._address = address
        self._sessions = {}

    def __call__(self, text):
        text = text.replace(self._address, "<address>")
        text = _NOISE.sub("", text)
        # The client's own stack traces say nothing about the server beyond the exception above them.
        text = _STACK.sub("", text)
        text = _TIME.sub(r"\1<time>", text)
        text = _EPHEMERALS.sub(lambda match: "[" + ", ".join(sorted(match[1].split(", "))) + "]", text)
        text = _IDENTITIES.sub(lambda match: "".join(sorted(match[0].splitlines(True))), text)
        return _SESSION.sub(self._session, text)

    def _session(self, match):
        if _NOT_SESSIONS.match(match.group()):
            return match.group()
        number = self._sessions.setdefault(match.group(), len(self._sessions) + 1)
        return f"<session {number}>"
