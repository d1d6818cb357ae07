//! What is known of how an instance is, worked out a second time from what it answered and said.

use std::time::Duration;

use supervise::api::{ProbeKind, ProbeResult, Word};
use supervise::supervisor::{Probes, Probing, READY_AFTER, Source, Time};

/// How one instance is, as far as it was asked and told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse {
    /// When it is ready if nobody says otherwise.
    expected: Option<Time>,
    ready: bool,
    /// Since when, as far as that was told.
    since: Option<Time>,
    stopping: bool,
    tallies: [Option<Tally>; 3],
    /// When it was found unwell.
    pub(super) condemned: Option<Time>,
}

/// What came of one probe so far.
#[derive(Clone, Copy, Debug)]
struct Tally {
    /// In force since then.
    since: Time,
    asked: bool,
    /// When it was answered, or heard of, last.
    answered: Option<Time>,
    ever_passed: bool,
    passes: u32,
    fails: u32,
    next_fail_counts: Time,
    /// Whether so many failed that it must not go on.
    lost: bool,
}

impl Tally {
    fn new(since: Time) -> Tally {
        Tally {
            since,
            asked: false,
            answered: None,
            ever_passed: false,
            passes: 0,
            fails: 0,
            next_fail_counts: Time::ZERO,
            lost: false,
        }
    }
}

fn rule(probes: &Probes, probe: ProbeKind) -> Probing {
    find(probes, probe).expect("a probe of this type")
}

fn find(probes: &Probes, probe: ProbeKind) -> Option<Probing> {
    [probes.startup, probes.readiness, probes.liveness][probe as usize]
}

impl Pulse {
    pub(super) fn newborn(probes: &Probes, now: Time) -> Pulse {
        let mut pulse = Pulse::default();
        if probes.startup.is_some() {
            pulse.tallies[0] = Some(Tally::new(now));
        } else {
            pulse.begin(probes, now);
            pulse.expected = probes.readiness.is_none().then(|| now + READY_AFTER);
        }
        pulse
    }

    fn begin(&mut self, probes: &Probes, now: Time) {
        self.tallies[0] = None;
        self.tallies[1] = probes.readiness.map(|_| Tally::new(now));
        self.tallies[2] = probes.liveness.map(|_| Tally::new(now));
    }

    /// The rules are others from now on.
    pub(super) fn amend(&mut self, before: &Probes, after: &Probes, now: Time) {
        if self.stopping || before == after {
            return;
        }
        let renewed = |old: Option<Tally>, before: Option<Probing>, after: Option<Probing>| {
            let after = after?;
            match old {
                Some(tally) if before == Some(after) => Some(tally),
                Some(tally) => {
                    Some(Tally { asked: tally.asked && after.source == Source::Asked, ..Tally::new(now) })
                }
                None => Some(Tally::new(now)),
            }
        };
        let [startup, readiness, liveness] = self.tallies;
        if startup.is_some() {
            if after.startup.is_none() {
                self.begin(after, now);
                self.ready = after.readiness.is_none();
            } else {
                self.tallies[0] = renewed(startup, before.startup, after.startup);
            }
            return;
        }
        self.tallies[1] = renewed(readiness, before.readiness, after.readiness);
        self.tallies[2] = renewed(liveness, before.liveness, after.liveness);
        match (self.expected, after.readiness) {
            // It had run long enough before anybody was to be asked.
            (Some(at), Some(_)) => {
                self.expected = None;
                if at <= now {
                    self.ready = true;
                    self.since.get_or_insert(at);
                }
            }
            (Some(_), None) => {}
            (None, Some(_)) => {}
            (None, None) => self.ready = true,
        }
    }

    pub(super) fn is_ready(&self, now: Time) -> bool {
        !self.stopping && (self.ready || self.expected.is_some_and(|at| at <= now))
    }

    /// Since when it has been ready, if it is.
    pub(super) fn ready_since(&self, now: Time) -> Option<Time> {
        let since = if self.ready { self.since } else { self.expected };
        since.filter(|_| self.is_ready(now))
    }

    /// Remembers when it became ready, where that has just been.
    pub(super) fn note_since(&mut self, now: Time) {
        match (self.ready, self.since) {
            // It may have run long enough before it said so.
            (true, None) => self.since = Some(self.expected.map_or(now, |at| at.min(now))),
            (false, _) => self.since = None,
            (true, Some(_)) => {}
        }
    }

