"""Debian's zkCli.sh as a process that is given one command at a time."""

import os
import signal
import subprocess
import threading

from harness import places

# What `version` prints, and what it prints on a shell without a connection.
_SENTINEL = "ZooKeeper CLI version:"
_SENTINEL_CLOSED = "Not connected"
_SCRIPT = str(places.DEBIAN_SCRIPTS / "zkCli.sh")
_ANSWER_SECONDS = 30


def _environment():
    # UTF-8 in and out whatever the locale; a client JVM that starts quickly.
    flags = "-Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 -Dstderr.encoding=UTF-8 -Dsun.stdout.encoding=UTF-8 " \
            "-Dsun.stderr.encoding=UTF-8 -XX:TieredStopAtLevel=1 -Duser.timezone=UTC"
    return {**os.environ, "CLIENT_JVMFLAGS": flags, "LC_ALL": "C.UTF-8"}


def once(address, words):
    """Runs one command without a shell: its output and exit code."""
    done = subprocess.run([_SCRIPT, "-server", address, "-waitforconnection", *words], env=_environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_ANSWER_SECONDS, check=False)
    output, _ = _split(done.stdout)
    return f"{output}exit code {done.returncode}\n"


class Shell:
    """An interactive zkCli without JLine, which prints neither prompts nor echoes."""

    def __init__(self, address):
        self._process = subprocess.Popen([_SCRIPT, "-server", address, "-waitforconnection"], env=_environment(),
                                         text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, bufsize=1, start_new_session=True)
        self._closed = False
        self._events = ""
        self.greeting = self.settle()

    def command(self, line):
        """The command's output. Watch events that came with it wait for `settle`."""
        self._closed = line == "close"
        self._send(line)
        output, self._events = _split(self._until_sentinel())
        return output

    def settle(self):
        """Waits until all events due to what was done so far are printed, and returns them, one a line.

        `sync` is answered through the event thread, behind every event that came before it. `version` prints a known
        line without asking the server, which is why commands.txt does not use it in a shell.
        """
        events, self._events = self._events, ""
        if self._closed:
            return events
        self._send("sync /")
        _, late = _split(self._until_sentinel())
        return events + late

    def quit(self):
        """Leaves the shell: its last words and exit code."""
        rest, _ = self._process.communicate("quit\n", timeout=_ANSWER_SECONDS)
        output, _ = _split(rest)
        return f"{output}exit code {self._process.returncode}\n"

    def destroy(self):
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self._kill()
            self._process.wait()

    def _kill(self):
        # zkCli.sh is a shell script that waits for its JVM: both have to go.
        os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, line):
        self._process.stdin.write(f"{line}\nversion\n")
        self._process.stdin.flush()

    def _until_sentinel(self):
        watchdog = threading.Timer(_ANSWER_SECONDS, self._kill)
        watchdog.start()
        try:
            lines = []
            for line in self._process.stdout:
                if line.startswith(_SENTINEL_CLOSED if self._closed else _SENTINEL):
                    return "".join(lines)
                lines.append(line)
            raise RuntimeError("zkCli ended or hung:\n" + "".join(lines))
        finally:
            watchdog.cancel()


def _split(text):
    """Output and watch events apart, without empty lines: the two threads that print them may interleave."""
    output, events = [], []
    for line in text.splitlines():
        if line.startswith("WatchedEvent state:Closed"):
            # Made by the client itself, at a moment of its own choice.
            continue
        if line.startswith("WatchedEvent "):
            events.append(line)
        elif line.strip() and line != "WATCHER::":
            output.append(line)
    return "".join(f"{line}\n" for line in output), "".join(f"{line}\n" for line in events)
