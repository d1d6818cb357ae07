//! The stream: bytes of the children to whole tagged lines on our stdout, on a thread of its own.
//!
//! It knows nothing of restarts, policies or requests. It can be slow, blocked or gone without the supervisor
//! noticing, except by what it says through the callback given to [`open`].
//!
//! ```text
//!   supervisor's thread |                       the stream's thread
//!                       |
//!    attach, notice,    |          pump: one round after another
//!    last_words,  ----> door ----.
//!    drain, run_out,    |        v
//!    finish             |
//!                       |  pipe --> inbox --> line ----> dress --> backlog --> sink --> our stdout
//!                       |  pipe     64 KiB    whole or   tag or    256 KiB     never
//!                       |  pipe               a piece    json      of lines    waits
//! ```
//!
//! No allocation, lock or system call is made for a line. Where the sink takes nothing and the backlog is full, no pipe is
//! read, so that the children wait, or the oldest lines of the backlog are dropped and counted; the door is served all the
//! same, and what is left in pipes without writers moves into memory, up to 4 MiB. While nothing happens the thread sleeps,
//! without any tick.
//!
//! What was said lately is kept in the [`History`], as it was read, for readers in other threads.

mod allowance;
mod backlog;
mod clock;
mod diagnostics;
mod door;
mod history;
mod json;
mod line;
mod logfile;
mod outlet;
mod pipes;
mod prefix;
mod pump;
mod reader;
mod replay;
mod ring;
mod sink;
mod tag;
mod watch;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::clock::Clock;
use self::door::{Door, Goal, Say};
use self::outlet::{Dress, Outlet, Overflow};
use self::pump::Pump;
use self::tag::{Paint, Style};
use crate::api::{InstanceId, Notice, Pid, SlotName};

pub use self::diagnostics::Diagnostics;
pub use self::history::{History, Said};
pub use self::reader::{Read, Reader, What};
pub use self::replay::Replay;

/// How the stream looks and behaves; each mirrors a flag of `start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--detach` and `--log-file`.
    pub output: Output,
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

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Our stdout.
    Stdout,
    /// A file, appended to: [`Stream::reopen`] finds it again when it was moved away.
    File(PathBuf),
    /// Nowhere but into the history; nothing counts as dropped for it.
    Nowhere,
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

