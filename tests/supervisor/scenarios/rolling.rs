//! Replacing instances while they work: `restart --rolling`, a reload, and what turns them back.

use std::time::Duration;

use supervise::api::{Change, Manner, Notice, ProbeKind, Refusal, Setback, Signal, Verb, When};
use supervise::app::{Rollout, Timing};
use supervise::supervisor::{Event, Member, Program, Reread, Surge};

use crate::fake_host::{Script, World, member, ms, obeys_after, probed, slot, with};

pub(super) fn rolling() -> Verb {
    Verb::Restart { targets: Vec::new(), manner: Manner::Rolling }
}

/// Instances that share a socket and are asked whether they are ready.
pub(super) fn web(quantity: u32) -> Member {
    let timing = Timing { period: ms(500), ..Timing::default() };
    let web = probed(member("web", quantity), ProbeKind::Readiness, timing);
    let web = with(web, |policy| {
        policy.rollout = Rollout { progress_deadline: ms(5_000), ..Rollout::default() };
    });
    Member { surge: Surge::Possible, ..web }
}

/// One that is ready a while after its start, and ends a while after it was asked to.
pub(super) fn good() -> Script {
    Script::runs().answering_after(ms(100), ProbeKind::Readiness, &[false, true]).led_by(obeys_after(ms(200)))
}

/// One that never becomes ready.
pub(super) fn unready() -> Script {
    Script::runs().answering(ProbeKind::Readiness, &[false])
}

pub(super) fn reload(world: &mut World, member: Member, answer: When) -> supervise::api::RequestId {
    let id = world.request(Verb::Reload, answer);
    let types = vec![Reread { type_index: 0, member, program: Program::Changed }];
    world.tell(Event::Reread { types });
    id
}

pub(super) fn ready(world: &World) -> usize {
    world.core.supervisor.slots().filter(|(_, slot)| slot.is_ready()).count()
}

/// Lets time pass, and gives the fewest that were ready at any moment.
pub(super) fn fewest_ready(world: &mut World, duration: Duration) -> usize {
    let mut fewest = ready(world);
    for _ in 0..duration.as_millis() / 50 {
        world.pass(ms(50));
        fewest = fewest.min(ready(world));
    }
    fewest
}

pub(super) fn alive(world: &World) -> Vec<String> {
    let alive = world.core.supervisor.slots().filter(|(_, slot)| slot.phase().instance().is_some());
    alive.map(|(key, _)| world.core.supervisor.name(key).to_string()).collect()
}

#[test]
fn with_a_shared_socket_a_new_one_is_ready_before_an_old_one_ends() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.pass(ms(3_000));
    world.skip();
    let id = world.request(rolling(), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(12_000)), 2, "nobody was missed: {:#?}", world.said());
    world.answer_to(id).expect("it is done").expect("it went well");
    assert_eq!(alive(&world), ["web.1", "web.2"], "the surge is gone");
    assert_eq!(world.core.newest(), 5, "two, one for a while, two");
    let told = |line: &&String| line.contains("replac") || line.contains("SIG") || line.contains("ready");
    let told: Vec<&str> = world.said().iter().filter(told).map(|line| &line[6..]).collect();
    assert_eq!(
        told,
        [
            "web: replacing 2 by new ones, 1 more at a time; an old one ends when a new one is ready",
            "web.3 is ready after 700ms",
            "SIGTERM to the leader of web.1",
            "web.1 is ready after 700ms",
            "web: 1 of 2 replaced",
            "SIGTERM to the leader of web.2",
            "web.2 is ready after 700ms",
            "web: 2 of 2 replaced",
            "SIGTERM to the leader of web.3",
            "web: all replaced after 5.7s",
        ]
    );
}

#[test]
fn with_a_port_each_they_are_replaced_one_after_the_other_in_their_places() {
    let fixed = Member { surge: Surge::Forbidden, ..web(3) };
    let mut world = World::new(vec![fixed]).habit(0, good());
    world.pass(ms(3_000));
    world.skip();
    let id = world.request(rolling(), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(12_000)), 2, "one at a time: {:#?}", world.said());
    world.answer_to(id).expect("it is done").expect("it went well");
    assert_eq!(world.core.newest(), 6);
    assert!(world.said()[0].ends_with("web: replacing 3 one after the other, 1 at a time"));
}

#[test]
fn a_single_one_with_a_port_of_its_own_is_away_meanwhile_and_that_is_said_beforehand() {
    let mut world = World::new(vec![Member { surge: Surge::Forbidden, ..web(1) }]).habit(0, good());
    world.pass(ms(3_000));
    world.skip();
    world.request(rolling(), When::Accepted);
    assert!(world.said()[0].contains("nobody is there until the new one is ready"), "{:#?}", world.said());
    assert!(world.said()[1].contains("reply"), "{:#?}", world.said());
    assert!(world.said()[2].contains("SIGTERM"), "{:#?}", world.said());
}

#[test]
fn one_that_may_only_be_there_once_is_never_there_twice() {
    let beat = Member { max: Some(1), surge: Surge::Possible, ..web(1) };
    let mut world = World::new(vec![beat]).habit(0, good());
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    for _ in 0..100 {
        world.pass(ms(50));
        assert!(alive(&world).len() <= 1, "{:#?}", world.said());
    }
    assert_eq!(world.core.newest(), 2);
}

