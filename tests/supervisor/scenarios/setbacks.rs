//! Rollouts that meet with something: what fails, what is slow, what is stuck, and what somebody asks for meanwhile.

use supervise::api::{Change, Manner, Notice, ProbeKind, Refusal, Setback, Signal, Target, Verb, When};
use supervise::app::{Restart, Rollout};
use supervise::supervisor::{Event, Member, Probes, Program, Reread, SpawnErrorKind, Surge};

use super::rolling::{alive, fewest_ready, good, ready, reload, rolling, unready, web};
use crate::fake_host::{Script, UNKILLABLE, World, dies_hard, member, ms, needing, obeys_after, slot, with};

fn crash() -> Script {
    Script::exits(ms(50), 1).answering(ProbeKind::Readiness, &[false])
}

fn in_place(quantity: u32) -> Member {
    Member { surge: Surge::Forbidden, ..web(quantity) }
}

fn targets(text: &str) -> Vec<Target> {
    vec![text.parse().expect("a target")]
}

fn editions(world: &World, number: u32) -> Vec<usize> {
    world.spawned().filter(|(key, _)| *key == slot(0, number)).map(|(_, edition)| edition).collect()
}

fn turned_back(world: &World) -> bool {
    world.notices().any(|notice| matches!(notice, Notice::TurnedBack { .. }))
}

fn goes_well(world: &World, id: supervise::api::RequestId) {
    let answer = world.answer_to(id).unwrap_or_else(|| panic!("no answer: {:#?}", world.said()));
    answer.unwrap_or_else(|refusal| panic!("{refusal}: {:#?}", world.said()));
}

#[test]
fn fault_69_a_bad_release_is_turned_back_and_the_old_set_was_never_touched() {
    let mut world = World::new(vec![web(4)]).habit(0, crash());
    for number in 1..=4 {
        world = world.script(slot(0, number), [good()]);
    }
    world.pass(ms(3_000));
    let before: Vec<_> = world.core.alive().collect();
    let id = reload(&mut world, web(4), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(20_000)), 4);
    let Some(Err(refusal @ Refusal::TurnedBack { .. })) = world.answer_to(id) else {
        panic!("{:#?}", world.said())
    };
    assert!(refusal.to_string().contains("web.5"), "{refusal}");
    assert_eq!(world.core.alive().collect::<Vec<_>>(), before);
    assert_eq!(world.core.newest(), 7, "three tries, and no more: {:#?}", world.said());
}

#[test]
fn fault_70_a_shutdown_wins_over_a_rollout_and_nothing_is_started_after_it() {
    let mut world = World::new(vec![web(3)]).habit(0, good());
    world.pass(ms(3_000));
    let id = reload(&mut world, web(3), When::Happened);
    world.pass(ms(3_100));
    let newest = world.core.newest();
    world.signal(Signal::TERM);
    assert_eq!(world.answer_to(id), Some(Err(Refusal::ShuttingDown)));
    assert_eq!((world.run_to_exit(), world.core.newest()), (0, newest));
}

#[test]
fn fault_70_an_old_one_that_crashes_comes_back_as_a_new_one_and_as_an_old_one_once_it_was_turned_back() {
    let dies = |after| Script::exits(ms(after), 1);
    let mut world = World::new(vec![web(3)])
        .habit(0, good())
        .script(slot(0, 3), [dies(4_000), dies(20_000), good()])
        .script(slot(0, 4), [unready(), unready()]);
    world.pass(ms(3_000));
    reload(&mut world, web(3), When::Accepted);
    world.pass(ms(2_000));
    assert_eq!(editions(&world, 3), [0, 1], "the new ones have not failed so far");
    world.pass(ms(30_000));
    assert!(turned_back(&world), "{:#?}", world.said());
    assert_eq!(editions(&world, 3), [0, 1, 2], "{:#?}", world.said());
    assert_eq!(ready(&world), 3);
}

#[test]
fn fault_70_an_old_one_that_would_have_failed_for_good_makes_room_for_a_new_one() {
    let once = || with(in_place(2), |policy| policy.restart = Restart::Never);
    let mut world = World::new(vec![once()])
        .habit(0, good())
        .script(slot(0, 2), [Script { ends: Some((ms(3_500), FAILED)), ..good() }]);
    world.pass(ms(3_000));
    let id = reload(&mut world, once(), When::Happened);
    world.pass(ms(20_000));
    goes_well(&world, id);
    assert_eq!((editions(&world, 2), ready(&world)), (vec![0, 1], 2), "{:#?}", world.said());
}

