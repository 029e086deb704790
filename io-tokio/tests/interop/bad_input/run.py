#!/usr/bin/env python3
"""Bad bytes and bad clients against one server process, which must stay up, stay small and serve everybody else.

One server takes all cases one after the other; what a case keeps open stays open until its checks are done. Arguments
select cases by part of their name.
"""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from bad_input.cases import all_cases  # noqa: E402
from harness import wire  # noqa: E402
from harness.report import Report, Skip  # noqa: E402
from harness.server import Server, raise_file_limit  # noqa: E402

_MB = 1 << 20
# Java's heap may grow to 768 MB whatever is asked of it.
_RESIDENT_LIMIT = {"zabra": 256 * _MB, "java38": 1280 * _MB, "java39": 1280 * _MB}


def check(server, case, name):
    """Runs a case, then looks at the server while the case's connections are still open."""
    if name.startswith("5000") and raise_file_limit() < 6000:
        raise Skip("the limit on open files is too low")
    held = case(server) or []
    try:
        _still_fine(server)
    finally:
        for sock in held:
            sock.close()
    _still_fine(server)


def _still_fine(server):
    assert server.alive(), f"the server ended with {server.process.returncode}"
    with wire.Client(server.port).connect(timeout_ms=4000) as client:
        path = client.create("/served-", b"data", kind=wire.SEQUENTIAL)
        assert client.get(path)[0] == b"data"
        client.close_session()
    resident = server.resident_bytes()
    limit = _RESIDENT_LIMIT[server.kind]
    assert resident < limit, f"resident memory is {resident // _MB} MB, the limit {limit // _MB} MB"


def main():
    """Runs the selected cases."""
    report = Report("bad_input")
    raise_file_limit()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server())
        for name, case in all_cases():
            if not all(word in name for word in sys.argv[1:]):
                continue
            if not server.alive():
                server.start()
            report.run(name, check, server, case, name)
        print(f"     resident at the end: {server.resident_bytes() // _MB if server.alive() else 0} MB")
    report.finish()


if __name__ == "__main__":
    main()
