//! A world that performs the actions in virtual time: leaders and descendants live, obey, ignore and survive as their
//! [`Script`]s say, and every step is held against the books of the [`ledger`](crate::ledger).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use supervise::api::{
    Answer, ExitStatus, InstanceId, Missing, Notice, Pid, ProbeKind, ProbeResult, Process, Request,
    RequestId, Signal, Verb, When,
};
use supervise::app::{Policy, Timing};
use supervise::supervisor::{
    Action, Event, FoundBy, Habits, Member, Need, Probes, Probing, Program, Reread, SlotKey, Source,
    SpawnError, SpawnErrorKind, Staged, Surge, Time, Whom,
};

use crate::ledger::Checked;
use crate::transcript;

/// The world of one supervisor.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) core: Checked,
    pub(crate) now: Time,
    scripts: BTreeMap<SlotKey, VecDeque<Script>>,
    habit: BTreeMap<usize, Script>,
    /// By type and edition.
    releases: BTreeMap<(usize, usize), Script>,
    beings: BTreeMap<InstanceId, Being>,
    agenda: BTreeMap<(Time, u64), Happening>,
    inbox: VecDeque<Event>,
    unanswered: Vec<Event>,
    next_number: i32,
    next_death: u64,
    next_request: u64,
    exit: Option<u8>,
    /// What can be deployed.
    store: BTreeMap<String, Stored>,
    /// What was read of it, until it is adopted or discarded.
    read: Option<Candidate>,
    /// How long it takes to read a release, and to write down that it runs.
    pub(crate) reading_takes: Duration,
    /// What was written down.
    pub(crate) recorded: Vec<String>,
    /// What the next one-off commands do.
    pub(crate) commands: VecDeque<Script>,
    /// From then on the backing services answer.
    pub(crate) services_from: Time,
    /// What lives do of which nothing else says anything.
    pub(crate) fate: Option<Fate>,
    pub(crate) memory: Memory,
    /// Is told every event and every action, a line each, before anything is held against it.
    pub(crate) listener: Option<fn(String)>,
    /// Every event with its time, and every action that followed.
    pub(crate) history: Vec<(Time, Event)>,
    pub(crate) actions: Vec<Action>,
    said: Vec<String>,
}

/// Lives that are drawn: the next one of a slot, whatever happens in the others.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) seed: u64,
    pub(crate) lives: BTreeMap<SlotKey, u64>,
    /// By the seed of the history, where it is lived, and how many were before it.
    pub(crate) draw: fn(u64, SlotKey, u64) -> Script,
}

/// Whether what was told and ordered is kept, for who looks at it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Everything,
    Nothing,
}

/// A release that can be deployed: its types with what their instances do, and its release phase.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) types: Vec<(Member, Script)>,
    pub(crate) phase: Script,
}

/// One that was read.
#[derive(Clone, Debug)]
struct Candidate {
    types: Vec<Reread>,
    scripts: Vec<Script>,
    phase: Script,
}

/// What one life does.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) birth: Birth,
    /// When the leader ends by itself, and how.
    pub(crate) ends: Option<(Duration, ExitStatus)>,
    pub(crate) leader: Nature,
    /// Who is there beside the leader.
    pub(crate) descendants: Vec<Descendant>,
    /// So many are born while the first SIGKILL is on its way.
    pub(crate) born_while_killing: u32,
    pub(crate) signals: Signals,
    /// What it answers to a probe; well, where nothing is said.
    pub(crate) answers: BTreeMap<ProbeKind, Answers>,
}

/// What an instance answers to a probe, one try after the other; the last answer is repeated.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// How long each takes.
    pub(crate) takes: Duration,
    pub(crate) results: Vec<bool>,
}

/// What becomes of a spawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    Runs,
    /// It runs, and the answer waits until [`World::answer`].
    RunsUnanswered,
    Fails(SpawnErrorKind),
}

