//! Short of descriptors, processes and memory: a start waits and is tried again, and whatever runs runs on.

use std::collections::HashSet;
use std::thread;

use crate::harness::{
    Caller, Judge, Run, Setup, Stdout, Supervise, Transcript, Verdict, can_judge, descriptors, eventually,
    is_alive, peak_kib, send, zombies_of,
};
use crate::verbs::says;

/// A failure of the system, unlike one of the child, is never the last straw.
const LAST_STRAW: &str = "defaults:\n  backoff: { give_up_after: 1 }\n";

/// A step of a start: who makes which call, which of its calls for one child, and the name of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    caller: Caller,
    call: libc::c_long,
    /// Of so many such calls for one child ...
    calls: usize,
    /// ... this one, from 0.
    nth: usize,
}

const fn step(name: &'static str, caller: Caller, call: libc::c_long, calls: usize, nth: usize) -> Step {
    Step { name, caller, call, calls, nth }
}

/// Everything that a start asks of the system. In JSON stderr has a pipe of its own.
const STEPS: [Step; 9] = [
    step("first pipe", Caller::Loop, libc::SYS_pipe2, 2, 0),
    step("second pipe", Caller::Loop, libc::SYS_pipe2, 2, 1),
    step("clone", Caller::Loop, libc::SYS_clone, 1, 0),
    step("group", Caller::Newborn, libc::SYS_setpgid, 1, 0),
    step("end with ours", Caller::Newborn, libc::SYS_prctl, 1, 0),
    step("limits", Caller::Newborn, libc::SYS_prlimit64, 1, 0),
    step("directory", Caller::Newborn, libc::SYS_chdir, 1, 0),
    step("mask", Caller::Newborn, libc::SYS_rt_sigprocmask, 1, 0),
    step("execute", Caller::Newborn, libc::SYS_execve, 1, 0),
];

/// Two types; where a step is given, it fails once with this error for the second of them.
fn run_with(refused: Option<(Step, i32)>) -> Run {
    // Whoever is looked up in PATH is tried in each directory of it.
    let supervise = Supervise::with("calm: chaos loop tick 20ms\nweb: ../bin/chaos pid up sleep 1h\n");
    let judge = Judge::new(&STEPS.map(|step| step.call), {
        let mut seen = 0;
        let mut newborn = HashSet::new();
        move |call| {
            let Some((step, errno)) = refused else { return Verdict::Go };
            if call.caller == Caller::Newborn {
                newborn.insert(call.pid);
            }
            if call.number != step.call || call.caller != step.caller {
                return Verdict::Go;
            }
            let hit = match step.caller {
                // The second child's.
                Caller::Loop => seen == step.calls + step.nth,
                Caller::Newborn | Caller::Stream | Caller::Other => newborn.len() == 2 && seen == 1,
            };
            if step.caller == Caller::Loop || newborn.len() == 2 {
                seen += 1;
            } else {
                seen = 1;
            }
            if hit { Verdict::Fail(errno) } else { Verdict::Go }
        }
    });
    supervise.spec(LAST_STRAW).judged(judge).start()
}

fn is_tried_again(step: Step, errno: i32, calm: i32) {
    let what = format!("{} at the {}", std::io::Error::from_raw_os_error(errno), step.name);
    let mut run = run_with(Some((step, errno)));
    let notice = run.event("not_started", "web.1");
    assert!(notice.number("delay_ms") >= 1000, "{what}: {}", notice.json);
    run.pid_said("web.1", "up");
    let pid = run.pid();
    // Either may still be about to serve its clients.
    let same = || (descriptors(pid) == descriptors(calm)).then_some(());
    eventually("as many descriptors", same, || {
        format!("{what}: {} not {}", descriptors(pid), descriptors(calm))
    });
    assert!(zombies_of(pid).is_empty(), "{what}");
    let seen = run.is_stopped();
    assert_eq!(seen.events("not_started", "").len(), 1, "{what}: {seen}");
    assert!(seen.events("failed", "").is_empty(), "{what}: {seen}");
    assert_eq!(seen.events("started", "web.1").len(), 1, "{what}: {seen}");
    assert_eq!(seen.events("started", "calm.1").len(), 1, "{what}: {seen}");
    let (started, refused) = (seen.events("started", "web.1")[0].place, notice.place);
    let ticks = seen.out[refused..started].iter().filter(|line| line.windows(5).any(|part| part == b"tick "));
    assert!(ticks.count() > 5, "{what}: the other child runs on meanwhile: {seen}");
}

