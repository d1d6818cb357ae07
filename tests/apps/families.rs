//! Programs that do not look after their descendants.

use nix::sys::signal::Signal;

use crate::harness::{Project, free_base, on_the_path};

#[test]
fn nothing_of_a_multiprocessing_pool_survives_its_parent() {
    let mut run = Project::new()
        .with("Procfile", "pool: python3 pool.py\n")
        .with_copy("pool.py", "tests/apps/pool.py")
        .supervise(&["start"]);
    run.says_times(" in process ", 4);
    run.grows_to(5);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn a_server_that_puts_itself_into_the_background_is_named_and_stopped() {
    on_the_path("redis-server");
    let base = free_base();
    let run = Project::new()
        .with("Procfile", "cache: redis-server --daemonize yes --port $PORT --save ''\n")
        .supervise(&["start", "-p", &base.to_string()]);
    let exit = run.says("cache.1 exited with code 0");
    assert!(exit.contains("stopping what it left behind") && exit.contains("redis-server"), "{exit}");
    run.says("cache.1 completed");
    run.ends_with(0);
}

#[test]
fn both_halves_of_a_shell_line_end_with_it() {
    let mut run = Project::new()
        .with("Procfile", "both: (while :; do sleep 1; done) & echo up; sleep 600 & wait\n")
        .supervise(&["start"]);
    run.says("both.1    | up");
    run.grows_to(3);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}

#[test]
fn what_has_hidden_from_everybody_does_not_outlive_the_run() {
    let hidden = "setsid env -i sleep 600 & sleep 600";
    let mut run =
        Project::new().with("Procfile", &format!("a: {hidden}\nb: {hidden}\n")).supervise(&["start"]);
    run.grows_to(6);
    run.signal(Signal::SIGTERM);
    run.ends_with(0);
}
