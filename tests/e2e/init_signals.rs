//! Every signal there is, sent to us as PID 1 and as anybody else: none is lost, and none ends or stops us that should not.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{
    Call, Caller, Judge, Run, Stdout, Supervise, Verdict, can_judge, can_make_pid_namespaces, send, state,
};

/// signal(7): the C library keeps 32 and 33 for itself.
fn all_signals() -> impl Iterator<Item = i32> {
    (1..32).chain(34..=64)
}

/// What becomes of a signal that is sent to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Every leader with a handler gets it.
    Passed,
    /// It means something to us, and no child hears of it as such.
    Ours,
    /// It says that we have made a mistake: nobody gets it. As PID 1 nothing comes of it.
    Mistake,
    /// Nothing comes of it.
    Nothing,
    /// Nobody can do anything about it.
    Kernel,
}

fn fate(signal: i32) -> Fate {
    match signal {
        libc::SIGKILL | libc::SIGSTOP => Fate::Kernel,
        libc::SIGTTIN | libc::SIGTTOU => Fate::Nothing,
        libc::SIGSEGV
        | libc::SIGBUS
        | libc::SIGFPE
        | libc::SIGILL
        | libc::SIGABRT
        | libc::SIGTRAP
        | libc::SIGSYS => Fate::Mistake,
        libc::SIGHUP
        | libc::SIGINT
        | libc::SIGQUIT
        | libc::SIGTERM
        | libc::SIGPWR
        | libc::SIGTSTP
        | libc::SIGCONT
        | libc::SIGCHLD => Fate::Ours,
        _ if signal == libc::SIGRTMIN() + 3 => Fate::Ours,
        _ => Fate::Passed,
    }
}

/// A process that says `got N` for every signal that can be caught.
fn listener() -> String {
    let mut line = "chaos".to_owned();
    for signal in all_signals().filter(|signal| fate(*signal) != Fate::Kernel) {
        write!(line, " on {signal} say got-{signal}").expect("memory is left");
    }
    line + " pid up sleep 1h"
}

/// Sends everything that is to be passed on and sees it arrive, once each and nothing else.
fn everything_is_passed(run: &Run) {
    run.rest("web.1", "up ");
    let passed: Vec<i32> = all_signals().filter(|signal| fate(*signal) == Fate::Passed).collect();
    for signal in &passed {
        run.signal(*signal);
        run.line("web.1", &format!("got-{signal}"));
    }
    let heard = run.so_far().rests("web.1", "got-");
    let sent: Vec<String> = passed.iter().map(ToString::to_string).collect();
    assert_eq!(heard, sent, "{}", run.so_far());
}

/// What must not end or stop us, and then that we are there.
fn nothing_comes_of(run: &Run, signals: impl Iterator<Item = i32>) {
    for signal in signals {
        run.signal(signal);
    }
    run.signal(libc::SIGUSR1);
    run.wait_for("another USR1", |seen| {
        let count =
            seen.said("web.1").iter().filter(|line| *line == &format!("got-{}", libc::SIGUSR1)).count();
        (count == 2).then_some(())
    });
    assert!(matches!(state(run.pid()), Some('S' | 'R')), "{:?}", state(run.pid()));
}

#[test]
fn fault_41_as_pid_1_every_signal_is_passed_on_or_means_something_or_comes_to_nothing() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run =
        Supervise::with(format!("web: {}\n", listener())).args(["-t", "300ms"]).in_pid_namespace().start();
    everything_is_passed(&run);
    let harmless = |signal: &i32| {
        matches!(fate(*signal), Fate::Mistake | Fate::Nothing)
            || [libc::SIGTSTP, libc::SIGCHLD].contains(signal)
    };
    nothing_comes_of(&run, all_signals().filter(harmless));
    // There is no terminal: to read the files again.
    run.signal(libc::SIGHUP);
    run.event("reloaded", "");
    run.signal(libc::SIGTERM);
    // Its TERM is heard, and only said: it is killed.
    run.line("web.1", &format!("got-{}", libc::SIGTERM));
    run.ends_with(137);
}

