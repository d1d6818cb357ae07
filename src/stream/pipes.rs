//! The pipes that are read.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::unistd::read;

use super::Channel;
use super::allowance::{Allowance, USUAL};
use super::history::History;
use super::line::Splitter;
use super::outlet::Head;
use super::ring::Begins;
use super::watch::wait;
use crate::api::{InstanceId, Pid, SlotName};

/// So much of what ended processes have left is in memory while our reader has stopped, in bytes; then it stays in its pipes.
///
/// Some thousands of last words of the usual kind: what a crash loop says in hours when its backoff has grown.
const LEFT: usize = 4 * 1024 * 1024;

/// What such a pipe costs beside its bytes, as it counts in [`LEFT`]: those that hold little are bounded too.
const EACH: usize = 1024;

/// One pipe of an instance.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) end: End,
    pub(super) instance: InstanceId,
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    pub(super) slot: SlotName,
    /// The number of its slot, in the order in which slots were seen.
    pub(super) place: usize,
    pub(super) head: Head,
    pub(super) lines: Splitter,
    /// What it can hold, in bytes.
    pub(super) size: usize,
    /// Whether its instance is asked to end: it is read on though our reader has stopped.
    pub(super) drains: bool,
}

/// Where the bytes of a pipe wait for us.
#[derive(Debug)]
pub(super) enum End {
    /// In the kernel; there may be more to come.
    Open(OwnedFd),
    /// With us, all that was left when its last writer was gone; the pipe is closed.
    Left(Left),
}

/// What was left in a pipe.
#[derive(Debug)]
pub(super) struct Left {
    bytes: Vec<u8>,
    /// How many of them were read.
    begin: usize,
    /// What it counts in [`LEFT`], until it is closed.
    cost: usize,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// None for now.
    Nothing,
    /// None ever again.
    End,
}

impl Pipe {
    /// Reads what is there, as far as it fits.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Read {
        match &mut self.end {
            End::Open(fd) => read_open(fd, into),
            End::Left(left) => left.read(into),
        }
    }

    /// Its descriptor, as long as it has one.
    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        match &self.end {
            End::Open(fd) => Some(fd),
            End::Left(_) => None,
        }
    }

    /// Whether what is read next begins with a line.
    pub(super) fn begins(&self) -> Begins {
        if self.lines.begun().is_empty() { Begins::Line } else { Begins::Middle }
    }

    /// Keeps in the history what was read last and has been split into lines.
    pub(super) fn remember(&mut self, history: &History, begins: Begins, bytes: &[u8]) {
        let lines = self.lines.take_ended();
        history.keep(self.place, (self.instance, self.pid, self.channel), begins, bytes, lines);
    }

    /// How many bytes wait for us.
    pub(super) fn held(&self) -> usize {
        match &self.end {
            End::Open(fd) => held_open(fd),
            End::Left(left) => left.bytes.len() - left.begin,
        }
    }

    /// Whether all that was left is read: the next read finds the end.
    pub(super) fn is_over(&self) -> bool {
        match &self.end {
            End::Open(_) => false,
            End::Left(left) => left.begin == left.bytes.len(),
        }
    }
}

impl Left {
    fn read(&mut self, into: &mut [u8]) -> Read {
        let rest = &self.bytes[self.begin..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.begin += count;
        if count == 0 { Read::End } else { Read::Bytes(count) }
    }
}

fn read_open(fd: &OwnedFd, into: &mut [u8]) -> Read {
    loop {
        return match read(fd, into) {
            Ok(0) => Read::End,
            Ok(count) => Read::Bytes(count),
            Err(Errno::EAGAIN) => Read::Nothing,
            Err(Errno::EINTR) => continue,
            // Nothing else is known of pipes (read(2)); what cannot be read is at its end.
            Err(_) => Read::End,
        };
    }
}

/// How many bytes the kernel holds (FIONREAD, pipe(7)).
fn held_open(fd: &OwnedFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int to the address that it is given, which is that of a live int.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    debug_assert!(done == 0, "FIONREAD works on every pipe: {}", io::Error::last_os_error());
    usize::try_from(count).unwrap_or(0)
}

/// All of them, by a number that an event of epoll(7) can carry. A number is used again when its pipe is closed.
#[derive(Debug)]
pub(super) struct Pipes {
    all: Vec<Option<Pipe>>,
    free: Vec<usize>,
    /// How many of them belong to instances that are asked to end.
    draining: usize,
    allowance: Allowance,
    /// Those whose bytes are with us, in the order in which they were closed, and what they cost together.
    left: VecDeque<usize>,
    cost: usize,
    /// Whether one was added since it was last asked which have ended.
    joined: bool,
}

impl Pipes {
    /// None yet.
    pub(super) fn new() -> Pipes {
        let (all, free, left) = (Vec::new(), Vec::new(), VecDeque::new());
        let allowance = Allowance::of_our_user();
        Pipes { all, free, draining: 0, allowance, left, cost: 0, joined: false }
    }

