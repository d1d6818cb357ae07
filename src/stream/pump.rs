//! The loop of the stream's thread.
//!
//! One round: say what is to be said, wait, read each pipe that has something once. What was read is written when nothing more
//! is ready or when as much waits as may. One read per pipe and round is what keeps a flood from starving a whisper.

mod stopped;

use std::collections::HashSet;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::door::{Door, Goal, Renewal, Say, Want};
use super::history::History;
use super::line::Splitter;
use super::outlet::{News, Outlet, Overflow};
use super::pipes::{End, Pipe, Pipes, Read};
use super::ring::Begins;
use super::watch::{Watch, wait};
use super::{Channel, Output, Report, Settings, Source, Totals, WhenGone, WhenSlow, logfile};
use crate::api::{InstanceId, NotDeployed, Notice};

/// So much is read at once. Twice what a pipe holds unless it was made larger (pipe(7)), so that what the history copies, a ring at
/// most for each read, is a small part; it fits into the second-level cache together with the backlog.
const READ: usize = 128 * 1024;

/// So long after a write that failed the next one is tried, where no output comes before, and so long after a pipe could not be
/// watched. In milliseconds.
const RETRY: u16 = 1_000;

// The numbers of what is no pipe in epoll(7); the pipes' begin at 0.
const DOOR: u64 = u64::MAX;
const OUT: u64 = u64::MAX - 1;
const ASIDE: u64 = u64::MAX - 2;

/// Everything that the thread owns.
#[derive(Debug)]
pub(super) struct Pump<R> {
    door: Arc<Door>,
    when_slow: WhenSlow,
    when_gone: WhenGone,
    report: R,
    goal: Goal,
    /// Whether the bell rang since the door was last found empty.
    rung: bool,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    /// Those of them that were not looked at yet.
    told: Range<usize>,
    pipes: Pipes,
    /// Pipes that are not in `epoll` yet.
    unwatched: Vec<usize>,
    /// Instances that were asked to end and may have more pipes to come.
    ending: HashSet<InstanceId>,
    inbox: Inbox,
    farewell: Option<Farewell>,
    history: Arc<History>,
    /// Dropped lines that the history knows of.
    dropped: u64,
    output: Output,
    out: Outlet,
    out_watch: Watch,
    /// Our stderr: for notices that have no place in `out`.
    aside: Outlet,
    aside_watch: Watch,
}

/// What was read last and is not yet in the output.
#[derive(Debug)]
struct Inbox {
    bytes: Box<[u8]>,
    /// How many there are, until they are in the history.
    count: usize,
    rest: Range<usize>,
    from: usize,
    begins: Begins,
}

/// What has to be read before something is said.
#[derive(Debug)]
struct Farewell {
    /// Pipes by number, each with how many bytes it held that were not read since; the last is next.
    owed: Vec<(usize, usize)>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Say(Notice),
    /// Nothing is read ever again.
    End,
}

/// How far a round came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// There is room for more.
    Free,
    /// Nothing more can be taken until the reader goes on.
    Full,
    /// All is said and read.
    Over,
}

