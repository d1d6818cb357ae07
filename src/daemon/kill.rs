//! Sending signals, each to exactly whom it is meant for. That the process has already ended is no error.

use nix::errno::Errno;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::api::{Pid, Signal};
use crate::supervisor::SlotKey;

use super::family::Kin;
use super::proc::{self, Short, Stat};

/// To one process, whose number is known to be its own (our unreaped child).
pub(super) fn process(pid: Pid, signal: Signal) -> Result<(), Errno> {
    // SAFETY: a plain system call; `Pid` is never 0, 1 or negative.
    gone_is_fine(unsafe { libc::kill(pid.raw(), signal.number()) })
}

/// To a process group, whose number is known to be its own (an unreaped leader, or a living member).
pub(super) fn group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    // SAFETY: as above; the negative of it is a group (kill(2)), never -1.
    gone_is_fine(unsafe { libc::kill(-leader.raw(), signal.number()) })
}

/// To a process that /proc showed us: only if its number is still its own.
pub(super) fn exactly(stat: &Stat, signal: Signal) -> Result<(), Errno> {
    let handle = match open(stat.pid) {
        Ok(handle) => Some(handle),
        Err(Errno::ESRCH) => return Ok(()),
        // Whoever is to be stopped is not spared for want of a descriptor.
        Err(errno) if is_refused(errno) || Short::of(errno).is_some() => None,
        Err(errno) => return Err(errno),
    };
    // The descriptor pins the process; that it is the one we saw is told by its time of birth.
    match Stat::look(stat.pid) {
        Ok(Some(now)) if now.is(stat) => {}
        Ok(_) => return Ok(()),
        Err(Short(errno)) => return Err(errno),
    }
    if let Some(handle) = handle {
        let nothing: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a plain system call on a descriptor of ours.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), signal.number(), nothing, 0)
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => return Ok(()),
            // The process may be another user's; or it is the call that is not allowed, and the other one tells.
            Err(errno) if is_refused(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    // Nothing pins it now: that its number becomes another's in the moment since we looked is all that is left to chance.
    Pid::new(stat.pid).map_or(Ok(()), |pid| process(pid, signal))
}

/// To everybody in our pid namespace, and only where we are its init: nobody else may mean that.
pub(super) fn everybody(signal: Signal) -> Result<(), Errno> {
    if std::process::id() != 1 {
        return Err(Errno::EPERM);
    }
    // SAFETY: a plain system call; the init itself is left out (kill(2)).
    gone_is_fine(unsafe { libc::kill(-1, signal.number()) })
}

/// To each of these leaders that has a handler for it, and gives the slots of those that have none.
pub(super) fn pass(leaders: Vec<Kin>, signal: Signal) -> Vec<SlotKey> {
    let catches = |kin: &Kin| {
        proc::caught_signals(kin.leader).is_some_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
    };
    let (listening, deaf): (Vec<Kin>, Vec<Kin>) = leaders.into_iter().partition(catches);
    for Kin { leader, .. } in listening {
        if let Err(errno) = process(leader, signal) {
            tracing::warn!(pid = %leader, %signal, %errno, "a signal was not passed on");
        }
    }
    deaf.into_iter().map(|kin| kin.slot).collect()
}

/// Whether a system call is not there or not allowed: a container engine older than the call answers EPERM, others ENOSYS.
fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EACCES)
}

/// A descriptor that stands for a process and becomes readable when it ends (`pidfd_open(2)`, Linux 5.3).
pub(super) fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EMFILE)?;
    // SAFETY: the call above made it, close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn gone_is_fine(result: i32) -> Result<(), Errno> {
    match Errno::result(result) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).expect("a pid is small")
    }

    #[test]
    fn fault_29_a_process_that_only_has_the_number_is_not_signalled() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("there is a `sleep`");
        let stat = Stat::of(pid(&child)).expect("it lives");
        let mut stranger = stat.clone();
        stranger.start -= 1;
        assert_eq!(exactly(&stranger, Signal::KILL), Ok(()));
        assert_eq!(exactly(&stat, Signal::TERM), Ok(()));
        // SIGKILL would have come first.
        assert_eq!(child.wait().expect("it is ours").signal(), Some(libc::SIGTERM));
        assert_eq!(exactly(&stat, Signal::TERM), Ok(()), "nobody has the number: no error");
    }

    #[test]
    fn fault_30_a_dead_leader_that_is_not_reaped_pins_the_number_of_its_group() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 20 & echo $!"]).process_group(0).stdout(Stdio::piped());
        let mut leader = shell.spawn().expect("there is a shell");
        // SAFETY: all zeroes is a valid siginfo_t to be written over; the child is ours, and is not reaped.
        unsafe {
            let mut found: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, leader.id(), &raw mut found, libc::WEXITED | libc::WNOWAIT);
        }
        let number = pid(&leader);
        let is_zombie = || Stat::of(number).is_some_and(|stat| !stat.alive());
        assert!(is_zombie());
        let begin = Instant::now();
        assert_eq!(group(Pid::new(number).expect("a pid"), Signal::TERM), Ok(()));
        // The member was the last that held the pipe.
        let mut said = String::new();
        leader.stdout.take().expect("it is piped").read_to_string(&mut said).expect("a pid");
        let member = said.trim().parse().expect("a pid");
        // A process closes what it has open a moment before it has ended.
        while Stat::of(member).is_some_and(|stat| stat.alive() && stat.group == number) {
            assert!(begin.elapsed() < Duration::from_secs(15), "{member} lives on");
            std::thread::yield_now();
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "it has slept to its end");
        assert!(is_zombie(), "nobody else can have the number");
        leader.wait().expect("it is ours");
    }
}
