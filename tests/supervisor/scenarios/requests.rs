//! What is asked of a running formation.

use supervise::api::{Change, Manner, Refusal, Signal, State, Target, Verb, When, Will};
use supervise::app::Restart;
use supervise::supervisor::{Event, Habits, Hangup, Member, Phase, Program, Reread};

use crate::fake_host::{STUBBORN, Script, UNKILLABLE, World, member, ms, obeys_after, slot, with};

fn to(name: &str, count: u32) -> Verb {
    Verb::Scale { changes: vec![(name.to_owned(), Change::To(count))] }
}

fn by(name: &str, count: i64) -> Verb {
    Verb::Scale { changes: vec![(name.to_owned(), Change::By(count))] }
}

fn targets(names: &[&str]) -> Vec<Target> {
    names.iter().map(|name| name.parse().expect("a target")).collect()
}

fn restart(names: &[&str]) -> Verb {
    Verb::Restart { targets: targets(names), manner: Manner::AtOnce }
}

fn stop(names: &[&str]) -> Verb {
    Verb::Stop { targets: targets(names) }
}

/// `web.1 running, web.2 draining`.
fn states(world: &World) -> String {
    let status = world.core.supervisor.status(world.now);
    let each = status.processes.iter().map(|process| format!("{} {}", process.name, process.state));
    each.collect::<Vec<_>>().join(", ")
}

/// A formation that has run for ten seconds.
fn settled(mut world: World) -> World {
    world.pass(ms(10_000));
    world.skip();
    world
}

#[test]
fn scaling_up_takes_the_lowest_free_slots_and_down_drains_the_highest() {
    let mut world = settled(World::new(vec![member("web", 1), member("worker", 1)]));
    world.ask(to("web", 4)).expect("it is possible");
    world.pass(ms(500));
    world.saw(&[
        "10.000 web scaled from 1 to 4",
        "10.000 reply 1: web.2 start pending, web.3 start pending, web.4 start pending",
        "10.000 spawn web.2",
        "10.000 spawn web.3",
        "10.000 spawn web.4",
        "10.000 web.2 started",
        "10.000 web.3 started",
        "10.000 web.4 started",
    ]);
    let before = world.core.alive().filter(|(_, key)| key.number <= 2).count();
    world.ask(by("web", -2)).expect("it is possible");
    world.saw(&[
        "10.500 web scaled from 4 to 2",
        "10.500 SIGTERM to the leader of web.3",
        "10.500 SIGTERM to the leader of web.4",
        "10.500 reply 2: web.3 stop draining, web.4 stop draining",
    ]);
    world.pass(ms(100));
    assert_eq!(states(&world), "web.1 running, web.2 running, worker.1 running");
    assert_eq!(world.core.alive().filter(|(_, key)| key.number <= 2).count(), before);
}

#[test]
fn fault_44_to_0_and_back_while_draining_ends_with_four_that_are_new() {
    let mut world =
        World::new(vec![member("web", 4)]).habit(0, Script::runs().led_by(obeys_after(ms(3_000))));
    world = settled(world);
    world.ask(to("web", 0)).expect("it is possible");
    world.pass(ms(1_000));
    let will = world.ask(to("web", 4)).expect("it is possible");
    assert!(
        will.processes.iter().all(|effect| (effect.will, effect.state) == (Will::Start, State::Draining))
    );
    world.pass(ms(10_000));
    assert_eq!(states(&world), "web.1 running, web.2 running, web.3 running, web.4 running");
    assert_eq!(world.core.newest(), 8, "four lives and four more");
}

