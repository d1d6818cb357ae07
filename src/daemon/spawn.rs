//! Starts one process: clone(2) with `CLONE_VM | CLONE_VFORK`, so that a start costs what exec costs, however large
//! we are; and what `posix_spawn(3)` cannot do (`PR_SET_PDEATHSIG`, limits) is done between clone and exec.
//!
//! The child borrows our memory until it executes. It runs one function that makes system calls on memory prepared
//! before, with all signals blocked; it allocates nothing, locks nothing and cannot panic. Its error and the stage of
//! it are written to that memory: the kernel lets us go on only when the child has executed or ended, so there is
//! nothing to race with, and no pipe to run out of.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect};
use nix::sys::stat::Mode;

use crate::api::Pid;
use crate::app::Limit;

use super::birth::clone_into;
use super::inherited::Inherited;

/// What is to be executed, ready for the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Where it may be, tried in order.
    pub(super) candidates: Vec<CString>,
    /// Its arguments, itself included.
    pub(super) arguments: Vec<CString>,
}

/// How it is executed.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// In two parts: what its sisters get too, and its own.
    pub(super) environment: [&'a [CString]; 2],
    pub(super) directory: &'a CStr,
    pub(super) limits: &'a [Limit],
    pub(super) stdin: RawFd,
    pub(super) stdout: &'a OwnedFd,
    pub(super) stderr: &'a OwnedFd,
    /// The socket that it gets as its descriptor 3.
    pub(super) socket: Option<BorrowedFd<'a>>,
    /// The directory of the cgroup that it is born in, where that is not ours.
    pub(super) cell: Option<BorrowedFd<'a>>,
}

/// At which step a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// clone(2).
    Clone,
    /// A cgroup of its own.
    Cgroup,
    /// A process group of its own.
    Group,
    /// Its end with ours.
    DeathSignal,
    /// Standard input, output and error.
    Descriptors,
    /// The socket that is handed over.
    Socket,
    /// A resource limit.
    Limits,
    /// The working directory.
    Directory,
    /// Signal dispositions and mask.
    Signals,
    /// execve(2) itself.
    Execute,
}

/// Why a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) errno: Errno,
    /// The pid of the child that is to be reaped, where there was one.
    pub(super) corpse: Option<i32>,
}

/// Starts processes. It owns the stack they borrow until they execute.
#[derive(Debug)]
pub(super) struct Spawner {
    stack_top: *mut c_void,
    inherited: Inherited,
    /// What each child writes to its `oom_score_adj`.
    oom_score: Option<CString>,
}

/// The child calls a dozen small functions; the guard page below turns a mistake here into a crash, not a corruption.
const STACK: usize = 64 * 1024;
/// The largest page of any Linux that we run on.
const GUARD: usize = 64 * 1024;

