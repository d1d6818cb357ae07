//! Commands that run once: here, in the place of `supervise run`, and under the supervisor, beside the formation.

use std::fs;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;

use serde_json::Value;

use super::App;
use crate::harness::{is_alive, open_terminal};
use crate::socket;

const APP: &str = "web: chaos sleep 1h\nworker: chaos env QUEUE env SUPERVISE_RELEASE_ID sleep 1h\n";

/// Says where it runs, for whom, and with what config.
const WHERE: &str = r#"pwd; printf '%s\n' "$SUPERVISE_RELEASE_ID" "$QUEUE""#;

/// One release whose `QUEUE` is `kept`; what is here says `here`.
fn app() -> App {
    let app = App::new("");
    app.writes(".env", "QUEUE=kept\n");
    app.release(APP);
    app.writes(".env", "QUEUE=here\n");
    app
}

fn build(app: &App, release: &str) -> String {
    let shown = app.says(&["release", "show", release, "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    shown["build"]["directory"].as_str().expect("a text").to_owned()
}

#[test]
fn a_command_runs_in_the_release_that_runs_and_without_one_in_what_is_here() {
    let app = app();
    let here = app.directory().app("").canonicalize().expect("it is there");
    let kept = format!("{}\n{}\nkept\n", build(&app, "v1"), app.id("v1"));
    let here = format!("{}\ndev\nhere\n", here.display());
    // Nobody runs.
    assert_eq!(app.says(&["run", "sh", "-c", WHERE]), here);
    assert_eq!(app.says(&["run", "--release", "v1", "sh", "-c", WHERE]), kept);
    // What is here runs.
    let mut run = app.project.start();
    run.event("started", "worker.1");
    assert_eq!(app.says(&["run", "sh", "-c", WHERE]), here);
    assert!(app.says(&["config", "worker", "--show-values"]).contains("here"));
    run.is_stopped();
    // A release runs; and not the one that was current.
    app.writes(".env", "QUEUE=newer\n");
    app.says(&["release", "create"]);
    app.writes(".env", "QUEUE=here\n");
    let mut run = app.runs("v2");
    assert!(app.says(&["run", "sh", "-c", WHERE]).ends_with("newer\n"));
    app.says(&["rollback", "--wait", "v1"]);
    assert_eq!(app.says(&["run", "sh", "-c", WHERE]), kept);
    assert_eq!(app.says(&["run", "--release", "v1", "sh", "-c", WHERE]), kept);
    // It has its config; what is here has to be asked for.
    let told = app.refuses(&["run", "-e", ".env", "sh", "-c", WHERE], 2);
    assert!(told.contains("`--env` has no part in the release `v3`, which runs"), "{told}");
    assert!(app.says(&["run", "--socket", "none", "-e", ".env", "sh", "-c", WHERE]).ends_with("dev\nhere\n"));
    // What would be the next one is shown as what it is: what is here.
    assert!(app.says(&["config", "worker", "--show-values"]).contains("here"));
    assert!(app.says(&["config", "worker", "--show-values", "--release", "current"]).contains("kept"));
    run.is_stopped();
}

#[test]
fn a_type_stands_for_its_command_in_the_release_that_runs() {
    let app = App::new("");
    app.writes(".env", "QUEUE=kept\n");
    app.release("web: chaos sleep 1h\nonce: chaos env QUEUE exit 5\n");
    app.writes("Procfile", "web: chaos sleep 1h\nonce: chaos exit 6\n");
    let mut run = app.project.clone().args(["--release", "v1", "web=1", "once=0"]).start();
    app.becomes_current("v1", &run);
    let answer = app.asks(&["run", "once"]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(5), "QUEUE=kept\n"), "{}", answer.err);
    run.is_stopped();
}

/// `supervise run` on a terminal of its own, which is the controlling one.
fn on_a_terminal(app: &App, words: &[&str]) -> (std::process::Child, File) {
    let (ours, theirs) = open_terminal().expect("there are terminals");
    let window = libc::winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
    let side = || Stdio::from(theirs.try_clone().expect("descriptors are left"));
    let mut command = app.verb(words);
    command.stdin(side()).stdout(side()).stderr(side());
    // SAFETY: between fork and exec only system calls are made, on memory that was prepared before.
    unsafe {
        command.pre_exec(move || {
            let made = libc::setsid() != -1
                && libc::ioctl(0, libc::TIOCSCTTY, 0) == 0
                && libc::ioctl(0, libc::TIOCSWINSZ, &raw const window) == 0;
            if made { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    (command.spawn().expect("the program was built"), ours)
}

/// Reads until that is there.
fn hears(terminal: &mut File, text: &str) {
    let mut heard = Vec::new();
    let mut some = [0; 256];
    while !String::from_utf8_lossy(&heard).contains(text) {
        match terminal.read(&mut some) {
            Ok(count) if count > 0 => heard.extend(&some[..count]),
            other => panic!("{other:?} before {text:?}: {}", String::from_utf8_lossy(&heard)),
        }
    }
}

#[test]
fn a_terminal_is_the_commands_own_with_its_size_and_its_keys() {
    let app = app();
    let mut run = app.runs("v1");
    let script = "test -t 0 && test -t 1 && stty size && read line && echo got $line";
    let (mut child, mut terminal) = on_a_terminal(&app, &["run", "sh", "-c", script]);
    hears(&mut terminal, "33 77\n");
    terminal.write_all(b"a word\n").expect("it takes keys");
    hears(&mut terminal, "got a word\n");
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));

    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let (mut child, mut terminal) = on_a_terminal(&app, &["run", "sh", "-c", script]);
    hears(&mut terminal, "ready\n");
    terminal.write_all(b"\x03").expect("it takes keys");
    hears(&mut terminal, "caught\n");
    assert_eq!(child.wait().expect("it is ours").code(), Some(9));

    let (mut child, mut terminal) = on_a_terminal(&app, &["run", "chaos", "say", "ready", "sleep", "1h"]);
    hears(&mut terminal, "ready\n");
    terminal.write_all(b"\x03").expect("it takes keys");
    assert_eq!(child.wait().expect("it is ours").signal(), Some(libc::SIGINT));
    run.is_stopped();
}

#[test]
fn under_the_supervisor_commands_are_tagged_shown_followed_and_stopped_as_anybody() {
    let app = app();
    let mut run = app.runs("v1");
    assert_eq!(app.says(&["run", "--detach", "chaos", "pid", "once", "sleep", "1h"]), "run.1 will start\n");
    assert_eq!(app.says(&["run", "--detach", "worker"]), "run.2 will start\n");
    let first = run.pid_said("run.1", "once");
    assert_eq!(run.rest("run.2", "QUEUE="), "kept");
    assert_eq!(run.rest("run.2", "SUPERVISE_RELEASE_ID="), app.id("v1"));
    let cwd = fs::read_link(format!("/proc/{first}/cwd")).expect("it lives");
    assert_eq!(cwd.display().to_string(), build(&app, "v1"));
    let all = [("web.1", "v1"), ("worker.1", "v1"), ("run.1", "v1"), ("run.2", "v1")];
    app.comes_to(&all, &run);
    // The formation is what it was.
    assert_eq!(app.says(&["scale"]), "web=1 worker=1\n");
    let table = app.says(&["ps"]);
    assert!(table.contains("\nrun.1 ") && table.contains("\nrun.2 "), "{table}");
    let logs = app.says(&["logs", "run.1"]);
    assert!(logs.contains(&format!("once {first}")) && !logs.contains("QUEUE"), "{logs}");

    app.says(&["stop", "--wait", "run.1"]);
    assert!(!is_alive(first), "{}", run.so_far());
    app.comes_to(&[("web.1", "v1"), ("worker.1", "v1"), ("run.2", "v1")], &run);
    // Its number is free again.
    assert_eq!(app.says(&["run", "--detach", "chaos", "exit", "7"]), "run.1 will start\n");
    let ended = run.nth_event(2, "exited", "run.1");
    assert_eq!(ended.json["code"], 7, "{}", run.so_far());
    app.comes_to(&[("web.1", "v1"), ("worker.1", "v1"), ("run.2", "v1")], &run);
    assert_eq!(run.so_far().events("started", "run.1").len(), 2, "it is never started again");
    // It failed, and run.2 is drained like the others: that counts for nothing.
    let seen = run.is_stopped();
    assert_eq!(seen.events("exited", "run.2").len(), 1, "{seen}");
}

#[test]
fn what_the_supervisor_is_given_to_run_is_drained_and_killed_as_anybody() {
    let app = app();
    let mut run = app.runs("v1");
    app.says(&[
        "run",
        "--detach",
        "chaos",
        "on",
        "TERM",
        "sleep-then-say",
        "100ms",
        "bye",
        "say",
        "up",
        "sleep",
        "1h",
    ]);
    app.says(&["run", "--detach", "chaos", "ignore", "TERM", "say", "deaf", "sleep", "1h"]);
    run.line("run.1", "up");
    run.line("run.2", "deaf");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(137);
    assert_eq!(seen.said("run.1").last().map(String::as_str), Some("bye"), "{seen}");
}

#[test]
fn what_cannot_be_run_is_refused_with_its_reason() {
    let app = app();
    let told = app.refuses(&["run", "--detach", "true"], 1);
    assert!(told.contains("no supervisor"), "{told}");
    let mut run = app.runs("v1");
    // What it would be given is that of the supervisor.
    for words in [
        &["run", "-e", ".env", "--detach", "true"][..],
        &["run", "--detach", "--release", "v1", "true"],
        &["run", "--detach", "--env-expand", "true"],
        &["run", "--detach", "-p", "3000", "true"],
    ] {
        let told = app.refuses(words, 2);
        assert!(told.starts_with("error: ") && told.contains("--detach"), "{words:?}: {told}");
    }
    let socket = socket::socket_of(&run);
    for (body, said) in [
        (r#"{"type":"nosuch"}"#, "nosuch"),
        (r#"{"command":[]}"#, "command"),
        ("{}", "command"),
        (r#"{"type":"web","command":["true"]}"#, "command"),
        (r#"{"command":["a\u0000b"]}"#, "NUL"),
    ] {
        let reply = socket::ask(&socket, "POST", "/v1/run", body);
        let told = String::from_utf8_lossy(&reply.body).into_owned();
        assert!((400..500).contains(&reply.status) && told.contains(said), "{body}: {} {told}", reply.status);
    }
    app.says(&["run", "--detach", "nosuch-program"]);
    let failed = run.event("not_started", "run.1");
    assert!(failed.message().contains("not found"), "{}", failed.message());
    app.comes_to(&[("web.1", "v1"), ("worker.1", "v1")], &run);
    run.is_stopped();
}

#[test]
fn the_words_of_a_command_are_in_no_trace_no_event_and_no_error() {
    const SECRET: &str = "zq-hunter2";
    let app = app();
    let trace = app.directory().top().join("trace");
    let words = ["--release", "v1", "--trace", trace.to_str().expect("it is UTF-8"), "-vv"];
    let mut run = app.project.clone().args(words).start();
    app.becomes_current("v1", &run);
    app.says(&["run", "--detach", "chaos", "exit", "0", SECRET]);
    run.event("exited", "run.1");
    app.says(&["run", "--detach", "/nosuch/program", SECRET]);
    run.event("not_started", "run.1");
    let events = app.says(&["events", "-n", "1000"]) + &app.says(&["ps", "--json"]);
    let socket = socket::socket_of(&run);
    for body in [
        format!(r#"{{"command":["a\u0000{SECRET}"]}}"#),
        format!(r#"{{"command":["true","{SECRET}"],"type":"web"}}"#),
        format!(r#"{{"command":"{SECRET}"}}"#),
        format!(r#"{{"command":[["{SECRET}"]]}}"#),
    ] {
        let reply = socket::ask(&socket, "POST", "/v1/run", &body);
        let told = String::from_utf8_lossy(&reply.body).into_owned();
        assert!((400..500).contains(&reply.status) && !told.contains(SECRET), "{body}: {told}");
    }
    let seen = run.is_stopped();
    let trace = fs::read_to_string(trace).expect("it was asked for");
    assert!(trace.contains("Stage"), "it tells of it: {trace}");
    for (what, text) in [("trace", trace), ("events", events), ("stream", seen.to_string())] {
        assert!(!text.contains(SECRET), "{what}: {text}");
    }
}
