//! The books kept beside the supervisor: what it was told, what it ordered, and the rules that hold after every step.
//!
//! The ledger believes nothing that it can know by itself. Who is alive, when a deadline is, how long a backoff may
//! be and which code is right are worked out here a second time, from the events alone.

mod deploys;
mod pulse;
mod requests;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use supervise::api::{InstanceId, NotDeployed, Notice, RequestId, Signal, SlotName};
use supervise::app::Leftovers;
use supervise::supervisor::{
    Action, Event, FoundBy, Habits, Member, Phase, Program, Reread, SlotKey, Supervisor, Terminal, Time,
};

use deploys::Deploying;
use pulse::Pulse;

/// A supervisor under supervision.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) supervisor: Supervisor,
    pub(crate) ledger: Ledger,
    rules: Rc<Rules>,
}

/// How closely it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scrutiny {
    /// Everything after every step.
    Whole,
    /// What was told and ordered at every step, the rest now and then.
    Sampled,
}

/// What is known of the types, and how everything was started. Only a reload changes it.
#[derive(Clone, Debug)]
struct Rules {
    /// By type, the oldest edition first.
    editions: Vec<Vec<Member>>,
    habits: Habits,
}

impl Rules {
    fn member(&self, key: SlotKey, edition: usize) -> &Member {
        &self.editions[key.type_index][edition]
    }

    /// One-off commands have a type of their own.
    fn reserve(&mut self) {
        self.editions.push(vec![deploys::one_off(None)]);
    }

    /// An earlier edition holds again.
    fn revert(&mut self, type_index: usize, edition: usize) {
        let earlier = self.editions[type_index][edition].clone();
        self.editions[type_index].push(earlier);
    }

    /// The files were read again, and hold.
    fn adopt(&mut self, types: &[Reread]) {
        for Reread { type_index, member, program } in types {
            match (self.editions.get_mut(*type_index), program) {
                (None, Program::Same | Program::Changed) => self.editions.push(vec![member.clone()]),
                (Some(editions), Program::Changed) => editions.push(member.clone()),
                (Some(editions), Program::Same) => {
                    editions.pop();
                    editions.push(member.clone());
                }
            }
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    lives: BTreeMap<SlotKey, Life>,
    places: BTreeMap<SlotKey, Place>,
    /// The types whose program was seen to run.
    ran: BTreeSet<usize>,
    /// The types that may be started, since whoever comes first was ready once.
    open: BTreeSet<usize>,
    course: Course,
    haste: Haste,
    pipes: Pipes,
    first_interrupt: Option<Time>,
    /// The slots that have failed for good, the first one first, with their codes.
    failures: Vec<(SlotKey, u8)>,
    /// How many there shall be of each type, and who says so; nothing for types that are not in the Procfile any more.
    counts: BTreeMap<usize, (u32, Says)>,
    /// How many the files say.
    planned: BTreeMap<usize, u32>,
    /// Requests without an answer so far.
    asked: BTreeSet<RequestId>,
    reading: bool,
    /// Whether the present event answers it.
    awaits_files: bool,
    /// What was read last, until it is adopted or discarded.
    candidate: Option<Vec<Reread>>,
    deploying: Option<Deploying>,
    /// Everything goes back to this release, in this step.
    back_to: Option<String>,
    /// What held of the types that a deploy does not change, until it: that comes back where it is turned back.
    amended: BTreeMap<usize, Member>,
    /// How many there were to be, where what comes back in this step is more.
    grown: BTreeMap<usize, u32>,
    /// The type of one-off commands.
    one_offs: Option<usize>,
    /// Those that have yet to run, by edition.
    staged: BTreeSet<usize>,
    /// The types whose services are being asked.
    asking: BTreeSet<usize>,
    /// The types whose services answered when they were asked last.
    supplied: BTreeSet<usize>,
    /// The drain that a shutdown asked for.
    drain: Option<Duration>,
    /// The shortest that was asked for when the end had begun.
    longest: Option<Duration>,
    /// The editions of each type that the host knows.
    known: BTreeMap<usize, BTreeSet<usize>>,
    /// The youngest instance when the last rollout of a type began: who is younger is new.
    rolled: BTreeMap<usize, u64>,
    newest: u64,
    /// When the supervisor looked last at what is due.
    woken: Time,
    /// ... and before the present step.
    woken_before: Time,
    /// So often it has looked since anything else happened, or time went by.
    looks: u32,
    steps: u64,
    pub(crate) scrutiny: Scrutiny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Up,
    Ending { since: Time, begun: Begun, force: Force },
    Over,
}

/// What began the end, with the code that it alone would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Asked(u8),
    Failure(u8),
}

/// Whether somebody was killed since the end began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Unused,
    Used,
}

