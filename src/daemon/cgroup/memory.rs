//! How much memory there is, and how often the kernel killed somebody for want of it.
//!
//! A limit is the smallest on the way up that can be seen. The counters are `oom_kill` of `memory.events` (version 2; those
//! below included), of `memory.oom_control` (version 1; this cgroup alone) and, where neither can be read, of /proc/vmstat
//! (the whole machine's). The kernel counts before it kills: who is seen dead has been counted.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::api::OutOfMemory;

use super::place::{Place, Seat};

/// A counter of processes that the kernel killed for memory.
#[derive(Debug)]
pub(super) struct Counter {
    file: File,
    /// Where it stood when it was last read.
    seen: u64,
    scope: Scope,
}

/// Whose processes a counter counts, and how it is told what there was too little of.
#[derive(Debug)]
enum Scope {
    /// Those of a cgroup of version 2 and below; who may have a limit on the way up from it, the lowest first.
    Unified(Vec<Level>),
    /// Those of a cgroup of version 1, and its directory.
    Legacy(PathBuf),
    /// Everybody's.
    Machine,
}

/// A cgroup of version 2. A limit can be set, or changed, at any time (`docker update`, `systemctl set-property`).
#[derive(Debug)]
struct Level {
    directory: PathBuf,
    /// How often it was reached: `oom` of `memory.events`.
    reached: u64,
}

/// The limit of a cgroup of version 1 without one is the largest number of whole pages; no machine has half of that.
const NO_LIMIT: u64 = 1 << 62;

/// Pages are counted some at a time: who had come so near to a limit, in bytes, had reached it.
const NEAR: u64 = 1 << 20;

/// The smallest limit that holds for us, in bytes.
pub(super) fn limit(place: &Place) -> Option<u64> {
    let unified = place.unified.iter().flat_map(Seat::way_up).filter_map(limit_of);
    let legacy = place.memory.as_ref().and_then(|seat| legacy_limit(&seat.directory));
    unified.chain(legacy).min()
}

/// `memory.max` of one cgroup of version 2.
fn limit_of(directory: &Path) -> Option<u64> {
    fs::read_to_string(directory.join("memory.max")).ok()?.trim().parse().ok()
}

/// That of a cgroup of version 1 and of those above it, whether they can be seen or not.
fn legacy_limit(directory: &Path) -> Option<u64> {
    let hierarchical = fs::read_to_string(directory.join("memory.stat"));
    let hierarchical = hierarchical.ok().and_then(|text| field(&text, "hierarchical_memory_limit"));
    let own = || fs::read_to_string(directory.join("memory.limit_in_bytes")).ok()?.trim().parse().ok();
    hierarchical.or_else(own).filter(|limit| *limit < NO_LIMIT)
}

/// The number behind a word at the beginning of a line.
pub(super) fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

impl Counter {
    /// The one that concerns us; `None` where there is none that can be read.
    pub(super) fn ours(place: &Place) -> Option<Counter> {
        let unified = place.unified.as_ref().and_then(Counter::unified);
        let legacy = || {
            let directory = &place.memory.as_ref()?.directory;
            Counter::open(&directory.join("memory.oom_control"), Scope::Legacy(directory.clone()))
        };
        let machine = || Counter::open(Path::new("/proc/vmstat"), Scope::Machine);
        unified.or_else(legacy).or_else(machine)
    }

    /// That of a cgroup of version 2.
    pub(super) fn unified(seat: &Seat) -> Option<Counter> {
        let level = |directory: &Path| Level { directory: directory.to_owned(), reached: reached(directory) };
        let levels = seat.way_up().map(level);
        Counter::open(&seat.directory.join("memory.events"), Scope::Unified(levels.collect()))
    }

    fn open(path: &Path, scope: Scope) -> Option<Counter> {
        let mut counter = Counter { file: File::open(path).ok()?, seen: 0, scope };
        counter.seen = counter.read()?;
        Some(counter)
    }

    /// By how much it has risen since it was last asked.
    pub(super) fn rise(&mut self) -> u64 {
        let Some(now) = self.read() else { return 0 };
        let rise = now.saturating_sub(self.seen);
        self.seen = now;
        rise
    }

