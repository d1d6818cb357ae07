//! Random histories. The rules of the [`ledger`](crate::ledger) are held against every step of each.
//!
//! Some are those of a world, whatever its processes do and however late it is looked after; they all end. Others
//! are nobody's: facts in any order, of instances that are there, were there or never will be.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use supervise::api::{
    Change, ExitStatus, InstanceId, Manner, Notice, OutOfMemory, Pid, ProbeKind, Process, RequestId, Signal,
    State, Target, Verb, When, Word,
};
use supervise::app::{Backoff, Leftovers, Policy, Restart, Rollout, StopScope, Timing};
use supervise::supervisor::{
    Event, FailFast, FoundBy, Habits, Hangup, Init, Member, Probes, Probing, Program, Reread, SlotKey,
    Source, SpawnError, SpawnErrorKind, Supervisor, Surge, Terminal, Time,
};

use crate::fake_host::{
    Answers, Birth, Descendant, Nature, Place, Script, Signals, Stored, World, after, member, ms, needing,
    obeys_after, slot, with,
};
use crate::ledger::Checked;

/// A formation, what its lives do, and what comes from outside.
#[derive(Clone, Debug)]
struct Plan {
    members: Vec<Member>,
    habits: Habits,
    seed: u64,
    /// From then on the backing services answer.
    services_from: Duration,
    /// By type and slot, one after the other.
    lives: Vec<(usize, u32, Script)>,
    outside: Vec<(Duration, Outside)>,
    /// What one-off commands do, a release phase, and whether releases have one.
    commands: Vec<Script>,
    phase: Option<Script>,
    /// How many of each type a release that is deployed has.
    counts: (u32, u32),
}

/// Something that comes from outside.
#[derive(Clone, Debug)]
enum Outside {
    Signal(Signal),
    ReaderGone,
    /// Whoever waits for an answer goes.
    NobodyWaits,
    /// So long nobody looks, and deadlines go by.
    Oversleep(Duration),
    /// Something that was told already is told again.
    Again(Index),
    /// Somebody asks for something, and is answered at once or when it has happened.
    Ask(Verb, When),
    /// Whoever lives in one of the slots says something of itself.
    Word(Index, Word),
    /// Where the files are being read again: what they say.
    Files(Vec<(u32, Program)>),
}

/// The longest drain of a plan's types.
const LONGEST_DRAIN: u64 = 3_000;

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(ms)
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        select(vec![Restart::Always, Restart::OnFailure, Restart::Never]),
        (millis(0..=800), millis(500..=3_000), millis(0..=4_000), select(vec![0, 0, 1, 3])),
        any::<bool>(),
        select(vec![0, 300, 1_000, LONGEST_DRAIN]),
        select(vec![StopScope::Leader, StopScope::Group]),
        select(vec![Leftovers::Stop, Leftovers::Stop, Leftovers::Leave]),
        rollout(),
    )
        .prop_map(|(restart, backoff, essential, drain, stop_scope, leftovers, rollout)| {
            let (first, max, reset_after, give_up_after) = backoff;
            let backoff = Backoff { first, max, reset_after, give_up_after };
            let (drain, stop_signal) = (ms(drain), Signal::QUIT);
            Policy { restart, backoff, essential, drain, stop_signal, stop_scope, leftovers, rollout }
        })
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let room = select(vec![(1, 0), (1, 0), (2, 1), (0, 1), (0, 2)]);
    (room, millis(0..=1_500), millis(500..=6_000)).prop_map(|(room, min_ready, progress_deadline)| {
        let (max_surge, max_unavailable) = room;
        Rollout { max_surge, max_unavailable, min_ready, progress_deadline }
    })
}

fn probing() -> impl Strategy<Value = Option<Probing>> {
    let timing = (millis(0..=500), millis(300..=2_500), 1_u32..=2, 1_u32..=3);
    let rule = (select(vec![Source::Asked, Source::Asked, Source::Told]), timing).prop_map(
        |(source, (initial_delay, period, success_threshold, failure_threshold))| Probing {
            source,
            timing: Timing {
                initial_delay,
                period,
                success_threshold,
                failure_threshold,
                ..Timing::default()
            },
        },
    );
    weighted(0.3, rule)
}

fn probes() -> impl Strategy<Value = Probes> {
    (probing(), probing(), probing()).prop_map(|(startup, readiness, liveness)| {
        // Nobody says of itself that it is ready now and then.
        let readiness = readiness.map(|rule| Probing { source: Source::Asked, ..rule });
        Probes { startup, readiness, liveness }
    })
}

