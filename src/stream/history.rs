//! What was said lately, for `logs` and `events`: a bounded ring of bytes for each slot and one of notices.
//!
//! The stream's thread puts in what it reads, as it reads it: one copy of at most a ring's size a read, and no work for a
//! line. Lines are put together again by whoever reads ([`Reader`](super::Reader)), in a thread of their own. A reader never slows the
//! stream: it holds the lock for as long as a copy takes, and what is overwritten before it comes is counted for it.
//!
//! ```text
//!   the stream's thread          History                        a reader's thread
//!
//!   bytes of web.1   ------>  | ring of web.1 |  32 KiB  --.
//!   bytes of web.2   ------>  | ring of web.2 |  32 KiB  ---+--> merged by number --> lines --> NDJSON
//!   notices          ------>  | 1,000 of them |          --'
//!                    <- - - -  the bell, where somebody waits  - - - - ->
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::Channel;
use super::clock::{Moment, now};
use super::ring::{Begins, Record, Ring};
use crate::api::{DropReason, InstanceId, Notice, Pid, SlotName};

/// So many notices are kept: what a formation of some hundred slots says in its last start and stop, a few hundred bytes each.
pub(super) const NOTICES: usize = 1000;

/// So many full rings may be held in memory at once; then the one that was silent for the longest gives up its own.
const RINGS: usize = 1000;

/// The least that a ring is worth: one line and what is known of it.
const LEAST: usize = 1024;

/// What was said lately. Shared by the stream's thread and the readers.
pub struct History {
    kept: Mutex<Kept>,
    /// Whether a reader has read everything and wants to hear of more.
    awaited: AtomicBool,
    bell: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Lines that were dropped, by [`REASONS`].
    dropped: [AtomicU64; REASONS.len()],
}

/// What was said since the supervisor began: what `/metrics` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Every slot that ever wrote, with the lines that it has ended and the bytes that were read from it.
    pub slots: Vec<(SlotName, u64, u64)>,
    /// Lines that did not reach our reader, by why.
    pub dropped: [(DropReason, u64); REASONS.len()],
}

const REASONS: [DropReason; 3] = [DropReason::SlowReader, DropReason::ReaderGone, DropReason::WriteFailed];

/// All that is kept, behind the lock.
#[derive(Debug)]
pub(super) struct Kept {
    bytes_per_slot: usize,
    /// The number of the next record or notice.
    pub(super) next: u64,
    slots: HashMap<SlotName, usize>,
    /// By the number of a slot: how many were seen before it.
    pub(super) rings: Vec<(SlotName, Ring)>,
    /// What all rings hold.
    held: usize,
    pub(super) notices: VecDeque<Remark>,
    /// Notices that are not kept any more.
    pub(super) notices_gone: u64,
    pub(super) over: bool,
}

/// A notice, and when it was said.
#[derive(Debug)]
pub(super) struct Remark {
    /// Its place in the order of everything that is kept.
    pub(super) nth: u64,
    pub(super) at: Moment,
    pub(super) notice: Notice,
    /// What the slot wrote last, where the notice is about its end.
    pub(super) last_lines: Box<[Vec<u8>]>,
}

impl History {
    /// An empty one, which keeps at most so many bytes of each slot. Memory is taken as it is needed.
    #[must_use]
    pub fn new(bytes_per_slot: usize) -> Arc<History> {
        let kept = Kept {
            bytes_per_slot: bytes_per_slot.max(LEAST),
            next: 0,
            slots: HashMap::new(),
            rings: Vec::new(),
            held: 0,
            notices: VecDeque::new(),
            notices_gone: 0,
            over: false,
        };
        let (awaited, bell) = (AtomicBool::new(false), OnceLock::new());
        Arc::new(History { kept: Mutex::new(kept), awaited, bell, dropped: Default::default() })
    }

    /// Sets what is called when there is something new for readers that have read everything ([`Read::CaughtUp`](super::Read::CaughtUp)): once for
    /// all of them, until one of them has read again. It is called on the stream's thread and must not block.
    ///
    /// The first bell is the only one.
    pub fn set_bell(&self, bell: impl Fn() + Send + Sync + 'static) {
        let second = self.bell.set(Box::new(bell)).is_err();
        debug_assert!(!second, "there is one bell");
    }

