//! How a running formation is: the words of `ps`.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ExitStatus, OutOfMemory, Pid, Signal, SlotName, TypeName};

/// How everything is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The version of this shape: [`Status::SCHEMA`].
    pub schema: u32,
    /// What the formation is meant to be.
    pub formation: Formation,
    /// Every slot, in formation order.
    pub processes: Vec<ProcessStatus>,
}

impl Status {
    /// The version of the shape that is written here.
    pub const SCHEMA: u32 = 1;
}

/// How many of each process type, in Procfile order: `web=4 worker=8 beat=1`, in JSON an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formation(pub Vec<(TypeName, u32)>);

/// How one slot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessStatus {
    /// `web.1`.
    pub name: SlotName,
    /// `web`.
    #[serde(rename = "type")]
    pub process_type: TypeName,
    /// Its number, from 1.
    pub slot: u32,
    /// Where it is.
    pub state: State,
    /// Whether it may be sent work.
    pub ready: bool,
    /// Why it is not ready, where something is known of that: `readiness: GET /health answered 503`.
    pub reason: Option<String>,
    /// What its instance says of itself on its `NOTIFY_SOCKET` (`STATUS=`).
    pub status_text: Option<String>,
    /// Whether its leader was stopped by SIGSTOP or its like.
    pub suspended: bool,
    /// Its leader, where there is one.
    pub pid: Option<Pid>,
    /// The PORT of the slot, where it has one.
    pub port: Option<u16>,
    /// The release that its instance runs.
    pub release: String,
    /// How often it was started again after a failure.
    pub restarts: u64,
    /// For how long the instance has lived, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// How the instance before it ended.
    pub last_exit: Option<LastExit>,
    /// Memory that the whole instance has in RAM, in bytes; what it shares is counted for each process.
    pub rss_bytes: Option<u64>,
    /// Time of a CPU that the whole instance has used, in milliseconds.
    pub cpu_ms: Option<u64>,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastExit {
    /// Its exit code, unless a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Why.
    pub reason: ExitReason,
}

impl LastExit {
    /// The exit code that a shell would report.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        let signal = self.signal.map(|signal| ExitStatus::Signal { signal, core_dumped: false });
        let status = self.code.map(ExitStatus::Code).or(signal);
        status.map_or(1, ExitStatus::shell_code)
    }
}

/// Why an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// By itself, well.
    Completed,
    /// By itself, or by a signal that was not ours.
    Failed,
    /// The same, before it had ever been ready, where its readiness is asked for or told.
    ExitedBeforeReady,
    /// A probe found it unwell, so it was asked to end.
    Unwell,
    /// The kernel ended it for want of memory.
    Oom,
    /// There never was a process.
    NotStarted,
    /// It was asked to.
    Stopped,
    /// It was asked to and did not, so it was killed.
    Killed,
}

impl LastExit {
    /// How it ended, and why.
    #[must_use]
    pub fn new(status: ExitStatus, reason: ExitReason) -> LastExit {
        match status {
            ExitStatus::Code(code) => LastExit { code: Some(code), signal: None, reason },
            ExitStatus::Signal { signal, .. } => LastExit { code: None, signal: Some(signal), reason },
            ExitStatus::OutOfMemory(why) => {
                let reason = match why {
                    OutOfMemory::Limit { .. } | OutOfMemory::Machine => ExitReason::Oom,
                    OutOfMemory::Perhaps => reason,
                };
                LastExit { code: None, signal: Some(Signal::KILL), reason }
            }
        }
    }
}

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// To be started in a moment.
    Pending,
    /// Being started.
    Starting,
    /// Its leader runs.
    Running,
    /// Asked to end.
    Draining,
    /// Killed with SIGKILL, and not yet gone.
    Killing,
    /// Survived SIGKILL.
    Stuck,
    /// Waits after a failure.
    Backoff,
    /// Ended well and is not started again.
    Completed,
    /// Ended badly and is not started again.
    Failed,
    /// Nothing runs, as asked.
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: [State; 10] = [
        State::Pending,
        State::Starting,
        State::Running,
        State::Draining,
        State::Killing,
        State::Stuck,
        State::Backoff,
        State::Completed,
        State::Failed,
        State::Stopped,
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Starting => "starting",
            State::Running => "running",
            State::Draining => "draining",
            State::Killing => "killing",
            State::Stuck => "stuck",
            State::Backoff => "backoff",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Formation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(|(name, count)| format!("{name}={count}")).collect();
        f.write_str(&each.join(" "))
    }
}

impl Serialize for Formation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Formation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Formation, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Formation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counts by type")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Formation, A::Error> {
                let mut counts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    counts.push(entry);
                }
                Ok(Formation(counts))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
