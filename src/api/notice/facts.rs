//! The numbers of a notice, for JSON.

use serde_json::{Value, json};

use crate::api::{ExitStatus, SlotName, TypeName};

use super::{KillReason, LeftoversFate, Notice, Then, Verdict};

/// A name and a value that a notice adds to its JSON object.
pub type Fact = (&'static str, Value);

impl Notice {
    /// What it adds to its JSON object, beside `event`, `process`, `type`, `pid` and `message`.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        match self {
            Notice::Formation { counts } => vec![("formation", counted(counts))],
            Notice::Ports { ranges } => {
                let ports = ranges.iter().map(|(name, first, last)| (name.to_string(), json!([first, last])));
                vec![("ports", Value::Object(ports.collect()))]
            }
            Notice::SpecFound { file } => vec![("file", json!(file))],
            Notice::Overridden { names } => vec![("names", json!(names))],
            Notice::PortTaken { port, holder, .. } => {
                let mut facts = vec![("port", json!(port))];
                facts.extend(holder.as_ref().map(|process| ("holder", json!(process))));
                facts
            }
            Notice::LeftoversFound { processes, fate } => {
                let fate = match fate {
                    LeftoversFate::Stopped => "stopped",
                    LeftoversFate::Ignored => "ignored",
                    LeftoversFate::Refused => "refused",
                };
                vec![("processes", json!(processes)), ("fate", json!(fate))]
            }
            Notice::Waiting { process_type, on } => {
                vec![("waiting", json!(process_type)), ("on", json!(on))]
            }
            Notice::Started { port, .. } => port.iter().map(|port| ("port", json!(port))).collect(),
            Notice::NotStarted { error, then, .. } => {
                let mut facts = vec![("error", json!(error))];
                facts.extend(next(then));
                facts
            }
            Notice::Exited { status, uptime_ms, then, .. } => {
                let mut facts = vec![match status {
                    ExitStatus::Code(code) => ("code", json!(code)),
                    ExitStatus::Signal { signal, .. } => ("signal", json!(signal.to_string())),
                }];
                facts.push(("uptime_ms", json!(uptime_ms)));
                facts.extend(next(then));
                facts
            }
            Notice::Restarting { delay_ms, .. } => vec![("delay_ms", json!(delay_ms))],
            Notice::Failed { reason, .. } => match reason {
                Verdict::Never => vec![("reason", json!("restart_never"))],
                Verdict::GaveUp { failures } => {
                    vec![("reason", json!("gave_up")), ("failures", json!(failures))]
                }
                Verdict::NeverRan => vec![("reason", json!("never_ran"))],
                Verdict::Blocked { by } => vec![("reason", json!("blocked")), ("by", json!(by))],
            },
            Notice::Draining { cause, deadline_ms, alive } => vec![
                ("cause", json!(cause.to_string())),
                ("deadline_ms", json!(deadline_ms)),
                ("alive", counted(alive)),
            ],
            Notice::Killed { reason, .. } => match reason {
                KillReason::DrainTimeout { drain_ms } => {
                    vec![("reason", json!("drain_timeout")), ("drain_ms", json!(drain_ms))]
                }
                KillReason::Asked => vec![("reason", json!("asked"))],
            },
            Notice::Stuck { pids, .. } => vec![("pids", json!(pids))],
            Notice::SignalRefused { signal, error, .. } => {
                vec![("signal", json!(signal.to_string())), ("error", json!(error))]
            }
            Notice::SignalWithheld { signal, slots } => {
                let slots: Vec<String> = slots.iter().map(SlotName::to_string).collect();
                vec![("signal", json!(signal.to_string())), ("slots", json!(slots))]
            }
            Notice::Scaled { process_type, from, to } => {
                vec![("scaled", json!(process_type)), ("from", json!(from)), ("to", json!(to))]
            }
            Notice::Asked { slots, will } => vec![("will", json!(will)), ("slots", json!(slots))],
            Notice::Signalled { signal, slots } => {
                vec![("signal", json!(signal.to_string())), ("slots", json!(slots))]
            }
            Notice::Reloaded { added, changed, removed } => {
                vec![("added", json!(added)), ("changed", json!(changed)), ("removed", json!(removed))]
            }
            Notice::ReloadFailed { errors } => vec![("errors", json!(errors))],
            Notice::NoControl { reason } => vec![("reason", json!(reason))],
            Notice::Dropped { lines, reason } => {
                vec![("lines", json!(lines)), ("reason", json!(reason.word()))]
            }
            Notice::WriteFailed { error } => vec![("error", json!(error))],
            Notice::LogFileKept { file, error } => vec![("file", json!(file)), ("error", json!(error))],
            Notice::Ended { code, because } => {
                let mut facts = vec![("code", json!(code))];
                facts.extend(because.iter().map(|slot| ("because", json!(slot.to_string()))));
                facts
            }
            Notice::ReleaseNotStarted
            | Notice::Completed { .. }
            | Notice::Suspended
            | Notice::Resumed
            | Notice::ReaderGone => Vec::new(),
        }
    }
}

fn next(then: &Then) -> Option<Fact> {
    match then {
        Then::Restart { delay_ms } => Some(("delay_ms", json!(delay_ms))),
        Then::StopLeftovers { processes } => Some(("leftovers_stopped", json!(processes))),
        Then::LetBe { processes } => Some(("leftovers_left", json!(processes))),
        Then::Rest => None,
    }
}

fn counted(counts: &[(TypeName, u32)]) -> Value {
    Value::Object(counts.iter().map(|(name, count)| (name.to_string(), json!(count))).collect())
}
