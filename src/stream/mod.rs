//! The stream: bytes of the children to whole tagged lines on our stdout, on a thread of its own.
//!
//! It knows nothing of restarts, policies or requests. It can be slow, blocked or gone without the supervisor
//! noticing, except by what it says through the callback given to [`open`].

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::api::{InstanceId, Notice, Pid, SlotName};

/// How the stream looks and behaves; each mirrors a flag of `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--format`.
    pub format: Format,
    /// `--timestamps`.
    pub timestamps: Choice,
    /// `--color`, already weighed against `NO_COLOR` and `CLICOLOR_FORCE` where it is [`Choice::Auto`].
    pub color: Choice,
    /// `--when-slow`.
    pub when_slow: WhenSlow,
    /// `--when-gone`.
    pub when_gone: WhenGone,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `12:34:56 web.1    | text`
    Text,
    /// One object a line.
    Json,
    /// The line itself; notices go to stderr.
    Raw,
}

/// Yes, no, or as the terminal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Yes where stdout is a terminal.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What happens while our reader does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSlow {
    /// The children wait; nothing is lost.
    Block,
    /// The oldest lines are dropped and counted.
    Drop,
}

/// What happens when our reader goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenGone {
    /// The formation drains and ends.
    Drain,
    /// Lines are dropped and counted.
    Drop,
}

/// One pipe of an instance, its reading end.
#[derive(Debug)]
pub struct Source {
    /// Whose life.
    pub instance: InstanceId,
    /// Whose place: the tag.
    pub slot: SlotName,
    /// The leader.
    pub pid: Pid,
    /// Which of its outputs.
    pub channel: Channel,
    /// The reading end, with `O_NONBLOCK` (the reading end has a file description of its own).
    pub pipe: OwnedFd,
}

/// Which output of a child a pipe carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, or both merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the stream tells the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Our reader is gone and `--when-gone drain` is in force. Said once.
    ReaderGone,
}

/// What became of everything that went in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines written.
    pub written: u64,
    /// Lines dropped, whatever the reason.
    pub dropped: u64,
}

/// The door of the stream. Nothing that goes through it waits for the reader of our stdout.
#[derive(Debug)]
pub struct Stream {}

/// Opens the stream on our stdout and starts its thread.
///
/// `widest` is the length of the longest tag that is known at the start; `report` is called on the stream's thread
/// and must not block.
///
/// # Errors
/// The system's, where the thread, its poll or its door cannot be made.
pub fn open(
    settings: Settings,
    widest: usize,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<Stream> {
    let _ = (settings, widest, report);
    Ok(Stream {})
}

impl Stream {
    /// From now on reads this pipe, until its end.
    pub fn attach(&self, source: Source) {
        let _ = source;
    }

    /// Says a notice after everything that went through the door before.
    pub fn notice(&self, notice: Notice) {
        let _ = notice;
    }

    /// Says a notice after the last words of an instance: every byte that its pipes held when this was called, the
    /// unterminated last line too; later notices follow it. What a descendant writes later is read on, tagged, and delays nothing.
    pub fn last_words(&self, instance: InstanceId, notice: Notice) {
        let _ = (instance, notice);
    }

    /// From now on pipes are read on whatever the reader of our stdout does: what does not fit is dropped and counted.
    pub fn drain(&self) {}

    /// Reads what the pipes still hold, writes everything out and ends the thread, within `limit` even where the reader
    /// has stopped.
    pub fn finish(self, limit: Duration) -> Totals {
        let _ = limit;
        Totals::default()
    }
}
