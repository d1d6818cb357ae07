//! One peer with one story: it runs in a pid namespace of its own and is seen from outside only: /proc, its exit code, what comes
//! out of it, and the files that the children make.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::listener::Listener;
use super::peers::{Entry, Job, Peer, Restart};
use super::proc::{self, Process};

/// Why a story did not come to its good end.
#[derive(Debug)]
pub(crate) enum Objection {
    /// What was seen.
    Fails(String),
    /// The peer cannot be asked for it: it restarts nothing, or can change nothing while it runs.
    Unable,
    /// The bench itself could not do it.
    Broken(io::Error),
}

pub(crate) type Told = Result<(), Objection>;

impl From<io::Error> for Objection {
    fn from(error: io::Error) -> Objection {
        Objection::Broken(error)
    }
}

/// An objection with what was seen.
pub(crate) fn fails<T>(seen: impl Into<String>) -> Result<T, Objection> {
    Err(Objection::Fails(seen.into()))
}

/// What a peer may take longer than it was given: this machine may be busy.
pub(crate) const SLACK: Duration = Duration::from_millis(2500);

/// Everything has begun after this time, or never will.
const BEGIN: Duration = Duration::from_secs(30);

/// What comes while something has hardly begun is a row of its own: all others wait so long.
const SETTLE: Duration = Duration::from_secs(1);

/// How often is looked.
const TICK: Duration = Duration::from_millis(10);

/// What is the same for all cells.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) scratch: PathBuf,
    pub(crate) chaos: PathBuf,
    /// clock.c, to be loaded before others.
    pub(crate) clock: PathBuf,
}

/// A story before its peer has started.
#[derive(Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) place: &'a Place,
    pub(crate) peer: Peer,
    /// Of its own; `@` in verbs.
    pub(crate) at: PathBuf,
}

/// How the peer is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Below a first process that only reaps.
    Plain,
    /// As the first process of its namespace.
    First,
    /// ... and once more after its end, as soon as the file `again` is there.
    Twice,
    /// With a stdout that does not block.
    Nonblocking,
    /// With a wall clock that the story moves.
    OtherClock,
    /// With an odd environment.
    Odd,
}

/// A value that is no text, and all that has a meaning to somebody.
pub(crate) const ODD: &[u8] = b"50%(x)s=%d $HOME $(id) \xff\xfe \"'\n two";

impl<'a> Cell<'a> {
    /// # Errors
    /// A directory that cannot be made.
    pub(crate) fn new(place: &'a Place, peer: Peer, name: &str) -> io::Result<Cell<'a>> {
        let at = place.scratch.join(name);
        if at.exists() {
            fs::remove_dir_all(&at)?;
        }
        fs::create_dir_all(at.join("run"))?;
        Ok(Cell { place, peer, at })
    }

    /// So many chaos children with these verbs; `@` is our directory.
    pub(crate) fn chaos(&self, name: &'static str, count: usize, verbs: &str) -> Entry {
        let verbs = verbs.replace('@', &format!("{}/", self.at.display()));
        Entry { name, command: format!("{} {verbs}", self.place.chaos.display()), count }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Starts the peer with these entries; nothing comes back, and so many seconds lie between TERM and KILL.
    pub(crate) fn start(&self, drain: u64, entries: Vec<Entry>) -> Result<Run<'_>, Objection> {
        let drain = Duration::from_secs(drain);
        self.start_as(Stage::Plain, &Job { entries, restart: Restart::Never, drain })
    }

    /// The same; whatever ends comes back.
    pub(crate) fn keep(&self, drain: u64, entries: Vec<Entry>) -> Result<Run<'_>, Objection> {
        self.keep_as(Stage::Plain, drain, entries)
    }

