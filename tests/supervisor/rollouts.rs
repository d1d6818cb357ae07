//! Random rollouts. Beside the rules of the [`ledger`](crate::ledger), which hold at every step: who is promised to be ready
//! is, at every moment; and whatever meets a rollout, it ends.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use supervise::api::{Change, Manner, ProbeKind, RequestId, Target, Verb, When};
use supervise::app::{Restart, Rollout, Timing};
use supervise::supervisor::{Event, Member, Program, Reread, Surge};

use crate::fake_host::{Script, UNKILLABLE, World, member, ms, obeys_after, probed, slot, with};

/// What a release is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Works,
    NeverReady,
    Crashes,
}

/// What somebody wants.
#[derive(Clone, Debug)]
enum Wish {
    Reload(Quality),
    Restart(Vec<Target>),
    AtOnce(Vec<Target>),
    Stop(Vec<Target>),
    Scale(u32),
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(ms)
}

/// How many, how they are replaced, and whether one more has a place.
fn kind() -> impl Strategy<Value = Member> {
    let room = select(vec![(1, 0), (1, 0), (2, 1), (3, 0), (0, 1), (0, 2)]);
    let rules = (room, millis(0..=1_500), millis(4_000..=6_000));
    let surge = select(vec![Surge::Possible, Surge::Possible, Surge::Forbidden]);
    let max = select(vec![None, None, Some(5), Some(6)]);
    let restart = select(vec![Restart::Always, Restart::OnFailure, Restart::Never]);
    (1_u32..=5, rules, surge, max, restart, select(vec![0, 1, 3])).prop_map(
        |(
            quantity,
            ((max_surge, max_unavailable), min_ready, progress_deadline),
            surge,
            max,
            restart,
            tries,
        )| {
            let timing = Timing { period: ms(500), ..Timing::default() };
            let web = probed(member("web", quantity), ProbeKind::Readiness, timing);
            let web = with(web, |policy| {
                policy.rollout = Rollout { max_surge, max_unavailable, min_ready, progress_deadline };
                (policy.restart, policy.backoff.give_up_after) = (restart, tries);
                (policy.drain, policy.essential) = (ms(3_000), false);
                policy.backoff.max = ms(2_000);
            });
            Member { surge, max, ..web }
        },
    )
}

fn quality() -> impl Strategy<Value = Quality> {
    select(vec![Quality::Works, Quality::Works, Quality::NeverReady, Quality::Crashes])
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    let target = select(vec!["web", "web.1", "web.2", "*.3", "web.[45]"]);
    vec(target.prop_map(|text| text.parse().expect("a target")), 0..=2)
}

fn gentle() -> impl Strategy<Value = Wish> {
    prop_oneof![quality().prop_map(Wish::Reload), targets().prop_map(Wish::Restart)]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => gentle(),
        1 => targets().prop_map(Wish::AtOnce),
        1 => targets().prop_map(Wish::Stop),
        2 => (0_u32..=5).prop_map(Wish::Scale),
    ]
}

fn script(quality: Quality, ready: Duration, ends: Duration) -> Script {
    let script = Script::runs().led_by(obeys_after(ends));
    match quality {
        Quality::Works => script.answering_after(ready, ProbeKind::Readiness, &[false, true]),
        Quality::NeverReady => script.answering(ProbeKind::Readiness, &[false]),
        Quality::Crashes => Script::exits(ms(300), 1).answering(ProbeKind::Readiness, &[false]),
    }
}

fn ask(world: &mut World, member: &Member, wish: &Wish, scripts: &dyn Fn(Quality) -> Script) -> RequestId {
    let (manner, at_once) = (Manner::Rolling, Manner::AtOnce);
    match wish.clone() {
        Wish::Restart(targets) => world.request(Verb::Restart { targets, manner }, When::Happened),
        Wish::AtOnce(targets) => world.request(Verb::Restart { targets, manner: at_once }, When::Happened),
        Wish::Stop(targets) => world.request(Verb::Stop { targets }, When::Happened),
        Wish::Scale(count) => {
            let changes = vec![("web".to_owned(), Change::To(count))];
            world.request(Verb::Scale { changes }, When::Happened)
        }
        Wish::Reload(quality) => {
            let id = world.request(Verb::Reload, When::Happened);
            world.next_release(0, scripts(quality));
            let reread = |type_index, member, program| Reread { type_index, member, program };
            let other = reread(1, crate::fake_host::member("other", 1), Program::Same);
            let types = vec![reread(0, member.clone(), Program::Changed), other];
            world.tell(Event::Reread { types });
            id
        }
    }
}