/// What a process makes of signals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// How long after the stop signal it ends, and how; `None` for one that ignores it.
    pub(crate) stop: Option<(Duration, ExitStatus)>,
    /// How long after SIGKILL it is gone; `None` for one that survives.
    pub(crate) kill: Option<Duration>,
}

/// A process beside the leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descendant {
    pub(crate) nature: Nature,
    pub(crate) place: Place,
}

/// Whether it is in the leader's process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Group,
    Stray,
}

/// Whether the system lets us signal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signals {
    Reach,
    Refused,
}

/// A living instance.
#[derive(Clone, Debug)]
struct Being {
    slot: SlotKey,
    /// Whether what it leaves behind is let be, as far as was known when it was born.
    leaves: bool,
    leader: Pid,
    leader_lives: bool,
    nature: Nature,
    members: BTreeMap<Pid, Descendant>,
    born_while_killing: u32,
    signals: Signals,
    answers: BTreeMap<ProbeKind, Answers>,
}

/// Something that happens by itself.
#[derive(Clone, Debug)]
enum Happening {
    Death(Death),
    /// A probe or a service was answered.
    Answer(Event),
}

#[derive(Clone, Copy, Debug)]
struct Death {
    instance: InstanceId,
    pid: Pid,
    status: ExitStatus,
}

pub(crate) const OBEDIENT: Nature =
    Nature { stop: Some((Duration::ZERO, TERMINATED)), kill: Some(Duration::ZERO) };
pub(crate) const STUBBORN: Nature = Nature { stop: None, kill: Some(Duration::ZERO) };
pub(crate) const UNKILLABLE: Nature = Nature { stop: None, kill: None };
const TERMINATED: ExitStatus = ExitStatus::Signal { signal: Signal::TERM, core_dumped: false };
const KILLED: ExitStatus = ExitStatus::Signal { signal: Signal::KILL, core_dumped: false };

impl Script {
    /// Runs until it is asked to end, and then ends at once.
    pub(crate) fn runs() -> Script {
        Script {
            birth: Birth::Runs,
            ends: None,
            leader: OBEDIENT,
            descendants: Vec::new(),
            born_while_killing: 0,
            signals: Signals::Reach,
            answers: BTreeMap::new(),
        }
    }

    /// It answers a probe so, at once.
    pub(crate) fn answering(self, probe: ProbeKind, results: &[bool]) -> Script {
        self.answering_after(Duration::ZERO, probe, results)
    }

    /// It takes so long to answer a probe so.
    pub(crate) fn answering_after(mut self, takes: Duration, probe: ProbeKind, results: &[bool]) -> Script {
        self.answers.insert(probe, Answers { takes, results: results.to_vec() });
        self
    }

    /// Its leader exits by itself.
    pub(crate) fn exits(after: Duration, code: u8) -> Script {
        Script { ends: Some((after, ExitStatus::Code(code))), ..Script::runs() }
    }

    /// There never is a process.
    pub(crate) fn fails(kind: SpawnErrorKind) -> Script {
        Script { birth: Birth::Fails(kind), ..Script::runs() }
    }

    pub(crate) fn led_by(self, leader: Nature) -> Script {
        Script { leader, ..self }
    }

    /// Somebody else of the leader's process group.
    pub(crate) fn with(mut self, nature: Nature) -> Script {
        self.descendants.push(Descendant { nature, place: Place::Group });
        self
    }
}

/// A process that ends so long after the stop signal, with code 0.
pub(crate) fn obeys_after(delay: Duration) -> Nature {
    Nature { stop: Some((delay, ExitStatus::Code(0))), kill: Some(Duration::ZERO) }
}

/// A process that is gone only so long after SIGKILL.
pub(crate) fn dies_hard(delay: Duration) -> Nature {
    Nature { stop: None, kill: Some(delay) }
}

