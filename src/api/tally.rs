//! Counts since the supervisor began: what `/metrics` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ExitStatus, ProbeKind, Signal, TypeName};

/// What has happened to the instances of one process type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Which type.
    pub process_type: TypeName,
    /// Restarts after an instance had ended by itself.
    pub restarts: u64,
    /// Leaders that ended, by how.
    pub exits: BTreeMap<Ended, u64>,
    /// Tries of probes, by what came of them.
    pub probes: BTreeMap<(ProbeKind, Tried), u64>,
    /// From a start to being ready.
    pub starts: Histogram,
    /// From the stop signal to being gone.
    pub drains: Histogram,
}

/// How a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// With this code.
    Code(u8),
    /// By this signal's number.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match status {
            ExitStatus::Code(code) => Ended::Code(code),
            ExitStatus::Signal { signal, .. } => Ended::Signal(signal.number()),
            ExitStatus::OutOfMemory(_) => Ended::Signal(Signal::KILL.number()),
        }
    }
}

/// What came of a try of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tried {
    /// It is well.
    Passed,
    /// It is not.
    Failed,
    /// It could not be asked.
    NotRun,
}

/// Durations, counted by how long they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell under each bound of [`Histogram::BOUNDS`], and not under the one before.
    pub buckets: [u64; Histogram::BOUNDS.len()],
    /// How many there were, longer ones too.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    /// The upper bounds, in milliseconds: from a program that is there at once to one that takes its whole drain.
    pub const BOUNDS: [u64; 10] = [10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

    /// Counts one more.
    pub fn note(&mut self, duration: Duration) {
        self.count += 1;
        self.sum += duration;
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Some(bucket) = Histogram::BOUNDS.iter().position(|bound| millis <= *bound) {
            self.buckets[bucket] += 1;
        }
    }
}

impl Tally {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(process_type: TypeName) -> Tally {
        Tally {
            process_type,
            restarts: 0,
            exits: BTreeMap::new(),
            probes: BTreeMap::new(),
            starts: Histogram::default(),
            drains: Histogram::default(),
        }
    }
}
