//! Random deploys and one-off commands, whatever meets them. Beside the rules of the [`ledger`](crate::ledger), which hold at
//! every step: everybody is answered, and in the end the formation is of one release.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

use supervise::api::{Change, ExitStatus, Manner, ProbeKind, RequestId, Signal, Target, Verb, When};
use supervise::app::{Restart, Rollout, Timing};
use supervise::supervisor::{Event, Habits, Hangup, Member, Surge, Time};

use crate::fake_host::{
    Birth, Script, Stored, UNKILLABLE, World, after, member, ms, needing, obeys_after, probed, with,
};

/// What the programs of a type of a release are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Works,
    /// It is ready for a while, and then ends.
    Fades,
    NeverReady,
    Crashes,
    Completes,
    NotFound,
    Unkillable,
}

/// A type of a release.
#[derive(Clone, Debug)]
struct Kind {
    quantity: u32,
    quality: Quality,
    first_port: Option<u16>,
    restart: Restart,
    tries: u32,
    room: (u32, u32),
    surge: Surge,
}

/// What a release phase is like.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Ends(u64, u8),
    Hangs,
    /// It ends with 0 when it is asked to end.
    Polite,
    Unkillable,
    NotFound,
}

#[derive(Clone, Debug)]
struct Version {
    web: Kind,
    worker: Option<Kind>,
    cron: Option<Kind>,
    phase: Option<Phase>,
    needs: bool,
    waits: bool,
}

/// What somebody wants, or what happens.
#[derive(Clone, Debug)]
enum Wish {
    Deploy(usize),
    Run(bool, Phase),
    Restart(Vec<Target>, Manner),
    Stop(Vec<Target>),
    Scale(String, u32),
    Reload,
    Hangup,
    Settle,
    Oversleep(Duration),
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(ms)
}

fn kind(first_port: u16, qualities: Vec<Quality>) -> impl Strategy<Value = Kind> {
    let port = select(vec![None, None, Some(first_port), Some(first_port), Some(5_300)]);
    let restart = select(vec![Restart::Always, Restart::OnFailure, Restart::Never]);
    let room = select(vec![(1, 0), (1, 0), (2, 1), (0, 1)]);
    (0_u32..=3, select(qualities), port, restart, select(vec![0, 1, 3]), room).prop_map(
        |(quantity, quality, first_port, restart, tries, room)| {
            let surge = if first_port.is_some() { Surge::Forbidden } else { Surge::Possible };
            Kind { quantity, quality, first_port, restart, tries, room, surge }
        },
    )
}

fn any_quality() -> Vec<Quality> {
    use Quality::{Completes, Crashes, Fades, NeverReady, NotFound, Unkillable, Works};
    vec![
        Works, Works, Works, Works, Works, Works, Fades, NeverReady, Crashes, Completes, NotFound, Unkillable,
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        5 => (0_u64..=2_000).prop_map(|after| Phase::Ends(after, 0)),
        1 => (0_u64..=2_000).prop_map(|after| Phase::Ends(after, 3)),
        1 => Just(Phase::Hangs),
        1 => Just(Phase::Polite),
        1 => Just(Phase::Unkillable),
        1 => Just(Phase::NotFound),
    ]
}

fn version(qualities: Vec<Quality>) -> impl Strategy<Value = Version> {
    (
        kind(5_000, qualities.clone()),
        weighted(0.7, kind(5_100, qualities.clone())),
        weighted(0.5, kind(5_200, qualities)),
        weighted(0.4, phase()),
        any::<bool>(),
        weighted(0.3, Just(())),
    )
        .prop_map(|(web, worker, cron, phase, needs, waits)| Version {
            web,
            worker,
            cron,
            phase,
            needs,
            waits: waits.is_some(),
        })
        // Two slots with one PORT are no formation.
        .prop_filter("ports", |version| {
            let kinds = [Some(&version.web), version.worker.as_ref(), version.cron.as_ref()];
            let ports: Vec<u16> = kinds.into_iter().flatten().filter_map(|kind| kind.first_port).collect();
            let mut unique = ports.clone();
            unique.sort_unstable();
            unique.dedup();
            unique.len() == ports.len()
        })
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    let target = select(vec!["web", "web.1", "worker", "*.2", "run.1", "run"]);
    vec(target.prop_map(|text| text.parse().expect("a target")), 0..=2)
}

fn wish() -> impl Strategy<Value = Wish> {
    let manner = select(vec![Manner::AtOnce, Manner::Rolling]);
    let name = select(vec!["web", "worker", "cron"]).prop_map(str::to_owned);
    prop_oneof![
        8 => (0_usize..4).prop_map(Wish::Deploy),
        3 => (any::<bool>(), phase()).prop_map(|(like, phase)| Wish::Run(like, phase)),
        3 => (targets(), manner).prop_map(|(targets, manner)| Wish::Restart(targets, manner)),
        2 => targets().prop_map(Wish::Stop),
        3 => (name, 0_u32..=4).prop_map(|(name, count)| Wish::Scale(name, count)),
        1 => Just(Wish::Reload),
        1 => Just(Wish::Hangup),
        1 => Just(Wish::Settle),
        1 => millis(0..=3_000).prop_map(Wish::Oversleep),
    ]
}

