"""One line a test, and a tally in the form run.sh adds up."""

import sys
import time
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; the message says why."""


class Report:
    """Collects the outcomes of one suite."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = 0
        self.failed = 0
        self.skipped = 0

    def run(self, name, test, *arguments):
        """Runs one test; any exception but Skip is its failure. Returns whether it did not fail."""
        start = time.monotonic()
        try:
            test(*arguments)
        except Skip as reason:
            self.skip(name, reason)
            return True
        except Exception as error:
            if not isinstance(error, AssertionError):
                traceback.print_exc(file=sys.stdout)
            self.fail(name, error)
            return False
        self.ok(name, time.monotonic() - start)
        return True

    def ok(self, name, seconds=None):
        """Counts a test that passed."""
        self.passed += 1
        self._line("ok  ", name, "" if seconds is None else f"{seconds:.1f} s")

    def fail(self, name, reason):
        """Counts a test that failed."""
        self.failed += 1
        self._line("FAIL", name, reason)

    def skip(self, name, reason):
        """Counts a test that could not run."""
        self.skipped += 1
        self._line("skip", name, reason)

    def _line(self, word, name, note):
        text = f"{word} {self.suite}: {name}"
        print(f"{text} ({note})" if note else text, flush=True)

    def finish(self):
        """Prints the tally and leaves with its exit code."""
        print(tally(self.passed, self.failed, self.skipped), flush=True)
        sys.exit(1 if self.failed else 0)


def tally(passed, failed, skipped):
    """The last line of every suite and of run.sh."""
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