#[test]
fn scaled_to_0_by_request_keeps_everything_up_and_a_completed_formation_ends() {
    let once = || with(member("once", 1), |policy| policy.restart = Restart::Never);
    let world = || World::new(vec![member("web", 1), once()]).habit(1, Script::exits(ms(20_000), 0));
    let mut world_1 = settled(world());
    world_1.ask(to("web", 0)).expect("it is possible");
    world_1.pass(ms(60_000));
    assert_eq!((states(&world_1).as_str(), world_1.exit()), ("once.1 completed", None));
    world_1.ask(to("web", 1)).expect("it is possible");
    world_1.pass(ms(60_000));
    assert_eq!(states(&world_1), "web.1 running, once.1 completed");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_nothing_changes() {
    let web = Member { first_port: Some(5000), max: Some(300), ..member("web", 2) };
    let worker = Member { first_port: Some(5100), ..member("worker", 1) };
    let high = Member { first_port: Some(65_530), ..member("high", 1) };
    let mut world = settled(World::new(vec![web, worker, high, member("release", 0)]));
    let mut refuse = |verb: Verb, code: &str, sentence: &str| {
        let refusal = world.ask(verb).expect_err(sentence);
        assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, sentence));
    };
    let known = "`web`, `worker`, `high`, `release`";
    let unknown = format!("there is no process type `nosuch`; there is {known}");
    refuse(to("nosuch", 1), "unknown_process_type", &unknown);
    refuse(to("web", 301), "over_max", "web=301 is more than its `max` of 300");
    refuse(by("web", 299), "over_max", "web=301 is more than its `max` of 300");
    refuse(by("web", -3), "below_zero", "web-3 is less than none: there are 2");
    refuse(by("worker", i64::MAX), "over_max", "worker=9223372036854775807 is more than its `max` of 100000");
    refuse(by("worker", i64::MIN), "below_zero", "worker-9223372036854775808 is less than none: there are 1");
    refuse(
        to("web", 101),
        "port_clash",
        "web.101 would get PORT 5100, which worker.1 has; start with a larger --port-step",
    );
    refuse(
        to("high", 7),
        "port_too_high",
        "high.7 would get PORT 65536, above 65535; start with a lower --port",
    );
    let both = vec![("worker".to_owned(), Change::To(3)), ("web".to_owned(), Change::To(301))];
    refuse(Verb::Scale { changes: both }, "over_max", "web=301 is more than its `max` of 300");
    let nobody = format!("`nosuch.1` means nobody; the types are {known}, a slot is TYPE.N");
    for verb in [
        restart(&["web", "nosuch.1"]),
        stop(&["nosuch.1"]),
        Verb::Signal { signal: Signal::HUP, targets: targets(&["nosuch.1"]) },
    ] {
        refuse(verb, "unknown_target", &nobody);
    }
    let release = Verb::Signal { signal: Signal::HUP, targets: targets(&["release"]) };
    refuse(release, "not_running", "not running: ");
    assert_eq!(world.core.supervisor.formation().to_string(), "web=2 worker=1 high=1 release=0");
    assert_eq!(states(&world), "web.1 running, web.2 running, worker.1 running, high.1 running");
}

#[test]
fn all_is_taken_first_and_leaves_the_release_out() {
    let members = vec![member("web", 2), member("worker", 1), member("release", 0)];
    let mut world = settled(World::new(members));
    let changes = vec![("web".to_owned(), Change::By(1)), ("all".to_owned(), Change::To(0))];
    let accepted = world.ask(Verb::Scale { changes }).expect("it is possible");
    assert_eq!(accepted.formation.to_string(), "web=1 worker=0 release=0");
    world.pass(ms(1_000));
    assert_eq!(states(&world), "web.1 running");
}

#[test]
fn fault_43_during_a_shutdown_nothing_can_be_asked_for_but_the_shutdown() {
    let mut world =
        settled(World::new(vec![member("web", 1)]).habit(0, Script::runs().led_by(obeys_after(ms(3_000)))));
    world.signal(Signal::TERM);
    for verb in [to("web", 2), restart(&[]), stop(&[]), Verb::Reload, Verb::Settle] {
        assert_eq!(world.ask(verb), Err(Refusal::ShuttingDown));
    }
    world.ask(Verb::Shutdown { drain: None }).expect("that is being done");
    assert_eq!(world.run_to_exit(), 0);
}

#[test]
fn a_restart_stops_and_starts_and_counts_as_no_failure() {
    let mut world = settled(World::new(vec![member("web", 2)]));
    world.ask(restart(&["web.1"])).expect("it is possible");
    world.pass(ms(2_000));
    world.saw(&[
        "10.000 restarting, as asked: web.1",
        "10.000 SIGTERM to the leader of web.1",
        "10.000 reply 1: web.1 restart draining",
        "10.000 web.1 died of SIGTERM (after its last words)",
        "10.000 spawn web.1",
        "10.000 web.1 started",
    ]);
    let status = world.core.supervisor.status(world.now);
    assert_eq!(status.processes[0].restarts, 0);
    assert_eq!(status.processes[0].last_exit.map(|exit| exit.signal), Some(Some(Signal::TERM)));
    assert_eq!(status.processes[1].uptime_ms, Some(12_000), "the other one was not touched");
}

