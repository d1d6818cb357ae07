//! What we were started with and our children get back: signal mask, ignored signals, limits.
//!
//! Taken before anything of it is changed: the mask and the limits first thing in `main`, the disposition of SIGPIPE
//! even earlier, since Rust's runtime sets it to ignored before `main`.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction,
};

/// What we were started with.
#[derive(Clone, Debug)]
pub struct Inherited {
    /// The signal mask.
    pub(super) mask: SigSet,
    /// Whether SIGHUP was ignored (`nohup`).
    pub(super) hangup_ignored: bool,
    /// Signals that were ignored and that we have to treat otherwise ourselves.
    pub(super) ignored: Vec<Signal>,
    /// The soft and hard limit of open files.
    pub(super) open_files: (u64, u64),
}

impl Inherited {
    /// Takes note of everything, and blocks every signal that can wait: none is lost before the loop reads them.
    ///
    /// To be called first thing in `main`, while there is one thread.
    ///
    /// # Errors
    /// The system's; none is known to happen.
    pub fn take() -> io::Result<Inherited> {
        let mut block = SigSet::all();
        // These tell of a mistake of our own, in the instruction that made it.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGABRT,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ] {
            block.remove(signal);
        }
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&block), Some(&mut mask))?;

        let mut ignored = Vec::new();
        if SIGPIPE_IGNORED.load(Ordering::Relaxed) {
            ignored.push(Signal::SIGPIPE);
        }
        // With SIGCHLD ignored the kernel would reap for us, and we would never learn how a child ended (wait(2)).
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is installed.
        let child = unsafe { sigaction(Signal::SIGCHLD, &default)? };
        if child.handler() == SigHandler::SigIgn {
            ignored.push(Signal::SIGCHLD);
        }
        Ok(Inherited {
            mask,
            hangup_ignored: is_ignored(libc::SIGHUP),
            ignored,
            open_files: getrlimit(Resource::RLIMIT_NOFILE)?,
        })
    }

    /// Gives everything back to this process, which is about to become another program or needs none of it.
    ///
    /// # Errors
    /// The system's; none is known to happen.
    pub fn give_back(&self) -> io::Result<()> {
        if !self.ignored.contains(&Signal::SIGPIPE) {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed.
            unsafe { sigaction(Signal::SIGPIPE, &default)? };
        }
        if self.ignored.contains(&Signal::SIGCHLD) {
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            // SAFETY: no handler is installed.
            unsafe { sigaction(Signal::SIGCHLD, &ignore)? };
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)?;
        Ok(())
    }

    /// Gives back the signal mask alone, but for these signals, which this process reads itself.
    ///
    /// # Errors
    /// As [`Inherited::give_back`].
    pub(super) fn unblock_all_but(&self, signals: &SigSet) -> io::Result<()> {
        let mut mask = self.mask;
        signals.iter().for_each(|signal| mask.add(signal));
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
        Ok(())
    }

    /// Prepares this process for many children: as many open files as the hard limit allows, and no descriptor that we
    /// inherited is passed on.
    pub(super) fn make_room(&self) {
        let (soft, hard) = self.open_files;
        if soft < hard
            && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        {
            tracing::debug!(%error, "the limit of open files stays at {soft}");
        }
        // Every descriptor but the first three in one go (close_range(2), Linux 5.11).
        // SAFETY: it changes flags of descriptors, and closes none.
        let all = unsafe {
            libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        if all != 0 {
            for fd in open_descriptors(soft) {
                // SAFETY: fcntl on a number; a wrong one fails with EBADF, which is fine: it is closed.
                unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
        }
    }
}

/// The descriptor after stdin, stdout and stderr.
const FIRST: RawFd = 3;

/// Where nobody tells which descriptors are open, so many are tried: 10 ms at most.
const TRIED: RawFd = 65_536;

/// Our open descriptors from [`FIRST`] on; without /proc whatever could be one below this limit.
fn open_descriptors(limit: u64) -> Vec<RawFd> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            numbers.filter(|fd| *fd >= FIRST).collect()
        }
        Err(_) => (FIRST..RawFd::try_from(limit).unwrap_or(TRIED).min(TRIED)).collect(),
    }
}

/// Whether SIGPIPE was ignored before Rust's runtime ignored it.
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_THE_RUNTIME: extern "C" fn() = {
    extern "C" fn note_sigpipe() {
        SIGPIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    }
    note_sigpipe
};

/// Whether a signal is ignored by this process now.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeroes is a valid sigaction to be written over.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it only reads the disposition, into a value of ours.
    unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    action.sa_sigaction == libc::SIG_IGN
}