#[test]
fn what_works_for_certain_is_come_back_to_however_many_releases_failed_after_it() {
    let lives = [good(), crash(), crash(), crash(), crash(), crash(), good()];
    let mut world = World::new(vec![in_place(1)]).script(slot(0, 1), lives);
    world.pass(ms(3_000));
    let first = reload(&mut world, in_place(1), When::Happened);
    world.pass(ms(900));
    assert!(!turned_back(&world), "it fails, and waits: {:#?}", world.said());
    let second = reload(&mut world, in_place(1), When::Happened);
    assert!(matches!(world.answer_to(first), Some(Err(Refusal::Superseded { .. }))), "{:#?}", world.said());
    world.pass(ms(10_000));
    assert!(matches!(world.answer_to(second), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
    assert!(world.said().iter().any(|line| line.ends_with("back to edition 0 of type 0")));
    assert_eq!(ready(&world), 1, "{:#?}", world.said());
}

#[test]
fn a_reload_while_the_only_one_is_being_replaced_can_be_turned_back_too() {
    let old = good().led_by(obeys_after(ms(2_000)));
    let mut world =
        World::new(vec![in_place(1)]).script(slot(0, 1), [old, crash(), crash(), crash(), good()]);
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(500));
    reload(&mut world, in_place(1), When::Accepted);
    world.pass(ms(20_000));
    assert!(turned_back(&world) && ready(&world) == 1, "{:#?}", world.said());
}

#[test]
fn an_old_one_may_take_its_time_to_end_and_that_is_no_lack_of_progress() {
    let slow = |member| with(member, |policy| policy.drain = ms(60_000));
    let script = good().led_by(obeys_after(ms(12_000)));
    let mut world = World::new(vec![slow(in_place(2))]).habit(0, script);
    world.pass(ms(3_000));
    let id = reload(&mut world, slow(in_place(2)), When::Happened);
    world.pass(ms(60_000));
    goes_well(&world, id);
    assert_eq!((editions(&world, 1), editions(&world, 2)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn a_surge_may_take_its_time_to_end_too() {
    let slow = || with(web(1), |policy| policy.drain = ms(60_000));
    let surge = good().led_by(obeys_after(ms(12_000)));
    let mut world = World::new(vec![slow()]).habit(0, good()).script(slot(0, 2), [surge]);
    world.pass(ms(3_000));
    let id = reload(&mut world, slow(), When::Happened);
    world.pass(ms(12_000));
    assert_eq!((alive(&world).len(), world.answer_to(id)), (2, None));
    world.pass(ms(20_000));
    goes_well(&world, id);
    assert_eq!(alive(&world), ["web.1"]);
}

#[test]
fn what_survives_sigkill_keeps_no_rollout_from_its_end() {
    for (stuck, kind) in [(1, web(2)), (2, in_place(2)), (3, web(2))] {
        let kind = || with(kind.clone(), |policy| policy.drain = ms(1_000));
        let mut world =
            World::new(vec![kind()]).habit(0, good()).script(slot(0, stuck), [good().led_by(UNKILLABLE)]);
        world.pass(ms(3_000));
        let id = reload(&mut world, kind(), When::Happened);
        world.pass(ms(60_000));
        goes_well(&world, id);
        assert!(!world.core.supervisor.is_rolling(0), "web.{stuck}");
        let running = [1, 2].into_iter().filter(|number| *number != stuck);
        for number in running {
            assert_eq!(editions(&world, number), [0, 1], "web.{stuck}: {:#?}", world.said());
        }
    }
}

#[test]
fn a_surge_finds_another_place_where_the_last_one_is_stuck() {
    let kind = || with(web(2), |policy| policy.drain = ms(1_000));
    let mut world = World::new(vec![kind()]).habit(0, good()).script(slot(0, 3), [good().led_by(UNKILLABLE)]);
    world.pass(ms(3_000));
    for _ in 0..2 {
        let id = reload(&mut world, kind(), When::Happened);
        assert_eq!(fewest_ready(&mut world, ms(30_000)), 2);
        goes_well(&world, id);
    }
    assert_eq!(alive(&world), ["web.1", "web.2", "web.3"], "web.3 is stuck, and web.4 is gone");
}

#[test]
fn one_that_is_ready_for_a_moment_again_and_again_is_no_progress() {
    let flaps = || Script::exits(ms(1_200), 1);
    let mut world = World::new(vec![web(4)]).habit(0, flaps());
    for number in 1..=4 {
        world = world.script(slot(0, number), [good()]);
    }
    world.pass(ms(3_000));
    let id = reload(&mut world, web(4), When::Happened);
    world.pass(ms(60_000));
    assert!(matches!(world.answer_to(id), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
}

#[test]
fn who_was_not_meant_decides_nothing() {
    // web.2 is not ready any more, and web.3 crashes again and again; both were so before.
    let lapses = Script::runs().answering(ProbeKind::Readiness, &[true, false]);
    let kind = with(in_place(3), |policy| policy.rollout.max_unavailable = 3);
    let mut world = World::new(vec![kind])
        .habit(0, good())
        .script(slot(0, 2), [lapses])
        .script(slot(0, 3), (0..40).map(|_| crash()));
    world.pass(ms(3_000));
    assert_eq!(ready(&world), 1);
    let targets = targets("web.1");
    let id = world.request(Verb::Restart { targets, manner: Manner::Rolling }, When::Happened);
    world.pass(ms(20_000));
    goes_well(&world, id);
    assert_eq!(editions(&world, 1).len(), 2);
    assert_eq!(editions(&world, 2).len(), 1, "it was not meant");
}

#[test]
fn a_restart_of_some_does_not_forget_the_others_of_the_rollout_before() {
    let mut world = World::new(vec![web(3)]).habit(0, good());
    world.pass(ms(3_000));
    reload(&mut world, web(3), When::Accepted);
    world.pass(ms(1_000));
    let targets = targets("web.2");
    let id = world.request(Verb::Restart { targets, manner: Manner::Rolling }, When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(20_000)), 3);
    goes_well(&world, id);
    let last = |number| editions(&world, number).last().copied();
    assert_eq!((last(1), last(2), last(3)), (Some(1), Some(1), Some(1)), "{:#?}", world.said());
}

#[test]
fn who_asked_for_something_else_meanwhile_is_told_what_became_of_that() {
    let mut world = World::new(vec![web(2), member("worker", 1)])
        .habit(0, good())
        .script(slot(0, 2), [good(), unready(), unready()])
        .script(slot(0, 3), [unready(), unready()]);
    world.pass(ms(3_000));
    world.request(Verb::Reload, When::Accepted);
    let reread = |type_index, member, program| Reread { type_index, member, program };
    let types = vec![reread(0, web(2), Program::Changed), reread(1, member("worker", 1), Program::Same)];
    world.tell(Event::Reread { types });
    world.pass(ms(500));
    let stop = world.request(Verb::Stop { targets: targets("web.2") }, When::Happened);
    world.pass(ms(300));
    goes_well(&world, stop);
    let changes = vec![("web".to_owned(), Change::To(1))];
    let scale = world.request(Verb::Scale { changes }, When::Happened);
    world.pass(ms(300));
    assert!(world.core.supervisor.is_rolling(0));
    goes_well(&world, scale);
    world.pass(ms(10_000));
    assert!(turned_back(&world), "{:#?}", world.said());
}

#[test]
fn a_type_that_is_taken_away_or_scaled_to_none_is_not_replaced_any_more() {
    let mut world = World::new(vec![web(2), member("worker", 1)]).habit(0, good());
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    world.pass(ms(1_000));
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(0))] }).expect("it is possible");
    world.pass(ms(20_000));
    goes_well(&world, id);
    assert!(world.notices().all(
        |notice| !matches!(notice, Notice::RolloutDone { process_type, .. } if process_type.as_str() == "web")
    ));

    let mut world = World::new(vec![web(2), member("worker", 1)]).habit(0, good());
    world.pass(ms(3_000));
    world.request(rolling(), When::Happened);
    world.pass(ms(1_000));
    world.request(Verb::Reload, When::Accepted);
    let member = member("worker", 1);
    world.tell(Event::Reread { types: vec![Reread { type_index: 1, member, program: Program::Same }] });
    world.pass(ms(20_000));
    assert!(!world.core.supervisor.is_rolling(0) && alive(&world) == ["worker.1"], "{:#?}", world.said());
    assert!(world.notices().all(
        |notice| !matches!(notice, Notice::RolloutDone { process_type, .. } if process_type.as_str() == "web")
    ));
}

#[test]
fn other_ports_end_the_rollout_that_is_under_way() {
    let on = |port| Member { first_port: Some(port), ..web(2) };
    let mut world = World::new(vec![on(5_000)]).habit(0, good());
    world.pass(ms(3_000));
    let first = reload(&mut world, on(5_000), When::Happened);
    world.pass(ms(300));
    assert_eq!(alive(&world).len(), 3);
    let second = reload(&mut world, on(6_000), When::Happened);
    assert!(matches!(world.answer_to(first), Some(Err(Refusal::Superseded { .. }))), "{:#?}", world.said());
    world.pass(ms(10_000));
    goes_well(&world, second);
    assert_eq!((alive(&world).len(), ready(&world)), (2, 2), "{:#?}", world.said());
}

#[test]
fn jobs_that_are_done_at_once_are_replaced_without_waiting_for_the_deadline() {
    let job = || with(member("job", 2), |policy| policy.restart = Restart::OnFailure);
    let job = || Member { surge: Surge::Possible, ..job() };
    let mut world = World::new(vec![job()]).habit(0, Script::exits(ms(200), 0));
    for number in 1..=2 {
        world = world.script(slot(0, number), [Script::runs()]);
    }
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(5_000));
    assert!(
        world.notices().any(|notice| matches!(notice, Notice::RolloutDone { .. })),
        "{:#?}",
        world.said()
    );
}

