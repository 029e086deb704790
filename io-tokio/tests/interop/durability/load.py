"""Writers whose every acknowledgement is remembered, and the check of what a restart left of their writes.

One connection's writes are applied in the order they were sent. So what is found after a crash must be the state after
some prefix of them, and that prefix must hold at least all that was acknowledged.
"""

import random
import threading

from harness import wire

_WINDOW = 256
_KEYS = 20


class Writer:
    """A connection that creates, sets and deletes below a folder of its own until the connection breaks."""

    def __init__(self, port, folder, size=100):
        self.folder = folder
        self.sent = 0
        self.acknowledged = 0
        self.refused = None
        self._padding = b"." * size
        self._client = wire.Client(port, timeout=20).connect(timeout_ms=8000)
        self._client.create(folder)
        for key in range(_KEYS):
            self._client.create(f"{folder}/key{key}")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begins to write."""
        self._thread.start()

    def join(self):
        """Waits until the connection has broken, or until 20 s passed without an acknowledgement."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the writer did not notice the end of the server"

    def _run(self):
        try:
            while True:
                while self.sent < self.acknowledged + _WINDOW:
                    self._client.send(*self._request(self.sent))
                    self.sent += 1
                reply = self._client.receive()
                if reply.error:
                    self.refused = reply.error
                    return
                self.acknowledged += 1
        except OSError:
            pass
        finally:
            self._client.sock.close()

    def _request(self, number):
        kind = number % 5
        if kind == 3:
            return wire.set_request(self._key(number), self._data(number))
        if kind == 4:
            return wire.delete_request(f"{self.folder}/{number - 4}")
        return wire.create_request(f"{self.folder}/{number}", self._data(number))

    def _key(self, number):
        return f"{self.folder}/key{number // 5 % _KEYS}"

    def _data(self, number):
        return b"%d" % number + self._padding

    def _apply(self, state, number):
        kind = number % 5
        if kind == 4:
            del state[f"{self.folder}/{number - 4}"]
        else:
            path = self._key(number) if kind == 3 else f"{self.folder}/{number}"
            state[path] = self._data(number)

    def verify(self, client):
        """Compares what the server has with the writes; returns how many unacknowledged ones survived too.

        Afterwards only the surviving writes count, so that later restarts can be checked against the same writer.
        """
        found = {f"{self.folder}/{name}": None for name in client.children(self.folder)}
        paths = list(found)
        for start in range(0, len(paths), 500):
            batch = paths[start:start + 500]
            for path in batch:
                client.send(wire.GET, wire.string(path) + b"\0")
            for path in batch:
                found[path] = client.receive().body.buffer()
        state = {f"{self.folder}/key{key}": b"" for key in range(_KEYS)}
        for number in range(self.acknowledged):
            self._apply(state, number)
        survivors = self.acknowledged
        while found != state:
            assert survivors < self.sent, self._explain(found)
            self._apply(state, survivors)
            survivors += 1
        extra = survivors - self.acknowledged
        self.sent = self.acknowledged = survivors
        return extra

    def _explain(self, found):
        state = {f"{self.folder}/key{key}": b"" for key in range(_KEYS)}
        for number in range(self.acknowledged):
            self._apply(state, number)
        missing = sorted(path for path in state if path not in found)
        return (f"{self.folder}: no prefix of the writes explains what is there; {self.acknowledged} acknowledged, "
                f"{self.sent} sent; of the acknowledged state {len(missing)} nodes are missing: {missing[:5]}")


def writers(port, name, count=4, size=100):
    """Several writers at once, so that syncs are shared. None begins before all are ready: a server that one of
    them stops could not take the others any more."""
    ready = [Writer(port, f"/{name}-{index}", size) for index in range(count)]
    for writer in ready:
        writer.start()
    return ready


def random_pause(rng: random.Random, longest):
    """A random moment; most are short."""
    return rng.random() ** 2 * longest
