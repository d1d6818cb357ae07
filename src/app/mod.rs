//! What should run: from text to one immutable [`Release`].
//!
//! Reads the named files (Procfile, env files, spec) and nothing else, starts nothing, decides nothing about
//! processes. Every error of one run is collected, each with its file, line, column and the way out.

mod command;
mod environment;
mod policy;
mod release;

pub use command::{Command, Form};
pub use environment::{Environment, Origin, Variable};
pub use policy::{Backoff, Leftovers, Limit, Policy, Restart, Stderr, StopScope};
pub use release::{ProcessType, Release};
