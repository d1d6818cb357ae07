//! A rollout goes on: who has become available, who can be replaced now, and when it is done.

use std::time::Duration;

use crate::api::Notice;

use super::rollout::{Look, Progress, Purpose, Rollout, Stage};
use super::{Condition, Goal, Phase, Readiness, Slot, SlotKey, Step, Supervisor, Time, Type, millis};

/// A deadline that is seen so late is none: we were stopped, or the machine slept.
const LATE: Duration = Duration::from_secs(1);

/// Which rollouts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that cannot wait for the next step.
    Urgent,
    /// Those of which something has changed.
    Stirred,
    /// Those whose time has come, too.
    Due,
    /// All: what was asked for may concern any.
    All,
}

/// One look at all slots of a type.
#[derive(Debug, Default)]
struct Muster {
    /// So many do their work.
    available: u32,
    /// So many shall.
    desired: u32,
    /// So many slots need nothing any more, those of the surge too.
    done: u32,
    /// So many of those that shall be there are new and do their work.
    replaced: u32,
    /// Whoever is to be replaced and runs, the lowest first.
    left: Vec<SlotKey>,
    /// Those of the slots there shall be that are awaited.
    awaited: u32,
    /// Whether an old one is on its way out.
    ends: bool,
    /// When somebody will have been ready for long enough.
    next: Option<Time>,
}

impl Supervisor {
    /// When a rollout is to be looked at though nothing happens.
    pub(super) fn rollout_deadline(&self) -> Option<Time> {
        let look = |type_index: &usize| match self.types[*type_index].rollout.as_ref()?.look {
            Look::Now | Look::Soon => Some(Time::ZERO),
            Look::At(time) => Some(time),
            Look::Whenever => None,
        };
        self.rolling.iter().filter_map(look).min()
    }

    /// Takes rollouts as far as they can go now.
    pub(super) fn roll_on(&mut self, step: &mut Step, which: Which) {
        // None is left once the end has begun.
        for type_index in self.rolling.clone() {
            let look = self.types[type_index].rollout.as_ref().map(|rollout| rollout.look);
            let is_meant = match (which, look) {
                (_, None) => false,
                (Which::All, Some(_)) | (Which::Urgent | Which::Stirred | Which::Due, Some(Look::Now)) => {
                    true
                }
                (Which::Urgent, Some(Look::Soon | Look::At(_) | Look::Whenever)) => false,
                (Which::Stirred | Which::Due, Some(Look::Soon)) => true,
                (Which::Stirred, Some(Look::At(_) | Look::Whenever)) => false,
                (Which::Due, Some(Look::At(time))) => time <= step.now,
                (Which::Due, Some(Look::Whenever)) => false,
            };
            if is_meant
                && let Some(rollout) = self.types[type_index].rollout.take()
                && let Some(rollout) = self.roll_type(step, type_index, rollout, which)
            {
                self.types[type_index].rollout = Some(rollout);
            }
        }
        let types = &self.types;
        self.rolling.retain(|type_index| types[*type_index].rollout.is_some());
    }

