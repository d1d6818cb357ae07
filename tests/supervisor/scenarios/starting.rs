//! From the first moment to a formation that runs.

use supervise::api::{ExitStatus, Process, Signal};
use supervise::supervisor::{Event, FoundBy, Member, SpawnErrorKind, Time};

use crate::fake_host::{Birth, Script, World, member, ms, slot, with};

#[test]
fn every_slot_of_the_formation_starts_in_its_order() {
    let mut world = World::new(vec![member("web", 2), member("worker", 1)]);
    world.saw(&[]);
    world.pass(ms(1_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 spawn web.2",
        "0.000 spawn worker.1",
        "0.000 web.1 started",
        "0.000 web.2 started",
        "0.000 worker.1 started",
    ]);
    assert_eq!(world.core.supervisor.deadline(), None, "there is nothing to wait for");
}

#[test]
fn ten_thousand_slots_start_eight_a_step_and_a_signal_in_between_is_heard() {
    let mut world = World::new(vec![member("web", 10_000)]);
    for step in 1..=5 {
        world.turn();
        assert_eq!(world.core.alive().count(), step * 8);
        assert_eq!(world.core.supervisor.deadline(), Some(Time::ZERO), "more is due now");
    }
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    assert_eq!(world.core.newest(), 40, "nothing was started after the signal");

    let mut world = World::new(vec![member("web", 10_000)]);
    world.pass(ms(1_000));
    assert_eq!(world.core.alive().count(), 10_000);
    assert_eq!(world.core.supervisor.deadline(), None);
}

#[test]
fn a_term_while_the_40th_of_100_is_being_spawned_stops_the_39_and_the_40th() {
    let mut world = World::new(vec![member("web", 100)])
        .script(slot(0, 40), [Script { birth: Birth::RunsUnanswered, ..Script::runs() }]);
    for _ in 0..5 {
        world.turn();
    }
    world.skip().signal(Signal::TERM);
    let mut expected =
        vec!["0.000 SIGTERM: draining [web=40] at most 8000ms".to_owned(), "0.000 read on".to_owned()];
    expected.extend((1..40).map(|number| format!("0.000 SIGTERM to the leader of web.{number}")));
    world.saw(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    world.answer();
    world.saw(&["0.000 web.40 started", "0.000 SIGTERM to the leader of web.40"]);
    assert_eq!(world.run_to_exit(), 0);
    assert_eq!(world.core.newest(), 40);
}

#[test]
fn a_half_born_child_is_stopped_once_it_is_there() {
    let unanswered = Script { birth: Birth::RunsUnanswered, ..Script::runs() };
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [unanswered]);
    world.pass(ms(0));
    world.signal(Signal::TERM);
    world.saw(&["0.000 spawn web.1", "0.000 SIGTERM: draining [web=1] at most 8000ms", "0.000 read on"]);
    world.pass(ms(20));
    world.saw(&[]);
    world.answer();
    world.saw(&["0.020 web.1 started", "0.020 SIGTERM to the leader of web.1"]);
    world.run_to_exit();
    world.saw(&["0.020 web.1 died of SIGTERM (after its last words)", "0.020 ended with 0", "0.020 exit 0"]);
}

#[test]
fn a_child_that_could_not_be_born_after_a_stop_was_asked_for_does_not_count() {
    let mut world = World::new(vec![member("web", 2)])
        .script(slot(0, 1), [Script::fails(SpawnErrorKind::NotFound)])
        .script(slot(0, 2), [Script { birth: Birth::RunsUnanswered, ..Script::runs() }]);
    world.pass(ms(0));
    world.skip().signal(Signal::TERM);
    let (instance, _) = world.core.alive().next().expect("web.2 is being born");
    let error =
        supervise::supervisor::SpawnError { kind: SpawnErrorKind::NotFound, message: "gone".to_owned() };
    world.skip().tell(Event::SpawnFailed { slot: slot(0, 2), instance, error });
    world.saw(&["0.000 web.2 not started: gone", "0.000 ended with 0", "0.000 exit 0"]);
}

#[test]
fn a_program_that_is_not_found_at_its_types_first_start_is_final_at_once() {
    for (kind, code) in [(SpawnErrorKind::NotFound, 127), (SpawnErrorKind::NotExecutable, 126)] {
        let mut world = World::new(vec![member("web", 1)]).habit(0, Script::fails(kind));
        assert_eq!(world.run_to_exit(), code);
        world.saw(&[
            "0.000 spawn web.1",
            &format!("0.000 web.1 not started: {kind:?}"),
            "0.000 web.1 failed, it never ran",
            "0.000 every instance of the essential type web has failed: draining [] at most 0ms",
            &format!("0.000 ended with {code} because of web.1"),
            &format!("0.000 exit {code}"),
        ]);
    }
}

