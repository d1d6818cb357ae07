//! Who reads what comes out of a peer: at once, not at all for a while, or no more.

use std::io::{PipeReader, Read};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;

#[derive(Debug)]
pub(crate) struct Listener {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    heard: Mutex<Heard>,
    manner: AtomicU8,
}

#[derive(Debug)]
struct Heard {
    bytes: Vec<u8>,
    /// When the last ones came.
    last: Instant,
    ended: bool,
}

const READS: u8 = 0;
const WAITS: u8 = 1;
const GONE: u8 = 2;

/// How often a reader that waits looks whether it still does.
const TICK: Duration = Duration::from_millis(10);

impl Listener {
    pub(crate) fn new(pipe: PipeReader) -> Listener {
        let heard = Heard { bytes: Vec::new(), last: Instant::now(), ended: false };
        let shared = Arc::new(Shared { heard: Mutex::new(heard), manner: AtomicU8::new(READS) });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || listen(pipe, &theirs));
        Listener { shared }
    }

    /// Reads nothing until it reads on.
    pub(crate) fn wait(&self) {
        self.shared.manner.store(WAITS, Ordering::SeqCst);
    }

    pub(crate) fn read_on(&self) {
        self.shared.manner.store(READS, Ordering::SeqCst);
    }

    /// Closes the pipe.
    pub(crate) fn go(&self) {
        self.shared.manner.store(GONE, Ordering::SeqCst);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shared.lock().bytes.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        memmem::find(&self.shared.lock().bytes, text).is_some()
    }

    /// Whether nothing has come for so long.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.shared.lock().last.elapsed() >= time
    }

    /// Waits until nothing has come for so long, or everybody has closed it.
    pub(crate) fn settle(&self, time: Duration) {
        let begun = Instant::now();
        loop {
            let heard = self.shared.lock();
            if heard.ended || heard.last.max(begun).elapsed() >= time {
                return;
            }
            drop(heard);
            thread::sleep(TICK);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.go();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(mut pipe: PipeReader, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match shared.manner.load(Ordering::SeqCst) {
            GONE => break,
            WAITS => thread::sleep(TICK),
            _ if !is_readable(&pipe) => {}
            _ => match pipe.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    let mut heard = shared.lock();
                    heard.bytes.extend_from_slice(&buffer[..count]);
                    heard.last = Instant::now();
                }
            },
        }
    }
    shared.lock().ended = true;
}

fn is_readable(pipe: &PipeReader) -> bool {
    let mut wanted = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure of ours.
    unsafe { libc::poll(&raw mut wanted, 1, 10) > 0 }
}
