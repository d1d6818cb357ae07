//! The command line: arguments, their variables and help. No behaviour.
//!
//! Every flag has a variable `SUPERVISE_<FLAG>`; an empty one is as if unset.

mod app;
mod control;
mod offers;
mod release;
mod start;
mod unknown;

use std::ffi::OsString;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use self::app::{Part, typed, with_app_flags};
use self::unknown::explain_unknown_verb;
use crate::app::Inputs;
use crate::client::{Shell, Whereabouts};

pub use self::app::AppArgs;
pub use self::control::{
    Control, DeployArgs, HealthArgs, LogsArgs, PsArgs, RestartArgs, RollbackArgs, ScaleArgs, SignalArgs,
    TargetArgs,
};
pub use self::release::{
    CreateArgs, DiffArgs, PruneArgs, ReleaseArgs, ReleaseVerb, ReleasesArgs, ShowArgs, WhichArgs,
};
pub use self::start::{StartArgs, color_by};

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
        supervise run rake db:migrate    one command in the same environment\n  \
        supervise ps                     how is everybody?\n  \
        supervise scale web=6 worker+2   more of them, while it runs\n  \
        supervise shutdown               until everything is gone\n\n\
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
    /// Make and show releases: builds with their config, numbered and immutable
    Release(ReleaseArgs),
    /// List the releases, the newest first
    Releases(ReleasesArgs),
    /// What a supervisor that runs is asked.
    #[command(flatten)]
    Control(Control),
    /// Write the script that teaches a shell to complete our words
    #[command(
        after_help = "Process types and slots come from the supervisor that runs, else from the Procfile.\n\n\
        Examples:\n  \
        source <(supervise completions bash)          in ~/.bashrc\n  \
        source <(supervise completions zsh)           in ~/.zshrc, after compinit\n  \
        supervise completions fish > ~/.config/fish/completions/supervise.fish"
    )]
    Completions(CompletionsArgs),
    /// Write the manual page of supervise, or of one command
    #[command(after_help = "Examples:\n  \
        supervise man | man -l -\n  \
        supervise man > /usr/local/share/man/man1/supervise.1\n  \
        supervise man start > /usr/local/share/man/man1/supervise-start.1")]
    Man(ManArgs),
}

/// `run`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Where a supervisor runs a release of the app, it is that release; else what is here. Flags of ours \
    stand before CMD; what follows it belongs to it. The exit code is the command's: 127 if it is not found, 126 if it \
    cannot be executed. With --detach the supervisor has the environment, and it runs until it ends, is stopped \
    (supervise stop run.1), or the supervisor ends.\n\n\
    Examples:\n  \
    supervise run rake db:migrate\n  \
    supervise run -e staging.env -- printenv DATABASE_URL\n  \
    supervise run worker               the command of the process type `worker`\n  \
    supervise run --release v3 rake db:rollback\n  \
    supervise run --detach rake reindex        under the supervisor, as run.1"
)]
pub struct RunArgs {
    /// A command with its arguments, or the name of one process type
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
    /// Let the supervisor run it, beside the formation: what it writes is in the stream
    #[arg(short = 'D', long, env = "SUPERVISE_DETACH", conflicts_with = "release")]
    pub detach: bool,
    /// Which release, where it is not what runs, or what is here.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The first of the flags given here that change the config: `--env`.
    #[arg(skip)]
    pub changes_config: Option<String>,
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
    #[arg(value_name = "TYPE", add = ArgValueCompleter::new(offers::startable))]
    pub process_type: Option<String>,
    /// Show the values too: they may be secrets
    #[arg(long, env = "SUPERVISE_SHOW_VALUES")]
    pub show_values: bool,
    /// Which release, where it is not what is here.
    #[command(flatten)]
    pub which: WhichArgs,
}

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL", value_parser = words(&SHELLS))]
    pub shell: Shell,
}

/// `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// The page of one command [default: that of supervise]
    #[arg(value_name = "COMMAND", add = ArgValueCompleter::new(offers::verbs))]
    pub verb: Option<String>,
}

const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

