//! How a running instance is, as far as is known: what is asked of it next, and what came of that so far.
//!
//! ```text
//!                  startup          readiness
//!   Starting ------------------+----------------> Ready <---> Lapsed
//!   (no probe of these two: Expected, and Ready when it has run for a second)
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::ProbeKind;
use crate::app::Timing;

use super::{Probes, Probing, READY_AFTER, Source, Time};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it may be sent work.
    pub readiness: Readiness,
    /// The probes that are in force: startup alone until it has passed, then the others.
    pub watches: Vec<Watch>,
}

/// Whether an instance may be sent work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Nobody is asked and nobody has told: if it still runs then, it is.
    Expected {
        /// When.
        at: Time,
    },
    /// It never was.
    Starting {
        /// Why not, as far as it was asked.
        why: Option<String>,
    },
    /// Yes.
    Ready {
        /// Since when.
        since: Time,
    },
    /// It was, and is not any more.
    Lapsed {
        /// Why.
        why: String,
    },
    /// It says that it is stopping: never again.
    Stopping,
}

/// A probe that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Which.
    pub probe: ProbeKind,
    /// What is next.
    pub next: Next,
    /// What came of the last tries.
    pub run: Run,
}

/// What is next for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// It is asked.
    Due {
        /// When.
        at: Time,
    },
    /// Its answer.
    Answer,
    /// A word of the instance's own.
    Word {
        /// Until when.
        until: Time,
    },
}

/// Tries that ended alike, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// There was none that counted, and it never passed.
    Fresh,
    /// They failed, and it never passed.
    Missed(Misses),
    /// They passed.
    Passed {
        /// How many.
        times: u32,
    },
    /// They failed, and it had passed before.
    Failed(Misses),
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misses {
    /// How many.
    pub times: u32,
    /// A failure before then is not another one: tries before the first success come faster than failures count.
    pub next_counts_from: Time,
}

/// What a try comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toll {
    /// Its threshold is reached, or was before.
    Reached,
    /// Not yet.
    Under,
}

/// Before the first success tries come at least so often: whoever waits for an instance shall not wait for a whole period.
const EAGER: Duration = Duration::from_secs(1);

impl Condition {
    /// That of an instance that was born now.
    pub(super) fn newborn(probes: &Probes, now: Time) -> Condition {
        match probes.startup {
            Some(startup) => Condition {
                readiness: Readiness::Starting { why: None },
                watches: vec![Watch::new(ProbeKind::Startup, startup, now)],
            },
            None => Condition {
                readiness: match probes.readiness {
                    Some(_) => Readiness::Starting { why: None },
                    None => Readiness::Expected { at: now + READY_AFTER },
                },
                watches: later(probes, now),
            },
        }
    }

    /// That of an instance that has started: its startup probe has passed.
    pub(super) fn started(probes: &Probes, now: Time) -> Condition {
        let readiness = match probes.readiness {
            Some(_) => Readiness::Starting { why: None },
            None => Readiness::Ready { since: now },
        };
        Condition { readiness, watches: later(probes, now) }
    }

    /// That of an instance whose probes are others from now on: what did not change goes on.
    pub(super) fn amended(self, before: &Probes, after: &Probes, now: Time) -> Condition {
        let starts = self.watches.iter().any(|watch| watch.probe == ProbeKind::Startup);
        let renewed = |kinds: &[ProbeKind]| renewed(kinds, &self.watches, before, after, now);
        match (starts, after.startup, self.readiness) {
            (_, _, Readiness::Stopping) => Condition { readiness: Readiness::Stopping, watches: Vec::new() },
            (true, None, _) => Condition::started(after, now),
            (true, Some(_), readiness) => Condition { readiness, watches: renewed(&[ProbeKind::Startup]) },
            (false, _, readiness) => {
                let watches = renewed(&[ProbeKind::Readiness, ProbeKind::Liveness]);
                let readiness = match (readiness, after.readiness) {
                    // It had run long enough before anybody was to be asked.
                    (Readiness::Expected { at }, Some(_)) if at <= now => Readiness::Ready { since: at },
                    (Readiness::Expected { .. }, Some(_)) => Readiness::Starting { why: None },
                    (Readiness::Starting { .. } | Readiness::Lapsed { .. }, None) => {
                        Readiness::Ready { since: now }
                    }
                    (readiness, _) => readiness,
                };
                Condition { readiness, watches }
            }
        }
    }

