//! New instances that do not work: what shows that, and the way back to what ran before.

use crate::api::{Notice, Refusal, Setback, SlotName};

use super::rollout::{Back, Look, Outdated, Purpose, Rollout, Stage};
use super::turnover::Which;
use super::{Goal, Phase, Slot, SlotKey, Step, Supervisor, Time, Type, index, millis};

/// Fewer failures than this in a row are nothing yet, more than that are enough however many instances there are (Amazon
/// ECS, "deployment circuit breaker").
const FAILURES: std::ops::RangeInclusive<u32> = 3..=200;

impl Supervisor {
    /// A life has failed: whether the new ones do not work. Says whether another comes in its place though its policy would have
    /// none.
    pub(super) fn note_failure(&mut self, key: SlotKey, is_final: bool) -> bool {
        let name = self.name(key);
        let kind = &mut self.types[key.type_index];
        let slot = &kind.slots[index(key)];
        let wanted = kind.wanted();
        let rollout = match &mut kind.rollout {
            Some(rollout) if rollout.stage == Stage::Replacing => rollout,
            Some(_) | None => return is_final && self.note_late_failure(key),
        };
        if !rollout.concerns(key.number, slot, wanted) {
            return false;
        }
        let is_outdated = rollout.is_outdated(key.number, slot);
        match &mut rollout.purpose {
            // A new one was to come in its place anyway.
            Purpose::Forward { .. } if is_outdated => is_final,
            Purpose::Forward { back, failures, last, hopeless, .. } => {
                *failures += 1;
                *last = Some(name);
                *hopeless |= is_final;
                // Before it is started once more.
                rollout.look = Look::Now;
                // What ran before comes back in its place.
                is_final && *back != Back::Nowhere
            }
            Purpose::Back => false,
        }
    }

    /// Whether it is to be turned back, why, and who decides it; for want of progress only where the time is known, and
    /// whoever was due has been looked at.
    pub(super) fn setback(
        &self,
        type_index: usize,
        rollout: &Rollout,
        now: Option<Time>,
    ) -> Option<(Setback, Option<SlotName>)> {
        let Purpose::Forward { failures, last, hopeless, deadline, .. } = &rollout.purpose else {
            return None;
        };
        let half = self.types[type_index].wanted().div_ceil(2);
        if *hopeless || *failures >= half.clamp(*FAILURES.start(), *FAILURES.end()) {
            return Some((Setback::Failures { failures: *failures }, last.clone()));
        }
        let now = now.filter(|now| *deadline <= *now)?;
        let rules = self.types[type_index].newest().policy.rollout;
        // The one that is waited for.
        let wanted = self.types[type_index].wanted();
        let waited_for = self.types[type_index].present().find(|(number, slot)| {
            slot.goal == Goal::Up
                && !rollout.is_old(*number, slot)
                && rollout.concerns(*number, slot, wanted)
                && !matches!(slot.phase, Phase::Completed | Phase::Stuck { .. })
                && !rollout.is_available(*number, slot, rules.min_ready, now)
        });
        let waited_for = waited_for.map(|(number, slot)| (SlotKey { type_index, number }, slot));
        let why = waited_for.and_then(|(key, slot)| self.reason(key, slot));
        let deadline_ms = millis(rules.progress_deadline);
        Some((Setback::Deadline { deadline_ms, why }, waited_for.map(|(key, _)| self.name(key))))
    }

    /// The new ones do not work.
    pub(super) fn turn_back(
        &mut self,
        step: &mut Step,
        type_index: usize,
        rollout: &Rollout,
        reason: Setback,
        slot: Option<SlotName>,
    ) -> Option<Rollout> {
        let process_type = self.types[type_index].newest().name.clone();
        let told = slot.as_ref().map_or(reason.to_string(), |slot| format!("{slot}: {reason}"));
        self.note_turned_back(type_index, &told);
        step.announce(Notice::TurnedBack { process_type, slot, reason });
        self.refuse_rollout(step, type_index, rollout.id, |process_type| Refusal::TurnedBack {
            process_type,
            reason: told.clone(),
        });
        let good = match rollout.purpose {
            Purpose::Forward { back: Back::To(good), .. } => good,
            Purpose::Forward { back: Back::Nowhere | Back::Away, .. } | Purpose::Back => {
                return self.stay(step, type_index);
            }
        };
        self.go_back(step, type_index, good);
        let rollout = self.types[type_index].rollout.take()?;
        self.roll_type(step, type_index, rollout, Which::Urgent)
    }

    /// What works for certain comes back.
    pub(super) fn go_back(&mut self, step: &mut Step, type_index: usize, good: usize) {
        let wanted = self.types[type_index].wanted();
        let failed = self.types[type_index].newest_edition();
        self.revert(step, type_index, good);
        let newest = self.types[type_index].newest_edition();
        self.types[type_index].rejected = Some((good, newest));
        self.begin_rollout(step, type_index, Outdated::Between(good, newest), Purpose::Back, wanted);
        // Who failed need not wait for its next turn: what comes now has worked before.
        let kind = &self.types[type_index];
        // Somebody else's instances may have the PORTs until they end: all change places at once.
        let moved = kind.moved_ports(failed);
        let waits = |(number, slot): (u32, &Slot)| {
            let rests = slot.phase.instance().is_none() && !matches!(slot.phase, Phase::Completed);
            let rests = rests || (moved && matches!(slot.phase, Phase::Running { .. }));
            (number <= wanted && slot.goal == Goal::Up && rests).then_some(SlotKey { type_index, number })
        };
        let waiting: Vec<SlotKey> = kind.present().filter_map(waits).collect();
        for key in waiting {
            self.restart(step, key);
        }
    }

    /// There is nothing to go back to: everybody stays as they are, but for what was turned back before and runs yet: that is
    /// on its way back as it was. A surge that does the work of somebody who is away stays until that one is back.
    fn stay(&mut self, step: &mut Step, type_index: usize) -> Option<Rollout> {
        let kind = &self.types[type_index];
        let wanted = kind.wanted();
        if let Some((good, until)) = kind.rejected.filter(|rejected| kind.runs_any_of(*rejected)) {
            self.begin_rollout(step, type_index, Outdated::Between(good, until), Purpose::Back, wanted);
            return self.types[type_index].rollout.take();
        }
        let (stays, ends): (Vec<_>, Vec<_>) = {
            let surge = self.types[type_index].present().filter(|(number, _)| *number > wanted);
            surge.map(|(number, slot)| (number, slot.is_ready())).partition(|(_, ready)| *ready)
        };
        for (number, _) in ends {
            self.vacate(step, SlotKey { type_index, number });
        }
        if stays.is_empty() {
            return None;
        }
        let newest = self.types[type_index].newest_edition();
        self.begin_rollout(step, type_index, Outdated::Between(newest, newest), Purpose::Back, 0);
        self.types[type_index].rollout.take()
    }
}

impl Type {
    /// Whether instances of editions between these two are alive, and nobody has asked them to end for good.
    fn runs_any_of(&self, (good, until): (usize, usize)) -> bool {
        self.present().any(|(_, slot)| {
            let is_between = slot.edition > good && slot.edition < until;
            is_between && slot.goal == Goal::Up && slot.phase.instance().is_some()
        })
    }
}
