//! The board: memory that the writers of a run come together at. It has no name in any directory.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// See the module.
pub(crate) struct Board {
    file: File,
    page: NonNull<Page>,
}

/// `struct board` of writer.c.
#[repr(C)]
struct Page {
    expected: AtomicU32,
    arrived: AtomicU32,
    open: AtomicU32,
    nothing: u32,
    opened: AtomicU64,
}

impl Board {
    /// One for so many writers.
    ///
    /// # Errors
    /// The system's: no memory.
    pub(crate) fn new(expected: u32) -> io::Result<Board> {
        let file = File::from(memfd_create("board", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(size_of::<Page>() as u64)?;
        let length = const { NonZeroUsize::new(size_of::<Page>()).unwrap() };
        // SAFETY: a new shared mapping of a file of that length; all zeroes is a valid `Page`.
        let page = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)?
        };
        let board = Board { file, page: page.cast() };
        board.page().expected.store(expected, Ordering::Release);
        Ok(board)
    }

    /// What a writer opens.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// When all were there and began to write, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) fn opened(&self) -> Option<u64> {
        (self.page().open.load(Ordering::Acquire) == 1).then(|| self.page().opened.load(Ordering::Acquire))
    }

    /// How many are there.
    pub(crate) fn arrived(&self) -> u32 {
        self.page().arrived.load(Ordering::Acquire)
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped as long as we live; it is only ever accessed by atomic operations.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: what was mapped above; every reference to it was borrowed from us. It cannot fail on such a range.
        let _ = unsafe { munmap(self.page.cast(), size_of::<Page>()) };
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to a value of ours; it cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
