//! The lines that wait for the reader of our stdout: bounded, whole, counted.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// So much waits before the children do.
///
/// As large as four reads from pipes of the usual size, and it still fits into the second-level cache, where copying a line
/// into it costs nothing beside the system calls.
pub(super) const LIMIT: usize = 256 * 1024;

/// So much is dropped at once where lines are dropped, so that a byte that stays is not moved often.
const BATCH: usize = LIMIT / 4;

/// One buffer of whole lines, of which the first may have been written in part.
///
/// ```text
///   begin                                             end
///     | rest of a line | "12 lines dropped" | line | line |
///     '-- torn --------'-- gap -------------'
/// ```
///
/// Lines are dropped oldest first, but never the rest of a line whose beginning was written. What was dropped is said in
/// its place, and more droppings replace that line until it is written, so that the count a reader sees is exact.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    buffer: Vec<u8>,
    begin: usize,
    /// Whether the line at `begin` has lost its beginning to the reader.
    torn: bool,
    /// Where the line stands that says what was dropped, as long as none of it was written.
    gap: Option<Range<usize>>,
    /// Where such a line ends that was written in part; 0 where none was.
    torn_gap: usize,
    /// Dropped since that was last said.
    unsaid: u64,
    /// Lines that came in, without those that say what was dropped.
    taken: u64,
    dropped: u64,
}

impl Backlog {
    /// Takes one line, which `write` appends with its newline.
    pub(super) fn take(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.taken += 1;
        write(&mut self.buffer);
    }

    /// Counts a line that is dropped at once.
    pub(super) fn refuse(&mut self, lines: u64) {
        self.taken += lines;
        self.dropped += lines;
        self.unsaid += lines;
    }

