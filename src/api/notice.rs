//! What the supervisor itself says: in the stream, in JSON, and later on the socket.
//!
//! A notice is a fact with its numbers. Its sentence is made in one place, here, so that the text a person reads
//! and the JSON a program reads never disagree. No value of an environment variable is ever in one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ExitStatus, Pid, Signal, SlotName, TypeName, brief};

/// One thing that the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// How many of each process type should run.
    Formation {
        /// Every selected type in Procfile order.
        counts: Vec<(TypeName, u32)>,
    },
    /// Which ports were given out.
    Ports {
        /// Each type with its first and last port.
        ranges: Vec<(TypeName, u16, u16)>,
    },
    /// The type `release` is there and was not asked for.
    ReleaseNotStarted,
    /// The formation was read from Heroku's file.
    SpecFound {
        /// Its name as the user would type it.
        file: String,
    },
    /// Variables that an env file sets and the real environment overrides.
    Overridden {
        /// Their names, never their values.
        names: Vec<String>,
    },
    /// Somebody already listens on the port that a slot is about to get.
    PortTaken {
        /// Who will get it.
        slot: SlotName,
        /// The port.
        port: u16,
        /// Who has it, where /proc lets us see.
        holder: Option<Process>,
    },
    /// Processes of an earlier run, whose supervisor was killed, are still there.
    LeftoversFound {
        /// Them.
        processes: Vec<Process>,
        /// What becomes of them.
        fate: LeftoversFate,
    },
    /// An instance runs.
    Started {
        /// Where.
        slot: SlotName,
        /// Its leader.
        pid: Pid,
        /// The port it was given.
        port: Option<u16>,
    },
    /// An instance could not be made.
    NotStarted {
        /// Where.
        slot: SlotName,
        /// At which step and why: `not found: celery`.
        error: String,
        /// What the slot does now.
        then: Then,
    },
    /// A leader has ended.
    Exited {
        /// Where.
        slot: SlotName,
        /// Who.
        pid: Pid,
        /// How.
        status: ExitStatus,
        /// From its start, in milliseconds.
        uptime_ms: u64,
        /// What the slot does now.
        then: Then,
    },
    /// A slot will be started again, said where it was not said with the exit.
    Restarting {
        /// Where.
        slot: SlotName,
        /// From now, in milliseconds.
        delay_ms: u64,
    },
    /// A slot is done: exit 0 under `on-failure` or `never`.
    Completed {
        /// Where.
        slot: SlotName,
    },
    /// A slot has failed for good.
    Failed {
        /// Where.
        slot: SlotName,
        /// Why there is no other try.
        reason: Verdict,
    },
    /// Everything has been asked to end.
    Draining {
        /// What began it.
        cause: Cause,
        /// The longest drain of any instance, in milliseconds: after it comes SIGKILL.
        deadline_ms: u64,
        /// How many instances of each type are alive.
        alive: Vec<(TypeName, u32)>,
    },
    /// What was left of an instance got SIGKILL.
    Killed {
        /// Where.
        slot: SlotName,
        /// Why.
        reason: KillReason,
    },
    /// Processes that survived SIGKILL.
    Stuck {
        /// Whose.
        slot: SlotName,
        /// Who, as far as is known.
        pids: Vec<Pid>,
    },
    /// A process refused a signal.
    SignalRefused {
        /// Where.
        slot: SlotName,
        /// Which signal.
        signal: Signal,
        /// The system's reason.
        error: String,
    },
    /// A signal that is passed to every leader was withheld from some, whom it would have ended.
    SignalWithheld {
        /// Which.
        signal: Signal,
        /// Who has no handler for it.
        slots: Vec<SlotName>,
    },
    /// A verb or signal of a later version.
    NotInThisVersion {
        /// What was asked: `reload (SIGHUP)`.
        asked: String,
    },
    /// Ctrl-Z: the whole job stops.
    Suspended,
    /// The whole job goes on.
    Resumed,
    /// Whoever read our stdout is gone.
    ReaderGone,
    /// Lines that could not be written.
    Dropped {
        /// How many.
        lines: u64,
        /// Why.
        reason: DropReason,
    },
    /// Our output cannot be written for now, said once until it works again.
    WriteFailed {
        /// The system's reason.
        error: String,
    },
    /// The supervisor ends.
    Ended {
        /// Its exit code.
        code: u8,
        /// The slot whose failure decides the code, where one does.
        because: Option<SlotName>,
    },
}

