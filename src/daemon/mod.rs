//! Does what the supervisor decides: the loop, spawning, reaping, signals.
