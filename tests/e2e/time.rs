//! Time that is not as it should be: we stand still, share one processor with many, write to a slow disk. Nobody is asked more
//! often for it than he should be, and nobody who is well is ended.
//!
//! `SUPERVISE_PROOF_SECONDS` makes each of them take so long.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Caller, Judge, Run, Stdout, Supervise, Verdict, can_judge, eventually, number, send, state,
};

/// As asked, or so long.
fn at_length(usual: Duration) -> Duration {
    number("SUPERVISE_PROOF_SECONDS").map_or(usual, Duration::from_secs)
}

/// Two that are asked by a command, which notes that it was, and one by HTTP as soon as it listens; nothing is forgiven. What it
/// costs to ask is a small part of the time for it, also on a busy machine.
fn asked(period: &str, timeout: &str, threshold: usize) -> Supervise {
    let times = format!("period: {period}, timeout: {timeout}, failure_threshold: {threshold}");
    Supervise::with("web: chaos pid up sleep 1h\nhttp: chaos pid up listen\ncalm: chaos pid up sleep 1h\n").spec(&format!(
        "defaults: {{ drain: 30s }}\nformation:\n  \
         web: {{ quantity: 2, health: {{ liveness: {{ exec: 'printf . >>asked.$SUPERVISE_SLOT', {times} }} }} }}\n  \
         http: {{ health: {{ startup: {{ http: /, failure_threshold: 60 }}, liveness: {{ http: /, {times} }} }} }}\n"
    ))
}

const EVERYBODY: [&str; 4] = ["web.1", "web.2", "http.1", "calm.1"];

/// How often each of the two was asked so far.
fn times_asked(run: &Run) -> [usize; 2] {
    [1, 2].map(|slot| fs::read(run.directory().app(&format!("asked.{slot}"))).unwrap_or_default().len())
}

/// Waits until both were asked more often than this.
fn are_asked(run: &Run, more_than: [usize; 2]) {
    let look = || times_asked(run).iter().zip(more_than).all(|(now, before)| *now > before).then_some(());
    eventually("both are asked", look, || format!("{:?}\n{}", times_asked(run), run.so_far()));
}

/// For so long, the input, both are asked on, and no more often than once in their period of a second and a few times beside it.
fn nobody_is_asked_too_often(run: &Run, length: Duration) {
    let (begin, before) = (Instant::now(), times_asked(run));
    thread::sleep(length);
    are_asked(run, times_asked(run));
    let (after, most) =
        (times_asked(run), usize::try_from(begin.elapsed().as_secs()).expect("it is small") + 3);
    assert!(
        after.iter().zip(before).all(|(now, then)| now - then <= most),
        "{before:?} {after:?}, not {most}"
    );
}

/// Nobody has ended, by whatever it was.
fn all_live_on(run: &Run) {
    let seen = run.so_far();
    assert_eq!(seen.events("started", "").len(), EVERYBODY.len(), "{seen}");
    for event in ["exited", "killed", "draining", "restarting", "unwell"] {
        assert!(seen.events(event, "").is_empty(), "{event}: {seen}");
    }
}

/// Somebody who really does not answer is found: the same probes would have found the others.
fn the_probes_find_who_does_not_answer(run: &mut Run) {
    send(run.pid_said("http.1", "up"), libc::SIGSTOP);
    run.wait_for("a second life", |seen| (seen.events("started", "http.1").len() == 2).then_some(()));
    assert_eq!(run.so_far().events("started", "").len(), EVERYBODY.len() + 1, "{}", run.so_far());
}