    /// Whether those that it counts are of our cgroup, and not just anybody's.
    pub(super) fn is_of_a_cgroup(&self) -> bool {
        match self.scope {
            Scope::Unified(_) | Scope::Legacy(_) => true,
            Scope::Machine => false,
        }
    }

    /// What there was too little of when it rose. A limit that a container's engine has set where we cannot see it looks
    /// like the machine's own end.
    pub(super) fn why(&mut self) -> OutOfMemory {
        let limit = match &mut self.scope {
            Scope::Unified(levels) => {
                // Above a limit that was reached all others have counted it, too.
                let mut hit = None;
                for level in levels {
                    let now = reached(&level.directory);
                    if now > level.reached {
                        hit = hit.or_else(|| limit_of(&level.directory));
                    }
                    level.reached = now;
                }
                hit
            }
            // Who was never at its limit was not killed for it. Where swap is limited as well, as docker does, no failure is
            // counted, but how near it came.
            Scope::Legacy(directory) => {
                let number = |file: &str| -> Option<u64> {
                    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
                };
                let limit = legacy_limit(directory);
                let has_failed = number("memory.failcnt").is_some_and(|failures| failures > 0);
                let most = number("memory.max_usage_in_bytes").unwrap_or(0);
                limit.filter(|limit| has_failed || most.saturating_add(NEAR) >= *limit)
            }
            // Anybody's on this machine: it may have been another one.
            Scope::Machine => return OutOfMemory::Perhaps,
        };
        limit.map_or(OutOfMemory::Machine, |bytes| OutOfMemory::Limit { bytes })
    }

    fn read(&self) -> Option<u64> {
        // As /proc/vmstat is some thousand bytes long; the others are a hundred.
        let mut text = vec![0; if self.is_of_a_cgroup() { 512 } else { 16 * 1024 }];
        let mut filled = 0;
        while filled < text.len() {
            match self.file.read_at(&mut text[filled..], filled as u64).ok()? {
                0 => break,
                count => filled += count,
            }
        }
        field(&String::from_utf8_lossy(&text[..filled]), "oom_kill")
    }
}

/// How often a limit was reached and nothing could be freed.
fn reached(directory: &Path) -> u64 {
    let events = fs::read_to_string(directory.join("memory.events"));
    events.ok().and_then(|text| field(&text, "oom")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "low 0\noom 3\noom_kill 4\noom_group_kill 5\n";
        assert_eq!(
            [field(text, "oom"), field(text, "oom_kill"), field(text, "oo")],
            [Some(3), Some(4), None]
        );
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"), Some(7));
    }

    #[test]
    fn a_limit_that_was_set_while_we_ran_is_the_one_that_was_reached() {
        let directory = std::env::temp_dir().join(format!("supervise-memory-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a place for files");
        let set = |file: &str, text: &str| fs::write(directory.join(file), text).expect("it is ours");
        set("memory.max", "max\n");
        set("memory.events", "oom 0\noom_kill 0\n");
        let mut counter = Counter::unified(&Seat::top(&directory)).expect("it can be read");
        set("memory.max", "67108864\n");
        set("memory.events", "oom 1\noom_kill 1\n");
        let seen = (counter.rise(), counter.why());
        // The limit was not reached again: it was the machine's own end.
        set("memory.events", "oom 1\noom_kill 2\n");
        let then = (counter.rise(), counter.why());
        fs::remove_dir_all(&directory).expect("it is ours");
        assert_eq!(seen, (1, OutOfMemory::Limit { bytes: 64 << 20 }));
        assert_eq!(then, (1, OutOfMemory::Machine));
    }

    #[test]
    fn the_machine_counts_or_nobody_does() {
        let counter = Counter::ours(&Place::default());
        // A kernel before 4.13, or a sandbox.
        let there = fs::read_to_string("/proc/vmstat").is_ok_and(|text| field(&text, "oom_kill").is_some());
        assert_eq!(counter.is_some(), there);
        if let Some(mut counter) = counter {
            assert!(!counter.is_of_a_cgroup());
            assert_eq!(counter.why(), OutOfMemory::Perhaps);
        }
    }
}
