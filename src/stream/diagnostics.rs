//! Our own diagnostics on stderr: whoever does not read them holds nobody up.
//!
//! They are written by whoever has something to say, the loop above all, and never waited for: what is not taken at once waits
//! with the next ones, and of more than may wait the oldest are dropped, counted and said. What was promised to whoever runs us
//! goes by the stream, not by here.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::line::Splitter;
use super::outlet::{Dress, Head, Outlet, Overflow};
use super::watch::wait;

/// What has been opened on our stderr, which may become another one.
static OPEN: Mutex<Option<Open>> = Mutex::new(None);

/// The writer for those who have something to say; each write is whole lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Diagnostics;

impl Diagnostics {
    /// Writes to what is our stderr now, and lets go of what was before. Where that cannot be opened, it is tried again with each
    /// write.
    pub fn open(self) {
        *OPEN.lock().unwrap_or_else(PoisonError::into_inner) = Open::on(io::stderr()).ok();
    }

    /// Waits until what waits has been read, but no longer than that.
    pub fn finish(self, patience: Duration) {
        if let Some(open) = &mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner) {
            open.finish(Instant::now() + patience);
        }
    }
}

impl Write for Diagnostics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whoever panicked with it has written its lines or not: both are fine.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Some(Open::on(io::stderr())?);
        }
        if let Some(open) = &mut *open {
            open.say(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Open {
    outlet: Outlet,
    lines: Splitter,
}

impl Open {
    fn on(fd: impl AsFd) -> io::Result<Open> {
        let fd = fd.as_fd().try_clone_to_owned()?;
        Ok(Open { outlet: Outlet::new(fd, Dress::Raw, Overflow::Drop)?, lines: Splitter::default() })
    }

    fn say(&mut self, bytes: &[u8]) {
        self.take(bytes);
        self.outlet.flush();
        if let Some(dropped) = self.outlet.dropped() {
            self.take(format!("diagnostics: {dropped}\n").as_bytes());
            self.outlet.flush();
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        // Dropping makes room for all of it; where it does not, the rest is not worth waiting for.
        while !bytes.is_empty() {
            let used = self.outlet.chunk(&mut self.lines, &mut Head::Nothing, bytes);
            if used == 0 {
                return;
            }
            bytes = &bytes[used..];
        }
    }

    fn finish(&mut self, by: Instant) {
        self.say(b"");
        while self.outlet.is_stuck() && Instant::now() < by {
            wait(&mut [PollFd::new(self.outlet.as_fd(), PollFlags::POLLOUT)], Some(by));
            self.say(b"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};
    use std::thread;

    #[test]
    fn nobody_waits_for_who_does_not_read_and_what_is_dropped_is_counted() {
        const LINES: usize = 100_000;
        let (mut reader, writer) = pipe().expect("descriptors are left");
        let mut open = Open::on(&writer).expect("it is open");
        drop(writer);
        for n in 0..LINES {
            open.say(format!("line {n} of {}\n", "x".repeat(40)).as_bytes());
        }
        // What has been dropped is said as soon as there is room again.
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("it is text");
            text
        });
        open.finish(Instant::now() + Duration::from_secs(60));
        drop(open);
        let text = reading.join().expect("it does not panic");
        let count = text.lines().filter(|line| line.starts_with("line ")).count();
        let dropped = text.lines().find_map(|line| line.strip_prefix("diagnostics: ")?.split(' ').next());
        let dropped: usize = dropped.and_then(|number| number.parse().ok()).expect("a count");
        assert!(dropped > 0 && text.starts_with("line 0 of "), "{text:.200}");
        assert_eq!(count + dropped, LINES);
    }
}