impl<R: Fn(Report)> Pump<R> {
    /// A pump that reads nothing yet.
    ///
    /// # Errors
    /// epoll(7)'s.
    pub(super) fn new(
        settings: Settings,
        door: Arc<Door>,
        out: Outlet,
        aside: Outlet,
        history: Arc<History>,
        report: R,
    ) -> io::Result<Pump<R>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(door.bell(), EpollEvent::new(EpollFlags::EPOLLIN, DOOR))?;
        Ok(Pump {
            door,
            when_slow: settings.when_slow,
            when_gone: settings.when_gone,
            report,
            goal: Goal::Run,
            rung: false,
            output: settings.output,
            out_watch: Watch::new(&out, OUT, &epoll)?,
            out,
            aside_watch: Watch::new(&aside, ASIDE, &epoll)?,
            aside,
            epoll,
            events: vec![EpollEvent::empty(); 64],
            told: 0..0,
            pipes: Pipes::new(),
            unwatched: Vec::new(),
            ending: HashSet::new(),
            inbox: Inbox { bytes: vec![0; READ].into(), count: 0, rest: 0..0, from: 0, begins: Begins::Line },
            farewell: None,
            history,
            dropped: 0,
        })
    }

    /// Pumps until it is told to finish.
    pub(super) fn run(mut self) -> Totals {
        loop {
            match self.catch_up() {
                Room::Free => self.read_more(),
                Room::Full => self.wait_for_reader(),
                Room::Over => return self.finish(),
            }
        }
    }

    /// Brings to the output what was read and asked before, in this order.
    fn catch_up(&mut self) -> Room {
        self.hear_news();
        if self.digest() == Room::Full {
            self.admit(Want::Rest);
            return Room::Full;
        }
        loop {
            if self.out.is_full() {
                self.admit(Want::Rest);
                return Room::Full;
            }
            if let Some(farewell) = self.farewell.take() {
                match self.read_owed(farewell) {
                    Room::Free => continue,
                    full_or_over @ (Room::Full | Room::Over) => return full_or_over,
                }
            }
            if !self.rung {
                return Room::Free;
            }
            match self.admit(Want::Say) {
                Some(Say::Notice(notice)) => self.say(notice),
                Some(Say::LastWords(instance, notice)) => {
                    self.ending.remove(&instance);
                    self.farewell = Some(self.farewell(Then::Say(notice), Some(instance)));
                }
                None => {
                    self.rung = false;
                    match self.goal {
                        Goal::Run | Goal::Drain => {}
                        Goal::RunOut | Goal::Finish(_) => {
                            self.farewell = Some(self.farewell(Then::End, None));
                        }
                    }
                }
            }
        }
    }

    /// Takes from the door what can be taken.
    fn admit(&mut self, want: Want) -> Option<Say> {
        if !self.rung {
            return None;
        }
        let taken = self.door.take(want);
        for source in taken.sources {
            self.attach(source);
        }
        if !taken.ending.is_empty() {
            self.ending.extend(taken.ending);
            self.pipes.drain(&self.ending);
        }
        self.out.refuse(taken.refused);
        match taken.output {
            Renewal::Keep => {}
            Renewal::Reopen => self.reopen(),
        }
        if taken.goal != self.goal {
            self.goal = taken.goal;
            let overflow = match (self.goal, self.when_slow) {
                (Goal::Run | Goal::RunOut, WhenSlow::Block) => Overflow::Wait,
                (Goal::Run | Goal::RunOut | Goal::Drain, WhenSlow::Drop) => Overflow::Drop,
                // Nothing more comes after a finish, so there is no reason to hurry.
                (Goal::Drain, WhenSlow::Block) | (Goal::Finish(_), WhenSlow::Block | WhenSlow::Drop) => {
                    Overflow::WaitAWhile
                }
            };
            self.out.set_overflow(overflow);
        }
        taken.say
    }

    fn reopen(&mut self) {
        let Output::File(path) = &self.output else { return };
        let reopened = logfile::open(path).and_then(|fd| {
            self.out_watch.end(&self.out, &self.epoll);
            // What was told of the old one is not true of the new.
            self.told = 0..0;
            let reopened = self.out.reopen(fd);
            self.out_watch = Watch::new(&self.out, OUT, &self.epoll)?;
            Ok(reopened?)
        });
        if let Err(error) = reopened {
            let file = path.display().to_string();
            self.say(Notice::LogFileKept { file, error: error.to_string() });
        }
    }

    fn attach(&mut self, source: Source) {
        let Source { instance, slot, pid, channel, pipe: fd } = source;
        let end = End::Open(fd);
        let place = self.history.place(&slot);
        if self.out.grows_for(&slot) {
            for pipe in self.pipes.iter_mut() {
                pipe.head = self.out.head(&pipe.slot, pipe.pid, pipe.channel, pipe.place);
            }
        }
        let head = self.out.head(&slot, pid, channel, place);
        let lines = Splitter::default();
        let drains = self.ending.contains(&instance);
        let pipe = Pipe { end, instance, pid, channel, slot, place, head, lines, size: 0, drains };
        let key = self.pipes.add(pipe);
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        if let Err(errno) = watch(&self.epoll, key, pipe) {
            // Out of kernel memory or over epoll's own limit.
            tracing::error!("the output of process {pid} is not read for now: {errno}");
            self.unwatched.push(key);
        }
    }

    /// Tries once more to watch those pipes that could not be watched: whoever writes to one waits as soon as it is full.
    fn watch_again(&mut self) {
        let (pipes, epoll) = (&mut self.pipes, &self.epoll);
        self.unwatched
            .retain(|key| pipes.get_mut(*key).is_some_and(|pipe| watch(epoll, *key, pipe).is_err()));
    }

    fn say(&mut self, notice: Notice) {
        let last_lines = match &notice {
            Notice::Failed { slot, .. }
            | Notice::TurnedBack { slot: Some(slot), .. }
            | Notice::NotDeployed { why: NotDeployed::Phase { slot }, .. } => self.history.last_lines(slot),
            // Every other notice stands alone.
            _ => Vec::new(),
        };
        if self.out.has_notices() && !self.out.is_gone() {
            self.out.notice(&notice, &last_lines);
        } else {
            self.aside.notice(&notice, &last_lines);
            self.aside.flush();
        }
        self.history.say(notice, last_lines);
    }

    fn hear_news(&mut self) {
        let (dropped, reason) = self.out.count_dropped();
        if dropped != self.dropped {
            self.history.drop_lines(reason, dropped - self.dropped);
            self.dropped = dropped;
        }
        match self.out.news() {
            Some(News::Gone) => match self.when_gone {
                WhenGone::Drain => (self.report)(Report::ReaderGone),
                WhenGone::Drop => self.say(Notice::ReaderGone),
            },
            Some(News::Failed(errno)) => {
                let notice = Notice::WriteFailed { error: errno.desc().to_owned() };
                self.aside.notice(&notice, &[]);
                self.aside.flush();
                self.history.say(notice, Vec::new());
            }
            None => {}
        }
        if let Some(notice) = self.out.dropped() {
            self.say(notice);
        }
    }

    /// What has to be read before `then`: of one instance, or of all.
    fn farewell(&self, then: Then, instance: Option<InstanceId>) -> Farewell {
        let concerned = |pipe: &Pipe| instance.is_none_or(|instance| pipe.instance == instance);
        let mut owed: Vec<_> = self.pipes.iter().filter(|(_, pipe)| concerned(pipe)).collect();
        // The last is next: stdout goes before stderr.
        owed.sort_by_key(|(_, pipe)| pipe.channel == Channel::Stdout);
        Farewell { owed: owed.into_iter().map(|(key, pipe)| (key, pipe.held())).collect(), then }
    }

    /// Reads what the pipes held when the farewell was begun, ends their last lines and does what comes then.
    fn read_owed(&mut self, mut farewell: Farewell) -> Room {
        while let Some((key, bytes)) = farewell.owed.last_mut() {
            let over = self.pipes.get_mut(*key).is_some_and(|pipe| pipe.is_over());
            let read = if *bytes == 0 && !over { Read::Nothing } else { self.read(*key) };
            match (read, &farewell.then) {
                (Read::Bytes(count), _) => *bytes = bytes.saturating_sub(count),
                (Read::Nothing, Then::Say(_)) => {
                    self.end_line(*key);
                    farewell.owed.pop();
                }
                (Read::End, _) | (Read::Nothing, Then::End) => {
                    self.close(*key);
                    farewell.owed.pop();
                }
            }
            if self.digest() == Room::Full {
                self.farewell = Some(farewell);
                return Room::Full;
            }
        }
        match farewell.then {
            Then::Say(notice) => {
                self.say(notice);
                Room::Free
            }
            Then::End => Room::Over,
        }
    }

    /// Reads once from a pipe into the inbox, which is empty.
    fn read(&mut self, key: usize) -> Read {
        let Some(pipe) = self.pipes.get_mut(key) else { return Read::Nothing };
        let read = pipe.read(&mut self.inbox.bytes);
        if let Read::Bytes(count) = read {
            (self.inbox.rest, self.inbox.count) = (0..count, count);
            (self.inbox.from, self.inbox.begins) = (key, pipe.begins());
            self.pipes.found(key, count);
        }
        read
    }

    /// Brings what the inbox holds to the output, as far as there is room, and to the history when all of it is there.
    fn digest(&mut self) -> Room {
        let Inbox { bytes, count, rest, from, begins } = &mut self.inbox;
        if let Some(pipe) = self.pipes.get_mut(*from)
            && *count > 0
        {
            rest.start += self.out.chunk(&mut pipe.lines, &mut pipe.head, &bytes[rest.clone()]);
            if rest.start == rest.end {
                pipe.remember(&self.history, *begins, &bytes[..mem::take(count)]);
            }
        }
        if self.out.is_full() { Room::Full } else { Room::Free }
    }

    fn end_line(&mut self, key: usize) {
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        if !pipe.lines.begun().is_empty() {
            let begins = pipe.begins();
            self.out.last_line(&mut pipe.lines, &mut pipe.head);
            pipe.remember(&self.history, begins, b"\n");
        }
    }

    fn close(&mut self, key: usize) {
        self.end_line(key);
        if let Some(fd) = self.pipes.get_mut(key).and_then(|pipe| pipe.fd()) {
            unwatch(&self.epoll, fd);
        }
        self.unwatched.retain(|unwatched| *unwatched != key);
        self.pipes.close(key);
    }

    /// Reads every pipe that has something once, after waiting for anything to do where nothing is left to do from before: a
    /// reader that makes us stop in the middle of a round has the same pipes wait each time otherwise.
    fn read_more(&mut self) {
        if self.told.is_empty() {
            if self.read_left() == Room::Full {
                return;
            }
            self.wait_for_events();
        }
        while let Some(at) = self.told.next() {
            let event = self.events[at];
            let lost = event.events().intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            match event.data() {
                // What was asked is said before what is written because of it.
                DOOR => return self.hear_bell(),
                OUT if lost => self.out.hang_up(),
                OUT => self.out.flush(),
                ASIDE if lost => self.aside.hang_up(),
                ASIDE => self.aside.flush(),
                key => {
                    // It was made from a usize.
                    let Ok(key) = usize::try_from(key) else { continue };
                    match self.read(key) {
                        Read::Bytes(_) | Read::Nothing => {}
                        Read::End => self.close(key),
                    }
                    if self.digest() == Room::Full {
                        return;
                    }
                }
            }
        }
    }

    fn wait_for_events(&mut self) {
        self.out_watch.set(&self.out, &self.epoll);
        self.aside_watch.set(&self.aside, &self.epoll);
        self.watch_again();
        let timeout = if self.out.is_fresh() {
            EpollTimeout::ZERO
        } else if self.out.is_failing() && !self.out.is_empty() || !self.unwatched.is_empty() {
            RETRY.into()
        } else {
            EpollTimeout::NONE
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => unreachable!("epoll_wait(2) fails in no other way on a live descriptor: {errno}"),
        };
        if count == 0 {
            self.out.flush();
        }
        self.told = 0..count;
    }

    fn hear_bell(&mut self) {
        self.door.hear();
        self.rung = true;
    }

    /// Writes what waits, as long as there is time, and says what could not be written.
    fn finish(mut self) -> Totals {
        let by = loop {
            self.out.flush();
            self.hear_news();
            let by = match self.goal {
                Goal::Finish(by) => Some(by),
                Goal::Run | Goal::RunOut | Goal::Drain => None,
            };
            let written = self.out.is_empty() || self.out.is_gone() || self.out.is_failing();
            if written || by.is_some_and(|by| by <= Instant::now()) {
                break by.unwrap_or_else(Instant::now);
            }
            let mut waited = [
                PollFd::new(self.door.bell(), PollFlags::POLLIN),
                PollFd::new(self.out.as_fd(), PollFlags::POLLOUT),
            ];
            wait(&mut waited, by);
            // Whoever had all the time in the world may be in a hurry now.
            if !waited[0].revents().unwrap_or(PollFlags::empty()).is_empty() {
                self.hear_bell();
                self.admit(Want::Rest);
            }
        };
        if let Some(notice) = self.out.abandon() {
            self.aside.notice(&notice, &[]);
        }
        self.aside.flush();
        while self.aside.is_stuck() && Instant::now() < by {
            wait(&mut [PollFd::new(self.aside.as_fd(), PollFlags::POLLOUT)], Some(by));
            self.aside.flush();
        }
        self.history.end();
        match self.goal {
            Goal::RunOut => (self.report)(Report::Over),
            Goal::Run | Goal::Drain | Goal::Finish(_) => {}
        }
        self.out.totals()
    }
}

/// Has us told when a pipe has something.
fn watch(epoll: &Epoll, key: usize, pipe: &Pipe) -> nix::Result<()> {
    pipe.fd().map_or(Ok(()), |fd| epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key as u64)))
}

/// The opposite, before a pipe is closed.
fn unwatch(epoll: &Epoll, fd: &OwnedFd) {
    // It fails only where it could not be added. Closing alone is not enough while a child that is being started has a copy of
    // the descriptor (epoll(7), questions and answers, 6).
    let _ = epoll.delete(fd);
}
