//! Being stopped: how soon, and with which code.

use std::time::Duration;

use crate::harness::{Recipe, engine, eventually};

/// A shell that says what it hears, and ends on TERM as a program should.
const LISTENER: &str = "web: trap 'echo heard USR1' USR1; trap 'echo heard WINCH' WINCH; trap 'exit 0' TERM; echo up; \
                        while :; do sleep 0.05; done\n";

/// docker's own patience is 10 s, and so long takes whoever is not heard; everything here is idle and ends far below it.
const SOON: Duration = Duration::from_secs(9);

#[test]
fn docker_stop_ends_it_at_once_with_code_0() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, LISTENER).start(&["web=3"]);
    container.says("| up", 3);
    let (took, code) = container.stop();
    assert_eq!(code, 0, "{}", container.logs());
    assert!(took < SOON, "{took:?}: {}", container.logs());
    container.says("exited with code 0", 3);
}

#[test]
fn what_ignores_term_is_killed_by_our_drain_and_not_by_docker() {
    let Some(engine) = engine() else { return };
    let container =
        Recipe::procfile(engine, "web: trap '' TERM; echo up; while :; do sleep 0.1; done\n").start(&[]);
    container.says("| up", 1);
    let (took, code) = container.stop();
    assert_eq!(code, 137, "{}", container.logs());
    // The code alone could be docker's; these lines are written after the drain of 8 s.
    assert!(container.logs().contains("ending with code 137"), "{}", container.logs());
    assert!(took >= Duration::from_millis(7500), "{took:?}: {}", container.logs());
}

#[test]
fn fault_36_every_signal_that_an_engine_sends_is_heard_as_the_first_process() {
    let Some(engine) = engine() else { return };
    for (signal, code) in [("TERM", 0), ("INT", 130), ("QUIT", 0), ("PWR", 0), ("RTMIN+3", 0)] {
        let container = Recipe::procfile(engine, LISTENER).start(&[]);
        container.says("| up", 1);
        container.kill(signal);
        assert_eq!(container.ended(), code, "{signal}: {}", container.logs());
        container.says("web.1 exited with code 0", 1);
    }
}

#[test]
fn fault_36_a_signal_that_comes_before_anything_runs_is_not_lost() {
    let Some(engine) = engine() else { return };
    for _ in 0..5 {
        let container = Recipe::procfile(engine, LISTENER).start(&[]);
        container.kill("TERM");
        // The shell may not have set its traps yet: then it is killed by the TERM that we pass on, which does not count.
        assert_eq!(container.ended(), 0, "{}", container.logs());
    }
}

#[test]
fn signals_that_do_not_end_it_reach_the_processes() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, LISTENER).start(&[]);
    container.says("| up", 1);
    container.kill("USR1");
    container.says("| heard USR1", 1);
    container.kill("WINCH");
    container.says("| heard WINCH", 1);
    // No terminal: the files are read again, and nothing changes.
    container.kill("HUP");
    container.says("reload", 1);
    assert_eq!(container.stop().1, 0, "{}", container.logs());
    assert_eq!(container.logs().matches("| up").count(), 1, "{}", container.logs());
}

#[test]
fn fault_74_behind_dockers_init_everything_is_the_same() {
    let Some(engine) = engine() else { return };
    let container = Recipe::procfile(engine, &format!("{LISTENER}orphans: {}", crate::platform::ORPHANS))
        .options(&["--init"])
        .start(&["orphans=2"]);
    container.says("| up", 1);
    // Not the first process: that is docker's, and we are its child.
    let first = container.answers(&["busybox", "cat", "/proc/1/cmdline"]);
    assert!(first.contains("docker-init") || first.contains("tini"), "{first:?}");
    crate::platform::no_zombies(&container);
    container.kill("USR1");
    container.says("| heard USR1", 1);
    let (took, code) = container.stop();
    assert_eq!(code, 0, "{}", container.logs());
    assert!(took < SOON, "{took:?}: {}", container.logs());

    let interrupted = Recipe::procfile(engine, LISTENER).options(&["--init"]).start(&[]);
    interrupted.says("| up", 1);
    interrupted.kill("INT");
    assert_eq!(interrupted.ended(), 130, "{}", interrupted.logs());
    eventually("its words", || interrupted.logs(), |logs| logs.contains("SIGINT: draining"));
}
