//! Faults that need a heavier hand: stopped and unkillable processes, numbers that are used again, clocks that jump, a
//! supervisor that stands still or breaks, signals in the middle of a start.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Caller, Judge, Run, Supervise, Transcript, Verdict, can_judge, can_make_pid_namespaces, eventually,
    is_alive, send, state, zombies_of,
};

fn wait_for_state(run: &Run, pid: i32, wanted: char) {
    let look = || (state(pid) == Some(wanted)).then_some(());
    eventually(&format!("{pid} in state {wanted}"), look, || format!("{:?}\n{}", state(pid), run.so_far()));
}

#[test]
fn fault_08_a_child_that_stands_still_is_not_dead() {
    let mut run = Supervise::with(
        "web: chaos pid up stop-self say back sleep 1h\njob: chaos crash-until lives 2 1 say third sleep 1h\n",
    )
    .start();
    let pid = run.pid_said("web.1", "up");
    wait_for_state(&run, pid, 'T');
    // Meanwhile others end, and we look who it is.
    run.line("job.1", "third");
    assert_eq!(state(pid), Some('T'), "{}", run.so_far());
    send(pid, libc::SIGCONT);
    run.line("web.1", "back");
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "web.1").len(), 1, "{seen}");
    assert_eq!(seen.events("exited", "web.1").len(), 1, "at the end: {seen}");
}

#[test]
fn fault_26_a_thousand_that_live_for_a_millisecond_are_all_seen_and_reaped() {
    const COUNT: usize = 1000;
    let mut run = Supervise::with("job: true\nlast: chaos sleep 1h\n")
        .args(["--no-port", &format!("job={COUNT}")])
        .without_port_argument()
        .start();
    let all = |seen: &Transcript| (seen.events("completed", "").len() == COUNT).then_some(());
    run.wait_for("a thousand completed", all);
    let pid = run.pid();
    let zombies = || zombies_of(pid);
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    let seen = run.is_stopped();
    let slots = |event: &str| -> std::collections::HashSet<String> {
        let notices = seen.events(event, "").into_iter().map(|notice| notice.json["process"].to_string());
        notices.collect()
    };
    for event in ["started", "exited"] {
        assert_eq!(seen.events(event, "").len(), COUNT + 1, "{event}");
        assert_eq!(slots(event).len(), COUNT + 1, "{event}: each of them once");
    }
}

#[test]
fn fault_29_whoever_gets_the_number_of_one_of_ours_is_never_signalled() {
    if !can_make_pid_namespaces() || !pid_max_is_per_namespace() {
        return;
    }
    // Leftovers with sessions of their own, of leaders that are gone: they are signalled when the numbers of their
    // leaders and groups have been used again several times.
    let mut run = Supervise::with("web: chaos fork setsid ignore TERM sleep 1h end exit 1\n")
        .spec("defaults:\n  backoff: { first: 10ms, max: 10ms }\n")
        .args(["web=8", "-t", "300ms"])
        .in_pid_namespace()
        .start();
    run.event("started", "web.8");
    let inside = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &run.pid().to_string(), "--pid", "--mount"]).args(words);
        command.spawn().expect("there is an `nsenter`")
    };
    // When they are used up the kernel begins again above RESERVED_PIDS, 300: so there are as many.
    let shrunk = inside(&["sh", "-c", "echo 600 >/proc/sys/kernel/pid_max"]).wait().expect("it is ours");
    assert!(shrunk.success());
    let hit = run.directory().app("hit");
    let chaos = run.directory().top().join("bin/chaos");
    let (chaos, report) = (chaos.to_str().expect("UTF-8"), hit.to_str().expect("UTF-8"));
    let mut bystanders = inside(&[chaos, "bystanders", "150", report]);
    run.wait_for("many kills", |seen| (seen.events("killed", "").len() >= 60).then_some(()));
    let born: u64 = newest_pid(run.pid());
    assert!(born < 600, "numbers are used again: {born}");
    bystanders.kill().expect("it is ours");
    bystanders.wait().expect("it is ours");
    assert!(
        !hit.exists(),
        "a bystander got a signal: status {}",
        fs::read_to_string(&hit).unwrap_or_default()
    );
    run.signal(libc::SIGTERM);
    run.wait_for_exit();
}

/// Whether `kernel.pid_max` is one namespace's own, so that a test may change it: Linux 6.14.
fn pid_max_is_per_namespace() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let per_namespace = (numbers.next(), numbers.next()) >= (Some(6), Some(14));
    if !per_namespace || !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: the numbers of processes cannot be made few here");
        return false;
    }
    true
}

