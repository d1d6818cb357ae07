//! One run of the supervisor, watched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::processes::{children_of, command_line, eventually, marked, send};
use super::transcript::Notice;
use super::{Directory, PATIENCE, Transcript};

/// A supervisor that has been started. It must be ended by [`Run::ends_with`] or one of its sisters.
#[derive(Debug)]
pub(crate) struct Run {
    child: Child,
    /// Whether the child is another program that started the supervisor.
    wrapped: bool,
    seen: Arc<Seen>,
    later: Option<File>,
    terminal: Option<Terminal>,
    mark: String,
    directory: Arc<Directory>,
    ended: bool,
}

/// Our side of the supervisor's terminal.
#[derive(Debug)]
struct Terminal {
    keys: File,
    /// Held, so that its end tells the reading thread to let go of the terminal.
    _line: PipeWriter,
}

/// How the supervisor's stdout is read.
pub(crate) enum Reader {
    AtOnce(File),
    Later(File),
    Until(File, usize),
}

/// What the reading threads have heard, and the bell they ring.
#[derive(Debug, Default)]
struct Seen {
    heard: Mutex<Heard>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    transcript: Transcript,
    err_ended: bool,
    /// Whether the reading threads keep what they have and read no more.
    deaf: bool,
}

impl Run {
    pub(super) fn new(
        mut child: Child,
        reader: Option<Reader>,
        terminal: Option<File>,
        mark: String,
        directory: Arc<Directory>,
        wrapped: bool,
    ) -> Run {
        let seen = Arc::new(Seen::default());
        let mut later = None;
        let stdout_is_terminal = reader.is_none();
        match reader {
            Some(Reader::AtOnce(file)) => listen_to_stdout(&seen, file, usize::MAX),
            Some(Reader::Until(file, lines)) => listen_to_stdout(&seen, file, lines),
            Some(Reader::Later(file)) => later = Some(file),
            None => {}
        }
        if let Some(stderr) = child.stderr.take() {
            listen_to_stderr(&seen, stderr);
        }
        let terminal = terminal.map(|terminal| {
            let (end_of_line, line) = io::pipe().expect("descriptors are left");
            let keys = terminal.try_clone().expect("descriptors are left");
            let voice = UntilHungUp { terminal, end_of_line };
            if stdout_is_terminal {
                listen_to_stdout(&seen, voice, usize::MAX);
                seen.lock().err_ended = true;
            } else {
                listen_to_stderr(&seen, voice);
            }
            Terminal { keys, _line: line }
        });
        Run { child, wrapped, seen, later, terminal, mark, directory, ended: false }
    }

