//! Probes and what came of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Whether an instance has started.
    Startup,
    /// Whether it may be sent work.
    Readiness,
    /// Whether it lives.
    Liveness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    /// It is well.
    Passed,
    /// It is not.
    Failed {
        /// Why, as a person reads it: `GET /health answered 503`.
        why: String,
    },
    /// It could not be asked, which says nothing about it: no descriptors, or we stood still ourselves.
    NotRun {
        /// Why.
        why: String,
    },
}

/// What an instance says of itself on its `NOTIFY_SOCKET` (`sd_notify(3)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// `READY=1`.
    Ready,
    /// `STOPPING=1`.
    Stopping,
    /// `WATCHDOG=1`.
    Alive,
    /// `WATCHDOG=trigger`.
    Failing,
    /// `STATUS=...`, for people.
    Status(String),
}

/// A backing service that did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// Its variable: `REDIS_URL`.
    pub service: String,
    /// Where it should be, without user and password: `redis at localhost:6379`.
    pub place: String,
    /// Why not: `connection refused`. No secret is in it.
    pub why: String,
}
