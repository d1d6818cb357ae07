//! What an earlier run of the same project left behind because it was killed with SIGKILL: found by its mark in the
//! environment, named, and stopped before anything new starts.

use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::api::{LeftoversFate, Notice, Process, Signal};
use crate::app::{Leftovers, Release};
use crate::stream::Stream;

use super::family;
use super::kill;
use super::proc::{self, Stat};
use super::{Fact, LeftoversOfEarlierRuns};

/// The beginning of every mark of this run: the project, the pid namespace, and in it us by pid and time of birth.
pub(super) fn mark(project: &str) -> String {
    let us = std::process::id();
    let start = i32::try_from(us).ok().and_then(Stat::of).map_or(0, |stat| stat.start);
    format!("{project}-{}-{us}-{start}", proc::pid_namespace())
}

/// Whether anybody of an earlier run is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Not that we know.
    Nobody,
    /// `--leftovers ignore`: the next start is to find them again.
    Somebody,
}

/// Deals with what an earlier run left behind.
///
/// # Errors
/// The exit code, where nothing may be started.
pub(super) async fn settle(
    project: &str,
    release: &Release,
    wanted: LeftoversOfEarlierRuns,
    stream: &Stream,
    queue: &mut mpsc::Receiver<Fact>,
) -> Result<Left, u8> {
    let found = find(project, release);
    if found.is_empty() {
        return Ok(Left::Nobody);
    }
    let processes: Vec<Process> = found.iter().filter_map(Stat::process).collect();
    let say = |fate| stream.notice(Notice::LeftoversFound { processes, fate });
    match wanted {
        LeftoversOfEarlierRuns::Ignore => {
            say(LeftoversFate::Ignored);
            Ok(Left::Somebody)
        }
        LeftoversOfEarlierRuns::Fail => {
            say(LeftoversFate::Refused);
            Err(1)
        }
        LeftoversOfEarlierRuns::Stop => {
            say(LeftoversFate::Stopped);
            let drain = release.types.iter().map(|process_type| process_type.policy.drain).max();
            let looked_for = || find(project, release);
            let survivors = match stop(looked_for, drain.unwrap_or_default(), queue).await {
                Ok(survivors) if survivors.is_empty() => return Ok(Left::Nobody),
                Ok(survivors) => survivors,
                Err(Fact::Signal(Signal::INT)) => return Err(130),
                Err(_) => return Err(0),
            };
            let pids: Vec<i32> = survivors.iter().map(|stat| stat.pid).collect();
            tracing::error!(?pids, "processes of an earlier run survived SIGKILL; nothing is started");
            Err(1)
        }
    }
}

/// Living processes with a mark of this project whose supervisor is gone; those aside that a type lets be, and ourselves
/// and whoever we descend from. No type lets be what asked how it is. A supervisor in another pid namespace is somebody
/// else's business.
pub(super) fn find(project: &str, release: &Release) -> Vec<Stat> {
    let beginning = format!("{project}-{}-", proc::pid_namespace());
    let orphaned = |pid: i32| {
        let mark = String::from_utf8(proc::variable(pid, "SUPERVISE_INSTANCE").ok()??).ok()?;
        let mut parts = mark.strip_prefix(&beginning)?.split('-');
        let supervisor: i32 = parts.next()?.parse().ok()?;
        let start: u64 = parts.next()?.parse().ok()?;
        let its_supervisor_lives =
            Stat::of(supervisor).is_some_and(|stat| stat.start == start && stat.alive());
        let let_be = !parts.next().is_some_and(family::marks_a_probe) && let_be(pid, release);
        (!its_supervisor_lives && !let_be).then(|| Stat::of(pid)).flatten().filter(Stat::alive)
    };
    let lineage = lineage();
    // Nothing runs yet that could make anything short; a start without descriptors for ourselves fails before.
    let pids = proc::pids().unwrap_or_default();
    pids.into_iter().filter(|pid| !lineage.contains(pid)).filter_map(orphaned).collect()
}

/// Ourselves, our parent, and so on.
fn lineage() -> Vec<i32> {
    let us = i32::try_from(std::process::id()).ok();
    std::iter::successors(us, |pid| Stat::of(*pid).map(|stat| stat.parent).filter(|parent| *parent > 0))
        .collect()
}

fn let_be(pid: i32, release: &Release) -> bool {
    let name = proc::variable(pid, "SUPERVISE_TYPE").unwrap_or_default();
    let name = name.and_then(|name| String::from_utf8(name).ok());
    let process_type = name.and_then(|name| release.process_type(&name));
    process_type.is_some_and(|process_type| process_type.policy.leftovers == Leftovers::Leave)
}

/// After SIGKILL a process is gone as soon as the kernel gets round to it.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// So often whoever was born while we killed is killed too.
const KILLS: u32 = 5;

/// Where no descriptor is to be had for a process, it is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Stops what [`find`] finds, until it finds nothing: SIGTERM and SIGCONT, SIGKILL after `drain`. Returns those that
/// survived.
///
/// # Errors
/// What made us give up: somebody asked us to end, too.
pub(super) async fn stop(
    find: impl Fn() -> Vec<Stat>,
    drain: Duration,
    queue: &mut mpsc::Receiver<Fact>,
) -> Result<Vec<Stat>, Fact> {
    let deadline = Instant::now() + drain;
    let mut asked: Vec<Stat> = Vec::new();
    loop {
        let found = find();
        if found.is_empty() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            break;
        }
        let new = found.iter().filter(|stat| !asked.iter().any(|asked| asked.is(stat))).cloned();
        let new: Vec<Stat> = new.collect();
        let parents: Vec<i32> = found.iter().map(|stat| stat.pid).collect();
        // The kernel sent SIGTERM to the leaders when their supervisor ended; many programs end in a hurry on a second one.
        let to_ask: Vec<Stat> = new.iter().filter(|stat| !stat.led_a_group(&parents)).cloned().collect();
        signal_all(&to_ask, Signal::TERM);
        signal_all(&new, Signal::CONT);
        asked.extend(new);
        wait(&found, deadline, queue).await?;
    }
    for _ in 0..KILLS {
        let left = find();
        if left.is_empty() {
            break;
        }
        signal_all(&left, Signal::KILL);
        wait(&left, Instant::now() + AFTER_KILL, queue).await?;
    }
    Ok(find())
}

fn signal_all(processes: &[Stat], signal: Signal) {
    for process in processes {
        if let Err(errno) = kill::exactly(process, signal) {
            tracing::warn!(pid = process.pid, %signal, %errno, "a leftover was not signalled");
        }
    }
}

/// Waits until all have ended or the deadline has come.
async fn wait(processes: &[Stat], deadline: Instant, queue: &mut mpsc::Receiver<Fact>) -> Result<(), Fact> {
    let lives = |stat: &&Stat| Stat::of(stat.pid).is_some_and(|now| now.is(stat) && now.alive());
    while let Some(first) = processes.iter().find(lives) {
        tokio::select! {
            () = ended(first) => {}
            () = tokio::time::sleep_until(deadline.into()) => return Ok(()),
            Some(fact) = queue.recv() => {
                if fact.ends_us() {
                    return Err(fact);
                }
            }
        }
    }
    Ok(())
}

async fn ended(process: &Stat) {
    let watched = kill::open(process.pid).map_err(std::io::Error::from).and_then(|handle| {
        // SAFETY: the descriptor is owned by what is registered, and is never replaced in it.
        Ok(unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE)? })
    });
    match watched {
        // Ended or not: whoever waits looks again.
        Ok(watched) => drop(watched.readable().await),
        Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
    }
}
