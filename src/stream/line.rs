//! From the bytes of one pipe to its lines.

use std::mem;
use std::ops::ControlFlow;

use memchr::{memchr, memchr_iter};

/// The longest line that comes out whole, in bytes without its newline; a longer one comes out in pieces.
///
/// It bounds what one silent source can hold back: a process that never writes a newline costs this much memory.
pub(super) const PIECE: usize = 64 * 1024;

/// Where a piece of text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// At a newline, or at the end of what its process had to say.
    Line,
    /// In the middle of a line that is longer than [`PIECE`].
    Piece,
}

/// Finds the lines in the bytes of one pipe, however they are split over reads.
///
/// Holds memory only while the pipe stands in the middle of a line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
    /// Lines that have ended since that was last asked.
    ended: u64,
}

impl Splitter {
    /// Gives every line that ends in `chunk` to `emit`, without its newline, and keeps the rest for the next chunk.
    ///
    /// Returns how much of the chunk was used: less than all of it only where `emit` broke off, which it may do after it
    /// has taken a line. The next call then begins with the rest.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        mut emit: impl FnMut(&[u8], Cut) -> ControlFlow<()>,
    ) -> usize {
        let mut used = 0;
        while used < chunk.len() {
            let rest = &chunk[used..];
            if self.partial.is_empty()
                && let Some(end) = memchr(b'\n', rest)
                && end <= PIECE
            {
                used += end + 1;
                self.ended += 1;
                if emit(&rest[..end], Cut::Line).is_break() {
                    break;
                }
            } else {
                match self.gather(rest, &mut emit) {
                    ControlFlow::Continue(more) => used += more,
                    ControlFlow::Break(more) => return used + more,
                }
            }
        }
        used
    }

    /// Puts a line together that does not stand whole in one chunk, as far as this chunk goes.
    fn gather(
        &mut self,
        chunk: &[u8],
        emit: &mut impl FnMut(&[u8], Cut) -> ControlFlow<()>,
    ) -> ControlFlow<usize, usize> {
        let end = memchr(b'\n', chunk);
        let line = &chunk[..end.unwrap_or(chunk.len())];
        let mut used = 0;
        loop {
            let rest = &line[used..];
            let fits = PIECE - self.partial.len();
            if rest.len() <= fits {
                self.partial.extend_from_slice(rest);
                used += rest.len();
                break;
            }
            self.partial.extend_from_slice(&rest[..fits]);
            used += fits;
            let cut = whole_characters(&self.partial);
            let flow = emit(&self.partial[..cut], Cut::Piece);
            self.partial.drain(..cut);
            if flow.is_break() {
                return ControlFlow::Break(used);
            }
        }
        if end.is_none() {
            return ControlFlow::Continue(used);
        }
        self.ended += 1;
        match emit(&mem::take(&mut self.partial), Cut::Line) {
            ControlFlow::Continue(()) => ControlFlow::Continue(used + 1),
            ControlFlow::Break(()) => ControlFlow::Break(used + 1),
        }
    }

    /// Takes note only of whether a line has begun: nobody wants the lines.
    pub(super) fn pass(&mut self, chunk: &[u8]) -> usize {
        self.ended += memchr_iter(b'\n', chunk).count() as u64;
        self.partial.clear();
        self.partial.extend(chunk.last().filter(|last| **last != b'\n'));
        chunk.len()
    }

    /// How many lines have ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> u64 {
        mem::take(&mut self.ended)
    }

    /// The line that has begun and not ended.
    pub(super) fn begun(&self) -> &[u8] {
        &self.partial
    }
}

