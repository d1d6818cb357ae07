//! Every history of small formations, breadth first, up to a depth: whatever the order of facts, the rules of the
//! [`ledger`](crate::ledger) hold, and every cell of the supervisor's tables has been seen.
//!
//! States that differ only in when they are, and in the numbers of their instances, are one state.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use supervise::api::{
    Change, ExitStatus, InstanceId, Manner, Missing, Pid, ProbeKind, ProbeResult, Process, Request,
    RequestId, Signal, Verb, When, Word,
};
use supervise::app::{Leftovers, Restart, StopScope, Timing};
use supervise::supervisor::{
    Body, Event, FailFast, Goal, Habits, Member, Next, Phase, Program, Reread, Slot, SlotKey, SpawnError,
    SpawnErrorKind, Surge, Time,
};

use crate::fake_host::{after, member, ms, needing, probed, with};
use crate::ledger::Checked;

/// A formation and the moment at which it is.
#[derive(Clone)]
struct State {
    core: Checked,
    now: Time,
}

/// Which pairs were seen: goal and phase of a slot, and phase of a slot and kind of event.
#[derive(Default)]
struct Seen {
    goals: BTreeSet<(&'static str, &'static str)>,
    events: BTreeSet<(&'static str, &'static str)>,
    states: usize,
}

const GOALS: [&str; 3] = ["up", "down", "dead"];
const PHASES: [&str; 18] = [
    "waiting",
    "needing",
    "pending",
    "backoff",
    "starting",
    "running",
    "draining, led",
    "draining, orphaned",
    "killing, led",
    "killing, orphaned",
    "stuck, led",
    "stuck, orphaned",
    "leaving, led",
    "leaving, orphaned",
    "lost",
    "completed",
    "failed",
    "stopped",
];
const KINDS: [&str; 26] = [
    "probed",
    "told",
    "asked",
    "woke",
    "port taken",
    "spawned",
    "spawn failed",
    "leader exited",
    "remaining",
    "signal refused",
    "withheld",
    "received",
    "reader gone",
    "scale",
    "restart",
    "stop",
    "signal",
    "reload",
    "deploy",
    "run",
    "recorded",
    "shutdown",
    "settle",
    "reread",
    "unreadable",
    "withdrawn",
];

/// Pairs of goal and phase that no slot is ever in between two steps, and why.
const NEVER: [(&str, &str, &str); 19] = [
    ("down", "needing", "stopped in the same step"),
    ("dead", "needing", "stopped in the same step"),
    ("up", "leaving, led", "left behind only by a shutdown"),
    ("up", "leaving, orphaned", "left behind only by a shutdown"),
    ("up", "lost", "left behind only by a shutdown"),
    ("up", "stopped", "pending in the same step"),
    ("down", "waiting", "stopped in the same step"),
    ("down", "pending", "stopped in the same step"),
    ("down", "backoff", "stopped in the same step"),
    ("down", "running", "asked to end in the same step"),
    ("down", "stuck, orphaned", "leaving in the same step"),
    ("dead", "waiting", "stopped in the same step"),
    ("dead", "pending", "stopped in the same step"),
    ("dead", "backoff", "stopped in the same step"),
    ("dead", "running", "killed in the same step"),
    ("dead", "draining, led", "killed in the same step"),
    ("dead", "draining, orphaned", "killed in the same step"),
    ("dead", "stuck, led", "leaving in the same step"),
    ("dead", "stuck, orphaned", "leaving in the same step"),
];