/// Whether somebody asked to kill now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    NotAsked,
    Asked,
}

/// Who says how many of a type there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Plan,
    Request,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    instance: InstanceId,
    edition: usize,
    since: Time,
    stage: Stage,
    /// When its drain is over, once it was asked to end.
    deadline: Option<Time>,
    killed: Option<Time>,
    stuck: Option<Time>,
    waits: Waits,
    pulse: Pulse,
}

/// Whether anybody still waits for the end of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    StillOn,
    /// It survived SIGKILL, and the shutdown goes on without it: that is final, whatever becomes of it.
    NoMore,
}

impl Life {
    /// Whether its leader lives and nobody asked it to end.
    fn works(&self) -> bool {
        self.stage == Stage::Led && self.deadline.is_none() && self.killed.is_none()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A spawn is ordered.
    Ordered,
    /// The leader lives.
    Led,
    /// The leader is gone, others live.
    Orphaned { own: bool, since: Time },
}

/// What is remembered of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Nothing shall run there, by request.
    held: bool,
    /// Which edition was started last.
    edition: usize,
    last_start: Option<Time>,
    last_code: u8,
    verdict: Option<Rest>,
    failures: u32,
    shortages: u32,
}

/// Whether the pipes are read on whatever the reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pipes {
    Held,
    ReadOn,
}

/// How a slot came to rest by itself, as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Completed,
    Failed,
}

/// What an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It speaks of an instance that is not there any more.
    Late,
    /// It ends a life that nobody had asked to end, after so long.
    OwnEnd(SlotKey, Duration),
    /// The system was short of something.
    Shortage(SlotKey),
    /// Anything else.
    Other,
}

/// Where steps are sampled, one of so many: looking at everybody then costs less than the step itself.
const SAMPLE: u64 = 61;

/// More slots than this, and not all of them are looked at after every step.
const MANY: usize = 64;

impl Checked {
    pub(crate) fn new(members: Vec<Member>, habits: Habits, seed: u64, now: Time) -> Checked {
        let supervisor = Supervisor::new(members.clone(), habits, seed, now);
        let ledger = Ledger {
            lives: BTreeMap::new(),
            places: supervisor.slots().map(|(key, _)| (key, Place::default())).collect(),
            ran: BTreeSet::new(),
            open: BTreeSet::new(),
            course: Course::Up,
            haste: Haste::NotAsked,
            pipes: Pipes::Held,
            first_interrupt: None,
            failures: Vec::new(),
            counts: (0..).zip(members.iter().map(|member| (member.quantity, Says::Plan))).collect(),
            planned: (0..).zip(members.iter().map(|member| member.quantity)).collect(),
            asked: BTreeSet::new(),
            reading: false,
            awaits_files: false,
            candidate: None,
            deploying: None,
            back_to: None,
            amended: BTreeMap::new(),
            grown: BTreeMap::new(),
            one_offs: None,
            staged: BTreeSet::new(),
            asking: BTreeSet::new(),
            supplied: BTreeSet::new(),
            drain: None,
            longest: None,
            known: (0..members.len()).map(|type_index| (type_index, BTreeSet::from([0]))).collect(),
            rolled: BTreeMap::new(),
            newest: 0,
            woken: now,
            woken_before: now,
            looks: 0,
            steps: 0,
            scrutiny: Scrutiny::Whole,
        };
        let editions = members.into_iter().map(|member| vec![member]).collect();
        Checked { supervisor, ledger, rules: Rc::new(Rules { editions, habits }) }
    }