#[test]
fn whoever_is_above_us_sees_no_gap_where_there_is_none() {
    let well = |world: &World| {
        let vitals = world.core.supervisor.vitals();
        vitals.essential.iter().all(|kind| kind.ready >= kind.enough)
    };
    for (kind, gaps) in [(web(2), false), (in_place(2), false), (in_place(1), true)] {
        let mut world = World::new(vec![kind]).habit(0, good());
        world.pass(ms(3_000));
        world.request(rolling(), When::Accepted);
        let mut gap = false;
        while world.core.supervisor.is_rolling(0) {
            gap |= !well(&world);
            world.pass(ms(50));
        }
        assert_eq!((gap, well(&world)), (gaps, true), "{:#?}", world.said());
    }
}

#[test]
fn a_new_one_that_waits_for_a_service_is_turned_back_by_the_deadline_and_the_reason_says_so() {
    let needs = || needing(web(2), ms(60_000));
    let mut world = World::new(vec![needs()]).habit(0, good());
    world.pass(ms(3_000));
    world.services_from = supervise::supervisor::Time::ZERO + ms(600_000);
    let id = reload(&mut world, needs(), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(8_000)), 2);
    let Some(Err(Refusal::TurnedBack { reason, .. })) = world.answer_to(id) else {
        panic!("{:#?}", world.said())
    };
    assert!(reason.contains("DATABASE_URL"), "{reason}");
}

