//! When an instance that ended is started again, and when it is not.

use crate::harness::{Supervise, Transcript, descriptors, eventually, is_alive, zombies_of};

/// Never two starts of one slot within this many milliseconds.
const CLOSEST: i64 = 250;
/// The kernel dates a birth in hundredths of a second.
const TICK: i64 = 10;

/// The times between the births of a slot's leaders, which say them by `chaos born`, in milliseconds.
fn distances(seen: &Transcript, slot: &str) -> Vec<i64> {
    let births: Vec<i64> = seen
        .rests(slot, "born ")
        .iter()
        .map(|ticks| ticks.parse::<i64>().expect("ticks are numbers") * TICK)
        .collect();
    births.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Asserts that a delay is this one, give or take 20 %.
fn about(delay: i64, expected: i64) {
    assert!((expected * 8 / 10..=expected * 12 / 10).contains(&delay), "{delay} is not {expected} +-20 %");
}

#[test]
fn the_first_failure_restarts_at_once_and_says_so() {
    // Alive for much longer than the closest distance of two starts, so nothing holds the restart back, even if we hear of its
    // birth late.
    let mut run = Supervise::with("job: chaos sleep 1s crash-until lives 1 3 say back sleep 1h\n").start();
    let exited = run.event("exited", "job.1");
    assert_eq!(exited.number("code"), 3);
    assert_eq!(exited.number("delay_ms"), 0);
    assert!(exited.number("uptime_ms") >= 500, "{}", exited.json);
    assert!(exited.message().starts_with("job.1 exited with code 3 after "), "{}", exited.message());
    assert!(exited.message().contains("restarting"), "{}", exited.message());
    run.line("job.1", "back");
    run.is_stopped();
}

#[test]
fn fault_45_a_crash_loop_waits_longer_each_time_up_to_the_longest() {
    let mut run = Supervise::with("job: chaos born exit 1\n")
        .spec("defaults:\n  backoff: { first: 300ms, max: 900ms }\n")
        .start();
    let seen =
        run.wait_for("six starts", |seen| (seen.events("started", "job.1").len() >= 6).then(|| seen.clone()));
    let exits = seen.events("exited", "job.1");
    let delays: Vec<i64> = exits.iter().map(|exited| exited.number("delay_ms")).collect();
    assert!(delays[0] <= CLOSEST, "the first restart is held back only by the closest distance: {delays:?}");
    about(delays[1], 300);
    about(delays[2], 600);
    about(delays[3], 900);
    about(delays[4], 900);
    for (waited, delay) in distances(&seen, "job.1").iter().zip(&delays) {
        assert!(
            *waited >= delay - TICK,
            "born {waited} ms after the life before, which announced {delay} ms"
        );
    }
    run.is_stopped();
}

#[test]
fn no_slot_is_started_twice_within_a_quarter_of_a_second() {
    let mut run = Supervise::with("job: chaos born exit 1\n")
        .spec("defaults:\n  backoff: { first: 1ms, max: 1ms }\n")
        .args(["job=3"])
        .start();
    for slot in ["job.1", "job.2", "job.3"] {
        let distances = run.wait_for("four lives", |seen| {
            let distances = distances(seen, slot);
            (distances.len() >= 3).then_some(distances)
        });
        assert!(distances.iter().all(|distance| *distance >= CLOSEST - TICK), "{distances:?}");
    }
    run.is_stopped();
}

#[test]
fn fault_46_a_crash_after_a_while_also_backs_off() {
    let mut run = Supervise::with("job: chaos sleep 300ms exit 1\n")
        .spec("defaults:\n  backoff: { first: 300ms, max: 10s }\n")
        .start();
    let third = run.nth_event(3, "exited", "job.1");
    about(third.number("delay_ms"), 600);
    run.is_stopped();
}

#[test]
fn a_good_life_ends_the_streak() {
    let mut run = Supervise::with("job: chaos sleep 400ms exit 1\n")
        .spec("defaults:\n  backoff: { first: 5s, reset_after: 300ms }\n")
        .start();
    for n in 1..=3 {
        assert_eq!(run.nth_event(n, "exited", "job.1").number("delay_ms"), 0, "life {n}");
    }
    run.is_stopped();
}

#[test]
fn it_gives_up_after_so_many_failures_with_the_last_words() {
    let mut run = Supervise::with("job: chaos say why-it-failed exit 9\nother: chaos sleep 1h\n")
        .spec("defaults:\n  backoff: { first: 1ms, give_up_after: 3 }\nformation:\n  job: { essential: false }\n")
        .start();
    let failed = run.event("failed", "job.1");
    assert_eq!(failed.json["reason"], "gave_up");
    assert_eq!(failed.number("failures"), 3);
    let last_words = |seen: &Transcript| {
        let after = &seen.out[failed.place..];
        after.iter().any(|line| String::from_utf8_lossy(line).contains("why-it-failed")).then_some(())
    };
    run.wait_for("the last lines it wrote, with or after the notice", last_words);
    // The other type lives on, and the one that failed is not tried again.
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "job.1").len(), 3, "{seen}");
}

