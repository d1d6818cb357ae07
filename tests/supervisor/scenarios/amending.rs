//! Files that are read again, and change nothing of the program: what they say of probes holds for what runs.

use supervise::api::{ProbeKind, State, Verb};
use supervise::app::Timing;
use supervise::supervisor::{Event, Member, Program, Reread};

use crate::fake_host::{Script, World, member, ms, probed, slot, telling};

fn every(period: u64) -> Timing {
    Timing { period: ms(period), ..Timing::default() }
}

fn amend(world: &mut World, member: Member) {
    world.ask_later(Verb::Reload);
    world.tell(Event::Reread { types: vec![Reread { type_index: 0, member, program: Program::Same }] });
}

/// The moments at which something of this kind was ordered or said, in seconds.
fn moments(world: &World, what: &str) -> Vec<String> {
    let lines = world.said().iter().filter(|line| line.ends_with(what));
    lines.map(|line| line.split_once(' ').expect("a time").0.to_owned()).collect()
}

#[test]
fn a_probe_that_is_what_it_was_goes_on_as_it_was_and_one_that_is_not_begins_anew() {
    let web = |liveness| {
        probed(
            probed(member("web", 1), ProbeKind::Readiness, every(3_000)),
            ProbeKind::Liveness,
            every(liveness),
        )
    };
    let mut world = World::new(vec![web(3_000)]);
    world.pass(ms(4_000));
    amend(&mut world, web(2_000));
    world.pass(ms(5_500));
    assert_eq!(moments(&world, "ask web.1 for its readiness"), ["0.000", "3.000", "6.000", "9.000"]);
    assert_eq!(
        moments(&world, "ask web.1 for its liveness"),
        ["0.000", "3.000", "4.000", "6.000", "8.000"],
        "every two seconds from then on"
    );
    assert_eq!(moments(&world, "web.1 is ready after 0ms"), ["0.000"], "it was, and is: {:#?}", world.said());
}

#[test]
fn who_owes_an_answer_is_not_asked_again_before_it_has_given_it() {
    let script = Script::runs().answering_after(ms(2_500), ProbeKind::Liveness, &[true]);
    let asked = |period| probed(member("web", 1), ProbeKind::Liveness, every(period));
    let mut world = World::new(vec![asked(10_000)]).script(slot(0, 1), [script]);
    world.pass(ms(1_000));
    amend(&mut world, asked(3_000));
    world.pass(ms(8_500));
    // Answered at 2.5: the next three seconds later, and that is answered at 8.
    assert_eq!(moments(&world, "ask web.1 for its liveness"), ["0.000", "5.500"]);
}

#[test]
fn who_has_to_speak_for_itself_from_now_on_is_heard_though_it_still_owes_an_answer() {
    let script = Script::runs().answering_after(ms(60_000), ProbeKind::Liveness, &[true]);
    let asked = probed(member("web", 1), ProbeKind::Liveness, every(3_000));
    let mut world = World::new(vec![asked]).script(slot(0, 1), [script]);
    world.pass(ms(1_000));
    amend(&mut world, telling(member("web", 1), ProbeKind::Liveness, every(3_000)));
    world.pass(ms(15_000));
    let patience = every(3_000).patience().as_secs_f64();
    assert_eq!(moments(&world, "SIGTERM to the leader of web.1"), [format!("{:.3}", 1.0 + patience)]);
}

#[test]
fn who_still_starts_is_asked_for_nothing_else_because_the_files_were_read_again() {
    let starts = |period| probed(member("web", 1), ProbeKind::Startup, every(period));
    let script = Script::runs().answering(ProbeKind::Startup, &[false, false, false, true]);
    let mut world = World::new(vec![starts(10_000)]).script(slot(0, 1), [script]);
    world.pass(ms(1_500));
    amend(&mut world, probed(starts(10_000), ProbeKind::Readiness, every(3_000)));
    world.pass(ms(5_000));
    assert_eq!(moments(&world, "ask web.1 for its startup"), ["0.000", "1.000", "2.000", "3.000"]);
    assert_eq!(moments(&world, "ask web.1 for its readiness"), ["3.000", "6.000"]);
    assert_eq!(world.core.supervisor.status(world.now).processes[0].state, State::Running);
}

#[test]
fn who_had_lapsed_and_is_not_asked_any_more_is_ready_again_and_did_not_start_twice() {
    let script = Script::runs().answering(ProbeKind::Readiness, &[true, false]);
    let timing = Timing { failure_threshold: 1, ..every(1_000) };
    let mut world =
        World::new(vec![probed(member("web", 1), ProbeKind::Readiness, timing)]).script(slot(0, 1), [script]);
    world.pass(ms(1_500));
    assert!(!world.core.supervisor.status(world.now).processes[0].ready);
    amend(&mut world, member("web", 1));
    assert!(world.core.supervisor.status(world.now).processes[0].ready);
    assert_eq!(world.core.supervisor.tallies()[0].starts.count, 1, "one start: {:#?}", world.said());
}
