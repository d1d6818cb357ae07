//! From the stop signal, or a leader's own end, to the moment at which nothing is left of an instance.

use supervise::api::{ExitStatus, Manner, Process, Signal, Verb, When};
use supervise::app::{Leftovers, StopScope};
use supervise::supervisor::{Event, Member, Program, Reread};

use crate::fake_host::{
    Descendant, OBEDIENT, Place, STUBBORN, Script, Signals, UNKILLABLE, World, dies_hard, member, ms,
    obeys_after, slot, with,
};

/// A world that runs, and has forgotten how it started.
fn running(members: Vec<Member>, script: Script) -> World {
    let mut world = World::new(members).habit(0, script);
    world.pass(ms(1_000));
    world.skip();
    world
}

fn leave(policy: &mut supervise::app::Policy) {
    policy.leftovers = Leftovers::Leave;
}

#[test]
fn everybody_is_asked_at_the_same_moment_and_it_ends_the_instant_the_last_is_gone() {
    let mut world = World::new(vec![member("web", 2), member("worker", 1)])
        .script(slot(0, 1), [Script::runs().led_by(obeys_after(ms(300)))])
        .script(slot(1, 1), [Script::runs().led_by(obeys_after(ms(2_500)))]);
    world.pass(ms(1_000));
    world.skip().signal(Signal::TERM);
    world.saw(&[
        "1.000 SIGTERM: draining [web=2 worker=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 SIGTERM to the leader of web.2",
        "1.000 SIGTERM to the leader of worker.1",
    ]);
    world.run_to_exit();
    world.saw(&[
        "1.000 web.2 died of SIGTERM (after its last words)",
        "1.300 web.1 exited 0 (after its last words)",
        "3.500 worker.1 exited 0 (after its last words)",
        "3.500 ended with 0",
        "3.500 exit 0",
    ]);
}

#[test]
fn each_type_has_its_own_signal_and_drain_and_is_killed_at_its_own_deadline() {
    let quick = |policy: &mut supervise::app::Policy| {
        policy.stop_signal = Signal::QUIT;
        policy.drain = ms(500);
    };
    let mut world = World::new(vec![with(member("web", 1), quick), member("worker", 1)])
        .habit(0, Script::runs().led_by(STUBBORN))
        .habit(1, Script::runs().led_by(STUBBORN));
    world.pass(ms(1_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "1.000 SIGTERM: draining [web=1 worker=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGQUIT to the leader of web.1",
        "1.000 SIGTERM to the leader of worker.1",
        "1.500 web.1 killed: DrainTimeout { drain_ms: 500 }",
        "1.500 kill everyone of web.1",
        "1.500 web.1 died of SIGKILL (after its last words)",
        "9.000 worker.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of worker.1",
        "9.000 worker.1 died of SIGKILL (after its last words)",
        "9.000 ended with 137",
        "9.000 exit 137",
    ]);
}

#[test]
fn the_leader_is_asked_first_and_what_it_leaves_behind_afterwards() {
    let mut world = running(vec![member("web", 1)], Script::runs().with(obeys_after(ms(200))));
    world.signal(Signal::TERM);
    world.run_to_exit();
    world.saw(&[
        "1.000 SIGTERM: draining [web=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 web.1 died of SIGTERM, stopping 102 (after its last words)",
        "1.000 SIGTERM to everyone of web.1",
        "1.200 ended with 0",
        "1.200 exit 0",
    ]);
}

#[test]
fn leftovers_that_ignore_the_stop_signal_are_killed_at_the_deadline_of_the_first_signal() {
    let mut world =
        running(vec![member("web", 1)], Script::runs().led_by(obeys_after(ms(3_000))).with(STUBBORN));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "1.000 SIGTERM: draining [web=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "4.000 web.1 exited 0, stopping 102 (after its last words)",
        "4.000 SIGTERM to everyone of web.1",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "9.000 ended with 137",
        "9.000 exit 137",
    ]);
}

#[test]
fn stop_scope_group_asks_the_whole_group_from_the_start_and_the_strays_afterwards() {
    let group = |policy: &mut supervise::app::Policy| policy.stop_scope = StopScope::Group;
    let mut script = Script::runs().with(OBEDIENT);
    script.descendants.push(Descendant { nature: obeys_after(ms(100)), place: Place::Stray });
    let mut world = running(vec![with(member("web", 1), group)], script);
    world.signal(Signal::TERM);
    world.run_to_exit();
    world.saw(&[
        "1.000 SIGTERM: draining [web=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the group of web.1",
        "1.000 web.1 died of SIGTERM, stopping 102 103 (after its last words)",
        "1.000 SIGTERM to the strays of web.1",
        "1.100 ended with 0",
        "1.100 exit 0",
    ]);
}