#[test]
fn every_history_of_a_small_formation_keeps_the_rules_and_every_cell_is_reached() {
    let mut seen = Seen::default();
    for (members, habits, depth) in formations() {
        search(&members, habits, Asks::Nothing, depth, &mut seen);
    }
    for (members, depth) in steered() {
        search(&members, Habits::default(), Asks::Much, depth, &mut seen);
    }
    for (members, depth) in deployed() {
        search(&members, Habits::default(), Asks::Deploys, depth, &mut seen);
    }
    let never: BTreeSet<_> = NEVER.map(|(goal, phase, _)| (goal, phase)).into();
    let wrong: Vec<_> = seen.goals.intersection(&never).collect();
    assert!(wrong.is_empty(), "of goal and phase, seen and said to be impossible: {wrong:?}");
    let possible: BTreeSet<_> = product(&GOALS, &PHASES).difference(&never).copied().collect();
    let missing: Vec<_> = possible.difference(&seen.goals).collect();
    assert!(missing.is_empty(), "of goal and phase, never seen: {missing:?}");
    // A phase that no goal allows between two steps meets no event.
    let held: Vec<_> =
        PHASES.into_iter().filter(|phase| possible.iter().any(|(_, held)| held == phase)).collect();
    let events = product(&held, &KINDS);
    let missing: Vec<_> = events.difference(&seen.events).collect();
    assert!(missing.is_empty(), "of phase and event, never seen: {missing:?}");
    assert!(seen.states > 10_000, "only {} states", seen.states);
}

/// What is searched, and how deep: together some seconds in a debug build.
fn formations() -> Vec<(Vec<Member>, Habits, usize)> {
    let small = |name: &str| {
        with(member(name, 1), |policy| {
            policy.drain = ms(1_000);
            policy.backoff.reset_after = ms(1_500);
            policy.backoff.give_up_after = 3;
        })
    };
    let always = || with(small("always"), |policy| policy.restart = Restart::Always);
    let never = || with(small("never"), |policy| policy.restart = Restart::Never);
    let leave = || {
        with(small("leave"), |policy| {
            policy.leftovers = Leftovers::Leave;
            policy.stop_scope = StopScope::Group;
        })
    };
    let by_the_way = || with(never(), |policy| policy.essential = false);
    let hasty = Habits { fail_fast: FailFast::Yes, ..Habits::default() };
    vec![
        (vec![small("one")], Habits::default(), 8),
        (vec![always()], Habits::default(), 8),
        (vec![leave()], Habits::default(), 8),
        (vec![never()], hasty, 8),
        (vec![Member { quantity: 2, ..never() }], Habits::default(), 5),
        (vec![small("one"), by_the_way()], Habits::default(), 6),
        (vec![leave(), always()], hasty, 5),
        (vec![never(), after(small("one"), &["never"])], Habits::default(), 6),
        (vec![needing(small("one"), ms(700))], Habits::default(), 7),
        (vec![asked(small("one"))], Habits::default(), 7),
    ]
}

/// What is searched with somebody at the control socket.
fn steered() -> Vec<(Vec<Member>, usize)> {
    let small = |name: &str| {
        with(member(name, 1), |policy| {
            policy.drain = ms(1_000);
            policy.backoff.reset_after = ms(1_500);
            policy.backoff.give_up_after = 2;
        })
    };
    let never = || with(small("never"), |policy| policy.restart = Restart::Never);
    let leave = || with(small("leave"), |policy| policy.leftovers = Leftovers::Leave);
    let second = || after(small("second"), &["never"]);
    vec![
        (vec![small("one")], 6),
        (vec![never()], 6),
        (vec![leave(), small("one")], 4),
        (vec![never(), second()], 4),
        (vec![Member { surge: Surge::Possible, ..small("one") }], 5),
        (vec![needing(asked(small("one")), ms(700))], 4),
    ]
}

/// What is searched with somebody who deploys, and runs commands.
fn deployed() -> Vec<(Vec<Member>, usize)> {
    let small = |name: &str| {
        with(member(name, 1), |policy| {
            policy.drain = ms(1_000);
            policy.backoff.give_up_after = 2;
            policy.rollout.progress_deadline = ms(1_500);
        })
    };
    let never = || with(small("never"), |policy| policy.restart = Restart::Never);
    vec![
        (vec![small("one")], 6),
        (vec![Member { surge: Surge::Possible, ..never() }], 5),
        (vec![never(), small("one")], 4),
    ]
}

/// Asked whether it has started and lives.
fn asked(member: Member) -> Member {
    let timing = Timing { period: ms(500), failure_threshold: 2, ..Timing::default() };
    probed(probed(member, ProbeKind::Startup, timing), ProbeKind::Liveness, timing)
}

