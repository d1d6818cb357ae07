//! Who is ready, who is well, and what becomes of who is not.

use std::time::Duration;

use supervise::api::{
    ExitReason, ExitStatus, Notice, ProbeKind, ProbeResult, Signal, Target, Verb, When, Word,
};
use supervise::app::{Restart, Timing};
use supervise::supervisor::{Event, Member, Program, Reread};

use crate::fake_host::{
    STUBBORN, Script, World, after, member, ms, obeys_after, probed, slot, telling, with,
};

const SECONDS: u64 = 1_000;

/// Kubernetes' own, three times as fast.
fn timing() -> Timing {
    Timing { period: ms(3 * SECONDS), ..Timing::default() }
}

fn asked(probe: ProbeKind) -> Member {
    probed(member("web", 1), probe, timing())
}

/// The moments at which something of this kind was ordered or said, in seconds.
fn moments(world: &World, what: &str) -> Vec<String> {
    let lines = world.said().iter().filter(|line| line.ends_with(what));
    lines.map(|line| line.split_once(' ').expect("a time").0.to_owned()).collect()
}

fn ready(world: &World) -> bool {
    world.core.supervisor.status(world.now).processes[0].ready
}

fn reason(world: &World) -> Option<String> {
    world.core.supervisor.status(world.now).processes[0].reason.clone()
}

fn tell(world: &mut World, said: Word) {
    let (instance, slot) = world.core.alive().next().expect("somebody lives");
    world.tell(Event::Told { slot, instance, word: said });
}

#[test]
fn an_instance_is_asked_every_second_until_it_first_passes_and_every_period_from_then_on() {
    let script = Script::runs().answering(ProbeKind::Readiness, &[false, false, true]);
    let mut world = World::new(vec![asked(ProbeKind::Readiness)]).script(slot(0, 1), [script]);
    world.pass(ms(1_500));
    assert!(!ready(&world));
    assert_eq!(reason(&world).as_deref(), Some("readiness: refused"));
    world.pass(ms(8_000));
    assert_eq!(moments(&world, "ask web.1 for its readiness"), ["0.000", "1.000", "2.000", "5.000", "8.000"]);
    assert_eq!(moments(&world, "web.1 is ready after 2s"), ["2.000"]);
    assert!(ready(&world));
    assert_eq!(reason(&world), None);
}

#[test]
fn the_first_try_comes_after_the_initial_delay() {
    let timing = Timing { initial_delay: ms(2_500), ..timing() };
    let mut world = World::new(vec![probed(member("web", 1), ProbeKind::Readiness, timing)]);
    world.pass(ms(2_400));
    assert_eq!(moments(&world, "ask web.1 for its readiness"), [""; 0]);
    world.pass(ms(200));
    assert_eq!(moments(&world, "ask web.1 for its readiness"), ["2.500"]);
}

#[test]
fn startup_comes_before_the_other_two() {
    let web = probed(
        probed(asked(ProbeKind::Startup), ProbeKind::Readiness, timing()),
        ProbeKind::Liveness,
        timing(),
    );
    let script = Script::runs().answering(ProbeKind::Startup, &[false, false, true]);
    let mut world = World::new(vec![web]).script(slot(0, 1), [script]);
    world.pass(ms(4_000));
    assert_eq!(moments(&world, "ask web.1 for its startup"), ["0.000", "1.000", "2.000"]);
    assert_eq!(moments(&world, "ask web.1 for its readiness"), ["2.000"]);
    assert_eq!(moments(&world, "ask web.1 for its liveness"), ["2.000"]);
}

#[test]
fn tries_before_the_first_success_come_faster_than_failures_count() {
    let script = Script::runs().answering(ProbeKind::Startup, &[false]);
    let mut world = World::new(vec![asked(ProbeKind::Startup)]).script(slot(0, 1), [script]);
    world.pass(ms(5_900));
    assert_eq!(
        moments(&world, "SIGTERM to the leader of web.1"),
        [""; 0],
        "two failures, three seconds apart"
    );
    world.pass(ms(100));
    assert_eq!(moments(&world, "SIGTERM to the leader of web.1"), ["6.000"], "the third");
}

