//! What a deploy changes, and what it leaves as it was.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::App;
use crate::harness::{Run, eventually, is_alive, send};

/// Its release is what it says first.
const WEB: &str = "web: chaos env SUPERVISE_RELEASE_ID pid leader";

/// Webs that are ready when they say so.
const NOTIFIES: &str =
    "formation: { web: { quantity: 2, port: false, health: { startup: { notify: true } } } }\n";

/// The leader that a slot has now, and the release that it has, each as `ps` knows it.
fn leader(app: &App, name: &str) -> Option<(i32, String)> {
    let status: Value = serde_json::from_str(&app.says(&["ps", "--json"])).expect("it is JSON");
    let process = status["processes"].as_array()?.iter().find(|process| process["name"] == name)?.clone();
    let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())?;
    Some((pid, process["release"].as_str()?.to_owned()))
}

/// The release that a process was given, by the kernel's own account.
fn given(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let id = variables.find_map(|variable| variable.strip_prefix(b"SUPERVISE_RELEASE_ID="))?;
    String::from_utf8(id.to_vec()).ok()
}

/// Kills the leader of a slot, and sees the next one run what the slot is meant to have.
fn crashes_into(app: &App, run: &Run, name: &str, release: &str) {
    let (before, _) = leader(app, name).unwrap_or_else(|| panic!("no {name}\n{}", run.so_far()));
    send(before, libc::SIGKILL);
    let look = || leader(app, name).filter(|(pid, _)| *pid != before);
    let (pid, of) = eventually(&format!("another {name}"), look, || run.so_far().to_string());
    assert_eq!(of, release, "{name}\n{}", run.so_far());
    let id = app.id(release);
    // Between clone and exec it still has what we have.
    let look = || (given(pid)? == id).then_some(());
    eventually(&format!("{name} of {release}"), look, || format!("{:?}\n{}", given(pid), run.so_far()));
}

#[test]
fn whoever_crashes_during_or_after_a_deploy_comes_back_as_what_its_slot_is_meant_to_be() {
    let app = App::new("");
    app.gate("ready");
    app.writes("supervise.yml", NOTIFIES);
    app.release(&format!("{WEB} notify READY=1 sleep 1h\n"));
    app.release(&format!("{WEB} gate {{TOP}}/ready notify READY=1 sleep 1h\n"));
    app.release(&format!("{WEB} say bad exit 3\n"));
    let mut run = app.runs("v1");
    app.says(&["deploy", "v2"]);
    run.pid_said("web.3", "leader");
    app.comes_to(&[("web.1", "v1"), ("web.2", "v1"), ("web.3", "v2")], &run);
    // Nobody is replaced by what he was.
    crashes_into(&app, &run, "web.1", "v2");
    crashes_into(&app, &run, "web.3", "v2");
    app.open_gate("ready");
    run.event("deployed", "");
    app.comes_to(&[("web.1", "v2"), ("web.2", "v2")], &run);
    crashes_into(&app, &run, "web.1", "v2");
    crashes_into(&app, &run, "web.2", "v2");

    let told = app.refuses(&["deploy", "--wait", "v3"], 1);
    assert!(told.contains("v3 was not deployed") && told.contains("everything goes back to v2"), "{told}");
    app.comes_to(&[("web.1", "v2"), ("web.2", "v2")], &run);
    crashes_into(&app, &run, "web.1", "v2");
    assert_eq!(app.current().as_deref(), Some("v2"));
    run.is_stopped();
}

#[test]
fn a_directory_changes_to_a_release_and_what_does_not_work_goes_back_to_the_directory() {
    let app = App::new("");
    app.release("web: chaos exit 3\n");
    app.release(&format!("{WEB} sleep 1h\n"));
    app.writes("Procfile", &format!("{WEB} sleep 2h\n"));
    let mut run = app.project.start();
    run.event("started", "web.1");
    app.comes_to(&[("web.1", "dev")], &run);

    let told = app.refuses(&["deploy", "--wait", "v1"], 1);
    assert!(told.contains("everything goes back to dev"), "{told}");
    app.comes_to(&[("web.1", "dev")], &run);
    assert_eq!(app.current(), None);
    let back = eventually("a leader", || leader(&app, "web.1"), || run.so_far().to_string());
    assert_eq!(given(back.0).as_deref(), Some("dev"));
    // Its files are still what a reload reads.
    app.writes("Procfile", &format!("{WEB} sleep 3h\n"));
    app.says(&["reload", "--wait"]);

    app.says(&["deploy", "--wait", "v2"]);
    app.comes_to(&[("web.1", "v2")], &run);
    assert_eq!(app.current().as_deref(), Some("v2"));
    app.refuses(&["reload"], 1);
    run.is_stopped();
}

