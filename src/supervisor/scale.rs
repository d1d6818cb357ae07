//! Other counts: more slots above the highest, or fewer from the highest down. Survivors are not touched.

use crate::api::{Change, Notice, Refusal, SlotName, TypeName, When, Will};
use crate::app::{ALL, MOST_INSTANCES, RELEASE};

use super::member::Count;
use super::request::Effects;
use super::{Goal, Member, Phase, Record, Slot, SlotKey, Step, Supervisor};

impl Supervisor {
    /// Sets counts, all of them or none.
    pub(super) fn scale(
        &mut self,
        step: &mut Step,
        changes: &[(String, Change)],
        answer: When,
    ) -> Result<Effects, Refusal> {
        let counts = self.counts(changes)?;
        self.check_ports(&counts)?;
        let mut effects = Effects::new();
        for (type_index, count) in counts {
            let before = self.types[type_index].wanted();
            if count != before {
                let process_type = self.types[type_index].newest().name.clone();
                step.announce(Notice::Scaled { process_type, from: before, to: count });
            }
            // Somebody asked for it, even where it was so already.
            self.set_count(step, type_index, Count::Asked(count), &mut effects);
            match answer {
                When::Accepted => {}
                // What is only about to be so has not happened.
                When::Happened => {
                    for (key, will) in self.on_their_way(type_index) {
                        effects.entry(key).or_insert(will);
                    }
                }
            }
        }
        Ok(effects)
    }

    /// What the changes come to, by type, each type once.
    fn counts(&self, changes: &[(String, Change)]) -> Result<Vec<(usize, u32)>, Refusal> {
        let mut counts: Vec<(usize, u32)> = Vec::new();
        let all = |(name, _): &&(String, Change)| name == ALL;
        for (name, change) in changes.iter().filter(all).chain(changes.iter().filter(|change| !all(change))) {
            let meant: Vec<usize> = self
                .listed()
                .filter(|(_, listed)| listed.as_str() == name || (name == ALL && listed.as_str() != RELEASE))
                .map(|(type_index, _)| type_index)
                .collect();
            if meant.is_empty() {
                let known = self.listed().map(|(_, name)| name.clone()).collect();
                return Err(Refusal::UnknownProcessType { name: name.clone(), known });
            }
            for type_index in meant {
                let before = counts.iter().find(|(other, _)| *other == type_index).map(|(_, count)| *count);
                let before = before.unwrap_or(self.types[type_index].wanted());
                let count = self.changed(type_index, before, *change)?;
                counts.retain(|(other, _)| *other != type_index);
                counts.push((type_index, count));
            }
        }
        Ok(counts)
    }

    fn changed(&self, type_index: usize, before: u32, change: Change) -> Result<u32, Refusal> {
        let member = self.types[type_index].newest();
        let count = match change {
            Change::To(count) => i64::from(count),
            Change::By(by) => i64::from(before).saturating_add(by),
        };
        let max = member.max.unwrap_or(MOST_INSTANCES);
        let process_type = || member.name.clone();
        match (u32::try_from(count), change) {
            (Ok(count), _) if count <= max => Ok(count),
            (Err(_), Change::By(by)) if by < 0 => {
                Err(Refusal::BelowZero { process_type: process_type(), count: before, by })
            }
            (Ok(_) | Err(_), _) => Err(Refusal::OverMax { process_type: process_type(), count, max }),
        }
    }

    /// Whether every slot that would be new has a PORT of its own; those that are still there have theirs.
    pub(super) fn check_ports(&self, counts: &[(usize, u32)]) -> Result<(), Refusal> {
        let wanted = |type_index: usize| {
            counts.iter().find(|(other, _)| *other == type_index).map_or(0, |(_, count)| *count)
        };
        for (type_index, count) in counts {
            let Some(range) = Range::new(self.types[*type_index].newest(), *count) else { continue };
            range.check_height()?;
            for other in (0..self.types.len()).filter(|other| other != type_index) {
                let kind = &self.types[other];
                if let Some(other) = Range::new(kind.newest(), wanted(other).max(kind.highest())) {
                    range.check_beside(&other)?;
                }
            }
        }
        Ok(())
    }

