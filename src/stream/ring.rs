//! The last bytes of one slot, as they were read: records in a ring of a bounded size.

use std::collections::VecDeque;

use memchr::{memchr, memchr_iter, memrchr};

use super::Channel;
use super::clock::Moment;
use crate::api::{InstanceId, Pid};

/// What is known of the bytes of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its place in the order of everything that is kept, over all slots.
    pub(super) nth: u64,
    /// When it was read.
    pub(super) at: Moment,
    /// How many lines had ended in this slot after it.
    pub(super) lines_after: u64,
    /// Whose life.
    pub(super) instance: InstanceId,
    /// The leader.
    pub(super) pid: Pid,
    /// Which of its outputs.
    pub(super) channel: Channel,
    /// Whether it begins with a line or in the middle of one.
    pub(super) begins: Begins,
    /// How many bytes follow.
    pub(super) length: usize,
}

/// Where bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// At the beginning of a line.
    Line,
    /// In the middle of a line.
    Middle,
}

/// A ring of records: each is its header and its bytes.
///
/// A place in it is a number of bytes that were ever written before, so that it stays right whatever is overwritten.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// The place of the oldest record.
    begin: u64,
    /// Lines that ever ended in this slot.
    lines: u64,
    /// Bytes that were ever read from this slot.
    read: u64,
    /// The record written last.
    newest: u64,
}

/// How long a record is in the ring without its bytes.
pub(super) const HEADER: usize = 44;

const STDERR: u32 = 1 << 31;
const MIDDLE: u32 = 1 << 30;

impl Ring {
    /// Keeps bytes in which so many lines end, as many of them as there is room for in `most` bytes, the last ones; the
    /// oldest records go. `record` tells of all the bytes; the lines after it are counted here.
    pub(super) fn push(&mut self, mut record: Record, mut bytes: &[u8], lines: u64, most: usize) {
        self.newest = record.nth;
        self.lines += lines;
        self.read += bytes.len() as u64;
        record.lines_after = self.lines;
        let room = most.saturating_sub(HEADER);
        if bytes.len() > room {
            let (lost, kept) = bytes.split_at(bytes.len() - room);
            record.begins = if lost.ends_with(b"\n") { Begins::Line } else { Begins::Middle };
            // The places of what was lost are used up too, so that nobody mistakes what follows for it.
            self.begin = self.end() + lost.len() as u64;
            self.bytes.clear();
            bytes = kept;
        }
        record.length = bytes.len();
        let needed = HEADER + bytes.len();
        while self.bytes.len() + needed > most {
            self.drop_oldest(self.bytes.len() + needed - most);
        }
        let capacity = self.bytes.capacity();
        if self.bytes.len() + needed > capacity {
            // Doubled, but never beyond what may be used.
            let wanted = (self.bytes.len() + needed).max(capacity * 2).min(most);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend(&record.encode());
        self.bytes.extend(bytes);
    }

    /// The place of the oldest record.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// The place of the next record that will be written.
    pub(super) fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }

    /// Lines that ended before the oldest record.
    pub(super) fn lines_forgotten(&self) -> u64 {
        if self.bytes.is_empty() {
            return self.lines;
        }
        let (record, _) = self.record(self.begin);
        let (front, back) = self.slices(HEADER, record.length);
        record.lines_after - count_lines(front) - count_lines(back)
    }

