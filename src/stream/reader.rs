//! A follower's place in the history: from the bytes of many slots to lines in their order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use memchr::memchr;

use super::clock::{Clock, Moment, Stamp, now};
use super::history::{History, Kept, Remark};
use super::line::{Cut, Splitter};
use super::ring::{Begins, Record, Ring};
use super::{Channel, json};
use crate::api::{InstanceId, Notice, SlotName, Target};

/// So much is copied at once, while the lock is held.
const BATCH: usize = 32 * 1024;

/// So many batches are looked through in one go where nothing in them is wanted.
const PATIENCE: usize = 8;

/// Whoever is meant by this is the supervisor itself.
const OURSELVES: &str = "supervise";

/// What a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The lines of the slots meant, and the notices about them; all of them where nobody is named.
    Logs,
    /// Notices alone.
    Events,
}

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There is more to read now.
    More,
    /// There is nothing more for now; the bell tells when there is ([`History::set_bell`]).
    CaughtUp,
    /// Everything was read, and nothing will come.
    Over,
}

/// One follower's place in the history.
#[derive(Debug)]
pub struct Reader {
    history: Arc<History>,
    what: What,
    targets: Vec<Target>,
    /// What has this number in the order of everything, or a higher one, is not read.
    until: u64,
    clock: Clock,
    /// By the number of a slot; none where it is not meant.
    places: Vec<Option<Place>>,
    /// The next notice, by how many were ever said before it.
    next_notice: u64,
    /// Notices that were overwritten and have not been told of.
    missed_notices: u64,
    /// What was copied and not yet read, in order.
    batch: VecDeque<Item>,
    bytes: Vec<u8>,
}

/// A place in the ring of one slot.
#[derive(Debug)]
struct Place {
    slot: SlotName,
    at: u64,
    /// How many lines had ended before it.
    line: u64,
    /// The first line that is wanted and not yet read, by how many ended before it.
    next_line: u64,
    /// Lines that were overwritten and have not been told of.
    missed: u64,
    loss: Loss,
    /// The pipes that stand in the middle of a line.
    open: Vec<(Pipe, Begun)>,
}

/// One pipe of one life in a slot.
type Pipe = (InstanceId, Channel);

/// Whether something was overwritten in a slot since it is read. Before that, a line without its beginning is nobody's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    None,
    Some,
}

/// What is known of a line that has begun.
#[derive(Debug)]
enum Begun {
    Whole(Splitter),
    /// Its beginning was overwritten.
    Torn,
}

/// What was copied.
#[derive(Debug)]
enum Item {
    /// What was read from a pipe of the slot with this number; how many lines had ended before it and before the rest of it.
    Bytes { slot: usize, record: Record, first: u64, line: u64, rest: Range<usize> },
    /// What the supervisor said.
    Notice { at: Moment, notice: Notice, last_lines: Box<[Vec<u8>]> },
}

/// What a look at the history gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Something,
    Nothing,
    End,
}

impl Reader {
    /// A place at the beginning of what is kept, or before the `last` lines and notices of what was chosen.
    ///
    /// With targets a reader gets the slots that one of them means and the notices about these; the target `supervise`
    /// means every notice.
    #[must_use]
    pub fn new(history: Arc<History>, what: What, targets: Vec<Target>, last: Option<usize>) -> Reader {
        let mut reader = Reader {
            history,
            what,
            targets,
            until: u64::MAX,
            clock: Clock::utc(),
            places: Vec::new(),
            next_notice: 0,
            missed_notices: 0,
            batch: VecDeque::new(),
            bytes: Vec::new(),
        };
        reader.begin(last);
        reader
    }

    /// The same, and it ends with what is kept now, however fast more of it comes.
    #[must_use]
    pub fn until_now(mut self) -> Reader {
        self.until = self.history.lock().next;
        self
    }

