//! What is counted and shown of a formation: for `ps`, for `/metrics` and for whoever is above us.

use supervise::api::{Change, Ended, ProbeKind, ProcessStatus, Tried, Verb};
use supervise::app::{Restart, Timing};
use supervise::supervisor::{Census, Habits};

use crate::fake_host::{Script, World, member, ms, obeys_after, probed, slot, with};

fn census(world: &World) -> Vec<Census> {
    world.core.supervisor.census()
}

fn process(world: &World, index: usize) -> ProcessStatus {
    world.core.supervisor.status(world.now).processes[index].clone()
}

fn scale(world: &mut World, name: &str, count: u32) {
    let changes = vec![(name.to_owned(), Change::To(count))];
    world.ask(Verb::Scale { changes }).expect("it is possible");
}

#[test]
fn how_many_of_each_type_are_how_is_known_and_who_left_is_counted_until_it_is_gone() {
    let once = |name, quantity| with(member(name, quantity), |policy| policy.restart = Restart::Never);
    let extra = with(member("extra", 1), |policy| policy.essential = false);
    let mut world = World::new(vec![once("job", 3), extra, member("none", 0)])
        .script(slot(0, 1), [Script::exits(ms(100), 0)])
        .script(slot(0, 2), [Script::exits(ms(100), 1)])
        .habit(1, Script::runs().led_by(obeys_after(ms(3_000))));
    world.pass(ms(2_000));
    let [job, extra] = &census(&world)[..] else { panic!("{:#?}", census(&world)) };
    assert_eq!((job.process_type.as_str(), job.essential, job.wanted, job.rolling), ("job", true, 3, false));
    assert_eq!((job.ready, job.completed, job.failed, job.alive), (1, 1, 1, 1));
    assert_eq!((extra.process_type.as_str(), extra.essential, extra.alive), ("extra", false, 1));

    scale(&mut world, "extra", 0);
    world.pass(ms(2_000));
    let [_, extra] = &census(&world)[..] else { panic!("{:#?}", census(&world)) };
    assert_eq!((extra.wanted, extra.ready, extra.alive), (0, 0, 1), "it is on its way out");
    world.pass(ms(2_000));
    assert_eq!(census(&world).len(), 1, "nothing shall run and nothing lives: {:#?}", census(&world));
}

#[test]
fn a_type_that_shall_run_is_counted_though_nobody_of_it_lives_and_so_is_a_command() {
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [Script::exits(ms(100), 1)]);
    world.pass(ms(200));
    let [web] = &census(&world)[..] else { panic!("{:#?}", census(&world)) };
    assert_eq!((web.wanted, web.alive), (1, 0), "it waits for its next start");
    world.ask_later(Verb::Run { process_type: None });
    world.pass(ms(2_000));
    let [_, run] = &census(&world)[..] else { panic!("{:#?}", census(&world)) };
    assert_eq!((run.process_type.as_str(), run.essential, run.wanted, run.alive), ("run", false, 0, 1));
}

#[test]
fn it_has_started_when_all_that_is_essential_was_ready_at_once_and_stays_so() {
    let timing = Timing { period: ms(1_000), failure_threshold: 1, ..Timing::default() };
    let web = |name| probed(member(name, 1), ProbeKind::Readiness, timing);
    let answers = |results: &[bool]| Script::runs().answering(ProbeKind::Readiness, results);
    let mut world = World::new(vec![web("web"), web("api")])
        .script(slot(0, 1), [answers(&[false, true, false])])
        .script(slot(1, 1), [answers(&[false, false, true])]);
    world.pass(ms(5_000));
    assert!(!world.core.supervisor.has_started(), "one, and then the other: {:#?}", world.said());

    let mut world = World::new(vec![web("web")]).script(slot(0, 1), [answers(&[false, true, false])]);
    world.pass(ms(500));
    assert!(!world.core.supervisor.has_started());
    world.pass(ms(1_000));
    assert!(world.core.supervisor.has_started());
    world.pass(ms(5_000));
    assert!(!process(&world, 0).ready && world.core.supervisor.has_started(), "it was, once");
}

#[test]
fn what_was_not_started_when_the_end_began_never_has_started() {
    let mut world = World::with_habits(vec![member("web", 1)], Habits::default())
        .habit(0, Script::runs().led_by(obeys_after(ms(3_000))));
    world.pass(ms(500));
    world.signal(supervise::api::Signal::TERM);
    world.pass(ms(2_000));
    assert!(!world.core.supervisor.vitals().started);
    assert_eq!(world.run_to_exit(), 0);
    assert!(!world.core.supervisor.has_started(), "nobody is left who could be ready");
}

#[test]
fn every_end_every_restart_and_every_try_of_a_probe_is_counted() {
    let timing = Timing { period: ms(1_000), ..Timing::default() };
    let web = probed(member("web", 1), ProbeKind::Readiness, timing);
    let crash = || Script::exits(ms(1_500), 3).answering(ProbeKind::Readiness, &[false, true]);
    let mut world = World::new(vec![web]).script(slot(0, 1), [crash(), crash(), crash()]);
    world.pass(ms(8_000));
    assert_eq!(world.core.newest(), 4, "three crashed, the fourth runs: {:#?}", world.said());
    let tally = &world.core.supervisor.tallies()[0];
    assert_eq!(tally.exits.get(&Ended::Code(3)), Some(&3));
    assert_eq!((tally.restarts, process(&world, 0).restarts), (3, 3));
    assert_eq!(tally.probes.get(&(ProbeKind::Readiness, Tried::Failed)), Some(&3));
    let passed = world.said().iter().filter(|line| line.ends_with("ask web.1 for its readiness")).count() - 3;
    assert_eq!(tally.probes.get(&(ProbeKind::Readiness, Tried::Passed)), Some(&(passed as u64)));

    scale(&mut world, "web", 0);
    world.pass(ms(1_000));
    scale(&mut world, "web", 1);
    world.pass(ms(2_000));
    assert_eq!(process(&world, 0).restarts, 0, "what comes back into the formation begins anew");
    assert_eq!(world.core.supervisor.tallies()[0].restarts, 3, "what is counted never falls");
}

#[test]
fn who_comes_back_by_request_has_no_failures_behind_it() {
    let crash = || Script::exits(ms(1_000), 1);
    let mut world =
        World::new(vec![member("web", 1)]).script(slot(0, 1), [crash(), crash(), Script::runs(), crash()]);
    world.pass(ms(5_000));
    assert_eq!(world.core.newest(), 3, "twice in a row: {:#?}", world.said());
    scale(&mut world, "web", 0);
    world.pass(ms(1_000));
    scale(&mut world, "web", 1);
    world.skip().pass(ms(1_000));
    assert!(
        world.said().iter().any(|line| line.ends_with("web.1 exited 1, again in 0ms (after its last words)")),
        "the first of a streak: {:#?}",
        world.said()
    );
}