impl Cli {
    /// Reads the arguments, the program's name first, and the variables that stand for flags.
    ///
    /// # Errors
    /// What is wrong with them, or help that was asked for, ready to be printed; its exit code is 2 or 0.
    pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        Cli::of_start(&arguments).map_or_else(|| Cli::of_any_verb(&arguments), Ok)
    }

    fn of_any_verb(arguments: &[OsString]) -> Result<Cli, clap::Error> {
        // Only what is named can be meant: the others need no flags, and `start` no time for them.
        let mut command = defined(|verb| arguments.iter().any(|argument| argument == verb));
        let matches = match command.try_get_matches_from_mut(arguments) {
            Ok(matches) => matches,
            Err(error) => return Err(explain_unknown_verb(&mut command, arguments, error)),
        };
        let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let Some((verb, after)) = matches.subcommand() {
            cli.app = match after.subcommand() {
                Some((inner, after)) => {
                    AppArgs::merged(&mut command, &matches, &format!("{verb} {inner}"), after)?
                }
                None => AppArgs::merged(&mut command, &matches, verb, after)?,
            };
            if let Command::Run(run) = &mut cli.command {
                // What a variable says is for whoever it means something to.
                let given = |id: &&&str| typed(&matches, id) || typed(after, id);
                let flag = |id: &&str| format!("--{}", id.replace('_', "-"));
                run.changes_config = CONFIG.iter().find(given).map(flag);
                let meaningless = CONFIG.iter().chain(&PORTS).find(given).map(flag);
                if let (true, Some(flag)) = (run.detach, meaningless) {
                    let message = format!(
                        "`{flag}` means nothing with `--detach`: the supervisor runs the command, in the environment that it has"
                    );
                    return Err(command.error(ErrorKind::ArgumentConflict, message));
                }
            }
        }
        cli.refuse_what_a_release_says(&mut command)?;
        if let Command::Man(ManArgs { verb: Some(verb) }) = &cli.command
            && command.get_subcommands().all(|known| known.get_name() != verb)
        {
            let message = format!("there is no command `{verb}`");
            return Err(command.error(ErrorKind::InvalidValue, message));
        }
        Ok(cli)
    }

    /// The same for `start` as the first word, without the definition of everything else, which would be a quarter of what we
    /// compute at a start; `None` for whatever there is to be said about.
    fn of_start(arguments: &[OsString]) -> Option<Cli> {
        let (_, start) = arguments.split_first()?;
        if start.first()? != "start" {
            return None;
        }
        let verb = StartArgs::augment_args(clap::Command::new("start"));
        let mut verb = with_app_flags(verb, Part::All).mut_args(by_variable);
        let matches = verb.try_get_matches_from_mut(start).ok()?;
        let app = AppArgs::after(&mut verb, &matches).ok()?;
        let cli = Cli { app, command: Command::Start(StartArgs::from_arg_matches(&matches).ok()?) };
        cli.refuse_what_a_release_says(&mut verb).ok()?;
        Some(cli)
    }

    /// What decides which processes run, given the environment we were started with.
    #[must_use]
    pub fn inputs(&self, environment: Vec<(OsString, OsString)>) -> Inputs {
        let inputs = self.app.inputs(environment);
        match &self.command {
            Command::Start(start) => start.add_to(inputs),
            Command::Check
            | Command::Run(_)
            | Command::Config(_)
            | Command::Release(_)
            | Command::Releases(_)
            | Command::Control(_)
            | Command::Completions(_)
            | Command::Man(_) => inputs,
        }
    }

    /// The config and the spec of a release are its own: what would change them is a mistake.
    fn refuse_what_a_release_says(&self, command: &mut clap::Command) -> Result<(), clap::Error> {
        let which = match &self.command {
            Command::Start(start) => &start.which,
            Command::Run(run) => &run.which,
            Command::Config(config) => &config.which,
            Command::Check
            | Command::Release(_)
            | Command::Releases(_)
            | Command::Control(_)
            | Command::Completions(_)
            | Command::Man(_) => return Ok(()),
        };
        let Some(release) = &which.release else { return Ok(()) };
        let flags = [
            ("--env", !self.app.env.is_empty()),
            ("--env-expand", self.app.env_expand),
            ("--env-override", self.app.env_override),
            ("--spec", self.app.spec.is_some()),
        ];
        match flags.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => {
                let message = format!(
                    "`{flag}` has no part in the release `{release}`, which has a config and a spec of its own\n  \
                     help: `supervise release create {flag} ...` makes another one"
                );
                Err(command.error(ErrorKind::ArgumentConflict, message))
            }
        }
    }

    /// Where the supervisor is, given the environment we were started with.
    #[must_use]
    pub fn whereabouts(&self, environment: Vec<(OsString, OsString)>) -> Whereabouts {
        Whereabouts { socket: self.app.socket.clone(), inputs: self.inputs(environment) }
    }
}

/// The flags that change the config, by their ids.
const CONFIG: [&str; 4] = ["env", "env_expand", "env_override", "spec"];

/// The flags that say who gets which PORT, by their ids.
const PORTS: [&str; 3] = ["port", "port_step", "no_port"];

/// Reads one of a few words as the value that it stands for.
fn words<T: Copy + Send + Sync + 'static>(
    pairs: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(pairs.iter().map(|(word, _)| *word)).try_map(move |word| {
        let found = pairs.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        found.ok_or("not one of the words")
    })
}

/// What the command line understands, with its variables: for pages and shells.
#[must_use]
pub fn definition() -> clap::Command {
    defined(|_| true)
}

/// The same, where only the verbs that are chosen have their flags.
fn defined(chosen: impl Fn(&str) -> bool) -> clap::Command {
    Cli::command()
        .mut_subcommands(|verb| {
            if !chosen(verb.get_name()) {
                return verb;
            }
            let part = match verb.get_name() {
                "start" | "run" => Part::All,
                "check" | "config" => Part::App,
                "completions" | "man" => Part::Nothing,
                "releases" => Part::Kept,
                "release" => {
                    return verb.mut_subcommands(|verb| {
                        let part = if verb.get_name() == "create" { Part::Material } else { Part::Kept };
                        with_app_flags(verb, part).mut_args(with_variable)
                    });
                }
                _ => Part::Way,
            };
            with_app_flags(verb, part).mut_args(with_variable)
        })
        .mut_args(with_variable)
}

/// Names the variable in the help, in one word that no line breaks; and as below.
fn with_variable(arg: Arg) -> Arg {
    let Some(variable) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { return arg };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    by_variable(arg.hide_env(true).help(format!("{help} [${variable}]")))
}

/// Has the variable understood as a person means it, and takes away an empty one.
fn by_variable(mut arg: Arg) -> Arg {
    let Some(variable) = arg.get_env() else { return arg };
    let is_empty = std::env::var_os(variable).is_some_and(|value| value.is_empty());
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg = arg.value_parser(BoolishValueParser::new());
    }
    if is_empty { arg.env(None::<&str>) } else { arg }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod variables_tests;
