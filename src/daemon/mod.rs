//! Does what the supervisor decides: the loop, spawning, reaping, signals.
//!
//! The loop ([`turn`]) has two arms, a bounded queue of facts and a sleep until the supervisor's deadline. Everything
//! else is a function that performs one action and comes back. It runs on the main thread, spawns there and reaps
//! there; it never waits for a child, a client or the reader of our stdout.

#[doc(hidden)]
pub mod bare;
mod birth;
mod cgroup;
mod claim;
mod clock;
mod control;
mod detach;
mod edition;
mod fact;
mod family;
mod harmless;
mod host;
mod inherited;
mod kill;
mod leftovers;
mod listen;
mod notify;
mod orphans;
mod outlast;
mod port;
mod probe;
mod proc;
mod program;
mod reaper;
mod releases;
mod room;
mod service;
mod signals;
mod slim;
mod spawn;
mod surroundings;
mod systemd;
pub mod trace;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::api::{Answer, InstanceId, Notice, Request, Signal, Verb, When};
use crate::app::{Inputs, Release, Stderr};
use crate::store::Running;
use crate::stream::{self, Format, History, Report, Stream};
use crate::supervisor::{Event, FailFast, Farewell, Habits, Hangup, Init, Member, Terminal, Time};

use claim::Claim;
use control::Asked;
use detach::Readiness;
use fact::Fact;
use host::{Host, Tools};
use leftovers::Left;
use listen::Sockets;
use releases::Releases;
use signals::Signals;
use surroundings::Surroundings;
use systemd::Herald;
use trace::{Beginning, Traced};

#[doc(hidden)]
pub use control::understand;
pub use control::{Http, HttpAddress, Socket, Token};
pub use inherited::Inherited;
pub use systemd::Superior;

/// How to run, beside what to run.
#[derive(Clone)]
pub struct Options {
    /// `--fail-fast`.
    pub fail_fast: FailFast,
    /// `--leftovers`.
    pub leftovers: LeftoversOfEarlierRuns,
    /// The stream's flags.
    pub stream: stream::Settings,
    /// `--detach`.
    pub detach: Detach,
    /// `--log-buffer`: bytes of each slot that are kept for `logs`.
    pub log_buffer: usize,
    /// `--trace`.
    pub trace: Option<PathBuf>,
    /// `--socket`.
    pub socket: Socket,
    /// `--http` and `--token-file`.
    pub http: Option<Http>,
    /// Who wants to hear how we are: systemd, where the unit says `Type=notify`.
    pub superior: Option<Superior>,
    /// What the release was made from, to be read again.
    pub inputs: Inputs,
    /// Where it is kept, where it is not a directory as it is.
    pub release: Option<Running>,
    /// `--state`.
    pub state: Option<PathBuf>,
}

/// Where the formation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// Here.
    No,
    /// In the background: we return when it runs, or say why it does not.
    Yes,
}

/// What to do about processes that an earlier run left behind: `--leftovers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftoversOfEarlierRuns {
    /// Stop them first.
    Stop,
    /// Name them and go on.
    Ignore,
    /// Name them and end with code 1.
    Fail,
}

/// Facts that may wait. Their senders wait when it is full: signals stay with the kernel, and nothing else is urgent.
const QUEUE: usize = 64;

/// So many dead children are looked after before the queue is served again.
const BURIALS: usize = 32;

/// So often the dead go before what is due; then it is their turn after all. Whoever makes orphans as fast as we bury them
/// shall not keep us from killing it.
const MOURNING: u32 = 64;

/// How long the last lines may take once everything has ended and the reader of our stdout does not read.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long whoever was promised an answer may take to read it once everything has ended.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The exit code where a process survived SIGKILL. A child may have given it as well: then the next start searches for
/// nothing.
const SURVIVED: u8 = 1;

/// SIGCHLD among the signals that are read.
fn is_child(signal: Signal) -> bool {
    signal.number() == libc::SIGCHLD
}

/// Runs a release until it ends, and returns the exit code. Detached, it returns twice: in the foreground as soon as
/// everything runs or it is known why not, in the background at the end.
///
/// On the main thread, while there is no other, with the signals blocked as [`Inherited::take`] leaves them.
///
/// # Errors
/// What the system refuses before anything is started: threads, descriptors, memory, the log file.
pub fn start(release: Release, options: Options, inherited: Inherited) -> io::Result<u8> {
    let history = History::new(options.log_buffer);
    match options.detach {
        Detach::No => start_here(release, options, inherited, history, None),
        Detach::Yes => detach::detach(&inherited.clone(), &Arc::clone(&history), |readiness| {
            start_here(release, options, inherited, history, Some(readiness))
        }),
    }
}

