"""One thin transform per algorithm of `columns/`: wiring, state, timers and counters, and no arithmetic."""
