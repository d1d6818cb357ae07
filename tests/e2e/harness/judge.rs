//! A judge over system calls: a test sees each call of chosen kinds before it is made, and may refuse it with any error,
//! as a machine that is short of something would. seccomp(2), user notification; Linux 5.5.

use std::fmt;
use std::fs;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::fcntl::{FcntlArg, fcntl};

/// Which calls are judged, and how.
#[derive(Clone)]
pub(crate) struct Judge {
    calls: Arc<[libc::c_long]>,
    rule: Arc<Mutex<Rule>>,
}

type Rule = dyn FnMut(&Call) -> Verdict + Send;

/// A call that somebody is about to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) pid: i32,
    pub(crate) number: libc::c_long,
    pub(crate) args: [u64; 6],
}

impl Call {
    /// An argument that is an `int`.
    pub(crate) fn int(&self, nth: usize) -> i32 {
        // The kernel as well looks at the lower half only.
        #[allow(clippy::cast_possible_truncation)]
        let int = self.args[nth] as i32;
        int
    }

    /// The path that openat(2) is asked for, up to 64 bytes.
    pub(crate) fn path(&self) -> String {
        let mut text = [0; 64];
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid));
        let count = memory.and_then(|memory| memory.read_at(&mut text, self.args[1])).unwrap_or(0);
        let path = text[..count].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(path).into_owned()
    }
}

/// Who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The supervisor's main thread.
    Loop,
    /// The supervisor's thread for the stream.
    Stream,
    /// A child of the supervisor that has not executed its program yet.
    Newborn,
    /// A program that was started, or that starts us.
    Other,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Go,
    /// It fails with this error.
    Fail(i32),
}

impl Judge {
    /// The rule is asked in a thread of its own, about the supervisor and all its descendants, one call at a time; whoever
    /// calls waits for it.
    pub(crate) fn new(calls: &[libc::c_long], rule: impl FnMut(&Call) -> Verdict + Send + 'static) -> Judge {
        Judge { calls: calls.into(), rule: Arc::new(Mutex::new(rule)) }
    }

    /// Waits for a supervisor to [`Bench::submit`] to it.
    pub(super) fn sit(&self) -> Bench {
        let (ours, theirs) = UnixStream::pair().expect("descriptors are left");
        let rule = Arc::clone(&self.rule);
        thread::spawn(move || {
            // An error means that nobody was started, and the test knows.
            if let Ok(notices) = receive(&ours) {
                judge(&notices, &rule);
            }
        });
        // Above the numbers that a test may want to be open in who is started.
        let socket = fcntl(&theirs, FcntlArg::F_DUPFD_CLOEXEC(100)).expect("descriptors are left");
        // SAFETY: fcntl(2) has just made it, and nobody else knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Bench { socket, filter: filter(&self.calls) }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What a process needs to put itself under the judge.
#[derive(Debug)]
pub(super) struct Bench {
    socket: OwnedFd,
    filter: Vec<libc::sock_filter>,
}

impl Bench {
    /// From now on this process and whatever it starts are judged. Only system calls: for a child between fork and exec.
    pub(super) fn submit(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: libc::c_ushort::try_from(self.filter.len()).unwrap_or(0),
            filter: self.filter.as_ptr().cast_mut(),
        };
        // SAFETY: plain system calls on values that outlive them.
        unsafe {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
            let mode = libc::SECCOMP_SET_MODE_FILTER;
            let fd = libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            pass(self.socket.as_raw_fd(), i32::try_from(fd).unwrap_or(-1))
        }
    }
}

/// Whether this kernel and sandbox let us judge; says so where not.
pub(crate) fn can_judge() -> bool {
    let bench = Judge::new(&[libc::SYS_getitimer], |_| Verdict::Go).sit();
    let mut command = std::process::Command::new("true");
    // SAFETY: between fork and exec only system calls are made, on memory that was prepared before.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, move || bench.submit()) };
    let possible = command.status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("skipped: seccomp(2) cannot be used here");
    }
    possible
}