/// A type as far as these stories need one: found by us, with the default policy.
pub(crate) fn member(name: &str, quantity: u32) -> Member {
    let name = name.parse().expect("a type's name");
    let (release, policy) = ("dev".to_owned(), Policy::default());
    let (after, found_by) = (Vec::new(), FoundBy::Us);
    Member {
        name,
        release,
        quantity,
        max: None,
        policy,
        after,
        first_port: None,
        surge: Surge::Forbidden,
        probes: Probes::default(),
        needs: Vec::new(),
        found_by,
    }
}

/// The same, which waits for other types.
pub(crate) fn after(member: Member, first: &[&str]) -> Member {
    let first = first.iter().map(|name| name.parse().expect("a type's name"));
    Member { after: first.collect(), ..member }
}

/// The same, which is asked.
pub(crate) fn probed(mut member: Member, probe: ProbeKind, timing: Timing) -> Member {
    let rule = Some(Probing { source: Source::Asked, timing });
    match probe {
        ProbeKind::Startup => member.probes.startup = rule,
        ProbeKind::Readiness => member.probes.readiness = rule,
        ProbeKind::Liveness => member.probes.liveness = rule,
    }
    member
}

/// The same, which says so by itself.
pub(crate) fn telling(member: Member, probe: ProbeKind, timing: Timing) -> Member {
    let mut member = probed(member, probe, timing);
    let rules = [&mut member.probes.startup, &mut member.probes.readiness, &mut member.probes.liveness];
    if let Some(rule) = &mut *rules[probe as usize] {
        rule.source = Source::Told;
    }
    member
}

/// The same, which needs a backing service.
pub(crate) fn needing(mut member: Member, wait: Duration) -> Member {
    member.needs.push(Need { service: "DATABASE_URL".to_owned(), wait });
    member
}

/// The same with another policy.
pub(crate) fn with(mut member: Member, change: impl FnOnce(&mut Policy)) -> Member {
    change(&mut member.policy);
    member
}