    /// Lines that ever ended in this slot, and bytes that were ever read from it.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.lines, self.read)
    }

    /// The record that was written last, here or in a part that is forgotten.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// How much memory it has.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The record at a place between [`Ring::begin`] and [`Ring::end`], and the place of the next.
    pub(super) fn record(&self, place: u64) -> (Record, u64) {
        let mut header = [0; HEADER];
        let at = self.index(place);
        let (front, back) = self.slices(at, HEADER);
        header[..front.len()].copy_from_slice(front);
        header[front.len()..].copy_from_slice(back);
        let record = Record::decode(&header);
        (record, place + (HEADER + record.length) as u64)
    }

    /// Appends the bytes of the record at this place.
    pub(super) fn copy(&self, place: u64, length: usize, into: &mut Vec<u8>) {
        let (front, back) = self.slices(self.index(place) + HEADER, length);
        into.extend_from_slice(front);
        into.extend_from_slice(back);
    }

    /// Every record with its place, the oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, Record)> {
        let mut place = self.begin;
        std::iter::from_fn(move || {
            if place == self.end() {
                return None;
            }
            let (record, next) = self.record(place);
            Some((std::mem::replace(&mut place, next), record))
        })
    }

    /// Forgets everything and gives the memory back.
    pub(super) fn release(&mut self) {
        self.begin = self.end();
        self.bytes = VecDeque::new();
    }

    /// Drops the oldest record, or so many of its first bytes, at least one, and the rest of the line that they end in.
    fn drop_oldest(&mut self, least: usize) {
        let (mut record, next) = self.record(self.begin);
        let line_end = |from: usize| {
            let (front, back) = self.slices(HEADER + from, record.length - from);
            let in_front = memchr(b'\n', front);
            in_front.or_else(|| Some(front.len() + memchr(b'\n', back)?)).map(|at| from + at + 1)
        };
        let line_end = if least <= record.length { line_end(least - 1) } else { None };
        let cut = line_end.unwrap_or(least);
        if cut >= record.length {
            self.bytes.drain(..HEADER + record.length);
            self.begin = next;
            return;
        }
        record.begins = if line_end.is_some() { Begins::Line } else { Begins::Middle };
        record.length -= cut;
        self.bytes.drain(..cut);
        self.begin += cut as u64;
        for (place, byte) in self.bytes.iter_mut().zip(record.encode()) {
            *place = byte;
        }
    }

    fn index(&self, place: u64) -> usize {
        // A ring is in memory, so the distance of two places in it is a usize.
        usize::try_from(place - self.begin).unwrap_or(usize::MAX)
    }

    /// A stretch of the ring: its part before the place where the ring wraps round, and its part after it.
    fn slices(&self, from: usize, length: usize) -> (&[u8], &[u8]) {
        let (front, back) = self.bytes.as_slices();
        if from >= front.len() {
            let from = from - front.len();
            return (&[], &back[from..from + length]);
        }
        let front = &front[from..front.len().min(from + length)];
        (front, &back[..length - front.len()])
    }
}

impl Record {
    fn encode(&self) -> [u8; HEADER] {
        // At most what one read gives, which is far below 2^30.
        let mut length = u32::try_from(self.length).unwrap_or(0);
        if self.channel == Channel::Stderr {
            length |= STDERR;
        }
        if self.begins == Begins::Middle {
            length |= MIDDLE;
        }
        let mut header = [0; HEADER];
        let (longs, shorts) = header.split_at_mut(32);
        let long = [self.nth, self.lines_after, self.instance.0, self.at.second.cast_unsigned()];
        for (place, value) in longs.chunks_exact_mut(8).zip(long) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        let short = [self.at.micros, self.pid.raw().cast_unsigned(), length];
        for (place, value) in shorts.chunks_exact_mut(4).zip(short) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        header
    }

    fn decode(header: &[u8; HEADER]) -> Record {
        let (longs, shorts) = header.split_at(32);
        let long = |nth: usize| u64::from_ne_bytes(longs.as_chunks().0[nth]);
        let short = |nth: usize| u32::from_ne_bytes(shorts.as_chunks().0[nth]);
        let length = short(2);
        Record {
            nth: long(0),
            lines_after: long(1),
            instance: InstanceId(long(2)),
            at: Moment { second: long(3).cast_signed(), micros: short(0) },
            // It was written from a pid.
            pid: Pid::new(short(1).cast_signed()).expect("a header holds what was a pid"),
            channel: if length & STDERR == 0 { Channel::Stdout } else { Channel::Stderr },
            begins: if length & MIDDLE == 0 { Begins::Line } else { Begins::Middle },
            length: (length & !(STDERR | MIDDLE)) as usize,
        }
    }
}

/// So many bytes at the end of each pipe are looked at for its last lines.
const LAST_BYTES: usize = 2048;

/// So many lines are shown.
const LAST_LINES: usize = 10;

impl Ring {
    /// The last lines of the instance that wrote last, oldest first; of two pipes first the lines of stdout, then those of
    /// stderr.
    pub(super) fn last_lines(&self) -> Vec<Vec<u8>> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let Some((_, last)) = self.records().last() else { return Vec::new() };
        for (place, record) in self.records().filter(|(_, record)| record.instance == last.instance) {
            let of = match record.channel {
                Channel::Stdout => &mut stdout,
                Channel::Stderr => &mut stderr,
            };
            self.copy(place, record.length, of);
        }
        let mut lines = last_lines(&stderr, LAST_LINES);
        let mut all = last_lines(&stdout, LAST_LINES - lines.len());
        all.append(&mut lines);
        all
    }
}

fn last_lines(bytes: &[u8], most: usize) -> Vec<Vec<u8>> {
    let mut rest = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if most == 0 || bytes.is_empty() {
        return Vec::new();
    }
    rest = &rest[rest.len().saturating_sub(LAST_BYTES)..];
    let mut lines = Vec::new();
    while lines.len() < most {
        let Some(newline) = memrchr(b'\n', rest) else {
            // The first line may have lost its beginning; it is better than none.
            lines.push(rest.to_vec());
            break;
        };
        lines.push(rest[newline + 1..].to_vec());
        rest = &rest[..newline];
    }
    lines.reverse();
    lines
}

/// How many lines end in these bytes.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
