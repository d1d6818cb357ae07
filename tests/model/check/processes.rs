//! Who lives: `/proc` and `ps` name the same.

use std::collections::{BTreeMap, BTreeSet};

use supervise::api::State;

use super::sight::look;
use super::{Complaints, Sight};

/// Everybody belongs to an instance that is shown, whoever is shown lives, nobody is a zombie.
pub(crate) fn complaints(sight: &Sight) -> Complaints {
    [strays(sight), shown(sight), zombies(sight)].concat()
}

/// No slot ever has two leaders: this holds at every moment, quiet or not.
pub(crate) fn twins(sight: &Sight) -> Complaints {
    let mut by_slot: BTreeMap<&str, Vec<(i32, u64)>> = BTreeMap::new();
    for (pid, seen) in sight.family.iter().filter(|(pid, seen)| sight.leads(**pid, seen)) {
        // Before it executes its program it has no name, and when it is dead none any more.
        if let Some(slot) = seen.variable("PS") {
            by_slot.entry(slot).or_default().push((*pid, seen.born));
        }
    }
    // They were looked at one after the other: who was there first may have ended before the next one came.
    let alive =
        |(pid, born): &&(i32, u64)| look(*pid).is_some_and(|seen| seen.state != 'Z' && seen.born == *born);
    let twins =
        by_slot.iter().filter(|(_, leaders)| leaders.len() > 1 && leaders.iter().filter(alive).count() > 1);
    twins.map(|(slot, leaders)| format!("{slot} has more than one leader: {leaders:?}")).collect()
}

fn zombies(sight: &Sight) -> Complaints {
    // What a process of the formation does not wait for is its own affair.
    let ours = sight.family.iter().filter(|(_, seen)| seen.state == 'Z' && seen.parent == sight.supervisor);
    ours.map(|(pid, seen)| format!("{pid} is a zombie that nobody waits for: {seen:?}")).collect()
}

fn strays(sight: &Sight) -> Complaints {
    let instances: BTreeSet<&str> = sight
        .ps
        .processes
        .iter()
        .filter_map(|process| sight.leader(process)?.1.variable("SUPERVISE_INSTANCE"))
        .collect();
    let belongs = |instance: Option<&str>| instance.is_some_and(|instance| instances.contains(instance));
    let strays = sight
        .family
        .iter()
        .filter(|(_, seen)| seen.state != 'Z' && !belongs(seen.variable("SUPERVISE_INSTANCE")));
    strays.map(|(pid, seen)| format!("{pid} is of no instance that `ps` shows: {seen:?}")).collect()
}

fn shown(sight: &Sight) -> Complaints {
    let mut complaints = Complaints::new();
    let mut leads: BTreeMap<i32, String> = BTreeMap::new();
    for process in &sight.ps.processes {
        let name = process.name.to_string();
        let lives = match process.state {
            State::Starting | State::Running | State::Draining | State::Killing | State::Stuck => true,
            State::Pending | State::Backoff | State::Completed | State::Failed | State::Stopped => false,
        };
        if lives != process.pid.is_some() {
            complaints.push(format!("{name} is {} with pid {:?}", process.state, process.pid));
        }
        let Some(pid) = process.pid.map(supervise::api::Pid::raw) else { continue };
        if let Some(other) = leads.insert(pid, name.clone()) {
            complaints.push(format!("{name} and {other} have one leader, {pid}"));
        }
        let Some((_, seen)) = sight.leader(process) else {
            complaints.push(format!("{name} is shown with pid {pid}, which is not there"));
            continue;
        };
        if seen.state == 'Z' || seen.variable("PS") != Some(&name) {
            complaints.push(format!("{name} is shown with pid {pid}, which is {seen:?}"));
        }
        if process.suspended != (seen.state == 'T') {
            let word = if process.suspended { "suspended" } else { "not suspended" };
            complaints.push(format!("{name} is shown as {word}, and its state is {}", seen.state));
        }
        if process.rss_bytes.is_none_or(|bytes| bytes == 0) || process.cpu_ms.is_none() {
            complaints.push(format!("{name} lives, and uses nothing: {process:?}"));
        }
    }
    complaints
}
