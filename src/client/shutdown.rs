//! `shutdown`: everything ends, and so does the supervisor.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroI32;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use super::connection::{Connection, Trouble, Wait, Whereabouts};
use super::{conclude, effects};
use crate::api::place;

/// Ends the supervisor and waits until it is gone; the answer is the exit code.
pub fn shutdown(
    whereabouts: &Whereabouts,
    drain: Option<Duration>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let result = end(whereabouts, drain, out, err);
    conclude(result, err)
}

fn end(
    whereabouts: &Whereabouts,
    drain: Option<Duration>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Trouble> {
    let mut connection = Connection::open(whereabouts)?;
    // Before it is asked: afterwards its number may be another's.
    let watch = Watch::new(&connection)?;
    let body = match drain {
        Some(drain) => json!({ "drain": format!("{}ms", drain.as_millis()) }),
        None => json!({}),
    };
    match connection.post("/v1/shutdown", &body, Wait::Accepted) {
        Ok(answer) => effects::tell(out, None, None, &answer).map(drop)?,
        Err(Trouble::Refused { code, message }) if code == "shutting_down" => writeln!(err, "{message}")?,
        Err(trouble) => return Err(trouble),
    }
    out.flush()?;
    let name = connection.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    drop(connection);
    watch.wait()?;
    writeln!(out, "the supervisor{name} is gone")?;
    Ok(0)
}

/// What tells that the supervisor is gone.
enum Watch {
    /// Its process.
    Process(OwnedFd),
    /// The lock that it holds for as long as it lives.
    Lock(File),
}

impl Watch {
    fn new(connection: &Connection) -> Result<Watch, Trouble> {
        if let Some(process) = connection.pid.and_then(|pid| pidfd(pid).ok()) {
            return Ok(Watch::Process(process));
        }
        let lock = place::lock_of(&connection.socket);
        File::open(&lock).map(Watch::Lock).map_err(|error| {
            let reason =
                format!("neither its process can be watched nor its lock, {}: {error}", lock.display());
            Trouble::System(io::Error::new(error.kind(), reason))
        })
    }

    /// Waits until the supervisor is gone, however long that takes.
    fn wait(self) -> io::Result<()> {
        match self {
            Watch::Process(process) => loop {
                let mut watched = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
                match poll(&mut watched, PollTimeout::NONE) {
                    Ok(_) => return Ok(()),
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            },
            Watch::Lock(mut lock) => loop {
                match Flock::lock(lock, FlockArg::LockShared) {
                    Ok(_) => return Ok(()),
                    Err((back, Errno::EINTR)) => lock = back,
                    Err((_, errno)) => return Err(errno.into()),
                }
            },
        }
    }
}

/// A descriptor that becomes readable when a process has ended (`pidfd_open(2)`, Linux 5.3).
fn pidfd(pid: NonZeroI32) -> io::Result<OwnedFd> {
    // SAFETY: two numbers are passed, and the answer is a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.get(), 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel just made it, and nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}
