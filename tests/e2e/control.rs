//! The harness itself: what it would miss, every other test would miss.

use std::process::{Command, Stdio};

use crate::harness::{Supervise, eventually, marked};

#[test]
fn control_61_the_leak_check_sees_a_process_that_lives_and_only_as_long_as_it_lives() {
    let mark = format!("control-{}", std::process::id());
    assert!(marked(&mark).is_empty());
    let mut sleep =
        Command::new("sleep").arg("1000").env("E2E_MARK", &mark).spawn().expect("there is a `sleep`");
    // In the middle of exec a process has no environment yet.
    let alive = || marked(&mark).into_iter().map(|(_, command)| command).collect::<Vec<_>>();
    eventually("the sleep", || (alive() == ["sleep 1000"]).then_some(()), || format!("{:?}", alive()));
    sleep.kill().expect("it is ours");
    sleep.wait().expect("it is ours");
    assert!(marked(&mark).is_empty());
}

#[test]
fn control_05_the_leak_check_sees_what_has_left_its_group_and_session() {
    let mark = format!("control-session-{}", std::process::id());
    let mut setsid = Command::new("setsid");
    setsid.args(["sleep", "1001"]).env("E2E_MARK", &mark).stdout(Stdio::null());
    let mut child = setsid.spawn().expect("there is a `setsid`");
    let sleeping = || marked(&mark).iter().any(|(_, command)| command == "sleep 1001").then_some(());
    eventually("a sleep in its own session", sleeping, || format!("{:?}", marked(&mark)));
    for (pid, _) in marked(&mark) {
        crate::harness::send(pid, libc::SIGKILL);
    }
    child.wait().expect("it is ours");
    eventually("its end", || marked(&mark).is_empty().then_some(()), || format!("{:?}", marked(&mark)));
}

#[test]
#[should_panic(expected = "seen by everybody")]
fn a_wait_in_vain_shows_everything_that_was_seen() {
    let run = Supervise::with("a: echo seen by everybody\n").start();
    run.line("a.1", "something else");
}

#[test]
#[should_panic(expected = "a test must see the end of what it started")]
fn a_test_that_does_not_see_the_end_fails() {
    let run = Supervise::with("a: sleep 1000\n").start();
    run.event("started", "a.1");
}