#[test]
fn with_leftovers_leave_an_instance_is_gone_with_its_leader() {
    let mut world = running(vec![with(member("web", 1), leave)], Script::runs().with(STUBBORN));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    world.saw(&[
        "1.000 SIGTERM: draining [web=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 web.1 died of SIGTERM, letting 102 be (after its last words)",
        "1.000 ended with 0",
        "1.000 exit 0",
    ]);
}

#[test]
fn with_leftovers_leave_only_the_leader_is_killed() {
    for (scope, whom) in [(StopScope::Leader, "the leader"), (StopScope::Group, "the group")] {
        let policy = |policy: &mut supervise::app::Policy| {
            leave(policy);
            policy.stop_scope = scope;
        };
        let mut script = Script::runs().led_by(STUBBORN);
        script.descendants.push(Descendant { nature: STUBBORN, place: Place::Stray });
        let mut world = running(vec![with(member("web", 1), policy)], script);
        world.signal(Signal::TERM);
        assert_eq!(world.run_to_exit(), 137);
        world.saw(&[
            "1.000 SIGTERM: draining [web=1] at most 8000ms",
            "1.000 read on",
            &format!("1.000 SIGTERM to {whom} of web.1"),
            "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
            &format!("9.000 kill {whom} of web.1"),
            "9.000 web.1 died of SIGKILL, letting 102 be (after its last words)",
            "9.000 ended with 137",
            "9.000 exit 137",
        ]);
    }
}

#[test]
fn after_a_crash_the_restart_waits_for_the_descendants() {
    let script = Script::exits(ms(5_000), 3).with(obeys_after(ms(700)));
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [script]);
    world.pass(ms(10_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 exited 3, stopping 102 (after its last words)",
        "5.000 SIGTERM to everyone of web.1",
        "5.700 web.1 again in 0ms",
        "5.700 spawn web.1",
        "5.700 web.1 started",
    ]);
}

#[test]
fn after_a_crash_the_deadline_kills_the_descendants_and_the_streak_counts_the_leaders_life() {
    let web = with(member("web", 1), |policy| policy.backoff.give_up_after = 1);
    let script = Script::exits(ms(5_000), 3).with(STUBBORN).with(OBEDIENT);
    let mut world = World::new(vec![web]).script(slot(0, 1), [script]);
    assert_eq!(world.run_to_exit(), 3);
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 exited 3, stopping 102 103 (after its last words)",
        "5.000 SIGTERM to everyone of web.1",
        "13.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "13.000 kill everyone of web.1",
        "13.000 web.1 failed 1 times",
        "13.000 every instance of the essential type web has failed: draining [] at most 0ms",
        "13.000 ended with 3 because of web.1",
        "13.000 exit 3",
    ]);
}

#[test]
fn after_a_crash_with_leftovers_leave_the_restart_does_not_wait() {
    let script = Script::exits(ms(5_000), 3).with(obeys_after(ms(700)));
    let mut world = World::new(vec![with(member("web", 1), leave)]).script(slot(0, 1), [script]);
    world.pass(ms(10_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "5.000 web.1 exited 3, letting 102 be (after its last words)",
        "5.000 web.1 again in 0ms",
        "5.000 spawn web.1",
        "5.000 web.1 started",
    ]);
}

#[test]
fn a_stop_while_leftovers_of_a_crash_are_stopped_keeps_their_deadline_and_starts_nothing() {
    let script = Script::exits(ms(1_000), 3).with(STUBBORN);
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [script]);
    world.pass(ms(4_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "4.000 SIGTERM: draining [web=1] at most 8000ms",
        "4.000 read on",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "9.000 ended with 137",
        "9.000 exit 137",
    ]);
}

#[test]
fn who_is_born_while_we_kill_is_killed_as_well() {
    let script = Script { born_while_killing: 2, ..Script::runs().led_by(STUBBORN) };
    let mut world = running(vec![member("web", 1)], script);
    world.signal(Signal::TERM);
    world.pass(ms(7_999));
    world.skip().run_to_exit();
    world.saw(&[
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "9.000 web.1 died of SIGKILL, stopping 102 103 (after its last words)",
        "9.000 kill everyone of web.1",
        "9.000 kill everyone of web.1",
        "9.000 ended with 137",
        "9.000 exit 137",
    ]);
}