/// Whether somebody asks for things.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Much,
    Deploys,
}

fn search(members: &[Member], habits: Habits, asks: Asks, depth: usize, seen: &mut Seen) {
    let core = Checked::new(members.to_vec(), habits, 1, Time::ZERO);
    let start = State { core, now: Time::ZERO };
    let mut known = HashSet::from([key(&start)]);
    let mut shapes = HashSet::new();
    let mut frontier = VecDeque::from([(start, 0)]);
    while let Some((state, steps)) = frontier.pop_front() {
        seen.note_goals(&state);
        if shapes.insert(shape(&state)) {
            // What cannot happen now must do no harm; where it leads is not followed.
            for events in noise(&state).into_iter().map(|event| vec![event]).chain(reloads(&state, members)) {
                let mut core = state.core.clone();
                for event in events {
                    seen.note_event(&state, &event);
                    let _nobody_performs_them = core.handle(state.now, &event);
                }
            }
        }
        if steps == depth || state.core.is_over() {
            continue;
        }
        for next in successors(&state, members, asks, seen) {
            if known.insert(key(&next)) {
                frontier.push_back((next, steps + 1));
            }
        }
    }
    seen.states += known.len();
}

fn successors(state: &State, members: &[Member], asks: Asks, seen: &mut Seen) -> Vec<State> {
    let mut next = Vec::new();
    let asked = match asks {
        Asks::Nothing => Vec::new(),
        Asks::Much => requests(),
        Asks::Deploys => deploys(state, members),
    };
    for event in possible(state).into_iter().chain(asked) {
        seen.note_event(state, &event);
        let mut after = state.clone();
        // What is ordered is performed by the facts that follow.
        let _orders = after.core.handle(state.now, &event);
        next.push(after);
    }
    // Time goes by: to the deadline, and to where two moments are far enough apart to matter.
    if let Some(deadline) = state.core.supervisor.deadline() {
        let mut after = State { now: state.now.max(deadline), ..state.clone() };
        seen.note_event(&after, &Event::Woke);
        let _orders = after.core.handle(after.now, &Event::Woke);
        next.push(after);
    }
    next.push(State { now: state.now + ms(600), ..state.clone() });
    next
}

/// What the host may tell next.
fn possible(state: &State) -> Vec<Event> {
    let mut events: Vec<Event> = [Signal::TERM, Signal::INT, Signal::QUIT].map(Event::Received).into();
    for (slot, place) in state.core.supervisor.slots() {
        if let Phase::Needing { .. } = place.phase() {
            for missing in [Vec::new(), vec![missing()]] {
                events.push(Event::Asked { type_index: slot.type_index, missing });
            }
        }
        let Some(instance) = place.phase().instance() else { continue };
        let exited = |code, living| {
            let status = ExitStatus::Code(code);
            Event::LeaderExited { slot, instance, status, living }
        };
        let remaining = |living| Event::Remaining { slot, instance, living };
        match place.phase() {
            Phase::Starting { .. } => {
                events.push(Event::Spawned { slot, instance, pid: leader(slot) });
                for kind in [SpawnErrorKind::NotFound, SpawnErrorKind::Shortage] {
                    events.push(spawn_failed(slot, instance, kind));
                }
            }
            Phase::Running { .. } | Phase::Draining { body: Body::Leader, .. } => {
                if let Phase::Running { condition, .. } = place.phase() {
                    let waits = condition.watches.iter().filter(|watch| watch.next == Next::Answer);
                    let results = [ProbeResult::Passed, ProbeResult::Failed { why: String::new() }];
                    events.extend(waits.flat_map(|watch| {
                        let probe = watch.probe;
                        results.clone().map(|result| Event::Probed { slot, instance, probe, result })
                    }));
                }
                events.extend([exited(0, vec![]), exited(1, vec![]), exited(1, vec![process(slot)])]);
            }
            Phase::Killing { body: Body::Leader, .. }
            | Phase::Stuck { body: Body::Leader, .. }
            | Phase::Leaving { body: Body::Leader, .. } => {
                let itself = Process { pid: leader(slot), name: String::new() };
                events.extend([exited(1, vec![]), exited(1, vec![process(slot)])]);
                events.extend([remaining(vec![]), remaining(vec![itself, process(slot)])]);
            }
            Phase::Draining { body: Body::Rest(_), .. }
            | Phase::Killing { body: Body::Rest(_), .. }
            | Phase::Stuck { body: Body::Rest(_), .. }
            | Phase::Leaving { body: Body::Rest(_), .. } => {
                events.extend([remaining(vec![]), remaining(vec![process(slot)])]);
            }
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => unreachable!("nothing lives in {:?}", place.phase()),
        }
    }
    events
}

