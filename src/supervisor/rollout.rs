//! Replacing the instances of a type by new ones while they work, in Kubernetes' words (`rollout` in the spec).
//!
//! Nothing here starts or stops anything that a goal and a restart could not: a surge is a slot above the highest whose goal
//! is up for a while, and to replace an instance is to restart its slot. At every step as many ready ones are left as were
//! promised: all of them where a surge is possible, one fewer where it is not.
//!
//! ```text
//!   begin --> some are outdated --> none is, all are ready --> the surge is gone --> done
//!                   | so many failures in a row, or no progress until the deadline
//!                   v
//!              turned back: the same, to what ran before, without a way back
//! ```

use crate::api::{InstanceId, Notice, Refusal, RolloutWay, SlotName, Will};

use super::course::Course;
use super::request::Effects;
use super::{Condition, Goal, Phase, Readiness, Slot, SlotKey, Step, Supervisor, Surge, Time, Type, millis};

/// One replacing of the instances of one type.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// Counted up: who waits for it knows it by this.
    pub(super) id: u64,
    outdated: Outdated,
    pub(super) purpose: Purpose,
    began: Time,
    /// How many are to be replaced.
    instances: u32,
    /// So many are new and available, when last looked at; those of the surge too.
    available: u32,
    /// So many were said to have been replaced.
    said: u32,
    /// When it is to be looked at though nothing happens.
    look_at: Option<Time>,
}

/// Who is to be replaced.
#[derive(Clone, Debug)]
pub(super) enum Outdated {
    /// Whoever was born before; in these slots, or in all.
    Before(InstanceId, Option<Vec<u32>>),
    /// Whoever is of an edition between these two: what was turned back.
    Between(usize, usize),
}

/// What it is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Something new, which may turn out not to work.
    Forward {
        back: Back,
        /// The new ones that failed, one after the other; the last of them.
        failures: u32,
        last: Option<SlotName>,
        /// Whether a new one will not be tried again.
        hopeless: bool,
        /// Without progress until then, it is turned back.
        deadline: Time,
    },
    /// What ran before, which did work.
    Back,
}

/// What there is to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The same program: there is nothing better.
    Nowhere,
    /// An earlier edition.
    To(usize),
}

impl Rollout {
    fn is_outdated(&self, number: u32, slot: &Slot) -> bool {
        let Some(instance) = slot.phase.instance() else { return false };
        match &self.outdated {
            Outdated::Before(first, meant) => {
                instance < *first && meant.as_ref().is_none_or(|meant| meant.contains(&number))
            }
            Outdated::Between(good, newest) => slot.edition > *good && slot.edition < *newest,
        }
    }

    /// Whether it does the work that is expected of it: a new one has to have been ready for a while.
    pub(super) fn is_available(&self, slot: &Slot, min_ready: std::time::Duration, now: Time) -> bool {
        match &slot.phase {
            Phase::Running { life, condition: Condition { readiness: Readiness::Ready { since }, .. } } => {
                self.is_old(life.instance, slot) || now - *since >= min_ready
            }
            _not_ready => false,
        }
    }

    /// Whether it was there before.
    pub(super) fn is_old(&self, instance: InstanceId, slot: &Slot) -> bool {
        match &self.outdated {
            Outdated::Before(first, _) => instance < *first,
            Outdated::Between(_, newest) => slot.edition < *newest,
        }
    }
}

impl Supervisor {
    /// When a rollout is to be looked at though nothing happens.
    pub(super) fn rollout_deadline(&self) -> Option<Time> {
        self.rolling.iter().filter_map(|type_index| self.types[*type_index].rollout.as_ref()?.look_at).min()
    }

    /// Begins to replace the instances in these slots of a type; those that do not run are started at once.
    pub(super) fn roll(
        &mut self,
        step: &mut Step,
        type_index: usize,
        keys: &[SlotKey],
        back: Back,
    ) -> Effects {
        let (runs, rests): (Vec<SlotKey>, Vec<SlotKey>) =
            keys.iter().copied().partition(|key| matches!(self.slot(*key).phase, Phase::Running { .. }));
        let mut effects: Effects = rests.into_iter().map(|key| (key, self.restart(step, key))).collect();
        if runs.is_empty() {
            return effects;
        }
        for key in &runs {
            self.slot_mut(*key).renew_streak();
            effects.insert(*key, Will::Restart);
        }
        let all = runs.len() == self.types[type_index].wanted_slots().count();
        let meant = (!all).then(|| runs.iter().map(|key| key.number).collect());
        let back = match self.types[type_index].rollout.take() {
            Some(Rollout { id, purpose, .. }) => {
                self.refuse_rollout(step, type_index, id, |process_type| Refusal::Superseded {
                    process_type,
                });
                match purpose {
                    // What had not proved itself is nothing to go back to, as long as something else runs.
                    Purpose::Forward { back: Back::To(edition), .. }
                        if self.lives_by(type_index, edition) =>
                    {
                        Back::To(edition)
                    }
                    Purpose::Forward { .. } | Purpose::Back => back,
                }
            }
            None => back,
        };
        let instances = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let deadline = step.now + self.types[type_index].newest().policy.rollout.progress_deadline;
        let purpose = Purpose::Forward { back, failures: 0, last: None, hopeless: false, deadline };
        let outdated = Outdated::Before(InstanceId(self.next_instance), meant);
        let way = self.way(type_index);
        let process_type = self.types[type_index].newest().name.clone();
        step.announce(Notice::RolloutBegan { process_type, instances, way });
        self.begin_rollout(step, type_index, outdated, purpose, instances);
        effects
    }

