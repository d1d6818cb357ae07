//! What is new has to prove itself: who counts for that and who does not, and what is said of it meanwhile.

use std::time::Duration;

use supervise::api::{ExitStatus, Manner, Notice, ProbeKind, Setback, Signal, SlotName, Target, Verb, When};
use supervise::app::Restart;
use supervise::supervisor::{Event, Member, Program, Reread, Surge, Time};

use super::rolling::{alive, fewest_ready, good, ready, reload, rolling, unready, web};
use crate::fake_host::{Script, UNKILLABLE, World, member, ms, obeys_after, slot, with};

fn in_place(quantity: u32) -> Member {
    Member { surge: Surge::Forbidden, ..web(quantity) }
}

fn crash() -> Script {
    Script::exits(ms(50), 1).answering(ProbeKind::Readiness, &[false])
}

fn crash_after(millis: u64) -> (Duration, ExitStatus) {
    (ms(millis), ExitStatus::Code(1))
}

fn restart(names: &[&str]) -> Verb {
    let targets: Vec<Target> = names.iter().map(|name| name.parse().expect("a target")).collect();
    Verb::Restart { targets, manner: Manner::Rolling }
}

/// When something was ordered or said first, from the last time that all was forgotten.
fn when(world: &World, what: &str) -> Option<Duration> {
    let line = world.said().iter().find(|line| line.contains(what))?;
    let seconds: f64 = line.split_once(' ').expect("a time").0.parse().expect("a time");
    Some(Duration::from_secs_f64(seconds))
}

fn turned_back(world: &World) -> Option<(Option<SlotName>, Setback)> {
    world.notices().find_map(|notice| match notice {
        Notice::TurnedBack { slot, reason, .. } => Some((slot.clone(), reason.clone())),
        _ => None,
    })
}

#[test]
fn who_was_not_meant_is_not_counted_among_the_replaced() {
    let mut world = World::new(vec![in_place(3)]).habit(0, good());
    world.pass(ms(3_000));
    world.skip().request(restart(&["web.2"]), When::Accepted);
    world.pass(ms(10_000));
    let (ready, replaced) = (when(&world, "web.2 is ready"), when(&world, "web: 1 of 1 replaced"));
    assert!(ready.is_some() && ready < replaced, "{ready:?} {replaced:?}: {:#?}", world.said());
}

#[test]
fn a_surge_has_to_stay_ready_for_a_while_before_the_only_one_that_was_meant_ends() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.pass(ms(3_000));
    world.skip().request(restart(&["web.1"]), When::Accepted);
    world.pass(ms(10_000));
    let ready = when(&world, "web.3 is ready").expect("it is raised");
    let asked = when(&world, "SIGTERM to the leader of web.1").expect("it is replaced");
    assert!(asked >= ready + ms(1_000), "{ready:?} {asked:?}: {:#?}", world.said());
}

#[test]
fn what_an_interrupted_rollout_has_just_started_has_yet_to_prove_itself() {
    let mut world = World::new(vec![in_place(3)]).habit(0, good());
    world.pass(ms(3_000));
    world.skip().request(rolling(), When::Accepted);
    world.pass(ms(1_000));
    let ready = when(&world, "web.1 is ready").expect("it was replaced");
    world.request(restart(&["web.3"]), When::Accepted);
    world.pass(ms(10_000));
    let asked = when(&world, "SIGTERM to the leader of web.2").expect("it was not forgotten");
    assert!(asked >= ready + ms(1_000), "{ready:?} {asked:?}: {:#?}", world.said());
}

#[test]
fn who_is_to_be_replaced_once_more_need_not_prove_itself_first() {
    let mut world = World::new(vec![in_place(3)]).habit(0, good());
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(1_000));
    assert_eq!(ready(&world), 3, "the first is ready, and has not been for long: {:#?}", world.said());
    world.skip().request(restart(&["web.1"]), When::Accepted);
    assert_eq!(when(&world, "SIGTERM to the leader of web.1"), Some(world.now - Time::ZERO));
}