    /// What waits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..]
    }

    /// Whether the limit is reached. The line that reached it may stand beyond it.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() - self.begin >= LIMIT
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.begin == self.buffer.len()
    }

    /// Forgets the first bytes, which were written.
    pub(super) fn written(&mut self, count: usize) {
        self.begin += count;
        self.torn = self.buffer[self.begin - 1] != b'\n';
        if let Some(gap) = self.gap.take_if(|gap| gap.start < self.begin) {
            self.torn_gap = gap.end;
            self.unsaid = 0;
        }
        if self.is_empty() {
            self.buffer.clear();
            // Only lines of control characters in JSON, which are six times as long, make it this large.
            self.buffer.shrink_to(3 * LIMIT);
            (self.begin, self.torn_gap) = (0, 0);
        } else if self.begin >= LIMIT / 2 {
            self.buffer.drain(..self.begin);
            self.gap = self.gap.take().map(|gap| gap.start - self.begin..gap.end - self.begin);
            self.torn_gap = self.torn_gap.saturating_sub(self.begin);
            self.begin = 0;
        }
    }

    /// Drops the oldest lines, a batch of them, and has the count of all that were dropped here said in their place.
    pub(super) fn drop_oldest(&mut self, say: impl FnOnce(u64) -> Vec<u8>) {
        let end = self.buffer.len();
        let rest = match memchr(b'\n', self.bytes()) {
            Some(newline) if self.torn => self.begin..self.begin + newline + 1,
            Some(_) | None => self.begin..self.begin,
        };
        let from = self.gap.as_ref().map_or(rest.end, |gap| gap.end);
        let least = end.min(from + BATCH);
        if from == end {
            return;
        }
        let to = memchr(b'\n', &self.buffer[least - 1..]).map_or(end, |newline| least + newline);
        let lines = count_lines(&self.buffer[from..to]);
        self.dropped += lines;
        self.unsaid += lines;
        let mut said = say(self.unsaid);
        if rest.len() + said.len() > to - self.begin {
            // Less was dropped than the words for it take: they are said later.
            said.clear();
        }
        let gap = to - said.len()..to;
        self.buffer[gap.clone()].copy_from_slice(&said);
        self.torn_gap = if self.torn_gap > self.begin { gap.start } else { 0 };
        self.begin = gap.start - rest.len();
        self.buffer.copy_within(rest, self.begin);
        self.gap = (!said.is_empty()).then_some(gap);
    }

    /// Drops everything, and the rest of a line too.
    pub(super) fn drop_all(&mut self) {
        let lines = self.waiting();
        self.dropped += lines;
        self.unsaid += lines;
        self.buffer = Vec::new();
        (self.begin, self.torn, self.gap, self.torn_gap) = (0, false, None, 0);
    }

    /// Lines that were dropped and have no line in the backlog that says so.
    pub(super) fn unsaid(&self) -> u64 {
        if self.gap.is_some() { 0 } else { self.unsaid }
    }

    /// From now on what was dropped counts as said.
    pub(super) fn said(&mut self) {
        self.unsaid = 0;
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines taken so far that were neither dropped nor wait.
    pub(super) fn count_written(&self) -> u64 {
        self.taken - self.dropped - self.waiting()
    }

    fn waiting(&self) -> u64 {
        let said = u64::from(self.gap.is_some()) + u64::from(self.torn_gap > self.begin);
        count_lines(self.bytes()) - said
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn say(lines: u64) -> Vec<u8> {
        format!("dropped {lines}\n").into_bytes()
    }

    fn take(backlog: &mut Backlog, line: &str) {
        backlog.take(|buffer| buffer.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn the_oldest_lines_go_and_their_count_stands_in_their_place() {
        let mut backlog = Backlog::default();
        take(&mut backlog, "first line\n");
        backlog.written(6);
        for n in 0..40_000 {
            take(&mut backlog, &format!("{n:07}\n"));
        }
        assert!(backlog.is_full());
        backlog.drop_oldest(say);
        backlog.drop_oldest(say);
        let text = String::from_utf8(backlog.bytes().to_vec()).unwrap();
        assert!(text.starts_with("line\ndropped 16384\n0016384\n"), "{}", &text[..60]);
        assert_eq!((backlog.dropped(), backlog.count_written()), (16_384, 0));
        let length = backlog.bytes().len();
        backlog.written(length);
        assert_eq!(backlog.count_written(), 40_001 - 16_384);
        assert_eq!(backlog.unsaid(), 0);
    }

    #[test]
    fn all_that_is_lost_with_its_reader_is_counted() {
        let mut backlog = Backlog::default();
        take(&mut backlog, "a\n");
        take(&mut backlog, "b\n");
        backlog.written(3);
        backlog.drop_all();
        backlog.refuse(2);
        assert_eq!((backlog.count_written(), backlog.dropped(), backlog.unsaid()), (1, 3, 3));
        assert!(backlog.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// A reader that takes any number of bytes now and then: it sees whole lines in order, and the numbers it is told
        /// stand for just those that are missing.
        #[test]
        fn every_line_is_read_or_counted(
            steps in prop::collection::vec((1..3000usize, 0..200_000usize, any::<bool>()), 1..20),
        ) {
            let mut backlog = Backlog::default();
            let (mut read, mut next) = (Vec::new(), 0u64);
            for (lines, bytes, drops) in steps {
                for _ in 0..lines {
                    take(&mut backlog, &format!("{next} {}\n", "x".repeat((next % 70) as usize)));
                    next += 1;
                }
                if drops && backlog.bytes().len() > 200 {
                    backlog.drop_oldest(say);
                }
                // Often a few bytes, so that any line may be torn; sometimes many.
                let bytes = if bytes % 2 == 0 { bytes % 300 } else { bytes }.min(backlog.bytes().len());
                if bytes > 0 {
                    read.extend_from_slice(&backlog.bytes()[..bytes]);
                    backlog.written(bytes);
                }
                let lines = read.split_inclusive(|byte| *byte == b'\n');
                let whole = lines.filter(|line| line.ends_with(b"\n") && !line.starts_with(b"dropped"));
                prop_assert_eq!(backlog.count_written(), whole.count() as u64);
            }
            let rest = backlog.bytes().len();
            read.extend_from_slice(backlog.bytes());
            if rest > 0 {
                backlog.written(rest);
            }
            let mut expected = 0u64;
            let mut seen = 0u64;
            for line in String::from_utf8(read).unwrap().lines() {
                if let Some(lines) = line.strip_prefix("dropped ") {
                    expected += lines.parse::<u64>().unwrap();
                } else {
                    let (number, filling) = line.split_once(' ').unwrap();
                    prop_assert_eq!(number.parse::<u64>().unwrap(), expected);
                    prop_assert_eq!(filling.len() as u64, expected % 70);
                    expected += 1;
                    seen += 1;
                }
            }
            prop_assert_eq!(expected + backlog.unsaid(), next);
            prop_assert_eq!(backlog.count_written(), seen);
            prop_assert_eq!(backlog.dropped(), next - seen);
        }
    }
}
