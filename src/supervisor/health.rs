//! Probes and words: what becomes of an instance by what it answers and what it says of itself.
//!
//! Kubernetes' rules: startup comes before the other two; only so many results in a row change anything; who failed its
//! startup or liveness is ended, and that counts as a failure; who failed its readiness is only not sent work. What could
//! not be asked counts for nothing.

use std::time::Duration;

use crate::api::{Notice, ProbeKind, ProbeResult, Tried, Word, brief};

use super::condition::{Condition, Next, Readiness, Toll};
use super::{Action, Ending, Life, Outcome, Phase, Probing, SlotKey, Source, Step, Supervisor, millis};

/// A silence that we notice so late was perhaps none: we stood still ourselves, and have not heard what was said.
const LATE: Duration = Duration::from_secs(1);

/// What a probe of an instance has come to.
enum Finding {
    Passed,
    Failed(String),
}

impl Supervisor {
    /// Asks what is due, and takes silence for what it is.
    pub(super) fn check(&mut self, step: &mut Step, key: SlotKey, life: Life, mut condition: Condition) {
        let now = step.now;
        if let Readiness::Expected { at } = condition.readiness
            && at <= now
        {
            // Where we slept too long, it has been so all the while.
            condition.readiness = Readiness::Ready { since: at };
            self.types[key.type_index].tally.starts.note(now - life.since);
        }
        let probes = self.member(key).probes;
        let mut silent = None;
        for watch in &mut condition.watches {
            match watch.next {
                Next::Due { at } if at <= now => {
                    step.order(Action::Probe { slot: key, instance: life.instance, probe: watch.probe });
                    watch.next = Next::Answer;
                }
                Next::Word { until } if until <= now => {
                    let Some(rule) = probes.of(watch.probe) else { continue };
                    let patience = rule.timing.patience();
                    watch.next = Next::Word { until: now + patience };
                    if now - until < LATE {
                        let word = match watch.probe {
                            ProbeKind::Startup | ProbeKind::Readiness => "READY=1",
                            ProbeKind::Liveness => "WATCHDOG=1",
                        };
                        silent = Some((watch.probe, format!("no {word} within {}", brief(patience))));
                    }
                }
                Next::Due { .. } | Next::Word { .. } | Next::Answer => {}
            }
        }
        self.enter(key, Phase::Running { life, condition });
        if let Some((probe, why)) = silent {
            self.found(step, key, probe, Finding::Failed(why));
        }
    }

    /// A probe was answered.
    pub(super) fn probed(&mut self, step: &mut Step, key: SlotKey, probe: ProbeKind, result: ProbeResult) {
        let Some(Probing { timing, .. }) = self.member(key).probes.of(probe) else { return };
        let Phase::Running { life, mut condition } = self.slot(key).phase.clone() else { return };
        let Some(watch) = condition.watch(probe).filter(|watch| watch.next == Next::Answer) else { return };
        let (tried, finding) = match result {
            ProbeResult::Passed => {
                let finding = match watch.pass(timing) {
                    Toll::Reached => Some(Finding::Passed),
                    Toll::Under => None,
                };
                (Tried::Passed, finding)
            }
            ProbeResult::Failed { why } => {
                let toll = watch.fail(timing, step.now);
                match (probe, &mut condition.readiness) {
                    (ProbeKind::Startup | ProbeKind::Readiness, Readiness::Starting { why: known }) => {
                        *known = Some(why.clone());
                    }
                    (ProbeKind::Readiness, Readiness::Lapsed { why: known }) => known.clone_from(&why),
                    (ProbeKind::Startup | ProbeKind::Readiness | ProbeKind::Liveness, _) => {}
                }
                let finding = match toll {
                    Toll::Reached => Some(Finding::Failed(why)),
                    Toll::Under => None,
                };
                (Tried::Failed, finding)
            }
            ProbeResult::NotRun { .. } => (Tried::NotRun, None),
        };
        if let Some(watch) = condition.watch(probe) {
            watch.go_on(timing, step.now);
        }
        self.enter(key, Phase::Running { life, condition });
        *self.types[key.type_index].tally.probes.entry((probe, tried)).or_default() += 1;
        if let Some(finding) = finding {
            self.found(step, key, probe, finding);
        }
    }

