//! The one place that waits for children. Nothing else in the program may.
//!
//! A dead child is peeked at first and stays a zombie: its pid, and with it the number of its process group, cannot be
//! used again until it is reaped, so its group can be signalled without hitting a stranger. waitid(2) shows the same
//! zombie until then, so each is reaped before the next peek.

use nix::errno::Errno;

use crate::api::{ExitStatus, Pid, Signal};

/// A child that has ended and is not reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) pid: i32,
    pub(super) status: ExitStatus,
}

/// A child that has ended, if there is one.
pub(super) fn peek() -> Option<Dead> {
    // SAFETY: all zeroes is a valid siginfo_t to be written over.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    loop {
        // SAFETY: waitid writes into a value of ours.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut found, flags) } == 0 {
            break;
        }
        match Errno::last() {
            Errno::EINTR => {}
            // ECHILD: there is no child at all.
            _ => return None,
        }
    }
    // SAFETY: waitid filled it in as for SIGCHLD, or left the pid 0 (waitid(2), NOTES).
    let (pid, status) = unsafe { (found.si_pid(), found.si_status()) };
    let signal = |core_dumped| ExitStatus::Signal {
        // The kernel names no signal that does not exist.
        signal: Signal::new(status).unwrap_or(Signal::KILL),
        core_dumped,
    };
    let status = match found.si_code {
        libc::CLD_KILLED => signal(false),
        libc::CLD_DUMPED => signal(true),
        // Of an exit code only the lowest eight bits are kept (exit(3)).
        _ => ExitStatus::Code(status.to_le_bytes()[0]),
    };
    (pid != 0).then_some(Dead { pid, status })
}

/// Whether there is any child of ours, dead or alive.
pub(super) fn any_child() -> bool {
    // SAFETY: all zeroes is a valid siginfo_t to be written over.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid writes into a value of ours.
    unsafe { libc::waitid(libc::P_ALL, 0, &raw mut found, flags) == 0 || Errno::last() != Errno::ECHILD }
}

/// Whether an unreaped child of ours has ended.
pub(super) fn has_ended(pid: Pid) -> bool {
    let Ok(id) = libc::id_t::try_from(pid.raw()) else { return false };
    // SAFETY: all zeroes is a valid siginfo_t to be written over.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid writes into a value of ours; where nobody has ended it leaves the pid 0 (waitid(2), NOTES).
    unsafe { libc::waitid(libc::P_PID, id, &raw mut found, flags) == 0 && found.si_pid() != 0 }
}

/// Reaps a child that was peeked at, or that is known to be about to end (a start that failed).
pub(super) fn reap(pid: i32) {
    // SAFETY: waitpid with no place to write to.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } < 0 {
        match Errno::last() {
            Errno::EINTR => {}
            error => {
                tracing::error!(pid, %error, "a dead child cannot be reaped");
                return;
            }
        }
    }
}
