//! Starts `supervise` on real programs, hears what it says, and leaves nothing behind whatever a test does.
//!
//! Nothing here sleeps in the hope that something has happened: every wait is for a condition, has a deadline, and
//! shows everything that was seen when it is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take that takes a second on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// A directory with a Procfile in it, removed at the end.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    variables: Vec<(String, String)>,
}

impl Project {
    /// An empty directory of its own.
    pub(crate) fn new() -> Project {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("apps-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&root).expect("a test can make its directory");
        Project { root, variables: Vec::new() }
    }

    /// With that file in it.
    pub(crate) fn with(self, name: &str, content: &str) -> Project {
        fs::write(self.root.join(name), content).expect("a test can write into its directory");
        self
    }

    /// With a copy of a file of this repository.
    pub(crate) fn with_copy(self, name: &str, of: &str) -> Project {
        fs::copy(repository().join(of), self.root.join(name)).unwrap_or_else(|error| panic!("{of}: {error}"));
        self
    }

    /// With a symbolic link to that place.
    pub(crate) fn with_link(self, name: &str, to: &Path) -> Project {
        let link = self.root.join(name);
        fs::create_dir_all(link.parent().expect("a name inside the project")).expect("it can be made");
        std::os::unix::fs::symlink(to, link).expect("a test can link inside its directory");
        self
    }

    /// With that variable in the environment of `supervise`.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Project {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `supervise` with these arguments in this directory, whatever the environment of the tests says about it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervise"));
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null()).env_remove("PORT");
        // Its socket is to go with the project.
        command.env("XDG_RUNTIME_DIR", &self.root);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("SUPERVISE_")) {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `supervise` with these arguments in this directory.
    pub(crate) fn supervise(self, arguments: &[&str]) -> Run {
        let mark = format!("{}-{}", std::process::id(), self.root.display());
        let mut command = self.command(arguments);
        // The times are for the reader of a failure; the drain is for a machine that does too much at once.
        command.env("SUPERVISE_TIMESTAMPS", "always").env("SUPERVISE_DRAIN", "100s");
        command.env("APPS_TEST", &mark).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built binary can be started");
        let lines = Lines::default();
        lines.collect(child.stdout.take().expect("it was piped"));
        lines.collect(child.stderr.take().expect("it was piped"));
        let (own, ..) = stat(pid_of(&child).as_raw()).expect("a child is there until it is reaped");
        Run { child, own, lines, mark, met: BTreeSet::new(), project: self }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // What cannot be removed stays under target/, where it does no harm.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A running `supervise`.
pub(crate) struct Run {
    child: Child,
    own: Process,
    lines: Lines,
    mark: String,
    met: BTreeSet<Process>,
    pub(crate) project: Project,
}

/// Which process: a number alone may mean another one a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot (proc(5), `starttime`).
    started: u64,
}

impl Run {
    /// Waits for a line that contains that text.
    pub(crate) fn says(&self, text: &str) -> String {
        self.says_times(text, 1).pop().expect("there is one")
    }

    /// Waits until that many lines contain that text.
    pub(crate) fn says_times(&self, text: &str, times: usize) -> Vec<String> {
        self.until(&format!("{times} lines with `{text}`"), || {
            let found = self.lines.containing(text);
            if found.len() >= times { Ok(found) } else { Err(format!("{} of them", found.len())) }
        })
    }

    /// The lines so far that contain that text.
    pub(crate) fn said(&self, text: &str) -> Vec<String> {
        self.lines.containing(text)
    }

    /// Waits for something to come true, and panics with what was seen instead.
    pub(crate) fn until<T>(&self, what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
        eventually(what, condition).unwrap_or_else(|missed| panic!("{missed}\n{}", self.lines))
    }

    /// The leader of the latest instance of a slot, once it has been started that many times.
    pub(crate) fn leader(&self, slot: &str, times: usize) -> i32 {
        let starts = self.says_times(&format!("| {slot} started with pid "), times);
        let pid = starts[times - 1].split(" pid ").nth(1).and_then(|rest| rest.split_whitespace().next());
        pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid in {starts:?}"))
    }

    /// Sends a signal to `supervise` itself, after a look at everything that is below it now.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.processes();
        kill(pid_of(&self.child), signal).expect("our own child can be signalled");
    }

    /// Every process below `supervise`, and every one that carries this run's mark.
    pub(crate) fn processes(&mut self) -> BTreeSet<Process> {
        let all = living();
        let mut found = BTreeSet::new();
        let mut family = Vec::from_iter(all.contains_key(&self.own).then_some(self.own.pid));
        while let Some(parent) = family.pop() {
            for (process, _) in all.iter().filter(|(_, of)| **of == parent) {
                if found.insert(*process) {
                    family.push(process.pid);
                }
            }
        }
        let mark = format!("APPS_TEST={}", self.mark).into_bytes();
        // Nobody who was there before us is one of ours, and reading an environment takes time.
        let younger =
            all.keys().filter(|process| **process != self.own && process.started >= self.own.started);
        found.extend(younger.filter(|process| carries(process.pid, &mark)));
        self.met.extend(&found);
        found
    }

    /// Waits until so many processes, or more, are below `supervise`.
    pub(crate) fn grows_to(&mut self, number: usize) {
        let lines = self.lines.clone();
        eventually(&format!("{number} processes"), || match self.processes() {
            enough if enough.len() >= number => Ok(()),
            fewer => Err(format!("{:?}", describe(&fewer))),
        })
        .unwrap_or_else(|missed| panic!("{missed}\n{lines}"));
    }

    /// Waits for the end, with that exit code as a shell has it. Everything that was ever below it must be gone.
    pub(crate) fn ends_with(mut self, expected: i32) {
        let lines = self.lines.clone();
        let status = eventually("the end of supervise", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .unwrap_or_else(|missed| panic!("{missed}\n{lines}"));
        let left = self.left();
        assert!(left.is_empty(), "left behind: {:?}\n{lines}", describe(&left));
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(code, Some(expected), "{lines}");
    }

    /// Everything it has said, for a message.
    pub(crate) fn transcript(&self) -> String {
        self.lines.to_string()
    }

    fn left(&mut self) -> BTreeSet<Process> {
        let now = self.processes();
        let living = living();
        let met = self.met.iter().filter(|process| living.contains_key(process)).copied();
        now.into_iter().chain(met).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let left = self.left();
        // Already gone is as good; by the number only while the kernel cannot have given it to another: not yet waited for.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for process in left {
            // Gone in between is as good.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

/// What was said so far, in the order in which it was read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect(&self, from: impl Read + Send + 'static) {
        let lines = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                lines.0.lock().expect("no reader panics").push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    fn containing(&self, text: &str) -> Vec<String> {
        let lines = self.0.lock().expect("no reader panics");
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it said:\n{}", self.0.lock().expect("no reader panics").join("\n"))
    }
}

/// Looks at a condition until it holds.
///
/// # Errors
/// What was waited for and what was seen last, after [`PATIENCE`].
pub(crate) fn eventually<T>(
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        let seen = match condition() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if began.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} for {what}, and saw: {seen}"));
        }
        thread::sleep(PAUSE);
    }
}

