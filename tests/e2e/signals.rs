//! Signals that are passed on, and the job that stops and goes on.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::harness::{Run, Stdout, Supervise, eventually, is_alive, state};

/// Waits until a process is in this state.
fn wait_for_state(run: &Run, pid: i32, wanted: char) {
    let look = || (state(pid) == Some(wanted)).then_some(());
    eventually(&format!("{pid} in state {wanted}"), look, || format!("{:?}\n{}", state(pid), run.so_far()));
}

#[test]
fn fault_41_a_signal_is_passed_to_every_leader_that_has_a_handler() {
    let line =
        "chaos on USR1 say usr1 on USR2 say usr2 on WINCH say winch on RTMIN+5 say rt say ready sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\nworker: {line}\n")).args(["web=2"]).start();
    let slots = ["web.1", "web.2", "worker.1"];
    for slot in slots {
        run.line(slot, "ready");
    }
    let signals = [
        (libc::SIGUSR1, "usr1"),
        (libc::SIGUSR2, "usr2"),
        (libc::SIGWINCH, "winch"),
        (libc::SIGRTMIN() + 5, "rt"),
    ];
    for (signal, heard) in signals {
        run.signal(signal);
        for slot in slots {
            run.line(slot, heard);
        }
    }
    let seen = run.is_stopped();
    assert!(seen.events("signal_withheld", "").is_empty(), "{seen}");
}

#[test]
fn fault_41_a_signal_is_withheld_from_a_leader_that_it_would_end() {
    let mut run =
        Supervise::with("good: chaos on USR1 say usr1 say ready sleep 1h\nbad: chaos pid ready sleep 1h\n")
            .start();
    run.line("good.1", "ready");
    let bad = run.pid_said("bad.1", "ready");
    run.signal(libc::SIGUSR1);
    run.line("good.1", "usr1");
    let withheld = run.event("signal_withheld", "");
    assert_eq!(withheld.json["signal"], "SIGUSR1");
    assert_eq!(withheld.json["slots"], serde_json::json!(["bad.1"]));
    assert!(is_alive(bad));
    let seen = run.is_stopped();
    assert_eq!(seen.events("exited", "bad.1")[0].json["signal"], "SIGTERM", "{seen}");
}

/// A shell with job control on a terminal, which says when its job stops, and brings it back when Enter is typed.
const SHELL: [&str; 4] = [
    "sh",
    "-c",
    "set -m; \"$@\"; code=$?; \
     while [ $code -gt 128 ]; do echo job-stopped >&2; read line; fg >&2; code=$?; done; exit $code",
    "sh",
];

fn wait_for_shell(run: &Run, nth: usize, line: &str) {
    run.wait_for(line, |seen| {
        let count = seen.err_text().matches(line).count();
        (count >= nth).then_some(())
    });
}

#[test]
fn fault_38_ctrl_z_stops_the_whole_job_and_fg_brings_it_back() {
    let mut run = Supervise::with("web: chaos pid up loop tick 20ms\n")
        .under(SHELL)
        .stdout(Stdout::PipeBesideTerminal)
        .start();
    let child = run.pid_said("web.1", "up");
    let supervisor = run.pid();
    run.types(b"\x1a");
    wait_for_shell(&run, 1, "job-stopped");
    wait_for_state(&run, supervisor, 'T');
    wait_for_state(&run, child, 'T');
    let ticks = run.so_far().said("web.1").len();
    run.types(b"\n");
    run.event("resumed", "");
    run.wait_for("it ticks on", |seen| (seen.said("web.1").len() > ticks + 3).then_some(()));
    assert!(is_alive(child));
    let seen = run.is_stopped();
    assert_eq!(seen.events("suspended", "").len(), 1, "{seen}");
}

#[test]
fn fault_38_without_a_terminal_tstp_and_cont_do_the_same() {
    let mut run = Supervise::with("web: chaos pid up loop tick 20ms\n").start();
    let child = run.pid_said("web.1", "up");
    run.signal(libc::SIGTSTP);
    wait_for_state(&run, run.pid(), 'T');
    wait_for_state(&run, child, 'T');
    let ticks = run.so_far().said("web.1").len();
    run.signal(libc::SIGCONT);
    run.wait_for("it ticks on", |seen| (seen.said("web.1").len() > ticks + 3).then_some(()));
    run.is_stopped();
}

#[test]
fn fault_38_no_time_passes_while_the_job_is_suspended() {
    const DRAIN: Duration = Duration::from_secs(1);
    let mut run = Supervise::with("web: chaos ignore TERM say deaf sleep 1h\n").args(["-t", "1s"]).start();
    run.line("web.1", "deaf");
    run.signal(libc::SIGTERM);
    let begin = Instant::now();
    run.event("draining", "");
    run.signal(libc::SIGTSTP);
    wait_for_state(&run, run.pid(), 'T');
    let drained = begin.elapsed();
    // The input: longer than the drain has left.
    thread::sleep(DRAIN);
    let goes_on = Timestamp::now();
    run.signal(libc::SIGCONT);
    let left = run.event("killed", "web.1").millis_after(goes_on);
    let at_least = DRAIN.saturating_sub(drained).as_millis();
    assert!(
        u128::try_from(left).is_ok_and(|left| left + 1 >= at_least),
        "killed after {left} of {at_least} ms"
    );
    run.ends_with(137);
}

#[test]
fn fault_38_a_suspended_job_can_be_stopped() {
    let mut run = Supervise::with("web: chaos pid up sleep 1h\n")
        .under(SHELL)
        .stdout(Stdout::PipeBesideTerminal)
        .start();
    let child = run.pid_said("web.1", "up");
    run.types(b"\x1a");
    wait_for_shell(&run, 1, "job-stopped");
    wait_for_state(&run, child, 'T');
    // As `kill %1; fg` does it.
    run.signal(libc::SIGTERM);
    run.types(b"\n");
    run.ends_with(0);
}

#[test]
fn fault_39_ctrl_z_in_the_middle_of_many_starts_leaves_none_behind() {
    const COUNT: usize = 64;
    let mut run = Supervise::with("job: chaos say hello sleep 1h\n")
        .args(["--no-port", &format!("job={COUNT}")])
        .without_port_argument()
        .under(SHELL)
        .stdout(Stdout::PipeBesideTerminal)
        .start();
    let supervisor = run.pid();
    for n in 1..=3 {
        run.nth_event(n * 10, "started", "");
        run.types(b"\x1a");
        wait_for_shell(&run, n, "job-stopped");
        run.types(b"\n");
        // The shell gives the terminal back before it wakes the job.
        let awake = || (state(supervisor) != Some('T')).then_some(());
        eventually("a job that goes on", awake, || run.so_far().to_string());
    }
    for slot in 1..=COUNT {
        run.line(&format!("job.{slot}"), "hello");
    }
    run.is_stopped();
}

#[test]
fn fault_40_a_child_that_reads_the_terminal_is_stopped_and_can_still_be_ended() {
    let mut run = Supervise::with("web: chaos pid up read-tty sleep 1h\n")
        .args(["-t", "10m"])
        .stdout(Stdout::Terminal)
        .start();
    let child = run.pid_said("web.1", "up");
    wait_for_state(&run, child, 'T');
    run.is_stopped();
}
