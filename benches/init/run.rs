//! One init with a child below it.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Fate;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that can be PID 1.
pub(super) struct Init {
    pub(super) name: String,
    pub(super) program: PathBuf,
    kind: Kind,
    /// What was seen of its signals.
    pub(super) fates: RefCell<Vec<(i32, Fate)>>,
}

enum Kind {
    /// Its child is in a Procfile.
    Supervise,
    /// Its child follows these words.
    Words(&'static [&'static str]),
}

impl Init {
    pub(super) fn supervise(name: &str, program: &Path) -> Init {
        Init {
            name: name.to_owned(),
            program: program.to_owned(),
            kind: Kind::Supervise,
            fates: RefCell::default(),
        }
    }

    /// # Errors
    /// It is not there.
    pub(super) fn other(name: &str, words: &'static [&'static str]) -> io::Result<Init> {
        let path = std::env::var("PATH").unwrap_or_default();
        let program =
            path.split(':').map(|directory| Path::new(directory).join(name)).find(|file| file.is_file());
        let program = program.ok_or_else(|| {
            io::Error::other(format!("there is no {name}: `.ci/install-inits` installs it"))
        })?;
        Ok(Init { name: name.to_owned(), program, kind: Kind::Words(words), fates: RefCell::default() })
    }

    /// Its words, itself first, to have this run below it; a Procfile is made where it needs one.
    fn words(&self, scratch: &Path, command: &[String]) -> io::Result<Vec<String>> {
        let program = self.program.display().to_string();
        match self.kind {
            Kind::Supervise => {
                let procfile = scratch.join("Procfile");
                fs::write(&procfile, format!("job: {}\n", command.join(" ")))?;
                let flags =
                    ["start", "--restart", "never", "--socket", "none", "--no-port", "--color", "never"];
                let words = flags.map(str::to_owned).into_iter();
                let file = ["-f".to_owned(), procfile.display().to_string()];
                Ok([program].into_iter().chain(words).chain(file).collect())
            }
            Kind::Words(words) => {
                let words = words.iter().map(|word| (*word).to_owned());
                Ok([program].into_iter().chain(words).chain(command.iter().cloned()).collect())
            }
        }
    }
}

/// Where everything is.
pub(super) struct Place {
    pub(super) scratch: PathBuf,
    pub(super) child: PathBuf,
}

/// unshare(1): PID 1, which ends with it.
const AS_PID_1: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