/// The number given last in the namespace of this process (`proc_loadavg(5)`).
fn newest_pid(pid: i32) -> u64 {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &pid.to_string(), "--pid", "--mount", "cat", "/proc/loadavg"]);
    let output = nsenter.output().expect("there is an `nsenter`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().last().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn control_29_the_bystander_check_sees_a_signal_to_a_stranger() {
    let directory = crate::harness::Directory::new();
    let hit = directory.app("hit");
    let mut chaos = Command::new(directory.top().join("bin/chaos"));
    let mut bystanders = chaos.arg("bystanders").arg("3").arg(&hit).spawn().expect("chaos can be run");
    let root = i32::try_from(bystanders.id()).expect("a pid is small");
    let strike = || {
        let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
        children.split_whitespace().for_each(|pid| send(pid.parse().expect("a pid"), libc::SIGTERM));
        hit.exists().then_some(())
    };
    eventually("a report", strike, || "nothing".to_owned());
    bystanders.kill().expect("it is ours");
    bystanders.wait().expect("it is ours");
}

#[test]
fn fault_30_the_group_of_a_dead_leader_is_signalled_while_its_number_is_pinned() {
    if !can_judge() {
        return;
    }
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let judge = Judge::new(&[libc::SYS_kill, libc::SYS_wait4], move |call| {
        if call.caller == Caller::Loop {
            noted.lock().expect("nobody panics with it").push((call.number, call.int(0), call.int(1)));
        }
        Verdict::Go
    });
    let mut run = Supervise::with(
        "web: chaos fork on TERM say asked on USR1 exit 0 pid member sleep 1h end pid up sleep 1h\n",
    )
    .args(["-t", "10m"])
    .judged(judge)
    .start();
    let (leader, member) = (run.pid_said("web.1", "up"), run.pid_said("web.1", "member"));
    send(leader, libc::SIGKILL);
    run.line("web.1", "asked");
    send(member, libc::SIGUSR1);
    run.nth_event(2, "started", "web.1");
    let calls = calls.lock().expect("nobody panics with it").clone();
    let place = |wanted| calls.iter().position(|call| *call == wanted);
    let asked = place((libc::SYS_kill, -leader, libc::SIGTERM));
    let reaped = place((libc::SYS_wait4, leader, 0));
    assert!(asked.is_some() && asked < reaped, "{asked:?} {reaped:?} {calls:?}");
    // The second life's member has to be let go as well.
    let second = run.wait_for("the second member", |seen| seen.rests("web.1", "member ").into_iter().nth(1));
    run.signal(libc::SIGTERM);
    run.wait_for("it is asked", |seen| (seen.rests("web.1", "asked").len() == 2).then_some(()));
    send(second.parse().expect("a pid"), libc::SIGUSR1);
    run.ends_with(0);
}

#[test]
fn fault_31_a_clock_that_jumps_moves_no_timer() {
    for (jump, seconds) in [("forwards", 3600), ("backwards", -3600)] {
        let project = Supervise::with("job: chaos exit 1\nweb: chaos ignore TERM say deaf sleep 1h\n")
            .spec("defaults:\n  backoff: { first: 1500ms, max: 1500ms, reset_after: 10m }\n")
            .args(["-t", "700ms"]);
        let jumped = project.directory().app("jumped");
        let Some(clock) = jumping_clock(project.directory().top(), &jumped, seconds) else { return };
        let mut run = project.env("LD_PRELOAD", &clock).start();
        run.line("web.1", "deaf");
        let exited = run.nth_event(2, "exited", "job.1");
        let waits = Duration::from_millis(u64::try_from(exited.number("delay_ms")).expect("a delay"));
        fs::write(&jumped, "").expect("the directory is ours");
        let begin = Instant::now();
        let started = run.nth_event(3, "started", "job.1");
        let waited = begin.elapsed();
        // Some of it went by before the jump; a busy machine takes its time.
        assert!(
            waited > waits.mul_f32(0.3) && waited < waits + Duration::from_secs(5),
            "{jump}: {waited:?} of {waits:?}"
        );
        let before =
            exited.json["timestamp"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
        let jumped_by = started.millis_after(before) / 1000;
        assert!((jumped_by - seconds).abs() < 60, "the clock has jumped by {jumped_by} s {jump}");
        let begin = Instant::now();
        run.signal(libc::SIGTERM);
        let seen = run.ends_with(137);
        let drained = begin.elapsed();
        assert!(
            drained >= Duration::from_millis(700) && drained < Duration::from_secs(30),
            "{jump}: {drained:?}"
        );
        let uptime = seen.events("exited", "web.1")[0].number("uptime_ms");
        assert!((700..60_000).contains(&uptime), "{jump}: {uptime}");
    }
}

/// A library that moves the time of day, and no other clock, by so many seconds as soon as a file is there. `None`
/// where there is no compiler.
fn jumping_clock(directory: &Path, file: &Path, seconds: i64) -> Option<PathBuf> {
    let source = format!(
        r#"
        #![no_std]
        #[unsafe(no_mangle)] pub extern "C" fn rust_eh_personality() {{}}
        #[panic_handler] fn panic(_: &core::panic::PanicInfo) -> ! {{ loop {{}} }}
        #[repr(C)] pub struct Timespec {{ seconds: i64, nanoseconds: i64 }}
        unsafe extern "C" {{
            fn syscall(number: i64, ...) -> i64;
            fn access(path: *const core::ffi::c_char, mode: i32) -> i32;
        }}
        #[unsafe(no_mangle)] pub unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {{
            let result = unsafe {{ syscall({}, clock, time) }} as i32;
            if clock == 0 && unsafe {{ access(c{:?}.as_ptr(), 0) }} == 0 {{
                unsafe {{ (*time).seconds += {seconds} }};
            }}
            result
        }}
        "#,
        libc::SYS_clock_gettime,
        file.to_str().expect("UTF-8"),
    );
    fs::write(directory.join("clock.rs"), source).expect("the directory is ours");
    let library = directory.join("clock.so");
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-C", "panic=abort", "-o"]);
    let built =
        command.arg(&library).arg(directory.join("clock.rs")).status().is_ok_and(|status| status.success());
    if !built {
        eprintln!("skipped: no clock can be built here");
    }
    built.then_some(library)
}

