//! Each thing that we write, refused once or for a while: by a full disk, a bad one, a reader who is gone or has no room. What we
//! look after does not notice, and it is said once.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Call, Caller, Judge, Run, Stdout, Supervise, Transcript, Verdict, can_judge, eventually, send,
};
use crate::verbs::{ask, says};

/// How long a disk is full.
const FULL: Duration = Duration::from_millis(2500);

/// Something that is written to.
#[derive(Clone, Copy, Debug)]
struct Target {
    name: &'static str,
    caller: Caller,
    /// Whether a descriptor is it: what /proc says of it.
    is: fn(&str) -> bool,
    errors: &'static [i32],
    stdout: fn() -> Stdout,
    arguments: &'static [&'static str],
    /// What is said of it, once.
    said: Option<&'static str>,
    /// What makes us write.
    cause: fn(&Run),
}

/// Not sendmsg(2), by which whoever is judged brings the judge in.
const CALLS: [libc::c_long; 3] = [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto];

const TARGETS: [Target; 6] = [
    Target {
        name: "a pipe for stdout",
        caller: Caller::Stream,
        is: |link| link.starts_with("1 pipe:"),
        errors: &[libc::ENOMEM, libc::ENOSPC],
        stdout: || Stdout::Pipe,
        arguments: &[],
        said: Some("the output cannot be written"),
        cause: |_| {},
    },
    Target {
        name: "a pipe for stdout that has no room",
        caller: Caller::Stream,
        is: |link| link.starts_with("1 pipe:"),
        errors: &[libc::EAGAIN],
        stdout: || Stdout::Pipe,
        arguments: &[],
        said: None,
        cause: |_| {},
    },
    Target {
        name: "a file for stdout",
        caller: Caller::Stream,
        is: |link| link.ends_with("/stdout"),
        errors: &[libc::ENOSPC, libc::EIO, libc::EDQUOT, libc::EAGAIN, libc::EFBIG, libc::EPERM],
        stdout: || Stdout::File,
        arguments: &[],
        said: Some("the output cannot be written"),
        cause: |_| {},
    },
    Target {
        name: "a trace",
        caller: Caller::Loop,
        is: |link| link.ends_with("/trace"),
        errors: &[libc::ENOSPC, libc::EIO, libc::EPIPE, libc::EAGAIN],
        stdout: || Stdout::Pipe,
        arguments: &["--trace", "trace"],
        said: Some("the trace ends here"),
        cause: |run| send(run.pid(), libc::SIGUSR1),
    },
    Target {
        name: "diagnostics on stderr",
        caller: Caller::Loop,
        is: |link| link.starts_with("2 "),
        errors: &[libc::ENOSPC, libc::EIO, libc::EPIPE, libc::EAGAIN],
        stdout: || Stdout::Pipe,
        arguments: &["-v", "-v"],
        said: None,
        cause: |run| send(run.pid(), libc::SIGUSR1),
    },
    Target {
        name: "an answer to a client",
        caller: Caller::Stream,
        is: |link| link.contains("socket:"),
        errors: &[libc::EPIPE, libc::ENOMEM, libc::ENOBUFS, libc::EIO, libc::ECONNRESET],
        stdout: || Stdout::Pipe,
        arguments: &[],
        said: None,
        // It may be told that there is no answer, or that nobody is there.
        cause: |run| drop(ask(run, &["scale"])),
    },
];

/// How long something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Once,
    /// For [`FULL`].
    AWhile,
}

/// What is refused now, and how often it was.
#[derive(Debug, Default)]
struct Refusal {
    armed: Option<Length>,
    count: usize,
}

fn judge(target: Target, errno: i32, refusal: &Arc<Mutex<Refusal>>) -> Judge {
    let refusal = Arc::clone(refusal);
    Judge::new(&CALLS, move |call: &Call| {
        let mut refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(length) = refusal.armed else { return Verdict::Go };
        let link = fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.int(0))).unwrap_or_default();
        let is_same = |number: i32| {
            fs::read_link(format!("/proc/{}/fd/{number}", call.pid)).is_ok_and(|same| same == link)
        };
        // They are opened again where they are pipes, and have other numbers.
        let number = [1, 2].into_iter().find(|number| is_same(*number)).unwrap_or(call.int(0));
        if call.caller != target.caller || !(target.is)(&format!("{number} {}", link.display())) {
            return Verdict::Go;
        }
        refusal.count += 1;
        if length == Length::Once {
            refusal.armed = None;
        }
        Verdict::Fail(errno)
    })
}

