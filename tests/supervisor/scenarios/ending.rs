//! What ends everything by itself, and the exit codes in their order of precedence.

use supervise::api::{ExitStatus, Signal};
use supervise::app::Restart;
use supervise::supervisor::{Action, Event, FailFast, Farewell, Habits, Member, SpawnErrorKind};

use crate::fake_host::{STUBBORN, Script, UNKILLABLE, World, member, ms, obeys_after, slot, with};

fn once(name: &str, quantity: u32) -> Member {
    with(member(name, quantity), |policy| policy.restart = Restart::Never)
}

fn by_the_way(name: &str, quantity: u32) -> Member {
    with(once(name, quantity), |policy| policy.essential = false)
}

fn fail_fast() -> Habits {
    Habits { fail_fast: FailFast::Yes, ..Habits::default() }
}

#[test]
fn when_everything_has_completed_it_ends_with_0() {
    let mut world = World::new(vec![member("one", 1), member("two", 1)])
        .habit(0, Script::exits(ms(100), 0))
        .habit(1, Script::exits(ms(200), 0));
    world.pass(ms(150));
    world.skip();
    assert_eq!(world.run_to_exit(), 0);
    world.saw(&[
        "0.200 two.1 exited 0 (after its last words)",
        "0.200 two.1 completed",
        "0.200 ended with 0",
        "0.200 exit 0",
    ]);
}

#[test]
fn when_everything_has_ended_and_some_had_failed_the_code_is_the_firsts() {
    let mut world = World::new(vec![by_the_way("one", 2), by_the_way("two", 1)])
        .script(slot(0, 1), [Script::exits(ms(300), 65)])
        .script(slot(0, 2), [Script::exits(ms(100), 200)])
        .script(slot(1, 1), [Script::exits(ms(400), 0)]);
    world.pass(ms(350));
    world.skip();
    assert_eq!(world.run_to_exit(), 200);
    world.saw(&[
        "0.400 two.1 exited 0 (after its last words)",
        "0.400 two.1 completed",
        "0.400 ended with 200 because of one.2",
        "0.400 exit 200",
    ]);
}

#[test]
fn an_essential_type_whose_every_instance_has_failed_ends_everything_with_its_code() {
    let mut world = World::new(vec![once("migrate", 2), member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(100), 3)])
        .script(slot(0, 2), [Script::exits(ms(200), 4)]);
    world.pass(ms(150));
    world.skip();
    assert_eq!(world.run_to_exit(), 4);
    world.saw(&[
        "0.200 migrate.2 exited 4 (after its last words)",
        "0.200 migrate.2 failed, never to be restarted",
        "0.200 every instance of the essential type migrate has failed: draining [web=1] at most 8000ms",
        "0.200 read on",
        "0.200 SIGTERM to the leader of web.1",
        "0.200 web.1 died of SIGTERM (after its last words)",
        "0.200 ended with 4 because of migrate.2",
        "0.200 exit 4",
    ]);
}

#[test]
fn a_failure_that_leaves_nobody_to_drain_keeps_waiting_for_the_reader_of_our_output() {
    let mut world = World::new(vec![once("job", 1)]).habit(0, Script::exits(ms(100), 3));
    assert_eq!(world.run_to_exit(), 3);
    world.saw(&[
        "0.000 spawn job.1",
        "0.000 job.1 started",
        "0.100 job.1 exited 3 (after its last words)",
        "0.100 job.1 failed, never to be restarted",
        "0.100 every instance of the essential type job has failed: draining [] at most 0ms",
        "0.100 ended with 3 because of job.1",
        "0.100 exit 3",
    ]);
    assert_eq!(world.actions.last(), Some(&Action::Exit { code: 3, farewell: Farewell::Patient }));
}

#[test]
fn the_failure_of_a_type_that_is_not_essential_ends_nothing() {
    let mut world =
        World::new(vec![by_the_way("mail", 1), member("web", 1)]).habit(0, Script::exits(ms(100), 3));
    world.pass(ms(0));
    world.skip().pass(ms(60_000));
    world
        .saw(&["0.100 mail.1 exited 3 (after its last words)", "0.100 mail.1 failed, never to be restarted"]);
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0, "an end that was asked for is not its");
}

#[test]
fn an_essential_type_that_fails_while_leftovers_of_another_are_stopped_waits_for_them() {
    let mut world = World::new(vec![once("migrate", 1), member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(600), 3)])
        .script(slot(1, 1), [Script::exits(ms(500), 1).with(obeys_after(ms(700)))]);
    world.pass(ms(550));
    world.skip();
    assert_eq!(world.run_to_exit(), 3);
    world.saw(&[
        "0.600 migrate.1 exited 3 (after its last words)",
        "0.600 migrate.1 failed, never to be restarted",
        "0.600 every instance of the essential type migrate has failed: draining [web=1] at most 8000ms",
        "0.600 read on",
        "1.200 ended with 3 because of migrate.1",
        "1.200 exit 3",
    ]);
}

