//! From the stop signal to the end.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::harness::{Run, Setup, Stdout, Supervise, eventually, is_alive, send, state};

/// A drain that a test would not live to see the end of: whatever ends sooner did not wait for it.
const LONG: [&str; 2] = ["-t", "10m"];

/// Sends TERM, after which this slot must be killed at its drain deadline and not before.
fn is_killed_at_its_deadline(run: &Run, slot: &str, drain_ms: i64) {
    let begin = Timestamp::now();
    run.signal(libc::SIGTERM);
    let killed = run.event("killed", slot);
    assert_eq!(killed.json["reason"], "drain_timeout", "{}", killed.json);
    assert_eq!(killed.number("drain_ms"), drain_ms);
    let after = killed.millis_after(begin);
    // 100 ms late at most is the aim; a busy machine gets more.
    assert!((drain_ms - 1..drain_ms + 1000).contains(&after), "killed {after} ms after TERM");
}

#[test]
fn term_drains_everything_and_says_how_long_it_may_take() {
    let mut run =
        Supervise::with("web: chaos sleep 1h\nworker: chaos sleep 1h\n").args(["web=2", "-t", "7s"]).start();
    run.event("started", "worker.1");
    let seen = run.is_stopped();
    let draining = &seen.events("draining", "")[0];
    assert_eq!(draining.json["cause"], "SIGTERM");
    assert_eq!(draining.number("deadline_ms"), 7000);
    assert_eq!(draining.json["alive"], serde_json::json!({ "web": 2, "worker": 1 }));
    for slot in ["web.1", "web.2", "worker.1"] {
        assert_eq!(seen.events("exited", slot)[0].json["signal"], "SIGTERM", "{seen}");
    }
    assert!(seen.events("killed", "").is_empty(), "{seen}");
    assert_eq!(seen.events("ended", "")[0].number("code"), 0);
}

#[test]
fn fault_01_a_child_that_ignores_term_is_killed_at_its_deadline_and_no_other() {
    let mut run = Supervise::with("deaf: chaos ignore TERM say deaf sleep 1h\ngood: chaos sleep 1h\n")
        .args(["-t", "500ms"])
        .start();
    run.line("deaf.1", "deaf");
    is_killed_at_its_deadline(&run, "deaf.1", 500);
    let seen = run.ends_with(137);
    assert_eq!(seen.events("killed", "").len(), 1, "{seen}");
    assert_eq!(seen.events("exited", "deaf.1")[0].json["signal"], "SIGKILL", "{seen}");
    assert_eq!(seen.events("exited", "good.1")[0].json["signal"], "SIGTERM", "{seen}");
}

#[test]
fn fault_02_we_end_the_instant_a_slow_child_is_gone() {
    let mut run = Supervise::with("slow: chaos on TERM say stopping on USR1 exit 0 pid slow sleep 1h\n")
        .args(LONG)
        .start();
    let pid = run.pid_said("slow.1", "slow");
    run.signal(libc::SIGTERM);
    run.line("slow.1", "stopping");
    let begin = Instant::now();
    send(pid, libc::SIGUSR1);
    let seen = run.ends_with(0);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(seen.events("killed", "").is_empty(), "{seen}");
    assert_eq!(seen.events("exited", "slow.1")[0].number("code"), 0, "{seen}");
}

#[test]
fn fault_03_a_group_member_that_outlives_its_leader_is_killed_at_the_deadline() {
    let mut run = Supervise::with("web: chaos fork ignore TERM pid member sleep 1h end sleep 1h\n")
        .args(["-t", "500ms"])
        .start();
    let member = run.pid_said("web.1", "member");
    is_killed_at_its_deadline(&run, "web.1", 500);
    let seen = run.ends_with(137);
    assert_eq!(seen.events("exited", "web.1")[0].json["signal"], "SIGTERM", "{seen}");
    assert!(!is_alive(member));
}

#[test]
fn the_leader_is_asked_first_and_its_group_when_it_is_gone() {
    let line = "chaos fork on TERM say member-asked on USR1 exit 0 say member sleep 1h end \
                on TERM say leader-asked on USR1 exit 0 pid leader sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\n")).args(LONG).start();
    let leader = run.pid_said("web.1", "leader");
    run.line("web.1", "member");
    run.signal(libc::SIGTERM);
    run.line("web.1", "leader-asked");
    assert_eq!(run.so_far().rests("web.1", "member-asked").len(), 0, "not while the leader lives");
    send(leader, libc::SIGUSR1);
    run.line("web.1", "member-asked");
    for (pid, _) in run.alive() {
        send(pid, libc::SIGUSR1);
    }
    run.ends_with(0);
}

