//! A queue of jobs in a directory, safe between any number of processes because rename(2) is atomic.
//!
//! ```text
//! writing/ID -> waiting/ID -> doing/ID@SLOT -> done/ID
//! ```
//!
//! A job is a number in a file; the result takes its place. A worker that dies leaves its job under its slot's name,
//! and the next worker of the same slot takes it up again: nothing is lost, and no two workers ever do one job.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fmt, fs, io, process};

/// The directory of the queue.
pub(crate) struct Spool {
    root: PathBuf,
}

/// A job that this worker has claimed.
pub(crate) struct Job {
    /// Its name in the queue.
    pub(crate) id: String,
    /// What to do: count the primes below it.
    pub(crate) below: u64,
    file: PathBuf,
}

/// Where a job stands.
pub(crate) enum State {
    /// No worker has it.
    Waiting,
    /// A worker has it.
    Doing,
    /// Done, with this result.
    Done(String),
}

/// How many jobs stand where.
pub(crate) struct Count {
    waiting: usize,
    doing: usize,
    done: usize,
}

impl Spool {
    /// Opens the queue in `$SPOOL`, else in `target/demo-spool`, and makes it where it is missing.
    ///
    /// # Errors
    /// The system's, where a directory cannot be made.
    pub(crate) fn open() -> io::Result<Spool> {
        let root = env::var_os("SPOOL").map_or_else(|| PathBuf::from("target/demo-spool"), PathBuf::from);
        for stage in ["writing", "waiting", "doing", "done"] {
            fs::create_dir_all(root.join(stage))?;
        }
        Ok(Spool { root })
    }

    /// Puts a job into the queue and returns its id. It is written aside and renamed, so nobody ever sees half of it.
    ///
    /// # Errors
    /// The system's, where it cannot be written.
    pub(crate) fn submit(&self, below: u64) -> io::Result<String> {
        let id = fresh_id();
        let aside = self.root.join("writing").join(&id);
        fs::write(&aside, below.to_string())?;
        fs::rename(aside, self.root.join("waiting").join(&id))?;
        Ok(id)
    }

    /// Takes a job out of the queue, the oldest first: whoever renames its file has it.
    ///
    /// # Errors
    /// The system's, where the queue cannot be read, or a job is no number.
    pub(crate) fn claim(&self, slot: &str) -> io::Result<Option<Job>> {
        for id in names(&self.root.join("waiting"))? {
            let file = self.root.join("doing").join(format!("{id}@{slot}"));
            match fs::rename(self.root.join("waiting").join(&id), &file) {
                Ok(()) => return Job::read(id, file).map(Some),
                // Another worker was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A job that an earlier worker of this slot began and did not end: a slot never has two workers at a time.
    ///
    /// # Errors
    /// As [`Spool::claim`].
    pub(crate) fn unfinished(&self, slot: &str) -> io::Result<Option<Job>> {
        let suffix = format!("@{slot}");
        let doing = self.root.join("doing");
        let left = names(&doing)?.into_iter().find(|name| name.ends_with(&suffix));
        left.map(|name| Job::read(name.trim_end_matches(&suffix).to_owned(), doing.join(&name))).transpose()
    }

    /// Puts the result in the place of the job.
    ///
    /// # Errors
    /// The system's, where it cannot be written.
    pub(crate) fn finish(&self, job: Job, result: u64) -> io::Result<()> {
        let aside = self.root.join("writing").join(&job.id);
        fs::write(&aside, format!("{result} primes below {}", job.below))?;
        fs::rename(aside, self.root.join("done").join(&job.id))?;
        fs::remove_file(job.file)
    }

    /// Where the job of that id stands; `None` where there is no such job.
    ///
    /// # Errors
    /// The system's, where the queue cannot be read.
    pub(crate) fn state(&self, id: &str) -> io::Result<Option<State>> {
        // In the order in which a job moves: looked for the other way round, one on its way would be missed.
        if self.root.join("waiting").join(id).try_exists()? {
            return Ok(Some(State::Waiting));
        }
        let begun = format!("{id}@");
        if names(&self.root.join("doing"))?.iter().any(|name| name.starts_with(&begun)) {
            return Ok(Some(State::Doing));
        }
        match fs::read_to_string(self.root.join("done").join(id)) {
            Ok(result) => Ok(Some(State::Done(result))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many jobs stand where.
    ///
    /// # Errors
    /// The system's, where the queue cannot be read.
    pub(crate) fn count(&self) -> io::Result<Count> {
        let count = |stage| names(&self.root.join(stage)).map(|names| names.len());
        Ok(Count { waiting: count("waiting")?, doing: count("doing")?, done: count("done")? })
    }
}

impl Job {
    fn read(id: String, file: PathBuf) -> io::Result<Job> {
        let text = fs::read_to_string(&file)?;
        let below = text.trim().parse().map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("job `{id}`: {error}; remove {}", file.display()),
            )
        })?;
        Ok(Job { id, below, file })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting, {} in progress, {} done", self.waiting, self.doing, self.done)
    }
}

/// An id that no other process makes, and that sorts by time.
fn fresh_id() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("{now}-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}