impl Spawner {
    /// # Errors
    /// ENOMEM.
    pub(super) fn new(inherited: Inherited, oom_score: Option<CString>) -> io::Result<Spawner> {
        let length = const { std::num::NonZeroUsize::new(STACK + GUARD).unwrap() };
        // SAFETY: a new private mapping; nothing else knows its address.
        let base = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK,
            )?
        };
        // SAFETY: the lowest part of the mapping made above, not used yet. Stacks grow down on every platform of ours.
        unsafe { mprotect(base, GUARD, ProtFlags::PROT_NONE)? };
        // SAFETY: one past the end of the mapping, aligned to a page; it is never read or written itself.
        let stack_top = unsafe { base.as_ptr().add(STACK + GUARD) };
        Ok(Spawner { stack_top, inherited, oom_score })
    }

    /// Starts a process. On the main thread only: its end is tied to that of the thread that starts it (prctl(2),
    /// `PR_SET_PDEATHSIG`).
    pub(super) fn spawn(&mut self, program: &Program, setting: &Setting<'_>) -> Result<Pid, Failure> {
        let pointers = |parts: &[&[CString]]| -> Vec<*const c_char> {
            let strings = parts.iter().copied().flatten();
            strings.map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let candidates = pointers(&[&program.candidates]);
        let arguments = pointers(&[&program.arguments]);
        let mut environment = pointers(&setting.environment);
        // The child's own pid is known to nobody else before it executes: it completes this one itself.
        let mut listen_pid = LISTEN_PID;
        let listen_pid = listen_pid.as_mut_ptr();
        if setting.socket.is_some() {
            environment.insert(0, listen_pid.cast_const().cast());
        }
        // For a script without `#!`: sh PATH ARGUMENTS... (execvp(3)).
        let mut by_shell = vec![c"sh".as_ptr(), ptr::null()];
        by_shell.extend(arguments.iter().skip(1));
        let mut order = Order {
            candidates: candidates.as_ptr(),
            arguments: arguments.as_ptr(),
            by_shell: by_shell.as_mut_ptr(),
            environment: environment.as_ptr(),
            directory: setting.directory.as_ptr(),
            limits: setting.limits.as_ptr(),
            limit_count: setting.limits.len(),
            stdin: setting.stdin,
            stdout: setting.stdout.as_raw_fd(),
            stderr: setting.stderr.as_raw_fd(),
            socket: setting.socket.map(|socket| socket.as_raw_fd()),
            // SAFETY: inside the array, which is longer than its beginning.
            listen_pid: unsafe { listen_pid.add(LISTEN_PID_BEGINS) },
            parent: nix::unistd::getpid().as_raw(),
            inherited: &raw const self.inherited,
            members: None,
            oom_score: self.oom_score.as_ref().map_or(&[][..], |text| text.as_bytes()),
            error: 0,
            stage: Stage::Execute,
        };
        let pid = self.clone_child(setting.cell, &mut order)?;
        // SAFETY: a plain read of a local; volatile, because the compiler does not see who wrote it.
        let error = unsafe { ptr::read_volatile(&raw const order.error) };
        // SAFETY: the same.
        let stage = unsafe { ptr::read_volatile(&raw const order.stage) };
        match Pid::new(pid) {
            Some(pid) if error == 0 => Ok(pid),
            Some(_) | None => Err(Failure { stage, errno: Errno::from_raw(error), corpse: Some(pid) }),
        }
    }

    /// The child is born in its cgroup, or goes there itself where the kernel or a filter of system calls has it so.
    fn clone_child(&mut self, cell: Option<BorrowedFd<'_>>, order: &mut Order) -> Result<i32, Failure> {
        let failure = |stage, errno| Failure { stage, errno, corpse: None };
        let members;
        if let Some(cell) = cell {
            let stack = (self.stack_top, STACK);
            // SAFETY: as below; `run` ends in exec or exit, and the top of a mapping is aligned to a page.
            match unsafe { clone_into(cell, stack, run, ptr::from_mut(order).cast()) } {
                Ok(pid) => return Ok(pid),
                Err(errno @ (Errno::EAGAIN | Errno::ENOMEM)) => return Err(failure(Stage::Clone, errno)),
                Err(errno) => {
                    tracing::debug!(%errno, "not born in its cgroup");
                    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                    members = openat(cell, "cgroup.procs", flags, Mode::empty())
                        .map_err(|errno| failure(Stage::Cgroup, errno))?;
                    order.members = Some(members.as_raw_fd());
                }
            }
        }
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: `run` is given an order that outlives it: with CLONE_VFORK this call returns only when the child has
        // executed or ended. The stack belongs to the spawner, and `&mut self` keeps two children from sharing it.
        let pid = unsafe { libc::clone(run, self.stack_top, flags, ptr::from_mut(order).cast()) };
        if pid < 0 { Err(failure(Stage::Clone, Errno::last())) } else { Ok(pid) }
    }
}

/// `LISTEN_PID=`, room for the digits of any pid, and a NUL.
const LISTEN_PID: [u8; LISTEN_PID_BEGINS + DIGITS + 1] = *b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0";
/// Where the number begins in it.
const LISTEN_PID_BEGINS: usize = "LISTEN_PID=".len();
/// Of the largest `pid_t`.
const DIGITS: usize = 10;

