//! Who comes first: `after`.

use supervise::api::{Change, Manner, Signal, Target, Verb, When};
use supervise::app::Restart;
use supervise::supervisor::{Event, Member, Program, Reread};

use crate::fake_host::{Script, World, after, member, ms, slot, with};

fn once(name: &str) -> Member {
    with(member(name, 1), |policy| policy.restart = Restart::Never)
}

#[test]
fn who_waits_is_started_when_whoever_comes_first_is_ready() {
    let mut world = World::new(vec![after(member("web", 2), &["db"]), member("db", 1)]);
    world.pass(ms(1_500));
    world.saw(&[
        "0.000 spawn db.1",
        "0.000 web is started when db is ready (`after`)",
        "0.000 db.1 started",
        "1.000 spawn web.1",
        "1.000 spawn web.2",
        "1.000 web.1 started",
        "1.000 web.2 started",
    ]);
}

#[test]
fn a_job_that_completed_lets_the_others_in_and_a_chain_goes_in_order() {
    let types =
        vec![once("migrate"), after(member("web", 1), &["migrate"]), after(member("proxy", 1), &["web"])];
    let mut world = World::new(types).script(slot(0, 1), [Script::exits(ms(300), 0)]);
    world.pass(ms(2_000));
    let started = |line: &&String| line.contains("started") || line.contains("completed");
    let said: Vec<String> = world.said().iter().filter(started).cloned().collect();
    assert_eq!(
        said[2..],
        [
            "0.000 migrate.1 started",
            "0.300 migrate.1 completed",
            "0.300 web.1 started",
            "1.300 proxy.1 started",
        ]
    );
}

#[test]
fn a_job_that_failed_for_good_keeps_the_others_out_and_ends_everything_with_its_code() {
    let types =
        vec![once("migrate"), after(member("web", 1), &["migrate"]), after(member("proxy", 1), &["web"])];
    let mut world = World::new(types).script(slot(0, 1), [Script::exits(ms(300), 7)]);
    assert_eq!(world.run_to_exit(), 7);
    assert_eq!(world.core.newest(), 1, "nobody else was started");

    let mut by_the_way = once("migrate");
    by_the_way.policy.essential = false;
    let mut world = World::new(vec![by_the_way, after(member("web", 1), &["migrate"]), member("clock", 1)])
        .script(slot(0, 1), [Script::exits(ms(300), 7)]);
    assert_eq!(world.run_to_exit(), 7, "web is essential, and cannot be started");
}

#[test]
fn who_crashed_before_it_was_ready_is_waited_for_and_later_crashes_matter_no_more() {
    let mut world = World::new(vec![member("db", 1), after(member("web", 1), &["db"])])
        .script(slot(0, 1), [Script::exits(ms(900), 1), Script::runs()]);
    world.pass(ms(1_800));
    assert_eq!(world.core.newest(), 2, "the second db is not ready yet");
    world.pass(ms(200));
    assert_eq!(world.core.newest(), 3);
    world.ask(Verb::Restart { targets: Vec::new(), manner: Manner::AtOnce }).expect("it is possible");
    world.pass(ms(250));
    assert_eq!(world.core.newest(), 5, "both at once: the gate stays open");
}

