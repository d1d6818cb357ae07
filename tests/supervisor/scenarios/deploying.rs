//! Everything changes to another release, or nothing does; and commands that run once, beside the formation.

use std::collections::{BTreeMap, VecDeque};

use supervise::api::{
    Answer, Change, ExitStatus, InstanceId, Manner, Missing, Notice, Pid, Process, Refusal, Request,
    RequestId, Signal, TypeName, Verb, When,
};
use supervise::app::Restart;
use supervise::supervisor::{
    Action, Event, FailFast, Habits, Hangup, Member, Need, Program, Reread, SlotKey, Staged, Supervisor, Time,
};

use crate::fake_host::{member, ms, with};

/// A host whose programs are told by the release that they are of: each works for ever, or ends with a code after a while.
struct Host {
    core: Supervisor,
    now: Time,
    facts: VecDeque<(Time, Event)>,
    /// What becomes of a release's programs: the code that they end with, and when.
    fates: BTreeMap<String, (u64, u8)>,
    /// By type and edition: its release.
    editions: BTreeMap<(usize, usize), String>,
    names: Vec<String>,
    /// What the store has.
    store: BTreeMap<String, Vec<Member>>,
    candidate: Option<(String, Vec<Reread>)>,
    recorded: Vec<String>,
    alive: BTreeMap<InstanceId, SlotKey>,
    said: Vec<String>,
    answers: Vec<(RequestId, Answer)>,
    requests: u64,
    exit: Option<u8>,
    /// How who is asked to end does; nobody does where there is nothing.
    farewell: Option<ExitStatus>,
    /// From then on the backing services answer.
    services_from: Time,
}

fn of(release: &str, members: impl IntoIterator<Item = Member>) -> Vec<Member> {
    members.into_iter().map(|member| Member { release: release.to_owned(), ..member }).collect()
}

impl Host {
    fn new(release: &str, members: Vec<Member>) -> Host {
        Host::with_habits(release, members, Habits::default())
    }

    fn with_habits(release: &str, members: Vec<Member>, habits: Habits) -> Host {
        let members = of(release, members);
        let names = members.iter().map(|member| member.name.to_string()).collect();
        let editions = (0..members.len()).map(|index| ((index, 0), release.to_owned())).collect();
        let core = Supervisor::new(members, habits, 1, Time::ZERO);
        Host {
            core,
            now: Time::ZERO,
            facts: VecDeque::new(),
            fates: BTreeMap::new(),
            editions,
            names,
            store: BTreeMap::new(),
            candidate: None,
            recorded: Vec::new(),
            alive: BTreeMap::new(),
            said: Vec::new(),
            answers: Vec::new(),
            requests: 0,
            exit: None,
            services_from: Time::ZERO,
            farewell: Some(ExitStatus::Signal { signal: Signal::TERM, core_dumped: false }),
        }
    }

    fn keep(mut self, release: &str, members: Vec<Member>) -> Host {
        self.store.insert(release.to_owned(), of(release, members));
        self
    }

    /// Programs of this release (of a type: `web@v2`) end with this code after so many milliseconds.
    fn doom(mut self, whose: &str, after_ms: u64, code: u8) -> Host {
        self.fates.insert(whose.to_owned(), (after_ms, code));
        self
    }

    fn newest(&self, type_index: usize) -> usize {
        let last = self.editions.range((type_index, 0)..(type_index + 1, 0)).next_back();
        last.map_or(0, |((_, edition), _)| *edition)
    }