#[test]
fn row_t70_two_restarts_at_once_are_one() {
    let mut world =
        settled(World::new(vec![member("web", 1)]).habit(0, Script::runs().led_by(obeys_after(ms(500)))));
    world.ask(restart(&["web"])).expect("it is possible");
    world.ask(restart(&["w*"])).expect("it is possible");
    world.pass(ms(5_000));
    assert_eq!(world.core.newest(), 2, "one new life");
}

#[test]
fn row_t71_a_stop_during_backoff_holds_until_a_restart() {
    let mut world = World::new(vec![member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(0), 1), Script::exits(ms(0), 1), Script::runs()]);
    world.pass(ms(400));
    assert_eq!(states(&world), "web.1 backoff");
    world.ask(stop(&["web.1"])).expect("it is possible");
    world.pass(ms(120_000));
    assert_eq!((states(&world).as_str(), world.exit()), ("web.1 stopped", None));
    world.ask(restart(&["web.1"])).expect("it is possible");
    world.pass(ms(1_000));
    assert_eq!(states(&world), "web.1 running");
}

#[test]
fn a_slot_that_has_given_up_comes_back_by_a_restart_with_a_new_streak() {
    let web = with(member("web", 2), |policy| policy.backoff.give_up_after = 1);
    let mut world = World::new(vec![web]).script(slot(0, 2), [Script::exits(ms(0), 3)]);
    world.pass(ms(5_000));
    assert_eq!(states(&world), "web.1 running, web.2 failed");
    world.ask(restart(&["web.2"])).expect("it is possible");
    world.pass(ms(5_000));
    assert_eq!(states(&world), "web.1 running, web.2 running");
}

#[test]
fn a_failure_that_was_brought_back_or_scaled_away_decides_no_exit_code() {
    let job = |name, quantity| {
        with(member(name, quantity), |policy| {
            (policy.restart, policy.essential) = (Restart::Never, false);
        })
    };
    let world = || {
        World::new(vec![job("job", 2), job("long", 1)])
            .script(slot(0, 1), [Script::exits(ms(100), 3), Script::exits(ms(100), 0)])
            .script(slot(0, 2), [Script::exits(ms(200), 4)])
            .habit(1, Script::exits(ms(60_000), 0))
    };
    let mut as_it_was = world();
    assert_eq!(as_it_was.run_to_exit(), 3);
    let mut brought_back = settled(world());
    brought_back.ask(restart(&["job.1"])).expect("it is possible");
    assert_eq!(brought_back.run_to_exit(), 4);
    let mut scaled_away = settled(world());
    scaled_away.ask(restart(&["job.1"])).expect("it is possible");
    scaled_away.ask(to("job", 1)).expect("it is possible");
    assert_eq!(scaled_away.run_to_exit(), 0);
}

#[test]
fn the_leftovers_of_a_leader_that_died_are_waited_for_and_then_the_restart_is_at_once() {
    let mut world = World::new(vec![member("web", 1)])
        .script(slot(0, 1), [Script::exits(ms(5_000), 1).with(obeys_after(ms(2_000)))]);
    world.pass(ms(6_000));
    assert_eq!(states(&world), "web.1 draining");
    world.skip().ask(restart(&["web.1"])).expect("it is possible");
    world.pass(ms(2_000));
    world.saw(&[
        "6.000 restarting, as asked: web.1",
        "6.000 reply 1: web.1 restart draining",
        "7.000 spawn web.1",
        "7.000 web.1 started",
    ]);
}

#[test]
fn a_stuck_slot_that_is_asked_to_stop_keeps_its_place_and_everything_goes_on() {
    let mut world =
        settled(World::new(vec![member("web", 2)]).script(slot(0, 1), [Script::runs().led_by(UNKILLABLE)]));
    world.ask(stop(&["web.1"])).expect("it is possible");
    world.pass(ms(60_000));
    assert_eq!((states(&world).as_str(), world.exit()), ("web.1 stuck, web.2 running", None));
    world.ask(to("web", 0)).expect("it is possible");
    world.pass(ms(60_000));
    assert_eq!((states(&world).as_str(), world.exit()), ("web.1 stuck", None));
    world.ask(restart(&["web.1"])).expect("it is on its way out, and stays on it");
    world.ask(Verb::Shutdown { drain: None }).expect("it is possible");
    assert_eq!(world.run_to_exit(), 1);
}