fn at_each_step(errno: i32) {
    if !can_judge() {
        return;
    }
    let mut calm = run_with(None);
    calm.pid_said("web.1", "up");
    let pid = calm.pid();
    // Each of them waits for a second, so they wait together.
    thread::scope(|scope| {
        for step in STEPS {
            scope.spawn(move || is_tried_again(step, errno, pid));
        }
    });
    let seen = calm.is_stopped();
    assert!(seen.events("not_started", "").is_empty(), "{seen}");
}

#[test]
fn fault_20_no_descriptor_of_ours_at_each_step_of_a_start() {
    at_each_step(libc::EMFILE);
}

#[test]
fn fault_20_no_descriptor_of_the_machine_at_each_step_of_a_start() {
    at_each_step(libc::ENFILE);
}

#[test]
fn fault_21_no_process_at_each_step_of_a_start() {
    at_each_step(libc::EAGAIN);
}

#[test]
fn fault_22_no_memory_at_each_step_of_a_start() {
    at_each_step(libc::ENOMEM);
}

#[test]
fn fault_20_starts_that_take_the_last_descriptors_leave_some_for_whoever_asks() {
    let mut run =
        Supervise::with("web: chaos sleep 1h\n").args(["web=40"]).setup(Setup::Nofile(56, 56)).start();
    run.event("not_started", "");
    // As soon as there are descriptors for another start they are taken: it stays so.
    for _ in 0..20 {
        assert!(says(&run, &["ps"]).contains("web.1 "));
    }
    says(&run, &["scale", "web=1"]);
    says(&run, &["shutdown"]);
    run.ends_with(0);
}

#[test]
fn fault_20_at_the_last_descriptor_the_descendants_of_a_crashed_leader_are_still_found() {
    let line = "chaos fork setsid on TERM say asked on USR1 exit 0 pid left sleep 1h end pid up sleep 1h";
    let mut run = Supervise::with(format!("web: {line}\n"))
        .args(["web=40", "-t", "10m"])
        .setup(Setup::Nofile(56, 56))
        .start();
    run.event("not_started", "");
    let (leader, left) = (run.pid_said("web.1", "up"), run.pid_said("web.1", "left"));
    send(leader, libc::SIGKILL);
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.json["leftovers_stopped"][0]["pid"], left, "{}", exited.json);
    run.line("web.1", "asked");
    assert!(is_alive(left), "the restart waits for it");
    assert_eq!(run.so_far().events("started", "web.1").len(), 1);
    send(left, libc::SIGUSR1);
    // The descriptors that it leaves go to the next who waits for some, and everybody who runs can be stopped.
    run.wait_for("another start", |seen| {
        let killed = seen.events("exited", "web.1")[0].place;
        seen.events("started", "").iter().any(|started| started.place > killed).then_some(())
    });
    let all_say = |beginning: &'static str| {
        run.wait_for(beginning, |seen| {
            let slots = (1..=40).map(|slot| format!("web.{slot}"));
            let said: usize = slots.map(|slot| seen.rests(&slot, beginning).len()).sum();
            (said == seen.events("started", "").len()).then_some(())
        });
    };
    // Whoever has not come so far has no handler yet.
    all_say("left ");
    run.signal(libc::SIGTERM);
    all_say("asked");
    for (pid, _) in run.alive() {
        send(pid, libc::SIGUSR1);
    }
    run.ends_with(0);
}

