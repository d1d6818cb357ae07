//! What a request does or did, said in one short line for every group of slots.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use serde_json::Value;

use super::conclude;
use super::connection::{Connection, Progress, Trouble, Wait, Whereabouts, read};
use super::rollout::{self, Change};
use crate::api::{Accepted, Effect, Formation, Signal, SlotName, State, Will};

/// The exit code where what should run does not.
const NOT_RUNNING: u8 = 1;

/// Asks for a change that leaves the formation as it is, and says what follows; the answer is the exit code. `signal` is what
/// a request for one sends.
pub(super) fn steer(
    whereabouts: &Whereabouts,
    path: &str,
    body: &Value,
    signal: Option<Signal>,
    wait: Wait,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut ask = || -> Result<u8, Trouble> {
        let answer = Connection::open(whereabouts)?.post(path, body, wait)?;
        Ok(tell(out, None, signal, &answer)?)
    };
    conclude(ask(), err)
}

/// Asks for a change, shows how it goes on and says what has happened; the answer is the exit code.
pub(super) fn watch<W: Write + IsTerminal + AsFd>(
    whereabouts: &Whereabouts,
    change: &Change<'_>,
    out: &mut W,
    err: &mut dyn Write,
) -> u8 {
    let mut last_words = None;
    let mut ask = || -> Result<u8, Trouble> {
        let mut connection = Connection::open(whereabouts)?;
        let before: Formation = read(&connection.get("/v1/formation")?)?;
        let (answer, said) = rollout::wait(&mut connection, change, out);
        last_words = said;
        Ok(tell(out, Some(&before), None, &answer?)?)
    };
    let code = conclude(ask(), err);
    if let Some(last_words) = last_words {
        // Where stderr is gone there is nobody to tell.
        let _ = last_words.tell(err);
    }
    code
}

/// Says what follows from a request; the answer is the exit code: not 0 where it has happened and what should run does not.
///
/// `before` is the formation as it was, where the request may have changed it; `signal` is what a request for one sends.
pub(super) fn tell(
    out: &mut dyn Write,
    before: Option<&Formation>,
    signal: Option<Signal>,
    (progress, accepted): &(Progress, Accepted),
) -> io::Result<u8> {
    let changes = before.map(|before| changes(before, &accepted.formation)).unwrap_or_default();
    let groups = groups(&accepted.processes);
    let said = groups.iter().map(|group| sentence(group, *progress, signal));
    let lines: Vec<String> = changes.into_iter().chain(said).collect();
    if lines.is_empty() {
        writeln!(out, "nothing to do")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    let down = |effect: &Effect| {
        matches!(effect.will, Will::Start | Will::Restart)
            && matches!(effect.state, State::Backoff | State::Failed | State::Stuck)
    };
    let fails = *progress == Progress::Happened && accepted.processes.iter().any(down);
    Ok(if fails { NOT_RUNNING } else { 0 })
}

/// `web: 4 -> 6` for each type with another count.
fn changes(before: &Formation, after: &Formation) -> Vec<String> {
    let count = |formation: &Formation, name| {
        formation.0.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    };
    let new = after.0.iter().filter(|(name, count_now)| count(before, name) != Some(*count_now));
    let new = new.map(|(name, count_now)| match count(before, name) {
        Some(count_before) => format!("{name}: {count_before} -> {count_now}"),
        None => format!("{name}: new, {count_now}"),
    });
    let gone = before.0.iter().filter(|(name, _)| count(after, name).is_none());
    new.chain(gone.map(|(name, count_before)| format!("{name}: {count_before} -> gone"))).collect()
}

/// Slots of one type with the same fate.
struct Group<'e> {
    first: &'e Effect,
    names: Vec<&'e SlotName>,
}

/// Fates side by side, in formation order.
fn groups(effects: &[Effect]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for effect in effects {
        let same = |group: &&mut Group<'_>| {
            let first = group.first;
            (&first.name.process_type, first.will, first.state)
                == (&effect.name.process_type, effect.will, effect.state)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.names.push(&effect.name),
            None => groups.push(Group { first: effect, names: vec![&effect.name] }),
        }
    }
    groups
}

