//! Cgroups: who the kernel killed for memory, cells of instances where a cgroup is delegated to us, and what is said where
//! none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{
    Caller, Cgroup, Judge, Run, Setup, Supervise, Verdict, can_judge, eventually, is_alive, send,
};

use crate::verbs::says;

const MIB: u64 = 1 << 20;

/// Two instances: with one alone a stranger would be known as its own.
const TWO: &str =
    "web: chaos fork setsid fork pid daemon forget end end sleep 1h\nworker: chaos say up sleep 1h\n";

#[test]
fn fault_63_who_eats_more_than_there_may_be_was_killed_for_memory_and_is_started_again() {
    let Some(cgroup) = Cgroup::with_memory(64 * MIB) else { return };
    let mut run = Supervise::with(
        "web: chaos gate gate crash-until lives 2 0 sleep 1h\nhog: chaos gate gate eat 200\n",
    )
    .gate("gate")
    .setup(Setup::Join(cgroup.members_fd()))
    .start();
    run.event("started", "hog.1");
    run.directory().open_gate("gate");
    let exited = run.event("exited", "hog.1");
    let beginning = "hog.1 was killed by the kernel for memory (limit 64 MiB) after ";
    assert!(exited.message().starts_with(beginning), "{}", exited.message());
    assert!(exited.message().contains("; restarting "), "{}", exited.message());
    assert_eq!(exited.json["reason"], "oom", "{}", exited.json);
    assert_eq!(exited.json["signal"], "SIGKILL", "{}", exited.json);
    assert_eq!(exited.number("limit_bytes").unsigned_abs(), 64 * MIB);
    run.nth_event(2, "exited", "hog.1");
    let seen = run.is_stopped();
    assert!(seen.events("oom", "").is_empty(), "each was a leader: {seen}");
}

#[test]
fn fault_63_who_was_killed_by_somebody_was_not_killed_for_memory() {
    let Some(cgroup) = Cgroup::with_memory(64 * MIB) else { return };
    let mut run = Supervise::with("web: chaos pid me sleep 1h\nhog: chaos eat 200\n")
        .args(["--restart", "never"])
        .spec("defaults: { essential: false }\n")
        .setup(Setup::Join(cgroup.members_fd()))
        .start();
    // The counter has risen, and not for this one.
    run.event("exited", "hog.1");
    send(run.pid_said("web.1", "me"), libc::SIGKILL);
    let exited = run.event("exited", "web.1");
    assert!(exited.message().starts_with("web.1 was killed by SIGKILL after "), "{}", exited.message());
    assert!(exited.json.get("reason").is_none(), "{}", exited.json);
    run.ends_with(137);
}

#[test]
fn fault_63_a_worker_that_leads_nothing_and_was_killed_for_memory_is_said_when_somebody_ends() {
    let Some(cgroup) = Cgroup::with_memory(64 * MIB) else { return };
    let master = "chaos fork eat 200 end fork gate gate end reap say reaped gate gate reap sleep 1h";
    let mut run = Supervise::with(format!("web: {master}\njob: chaos gate gate\n"))
        .gate("gate")
        .setup(Setup::Join(cgroup.members_fd()))
        .start();
    run.line("web.1", "reaped");
    run.directory().open_gate("gate");
    let said = run.event("oom", "supervise");
    let sentence = "a process that leads no instance was killed by the kernel for memory (limit 64 MiB)";
    assert_eq!(said.message(), sentence);
    assert_eq!((said.number("processes"), &said.json["reason"]), (1, &"oom".into()));
    run.is_stopped();
}

#[test]
fn fault_63_a_leader_that_takes_long_to_be_taken_apart_is_still_the_one_that_was_killed_for_memory() {
    let Some(cgroup) = Cgroup::with_memory(64 * MIB) else { return };
    let mut run = Supervise::with(
        "hog: chaos gate eat eat 200\njob: chaos gate end\nlast: chaos gate end sleep 2500ms\nweb: chaos sleep 1h\n",
    )
    .gate("eat")
    .gate("end")
    .args(["--restart", "never"])
    .spec("defaults: { essential: false }\n")
    .setup(Setup::Join(cgroup.members_fd()))
    .start();
    let hog = i32::try_from(run.event("started", "hog.1").number("pid")).expect("a pid is small");
    for slot in ["job.1", "last.1", "web.1"] {
        run.event("started", slot);
    }
    let held = Held::when_it_ends(hog);
    run.directory().open_gate("eat");
    held.wait();
    // That one ends has us look at the counter; the other's end comes long after we lost patience.
    run.directory().open_gate("end");
    run.event("exited", "job.1");
    run.event("exited", "last.1");
    drop(held);
    let exited = run.event("exited", "hog.1");
    assert_eq!(exited.json["reason"], "oom", "{}", exited.json);
    let seen = run.is_stopped();
    assert!(seen.events("oom", "").is_empty(), "it was the leader: {seen}");
}