#[test]
fn a_signal_goes_to_the_leaders_that_live() {
    let mut world = settled(World::new(vec![member("web", 2), member("worker", 1)]));
    world.ask(stop(&["web.2"])).expect("it is possible");
    world.pass(ms(100));
    let signal = Verb::Signal { signal: Signal::HUP, targets: targets(&["web"]) };
    world.skip().ask(signal).expect("one of them lives");
    world.saw(&[
        "10.100 SIGHUP sent, as asked, to web.1",
        "10.100 SIGHUP to web.1",
        "10.100 reply 2: web.1 signal running",
    ]);
}

#[test]
fn who_waits_is_answered_when_it_has_happened_and_only_then() {
    let mut world =
        settled(World::new(vec![member("web", 1)]).habit(0, Script::runs().led_by(obeys_after(ms(700)))));
    let up = world.request(to("web", 3), When::Happened);
    world.pass(ms(900));
    assert_eq!(world.answer_to(up), None, "they run, and are not ready yet");
    world.pass(ms(200));
    let states = |world: &World, id| -> Vec<State> {
        let accepted = world.answer_to(id).expect("an answer").expect("accepted");
        accepted.processes.iter().map(|effect| effect.state).collect()
    };
    assert_eq!(states(&world, up), [State::Running, State::Running]);
    let down = world.request(to("web", 1), When::Happened);
    world.pass(ms(600));
    assert_eq!(world.answer_to(down), None);
    world.pass(ms(200));
    assert_eq!(states(&world, down), [State::Stopped, State::Stopped]);
    let again = world.request(restart(&[]), When::Happened);
    world.pass(ms(1_600));
    assert_eq!(world.answer_to(again), None);
    world.pass(ms(200));
    assert_eq!(states(&world, again), [State::Running]);
}

#[test]
fn who_waits_for_what_somebody_else_has_asked_for_waits_as_long() {
    let mut world =
        settled(World::new(vec![member("web", 3)]).habit(0, Script::runs().led_by(obeys_after(ms(700)))));
    world.ask(stop(&["web.1"])).expect("it is possible");
    world.ask(to("web", 2)).expect("it is possible");
    let stopped = world.request(stop(&["web.1"]), When::Happened);
    let scaled = world.request(to("web", 2), When::Happened);
    world.pass(ms(600));
    assert_eq!((world.answer_to(stopped), world.answer_to(scaled)), (None, None));
    world.pass(ms(200));
    let names = |id| {
        let accepted = world.answer_to(id).expect("an answer").expect("accepted");
        accepted
            .processes
            .iter()
            .map(|effect| format!("{} {}", effect.name, effect.state))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names(stopped), names(scaled)),
        (vec!["web.1 stopped".to_owned()], vec!["web.3 stopped".to_owned()])
    );

    world.ask(to("web", 4)).expect("it is possible");
    let up = world.request(to("web", 4), When::Happened);
    world.pass(ms(900));
    assert_eq!(world.answer_to(up), None, "they are not ready");
    world.pass(ms(200));
    let accepted = world.answer_to(up).expect("an answer").expect("accepted");
    assert_eq!(accepted.processes.len(), 2, "web.1 stays stopped: {accepted:?}");
}

#[test]
fn who_waits_for_a_start_that_fails_is_told_so() {
    let mut world = World::new(vec![member("web", 1)]).habit(0, Script::exits(ms(300), 1));
    let ready = world.request(Verb::Settle, When::Happened);
    world.pass(ms(400));
    let accepted = world.answer_to(ready).expect("an answer").expect("accepted");
    assert_eq!(accepted.processes[0].state, State::Backoff);
}

#[test]
fn who_has_gone_is_not_answered_and_what_was_asked_for_happens_all_the_same() {
    let mut world =
        settled(World::new(vec![member("web", 1)]).habit(0, Script::runs().led_by(obeys_after(ms(700)))));
    let stop = world.request(stop(&[]), When::Happened);
    let reload = world.request(Verb::Reload, When::Happened);
    let stays = world.request(Verb::Settle, When::Happened);
    world.tell(Event::Withdrawn { ids: vec![stop, reload] });
    world.tell(files(&[(0, "web", 1, Program::Same)]));
    world.pass(ms(1_000));
    assert_eq!(states(&world), "web.1 stopped");
    assert_eq!((world.answer_to(stop), world.answer_to(reload)), (None, None));
    assert!(world.answer_to(stays).is_some());
}