#[test]
fn fault_20_without_descriptors_for_ourselves_nothing_is_started_and_it_is_said() {
    for limit in [4, 6, 8, 10] {
        let mut run =
            Supervise::with("job: chaos touch started\n").setup(Setup::Nofile(limit, limit)).start();
        let (status, _) = run.wait_for_exit();
        let seen = run.so_far();
        assert!(status.code().is_some_and(|code| code > 0), "limit {limit}: {status} {seen}");
        assert!(!run.directory().app("started").exists(), "limit {limit}: {seen}");
        assert!(seen.err_text().contains("Too many open files"), "limit {limit}: {seen}");
        assert!(!seen.err_text().contains("panicked"), "limit {limit}: {seen}");
    }
}

/// A debug build needs a few seconds for it.
const FLOOD: usize = if cfg!(debug_assertions) { 256 << 20 } else { 1 << 30 };

#[test]
fn fault_10_a_line_without_end_costs_no_memory_and_loses_no_byte() {
    let line = format!("job: chaos flood {FLOOD}\nlast: chaos sleep 1h\n");
    let mut run = Supervise::with(line)
        .format("raw")
        .under(["sh", "-c", "\"$0\" \"$@\" | tr -d '\\n' | wc -c"])
        .start();
    run.wait_for("the end of the flood", |seen| seen.err_text().contains("job.1 completed").then_some(()));
    let peak = peak_kib(run.pid());
    assert!(peak < 64 * 1024, "{peak} KiB");
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    assert_eq!(seen.lines(), [FLOOD.to_string()], "{seen}");
}

#[test]
fn control_10_the_memory_check_sees_what_was_used_and_given_back() {
    let own = i32::try_from(std::process::id()).expect("a pid is small");
    drop(std::hint::black_box(vec![1_u8; 65 << 20]));
    assert!(peak_kib(own) > 64 * 1024);
}

#[test]
fn fault_64_a_child_is_less_safe_from_the_oom_killer_than_we_are() {
    for score in [0, 300] {
        let mut run = Supervise::with("job: cat /proc/self/oom_score_adj\n")
            .under(["choom", "-n", &score.to_string(), "--"])
            .start();
        let seen = run.ends_with(0);
        let childs: i32 = seen.said("job.1")[0].parse().expect("a number");
        assert!(childs > score, "{seen}");
    }
}

#[test]
fn fault_64_what_nobody_reads_is_held_up_to_a_limit_and_then_counted() {
    const SIGNALS: usize = 20_000;
    let mut run = Supervise::with("web: chaos sleep 1h\n").stdout(Stdout::Unread).start();
    let pid = run.pid();
    eventually("a child", || (!run.alive().is_empty()).then_some(()), || format!("{:?}", run.alive()));
    // Real-time signals do not merge, and sigqueue(3) says when there is no room for one. Each makes a notice, since the
    // child has no handler for it.
    for _ in 0..SIGNALS {
        let queued = || {
            let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
            // SAFETY: the pointer is only a number here.
            let result = unsafe { libc::sigqueue(pid, libc::SIGRTMIN() + 5, value) };
            (result == 0).then_some(())
        };
        eventually("a signal that is queued", queued, || std::io::Error::last_os_error().to_string());
    }
    let pending = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t").map(str::to_owned)).unwrap_or_default()
    };
    let none = || pending().chars().all(|digit| digit == '0').then_some(());
    eventually("no signal pending", none, pending);
    let peak = peak_kib(pid);
    assert!(peak < 32 * 1024, "{peak} KiB");
    run.read_on();
    let counts = |seen: &Transcript| {
        let dropped = seen.events("dropped", "").iter().map(|notice| notice.number("lines")).sum::<i64>();
        let dropped = usize::try_from(dropped).expect("a count");
        (seen.events("signal_withheld", "").len(), dropped)
    };
    run.wait_for("every one of them", |seen| {
        let (said, dropped) = counts(seen);
        (said + dropped >= SIGNALS).then_some(())
    });
    let (said, dropped) = counts(&run.is_stopped());
    // The door's 8,192, and what the backlog and a pipe of a mebibyte hold.
    assert!(said < 16_000 && dropped > 0, "{said} were said, {dropped} counted");
}
