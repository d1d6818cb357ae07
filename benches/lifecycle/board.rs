//! The board: memory that the children of a run write their birth to. It has no name in any directory, so nothing is
//! left of it when we are gone.

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

/// One child that has reached its `main()`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) began: u64,
    pub(crate) pid: i32,
}

/// As many as one run may start.
const LIVES: usize = 4096;

/// `struct board` of child.c.
#[repr(C)]
struct Page {
    executed: AtomicU64,
    count: AtomicU32,
    nothing: u32,
    lives: [Slot; LIVES],
}

#[repr(C)]
struct Slot {
    began: AtomicU64,
    pid: AtomicU32,
    nothing: u32,
}

// SAFETY: it is only ever accessed by atomic operations.
unsafe impl Send for Board {}
// SAFETY: the same.
unsafe impl Sync for Board {}

impl Board {
    /// # Errors
    /// The system's: no memory.
    pub(crate) fn new() -> io::Result<Board> {
        let file = File::from(memfd_create("board", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(size_of::<Page>() as u64)?;
        let length = const { NonZeroUsize::new(size_of::<Page>()).unwrap() };
        // SAFETY: a new shared mapping of a file of that length; all zeroes is a valid `Page`.
        let page = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)?
        };
        Ok(Board { file, page: page.cast() })
    }

    /// What a child opens.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// The supervisor is executed now. Async-signal-safe: called between fork and exec.
    pub(crate) fn note_execution(&self) {
        self.page().executed.store(now(), Ordering::Release);
    }

    /// When the supervisor was executed.
    pub(crate) fn executed(&self) -> u64 {
        self.page().executed.load(Ordering::Acquire)
    }

    /// Who has arrived, the first ones that are there without a gap.
    pub(crate) fn lives(&self) -> Vec<Life> {
        let count = self.page().count.load(Ordering::Acquire) as usize;
        let life = |slot: &Slot| {
            let began = slot.began.load(Ordering::Acquire);
            let pid = slot.pid.load(Ordering::Acquire).try_into().unwrap_or(0);
            (began != 0).then_some(Life { began, pid })
        };
        self.page().lives.iter().take(count).map_while(life).collect()
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped as long as we live.
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