#[test]
fn a_shortage_is_nobody_s_failure_and_trips_nothing() {
    use supervise::supervisor::SpawnErrorKind;
    let kind = || with(web(2), |policy| policy.rollout = Rollout::default());
    let short = || Script::fails(SpawnErrorKind::Shortage);
    let mut world =
        World::new(vec![kind()]).habit(0, good()).script(slot(0, 3), [short(), short(), short(), short()]);
    world.pass(ms(3_000));
    let id = reload(&mut world, kind(), When::Happened);
    world.pass(ms(60_000));
    goes_well(&world, id);
}

#[test]
fn an_old_one_that_crashes_again_and_again_before_its_turn_is_not_held_against_the_new_ones() {
    // Each of the old ones crashes once; the new ones work.
    let mut world = World::new(vec![web(6)]).habit(0, good());
    for number in 2..=6 {
        let after = ms(4_000 + u64::from(number));
        world = world.script(slot(0, number), [Script { ends: Some((after, FAILED)), ..good() }]);
    }
    world.pass(ms(3_000));
    let id = reload(&mut world, web(6), When::Happened);
    world.pass(ms(60_000));
    goes_well(&world, id);
}

const FAILED: supervise::api::ExitStatus = supervise::api::ExitStatus::Code(1);

#[test]
fn one_that_must_not_be_tried_again_is_turned_back_before_it_is_started_once_more() {
    let once = || with(in_place(1), |policy| policy.backoff.give_up_after = 1);
    let mut world = World::new(vec![once()]).script(slot(0, 1), [good(), crash(), good()]);
    world.pass(ms(3_000));
    reload(&mut world, once(), When::Accepted);
    world.pass(ms(10_000));
    assert_eq!(editions(&world, 1), [0, 1, 2], "{:#?}", world.said());
    let turned = world.notices().find_map(|notice| match notice {
        Notice::TurnedBack { reason, .. } => Some(reason.clone()),
        _other => None,
    });
    assert_eq!(turned, Some(Setback::Failures { failures: 1 }));
}

