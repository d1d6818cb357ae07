//! Where the app and its supervisor are: flags before or after the name of a command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};

use crate::app::{Expansion, Inputs, Ports, Stronger};

/// Flags of many commands, before or after their names.
#[allow(clippy::doc_markdown, reason = "these are read as help, where a backtick is noise")]
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
    /// The control socket, or none [default: below XDG_RUNTIME_DIR, else /tmp, else /dev/shm]
    #[arg(long, value_name = "PATH", env = "SUPERVISE_SOCKET")]
    pub socket: Option<PathBuf>,
}

/// Which of these flags a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All: it starts a supervisor.
    All,
    /// All but the socket: there is no supervisor.
    App,
    /// What a release is made of: no ports, either.
    Material,
    /// What leads to the releases of an app.
    Kept,
    /// What leads to the supervisor; `-f` is short for something else where it means `--follow`.
    Way,
    /// None: it needs no app.
    Nothing,
}

impl Part {
    fn has(self, id: &str) -> bool {
        match self {
            Part::All => true,
            Part::App => id != "socket",
            Part::Material => !["socket", "port", "port_step", "no_port"].contains(&id),
            Part::Kept => ["procfile", "root"].contains(&id),
            Part::Way => ["procfile", "root", "env", "socket"].contains(&id),
            Part::Nothing => false,
        }
    }
}

/// Gives a command its part of the flags; what it means by a letter itself is not ours.
pub(super) fn with_app_flags(verb: Command, part: Part) -> Command {
    let taken: Vec<char> = verb.get_arguments().filter_map(Arg::get_short).collect();
    let all = AppArgs::augment_args(Command::new("all"));
    let ours = all.get_arguments().filter(|arg| part.has(arg.get_id().as_str())).cloned();
    let ours = ours.map(|arg| match arg.get_short() {
        Some(short) if taken.contains(&short) => arg.short(None),
        Some(_) | None => arg,
    });
    let ours = ours.map(|arg| match (part, arg.get_id().as_str()) {
        (Part::Way, "procfile") => {
            arg.help("The Procfile of the supervisor [default: the one here, or above]")
        }
        (Part::Way, "socket") => arg.help("The socket of the supervisor [default: that of the Procfile]"),
        (Part::Way, "env") => arg.help("Env files, where one of them sets PROCFILE"),
        (Part::Way | Part::Kept, "root") => arg.help("The directory of the Procfile"),
        (Part::All | Part::App | Part::Material | Part::Kept | Part::Way | Part::Nothing, _) => arg,
    });
    verb.args(ours)
}

impl AppArgs {
    /// Those before the verb and those after it, as one: env files add up in their order, anything else is said once, and
    /// nothing that the verb does not know.
    pub(super) fn merged(
        command: &mut Command,
        before: &ArgMatches,
        verb: &str,
        after: &ArgMatches,
    ) -> Result<AppArgs, clap::Error> {
        for id in AppArgs::augment_args(Command::new("all")).get_arguments().map(|arg| arg.get_id().as_str())
        {
            let flag = || format!("--{}", id.replace('_', "-"));
            if id != "env" && typed(before, id) && typed(after, id) {
                let message = format!("`{}` is given before and after the command", flag());
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
            if typed(before, id) && after.try_contains_id(id).is_err() {
                let message = format!("`{}` means nothing to `{verb}`", flag());
                return Err(command.error(ErrorKind::UnknownArgument, message));
            }
        }
        AppArgs::of(command, &Sides { before, after })
    }

    /// Those after the verb, where there are none before it.
    pub(super) fn after(command: &mut Command, after: &ArgMatches) -> Result<AppArgs, clap::Error> {
        AppArgs::of(command, &Sides { before: &ArgMatches::default(), after })
    }

    fn of(command: &mut Command, sides: &Sides) -> Result<AppArgs, clap::Error> {
        let mut merged = AppArgs {
            procfile: sides.one("procfile"),
            root: sides.one("root"),
            env: sides.all("env"),
            env_expand: sides.one("env_expand").unwrap_or_default(),
            env_override: sides.one("env_override").unwrap_or_default(),
            spec: sides.one("spec"),
            port: sides.one("port"),
            port_step: sides.one("port_step"),
            no_port: sides.one("no_port").unwrap_or_default(),
            socket: sides.one("socket"),
        };
        // They exclude each other, but a flag wins over the other one's variable.
        if merged.no_port && merged.port.is_some() {
            match (sides.typed("port"), sides.typed("no_port")) {
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

    /// What leads to the app, given the environment we were started with.
    pub(super) fn inputs(&self, environment: Vec<(OsString, OsString)>) -> Inputs {
        Inputs {
            procfile: self.procfile.clone(),
            root: self.root.clone(),
            env_files: self.env.clone(),
            expansion: if self.env_expand { Expansion::Expand } else { Expansion::Literal },
            stronger: if self.env_override { Stronger::Files } else { Stronger::Real },
            spec: self.spec.clone(),
            ports: self.ports(),
            environment,
            ..Inputs::default()
        }
    }

    fn ports(&self) -> Ports {
        if self.no_port {
            Ports::Off
        } else {
            Ports::On { base: self.port, step: self.port_step.unwrap_or(Ports::STEP) }
        }
    }
}

/// What was given before the verb and after it.
struct Sides<'m> {
    before: &'m ArgMatches,
    after: &'m ArgMatches,
}

pub(super) fn typed(matches: &ArgMatches, id: &str) -> bool {
    // A flag that the verb does not have was not typed after it.
    matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
}

impl Sides<'_> {
    fn typed(&self, id: &str) -> bool {
        typed(self.before, id) || typed(self.after, id)
    }

    /// The value that was typed, else that of the variable; none of a flag that the verb does not have.
    fn one<T: Clone + Send + Sync + 'static>(&self, id: &str) -> Option<T> {
        let side = if typed(self.before, id) { self.before } else { self.after };
        side.try_get_one(id).ok().flatten().cloned()
    }

    /// Every value that was typed, in order, else those of the variable.
    fn all<T: Clone + Send + Sync + 'static>(&self, id: &str) -> Vec<T> {
        let values = |side: &ArgMatches| {
            side.try_get_many(id).ok().flatten().into_iter().flatten().cloned().collect::<Vec<T>>()
        };
        match (typed(self.before, id), typed(self.after, id)) {
            (true, true) => values(self.before).into_iter().chain(values(self.after)).collect(),
            (true, false) => values(self.before),
            (false, _) => values(self.after),
        }
    }
}
