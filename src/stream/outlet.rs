//! An output: how its lines look, what waits for its reader, and the descriptor.

use std::mem;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;

use super::backlog::Backlog;
use super::clock::Clock;
use super::line::Splitter;
use super::sink::{Sink, Wrote};
use super::tag::{Style, Tag};
use super::{Channel, Totals, json};
use crate::api::{DropReason, Notice, Pid, SlotName};

/// How lines look.
#[derive(Debug)]
pub(super) enum Dress {
    /// `web.1     | text`
    Text(Style),
    /// One object a line, timed by this clock, which is in UTC.
    Json(Clock),
    /// The line itself.
    Raw,
    /// Nothing: there is no output.
    Invisible,
}

/// What stands before every line of one pipe, made once.
#[derive(Debug)]
pub(super) enum Head {
    /// For [`Dress::Text`].
    Tag(Tag),
    /// For [`Dress::Json`].
    Object(json::Head),
    /// For [`Dress::Raw`] and [`Dress::Invisible`].
    Nothing,
}

/// What happens when as much waits as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Nothing more is taken until the reader goes on.
    Wait,
    /// The same, as long as the reader takes something now and then.
    WaitAWhile,
    /// The oldest lines are dropped and counted.
    Drop,
}

/// What happened to an output that its owner should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Its reader is gone.
    Gone,
    /// It cannot be written. Said once, until it works again.
    Failed(Errno),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It took everything so far.
    Open,
    /// Its reader has to read before it takes more.
    Stuck,
    /// As `Stuck`, and the reader was given up for now: lines are dropped until it reads again.
    Stalled,
    /// Writing failed. It is tried again with every output, and after a while.
    Failing,
    /// Nobody will ever read it.
    Gone,
}

/// One output.
#[derive(Debug)]
pub(super) struct Outlet {
    dress: Dress,
    valve: Valve,
}

/// The part of an outlet that does not know how lines look.
#[derive(Debug)]
struct Valve {
    sink: Sink,
    backlog: Backlog,
    overflow: Overflow,
    state: State,
    /// Whether lines came in since the last try to write.
    fresh: bool,
    /// When the reader last took something.
    moved: Instant,
    news: Option<News>,
}

impl Outlet {
    /// An output on a duplicate of an inherited descriptor.
    ///
    /// # Errors
    /// The system's: the descriptor is not open.
    pub(super) fn new(fd: OwnedFd, dress: Dress, overflow: Overflow) -> nix::Result<Outlet> {
        let (backlog, sink) = (Backlog::default(), Sink::new(fd)?);
        let (state, moved) = (State::Open, Instant::now());
        let valve = Valve { sink, backlog, overflow, state, fresh: false, moved, news: None };
        Ok(Outlet { dress, valve })
    }

    /// One whose reader takes nothing by itself; see [`Outlet::take_waiting`].
    ///
    /// # Errors
    /// As [`Outlet::new`].
    pub(super) fn unread(fd: OwnedFd, dress: Dress) -> nix::Result<Outlet> {
        let mut outlet = Outlet::new(fd, dress, Overflow::Wait)?;
        outlet.valve.state = State::Stuck;
        Ok(outlet)
    }

    /// Takes what waits, as its reader.
    pub(super) fn take_waiting(&mut self, into: &mut Vec<u8>) {
        let waiting = self.valve.backlog.bytes();
        let count = waiting.len();
        into.extend_from_slice(waiting);
        if count > 0 {
            self.valve.backlog.written(count);
        }
    }

    /// Takes the lines that end in a chunk; the first ones only, where no more can be taken. Returns how much of the chunk
    /// was used.
    pub(super) fn chunk(&mut self, lines: &mut Splitter, head: &mut Head, chunk: &[u8]) -> usize {
        let Outlet { dress, valve } = self;
        match (&mut *dress, head) {
            (Dress::Text(style), Head::Tag(tag)) => {
                style.stamp(tag);
                let bleeds = style.may_bleed(chunk);
                let mut began_before = style.may_bleed(lines.begun());
                lines.feed(chunk, |line, _| {
                    let closed = bleeds || mem::take(&mut began_before);
                    valve.take(dress, |buffer| {
                        if closed {
                            tag.closed_line(buffer, line);
                        } else {
                            tag.line(buffer, line);
                        }
                    })
                })
            }
            (Dress::Json(clock), Head::Object(head)) => {
                head.stamp(&clock.timestamp());
                lines.feed(chunk, |line, cut| valve.take(dress, |buffer| head.line(buffer, line, cut)))
            }
            (Dress::Raw, Head::Nothing) => lines.feed(chunk, |line, _| {
                valve.take(dress, |buffer| {
                    buffer.extend_from_slice(line);
                    buffer.push(b'\n');
                })
            }),
            (Dress::Invisible, Head::Nothing) => lines.pass(chunk),
            (Dress::Text(_) | Dress::Json(_) | Dress::Raw | Dress::Invisible, _) => {
                unreachable!("a head is made by the dress that it is used with")
            }
        }
    }

