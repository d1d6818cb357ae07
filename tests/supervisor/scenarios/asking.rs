//! Requests that meet with what is under way: what they mean, what they find, and what they are told.

use supervise::api::{Change, Manner, Refusal, Signal, Target, Verb, When};
use supervise::app::{Policy, Restart};
use supervise::supervisor::{Event, FoundBy, Member, Program, Reread, SpawnErrorKind};

use super::rolling::{good, reload, unready, web};
use crate::fake_host::{Script, Stored, World, after, member, ms, obeys_after, slot, with};

fn scale(changes: &[(&str, Change)]) -> Verb {
    Verb::Scale { changes: changes.iter().map(|(name, change)| ((*name).to_owned(), *change)).collect() }
}

fn targets(names: &[&str]) -> Vec<Target> {
    names.iter().map(|name| name.parse().expect("a target")).collect()
}

fn on_port(member: Member, port: u16) -> Member {
    Member { first_port: Some(port), ..member }
}

fn formation(world: &World) -> String {
    world.core.supervisor.formation().to_string()
}

/// What an answer says becomes of which slot.
fn told(world: &World, id: supervise::api::RequestId) -> Vec<String> {
    let accepted = world.answer_to(id).expect("it was answered").expect("it is possible");
    let each = accepted.processes.iter();
    each.map(|effect| format!("{} {} {}", effect.name, effect.will, effect.state)).collect()
}

#[test]
fn changes_of_one_type_in_one_request_follow_each_other() {
    let mut world = World::new(vec![member("web", 1), member("worker", 1)]);
    world.pass(ms(2_000));
    let changes = [
        ("web", Change::To(1)),
        ("worker", Change::To(5)),
        ("web", Change::By(1)),
        ("worker", Change::By(-2)),
    ];
    world.ask(scale(&changes)).expect("it is possible");
    assert_eq!(formation(&world), "web=2 worker=3");
}

#[test]
fn ports_are_held_against_what_each_type_shall_have_after_the_same_request() {
    let members = vec![on_port(member("web", 1), 5_000), on_port(member("worker", 1), 5_010)];
    let mut world = World::new(members);
    world.pass(ms(2_000));
    world.ask(scale(&[("web", Change::To(2)), ("worker", Change::To(20))])).expect("it is possible");
    let both = scale(&[("web", Change::To(11)), ("worker", Change::To(1))]);
    assert!(matches!(world.ask(both), Err(Refusal::PortClash { .. })), "{:#?}", world.said());
    assert_eq!(formation(&world), "web=2 worker=20");
}

#[test]
fn who_waits_for_a_count_waits_for_who_is_being_restarted_too() {
    let mut world =
        World::new(vec![member("web", 2)]).habit(0, Script::runs().led_by(obeys_after(ms(1_000))));
    world.pass(ms(2_000));
    world
        .ask(Verb::Restart { targets: targets(&["web.2"]), manner: Manner::AtOnce })
        .expect("it is possible");
    let id = world.request(scale(&[("web", Change::To(2))]), When::Happened);
    world.pass(ms(1_500));
    assert_eq!(world.answer_to(id), None, "it has only just been started: {:#?}", world.said());
    world.pass(ms(1_000));
    assert_eq!(told(&world, id), ["web.2 start running"]);
}

#[test]
fn who_is_on_its_way_out_of_the_formation_is_not_brought_back_by_a_restart_of_all() {
    let slow = Script::runs().led_by(obeys_after(ms(3_000)));
    let mut world =
        World::new(vec![member("web", 2), member("old", 1)]).habit(0, slow.clone()).habit(1, slow);
    world.pass(ms(2_000));
    world.ask(scale(&[("web", Change::To(1))])).expect("it is possible");
    world.ask_later(Verb::Reload);
    let web = Reread { type_index: 0, member: member("web", 2), program: Program::Same };
    world.tell(Event::Reread { types: vec![web] });
    world.ask(Verb::Restart { targets: Vec::new(), manner: Manner::AtOnce }).expect("it is possible");
    world.pass(ms(10_000));
    let alive: Vec<_> = world.core.alive().map(|(_, key)| key).collect();
    assert_eq!(alive, [slot(0, 1)], "{:#?}", world.said());
    assert_eq!(world.core.newest(), 4, "web.1 was restarted, nobody else: {:#?}", world.said());
}

#[test]
fn who_deploys_is_told_what_becomes_of_which_slot_at_once_or_when_it_has_happened() {
    for when in [When::Accepted, When::Happened] {
        let mut world = World::new(vec![member("web", 2), member("worker", 1)]);
        let types = vec![(member("web", 2), Script::runs()), (member("worker", 1), Script::runs())];
        world.keep("v2", Stored { types, phase: Script::runs() });
        world.pass(ms(2_000));
        world.ask(Verb::Stop { targets: targets(&["web.2"]) }).expect("it is possible");
        world.ask_later(Verb::Run { process_type: None });
        world.pass(ms(2_000));
        let id = world.request(Verb::Deploy { release: "v2".to_owned() }, when);
        world.pass(ms(200));
        match when {
            When::Accepted => {}
            When::Happened => assert_eq!(world.answer_to(id), None, "it was only read so far"),
        }
        assert!(world.is_deploying());
        world.pass(ms(60_000));
        assert_eq!(
            told(&world, id).iter().map(|line| line.rsplit_once(' ').expect("a state").0).collect::<Vec<_>>(),
            ["web.1 restart", "worker.1 restart"],
            "not what was stopped by request, and no command: {:#?}",
            world.said()
        );
        let answered = world.said().iter().position(|line| line.contains(&format!("reply {}", id.0)));
        let recorded = world.said().iter().position(|line| line.ends_with("record v2"));
        assert_eq!(answered < recorded, when == When::Accepted, "{:#?}", world.said());
    }
}

