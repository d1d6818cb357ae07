//! Orphans: whose they become, that all of them are reaped, and that none outlives us; with the control of each check: the same
//! where nobody lets us adopt them.

use std::fmt::Write;

use crate::harness::{
    Call, Caller, Judge, Run, Supervise, Verdict, can_judge, can_make_pid_namespaces, eventually, is_alive,
    zombies_of,
};

const ORPHANS: usize = 100;

/// A hundred processes whose parents end before they do, after up to 300 ms; every third in a session of its own.
fn orphans() -> String {
    let mut line = "chaos".to_owned();
    let mut random: u32 = 0x2545_f491;
    for n in 0..ORPHANS {
        // xorshift32: the same lifetimes in every run.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let session = if n % 3 == 0 { "setsid" } else { "" };
        write!(line, " fork {session} fork sleep {}ms end end", 1 + random % 300).expect("memory is left");
    }
    line + " say ready gate gate"
}

/// Whether a call would make the supervisor the parent of orphans.
fn would_adopt(call: &Call) -> bool {
    call.caller != Caller::Other && call.int(0) == libc::PR_SET_CHILD_SUBREAPER
}

/// A system that lets nobody but a test's own programs adopt orphans, as a sandbox may.
fn no_subreaper() -> Judge {
    let rule = |call: &Call| if would_adopt(call) { Verdict::Fail(libc::EPERM) } else { Verdict::Go };
    Judge::new(&[libc::SYS_prctl], rule)
}

/// How many orphans the process around the supervisor got.
fn adopted_by_others(run: &Run) -> usize {
    run.wait_for("`adopted N`", |seen| {
        let text = seen.err_text();
        text.lines().find_map(|line| line.strip_prefix("adopted ")?.parse().ok())
    })
}

/// Runs the hundred to their end and says how many went to the process around us.
fn a_hundred_orphans(supervise: &Supervise) -> (usize, Run) {
    let chaos = supervise.directory().top().join("bin/chaos");
    let mut run = supervise.clone().under([chaos.as_os_str(), "adopt".as_ref()]).gate("gate").start();
    run.line("job.1", "ready");
    run.directory().open_gate("gate");
    run.event("completed", "job.1");
    run.ends_with(0);
    (adopted_by_others(&run), run)
}

#[test]
fn fault_65_a_hundred_orphans_are_ours_and_none_is_anybody_elses() {
    let (adopted, run) = a_hundred_orphans(&Supervise::with(format!("job: {}\n", orphans())));
    assert_eq!(adopted, 0, "{}", run.so_far());
}

#[test]
fn control_65_where_we_are_no_subreaper_they_are_somebody_elses() {
    if !can_judge() {
        return;
    }
    let supervise = Supervise::with(format!("job: {}\n", orphans())).judged(no_subreaper());
    let (adopted, run) = a_hundred_orphans(&supervise);
    assert!(adopted >= ORPHANS, "{adopted} orphans\n{}", run.so_far());
}

#[test]
fn fault_65_as_pid_1_a_hundred_orphans_leave_no_zombie() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with(format!("job: {}\nlast: chaos sleep 1h\n", orphans()))
        .gate("gate")
        .in_pid_namespace()
        .start();
    run.line("job.1", "ready");
    let supervisor = run.pid();
    let left = || run.alive().into_iter().filter(|(_, command)| command.contains("ready")).count();
    // The leader alone, whose children have ended; its own zombies are not ours.
    eventually("the end of the orphans", || (left() == 1).then_some(()), || format!("{:?}", run.alive()));
    let zombies = || zombies_of(supervisor);
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    run.directory().open_gate("gate");
    run.event("completed", "job.1");
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    run.is_stopped();
}

#[test]
fn fault_66_without_a_subreaper_that_is_said_once_and_an_escapee_hinders_no_end() {
    if !can_judge() {
        return;
    }
    let mut run = Supervise::with("web: chaos fork setsid pid escapee sleep 1h end say up sleep 1h\n")
        .args(["web=2"])
        .judged(no_subreaper())
        .start();
    let escapee = run.pid_said("web.1", "escapee");
    run.pid_said("web.2", "escapee");
    run.line("web.1", "up");
    run.signal(libc::SIGTERM);
    let left = run.ends_leaving(0);
    assert!(left.iter().any(|(pid, _)| *pid == escapee), "it was not to be seen: {left:?}\n{}", run.so_far());
    let seen = run.so_far();
    let said = seen.events("escapees_unseen", "");
    assert_eq!(said.len(), 1, "{seen}");
    assert!(said[0].message().contains("PR_SET_CHILD_SUBREAPER"), "{seen}");
}