/// Stops the supervisor; it goes on with SIGCONT.
fn freeze(run: &Run) {
    run.signal(libc::SIGSTOP);
    wait_for_state(run, run.pid(), 'T');
}

#[test]
fn fault_32_who_ended_in_time_while_we_stood_still_is_not_killed_afterwards() {
    const ASKED: &str = "on TERM say asked on USR1 exit 0";
    let mut run = Supervise::with(format!(
        "web: chaos {ASKED} pid up sleep 1h\ntree: chaos fork {ASKED} pid up sleep 1h end on TERM exit 0 sleep 1h\n"
    ))
    .args(["web=3", "-t", "500ms"])
    .start();
    let slots = ["web.1", "web.2", "web.3", "tree.1"];
    let pids = slots.map(|slot| run.pid_said(slot, "up"));
    run.signal(libc::SIGTERM);
    for slot in &slots {
        run.line(slot, "asked");
    }
    freeze(&run);
    for pid in pids {
        send(pid, libc::SIGUSR1);
        wait_for_state(&run, pid, 'Z');
    }
    // The input: the deadline goes by.
    thread::sleep(Duration::from_millis(700));
    run.signal(libc::SIGCONT);
    let seen = run.ends_with(0);
    assert!(seen.events("killed", "").is_empty(), "{seen}");
}

#[test]
fn fault_32_what_was_due_while_we_stood_still_is_done_once() {
    let mut run = Supervise::with("job: chaos exit 1\n")
        .spec("defaults:\n  backoff: { first: 1s, max: 1m }\n")
        .args(["job=4"])
        .start();
    for slot in 1..=4 {
        run.nth_event(2, "exited", &format!("job.{slot}"));
    }
    freeze(&run);
    // The input: several times as long as they would have waited.
    thread::sleep(Duration::from_secs(3));
    run.signal(libc::SIGCONT);
    for slot in 1..=4 {
        let exited = run.nth_event(3, "exited", &format!("job.{slot}"));
        assert!(exited.number("delay_ms") >= 1600, "the streak goes on: {}", exited.json);
    }
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "").len(), 12, "{seen}");
}

#[test]
fn fault_34_a_term_while_the_40th_of_100_is_being_born() {
    if !can_judge() {
        return;
    }
    let births = Arc::new(Mutex::new(0));
    let count = Arc::clone(&births);
    let judge = Judge::new(&[libc::SYS_clone], move |call| {
        if call.caller == Caller::Loop {
            let mut births = count.lock().expect("nobody panics with it");
            *births += 1;
            if *births == 40 {
                send(call.pid, libc::SIGTERM);
            }
        }
        Verdict::Go
    });
    let mut run = Supervise::with("web: chaos sleep 1h\n")
        .args(["--no-port", "web=100"])
        .without_port_argument()
        .judged(judge)
        .start();
    let seen = run.ends_with(0);
    assert_eq!(*births.lock().expect("nobody panics with it"), 40, "{seen}");
    assert_eq!(seen.events("started", "").len(), 40, "{seen}");
    assert_eq!(seen.events("exited", "").len(), 40, "{seen}");
}

