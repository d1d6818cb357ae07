//! A life that ended by itself: restart, backoff, giving up, completion.

use supervise::api::{ExitReason, ExitStatus, LastExit, OutOfMemory, Signal};
use supervise::app::Restart;
use supervise::supervisor::Phase;

use crate::fake_host::{Birth, Script, World, member, ms, slot, with};

#[test]
fn the_first_failure_restarts_at_once() {
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [Script::exits(ms(12_000), 3)]);
    world.pass(ms(20_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "12.000 web.1 exited 3, again in 0ms (after its last words)",
        "12.000 spawn web.1",
        "12.000 web.1 started",
    ]);
}

#[test]
fn two_starts_of_a_slot_are_never_closer_than_a_quarter_of_a_second() {
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [Script::exits(ms(1), 3)]);
    world.pass(ms(1_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "0.001 web.1 exited 3, again in 249ms (after its last words)",
        "0.250 spawn web.1",
        "0.250 web.1 started",
    ]);
}

#[test]
fn a_birth_that_came_late_keeps_the_next_one_away_as_well() {
    let late = Script { birth: Birth::RunsUnanswered, ..Script::exits(ms(601), 3) };
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [late]);
    world.pass(ms(600));
    world.answer();
    world.pass(ms(1_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.600 web.1 started",
        "0.601 web.1 exited 3, again in 249ms (after its last words)",
        "0.850 spawn web.1",
        "0.850 web.1 started",
    ]);
}

#[test]
fn whoever_sent_the_signal_that_ends_a_child_it_is_a_failure() {
    let status = ExitStatus::Signal { signal: Signal::TERM, core_dumped: false };
    let script = Script { ends: Some((ms(5_000), status)), ..Script::runs() };
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [script]);
    world.pass(ms(5_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 died of SIGTERM, again in 0ms (after its last words)",
        "5.000 spawn web.1",
        "5.000 web.1 started",
    ]);
}

#[test]
fn fault_63_who_was_killed_for_memory_has_failed_for_that_and_is_started_again() {
    let memory = ExitStatus::OutOfMemory(OutOfMemory::Limit { bytes: 512 << 20 });
    let killed = |status| Script { ends: Some((ms(5_000), status)), ..Script::runs() };
    let perhaps = ExitStatus::OutOfMemory(OutOfMemory::Perhaps);
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [killed(memory), killed(perhaps)]);
    world.pass(ms(5_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 died for memory, again in 0ms (after its last words)",
        "5.000 spawn web.1",
        "5.000 web.1 started",
    ]);
    let last_exit = |world: &World| world.core.supervisor.status(world.now).processes[0].last_exit;
    assert_eq!(last_exit(&world), Some(LastExit::new(memory, ExitReason::Oom)));
    assert_eq!(memory.shell_code(), 137);
    // What is not known is not claimed.
    world.pass(ms(5_000));
    let reason = last_exit(&world).map(|exit| exit.reason);
    assert_eq!(reason, Some(ExitReason::Failed));
}

#[test]
fn a_crash_loop_backs_off_to_the_longest_wait_and_stays_there() {
    let mut world = World::new(vec![member("web", 1)]).habit(0, Script::exits(ms(5), 1));
    // 0.25 s, then 0.5 1 2 4 8 16 30 30 ... give or take a fifth; the ledger holds each wait against that.
    world.pass(ms(600_000));
    let starts = world.core.newest();
    assert!((20..=32).contains(&starts), "{starts} starts in ten minutes");
    assert_eq!(world.exit(), None, "it never gives up by itself");
}

#[test]
fn a_life_of_a_minute_ends_the_streak() {
    let short = || Script::exits(ms(300), 1);
    let mut world = World::new(vec![member("web", 1)]).script(
        slot(0, 1),
        [short(), short(), short(), Script::exits(ms(60_000), 1), Script::exits(ms(1_000), 1)],
    );
    world.pass(ms(63_000));
    assert_eq!(world.core.newest(), 5);
    world.turn();
    let Phase::Backoff { due } = *world.core.phase(slot(0, 1)) else {
        panic!("the second of the new streak")
    };
    assert!(
        (ms(400)..=ms(600)).contains(&(due - world.now)),
        "{due}, as after the second failure of a streak"
    );
}

#[test]
fn after_so_many_failures_in_a_row_a_slot_has_failed() {
    let web = with(member("web", 2), |policy| policy.backoff.give_up_after = 2);
    let crash = || Script::exits(ms(300), 4);
    let mut world = World::new(vec![web]).script(slot(0, 1), [crash(), crash()]);
    world.pass(ms(10_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 spawn web.2",
        "0.000 web.1 started",
        "0.000 web.2 started",
        "0.300 web.1 exited 4, again in 0ms (after its last words)",
        "0.300 spawn web.1",
        "0.300 web.1 started",
        "0.600 web.1 exited 4 (after its last words)",
        "0.600 web.1 failed 2 times",
    ]);
    assert_eq!(world.exit(), None, "its sister runs");
}

#[test]
fn exit_0_under_on_failure_is_completed() {
    let mut world = World::new(vec![member("web", 1), member("clock", 1)])
        .script(slot(1, 1), [Script::exits(ms(300), 0)]);
    world.pass(ms(0));
    world.skip().pass(ms(10_000));
    world.saw(&["0.300 clock.1 exited 0 (after its last words)", "0.300 clock.1 completed"]);
}

#[test]
fn always_restarts_whatever_the_code() {
    let web = with(member("web", 1), |policy| policy.restart = Restart::Always);
    let mut world = World::new(vec![web]).script(slot(0, 1), [Script::exits(ms(300), 0)]);
    world.pass(ms(1_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "0.300 web.1 exited 0, again in 0ms (after its last words)",
        "0.300 spawn web.1",
        "0.300 web.1 started",
    ]);
}

#[test]
fn never_restarts_nothing_and_the_code_decides_whether_it_failed() {
    let once = || with(member("once", 2), |policy| policy.restart = Restart::Never);
    let mut world = World::new(vec![once(), member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(300), 0)])
        .script(slot(0, 2), [Script::exits(ms(400), 9)]);
    world.pass(ms(0));
    world.skip().pass(ms(10_000));
    world.saw(&[
        "0.300 once.1 exited 0 (after its last words)",
        "0.300 once.1 completed",
        "0.400 once.2 exited 9 (after its last words)",
        "0.400 once.2 failed, never to be restarted",
    ]);
    assert_eq!(world.exit(), None, "not every instance of the type has failed");
}

#[test]
fn two_hundred_exits_at_once_are_two_hundred_restarts_eight_a_step() {
    let mut world = World::new(vec![member("web", 200)]);
    for number in 1..=200 {
        world = world.script(slot(0, number), [Script::exits(ms(2_000), 1)]);
    }
    world.pass(ms(2_000));
    assert_eq!(world.core.newest(), 400);
    assert_eq!(world.core.alive().count(), 200);
    world.pass(ms(1_000));
    assert_eq!(world.core.supervisor.deadline(), None);
}
