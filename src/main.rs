//! Parses the arguments, runs one command, chooses the exit code.

use std::ffi::OsString;
use std::io::{self, Write, stderr, stdout};
use std::process::ExitCode;

use supervise::app::{self, Inputs};
use supervise::cli::{Cli, Command, StartArgs};
use supervise::client::{self, Values};
use supervise::daemon::{self, Inherited};
use supervise::supervisor::FailFast;

/// The exit code where the system refused us something before anything was started.
const REFUSED: u8 = 1;

/// Bytes of each slot that are kept for `logs`: some hundred lines.
const LOG_BUFFER: usize = 32 * 1024;

fn main() -> ExitCode {
    // Before anything else: a signal that comes now waits for the loop.
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => return complain(&error),
    };
    let cli = match Cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let environment: Vec<_> = std::env::vars_os().collect();
    let inputs = cli.inputs(environment.clone());
    let result = match &cli.command {
        Command::Start(start) => run_formation(start, &inputs, &environment, inherited),
        Command::Check => {
            inherited.give_back().and_then(|()| client::check(&inputs, &mut stdout(), &mut stderr()))
        }
        Command::Run(run) => {
            inherited.give_back().and_then(|()| client::run(&inputs, &run.command, &mut stderr()))
        }
        Command::Config(config) => {
            let values = if config.show_values { Values::Shown } else { Values::Hidden };
            let process_type = config.process_type.as_deref();
            inherited
                .give_back()
                .and_then(|()| client::config(&inputs, process_type, values, &mut stdout(), &mut stderr()))
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&error),
    }
}

fn run_formation(
    start: &StartArgs,
    inputs: &Inputs,
    environment: &[(OsString, OsString)],
    inherited: Inherited,
) -> io::Result<u8> {
    speak_up(start.verbose);
    let release = match app::plan(inputs) {
        Ok(release) => release,
        Err(errors) => return Ok(client::refuse(&errors, &mut stderr())),
    };
    let options = daemon::Options {
        fail_fast: if start.fail_fast { FailFast::Yes } else { FailFast::No },
        leftovers: start.leftovers,
        stream: start.stream_settings(environment, std::process::id() == 1),
        log_buffer: LOG_BUFFER,
        trace: start.trace.clone(),
        inputs: inputs.clone(),
    };
    daemon::start(release, options, inherited)
}

/// Our own diagnostics go to stderr: warnings, or what `-v` asks for, or `SUPERVISE_LOG`, a level from `off` to `trace`.
fn speak_up(verbose: u8) {
    use tracing_subscriber::filter::LevelFilter;
    let by_flag = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let by_variable = std::env::var("SUPERVISE_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_ansi(false)
        .with_max_level(by_variable.unwrap_or(by_flag))
        .init();
}

/// The system refused us something; where it is our output, nobody may be there to be told.
fn complain(error: &io::Error) -> ExitCode {
    let _ = writeln!(stderr(), "error: {error}");
    ExitCode::from(REFUSED)
}
