"""What the suites share: where things are, servers to start, a client to talk with, a report to write."""
