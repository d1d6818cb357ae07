//! The supervisor dies last: when memory runs out, the kernel kills whoever has the highest score, which is memory used in
//! thousandths of what there is, and `oom_score_adj` (proc(5)). Our children are given a little more than we have.

use std::ffi::CString;
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// What we may use ourselves and still be thought smaller than a child that has just been born.
const OURS: u64 = 16 << 20;

/// The largest `oom_score_adj`.
const MOST: u64 = 1000;

/// What children write to their `oom_score_adj`, where `limit` is that of our cgroup in bytes; nothing where ours cannot be
/// read.
pub(super) fn score_of_children(limit: Option<u64>) -> Option<CString> {
    let ours = fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    let total = limit.into_iter().chain(memory_of_the_machine()).min()?;
    CString::new(raised(ours.trim().parse().ok()?, total).to_string()).ok()
}

/// `OURS` as thousandths of `total`, above `ours`.
fn raised(ours: i64, total: u64) -> i64 {
    let more = (OURS * MOST).div_ceil(total.max(1)).clamp(1, MOST);
    // At most 1000, twice.
    (ours + more.cast_signed()).min(MOST.cast_signed())
}

/// In bytes.
fn memory_of_the_machine() -> Option<u64> {
    let pages: u64 = sysconf(SysconfVar::_PHYS_PAGES).ok()??.try_into().ok()?;
    let page: u64 = sysconf(SysconfVar::PAGE_SIZE).ok()??.try_into().ok()?;
    Some(pages * page).filter(|total| *total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_raised_by_what_sixteen_mebibytes_are_of_all() {
        for (ours, total, score) in [
            (0, 64 << 20, 250),
            (0, 512 << 20, 32),
            (0, 24 << 30, 1),
            (0, 1 << 50, 1),
            (500, 8 << 30, 502),
            (-1000, 512 << 20, -968),
            (999, 64 << 20, 1000),
            (1000, 1 << 40, 1000),
            (0, 1 << 20, 1000),
            (0, 0, 1000),
        ] {
            assert_eq!(raised(ours, total), score, "{ours} {total}");
        }
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(memory_of_the_machine() > Some(1 << 24));
    }
}
