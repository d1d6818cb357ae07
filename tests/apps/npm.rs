//! `npm start`: npm, perhaps a shell, node; none of them sure to pass a signal on.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Project, Run, free_base, http, installed, on_the_path};

/// Starts the app, and waits until it answers with the pid of node.
fn npm_start(base: u16, start: &str) -> (Run, i32) {
    on_the_path("npm");
    let port = base.to_string();
    let run = Project::new()
        .with("Procfile", &format!("web: {start}\n"))
        .with_copy("package.json", "tests/apps/node/package.json")
        .with_copy("server.js", "tests/apps/node/server.js")
        .with_link("node_modules", &installed("node/node_modules"))
        .with_variable("NPM_CONFIG_UPDATE_NOTIFIER", "false")
        .supervise(&["start", "-p", &port]);
    let node = answering_pid(&run, base, 0);
    (run, node)
}

/// The pid that answers, once it is another than `old`.
fn answering_pid(run: &Run, port: u16, old: i32) -> i32 {
    run.until("an answer of node", || {
        let (_, text) = http("GET", port, "/", "")?;
        let pid = text.rsplit(' ').next().and_then(|pid| pid.parse().ok()).ok_or_else(|| text.clone())?;
        if pid == old { Err(format!("still {old}")) } else { Ok(pid) }
    })
}

#[test]
fn nothing_of_npm_start_survives_term() {
    let (mut run, node) = npm_start(free_base(), "npm start");
    assert!(run.processes().iter().any(|process| process.pid == node), "node {node} is ours");
    run.grows_to(2);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn nothing_of_npm_start_below_a_shell_survives_ctrl_c() {
    let (mut run, node) = npm_start(free_base(), "npm start; echo over");
    assert!(run.processes().iter().any(|process| process.pid == node), "node {node} is ours");
    run.grows_to(3);
    run.signal(Signal::SIGINT);
    run.ends_with(130);
}

#[test]
fn when_npm_is_killed_its_node_is_stopped_before_another_takes_the_port() {
    let base = free_base();
    let (mut run, node) = npm_start(base, "npm start");
    kill(Pid::from_raw(run.leader("web.1", 1)), Signal::SIGKILL).expect("npm runs");
    run.says("web.1 was killed by SIGKILL");
    let next = answering_pid(&run, base, node);
    assert!(kill(Pid::from_raw(node), None).is_err(), "node {node} still runs beside {next}");
    assert!(run.said("EADDRINUSE").is_empty(), "{}", run.transcript());
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
