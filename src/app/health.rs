//! How it is found out how an instance is, in Kubernetes' words: the key `health`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Command;

/// The probes of a process type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether it has started: until then nothing else is asked.
    pub startup: Option<Probe>,
    /// Whether it may be sent work.
    pub readiness: Option<Probe>,
    /// Whether it still lives: it is ended where it does not.
    pub liveness: Option<Probe>,
}

/// What is asked, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What.
    pub check: Check,
    /// When, and how often before it counts.
    pub timing: Timing,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `http: /path`: GET on 127.0.0.1; 200 to 399 is well, and no redirect is followed.
    Http {
        /// The path, with its query.
        path: String,
        /// The port for slot 1; slot N has N - 1 more.
        first_port: u16,
    },
    /// `tcp: true`: 127.0.0.1 takes a connection.
    Tcp {
        /// The port for slot 1; slot N has N - 1 more.
        first_port: u16,
    },
    /// `exec: command`, in the environment and directory of the instance: exit code 0 is well.
    Exec {
        /// What is executed.
        command: Command,
    },
    /// `notify: true`: nobody asks, the instance says so on its `NOTIFY_SOCKET`: `READY=1` for startup, `WATCHDOG=1` again and
    /// again for liveness (`sd_notify(3)`).
    Notify,
}

/// When a probe is asked, and how often it must pass or fail before that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// From the start of the instance, or from the end of its startup, to the first try.
    pub initial_delay: Duration,
    /// From one try to the next, after the first success; before it tries come at least every second.
    pub period: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many successes in a row are a success.
    pub success_threshold: u32,
    /// So many failures in a row, each a period after the one before, are a failure.
    pub failure_threshold: u32,
}

/// Those of Kubernetes.
impl Default for Timing {
    fn default() -> Timing {
        Timing {
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

impl Timing {
    /// How long an instance may keep silent that is to speak by itself ([`Check::Notify`]).
    #[must_use]
    pub fn patience(self) -> Duration {
        self.period.saturating_mul(self.failure_threshold)
    }
}