    /// Appends lines of JSON as `--format json` writes them, each with its newline: `most` bytes and the rest of a line
    /// at most.
    ///
    /// What was overwritten before it could be read is told by a line with `"event":"missed"` and the exact number in
    /// `lines`, before the next line of its slot.
    pub fn read(&mut self, out: &mut Vec<u8>, most: usize) -> Read {
        let full = out.len() + most;
        for _ in 0..PATIENCE {
            if self.tell(out, full).is_break() {
                return Read::More;
            }
            let read = match self.look() {
                Found::Something => continue,
                Found::Nothing => Read::CaughtUp,
                Found::End => Read::Over,
            };
            self.tell_all_missed(out);
            // A follower that waits needs nothing.
            self.bytes = Vec::new();
            return read;
        }
        Read::More
    }

    /// Tells what was copied; breaks when there is no room for more.
    fn tell(&mut self, out: &mut Vec<u8>, full: usize) -> ControlFlow<()> {
        while let Some(item) = self.batch.front_mut() {
            if out.len() >= full {
                return ControlFlow::Break(());
            }
            match item {
                Item::Bytes { slot, record, first, line, rest } => {
                    let stamp = self.clock.timestamp_of(record.at);
                    let Some(place) = &mut self.places[*slot] else {
                        unreachable!("only slots that are meant are copied")
                    };
                    rest.start +=
                        place.tell(&self.bytes[rest.clone()], record, (*first, line), &stamp, out, full);
                    if rest.start < rest.end {
                        return ControlFlow::Break(());
                    }
                }
                Item::Notice { at, notice, last_lines } => {
                    let stamp = self.clock.timestamp_of(*at);
                    tell_missed(&mut self.missed_notices, None, &stamp, out);
                    json::notice(out, &stamp, notice, last_lines);
                }
            }
            self.batch.pop_front();
        }
        ControlFlow::Continue(())
    }

    fn tell_all_missed(&mut self, out: &mut Vec<u8>) {
        let stamp = self.clock.timestamp_of(now());
        tell_missed(&mut self.missed_notices, None, &stamp, out);
        for place in self.places.iter_mut().flatten() {
            tell_missed(&mut place.missed, Some(&place.slot), &stamp, out);
        }
    }

    /// Copies what comes next, in its order.
    fn look(&mut self) -> Found {
        self.bytes.clear();
        let history = Arc::clone(&self.history);
        let kept = history.lock();
        self.meet(&kept);
        let mut next = self.next_of_each(&kept);
        if next.is_empty() {
            if kept.over {
                return Found::End;
            }
            history.await_more();
            return Found::Nothing;
        }
        while self.bytes.len() < BATCH
            && let Some(Reverse((_, source))) = next.pop()
        {
            let following = match source {
                Source::Slot(slot) => self.copy(&kept, slot).map(|nth| (nth, source)),
                Source::Notices => self.take_notice(&kept).map(|nth| (nth, source)),
            };
            next.extend(following.filter(|(nth, _)| *nth < self.until).map(Reverse));
        }
        Found::Something
    }

    /// Takes note of slots that were not there before; all that they have is new.
    fn meet(&mut self, kept: &Kept) {
        match self.what {
            What::Events => {}
            What::Logs => {
                for (slot, _) in &kept.rings[self.places.len()..] {
                    let meant =
                        self.targets.is_empty() || self.targets.iter().any(|target| target.means(slot));
                    self.places.push(meant.then(|| Place::new(slot)));
                }
            }
        }
    }

    fn next_of_each(&mut self, kept: &Kept) -> BinaryHeap<Reverse<(u64, Source)>> {
        let mut next = BinaryHeap::new();
        for (slot, place) in self.places.iter_mut().enumerate() {
            let Some(place) = place else { continue };
            let ring = &kept.rings[slot].1;
            if place.at < ring.begin() {
                place.skip_to_oldest(ring);
            }
            if place.at < ring.end() {
                next.push(Reverse((ring.record(place.at).0.nth, Source::Slot(slot))));
            }
        }
        if self.next_notice < kept.notices_gone {
            self.missed_notices += kept.notices_gone - self.next_notice;
            self.next_notice = kept.notices_gone;
        }
        next.extend(self.notice(kept).map(|said| Reverse((said.nth, Source::Notices))));
        next.retain(|Reverse((nth, _))| *nth < self.until);
        next
    }