/// A process that stops where it would end, as one does of which there is much to be put away (ptrace(2)).
struct Held(i32);

impl Held {
    fn when_it_ends(pid: i32) -> Held {
        let nothing: *const libc::c_void = std::ptr::null();
        let stop_at_exit = libc::PTRACE_O_TRACEEXIT as usize;
        // SAFETY: it reads and writes no memory of ours.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, stop_at_exit) };
        assert_eq!(seized, 0, "root may: {}", std::io::Error::last_os_error());
        Held(pid)
    }

    /// Until it stands there.
    fn wait(&self) {
        let exit = libc::SIGTRAP | (libc::PTRACE_EVENT_EXIT << 8);
        let stands = || {
            let mut status = 0;
            // SAFETY: the status is ours to be written over.
            let found = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL | libc::WNOHANG) };
            (found == self.0 && status >> 8 == exit).then_some(())
        };
        eventually("its end", stands, || format!("{} goes on", self.0));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let nothing: *const libc::c_void = std::ptr::null();
        // SAFETY: as above. Where it is gone there is nothing to be let go.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, nothing, nothing) };
    }
}

#[test]
fn fault_05_whoever_has_forgotten_whose_it_is_is_known_by_its_cell() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    let mut run = Supervise::with(TWO).setup(Setup::Join(cgroup.members_fd())).start();
    run.line("worker.1", "up");
    let daemon = run.pid_said("web.1", "daemon");
    let cells = cgroup.cells();
    assert!(
        cells.len() == 2 && cells[0].starts_with("web.1-") && cells[1].starts_with("worker.1-"),
        "{cells:?}"
    );
    assert!(cgroup.in_cell(&cells[0]).contains(&daemon), "{cells:?}");
    // It has left the group, the session and its environment; the other instance goes on.
    says(&run, &["stop", "--wait", "web"]);
    assert!(!is_alive(daemon));
    assert_eq!(cgroup.cells(), cells[1..], "nobody is left in the first");
    run.is_stopped();
    assert_eq!(cgroup.cells(), [""; 0]);
}

#[test]
fn whoever_has_forgotten_whose_it_is_outlives_its_instance_where_nothing_is_delegated() {
    let Some(cgroup) = Cgroup::below("/sys/fs/cgroup/unified") else { return };
    let mut run = Supervise::with(TWO).setup(Setup::Join(cgroup.members_fd())).start();
    run.line("worker.1", "up");
    let daemon = run.pid_said("web.1", "daemon");
    assert_eq!(cgroup.cells(), [""; 0]);
    says(&run, &["stop", "--wait", "web"]);
    // It could be the other's.
    assert!(is_alive(daemon));
    run.is_stopped();
    assert!(!is_alive(daemon));
}

#[test]
fn fault_05_20_whoever_is_known_by_its_cell_alone_is_not_forgotten_where_nobody_can_look_into_it() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    if !can_judge() {
        return;
    }
    let spared: Arc<AtomicUsize> = Arc::default();
    let judge = Judge::new(&[libc::SYS_openat], {
        let spared = Arc::clone(&spared);
        move |call| {
            let is_look = call.caller == Caller::Loop && {
                let path = call.path();
                path.ends_with("/cgroup.procs") || path.ends_with("/cgroup")
            };
            let is_refused = is_look
                && spared
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok();
            if is_refused { Verdict::Fail(libc::ENFILE) } else { Verdict::Go }
        }
    });
    let mut run = Supervise::with(
        "web: chaos fork setsid wipe pid daemon sleep 1h end pid up sleep 1h\ncalm: chaos sleep 1h\n",
    )
    .judged(judge)
    .setup(Setup::Join(cgroup.members_fd()))
    .start();
    let (daemon, leader) = (run.pid_said("web.1", "daemon"), run.pid_said("web.1", "up"));
    spared.store(6, Ordering::Relaxed);
    send(leader, libc::SIGKILL);
    run.wait_for("its second life", |seen| (seen.rests("web.1", "up ").len() > 1).then_some(()));
    assert!(!is_alive(daemon), "{}", run.so_far());
    assert_eq!(spared.load(Ordering::Relaxed), 0, "{}", run.so_far());
    run.is_stopped();
}