fn start_here(
    release: Release,
    options: Options,
    inherited: Inherited,
    history: Arc<History>,
    readiness: Option<Readiness>,
) -> io::Result<u8> {
    break_whole();
    inherited.make_room();
    let surroundings = surroundings::settle_in()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(run(release, options, inherited, surroundings, history, readiness));
    // A look-up that hangs in the resolver, or on a disk, is not waited for.
    runtime.shutdown_background();
    code
}

async fn run(
    mut release: Release,
    options: Options,
    inherited: Inherited,
    surroundings: Surroundings,
    history: Arc<History>,
    readiness: Option<Readiness>,
) -> io::Result<u8> {
    let (facts, mut queue) = mpsc::channel(QUEUE);
    let signals = Signals::new(&inherited)?;
    let Claim { project, doors, remarks, record } = Claim::stake(&release, &options)?;
    release.control = doors.socket.as_ref().map(|(place, _)| place.socket().to_owned());

    let beginning = Beginning {
        members: Member::all(&release),
        habits: habits(options.fail_fast),
        seed: std::process::id().into(),
        now: Time::ZERO,
    };
    let mut supervisor = Traced::new(&beginning, options.trace.as_deref())?;
    let mut herald = options.superior.and_then(|superior| Herald::new(superior, &beginning.members));
    let stderr = match options.stream.format {
        Format::Json => Stderr::Split,
        Format::Text | Format::Raw => Stderr::Merge,
    };
    let stream = open_stream(&release, options.stream, Arc::clone(&history), facts.clone())?;
    for remark in release.remarks.iter().cloned().chain(remarks).chain(surroundings.remarks) {
        stream.notice(remark);
    }
    tokio::spawn(read_signals(signals, facts.clone()));
    let mut left = Left::Nobody;
    if !record.was_clean() {
        if let Some(herald) = &mut herald
            && !leftovers::find(&project, &release).is_empty()
        {
            herald.delayed(&beginning.members);
        }
        match leftovers::settle(&project, &release, options.leftovers, &stream, &mut queue).await {
            Ok(found) => left = found,
            Err(code) => {
                stream.notice(Notice::Ended { code, because: None });
                drop(queue);
                finish(stream);
                return Ok(code);
            }
        }
    }

    // Not before: what an earlier run left behind may have had the same.
    let sockets = match Sockets::default().bind_more(&release.types) {
        Ok(sockets) => sockets,
        Err(cannot) => {
            drop(queue);
            finish(stream);
            if left == Left::Nobody {
                record.end_clean();
            }
            return Err(io::Error::other(cannot.to_string()));
        }
    };
    sockets.listening().for_each(|notice| stream.notice(notice));

    let mark = leftovers::mark(&project);
    let drain = release.types.iter().map(|process_type| process_type.policy.drain).max().unwrap_or_default();
    let adoption = surroundings.adoption;
    let is_release = options.release.is_some();
    let releases = Releases::new(options.inputs, options.state, options.release, facts.clone());
    let settling = facts.clone();
    let tools = Tools { mark, inherited, stderr, stream, sockets, releases, herald, facts, adoption };
    let mut host = Host::new(release, tools)?;
    if let Some(readiness) = readiness {
        await_readiness(&mut supervisor, &mut host, readiness);
    }
    if is_release {
        await_settling(&mut supervisor, &mut host, settling);
    }

    let mut due = Due::default();
    // Clients may connect already, and wait; the first children do not wait for that, nor for what counts them.
    if is_due(&supervisor, &host) {
        turn(&mut supervisor, &mut host, &mut queue, &mut due).await;
        tell(&supervisor, &mut host);
    }
    host.watch_memory();
    if doors.any() {
        host.serve(doors, history);
    }
    tokio::spawn(slim::forget_the_start());
    while host.exit().is_none() {
        turn(&mut supervisor, &mut host, &mut queue, &mut due).await;
        tell(&supervisor, &mut host);
    }

    probe::bury_last(&mut host, &mut queue).await;
    let since = host.ending.unwrap_or_else(Instant::now);
    orphans::end(&mut host, &mut queue, since + drain).await;
    let (code, farewell) = host.exit().unwrap_or((1, Farewell::Brief));
    let (stream, control) = host.into_parts();
    match farewell {
        Farewell::Patient => run_out(&stream, &mut queue).await,
        Farewell::Brief => {}
    }
    // From now on nobody is answered who was not.
    drop(queue);
    finish(stream);
    if let Some(control) = control {
        control.finish(LAST_ANSWERS);
    }
    if code != SURVIVED && left == Left::Nobody {
        record.end_clean();
    }
    Ok(code)
}

/// Asks to be told when every slot runs or has failed.
fn await_readiness(supervisor: &mut Traced, host: &mut Host, readiness: Readiness) {
    let answer = settled(supervisor, host);
    tokio::spawn(async move {
        // Where there is no answer the end is told.
        if let Ok(answer) = answer.await {
            readiness.tell(&answer);
        }
    });
}