/// Asks us about these calls, lets all others pass.
fn filter(calls: &[libc::c_long]) -> Vec<libc::sock_filter> {
    // linux/bpf_common.h: load a word at an absolute place; jump if equal to a constant; return a constant.
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // The number is the first field of struct seccomp_data.
    let mut program = vec![step(LOAD, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        // To the last instruction, over the other comparisons and the one before the last.
        let jump = u8::try_from(calls.len() - at).expect("a handful of calls");
        program.push(step(JUMP_IF_EQUAL, jump, u32::try_from(*call).expect("calls are small numbers")));
    }
    program.push(step(RETURN, 0, libc::SECCOMP_RET_ALLOW));
    program.push(step(RETURN, 0, libc::SECCOMP_RET_USER_NOTIF));
    program
}

/// Judges until everybody has gone.
fn judge(notices: &OwnedFd, rule: &Mutex<Rule>) {
    loop {
        let mut waited = [libc::pollfd { fd: notices.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        // SAFETY: one live pollfd.
        let count = unsafe { libc::poll(waited.as_mut_ptr(), 1, -1) };
        if count < 0 || waited[0].revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: all zeroes is what the kernel asks for.
        let mut asked: libc::seccomp_notif = unsafe { zeroed() };
        // SAFETY: the kernel writes into a value of ours.
        if unsafe { libc::ioctl(notices.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0 {
            // Whoever asked was killed meanwhile.
            continue;
        }
        let pid = i32::try_from(asked.pid).unwrap_or(0);
        let call = Call { caller: caller(pid), pid, number: asked.data.nr.into(), args: asked.data.args };
        let verdict = (rule.lock().unwrap_or_else(PoisonError::into_inner))(&call);
        // SAFETY: all zeroes is an answer that says nothing yet.
        let mut answer: libc::seccomp_notif_resp = unsafe { zeroed() };
        answer.id = asked.id;
        match verdict {
            Verdict::Go => answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1),
            Verdict::Fail(errno) => answer.error = -errno,
        }
        // SAFETY: the kernel reads a value of ours. That whoever asked is gone is no error.
        unsafe { libc::ioctl(notices.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    }
}

fn caller(tid: i32) -> Caller {
    let supervise = std::path::Path::new(env!("CARGO_BIN_EXE_supervise"));
    let is_supervise =
        |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == supervise);
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let field =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default();
    if !is_supervise(&tid.to_string()) {
        Caller::Other
    } else if field("Tgid:") != tid.to_string() {
        Caller::Stream
    } else if is_supervise(field("PPid:")) {
        Caller::Newborn
    } else {
        Caller::Loop
    }
}

/// The size of a descriptor, as cmsg(3) takes it.
const FD_SIZE: u32 = 4;

/// Sends a descriptor (unix(7), `SCM_RIGHTS`). Only system calls.
///
/// # Safety
/// Both must be open.
unsafe fn pass(socket: i32, fd: i32) -> io::Result<()> {
    // SAFETY: every pointer is to a live local of the length that is given with it; the control buffer is aligned by its
    // type and large enough for one descriptor (cmsg(3)).
    unsafe {
        let mut byte = 0_u8;
        let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut control: MaybeUninit<[libc::cmsghdr; 2]> = MaybeUninit::zeroed();
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(FD_SIZE) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(FD_SIZE) as usize;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast(), fd);
        if libc::sendmsg(socket, &raw const message, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Receives a descriptor.
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    // SAFETY: as in `pass`; the header is there where the kernel says that the control data is long enough for it.
    unsafe {
        let mut byte = 0_u8;
        let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut control: MaybeUninit<[libc::cmsghdr; 2]> = MaybeUninit::zeroed();
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[libc::cmsghdr; 2]>();
        if libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) < 1 {
            return Err(io::Error::last_os_error());
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd: i32 = ptr::read_unaligned(libc::CMSG_DATA(header).cast());
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
