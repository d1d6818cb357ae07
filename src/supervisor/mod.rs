//! Decides. Synchronous, no I/O, no clock.