#[test]
fn new_ones_that_never_become_ready_are_turned_back_and_the_old_ones_were_not_touched() {
    let mut world =
        World::new(vec![web(4)]).habit(0, good()).script(slot(0, 5), [unready(), unready(), unready()]);
    world.pass(ms(3_000));
    world.skip();
    let before: Vec<_> = world.core.alive().collect();
    let id = reload(&mut world, web(4), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(8_000)), 4);
    let Some(Err(Refusal::TurnedBack { reason, .. })) = world.answer_to(id) else {
        panic!("{:#?}", world.said())
    };
    assert!(reason.contains("web.5") && reason.contains("refused"), "{reason}");
    let after: Vec<_> = world.core.alive().collect();
    assert_eq!(after, before, "the same instances");
    assert!(world.said().iter().any(|line| line.ends_with("back to edition 0 of type 0")));
    // What comes next is what ran before.
    world.tell(Event::LeaderExited {
        slot: slot(0, 1),
        instance: before[0].0,
        status: supervise::api::ExitStatus::Code(1),
        living: Vec::new(),
    });
    world.pass(ms(1_000));
    assert_eq!(ready(&world), 4);
}

#[test]
fn so_many_failures_in_a_row_turn_it_back_and_the_reason_names_the_last() {
    let crash = || Script::exits(ms(50), 1);
    let mut world = World::new(vec![web(4)]).habit(0, good()).script(slot(0, 5), (0..9).map(|_| crash()));
    world.pass(ms(3_000));
    world.skip();
    let id = reload(&mut world, web(4), When::Happened);
    assert_eq!(fewest_ready(&mut world, ms(5_000)), 4);
    assert!(matches!(world.answer_to(id), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
    let turned = world.notices().find_map(|notice| match notice {
        Notice::TurnedBack { slot, reason, .. } => Some((slot.as_ref()?.to_string(), reason.clone())),
        _other => None,
    });
    assert_eq!(turned, Some(("web.5".to_owned(), Setback::Failures { failures: 3 })));
    assert_eq!(alive(&world), ["web.1", "web.2", "web.3", "web.4"]);
}

#[test]
fn what_was_replaced_already_goes_back_too_one_after_the_other() {
    let fixed = || Member { surge: Surge::Forbidden, ..web(2) };
    // The new web.1 works, the new web.2 does not.
    let mut world = World::new(vec![fixed()]).habit(0, good()).script(slot(0, 2), [good(), unready()]);
    world.pass(ms(3_000));
    world.skip();
    let id = reload(&mut world, fixed(), When::Happened);
    world.pass(ms(30_000));
    assert!(matches!(world.answer_to(id), Some(Err(Refusal::TurnedBack { .. }))), "{:#?}", world.said());
    let editions: Vec<usize> = world.spawned().map(|(_, edition)| edition).collect();
    assert_eq!(editions, [0, 0, 1, 1, 2, 2], "both, both anew, both back: {:#?}", world.said());
    assert_eq!(ready(&world), 2);
}

#[test]
fn a_single_one_that_would_have_failed_for_good_comes_back_as_it_was() {
    let once = || {
        with(Member { surge: Surge::Forbidden, ..web(1) }, |policy| {
            policy.restart = supervise::app::Restart::Never;
        })
    };
    let mut world =
        World::new(vec![once()]).habit(0, good()).script(slot(0, 1), [good(), Script::exits(ms(50), 1)]);
    world.pass(ms(3_000));
    reload(&mut world, once(), When::Accepted);
    world.pass(ms(5_000));
    assert_eq!((world.exit(), ready(&world)), (None, 1), "{:#?}", world.said());
}

#[test]
fn a_shutdown_wins() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.pass(ms(3_000));
    let id = world.request(rolling(), When::Happened);
    world.pass(ms(1_000));
    world.signal(Signal::TERM);
    assert_eq!(world.answer_to(id), Some(Err(Refusal::ShuttingDown)));
    assert_eq!(world.run_to_exit(), 0);
}

#[test]
fn a_newer_one_supersedes_and_ends_where_it_wants_to() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.pass(ms(3_000));
    let first = world.request(rolling(), When::Happened);
    world.pass(ms(3_000));
    let second = world.request(rolling(), When::Happened);
    assert!(matches!(world.answer_to(first), Some(Err(Refusal::Superseded { .. }))));
    assert_eq!(fewest_ready(&mut world, ms(15_000)), 2);
    world.answer_to(second).expect("it is done").expect("it went well");
    assert_eq!(alive(&world), ["web.1", "web.2"]);
}

#[test]
fn an_old_one_that_crashes_meanwhile_comes_back_as_a_new_one() {
    let mut world = World::new(vec![web(3)])
        .habit(0, good())
        .script(slot(0, 3), [Script::exits(ms(4_000), 1), good(), good()]);
    world.pass(ms(3_000));
    reload(&mut world, web(3), When::Accepted);
    world.pass(ms(20_000));
    let third: Vec<usize> =
        world.spawned().filter(|(key, _)| *key == slot(0, 3)).map(|(_, edition)| edition).collect();
    assert_eq!(third, [0, 1], "it is not replaced a second time: {:#?}", world.said());
    assert_eq!(alive(&world), ["web.1", "web.2", "web.3"]);
}

#[test]
fn scaling_meanwhile_keeps_who_works() {
    let mut world = World::new(vec![web(2)]).habit(0, good());
    world.pass(ms(3_000));
    world.request(rolling(), When::Accepted);
    world.pass(ms(1_500));
    // web.3 is there for a while, and now it stays.
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(3))] }).expect("it is possible");
    assert!(fewest_ready(&mut world, ms(15_000)) >= 2);
    assert_eq!((alive(&world).len(), ready(&world)), (3, 3), "{:#?}", world.said());
    world.request(rolling(), When::Accepted);
    world.pass(ms(1_500));
    world.ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(1))] }).expect("it is possible");
    world.pass(ms(15_000));
    assert_eq!(alive(&world), ["web.1"], "{:#?}", world.said());
}
