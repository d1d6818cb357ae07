//! Signals to us, read from a descriptor; they are blocked everywhere else, so none comes in between.

use std::io;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use tokio::io::unix::AsyncFd;

use crate::api::Signal;

use super::inherited::Inherited;

/// The signals that were sent to us.
#[derive(Debug)]
pub(super) struct Signals(AsyncFd<SignalFd>);

/// What nobody sends to us but to have it passed on, beside USR1, USR2, WINCH and the real-time ones. The kernel sends them too,
/// for what we do ourselves (`write(2)` to a closed pipe, a limit of ours): those are not for our children, and as these
/// signals are blocked nothing comes of them.
///
/// Not among them: TTIN and TTOU, which only tell a job in the background what it may not do, and which stop nobody who blocks
/// them; and SEGV, BUS, FPE, ILL, ABRT, TRAP and SYS, which are about a mistake of our own (see [`Inherited::take`]), and of
/// which the init of a pid namespace hears nothing where somebody sends them (`pid_namespaces(7)`).
const PASSED_FOR_OTHERS: [libc::c_int; 9] = [
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGURG,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGSTKFLT,
    libc::SIGPIPE,
];

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
            for signal in plain.into_iter().chain(PASSED_FOR_OTHERS).chain(FIRST_REAL_TIME..=LAST) {
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
                    let signal = i32::try_from(info.ssi_signo).ok().and_then(Signal::new);
                    if let Some(signal) = signal.filter(|signal| is_for_us(*signal, &info)) {
                        return Ok(signal);
                    }
                }
                None => ready.clear_ready(),
            }
        }
    }
}

/// Whether somebody sent it: a positive code is the kernel's, and what it sends for a write of ours has our own pid
/// (sigaction(2), `SI_USER`).
fn is_for_us(signal: Signal, info: &siginfo) -> bool {
    let by_another = info.ssi_code <= 0 && info.ssi_pid != std::process::id();
    by_another || !PASSED_FOR_OTHERS.contains(&signal.number())
}