/// A process as a person wants it named: `4321 (python3)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its short name (proc(5), `comm`); empty where it cannot be read.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "{}", self.pid)
        } else {
            write!(f, "{} ({})", self.pid, self.name)
        }
    }
}

/// What becomes of the processes of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeftoversFate {
    /// They are stopped first.
    Stopped,
    /// They are left alone.
    Ignored,
    /// They are left alone, and nothing is started.
    Refused,
}

/// What a slot does after an instance has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Starts again after so many milliseconds.
    Restart {
        /// 0 is at once.
        delay_ms: u64,
    },
    /// Waits for descendants that outlived the leader; they are being stopped.
    StopLeftovers {
        /// Them.
        processes: Vec<Process>,
    },
    /// Does the same as it would have, and lets descendants be that outlived the leader.
    LetBe {
        /// Them.
        processes: Vec<Process>,
    },
    /// Nothing, or nothing that is not said by the next notice.
    Rest,
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Then::Restart { delay_ms: 0 } => write!(f, "; restarting now"),
            Then::Restart { delay_ms } => write!(f, "; restarting in {}", millis(*delay_ms)),
            Then::StopLeftovers { processes } => {
                write!(f, "; stopping what it left behind: {}", list(processes))
            }
            Then::LetBe { processes } => write!(f, "; what it left behind is let be: {}", list(processes)),
            Then::Rest => Ok(()),
        }
    }
}

/// Why a slot is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// `restart: never`.
    Never,
    /// `give_up_after` failures in a row.
    GaveUp {
        /// So many.
        failures: u32,
    },
    /// The program was not found or could not be executed, and no instance of the type ever ran.
    NeverRan,
}

/// What began a drain of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A signal to us.
    Signal(Signal),
    /// Whoever read our stdout is gone.
    ReaderGone,
    /// Every instance of an essential type has failed.
    Essential(TypeName),
    /// `--fail-fast` and the first exit.
    FailFast(SlotName),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Signal(signal) => write!(f, "{signal}"),
            Cause::ReaderGone => write!(f, "nobody reads our output any more"),
            Cause::Essential(name) => write!(f, "every instance of the essential type {name} has failed"),
            Cause::FailFast(slot) => write!(f, "{slot} has ended (--fail-fast)"),
        }
    }
}

/// Why something got SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillReason {
    /// It was still there at its drain deadline, so many milliseconds after the stop signal.
    DrainTimeout {
        /// Its drain.
        drain_ms: u64,
    },
    /// A second INT, or QUIT from a terminal.
    Asked,
}

/// Why lines were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DropReason {
    /// `--when-slow drop`, or a drain with a reader that has stopped.
    SlowReader,
    /// Nobody reads.
    ReaderGone,
    /// The output could not be written (a full disk).
    WriteFailed,
}

impl DropReason {
    /// One word for JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DropReason::SlowReader => "slow_reader",
            DropReason::ReaderGone => "reader_gone",
            DropReason::WriteFailed => "write_failed",
        }
    }
}