    /// Counts the lines that end in a chunk as dropped, for whose pipe nobody waits any more.
    pub(super) fn drop_chunk(&mut self, lines: &mut Splitter, chunk: &[u8]) {
        lines.feed(chunk, |_, _| {
            self.valve.backlog.refuse(1);
            ControlFlow::Continue(())
        });
    }

    /// Takes the line that a pipe ended with, where it did so without a newline. It may be one more than there is room for.
    pub(super) fn last_line(&mut self, lines: &mut Splitter, head: &mut Head) {
        if !lines.begun().is_empty() {
            self.chunk(lines, head, b"\n");
        }
    }

    /// Takes a notice; it may be one more than there is room for. Lines without a tag have no place for it.
    pub(super) fn notice(&mut self, notice: &Notice, last_lines: &[Vec<u8>]) {
        for line in self.dress.notice(notice, last_lines).split_inclusive(|byte| *byte == b'\n') {
            // Whether there is room for more is asked before the next one is taken.
            let _ = self.valve.take(&mut self.dress, |buffer| buffer.extend_from_slice(line));
        }
    }

    /// What stands before every line of a pipe, whose slot was seen as the `nth`.
    pub(super) fn head(&self, slot: &SlotName, pid: Pid, channel: Channel, nth: usize) -> Head {
        match &self.dress {
            Dress::Text(style) => Head::Tag(style.tag(&slot.to_string(), nth)),
            Dress::Json(_) => Head::Object(json::Head::new(slot, pid, channel)),
            Dress::Raw | Dress::Invisible => Head::Nothing,
        }
    }

    /// Whether a name is longer than all before, so that every head has to be made again.
    pub(super) fn grows_for(&mut self, slot: &SlotName) -> bool {
        match &mut self.dress {
            Dress::Text(style) => style.fit(&slot.to_string()),
            Dress::Json(_) | Dress::Raw | Dress::Invisible => false,
        }
    }

    /// Whether notices have a place among the lines.
    pub(super) fn has_notices(&self) -> bool {
        !matches!(self.dress, Dress::Raw)
    }

    /// Whether nothing more can be taken until the reader goes on.
    pub(super) fn is_full(&self) -> bool {
        self.valve.backlog.is_full() && !self.valve.drops()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.valve.backlog.is_empty()
    }

    /// Whether it makes sense to try writing now.
    pub(super) fn is_fresh(&self) -> bool {
        self.valve.fresh && !self.is_stuck()
    }

    /// Whether the reader has to read before more can be written.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.valve.state, State::Stuck | State::Stalled)
    }

    /// Whether it will never be read.
    pub(super) fn is_gone(&self) -> bool {
        self.valve.state == State::Gone
    }

    /// Whether it can only be given up: trying again is for later.
    pub(super) fn is_failing(&self) -> bool {
        self.valve.state == State::Failing
    }

    /// Whether there is somebody who can be slow: what poll(2) is for.
    pub(super) fn waits_for_reader(&self) -> bool {
        self.valve.sink.waits_for_reader()
    }

    /// When the reader last took something.
    pub(super) fn moved(&self) -> Instant {
        self.valve.moved
    }

    /// From now on handles overflow so.
    pub(super) fn set_overflow(&mut self, overflow: Overflow) {
        self.valve.overflow = overflow;
    }

    /// How overflow is handled.
    pub(super) fn overflow(&self) -> Overflow {
        self.valve.overflow
    }

    /// Gives the reader up until it takes something.
    pub(super) fn stall(&mut self) {
        if self.valve.state == State::Stuck {
            self.valve.state = State::Stalled;
        }
    }

    /// Writes what can be written.
    pub(super) fn flush(&mut self) {
        self.valve.flush();
    }

    /// The reader is gone, as poll(2) says.
    pub(super) fn hang_up(&mut self) {
        self.valve.hang_up();
    }

    /// What happened since the last time, if it matters.
    pub(super) fn news(&mut self) -> Option<News> {
        self.valve.news.take()
    }

    /// What was dropped and is not said by a line among the others, once the reader has taken all that waited.
    pub(super) fn dropped(&mut self) -> Option<Notice> {
        if self.valve.state == State::Open && self.is_empty() { self.valve.say_dropped() } else { None }
    }

    /// How many lines were dropped so far, and why the last of them were.
    pub(super) fn count_dropped(&self) -> (u64, DropReason) {
        (self.valve.backlog.dropped(), self.valve.reason())
    }

    /// Gives up what waits; what was dropped and not said, to be said elsewhere.
    pub(super) fn abandon(&mut self) -> Option<Notice> {
        self.valve.backlog.drop_all();
        self.valve.say_dropped()
    }

    /// From now on writes to another file, what waits first.
    ///
    /// # Errors
    /// As [`Outlet::new`]; then all is as it was.
    pub(super) fn reopen(&mut self, fd: OwnedFd) -> nix::Result<()> {
        let sink = Sink::new(fd)?;
        // What the old one takes goes to the old one: the line that stands in it half, above all.
        self.valve.flush();
        self.valve.sink = sink;
        (self.valve.state, self.valve.fresh, self.valve.news) = (State::Open, true, None);
        Ok(())
    }

    /// Counts notices that were dropped before they came here.
    pub(super) fn refuse(&mut self, lines: u64) {
        self.valve.backlog.refuse(lines);
    }

    /// What became of everything so far; what waits counts as neither.
    pub(super) fn totals(&self) -> Totals {
        let backlog = &self.valve.backlog;
        Totals { written: backlog.count_written(), dropped: backlog.dropped() }
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.valve.sink.as_fd()
    }
}