/// How much of a piece can be had without cutting a UTF-8 character in two (RFC 3629 section 3): all of it, or up to 3
/// bytes less.
fn whole_characters(piece: &[u8]) -> usize {
    let end = piece.len();
    for back in 1..=end.min(3) {
        let length = match piece[end - back] {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if length > back { end - back } else { end };
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, Cut)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            let used = splitter.feed(chunk, |line, cut| {
                lines.push((line.to_vec(), cut));
                ControlFlow::Continue(())
            });
            assert_eq!(used, chunk.len());
        }
        if !splitter.begun().is_empty() {
            lines.push((splitter.begun().to_vec(), Cut::Line));
        }
        lines
    }

    fn line(text: &[u8]) -> (Vec<u8>, Cut) {
        (text.to_vec(), Cut::Line)
    }

    #[test]
    fn blank_lines_and_carriage_returns_are_kept() {
        assert_eq!(split(&[b"\n\na\r\n\n"]), [line(b""), line(b""), line(b"a\r"), line(b"")]);
    }

    #[test]
    fn a_line_that_is_never_ended_is_the_last_one() {
        assert_eq!(split(&[b"a\nb"]), [line(b"a"), line(b"b")]);
        assert_eq!(split(&[b"a\n"]), [line(b"a")]);
    }

    #[test]
    fn a_line_of_just_64_kib_is_whole_and_one_byte_more_makes_two_pieces() {
        let mut text = vec![b'x'; PIECE];
        text.push(b'\n');
        assert_eq!(split(&[&text]), [line(&text[..PIECE])]);
        text.insert(0, b'x');
        assert_eq!(split(&[&text]), [(vec![b'x'; PIECE], Cut::Piece), line(b"x")]);
    }

    #[test]
    fn a_piece_does_not_end_in_the_middle_of_a_character() {
        let mut text = vec![b'x'; PIECE - 1];
        text.extend("é".as_bytes());
        for at in [0, 1, PIECE - 1, PIECE] {
            let (a, b) = text.split_at(at);
            assert_eq!(split(&[a, b]), [(vec![b'x'; PIECE - 1], Cut::Piece), line("é".as_bytes())], "{at}");
        }
        // ... but bytes that are no characters are cut where they must be.
        let garbage = vec![0x80; PIECE + 1];
        assert_eq!(split(&[&garbage]), [(vec![0x80; PIECE], Cut::Piece), line(&[0x80])]);
    }

    #[test]
    fn nothing_is_held_between_lines() {
        let mut splitter = Splitter::default();
        splitter.feed(b"abc", |_, _| ControlFlow::Continue(()));
        splitter.feed(b"\n", |_, _| ControlFlow::Continue(()));
        assert_eq!(splitter.partial.capacity(), 0);
    }

    proptest! {
        /// Random bytes with many newlines and some very long lines; the reads are cut anywhere, and the taker breaks off
        /// now and then.
        #[test]
        fn lines_joined_are_the_input(
            runs in prop::collection::vec((any::<u8>(), prop_oneof![0..4usize, 0..100usize, 60_000..140_000usize]), 0..12),
            newlines in prop::collection::vec(any::<bool>(), 12),
            reads in prop::collection::vec(1..70_000usize, 1..20),
            stop_every in 1..5usize,
        ) {
            let mut input = Vec::new();
            for ((byte, length), newline) in runs.iter().zip(newlines) {
                input.extend(std::iter::repeat_n(*byte, *length));
                if newline {
                    input.push(b'\n');
                }
            }
            let mut splitter = Splitter::default();
            let (mut output, mut count, mut open, mut fed) = (Vec::new(), 0, false, 0);
            for size in reads.iter().cycle() {
                if fed == input.len() {
                    break;
                }
                let chunk = &input[fed..input.len().min(fed + size)];
                fed += splitter.feed(chunk, |line, cut| {
                    assert!(line.len() <= PIECE && memchr(b'\n', line).is_none());
                    assert!(cut == Cut::Line || line.len() > PIECE - 4);
                    output.extend_from_slice(line);
                    open = cut == Cut::Piece;
                    if !open {
                        output.push(b'\n');
                    }
                    count += 1;
                    if count % stop_every == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
            output.extend_from_slice(splitter.begun());
            prop_assert!(output == input);
        }
    }
}
