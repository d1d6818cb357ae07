//! One random history: a formation, what its lives do, what comes from outside, and releases to deploy. All of it follows
//! from a seed, and what is left out of it moves nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use supervise::api::{
    Change, ExitStatus, InstanceId, Manner, OutOfMemory, Pid, ProbeKind, ProbeResult, Process, RequestId,
    Signal, Target, Verb, When, Word,
};
use supervise::app::{Backoff, Leftovers, Policy, Restart, Rollout, StopScope, Timing};
use supervise::supervisor::{
    Event, FailFast, FoundBy, Habits, Hangup, Init, Member, Probes, Probing, Program, Reread, SlotKey,
    Source, SpawnError, SpawnErrorKind, Surge, Terminal, Time,
};

use crate::dice::Dice;
use crate::fake_host::{
    Answers, Birth, Descendant, Fate, Memory, Nature, Place, STUBBORN, Script, Signals, Stored, UNKILLABLE,
    World, after, member, ms, needing,
};
use crate::ledger::Scrutiny;

/// What a history is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Where some wishes were left out: those that are made.
    pub(crate) only: Option<Vec<u32>>,
    pub(crate) scrutiny: Scrutiny,
    pub(crate) memory: Memory,
}

/// The names of types, in the order in which they may wait for each other.
const NAMES: [&str; 6] = ["web", "worker", "clock", "mailer", "new", "cron"];
/// So many slots a formation has at most.
const MOST_SLOTS: u32 = 20;
/// The longest drain.
const LONGEST_DRAIN: u32 = 3_000;

/// What choices are for.
mod choice {
    pub(super) const FORMATION: u64 = 1;
    pub(super) const CORE: u64 = 2;
    pub(super) const STORE: u64 = 3;
    pub(super) const END: u64 = 4;
    /// ... and one for each wish.
    pub(super) const WISHES: u64 = 1_000;
}

/// How many wishes a history has.
pub(crate) fn wishes(seed: u64) -> u32 {
    let mut dice = Dice::new(seed, choice::END);
    // Most faults need little; some need much.
    let most = dice.pick(&[6, 20, 60, 200]);
    1 + dice.below(most)
}

/// Lives a history from its beginning to its end, and says in how many steps. A broken rule is a panic.
pub(crate) fn live(plan: &Plan, see: impl FnOnce(&mut World)) -> u64 {
    let seed = plan.seed;
    let mut dice = Dice::new(seed, choice::FORMATION);
    let members = formation(&mut dice, MOST_SLOTS);
    let mut world = World::seeded(members, habits(&mut dice), Dice::new(seed, choice::CORE).next());
    world.services_from = Time::ZERO + if dice.chance(70) { Duration::ZERO } else { dice.millis(5_000) };
    world.fate = Some(Fate { seed, lives: BTreeMap::new(), draw: life });
    world.memory = plan.memory;
    world.core.ledger.scrutiny = plan.scrutiny;
    let mut dice = Dice::new(seed, choice::STORE);
    for release in ["v2", "v3"] {
        world.keep(release, stored(&mut dice));
    }
    see(&mut world);
    for number in 0..wishes(seed) {
        let mut dice = Dice::new(seed, choice::WISHES + u64::from(number));
        let gap = if dice.chance(30) { Duration::ZERO } else { dice.millis(2_500) };
        world.pass(gap);
        if world.exit().is_some() {
            break;
        }
        if plan.only.as_ref().is_none_or(|only| only.contains(&number)) {
            wish(&mut world, &mut dice);
        }
        if world.exit().is_some() {
            break;
        }
    }
    end(&mut world);
    world.core.steps()
}

/// It is asked to end, and does so in time.
fn end(world: &mut World) {
    let asked = world.now;
    if world.exit().is_none() {
        world.signal(Signal::TERM);
    }
    world.run_to_exit();
    // The longest drain, a second to be called stuck, and one more.
    let most = ms(u64::from(LONGEST_DRAIN) + 2_000);
    assert!(world.now - asked <= most, "it took {:?} to end", world.now - asked);
}

fn formation(dice: &mut Dice, most: u32) -> Vec<Member> {
    let types = 1 + dice.below(5) as usize;
    let mut left = most;
    let mut members: Vec<Member> = Vec::new();
    for name in &NAMES[..types] {
        let high = dice.pick(&[2, 4, 12]);
        let quantity = dice.below(high + 1).min(left);
        left -= quantity;
        let first: Vec<&str> = NAMES[..members.len()].iter().copied().filter(|_| dice.chance(15)).collect();
        members.push(after(kind(dice, name, quantity), &first));
    }
    members
}