#[test]
fn what_survives_sigkill_is_named_after_a_second_and_a_second_later_shutdown_ends_without_it() {
    let mut world = World::new(vec![member("web", 1), member("worker", 1)])
        .script(slot(0, 1), [Script::runs().led_by(UNKILLABLE).with(UNKILLABLE).with(STUBBORN)]);
    world.pass(ms(1_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 1);
    world.saw(&[
        "1.000 SIGTERM: draining [web=1 worker=1] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 SIGTERM to the leader of worker.1",
        "1.000 worker.1 died of SIGTERM (after its last words)",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "10.000 look at web.1",
        "10.000 web.1 stuck: 102 101",
        "11.000 ended with 1 because of web.1",
        "11.000 exit 1",
    ]);
}

#[test]
fn what_was_stuck_and_is_gone_before_the_shutdown_ends_is_no_survivor() {
    let mut world = running(vec![member("web", 1)], Script::runs().led_by(dies_hard(ms(1_400))));
    world.signal(Signal::TERM);
    world.pass(ms(8_500));
    world.skip();
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "10.000 look at web.1",
        "10.000 web.1 stuck: 101",
        "10.400 web.1 died of SIGKILL (after its last words)",
        "10.400 ended with 137",
        "10.400 exit 137",
    ]);
}

#[test]
fn who_is_not_waited_for_any_more_is_a_survivor_though_it_ends_before_the_others() {
    let quick = |policy: &mut supervise::app::Policy| policy.drain = ms(500);
    let mut world = World::new(vec![with(member("web", 1), quick), member("worker", 1)])
        .habit(0, Script::runs().led_by(dies_hard(ms(3_000))))
        .habit(1, Script::runs().led_by(obeys_after(ms(5_000))));
    world.pass(ms(1_000));
    world.signal(Signal::TERM);
    world.pass(ms(1_000));
    world.skip();
    assert_eq!(world.run_to_exit(), 1);
    world.saw(&[
        "2.500 look at web.1",
        "2.500 web.1 stuck: 101",
        "6.000 worker.1 exited 0 (after its last words)",
        "6.000 ended with 1 because of web.1",
        "6.000 exit 1",
    ]);
}

#[test]
fn a_stuck_leftover_keeps_its_slot_until_it_is_gone_and_then_the_slot_starts_again() {
    let script = Script::exits(ms(1_000), 3).with(dies_hard(ms(20_000)));
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [script]);
    world.pass(ms(60_000));
    world.saw(&[
        "0.000 spawn web.1",
        "0.000 web.1 started",
        "1.000 web.1 exited 3, stopping 102 (after its last words)",
        "1.000 SIGTERM to everyone of web.1",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "10.000 look at web.1",
        "10.000 web.1 stuck: 102",
        "29.000 web.1 again in 0ms",
        "29.000 spawn web.1",
        "29.000 web.1 started",
    ]);
}

#[test]
fn a_shutdown_waits_one_second_for_what_was_stuck_before() {
    let script = Script::exits(ms(1_000), 3).with(UNKILLABLE);
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [script]);
    world.pass(ms(20_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 1);
    world.saw(&[
        "20.000 SIGTERM: draining [web=1] at most 8000ms",
        "20.000 read on",
        "21.000 ended with 1 because of web.1",
        "21.000 exit 1",
    ]);
}

#[test]
fn a_refused_signal_is_said_and_nobody_else_is_kept_waiting() {
    let refusing = Script { signals: Signals::Refused, ..Script::runs() };
    let mut world = World::new(vec![member("web", 2)]).script(slot(0, 1), [refusing]);
    world.pass(ms(1_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 1);
    world.saw(&[
        "1.000 SIGTERM: draining [web=2] at most 8000ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 SIGTERM to the leader of web.2",
        "1.000 web.1 could not be sent SIGTERM: EPERM",
        "1.000 web.2 died of SIGTERM (after its last words)",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "9.000 web.1 could not be sent SIGKILL: EPERM",
        "10.000 look at web.1",
        "10.000 web.1 stuck: 101",
        "11.000 ended with 1 because of web.1",
        "11.000 exit 1",
    ]);
}

#[test]
fn a_drain_of_nothing_kills_at_once() {
    let web = with(member("web", 1), |policy| policy.drain = ms(0));
    let mut world = running(vec![web], Script::runs().led_by(STUBBORN));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "1.000 SIGTERM: draining [web=1] at most 0ms",
        "1.000 read on",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 web.1 killed: DrainTimeout { drain_ms: 0 }",
        "1.000 kill everyone of web.1",
        "1.000 web.1 died of SIGKILL (after its last words)",
        "1.000 ended with 137",
        "1.000 exit 137",
    ]);
}

