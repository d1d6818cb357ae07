//! Where the app is: flags of every command, before or after its name.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};

use crate::app::Ports;

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
    pub(super) fn merged(
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

    pub(super) fn ports(&self) -> Ports {
        if self.no_port {
            Ports::Off
        } else {
            Ports::On { base: self.port, step: self.port_step.unwrap_or(Ports::STEP) }
        }
    }
}
