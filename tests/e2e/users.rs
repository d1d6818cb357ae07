//! What users of other runners complained about, in the words of their own Procfiles: plain shell, no chaos.

use std::time::{Duration, Instant};

use crate::harness::{Stdout, Supervise, is_alive};

#[test]
fn four_short_sleeps_end_by_themselves() {
    let sleeps = "a: sleep 0.1\nb: sleep 0.1\nc: sleep 0.1\nd: sleep 0.1\n";
    Supervise::with(sleeps).start().ends_with(0);
}

#[test]
fn four_long_sleeps_end_at_once_on_ctrl_c() {
    let sleeps = "a: sleep 1000\nb: sleep 1000\nc: sleep 1000\nd: sleep 1000\n";
    let mut run = Supervise::with(sleeps).args(["-t", "1m"]).start();
    run.event("started", "d.1");
    let begin = Instant::now();
    run.signal(libc::SIGINT);
    run.ends_with(130);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_shell_that_waits_for_its_background_job_leaves_no_job() {
    let mut run = Supervise::with("a: sleep 6262 & wait\nb: (sleep 6263; echo x); true\n").start();
    run.event("started", "b.1");
    let both = || {
        let alive = run.alive();
        let sleeping =
            |seconds: &str| alive.iter().any(|(_, command)| command == &format!("sleep {seconds}"));
        (sleeping("6262") && sleeping("6263")).then_some(())
    };
    crate::harness::eventually("both sleeps", both, || run.so_far().to_string());
    run.is_stopped();
}

#[test]
fn a_leader_that_obeys_and_a_child_that_does_not_are_both_gone_in_the_end() {
    let mut run = Supervise::with(
        "a: (trap '' TERM; echo deaf; while :; do sleep 1; done) & trap 'exit 0' TERM; wait\n",
    )
    .args(["-t", "1"])
    .start();
    run.line("a.1", "deaf");
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    run.ends_with(137);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_loop_that_traps_term_is_killed_after_a_second() {
    let mut run =
        Supervise::with("a: trap '' TERM; echo deaf; while :; do sleep 1; done\n").args(["-t", "1"]).start();
    run.line("a.1", "deaf");
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    run.ends_with(137);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_background_job_that_outlives_its_shell_delays_no_end() {
    let begin = Instant::now();
    let mut run = Supervise::with("a: (sleep 1000; echo late) & echo lead; exit 0\n").start();
    let seen = run.ends_with(0);
    assert_eq!(seen.said("a.1"), ["lead"], "{seen}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_partial_line_of_one_lets_the_other_tick_on() {
    let mut run =
        Supervise::with("a: printf partial; sleep 1000\nb: while :; do echo tick; sleep 0.05; done\n")
            .start();
    run.wait_for("ten ticks", |seen| (seen.said("b.1").len() >= 10).then_some(()));
    let seen = run.is_stopped();
    assert_eq!(seen.said("a.1"), ["partial"], "{seen}");
}

#[test]
fn odd_bytes_and_blank_lines_arrive() {
    let mut run = Supervise::with("a: printf '\\377\\376x\\n\\n\\ny\\n'\n").format("raw").start();
    let seen = run.ends_with(0);
    let expected: [&[u8]; 4] = [b"\xff\xfex", b"", b"", b"y"];
    assert_eq!(seen.out, expected, "{seen}");
}

#[test]
fn head_ends_it_all() {
    let mut run = Supervise::with("a: while :; do echo tick; sleep 0.02; done\nb: sleep 1000\n")
        .format("text")
        .stdout(Stdout::HangUpAfter(3))
        .start();
    run.ends_with(0);
}

#[test]
fn closing_the_terminal_ends_it_all() {
    let mut run = Supervise::with("a: sleep 1000\nb: while :; do echo tick; sleep 0.02; done\n")
        .format("text")
        .stdout(Stdout::Terminal)
        .start();
    run.wait_for("a tick", |seen| seen.lines().iter().any(|line| line.contains("tick")).then_some(()));
    run.hang_up();
    run.ends_with(0);
}

#[test]
fn a_start_after_a_kill_is_no_already_running() {
    let project = Supervise::with("a: sleep 1000\n");
    let mut killed = project.start();
    let child = killed.event("started", "a.1").pid();
    killed.is_killed();
    let mut next = project.start();
    next.event("started", "a.1");
    assert!(!is_alive(child));
    next.is_stopped();
}

#[test]
fn a_project_far_down_the_tree_is_no_problem() {
    let project = Supervise::with("a: pwd\n").args(["--restart", "never"]);
    let deep = project.directory().app(&["a-long-name-of-a-directory"; 10].join("/"));
    std::fs::create_dir_all(&deep).expect("the directory is ours");
    std::fs::write(deep.join("Procfile"), "a: pwd\n").expect("the directory is ours");
    let mut run = project.args(["-f"]).args([deep.join("Procfile")]).start();
    run.line("a.1", &deep.to_string_lossy());
    run.ends_with(0);
}

#[test]
fn a_comment_and_a_last_line_without_its_end_are_fine() {
    let mut run = Supervise::with("# foo: echo foo\n  # bar: echo bar\n\nbaz: echo baz").start();
    let seen = run.ends_with(0);
    assert_eq!(seen.events("started", "").len(), 1, "{seen}");
    assert_eq!(seen.said("baz.1"), ["baz"], "{seen}");
}