#[test]
fn a_surge_that_has_come_to_rest_is_started_when_it_is_to_stay() {
    let job = Member { surge: Surge::Possible, ..web(1) };
    let mut world = World::new(vec![with(job, |policy| policy.restart = Restart::OnFailure)])
        .habit(0, good())
        .script(slot(0, 2), [Script::exits(ms(0), 0)]);
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(100));
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(2))] }).expect("it is possible");
    world.pass(ms(10_000));
    assert_eq!(ready(&world), 2, "{:#?}", world.said());
}

#[test]
fn a_turned_back_restart_keeps_the_surge_until_who_it_stands_in_for_is_back() {
    // The new web.1 takes longer than anybody waits for.
    let slow = good().answering(ProbeKind::Readiness, &[&[false; 14][..], &[true]].concat());
    let mut world = World::new(vec![web(2)]).habit(0, good()).script(slot(0, 1), [good(), slow]);
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(20_000)), 2, "{:#?}", world.said());
    assert!(matches!(world.answer_to(id), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
    assert_eq!(alive(&world), ["web.1", "web.2"]);
}

#[test]
fn what_a_superseded_rollout_has_started_is_not_taken_for_proved() {
    // The new web.1 never becomes ready; a restart of web.2 supersedes that, and does not hide it.
    let mut world = World::new(vec![in_place(2)]).habit(0, good()).script(slot(0, 1), [good(), unready()]);
    world.pass(ms(3_000));
    reload(&mut world, in_place(2), When::Accepted);
    world.pass(ms(1_000));
    let targets = targets("web.2");
    let id = world.request(Verb::Restart { targets, manner: Manner::Rolling }, When::Happened);
    world.pass(ms(30_000));
    assert!(matches!(world.answer_to(id), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
    assert_eq!((editions(&world, 1), ready(&world)), (vec![0, 1, 2], 2), "{:#?}", world.said());
}

#[test]
fn what_was_turned_back_is_not_forgotten_when_a_restart_meanwhile_comes_to_nothing() {
    // What comes back does not work at first in web.2, so the new web.1 still does its work.
    let mut world = World::new(vec![web(2)])
        .habit(0, good())
        .script(slot(0, 2), [good(), unready(), unready(), unready(), good()]);
    world.pass(ms(3_000));
    reload(&mut world, web(2), When::Accepted);
    world.pass(ms(20_000));
    assert!(turned_back(&world), "{:#?}", world.said());
    assert_eq!(editions(&world, 1), [0, 1], "it works, and nobody else would: {:#?}", world.said());
    let targets = targets("web.2");
    world.request(Verb::Restart { targets: targets.clone(), manner: Manner::Rolling }, When::Accepted);
    world.pass(ms(20_000));
    world.request(Verb::Restart { targets, manner: Manner::AtOnce }, When::Accepted);
    world.pass(ms(20_000));
    assert_eq!(editions(&world, 1), [0, 1, 2], "back as soon as possible: {:#?}", world.said());
    assert_eq!((alive(&world), ready(&world)), (vec!["web.1".into(), "web.2".into()], 2));
}

#[test]
fn who_became_ready_while_we_slept_was_not_too_late() {
    let plain = |member: Member| Member { probes: Probes::default(), ..member };
    let mut world = World::new(vec![plain(in_place(1))]);
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    world.pass(ms(100));
    // Longer than anybody waits for progress; and then somebody asks, before anything else is looked at.
    world.oversleep(ms(20_000));
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(1))] }).expect("it is so already");
    world.pass(ms(100));
    goes_well(&world, id);
    assert!(!turned_back(&world), "{:#?}", world.said());
}

#[test]
fn a_place_that_comes_free_is_taken_by_the_surge_that_had_to_stand_higher() {
    // What is stuck in web.3 is gone when the one above it could not even be started yet.
    let stuck = Script { leader: dies_hard(ms(4_500)), ..good() };
    let mut world = World::new(vec![with(web(3), |policy| policy.drain = ms(100))])
        .habit(0, good())
        .script(slot(0, 3), [stuck])
        .script(slot(0, 4), [Script::fails(SpawnErrorKind::Shortage)]);
    world.pass(ms(3_000));
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(2))] }).expect("it is possible");
    world.pass(ms(4_000));
    let id = world.request(rolling(), When::Happened);
    world.pass(ms(30_000));
    goes_well(&world, id);
    let raised: Vec<u32> = world.spawned().map(|(key, _)| key.number).skip(3).collect();
    assert_eq!(raised, [4, 3, 1, 2], "{:#?}", world.said());
}