fn sentence(group: &Group<'_>, progress: Progress, signal: Option<Signal>) -> String {
    let names = list(&group.names);
    let state = group.first.state;
    let signal = || signal.map_or_else(|| "the signal".to_owned(), |signal| signal.to_string());
    match (progress, group.first.will) {
        (Progress::Accepted, Will::Start) => format!("{names} will start"),
        (Progress::Accepted, Will::Stop) => format!("{names} will stop"),
        (Progress::Accepted, Will::Restart) => format!("{names} will restart"),
        (Progress::Accepted, Will::Signal) => format!("{names} will get {}", signal()),
        (Progress::Happened, Will::Start) => format!("{names} started, now {state}"),
        (Progress::Happened, Will::Stop) if state == State::Stopped => format!("{names} stopped"),
        (Progress::Happened, Will::Stop) => format!("{names} stopped, now {state}"),
        (Progress::Happened, Will::Restart) => format!("{names} restarted, now {state}"),
        (Progress::Happened, Will::Signal) => format!("{names} got {}", signal()),
        (Progress::Accepted | Progress::Happened, Will::Stay) => {
            format!("{names} {} {state}", if group.names.len() == 1 { "stays" } else { "stay" })
        }
    }
}

/// `web.1 to web.3, web.7`.
pub(super) fn list(names: &[&SlotName]) -> String {
    let mut numbers: Vec<u32> = names.iter().map(|name| name.number).collect();
    numbers.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    let process_type = names.first().map(|name| name.process_type.to_string()).unwrap_or_default();
    let texts = runs.into_iter().map(|(first, last)| match last - first {
        0 => format!("{process_type}.{first}"),
        1 => format!("{process_type}.{first}, {process_type}.{last}"),
        _ => format!("{process_type}.{first} to {process_type}.{last}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(name: &str, will: Will, state: State) -> Effect {
        Effect { name: name.parse().unwrap(), will, state }
    }

    fn formation(text: &str) -> Formation {
        let counts = text.split_whitespace().map(|word| {
            let (name, count) = word.split_once('=').unwrap();
            (name.parse().unwrap(), count.parse().unwrap())
        });
        Formation(counts.collect())
    }

    fn told(before: &str, after: &str, progress: Progress, processes: Vec<Effect>) -> (u8, String) {
        let mut out = Vec::new();
        let answer = (progress, Accepted { formation: formation(after), processes });
        let signal = Some("HUP".parse().unwrap());
        let code = tell(&mut out, Some(&formation(before)), signal, &answer).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn slots_with_one_fate_are_one_line() {
        let processes = [1, 2, 3, 5, 7, 8].map(|n| effect(&format!("web.{n}"), Will::Stop, State::Draining));
        let (code, text) = told("web=8 old=1", "web=2 new=1", Progress::Accepted, processes.to_vec());
        assert_eq!(
            text,
            "web: 8 -> 2\nnew: new, 1\nold: 1 -> gone\nweb.1 to web.3, web.5, web.7, web.8 will stop\n"
        );
        assert_eq!(code, 0);
        assert_eq!(told("web=1", "web=1", Progress::Accepted, vec![]), (0, "nothing to do\n".to_owned()));
    }

    #[test]
    fn what_should_run_and_does_not_is_a_failure_once_it_has_happened() {
        for (progress, will, state, code, text) in [
            (Progress::Happened, Will::Start, State::Running, 0, "web.1 started, now running\n"),
            (Progress::Happened, Will::Start, State::Failed, 1, "web.1 started, now failed\n"),
            (Progress::Happened, Will::Restart, State::Backoff, 1, "web.1 restarted, now backoff\n"),
            (Progress::Happened, Will::Start, State::Completed, 0, "web.1 started, now completed\n"),
            (Progress::Happened, Will::Stop, State::Stopped, 0, "web.1 stopped\n"),
            (Progress::Happened, Will::Stop, State::Stuck, 0, "web.1 stopped, now stuck\n"),
            (Progress::Happened, Will::Signal, State::Running, 0, "web.1 got SIGHUP\n"),
            (Progress::Accepted, Will::Signal, State::Running, 0, "web.1 will get SIGHUP\n"),
            (Progress::Accepted, Will::Restart, State::Failed, 0, "web.1 will restart\n"),
            (Progress::Accepted, Will::Stay, State::Stopped, 0, "web.1 stays stopped\n"),
        ] {
            let told = told("web=1", "web=1", progress, vec![effect("web.1", will, state)]);
            assert_eq!(told, (code, text.to_owned()));
        }
    }
}