#[test]
fn who_never_starts_is_stopped_and_that_is_a_failure_and_it_was_never_ready() {
    let script = Script::runs().answering(ProbeKind::Startup, &[false]).led_by(obeys_after(ms(100)));
    let mut world =
        World::new(vec![with(asked(ProbeKind::Startup), |policy| policy.restart = Restart::Never)])
            .script(slot(0, 1), [script]);
    assert_eq!(world.run_to_exit(), 1);
    let said: Vec<&str> =
        world.said().iter().filter(|line| !line.contains("ask web.1")).map(String::as_str).collect();
    assert_eq!(
        said[2..],
        [
            "6.000 web.1 failed its startup probe, so it is stopped: refused",
            "6.000 SIGTERM to the leader of web.1",
            "6.100 web.1 exited 0 (after its last words)",
            "6.100 web.1 failed, never to be restarted",
            "6.100 every instance of the essential type web has failed: draining [] at most 0ms",
            "6.100 ended with 1 because of web.1",
            "6.100 exit 1",
        ]
    );
    let exit = world.core.supervisor.status(world.now).processes[0].last_exit.expect("it ended");
    assert_eq!((exit.code, exit.reason), (Some(0), ExitReason::Unwell));
}

#[test]
fn who_fails_its_liveness_ends_by_its_drain_and_starts_again_by_its_policy() {
    let script = Script::runs().answering(ProbeKind::Liveness, &[true, false, false, false]).led_by(STUBBORN);
    let mut world = World::new(vec![with(asked(ProbeKind::Liveness), |policy| policy.drain = ms(2_000))])
        .script(slot(0, 1), [script]);
    world.pass(ms(12_000));
    let said: Vec<&str> =
        world.said().iter().filter(|line| !line.contains("ask web.1")).map(String::as_str).collect();
    assert_eq!(
        said[2..],
        [
            "9.000 web.1 failed its liveness probe, so it is stopped: refused",
            "9.000 SIGTERM to the leader of web.1",
            "11.000 web.1 killed: DrainTimeout { drain_ms: 2000 }",
            "11.000 kill everyone of web.1",
            "11.000 web.1 died of SIGKILL (after its last words)",
            "11.000 web.1 again in 0ms",
            "11.000 spawn web.1",
            "11.000 web.1 started",
        ]
    );
}

