//! Waiting for the readers of our outputs.

use std::io;
use std::time::Instant;

use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::outlet::Outlet;

/// An outlet in epoll(7): always heard of when its reader goes away, and of its room only while that is waited for.
#[derive(Debug)]
pub(super) struct Watch {
    key: u64,
    room: bool,
    listed: bool,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// epoll(7)'s.
    pub(super) fn new(outlet: &Outlet, key: u64, epoll: &Epoll) -> io::Result<Watch> {
        // A file has no reader, and epoll(7) refuses it.
        let listed = outlet.waits_for_reader();
        if listed {
            epoll.add(outlet, EpollEvent::new(EpollFlags::empty(), key))?;
        }
        Ok(Watch { key, room: false, listed })
    }

    /// Ends watching an outlet that is about to get another file.
    pub(super) fn end(&mut self, outlet: &Outlet, epoll: &Epoll) {
        if self.listed {
            self.listed = false;
            // It fails only where it is not there.
            let _ = epoll.delete(outlet);
        }
    }

    /// Watches for what the outlet needs now.
    pub(super) fn set(&mut self, outlet: &Outlet, epoll: &Epoll) {
        if outlet.is_gone() {
            self.end(outlet, epoll);
        } else if self.listed && self.room != outlet.is_stuck() {
            self.room = outlet.is_stuck();
            let events = if self.room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            // It fails only where it is not there.
            let _ = epoll.modify(outlet, &mut EpollEvent::new(events, self.key));
        }
    }
}

/// poll(2) until a time, or for ever.
pub(super) fn wait(fds: &mut [PollFd], until: Option<Instant>) {
    let timeout = until.map_or(PollTimeout::NONE, |until| {
        // Rounded up, so that the time has come when it ends.
        let millis = until.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
    });
    match poll(fds, timeout) {
        // A signal (which this thread blocks) or no memory: the caller looks again.
        Ok(_) | Err(_) => {}
    }
}