#[test]
fn who_waits_when_the_end_begins_is_told_that() {
    let mut world = World::new(vec![member("web", 1)]);
    let ready = world.request(Verb::Settle, When::Happened);
    let reload = world.request(Verb::Reload, When::Happened);
    world.signal(Signal::TERM);
    for id in [ready, reload] {
        assert_eq!(world.answer_to(id), Some(Err(Refusal::ShuttingDown)));
    }
}

#[test]
fn a_shutdown_drains_as_long_as_it_says_and_ends_with_0() {
    let mut world = settled(World::new(vec![member("web", 1), member("worker", 1)]));
    assert_eq!(world.request(Verb::Shutdown { drain: None }, When::Happened).0, 1);
    assert_eq!(world.run_to_exit(), 0);
    world.saw(&[
        "10.000 asked to shut down: draining [web=1 worker=1] at most 8000ms",
        "10.000 read on",
        "10.000 SIGTERM to the leader of web.1",
        "10.000 SIGTERM to the leader of worker.1",
        "10.000 web.1 died of SIGTERM (after its last words)",
        "10.000 worker.1 died of SIGTERM (after its last words)",
        "10.000 reply 1: ",
        "10.000 ended with 0",
        "10.000 exit 0",
    ]);

    let stubborn = World::new(vec![member("web", 2)]).habit(0, Script::runs().led_by(STUBBORN));
    let mut world = settled(stubborn);
    world.ask(stop(&["web.1"])).expect("it is possible");
    world.pass(ms(1_000));
    world.ask(Verb::Shutdown { drain: Some(ms(2_000)) }).expect("it is possible");
    assert_eq!(world.run_to_exit(), 137);
    assert_eq!(world.now, supervise::supervisor::Time::ZERO + ms(13_000), "who drained already, too");
}

#[test]
fn a_shutdown_with_a_drain_brings_an_end_that_has_begun_nearer_and_never_puts_it_off() {
    let slow = || with(member("slow", 1), |policy| policy.drain = ms(60_000));
    let members = || vec![member("web", 1), slow()];
    let stubborn = |world: World| world.habit(0, Script::runs().led_by(STUBBORN));
    let mut world = settled(stubborn(World::new(members())).habit(1, Script::runs().led_by(STUBBORN)));
    world.signal(Signal::TERM);
    world.pass(ms(1_000));
    world.ask(Verb::Shutdown { drain: Some(ms(20_000)) }).expect("it is possible");
    world.pass(ms(1_000));
    world.ask(Verb::Shutdown { drain: Some(ms(30_000)) }).expect("it is possible");
    world.skip();
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "18.000 web.1 killed: DrainTimeout { drain_ms: 8000 }",
        "18.000 kill everyone of web.1",
        "18.000 web.1 died of SIGKILL (after its last words)",
        "31.000 slow.1 killed: DrainTimeout { drain_ms: 20000 }",
        "31.000 kill everyone of slow.1",
        "31.000 slow.1 died of SIGKILL (after its last words)",
        "31.000 ended with 137",
        "31.000 exit 137",
    ]);
}

/// What the files say when they are read again: each type with its count, and whether its program is the same.
fn files(types: &[(usize, &str, u32, Program)]) -> Event {
    let reread = |(type_index, name, quantity, program): &(usize, &str, u32, Program)| Reread {
        type_index: *type_index,
        member: member(name, *quantity),
        program: *program,
    };
    Event::Reread { types: types.iter().map(reread).collect() }
}

