//! As PID 1 of a container: orphans are reaped, signals are heard, the exit code is passed on.

use crate::harness::{Stdout, Supervise, can_make_pid_namespaces, eventually, state, zombies_of};

/// Twenty processes whose parent exits before they do: they become children of PID 1.
const ORPHANS: &str = "chaos fork fork gate gate end end fork fork gate gate end end say ready gate gate";

#[test]
fn fault_65_orphans_are_reaped() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with(format!("job: {ORPHANS}\nlast: chaos sleep 1h\n"))
        .gate("gate")
        .args(["job=10"])
        .in_pid_namespace()
        .start();
    for slot in 1..=10 {
        run.line(&format!("job.{slot}"), "ready");
    }
    run.directory().open_gate("gate");
    run.wait_for("all of them completed", |seen| (seen.events("completed", "").len() == 10).then_some(()));
    let supervisor = run.pid();
    let zombies = || zombies_of(supervisor);
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    run.is_stopped();
}

#[test]
fn control_65_the_zombie_check_sees_a_zombie() {
    let mut nobody_waits = std::process::Command::new("true").spawn().expect("there is a `true`");
    let pid = i32::try_from(nobody_waits.id()).expect("a pid is small");
    let own = i32::try_from(std::process::id()).expect("a pid is small");
    eventually("a zombie", || zombies_of(own).contains(&pid).then_some(()), || format!("{:?}", state(pid)));
    nobody_waits.wait().expect("it is ours");
    assert!(!zombies_of(own).contains(&pid));
}

#[test]
fn the_exit_code_of_pid_1_is_that_of_the_child_that_failed() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with("job: exit 42\n").args(["--restart", "never"]).in_pid_namespace().start();
    run.ends_with(42);
}

#[test]
fn fault_36_pid_1_hears_every_signal_that_ends_it() {
    if !can_make_pid_namespaces() {
        return;
    }
    let signals = [
        (libc::SIGTERM, 0),
        (libc::SIGINT, 130),
        (libc::SIGQUIT, 0),
        (libc::SIGPWR, 0),
        (libc::SIGRTMIN() + 3, 0),
    ];
    for (signal, code) in signals {
        let mut run =
            Supervise::with("web: chaos on TERM exit 0 say up sleep 1h\n").in_pid_namespace().start();
        run.line("web.1", "up");
        run.signal(signal);
        let seen = run.ends_with(code);
        assert_eq!(seen.events("exited", "web.1")[0].number("code"), 0, "signal {signal}: {seen}");
    }
}

#[test]
fn fault_38_pid_1_ignores_a_stop_from_the_terminal() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with("web: chaos on USR1 say usr1 say up sleep 1h\n").in_pid_namespace().start();
    run.line("web.1", "up");
    run.signal(libc::SIGTSTP);
    run.signal(libc::SIGUSR1);
    run.line("web.1", "usr1");
    let seen = run.is_stopped();
    assert!(seen.events("suspended", "").is_empty(), "{seen}");
}

#[test]
fn pid_1_stops_escapees_and_daemons_before_it_ends() {
    if !can_make_pid_namespaces() {
        return;
    }
    let line =
        "chaos fork setsid fork on TERM say daemon-asked on USR1 exit 0 say daemon sleep 1h end end sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\n")).args(["-t", "500ms"]).in_pid_namespace().start();
    run.line("web.1", "daemon");
    run.signal(libc::SIGTERM);
    run.line("web.1", "daemon-asked");
    // It never ends by itself, so it is killed.
    let seen = run.ends_with(137);
    assert_eq!(seen.events("killed", "web.1").len(), 1, "{seen}");
}

#[test]
fn pid_1_outlives_its_reader() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with("web: chaos loop tick 5ms\njob: chaos gate gate touch alive\n")
        .gate("gate")
        .in_pid_namespace()
        .stdout(Stdout::HangUpAfter(10))
        .start();
    run.wait_for("the reader has gone", |seen| seen.out_ended.then_some(()));
    run.directory().open_gate("gate");
    let alive = run.directory().app("alive");
    eventually("a child that lives on", || alive.exists().then_some(()), || run.so_far().to_string());
    run.is_stopped();
}
