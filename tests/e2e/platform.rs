//! What platforms expect of an image: it is configured by its environment, and says by an exit code how it is.

use std::process::{Command, Output};

use crate::harness::{Run, Supervise, eventually};

const PROCFILE: &str =
    "worker: chaos say up sleep 1h\nweb: chaos env PORT env SUPERVISE_FORMATION say up sleep 1h\n";

#[test]
fn an_image_needs_no_command_line() {
    let mut run = Supervise::with(PROCFILE)
        .without_port_argument()
        .env("PORT", "18080")
        .env("SUPERVISE_FORMATION", "web=2 worker=1")
        .env("SUPERVISE_DRAIN", "25s")
        .env("SUPERVISE_RESTART", "never")
        .start();
    for slot in ["web.1", "web.2", "worker.1"] {
        run.line(slot, "up");
    }
    assert_eq!(run.rest("web.1", "PORT="), "18080");
    assert_eq!(run.rest("web.2", "PORT="), "18081");
    run.line("web.1", "SUPERVISE_FORMATION is not set");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    assert!(seen.events("draining", "")[0].message().contains("at most 25s"), "{seen}");
}

#[test]
fn one_type_per_container_is_a_variable_too() {
    let supervise =
        Supervise::with(PROCFILE).env("SUPERVISE_ONLY", "true").env("SUPERVISE_FORMATION", "web=2");
    let mut run = supervise.start();
    run.line("web.2", "up");
    let seen = run.is_stopped();
    assert!(seen.events("started", "worker.1").is_empty(), "{seen}");
    // What is said in the command is said.
    let mut run = supervise.args(["worker=1"]).start();
    run.line("worker.1", "up");
    let seen = run.is_stopped();
    assert!(seen.events("started", "web.1").is_empty(), "{seen}");
}

#[test]
fn what_the_variable_says_wrongly_is_an_error_and_nothing_is_started() {
    let mut run = Supervise::with(PROCFILE).env("SUPERVISE_FORMATION", "web=2 wroker=1").start();
    let seen = run.ends_with(2);
    assert!(seen.err_text().contains("did you mean `worker`?"), "{seen}");
}

#[test]
fn a_drain_of_which_nothing_is_said_is_over_before_docker_stop_kills() {
    let mut run = Supervise::with("web: chaos say up sleep 1h\n").start();
    run.line("web.1", "up");
    let seen = run.is_stopped();
    assert!(seen.events("draining", "")[0].message().contains("at most 8s"), "{seen}");
}

/// `supervise health` as an image's HEALTHCHECK or an exec probe asks it: no shell, nothing in the environment but the place of
/// sockets, the root as working directory.
fn health(run: &Run) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    command.arg("health").current_dir("/").env_clear();
    command.env("XDG_RUNTIME_DIR", run.directory().top().join("runtime"));
    // Of all that run on this machine this one is meant.
    let socket = || {
        let entries = std::fs::read_dir(run.directory().top().join("runtime/supervise")).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|it| it == "sock"))
    };
    let socket = eventually("a socket", socket, || run.so_far().to_string());
    command.arg("--socket").arg(socket).output().expect("it can be run")
}

#[test]
fn a_probe_from_outside_fails_with_a_reason_until_everything_is_ready() {
    let mut run = Supervise::with("web: chaos say up sleep 1h\n")
        .spec("formation:\n  web:\n    health: { readiness: { exec: test -e ready, period: 1s } }\n")
        .start();
    run.line("web.1", "up");
    let output = health(&run);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("web         not ok  0 of 1 ready"), "{text}");
    std::fs::write(run.directory().app("ready"), "").expect("the directory is ours");
    let well = || (health(&run).status.code() == Some(0)).then_some(());
    eventually("health", well, || run.so_far().to_string());
    run.is_stopped();
}