    pub(super) fn begin_rollout(
        &mut self,
        step: &Step,
        type_index: usize,
        outdated: Outdated,
        purpose: Purpose,
        instances: u32,
    ) {
        let id = self.next_rollout;
        self.next_rollout += 1;
        let (available, said, look_at) = (0, 0, Some(step.now));
        let began = step.now;
        self.types[type_index].rollout =
            Some(Rollout { id, outdated, purpose, began, instances, available, said, look_at });
        if !self.rolling.contains(&type_index) {
            self.rolling.push(type_index);
        }
        self.moved = true;
    }

    fn lives_by(&self, type_index: usize, edition: usize) -> bool {
        let mut slots = self.types[type_index].present();
        slots.any(|(_, slot)| slot.edition == edition && slot.phase.instance().is_some())
    }

    /// How the instances of a type are replaced, as far as it can be known beforehand.
    fn way(&self, type_index: usize) -> RolloutWay {
        match (self.surge(type_index), self.types[type_index].wanted()) {
            (0, 0 | 1) => RolloutWay::Away,
            (0, _) => {
                let at_a_time = self.types[type_index].newest().policy.rollout.max_unavailable.max(1);
                RolloutWay::InPlace { at_a_time }
            }
            (extra, _) => RolloutWay::Surge { extra },
        }
    }

    /// How many slots more a type may have for a while.
    fn surge(&self, type_index: usize) -> u32 {
        let kind = &self.types[type_index];
        let member = kind.newest();
        let wanted = kind.wanted();
        let room = member.max.map_or(u32::MAX, |max| max.saturating_sub(wanted));
        let extra = member.policy.rollout.max_surge.min(room);
        match member.surge {
            Surge::Possible if self.check_ports(&[(type_index, wanted.saturating_add(extra))]).is_ok() => {
                extra
            }
            // The PORT that it would get is somebody else's, or its clients would not look for it there.
            Surge::Possible | Surge::Forbidden => 0,
        }
    }