    /// Copies the next record of a slot; the number of the one after it.
    fn copy(&mut self, kept: &Kept, slot: usize) -> Option<u64> {
        let ring = &kept.rings[slot].1;
        let place = self.places[slot].as_mut()?;
        let (record, following) = ring.record(place.at);
        let start = self.bytes.len();
        ring.copy(place.at, record.length, &mut self.bytes);
        let rest = start..self.bytes.len();
        self.batch.push_back(Item::Bytes { slot, record, first: place.line, line: place.line, rest });
        (place.at, place.line) = (following, record.lines_after);
        (following < ring.end()).then(|| ring.record(following).0.nth)
    }

    /// Copies the next notice, where it is meant; the number of the one after it.
    fn take_notice(&mut self, kept: &Kept) -> Option<u64> {
        let said = self.notice(kept)?;
        if self.means(&said.notice) {
            let (at, notice, last_lines) = (said.at, said.notice.clone(), said.last_lines.clone());
            self.batch.push_back(Item::Notice { at, notice, last_lines });
        }
        self.next_notice += 1;
        self.notice(kept).map(|said| said.nth)
    }

    fn notice<'kept>(&self, kept: &'kept Kept) -> Option<&'kept Remark> {
        // Those that are kept are in memory, so their number is a usize.
        kept.notices.get(usize::try_from(self.next_notice - kept.notices_gone).ok()?)
    }

    fn means(&self, notice: &Notice) -> bool {
        self.targets.is_empty()
            || self.targets.iter().any(|target| {
                target.means_type(OURSELVES) || notice.slot().is_some_and(|slot| target.means(slot))
            })
    }

    /// Finds the place to begin at. The lock is given back between one ring and the next.
    fn begin(&mut self, last: Option<usize>) {
        let history = Arc::clone(&self.history);
        let kept = history.lock();
        self.meet(&kept);
        self.next_notice = kept.notices_gone;
        let end = kept.next;
        // Newest first: what ends with which line, and how many lines of it can be had.
        let mut found = Vec::new();
        for (at, said) in (kept.notices_gone..).zip(&kept.notices) {
            if self.means(&said.notice) {
                found.push((said.nth, Source::Notices, at + 1, 1));
            }
        }
        let notices_end = kept.notices_gone + kept.notices.len() as u64;
        drop(kept);
        for (slot, place) in self.places.iter_mut().enumerate() {
            let Some(place) = place else { continue };
            let kept = history.lock();
            let ring = &kept.rings[slot].1;
            match last {
                None => place.at_oldest(ring),
                Some(_) => place.at_end(ring, end, |nth, line, lines| {
                    found.push((nth, Source::Slot(slot), line, lines));
                }),
            }
        }
        let Some(last) = last else { return };
        self.next_notice = notices_end;
        found.sort_unstable_by_key(|(nth, ..)| Reverse(*nth));
        let mut wanted = last as u64;
        for (_, source, end, lines) in found {
            if wanted == 0 {
                break;
            }
            let lines = lines.min(wanted);
            wanted -= lines;
            match source {
                Source::Notices => self.next_notice = end - lines,
                Source::Slot(slot) if lines > 0 => {
                    if let Some(place) = &mut self.places[slot] {
                        place.next_line = end - lines;
                    }
                }
                Source::Slot(_) => {}
            }
        }
    }
}

/// Where something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Slot(usize),
    Notices,
}

impl Place {
    /// At the very beginning of a slot.
    fn new(slot: &SlotName) -> Place {
        let slot = slot.clone();
        Place { slot, at: 0, line: 0, next_line: 0, missed: 0, loss: Loss::None, open: Vec::new() }
    }

