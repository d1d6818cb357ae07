//! Whether every earlier run of a project ended well: then nothing of it can be left, and nobody needs to search.
//!
//! A file beside the socket has a `+` for each run that began and a `-` for each that ended well. Every run holds it under
//! a shared lock. A start that finds nobody else there begins the count anew: it has either nothing to search, or searches.
//! In doubt the answer is no: a search costs milliseconds.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};

use crate::api::place::record_name;

use super::place::{open_own, private_directory};

/// A run's part in the record, from its start to its end.
#[derive(Debug)]
pub(in crate::daemon) struct Record {
    was_clean: bool,
    /// None where there is no record.
    held: Option<Flock<File>>,
}

/// How long another start may keep us from our part: far longer than its three system calls take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes part in the record of a project, in the first of these directories that can be used. What stands in the others
/// counts as well: a run may have had another environment.
pub(in crate::daemon) fn take_record(project: &str, directories: &[PathBuf]) -> Record {
    let usable = |directory: &&PathBuf| private_directory(directory).is_ok();
    let Some(ours) = directories.iter().find(usable) else { return Record { was_clean: false, held: None } };
    let usual = super::usual();
    let others = directories.iter().chain([&usual]).filter(|directory| *directory != ours);
    let mut clean = true;
    for other in others {
        // Each is looked at: what is not clean is searched for by us, and then forgotten.
        clean &= other_is_clean(&other.join(record_name(project)));
    }
    let record = take_part(&ours.join(record_name(project)));
    Record { was_clean: record.was_clean && clean, ..record }
}

fn take_part(path: &Path) -> Record {
    let none = Record { was_clean: false, held: None };
    let Ok(mut file) = open_own(path) else { return none };
    // Between two starts this lock decides; it goes with the descriptor, not with us (fcntl(2), open file description).
    if !enter(&file) {
        // With this in it the record is no good until somebody has searched.
        let _ = append(&mut file, b"?");
        return none;
    }
    let (was_clean, held) = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut alone) => {
            let was_clean = begin_anew(&mut alone).unwrap_or(false);
            // Between two locks of a conversion there is none (flock(2)), but nobody else gets in.
            let shared = alone.relock(FlockArg::LockSharedNonblock).is_ok();
            (was_clean, shared.then_some(alone))
        }
        Err((mut file, _)) => {
            let counted = append(&mut file, b"+").is_ok();
            let held = Flock::lock(file, FlockArg::LockSharedNonblock).ok();
            (false, held.filter(|_| counted))
        }
    };
    if let Some(held) = &held {
        leave(held);
    }
    Record { was_clean, held }
}

impl Record {
    /// Whether every run before has ended well, and none is running.
    pub(in crate::daemon) fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// This run has ended, and nothing of it is left.
    pub(in crate::daemon) fn end_clean(self) {
        if let Some(mut held) = self.held
            && let Err(error) = append(&mut held, b"-")
        {
            tracing::debug!(%error, "the next start will search for leftovers");
        }
    }
}

/// Whether as many have ended as have begun; from now on only we have begun.
fn begin_anew(file: &mut File) -> std::io::Result<bool> {
    let marks = marks(file)?;
    file.set_len(0)?;
    append(file, b"+")?;
    Ok(!marks.is_empty() && balanced(&marks))
}

/// Whether nothing in a record where we have no part speaks of something left behind.
fn other_is_clean(path: &Path) -> bool {
    if !path.exists() {
        return true;
    }
    let Ok(file) = open_own(path) else { return true };
    // Whoever runs there looks after its own.
    let Ok(mut alone) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return false };
    marks(&mut alone).is_ok_and(|marks| balanced(&marks)) || {
        // Should we not get to the search, what we have begun tells it to the next start.
        let _ = alone.set_len(0);
        false
    }
}

fn marks(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut marks = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut marks)?;
    Ok(marks)
}

fn balanced(marks: &[u8]) -> bool {
    let count = |mark| memchr::memchr_iter(mark, marks).count();
    count(b'+') == count(b'-') && count(b'+') * 2 == marks.len()
}

fn append(file: &mut File, mark: &[u8]) -> std::io::Result<()> {
    // Each mark has to land behind the others, whoever writes at the same time.
    fcntl(&*file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    file.write_all(mark)
}

fn enter(file: &File) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let lock = whole(libc::F_WRLCK);
    while fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).is_err() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn leave(file: &File) {
    if let Err(errno) = fcntl(file, FcntlArg::F_OFD_SETLK(&whole(libc::F_UNLCK))) {
        tracing::debug!(%errno, "the record of runs stays locked");
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the constants of fcntl(2) are small")]
fn whole(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;

    fn take(scratch: &Scratch) -> Record {
        take_record("project", &[scratch.path("a"), scratch.path("b")])
    }

    #[test]
    fn the_first_run_of_all_is_not_known_to_follow_a_clean_one() {
        let scratch = Scratch::new();
        assert!(!take(&scratch).was_clean());
    }

    #[test]
    fn what_ended_well_is_clean_once() {
        let scratch = Scratch::new();
        take(&scratch).end_clean();
        let killed = take(&scratch);
        assert!(killed.was_clean());
        drop(killed);
        let after = take(&scratch);
        assert!(!after.was_clean(), "the one before did not end well");
        after.end_clean();
        assert!(take(&scratch).was_clean());
    }

    #[test]
    fn whoever_ends_well_does_not_speak_for_one_that_was_killed() {
        let scratch = Scratch::new();
        take(&scratch).end_clean();
        let (killed, other) = (take(&scratch), take(&scratch));
        assert!(killed.was_clean() && !other.was_clean());
        drop(killed);
        other.end_clean();
        assert!(!take(&scratch).was_clean());
    }

    #[test]
    fn two_that_end_well_leave_a_clean_record() {
        let scratch = Scratch::new();
        let (one, other) = (take(&scratch), take(&scratch));
        one.end_clean();
        other.end_clean();
        assert!(take(&scratch).was_clean());
    }

    #[test]
    fn a_run_in_another_environment_counts_too() {
        let scratch = Scratch::new();
        take(&scratch).end_clean();
        drop(take_record("project", &[scratch.path("b")]));
        assert!(!take(&scratch).was_clean(), "one in `b` was killed");
        // That was searched for, and this one was killed as well.
        assert!(!take(&scratch).was_clean());
    }

    #[test]
    fn without_a_place_and_with_nonsense_in_it_nothing_is_clean() {
        let scratch = Scratch::new();
        take_record("project", &[PathBuf::from("/proc/nowhere")]).end_clean();
        assert!(!take_record("project", &[PathBuf::from("/proc/nowhere")]).was_clean());
        take(&scratch).end_clean();
        std::fs::write(scratch.path("a").join(record_name("project")), b"+-\n").expect("it is ours");
        assert!(!take(&scratch).was_clean());
    }
}
