//! Parses the arguments, runs one command, chooses the exit code.

use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::process::ExitCode;

use supervise::app;
use supervise::cli::{Cli, Command, Leftovers, StartArgs};
use supervise::client::{self, Values};
use supervise::daemon::{self, Inherited, LeftoversOfEarlierRuns};
use supervise::supervisor::FailFast;

/// The system refused us something before anything was started.
const REFUSED: u8 = 1;
/// The arguments, the Procfile, an env file or the spec is wrong.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: a signal that comes now waits for the loop.
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => return complain(&error, REFUSED),
    };
    let cli = match Cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = match &cli.command {
        Command::Start(start) => return run_formation(&cli, start, inherited),
        Command::Check | Command::Run(_) | Command::Config(_) => {
            inherited.give_back().and_then(|()| ask(&cli))
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&error, BAD_INPUT),
    }
}

fn ask(cli: &Cli) -> io::Result<u8> {
    let inputs = cli.inputs(std::env::vars_os().collect());
    match &cli.command {
        Command::Start(_) => Ok(BAD_INPUT),
        Command::Check => client::check(&inputs, &mut stdout(), &mut stderr()),
        Command::Run(run) => client::run(&inputs, &run.command, &mut stderr()),
        Command::Config(config) => {
            let values = if config.show_values { Values::Shown } else { Values::Hidden };
            let process_type = config.process_type.as_deref();
            client::config(&inputs, process_type, values, &mut stdout(), &mut stderr())
        }
    }
}

fn run_formation(cli: &Cli, start: &StartArgs, inherited: Inherited) -> ExitCode {
    speak_up(start.verbose);
    let environment: Vec<_> = std::env::vars_os().collect();
    let stream = start.stream_settings(&environment, std::process::id() == 1);
    let release = match app::plan(&cli.inputs(environment)) {
        Ok(release) => release,
        Err(errors) => {
            // Where stderr is gone there is nobody to tell.
            let _ = write!(stderr(), "{errors}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let options = daemon::Options {
        fail_fast: if start.fail_fast { FailFast::Yes } else { FailFast::No },
        leftovers: match start.leftovers {
            Leftovers::Stop => LeftoversOfEarlierRuns::Stop,
            Leftovers::Ignore => LeftoversOfEarlierRuns::Ignore,
            Leftovers::Fail => LeftoversOfEarlierRuns::Fail,
        },
        stream,
        trace: start.trace.clone(),
    };
    match daemon::start(release, options, inherited) {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&error, REFUSED),
    }
}

/// Our own diagnostics go to stderr: warnings, or what `-v` or `SUPERVISE_LOG` ask for.
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
        .with_max_level(by_variable.unwrap_or(by_flag).max(by_flag))
        .init();
}

fn complain(error: &io::Error, code: u8) -> ExitCode {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(stderr(), "error: {error}");
    ExitCode::from(code)
}
