//! `--detach`: the formation runs in the background, in a process of its own; whoever started it waits until everything
//! runs and is told how that went.
//!
//! ```text
//!   in the foreground                        in the background
//!
//!   fork(2) ---------------------------->    a session of its own, /dev/null for 0, 1 and 2
//!   waits; a signal that asks to end         the formation
//!   is passed on  - - - - - - - - - - ->
//!   says it, exits with its code  <------    one word: every slot runs, or some do not, or the end
//! ```
//!
//! The fork comes before any thread: what follows it has the whole process for itself. Until the word is said it is as if
//! the formation ran in the foreground: Ctrl-C ends it. Who is killed with SIGKILL has passed nothing on, and the formation
//! goes on.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use super::inherited::Inherited;
use crate::api::{Accepted, Answer, Effect, State};
use crate::stream::{Diagnostics, History};

/// The most that is said: a pipe takes it without a reader (pipe(7)).
const MOST: usize = 32 * 1024;

/// What waits for the formation to be ready. Clones speak for the same one; the first word is the only one.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    waiting: Arc<Mutex<Option<PipeWriter>>>,
    history: Arc<History>,
}

/// Who should run and does not, when every slot has settled.
pub(super) fn troubled(accepted: &Accepted) -> Vec<&Effect> {
    let runs = |effect: &&Effect| match effect.state {
        State::Running | State::Completed => true,
        State::Pending
        | State::Starting
        | State::Draining
        | State::Killing
        | State::Stuck
        | State::Backoff
        | State::Failed
        | State::Stopped => false,
    };
    accepted.processes.iter().filter(|effect| !runs(effect)).collect()
}

/// How it went: what is said begins with a letter for it and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything runs.
    Ready,
    /// The formation goes on, but not as it should.
    Troubled,
    /// The formation has ended with this code, or never began.
    Ended(u8),
}

/// Has `formation` run in the background, and returns the exit code: in the foreground 0 when every slot runs, 1 when
/// some do not and the formation goes on without them, the formation's own when it has ended; in the background the
/// formation's.
///
/// To be called while there is one thread, with the signals blocked as [`Inherited::take`] leaves them.
///
/// # Errors
/// The system's: no pipe, no process; in the background what `formation` says.
pub(super) fn detach(
    inherited: &Inherited,
    history: &Arc<History>,
    formation: impl FnOnce(Readiness) -> io::Result<u8>,
) -> io::Result<u8> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: there is no other thread that could hold a lock.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => {
            drop(writer);
            wait_for(child, reader, inherited)
        }
        ForkResult::Child => {
            drop(reader);
            let history = Arc::clone(history);
            let readiness = Readiness { waiting: Arc::new(Mutex::new(Some(writer))), history };
            let result = leave_terminal().and_then(|()| formation(readiness.clone()));
            match &result {
                Ok(code) => readiness.tell_end(*code),
                Err(error) => readiness.tell_error(error),
            }
            result
        }
    }
}

impl Readiness {
    /// Every slot runs or has failed to; who ends instead tells that itself.
    pub(super) fn tell(&self, answer: &Answer) {
        let Ok(accepted) = answer else { return };
        let formation = &accepted.formation;
        let pid = std::process::id();
        let troubled = troubled(accepted);
        if troubled.is_empty() {
            return self
                .say(Outcome::Ready, &[format!("started in the background with pid {pid}: {formation}")]);
        }
        let names: Vec<_> = troubled.iter().map(|effect| &effect.name).collect();
        let mut lines = self.history.sentences(|slot| slot.is_some_and(|slot| names.contains(&slot)));
        lines.extend(
            troubled
                .iter()
                .map(|Effect { name, state, .. }| format!("error: {name} is not running: {state}")),
        );
        lines.push(format!("the formation goes on in the background with pid {pid}: {formation}"));
        self.say(Outcome::Troubled, &lines);
    }

    /// The formation has ended before it was ready, with this code.
    fn tell_end(&self, code: u8) {
        let mut lines = self.history.sentences(|_| true);
        lines.push(format!("error: the formation ended with code {code} before it was ready"));
        self.say(Outcome::Ended(code), &lines);
    }

    /// It never began.
    fn tell_error(&self, error: &io::Error) {
        let mut lines = self.history.sentences(|_| true);
        lines.push(format!("error: {error}"));
        self.say(Outcome::Ended(1), &lines);
    }

    fn say(&self, outcome: Outcome, lines: &[String]) {
        // Nothing that holds the lock can panic halfway.
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let text = lines.join("\n") + "\n";
        let text = text.as_bytes();
        let mut word = match outcome {
            Outcome::Ready => vec![b'r', 0],
            Outcome::Troubled => vec![b't', 0],
            Outcome::Ended(code) => vec![b'e', code],
        };
        // Of too much the end says why.
        word.extend_from_slice(&text[text.len().saturating_sub(MOST)..]);
        // Whoever waited may have been killed: then nobody wants to know.
        let _ = waiting.write_all(&word);
    }
}

/// Takes leave of whoever started us: no terminal will ever send us a signal, and none of their descriptors is held.
fn leave_terminal() -> io::Result<()> {
    setsid()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Diagnostics.open();
    Ok(())
}

/// Waits for the word of the formation, says it and returns its code.
fn wait_for(formation: Pid, mut word: PipeReader, inherited: &Inherited) -> io::Result<u8> {
    let asked = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]);
    inherited.unblock_all_but(&asked)?;
    let asked = SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        let mut waited =
            [PollFd::new(word.as_fd(), PollFlags::POLLIN), PollFd::new(asked.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if waited[0].revents().is_some_and(|events| !events.is_empty()) {
            break;
        }
        while let Ok(Some(signal)) = asked.read_signal() {
            pass_on(formation, signal.ssi_signo);
        }
    }
    let mut text = Vec::new();
    word.read_to_end(&mut text)?;
    let (outcome, text) = match text.split_first_chunk() {
        Some(([b'r', _], text)) => (Outcome::Ready, text.to_vec()),
        Some(([b't', _], text)) => (Outcome::Troubled, text.to_vec()),
        Some(([_, code], text)) => {
            // What it held is free when we return.
            ended(formation)?;
            (Outcome::Ended(*code), text.to_vec())
        }
        None => {
            let how = ended(formation)?;
            let text = format!("error: the supervisor in the background {how} and did not say why\n");
            (Outcome::Ended(1), text.into_bytes())
        }
    };
    // Where nobody reads it, it has happened all the same.
    let (code, _) = match outcome {
        Outcome::Ready => (0, io::stdout().write_all(&text)),
        Outcome::Troubled => (1, io::stderr().write_all(&text)),
        Outcome::Ended(code) => (code, io::stderr().write_all(&text)),
    };
    Ok(code)
}

/// What asks us to end asks the formation. Without a terminal HUP would have it read its files again.
fn pass_on(formation: Pid, signal: u32) {
    let signal = match Signal::try_from(signal.cast_signed()) {
        Ok(Signal::SIGHUP) => Signal::SIGTERM,
        Ok(signal) => signal,
        Err(_) => return,
    };
    // It has not been waited for, so the number is its own; where it has ended, that is said next.
    let _ = kill(formation, signal);
}

/// Waits for the end of the formation's process, which is near; how it ended.
fn ended(formation: Pid) -> io::Result<String> {
    loop {
        return match waitpid(formation, None) {
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(format!("was killed by {signal}")),
            Ok(WaitStatus::Exited(_, code)) => Ok(format!("exited with code {code}")),
            Ok(status) => Ok(format!("ended: {status:?}")),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}