impl Place {
    /// A new file for each run: what the kernel ends with an init may write a last note.
    fn new_notes(&self) -> io::Result<PathBuf> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let notes = self.scratch.join(format!("notes-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&notes, [])?;
        Ok(notes)
    }

    /// The child's words: what it does, its file, what else it needs.
    fn command(&self, notes: &Path, words: &[&str]) -> Vec<String> {
        let mut command = vec![self.child.display().to_string(), words[0].to_owned()];
        command.push(notes.display().to_string());
        command.extend(words[1..].iter().map(|word| (*word).to_owned()));
        command
    }

    fn spawn(&self, around: &[&str], words: &[String]) -> io::Result<Child> {
        let all: Vec<&str> = around.iter().copied().chain(words.iter().map(String::as_str)).collect();
        let output = fs::File::create(self.scratch.join("output"))?;
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: one system call, which touches no memory: no terminal, as in a container.
        unsafe {
            command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
        }
        command.spawn()
    }

    /// An init as PID 1 with the child below it.
    pub(super) fn start(&self, init: &Init, words: &[&str]) -> io::Result<Run> {
        let notes = self.new_notes()?;
        let child = self.spawn(&AS_PID_1, &init.words(&self.scratch, &self.command(&notes, words))?)?;
        let output = self.scratch.join("output");
        Ok(Run { child, notes, output, ended: false })
    }

    /// With what code the init ends when its child ends with this one.
    pub(super) fn exit_code(&self, init: &Init, code: i32) -> io::Result<Option<i32>> {
        let command = [self.child.display().to_string(), "exit".to_owned(), code.to_string()];
        Ok(self.spawn(&AS_PID_1, &init.words(&self.scratch, &command)?)?.wait()?.code())
    }

    /// From the moment before the init is started to the child's main; not as PID 1, whose namespace takes longer than both.
    pub(super) fn time_to_main(&self, init: &Init) -> io::Result<Duration> {
        let notes = self.new_notes()?;
        let words = init.words(&self.scratch, &self.command(&notes, &["begin"]))?;
        let begin = now();
        let child = self.spawn(&[], &words)?;
        let output = self.scratch.join("output");
        let mut run = Run { child, notes, output, ended: false };
        let time = run.wait_for_notes(8)?;
        let main = u64::from_ne_bytes(time.try_into().map_err(|_| io::Error::other("no time was noted"))?);
        send(run.outer(), libc::SIGTERM);
        run.wait_for_end()?;
        Ok(Duration::from_nanos(main - begin))
    }
}

/// An init that runs.
pub(super) struct Run {
    child: Child,
    notes: PathBuf,
    output: PathBuf,
    ended: bool,
}

impl Run {
    fn outer(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// The init: the only child of unshare(1).
    fn init(&self) -> Option<i32> {
        let outer = self.outer();
        let list = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        list.split_whitespace().next()?.parse().ok()
    }

    pub(super) fn signal(&self, signal: i32) {
        if let Some(init) = self.init() {
            send(init, signal);
        }
    }

    /// How much it has said.
    pub(super) fn output_length(&self) -> u64 {
        fs::metadata(&self.output).map_or(0, |file| file.len())
    }

    pub(super) fn is_alive(&self) -> bool {
        self.init().is_some_and(|init| status(init, "State").is_some_and(|state| !state.starts_with('Z')))
    }

    /// What the child has noted, as soon as it is so much, or when the time is over.
    pub(super) fn notes_within(&self, count: usize, time: Duration) -> Vec<u8> {
        let deadline = Instant::now() + time;
        loop {
            let notes = fs::read(&self.notes).unwrap_or_default();
            if notes.len() >= count || Instant::now() >= deadline {
                return notes;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Everything that the child has noted.
    pub(super) fn notes(&self) -> Vec<u8> {
        fs::read(&self.notes).unwrap_or_default()
    }

    /// Waits until the child has noted this signal so often, or the init has ended; not for long, since the signal before it may
    /// have stopped the child.
    pub(super) fn wait_for_note_or_end(&self, signal: i32, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(2);
        let noted = || self.notes().iter().filter(|number| i32::from(**number) == signal).count();
        while noted() < times && self.is_alive() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn wait_for_notes(&self, count: usize) -> io::Result<Vec<u8>> {
        let notes = self.notes_within(count, PATIENCE);
        if notes.len() >= count {
            return Ok(notes);
        }
        let said = fs::read_to_string(&self.output).unwrap_or_default();
        Err(io::Error::other(format!("the child below it did not begin: {said}")))
    }

    /// How many zombies the init has in the end, which may take so long to come.
    pub(super) fn zombies_left(&self, time: Duration) -> usize {
        let deadline = Instant::now() + time;
        loop {
            let left = self.init().map_or(0, zombies_of);
            let waiting = self.init().map_or(0, children_of);
            // The leader is alive.
            if waiting <= 1 || Instant::now() >= deadline {
                return left;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// RSS and PSS of the init.
    pub(super) fn memory_kib(&self) -> io::Result<(u64, u64)> {
        let init = self.init().ok_or_else(|| io::Error::other("it has ended"))?;
        let rollup = fs::read_to_string(format!("/proc/{init}/smaps_rollup"))?;
        let field = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
        };
        Ok((field("Rss:"), field("Pss:")))
    }

    pub(super) fn wait_for_end(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Err(io::Error::other("it does not end"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.ended = true;
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            // Its init dies with it, and all others with that. Both fail only if it is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // What cannot be removed lies below `target`.
        let _ = fs::remove_file(&self.notes);
    }
}

fn send(pid: i32, signal: i32) {
    if pid > 1 {
        // SAFETY: no memory is involved.
        unsafe { libc::kill(pid, signal) };
    }
}

fn status(pid: i32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

fn child_pids(of: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn children_of(pid: i32) -> usize {
    child_pids(pid).len()
}

fn zombies_of(pid: i32) -> usize {
    let is_zombie = |pid: &i32| status(*pid, "State").is_some_and(|state| state.starts_with('Z'));
    child_pids(pid).iter().filter(|pid| is_zombie(pid)).count()
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes into a value of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
