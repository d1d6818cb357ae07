//! The verbs, by the real program, of a formation that runs.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Run, Supervise, eventually, is_alive};

/// What a verb answered.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A verb, where the formation was started.
fn verb(run: &Run, words: &[&str]) -> Command {
    let directory = run.directory();
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
    command
        .args(words)
        .current_dir(directory.app(""))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", directory.top().join("runtime"));
    command
}

fn answer(output: &Output) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Its answer; stderr is part of what is expected.
pub(crate) fn ask(run: &Run, words: &[&str]) -> Answer {
    answer(&verb(run, words).output().expect("the program was built"))
}

/// What it says where all is well.
#[track_caller]
pub(crate) fn says(run: &Run, words: &[&str]) -> String {
    let Answer { code, out, err } = ask(run, words);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}\n{out}\n{}", run.so_far());
    out
}

/// How a process is, by `ps`.
#[derive(Debug, PartialEq)]
struct Seen {
    state: String,
    pid: Option<i64>,
    port: Option<u64>,
}

fn ps(run: &Run) -> BTreeMap<String, Seen> {
    let status: Value = serde_json::from_str(&says(run, &["ps", "--json"])).expect("it is JSON");
    let processes = status["processes"].as_array().expect("a list");
    let seen = processes.iter().map(|process| {
        let text = |key: &str| process[key].as_str().expect("a text").to_owned();
        let (pid, port) = (process["pid"].as_i64(), process["port"].as_u64());
        (text("name"), Seen { state: text("state"), pid, port })
    });
    seen.collect()
}

fn names(run: &Run) -> Vec<String> {
    ps(run).into_keys().collect()
}

/// Waits until `ps` shows a state.
fn until(run: &Run, name: &str, state: &str) {
    let look = || ps(run).get(name).is_some_and(|seen| seen.state == state).then_some(());
    eventually(&format!("{name} {state}"), look, || format!("{:?}\n{}", ps(run), run.so_far()));
}

const SLEEPERS: &str = "web: chaos sleep 1h\nworker: chaos sleep 1h\n";

#[test]
fn a_formation_of_nothing_answers_and_can_be_scaled() {
    let mut run = Supervise::with("web: chaos say up sleep 1h\n").args(["web=0"]).start();
    run.event("formation", "");
    let answers = || (ask(&run, &["scale"]).out == "web=0\n").then_some(());
    eventually("an answer", answers, || run.so_far().to_string());
    says(&run, &["scale", "web=1", "--wait"]);
    run.line("web.1", "up");
    says(&run, &["shutdown"]);
    run.ends_with(0);
}

#[test]
fn t73_survivors_of_every_scale_keep_their_pid_and_port() {
    let mut run = Supervise::with(SLEEPERS).start();
    run.event("started", "worker.1");
    assert_eq!(says(&run, &["scale"]), "web=1 worker=1\n");
    // As many as there are: returns when they are ready.
    says(&run, &["scale", "--wait", "web=1", "worker=1"]);
    let first = ps(&run);
    let said = says(&run, &["scale", "--wait", "web=4"]);
    assert_eq!(said, "web: 1 -> 4\nweb.2 to web.4 started, now running\n");
    let four = ps(&run);
    assert_eq!(four["web.1"], first["web.1"]);
    let base = first["web.1"].port.expect("it has one");
    assert_eq!(["web.2", "web.3", "web.4"].map(|name| four[name].port), [1, 2, 3].map(|n| Some(base + n)));
    let said = says(&run, &["scale", "--wait", "web-2"]);
    assert_eq!(said, "web: 4 -> 2\nweb.3, web.4 stopped\n");
    let two = ps(&run);
    assert_eq!((&two["web.1"], &two["web.2"]), (&first["web.1"], &four["web.2"]));
    assert_eq!(names(&run), ["web.1", "web.2", "worker.1"]);
    says(&run, &["scale", "--wait", "web=0", "worker+1"]);
    assert_eq!(names(&run), ["worker.1", "worker.2"]);
    says(&run, &["scale", "--wait", "web=1"]);
    let last = ps(&run);
    assert_eq!(last["web.1"].port, Some(base));
    assert_ne!(last["web.1"].pid, first["web.1"].pid);
    assert_eq!(last["worker.1"], first["worker.1"]);
    run.is_stopped();
}

