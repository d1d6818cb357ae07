//! `--trace FILE`: a run of the real program, told again to the deciding core.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use supervise::daemon::trace::{Beginning, Step};
use supervise::supervisor::Action;

use crate::harness::{Supervise, send};
use crate::verbs::says;

/// A value that must not be in any trace.
const SECRET: &str = "canary-4711";

/// Crashes, restarts, leftovers, passed signals, a port, and a drain in which one has to be killed.
fn recorded(trace: &str) -> Supervise {
    Supervise::with(
        "web: chaos on USR1 say usr1 pid up on TERM exit 0 sleep 1h\n\
         crash: chaos crash-until lives 3 7 say steady sleep 1h\n\
         tree: chaos fork setsid sleep 1h end gate gate crash-until trees 1 9 say regrown sleep 1h\n\
         once: true\n\
         deaf: chaos ignore TERM say deaf sleep 1h\n\
         gone: does-not-exist\n",
    )
    .file(".env", format!("FROM_FILE={SECRET}\n"))
    .spec(&format!(
        "defaults: {{ backoff: {{ first: 300ms }} }}\nformation:\n  gone: {{ essential: false }}\n  \
         web: {{ env: {{ FROM_SPEC: {SECRET} }} }}\n"
    ))
    .env("FROM_OUTSIDE", SECRET)
    .gate("gate")
    .args(["web=3", "-t", "500ms", "--trace", trace])
}

#[test]
fn a_recorded_run_replays_to_the_same_orders_and_states() {
    let project = recorded("trace");
    let path = project.directory().app("trace");
    let mut run = project.start();
    let up = run.pid_said("web.1", "up");
    run.line("crash.1", "steady");
    run.line("deaf.1", "deaf");
    run.directory().open_gate("gate");
    run.line("tree.1", "regrown");
    run.event("completed", "once.1");
    run.signal(libc::SIGUSR1);
    run.line("web.1", "usr1");
    send(up, libc::SIGKILL);
    run.nth_event(2, "started", "web.1");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(137);

    let text = fs::read_to_string(&path).expect("there is a trace");
    let replayed = replay(&text);
    // What the run said of each slot at its end is what the core thinks.
    for (slot, state) in &replayed.states {
        let last = match state.as_str() {
            "completed" => "completed",
            "failed" => "failed",
            "stopped" => "exited",
            other => panic!("{slot} ended as {other}"),
        };
        assert!(!seen.events(last, slot).is_empty(), "{slot} is {state}: {seen}");
    }
    let states = |state: &str| -> Vec<&str> {
        let of = replayed.states.iter().filter(|(_, its)| its == state);
        of.map(|(slot, _)| slot.as_str()).collect()
    };
    assert_eq!(states("stopped"), ["web.1", "web.2", "web.3", "crash.1", "tree.1", "deaf.1"]);
    assert_eq!((states("completed"), states("failed")), (vec!["once.1"], vec!["gone.1"]));
    assert_eq!(replayed.code, Some(137));
    assert_eq!(replayed.spawns, seen.events("started", "").len() + 1, "and one was not found: {seen}");

    let mode = fs::metadata(&path).expect("there is a trace").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!text.contains(SECRET), "a value of the environment is in the trace");
    // The check sees what it looks for: names are there.
    assert!(text.contains("crash") && !text.contains("FROM_FILE"));
}