/// What somebody may ask for.
fn requests() -> Vec<Event> {
    let scale = |change| Verb::Scale { changes: vec![("all".to_owned(), change)] };
    let verbs = [
        scale(Change::To(0)),
        scale(Change::To(1)),
        scale(Change::By(1)),
        Verb::Restart { targets: Vec::new(), manner: Manner::AtOnce },
        Verb::Restart { targets: Vec::new(), manner: Manner::Rolling },
        Verb::Stop { targets: Vec::new() },
        Verb::Shutdown { drain: Some(ms(200)) },
    ];
    verbs.into_iter().map(|verb| request(verb, When::Accepted)).collect()
}

/// Somebody deploys or runs a command, and what the host answers.
fn deploys(state: &State, members: &[Member]) -> Vec<Event> {
    if state.core.is_recording() {
        return vec![Event::Recorded { error: None }];
    }
    if !state.core.awaits_release() {
        let stop = Verb::Stop { targets: vec!["run".parse().expect("a target")] };
        return vec![deploy(state), request(run(), When::Accepted), request(stop, When::Accepted)];
    }
    let release = |names: &[&str]| {
        let mut unknown = state.core.types();
        let reread = |name: &&str| {
            let known = state.core.index_of(name);
            let type_index = known.unwrap_or_else(|| {
                unknown += 1;
                unknown - 1
            });
            let like = members.iter().find(|member| member.name.as_str() == *name);
            let quantity = u32::from(*name != "release");
            let member = Member {
                release: "v2".to_owned(),
                ..like
                    .cloned()
                    .unwrap_or_else(|| with(member(name, quantity), |policy| policy.drain = ms(1_000)))
            };
            let program = match known {
                Some(known) if state.core.newest_member(known).release == "v2" => Program::Same,
                Some(_) | None => Program::Changed,
            };
            Reread { type_index, member, program }
        };
        Event::Reread { types: names.iter().map(reread).collect() }
    };
    let own = members[0].name.as_str();
    vec![
        release(&[own]),
        release(&["release", own]),
        release(&[own, "new"]),
        Event::Unreadable { errors: "wrong".to_owned() },
    ]
}

/// Whoever asks while another one waits is another one.
fn deploy(state: &State) -> Event {
    let id = RequestId(if state.core.is_deploying() { 3 } else { 2 });
    let verb = Verb::Deploy { release: "v2".to_owned() };
    Event::Requested { id, request: Request { verb, answer: When::Happened } }
}

fn run() -> Verb {
    Verb::Run { process_type: None }
}

fn request(verb: Verb, answer: When) -> Event {
    Event::Requested { id: RequestId(1), request: Request { verb, answer } }
}

/// The files read again: as they were, with another program, with other types only, and wrong.
fn reloads(state: &State, members: &[Member]) -> Vec<Vec<Event>> {
    if state.core.is_deploying() {
        // None is under way, and what was to be read is a release.
        return Vec::new();
    }
    let all = |program| {
        let reread =
            |(type_index, member): (usize, &Member)| Reread { type_index, member: member.clone(), program };
        members.iter().enumerate().map(reread).collect::<Vec<_>>()
    };
    let type_index = state.core.index_of("new").unwrap_or(state.core.types());
    let other = Reread { type_index, member: member("new", 1), program: Program::Changed };
    let read = [
        Event::Reread { types: all(Program::Same) },
        Event::Reread { types: all(Program::Changed) },
        Event::Reread { types: vec![other] },
        Event::Unreadable { errors: "wrong".to_owned() },
    ];
    read.map(|read| vec![request(Verb::Reload, When::Happened), read]).into()
}