#[test]
fn with_stop_scope_group_everybody_is_asked_at_once() {
    let line = "chaos fork on TERM say member-asked on USR1 exit 0 say member sleep 1h end \
                on TERM say leader-asked on USR1 exit 0 pid leader sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\n"))
        .spec("formation:\n  web: { stop_scope: group }\n")
        .args(LONG)
        .start();
    let leader = run.pid_said("web.1", "leader");
    run.line("web.1", "member");
    run.signal(libc::SIGTERM);
    run.line("web.1", "leader-asked");
    run.line("web.1", "member-asked");
    assert!(is_alive(leader), "both were asked while the leader lives");
    for (pid, _) in run.alive() {
        send(pid, libc::SIGUSR1);
    }
    run.ends_with(0);
}

#[test]
fn all_are_asked_at_the_same_moment() {
    let line = "chaos on TERM say asked on USR1 exit 0 pid up sleep 1h";
    let mut run = Supervise::with(format!("a: {line}\nb: {line}\n")).args(LONG).args(["a=2", "b=2"]).start();
    let slots = ["a.1", "a.2", "b.1", "b.2"];
    let pids = slots.map(|slot| run.pid_said(slot, "up"));
    run.signal(libc::SIGTERM);
    // Nobody ends before everybody has been asked: one after the other would never come to the second.
    for slot in slots {
        run.line(slot, "asked");
    }
    for pid in pids {
        send(pid, libc::SIGUSR1);
    }
    run.ends_with(0);
}

#[test]
fn each_type_has_its_own_stop_signal_and_drain() {
    let mut run = Supervise::with(
        "a: chaos on INT exit 0 ignore TERM say ready sleep 1h\n\
         b: chaos on QUIT exit 0 ignore TERM say ready sleep 1h\n\
         c: chaos ignore TERM say ready sleep 1h\n",
    )
    .spec(
        "defaults: { drain: 10m }\n\
         formation:\n  a: { stop_signal: INT }\n  b: { stop_signal: SIGQUIT }\n  c: { drain: 300ms }\n",
    )
    .start();
    for slot in ["a.1", "b.1", "c.1"] {
        run.line(slot, "ready");
    }
    is_killed_at_its_deadline(&run, "c.1", 300);
    let seen = run.ends_with(137);
    for slot in ["a.1", "b.1"] {
        assert_eq!(seen.events("exited", slot)[0].number("code"), 0, "{seen}");
    }
}

#[test]
fn fault_07_a_suspended_child_is_woken_to_end() {
    let mut run = Supervise::with("web: chaos pid up stop-self sleep 1h\n").args(LONG).start();
    let pid = run.pid_said("web.1", "up");
    eventually(
        "a suspended child",
        || (state(pid) == Some('T')).then_some(()),
        || format!("{:?}", state(pid)),
    );
    let seen = run.is_stopped();
    assert_eq!(seen.events("exited", "web.1")[0].json["signal"], "SIGTERM", "{seen}");
}

#[test]
fn fault_33_a_second_int_after_a_while_kills_now() {
    let mut run = Supervise::with("web: chaos ignore TERM say deaf sleep 1h\n").args(LONG).start();
    run.line("web.1", "deaf");
    run.signal(libc::SIGINT);
    run.event("draining", "");
    // Not a hope but the input: the second one comes at least 500 ms after the first.
    thread::sleep(Duration::from_millis(600));
    run.signal(libc::SIGINT);
    let seen = run.ends_with(137);
    assert_eq!(seen.events("killed", "web.1")[0].json["reason"], "asked", "{seen}");
}

#[test]
fn fault_33_one_ctrl_c_delivered_twice_is_one() {
    let mut run = Supervise::with("web: chaos on TERM say stopping on USR1 exit 0 pid up sleep 1h\n")
        .args(LONG)
        .start();
    let pid = run.pid_said("web.1", "up");
    run.signal(libc::SIGINT);
    run.event("draining", "");
    run.signal(libc::SIGINT);
    // A signal that is passed on and heard proves that the second INT has been dealt with.
    run.signal(libc::SIGUSR1);
    let seen = run.ends_with(130);
    assert!(!is_alive(pid));
    assert!(seen.events("killed", "").is_empty(), "{seen}");
    assert_eq!(seen.events("draining", "").len(), 1, "{seen}");
}

#[test]
fn fault_33_a_second_term_changes_nothing() {
    let mut run = Supervise::with("web: chaos on TERM say stopping on USR1 exit 0 pid up sleep 1h\n")
        .args(LONG)
        .start();
    let pid = run.pid_said("web.1", "up");
    run.signal(libc::SIGTERM);
    run.line("web.1", "stopping");
    // The input: later than a second INT would have to be.
    thread::sleep(Duration::from_millis(600));
    run.signal(libc::SIGTERM);
    run.signal(libc::SIGUSR1);
    let seen = run.ends_with(0);
    assert!(!is_alive(pid));
    assert!(seen.events("killed", "").is_empty(), "{seen}");
    assert_eq!(seen.rests("web.1", "stopping").len(), 1, "the child is asked once: {seen}");
}