    /// Takes every rollout as far as it can go now.
    pub(super) fn roll_on(&mut self, step: &mut Step) {
        if self.rolling.is_empty() || !matches!(self.course, Course::Up { .. }) {
            return;
        }
        for type_index in self.rolling.clone() {
            if let Some(rollout) = self.types[type_index].rollout.take()
                && let Some(rollout) = self.roll_type(step, type_index, rollout)
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
    ) -> Option<Rollout> {
        let now = step.now;
        let rules = self.types[type_index].newest().policy.rollout;
        self.note_progress(step, type_index, &mut rollout);
        if let Some((reason, slot)) = self.setback(type_index, &rollout, now) {
            return self.turn_back(step, type_index, &rollout, reason, slot);
        }

        let wanted = self.types[type_index].wanted();
        // Fewer may be wanted than when they were raised.
        for key in self.surplus(type_index, wanted + self.surge(type_index)) {
            self.vacate(step, key);
        }
        let kind = &self.types[type_index];
        let outdated = |(number, slot): &(u32, &Slot)| {
            slot.goal == Goal::Up
                && matches!(slot.phase, Phase::Running { .. })
                && rollout.is_outdated(*number, slot)
        };
        let left: Vec<SlotKey> =
            kind.present().filter(outdated).map(|(number, _)| SlotKey { type_index, number }).collect();
        let extra = if left.iter().any(|key| key.number <= wanted) { self.surge(type_index) } else { 0 };
        let floor = self.floor(type_index, extra);
        let available = |supervisor: &Supervisor, key: SlotKey| {
            rollout.is_available(supervisor.slot(key), rules.min_ready, now)
        };

        if extra == 0 && left.iter().all(|key| key.number > wanted) {
            let kind = &self.types[type_index];
            let works = |slot: &Slot| {
                slot.goal != Goal::Up
                    || matches!(slot.phase, Phase::Completed | Phase::Failed)
                    || rollout.is_available(slot, rules.min_ready, now)
            };
            if kind.wanted_slots().all(works) {
                let surplus = self.surplus(type_index, wanted);
                for key in surplus {
                    self.vacate(step, key);
                }
                // Gone at the end: not before it is.
                if self.types[type_index].highest() <= wanted {
                    return self.complete(step, type_index, &rollout);
                }
            }
        } else {
            for number in wanted + 1..=wanted + extra {
                self.raise_surge(step, SlotKey { type_index, number });
            }
            let present: Vec<SlotKey> =
                self.types[type_index].present().map(|(number, _)| SlotKey { type_index, number }).collect();
            let ready = present.iter().filter(|key| available(self, **key)).count();
            let mut spare = u32::try_from(ready).unwrap_or(u32::MAX).saturating_sub(floor);
            for key in left {
                // Who does no work can be replaced without anybody missing it.
                let works = self.slot(key).is_ready();
                if works && spare == 0 {
                    continue;
                }
                if works {
                    spare -= 1;
                }
                self.raise(step, key);
            }
        }
        rollout.look_at = self.next_look(type_index, &rollout, now);
        Some(rollout)
    }

    /// So many ready ones there shall be, come what may.
    fn floor(&self, type_index: usize, extra: u32) -> u32 {
        let kind = &self.types[type_index];
        let at_work =
            |slot: &&Slot| slot.goal == Goal::Up && !matches!(slot.phase, Phase::Completed | Phase::Failed);
        let desired = u32::try_from(kind.wanted_slots().filter(at_work).count()).unwrap_or(u32::MAX);
        let away = kind.newest().policy.rollout.max_unavailable;
        desired.saturating_sub(if extra == 0 { away.max(1) } else { away })
    }

    /// The slots above this one that shall run.
    pub(super) fn surplus(&self, type_index: usize, highest: u32) -> Vec<SlotKey> {
        let above = |(number, slot): (u32, &Slot)| {
            (number > highest && slot.goal == Goal::Up).then_some(SlotKey { type_index, number })
        };
        self.types[type_index].present().filter_map(above).collect()
    }

    fn raise_surge(&mut self, step: &mut Step, key: SlotKey) {
        let kind = &mut self.types[key.type_index];
        if (key.number as usize) > kind.slots.len() {
            let vacant = Slot::vacant(kind.newest_edition());
            kind.slots.push(vacant);
        }
        if self.slot(key).goal != Goal::Up {
            self.slot_mut(key).renew();
            self.raise(step, key);
        }
    }

    /// Notes who has become available, and says how far it is.
    fn note_progress(&mut self, step: &mut Step, type_index: usize, rollout: &mut Rollout) {
        let kind = &self.types[type_index];
        let rules = kind.newest().policy.rollout;
        let is_new = |slot: &Slot| {
            let new = slot.phase.instance().is_some_and(|instance| !rollout.is_old(instance, slot));
            new && rollout.is_available(slot, rules.min_ready, step.now)
        };
        let count = |slots: usize| u32::try_from(slots).unwrap_or(u32::MAX);
        let available = count(kind.present().filter(|(_, slot)| is_new(slot)).count());
        let replaced = count(kind.wanted_slots().filter(|slot| is_new(slot)).count()).min(rollout.instances);
        if available > rollout.available
            && let Purpose::Forward { failures, deadline, .. } = &mut rollout.purpose
        {
            (*failures, *deadline) = (0, step.now + rules.progress_deadline);
        }
        rollout.available = available;
        if replaced > rollout.said {
            rollout.said = replaced;
            let (process_type, instances) = (kind.newest().name.clone(), rollout.instances);
            step.announce(Notice::RolloutStep { process_type, replaced, instances });
        }
    }

    fn complete(&mut self, step: &mut Step, type_index: usize, rollout: &Rollout) -> Option<Rollout> {
        let process_type = self.types[type_index].newest().name.clone();
        let took_ms = millis(step.now - rollout.began);
        match rollout.purpose {
            Purpose::Forward { .. } => step.announce(Notice::RolloutDone { process_type, took_ms }),
            // That was said when it was turned back.
            Purpose::Back => {}
        }
        None
    }

    fn next_look(&self, type_index: usize, rollout: &Rollout, now: Time) -> Option<Time> {
        let kind = &self.types[type_index];
        let min_ready = kind.newest().policy.rollout.min_ready;
        let ready = kind.present().filter_map(|(_, slot)| match &slot.phase {
            Phase::Running { condition: Condition { readiness: Readiness::Ready { since }, .. }, .. } => {
                Some(*since + min_ready)
            }
            _not_ready => None,
        });
        let deadline = match rollout.purpose {
            Purpose::Forward { deadline, .. } => Some(deadline),
            Purpose::Back => None,
        };
        ready.chain(deadline).filter(|time| *time > now).min()
    }

    /// Nothing is replaced any more: the end has begun.
    pub(super) fn forget_rollouts(&mut self) {
        for type_index in std::mem::take(&mut self.rolling) {
            self.types[type_index].rollout = None;
        }
    }
}

impl Type {
    /// Whether a rollout of its instances is under way.
    pub(super) fn rolls(&self, id: u64) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.id == id)
    }
}