/// Makes the next wait of one of our threads for events fail in a way that cannot be: a panic.
fn breaks(caller: Caller) {
    if !can_judge() {
        return;
    }
    let broken = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&broken);
    let judge = Judge::new(&[libc::SYS_epoll_wait, libc::SYS_epoll_pwait], move |call| {
        let now = call.caller == caller && armed.load(Ordering::SeqCst);
        if now { Verdict::Fail(libc::EINVAL) } else { Verdict::Go }
    });
    let mut run = Supervise::with(
        "quiet: chaos on TERM sleep-then-exit 100ms 0 pid up sleep 1h\nweb: chaos loop tick 10ms\n",
    )
    .judged(judge)
    .start();
    let quiet = run.pid_said("quiet.1", "up");
    run.line("web.1", "tick 1");
    broken.store(true, Ordering::SeqCst);
    run.signal(libc::SIGUSR1);
    let (status, _) = run.wait_for_exit();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}\n{}", run.so_far());
    assert!(run.so_far().err_text().contains("panicked at"), "{}", run.so_far());
    // The kernel asks its leaders to end.
    eventually("the end of all", || (!is_alive(quiet)).then_some(()), || format!("{:?}", run.alive()));
    eventually("nobody", || run.alive().is_empty().then_some(()), || format!("{:?}", run.alive()));
}

#[test]
fn fault_62_a_stream_that_breaks_ends_everything_at_once() {
    breaks(Caller::Stream);
}

#[test]
fn fault_62_a_loop_that_breaks_ends_everything_at_once() {
    breaks(Caller::Loop);
}

#[test]
fn fault_67_a_leader_whose_first_thread_has_ended_is_not_dead() {
    let mut run = Supervise::with(
        "web: chaos pid up end-first-thread\njob: chaos crash-until lives 2 1 say third sleep 1h\n",
    )
    .start();
    let pid = run.pid_said("web.1", "up");
    wait_for_state(&run, pid, 'Z');
    run.line("job.1", "third");
    assert!(run.so_far().events("exited", "web.1").is_empty(), "{}", run.so_far());
    run.is_stopped();
    assert_eq!(state(pid), None);
}

#[test]
fn fault_67_a_descendant_whose_first_thread_has_ended_is_found_and_stopped() {
    let mut run =
        Supervise::with("web: chaos fork setsid pid left end-first-thread end pid up sleep 1h\n").start();
    let (leader, left) = (run.pid_said("web.1", "up"), run.pid_said("web.1", "left"));
    wait_for_state(&run, left, 'Z');
    send(leader, libc::SIGKILL);
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.json["leftovers_stopped"][0]["pid"], left, "{}", exited.json);
    run.nth_event(2, "started", "web.1");
    eventually("its end", || state(left).is_none().then_some(()), || run.so_far().to_string());
    run.is_stopped();
}

#[test]
fn fault_67_who_survives_sigkill_is_named_and_we_end_without_it() {
    let Some(freezer) = Freezer::new() else { return };
    let mut run = Supervise::with("web: chaos pid up sleep 1h\n").args(["-t", "300ms"]).start();
    let pid = run.pid_said("web.1", "up");
    freezer.hold(pid);
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    let stuck = run.event("stuck", "web.1");
    assert!(stuck.message().contains(&pid.to_string()), "{}", stuck.message());
    let alive = run.ends_leaving(1);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(alive.iter().any(|(its, _)| *its == pid), "{alive:?}");
    drop(freezer);
    eventually("its end", || (!is_alive(pid)).then_some(()), || format!("{:?}", state(pid)));
}

/// A frozen control group of the first version: the one place where SIGKILL has to wait (the kernel's
/// `cgroup-v1/freezer-subsystem.rst`). Whoever is in it is let go in the end.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Freezer> {
        let path = Path::new("/sys/fs/cgroup/freezer").join(format!("supervise-e2e-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&path) {
            eprintln!("skipped: no freezer of the first version: {error}");
            return None;
        }
        Some(Freezer(path))
    }

    fn hold(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
        fs::write(self.0.join("freezer.state"), "FROZEN").expect("it can be frozen");
        let state = || fs::read_to_string(self.0.join("freezer.state")).unwrap_or_default();
        eventually("frozen", || (state().trim() == "FROZEN").then_some(()), state);
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // Where it fails the group stays, and whoever looks at it sees its name.
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let _ = fs::write(
            "/sys/fs/cgroup/freezer/cgroup.procs",
            fs::read(self.0.join("cgroup.procs")).unwrap_or_default(),
        );
        let gone = || fs::remove_dir(&self.0).is_ok().then_some(());
        if !thread::panicking() {
            eventually("an empty freezer", gone, || {
                fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default()
            });
        }
    }
}