fn answers() -> impl Strategy<Value = BTreeMap<ProbeKind, Answers>> {
    let answers = (millis(0..=800), vec(any::<bool>(), 1..=6));
    let answers = answers.prop_map(|(takes, results)| Answers { takes, results });
    btree_map(select(ProbeKind::ALL.to_vec()), answers, 0..=3)
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let surge = select(vec![Surge::Possible, Surge::Forbidden]);
    let needs = weighted(0.2, millis(200..=3_000));
    let one = (0_u32..=3, policy(), select(vec![FoundBy::Us, FoundBy::Shell]), probes(), surge, needs);
    let order = select(vec![&[][..], &[], &["web"], &["web", "worker"]]);
    (vec(one, 1..=3), order).prop_map(|(types, order)| {
        let named = ["web", "worker", "clock"].into_iter().zip(types);
        named
            .map(|(name, (quantity, policy, found_by, probes, surge, needs))| {
                // Whoever is named comes before the others, so that there is no circle.
                let first: Vec<&str> = order.iter().copied().take_while(|first| *first != name).collect();
                let kind = Member { policy, found_by, probes, surge, ..member(name, quantity) };
                let kind = needs.map_or(kind.clone(), |wait| needing(kind, wait));
                after(kind, &first)
            })
            .collect()
    })
}

fn habits() -> impl Strategy<Value = Habits> {
    (
        select(vec![FailFast::No, FailFast::No, FailFast::No, FailFast::Yes]),
        select(vec![Hangup::Drain, Hangup::Reload]),
        select(vec![Terminal::Present, Terminal::Absent]),
        select(vec![Init::Yes, Init::No]),
    )
        .prop_map(|(fail_fast, hangup, terminal, init)| Habits { fail_fast, hangup, terminal, init })
}

fn status() -> impl Strategy<Value = ExitStatus> {
    let killed = ExitStatus::Signal { signal: Signal::KILL, core_dumped: true };
    let codes = [0, 0, 1, 3, 126, 127].map(ExitStatus::Code);
    let memory = ExitStatus::OutOfMemory(OutOfMemory::Limit { bytes: 1 << 20 });
    select(codes.into_iter().chain([killed, memory]).collect::<Vec<_>>())
}

fn nature() -> impl Strategy<Value = Nature> {
    let kill = prop_oneof![8 => Just(Some(0)), 1 => Just(Some(1_500)), 1 => Just(None)];
    (weighted(0.7, (millis(0..=4_000), status())), kill)
        .prop_map(|(stop, kill)| Nature { stop, kill: kill.map(ms) })
}

fn script() -> impl Strategy<Value = Script> {
    let birth = prop_oneof![
        12 => Just(Birth::Runs),
        1 => Just(Birth::Fails(SpawnErrorKind::NotFound)),
        1 => Just(Birth::Fails(SpawnErrorKind::NotExecutable)),
        1 => Just(Birth::Fails(SpawnErrorKind::Shortage)),
    ];
    let place = select(vec![Place::Group, Place::Stray]);
    let descendant = (nature(), place).prop_map(|(nature, place)| Descendant { nature, place });
    let signals = prop_oneof![15 => Just(Signals::Reach), 1 => Just(Signals::Refused)];
    (
        birth,
        weighted(0.7, (millis(0..=4_000), status())),
        nature(),
        vec(descendant, 0..=2),
        0_u32..=2,
        signals,
        answers(),
    )
        .prop_map(|(birth, ends, leader, descendants, born_while_killing, signals, answers)| Script {
            birth,
            ends,
            leader,
            descendants,
            born_while_killing,
            signals,
            answers,
        })
}

fn signal() -> impl Strategy<Value = Signal> {
    let user = "USR1".parse().expect("a signal");
    select(vec![
        Signal::INT,
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::PWR,
        Signal::RTMIN_3,
        Signal::TSTP,
        Signal::CONT,
        user,
    ])
}

fn outside() -> impl Strategy<Value = Outside> {
    prop_oneof![
        3 => signal().prop_map(Outside::Signal),
        1 => Just(Outside::ReaderGone),
        3 => millis(0..=6_000).prop_map(Outside::Oversleep),
        4 => any::<Index>().prop_map(Outside::Again),
        8 => (verb(), select(vec![When::Accepted, When::Happened]))
            .prop_map(|(verb, when)| Outside::Ask(verb, when)),
        2 => vec((0_u32..=3, select(vec![Program::Same, Program::Changed])), 1..=4).prop_map(Outside::Files),
        1 => Just(Outside::NobodyWaits),
        3 => (any::<Index>(), word()).prop_map(|(which, word)| Outside::Word(which, word)),
    ]
}