    fn ask(&mut self, verb: Verb, answer: When) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.tell(Event::Requested { id, request: Request { verb, answer } });
        id
    }

    fn answer(&self, id: RequestId) -> Option<&Answer> {
        let mut all = self.answers.iter().filter(|(other, _)| *other == id).map(|(_, answer)| answer);
        let answer = all.next();
        assert!(all.next().is_none(), "one answer to {id:?}");
        answer
    }

    fn read(&mut self, release: &str) -> Event {
        let Some(members) = self.store.get(release) else {
            return Event::Unreadable { errors: format!("there is no release `{release}`") };
        };
        let mut unknown = self.names.len();
        let reread = |member: &Member| {
            let known = self.names.iter().position(|name| *name == member.name.to_string());
            let type_index = known.unwrap_or_else(|| {
                unknown += 1;
                unknown - 1
            });
            let newest = self.editions.get(&(type_index, self.newest(type_index)));
            let program = if newest.is_some_and(|newest| *newest == member.release) {
                Program::Same
            } else {
                Program::Changed
            };
            Reread { type_index, member: member.clone(), program }
        };
        let types: Vec<Reread> = members.iter().map(reread).collect();
        self.candidate = Some((release.to_owned(), types.clone()));
        Event::Reread { types }
    }

    fn tell(&mut self, event: Event) {
        for action in self.core.handle(self.now, event) {
            let now = self.now;
            match action {
                Action::Spawn { slot, instance, edition } => {
                    let pid = Pid::new(i32::try_from(100 + instance.0).expect("small")).expect("above 1");
                    let release = self.editions[&(slot.type_index, edition)].clone();
                    let name = &self.names[slot.type_index];
                    self.said.push(format!("{now} {name}.{} of {release}", slot.number));
                    assert!(self.alive.values().all(|other| *other != slot), "one life in a slot");
                    self.alive.insert(instance, slot);
                    self.facts.push_back((now, Event::Spawned { slot, instance, pid }));
                    let fate = self.fates.get(&format!("{name}@{release}")).or(self.fates.get(&release));
                    if let Some((after, code)) = fate {
                        let status = ExitStatus::Code(*code);
                        let ends = Event::LeaderExited { slot, instance, status, living: Vec::new() };
                        self.facts.push_back((now + ms(*after), ends));
                    }
                }
                Action::Stop { slot, instance, .. } => {
                    let Some(status) = self.farewell else { continue };
                    let ends = Event::LeaderExited { slot, instance, status, living: Vec::new() };
                    self.facts.push_back((now, ends));
                }
                Action::Look { slot, instance } => {
                    let pid = Pid::new(i32::try_from(100 + instance.0).expect("small")).expect("above 1");
                    let living = vec![Process { pid, name: "app".to_owned() }];
                    self.facts.push_back((now, Event::Remaining { slot, instance, living }));
                }
                Action::Announce { notice, .. } => match &notice {
                    Notice::DeployBegan { .. }
                    | Notice::ReleasePhase { .. }
                    | Notice::Deployed { .. }
                    | Notice::NotDeployed { .. }
                    | Notice::NotRecorded { .. }
                    | Notice::ReloadFailed { .. }
                    | Notice::Failed { .. }
                    | Notice::Completed { .. } => self.said.push(format!("{now} {notice}")),
                    _other => {}
                },
                Action::Reply { id, answer } => self.answers.push((id, answer)),
                Action::Prepare { release } => {
                    let event = self.read(&release);
                    self.facts.push_back((now, event));
                }
                Action::Adopt { .. } => {
                    let (release, types) = self.candidate.take().expect("what was read and not discarded");
                    for Reread { type_index, member, program } in types {
                        if type_index == self.names.len() {
                            self.names.push(member.name.to_string());
                            self.editions.insert((type_index, 0), release.clone());
                        } else if program == Program::Changed {
                            let next = self.newest(type_index) + 1;
                            self.editions.insert((type_index, next), release.clone());
                        }
                    }
                }
                Action::Discard => self.candidate = None,
                Action::Revert { type_index, edition } => {
                    let earlier = self.editions[&(type_index, edition)].clone();
                    let next = self.newest(type_index) + 1;
                    self.editions.insert((type_index, next), earlier);
                }
                Action::Reserve { type_index } => {
                    assert_eq!(type_index, self.names.len());
                    self.names.push("run".to_owned());
                }
                Action::Stage { type_index, edition, staged } => {
                    let what = match staged {
                        Staged::Asked(_) => "asked".to_owned(),
                        Staged::ReleasePhase => {
                            let (release, types) = self.candidate.as_ref().expect("it was read");
                            assert!(types.iter().any(|reread| reread.member.name.as_str() == "release"));
                            format!("phase@{release}")
                        }
                    };
                    self.editions.insert((type_index, edition), what);
                }
                Action::Record { release } => {
                    self.recorded.push(release);
                    self.facts.push_back((now, Event::Recorded { error: None }));
                }
                Action::Exit { code, .. } => self.exit = Some(code),
                Action::Ask { type_index, .. } => {
                    let missing = Missing {
                        service: "DATABASE_URL".to_owned(),
                        place: "postgres at db:5432".to_owned(),
                        why: "refused".to_owned(),
                    };
                    let missing = if now < self.services_from { vec![missing] } else { Vec::new() };
                    self.facts.push_back((now, Event::Asked { type_index, missing }));
                }
                _other => {}
            }
        }
    }

    /// Whatever happens in so much time.
    fn pass(&mut self, millis: u64) -> &mut Host {
        let end = self.now + ms(millis);
        loop {
            self.facts.make_contiguous().sort_by_key(|(when, _)| *when);
            let fact = self.facts.front().map(|(when, _)| *when).filter(|when| *when <= end);
            let due = self.core.deadline().filter(|due| *due <= end);
            match (fact, due) {
                (Some(fact), due) if due.is_none_or(|due| fact <= due.max(self.now)) => {
                    self.now = self.now.max(fact);
                    let (_, event) = self.facts.pop_front().expect("it is there");
                    if let Event::LeaderExited { instance, .. } = &event
                        && self.alive.remove(instance).is_none()
                    {
                        continue;
                    }
                    self.tell(event);
                }
                (_, Some(due)) => {
                    self.now = self.now.max(due);
                    self.tell(Event::Woke);
                }
                (_, None) => break,
            }
        }
        self.now = end;
        self
    }

    /// Which release each slot runs, by name.
    fn runs(&self) -> Vec<String> {
        let status = self.core.status(self.now);
        let each = status.processes.iter().map(|one| format!("{} {} {}", one.name, one.state, one.release));
        each.collect()
    }

    fn deploy(&mut self, release: &str) -> RequestId {
        self.ask(Verb::Deploy { release: release.to_owned() }, When::Happened)
    }

    fn take_said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}