/// The number of the socket that is handed over: `SD_LISTEN_FDS_START` of `sd_listen_fds(3)`.
const SOCKET: RawFd = 3;

/// What the child reads, and the error it writes. Only plain values and pointers to memory of the parent's, which
/// stands still meanwhile.
struct Order {
    candidates: *const *const c_char,
    arguments: *const *const c_char,
    by_shell: *mut *const c_char,
    environment: *const *const c_char,
    directory: *const c_char,
    limits: *const Limit,
    limit_count: usize,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    socket: Option<RawFd>,
    /// Where it writes its pid.
    listen_pid: *mut u8,
    parent: libc::pid_t,
    inherited: *const Inherited,
    /// `cgroup.procs` of where it goes itself.
    members: Option<RawFd>,
    oom_score: *const [u8],
    error: c_int,
    stage: Stage,
}

/// The child's whole life before exec.
extern "C" fn run(order: *mut c_void) -> c_int {
    let order: *mut Order = order.cast();
    // SAFETY: the parent passes a valid order and waits; only async-signal-safe calls (signal-safety(7)) are made on it.
    unsafe {
        let (stage, errno) = become_program(&*order);
        (*order).stage = stage;
        (*order).error = if errno == 0 { libc::EINVAL } else { errno };
        libc::_exit(127)
    }
}

/// Everything between clone and exec; returns only on failure.
///
/// # Safety
/// For the child of a vfork: it must not allocate, lock, unwind or return into the parent's frames.
unsafe fn become_program(order: &Order) -> (Stage, c_int) {
    // SAFETY: system calls on values of the order; each pointer is valid for as long as the parent waits.
    unsafe {
        let errno = || *libc::__errno_location();
        // First: what it uses is counted from here.
        if let Some(members) = order.members
            && libc::write(members, c"0".as_ptr().cast(), 1) < 0
        {
            return (Stage::Cgroup, errno());
        }
        let score = order.oom_score;
        if !score.is_empty() {
            // A failure changes who dies first when there is no memory left, and nothing else: /proc is read-only, or not
            // there. As the child of a vfork it has a value of its own, though the memory is ours (fs/proc/base.c,
            // __set_oom_adj).
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, score.cast(), score.len());
            }
        }
        if libc::setpgid(0, 0) != 0 {
            return (Stage::Group, errno());
        }
        // A sandbox may forbid it; what we leave behind when we are killed is then found by the next start.
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0
            && !matches!(errno(), libc::EPERM | libc::EACCES | libc::ENOSYS)
        {
            return (Stage::DeathSignal, errno());
        }
        // We may have been orphaned before that call took hold.
        if libc::getppid() != order.parent {
            return (Stage::DeathSignal, libc::ESRCH);
        }
        for (from, to) in [(order.stdin, 0), (order.stdout, 1), (order.stderr, 2)] {
            if libc::dup2(from, to) < 0 {
                return (Stage::Descriptors, errno());
            }
        }
        // After the others, one of which may have had its number until now.
        if let Some(socket) = order.socket {
            // A copy onto itself would still be closed by exec (dup(2)).
            let handed = if socket == SOCKET {
                libc::fcntl(socket, libc::F_SETFD, 0)
            } else {
                libc::dup2(socket, SOCKET)
            };
            if handed < 0 {
                return (Stage::Socket, errno());
            }
            write_number(order.listen_pid, libc::getpid().unsigned_abs());
        }
        let inherited = &*order.inherited;
        let (soft, hard) = inherited.open_files;
        let files = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files) != 0 {
            return (Stage::Limits, errno());
        }
        for at in 0..order.limit_count {
            let limit = &*order.limits.add(at);
            let both = libc::rlimit { rlim_cur: limit.value, rlim_max: limit.value };
            if libc::setrlimit(limit.resource, &raw const both) != 0 {
                return (Stage::Limits, errno());
            }
        }
        if libc::chdir(order.directory) != 0 {
            return (Stage::Directory, errno());
        }
        if let Err(errno) = restore_signals(inherited) {
            return (Stage::Signals, errno);
        }
        (Stage::Execute, execute(order))
    }
}

