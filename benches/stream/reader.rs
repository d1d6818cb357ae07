//! Whoever reads what a supervisor writes, and looks at every line of it.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memchr;

use super::board::now;

/// What was read so far. A thread reads, another looks.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Lines that are whole and in their place.
    pub(crate) whole: AtomicU64,
    /// When the last of them was read, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) last: AtomicU64,
}

/// What was wrong with the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Lines that are cut or joined.
    pub(crate) torn: u64,
    /// Lines that came twice or too late.
    pub(crate) repeated: u64,
    /// Lines that did not come before a later one of the same writer.
    pub(crate) missing: u64,
}

/// What the lines are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those of `writer rush`, of so many bytes with their newline, from so many writers.
    Rush { size: usize, writers: usize },
    /// Those of writer 0, with the time when each was written.
    Timed,
}

/// What is known in the end.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) faults: Faults,
    /// Nanoseconds from the writing of each timed line to its reading.
    pub(crate) delays: Vec<u64>,
}

/// Reads to the end.
///
/// # Errors
/// read(2)'s.
pub(crate) fn read_all(mut from: impl Read, kind: Kind, seen: &Seen) -> io::Result<Verdict> {
    let writers = match kind {
        Kind::Rush { writers, .. } => writers,
        Kind::Timed => 1,
    };
    let fillings: Vec<_> = (b'a'..=b'z').map(|letter| vec![letter; 4096]).collect();
    let mut judge = Judge { kind, fillings, next: vec![0; writers], verdict: Verdict::default() };
    let mut buffer = vec![0; 1 << 20];
    let (mut held, mut whole) = (0, 0);
    loop {
        let count = match from.read(&mut buffer[held..]) {
            Ok(0) => return Ok(judge.verdict),
            Ok(count) => count,
            // A terminal whose other side is gone.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(judge.verdict),
            Err(error) => return Err(error),
        };
        let time = now();
        let (mut at, end, before) = (0, held + count, whole);
        while let Some(length) = memchr(b'\n', &buffer[at..end]) {
            whole += u64::from(judge.line(&buffer[at..at + length], time));
            at += length + 1;
        }
        buffer.copy_within(at..end, 0);
        held = end - at;
        if held == buffer.len() {
            judge.verdict.faults.torn += 1;
            held = 0;
        }
        if whole != before {
            seen.last.store(time, Ordering::Relaxed);
            seen.whole.store(whole, Ordering::Release);
        }
    }
}

struct Judge {
    kind: Kind,
    fillings: Vec<Vec<u8>>,
    next: Vec<u64>,
    verdict: Verdict,
}

impl Judge {
    /// Whether it is a line of a writer, whole and in its place.
    fn line(&mut self, line: &[u8], time: u64) -> bool {
        let faults = &mut self.verdict.faults;
        let Some(begin) = memchr(b'@', line) else {
            // A notice; or the end of a line that lost its beginning.
            let cut = line.strip_suffix(b"\r").unwrap_or(line).ends_with(b"$") && self.kind != Kind::Timed;
            faults.torn += u64::from(cut);
            return false;
        };
        let line = &line[begin..];
        let size = match self.kind {
            Kind::Rush { size, .. } => size - 1,
            Kind::Timed => "@00000 000000000 T00000000000000000000$".len(),
        };
        let number = |from: usize, to: usize| {
            let digits = line.get(from..to)?;
            let digit =
                |sum: u64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'));
            digits.iter().try_fold(0, digit)
        };
        let parts = (number(1, 6), number(7, 16), line.get(size - 1));
        let (Some(writer), Some(nth), Some(b'$')) = parts else {
            // Of the one that floods beside a whisper nothing is known.
            faults.torn += u64::from(self.kind != Kind::Timed);
            return false;
        };
        let Some(next) = usize::try_from(writer).ok().and_then(|writer| self.next.get_mut(writer)) else {
            return false;
        };
        let good = match self.kind {
            Kind::Rush { .. } => {
                let filling = &self.fillings[usize::try_from(writer % 26).unwrap_or(0)];
                line[17..size - 1] == filling[..size - 18] && !line[size..].contains(&b'@')
            }
            Kind::Timed => number(18, 38).is_some_and(|written| {
                self.verdict.delays.push(time.saturating_sub(written));
                true
            }),
        };
        faults.torn += u64::from(!good);
        faults.repeated += u64::from(nth < *next);
        faults.missing += nth.saturating_sub(*next);
        let in_place = nth >= *next;
        *next = (*next).max(nth + 1);
        good && in_place
    }
}