    /// Takes one rollout as far as it can go now; nothing is left of one that is over.
    pub(super) fn roll_type(
        &mut self,
        step: &mut Step,
        type_index: usize,
        mut rollout: Rollout,
        which: Which,
    ) -> Option<Rollout> {
        let wanted = self.types[type_index].wanted();
        if wanted == 0 {
            // Nobody is left to be replaced.
            self.vacate_above(step, type_index, 0);
            return None;
        }
        if rollout.stage == Stage::Leaving {
            return self.leave(step, type_index, rollout);
        }
        let surge = self.types[type_index].surge_slots(self.surge(type_index));
        // Fewer may be wanted than when they were raised: who leaves does nobody's work.
        self.vacate_above(step, type_index, surge.last().copied().unwrap_or(wanted));
        let muster = self.types[type_index].muster(type_index, &rollout, step.now);
        self.note_progress(step, type_index, &mut rollout, &muster);
        // Where we slept too long, who is due now may have become ready long ago.
        let is_late = which == Which::Due && !self.is_any_due(type_index, step.now);
        let setback = self.setback(type_index, &rollout, is_late.then_some(step.now));
        if let Some((reason, slot)) = setback {
            return self.turn_back(step, type_index, &rollout, reason, slot);
        }
        if muster.left.iter().any(|key| key.number <= wanted) {
            for number in &surge {
                self.raise_surge(step, SlotKey { type_index, number: *number });
            }
            let away = self.types[type_index].newest().policy.rollout.max_unavailable;
            let floor = muster.desired.saturating_sub(if surge.is_empty() { away.max(1) } else { away });
            let mut spare = muster.available.saturating_sub(floor);
            for key in muster.left {
                // Who does no work can be replaced without anybody missing it.
                if self.slot(key).is_ready() {
                    if spare == 0 {
                        continue;
                    }
                    spare -= 1;
                }
                self.raise(step, key);
                rollout.progress.ends = true;
            }
        } else if muster.awaited == 0 {
            rollout.stage = Stage::Leaving;
            return self.leave(step, type_index, rollout);
        }
        let deadline = match rollout.purpose {
            Purpose::Forward { deadline, .. } => Some(deadline),
            Purpose::Back => None,
        };
        let next = muster.next.into_iter().chain(deadline).min();
        rollout.look = next.map_or(Look::Whenever, Look::At);
        Some(rollout)
    }

    fn is_any_due(&self, type_index: usize, now: Time) -> bool {
        let mut due = self.agenda.iter().take_while(|(due, _)| *due <= now);
        due.any(|(_, key)| key.type_index == type_index)
    }

    /// Notes who has become available, and says how far it is.
    fn note_progress(&self, step: &mut Step, type_index: usize, rollout: &mut Rollout, muster: &Muster) {
        let kind = &self.types[type_index];
        let wanted = kind.wanted();
        let Progress { done, wanted: before, ends } = rollout.progress;
        // With another count there is another measure.
        let most = if before == wanted { done } else { done.min(muster.done) };
        if let Purpose::Forward { failures, hopeless, deadline, .. } = &mut rollout.purpose {
            let patience = kind.newest().policy.rollout.progress_deadline;
            if muster.done > most {
                *deadline = step.now + patience;
                if !*hopeless {
                    *failures = 0;
                }
            }
            // Where it is seen so late we stood still ourselves, and so did whoever waits for our questions.
            if ends || muster.ends || step.now >= *deadline + LATE {
                *deadline = step.now + patience;
            }
        }
        rollout.progress = Progress { done: most.max(muster.done), wanted, ends: muster.ends };
        let replaced = muster.replaced.min(rollout.instances);
        if replaced > rollout.said {
            rollout.said = replaced;
            let (process_type, instances) = (kind.newest().name.clone(), rollout.instances);
            step.announce(Notice::RolloutStep { process_type, replaced, instances });
        }
    }

    /// All new ones work: the surge ends, and that was it.
    fn leave(&mut self, step: &mut Step, type_index: usize, mut rollout: Rollout) -> Option<Rollout> {
        let wanted = self.types[type_index].wanted();
        self.vacate_above(step, type_index, wanted);
        // Gone at the end: not before it is. What survives SIGKILL may never be.
        let ends =
            |(number, slot): (u32, &Slot)| number > wanted && !matches!(slot.phase, Phase::Stuck { .. });
        if self.types[type_index].present().any(ends) {
            rollout.look = Look::Whenever;
            return Some(rollout);
        }
        match rollout.purpose {
            Purpose::Forward { .. } => {
                let process_type = self.types[type_index].newest().name.clone();
                let took_ms = millis(step.now - rollout.began);
                step.announce(Notice::RolloutDone { process_type, took_ms });
            }
            // That was said when it was turned back.
            Purpose::Back => {}
        }
        None
    }

