//! What fits on a terminal, and what must not reach one.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// How many columns a terminal has; `None` where it is none, or does not say (`ioctl_tty`(2), `TIOCGWINSZ`).
pub(super) fn columns(out: &impl AsFd) -> Option<usize> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel writes one `winsize` to the address that it is given, which is that of a live one.
    let done = unsafe { libc::ioctl(out.as_fd().as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) };
    // SAFETY: zeroes are a `winsize`, whatever was written.
    let size = unsafe { size.assume_init() };
    (done == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// What others say, without what a terminal would take for a command.
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// The same on one line, at most so many columns wide where it matters; what is longer ends with dots.
pub(super) fn one_line(text: &str, columns: Option<usize>) -> String {
    let line: String =
        printable(text).chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).collect();
    match columns {
        Some(columns) if line.chars().count() > columns => {
            line.chars().take(columns.saturating_sub(3)).chain("...".chars()).collect()
        }
        Some(_) | None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_it_would_not_fit_and_commands_the_terminal_nothing() {
        assert_eq!(one_line("a\tb\nc\x1b[2J", None), "a b c\u{fffd}[2J");
        assert_eq!(one_line("0123456789", Some(10)), "0123456789");
        assert_eq!(one_line("0123456789", Some(9)), "012345...");
        assert_eq!(one_line("ääääää", Some(5)), "ää...");
    }

    #[test]
    fn what_is_no_terminal_has_no_columns() {
        assert_eq!(columns(&std::fs::File::open("/dev/null").unwrap()), None);
    }
}