#[test]
fn a_leader_that_was_stuck_is_told_of_once_and_what_it_leaves_is_killed() {
    let mut world = running(vec![member("web", 1)], Script::runs().led_by(UNKILLABLE));
    let (instance, key) = world.core.alive().next().expect("web.1 runs");
    world.signal(Signal::TERM);
    world.pass(ms(9_100));
    world.skip();
    let status = ExitStatus::Code(0);
    let living = vec![Process { pid: 150.try_into().expect("a pid"), name: "app".to_owned() }];
    // Nobody is left beside the leader, whose own end is about to be told.
    world.tell(Event::Remaining { slot: key, instance, living: Vec::new() });
    world.saw(&[]);
    world.tell(Event::LeaderExited { slot: key, instance, status, living: living.clone() });
    world.saw(&[
        "10.100 web.1 exited 0, stopping 150 (after its last words)",
        "10.100 kill everyone of web.1",
    ]);
    world.tell(Event::LeaderExited { slot: key, instance, status, living });
    world.saw(&[]);
    world.tell(Event::Remaining { slot: key, instance, living: Vec::new() });
    world.saw(&["10.100 ended with 137", "10.100 exit 137"]);
}

#[test]
fn with_leftovers_leave_nobody_but_the_leader_is_ever_called_stuck() {
    // It was killed and is a zombie that nobody has looked after yet; its descendant lives, and may.
    let script = Script::runs().led_by(dies_hard(ms(1_500))).with(STUBBORN);
    let mut world = running(vec![with(member("web", 1), leave)], script);
    let (instance, key) = world.core.alive().next().expect("web.1 runs");
    world.signal(Signal::TERM);
    world.pass(ms(8_500));
    world.skip().oversleep(ms(600));
    let living = vec![Process { pid: 102.try_into().expect("a pid"), name: "app".to_owned() }];
    world.tell(Event::Remaining { slot: key, instance, living });
    world.saw(&[]);

    // The leader itself is: 101.
    let script = Script::runs().led_by(UNKILLABLE).with(STUBBORN);
    let mut world = running(vec![with(member("web", 1), leave)], script);
    world.signal(Signal::TERM);
    world.pass(ms(8_500));
    world.skip().run_to_exit();
    world.saw(&[
        "10.000 look at web.1",
        "10.000 web.1 stuck: 101",
        "11.000 ended with 1 because of web.1",
        "11.000 exit 1",
    ]);
}

#[test]
fn a_stuck_leader_that_ends_at_last_is_followed_only_when_what_it_left_is_gone_too() {
    let script = Script::runs().led_by(dies_hard(ms(12_000))).with(dies_hard(ms(20_000)));
    let mut world = running(vec![member("web", 1)], script);
    let targets = vec!["web.1".parse().expect("a target")];
    world.ask(Verb::Restart { targets, manner: Manner::AtOnce }).expect("it is possible");
    world.pass(ms(60_000));
    world.saw(&[
        "1.000 restarting, as asked: web.1",
        "1.000 SIGTERM to the leader of web.1",
        "1.000 reply 1: web.1 restart draining",
        "9.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "9.000 kill everyone of web.1",
        "10.000 look at web.1",
        "10.000 web.1 stuck: 102 101",
        "21.000 web.1 died of SIGKILL, stopping 102 (after its last words)",
        "21.000 kill everyone of web.1",
        "29.000 spawn web.1",
        "29.000 web.1 started",
    ]);
}

#[test]
fn leftovers_that_were_to_go_with_their_leader_go_though_a_reload_says_meanwhile_that_they_may_stay() {
    for scope in [StopScope::Leader, StopScope::Group] {
        let web = with(member("web", 1), |policy| policy.drain = ms(1_000));
        let mut world = running(vec![web.clone()], Script::exits(ms(1_500), 1).with(STUBBORN));
        world.pass(ms(1_000));
        world.request(Verb::Reload, When::Accepted);
        let member = with(web, |policy| (policy.leftovers, policy.stop_scope) = (Leftovers::Leave, scope));
        world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Same }] });
        world.skip().pass(ms(1_000));
        let said = world.said().join("\n");
        assert!(said.contains("2.500 kill everyone of web.1"), "{said}");
    }
}
