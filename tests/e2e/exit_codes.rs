//! With what code the supervisor ends: every reason there is, and which of two weighs more.

use std::time::Duration;

use crate::harness::{Setup, Supervise, can_make_pid_namespaces, send};

/// Only the failures are of interest, not their restarts.
const NEVER: [&str; 2] = ["--restart", "never"];

#[test]
fn two_where_what_should_run_is_wrong_and_nothing_was_started() {
    let good = "web: chaos touch started sleep 1h\n";
    let cases: [(&str, Supervise); 6] = [
        ("an unknown flag", Supervise::with(good).args(["--no-such-flag"])),
        ("an unknown type", Supervise::with(good).args(["wbe=2"])),
        ("a line that is no entry", Supervise::with(format!("{good}no colon here\n"))),
        ("a line in an env file", Supervise::with(good).file(".env", "1BAD=x\n")),
        ("a key in the spec", Supervise::with(good).spec("formation:\n  web: { quantitty: 2 }\n")),
        ("a PORT that is no number", Supervise::with(good).without_port_argument().env("PORT", "forego")),
    ];
    for (what, supervise) in cases {
        let mut run = supervise.start();
        let seen = run.ends_with(2);
        assert!(!seen.err.is_empty(), "{what}: somebody should say why");
        assert!(!run.directory().app("started").exists(), "{what}: nothing is started");
    }
}

#[test]
fn the_code_of_the_essential_child_that_failed() {
    for code in [42, 132, 200] {
        let mut run =
            Supervise::with(format!("foo: exit {code}\nother: chaos sleep 1h\n")).args(NEVER).start();
        let seen = run.ends_with(code);
        let ended = &seen.events("ended", "")[0];
        assert_eq!(ended.number("code"), i64::from(code), "{seen}");
        assert_eq!(ended.json["because"], "foo.1", "{seen}");
    }
}

#[test]
fn a_hundred_and_twenty_eight_and_the_signal_of_the_child_that_was_killed() {
    for (signal, code) in [("SEGV", 139), ("KILL", 137), ("TERM", 143)] {
        let mut run = Supervise::with(format!("foo: chaos kill-self {signal}\n")).args(NEVER).start();
        let seen = run.ends_with(code);
        let exited = &seen.events("exited", "foo.1")[0];
        assert!(exited.message().contains(&format!("was killed by SIG{signal}")), "{}", exited.message());
    }
}

#[test]
fn the_first_of_several_failures() {
    let mut run = Supervise::with("a: chaos exit 200\nb: chaos gate gate exit 65\n")
        .gate("gate")
        .args(NEVER)
        .spec("defaults: { essential: false }\n")
        .start();
    run.event("failed", "a.1");
    run.directory().open_gate("gate");
    run.ends_with(200);
}

#[test]
fn a_later_success_does_not_hide_a_failure() {
    let mut run = Supervise::with("failure: false\nsuccess: chaos gate gate\n")
        .gate("gate")
        .args(NEVER)
        .spec("defaults: { essential: false }\n")
        .start();
    run.event("failed", "failure.1");
    run.directory().open_gate("gate");
    run.ends_with(1);
}

#[test]
fn an_essential_type_has_failed_only_when_every_instance_has() {
    let mut run =
        Supervise::with("job: chaos crash-until lives 1 7 gate gate exit 8\nother: chaos sleep 1h\n")
            .gate("gate")
            .args(NEVER)
            .args(["job=2"])
            .start();
    run.event("failed", "");
    assert!(run.so_far().events("draining", "").is_empty(), "one of two still runs");
    run.directory().open_gate("gate");
    let seen = run.ends_with(8);
    assert_eq!(seen.events("draining", "").len(), 1, "{seen}");
}

#[test]
fn a_type_that_is_not_essential_fails_alone() {
    let mut run = Supervise::with("job: chaos exit 3\nother: chaos sleep 1h\n")
        .args(NEVER)
        .spec("formation:\n  job: { essential: false }\n")
        .start();
    run.event("failed", "job.1");
    run.is_stopped();
}

#[test]
fn under_fail_fast_the_first_exit_drains_all_and_its_code_is_ours() {
    for (command, code) in [("true && no-such-command", 127), ("true && exit 2", 2), ("chaos exit 0", 0)] {
        let mut run =
            Supervise::with(format!("one: {command}\nother: chaos sleep 1h\n")).args(["--fail-fast"]).start();
        let seen = run.ends_with(code);
        assert_eq!(seen.events("started", "one.1").len(), 1, "{seen}");
    }
}

#[test]
fn under_fail_fast_a_child_killed_from_outside_is_137() {
    let mut run =
        Supervise::with("a: chaos pid alive sleep 1h\nb: chaos sleep 1h\n").args(["--fail-fast"]).start();
    send(run.pid_said("a.1", "alive"), libc::SIGKILL);
    let seen = run.ends_with(137);
    assert!(seen.events("exited", "a.1")[0].message().contains("was killed by SIGKILL"), "{seen}");
}

