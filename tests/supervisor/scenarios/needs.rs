//! Backing services that must answer before anything that needs them is started.

use std::time::Duration;

use supervise::api::{Signal, State, Verb, When};
use supervise::app::Restart;
use supervise::supervisor::{Event, Member, Program, Reread, Time};

use crate::fake_host::{Script, World, member, ms, needing, slot, with};

fn worker(wait: u64) -> Member {
    needing(member("worker", 2), ms(wait))
}

fn until(mut world: World, services_from: u64) -> World {
    world.services_from = Time::ZERO + ms(services_from);
    world
}

#[test]
fn a_type_is_started_when_what_it_needs_answers_and_asked_for_all_of_its_slots_at_once() {
    let mut world = until(World::new(vec![member("web", 1), worker(30_000)]), 2_500);
    world.pass(ms(4_000));
    let said: Vec<&str> = world.said().iter().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            "0.000 spawn web.1",
            "0.000 ask what type 1 needs",
            "0.000 web.1 started",
            "0.000 worker waits for DATABASE_URL (there): refused",
            "1.000 ask what type 1 needs",
            "2.000 ask what type 1 needs",
            "3.000 ask what type 1 needs",
            "3.000 spawn worker.1",
            "3.000 spawn worker.2",
            "3.000 worker.1 started",
            "3.000 worker.2 started",
        ]
    );
}

#[test]
fn whoever_waits_is_pending_and_says_for_what_and_it_is_said_every_few_seconds() {
    let mut world = until(World::new(vec![worker(60_000)]), 50_000);
    world.pass(ms(12_500));
    let process = &world.core.supervisor.status(world.now).processes[0];
    assert_eq!(process.state, State::Pending);
    assert_eq!(process.reason.as_deref(), Some("DATABASE_URL (there): refused"));
    let said = world.said().iter().filter(|line| line.contains("waits for")).count();
    assert_eq!(said, 3, "at 0, 5 and 10 seconds: {:#?}", world.said());
}

#[test]
fn after_its_wait_it_is_a_failure_by_policy() {
    let slow = |restart| with(worker(3_000), move |policy| policy.restart = restart);
    let mut world = until(World::new(vec![slow(Restart::Never)]), 60_000);
    assert_eq!(world.run_to_exit(), 1);
    assert_eq!(world.now, Time::ZERO + ms(3_000));
    assert!(
        world.said().iter().any(|line| line
            == "3.000 worker.1 not started: DATABASE_URL (there) did not answer within 3s: refused"),
        "{:#?}",
        world.said()
    );

    let mut world = until(World::new(vec![slow(Restart::OnFailure)]), 60_000);
    world.pass(ms(150_000));
    assert_eq!(world.core.alive().count(), 2, "it tries again, and waits again: {:#?}", world.said());
}

#[test]
fn a_restart_asks_again() {
    let mut world = World::new(vec![needing(member("worker", 1), ms(30_000))])
        .script(slot(0, 1), [Script::exits(ms(10_000), 1), Script::runs()]);
    world.pass(ms(5_000));
    world.services_from = Time::ZERO + ms(20_000);
    world.pass(ms(10_000));
    assert_eq!(world.core.newest(), 1, "a crash is no reason to start without it");
    world.pass(ms(10_000));
    assert_eq!(world.core.newest(), 2);
}

#[test]
fn a_stop_and_a_term_do_not_wait_for_it() {
    let mut world = until(World::new(vec![member("web", 1), worker(60_000)]), 50_000);
    world.pass(ms(1_000));
    world.ask(Verb::Stop { targets: vec!["worker.1".parse().expect("a target")] }).expect("it is possible");
    assert_eq!(world.core.supervisor.status(world.now).processes[1].state, State::Stopped);
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    assert_eq!(world.now, Time::ZERO + ms(1_000));
}

#[test]
fn what_is_needed_since_a_reload_is_what_is_asked() {
    let mut world = until(World::new(vec![worker(60_000)]), 50_000);
    world.pass(ms(500));
    world.request(Verb::Reload, When::Accepted);
    let member = member("worker", 2);
    world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Changed }] });
    world.pass(ms(1_000));
    assert_eq!(world.core.alive().count(), 2, "nothing is needed any more: {:#?}", world.said());
}

#[test]
fn an_answer_that_comes_after_the_files_have_changed_is_none() {
    let mut world = until(World::new(vec![worker(60_000)]), 50_000);
    world.pass(ms(900));
    world.skip();
    world.request(Verb::Reload, When::Accepted);
    // Asked again at 1.000; the answer to that is told twice, the second time after a change.
    let types = || vec![Reread { type_index: 0, member: worker(60_000), program: Program::Changed }];
    world.tell(Event::Reread { types: types() });
    world.tell(Event::Asked { type_index: 0, missing: Vec::new() });
    world.pass(ms(50));
    assert_eq!(world.core.alive().count(), 0, "nobody had asked that: {:#?}", world.said());
    world.pass(Duration::from_secs(60));
    assert_eq!(world.core.alive().count(), 2);
}

#[test]
fn what_was_answered_for_other_needs_says_nothing_about_those_of_now() {
    for program in [Program::Same, Program::Changed] {
        let mut world = World::new(vec![needing(member("worker", 1), ms(60_000))]);
        world.pass(ms(300));
        assert_eq!(world.core.newest(), 1);
        world.services_from = Time::ZERO + ms(50_000);
        world.request(Verb::Reload, When::Accepted);
        let member = needing(needing(member("worker", 1), ms(60_000)), ms(60_000));
        world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program }] });
        let manner = supervise::api::Manner::AtOnce;
        world.ask(Verb::Restart { targets: Vec::new(), manner }).expect("it is possible");
        world.pass(ms(40_000));
        assert_eq!(world.core.newest(), 1, "{program:?}: {:#?}", world.said());
        world.pass(ms(20_000));
        assert_eq!(world.core.newest(), 2);
    }
}

#[test]
fn an_answer_to_what_was_needed_before_is_not_taken_for_one_to_what_is_needed_now() {
    let worker = |wait| needing(member("worker", 1), ms(wait));
    let mut world = World::new(vec![worker(60_000)]);
    // Everything is there when it is asked for, and the answer is on its way while the files change.
    world.tell(Event::Woke);
    world.services_from = Time::ZERO + ms(50_000);
    world.request(Verb::Reload, When::Accepted);
    let member = worker(70_000);
    world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Changed }] });
    // Who waits would ask again, before that answer has come.
    world.tell(Event::Woke);
    world.pass(ms(40_000));
    assert_eq!(world.core.newest(), 0, "what it needs now is not there: {:#?}", world.said());
    world.pass(ms(20_000));
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn what_is_to_be_started_fails_by_its_own_rules_and_not_by_those_of_what_was_there_before() {
    let once = |member| with(member, |policy| policy.backoff.give_up_after = 1);
    let slow = || with(worker(3_000), |policy| policy.essential = false);
    let mut world = until(World::new(vec![member("web", 1), slow()]), 60_000);
    world.pass(ms(1_000));
    world.ask_later(Verb::Reload);
    let types = [(0, member("web", 1), Program::Same), (1, once(slow()), Program::Changed)];
    let types = types.map(|(type_index, member, program)| Reread { type_index, member, program });
    world.tell(Event::Reread { types: types.to_vec() });
    world.pass(ms(5_000));
    let failed = |line: &&String| line.contains("failed 1 times");
    assert_eq!(world.said().iter().filter(failed).count(), 2, "{:#?}", world.said());
}