fn phase() -> Member {
    Member { quantity: 0, ..member("release", 0) }
}

fn name(text: &str) -> TypeName {
    text.parse().expect("a name")
}

fn code(answer: Option<&Answer>) -> &'static str {
    answer.expect("it is answered").as_ref().err().map_or("accepted", Refusal::code)
}

#[test]
fn the_type_release_runs_first_and_then_every_type_is_replaced() {
    let types = || vec![phase(), member("web", 2), member("worker", 1)];
    let mut host = Host::new("v1", types()).keep("v2", types()).doom("run@phase@v2", 700, 0);
    host.pass(5_000).take_said();
    let id = host.deploy("v2");
    host.pass(600);
    assert_eq!(
        host.take_said(),
        [
            "5s deploying v2, from v1",
            "5s v2: its type `release` runs first, as run.1",
            "5s run.1 of phase@v2"
        ]
    );
    assert_eq!(
        host.runs(),
        ["web.1 running v1", "web.2 running v1", "worker.1 running v1", "run.1 running v2"]
    );
    host.pass(20_000);
    assert_eq!(host.runs(), ["web.1 running v2", "web.2 running v2", "worker.1 running v2"]);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.recorded, ["v2"]);
    let said = host.take_said();
    assert!(said.last().is_some_and(|last| last.contains("v2 runs everywhere after")), "{said:#?}");
}

#[test]
fn a_release_phase_after_which_nothing_is_to_be_replaced_is_the_last_that_is_waited_for() {
    let types = || vec![phase(), member("web", 2)];
    let mut host = Host::new("v1", types()).keep("v1", types()).doom("run@phase@v1", 700, 0);
    host.pass(5_000).take_said();
    // The same release once more: only its release phase runs.
    let id = host.deploy("v1");
    host.pass(20_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.recorded, ["v1"]);
    let said = host.take_said();
    assert!(said.last().is_some_and(|last| last.contains("v1 runs everywhere after 700ms")), "{said:#?}");
}

#[test]
fn a_release_phase_that_fails_changes_nothing_else() {
    let types = || vec![phase(), member("web", 2)];
    let mut host = Host::new("v1", types()).keep("v2", types()).doom("run@phase@v2", 700, 3);
    host.pass(5_000).take_said();
    let id = host.deploy("v2");
    host.pass(20_000);
    assert_eq!(host.runs(), ["web.1 running v1", "web.2 running v1"]);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.recorded, [""; 0]);
    let said = host.take_said();
    let expected = "v2 was not deployed: its type `release` failed as run.1, so nothing else was changed";
    assert!(said.last().is_some_and(|last| last.ends_with(expected)), "{said:#?}");
    // The next one is another try.
    let mut host = host.keep("v3", types()).doom("run@phase@v3", 10, 0);
    let id = host.deploy("v3");
    host.pass(20_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.runs(), ["web.1 running v3", "web.2 running v3"]);
}