#[test]
fn a_type_of_which_nothing_shall_run_keeps_nobody_waiting() {
    let mut world = World::new(vec![member("db", 0), after(member("web", 1), &["db"])]);
    world.pass(ms(0));
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn who_waits_can_be_scaled_stopped_and_restarted_and_waits_all_the_same() {
    let mut world = World::new(vec![member("db", 1), after(member("web", 1), &["db"])]);
    world.pass(ms(100));
    let changes = vec![("web".to_owned(), Change::To(3))];
    world.ask(Verb::Scale { changes }).expect("it is possible");
    let third: Target = "web.3".parse().expect("a target");
    world.ask(Verb::Stop { targets: vec![third.clone()] }).expect("it is possible");
    let all = world.request(
        Verb::Restart { targets: vec!["web.1".parse().expect("a target")], manner: Manner::AtOnce },
        When::Happened,
    );
    world.pass(ms(500));
    assert_eq!((world.core.newest(), world.answer_to(all)), (1, None));
    world.pass(ms(1_500));
    assert_eq!(world.core.newest(), 3, "db and two of web");
    assert!(world.answer_to(all).is_some());
    world.ask(Verb::Restart { targets: vec![third], manner: Manner::AtOnce }).expect("it is possible");
    world.pass(ms(100));
    assert_eq!(world.core.newest(), 4);
}

#[test]
fn both_come_back_by_a_restart_after_the_first_had_failed() {
    let mut first = once("migrate");
    first.policy.essential = false;
    let mut second = after(member("web", 1), &["migrate"]);
    second.policy.essential = false;
    let mut world = World::new(vec![first, second, member("clock", 1)])
        .script(slot(0, 1), [Script::exits(ms(300), 7), Script::exits(ms(300), 0)]);
    world.pass(ms(5_000));
    assert_eq!(world.core.newest(), 2, "migrate and clock");
    world.ask(Verb::Restart { targets: Vec::new(), manner: Manner::AtOnce }).expect("it is possible");
    world.pass(ms(2_000));
    assert_eq!(world.core.newest(), 5, "all three");
}

#[test]
fn who_comes_into_the_formation_behind_a_closed_gate_fails_at_once_and_closes_the_next() {
    let by_the_way = |mut member: Member| {
        member.policy.essential = false;
        member
    };
    let types = vec![
        by_the_way(once("migrate")),
        by_the_way(after(member("web", 0), &["migrate"])),
        by_the_way(after(member("proxy", 0), &["web"])),
        member("clock", 1),
    ];
    let mut world = World::new(types).script(slot(0, 1), [Script::exits(ms(300), 7)]);
    world.pass(ms(1_000));
    world.skip();
    let to = |name: &str, count| Verb::Scale { changes: vec![(name.to_owned(), Change::To(count))] };
    world.ask(to("web", 1)).expect("it is possible");
    world.ask(to("proxy", 2)).expect("it is possible");
    world.saw(&[
        "1.000 web scaled from 0 to 1",
        "1.000 reply 1: web.1 start pending",
        "1.000 web.1 failed, blocked by migrate",
        "1.000 proxy scaled from 0 to 2",
        "1.000 reply 2: proxy.1 start pending, proxy.2 start pending",
        "1.000 proxy.1 failed, blocked by web",
        "1.000 proxy.2 failed, blocked by web",
    ]);
    // Whoever lets the first in lets nobody in behind it who has failed, and nobody is forgotten.
    world.ask(to("clock", 0)).expect("it is possible");
    world.pass(ms(1_000));
    assert_eq!(world.exit(), None, "what was scaled to 0 by request keeps everything up");
    assert_eq!(world.core.newest(), 2, "migrate and clock");
}

#[test]
fn an_end_waits_for_nobody_who_was_never_started() {
    let mut world = World::new(vec![member("db", 1), after(member("web", 1), &["db"])]);
    world.pass(ms(100));
    world.signal(Signal::TERM);
    assert_eq!(world.run_to_exit(), 0);
    assert_eq!(world.core.newest(), 1);
}

#[test]
fn a_new_type_of_a_reload_waits_too() {
    let mut world = World::new(vec![member("db", 1)]);
    world.pass(ms(5_000));
    world.ask_later(Verb::Reload);
    let changed = |type_index, member| Reread { type_index, member, program: Program::Changed };
    world.tell(Event::Reread {
        types: vec![changed(0, member("db", 1)), changed(1, after(member("web", 1), &["db"]))],
    });
    world.pass(ms(900));
    assert_eq!(world.core.newest(), 2, "the new db is not ready yet");
    world.pass(ms(200));
    assert_eq!(world.core.newest(), 3);
}