    pub(crate) fn keep_as(
        &self,
        stage: Stage,
        drain: u64,
        entries: Vec<Entry>,
    ) -> Result<Run<'_>, Objection> {
        let drain = Duration::from_secs(drain);
        self.start_as(stage, &Job { entries, restart: Restart::Always, drain })
    }

    pub(crate) fn start_as(&self, stage: Stage, job: &Job) -> Result<Run<'_>, Objection> {
        let words = self.peer.prepare(&self.at, job)?;
        let around = match stage {
            Stage::First => Vec::new(),
            Stage::Plain | Stage::Nonblocking | Stage::OtherClock | Stage::Odd => {
                vec![self.place.chaos.display().to_string(), "adopt".to_owned()]
            }
            Stage::Twice => {
                let file = self.file("twice.sh");
                let again = self.file("again").display().to_string();
                fs::write(
                    &file,
                    format!("\"$@\"\nuntil [ -e {again} ]; do sleep 0.05; done\nexec \"$@\"\n"),
                )?;
                let chaos = self.place.chaos.display().to_string();
                vec![chaos, "adopt".to_owned(), "/bin/sh".to_owned(), file.display().to_string()]
            }
        };
        let (ours, theirs) = io::pipe()?;
        if stage == Stage::Nonblocking {
            set_nonblocking(theirs.as_raw_fd())?;
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).args(around).args(words);
        command.current_dir(&self.at).stdin(Stdio::null()).stdout(theirs);
        command.stderr(File::create(self.file("stderr"))?);
        command.env_clear().env("HOME", &self.at).env("XDG_RUNTIME_DIR", self.file("run"));
        command.env("LANG", "C.UTF-8").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if stage == Stage::OtherClock {
            fs::write(self.file("clock"), [0; 8])?;
            command.env("LD_PRELOAD", &self.place.clock).env("CLOCK_OFFSET_FILE", self.file("clock"));
        }
        if stage == Stage::Odd {
            command.env("ODD", std::ffi::OsStr::from_bytes(ODD));
        }
        // SAFETY: system calls alone between fork and exec: no terminal, nothing of whoever started us, and our end is its end.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
                let mut none: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut none);
                libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
                for signal in 1..=libc::SIGRTMAX() {
                    libc::signal(signal, libc::SIG_DFL);
                }
                if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let child = command.spawn()?;
        // Its copy of the pipe would keep the listener from seeing that all others are closed.
        drop(command);
        let run = Run {
            cell: self,
            stage,
            child,
            listener: Listener::new(ours),
            first: OnceCell::new(),
            code: None,
        };
        // It may have ended already.
        let started = || run.main().is_some() || !proc::is_alive(proc::pid(&run.child));
        if within(BEGIN, started).is_none() {
            return Err(io::Error::other(format!("it did not start: {}", run.said())).into());
        }
        Ok(run)
    }
}

/// A peer that runs.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    cell: &'a Cell<'a>,
    stage: Stage,
    /// unshare(1): it ends with all of the namespace.
    child: Child,
    pub(crate) listener: Listener,
    /// The peer's own pid.
    first: OnceCell<i32>,
    code: Option<i32>,
}