    /// Whether it, or a probe, has said that it is ready.
    pub(super) fn said_ready(&self) -> bool {
        !self.stopping && self.ready
    }

    /// Whether it should have been condemned.
    pub(super) fn is_unwell(&self) -> bool {
        [self.tallies[0], self.tallies[2]].into_iter().flatten().any(|tally| tally.lost)
    }

    /// It is asked: in its turn, in its time, and one time at once.
    pub(super) fn ask(&mut self, probes: &Probes, now: Time, probe: ProbeKind) {
        let Probing { source, timing } = rule(probes, probe);
        assert_eq!(source, Source::Asked, "nobody is asked who is to speak by itself");
        let tally =
            self.tallies[probe as usize].as_mut().expect("startup comes before the others, and alone");
        assert!(!std::mem::replace(&mut tally.asked, true), "two tries of one probe at once");
        // Who was answered was asked before, perhaps by other rules.
        let is_first = tally.answered.is_none();
        assert!(!is_first || tally.since + timing.initial_delay <= now, "asked before its time");
        let pace = if tally.ever_passed { timing.period } else { timing.period.min(Duration::from_secs(1)) };
        assert!(
            tally.answered.is_none_or(|last| last + pace <= now),
            "asked again too soon: {tally:?} {now}"
        );
    }

    pub(super) fn note_result(&mut self, probes: &Probes, now: Time, probe: ProbeKind, result: &ProbeResult) {
        let Some(tally) = self.tallies[probe as usize].as_mut() else { return };
        if !std::mem::take(&mut tally.asked) {
            return;
        }
        tally.answered = Some(now);
        let timing = rule(probes, probe).timing;
        match result {
            ProbeResult::NotRun { .. } => {}
            ProbeResult::Passed => {
                (tally.fails, tally.passes, tally.ever_passed) = (0, tally.passes + 1, true);
                if tally.passes >= timing.success_threshold {
                    self.passed(probes, now, probe);
                }
            }
            ProbeResult::Failed { .. } => {
                tally.passes = 0;
                if tally.fails == 0 || tally.next_fail_counts <= now {
                    tally.fails += 1;
                    tally.next_fail_counts = now + timing.period;
                }
                if tally.fails >= timing.failure_threshold {
                    match probe {
                        ProbeKind::Readiness => self.ready = false,
                        ProbeKind::Startup | ProbeKind::Liveness => tally.lost = true,
                    }
                }
            }
        }
    }

    fn passed(&mut self, probes: &Probes, now: Time, probe: ProbeKind) {
        match probe {
            ProbeKind::Startup => {
                self.begin(probes, now);
                self.ready = probes.readiness.is_none();
            }
            ProbeKind::Readiness => self.ready = true,
            ProbeKind::Liveness => {}
        }
    }

    pub(super) fn note_word(&mut self, probes: &Probes, now: Time, word: &Word) {
        let told = |probe: Option<Probing>| probe.is_some_and(|rule| rule.source == Source::Told);
        match word {
            Word::Status(_) => {}
            Word::Stopping => (self.stopping, self.tallies) = (true, [None; 3]),
            Word::Ready if self.stopping => {}
            Word::Ready if self.tallies[0].is_some() => {
                if told(probes.startup) {
                    self.passed(probes, now, ProbeKind::Startup);
                }
            }
            Word::Ready => {
                if self.expected.is_some() || (told(probes.readiness) && !self.ready) {
                    self.ready = true;
                }
            }
            Word::Alive => {
                if let Some(tally) = self.tallies[2].as_mut().filter(|_| told(probes.liveness)) {
                    tally.answered = Some(now);
                }
            }
            Word::Failing => {
                if let Some(tally) = self.tallies[2].as_mut().filter(|_| told(probes.liveness)) {
                    tally.lost = true;
                }
            }
        }
    }

    /// It is said to be unwell.
    pub(super) fn condemn(&mut self, now: Time, probe: ProbeKind) {
        assert_ne!(probe, ProbeKind::Readiness, "who is not ready is let be");
        assert_eq!(self.condemned.replace(now), None, "that is said once");
        // Silence is known to who was to hear; whoever was asked must have failed often enough.
        let tally = self.tallies[probe as usize].as_ref().expect("a probe in force");
        assert!(
            tally.lost || !tally.asked && tally.fails == 0,
            "unwell, and it has not failed often enough: {self:?}"
        );
    }
}
