//! What a run leaves behind when its supervisor is killed, and what the next start makes of it: the odd ones.

use crate::harness::{Run, Supervise, can_make_pid_namespaces, eventually, is_alive};

/// A run whose supervisor is killed when all of these have been heard of, the leader's pid last; it has ended by now.
fn killed(project: &Supervise, heard: &[&str]) -> Run {
    let mut run = project.start();
    for beginning in heard {
        run.rest("web.1", beginning);
    }
    let leader = run.pid_said("web.1", "leader");
    run.is_killed();
    eventually("the end of the leader", || (!is_alive(leader)).then_some(()), || run.so_far().to_string());
    run
}

#[test]
fn an_interrupt_while_leftovers_are_stopped_ends_us_and_nothing_is_started() {
    let project =
        Supervise::with("web: chaos fork setsid ignore TERM pid escapee sleep 1h end pid leader sleep 1h\n")
            .args(["-t", "10m"]);
    let first = killed(&project, &["escapee "]);
    let escapee = first.pid_said("web.1", "escapee");
    let mut next = project.start();
    next.event("leftovers_found", "");
    next.signal(libc::SIGINT);
    next.ends_with(130);
    let seen = next.so_far();
    assert!(seen.events("started", "").is_empty(), "{seen}");
    assert!(is_alive(escapee), "its drain is not over");
}

#[test]
fn what_leftovers_start_while_they_are_stopped_is_stopped_too() {
    let heir = "trap 'setsid sleep 1000 & exit' TERM; echo ready; while :; do sleep 0.05; done";
    let project = Supervise::with(format!("web: setsid sh -c \"{heir}\" & exec chaos pid leader sleep 1h\n"))
        .args(["-t", "1s"]);
    let run = killed(&project, &["ready"]);
    let mut next = project.start();
    next.event("leftovers_found", "");
    next.event("started", "web.1");
    assert!(run.alive().is_empty(), "what the killed run left: {:?}", run.alive());
    next.line("web.1", "ready");
    // In a drain what is born is somebody's way to end in order: it is not asked, and has until the deadline.
    next.signal(libc::SIGTERM);
    next.ends_with(137);
}

#[test]
fn whoever_starts_us_is_no_leftover_though_a_killed_run_started_it() {
    let project = Supervise::with("web: chaos env SUPERVISE_INSTANCE pid leader sleep 1h\n");
    let first = killed(&project, &[]);
    let mark = first.rest("web.1", "SUPERVISE_INSTANCE=");
    let mut next = project
        .env("SUPERVISE_INSTANCE", &mark)
        .under(["sh", "-c", "\"$@\"; echo survived with $? >&2; exit 3", "sh"])
        .start();
    next.pid_said("web.1", "leader");
    next.signal(libc::SIGTERM);
    let seen = next.ends_with(3);
    assert!(seen.err_text().contains("survived with 0"), "{seen}");
    assert!(seen.events("leftovers_found", "").is_empty(), "{seen}");
}

#[test]
fn a_living_formation_in_another_pid_namespace_is_none_of_our_business() {
    if !can_make_pid_namespaces() {
        eprintln!("skipped: no pid namespace can be made here");
        return;
    }
    let project = Supervise::with("web: chaos pid leader sleep 1h\n").in_pid_namespace();
    let mut inner = project.start();
    inner.event("started", "web.1");
    // They share the directory of the sockets: without one of its own it would be refused.
    let mut outer = project.under::<&str>([]).args(["--socket", "none"]).start();
    outer.event("started", "web.1");
    let seen = outer.is_stopped();
    assert!(seen.events("leftovers_found", "").is_empty(), "{seen}");
    let seen = inner.is_stopped();
    assert_eq!(seen.events("started", "").len(), 1, "nobody touched it: {seen}");
}