#[test]
fn a_surge_that_crashes_ends_the_replacing_of_a_single_one_and_is_named() {
    let mut world = World::new(vec![web(2)]).habit(0, good()).script(slot(0, 3), [crash(), crash(), crash()]);
    world.pass(ms(3_000));
    world.request(restart(&["web.1"]), When::Accepted);
    world.pass(ms(4_500));
    let (name, why) = turned_back(&world).expect("it came to nothing");
    assert_eq!(name.map(|name| name.to_string()).as_deref(), Some("web.3"));
    assert_eq!(why, Setback::Failures { failures: 3 });
    assert_eq!(alive(&world), ["web.1", "web.2"]);
}

#[test]
fn nothing_is_said_to_be_replaced_on_the_way_back_where_nothing_was() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.next_release(0, unready());
    world.pass(ms(3_000));
    world.skip();
    reload(&mut world, web(2), When::Accepted);
    world.pass(ms(20_000));
    let (name, why) = turned_back(&world).expect("it does not work");
    assert_eq!(name.map(|name| name.to_string()).as_deref(), Some("web.3"), "who was waited for");
    assert!(matches!(why, Setback::Deadline { .. }), "{why:?}");
    assert!(!world.said().iter().any(|line| line.contains("2 replaced")), "{:#?}", world.said());
}

#[test]
fn what_does_not_run_is_simply_started_with_the_new_program() {
    let mut world = World::new(vec![member("web", 1), member("job", 1)])
        .script(slot(1, 1), [Script::exits(ms(100), 0), Script::runs()]);
    world.pass(ms(3_000));
    world.skip();
    world.ask_later(Verb::Reload);
    let types = [("web", Program::Same), ("job", Program::Changed)];
    let reread = types.iter().enumerate().map(|(type_index, (name, program))| Reread {
        type_index,
        member: member(name, 1),
        program: *program,
    });
    world.tell(Event::Reread { types: reread.collect() });
    world.pass(ms(3_000));
    assert_eq!(alive(&world), ["web.1", "job.1"]);
    assert!(!world.said().iter().any(|line| line.contains("replac")), "{:#?}", world.said());
}

#[test]
fn the_highest_number_allowed_leaves_room_for_the_surge_that_is_already_there() {
    let narrow = |member| Member { max: Some(3), ..member };
    let mut world = World::new(vec![narrow(web(2))]).habit(0, good());
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(12_000)), 2, "nobody was missed: {:#?}", world.said());
    world.answer_to(id).expect("it is done").expect("it went well");
}

#[test]
fn what_is_stuck_above_the_formation_counts_towards_the_highest_number_allowed() {
    let narrow = |member| Member { max: Some(3), ..member };
    let mut world = World::new(vec![narrow(web(2))])
        .habit(0, good())
        .script(slot(0, 3), [Script { leader: UNKILLABLE, ..good() }]);
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(30_000));
    world.skip().request(rolling(), When::Accepted);
    world.pass(ms(30_000));
    let spawned: Vec<u32> = world.spawned().map(|(key, _)| key.number).collect();
    assert_eq!(spawned, [1, 2, 3, 1, 2, 1, 2], "never a fourth: {:#?}", world.said());
}

#[test]
fn a_surge_takes_nobody_else_s_port() {
    let web = with(web(2), |policy| policy.rollout.max_unavailable = 1);
    let web = Member { first_port: Some(5_000), ..web };
    let worker = Member { first_port: Some(5_002), ..member("worker", 1) };
    let mut world = World::new(vec![web, worker]).habit(0, good());
    world.pass(ms(3_000));
    world.request(restart(&["web.1", "web.2"]), When::Accepted);
    world.pass(ms(20_000));
    let of_web: Vec<u32> =
        world.spawned().filter(|(key, _)| key.type_index == 0).map(|(key, _)| key.number).collect();
    assert_eq!(of_web, [1, 2, 1, 2], "one after the other in their places: {:#?}", world.said());
}