fn command(phase: Phase) -> Script {
    match phase {
        Phase::Ends(after, code) => Script::exits(ms(after), code),
        Phase::Hangs => Script::runs(),
        Phase::Polite => Script::runs().led_by(obeys_after(ms(100))),
        Phase::Unkillable => Script::runs().led_by(UNKILLABLE),
        Phase::NotFound => Script::fails(supervise::supervisor::SpawnErrorKind::NotFound),
    }
}

fn script(quality: Quality, takes: Duration, ends: Duration) -> Script {
    let works = || Script::runs().answering_after(takes, ProbeKind::Readiness, &[false, true]);
    let script = match quality {
        Quality::Works => works(),
        Quality::Fades => Script { ends: Some((ms(6_000), ExitStatus::Code(1))), ..works() },
        Quality::NeverReady => Script::runs().answering(ProbeKind::Readiness, &[false]),
        Quality::Crashes => Script::exits(ms(300), 1).answering(ProbeKind::Readiness, &[false]),
        Quality::Completes => Script::exits(ms(800), 0).answering(ProbeKind::Readiness, &[false]),
        Quality::NotFound => {
            let kind = supervise::supervisor::SpawnErrorKind::NotFound;
            Script { birth: Birth::Fails(kind), ..works() }
        }
        Quality::Unkillable => return works().led_by(UNKILLABLE),
    };
    script.led_by(obeys_after(ends))
}

fn stored(version: &Version, (takes, ends): (Duration, Duration)) -> Stored {
    let own = |name: &str, kind: &Kind| {
        let timing = Timing { period: ms(500), ..Timing::default() };
        let one = probed(member(name, kind.quantity), ProbeKind::Readiness, timing);
        let one = with(one, |policy| {
            let (max_surge, max_unavailable) = kind.room;
            let (min_ready, progress_deadline) = (ms(500), ms(6_000));
            policy.rollout = Rollout { max_surge, max_unavailable, min_ready, progress_deadline };
            (policy.restart, policy.backoff.give_up_after) = (kind.restart, kind.tries);
            (policy.drain, policy.essential) = (ms(3_000), false);
            policy.backoff.max = ms(2_000);
        });
        (Member { surge: kind.surge, first_port: kind.first_port, ..one }, script(kind.quality, takes, ends))
    };
    let mut types = vec![own("web", &version.web)];
    if let Some(kind) = &version.worker {
        let (member, script) = own("worker", kind);
        types.push((if version.waits { after(member, &["web"]) } else { member }, script));
    }
    types.extend(version.cron.as_ref().map(|kind| own("cron", kind)));
    if version.phase.is_some() {
        let release = member("release", 0);
        let release = if version.needs { needing(release, ms(2_000)) } else { release };
        types.insert(0, (release, Script::runs()));
    }
    Stored { types, phase: version.phase.map_or_else(Script::runs, command) }
}

/// Asks for it; gives the request where its answer does not depend on what nobody deploys: who waits for somebody that was
/// stopped waits on.
fn ask(world: &mut World, wish: &Wish) -> Option<RequestId> {
    let verb = match wish.clone() {
        Wish::Deploy(number) => Verb::Deploy { release: format!("v{}", number + 1) },
        Wish::Run(like, phase) => {
            world.commands.clear();
            world.commands.push_back(command(phase));
            Verb::Run { process_type: like.then(|| "web".parse().expect("a name")) }
        }
        Wish::Restart(targets, manner) => Verb::Restart { targets, manner },
        Wish::Stop(targets) => Verb::Stop { targets },
        Wish::Scale(name, count) => Verb::Scale { changes: vec![(name, Change::To(count))] },
        Wish::Reload => {
            let id = world.request(Verb::Reload, When::Happened);
            world.tell(Event::Unreadable { errors: "wrong".to_owned() });
            return Some(id);
        }
        Wish::Hangup => {
            world.signal(Signal::HUP);
            world.tell(Event::Unreadable { errors: "wrong".to_owned() });
            return None;
        }
        Wish::Settle => Verb::Settle,
        Wish::Oversleep(duration) => {
            world.oversleep(duration);
            return None;
        }
    };
    let answered = matches!(verb, Verb::Deploy { .. } | Verb::Run { .. });
    let id = world.request(verb, When::Happened);
    answered.then_some(id)
}

