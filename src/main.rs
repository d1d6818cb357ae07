//! Parses the arguments, runs one command, chooses the exit code.
#![cfg_attr(all(target_env = "gnu", not(test)), no_main)]

#[cfg(all(target_env = "gnu", not(test)))]
mod beginning;

use std::ffi::OsString;
use std::io::{self, Write, stderr, stdout};
use std::path::Path;
use std::time::Duration;

use supervise::api::Manner;
use supervise::app::{self, Inputs};
use supervise::cli::{
    self, Cli, Command, Control, ReleaseVerb, RestartArgs, RunArgs, SignalArgs, StartArgs, WhichArgs,
    color_by,
};
use supervise::client::{self, Chosen, Look, Report, Shape, Values, Whereabouts};
use supervise::daemon::{self, Detach, Inherited, Socket, Superior};
use supervise::stream::Diagnostics;
use supervise::supervisor::FailFast;

/// The exit code where the system refused us something before anything was started.
const REFUSED: u8 = 1;

/// The exit code for what cannot be meant.
const BAD_INPUT: u8 = 2;

/// How long our own last diagnostics may take where their reader is slow.
const LAST_DIAGNOSTICS: Duration = Duration::from_millis(500);

#[cfg(not(all(target_env = "gnu", not(test))))]
fn main() -> std::process::ExitCode {
    program().into()
}