    /// Waits until what has been said so far contains it.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl Fn(&Transcript) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.seen.lock();
        loop {
            if let Some(found) = look(&heard.transcript) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = heard.transcript.out_ended && heard.err_ended;
            assert!(!ended, "the supervisor has ended, and nobody saw: {what}\n{}", heard.transcript);
            assert!(!left.is_zero(), "within {PATIENCE:?} not seen: {what}\n{}", heard.transcript);
            heard = self.seen.bell.wait_timeout(heard, left).expect("no reader panics").0;
        }
    }

    /// Waits for the first notice of this kind about this process (about any, where it is empty).
    pub(crate) fn event(&self, event: &str, process: &str) -> Notice {
        self.nth_event(1, event, process)
    }

    /// Waits for the n-th notice of this kind, from 1.
    pub(crate) fn nth_event(&self, n: usize, event: &str, process: &str) -> Notice {
        let what = format!("notice {n} of `{event}` {process}");
        self.wait_for(&what, |seen| seen.events(event, process).into_iter().nth(n - 1))
    }

    /// Waits until this process has said exactly this line.
    pub(crate) fn line(&self, process: &str, line: &str) {
        let what = format!("{process} says `{line}`");
        self.wait_for(&what, |seen| seen.said(process).iter().any(|said| said == line).then_some(()));
    }

    /// Waits for the first line of this process that begins so, and gives the rest of it.
    pub(crate) fn rest(&self, process: &str, beginning: &str) -> String {
        let what = format!("{process} says `{beginning}...`");
        self.wait_for(&what, |seen| seen.rests(process, beginning).into_iter().next())
    }

    /// Waits for a line `TEXT PID` of `chaos pid TEXT`.
    pub(crate) fn pid_said(&self, process: &str, text: &str) -> i32 {
        self.rest(process, &format!("{text} ")).parse().expect("a pid is a number")
    }

    /// Waits for the whole `chaos report` of this process.
    pub(crate) fn report(&self, process: &str) -> BTreeMap<String, String> {
        self.line(process, "report=done");
        let pairs = |seen: &Transcript| {
            let lines = seen.said(process).iter().filter_map(|line| line.split_once('='));
            Some(lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        };
        self.wait_for("a report", pairs)
    }

    /// Looks at what has been said so far, without a copy of all of it.
    #[allow(dead_code, reason = "for tests/model")]
    pub(crate) fn look_at<T>(&self, look: impl FnOnce(&Transcript) -> T) -> T {
        look(&self.seen.lock().transcript)
    }

    /// What has been said so far.
    pub(crate) fn so_far(&self) -> Transcript {
        self.seen.lock().transcript.clone()
    }

    /// The supervisor's own pid, as we see it.
    pub(crate) fn pid(&self) -> i32 {
        let child = i32::try_from(self.child.id()).expect("a pid is small");
        if !self.wrapped {
            return child;
        }
        // The wrapper becomes it, or has it as its child.
        let is_one = |pid: &i32| command_line(*pid).starts_with(env!("CARGO_BIN_EXE_supervise"));
        let find = || {
            let children = children_of(child);
            let grandchildren: Vec<i32> = children.iter().flat_map(|child| children_of(*child)).collect();
            [child].into_iter().chain(children).chain(grandchildren).find(is_one)
        };
        eventually("a supervisor under its wrapper", find, || self.so_far().to_string())
    }

    /// From now on nothing is read from the supervisor's stdout and stderr, until [`Run::hear_again`] or the end.
    #[allow(dead_code, reason = "for tests/model")]
    pub(crate) fn be_deaf(&self) {
        self.seen.lock().deaf = true;
    }

    #[allow(dead_code, reason = "for tests/model")]
    pub(crate) fn is_deaf(&self) -> bool {
        self.seen.lock().deaf
    }

    /// Everything is read again.
    #[allow(dead_code, reason = "for tests/model")]
    pub(crate) fn hear_again(&self) {
        self.seen.lock().deaf = false;
        self.seen.bell.notify_all();
    }

    /// Sends the supervisor a signal.
    pub(crate) fn signal(&self, signal: i32) {
        send(self.pid(), signal);
    }

    /// Sends a signal to the program that stands around the supervisor.
    pub(crate) fn signal_outermost(&self, signal: i32) {
        assert!(self.wrapped, "there is none around it");
        send(i32::try_from(self.child.id()).expect("a pid is small"), signal);
    }

    /// Types on the supervisor's terminal.
    pub(crate) fn types(&mut self, keys: &[u8]) {
        let terminal = self.terminal.as_mut().expect("there is a terminal");
        terminal.keys.write_all(keys).expect("it takes keys");
    }

    /// Takes the terminal away, as a closed window does: the kernel sends SIGHUP to the session, and writing fails.
    pub(crate) fn hang_up(&mut self) {
        // The thread that reads has the last other descriptor of it, and lets go when the line is gone.
        drop(self.terminal.take().expect("there is a terminal"));
    }

    /// Begins to read the stdout that was left unread.
    pub(crate) fn read_on(&mut self) {
        listen_to_stdout(&self.seen, self.later.take().expect("it was not read"), usize::MAX);
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The processes of this run that live, the supervisor and a wrapper left out.
    pub(crate) fn alive(&self) -> Vec<(i32, String)> {
        let own = i32::try_from(self.child.id()).expect("a pid is small");
        let is_child = |(pid, command): &(i32, String)| {
            *pid != own && !(self.wrapped && command.starts_with(env!("CARGO_BIN_EXE_supervise")))
        };
        marked(&self.mark).into_iter().filter(is_child).collect()
    }

    /// Sends TERM and waits for the end.
    pub(crate) fn is_stopped(&mut self) -> Transcript {
        self.signal(libc::SIGTERM);
        self.ends_with(0)
    }

    /// Waits for the end, which must leave nothing alive.
    pub(crate) fn ends_with(&mut self, code: i32) -> Transcript {
        let left = self.ends_leaving(code);
        assert!(left.is_empty(), "the supervisor has ended, but these live on: {left:?}\n{}", self.so_far());
        self.so_far()
    }

    /// Waits for the end and gives what still lives; the harness kills it when the test is over.
    pub(crate) fn ends_leaving(&mut self, code: i32) -> Vec<(i32, String)> {
        let (status, alive) = self.wait_for_exit();
        assert_eq!(status.code(), Some(code), "{status}\n{}", self.so_far());
        alive
    }

    /// Kills the supervisor with SIGKILL; what it leaves is killed by the harness when the test is over.
    pub(crate) fn is_killed(&mut self) {
        self.signal(libc::SIGKILL);
        let (status, _) = self.wait_for_exit();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{}", self.so_far());
    }

    /// Waits for the end; how it ended, and what lived at that moment.
    pub(crate) fn wait_for_exit(&mut self) -> (ExitStatus, Vec<(i32, String)>) {
        let pidfd = pidfd(&self.child);
        let mut poll_fd = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE).expect("patience fits");
        let ended = poll(&mut poll_fd, timeout).expect("poll works");
        assert!(ended == 1, "the supervisor has not ended within {PATIENCE:?}\n{}", self.so_far());
        let status = self.child.wait().expect("it is our child");
        let alive = self.alive();
        self.ended = true;
        if let Some(file) = self.later.take() {
            listen_to_stdout(&self.seen, file, usize::MAX);
        }
        self.hear_everything();
        (status, alive)
    }

    /// Waits until both streams have reached their end: nobody else holds them.
    fn hear_everything(&self) {
        self.hear_again();
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.seen.lock();
        while !(heard.transcript.out_ended && heard.err_ended) {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = &heard.transcript;
            assert!(
                !left.is_zero(),
                "the supervisor has ended, but somebody holds its stdout or stderr\n{seen}"
            );
            heard = self.seen.bell.wait_timeout(heard, left).expect("no reader panics").0;
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            // Both fail only if it is gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // What a killed process forks at its last moment is found in the next round. A process that survives that many
        // is nothing that a test can end.
        for _ in 0..1000 {
            let left = marked(&self.mark);
            for (pid, _) in &left {
                send(*pid, libc::SIGKILL);
            }
            if left.is_empty() {
                break;
            }
            thread::yield_now();
        }
        assert!(self.ended || thread::panicking(), "a test must see the end of what it started");
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // A test that fails while it looks poisons the lock; what was heard stays as good as it was.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a reading thread, which waits here while nothing is to be heard.
    fn lock_to_add(&self) -> MutexGuard<'_, Heard> {
        let heard = self.lock();
        self.bell.wait_while(heard, |heard| heard.deaf).unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen_to_stdout(seen: &Arc<Seen>, file: impl Read + Send + 'static, lines: usize) {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        listen(file, lines, |line| {
            seen.lock_to_add().transcript.add_out(line);
            seen.bell.notify_all();
        });
        seen.lock().transcript.out_ended = true;
        seen.bell.notify_all();
    });
}