#[test]
fn fault_66_without_a_subreaper_a_group_is_still_gone_before_its_instance_is() {
    if !can_judge() {
        return;
    }
    // The member is asked when its leader is gone, and takes its time.
    let member = "fork on TERM sleep-then-exit 200ms 0 pid member sleep 1h end";
    let mut run = Supervise::with(format!("web: chaos {member} sleep 1h\n")).judged(no_subreaper()).start();
    let member = run.pid_said("web.1", "member");
    run.is_stopped();
    assert!(!is_alive(member));

    let deaf = "fork ignore TERM pid member sleep 1h end";
    let mut run = Supervise::with(format!("web: chaos {deaf} sleep 1h\n"))
        .args(["-t", "300ms"])
        .judged(no_subreaper())
        .start();
    run.pid_said("web.1", "member");
    run.signal(libc::SIGTERM);
    run.ends_with(137);
}

/// A daemon that nobody can tell whose it is; it says when it is asked to end, and takes a moment.
const NOBODYS: &str = "fork setsid fork wipe on TERM sleep-then-say 200ms asked pid daemon sleep 1h end end";

#[test]
fn as_pid_1_an_orphan_that_nobody_owns_is_asked_to_end_when_everything_is_done() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with(format!("job: chaos {NOBODYS} gate gate\n"))
        .gate("gate")
        .args(["-t", "10m"])
        .in_pid_namespace()
        .start();
    run.rest("job.1", "daemon ");
    run.directory().open_gate("gate");
    let seen = run.ends_with(0);
    let stopped = &seen.events("orphans_stopped", "")[0];
    assert_eq!(stopped.json["processes"][0]["name"], "chaos", "{seen}");
    assert!(seen.said("job.1").iter().any(|line| line == "asked"), "{seen}");
}

#[test]
fn as_pid_1_an_orphan_that_nobody_owns_is_asked_with_all_others_when_everything_ends() {
    if !can_make_pid_namespaces() {
        return;
    }
    let line = format!("chaos {NOBODYS} on TERM sleep-then-say 200ms leader-asked say up sleep 1h");
    let mut run = Supervise::with(format!("web: {line}\nother: chaos sleep 1h\n"))
        .args(["-t", "10m"])
        .in_pid_namespace()
        .start();
    run.line("web.1", "up");
    run.rest("web.1", "daemon ");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    for words in ["asked", "leader-asked"] {
        assert!(seen.said("web.1").iter().any(|line| line == words), "{words}: {seen}");
    }
    assert!(seen.events("killed", "").is_empty(), "{seen}");
}

#[test]
fn as_pid_1_an_orphan_that_is_deaf_to_it_gets_the_drain_and_no_more() {
    if !can_make_pid_namespaces() {
        return;
    }
    let deaf = "fork setsid fork wipe ignore TERM pid daemon sleep 1h end end";
    let mut run = Supervise::with(format!("job: chaos {deaf} gate gate\n"))
        .gate("gate")
        .args(["-t", "300ms"])
        .in_pid_namespace()
        .start();
    run.rest("job.1", "daemon ");
    run.directory().open_gate("gate");
    // Nobody asked us to end: what everything ended with is the code.
    let seen = run.ends_with(0);
    assert_eq!(seen.events("orphans_stopped", "").len(), 1, "{seen}");
}

#[test]
fn as_pid_1_what_may_stay_is_asked_too_since_it_cannot() {
    if !can_make_pid_namespaces() {
        return;
    }
    let mut run = Supervise::with(
        "job: chaos fork on TERM sleep-then-say 200ms asked pid left sleep 1h end gate gate\n",
    )
    .gate("gate")
    .spec("formation:\n  job: { leftovers: leave }\n")
    .args(["-t", "10m"])
    .in_pid_namespace()
    .start();
    run.rest("job.1", "left ");
    run.directory().open_gate("gate");
    let seen = run.ends_with(0);
    assert!(seen.said("job.1").iter().any(|line| line == "asked"), "{seen}");
}

#[test]
fn the_end_comes_with_the_last_process_and_no_grace_is_waited_out() {
    if !can_make_pid_namespaces() {
        return;
    }
    // One ends at once, one takes its time: the drain would be ten minutes.
    let mut run = Supervise::with(
        "a: chaos on TERM exit 0 say up sleep 1h\nb: chaos on TERM sleep-then-exit 300ms 0 say up sleep 1h\n",
    )
    .args(["-t", "10m"])
    .in_pid_namespace()
    .start();
    run.line("a.1", "up");
    run.line("b.1", "up");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    let last = seen.events("exited", "b.1")[0].timestamp();
    let waited = seen.events("ended", "")[0].millis_after(last);
    assert!(waited < 500, "{waited} ms from the last process to the end\n{seen}");
    let order: Vec<usize> = [("exited", "a.1"), ("exited", "b.1"), ("ended", "")]
        .map(|(event, of)| seen.events(event, of)[0].place)
        .into();
    assert!(order.is_sorted(), "{seen}");
}
