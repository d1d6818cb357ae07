//! The command line: arguments, their variables and help. No behaviour.
//!
//! Every flag has a variable `SUPERVISE_<FLAG>`; an empty one is as if unset. What belongs to a later version is known by
//! name and refused by name, never accepted and ignored.

mod app;
mod later;
mod start;

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::later::{LATER_FLAGS, LaterFlag, explain_unknown_verb, refuse_later_flags};
use crate::app::{Expansion, Inputs, Stronger};

pub use self::app::AppArgs;
pub use self::start::StartArgs;

/// A Procfile-driven process supervisor: one file, one command.
///
/// Reads `name: command` lines from a Procfile, starts so many of each as the formation says, tags every line they
/// write, restarts what fails and stops everything in order.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "supervise",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 80,
    after_help = "Examples:\n  \
        supervise start                  everything in ./Procfile, one of each\n  \
        supervise start web=4 worker=8   as many as named\n  \
        supervise check                  is everything right?\n  \
        supervise run rake db:migrate    one command in the same environment\n\n\
        `supervise help COMMAND` tells more about one of them."
)]
pub struct Cli {
    /// Where the app is.
    #[command(flatten)]
    pub app: AppArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One verb each.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Start the formation and keep it running
    Start(StartArgs),
    /// Check the Procfile, the env files and the spec, and start nothing
    #[command(after_help = "Exits with 0 and names the process types, or with 2 and names every error.\n\n\
        Examples:\n  supervise check\n  supervise check -f Procfile.dev -e staging.env")]
    Check,
    /// Run one command, or a process type's, in the environment of the app
    Run(RunArgs),
    /// Show the environment that a process type gets, and where each value is from
    Config(ConfigArgs),
}

/// `run`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Flags of ours stand before CMD; what follows it belongs to it. The exit code is the command's: \
    127 if it is not found, 126 if it cannot be executed.\n\n\
    Examples:\n  \
    supervise run rake db:migrate\n  \
    supervise run -e staging.env -- printenv DATABASE_URL\n  \
    supervise run worker               the command of the process type `worker`"
)]
pub struct RunArgs {
    /// A command with its arguments, or the name of one process type
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `config`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Strongest first: what supervise injects, the type's `env` in the spec, the environment, env \
    files, `defaults.env` in the spec.\n\n\
    Examples:\n  supervise config web\n  supervise config --show-values"
)]
pub struct ConfigArgs {
    /// One process type [default: each]
    #[arg(value_name = "TYPE")]
    pub process_type: Option<String>,
    /// Show the values too: they may be secrets
    #[arg(long, env = "SUPERVISE_SHOW_VALUES")]
    pub show_values: bool,
}

impl Cli {
    /// Reads the arguments, the program's name first, and the variables that stand for flags.
    ///
    /// # Errors
    /// What is wrong with them, or help that was asked for, ready to be printed; its exit code is 2 or 0.
    pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut command = whole_command();
        let matches = match command.try_get_matches_from_mut(arguments) {
            Ok(matches) => matches,
            Err(error) => return Err(explain_unknown_verb(&mut command, error)),
        };
        refuse_later_flags(&mut command, &matches)?;
        let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let Some((_, after)) = matches.subcommand() {
            cli.app = AppArgs::merged(&mut command, &matches, after)?;
        }
        Ok(cli)
    }

    /// What decides which processes run, given the environment we were started with.
    #[must_use]
    pub fn inputs(&self, environment: Vec<(OsString, OsString)>) -> Inputs {
        let app = &self.app;
        let inputs = Inputs {
            procfile: app.procfile.clone(),
            root: app.root.clone(),
            env_files: app.env.clone(),
            expansion: if app.env_expand { Expansion::Expand } else { Expansion::Literal },
            stronger: if app.env_override { Stronger::Files } else { Stronger::Real },
            spec: app.spec.clone(),
            ports: app.ports(),
            environment,
            ..Inputs::default()
        };
        match &self.command {
            Command::Start(start) => start.add_to(inputs),
            Command::Check | Command::Run(_) | Command::Config(_) => inputs,
        }
    }
}

/// Reads one of a few words as the value that it stands for.
fn words<T: Copy + Send + Sync + 'static>(
    pairs: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(pairs.iter().map(|(word, _)| *word)).try_map(move |word| {
        let found = pairs.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        found.ok_or("not one of the words")
    })
}

/// The command with its variables, and with what is hidden: verbs and flags of a later version.
fn whole_command() -> clap::Command {
    let hidden_flag = |flag: &'static LaterFlag| {
        // Whether a value is there or not: the flag itself is what is refused.
        let arg = Arg::new(flag.name).long(flag.name).short(flag.short).hide(true).num_args(0..=1);
        arg.action(ArgAction::Append).require_equals(!flag.takes_value)
    };
    let with_variable_of = |flag: &'static LaterFlag| hidden_flag(flag).env(flag.variable);
    Cli::command()
        .args(LATER_FLAGS.iter().map(hidden_flag))
        .mut_subcommands(|verb| {
            let (name, about) = (verb.get_name().to_owned(), verb.get_about().cloned());
            // The derived function takes the struct's own comment for the verb's.
            let verb = AppArgs::augment_args(verb).about(about.unwrap_or_default()).long_about(None::<&str>);
            match name.as_str() {
                "start" => verb.args(LATER_FLAGS.iter().map(with_variable_of)),
                "run" => {
                    verb.args(LATER_FLAGS.iter().filter(|flag| flag.name == "release").map(with_variable_of))
                }
                _ => verb,
            }
        })
        .mut_args(with_variable)
        .mut_subcommands(|subcommand| subcommand.mut_args(with_variable))
}

/// Names the variable in the help, in one word that no line breaks, and takes away an empty one.
fn with_variable(arg: Arg) -> Arg {
    let Some(variable) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { return arg };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut arg = arg.hide_env(true).help(format!("{help} [${variable}]"));
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg = arg.value_parser(BoolishValueParser::new());
    }
    if std::env::var_os(&variable).is_some_and(|value| value.is_empty()) {
        arg.env(None::<&str>)
    } else {
        arg
    }
}

#[cfg(test)]
mod tests;