    /// Hands over an event, and panics where a rule is broken.
    pub(crate) fn handle(&mut self, now: Time, event: &Event) -> Vec<Action> {
        self.ledger.steps += 1;
        self.ledger.grown.clear();
        self.ledger.woken_before = self.ledger.woken;
        let course = self.ledger.course;
        let was_over = course == Course::Over;
        let told = self.ledger.note(&self.rules, now, event);
        let rolled: BTreeSet<usize> = self.rolling();
        let is_late = told == Told::Late || was_over;
        let before = (is_late && self.ledger.looks_closely()).then(|| format!("{:?}", self.supervisor));
        let actions = self.supervisor.handle(now, event.clone());
        if is_late {
            // Files that nobody waits for any more are forgotten.
            let discards = matches!(event, Event::Reread { .. }) && actions == [Action::Discard];
            assert!(actions.is_empty() || discards, "a late event leads to nothing: {event:?} {actions:?}");
        }
        if let Some(before) = before {
            assert_eq!(format!("{:?}", self.supervisor), before, "a late event changes nothing: {event:?}");
        }
        let until_now = self.follow_editions(now, &actions, event);
        let names: BTreeMap<SlotName, SlotKey> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Announce { notice, .. } => notice.slot(),
                _ => None,
            })
            .map(|name| (name.clone(), self.key(name)))
            .collect();
        let rolling = rolled.union(&self.rolling()).copied().collect();
        let (rules, names) = (&self.rules, &names);
        let step = Step { rules, now, course, event, actions: &actions, names, rolling, until_now };
        self.ledger.note_gates(&self.rules, now);
        self.ledger.check_deploys(&step);
        self.ledger.check_actions(&step);
        self.ledger.note_request(&step, &self.supervisor);
        self.ledger.check_deployed(&step, &self.supervisor);
        self.ledger.check_exit(&step);
        self.ledger.check_course(&step);
        self.ledger.check_sequel(&step, told, &self.supervisor);
        self.ledger.check_state(&step, &self.supervisor);
        self.ledger.note_gates(&self.rules, now);
        actions
    }

    /// The types and their editions as the actions of a step change them, in order; gives what held until everything went
    /// back, where it does.
    fn follow_editions(&mut self, now: Time, actions: &[Action], event: &Event) -> BTreeMap<usize, Member> {
        let mut until_now = BTreeMap::new();
        if let Event::Reread { types } = event
            && self.ledger.awaits_files
        {
            self.ledger.candidate = Some(types.clone());
        }
        for action in actions {
            match action {
                Action::Adopt { .. } => {
                    let types =
                        self.ledger.candidate.clone().expect("adopted is what was read and not discarded");
                    // A type that was gone has nothing that could come back: it will be gone again.
                    let listed = |reread: &&Reread| self.ledger.counts.contains_key(&reread.type_index);
                    let same = types.iter().filter(|reread| reread.program == Program::Same).filter(listed);
                    let same = same.map(|Reread { type_index, .. }| *type_index);
                    self.ledger.amended =
                        same.map(|type_index| (type_index, self.newest_member(type_index).clone())).collect();
                    self.amend(now, &types);
                    Rc::make_mut(&mut self.rules).adopt(&types);
                }
                Action::Announce { notice: Notice::NotDeployed { why, .. }, .. } => {
                    let NotDeployed::TurnedBack { .. } = why else { continue };
                    let program = Program::Same;
                    let earlier = std::mem::take(&mut self.ledger.amended).into_iter();
                    let earlier = earlier.map(|(type_index, member)| Reread { type_index, member, program });
                    let earlier: Vec<Reread> = earlier.collect();
                    let held = |reread: &Reread| self.newest_member(reread.type_index).clone();
                    until_now = earlier.iter().map(|reread| (reread.type_index, held(reread))).collect();
                    Rc::make_mut(&mut self.rules).adopt(&earlier);
                }
                Action::Revert { type_index, edition } => {
                    self.ledger.amended.remove(type_index);
                    Rc::make_mut(&mut self.rules).revert(*type_index, *edition);
                }
                Action::Reserve { type_index } => {
                    assert_eq!(*type_index, self.rules.editions.len(), "it comes after all that there are");
                    Rc::make_mut(&mut self.rules).reserve();
                }
                Action::Stage { type_index, edition, staged } => {
                    let member = self.ledger.staged_member(&self.rules, *staged, event);
                    let rules = Rc::make_mut(&mut self.rules);
                    assert_eq!(rules.editions[*type_index].len(), *edition, "they are counted");
                    rules.editions[*type_index].push(member);
                }
                _other => {}
            }
        }
        until_now
    }

    /// Probes that are others from now on hold for whoever runs the same.
    fn amend(&mut self, now: Time, types: &[Reread]) {
        for Reread { type_index, member, program } in types {
            let newest = self.newest_edition_of(*type_index);
            let lives = self.ledger.lives.iter_mut();
            let lives = lives.filter(|(key, life)| key.type_index == *type_index && life.edition == newest);
            for (key, life) in lives.filter(|(_, life)| *program == Program::Same && life.works()) {
                let before = self.rules.member(*key, life.edition).probes;
                life.pulse.amend(&before, &member.probes, now);
                life.pulse.note_since(now);
            }
        }
    }

    fn newest_edition_of(&self, type_index: usize) -> usize {
        self.rules.editions.get(type_index).map_or(0, |known| known.len() - 1)
    }

    /// Whether a deploy is under way.
    pub(crate) fn is_deploying(&self) -> bool {
        self.ledger.deploying.is_some()
    }

    /// Whether a release is being read.
    pub(crate) fn awaits_release(&self) -> bool {
        self.is_deploying() && self.ledger.reading
    }

    /// Whether it is being written down that a release runs.
    pub(crate) fn is_recording(&self) -> bool {
        self.ledger.is_recording()
    }

    /// The index of a type.
    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.rules.editions.iter().position(|editions| editions[0].name.as_str() == name)
    }

    /// How many types there are.
    pub(crate) fn types(&self) -> usize {
        self.rules.editions.len()
    }

    /// What holds for the next instances of a type.
    pub(crate) fn newest_member(&self, type_index: usize) -> &Member {
        self.rules.editions[type_index].last().expect("an edition")
    }

    /// The backing services that an edition of a type needs.
    pub(crate) fn needs(&self, type_index: usize, edition: usize) -> Vec<String> {
        let needs = &self.rules.editions[type_index][edition].needs;
        needs.iter().map(|need| need.service.clone()).collect()
    }

    pub(crate) fn newest_edition(&self, type_index: usize) -> usize {
        self.newest_edition_of(type_index)
    }

    pub(crate) fn steps(&self) -> u64 {
        self.ledger.steps
    }

    fn rolling(&self) -> BTreeSet<usize> {
        (0..self.rules.editions.len()).filter(|index| self.supervisor.is_rolling(*index)).collect()
    }

    /// Whether descendants of this slot's instances are let be.
    pub(crate) fn leaves(&self, key: SlotKey) -> bool {
        let edition = self.ledger.places.get(&key).map_or(0, |place| place.edition);
        self.rules.member(key, edition).policy.leftovers == Leftovers::Leave
    }

    pub(crate) fn phase(&self, key: SlotKey) -> &Phase {
        let mut slots = self.supervisor.slots();
        slots.find(|(other, _)| *other == key).map_or(&Phase::Stopped, |(_, slot)| slot.phase())
    }

    /// The instances that are alive as far as the supervisor was told, with their slots.
    pub(crate) fn alive(&self) -> impl Iterator<Item = (InstanceId, SlotKey)> {
        self.ledger.lives.iter().map(|(slot, life)| (life.instance, *slot))
    }

    pub(crate) fn newest(&self) -> u64 {
        self.ledger.newest
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ledger.course == Course::Over
    }

    fn key(&self, name: &SlotName) -> SlotKey {
        let position = self.rules.editions.iter().position(|editions| editions[0].name == name.process_type);
        SlotKey { type_index: position.expect("a known type"), number: name.number }
    }
}