/// A name and a value that a notice adds to its JSON object.
pub type Fact = (&'static str, Value);

impl Notice {
    /// The kind of notice in one word, as `event` in JSON.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Notice::Formation { .. } => "formation",
            Notice::Ports { .. } => "ports",
            Notice::ReleaseNotStarted => "release_not_started",
            Notice::SpecFound { .. } => "spec_found",
            Notice::Overridden { .. } => "overridden",
            Notice::PortTaken { .. } => "port_taken",
            Notice::LeftoversFound { .. } => "leftovers_found",
            Notice::Started { .. } => "started",
            Notice::NotStarted { .. } => "not_started",
            Notice::Exited { .. } => "exited",
            Notice::Restarting { .. } => "restarting",
            Notice::Completed { .. } => "completed",
            Notice::Failed { .. } => "failed",
            Notice::Draining { .. } => "draining",
            Notice::Killed { .. } => "killed",
            Notice::Stuck { .. } => "stuck",
            Notice::SignalRefused { .. } => "signal_refused",
            Notice::SignalWithheld { .. } => "signal_withheld",
            Notice::NotInThisVersion { .. } => "not_in_this_version",
            Notice::Suspended => "suspended",
            Notice::Resumed => "resumed",
            Notice::ReaderGone => "reader_gone",
            Notice::Dropped { .. } => "dropped",
            Notice::WriteFailed { .. } => "write_failed",
            Notice::Ended { .. } => "ended",
        }
    }

    /// The slot it speaks of, where it speaks of one.
    #[must_use]
    pub fn slot(&self) -> Option<&SlotName> {
        match self {
            Notice::PortTaken { slot, .. }
            | Notice::Started { slot, .. }
            | Notice::NotStarted { slot, .. }
            | Notice::Exited { slot, .. }
            | Notice::Restarting { slot, .. }
            | Notice::Completed { slot }
            | Notice::Failed { slot, .. }
            | Notice::Killed { slot, .. }
            | Notice::Stuck { slot, .. }
            | Notice::SignalRefused { slot, .. } => Some(slot),
            Notice::Formation { .. }
            | Notice::Ports { .. }
            | Notice::ReleaseNotStarted
            | Notice::SpecFound { .. }
            | Notice::Overridden { .. }
            | Notice::LeftoversFound { .. }
            | Notice::Draining { .. }
            | Notice::SignalWithheld { .. }
            | Notice::NotInThisVersion { .. }
            | Notice::Suspended
            | Notice::Resumed
            | Notice::ReaderGone
            | Notice::Dropped { .. }
            | Notice::WriteFailed { .. }
            | Notice::Ended { .. } => None,
        }
    }

    /// The pid it speaks of, as `pid` in JSON.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        if let Notice::Started { pid, .. } | Notice::Exited { pid, .. } = self { Some(*pid) } else { None }
    }

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
            Notice::NotInThisVersion { asked } => vec![("asked", json!(asked))],
            Notice::Dropped { lines, reason } => {
                vec![("lines", json!(lines)), ("reason", json!(reason.word()))]
            }
            Notice::WriteFailed { error } => vec![("error", json!(error))],
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