    /// Adds one and gives it a number.
    pub(super) fn add(&mut self, mut pipe: Pipe) -> usize {
        pipe.size = pipe.fd().map_or(0, |fd| self.allowance.count(fd));
        self.joined = true;
        self.draining += usize::from(pipe.drains);
        let key = self.free.pop().unwrap_or(self.all.len());
        if key == self.all.len() {
            self.all.push(None);
        }
        self.all[key] = Some(pipe);
        if self.allowance.is_exceeded() {
            for pipe in self.all.iter_mut().flatten() {
                pipe.size = pipe.fd().map_or(0, |fd| self.allowance.narrow(fd, pipe.size));
            }
        }
        key
    }

    /// The pipe of this number, unless it was closed.
    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Pipe> {
        self.all.get_mut(key)?.as_mut()
    }

    /// From now on the pipes of these instances are read on though our reader has stopped.
    pub(super) fn drain(&mut self, ending: &HashSet<InstanceId>) {
        for pipe in self.all.iter_mut().flatten().filter(|pipe| !pipe.drains) {
            pipe.drains = ending.contains(&pipe.instance);
            self.draining += usize::from(pipe.drains);
        }
    }

    /// Those that are, as long as they have a descriptor.
    pub(super) fn draining(&self) -> Vec<(usize, &OwnedFd)> {
        if self.draining == 0 {
            return Vec::new();
        }
        let draining = self.iter().filter(|(_, pipe)| pipe.drains);
        draining.filter_map(|(key, pipe)| Some((key, pipe.fd()?))).collect()
    }

    /// A read has found so many bytes in one: where it was nearly full, its process may have waited for us, and it is made larger.
    pub(super) fn found(&mut self, key: usize, bytes: usize) {
        let count = self.all.len() - self.free.len();
        let Some(pipe) = self.all.get_mut(key).and_then(Option::as_mut) else { return };
        if pipe.size <= USUAL
            && bytes >= pipe.size / 4 * 3
            && let End::Open(fd) = &pipe.end
        {
            pipe.size = self.allowance.widen(fd, pipe.size, count);
        }
    }

    /// Those with a descriptor whose writers are all gone, where one was added since this was last asked: whoever begins to live
    /// may do so in place of one that has ended, so that there are never more of them than begin to live between two looks.
    pub(super) fn ended(&mut self) -> Vec<usize> {
        if !mem::take(&mut self.joined) {
            return Vec::new();
        }
        let open: Vec<_> = self.iter().filter_map(|(key, pipe)| Some((key, pipe.fd()?))).collect();
        let mut looked: Vec<_> =
            open.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::empty())).collect();
        wait(&mut looked, Some(Instant::now()));
        let hung_up = |fd: &PollFd| fd.revents().is_some_and(|found| found.contains(PollFlags::POLLHUP));
        open.iter().zip(&looked).filter(|(_, fd)| hung_up(fd)).map(|((key, _), _)| *key).collect()
    }

    /// Takes into memory what is left in a pipe whose writers are all gone; its descriptor, which is to be closed. `None` where that
    /// would be more than may be in memory.
    pub(super) fn take_left(&mut self, key: usize) -> Option<OwnedFd> {
        let pipe = self.all.get_mut(key)?.as_mut()?;
        // What it had begun to say would be in the kernel too, had it been read later.
        let cost = EACH + pipe.lines.begun().len() + pipe.held();
        if self.cost + cost > LEFT {
            return None;
        }
        let (mut bytes, mut count) = (vec![0; pipe.held()], 0);
        while let Read::Bytes(more) = pipe.read(&mut bytes[count..]) {
            count += more;
        }
        bytes.truncate(count);
        let End::Open(fd) = mem::replace(&mut pipe.end, End::Left(Left { bytes, begin: 0, cost })) else {
            return None;
        };
        self.allowance.give_back(mem::take(&mut pipe.size));
        self.cost += cost;
        self.left.push_back(key);
        Some(fd)
    }

    /// The oldest of those whose bytes are with us.
    pub(super) fn first_left(&self) -> Option<usize> {
        self.left.front().copied()
    }

    /// Closes one, which takes it out of every epoll(7) too: nobody else has its descriptor.
    pub(super) fn close(&mut self, key: usize) {
        if let Some(pipe) = self.all.get_mut(key).and_then(Option::take) {
            self.allowance.give_back(pipe.size);
            self.draining -= usize::from(pipe.drains);
            self.free.push(key);
            if let End::Left(left) = pipe.end {
                self.cost -= left.cost;
                self.left.retain(|left| *left != key);
            }
        }
    }

    /// Those that are open, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Pipe)> {
        self.all.iter().enumerate().filter_map(|(key, pipe)| Some((key, pipe.as_ref()?)))
    }

    /// Those that are open, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pipe> {
        self.all.iter_mut().flatten()
    }
}