    /// The slots above this one shall not run any more.
    pub(super) fn vacate_above(&mut self, step: &mut Step, type_index: usize, highest: u32) {
        let above = |(number, slot): (u32, &Slot)| {
            // What came to rest keeps its place until it is taken from it.
            let is_there = slot.goal == Goal::Up || matches!(slot.phase, Phase::Completed | Phase::Failed);
            (number > highest && is_there).then_some(SlotKey { type_index, number })
        };
        let surplus: Vec<SlotKey> = self.types[type_index].present().filter_map(above).collect();
        for key in surplus {
            self.vacate(step, key);
        }
    }

    fn raise_surge(&mut self, step: &mut Step, key: SlotKey) {
        let kind = &mut self.types[key.type_index];
        if (key.number as usize) > kind.slots.len() {
            let vacant = Slot::vacant(kind.newest_edition());
            kind.slots.push(vacant);
        }
        // One that has failed for good in the way of something else would be missed for ever.
        if self.slot(key).goal != Goal::Up || matches!(self.slot(key).phase, Phase::Failed) {
            self.slot_mut(key).renew();
            self.raise(step, key);
        }
    }
}

impl Type {
    /// The numbers of so many slots above the highest, those left out where something survived SIGKILL.
    fn surge_slots(&self, extra: u32) -> Vec<u32> {
        let stuck = |number: &u32| {
            let slot = self.slots.get(*number as usize - 1);
            slot.is_some_and(|slot| matches!(slot.phase, Phase::Stuck { .. }))
        };
        (self.wanted() + 1..).filter(|number| !stuck(number)).take(extra as usize).collect()
    }

    fn muster(&self, type_index: usize, rollout: &Rollout, now: Time) -> Muster {
        let min_ready = self.newest().policy.rollout.min_ready;
        let mut muster = Muster::default();
        for (number, slot) in self.present() {
            muster.count(SlotKey { type_index, number }, slot, rollout, (self.wanted(), min_ready, now));
        }
        muster
    }
}

impl Muster {
    fn count(
        &mut self,
        key: SlotKey,
        slot: &Slot,
        rollout: &Rollout,
        (wanted, min_ready, now): (u32, Duration, Time),
    ) {
        let surges = key.number > wanted;
        let is_old = rollout.is_old(key.number, slot);
        let is_up = slot.goal == Goal::Up;
        let available = rollout.is_available(key.number, slot, min_ready, now);
        // Nobody knows when what survived SIGKILL will be gone.
        let rests = matches!(slot.phase, Phase::Completed | Phase::Failed | Phase::Stuck { .. });
        // One that had nothing to do for long has shown that it works, too.
        let works = available || (surges && is_up && matches!(slot.phase, Phase::Completed));
        self.available += u32::from(works);
        self.desired += u32::from(!surges && is_up && !rests);
        let replaced = available && !is_old;
        self.replaced += u32::from(replaced && !surges);
        self.done += u32::from(replaced || if surges { works } else { !is_up || rests });
        let is_awaited = !surges && is_up && !rests && !available;
        // On the way back whoever is away is awaited: a surge that does its work shall not leave before.
        let matters = matches!(rollout.purpose, Purpose::Back) || rollout.concerns(key.number, slot, wanted);
        self.awaited += u32::from(is_awaited && matters);
        match &slot.phase {
            Phase::Running { condition: Condition { readiness, .. }, .. } => {
                if is_up && rollout.is_outdated(key.number, slot) {
                    self.left.push(key);
                }
                if let Readiness::Ready { since } = readiness
                    && !available
                {
                    let at = *since + min_ready;
                    self.next = Some(self.next.map_or(at, |next| next.min(at)));
                }
            }
            Phase::Draining { .. } | Phase::Killing { .. } => self.ends |= is_old,
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Starting { .. }
            | Phase::Stuck { .. }
            | Phase::Leaving { .. }
            | Phase::Lost
            | Phase::Completed
            | Phase::Failed
            | Phase::Stopped => {}
        }
    }
}
