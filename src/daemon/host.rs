//! Performs actions. It decides nothing: what it finds out goes back as an event.

mod change;
mod departed;
mod memory;
mod signal;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::{
    Answer, InstanceId, Notice, Pid, ProbeKind, Request, RequestId, ServiceStatus, Signal, SlotName,
};
use crate::app::{Leftovers, Listen, Release, Stderr};
use crate::stream::{Channel, History, Source, Stream};
use crate::supervisor::{Action, Event, Farewell, SlotKey, SpawnError, SpawnErrorKind, Whom};

use super::Fact;
use super::cgroup::Cgroups;
use super::clock::Clock;
use super::control::{Control, Doors};
use super::edition::{Candidate, Edition, Editions, Term};
use super::family::{Adoption, Family, Kin, Strangers};
use super::inherited::Inherited;
use super::kill;
use super::listen::{Bound, Holders, Sockets};
use super::notify::{Mailboxes, Reading};
use super::outlast;
use super::port;
use super::probe::{Finding, Hands, Probes};
use super::program;
use super::reaper;
use super::releases::Releases;
use super::room::{self, Purpose};
use super::service::Survey;
use super::spawn::{Failure, Setting, Spawner, Stage};
use super::surroundings;
use super::systemd::Herald;
use super::watch::Watch;

use signal::Unsent;

/// The hands of the supervisor.
pub(super) struct Host {
    editions: Editions,
    /// What was read again, until the supervisor says whether it holds.
    candidate: Option<Candidate>,
    survey: Survey,
    /// Where our socket is.
    socket: Option<PathBuf>,
    releases: Releases,
    facts: mpsc::Sender<Fact>,
    /// Who waits for an answer.
    replies: HashMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    /// The commands of those requests that are not staged yet.
    one_offs: HashMap<RequestId, Rc<Edition>>,
    spawner: Spawner,
    /// Instances to which we have sent SIGKILL.
    killed: BTreeSet<InstanceId>,
    /// Signals to those who could not be seen.
    unsent: Vec<Unsent>,
    /// Has us look again after them, and after others.
    next_sight: Option<JoinHandle<()>>,
    /// Looks again who was killed for memory, in a while.
    next_look: Option<JoinHandle<()>>,
    /// What types listen on.
    sockets: Sockets,
    null: File,
    /// Where a type's spec is silent about stderr.
    stderr: Stderr,
    family: Family,
    watch: Watch,
    probes: Probes,
    mailboxes: Mailboxes,
    stream: Stream,
    control: Option<Control>,
    /// Where somebody who started us wants to hear of us.
    pub(super) herald: Option<Herald>,
    /// Pipes of the newly born, whose birth is to be said first.
    newborn: Vec<Source>,
    clock: Clock,
    /// Since when everything is to end, where that was ordered and did not come about by itself.
    pub(super) ending: Option<Instant>,
    /// The exit code, once there is one, and how to take leave.
    exit: Option<(u8, Farewell)>,
}

/// What a host is made with.
pub(super) struct Tools {
    /// Marks our descendants.
    pub(super) mark: String,
    pub(super) inherited: Inherited,
    /// Where a type's spec is silent about stderr.
    pub(super) stderr: Stderr,
    pub(super) stream: Stream,
    /// What types listen on.
    pub(super) sockets: Sockets,
    pub(super) releases: Releases,
    pub(super) herald: Option<Herald>,
    /// The loop's queue.
    pub(super) facts: mpsc::Sender<Fact>,
    /// Whose child an orphan becomes.
    pub(super) adoption: Adoption,
}

/// More than can wait for an answer at once (see the limits of the control socket): some of them have gone.
const MANY_REPLIES: usize = 128;

