//! How large pipes may be.
//!
//! A large pipe saves wake-ups: its writer fills it while we are at another, and neither waits for the other so often. But what
//! a user may have in pipes is limited (`/proc/sys/fs/pipe-user-pages-soft`, pipe(7)), and beyond that limit every new pipe of
//! that user, not only ours, is as small as two pages. So only a pipe that was found full is made larger, up to its equal
//! share, and all of ours together stay within a quarter of the limit; where they are too many for that they have the size
//! that pipe(2) gave them.

use std::fs;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};

/// What a pipe holds unless somebody has changed it (pipe(7)).
pub(super) const USUAL: usize = 64 * 1024;

/// The largest that a process without privileges may ask for unless that was changed (`/proc/sys/fs/pipe-max-size`).
const LARGEST: usize = 1024 * 1024;

/// The limit of a user, in pages, where it was not changed, or where there is none.
const PAGES: usize = 16_384;

/// What may be had in pipes, in bytes.
#[derive(Debug)]
pub(super) struct Allowance {
    most: usize,
    held: usize,
}

impl Allowance {
    /// A quarter of what our user may have, one large pipe less: our stdout.
    pub(super) fn of_our_user() -> Allowance {
        let limit = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft");
        let pages = limit.ok().and_then(|pages| pages.trim().parse().ok());
        let pages: usize = pages.filter(|pages| *pages > 0).unwrap_or(PAGES);
        Allowance { most: (pages.saturating_mul(4096) / 4).saturating_sub(LARGEST), held: 0 }
    }

    /// Counts a pipe of ours; its size.
    pub(super) fn count(&mut self, pipe: impl AsFd) -> usize {
        let size = size(pipe);
        self.held += size;
        size
    }

    /// A pipe of ours of this size is no more.
    pub(super) fn give_back(&mut self, size: usize) {
        self.held -= size;
    }

    /// Whether our pipes are more, or larger, than they should be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.held > self.most
    }

    /// Makes a pipe larger that was found full, where it may be, of so many in all.
    pub(super) fn widen(&mut self, pipe: impl AsFd, from: usize, pipes: usize) -> usize {
        let share = (self.most / pipes.max(1)).min(LARGEST);
        // A power of two, as the kernel would make it one.
        let wanted = if share == 0 { 0 } else { 1 << share.ilog2() };
        if wanted <= from || self.held - from + wanted > self.most {
            return from;
        }
        let Some(given) = resize(pipe, wanted) else {
            // Others of our user have taken what there is: it is not tried again and again.
            self.most = self.held;
            return from;
        };
        self.held = self.held - from + given;
        given
    }

    /// Gives a pipe the usual size again, unless it holds more than that now.
    pub(super) fn narrow(&mut self, pipe: impl AsFd, from: usize) -> usize {
        let given = if from > USUAL { resize(pipe, USUAL).unwrap_or(from) } else { from };
        self.held = self.held - from + given;
        given
    }
}

/// Makes the pipe to our reader larger, where nobody has given it a size: one that has another than the usual was made so
/// by somebody for a reason. It is never made smaller. What is no pipe stays as it is.
pub(super) fn widen_ours(out: impl AsFd) {
    if size(&out) == USUAL {
        // Where it may not be, it works as it is.
        let _ = resize(out, LARGEST);
    }
}

fn size(pipe: impl AsFd) -> usize {
    fcntl(pipe, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| size.try_into().ok()).unwrap_or(0)
}

fn resize(pipe: impl AsFd, to: usize) -> Option<usize> {
    let given = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(to.try_into().ok()?)).ok()?;
    given.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::pipe;

    use super::*;

    #[test]
    fn few_pipes_become_large_and_many_stay_as_they_are_within_a_quarter_of_the_limit() {
        for count in [1, 8, 64, 300] {
            let mut allowance = Allowance { most: 15 << 20, held: 0 };
            let mut pipes: Vec<_> = (0..count).map(|_| pipe().unwrap()).collect();
            let mut sizes: Vec<_> = pipes.iter().map(|(reader, _)| allowance.count(reader)).collect();
            for ((reader, _), size) in pipes.iter().zip(&mut sizes) {
                *size = allowance.widen(reader, *size, count);
                assert_eq!(*size, super::size(reader));
            }
            assert_eq!(allowance.held, sizes.iter().sum::<usize>());
            assert!(allowance.held <= allowance.most || count == 300, "{count}: {}", allowance.held);
            let expected = match count {
                1 | 8 => LARGEST,
                64 => 128 << 10,
                _ => USUAL,
            };
            // Others of our user may have pipes too.
            assert!(sizes.iter().all(|size| *size == expected || *size == USUAL), "{count}: {sizes:?}");
            for ((reader, _), size) in pipes.drain(..).zip(sizes) {
                let size = allowance.narrow(&reader, size);
                assert_eq!(size, USUAL);
                allowance.give_back(size);
            }
            assert_eq!(allowance.held, 0);
        }
    }

    #[test]
    fn our_own_output_is_made_larger_only_where_nobody_has_given_it_a_size() {
        let (_reader, writer) = pipe().unwrap();
        resize(&writer, 2 * USUAL).unwrap();
        widen_ours(&writer);
        assert_eq!(size(&writer), 2 * USUAL);
    }
}
