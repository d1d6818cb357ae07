//! What could stand where a process type or a slot can: from the supervisor that runs, else from the Procfile.

use super::connection::{Connection, Whereabouts, read};
use crate::api::Status;
use crate::app::{self, Inputs};

/// The names of the process types.
#[must_use]
pub fn types(whereabouts: &Whereabouts) -> Vec<String> {
    match status(whereabouts) {
        Some(status) => status.formation.0.iter().map(|(name, _)| name.to_string()).collect(),
        None => types_of_procfile(&whereabouts.inputs),
    }
}

/// The names of the process types, and behind them those of the slots.
#[must_use]
pub fn slots_and_types(whereabouts: &Whereabouts) -> Vec<String> {
    match status(whereabouts) {
        Some(status) => {
            let types = status.formation.0.iter().map(|(name, _)| name.to_string());
            types.chain(status.processes.iter().map(|process| process.name.to_string())).collect()
        }
        None => types_of_procfile(&whereabouts.inputs),
    }
}

/// Whoever presses the tab key wants no error: where nobody answers, nobody is offered.
fn status(whereabouts: &Whereabouts) -> Option<Status> {
    read(&Connection::open(whereabouts).ok()?.get("/v1/processes").ok()?).ok()
}

/// The names of the process types that the Procfile has.
#[must_use]
pub fn types_of_procfile(inputs: &Inputs) -> Vec<String> {
    let release = app::plan(inputs);
    release
        .map(|release| release.types.iter().map(|entry| entry.name.to_string()).collect())
        .unwrap_or_default()
}
