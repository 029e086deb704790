"""A file system that fills up under load: the server must stop acknowledging, say why, and lose nothing."""

import contextlib
import subprocess
import time

from harness import places, wire
from harness.report import Skip
from harness.server import Server

from .load import writers

_WORDS = ("no space left", "enospc", "disk full", "disk is full")


@contextlib.contextmanager
def _small_disk(megabytes):
    folder = places.scratch("full-disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        raise Skip(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _comes_to_say(server):
    for _ in range(100):
        text = server.log_text().lower()
        if any(words in text for words in _WORDS):
            return True
        time.sleep(0.1)
    return False


def full_disk():
    """Fills 24 MB, looks at the server's words, makes room, starts again, compares."""
    with _small_disk(24) as disk, Server(data=disk / "data") as server:
        load = writers(server.port, "full", size=5000)
        for writer in load:
            writer.join()
        total = sum(writer.acknowledged for writer in load)
        assert total > 100, f"only {total} writes were acknowledged before the disk was full"
        # The connections break before the last words of the server are on paper.
        assert _comes_to_say(server), "the log does not say that the disk is full"
        server.kill()
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        server.start()
        with wire.Client(server.port).connect() as client:
            for writer in load:
                writer.verify(client)
            client.create("/room-again", b"")