fn listen_to_stderr(seen: &Arc<Seen>, stderr: impl Read + Send + 'static) {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        listen(stderr, usize::MAX, |line| {
            seen.lock_to_add().transcript.err.push(line.to_vec());
            seen.bell.notify_all();
        });
        seen.lock().err_ended = true;
        seen.bell.notify_all();
    });
}

/// Hears lines until the end, an error (a terminal says EIO at its end) or so many lines.
fn listen(source: impl Read, lines: usize, mut hear: impl FnMut(&[u8])) {
    let mut source = BufReader::new(source);
    for _ in 0..lines {
        let mut line = Vec::new();
        match source.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => hear(line.strip_suffix(b"\n").unwrap_or(&line)),
        }
    }
}

/// A terminal that is read until the test hangs up.
struct UntilHungUp {
    terminal: File,
    end_of_line: PipeReader,
}

impl Read for UntilHungUp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut waiting = [
            PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.end_of_line.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut waiting, PollTimeout::NONE)?;
        if waiting[1].any() == Some(true) { Ok(0) } else { self.terminal.read(buffer) }
    }
}

fn pidfd(child: &Child) -> OwnedFd {
    // SAFETY: the child has not been waited for, so its pid is its own; the descriptor is new and ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, child.id(), 0);
        assert!(fd >= 0, "pidfd_open works: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(i32::try_from(fd).expect("descriptors are small"))
    }
}