#[test]
fn a_program_that_a_shell_found_once_was_found_whatever_it_exits_with_later() {
    let found_by_shell = |name| Member { found_by: FoundBy::Shell, ..member(name, 2) };
    let mut world = World::new(vec![found_by_shell("web")])
        .script(slot(0, 2), [Script::fails(SpawnErrorKind::Shortage), Script::exits(ms(100), 127)]);
    world.pass(ms(10_000));
    assert_eq!(world.core.newest(), 4, "a failure like any other: {:#?}", world.said());
}

#[test]
fn what_was_asked_for_stays_though_a_release_came_and_went_that_said_another_count() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.next_release(0, unready());
    world.pass(ms(3_000));
    reload(&mut world, web(3), When::Accepted);
    world.pass(ms(30_000));
    assert!(world.said().iter().any(|line| line.contains("back to edition")), "{:#?}", world.said());
    world.ask(scale(&[("web", Change::To(5))])).expect("it is possible");
    world.ask_later(Verb::Reload);
    let member = web(3);
    world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Same }] });
    assert_eq!(formation(&world), "web=5", "the files say the same number as before");
}

#[test]
fn a_start_that_was_slept_through_is_made_up_for() {
    let slow = |policy: &mut Policy| policy.backoff.first = ms(5_000);
    let crash = || Script::exits(ms(300), 1);
    let mut world =
        World::new(vec![with(member("web", 1), slow)]).script(slot(0, 1), [crash(), crash(), Script::runs()]);
    world.pass(ms(1_000));
    assert_eq!(world.core.newest(), 2);
    world.oversleep(ms(60_000));
    world.turn();
    assert_eq!(world.core.newest(), 3, "{:#?}", world.said());
}

#[test]
fn a_port_is_somebody_else_s_until_the_last_one_that_has_it_is_gone() {
    let members = vec![on_port(member("web", 1), 5_000), on_port(member("worker", 1), 5_002)];
    let mut world = World::new(members).habit(1, Script::runs().led_by(obeys_after(ms(3_000))));
    world.pass(ms(2_000));
    world.ask(scale(&[("worker", Change::To(0))])).expect("it is possible");
    let more = || scale(&[("web", Change::To(3))]);
    assert!(matches!(world.ask(more()), Err(Refusal::PortClash { .. })), "{:#?}", world.said());
    world.pass(ms(4_000));
    world.ask(more()).expect("nobody has it any more");
}

#[test]
fn a_count_that_is_asked_for_and_is_so_already_says_nothing_about_the_program() {
    let web = Member { found_by: FoundBy::Shell, ..member("web", 1) };
    let mut world = World::new(vec![web]).script(slot(0, 1), [Script::exits(ms(100), 127)]);
    world.pass(ms(50));
    world.ask(scale(&[("web", Change::To(1))])).expect("it is so");
    assert_eq!(world.run_to_exit(), 127, "there is no such program: {:#?}", world.said());
}

#[test]
fn what_nobody_asked_to_be_read_changes_nothing() {
    let mut world = World::new(vec![member("web", 1)]);
    world.pass(ms(2_000));
    let types = || vec![Reread { type_index: 0, member: member("web", 3), program: Program::Changed }];
    world.skip().tell(Event::Reread { types: types() });
    world.saw(&["2.000 discard"]);
    // Nor what comes when the end has begun.
    world.ask_later(Verb::Reload);
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
}

#[test]
fn two_commands_in_one_place_keep_the_distance_of_two_starts() {
    let mut world = World::new(vec![member("web", 1)]);
    world.commands.extend([Script::exits(ms(50), 0), Script::runs()]);
    world.pass(ms(2_000));
    world.skip().ask_later(Verb::Run { process_type: None });
    world.pass(ms(100));
    world.ask_later(Verb::Run { process_type: None });
    world.pass(ms(1_000));
    let spawned: Vec<&str> =
        world.said().iter().filter(|line| line.contains("spawn run")).map(String::as_str).collect();
    assert_eq!(spawned, ["2.000 spawn run.1", "2.250 spawn run.1"]);
}

#[test]
fn who_is_blocked_by_a_failure_ends_everything_with_the_code_of_that_one() {
    let once =
        |name| with(member(name, 1), |policy| (policy.restart, policy.essential) = (Restart::Never, false));
    let blocked = after(member("web", 1), &["second"]);
    let mut world = World::new(vec![once("first"), once("second"), blocked])
        .script(slot(0, 1), [Script::exits(ms(100), 3)])
        .script(slot(1, 1), [Script::exits(ms(200), 5)]);
    assert_eq!(world.run_to_exit(), 5, "{:#?}", world.said());
}
