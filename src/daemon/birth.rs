//! clone3(2) with `CLONE_INTO_CGROUP` (Linux 5.7): a child that is born in its cgroup.
//!
//! The other way, that it writes itself into `cgroup.procs` before it executes, costs 11 ms on an idle machine: the kernel
//! waits until no processor looks at the table of processes any more, and so do we. Libraries have no clone3 that takes a stack
//! and a function, so the dozen instructions behind the system call are here.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The same on every processor (`asm-generic/unistd.h`).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const CLONE3: isize = 435;

/// `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts `run` with `order` in a child that borrows our memory until it executes or ends; returns its pid.
///
/// # Errors
/// ENOSYS: there is no such call, or not for this processor. E2BIG, EINVAL: it does not know cgroups. Others of clone3(2).
///
/// # Safety
/// `run` never returns, and must be fit for the child of a vfork; it has the `stack_size` bytes below `stack_top`, whose
/// address is a multiple of 16, for itself.
pub(super) unsafe fn clone_into(
    cgroup: BorrowedFd<'_>,
    (stack_top, stack_size): (*mut c_void, usize),
    run: extern "C" fn(*mut c_void) -> c_int,
    order: *mut c_void,
) -> Result<i32, Errno> {
    // SAFETY: all zeroes means that nothing is asked for.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    // The kernel's words for CLONE_VM | CLONE_VFORK: small and positive.
    arguments.flags = u64::from((libc::CLONE_VM | libc::CLONE_VFORK).unsigned_abs()) | CLONE_INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.stack = stack_top as u64 - stack_size as u64;
    arguments.stack_size = stack_size as u64;
    arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    // SAFETY: as the caller promises.
    let result = unsafe { clone3(&arguments, run, order) };
    let pid = i32::try_from(result).unwrap_or(-libc::EOVERFLOW);
    if pid > 0 { Ok(pid) } else { Err(Errno::from_raw(-pid)) }
}

/// The pid, or the negative number of an error.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(
    arguments: &libc::clone_args,
    run: extern "C" fn(*mut c_void) -> c_int,
    order: *mut c_void,
) -> isize {
    let result;
    // SAFETY: the child leaves our frames alone: it comes back with the new stack, and goes to `run`, which never returns. Of our
    // registers the kernel changes those that are named as lost (syscall(2)).
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") CLONE3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") order,
            in("r13") run,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The pid, or the negative number of an error.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(
    arguments: &libc::clone_args,
    run: extern "C" fn(*mut c_void) -> c_int,
    order: *mut c_void,
) -> isize {
    let result;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") CLONE3,
            inlateout("x0") arguments as *const libc::clone_args as isize => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") order,
            in("x21") run,
        );
    }
    result
}

/// For other processors nobody has written it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(_: &libc::clone_args, _: extern "C" fn(*mut c_void) -> c_int, _: *mut c_void) -> isize {
    -(libc::ENOSYS as isize)
}
