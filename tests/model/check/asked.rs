//! What runs is what was asked for: counts, states, editions, PORTs, and who was not touched.

use std::collections::{BTreeMap, BTreeSet};

use supervise::api::{ProcessStatus, State};

use super::{Complaints, Sight};
use crate::book::{Book, Place, Wanted};
use crate::cast::{Ends, kind, word};

pub(crate) fn place(process: &ProcessStatus) -> Place {
    Place { name: process.process_type.to_string(), number: process.slot }
}

/// Whatever is not as it was asked for. As long as there is something, it may only not have come to it yet.
pub(crate) fn complaints(sight: &Sight, book: &Book) -> Complaints {
    let mut complaints = Complaints::new();
    let formation: Vec<(String, u32)> =
        sight.ps.formation.0.iter().map(|(name, count)| (name.to_string(), *count)).collect();
    if formation != book.formation() {
        complaints.push(format!("the formation is {formation:?}, and was to be {:?}", book.formation()));
    }
    let shown: BTreeSet<Place> = sight.formation().map(place).collect();
    let wanted: BTreeSet<Place> = book.places().into_iter().collect();
    complaints.extend(wanted.difference(&shown).map(|place| format!("{place:?} is missing")));
    complaints
        .extend(shown.difference(&wanted).map(|place| format!("{place:?} is there, and nobody wants it")));
    for process in sight.formation() {
        let place = place(process);
        if wanted.contains(&place) && !is_as_wanted(process.state, book.wanted(&place)) {
            let wanted = book.wanted(&place);
            complaints.push(format!("{} is {}, and was to be {wanted:?}", process.name, process.state));
        }
    }
    for process in sight.ps.processes.iter().filter(|process| process.process_type.as_str() == "run") {
        if !matches!(process.state, State::Completed | State::Failed | State::Stopped) {
            complaints.push(format!("{} is {}", process.name, process.state));
        }
    }
    complaints
}

fn is_as_wanted(state: State, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Running => state == State::Running,
        Wanted::Completed => state == State::Completed,
        Wanted::Resting => matches!(state, State::Stopped | State::Completed | State::Failed),
    }
}

/// Editions and PORTs, in `ps` and in the environment; whoever listens there is the slot's own instance.
pub(crate) fn particulars(sight: &Sight, book: &Book) -> Complaints {
    let mut complaints = Complaints::new();
    let mut ports: BTreeMap<u16, String> = BTreeMap::new();
    for process in sight.formation() {
        let (place, name) = (place(process), &process.name);
        let port = book.port(&place);
        if process.port != port {
            complaints.push(format!("{name} has the PORT {:?}, and was to have {port:?}", process.port));
        }
        if let Some(other) = process.port.and_then(|port| ports.insert(port, name.to_string())) {
            complaints.push(format!("{name} and {other} have one PORT"));
        }
        let Some((pid, leader)) = sight.leader(process) else { continue };
        let theirs = leader.variable("PORT").map(str::to_owned);
        if theirs != port.map(|port| port.to_string()) {
            complaints
                .push(format!("{name} has PORT={theirs:?} in its environment, and was to have {port:?}"));
        }
        if let Some(edition) = book.edition(&place.name)
            && !leader.command.split(' ').any(|its| its == word(edition))
        {
            complaints.push(format!("{name} was to be of edition {edition}: {}", leader.command));
        }
        if process.release != book.release {
            complaints.push(format!("{name} runs {}, and was to run {}", process.release, book.release));
        }
        let Some(port) = port else { continue };
        let listening = sight.listeners.get(&port).map_or(&[] as &[u64], Vec::as_slice);
        if listening.iter().any(|inode| !leader.sockets.contains(inode)) {
            complaints.push(format!("somebody else than {pid} listens on {port}, the PORT of {name}"));
        }
        if kind(&place.name).serves_port && listening.is_empty() && leader.state != 'T' {
            complaints.push(format!("{name} does not listen on {port}"));
        }
    }
    complaints
}

/// Nobody was touched whom nobody asked to be: the same process, the same count of restarts.
pub(crate) fn changes(before: &Sight, now: &Sight, book: &Book) -> Complaints {
    let mut complaints = Complaints::new();
    for process in now.formation() {
        let place = place(process);
        let Some(earlier) = before.formation().find(|earlier| earlier.name == process.name) else { continue };
        let touch = book.touch_of(&place);
        let identity = |sight: &Sight, process| sight.leader(process).map(|(pid, seen)| (pid, seen.born));
        let (was, is) = (identity(before, earlier), identity(now, process));
        let restarts = process.restarts.checked_sub(earlier.restarts);
        let said = format!(
            "{}: {was:?} before, {is:?} now, restarts {} before, {} now, {touch:?}",
            process.name, earlier.restarts, process.restarts
        );
        if was.is_some() && is.is_some() && (touch.renewed || (touch.kills > 0 && !touch.asked)) && was == is
        {
            complaints.push(format!("the old instance is still there: {said}"));
        }
        if touch.asked {
            continue;
        }
        if touch.kills == 0 && was != is {
            complaints.push(format!("nobody touched it, and it is another one: {said}"));
        }
        let at_most = match kind(&place.name).ends {
            Ends::BadlyAtFirst if touch.kills > 0 => u64::MAX,
            Ends::Never | Ends::Well | Ends::BadlyAtFirst => touch.kills,
        };
        let at_least = touch.kills.min(1);
        if restarts.is_none_or(|restarts| restarts < at_least || restarts > at_most) {
            complaints.push(format!("the restarts do not fit: {said}"));
        }
    }
    complaints
}