    /// When something is to be done though nothing happens.
    pub(super) fn deadline(&self) -> Option<Time> {
        let ready = match self.readiness {
            Readiness::Expected { at } => Some(at),
            Readiness::Starting { .. }
            | Readiness::Ready { .. }
            | Readiness::Lapsed { .. }
            | Readiness::Stopping => None,
        };
        ready.into_iter().chain(self.watches.iter().filter_map(Watch::deadline)).min()
    }

    pub(super) fn watch(&mut self, probe: ProbeKind) -> Option<&mut Watch> {
        self.watches.iter_mut().find(|watch| watch.probe == probe)
    }
}

/// The probes that are in force once it has started.
fn later(probes: &Probes, now: Time) -> Vec<Watch> {
    let both = [(ProbeKind::Readiness, probes.readiness), (ProbeKind::Liveness, probes.liveness)];
    both.into_iter().filter_map(|(probe, rule)| Some(Watch::new(probe, rule?, now))).collect()
}

/// The probes of these kinds that are in force from now on; those that are what they were go on as they were.
fn renewed(kinds: &[ProbeKind], watches: &[Watch], before: &Probes, after: &Probes, now: Time) -> Vec<Watch> {
    let renew = |kind: &ProbeKind| {
        let rule = after.of(*kind)?;
        match watches.iter().find(|watch| watch.probe == *kind) {
            Some(watch) if before.of(*kind) == Some(rule) => Some(watch.clone()),
            // An answer is on its way, and counts for the new one: nobody is asked twice at once.
            Some(Watch { next: Next::Answer, .. }) if rule.source == Source::Asked => {
                Some(Watch { next: Next::Answer, ..Watch::new(*kind, rule, now) })
            }
            Some(_) | None => Some(Watch::new(*kind, rule, now)),
        }
    };
    kinds.iter().filter_map(renew).collect()
}

impl Watch {
    fn new(probe: ProbeKind, rule: Probing, now: Time) -> Watch {
        let begins = now + rule.timing.initial_delay;
        let next = match rule.source {
            Source::Asked => Next::Due { at: begins },
            Source::Told => Next::Word { until: begins + rule.timing.patience() },
        };
        Watch { probe, next, run: Run::Fresh }
    }

    fn deadline(&self) -> Option<Time> {
        match self.next {
            Next::Due { at } => Some(at),
            Next::Word { until } => Some(until),
            Next::Answer => None,
        }
    }

    /// The next try after one that came to something, or could not be made.
    pub(super) fn go_on(&mut self, timing: Timing, now: Time) {
        let pace = match self.run {
            Run::Fresh | Run::Missed(_) => timing.period.min(EAGER),
            Run::Passed { .. } | Run::Failed(_) => timing.period,
        };
        self.next = Next::Due { at: now + pace };
    }

    pub(super) fn pass(&mut self, timing: Timing) -> Toll {
        let times = match self.run {
            Run::Passed { times } => times.saturating_add(1),
            Run::Fresh | Run::Missed(_) | Run::Failed(_) => 1,
        };
        self.run = Run::Passed { times };
        if times >= timing.success_threshold { Toll::Reached } else { Toll::Under }
    }

    pub(super) fn fail(&mut self, timing: Timing, now: Time) -> Toll {
        let next_counts_from = now + timing.period;
        let misses = match self.run {
            Run::Fresh | Run::Passed { .. } => Misses { times: 1, next_counts_from },
            Run::Missed(misses) | Run::Failed(misses) if now < misses.next_counts_from => misses,
            Run::Missed(Misses { times, .. }) | Run::Failed(Misses { times, .. }) => {
                Misses { times: times.saturating_add(1), next_counts_from }
            }
        };
        self.run = match self.run {
            Run::Fresh | Run::Missed(_) => Run::Missed(misses),
            Run::Passed { .. } | Run::Failed(_) => Run::Failed(misses),
        };
        if misses.times >= timing.failure_threshold { Toll::Reached } else { Toll::Under }
    }
}