#[test]
fn a_reload_restarts_what_changed_starts_what_is_new_and_drains_what_is_gone() {
    let mut world = settled(World::new(vec![member("web", 1), member("worker", 2), member("old", 1)]));
    let reload = world.request(Verb::Reload, When::Accepted);
    world.saw(&["10.000 read again"]);
    assert_eq!(world.answer_to(reload), None, "nothing is known yet");
    world.tell(files(&[
        (3, "new", 1, Program::Changed),
        (0, "web", 1, Program::Same),
        (1, "worker", 2, Program::Changed),
    ]));
    world.pass(ms(500));
    world.saw(&[
        "10.000 adopt",
        "10.000 reloaded; new: new; changed: worker; removed: old",
        "10.000 SIGTERM to the leader of old.1",
        "10.000 new scaled from 0 to 1",
        "10.000 worker: replacing 2 one after the other, 1 at a time",
        "10.000 reply 1: worker.1 restart running, worker.2 restart running, old.1 stop draining, \
         new.1 start pending",
        "10.000 SIGTERM to the leader of worker.1",
        "10.000 old.1 died of SIGTERM (after its last words)",
        "10.000 worker.1 died of SIGTERM (after its last words)",
        "10.000 spawn worker.1",
        "10.000 spawn new.1",
        "10.000 worker.1 started",
        "10.000 new.1 started",
    ]);
    assert_eq!(states(&world), "new.1 running, web.1 running, worker.1 running, worker.2 running");
    assert_eq!(world.core.supervisor.formation().to_string(), "new=1 web=1 worker=2");
    let refusal = world.ask(to("old", 1)).expect_err("it is not there any more");
    assert_eq!(refusal.code(), "unknown_process_type");
}

#[test]
fn a_type_that_went_away_may_come_back() {
    let mut world = settled(World::new(vec![member("web", 1), member("old", 1)]));
    for types in
        [&[(0, "web", 1, Program::Same)][..], &[(0, "web", 1, Program::Same), (1, "old", 2, Program::Same)]]
    {
        world.ask_later(Verb::Reload);
        world.tell(files(types));
        world.pass(ms(2_000));
    }
    assert_eq!(states(&world), "web.1 running, old.1 running, old.2 running");
}

#[test]
fn what_was_scaled_by_request_stays_so_unless_the_files_say_another_number_now() {
    let mut world = settled(World::new(vec![member("web", 1), member("worker", 1)]));
    world.ask(to("web", 3)).expect("it is possible");
    world.ask(to("worker", 3)).expect("it is possible");
    world.ask(stop(&["web.2"])).expect("it is possible");
    world.ask_later(Verb::Reload);
    world.tell(files(&[(0, "web", 1, Program::Changed), (1, "worker", 2, Program::Same)]));
    world.pass(ms(2_000));
    assert_eq!(world.core.supervisor.formation().to_string(), "web=3 worker=2");
    assert_eq!(
        states(&world),
        "web.1 running, web.2 stopped, web.3 running, worker.1 running, worker.2 running"
    );
}

#[test]
fn files_that_cannot_be_used_change_nothing() {
    let mut world = settled(World::new(vec![member("web", 1)]));
    let reload = world.request(Verb::Reload, When::Happened);
    world.tell(Event::Unreadable { errors: "Procfile:1: no colon".to_owned() });
    let refusal = world.answer_to(reload).expect("an answer").expect_err("it cannot be used");
    assert_eq!(refusal.code(), "invalid_configuration");
    assert!(refusal.to_string().contains("Procfile:1: no colon"));
    assert_eq!(states(&world), "web.1 running");
}

#[test]
fn a_reload_whose_ports_clash_with_what_was_scaled_is_refused() {
    let web = |quantity| Member { first_port: Some(5000), ..member("web", quantity) };
    let mut world = settled(World::new(vec![web(1)]));
    world.ask(to("web", 200)).expect("it is possible");
    let reload = world.request(Verb::Reload, When::Accepted);
    let new = Member { first_port: Some(5100), ..member("new", 1) };
    world.tell(Event::Reread {
        types: vec![
            Reread { type_index: 0, member: web(1), program: Program::Same },
            Reread { type_index: 1, member: new, program: Program::Changed },
        ],
    });
    let refusal = world.answer_to(reload).expect("an answer").expect_err("two slots, one port");
    assert_eq!(refusal.code(), "port_clash");
    assert_eq!(world.core.supervisor.formation().to_string(), "web=200");
}

#[test]
fn ports_that_change_hands_by_a_reload_are_waited_for() {
    let on = |name, port| Member { first_port: Some(port), ..member(name, 2) };
    let slow = Script::runs().led_by(obeys_after(ms(700)));
    let mut world = settled(World::new(vec![on("a", 5000), on("b", 5100)]).habit(0, slow));
    world.ask_later(Verb::Reload);
    world.tell(Event::Reread {
        types: vec![
            Reread { type_index: 1, member: on("b", 5001), program: Program::Changed },
            Reread { type_index: 0, member: on("a", 5100), program: Program::Changed },
        ],
    });
    world.skip();
    world.pass(ms(3_000));
    world.saw(&[
        "10.000 b.1 died of SIGTERM (after its last words)",
        "10.000 b.2 died of SIGTERM (after its last words)",
        // 5002 is nobody's, and 5001 is that of a.2 for a while.
        "10.000 spawn b.2",
        "10.000 b.2 started",
        "10.700 a.1 exited 0 (after its last words)",
        "10.700 a.2 exited 0 (after its last words)",
        "10.700 spawn a.1",
        "10.700 spawn a.2",
        "10.700 a.1 started",
        "10.700 a.2 started",
        "10.750 spawn b.1",
        "10.750 b.1 started",
    ]);
}

