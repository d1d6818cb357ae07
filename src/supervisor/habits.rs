//! How the supervisor was started.

use serde::{Deserialize, Serialize};

/// How the supervisor was started, as far as its decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Habits {
    /// `--fail-fast`: the first exit of anything drains everything.
    pub fail_fast: FailFast,
    /// What SIGHUP means.
    pub hangup: Hangup,
    /// Whether SIGQUIT comes from a controlling terminal.
    pub terminal: Terminal,
    /// Whether we are the init of a pid namespace: what SIGTSTP means.
    pub init: Init,
}

/// `--fail-fast`, foreman's habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailFast {
    /// The first exit of anything, whatever its code, drains everything.
    Yes,
    /// Exits are treated by policy.
    No,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hangup {
    /// The terminal is gone: drain.
    Drain,
    /// There never was a terminal: read the configuration again.
    Reload,
}

/// Whether there is a controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// SIGQUIT is somebody's Ctrl-backslash: kill now.
    Present,
    /// SIGQUIT is an image's stop signal: drain.
    Absent,
}

/// Whether we are the init of a pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// Nobody could continue us: never stop.
    Yes,
    /// SIGTSTP stops the whole job.
    No,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { fail_fast: FailFast::No, hangup: Hangup::Drain, terminal: Terminal::Present, init: Init::No }
    }
}
