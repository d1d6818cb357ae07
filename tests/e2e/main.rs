//! End to end: the real binary, real processes, what a user can see of them. One file per promise.
//!
//! The children are `chaos` (chaos.rs), the watcher is in harness/. `fault_NN` is one of the numbered faults that
//! must not break the supervisor; what has the same number is about the same fault.

mod burials;
mod cgroup;
mod changes;
mod control;
mod descendants;
mod detach;
mod diagnostics;
mod every_call;
mod every_write;
mod exit_codes;
mod formation;
mod hardness;
mod harness;
mod health;
mod http;
mod init_signals;
mod leftovers;
mod listen;
mod orphans;
mod pid1;
mod platform;
mod releases;
mod replay;
mod resources;
mod restart;
mod signals;
mod socket;
mod spawning;
mod stop;
mod stream;
mod surroundings;
mod systemd;
mod time;
mod users;
mod verbs;
