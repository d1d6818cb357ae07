//! The command line: arguments, their variables and help. No behaviour.
//!
//! Every flag has a variable `SUPERVISE_<FLAG>`; an empty one is as if unset. What belongs to a later version is known by
//! name and refused by name, never accepted and ignored.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::api::parse_duration;
use crate::app::{Expansion, Inputs, Ports, Restart, Selection, Settings, Stronger};
use crate::daemon::LeftoversOfEarlierRuns;
use crate::stream::{self, Choice, Format, WhenGone, WhenSlow};

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

/// Flags of every command, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The app")]
pub struct AppArgs {
    /// The Procfile [default: Procfile]
    #[arg(short = 'f', long, value_name = "FILE", env = "SUPERVISE_PROCFILE")]
    pub procfile: Option<PathBuf>,
    /// The directory the processes run in [default: the Procfile's]
    #[arg(short = 'd', long, value_name = "DIR", env = "SUPERVISE_ROOT")]
    pub root: Option<PathBuf>,
    /// Env files, the last one strongest [default: .env beside the Procfile]
    #[arg(short = 'e', long, value_name = "FILE", value_delimiter = ',', env = "SUPERVISE_ENV")]
    pub env: Vec<PathBuf>,
    /// Replace $NAME and ${NAME} in env files
    #[arg(long, env = "SUPERVISE_ENV_EXPAND")]
    pub env_expand: bool,
    /// Let env files win over the environment
    #[arg(long, env = "SUPERVISE_ENV_OVERRIDE")]
    pub env_override: bool,
    /// The scaling spec [default: supervise.yml, else app.json, beside the Procfile]
    #[arg(long, value_name = "FILE", env = "SUPERVISE_SPEC")]
    pub spec: Option<PathBuf>,
    /// The PORT of the first process type [default: PORT, else 5000]
    #[arg(
        short = 'p',
        long,
        value_name = "PORT",
        env = "SUPERVISE_PORT",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub port: Option<u16>,
    /// From the PORT of one process type to the next [default: 100]
    #[arg(
        long,
        value_name = "N",
        env = "SUPERVISE_PORT_STEP",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub port_step: Option<u16>,
    /// Give out no PORT
    #[arg(long, env = "SUPERVISE_NO_PORT")]
    pub no_port: bool,
}

