//! One run of one side: a supervisor with its children, and the end of all of them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::board::{Board, Life};

/// Who supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// `supervise`: the build for this bench, or the one that was named.
    Ours,
    /// floor.c.
    Floor,
}

/// Where things are.
pub(crate) struct Place {
    /// `supervise`.
    pub(crate) ours: PathBuf,
    pub(crate) floor: PathBuf,
    pub(crate) child: PathBuf,
    /// For Procfiles and output; every run has a directory of its own in it.
    pub(crate) scratch: PathBuf,
    /// Where sockets are, the same for all rounds.
    pub(crate) runtime: PathBuf,
}

impl Place {
    /// A directory for sockets that is nobody else's; in memory where that can be, as /run/user is.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn runtime(scratch: &Path) -> io::Result<PathBuf> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory } else { scratch };
        let runtime = place.join(format!("supervise-bench-{}", std::process::id()));
        fs::create_dir_all(&runtime)?;
        fs::set_permissions(&runtime, Permissions::from_mode(0o700))?;
        Ok(runtime)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays takes a few bytes until the next boot.
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// What a supervisor has to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) count: u32,
    pub(crate) command: Form,
    pub(crate) end: End,
}

/// What the command of a job looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Words that need no shell.
    Words,
    /// One that only a shell understands, and that it stays for.
    Shell,
}

/// What a child does, and what happens when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It waits; it is started again.
    Restart,
    /// It ends at once; it is not started again.
    Once,
}

/// A supervisor that was started. However this is left, it ends with everything that it started.
pub(crate) struct Run {
    pub(crate) board: Arc<Board>,
    supervisor: Child,
    directory: PathBuf,
}

/// Nothing that is measured takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the board is looked at. The times are the children's own, so this is for our use of the processor only.
const GLANCE: Duration = Duration::from_millis(2);

impl Run {
    /// Executes a supervisor.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn begin(place: &Place, side: Side, job: Job) -> io::Result<Run> {
        let board = Arc::new(Board::new()?);
        let directory = place.scratch.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let child = plain(&place.child)?;
        let command = match (job.end, job.command) {
            (End::Restart, Form::Words) => format!("{child} {}", board.path()),
            (End::Restart, Form::Shell) => format!("{child} {} $LANG; :", board.path()),
            (End::Once, Form::Words) => child.to_owned(),
            (End::Once, Form::Shell) => format!("{child}; :"),
        };
        let mut supervisor = match side {
            Side::Ours => ours(place, &directory, job, &command)?,
            Side::Floor => floor(place, job, &command),
        };
        supervisor
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("stdout"))?)
            .stderr(File::create(directory.join("stderr"))?);
        let noted = Arc::clone(&board);
        // SAFETY: between fork and exec it makes two system calls and an atomic store.
        unsafe {
            supervisor.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                noted.note_execution();
                Ok(())
            });
        }
        Ok(Run { supervisor: supervisor.spawn()?, board, directory })
    }

    /// Waits until so many children in all have begun.
    ///
    /// # Errors
    /// They did not; what the supervisor said.
    pub(crate) fn wait_for(&mut self, count: usize) -> io::Result<Vec<Life>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lives = self.board.lives();
            if lives.len() >= count {
                return Ok(lives);
            }
            if let Some(status) = self.supervisor.try_wait()? {
                return Err(self.complain(&format!("the supervisor has ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.complain(&format!("only {} of {count} children came", lives.len())));
            }
            sleep(GLANCE);
        }
    }

    /// The supervisor's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// Sends a signal to the supervisor.
    ///
    /// # Errors
    /// kill(2)'s.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(pid(self.supervisor.id()), signal)?)
    }

    /// Waits until the supervisor has ended by itself.
    ///
    /// # Errors
    /// It failed.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        let status: ExitStatus = self.supervisor.wait()?;
        if status.success() { Ok(()) } else { Err(self.complain(&format!("the supervisor ended: {status}"))) }
    }

    /// Whether a supervisor that has ended left nobody behind: orphans would be our children.
    ///
    /// # Errors
    /// Who was left.
    pub(crate) fn check_empty(&self) -> io::Result<()> {
        match children() {
            left if left.is_empty() => Ok(()),
            left => Err(self.complain(&format!("processes were left: {left:?}"))),
        }
    }

    fn complain(&self, what: &str) -> io::Error {
        let said = ["stderr", "stdout"].map(|name| {
            let text = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(5)..].join("\n")
        });
        io::Error::other(format!("{what}\n{}", said.join("\n")))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.supervisor.kill();
        // An error means that it was waited for.
        let _ = self.supervisor.wait();
        // Orphans are our children now. Until we wait for one, its pid cannot be anybody else's.
        loop {
            let left = children();
            if left.is_empty() {
                break;
            }
            for child in left {
                // It may be a zombie; it ends in any case.
                let _ = kill(child, Signal::SIGKILL);
                // It is there until this.
                let _ = waitpid(child, None);
            }
        }
        // A directory that stays in the target directory harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Has orphans become our children, so that none escapes.
///
/// # Errors
/// prctl(2)'s.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The children of our main thread, which is the only one.
fn children() -> Vec<Pid> {
    let us = std::process::id();
    let list = fs::read_to_string(format!("/proc/self/task/{us}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn ours(place: &Place, directory: &Path, job: Job, command: &str) -> io::Result<Command> {
    // `web` is started again whatever its exit code, every other type is not after a 0.
    let process_type = match job.end {
        End::Restart => "web",
        End::Once => "job",
    };
    let procfile = directory.join("Procfile");
    fs::write(&procfile, format!("{process_type}: {command}\n"))?;
    let mut supervise = Command::new(&place.ours);
    supervise.env("XDG_RUNTIME_DIR", &place.runtime);
    supervise.arg("start").arg("-f").arg(procfile).arg(format!("{process_type}={}", job.count));
    for (name, _) in std::env::vars_os() {
        if name == "PORT" || name.to_string_lossy().starts_with("SUPERVISE_") {
            supervise.env_remove(name);
        }
    }
    Ok(supervise)
}

fn floor(place: &Place, job: Job, command: &str) -> Command {
    let mut floor = Command::new(&place.floor);
    if job.command == Form::Words {
        floor.arg("-x");
    }
    if job.end == End::Restart {
        floor.arg("-r");
    }
    floor.arg("web").arg(job.count.to_string()).arg(command);
    floor
}

/// A path that is one plain word in a Procfile.
fn plain(path: &Path) -> io::Result<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(&byte);
    path.to_str().filter(|path| path.bytes().all(is_plain)).ok_or_else(|| {
        io::Error::other(format!("the target directory `{}` must be of plain letters", path.display()))
    })
}

/// A pid as the system calls take it.
pub(crate) fn pid(number: u32) -> Pid {
    // No pid is above 4,194,304 (proc(5), pid_max).
    Pid::from_raw(number.try_into().unwrap_or(i32::MAX))
}