    /// The slots of a type that have not come to what its count says.
    fn on_their_way(&self, type_index: usize) -> Effects {
        let kind = &self.types[type_index];
        let wanted = kind.wanted();
        let keys = || kind.present().map(|(number, slot)| (SlotKey { type_index, number }, slot.goal()));
        let to_start = keys().filter(|(key, goal)| key.number <= wanted && *goal == Goal::Up);
        let to_stop = keys().filter(|(key, _)| key.number > wanted);
        let mut effects = self.under_way(to_start.map(|(key, _)| key), Will::Start);
        effects.extend(self.under_way(to_stop.map(|(key, _)| key), Will::Stop));
        effects
    }

    /// Gives a type its count: what is above it ends, what is new begins.
    pub(super) fn set_count(
        &mut self,
        step: &mut Step,
        type_index: usize,
        count: Count,
        effects: &mut Effects,
    ) {
        let kind = &mut self.types[type_index];
        let before = kind.wanted();
        kind.count = count;
        self.moved = true;
        let kind = &mut self.types[type_index];
        let after = kind.wanted();
        if let (Count::Asked(_), true) = (count, after > before) {
            // A mistake in a type that is started by request must not end everybody else.
            kind.record = Record::Ran;
        }
        for number in after + 1..=before {
            let key = SlotKey { type_index, number };
            effects.insert(key, self.vacate(step, key));
        }
        for number in before + 1..=after {
            let key = SlotKey { type_index, number };
            let kind = &mut self.types[type_index];
            let lives = |slot: &Slot| {
                slot.goal == Goal::Up && !matches!(slot.phase, Phase::Completed | Phase::Failed)
            };
            if kind.slots.get(super::index(key)).is_some_and(lives) {
                // It was there for a while, in a rollout, and now it stays: as new as any that comes.
                let slot = &mut kind.slots[super::index(key)];
                slot.renew_streak();
                // Without failures there is nothing to wait for, and what it is ending by is none.
                if matches!(
                    slot.phase,
                    Phase::Backoff { .. }
                        | Phase::Draining { .. }
                        | Phase::Killing { .. }
                        | Phase::Stuck { .. }
                ) {
                    self.raise(step, key);
                }
            } else if (number as usize) <= kind.slots.len() {
                kind.slots[number as usize - 1].renew();
                // Gone or not: what lived there is on its way out.
                self.raise(step, key);
            } else {
                let slot = Slot::vacant(kind.newest_edition());
                kind.slots.push(slot);
                self.slot_mut(key).goal = Goal::Up;
                let phase = self.types[type_index].gate.phase(step.now);
                self.enter(key, phase);
            }
            effects.insert(key, Will::Start);
        }
    }
}

impl Supervisor {
    /// There shall be no such slot any more.
    pub(super) fn vacate(&mut self, step: &mut Step, key: SlotKey) -> Will {
        let will = self.lower(step, key);
        if matches!(self.slot(key).phase, Phase::Completed | Phase::Failed) {
            self.enter(key, Phase::Stopped);
        }
        will
    }
}

/// The ports of the slots of one type.
pub(super) struct Range<'a> {
    name: &'a TypeName,
    first: u32,
    last: u32,
}

impl Range<'_> {
    /// Nothing, where it has no ports or no slots.
    pub(super) fn new(member: &Member, count: u32) -> Option<Range<'_>> {
        let first = u32::from(member.first_port?);
        (count > 0).then(|| Range { name: &member.name, first, last: first + count - 1 })
    }

    /// # Errors
    /// The first slot that would get a PORT above the highest there is.
    pub(super) fn check_height(&self) -> Result<(), Refusal> {
        let highest = u32::from(u16::MAX);
        if self.last <= highest {
            return Ok(());
        }
        let port = self.first.max(highest + 1);
        Err(Refusal::PortTooHigh { slot: self.slot(port), port })
    }

    /// # Errors
    /// The first slot that would get a PORT which is another one's.
    pub(super) fn check_beside(&self, other: &Range<'_>) -> Result<(), Refusal> {
        if self.first > other.last || other.first > self.last {
            return Ok(());
        }
        let port = self.first.max(other.first);
        Err(Refusal::PortClash { slot: self.slot(port), holder: other.slot(port), port })
    }

    fn slot(&self, port: u32) -> SlotName {
        SlotName { process_type: self.name.clone(), number: port - self.first + 1 }
    }
}