/// All of it; the answer is the exit code.
fn program() -> u8 {
    // Before anything else: a signal that comes now waits for the loop.
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => return complain(&error),
    };
    let asked = std::env::var_os(client::COMPLETE);
    if let Some(answered) = client::complete(asked.as_deref(), cli::definition) {
        return answered.map_or_else(|error| error.exit(), |_| 0);
    }
    let cli = match Cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let environment: Vec<_> = std::env::vars_os().collect();
    let inputs = cli.inputs(environment.clone());
    let result = match &cli.command {
        Command::Start(start) => {
            run_formation(start, cli.app.socket.as_deref(), inputs, &environment, inherited)
        }
        Command::Check => {
            inherited.give_back().and_then(|()| client::check(&inputs, &mut stdout(), &mut stderr()))
        }
        Command::Run(run) => {
            let whereabouts = cli.whereabouts(environment);
            inherited.give_back().and_then(|()| run_once(run, inputs, &whereabouts))
        }
        Command::Config(config) => inherited.give_back().and_then(|()| {
            let process_type = config.process_type.as_deref();
            of_release(&config.which, inputs, |inputs| {
                client::config(&inputs, process_type, shown(config.show_values), &mut stdout(), &mut stderr())
            })
        }),
        Command::Release(release) => inherited.give_back().and_then(|()| releases(&release.verb, inputs)),
        Command::Releases(releases) => inherited.give_back().and_then(|()| {
            let state = releases.place.state.as_deref();
            client::releases(&inputs, state, report(releases.json), &mut stdout(), &mut stderr())
        }),
        Command::Control(verb) => {
            let whereabouts = cli.whereabouts(environment);
            inherited.give_back().map(|()| control(verb, &whereabouts))
        }
        Command::Completions(completions) => {
            inherited.give_back().and_then(|()| client::completions(completions.shell, &mut stdout()))
        }
        Command::Man(man) => inherited
            .give_back()
            .and_then(|()| client::man(cli::definition(), man.verb.as_deref(), &mut stdout())),
    };
    match result {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn shown(values: bool) -> Values {
    if values { Values::Shown } else { Values::Hidden }
}

fn report(json: bool) -> Report {
    if json { Report::Json } else { Report::Lines }
}

/// Makes and shows releases; the answer is the exit code.
fn releases(verb: &ReleaseVerb, inputs: Inputs) -> io::Result<u8> {
    let (out, err) = (&mut stdout(), &mut stderr());
    match verb {
        ReleaseVerb::Create(create) => {
            client::create(&create.draft(inputs), create.place.state.as_deref(), out, err)
        }
        ReleaseVerb::Show(show) => {
            let how = (report(show.json), shown(show.show_values));
            client::show(&inputs, show.place.state.as_deref(), show.release.as_deref(), how, out, err)
        }
        ReleaseVerb::Diff(diff) => {
            let (state, between) = (diff.place.state.as_deref(), (diff.before.as_str(), diff.after.as_str()));
            client::diff(&inputs, state, between, shown(diff.show_values), out, err)
        }
        ReleaseVerb::Prune(prune) => {
            let keep = usize::try_from(prune.keep).unwrap_or(usize::MAX);
            client::prune(&inputs, prune.place.state.as_deref(), keep, out, err)
        }
    }
}

/// Does something with what is here, or with the release that is named; the answer is the exit code.
fn of_release(
    which: &WhichArgs,
    inputs: Inputs,
    then: impl FnOnce(Inputs) -> io::Result<u8>,
) -> io::Result<u8> {
    let Some(release) = &which.release else { return then(inputs) };
    match client::choose(release, which.place.state.as_deref(), inputs, &mut stderr()) {
        // It is held until that is done.
        Ok(Chosen { inputs, running: _running }) => then(inputs),
        Err(trouble) => Ok(client::tell(&trouble, &mut stderr())),
    }
}

/// Runs a command once: in our place, or under the supervisor.
fn run_once(run: &RunArgs, inputs: Inputs, whereabouts: &Whereabouts) -> io::Result<u8> {
    if run.detach {
        return Ok(client::run_detached(whereabouts, &run.command, &mut stdout(), &mut stderr()));
    }
    let mut which = run.which.clone();
    if which.release.is_none() {
        which.release = client::release_that_runs(whereabouts);
        if let (Some(release), Some(flag)) = (&which.release, &run.changes_config) {
            // Where stderr is gone there is nobody to tell, and it is wrong all the same.
            let _ = writeln!(
                stderr(),
                "error: `{flag}` has no part in the release `{release}`, which runs and has a config and a spec of its own\n  \
                 help: `--socket none` runs the command in what is here"
            );
            return Ok(BAD_INPUT);
        }
    }
    of_release(&which, inputs, |inputs| client::run(&inputs, &run.command, &mut stderr()))
}

/// Asks a supervisor that runs; the answer is the exit code.
fn control(verb: &Control, whereabouts: &Whereabouts) -> u8 {
    let (out, err) = (&mut stdout(), &mut stderr());
    let color = |choice| color_by(choice, &whereabouts.inputs.environment);
    match verb {
        Control::Ps(ps) => {
            let shape = if ps.json { Shape::Json } else { Shape::Table(color(ps.color.color)) };
            client::ps(whereabouts, shape, out, err)
        }
        Control::Services(services) => {
            let shape = if services.json { Shape::Json } else { Shape::Table(color(services.color.color)) };
            client::services(whereabouts, shape, out, err)
        }
        Control::Scale(scale) => client::scale(whereabouts, &scale.changes, scale.wait.when(), out, err),
        Control::Restart(RestartArgs { rolling, whom }) => {
            let manner = if *rolling { Manner::Rolling } else { Manner::AtOnce };
            client::restart(whereabouts, &whom.targets, manner, whom.wait.when(), out, err)
        }
        Control::Stop(whom) => client::stop(whereabouts, &whom.targets, whom.wait.when(), out, err),
        Control::Signal(SignalArgs { signal, whom }) => {
            client::signal(whereabouts, *signal, &whom.targets, whom.wait.when(), out, err)
        }
        Control::Logs(logs) => {
            let text = Look::Text { color: color(logs.color.color), timestamps: logs.timestamps };
            let look = if logs.json { Look::Json } else { text };
            client::logs(whereabouts, logs.extent.extent(), &logs.targets, look, out, err)
        }
        Control::Events(events) => client::events(whereabouts, events.extent.extent(), out, err),
        Control::Health(health) => {
            client::health(whereabouts, health.question(), report(health.json), out, err)
        }
        Control::Reload(reload) => client::reload(whereabouts, reload.wait.when(), out, err),
        Control::Deploy(deploy) => {
            let state = deploy.place.state.as_deref();
            client::deploy(whereabouts, state, deploy.release, deploy.wait.when(), out, err)
        }
        Control::Rollback(rollback) => {
            let state = rollback.place.state.as_deref();
            client::rollback(whereabouts, state, rollback.release, rollback.wait.when(), out, err)
        }
        Control::Shutdown(shutdown) => client::shutdown(whereabouts, shutdown.drain, out, err),
    }
}

fn run_formation(
    start: &StartArgs,
    socket: Option<&Path>,
    inputs: Inputs,
    environment: &[(OsString, OsString)],
    inherited: Inherited,
) -> io::Result<u8> {
    speak_up(start.verbose);
    let (inputs, running) = match &start.which.release {
        None => (inputs, None),
        Some(name) => match client::choose(name, start.which.place.state.as_deref(), inputs, &mut stderr()) {
            Ok(Chosen { inputs, running }) => (inputs, Some(running)),
            Err(trouble) => return Ok(client::tell(&trouble, &mut stderr())),
        },
    };
    let release = match app::plan(&inputs) {
        Ok(release) => release,
        Err(errors) => return Ok(client::refuse(&errors, &mut stderr())),
    };
    if start.detach && std::process::id() == 1 {
        // Where stderr is gone there is nobody to tell, and it is wrong all the same.
        let _ = writeln!(
            stderr(),
            "error: PID 1 has no background: the container would end with it; leave `--detach` out"
        );
        return Ok(BAD_INPUT);
    }
    let superior = Superior::of(environment, std::process::id());
    if start.detach && superior.is_some() {
        // As above.
        let _ = writeln!(
            stderr(),
            "error: with `--detach` the process that systemd watches would end; leave it out, or unset NOTIFY_SOCKET"
        );
        return Ok(BAD_INPUT);
    }
    let http = match start.http() {
        Ok(http) => http,
        Err(error) => {
            // As above.
            let _ = writeln!(stderr(), "error: {error}");
            return Ok(BAD_INPUT);
        }
    };
    let options = daemon::Options {
        fail_fast: if start.fail_fast { FailFast::Yes } else { FailFast::No },
        leftovers: start.leftovers,
        stream: start.stream_settings(environment, std::process::id() == 1),
        detach: if start.detach { Detach::Yes } else { Detach::No },
        log_buffer: start.log_buffer,
        trace: start.trace.clone(),
        socket: match socket {
            None => Socket::Usual,
            Some(path) if path == Path::new("none") => Socket::None,
            Some(path) => Socket::At(path.to_owned()),
        },
        http,
        superior,
        inputs: inputs.to_be_read_again()?,
        release: running,
        state: start.which.place.state.clone(),
    };
    let code = daemon::start(release, options, inherited);
    Diagnostics.finish(LAST_DIAGNOSTICS);
    code
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
    Diagnostics.open();
    tracing_subscriber::fmt()
        .with_writer(|| Diagnostics)
        .with_ansi(false)
        .with_max_level(by_variable.unwrap_or(by_flag))
        // It would say on stderr that stderr cannot be written, and panic when that fails too.
        .log_internal_errors(false)
        .init();
}

/// The system refused us something; where it is our output, nobody may be there to be told.
fn complain(error: &io::Error) -> u8 {
    let _ = writeln!(stderr(), "error: {error}");
    REFUSED
}