/// One request on loopback: the status code and the body. HTTP/1.0: an answer ends with its connection, unchunked.
///
/// # Errors
/// What went wrong on the way, in words.
pub(crate) fn http(method: &str, port: u16, path: &str, body: &str) -> Result<(u16, String), String> {
    let exchange = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let length = body.len();
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{method} {path} on port {port}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP answer: {answer:?}"))?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| format!("no status: {head:?}"))?, body.trim_end().to_owned()))
}

/// A port such that it and the few ports above it, for each of three process types, are free: below the range from
/// which the kernel gives ports to clients, and never given out twice by one test binary.
pub(crate) fn free_base() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 40).expect("below 40") * 500;
    for _ in 0..40 {
        let base = 10_000 + (first + NEXT.fetch_add(500, Ordering::Relaxed)) % 20_000;
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (0..3).all(|kind| (0..5).all(|slot| free(base + 100 * kind + slot))) {
            return base;
        }
    }
    panic!("no free ports between 10000 and 30000");
}

/// A program that `.ci/install-apps` has installed.
pub(crate) fn installed(path: &str) -> PathBuf {
    let file = repository().join("target/apps").join(path);
    assert!(file.exists(), "`target/apps/{path}` is missing: `.ci/install-apps` installs it");
    file
}

/// Checks that `.ci/install-apps` has put that program on the machine.
pub(crate) fn on_the_path(program: &str) {
    let found = path().split(':').any(|directory| Path::new(directory).join(program).exists());
    assert!(found, "`{program}` is not in PATH: `.ci/install-apps` installs it");
}

/// PATH, and where Debian puts servers.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Where this crate is.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Redis server of the test's own, on a free loopback port, with nothing on disk.
pub(crate) struct Redis {
    server: Child,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts it and waits for its first answer.
    pub(crate) fn start() -> Redis {
        on_the_path("redis-server");
        let port = free_base();
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        let redis = Redis { server, port };
        eventually("an answer of redis-server", || redis.ask(&["PING"]))
            .unwrap_or_else(|missed| panic!("{missed}"));
        redis
    }

    /// One command; a number or a text comes back as text, a list with a line for each.
    ///
    /// # Errors
    /// What went wrong on the way, in words.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String, String> {
        let exchange = || -> std::io::Result<String> {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(connection, "*{}\r\n", words.len())?;
            for word in words {
                write!(connection, "${}\r\n{word}\r\n", word.len())?;
            }
            let mut reader = BufReader::new(connection);
            reply(&mut reader)
        };
        exchange().map_err(|error| format!("redis {words:?}: {error}"))
    }

    /// One command whose answer is a number.
    pub(crate) fn number(&self, words: &[&str]) -> u64 {
        let answer = self.ask(words).unwrap_or_else(|error| panic!("{error}"));
        answer.parse().unwrap_or_else(|error| panic!("redis {words:?} answered {answer:?}: {error}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Reads one reply of the Redis protocol (RESP2).
fn reply(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (kind, rest) = first.trim_end().split_at_checked(1).unwrap_or_default();
    let length = rest.parse::<i64>().unwrap_or(-1);
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "$" if length < 0 => Ok(String::new()),
        "$" => {
            let mut text = vec![0; usize::try_from(length).expect("not negative") + 2];
            reader.read_exact(&mut text)?;
            Ok(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned())
        }
        "*" => {
            (0..length).map(|_| reply(reader)).collect::<std::io::Result<Vec<_>>>().map(|all| all.join("\n"))
        }
        _ => Err(std::io::Error::other(first)),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

/// Every process that is alive, zombies left out, with its parent.
fn living() -> BTreeMap<Process, i32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(stat)
        .filter(|(.., state)| !matches!(state, 'Z' | 'X'))
        .map(|(process, parent, _)| (process, parent))
        .collect()
}

/// Who that is, its parent and its state (proc(5), `/proc/PID/stat`).
fn stat(pid: i32) -> Option<(Process, i32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some((Process { pid, started }, parent, state))
}

fn carries(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark))
}

/// Each with its command line, for a message.
fn describe(processes: &BTreeSet<Process>) -> Vec<String> {
    let line = |process: &Process| {
        let words = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        format!("{} {}", process.pid, String::from_utf8_lossy(&words).replace('\0', " "))
    };
    processes.iter().map(line).collect()
}
