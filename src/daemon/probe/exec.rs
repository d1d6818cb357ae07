//! A command that asks how an instance is, in the instance's own environment and directory.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ffi::CString;
use std::future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::api::{ExitStatus, Pid, ProbeResult, brief};
use crate::app::Command;
use crate::supervisor::SpawnErrorKind;

use super::super::edition::Edition;
use super::super::harmless::harmless;
use super::super::program::Executable;
use super::super::reaper;
use super::super::room::{self, Purpose};
use super::super::spawn::{Setting, Spawner, Stage};
use super::{STOOD_STILL, refused, stood_still};

/// What a command writes, and when it began to.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Receiver,
    begin: Instant,
    end: Tail,
}

/// The last bytes of something.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

/// So many bytes of the output are kept: the last ones, where the reason is.
const KEPT: usize = 10 * 1024;

/// So much is read at once: what a pipe holds (pipe(7)).
const PIECE: usize = 64 * 1024;

/// So many bytes of a reason are told.
const TOLD: usize = 200;

/// Starts a command in the setting of an instance of this edition; `own` is what the instance has for itself.
///
/// # Errors
/// What is to be answered instead.
pub(super) fn start(
    command: &Command,
    (edition, own): (&Edition, &[CString]),
    spawner: &mut Spawner,
    null: &impl AsRawFd,
) -> Result<(Pid, Output), ProbeResult> {
    let no_pipe = |error: io::Error| refused("no pipe", &error);
    let pipe = || -> io::Result<(Receiver, OwnedFd)> {
        let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
        for end in [&reading, &writing] {
            room::left_beside(end, Purpose::Probe)?;
        }
        Ok((Receiver::from_owned_fd(reading)?, writing))
    };
    let (pipe, writing) = pipe().map_err(no_pipe)?;
    let Edition { process_type, prepared, root, .. } = edition;
    let executable = Executable::new(command, &process_type.environment);
    // The socket that instances share is not handed to it, so it is not told of one either.
    let handed = |variable: &CString| variable.as_bytes().starts_with(b"LISTEN_");
    let common: Cow<'_, [CString]> = match process_type.listen {
        Some(_) => prepared.environment.iter().filter(|variable| !handed(variable)).cloned().collect(),
        None => Cow::Borrowed(&prepared.environment),
    };
    let setting = Setting {
        environment: [&common, own],
        directory: &root.text,
        limits: &process_type.limits,
        stdin: null.as_raw_fd(),
        stdout: &writing,
        stderr: &writing,
        socket: None,
        cell: None,
    };
    let begin = Instant::now();
    let pid = spawner.spawn(&executable.program, &setting).map_err(|failure| {
        if let Some(corpse) = failure.corpse {
            reaper::reap(corpse);
        }
        let error = executable.explain(failure, &root.path);
        match (failure.stage, error.kind) {
            (Stage::Execute, SpawnErrorKind::NotFound | SpawnErrorKind::NotExecutable) => {
                ProbeResult::Failed { why: error.message }
            }
            // Of the instance that says nothing.
            (
                Stage::Clone
                | Stage::Cgroup
                | Stage::Group
                | Stage::DeathSignal
                | Stage::Descriptors
                | Stage::Socket
                | Stage::Limits
                | Stage::Directory
                | Stage::Signals
                | Stage::Execute,
                SpawnErrorKind::NotFound | SpawnErrorKind::NotExecutable | SpawnErrorKind::Shortage,
            ) => ProbeResult::NotRun { why: error.message },
        }
    })?;
    Ok((pid, Output { pipe, begin, end: Tail::default() }))
}

impl Output {
    /// Reads until the command has ended, and says what came of it; says `late` where it has not ended in time, and reads on:
    /// whoever is told that knows what to do. `None` where its end is not told.
    pub(super) async fn follow(
        mut self,
        mut end: oneshot::Receiver<ExitStatus>,
        timeout: Duration,
        late: impl AsyncFnOnce(ProbeResult),
    ) -> Option<ProbeResult> {
        let begin = self.begin;
        let deadline = (begin + timeout).into();
        let status = tokio::select! {
            biased;
            status = &mut end => status,
            never = self.read_on() => match never {},
            () = tokio::time::sleep_until(deadline) => {
                let why = format!("did not end within {}", brief(timeout));
                let stood = begin.elapsed() > timeout + STOOD_STILL;
                late(if stood { stood_still() } else { ProbeResult::Failed { why } }).await;
                tokio::select! {
                    biased;
                    status = &mut end => status,
                    never = self.read_on() => match never {},
                }
            }
        };
        let status = status.ok()?;
        self.read_rest();
        Some(match status {
            ExitStatus::Code(0) => ProbeResult::Passed,
            ExitStatus::Code(_) | ExitStatus::Signal { .. } | ExitStatus::OutOfMemory(_) => {
                let why = match self.end.last_line() {
                    Some(line) => format!("{status}: {line}"),
                    None => status.to_string(),
                };
                ProbeResult::Failed { why }
            }
        })
    }

    /// Reads for ever. Whatever is written, the loop has its turn after each piece.
    async fn read_on(&mut self) -> Infallible {
        let mut piece = vec![0; PIECE];
        loop {
            match self.pipe.try_read(&mut piece) {
                Ok(0) => return future::pending().await,
                Ok(count) => self.end.add(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.pipe.readable().await.is_err() {
                        return future::pending().await;
                    }
                }
                Err(_) => return future::pending().await,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads what the command has left in the pipe; others may hold it open, and go on writing.
    fn read_rest(&mut self) {
        let mut piece = vec![0; PIECE];
        if let Ok(count) = nix::unistd::read(self.pipe.as_fd(), &mut piece) {
            self.end.add(&piece[..count]);
        }
    }
}

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(KEPT)..];
        let superfluous = (self.0.len() + piece.len()).saturating_sub(KEPT);
        self.0.drain(..superfluous);
        self.0.extend_from_slice(piece);
    }

    /// The last line that says something, for one line of ours.
    fn last_line(&self) -> Option<String> {
        let blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
        let line = self.0.split(|byte| *byte == b'\n').rfind(|line| !blank(line))?;
        Some(harmless(line.trim_ascii(), TOLD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_kept_whatever_came_before() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.add(&[b'x'; 100]);
        }
        tail.add(b"\nno database\r\n \n\n");
        assert_eq!(tail.0.len(), KEPT);
        assert_eq!(tail.last_line().as_deref(), Some("no database"));
        tail.add(&b"y".repeat(2 * KEPT));
        assert_eq!(tail.0.len(), KEPT);
        assert_eq!(tail.last_line(), Some("y".repeat(TOLD)));
    }

    #[test]
    fn nothing_said_is_no_line() {
        assert_eq!(Tail::default().last_line(), None);
        assert_eq!(Tail(b" \n\r\n".to_vec()).last_line(), None);
    }
}
