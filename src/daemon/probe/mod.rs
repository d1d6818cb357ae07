//! Asks instances how they are: over HTTP, over TCP, or by a command. What is asked, and how long an answer may take, is
//! found out here; when, how often, and what follows is the supervisor's affair.
//!
//! Each try is a task on the loop's own runtime; what it finds comes back as a [`Finding`] in the loop's queue. A command is
//! started by the host and reaped by the one reaper, like every child of ours; its task reads what it writes, and is told
//! how it ended. Who was given up is not heard any more, so that a try has one answer.
//!
//! ```text
//!                        .- http, tcp --------------------------.
//!   Action::Probe -> try |                                      |-> Finding -> Event::Probed
//!                        '- exec: a process, its output, its end'
//!                                  ^ killed with its group: late, or its instance ends or drains
//! ```

mod exec;
mod http;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::api::{ExitStatus, InstanceId, Pid, ProbeKind, ProbeResult, Signal, brief};
use crate::app::{Check, Health, Probe};
use crate::supervisor::{Event, SlotKey};

use super::Fact;
use super::edition::Edition;
use super::family::Family;
use super::host::Host;
use super::kill;
use super::program;
use super::reaper::{self, Dead};
use super::spawn::Spawner;

use exec::Output;

/// Everything that is being asked.
#[derive(Debug)]
pub(super) struct Probes {
    facts: mpsc::Sender<Fact>,
    tries: HashMap<(InstanceId, ProbeKind), Try>,
    /// The commands that were started and are not reaped, those aside that nobody waits for, too.
    processes: HashMap<i32, Process>,
    next: u64,
}

/// One try of one probe.
#[derive(Debug)]
struct Try {
    slot: SlotKey,
    number: u64,
    how: How,
}

#[derive(Debug)]
enum How {
    /// By a task alone.
    Task(AbortHandle),
    /// By a process, with a task that reads its output.
    Process(Pid, AbortHandle),
}

/// A command of ours.
#[derive(Debug)]
struct Process {
    instance: InstanceId,
    probe: ProbeKind,
    /// Where its end is told; whoever waited for that may have given up.
    ended: oneshot::Sender<ExitStatus>,
}

/// What a task has found out.
#[derive(Debug)]
pub(super) struct Finding {
    instance: InstanceId,
    probe: ProbeKind,
    number: u64,
    found: Found,
}

#[derive(Debug)]
enum Found {
    /// This.
    Result(ProbeResult),
    /// The command has not ended in time; this is to be said unless it has ended after all.
    Late(ProbeResult),
}

/// What a command is started with.
pub(super) struct Hands<'a> {
    pub(super) family: &'a mut Family,
    pub(super) spawner: &'a mut Spawner,
    pub(super) null: &'a File,
}

/// A task that comes so much later than it wanted to has stood still, with all of us: SIGSTOP, a machine that was
/// suspended, or one that is far too busy. Nobody else is to blame for that.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// How long the commands of probes may take to end once everything else has ended and they were killed.
const LAST: Duration = Duration::from_millis(500);

impl Probes {
    pub(super) fn new(facts: mpsc::Sender<Fact>) -> Probes {
        Probes { facts, tries: HashMap::new(), processes: HashMap::new(), next: 1 }
    }

    /// Begins a try.
    ///
    /// # Errors
    /// What is to be answered at once: nothing was begun.
    pub(super) fn begin(
        &mut self,
        (slot, instance, probe): (SlotKey, InstanceId, ProbeKind),
        edition: &Edition,
        hands: Hands<'_>,
    ) -> Result<(), ProbeResult> {
        // The rules of a type may have been read again meanwhile.
        let Some(Probe { check, timing }) = of(&edition.process_type.health, probe) else {
            return Err(not_run("nothing is asked"));
        };
        let number = self.next;
        self.next += 1;
        let how = match check {
            Check::Notify => return Err(not_run("it speaks by itself")),
            Check::Http { path, first_port } => {
                let (port, path, timeout) = (port(*first_port, slot)?, path.clone(), timing.timeout);
                let asking = async move { http::ask(port, &path, timeout).await };
                How::Task(self.ask(instance, probe, number, asking))
            }
            Check::Tcp { first_port } => {
                let (port, timeout) = (port(*first_port, slot)?, timing.timeout);
                let asking = async move { (tcp::ask(port, timeout).await, None) };
                How::Task(self.ask(instance, probe, number, asking))
            }
            Check::Exec { command } => {
                let lingers = |process: &Process| (process.instance, process.probe) == (instance, probe);
                if self.processes.values().any(lingers) {
                    return Err(not_run("its last command was killed and has not ended"));
                }
                let Hands { family, spawner, null } = hands;
                let mark = family.mark_of_probe(instance, number);
                let own = program::own_environment(&edition.process_type, slot.number, &mark);
                let (pid, output) = exec::start(command, (edition, &own), spawner, null)?;
                family.probe_born(pid, number);
                let (ended, end) = oneshot::channel();
                self.processes.insert(pid.raw(), Process { instance, probe, ended });
                How::Process(pid, self.follow(instance, probe, number, output, end, timing.timeout))
            }
        };
        self.tries.insert((instance, probe), Try { slot, number, how });
        Ok(())
    }