impl AppArgs {
    /// Those before the verb and those after it, as one: env files add up in their order, anything else is said once.
    fn merged(
        command: &mut clap::Command,
        before: &ArgMatches,
        after: &ArgMatches,
    ) -> Result<AppArgs, clap::Error> {
        let typed =
            |matches: &ArgMatches, id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let ids = ["procfile", "root", "env_expand", "env_override", "spec", "port", "port_step", "no_port"];
        if let Some(twice) = ids.iter().find(|id| typed(before, id) && typed(after, id)) {
            let message = format!("`--{}` is given before and after the command", twice.replace('_', "-"));
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        let mut merged = AppArgs::from_arg_matches(before)?;
        let AppArgs { procfile, root, env, env_expand, env_override, spec, port, port_step, no_port } =
            AppArgs::from_arg_matches(after)?;
        let either = |id: &str| typed(before, id) || typed(after, id);
        let (port_typed, no_port_typed) = (either("port"), either("no_port"));
        let after = |id: &str| typed(after, id);
        if after("env") {
            let earlier = if typed(before, "env") { std::mem::take(&mut merged.env) } else { Vec::new() };
            merged.env = earlier.into_iter().chain(env).collect();
        }
        if after("procfile") {
            merged.procfile = procfile;
        }
        if after("root") {
            merged.root = root;
        }
        if after("env_expand") {
            merged.env_expand = env_expand;
        }
        if after("env_override") {
            merged.env_override = env_override;
        }
        if after("spec") {
            merged.spec = spec;
        }
        if after("port") {
            merged.port = port;
        }
        if after("port_step") {
            merged.port_step = port_step;
        }
        if after("no_port") {
            merged.no_port = no_port;
        }
        // They exclude each other, but a flag wins over the other one's variable.
        if merged.no_port && merged.port.is_some() {
            match (port_typed, no_port_typed) {
                (true, false) => merged.no_port = false,
                (false, true) => merged.port = None,
                (true, true) | (false, false) => {
                    let message = "`--port` gives out ports and `--no-port` gives out none: choose one";
                    return Err(command.error(ErrorKind::ArgumentConflict, message));
                }
            }
        }
        Ok(merged)
    }

    fn ports(&self) -> Ports {
        if self.no_port {
            Ports::Off
        } else {
            Ports::On { base: self.port, step: self.port_step.unwrap_or(Ports::STEP) }
        }
    }
}

/// `start`.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    supervise start                        one of each, or what the spec says\n  \
    supervise start web=4 worker=8         the types not named keep their count\n  \
    supervise start web worker=2           a bare name: only these two\n  \
    supervise start all=0 web=2            every type first, then web\n  \
    supervise start --only web=4           one type per container\n  \
    supervise start -p 8000 -e prod.env    ports from 8000\n\n\
    Exits with 2 if anything is wrong with the input, and then has started nothing.")]
pub struct StartArgs {
    /// How many of each process type; a bare name runs only the types named
    #[arg(value_name = "TYPE|TYPE=N")]
    pub formation: Vec<String>,
    /// Run only the types named, with or without a count
    #[arg(long, env = "SUPERVISE_ONLY")]
    pub only: bool,
    /// From the stop signal to SIGKILL [default: 8s]
    #[arg(short = 't', long, value_name = "DURATION", value_parser = parse_duration, env = "SUPERVISE_DRAIN")]
    pub drain: Option<Duration>,
    /// When a process that ended is started again [default: on-failure; web: always]
    #[arg(long, value_name = "WHEN", value_parser = words(&Restart::WORDS), env = "SUPERVISE_RESTART")]
    pub restart: Option<Restart>,
    /// Stop everything at the first exit of anything, whatever its code
    #[arg(long, env = "SUPERVISE_FAIL_FAST")]
    pub fail_fast: bool,
    /// What becomes of processes that an earlier run left behind
    #[arg(
        long,
        value_name = "FATE",
        default_value = "stop",
        value_parser = words(&LEFTOVERS),
        env = "SUPERVISE_LEFTOVERS"
    )]
    pub leftovers: LeftoversOfEarlierRuns,
    /// What the lines look like
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        value_parser = words(&FORMATS),
        env = "SUPERVISE_FORMAT",
        help_heading = "Output"
    )]
    pub format: Format,
    /// The time before each line; auto: on a terminal
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_TIMESTAMPS",
        help_heading = "Output"
    )]
    pub timestamps: Choice,
    /// Coloured tags; auto: on a terminal, see also NO_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        value_parser = words(&CHOICES),
        env = "SUPERVISE_COLOR",
        help_heading = "Output"
    )]
    pub color: Choice,
    /// While our reader is slow: the processes wait, or the oldest lines are dropped and counted
    #[arg(
        long,
        value_name = "HOW",
        default_value = "block",
        value_parser = words(&WHEN_SLOW),
        env = "SUPERVISE_WHEN_SLOW",
        help_heading = "Output"
    )]
    pub when_slow: WhenSlow,
    /// When our reader goes away: stop everything, or drop and count the lines [default: drain; as PID 1: drop]
    #[arg(
        long,
        value_name = "HOW",
        value_parser = words(&WHEN_GONE),
        env = "SUPERVISE_WHEN_GONE",
        help_heading = "Output"
    )]
    pub when_gone: Option<WhenGone>,
    /// Record what was decided and why, for `examples/replay.rs`; no value of a variable is in it
    #[arg(long, value_name = "FILE", env = "SUPERVISE_TRACE", help_heading = "Output")]
    pub trace: Option<PathBuf>,
    /// Say more about ourselves on stderr; twice: everything
    #[arg(short = 'v', long, action = ArgAction::Count, env = "SUPERVISE_VERBOSE", help_heading = "Output")]
    pub verbose: u8,
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