#[test]
fn it_is_turned_back_to_what_worked_last() {
    let mut world = World::new(vec![web(1)]).habit(0, good());
    world.pass(ms(3_000));
    reload(&mut world, web(1), When::Accepted);
    world.pass(ms(20_000));
    world.next_release(0, unready());
    reload(&mut world, web(1), When::Accepted);
    world.pass(ms(20_000));
    assert!(
        world.said().iter().any(|line| line.ends_with("back to edition 1 of type 0")),
        "{:#?}",
        world.said()
    );
}

#[test]
fn who_crashes_when_all_new_ones_have_worked_turns_nothing_back() {
    let mut world = World::new(vec![web(1)])
        .script(
            slot(0, 1),
            [good(), Script { ends: Some(crash_after(3_000)), ..good() }, crash(), crash(), crash()],
        )
        .script(slot(0, 2), [good().led_by(obeys_after(ms(7_000)))])
        .habit(0, good());
    world.pass(ms(3_000));
    world.skip();
    reload(&mut world, web(1), When::Accepted);
    world.pass(ms(20_000));
    assert_eq!(turned_back(&world), None, "{:#?}", world.said());
    assert!(world.core.newest() >= 6, "it crashed again and again: {:#?}", world.said());
}

#[test]
fn the_last_one_stays_though_its_restart_came_to_nothing() {
    let mut world = World::new(vec![in_place(2)]).habit(0, good()).script(slot(0, 2), [good(), unready()]);
    world.pass(ms(3_000));
    world.request(restart(&["web.2"]), When::Accepted);
    world.pass(ms(20_000));
    turned_back(&world).expect("it came to nothing");
    assert_eq!(alive(&world), ["web.1", "web.2"], "{:#?}", world.said());
}

#[test]
fn failures_before_some_progress_do_not_count_with_those_after_it() {
    let lives = || [good(), crash(), crash(), good()];
    let mut world = World::new(vec![in_place(2)]).script(slot(0, 1), lives()).script(slot(0, 2), lives());
    world.pass(ms(3_000));
    reload(&mut world, in_place(2), When::Accepted);
    world.pass(ms(30_000));
    assert_eq!(turned_back(&world), None, "{:#?}", world.said());
    assert_eq!(ready(&world), 2);
}

#[test]
fn the_time_for_progress_begins_when_the_old_one_is_gone() {
    let old = good().led_by(obeys_after(ms(7_000)));
    let new = Script::runs().answering_after(ms(3_600), ProbeKind::Readiness, &[true]);
    let mut world = World::new(vec![in_place(1)]).script(slot(0, 1), [old, new]);
    world.pass(ms(3_000));
    reload(&mut world, in_place(1), When::Accepted);
    world.pass(ms(30_000));
    assert_eq!(turned_back(&world), None, "{:#?}", world.said());
    assert_eq!(ready(&world), 1);
}

#[test]
fn an_end_that_takes_longer_than_a_rollout_has_patience_turns_nothing_back() {
    let slow = Script { leader: obeys_after(ms(7_000)), ..unready() };
    let mut world = World::new(vec![web(2)]).habit(0, good().led_by(obeys_after(ms(7_000))));
    world.next_release(0, slow);
    world.pass(ms(3_000));
    reload(&mut world, web(2), When::Accepted);
    world.pass(ms(1_000));
    world.skip().signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    assert_eq!(turned_back(&world), None);
    let said = world.said().iter().filter(|line| line.contains("replac") || line.contains("edition"));
    assert_eq!(said.count(), 0, "nothing of it is told any more: {:#?}", world.said());
}

#[test]
fn who_fails_for_good_when_all_new_ones_have_worked_has_failed() {
    let never = |member| with(member, |policy| policy.restart = Restart::Never);
    let fails = Script { ends: Some(crash_after(6_000)), ..good() };
    let mut world = World::new(vec![never(web(2))])
        .script(slot(0, 1), [good(), fails])
        .script(slot(0, 3), [good().led_by(obeys_after(ms(7_000)))])
        .habit(0, good());
    world.pass(ms(3_000));
    world.skip();
    reload(&mut world, never(web(2)), When::Accepted);
    world.pass(ms(30_000));
    let failed = when(&world, "web.1 failed, never to be restarted");
    assert!(failed.is_some() && failed < when(&world, "replaced after"), "{:#?}", world.said());
}

