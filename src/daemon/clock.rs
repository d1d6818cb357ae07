//! The time that the supervisor is told: `CLOCK_MONOTONIC` since the start, without the time we were suspended.

use std::time::{Duration, Instant};

use crate::supervisor::Time;

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    stood_still: Duration,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { start: Instant::now(), stood_still: Duration::ZERO }
    }

    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed().saturating_sub(self.stood_still)
    }

    /// The moment at which a time will have come, if nobody suspends us.
    pub(super) fn instant(&self, time: Time) -> Instant {
        self.start + self.stood_still + (time - Time::ZERO)
    }

    /// Stops this process until somebody sends SIGCONT; no time passes meanwhile.
    pub(super) fn stand_still(&mut self) {
        let before = Instant::now();
        stop_ourselves();
        self.stood_still += before.elapsed();
    }
}

/// Stops this process until somebody sends SIGCONT.
pub(super) fn stop_ourselves() {
    // It takes hold before the call returns.
    if let Err(errno) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
        tracing::warn!(%errno, "we cannot stop ourselves");
    }
}