#[test]
fn a_stopped_slot_shows_the_port_that_it_would_have_and_not_one_that_is_anothers_by_now() {
    let on = |name, port| Member { first_port: Some(port), ..member(name, 1) };
    let mut world = settled(World::new(vec![on("a", 5000), on("b", 5100)]));
    world.ask(stop(&["a.1"])).expect("it is possible");
    world.pass(ms(1_000));
    world.ask_later(Verb::Reload);
    world.tell(Event::Reread {
        types: vec![
            Reread { type_index: 1, member: on("b", 5000), program: Program::Changed },
            Reread { type_index: 0, member: on("a", 5100), program: Program::Changed },
        ],
    });
    world.pass(ms(1_000));
    let shown = world.core.supervisor.status(world.now).processes;
    let shown: Vec<_> = shown.iter().map(|process| (process.name.to_string(), process.port)).collect();
    assert_eq!(shown, [("b.1".to_owned(), Some(5000)), ("a.1".to_owned(), Some(5100))]);
}

#[test]
fn what_no_slot_knows_any_more_is_forgotten_however_often_the_files_change() {
    let mut world = settled(World::new(vec![member("web", 2)]));
    let mut size = 0;
    for reload in 0..50 {
        world.ask_later(Verb::Reload);
        world.tell(files(&[(0, "web", 2, Program::Changed)]));
        world.pass(ms(1_000));
        if reload == 5 {
            size = format!("{:?}", world.core.supervisor).len();
        }
    }
    let after = format!("{:?}", world.core.supervisor).len();
    assert!(after < size + 100, "from {size} to {after} bytes of text");
    assert_eq!(states(&world), "web.1 running, web.2 running");
}

#[test]
fn a_hup_while_the_files_are_read_has_them_read_once_more_and_a_request_is_told_so() {
    let habits = Habits { hangup: Hangup::Reload, ..Habits::default() };
    let mut world = settled(World::with_habits(vec![member("web", 1)], habits));
    world.signal(Signal::HUP);
    world.signal(Signal::HUP);
    assert_eq!(world.ask(Verb::Reload), Err(Refusal::Busy));
    world.saw(&["10.000 read again", "10.000 reply 1: busy"]);
    world.tell(files(&[(0, "web", 1, Program::Same)]));
    world.saw(&["10.000 read again", "10.000 adopt", "10.000 reloaded; no program has changed"]);
    world.tell(files(&[(0, "web", 1, Program::Same)]));
    world.saw(&["10.000 adopt", "10.000 reloaded; no program has changed"]);
}

#[test]
fn an_old_instance_ends_by_the_rules_that_it_was_started_with() {
    let mut world =
        settled(World::new(vec![with(member("web", 1), |policy| policy.stop_signal = Signal::QUIT)]));
    world.ask_later(Verb::Reload);
    world.tell(files(&[(0, "web", 1, Program::Changed)]));
    world.saw(&[
        "10.000 read again",
        "10.000 adopt",
        "10.000 reloaded; changed: web",
        "10.000 web: replacing 1 in its place: nobody is there until the new one is ready",
        "10.000 reply 1: web.1 restart running",
        "10.000 SIGQUIT to the leader of web.1",
    ]);
}

#[test]
fn a_mistake_in_a_type_that_is_started_by_request_ends_nobody_else() {
    use supervise::supervisor::SpawnErrorKind::NotFound;
    let mut world =
        settled(World::new(vec![member("web", 1), member("typo", 0)]).habit(1, Script::fails(NotFound)));
    world.ask(to("typo", 1)).expect("it is possible");
    world.pass(ms(60_000));
    assert_eq!((states(&world).as_str(), world.exit()), ("web.1 running, typo.1 backoff", None));
    assert!(matches!(world.core.phase(slot(1, 1)), Phase::Backoff { .. }));
}