fn word() -> impl Strategy<Value = Word> {
    let status = Word::Status("at work".to_owned());
    select(vec![Word::Ready, Word::Ready, Word::Alive, Word::Failing, Word::Stopping, status])
}

fn manner() -> impl Strategy<Value = Manner> {
    select(vec![Manner::AtOnce, Manner::Rolling])
}

fn target() -> impl Strategy<Value = Target> {
    select(vec!["web", "web.1", "worker", "worker.2", "clock.1", "w*", "*", "*.2", "nosuch"])
        .prop_map(|text| text.parse().expect("a target"))
}

fn scale() -> impl Strategy<Value = Verb> {
    let change = prop_oneof![3 => (0_u32..=4).prop_map(Change::To), 1 => (-2_i64..=2).prop_map(Change::By)];
    let name = select(vec!["web", "web", "worker", "worker", "clock", "all", "nosuch"]);
    vec((name.prop_map(str::to_owned), change), 1..=3).prop_map(|changes| Verb::Scale { changes })
}

fn steer() -> impl Strategy<Value = Verb> {
    prop_oneof![
        3 => scale(),
        3 => (vec(target(), 0..=2), manner())
            .prop_map(|(targets, manner)| Verb::Restart { targets, manner }),
        2 => vec(target(), 0..=2).prop_map(|targets| Verb::Stop { targets }),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        12 => steer(),
        1 => vec(target(), 0..=2)
            .prop_map(|targets| Verb::Signal { signal: Signal::HUP, targets }),
        2 => Just(Verb::Reload),
        1 => Just(Verb::Settle),
        2 => select(vec!["v2", "v3", "nosuch"]).prop_map(|release| Verb::Deploy { release: release.to_owned() }),
        // With the rules of a type: those of none take longer to end than is waited for.
        1 => select(vec!["web", "worker"])
            .prop_map(|name| Verb::Run { process_type: Some(name.parse().expect("a name")) }),
        1 => weighted(0.5, millis(0..=2_000)).prop_map(|drain| Verb::Shutdown { drain }),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        members(),
        habits(),
        any::<u64>(),
        millis(0..=5_000),
        vec((0_usize..3, 1_u32..=3, script()), 0..24),
        vec((millis(0..=2_500), outside()), 0..12),
        (vec(script(), 0..4), weighted(0.5, script()), (0_u32..=3, 0_u32..=3)),
    )
        .prop_map(|(members, habits, seed, services_from, lives, outside, deployed)| Plan {
            members,
            habits,
            seed,
            services_from,
            lives,
            outside,
            commands: deployed.0,
            phase: deployed.1,
            counts: deployed.2,
        })
}

/// Plays a plan up to the last thing that comes from outside.
fn play(plan: &Plan) -> World {
    let mut world = World::seeded(plan.members.clone(), plan.habits, plan.seed);
    world.services_from = Time::ZERO + plan.services_from;
    world.commands.extend(plan.commands.iter().cloned());
    for (release, names) in [("v2", ["web", "worker"]), ("v3", ["clock", "new"])] {
        let of_release = |(name, count): (&str, u32)| {
            let kind = with(member(name, count), |policy| policy.drain = ms(LONGEST_DRAIN));
            (kind, Script::runs())
        };
        let mut types: Vec<_> =
            names.into_iter().zip([plan.counts.0, plan.counts.1]).map(of_release).collect();
        if plan.phase.is_some() {
            types.push((
                with(member("release", 0), |policy| policy.drain = ms(LONGEST_DRAIN)),
                Script::runs(),
            ));
        }
        let phase = plan.phase.clone().unwrap_or_else(Script::runs);
        world.keep(release, Stored { types, phase });
    }
    for (type_index, number, script) in &plan.lives {
        world = world.script(slot(*type_index, *number), [script.clone()]);
    }
    for (gap, outside) in &plan.outside {
        world.pass(*gap);
        if world.exit().is_some() {
            break;
        }
        match outside {
            Outside::Signal(signal) => world.signal(*signal),
            Outside::ReaderGone => world.tell(Event::ReaderGone),
            Outside::Oversleep(duration) => world.oversleep(*duration),
            Outside::Ask(verb, when) => {
                world.request(verb.clone(), *when);
            }
            // They are not what a deploy waits for.
            Outside::Files(_) if world.is_deploying() => {}
            Outside::Files(types) => {
                let names = ["web", "worker", "clock", "new"];
                let known = plan.members.len();
                let mut unknown = world.core.types();
                let mut reread = |(place, (quantity, program)): (usize, &(u32, Program))| {
                    let found = world.core.index_of(names[place]);
                    let type_index = found.unwrap_or_else(|| {
                        unknown += 1;
                        unknown - 1
                    });
                    let member = with(member(names[place], *quantity), |policy| {
                        policy.drain = ms(LONGEST_DRAIN);
                    });
                    let program =
                        if found.is_some_and(|found| found < known) { *program } else { Program::Changed };
                    Reread { type_index, member, program }
                };
                let types = types.iter().enumerate().map(&mut reread).collect();
                world.tell(Event::Reread { types });
            }
            Outside::Word(which, said) => {
                let alive: Vec<(InstanceId, SlotKey)> = world.core.alive().collect();
                if !alive.is_empty() {
                    let (instance, slot) = alive[which.index(alive.len())];
                    world.tell(Event::Told { slot, instance, word: said.clone() });
                }
            }
            Outside::NobodyWaits => {
                world
                    .tell(Event::Withdrawn { ids: (0..=plan.outside.len() as u64).map(RequestId).collect() });
            }
            Outside::Again(which) => {
                let told = world.history.len();
                if told > 0 {
                    let (_, event) = world.history[which.index(told)].clone();
                    // Every request has a number of its own; what was to be read is read once.
                    if !matches!(
                        event,
                        Event::Requested { .. } | Event::Reread { .. } | Event::Unreadable { .. }
                    ) {
                        world.tell(event);
                    }
                }
            }
        }
    }
    world
}

