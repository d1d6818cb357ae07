//! Replacing the instances of a type by new ones while they work, in Kubernetes' words (`rollout` in the spec): what is
//! replaced by what, and how that begins. How it goes on is in [`turnover`](super::turnover).
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

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::{InstanceId, Notice, Refusal, RolloutWay, SlotName, Will};

use super::request::Effects;
use super::{Condition, Phase, Readiness, Slot, SlotKey, Step, Supervisor, Surge, Time, Type};

/// One replacing of the instances of one type.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// Counted up: who waits for it knows it by this.
    pub(super) id: u64,
    pub(super) outdated: Outdated,
    /// Whoever was born since then has not proved itself: a rollout that was superseded had not come so far.
    pub(super) unproved: InstanceId,
    pub(super) purpose: Purpose,
    pub(super) stage: Stage,
    pub(super) began: Time,
    /// How many are to be replaced.
    pub(super) instances: u32,
    /// So many were said to have been replaced.
    pub(super) said: u32,
    pub(super) progress: Progress,
    pub(super) look: Look,
}

/// Who is to be replaced.
#[derive(Clone, Debug)]
pub(super) enum Outdated {
    /// Whoever was born before; in these slots, or in all.
    Before(InstanceId, Option<BTreeSet<u32>>),
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
    /// There was no such type before a deploy, and there will be none.
    Away,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Replacing,
    /// All new ones work. What is left is that the surge ends: nothing is turned back for that any more.
    Leaving,
}

/// What it has come to so far: less than this again is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The most slots that were done at once.
    pub(super) done: u32,
    /// Of so many.
    pub(super) wanted: u32,
    /// Whether an old one was on its way out at the last look: that takes as long as it may, and is nobody's failure.
    pub(super) ends: bool,
}

/// When it is to be looked at though nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// In the step that it is in: a new one has failed.
    Now,
    /// In the next step that nobody else wants: something has changed. Ten thousand that change at once are looked at a few
    /// times, and not ten thousand times.
    Soon,
    /// Not before.
    At(Time),
    /// When something has changed.
    Whenever,
}

impl Rollout {
    pub(super) fn is_outdated(&self, number: u32, slot: &Slot) -> bool {
        let Some(instance) = slot.phase.instance() else { return false };
        match &self.outdated {
            Outdated::Before(first, meant) => {
                instance < *first && meant.as_ref().is_none_or(|meant| meant.contains(&number))
            }
            Outdated::Between(good, newest) => slot.edition > *good && slot.edition < *newest,
        }
    }

    /// Whether it does the work that is expected of it: a new one has to have been ready for a while.
    pub(super) fn is_available(&self, number: u32, slot: &Slot, min_ready: Duration, now: Time) -> bool {
        match &slot.phase {
            Phase::Running { condition: Condition { readiness: Readiness::Ready { since }, .. }, .. } => {
                self.is_old(number, slot) || now - *since >= min_ready
            }
            _not_ready => false,
        }
    }

    /// Whether what lives there was there before, and works for all that is known.
    pub(super) fn is_old(&self, number: u32, slot: &Slot) -> bool {
        slot.phase.instance().is_some_and(|instance| match &self.outdated {
            Outdated::Before(_, Some(meant)) if !meant.contains(&number) => instance < self.unproved,
            Outdated::Before(first, _) => instance < *first,
            Outdated::Between(_, newest) => slot.edition < *newest,
        })
    }

    /// Whether what becomes of a slot says anything about what is new: not that of an old one that stays, nor that of a new
    /// life of the old program in a slot that was not meant.
    pub(super) fn concerns(&self, number: u32, slot: &Slot, wanted: u32) -> bool {
        if self.is_old(number, slot) {
            return self.is_outdated(number, slot);
        }
        match (&self.outdated, &self.purpose) {
            (Outdated::Before(_, Some(meant)), Purpose::Forward { back: Back::Nowhere, .. }) => {
                number > wanted || meant.contains(&number)
            }
            (Outdated::Before(..) | Outdated::Between(..), Purpose::Forward { .. } | Purpose::Back) => true,
        }
    }
}