#[test]
fn fault_06_19_whoever_cannot_be_killed_by_the_cell_is_killed_one_by_one() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    if !can_judge() {
        return;
    }
    for errno in [libc::EOPNOTSUPP, libc::ENOMEM, libc::EIO, libc::EACCES] {
        let refused: Arc<AtomicUsize> = Arc::default();
        let judge = Judge::new(&[libc::SYS_write], {
            let refused = Arc::clone(&refused);
            move |call| {
                let file = std::fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.int(0)));
                if call.caller != Caller::Loop || !file.is_ok_and(|file| file.ends_with("cgroup.kill")) {
                    return Verdict::Go;
                }
                refused.fetch_add(1, Ordering::Relaxed);
                Verdict::Fail(errno)
            }
        });
        let deaf = "web: chaos ignore TERM fork setsid fork wipe pid daemon sleep 1h end end sleep 1h\n";
        let mut run = Supervise::with(deaf.to_owned() + "worker: chaos sleep 1h\n")
            .args(["-t", "200ms"])
            .judged(judge)
            .setup(Setup::Join(cgroup.members_fd()))
            .start();
        let daemon = run.pid_said("web.1", "daemon");
        run.signal(libc::SIGTERM);
        let seen = run.ends_with(137);
        assert!(refused.load(Ordering::Relaxed) > 0, "{seen}");
        assert!(!is_alive(daemon) && seen.events("stuck", "").is_empty(), "{errno}: {seen}");
        assert_eq!(cgroup.cells(), [""; 0]);
    }
}

#[test]
fn fault_06_five_hundred_that_go_on_forking_are_killed_in_one_go() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    // Each in a session of its own and deaf; whenever one ends, its like are already there.
    let mut run = Supervise::with("web: chaos breed 500 say grown sleep 1h\n")
        .args(["-t", "200ms"])
        .setup(Setup::Join(cgroup.members_fd()))
        .start();
    run.line("web.1", "grown");
    let cells = cgroup.cells();
    assert!(cgroup.in_cell(&cells[0]).len() >= 500, "{cells:?}");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(137);
    assert_eq!(seen.events("killed", "web.1").len(), 1, "{seen}");
    assert!(seen.events("stuck", "web.1").is_empty(), "{seen}");
    assert_eq!(cgroup.cells(), [""; 0]);
}

/// A job that ends when the gate opens, and whose descendant may stay: its pid.
fn runs_one_that_may_stay(cgroup: &Cgroup) -> (Run, i32) {
    let supervise = Supervise::with("job: chaos fork pid left sleep 1h end gate gate\n")
        .gate("gate")
        .spec("formation:\n  job: { leftovers: leave }\n")
        .setup(Setup::Join(cgroup.members_fd()));
    let run = supervise.start();
    let left = run.pid_said("job.1", "left");
    (run, left)
}

#[test]
fn descendants_that_may_stay_keep_their_cell_and_the_next_start_removes_it() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    let (mut run, left) = runs_one_that_may_stay(&cgroup);
    run.directory().open_gate("gate");
    run.ends_leaving(0);
    let cells = cgroup.cells();
    assert_eq!(cgroup.in_cell(&cells[0]), [left]);
    send(left, libc::SIGKILL);
    eventually("nobody in it", || cgroup.is_empty(&cells[0]).then_some(()), || format!("{cells:?}"));
    cgroup.make("backup");
    let mut run =
        Supervise::with("web: chaos say up sleep 1h\n").setup(Setup::Join(cgroup.members_fd())).start();
    run.line("web.1", "up");
    run.is_stopped();
    assert_eq!(cgroup.cells(), ["backup"], "what is not ours stays");
}