/// Asks a world to end, and sees it to its end.
fn finish(world: &mut World) -> u8 {
    let asked = world.now;
    if world.exit().is_none() {
        world.signal(Signal::TERM);
    }
    let code = world.run_to_exit();
    // The longest drain, a second to be called stuck, and one more.
    assert!(world.now - asked <= ms(LONGEST_DRAIN + 2_000), "it took {:?} to end", world.now - asked);
    code
}

proptest! {
    /// Ten thousand requests in all, in any order and at any moment.
    #[test]
    fn whatever_is_asked_for_in_the_end_the_formation_is_what_was_asked_for_last(
        wishes in vec((millis(0..=300), steer()), 40),
        stop in millis(0..=1_500),
        counts in (0_u32..=4, 0_u32..=4),
    ) {
        let members = vec![member("web", 2), member("worker", 3)];
        let obeys = Script::runs().led_by(obeys_after(stop));
        let mut world = World::new(members).habit(0, obeys.clone()).habit(1, obeys);
        for (gap, wish) in wishes {
            world.request(wish, When::Accepted);
            world.pass(gap);
        }
        let changes = vec![("web".to_owned(), Change::To(counts.0)), ("worker".to_owned(), Change::To(counts.1))];
        world.ask(Verb::Scale { changes }).expect("it is possible");
        let last = world.request(Verb::Restart { targets: Vec::new(), manner: Manner::AtOnce }, When::Happened);
        world.pass(ms(10_000));
        prop_assert!(world.answer_to(last).is_some());
        let status = world.core.supervisor.status(world.now);
        let running = |name: &str| {
            let of_type = status.processes.iter().filter(|process| process.process_type.as_str() == name);
            of_type.filter(|process| process.state == State::Running && process.ready).count()
        };
        prop_assert_eq!((running("web"), running("worker")), (counts.0 as usize, counts.1 as usize));
        prop_assert_eq!(status.processes.len(), (counts.0 + counts.1) as usize);
    }

    #[test]
    fn whatever_happens_a_term_ends_it_and_nothing_is_left_but_what_is_stuck(plan in plan()) {
        let mut world = play(&plan);
        let code = finish(&mut world);
        let survivors = world.survivors();
        if survivors > 0 {
            let stuck = world.notices().filter(|notice| matches!(notice, Notice::Stuck { .. })).count();
            prop_assert!(code == 1 && stuck >= survivors, "code {code}, {survivors} live, {stuck} were named");
        }
    }

    #[test]
    fn the_same_seed_and_the_same_history_give_the_same_actions(plan in plan()) {
        let mut world = play(&plan);
        finish(&mut world);
        let mut again = play(&plan);
        finish(&mut again);
        prop_assert_eq!(&world.actions, &again.actions);

        let recorded = serde_json::to_string(&(&plan.members, plan.habits, &world.history)).expect("plain values");
        let (members, habits, history): (Vec<Member>, Habits, Vec<(Time, Event)>) =
            serde_json::from_str(&recorded).expect("what was written");
        let mut replayed = Supervisor::new(members, habits, plan.seed, Time::ZERO);
        let actions: Vec<_> =
            history.into_iter().flat_map(|(time, event)| replayed.handle(time, event)).collect();
        prop_assert_eq!(&world.actions, &actions);
        let written = serde_json::to_string(&actions).expect("plain values");
        let read: Vec<supervise::supervisor::Action> = serde_json::from_str(&written).expect("what was written");
        prop_assert_eq!(read, actions);
    }

    #[test]
    fn facts_in_any_order_break_no_rule(
        members in members(),
        habits in habits(),
        noise in vec((millis(0..=1_500), noise()), 0..200),
    ) {
        let mut core = Checked::new(members, habits, 7, Time::ZERO);
        let slots: Vec<SlotKey> = core.supervisor.slots().map(|(key, _)| key).collect();
        let mut now = Time::ZERO;
        for (gap, noise) in noise {
            now = now + gap;
            if let Some(event) = noise.event(&core, &slots) {
                // Nobody performs what is ordered: the ledger has looked at it.
                let _orders = core.handle(now, &event);
            }
        }
    }
}