/// The slot of a type's index and its number.
pub(crate) fn slot(type_index: usize, number: u32) -> SlotKey {
    SlotKey { type_index, number }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    pub(crate) fn new(members: Vec<Member>) -> World {
        World::with_habits(members, Habits::default())
    }

    pub(crate) fn with_habits(members: Vec<Member>, habits: Habits) -> World {
        World::seeded(members, habits, 1)
    }

    pub(crate) fn seeded(members: Vec<Member>, habits: Habits, seed: u64) -> World {
        World {
            core: Checked::new(members, habits, seed, Time::ZERO),
            now: Time::ZERO,
            scripts: BTreeMap::new(),
            habit: BTreeMap::new(),
            releases: BTreeMap::new(),
            beings: BTreeMap::new(),
            agenda: BTreeMap::new(),
            inbox: VecDeque::new(),
            unanswered: Vec::new(),
            next_number: 100,
            next_death: 0,
            next_request: 0,
            exit: None,
            store: BTreeMap::new(),
            read: None,
            reading_takes: ms(100),
            recorded: Vec::new(),
            commands: VecDeque::new(),
            services_from: Time::ZERO,
            fate: None,
            memory: Memory::Everything,
            listener: None,
            history: Vec::new(),
            actions: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The next lives of a slot, one after the other; then those of its type.
    pub(crate) fn script(mut self, slot: SlotKey, lives: impl IntoIterator<Item = Script>) -> World {
        self.scripts.entry(slot).or_default().extend(lives);
        self
    }

    /// Every life of a type that has no script of its own.
    pub(crate) fn habit(mut self, type_index: usize, script: Script) -> World {
        self.habit.insert(type_index, script);
        self
    }

    /// From now on this release can be deployed.
    pub(crate) fn keep(&mut self, release: &str, stored: Stored) {
        self.store.insert(release.to_owned(), stored);
    }

    /// Whether a release is being read, or its release phase runs.
    pub(crate) fn is_deploying(&self) -> bool {
        self.core.is_deploying()
    }

    fn read(&mut self, release: &str) -> Event {
        let Some(Stored { types, phase }) = self.store.get(release).cloned() else {
            return Event::Unreadable { errors: format!("there is no release `{release}`") };
        };
        let mut unknown = self.core.types();
        let (mut rereads, mut scripts) = (Vec::new(), Vec::new());
        for (member, script) in types {
            let member = Member { release: release.to_owned(), ..member };
            let known = self.core.index_of(member.name.as_str());
            let type_index = known.unwrap_or_else(|| {
                unknown += 1;
                unknown - 1
            });
            let same = known.is_some_and(|known| self.core.newest_member(known).release == release);
            let program = if same { Program::Same } else { Program::Changed };
            rereads.push(Reread { type_index, member, program });
            scripts.push(script);
        }
        self.read = Some(Candidate { types: rereads.clone(), scripts, phase });
        Event::Reread { types: rereads }
    }

    /// From now on every life is as its release is.
    pub(crate) fn forget_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Every life of the first edition of a type, and of those that it comes back as.
    pub(crate) fn first_release(&mut self, type_index: usize, script: Script) {
        self.releases.insert((type_index, 0), script);
    }

    /// Every life of the next edition of a type, and of those that it comes back as.
    pub(crate) fn next_release(&mut self, type_index: usize, script: Script) {
        let next = self.core.newest_edition(type_index) + 1;
        self.releases.insert((type_index, next), script);
    }

    /// What was ordered since the last time, with its time in seconds; and nothing else was.
    #[track_caller]
    pub(crate) fn saw(&mut self, lines: &[&str]) {
        let said = std::mem::take(&mut self.said);
        assert_eq!(said, lines, "\nordered:\n{}\nexpected:\n{}\n", said.join("\n"), lines.join("\n"));
    }

    /// What was ordered since the last time, with its time in seconds.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Forgets what was ordered so far.
    pub(crate) fn skip(&mut self) -> &mut World {
        self.said.clear();
        self
    }

    /// A signal to the supervisor.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.tell(Event::Received(signal));
    }

    /// Somebody asks for something, and wants an answer at once.
    pub(crate) fn ask(&mut self, verb: Verb) -> Answer {
        let id = self.request(verb, When::Accepted);
        self.answer_to(id).expect("it was answered at once")
    }

    /// Somebody asks for something that is answered later, and forgets about it.
    pub(crate) fn ask_later(&mut self, verb: Verb) {
        self.request(verb, When::Accepted);
    }

    /// Somebody asks for something.
    pub(crate) fn request(&mut self, verb: Verb, answer: When) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.tell(Event::Requested { id, request: Request { verb, answer } });
        id
    }

    /// The answer to a request, if there was one.
    pub(crate) fn answer_to(&self, id: RequestId) -> Option<Answer> {
        self.actions.iter().find_map(|action| match action {
            Action::Reply { id: other, answer } if *other == id => Some(answer.clone()),
            _ => None,
        })
    }

    /// An event, and all that follows from it at once.
    pub(crate) fn tell(&mut self, event: Event) {
        self.inbox.push_back(event);
        while let Some(event) = self.inbox.pop_front() {
            self.report(&event);
            let actions = self.core.handle(self.now, &event);
            for action in &actions {
                self.perform(action);
            }
            self.remember(event, actions);
        }
    }

    /// The formation and what can be deployed, a type a line.
    pub(crate) fn told_first(&self) -> String {
        let types =
            (0..self.core.types()).map(|type_index| format!("{:?}", self.core.newest_member(type_index)));
        let stored = self.store.iter().flat_map(|(release, stored)| {
            stored.types.iter().map(move |(member, _)| format!("{release}: {member:?}"))
        });
        types.chain(stored).collect::<Vec<_>>().join("\n")
    }

    fn report(&self, event: &Event) {
        if let Some(listener) = self.listener {
            listener(format!("{} {event:?}", self.now));
            for action in self.core.supervisor.clone().handle(self.now, event.clone()) {
                let name = |key| self.core.supervisor.name(key);
                listener(format!("        {}", transcript::line(&action, name)));
            }
        }
    }

    fn remember(&mut self, event: Event, actions: Vec<Action>) {
        if self.memory == Memory::Nothing {
            return;
        }
        self.history.push((self.now, event));
        for action in actions {
            let name = |key| self.core.supervisor.name(key);
            let seconds = (self.now - Time::ZERO).as_secs_f64();
            self.said.push(format!("{seconds:.3} {}", transcript::line(&action, name)));
            self.actions.push(action);
        }
    }

    /// Gives the answers that were held back.
    pub(crate) fn answer(&mut self) {
        for event in std::mem::take(&mut self.unanswered) {
            self.tell(event);
        }
    }

    /// Lets so much time pass, with everything that happens in it.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.next_moment().is_some_and(|moment| moment <= end) {
            self.turn();
        }
        self.now = end;
    }

    /// Lets so much time pass in which nobody looks: deadlines come and go.
    pub(crate) fn oversleep(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Whatever happens next: a process ends, or the supervisor's deadline comes. Nothing, if nothing will.
    pub(crate) fn turn(&mut self) {
        let Some(moment) = self.next_moment() else { return };
        self.now = self.now.max(moment);
        let happens = self.agenda.first_key_value().is_some_and(|((time, _), _)| *time <= self.now);
        if happens && let Some((_, happening)) = self.agenda.pop_first() {
            match happening {
                Happening::Death(death) => self.die(death),
                Happening::Answer(event) => self.tell(event),
            }
        } else {
            self.tell(Event::Woke);
        }
    }

    /// Runs to the exit, and gives its code.
    #[track_caller]
    pub(crate) fn run_to_exit(&mut self) -> u8 {
        while self.exit.is_none() {
            assert!(self.next_moment().is_some(), "nothing will ever happen: {self:#?}");
            self.turn();
        }
        self.exit.expect("looked at above")
    }

    /// The exit code, if there was an exit.
    pub(crate) fn exit(&self) -> Option<u8> {
        self.exit
    }

    /// Everything that was announced, in order.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.actions.iter().filter_map(|action| match action {
            Action::Announce { notice, .. } => Some(notice),
            _ => None,
        })
    }

    /// Every start, in order: where, and of which edition.
    pub(crate) fn spawned(&self) -> impl Iterator<Item = (SlotKey, usize)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Spawn { slot, edition, .. } => Some((*slot, *edition)),
            _ => None,
        })
    }

    /// How many instances are alive, those aside of which only what was let be is.
    pub(crate) fn survivors(&self) -> usize {
        self.beings.values().filter(|being| being.leader_lives || !being.leaves).count()
    }

    /// The processes of an instance that are alive.
    pub(crate) fn living(&self, instance: InstanceId) -> Vec<Process> {
        self.beings.get(&instance).map(Being::living).unwrap_or_default()
    }

    fn next_moment(&self) -> Option<Time> {
        if self.exit.is_some() {
            return None;
        }
        let death = self.agenda.first_key_value().map(|((time, _), _)| *time);
        death.into_iter().chain(self.core.supervisor.deadline()).min()
    }

    fn perform(&mut self, action: &Action) {
        assert_eq!(self.exit, None, "nothing is ordered after the exit: {action:?}");
        match action {
            Action::Spawn { slot, instance, edition } => self.spawn(*slot, *instance, *edition),
            // What it makes of a signal of somebody's is its own affair, unless it is the one that it obeys.
            Action::Signal { .. } => {}
            Action::Stop { slot, instance, target, signal } => {
                self.send(*slot, *instance, *target, *signal, |nature| nature.stop);
            }
            Action::Kill { slot, instance, target } => {
                self.send(*slot, *instance, *target, Signal::KILL, |nature| {
                    nature.kill.map(|delay| (delay, KILLED))
                });
                if *target == Whom::Everyone {
                    self.bear(*instance);
                }
            }
            Action::Look { slot, instance } => {
                let living = self.living(*instance);
                self.inbox.push_back(Event::Remaining { slot: *slot, instance: *instance, living });
            }
            Action::Exit { code, .. } => self.exit = Some(*code),
            Action::Probe { slot, instance, probe } => self.probe(*slot, *instance, *probe),
            Action::Ask { type_index, edition } => {
                let needs = self.core.needs(*type_index, *edition);
                let missing = |service| Missing { service, place: "there".into(), why: "refused".into() };
                let missing = needs.into_iter().filter(|_| self.now < self.services_from).map(missing);
                let answer = Event::Asked { type_index: *type_index, missing: missing.collect() };
                self.schedule(Duration::ZERO, Happening::Answer(answer));
            }
            Action::Revert { type_index, edition } => {
                let earlier = self.releases.get(&(*type_index, *edition)).cloned();
                let newest = (*type_index, self.core.newest_edition(*type_index));
                self.releases.extend(earlier.map(|script| (newest, script)));
            }
            Action::Prepare { release } => {
                let event = self.read(release);
                self.schedule(self.reading_takes, Happening::Answer(event));
            }
            Action::Adopt { .. } => {
                let Some(Candidate { types, scripts, .. }) = self.read.take() else { return };
                for (Reread { type_index, program, .. }, script) in types.into_iter().zip(scripts) {
                    if program == Program::Changed {
                        let newest = (type_index, self.core.newest_edition(type_index));
                        self.releases.insert(newest, script);
                    }
                }
            }
            Action::Discard => self.read = None,
            Action::Stage { type_index, edition, staged } => {
                let script = match (staged, &self.read) {
                    (Staged::Asked(_), _) => self.commands.pop_front().unwrap_or_else(Script::runs),
                    (Staged::ReleasePhase, read) => read.as_ref().expect("it was read").phase.clone(),
                };
                self.releases.insert((*type_index, *edition), script);
            }
            Action::Record { release } => {
                self.recorded.push(release.clone());
                self.schedule(self.reading_takes, Happening::Answer(Event::Recorded { error: None }));
            }
            Action::Pass { .. }
            | Action::Reread
            | Action::Reserve { .. }
            | Action::Reply { .. }
            | Action::Suspend
            | Action::Resume
            | Action::Announce { .. }
            | Action::ReadOn => {}
        }
    }

    fn spawn(&mut self, slot: SlotKey, instance: InstanceId, edition: usize) {
        let script = self.scripts.get_mut(&slot).and_then(VecDeque::pop_front);
        let script = script.or_else(|| self.releases.get(&(slot.type_index, edition)).cloned());
        let script = script.or_else(|| self.habit.get(&slot.type_index).cloned());
        let script = script.or_else(|| self.fate.as_mut().map(|fate| fate.next(slot)));
        let script = script.unwrap_or_else(Script::runs);
        if let Birth::Fails(kind) = script.birth {
            let error = SpawnError { kind, message: format!("{kind:?}") };
            self.inbox.push_back(Event::SpawnFailed { slot, instance, error });
            return;
        }
        let leader = self.new_pid();
        let members = script.descendants.iter().map(|descendant| (self.new_pid(), *descendant)).collect();
        let being = Being {
            slot,
            leaves: self.core.leaves(slot),
            leader,
            leader_lives: true,
            nature: script.leader,
            members,
            born_while_killing: script.born_while_killing,
            signals: script.signals,
            answers: script.answers,
        };
        self.beings.insert(instance, being);
        if let Some((after, status)) = script.ends {
            self.schedule(after, Happening::Death(Death { instance, pid: leader, status }));
        }
        let answer = Event::Spawned { slot, instance, pid: leader };
        match script.birth {
            Birth::RunsUnanswered => self.unanswered.push(answer),
            Birth::Runs | Birth::Fails(_) => self.inbox.push_back(answer),
        }
    }

    fn probe(&mut self, slot: SlotKey, instance: InstanceId, probe: ProbeKind) {
        let Some(being) = self.beings.get_mut(&instance) else { return };
        let (takes, passes) = match being.answers.get_mut(&probe) {
            None => (Duration::ZERO, true),
            Some(Answers { takes, results }) => {
                let next = if results.len() > 1 { results.remove(0) } else { results[0] };
                (*takes, next)
            }
        };
        let why = "refused".to_owned();
        let result = if passes { ProbeResult::Passed } else { ProbeResult::Failed { why } };
        self.schedule(takes, Happening::Answer(Event::Probed { slot, instance, probe, result }));
    }

    fn send(
        &mut self,
        slot: SlotKey,
        instance: InstanceId,
        target: Whom,
        signal: Signal,
        reaction: impl Fn(Nature) -> Option<(Duration, ExitStatus)>,
    ) {
        let Some(being) = self.beings.get(&instance) else { return };
        if being.signals == Signals::Refused {
            let error = "EPERM".to_owned();
            self.inbox.push_back(Event::SignalRefused { slot, instance, signal, error });
            return;
        }
        let meant = |place| match target {
            Whom::Leader => false,
            Whom::Group => place == Place::Group,
            Whom::Everyone => true,
            Whom::Strays => place == Place::Stray,
        };
        let leader = (being.leader_lives && target != Whom::Strays).then_some((being.leader, being.nature));
        let others = being.members.iter().filter(|(_, other)| meant(other.place));
        let others = others.map(|(pid, other)| (*pid, other.nature));
        let deaths: Vec<(Duration, Death)> = leader
            .into_iter()
            .chain(others)
            .filter_map(|(pid, nature)| {
                reaction(nature).map(|(delay, status)| (delay, Death { instance, pid, status }))
            })
            .collect();
        for (delay, death) in deaths {
            self.schedule(delay, Happening::Death(death));
        }
    }

    /// Those who are born while the first SIGKILL is on its way.
    fn bear(&mut self, instance: InstanceId) {
        let Some(being) = self.beings.get_mut(&instance) else { return };
        for _ in 0..std::mem::take(&mut being.born_while_killing) {
            self.next_number += 1;
            let pid = Pid::new(self.next_number).expect("small numbers are pids");
            being.members.insert(pid, Descendant { nature: STUBBORN, place: Place::Group });
        }
    }

    fn schedule(&mut self, delay: Duration, happening: Happening) {
        // In the order in which they were decided, where they fall together.
        self.next_death += 1;
        self.agenda.insert((self.now + delay, self.next_death), happening);
    }

    fn die(&mut self, Death { instance, pid, status }: Death) {
        let Some(being) = self.beings.get_mut(&instance) else { return };
        let slot = being.slot;
        let event = if being.leader == pid && being.leader_lives {
            being.leader_lives = false;
            Event::LeaderExited { slot, instance, status, living: being.living() }
        } else if being.members.remove(&pid).is_some() && !being.leader_lives {
            Event::Remaining { slot, instance, living: being.living() }
        } else {
            return;
        };
        if !being.leader_lives && being.members.is_empty() {
            self.beings.remove(&instance);
        }
        self.tell(event);
    }

    fn new_pid(&mut self) -> Pid {
        self.next_number += 1;
        Pid::new(self.next_number).expect("small numbers are pids")
    }
}

impl Fate {
    fn next(&mut self, slot: SlotKey) -> Script {
        let lived = self.lives.entry(slot).or_default();
        *lived += 1;
        (self.draw)(self.seed, slot, *lived)
    }
}

impl Being {
    fn living(&self) -> Vec<Process> {
        let leader = self.leader_lives.then_some(self.leader);
        let pids = self.members.keys().copied().chain(leader);
        pids.map(|pid| Process { pid, name: "app".to_owned() }).collect()
    }
}
