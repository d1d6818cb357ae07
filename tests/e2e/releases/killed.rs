//! SIGKILL for the supervisor at any moment of a deploy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::App;
use crate::harness::{Caller, Judge, Run, Verdict, can_judge, eventually, is_alive, send};

/// A web that leaves somebody behind who survives it.
const WEB: &str =
    "web: chaos env SUPERVISE_RELEASE_ID fork setsid ignore TERM pid escapee sleep 1h end pid leader";

/// v1 works; v2 waits in its release phase, and never becomes ready.
fn two_releases() -> App {
    let app = App::new("");
    app.gate("phase");
    app.writes(
        "supervise.yml",
        "formation: { web: { port: false, drain: 1s, health: { startup: { notify: true } } } }\n",
    );
    app.release(&format!("{WEB} notify READY=1 sleep 1h\n"));
    app.release(&format!("{WEB} sleep 1h\nrelease: chaos pid phase gate {{TOP}}/phase\n"));
    app
}

/// After the kill: nothing is broken, and what was current runs again, on its own.
fn comes_back(app: &App, mut killed: Run, current: &str) {
    killed.is_killed();
    let leaders = killed.so_far();
    for (process, beginning) in [("web.1", "leader "), ("run.1", "phase ")] {
        for leader in leaders.rests(process, beginning) {
            let leader = leader.parse().expect("a pid");
            eventually("its end", || (!is_alive(leader)).then_some(()), || leaders.to_string());
        }
    }
    // Those of whoever was replaced are gone.
    let escapees: Vec<i32> = leaders
        .rests("web.1", "escapee ")
        .iter()
        .chain(&leaders.rests("web.2", "escapee "))
        .map(|pid| pid.parse().expect("a pid"))
        .filter(|pid| is_alive(*pid))
        .collect();
    assert!(!escapees.is_empty(), "{leaders}");
    assert_eq!(app.listed(), (vec!["v2".into(), "v1".into()], Some(current.into())));
    let mut next = app.project.clone().args(["--release", "current"]).start();
    let found = next.event("leftovers_found", "");
    for escapee in &escapees {
        assert!(found.message().contains(&escapee.to_string()), "{escapee}: {}", found.message());
    }
    next.event("started", "web.1");
    assert!(escapees.iter().all(|escapee| !is_alive(*escapee)), "{escapees:?}\n{}", next.so_far());
    assert_eq!(next.rest("web.1", "SUPERVISE_RELEASE_ID="), app.id(current));
    assert_eq!(app.ps(), [("web.1".to_owned(), current.to_owned())].into());
    next.signal(libc::SIGTERM);
    // Whoever is deaf is killed.
    next.ends_with(137);
}

#[test]
fn killed_before_a_deploy_the_release_that_ran_comes_back() {
    let app = two_releases();
    let run = app.runs("v1");
    run.pid_said("web.1", "leader");
    comes_back(&app, run, "v1");
}

#[test]
fn killed_in_the_release_phase_the_release_that_ran_comes_back() {
    let app = two_releases();
    let run = app.runs("v1");
    app.says(&["deploy", "v2"]);
    run.event("release_phase", "");
    run.pid_said("run.1", "phase");
    comes_back(&app, run, "v1");
}

#[test]
fn killed_while_both_run_the_release_that_completed_last_comes_back() {
    let app = two_releases();
    let run = app.runs("v1");
    app.open_gate("phase");
    app.says(&["deploy", "v2"]);
    run.pid_said("web.2", "leader");
    assert_eq!(app.ps()["web.1"], "v1");
    assert_eq!(app.ps()["web.2"], "v2");
    comes_back(&app, run, "v1");
}

/// The calls by which a record is made, or not.
const WRITES: [libc::c_long; 5] =
    [libc::SYS_fsync, libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlink];

#[test]
fn killed_at_any_call_that_writes_down_a_deploy_one_of_the_two_comes_back() {
    if !can_judge() {
        return;
    }
    let mut seen = Vec::new();
    for nth in 1.. {
        let app = App::new("");
        app.release(&format!("{WEB} sleep 1h\n"));
        app.release(&format!("{WEB} say two sleep 1h\n"));
        // How many of the calls are made before the one at which it is killed; none is counted as long as this is 0.
        let left = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&left);
        let judge = Judge::new(&WRITES, move |call| {
            match call.caller {
                // The thread that writes is none of the two that we know by name; Stream is any but the first.
                Caller::Stream => {
                    let before = count.load(Ordering::SeqCst);
                    count.store(before.saturating_sub(1), Ordering::SeqCst);
                    if before == 1 {
                        send(call.pid, libc::SIGKILL);
                    }
                }
                Caller::Loop | Caller::Newborn | Caller::Other => {}
            }
            Verdict::Go
        });
        let app = App { project: app.project.judged(judge) };
        let run = app.runs("v1");
        left.store(nth, Ordering::SeqCst);
        app.says(&["deploy", "v2"]);
        run.wait_for("the end of one or the other", |so_far| {
            (so_far.out_ended || !so_far.events("deployed", "").is_empty()).then_some(())
        });
        if left.load(Ordering::SeqCst) > 0 {
            // Everything was written, and we wait for more.
            let mut run = run;
            app.becomes_current("v2", &run);
            run.signal(libc::SIGTERM);
            run.ends_with(137);
            break;
        }
        let current = app.current().expect("one of them");
        comes_back(&app, run, &current);
        seen.push(current);
    }
    // One after the other, and nothing in between.
    assert!(seen.is_sorted() && seen.first().is_some_and(|first| first == "v1"), "{seen:?}");
    assert!(seen.len() >= 3 && seen.last().is_some_and(|last| last == "v2"), "{seen:?}");
}