fn kind(dice: &mut Dice, name: &str, quantity: u32) -> Member {
    let first_port = dice.chance(30).then(|| {
        // A release phase is none of them, and has a range of its own.
        let place = NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len());
        u16::try_from(5_000 + 100 * place).expect("a port") + dice.pick(&[0, 0, 1])
    });
    let surge =
        if first_port.is_some() { Surge::Forbidden } else { dice.pick(&[Surge::Possible, Surge::Forbidden]) };
    let max = dice.chance(10).then(|| quantity + dice.below(3));
    let kind = Member {
        policy: policy(dice),
        found_by: dice.pick(&[FoundBy::Us, FoundBy::Shell]),
        probes: probes(dice),
        surge,
        max,
        first_port,
        ..member(name, quantity)
    };
    if dice.chance(15) { needing(kind, ms(200) + dice.millis(3_000)) } else { kind }
}

fn policy(dice: &mut Dice) -> Policy {
    let backoff = Backoff {
        first: dice.millis(800),
        max: ms(500) + dice.millis(2_500),
        reset_after: dice.millis(4_000),
        give_up_after: dice.pick(&[0, 0, 1, 3]),
    };
    let room = dice.pick(&[(1, 0), (1, 0), (2, 1), (0, 1), (0, 2)]);
    Policy {
        restart: dice.pick(&[Restart::Always, Restart::Always, Restart::OnFailure, Restart::Never]),
        backoff,
        essential: dice.chance(25),
        drain: ms(dice.pick(&[0, 300, 1_000, u64::from(LONGEST_DRAIN)])),
        stop_signal: dice.pick(&[Signal::TERM, Signal::QUIT]),
        stop_scope: dice.pick(&[StopScope::Leader, StopScope::Group]),
        leftovers: dice.pick(&[Leftovers::Stop, Leftovers::Stop, Leftovers::Leave]),
        rollout: Rollout {
            max_surge: room.0,
            max_unavailable: room.1,
            min_ready: dice.millis(1_500),
            progress_deadline: ms(500) + dice.millis(5_500),
        },
    }
}

fn probes(dice: &mut Dice) -> Probes {
    let mut probing = |sources: &[Source]| {
        dice.chance(25).then(|| Probing {
            source: dice.pick(sources),
            timing: Timing {
                initial_delay: dice.millis(500),
                period: ms(300) + dice.millis(2_200),
                success_threshold: 1 + dice.below(2),
                failure_threshold: 1 + dice.below(3),
                ..Timing::default()
            },
        })
    };
    let either = [Source::Asked, Source::Asked, Source::Told];
    // Nobody says of itself that it is ready now and then.
    Probes { startup: probing(&either), readiness: probing(&[Source::Asked]), liveness: probing(&either) }
}

fn habits(dice: &mut Dice) -> Habits {
    Habits {
        fail_fast: if dice.chance(4) { FailFast::Yes } else { FailFast::No },
        hangup: dice.pick(&[Hangup::Drain, Hangup::Reload]),
        terminal: dice.pick(&[Terminal::Present, Terminal::Absent]),
        init: dice.pick(&[Init::Yes, Init::No]),
    }
}

fn stored(dice: &mut Dice) -> Stored {
    let mut types: Vec<(Member, Script)> = Vec::new();
    let mut left = MOST_SLOTS;
    for name in NAMES {
        if dice.chance(60) {
            let quantity = dice.below(4).min(left);
            left -= quantity;
            let script = if dice.chance(80) { Script::runs() } else { script(dice) };
            types.push((kind(dice, name, quantity), script));
        }
    }
    if types.is_empty() {
        types.push((kind(dice, "web", 1), Script::runs()));
    }
    let mut phase = Script::runs();
    if dice.chance(40) {
        types.push((kind(dice, "release", 0), Script::runs()));
        let code = if dice.chance(80) { 0 } else { 3 };
        phase = if dice.chance(80) { Script::exits(dice.millis(2_000), code) } else { script(dice) };
    }
    Stored { types, phase }
}

/// What the next life of a slot does.
fn life(seed: u64, slot: SlotKey, number: u64) -> Script {
    let place = (slot.type_index as u64 + 1) << 48 | u64::from(slot.number) << 32;
    let mut dice = Dice::new(seed, place | number);
    // Most programs work most of the time; otherwise nothing is ever there to be stopped, replaced or asked.
    if dice.chance(60) { Script::runs() } else { script(&mut dice) }
}