    /// At the oldest that is kept, of which all is wanted.
    fn at_oldest(&mut self, ring: &Ring) {
        (self.at, self.line) = (ring.begin(), ring.lines_forgotten());
        self.next_line = self.line;
    }

    /// At the oldest that is kept, but nothing older than the record `end` is wanted: `each` is told the number of each such
    /// record, how many lines had ended after it and how many of its own can be had.
    fn at_end(&mut self, ring: &Ring, end: u64, mut each: impl FnMut(u64, u64, u64)) {
        self.at_oldest(ring);
        let mut seen: Vec<(Pipe, Begins)> = Vec::new();
        for (_, record) in ring.records().take_while(|(_, record)| record.nth < end) {
            let mut lines = record.lines_after - self.next_line;
            self.next_line = record.lines_after;
            let pipe = (record.instance, record.channel);
            let known = seen.iter().position(|(known, _)| *known == pipe).unwrap_or_else(|| {
                seen.push((pipe, record.begins));
                seen.len() - 1
            });
            // The first line of a pipe that is seen in its middle cannot be had.
            if seen[known].1 == Begins::Middle && lines > 0 {
                seen[known].1 = Begins::Line;
                lines -= 1;
            }
            each(record.nth, record.lines_after, lines);
        }
    }

    /// What was to be read next is overwritten.
    fn skip_to_oldest(&mut self, ring: &Ring) {
        (self.at, self.line) = (ring.begin(), ring.lines_forgotten());
        self.missed += self.line.saturating_sub(self.next_line);
        self.next_line = self.next_line.max(self.line);
        self.loss = Loss::Some;
        self.open.clear();
    }

    /// Tells the lines that end in bytes of a record, whose first line is `first` and whose next is `line`, and returns how
    /// many bytes were used.
    fn tell(
        &mut self,
        bytes: &[u8],
        record: &Record,
        (first, line): (u64, &mut u64),
        stamp: &Stamp,
        out: &mut Vec<u8>,
        full: usize,
    ) -> usize {
        let pipe = (record.instance, record.channel);
        let known = self.open.iter().position(|(known, _)| *known == pipe);
        let begun = match (known.map(|at| self.open.swap_remove(at).1), record.begins) {
            (Some(begun), _) => begun,
            (None, Begins::Middle) if *line == first => Begun::Torn,
            (None, Begins::Line | Begins::Middle) => Begun::Whole(Splitter::default()),
        };
        let (mut lines, skipped) = match (begun, memchr(b'\n', bytes)) {
            (Begun::Whole(lines), _) => (lines, 0),
            (Begun::Torn, Some(end)) => {
                self.missed += u64::from(self.loss == Loss::Some && *line >= self.next_line);
                *line += 1;
                self.next_line = self.next_line.max(*line);
                (Splitter::default(), end + 1)
            }
            (Begun::Torn, None) => {
                self.open.push((pipe, Begun::Torn));
                return bytes.len();
            }
        };
        let mut head = json::Head::new(&self.slot, record.pid, record.channel);
        head.stamp(stamp);
        let used = lines.feed(&bytes[skipped..], |text, cut| {
            if *line >= self.next_line {
                tell_missed(&mut self.missed, Some(&self.slot), stamp, out);
                head.line(out, text, cut);
            }
            *line += u64::from(cut == Cut::Line);
            self.next_line = self.next_line.max(*line);
            if out.len() >= full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if !lines.begun().is_empty() {
            self.open.push((pipe, Begun::Whole(lines)));
        }
        skipped + used
    }
}

fn tell_missed(missed: &mut u64, slot: Option<&SlotName>, stamp: &[u8], out: &mut Vec<u8>) {
    let lines = std::mem::take(missed);
    if lines > 0 {
        json::missed(out, stamp, slot, lines);
    }
}
