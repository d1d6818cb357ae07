//! The sentence of a notice, for people.

use std::fmt;
use std::time::Duration;

use crate::api::{Missing, Pid, TypeName, Will, brief};

use super::{
    Cause, DropReason, KillReason, LeftoversFate, NotDeployed, Notice, Process, RolloutWay, Setback, Then,
    Verdict,
};

/// The sentence, without the time and the tag; it begins with the slot's name where it speaks of one.
impl fmt::Display for Notice {
    #[allow(clippy::too_many_lines, reason = "one sentence a notice, side by side")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Formation { counts } => write!(f, "formation: {}", equations(counts)),
            Notice::Ports { ranges } => {
                let ports: Vec<String> = ranges
                    .iter()
                    .map(|(name, first, last)| {
                        if first == last {
                            format!("{name} {first}")
                        } else {
                            format!("{name} {first}-{last}")
                        }
                    })
                    .collect();
                write!(f, "ports: {}", ports.join(", "))
            }
            Notice::ReleaseNotStarted => {
                write!(f, "the type `release` is not started unless it is named: `supervise start release`")
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
            Notice::EscapeesUnseen { reason } => {
                write!(f, "a process that leaves the group of its leader may outlive it unseen: {reason}")
            }
            Notice::OrphansStopped { processes } if processes.is_empty() => {
                write!(f, "stopping what else lives in this pid namespace")
            }
            Notice::OrphansStopped { processes } => {
                write!(f, "stopping what nobody owns: {}", list(processes))
            }
            Notice::Waiting { process_type, on } => {
                let on: Vec<&str> = on.iter().map(TypeName::as_str).collect();
                write!(f, "{process_type} is started when {} is ready (`after`)", on.join(", "))
            }
            Notice::Awaiting { process_type, missing } => {
                write!(f, "{process_type} waits for {}", joined(missing))
            }
            Notice::Ready { slot, after_ms } => write!(f, "{slot} is ready after {}", millis(*after_ms)),
            Notice::Unready { slot, why } => write!(f, "{slot} is not ready any more: {why}"),
            Notice::Unwell { slot, probe, why } => {
                write!(f, "{slot} failed its {probe} probe, so it is stopped: {why}")
            }
            Notice::RolloutBegan { process_type, instances, way } => {
                write!(f, "{process_type}: replacing {instances} ")?;
                match way {
                    RolloutWay::Surge { extra } => {
                        write!(
                            f,
                            "by new ones, {extra} more at a time; an old one ends when a new one is ready"
                        )
                    }
                    RolloutWay::InPlace { at_a_time } => {
                        write!(f, "one after the other, {at_a_time} at a time")
                    }
                    RolloutWay::Away => {
                        write!(f, "in its place: nobody is there until the new one is ready")
                    }
                }
            }
            Notice::RolloutStep { process_type, replaced, instances } => {
                write!(f, "{process_type}: {replaced} of {instances} replaced")
            }
            Notice::RolloutDone { process_type, took_ms } => {
                write!(f, "{process_type}: all replaced after {}", millis(*took_ms))
            }
            Notice::TurnedBack { process_type, slot, reason } => {
                if let Some(slot) = slot {
                    write!(f, "{slot} decides it: ")?;
                }
                write!(f, "the new {process_type} is turned back, {reason}")
            }
            Notice::DeployBegan { release, from } => write!(f, "deploying {release}, from {from}"),
            Notice::ReleasePhase { release, slot } => {
                write!(f, "{release}: its type `release` runs first, as {slot}")
            }
            Notice::Deployed { release, took_ms } => {
                write!(f, "{release} runs everywhere after {}", millis(*took_ms))
            }
            Notice::NotDeployed { release, why } => write!(f, "{release} was not deployed: {why}"),
            Notice::NotRecorded { release, error } => {
                write!(f, "{release} runs, but the next start will not know that: {error}")
            }
            Notice::Listening { process_type, address } => {
                write!(f, "{process_type} listens on {address}")
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
            Notice::OutOfMemory { slot: Some(slot), processes: 1, why } => {
                write!(f, "{slot} lost a process: it was killed {why}")
            }
            Notice::OutOfMemory { slot: Some(slot), processes, why } => {
                write!(f, "{slot} lost {processes} processes: they were killed {why}")
            }
            Notice::OutOfMemory { slot: None, processes: 1, why } => {
                write!(f, "a process that leads no instance was killed {why}")
            }
            Notice::OutOfMemory { slot: None, processes, why } => {
                write!(f, "{processes} processes that lead no instance were killed {why}")
            }
            Notice::NotConfined { types, reason } => {
                let types: Vec<&str> = types.iter().map(TypeName::as_str).collect();
                write!(
                    f,
                    "the limits of memory, cpus and pids do not hold for {}: {reason}",
                    types.join(", ")
                )
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
            Notice::Failed { slot, reason: Verdict::Blocked { by } } => {
                write!(f, "{slot} failed; it is not started, because {by} has failed (`after`)")
            }
            Notice::Draining { cause, deadline_ms: 0, alive }
                if alive.iter().any(|(_, count)| *count > 0) =>
            {
                write!(f, "{cause}: killing {}", equations(alive))
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
                write!(f, "{signal} is not passed to {}: no handler for it, it would end them", list(slots))
            }
            Notice::Scaled { process_type, from, to } => {
                write!(f, "{process_type} scaled from {from} to {to}")
            }
            Notice::Asked { slots, will } => {
                let what = match will {
                    Will::Start => "starting",
                    Will::Stop => "stopping",
                    Will::Restart => "restarting",
                    Will::Signal => "signalling",
                    Will::Stay => "leaving as it is",
                };
                write!(f, "{what}, as asked: {}", list(slots))
            }
            Notice::Signalled { signal, slots } => {
                write!(f, "{signal} sent, as asked, to {}", list(slots))
            }
            Notice::Reloaded { added, changed, removed } => {
                let part = |what: &str, types: &[TypeName]| {
                    let types = types.iter().map(TypeName::as_str).collect::<Vec<_>>().join(", ");
                    (!types.is_empty()).then(|| format!("{what} {types}"))
                };
                let parts = [part("new:", added), part("changed:", changed), part("removed:", removed)];
                match parts.into_iter().flatten().collect::<Vec<_>>().join("; ") {
                    parts if parts.is_empty() => write!(f, "reloaded; no program has changed"),
                    parts => write!(f, "reloaded; {parts}"),
                }
            }
            Notice::ReloadFailed { errors } => {
                write!(f, "not reloaded, everything goes on as it was: {}", errors.trim_end())
            }
            Notice::Serving { address } => write!(f, "health and metrics are served on http://{address}"),
            Notice::NoControl { reason } => write!(f, "no control socket: {reason}"),
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
            Notice::LogFileKept { file, error } => {
                write!(f, "the log file `{file}` cannot be opened again, the old one is written on: {error}")
            }
            Notice::Ended { code, because: Some(slot) } => {
                write!(f, "ending with code {code}, because of {slot}")
            }
            Notice::Ended { code, because: None } => write!(f, "ending with code {code}"),
        }
    }
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

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Signal(signal) => write!(f, "{signal}"),
            Cause::ReaderGone => write!(f, "nobody reads our output any more"),
            Cause::Essential(name) => write!(f, "every instance of the essential type {name} has failed"),
            Cause::FailFast(slot) => write!(f, "{slot} has ended (--fail-fast)"),
            Cause::Asked => write!(f, "asked to shut down"),
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setback::Failures { failures } => write!(f, "it failed {failures} times in a row"),
            Setback::Deadline { deadline_ms, why: None } => {
                write!(f, "nothing became ready within {}", millis(*deadline_ms))
            }
            Setback::Deadline { deadline_ms, why: Some(why) } => {
                write!(f, "nothing became ready within {}: {why}", millis(*deadline_ms))
            }
        }
    }
}

impl fmt::Display for NotDeployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDeployed::Unusable { errors } => write!(f, "nothing was changed\n{}", errors.trim_end()),
            NotDeployed::Phase { slot } => {
                write!(f, "its type `release` failed as {slot}, so nothing else was changed")
            }
            NotDeployed::TurnedBack { process_type, reason, back } => {
                write!(f, "the new {process_type} was turned back, {reason}; everything goes back to {back}")
            }
        }
    }
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

fn equations(counts: &[(TypeName, u32)]) -> String {
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    each.join(" ")
}

fn joined(missing: &[Missing]) -> String {
    let each = missing.iter().map(|Missing { service, place, why }| format!("{service} ({place}): {why}"));
    each.collect::<Vec<_>>().join("; ")
}

/// At most this many processes or slots are named in one sentence.
const NAMED: usize = 10;

fn list(all: &[impl fmt::Display]) -> String {
    let named = all.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn millis(millis: u64) -> String {
    brief(Duration::from_millis(millis))
}
