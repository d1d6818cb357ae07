//! What belongs to a later version: known by name and refused by name, never accepted and ignored.

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

/// Verbs of a later version.
const LATER_VERBS: [&str; 17] = [
    "ps",
    "scale",
    "restart",
    "stop",
    "signal",
    "logs",
    "events",
    "reload",
    "shutdown",
    "services",
    "health",
    "release",
    "releases",
    "deploy",
    "rollback",
    "completions",
    "man",
];

/// A flag of a later version.
pub(super) struct LaterFlag {
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes_value: bool,
    pub(super) variable: &'static str,
}

const fn later(name: &'static str, variable: &'static str) -> LaterFlag {
    LaterFlag { name, short: None, takes_value: true, variable }
}

/// Flags of a later version; all for `start`, `--release` for `run` too.
pub(super) const LATER_FLAGS: [LaterFlag; 4] = [
    later("socket", "SUPERVISE_SOCKET"),
    later("http", "SUPERVISE_HTTP"),
    later("token-file", "SUPERVISE_TOKEN_FILE"),
    later("release", "SUPERVISE_RELEASE"),
];

/// A verb of a later version is refused by name; clap does not know it, so it never offers it for another's slip. Any
/// other unknown one is told what is known.
pub(super) fn explain_unknown_verb(command: &mut clap::Command, error: clap::Error) -> clap::Error {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(verb))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return error;
    };
    if LATER_VERBS.contains(&verb.as_str()) {
        return not_in_this_version(command, verb);
    }
    let near = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(near)) => near.first(),
        Some(_) | None => None,
    };
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let known = command.get_subcommands().filter(|known| known.get_name() != "help");
    let known: Vec<String> = known.map(|known| format!("`{}`", known.get_name())).collect();
    let message =
        format!("there is no command `{verb}`\n  help: {near}the commands are: {}", known.join(", "));
    command.error(ErrorKind::InvalidSubcommand, message)
}

fn not_in_this_version(command: &mut clap::Command, what: &str) -> clap::Error {
    command.error(ErrorKind::InvalidSubcommand, format!("`{what}` is not in this version"))
}

/// A flag of a later version, or its variable, is refused by name, before the verb and after it.
pub(super) fn refuse_later_flags(
    command: &mut clap::Command,
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let after = matches.subcommand().map(|(_, after)| after);
    for matches in [Some(matches), after].into_iter().flatten() {
        for LaterFlag { name, variable, .. } in &LATER_FLAGS {
            match matches.try_contains_id(name).map(|_| matches.value_source(name)) {
                Ok(Some(ValueSource::EnvVariable)) => return Err(not_in_this_version(command, variable)),
                Ok(Some(_)) => return Err(not_in_this_version(command, &format!("--{name}"))),
                // Not given, or not known to this verb.
                Ok(None) | Err(_) => {}
            }
        }
    }
    Ok(())
}
