//! Signals to us, read from a descriptor; they are blocked everywhere else, so none comes in between.

use std::io;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use crate::api::Signal;

use super::inherited::Inherited;

/// The signals that were sent to us.
#[derive(Debug)]
pub(super) struct Signals(AsyncFd<SignalFd>);

/// The last signal of the kernel's set.
const LAST: i32 = 64;
/// The C library keeps 32 and 33 for itself.
const FIRST_REAL_TIME: i32 = 34;

impl Signals {
    /// # Errors
    /// The system's, where the descriptor cannot be made.
    pub(super) fn new(inherited: &Inherited) -> io::Result<Signals> {
        let plain = [
            libc::SIGCHLD,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGPWR,
            libc::SIGTSTP,
            libc::SIGCONT,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGWINCH,
        ];
        // SAFETY: all zeroes is a valid set to be written over.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a set of ours; every number is a signal.
        unsafe {
            libc::sigemptyset(&raw mut set);
            for signal in plain.into_iter().chain(FIRST_REAL_TIME..=LAST) {
                // A blocked signal is queued even where it is ignored; `nohup` shall go on meaning what it means.
                if signal != libc::SIGHUP || !inherited.hangup_ignored {
                    libc::sigaddset(&raw mut set, signal);
                }
            }
        }
        // SAFETY: a valid set.
        let set = unsafe { SigSet::from_sigset_t_unchecked(set) };
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        // SAFETY: the descriptor is owned by what is registered, and is never replaced in it.
        let registered = unsafe { AsyncFd::register(fd) };
        Ok(Signals(registered?))
    }

    /// The next signal; waits for it.
    ///
    /// # Errors
    /// The system's; none is known to happen.
    pub(super) async fn next(&self) -> io::Result<Signal> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().read_signal()? {
                Some(info) => {
                    if let Some(signal) = i32::try_from(info.ssi_signo).ok().and_then(Signal::new) {
                        return Ok(signal);
                    }
                }
                None => ready.clear_ready(),
            }
        }
    }
}
