//! What a shell is offered where the definitions alone do not say it: types, slots, signals, verbs.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap_complete::engine::CompletionCandidate;

use super::{AppArgs, definition};
use crate::api::Signal;
use crate::client::{Whereabouts, names_of_releases, slots_and_types, types, types_of_procfile};
use crate::store::Number;

/// Whom a verb can mean: types and slots.
pub(super) fn targets(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, slots_and_types(&whereabouts()))
}

/// Types whose count comes next: `web=`.
pub(super) fn counts(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, types(&whereabouts()).into_iter().map(|name| format!("{name}=")))
}

/// Types that could be started.
pub(super) fn startable(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, types_of_procfile(&whereabouts().inputs))
}

/// `HUP`, `TERM`, ...: the ordinary signals (signal(7)).
pub(super) fn signals(begun: &OsStr) -> Vec<CompletionCandidate> {
    let names = (1..32).filter_map(Signal::new).map(|signal| signal.to_string());
    offer(begun, names.map(|name| name.trim_start_matches("SIG").to_owned()))
}

/// The names of our commands.
pub(super) fn verbs(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, definition().get_subcommands().map(|verb| verb.get_name().to_owned()))
}

fn offer(begun: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

/// The releases there are.
pub(super) fn releases(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, known_releases())
}

/// The same where only a number names one: `v3`.
pub(super) fn numbers(begun: &OsStr) -> Vec<CompletionCandidate> {
    offer(begun, known_releases().into_iter().filter(|name| name.parse::<Number>().is_ok()))
}

fn known_releases() -> Vec<String> {
    let line: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").collect();
    let state = line.iter().position(|word| word == "--state").and_then(|at| line.get(at + 1)).cloned();
    let state = state.or_else(|| std::env::var_os("SUPERVISE_STATE").filter(|state| !state.is_empty()));
    names_of_releases(&whereabouts().inputs, state.as_deref().map(Path::new))
}

/// What the line says so far about where the app is: `-f FILE`, `--socket PATH`. The shell gives it to us behind `--`.
fn whereabouts() -> Whereabouts {
    let line: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let environment: Vec<_> = std::env::vars_os().collect();
    let mut command = definition().ignore_errors(true);
    let app = command.try_get_matches_from_mut(line).and_then(|matches| match matches.subcommand() {
        Some((verb, after)) => AppArgs::merged(&mut command, &matches, verb, after),
        None => AppArgs::merged(&mut command, &matches, "help", &matches),
    });
    // A line that is not yet one says nothing.
    let app = app.ok();
    let inputs = app.as_ref().map_or_else(Default::default, |app| app.inputs(environment));
    Whereabouts { socket: app.and_then(|app| app.socket), inputs }
}