    /// Asks over the network.
    fn ask(
        &self,
        instance: InstanceId,
        probe: ProbeKind,
        number: u64,
        asking: impl Future<Output = (ProbeResult, Option<http::Rest>)> + Send + 'static,
    ) -> AbortHandle {
        let facts = self.facts.clone();
        let task = tokio::spawn(async move {
            let (result, rest) = asking.await;
            let finding = Finding { instance, probe, number, found: Found::Result(result) };
            // An error means that the loop has ended and does not want to know.
            let _ = facts.send(Fact::Probed(finding)).await;
            if let Some(rest) = rest {
                rest.read().await;
            }
        });
        task.abort_handle()
    }

    /// Follows a command until it has ended.
    fn follow(
        &self,
        instance: InstanceId,
        probe: ProbeKind,
        number: u64,
        output: Output,
        end: oneshot::Receiver<ExitStatus>,
        timeout: Duration,
    ) -> AbortHandle {
        let facts = self.facts.clone();
        let task = tokio::spawn(async move {
            let tell = async |found| {
                // An error means that the loop has ended and does not want to know.
                let _ = facts.send(Fact::Probed(Finding { instance, probe, number, found })).await;
            };
            let result = output.follow(end, timeout, async |late| tell(Found::Late(late)).await).await;
            if let Some(result) = result {
                tell(Found::Result(result)).await;
            }
        });
        task.abort_handle()
    }

    /// What follows from a finding: nothing where the try has been given up.
    pub(super) fn found(&mut self, finding: Finding) -> Option<Event> {
        let Finding { instance, probe, number, found } = finding;
        let key = (instance, probe);
        let tried = self.tries.get(&key).filter(|tried| tried.number == number)?;
        let result = match (found, &tried.how) {
            // It ended in time, and we come late: its task will be told.
            (Found::Late(_), How::Process(pid, _)) if reaper::has_ended(*pid) => return None,
            (Found::Late(late), How::Process(..) | How::Task(_)) => {
                let slot = self.cancel(key)?;
                return Some(Event::Probed { slot, instance, probe, result: late });
            }
            (Found::Result(result), How::Process(..) | How::Task(_)) => result,
        };
        // Its task is at its end, or reads what is left of an answer.
        let slot = self.tries.remove(&key)?.slot;
        Some(Event::Probed { slot, instance, probe, result })
    }

    /// An instance is to end: a command that asks how it is would only be in its way, and is killed; that is its answer.
    /// Connections come to their end by themselves.
    pub(super) fn drain(&mut self, instance: InstanceId) -> Vec<Event> {
        let keys = ProbeKind::ALL.map(|probe| (instance, probe));
        let commands = keys
            .into_iter()
            .filter(|key| self.tries.get(key).is_some_and(|tried| matches!(tried.how, How::Process(..))));
        let commands: Vec<_> = commands.collect();
        let killed = commands.into_iter().filter_map(|(instance, probe)| {
            let slot = self.cancel((instance, probe))?;
            let result = not_run("it is being stopped");
            Some(Event::Probed { slot, instance, probe, result })
        });
        killed.collect()
    }

    /// An instance has ended: nobody wants to know any more how it is.
    pub(super) fn give_up(&mut self, instance: InstanceId) {
        for probe in ProbeKind::ALL {
            self.cancel((instance, probe));
        }
    }

