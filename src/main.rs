//! Parses the arguments, runs one command, chooses the exit code.

use std::io::{self, ErrorKind, stderr, stdout};
use std::process::ExitCode;

use supervise::cli::{Cli, Command};
use supervise::client::{self, Values};

fn main() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let inputs = cli.inputs(std::env::vars_os().collect());
    let code = match &cli.command {
        Command::Start(_) => Err(io::Error::other("`start` is not wired yet")),
        Command::Check => client::check(&inputs, &mut stdout(), &mut stderr()),
        Command::Run(run) => client::run(&inputs, &run.command, &mut stderr()),
        Command::Config(config) => {
            let values = if config.show_values { Values::Shown } else { Values::Hidden };
            let process_type = config.process_type.as_deref();
            client::config(&inputs, process_type, values, &mut stdout(), &mut stderr())
        }
    };
    match code {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
