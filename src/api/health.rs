//! How well everything is, for whoever is above us: an orchestrator, a HEALTHCHECK, `supervise health`.

use serde::{Deserialize, Serialize};

use super::TypeName;

/// Which question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthQuestion {
    /// Whether the supervisor itself answers.
    Live,
    /// Whether the formation may be sent work.
    Ready,
    /// Whether it has ever been ready.
    Startup,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Whether all checks are well.
    pub ok: bool,
    /// Each check.
    pub checks: Vec<HealthCheck>,
}

/// One of the things that must be well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// `supervisor`, a process type (`web`) or a backing service (`REDIS_URL`).
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found: `4 of 4 ready`.
    pub message: String,
}

/// What the core knows of how everything is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Whether everything is on its way down.
    pub draining: bool,
    /// Whether every essential type has had enough ready instances, all at once, since we began.
    pub started: bool,
    /// Every essential type of which something shall run, in Procfile order.
    pub essential: Vec<TypeVitals>,
}

/// How an essential type is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeVitals {
    /// Which.
    pub process_type: TypeName,
    /// How many there shall be.
    pub wanted: u32,
    /// How many are ready, those too that take the place of others for a while; never more than are wanted.
    pub ready: u32,
    /// How many must be: `max_unavailable` fewer than are wanted; while they are replaced in their places one fewer, and one at
    /// least.
    pub enough: u32,
}

/// How every backing service is: the words of `services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// The version of this shape: [`Services::SCHEMA`].
    pub schema: u32,
    /// Each, in the spec's order.
    pub services: Vec<ServiceStatus>,
}

impl Services {
    /// The version of the shape that is written here.
    pub const SCHEMA: u32 = 1;
}

/// A backing service and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceStatus {
    /// Its variable: `REDIS_URL`.
    pub name: String,
    /// The kind of service: `redis`.
    pub kind: String,
    /// Host and port, or path: no user, no password.
    pub host: String,
    /// Whether it answers.
    pub ok: bool,
    /// What it answered, or why it did not.
    pub message: String,
    /// How long the answer took, in milliseconds.
    pub time_ms: u64,
    /// The types that need it.
    pub needed_by: Vec<TypeName>,
}
