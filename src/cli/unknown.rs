//! A verb that there is not: what is said of it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// An unknown verb is told which there are.
pub(super) fn explain_unknown_verb(
    command: &mut clap::Command,
    arguments: &[OsString],
    error: clap::Error,
) -> clap::Error {
    let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(verb))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return error;
    };
    // The verb above it, where it is one of several words.
    let above = arguments.iter().take_while(|argument| *argument != verb.as_str());
    let above = above.filter_map(|argument| command.find_subcommand(argument));
    let above = above.filter(|above| above.has_subcommands()).last();
    let prefix = above.map(|above| format!("{} ", above.get_name())).unwrap_or_default();
    let known = above.unwrap_or(command).get_subcommands().filter(|known| known.get_name() != "help");
    let known: Vec<String> = known.map(|known| format!("`{prefix}{}`", known.get_name())).collect();
    let verb = format!("{prefix}{verb}");
    let near = match error.get(ContextKind::SuggestedSubcommand) {
        // The nearest one is the last.
        Some(ContextValue::Strings(near)) => near.last(),
        Some(_) | None => None,
    };
    let near = near.map(|near| format!("did you mean `{prefix}{near}`? ")).unwrap_or_default();
    let message =
        format!("there is no command `{verb}`\n  help: {near}the commands are: {}", known.join(", "));
    command.error(ErrorKind::InvalidSubcommand, message)
}
