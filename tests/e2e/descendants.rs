//! What a leader leaves behind: found, named, stopped, or let be.

use jiff::Timestamp;
use serde_json::json;

use crate::harness::{Run, Supervise, eventually, is_alive, send};

/// The pids in a fact that lists processes.
fn pids(processes: &serde_json::Value) -> Vec<i32> {
    let listed = processes.as_array().unwrap_or_else(|| panic!("{processes} is no list"));
    listed
        .iter()
        .map(|process| i32::try_from(process["pid"].as_i64().expect("a pid")).expect("small"))
        .collect()
}

fn wait_until_gone(run: &Run, pid: i32) {
    eventually("the end of a process", || (!is_alive(pid)).then_some(()), || run.so_far().to_string());
}

#[test]
fn fault_05_an_escapee_in_a_session_of_its_own_is_found_and_stopped() {
    let mut run = Supervise::with(
        "web: chaos fork setsid on TERM say asked on USR1 exit 0 pid escapee sleep 1h end sleep 1h\n",
    )
    .args(["-t", "10m"])
    .start();
    let escapee = run.pid_said("web.1", "escapee");
    run.signal(libc::SIGTERM);
    run.line("web.1", "asked");
    assert!(is_alive(escapee));
    send(escapee, libc::SIGUSR1);
    run.ends_with(0);
}

#[test]
fn fault_05_an_escapee_that_ignores_term_is_killed_at_the_deadline() {
    let mut run = Supervise::with("web: chaos fork setsid ignore TERM pid escapee sleep 1h end sleep 1h\n")
        .args(["-t", "500ms"])
        .start();
    run.pid_said("web.1", "escapee");
    let begin = Timestamp::now();
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(137);
    let waited = seen.events("killed", "web.1")[0].millis_after(begin);
    assert!(waited >= 499, "killed after {waited} ms");
}

#[test]
fn fault_05_a_member_that_left_the_group_is_stopped_too() {
    let mut run = Supervise::with("web: chaos fork setpgid pid member sleep 1h end sleep 1h\n").start();
    let member = run.pid_said("web.1", "member");
    run.is_stopped();
    assert!(!is_alive(member));
}

#[test]
fn fault_05_a_program_that_became_a_daemon_is_stopped_and_its_slot_completed() {
    let mut run = Supervise::with(
        "job: chaos fork setsid fork pid daemon sleep 1h end end gate gate\nother: chaos sleep 1h\n",
    )
    .gate("gate")
    .start();
    let daemon = run.pid_said("job.1", "daemon");
    run.directory().open_gate("gate");
    let exited = run.event("exited", "job.1");
    assert_eq!(pids(&exited.json["leftovers_stopped"]), [daemon], "{}", exited.json);
    run.event("completed", "job.1");
    assert!(!is_alive(daemon), "completed means gone");
    run.is_stopped();
}

/// A daemon that has wiped its environment. No leak check sees it, as it has forgotten our mark too; so it is killed
/// when the test is over.
struct Unmarked(i32);

impl Drop for Unmarked {
    fn drop(&mut self) {
        if is_alive(self.0) {
            send(self.0, libc::SIGKILL);
        }
    }
}

/// Waits until the daemon has wiped its environment.
fn unmarked_daemon(run: &Run, process: &str) -> Unmarked {
    let pid = run.pid_said(process, "daemon");
    let environment = || std::fs::read(format!("/proc/{pid}/environ"));
    let forgot = || environment().is_ok_and(|environment| environment.is_empty()).then_some(());
    eventually("a daemon without a mark", forgot, || run.so_far().to_string());
    Unmarked(pid)
}

#[test]
fn fault_05_a_daemon_that_has_forgotten_whose_it_is_does_not_outlive_us() {
    let daemon = "fork setsid fork pid daemon forget end end";
    let mut run = Supervise::with(format!("web: chaos {daemon} sleep 1h\nworker: chaos sleep 1h\n")).start();
    let daemon = unmarked_daemon(&run, "web.1");
    run.is_stopped();
    assert!(!is_alive(daemon.0));
}

#[test]
fn fault_05_a_daemon_that_has_forgotten_whose_it_is_is_stopped_with_the_only_leader() {
    let mut run = Supervise::with("job: chaos fork setsid fork pid daemon forget end end gate gate\n")
        .gate("gate")
        .start();
    let daemon = unmarked_daemon(&run, "job.1");
    run.directory().open_gate("gate");
    let seen = run.ends_with(0);
    assert_eq!(pids(&seen.events("exited", "job.1")[0].json["leftovers_stopped"]), [daemon.0], "{seen}");
    assert!(!is_alive(daemon.0));
}