#[test]
fn what_those_that_may_stay_have_made_in_their_cell_is_theirs() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    let (mut run, left) = runs_one_that_may_stay(&cgroup);
    let theirs = format!("{}/theirs", cgroup.cells()[0]);
    cgroup.make(&theirs);
    run.directory().open_gate("gate");
    run.ends_leaving(0);
    assert!(cgroup.is_empty(&theirs), "its instance's end did not take it away");
    let mut run =
        Supervise::with("web: chaos say up sleep 1h\n").setup(Setup::Join(cgroup.members_fd())).start();
    run.line("web.1", "up");
    run.is_stopped();
    assert!(cgroup.is_empty(&theirs), "nor did the next start");
    assert!(is_alive(left));
}

#[test]
fn where_a_child_cannot_be_born_in_its_cell_it_goes_there_itself() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    if !can_judge() {
        return;
    }
    let judge = Judge::new(&[libc::SYS_clone3], |call| match call.caller {
        // As before Linux 5.3, and as Docker's filter of system calls.
        Caller::Loop => Verdict::Fail(libc::ENOSYS),
        Caller::Stream | Caller::Newborn | Caller::Other => Verdict::Go,
    });
    let mut run = Supervise::with("web: chaos pid me sleep 1h\n")
        .judged(judge)
        .setup(Setup::Join(cgroup.members_fd()))
        .start();
    let web = run.pid_said("web.1", "me");
    assert_eq!(cgroup.in_cell(&cgroup.cells()[0]), [web]);
    run.is_stopped();
    assert_eq!(cgroup.cells(), [""; 0]);
}

#[test]
fn where_no_cell_can_be_made_the_formation_runs_without_and_it_is_said_once() {
    let Some(cgroup) = Cgroup::delegated() else { return };
    cgroup.set("cgroup.max.descendants", "0");
    let mut run =
        Supervise::with("web: chaos say up sleep 1h\njob: chaos crash-until lives 1 1 say up sleep 1h\n")
            .spec("defaults: { limits: { pids: 100 } }\n")
            .setup(Setup::Join(cgroup.members_fd()))
            .start();
    run.line("web.1", "up");
    run.line("job.1", "up");
    let seen = run.is_stopped();
    let said = seen.events("not_confined", "");
    assert_eq!(said.len(), 1, "{seen}");
    assert_eq!(said[0].json["types"], serde_json::json!(["web", "job"]), "{seen}");
}

#[test]
fn limits_that_only_a_cgroup_can_hold_are_named_once_where_none_is_ours() {
    let Some(cgroup) = Cgroup::below("/sys/fs/cgroup/unified") else { return };
    let mut run = Supervise::with("web: chaos sleep 1h\njob: chaos sleep 1h\nbeat: chaos say up sleep 1h\n")
        .spec("defaults: { limits: { memory: 64m, cpus: 1.5 } }\nformation: { beat: { limits: { memory: unlimited, cpus: unlimited } } }\n")
        .setup(Setup::Join(cgroup.members_fd()))
        .start();
    run.line("beat.1", "up");
    let seen = run.is_stopped();
    let said = seen.events("not_confined", "");
    assert_eq!(said.len(), 1, "{seen}");
    let sentence = "the limits of memory, cpus and pids do not hold for web, job: no cgroup is delegated to us; \
                    `Delegate=yes` of systemd does that, and a container whose cgroup may be written";
    assert_eq!(said[0].message(), sentence);
}

#[test]
fn children_are_more_likely_to_be_killed_for_memory_than_we_are() {
    let score = |pid: i32| -> i64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("it lives");
        text.trim().parse().expect("a number")
    };
    let ours = score(i32::try_from(std::process::id()).expect("a pid is small"));
    let mut run = Supervise::with("web: chaos pid me sleep 1h\n").start();
    let web = run.pid_said("web.1", "me");
    assert_eq!(score(run.pid()), ours, "the child of a vfork changes only its own");
    assert!(score(web) > ours);
    run.is_stopped();

    let Some(cgroup) = Cgroup::with_memory(64 * MIB) else { return };
    let mut run =
        Supervise::with("web: chaos pid me sleep 1h\n").setup(Setup::Join(cgroup.members_fd())).start();
    let web = run.pid_said("web.1", "me");
    assert_eq!(score(web), (ours + 250).min(1000), "16 MiB of 64");
    run.is_stopped();
}