#[test]
fn a_program_that_ran_once_and_is_then_not_found_is_tried_again() {
    let mut world = World::new(vec![member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(5_000), 1), Script::fails(SpawnErrorKind::NotFound)]);
    world.pass(ms(6_000));
    let lines = [
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 exited 1, again in 0ms (after its last words)",
        "5.000 spawn web.1",
    ];
    world.saw(&[
        lines[0],
        lines[1],
        lines[2],
        lines[3],
        "5.000 web.1 not started: NotFound, again in 513ms",
        "5.513 spawn web.1",
        "5.513 web.1 started",
    ]);
}

#[test]
fn where_a_shell_looks_for_the_program_its_127_at_the_first_start_is_final_too() {
    let by_shell = || Member { found_by: FoundBy::Shell, ..member("web", 1) };
    for code in [126, 127] {
        let mut world = World::new(vec![by_shell()]).habit(0, Script::exits(ms(10), code));
        assert_eq!(world.run_to_exit(), code);
        world.skip();
        assert_eq!(world.core.newest(), 1);
    }
    // Later it is a failure like any other, and so is a late 127 of a first life.
    for first in [Script::exits(ms(10), 1), Script::exits(ms(1_000), 127)] {
        let mut world = World::new(vec![by_shell()])
            .script(slot(0, 1), [first, Script::exits(ms(10), 127), Script::runs()]);
        world.pass(ms(5_000));
        assert_eq!((world.core.newest(), world.exit()), (3, None));
    }
}

#[test]
fn where_we_found_the_program_ourselves_its_own_127_is_its_own() {
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [Script::exits(ms(10), 127)]);
    world.pass(ms(300));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "0.010 web.1 exited 127, again in 240ms (after its last words)",
        "0.250 spawn web.1",
        "0.250 web.1 started",
    ]);
}

#[test]
fn a_shortage_of_the_system_waits_a_second_and_more_and_never_counts_as_a_failure() {
    let web = with(member("web", 1), |policy| policy.backoff.give_up_after = 1);
    let short = || Script::fails(SpawnErrorKind::Shortage);
    let mut world = World::new(vec![web]).script(slot(0, 1), [short(), short(), short()]);
    world.pass(ms(10_000));
    assert_eq!((world.core.newest(), world.exit()), (4, None), "three shortages and a start");
    // The ledger has held every wait against 1, 2 and 4 seconds, and up to a fifth more.
    world.tell(Event::Woke);
    assert_eq!(world.core.supervisor.deadline(), None);
}

#[test]
fn a_port_that_somebody_has_is_said_before_the_start_and_does_not_prevent_it() {
    let mut web = member("web", 2);
    web.first_port = Some(5000);
    let unanswered = || Script { birth: Birth::RunsUnanswered, ..Script::runs() };
    let mut world = World::new(vec![web]).habit(0, unanswered());
    world.pass(ms(0));
    let (instance, key) = world.core.alive().last().expect("web.2 is being born");
    let pid = 4321.try_into().expect("a pid");
    let holder = Some(Process { pid, name: "python3".to_owned() });
    world.skip().tell(Event::PortTaken { slot: key, instance, holder });
    world.saw(&["0.000 web.2 gets port 5001, where process 4321 (python3) already listens"]);
    world.answer();
    world.saw(&["0.000 web.1 started", "0.000 web.2 started"]);
}

#[test]
fn a_formation_of_none_stays_up_until_it_is_asked_to_end() {
    let mut world = World::new(vec![member("web", 0)]);
    world.tell(Event::Woke);
    world.pass(ms(100_000));
    world.saw(&[]);
    world.signal(Signal::TERM);
    world.saw(&["100.000 SIGTERM: draining [] at most 0ms", "100.000 ended with 0", "100.000 exit 0"]);
}

#[test]
fn what_is_told_of_an_earlier_life_changes_nothing() {
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [Script::exits(ms(1_000), 1)]);
    world.pass(ms(500));
    let (old, key) = world.core.alive().next().expect("web.1 runs");
    world.pass(ms(1_000));
    world.skip();
    let pid = 101.try_into().expect("a pid");
    let living = vec![Process { pid, name: String::new() }];
    for event in [
        Event::Spawned { slot: key, instance: old, pid },
        Event::LeaderExited { slot: key, instance: old, status: ExitStatus::Code(1), living: Vec::new() },
        Event::Remaining { slot: key, instance: old, living },
        Event::Remaining { slot: key, instance: old, living: Vec::new() },
        Event::SignalRefused { slot: key, instance: old, signal: Signal::TERM, error: "EPERM".to_owned() },
        Event::PortTaken { slot: key, instance: old, holder: None },
    ] {
        // The ledger compares the whole supervisor before and after.
        world.tell(event);
    }
    world.saw(&[]);
}

#[test]
fn a_program_that_a_sister_is_running_was_found() {
    let mut world =
        World::new(vec![member("web", 2)]).script(slot(0, 2), [Script::fails(SpawnErrorKind::NotFound)]);
    world.pass(ms(250));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 spawn web.2",
        "0.000 web.1 started",
        "0.000 web.2 not started: NotFound, again in 250ms",
        "0.250 spawn web.2",
        "0.250 web.2 started",
    ]);
}