/// A release that runs is the current one of its store.
fn await_settling(supervisor: &mut Traced, host: &mut Host, facts: mpsc::Sender<Fact>) {
    let answer = settled(supervisor, host);
    tokio::spawn(async move {
        if let Ok(answer) = answer.await {
            // An error means that the loop has ended and does not want to know.
            let _ = facts.send(Fact::Settled(answer)).await;
        }
    });
}

/// The answer comes when every slot runs or has failed.
fn settled(supervisor: &mut Traced, host: &mut Host) -> oneshot::Receiver<Answer> {
    let (reply, answer) = oneshot::channel();
    let event = host.requested(Request { verb: Verb::Settle, answer: When::Happened }, reply);
    step(supervisor, host, event);
    answer
}

/// What one turn of the loop leaves to the next.
#[derive(Debug, Default)]
struct Due {
    /// Children may have ended.
    burials: bool,
    /// So often the dead went before what is due.
    mourned: u32,
}

/// One turn of the loop; after the last of them the exit is ordered.
async fn turn(
    supervisor: &mut Traced,
    host: &mut Host,
    queue: &mut mpsc::Receiver<Fact>,
    Due { burials, mourned }: &mut Due,
) {
    // 1. Wait for a fact; where more is to be done than one turn does, hear only who has something to say by now.
    let due = is_due(supervisor, host);
    let mut fact = if *burials || due {
        let_others_speak().await;
        queue.try_recv().ok()
    } else {
        let deadline = supervisor.deadline().map(|time| host.clock().instant(time));
        let told = host.herald.as_ref().and_then(Herald::deadline);
        next_fact(queue, deadline.into_iter().chain(told).min()).await
    };
    // No more than may wait at once: clients that ask without end shall not keep us from what is due.
    for heard in 1..=QUEUE {
        let Some(next) = fact.take() else { break };
        *burials |= hear(supervisor, host, next) == Heard::Death;
        if host.exit().is_some() {
            // What comes now is for whoever says farewell.
            return;
        }
        if heard < QUEUE {
            fact = queue.try_recv().ok();
        }
    }
    // 2. Look after the dead. We may be late (SIGSTOP, a busy machine): who ended in time is not to be killed for that.
    if *burials || due {
        *burials = bury(supervisor, host);
    }
    // 3. Do what is due.
    if due && *burials && *mourned < MOURNING {
        *mourned += 1;
    } else if due && host.exit().is_none() {
        *mourned = 0;
        step(supervisor, host, Event::Woke);
    }
}

/// Tells whoever started us how we are, where anybody wants to know.
fn tell(supervisor: &Traced, host: &mut Host) {
    if let Some(herald) = &mut host.herald {
        herald.tell(supervisor.supervisor());
    }
}

/// What a fact leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Children have ended.
    Death,
    /// Nothing.
    Done,
}

fn hear(supervisor: &mut Traced, host: &mut Host, fact: Fact) -> Heard {
    match fact {
        Fact::Signal(signal) if is_child(signal) => return Heard::Death,
        Fact::LookAgain => {
            for event in host.signal_again() {
                step(supervisor, host, event);
            }
            return Heard::Death;
        }
        Fact::Signal(signal) => step(supervisor, host, Event::Received(signal)),
        Fact::Stream(Report::ReaderGone) => step(supervisor, host, Event::ReaderGone),
        Fact::Left(instance) => look(supervisor, host, instance),
        Fact::Memory => host.look_at_memory(),
        Fact::Probed(finding) => {
            if let Some(event) = host.found(finding) {
                step(supervisor, host, event);
            }
        }
        Fact::Notified(instance) => {
            for event in host.notified(instance) {
                step(supervisor, host, event);
            }
        }
        Fact::Stream(Report::Over) => {}
        Fact::Asked(Asked::Request { request, reply }) => {
            if let Some(event) = host.withdrawn() {
                step(supervisor, host, event);
            }
            let event = host.requested(request, reply);
            step(supervisor, host, event);
        }
        Fact::Asked(Asked::Run { command, answer, reply }) => {
            let event = host.run_requested(&command, answer, reply);
            step(supervisor, host, event);
        }
        Fact::Asked(Asked::Look(look)) => {
            look.answer(supervisor, host.clock().now(), host.ignored_notifications());
        }
        Fact::Asked(Asked::Services { reply }) => host.ask_services(reply),
        Fact::Services { type_index, missing } => {
            step(supervisor, host, Event::Asked { type_index, missing });
        }
        Fact::Prepared(prepared) => {
            let event = host.prepared(*prepared);
            step(supervisor, host, event);
        }
        Fact::Recorded(recorded) => {
            if let Some(event) = host.recorded(recorded) {
                step(supervisor, host, event);
            }
        }
        Fact::Settled(answer) => host.settled(&answer),
        Fact::Planned(planned) => {
            let event = host.planned(*planned);
            step(supervisor, host, event);
        }
    }
    Heard::Done
}