/// One step, for its checks.
struct Step<'a> {
    rules: &'a Rules,
    now: Time,
    /// The course before it.
    course: Course,
    event: &'a Event,
    actions: &'a [Action],
    names: &'a BTreeMap<SlotName, SlotKey>,
    /// The types whose instances were or are being replaced.
    rolling: BTreeSet<usize>,
    /// What held for the newest of a type when the event came, where it is amended in this step.
    until_now: BTreeMap<usize, Member>,
}

impl Step<'_> {
    /// Whether everything goes back to what ran before a deploy.
    fn goes_back(&self) -> bool {
        let turned_back = |notice: &Notice| {
            matches!(notice, Notice::NotDeployed { why: NotDeployed::TurnedBack { .. }, .. })
        };
        self.notices().any(turned_back)
    }

    /// What held for an instance when one of the actions was ordered.
    fn member_at(&self, index: usize, key: SlotKey, edition: usize) -> &Member {
        let goes_back = |action: &Action| match action {
            Action::Announce { notice: Notice::NotDeployed { .. }, .. } => true,
            _other => false,
        };
        let until_now =
            if self.actions[..=index].iter().any(goes_back) { None } else { self.until_now(key, edition) };
        until_now.unwrap_or_else(|| self.rules.member(key, edition))
    }

    /// What held for an instance when the event came, where it is amended in this step.
    fn until_now(&self, key: SlotKey, edition: usize) -> Option<&Member> {
        let is_newest = self.rules.editions[key.type_index].len() == edition + 1;
        self.until_now.get(&key.type_index).filter(|_| is_newest)
    }

    fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.actions.iter().filter_map(|action| match action {
            Action::Announce { notice, .. } => Some(notice),
            _ => None,
        })
    }
}

