//! What becomes of a slot when nothing is left of its instance.

use std::time::Duration;

use crate::api::{Cause, Notice, Then, Verdict};
use crate::app::{Policy, Restart};

use super::backoff::Next;
use super::course::Failure;
use super::{
    CLOSEST_STARTS, Ending, FailFast, FoundBy, Goal, Member, Outcome, Phase, Record, Slot, SlotKey, Step,
    Supervisor, Time, millis,
};

/// What follows a life that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sequel {
    /// Another life, so long from now.
    Again { due: Time, delay_ms: u64 },
    /// It ended well, and that was that.
    Completed,
    /// It ended badly, and that was that.
    Failed { verdict: Verdict, code: u8 },
    /// `--fail-fast`: the end of everything, with this code.
    EndsAll { code: u8 },
    /// It was a one-off command, and that was that.
    Over,
}

/// A program that ran so long was found and could be executed.
const RAN: Duration = Duration::from_secs(1);

/// The code of a failure that has none of its own: how it ended after our stop signal does not count.
const UNWELL: u8 = 1;

impl Sequel {
    /// The end of the sentence that tells the exit.
    pub(super) fn then(&self) -> Then {
        match self {
            Sequel::Again { delay_ms, .. } => Then::Restart { delay_ms: *delay_ms },
            Sequel::Completed | Sequel::Failed { .. } | Sequel::EndsAll { .. } | Sequel::Over => Then::Rest,
        }
    }
}

impl Supervisor {
    /// An instance that was being ended, or whose leftovers are let be, is gone.
    pub(super) fn gone(&mut self, step: &mut Step, key: SlotKey, ending: Ending) {
        if let Some(since) = self.slot_mut(key).ends_since.take() {
            self.types[key.type_index].tally.drains.note(step.now - since);
        }
        let slot = self.slot(key);
        match (slot.goal, ending) {
            (Goal::Down | Goal::Dead, Ending::Asked | Ending::Own(_)) => self.enter(key, Phase::Stopped),
            (Goal::Up, Ending::Asked) => {
                let due = earliest(slot.last_start, step.now);
                self.enter(key, Phase::Pending { due });
            }
            (Goal::Up, Ending::Own(outcome)) => {
                let sequel = self.sequel(key, outcome, step.now);
                if let Sequel::Again { delay_ms, .. } = sequel {
                    step.announce(Notice::Restarting { slot: self.name(key), delay_ms });
                }
                self.follow(step, key, sequel);
            }
        }
    }

    /// Judges a life that ended by itself by the policy of its type.
    pub(super) fn sequel(&mut self, key: SlotKey, outcome: Outcome, now: Time) -> Sequel {
        if self.is_one_off(key) {
            return Sequel::Over;
        }
        let member = match outcome {
            // Whoever was there before has nothing to do with it.
            Outcome::Unsupplied => self.next_edition(key).1,
            Outcome::Exited { .. } | Outcome::NotStarted { .. } | Outcome::Unwell { .. } => self.member(key),
        };
        let Member { found_by, policy: Policy { restart, backoff, .. }, .. } = member;
        let (found_by, restart, backoff) = (*found_by, *restart, *backoff);
        let kind = &mut self.types[key.type_index];
        let (code, uptime) = match outcome {
            Outcome::Exited { status, uptime_ms } => (status.shell_code(), Duration::from_millis(uptime_ms)),
            Outcome::NotStarted { code } => (code, Duration::ZERO),
            Outcome::Unwell { uptime_ms } => (UNWELL, Duration::from_millis(uptime_ms)),
            Outcome::Unsupplied => (UNWELL, Duration::ZERO),
        };
        let unusable = match outcome {
            Outcome::NotStarted { .. } => true,
            Outcome::Unwell { .. } | Outcome::Unsupplied => false,
            Outcome::Exited { .. } => found_by == FoundBy::Shell && (code == 126 || code == 127),
        };
        let ran = |slot: &Slot| slot.phase.led().is_some_and(|life| now - life.since >= RAN);
        let unsupplied = matches!(outcome, Outcome::Unsupplied);
        if (!unusable && !unsupplied)
            || uptime >= RAN
            || (kind.record == Record::Blank && kind.slots.iter().any(ran))
        {
            kind.record = Record::Ran;
        }
        if self.habits.fail_fast == FailFast::Yes {
            return Sequel::EndsAll { code };
        }
        let sequel = match (restart, code) {
            (Restart::Always | Restart::OnFailure | Restart::Never, _)
                if unusable && kind.record == Record::Blank =>
            {
                Sequel::Failed { verdict: Verdict::NeverRan, code }
            }
            (Restart::OnFailure | Restart::Never, 0) => return Sequel::Completed,
            (Restart::Never, _) => Sequel::Failed { verdict: Verdict::Never, code },
            (Restart::Always | Restart::OnFailure, _) => {
                let slot = &mut kind.slots[super::index(key)];
                match slot.streak.failed(&backoff, uptime, &mut self.dice) {
                    Next::GiveUp(failures) => Sequel::Failed { verdict: Verdict::GaveUp { failures }, code },
                    Next::Wait(wait) => {
                        let due = earliest(slot.last_start, now + wait);
                        Sequel::Again { due, delay_ms: millis(due - now) }
                    }
                }
            }
        };
        let is_final = matches!(sequel, Sequel::Failed { .. });
        if self.note_failure(key, is_final) {
            let due = earliest(self.slot(key).last_start, now);
            return Sequel::Again { due, delay_ms: millis(due - now) };
        }
        sequel
    }

    /// Does what follows.
    pub(super) fn follow(&mut self, step: &mut Step, key: SlotKey, sequel: Sequel) {
        match sequel {
            // The next `Woke` starts it, however soon: starts are counted there.
            Sequel::Again { due, .. } => {
                self.slot_mut(key).restarts += 1;
                self.types[key.type_index].tally.restarts += 1;
                self.enter(key, Phase::Backoff { due });
            }
            Sequel::Completed => {
                step.announce(Notice::Completed { slot: self.name(key) });
                self.enter(key, Phase::Completed);
            }
            Sequel::Failed { verdict, code } => {
                step.announce(Notice::Failed { slot: self.name(key), reason: verdict });
                self.enter(key, Phase::Failed);
                self.failed(step, key, code);
            }
            Sequel::Over => {
                self.slot_mut(key).goal = Goal::Down;
                self.enter(key, Phase::Stopped);
            }
            Sequel::EndsAll { code } => {
                self.enter(key, Phase::Stopped);
                self.end_fast(step, key, code);
            }
        }
    }

    /// `--fail-fast`: this exit ends everything.
    pub(super) fn end_fast(&mut self, step: &mut Step, key: SlotKey, code: u8) {
        let slot = self.name(key);
        self.end(step, Cause::FailFast(slot.clone()), Some(Failure { slot, code }));
    }
}

/// When a start is wanted, or as soon after the last one as is allowed.
pub(super) fn earliest(last_start: Option<Time>, wanted: Time) -> Time {
    last_start.map_or(wanted, |last| wanted.max(last + CLOSEST_STARTS))
}
