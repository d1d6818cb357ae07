//! The numbers of a notice, for JSON.

use serde_json::{Value, json};

use crate::api::{ExitStatus, OutOfMemory, Signal, SlotName, TypeName};

use super::{KillReason, LeftoversFate, NotDeployed, Notice, RolloutWay, Setback, Then, Verdict};

/// A name and a value that a notice adds to its JSON object.
pub type Fact = (&'static str, Value);

impl Notice {
    /// What it adds to its JSON object, beside `event`, `process`, `type`, `pid` and `message`.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "the facts of each notice, side by side")]
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
            Notice::EscapeesUnseen { reason } => vec![("reason", json!(reason))],
            Notice::OrphansStopped { processes } => vec![("processes", json!(processes))],
            Notice::Waiting { process_type, on } => {
                vec![("waiting", json!(process_type)), ("on", json!(on))]
            }
            Notice::Awaiting { process_type, missing } => {
                vec![("waiting", json!(process_type)), ("missing", json!(missing))]
            }
            Notice::Ready { after_ms, .. } => vec![("after_ms", json!(after_ms))],
            Notice::Unready { why, .. } => vec![("why", json!(why))],
            Notice::Unwell { probe, why, .. } => vec![("probe", json!(probe)), ("why", json!(why))],
            Notice::RolloutBegan { process_type, instances, way } => {
                let mut facts = vec![("rollout", json!(process_type)), ("instances", json!(instances))];
                facts.extend(match way {
                    RolloutWay::Surge { extra } => [("surge", json!(extra))],
                    RolloutWay::InPlace { at_a_time } => [("at_a_time", json!(at_a_time))],
                    RolloutWay::Away => [("at_a_time", json!(1))],
                });
                facts
            }
            Notice::RolloutStep { process_type, replaced, instances } => vec![
                ("rollout", json!(process_type)),
                ("replaced", json!(replaced)),
                ("instances", json!(instances)),
            ],
            Notice::RolloutDone { process_type, took_ms } => {
                vec![("rollout", json!(process_type)), ("took_ms", json!(took_ms))]
            }
            Notice::TurnedBack { process_type, reason, .. } => {
                let mut facts = vec![("rollout", json!(process_type))];
                match reason {
                    Setback::Failures { failures } => {
                        facts.extend([("reason", json!("failures")), ("failures", json!(failures))]);
                    }
                    Setback::Deadline { deadline_ms, why } => facts.extend([
                        ("reason", json!("progress_deadline")),
                        ("deadline_ms", json!(deadline_ms)),
                        ("why", json!(why)),
                    ]),
                }
                facts
            }
            Notice::DeployBegan { release, from } => vec![("release", json!(release)), ("from", json!(from))],
            Notice::ReleasePhase { release, slot } => {
                vec![("release", json!(release)), ("slot", json!(slot.to_string()))]
            }
            Notice::Deployed { release, took_ms } => {
                vec![("release", json!(release)), ("took_ms", json!(took_ms))]
            }
            Notice::NotDeployed { release, why } => {
                let mut facts = vec![("release", json!(release))];
                match why {
                    NotDeployed::Unusable { errors } => {
                        facts.extend([("reason", json!("unusable")), ("errors", json!(errors))]);
                    }
                    NotDeployed::Phase { slot } => {
                        facts.extend([("reason", json!("release_phase")), ("slot", json!(slot.to_string()))]);
                    }
                    NotDeployed::TurnedBack { process_type, reason, back } => facts.extend([
                        ("reason", json!("turned_back")),
                        ("turned_back", json!(process_type)),
                        ("why", json!(reason)),
                        ("back", json!(back)),
                    ]),
                }
                facts
            }
            Notice::NotRecorded { release, error } => {
                vec![("release", json!(release)), ("error", json!(error))]
            }
            Notice::Listening { process_type, address } => {
                vec![("listening", json!(process_type)), ("address", json!(address))]
            }
            Notice::Started { port, .. } => port.iter().map(|port| ("port", json!(port))).collect(),
            Notice::NotStarted { error, then, .. } => {
                let mut facts = vec![("error", json!(error))];
                facts.extend(next(then));
                facts
            }
            Notice::Exited { status, uptime_ms, then, .. } => {
                let mut facts = match status {
                    ExitStatus::Code(code) => vec![("code", json!(code))],
                    ExitStatus::Signal { signal, .. } => vec![("signal", json!(signal.to_string()))],
                    ExitStatus::OutOfMemory(why) => {
                        let mut facts = vec![("signal", json!(Signal::KILL.to_string()))];
                        facts.extend(out_of_memory(*why));
                        facts
                    }
                };
                facts.push(("uptime_ms", json!(uptime_ms)));
                facts.extend(next(then));
                facts
            }
            Notice::OutOfMemory { processes, why, .. } => {
                let mut facts = vec![("processes", json!(processes))];
                facts.extend(out_of_memory(*why));
                facts
            }
            Notice::NotConfined { types, reason } => vec![("types", json!(types)), ("reason", json!(reason))],
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
            Notice::Serving { address } => vec![("address", json!(address))],
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

fn out_of_memory(why: OutOfMemory) -> Vec<Fact> {
    match why {
        OutOfMemory::Limit { bytes } => vec![("reason", json!("oom")), ("limit_bytes", json!(bytes))],
        OutOfMemory::Machine => vec![("reason", json!("oom"))],
        OutOfMemory::Perhaps => vec![("reason", json!("perhaps_oom"))],
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
