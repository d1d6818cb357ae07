//! The course of the whole: up, ending, over. What begins the end, and with which code it ends.
//!
//! The exit code, the first that applies: 1 if something survived SIGKILL; the code of the failing child that began
//! the end; 137 if we were asked to stop and something had to be killed; 130 if we were asked by INT; else 0.

use std::time::Duration;

use crate::api::{Cause, Notice, Signal, SlotName, TypeName};

use super::member::Count;
use super::turnover::Which;
use super::{Action, Farewell, Goal, Hangup, Init, Phase, SlotKey, Step, Supervisor, Terminal, Time, millis};

/// A second INT is somebody's second wish only so long after the first: a wrapper may deliver one Ctrl-C twice.
const SECOND_INTERRUPT: Duration = Duration::from_millis(500);

/// Where the whole formation is.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// It runs.
    Up {
        /// The slots that have failed for good, and that nobody has brought back or taken away since: the first one first.
        failures: Vec<(SlotKey, Failure)>,
    },
    /// Everything ends.
    Ending(End),
    /// `Exit` was ordered.
    Over,
}

/// Whether a SIGTSTP stopped the whole job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Going,
    Suspended,
}

/// A child whose failure decides our exit code.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) slot: SlotName,
    pub(super) code: u8,
}

/// How the end began and what it has come to.
#[derive(Clone, Debug)]
pub(super) struct End {
    cause: Cause,
    failure: Option<Failure>,
    first_interrupt: Option<Time>,
    force: Force,
    farewell: Farewell,
    drain: Drain,
}

/// How long an instance may take to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// As long as its type says.
    OfItsType,
    /// So long, whatever its type says.
    Instead(Duration),
    /// As long as its type says, and no longer than this.
    AtMost(Duration),
}

impl Drain {
    /// From the stop signal to SIGKILL, for an instance whose type says `own`.
    pub(super) fn of(self, own: Duration) -> Duration {
        match self {
            Drain::OfItsType => own,
            Drain::Instead(drain) => drain,
            Drain::AtMost(most) => own.min(most),
        }
    }

    fn at_most(self, most: Duration) -> Drain {
        match self {
            Drain::OfItsType => Drain::AtMost(most),
            Drain::Instead(drain) => Drain::Instead(drain.min(most)),
            Drain::AtMost(before) => Drain::AtMost(before.min(most)),
        }
    }
}

/// Whether anything had to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Unused,
    Used,
}

impl End {
    pub(super) fn note_kill(&mut self) {
        self.force = Force::Used;
    }

    pub(super) fn drain(&self) -> Drain {
        self.drain
    }
}

impl Supervisor {
    /// A signal to us.
    pub(super) fn received(&mut self, step: &mut Step, signal: Signal) {
        match signal {
            Signal::INT => self.interrupt(step),
            Signal::TERM | Signal::PWR | Signal::RTMIN_3 => self.end(step, Cause::Signal(signal), None),
            Signal::HUP => match self.habits.hangup {
                Hangup::Drain => self.end(step, Cause::Signal(signal), None),
                Hangup::Reload => self.order_reread(step),
            },
            Signal::QUIT => match (self.habits.terminal, &self.course) {
                (Terminal::Absent, _) => self.end(step, Cause::Signal(signal), None),
                (Terminal::Present, Course::Up { .. }) => {
                    self.begin_end(step, Cause::Signal(signal), None, Goal::Dead, Drain::OfItsType);
                }
                (Terminal::Present, Course::Ending(_) | Course::Over) => self.set_goals(step, Goal::Dead),
            },
            Signal::TSTP => match self.habits.init {
                Init::Yes => {}
                Init::No => {
                    step.announce(Notice::Suspended);
                    step.order(Action::Suspend);
                    self.job = Job::Suspended;
                }
            },
            Signal::CONT => {
                step.order(Action::Resume);
                match std::mem::replace(&mut self.job, Job::Going) {
                    Job::Suspended => step.announce(Notice::Resumed),
                    // Whoever sent it continued nothing: systemd sends one after each TERM (systemd.kill(5)).
                    Job::Going => {}
                }
            }
            other => step.order(Action::Pass { signal: other }),
        }
    }

    fn interrupt(&mut self, step: &mut Step) {
        self.end(step, Cause::Signal(Signal::INT), None);
        if let Course::Ending(end) = &mut self.course {
            match end.first_interrupt {
                None => end.first_interrupt = Some(step.now),
                Some(first) if step.now - first >= SECOND_INTERRUPT => self.set_goals(step, Goal::Dead),
                Some(_) => {}
            }
        }
    }

    /// Drains everything, unless the end has begun.
    pub(super) fn end(&mut self, step: &mut Step, cause: Cause, failure: Option<Failure>) {
        if matches!(self.course, Course::Up { .. }) {
            self.begin_end(step, cause, failure, Goal::Down, Drain::OfItsType);
        }
    }

    /// Drains everything by request, with this drain instead of each type's. Where the end has begun, a drain can only bring
    /// it nearer.
    pub(super) fn shut_down(&mut self, step: &mut Step, drain: Option<Duration>) {
        match (&mut self.course, drain) {
            (Course::Up { .. }, None) => {
                self.begin_end(step, Cause::Asked, None, Goal::Down, Drain::OfItsType);
            }
            (Course::Up { .. }, Some(drain)) => {
                self.begin_end(step, Cause::Asked, None, Goal::Down, Drain::Instead(drain));
                self.hasten(step.now + drain);
            }
            (Course::Ending(end), Some(drain)) => {
                end.drain = end.drain.at_most(drain);
                self.hasten(step.now + drain);
            }
            (Course::Ending(_), None) | (Course::Over, _) => {}
        }
    }