fn script(dice: &mut Dice) -> Script {
    let mut script = Script::runs();
    if dice.chance(12) {
        let kinds = [SpawnErrorKind::NotFound, SpawnErrorKind::NotExecutable, SpawnErrorKind::Shortage];
        script.birth = Birth::Fails(dice.pick(&kinds));
        return script;
    }
    if dice.chance(60) {
        script.ends = Some((dice.millis(4_000), status(dice)));
    }
    script.leader = nature(dice);
    if dice.chance(25) {
        for _ in 0..=dice.below(2) {
            let place = dice.pick(&[Place::Group, Place::Stray]);
            script.descendants.push(Descendant { nature: nature(dice), place });
        }
    }
    if dice.chance(10) {
        script.born_while_killing = 1 + dice.below(2);
    }
    if dice.chance(4) {
        script.signals = Signals::Refused;
    }
    for probe in ProbeKind::ALL {
        if dice.chance(40) {
            let results = (0..=dice.below(6)).map(|_| dice.chance(60)).collect();
            script.answers.insert(probe, Answers { takes: dice.millis(800), results });
        }
    }
    script
}

fn nature(dice: &mut Dice) -> Nature {
    match dice.below(20) {
        0..=10 => Nature { stop: Some((dice.millis(4_000), status(dice))), kill: Some(Duration::ZERO) },
        11..=16 => STUBBORN,
        17 => Nature { stop: None, kill: Some(ms(1_500)) },
        18 => UNKILLABLE,
        _ => Nature { stop: Some((Duration::ZERO, status(dice))), kill: None },
    }
}

fn status(dice: &mut Dice) -> ExitStatus {
    match dice.below(9) {
        0..=2 => ExitStatus::Code(0),
        3 | 4 => ExitStatus::Code(1),
        5 => ExitStatus::Code(126),
        6 => ExitStatus::Code(127),
        7 => ExitStatus::Signal { signal: Signal::KILL, core_dumped: true },
        _ => ExitStatus::OutOfMemory(OutOfMemory::Limit { bytes: 1 << 20 }),
    }
}

/// Something comes from outside.
fn wish(world: &mut World, dice: &mut Dice) {
    match dice.below(100) {
        0..=5 => world.signal(signal(dice)),
        6..=14 => world.oversleep(dice.millis(6_000)),
        15..=34 => late(world, dice),
        35..=42 => said(world, dice),
        43..=46 => reread(world, dice),
        47 => world.tell(Event::Withdrawn { ids: (0..200).map(RequestId).collect() }),
        48 if dice.chance(20) => world.tell(Event::ReaderGone),
        _ => {
            let verb = verb(dice);
            if let Verb::Run { .. } = verb {
                world.commands.push_back(script(dice));
            }
            world.request(verb, dice.pick(&[When::Accepted, When::Happened]));
        }
    }
}

fn signal(dice: &mut Dice) -> Signal {
    let ends = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::PWR, Signal::RTMIN_3];
    if dice.chance(15) {
        return dice.pick(&ends);
    }
    dice.pick(&[Signal::HUP, Signal::TSTP, Signal::CONT, Signal::WINCH])
}

/// A fact of an instance that was there and is not any more, or one that says nothing new of who is there.
fn late(world: &mut World, dice: &mut Dice) {
    let slots: Vec<SlotKey> = world.core.supervisor.slots().map(|(key, _)| key).collect();
    if slots.is_empty() {
        return;
    }
    let slot = dice.pick(&slots);
    let present = world.core.alive().find(|(_, of)| *of == slot).map(|(instance, _)| instance);
    let newest = u32::try_from(world.core.newest()).expect("not so many");
    let old = InstanceId(u64::from(dice.below(newest + 1)));
    if Some(old) == present || dice.chance(30) {
        let Some(instance) = present else { return };
        return again(world, dice, slot, instance);
    }
    let (instance, pid) = (old, Pid::new(99).expect("above 1"));
    let living = if dice.chance(50) { Vec::new() } else { vec![Process { pid, name: String::new() }] };
    world.tell(match dice.below(8) {
        0 => Event::Spawned { slot, instance, pid },
        1 => {
            let kind = dice.pick(&[SpawnErrorKind::NotFound, SpawnErrorKind::Shortage]);
            Event::SpawnFailed { slot, instance, error: SpawnError { kind, message: String::new() } }
        }
        2 => Event::LeaderExited { slot, instance, status: status(dice), living },
        3 => Event::Remaining { slot, instance, living },
        4 => {
            let probe = dice.pick(&ProbeKind::ALL);
            Event::Probed { slot, instance, probe, result: ProbeResult::Failed { why: String::new() } }
        }
        5 => Event::Told { slot, instance, word: word(dice) },
        6 => Event::PortTaken { slot, instance, holder: None },
        _ => Event::SignalRefused { slot, instance, signal: Signal::KILL, error: String::new() },
    });
}

