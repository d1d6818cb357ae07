//! Starts the real binary in a directory of its own and watches it.
//!
//! A test is a dialogue: [`Supervise`] prepares, [`Run`] waits for what is said and done, asks, and ends with
//! [`Run::ends_with`], which also proves that nothing of the run is left alive. Nothing here sleeps and hopes: every
//! wait has a condition and a deadline, and a failure shows everything that was seen.

mod built;
mod cgroup;
mod directory;
mod judge;
mod knob;
mod port;
mod processes;
mod run;
mod supervise;
mod transcript;

pub(crate) use cgroup::Cgroup;
pub(crate) use directory::Directory;
pub(crate) use judge::{Call, Caller, Judge, Verdict, can_judge};
pub(crate) use knob::number;
pub(crate) use port::free_ports;
pub(crate) use processes::{
    can_make_pid_namespaces, children_of, cpu_time, descriptors, eventually, is_alive, marked, peak_kib,
    resident_kib, send, state, zombies_of,
};
pub(crate) use run::Run;
pub(crate) use supervise::{Setup, Stdout, Supervise, open_terminal};
pub(crate) use transcript::Transcript;

/// How long anything may take before a test gives up: far more than it needs on a busy machine.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