    fn begin_end(
        &mut self,
        step: &mut Step,
        cause: Cause,
        failure: Option<Failure>,
        goal: Goal,
        drain: Drain,
    ) {
        let mut alive: Vec<(TypeName, u32)> = Vec::new();
        let mut longest = Duration::ZERO;
        for (key, _) in self.slots().filter(|(_, slot)| slot.phase.instance().is_some()) {
            let name = &self.member(key).name;
            longest = longest.max(drain.of(self.policy(key).drain));
            match alive.last_mut() {
                Some((last, count)) if last == name => *count += 1,
                Some(_) | None => alive.push((name.clone(), 1)),
            }
        }
        let deadline_ms = match goal {
            Goal::Up | Goal::Down => millis(longest),
            Goal::Dead => 0,
        };
        let drains = !alive.is_empty();
        step.announce(Notice::Draining { cause: cause.clone(), deadline_ms, alive });
        // Where nobody is alive, nobody waits for our reader: it may take its time for what is left to say.
        if drains {
            step.order(Action::ReadOn);
        }
        let farewell = match (&cause, drains) {
            (Cause::Essential(_) | Cause::FailFast(_), false) => Farewell::Patient,
            // Whoever was drained did not wait for the reader either.
            (Cause::Essential(_) | Cause::FailFast(_), true) => Farewell::Brief,
            (Cause::Signal(_) | Cause::ReaderGone | Cause::Asked, true | false) => Farewell::Brief,
        };
        let (first_interrupt, force) = (None, Force::Unused);
        self.course = Course::Ending(End { cause, failure, first_interrupt, force, farewell, drain });
        self.refuse_waiters(step);
        self.forget_rollouts();
        self.deploy = None;
        self.set_goals(step, goal);
    }

    /// Who drains already has no longer than this.
    fn hasten(&mut self, latest: Time) {
        let keys: Vec<SlotKey> = self.slots().map(|(key, _)| key).collect();
        for key in keys {
            if let Phase::Draining { life, body, deadline, ending } = &self.slot(key).phase
                && *deadline > latest
            {
                let (life, body, ending) = (*life, body.clone(), *ending);
                self.enter(key, Phase::Draining { life, body, deadline: latest, ending });
            }
        }
    }

    fn set_goals(&mut self, step: &mut Step, goal: Goal) {
        let keys: Vec<SlotKey> = self.slots().map(|(key, _)| key).collect();
        for key in keys {
            self.slot_mut(key).goal = goal;
            self.settle(step, key);
        }
    }

    /// A slot has failed for good: remembers the first, and ends everything where that was the last of an essential
    /// type.
    pub(super) fn failed(&mut self, step: &mut Step, key: SlotKey, code: u8) {
        let failure = Failure { slot: self.name(key), code };
        let kind = &self.types[key.type_index];
        let essential =
            self.policy(key).essential && kind.wanted_slots().all(|slot| matches!(slot.phase, Phase::Failed));
        let cause = Cause::Essential(self.member(key).name.clone());
        if let Course::Up { failures } = &mut self.course {
            failures.push((key, failure.clone()));
        }
        if essential {
            self.end(step, cause, Some(failure));
        }
    }

    /// The code of a slot of a type that has failed for good, where one has that shall run.
    pub(super) fn failure_of(&self, type_index: usize) -> Option<u8> {
        let Course::Up { failures } = &self.course else { return None };
        let wanted = self.types[type_index].wanted();
        let of_type = |key: &SlotKey| key.type_index == type_index && key.number <= wanted;
        failures.iter().find(|(key, _)| of_type(key)).map(|(_, failure)| failure.code)
    }

    /// Answers who waits for what has happened, and ends when nothing is left to happen.
    pub(super) fn finish(&mut self, step: &mut Step) {
        // Where nothing else will happen, nothing is put off.
        self.roll_on(step, if self.unsettled == 0 { Which::All } else { step.rolls });
        self.deploy_on(step);
        self.open_gates(step);
        self.note_started();
        self.answer_waiters(step);
        if self.unsettled > 0 || self.is_recording() {
            return;
        }
        let (code, because, farewell) = match &self.course {
            Course::Up { failures } => {
                // Slots that were stopped by request keep us up, types that were scaled to 0 by request, and a formation of
                // none.
                let by_itself = |slot: &super::Slot| matches!(slot.phase, Phase::Completed | Phase::Failed);
                if self.slots().next().is_none()
                    || !self.slots().all(|(_, slot)| by_itself(slot))
                    || self.types.iter().any(|kind| kind.count == Count::Asked(0))
                {
                    return;
                }
                match failures.first() {
                    Some((_, failure)) => (failure.code, Some(failure.slot.clone()), Farewell::Patient),
                    None => (0, None, Farewell::Patient),
                }
            }
            Course::Ending(end) => {
                let lost = self.slots().find(|(_, slot)| matches!(slot.phase, Phase::Lost));
                let (code, because) = match (lost, &end.failure, end.force, &end.cause) {
                    (Some((key, _)), _, _, _) => (1, Some(self.name(key))),
                    (None, Some(failure), _, _) => (failure.code, Some(failure.slot.clone())),
                    (None, None, Force::Used, _) => (137, None),
                    (None, None, Force::Unused, Cause::Signal(Signal::INT)) => (130, None),
                    (None, None, Force::Unused, _) => (0, None),
                };
                (code, because, end.farewell)
            }
            Course::Over => return,
        };
        self.course = Course::Over;
        self.dismiss_waiters(step);
        step.announce(Notice::Ended { code, because });
        step.order(Action::Exit { code, farewell });
    }
}
