//! The door: what was asked of the stream and has not been done yet.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Source;
use crate::api::{InstanceId, Notice};

/// So many notices wait while our reader has stopped; then the oldest is dropped and counted.
///
/// More than a formation of a thousand slots says in a start or a stop; a few hundred bytes each.
const NOTICES: usize = 8192;

/// What is to be said, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// This.
    Notice(Notice),
    /// This, after the last words of an instance.
    LastWords(InstanceId, Notice),
}

/// What the stream works towards. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Every line written.
    Run,
    /// No child waits for a reader that has stopped.
    Drain,
    /// The end, as soon as every line is written.
    RunOut,
    /// The end, at this time.
    Finish(Instant),
}

/// The door between the supervisor's thread and the stream's. Its lock is only ever held for a moment.
#[derive(Debug)]
pub(super) struct Door {
    bell: EventFd,
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    sources: Vec<Source>,
    ending: Vec<InstanceId>,
    says: VecDeque<Say>,
    goal: Goal,
    output: Renewal,
    refused: u64,
}

/// What is to become of the log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It is written on.
    #[default]
    Keep,
    /// It is opened again under its name.
    Reopen,
}

/// What was taken from the door at once.
#[derive(Debug)]
pub(super) struct Taken {
    /// Pipes to read from now on.
    pub(super) sources: Vec<Source>,
    /// Instances whose pipes are to be read on, those in `sources` too.
    pub(super) ending: Vec<InstanceId>,
    /// The next thing to say; every source that came before it is in `sources` or was.
    pub(super) say: Option<Say>,
    /// The goal.
    pub(super) goal: Goal,
    /// What is to become of the log file, before anything else is said.
    pub(super) output: Renewal,
    /// How many notices were dropped since the last time.
    pub(super) refused: u64,
}

/// Whether the next thing to say is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Yes.
    Say,
    /// No: there is no room to say it.
    Rest,
}

impl Door {
    /// A door that nothing waits at.
    ///
    /// # Errors
    /// eventfd(2)'s.
    pub(super) fn new() -> io::Result<Door> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let (sources, ending, says) = (Vec::new(), Vec::new(), VecDeque::new());
        let (goal, output) = (Goal::Run, Renewal::Keep);
        Ok(Door { bell, asked: Mutex::new(Asked { sources, ending, says, goal, output, refused: 0 }) })
    }

    /// Has a pipe read.
    pub(super) fn attach(&self, source: Source) {
        self.lock().sources.push(source);
        self.ring();
    }

    /// Has the pipes of an instance read on, whatever our reader does.
    pub(super) fn drain(&self, instance: InstanceId) {
        self.lock().ending.push(instance);
        self.ring();
    }

    /// Has something said.
    pub(super) fn say(&self, say: Say) {
        let mut asked = self.lock();
        if asked.says.len() == NOTICES {
            asked.says.pop_front();
            asked.refused += 1;
        }
        asked.says.push_back(say);
        drop(asked);
        self.ring();
    }

    /// Sets the goal.
    pub(super) fn aim(&self, goal: Goal) {
        self.lock().goal = goal;
        self.ring();
    }

    /// Has the log file opened again.
    pub(super) fn reopen(&self) {
        self.lock().output = Renewal::Reopen;
        self.ring();
    }

    /// Whether somebody is at the door is what this descriptor is readable for.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Silences the bell.
    pub(super) fn hear(&self) {
        // It fails only with EAGAIN, where it was silent.
        let _ = self.bell.read();
    }

    /// Takes what is there.
    pub(super) fn take(&self, want: Want) -> Taken {
        let mut asked = self.lock();
        let say = match want {
            Want::Say => asked.says.pop_front(),
            Want::Rest => None,
        };
        let (sources, ending) = (mem::take(&mut asked.sources), mem::take(&mut asked.ending));
        let refused = mem::take(&mut asked.refused);
        Taken { sources, ending, say, goal: asked.goal, output: mem::take(&mut asked.output), refused }
    }

    fn ring(&self) {
        // It fails only with EAGAIN, where 2^64 - 2 rings were not heard.
        let _ = self.bell.write(1);
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // Nothing that holds the lock can panic halfway.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_keep_their_order_and_the_oldest_are_dropped_and_counted() {
        let door = Door::new().unwrap();
        for code in 0..=255 {
            for _ in 0..33 {
                door.say(Say::Notice(Notice::Ended { code, because: None }));
            }
        }
        let taken = door.take(Want::Say);
        assert_eq!(taken.refused, 256 * 33 - NOTICES as u64);
        assert_eq!(taken.say, Some(Say::Notice(Notice::Ended { code: 7, because: None })));
        assert_eq!(door.take(Want::Rest).say, None);
        assert_eq!(door.take(Want::Rest).refused, 0);
    }
}
