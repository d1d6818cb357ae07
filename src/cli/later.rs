//! What belongs to a later version: known by name and refused by name, never accepted and ignored.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

/// Verbs of a later version.
const LATER_VERBS: [&str; 4] = ["release", "releases", "deploy", "rollback"];

/// A flag of a later version.
struct LaterFlag {
    name: &'static str,
    takes_value: bool,
    variable: &'static str,
    verbs: &'static [&'static str],
}

const LATER_FLAGS: [LaterFlag; 1] = [LaterFlag {
    name: "release",
    takes_value: true,
    variable: "SUPERVISE_RELEASE",
    verbs: &["start", "run"],
}];

/// The flags of a later version, hidden: before the verb, or those of one verb with their variables.
pub(super) fn hidden_flags(verb: Option<&str>) -> Vec<Arg> {
    let of_verb = |flag: &&LaterFlag| verb.is_none_or(|verb| flag.verbs.contains(&verb));
    let hidden = |flag: &'static LaterFlag| {
        // Whether a value is there or not: the flag itself is what is refused.
        let arg = Arg::new(flag.name).long(flag.name).hide(true).num_args(0..=1);
        let arg = arg.action(ArgAction::Append).require_equals(!flag.takes_value);
        if verb.is_some() { arg.env(flag.variable) } else { arg }
    };
    LATER_FLAGS.iter().filter(of_verb).map(hidden).collect()
}

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
        // The nearest one is the last.
        Some(ContextValue::Strings(near)) => near.last(),
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