fn ready(world: &World) -> u32 {
    let slots = world.core.supervisor.slots();
    let ready = slots.filter(|(key, slot)| key.type_index == 0 && slot.is_ready()).count();
    u32::try_from(ready).expect("a few")
}

proptest! {
    #[test]
    fn whatever_is_released_and_restarted_enough_are_ready_at_every_moment(
        member in kind(),
        (takes, ends) in (millis(0..=700), millis(0..=2_500)),
        wishes in vec((gentle(), millis(0..=9_000)), 1..6),
    ) {
        let Rollout { max_surge, max_unavailable, .. } = member.policy.rollout;
        let room = member.max.map_or(u32::MAX, |max| max - member.quantity);
        let surges = member.surge == Surge::Possible && max_surge.min(room) > 0;
        let away = if surges { max_unavailable } else { max_unavailable.max(1) };
        let scripts = |quality| script(quality, takes, ends);
        let members = vec![member.clone(), crate::fake_host::member("other", 1)];
        let mut world = World::new(members).habit(0, scripts(Quality::Works));
        world.pass(ms(4_000));
        prop_assert_eq!(ready(&world), member.quantity);
        for (wish, gap) in &wishes {
            ask(&mut world, &member, wish, &scripts);
            for _ in 0..gap.as_millis() / 20 {
                world.pass(ms(20));
                let ready = ready(&world);
                prop_assert!(
                    ready + away >= member.quantity,
                    "{} of {}, {} may be away: {:#?}", ready, member.quantity, away, world.said()
                );
            }
        }
    }

    #[test]
    fn whatever_meets_a_rollout_it_ends_and_everybody_is_answered(
        member in kind(),
        (takes, ends) in (millis(0..=700), millis(0..=2_500)),
        lives in vec((1_u32..=6, life()), 0..12),
        wishes in vec((wish(), millis(0..=6_000)), 1..8),
    ) {
        let scripts = |quality| script(quality, takes, ends);
        let mut world = World::new(vec![member.clone(), crate::fake_host::member("other", 1)])
            .habit(0, scripts(Quality::Works));
        for (number, script) in lives {
            world = world.script(slot(0, number), [script]);
        }
        world.pass(ms(4_000));
        let mut asked = Vec::new();
        for (wish, gap) in &wishes {
            asked.push(ask(&mut world, &member, wish, &scripts));
            world.pass(*gap);
        }
        world.pass(Duration::from_secs(300));
        // Where nothing was to be had but what never is ready, it goes on until something is.
        world.forget_scripts();
        asked.push(ask(&mut world, &member, &Wish::Reload(Quality::Works), &scripts));
        world.pass(Duration::from_secs(300));
        prop_assert!(!world.core.supervisor.is_rolling(0), "{:#?}", world.said());
        for id in asked {
            prop_assert!(world.answer_to(id).is_some(), "{:?}: {:#?}", id, world.said());
        }
    }
}

/// A life that goes another way than its release.
fn life() -> impl Strategy<Value = Script> {
    // In the end it is ready: one that never is keeps the surge that does its work, and that is as it should be.
    let results =
        vec(any::<bool>(), 0..=6).prop_map(|results| results.into_iter().chain([true]).collect::<Vec<_>>());
    (results, proptest::option::weighted(0.5, millis(0..=4_000)), any::<bool>(), 0_u8..=9).prop_map(
        |(results, ends, well, stuck)| {
            let script = match ends {
                Some(after) => Script::exits(after, u8::from(!well)),
                None => Script::runs(),
            };
            let script = script.answering(ProbeKind::Readiness, &results);
            if stuck == 0 { script.led_by(UNKILLABLE) } else { script }
        },
    )
}