/// A fact of any kind, of an instance that is there or of any other.
#[derive(Clone, Debug)]
struct Noise {
    kind: Kind,
    slot: Index,
    instance: Which,
}

#[derive(Clone, Debug)]
enum Kind {
    Woke,
    Received(Signal),
    ReaderGone,
    Withheld,
    PortTaken,
    Spawned,
    SpawnFailed(SpawnErrorKind),
    LeaderExited(ExitStatus, usize),
    Remaining(usize),
    SignalRefused,
}

#[derive(Clone, Debug)]
enum Which {
    Present,
    Other(u64),
}

fn noise() -> impl Strategy<Value = Noise> {
    let errors = vec![SpawnErrorKind::NotFound, SpawnErrorKind::NotExecutable, SpawnErrorKind::Shortage];
    let kind = prop_oneof![
        20 => Just(Kind::Woke),
        1 => signal().prop_map(Kind::Received),
        1 => Just(Kind::Withheld),
        1 => Just(Kind::PortTaken),
        8 => Just(Kind::Spawned),
        2 => select(errors).prop_map(Kind::SpawnFailed),
        5 => (status(), 0_usize..=2).prop_map(|(status, living)| Kind::LeaderExited(status, living)),
        5 => (0_usize..=2).prop_map(Kind::Remaining),
        1 => Just(Kind::SignalRefused),
    ];
    let kind = prop_oneof![60 => kind, 1 => Just(Kind::ReaderGone)];
    let which = prop_oneof![4 => Just(Which::Present), 1 => (0_u64..40).prop_map(Which::Other)];
    (kind, any::<Index>(), which).prop_map(|(kind, slot, instance)| Noise { kind, slot, instance })
}

impl Noise {
    /// Nothing, where it would speak of a slot that does not exist, or of an instance where there is none.
    fn event(&self, core: &Checked, slots: &[SlotKey]) -> Option<Event> {
        let slot = slots.get(self.slot.index(slots.len().max(1))).copied();
        let instance = match self.instance {
            Which::Present => slot.and_then(|slot| core.phase(slot).instance()),
            Which::Other(number) => Some(InstanceId(number)),
        };
        let living = |count: usize| -> Vec<Process> {
            let pid = |number| Pid::new(number).expect("above 1");
            (0..count)
                .zip(100..)
                .map(|(_, number)| Process { pid: pid(number), name: String::new() })
                .collect()
        };
        let (error, signal) = ("EPERM".to_owned(), Signal::KILL);
        Some(match self.kind {
            Kind::Woke => Event::Woke,
            Kind::Received(signal) => Event::Received(signal),
            Kind::ReaderGone => Event::ReaderGone,
            Kind::Withheld => Event::Withheld { signal: Signal::WINCH, slots: slot.into_iter().collect() },
            Kind::PortTaken => Event::PortTaken { slot: slot?, instance: instance?, holder: None },
            Kind::Spawned => Event::Spawned { slot: slot?, instance: instance?, pid: Pid::new(100)? },
            Kind::SpawnFailed(kind) => {
                let error = SpawnError { kind, message: String::new() };
                Event::SpawnFailed { slot: slot?, instance: instance?, error }
            }
            Kind::LeaderExited(status, count) => {
                Event::LeaderExited { slot: slot?, instance: instance?, status, living: living(count) }
            }
            Kind::Remaining(count) => {
                Event::Remaining { slot: slot?, instance: instance?, living: living(count) }
            }
            Kind::SignalRefused => Event::SignalRefused { slot: slot?, instance: instance?, signal, error },
        })
    }
}
