//! Stopping when asked: TERM from a supervisor, INT from a terminal.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// Hears the first TERM or INT.
pub(crate) struct Stop(Receiver<()>);

impl Stop {
    /// From now on TERM and INT no longer end the process: they are heard by [`Stop::asked_within`]. To be called before any
    /// other thread is started, since threads inherit what is blocked.
    ///
    /// # Errors
    /// The system's, where the signals cannot be blocked or the listening thread cannot be started.
    pub(crate) fn listen() -> io::Result<Stop> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block()?;
        let (heard, stop) = sync_channel(1);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            // An error cannot be waited for again; hanging up asks to stop as well.
            if signals.wait().is_ok() {
                // Nobody listens any more only where the program is ending anyway.
                let _ = heard.send(());
            }
        })?;
        Ok(Stop(stop))
    }

    /// Sleeps for so long, or until the stop was asked for.
    pub(crate) fn asked_within(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }

    /// Sleeps until the stop is asked for.
    pub(crate) fn asked(&self) {
        // Hanging up asks to stop as well.
        let _ = self.0.recv();
    }
}