/// Writes a number, and a NUL behind it, to where there is room for both.
///
/// # Safety
/// As [`become_program`].
unsafe fn write_number(to: *mut u8, number: u32) {
    let mut length = 1;
    let mut rest = number / 10;
    while rest > 0 {
        length += 1;
        rest /= 10;
    }
    let mut rest = number;
    // SAFETY: a `u32` has ten digits at most, for which there is room.
    unsafe {
        *to.add(length) = 0;
        for at in (0..length).rev() {
            // A digit.
            *to.add(at) = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// # Safety
/// As [`become_program`].
unsafe fn restore_signals(inherited: &Inherited) -> Result<(), c_int> {
    // SAFETY: dispositions of the child's own (no CLONE_SIGHAND), then its mask.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        // What the terminal sent to our group while the child was still in it is for us, not for the child: Ctrl-Z would
        // stop it before it executes, and us with it, for ever. To ignore a signal discards it (sigaction(2), POSIX).
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
            let mut before: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_IGN;
            if libc::sigaction(signal, &raw const action, &raw mut before) != 0
                || libc::sigaction(signal, &raw const before, ptr::null_mut()) != 0
            {
                return Err(*libc::__errno_location());
            }
        }
        action.sa_sigaction = libc::SIG_DFL;
        if libc::sigaction(libc::SIGPIPE, &raw const action, ptr::null_mut()) != 0 {
            return Err(*libc::__errno_location());
        }
        action.sa_sigaction = libc::SIG_IGN;
        for signal in &inherited.ignored {
            if libc::sigaction(*signal as c_int, &raw const action, ptr::null_mut()) != 0 {
                return Err(*libc::__errno_location());
            }
        }
        if libc::sigprocmask(libc::SIG_SETMASK, inherited.mask.as_ref(), ptr::null_mut()) != 0 {
            return Err(*libc::__errno_location());
        }
    }
    Ok(())
}

/// How often a program that is still being written (ETXTBSY) is tried again, twice as long after each try.
const BUSY_TRIES: u32 = 5;
/// The first wait for it, in nanoseconds: together the tries wait 31 ms.
const BUSY_WAIT: libc::c_long = 1_000_000;

/// Tries each candidate; returns the most telling error.
///
/// # Safety
/// As [`become_program`].
unsafe fn execute(order: &Order) -> c_int {
    // SAFETY: as in the caller.
    unsafe {
        let mut worst = libc::ENOENT;
        let mut candidate = order.candidates;
        while !(*candidate).is_null() {
            let mut tries = 0;
            loop {
                libc::execve(*candidate, order.arguments, order.environment);
                let errno = *libc::__errno_location();
                match errno {
                    libc::ETXTBSY if tries < BUSY_TRIES => {
                        let wait = libc::timespec { tv_sec: 0, tv_nsec: BUSY_WAIT << tries };
                        libc::nanosleep(&raw const wait, ptr::null_mut());
                        tries += 1;
                    }
                    libc::ENOEXEC => {
                        *order.by_shell.add(1) = *candidate;
                        libc::execve(SHELL.as_ptr(), order.by_shell, order.environment);
                        return errno;
                    }
                    // Not here: the next directory of PATH. What is there and may not be executed is remembered.
                    libc::ENOENT | libc::ENOTDIR => break,
                    // A directory of PATH that we may not look into (another user's) says nothing about the program.
                    libc::EACCES => {
                        let only = (*order.candidates.add(1)).is_null();
                        if only || libc::access(*candidate, libc::F_OK) == 0 {
                            worst = errno;
                        }
                        break;
                    }
                    _ => return errno,
                }
            }
            candidate = candidate.add(1);
        }
        worst
    }
}

/// The shell of every command that needs one.
pub(super) const SHELL: &CStr = c"/bin/sh";
