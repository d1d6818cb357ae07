//! Deploys that meet with something: who is asked whether a release works, and what of it is taken back.

use supervise::api::{Answer, Change, ProbeKind, Refusal, RequestId, Verb, When};
use supervise::app::{Policy, Restart};
use supervise::supervisor::Member;

use super::rolling::{alive, good, web};
use crate::fake_host::{Script, Stored, World, member, ms, slot, with};

/// The formation of the release `v1`.
fn first(members: &[Member]) -> World {
    World::new(members.iter().cloned().map(|member| Member { release: "v1".into(), ..member }).collect())
}

fn deploy(world: &mut World, release: &str, types: &[(Member, Script)]) -> RequestId {
    world.keep(release, Stored { types: types.to_vec(), phase: Script::exits(ms(100), 0) });
    world.request(Verb::Deploy { release: release.to_owned() }, When::Happened)
}

fn is_deployed(world: &World, id: RequestId) -> bool {
    match world.answer_to(id) {
        Some(Answer::Ok(_)) => true,
        Some(Err(Refusal::NotDeployed { .. })) => false,
        other => panic!("{other:?}: {:#?}", world.said()),
    }
}

#[test]
fn a_program_that_fails_for_good_when_it_was_found_to_work_is_not_taken_for_another_type_s() {
    // The second program of the worker comes with the third one of the web.
    let web = || (with(member("web", 3), |policy| policy.rollout.min_ready = ms(4_000)), Script::runs());
    let worker = || with(member("worker", 1), |policy| policy.restart = Restart::Never);
    let mut world = first(&[web().0]);
    world.pass(ms(3_000));
    let id = deploy(&mut world, "v2", &[web(), (worker(), Script::runs())]);
    world.pass(ms(60_000));
    assert!(is_deployed(&world, id));
    let id = deploy(&mut world, "v3", &[web(), (worker(), Script::exits(ms(5_000), 1))]);
    world.pass(ms(60_000));
    assert!(!is_deployed(&world, id), "{:#?}", world.said());
    assert_eq!(alive(&world), ["web.1", "web.2", "web.3", "worker.1"]);
}

#[test]
fn who_was_stopped_is_not_counted_among_those_that_a_deploy_replaces() {
    let mut world = first(&[member("web", 2)]);
    world.pass(ms(3_000));
    world.ask(Verb::Stop { targets: vec!["web.2".parse().expect("a target")] }).expect("it is possible");
    world.pass(ms(1_000));
    let id = deploy(&mut world, "v2", &[(member("web", 2), Script::runs())]);
    world.pass(ms(20_000));
    assert!(is_deployed(&world, id));
    let told: Vec<&String> = world.said().iter().filter(|line| line.contains(" replaced")).collect();
    assert!(told[0].ends_with("web: 1 of 1 replaced"), "{told:#?}");
}

#[test]
fn a_release_that_is_deployed_again_is_not_said_to_run_where_a_type_of_it_does_not() {
    let types = [member("web", 1), member("worker", 1)];
    let crash = Script::exits(ms(50), 1);
    let mut world = first(&types).habit(1, crash.clone());
    world.pass(ms(5_000));
    let id = deploy(&mut world, "v1", &types.map(|member| (member, crash.clone())));
    world.pass(ms(60_000));
    assert!(!is_deployed(&world, id), "{:#?}", world.said());
    assert!(world.recorded.is_empty());
}

#[test]
fn a_count_that_is_asked_for_while_a_release_is_deployed_stays_when_that_is_taken_back() {
    let crash = Script::exits(ms(50), 1);
    let types = |web| [member("web", web), member("worker", 1)];
    let mut world = first(&types(2));
    world.pass(ms(3_000));
    let [web, worker] = types(4);
    let id = deploy(&mut world, "v2", &[(web, Script::runs()), (worker, crash)]);
    world.pass(ms(300));
    assert_eq!(world.core.supervisor.formation().to_string(), "web=4 worker=1");
    world
        .ask(Verb::Scale { changes: vec![("web".to_owned(), Change::To(3))] })
        .expect("nobody has said that it does not work");
    world.pass(ms(60_000));
    assert!(!is_deployed(&world, id), "{:#?}", world.said());
    assert_eq!(world.core.supervisor.formation().to_string(), "web=3 worker=1");
}

#[test]
fn a_type_that_is_new_has_nothing_to_go_back_to() {
    let web = || (member("web", 1), Script::runs());
    let mut world = first(&[web().0]);
    world.pass(ms(3_000));
    let id = deploy(&mut world, "v2", &[web(), (member("worker", 1), Script::exits(ms(50), 1))]);
    world.pass(ms(60_000));
    assert!(!is_deployed(&world, id), "{:#?}", world.said());
    let back: Vec<&String> = world.said().iter().filter(|line| line.contains("back to edition")).collect();
    assert!(back.len() == 1 && back[0].ends_with("back to edition 0 of type 0"), "{back:#?}");
    let lives = world.spawned().filter(|(key, _)| *key == slot(2, 1)).count();
    assert_eq!((lives, alive(&world)), (3, vec!["web.1".to_owned()]), "{:#?}", world.said());
}

#[test]
fn a_release_that_wants_none_of_a_type_that_is_on_its_way_back_leaves_none_of_it() {
    // What comes back never works in web.1: the one beside it does the work until it would.
    let unready = || Script::runs().answering(ProbeKind::Readiness, &[false]);
    let patient = |policy: &mut Policy| {
        (policy.restart, policy.rollout.min_ready) = (Restart::Never, ms(10_000));
    };
    let worker = |script: Script| (with(member("worker", 1), patient), script);
    let types = [web(1), worker(Script::runs()).0];
    let mut world = first(&types).script(slot(0, 1), [good(), good(), unready()]);
    world.pass(ms(3_000));
    let id = deploy(&mut world, "v2", &[(web(1), good()), worker(Script::exits(ms(3_500), 1))]);
    world.pass(ms(30_000));
    assert!(!is_deployed(&world, id), "{:#?}", world.said());
    assert_eq!(alive(&world), ["web.1", "web.2", "worker.1"], "{:#?}", world.said());
    let phase = (member("release", 0), Script::runs());
    let id = deploy(&mut world, "v1", &[(web(0), good()), worker(Script::runs()), phase]);
    world.pass(ms(30_000));
    assert!(is_deployed(&world, id));
    assert_eq!(alive(&world), ["worker.1"], "{:#?}", world.said());
}