#[test]
fn quit_from_the_terminal_kills_now() {
    let mut run = Supervise::with("web: chaos ignore TERM say deaf sleep 1h\n")
        .args(LONG)
        .stdout(Stdout::Terminal)
        .start();
    run.line("web.1", "deaf");
    run.types(b"\x1c");
    let seen = run.ends_with(137);
    assert_eq!(seen.events("killed", "web.1")[0].json["reason"], "asked", "{seen}");
}

#[test]
fn quit_without_a_terminal_drains() {
    let mut run = Supervise::with("web: chaos on TERM exit 0 say ready sleep 1h\n").args(LONG).start();
    run.line("web.1", "ready");
    run.signal(libc::SIGQUIT);
    let seen = run.ends_with(0);
    assert_eq!(seen.events("draining", "")[0].json["cause"], "SIGQUIT", "{seen}");
    assert!(seen.events("killed", "").is_empty(), "{seen}");
}

#[test]
fn ctrl_c_in_the_terminal_reaches_the_children_as_one_term() {
    let mut run = Supervise::with("web: chaos on INT say interrupted on TERM exit 0 say ready sleep 1h\n")
        .args(LONG)
        .stdout(Stdout::Terminal)
        .start();
    run.line("web.1", "ready");
    run.types(b"\x03");
    let seen = run.ends_with(130);
    assert!(seen.rests("web.1", "interrupted").is_empty(), "{seen}");
}

#[test]
fn fault_37_hup_with_a_terminal_drains() {
    let mut run = Supervise::with("web: chaos sleep 1h\n").args(LONG).stdout(Stdout::Terminal).start();
    run.event("started", "web.1");
    run.signal(libc::SIGHUP);
    let seen = run.ends_with(0);
    assert_eq!(seen.events("draining", "")[0].json["cause"], "SIGHUP", "{seen}");
}

#[test]
fn fault_37_hup_without_a_terminal_is_a_reload_and_ends_nothing() {
    let mut run = Supervise::with("web: chaos sleep 1h\n").start();
    run.event("started", "web.1");
    run.signal(libc::SIGHUP);
    let answer = run.event("reloaded", "");
    assert_eq!(answer.message(), "reloaded; no program has changed");
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "").len(), 1, "{seen}");
}

#[test]
fn fault_37_hup_that_was_ignored_at_our_start_stays_ignored() {
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .setup(Setup::Ignore(libc::SIGHUP))
        .stdout(Stdout::Terminal)
        .start();
    run.event("started", "web.1");
    run.signal(libc::SIGHUP);
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    assert_eq!(seen.events("draining", "")[0].json["cause"], "SIGTERM", "{seen}");
    assert!(seen.events("not_in_this_version", "").is_empty(), "{seen}");
}

#[test]
fn fault_34_a_stop_in_the_middle_of_many_starts_ends_them_all() {
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .args(["--no-port", "web=300"])
        .without_port_argument()
        .start();
    run.event("started", "");
    let seen = run.is_stopped();
    let draining = seen.events("draining", "")[0].place;
    let late = seen.events("started", "").iter().filter(|started| started.place > draining).count();
    assert_eq!(late, 0, "nothing is started after the drain began: {seen}");
}

#[test]
fn fault_35_a_stop_during_backoff_ends_at_once_and_starts_nothing() {
    let mut run = Supervise::with("job: chaos exit 1\n")
        .spec("defaults:\n  backoff: { first: 10m, max: 10m }\n")
        .args(LONG)
        .start();
    run.nth_event(2, "exited", "job.1");
    let begin = Instant::now();
    let seen = run.is_stopped();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(seen.events("started", "job.1").len(), 2, "{seen}");
}

#[test]
fn fault_36_a_stop_at_any_moment_of_our_start_leaves_nothing_behind() {
    for microseconds in (0..20).map(|n| n * 500) {
        let mut run = Supervise::with("web: chaos sleep 1h\n").start();
        // The input: one moment after another of the first ten milliseconds.
        thread::sleep(Duration::from_micros(microseconds));
        run.signal(libc::SIGTERM);
        let (status, alive) = run.wait_for_exit();
        // Killed by it before the first line of main, or drained.
        let early = std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGTERM);
        assert!(early || status.code() == Some(0), "{status}\n{}", run.so_far());
        assert!(alive.is_empty(), "{alive:?}");
    }
}
