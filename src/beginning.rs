//! What is done before `program` where the C library is glibc: what Rust's runtime does, but for what a start need not pay.
//!
//! That is to read /proc/self/maps for the bounds of the stack, and to give every thread a second one, so that a stack that
//! overflows is told of by name; so it is told of by SIGSEGV. And a shared library for unwinding, of which we use so little
//! that it is put into the program. Together this is a quarter of what a program costs before its `main`.

use std::ffi::{c_char, c_int};

// The few functions that find the callers in a panic's backtrace.
#[cfg(not(target_feature = "crt-static"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// Entered by the C library. std knows the arguments without us.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    open_closed_descriptors();
    // SAFETY: no handler is installed. A pipe without a reader is an error of write(2) for us, as for all of Rust.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // Threads of ours hardly allocate, and a heap for each is memory and time. Where it is refused, they have them.
    // SAFETY: there is one thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    // It flushes stdout, which returning from here would not.
    std::process::exit(super::program().into())
}

/// Whoever opens a file shall not get the number of stdin, stdout or stderr.
fn open_closed_descriptors() {
    for fd in 0..=2 {
        // SAFETY: it reads flags of a descriptor; a number that is none is an error.
        let closed = unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1;
        // The lowest number that is free is this one: those below are open.
        // SAFETY: the path is a C string.
        if closed && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } == -1 {
            // As in Rust's runtime: there is nowhere to say so.
            std::process::abort();
        }
    }
}
