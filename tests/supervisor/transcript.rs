//! What the supervisor orders, a line each, as a story tells it: `spawn web.1`, `SIGTERM to the leader of web.1`.

use std::fmt::Display;

use supervise::api::{Accepted, Effect, ExitStatus, Notice, Process, SlotName, Then, TypeName, Verdict};
use supervise::supervisor::{Action, SlotKey, Whom};

/// The line of an action.
pub(crate) fn line(action: &Action, name: impl Fn(SlotKey) -> SlotName) -> String {
    match action {
        Action::Spawn { slot, .. } => format!("spawn {}", name(*slot)),
        Action::Stop { slot, target, signal, .. } => {
            format!("{signal} to {} of {}", whom(*target), name(*slot))
        }
        Action::Probe { slot, probe, .. } => format!("ask {} for its {probe}", name(*slot)),
        Action::Ask { type_index, .. } => format!("ask what type {type_index} needs"),
        Action::Revert { type_index, edition } => format!("back to edition {edition} of type {type_index}"),
        Action::Signal { slot, signal, .. } => format!("{signal} to {}", name(*slot)),
        Action::Reread => "read again".to_owned(),
        Action::Adopt { .. } => "adopt".to_owned(),
        Action::Discard => "discard".to_owned(),
        Action::Reserve { type_index } => format!("type {type_index} is for one-offs"),
        Action::Stage { edition, staged, .. } => format!("stage {staged:?} as {edition}"),
        Action::Prepare { release } => format!("prepare {release}"),
        Action::Record { release } => format!("record {release}"),
        Action::Reply { id, answer: Ok(accepted) } => format!("reply {}: {}", id.0, effects(accepted)),
        Action::Reply { id, answer: Err(refusal) } => format!("reply {}: {}", id.0, refusal.code()),
        Action::Kill { slot, target, .. } => format!("kill {} of {}", whom(*target), name(*slot)),
        Action::Look { slot, .. } => format!("look at {}", name(*slot)),
        Action::Pass { signal } => format!("pass {signal}"),
        Action::Suspend => "suspend".to_owned(),
        Action::Resume => "resume".to_owned(),
        Action::Announce { notice, after: None } => notice_line(notice),
        Action::Announce { notice, after: Some(_) } => {
            format!("{} (after its last words)", notice_line(notice))
        }
        Action::ReadOn => "read on".to_owned(),
        Action::Exit { code, .. } => format!("exit {code}"),
    }
}

/// `web.2 stop draining, web.3 start pending`.
fn effects(accepted: &Accepted) -> String {
    let each = |effect: &Effect| format!("{} {} {}", effect.name, effect.will, effect.state);
    accepted.processes.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn whom(target: Whom) -> &'static str {
    match target {
        Whom::Leader => "the leader",
        Whom::Group => "the group",
        Whom::Everyone => "everyone",
        Whom::Strays => "the strays",
    }
}

fn notice_line(notice: &Notice) -> String {
    match notice {
        Notice::Started { slot, .. } => format!("{slot} started"),
        Notice::NotStarted { slot, error, then } => format!("{slot} not started: {error}{}", next(then)),
        Notice::Exited { slot, status, then, .. } => format!("{slot} {}{}", ended(*status), next(then)),
        Notice::Restarting { slot, delay_ms } => format!("{slot} again in {delay_ms}ms"),
        Notice::Completed { slot } => format!("{slot} completed"),
        Notice::Failed { slot, reason } => match reason {
            Verdict::Never => format!("{slot} failed, never to be restarted"),
            Verdict::GaveUp { failures } => format!("{slot} failed {failures} times"),
            Verdict::NeverRan => format!("{slot} failed, it never ran"),
            Verdict::Blocked { by } => format!("{slot} failed, blocked by {by}"),
        },
        Notice::Draining { cause, deadline_ms, alive } => {
            format!("{cause}: draining [{}] at most {deadline_ms}ms", counted(alive))
        }
        Notice::Killed { slot, reason } => format!("{slot} killed: {reason:?}"),
        Notice::Stuck { slot, pids } => format!("{slot} stuck: {}", joined(pids.iter().map(|pid| pid.raw()))),
        Notice::Ended { code, because: Some(slot) } => format!("ended with {code} because of {slot}"),
        Notice::Ended { code, because: None } => format!("ended with {code}"),
        other => other.to_string(),
    }
}

fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited {code}"),
        ExitStatus::Signal { signal, .. } => format!("died of {signal}"),
        ExitStatus::OutOfMemory(_) => "died for memory".to_owned(),
    }
}

fn next(then: &Then) -> String {
    let pids = |processes: &[Process]| joined(processes.iter().map(|process| process.pid.raw()));
    match then {
        Then::Restart { delay_ms } => format!(", again in {delay_ms}ms"),
        Then::StopLeftovers { processes } => format!(", stopping {}", pids(processes)),
        Then::LetBe { processes } => format!(", letting {} be", pids(processes)),
        Then::Rest => String::new(),
    }
}

fn counted(counts: &[(TypeName, u32)]) -> String {
    joined(counts.iter().map(|(name, count)| format!("{name}={count}")))
}

fn joined(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