const LEFTOVERS: [(&str, LeftoversOfEarlierRuns); 3] = [
    ("stop", LeftoversOfEarlierRuns::Stop),
    ("ignore", LeftoversOfEarlierRuns::Ignore),
    ("fail", LeftoversOfEarlierRuns::Fail),
];

const FORMATS: [(&str, Format); 3] = [("text", Format::Text), ("json", Format::Json), ("raw", Format::Raw)];

const CHOICES: [(&str, Choice); 3] =
    [("auto", Choice::Auto), ("always", Choice::Always), ("never", Choice::Never)];

const WHEN_SLOW: [(&str, WhenSlow); 2] = [("block", WhenSlow::Block), ("drop", WhenSlow::Drop)];

const WHEN_GONE: [(&str, WhenGone); 2] = [("drain", WhenGone::Drain), ("drop", WhenGone::Drop)];

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
struct LaterFlag {
    name: &'static str,
    short: Option<char>,
    takes_value: bool,
    variable: &'static str,
}

const fn later(name: &'static str, variable: &'static str) -> LaterFlag {
    LaterFlag { name, short: None, takes_value: true, variable }
}

/// Flags of a later version; all for `start`, `--release` for `run` too.
const LATER_FLAGS: [LaterFlag; 6] = [
    later("socket", "SUPERVISE_SOCKET"),
    later("http", "SUPERVISE_HTTP"),
    later("token-file", "SUPERVISE_TOKEN_FILE"),
    LaterFlag { name: "detach", short: Some('D'), takes_value: false, variable: "SUPERVISE_DETACH" },
    later("log-file", "SUPERVISE_LOG_FILE"),
    later("release", "SUPERVISE_RELEASE"),
];

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

impl StartArgs {
    fn add_to(&self, inputs: Inputs) -> Inputs {
        Inputs {
            formation: self.formation.clone(),
            selection: if self.only { Selection::Only } else { Selection::Bare },
            flags: Settings { drain: self.drain, restart: self.restart, ..Settings::default() },
            ..inputs
        }
    }

    /// How the stream looks and behaves, given the environment and whether we are PID 1.
    #[must_use]
    pub fn stream_settings(&self, environment: &[(OsString, OsString)], pid_1: bool) -> stream::Settings {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
        };
        stream::Settings {
            format: self.format,
            timestamps: self.timestamps,
            color: weigh_color(self.color, variable("NO_COLOR"), variable("CLICOLOR_FORCE")),
            when_slow: self.when_slow,
            // In a container the reader of our output is the log driver, and the processes matter more than it does.
            when_gone: self.when_gone.unwrap_or(if pid_1 { WhenGone::Drop } else { WhenGone::Drain }),
        }
    }
}

/// A flag that was given wins; else `NO_COLOR` (<https://no-color.org>), then `CLICOLOR_FORCE`
/// (<https://bixense.com/clicolors>), each given where it is set and not empty.
fn weigh_color(choice: Choice, no_color: Option<&OsStr>, force: Option<&OsStr>) -> Choice {
    match choice {
        Choice::Auto if no_color.is_some() => Choice::Never,
        Choice::Auto if force.is_some_and(|force| force != "0") => Choice::Always,
        Choice::Auto | Choice::Always | Choice::Never => choice,
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

/// A verb of a later version is refused by name; clap does not know it, so it never offers it for another's slip. Any
/// other unknown one is told what is known.
fn explain_unknown_verb(command: &mut clap::Command, error: clap::Error) -> clap::Error {
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
fn refuse_later_flags(command: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
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

#[cfg(test)]
mod tests;