/// A formation of v1 that runs, and what can be deployed.
fn begin(versions: &[Version], pace: (Duration, Duration), services_from: Duration) -> World {
    let first = stored(&versions[0], pace);
    let release = |member: &Member| Member { release: "v1".to_owned(), ..member.clone() };
    let members = first.types.iter().map(|(member, _)| release(member)).collect();
    let habits = Habits { hangup: Hangup::Reload, ..Habits::default() };
    let mut world = World::with_habits(members, habits);
    for (type_index, (_, script)) in first.types.iter().enumerate() {
        world.first_release(type_index, script.clone());
    }
    for (number, version) in (1..).zip(versions) {
        world.keep(&format!("v{number}"), stored(version, pace));
    }
    world.services_from = Time::ZERO + services_from;
    world.pass(ms(4_000));
    world
}

fn versions() -> impl Strategy<Value = Vec<Version>> {
    let first = version(vec![Quality::Works]);
    (first, vec(version(any_quality()), 3)).prop_map(|(first, others)| {
        let mut all = vec![Version { phase: None, ..first }];
        all.extend(others);
        all
    })
}

proptest! {
    #[test]
    fn whatever_is_deployed_and_run_everybody_is_answered_and_a_good_release_can_be_deployed_after_it(
        versions in versions(),
        pace in (millis(0..=700), millis(0..=2_500)),
        services_from in millis(0..=8_000),
        wishes in vec((wish(), millis(0..=6_000)), 1..10),
    ) {
        let mut world = begin(&versions, pace, services_from);
        let mut asked = Vec::new();
        for (wish, gap) in &wishes {
            if world.exit().is_none() {
                asked.extend(ask(&mut world, wish));
                world.pass(*gap);
            }
        }
        // A release phase that hangs is stopped.
        world.pass(Duration::from_secs(60));
        if world.exit().is_none() {
            asked.extend(ask(&mut world, &Wish::Stop(vec!["run".parse().expect("a target")])));
        }
        world.pass(Duration::from_secs(300));
        if world.exit().is_none() {
            let last = Version { phase: None, ..versions[0].clone() };
            world.keep("v9", stored(&last, pace));
            let id = world.request(Verb::Deploy { release: "v9".to_owned() }, When::Happened);
            world.pass(Duration::from_secs(300));
            asked.push(id);
        }
        for id in asked {
            prop_assert!(world.answer_to(id).is_some(), "{:?}: {:#?}", id, world.said());
        }
    }

    #[test]
    fn whatever_is_deployed_and_run_a_term_ends_it(
        versions in versions(),
        pace in (millis(0..=700), millis(0..=2_500)),
        wishes in vec((wish(), millis(0..=4_000)), 1..6),
    ) {
        let mut world = begin(&versions, pace, Duration::ZERO);
        let mut asked = Vec::new();
        for (wish, gap) in &wishes {
            if world.exit().is_none() {
                asked.extend(ask(&mut world, wish));
                world.pass(*gap);
            }
        }
        if world.exit().is_none() {
            world.signal(Signal::TERM);
        }
        // Somebody asks once more.
        if world.exit().is_none() {
            asked.extend(ask(&mut world, &Wish::Deploy(1)));
            asked.extend(ask(&mut world, &Wish::Run(false, Phase::Hangs)));
        }
        world.run_to_exit();
        for id in asked {
            prop_assert!(world.answer_to(id).is_some(), "{:?}: {:#?}", id, world.said());
        }
    }
}

/// A second worker, which the new release does not want, is raised beside the first one and fails; the old release wants it.
#[test]
fn who_failed_beside_the_others_and_is_wanted_again_when_all_goes_back_need_not_wait_for_its_next_turn() {
    let kind = |quantity, quality| Kind {
        quantity,
        quality,
        first_port: None,
        restart: Restart::Always,
        tries: 0,
        room: (1, 0),
        surge: Surge::Possible,
    };
    let version = |worker| Version {
        web: kind(0, Quality::Works),
        worker: Some(worker),
        cron: None,
        phase: None,
        needs: false,
        waits: false,
    };
    let versions = [version(kind(2, Quality::Works)), version(kind(1, Quality::Completes))];
    let mut world = begin(&versions, (Duration::ZERO, ms(730)), Duration::ZERO);
    ask(&mut world, &Wish::Deploy(1));
    world.pass(ms(2_214));
    // The first one is new, too, from now on: nobody else does its work.
    ask(&mut world, &Wish::Restart(Vec::new(), Manner::AtOnce));
    world.pass(ms(20_000));
    let said = world.said().to_vec();
    let back = said.iter().position(|line| line.contains("everything goes back to v1")).expect("it does");
    let next = said[back..].iter().find(|line| line.ends_with("spawn worker.2")).expect("it is started");
    let second =
        |line: &str| line.split(' ').next().and_then(|time| time.parse::<f64>().ok()).expect("a time");
    // A start keeps its distance from the one before, and that is all.
    assert!(second(next) - second(&said[back]) < 0.3, "{:#?}", &said[back..]);
    world.signal(Signal::TERM);
    world.run_to_exit();
}