#[test]
fn t74_and_t80_what_cannot_be_meant_changes_nothing() {
    let mut run = Supervise::with(SLEEPERS).start();
    run.event("started", "worker.1");
    let before = ps(&run);
    for (words, code, says) in [
        (&["scale", "web=-1"][..], 2, "`-1` is negative"),
        (&["scale", "web=x"], 2, "`x` is no number"),
        (&["scale", "web"], 2, "a count is missing"),
        (&["scale", "nosuch=1"], 1, "there is no process type `nosuch`; there is `web`, `worker`"),
        (&["scale", "web-5"], 1, "less than none"),
        (&["scale", "web=2", "worker=900000"], 1, "max"),
        (&["restart", "nosuch"], 1, "`web`, `worker`"),
        (&["stop", "web.9"], 1, "`web`, `worker`"),
        (&["signal", "HUP", "web", "nosuch"], 1, "`nosuch`"),
        (&["logs", "nosuch"], 1, "`nosuch`"),
        (&["restrat"], 2, "did you mean `restart`?"),
    ] {
        let answer = ask(&run, words);
        assert_eq!((answer.code, answer.out.as_str()), (Some(code), ""), "{words:?}: {}", answer.err);
        assert!(answer.err.starts_with("error: ") && answer.err.contains(says), "{words:?}: {}", answer.err);
    }
    assert_eq!(ps(&run), before);
    run.is_stopped();
}

#[test]
fn t54_and_t71_who_is_stopped_stays_so_until_it_is_restarted_and_the_others_never_notice() {
    let mut run =
        Supervise::with("web: chaos sleep 1h\nbad: chaos exit 3\n").args(["web=3", "bad=1"]).start();
    run.event("started", "web.3");
    let before = ps(&run);
    assert_eq!(says(&run, &["stop", "--wait", "web.2"]), "web.2 stopped\n");
    until(&run, "bad.1", "backoff");
    says(&run, &["stop", "bad"]);
    until(&run, "bad.1", "stopped");
    let after = ps(&run);
    assert_eq!(after["web.2"].state, "stopped");
    assert_eq!((&after["web.1"], &after["web.3"]), (&before["web.1"], &before["web.3"]));
    assert_eq!(says(&run, &["stop", "--wait", "web.2"]), "nothing to do\n");
    assert_eq!(says(&run, &["restart", "--wait", "web.2"]), "web.2 started, now running\n");
    let failing = ask(&run, &["restart", "--wait", "bad"]);
    assert_eq!((failing.code, failing.err.as_str()), (Some(1), ""), "{}", failing.out);
    assert!(failing.out.contains("bad.1") && failing.out.contains("backoff"), "{}", failing.out);
    run.is_stopped();
}

#[test]
fn t55_everything_is_restarted_and_the_supervisor_is_not() {
    let mut run = Supervise::with(SLEEPERS).args(["web=2", "worker=1"]).start();
    run.event("started", "worker.1");
    let before = ps(&run);
    let said = says(&run, &["restart", "--wait"]);
    assert_eq!(said, "web.1, web.2 restarted, now running\nworker.1 restarted, now running\n");
    let after = ps(&run);
    for (name, seen) in &after {
        assert_ne!(seen.pid, before[name].pid, "{name}");
        assert_eq!(seen.port, before[name].port, "{name}");
    }
    assert_eq!(says(&run, &["restart", "--wait", "w*r"]), "worker.1 restarted, now running\n");
    run.is_stopped();
}

#[test]
fn a_signal_reaches_the_leaders_that_are_meant() {
    let procfile =
        "web: trap 'echo hung up' HUP; echo ready; while :; do sleep 0.05; done\nother: chaos sleep 1h\n";
    let mut run = Supervise::with(procfile).args(["web=2", "other=1"]).start();
    run.line("web.1", "ready");
    run.line("web.2", "ready");
    assert_eq!(says(&run, &["signal", "hup", "web.2"]), "web.2 will get SIGHUP\n");
    run.line("web.2", "hung up");
    says(&run, &["signal", "1", "web"]);
    run.line("web.1", "hung up");
    assert_eq!(run.so_far().events("exited", "").len(), 0);
    run.is_stopped();
}