#[test]
fn one_type_that_does_not_work_brings_all_of_them_back() {
    let types = || vec![member("web", 2), member("worker", 3)];
    let mut host = Host::new("v1", types()).keep("v2", types()).doom("worker@v2", 50, 1);
    host.pass(5_000).take_said();
    let id = host.deploy("v2");
    host.pass(60_000);
    let back = [
        "web.1 running v1",
        "web.2 running v1",
        "worker.1 running v1",
        "worker.2 running v1",
        "worker.3 running v1",
    ];
    assert_eq!(host.runs(), back);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.recorded, [""; 0]);
    let said = host.take_said();
    let why = "v2 was not deployed: the new worker was turned back";
    assert!(
        said.iter().any(|line| line.contains(why) && line.ends_with("everything goes back to v1")),
        "{said:#?}"
    );
    // Whoever crashes afterwards comes back with what its slot is meant to have.
    let (instance, slot) = host.alive.iter().next().map(|(id, slot)| (*id, *slot)).expect("somebody lives");
    let status = ExitStatus::Code(1);
    host.facts.push_back((host.now, Event::LeaderExited { slot, instance, status, living: Vec::new() }));
    host.pass(5_000);
    assert_eq!(host.runs(), back);
}

#[test]
fn a_type_that_is_new_has_to_work_and_one_that_is_gone_runs_until_it_does() {
    let old = vec![member("web", 1), member("mailer", 1)];
    let new = vec![member("web", 1), member("cron", 1)];
    let mut host = Host::new("v1", old).keep("v2", new.clone()).keep("v3", new).doom("cron@v2", 50, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(100);
    assert!(host.runs().contains(&"mailer.1 running v1".to_owned()), "{:?}", host.runs());
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1", "mailer.1 running v1"]);
    let id = host.deploy("v3");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.runs(), ["web.1 running v3", "cron.1 running v3"]);
}