#[test]
fn under_fail_fast_the_first_exit_drains_all_whatever_its_code() {
    for code in [0, 7] {
        let mut world = World::with_habits(vec![member("one", 1), member("web", 1)], fail_fast())
            .script(slot(0, 1), [Script::exits(ms(100), code)])
            .script(slot(1, 1), [Script::runs().led_by(obeys_after(ms(50)))]);
        world.pass(ms(0));
        world.skip();
        assert_eq!(world.run_to_exit(), code);
        world.saw(&[
            &format!("0.100 one.1 exited {code} (after its last words)"),
            "0.100 one.1 has ended (--fail-fast): draining [web=1] at most 8000ms",
            "0.100 read on",
            "0.100 SIGTERM to the leader of web.1",
            "0.150 web.1 exited 0 (after its last words)",
            &format!("0.150 ended with {code} because of one.1"),
            &format!("0.150 exit {code}"),
        ]);
    }
}

#[test]
fn under_fail_fast_the_leftovers_of_the_first_exit_are_stopped_with_all() {
    let mut world = World::with_habits(vec![member("one", 1), member("web", 1)], fail_fast())
        .script(slot(0, 1), [Script::exits(ms(100), 7).with(obeys_after(ms(300)))]);
    world.pass(ms(0));
    world.skip();
    assert_eq!(world.run_to_exit(), 7);
    world.saw(&[
        "0.100 one.1 exited 7, stopping 102 (after its last words)",
        "0.100 SIGTERM to everyone of one.1",
        "0.100 one.1 has ended (--fail-fast): draining [one=1 web=1] at most 8000ms",
        "0.100 read on",
        "0.100 SIGTERM to the leader of web.1",
        "0.100 web.1 died of SIGTERM (after its last words)",
        "0.400 ended with 7 because of one.1",
        "0.400 exit 7",
    ]);
}

#[test]
fn under_fail_fast_a_program_that_is_not_there_drains_all() {
    let mut world = World::with_habits(vec![member("one", 1), member("web", 1)], fail_fast())
        .habit(0, Script::fails(SpawnErrorKind::NotFound));
    assert_eq!(world.run_to_exit(), 127);
    world.saw(&[
        "0.000 spawn one.1",
        "0.000 spawn web.1",
        "0.000 one.1 not started: NotFound",
        "0.000 one.1 has ended (--fail-fast): draining [web=1] at most 8000ms",
        "0.000 read on",
        "0.000 web.1 started",
        "0.000 SIGTERM to the leader of web.1",
        "0.000 web.1 died of SIGTERM (after its last words)",
        "0.000 ended with 127 because of one.1",
        "0.000 exit 127",
    ]);
}

/// A formation whose end has every reason at once, as far as they are asked for.
fn end(stuck: bool, failing: bool, killed: bool, signal: Signal) -> u8 {
    let worker = if stuck {
        Script::runs().led_by(UNKILLABLE)
    } else if killed {
        Script::runs().led_by(STUBBORN)
    } else {
        Script::runs()
    };
    let status = ExitStatus::Signal { signal: Signal::KILL, core_dumped: false };
    let fails = Script { ends: failing.then_some((ms(1_000), status)), ..Script::runs() };
    let mut world = World::new(vec![once("job", 1), member("worker", 1)]).habit(0, fails).habit(1, worker);
    world.pass(ms(2_000));
    world.signal(signal);
    world.run_to_exit()
}

#[test]
fn the_exit_code_is_the_first_of_the_table_that_applies() {
    for (stuck, failing, killed, signal, code) in [
        (true, true, true, Signal::INT, 1),
        (true, false, true, Signal::TERM, 1),
        (false, true, true, Signal::INT, 128 + 9),
        (false, true, false, Signal::INT, 128 + 9),
        (false, false, true, Signal::INT, 137),
        (false, false, true, Signal::TERM, 137),
        (false, false, false, Signal::INT, 130),
        (false, false, false, Signal::TERM, 0),
    ] {
        assert_eq!(end(stuck, failing, killed, signal), code, "{stuck} {failing} {killed} {signal}");
    }
}

#[test]
fn how_a_child_ends_after_our_stop_signal_never_counts() {
    let angry = crate::fake_host::Nature { stop: Some((ms(10), ExitStatus::Code(99))), kill: Some(ms(0)) };
    let mut world = World::new(vec![once("web", 1)]).habit(0, Script::runs().led_by(angry));
    world.pass(ms(1_000));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);

    let mut world =
        World::with_habits(vec![once("web", 2)], fail_fast()).habit(0, Script::runs().led_by(angry));
    world.pass(ms(1_000));
    world.tell(Event::ReaderGone);
    assert_eq!(world.run_to_exit(), 0);
}