#[test]
fn a_success_in_between_begins_the_count_anew() {
    let results = [true, false, false, true, false, false, true];
    let script = Script::runs().answering(ProbeKind::Liveness, &results);
    let mut world = World::new(vec![asked(ProbeKind::Liveness)]).script(slot(0, 1), [script]);
    world.pass(ms(60_000));
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn who_fails_its_readiness_is_let_be_and_comes_back() {
    let results = [true, false, false, false, true];
    let script = Script::runs().answering(ProbeKind::Readiness, &results);
    let mut world = World::new(vec![asked(ProbeKind::Readiness)]).script(slot(0, 1), [script]);
    world.pass(ms(8_000));
    assert!(ready(&world), "two failures are not three");
    world.pass(ms(2_000));
    assert!(!ready(&world));
    assert_eq!(reason(&world).as_deref(), Some("readiness: refused"));
    world.pass(ms(3_000));
    assert!(ready(&world));
    assert_eq!(moments(&world, "web.1 is not ready any more: refused"), ["9.000"]);
    assert_eq!(moments(&world, "web.1 is ready after 12s"), ["12.000"]);
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn what_could_not_be_asked_says_nothing_and_is_asked_again_in_a_second() {
    let mut world = World::new(vec![asked(ProbeKind::Liveness)]);
    world.pass(ms(0));
    let (instance, slot) = world.core.alive().next().expect("it lives");
    let timing = timing();
    for _ in 0..20 {
        // The world answers too, but only the first answer counts: what it says is late.
        let why = "no descriptors".to_owned();
        let result = ProbeResult::NotRun { why };
        world.pass(timing.period);
        world.tell(Event::Probed { slot, instance, probe: ProbeKind::Liveness, result });
    }
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn a_probe_is_never_asked_twice_at_once_however_long_its_answer_takes() {
    let script = Script::runs().answering_after(ms(7_000), ProbeKind::Liveness, &[true]);
    let mut world = World::new(vec![asked(ProbeKind::Liveness)]).script(slot(0, 1), [script]);
    world.pass(ms(21_000));
    // The ledger holds against it, too.
    assert_eq!(moments(&world, "ask web.1 for its liveness"), ["0.000", "10.000", "20.000"]);
}

#[test]
fn after_a_long_sleep_each_is_asked_once_before_anything_is_done() {
    let web = Member { quantity: 20, ..asked(ProbeKind::Liveness) };
    let mut world = World::new(vec![web]);
    world.pass(ms(10_000));
    world.skip();
    world.oversleep(Duration::from_secs(600));
    world.pass(ms(0));
    let asked = world.said().iter().filter(|line| line.contains("for its liveness")).count();
    assert_eq!(asked, 20, "{:#?}", world.said());
    world.pass(ms(2_900));
    assert!(world.said().iter().all(|line| !line.contains("SIGTERM")), "{:#?}", world.said());
}

#[test]
fn fault_32_a_silence_that_we_slept_through_ourselves_is_no_silence() {
    let web = telling(member("web", 1), ProbeKind::Liveness, timing());
    let mut world = World::new(vec![web]);
    world.pass(ms(8_000));
    tell(&mut world, Word::Alive);
    world.oversleep(Duration::from_secs(600));
    world.pass(ms(8_900));
    assert_eq!(moments(&world, "SIGTERM to the leader of web.1"), [""; 0]);
    world.pass(ms(200));
    assert_eq!(moments(&world, "SIGTERM to the leader of web.1").len(), 1, "but now it has had its time");
}

#[test]
fn fault_47_who_dies_before_it_was_ready_is_a_failure_of_that_name() {
    let web = with(asked(ProbeKind::Readiness), |policy| policy.restart = Restart::Never);
    let script = Script { ends: Some((ms(500), ExitStatus::Code(3))), ..Script::runs() };
    let mut world =
        World::new(vec![web]).script(slot(0, 1), [script.answering(ProbeKind::Readiness, &[false])]);
    assert_eq!(world.run_to_exit(), 3);
    let process = &world.core.supervisor.status(world.now).processes[0];
    let exit = process.last_exit.expect("it ended");
    assert_eq!((process.ready, exit.code, exit.reason), (false, Some(3), ExitReason::ExitedBeforeReady));
}

#[test]
fn fault_48_who_is_to_say_that_it_is_ready_and_never_does_has_failed_and_is_not_ready() {
    let web = telling(member("web", 1), ProbeKind::Startup, timing());
    let mut world = World::new(vec![web, after(member("worker", 1), &["web"])]);
    world.pass(ms(8_999));
    assert!(!ready(&world));
    assert_eq!(world.core.newest(), 1, "nobody who waits for it was started");
    world.pass(ms(1));
    assert_eq!(
        moments(&world, "web.1 failed its startup probe, so it is stopped: no READY=1 within 9s"),
        ["9.000"]
    );
    assert_eq!(world.core.newest(), 2, "another web");
}

#[test]
fn ready_by_its_own_word_is_ready_at_once_and_others_may_start() {
    let mut world = World::new(vec![member("web", 1), after(member("worker", 1), &["web"])]);
    world.pass(ms(100));
    tell(&mut world, Word::Ready);
    assert!(ready(&world));
    assert_eq!(moments(&world, "web.1 is ready after 100ms"), ["0.100"]);
    world.pass(ms(1));
    assert_eq!(world.core.newest(), 2);
}

#[test]
fn its_own_word_does_not_answer_for_a_probe() {
    let script = Script::runs().answering(ProbeKind::Readiness, &[false]);
    let mut world = World::new(vec![asked(ProbeKind::Readiness)]).script(slot(0, 1), [script]);
    world.pass(ms(100));
    tell(&mut world, Word::Ready);
    assert!(!ready(&world));
}

#[test]
fn who_says_that_it_stops_is_not_sent_work_and_not_ended_for_being_unwell() {
    let web = probed(telling(member("web", 1), ProbeKind::Startup, timing()), ProbeKind::Liveness, timing());
    let script = Script::runs().answering(ProbeKind::Liveness, &[true, false]);
    let mut world = World::new(vec![web]).script(slot(0, 1), [script]);
    world.pass(ms(100));
    tell(&mut world, Word::Ready);
    assert!(ready(&world));
    tell(&mut world, Word::Stopping);
    assert!(!ready(&world));
    assert_eq!(reason(&world).as_deref(), Some("it says that it is stopping"));
    tell(&mut world, Word::Ready);
    world.pass(ms(60_000));
    assert!(!ready(&world), "never again");
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn a_watchdog_that_is_not_heard_ends_it_and_one_that_barks_at_once() {
    let web = telling(member("web", 1), ProbeKind::Liveness, timing());
    let mut world = World::new(vec![web]);
    for _ in 0..10 {
        world.pass(ms(8_000));
        tell(&mut world, Word::Alive);
    }
    assert_eq!(world.core.newest(), 1);
    world.pass(ms(9_000));
    let line = "web.1 failed its liveness probe, so it is stopped: no WATCHDOG=1 within 9s";
    assert_eq!(moments(&world, line), ["89.000"]);
    world.pass(ms(1_000));
    world.skip();
    tell(&mut world, Word::Failing);
    assert!(world.said()[0].contains("it says so (WATCHDOG=trigger)"), "{:#?}", world.said());
}

#[test]
fn what_it_says_of_itself_is_shown_until_its_successor_begins() {
    let mut world = World::new(vec![member("web", 1)]);
    world.pass(ms(100));
    tell(&mut world, Word::Status("warming up".to_owned()));
    let text = |world: &World| world.core.supervisor.status(world.now).processes[0].status_text.clone();
    assert_eq!(text(&world).as_deref(), Some("warming up"));
    let manner = supervise::api::Manner::AtOnce;
    world.ask(Verb::Restart { targets: Vec::new(), manner }).expect("it is possible");
    world.pass(ms(1_000));
    assert_eq!(text(&world), None);
}

#[test]
fn fault_51_who_is_ended_is_not_asked_any_more_and_its_late_answers_change_nothing() {
    let script = || {
        Script::runs().led_by(obeys_after(ms(5_000))).answering_after(ms(500), ProbeKind::Liveness, &[false])
    };
    let web = with(asked(ProbeKind::Liveness), |policy| policy.drain = ms(8_000));
    let mut world = World::new(vec![web]).habit(0, script());
    world.pass(ms(100));
    let target: Target = "web".parse().expect("a target");
    world.ask(Verb::Stop { targets: vec![target] }).expect("it is possible");
    world.skip();
    world.pass(ms(10_000));
    assert_eq!(world.said(), ["5.100 web.1 exited 0 (after its last words)"]);
}

#[test]
fn a_restart_by_request_forgives_who_was_just_found_unwell() {
    let script = Script::runs().answering(ProbeKind::Liveness, &[false]).led_by(obeys_after(ms(1_000)));
    let web = with(asked(ProbeKind::Liveness), |policy| {
        policy.restart = Restart::Never;
    });
    let mut world = World::new(vec![web]).script(slot(0, 1), [script]);
    world.pass(ms(6_500));
    let manner = supervise::api::Manner::AtOnce;
    world.ask(Verb::Restart { targets: Vec::new(), manner }).expect("it is possible");
    world.pass(ms(5_000));
    assert_eq!((world.exit(), world.core.newest()), (None, 2), "{:#?}", world.said());
}

#[test]
fn a_wait_ends_when_the_probe_has_passed() {
    let script = Script::runs().answering(ProbeKind::Readiness, &[false, false, false, false, true]);
    let mut world = World::new(vec![asked(ProbeKind::Readiness)]).script(slot(0, 1), [script]);
    let id = world.request(Verb::Settle, When::Happened);
    world.pass(ms(3_900));
    assert_eq!(world.answer_to(id), None);
    world.pass(ms(100));
    assert!(world.answer_to(id).is_some());
}

#[test]
fn a_probe_that_comes_or_goes_by_a_reload_holds_for_what_runs() {
    let mut world =
        World::new(vec![member("web", 1)]).habit(0, Script::runs().answering(ProbeKind::Liveness, &[false]));
    world.pass(ms(5_000));
    let reload = |world: &mut World, member: Member| {
        world.ask_later(Verb::Reload);
        world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Same }] });
    };
    reload(&mut world, asked(ProbeKind::Liveness));
    world.pass(ms(5_900));
    assert_eq!(moments(&world, "ask web.1 for its liveness").len(), 6);
    reload(&mut world, member("web", 1));
    world.pass(ms(20_000));
    assert_eq!(world.core.newest(), 1, "nobody asks any more: {:#?}", world.said());
    assert!(ready(&world));
}