impl Run<'_> {
    /// The peer itself: the pid of the one that was started first.
    pub(crate) fn main(&self) -> Option<i32> {
        if let Some(pid) = self.first.get() {
            return Some(*pid);
        }
        let init = proc::children(proc::pid(&self.child)).first().copied()?;
        let below = |pid: i32| proc::children(pid).first().copied();
        let main = match self.stage {
            Stage::First => init,
            Stage::Twice => below(below(init)?)?,
            Stage::Plain | Stage::Nonblocking | Stage::OtherClock | Stage::Odd => below(init)?,
        };
        // Before its exec it is the one that stands around it.
        let is_around =
            proc::command_line(main).contains(" adopt ") || proc::program(main).ends_with("unshare");
        if is_around {
            return None;
        }
        Some(*self.first.get_or_init(|| main))
    }

    /// All processes of the namespace that are not gone, its first one left out where it is ours.
    pub(crate) fn all(&self) -> Vec<Process> {
        let mut all = proc::below(proc::pid(&self.child));
        if self.stage != Stage::First {
            all.retain(|process| !process.command.contains(" adopt "));
        }
        all
    }

    /// The chaos children that live, and what they made.
    pub(crate) fn children(&self) -> Vec<Process> {
        let program = self.cell.place.chaos.display().to_string();
        let is_chaos = |process: &Process| {
            process.state != 'Z' && process.program == program && !process.command.contains(" adopt ")
        };
        self.all().into_iter().filter(is_chaos).collect()
    }

    /// The pids of those with this word among theirs.
    pub(crate) fn with(&self, word: &str) -> Vec<i32> {
        let children = self.children().into_iter().filter(|child| child.command.contains(word));
        let mut pids: Vec<i32> = children.map(|child| child.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// What belongs to the peer itself.
    pub(crate) fn own(&self) -> Vec<Process> {
        let ours = self.cell.place.chaos.display().to_string();
        let shells = ["/dash", "/bash", "/sh", "/sleep"];
        let is_own = |process: &Process| {
            process.state != 'Z'
                && process.program != ours
                && (Some(process.pid) == self.main()
                    || !shells.iter().any(|shell| process.program.ends_with(shell)))
        };
        self.all().into_iter().filter(is_own).collect()
    }

    /// The most memory that any of its own ever had, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.own().iter().map(|process| proc::peak_kib(process.pid) / 1024).max().unwrap_or(0)
    }

    /// Processor time of all its own.
    pub(crate) fn cpu(&self) -> Duration {
        self.own().iter().map(|process| proc::cpu(process.pid)).sum()
    }

    /// Waits for the files with which children say that they have begun, and a moment more.
    ///
    /// # Errors
    /// They did not come.
    pub(crate) fn begun(&self, files: &[&str]) -> Told {
        let all = || files.iter().all(|file| self.cell.file(file).exists());
        if within(BEGIN, all).is_none() {
            return fails(format!("its processes did not begin: {}", self.said()));
        }
        thread::sleep(SETTLE);
        Ok(())
    }

    /// The same for so many processes.
    ///
    /// # Errors
    /// They did not come.
    pub(crate) fn counted(&self, count: usize) -> Told {
        match within(BEGIN, || self.children().len() >= count) {
            Some(_) => Ok(()),
            None => fails(format!("{} of {count} processes began", self.children().len())),
        }
    }

    pub(crate) fn signal(&self, signal: i32) {
        if let Some(main) = self.main() {
            proc::send(main, signal);
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.main().is_some_and(proc::is_alive)
    }

    /// Whether the peer itself ends within so long.
    pub(crate) fn ends_within(&self, time: Duration) -> Option<Duration> {
        within(time, || !self.is_alive())
    }

    /// The peer has ended in time, and nothing of what it ran is left.
    ///
    /// # Errors
    /// What was seen instead.
    pub(crate) fn ends_clean(&self, time: Duration) -> Told {
        let ended = self.ends_within(time);
        let left = self.children();
        match (ended, left.len()) {
            (Some(_), 0) => Ok(()),
            (Some(_), 1) => fails("ended and left a process behind"),
            (Some(_), count) => fails(format!("ended and left {count} processes behind")),
            (None, 0) => fails(format!("still there {} s after its processes", time.as_secs())),
            (None, _) => fails(format!("still there with its processes after {} s", time.as_secs())),
        }
    }

    /// The code of the peer, as soon as it has ended; what it left is killed for that.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < SLACK {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.code = status.code().or(status.signal().map(|signal| 128 + signal));
                break;
            }
            if !self.is_alive() {
                for left in self.all() {
                    proc::send(left.pid, libc::SIGKILL);
                }
            }
            thread::sleep(TICK);
        }
        self.code
    }

    /// What came out until it has been quiet for a while.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.listener.settle(Duration::from_millis(700));
        self.listener.bytes()
    }

    /// Whether this comes out in time.
    pub(crate) fn hears(&self, text: &str, time: Duration) -> bool {
        within(time, || self.listener.contains(text.as_bytes())).is_some()
    }

    /// The last that it said on either stream.
    pub(crate) fn said(&self) -> String {
        let errors = fs::read(self.cell.file("stderr")).unwrap_or_default();
        let text = [self.listener.bytes(), errors].concat();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        text.trim().to_owned()
    }

    /// Whether this was said on either stream.
    pub(crate) fn says(&self, text: &str) -> bool {
        let errors = fs::read_to_string(self.cell.file("stderr")).unwrap_or_default();
        self.listener.contains(text.as_bytes()) || errors.contains(text)
    }

    /// Moves the wall clock of [`Stage::OtherClock`].
    ///
    /// # Errors
    /// The file of the clock.
    pub(crate) fn set_clock(&self, seconds: i64) -> io::Result<()> {
        let clock = fs::OpenOptions::new().write(true).open(self.cell.file("clock"))?;
        clock.write_all_at(&seconds.to_ne_bytes(), 0)
    }

    /// Starts it once more after its end ([`Stage::Twice`]).
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn start_again(&self) -> io::Result<()> {
        fs::write(self.cell.file("again"), [])
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.code.is_none() {
            // The first process of the namespace dies with it, and all others with that. Both fail only if it is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// When this was first true, if it was so in time.
pub(crate) fn within(time: Duration, is_true: impl Fn() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    loop {
        if is_true() {
            return Some(begun.elapsed());
        }
        if begun.elapsed() >= time {
            return None;
        }
        thread::sleep(TICK);
    }
}

/// Watches for so long, and is told at every tick.
pub(crate) fn watch(time: Duration, mut look: impl FnMut(Duration)) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        look(begun.elapsed());
        thread::sleep(TICK);
    }
}

fn set_nonblocking(fd: i32) -> io::Result<()> {
    // SAFETY: it sets a flag of a descriptor of ours, and touches no memory.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_WRONLY | libc::O_NONBLOCK) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How often a file says so: each life of a child that counts itself is a byte.
pub(crate) fn lives(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}