#[test]
fn fault_41_not_as_pid_1_the_same_signals_are_passed_on() {
    let mut run = Supervise::with(format!("web: {}\n", listener())).args(["-t", "100ms"]).start();
    everything_is_passed(&run);
    nothing_comes_of(&run, [libc::SIGTTIN, libc::SIGTTOU, libc::SIGCHLD].into_iter());
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

#[test]
fn fault_41_a_signal_that_the_kernel_sends_for_a_write_of_ours_is_not_passed_on() {
    // Our reader hangs up while we go on: every write is an EPIPE, and comes with a SIGPIPE.
    let line = "chaos on PIPE touch got-pipe loop tick 5ms";
    let mut run = Supervise::with(format!("web: {line}\nlate: chaos gate gate touch alive sleep 1h\n"))
        .gate("gate")
        .args(["--when-gone", "drop"])
        .stdout(Stdout::HangUpAfter(10))
        .start();
    run.wait_for("the reader has gone", |seen| seen.out_ended.then_some(()));
    run.directory().open_gate("gate");
    let alive = run.directory().app("alive");
    crate::harness::eventually(
        "a child that goes on",
        || alive.exists().then_some(()),
        || run.so_far().to_string(),
    );
    assert!(!run.directory().app("got-pipe").exists(), "{}", run.so_far());
    run.is_stopped();
}

/// Sends signals while the supervisor stands between its first instruction and the moment when it begins to read them.
fn early(signals: &'static [i32]) -> Judge {
    let sent = AtomicBool::new(false);
    Judge::new(&[libc::SYS_signalfd4], move |call: &Call| {
        if call.caller == Caller::Loop && !sent.swap(true, Ordering::Relaxed) {
            for signal in signals {
                send(call.pid, *signal);
            }
        }
        Verdict::Go
    })
}

#[test]
fn fault_36_what_comes_before_we_read_signals_is_not_lost() {
    if !can_judge() {
        return;
    }
    let supervise = |signals| Supervise::with("web: chaos sleep 1h\n").judged(early(signals));
    let mut run = supervise(&[libc::SIGTERM]).start();
    run.ends_with(0);
    let mut run = supervise(&[libc::SIGINT]).start();
    run.ends_with(130);
    if can_make_pid_namespaces() {
        let mut run = supervise(&[libc::SIGTERM]).in_pid_namespace().start();
        let seen = run.ends_with(0);
        assert_eq!(seen.events("draining", "").len(), 1, "{seen}");
        let mut run = supervise(&[libc::SIGHUP]).in_pid_namespace().start();
        run.event("reloaded", "");
        run.is_stopped();
    }
}

/// As `docker run -t`: PID 1 has a terminal.
fn pid_1_on_a_terminal(procfile: &str) -> Run {
    Supervise::with(procfile)
        .args(["-t", "10m"])
        .in_pid_namespace()
        .stdout(Stdout::PipeBesideTerminal)
        .start()
}

#[test]
fn as_pid_1_with_a_terminal_ctrl_c_drains_and_ctrl_z_does_nothing() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = pid_1_on_a_terminal("web: chaos on TERM sleep-then-say 100ms drained say up sleep 1h\n");
    run.line("web.1", "up");
    run.signal(libc::SIGTSTP);
    run.types(b"\x03");
    let seen = run.ends_with(130);
    assert_eq!(seen.said("web.1"), ["up", "drained"], "{seen}");
    assert!(seen.events("suspended", "").is_empty(), "{seen}");
}

#[test]
fn as_pid_1_with_a_terminal_quit_drains_and_so_does_its_hangup() {
    if !can_make_pid_namespaces() {
        return;
    }
    for signal in [libc::SIGQUIT, libc::SIGHUP] {
        let mut run =
            pid_1_on_a_terminal("web: chaos on TERM sleep-then-say 100ms drained say up sleep 1h\n");
        run.line("web.1", "up");
        run.signal(signal);
        let seen = run.ends_with(0);
        assert_eq!(seen.said("web.1"), ["up", "drained"], "signal {signal}: {seen}");
    }
}
