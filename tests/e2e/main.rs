//! End to end: the real binary, real processes, what a user can see of them. One file per promise.
//!
//! The children are `chaos` (chaos.rs), the watcher is in harness/. A test whose name begins with `fault_NN` is about
//! that row of the fault matrix: what must not break the supervisor.

mod control;
mod descendants;
mod exit_codes;
mod formation;
mod harness;
mod pid1;
mod restart;
mod signals;
mod spawning;
mod stop;
mod stream;
mod users;