/// Waits until our reader has read everything, or somebody asks us to end after all.
async fn run_out(stream: &Stream, queue: &mut mpsc::Receiver<Fact>) {
    stream.run_out();
    while let Some(fact) = queue.recv().await {
        match fact {
            Fact::Stream(Report::Over) => return,
            _ if fact.ends_us() => return,
            // Whoever reads is of the same job, and stops too.
            Fact::Signal(Signal::TSTP) if std::process::id() != 1 => clock::stop_ourselves(),
            // Who asks for something now is told that we end by its getting no answer.
            Fact::Signal(_)
            | Fact::Left(_)
            | Fact::Memory
            | Fact::LookAgain
            | Fact::Probed(_)
            | Fact::Notified(_)
            | Fact::Stream(Report::ReaderGone)
            | Fact::Asked(_)
            | Fact::Services { .. }
            | Fact::Planned(_)
            | Fact::Prepared(_)
            | Fact::Recorded(_)
            | Fact::Settled(_) => {}
        }
    }
}

/// The last lines; the stream itself says what could not be written.
fn finish(stream: Stream) {
    let totals = stream.finish(LAST_LINES);
    tracing::debug!(?totals, "the stream has ended");
}

/// The next fact, or none when the deadline has come.
async fn next_fact(queue: &mut mpsc::Receiver<Fact>, deadline: Option<Instant>) -> Option<Fact> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), queue.recv()).await.ok().flatten(),
        None => queue.recv().await,
    }
}

/// Has everything that has happened by now put into the queue: the first time the kernel is asked, the second time those
/// who got an answer run.
async fn let_others_speak() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

fn is_due(supervisor: &Traced, host: &Host) -> bool {
    supervisor.deadline().is_some_and(|time| time <= host.clock().now())
}

/// One event in, all its actions out, all performed or answered, before the next event.
fn step(supervisor: &mut Traced, host: &mut Host, event: Event) {
    let mut inbox = VecDeque::from([event]);
    while let Some(event) = inbox.pop_front() {
        tracing::trace!(?event);
        host.herald.iter_mut().for_each(Herald::stirred);
        for action in supervisor.handle(host.clock().now(), event) {
            host.herald.iter_mut().for_each(|herald| herald.heed(&action));
            host.perform(action, &mut inbox);
        }
    }
    host.step_ends();
}

/// Looks after dead children, each while it is still a zombie; whether there may be more.
fn bury(supervisor: &mut Traced, host: &mut Host) -> bool {
    for _ in 0..BURIALS {
        let Some((pid, events)) = host.dead() else {
            host.look_at_unwatched_memory();
            for instance in host.unwatched() {
                look(supervisor, host, instance);
            }
            return false;
        };
        for event in events {
            step(supervisor, host, event);
        }
        host.bury(pid);
    }
    true
}

/// Sees who is left of an instance without a leader.
fn look(supervisor: &mut Traced, host: &mut Host, instance: InstanceId) {
    let mut inbox = VecDeque::new();
    host.left(instance, &mut inbox);
    for event in inbox {
        step(supervisor, host, event);
    }
}

async fn read_signals(signals: Signals, facts: mpsc::Sender<Fact>) {
    loop {
        match signals.next().await {
            Ok(signal) => {
                if facts.send(Fact::Signal(signal)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be read any more");
                return;
            }
        }
    }
}

fn open_stream(
    release: &Release,
    settings: stream::Settings,
    history: Arc<History>,
    facts: mpsc::Sender<Fact>,
) -> io::Result<Stream> {
    let slots = release.types.iter().filter(|process_type| process_type.quantity > 0);
    let widest = slots.map(|process_type| format!("{}.{}", process_type.name, process_type.quantity).len());
    stream::open(settings, widest.max().unwrap_or(0), history, move |report| {
        // An error means that the loop has ended and knows.
        let _ = facts.blocking_send(Fact::Stream(report));
    })
}

/// Should a thread of ours panic, all end at once, and the kernel stops what we started (`PR_SET_PDEATHSIG`): a formation
/// without its stream, or without its loop, is worse than none.
fn break_whole() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn habits(fail_fast: FailFast) -> Habits {
    // Opening it succeeds only for a process that has a controlling terminal (tty(4)).
    let terminal = std::fs::File::open("/dev/tty").is_ok();
    let init = std::process::id() == 1;
    Habits {
        fail_fast,
        hangup: if terminal { Hangup::Drain } else { Hangup::Reload },
        // A container may have a terminal, and its engine sends the image's stop signal all the same.
        terminal: if terminal && !init { Terminal::Present } else { Terminal::Absent },
        init: if init { Init::Yes } else { Init::No },
    }
}