#[test]
fn fail_fast_ends_everything_for_who_was_unwell_too() {
    use supervise::supervisor::{FailFast, Habits};
    let habits = Habits { fail_fast: FailFast::Yes, ..Habits::default() };
    let script = Script::runs().answering(ProbeKind::Liveness, &[false]);
    let mut world = World::with_habits(vec![asked(ProbeKind::Liveness), member("worker", 1)], habits)
        .script(slot(0, 1), [script]);
    assert_eq!(world.run_to_exit(), 1);
}

#[test]
fn a_term_ends_all_of_it_whatever_was_asked() {
    let script = Script::runs().answering_after(ms(60_000), ProbeKind::Startup, &[true]);
    let mut world = World::new(vec![asked(ProbeKind::Startup)]).script(slot(0, 1), [script]);
    world.pass(ms(500));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    assert!(world.now < supervise::supervisor::Time::ZERO + ms(1_000));
    assert!(world.notices().all(|notice| !matches!(notice, Notice::Unwell { .. })));
}

#[test]
fn how_well_everything_is_is_known_for_whoever_is_above_us() {
    let mut world = World::new(vec![
        Member { quantity: 2, ..asked(ProbeKind::Readiness) },
        with(member("extra", 1), |policy| policy.essential = false),
        member("none", 0),
    ])
    .script(slot(0, 2), [Script::runs().answering(ProbeKind::Readiness, &[false, false, true])]);
    let vitals = |world: &World| world.core.supervisor.vitals();
    world.pass(ms(1_500));
    let [web] = &vitals(&world).essential[..] else { panic!("{:?}", vitals(&world)) };
    assert_eq!((web.process_type.as_str(), web.wanted, web.ready, web.enough), ("web", 2, 1, 2));
    assert!(!vitals(&world).started);
    world.pass(ms(1_000));
    assert!(vitals(&world).started);
    world.signal(Signal::TERM);
    assert!(vitals(&world).draining && vitals(&world).started);
}