/// Something that is known of who is there, or that nobody asked for.
fn again(world: &mut World, dice: &mut Dice, slot: SlotKey, instance: InstanceId) {
    let living = world.living(instance);
    let pid = living.last().map_or(Pid::new(99).expect("above 1"), |process| process.pid);
    world.tell(match dice.below(8) {
        0 => Event::Spawned { slot, instance, pid },
        1 if !living.is_empty() => Event::Remaining { slot, instance, living },
        1 | 2 => Event::PortTaken { slot, instance, holder: None },
        3 => Event::SignalRefused { slot, instance, signal: Signal::TERM, error: String::new() },
        4 => Event::Withheld { signal: Signal::WINCH, slots: vec![slot] },
        5 => Event::Woke,
        6 if !world.core.is_recording() => Event::Recorded { error: None },
        _ => Event::Told { slot, instance, word: word(dice) },
    });
}

/// Whoever lives says something of itself.
fn said(world: &mut World, dice: &mut Dice) {
    let alive: Vec<(InstanceId, SlotKey)> = world.core.alive().collect();
    if !alive.is_empty() {
        let (instance, slot) = dice.pick(&alive);
        world.tell(Event::Told { slot, instance, word: word(dice) });
    }
}

fn word(dice: &mut Dice) -> Word {
    let status = Word::Status("at work".to_owned());
    dice.pick(&[Word::Ready, Word::Ready, Word::Alive, Word::Failing, Word::Stopping, status])
}

/// What is in the files, where they are being read again.
fn reread(world: &mut World, dice: &mut Dice) {
    // They are not what a deploy waits for.
    if world.is_deploying() {
        return;
    }
    if dice.chance(10) {
        return world.tell(Event::Unreadable { errors: "wrong".to_owned() });
    }
    let mut unknown = world.core.types();
    let mut types = Vec::new();
    let mut left = MOST_SLOTS;
    for name in NAMES {
        if dice.chance(40) {
            continue;
        }
        let quantity = dice.below(5).min(left);
        left -= quantity;
        let known = world.core.index_of(name);
        let type_index = known.unwrap_or_else(|| {
            unknown += 1;
            unknown - 1
        });
        let program = match known {
            Some(_) => dice.pick(&[Program::Same, Program::Changed]),
            None => Program::Changed,
        };
        // Whatever the files say, they are of the release that runs.
        let release = running(world);
        types.push(Reread { type_index, member: Member { release, ..kind(dice, name, quantity) }, program });
    }
    world.tell(Event::Reread { types });
}

/// The release that the formation runs.
fn running(world: &World) -> String {
    let formation = world.core.supervisor.formation();
    let first = formation.0.first().and_then(|(name, _)| world.core.index_of(name.as_str()));
    first.map_or("dev".to_owned(), |type_index| world.core.newest_member(type_index).release.clone())
}

fn verb(dice: &mut Dice) -> Verb {
    match dice.below(100) {
        0..=24 => scale(dice),
        25..=52 => {
            let manner = dice.pick(&[Manner::AtOnce, Manner::Rolling]);
            Verb::Restart { targets: targets(dice), manner }
        }
        53..=62 => Verb::Stop { targets: targets(dice) },
        63..=67 => Verb::Signal { signal: Signal::HUP, targets: targets(dice) },
        68..=76 => Verb::Reload,
        77..=79 => Verb::Settle,
        80..=91 => Verb::Deploy { release: dice.pick(&["v2", "v3", "v2", "v3", "nosuch"]).to_owned() },
        92..=97 => {
            // With the rules of a type: those of none take longer to end than is waited for.
            let name = dice.pick(&["web", "worker"]);
            Verb::Run { process_type: Some(name.parse().expect("a name")) }
        }
        _ => Verb::Shutdown { drain: dice.chance(50).then(|| dice.millis(2_000)) },
    }
}

fn scale(dice: &mut Dice) -> Verb {
    let change = |dice: &mut Dice| {
        if dice.chance(80) { Change::To(dice.below(6)) } else { Change::By(i64::from(dice.below(5)) - 2) }
    };
    let names = ["web", "web", "worker", "worker", "clock", "mailer", "new", "all", "nosuch"];
    let changes = (0..=dice.below(2)).map(|_| (dice.pick(&names).to_owned(), change(dice))).collect();
    Verb::Scale { changes }
}

fn targets(dice: &mut Dice) -> Vec<Target> {
    let texts = [
        "web",
        "web.1",
        "web.2",
        "worker",
        "worker.2",
        "worker.[1-4]",
        "clock.1",
        "w*",
        "*",
        "*.2",
        "run",
        "nosuch",
    ];
    (0..dice.below(3)).map(|_| dice.pick(&texts).parse().expect("a target")).collect()
}