impl Dress {
    fn notice(&mut self, notice: &Notice, last_lines: &[Vec<u8>]) -> Vec<u8> {
        let mut buffer = Vec::new();
        match self {
            Dress::Text(style) => style.notice(&mut buffer, notice, last_lines),
            Dress::Json(clock) => json::notice(&mut buffer, &clock.timestamp(), notice, last_lines),
            Dress::Raw | Dress::Invisible => {}
        }
        buffer
    }
}

impl Valve {
    /// Takes one line. Breaks where it was the last one that there is room for.
    fn take(&mut self, dress: &mut Dress, write: impl FnOnce(&mut Vec<u8>)) -> ControlFlow<()> {
        if self.state == State::Gone {
            self.backlog.refuse(1);
            return ControlFlow::Continue(());
        }
        self.backlog.take(write);
        self.fresh = true;
        if self.backlog.is_full() { self.relieve(dress) } else { ControlFlow::Continue(()) }
    }

    #[cold]
    fn relieve(&mut self, dress: &mut Dress) -> ControlFlow<()> {
        match self.state {
            State::Open | State::Failing => self.flush(),
            State::Stuck | State::Stalled | State::Gone => {}
        }
        if !self.backlog.is_full() {
            return ControlFlow::Continue(());
        }
        if !self.drops() {
            return ControlFlow::Break(());
        }
        let reason = self.reason();
        self.backlog.drop_oldest(|lines| dress.notice(&Notice::Dropped { lines, reason }, &[]));
        ControlFlow::Continue(())
    }

    fn drops(&self) -> bool {
        match self.state {
            State::Open | State::Stuck => self.overflow == Overflow::Drop,
            State::Stalled | State::Failing | State::Gone => true,
        }
    }

    fn reason(&self) -> DropReason {
        match self.state {
            State::Open | State::Stuck | State::Stalled => DropReason::SlowReader,
            State::Failing => DropReason::WriteFailed,
            State::Gone => DropReason::ReaderGone,
        }
    }

    fn flush(&mut self) {
        self.fresh = false;
        while !self.backlog.is_empty() {
            match self.sink.write(self.backlog.bytes()) {
                Wrote::Bytes(count) => {
                    self.backlog.written(count);
                    self.moved = Instant::now();
                    self.state = State::Open;
                }
                Wrote::Nothing => {
                    if self.state != State::Stalled {
                        self.state = State::Stuck;
                    }
                    return;
                }
                Wrote::Gone => return self.hang_up(),
                Wrote::Failed(errno) => {
                    if self.state != State::Failing {
                        self.news = Some(News::Failed(errno));
                    }
                    self.state = State::Failing;
                    return;
                }
            }
        }
    }

    fn hang_up(&mut self) {
        if self.state != State::Gone {
            self.state = State::Gone;
            self.news = Some(News::Gone);
            self.backlog.drop_all();
        }
    }

    fn say_dropped(&mut self) -> Option<Notice> {
        let lines = self.backlog.unsaid();
        self.backlog.said();
        (lines > 0).then_some(Notice::Dropped { lines, reason: self.reason() })
    }
}