#[test]
fn fault_06_a_tree_that_grows_while_it_is_killed_is_gone_in_the_end() {
    // Deaf to TERM, each in a session of its own, a new one every few milliseconds, until the very end.
    let breed = "trap '' TERM; while :; do setsid sleep 3600 & sleep 0.005; done";
    let mut run = Supervise::with(format!("web: ({breed}) & ({breed}) & echo up; {breed}\n"))
        .args(["-t", "300ms"])
        .start();
    run.line("web.1", "up");
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

#[test]
fn what_a_crashed_leader_leaves_is_named_and_stopped_before_the_restart() {
    let left = "fork on TERM say asked on USR1 exit 0 pid left sleep 1h end";
    let mut run = Supervise::with(format!("job: chaos {left} gate gate crash-until lives 1 1 sleep 1h\n"))
        .gate("gate")
        .args(["-t", "10m"])
        .start();
    let left = run.pid_said("job.1", "left");
    run.directory().open_gate("gate");
    let exited = run.event("exited", "job.1");
    assert_eq!(
        exited.json["leftovers_stopped"],
        json!([{ "pid": left, "name": "chaos" }]),
        "{}",
        exited.json
    );
    assert!(exited.message().contains(&format!("{left} (chaos)")), "{}", exited.message());
    run.line("job.1", "asked");
    assert_eq!(run.so_far().events("started", "job.1").len(), 1, "the restart waits for it");
    send(left, libc::SIGUSR1);
    run.nth_event(2, "started", "job.1");
    assert!(!is_alive(left));
    // The second life has a descendant too, which ends when asked a second time.
    let both = run.wait_for("the second descendant", |seen| {
        let pids = seen.rests("job.1", "left ");
        (pids.len() == 2).then_some(pids)
    });
    run.signal(libc::SIGTERM);
    run.wait_for("it is asked", |seen| (seen.rests("job.1", "asked").len() == 2).then_some(()));
    send(both[1].parse().expect("a pid"), libc::SIGUSR1);
    run.ends_with(0);
}

#[test]
fn what_a_crashed_leader_leaves_is_killed_after_its_drain() {
    let mut run = Supervise::with(
        "job: chaos fork ignore TERM pid left sleep 1h end gate gate crash-until lives 1 1 sleep 1h\n",
    )
    .gate("gate")
    .args(["-t", "300ms"])
    .start();
    let left = run.pid_said("job.1", "left");
    let begin = Timestamp::now();
    run.directory().open_gate("gate");
    let waited = run.event("killed", "job.1").millis_after(begin);
    assert!(waited >= 299, "killed after {waited} ms");
    run.nth_event(2, "started", "job.1");
    assert!(!is_alive(left));
    // The second life's descendant is as deaf as the first's.
    run.wait_for("it is deaf", |seen| (seen.rests("job.1", "left ").len() == 2).then_some(()));
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

#[test]
fn leftovers_that_may_stay_are_let_be_and_delay_nothing() {
    let mut run = Supervise::with(
        "job: chaos fork pid left sleep 1h end gate gate crash-until lives 1 1 say second sleep 1h\n",
    )
    .gate("gate")
    .spec("formation:\n  job: { leftovers: leave }\n")
    .start();
    let left = run.pid_said("job.1", "left");
    run.directory().open_gate("gate");
    let exited = run.event("exited", "job.1");
    assert_eq!(pids(&exited.json["leftovers_left"]), [left], "{}", exited.json);
    run.line("job.1", "second");
    assert!(is_alive(left), "it is let be");
    run.signal(libc::SIGTERM);
    let alive = run.ends_leaving(0);
    assert!(alive.iter().any(|(pid, _)| *pid == left), "even at our end: {alive:?}");
}

#[test]
fn fault_04_a_descendant_that_holds_the_pipe_delays_no_exit_and_is_still_heard() {
    let mut run =
        Supervise::with("job: chaos fork gate gate say late-words end say lead\nother: chaos sleep 1h\n")
            .gate("gate")
            .spec("formation:\n  job: { leftovers: leave }\n")
            .start();
    run.line("job.1", "lead");
    run.event("exited", "job.1");
    run.event("completed", "job.1");
    run.directory().open_gate("gate");
    run.line("job.1", "late-words");
    run.is_stopped();
}

#[test]
fn fault_61_leaders_end_with_a_supervisor_that_is_killed() {
    let mut run = Supervise::with("web: chaos pid up sleep 1h\n").args(["web=3"]).start();
    let pids = ["web.1", "web.2", "web.3"].map(|slot| run.pid_said(slot, "up"));
    run.is_killed();
    for pid in pids {
        wait_until_gone(&run, pid);
    }
}

/// A run that was killed and has left an escapee behind, and the project it ran.
fn killed_run_with_an_escapee() -> (Supervise, Run, i32) {
    let project = Supervise::with("web: chaos fork setsid pid escapee sleep 1h end pid leader sleep 1h\n");
    let mut run = project.start();
    let escapee = run.pid_said("web.1", "escapee");
    let leader = run.pid_said("web.1", "leader");
    run.is_killed();
    wait_until_gone(&run, leader);
    // The control of every leak check: this one does live on, and the check sees it.
    assert_eq!(run.alive().iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [escapee]);
    (project, run, escapee)
}

#[test]
fn fault_61_the_next_start_finds_names_and_stops_what_was_left() {
    let (project, _killed, escapee) = killed_run_with_an_escapee();
    let mut next = project.start();
    let found = next.event("leftovers_found", "");
    assert_eq!(pids(&found.json["processes"]), [escapee], "{}", found.json);
    assert_eq!(found.json["fate"], "stopped");
    assert!(found.message().contains(&format!("{escapee} (chaos)")), "{}", found.message());
    let started = next.event("started", "web.1");
    assert!(found.place < started.place);
    assert!(!is_alive(escapee), "it is gone before anything starts");
    next.pid_said("web.1", "escapee");
    next.is_stopped();
}

#[test]
fn fault_61_what_asked_how_it_is_is_stopped_though_the_type_lets_its_leftovers_be() {
    let project = Supervise::with("web: chaos fork setsid pid left sleep 1h end pid leader sleep 1h\n").spec(
        "formation:\n  web:\n    leftovers: leave\n    \
           health: { readiness: { exec: chaos ignore TERM fork setsid sleep 3h end sleep 2h, timeout: 1h } }\n",
    );
    let mut run = project.start();
    let (left, leader) = (run.pid_said("web.1", "left"), run.pid_said("web.1", "leader"));
    let probe = || {
        let pids: Vec<i32> =
            run.alive().into_iter().filter(|(_, it)| it.ends_with("sleep 2h")).map(|(pid, _)| pid).collect();
        (pids.len() == 2).then_some(pids)
    };
    let mut probe = eventually("a probe", probe, || format!("{:?}", run.alive()));
    probe.sort_unstable();
    run.is_killed();
    wait_until_gone(&run, leader);

    let mut next = project.start();
    let found = next.event("leftovers_found", "");
    let mut stopped = pids(&found.json["processes"]);
    stopped.sort_unstable();
    assert_eq!(stopped, probe, "{}", found.json);
    next.pid_said("web.1", "leader");
    assert!(!probe.iter().any(|pid| is_alive(*pid)));
    assert!(is_alive(left), "it is let be");
    next.signal(libc::SIGTERM);
    next.ends_leaving(0);
}

#[test]
fn fault_61_leftovers_are_let_be_where_that_was_asked() {
    let (project, _killed, escapee) = killed_run_with_an_escapee();
    let mut next = project.clone().args(["--leftovers", "ignore"]).start();
    assert_eq!(next.event("leftovers_found", "").json["fate"], "ignored");
    next.pid_said("web.1", "escapee");
    next.is_stopped();
    assert!(is_alive(escapee));
    // A good end of ours is none of theirs.
    let mut third = project.start();
    assert_eq!(pids(&third.event("leftovers_found", "").json["processes"]), [escapee]);
    third.pid_said("web.1", "escapee");
    third.is_stopped();
}

#[test]
fn fault_61_leftovers_are_an_error_where_that_was_asked() {
    let (project, _killed, escapee) = killed_run_with_an_escapee();
    let mut next = project.args(["--leftovers", "fail"]).start();
    let seen = next.ends_with(1);
    let found = &seen.events("leftovers_found", "")[0];
    assert_eq!(pids(&found.json["processes"]), [escapee], "{seen}");
    assert_eq!(found.json["fate"], "refused", "{seen}");
    assert!(seen.events("started", "").is_empty(), "{seen}");
    assert!(is_alive(escapee));
}

#[test]
fn a_start_after_an_orderly_end_finds_nothing() {
    let project = Supervise::with("web: chaos say up sleep 1h\n");
    for _ in 0..2 {
        let mut run = project.start();
        run.line("web.1", "up");
        let seen = run.is_stopped();
        assert!(seen.events("leftovers_found", "").is_empty(), "{seen}");
    }
}

#[test]
fn the_processes_of_another_project_are_none_of_our_business() {
    let (_project, _killed, escapee) = killed_run_with_an_escapee();
    let mut other = Supervise::with("web: chaos say up sleep 1h\n").start();
    other.line("web.1", "up");
    let seen = other.is_stopped();
    assert!(seen.events("leftovers_found", "").is_empty(), "{seen}");
    assert!(is_alive(escapee));
}