impl Ledger {
    /// Writes down an event before it is handled.
    #[allow(clippy::too_many_lines, reason = "one event after the other")]
    fn note(&mut self, rules: &Rules, now: Time, event: &Event) -> Told {
        let of = |ledger: &Ledger, slot: SlotKey, instance: InstanceId| {
            let life = ledger.lives.get(&slot).copied();
            life.filter(|life| life.instance == instance && life.waits == Waits::StillOn)
        };
        match *event {
            Event::Woke => {
                self.looks = if self.woken == now { self.looks + 1 } else { 0 };
                self.woken = now;
                Told::Other
            }
            Event::Withheld { .. } | Event::ReaderGone => Told::Other,
            Event::Recorded { .. } => {
                if self.is_recording() {
                    Told::Other
                } else {
                    Told::Late
                }
            }
            Event::Asked { type_index, ref missing } => {
                if !self.asking.remove(&type_index) {
                    return Told::Late;
                }
                if missing.is_empty() {
                    self.supplied.insert(type_index);
                } else {
                    self.supplied.remove(&type_index);
                }
                Told::Other
            }
            Event::Probed { slot, instance, probe, ref result } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                if life.works() {
                    let probes = rules.member(slot, life.edition).probes;
                    let pulse = &mut self.life(slot, instance).pulse;
                    pulse.note_result(&probes, now, probe, result);
                    pulse.note_since(now);
                }
                Told::Other
            }
            Event::Told { slot, instance, ref word } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                if life.works() {
                    let probes = rules.member(slot, life.edition).probes;
                    let pulse = &mut self.life(slot, instance).pulse;
                    pulse.note_word(&probes, now, word);
                    pulse.note_since(now);
                }
                Told::Other
            }
            Event::Requested { id, ref request } => {
                if self.course != Course::Over {
                    self.note_asked(now, id, request);
                }
                Told::Other
            }
            Event::Withdrawn { ref ids } => {
                self.asked.retain(|id| !ids.contains(id));
                Told::Other
            }
            Event::Reread { .. } | Event::Unreadable { .. } => {
                let read = std::mem::take(&mut self.reading);
                self.awaits_files = read;
                if read { Told::Other } else { Told::Late }
            }
            Event::Received(signal) => {
                self.note_signal(rules, now, signal);
                Told::Other
            }
            Event::PortTaken { slot, instance, .. } | Event::SignalRefused { slot, instance, .. } => {
                of(self, slot, instance).map_or(Told::Late, |_| Told::Other)
            }
            Event::Spawned { slot, instance, .. } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                if life.stage == Stage::Ordered {
                    let probes = rules.member(slot, life.edition).probes;
                    let life = self.life(slot, instance);
                    (life.stage, life.pulse) = (Stage::Led, Pulse::newborn(&probes, now));
                    let life = *life;
                    // Ordered a moment ago, but born only now.
                    self.place(slot).last_start = Some(now);
                    self.has_run(slot, life.edition);
                    if rules.member(slot, life.edition).found_by == FoundBy::Us {
                        self.ran.insert(slot.type_index);
                    }
                }
                Told::Other
            }
            Event::SpawnFailed { slot, instance, ref error } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                if life.stage != Stage::Ordered {
                    return Told::Other;
                }
                self.lives.remove(&slot);
                if error.kind.code().is_some() {
                    self.has_run(slot, life.edition);
                }
                match (self.course, error.kind.code()) {
                    (Course::Up, _) if self.place(slot).held => Told::Other,
                    (Course::Up, None) => Told::Shortage(slot),
                    (Course::Up, Some(code)) => {
                        self.place(slot).last_code = code;
                        Told::OwnEnd(slot, Duration::ZERO)
                    }
                    (Course::Ending { .. } | Course::Over, _) => Told::Other,
                }
            }
            Event::LeaderExited { slot, instance, status, ref living } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                if life.stage != Stage::Led {
                    return Told::Other;
                }
                let own =
                    life.pulse.condemned.is_some() || (life.deadline.is_none() && life.killed.is_none());
                let uptime = life.pulse.condemned.unwrap_or(now) - life.since;
                self.note_phase_end(slot, life.edition, own.then_some(status));
                if own {
                    let code = if life.pulse.condemned.is_some() { 1 } else { status.shell_code() };
                    self.place(slot).last_code = code;
                }
                let leftovers = rules.member(slot, life.edition).policy.leftovers;
                if living.is_empty() || leftovers == Leftovers::Leave {
                    self.lives.remove(&slot);
                    let counts = life.pulse.condemned.is_none()
                        || (self.course == Course::Up && !self.place(slot).held);
                    if own && counts { Told::OwnEnd(slot, uptime) } else { Told::Other }
                } else {
                    let since = life.pulse.condemned.unwrap_or(now);
                    self.life(slot, instance).stage = Stage::Orphaned { own, since };
                    Told::Other
                }
            }
            Event::Remaining { slot, instance, ref living } => {
                let Some(life) = of(self, slot, instance) else { return Told::Late };
                match life.stage {
                    Stage::Orphaned { own, since } if living.is_empty() => {
                        self.lives.remove(&slot);
                        if own && self.course == Course::Up && !self.place(slot).held {
                            Told::OwnEnd(slot, since - life.since)
                        } else {
                            Told::Other
                        }
                    }
                    Stage::Orphaned { .. } | Stage::Ordered | Stage::Led => Told::Other,
                }
            }
        }
    }

    fn note_signal(&mut self, rules: &Rules, now: Time, signal: Signal) {
        if signal == Signal::QUIT && rules.habits.terminal == Terminal::Present {
            self.haste = Haste::Asked;
        }
        if signal == Signal::INT {
            let first = *self.first_interrupt.get_or_insert(now);
            if now - first >= Duration::from_millis(500) {
                self.haste = Haste::Asked;
            }
        }
    }

    /// Whether every slot is looked at in this step: in a large formation only now and then.
    fn looks_at_all(&self) -> bool {
        let ends = matches!(self.course, Course::Ending { .. });
        match self.scrutiny {
            Scrutiny::Whole => self.places.len() <= MANY || self.steps.is_multiple_of(997),
            // What is left behind by a shutdown is seen by looking.
            Scrutiny::Sampled => ends || self.steps.is_multiple_of(SAMPLE),
        }
    }

    /// Whether all that the supervisor knows is compared with what it knew before.
    fn looks_closely(&self) -> bool {
        match self.scrutiny {
            Scrutiny::Whole => true,
            Scrutiny::Sampled => self.steps.is_multiple_of(SAMPLE),
        }
    }

    /// What the host does with its editions when it adopts what was read.
    fn forget_editions(&mut self, types: &[Reread], keep: &[(usize, usize)]) {
        for Reread { type_index, program, .. } in types {
            let known = self.known.entry(*type_index).or_default();
            let newest = known.last().copied();
            if *program == Program::Changed {
                let lives = self.lives.iter();
                let lived_by = |edition: usize| {
                    lives.clone().any(|(key, life)| key.type_index == *type_index && life.edition == edition)
                };
                known.retain(|edition| {
                    lived_by(*edition) || newest == Some(*edition) || keep.contains(&(*type_index, *edition))
                });
                known.insert(newest.map_or(0, |newest| newest + 1));
            }
        }
    }

    fn life(&mut self, slot: SlotKey, instance: InstanceId) -> &mut Life {
        let life = self.lives.get_mut(&slot).filter(|life| life.instance == instance);
        life.unwrap_or_else(|| panic!("{instance:?} is not alive in {slot:?}"))
    }

    fn place(&mut self, key: SlotKey) -> &mut Place {
        self.places.entry(key).or_default()
    }
}
