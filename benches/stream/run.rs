//! One run of one side: a supervisor, its writers, our reader, and the end of all of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::board::Board;
use super::reader::{Faults, Kind, Seen, Verdict, read_all};
use super::side::{Place, Side};

/// What the writers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) writers: u32,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// All of them together write so many lines in writes of so many bytes; 0 is one write a line.
    Rush { lines: u64, chunk: usize },
    /// The first writes so many lines, [`HERTZ`] a second; the others are silent.
    Pace { lines: u64 },
    /// The same, and the second floods.
    Whisper { lines: u64 },
}

/// The size of a line with its newline.
pub(crate) const SIZE: usize = 100;

/// So many lines a second where time is looked at.
pub(crate) const HERTZ: u64 = 200;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Lines that were to come.
    pub(crate) lines: u64,
    /// Lines that came whole and in their place.
    pub(crate) whole: u64,
    pub(crate) faults: Faults,
    /// From the moment when all writers were there to the reading of the last line.
    pub(crate) seconds: f64,
    /// The supervisor's own, of all its processes, while lines were written.
    pub(crate) cpu_nanos: f64,
    /// The sum of their peaks.
    pub(crate) peak_kib: f64,
    /// Nanoseconds from write to read.
    pub(crate) delays: Vec<u64>,
}

/// Nothing that is measured is silent for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor that takes longer is killed.
const LEAVE: Duration = Duration::from_secs(3);

struct Run {
    supervisor: Child,
    reader: Option<JoinHandle<io::Result<Verdict>>>,
    directory: PathBuf,
}

/// Runs one side once.
///
/// # Errors
/// The system's, or that the writers did not come.
pub(crate) fn run(place: &Place, side: &Side, job: Job) -> io::Result<Outcome> {
    let board = Board::new(job.writers)?;
    let directory = place.scratch.join(format!("stream-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let writer = place.writer.display();
    let (work, lines, kind) = match job.work {
        Work::Rush { lines, chunk } => {
            let each = lines / u64::from(job.writers);
            let writers = job.writers as usize;
            let kind = Kind::Rush { size: SIZE, writers };
            (format!("rush {each} {SIZE} {chunk}"), each * u64::from(job.writers), kind)
        }
        // The silent ones of many are those of a whisper without a flood: number 1 is never there.
        Work::Pace { lines } => (format!("pace {lines} {HERTZ}"), lines, Kind::Timed),
        Work::Whisper { lines } => (format!("whisper {lines} {HERTZ}"), lines, Kind::Timed),
    };
    let mut command =
        side.command(place, &directory, job.writers, &format!("{writer} {} {work}", board.path()))?;
    let (ours, theirs) = io::pipe()?;
    command.current_dir(&directory).stdin(Stdio::null()).stdout(theirs);
    command.stderr(File::create(directory.join("stderr"))?);
    // SAFETY: between fork and exec it makes one system call.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?));
    }
    let seen = Arc::new(Seen::default());
    let told = Arc::clone(&seen);
    let reader = thread::spawn(move || read_all(ours, kind, &told));
    let mut run = Run { supervisor: command.spawn()?, reader: Some(reader), directory };
    // Its copy of the pipe is not to keep the reader from seeing the end.
    drop(command);
    run.measure(&board, &seen, lines, place)
}

impl Run {
    fn measure(&mut self, board: &Board, seen: &Seen, lines: u64, place: &Place) -> io::Result<Outcome> {
        let begun = Instant::now();
        let opened = loop {
            if let Some(opened) = board.opened() {
                break opened;
            }
            if begun.elapsed() > PATIENCE || self.supervisor.try_wait()?.is_some() {
                let said = fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "only {} writers came; {}",
                    board.arrived(),
                    said.trim()
                )));
            }
            sleep(Duration::from_micros(200));
        };
        let (before, _) = cost(&place.writer);
        let (mut whole, mut heard) = (0, Instant::now());
        while whole < lines && heard.elapsed() < PATIENCE / 10 {
            sleep(Duration::from_micros(500));
            let now = seen.whole.load(Ordering::Acquire);
            if now != whole {
                (whole, heard) = (now, Instant::now());
            }
        }
        let (after, peak_kib) = cost(&place.writer);
        let last = seen.last.load(Ordering::Relaxed);
        self.end()?;
        let reader = self.reader.take().ok_or_else(|| io::Error::other("the reader ends once"))?;
        let verdict = reader.join().map_err(|_| io::Error::other("the reader failed"))??;
        #[allow(clippy::cast_precision_loss)] // Less than a day.
        let seconds = last.saturating_sub(opened) as f64 / 1e9;
        let whole = seen.whole.load(Ordering::Acquire);
        let Verdict { faults, delays } = verdict;
        Ok(Outcome { lines, whole, faults, seconds, cpu_nanos: after - before, peak_kib, delays })
    }

    /// Ends everybody.
    fn end(&mut self) -> io::Result<()> {
        if let Ok(pid) = self.supervisor.id().try_into() {
            // It may have ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begun = Instant::now();
        while self.supervisor.try_wait()?.is_none() {
            if begun.elapsed() > LEAVE {
                self.supervisor.kill()?;
            }
            sleep(Duration::from_millis(2));
        }
        // Orphans are our children. Until we wait for one, its pid cannot be anybody else's.
        loop {
            let left = children_of(std::process::id());
            if left.is_empty() {
                return Ok(());
            }
            for child in left {
                // It may be a zombie; it ends in any case.
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
                // Whoever is not ready now is in the next round.
                let _ = waitpid(Pid::from_raw(child), Some(WaitPidFlag::WNOHANG));
            }
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What cannot be ended here was never there.
        let _ = self.end();
        // A directory that stays in the target directory harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Nanoseconds of processor time of every process below us that is no writer and no shell around one, and the sum of the most memory
/// that each had, in KiB.
fn cost(writer: &Path) -> (f64, f64) {
    let (mut nanos, mut kib) = (0.0, 0.0);
    let mut pids = children_of(std::process::id());
    while let Some(pid) = pids.pop() {
        pids.extend(children_of(pid.unsigned_abs()));
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_shell = ["sh", "dash", "bash", "busybox"].iter().any(|shell| program.ends_with(shell));
        if program == writer || is_shell {
            continue;
        }
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            // proc(5), schedstat: the first number is the time on a processor.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        kib += peak.and_then(|peak| peak.split_ascii_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    }
    (nanos, kib)
}

fn children_of(pid: u32) -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}
