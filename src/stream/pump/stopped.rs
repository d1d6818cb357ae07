//! What is done while our reader stands still: no pipe is read, but for those that would hold up more than their writers.

use std::mem;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::{Inbox, Pump, Room, unwatch};
use crate::stream::Report;
use crate::stream::door::Goal;
use crate::stream::outlet::Overflow;
use crate::stream::pipes::{Pipe, Read};
use crate::stream::ring::Begins;
use crate::stream::watch::wait;

/// So long a reader may take nothing, while as much waits as may, before a drain goes on without it. Long against the pauses of
/// a reader that works on a busy machine, short against any drain.
const PATIENCE: Duration = Duration::from_millis(500);

/// So much is read at once from a pipe whose lines are dropped.
const PAST: usize = 16 * 1024;

impl<R: Fn(Report)> Pump<R> {
    /// Waits until our reader goes on, somebody is at the door, or patience ends: then what instances write that are asked to
    /// end is read and dropped.
    pub(super) fn wait_for_reader(&mut self) {
        self.take_left();
        let by = self.out.moved() + PATIENCE;
        let (patience, aside) = match self.out.overflow() {
            Overflow::Drop => (None, Vec::new()),
            Overflow::WaitAWhile => (Some(by), Vec::new()),
            Overflow::Wait => {
                let drain = self.pipes.draining();
                if drain.is_empty() || by <= Instant::now() { (None, drain) } else { (Some(by), Vec::new()) }
            }
        };
        let until = match self.goal {
            Goal::Run | Goal::RunOut | Goal::Drain => patience,
            Goal::Finish(by) => patience.map_or(Some(by), |patience| Some(patience.min(by))),
        };
        let mut waited = vec![
            PollFd::new(self.door.bell(), PollFlags::POLLIN),
            PollFd::new(self.out.as_fd(), PollFlags::POLLOUT),
        ];
        waited.extend(aside.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        wait(&mut waited, until);
        let mut found = waited.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let (bell, out) =
            (found.next().unwrap_or(PollFlags::empty()), found.next().unwrap_or(PollFlags::empty()));
        let aside = aside.iter().zip(found).filter(|(_, found)| !found.is_empty());
        let aside: Vec<_> = aside.map(|((key, _), _)| *key).collect();
        if !bell.is_empty() {
            self.hear_bell();
        }
        if out.intersects(PollFlags::POLLERR | PollFlags::POLLHUP) {
            self.out.hang_up();
        } else if !out.is_empty() {
            self.out.flush();
        } else if self.out.overflow() == Overflow::WaitAWhile
            && until.is_some_and(|until| until <= Instant::now())
        {
            self.out.stall();
        } else {
            for key in aside {
                self.read_and_drop(key);
            }
        }
    }

    /// Takes what ended processes have left in their pipes into memory, as much as may be there, so that a crash loop does not use up
    /// our descriptors: whoever is started next would wait for our reader too. It is read like a pipe.
    fn take_left(&mut self) {
        for key in self.pipes.ended() {
            let unread = self.inbox.from == key && self.inbox.count > 0;
            let empty = |pipe: &mut Pipe| pipe.held() == 0 && pipe.lines.begun().is_empty();
            if !unread && self.pipes.get_mut(key).is_some_and(empty) {
                self.close_owed(key);
            } else if let Some(fd) = self.pipes.take_left(key) {
                unwatch(&self.epoll, &fd);
                self.unwatched.retain(|unwatched| *unwatched != key);
            }
        }
    }

    /// Reads what was taken so, the oldest first, now that there is room.
    pub(super) fn read_left(&mut self) -> Room {
        while let Some(key) = self.pipes.first_left() {
            match self.read(key) {
                Read::Bytes(_) | Read::Nothing => {}
                Read::End => self.close(key),
            }
            if self.digest() == Room::Full {
                return Room::Full;
            }
        }
        Room::Free
    }

    /// Closes a pipe that may have been waited for before something is said.
    fn close_owed(&mut self, key: usize) {
        if let Some(farewell) = &mut self.farewell {
            farewell.owed.retain(|(owed, _)| *owed != key);
        }
        self.close(key);
    }

    /// Reads once from a pipe, past the inbox and the output; the history has it all the same.
    fn read_and_drop(&mut self, key: usize) {
        let Some(pipe) = self.pipes.get_mut(key) else { return };
        let Inbox { bytes, count, rest, from, begins } = &mut self.inbox;
        if *from == key && *count > 0 {
            self.out.drop_chunk(&mut pipe.lines, &bytes[rest.clone()]);
            rest.start = rest.end;
            pipe.remember(&self.history, *begins, &bytes[..mem::take(count)]);
        }
        let mut bytes = [0; PAST];
        let begins = pipe.begins();
        match pipe.read(&mut bytes) {
            Read::Bytes(count) => {
                self.out.drop_chunk(&mut pipe.lines, &bytes[..count]);
                pipe.remember(&self.history, begins, &bytes[..count]);
            }
            Read::Nothing => {}
            Read::End => {
                if begins == Begins::Middle {
                    self.out.drop_chunk(&mut pipe.lines, b"\n");
                    pipe.remember(&self.history, begins, b"\n");
                }
                self.close_owed(key);
            }
        }
    }
}