#[test]
fn logs_are_what_was_written_and_events_what_was_said() {
    let procfile = "web: printf 'one\\n\\377two\\n\\nlast'; sleep 1000\nworker: echo mine; sleep 1000\n";
    let mut run = Supervise::with(procfile).start();
    run.line("worker.1", "mine");
    let all = || says(&run, &["logs", "web"]);
    eventually("three lines", || all().ends_with("web.1     | \n").then_some(()), all);
    let output = verb(&run, &["logs", "web"]).output().expect("the program was built");
    let lines: Vec<&[u8]> = output.stdout.split(|byte| *byte == b'\n').collect();
    for line in [&b"web.1     | one"[..], b"web.1     | \xfftwo", b"web.1     | "] {
        assert!(lines.contains(&line), "{:?}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(!all().contains("mine"));
    assert_eq!(says(&run, &["logs", "-n", "1", "worker"]), "worker.1  | mine\n");
    let events = says(&run, &["events"]);
    let kinds: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("formation"), "{events}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "started").count(), 2, "{events}");
    run.is_stopped();
}

#[test]
fn a_follower_sees_the_end_and_ends_with_it() {
    let mut run = Supervise::with("web: chaos sleep 1h\n").start();
    run.event("started", "web.1");
    let child = verb(&run, &["events", "--follow"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    says(&run, &["scale", "--wait", "web=2"]);
    says(&run, &["shutdown"]);
    let output = answer(&child.wait_with_output().expect("it is ours"));
    assert_eq!((output.code, output.err.as_str()), (Some(0), ""), "{}", output.out);
    for event in ["\"event\":\"scaled\"", "\"event\":\"draining\"", "\"event\":\"ended\""] {
        assert!(output.out.contains(event), "{event}: {}", output.out);
    }
    run.ends_with(0);
}

#[test]
fn reload_touches_what_has_changed_and_nothing_else() {
    let mut run =
        Supervise::with("same: chaos sleep 1h\nold: chaos sleep 1h\nother: chaos sleep 1h\n").start();
    run.event("started", "other.1");
    let before = ps(&run);
    assert_eq!(says(&run, &["reload"]), "nothing to do\n");
    let procfile = run.directory().app("Procfile");
    std::fs::write(&procfile, "same: chaos sleep 1h\nother: chaos sleep 2h\nnew: chaos sleep 1h\n").unwrap();
    let said = says(&run, &["reload", "--wait"]);
    for line in
        ["new: new, 1", "old: 1 -> gone", "other.1 restarted, now running", "new.1 started, now running"]
    {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    let after = ps(&run);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["new.1", "other.1", "same.1"]);
    assert_eq!(after["same.1"].pid, before["same.1"].pid);
    assert_ne!(after["other.1"].pid, before["other.1"].pid);
    std::fs::write(&procfile, "same chaos sleep 1h\nweb:\n").unwrap();
    let refused = ask(&run, &["reload"]);
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    for says in ["Procfile:1", "there is no colon", "Procfile:2"] {
        assert!(refused.err.contains(says), "{says}: {}", refused.err);
    }
    assert_eq!(ps(&run), after);
    run.is_stopped();
}

#[test]
fn fault_69_a_rolling_restart_shows_how_it_goes_on_and_why_it_was_turned_back() {
    let procfile = "web: if [ -e broken ]; then echo boom; exit 3; fi; exec sleep 1000\n";
    let spec = "formation: { web: { quantity: 2, port: false, rollout: { min_ready: 50ms } } }\n";
    let mut run = Supervise::with(procfile).spec(spec).start();
    run.event("started", "web.2");
    says(&run, &["scale", "--wait", "web=2"]);
    let before = ps(&run);
    let said = says(&run, &["restart", "--rolling", "--wait", "web"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("web: replacing 2 by new ones"), "{said}");
    assert_eq!(lines[1..3], ["web: 1 of 2 replaced", "web: 2 of 2 replaced"], "{said}");
    assert!(lines[3].starts_with("web: all replaced after "), "{said}");
    assert_eq!(lines[4..], ["web.1, web.2 restarted, now running"], "{said}");
    let after = ps(&run);
    assert!(before.keys().eq(after.keys()) && before.iter().all(|(name, seen)| seen.pid != after[name].pid));

    std::fs::write(run.directory().app("broken"), "").expect("it is ours");
    let refused = ask(&run, &["restart", "--rolling", "--wait", "web"]);
    assert_eq!(refused.code, Some(1), "{}", refused.out);
    assert!(refused.out.contains("web.3 exited with code 3"), "{}", refused.out);
    assert!(refused.out.lines().last().is_some_and(|line| line.contains("turned back")), "{}", refused.out);
    for says in ["error: the new web was turned back", "\n  web.3 wrote last:\n    boom\n"] {
        assert!(refused.err.contains(says), "{says}: {}", refused.err);
    }
    assert_eq!(ps(&run), after, "the old ones have not noticed");
    run.is_stopped();
}

#[test]
fn a_reload_reads_the_directory_that_was_put_in_the_place_of_ours() {
    let mut run = Supervise::with("web: sleep 1000\n").start();
    run.event("started", "web.1");
    let (app, next) = (run.directory().app(""), run.directory().top().join("next"));
    std::fs::create_dir(&next).expect("it is ours");
    std::fs::write(next.join("Procfile"), "web: sleep 1000\nnew: sleep 1000\n").expect("it is ours");
    std::fs::rename(&app, run.directory().top().join("before")).expect("it is ours");
    std::fs::rename(&next, &app).expect("it is ours");
    assert_eq!(says(&run, &["reload"]), "new: new, 1\nnew.1 will start\n");
    run.event("started", "new.1");
    run.is_stopped();
}

#[test]
fn shutdown_returns_when_everything_is_gone() {
    let mut run = Supervise::with("web: chaos sleep 1h\nslow: chaos ignore TERM sleep 1h\n").start();
    run.event("started", "slow.1");
    let (pid, children) = (run.pid(), ps(&run));
    let said = says(&run, &["shutdown", "--drain", "300ms"]);
    assert_eq!(said, format!("web.1 will stop\nslow.1 will stop\nthe supervisor (pid {pid}) is gone\n"));
    for (name, seen) in children {
        let child = i32::try_from(seen.pid.expect("it ran")).expect("a pid");
        assert!(!is_alive(child), "{name} is still there");
    }
    run.ends_with(137);
    let nobody = ask(&run, &["ps"]);
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("no supervisor is running for"), "{}", nobody.err);
}

#[test]
fn two_procfiles_of_one_directory_have_a_supervisor_each() {
    let start = Supervise::with("web: chaos sleep 1h\n").file("Procfile.dev", "dev: chaos sleep 1h\n");
    let mut one = start.start();
    one.event("started", "web.1");
    let mut two = start.clone().args(["-f", "Procfile.dev"]).start();
    two.event("started", "dev.1");
    assert_eq!(says(&one, &["scale"]), "web=1\n");
    assert_eq!(says(&one, &["-f", "Procfile.dev", "scale"]), "dev=1\n");
    one.is_stopped();
    // Whoever stands here and whose own does not run means the one that was started here.
    assert_eq!(says(&one, &["scale"]), "dev=1\n");
    assert_eq!(ask(&one, &["-f", "Procfile", "scale"]).code, Some(1));
    two.is_stopped();
}

#[test]
fn a_process_that_is_supervised_finds_its_own_supervisor() {
    let supervise = env!("CARGO_BIN_EXE_supervise");
    let procfile = format!(
        "web: unset XDG_RUNTIME_DIR; cd / && {supervise} scale && {supervise} scale other=2 && sleep 1000\nother: chaos sleep 1h\n"
    );
    let mut run = Supervise::with(procfile).start();
    run.line("web.1", "web=1 other=1");
    run.event("started", "other.2");
    run.is_stopped();
}