impl Host {
    /// # Errors
    /// The system's: no memory, no /dev/null.
    pub(super) fn new(release: Release, tools: Tools) -> io::Result<Host> {
        let Tools { mark, inherited, stderr, stream, sockets, releases, herald, facts, adoption } = tools;
        let strangers = if std::process::id() == 1 { Strangers::OfNobody } else { Strangers::OfTheLast };
        let socket = release.control.clone();
        let mut cgroups = Cgroups::new();
        say(&stream, cgroups.make_ready(release.types.iter()));
        let oom_score = outlast::score_of_children(cgroups.memory_limit());
        Ok(Host {
            survey: Survey::new(&release),
            editions: Editions::new(release)?,
            candidate: None,
            socket,
            releases,
            watch: Watch::new(facts.clone()),
            probes: Probes::new(facts.clone()),
            mailboxes: Mailboxes::new(facts.clone()),
            facts,
            replies: HashMap::new(),
            next_request: 1,
            one_offs: HashMap::new(),
            spawner: Spawner::new(inherited, oom_score)?,
            killed: BTreeSet::new(),
            unsent: Vec::new(),
            next_sight: None,
            next_look: None,
            sockets,
            null: surroundings::open_null()?,
            stderr,
            family: Family::new(mark, strangers, adoption, cgroups),
            stream,
            control: None,
            herald,
            newborn: Vec::new(),
            clock: Clock::start(),
            ending: None,
            exit: None,
        })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The exit code and how to take leave, once `Exit` was ordered.
    pub(super) fn exit(&self) -> Option<(u8, Farewell)> {
        self.exit
    }

    /// Says what no decision is behind.
    pub(super) fn announce(&self, notice: Notice) {
        self.stream.notice(notice);
    }

    /// From now on clients are answered. Where that cannot be, it is said, and the formation goes on.
    pub(super) fn serve(&mut self, doors: Doors, history: Arc<History>) {
        match Control::start(doors, self.facts.clone(), history) {
            Ok(control) => self.control = Some(control),
            Err(error) => self.stream.notice(Notice::NoControl { reason: error.to_string() }),
        }
    }

    /// Gives back the stream, for its last words, and the control socket, for its last answers.
    pub(super) fn into_parts(mut self) -> (Stream, Option<Control>) {
        self.family.cgroups.finish();
        (self.stream, self.control)
    }

    /// Performs one action; what the supervisor must know of it is put into its inbox.
    pub(super) fn perform(&mut self, action: Action, inbox: &mut VecDeque<Event>) {
        tracing::trace!(?action);
        match action {
            Action::Spawn { slot, instance, edition } => self.spawn(slot, instance, edition, inbox),
            Action::Ask { type_index, edition } => self.ask_needs(type_index, edition),
            Action::Probe { slot, instance, probe } => self.probe(slot, instance, probe, inbox),
            Action::Revert { type_index, edition } => {
                self.editions.revert(type_index, edition);
                self.close_unused_sockets();
            }
            Action::Stop { slot, instance, target, signal } => {
                self.stream.drain_instance(instance);
                inbox.extend(self.probes.drain(instance));
                self.signal(slot, instance, target, signal, inbox);
                // A refusal would be the same as for the signal before.
                self.signal(slot, instance, target, Signal::CONT, &mut VecDeque::new());
            }
            Action::Signal { slot, instance, signal } => {
                self.signal(slot, instance, Whom::Leader, signal, inbox);
            }
            Action::Kill { slot, instance, target } => {
                self.stream.drain_instance(instance);
                inbox.extend(self.probes.drain(instance));
                self.signal(slot, instance, target, Signal::KILL, inbox);
            }
            Action::Look { slot, instance } => self.look(slot, instance, inbox),
            Action::Pass { signal } => self.pass(signal, inbox),
            Action::Suspend => self.suspend(),
            Action::Resume => self.signal_groups(Signal::CONT),
            Action::Reread => {
                // Whatever the files turn out to say: the log may have been moved away.
                self.stream.reopen();
                if let Some(control) = &self.control {
                    control.remake();
                }
                self.reread(inbox);
            }
            Action::Adopt { keep } => {
                if let Some(candidate) = self.candidate.take() {
                    let mut known = self.family.editions();
                    known.extend(keep);
                    let on_trial = self.releases.is_deploying();
                    let term = if on_trial { Term::OnTrial } else { Term::ForGood };
                    let more = self.editions.adopt(candidate, &known, term);
                    more.listening().for_each(|notice| self.stream.notice(notice));
                    self.sockets.take_in(more);
                    self.close_unused_sockets();
                    self.survey.adopt();
                    let notices = self.family.cgroups.make_ready(self.editions.listed());
                    say(&self.stream, notices);
                }
            }
            Action::Discard => {
                self.candidate = None;
                self.editions.take_back();
                self.close_unused_sockets();
                if let Err(error) = self.releases.discard() {
                    tracing::warn!(error, "the release that runs is not the current one of its store");
                }
                self.let_go_of_releases();
            }
            Action::Reserve { type_index } => self.editions.reserve(type_index),
            Action::Stage { type_index, edition, staged } => self.stage(type_index, edition, staged),
            Action::Prepare { release } => {
                if let Err(errors) = self.releases.prepare(&release) {
                    inbox.push_back(Event::Unreadable { errors });
                }
            }
            Action::Record { .. } => {
                self.editions.keep();
                self.close_unused_sockets();
                if let Err(error) = self.releases.record() {
                    inbox.push_back(Event::Recorded { error: Some(error) });
                }
                self.let_go_of_releases();
            }
            Action::Reply { id, answer } => {
                self.one_offs.remove(&id);
                if let Some(reply) = self.replies.remove(&id) {
                    // Who has gone away meanwhile is not told.
                    let _ = reply.send(answer);
                }
            }
            Action::Announce { notice, after: Some(instance) } => self.stream.last_words(instance, notice),
            Action::Announce { notice, after: None } => self.stream.notice(notice),
            Action::ReadOn => {
                self.ending = Some(Instant::now());
                // Nothing is started any more: whoever connects now is served by who has the socket, or refused.
                self.sockets.retain(|_| false);
                self.stream.drain();
                self.family.end();
            }
            Action::Exit { code, farewell } => self.exit = Some((code, farewell)),
        }
    }

    /// Everything that a step does is done. The pipes of the newly born go to the stream now that their births have been said.
    pub(super) fn step_ends(&mut self) {
        for source in self.newborn.drain(..) {
            self.stream.attach(source);
        }
        self.family.step_ends();
    }

    /// Whoever prunes may remove the releases that nobody lives by.
    fn let_go_of_releases(&mut self) {
        let (editions, family) = (&self.editions, &self.family);
        self.releases.let_go(|| editions.releases(&family.editions()));
    }

    /// Closes the sockets on which nobody listens and nobody will.
    fn close_unused_sockets(&mut self) {
        let nobody = BTreeSet::new();
        if self.sockets.addresses().any(|address| !self.editions.listen_on(address, &nobody)) {
            let lived_by = self.family.editions();
            self.sockets.retain(|address| self.editions.listen_on(address, &lived_by));
        }
    }

    /// What follows from what a try of a probe has found.
    pub(super) fn found(&mut self, finding: Finding) -> Option<Event> {
        self.probes.found(finding)
    }

    /// Something lies in the `NOTIFY_SOCKET` of an instance: what it says.
    pub(super) fn notified(&mut self, instance: InstanceId) -> Vec<Event> {
        self.heard(instance, Reading::Some)
    }

    /// How many notifications were ignored: those of strangers, and too long ones.
    pub(super) fn ignored_notifications(&self) -> u64 {
        self.mailboxes.ignored()
    }

    /// Whether a command of a probe, or something that one left behind, is not reaped.
    pub(super) fn any_probe(&mut self) -> bool {
        self.probes.any_process() || !self.family.left_by_probes().is_ok_and(|left| left.is_empty())
    }

    /// The event of somebody's request, whose answer goes there.
    pub(super) fn requested(&mut self, request: Request, reply: oneshot::Sender<Answer>) -> Event {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.replies.insert(id, reply);
        Event::Requested { id, request }
    }

    /// The event of those having gone who waited for an answer. They are looked for when there are many.
    pub(super) fn withdrawn(&mut self) -> Option<Event> {
        if self.replies.len() < MANY_REPLIES {
            return None;
        }
        let gone = self.replies.iter().filter(|(_, reply)| reply.is_closed());
        let ids: Vec<RequestId> = gone.map(|(id, _)| *id).collect();
        self.replies.retain(|id, _| !ids.contains(id));
        (!ids.is_empty()).then_some(Event::Withdrawn { ids })
    }

    /// Asks every backing service, for somebody who waits for it.
    pub(super) fn ask_services(&mut self, reply: oneshot::Sender<Vec<ServiceStatus>>) {
        let statuses = self.survey.statuses();
        // Who has gone away meanwhile is not told.
        tokio::spawn(async { drop(reply.send(statuses.await)) });
    }

    fn ask_needs(&mut self, type_index: usize, edition: usize) {
        let Edition { process_type, root, .. } = self.editions.edition(type_index, edition);
        let (missing, facts) = (self.survey.missing(&process_type.needs, &root.path), self.facts.clone());
        tokio::spawn(async move {
            // An error means that the loop has ended and does not want to know.
            let _ = facts.send(Fact::Services { type_index, missing: missing.await }).await;
        });
    }

    /// What becomes of descendants that outlive the leader of an instance.
    fn leftovers(&self, kin: Kin) -> Leftovers {
        self.editions.edition(kin.slot.type_index, kin.edition).process_type.policy.leftovers
    }

    fn spawn(&mut self, slot: SlotKey, instance: InstanceId, edition: usize, inbox: &mut VecDeque<Event>) {
        let process_type = &self.editions.edition(slot.type_index, edition).process_type;
        let shared = process_type.listen.as_ref().and_then(Listen::port);
        if let Some(port) = process_type.port_of(slot.number)
            && shared != Some(port)
            && port::taken(port)
        {
            inbox.push_back(Event::PortTaken { slot, instance, holder: port::holder(port) });
        }
        match self.try_spawn(slot, instance, edition) {
            Ok(pid) => inbox.push_back(Event::Spawned { slot, instance, pid }),
            Err(error) => inbox.push_back(Event::SpawnFailed { slot, instance, error }),
        }
    }

    fn try_spawn(&mut self, slot: SlotKey, instance: InstanceId, edition: usize) -> Result<Pid, SpawnError> {
        let Edition { process_type, prepared, root, .. } = self.editions.edition(slot.type_index, edition);
        let name = SlotName { process_type: process_type.name.clone(), number: slot.number };
        let shortage = |what: &str, errno: Errno| SpawnError {
            kind: SpawnErrorKind::Shortage,
            message: format!("{what}: {}", program::reason(errno)),
        };
        let pipe = || -> Result<(OwnedFd, OwnedFd), SpawnError> {
            let (reading, writing) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| shortage("no pipe", errno))?;
            for end in [&reading, &writing] {
                room::left_beside(end, Purpose::Start).map_err(|errno| shortage("no pipe", errno))?;
            }
            // The reading end has a file description of its own: the child's end stays blocking.
            fcntl(&reading, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|errno| shortage("no pipe", errno))?;
            Ok((reading, writing))
        };
        let mailbox = self.mailboxes.prepare(instance, &process_type.health)?;
        let (out_reading, out_writing) = pipe()?;
        let errors = match process_type.stderr.unwrap_or(self.stderr) {
            Stderr::Merge => None,
            Stderr::Split => Some(pipe()?),
        };

        let held = process_type
            .listen
            .as_ref()
            .is_some_and(|address| self.editions.have(address, &self.family.editions()));
        let holders = if held { Holders::Some } else { Holders::None };
        let socket = self
            .sockets
            .of(process_type, holders)
            .map_err(|cannot| SpawnError { kind: SpawnErrorKind::Shortage, message: cannot.to_string() })?;
        let socket = match socket {
            Some((socket, Bound::Now(notice))) => {
                self.stream.notice(notice);
                Some(socket)
            }
            Some((socket, Bound::Before)) => Some(socket),
            None => None,
        };
        let (cell, notice) = self.family.cgroups.prepare(&name, instance, &process_type.confinement);
        say(&self.stream, notice);
        let mut own = program::own_environment(process_type, slot.number, &self.family.mark(instance));
        own.extend(mailbox.iter().flat_map(|mailbox| mailbox.variables(&process_type.health)));
        let setting = Setting {
            environment: [&prepared.environment, &own],
            directory: &root.text,
            limits: &process_type.limits,
            stdin: self.null.as_raw_fd(),
            stdout: &out_writing,
            stderr: errors.as_ref().map_or(&out_writing, |(_, writing)| writing),
            socket,
            cell: cell.as_ref().map(AsFd::as_fd),
        };
        let mut spawn = |setting: &Setting<'_>| {
            self.spawner.spawn(&prepared.executable.program, setting).inspect_err(|failure| {
                if let Some(corpse) = failure.corpse {
                    reaper::reap(corpse);
                }
            })
        };
        let mut spawned = spawn(&setting);
        if let Err(Failure { stage: Stage::Cgroup, errno, .. }) = spawned {
            let reason = format!("an instance cannot be put into a cgroup: {}", program::reason(errno));
            let notice = self.family.cgroups.go_without(&name, instance, &process_type.confinement, reason);
            say(&self.stream, notice);
            spawned = spawn(&Setting { cell: None, ..setting });
        }
        let pid = spawned.map_err(|failure| {
            // Nobody lives there, and so nobody is lost.
            drop(self.family.cgroups.forget(instance));
            prepared.executable.explain(failure, &root.path)
        })?;