#[test]
fn a_hundred_and_thirty_seven_where_we_had_to_kill() {
    let mut run = Supervise::with("a: chaos ignore TERM say deaf sleep 1h\n").args(["-t", "300ms"]).start();
    run.line("a.1", "deaf");
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

#[test]
fn a_kill_weighs_more_than_int_and_a_failure_more_than_a_kill() {
    let mut run = Supervise::with("a: chaos ignore TERM say deaf sleep 1h\n").args(["-t", "300ms"]).start();
    run.line("a.1", "deaf");
    run.signal(libc::SIGINT);
    run.ends_with(137);

    let mut run = Supervise::with("a: chaos ignore TERM say deaf sleep 1h\nb: chaos gate gate exit 4\n")
        .gate("gate")
        .args(["-t", "300ms"])
        .args(NEVER)
        .start();
    run.line("a.1", "deaf");
    run.directory().open_gate("gate");
    let seen = run.ends_with(4);
    assert_eq!(seen.events("killed", "a.1").len(), 1, "{seen}");
}

#[test]
fn a_hundred_and_thirty_when_drained_on_int() {
    let mut run = Supervise::with("a: chaos sleep 1h\n").start();
    run.event("started", "a.1");
    run.signal(libc::SIGINT);
    run.ends_with(130);
}

#[test]
fn a_shell_that_starts_us_in_the_background_takes_nothing_from_int() {
    // It ignores INT and QUIT for what it starts with `&`; CHLD is somebody's careless daemon.
    let mut run = Supervise::with("a: chaos sleep 1h\nb: chaos\n")
        .setup(Setup::Ignore(libc::SIGINT))
        .setup(Setup::Ignore(libc::SIGQUIT))
        .setup(Setup::Ignore(libc::SIGCHLD))
        .start();
    run.event("completed", "b.1");
    run.signal(libc::SIGINT);
    run.ends_with(130);
}

#[test]
fn zero_when_drained_on_any_other_signal() {
    for signal in [libc::SIGTERM, libc::SIGPWR, libc::SIGQUIT, libc::SIGRTMIN() + 3] {
        let mut run = Supervise::with("a: chaos sleep 1h\n").start();
        run.event("started", "a.1");
        run.signal(signal);
        let seen = run.ends_with(0);
        assert!(seen.events("killed", "").is_empty(), "signal {signal}: {seen}");
    }
}

#[test]
fn zero_when_everything_completed() {
    let mut run = Supervise::with("a: chaos say one\nb: chaos sleep 50ms\n").start();
    let seen = run.ends_with(0);
    assert_eq!(seen.events("completed", "").len(), 2, "{seen}");
}

#[test]
fn how_a_child_ends_after_our_stop_signal_never_counts() {
    for action in ["on TERM exit 3", "on TERM sleep-then-exit 100ms 9"] {
        let mut run = Supervise::with(format!("a: chaos {action} say ready sleep 1h\nb: chaos sleep 1h\n"))
            .args(NEVER)
            .start();
        run.line("a.1", "ready");
        run.is_stopped();
    }
}

#[test]
fn a_crash_before_the_stop_does_not_count_where_it_was_restarted() {
    let mut run = Supervise::with("a: chaos crash-until lives 1 3 say ready sleep 1h\n").start();
    run.line("a.1", "ready");
    run.is_stopped();
}

#[test]
fn what_ends_by_itself_ends_soon() {
    let begin = std::time::Instant::now();
    let mut run =
        Supervise::with("a: chaos exit 1\nb: chaos sleep 1h\n").args(NEVER).args(["-t", "60s"]).start();
    run.ends_with(1);
    // The drain that `b` was given is not waited for.
    assert!(begin.elapsed() < Duration::from_secs(50), "{:?}", begin.elapsed());
}

/// Ends a child in each of these ways, some at a time, and looks at our own code; as PID 1 where that is possible.
fn every_end(ends: &[(String, i32)]) {
    let as_pid_1 = can_make_pid_namespaces();
    let workers = 4;
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for (command, code) in ends.iter().skip(worker).step_by(workers) {
                    let run =
                        Supervise::with(format!("job: {command}\n")).args(NEVER).args(["--socket", "none"]);
                    let run = if as_pid_1 { run.in_pid_namespace() } else { run };
                    run.start().ends_with(*code);
                }
            });
        }
    });
}

#[test]
fn as_pid_1_all_256_exit_codes_are_passed_on() {
    let ends: Vec<_> = (0..256).map(|code| (format!("chaos exit {code}"), code)).collect();
    every_end(&ends);
}

#[test]
fn as_pid_1_every_signal_that_ends_a_child_is_told_by_its_number() {
    let harmless = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    let deadly = (1..32).chain(34..=64).filter(|signal| !harmless.contains(signal));
    let ends: Vec<_> = deadly.map(|signal| (format!("chaos kill-self {signal}"), 128 + signal)).collect();
    assert_eq!(ends.len(), 54);
    every_end(&ends);
}