fn is_refused(target: Target, errno: i32, length: Length) {
    let error = std::io::Error::from_raw_os_error(errno);
    let what = format!("{error} {length:?}, {}", target.name);
    let refusal: Arc<Mutex<Refusal>> = Arc::default();
    let mut run = Supervise::with("web: chaos touch up loop tick 20ms\ncalm: chaos sleep 1h\n")
        .args(target.arguments)
        .stdout((target.stdout)())
        .judged(judge(target, errno, &refusal))
        .start();
    let up = run.directory().app("up");
    eventually("a child", || up.exists().then_some(()), || run.so_far().to_string());
    refusal.lock().expect("nobody panics with it").armed = Some(length);
    (target.cause)(&run);
    let count = || refusal.lock().expect("nobody panics with it").count;
    eventually(&what, || (count() > 0).then_some(()), || run.so_far().to_string());
    if length == Length::AWhile {
        // The input: so long it is refused, whoever tries.
        thread::sleep(FULL);
    }
    refusal.lock().expect("nobody panics with it").armed = None;
    // Whoever asks now is answered, and what is written now arrives.
    assert_eq!(says(&run, &["scale"]).trim(), "web=1 calm=1", "{what}");
    let last = ticks_so_far(&run).len();
    eventually(&what, || (ticks_so_far(&run).len() > last + 60).then_some(()), || run.so_far().to_string());
    let seen = run.is_stopped();
    let ticks = ticks(&seen);
    assert!(ticks.iter().copied().eq(1..=ticks.len()), "{what}: a line is lost: {seen}");
    for event in ["exited", "started"] {
        assert_eq!(seen.events(event, "").len(), 2, "{what}: {seen}");
    }
    assert!(seen.events("killed", "").is_empty() && seen.events("dropped", "").is_empty(), "{what}: {seen}");
    if let Some(words) = target.said {
        assert_eq!(seen.err_text().matches(words).count(), 1, "{what}: {seen}");
    }
    assert!(!seen.err_text().contains("panicked"), "{what}: {seen}");
}

fn ticks(seen: &Transcript) -> Vec<usize> {
    seen.rests("web.1", "tick ").iter().map(|number| number.parse().expect("a number")).collect()
}

/// Also where stdout is a file.
fn ticks_so_far(run: &Run) -> Vec<usize> {
    let Ok(text) = fs::read(run.directory().app("stdout")) else { return ticks(&run.so_far()) };
    let mut seen = Transcript::default();
    text.split(|byte| *byte == b'\n').for_each(|line| seen.add_out(line));
    ticks(&seen)
}

#[test]
fn fault_16_18_19_whatever_we_write_to_may_refuse_it_for_a_while() {
    if !can_judge() {
        return;
    }
    thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                for errno in target.errors {
                    thread::scope(|scope| {
                        for length in [Length::Once, Length::AWhile] {
                            scope.spawn(move || is_refused(target, *errno, length));
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn fault_19_a_disk_that_is_full_when_a_run_begins_or_ends_only_makes_the_next_one_search() {
    if !can_judge() {
        return;
    }
    for errno in [libc::ENOSPC, libc::EIO] {
        let judge = Judge::new(&[libc::SYS_write], move |call| {
            let link = fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.int(0))).unwrap_or_default();
            let is_record = link.extension().is_some_and(|extension| extension == "run");
            if is_record && call.caller == Caller::Loop { Verdict::Fail(errno) } else { Verdict::Go }
        });
        let project = Supervise::with("web: chaos pid up sleep 1h\n");
        let mut run = project.clone().judged(judge).start();
        run.pid_said("web.1", "up");
        run.is_stopped();
        // What a run leaves that nobody has written down is found all the same.
        let mut run = project.clone().start();
        run.pid_said("web.1", "up");
        run.is_stopped();
    }
}