        self.family.born(slot, instance, edition, pid);
        if let Some(mailbox) = mailbox {
            self.mailboxes.open(instance, mailbox);
        }
        match process_type.policy.leftovers {
            Leftovers::Stop => {}
            Leftovers::Leave => self.family.let_strangers_be(),
        }
        let source = |channel, pipe| Source { instance, slot: name.clone(), pid, channel, pipe };
        self.newborn.push(source(Channel::Stdout, out_reading));
        if let Some((reading, _)) = errors {
            self.newborn.push(source(Channel::Stderr, reading));
        }
        Ok(pid)
    }

    fn probe(&mut self, slot: SlotKey, instance: InstanceId, probe: ProbeKind, inbox: &mut VecDeque<Event>) {
        let Some(kin) = self.family.kin(instance) else { return };
        let edition = self.editions.edition(slot.type_index, kin.edition);
        let hands = Hands { family: &mut self.family, spawner: &mut self.spawner, null: &self.null };
        if let Err(result) = self.probes.begin((slot, instance, probe), edition, hands) {
            inbox.push_back(Event::Probed { slot, instance, probe, result });
        }
    }

    fn heard(&mut self, instance: InstanceId, reading: Reading) -> Vec<Event> {
        let Some(Kin { slot, .. }) = self.family.kin(instance) else { return Vec::new() };
        let family = &self.family;
        let words = self.mailboxes.read(instance, reading, |pid| family.includes(instance, pid));
        words.into_iter().map(|word| Event::Told { slot, instance, word }).collect()
    }

    /// To every leader that has a handler: the default of these signals is to end a process, or nothing.
    fn pass(&mut self, signal: Signal, inbox: &mut VecDeque<Event>) {
        let withheld = kill::pass(self.family.led(), signal);
        // To ignore them is what everybody does with these: nothing was withheld.
        let by_default_ignored = [libc::SIGWINCH, libc::SIGURG].contains(&signal.number());
        if !withheld.is_empty() && !by_default_ignored {
            inbox.push_back(Event::Withheld { signal, slots: withheld });
        }
    }

    fn suspend(&mut self) {
        self.signal_groups(Signal::TSTP);
        self.clock.stand_still();
    }

    fn signal_groups(&self, signal: Signal) {
        for kin in self.family.led() {
            if let Err(errno) = kill::group(kin.leader, signal) {
                tracing::warn!(pid = %kin.leader, %signal, %errno, "a group was not signalled");
            }
        }
    }
}

/// What nobody decides, and there is to be said.
fn say(stream: &Stream, notices: impl IntoIterator<Item = Notice>) {
    for notice in notices {
        stream.notice(notice);
    }
}
