//! What is asked for, or happens, while a change goes on already.

use std::collections::BTreeSet;

use crate::harness::{Supervise, Transcript, eventually, send};
use crate::verbs::{ask, says};

/// How often a type was started.
fn starts(seen: &Transcript, kind: &str) -> usize {
    seen.events("started", "").iter().filter(|started| started.json["type"] == kind).count()
}

#[test]
fn fault_43_while_everything_ends_nothing_else_can_be_asked_for() {
    let mut run = Supervise::with("slow: chaos say up on TERM touch asked gate done\nweb: chaos sleep 1h\n")
        .gate("done")
        .args(["--drain", "1m", "slow=1", "web=2"])
        .start();
    run.line("slow.1", "up");
    run.signal(libc::SIGTERM);
    run.event("draining", "");
    for words in [
        ["scale", "web=3"].as_slice(),
        &["scale", "web=0"],
        &["restart", "slow"],
        &["restart", "--rolling", "slow"],
        &["stop", "web"],
        &["reload"],
        &["run", "--detach", "true"],
    ] {
        let refused = ask(&run, words);
        assert_eq!(refused.code, Some(1), "{words:?}: {}", refused.out);
        assert!(refused.err.contains("is shutting down"), "{words:?}: {}", refused.err);
    }
    // To look is no change.
    assert!(says(&run, &["ps"]).contains("slow.1"));
    run.directory().open_gate("done");
    let seen = run.ends_with(0);
    assert_eq!((starts(&seen, "slow"), starts(&seen, "web"), starts(&seen, "run")), (1, 2, 0), "{seen}");
}

#[test]
fn fault_44_to_0_and_back_while_they_drain_ends_with_four_new_ones_on_the_same_ports() {
    // Each ends when there is the file, which is after the second wish.
    let procfile = "web: trap 'until [ -e done ]; do sleep 0.02; done; exit 0' TERM; echo up; while :; do sleep 0.02; done\n";
    let mut run = Supervise::with(procfile).args(["--drain", "1m", "web=4"]).start();
    run.wait_for("four", |seen| (starts(seen, "web") == 4).then_some(()));
    for slot in 1..=4 {
        run.line(&format!("web.{slot}"), "up");
    }
    says(&run, &["scale", "web=0"]);
    // All of them have heard it and none has gone: who ends is told apart by `ps`.
    eventually(
        "four that drain",
        || (says(&run, &["ps"]).matches("draining").count() == 4).then_some(()),
        || run.so_far().to_string(),
    );
    says(&run, &["scale", "web=4"]);
    assert_eq!(starts(&run.so_far(), "web"), 4, "{}", run.so_far());
    std::fs::write(run.directory().app("done"), "").expect("it is ours");
    let seen = run.wait_for("eight", |seen| (starts(seen, "web") == 8).then(|| seen.clone()));
    for slot in 1..=4 {
        let name = format!("web.{slot}");
        let (started, exited) = (seen.events("started", &name), seen.events("exited", &name));
        // The port is free when its next holder is born, and nobody was killed for it.
        assert_eq!((started.len(), exited.len()), (2, 1), "{seen}");
        assert!(exited[0].place < started[1].place, "{seen}");
        assert_eq!(exited[0].number("code"), 0, "{seen}");
        assert_eq!(started[0].number("port"), started[1].number("port"), "{seen}");
    }
    let ports: BTreeSet<i64> =
        seen.events("started", "").iter().map(|started| started.number("port")).collect();
    assert_eq!(ports.len(), 4, "{seen}");
    assert_eq!(says(&run, &["scale"]), "web=4\n");
    run.is_stopped();
}

#[test]
fn fault_51_a_probe_that_would_fail_while_its_instance_drains_is_not_asked() {
    // What ends it where it does not drain: `who_fails_its_liveness_probe_is_stopped_and_started_again`.
    let liveness = "{ exec: 'test -e well', period: 50ms, failure_threshold: 1 }";
    let mut run =
        Supervise::with("web: chaos say up on TERM touch draining gate done\nbeat: chaos loop tick 50ms\n")
            .file("well", "")
            .gate("done")
            .spec(&format!("formation: {{ web: {{ drain: 1m, health: {{ liveness: {liveness} }} }} }}\n"))
            .start();
    run.line("web.1", "up");
    says(&run, &["stop", "web"]);
    let app = run.directory().app("");
    eventually("it drains", || app.join("draining").exists().then_some(()), || run.so_far().to_string());
    std::fs::remove_file(app.join("well")).expect("it is ours");
    // Twenty periods of the probe.
    let ticks = run.so_far().said("beat.1").len();
    run.line("beat.1", &format!("tick {}", ticks + 20));
    run.directory().open_gate("done");
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.number("code"), 0, "{}", exited.json);
    let seen = run.is_stopped();
    assert!(seen.events("unwell", "").is_empty() && seen.events("killed", "").is_empty(), "{seen}");
    assert_eq!(starts(&seen, "web"), 1, "{seen}");
}

#[test]
fn fault_70_a_shutdown_in_the_middle_of_a_rolling_restart_starts_nobody_and_ends_all() {
    // The new ones never become ready: the rollout stands in its middle until it is interrupted.
    let procfile = "web: if [ -e new ]; then exec chaos say new sleep 1h; fi; exec chaos notify READY=1 say old sleep 1h\n";
    let spec = "formation: { web: { quantity: 4, health: { startup: { notify: true, period: 1h } } } }\n";
    let mut run = Supervise::with(procfile).spec(spec).start();
    for slot in 1..=4 {
        run.event("ready", &format!("web.{slot}"));
    }
    std::fs::write(run.directory().app("new"), "").expect("it is ours");
    says(&run, &["restart", "--rolling", "web"]);
    run.line("web.1", "new");
    // An old one that crashes now has its place, as what the rollout brings.
    let old = run.event("started", "web.2").pid();
    send(old, libc::SIGKILL);
    run.line("web.2", "new");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    assert_eq!(starts(&seen, "web"), 6, "{seen}");
    assert_eq!(seen.events("exited", "").len(), 6, "{seen}");
}