    /// The notices that are kept and speak of a chosen slot or of none, as lines, with what the slot wrote last.
    #[must_use]
    pub fn sentences(&self, chosen: impl Fn(Option<&SlotName>) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        for said in self.lock().notices.iter().filter(|said| chosen(said.notice.slot())) {
            lines.push(said.notice.to_string());
            lines.extend(said.last_lines.iter().map(|line| format!("  {}", String::from_utf8_lossy(line))));
        }
        lines
    }

    /// What was said so far.
    #[must_use]
    pub fn said(&self) -> Said {
        let kept = self.lock();
        let slots = kept.rings.iter().map(|(slot, ring)| {
            let (lines, bytes) = ring.totals();
            (slot.clone(), lines, bytes)
        });
        let slots = slots.collect();
        let count = |at: usize| (REASONS[at], self.dropped[at].load(Ordering::Relaxed));
        Said { slots, dropped: std::array::from_fn(count) }
    }

    /// Counts lines that do not reach our reader.
    pub(super) fn drop_lines(&self, reason: DropReason, lines: u64) {
        for (known, count) in REASONS.iter().zip(&self.dropped) {
            if *known == reason {
                count.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }

    /// The number of a slot: how many were seen before it.
    pub(super) fn place(&self, slot: &SlotName) -> usize {
        let mut kept = self.lock();
        if let Some(place) = kept.slots.get(slot) {
            return *place;
        }
        let place = kept.rings.len();
        kept.slots.insert(slot.clone(), place);
        kept.rings.push((slot.clone(), Ring::default()));
        place
    }

    /// Keeps what was read from one pipe of the slot with this number, and in which so many lines end.
    pub(super) fn keep(
        &self,
        place: usize,
        (instance, pid, channel): (InstanceId, Pid, Channel),
        begins: Begins,
        bytes: &[u8],
        lines: u64,
    ) {
        let at = now();
        let mut kept = self.lock();
        let nth = kept.number();
        let record = Record { nth, at, lines_after: 0, instance, pid, channel, begins, length: bytes.len() };
        kept.push(place, record, bytes, lines);
        drop(kept);
        self.ring();
    }

    /// Keeps a notice.
    pub(super) fn say(&self, notice: Notice, last_lines: Vec<Vec<u8>>) {
        let at = now();
        let mut kept = self.lock();
        let nth = kept.number();
        if kept.notices.len() == NOTICES {
            kept.notices.pop_front();
            kept.notices_gone += 1;
        }
        kept.notices.push_back(Remark { nth, at, notice, last_lines: last_lines.into() });
        drop(kept);
        self.ring();
    }

    /// What the last instance of a slot wrote last; nothing where it was never seen.
    pub(super) fn last_lines(&self, slot: &SlotName) -> Vec<Vec<u8>> {
        let kept = self.lock();
        kept.slots.get(slot).map_or_else(Vec::new, |place| kept.rings[*place].1.last_lines())
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.ring();
    }

    /// From now on the bell is rung for the next thing that is kept. To be called with the lock held, by a reader that has
    /// found nothing.
    pub(super) fn await_more(&self) {
        self.awaited.store(true, Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        // Should a holder ever panic, the whole process ends (`daemon::start`); tests go on.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the readers that wait. Whoever began to wait before the lock was last given back is seen here.
    fn ring(&self) {
        if self.awaited.load(Ordering::Relaxed)
            && self.awaited.swap(false, Ordering::Relaxed)
            && let Some(bell) = self.bell.get()
        {
            bell();
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Kept {
    fn number(&mut self) -> u64 {
        let nth = self.next;
        self.next += 1;
        nth
    }

    fn push(&mut self, place: usize, record: Record, bytes: &[u8], lines: u64) {
        let ring = &mut self.rings[place].1;
        let before = ring.held();
        ring.push(record, bytes, lines, self.bytes_per_slot);
        if ring.held() != before {
            self.held += ring.held() - before;
            self.limit(place);
        }
    }

    /// Has the ring that was silent for the longest give up what it holds, where all hold too much; never this one.
    #[cold]
    fn limit(&mut self, but: usize) {
        while self.held > RINGS.saturating_mul(self.bytes_per_slot) {
            let others = self.rings.iter_mut().enumerate();
            let others = others.filter(|(place, (_, ring))| *place != but && ring.held() > 0);
            let Some((_, (_, silent))) = others.min_by_key(|(_, (_, ring))| ring.newest()) else { return };
            self.held -= silent.held();
            silent.release();
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
