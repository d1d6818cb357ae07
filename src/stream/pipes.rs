//! The pipes that are read.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::read;

use super::Channel;
use super::allowance::{Allowance, USUAL};
use super::history::History;
use super::line::Splitter;
use super::outlet::Head;
use super::ring::Begins;
use crate::api::{InstanceId, Pid, SlotName};

/// One pipe of an instance.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) fd: OwnedFd,
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
    pub(super) fn read(&self, into: &mut [u8]) -> Read {
        loop {
            return match read(&self.fd, into) {
                Ok(0) => Read::End,
                Ok(count) => Read::Bytes(count),
                Err(Errno::EAGAIN) => Read::Nothing,
                Err(Errno::EINTR) => continue,
                // Nothing else is known of pipes (read(2)); what cannot be read is at its end.
                Err(_) => Read::End,
            };
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

    /// How many bytes the kernel holds (FIONREAD, pipe(7)).
    pub(super) fn held(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int to the address that it is given, which is that of a live int.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        debug_assert!(done == 0, "FIONREAD works on every pipe: {}", io::Error::last_os_error());
        usize::try_from(count).unwrap_or(0)
    }
}

/// All of them, by a number that an event of epoll(7) can carry. A number is used again when its pipe is closed.
#[derive(Debug)]
pub(super) struct Pipes {
    all: Vec<Option<Pipe>>,
    free: Vec<usize>,
    /// How many of them belong to instances that are asked to end.
    draining: usize,
    allowance: Allowance,
}

impl Pipes {
    /// None yet.
    pub(super) fn new() -> Pipes {
        Pipes { all: Vec::new(), free: Vec::new(), draining: 0, allowance: Allowance::of_our_user() }
    }

    /// Adds one and gives it a number.
    pub(super) fn add(&mut self, mut pipe: Pipe) -> usize {
        pipe.size = self.allowance.count(&pipe.fd);
        self.draining += usize::from(pipe.drains);
        let key = self.free.pop().unwrap_or(self.all.len());
        if key == self.all.len() {
            self.all.push(None);
        }
        self.all[key] = Some(pipe);
        if self.allowance.is_exceeded() {
            for pipe in self.all.iter_mut().flatten() {
                pipe.size = self.allowance.narrow(&pipe.fd, pipe.size);
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

    /// Those that are.
    pub(super) fn draining(&self) -> Vec<(usize, &Pipe)> {
        if self.draining == 0 { Vec::new() } else { self.iter().filter(|(_, pipe)| pipe.drains).collect() }
    }

    /// A read has found so many bytes in one: where it was nearly full, its process may have waited for us, and it is made larger.
    pub(super) fn found(&mut self, key: usize, bytes: usize) {
        let count = self.all.len() - self.free.len();
        let Some(pipe) = self.all.get_mut(key).and_then(Option::as_mut) else { return };
        if pipe.size <= USUAL && bytes >= pipe.size / 4 * 3 {
            pipe.size = self.allowance.widen(&pipe.fd, pipe.size, count);
        }
    }

    /// Closes one, which takes it out of every epoll(7) too: nobody else has its descriptor.
    pub(super) fn close(&mut self, key: usize) {
        if let Some(pipe) = self.all.get_mut(key).and_then(Option::take) {
            self.allowance.give_back(pipe.size);
            self.draining -= usize::from(pipe.drains);
            self.free.push(key);
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
