//! How the instances of one process type are kept, stopped and limited: the keys of the spec, as values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::Signal;

/// Everything about a process type that the supervisor and the host follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// When an instance that ended is started again.
    pub restart: Restart,
    /// How long a slot waits before it is.
    pub backoff: Backoff,
    /// Whether the final failure of every instance ends the whole formation.
    pub essential: bool,
    /// From the stop signal to SIGKILL.
    pub drain: Duration,
    /// What asks an instance to end.
    pub stop_signal: Signal,
    /// Who gets it first.
    pub stop_scope: StopScope,
    /// What becomes of descendants that outlive the leader.
    pub leftovers: Leftovers,
    /// How its instances are replaced by new ones while they work.
    pub rollout: Rollout,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            restart: Restart::OnFailure,
            backoff: Backoff::default(),
            essential: true,
            // Two seconds inside docker stop's ten.
            drain: Duration::from_secs(8),
            stop_signal: Signal::TERM,
            stop_scope: StopScope::Leader,
            leftovers: Leftovers::Stop,
            rollout: Rollout::default(),
        }
    }
}

/// When an instance that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Whatever its code.
    Always,
    /// After any exit other than 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl Restart {
    /// As people write them.
    pub const WORDS: [(&str, Restart); 3] =
        [("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)];
}

/// How long a slot waits before its next instance: the first failure of a streak restarts at once, the n-th after it
/// waits `first` x 2^(n-1), up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the restart after the second failure of a streak.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// An instance that ran so long ends the streak.
    pub reset_after: Duration,
    /// After so many failures in a row the slot has failed; 0 is never.
    pub give_up_after: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
            give_up_after: 0,
        }
    }
}

/// How the instances of a type are replaced by new ones while they work, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// So many more than the formation has, for a while.
    pub max_surge: u32,
    /// So many fewer ready ones than the formation has, for a while.
    pub max_unavailable: u32,
    /// A new instance counts when it has been ready for so long.
    pub min_ready: Duration,
    /// Without any progress for so long, the replacing is turned back.
    pub progress_deadline: Duration,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout {
            max_surge: 1,
            max_unavailable: 0,
            min_ready: Duration::from_secs(1),
            progress_deadline: Duration::from_secs(600),
        }
    }
}

/// Who gets the stop signal first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopScope {
    /// The process that we started; what it leaves behind gets it afterwards.
    Leader,
    /// Its whole process group from the start.
    Group,
}

impl StopScope {
    /// As people write them.
    pub const WORDS: [(&str, StopScope); 2] = [("leader", StopScope::Leader), ("group", StopScope::Group)];
}

/// What becomes of descendants that outlive their leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leftovers {
    /// They are stopped as in a drain; the slot waits for them.
    Stop,
    /// They are let be.
    Leave,
}

impl Leftovers {
    /// As people write them.
    pub const WORDS: [(&str, Leftovers); 2] = [("stop", Leftovers::Stop), ("leave", Leftovers::Leave)];
}

/// How standard error of a child reaches the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stderr {
    /// Through the pipe of its standard output: the exact order is kept.
    Merge,
    /// Through a pipe of its own: the stream of each line is known.
    Split,
}

impl Stderr {
    /// As people write them.
    pub const WORDS: [(&str, Stderr); 2] = [("merge", Stderr::Merge), ("split", Stderr::Split)];
}

/// One resource limit for the instances of a type (setrlimit(2)); hard and soft are set alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Which, as libc's `RLIMIT_*` number.
    pub resource: u32,
    /// How much; `u64::MAX` is unlimited.
    pub value: u64,
}