#[test]
fn what_we_were_started_with_is_current_though_another_release_was_tried_before_it_was_known_to_run() {
    let app = App::new("");
    app.gate("go");
    app.release(&format!("{WEB} sleep 1h\n"));
    app.release(&format!("release: chaos gate {{TOP}}/go exit 3\n{WEB} sleep 1h\n"));
    let mut run = app.project.clone().args(["--release", "v1"]).start();
    run.event("started", "web.1");
    // Before it has run for the second after which it counts as running.
    app.says(&["deploy", "v2"]);
    run.event("started", "run.1");
    let ready = || app.says(&["ps", "--json"]).contains("\"ready\":true").then_some(());
    eventually("web.1 ready", ready, || run.so_far().to_string());
    app.open_gate("go");
    run.event("not_deployed", "");
    app.becomes_current("v1", &run);
    run.is_stopped();
}

#[test]
fn what_was_scaled_stays_so_types_come_and_go_and_ports_are_those_of_the_release() {
    let app = App::new("");
    app.release("web: chaos env PORT listen\nworker: chaos env PORT sleep 1h\nold: chaos sleep 1h\n");
    app.release(
        "clock: chaos env PORT sleep 1h\nweb: chaos env PORT listen\nworker: chaos env PORT sleep 1h\n",
    );
    let mut run = app.runs("v1");
    app.says(&["scale", "--wait", "web=2", "worker=0"]);
    let ports = |name: &str| run.so_far().rests(name, "PORT=");
    let base: u16 = run.rest("web.1", "PORT=").parse().expect("a port");

    let said = app.says(&["deploy", "--wait", "v2"]);
    assert!(said.contains("old: 1 -> gone") && said.contains("clock: new, 1"), "{said}");
    app.comes_to(&[("clock.1", "v2"), ("web.1", "v2"), ("web.2", "v2")], &run);
    assert_eq!(app.says(&["scale"]), "clock=1 web=2 worker=0\n");
    run.rest("clock.1", "PORT=");
    assert_eq!(ports("clock.1"), [base.to_string()]);
    assert_eq!(ports("web.1"), [base.to_string(), (base + 100).to_string()]);
    assert_eq!(ports("web.2"), [(base + 1).to_string(), (base + 101).to_string()]);
    app.says(&["scale", "--wait", "worker=1"]);
    assert_eq!(ports("worker.1").last(), Some(&(base + 200).to_string()));

    let said = app.says(&["rollback", "--wait"]);
    assert!(said.contains("v3 is v1 once more"), "{said}");
    assert!(said.contains("clock: 1 -> gone") && said.contains("old: new, 1"), "{said}");
    app.comes_to(&[("web.1", "v3"), ("web.2", "v3"), ("worker.1", "v3"), ("old.1", "v3")], &run);
    assert_eq!(app.says(&["scale"]), "web=2 worker=1 old=1\n");
    run.is_stopped();
}

#[test]
fn prune_spares_what_runs_also_what_only_an_old_instance_runs() {
    let app = App::new("");
    app.gate("ready");
    app.writes("supervise.yml", NOTIFIES);
    let number = |nth: u32| format!("{WEB} say {nth}");
    app.release(&format!("{} notify READY=1 sleep 1h\n", number(1)));
    app.release(&format!("{} gate {{TOP}}/ready notify READY=1 sleep 1h\n", number(2)));
    app.release(&format!("{} sleep 1h\n", number(3)));
    let mut run = app.runs("v1");
    app.says(&["run", "--detach", "chaos", "pid", "once", "sleep", "1h"]);
    let once = run.pid_said("run.1", "once");
    let home = fs::read_link(format!("/proc/{once}/cwd")).expect("it lives");
    app.says(&["deploy", "v2"]);
    run.pid_said("web.3", "leader");
    // Neither is spared as the current one.
    fs::remove_file(app.store().join("deployed.json")).expect("it is there");
    assert_eq!(app.says(&["release", "prune", "--keep", "1"]), "nothing was removed\nkept v1 v2: in use\n");
    app.open_gate("ready");
    run.event("deployed", "");
    app.becomes_current("v2", &run);
    app.comes_to(&[("web.1", "v2"), ("web.2", "v2"), ("run.1", "v1")], &run);
    // The command goes on where it was started.
    assert_eq!(app.says(&["release", "prune", "--keep", "1"]), "nothing was removed\nkept v1: in use\n");
    assert!(Path::new(&home).is_dir(), "{}", home.display());
    app.says(&["stop", "--wait", "run.1"]);
    eventually("its end", || (!is_alive(once)).then_some(()), || run.so_far().to_string());
    let prune = || (app.says(&["release", "prune", "--keep", "1"]) == "removed v1\n").then_some(());
    eventually("v1 is gone", prune, || format!("{:?}\n{}", app.listed(), run.so_far()));
    assert!(!home.exists(), "{}", home.display());
    run.is_stopped();
}