#[test]
fn a_run_that_was_steered_replays_too() {
    let project = Supervise::with("web: chaos sleep 1h\nworker: chaos sleep 1h\nold: chaos sleep 1h\n")
        .file(".env", format!("FROM_FILE={SECRET}\n"))
        .args(["--trace", "trace"]);
    let path = project.directory().app("trace");
    let mut run = project.start();
    run.event("started", "old.1");
    says(&run, &["scale", "web=3", "worker=0", "--wait"]);
    says(&run, &["restart", "web", "--wait"]);
    says(&run, &["stop", "web.2", "--wait"]);
    says(&run, &["signal", "HUP", "web.1"]);
    let procfile = "new: chaos sleep 2h\nweb: chaos sleep 2h\nworker: chaos sleep 1h\n";
    fs::write(run.directory().app("Procfile"), procfile).expect("the directory is ours");
    says(&run, &["reload", "--wait"]);
    says(&run, &["shutdown"]);
    let seen = run.ends_with(0);

    let text = fs::read_to_string(&path).expect("there is a trace");
    let replayed = replay(&text);
    assert!(replayed.states.iter().all(|(_, state)| state == "stopped"), "{:?}\n{seen}", replayed.states);
    assert!(text.contains("\"Requested\"") && text.contains("\"Reply\"") && text.contains("\"Reread\""));
    assert!(!text.contains(SECRET), "a value of the environment is in the trace");
}

#[test]
fn a_replay_notices_a_core_that_orders_something_else() {
    let project = Supervise::with("web: chaos sleep 1h\n").args(["--trace", "trace"]);
    let path = project.directory().app("trace");
    let mut run = project.start();
    run.event("started", "web.1");
    run.is_stopped();
    let text = fs::read_to_string(&path).expect("there is a trace");
    replay(&text);
    // As if the type had had another stop signal than the one that was sent.
    let other = text.replacen("\"stop_signal\":\"SIGTERM\"", "\"stop_signal\":\"SIGINT\"", 1);
    assert_ne!(text, other);
    assert!(std::panic::catch_unwind(|| replay(&other)).is_err());
}

#[test]
fn a_trace_that_is_there_already_is_overwritten_and_hidden() {
    let project = Supervise::with("job: true\n").args(["--trace", "trace"]);
    let path = project.directory().app("trace");
    fs::write(&path, "old\n".repeat(10_000)).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    project.start().ends_with(0);
    replay(&fs::read_to_string(&path).expect("there is a trace"));
    let mode = fs::metadata(&path).expect("there is a trace").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_trace_that_cannot_be_written_is_said_before_anything_starts() {
    for path in ["no/such/directory/trace", ".", "/proc/trace"] {
        let mut run = Supervise::with("job: chaos touch started\n").args(["--trace", path]).start();
        let seen = run.ends_with(1);
        assert!(seen.out.is_empty(), "{seen}");
        let complaint = format!("error: `--trace {path}`: ");
        assert!(seen.err_text().starts_with(&complaint), "{seen}");
        assert_eq!(seen.err.len(), 1, "{seen}");
        assert!(!run.directory().app("started").exists());
    }
}

#[test]
fn a_trace_on_a_full_disk_ends_and_the_run_goes_on() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let mut run = Supervise::with("job: chaos say done\n").args(["--trace", "/dev/full"]).start();
    let seen = run.ends_with(0);
    assert_eq!(seen.said("job.1"), ["done"]);
    assert_eq!(seen.err_text().matches("the trace ends here").count(), 1, "{seen}");
}

/// What a replay came to.
struct Replayed {
    states: Vec<(String, String)>,
    spawns: usize,
    code: Option<u8>,
}

/// Tells a fresh core everything that was noted; it must order the same at every step.
fn replay(text: &str) -> Replayed {
    let mut lines = text.lines();
    let first = lines.next().expect("a beginning");
    let beginning: Beginning = serde_json::from_str(first).unwrap_or_else(|error| panic!("{error}: {first}"));
    let mut supervisor = beginning.supervisor();
    let (mut spawns, mut code) = (0, None);
    for (number, line) in lines.enumerate() {
        let step: Step = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(supervisor.handle(step.now, step.event), step.actions, "step {number}: {line}");
        for action in &step.actions {
            match action {
                Action::Spawn { .. } => spawns += 1,
                Action::Exit { code: its, .. } => code = Some(*its),
                _ => {}
            }
        }
    }
    let states = supervisor
        .slots()
        .map(|(key, slot)| (supervisor.name(key).to_string(), slot.phase().state().to_string()));
    Replayed { states: states.collect(), spawns, code }
}