/// Every kind of event, of the instance that is there and of one that was, and signals that are rare.
fn noise(state: &State) -> Vec<Event> {
    let mut events = vec![Event::Woke, Event::ReaderGone];
    let settle = request(Verb::Settle, When::Happened);
    let signal = Verb::Signal { signal: Signal::HUP, targets: Vec::new() };
    events.extend([deploy(state), request(run(), When::Accepted), Event::Recorded { error: None }]);
    events.extend([settle, request(signal, When::Accepted), Event::Withdrawn { ids: vec![RequestId(1)] }]);
    events.extend(requests());
    events.extend([Signal::HUP, Signal::CONT, Signal::TSTP, Signal::WINCH, Signal::PWR].map(Event::Received));
    for (slot, place) in state.core.supervisor.slots() {
        events.push(Event::Withheld { signal: Signal::WINCH, slots: vec![slot] });
        events.push(Event::Asked { type_index: slot.type_index, missing: vec![missing()] });
        for instance in [Some(InstanceId(0)), place.phase().instance()].into_iter().flatten() {
            let living = vec![process(slot)];
            let status = ExitStatus::Code(1);
            let (signal, error) = (Signal::TERM, "EPERM".to_owned());
            events.extend([
                Event::PortTaken { slot, instance, holder: None },
                Event::Probed { slot, instance, probe: ProbeKind::Liveness, result: ProbeResult::Passed },
                Event::Told { slot, instance, word: Word::Ready },
                Event::Told { slot, instance, word: Word::Stopping },
                Event::Spawned { slot, instance, pid: leader(slot) },
                spawn_failed(slot, instance, SpawnErrorKind::NotExecutable),
                spawn_failed(slot, instance, SpawnErrorKind::Shortage),
                Event::LeaderExited { slot, instance, status, living: Vec::new() },
                Event::LeaderExited { slot, instance, status, living: living.clone() },
                Event::Remaining { slot, instance, living: Vec::new() },
                Event::Remaining { slot, instance, living },
                Event::SignalRefused { slot, instance, signal, error },
            ]);
        }
    }
    events
}

fn missing() -> Missing {
    Missing { service: "DATABASE_URL".to_owned(), place: String::new(), why: String::new() }
}

fn spawn_failed(slot: SlotKey, instance: InstanceId, kind: SpawnErrorKind) -> Event {
    Event::SpawnFailed { slot, instance, error: SpawnError { kind, message: String::new() } }
}

fn leader(slot: SlotKey) -> Pid {
    let index = i32::try_from(slot.type_index).expect("two types at most");
    let number = i32::try_from(slot.number).expect("two slots at most");
    Pid::new(100 + 10 * index + number).expect("above 1")
}

fn process(slot: SlotKey) -> Process {
    Process { pid: Pid::new(leader(slot).raw() + 1_000).expect("above 1"), name: String::new() }
}

impl Seen {
    fn note_goals(&mut self, state: &State) {
        for (_, slot) in state.core.supervisor.slots() {
            let goal = match slot.goal() {
                Goal::Up => "up",
                Goal::Down => "down",
                Goal::Dead => "dead",
            };
            self.goals.insert((goal, phase_name(slot.phase())));
        }
    }