/// The sentence, without the time and the tag; it begins with the slot's name where it speaks of one.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Formation { counts } => write!(f, "formation: {}", equations(counts)),
            Notice::Ports { ranges } => {
                let ports: Vec<String> = ranges
                    .iter()
                    .map(|(name, first, last)| match first == last {
                        true => format!("{name} {first}"),
                        false => format!("{name} {first}-{last}"),
                    })
                    .collect();
                write!(f, "ports: {}", ports.join(", "))
            }
            Notice::ReleaseNotStarted => {
                write!(f, "the type release is not started unless it is named: supervise start release")
            }
            Notice::SpecFound { file } => write!(f, "the formation is read from {file}"),
            Notice::Overridden { names } => {
                write!(
                    f,
                    "the environment overrides the env file: {} (--env-override turns this round)",
                    names.join(", ")
                )
            }
            Notice::PortTaken { slot, port, holder: Some(process) } => {
                write!(f, "{slot} gets port {port}, where process {process} already listens")
            }
            Notice::PortTaken { slot, port, holder: None } => {
                write!(f, "{slot} gets port {port}, where somebody already listens")
            }
            Notice::LeftoversFound { processes, fate: LeftoversFate::Stopped } => {
                write!(f, "an earlier run left processes behind; stopping them first: {}", list(processes))
            }
            Notice::LeftoversFound { processes, fate: LeftoversFate::Ignored } => {
                write!(f, "an earlier run left processes behind; they are let be: {}", list(processes))
            }
            Notice::LeftoversFound { processes, fate: LeftoversFate::Refused } => {
                write!(f, "an earlier run left processes behind, so nothing is started: {}", list(processes))
            }
            Notice::Started { slot, pid, port: Some(port) } => {
                write!(f, "{slot} started with pid {pid} on port {port}")
            }
            Notice::Started { slot, pid, port: None } => write!(f, "{slot} started with pid {pid}"),
            Notice::NotStarted { slot, error, then } => {
                write!(f, "{slot} could not be started: {error}{then}")
            }
            Notice::Exited { slot, status, uptime_ms, then, .. } => {
                write!(f, "{slot} {status} after {}{then}", millis(*uptime_ms))
            }
            Notice::Restarting { slot, delay_ms: 0 } => write!(f, "{slot} restarting now"),
            Notice::Restarting { slot, delay_ms } => write!(f, "{slot} restarting in {}", millis(*delay_ms)),
            Notice::Completed { slot } => {
                write!(f, "{slot} completed; it will not be restarted (`restart: always` would)")
            }
            Notice::Failed { slot, reason: Verdict::Never } => {
                write!(f, "{slot} failed; it will not be restarted (`restart: never`)")
            }
            Notice::Failed { slot, reason: Verdict::GaveUp { failures } } => {
                write!(
                    f,
                    "{slot} failed {failures} times in a row; it will not be restarted (`give_up_after`)"
                )
            }
            Notice::Failed { slot, reason: Verdict::NeverRan } => {
                write!(f, "{slot} failed; its command cannot be executed, so it will not be restarted")
            }
            Notice::Draining { cause, deadline_ms, alive } if alive.iter().any(|(_, count)| *count > 0) => {
                write!(f, "{cause}: draining {}, at most {}", equations(alive), millis(*deadline_ms))
            }
            Notice::Draining { cause, .. } => write!(f, "{cause}"),
            Notice::Killed { slot, reason: KillReason::DrainTimeout { drain_ms } } => {
                write!(f, "{slot} did not end within {}; killed with SIGKILL", millis(*drain_ms))
            }
            Notice::Killed { slot, reason: KillReason::Asked } => {
                write!(f, "{slot} killed with SIGKILL, as asked")
            }
            Notice::Stuck { slot, pids } => {
                let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
                write!(f, "{slot} is stuck: {} survived SIGKILL", pids.join(", "))
            }
            Notice::SignalRefused { slot, signal, error } => {
                write!(f, "{slot} could not be sent {signal}: {error}")
            }
            Notice::SignalWithheld { signal, slots } => {
                let slots: Vec<String> = slots.iter().map(SlotName::to_string).collect();
                write!(
                    f,
                    "{signal} is not passed to {}: no handler for it, it would end them",
                    slots.join(", ")
                )
            }
            Notice::NotInThisVersion { asked } => {
                write!(f, "{asked} is not in this version; nothing was changed")
            }
            Notice::Suspended => write!(f, "suspended with everything; `fg` or SIGCONT goes on"),
            Notice::Resumed => write!(f, "going on"),
            Notice::ReaderGone => write!(f, "nobody reads our output any more"),
            Notice::Dropped { lines, reason } => {
                let why = match reason {
                    DropReason::SlowReader => "the reader is too slow",
                    DropReason::ReaderGone => "nobody reads them",
                    DropReason::WriteFailed => "they could not be written",
                };
                write!(f, "{lines} lines dropped: {why}")
            }
            Notice::WriteFailed { error } => write!(f, "the output cannot be written: {error}; trying again"),
            Notice::Ended { code, because: Some(slot) } => {
                write!(f, "ending with code {code}, because of {slot}")
            }
            Notice::Ended { code, because: None } => write!(f, "ending with code {code}"),
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

fn equations(counts: &[(TypeName, u32)]) -> String {
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    each.join(" ")
}

/// At most this many processes are named in one sentence.
const NAMED: usize = 10;

fn list(processes: &[Process]) -> String {
    let mut text = processes.iter().take(NAMED).map(Process::to_string).collect::<Vec<_>>().join(", ");
    if processes.len() > NAMED {
        text.push_str(&format!(" and {} more", processes.len() - NAMED));
    }
    text
}

fn millis(millis: u64) -> String {
    brief(Duration::from_millis(millis))
}
