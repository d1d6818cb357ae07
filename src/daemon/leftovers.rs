//! What an earlier run of the same project left behind because it was killed with SIGKILL: found by its mark in the
//! environment, named, and stopped before anything new starts.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use fnv::FnvHasher;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;

use crate::api::Signal;
use crate::app::{Leftovers, Release};

use super::kill;
use super::proc::{self, Stat};

/// The name of a project: the same for every run of the same Procfile.
pub(super) fn project(procfile: &Path) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(procfile.as_os_str().as_bytes());
    format!("{:016x}", hasher.finish())
}

/// The beginning of every mark of this run: the project, and us by pid and time of birth.
pub(super) fn mark(project: &str) -> String {
    let us = std::process::id();
    let start = i32::try_from(us).ok().and_then(Stat::of).map_or(0, |stat| stat.start);
    format!("{project}-{us}-{start}")
}

/// Living processes with a mark of this project whose supervisor is gone, those aside that a type lets be.
pub(super) fn find(project: &str, release: &Release) -> Vec<Stat> {
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let orphaned = |pid: i32| {
        let mark = String::from_utf8(proc::variable(pid, "SUPERVISE_INSTANCE")?).ok()?;
        let mut parts = mark.strip_prefix(project)?.strip_prefix('-')?.split('-');
        let supervisor: i32 = parts.next()?.parse().ok()?;
        let start: u64 = parts.next()?.parse().ok()?;
        let its_supervisor_lives = Stat::of(supervisor).is_some_and(|stat| stat.start == start);
        (!its_supervisor_lives && !let_be(pid, release)).then(|| Stat::of(pid)).flatten().filter(Stat::alive)
    };
    proc::pids().into_iter().filter(|pid| *pid != us).filter_map(orphaned).collect()
}

fn let_be(pid: i32, release: &Release) -> bool {
    let name = proc::variable(pid, "SUPERVISE_TYPE").and_then(|name| String::from_utf8(name).ok());
    let process_type = name.and_then(|name| release.process_type(&name));
    process_type.is_some_and(|process_type| process_type.policy.leftovers == Leftovers::Leave)
}

/// After SIGKILL a process is gone as soon as the kernel gets round to it.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// Stops them: SIGTERM and SIGCONT, SIGKILL after `drain`. Returns those that survived.
pub(super) fn stop(found: &[Stat], drain: Duration) -> Vec<Stat> {
    for signal in [Signal::TERM, Signal::CONT] {
        signal_all(found, signal);
    }
    let left = wait(found, drain);
    signal_all(&left, Signal::KILL);
    wait(&left, AFTER_KILL)
}

fn signal_all(processes: &[Stat], signal: Signal) {
    for process in processes {
        if let Err(errno) = kill::exactly(process, signal) {
            tracing::warn!(pid = process.pid, %signal, %errno, "a leftover was not signalled");
        }
    }
}

/// Waits until all have ended, at most so long; returns those that have not.
fn wait(processes: &[Stat], limit: Duration) -> Vec<Stat> {
    let deadline = Instant::now() + limit;
    let mut left: Vec<Stat> = processes.to_vec();
    loop {
        left.retain(|stat| Stat::of(stat.pid).is_some_and(|now| now.start == stat.start && now.alive()));
        let Some(first) = left.first() else { return left };
        let now = Instant::now();
        if now >= deadline {
            return left;
        }
        let Ok(handle) = kill::open(first.pid) else { continue };
        let timeout = PollTimeout::try_from(deadline - now).unwrap_or(PollTimeout::MAX);
        // Interrupted or not: the loop looks again.
        let _ = poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], timeout);
    }
}