impl Supervisor {
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
        let earlier = &self.types[type_index].rollout;
        if runs.is_empty() && (keys.is_empty() || earlier.is_none() || back == Back::Nowhere) {
            return effects;
        }
        for key in &runs {
            self.slot_mut(*key).renew_streak();
            effects.insert(*key, Will::Restart);
        }
        let kind = &self.types[type_index];
        let all = runs.len() == kind.wanted() as usize;
        let meant: Option<BTreeSet<u32>> = match back {
            // Whatever lives is of another program.
            Back::To(_) | Back::Away => None,
            Back::Nowhere if all => None,
            Back::Nowhere => {
                // What a rollout that is superseded has not come to is not forgotten.
                let left = kind.present().filter(|(number, slot)| {
                    kind.rollout.as_ref().is_some_and(|earlier| earlier.is_outdated(*number, slot))
                });
                Some(runs.iter().map(|key| key.number).chain(left.map(|(number, _)| number)).collect())
            }
        };
        let next = InstanceId(self.next_instance);
        let unproved = match &kind.rollout {
            Some(Rollout { unproved, purpose: Purpose::Forward { .. }, stage: Stage::Replacing, .. }) => {
                *unproved
            }
            Some(_) | None => next,
        };
        let back = match (back, kind.way_back(), kind.worked()) {
            // What has not proved itself is nothing to go back to.
            (_, Some(edition), _) | (Back::To(_), None, Some(edition)) => Back::To(edition),
            (Back::To(_) | Back::Nowhere | Back::Away, None, _) => back,
        };
        let instances = meant.as_ref().map_or(keys.len(), BTreeSet::len);
        let instances = u32::try_from(instances).unwrap_or(u32::MAX);
        let deadline = step.now + kind.newest().policy.rollout.progress_deadline;
        let process_type = kind.newest().name.clone();
        self.supersede(step, type_index);
        let purpose = Purpose::Forward { back, failures: 0, last: None, hopeless: false, deadline };
        let outdated = Outdated::Before(next, meant);
        let way = self.way(type_index);
        step.announce(Notice::RolloutBegan { process_type, instances, way });
        self.begin_rollout(step, type_index, outdated, purpose, instances);
        if let Some(rollout) = &mut self.types[type_index].rollout {
            rollout.unproved = unproved;
        }
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
        let (stage, progress) = (Stage::Replacing, Progress::default());
        let (began, said, look, unproved) = (step.now, 0, Look::Soon, InstanceId(self.next_instance));
        self.types[type_index].rollout =
            Some(Rollout { id, outdated, unproved, purpose, stage, began, instances, said, progress, look });
        if !self.rolling.contains(&type_index) {
            self.rolling.push(type_index);
        }
    }

    /// A rollout of a type gives way to something newer.
    pub(super) fn supersede(&mut self, step: &mut Step, type_index: usize) {
        if let Some(Rollout { id, .. }) = self.types[type_index].rollout.take() {
            self.refuse_rollout(step, type_index, id, |process_type| Refusal::Superseded { process_type });
        }
    }

    /// Nothing is replaced any more: the end has begun.
    pub(super) fn forget_rollouts(&mut self) {
        for type_index in std::mem::take(&mut self.rolling) {
            self.types[type_index].rollout = None;
        }
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
    pub(super) fn surge(&self, type_index: usize) -> u32 {
        let kind = &self.types[type_index];
        let member = kind.newest();
        let stuck = |(number, slot): &(u32, &Slot)| {
            *number > kind.wanted() && matches!(slot.phase, Phase::Stuck { .. })
        };
        // What survived SIGKILL keeps its slot.
        let stuck = kind.present().filter(stuck).count();
        let wanted = kind.wanted().saturating_add(u32::try_from(stuck).unwrap_or(u32::MAX));
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
}

impl Type {
    /// Whether a rollout of its instances is under way that may be waited for.
    pub(super) fn rolls(&self, id: u64) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.id == id)
    }

    /// What to go back to where the present rollout fails.
    pub(super) fn way_back(&self) -> Option<usize> {
        match self.rollout.as_ref()? {
            Rollout {
                purpose: Purpose::Forward { back: Back::To(edition), .. },
                stage: Stage::Replacing,
                ..
            } => Some(*edition),
            Rollout {
                purpose: Purpose::Forward { .. } | Purpose::Back,
                stage: Stage::Replacing | Stage::Leaving,
                ..
            } => None,
        }
    }

    /// What is known to work while new instances have not proved themselves, or are on their way back: whatever came after it
    /// did not, and may live yet.
    pub(super) fn worked(&self) -> Option<usize> {
        self.way_back().or_else(|| match self.rollout.as_ref()? {
            Rollout { purpose: Purpose::Back, outdated: Outdated::Between(good, _), .. } => Some(*good),
            Rollout {
                purpose: Purpose::Forward { .. } | Purpose::Back,
                outdated: Outdated::Between(..) | Outdated::Before(..),
                ..
            } => None,
        })
    }

    /// A slot has come from one phase to another: what is under way is looked at again, where that matters to it.
    pub(super) fn stir(&mut self, from: &Phase, number: u32) {
        let Some(rollout) = &mut self.rollout else { return };
        let to = &self.slots[number as usize - 1].phase;
        if Bearing::of(from) != Bearing::of(to) && rollout.look != Look::Now {
            rollout.look = Look::Soon;
        }
    }
}

/// What a phase means to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bearing {
    /// It is to come.
    Coming,
    Ready,
    Unready,
    Ending,
    /// It survived SIGKILL: its place is not to be had.
    Stuck,
    Resting,
}

impl Bearing {
    fn of(phase: &Phase) -> Bearing {
        match phase {
            Phase::Waiting
            | Phase::Needing { .. }
            | Phase::Pending { .. }
            | Phase::Backoff { .. }
            | Phase::Starting { .. } => Bearing::Coming,
            Phase::Running { condition, .. } => match condition.readiness {
                Readiness::Ready { .. } => Bearing::Ready,
                Readiness::Expected { .. }
                | Readiness::Starting { .. }
                | Readiness::Lapsed { .. }
                | Readiness::Stopping => Bearing::Unready,
            },
            Phase::Draining { .. } | Phase::Killing { .. } => Bearing::Ending,
            Phase::Stuck { .. } | Phase::Leaving { .. } | Phase::Lost => Bearing::Stuck,
            Phase::Completed | Phase::Failed | Phase::Stopped => Bearing::Resting,
        }
    }
}