    /// The event, against the phase of the slot that it speaks of, or of every slot.
    fn note_event(&mut self, state: &State, event: &Event) {
        let (kind, of) = match event {
            Event::Woke => ("woke", None),
            Event::Probed { slot, .. } => ("probed", Some(*slot)),
            Event::Told { slot, .. } => ("told", Some(*slot)),
            Event::Asked { .. } => ("asked", None),
            Event::PortTaken { slot, .. } => ("port taken", Some(*slot)),
            Event::Spawned { slot, .. } => ("spawned", Some(*slot)),
            Event::SpawnFailed { slot, .. } => ("spawn failed", Some(*slot)),
            Event::LeaderExited { slot, .. } => ("leader exited", Some(*slot)),
            Event::Remaining { slot, .. } => ("remaining", Some(*slot)),
            Event::SignalRefused { slot, .. } => ("signal refused", Some(*slot)),
            Event::Withheld { .. } => ("withheld", None),
            Event::Recorded { .. } => ("recorded", None),
            Event::Received(_) => ("received", None),
            Event::ReaderGone => ("reader gone", None),
            Event::Requested { request, .. } => match request.verb {
                Verb::Scale { .. } => ("scale", None),
                Verb::Restart { .. } => ("restart", None),
                Verb::Stop { .. } => ("stop", None),
                Verb::Signal { .. } => ("signal", None),
                Verb::Reload => ("reload", None),
                Verb::Deploy { .. } => ("deploy", None),
                Verb::Run { .. } => ("run", None),
                Verb::Shutdown { .. } => ("shutdown", None),
                Verb::Settle => ("settle", None),
            },
            Event::Withdrawn { .. } => ("withdrawn", None),
            Event::Reread { .. } => ("reread", None),
            Event::Unreadable { .. } => ("unreadable", None),
        };
        let slots = state.core.supervisor.slots().filter(|(key, _)| of.is_none_or(|of| of == *key));
        self.events.extend(slots.map(|(_, slot)| (phase_name(slot.phase()), kind)));
    }
}

fn phase_name(phase: &Phase) -> &'static str {
    let by_body = |body: &Body, led, orphaned| match body {
        Body::Leader => led,
        Body::Rest(_) => orphaned,
    };
    match phase {
        Phase::Draining { body, .. } => by_body(body, "draining, led", "draining, orphaned"),
        Phase::Killing { body, .. } => by_body(body, "killing, led", "killing, orphaned"),
        Phase::Stuck { body, .. } => by_body(body, "stuck, led", "stuck, orphaned"),
        Phase::Leaving { body, .. } => by_body(body, "leaving, led", "leaving, orphaned"),
        Phase::Lost => "lost",
        Phase::Waiting => "waiting",
        Phase::Needing { .. } => "needing",
        Phase::Pending { .. }
        | Phase::Backoff { .. }
        | Phase::Starting { .. }
        | Phase::Running { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Stopped => phase.state().word(),
    }
}

/// Goals and phases alone.
fn shape(state: &State) -> String {
    let slots = state.core.supervisor.slots();
    format!("{:?}", slots.map(|(_, slot)| (slot.goal(), phase_name(slot.phase()))).collect::<Vec<_>>())
}

fn product(left: &[&'static str], right: &[&'static str]) -> BTreeSet<(&'static str, &'static str)> {
    left.iter().flat_map(|left| right.iter().map(move |right| (*left, *right))).collect()
}

/// So far back, a moment does not matter any more: longer than any span that is measured in these formations.
const LONG_AGO: Duration = Duration::from_secs(2);

/// The state without its absolute numbers, as a hash of what it prints: the slots with all that they keep, and the books,
/// which know the rest (the course of the end, whose program ran).
fn key(state: &State) -> u64 {
    let slots: Vec<&Slot> = state.core.supervisor.slots().map(|(_, slot)| slot).collect();
    let text = format!("{slots:?} {:?}", state.core.ledger);
    let now = u64::try_from((state.now - Time::ZERO).as_nanos()).expect("a short story");
    let long_ago = u64::try_from(LONG_AGO.as_nanos()).expect("two seconds");
    let mut hasher = DefaultHasher::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let number: u64 = from[..end].parse().expect("digits");
        let told = |what: &str| before.ends_with(what);
        let relative = if told("Time(") {
            (number + long_ago).saturating_sub(now)
        } else if told("InstanceId(") {
            state.core.newest().wrapping_sub(number)
        } else if told("newest: ") || told("steps: ") || told("restarts: ") || told("looks: ") {
            0
        } else if told("uptime_ms: ") {
            [1_000, 1_500].into_iter().filter(|span| number >= *span).count() as u64
        } else {
            number
        };
        hasher.write(before.as_bytes());
        hasher.write_u64(relative);
        rest = &from[end..];
    }
    hasher.write(rest.as_bytes());
    hasher.finish()
}
