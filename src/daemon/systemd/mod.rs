//! Tells whoever started us how we are, in the protocol of systemd: datagrams to `$NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! What is said, and when, is decided in [`words`] without any I/O; this file reads the environment and sends. It never
//! waits: what did not go out is sent a little later, and where nobody receives the formation goes on all the same. Without
//! `NOTIFY_SOCKET` there is no herald, and nothing of this costs anything.

mod words;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::supervisor::{Action, Member, Supervisor};

use words::Words;

/// Whoever started us and wants to hear of us.
#[derive(Clone, Debug)]
pub struct Superior {
    /// Where it listens.
    address: SocketAddr,
    /// How often it wants to hear that we live, at least.
    watchdog: Option<Duration>,
}

/// Tells our superior how we are.
#[derive(Debug)]
pub(super) struct Herald {
    socket: UnixDatagram,
    address: SocketAddr,
    words: Words,
    /// When to send again what did not go out.
    again: Option<Instant>,
    /// How long after it the next try is.
    pause: Duration,
    /// Whether it was said that nothing arrives.
    complained: Complained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complained {
    No,
    Yes,
}

/// When a receiver that had no room is tried again: soon enough for a start that somebody waits for.
const AGAIN: Duration = Duration::from_millis(100);

/// When one is tried again at the latest who has not been there for long: well within the 90 s that systemd gives a start or a
/// stop (`DefaultTimeoutStartSec=`, systemd-system.conf(5)).
const SELDOM: Duration = Duration::from_secs(5);

impl Superior {
    /// Who wants to hear of the process with this pid, by the environment that it was started with.
    #[must_use]
    pub fn of(environment: &[(OsString, OsString)], pid: u32) -> Option<Superior> {
        let value = |name: &str| {
            let known = environment.iter().find(|(known, _)| known == name);
            known.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
        };
        let address = match address(value("NOTIFY_SOCKET")?) {
            Ok(address) => address,
            Err(error) => {
                tracing::warn!(%error, "nobody is told how we are: NOTIFY_SOCKET is no address that we know");
                return None;
            }
        };
        // Set for another process it is not for us (sd_watchdog_enabled(3)).
        let ours = value("WATCHDOG_PID").is_none_or(|watched| watched == pid.to_string().as_str());
        let microseconds = value("WATCHDOG_USEC").and_then(|text| text.to_str()?.parse().ok());
        let watchdog = microseconds.filter(|microseconds| ours && *microseconds > 0);
        Some(Superior { address, watchdog: watchdog.map(Duration::from_micros) })
    }
}

/// `/run/systemd/notify`, or `@name` for an abstract one.
pub(super) fn address(text: &OsStr) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(text),
        _ => Err(io::Error::new(ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

impl Herald {
    /// One who says at once that these types are being started; none where the system has no socket left for it.
    pub(super) fn new(superior: Superior, members: &[Member]) -> Option<Herald> {
        let Superior { address, watchdog } = superior;
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => {
                let now = Instant::now();
                let words = Words::new(now, members, watchdog);
                let complained = Complained::No;
                let mut herald = Herald { socket, address, words, again: None, pause: AGAIN, complained };
                herald.send(now);
                Some(herald)
            }
            Err(error) => {
                tracing::warn!(%error, "nobody is told how we are: no socket for it");
                None
            }
        }
    }

    /// What an earlier run left behind is stopped first.
    pub(super) fn delayed(&mut self, members: &[Member]) {
        self.words.delayed(members);
        self.send(Instant::now());
    }

    /// An event is handled: how everything is may change.
    pub(super) fn stirred(&mut self) {
        self.words.stirred();
    }

    /// An action is about to be performed.
    pub(super) fn heed(&mut self, action: &Action) {
        self.words.heed(action, monotonic);
    }

    /// Tells what is to be told by now.
    pub(super) fn tell(&mut self, supervisor: &Supervisor) {
        let now = Instant::now();
        self.words.beat(now);
        if self.again.is_some_and(|again| now < again) {
            return;
        }
        self.send(now);
        // Where something is not said yet, what changes meanwhile is said at once when there is room.
        if self.words.next().is_none() {
            self.words.look(now, supervisor);
            self.send(now);
        }
    }

    /// When there is something to be told though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.again {
            // Nothing goes out before.
            Some(again) => Some(again),
            None => self.words.deadline(),
        }
    }

    fn send(&mut self, now: Instant) {
        self.again = None;
        while let Some(word) = self.words.next() {
            let error = match self.socket.send_to_addr(word.as_bytes(), &self.address) {
                Ok(_) => {
                    tracing::debug!(word, "told our superior");
                    self.words.was_said();
                    self.pause = AGAIN;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // It has no room: it is busy, and reads on soon (unix(7): EAGAIN).
            let is_busy = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS));
            if !is_busy && self.complained == Complained::No {
                self.complained = Complained::Yes;
                tracing::warn!(%error, "whoever started us does not hear how we are (NOTIFY_SOCKET)");
            }
            // It may come back: systemd starts itself anew to be upgraded. And a word that it waits for, `READY=1` above all, must
            // not be lost to a moment without memory.
            self.again = Some(now + self.pause);
            self.pause = if is_busy { AGAIN } else { (self.pause * 2).min(SELDOM) };
            return;
        }
    }
}

/// `CLOCK_MONOTONIC`, as `RELOADING=1` wants it (`sd_notify(3)`).
fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours to be written over, and the clock is one that every Linux has: it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests;