#[test]
fn a_new_essential_type_that_cannot_work_does_not_end_what_does() {
    let never = || with(member("cron", 1), |policy| policy.restart = Restart::Never);
    let mut host = Host::new("v1", vec![member("web", 1)])
        .keep("v2", vec![member("web", 1), never()])
        .doom("cron@v2", 50, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(60_000);
    assert_eq!(host.exit, None, "{:#?}", host.said);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1"]);
}

#[test]
fn while_one_is_deployed_nothing_else_is_and_no_file_is_read_again() {
    let types = || vec![member("web", 2)];
    let habits = Habits { hangup: Hangup::Reload, ..Habits::default() };
    let mut host = Host::with_habits("v1", types(), habits).keep("v2", types());
    host.pass(5_000).take_said();
    let id = host.deploy("v2");
    host.pass(10);
    let second = host.deploy("v2");
    let reload = host.ask(Verb::Reload, When::Happened);
    assert_eq!(code(host.answer(second)), "deploying");
    assert_eq!(code(host.answer(reload)), "deploying");
    host.tell(Event::Received(Signal::HUP));
    host.pass(20_000);
    assert_eq!(code(host.answer(id)), "accepted");
}

#[test]
fn what_cannot_be_read_is_not_deployed() {
    let mut host = Host::new("v1", vec![member("web", 1)]);
    host.pass(5_000);
    let id = host.deploy("v7");
    host.pass(5_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1"]);
    let again = host.deploy("v7");
    host.pass(5_000);
    assert_eq!(code(host.answer(again)), "not_deployed");
}

#[test]
fn counts_of_a_release_that_does_not_work_are_taken_back_and_those_that_were_asked_for_stay() {
    let mut host = Host::new("v1", vec![member("web", 2), member("worker", 1)])
        .keep("v2", vec![member("web", 4), member("worker", 1)])
        .doom("worker@v2", 50, 1);
    host.pass(5_000);
    host.ask(Verb::Scale { changes: vec![("worker".to_owned(), Change::To(2))] }, When::Accepted);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.core.formation().to_string(), "web=2 worker=2");
    assert_eq!(host.runs().len(), 4, "{:?}", host.runs());
}

#[test]
fn the_end_takes_precedence_over_a_deploy_and_a_one_off() {
    let types = || vec![phase(), member("web", 1)];
    let mut host = Host::new("v1", types()).keep("v2", types());
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(100);
    host.tell(Event::Received(Signal::TERM));
    host.pass(5_000);
    assert_eq!(code(host.answer(id)), "shutting_down");
    assert_eq!(host.exit, Some(0));
    assert_eq!(host.alive.len(), 0);
}

#[test]
fn a_one_off_runs_beside_the_formation_and_its_failure_is_its_own() {
    let habits = Habits { fail_fast: FailFast::Yes, ..Habits::default() };
    let mut host = Host::with_habits("v1", vec![member("web", 1)], habits).doom("asked", 300, 7);
    host.pass(5_000).take_said();
    let id = host.ask(Verb::Run { process_type: None }, When::Accepted);
    let second = host.ask(Verb::Run { process_type: Some(name("web")) }, When::Accepted);
    let unknown = host.ask(Verb::Run { process_type: Some(name("nosuch")) }, When::Accepted);
    host.pass(100);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(code(host.answer(second)), "accepted");
    assert_eq!(code(host.answer(unknown)), "unknown_process_type");
    assert_eq!(host.runs(), ["web.1 running v1", "run.1 running v1", "run.2 running v1"]);
    assert_eq!(host.core.formation().to_string(), "web=1", "no formation has one-offs");
    host.pass(5_000);
    assert_eq!(host.runs(), ["web.1 running v1"]);
    assert_eq!(host.exit, None);
    // The lowest free slot is used again.
    host.ask(Verb::Run { process_type: None }, When::Accepted);
    host.pass(100);
    assert_eq!(host.runs(), ["web.1 running v1", "run.1 running v1"]);
    assert_eq!(host.take_said(), ["5s run.1 of asked", "5s run.2 of asked", "10.1s run.1 of asked"]);
}

#[test]
fn a_one_off_keeps_the_supervisor_until_it_has_ended_and_does_not_decide_its_code() {
    let mut host = Host::new("v1", vec![member("job", 1)]).doom("job@v1", 1_000, 0).doom("asked", 5_000, 9);
    host.pass(100);
    host.ask(Verb::Run { process_type: None }, When::Accepted);
    host.pass(3_000);
    assert_eq!(host.exit, None);
    host.pass(3_000);
    assert_eq!(host.exit, Some(0));
}

fn stop(target: &str) -> Verb {
    Verb::Stop { targets: vec![target.parse().expect("a target")] }
}

fn on_port(member: Member, port: u16) -> Member {
    Member { first_port: Some(port), ..member }
}

#[test]
fn a_release_phase_that_was_stopped_has_not_done_its_work_whatever_its_code() {
    let types = || vec![phase(), member("web", 1)];
    let mut host = Host::new("v1", types()).keep("v2", types());
    host.farewell = Some(ExitStatus::Code(0));
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(1_000);
    host.ask(stop("run.1"), When::Accepted);
    host.pass(20_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1"]);
}

#[test]
fn a_release_phase_that_survives_sigkill_ends_the_deploy() {
    let types = || vec![phase(), member("web", 1)];
    let mut host = Host::new("v1", types()).keep("v2", types());
    host.farewell = None;
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(1_000);
    host.ask(stop("run.1"), When::Accepted);
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1", "run.1 stuck v2"]);
}

#[test]
fn what_a_release_that_was_turned_back_said_of_counts_is_forgotten() {
    let types = |count| vec![member("web", count), member("worker", 1)];
    let mut host =
        Host::new("v1", types(2)).keep("v2", types(4)).keep("v3", types(4)).doom("worker@v2", 50, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.core.formation().to_string(), "web=2 worker=1");
    let id = host.deploy("v3");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.core.formation().to_string(), "web=4 worker=1");
}

#[test]
fn a_type_that_is_gone_and_in_the_way_of_a_port_ends_first_and_comes_back_where_the_release_does_not_work() {
    let old = vec![on_port(member("web", 1), 5_000), on_port(member("mailer", 1), 5_100)];
    let new = vec![on_port(member("web", 1), 5_000), on_port(member("worker", 1), 5_100)];
    let mut host = Host::new("v1", old).keep("v2", new.clone()).keep("v3", new).doom("worker@v2", 300, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(500);
    assert_eq!(host.runs().iter().filter(|one| one.contains("mailer")).count(), 0, "{:?}", host.runs());
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1", "mailer.1 running v1"]);
    let id = host.deploy("v3");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.runs(), ["web.1 running v3", "worker.1 running v3"]);
}

#[test]
fn ports_that_moved_move_back_for_all_at_once() {
    let types = |web, worker| vec![on_port(member("web", 1), web), on_port(member("worker", 1), worker)];
    let mut host =
        Host::new("v1", types(5_000, 5_100)).keep("v2", types(5_100, 5_000)).doom("worker@v2", 300, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(host.runs(), ["web.1 running v1", "worker.1 running v1"]);
    // Whoever came back found nobody on its PORT.
    let said = host.take_said();
    let back = |name: &str| said.iter().rposition(|line| line.contains(name)).expect("it came back");
    let seconds = |line: &str| line.split(' ').next().map(str::to_owned);
    let (web, worker) = (back("web.1 of v1"), back("worker.1 of v1"));
    assert_eq!(seconds(&said[web]), seconds(&said[worker]), "{said:#?}");
}

#[test]
fn a_new_program_that_fails_for_good_after_it_was_found_to_work_brings_all_of_them_back() {
    let types = |release: &str| {
        let never = with(member("web", 1), |policy| policy.restart = Restart::Never);
        let slow = with(member("worker", 3), |policy| policy.rollout.min_ready = ms(4_000));
        of(release, [never, slow])
    };
    let mut host = Host::new("v1", types("v1")).keep("v2", types("v2")).doom("web@v2", 5_000, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(60_000);
    assert_eq!(host.exit, None, "{:#?}", host.said);
    assert_eq!(code(host.answer(id)), "not_deployed");
    let back = ["web.1 running v1", "worker.1 running v1", "worker.2 running v1", "worker.3 running v1"];
    assert_eq!(host.runs(), back);
}

#[test]
fn what_is_deployed_again_while_it_comes_back_runs_everywhere_before_that_is_said() {
    let types = || vec![member("web", 2), member("worker", 3)];
    let mut host =
        Host::new("v1", types()).keep("v1", types()).keep("v2", types()).doom("worker@v2", 1_500, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    while host.answer(id).is_none() {
        host.pass(100);
    }
    assert_eq!(code(host.answer(id)), "not_deployed");
    let id = host.deploy("v1");
    while host.answer(id).is_none() {
        host.pass(10);
    }
    assert_eq!(code(host.answer(id)), "accepted");
    assert!(host.runs().iter().all(|one| one.ends_with("running v1")), "{:?}", host.runs());
}

#[test]
fn a_type_that_the_release_does_not_have_does_not_decide_about_it() {
    let slow = || with(member("web", 2), |policy| policy.rollout.min_ready = ms(10_000));
    let mut host = Host::new("v1", vec![slow(), member("mailer", 1)]).keep("v2", vec![slow()]);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(1_000);
    let mut host = host.doom("mailer@v1", 50, 1);
    let targets = vec!["mailer".parse().expect("a target")];
    host.ask(Verb::Restart { targets, manner: Manner::Rolling }, When::Happened);
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.runs(), ["web.1 running v2", "web.2 running v2"]);
}

#[test]
fn who_waits_for_a_rollout_that_a_deploy_takes_back_learns_that() {
    let slow = |name: &str| with(member(name, 2), |policy| policy.rollout.min_ready = ms(3_000));
    let types = || vec![slow("web"), slow("worker")];
    let mut host = Host::new("v1", types()).keep("v2", types()).doom("worker@v2", 1_500, 1);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(1_000);
    let targets = vec!["web".parse().expect("a target")];
    let rolling = host.ask(Verb::Restart { targets, manner: Manner::Rolling }, When::Happened);
    host.pass(60_000);
    assert_eq!(code(host.answer(id)), "not_deployed");
    assert_eq!(code(host.answer(rolling)), "superseded");
}

#[test]
fn a_command_that_comes_while_a_release_phase_waits_for_its_services_does_not_let_it_start_without_them() {
    let needs = vec![Need { service: "DATABASE_URL".to_owned(), wait: ms(60_000) }];
    let types = || vec![Member { needs: needs.clone(), ..phase() }, member("web", 1)];
    let mut host = Host::new("v1", types()).keep("v2", types()).doom("run@phase@v2", 500, 0);
    host.services_from = Time::ZERO + ms(10_000);
    host.pass(5_000);
    let id = host.deploy("v2");
    host.pass(1_500);
    host.ask(Verb::Run { process_type: None }, When::Accepted);
    host.pass(3_000);
    assert_eq!(host.runs(), ["web.1 running v1", "run.1 pending v2", "run.2 running v1"]);
    host.pass(10_000);
    assert_eq!(code(host.answer(id)), "accepted");
    assert_eq!(host.runs(), ["web.1 running v2", "run.2 running v1"]);
}