    /// Whether a dead child is a command of ours. Who waits for its end is told, and what is left of its group is killed: the
    /// group's number is its own as long as the child is not reaped.
    pub(super) fn dead(&mut self, dead: Dead) -> bool {
        let Some(process) = self.processes.remove(&dead.pid) else { return false };
        if let Some(pid) = Pid::new(dead.pid) {
            kill_group(pid);
        }
        // An error means that it was given up.
        let _ = process.ended.send(dead.status);
        true
    }

    /// Whether some command is not reaped.
    pub(super) fn any_process(&self) -> bool {
        !self.processes.is_empty()
    }

    /// Ends a try that has no answer yet, if there is one.
    fn cancel(&mut self, key: (InstanceId, ProbeKind)) -> Option<SlotKey> {
        let tried = self.tries.remove(&key)?;
        match tried.how {
            How::Task(task) => task.abort(),
            How::Process(pid, task) => {
                task.abort();
                // Once it is reaped, its number may be anybody's.
                if self.processes.contains_key(&pid.raw()) {
                    kill_group(pid);
                }
            }
        }
        Some(tried.slot)
    }
}

/// Waits for the commands of probes that were killed a moment ago.
pub(super) async fn bury_last(host: &mut Host, queue: &mut mpsc::Receiver<Fact>) {
    let buried = async {
        while host.any_probe() {
            while let Some((pid, _)) = host.dead() {
                host.bury(pid);
            }
            if host.any_probe() {
                // Whatever it is, everything has ended; SIGCHLD is among it.
                queue.recv().await;
            }
        }
    };
    if tokio::time::timeout(LAST, buried).await.is_err() {
        tracing::warn!("the command of a probe was killed and has not ended");
    }
}

/// The probe of a type.
fn of(health: &Health, probe: ProbeKind) -> Option<&Probe> {
    match probe {
        ProbeKind::Startup => health.startup.as_ref(),
        ProbeKind::Readiness => health.readiness.as_ref(),
        ProbeKind::Liveness => health.liveness.as_ref(),
    }
}

/// The port of a slot.
///
/// # Errors
/// There is none: what is to be answered.
fn port(first: u16, slot: SlotKey) -> Result<u16, ProbeResult> {
    let port = (u32::from(first) + slot.number).checked_sub(1).and_then(|port| u16::try_from(port).ok());
    port.ok_or_else(|| ProbeResult::Failed { why: format!("slot {} has no port", slot.number) })
}

/// SIGKILL to the group of an unreaped command.
fn kill_group(leader: Pid) {
    if let Err(errno) = kill::group(leader, Signal::KILL) {
        tracing::warn!(%leader, %errno, "the command of a probe was not killed");
    }
}

/// Asks, and waits for so long.
async fn in_time<T>(
    timeout: Duration,
    what: &str,
    asking: impl Future<Output = Result<T, ProbeResult>>,
) -> Result<T, ProbeResult> {
    let begin = Instant::now();
    let asked = tokio::time::timeout(timeout, asking).await;
    let late = begin.elapsed() > timeout + STOOD_STILL;
    match asked {
        Ok(Err(ProbeResult::Failed { .. })) | Err(_) if late => Err(stood_still()),
        Ok(result) => result,
        Err(_) => Err(ProbeResult::Failed { why: format!("{what}: no answer within {}", brief(timeout)) }),
    }
}

fn stood_still() -> ProbeResult {
    not_run("the supervisor stood still meanwhile")
}

fn not_run(why: &str) -> ProbeResult {
    ProbeResult::NotRun { why: why.to_owned() }
}

/// What an error of the system says about an instance: nothing, where it is we who are short of something.
fn refused(what: &str, error: &io::Error) -> ProbeResult {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let why = match errno {
        Some(errno) => format!("{what}: {}", lower_case(errno.desc())),
        None => format!("{what}: {error}"),
    };
    match errno {
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
            | Errno::ENOBUFS
            | Errno::ENOSPC
            | Errno::EAGAIN
            | Errno::EADDRNOTAVAIL,
        ) => ProbeResult::NotRun { why },
        Some(_) | None => ProbeResult::Failed { why },
    }
}

/// As part of a sentence.
fn lower_case(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