#[test]
fn who_is_replaced_by_request_has_no_failures_behind_it() {
    let crash = || Script::exits(ms(1_500), 1);
    let mut world =
        World::new(vec![member("web", 1)]).script(slot(0, 1), [crash(), crash(), Script::runs(), crash()]);
    world.pass(ms(8_000));
    assert_eq!(world.core.newest(), 3, "twice in a row: {:#?}", world.said());
    world.skip().request(rolling(), When::Accepted);
    world.pass(ms(1_600));
    assert!(
        when(&world, "web.1 exited 1, again in 0ms").is_some(),
        "the first of a streak: {:#?}",
        world.said()
    );
}

#[test]
fn who_is_waited_for_in_vain_is_named_and_not_who_works_already() {
    let mut world = World::new(vec![in_place(2)]).habit(0, good()).script(slot(0, 2), [good(), unready()]);
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(20_000));
    let (name, why) = turned_back(&world).expect("one of them does not work");
    assert_eq!(name.map(|name| name.to_string()).as_deref(), Some("web.2"), "{why:?}");
}

#[test]
fn what_is_stuck_in_its_place_takes_no_room_from_the_surge() {
    let narrow = |member| Member { max: Some(3), ..with(member, |policy| policy.drain = ms(1_000)) };
    let mut world = World::new(vec![narrow(web(2))])
        .habit(0, good())
        .script(slot(0, 2), [Script { leader: UNKILLABLE, ..good() }]);
    world.pass(ms(3_000));
    world.request(restart(&["web.2"]), When::Accepted);
    world.pass(ms(30_000));
    world.skip().request(restart(&["web.1"]), When::Accepted);
    assert_eq!(fewest_ready(&mut world, ms(20_000)), 1, "another one did the work: {:#?}", world.said());
}

#[test]
fn a_restart_of_all_means_the_surge_of_the_one_before_too() {
    let mut world = World::new(vec![web(2)]).habit(0, good()).script(slot(0, 3), [unready(), good()]);
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    world.pass(ms(30_000));
    world.answer_to(id).expect("it is done").expect("it went well");
}

#[test]
fn who_works_for_a_while_again_and_again_makes_no_progress_after_the_first_time() {
    let flaps = || Script { ends: Some(crash_after(1_200)), ..Script::runs() };
    let mut world = World::new(vec![in_place(2)])
        .script(slot(0, 1), [good(), flaps(), flaps(), flaps(), good()])
        .script(slot(0, 2), [good(), unready(), good()]);
    world.pass(ms(3_000));
    reload(&mut world, in_place(2), When::Accepted);
    world.pass(ms(20_000));
    let (name, why) = turned_back(&world).expect("it does not work");
    assert_eq!(name.map(|name| name.to_string()).as_deref(), Some("web.1"));
    assert_eq!(why, Setback::Failures { failures: 3 }, "{:#?}", world.said());
}

#[test]
fn a_job_that_is_done_is_progress_too() {
    let job = || with(member("job", 2), |policy| policy.restart = Restart::OnFailure);
    let lives =
        || [Script::runs(), Script::exits(ms(50), 1), Script::exits(ms(50), 1), Script::exits(ms(50), 0)];
    let mut world = World::new(vec![job()]).script(slot(0, 1), lives()).script(slot(0, 2), lives());
    world.pass(ms(3_000));
    reload(&mut world, job(), When::Accepted);
    world.pass(ms(30_000));
    assert_eq!(turned_back(&world), None, "{:#?}", world.said());
    assert_eq!(world.core.newest(), 8, "each twice in vain: {:#?}", world.said());
}
