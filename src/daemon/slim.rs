//! What only a start needs of the program is given back after it: of what was read by then, more than half is not used again.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use super::proc;

/// By then a start is over, and who is idle is idle.
const AFTER: Duration = Duration::from_secs(1);

/// Waits until the start is over and gives back the memory of what was read for it of the program and its libraries. Whatever is
/// used again comes back by itself, from the system's cache of the file or from the file. Under a debugger everything stays, as its
/// breakpoints are in it.
pub(super) async fn forget_the_start() {
    tokio::time::sleep(AFTER).await;
    if !is_traced(&proc::file("/proc/self/status").unwrap_or_default()) {
        forget_what_was_read();
    }
}

/// Whether that status of a process names who traces it (`proc_pid_status(5)`).
fn is_traced(status: &[u8]) -> bool {
    let tracer = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"TracerPid:\t"));
    tracer.is_some_and(|pid| pid != b"0")
}

fn forget_what_was_read() {
    // SAFETY: `forget` uses what it is given only while it is called.
    unsafe { libc::dl_iterate_phdr(Some(forget), std::ptr::null_mut()) };
}

/// Unmaps the pages of what cannot be written in one object, the program or a library.
///
/// # Safety
/// For `dl_iterate_phdr(3)` alone: `object` is one that is loaded.
unsafe extern "C" fn forget(object: *mut libc::dl_phdr_info, _size: usize, _nothing: *mut c_void) -> c_int {
    // SAFETY: by the contract of this function.
    let object = unsafe { &*object };
    // SAFETY: the table has so many entries, and is there as long as the object is.
    let segments = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    // SAFETY: a question.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs();
    // What was relocated, and so differs from the file, is in segments that can be written (elf(5)), even where it is
    // protected later.
    for segment in segments.iter().filter(|one| one.p_type == libc::PT_LOAD && one.p_flags & libc::PF_W == 0)
    {
        let begin = object.dlpi_addr + segment.p_vaddr;
        // Whole pages: nobody else has a part of them.
        let from = begin.next_multiple_of(page);
        let length = (begin + segment.p_memsz).saturating_sub(from) / page * page;
        let Ok(length) = usize::try_from(length) else { continue };
        // SAFETY: these pages are the file's; the next access reads them again. An error leaves them as they are.
        unsafe { libc::madvise(from as *mut c_void, length, libc::MADV_DONTNEED) };
    }
    0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is resident of files, in KiB.
    fn of_files() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("there is /proc");
        let value = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("it tells");
        value.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn who_is_traced_is_known() {
        assert!(is_traced(b"Name:\tsupervise\nTracerPid:\t17\nUid:\t0\n"));
        assert!(!is_traced(b"Name:\tsupervise\nTracerPid:\t0\nUid:\t17\n"));
    }

    #[test]
    fn what_was_read_of_the_program_is_given_back_and_it_goes_on() {
        // Another test that runs meanwhile may read some of it again.
        let gave_back = (0..100).any(|_| {
            let before = of_files();
            forget_what_was_read();
            of_files() < before / 2
        });
        assert!(gave_back, "{} KiB are still there", of_files());
    }
}