impl Choice {
    /// What it means for this output.
    pub fn holds_for(self, out: &impl IsTerminal) -> bool {
        match self {
            Choice::Auto => out.is_terminal(),
            Choice::Always => true,
            Choice::Never => false,
        }
    }
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
    /// Everything is written, after [`Stream::run_out`]. Said last.
    Over,
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
pub struct Stream {
    door: Arc<Door>,
    thread: JoinHandle<()>,
    totals: Receiver<Totals>,
}

/// Opens the stream on its output, with our stderr for what has no place there, and starts its thread.
///
/// `widest` is the length of the longest tag that is known at the start; `history` is filled with all that is said;
/// `report` is called on the stream's thread and must not block. The thread blocks the signals that its caller blocks, which should be all.
///
/// # Errors
/// The system's, where the file cannot be opened or the thread, its poll or its door cannot be made.
pub fn open(
    settings: Settings,
    widest: usize,
    history: Arc<History>,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<Stream> {
    let out = match &settings.output {
        Output::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
        Output::File(path) => {
            let explain = |error: io::Error| {
                let why = format!("the log file `{}` cannot be opened: {error}", path.display());
                io::Error::new(error.kind(), why)
            };
            logfile::open(path).map_err(explain)?
        }
        Output::Nowhere => File::options().write(true).open("/dev/null")?.into(),
    };
    let aside = io::stderr().as_fd().try_clone_to_owned()?;
    open_on(out, aside, settings, widest, history, report)
}

/// As [`open`], on other descriptors.
///
/// # Errors
/// As [`open`].
pub fn open_on(
    out: OwnedFd,
    aside: OwnedFd,
    settings: Settings,
    widest: usize,
    history: Arc<History>,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<Stream> {
    let dress = match (&settings.output, settings.format) {
        (Output::Nowhere, Format::Text | Format::Json | Format::Raw) => Dress::Invisible,
        (Output::Stdout | Output::File(_), Format::Text) => Dress::Text(style(&settings, widest, &out)),
        (Output::Stdout | Output::File(_), Format::Json) => Dress::Json(Clock::utc()),
        (Output::Stdout | Output::File(_), Format::Raw) => Dress::Raw,
    };
    let aside_dress = match settings.format {
        Format::Text | Format::Raw => Dress::Text(style(&settings, widest, &aside)),
        Format::Json => Dress::Json(Clock::utc()),
    };
    let overflow = match settings.when_slow {
        WhenSlow::Block => Overflow::Wait,
        WhenSlow::Drop => Overflow::Drop,
    };
    let out = Outlet::new(out, dress, overflow)?;
    let aside = Outlet::new(aside, aside_dress, Overflow::Drop)?;
    let door = Arc::new(Door::new()?);
    let pump = Pump::new(settings, Arc::clone(&door), out, aside, history, report)?;
    let (over, totals) = sync_channel(1);
    let thread = thread::Builder::new().name("stream".to_owned()).spawn(move || {
        // Nobody listens any more where the finish has waited for too long.
        let _ = over.send(pump.run());
    })?;
    Ok(Stream { door, thread, totals })
}

/// What comes out of these reads of one pipe of `web.1`, with the line that was not ended; without time and colour. For
/// tests that try any bytes in any reads.
///
/// # Errors
/// The system's: no /dev/null.
#[doc(hidden)]
pub fn dressed(format: Format, reads: &[&[u8]]) -> io::Result<Vec<u8>> {
    let dress = match format {
        Format::Text => Dress::Text(Style::new(0, Paint::Plain, None)),
        Format::Json => Dress::Json(Clock::utc()),
        Format::Raw => Dress::Raw,
    };
    let nowhere = File::options().write(true).open("/dev/null")?;
    let mut out = Outlet::unread(nowhere.into(), dress)?;
    let slot = SlotName { process_type: "web".parse().map_err(io::Error::other)?, number: 1 };
    let pid = Pid::new(2).ok_or(io::ErrorKind::InvalidInput)?;
    let (mut head, mut lines) = (out.head(&slot, pid, Channel::Stdout, 0), line::Splitter::default());
    let mut bytes = Vec::new();
    for read in reads {
        let mut used = 0;
        while used < read.len() {
            used += out.chunk(&mut lines, &mut head, &read[used..]);
            out.take_waiting(&mut bytes);
        }
    }
    out.last_line(&mut lines, &mut head);
    out.take_waiting(&mut bytes);
    Ok(bytes)
}

fn style(settings: &Settings, widest: usize, out: &OwnedFd) -> Style {
    let paint = if settings.color.holds_for(out) { Paint::Coloured } else { Paint::Plain };
    Style::new(widest, paint, settings.timestamps.holds_for(out).then(Clock::local))
}

impl Stream {
    /// From now on reads this pipe, until its end.
    pub fn attach(&self, source: Source) {
        self.door.attach(source);
    }

    /// Says a notice after everything that went through the door before.
    pub fn notice(&self, notice: Notice) {
        self.door.say(Say::Notice(notice));
    }

    /// Says a notice after the last words of an instance: every byte that its pipes held when this was called, the
    /// unterminated last line too; later notices follow it. What a descendant writes later is read on, tagged, and delays nothing.
    pub fn last_words(&self, instance: InstanceId, notice: Notice) {
        self.door.say(Say::LastWords(instance, notice));
    }

    /// Opens the log file again under its name, so that lines go to a new one after the old was moved away; whole lines
    /// to each, as long as the disk takes them. Where it cannot be opened, that is said and the old one is kept.
    ///
    /// Of any other output there is nothing to open.
    pub fn reopen(&self) {
        self.door.reopen();
    }

    /// From now on pipes are read on whatever the reader of our stdout does: as long as it takes something, nothing is lost; when
    /// it has taken nothing for half a second, what does not fit is dropped and counted.
    pub fn drain(&self) {
        self.door.aim(Goal::Drain);
    }

    /// The same for the pipes of one instance, which is asked to end, so that it does not hang in a write(2) until it is killed:
    /// what does not fit is dropped and counted. The others wait for the reader as before.
    pub fn drain_instance(&self, instance: InstanceId) {
        self.door.drain(instance);
    }

    /// Reads what the pipes still hold and writes everything out, however long our reader takes; [`Report::Over`] tells when
    /// that is done. To be followed by [`Stream::finish`], which also ends the waiting.
    pub fn run_out(&self) {
        self.door.aim(Goal::RunOut);
    }

    /// Reads what the pipes still hold, writes everything out and ends the thread, within `limit` even where the reader
    /// has stopped. What could not be written is counted and said on stderr.
    ///
    /// `None` where the thread is still not back a second later: it is held by the system in a write to a file (a dead
    /// network disk).
    // The numbers are said where they matter; not everybody counts.
    #[allow(clippy::must_use_candidate)]
    pub fn finish(self, limit: Duration) -> Option<Totals> {
        // The rest of the time is for the thread to say what was lost.
        let spare = (limit / 10).min(Duration::from_millis(50));
        self.door.aim(Goal::Finish(Instant::now() + limit.saturating_sub(spare)));
        let totals = self.totals.recv_timeout(limit + Duration::from_secs(1)).ok()?;
        // It has nothing left to do; had it panicked, there would be no totals.
        let _ = self.thread.join();
        Some(totals)
    }
}