#[test]
fn fault_32_however_often_we_stand_still_nobody_is_ended_for_it_nor_asked_more_often() {
    const PERIOD: Duration = Duration::from_secs(1);
    let mut run = asked("1s", "400ms", 1).start();
    for name in EVERYBODY {
        run.pid_said(name, "up");
    }
    are_asked(&run, [0; 2]);
    let until = Instant::now() + at_length(Duration::from_secs(8));
    let mut length = Duration::from_millis(2300);
    while Instant::now() < until {
        run.signal(libc::SIGSTOP);
        let stopped = || (state(run.pid()) == Some('T')).then_some(());
        eventually("a supervisor that stands still", stopped, || run.so_far().to_string());
        let before = times_asked(&run);
        // The input: several periods and timeouts go by, each time at another moment of them.
        thread::sleep(length);
        // Whoever was asked by a command that had begun.
        let meanwhile = times_asked(&run);
        assert!(meanwhile.iter().zip(before).all(|(now, then)| now - then <= 1), "{before:?} {meanwhile:?}");
        let begin = Instant::now();
        run.signal(libc::SIGCONT);
        are_asked(&run, meanwhile);
        are_asked(&run, times_asked(&run));
        let (after, took) = (times_asked(&run), begin.elapsed());
        // One that was due, one that had begun, and then one in each period.
        let most = 2 + usize::try_from(took.as_millis() / PERIOD.as_millis()).expect("it is small") + 1;
        assert!(
            after.iter().zip(meanwhile).all(|(now, then)| now - then <= most),
            "{meanwhile:?} {after:?} in {took:?}"
        );
        all_live_on(&run);
        length = (length + Duration::from_millis(170)).min(Duration::from_secs(60));
    }
    the_probes_find_who_does_not_answer(&mut run);
    run.is_stopped();
}

#[test]
fn fault_32_a_drain_through_which_we_stand_still_ends_nobody_before_its_deadline() {
    let mut run = Supervise::with(
        "quick: chaos on TERM sleep-then-exit 600ms 0 pid up sleep 1h\n\
         slow: chaos ignore TERM pid up sleep 1h\n",
    )
    .args(["quick=3", "-t", "3s"])
    .start();
    for name in ["quick.1", "quick.2", "quick.3", "slow.1"] {
        run.pid_said(name, "up");
    }
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    run.event("draining", "");
    run.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(1500));
    run.signal(libc::SIGCONT);
    let seen = run.ends_with(137);
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(seen.events("killed", "").len(), 1, "{seen}");
    assert_eq!(seen.events("killed", "slow.1").len(), 1, "{seen}");
}

/// Twenty that do nothing but use one processor, the first one that we may use. They end with this.
struct Load(Vec<Child>);

impl Load {
    fn begin() -> Load {
        let one = || {
            let mut busy = Command::new("taskset");
            busy.args(["-c", &processor(), "sh", "-c", "while :; do :; done"]);
            busy.spawn().expect("there is a taskset")
        };
        Load((0..20).map(|_| one()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for busy in &mut self.0 {
            // Each is our child until it is waited for.
            busy.kill().expect("it is ours");
            busy.wait().expect("it is ours");
        }
    }
}

/// The number of the first processor that we may use.
fn processor() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("it is told");
    list.trim().split(['-', ',']).next().expect("there is one").to_owned()
}

#[test]
fn fault_32_on_one_processor_with_twenty_others_nobody_is_ended_for_our_being_slow() {
    let mut run = asked("1s", "8s", 1).under(["taskset", "-c", &processor()]).start();
    for name in EVERYBODY {
        run.pid_said(name, "up");
    }
    are_asked(&run, [0; 2]);
    let load = Load::begin();
    // So long there is hardly any time for us.
    nobody_is_asked_too_often(&run, at_length(Duration::from_secs(5)));
    all_live_on(&run);
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    drop(load);
    assert!(seen.events("killed", "").is_empty(), "{seen}");
}

#[test]
fn fault_15_a_disk_that_takes_its_time_for_each_write_holds_up_nobody() {
    if !can_judge() {
        return;
    }
    let judge = Judge::new(&[libc::SYS_write], |call| {
        let link = fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.int(0))).unwrap_or_default();
        if call.caller == Caller::Stream && link.ends_with("stdout") {
            thread::sleep(Duration::from_millis(300));
        }
        Verdict::Go
    });
    let project = asked("1s", "5s", 1);
    let log = project.directory().app("stdout");
    let mut run = project.judged(judge).stdout(Stdout::File).start();
    let text = || fs::read_to_string(&log).unwrap_or_default();
    let all_up = || (text().matches("\"message\":\"up ").count() == EVERYBODY.len()).then_some(());
    eventually("everybody is up", all_up, text);
    are_asked(&run, [0; 2]);
    nobody_is_asked_too_often(&run, at_length(Duration::from_secs(4)));
    run.is_stopped();
    let text = text();
    for (event, times) in [("started", EVERYBODY.len()), ("exited", EVERYBODY.len()), ("killed", 0)] {
        assert_eq!(text.matches(&format!("\"event\":\"{event}\"")).count(), times, "{event}: {text}");
    }
}