#[test]
fn the_reason_is_that_of_the_probe_it_names_and_the_latest() {
    let web = probed(asked(ProbeKind::Readiness), ProbeKind::Liveness, timing());
    let waits = |probe| Script::runs().answering_after(ms(60_000), probe, &[true]);
    let script = waits(ProbeKind::Liveness).answering_after(ms(60_000), ProbeKind::Readiness, &[true]);
    let mut world = World::new(vec![web]).script(slot(0, 1), [script]);
    let tell = |world: &mut World, probe, why: &str| {
        let (instance, slot) = world.core.alive().next().expect("somebody lives");
        let result = match why {
            "" => ProbeResult::Passed,
            why => ProbeResult::Failed { why: why.to_owned() },
        };
        world.tell(Event::Probed { slot, instance, probe, result });
        world.pass(ms(3_000));
    };
    world.pass(ms(100));
    tell(&mut world, ProbeKind::Readiness, "connection refused");
    tell(&mut world, ProbeKind::Liveness, "deadlocked");
    assert_eq!(reason(&world).as_deref(), Some("readiness: connection refused"));
    tell(&mut world, ProbeKind::Readiness, "");
    for why in ["answered 500", "answered 501", "answered 502", "answered 503"] {
        tell(&mut world, ProbeKind::Readiness, why);
    }
    assert_eq!(reason(&world).as_deref(), Some("readiness: answered 503"));
}

#[test]
fn who_is_not_asked_any_more_is_ready_and_that_is_said_and_counted() {
    let mut world = World::new(vec![asked(ProbeKind::Readiness)])
        .habit(0, Script::runs().answering(ProbeKind::Readiness, &[false]));
    world.pass(ms(2_500));
    assert!(!ready(&world));
    world.ask_later(Verb::Reload);
    let reread = Reread { type_index: 0, member: member("web", 1), program: Program::Same };
    world.tell(Event::Reread { types: vec![reread] });
    assert!(ready(&world));
    assert_eq!(moments(&world, "web.1 is ready after 2.5s"), ["2.500"]);
    assert_eq!(world.core.supervisor.tallies()[0].starts.count, 1);
}