    /// An instance has said something of itself.
    pub(super) fn told(&mut self, step: &mut Step, key: SlotKey, word: Word) {
        let Phase::Running { life, mut condition } = self.slot(key).phase.clone() else { return };
        match word {
            Word::Status(text) => self.slot_mut(key).status_text = Some(text),
            Word::Stopping => {
                let before = std::mem::replace(&mut condition.readiness, Readiness::Stopping);
                // Nobody is ended for not being well while it is ending.
                condition.watches.clear();
                self.enter(key, Phase::Running { life, condition });
                if let Readiness::Ready { .. } = before {
                    let why = "it says that it is stopping".to_owned();
                    step.announce(Notice::Unready { slot: self.name(key), why });
                }
            }
            Word::Ready => {
                let waits = |watch: &&super::condition::Watch| matches!(watch.next, Next::Word { .. });
                let first = condition.watches.iter().find(waits).map(|watch| watch.probe);
                match (&condition.readiness, first) {
                    (Readiness::Expected { .. }, _) => self.now_ready(step, key, life, condition),
                    (
                        Readiness::Starting { .. },
                        Some(probe @ (ProbeKind::Startup | ProbeKind::Readiness)),
                    ) => {
                        self.found(step, key, probe, Finding::Passed);
                    }
                    // Somebody else is asked for that, or it is known.
                    (
                        Readiness::Starting { .. }
                        | Readiness::Ready { .. }
                        | Readiness::Lapsed { .. }
                        | Readiness::Stopping,
                        _,
                    ) => {}
                }
            }
            Word::Alive => {
                if let Some(Probing { source: Source::Told, timing }) =
                    self.member(key).probes.of(ProbeKind::Liveness)
                    && let Some(watch) = condition.watch(ProbeKind::Liveness)
                {
                    watch.next = Next::Word { until: step.now + timing.patience() };
                    self.enter(key, Phase::Running { life, condition });
                }
            }
            Word::Failing => {
                if let Some(Probing { source: Source::Told, .. }) =
                    self.member(key).probes.of(ProbeKind::Liveness)
                    && condition.watch(ProbeKind::Liveness).is_some()
                {
                    let why = "it says so (WATCHDOG=trigger)".to_owned();
                    self.found(step, key, ProbeKind::Liveness, Finding::Failed(why));
                }
            }
        }
    }

    /// What follows from what a probe has come to.
    fn found(&mut self, step: &mut Step, key: SlotKey, probe: ProbeKind, finding: Finding) {
        let Phase::Running { life, mut condition } = self.slot(key).phase.clone() else { return };
        match (probe, finding) {
            (ProbeKind::Startup, Finding::Passed) => {
                let condition = Condition::started(&self.member(key).probes, step.now);
                match condition.readiness {
                    Readiness::Ready { .. } => self.now_ready(step, key, life, condition),
                    Readiness::Expected { .. }
                    | Readiness::Starting { .. }
                    | Readiness::Lapsed { .. }
                    | Readiness::Stopping => self.enter(key, Phase::Running { life, condition }),
                }
                // What comes next may be due at once.
                self.settle(step, key);
            }
            (ProbeKind::Readiness, Finding::Passed) => match condition.readiness {
                Readiness::Expected { .. } | Readiness::Starting { .. } | Readiness::Lapsed { .. } => {
                    self.now_ready(step, key, life, condition);
                }
                Readiness::Ready { .. } | Readiness::Stopping => {}
            },
            (ProbeKind::Readiness, Finding::Failed(why)) => {
                if let Readiness::Ready { .. } = condition.readiness {
                    condition.readiness = Readiness::Lapsed { why: why.clone() };
                    self.enter(key, Phase::Running { life, condition });
                    step.announce(Notice::Unready { slot: self.name(key), why });
                }
            }
            (ProbeKind::Liveness, Finding::Passed) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, Finding::Failed(why)) => {
                step.announce(Notice::Unwell { slot: self.name(key), probe, why });
                let uptime_ms = millis(step.now - life.since);
                self.stop(step, key, life, Ending::Own(Outcome::Unwell { uptime_ms }));
            }
        }
    }

    /// It may be sent work: from its condition so far.
    pub(super) fn now_ready(&mut self, step: &mut Step, key: SlotKey, life: Life, condition: Condition) {
        match condition.readiness {
            Readiness::Lapsed { .. } => {}
            Readiness::Expected { .. }
            | Readiness::Starting { .. }
            | Readiness::Ready { .. }
            | Readiness::Stopping => {
                self.types[key.type_index].tally.starts.note(step.now - life.since);
            }
        }
        let condition = Condition { readiness: Readiness::Ready { since: step.now }, ..condition };
        self.enter(key, Phase::Running { life, condition });
        let after_ms = millis(step.now - life.since);
        step.announce(Notice::Ready { slot: self.name(key), after_ms });
    }
}