#[test]
fn exit_0_is_completed_and_not_restarted() {
    let mut run = Supervise::with("job: chaos say done\nother: chaos gate gate\n").gate("gate").start();
    let completed = run.event("completed", "job.1");
    assert!(completed.message().contains("will not be restarted"), "{}", completed.message());
    run.directory().open_gate("gate");
    let seen = run.ends_with(0);
    assert_eq!(seen.events("started", "job.1").len(), 1, "{seen}");
}

#[test]
fn always_restarts_exit_0_too_and_is_the_default_of_web() {
    let mut run = Supervise::with("web: chaos say life\njob: chaos say life\n")
        .spec("formation:\n  job: { restart: always }\n")
        .start();
    run.nth_event(3, "started", "web.1");
    run.nth_event(3, "started", "job.1");
    let seen = run.is_stopped();
    assert!(seen.events("completed", "").is_empty(), "{seen}");
}

#[test]
fn never_means_never() {
    let mut run = Supervise::with("job: chaos exit 5\nother: chaos sleep 1h\n")
        .spec("formation:\n  job: { restart: never, essential: false }\n")
        .start();
    assert_eq!(run.event("failed", "job.1").json["reason"], "restart_never");
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "job.1").len(), 1, "{seen}");
}

#[test]
fn one_slot_that_crashes_leaves_its_sisters_alone() {
    let mut run =
        Supervise::with("job: chaos crash-until lives 1 1 pid alive sleep 1h\n").args(["job=3"]).start();
    let crashed = run.event("exited", "").json["process"].as_str().expect("a name").to_owned();
    run.nth_event(2, "started", &crashed);
    for slot in ["job.1", "job.2", "job.3"] {
        let pid = run.pid_said(slot, "alive");
        assert!(is_alive(pid), "{slot}");
        let lives = if slot == crashed { 2 } else { 1 };
        assert_eq!(run.so_far().events("started", slot).len(), lives, "{slot}");
    }
    run.is_stopped();
}

#[test]
fn a_signal_from_somebody_else_is_a_failure_too() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let mut run = Supervise::with("job: chaos pid alive sleep 1h\n").start();
        crate::harness::send(run.pid_said("job.1", "alive"), signal);
        let name = if signal == libc::SIGTERM { "SIGTERM" } else { "SIGKILL" };
        assert_eq!(run.event("exited", "job.1").json["signal"], name);
        run.nth_event(2, "started", "job.1");
        run.is_stopped();
    }
}

#[test]
fn fault_26_no_fast_exit_is_lost() {
    const COUNT: usize = 200;
    let mut run = Supervise::with("job: chaos\n")
        .args(["--no-port", &format!("job={COUNT}")])
        .without_port_argument()
        .start();
    let seen = run.ends_with(0);
    assert_eq!(seen.events("started", "").len(), COUNT);
    assert_eq!(seen.events("exited", "").len(), COUNT);
    assert_eq!(seen.events("completed", "").len(), COUNT);
}

#[test]
fn fault_27_two_hundred_that_exit_at_once_are_all_seen_and_reaped() {
    const COUNT: usize = 200;
    let mut run = Supervise::with("job: chaos gate gate\nlast: chaos sleep 1h\n")
        .gate("gate")
        .args(["--no-port", &format!("job={COUNT}")])
        .without_port_argument()
        .start();
    run.wait_for("all of them running", |seen| (seen.events("started", "").len() == COUNT + 1).then_some(()));
    run.directory().open_gate("gate");
    run.wait_for("all of them exited", |seen| (seen.events("exited", "").len() == COUNT).then_some(()));
    let pid = run.pid();
    let zombies = || zombies_of(pid);
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    run.is_stopped();
}

#[test]
fn fault_28_a_child_and_an_orphan_in_one_tick_are_both_taken_care_of() {
    // The inner process becomes ours when the outer one exits, and all end in the same moment.
    let line = "chaos fork fork gate gate end gate gate end gate gate";
    let mut run =
        Supervise::with(format!("job: {line}\nlast: chaos sleep 1h\n")).gate("gate").args(["job=20"]).start();
    run.wait_for("all of them running", |seen| (seen.events("started", "").len() == 21).then_some(()));
    run.directory().open_gate("gate");
    run.wait_for("all of them completed", |seen| (seen.events("completed", "").len() == 20).then_some(()));
    let pid = run.pid();
    let zombies = || zombies_of(pid);
    eventually("no zombies", || zombies().is_empty().then_some(()), || format!("{:?}", zombies()));
    run.is_stopped();
}

#[test]
fn restarts_cost_no_descriptors() {
    let start = |crashes: u32| {
        let line = format!("job: chaos crash-until lives {crashes} 1 say up sleep 1h\n");
        let run = Supervise::with(line).args(["job=10"]).start();
        for slot in 1..=10 {
            run.line(&format!("job.{slot}"), "up");
        }
        run
    };
    let (mut calm, mut busy) = (start(0), start(20));
    let expected = descriptors(calm.pid());
    let same = || (descriptors(busy.pid()) == expected).then_some(());
    eventually("as many descriptors", same, || format!("{} instead of {expected}", descriptors(busy.pid())));
    assert_eq!(busy.so_far().events("exited", "").len(), 20);
    calm.is_stopped();
    busy.is_stopped();
}
