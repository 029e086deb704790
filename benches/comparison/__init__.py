"""The parts of benches/compare: servers to start, measurements to take, bars to hold, a table and a picture to draw."""
